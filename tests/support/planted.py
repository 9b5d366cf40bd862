"""Methods whose embeddings are given, so that only their loss is left."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hiercl import methods
from hiercl.encoders import make_encoder
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch, Supervision, TrainingInfo
from hiercl.runtime.processes import ALONE
from hiercl.runtime.seeds import Draws

ITEMS, BATCH, DIM = 40, 9, 5

HIERARCHIES = {
    "one level": Hierarchy.from_dict(["a", "b", "c"]),
    "two levels": Hierarchy.from_dict({"a": ["a0", "a1", "a2"], "b": ["b0", "b1"]}),
    "three levels": Hierarchy.from_dict({"a": {"x": ["0", "1"], "y": ["2", "3"]}, "b": {"x": ["0"], "z": ["1", "2"]}}),
    "uneven": Hierarchy.from_dict({"a": {"x": ["0", "1", "2"], "y": None}, "b": None, "c": {"z": ["0", "1"]}}),
}


def long_tailed(hierarchy: Hierarchy, items: int = ITEMS, seed: int = 0) -> np.ndarray:
    """Draws leaf labels. Each is about two thirds as frequent as the one before."""
    share = 0.65 ** np.arange(hierarchy.n_leaves)
    return np.random.default_rng(seed).choice(hierarchy.n_leaves, items, p=share / share.sum())


def planted(name: str, hierarchy: Hierarchy | None, labels=None, **settings):
    """Makes a method whose views are its embeddings before normalising. Only its loss is left."""
    torch.manual_seed(0)
    kind = methods.get(name)
    supervision = None if hierarchy is None else Supervision(hierarchy, torch.as_tensor(labels))
    info = TrainingInfo(ITEMS if labels is None else len(labels), epochs=4, steps_per_epoch=7, supervision=supervision)
    method = kind(make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3), kind.Config(**settings), info)
    method.encoder, method.head = nn.Identity(), nn.Identity()
    method.register_parameter("unused", nn.Parameter(torch.zeros(())))  # a module without any has no device
    if hasattr(method, "coarse_heads"):
        method.coarse_heads = nn.ModuleList(nn.Linear(DIM, DIM) for _ in method.coarse_heads)
    return method


def random_batch(seed: int = 0, items: int = ITEMS, batch: int = BATCH, dim: int = DIM) -> Batch:
    """Draws items in random order, and two random views of each."""
    g = torch.Generator().manual_seed(seed)
    return batch_of(torch.randperm(items, generator=g)[:batch], torch.randn(2, batch, dim, generator=g))


def batch_of(items: torch.Tensor, views: torch.Tensor, processes=ALONE) -> Batch:
    return Batch(items[:, None], tuple(views), Draws(torch.Generator().manual_seed(0), processes))


def with_gradient(method, batch: Batch) -> tuple[float, torch.Tensor]:
    """Returns the loss and its gradient with respect to the views."""
    views = torch.stack(batch.views).requires_grad_()
    loss = method(Batch(batch.items, tuple(views), batch.draws)).loss
    loss.backward()
    return loss.item(), views.grad


def unit(batch: Batch) -> torch.Tensor:
    return F.normalize(torch.cat(batch.views), dim=1)
