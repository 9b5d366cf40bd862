"""Predictions against the hierarchy: how many are right, how far off the wrong ones are, do the levels agree."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from hiercl.hierarchy import Hierarchy
from hiercl.runtime.types import Float, Int


class HierarchicalScores(NamedTuple):
    """What :func:`hierarchical_precision_recall_f1` gives, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def accuracy(predicted: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"]) -> float:
    r"""Share of right predictions, in [0, 1].

    $$\frac1n\sum_i [\hat y_i = y_i]$$

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
        0.75
    """
    _check_same_items(predicted, truth)
    return float((predicted == truth).mean())


def balanced_accuracy(predicted: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"]) -> float:
    r"""Mean recall of the classes that the truth holds, in [0, 1]: a rare class counts as much as a frequent one.

    $$\frac1{|Y|}\sum_{c\in Y}\frac{\sum_i [\hat y_i = c][y_i = c]}{\sum_i [y_i = c]},\qquad Y = \{y_1,\dots,y_n\}$$

    (Brodersen et al., 2010, for two classes.) Guessing one class, or drawing a class whatever the item, gives 1/|Y|.

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        0.5
    """
    _check_same_items(predicted, truth)
    return float(np.nanmean(recalls(predicted, truth, int(truth.max()) + 1)))


def recalls(
    predicted: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, " classes"]:
    r"""Share of every class's items that are predicted right, in [0, 1]; NaN for a class without items.

    $$\mathrm{recall}_c = \frac{\sum_i [\hat y_i = c][y_i = c]}{\sum_i [y_i = c]}$$

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> recalls(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3)
        array([1. , 0.5, nan])
    """
    _check_same_items(predicted, truth)
    counts = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[predicted == truth], minlength=classes)
    return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)


def hierarchical_precision_recall_f1(
    predicted: Int[np.ndarray, "n levels"], truth: Int[np.ndarray, "n levels"]
) -> HierarchicalScores:
    r"""How much of the predicted and of the true label paths is right: a prediction near the truth counts in part.

    $$hP=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|\hat P_i|},\qquad hR=\frac{\sum_i|\hat P_i\cap T_i|}{\sum_i|T_i|},\qquad
      hF_1=\frac{2\,hP\,hR}{hP+hR}$$

    with $\hat P_i$ the predicted node and its ancestors, $T_i$ the true node and its ancestors, both without the root
    (Kiritchenko, Matwin, Nock & Famili, 2006; this is the micro form, with the sums inside the fractions).

    When every prediction is a complete path, as long as the truth, the two denominators are equal and so are the three
    scores: each is then the accuracy averaged over the levels. They differ only where predictions stop early, which
    saves precision and costs recall.

    Args:
        predicted: node at every level, coarse first; −1 from some level on: the prediction stops above it. Paths of a
            hierarchy, as :func:`top_down` and :func:`flat` give them; levels predicted one by one, which need not be a
            path, are taken as they are.
        truth: the same for the true labels. The first l + 1 columns of both give the scores at level l.

    Returns:
        Three shares in [0, 1]. The precision is NaN when every prediction stops at the root; recall and F1 are then 0.

    Raises:
        ValueError: no item, shapes that differ, an id below −1, a path that goes on after a −1, a truth that is −1
            everywhere.

    Example:
        >>> hierarchical_precision_recall_f1(np.array([[0, 1], [1, -1]]), np.array([[0, 0], [1, 2]]))
        HierarchicalScores(precision=0.6666666666666666, recall=0.5, f1=0.5714285714285714)
    """
    if predicted.ndim != 2 or predicted.size == 0 or predicted.shape != truth.shape:
        raise ValueError(
            f"predicted {predicted.shape} and truth {truth.shape} must both be [n, levels], alike and not empty: one "
            "row an item, one column a level."
        )
    for name, paths in (("predicted", predicted), ("truth", truth)):
        _check_paths(paths, name)
    shared = int(((predicted == truth) & (truth >= 0)).sum())
    n_predicted, n_true = int((predicted >= 0).sum()), int((truth >= 0).sum())
    if n_true == 0:
        raise ValueError("truth is −1 everywhere: there is nothing to compare the predictions with.")
    precision = shared / n_predicted if n_predicted else float("nan")
    return HierarchicalScores(precision, shared / n_true, 2 * shared / (n_predicted + n_true))


