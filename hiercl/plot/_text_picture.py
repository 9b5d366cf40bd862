"""Pictures of texts: a tile with the first words, as large as they fit."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hiercl.plot._colours import TEXT
from hiercl.runtime.types import UInt8

SIDE, MARGIN = 160, 8  # pixels
ROOM = SIDE - 2 * MARGIN
SIZES = (30, 26, 22)  # of letters in pixels: the largest at which the whole text fits, else the smallest
PAPER = "#F4F1EA"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=4096)
def text_picture(text: str) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a text as a square tile: its first words, wrapped. What does not fit is cut, with "…" at its end.

    Args:
        text: any text.

    Returns:
        The picture, uint8 ``[160, 160, 3]``. All callers share it, so it cannot be written to.

    Example:
        >>> text_picture("The cat sat on the mat.").shape
        (160, 160, 3)
    """
    text = " ".join(text[:2000].split())  # more never fits
    for size in SIZES:
        font = ImageFont.truetype(str(FONT), size)
        lines, rest = wrapped(text, font, most=ROOM // round(1.15 * size))
        if not rest and all(font.getlength(word) <= ROOM for word in text.split()):
            break
    image = Image.new("RGB", (SIDE, SIDE), PAPER)
    place: dict[str, Any] = {"anchor": "mm", "align": "center"} if not rest else {"anchor": "lm", "align": "left"}
    x = SIDE / 2 if not rest else MARGIN
    ImageDraw.Draw(image).multiline_text((x, SIDE / 2), "\n".join(lines), TEXT, font, spacing=0.15 * size, **place)
    drawn = np.asarray(image)
    drawn.flags.writeable = False
    return drawn


def wrapped(text: str, font: ImageFont.FreeTypeFont, most: int) -> tuple[list[str], str]:
    """Breaks a text into lines of the width of a tile, between words where it can.

    Args:
        text: words with single spaces between them.
        font: the font.
        most: number of lines at most.

    Returns:
        The lines, the last with "…" if the text goes on; and what does not fit.
    """
    lines: list[str] = []
    while text and len(lines) < most:
        count = _fitting(text, font)
        if count < len(text) and " " in text[: count + 1]:
            count = text[: count + 1].rindex(" ")
        lines.append(text[:count])
        text = text[count:].lstrip()
    if text:
        lines[-1] = lines[-1][: _fitting(lines[-1], font, "…")].rstrip() + "…"
    return lines, text


def _fitting(text: str, font: ImageFont.FreeTypeFont, end: str = "") -> int:
    """Number of the first letters that fit into a line, with an end after them; at least one."""
    count = 1
    while count < len(text) and font.getlength(text[: count + 1] + end) <= ROOM:
        count += 1
    return count
