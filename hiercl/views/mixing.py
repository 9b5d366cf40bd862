"""Mixtures of two items: a box of one picture pasted into another (CutMix); two clouds cut by a plane; the weighted
mean of two vectors."""

import math

import torch
from torch import Tensor

from hiercl.runtime.types import Float, Int

__all__ = ["box_mix", "cut_box", "cutmix", "linear_mix", "numbers_needed", "plane_mix"]


def numbers_needed(alpha: int) -> int:
    """Returns how many uniform numbers a mixture needs: 2α − 1 for λ, and two for the place of a box or the direction
    of a plane.

    Example:
        >>> numbers_needed(2)
        5
    """
    return 2 * alpha + 1


def box_mix(
    first: Float[Tensor, "batch channels height width"],
    second: Float[Tensor, "batch channels height width"],
    uniforms: Float[Tensor, " numbers"],
    alpha: int = 2,
) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, ""]]:
    """Mixes pictures: pastes one random box of the second pictures into the first ones (:func:`cutmix`).

    Args:
        first: pictures ``[batch, channels, height, width]``.
        second: as many pictures of the same size.
        uniforms: :func:`numbers_needed` numbers in [0, 1), float32.
        alpha: a whole number, at least 1: λ ~ Beta(α, α), before it is rounded to whole pixels.

    Returns:
        The mixtures, and the share λ of the first pictures, one for the batch.

    Raises:
        ValueError: alpha below 1, or another number of uniform numbers.

    Example:
        >>> pictures, share = box_mix(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8), torch.rand(numbers_needed(2)))
        >>> bool(torch.isclose(share, 1 - pictures.mean()))
        True
    """
    height, width = first.shape[2:]
    box, kept = cut_box(uniforms, height, width, alpha)
    return cutmix(first, second, box), kept


def cut_box(
    uniforms: Float[Tensor, " numbers"], height: int, width: int, alpha: int = 2
) -> tuple[Int[Tensor, "4"], Float[Tensor, ""]]:
    r"""Draws a random box and the share λ of a picture that is left outside it.

    λ ~ Beta(α, α), which for a whole α is the α-th smallest of 2α − 1 uniform numbers (their median). The box has the
    relative sides $\sqrt{1-\lambda}$ and a uniform centre, and is clipped at the border. The returned λ is that of the
    clipped box:

    $$\lambda = 1 - \frac{\text{pasted area}}{\text{height}\cdot\text{width}}$$

    This is CutMix (Yun et al., 2019, arXiv 1905.04899), with one λ and one box for a batch and α = 2, as in the
    official code of CsMl. As there, half a side is rounded down, so sides are even numbers of pixels before they are
    clipped. Everything stays on the device: nothing waits for it.

    Args:
        uniforms: 2α + 1 numbers in [0, 1), float32.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        alpha: a whole number, at least 1 (where λ is uniform). A higher one draws λ towards a half.

    Returns:
        The box (top, bottom, left, right) without its ends, int64; and λ in [0, 1], float32.

    Raises:
        ValueError: alpha below 1, or another number of uniform numbers.

    Example:
        >>> box, share = cut_box(torch.tensor([0.1, 0.75, 0.9, 0.5, 0.5]), height=8, width=8)
        >>> box.tolist(), float(share)  # λ = 0.75 before: half of either side is cut
        ([2, 6, 2, 6], 0.75)
    """
    side = (1 - _share(uniforms, alpha)).sqrt()  # as a share of the picture's
    ends = []
    for size, place in ((height, uniforms[-2]), (width, uniforms[-1])):
        centre, half = (size * place).long(), (size * side).long() // 2
        ends += [(centre - half).clamp(min=0), (centre + half).clamp(max=size)]
    top, bottom, left, right = ends
    return torch.stack(ends), 1 - (bottom - top) * (right - left) / (height * width)


