"""The set-up files agree with one another, and importing the package is light."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
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


IMPORTED = """
import sys
before = set(sys.modules)
{code}
print(sorted(set(sys.modules) - before), file=sys.stderr)
"""
HELP = """
from hiercl.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
"""


@pytest.mark.parametrize("code, own", [("import hiercl", ["hiercl"]), (HELP, ["hiercl", "hiercl.cli"])])
def test_import_and_help_load_the_standard_library_only(code, own):
    script = IMPORTED.format(code=code)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = ast.literal_eval(result.stderr.splitlines()[-1])
    others = [module for module in modules if module.split(".")[0] not in sys.stdlib_module_names]
    assert others == own


def test_training_imports_no_optional_or_late_package():
    code = "import sys, hiercl; hiercl.fit; print([m for m in ('faiss', 'umap', 'plotly') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import hiercl

    assert all(getattr(hiercl, name) is not None for name in hiercl.__all__)
    with pytest.raises(AttributeError, match="no 'fitt'"):
        _ = hiercl.fitt


def test_editors_are_told_what_there_is():
    """hiercl/__init__.pyi has every public name, and every setting of fit."""
    from support.stub import STUB, stub

    assert STUB.read_text() == stub(), "run .venv/bin/python tests/support/stub.py"


def test_fit_offers_its_settings_to_jupyter():
    import inspect

    import hiercl

    assert {"method", "epochs", "crop", "points", "prototypes"} <= set(inspect.signature(hiercl.fit).parameters)


ROOMS = (
    "runtime",
    "hierarchy",
    "datasets",
    "views",
    "encoders",
    "pairs",
    "clustering",
    "metrics",
    "methods",
    "training",
    "evaluation",
    "plot",
    "study",
    "explore",
    "exercises",
    "commands",
    "cli",
    "__main__",
)


def import_graph() -> dict[str, set[str]]:
    """For every file of the package the files that it imports, also inside functions and for type checkers."""
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "hiercl").rglob("*.py")}
    modules = {".".join(parts).removesuffix(".__init__"): path for path, parts in paths.items()}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute here"
                found = {f"{node.module}.{name.name}" for name in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                found = {name.name for name in node.names}
            else:
                continue
            several = {name for name in found if name in modules}
            graph[module] |= {name for name in several if name != node.__dict__.get("module")} or several
    return graph


def room_of(module: str) -> str:
    return [*module.split("."), "hiercl"][1]


def test_rooms_import_only_from_rooms_above_them():
    graph = import_graph()
    upward = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if "hiercl" not in (room_of(module), room_of(other))
        and ROOMS.index(room_of(other)) > ROOMS.index(room_of(module))
    ]
    assert not upward, upward
    assert {room_of(module) for module in graph} - {"hiercl"} == set(ROOMS)


def test_no_files_import_each_other_in_a_circle():
    try:
        list(TopologicalSorter(import_graph()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' > '.join(error.args[1])}")


def test_docs_define_every_metric():
    from hiercl.metrics import definitions

    page = (ROOT / "docs" / "metrics.md").read_text()
    arrow = {"higher": "↑", "lower": "↓", "": ""}
    for name, row in definitions().iterrows():
        unit = " ".join(part for part in (row["unit"], arrow[row["better"]]) if part)
        assert f"| `{name}` | {unit} | {row['definition']} |" in page, name
