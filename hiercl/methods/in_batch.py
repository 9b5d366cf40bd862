"""Contrast within a batch: the views of a batch are one another's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from hiercl.methods.base import Batch
from hiercl.pairs import BlockTerm, Pairs, Seen, Term, within_groups
from hiercl.runtime.config import AtLeast

Block = Annotated[int, AtLeast(1)] | None  # a setting: how many anchors a block has


@dataclass(frozen=True)
class BatchViews:
    """The 2n views of the n items of a batch: the first view of every item, then the second view of every item.

    Anchors are the 2B views of this process; candidates are the 2n views of all processes.

    Attributes:
        items: the items of the whole batch, ``[n]``.
        own: positions of this process's items among them, ``[B]``.
    """

    items: Tensor
    own: Tensor

    @classmethod
    def of(cls, batch: Batch) -> BatchViews:
        """Returns the views of a batch."""
        return cls(batch.gather(batch.items[:, 0]), batch.positions)

    @property
    def positions(self) -> Tensor:
        """Positions of the anchors among the candidates, ``[2B]``."""
        return torch.cat([self.own, self.own + len(self.items)])

    def pairs(
        self, rows: Tensor, label: Tensor | None = None, kept: Tensor | None = None, level: int | None = None, **more
    ) -> Pairs:
        """Pulls candidates with the anchor's label and pushes the others; the anchor itself is left alone.

        An item without a label is left alone as a candidate, and leaves all candidates alone as an anchor.

        Args:
            rows: numbers of the anchors, from 0 to 2B − 1.
            label: label of every item of the whole batch, ``[n]``, −1: no label; None: every item has its own label
                (SimCLR).
            kept: whether each item of the whole batch takes part, ``[n]``; None: all do. An item that does not is
                removed as a candidate, and has no candidates as an anchor.
            level: the level that the labels belong to.
            more: other attributes of the pairs.
        """
        group = self.items if label is None else label
        takes_part = None if kept is None else kept.repeat(2)
        return within_groups(group.repeat(2), self.items.repeat(2), self.positions[rows], takes_part, level, **more)


def view_term(name: str, rows, views: BatchViews, block: int | None, **more) -> Term | BlockTerm:
    """Makes a term of all anchors, as a whole or in blocks; ``rows`` gives logits and pairs of some anchors."""
    anchors, device = 2 * len(views.own), views.items.device
    more["seen"] = Seen((0, 1), (0, 1))
    if block is None or block >= anchors:
        return Term(name, *rows(torch.arange(anchors, device=device)), **more)
    return BlockTerm(name, rows, anchors, block, device, **more)
