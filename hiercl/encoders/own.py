"""as_encoder: an encoder of anything that is one: a name, a module, a run, a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiercl.datasets import HierarchicalDataset, look_up
from hiercl.encoders.adapter import AdaptedEncoder
from hiercl.encoders.base import Encoder
from hiercl.encoders.given import made_of
from hiercl.encoders.modalities import encoder_modality, encoder_names, make_encoder
from hiercl.encoders.named import is_library_name, library_network, without_classifier

Values = float | Sequence[float] | Tensor


def as_encoder(
    encoder: str | nn.Module | Callable[[], Any] | Any,
    dataset: HierarchicalDataset,
    resize: int | None = None,
    mean: Values | None = None,
    std: Values | None = None,
    norm: str = "batch",
) -> Encoder:
    """Makes an encoder of anything that is one. What is given does not change: a module is copied.

    :func:`hiercl.embed` and :func:`hiercl.evaluate` take the result, and they take modules as they are as well: this
    function is there for ``resize``, ``mean`` and ``std``. :func:`hiercl.fit` has settings of these names.

    Args:
        encoder: one of these:

            * a name of ours (:func:`make_encoder`);
            * ``"torchvision:NAME"`` or ``"timm:NAME"``: an untrained network of that package, without its classifier;
            * a ``torch.nn.Module`` from pictures ``[b, c, h, w]`` to vectors ``[b, d]``, maps ``[b, d, h, w]`` or
              tokens ``[b, t, d]``. Clouds come as ``[b, 3, p, 1]``, ``[b, 3, p]`` or ``[b, p, 3]``, whichever the
              module takes, and vectors as ``[b, d]``. A classifier of torchvision or timm is taken off the copy; a
              module of your own is used as it is;
            * a run, a pretrained model, or an :class:`Encoder`;
            * a function without arguments that makes one of these.
        dataset: items that it will see. One item gives the shape for the dry pass.
        resize: side in pixels that pictures are brought to before they are normalised (bicubic, antialiased).
        mean: what is subtracted from every channel, one number or one for each channel. By default: an encoder of
            hiercl keeps its own; an encoder made by a name takes the mean of the data set; a module gets the items as
            they are, pictures in [0, 1].
        std: what every channel is divided by; the default is like that of ``mean``.
        norm: for a name of ours, see :func:`make_encoder`.

    Returns:
        The encoder, on the device of the module. Its line ``found`` says what it is.

    Raises:
        ValueError: an unknown name or a package that is missing; a module that fails on such items or gives no
            features; an encoder of other items, of another number of channels, or a norm that it does not have.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten())
        >>> encoder = hiercl.encoders.as_encoder(net, test, resize=16, mean=0.5, std=0.25)
        >>> hiercl.embed(encoder, test).shape
        torch.Size([60, 784])
    """
    return make_any_encoder(
        encoder,
        map_shape(dataset),
        dataset.modality,
        lambda: dataset.form.mean_std(dataset.items, dataset.name),
        resize,
        mean,
        std,
        norm,
    )


def map_shape(dataset: HierarchicalDataset) -> tuple[int, int, int]:
    """Returns channels, height and width of the map of an item, as encoders take it.

    Example:
        >>> map_shape(train)
        (3, 32, 32)
    """
    channels, height, width = dataset.form.to_map(look_up(dataset.items, torch.zeros(1, dtype=torch.long))).shape[1:]
    return channels, height, width


def make_any_encoder(
    encoder: Any,
    shape: tuple[int, int, int],
    modality: str,
    measured: Callable[[], tuple[Values, Values]],
    resize: int | None = None,
    mean: Values | None = None,
    std: Values | None = None,
    norm: str = "batch",
) -> Encoder:
    """Does what :func:`as_encoder` does, without the data set.

    Args:
        encoder: see :func:`as_encoder`.
        shape: channels, height and width of the map of an item.
        modality: the kind of items.
        measured: gives mean and std of the items.
        resize: see :func:`as_encoder`.
        mean: see :func:`as_encoder`.
        std: see :func:`as_encoder`.
        norm: see :func:`as_encoder`.

    Example:
        >>> make_any_encoder("convnet", (1, 28, 28), "images", lambda: (0.5, 0.25)).mean
        tensor([0.5000])
    """
    channels = shape[0]

    def normalisation(default: tuple[Values, Values]) -> tuple[list[float], list[float]]:
        chosen = (own if given is None else given for given, own in zip((mean, std), default, strict=True))
        first, second = (_each(value, channels) for value in chosen)
        return first, second

    thing = made_of(encoder)
    if isinstance(thing, str) and not is_library_name(thing):
        _check_kind(thing, encoder_modality(thing).name, modality)
        return make_encoder(thing, *normalisation(measured()), channels, norm, resize)
    if norm not in ("batch", getattr(thing, "norm", "batch")):
        raise ValueError(f"norm={norm!r} is for encoders that hiercl makes: this one has its own, leave norm out.")
    if isinstance(thing, Encoder):
        _check_kind("this encoder", thing.modality, modality)
        if len(thing.mean) != channels:
            raise ValueError(f"this encoder takes items of {len(thing.mean)} channels, and these have {channels}.")
        for buffer, value in {thing.mean: mean, thing.std: std}.items():
            if value is not None:
                buffer.copy_(torch.tensor(_each(value, channels)))
        thing.resize = thing.resize if resize is None else resize
        if not isinstance(thing, AdaptedEncoder):
            return thing
        made = AdaptedEncoder(  # its stages depend on the size of the items
            thing.net, shape, thing.mean, thing.std, modality, thing.resize, thing.about, thing.left_out
        )
        made.origin = thing.origin
        return made
    if isinstance(thing, str):
        _check_kind(thing, "images", modality)
        net, left_out = library_network(thing, channels)
    else:
        net, left_out = without_classifier(thing)
    pair = normalisation(measured() if isinstance(thing, str) else (0.0, 1.0))
    made = AdaptedEncoder(net, shape, *pair, modality, resize, left_out=left_out)
    made.origin = thing if isinstance(thing, str) else None
    return made


def _each(value: Values, channels: int) -> list[float]:
    """Returns one number for each channel."""
    numbers = torch.as_tensor(value, dtype=torch.float32).flatten().tolist()
    if len(numbers) not in (1, channels):
        raise ValueError(f"mean and std need one number, or {channels}, one for each channel; got {numbers}.")
    return numbers * (channels // len(numbers))


def _check_kind(name: str, takes: str, modality: str) -> None:
    if takes != modality:
        known = ", ".join(encoder_names(modality))
        raise ValueError(f"{name} takes {takes}, and the items are {modality}: choose encoder= from {known}.")
