"""Compares runs."""

import torch


def state_of(run):
    return {k: v for k, v in run.method.state_dict().items() if isinstance(v, torch.Tensor)}


def same(run, other) -> bool:
    a, b = state_of(run), state_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
