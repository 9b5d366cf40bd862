"""Losses written as slow loops, one number at a time. The fast ones are compared with them."""

import math
from functools import cache

import torch

from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch


def by_loop(logits, pairs, shared_denominator, removed_logit):
    """Computes the equation of info_nce, one number at a time."""
    losses = []
    weights = pairs.positive
    for a in range(len(logits)):
        positives = [c for c in range(logits.shape[1]) if weights[a, c] > 0]
        if not positives:
            continue
        rest = sum(math.exp(logits[a, c]) for c in range(logits.shape[1]) if pairs.negative[a, c])
        if removed_logit > -math.inf:
            rest += int(pairs.removed[a].sum()) * math.exp(removed_logit)
        together = sum(math.exp(logits[a, p]) for p in positives)
        total = sum(float(weights[a, p]) for p in positives)
        loss = 0.0
        for p in positives:
            denominator = rest + (together if shared_denominator else math.exp(logits[a, p]))
            loss += float(weights[a, p]) / total * (math.log(denominator) - float(logits[a, p]))
        losses.append(loss)
    return sum(losses) / len(losses)


def pair_losses(z: torch.Tensor, path_of: list[tuple], taking_part: list[int], temperature: float) -> dict:
    """Returns −log softmax of every positive of every anchor: ``{anchor: {positive: loss}}``.

    ``z``: the views of n items, first views first. ``path_of``: of every item, the names down to the level.
    """
    n = len(path_of)
    views = [v for v in range(2 * n) if v % n in taking_part]
    similar = (z.double() @ z.double().T / temperature).tolist()
    losses = {}
    for i in views:
        total = sum(math.exp(similar[i][a]) for a in views if a != i)
        positives = [p for p in views if p != i and path_of[p % n] == path_of[i % n]]
        losses[i] = {p: math.log(total) - similar[i][p] for p in positives}
    return losses


def mean_over_anchors(losses: dict) -> float:
    return sum(sum(of_anchor.values()) / len(of_anchor) for of_anchor in losses.values()) / len(losses)


@cache
def leaf_paths(hierarchy: Hierarchy) -> list[tuple]:
    return [hierarchy.path(leaf) for leaf in range(hierarchy.n_leaves)]


def paths(hierarchy: Hierarchy, labels, batch: Batch, level: int) -> list[tuple]:
    """Returns the names from the top level to this one, for every item of a batch."""
    return [leaf_paths(hierarchy)[labels[item]][: level + 1] for item in batch.items[:, 0].tolist()]
