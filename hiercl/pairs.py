"""Pairs: for every anchor, which candidates are pulled, pushed, left alone or removed.

This is the one question that every contrastive method answers, so every method of this package produces this one
value, one loss (:func:`hiercl.losses.info_nce`) reads it, and one :func:`audit` checks it against true labels.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.hierarchy import Hierarchy
from hiercl.types import Bool, Float, Int


class Kind(IntEnum):
    """What an anchor or a candidate is."""

    VIEW = 0  # an augmented view, embedded with gradient
    KEY = 1  # a view embedded by the momentum encoder in this step
    QUEUE = 2  # a key of an earlier step
    PROTOTYPE = 3  # the centre of a cluster


@dataclass(frozen=True)
class Members:
    """Who the anchors (or the candidates) are, so that a picture can always be shown.

    Attributes:
        kind: a :class:`Kind` for each.
        item: index in the data set; −1 for a random initial queue entry; for a prototype its number in its level.
    """

    kind: Int[Tensor, " members"]
    item: Int[Tensor, " members"]

    @classmethod
    def of(cls, kind: Kind, item: Int[Tensor, " members"]) -> "Members":
        """Members that are all of one kind."""
        return cls(torch.full_like(item, int(kind)), item)

    def __add__(self, other: "Members") -> "Members":
        return Members(torch.cat([self.kind, other.kind]), torch.cat([self.item, other.item]))

    def __len__(self) -> int:
        return len(self.item)


@dataclass(frozen=True)
class Pairs:
    """The relation of A anchors and C candidates. It holds no similarities: losses that share a selection share it.

    A candidate is pulled (positive), pushed (negative), removed (taken out by selection) or, if none of these, left
    alone by rule. The three are disjoint; making a ``Pairs`` in which they overlap is an error.

    Positives are few, so they are stored as a list; :attr:`positive` gives them as a matrix.

    Attributes:
        anchors: who the anchors are.
        candidates: who the candidates are.
        positive_index: (anchor, candidate) of every positive.
        positive_weight: its weight, > 0; the loss divides by the sum of an anchor's weights.
        negative: which candidates are pushed.
        removed: which candidates selection took out of the negatives.
        keep_probability: the probability with which selection keeps each candidate, where there was a selection.
        level: the level that they speak of: of the class hierarchy, or of the prototype tree that the selection used
            and prototypes among the candidates belong to.

    Example:
        >>> two = Members.of(Kind.VIEW, torch.tensor([7, 8]))
        >>> pairs = Pairs.from_matrices(two, two, positive=torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> int(pairs.without_negative)
        2
    """

    anchors: Members
    candidates: Members
    positive_index: Int[Tensor, "positives 2"]
    positive_weight: Float[Tensor, " positives"]
    negative: Bool[Tensor, "anchors candidates"]
    removed: Bool[Tensor, "anchors candidates"]
    keep_probability: Float[Tensor, "anchors candidates"] | None = None
    level: int | None = None

    def __post_init__(self):
        shape = (len(self.anchors), len(self.candidates))
        if self.negative.shape != shape or self.removed.shape != shape:
            raise ValueError(
                f"{shape[0]} anchors and {shape[1]} candidates need masks of shape {shape}; negative has "
                f"{tuple(self.negative.shape)}, removed {tuple(self.removed.shape)}."
            )
        row, column = self.positive_index.T
        overlap = (self.negative & self.removed).any() | (self.negative[row, column] | self.removed[row, column]).any()
        if overlap:  # one question for all, since on CUDA each waits for the device
            raise ValueError("Some candidate is two of pulled, pushed and removed for one anchor; a pair has one role.")

    @classmethod
    def from_matrices(
        cls,
        anchors: Members,
        candidates: Members,
        positive: Float[Tensor, "anchors candidates"],
        negative: Bool[Tensor, "anchors candidates"] | None = None,
        removed: Bool[Tensor, "anchors candidates"] | None = None,
        **more,
    ) -> "Pairs":
        """Pairs from a matrix of positive weights (0 = not pulled); masks that are not given are empty."""
        index = positive.nonzero()
        nothing = torch.zeros_like(positive, dtype=torch.bool)
        return cls(
            anchors,
            candidates,
            index,
            positive[index[:, 0], index[:, 1]],
            nothing if negative is None else negative,
            nothing if removed is None else removed,
            **more,
        )

    @property
    def positive(self) -> Float[Tensor, "anchors candidates"]:
        """Positive weights as a matrix; 0 where a candidate is not pulled."""
        matrix = self.positive_weight.new_zeros(self.negative.shape)
        matrix[self.positive_index[:, 0], self.positive_index[:, 1]] = self.positive_weight
        return matrix

    @property
    def without_positive(self) -> Int[Tensor, ""]:
        """Number of anchors that nothing pulls; the loss leaves them out of its mean."""
        return (torch.bincount(self.positive_index[:, 0], minlength=len(self.anchors)) == 0).sum()

    @property
    def without_negative(self) -> Int[Tensor, ""]:
        """Number of anchors that nothing pushes; with one positive their loss is 0."""
        return (~self.negative.any(dim=1)).sum()

    @property
    def keep_rate(self) -> Float[Tensor, ""]:
        """Share of the candidates open to selection (pushed or removed) that was kept."""
        pushed, removed = self.negative.sum(), self.removed.sum()
        return pushed / (pushed + removed).clamp(min=1)


def audit(pairs: Pairs, labels: np.ndarray, hierarchy: Hierarchy, tree=None) -> pd.DataFrame:
    r"""How right the pairs were, judged by true labels (which only supervised methods saw); one row a level.

    With $y_a$, $y_c$ the labels of anchor and candidate at the level, every share is taken over all pairs of its kind:

    * ``precision`` = P($y_a = y_c$ | pulled),
    * ``false_negative_rate`` = P($y_a = y_c$ | pushed),
    * ``wasted_removals`` = P($y_a ≠ y_c$ | removed),
    * ``same_removed``, ``other_removed`` = P(removed | open to selection and $y_a = y_c$, or $y_a ≠ y_c$):
      a selection that knows something has the first well above the second.

    Random initial queue entries (item −1) have no label and are not counted, nor are anchors without any candidate
    (those that thinning took out). A mixed query counts as its anchor, a prototype has the label of the majority of its
    members.

    Args:
        pairs: what a step did.
        labels: leaf label of every item of the data set, ``[items]``.
        hierarchy: the true hierarchy.
        tree: the :class:`~hiercl.prototypes.PrototypeTree`, needed when prototypes are among the candidates.

    Returns:
        A table with the columns ``level``, ``pulled``, ``pushed``, ``removed`` (numbers of pairs), the shares above
        (NaN where there is nothing to take a share of), ``negatives_left`` (mean number per anchor) and
        ``anchors_without_negative``.

    Raises:
        ValueError: prototypes are among the candidates, and no tree is given.
    """
    return pd.DataFrame(tally(pairs, labels, hierarchy, tree)).pipe(shares, hierarchy)


def tally(pairs: Pairs, labels: np.ndarray, hierarchy: Hierarchy, tree=None) -> dict[str, list[int]]:
    """The counts behind :func:`audit`, one entry a level. Counts of several steps may be added before taking shares."""
    labels = np.asarray(labels)
    is_prototype = (pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy()
    if is_prototype.any() and (tree is None or pairs.level is None):
        raise ValueError("Prototypes are among the candidates: pass the tree that they come from (run.tree).")
    anchor_item = pairs.anchors.item.cpu().numpy()
    item = pairs.candidates.item.cpu().numpy()
    known = (item >= 0)[None, :]
    pulled = pairs.positive.cpu().numpy() > 0
    pushed = pairs.negative.cpu().numpy()
    removed = pairs.removed.cpu().numpy()
    takes_part = (pulled | pushed | removed).any(axis=1)

    counts: dict[str, list[int]] = {}
    for level in range(hierarchy.levels):
        at_level = hierarchy.ancestors[labels, level]
        candidate = at_level[np.where(is_prototype, 0, item)]
        if is_prototype.any():
            majority = tree.majority(torch.as_tensor(at_level))[pairs.level].cpu().numpy()
            candidate = np.where(is_prototype, majority[np.where(is_prototype, item, 0)], candidate)
        same = (at_level[anchor_item][:, None] == candidate[None, :]) & known
        other = ~same & known
        row = {
            "level": level,
            "anchors": takes_part.sum(),
            "pulled": (pulled & known).sum(),
            "pulled_same": (pulled & same).sum(),
            "pushed": (pushed & known).sum(),
            "pushed_same": (pushed & same).sum(),
            "removed": (removed & known).sum(),
            "removed_same": (removed & same).sum(),
            "open_same": ((pushed | removed) & same).sum(),
            "open_other": ((pushed | removed) & other).sum(),
            "negatives": pushed.sum(),
            "anchors_without_negative": (takes_part & ~pushed.any(axis=1)).sum(),
        }
        for name, value in row.items():
            counts.setdefault(name, []).append(int(value))
    return counts


def shares(counts: pd.DataFrame, hierarchy: Hierarchy) -> pd.DataFrame:
    """The table of :func:`audit` from the counts of :func:`tally`."""

    def share(part, whole):
        return part / whole.where(whole > 0)

    return pd.DataFrame(
        {
            "level": [hierarchy.level_names[level] for level in counts["level"]],
            "pulled": counts["pulled"],
            "pushed": counts["pushed"],
            "removed": counts["removed"],
            "precision": share(counts["pulled_same"], counts["pulled"]),
            "false_negative_rate": share(counts["pushed_same"], counts["pushed"]),
            "wasted_removals": share(counts["removed"] - counts["removed_same"], counts["removed"]),
            "same_removed": share(counts["removed_same"], counts["open_same"]),
            "other_removed": share(counts["removed"] - counts["removed_same"], counts["open_other"]),
            "negatives_left": share(counts["negatives"], counts["anchors"]),
            "anchors_without_negative": counts["anchors_without_negative"],
        }
    )
