"""Distances between embeddings against the label tree: for pairs of items, and in a dendrogram of the classes.

In every function ``labels`` are leaf ids of the hierarchy, and ``level`` says where the hierarchy is cut: the nodes of
that level are the classes. Embeddings are first scaled to unit length.
"""

import math
from typing import Annotated, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.clustering import PrototypeTree, nearest
from hiercl.clustering.prototypes import concentration
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.geometry import check_labels, numbered, unit
from hiercl.metrics.mistakes import ancestor_paths, lca_height
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array, as_tensor
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float, Int

STEPS = 1_000_000  # distances are rounded to this fraction of the largest one, so that equal distances are ties


@checked
def distance_correlation(
    features: Float[Array, "items dim"],
    labels: Int[Array, " items"],
    hierarchy: Hierarchy,
    level: int,
    items: int = 2000,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> float:
    r"""Returns Spearman's rank correlation of tree distances and embedding distances, over pairs of items.

    $$\rho = \text{Pearson}\big(\text{rank}\,d_{ij},\ \text{rank}\,\lVert z_i-z_j\rVert\big), \qquad i<j$$

    with d the tree distance of the classes at ``level`` (0 for two items of one class), z the unit embeddings, and the
    mean rank for ties. Embedding distances are rounded to a millionth of the largest one.

    Tree distances have many ties, and embedding distances have few. So an embedding that orders all pairs as the tree
    does reaches only $\sqrt{1-\sum_k (m_k^3-m_k)/(N^3-N)}$, for N pairs of which $m_k$ have the k-th tree distance. It
    reaches 1 if its distances have the same ties.

    Args:
        features: embeddings.
        labels: leaf id of every item.
        hierarchy: tree of the labels.
        level: level of the classes.
        items: largest number of items to compare. From more items a random sample is drawn, in which every class keeps
            its share.
        seed: seed of this sample. The sample also depends on the order of the items.

    Returns:
        A number in [−1, 1]. Random features give about 0. NaN if all tree distances or all embedding distances are
        equal.

    Raises:
        ValueError: labels that are not one leaf for each item, no such level, fewer than two ``items``, an embedding
            that is not finite or of length zero.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> round(distance_correlation(features, np.array([0, 1, 2]), tree, level=1), 3)
        0.866
    """
    features, labels = as_tensor(features), check_labels(features, labels)
    classes = cast(np.ndarray, hierarchy.labels_at(labels, level))
    if items < 2:
        raise ValueError(f"items={items}: a distance needs at least two.")
    drawn = _draw(classes, items, seed)
    z, classes = unit(features[torch.from_numpy(drawn).to(features.device)]), classes[drawn]
    first, second = np.triu_indices(len(drawn), k=1)
    centred = z - z.mean(dim=0)  # cdist subtracts squares: near the origin they are small, and so is their rounding
    distance = torch.cdist(centred, centred).cpu().numpy()[first, second]
    largest = distance.max(initial=0)
    if largest < 1 / STEPS:
        return math.nan
    height = lca_height(classes[first], classes[second], hierarchy, level % hierarchy.levels)  # half of the distance
    return _pearson(_ranks(height), _ranks(np.rint(distance / largest * STEPS).astype(np.int64)))


def centroids(
    features: Float[Array, "items dim"], labels: Int[Array, " items"]
) -> tuple[Float[Tensor, "classes dim"], Int[np.ndarray, " classes"]]:
    """Returns the mean unit embedding of every class, scaled to unit length, in float64.

    Args:
        features: embeddings.
        labels: class of every item, at one level.

    Returns:
        The centroids, and their classes: those that occur, in sorted order.

    Raises:
        ValueError: labels that are not one integer for each item, a class whose embeddings cancel out, an embedding
            that is not finite or of length zero.

    Example:
        >>> means, present = centroids(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([7, 7, 3]))
        >>> means.tolist(), present.tolist()
        ([[0.0, 1.0], [1.0, 0.0]], [3, 7])
    """
    z = unit(features)
    label, present = numbered(z, labels), np.unique(as_array(labels))
    total = z.new_zeros(len(present), z.shape[1]).index_add_(0, label, z)
    length = total.norm(dim=1, keepdim=True)
    if (length < 1e-9).any():
        first = present[int((length[:, 0] < 1e-9).nonzero()[0])]
        raise ValueError(f"the embeddings of class {first} cancel out: their mean is the origin and has no direction.")
    return total / length, present


@checked
def class_linkage(
    features: Float[Array, "items dim"], labels: Int[Array, " items"], hierarchy: Hierarchy, level: int
) -> tuple[Float[np.ndarray, "merges 4"], Int[np.ndarray, " classes"]]:
    """Makes the average-linkage dendrogram of the class centroids, with Euclidean distances.

    Args:
        features: embeddings.
        labels: leaf id of every item.
        hierarchy: tree of the labels.
        level: level of the classes.

    Returns:
        SciPy's linkage matrix, with one merge in each row (no row for a single class), and the class of each leaf of
        the dendrogram. Among equal distances the first one is merged first, so the order of the classes matters there.

    Raises:
        ValueError: labels that are not one leaf for each item, no such level, a class whose embeddings cancel out, an
            embedding that is not finite or of length zero.

    Example:
        >>> from scipy.cluster.hierarchy import dendrogram
        >>> linkage, classes = class_linkage(features, test.labels, test.hierarchy, level=1)
        >>> drawing = dendrogram(linkage, labels=[test.hierarchy.names[1][c] for c in classes])
    """
    from scipy.cluster.hierarchy import linkage  # imported here, so that `import hiercl` stays fast
    from scipy.spatial.distance import pdist

    labels = check_labels(features, labels)
    means, present = centroids(features, cast(np.ndarray, hierarchy.labels_at(labels, level)))
    if len(present) == 1:
        return np.zeros((0, 4)), present
    return linkage(pdist(means.cpu().numpy()), method="average"), present


@checked
def class_tree(
    features: Float[Array, "items dim"], labels: Int[Array, " items"], hierarchy: Hierarchy
) -> PrototypeTree:
    """Makes a tree of prototypes out of classes: centroids, which their dendrogram joins.

    The finest prototypes are the centroids of the leaf classes that have items. A coarser level has the branches of
    :func:`class_linkage`, cut where there are as many as the hierarchy has classes at that level. Every item belongs
    to the nearest centroid, whatever its label is, and so to its branches. The purity of a prototype then says how well
    the embedding separates the class; it is optimistic for the very items that made the centroids.

    Args:
        features: embeddings.
        labels: leaf id of every item; −1 where there is no label.
        hierarchy: tree of the labels.

    Returns:
        The tree of all items. Levels of the hierarchy with as many classes as the next finer one are left out.

    Raises:
        ValueError: labels that are not one leaf or −1 for each item, or an error of :func:`centroids`.

    Example:
        >>> class_tree(features, test.labels, test.hierarchy).sizes
        (5, 12, 30)
    """
    from scipy.cluster.hierarchy import cut_tree  # imported here, so that `import hiercl` stays fast

    labels = as_array(labels)
    known, z = np.flatnonzero(labels >= 0), unit(features).float()
    some, leaves = as_tensor(features)[torch.from_numpy(known).to(z.device)], labels[known]
    linkage, present = class_linkage(some, leaves, hierarchy, -1)
    means = centroids(some, leaves)[0].float()
    sizes = sorted({size for size in hierarchy.sizes[:-1] if size < len(present)})
    branches = cut_tree(linkage, sizes) if sizes else np.zeros((len(present), 0), dtype=np.int64)
    paths = np.column_stack([branches, np.arange(len(present))])
    prototypes, parents, phi = [], [torch.zeros(int(paths[:, 0].max()) + 1, dtype=torch.long)], []
    assignment = torch.from_numpy(paths).to(z.device)[nearest(z, means)[0]]
    for level, nodes in enumerate(paths.T):
        node, count = torch.from_numpy(nodes).to(z.device), int(nodes.max()) + 1
        total = means.new_zeros(count, means.shape[1]).index_add_(0, node, means)
        prototypes.append(torch.nn.functional.normalize(total, dim=1))
        if level:
            _, first = np.unique(nodes, return_index=True)
            parents.append(torch.from_numpy(paths[first, level - 1]))
        distance = (z - prototypes[-1][assignment[:, level]]).norm(dim=1)
        phi.append(concentration(distance, assignment[:, level], count, 0.2))
    closeness = [(z * p[a]).sum(dim=1) for p, a in zip(prototypes, assignment.T, strict=True)]
    parent = tuple(edge.to(z.device) for edge in parents)
    return PrototypeTree(tuple(prototypes), tuple(phi), parent, assignment, torch.stack(closeness, dim=1))


@checked
def cophenetic_correlation(
    features: Float[Array, "items dim"], labels: Int[Array, " items"], hierarchy: Hierarchy, level: int
) -> float:
    r"""Returns Pearson's correlation of the heights in the dendrogram of the classes and in the true tree.

    $$\text{Pearson}\big(h_{ab},\ t_{ab}\big), \qquad a<b \text{ classes at the level}$$

    with h the height at which the dendrogram of :func:`class_linkage` first has a and b in one cluster, and t the
    height of their lowest common ancestor in the hierarchy, cut at ``level`` (1 for siblings). The usual "cophenetic
    correlation" (Sokal & Rohlf 1962) compares a dendrogram with the distances that it was made of. Here the true tree
    takes their place.

    Args:
        features: embeddings.
        labels: leaf id of every item.
        hierarchy: tree of the labels.
        level: level of the classes.

    Returns:
        A number in [−1, 1]. NaN with fewer than three classes, if all true heights are equal (always at level 0), or if
        all heights of the dendrogram are equal.

    Raises:
        ValueError: the same errors as :func:`class_linkage`.

    Example:
        >>> -1 <= cophenetic_correlation(features, test.labels, test.hierarchy, level=1) <= 1
        True
    """
    from scipy.cluster.hierarchy import cophenet

    linkage, present = class_linkage(features, labels, hierarchy, level)
    if len(present) < 3:
        return math.nan
    first, second = np.triu_indices(len(present), k=1)
    height = cophenet(linkage)
    if np.ptp(height) < 1 / STEPS:
        return math.nan
    return _pearson(height, lca_height(present[first], present[second], hierarchy, level % hierarchy.levels))


@checked
def dendrogram_purity(
    features: Float[Array, "items dim"],
    labels: Int[Array, " items"],
    hierarchy: Hierarchy,
    level: int,
    within: int,
) -> float:
    """Returns whether the classes of one parent stand together in the dendrogram of the classes.

    This is :func:`purity_of` the dendrogram of :func:`class_linkage`. Its true groups are the ancestors of the classes
    at the coarser level ``within``.

    Args:
        features: embeddings.
        labels: leaf id of every item.
        hierarchy: tree of the labels.
        level: level of the classes.
        within: level of the groups; it must be coarser than ``level``.

    Returns:
        A number in (0, 1]. It is 1 if every group has a branch of its own, and NaN if no group has two classes. A
        random dendrogram gives more than 0: call :func:`purity_of` with shuffled groups to see how much.

    Raises:
        ValueError: ``within`` is not coarser than ``level``, or an error of :func:`class_linkage`.

    Example:
        >>> 0 < dendrogram_purity(features, test.labels, test.hierarchy, level=1, within=0) <= 1
        True
    """
    linkage, present = class_linkage(features, labels, hierarchy, level)
    hierarchy.labels_at(as_array(labels), within)  # an error if there is no such level
    coarse, fine = within % hierarchy.levels, level % hierarchy.levels
    if coarse >= fine:
        raise ValueError(f"within={within} and level={level}: the groups need a coarser level than the classes.")
    return purity_of(linkage, ancestor_paths(hierarchy, fine)[present, coarse])


@checked
def nearest_siblings(
    features: Float[Array, "items dim"], labels: Int[Array, " items"], hierarchy: Hierarchy, level: int
) -> float:
    r"""Returns for what share of the classes the nearest other class has the same parent.

    $$\frac1{|C|}\sum_{c\in C}\big[\text{parent}(\arg\max_{c'\ne c}\langle\mu_c,\mu_{c'}\rangle)
      = \text{parent}(c)\big]$$

    with μ the unit centroids of the classes (:func:`centroids`), and C the classes that have a sibling among them.
    Chance is the share of siblings among the other classes.

    Args:
        features: embeddings.
        labels: leaf id of every item.
        hierarchy: tree of the labels.
        level: level of the classes, at least 1.

    Returns:
        A number in [0, 1]; NaN if no class has a sibling.

    Raises:
        ValueError: no such level, or an error of :func:`centroids`.

    Example:
        >>> 0 <= nearest_siblings(features, test.labels, test.hierarchy, level=1) <= 1
        True
    """
    labels = check_labels(features, labels)
    means, present = centroids(features, cast(np.ndarray, hierarchy.labels_at(labels, level)))
    fine = level % hierarchy.levels
    if fine == 0:
        raise ValueError("level=0: the coarsest classes have no parent, give a finer level.")
    parent = torch.as_tensor(ancestor_paths(hierarchy, fine)[present, fine - 1], device=means.device)
    related = (parent[:, None] == parent).fill_diagonal_(False)
    nearest = (means @ means.T).fill_diagonal_(-2).argmax(dim=1)
    found = related[torch.arange(len(parent), device=means.device), nearest][related.any(dim=1)]
    return float(found.double().mean())  # NaN of none


def purity_of(linkage: Float[Array, "merges 4"], groups: Int[Array, " leaves"]) -> float:
    r"""Returns dendrogram purity: the share that a group has of the branch which joins two of its leaves.

    $$\frac1{|P|}\sum_{(a,b)\in P}\frac{|\text{leaves}(\text{lca}(a,b))\cap g_a|}{|\text{leaves}(\text{lca}(a,b))|},
      \qquad P=\{a<b : g_a=g_b\}$$

    Source: Heller & Ghahramani 2005; Kobren et al. 2017 (arXiv 1704.01858). A merge of two branches is the lowest
    common ancestor of all pairs with one leaf in each branch. So one walk over the merges counts all pairs.

    Args:
        linkage: SciPy's linkage matrix.
        groups: true group of every leaf of the dendrogram.

    Returns:
        A number in (0, 1]. NaN if no group has two leaves.

    Raises:
        ValueError: a matrix that is no linkage, or one of another number of leaves.

    Example:
        >>> from scipy.cluster.hierarchy import linkage
        >>> purity_of(linkage(np.array([[0.0], [1.0], [10.0]]), "average"), np.array([0, 0, 1]))
        1.0
    """
    from scipy.cluster.hierarchy import is_valid_linkage

    linkage, groups = as_array(linkage), as_array(groups)
    leaves = len(groups)
    if groups.ndim != 1 or linkage.shape != (leaves - 1, 4):
        shapes = f"linkage is {list(linkage.shape)} and groups {list(groups.shape)}"
        raise ValueError(f"{shapes}: a dendrogram of n leaves has n − 1 merges [n − 1, 4] and groups [n].")
    if leaves > 1:
        is_valid_linkage(linkage, throw=True)
    _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((2 * leaves - 1, len(size)))  # how many leaves of every group each branch has
    counts[np.arange(leaves), group] = 1
    total = 0.0
    for merge, (left, right) in enumerate(linkage[:, :2].astype(np.int64)):
        joined = counts[left] + counts[right]
        counts[leaves + merge] = joined
        total += (counts[left] * counts[right] * joined).sum() / joined.sum()
    pairs = (size * (size - 1)).sum() / 2
    return float(total / pairs) if pairs else math.nan


def _draw(classes: Int[np.ndarray, " items"], most: int, seed: int) -> Int[np.ndarray, " drawn"]:
    """Draws at most so many items at random, so that every class keeps its share."""
    if len(classes) <= most:
        return np.arange(len(classes))
    shuffled = pd.Series(classes).sample(frac=1, random_state=seed)
    of_class = shuffled.groupby(shuffled)
    progress = (of_class.cumcount() + 0.5) / of_class.transform("size")  # sorted by it, all classes end together
    return np.array(progress.sort_values(kind="stable").index[:most])


def _ranks(values: Int[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Ranks small whole numbers, with the mean rank for ties. Counting is faster than scipy's sorting."""
    count = np.bincount(values)
    return (np.cumsum(count) - (count - 1) / 2)[values]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN, without NumPy's warning, if one of the two is constant."""
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
