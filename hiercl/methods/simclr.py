"""SimCLR: the other view of the same item is pulled, all other views of the batch are pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hiercl.methods.base import Batch, Method, Step, check_temperature, full_precision
from hiercl.methods.in_batch import Views, check_block, view_term
from hiercl.pairs import Pairs


@dataclass(frozen=True)
class SimCLRConfig:
    """Settings of SimCLR."""

    temperature: float = 0.2
    """Divides the similarities."""
    head: Literal["mlp", "linear"] = "mlp"
    """Projection head."""
    dim: int = 128
    """Size of the embedding."""
    block: int | None = None
    """Anchors whose similarities are held at once; for batches of thousands. By default all of them."""

    def __post_init__(self):
        check_temperature(self.temperature)
        check_block(self.block)


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

    def forward(self, batch: Batch) -> Step:
        first, second = (self.project(view) for view in batch.views)
        views = Views.of(batch)
        with full_precision(first):
            anchors = torch.cat([first, second])  # [2B, dim]
            candidates = torch.cat([batch.gather(first), batch.gather(second)])

            def rows(number: Tensor) -> tuple[Tensor, Pairs]:
                return anchors[number] @ candidates.T / self.config.temperature, views.pairs(number)

            return Step((view_term("instance", rows, views, self.config.block),), views.item)
