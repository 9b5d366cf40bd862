"""Plain forms of what the package computes faster: tests compare with them, and speed.py times them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.methods import HCSC
from hiercl.methods.hcsc import HIGHEST_KEEP, LOWEST_PROTOTYPE_KEEP
from hiercl.pairs import Kind, Members, Pairs
from hiercl.runtime.seeds import Draws


def plain_removals(method: HCSC, item: Tensor, draws: Draws) -> list[Tensor]:
    """Returns the removed instances per level, ``[anchors, anchors + queue]``, from the full posterior of the queue."""
    removals = []
    allowed = method.instance_pairs(item).negative
    for level in range(method.tree.levels):
        posterior = method.tree.posterior(method.queue.keys, level)  # [queue, prototypes]
        own = method.tree.assignment[item, level]
        keep = (1 - posterior[:, own].T).clamp(0, HIGHEST_KEEP)
        keep = F.pad(keep, (len(item), 0), value=HIGHEST_KEEP)  # the keys of the batch
        drawn = draws.uniform(*keep.shape) >= keep
        removals.append(drawn & allowed)
    return removals


def plain_prototype_pairs(method: HCSC, item: Tensor, level: int, draws: Draws) -> Pairs:
    """Returns the prototype pairs of a level, from the full posterior of every prototype one level up."""
    own = method.tree.assignment[item, level]
    positive = F.one_hot(own, method.tree.sizes[level]).float()
    removed = torch.zeros_like(positive, dtype=torch.bool)
    if level > 0:
        posterior = method.tree.posterior(method.tree.centroids[level], level - 1)  # [prototypes, one level up]
        keep = (1 - posterior[:, method.tree.parent[level][own]].T).clamp(LOWEST_PROTOTYPE_KEEP, HIGHEST_KEEP)
        removed = (draws.uniform(*keep.shape) >= keep) & (positive == 0)
    prototypes = Members.of(Kind.PROTOTYPE, torch.arange(positive.shape[1], device=item.device))
    negative = (positive == 0) & ~removed
    return Pairs.from_matrices(Members.of(Kind.VIEW, item), prototypes, positive, negative, removed, level=level)
