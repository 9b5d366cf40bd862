"""Pairs of a loop of one's own: by the labels of its embeddings, or by the items that they are views of."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

from hiercl.hierarchy import Hierarchy
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_ids
from hiercl.runtime.types import Bool, Int


@overload
def by_label(
    labels: Array, hierarchy: Hierarchy | None = None, level: int = -1, items: Array | None = None
) -> Pairs: ...
@overload
def by_label(
    labels: Array, hierarchy: Hierarchy | None = None, *, level: None, items: Array | None = None
) -> tuple[Pairs, ...]: ...
@checked
def by_label(
    labels: Array, hierarchy: Hierarchy | None = None, level: int | None = -1, items: Array | None = None
) -> Pairs | tuple[Pairs, ...]:
    """Makes the pairs of SupCon: an embedding pulls those with its label and pushes all others.

    An embedding without a label (−1) is left alone, as an anchor and as a candidate.

    Args:
        labels: class of every embedding of the batch, ``[n]``: leaf ids if there is a hierarchy. Or ``[n, levels]``,
            the class at every level, coarse to fine. NumPy or torch; the pairs are where the labels are.
        hierarchy: the classes above the leaves.
        level: level at which labels are compared; 0 is the coarsest, −1 the leaves. None: all of them.
        items: index of the item in the data set that each embedding is of, for plots. By default 0, 1, 2, …

    Returns:
        The pairs; with ``level=None`` a tuple of the pairs of every level, coarse to fine.

    Raises:
        ValueError: labels that are no whole numbers or no leaves, a class that lies in two classes of the level above,
            another number of items, or no such level.

    Example:
        >>> z, labels = torch.randn(6, 8, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2])
        >>> hiercl.pairs.contrast(z, by_label(labels)).backward()
        >>> tree = hiercl.Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> loss = sum(hiercl.pairs.contrast(z, pairs) for pairs in by_label(labels, tree, level=None))
    """
    classes = as_ids(labels)
    if classes.ndim not in (1, 2) or classes.numel() == 0 or (hierarchy is not None and classes.ndim == 2):
        form = "[n] with a hierarchy, else [n] or [n, levels]"
        raise ValueError(f"labels are {list(classes.shape)}: pass one leaf id or class for each embedding, {form}.")
    if hierarchy is not None:
        if bool((classes >= hierarchy.n_leaves).any() | (classes < -1).any()):
            lowest, highest = int(classes.min()), int(classes.max())
            leaves = f"the leaves are 0 to {hierarchy.n_leaves - 1}, and −1 is no label"
            raise ValueError(f"labels are from {lowest} to {highest}, but {leaves}.")
        above = torch.tensor(hierarchy.ancestors, device=classes.device)
        classes = torch.where(classes[:, None] < 0, -1, above[classes])  # −1 reads the last row, which is not used
    alone = classes.ndim == 1
    classes = classes[:, None] if alone else classes
    if hierarchy is None:
        _check_classes(classes)
    levels = classes.shape[1]
    if level is not None and not -levels <= level < levels:
        raise ValueError(f"there is no level {level}: the labels have {levels}, 0 to {levels - 1}, coarse to fine.")
    item = torch.arange(len(classes), device=classes.device) if items is None else as_ids(items).to(classes.device)
    if item.shape != classes.shape[:1]:
        raise ValueError(f"items are {list(item.shape)} for {len(classes)} labels: pass one for each.")
    chosen = range(levels) if level is None else (level % levels,)
    made = tuple(within_groups(classes[:, at], item, level=None if alone else at) for at in chosen)
    return made if level is None else made[0]


def _check_classes(classes: Int[Tensor, "n levels"]) -> None:
    """Raises ValueError for a label below −1, or a class that lies in two classes of the level above."""
    fine, order = classes[:, 1:].sort(dim=0)  # a class in two others has two neighbours that differ above
    above = classes[:, :-1].gather(0, order)
    split = (fine[1:] == fine[:-1]) & (above[1:] != above[:-1]) & (fine[1:] >= 0)
    if bool((classes < -1).any() | split.any()):  # one test for both, since on CUDA every test waits for the device
        if not split.any():
            raise ValueError(f"a label is {int(classes.min())}: classes count from 0, and −1 is no label.")
        row, level = split.nonzero()[0].tolist()
        two = " and ".join(str(int(above[at, level])) for at in (row, row + 1))
        raise ValueError(
            f"class {int(fine[row, level])} of column {level + 1} lies in the classes {two} of column {level}: a class "
            "has one class above it, and columns go from coarse to fine. If these are two classes, number them apart."
        )


def by_item(items: Array) -> Pairs:
    """Makes the pairs of SimCLR: an embedding pulls the other views of its item and pushes all others.

    Args:
        items: item of every embedding of the batch, ``[n]``, NumPy or torch: embeddings with the same number are views
            of one item. The pairs are where the items are.

    Returns:
        The pairs.

    Raises:
        ValueError: items that are not ``[n]`` whole numbers from 0.

    Example:
        >>> first, second = torch.randn(4, 8), torch.randn(4, 8)  # two views of four items
        >>> pairs = by_item(torch.arange(4).repeat(2))
        >>> loss = hiercl.pairs.contrast(torch.cat([first, second]), pairs, temperature=0.2)
    """
    item = as_ids(items)
    if item.ndim != 1 or len(item) == 0 or bool((item < 0).any()):
        raise ValueError(f"items are {list(item.shape)}: pass the number of the item of each embedding, [n], from 0.")
    return within_groups(item, item)


def within_groups(
    group: Int[Tensor, " candidates"],
    item: Int[Tensor, " candidates"],
    anchors: Int[Tensor, " anchors"] | None = None,
    kept: Bool[Tensor, " candidates"] | None = None,
    level: int | None = None,
    **more,
) -> Pairs:
    """Pulls candidates of the anchor's group and pushes the others; the anchor itself is left alone.

    The methods that contrast within a batch make their pairs so.

    Args:
        group: group of every candidate, such as its class; one without a group (−1) takes no part.
        item: item of every candidate.
        anchors: positions of the anchors among the candidates; None: all of them.
        kept: whether each candidate takes part; None: all do. One that does not is removed as a candidate, and has no
            candidates as an anchor.
        level: the level that the groups belong to.
        more: other attributes of :class:`Pairs`.

    Example:
        >>> pairs = within_groups(torch.tensor([0, 0, 1, -1]), torch.arange(4))
        >>> pairs.positive_index.tolist(), pairs.negative.sum(dim=1).tolist()
        ([[0, 1], [1, 0]], [1, 1, 2, 0])
    """
    position = torch.arange(len(group), device=group.device) if anchors is None else anchors
    own, has_group = group[position, None], group >= 0
    same = own == group
    candidate = (own >= 0) & has_group
    candidate[torch.arange(len(position), device=group.device), position] = False  # itself
    removed = torch.zeros_like(same)
    if kept is not None:
        candidate &= kept[position, None]
        removed = candidate & ~kept
        candidate &= kept
    index = (same & candidate).nonzero()
    weight = torch.ones(len(index), device=group.device)
    views = Members.of(Kind.VIEW, item)
    return Pairs(
        Members.of(Kind.VIEW, item[position]), views, index, weight, ~same & candidate, removed, level=level, **more
    )
