"""Terms: the parts of a loss. A term has similarities and pairs, from which its loss follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Pairs
from hiercl.runtime.arrays import Array, as_tensor, unit_rows
from hiercl.runtime.config import Above, check_value
from hiercl.runtime.errors import check_directions
from hiercl.runtime.types import Float


class Seen(NamedTuple):
    """Which views of the batch the anchors and the candidates of a term are, one view after the other.

    A view is named by its number in the method's plan. The numbers after those of the plan are the views that the
    method makes itself, such as mixtures.

    Attributes:
        anchors: views that the anchors are.
        candidates: views that the first candidates are; those after them (a queue, prototypes) are none of the batch.

    Example:
        >>> Seen((0,), (1,))  # MoCo: the first view makes the queries, the second the keys
        Seen(anchors=(0,), candidates=(1,))
    """

    anchors: tuple[int, ...]
    candidates: tuple[int, ...]


@dataclass(frozen=True)
class Vectors:
    """The unit vectors whose cosines, divided by a temperature, are the logits of a term.

    A step keeps them as they are, without a copy. :func:`~hiercl.pairs.forces` reads them.

    Attributes:
        anchors: vectors of the anchors, ``[anchors, dim]``; ``[anchors, patches, dim]`` where every patch of an anchor
            is compared with the most similar patch of a candidate.
        candidates: vectors of the candidates in the same form, in one part or in several, one after the other.
        divisor: the temperature, or one for each candidate, ``[candidates]``.
    """

    anchors: Tensor
    candidates: tuple[Tensor, ...]
    divisor: float | Tensor


@dataclass(frozen=True)
class Term:
    """One part of the loss: a step adds weight × ``info_nce(logits, pairs, shared_denominator, removed_logit)``.

    Attributes:
        name: name of the term, in the history and in explorers.
        logits: similarities divided by the temperature, ``[anchors, candidates]``.
        pairs: role of every candidate.
        weight: factor of the loss.
        shared_denominator: whether positives compete with one another.
        removed_logit: logit of removed candidates.
        count: what the mean divides by; None: the number of anchors that have a positive.
        vectors: what the logits are made of; None: unknown.
        seen: which views of the batch its members are, for plots. None: views of the batch are views 0, 1, ... of the
            plan, and keys are view 1.
        loss: the loss, made with the term.
    """

    name: str
    logits: Tensor
    pairs: Pairs
    weight: float = 1.0
    shared_denominator: bool = False
    removed_logit: float = -math.inf
    count: Tensor | None = None
    vectors: Vectors | None = field(default=None, repr=False)
    seen: Seen | None = None
    loss: Tensor = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "loss", self.reduced("mean"))

    @classmethod
    def of(
        cls,
        z: Float[Array, "anchors dim"],
        pairs: Pairs,
        temperature: float = 0.1,
        candidates: Float[Array, "candidates dim"] | None = None,
        name: str = "pairs",
        shared_denominator: bool = True,
    ) -> Term:
        """Makes the term of embeddings: their cosines, divided by the temperature, with the roles of these pairs.

        Everything is computed in float32 (float64 stays), also within autocast, with gradient.

        Args:
            z: embeddings of the anchors, of any length above 0.
            pairs: the role of every pair; they are moved to the device of the embeddings.
            temperature: divides the cosines; above 0.
            candidates: embeddings of the candidates; by default those of the anchors.
            name: name of the term, for plots.
            shared_denominator: whether positives compete with one another, as in SupCon.

        Raises:
            ValueError: embeddings that are not one row for each anchor (and candidate), or a temperature of 0 or less.
                On the CPU also a row that is not finite or of length zero. Elsewhere this check would wait for the
                device: there a row that is not finite makes the loss NaN, and one of length zero has the cosine 0.

        Example:
            >>> term = Term.of(features, hiercl.pairs.by_label(test.labels))
            >>> figure = hiercl.plot.pairs(term, test)
        """
        if not isinstance(pairs, Pairs):
            found = f"pairs are a {type(pairs).__name__}"
            raise ValueError(
                f"{found}: give hiercl.Pairs, such as hiercl.pairs.by_label(labels), of one level at a time."
            )
        # A learned temperature is a tensor of one number, and keeps its gradient.
        number = temperature.item() if isinstance(temperature, Tensor) and temperature.numel() == 1 else temperature
        check_value("temperature", number, Annotated[float, Above(0)])
        both = [rows if isinstance(rows, Tensor) else as_tensor(rows) for rows in (z, candidates) if rows is not None]
        for rows, members in ((both[0], pairs.anchors), (both[-1], pairs.candidates)):
            if rows.ndim != 2 or len(rows) != len(members):
                shape = f"embeddings are {list(rows.shape)}, and the pairs have {len(members)} of them"
                raise ValueError(f"{shape}: pass [{len(members)}, dim], one row for each label or item of the pairs.")
        if both[0].shape[1] != both[-1].shape[1] or both[0].shape[1] == 0:
            lengths = f"{both[0].shape[1]} numbers, those of candidates {both[-1].shape[1]}"
            raise ValueError(f"embeddings of anchors have {lengths}: both need as many, at least one.")
        for rows in both:
            if rows.device.type == "cpu":  # elsewhere a check waits for the device
                check_directions(rows)
        with torch.autocast(both[0].device.type, enabled=False):
            double = torch.float64 if any(rows.dtype == torch.float64 for rows in both) else torch.float32
            unit = [unit_rows(rows.to(double)) for rows in both]
            logits = unit[0] @ unit[-1].T / temperature
            vectors = Vectors(unit[0], (unit[-1],), temperature)
            pairs = pairs.to(logits.device)
            return cls(name, logits, pairs, shared_denominator=shared_denominator, vectors=vectors)

    def reduced(self, reduction: Literal["mean", "none", "positives"]) -> Tensor:
        """Returns the loss of every anchor (``"none"``) or of every positive (``"positives"``)."""
        rules = {"shared_denominator": self.shared_denominator, "removed_logit": self.removed_logit}
        return info_nce(self.logits, self.pairs, **rules, reduction=reduction, count=self.count)

    @property
    def selective(self) -> bool:
        """Whether a random draw selected the negatives."""
        return self.pairs.keep_probability is not None


def contrast(
    z: Float[Tensor, "anchors dim"],
    pairs: Pairs,
    temperature: float = 0.1,
    candidates: Float[Tensor, "candidates dim"] | None = None,
    shared_denominator: bool = True,
) -> Float[Tensor, ""]:
    r"""Computes the contrastive loss of embeddings, for a training loop of one's own.

    With $z$ scaled to unit length, $s_{ac} = \langle z_a, z_c\rangle/\tau$ and the sums of
    :func:`~hiercl.pairs.info_nce`. With :func:`~hiercl.pairs.by_label` it is SupCon (Khosla et al. 2020, eq. 2), with
    :func:`~hiercl.pairs.by_item` it is SimCLR (Chen et al. 2020, eq. 1). The same call of :meth:`Term.of` gives the
    term, which plots and :func:`hiercl.audit` read.

    Args:
        z: embeddings of the anchors, of any length above 0, in any float type.
        pairs: who is pulled and pushed.
        temperature: τ, above 0.
        candidates: embeddings of the candidates; by default those of the anchors.
        shared_denominator: whether positives compete with one another. With one positive it makes no difference.

    Returns:
        The loss in nats, a scalar: the mean over the anchors that have a positive; 0 if there is none.

    Raises:
        ValueError: embeddings that do not fit the pairs, or a temperature of 0 or less. On the CPU also a row that is
            not finite or of length zero. Elsewhere this check would wait for the device: there a row that is not finite
            makes the loss NaN, and one of length zero has the cosine 0.

    Example:
        >>> z, labels = torch.randn(8, 16, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
        >>> contrast(z, hiercl.pairs.by_label(labels)).backward()
    """
    return Term.of(z, pairs, temperature, candidates, shared_denominator=shared_denominator).loss


@dataclass(frozen=True)
class BlockTerm:
    """A :class:`Term` whose loss is summed over blocks of anchors, to save memory.

    The similarities of A anchors and C candidates are A·C numbers, and the gradient needs several times as many. This
    term makes one block at a time, and makes it again for the gradient (activation checkpointing). Value and gradient
    are the same, and the memory is that of one block. It takes longer, in particular with several levels: whole terms
    can share their similarities, while blocks make them again for every level.

    Attributes:
        name: name of the term.
        rows: returns logits and pairs of the anchors with these numbers.
        anchors: number of anchors.
        block: number of anchors in a block.
        device: where the anchors are.
        weight: factor of the loss.
        shared_denominator: whether positives compete with one another.
        removed_logit: logit of removed candidates.
        count: what the mean divides by; None: the number of anchors that have a positive.
        vectors: what the logits are made of; None: unknown.
        seen: as in :class:`Term`.
        loss: the loss, made with the term.
        selective: always False: blocks have no selection.
    """

    name: str
    rows: Callable[[Tensor], tuple[Tensor, Pairs]]
    anchors: int
    block: int
    device: torch.device
    weight: float = 1.0
    shared_denominator: bool = False
    removed_logit: float = -math.inf
    count: Tensor | None = None
    vectors: Vectors | None = field(default=None, repr=False)
    seen: Seen | None = None
    loss: Tensor = field(init=False)
    selective: bool = field(init=False, default=False)

    def __post_init__(self):
        blocks = torch.arange(self.anchors, device=self.device).split(self.block)
        sums = [checkpoint(self._sum, rows, use_reentrant=False, preserve_rng_state=False) for rows in blocks]
        loss, with_positive = (torch.stack(column).sum() for column in zip(*sums, strict=True))
        object.__setattr__(self, "loss", loss / (with_positive.clamp(min=1) if self.count is None else self.count))

    def _sum(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the summed loss of some anchors, and how many of them have a positive."""
        logits, pairs = self.rows(rows)
        summed = info_nce(logits, pairs, self.shared_denominator, self.removed_logit, count=logits.new_ones(()))
        return summed, len(rows) - pairs.without_positive

    @cached_property
    def _whole(self) -> tuple[Tensor, Pairs]:
        return self.rows(torch.arange(self.anchors, device=self.device))

    @property
    def logits(self) -> Tensor:
        """The logits of all anchors, made on first use."""
        return self._whole[0]

    @property
    def pairs(self) -> Pairs:
        """The pairs of all anchors, made on first use."""
        return self._whole[1]


Terms = tuple[Term | BlockTerm, ...]
