"""The notebooks that are committed are those of their sources, and carry no widget state."""

from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_notebook_is_that_of_its_source(source):
    wanted, there = jupytext.read(source), jupytext.read(NOTEBOOKS / f"{source.stem}.ipynb")
    assert [(c.cell_type, c.source) for c in there.cells] == [(c.cell_type, c.source) for c in wanted.cells]
    assert "widgets" not in there.metadata
    assert all(cell.outputs or cell.execution_count for cell in there.cells if cell.cell_type == "code")
