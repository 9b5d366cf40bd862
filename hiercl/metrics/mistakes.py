"""Predictions against the hierarchy: how many are right, how far off the others are, and whether the levels agree."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hiercl.hierarchy import Hierarchy
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.types import Float, Int


class HierarchicalScores(NamedTuple):
    """The results of :func:`hierarchical_precision_recall_f1`, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


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
        ValueError: no item, or two different numbers of items.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        0.5
    """
    predicted, truth = check_same_items(predicted, truth)
    return float(np.nanmean(recalls(predicted, truth, int(truth.max()) + 1)))


def recalls(predicted: Int[Array, " n"], truth: Int[Array, " n"], classes: int) -> Float[np.ndarray, " classes"]:
    r"""Returns the share of every class's items that are predicted right, in [0, 1].

    $$\mathrm{recall}_c = \frac{\sum_i [\hat y_i = c][y_i = c]}{\sum_i [y_i = c]}$$

    Args:
        predicted: predicted class of every item.
        truth: true class of every item.
        classes: number of classes.

    Returns:
        One number for each class; NaN for a class without items.

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> recalls(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3)
        array([1. , 0.5, nan])
    """
    predicted, truth = check_same_items(predicted, truth)
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

    Example:
        >>> rare_recall(np.array([0.9, 0.8, 0.4]), np.array([100, 50, 5]))
        0.4
    """
    recall, items = as_array(recall), as_array(items)
    rare = recall[items <= np.sort(items)[math.ceil(len(items) / 3) - 1]]
    return float(np.nanmean(rare)) if np.isfinite(rare).any() else math.nan


def hierarchical_precision_recall_f1(
    predicted: Int[Array, "n levels"], truth: Int[Array, "n levels"]
) -> HierarchicalScores:
    r"""Compares predicted and true label paths node by node, so that a prediction near the truth is partly right.

    $$hP=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|\hat P_i|},\qquad hR=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|T_i|},\qquad
      hF_1=\frac{2\,hP\,hR}{hP+hR}$$

    with $\hat P_i$ the predicted node and its ancestors and $T_i$ the true node and its ancestors, both without the
    root. Source: Kiritchenko, Matwin, Nock & Famili 2006, in the micro form (sums inside the fractions).

    If every prediction is a complete path, the three scores are equal: each is the accuracy averaged over the levels.
    They differ only if predictions stop early, which raises precision and lowers recall.

    Args:
        predicted: predicted node at every level, coarse first. −1 from some level on means that the prediction stops
            above it.
        truth: true node at every level. The first l + 1 columns of both arguments give the scores at level l.

    Returns:
        Three shares in [0, 1]. If every prediction stops at the root, precision is NaN, and recall and F1 are 0.

    Raises:
        ValueError: no item, shapes that differ, an id below −1, a path that goes on after a −1, a truth that is −1
            everywhere.

    Example:
        >>> hierarchical_precision_recall_f1(np.array([[0, 1], [1, -1]]), np.array([[0, 0], [1, 2]]))
        HierarchicalScores(precision=0.6666666666666666, recall=0.5, f1=0.5714285714285714)
    """
    predicted, truth = as_array(predicted), as_array(truth)
    if predicted.ndim != 2 or predicted.size == 0 or predicted.shape != truth.shape:
        shapes = f"predicted is {predicted.shape} and truth {truth.shape}"
        raise ValueError(f"{shapes}: both must be [n, levels], with the same n of at least 1.")
    for name, paths in (("predicted", predicted), ("truth", truth)):
        if paths.min() < -1:
            raise ValueError(f"{name} holds the id {paths.min()}: ids are 0 and above, or −1 where a path stops.")
        goes_on = ((paths[:, :-1] < 0) & (paths[:, 1:] >= 0)).any(axis=1)
        if goes_on.any():
            row = int(goes_on.argmax())
            raise ValueError(f"{name}[{row}] is {paths[row].tolist()}: after a −1 all ids must be −1.")
    shared = int(((predicted == truth) & (truth >= 0)).sum())
    n_predicted, n_true = int((predicted >= 0).sum()), int((truth >= 0).sum())
    if n_true == 0:
        raise ValueError("truth is −1 everywhere: there is nothing to compare the predictions with.")
    precision = shared / n_predicted if n_predicted else math.nan
    return HierarchicalScores(precision, shared / n_true, 2 * shared / (n_predicted + n_true))


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
    if len(scores) != hierarchy.levels:
        raise ValueError(f"{len(scores)} tables of scores for {hierarchy.levels} levels: give one for each.")
    tables = [as_array(table) for table in scores]
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
    return np.stack([hierarchy.labels_at(leaf_predictions, level) for level in range(hierarchy.levels)], axis=1)


def stop_where_unsure(
    paths: Int[Array, "n levels"], probabilities: Sequence[Array], least: float = 0.5
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
        ValueError: not one table of probabilities for each level.

    Example:
        >>> stop_where_unsure(np.array([[0, 1]]), [np.array([[0.6, 0.4]]), np.array([[0.1, 0.3, 0.6]])])
        array([[ 0, -1]])
    """
    paths, tables, levels = as_array(paths), len(probabilities), paths.shape[1]
    if tables != levels:
        raise ValueError(f"{tables} tables of probabilities for {levels} levels: give one for each.")
    rows = np.arange(len(paths))
    own = [as_array(table)[rows, paths[:, level]] for level, table in enumerate(probabilities)]
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


def lca_height(a: Int[Array, "..."], b: Int[Array, "..."], hierarchy: Hierarchy, level: int) -> Int[np.ndarray, "..."]:
    r"""Returns how many levels lie between two nodes of a level and their lowest common ancestor.

    $$\text{height}(a, b) = \text{level} - lca(a, b),\qquad lca = \max\{l : \text{the ancestors at } l \text{ agree}\}$$

    with $lca=-1$, the root, if no level agrees. The height is 0 for the same node, 1 for siblings, and level + 1 for
    nodes that only the root joins.

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
    height = np.full(np.broadcast_shapes(a.shape, b.shape), level + 1)
    for ancestor in paths.T:  # in a tree the levels that agree are the first ones, so counting them finds the deepest
        height -= ancestor[a] == ancestor[b]
    return height


def check_nodes(nodes: Int[np.ndarray, "..."], hierarchy: Hierarchy, level: int) -> None:
    """Raises ValueError naming the first id that is no node of a level."""
    wrong = nodes[(nodes < 0) | (nodes >= hierarchy.sizes[level])]
    if wrong.size:
        where = f"level {level} ({hierarchy.level_names[level]}); the nodes are 0 to {hierarchy.sizes[level] - 1}"
        raise ValueError(f"{wrong.flat[0]} is no node at {where}. Are these the labels of another level?")


def check_same_items(a: Array, b: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays of NumPy; ValueError unless both are ``[n]`` with the same n of at least 1."""
    a, b = as_array(a), as_array(b)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"labels of shapes {a.shape} and {b.shape}: both must be [n], with the same n of at least 1.")
    return a, b


def _check_level(hierarchy: Hierarchy, level: int) -> None:
    if not 0 <= level < hierarchy.levels:
        raise ValueError(f"there is no level {level}; the levels are 0 to {hierarchy.levels - 1}, coarse to fine.")
