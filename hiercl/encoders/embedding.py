"""embed: the features of a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders.adapter import evaluating
from hiercl.encoders.base import Encoder, half_precision_is_native
from hiercl.encoders.own import as_encoder
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_tensor
from hiercl.runtime.types import Float


@runtime_checkable
class HasEncoder(Protocol):
    """A run, or a pretrained model."""

    @property
    def encoder(self) -> Encoder: ...


Model = HasEncoder | Encoder | nn.Module | Callable[[], Any] | str
"""A run, a pretrained model, an encoder, or what :func:`as_encoder` makes one of: a module, a function, a name."""


def encoder_of(model: Model, dataset: HierarchicalDataset | None = None) -> Encoder:
    """Returns the encoder of a run or of a pretrained model, an encoder itself, or one made of a copy of a module.

    Args:
        model: any of these.
        dataset: items that it will see. Only a module, a function or a name needs them.

    Raises:
        ValueError: it has no encoder, or cannot be one.

    Example:
        >>> encoder_of(run) is run.encoder
        True
    """
    own = model if isinstance(model, Encoder) else getattr(model, "encoder", None)
    if isinstance(own, Encoder):
        return own
    if dataset is None or not (isinstance(model, str) or callable(model)):
        raise ValueError(
            f"a {type(model).__name__} has no encoder: give a run (hiercl.fit, hiercl.load_run), a hiercl.pretrained "
            "model, an encoder or a torch.nn.Module."
        )
    return as_encoder(model, dataset)


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
    home = encoder.mean.device
    device = home if device is None else torch.device(device)
    with evaluating(encoder):
        try:
            yield encoder.to(device), device
        finally:
            encoder.to(home)


@checked
def embed(
    model: Model | None, dataset: HierarchicalDataset, device: torch.device | str | None = None
) -> Float[Tensor, "items width"]:
    """Returns the backbone features (before the projection head) of every item, unaugmented and at full size.

    Args:
        model: a run, a pretrained model, an encoder, or a ``torch.nn.Module`` from items to features. For a module that
            needs pictures of another size, or normalised ones, give the result of :func:`as_encoder`.
            None for a data set of vectors: the vectors themselves.
        dataset: any data set with the model's kind of items and number of channels.
        device: where to compute; by default where the model is.

    Returns:
        float32 ``[items, width]`` on the CPU, in the order of the data set.

    Example:
        >>> hiercl.embed(run, test).shape
        torch.Size([60, 256])
    """
    if model is None:
        if dataset.modality != "vectors":
            nothing = f"there is no model, and {dataset.name!r} holds {dataset.form.noun}"
            raise ValueError(f"{nothing}: pass a model, or features [{len(dataset)}, d] where these are taken.")
        return as_tensor(dataset.items[:, 0])
    with ready(encoder_of(model, dataset), device) as (encoder, device):
        return embed_with(encoder, Feed(dataset, device), half_precision_is_native(device)).cpu()
