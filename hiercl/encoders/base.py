"""Encoder: items to feature maps, stage by stage, and to one pooled vector. Projection heads and precision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.datasets import FORMS
from hiercl.runtime.types import Float

Pooling = Literal["mean", "max", "max and mean"]
SEEN = 500  # items, at most, that a first stage sees before training
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")  # values of ONEDNN_MAX_CPU_ISA
PLACES_AT_ONCE = 2**22  # pixels, or points, that pass an encoder together when there is no gradient


@dataclass(frozen=True)
class Architecture:
    """How a named encoder is made.

    Attributes:
        build: takes the channels of an item and a maker of norms; returns the stem, the stages and their widths.
        pooling: how the last map becomes one vector.
        refused: norms that it cannot have, each with the reason and what to do.
        optimiser: what trains a new one best, as far as it was tried.
    """

    build: Callable[..., tuple[nn.Module, Sequence[nn.Module], tuple[int, ...]]]
    pooling: Pooling = "mean"
    refused: Mapping[str, str] = field(default_factory=dict)
    optimiser: str = "adamw"


class Pool(nn.Module):
    """Pools a map to one vector: the mean over all places, the maximum, or both one after the other; in float32.

    The order of the places does not matter. So an encoder that treats all points of a cloud alike gives the same
    feature for every order of the points.

    Args:
        how: "mean", "max" or "max and mean".

    Example:
        >>> Pool("max and mean")(torch.rand(2, 8, 100, 1)).shape
        torch.Size([2, 16])
    """

    def __init__(self, how: Pooling = "mean"):
        super().__init__()
        self.how: Pooling = how

    def width(self, channels: int) -> int:
        """Returns the size of the vector of a map with this many channels."""
        return 2 * channels if self.how == "max and mean" else channels

    def forward(self, places: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        parts = []
        if self.how != "mean":
            parts.append(places.amax(dim=(2, 3)).float())
        if self.how != "max":
            parts.append(places.mean(dim=(2, 3), dtype=torch.float32))
        return torch.cat(parts, dim=1)


class Encoder(nn.Module):
    """A stem and a chain of stages. It normalises its own input, so a saved encoder needs nothing beside it.

    A cloud of p points is a map with three channels x, y, z and p rows of one column, ``[batch, 3, p, 1]``. So clouds
    and pictures go through the same code.

    Args:
        stem: what comes before the first stage.
        stages: modules that are applied one after the other, each to the map of the one before.
        stage_widths: channels of the map of every stage.
        mean: what is subtracted from every channel, ``[channels]``.
        std: what every channel is divided by, ``[channels]``, above 0.
        norm: name of what normalises the maps, see :data:`hiercl.encoders.norms.NORMS`.
        modality: the kind of items that the encoder takes, "images" or "points".
        pooling: how the last map becomes one vector.
        resize: side in pixels that every picture is brought to before it is normalised (bicubic, antialiased); None
            leaves pictures as they are. Points have no such size.

    Attributes:
        width: size of the pooled feature.
        stage_widths: channels of every stage, shallow to deep.
        modality: the kind of items that the encoder takes.
        norm: name of what normalises the maps.
        pool: the module that makes one vector of a map.
        mean: buffer ``[channels]``, in units of pictures in [0, 1] or of coordinates.
        std: buffer ``[channels]``, in the same units.
        resize: side of the pictures in pixels, or None.
        origin: the name that makes such an encoder (:func:`~hiercl.encoders.as_encoder`); None for one without a name.
        frozen: how many stages are frozen, or True for the whole encoder (:meth:`freeze`).

    Raises:
        ValueError: mean and std differ in length, or a std is not above 0; or ``resize`` for other items than pictures.

    Example:
        >>> encoder = Encoder(torch.nn.Identity(), [torch.nn.Conv2d(3, 8, 3)], [8], mean=[0.5] * 3, std=[0.25] * 3)
        >>> encoder(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        stage_widths: Sequence[int],
        mean: Sequence[float] | Tensor,
        std: Sequence[float] | Tensor,
        norm: str = "batch",
        modality: str = "images",
        pooling: Pooling = "mean",
        resize: int | None = None,
    ):
        super().__init__()
        self.origin: str | None = None
        self.frozen: bool | int = False
        self.norm, self.modality, self.pool = norm, modality, Pool(pooling)
        mean, std = (torch.as_tensor(values, dtype=torch.float32).flatten().clone() for values in (mean, std))
        if len(mean) != len(std) or not bool((std > 0).all()):
            raise ValueError(f"mean and std need one entry a channel and std > 0, got {mean.tolist()}, {std.tolist()}")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.resize = resize
        if resize is not None and modality != "images":
            raise ValueError(f"resize={resize} is for pictures, and this encoder takes {modality}: leave it out.")
        self.stem = stem
        self.stage_modules = nn.ModuleList(stages)
        self.stage_widths = tuple(stage_widths)
        self.width = self.pool.width(self.stage_widths[-1])

    def normalise(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Returns (x - mean) / std, for every channel of pictures in [0, 1] or every coordinate of points.

        Pictures are brought to the size ``resize`` first.

        Raises:
            ValueError: items that are not float, have another number of channels than ``mean``, or are of another
                kind than the encoder's.
        """
        form, channels = FORMS[self.modality], len(self.mean)
        if not (x.is_floating_point() and x.ndim == 4 and x.shape[1] == channels and form.is_map(x)):
            raise ValueError(f"expected float {form.map_form.format(channels)}; got {x.dtype} {list(x.shape)}")
        if self.resize and x.shape[2:] != (self.resize, self.resize):
            x = F.interpolate(x, (self.resize, self.resize), mode="bicubic", antialias=True)
        return (x - self.mean[:, None, None]) / self.std[:, None, None]

    def stages(self, x: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Returns the feature map ``[batch, stage width, height, width]`` of every stage, shallow to deep.

        Example:
            >>> [stage.shape[1] for stage in run.encoder.stages(torch.rand(2, 3, 32, 32))]
            [32, 64, 128, 256]
        """
        x = self.stem(self.normalise(x))
        maps = []
        for stage in self.stage_modules:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def feature(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Returns what :meth:`forward` returns, of all items at once."""
        return self.pool(self.stages(x)[-1])

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Returns the last stage's map, pooled over all places: ``[batch, width]``, float32 even in half precision.

        In eval mode and without a gradient, large pictures pass in parts, so that they fit into memory.
        """
        if self.training or torch.is_grad_enabled():
            return self.feature(x)
        side = self.resize or 0
        places = max(1, side * side or x.shape[2] * x.shape[3])
        return torch.cat([self.feature(part) for part in x.split(max(1, PLACES_AT_ONCE // places))])

    def see(self, items: Any) -> None:
        """Shows training items to a first stage whose filters depend on them; called before training.

        Args:
            items: array of the items; at most 500 of them are read, spread evenly.

        Example:
            >>> encoder = hiercl.encoders.make_encoder("whitenet", mean=[0.5] * 3, std=[0.25] * 3)
            >>> encoder.see(train.items)
        """
        if callable(see := getattr(next(iter(self.stage_modules), None), "see", None)):
            count = min(len(items), SEEN)
            sample = torch.from_numpy(np.array(items[np.arange(count) * len(items) // count]))
            see(self.normalise(FORMS[self.modality].to_map(sample)))

    def freeze(self, stages: bool | int = True) -> None:
        """Freezes the front of the encoder: no gradient changes it, and it stays in eval mode (batch norm, dropout).

        Args:
            stages: how many stages, from the first one on and with all that comes before them; True: the whole encoder;
                False or 0: nothing, which frees what was frozen.

        Raises:
            ValueError: more stages than the encoder has, or a negative number.

        Example:
            >>> from copy import deepcopy
            >>> encoder = deepcopy(run.encoder)
            >>> encoder.freeze(2)
            >>> [parameter.requires_grad for parameter in encoder.parameters()].count(False)
            5
        """
        if not 0 <= stages <= len(self.stage_widths):
            raise ValueError(
                f"freeze={stages}: this encoder has {len(self.stage_widths)} stages. Give a number up to that, or True "
                "for the whole encoder."
            )
        for on, chosen in ((True, self.frozen), (False, stages)):
            self.frozen = chosen
            for part in self.frozen_parts():
                part.requires_grad_(on)
        self.train(self.training)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """Returns the modules, and the parameters outside them, that :meth:`freeze` has frozen."""
        if self.frozen is True:
            return list(self.children())
        return [self.stem, *self.stage_modules[: self.frozen]] if self.frozen else []

    def train(self, mode: bool = True) -> Encoder:
        """Sets train or eval mode; what is frozen stays in eval mode."""
        super().train(mode)
        for part in self.frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def check_size(self, size: int) -> None:
        """Checks that items of another size can pass, such as the views of a training; encoders of hiercl take any.

        Args:
            size: pixels a side, or points.

        Raises:
            ValueError: they cannot.
        """

    @property
    def has_places(self) -> bool:
        """Whether the last stage is a map of places, and not a vector."""
        return self.modality != "vectors"

    def speed_up(self) -> None:
        """Compiles every stage with ``torch.compile``. The state dict stays as it is; a copy is not compiled."""
        for part in (self.stem, *self.stage_modules):
            part.compile()

    @property
    def found(self) -> str:
        """One line about the encoder: its width and its stages."""
        widths = ", ".join(map(str, self.stage_widths))
        return f"{self.origin or type(self).__name__}: width {self.width}, stages of {widths} channels"


def projection_head(kind: str, width: int, dim: int = 128, hidden: int | None = None) -> nn.Module:
    """Makes the map from pooled features to the space of the loss. It does not normalise; the loss does.

    Args:
        kind: "linear", one linear layer; or "mlp", two with a ReLU between them and no batch norm, as in MoCo v2.
        width: size of the features.
        dim: size of the embedding.
        hidden: units of the hidden layer of "mlp"; by default as many as ``width``.

    Raises:
        ValueError: another kind.

    Example:
        >>> projection_head("mlp", width=256)(torch.rand(4, 256)).shape
        torch.Size([4, 128])
    """
    if kind == "linear":
        return nn.Linear(width, dim)
    if kind == "mlp":
        hidden = width if hidden is None else hidden
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
    raise ValueError(f"unknown projection head {kind!r}; known: linear, mlp")


def half_precision_is_native(device: torch.device | str) -> bool:
    """Whether the device computes in bf16 in hardware: CUDA with bf16, or a CPU with AVX512-BF16 or AMX.

    Elsewhere bf16 is emulated and slower than float32. The environment variable ONEDNN_MAX_CPU_ISA=AVX2, which tells
    torch's library to be content with that, makes a CPU one without bf16.

    Example:
        >>> half_precision_is_native("cpu") in (True, False)
        True
    """
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL") not in WITHOUT_BF16:
        # These functions of torch are private: where a version lacks them, float32 is the safe answer.
        questions = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
        return any(bool(question()) for question in questions if question is not None)
    return False


@contextmanager
def sound_gradients(model: nn.Module, half: bool) -> Iterator[None]:
    """Pads maps that are smaller than the stride of a convolution, while a model trains in bf16 on a CPU.

    There torch 2.15 takes memory that nobody has written as the gradient of such a kernel. Its forward pass is right,
    and the zeros change neither that nor the size of its answer.

    Args:
        model: what is trained in the ``with`` block.
        half: whether it computes in bf16. Otherwise nothing happens.

    Example:
        >>> with sound_gradients(torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), half=True) as _:
        ...     pass
    """
    parts = [part for part in model.modules() if half and isinstance(part, nn.Conv2d) and max(part.stride) > 1]
    handles = []
    for part in parts:
        handles.append(part.register_forward_pre_hook(_padded))
        handles.append(part.register_forward_hook(partial(_restored, part.padding), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _padded(convolution: nn.Conv2d, given: tuple[Tensor]) -> tuple[Tensor] | None:
    """A map smaller than the stride gets the zeros of the padding, and more below and at the right that change no size.
    The convolution itself then adds none."""
    x, own = given[0], convolution.padding
    smaller = any(side < stride for side, stride in zip(x.shape[2:], convolution.stride, strict=True))
    if not smaller or x.device.type != "cpu" or isinstance(own, str) or convolution.padding_mode != "zeros":
        return None
    added = []
    kinds = (x.shape[2:], convolution.kernel_size, convolution.stride, own, convolution.dilation)
    for side, kernel, stride, padding, dilation in zip(*kinds, strict=True):
        room = stride - 1 - (side + 2 * padding - dilation * (kernel - 1) - 1) % stride  # that adds no place
        added.append(min(max(0, stride - side), room))
    convolution.padding = (0, 0)
    return (F.pad(x, (own[1], own[1] + added[1], own[0], own[0] + added[0])),)


def _restored(padding: Any, convolution: nn.Conv2d, given: Any, answer: Any) -> None:
    convolution.padding = padding
