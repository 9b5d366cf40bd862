"""Small and random pairs."""

from dataclasses import replace

import torch

from hiercl.pairs.pairs import Kind, Members, Pairs


def members(n: int, kind: Kind = Kind.VIEW) -> Members:
    return Members.of(kind, torch.arange(n))


def random_pairs(seed: int = 0, anchors: int = 6, candidates: int = 11) -> Pairs:
    g = torch.Generator().manual_seed(seed)
    role = torch.randint(0, 4, (anchors, candidates), generator=g)
    weight = torch.rand(anchors, candidates, generator=g) + 0.1
    items = torch.randint(-1, 9, (candidates,), generator=g)
    return Pairs.from_matrices(
        members(anchors), Members.of(Kind.QUEUE, items), weight * (role == 0), role == 1, role == 2
    )


def with_weights(pairs: Pairs, seed: int = 0) -> Pairs:
    """The same pairs, with random weights of anchors and of candidates."""
    g = torch.Generator().manual_seed(seed)
    weights = {"anchor_weight": torch.rand(len(pairs.anchors), generator=g) + 0.5}
    weights["candidate_weight"] = torch.rand(pairs.negative.shape, generator=g) + 0.2
    return replace(pairs, **weights)
