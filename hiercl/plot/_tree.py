"""A learned tree of prototypes: with its pictures, against the true classes, and as a flow into them."""

from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.plot._canvas import LINE as SMALL_LINE
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    branch,
    check_level,
    colour_bar,
    draw_pictures,
    items_name,
    middles,
    panel_title,
    panels,
    readable,
    sheet,
    siblings_together,
    smooth,
    text_width,
    user_axis,
    wrapped,
)
from hiercl.plot._colours import GREY, TEXT, node_colours, tint
from hiercl.runtime.arguments import checked

HEADER = 0.8  # inches above the rows of a tree
MIX = 1.3  # inches of the bar that shows a node's mix of classes
TOP = 0.9  # inches above the bars of a flow
BAR, LINE = 0.12, 0.16  # inches: width of the bars of a flow, height of a name
OFTEN = 2  # a ribbon is coloured if it holds so many times the items that chance gives it
LEGEND, AXIS, FLOW = 8, 14, 42  # numbers of classes up to which a legend, an axis and a flow name all of them


@checked
def tree(
    tree: PrototypeTree,
    dataset: HierarchicalDataset,
    level: int | None = None,
    exemplars: int = 5,
    max_nodes: int = 40,
) -> Figure:
    """Draws a learned tree, with the pictures nearest to the prototypes of the finest level that is shown.

    The name of a node is the most frequent true class of its members, with the share of the members that have it
    (purity). The class is taken from the true level whose number of classes is nearest to the number of nodes. The bar
    at the right shows how the members mix the coarsest true classes.

    Args:
        tree: the learned tree: ``run.tree``, or ``PrototypeTree.fit(features, sizes)``.
        dataset: the items that it clusters: the training set of that run.
        level: finest level that is shown. By default the last of the tree.
        exemplars: pictures per node.
        max_nodes: largest number of nodes at that level. If there are more, the largest nodes are shown.

    Returns:
        The figure.

    Raises:
        ValueError: there is no tree (the method learns none, or training ended before the end of its warm-up), the
            tree has another number of items than the data set, or the level does not exist.

    Example:
        >>> figure = hiercl.plot.tree(run.tree, train, level=1)
    """
    check_tree(tree, dataset)
    if exemplars < 1 or max_nodes < 1:
        raise ValueError(f"exemplars={exemplars}, max_nodes={max_nodes}: show at least one of each.")
    hierarchy = dataset.hierarchy
    last = tree.levels - 1 if level is None else check_level(level, tree.levels, "the tree")
    truth = [matching_level(size, hierarchy) for size in tree.sizes[: last + 1]]
    names = [node_labels(tree, dataset, depth, truth[depth]) for depth in range(last + 1)]
    paths = _paths(tree, dataset, last, max_nodes)

    size = 0.5 if len(paths) <= 14 else 0.32
    longest = [max(text_width(names[depth][path[depth]][0]) for path in paths) for depth in range(last + 1)]
    starts = [0.15]  # left edge of every level
    for width in longest[:-1]:
        starts.append(starts[-1] + width + 0.75)
    label = starts[-1] + exemplars * (size + 0.03) + 0.1
    classes = [readable(name) for name in hierarchy.names[0]] if hierarchy.sizes[0] <= LEGEND else []
    legend = 0.1 + sum(0.3 + text_width(name, SMALL) for name in classes)
    bar = max(label + longest[-1] + 0.2, legend + text_width("all items", SMALL) + 0.18)
    levels = ", ".join(f"“{hierarchy.level_names[true]}”" for true in truth)
    nearest = f"{items_name(dataset).capitalize()}: nearest to each prototype."
    wide = max(WIDTH, bar + MIX + 0.2)
    note, _ = wrapped(f"{nearest} Labels: the most frequent {levels}, and the share that has it.", wide)
    legend_at = 0.6 + SMALL_LINE * note.count("\n")
    tops = [legend_at + HEADER - 0.57]
    for before, path in pairwise(paths):  # more space between the children of different parents
        apart = 0.1 if path[0] != before[0] else 0.05 if path[:-1] != before[:-1] else 0.0
        tops.append(tops[-1] + size + 0.03 + apart)
    title = f"Learned tree: {' > '.join(map(str, tree.sizes[: last + 1]))} prototypes"
    title += f"; the {len(paths)} largest of {tree.sizes[last]}" if len(paths) < tree.sizes[last] else ""
    figure, axis = sheet(wide, tops[-1] + size + 0.1, title, note)

    centre = [{path[-1]: top + size / 2 for path, top in zip(paths, tops, strict=True)}]
    for depth in range(last, 0, -1):
        centre.insert(0, middles(centre[0], tree.parent[depth].tolist()))
    for depth in range(last):
        for node, y in centre[depth].items():
            text, colour = names[depth][node]
            axis.plot(starts[depth] + 0.05, y, "o", color=colour, markersize=8)
            axis.text(starts[depth] + 0.17, y, text, size=NORMAL, color=TEXT, va="center")
        for child, y in centre[depth + 1].items():
            parent = int(tree.parent[depth + 1][child])
            text, colour = names[depth][parent]
            end = starts[depth] + 0.22 + text_width(text)
            branch(axis, end, centre[depth][parent], starts[depth + 1] - 0.05, y, tint(colour, 0.6))
    mix, colours = _contingency(tree, last, dataset, 0), node_colours(hierarchy, 0)
    for path, top in zip(paths, tops, strict=True):
        items = tree.exemplars(last, path[-1], exemplars).cpu().numpy()
        draw_pictures(axis, dataset, items, starts[last], top, size, gap=0.03)
        axis.text(label, top + size / 2, names[last][path[-1]][0], size=NORMAL, color=TEXT, va="center")
        _draw_mix(axis, mix[path[-1]], colours, bar, top + size / 2)
    _draw_mix(axis, dataset.counts(0), colours, bar, legend_at)
    axis.text(bar - 0.08, legend_at, "all items", size=SMALL, color=GREY, va="center", ha="right")
    x = 0.1
    for name, colour in zip(classes, colours, strict=False):  # classes is empty if they are too many to tell apart
        axis.add_patch(Rectangle((x, legend_at - 0.05), 0.1, 0.1, facecolor=colour))
        axis.text(x + 0.15, legend_at, name, size=SMALL, color=GREY, va="center")
        x += 0.3 + text_width(name, SMALL)
    return figure


