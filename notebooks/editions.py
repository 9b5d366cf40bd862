"""Makes the editions of the notebooks for a course: solutions, for teachers, and assignments for nbgrader.

    .venv/bin/python notebooks/editions.py course            # of all notebooks
    .venv/bin/python notebooks/editions.py course 02_pairs   # of one notebook

A source in notebooks/source/ has tags. A cell with the tag ``solution`` stands below its exercise. A cell with the tag
``teacher`` says what teachers need: minutes, typical mistakes, how open questions are marked. The notebooks in
notebooks/ are the edition for students, without both. Nothing is executed here: outputs are those of these notebooks.

* ``course/solution``: the solutions in place of the exercises.
* ``course/teacher``: exercises, solutions and the cells for teachers. ``jupyter nbconvert --to slides`` makes slides.
* ``course/nbgrader``: a course of nbgrader. Every notebook with exercises is an assignment, every exercise a point.
  Where a text says **Predict**, the cell below begins with ``%%predict``: it shows its result after a prediction.
"""

from __future__ import annotations

import ast
import copy
import sys
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
CONFIG = """import os

os.environ.setdefault("HIERCL_FAST", "1")  # tiny settings: grading a notebook takes about half a minute
c = get_config()
c.CourseDirectory.course_id = "hiercl"
c.ClearSolutions.code_stub = {"python": "..."}
c.Execute.timeout = 600
"""


