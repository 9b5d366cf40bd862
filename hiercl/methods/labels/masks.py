"""Hard masks: which level of the hierarchy every feature dimension belongs to, found by a Gaussian mixture.

This is the feature identification of G-HMLC ("Feature Identification for Hierarchical Contrastive Learning", Ott et
al., arXiv 2510.00837). Only the paper's abstract and summaries were at hand: a mixture model finds the features of each
level and gives hard masks. *What the mixture sees, the sizes of the masks and the controls are ours.*

Every dimension is described by a few numbers (:mod:`hiercl.descriptors`). A mixture with one component for each level
is fitted to these d points, and its responsibilities decide the level of every dimension (:func:`fit_masks`). Level 0
is the coarsest. Everything is computed in float64.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from hiercl.runtime.errors import check_finite, unknown
from hiercl.runtime.types import Float, Int

Sizes = Literal["equal", "free"] | tuple[float | int, ...]


@dataclass(frozen=True)
class MaskFit:
    """Masks and the mixture behind them.

    Attributes:
        masks: weight of every dimension at every level; hard masks are 0 or 1, disjoint, and cover all dimensions.
        responsibilities: the mixture's probability of each level for every dimension.
    """

    masks: Float[Tensor, "levels d"]
    responsibilities: Float[Tensor, "d levels"]


# -- from descriptors to masks --------------------------------------------------------------------------------------


def fit_masks(
    descriptor: Float[Tensor, "d numbers"],
    scores: Float[Tensor, "d levels"] | None,
    levels: int,
    sizes: Sizes = "equal",
    soft: bool = False,
    seed: int = 0,
) -> MaskFit:
    r"""Fits a Gaussian mixture with one component for each level, and makes one mask for each level from it.

    $$p(s_j) = \sum_{h} w_h\, \mathcal N(s_j; \mu_h, \operatorname{diag}\sigma_h^2), \qquad
      r_{j,h} = \frac{w_h\, \mathcal N(s_j;\mu_h,\sigma_h)}{p(s_j)}$$

    Each component is matched to one level, such that the sum of the components' mean scores at their levels is highest
    (the Hungarian method). Then every dimension goes to one level:

    * ``equal``: each level gets d/levels dimensions (if this is no whole number, the first levels get one more), such
      that $\sum_j \log r_{j,h(j)}$ is highest. Shares such as (0.25, 0.75), coarse to fine, do the same with their
      sizes.
    * ``free``: $h(j) = \arg\max_h r_{j,h}$. A level with fewer than d/(4·levels) dimensions then takes more from levels
      that can spare some, those with the highest responsibility for it first.

    Source: mixture and hard masks are the paper's (Ott et al., arXiv 2510.00837, abstract and summaries); the matching
    and the sizes are ours.

    Args:
        descriptor: a point for every dimension, from :func:`hiercl.descriptors.describe`.
        scores: how much a dimension belongs to each level, ``fisher_ratios(v, ancestors).log()``; only differences
            between levels matter. Label-free descriptors need them too, to know which component is which level. None
            orders components by their mean over all numbers: which level is which is then arbitrary.
        levels: number of levels.
        sizes: sizes of hard masks: "equal", "free", or the share of each level, coarse to fine.
        soft: whether the responsibilities themselves are the masks; ``sizes`` then has no effect.
        seed: seed of the mixture's five starts (k-means++), any whole number from 0; the likeliest fit is kept.

    Returns:
        Masks and responsibilities, float32, on the descriptor's device. If there are fewer different points than
        levels, all responsibilities are equal, and the split is any that has the sizes.

    Raises:
        ValueError: fewer dimensions than levels, shapes that do not fit, a number that is not finite, unknown sizes.

    Example:
        >>> nodes = torch.from_numpy(test.hierarchy.labels_at_all(test.labels))
        >>> scores = hiercl.descriptors.fisher_ratios(features, nodes).log()
        >>> fit = fit_masks(hiercl.descriptors.describe(features, nodes), scores, levels=3)
        >>> z = torch.nn.functional.normalize(features * fit.masks[0], dim=1)
    """
    if isinstance(sizes, str) and sizes not in ("equal", "free"):
        raise unknown("sizes", sizes, ("equal", "free"))
    d = len(descriptor)
    slots = _level_of_slot(levels, d, None if isinstance(sizes, str) else sizes)
    check_finite(descriptor)
    if scores is not None:
        if scores.shape != (d, levels):
            raise ValueError(f"scores are {list(scores.shape)}: for {d} dimensions and {levels} levels, pass both.")
        check_finite(scores)

    log_r = _mixture(descriptor.detach().double().cpu().numpy(), levels, seed)
    log_r = log_r[:, _component_of_level(np.exp(log_r), descriptor, scores)]
    responsibilities = torch.from_numpy(np.exp(log_r)).float().to(descriptor.device)
    if soft:
        masks = responsibilities.T.contiguous()
    else:
        level_of = _free_sizes(log_r) if sizes == "free" else _given_sizes(log_r, slots)
        masks = _one_hot(torch.from_numpy(level_of), levels).to(descriptor.device)
    return MaskFit(masks, responsibilities)


def _mixture(points: np.ndarray, levels: int, seed: int) -> np.ndarray:
    """Returns the logarithm of every component's responsibility for every point, ``[d, levels]``."""
    if len(np.unique(points, axis=0)) < levels:
        return np.full((len(points), levels), -math.log(levels))
    mixture = GaussianMixture(
        levels,
        covariance_type="diag",
        init_params="k-means++",
        n_init=5,
        reg_covar=1e-3,
        max_iter=100,
        random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are enough
        mixture.fit(points)
    variance = mixture.covariances_
    # Not predict_proba: far from a component it is 0, and which dimensions fill up a size would be arbitrary.
    distance = (points[:, None] - mixture.means_) ** 2 / variance
    log_joint = np.log(mixture.weights_) - 0.5 * (distance + np.log(variance)).sum(axis=2)
    return log_softmax(log_joint, axis=1)


def _component_of_level(r: np.ndarray, descriptor: Tensor, scores: Tensor | None) -> np.ndarray:
    """Returns the component of each level."""
    share = r / r.sum(axis=0).clip(min=np.finfo(float).tiny)  # weight of every point in a component's mean
    if scores is None:
        return (share.T @ descriptor.detach().double().cpu().numpy()).mean(axis=1).argsort(kind="stable")
    total = share.T @ scores.detach().double().cpu().numpy()  # [components, levels]
    _, component = linear_sum_assignment(total.T, maximize=True)
    return component


def _given_sizes(scores: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Returns the level of every dimension with the highest sum of scores, such that every slot's level is taken."""
    _, slot = linear_sum_assignment(scores[:, slots], maximize=True)
    return slots[slot]


def _free_sizes(log_r: np.ndarray) -> np.ndarray:
    """Returns the likeliest level of every dimension, except for those that too small levels take."""
    d, levels = log_r.shape
    least = math.ceil(d / (4 * levels))
    level_of = log_r.argmax(axis=1)
    for level in range(levels):
        while (level_of == level).sum() < least:
            spare = np.bincount(level_of, minlength=levels)[level_of] > least
            level_of[np.where(spare, log_r[:, level], -np.inf).argmax()] = level
    return level_of


# -- controls -------------------------------------------------------------------------------------------------------


def sorted_masks(
    scores: Float[Tensor, "d levels"], shares: Sequence[float | int] | None = None
) -> Float[Tensor, "levels d"]:
    r"""Gives every dimension to a level such that the sum of the scores is highest: a control for a mixture.

    $$h = \arg\max_{h:\,\text{sizes}} \sum_j s_{j,h(j)}$$

    With two levels this sorts the dimensions by $s_{j,0}-s_{j,1}$ and cuts.

    Args:
        scores: how much a dimension belongs to each level, such as ``fisher_ratios(v, ancestors).log()``.
        shares: share of the dimensions of each level, coarse to fine; None: all levels have equally many.

    Returns:
        Masks of 0 and 1, disjoint, covering all dimensions; float32 on the device of the scores.

    Raises:
        ValueError: fewer dimensions than levels, shares that do not fit, or a score that is not finite.

    Example:
        >>> sorted_masks(torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 2.0], [1.0, 0.0]])).tolist()
        [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """
    check_finite(scores)
    d, levels = scores.shape
    level_of = _given_sizes(scores.detach().double().cpu().numpy(), _level_of_slot(levels, d, shares))
    return _one_hot(torch.from_numpy(level_of), levels).to(scores.device)


def random_masks(
    levels: int, d: int, seed: int | torch.Generator = 0, shares: Sequence[float | int] | None = None
) -> Float[Tensor, "levels d"]:
    """Splits the dimensions at random: the control for every mask that is found.

    Args:
        levels: number of levels.
        d: number of dimensions.
        seed: a seed, or a generator on the CPU.
        shares: share of the dimensions of each level, coarse to fine. None: all levels have equally many; if levels
            does not divide d, the first levels get one more.

    Returns:
        Masks of 0 and 1, disjoint, covering all dimensions; float32 on the CPU.

    Raises:
        ValueError: fewer dimensions than levels, or shares that do not fit.

    Example:
        >>> random_masks(2, 128, shares=(0.25, 0.75)).sum(dim=1).tolist()
        [32.0, 96.0]
    """
    slots = torch.from_numpy(_level_of_slot(levels, d, shares))
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return _one_hot(slots[torch.randperm(d, generator=generator)], levels)


def contiguous_masks(levels: int, d: int, shares: Sequence[float | int] | None = None) -> Float[Tensor, "levels d"]:
    """Splits the dimensions in order: the first ones belong to the coarsest level, the last ones to the leaves.

    Args:
        levels: number of levels.
        d: number of dimensions.
        shares: share of the dimensions of each level, coarse to fine; None: as for :func:`random_masks`.

    Returns:
        Masks of 0 and 1, disjoint, covering all dimensions; float32 on the CPU.

    Raises:
        ValueError: fewer dimensions than levels, or shares that do not fit.

    Example:
        >>> contiguous_masks(2, 4).tolist()
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    return _one_hot(torch.from_numpy(_level_of_slot(levels, d, shares)), levels)


def mask_overlap(a: Float[Tensor, "levels d"], b: Float[Tensor, "levels d"]) -> float:
    """Returns the share of the dimensions that have the same level in both, in [0, 1].

    The level of a soft mask's dimension is the one with the highest weight. Two random splits of equal sizes share
    1/levels on average.

    Args:
        a: masks of a model.
        b: other masks of the same model.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> mask_overlap(contiguous_masks(2, 4), contiguous_masks(2, 4).flip(0))
        0.0
    """
    if a.shape != b.shape:
        raise ValueError(f"masks {list(a.shape)} and {list(b.shape)}: compare masks of one model, [levels, d] each.")
    return float((a.argmax(dim=0) == b.argmax(dim=0)).float().mean())


def _level_of_slot(levels: int, d: int, shares: Sequence[float | int] | None = None) -> np.ndarray:
    """Returns d levels in order, each equally often or in these shares; every level at least once."""
    if not 1 <= levels <= d:
        raise ValueError(f"{levels} levels of {d} dimensions: every level needs at least one dimension of its own.")
    if shares is None:
        return np.sort(np.arange(d) % levels)
    if len(shares) != levels or not min(shares) > 0:
        raise ValueError(f"sizes={tuple(shares)}: give a share above 0 for each of the {levels} levels.")
    ends, level = np.rint(np.cumsum(shares) / np.sum(shares) * d).astype(int), np.arange(levels)
    ends = ends.clip(level + 1, d - levels + level + 1)  # no level is left without a dimension
    return np.repeat(level, np.diff(ends, prepend=0))


def _one_hot(level_of: Int[Tensor, " d"], levels: int) -> Float[Tensor, "levels d"]:
    """Returns hard masks from the level of every dimension."""
    return torch.nn.functional.one_hot(level_of, levels).T.float().contiguous()