def check_tree(tree: PrototypeTree | None, dataset: HierarchicalDataset) -> None:
    """Raises ValueError if there is no tree, or if it is of another data set."""
    if not isinstance(tree, PrototypeTree):
        raise ValueError(
            f"a PrototypeTree is needed, not {type(tree).__name__}: pass run.tree of a method that learns a tree, such "
            "as HCSC, after its warm-up."
        )
    if len(tree.assignment) != len(dataset):
        raise ValueError(
            f"the tree clusters {len(tree.assignment)} items and the data set has {len(dataset)}: pass the "
            "training set."
        )


def matching_level(size: int, hierarchy: Hierarchy) -> int:
    """Returns the true level whose number of classes is nearest, as a ratio, to a number of prototypes."""
    return int(np.abs(np.log(np.array(hierarchy.sizes) / size)).argmin())


def node_labels(
    tree: PrototypeTree, dataset: HierarchicalDataset, level: int, truth: int
) -> list[tuple[str, np.ndarray]]:
    """Returns majority class with purity ("chair 62 %"), and colour, of every node of a level."""
    labels = dataset.labels_at(truth)
    majority, purity = tree.majority(labels)[level].cpu(), tree.purity(labels)[level].cpu()
    names, colours = dataset.hierarchy.names[truth], node_colours(dataset.hierarchy, truth)
    return [
        ("empty", colours[0]) if torch.isnan(share) else (f"{readable(names[best])} {100 * share:.0f} %", colours[best])
        for best, share in zip(majority.tolist(), purity, strict=True)
    ]


