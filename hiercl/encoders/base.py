"""Encoder: items to feature maps, stage by stage, and to one pooled vector."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hiercl.runtime.types import Float

__all__ = ["Encoder", "Pool", "Pooling"]

Pooling = Literal["mean", "max", "max and mean"]


class Pool(nn.Module):
    """From a map to one vector: the mean over all places, the maximum, or both one after the other; in float32.

    Neither depends on the order of the places, so an encoder that treats the points of a cloud alike gives one feature
    for all their orders.

    Example: ``Pool("max and mean")(torch.rand(2, 8, 100, 1)).shape  # [2, 16]``
    """

    def __init__(self, how: Pooling = "mean"):
        super().__init__()
        self.how = how

    def width(self, channels: int) -> int:
        """Size of the vector of a map with this many channels."""
        return 2 * channels if self.how == "max and mean" else channels

    def forward(self, places: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        parts = []
        if self.how != "mean":
            parts.append(places.amax(dim=(2, 3)).float())
        if self.how != "max":
            parts.append(places.mean(dim=(2, 3), dtype=torch.float32))
        return torch.cat(parts, dim=1)


class Encoder(nn.Module):
    """A stem and a chain of stages that normalises its own input, so that a saved encoder needs nothing beside it.

    A cloud of p points is a map with three channels x, y, z, and p rows of one column: ``[batch, 3, p, 1]``. So clouds
    and pictures go through the same code.

    Attributes: `width`, the size of the pooled feature; `stage_widths`, the channels of every stage, shallow to deep;
    `kind`, of the items that it takes, "images" or "points"; `norm`, what normalises its maps (a name of
    `hiercl.encoders.norms.NORMS`); `pool`, which makes one vector of a map; buffers `mean` and `std` [channels],
    subtracted from and divided out of pictures in [0, 1], or coordinates.

    Raises: ValueError if mean and std differ in length or a std is not positive.

    Example: ``Encoder(nn.Identity(), [nn.Conv2d(3, 8, 3)], [8], mean=[0.5] * 3, std=[0.25] * 3)``
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
        kind: str = "images",
        pooling: Pooling = "mean",
    ):
        super().__init__()
        self.norm, self.kind, self.pool = norm, kind, Pool(pooling)
        mean, std = (torch.as_tensor(values, dtype=torch.float32).flatten().clone() for values in (mean, std))
        if len(mean) != len(std) or not bool((std > 0).all()):
            raise ValueError(f"mean and std need one entry a channel and std > 0, got {mean.tolist()}, {std.tolist()}")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.stem = stem
        self.stage_modules = nn.ModuleList(stages)
        self.stage_widths = tuple(stage_widths)
        self.width = self.pool.width(self.stage_widths[-1])

    def normalise(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """(x - mean) / std for every channel of pictures in [0, 1], or coordinate of points.

        Raises: ValueError for items that are not float, have another number of channels than `mean`, or are of the
        other kind.
        """
        fits = x.is_floating_point() and x.ndim == 4 and x.shape[1] == len(self.mean)
        if not fits or (x.shape[3] == 1) != (self.kind == "points"):
            form = {"images": "pictures in [0, 1], [batch, {}, height, width]", "points": "points, [batch, {}, p, 1]"}
            raise ValueError(f"expected float {form[self.kind].format(len(self.mean))}; got {x.dtype} {list(x.shape)}")
        return (x - self.mean[:, None, None]) / self.std[:, None, None]

    def stages(self, x: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """The feature map [batch, stage width, height, width] of every stage, shallow to deep.

        Example: ``[tuple(m.shape) for m in encoder.stages(torch.rand(2, 3, 32, 32))]``
        """
        x = self.stem(self.normalise(x))
        maps = []
        for stage in self.stage_modules:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """The last stage's map, pooled over all places: [batch, width], in float32 even under half precision.

        Example: ``encoder(torch.rand(2, 3, 32, 32)).shape  # [2, encoder.width]``
        """
        return self.pool(self.stages(x)[-1])
