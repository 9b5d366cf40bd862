"""A confusion matrix in the order of the hierarchy, with its superclasses framed."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from hiercl.datasets import HierarchicalDataset, check_same_hierarchy
from hiercl.evaluation.few_labels import features_of_both
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import knn_predict
from hiercl.metrics.mistakes import ancestor_paths, check_nodes
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    Inches,
    check_level,
    colour_bar,
    panel_title,
    readable,
    sheet,
    shortened,
    text_width,
    title_width,
    user_axis,
    wrapped,
)
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT
from hiercl.plot._neighbours import name_of, what_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.types import Float, Int

COLOURS = {"green": OKABE_ITO[2], "blue": OKABE_ITO[0], "orange": OKABE_ITO[4]}
NAMED = 40  # classes up to which all have their name; if there are more, the classes of the coarser level have theirs
SIDE, LINE, CELL = 6.6, 0.16, 0.34  # inches: largest matrix, height of a name, smallest cell with a number
TICKS = (1, 10, 30, 60, 100)  # per cents at a colour bar

Names = list[tuple[float, str]]  # row and name
Layer = tuple[AxesImage, str, str]  # the cells of one colour: their picture, the name of the colour, what they are


@checked
def confusion(
    predicted: Any,
    test: HierarchicalDataset,
    *,
    train: HierarchicalDataset | None = None,
    level: int = -1,
    within: int | None = None,
    k: int = 20,
    temperature: float | int = 0.07,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    r"""Draws a confusion matrix whose classes are ordered by the hierarchy, and frames the blocks of a coarser level.

    A row is a true class, a column a predicted class, a cell the share of the row's items. Right predictions are
    green, mistakes inside a frame blue, mistakes outside orange. The title gives the share of the mistakes that stay
    inside, and this share if every wrong item had a random wrong class (ours):

    $$\frac{1}{|M|}\sum_{i\in M}\frac{|\text{classes in the frame of }y_i|-1}{|\text{classes}|-1},\qquad
      M=\{i:\hat y_i\ne y_i\}$$

    Args:
        predicted: predicted class of every item of the test set, nodes of the level ``[n]``. Or, with ``train``, a run,
            a pretrained model or an encoder, a pair of features of both sets, or None for vectors themselves: then the
            nearest neighbours in ``train`` vote (:func:`hiercl.metrics.knn_predict`).
        test: the items and their labels. Items without a label are left out.
        train: labelled items that vote. Predictions need none.
        level: level of the classes. −1 means the leaves.
        within: coarser level whose nodes are framed. By default the next coarser one. Level 0 has none.
        k: number of neighbours that vote.
        temperature: temperature of their weights, above 0.
        title: name of the predictions. By default the name of the run's method.
        ax: axis of your own figure to draw on. Then the shares of right and wrong predictions stand below the matrix,
            the note is left out, and so are names without room.

    Returns:
        The figure; with ``ax`` your own one.

    Raises:
        ValueError: predictions are not one node of the level per item, a run comes without ``train``, the data sets
            have different hierarchies, a level does not exist, ``within`` is not coarser, or ``ax`` is not an axis.

    Example:
        >>> figure = hiercl.plot.confusion(run, test, train=train)
        >>> figure = hiercl.plot.confusion(np.zeros(len(test), dtype=int), test, title="always the first class")
    """
    own = None if ax is None else user_axis(ax)[0]
    tree = test.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    within = level - 1 if within is None else check_level(within, tree.levels, "the hierarchy")
    if within >= level:
        raise ValueError(f"within={within} and level={level}: frames need a coarser level than the classes.")
    nodes, how = _predictions(predicted, test, train, level, k, temperature)
    nodes, test = nodes[test.has_label], test.labelled_part
    found = _Confusion.of(nodes, test.labels_at(level), tree, level, within)
    name = title or name_of(predicted, "Confusion")
    if ax is None or own is None:
        return _draw(found, test, name, how)
    layers = _draw_cells(ax, found)
    panel_title(ax, textwrap.fill(_title(found, name), 50))
    ax.set_ylabel("true", size=NORMAL, color=GREY)
    below = ["predicted", *(f"{colour}: {text}" for _, colour, text in layers)]
    ax.set_xlabel("\n".join(below), size=SMALL, color=GREY)
    room = 0.28 * float(own.get_size_inches().min())  # for a name: in a small figure the matrix needs the rest
    for _ in range(2):  # names take room from the matrix, so that afterwards fewer names have room
        own.draw_without_rendering()
        side = ax.get_window_extent().width / own.dpi
        _write_names(ax, [(place, shortened(text, room)) for place, text in _names(found, side)[0]])
    _frame(ax, found, side)
    return own


@dataclass(frozen=True)
class _Confusion:
    """Shares and blocks, in the order that is drawn.

    Attributes:
        tree: the hierarchy.
        level: level of the classes.
        within: level of the frames; −1 if there are none.
        shares: shares of the row's items; NaN if a class has no item.
        order: node of every row.
        block: node of the framed level above every row; without frames the row's own node.
        parts: shares of all items: right, wrong inside the frame, wrong outside.
        chance: share of random mistakes that stay inside.
    """

    tree: Hierarchy
    level: int
    within: int
    shares: Float[np.ndarray, "classes classes"]
    order: Int[np.ndarray, " classes"]
    block: Int[np.ndarray, " classes"]
    parts: tuple[float, float, float]
    chance: float

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray, tree: Hierarchy, level: int, within: int):
        """Counts the predictions."""
        paths = ancestor_paths(tree, level)
        order = np.lexsort(paths.T[::-1])
        classes, group = len(paths), paths[:, within]
        counts = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
        items = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, items, out=np.full(counts.shape, np.nan), where=items > 0)[np.ix_(order, order)]
        wrong, inside = predicted != truth, group[predicted] == group[truth]
        siblings = np.bincount(group)[group[truth[wrong]]] - 1
        parts = (float((~wrong).mean()), float((wrong & inside).mean()), float((wrong & ~inside).mean()))
        chance = float(siblings.mean() / (classes - 1)) if wrong.any() else np.nan
        return cls(tree, level, within, shares, order, group[order], parts, chance)

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """Node, first row and number of rows of every frame."""
        if self.within < 0:
            return []
        nodes, first, size = np.unique(self.block, return_index=True, return_counts=True)
        return list(zip(nodes.tolist(), first.tolist(), size.tolist(), strict=True))


def _predictions(
    predicted: Any,
    test: HierarchicalDataset,
    train: HierarchicalDataset | None,
    level: int,
    k: int,
    temperature: float | int,
) -> tuple[np.ndarray, str]:
    """Returns the predicted node of every item of the test set, and a sentence on how it was found."""
    if not isinstance(predicted, list | Array) and (train is not None or not isinstance(predicted, tuple)):
        if train is None:
            raise ValueError("a run predicts by its neighbours in the training set: pass train=train.")
        check_same_hierarchy(train, test)
        pair = isinstance(predicted, tuple)  # features of both
        bank, queries = features_of_both(*((None, train, test, predicted) if pair else (predicted, train, test, None)))
        labels, known = train.labels_at(level), train.has_label
        nodes = knn_predict(bank[known], labels[known], queries, k, temperature).numpy()
        voters = f"{known.sum():,} labelled items of {train.name}"
        return nodes, f"Predicted by kNN on {what_of(predicted)} (k = {k}, T = {temperature:g}), {voters}. "
    if train is not None:
        raise ValueError("train is for a run, whose neighbours vote; predictions need the test set alone.")
    nodes = as_array(predicted)
    if nodes.shape != (len(test),) or nodes.dtype.kind not in "iu":
        raise ValueError(
            f"predicted is {nodes.dtype} {list(nodes.shape)}: pass one class for each of the {len(test)} items of "
            f"{test.name!r}, integers [{len(test)}], or a run with train=train."
        )
    check_nodes(nodes, test.hierarchy, level)
    return nodes.astype(np.int64), ""


def _draw(found: _Confusion, test: HierarchicalDataset, name: str, how: str) -> Figure:
    """Draws the matrix on a sheet of its own."""
    side = float(np.clip(0.5 * len(found.order), 3.0, SIDE))
    rows, beside = _names(found, side)
    longest = max((text_width(text, SMALL) for _, text in rows), default=0.0)
    left, right = longest + 0.4, max((text_width(text, SMALL) for _, text in beside), default=0.0) + 0.25
    title = _title(found, name)
    width = max(WIDTH, left + side + right, title_width(title))
    note, top = wrapped(_note(found, test, how), width)
    top += 0.05
    height = top + side + longest + 1.1
    figure, _ = sheet(width, height, title, note)
    axis = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
    layers = _draw_cells(axis, found)
    _write_names(axis, rows)
    _frame(axis, found, side)
    for place, text in beside:
        axis.text(1.015, place, text, transform=axis.get_yaxis_transform(), size=SMALL, color=GREY, va="center")
    figure.text(0.1 / width, 1 - (top + side / 2) / height, "true", rotation=90, size=NORMAL, color=GREY, va="center")
    below = 1 - (top + side + longest + 0.2) / height
    figure.text((left + side / 2) / width, below, "predicted", size=NORMAL, color=GREY, ha="center", va="center")
    _colour_bars(figure, layers, width, height)
    return figure


def _write_names(axis: Axes, names: Names) -> None:
    places, texts = [place for place, _ in names], [text for _, text in names]
    axis.set_xticks(places, texts, rotation=90)
    axis.set_yticks(places, texts)
    axis.tick_params(labelsize=SMALL, length=0)
    axis.spines[:].set_color("#D0D0D0")


def _frame(axis: Axes, found: _Confusion, side: Inches) -> None:
    """Frames the blocks, and writes the shares into the cells if there is room."""
    for _, first, size in found.blocks:
        frame = {"fill": False, "edgecolor": TEXT, "linewidth": 1.2, "clip_on": False, "zorder": 3}
        axis.add_patch(Rectangle((first - 0.5, first - 0.5), size, size, **frame))
    for row, column in np.argwhere(np.nan_to_num(found.shares) >= 0.005) if CELL * len(found.order) <= side else ():
        share = found.shares[row, column]
        style = {"size": SMALL, "color": "white" if share > 0.4 else TEXT, "ha": "center", "va": "center"}
        axis.text(column, row, f"{100 * share:.0f}", **style)


def _names(found: _Confusion, side: Inches) -> tuple[Names, Names]:
    """Returns the names at the left and those at the right of a matrix of so many inches."""
    count, names = len(found.order), found.tree.names
    classes = [(float(row), readable(names[found.level][node])) for row, node in enumerate(found.order)]
    largest_first = sorted(found.blocks, key=lambda block: -block[2])
    blocks = [(first + (size - 1) / 2, readable(names[found.within][node])) for node, first, size in largest_first]
    if count <= NAMED and LINE * count <= side:
        return classes, sorted(blocks)
    fitting: Names = []
    for place, text in blocks or classes:  # if not all have room, the largest blocks have names
        if all(abs(place - other) >= LINE * count / side for other, _ in fitting):
            fitting.append((place, text))
    return sorted(fitting), []


def _draw_cells(axis: Axes, found: _Confusion) -> list[Layer]:
    """Draws the matrix: green, blue and orange cells, dark if the share is large."""
    right, inside, outside = (f"{100 * part:.1f} %" for part in found.parts)
    diagonal, same_block = np.eye(len(found.order), dtype=bool), found.block[:, None] == found.block
    kinds = [(diagonal, "green", f"right: {right} of the items")]
    if found.within >= 0:
        kinds.append((same_block & ~diagonal, "blue", f"wrong, inside the frame: {inside}"))
    where = ", outside" if found.within >= 0 else ""
    kinds.append((~same_block & ~diagonal, "orange", f"wrong{where}: {outside}"))
    axis.set_facecolor("#E8E8E8")  # seen if a class has no item
    layers = []
    for cells, colour, name in kinds:
        shown = np.ma.masked_where(~cells | np.isnan(found.shares), 100 * found.shares)
        colours = LinearSegmentedColormap.from_list(name, ["white", COLOURS[colour]])
        norm = PowerNorm(0.5, 0, 100)  # makes small shares visible too
        layers.append((axis.imshow(shown, cmap=colours, norm=norm, interpolation="nearest"), colour, name))
    return layers


def _colour_bars(figure: Figure, layers: list[Layer], width: Inches, height: Inches) -> None:
    each = (width - 0.2) / len(layers)
    for place, (image, _, name) in enumerate(layers):
        box = ((0.2 + place * each) / width, 0.24 / height, (each - 0.4) / width, 0.1 / height)
        bar = colour_bar(figure, image, cax=figure.add_axes(box), orientation="horizontal", ticks=TICKS)
        bar.ax.set_title(name, size=SMALL, color=TEXT, loc="left", pad=3)
        bar.ax.minorticks_off()
        bar.ax.tick_params(length=2, pad=1)


def _title(found: _Confusion, name: str) -> str:
    right, inside, outside = found.parts
    if inside + outside == 0:
        return f"{name}: no mistake"
    if found.within < 0:
        return f"{name}: {100 * right:.1f} % right at the level “{found.tree.level_names[found.level]}”"
    return (
        f"{name}: {100 * inside / (inside + outside):.0f} % of the mistakes stay inside the "
        f"“{found.tree.level_names[found.within]}” (by chance {100 * found.chance:.0f} %)"
    )


def _note(found: _Confusion, test: HierarchicalDataset, how: str) -> str:
    levels, about = found.tree.level_names, f" ({test.note})" if test.note else ""
    text = f"{len(test):,} items of {test.name}{about}, {len(found.order)} × “{levels[found.level]}”. {how}"
    text += "Row: true, column: predicted; colour: share of the row's items (%)."
    if found.within >= 0:
        text += f" Frames: one “{levels[found.within]}” each."
    without = int(np.isnan(found.shares[:, 0]).sum())
    return text + (f" Grey rows: {without} classes without items." if without else "")
