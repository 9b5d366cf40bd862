"""Notebooks keep to their form; those that are committed are those of their sources, and carry no widget state."""

from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_notebook_is_that_of_its_source(source):
    built = NOTEBOOKS / f"{source.stem}.ipynb"
    assert built.exists(), f"{built.name} is not there: make notebooks NAMES={source.stem}"
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
        assert len(lines) <= 15 and not any(line.startswith("class ") for line in lines), cell
