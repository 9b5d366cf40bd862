"""Small methods in the middle of training, and batches for them."""

import torch

from hiercl import methods
from hiercl.encoders import make_encoder
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch, Supervision, TrainingInfo
from hiercl.runtime.seeds import Draws

ITEMS, BATCH = 60, 8
HIERARCHY = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1", "b2"], "c": ["c0"]})


def make(name: str, seed: int = 0, **settings):
    """Makes a small method in the middle of training. A part of its queue is filled, and its tree, if any, exists."""
    torch.manual_seed(seed)
    kind = methods.get(name)
    if name in ("moco", "hcsc", "csml"):
        settings = {"queue": 20} | settings
    if name == "hcsc" or settings.get("source") == "prototypes":
        settings = {"prototypes": (3, 6, 12), "warm_up": 0.0} | settings
    if name == "g_hmlc":
        settings = {"warm_up": 0.0} | settings
    encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3)
    config = kind.Config(**settings)
    supervision = Supervision(HIERARCHY, torch.arange(ITEMS) % 6) if kind.needs_labels(config) else None
    info = TrainingInfo(items=ITEMS, epochs=4, steps_per_epoch=7, supervision=supervision)
    method = kind(encoder, config, info)
    pictures = torch.rand(ITEMS, 3, 8, 8)

    @torch.no_grad()
    def embed(function):
        method.eval()
        z = function(pictures)
        method.train()
        return z

    method.refresh(0, embed)
    for start in (0, BATCH):
        method.after_step(method(batch_of(method, torch.arange(start, start + BATCH), seed=start)))
    return method


def batch_of(method, index, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    views = tuple(torch.rand(len(index), 3, 8, 8, generator=g) for _ in method.plan)
    return Batch(method.items(index, g), views, Draws(torch.Generator().manual_seed(seed)))