def mistake_height(
    predicted: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"], hierarchy: Hierarchy, level: int
) -> float:
    r"""Mean height of the lowest common ancestor of prediction and truth, over the wrong predictions at a level.

    $$\frac{1}{|M|}\sum_{i\in M}\big(\text{level}-lca(\hat y_i,y_i)\big),\qquad M=\{i:\hat y_i\ne y_i\}$$

    Bertinetto et al., 2020 ("Making Better Mistakes", hierarchical distance of a mistake). Heights are those of
    :func:`lca_height`: a sibling is 1, and a prediction that is wrong even at the coarsest level is level + 1. A model
    that makes fewer easy mistakes gets a *higher* number here: read it beside the accuracy, never alone.

    Args:
        predicted: predicted nodes of the level.
        truth: true nodes of the level.
        hierarchy: of the nodes.
        level: 0 is the coarsest; there every mistake has height 1.

    Returns:
        Mean height in levels, in [1, level + 1]; NaN when nothing is wrong.

    Raises:
        ValueError: no item, two different numbers of items, no such level, an id that is no node of the level.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> mistake_height(np.array([0, 1, 2]), np.array([0, 0, 0]), tree, level=1)  # right, a sibling, a vehicle
        1.5
    """
    _check_same_items(predicted, truth)
    height = lca_height(predicted, truth, hierarchy, level)
    wrong = height > 0
    return float(height[wrong].mean()) if wrong.any() else float("nan")


def parent_agreement(
    coarse: Int[np.ndarray, " n"], fine: Int[np.ndarray, " n"], hierarchy: Hierarchy, level: int
) -> float:
    r"""Share of items whose prediction at ``level - 1`` is the parent of their prediction at ``level``, in [0, 1].

    $$\frac1n\sum_i[\hat y_i^{(l-1)} = \text{parent}(\hat y_i^{(l)})]$$

    It asks whether two classifiers tell the same story, not whether the story is true: no truth is needed.

    Args:
        coarse: predicted nodes at ``level - 1``.
        fine: predicted nodes at ``level``.
        hierarchy: of the nodes.
        level: the finer of the two, 1 or above.

    Raises:
        ValueError: no item, two different numbers of items, level 0 or no such level, an id that is no node.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> parent_agreement(np.array([0, 0]), np.array([1, 2]), tree, level=1)  # animal and dog, animal and car
        0.5
    """
    _check_same_items(coarse, fine)
    _check_level(hierarchy, level)
    if level == 0:
        raise ValueError("level 0 has no predictions above it: compare level 1 or finer with the level above.")
    check_nodes(coarse, hierarchy, level - 1)
    check_nodes(fine, hierarchy, level)
    return float((hierarchy.parent(level)[fine] == coarse).mean())


def top_down(scores: Sequence[Tensor | np.ndarray], hierarchy: Hierarchy) -> Int[np.ndarray, "n levels"]:
    r"""Label paths by descent: the best node of level 0, then at each level the best child of the node before.

    $$\hat y^{(0)}=\arg\max_v s^{(0)}_v,\qquad
      \hat y^{(l)}=\arg\max_{v:\,\text{parent}(v)=\hat y^{(l-1)}} s^{(l)}_v$$

    Against :func:`flat` it says where the knowledge sits. Better coarse labels here: the coarse scores know something
    that the leaf scores do not. Better leaves here: the coarse scores also correct leaf predictions. Worse leaves here:
    coarse mistakes, which a descent can never take back, cost more than they save.

    Args:
        scores: one ``[n, nodes]`` array or tensor a level, coarse first; any scores that grow with the evidence. Only
            scores of siblings are compared, so levels and families may have scales of their own.
        hierarchy: of the nodes.

    Returns:
        Nodes ``[n, levels]``; every row is a path. Of equal scores the lowest id wins.

    Raises:
        ValueError: not one array a level, a shape that does not fit, a NaN.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> top_down([np.array([[0.6, 0.4]]), np.array([[0.1, 0.3, 0.6]])], tree)  # not a car, for it is an animal
        array([[0, 1]])
    """
    tables = _score_tables(scores, hierarchy)
    paths = np.zeros((len(tables[0]), hierarchy.levels), dtype=np.int64)
    paths[:, 0] = tables[0].argmax(axis=1)
    for level in range(1, hierarchy.levels):
        for node in np.unique(paths[:, level - 1]):
            rows, children = np.flatnonzero(paths[:, level - 1] == node), hierarchy.children(level - 1, node)
            paths[rows, level] = children[tables[level][np.ix_(rows, children)].argmax(axis=1)]
    return paths


def flat(leaf_predictions: Int[np.ndarray, " n"], hierarchy: Hierarchy) -> Int[np.ndarray, "n levels"]:
    """Label paths from the leaves up: every leaf prediction and its ancestors, ``hierarchy.ancestors[leaf]``.

    The classifier looks at leaves alone; the coarse labels follow. What :func:`top_down` says in addition is what the
    scores of the coarse levels add.

    Raises:
        ValueError: an id that is no leaf.

    Example:
        >>> flat(np.array([2, 0]), Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}))
        array([[1, 2],
               [0, 0]])
    """
    return np.stack([hierarchy.labels_at(leaf_predictions, level) for level in range(hierarchy.levels)], axis=1)


