"""A dendrogram of the class centroids beside the tree of the labels."""

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import cophenetic_correlation
from hiercl.metrics.dendrograms import class_linkage, purity_of
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.plot._canvas import SMALL, WIDTH, branch, check_level, readable, sheet, simple_axis, text_width, title_width
from hiercl.plot._colours import GREY, TEXT, node_colours, tint
from hiercl.plot._neighbours import name_of, what_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.types import Float, Int

MOST = 200  # classes that can be read
SHUFFLES = 100  # random groupings, for the value that chance gives


@checked
def dendrogram(run: Any, dataset: HierarchicalDataset, level: int = -1, title: str | None = None) -> Figure:
    """Draws the average-linkage dendrogram of the class centroids, joined to the tree of the labels at the right.

    Centroids are means of unit features, divided by their length. Their distance is √(2 − 2 cos). A branch has the
    colour of a coarser class if all its classes are of that class. The branches of both trees are turned so that few of
    the joining lines cross. A line below the title gives :func:`hiercl.metrics.dendrogram_purity` within the next
    coarser level, with its mean over 100 random assignments of the classes to its nodes, and
    :func:`hiercl.metrics.cophenetic_correlation`, which is 0 on average if the classes of the tree are shuffled.

    Args:
        run: a run, a pretrained model, an encoder, or features ``[n, d]``; None for vectors themselves.
        dataset: the items and their labels. Items without a label, and classes without an
            item, are left out.
        level: level of the classes. −1 means the leaves. At level 0 there is no coarser level to compare with.
        title: name of the embedding. By default the name of the run's method.

    Returns:
        The figure.

    Raises:
        ValueError: features are not one row per item, not finite or of length zero; or the level does not exist, has
            more than 200 classes with items, or fewer than two.

    Example:
        >>> figure = hiercl.plot.dendrogram(run, test)
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    classes = len(np.unique(dataset.labels_at(level)[dataset.has_label]))
    if not 2 <= classes <= MOST:
        raise ValueError(
            f"{classes} classes of the level {tree.level_names[level]!r} have items: a dendrogram needs from 2 to "
            f"{MOST}; take another level, or a part of the data with dataset.under(name)."
        )
    features, dataset = features_of(run, dataset)[dataset.has_label], dataset.labelled_part
    linkage, present = class_linkage(features, dataset.labels, tree, level)
    paths = ancestor_paths(tree, level)[present]
    about = f" ({dataset.note})" if dataset.note else ""
    note = f"Average linkage of {classes} centroids of {what_of(run)}, by “{tree.level_names[level]}”; "
    note += f"{len(dataset):,} items of {dataset.name}{about}."
    if level:
        cophenetic = cophenetic_correlation(features, dataset.labels, tree, level)
        numbers = _agreement(cophenetic, linkage, paths[:, level - 1])
        note = f"{numbers.capitalize()}. {note}" if numbers else note
        note += f" Right: the tree of the labels. Colours and purity: “{tree.level_names[level - 1]}”."
    if missing := tree.sizes[level] - classes:
        note += f" {missing} classes without items are left out."
    return _draw(tree, linkage, paths, title or name_of(run), note)


def untangled(
    linkage: Float[np.ndarray, "merges 4"], paths: Int[np.ndarray, "leaves levels"], rounds: int = 20
) -> tuple[Int[np.ndarray, " leaves"], Int[np.ndarray, " leaves"]]:
    """Returns orders of the same leaves in a dendrogram and in a tree, with few crossings of the lines between them.

    The two are turned alternately. Each merge of the dendrogram is turned to the side with fewer crossings, which is
    the best for the given order of the tree. Then the children of every node of the tree are sorted by the mean place
    of their leaves. The best order of all rounds is returned. The procedure is ours.

    Args:
        linkage: SciPy's linkage matrix.
        paths: ancestors of every leaf in the tree, coarse to fine.
        rounds: largest number of rounds.

    Returns:
        The order in the dendrogram and the order in the tree.
    """
    true = np.lexsort(paths.T[::-1])
    best, fewest = (true, true), math.inf
    for _ in range(rounds):
        learned = _turned(linkage, np.argsort(true))
        if (crossing := crossings(learned, true)) >= fewest:
            break
        best, fewest = (learned, true), crossing
        true = by_mean_place(paths, np.argsort(learned))
        if (crossing := crossings(learned, true)) < fewest:
            best, fewest = (learned, true), crossing
    return best


def crossings(first: Int[np.ndarray, " leaves"], second: Int[np.ndarray, " leaves"]) -> int:
    """Returns the number of pairs of leaves whose order differs between the first and the second."""
    place = np.argsort(second)[first]
    return int(np.triu(place[:, None] > place, k=1).sum())


def _turned(linkage: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns the order of the leaves of a dendrogram with the fewest crossings for these places in the tree."""
    below = [np.array([leaf]) for leaf in range(len(place))]
    for left, right in linkage[:, :2].astype(int):
        first, second = below[left], below[right]
        crossing = (place[first][:, None] > place[second]).mean()
        below.append(np.r_[first, second] if crossing <= 0.5 else np.r_[second, first])
    return below[-1]


