"""Terms: the parts of a loss. A term has similarities and pairs, from which its loss follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Pairs


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
        loss: the loss, made with the term.
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

    def reduced(self, reduction: Literal["mean", "none", "positives"]) -> Tensor:
        """Returns the loss of every anchor (``"none"``) or of every positive (``"positives"``)."""
        rules = {"shared_denominator": self.shared_denominator, "removed_logit": self.removed_logit}
        return info_nce(self.logits, self.pairs, **rules, reduction=reduction, count=self.count)

    @property
    def selective(self) -> bool:
        """Whether a random draw selected the negatives."""
        return self.pairs.keep_probability is not None


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
        loss = info_nce(logits, pairs, self.shared_denominator, self.removed_logit, reduction="none")
        return loss.sum(), len(rows) - pairs.without_positive

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
