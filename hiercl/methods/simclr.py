"""SimCLR: the other view of the same item is pulled, all other views of the batch are pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from hiercl.methods.base import Batch, Method, MethodConfig, Step, full_precision
from hiercl.methods.in_batch import BatchViews, Block, view_term
from hiercl.pairs import Pairs, Vectors
from hiercl.runtime.config import Above


@dataclass(frozen=True)
class SimCLRConfig(MethodConfig):
    """Settings of SimCLR."""

    temperature: Annotated[float, Above(0)] = 0.2
    """Divides the similarities (cosines); above 0. The default 0.2 and 0.1 are usual."""
    block: Block = None
    """Number of anchors whose similarities are in memory at once, at least 1; for batches of thousands. None: all."""


class SimCLR(Method):
    r"""SimCLR (Chen et al., 2020, arXiv 2002.05709, eq. 1).

    With the $2N$ views of a batch, $i$ and $j(i)$ the two views of one item:

    $$\mathcal L = \frac{1}{2N}\sum_i -\log
      \frac{e^{\langle z_i, z_{j(i)}\rangle/\tau}}{\sum_{a\ne i} e^{\langle z_i, z_a\rangle/\tau}}$$

    Candidates: all views of the batch. Pulled: the other view. Pushed: all views of other items. Left alone: the
    anchor itself.

    Deviations
        *Paper*: LARS, batch 4,096, ResNet-50; the reference code has a head with batch norm. *Ours*: the package's
        encoders and optimisers and MoCo v2's head, so that methods differ in their pairs alone. The loss has no factor
        τ/τ₀ (the SupContrast repository multiplies it by τ/0.07).

    Example:
        >>> untrained = hiercl.fit("simclr", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['instance']
    """

    name = "simclr"
    Config = SimCLRConfig

    def forward(self, batch: Batch) -> Step:
        first, second = (self.project(view) for view in batch.views)
        views = BatchViews.of(batch)
        with full_precision(first):
            anchors = torch.cat([first, second])  # [2B, dim]
            candidates = torch.cat([batch.gather(first), batch.gather(second)])

            def rows(anchor: Tensor) -> tuple[Tensor, Pairs]:
                return anchors[anchor] @ candidates.T / self.config.temperature, views.pairs(anchor)

            vectors = Vectors(anchors, (candidates,), self.config.temperature)
            term = view_term("instance", rows, views, self.config.block, vectors=vectors)
            return Step((term,), views.items)
