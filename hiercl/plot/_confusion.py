"""Who is taken for whom: a confusion matrix in the order of the hierarchy, with its superclasses framed."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from hiercl.datasets import HierarchicalDataset, check_same_hierarchy
from hiercl.encoders import Encoder, HasEncoder, embed
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import knn_predict
from hiercl.metrics.mistakes import ancestor_paths, check_nodes
from hiercl.plot._canvas import NORMAL, SMALL, TITLE, WIDTH, check_level, given, readable, sheet, text_width
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT
from hiercl.plot._neighbours import name_of
from hiercl.runtime.types import Float, Int

COLOURS = {"green": OKABE_ITO[2], "blue": OKABE_ITO[0], "orange": OKABE_ITO[4]}
Role = tuple[AxesImage, str, str]  # a kind of cells: its picture, the name of its colour, what it is
NAMED = 40  # classes beyond which only those of the coarser level are named
SIDE, LINE, CELL = 6.6, 0.14, 0.3  # inches of the matrix, at most; that a name needs; that a number in a cell needs


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
    r"""A confusion matrix whose classes are ordered by the hierarchy, with the blocks of a coarser level framed.

    A row is a true class, a column a predicted one, a cell the share of the row's items. Green are right predictions,
    blue mistakes inside the frame, orange mistakes outside. The title says which share of the mistakes stays inside,
    and which would if every wrong item had a class drawn at random from the wrong ones:

    $$\frac{1}{|M|}\sum_{i\in M}\frac{|\text{classes in the frame of }y_i|-1}{|\text{classes}|-1},\qquad
      M=\{i:\hat y_i\ne y_i\}$$

    Args:
        predicted: nodes of the level ``[n]``, one for each item of the test set; or a run, a pretrained model or an
            encoder, whose neighbours in ``train`` vote (:func:`hiercl.metrics.knn_predict` on :func:`hiercl.embed`).
        test: the items and their labels.
        train: the labelled items that vote; needed for a run and for nothing else.
        level: whose nodes are the classes; −1 the leaves.
        within: the coarser level whose nodes are framed; by default the one above. Level 0 has none.
        k: neighbours that vote.
        temperature: of their weights.
        title: what the predictions are of; by default the name of the run's method.
        ax: an axis to draw on, of a figure of your own, which is returned. The shares of right and wrong predictions
            then stand below the matrix, and how these were made is left out; so are names that have no room.

    Raises:
        ValueError: predictions that are not one node of the level for each item, a run without ``train``, data sets of
            two hierarchies, a level that does not exist, ``within`` that is not coarser, or an ``ax`` that is no axis.

    Example:
        >>> hiercl.plot.confusion(run, test, train=train)
        >>> hiercl.plot.confusion(probe.predict(features).numpy(), test, title="linear probe")
    """
    own = None if ax is None else given(ax)
    tree = test.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    within = _coarser(within, level, tree)
    nodes, how = _predictions(predicted, test, train, level, k, temperature)
    found = _Confusion.of(nodes, test.labels_at(level), tree, level, within)
    name = title or name_of(predicted, "Confusion")
    if own is None:
        return _draw(found, test, level, within, name, how)
    roles = _layers(ax, found, within)
    ax.set_title(textwrap.fill(_title(found, tree, level, within, name), 50), size=NORMAL, color=TEXT, loc="left")
    ax.set_ylabel("true", size=NORMAL, color=GREY)
    ax.set_xlabel("\n".join(["predicted", *(f"{colour}: {text}" for _, colour, text in roles)]), size=SMALL, color=GREY)
    for _ in range(2):  # names take room from the matrix, so that fewer have some
        own[0].draw_without_rendering()
        side = ax.get_window_extent().width / own[0].dpi
        _write_names(ax, _names(found, tree, level, within, side)[0])
    _frame(ax, found, within, side)
    return own[0]


@dataclass(frozen=True)
class _Confusion:
    """Shares and blocks, in the order that is drawn."""

    shares: Float[np.ndarray, "classes classes"]  # of the row's items; NaN where a class has none
    order: Int[np.ndarray, " classes"]  # node of every row
    block: Int[np.ndarray, " classes"]  # node of the coarser level above every row; that of no level: its own
    parts: tuple[float, float, float]  # shares of all items: right, wrong inside, wrong outside
    chance: float  # share of random mistakes that would stay inside

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray, tree: Hierarchy, level: int, within: int | None):
        paths = ancestor_paths(tree, level)
        order = np.lexsort(paths.T[::-1])
        classes, group = len(paths), paths[:, level if within is None else within]
        counts = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
        items = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, items, out=np.full(counts.shape, np.nan), where=items > 0)
        wrong, inside = predicted != truth, group[predicted] == group[truth]
        siblings = np.bincount(group)[group[truth[wrong]]] - 1
        return cls(
            shares[np.ix_(order, order)],
            order,
            group[order],
            (float((~wrong).mean()), float((wrong & inside).mean()), float((wrong & ~inside).mean())),
            float(siblings.mean() / (classes - 1)) if wrong.any() else np.nan,
        )

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """Node, first row and number of rows of every block."""
        nodes, first, size = np.unique(self.block, return_index=True, return_counts=True)
        return list(zip(nodes.tolist(), first.tolist(), size.tolist(), strict=True))


def _coarser(within: int | None, level: int, tree: Hierarchy) -> int | None:
    if within is None:
        return level - 1 if level > 0 else None
    within = check_level(within, tree.levels, "the hierarchy")
    if within >= level:
        raise ValueError(f"within={within} and level={level}: frames need a coarser level than the classes.")
    return within


def _predictions(
    predicted: Any,
    test: HierarchicalDataset,
    train: HierarchicalDataset | None,
    level: int,
    k: int,
    temperature: float | int,
) -> tuple[np.ndarray, str]:
    """Node of the level for every item of the test set, and how it was found."""
    if isinstance(predicted, Encoder | HasEncoder):
        if train is None:
            raise ValueError("a run predicts by its neighbours in the training set: pass train=train.")
        check_same_hierarchy(train, test)
        labels = torch.as_tensor(train.labels_at(level))
        nodes = knn_predict(embed(predicted, train), labels, embed(predicted, test), k, temperature).numpy()
        bank = f"{len(train):,} labelled items of {train.name}"
        return nodes, f"Predicted by kNN on backbone features (k = {k}, T = {temperature:g}), {bank}. "
    if train is not None:
        raise ValueError("train is for a run, whose neighbours vote; predictions need the test set alone.")
    nodes = predicted.detach().cpu().numpy() if isinstance(predicted, torch.Tensor) else np.asarray(predicted)
    if nodes.shape != (len(test),) or nodes.dtype.kind not in "iu":
        raise ValueError(
            f"predicted is {nodes.dtype} {list(nodes.shape)}: pass one class for each of the {len(test)} items of "
            f"{test.name!r}, integers [{len(test)}], or a run with train=train."
        )
    check_nodes(nodes, test.hierarchy, level)
    return nodes.astype(np.int64), ""


def _draw(found: _Confusion, test: HierarchicalDataset, level: int, within: int | None, name: str, how: str) -> Figure:
    tree, classes = test.hierarchy, len(found.order)
    side = float(np.clip(0.5 * classes, 3.0, SIDE))
    rows, beside = _names(found, tree, level, within, side)
    longest = max((text_width(text, SMALL) for _, text in rows), default=0.0)
    left, right = longest + 0.4, max((text_width(text, SMALL) for _, text in beside), default=0.0) + 0.25
    title = _title(found, tree, level, within, name)
    width = max(WIDTH, left + side + right, 1.15 * text_width(title, TITLE) + 0.2)
    lines = textwrap.wrap(_note(found, test, level, within, how), int(15.5 * width))
    top = 0.45 + 0.15 * len(lines)
    height = top + side + longest + 1.1
    figure, _ = sheet(width, height, title, "\n".join(lines))
    axis = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
    roles = _layers(axis, found, within)
    _write_names(axis, rows)
    _frame(axis, found, within, side)
    for place, text in beside:
        axis.text(1.015, place, text, transform=axis.get_yaxis_transform(), size=SMALL, color=GREY, va="center")
    figure.text(0.1 / width, 1 - (top + side / 2) / height, "true", rotation=90, size=NORMAL, color=GREY, va="center")
    below = 1 - (top + side + longest + 0.2) / height
    figure.text((left + side / 2) / width, below, "predicted", size=NORMAL, color=GREY, ha="center", va="center")
    _colour_bars(figure, roles, width, height)
    return figure


def _write_names(axis: Axes, names: list[tuple[float, str]]) -> None:
    places, texts = [place for place, _ in names], [text for _, text in names]
    axis.set_xticks(places, texts, rotation=90)
    axis.set_yticks(places, texts)
    axis.tick_params(labelsize=SMALL, length=0)
    axis.spines[:].set_color("#D0D0D0")


def _frame(axis: Axes, found: _Confusion, within: int | None, side: float | int) -> None:
    """Frames the blocks, and writes the shares into the cells where they have room."""
    for _, first, size in found.blocks if within is not None else ():
        frame = {"fill": False, "edgecolor": TEXT, "linewidth": 1.2, "clip_on": False, "zorder": 3}
        axis.add_patch(Rectangle((first - 0.5, first - 0.5), size, size, **frame))
    if CELL * len(found.order) <= side:
        _write(axis, found.shares)


def _names(
    found: _Confusion, tree: Hierarchy, level: int, within: int | None, side: float | int
) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Place and name of what stands before the rows of a matrix of so many inches, and of what stands behind them."""
    count = len(found.order)
    classes = [(float(row), readable(tree.names[level][node]), 1) for row, node in enumerate(found.order)]
    blocks = []
    if within is not None:
        blocks = [
            (first + (size - 1) / 2, readable(tree.names[within][node]), size) for node, first, size in found.blocks
        ]
    if count <= NAMED and LINE * count <= side:
        return [(place, text) for place, text, _ in classes], [(place, text) for place, text, _ in blocks]
    room = LINE * count / side  # rows that a name needs
    fitting: list[tuple[float, str]] = []
    for place, text, _ in sorted(blocks or classes, key=lambda block: -block[2]):  # if not all have room, the largest
        if all(abs(place - other) >= room for other, _ in fitting):
            fitting.append((place, text))
    return sorted(fitting), []


