"""A learned tree of prototypes, with the pictures nearest to each."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import NORMAL, SMALL, WIDTH, branch, check_level, draw_pictures, readable, sheet, text_width
from hiercl.plot._colours import GREY, TEXT, node_colours, tint

HEADER = 0.8
NAMED = 8  # coarsest classes beyond which their colours are not named
BAR = 1.3  # width of the bar that shows a node's mix of classes


@dataclass(frozen=True)
class Row:
    """A node of the finest level that is shown."""

    path: tuple[int, ...]
    size: int


def tree(
    tree: PrototypeTree,
    dataset: HierarchicalDataset,
    level: int | None = None,
    exemplars: int = 5,
    max_nodes: int = 40,
) -> Figure:
    """A learned tree: for every node of the finest shown level the pictures nearest to its prototype.

    Each node is named after the most frequent true class of its members, with the share of those members (its
    purity), at the level of the true hierarchy whose size is nearest to that of its own. The bar at the right shows
    the mix of true coarsest classes.

    Args:
        tree: ``run.tree``.
        dataset: the training set of that run.
        level: the finest level to show; by default the tree's last.
        exemplars: pictures a node.
        max_nodes: at most so many nodes of that level; the largest are taken, and the title says so.

    Raises:
        ValueError: there is no tree (a method without one, or a training that ended before its warm-up did), the data
            set has another number of items than the tree, or the level does not exist.

    Example:
        >>> hiercl.plot.tree(run.tree, train, level=1)
    """
    check_tree(tree, dataset)
    if exemplars < 1 or max_nodes < 1:
        raise ValueError(f"exemplars={exemplars}, max_nodes={max_nodes}: show at least one of each.")
    last = tree.levels - 1 if level is None else check_level(level, tree.levels, "the tree")
    truth = [matching_level(size, dataset.hierarchy) for size in tree.sizes[: last + 1]]
    names = [node_labels(tree, dataset, depth, truth[depth]) for depth in range(last + 1)]
    rows = _rows(tree, dataset, last, max_nodes)

    size = 0.5 if len(rows) <= 14 else 0.32
    starts = [0.15]
    for depth in range(last):
        shown = {row.path[depth] for row in rows}
        starts.append(starts[-1] + max(text_width(names[depth][node][0]) for node in shown) + 0.75)
    label = starts[-1] + exemplars * (size + 0.03) + 0.1
    bar = label + max(text_width(names[last][row.path[-1]][0]) for row in rows) + 0.2
    bar = max(bar, _named_width(dataset.hierarchy) + text_width("all items", SMALL) + 0.18)
    width = max(WIDTH, bar + BAR + 0.2)
    tops = _tops(rows, size)
    figure, axis = sheet(width, tops[-1] + size + 0.1, _title(tree, last, len(rows)), _note(tree, last, dataset, truth))
    centre = [{row.path[-1]: top + size / 2 for row, top in zip(rows, tops, strict=True)}]
    for depth in range(last, 0, -1):
        above: dict[int, list[float]] = {}
        for row in rows:
            above.setdefault(row.path[depth - 1], []).append(centre[0][row.path[depth]])
        centre.insert(0, {node: (min(ys) + max(ys)) / 2 for node, ys in above.items()})

    for depth in range(last):
        for node, y in centre[depth].items():
            text, colour = names[depth][node]
            axis.plot(starts[depth] + 0.05, y, "o", color=colour, markersize=8)
            axis.text(starts[depth] + 0.17, y, text, size=NORMAL, color=TEXT, va="center")
            for child in {row.path[depth + 1] for row in rows if row.path[depth] == node}:
                end = starts[depth] + 0.22 + text_width(text)
                branch(axis, end, y, starts[depth + 1] - 0.05, centre[depth + 1][child], tint(colour, 0.6))
    mix = _mix(tree, dataset, last)
    _explain_mix(axis, dataset, bar)
    for row, top in zip(rows, tops, strict=True):
        node = row.path[-1]
        text, colour = names[last][node]
        items = tree.exemplars(last, node, exemplars).cpu().numpy()
        draw_pictures(axis, dataset, items, starts[last], top, size, gap=0.03)
        axis.text(label, top + size / 2, text, size=NORMAL, color=TEXT, va="center")
        _draw_mix(axis, mix[node], node_colours(dataset.hierarchy, 0), bar, top + size / 2)
    return figure


def check_tree(tree: PrototypeTree | None, dataset: HierarchicalDataset) -> None:
    """Raises ValueError unless the tree is one, and of this data set."""
    if not isinstance(tree, PrototypeTree):
        raise ValueError(
            f"a PrototypeTree is needed, not {type(tree).__name__}: run.tree of a method that learns one, such as "
            "HCSC, after its warm-up."
        )
    if len(tree.assignment) != len(dataset):
        raise ValueError(
            f"the tree clusters {len(tree.assignment)} items and the data set has {len(dataset)}: pass the "
            "training set."
        )


def matching_level(size: int, hierarchy: Hierarchy) -> int:
    """The level of a true hierarchy whose number of classes is nearest (as a ratio) to a number of prototypes."""
    return int(np.abs(np.log(np.array(hierarchy.sizes) / size)).argmin())


def node_labels(
    tree: PrototypeTree, dataset: HierarchicalDataset, level: int, truth: int
) -> list[tuple[str, np.ndarray]]:
    """Majority class with purity ("chair 62 %"), and its colour, of every node of a level."""
    labels = torch.as_tensor(dataset.labels_at(truth))
    majority, purity = tree.majority(labels)[level].cpu(), tree.purity(labels)[level].cpu()
    names, colours = dataset.hierarchy.names[truth], node_colours(dataset.hierarchy, truth)
    return [
        ("empty", colours[0]) if torch.isnan(share) else (f"{readable(names[best])} {100 * share:.0f} %", colours[best])
        for best, share in zip(majority.tolist(), purity, strict=True)
    ]


def _rows(tree: PrototypeTree, dataset: HierarchicalDataset, level: int, max_nodes: int) -> list[Row]:
    """The largest nodes of a level, so ordered that no edges cross and similar majorities stand together."""
    counts = tree.counts(level).cpu().numpy()
    chosen = sorted(np.argsort(-counts, kind="stable")[:max_nodes].tolist())
    majorities = [m.tolist() for m in tree.majority(torch.as_tensor(dataset.labels))]
    parents = [parent.tolist() for parent in tree.parent]
    rows = []
    for node in chosen:
        if counts[node] == 0:
            continue
        path = [node]
        for depth in range(level, 0, -1):
            path.insert(0, parents[depth][path[0]])
        rows.append(Row(tuple(path), int(counts[node])))
    return sorted(rows, key=lambda row: [(majorities[depth][node], node) for depth, node in enumerate(row.path)])


def _tops(rows: list[Row], size: float | int) -> list[float]:
    """Upper edge of every row: more air between the children of different parents."""
    tops = [HEADER]
    for before, row in pairwise(rows):
        apart = 0.1 if row.path[0] != before.path[0] else 0.05 if row.path[:-1] != before.path[:-1] else 0.0
        tops.append(tops[-1] + size + 0.03 + apart)
    return tops


def _title(tree: PrototypeTree, last: int, shown: int) -> str:
    sizes = " > ".join(str(size) for size in tree.sizes[: last + 1])
    some = f"; the {shown} largest of {tree.sizes[last]}" if shown < tree.sizes[last] else ""
    return f"Learned tree: {sizes} prototypes{some}"


def _note(tree: PrototypeTree, last: int, dataset: HierarchicalDataset, truth: list[int]) -> str:
    levels = dataset.hierarchy.level_names
    named = ", ".join(f"“{levels[true]}”" for true in truth)
    return f"Pictures: nearest to each prototype. Labels: the most frequent {named}, and the share that has it."


def _mix(tree: PrototypeTree, dataset: HierarchicalDataset, level: int) -> np.ndarray:
    """Share of every true coarsest class among the members of each node, ``[nodes, classes]``."""
    table = contingency(tree.assignment[:, level].cpu().numpy(), dataset.labels_at(0), tree.sizes[level], dataset, 0)
    return table / table.sum(axis=1, keepdims=True).clip(min=1)


def contingency(nodes: np.ndarray, labels: np.ndarray, size: int, dataset: HierarchicalDataset, level: int):
    """Number of items for each learned node and true class, ``[nodes, classes]``."""
    classes = dataset.hierarchy.sizes[level]
    return np.bincount(nodes * classes + labels, minlength=size * classes).reshape(size, classes)


def _named_width(hierarchy: Hierarchy) -> float:
    """Inches that the names of the coarsest classes take in a row; none where they are too many to be named."""
    names = hierarchy.names[0] if hierarchy.sizes[0] <= NAMED else ()
    return 0.1 + sum(0.3 + text_width(readable(name), SMALL) for name in names)


def _explain_mix(axis: Axes, dataset: HierarchicalDataset, left: float | int) -> None:
    """The mix of all items, to compare with, and what the colours mean where these are few enough to be told apart."""
    hierarchy, y = dataset.hierarchy, 0.57
    colours = node_colours(hierarchy, 0)
    _draw_mix(axis, dataset.counts(0) / len(dataset), colours, left, y)
    axis.text(left - 0.08, y, "all items", size=SMALL, color=GREY, va="center", ha="right")
    if hierarchy.sizes[0] > NAMED:
        return
    x = 0.1
    for name, colour in zip(hierarchy.names[0], colours, strict=True):
        axis.add_patch(Rectangle((x, y - 0.05), 0.1, 0.1, facecolor=colour))
        axis.text(x + 0.15, y, readable(name), size=SMALL, color=GREY, va="center")
        x += 0.3 + text_width(readable(name), SMALL)


def _draw_mix(axis: Axes, shares: np.ndarray, colours: np.ndarray, left: float | int, y: float | int) -> None:
    for share, colour in zip(shares, colours, strict=True):
        width = BAR * share
        axis.add_patch(Rectangle((left, y - 0.08), width, 0.16, facecolor=colour, edgecolor="white", linewidth=0.8))
        left += width
