"""What all figures share: sheets measured in inches, text of known width, panels, legends, rows of pictures."""

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, SupportsIndex, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.plot._cloud_picture import cloud_picture
from hiercl.plot._colours import GREY, TEXT
from hiercl.plot._text_picture import text_picture
from hiercl.runtime.types import UInt8

Inches = float | int
WIDTH = 9.0  # inches; with 110 dots per inch the width of a notebook
DPI = 110
SMALL, NORMAL, TITLE = 9, 10, 12  # font sizes in points, which one can read from a projector; no text is smaller
NOTE, LINE = 0.32, 0.165  # inches from the top to the note of a sheet; height of a line of small text
LETTERS = 15.0  # of a small text, in an inch, about


def new_figure(width: Inches, height: Inches, title: str = "", **options) -> Figure:
    """Makes a figure that pyplot knows, so that notebooks display it, but that does not show by itself."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), dpi=DPI, facecolor="white", **options)
    plt.close(figure)
    if title:
        figure.suptitle(title, size=TITLE, weight="bold", color=TEXT, x=0.01, ha="left")
    return figure


def sheet(width: Inches, height: Inches, title: str = "", note: str = "") -> tuple[Figure, Axes]:
    """Makes a figure with one axis over all of it, in inches from the top left corner. The title takes 0.5 inch."""
    figure = new_figure(width, height)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    if title:
        axis.text(0.1, 0.08, title, size=TITLE, weight="bold", color=TEXT, va="top")
    if note:
        axis.text(0.1, NOTE, note, size=SMALL, color=GREY, va="top")
    return figure, axis


def wrapped(note: str, width: Inches) -> tuple[str, Inches]:
    """Breaks a note into lines that fit a sheet, and returns it with the height of a header that has room for it."""
    lines = textwrap.wrap(note, int(LETTERS * (width - 0.2)))
    return "\n".join(lines), NOTE + LINE * len(lines) + 0.1


def panels(
    rows: int, columns: int, height: Inches, width: Inches = WIDTH, title: str = "", **options
) -> tuple[Figure, np.ndarray]:
    """Makes a figure with a grid of axes ``[rows, columns]``, in which nothing overlaps."""
    figure = new_figure(width, height, title, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def first_axes(axes: np.ndarray, count: int) -> list[Axes]:
    """Returns the first axes of a grid, and hides the others."""
    for axis in axes.flat[count:]:
        axis.axis("off")
    return list(axes.flat[:count])


def user_axis(ax: Any, count: int = 1, choose: str = "") -> tuple[Figure, np.ndarray]:
    """Returns the user's axis in the form of :func:`panels`.

    Raises:
        ValueError: ``ax`` is not a plain axis, or the figure has several panels.
    """
    if not isinstance(ax, Axes):
        kind = type(ax).__name__
        raise ValueError(f"ax is a {kind}: give one matplotlib axis, such as figure, ax = plt.subplots().")
    if ax.name != "rectilinear":
        raise ValueError(f"ax is {ax.name}: give a plain axis, without projection=.")
    if count != 1:
        raise ValueError(f"ax is one panel, and this figure has {count}: {choose}, or leave ax out.")
    return figure_of(ax), np.array([[ax]])


def figure_of(axis: Axes) -> Figure:
    """Returns the figure that holds an axis."""
    return cast(Figure, axis.get_figure(root=True))


def colour_bar(figure: Figure, image: Any, size: int = SMALL, **place) -> Any:
    """Draws a colour bar without a frame."""
    bar = figure.colorbar(image, **place)
    bar.ax.tick_params(labelsize=size)
    bar.outline.set_visible(False)
    return bar


def panel_title(axis: Axes, text: str, size: int = NORMAL) -> None:
    """Writes the title of a panel."""
    axis.set_title(text, size=size, color=TEXT, loc="left")


def legend_below(figure: Figure, handles: Sequence[Any], columns: int, side: str = "center", **options: Any) -> None:
    """Writes a legend below a figure with several panels."""
    options = {"loc": f"outside lower {side}", "fontsize": SMALL, "frameon": False, "ncols": columns} | options
    figure.legend(handles=handles, **options)


def simple_axis(axis: Axes, grid: Literal["x", "y", "both"] = "y") -> None:
    """Removes the frame and the tick marks of an axis, and adds a pale grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#E8E8E8", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=SMALL, length=0)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float | int = NORMAL) -> float:
    """Returns the width of a line of text in inches, plus 6 % because renderers differ."""
    return 1.06 * float(TextPath((0, 0), text.replace("$", "S"), size=size).get_extents().width) / 72 if text else 0.0


def title_width(title: str) -> float:
    """Returns the width in inches that a sheet needs for its bold title."""
    return 1.15 * text_width(title, TITLE) + 0.2


def readable(name: str) -> str:
    """Returns a class name without underscores. A dollar sign is escaped, because it would start a formula."""
    return name.replace("_", " ").replace("$", r"\$")


def shortened(name: str, width: Inches, points: float | int = SMALL) -> str:
    """Cuts a name to a width in inches. Bold letters fit too."""
    if 1.12 * text_width(name, points) <= width:
        return name
    while name and 1.12 * text_width(name + "…", points) > width:
        name = name[:-1]
    return name.rstrip() + "…"


def percent(share: float | int) -> str:
    """Writes a share in [0, 1] in per cent, with one decimal below 10 %."""
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"


def items_name(dataset: HierarchicalDataset) -> str:
    """Returns what the items are called in titles."""
    return dataset.form.noun


def check_item(item: int, count: int) -> None:
    """Raises ValueError if there is no item with this number."""
    if not 0 <= item < count:
        raise ValueError(f"there is no item {item}: there are {count:,}, counted from 0.")


