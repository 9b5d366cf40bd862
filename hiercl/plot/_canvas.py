"""What all figures share: a sheet measured in inches, text that knows its width, pictures in a row."""

from functools import lru_cache
from typing import Any, SupportsIndex

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from hiercl.datasets import HierarchicalDataset
from hiercl.plot._cloud_picture import cloud_picture
from hiercl.plot._colours import GREY, TEXT
from hiercl.runtime.types import UInt8

WIDTH = 9.0  # inches; with 100 dots an inch the width of a notebook
DPI = 100
SMALL, NORMAL, TITLE = 8, 9, 11  # font sizes


def new_figure(width: float | int, height: float | int, **options) -> Figure:
    """A figure that pyplot knows (so that notebooks display it) but does not show by itself."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), dpi=DPI, facecolor="white", **options)
    plt.close(figure)
    return figure


def sheet(width: float | int, height: float | int, title: str = "", note: str = "") -> tuple[Figure, Axes]:
    """A figure and one axis over all of it, in inches from the top left corner; a title takes the first half inch."""
    figure = new_figure(width, height)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    if title:
        axis.text(0.1, 0.08, title, size=TITLE, weight="bold", color=TEXT, va="top")
    if note:
        axis.text(0.1, 0.3, note, size=SMALL, color=GREY, va="top")
    return figure, axis


def panels(
    rows: int, columns: int, height: float | int, width: float | int = WIDTH, **options
) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of axes ``[rows, columns]``, laid out so that nothing overlaps."""
    figure = new_figure(width, height, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def given(ax: Any, count: int = 1, choose: str = "") -> tuple[Figure, np.ndarray]:
    """A caller's axis in the place of :func:`panels`; raises ValueError where it is none, or one is too few."""
    if not isinstance(ax, Axes):
        kind = type(ax).__name__
        raise ValueError(f"ax is a {kind}: give one matplotlib axis, such as figure, ax = plt.subplots().")
    if ax.name != "rectilinear":
        raise ValueError(f"ax is {ax.name}: give a plain axis, without projection=.")
    if count != 1:
        raise ValueError(f"ax is one panel, and this figure has {count}: {choose}, or leave ax out.")
    return ax.get_figure(root=True), np.array([[ax]])


def headline(figure: Figure, text: str) -> None:
    """The title of a figure of several panels."""
    figure.suptitle(text, size=TITLE, weight="bold", color=TEXT, x=0.01, ha="left")


def light(axis: Axes, grid: str = "y") -> None:
    """Takes away what an axis does not need, and adds a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#E8E8E8", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=SMALL, length=0)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float | int = NORMAL) -> float:
    """Width of a line of text in inches (with a little air, since renderers differ)."""
    return 1.06 * float(TextPath((0, 0), text.replace("$", "S"), size=size).get_extents().width) / 72 if text else 0.0


def readable(name: str) -> str:
    """A class name as one would write it; a dollar sign would start a formula."""
    return name.replace("_", " ").replace("$", r"\$")


def shortened(name: str, width: float | int, points: float | int = 7) -> str:
    """A name, cut to a width in inches; bold letters fit too."""
    if 1.12 * text_width(name, points) <= width:
        return name
    while name and 1.12 * text_width(name + "…", points) > width:
        name = name[:-1]
    return name.rstrip() + "…"


def items_name(dataset: HierarchicalDataset) -> str:
    """What its items are called in titles."""
    return "pictures" if dataset.kind == "images" else "point clouds"


def check_item(item: int, count: int) -> None:
    """Raises ValueError for the number of an item that does not exist."""
    if not 0 <= item < count:
        raise ValueError(f"there is no item {item}: there are {count:,}, counted from 0.")


def check_level(level: int, levels: int, what: str) -> int:
    """A level counted from 0; raises ValueError for one that does not exist."""
    if not -levels <= level < levels:
        raise ValueError(f"there is no level {level}: {what} has the levels 0 to {levels - 1}, coarse to fine.")
    return level % levels


def draw_pictures(
    axis: Axes,
    dataset: HierarchicalDataset,
    items: np.ndarray,
    left: float | int,
    top: float | int,
    size: float | int,
    gap: float | int = 0.04,
) -> list[float]:
    """Pictures in a row on a sheet; gives the left edge of each."""
    lefts = [left + k * (size + gap) for k in range(len(items))]
    for item, x in zip(items, lefts, strict=True):
        axis.imshow(picture(dataset, item), extent=(x, x + size, top + size, top), interpolation="antialiased")
    # imshow sets the limits to the last picture: back to the whole sheet.
    width, height = axis.figure.get_size_inches()
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return lefts


def picture(dataset: HierarchicalDataset, item: SupportsIndex) -> UInt8[np.ndarray, "h w c"]:
    """A picture of any item, with 3 or 4 channels: the picture itself, or a point cloud drawn.

    Raises ValueError for an item that does not exist.
    """
    check_item(int(item), len(dataset))
    content = np.asarray(dataset.items[int(item)])
    if dataset.kind == "points":
        return _drawn(content.tobytes())
    return np.repeat(content, 3, axis=2) if content.shape[2] == 1 else content


@lru_cache(maxsize=512)
def _drawn(cloud: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """A cloud drawn once: by its content, so that no data set is kept alive, and a changed cloud is drawn anew."""
    drawn = cloud_picture(np.frombuffer(cloud, dtype=np.float32).reshape(-1, 3))
    drawn.flags.writeable = False  # the next to ask for it gets the same one
    return drawn


def branch(axis: Axes, x: float | int, y: float | int, to_x: float | int, to_y: float | int, colour) -> None:
    """A smooth edge of a tree that grows to the right."""
    t = np.linspace(0, 1, 24)
    rise = t * t * (3 - 2 * t)
    axis.plot(x + (to_x - x) * t, y + (to_y - y) * rise, color=colour, linewidth=1.2, solid_capstyle="round", zorder=1)
