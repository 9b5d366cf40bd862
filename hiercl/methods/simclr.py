"""SimCLR: the other view of the same item is pulled, all other views of the batch are pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from hiercl.methods.base import Batch, Method, Setting, Step, Term, check_temperature, full_precision
from hiercl.pairs import Kind, Members, Pairs


@dataclass(frozen=True)
class SimCLRConfig:
    """Settings of SimCLR."""

    temperature: float = 0.2
    """Divides the similarities."""
    head: Literal["mlp", "linear"] = "mlp"
    """Projection head."""
    dim: int = 128
    """Size of the embedding."""

    def __post_init__(self):
        check_temperature(self.temperature)


class SimCLR(Method):
    r"""SimCLR (Chen et al., 2020, arXiv 2002.05709, eq. 1).

    With the $2N$ views of a batch, $i$ and $j(i)$ two views of one item:

    $$\mathcal L = \frac{1}{2N}\sum_i -\log
      \frac{e^{\langle z_i, z_{j(i)}\rangle/\tau}}{\sum_{a\ne i} e^{\langle z_i, z_a\rangle/\tau}}$$

    Candidates: all views of the batch. Pulled: the other view. Pushed: everyone else. Left alone: itself.

    Deviations
        *Paper*: LARS, batch 4,096, ResNet-50, a head with batch norm in the reference code. *Ours*: the package's
        encoders, optimisers and MoCo v2's head, so that methods differ in their pairs alone; no factor τ/τ₀ (the
        SupContrast repository multiplies by τ/0.07).
    """

    name = "simclr"
    Config = SimCLRConfig

    def __init__(self, encoder, config: SimCLRConfig, setting: Setting):
        super().__init__(encoder, config, setting)

    def forward(self, batch: Batch) -> Step:
        first, second = (self.project(view) for view in batch.views)
        with full_precision(first):
            anchors = torch.cat([first, second])  # [2B, dim]
            candidates = torch.cat([batch.gather(first), batch.gather(second)])
            logits = anchors @ candidates.T / self.config.temperature
            items = batch.gather(batch.items[:, 0])
            return Step((Term("instance", logits, two_view_pairs(items, batch.place)),), items)


def two_view_pairs(item: torch.Tensor, own: torch.Tensor | None = None) -> Pairs:
    """Pairs of the 2B views of B items, the first views before the second ones.

    Args:
        item: of every item of the batch, ``[B]``.
        own: the places of the items that are anchors, by default all.
    """
    n = len(item)
    views = Members.of(Kind.VIEW, item.repeat(2))
    own = torch.arange(n, device=item.device) if own is None else own
    place, partner = torch.cat([own, own + n]), torch.cat([own + n, own])  # of every anchor among the candidates
    anchor = torch.arange(len(place), device=item.device)
    negative = torch.ones(len(place), 2 * n, dtype=torch.bool, device=item.device)
    negative[anchor, place] = False
    negative[anchor, partner] = False
    index = torch.stack([anchor, partner], dim=1)
    weight = torch.ones(len(place), device=item.device)
    return Pairs(Members.of(Kind.VIEW, item[own].repeat(2)), views, index, weight, negative, torch.zeros_like(negative))
