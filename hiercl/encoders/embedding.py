"""embed: the features of a whole data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders.base import Encoder, half_precision_is_native
from hiercl.runtime.types import Float


@runtime_checkable
class HasEncoder(Protocol):
    """A run, or a pretrained model."""

    @property
    def encoder(self) -> Encoder: ...


Model = HasEncoder | Encoder
"""A run, a pretrained model or an encoder."""


def encoder_of(model: Model) -> Encoder:
    """Returns the encoder of a run or of a pretrained model; an encoder is given back.

    Example:
        >>> encoder_of(run) is run.encoder
        True
    """
    return model if isinstance(model, Encoder) else model.encoder


@contextmanager
def ready(encoder: Encoder, device: torch.device | str | None = None) -> Iterator[tuple[Encoder, torch.device]]:
    """Puts an encoder in eval mode on a device, for the time of a ``with`` block; afterwards it is as it was.

    Args:
        encoder: the encoder.
        device: where it is wanted; by default where it is.

    Example:
        >>> with ready(run.encoder) as (encoder, device):
        ...     encoder.training
        False
    """
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
    """Returns the backbone features (before the projection head) of every item, unaugmented and at full size.

    Args:
        model: a run, a pretrained model, or an encoder.
        dataset: any data set with the model's kind of items and number of channels.
        device: where to compute; by default where the model is.

    Returns:
        float32 ``[items, width]`` on the CPU, in the order of the data set.

    Example:
        >>> hiercl.embed(run, test).shape
        torch.Size([60, 256])
    """
    with ready(encoder_of(model), device) as (encoder, device):
        return embed_with(encoder, Feed(dataset, device), half_precision_is_native(device)).cpu()
