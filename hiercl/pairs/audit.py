"""audit: how correct the pairs of a step are, by true labels."""

from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from hiercl.hierarchy import Hierarchy
from hiercl.pairs.pairs import Kind, Pairs
from hiercl.runtime.arrays import Array, as_array


def audit(pairs: Pairs, labels: Array, hierarchy: Hierarchy, tree: Any = None) -> pd.DataFrame:
    r"""Compares pairs with the true labels (which only supervised methods have seen).

    With $y_a$, $y_c$ the labels of anchor and candidate at a level:

    * ``precision`` = P($y_a = y_c$ | pulled),
    * ``false_negative_rate`` = P($y_a = y_c$ | pushed),
    * ``wasted_removals`` = P($y_a ≠ y_c$ | removed),
    * ``same_removed`` = P(removed | open to selection and $y_a = y_c$),
    * ``other_removed`` = P(removed | open to selection and $y_a ≠ y_c$): a good selection has ``same_removed`` well
      above it.

    Pairs with an item without a label are not counted, nor are random first entries of the queue (item −1). Anchors
    without any candidate (those that thinning took out) are not counted either. A mixed query has the label of its
    anchor, a prototype that of the majority of its members.

    Args:
        pairs: the pairs of a term.
        labels: leaf label of every item of the data set, ``[items]``; −1: no label.
        hierarchy: the true hierarchy.
        tree: the :class:`~hiercl.PrototypeTree` that prototypes among the candidates come from.

    Returns:
        One row per level, with ``level``, ``pulled``, ``pushed``, ``removed`` (numbers of pairs), the shares above (NaN
        if there are no such pairs), ``negatives_left`` (mean number per anchor) and ``anchors_without_negative``.

    Raises:
        ValueError: prototypes among the candidates, without a tree or with another one; labels of fewer items than the
            pairs name.

    Example:
        >>> term = run.step(train).terms[0]
        >>> hiercl.audit(term.pairs, train.labels, train.hierarchy)["level"].tolist()
        ['domain', 'group', 'class']
    """
    return pd.DataFrame(tally(pairs, labels, hierarchy, tree)).pipe(shares, hierarchy)


def tally(pairs: Pairs, labels: Array, hierarchy: Hierarchy, tree: Any = None) -> dict[str, list[int]]:
    """Returns the counts behind :func:`audit`, one entry per level; counts of several steps can be added.

    Args:
        pairs: as in :func:`audit`, and so are the others.

    Example:
        >>> counts = hiercl.pairs.tally(run.step(train).terms[0].pairs, train.labels, train.hierarchy)
        >>> counts["level"]
        [0, 1, 2]
    """
    for name, value, kind in (("pairs are", pairs, Pairs), ("hierarchy is", hierarchy, Hierarchy)):
        if not isinstance(value, kind):
            raise ValueError(f"{name} a {type(value).__name__}: give hiercl.{kind.__name__}.")
    labels = as_array(labels)
    if labels.ndim != 1:
        raise ValueError(
            f"labels are {list(labels.shape)}: pass one leaf label for each item of the data set, [items]."
        )
    if tree is not None and not hasattr(tree, "majority"):
        raise ValueError(f"tree is a {type(tree).__name__}: give the hiercl.PrototypeTree (run.tree).")
    is_prototype = (pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy()
    if is_prototype.any() and (tree is None or pairs.level is None):
        raise ValueError("Prototypes are among the candidates: pass the tree that they come from (run.tree).")
    anchor_item = pairs.anchors.item.cpu().numpy()
    item = pairs.candidates.item.cpu().numpy()
    largest = max(anchor_item.max(initial=-1), item[~is_prototype].max(initial=-1))
    if largest >= len(labels):
        raise ValueError(f"the pairs name item {largest}, and there are {len(labels)} labels: pass one for every item.")
    prototypes, level = item[is_prototype], cast(int, pairs.level)
    if len(prototypes) and tree is not None and not (level < tree.levels and prototypes.max() < tree.sizes[level]):
        found = f"prototype {prototypes.max()} of level {level}"
        raise ValueError(f"the pairs name {found}, which {tree} does not have: pass the tree that they come from.")
    pulled = pairs.positive.cpu().numpy() > 0
    pushed = pairs.negative.cpu().numpy()
    removed = pairs.removed.cpu().numpy()
    takes_part = (pulled | pushed | removed).any(axis=1)

    counts: dict[str, list[int]] = {}
    for level in range(hierarchy.levels):
        at_level = np.asarray(hierarchy.labels_at(labels, level))
        candidate = np.where(item >= 0, at_level[np.where(is_prototype, 0, item)], -1)
        if is_prototype.any():
            majority = _majority(tree, at_level, cast(int, pairs.level))
            candidate = np.where(is_prototype, majority[np.where(is_prototype, item, 0)], candidate)
        known = (at_level[anchor_item] >= 0)[:, None] & (candidate >= 0)
        same = (at_level[anchor_item][:, None] == candidate[None, :]) & known
        row = {"level": level, "anchors": takes_part.sum(), "negatives": pushed.sum()}
        row["anchors_without_negative"] = (takes_part & ~pushed.any(axis=1)).sum()
        for name, role in {"pulled": pulled, "pushed": pushed, "removed": removed, "open": pushed | removed}.items():
            row |= {name: (role & known).sum(), f"{name}_same": (role & same).sum()}
        for name, value in row.items():
            counts.setdefault(name, []).append(int(value))
    return counts


def _majority(tree: Any, labels: np.ndarray, level: int) -> np.ndarray:
    """Returns the most frequent label of every prototype of a level; −1 where no member has a label."""
    known = torch.as_tensor(labels)
    majority, purity = tree.majority(known)[level], tree.purity(known)[level]
    return majority.masked_fill(purity.isnan() & (tree.counts(level) > 0), -1).cpu().numpy()


def shares(counts: pd.DataFrame, hierarchy: Hierarchy) -> pd.DataFrame:
    """Makes the table of :func:`audit` from the counts of :func:`tally`.

    Example:
        >>> counts = hiercl.pairs.tally(run.step(train).terms[0].pairs, train.labels, train.hierarchy)
        >>> hiercl.pairs.shares(pd.DataFrame(counts), train.hierarchy)["precision"].tolist()
        [1.0, 1.0, 1.0]
    """

    def share(part, whole):
        return part / whole.where(whole > 0)

    table = counts[["pulled", "pushed", "removed"]].copy()
    table.insert(0, "level", [hierarchy.level_names[level] for level in counts["level"]])
    removed_other = counts["removed"] - counts["removed_same"]
    table["precision"] = share(counts["pulled_same"], counts["pulled"])
    table["false_negative_rate"] = share(counts["pushed_same"], counts["pushed"])
    table["wasted_removals"] = share(removed_other, counts["removed"])
    table["same_removed"] = share(counts["removed_same"], counts["open_same"])
    table["other_removed"] = share(removed_other, counts["open"] - counts["open_same"])
    table["negatives_left"] = share(counts["negatives"], counts["anchors"])
    table["anchors_without_negative"] = counts["anchors_without_negative"]
    return table
