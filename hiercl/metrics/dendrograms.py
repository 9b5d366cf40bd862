"""The tree of the labels against distances in the embedding: of items, and in a dendrogram of the classes.

In every function ``labels`` are leaf ids of the hierarchy, as a data set has them, and ``level`` is where the hierarchy
is cut: the nodes of that level are the classes. Embeddings are brought to unit length first.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.hierarchy import Hierarchy
from hiercl.metrics.geometry import check_labels, class_numbers, unit
from hiercl.runtime.types import Float, Int

STEPS = 1_000_000  # distances are rounded to this fraction of the largest: those that differ by rounding alone are ties


def distance_correlation(
    features: Float[Tensor, "items dim"],
    labels: Int[np.ndarray, " items"],
    hierarchy: Hierarchy,
    level: int,
    items: int = 2000,
    seed: int = 0,
) -> float:
    r"""Whether items that are far apart in the tree are far apart in the embedding: Spearman's rank correlation.

    $$\rho = \text{Pearson}\big(\text{rank}\,d_{ij},\ \text{rank}\,\lVert z_i-z_j\rVert\big), \qquad i<j$$

    with d the tree distance of the classes at ``level`` (0 for two items of one class), z the unit embeddings, and the
    mean rank for ties. Distances are rounded to a millionth of the largest one.

    Tree distances have many ties and those of an embedding have few, so that even an embedding that orders all pairs
    as the tree does reaches only $\sqrt{1-\sum_k (m_k^3-m_k)/(N^3-N)}$, for N pairs of which $m_k$ have the k-th tree
    distance. It reaches 1 if its distances are tied in the same way.

    Args:
        features: embeddings.
        labels: leaf ids.
        hierarchy: their tree.
        level: where to cut it.
        items: of more than these, so many are drawn, every class at ``level`` with its share.
        seed: of the draw. It picks places: with fewer items than in the data set, the order of the items matters.

    Returns:
        A number in [−1, 1], about 0 for random features. NaN if all tree distances are equal, or all distances in the
        embedding.

    Raises:
        ValueError: labels that are not one leaf for each item, no such level, fewer than two ``items``, an embedding
            that is not finite or of length zero.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> round(distance_correlation(features, np.array([0, 1, 2]), tree, level=1), 3)
        0.866
    """
    tree, classes = _cut(features, labels, hierarchy, level)
    if items < 2:
        raise ValueError(f"items={items}: a distance needs at least two.")
    drawn = _draw(classes, items, seed)
    z, classes = unit(features[torch.from_numpy(drawn).to(features.device)]), classes[drawn]
    first, second = np.triu_indices(len(drawn), k=1)
    centred = z - z.mean(dim=0)  # cdist subtracts squares; near the origin they are small, and so is their rounding
    distance = torch.cdist(centred, centred).cpu().numpy()[first, second]
    largest = distance.max(initial=0)
    if largest < 1 / STEPS:
        return math.nan
    return _pearson(
        _ranks(tree.tree_distance(classes[first], classes[second])),
        _ranks(np.rint(distance / largest * STEPS).astype(np.int64)),
    )


def centroids(
    features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"]
) -> tuple[Float[Tensor, "classes dim"], Int[np.ndarray, " classes"]]:
    """Mean of the unit embeddings of every class, brought to unit length, in float64.

    Args:
        features: embeddings.
        labels: of one level, one for each item.

    Returns:
        The centroids, and the labels that they belong to: those that occur, in sorted order.

    Raises:
        ValueError: labels that are not one integer for each item, a class whose embeddings cancel out, an embedding
            that is not finite or of length zero.

    Example:
        >>> means, present = centroids(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([7, 7, 3]))
        >>> means.tolist(), present.tolist()
        ([[0.0, 1.0], [1.0, 0.0]], [3, 7])
    """
    z, label = unit(features), class_numbers(features, labels)
    present = np.unique(labels)
    total = z.new_zeros(len(present), z.shape[1]).index_add_(0, label, z)
    length = total.norm(dim=1, keepdim=True)
    nowhere = (length[:, 0] < 1e-9).nonzero()[:, 0].tolist()
    if nowhere:
        raise ValueError(
            f"The embeddings of class {present[nowhere[0]]} cancel out: their mean has length zero and no direction."
        )
    return total / length, present


def class_linkage(
    features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"], hierarchy: Hierarchy, level: int
) -> tuple[Float[np.ndarray, "merges 4"], Int[np.ndarray, " classes"]]:
    """Average-linkage dendrogram of the class centroids at a level, by Euclidean distance.

    Args:
        features: embeddings.
        labels: leaf ids.
        hierarchy: their tree.
        level: whose nodes are the classes.

    Returns:
        SciPy's linkage matrix, one merge a row (none for a single class), and the node at ``level`` that each of its
        leaves stands for. Of equal distances the first is merged first, so there the order of the classes matters.

    Raises:
        ValueError: labels that are not one leaf for each item, no such level, a class whose embeddings cancel out, an
            embedding that is not finite or of length zero.

    Example:
        >>> from scipy.cluster.hierarchy import dendrogram
        >>> linkage, classes = class_linkage(features, dataset.labels, dataset.hierarchy, level=1)
        >>> dendrogram(linkage, labels=[dataset.hierarchy.names[1][c] for c in classes])
    """
    from scipy.cluster.hierarchy import linkage  # here, so that importing hiercl stays light
    from scipy.spatial.distance import pdist

    _, classes = _cut(features, labels, hierarchy, level)
    means, present = centroids(features, classes)
    if len(present) == 1:
        return np.zeros((0, 4)), present
    return linkage(pdist(means.cpu().numpy()), method="average"), present


def cophenetic_correlation(
    features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"], hierarchy: Hierarchy, level: int
) -> float:
    r"""Whether the dendrogram of the classes has the heights of the true tree: Pearson's correlation.

    $$\text{Pearson}\big(h_{ab},\ t_{ab}\big), \qquad a<b \text{ classes at the level}$$

    with h the height at which the dendrogram of :func:`class_linkage` first has a and b in one cluster, and t the
    height of their lowest common ancestor in the hierarchy, cut at ``level``: 1 for siblings.

    The usual "cophenetic correlation" (Sokal & Rohlf 1962) compares a dendrogram with the distances that it was made
    of. Here the true tree takes their place.

    Args:
        features: embeddings.
        labels: leaf ids.
        hierarchy: their tree.
        level: whose nodes are the classes.

    Returns:
        A number in [−1, 1]. NaN with fewer than three classes, and if all true heights are equal (always at level 0)
        or all those of the dendrogram.

    Raises:
        ValueError: as :func:`class_linkage`.

    Example:
        >>> cophenetic_correlation(features, dataset.labels, dataset.hierarchy, level=1)
    """
    from scipy.cluster.hierarchy import cophenet

    linkage, present = class_linkage(features, labels, hierarchy, level)
    if len(present) < 3:
        return math.nan
    tree, _ = _cut(features, labels, hierarchy, level)
    first, second = np.triu_indices(len(present), k=1)
    height = cophenet(linkage)
    if np.ptp(height) < 1 / STEPS:
        return math.nan
    return _pearson(height, tree.tree_distance(present[first], present[second]) / 2)


def dendrogram_purity(
    features: Float[Tensor, "items dim"],
    labels: Int[np.ndarray, " items"],
    hierarchy: Hierarchy,
    level: int,
    within: int,
) -> float:
    """Whether the classes of one parent stand together in the dendrogram of the classes.

    :func:`purity_of` the dendrogram of :func:`class_linkage`, with the ancestors of the classes at the coarser level
    ``within`` as true groups.

    Args:
        features: embeddings.
        labels: leaf ids.
        hierarchy: their tree.
        level: whose nodes are the classes.
        within: the coarser level whose nodes are the groups.

    Returns:
        A number in (0, 1], 1 if every group has a branch of its own. A random dendrogram does not give 0: shuffle the
        groups and call :func:`purity_of` to see what it gives. NaN if no group has two classes.

    Raises:
        ValueError: ``within`` is not coarser than ``level``; else as :func:`class_linkage`.

    Example:
        >>> dendrogram_purity(features, dataset.labels, dataset.hierarchy, level=1, within=0)
    """
    linkage, present = class_linkage(features, labels, hierarchy, level)
    hierarchy.labels_at(labels, within)  # raises if there is no such level
    within, finest = within % hierarchy.levels, level % hierarchy.levels
    if within >= finest:
        raise ValueError(f"within={within} and level={finest}: the groups need a coarser level than the classes.")
    tree, _ = _cut(features, labels, hierarchy, level)
    return purity_of(linkage, tree.labels_at(present, within))


def purity_of(linkage: Float[np.ndarray, "merges 4"], groups: Int[np.ndarray, " leaves"]) -> float:
    r"""Dendrogram purity: how much of the branch that joins two leaves of one group belongs to that group.

    $$\frac1{|P|}\sum_{(a,b)\in P}\frac{|\text{leaves}(\text{lca}(a,b))\cap g_a|}{|\text{leaves}(\text{lca}(a,b))|},
      \qquad P=\{a<b : g_a=g_b\}$$

    Source: Heller & Ghahramani 2005; Kobren et al. 2017 (arXiv 1704.01858). A merge of two branches is the lowest
    common ancestor of the pairs with one leaf in each, so one walk over the merges, with the number of leaves of every
    group in every branch, counts all pairs.

    Args:
        linkage: SciPy's linkage matrix, one merge a row.
        groups: the true group of every leaf; only which are equal matters.

    Returns:
        A number in (0, 1]; NaN if no group has two leaves.

    Raises:
        ValueError: a matrix that is no linkage, or one of another number of leaves.

    Example:
        >>> from scipy.cluster.hierarchy import linkage
        >>> purity_of(linkage(np.array([[0.0], [1.0], [10.0]]), "average"), np.array([0, 0, 1]))
        1.0
    """
    from scipy.cluster.hierarchy import is_valid_linkage

    linkage, groups = np.asarray(linkage), np.asarray(groups)
    leaves = len(groups)
    if groups.ndim != 1 or linkage.shape != (leaves - 1, 4):
        raise ValueError(
            f"linkage is {list(linkage.shape)} and groups {list(groups.shape)}: a dendrogram of n leaves has n − 1 "
            "merges [n − 1, 4], and groups must be [n]."
        )
    if leaves > 1:
        is_valid_linkage(linkage, throw=True)
    _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((2 * leaves - 1, len(size)))  # leaves of every group in every branch
    counts[np.arange(leaves), group] = 1
    total = 0.0
    for merge, (left, right) in enumerate(linkage[:, :2].astype(np.int64)):
        joined = counts[left] + counts[right]
        counts[leaves + merge] = joined
        total += (counts[left] * counts[right] * joined).sum() / joined.sum()
    pairs = (size * (size - 1)).sum() / 2
    return float(total / pairs) if pairs else math.nan


def _cut(features: Tensor, labels: np.ndarray, hierarchy: Hierarchy, level: int) -> tuple[Hierarchy, np.ndarray]:
    """The hierarchy down to a level, and the node of every item there."""
    check_labels(features, labels)
    classes = hierarchy.labels_at(labels, level)
    return hierarchy.coarsen(range(level % hierarchy.levels + 1))[0], classes


def _draw(classes: Int[np.ndarray, " items"], most: int, seed: int) -> Int[np.ndarray, " drawn"]:
    """Places of at most so many items: the first of a random order in which all classes run out at the same pace."""
    if len(classes) <= most:
        return np.arange(len(classes))
    shuffled = pd.Series(classes).sample(frac=1, random_state=seed)
    of_class = shuffled.groupby(shuffled)
    progress = (of_class.cumcount() + 0.5) / of_class.transform("size")
    return np.array(progress.sort_values(kind="stable").index[:most])


def _ranks(values: Int[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Rank of every value, the mean rank for ties; counted, not sorted: the values are small whole numbers."""
    count = np.bincount(values)
    return (np.cumsum(count) - (count - 1) / 2)[values]


def _pearson(a: Float[np.ndarray, " pairs"], b: Float[np.ndarray, " pairs"]) -> float:
    """Pearson's correlation; NaN, without a warning, where one of the two is constant."""
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