def _paths(tree: PrototypeTree, dataset: HierarchicalDataset, level: int, max_nodes: int) -> list[tuple[int, ...]]:
    """Returns the paths of the largest nodes of a level, ordered so that no edges cross and majorities stand together.

    A path holds the ancestors of a node, coarse to fine, and the node itself.
    """
    counts = tree.counts(level).cpu().numpy()
    majorities = [majority.tolist() for majority in tree.majority(dataset.labels)]
    paths = []
    for node in sorted(np.argsort(-counts, kind="stable")[:max_nodes].tolist()):
        path = [node]
        for depth in range(level, 0, -1):
            path.insert(0, int(tree.parent[depth][path[0]]))
        paths += [tuple(path)] if counts[node] else []
    return sorted(paths, key=lambda path: [(majorities[depth][node], node) for depth, node in enumerate(path)])


def _contingency(tree: PrototypeTree, depth: int, dataset: HierarchicalDataset, level: int) -> np.ndarray:
    """Returns the number of items of each prototype of a depth and true class of a level, ``[prototypes, classes]``."""
    nodes, classes = tree.assignment[:, depth].cpu().numpy(), dataset.hierarchy.sizes[level]
    pair = (nodes * classes + dataset.labels_at(level))[dataset.has_label]
    counts = np.bincount(pair, minlength=tree.sizes[depth] * classes)
    return counts.reshape(-1, classes)


def _agreement(tree: PrototypeTree, depth: int, dataset: HierarchicalDataset, level: int) -> float:
    """Returns the adjusted mutual information of the prototypes of a depth and the classes of a true level."""
    from sklearn.metrics import adjusted_mutual_info_score

    known = dataset.has_label
    return adjusted_mutual_info_score(dataset.labels_at(level)[known], tree.assignment[:, depth].cpu().numpy()[known])


def _draw_mix(axis: Axes, counts: np.ndarray, colours: np.ndarray, left: float, y: float) -> None:
    for share, colour in zip(counts / max(counts.sum(), 1), colours, strict=True):
        width = MIX * share
        axis.add_patch(Rectangle((left, y - 0.08), width, 0.16, facecolor=colour, edgecolor="white", linewidth=0.8))
        left += width


# ---- against the true classes ----


