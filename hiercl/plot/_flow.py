"""How a learned tree and the true hierarchy flow into each other: which items lie in which node of both."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import tree_agreement
from hiercl.plot._canvas import SMALL, WIDTH, check_level, readable, sheet, text_width
from hiercl.plot._colours import GREY, TEXT, node_colours, tint
from hiercl.plot._tree import check_tree, contingency, matching_level, node_labels

HEADER, BAR, LINE = 0.85, 0.12, 0.13  # inches: above the bars, their width, the height of a name
MANY = 2
NAMED = 42  # nodes beyond which the largest alone are named


def flow(
    tree: PrototypeTree,
    dataset: HierarchicalDataset,
    prototypes: int | None = None,
    level: int | None = None,
    node: int | None = None,
) -> Figure:
    """Prototypes at the left, true classes at the right, a ribbon as high as the number of items that they share.

    A tree that had found the classes would have one ribbon a prototype. The title says how far the two partitions
    agree (adjusted mutual information, 0 by chance) and how pure the prototypes are.

    Args:
        tree: ``run.tree``.
        dataset: the training set of that run.
        prototypes: level of the tree; by default the coarsest.
        level: of the true hierarchy; by default the one whose size is nearest to that of the prototypes.
        node: a prototype of that level whose ribbons stand out; the others are pale.

    Raises:
        ValueError: there is no tree, it is of other items, or a level or the node does not exist.

    Example:
        >>> hiercl.plot.flow(run.tree, train)
    """
    check_tree(tree, dataset)
    hierarchy = dataset.hierarchy
    depth = 0 if prototypes is None else check_level(prototypes, tree.levels, "the tree")
    level = matching_level(tree.sizes[depth], hierarchy) if level is None else level
    level = check_level(level, hierarchy.levels, "the hierarchy")
    if node is not None and not 0 <= node < tree.sizes[depth]:
        raise ValueError(f"there is no prototype {node}: level {depth} has {tree.sizes[depth]}, counted from 0.")
    nodes, labels = tree.assignment[:, depth].cpu().numpy(), dataset.labels_at(level)
    table = contingency(nodes, labels, tree.sizes[depth], dataset, level)
    columns = _in_order(hierarchy, level)
    table = table[:, columns]
    rows = np.flatnonzero(table.sum(axis=1))
    rows = rows[np.lexsort((-table[rows].max(axis=1), table[rows].argmax(axis=1)))]  # by the class most of them have
    here = np.flatnonzero(table.sum(axis=0))
    table, columns = table[np.ix_(rows, here)], columns[here]
    colours, own = node_colours(hierarchy, level)[columns], node_labels(tree, dataset, depth, level)

    high = max(3.0, min(7.0, LINE * 1.25 * min(max(table.shape), NAMED)))
    figure, axis = sheet(WIDTH, HEADER + high + 0.15, _title(tree, dataset, depth, level), _note(node is not None))
    left_names = [own[row][0] for row in rows]
    right_names = [readable(hierarchy.names[level][column]) for column in columns]
    left = 0.2 + max(map(text_width, left_names))
    right = WIDTH - 0.25 - max(map(text_width, right_names))
    starts, left_scale = _stack(table.sum(axis=1), high)
    ends, right_scale = _stack(table.sum(axis=0), high)
    by_chance = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    strong = (table >= MANY * by_chance) if node is None else np.repeat((rows == node)[:, None], len(columns), axis=1)
    _ribbons(axis, table, colours, strong, (left + BAR, right), (starts, ends), (left_scale, right_scale))
    _bars(axis, starts, table.sum(axis=1) * left_scale, left, colours[table.argmax(axis=1)], left_names, "right")
    _bars(axis, ends, table.sum(axis=0) * right_scale, right, colours, right_names, "left")
    return figure


def _title(tree: PrototypeTree, dataset: HierarchicalDataset, depth: int, level: int) -> str:
    name = dataset.hierarchy.level_names[level]
    agreement = tree_agreement(tree, dataset.labels, dataset.hierarchy)
    found = agreement[(agreement["prototypes"] == depth) & (agreement["level"] == name)].iloc[0]
    ami = round(100 * found["ami"], 1) + 0.0  # without the sign of a zero
    return f"{tree.sizes[depth]} prototypes and “{name}”: AMI {ami:.1f} %, purity {100 * found['purity']:.1f} %"


def _note(one: bool) -> str:
    coloured = "what the chosen one holds" if one else f"at least {MANY} times as many items as by chance"
    return (
        "Left: prototypes, named after the most frequent class of their members, with its share. Coloured ribbons: "
        f"{coloured}."
    )


def _in_order(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """The nodes of a level, those of one parent side by side."""
    of_node = {int(path[level]): tuple(int(part) for part in path[: level + 1]) for path in hierarchy.ancestors}
    return np.array(sorted(of_node, key=lambda node: of_node[node]))


def _stack(sizes: np.ndarray, high: float) -> tuple[np.ndarray, float]:
    """Upper edges of bars that fill a height with small gaps, and inches an item."""
    gap = min(0.04, 0.25 * high / len(sizes))
    scale = (high - gap * (len(sizes) - 1)) / sizes.sum()
    return HEADER + np.concatenate([[0], np.cumsum(sizes[:-1] * scale + gap)]), float(scale)


def _ribbons(
    axis: Axes,
    table: np.ndarray,
    colours: np.ndarray,
    strong: np.ndarray,
    x: tuple[float, float],
    tops: tuple[np.ndarray, np.ndarray],
    scales: tuple[float, float],
) -> None:
    t = np.linspace(0, 1, 24)
    rise, across = t * t * (3 - 2 * t), x[0] + (x[1] - x[0]) * t
    at = tops[0].copy()
    until = tops[1].copy()
    for row in range(len(table)):
        for column in np.flatnonzero(table[row]):
            thick = table[row, column] * scales[0], table[row, column] * scales[1]
            upper = at[row] + (until[column] - at[row]) * rise
            lower = at[row] + thick[0] + (until[column] + thick[1] - at[row] - thick[0]) * rise
            outline = np.concatenate([np.stack([across, upper], 1), np.stack([across, lower], 1)[::-1]])
            stands_out = strong[row, column]
            colour = tint(colours[column], 0.6) if stands_out else "#EDEDED"
            axis.add_patch(Polygon(outline, closed=True, facecolor=colour, linewidth=0, zorder=2 if stands_out else 1))
            at[row] += thick[0]
            until[column] += thick[1]


def _bars(
    axis: Axes, tops: np.ndarray, heights: np.ndarray, x: float, colours: np.ndarray, names: list[str], side: str
) -> None:
    """Bars with names beside them; of names that would overlap, that of the larger bar."""
    for top, height, colour in zip(tops, heights, colours, strict=True):
        axis.add_patch(Rectangle((x, top), BAR, height, facecolor=colour, linewidth=0, zorder=3))
    beside = x - 0.06 if side == "right" else x + BAR + 0.06
    taken: list[float] = []
    for place in np.argsort(-heights, kind="stable"):
        y = tops[place] + heights[place] / 2
        if all(abs(y - other) >= LINE for other in taken):
            taken.append(y)
            axis.text(beside, y, names[place], size=SMALL, color=TEXT, ha=side, va="center")
    if len(taken) < len(names):
        edge = x + BAR
        axis.text(edge, HEADER - 0.1, f"{len(taken)} of {len(names)} are named", size=7, color=GREY, ha="right")
