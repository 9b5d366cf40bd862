"""The notebooks match their sources, use names that exist, have short cells, and hold no widget state."""

import ast
import base64
import importlib.util
import io
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from hiercl.plot._colours import categorical

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_notebook_matches_its_source(source):
    built = NOTEBOOKS / f"{source.stem}.ipynb"
    assert built.exists(), f"{built.name} does not exist: make notebooks NAMES={source.stem}"
    wanted, there = jupytext.read(source), jupytext.read(built)
    assert [(c.cell_type, c.source) for c in there.cells] == [(c.cell_type, c.source) for c in wanted.cells]
    assert "widgets" not in there.metadata
    assert all(cell.outputs or cell.execution_count for cell in there.cells if cell.cell_type == "code")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_are_few_and_short(source):
    code = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    assert len(code) <= 25
    for cell in code:
        lines = [line for line in cell.splitlines() if line.strip()]
        assert len(lines) <= 15, cell
        if source.stem != "01_build_it":  # there students write a method
            assert not any(line.startswith("class ") for line in lines), cell


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_imported_names_and_their_attributes_exist(source):
    code = "\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code")
    tree = ast.parse(TransformerManager().transform_cell(code))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec(compile(ast.Module(body=imports, type_ignores=[]), source.name, "exec"), names)
    checked = 0
    for node in ast.walk(tree):
        chain, attributes = node, []
        while isinstance(chain, ast.Attribute):
            attributes.append(chain.attr)
            chain = chain.value
        if attributes and isinstance(chain, ast.Name) and chain.id == "hiercl":
            found = names["hiercl"]
            for attribute in reversed(attributes):
                found = getattr(found, attribute)
            checked += 1
    assert checked


SMALL = """# %% [markdown]
# Old text.

# %%
import math

# An old comment.
%config InlineBackend.figure_formats = ["png"]
def double(x):
    \"\"\"An old docstring.\"\"\"
    return 2 * x

# %%
print(double(math.pi))
"""


@pytest.fixture
def small(build, tmp_path, monkeypatch):
    """Stores a small notebook with outputs; returns a function that changes its source and builds with --texts."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    source = tmp_path / "source" / "small.py"
    source.parent.mkdir()
    notebook = jupytext.reads(SMALL, "py:percent")
    first, second = (cell for cell in notebook.cells if cell.cell_type == "code")
    first.execution_count, second.execution_count = 1, 2
    second.outputs = [nbformat.v4.new_output("stream", name="stdout", text="6.28\n")]
    nbformat.write(notebook, tmp_path / "small.ipynb")

    def texts(*changes: tuple[str, str]) -> nbformat.NotebookNode:
        text = SMALL
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        source.write_text(text)
        build.main(["--texts", "small"])
        return nbformat.read(tmp_path / "small.ipynb", as_version=4)

    return texts


def test_texts_change_and_outputs_stay(small):
    changes = [("Old text", "New text"), ("An old comment", "A new comment"), ("An old docstring", "A new docstring")]
    changes += [("import math\n", "import cmath as math\n"), ("return", "\n    return"), ("2 * x", "2 * x  # two")]
    notebook = small(*changes)
    text, first, second = notebook.cells
    assert text.source == "New text." and [first.execution_count, second.execution_count] == [1, 2]
    assert "# A new comment.\n%config" in first.source and "cmath" in first.source and "A new docstring" in first.source
    assert "Old text" not in str(notebook) and "old" not in first.source
    assert first.outputs == [] and second.outputs[0].text == "6.28\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("2 * x", "3 * x")], "Code cell 1 of small.py differs"),
        ([("math.pi", "math.e")], "Code cell 2 of small.py differs"),
        ([("png", "svg")], "Code cell 1 of small.py differs"),
        (
            [("print(double(math.pi))", "print(double(math.pi))\n\n# %%\nprint(1)")],
            "has 3 code cells and small.ipynb has 2",
        ),
        ([("# %%\nprint(double(math.pi))\n", "")], "has 1 code cells and small.ipynb has 2"),
        ([("# %%\nprint(", "# %% [raw]\nprint(")], "or their kinds differ"),
    ],
)
def test_texts_refuse_other_code(small, tmp_path, changes, message):
    before = (tmp_path / "small.ipynb").read_bytes()
    with pytest.raises(SystemExit, match=message):
        small(*changes)
    assert (tmp_path / "small.ipynb").read_bytes() == before


def test_texts_need_a_stored_notebook(small, tmp_path):
    (tmp_path / "small.ipynb").unlink()
    with pytest.raises(SystemExit, match=r"small\.ipynb does not exist"):
        small()


def test_figures_are_smaller_and_keep_the_colours_of_swatches(build):
    picture = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)  # more colours than fit
    swatches = (255 * categorical(20)).round().astype(np.uint8)
    picture[:10, :200] = np.repeat(swatches, 10, axis=0)
    picture[10:40] = 255
    before = io.BytesIO()
    Image.fromarray(picture).save(before, "PNG")
    after = build.smaller(base64.b64encode(before.getvalue()).decode())
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB"))
    assert np.array_equal(seen[:10, :200], picture[:10, :200]) and (seen[10:40] == 255).all()
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) <= 256 and len(after) < len(before.getvalue())
    assert abs(seen.astype(int) - picture).mean() < 20
    assert build.smaller(after) == after
    for size in ((1, 1), (20, 20)):  # no flat area
        tiny = io.BytesIO()
        Image.fromarray(picture[100 : 100 + size[0], 100 : 100 + size[1]]).save(tiny, "PNG")
        assert build.smaller(base64.b64encode(tiny.getvalue()).decode())
