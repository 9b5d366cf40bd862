"""A learned tree beside the true hierarchy: who shares how many items with whom."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.optimize import linear_sum_assignment

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import SMALL, WIDTH, check_level, given, headline, panels, readable
from hiercl.plot._colours import GREY, TEXT
from hiercl.plot._tree import check_tree, contingency, matching_level

NAMED = 14  # classes beyond which only the coarsest ones are written along the axis


def trees(
    tree: PrototypeTree, dataset: HierarchicalDataset, levels: list[int] | None = None, ax: Axes | None = None
) -> Figure:
    """How the learned tree and the true hierarchy agree: one heat map a level.

    A row is a prototype, a column a true class, dark where many of the prototype's members are of that class. Rows are
    ordered so that a tree that has found the classes shows a dark diagonal. Each title gives the adjusted mutual
    information (AMI) of prototypes and classes: 1 when they are the same partition, 0 when they agree by chance alone.

    Args:
        tree: ``run.tree``.
        dataset: the training set of that run.
        levels: levels of the tree; by default all. Each stands against the true level whose size is nearest.
        ax: an axis to draw on, of a figure of your own, which is returned; for a single level.

    Raises:
        ValueError: there is no tree, it is of another data set, a level does not exist, or there are several for one
            axis.

    Example:
        >>> hiercl.plot.trees(run.tree, train)
    """
    check_tree(tree, dataset)
    levels = list(range(tree.levels)) if levels is None else levels
    levels = [check_level(level, tree.levels, "the tree") for level in levels]
    if ax is None:
        figure, axes = panels(1, len(levels), height=4.1, width=max(WIDTH, 3.0 * len(levels)))
        headline(figure, "Learned prototypes (rows) against true classes (columns)")
    else:
        figure, axes = given(ax, len(levels), "choose a level, such as levels=[0]")
    tables = [_shares(tree, dataset, level) for level in levels]
    highest = max(0.2, *(float(table.max()) for table in tables))
    for axis, level, table in zip(axes[0], levels, tables, strict=True):
        image = _draw_agreement(axis, table, highest, tree, dataset, level)
    bar = figure.colorbar(image, ax=axes[0].tolist(), shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("share of the prototype's members", size=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    return figure


def agreement(tree: PrototypeTree, dataset: HierarchicalDataset, level: int, truth: int) -> float:
    """Adjusted mutual information of the prototypes of a level and the classes of a true level."""
    from sklearn.metrics import adjusted_mutual_info_score

    return adjusted_mutual_info_score(dataset.labels_at(truth), tree.assignment[:, level].cpu().numpy())


def along_diagonal(shares: np.ndarray) -> np.ndarray:
    """Order of the rows of a table ``[nodes, classes]`` that brings its largest shares to the diagonal.

    Nodes are matched one to one with classes as far as there are both; the others follow the class they
    share most with.
    """
    target = shares.argmax(axis=1).astype(float) + 0.5
    rows, columns = linear_sum_assignment(-shares)
    target[rows] = np.where(shares[rows, columns] > 0, columns, target[rows])
    return np.argsort(target, kind="stable")


def _shares(tree: PrototypeTree, dataset: HierarchicalDataset, level: int) -> np.ndarray:
    """Share of every true class in each prototype that has members, ``[prototypes, classes]``, in the order drawn."""
    truth = matching_level(tree.sizes[level], dataset.hierarchy)
    nodes = tree.assignment[:, level].cpu().numpy()
    table = contingency(nodes, dataset.labels_at(truth), tree.sizes[level], dataset, truth)
    table = table[table.sum(axis=1) > 0]
    shares = (table / table.sum(axis=1, keepdims=True))[:, _columns(dataset.hierarchy, truth)]
    return shares[along_diagonal(shares)]


def _columns(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """The nodes of a level, those of one coarsest class together."""
    return np.argsort(_top_of_nodes(hierarchy, level), kind="stable")


def _draw_agreement(
    axis: Axes, shares: np.ndarray, highest: float | int, tree: PrototypeTree, dataset: HierarchicalDataset, level: int
) -> AxesImage:
    hierarchy = dataset.hierarchy
    truth = matching_level(tree.sizes[level], hierarchy)
    columns = _columns(hierarchy, truth)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    name, score = hierarchy.level_names[truth], agreement(tree, dataset, level, truth)
    axis.set_title(
        f"{len(shares)} prototypes, {len(columns)} × “{name}”\nAMI {score:.2f}", size=10, color=TEXT, loc="left"
    )
    axis.set_yticks([])
    axis.tick_params(length=0, labelsize=SMALL)
    axis.spines[:].set_color("#D0D0D0")
    if len(columns) <= NAMED:
        axis.set_xticks(range(len(columns)), [readable(hierarchy.names[truth][c]) for c in columns], rotation=90)
    else:
        _name_tops(axis, hierarchy, truth, columns)
    return image


def _top_of_nodes(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """The coarsest class above every node of a level."""
    top = np.zeros(hierarchy.sizes[level], dtype=np.int64)
    top[hierarchy.ancestors[:, level]] = hierarchy.ancestors[:, 0]
    return top


def _name_tops(axis: Axes, hierarchy: Hierarchy, level: int, columns: np.ndarray) -> None:
    """Names the coarsest classes only, with a line between them."""
    top = _top_of_nodes(hierarchy, level)[columns]
    edges = np.flatnonzero(np.diff(top)) + 0.5
    axis.vlines(edges, -0.5, axis.get_ylim()[0], color=GREY, linewidth=0.5)
    centres = [np.flatnonzero(top == node).mean() for node in range(hierarchy.sizes[0])]
    axis.set_xticks(centres, [readable(name) for name in hierarchy.names[0]], rotation=90)
