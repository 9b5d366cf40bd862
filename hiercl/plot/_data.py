"""The data and its true hierarchy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    TITLE,
    WIDTH,
    branch,
    check_level,
    draw_pictures,
    items_name,
    readable,
    sheet,
    text_width,
)
from hiercl.plot._colours import GREY, TEXT, node_colours, tint

HEADER = 0.62  # inches for the title and the names of the levels
LINE = 0.29  # height of a line of leaves


def gallery(dataset: HierarchicalDataset, level: int = 0, per_node: int = 10, seed: int = 0) -> Figure:
    """Random pictures of every class of a level: one row a class, with its name and its colour.

    More than 24 classes stand in two columns.

    Args:
        dataset: pictures, or point clouds, which are drawn.
        level: of the hierarchy; 0 is the coarsest, −1 the leaves.
        per_node: pictures of each class; fewer where it has fewer.
        seed: of the choice.

    Raises:
        ValueError: the level does not exist, or ``per_node`` is below 1.

    Example:
        >>> hiercl.plot.gallery(train, level=1)
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    if per_node < 1:
        raise ValueError(f"per_node={per_node}: show at least one picture of each class.")
    names = [readable(name) for name in tree.names[level]]
    label = max(text_width(name) for name in names) + 0.35
    columns = 1 if len(names) <= 24 else 2
    fitting = (WIDTH / columns - label - 0.1) / per_node - 0.04
    size = float(np.clip(fitting, 0.25, 0.55))  # smaller ones could hardly be seen
    column = label + 0.15 + per_node * (size + 0.04)
    rows = -(-len(names) // columns)
    height = HEADER - 0.05 + rows * (size + 0.06)
    held = f"{len(dataset):,} {items_name(dataset)}"
    title = f"{dataset.name}: {held}, {len(names)} classes of the level “{tree.level_names[level]}”"
    width = max(columns * column, text_width(title, TITLE) * 1.15 + 0.2)
    figure, axis = sheet(width, height, title, note=f"{per_node} random {items_name(dataset)} of each")
    rng, labels, colours = np.random.default_rng(seed), dataset.labels_at(level), node_colours(tree, level)
    siblings_together = np.lexsort(tree.ancestors[:, : level + 1].T[::-1])
    order = list(dict.fromkeys(tree.ancestors[siblings_together, level].tolist()))
    for place, node in enumerate(order):
        left, top = column * (place // rows), HEADER - 0.05 + (place % rows) * (size + 0.06)
        axis.add_patch(_box(left + 0.1, top + size / 2 - 0.07, 0.08, 0.14, colours[node]))
        axis.text(left + 0.25, top + size / 2, names[node], size=NORMAL, color=TEXT, va="center")
        members = rng.permutation(np.flatnonzero(labels == node))[:per_node]
        draw_pictures(axis, dataset, members, left + label, top, size)
    return figure


def hierarchy(hierarchy: Hierarchy, counts: Sequence[int] | np.ndarray | None = None) -> Figure:
    """A hierarchy as a tree that grows to the right; the leaves of one parent stand together.

    Args:
        hierarchy: of any depth; a learned one (``run.tree.as_hierarchy()``) too.
        counts: items of every leaf (``dataset.counts()``), to be written beside the names.

    Raises:
        ValueError: there is not one count for each leaf.

    Example:
        >>> hiercl.plot.hierarchy(train.hierarchy, train.counts())
    """
    totals = _totals(hierarchy, counts)
    labels = [
        [_with_count(name, total, counts is not None) for name, total in zip(names, sums.tolist(), strict=True)]
        for names, sums in zip(hierarchy.names, totals, strict=True)
    ]
    starts = [0.15]  # left edge of every level
    for level in labels[:-1]:
        starts.append(starts[-1] + max(text_width(label) for label in level) + 0.75)
    width = max(WIDTH, starts[-1] + 4)
    parents, order = _parents_of_leaves(hierarchy)
    lines = [_wrap([labels[-1][leaf] for leaf in parents[node]], width - starts[-1] - 0.1) for node in order]
    top, centre = HEADER + 0.05, {}
    for node, rows in zip(order, lines, strict=True):
        centre[node] = top + len(rows) * LINE / 2
        top += len(rows) * LINE + 0.1
    figure, axis = sheet(width, top + 0.05, f"Hierarchy of {hierarchy.n_leaves} classes")
    for level, name in enumerate(hierarchy.level_names):
        axis.text(starts[level], 0.42, f"{name} ({hierarchy.sizes[level]})", size=SMALL, color=GREY, va="center")
    centres = _centres(hierarchy, centre)
    for level in range(hierarchy.levels - 1):
        _draw_inner(axis, hierarchy, level, labels[level], starts, centres)
    colours = node_colours(hierarchy, hierarchy.levels - 1)
    for node, rows in zip(order, lines, strict=True):
        y = centre[node] - (len(rows) - 1) * LINE / 2
        leaves = iter(parents[node])
        for row in rows:
            _draw_pills(axis, row, [colours[next(leaves)] for _ in row], starts[-1], y)
            y += LINE
    return figure


def _with_count(name: str, total: int, wanted: bool) -> str:
    return f"{readable(name)} {total:,}" if wanted else readable(name)


def _totals(hierarchy: Hierarchy, counts: Any) -> list[np.ndarray]:
    """Items of every node, per level."""
    counts = np.zeros(hierarchy.n_leaves, dtype=np.int64) if counts is None else np.asarray(counts)
    if counts.shape != (hierarchy.n_leaves,):
        raise ValueError(
            f"counts must be one number for each of the {hierarchy.n_leaves} leaves (dataset.counts()), got "
            f"{list(counts.shape)}."
        )
    columns = hierarchy.ancestors.T
    return [
        np.bincount(column, weights=counts, minlength=size).astype(np.int64)
        for column, size in zip(columns, hierarchy.sizes, strict=True)
    ]


def _parents_of_leaves(hierarchy: Hierarchy) -> tuple[dict[int, list[int]], list[int]]:
    """The leaves of every node of the last level but one (the root, if there is one level), and its nodes in order."""
    above = hierarchy.ancestors[:, -2] if hierarchy.levels > 1 else np.zeros(hierarchy.n_leaves, dtype=np.int64)
    parents: dict[int, list[int]] = {}
    for leaf in np.lexsort([np.arange(hierarchy.n_leaves), *hierarchy.ancestors.T[:-1][::-1]]):
        parents.setdefault(int(above[leaf]), []).append(int(leaf))
    return parents, list(parents)


def _wrap(labels: list[str], width: float | int) -> list[list[str]]:
    """Labels in lines that are not wider than a width."""
    lines, used = [[]], 0.0
    for label in labels:
        needed = text_width(label) + 0.26
        if lines[-1] and used + needed > width:
            lines.append([])
            used = 0.0
        lines[-1].append(label)
        used += needed
    return lines


def _centres(hierarchy: Hierarchy, last: dict[int, float]) -> list[dict[int, float]]:
    """Height of every node above the leaves, per level: the middle of its children."""
    levels = [last]
    for level in range(hierarchy.levels - 2, 0, -1):
        parent, above = hierarchy.parent(level), {}
        for node, y in levels[0].items():
            above.setdefault(int(parent[node]), []).append(y)
        levels.insert(0, {node: (min(ys) + max(ys)) / 2 for node, ys in above.items()})
    return levels


def _draw_inner(axis: Axes, hierarchy: Hierarchy, level: int, labels: list[str], starts: list, centres: list) -> None:
    colours, x = node_colours(hierarchy, level), starts[level]
    for node, y in centres[level].items():
        axis.add_patch(_box(x, y - 0.08, 0.08, 0.16, colours[node]))
        axis.text(x + 0.15, y, labels[node], size=NORMAL, color=TEXT, va="center")
        end = x + 0.2 + text_width(labels[node])
        last = level == hierarchy.levels - 2
        children = [y] if last else [centres[level + 1][int(child)] for child in hierarchy.children(level, node)]
        for child in children:
            branch(axis, end, y, starts[level + 1] - 0.06, child, tint(colours[node], 0.6))


def _draw_pills(axis: Axes, labels: list[str], colours: list, left: float | int, y: float | int) -> None:
    for label, colour in zip(labels, colours, strict=True):
        width = text_width(label) + 0.18
        axis.add_patch(_box(left, y - 0.115, width, 0.23, tint(colour, 0.35), rounding=0.1))
        axis.text(left + width / 2, y, label, size=NORMAL, color=TEXT, va="center", ha="center")
        left += width + 0.08


def _box(
    left: float | int, top: float | int, width: float | int, height: float | int, colour, rounding: float | int = 0.03
) -> FancyBboxPatch:
    style = f"round,pad=0,rounding_size={rounding}"
    return FancyBboxPatch((left, top), width, height, boxstyle=style, facecolor=colour, edgecolor="none", zorder=2)
