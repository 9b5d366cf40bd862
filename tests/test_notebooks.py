"""Notebooks keep to their form; those that are committed are those of their sources, and carry no widget state."""

import base64
import importlib.util
import io
from pathlib import Path

import jupytext
import numpy as np
import pytest
from PIL import Image

from hiercl.plot._colours import categorical

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


def test_figures_are_smaller_and_keep_the_colours_of_swatches():
    spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
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
    for size in ((1, 1), (20, 20)):  # nothing flat at all
        tiny = io.BytesIO()
        Image.fromarray(picture[100 : 100 + size[0], 100 : 100 + size[1]]).save(tiny, "PNG")
        assert build.smaller(base64.b64encode(tiny.getvalue()).decode())
