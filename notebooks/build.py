"""Builds the notebooks from their sources: executed, with figures, without widget state.

    .venv/bin/python notebooks/build.py                   # all notebooks
    .venv/bin/python notebooks/build.py 02_pairs          # one notebook
    .venv/bin/python notebooks/build.py --texts 02_pairs  # only its texts: nothing is executed, the outputs stay

A source is notebooks/source/NAME.py (jupytext's percent format). The notebook is notebooks/NAME.ipynb, the edition for
students: solutions and cells for teachers are left out (notebooks/editions.py).
"""

from __future__ import annotations

import ast
import base64
import io
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import numpy as np
from editions import student
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
MOST_BYTES = 850_000
EXACT = 128  # largest number of colours that a figure keeps exactly
SWATCH = 12  # smallest number of pixels inside a flat area whose colour is kept
APART = 8  # smallest difference between two kept colours, in steps of 0 to 255
PLACE = re.compile(r"\S+ipykernel_\d+/\d+\.py:\d+: ")  # place of a warning; its file name changes with every run
BUSY = re.compile(r"^Other processes leave .* cores free: .*\n+", re.MULTILINE)  # of the machine that built it
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(names: list[str]) -> None:
    """Builds the named notebooks, or all of them."""
    texts = "--texts" in names
    names = [name for name in names if name != "--texts"]
    sources = [HERE / "source" / f"{name}.py" for name in names] or sorted((HERE / "source").glob("*.py"))
    for source in sources:
        target = HERE / f"{source.stem}.ipynb"
        start = time.perf_counter()
        notebook = with_stored_outputs(source, target) if texts else executed(source)
        target.write_text(nbformat.writes(plain(notebook)) + "\n", encoding="utf-8")
        size = target.stat().st_size
        print(f"{target.name}: {time.perf_counter() - start:.0f} s, {size / 1e6:.2f} MB", flush=True)
        if size > MOST_BYTES:
            raise SystemExit(
                f"{target.name} has {size:,} bytes, more than {MOST_BYTES:,}: draw fewer or smaller figures."
            )


def executed(source: Path) -> nbformat.NotebookNode:
    """Executes a source and returns its notebook."""
    notebook = student(jupytext.read(source))
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
    return notebook


def with_stored_outputs(source: Path, stored: Path) -> nbformat.NotebookNode:
    """Returns the notebook of a source with the outputs of the stored notebook, without executing anything.

    Args:
        source: the source, whose texts are taken.
        stored: the notebook of an earlier execution, whose outputs are taken.

    Raises:
        SystemExit: the notebook is missing, has other code cells, or has a code cell that does something else.
    """
    if not stored.exists():
        raise SystemExit(f"{stored.name} does not exist, so there are no outputs to keep. Build it without --texts.")
    notebook, earlier = student(jupytext.read(source)), nbformat.read(stored, as_version=4)
    cells, before = ([cell for cell in of.cells if cell.cell_type != "markdown"] for of in (notebook, earlier))
    if [cell.cell_type for cell in cells] != [cell.cell_type for cell in before]:
        raise SystemExit(
            f"{source.name} has {len(cells)} code cells and {stored.name} has {len(before)}, or their kinds differ. "
            "Build it without --texts."
        )
    for number, (cell, old) in enumerate(zip(cells, before, strict=True), start=1):
        if cell.cell_type != "code":
            continue
        if statements(cell.source) != statements(old.source):
            raise SystemExit(
                f"Code cell {number} of {source.name} differs from {stored.name} in more than comments, docstrings, "
                f"blank lines and imports. Build it without --texts. The cell:\n{cell.source}"
            )
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    notebook.metadata = earlier.metadata
    return notebook


def statements(code: str) -> str:
    """The syntax tree of a cell as text, without comments, docstrings, blank lines and imports."""
    tree = ast.parse(TransformerManager().transform_cell(code))  # lines such as "%config ..." become calls
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
        if isinstance(getattr(node, "body", None), list):
            node.body = [line for line in node.body if not isinstance(line, ast.Import | ast.ImportFrom)]
    return ast.dump(tree)


def plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Removes times and the state of widgets, which takes megabytes and shows nothing without a kernel."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same in every build
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = BUSY.sub("", PLACE.sub("", output.text))
        cell.outputs = [output for output in cell.outputs if not is_bar(output) and output.get("text") != ""]
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET in data:
                output["data"] = {"text/plain": "An explorer: run this cell in JupyterLab to use it."}
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
    return notebook


def is_bar(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a progress bar. A full bar is of no use."""
    data = output.get("data", {})
    return WIDGET in data and "%|" in str(data.get("text/plain", ""))


def smaller(png: str) -> str:
    """Reduces a PNG to 256 colours. Colours of large flat areas stay exact, the others stay similar."""
    image, buffer = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if image.mode == "P":
        return png  # it already has 256 colours
    image = image.convert("RGB")
    exact = flat_colours(image)
    if len(exact) == 0:  # the figure has no flat area
        exact = packed(image)[:1, 0]
    nearly = image.quantize(256 - len(exact))
    index = np.asarray(nearly, dtype=np.uint8) + len(exact)
    place = np.searchsorted(exact, packed(image)).clip(max=len(exact) - 1)
    index = np.where(exact[place] == packed(image), place, index).astype(np.uint8)
    result = Image.fromarray(index, mode="P")
    result.putpalette([part for code in exact.tolist() for part in code.to_bytes(3)] + nearly.getpalette())
    result.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def flat_colours(image: Image.Image) -> np.ndarray:
    """Returns the sorted colours of a figure's large flat areas, one for each group of similar colours."""
    code = np.pad(packed(image), 1, constant_values=2**24)  # the border gets a colour that no pixel has
    inner = code[1:-1, 1:-1]
    around = np.lib.stride_tricks.sliding_window_view(code, (3, 3))
    colour, count = np.unique(inner[(around == inner[:, :, None, None]).all(axis=(2, 3))], return_counts=True)
    often = np.argsort(-count, kind="stable")[: (count >= SWATCH).sum()]
    channels = np.stack([colour >> 16, colour >> 8 & 255, colour & 255], axis=1).astype(int)
    kept: list[int] = []
    for place in often.tolist():
        if len(kept) < EXACT and (abs(channels[kept] - channels[place]).max(axis=1) >= APART).all():
            kept.append(place)
    return np.sort(colour[kept])


def packed(image: Image.Image) -> np.ndarray:
    """One number per pixel, ``[h, w]``."""
    return np.asarray(image, dtype=np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


if __name__ == "__main__":
    main(sys.argv[1:])
