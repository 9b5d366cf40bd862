"""Retrieval: whether the most similar items share the query's class, and how far away the others are in the tree."""

import math
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hiercl.clustering import neighbour_blocks
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.geometry import check_features, draw
from hiercl.metrics.mistakes import lca_height
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array, as_ids, blocks, check_labelled
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float, Int

BLOCK = 1024  # queries, at most, that are scored at once


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
    largest = largest_r(labels)
    if neighbours.shape[1] < largest:
        raise ValueError(
            f"there are {neighbours.shape[1]} neighbours for each item, but the largest class has {largest + 1} items: "
            f"call nearest_neighbours(features, k={largest})."
        )
    everything = torch.arange(len(labels), device=neighbours.device)
    return _known_mean(_all_precisions([(everything, neighbours)], labels[:, None], len(labels))[0])


class Retrieved(NamedTuple):
    """The results of :func:`retrieve`.

    Attributes:
        items: number of every item whose neighbours were searched.
        nearest: its nearest neighbours.
        map_at_r: mean average precision at R for each column of labels; NaN if no class has two items.
        precisions: average precision at R of every searched item, for each column; NaN where no other item is of its
            class.
    """

    items: Int[Tensor, " searched"]
    nearest: Int[Tensor, "searched k"]
    map_at_r: tuple[float, ...]
    precisions: Float[Tensor, "columns searched"]


