"""The set-up files agree with one another, and importing the package is light."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[<>=\[ ;]", requirement.strip())[0].lower()


def test_environment_yml_has_the_packages_of_pyproject():
    lines = re.findall(r"^\s+- (.+)$", (ROOT / "environment.yml").read_text(), flags=re.M)
    conda = {line for line in lines if not line.startswith(("conda-forge", "python>", "pip", "-e"))}
    wanted = set(PROJECT["dependencies"]) | {p for extra in PROJECT["optional-dependencies"].values() for p in extra}
    assert conda == wanted
    assert f"python{PROJECT['requires-python']}" in lines


def test_constraints_hold_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    wanted = PROJECT["dependencies"] + [p for extra in PROJECT["optional-dependencies"].values() for p in extra]
    assert {name_of(p) for p in wanted} <= pinned


def test_importing_is_light():
    heavy = ("torch", "faiss", "umap", "plotly", "torchvision", "matplotlib", "sklearn", "pandas", "accelerate")
    code = f"import sys, hiercl; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_training_imports_no_optional_or_late_package():
    code = "import sys, hiercl; hiercl.fit; print([m for m in ('faiss', 'umap', 'plotly') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import hiercl

    assert all(getattr(hiercl, name) is not None for name in hiercl.__all__)
    with pytest.raises(AttributeError, match="no 'fitt'"):
        _ = hiercl.fitt


def test_imports_look_one_way():
    """The rooms of the house in their order: a file imports only from rooms before its own."""
    order = [
        ("types", "settings", "processes", "streams", "environment", "allocator", "checkpoint"),
        ("hierarchy", "hierarchy_forms"),
        ("datasets",),
        ("views", "norms", "encoders", "quantise", "kmeans"),
        ("pairs", "prototypes", "probes", "metrics", "feed", "embedding"),
        ("descriptors", "masks", "gates", "level_count", "neighbours", "mixing"),
        ("losses",),
        ("methods",),
        ("optimisation", "runs", "history"),
        ("training",),
        ("few_labels", "fine_tuning", "zoo", "report", "feature_masks"),
        ("evaluation",),
        ("plot", "bench", "demo"),
        ("study",),
        ("explore", "exercises"),
        ("cli", "__main__"),
    ]
    rank = {name: place for place, names in enumerate(order) for name in names}
    for path in sorted((ROOT / "hiercl").rglob("*.py")):
        room = path.relative_to(ROOT / "hiercl").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for imported in re.findall(r"^\s*from hiercl\.(\w+)", path.read_text(), flags=re.M):
            assert rank[imported] <= rank[room], f"{path.name} imports hiercl.{imported}, which lies to its right"
        for several in re.findall(r"^from hiercl import (.+)$", path.read_text(), flags=re.M):
            for imported in several.split(", "):
                assert rank[imported] <= rank[room], f"{path.name} imports hiercl.{imported}, which lies to its right"


def test_readme_defines_every_metric():
    from hiercl.metrics import definitions

    readme = (ROOT / "README.md").read_text()
    arrow = {"higher": "↑", "lower": "↓", "": ""}
    for name, row in definitions().iterrows():
        unit = " ".join(part for part in (row["unit"], arrow[row["better"]]) if part)
        assert f"| `{name}` | {unit} | {row['definition']} |" in readme, name
