"""Galleries: rows of pictures, each in a frame, that can be clicked."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._widgets import own_widget
from hiercl.plot._canvas import picture, source_text

SIDE = 48  # pixels on the screen


def gallery() -> Any:
    """Makes an empty gallery. Its ``rows`` are made by :func:`row`; ``clicked`` is the item clicked last, or −1."""
    return own_widget("gallery", rows=[], clicked=-1)


def row(
    dataset: HierarchicalDataset,
    items: np.ndarray,
    lines: Sequence[Sequence[str]],
    title: str = "",
    note: str = "",
    colour: str = "#767676",
    bold: Sequence[bool] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Returns a row of a gallery: pictures of items, each with lines of text below it. Where the mouse rests, it shows
    these lines, and the text that a vector was made of.

    Args:
        dataset: Data set of the items.
        items: Indices in the data set.
        lines: Lines of text for each picture. Empty ones are left out.
        title: Title of the row.
        note: Text beside the title.
        colour: Colour of the title and the frames.
        bold: Whether the first line is bold, for each picture. By default none is.
        pictures: What is shown of each item. By default the item itself.
    """
    pictures = [picture(dataset, item) for item in items] if pictures is None else pictures
    entries = [
        {
            "item": int(item),
            "picture": data_uri(shown),
            "lines": [line for line in below if line],
            "title": "\n".join(filter(None, [", ".join(filter(None, below)), source_text(dataset, item)])),
            "colour": colour,
            "bold": bool(strong),
        }
        for item, shown, below, strong in zip(items, pictures, lines, bold or [False] * len(items), strict=True)
    ]
    return {"title": title, "note": note, "colour": colour, "entries": entries}


def data_uri(shown: np.ndarray) -> str:
    """Returns a small picture as an address that needs no server."""
    image = Image.fromarray(shown)
    image.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
