"""A dendrogram of the class centroids beside the tree of the labels."""

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import cophenetic_correlation
from hiercl.metrics.dendrograms import class_linkage, purity_of
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.plot._canvas import SMALL, TITLE, WIDTH, branch, check_level, light, readable, sheet, text_width
from hiercl.plot._colours import GREY, TEXT, node_colours, tint
from hiercl.plot._neighbours import features_of, name_of, what_of
from hiercl.runtime.types import Float, Int

MOST = 200  # classes that can be read
SHUFFLES = 100  # of the groups, for what chance gives


def dendrogram(run: Any, dataset: HierarchicalDataset, level: int = -1, title: str | None = None) -> Figure:
    """Average-linkage dendrogram of the class centroids, at the left, joined to the tree of the labels, at the right.

    Centroids are means of unit features, brought to unit length; their distance is √(2 − 2 cos). A branch has the
    colour of a coarser class when it holds that one alone. Branches of both trees are turned so that few of the joining
    lines cross. The title gives :func:`hiercl.metrics.dendrogram_purity` within the next coarser level, and what it is
    on average when the classes are dealt out at random among its nodes (100 times); and
    :func:`hiercl.metrics.cophenetic_correlation`, which is 0 on average when the classes of the tree are shuffled.

    Args:
        run: a run, a pretrained model, an encoder, or features ``[n, d]``.
        dataset: the items and their labels; classes without an item are left out.
        level: whose nodes are the classes; −1 the leaves. At level 0 the tree of the labels has nothing to compare.
        title: what the embedding is of; by default the name of the run's method.

    Raises:
        ValueError: features that are not one row for each item, not finite or of length zero; a level that does not
            exist, or has more than 200 classes with items, or fewer than two.

    Example:
        >>> hiercl.plot.dendrogram(run, test)
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    classes = len(np.unique(dataset.labels_at(level)))
    if not 2 <= classes <= MOST:
        raise ValueError(
            f"{classes} classes of the level {tree.level_names[level]!r} have items: a dendrogram needs from 2 to "
            f"{MOST}; take another level, or a part of the data with dataset.under(name)."
        )
    features = features_of(run, dataset)
    linkage, present = class_linkage(features, dataset.labels, tree, level)
    paths = ancestor_paths(tree, level)[present]
    learned, true = untangled(linkage, paths)
    numbers = f"dendrogram of {classes} × “{tree.level_names[level]}”"
    if level > 0:
        cophenetic = cophenetic_correlation(features, dataset.labels, tree, level)
        numbers = _agreement(cophenetic, linkage, paths[:, level - 1]) or numbers
    note = _note(run, dataset, paths, level)
    return _draw(dataset, level, linkage, paths, learned, true, f"{title or name_of(run)}: {numbers}", note)


def untangled(
    linkage: Float[np.ndarray, "merges 4"], paths: Int[np.ndarray, "leaves levels"], rounds: int = 20
) -> tuple[Int[np.ndarray, " leaves"], Int[np.ndarray, " leaves"]]:
    """Orders of the same leaves in a dendrogram and in a tree, in which few lines between the two cross.

    The two are turned in turns: each merge of the dendrogram to the side on which fewer lines cross, which is the best
    that turning it can do for this order of the tree; then the children of every node of the tree by the mean place of
    their leaves. The best order that was met is given.

    Args:
        linkage: SciPy's linkage matrix.
        paths: ancestors of every leaf in the tree, coarse first.
        rounds: at most so many.
    """
    true = np.lexsort(paths.T[::-1])
    best, fewest = None, math.inf
    for _ in range(rounds):
        learned = _turned(linkage, _places(true))
        if (crossing := crossings(learned, true)) >= fewest:
            break
        best, fewest = (learned, true), crossing
        true = _by_mean_place(paths, _places(learned))
        if (crossing := crossings(learned, true)) < fewest:
            best, fewest = (learned, true), crossing
    return best


def crossings(first: Int[np.ndarray, " leaves"], second: Int[np.ndarray, " leaves"]) -> int:
    """Pairs of leaves that stand in another order in the second than in the first."""
    place = _places(second)[first]
    return int(np.triu(place[:, None] > place, k=1).sum())


def _places(order: np.ndarray) -> np.ndarray:
    """Place of every leaf in an order."""
    return np.argsort(order)


def _turned(linkage: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Order of the leaves of a dendrogram that crosses least with these places."""
    below = [np.array([leaf]) for leaf in range(len(place))]
    for left, right in linkage[:, :2].astype(int):
        first, second = below[left], below[right]
        crossing = (place[first][:, None] > place[second]).mean()
        below.append(np.r_[first, second] if crossing <= 0.5 else np.r_[second, first])
    return below[-1]


