"""embed: the features of a whole data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders.base import Encoder
from hiercl.encoders.precision import half_precision_is_native
from hiercl.runtime.types import Float


@runtime_checkable
class HasEncoder(Protocol):
    """A run, or a pretrained model."""

    @property
    def encoder(self) -> Encoder: ...


Model = HasEncoder | Encoder


def encoder_of(model: Model) -> Encoder:
    """The encoder of a run or of a pretrained model; an encoder itself."""
    return model if isinstance(model, Encoder) else model.encoder


@contextmanager
def ready(encoder: Encoder, device: torch.device | str | None = None) -> Iterator[tuple[Encoder, torch.device]]:
    """The encoder in eval mode, on this device (by default where it is); afterwards it is as it was."""
    home, was_training = encoder.mean.device, encoder.training
    device = home if device is None else torch.device(device)
    encoder.to(device).eval()
    try:
        yield encoder, device
    finally:
        encoder.to(home).train(was_training)


def embed(
    model: Model, dataset: HierarchicalDataset, device: torch.device | str | None = None
) -> Float[Tensor, "items width"]:
    """Backbone features (before the projection head) of every item, unaugmented and at full size.

    Args:
        model: a run, a pretrained model, or an encoder.
        dataset: any data set of the model's kind of items, with its number of channels.
        device: where to compute; by default where the model is.

    Returns:
        float32 on the CPU, in the order of the data set.

    Example:
        >>> features = hiercl.embed(run, test)
    """
    with ready(encoder_of(model), device) as (encoder, device):
        return embed_with(encoder, Feed(dataset, device), half_precision_is_native(device)).cpu()