def stop_where_unsure(
    paths: Int[np.ndarray, "n levels"], probabilities: Sequence[Tensor | np.ndarray], least: float = 0.5
) -> Int[np.ndarray, "n levels"]:
    r"""Descents that end above the first node that is given less than ``least``: −1 from there on.

    $$\hat y^{(l)} \leftarrow -1 \quad\text{if}\quad p^{(m)}(\hat y^{(m)}) < \text{least for some } m\le l$$

    A classifier that may stop (non-mandatory leaf prediction; Silla & Freitas, 2011) trades recall for precision.

    Args:
        paths: nodes at every level, as :func:`top_down` gives them.
        probabilities: one ``[n, nodes]`` array or tensor a level, in [0, 1].
        least: from 0 (never stops) to 1.

    Raises:
        ValueError: not one table a level.

    Example:
        >>> stop_where_unsure(np.array([[0, 1]]), [np.array([[0.6, 0.4]]), np.array([[0.1, 0.3, 0.6]])])
        array([[ 0, -1]])
    """
    if len(probabilities) != paths.shape[1]:
        raise ValueError(
            f"{len(probabilities)} tables of probabilities for {paths.shape[1]} levels: give one for each."
        )
    rows = np.arange(len(paths))
    own = [np.asarray(table)[rows, paths[:, level]] for level, table in enumerate(probabilities)]
    going = np.logical_and.accumulate(np.stack(own, axis=1) >= least, axis=1)
    return np.where(going, paths, -1)


def ancestor_paths(hierarchy: Hierarchy, level: int) -> Int[np.ndarray, "nodes path"]:
    """Path of every node of a level: its ancestors from level 0 on, and itself last; ``[nodes, level + 1]``.

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


def lca_height(
    a: Int[np.ndarray, "..."], b: Int[np.ndarray, "..."], hierarchy: Hierarchy, level: int
) -> Int[np.ndarray, "..."]:
    r"""Levels to climb from two nodes of a level to their lowest common ancestor.

    $$\text{height}(a, b) = \text{level} - lca(a, b),\qquad lca = \max\{l : \text{the ancestors at } l \text{ agree}\}$$

    with $lca=-1$, the root, when no level agrees. The same node is 0, a sibling 1, a node of another level-0 node
    level + 1. A leaf that was carried down to the last level (see :class:`~hiercl.hierarchy.Hierarchy`) is as far below
    the root as every other.

    Args:
        a: nodes of the level, of any shape.
        b: nodes of the level, of a shape that broadcasts with a.
        hierarchy: of the nodes.
        level: 0 is the coarsest.

    Raises:
        ValueError: no such level, an id that is no node of it.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> lca_height(np.array([0, 0, 0]), np.array([0, 1, 2]), tree, level=1).tolist()
        [0, 1, 2]
    """
    paths = ancestor_paths(hierarchy, level)
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
        raise ValueError(
            f"{wrong.flat[0]} is no node at level {level} ({hierarchy.level_names[level]}); the nodes are 0 to "
            f"{hierarchy.sizes[level] - 1}. Are the labels those of another level?"
        )


def _check_level(hierarchy: Hierarchy, level: int) -> None:
    if not 0 <= level < hierarchy.levels:
        raise ValueError(f"there is no level {level}; the levels are 0 to {hierarchy.levels - 1}, coarse to fine.")


def _check_same_items(a: Int[np.ndarray, "..."], b: Int[np.ndarray, "..."]) -> None:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"labels of shapes {a.shape} and {b.shape}: both must be [n], with one label an item.")
    if len(a) == 0:
        raise ValueError("there is no item: a share of nothing is not defined.")


def _check_paths(paths: Int[np.ndarray, "n levels"], name: str) -> None:
    if paths.min() < -1:
        raise ValueError(f"{name} holds the id {paths.min()}: ids are 0 and above, or −1 where a path stops.")
    goes_on = (paths[:, :-1] < 0) & (paths[:, 1:] >= 0)
    if goes_on.any():
        row = int(goes_on.any(axis=1).argmax())
        raise ValueError(f"{name}[{row}] is {paths[row].tolist()}: below a −1, where the path stops, all must be −1.")


def _score_tables(scores: Sequence[Tensor | np.ndarray], hierarchy: Hierarchy) -> list[np.ndarray]:
    """The scores as NumPy arrays, checked."""
    if len(scores) != hierarchy.levels:
        raise ValueError(f"{len(scores)} tables of scores for {hierarchy.levels} levels: give one for each.")
    tables = [s.detach().cpu().double().numpy() if isinstance(s, Tensor) else np.asarray(s) for s in scores]
    for level, (table, size) in enumerate(zip(tables, hierarchy.sizes, strict=True)):
        if table.shape != (len(tables[0]), size):
            raise ValueError(
                f"the scores of level {level} are {table.shape}; they must be [n, nodes], here "
                f"({len(tables[0])}, {size})."
            )
        if np.isnan(table).any():
            raise ValueError(f"a score of level {level} is NaN: it can be compared with nothing.")
    return tables