@checked
def retrieve(
    features: Float[Array, "n dim"],
    labels: Int[Array, "n"] | Int[Array, "n levels"],
    k: Annotated[int, AtLeast(1)] = 1,
    sample: Annotated[int, AtLeast(1)] | None = None,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> Retrieved:
    """Searches neighbours and scores them block by block: :func:`map_at_r` without a table of n · R neighbours.

    The neighbours are those of :func:`hiercl.clustering.nearest_neighbours`, as many as MAP@R looks at, in one search
    for all columns of labels. Memory grows with n, time with the number of items searched, times n.

    Args:
        features: embeddings, of any length.
        labels: class of every item, or one column for each level.
        k: number of nearest neighbours to return, at most n − 1.
        sample: number of items, drawn at random, whose neighbours are searched among all items; None: all items.
        seed: seed of the draw.

    Returns:
        The nearest neighbours, and MAP@R for each column.

    Raises:
        ValueError: one item only, k ≥ n, labels that are not one integer, or one row of integers, for each item,
            features that are no numbers or not finite.

    Example:
        >>> X, y = np.random.rand(60, 8), np.arange(60) % 3
        >>> found = hiercl.metrics.retrieve(X, y, k=2)
        >>> found.map_at_r[0] == hiercl.metrics.map_at_r(hiercl.clustering.nearest_neighbours(X, 19), y)
        True
    """
    features, labels = check_features(features), as_array(labels)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or labels.size == 0 or len(labels) != len(features) or labels.dtype.kind not in "iu":
        form = f"{labels.dtype} {list(labels.shape)} for {len(features)} items"
        raise ValueError(f"labels are {form}: pass one integer, or one row of integers, for each item.")
    check_labelled(labels)
    items = torch.arange(len(features)) if sample is None else draw(len(features), sample, seed)
    items, near = items.to(features.device), []

    def search() -> Iterable[tuple[Tensor, Tensor]]:
        most = max(map(largest_r, labels.T))
        for query, found in neighbour_blocks(features, min(max(most, k), len(features) - 1), items):
            near.append(found[:, :k].clone())
            yield query, found

    if not k < len(features):
        raise ValueError(f"k={k} neighbours of {len(features)} items: k must be from 1 to {len(features) - 1}.")
    precisions = _all_precisions(search(), labels, len(items))
    return Retrieved(items, torch.cat(near), tuple(map(_known_mean, precisions)), precisions)


def largest_r(labels: Int[np.ndarray, " n"]) -> int:
    """Returns the number of other items in the largest class: as many neighbours does MAP@R look at.

    Example:
        >>> largest_r(np.array([7, 7, 3]))
        1
    """
    return int(np.unique(labels, return_counts=True)[1].max()) - 1


def _all_precisions(
    found: Iterable[tuple[Tensor, Tensor]], labels: Int[np.ndarray, "n levels"], queries: int
) -> Float[Tensor, "levels queries"]:
    """Returns the average precision at R of every query, for each column of labels, from the neighbours of some queries
    after those of others; NaN where no other item is of the query's class."""
    columns, precisions = [], torch.full((labels.shape[1], queries), math.nan, dtype=torch.float64)
    for column in labels.T:
        _, label, size = np.unique(column, return_inverse=True, return_counts=True)
        columns.append(
            (torch.from_numpy(label), torch.from_numpy(size - 1)[torch.from_numpy(label)], int(size.max()) - 1)
        )
    done = 0
    for query, neighbours in found:
        for own, (label, r, largest) in zip(precisions, columns, strict=True):
            label, r = label.to(query.device), r.to(query.device)
            for rows in blocks(len(query), 8 * largest, BLOCK):
                part = _precisions(neighbours[rows, :largest], query[rows], label, r)
                own[done + rows.start : done + rows.stop] = part.cpu()
        done += len(query)
    return precisions


def _known_mean(precisions: Float[Tensor, " queries"]) -> float:
    """Returns the mean of the numbers that are not NaN; NaN if there is none."""
    known = ~precisions.isnan()
    total = sum(float(part.nan_to_num(0.0).sum()) for part in precisions.split(BLOCK))
    return total / int(known.sum()) if known.any() else math.nan


def _precisions(
    neighbours: Int[Tensor, "block largest"],
    query: Int[Tensor, " block"],
    label: Int[Tensor, " n"],
    r: Int[Tensor, " n"],
) -> Float[Tensor, " block"]:
    """Returns the average precision at R of some queries; NaN where no other item is of the query's class."""
    rank = torch.arange(1, neighbours.shape[1] + 1, device=query.device)
    relevant = label[neighbours] == label[query, None]
    relevant &= rank <= r[query, None]
    precision = relevant.cumsum(dim=1) / rank.double()
    score = (precision * relevant).sum(dim=1) / r[query].clamp(min=1)
    return score.masked_fill(r[query] == 0, math.nan)


@checked
def hierarchical_distance_at_k(
    neighbours: Int[Array, "queries columns"],
    labels: Int[Array, " n"],
    hierarchy: Hierarchy,
    level: int,
    k: int,
    items: Int[Array, " queries"] | None = None,
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
        items: number of the item that each row of neighbours is of; by default row i is of item i.

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
    items = None if items is None else as_ids(items)
    neighbours, labels = check_neighbours(neighbours, labels, items)
    if not 1 <= k <= neighbours.shape[1]:
        raise ValueError(f"k={k} with {neighbours.shape[1]} neighbours for each item: k must be from 1 to that number.")
    near, queries = neighbours[:, :k].cpu().numpy(), labels if items is None else labels[items.cpu().numpy()]
    return int(heights_to(near, queries, labels, hierarchy, level).sum()) / near.size


def heights_to(
    near: Int[np.ndarray, "queries k"],
    queries: Int[np.ndarray, " queries"],
    labels: Int[np.ndarray, " n"],
    hierarchy: Hierarchy,
    level: int,
) -> Int[np.ndarray, " queries"]:
    """Returns the sum of the heights that :func:`hierarchical_distance_at_k` is the mean of, for every query.

    Args:
        near: neighbours of every query, as positions in the labels.
        queries: class of every query at the level.
        labels: class of every item at the level.
        hierarchy: tree of the classes.
        level: level of the classes.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> heights_to(np.array([[1, 2]]), np.array([0]), np.array([0, 1, 2]), tree, level=1).tolist()
        [3]
    """
    sums = [
        lca_height(queries[rows, None], labels[near[rows]], hierarchy, level).sum(axis=1)
        for rows in blocks(len(near), 8 * near.shape[1])
    ]
    return np.concatenate(sums)


def check_neighbours(
    neighbours: Array, labels: Array, items: Int[Tensor, " queries"] | None = None
) -> tuple[Tensor, np.ndarray]:
    """Returns them as a tensor and an array; ValueError if they do not fit, or a neighbour is no item or the query."""
    neighbours, labels = as_ids(neighbours), as_array(labels)
    rows = labels.shape if items is None else tuple(items.shape)
    if neighbours.ndim != 2 or neighbours.numel() == 0 or labels.ndim != 1 or rows != (len(neighbours),):
        shapes = f"neighbours are {tuple(neighbours.shape)} and labels {labels.shape}"
        raise ValueError(f"{shapes}: they must be [n, k], not empty, and [n].")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}: pass whole numbers, one for each item.")
    check_labelled(labels)
    if neighbours.min() < 0 or neighbours.max() >= len(labels):
        found = f"neighbours are from {int(neighbours.min())} to {int(neighbours.max())}"
        raise ValueError(f"{found}, but the items are 0 to {len(labels) - 1}: neighbours must be labelled items.")
    items = torch.arange(len(labels)) if items is None else items
    own = (neighbours == items.to(neighbours.device)[:, None]).any(dim=1)
    if own.any():
        first = f"{int(own.sum())} items are their own neighbours (the first is item {int(own.nonzero()[0])})"
        raise ValueError(f"{first}: leave each item out of its own list, as nearest_neighbours does.")
    return neighbours, labels
