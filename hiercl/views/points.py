"""Random views of point clouds, drawn for a whole batch at a time on its own device, with own parameters for every
cloud.

Each operation is a plain function of explicit parameters, one for each cloud; :class:`PointViews` draws all of them
from one generator. The z axis points up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from hiercl.runtime.config import AtLeast, Between, Config
from hiercl.runtime.seeds import Draws
from hiercl.runtime.types import Float, Int

__all__ = ["PointViewConfig", "PointViews", "draw_points", "plain_point_views", "rotation_matrices"]


@dataclass(frozen=True)
class PointViewConfig(Config):
    """Settings of random views of clouds in the unit sphere.

    Raises:
        ValueError: a setting outside its range.

    Example:
        >>> PointViewConfig(points=1024, rotation="any").points
        1024
    """

    points: Annotated[int, Between(1, 2**20)] = 512
    """Points of a training view, drawn anew for each view. A cloud with fewer points has some of them twice. Test with
    all points; with DGCNN, whose graph depends on how dense a cloud is, test with as many as in training."""
    rotation: Literal["up", "any", "none"] = "up"
    """Axis of a random rotation by any angle: up (the z axis), any (a uniformly random rotation), or none."""
    tilt: Annotated[float, Between(0, 180)] = 0.0
    """Largest angle, in degrees, by which a cloud is also tilted about a random horizontal axis."""
    stretch: tuple[float, float] = (0.8, 1.25)
    """Smallest and largest factor of a cloud's size, above 0."""
    shift: Annotated[float, AtLeast(0)] = 0.1
    """Largest shift along every axis."""
    noise: Annotated[float, AtLeast(0)] = 0.01
    """Standard deviation of the noise of every coordinate. The noise is cut at five standard deviations."""
    drop: Annotated[float, Between(0, 1, high_allowed=False)] = 0.0
    """Largest share of a view's points that are dropped. A copy of one kept point replaces each dropped point."""

    def __post_init__(self):
        super().__post_init__()
        low, high = self.stretch
        if not 0 < low <= high < math.inf:
            raise ValueError(f"stretch={self.stretch}: it must be (low, high) with 0 < low <= high.")


