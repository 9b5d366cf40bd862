"""Gallery: pictures in framed rows that can be clicked, as a widget."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._widgets import needed
from hiercl.plot._canvas import picture

SIDE = 48  # pixels on the screen
SCRIPT = """
function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "hiercl-gallery";
  el.appendChild(box);
  function tile(entry) {
    const button = document.createElement("button");
    button.style.borderColor = entry.colour;
    button.title = entry.title;
    button.setAttribute("aria-label", entry.title);
    button.setAttribute("aria-pressed", String(entry.item === model.get("clicked")));
    const image = document.createElement("img");
    image.src = entry.picture;
    image.alt = "";
    button.appendChild(image);
    for (const [number, line] of entry.lines.entries()) {
      const text = document.createElement("span");
      text.textContent = line;
      if (number === 0 && entry.bold) text.className = "bold";
      button.appendChild(text);
    }
    button.onclick = () => { model.set("clicked", entry.item); model.save_changes(); };
    return button;
  }
  function draw() {
    box.replaceChildren();
    for (const row of model.get("rows")) {
      const head = document.createElement("div");
      head.className = "head";
      head.style.color = row.colour;
      head.textContent = row.title;
      const note = document.createElement("span");
      note.textContent = row.note;
      head.appendChild(note);
      const tiles = document.createElement("div");
      tiles.className = "tiles";
      tiles.append(...row.entries.map(tile));
      box.append(head, tiles);
    }
  }
  model.on("change:rows", draw);
  model.on("change:clicked", draw);
  draw();
}
export default { render };
"""
STYLE = """
.hiercl-gallery { font: 12px system-ui, sans-serif; color: #222; }
.hiercl-gallery .head { font-weight: 600; margin: 6px 0 2px; }
.hiercl-gallery .head span { color: #555; font-weight: 400; margin-left: 8px; }
.hiercl-gallery .tiles { display: flex; flex-wrap: wrap; gap: 4px; }
.hiercl-gallery button { display: flex; flex-direction: column; align-items: center; width: 76px; padding: 2px;
  background: white; border: 3px solid; border-radius: 4px; cursor: pointer; font: inherit; color: inherit; }
.hiercl-gallery button[aria-pressed=true] { background: #fff3b0; }
.hiercl-gallery button:focus-visible { outline: 2px solid #222; }
.hiercl-gallery img { width: 48px; height: 48px; image-rendering: pixelated; }
.hiercl-gallery button span { max-width: 72px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  line-height: 1.25; font-size: 11px; }
.hiercl-gallery .bold { font-weight: 700; }
"""


@cache
def _kind() -> type:
    anywidget, traitlets = needed("anywidget"), needed("traitlets")

    class Gallery(anywidget.AnyWidget):
        """Rows of pictures; ``clicked`` is the item that was clicked last, −1 before the first click."""

        _esm, _css = SCRIPT, STYLE
        rows = traitlets.List().tag(sync=True)
        clicked = traitlets.Int(-1).tag(sync=True)

    return Gallery


def gallery(rows: Sequence[dict[str, Any]] = ()) -> Any:
    """The widget, with :func:`row` s.

    Raises:
        ImportError: anywidget is not installed.
    """
    return _kind()(rows=list(rows))


def row(
    dataset: HierarchicalDataset,
    items: np.ndarray,
    lines: Sequence[Sequence[str]],
    title: str = "",
    note: str = "",
    colour: str = "#bbbbbb",
    bold: Sequence[bool] | None = None,
) -> dict[str, Any]:
    """Pictures of items in a frame, each with lines below it, under a title.

    Args:
        items: of the data set.
        lines: for every picture; empty ones are left out.
        title, note, colour: of the row.
        bold: whether the first line of a picture is.
    """
    bold = [False] * len(items) if bold is None else bold
    entries = [
        {
            "item": int(item),
            "picture": data_uri(dataset, int(item)),
            "lines": [line for line in below if line],
            "title": ", ".join(line for line in below if line),
            "colour": colour,
            "bold": bool(strong),
        }
        for item, below, strong in zip(items, lines, bold, strict=True)
    ]
    return {"title": title, "note": note, "colour": colour, "entries": entries}


def data_uri(dataset: HierarchicalDataset, item: int) -> str:
    """The picture of an item (a cloud is drawn), small, as an address that needs no server."""
    from PIL import Image

    image = Image.fromarray(picture(dataset, item))
    image.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