def _layers(axis: Axes, found: _Confusion, within: int | None) -> list[Role]:
    """The matrix, each kind of cell in its colour, dark where the share is large."""
    right, inside, outside = found.parts
    right_cell = np.eye(len(found.order), dtype=bool)
    same_block = found.block[:, None] == found.block
    kinds = [(right_cell, "green", f"right: {100 * right:.1f} % of the items")]
    if within is not None:
        kinds.append((same_block & ~right_cell, "blue", f"wrong, inside the frame: {100 * inside:.1f} %"))
    kinds.append(
        (~same_block & ~right_cell, "orange", f"wrong{', outside' * (within is not None)}: {100 * outside:.1f} %")
    )
    axis.set_facecolor("#E8E8E8")  # seen where a class has no item
    layers = []
    for cells, colour, name in kinds:
        shown = np.ma.masked_where(~cells | np.isnan(found.shares), 100 * found.shares)
        colours = LinearSegmentedColormap.from_list(name, ["white", COLOURS[colour]])
        norm = PowerNorm(0.5, 0, 100)  # small shares are to be seen too
        layers.append((axis.imshow(shown, cmap=colours, norm=norm, interpolation="nearest"), colour, name))
    return layers


def _write(axis: Axes, shares: np.ndarray) -> None:
    for row, column in np.argwhere(np.nan_to_num(shares) >= 0.005):
        share = shares[row, column]
        colour = "white" if share > 0.4 else TEXT
        axis.text(column, row, f"{100 * share:.0f}", size=7, color=colour, ha="center", va="center")


