"""Pairs: for every anchor, which candidates are pulled, pushed, left alone or removed.

Every contrastive method answers this one question. So every method of this package makes this one value, one loss
(:func:`hiercl.info_nce`) reads it, and one :func:`audit` compares it with true labels.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.arrays import Array, as_ids, as_tensor
from hiercl.runtime.given import given_array
from hiercl.runtime.types import Bool, Float, Int

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TYPES = {  # of the tensors of pairs
    "positive_index": (torch.int64,),
    "positive_weight": FLOATS,
    "negative": (torch.bool,),
    "removed": (torch.bool,),
    "anchor_weight": FLOATS,
    "candidate_weight": FLOATS,
}


class Kind(IntEnum):
    """What an anchor or a candidate is."""

    VIEW = 0  # an augmented view, embedded with gradient
    KEY = 1  # a view that the momentum encoder embedded in this step
    QUEUE = 2  # a key of an earlier step
    PROTOTYPE = 3  # the centre of a cluster


@dataclass(frozen=True)
class Members:
    """Who the anchors (or the candidates) are, so that a picture can always be shown.

    Attributes:
        kind: a :class:`Kind` for each member.
        item: index of the item in the data set; −1 for a random first queue entry; for a prototype, its number in its
            level.
    """

    kind: Int[Tensor, " members"]
    item: Int[Tensor, " members"]

    def __post_init__(self):
        kind, item = as_ids(self.kind), as_ids(self.item)
        if item.ndim != 1 or kind.shape != item.shape:
            raise ValueError(f"kinds are {list(kind.shape)} and items {list(item.shape)}: give one of each, [members].")
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "item", item)

    @classmethod
    def of(cls, kind: Kind, item: Int[Array, " members"]) -> "Members":
        """Returns members that all have one kind."""
        if not isinstance(kind, Kind):
            raise ValueError(f"kind={kind!r}: give a member of hiercl.pairs.Kind, such as Kind.VIEW.")
        item = as_ids(item)
        return cls(torch.full_like(item, int(kind)), item)

    def __add__(self, other: "Members") -> "Members":
        return Members(torch.cat([self.kind, other.kind]), torch.cat([self.item, other.item]))

    def __len__(self) -> int:
        return len(self.item)

    def to(self, device: torch.device | str) -> "Members":
        """Returns the members on another device."""
        return Members(self.kind.to(device), self.item.to(device))


@dataclass(frozen=True)
class Pairs:
    """The roles of C candidates for A anchors. It holds no similarities, so several losses can share one selection.

    A candidate is pulled (positive), pushed (negative), removed (taken out by selection), or left alone by rule if it
    is none of these. A candidate has one role for an anchor.

    Positives are few, so they are stored as a list; :attr:`positive` returns them as a matrix.

    Attributes:
        anchors: who the anchors are.
        candidates: who the candidates are.
        positive_index: (anchor, candidate) of every positive.
        positive_weight: weight of every positive, above 0; the loss divides by the sum of an anchor's weights.
        negative: which candidates are pushed.
        removed: which candidates the selection took out of the negatives.
        keep_probability: probability with which the selection keeps each candidate; None without a selection.
        level: level that the pairs belong to: of the class hierarchy, or of the prototype tree that was used for the
            selection and that prototypes among the candidates come from.
        anchor_weight: weight of every anchor in the mean, at least 0 and on average 1; None: 1.
        candidate_weight: weight of every candidate in the denominators, above 0; None: 1.

    Raises:
        ValueError: types or shapes that do not fit, a weight out of its range, or a candidate with two roles.

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
    anchor_weight: Float[Tensor, " anchors"] | None = None
    candidate_weight: Float[Tensor, "anchors candidates"] | None = None

    def __post_init__(self):
        for name in ("anchors", "candidates"):
            if not isinstance(getattr(self, name), Members):
                raise ValueError(
                    f"{name} are a {type(getattr(self, name)).__name__}: give hiercl.pairs.Members.of(...)."
                )
        shape = (len(self.anchors), len(self.candidates))
        for name, types in TYPES.items():
            part = getattr(self, name)
            if part is not None and (not isinstance(part, Tensor) or part.dtype not in types):
                found = f"a tensor of {part.dtype}" if isinstance(part, Tensor) else f"a {type(part).__name__}"
                raise ValueError(f"{name} is {found}: give a tensor of {types[0]}.")
        if self.negative.shape != shape or self.removed.shape != shape:
            raise ValueError(
                f"{shape[0]} anchors and {shape[1]} candidates need masks of shape {shape}; negative has "
                f"{tuple(self.negative.shape)}, removed {tuple(self.removed.shape)}."
            )
        index, positives = self.positive_index, self.positive_weight
        if index.ndim != 2 or index.shape[1] != 2 or positives.shape != index.shape[:1]:
            given = f"positive_index is {list(index.shape)} and positive_weight {list(positives.shape)}"
            raise ValueError(f"{given}: give (anchor, candidate) of every positive, [positives, 2], and its weight.")
        for name, fits in (("anchor_weight", shape[:1]), ("candidate_weight", shape)):
            weight = getattr(self, name)
            if weight is not None and weight.shape != fits:
                raise ValueError(f"{name} has the shape {tuple(weight.shape)}: it must be {fits}.")
        row, column = index.T
        try:
            twice = (self.negative & self.removed).any() | (
                self.negative[row, column] | self.removed[row, column]
            ).any()
        except IndexError as error:
            raise ValueError(f"positive_index names a pair that is none of the {shape[0]} x {shape[1]}.") from error
        outside = (index < 0).any()
        for weight, zero in ((positives, False), (self.candidate_weight, False), (self.anchor_weight, True)):
            if weight is not None:
                form = torch.finfo(weight.dtype)
                outside = outside | (weight.clamp(0.0 if zero else form.tiny, form.max) != weight).any()  # or it is NaN
        if twice | outside:  # one test for all, since on CUDA every test waits for the device
            if (index < 0).any():
                raise ValueError("positive_index holds a number below 0: anchors and candidates count from 0.")
            if outside:
                ranges = "positive_weight and candidate_weight must be above 0 and anchor_weight at least 0, all finite"
                raise ValueError(f"A weight is NaN or not in its range: {ranges}.")
            raise ValueError("A candidate is two of pulled, pushed and removed for one anchor; a pair has one role.")

    @classmethod
    def from_matrices(
        cls,
        anchors: Members,
        candidates: Members,
        positive: Float[Array, "anchors candidates"],
        negative: Bool[Array, "anchors candidates"] | None = None,
        removed: Bool[Array, "anchors candidates"] | None = None,
        **more,
    ) -> "Pairs":
        """Makes pairs from a matrix of positive weights.

        Args:
            anchors: who the anchors are.
            candidates: who the candidates are.
            positive: weight of every pair, NumPy or torch; 0: not pulled.
            negative: which candidates are pushed; None: none.
            removed: which candidates are removed; None: none.
            more: other attributes.

        Raises:
            ValueError: as for :class:`Pairs`.
        """
        if not isinstance(positive, Tensor) or not positive.is_floating_point():
            positive = as_tensor(positive, "positive weights")
        if positive.ndim != 2:
            raise ValueError(f"positive weights are {list(positive.shape)}: pass a matrix, [anchors, candidates].")
        index = positive.nonzero()
        masks = [torch.zeros_like(positive, dtype=torch.bool) if mask is None else mask for mask in (negative, removed)]
        negative, removed = (
            mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(given_array(mask, "masks")))
            for mask in masks
        )
        return cls(anchors, candidates, index, positive[index[:, 0], index[:, 1]], negative, removed, **more)

    def to(self, device: torch.device | str) -> "Pairs":
        """Returns the pairs on another device; where they are there already, the very same."""
        if self.negative.device == torch.device(device):
            return self
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Pairs(**{name: part.to(device) if hasattr(part, "to") else part for name, part in parts.items()})

    @property
    def positive(self) -> Float[Tensor, "anchors candidates"]:
        """Positive weights as a matrix; 0 where a candidate is not pulled."""
        matrix = self.positive_weight.new_zeros(self.negative.shape)
        matrix[self.positive_index[:, 0], self.positive_index[:, 1]] = self.positive_weight
        return matrix

    @property
    def without_positive(self) -> Int[Tensor, ""]:
        """Number of anchors without a positive; the mean loss leaves them out."""
        return (torch.bincount(self.positive_index[:, 0], minlength=len(self.anchors)) == 0).sum()

    @property
    def without_negative(self) -> Int[Tensor, ""]:
        """Number of anchors without a negative; with one positive their loss is 0."""
        return (~self.negative.any(dim=1)).sum()

    @property
    def keep_rate(self) -> Float[Tensor, ""]:
        """Share of the candidates open to selection (pushed or removed) that the selection kept."""
        pushed, removed = self.negative.sum(), self.removed.sum()
        return pushed / (pushed + removed).clamp(min=1)
