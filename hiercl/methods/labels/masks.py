"""Hard masks: which level of the hierarchy every feature dimension belongs to, found by a Gaussian mixture.

This is the feature identification of G-HMLC ("Feature Identification for Hierarchical Contrastive Learning", Ott et
al., arXiv 2510.00837). Of the paper only the abstract and summaries were at hand: a mixture model finds the features
of each level and gives hard masks. *What the mixture sees, the sizes of the masks and the controls are ours.*

Every dimension is described by a few numbers (:mod:`hiercl.descriptors`), a mixture with one component for each level
is fitted to these d points, and a dimension goes to a level by its responsibilities (:func:`fit_masks`). Levels count
from the coarse end. Everything is computed in float64.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from hiercl.methods.labels.descriptors import LOWEST_RATIO, WITH_LABELS, fisher_ratios, standardised, sums
from hiercl.runtime.errors import check_finite, unknown
from hiercl.runtime.types import Float, Int

MIN_ITEMS = 20  # of a top node that gets masks of its own


@dataclass(frozen=True)
class MaskFit:
    """Masks and the mixture behind them.

    Attributes:
        masks: weight of every dimension at every level; hard masks are 0 or 1, disjoint, and cover all dimensions.
        responsibilities: probability of each level for every dimension, by the mixture.
    """

    masks: Float[Tensor, "levels d"]
    responsibilities: Float[Tensor, "d levels"]


# -- from descriptors to masks --------------------------------------------------------------------------------------


def fit_masks(
    descriptor: Float[Tensor, "d numbers"],
    scores: Float[Tensor, "d levels"] | None,
    levels: int,
    sizes: Literal["equal", "free"] = "equal",
    soft: bool = False,
    seed: int = 0,
    restarts: int = 5,
) -> MaskFit:
    r"""One mask for each level from a Gaussian mixture with one component for each level.

    $$p(s_j) = \sum_{h} w_h\, \mathcal N(s_j; \mu_h, \operatorname{diag}\sigma_h^2), \qquad
      r_{j,h} = \frac{w_h\, \mathcal N(s_j;\mu_h,\sigma_h)}{p(s_j)}$$

    Components are matched to levels so that the mean score of a component's features at its level is as high as it
    gets in total (the Hungarian method). Then every dimension goes to one level:

    * ``equal``: each level gets d/levels dimensions (the first ones get one more where it does not divide), so that
      $\sum_j \log r_{j,h(j)}$ is as large as it gets.
    * ``free``: $h(j) = \arg\max_h r_{j,h}$; a level with less than d/(4·levels) dimensions is then given those with the
      highest responsibility for it among the dimensions of levels that can spare one.

    Source: the mixture and hard masks are the paper's (Ott et al., arXiv 2510.00837, abstract and summaries); the
    matching and the sizes are ours.

    Args:
        descriptor: a point for every dimension, from :func:`describe`.
        scores: how much a dimension belongs to each level: ``fisher_ratios(v, ancestors).log()``. Only differences
            between levels matter. They are needed to *name* what a label-free descriptor finds, too; with None the
            components are taken in the order of their mean over all numbers, and which level is which is arbitrary.
        levels: number of levels.
        sizes: of hard masks.
        soft: take the responsibilities themselves as masks; ``sizes`` then plays no role.
        seed: of the starts (k-means++), any whole number from 0.
        restarts: starts of the mixture; the likeliest fit is kept.

    Returns:
        float32 masks and responsibilities on the descriptor's device. Where fewer points than levels are different, the
        responsibilities are all alike and the split is any that has the asked sizes.

    Raises:
        ValueError: fewer dimensions than levels, shapes that do not fit, a non-finite number, unknown sizes.

    Example:
        >>> fit = fit_masks(describe(v, ancestors), fisher_ratios(v, ancestors).log(), levels=2)
        >>> z = torch.nn.functional.normalize(v * fit.masks[0], dim=1)
    """
    if sizes not in ("equal", "free"):
        raise unknown("sizes", sizes, ("equal", "free"))
    if restarts < 1:
        raise ValueError(f"restarts={restarts}: the mixture needs at least one start.")
    d = len(descriptor)
    _check_levels(levels, d)
    check_finite(descriptor)
    if scores is not None:
        if scores.shape != (d, levels):
            raise ValueError(f"scores are {list(scores.shape)}: for {d} dimensions and {levels} levels, pass both.")
        check_finite(scores)

    log_r = _mixture(descriptor.detach().double().cpu().numpy(), levels, seed, restarts)
    log_r = log_r[:, _component_of_level(np.exp(log_r), descriptor, scores)]
    responsibilities = torch.from_numpy(np.exp(log_r)).float().to(descriptor.device)
    if soft:
        masks = responsibilities.T.contiguous()
    else:
        level_of = _equal_sizes(log_r) if sizes == "equal" else _free_sizes(log_r)
        masks = _one_hot(torch.from_numpy(level_of), levels).to(descriptor.device)
    return MaskFit(masks, responsibilities)


@torch.no_grad()
def fit_masks_per_node(
    v: Float[Tensor, "items d"],
    ancestors: Int[Tensor, "items levels"],
    descriptor: Literal["contrast", "raw"] = "contrast",
    sizes: Literal["equal", "free"] = "equal",
    soft: bool = False,
    seed: int = 0,
) -> Float[Tensor, "nodes levels d"]:
    r"""Masks for every top-level node, from its own items: a feature may tell dogs apart and mean nothing to cars.

    Below level 0 the ratios are those of :func:`fisher_ratios` on the node's items. Its level 0 has no siblings among
    its own items, so there the node stands against the mean of all top nodes, over the variance within it:

    $$F_{j,0} = (\mu_{\text{node}} - \bar\mu)^2 / (s^2_{\text{node}} + 10^{-6})$$

    A node with fewer than 20 items, or below which nothing divides, gets the masks of all items together.

    Source: ours.

    Args:
        v: features.
        ancestors: node of every item at every level, coarse first.
        descriptor: made from labels; see :func:`describe`.
        sizes: as in :func:`fit_masks`, and so are ``soft`` and ``seed``.

    Returns:
        float32. Row i belongs to the i-th of the top nodes that occur, in the order of their ids.

    Raises:
        ValueError: as :func:`fit_masks` and :func:`fisher_ratios`; a descriptor without labels.

    Example:
        >>> masks = fit_masks_per_node(v, ancestors)[ancestors[:, 0]]  # [items, levels, d], if all top nodes occur
    """
    if descriptor not in WITH_LABELS:
        raise unknown("descriptor of one node", descriptor, WITH_LABELS)
    common = fisher_ratios(v, ancestors)
    levels = ancestors.shape[1]
    _check_levels(levels, v.shape[1])

    def fit(ratios: Tensor) -> Tensor:
        s = ratios.log()
        points = standardised(s - s.mean(dim=1, keepdim=True) if descriptor == "contrast" else s)
        return fit_masks(points, s, levels, sizes, soft, seed=seed).masks

    x = standardised(v)
    names, node = ancestors[:, 0].unique(return_inverse=True)
    centres = sums(x, node, len(names)) / node.bincount()[:, None]
    centre = centres.mean(dim=0)
    for_all = fit(common)
    masks = []
    for i in range(len(names)):
        own = node == i
        divides = len(ancestors[own, -1].unique()) > 1
        if int(own.sum()) < MIN_ITEMS or not divides:
            masks.append(for_all)
            continue
        ratios = fisher_ratios(v[own], ancestors[own])
        ratios[:, 0] = (centres[i] - centre).square() / (x[own].var(dim=0) + 1e-6)
        masks.append(fit(ratios.clamp(min=LOWEST_RATIO)))
    return torch.stack(masks)


def _mixture(points: np.ndarray, levels: int, seed: int, restarts: int) -> np.ndarray:
    """Logarithm of every component's responsibility for every point ``[d, levels]``."""
    if len(np.unique(points, axis=0)) < levels:
        return np.full((len(points), levels), -math.log(levels))
    mixture = GaussianMixture(
        levels,
        covariance_type="diag",
        init_params="k-means++",
        n_init=restarts,
        reg_covar=1e-3,
        max_iter=100,
        random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture cut off after 100 iterations serves as well
        mixture.fit(points)
    variance = mixture.covariances_
    # not predict_proba: far from a component its probabilities are 0, and sizes would be filled up in any order
    distance = (points[:, None] - mixture.means_) ** 2 / variance
    log_joint = np.log(mixture.weights_) - 0.5 * (distance + np.log(variance)).sum(axis=2)
    return log_softmax(log_joint, axis=1)


def _component_of_level(r: np.ndarray, descriptor: Tensor, scores: Tensor | None) -> np.ndarray:
    share = r / r.sum(axis=0).clip(min=np.finfo(float).tiny)  # of every point in its component's mean
    if scores is None:
        return (share.T @ descriptor.detach().double().cpu().numpy()).mean(axis=1).argsort(kind="stable")
    total = share.T @ scores.detach().double().cpu().numpy()  # [components, levels]
    _, component = linear_sum_assignment(total.T, maximize=True)
    return component


def _equal_sizes(log_r: np.ndarray) -> np.ndarray:
    """The level of every dimension, in the best way that gives every level its share."""
    slots = _level_of_slot(log_r.shape[1], len(log_r))
    _, slot = linear_sum_assignment(log_r[:, slots], maximize=True)
    return slots[slot]


def _free_sizes(log_r: np.ndarray) -> np.ndarray:
    """The likeliest level of every dimension, but for those that starved levels need."""
    d, levels = log_r.shape
    least = math.ceil(d / (4 * levels))
    level_of = log_r.argmax(axis=1)
    for level in range(levels):
        while (level_of == level).sum() < least:
            spare = np.bincount(level_of, minlength=levels)[level_of] > least
            level_of[np.where(spare, log_r[:, level], -np.inf).argmax()] = level
    return level_of


# -- controls -------------------------------------------------------------------------------------------------------


def random_masks(levels: int, d: int, seed: int | torch.Generator = 0) -> Float[Tensor, "levels d"]:
    """A random split into levels of equal size: the control that every identified mask has to beat.

    Args:
        levels: number of levels.
        d: number of dimensions; where levels does not divide it, the first levels get one more.
        seed: or a generator on the CPU.

    Returns:
        float32 on the CPU, 0 or 1, disjoint, covering.

    Raises:
        ValueError: fewer dimensions than levels.

    Example:
        >>> random_masks(2, 128).sum(dim=1).tolist()
        [64.0, 64.0]
    """
    _check_levels(levels, d)
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    slots = torch.from_numpy(_level_of_slot(levels, d))
    return _one_hot(slots[torch.randperm(d, generator=generator)], levels)


def contiguous_masks(levels: int, d: int) -> Float[Tensor, "levels d"]:
    """A fixed split: the first dimensions belong to the coarsest level, the last ones to the leaves.

    Args:
        levels: number of levels.
        d: number of dimensions; where levels does not divide it, the first levels get one more.

    Returns:
        float32 on the CPU, 0 or 1, disjoint, covering.

    Raises:
        ValueError: fewer dimensions than levels.

    Example:
        >>> contiguous_masks(2, 4).tolist()
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    _check_levels(levels, d)
    return _one_hot(torch.from_numpy(_level_of_slot(levels, d)), levels)


def mask_overlap(a: Float[Tensor, "levels d"], b: Float[Tensor, "levels d"]) -> float:
    """Share of the dimensions that have the same level (of soft masks: the same highest one) in both, in [0, 1].

    A random split shares 1/levels with any other of equal sizes.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> mask_overlap(contiguous_masks(2, 4), contiguous_masks(2, 4).flip(0))
        0.0
    """
    if a.shape != b.shape:
        raise ValueError(f"masks {list(a.shape)} and {list(b.shape)}: compare masks of one model, [levels, d] each.")
    return float((a.argmax(dim=0) == b.argmax(dim=0)).float().mean())


def _level_of_slot(levels: int, d: int) -> np.ndarray:
    return np.sort(np.arange(d) % levels)


def _one_hot(level_of: Int[Tensor, " d"], levels: int) -> Float[Tensor, "levels d"]:
    return torch.nn.functional.one_hot(level_of, levels).T.float().contiguous()


def _check_levels(levels: int, d: int) -> None:
    if not 1 <= levels <= d:
        raise ValueError(f"{levels} levels of {d} dimensions: every level needs at least one dimension of its own.")