def check_level(level: int, levels: int, what: str) -> int:
    """Returns a level counted from 0, or raises ValueError if it does not exist."""
    if not -levels <= level < levels:
        raise ValueError(f"there is no level {level}: {what} has the levels 0 to {levels - 1}, coarse to fine.")
    return level % levels


def class_name(dataset: HierarchicalDataset, item: SupportsIndex) -> str:
    """Returns the name of the leaf class of an item, or "no label"."""
    label = int(dataset.labels[int(item)])
    return dataset.hierarchy.leaf_names[label] if label >= 0 else "no label"


def draw_pictures(
    axis: Axes,
    dataset: HierarchicalDataset,
    items: np.ndarray,
    left: Inches,
    top: Inches,
    size: Inches,
    gap: Inches = 0.04,
) -> list[float]:
    """Draws the pictures of items in a row on a sheet. Returns the left edge of each."""
    return draw_row(axis, [picture(dataset, item) for item in items], left, top, size, gap)


def draw_row(
    axis: Axes, pictures: Sequence[np.ndarray], left: Inches, top: Inches, size: Inches, gap: Inches = 0.04
) -> list[float]:
    """Draws pictures in a row on a sheet. Returns the left edge of each."""
    lefts = [left + k * (size + gap) for k in range(len(pictures))]
    for shown, x in zip(pictures, lefts, strict=True):
        axis.imshow(shown, extent=(x, x + size, top + size, top), interpolation="antialiased")
    # imshow sets the limits to the last picture. This sets them back to the whole sheet.
    width, height = figure_of(axis).get_size_inches()
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return lefts


def picture(dataset: HierarchicalDataset, item: SupportsIndex) -> UInt8[np.ndarray, "h w c"]:
    """Returns a picture of any item, with 3 or 4 channels. A vector is drawn as what it was made of.

    Raises:
        ValueError: the item does not exist.
    """
    check_item(int(item), len(dataset))
    return DRAWINGS[dataset.modality](dataset, int(item))


def view_picture(dataset: HierarchicalDataset, view: Tensor | None, item: SupportsIndex) -> UInt8[np.ndarray, "h w c"]:
    """Returns a picture of a view of an item, ``[channels, height, width]``. A view of a vector has the item's picture.

    Where there is no view it returns the picture of the item.
    """
    draw = VIEWS.get(dataset.modality)
    return picture(dataset, item) if view is None or draw is None else draw(view.detach().float().cpu().numpy())


def _view_of_picture(view: np.ndarray) -> np.ndarray:
    return _coloured((255 * view.clip(0, 1)).round().astype(np.uint8).transpose(1, 2, 0))


def _view_of_cloud(view: np.ndarray) -> np.ndarray:
    return cloud_picture(view[..., 0].T)


def _of_picture(dataset: HierarchicalDataset, item: int) -> np.ndarray:
    return _coloured(np.asarray(dataset.items[item]))


def _coloured(content: np.ndarray) -> np.ndarray:
    return np.repeat(content, 3, axis=2) if content.shape[2] == 1 else content


def _of_cloud(dataset: HierarchicalDataset, item: int) -> np.ndarray:
    return _drawn(np.asarray(dataset.items[item]).tobytes())


def _of_vector(dataset: HierarchicalDataset, item: int) -> np.ndarray:
    """Draws the picture, cloud or text that a vector was made of; without one, the name of its class."""
    source, found = dataset.source, None
    if isinstance(source, HierarchicalDataset):
        return picture(source, item)
    if source is not None:
        found = source[item]
    if isinstance(found, np.ndarray):
        return _coloured(found)
    return text_picture(found or class_name(dataset, item).replace("_", " "))


def source_text(dataset: HierarchicalDataset, item: SupportsIndex) -> str:
    """Returns the first 500 letters of the text that a vector was made of; an empty string where there is none."""
    return dataset.source[int(item)][:500] if isinstance(dataset.source, tuple) else ""


@lru_cache(maxsize=512)
def _drawn(cloud: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a cloud once. The key is its content, so no data set is kept in memory and a changed cloud is redrawn."""
    drawn = cloud_picture(np.frombuffer(cloud, dtype=np.float32).reshape(-1, 3))
    drawn.flags.writeable = False  # all callers share it
    return drawn


DRAWINGS = {"images": _of_picture, "points": _of_cloud, "vectors": _of_vector}
"""How one item of each kind becomes a picture."""
VIEWS = {"images": _view_of_picture, "points": _view_of_cloud}
"""How a random view becomes a picture; a view of a vector has none."""


def smooth(start: float, end: float) -> np.ndarray:
    """Returns 24 numbers that rise smoothly from start to end."""
    t = np.linspace(0, 1, 24)
    return start + (end - start) * (t * t * (3 - 2 * t))


def branch(axis: Axes, x: Inches, y: Inches, to_x: Inches, to_y: Inches, colour: Any) -> None:
    """Draws a smooth edge of a tree that grows to the right."""
    across = x + (to_x - x) * np.linspace(0, 1, 24)
    axis.plot(across, smooth(y, to_y), color=colour, linewidth=1.2, solid_capstyle="round", zorder=1)


def siblings_together(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """Returns the nodes of a level in the order of their paths, so that the children of a node stand together."""
    return np.lexsort(ancestor_paths(hierarchy, level).T[::-1])


def middles(heights: dict[int, float], parent: Sequence[int] | np.ndarray) -> dict[int, float]:
    """Returns the height of every parent: the middle between its highest and its lowest child."""
    children: dict[int, list[float]] = {}
    for node, y in heights.items():
        children.setdefault(int(parent[node]), []).append(y)
    return {node: (min(ys) + max(ys)) / 2 for node, ys in children.items()}
