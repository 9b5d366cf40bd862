"""Retrieval: whether the most similar items share the query's class, and how far away the others are in the tree."""

import math

import numpy as np
import torch
from torch import Tensor

from hiercl.hierarchy import Hierarchy
from hiercl.metrics.mistakes import lca_height
from hiercl.runtime.arrays import Array, as_array, as_ids, check_labelled
from hiercl.runtime.types import Int

BLOCK = 1024  # queries that are scored at once


def map_at_r(neighbours: Int[Array, "n k"], labels: Int[Array, " n"]) -> float:
    r"""Returns the mean average precision at R: it is 1 if all items of a query's class are its first neighbours.

    $$\text{MAP@R} = \frac1{|Q|}\sum_{q\in Q}\frac1{R_q}\sum_{i=1}^{R_q} P_q(i)\,[y_{q,i} = y_q],\qquad
      P_q(i) = \frac1i\sum_{j\le i}[y_{q,j} = y_q]$$

    with $y_{q,i}$ the label of the i-th neighbour, $R_q$ the number of other items of the query's class, and Q the
    queries with $R_q > 0$. Source: Musgrave, Belongie & Lim 2020 ("A Metric Learning Reality Check"). Random features
    and n items in classes of one size give about $p^2+p\,(1-p)\,H_R/R$, with $p=R/(n-1)$ and
    $H_R=1+\frac12+\dots+\frac1R$.

    Args:
        neighbours: neighbours of every item, most similar first, from :func:`hiercl.clustering.nearest_neighbours`. At
            least as many columns as the largest R; further columns change nothing.
        labels: class of every item, at one level.

    Returns:
        A number in [0, 1]. NaN if no class has two items.

    Raises:
        ValueError: a number of labels other than n, fewer columns than the largest R, an item that is its own
            neighbour, an index that is no item.

    Example:
        >>> neighbours = torch.tensor([[1, 2], [2, 0], [1, 0]])
        >>> map_at_r(neighbours, np.array([0, 0, 1]))  # R = 1, 1, 0: item 0 finds item 1, item 1 finds item 2
        0.5
    """
    neighbours, labels = check_neighbours(neighbours, labels)
    _, label, size = np.unique(labels, return_inverse=True, return_counts=True)
    largest = int(size.max()) - 1
    if largest == 0:
        return math.nan
    if neighbours.shape[1] < largest:
        raise ValueError(
            f"there are {neighbours.shape[1]} neighbours for each item, but the largest class has {largest + 1} items: "
            f"call nearest_neighbours(features, k={largest})."
        )
    label = torch.from_numpy(label).to(neighbours.device)
    r = torch.from_numpy(size - 1).to(neighbours.device)[label]
    rank = torch.arange(1, largest + 1, device=neighbours.device)
    total = 0.0
    for query in torch.arange(len(label), device=neighbours.device).split(BLOCK):
        relevant = label[neighbours[query, :largest]] == label[query, None]
        relevant &= rank <= r[query, None]
        precision = relevant.cumsum(dim=1) / rank.double()
        total += float(((precision * relevant).sum(dim=1) / r[query].clamp(min=1)).sum())
    return total / int((r > 0).sum())


def hierarchical_distance_at_k(
    neighbours: Int[Array, "n columns"], labels: Int[Array, " n"], hierarchy: Hierarchy, level: int, k: int
) -> float:
    r"""Returns the mean height of the lowest common ancestor of a query and each of its k nearest neighbours.

    $$\text{HD@k} = \frac1{nk}\sum_q\sum_{i=1}^{k}\big(\text{level} - lca(y_q, y_{q,i})\big)$$

    with the heights of :func:`~hiercl.metrics.mistakes.lca_height`: 0 for the same class, 1 for a sibling, …, level + 1
    if only the root is common. Bertinetto et al. 2020 ("Making Better Mistakes") average over the k most probable
    *classes* of a classifier. Ours averages over the k nearest *items* and counts right neighbours too, so it can reach
    0 if every class has more than k items.

    Args:
        neighbours: neighbours of every item, from :func:`hiercl.clustering.nearest_neighbours`, at least k columns.
        labels: class of every item at the level.
        hierarchy: tree of the classes.
        level: level of the classes; 0 is the coarsest, where the result is the share of neighbours of another class.
        k: number of neighbours.

    Returns:
        Mean number of levels, in [0, level + 1].

    Raises:
        ValueError: a number of labels other than n, k < 1 or more than the columns, a level or class that does not
            exist, an item that is its own neighbour, an index that is no item.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> neighbours = torch.tensor([[1], [0], [0]])
        >>> hierarchical_distance_at_k(neighbours, np.array([0, 1, 2]), tree, level=1, k=1)  # heights 1, 1, 2
        1.3333333333333333
    """
    neighbours, labels = check_neighbours(neighbours, labels)
    if not 1 <= k <= neighbours.shape[1]:
        raise ValueError(f"k={k} with {neighbours.shape[1]} neighbours for each item: k must be from 1 to that number.")
    others = labels[neighbours[:, :k].cpu().numpy()]
    return float(lca_height(labels[:, None], others, hierarchy, level).mean())


def check_neighbours(neighbours: Array, labels: Array) -> tuple[Tensor, np.ndarray]:
    """Returns them as a tensor and an array; ValueError if they do not fit, or a neighbour is no item or the query."""
    neighbours, labels = as_ids(neighbours), as_array(labels)
    if neighbours.ndim != 2 or neighbours.numel() == 0 or labels.shape != (len(neighbours),):
        shapes = f"neighbours are {tuple(neighbours.shape)} and labels {labels.shape}"
        raise ValueError(f"{shapes}: they must be [n, k], not empty, and [n].")
    check_labelled(labels)
    if neighbours.min() < 0 or neighbours.max() >= len(labels):
        found = f"neighbours are from {int(neighbours.min())} to {int(neighbours.max())}"
        raise ValueError(f"{found}, but the items are 0 to {len(labels) - 1}: neighbours must be labelled items.")
    own = (neighbours == torch.arange(len(labels), device=neighbours.device)[:, None]).any(dim=1)
    if own.any():
        first = f"{int(own.sum())} items are their own neighbours (the first is item {int(own.nonzero()[0])})"
        raise ValueError(f"{first}: leave each item out of its own list, as nearest_neighbours does.")
    return neighbours, labels
