"""The notebooks match their sources, use names that exist, have short cells, and hold no widget state."""

import ast
import base64
import importlib.util
import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
from editions import CONFIG, assignment, is_tagged, of_students, predicted, solution, teacher, with_outputs, write
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
    wanted, there = of_students(jupytext.read(source)), jupytext.read(built)
    assert [(c.cell_type, c.source) for c in there.cells] == [(c.cell_type, c.source) for c in wanted]
    assert "widgets" not in there.metadata
    assert all(cell.outputs or cell.execution_count for cell in there.cells if cell.cell_type == "code")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_are_few_and_short(source):
    code = [cell.source for cell in of_students(jupytext.read(source)) if cell.cell_type == "code"]
    assert len(code) <= 25
    for cell in code:
        lines = [line for line in cell.splitlines() if line.strip()]
        assert len(lines) <= 15, cell
        if source.stem != "01_build_it":  # there students write a method
            assert not any(line.startswith("class ") for line in lines), cell


def tree_of(source):
    code = "\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code")
    return ast.parse(TransformerManager().transform_cell(code))


def imports_of(source):
    """What the cells of a notebook import, by name."""
    imports = [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec(compile(ast.Module(body=imports, type_ignores=[]), source.name, "exec"), names)
    return names


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_imported_names_and_their_attributes_exist(source):
    tree, names, checked = tree_of(source), imports_of(source), 0
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


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_exercise_has_a_right_solution(source, capsys):
    notebook = jupytext.read(source)
    students = [cell.source for cell in of_students(notebook) if "\ncheck(" in f"\n{cell.source}"]
    solved = [cell.source for cell in notebook.cells if is_tagged(cell, "solution")]
    assert len(solved) == len(students)
    for open_cell, cell in zip(students, solved, strict=True):
        assert "..." in open_cell and open_cell.split("check(")[1].split(",")[0] in cell  # it stands below its exercise
        exec(cell, imports_of(source))
        assert capsys.readouterr().out == "Right.\n", cell
    assert set(solved) <= {cell.source for cell in solution(notebook).cells}


COURSE = """# %% [markdown]
# # Two exercises

# %%
import numpy as np
from hiercl.exercises import check

# %%
check("00 chance", ...)

# %% tags=["solution"]
# 3,600 / 12
check("00 chance", 300)

# %%
def pushed(items):
    \"\"\"Returns a matrix.\"\"\"
    return ...


check("02 pushed", pushed)

# %% tags=["solution"]
def pushed(items):
    \"\"\"Returns a matrix.\"\"\"
    return items[:, None] != items[None, :]


check("02 pushed", pushed)

# %% [markdown] tags=["teacher"]
# Five minutes.
"""


def test_an_assignment_is_handed_out_collected_and_graded(tmp_path):
    """nbgrader's circle: release, one right and one wrong submission, grades, feedback."""
    made = assignment(jupytext.reads(COURSE, "py:percent"))
    nbformat.validate(made)
    for folder in ("source/pairs", "submitted/ada/pairs", "submitted/bob/pairs"):
        (tmp_path / folder).mkdir(parents=True)
    write(made, tmp_path / "source/pairs/pairs.ipynb")
    (tmp_path / "nbgrader_config.py").write_text(CONFIG)

    def nbgrader(*words):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls alembic by name
        command = [sys.executable, "-m", "nbgrader", *words]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    nbgrader("generate_assignment", "pairs")
    released = nbformat.read(tmp_path / "release/pairs/pairs.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in released.cells)
    assert "300" not in text and "items[:, None]" not in text and "Five minutes" not in text and "3,600" not in text
    assert '"""Returns a matrix."""\n    ...' in text
    for student_name, answer in (("ada", "300"), ("bob", "12")):
        for cell in released.cells:
            if cell.source.startswith("answer"):
                cell.source = f"answer = {answer}"
        write(released, tmp_path / f"submitted/{student_name}/pairs/pairs.ipynb")
    nbgrader("autograde", "pairs")
    nbgrader("generate_feedback", "pairs")
    nbgrader("export")
    grades = pd.read_csv(tmp_path / "grades.csv").set_index("student_id")
    assert grades.max_score.tolist() == [2, 2]
    assert grades.score.to_dict() == {"ada": 1, "bob": 0}  # neither has written the function
    feedback = (tmp_path / "feedback/bob/pairs/pairs.html").read_text()
    assert "Not yet" in feedback and "your function gives no answer yet" in feedback


PREDICT = """# %% [markdown]
# **Predict**: how many?

# %%
def count():
    print("when it is called")
    return 3

class Mine:
    pass

# %%
found = [count() for _ in range(3)]

# %%
count()

# %% [markdown]
# A text.

# %%
count() + 1
"""


def test_the_cell_below_a_prediction_asks_for_it():
    cells = jupytext.reads(PREDICT, "py:percent").cells
    assert [cell.source for cell in predicted(cells)] == ["count()"]
    made = assignment(jupytext.reads(PREDICT, "py:percent"))
    assert [cell.source for cell in made.cells if cell.source.startswith("%%predict")] == ["%%predict\ncount()"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_prediction_has_a_cell_that_shows_the_result(source):
    cells = of_students(jupytext.read(source))
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown" and "**Predict**" in cell.source:
            below = itertools.takewhile(lambda other: other.cell_type == "code", cells[place + 1 :])
            assert predicted([cell, *below]), f"nothing is shown below: {cell.source}"


def test_the_edition_of_teachers_makes_slides(tmp_path):
    made = teacher(with_outputs(NOTEBOOKS / "source" / "02_pairs.py"))
    assert any(is_tagged(cell, "solution") for cell in made.cells)
    write(made, tmp_path / "pairs.ipynb")
    command = ["-m", "nbconvert", "--to", "slides", "--no-input", "pairs.ipynb"]
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    page = (tmp_path / "pairs.slides.html").read_text()
    headings = sum(cell.cell_type == "markdown" and cell.source.startswith("#") for cell in made.cells)
    assert page.count("<section") >= headings and page.count("<img") >= page_pictures(made)


def page_pictures(notebook):
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