def by_mean_place(paths: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns the order of the leaves of a tree if the children of a node are sorted by their leaves' mean place."""
    keys = []
    for nodes in paths.T:
        mean = np.bincount(nodes, weights=place)[nodes] / np.bincount(nodes)[nodes]
        keys += [mean, nodes]
    return np.lexsort(keys[::-1])


def _agreement(cophenetic: float, linkage: np.ndarray, groups: np.ndarray) -> str:
    """Writes the numbers that compare the two trees, each with what chance gives; empty if they are not defined."""
    purity, rng = purity_of(linkage, groups), np.random.default_rng(0)
    chance = np.mean([purity_of(linkage, rng.permutation(groups)) for _ in range(SHUFFLES)])
    numbers = [("dendrogram purity", purity, f"{chance:.2f}"), ("cophenetic correlation", cophenetic, "0")]
    return ", ".join(f"{name} {value:.2f} (chance {least})" for name, value, least in numbers if not math.isnan(value))


def _draw(tree: Hierarchy, linkage: np.ndarray, paths: np.ndarray, title: str, note: str) -> Figure:
    """Draws the dendrogram, the lines, and the tree of the labels (at level 0 the dendrogram alone)."""
    leaves, level = len(paths), paths.shape[1] - 1
    above = max(level - 1, 0)
    colours = node_colours(tree, above)[paths[:, above]]
    names = [readable(tree.names[level][node]) for node in paths[:, level]]
    line, points = 0.22 if leaves <= 30 else 0.145, SMALL
    name = max(text_width(text, points) for text in names) + 0.12
    wide = 2.7 if level else WIDTH - name - 0.3
    # left edges of the names of the dendrogram, the lines, the names of the tree, and its coarser levels
    starts = [0.15 + wide, 0.15 + wide + name, 0.15 + wide + name + 1.2, 0.15 + wide + 2 * name + 1.2]
    for at in range(level - 1, -1, -1):
        starts.append(starts[-1] + 0.65 + max(text_width(readable(text), SMALL) for text in tree.names[at]))
    width = max(WIDTH, starts[-1] + 0.15 if level else 0, title_width(title))
    lines = textwrap.wrap(note, int(15.5 * width))
    top = 0.5 + 0.15 * len(lines)
    height = top + leaves * line + 0.5
    figure, axis = sheet(width, height, title, "\n".join(lines))
    y_learned, y_true = (top + line * (np.argsort(order) + 0.5) for order in untangled(linkage, paths))
    inner = figure.add_axes((0.15 / width, 0.5 / height, wide / width, leaves * line / height))
    inner.set_ylim(top + leaves * line, top)
    _draw_branches(inner, linkage, paths[:, above], colours, y_learned)
    style = {"size": points, "color": TEXT, "va": "center"}
    for text, colour, *ends in zip(names, colours, y_learned, y_true, strict=True):
        axis.text(starts[0] + 0.06, ends[0], text, **style)
        if level:
            axis.text(starts[2] + 0.06, ends[1], text, **style)
            axis.plot(starts[1:3], ends, color=colour, linewidth=1.2, zorder=1)
            axis.plot(starts[1:3], ends, "o", color=colour, markersize=3, zorder=2)
    _draw_labels(axis, tree, paths, y_true, starts[3:])
    return figure


def _draw_branches(axis: Axes, linkage: np.ndarray, groups: np.ndarray, colours: np.ndarray, y: np.ndarray) -> None:
    """Draws the dendrogram, its leaves at the right. A branch with a single group has the colour of the group."""
    height, ys, group = [0.0] * len(groups), y.tolist(), groups.tolist()
    colour_of = dict(zip(group, colours, strict=True)) | {None: GREY}
    for left, right, distance in linkage[:, :3]:
        a, b = int(left), int(right)
        for child in (a, b):
            axis.plot([height[child], distance], [ys[child]] * 2, color=colour_of[group[child]], linewidth=1.4)
        group.append(group[a] if group[a] == group[b] else None)
        axis.plot([distance, distance], [ys[a], ys[b]], color=colour_of[group[-1]], linewidth=1.4)
        height.append(float(distance))
        ys.append((ys[a] + ys[b]) / 2)
    axis.set_xlim(1.04 * max(height), 0)
    axis.set_yticks([])
    simple_axis(axis, grid="x")
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("distance √(2 − 2 cos)", size=SMALL, color=GREY)


def _draw_labels(axis: Axes, tree: Hierarchy, paths: np.ndarray, y: np.ndarray, starts: list[float]) -> None:
    """Draws the coarser levels of the tree of the labels, one column per level, to the right of its leaves."""
    level = paths.shape[1] - 1
    places = dict(zip(paths[:, level].tolist(), y.tolist(), strict=True))
    ends = dict.fromkeys(places, starts[0] - 0.05)
    for start, at in zip(starts, range(level - 1, -1, -1), strict=False):
        colours, left, parent = node_colours(tree, at), start + 0.5, tree.parent(at + 1)
        centres = {
            node: float(np.mean([place for child, place in places.items() if parent[child] == node]))
            for node in np.unique(parent[list(places)]).tolist()
        }
        for child, place in places.items():
            node = int(parent[child])
            branch(axis, ends[child], place, left - 0.06, centres[node], tint(colours[node], 0.7))
        ends = {}
        for node, centre in centres.items():
            name = readable(tree.names[at][node])
            axis.plot(left, centre, "s", color=colours[node], markersize=6)
            axis.text(left + 0.1, centre, name, size=SMALL, color=TEXT, va="center")
            ends[node] = left + 0.14 + text_width(name, SMALL)
        places = centres
