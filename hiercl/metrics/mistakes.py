"""Predictions against the hierarchy: how many are right, how far off the others are, and whether the levels agree."""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np

from hiercl.hierarchy import Hierarchy
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import MOST_CLASSES, Array, as_array, check_numbered
from hiercl.runtime.config import Between, Share
from hiercl.runtime.types import Bool, Float, Int


class HierarchicalScores(NamedTuple):
    """The results of :func:`hierarchical_precision_recall_f1`, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


class PathNodes(NamedTuple):
    """The nodes of predicted and true label paths: result of :func:`path_nodes`.

    Attributes:
        shared: number of nodes that both paths of an item have.
        predicted: number of nodes of the predicted path.
        true: number of nodes of the true path.
    """

    shared: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    true: Int[np.ndarray, " n"]

    @property
    def scores(self) -> HierarchicalScores:
        """Precision, recall and F1 of all items together."""
        shared, predicted, true = (int(part.sum()) for part in self)
        precision = shared / predicted if predicted else math.nan
        return HierarchicalScores(precision, shared / true, 2 * shared / (predicted + true))


def accuracy(predicted: Int[Array, " n"], truth: Int[Array, " n"]) -> float:
    r"""Returns the share of right predictions, in [0, 1].

    $$\frac1n\sum_i [\hat y_i = y_i]$$

    Args:
        predicted: predicted class of every item.
        truth: true class of every item.

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
        0.75
    """
    predicted, truth = check_same_items(predicted, truth)
    return float((predicted == truth).mean())


def balanced_accuracy(predicted: Int[Array, " n"], truth: Int[Array, " n"]) -> float:
    r"""Returns the mean recall of the classes, in [0, 1]. A rare class counts as much as a frequent one.

    $$\frac1{|Y|}\sum_{c\in Y}\frac{\sum_i [\hat y_i = c][y_i = c]}{\sum_i [y_i = c]},\qquad Y = \{y_1,\dots,y_n\}$$

    Source: Brodersen et al. 2010, for two classes. A constant or a random prediction gives 1/|Y|.

    Args:
        predicted: predicted class of every item.
        truth: true class of every item. Classes without an item do not count.

    Raises:
        ValueError: no item, two different numbers of items, or a truth that is no number from 0 on.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        0.5
    """
    predicted, truth = check_same_items(predicted, truth, numbered=True)
    return float(np.nanmean(recalls(predicted, truth, int(truth.max()) + 1)))


@checked
def recalls(
    predicted: Int[Array, " n"], truth: Int[Array, " n"], classes: Annotated[int, Between(1, MOST_CLASSES)]
) -> Float[np.ndarray, " classes"]:
    r"""Returns the share of every class's items that are predicted right, in [0, 1].

    $$\mathrm{recall}_c = \frac{\sum_i [\hat y_i = c][y_i = c]}{\sum_i [y_i = c]}$$

    Args:
        predicted: predicted class of every item.
        truth: true class of every item.
        classes: number of classes.

    Returns:
        One number for each class; NaN for a class without items.

    Raises:
        ValueError: no item, two different numbers of items, or a true class that is not among the classes.

    Example:
        >>> recalls(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3)
        array([1. , 0.5, nan])
    """
    predicted, truth = check_same_items(predicted, truth, numbered=True)
    if truth.max() >= classes:
        raise ValueError(f"truth goes up to {truth.max()}, and the {classes} classes are 0 to {classes - 1}.")
    counts = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[predicted == truth], minlength=classes)
    return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)


def rare_recall(recall: Float[Array, " classes"], items: Int[Array, " classes"]) -> float:
    """Returns the mean recall of the third of the classes with the fewest training items.

    Args:
        recall: recall of every class, from :func:`recalls`.
        items: number of training items of every class. Classes with as few items as the last of the third count too.

    Returns:
        A number in [0, 1]. NaN if the test set has no item of these classes.

    Raises:
        ValueError: no class, or two different numbers of classes.

    Example:
        >>> rare_recall(np.array([0.9, 0.8, 0.4]), np.array([100, 50, 5]))
        0.4
    """
    recall, items = check_same_items(recall, items, kinds="f", second="iu")
    rare = recall[rare_classes(items)]
    return float(np.nanmean(rare)) if np.isfinite(rare).any() else math.nan


def rare_classes(items: Int[np.ndarray, " classes"]) -> Bool[np.ndarray, " classes"]:
    """Returns which classes are the rare ones of :func:`rare_recall`.

    Args:
        items: number of training items of every class.

    Example:
        >>> rare_classes(np.array([100, 50, 5])).tolist()
        [False, False, True]
    """
    return items <= np.sort(items)[math.ceil(len(items) / 3) - 1]


@checked
def hierarchical_precision_recall_f1(
    predicted: Int[Array, "n levels"], truth: Int[Array, "n levels"], hierarchy: Hierarchy | None = None
) -> HierarchicalScores:
    r"""Compares predicted and true label paths node by node, so that a prediction near the truth is partly right.

    $$hP=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|\hat P_i|},\qquad hR=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|T_i|},\qquad
      hF_1=\frac{2\,hP\,hR}{hP+hR}$$

    with $\hat P_i$ the predicted node and its ancestors and $T_i$ the true node and its ancestors, both without the
    root. Source: Kiritchenko, Matwin, Nock & Famili 2006, in the micro form (sums inside the fractions).

    If every prediction is a complete path of a tree whose leaves are equally deep, the three scores are equal: each is
    the accuracy averaged over the levels. They differ if predictions stop early, which raises precision and lowers
    recall. A leaf that ends early is its own child down to the last level; these copies of it are no nodes of P or T.

    Args:
        predicted: predicted node at every level, coarse first. −1 from some level on means that the prediction stops
            above it.
        truth: true node at every level. The first l + 1 columns of both arguments give the scores at level l.
        hierarchy: tree of the nodes, which says what is a copy; None: nothing is.

    Returns:
        Three shares in [0, 1]. If every prediction stops at the root, precision is NaN, and recall and F1 are 0.

    Raises:
        ValueError: no item, shapes that differ, an id below −1, a path that goes on after a −1, a truth that is −1
            everywhere, an id that is no node of the hierarchy, a node below another one than its parent.

    Example:
        >>> hierarchical_precision_recall_f1(np.array([[0, 1], [1, -1]]), np.array([[0, 0], [1, 2]]))
        HierarchicalScores(precision=0.6666666666666666, recall=0.5, f1=0.5714285714285714)
        >>> tree = Hierarchy.from_dict({"A": {"A1": ["x", "y"]}, "B": ["z"]})  # z at level 2 is a copy
        >>> round(hierarchical_precision_recall_f1(tree.ancestors[[2, 1]], tree.ancestors[[2, 0]], tree).f1, 3)
        0.8
    """
    return path_nodes(predicted, truth, hierarchy).scores


def path_nodes(predicted: Array, truth: Array, hierarchy: Hierarchy | None = None) -> PathNodes:
    """Counts the nodes of every item's paths: what :func:`hierarchical_precision_recall_f1` sums up.

    The arguments and errors are those of that function.

    Example:
        >>> path_nodes(np.array([[0, 1], [1, -1]]), np.array([[0, 0], [1, 2]])).shared.tolist()
        [1, 1]
    """
    predicted, truth = as_array(predicted), as_array(truth)
    if predicted.ndim != 2 or predicted.size == 0 or predicted.shape != truth.shape:
        shapes = f"predicted is {predicted.shape} and truth {truth.shape}"
        raise ValueError(f"{shapes}: both must be [n, levels], with the same n of at least 1.")
    for name, paths in (("predicted", predicted), ("truth", truth)):
        if paths.dtype.kind not in "iu":
            raise ValueError(f"{name} holds {paths.dtype}: ids of nodes are whole numbers.")
        if paths.min() < -1:
            raise ValueError(f"{name} holds the id {paths.min()}: ids are 0 and above, or −1 where a path stops.")
        goes_on = ((paths[:, :-1] < 0) & (paths[:, 1:] >= 0)).any(axis=1)
        if goes_on.any():
            row = int(goes_on.argmax())
            raise ValueError(f"{name}[{row}] is {paths[row].tolist()}: after a −1 all ids must be −1.")
    is_node, is_true = predicted >= 0, truth >= 0
    if hierarchy is not None:
        if truth.shape[1] > hierarchy.levels:
            raise ValueError(f"the paths have {truth.shape[1]} levels, and the hierarchy has {hierarchy.levels}.")
        for level in range(truth.shape[1]):
            copy = np.append(carried_down(hierarchy, level), False)  # the last one is for −1
            for paths, counted in ((predicted, is_node), (truth, is_true)):
                check_nodes(paths[paths[:, level] >= 0, level], hierarchy, level)
                _check_below(paths, hierarchy, level)
                counted[:, level] &= ~copy[paths[:, level]]
    if not is_true.any():
        raise ValueError("truth is −1 everywhere: there is nothing to compare the predictions with.")
    shared = (predicted == truth) & is_true
    return PathNodes(shared.sum(axis=1), is_node.sum(axis=1), is_true.sum(axis=1))


@checked
def mistake_height(predicted: Int[Array, " n"], truth: Int[Array, " n"], hierarchy: Hierarchy, level: int) -> float:
    r"""Returns the mean height of the lowest common ancestor of prediction and truth, over the wrong predictions.

    $$\frac{1}{|M|}\sum_{i\in M}\big(\text{level}-lca(\hat y_i,y_i)\big),\qquad M=\{i:\hat y_i\ne y_i\}$$

    Source: Bertinetto et al. 2020 ("Making Better Mistakes"), the hierarchical distance of a mistake. The heights are
    those of :func:`lca_height`: 1 for a sibling, level + 1 if even the coarsest level is wrong. A model that makes
    fewer easy mistakes gets a *higher* number, so always read it beside the accuracy.

    Args:
        predicted: predicted class of every item at the level.
        truth: true class of every item at the level.
        hierarchy: tree of the classes.
        level: level of the classes; 0 is the coarsest, where every mistake has height 1.

    Returns:
        Mean number of levels, in [1, level + 1]. NaN if nothing is wrong.

    Raises:
        ValueError: no item, two different numbers of items, a level or class that does not exist.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> mistake_height(np.array([0, 1, 2]), np.array([0, 0, 0]), tree, level=1)  # right, a sibling, a vehicle
        1.5
    """
    predicted, truth = check_same_items(predicted, truth)
    height = lca_height(predicted, truth, hierarchy, level)
    wrong = height > 0
    return float(height[wrong].mean()) if wrong.any() else math.nan


@checked
def parent_agreement(coarse: Int[Array, " n"], fine: Int[Array, " n"], hierarchy: Hierarchy, level: int) -> float:
    r"""Returns the share of items whose prediction at ``level - 1`` is the parent of their prediction at ``level``.

    $$\frac1n\sum_i[\hat y_i^{(l-1)} = \text{parent}(\hat y_i^{(l)})]$$

    It says whether two classifiers agree, not whether they are right.

    Args:
        coarse: predicted class of every item at ``level - 1``.
        fine: predicted class of every item at ``level``.
        hierarchy: tree of the classes.
        level: the finer of the two levels, at least 1.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: no item, two different numbers of items, level 0, a level or class that does not exist.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> parent_agreement(np.array([0, 0]), np.array([1, 2]), tree, level=1)  # animal and dog, animal and car
        0.5
    """
    coarse, fine = check_same_items(coarse, fine)
    _check_level(hierarchy, level)
    if level == 0:
        raise ValueError("level 0 has no predictions above it: compare level 1 or finer with the level above.")
    check_nodes(coarse, hierarchy, level - 1)
    check_nodes(fine, hierarchy, level)
    return float((hierarchy.parent(level)[fine] == coarse).mean())


@checked
def top_down(scores: Sequence[Array], hierarchy: Hierarchy) -> Int[np.ndarray, "n levels"]:
    r"""Predicts label paths from the root down: at each level the best child of the node above.

    $$\hat y^{(0)}=\arg\max_v s^{(0)}_v,\qquad
      \hat y^{(l)}=\arg\max_{v:\,\text{parent}(v)=\hat y^{(l-1)}} s^{(l)}_v$$

    Compare it with :func:`flat`. If the coarse labels are better here, the coarse scores know something that the leaf
    scores do not. If the leaves are better here, the coarse scores correct leaf predictions. If the leaves are worse
    here, coarse mistakes, which no lower level can correct, cost more than the coarse scores bring.

    Args:
        scores: one ``[n, nodes]`` array or tensor for each level, coarse first. Higher is better. Only scores of
            siblings are compared, so every level may have a scale of its own.
        hierarchy: tree of the nodes.

    Returns:
        Predicted nodes; every row is a path. Among equal scores the lowest id wins.

    Raises:
        ValueError: not one array for each level, a shape that does not fit, a NaN.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> top_down([np.array([[0.6, 0.4]]), np.array([[0.1, 0.3, 0.6]])], tree)  # not a car, because it is an animal
        array([[0, 1]])
    """
    tables = _tables(scores, hierarchy.levels, "scores")
    for level, (table, size) in enumerate(zip(tables, hierarchy.sizes, strict=True)):
        if table.shape != (len(tables[0]), size):
            raise ValueError(f"the scores of level {level} are {table.shape}, not ({len(tables[0])}, {size}).")
        if np.isnan(table).any():
            raise ValueError(f"a score of level {level} is NaN.")
    paths = np.zeros((len(tables[0]), hierarchy.levels), dtype=np.int64)
    paths[:, 0] = tables[0].argmax(axis=1)
    for level in range(1, hierarchy.levels):
        for node in np.unique(paths[:, level - 1]):
            rows, children = np.flatnonzero(paths[:, level - 1] == node), hierarchy.children(level - 1, node)
            paths[rows, level] = children[tables[level][np.ix_(rows, children)].argmax(axis=1)]
    return paths


@checked
def flat(leaf_predictions: Int[Array, " n"], hierarchy: Hierarchy) -> Int[np.ndarray, "n levels"]:
    """Predicts label paths from the leaves up: every leaf prediction and its ancestors.

    Args:
        leaf_predictions: predicted leaf of every item.
        hierarchy: tree of the leaves.

    Returns:
        Nodes at every level, coarse first.

    Raises:
        ValueError: an id that is no leaf.

    Example:
        >>> flat(np.array([2, 0]), Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}))
        array([[1, 2],
               [0, 0]])
    """
    leaf_predictions = as_array(leaf_predictions)
    if leaf_predictions.ndim != 1 or leaf_predictions.dtype.kind not in "iu":
        form = f"{leaf_predictions.dtype} {list(leaf_predictions.shape)}"
        raise ValueError(f"leaf predictions are {form}: pass one leaf id for each item.")
    return np.stack([hierarchy.labels_at(leaf_predictions, level) for level in range(hierarchy.levels)], axis=1)


@checked
def stop_where_unsure(
    paths: Int[Array, "n levels"], probabilities: Sequence[Array], least: Share = 0.5
) -> Int[np.ndarray, "n levels"]:
    r"""Cuts predicted paths above their first node with a probability below ``least``: the ids are −1 from there on.

    $$\hat y^{(l)} \leftarrow -1 \quad\text{if}\quad p^{(m)}(\hat y^{(m)}) < \text{least for some } m\le l$$

    Such a classifier may stop above the leaves (Silla & Freitas 2011). It gains precision and loses recall.

    Args:
        paths: predicted node at every level, from :func:`top_down`.
        probabilities: one ``[n, nodes]`` array or tensor for each level, in [0, 1].
        least: smallest probability of a node that is kept, from 0 (all paths are complete) to 1.

    Returns:
        The paths with −1 below the cut.

    Raises:
        ValueError: not one table of probabilities for each level, paths of other nodes, a NaN, or a ``least`` outside
            [0, 1].

    Example:
        >>> stop_where_unsure(np.array([[0, 1]]), [np.array([[0.6, 0.4]]), np.array([[0.1, 0.3, 0.6]])])
        array([[ 0, -1]])
    """
    paths = as_array(paths)
    if paths.ndim != 2 or paths.size == 0 or paths.dtype.kind not in "iu":
        raise ValueError(f"paths are {paths.dtype} {list(paths.shape)}: pass ids of nodes [n, levels], not empty.")
    own = []
    for level, table in enumerate(_tables(probabilities, paths.shape[1], "probabilities")):
        nodes = paths[:, level]
        if len(table) != len(paths) or not 0 <= nodes.min() <= nodes.max() < table.shape[1]:
            known = f"nodes {nodes.min()} to {nodes.max()} of {len(paths)} items"
            raise ValueError(f"the probabilities of level {level} are {list(table.shape)}, and the paths have {known}.")
        own.append(table[np.arange(len(paths)), nodes])
    if np.isnan(own).any():
        raise ValueError("a probability is NaN.")
    sure = np.logical_and.accumulate(np.stack(own, axis=1) >= least, axis=1)
    return np.where(sure, paths, -1)


def ancestor_paths(hierarchy: Hierarchy, level: int) -> Int[np.ndarray, "nodes path"]:
    """Returns the path of every node of a level: its ancestors from level 0 on, and the node itself last.

    Args:
        hierarchy: tree of the nodes.
        level: level of the nodes; 0 is the coarsest.

    Returns:
        Ids, ``[nodes, level + 1]``.

    Raises:
        ValueError: no such level.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": {"cat": ["lion", "tiger"]}, "vehicle": {"road": ["car"]}})
        >>> ancestor_paths(tree, 1).tolist()
        [[0, 0], [1, 1]]
    """
    _check_level(hierarchy, level)
    _, first_leaf = np.unique(hierarchy.ancestors[:, level], return_index=True)
    return hierarchy.ancestors[first_leaf, : level + 1]


@checked
def lca_height(a: Int[Array, "..."], b: Int[Array, "..."], hierarchy: Hierarchy, level: int) -> Int[np.ndarray, "..."]:
    r"""Returns how many levels lie below the lowest common ancestor of two nodes of a level.

    $$\text{height}(a, b) = \text{level} - lca(a, b),\qquad lca = \max\{l : \text{the ancestors at } l \text{ agree}\}$$

    with $lca=-1$, the root, if no level agrees. The height is 0 for the same node, 1 for siblings, and level + 1 for
    nodes that only the root joins. Where leaves end early, it is the number of levels down to the deepest node below
    the common ancestor, without the copies that carry an early leaf down: siblings that end early have height 1 too.

    Args:
        a: nodes of the level, of any shape.
        b: nodes of the level, of a shape that broadcasts with a.
        hierarchy: tree of the nodes.
        level: level of the nodes; 0 is the coarsest.

    Returns:
        Heights, of the broadcast shape.

    Raises:
        ValueError: no such level, an id that is no node of it.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> lca_height(np.array([0, 0, 0]), np.array([0, 1, 2]), tree, level=1).tolist()
        [0, 1, 2]
    """
    paths, a, b = ancestor_paths(hierarchy, level), as_array(a), as_array(b)
    check_nodes(a, hierarchy, level)
    check_nodes(b, hierarchy, level)
    root, below = _heights(hierarchy, level)
    height = np.full(np.broadcast_shapes(a.shape, b.shape), root)
    for own_height, ancestor in zip(below, paths.T, strict=True):  # the last level that agrees has the ancestor
        height = np.where(ancestor[a] == ancestor[b], own_height[ancestor[a]], height)
    return height


def carried_down(hierarchy: Hierarchy, level: int) -> Bool[np.ndarray, " nodes"]:
    """Returns which nodes of a level are copies that carry a leaf that ended early down to the last level.

    A copy is the only child of a node of the same name.

    Args:
        hierarchy: tree of the nodes.
        level: level of the nodes; 0 is the coarsest.

    Example:
        >>> carried_down(Hierarchy.from_dict({"animal": {"cat": ["lion", "tiger"], "dog": None}}), 2).tolist()
        [False, False, True]
    """
    if level == 0:
        return np.zeros(hierarchy.sizes[0], dtype=bool)
    parent, above = hierarchy.parent(level), hierarchy.names[level - 1]
    same_name = [own == above[node] for own, node in zip(hierarchy.names[level], parent, strict=True)]
    return np.array(same_name) & (np.bincount(parent)[parent] == 1)


def _heights(hierarchy: Hierarchy, level: int) -> tuple[int, list[np.ndarray]]:
    """Returns how many levels lie below the root, and below every node of the levels down to this one."""
    heights = [np.zeros(hierarchy.sizes[level], dtype=np.int64)]
    for finer in range(level, 0, -1):
        above = np.zeros(hierarchy.sizes[finer - 1], dtype=np.int64)
        np.maximum.at(above, hierarchy.parent(finer), heights[0] + ~carried_down(hierarchy, finer))
        heights.insert(0, above)
    return int(heights[0].max()) + 1, heights


def check_nodes(nodes: Int[np.ndarray, "..."], hierarchy: Hierarchy, level: int) -> None:
    """Raises ValueError naming the first id that is no node of a level."""
    if nodes.dtype.kind not in "iu":
        raise ValueError(f"nodes are {nodes.dtype}: pass their ids, whole numbers.")
    wrong = nodes[(nodes < 0) | (nodes >= hierarchy.sizes[level])]
    if wrong.size:
        where = f"level {level} ({hierarchy.level_names[level]}); the nodes are 0 to {hierarchy.sizes[level] - 1}"
        raise ValueError(f"{wrong.flat[0]} is no node at {where}. Are these the labels of another level?")


def _check_below(paths: Int[np.ndarray, "n levels"], hierarchy: Hierarchy, level: int) -> None:
    """Raises ValueError naming the first row whose node at a level is not below the one at the level above."""
    if level == 0:
        return
    rows = np.flatnonzero(paths[:, level] >= 0)
    wrong = rows[hierarchy.parent(level)[paths[rows, level]] != paths[rows, level - 1]]
    if len(wrong):
        row = paths[wrong[0]].tolist()
        parent = hierarchy.parent(level)[row[level]]
        raise ValueError(
            f"row {wrong[0]} is {row}, which is no path: the parent of node {row[level]} of level {level} is {parent}. "
            "Are the classes numbered as in the hierarchy? top_down(...) and flat(...) make paths."
        )


def check_same_items(
    a: Array, b: Array, numbered: bool = False, kinds: str = "iubU", second: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays of NumPy; ValueError unless both are ``[n]`` with the same n of at least 1.

    Args:
        a: one value for each item.
        b: the same, of the same items.
        numbered: whether the classes of b must be numbers from 0 on.
        kinds: NumPy's kinds of numbers that a may have: by default ids, truth values or names.
        second: those of b; by default those of a, and then both must be names, or none.
    """
    a, b = as_array(a), as_array(b)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"labels of shapes {a.shape} and {b.shape}: both must be [n], with the same n of at least 1.")
    for values, own in ((a, kinds), (b, "iu" if numbered else second or kinds)):
        if values.dtype.kind not in own:
            raise ValueError(f"labels are {values.dtype}: pass whole numbers, one for each item.")
    if second is None and (a.dtype.kind == "U") != (b.dtype.kind == "U"):
        raise ValueError(f"labels are {a.dtype} and {b.dtype}: give names for both, or numbers for both.")
    if numbered:
        check_numbered(b, "the true classes")
    return a, b


def _tables(tables: Sequence[Array], levels: int, what: str) -> list[np.ndarray]:
    """Returns a table of numbers for each level, as arrays of NumPy."""
    if not isinstance(tables, list | tuple) or len(tables) != levels:
        found = f"{len(tables)} tables" if isinstance(tables, list | tuple) else f"a {type(tables).__name__}"
        raise ValueError(f"{what} are {found} for {levels} levels: give a list with one table for each.")
    found = [as_array(table) for table in tables]
    for level, table in enumerate(found):
        if table.ndim != 2 or table.dtype.kind not in "fiub":
            form = f"{table.dtype} {list(table.shape)}"
            raise ValueError(f"the {what} of level {level} are {form}: pass numbers [n, nodes].")
    return found


def _check_level(hierarchy: Hierarchy, level: int) -> None:
    if not 0 <= level < hierarchy.levels:
        raise ValueError(f"there is no level {level}; the levels are 0 to {hierarchy.levels - 1}, coarse to fine.")