def plain_point_views(size: int, points: int | None, rotation: Literal["up", "any", "none"]) -> PointViewConfig:
    """Returns settings of views for a fine-tuning.

    Args:
        size: points of a whole cloud.
        points: points of a view; None for half of ``size``.
        rotation: as in :class:`PointViewConfig`.

    Example:
        >>> plain_point_views(1024, None, "up").points
        512
    """
    return PointViewConfig(points=max(1, size // 2) if points is None else points, rotation=rotation)


class PointViews:
    """Draws one random view of every cloud of a batch: some of its points, rotated, tilted, scaled, shifted, with
    noise.

    Args:
        config: the settings.

    Example:
        >>> views = PointViews(PointViewConfig(points=64))
        >>> generator = torch.Generator().manual_seed(0)
        >>> views(torch.rand(8, 1024, 3), generator).shape
        torch.Size([8, 3, 64, 1])
    """

    def __init__(self, config: PointViewConfig | None = None):
        self.config = PointViewConfig() if config is None else config

    @property
    def size(self) -> int:
        """Points of a view."""
        return self.config.points

    @torch.no_grad()
    def __call__(
        self,
        clouds: Float[Tensor, "batch points 3"],
        generator: torch.Generator | Draws,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
    ) -> Float[Tensor, "batch 3 size 1"]:
        """Draws one random view of every cloud.

        Args:
            clouds: float32 ``[batch, points, 3]``.
            generator: the only source of random numbers.
            size: points of a view; by default the configured number.
            scale: makes a local view, like the small crops of pictures: the points come from a patch. The patch is a
                share of the cloud's points, between these two numbers, which are nearest to a random one of them. It
                keeps its place and its size.

        Returns:
            float32 ``[batch, 3, size, 1]``.

        Raises:
            ValueError: a size below 1, a scale outside 0 <= low <= high <= 1, or a generator on another device.
        """
        config, draws, n = self.config, Draws.of(generator), len(clouds)
        size = config.points if size is None else size
        if size < 1:
            raise ValueError(f"size must be at least 1 point, got {size}")
        if scale is not None and not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError(f"the scale of a patch must be (low, high) with 0 <= low <= high <= 1, got {scale}")
        if draws.device.type != clouds.device.type:
            raise ValueError(f"the generator is on {draws.device}, the clouds are on {clouds.device}")
        with torch.autocast(clouds.device.type, enabled=False):  # bf16 would round coordinates to 8 bits of mantissa
            x = _gather(clouds, draw_points(clouds, size, draws, scale))
            x = torch.bmm(x, self._motion(n, draws).mT)
            if config.shift:
                x = x + (2 * draws.uniform(n, 1, 3) - 1) * config.shift
            if config.noise:
                normal = torch.special.ndtri(draws.uniform(n, size, 3)).clamp(-5, 5)
                x = x + config.noise * normal
            if config.drop:
                # The points come in random order: the last ones are as good as any, and the first is always kept.
                kept = ((1 - config.drop * draws.uniform(n, 1, 1)) * size).ceil()
                x = torch.where(torch.arange(size, device=x.device)[:, None] < kept, x, x[:, :1])
            return x.mT[..., None].contiguous(memory_format=torch.channels_last)

    def _motion(self, n: int, draws: Draws) -> Tensor:
        """Returns ``[n, 3, 3]``: rotated, then tilted, then scaled."""
        config = self.config
        low, high = config.stretch
        factor = draws.uniform(n) * (high - low) + low
        matrix = factor[:, None, None] * torch.eye(3, device=draws.device)
        if config.tilt:
            direction = 2 * math.pi * draws.uniform(n)
            axis = torch.stack([direction.cos(), direction.sin(), torch.zeros_like(direction)], dim=1)
            matrix = matrix @ rotation_matrices(axis, math.radians(config.tilt) * draws.uniform(n))
        if config.rotation == "up":
            up = torch.eye(3, device=draws.device)[2].expand(n, 3)
            matrix = matrix @ rotation_matrices(up, 2 * math.pi * draws.uniform(n))
        if config.rotation == "any":
            matrix = matrix @ _any_rotation(draws.uniform(n, 3))
        return matrix


def draw_points(
    clouds: Float[Tensor, "batch points 3"], size: int, draws: Draws, scale: tuple[float, float] | None = None
) -> Int[Tensor, "batch size"]:
    """Draws ``size`` points of every cloud, in random order. Points repeat only where there are too few.

    Args:
        clouds: the clouds.
        size: how many points.
        draws: source of random numbers.
        scale: draws from a patch: the ⌈s·p⌉ of the p points that are nearest to a random one of them, with s ~ U(scale)
            for every cloud.

    Returns:
        Indices of the points.

    Example:
        >>> draw_points(torch.rand(8, 100, 3), 10, Draws(torch.Generator())).shape
        torch.Size([8, 10])
    """
    n, points, _ = clouds.shape
    key, members = draws.uniform(n, points), clouds.new_full((n, 1), points)
    if scale is not None:
        low, high = scale
        members = ((draws.uniform(n, 1) * (high - low) + low) * points).ceil().clamp(min=1)
        centre = _gather(clouds, (draws.uniform(n, 1) * points).long().clamp(max=points - 1))
        rank = (clouds - centre).square().sum(dim=2).argsort(dim=1).argsort(dim=1)
        key = torch.where(rank < members, key, key + 1)  # points outside the patch come after those inside
    wanted = torch.arange(size, device=clouds.device) % members.long()
    if size >= points or scale is not None:
        return key.argsort(dim=1).gather(1, wanted)
    return key.topk(size, dim=1, largest=False).indices


def rotation_matrices(axis: Float[Tensor, "batch 3"], angle: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    r"""Returns the matrices that rotate column vectors about unit axes.

    $$R = I + \sin\alpha\,K + (1-\cos\alpha)\,K^2, \qquad K v = a\times v \qquad\text{(Rodrigues)}$$

    Args:
        axis: unit vectors.
        angle: in radians, counter-clockwise seen from the tip of the axis.

    Example:
        >>> quarter = rotation_matrices(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([torch.pi / 2]))
        >>> (quarter[0] @ torch.tensor([1.0, 0.0, 0.0])).round().tolist()  # x turns to y
        [0.0, 1.0, 0.0]
    """
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3, device=axis.device) + sin * cross + (1 - cos) * (cross @ cross)


def _any_rotation(uniforms: Tensor) -> Tensor:
    """Returns ``[n, 3, 3]``, uniform over all rotations (Arvo, 1992): about z, then z to a point of the sphere."""
    turn, around, height = (2 * math.pi * uniforms[:, 0], 2 * math.pi * uniforms[:, 1], uniforms[:, 2])
    up = torch.eye(3, device=uniforms.device)[2].expand(len(uniforms), 3)
    # The half turn about the axis that bisects z and its image takes z to the image.
    flat = height.sqrt()
    bisector = torch.stack([around.cos() * flat, around.sin() * flat, (1 - height).clamp(min=0).sqrt()], dim=1)
    half = 2 * bisector[:, :, None] * bisector[:, None] - torch.eye(3, device=uniforms.device)
    return half @ rotation_matrices(up, turn)


def _gather(clouds: Tensor, index: Tensor) -> Tensor:
    return clouds.gather(1, index[..., None].expand(-1, -1, 3))
