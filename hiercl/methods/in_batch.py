"""Contrast within a batch: the views of its items are each other's candidates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hiercl.methods.base import Batch
from hiercl.pairs import BlockTerm, Kind, Members, Pairs, Term


@dataclass(frozen=True)
class Views:
    """The 2n views of the n items of a batch, the first view of every item before the second ones.

    Anchors are those of this process, candidates those of all. Whatever asks for ``rows`` takes numbers of anchors.

    Attributes:
        item: of every item of the whole batch, ``[n]``.
        own: the places of this process's items among them, ``[B]``.
    """

    item: Tensor
    own: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Views:
        """The views of a batch."""
        return cls(batch.gather(batch.items[:, 0]), batch.place)

    @property
    def place(self) -> Tensor:
        """Where the anchors are among the candidates, ``[2B]``."""
        return torch.cat([self.own, self.own + len(self.item)])

    def pairs(
        self,
        rows: Tensor,
        label: Tensor | None = None,
        kept: Tensor | None = None,
        level: int | None = None,
    ) -> Pairs:
        """Same label is pulled, another one is pushed, itself is left alone.

        Args:
            rows: which anchors.
            label: of every item of the whole batch, ``[n]``; by default each item has one of its own (SimCLR).
            kept: which items of the whole batch take part, ``[n]``; as candidates the others are removed, as anchors
                they have no candidates at all. By default all.
            level: that the labels are of.
        """
        place = self.place[rows]
        views = self.item.repeat(2)
        of_view = (self.item if label is None else label).repeat(2)
        same = of_view[place, None] == of_view
        open_ = torch.ones_like(same)  # everyone but itself
        open_[torch.arange(len(rows), device=place.device), place] = False
        removed = torch.zeros_like(same)
        if kept is not None:
            takes_part = kept.repeat(2)
            open_ &= takes_part[place, None]
            removed = open_ & ~takes_part
            open_ &= takes_part
        index = (same & open_).nonzero()
        return Pairs(
            Members.of(Kind.VIEW, views[place]),
            Members.of(Kind.VIEW, views),
            index,
            torch.ones(len(index), device=place.device),
            ~same & open_,
            removed,
            level=level,
        )


def view_term(name: str, rows, views: Views, block: int | None, **more) -> Term | BlockTerm:
    """A term over all anchors, as a whole or in blocks; ``rows`` gives logits and pairs of some of them."""
    anchors, device = 2 * len(views.own), views.item.device
    if block is None or block >= anchors:
        return Term(name, *rows(torch.arange(anchors, device=device)), **more)
    return BlockTerm(name, rows, anchors, block, device, **more)


def check_block(block: int | None) -> None:
    """Raises ValueError for a block without anchors."""
    if block is not None and block < 1:
        raise ValueError(f"block={block}: it is a number of anchors, at least 1; None takes all at once.")
