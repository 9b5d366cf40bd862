"""Terms: what a loss is made of. A term is similarities and pairs, and its loss follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Pairs


@dataclass(frozen=True)
class Term:
    """One term: ``loss`` is ``info_nce(logits, pairs, shared_denominator, removed_logit)``; a step adds weight × loss.

    Attributes:
        count: what its mean divides by; None: the number of these anchors that have a positive.
    """

    name: str
    logits: Tensor
    pairs: Pairs
    weight: float = 1.0
    shared_denominator: bool = False
    removed_logit: float = -math.inf
    count: Tensor | None = None
    loss: Tensor = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "loss", self.reduced("mean"))

    def reduced(self, reduction: str) -> Tensor:
        """The loss of every anchor (``"none"``) or of every positive (``"positives"``)."""
        rules = {"shared_denominator": self.shared_denominator, "removed_logit": self.removed_logit}
        return info_nce(self.logits, self.pairs, **rules, reduction=reduction, count=self.count)

    @property
    def selective(self) -> bool:
        """Whether its negatives were selected by drawing."""
        return self.pairs.keep_probability is not None


@dataclass(frozen=True)
class BlockTerm:
    """A :class:`Term` that is never there as a whole: its loss is summed over blocks of anchors.

    The similarities of A anchors and C candidates take A·C numbers, and several times that for the gradient. Here one
    block of them is made at a time, and made once more for its gradient (activation checkpointing): the same value and
    gradient, in the memory of a block. It takes longer, the more so where whole terms of several levels share their
    similarities: blocks make them for every level.

    Attributes:
        rows: gives logits and pairs of the anchors with these numbers.
        anchors: how many there are.
        block: how many at a time.
        logits, pairs: the whole of them, made when they are asked for.
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
    loss: Tensor = field(init=False)
    selective: bool = field(init=False, default=False)

    def __post_init__(self):
        parts = torch.arange(self.anchors, device=self.device).split(self.block)
        sums = [checkpoint(self._sum, rows, use_reentrant=False, preserve_rng_state=False) for rows in parts]
        loss, with_positive = (torch.stack(column).sum() for column in zip(*sums, strict=True))
        object.__setattr__(self, "loss", loss / (with_positive.clamp(min=1) if self.count is None else self.count))

    def _sum(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The summed loss of some anchors, and how many of them have a positive."""
        logits, pairs = self.rows(rows)
        loss = info_nce(logits, pairs, self.shared_denominator, self.removed_logit, reduction="none")
        return loss.sum(), len(rows) - pairs.without_positive

    @cached_property
    def _whole(self) -> tuple[Tensor, Pairs]:
        return self.rows(torch.arange(self.anchors, device=self.device))

    @property
    def logits(self) -> Tensor:
        return self._whole[0]

    @property
    def pairs(self) -> Pairs:
        return self._whole[1]