def cutmix(
    first: Float[Tensor, "batch channels height width"],
    second: Float[Tensor, "batch channels height width"],
    box: Int[Tensor, "4"],
) -> Float[Tensor, "batch channels height width"]:
    """Pastes a box of the second pictures into the first ones; one box for all.

    Args:
        first: pictures.
        second: pictures of the same size.
        box: top, bottom, left, right, without its ends.

    Example:
        >>> cutmix(torch.zeros(1, 1, 2, 3), torch.ones(1, 1, 2, 3), torch.tensor([0, 1, 1, 3]))[0, 0].tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    top, bottom, left, right = box
    row = torch.arange(first.shape[2], device=first.device)[:, None]
    column = torch.arange(first.shape[3], device=first.device)
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return torch.where(inside, second, first)


def plane_mix(
    first: Float[Tensor, "batch 3 points 1"],
    second: Float[Tensor, "batch 3 points 1"],
    uniforms: Float[Tensor, " numbers"],
    alpha: int = 2,
) -> tuple[Float[Tensor, "batch 3 points 1"], Float[Tensor, ""]]:
    """Mixes clouds: the points of the first below a plane, and those of the second above a parallel plane.

    λ ~ Beta(α, α) and a normal u, uniform on the sphere, are drawn once for a batch. The mixture of two clouds of p
    points has the m = ⌊λp⌋ points of the first that lie lowest along u, and the p − m points of the second that lie
    highest. The returned λ is m / p, exactly the share of the points that come from the first cloud.

    Source: ours. CsMl is about pictures. A box, as in CutMix, holds a different number of points in every cloud. A
    plane cuts off exactly the share that is asked for, leaves a connected part of each shape, and keeps the number of
    points. The two planes need not be the same, so the parts may leave a gap or overlap.

    Args:
        first: clouds as an encoder takes them.
        second: as many clouds with as many points.
        uniforms: 2α + 1 numbers in [0, 1), float32.
        alpha: a whole number, at least 1.

    Returns:
        The mixtures; and λ in [0, 1), float32, on the device.

    Raises:
        ValueError: alpha below 1, another number of uniform numbers, or clouds of unequal numbers of points.

    Example:
        >>> low, high = torch.zeros(1, 3, 4, 1), torch.ones(1, 3, 4, 1)
        >>> cloud, share = plane_mix(low, high, torch.tensor([0.1, 0.75, 0.9, 0.5, 0.5]))
        >>> cloud[0, 0, :, 0].tolist(), float(share)
        ([0.0, 0.0, 0.0, 1.0], 0.75)
    """
    if first.shape != second.shape:
        raise ValueError(f"{list(first.shape)} and {list(second.shape)} cannot be mixed: they need as many points.")
    turn, height = 2 * math.pi * uniforms[-2], 2 * uniforms[-1] - 1
    flat = (1 - height**2).sqrt()
    normal = torch.stack([turn.cos() * flat, turn.sin() * flat, height])
    points = first.shape[2]
    kept = (_share(uniforms, alpha) * points).floor()
    rank = torch.arange(points, device=first.device)[None, None, :, None]
    return torch.where(rank < kept, _sorted_along(normal, first), _sorted_along(normal, second)), kept / points


def linear_mix(
    first: Float[Tensor, "batch features 1 1"],
    second: Float[Tensor, "batch features 1 1"],
    uniforms: Float[Tensor, " numbers"],
    alpha: int = 2,
) -> tuple[Float[Tensor, "batch features 1 1"], Float[Tensor, ""]]:
    r"""Mixes vectors: λ a + (1 − λ) b, with one λ ~ Beta(α, α) for a batch (mixup, Zhang et al., 2018, arXiv
    1710.09412).

    The returned λ is exactly that of the mixture: no rounding to pixels or points changes it.

    Args:
        first: vectors as an encoder takes them.
        second: as many vectors with as many features.
        uniforms: 2α + 1 numbers in [0, 1), float32; the last two are not used.
        alpha: a whole number, at least 1.

    Returns:
        The mixtures; and λ in [0, 1), float32, on the device.

    Raises:
        ValueError: alpha below 1, another number of uniform numbers, or vectors of unequal numbers of features.

    Example:
        >>> low, high = torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1)
        >>> mixture, share = linear_mix(low, high, torch.tensor([0.1, 0.75, 0.9, 0.5, 0.5]))
        >>> mixture.flatten().tolist(), float(share)
        ([0.25, 0.25], 0.75)
    """
    if first.shape != second.shape:
        raise ValueError(f"{list(first.shape)} and {list(second.shape)} cannot be mixed: they need equal shapes.")
    share = _share(uniforms, alpha)
    return share * first + (1 - share) * second, share


def _share(uniforms: Tensor, alpha: int) -> Tensor:
    """Returns λ ~ Beta(α, α): the median of 2α − 1 uniform numbers; the last two of those given have another use."""
    if alpha < 1:
        raise ValueError(f"alpha={alpha}: it is a whole number of at least 1.")
    if len(uniforms) != numbers_needed(alpha):
        raise ValueError(f"{len(uniforms)} numbers: alpha={alpha} needs {numbers_needed(alpha)}, two not for λ.")
    return uniforms[:-2].sort().values[alpha - 1]


def _sorted_along(normal: Tensor, clouds: Tensor) -> Tensor:
    """Returns the points of every cloud, lowest along the normal first."""
    height = (clouds[..., 0] * normal[:, None]).sum(dim=1)  # not einsum, which autocast would run in bf16
    order = height.argsort(dim=1)[:, None, :, None].expand(-1, 3, -1, -1)
    return clouds.gather(2, order)
