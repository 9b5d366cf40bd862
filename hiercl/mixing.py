"""CutMix: a box of one picture pasted into another."""

import torch
from torch import Tensor

from hiercl.types import Float, Int

__all__ = ["cut_box", "cutmix", "numbers_needed"]


def numbers_needed(alpha: int) -> int:
    """How many uniform numbers :func:`cut_box` takes: 2α − 1 for λ and two for the centre."""
    return 2 * alpha + 1


def cut_box(
    uniforms: Float[Tensor, " numbers"], height: int, width: int, alpha: int = 2
) -> tuple[Int[Tensor, "4"], Float[Tensor, ""]]:
    r"""A random box, and the share λ of a picture that is left outside it.

    λ ~ Beta(α, α), which for a whole α is the α-th smallest of 2α − 1 uniform numbers (their median); the box has the
    relative sides $\sqrt{1-\lambda}$ and a uniform centre, and is clipped at the border. The λ that is given back is
    that of the box as it then is:

    $$\lambda = 1 - \frac{\text{pasted area}}{\text{height}\cdot\text{width}}$$

    CutMix of Yun et al. (2019, arXiv 1905.04899), with one λ and one box for a batch and α = 2 as in the official code
    of CsMl. Half a side is rounded down, as there, so sides are even numbers of pixels before they are clipped.
    Everything stays on the device: nothing waits for it.

    Args:
        uniforms: 2α + 1 numbers in [0, 1), float32.
        height, width: of the pictures, in pixels.
        alpha: a whole number, at least 1 (where λ is uniform); a higher one draws λ towards a half.

    Returns:
        The box (top, bottom, left, right), its ends not included, int64; and λ in [0, 1], float32.

    Raises:
        ValueError: alpha < 1, or another number of uniform numbers.

    Example:
        >>> box, lam = cut_box(torch.tensor([0.1, 0.75, 0.9, 0.5, 0.5]), height=8, width=8)
        >>> box.tolist(), float(lam)  # λ = 0.75 before: half of either side is cut
        ([2, 6, 2, 6], 0.75)
    """
    if alpha < 1:
        raise ValueError(f"alpha={alpha}: it is a whole number of at least 1.")
    if len(uniforms) != numbers_needed(alpha):
        raise ValueError(f"{len(uniforms)} numbers: alpha={alpha} needs {numbers_needed(alpha)}, for λ and the centre.")
    side = (1 - uniforms[:-2].sort().values[alpha - 1]).sqrt()  # as a share of the picture's
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
    """The first pictures with this box (top, bottom, left, right) of the second ones pasted in; one box for all.

    Example:
        >>> cutmix(torch.zeros(1, 1, 2, 3), torch.ones(1, 1, 2, 3), torch.tensor([0, 1, 1, 3]))[0, 0].tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    top, bottom, left, right = box
    row = torch.arange(first.shape[2], device=first.device)[:, None]
    column = torch.arange(first.shape[3], device=first.device)
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return torch.where(inside, second, first)
