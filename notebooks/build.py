"""Makes the notebooks from their sources: executed, with figures, without widget state.

    .venv/bin/python notebooks/build.py                  # all
    .venv/bin/python notebooks/build.py 01_pairs         # one of them
    .venv/bin/python notebooks/build.py --text 01_pairs  # its text alone: nothing is executed, what came out stays

A source is notebooks/source/NAME.py (jupytext's percent form); the notebook is notebooks/NAME.ipynb.
"""

from __future__ import annotations

import base64
import io
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
MOST_BYTES = 700_000
EXACT, SWATCH, APART = 128, 12, 8  # colours of a figure that are kept; pixels inside their areas; steps between two
PLACE = re.compile(r"\S+ipykernel_\d+/\d+\.py:\d+: ")  # where a warning was raised: another file in every run
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(names: list[str]) -> None:
    """Builds the named notebooks, or all."""
    text = "--text" in names
    names = [name for name in names if name != "--text"]
    sources = [HERE / "source" / f"{name}.py" for name in names] or sorted((HERE / "source").glob("*.py"))
    for source in sources:
        target = HERE / f"{source.stem}.ipynb"
        start = time.perf_counter()
        notebook = with_outputs_of(target, source) if text else executed(source)
        target.write_text(nbformat.writes(plain(notebook)) + "\n", encoding="utf-8")
        size = target.stat().st_size
        print(f"{target.name}: {time.perf_counter() - start:.0f} s, {size / 1e6:.2f} MB", flush=True)
        if size > MOST_BYTES:
            raise SystemExit(f"{target.name} has {size:,} bytes, more than {MOST_BYTES:,}: fewer or smaller figures.")


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, run to its end."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
    return notebook


def with_outputs_of(built: Path, source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, with what came out when an earlier one of the same code was executed."""
    notebook, earlier = jupytext.read(source), nbformat.read(built, as_version=4)
    cells, before = ([cell for cell in of.cells if cell.cell_type == "code"] for of in (notebook, earlier))
    if [cell.source for cell in cells] != [cell.source for cell in before]:
        raise SystemExit(f"{source.name} has other code than {built.name}: build it without --text.")
    for cell, old in zip(cells, before, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    notebook.metadata = earlier.metadata
    return notebook


def plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without the state of widgets, which takes megabytes and shows nothing where there is no kernel; without times."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same in every build
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if not is_bar(output)]
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = PLACE.sub("", output.text)
            data = output.get("data", {})
            if WIDGET in data:
                output["data"] = {"text/plain": "An explorer: run this cell in JupyterLab to use it."}
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
    return notebook


def is_bar(output: nbformat.NotebookNode) -> bool:
    """Whether it is a progress bar, which is of no use once it is full."""
    data = output.get("data", {})
    return WIDGET in data and "%|" in str(data.get("text/plain", ""))


def smaller(png: str) -> str:
    """A figure in 256 colours, far fewer bytes: those of larger flat areas exactly, the others nearly."""
    image, buffer = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if image.mode == "P":
        return png  # it is so already
    image = image.convert("RGB")
    exact = flat_colours(image)
    if len(exact) == 0:  # nothing is flat
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
    """The colours of a figure's larger flat areas, sorted; of those that look alike, one."""
    code = np.pad(packed(image), 1, constant_values=2**24)  # a colour that no pixel has
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
    """One number a pixel, ``[h, w]``."""
    return np.asarray(image, dtype=np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


if __name__ == "__main__":
    main(sys.argv[1:])
