"""The data and its true hierarchy."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    Inches,
    branch,
    check_level,
    draw_pictures,
    items_name,
    middles,
    readable,
    sheet,
    siblings_together,
    text_width,
    title_width,
)
from hiercl.plot._colours import GREY, TEXT, node_colours, tint
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast

HEADER = 0.62  # inches for the title and the names of the levels
LINE = 0.29  # height of a line of leaves


@checked
def gallery(
    dataset: HierarchicalDataset,
    level: int = 0,
    per_node: Annotated[int, AtLeast(1)] = 10,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> Figure:
    """Draws random pictures of every class of a level: one row per class, with its name and its colour.

    Items without a label have a row of their own, "no label", at the end. More than 24 rows stand in two columns.

    Args:
        dataset: data set of pictures, or of point clouds, which are drawn as pictures.
        level: level of the hierarchy. 0 is the coarsest, −1 the leaves.
        per_node: pictures per class; fewer if the class has fewer.
        seed: seed of the random choice.

    Returns:
        The figure.

    Raises:
        ValueError: the level does not exist, or ``per_node`` is below 1.

    Example:
        >>> figure = hiercl.plot.gallery(train, level=1)
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    missing = not dataset.has_label.all()
    names = [readable(name) for name in tree.names[level]] + ["no label"] * missing
    label = max(text_width(name) for name in names) + 0.35
    columns = 1 if len(names) <= 24 else 2
    fitting = (WIDTH / columns - label - 0.1) / per_node - 0.04
    size = float(np.clip(fitting, 0.25, 0.55))  # smaller pictures could hardly be seen
    column = label + 0.15 + per_node * (size + 0.04)
    rows = -(-len(names) // columns)
    what = items_name(dataset)
    title = (
        f"{dataset.name}: {len(dataset):,} {what}, {tree.sizes[level]} classes of the level “{tree.level_names[level]}”"
    )
    width, height = max(columns * column, title_width(title)), HEADER - 0.05 + rows * (size + 0.06)
    figure, axis = sheet(width, height, title, note=f"{per_node} random {what} of each")
    rng, labels = np.random.default_rng(seed), dataset.labels_at(level)
    colours = np.vstack([node_colours(tree, level), np.full(3, 0.85)])  # grey: no label, −1
    for place, node in enumerate([*siblings_together(tree, level), *[-1] * missing]):
        left, top = column * (place // rows), HEADER - 0.05 + (place % rows) * (size + 0.06)
        axis.add_patch(_box(left + 0.1, top + size / 2 - 0.07, 0.08, 0.14, colours[node]))
        axis.text(left + 0.25, top + size / 2, names[node], size=NORMAL, color=TEXT, va="center")
        members = rng.permutation(np.flatnonzero(labels == node))[:per_node]
        draw_pictures(axis, dataset, members, left + label, top, size)
    return figure


@checked
def hierarchy(hierarchy: Hierarchy, counts: Sequence[int] | np.ndarray | None = None) -> Figure:
    """Draws a hierarchy as a tree that grows to the right. The leaves of one parent stand together.

    Args:
        hierarchy: hierarchy of any depth, also a learned one (``run.tree.as_hierarchy()``).
        counts: number of items of every leaf (``dataset.counts()``), which is written beside the names.

    Returns:
        The figure.

    Raises:
        ValueError: there is not one count per leaf.

    Example:
        >>> figure = hiercl.plot.hierarchy(train.hierarchy, train.counts())
    """
    labels = _labels(hierarchy, counts)
    starts = [0.15]  # left edge of every level
    for level in labels[:-1]:
        starts.append(starts[-1] + max(text_width(label) for label in level) + 0.75)
    width = max(WIDTH, starts[-1] + 4.5)
    above, lines = hierarchy.parent(hierarchy.levels - 1), {}  # the leaves of every parent, in lines
    for leaf in siblings_together(hierarchy, hierarchy.levels - 1).tolist():
        own = lines.setdefault(int(above[leaf]), [[]])
        if own[-1] and sum(text_width(labels[-1][k]) + 0.26 for k in [*own[-1], leaf]) > width - starts[-1] - 0.1:
            own.append([])
        own[-1].append(leaf)
    tops = np.cumsum([HEADER + 0.05, *(len(own) * LINE + 0.1 for own in lines.values())])
    centres = [{node: top + len(own) * LINE / 2 for (node, own), top in zip(lines.items(), tops, strict=False)}]
    for level in range(hierarchy.levels - 2, 0, -1):
        centres.insert(0, middles(centres[0], hierarchy.parent(level)))

    figure, axis = sheet(width, float(tops[-1]) + 0.05, f"Hierarchy of {hierarchy.n_leaves} classes")
    for start, name, size in zip(starts, hierarchy.level_names, hierarchy.sizes, strict=True):
        axis.text(start, 0.42, f"{name} ({size})", size=SMALL, color=GREY, va="center")
    for level in range(hierarchy.levels - 1):
        _draw_inner(axis, hierarchy, level, labels[level], starts, centres)
    colours = node_colours(hierarchy, hierarchy.levels - 1)
    for node, own in lines.items():
        for line, leaves in enumerate(own):
            y = centres[-1][node] - (len(own) - 1) * LINE / 2 + line * LINE
            _draw_pills(axis, [labels[-1][leaf] for leaf in leaves], colours[leaves], starts[-1], y)
    return figure


def _labels(hierarchy: Hierarchy, counts: Any) -> list[list[str]]:
    """Returns the names of the nodes of every level, with their number of items if counts are given."""
    names = [[readable(name) for name in level] for level in hierarchy.names]
    if counts is None:
        return names
    counts = np.asarray(counts)
    if counts.shape != (hierarchy.n_leaves,):
        raise ValueError(
            f"counts must be one number for each of the {hierarchy.n_leaves} leaves (dataset.counts()), got "
            f"{list(counts.shape)}."
        )
    totals = [np.bincount(nodes, weights=counts).astype(int) for nodes in hierarchy.ancestors.T]
    return [
        [f"{name} {total:,}" for name, total in zip(*level, strict=True)] for level in zip(names, totals, strict=True)
    ]


def _draw_inner(axis: Axes, hierarchy: Hierarchy, level: int, labels: list[str], starts: list, centres: list) -> None:
    """Draws the nodes of a level above the leaves, and the edges to their children."""
    colours, x = node_colours(hierarchy, level), starts[level]
    for node, y in centres[level].items():
        axis.add_patch(_box(x, y - 0.08, 0.08, 0.16, colours[node]))
        axis.text(x + 0.15, y, labels[node], size=NORMAL, color=TEXT, va="center")
        end = x + 0.2 + text_width(labels[node])
        last = level == hierarchy.levels - 2
        children = [y] if last else [centres[level + 1][int(child)] for child in hierarchy.children(level, node)]
        for child in children:
            branch(axis, end, y, starts[level + 1] - 0.06, child, tint(colours[node], 0.6))


def _draw_pills(axis: Axes, labels: list[str], colours: np.ndarray, left: Inches, y: Inches) -> None:
    for label, colour in zip(labels, colours, strict=True):
        width = text_width(label) + 0.18
        axis.add_patch(_box(left, y - 0.115, width, 0.23, tint(colour, 0.35), rounding=0.1))
        axis.text(left + width / 2, y, label, size=NORMAL, color=TEXT, va="center", ha="center")
        left += width + 0.08


def _box(
    left: Inches, top: Inches, width: Inches, height: Inches, colour: np.ndarray, rounding: Inches = 0.03
) -> FancyBboxPatch:
    style = f"round,pad=0,rounding_size={rounding}"
    return FancyBboxPatch((left, top), width, height, boxstyle=style, facecolor=colour, edgecolor="none", zorder=2)
