"""Random views of vectors, drawn for a whole batch on its own device: stored views, noise, dropped features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from hiercl.runtime.config import AtLeast, Between, Config
from hiercl.runtime.seeds import Draws
from hiercl.runtime.types import Float

__all__ = ["VectorViewConfig", "VectorViews", "plain_vector_views", "resolve_vector_views"]

NOISE, DROP = 0.5, 0.2  # where there is one stored view


@dataclass(frozen=True)
class VectorViewConfig(Config):
    """Settings of random views of vectors. A view starts from one of the stored views of its item, if it has any.

    Raises:
        ValueError: a setting outside its range.

    Example:
        >>> VectorViewConfig(noise=0.3).noise
        0.3
    """

    noise: Annotated[float, AtLeast(0)] | None = None
    """Standard deviation of the noise of every feature, in units of that feature's own deviation over the training set.
    None means 0 where several views of an item are stored, and 0.5 where there is one."""
    drop: Annotated[float, Between(0, 1, high_allowed=False)] | None = None
    """Probability that a feature is dropped, from 0 to below 1. Its mean over the training set replaces it. None means
    0 where several views of an item are stored, and 0.2 where there is one."""


def resolve_vector_views(config: VectorViewConfig, shape: Sequence[int]) -> VectorViewConfig:
    """Fills in what None stands for, so that a default and the same value given by hand are one configuration.

    Args:
        config: the settings as they were given.
        shape: shape of the items, ``(n, views, features)``.

    Example:
        >>> resolve_vector_views(VectorViewConfig(drop=0.0), (100, 5, 64))
        VectorViewConfig(noise=0.0, drop=0.0)
    """
    one = shape[1] == 1
    return replace(
        config,
        noise=(NOISE if one else 0.0) if config.noise is None else config.noise,
        drop=(DROP if one else 0.0) if config.drop is None else config.drop,
    )


def plain_vector_views(size: int, noise: float, drop: float) -> VectorViewConfig:
    """Returns settings of views for a fine-tuning: one of the stored views, with this noise and these dropped features.

    Args:
        size: number of features, which makes no difference.
        noise: as in :class:`VectorViewConfig`.
        drop: as in :class:`VectorViewConfig`.

    Example:
        >>> plain_vector_views(512, noise=0.1, drop=0.0).noise
        0.1
    """
    return VectorViewConfig(noise, drop)


class VectorViews:
    r"""Draws one random view of every vector of a batch.

    $$v = m \odot (x_s + \sigma\,d \odot \varepsilon) + (1 - m) \odot \mu$$

    $x_s$ is one of the stored views 1, 2, ... of the item, or view 0 if there is no other; $\varepsilon$ is normal
    noise, σ is ``noise``, and $d$ and μ are the deviation and the mean of every feature over the training set. The mask
    $m$ is 0 with probability ``drop``, for every feature by itself.

    Args:
        config: the settings, without None.
        input: ``mean`` and ``deviation`` of every feature.

    Example:
        >>> views = VectorViews(VectorViewConfig(noise=0.5, drop=0.0), {"mean": [0] * 8, "deviation": [1] * 8})
        >>> views(torch.rand(4, 1, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 8, 1, 1])
    """

    def __init__(self, config: VectorViewConfig, input: Mapping[str, Any]):
        if config.noise is None or config.drop is None:
            raise ValueError(f"{config}: None has no value here, resolve_vector_views gives it one.")
        self.noise, self.drop, self.config = config.noise, config.drop, config
        self.mean, self.deviation = (torch.as_tensor(input[name]).float() for name in ("mean", "deviation"))

    @property
    def size(self) -> int:
        """Features of a view."""
        return len(self.mean)

    @torch.no_grad()
    def __call__(
        self,
        vectors: Float[Tensor, "batch stored features"],
        generator: torch.Generator | Draws,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
    ) -> Float[Tensor, "batch features 1 1"]:
        """Draws one random view of every vector.

        Args:
            vectors: float32 ``[batch, stored views, features]``.
            generator: the only source of random numbers.
            size: no effect; a view has all features.
            scale: makes a local view, like the small crops of pictures: it keeps a share of the features, drawn for
                every vector between these two numbers, and the mean replaces the others.

        Returns:
            float32 ``[batch, features, 1, 1]``.

        Raises:
            ValueError: another number of features than that of the training set, a scale outside 0 <= low <= high <= 1,
                or a generator on another device.
        """
        draws, (n, stored, features) = Draws.of(generator), vectors.shape
        if features != self.size:
            raise ValueError(f"these vectors have {features} features, those of the training set {self.size}.")
        if scale is not None and not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError(f"the scale of a view must be (low, high) with 0 <= low <= high <= 1, got {scale}")
        if draws.device.type != vectors.device.type:
            raise ValueError(f"the generator is on {draws.device}, the vectors are on {vectors.device}")
        if self.mean.device != vectors.device:
            self.mean, self.deviation = self.mean.to(vectors.device), self.deviation.to(vectors.device)
        if stored > 1:
            which = 1 + (draws.uniform(n) * (stored - 1)).long()
            x = vectors[torch.arange(n, device=vectors.device), which]
        else:
            x = vectors[:, 0]
        if self.noise:
            x = x + draws.normal(n, features) * (self.noise * self.deviation)
        kept = 1 - self.drop
        if scale is not None:
            low, high = scale
            kept = kept * (low + (high - low) * draws.uniform(n, 1))
        if scale is not None or self.drop:
            x = torch.where(draws.uniform(n, features) < kept, x, self.mean)
        return x[:, :, None, None]