def _by_mean_place(paths: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Order of the leaves of a tree in which the children of every node stand by the mean place of their leaves."""
    keys = []
    for nodes in paths.T:
        mean = np.bincount(nodes, weights=place)[nodes] / np.bincount(nodes)[nodes]
        keys += [mean, nodes]
    return np.lexsort(keys[::-1])


def _agreement(cophenetic: float, linkage: np.ndarray, groups: np.ndarray) -> str:
    """The numbers that compare the two trees, each with what chance gives; empty where they are not defined."""
    purity = purity_of(linkage, groups)
    rng = np.random.default_rng(0)
    chance = np.mean([purity_of(linkage, rng.permutation(groups)) for _ in range(SHUFFLES)])
    numbers = [("dendrogram purity", purity, f"{chance:.2f}"), ("cophenetic correlation", cophenetic, "0")]
    return ", ".join(f"{name} {value:.2f} (chance {least})" for name, value, least in numbers if value == value)


def _note(run: Any, dataset: HierarchicalDataset, paths: np.ndarray, level: int) -> str:
    tree = dataset.hierarchy
    about = f" ({dataset.note})" if dataset.note else ""
    text = f"Average linkage of {len(paths)} centroids of {what_of(run)}, by “{tree.level_names[level]}”; "
    text += f"{len(dataset):,} items of {dataset.name}{about}."
    if level:
        text += f" Right: the tree of the labels. Colours and purity: “{tree.level_names[level - 1]}”."
    missing = tree.sizes[level] - len(paths)
    return text + (f" {missing} classes without items are left out." if missing else "")


def _draw(
    dataset: HierarchicalDataset,
    level: int,
    linkage: np.ndarray,
    paths: np.ndarray,
    learned: np.ndarray,
    true: np.ndarray,
    title: str,
    note: str,
) -> Figure:
    tree, leaves = dataset.hierarchy, len(paths)
    above = max(level - 1, 0)
    colours = node_colours(tree, above)[paths[:, above]]
    names = [readable(tree.names[level][node]) for node in paths[:, level]]
    line = 0.22 if leaves <= 30 else 0.135
    points = SMALL if leaves <= 30 else 7
    name = max(text_width(text, points) for text in names) + 0.12
    wide = 2.7 if level else WIDTH - name - 0.3
    starts = [0.15 + wide]  # the dendrogram's leaves, the lines, the tree's leaves, and the coarser levels
    starts += [starts[0] + name, starts[0] + name + 1.2, starts[0] + 2 * name + 1.2]
    for at in range(level - 1, -1, -1):
        starts.append(starts[-1] + 0.65 + max(text_width(readable(text), SMALL) for text in tree.names[at]))
    width = max(WIDTH, starts[-1] + 0.15 if level else 0, 1.15 * text_width(title, TITLE) + 0.2)
    lines = textwrap.wrap(note, int(15.5 * width))
    top = 0.5 + 0.15 * len(lines)
    height = top + leaves * line + 0.5
    figure, axis = sheet(width, height, title, "\n".join(lines))
    y_learned = top + line * (_places(learned) + 0.5)
    y_true = top + line * (_places(true) + 0.5)
    inner = figure.add_axes((0.15 / width, 0.5 / height, wide / width, leaves * line / height))
    inner.set_ylim(top + leaves * line, top)
    _draw_branches(inner, linkage, paths[:, above], colours, y_learned)
    for leaf, text in enumerate(names):
        style = {"size": points, "color": TEXT, "va": "center"}
        axis.text(starts[0] + 0.06, y_learned[leaf], text, **style)
        if level == 0:
            continue
        axis.text(starts[2] + 0.06, y_true[leaf], text, **style)
        axis.plot(starts[1:3], [y_learned[leaf], y_true[leaf]], color=colours[leaf], linewidth=1.2, zorder=1)
        axis.plot(starts[1:3], [y_learned[leaf], y_true[leaf]], "o", color=colours[leaf], markersize=3, zorder=2)
    _draw_labels(axis, tree, level, paths, y_true, starts[3:])
    return figure


def _draw_branches(axis: Axes, linkage: np.ndarray, groups: np.ndarray, colours: np.ndarray, y: np.ndarray) -> None:
    """The dendrogram, its leaves at the right; a branch that holds one group alone has its colour."""
    height, ys, group = [0.0] * len(groups), y.tolist(), groups.tolist()
    colour_of = dict(zip(groups.tolist(), colours, strict=True))
    for left, right, distance in linkage[:, :3]:
        a, b = int(left), int(right)
        together = group[a] if group[a] == group[b] else None
        for child in (a, b):
            colour = GREY if group[child] is None else colour_of[group[child]]
            axis.plot([height[child], distance], [ys[child], ys[child]], color=colour, linewidth=1.4)
        colour = GREY if together is None else colour_of[together]
        axis.plot([distance, distance], [ys[a], ys[b]], color=colour, linewidth=1.4)
        height.append(float(distance))
        ys.append((ys[a] + ys[b]) / 2)
        group.append(together)
    axis.set_xlim(1.04 * max(height), 0)
    axis.set_yticks([])
    light(axis, grid="x")
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("distance √(2 − 2 cos)", size=SMALL, color=GREY)


def _draw_labels(
    axis: Axes, tree: Hierarchy, level: int, paths: np.ndarray, y: np.ndarray, starts: list[float]
) -> None:
    """The coarser levels of the tree of the labels, one column a level, to the right of its leaves."""
    places = dict(zip(paths[:, level].tolist(), y.tolist(), strict=True))
    ends = dict.fromkeys(places, starts[0] - 0.05)
    for column, at in enumerate(range(level - 1, -1, -1)):
        colours, left = node_colours(tree, at), starts[column] + 0.5
        below: dict[int, list[int]] = {}
        for fine, coarse in dict.fromkeys(map(tuple, paths[:, [at + 1, at]].tolist())):
            below.setdefault(coarse, []).append(fine)
        centres = {node: float(np.mean([places[child] for child in children])) for node, children in below.items()}
        for node, centre in centres.items():
            for child in below[node]:
                branch(axis, ends[child], places[child], left - 0.06, centre, tint(colours[node], 0.7))
            axis.plot(left, centre, "s", color=colours[node], markersize=6)
            axis.text(left + 0.1, centre, readable(tree.names[at][node]), size=SMALL, color=TEXT, va="center")
        ends = {node: left + 0.14 + text_width(readable(tree.names[at][node]), SMALL) for node in centres}
        places = centres