def _colour_bars(figure: Figure, roles: list[Role], width: float | int, height: float | int) -> None:
    each = (width - 0.2) / len(roles)
    for place, (image, _, name) in enumerate(roles):
        box = ((0.2 + place * each) / width, 0.24 / height, (each - 0.4) / width, 0.1 / height)
        bar = figure.colorbar(image, cax=figure.add_axes(box), orientation="horizontal", ticks=[1, 10, 30, 60, 100])
        bar.ax.set_title(name, size=SMALL, color=TEXT, loc="left", pad=3)
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=7, length=2, pad=1)
        bar.outline.set_visible(False)


def _title(found: _Confusion, tree: Hierarchy, level: int, within: int | None, name: str) -> str:
    right, inside, outside = found.parts
    wrong = inside + outside
    if wrong == 0:
        return f"{name}: no mistake"
    if within is None:
        return f"{name}: {100 * right:.1f} % right at the level “{tree.level_names[level]}”"
    coarse = tree.level_names[within]
    return (
        f"{name}: {100 * inside / wrong:.0f} % of the mistakes stay inside the “{coarse}” "
        f"(by chance {100 * found.chance:.0f} %)"
    )


def _note(found: _Confusion, test: HierarchicalDataset, level: int, within: int | None, how: str) -> str:
    tree = test.hierarchy
    about = f" ({test.note})" if test.note else ""
    text = f"{len(test):,} items of {test.name}{about}, {len(found.order)} × “{tree.level_names[level]}”. {how}"
    text += "Row: true, column: predicted; colour: share of the row's items (%)."
    if within is not None:
        text += f" Frames: one “{tree.level_names[within]}” each."
    without = int(np.isnan(found.shares[:, 0]).sum())
    return text + (f" Grey rows: {without} classes without items." if without else "")