def main(out: Path, names: list[str]) -> None:
    """Writes all editions of the named notebooks, or of all."""
    if unknown := [name for name in names if not (HERE / "source" / f"{name}.py").exists()]:
        raise SystemExit(f"There is no notebook {', '.join(unknown)}. Names are such as 02_pairs, without a suffix.")
    for path in [HERE / "source" / f"{name}.py" for name in names] or sorted((HERE / "source").glob("*.py")):
        notebook = with_outputs(path)
        write(solution(notebook), out / "solution" / f"{path.stem}.ipynb")
        write(teacher(notebook), out / "teacher" / f"{path.stem}.ipynb")
        if any(is_tagged(cell, "solution") for cell in notebook.cells):
            write(assignment(notebook), out / "nbgrader" / "source" / path.stem / f"{path.stem}.ipynb")
    (out / "nbgrader" / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    print(f"Written to {out}.")


def is_tagged(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", ())


def student(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook without solutions and without the cells for teachers."""
    return with_cells(notebook, of_students(notebook))


def of_students(notebook: NotebookNode) -> list[NotebookNode]:
    """Returns the cells that students see."""
    return [cell for cell in notebook.cells if not (is_tagged(cell, "solution") or is_tagged(cell, "teacher"))]


def solution(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook with the solutions in place of the exercises."""
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        if is_tagged(cell, "solution"):
            cells.pop()
        if not is_tagged(cell, "teacher"):
            cells.append(cell)
    return with_cells(notebook, cells)


def teacher(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook with everything. Every heading begins a slide; code without a figure or table is on none."""
    notebook = with_cells(notebook, notebook.cells)
    for cell in notebook.cells:
        heading = cell.cell_type == "markdown" and cell.source.startswith("#")
        shown = cell.cell_type == "markdown" or any("data" in output for output in cell.get("outputs", ()))
        cell.metadata["slideshow"] = {"slide_type": "slide" if heading else "-" if shown else "skip"}
    return notebook


def assignment(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook for nbgrader: students write between its marks, and a locked cell behind gives a point."""
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        if is_tagged(cell, "solution"):
            name, code, test = marked(cells.pop().source, cell.source)
            key = name.replace(" ", "-")
            cells.append(graded(code, f"{key}-answer", solution=True))
            cells.append(graded(test, f"{key}-test", points=1))
        elif not is_tagged(cell, "teacher"):
            cells.append(cell)
    notebook = with_cells(notebook, cells)
    for cell in predicted(notebook.cells):
        cell.source = f"%%predict\n{cell.source}"
        cell.outputs, cell.execution_count = [], None
    return notebook


def predicted(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Returns the cells that show what a text asks to predict: those below it, up to the next text or exercise.

    A cell that only computes or defines something has no answer.
    """
    found, asked = [], False
    for cell in cells:
        if cell.cell_type != "code":
            asked = "**Predict**" in cell.source
        elif "nbgrader" in cell.metadata:
            asked = False
        elif asked and shows(cell.source):
            found.append(cell)
    return found


def shows(code: str) -> bool:
    """Whether a cell ends in an expression, prints, or draws. What a function would do does not count."""
    body = [part for part in ast.parse(code).body if not isinstance(part, ast.FunctionDef | ast.ClassDef)]
    called = [ast.unparse(node.func) for part in body for node in ast.walk(part) if isinstance(node, ast.Call)]
    return any(isinstance(last, ast.Expr) for last in body[-1:]) or any(
        name in ("print", "display") or name.startswith(("plt.", "hiercl.plot.", "hiercl.explore.")) for name in called
    )


def marked(exercise: str, solved: str) -> tuple[str, str, str]:
    """Returns the name of an exercise, the cell with its solution between nbgrader's marks, and the cell of the test.

    An exercise asks for a value, ``check("00 chance", ...)``, or for a function of the same cell, ``check("02 loss",
    loss)``. The marks stand around the value, or around the body of the function.

    Raises:
        ValueError: the last line is no such check.
    """
    tree, lines = ast.parse(solved), solved.splitlines()
    last = tree.body[-1]
    if not (isinstance(last, ast.Expr) and isinstance(call := last.value, ast.Call) and len(call.args) == 2):
        raise ValueError(f'The last line of an exercise is check("name", answer). The cell:\n{exercise}')
    name, asked = ast.literal_eval(call.args[0]), ast.get_source_segment(solved, call.args[1]) or ""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    before = lines[: last.lineno - 1]
    if asked in functions:
        body = functions[asked].body[1:] if ast.get_docstring(functions[asked]) else functions[asked].body
        first, end = body[0].lineno - 1, body[-1].end_lineno
        before[first:end] = ["    ### BEGIN SOLUTION", *lines[first:end], "    ### END SOLUTION"]
    else:
        inside = [f"    {line}" for line in before if line.strip()]
        before = ["answer = (", "    ### BEGIN SOLUTION", *inside, f"    {asked}", "    ### END SOLUTION", ")"]
        asked = "answer"
    test = f'from hiercl.exercises import grade\n\ngrade("{name}", {asked})'
    return name, "\n".join(before).strip(), test


def graded(code: str, key: str, *, solution: bool = False, points: int = 0) -> NotebookNode:
    """Returns a cell with nbgrader's metadata."""
    about = {"grade": points > 0, "solution": solution, "locked": not solution, "task": False, "grade_id": key}
    about |= {"schema_version": 3} | ({"points": points} if points else {})
    return nbformat.v4.new_code_cell(code, metadata={"nbgrader": about})


def with_outputs(source: Path) -> NotebookNode:
    """Reads a source, and gives its cells the outputs of the notebook in notebooks/.

    Raises:
        SystemExit: the notebook is not that of the source.
    """
    notebook, built = jupytext.read(source), nbformat.read(HERE / f"{source.stem}.ipynb", as_version=4)
    cells = of_students(notebook)
    if [cell.source for cell in cells] != [cell.source for cell in built.cells]:
        raise SystemExit(f"{source.stem}.ipynb is not that of its source: make notebooks NAMES={source.stem}")
    for cell, other in zip(cells, built.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = other.outputs, other.execution_count
    notebook.metadata = built.metadata
    return notebook


def with_cells(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    """Returns a copy of a notebook with other cells, numbered anew."""
    new = nbformat.v4.new_notebook(metadata=notebook.metadata, cells=copy.deepcopy(cells))
    for number, cell in enumerate(new.cells):
        cell["id"] = f"cell-{number}"
    return new


def write(notebook: NotebookNode, path: Path) -> None:
    """Writes a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