@checked
def trees(
    tree: PrototypeTree, dataset: HierarchicalDataset, levels: list[int] | None = None, ax: Axes | None = None
) -> Figure:
    """Draws how far a learned tree and the true hierarchy agree: one heat map per level.

    A row is a prototype, a column a true class. A cell is dark if many of the prototype's members are of that class.
    The rows are ordered so that a tree that has found the classes shows a dark diagonal. Each title gives the adjusted
    mutual information (AMI) of prototypes and classes: 1 for equal partitions, about 0 for independent ones.

    Args:
        tree: the learned tree: ``run.tree``, or ``PrototypeTree.fit(features, sizes)``.
        dataset: the items that it clusters: the training set of that run.
        levels: levels of the tree. By default all. Each is compared with the true level whose size is nearest.
        ax: axis of your own figure to draw a single level on.

    Returns:
        The figure; with ``ax`` your own one.

    Raises:
        ValueError: there is no tree, it is of another data set, a level does not exist, or there are several levels
            for one axis.

    Example:
        >>> figure = hiercl.plot.trees(run.tree, train)
    """
    check_tree(tree, dataset)
    levels = list(range(tree.levels)) if levels is None else levels
    levels = [check_level(level, tree.levels, "the tree") for level in levels]
    if ax is None:
        title = "Learned prototypes (rows) against true classes (columns)"
        figure, axes = panels(1, len(levels), 4.1, max(WIDTH, 3.0 * len(levels)), title)
    else:
        figure, axes = user_axis(ax, len(levels), "choose a level, such as levels=[0]")
    shares = []
    truth = [matching_level(tree.sizes[level], dataset.hierarchy) for level in levels]
    for level, true in zip(levels, truth, strict=True):
        table = _contingency(tree, level, dataset, true)[:, siblings_together(dataset.hierarchy, true)]
        table = table[table.any(axis=1)]
        shares.append(table / table.sum(axis=1, keepdims=True))
    highest = max(0.2, *(float(table.max()) for table in shares))
    for axis, level, true, table in zip(axes[0], levels, truth, shares, strict=True):
        table = table[along_diagonal(table)]
        image = axis.imshow(table, cmap="Blues", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
        what = f"{len(table)} prototypes, {table.shape[1]} × “{dataset.hierarchy.level_names[true]}”"
        panel_title(axis, f"{what}\nAMI {round(_agreement(tree, level, dataset, true), 2) + 0.0:.2f}", size=10)
        axis.set_yticks([])
        axis.tick_params(length=0, labelsize=SMALL)
        axis.spines[:].set_color("#D0D0D0")
        _name_columns(axis, dataset.hierarchy, true)
    bar = colour_bar(figure, image, ax=axes[0].tolist(), shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("share of the prototype's members", size=SMALL)
    return figure


def along_diagonal(shares: np.ndarray) -> np.ndarray:
    """Returns the order of the rows of a table ``[nodes, classes]`` that brings its largest shares to the diagonal.

    Nodes and classes are matched one to one as far as possible. A node without a partner stands at its largest share.
    """
    from scipy.optimize import linear_sum_assignment

    target = shares.argmax(axis=1).astype(float) + 0.5
    rows, columns = linear_sum_assignment(-shares)
    target[rows] = np.where(shares[rows, columns] > 0, columns, target[rows])
    return np.argsort(target, kind="stable")


def _name_columns(axis: Axes, hierarchy: Hierarchy, level: int) -> None:
    """Names the classes; if they are too many, the coarsest classes, with a line between them."""
    columns = siblings_together(hierarchy, level)
    if len(columns) <= AXIS:
        axis.set_xticks(range(len(columns)), [readable(hierarchy.names[level][c]) for c in columns], rotation=90)
        return
    top = ancestor_paths(hierarchy, level)[columns, 0]
    axis.vlines(np.flatnonzero(np.diff(top)) + 0.5, -0.5, axis.get_ylim()[0], color=GREY, linewidth=0.5)
    centres = [np.flatnonzero(top == node).mean() for node in range(hierarchy.sizes[0])]
    axis.set_xticks(centres, [readable(name) for name in hierarchy.names[0]], rotation=90)


# ---- as a flow into the true classes ----


@checked
def flow(
    tree: PrototypeTree,
    dataset: HierarchicalDataset,
    prototypes: int | None = None,
    level: int | None = None,
    node: int | None = None,
) -> Figure:
    """Draws prototypes at the left, true classes at the right, and a ribbon for the items that two of them share.

    The height of a ribbon is the number of items. A tree that has found the classes has one ribbon per prototype. The
    title gives the adjusted mutual information of the two partitions (about 0 if they are independent) and the purity
    of the prototypes.

    Args:
        tree: the learned tree: ``run.tree``, or ``PrototypeTree.fit(features, sizes)``.
        dataset: the items that it clusters: the training set of that run.
        prototypes: level of the tree. By default the coarsest.
        level: level of the true hierarchy. By default the one whose size is nearest to that of the prototypes.
        node: prototype of that level whose ribbons are coloured. All others are grey.

    Returns:
        The figure.

    Raises:
        ValueError: there is no tree, it is of another data set, or a level or the node does not exist.

    Example:
        >>> figure = hiercl.plot.flow(run.tree, train)
    """
    check_tree(tree, dataset)
    hierarchy = dataset.hierarchy
    depth = 0 if prototypes is None else check_level(prototypes, tree.levels, "the tree")
    level = matching_level(tree.sizes[depth], hierarchy) if level is None else level
    level = check_level(level, hierarchy.levels, "the hierarchy")
    if node is not None and not 0 <= node < tree.sizes[depth]:
        raise ValueError(f"there is no prototype {node}: level {depth} has {tree.sizes[depth]}, counted from 0.")
    table, columns = _contingency(tree, depth, dataset, level), siblings_together(hierarchy, level)
    columns = columns[table[:, columns].any(axis=0)]
    table = table[:, columns]
    rows = np.flatnonzero(table.any(axis=1))
    rows = rows[np.lexsort((-table[rows].max(axis=1), table[rows].argmax(axis=1)))]  # by their most frequent class
    table, sizes = table[rows], (table[rows].sum(axis=1), table.sum(axis=0))
    colours, labels = node_colours(hierarchy, level)[columns], node_labels(tree, dataset, depth, level)
    by_chance = np.outer(*sizes) / table.sum()
    strong = table >= OFTEN * by_chance if node is None else np.repeat((rows == node)[:, None], len(columns), axis=1)

    ami = round(100 * _agreement(tree, depth, dataset, level), 1) + 0.0  # without the sign of a zero
    purity = 100 * table.max(axis=1).sum() / table.sum()
    what = f"{tree.sizes[depth]} prototypes and “{hierarchy.level_names[level]}”"
    coloured = f"at least {OFTEN} times as many items as by chance" if node is None else "items of the chosen prototype"
    note = "Left: prototypes, named after the most frequent class of their members, with its share. Coloured ribbons: "
    high = max(3.0, min(7.0, LINE * 1.25 * min(max(table.shape), FLOW)))
    title = f"{what}: AMI {ami:.1f} %, purity {purity:.1f} %"
    figure, axis = sheet(WIDTH, TOP + high + 0.15, title, wrapped(f"{note}{coloured}.", WIDTH)[0])
    left_names = [labels[row][0] for row in rows]
    right_names = [readable(hierarchy.names[level][column]) for column in columns]
    left = 0.2 + max(map(text_width, left_names))
    right = WIDTH - 0.25 - max(map(text_width, right_names))
    tops, scales = zip(*(_stack(counts, high) for counts in sizes), strict=True)
    _ribbons(axis, table, colours, strong, (left + BAR, right), tops, scales)
    _bars(axis, tops[0], sizes[0] * scales[0], left, colours[table.argmax(axis=1)], left_names, "right")
    _bars(axis, tops[1], sizes[1] * scales[1], right, colours, right_names, "left")
    return figure


def _stack(sizes: np.ndarray, high: float) -> tuple[np.ndarray, float]:
    """Returns the upper edges of bars that fill a height with small gaps, and inches per item."""
    gap = min(0.04, 0.25 * high / len(sizes))
    scale = (high - gap * (len(sizes) - 1)) / sizes.sum()
    return TOP + np.concatenate([[0], np.cumsum(sizes[:-1] * scale + gap)]), float(scale)


def _ribbons(
    axis: Axes,
    table: np.ndarray,
    colours: np.ndarray,
    strong: np.ndarray,
    x: tuple[float, float],
    tops: tuple[np.ndarray, ...],
    scales: tuple[float, ...],
) -> None:
    """Draws a ribbon from row to column for every cell of the table that is not zero."""
    across = x[0] + (x[1] - x[0]) * np.linspace(0, 1, 24)
    starts, ends = tops[0].copy(), tops[1].copy()
    for row, column in np.argwhere(table).tolist():
        start, end = starts[row], ends[column]
        starts[row] += table[row, column] * scales[0]
        ends[column] += table[row, column] * scales[1]
        upper, lower = smooth(start, end), smooth(starts[row], ends[column])
        outline = np.concatenate([np.stack([across, upper], 1), np.stack([across, lower], 1)[::-1]])
        colour, order = (tint(colours[column], 0.6), 2) if strong[row, column] else ("#EDEDED", 1)
        axis.add_patch(Polygon(outline, closed=True, facecolor=colour, linewidth=0, zorder=order))


def _bars(
    axis: Axes, tops: np.ndarray, heights: np.ndarray, x: float, colours: np.ndarray, names: list[str], side: str
) -> None:
    """Draws bars with names beside them. Of names that would overlap, the larger bar has its name."""
    for top, height, colour in zip(tops, heights, colours, strict=True):
        axis.add_patch(Rectangle((x, top), BAR, height, facecolor=colour, linewidth=0, zorder=3))
    beside = x - 0.06 if side == "right" else x + BAR + 0.06
    taken: list[float] = []
    for place in np.argsort(-heights, kind="stable"):
        y = float(tops[place] + heights[place] / 2)
        if all(abs(y - other) >= LINE for other in taken):
            taken.append(y)
            axis.text(beside, y, names[place], size=SMALL, color=TEXT, ha=side, va="center")
    if len(taken) < len(names):
        said = f"{len(taken)} of {len(names)} are named"
        axis.text(x + BAR, TOP - 0.1, said, size=SMALL, color=GREY, ha="right")
