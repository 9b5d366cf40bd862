"""Neighbours of every item of a data set: the most similar items, or random items of its class."""

import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array, as_ids, as_tensor, blocks, unit_rows
from hiercl.runtime.config import AtLeast
from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int

MANY = 1000  # from this number of neighbours on, a matmul is faster than faiss


@checked
def nearest_neighbours(
    features: Float[Array, "n dim"], k: int, block: Annotated[int, AtLeast(1)] = 4096
) -> Int[Tensor, "n k"]:
    r"""Returns the indices of the k other items with the highest cosine similarity, most similar first.

    $$\text{NN}(i) = \operatorname{argsort}_{j\ne i}\big(-\cos(z_i, z_j)\big)_{1..k}$$

    The search is exact: on the CPU by faiss (a flat index of inner products), on CUDA and for 1,000 neighbours or more
    by a matmul. The item itself is left out by its index, not by its rank, so an exact copy of it is a neighbour. Ties
    come in the order in which the search finds them; this order may differ between CUDA and CPU. A feature of length
    zero has the similarity 0 with all items.

    Args:
        features: an array, or a tensor on any device, of any length. Similarities are computed in float32.
        k: number of neighbours, from 1 to n − 1.
        block: largest number of items whose neighbours are searched at once. With many items it is smaller, so that
            there are about 2^25 similarities at a time.

    Returns:
        Indices, int64, on the device of the features. Where k is large, :func:`neighbour_blocks` needs less memory.

    Raises:
        ValueError: k < 1 or k ≥ n, block < 1, features that are no numbers or not finite.

    Example:
        >>> nearest_neighbours(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), k=2).tolist()
        [[1, 2], [0, 2], [1, 0]]
    """
    features = as_tensor(features)
    near = torch.empty(len(features), max(0, k), dtype=torch.long, device=features.device)
    for items, found in neighbour_blocks(features, k, block=block):
        near[items] = found
    return near


def neighbour_blocks(
    features: Float[Array, "n dim"], k: int, items: Int[Array, " chosen"] | None = None, block: int = 4096
) -> Iterator[tuple[Int[Tensor, " block"], Int[Tensor, "block k"]]]:
    """Yields the nearest neighbours of some items after those of others, as :func:`nearest_neighbours` finds them.

    So n items with k neighbours each can be looked at without a table of n · k numbers.

    Args:
        features: as there.
        k: number of neighbours, from 1 to n − 1.
        items: whose neighbours are searched, among all items; by default all.
        block: as there.

    Yields:
        The numbers of the items of a block, and their neighbours.

    Raises:
        ValueError: as there.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> [near.tolist() for _, near in neighbour_blocks(features, k=1, block=2)]
        [[[1], [0]], [[1]]]
    """
    features = as_tensor(features).float()
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features are {list(features.shape)}: pass [items, dim].")
    if not 1 <= k < len(features):
        raise ValueError(f"k={k} neighbours of {len(features)} items: k must be from 1 to {len(features) - 1}.")
    check_finite(features)
    z = unit_rows(features)
    search = _flat_index(z) if z.device.type == "cpu" and k < MANY else _matmul(z)
    items = torch.arange(len(z), device=z.device) if items is None else as_ids(items).to(z.device)
    for rows in blocks(len(items), len(z), block):
        item = items[rows]
        # Of k + 1 found, k are others. If copies of the item displace the item itself, the last one is left out.
        found = search(z[item], k + 1)
        itself = found == item[:, None]
        itself[:, -1] |= ~itself.any(dim=1)
        yield item, found[~itself].view(len(item), k)


@checked
def random_neighbours(
    labels: Int[Array, " n"], k: Annotated[int, AtLeast(1)], generator: torch.Generator
) -> Int[Tensor, "n k"]:
    """Returns for every item k random others with its label, drawn uniformly and with replacement.

    If all labels are equal, these are random items of the whole data set.

    Args:
        labels: labels, numbers from 0 on; on any device.
        k: number of neighbours, at least 1.
        generator: random numbers on the CPU, so that all devices draw the same.

    Returns:
        Indices, int64, on the device of the labels.

    Raises:
        ValueError: k < 1, a label that only one item has, or an item without a label (−1).

    Example:
        >>> random_neighbours(torch.tensor([0, 1, 1, 0]), k=2, generator=torch.Generator()).tolist()
        [[3, 3], [2, 2], [1, 1], [0, 0]]
    """
    labels = as_ids(labels)
    label = labels.cpu()
    if (label < 0).any():
        raise ValueError(f"{int((label < 0).sum())} items have no label (−1), so no neighbours of their class.")
    count = torch.bincount(label)
    if (count == 1).any():
        lonely = int((count == 1).nonzero()[0])
        raise ValueError(
            f"{int((count == 1).sum())} classes have one item only (the first is class {lonely}), so no neighbour in "
            "their class: leave these classes out of the data set."
        )
    members = label.argsort(stable=True)  # class after class
    start, size = (count.cumsum(0) - count)[label], count[label]
    position = torch.empty_like(label)
    position[members] = torch.arange(len(label))  # position of every item among the members
    # The neighbour is 1 to size − 1 positions after the item, in a circle through the members of its class.
    ahead = 1 + (torch.rand(len(label), k, generator=generator, dtype=torch.float64) * (size[:, None] - 1)).long()
    return members[start[:, None] + ((position - start)[:, None] + ahead) % size[:, None]].to(labels.device)


def neighbour_agreement(neighbours: Int[Array, "n k"], labels: Int[Array, " n"]) -> float:
    r"""Returns the share of the neighbours that have their item's label, in [0, 1].

    $$\frac1{nk}\sum_i\sum_{j\in\text{NN}(i)}[y_j = y_i]$$

    Args:
        neighbours: neighbours of every item, as :func:`nearest_neighbours` returns them.
        labels: class of every item, at one level. Pairs with an item that has no label (−1) do not count.

    Returns:
        A number in [0, 1]; NaN if no pair counts.

    Raises:
        ValueError: a number of labels other than n, or an index that is no item.

    Example:
        >>> neighbour_agreement(torch.tensor([[1, 2], [0, 2], [1, 0]]), np.array([0, 0, 1]))
        0.3333333333333333
    """
    others, labels = as_array(neighbours), as_array(labels)
    if others.ndim != 2 or others.size == 0 or others.dtype.kind not in "iu" or labels.shape != others.shape[:1]:
        shapes = f"neighbours are {others.dtype} {list(others.shape)} and labels {list(labels.shape)}"
        raise ValueError(f"{shapes}: pass indices [n, k] and labels [n] of the same items.")
    if others.min() < 0 or others.max() >= len(labels):
        raise ValueError(f"neighbours are from {others.min()} to {others.max()}, but items are 0 to {len(labels) - 1}.")
    known = (labels[:, None] >= 0) & (labels[others] >= 0)
    return float((labels[others] == labels[:, None])[known].mean()) if known.any() else math.nan


def _flat_index(z: Float[Tensor, "n dim"]):
    """Returns a search of all rows of z, by faiss; by a matmul if faiss is not installed."""
    try:
        import faiss  # here, so that importing hiercl stays light
    except ImportError:
        return _matmul(z)
    index = faiss.IndexFlatIP(z.shape[1])
    index.add(np.ascontiguousarray(z.numpy()))
    return lambda queries, k: torch.from_numpy(index.search(np.ascontiguousarray(queries.numpy()), k)[1])


def _matmul(z: Float[Tensor, "n dim"]):
    """Returns a search of all rows of z, by a matmul."""
    return lambda queries, k: (queries @ z.T).topk(k, dim=1).indices
