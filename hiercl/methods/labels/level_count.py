"""How many levels of a hierarchy the features carry: a Dirichlet-process mixture over feature dimensions.

Hard masks need the number of levels. Letting a Dirichlet process find it is named as future work in "Feature
Identification for Hierarchical Contrastive Learning" (Ott et al., arXiv 2510.00837, by a summary of it). *All of this
file is ours.* ``benchmarks/level_count_results.md`` has what it found where the number was known.
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor

from hiercl.methods.labels.descriptors import Descriptor, describe
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Float, Int

PRIORS = ("dirichlet_process", "dirichlet_distribution")


@dataclass(frozen=True)
class LevelProposal:
    """A number of levels, and the groups of dimensions behind it.

    Attributes:
        levels: how many components hold the least share of the dimensions.
        weights: share of the dimensions that are likeliest of each component, largest first; they sum to 1.
        assignment: component of every dimension among those that count, the largest first: *not* coarse to fine, which
            the mixture cannot know.
    """

    levels: int
    weights: tuple[float, ...]
    assignment: Int[Tensor, " d"]


def propose_levels(
    v: Float[Tensor, "items d"],
    ancestors: Int[Tensor, "items depth"] | None = None,
    descriptor: Descriptor = "correlation",
    max_levels: int = 6,
    prior: float = 0.1,
    prior_type: Literal["dirichlet_process", "dirichlet_distribution"] = "dirichlet_process",
    min_share: float = 0.05,
    seed: int = 0,
    restarts: int = 3,
) -> LevelProposal:
    r"""Proposes how many levels the feature dimensions fall into.

    A mixture whose weights have a Dirichlet-process prior (stick-breaking, cut off at K = ``max_levels``; Blei &
    Jordan, 2006), with diagonal Gaussians, is fitted to the described dimensions; superfluous components lose
    their weight:

    $$w_k = \beta_k \prod_{i<k}(1-\beta_i), \quad \beta_k \sim \mathrm{Beta}(1, \gamma), \qquad
      \text{levels} = \#\Big\{k : \tfrac1d\,\#\{j : k = \arg\max_{k'} r_{j,k'}\} \ge \text{min\_share}\Big\}$$

    **When it fails.** Without labels it does not find the number of levels: on planted features of one to four levels
    it proposes two to six whatever was planted (right in 15 to 25 %; always giving one number is right in 25 %), with
    every label-free descriptor and every prior from 0.01 to 10. Our reading: features of one level are no Gaussian
    blob in any of these descriptions, so the mixture counts the Gaussians that their shape takes. On three trained
    encoders it proposes one by correlations and one to five by moments. Take a label-free proposal as a description,
    never as evidence.

    What works is another question: given a labelled hierarchy (``ancestors``, ``descriptor="raw"``), how many of its
    levels do the features serve? Right in 85 to 95 % on the same features, but no longer (38 %) where the logarithms of
    the features' strengths differ by a standard deviation of 1: ``raw`` then groups strong and weak ones.

    Source: ours.

    Args:
        v: features.
        ancestors: node of every item at every level, coarse first; for the descriptors made from labels.
        descriptor: what describes a dimension; see :func:`hiercl.descriptors.describe`.
        max_levels: number of components, the highest proposal.
        prior: γ, of the weights: smaller means fewer components.
        prior_type: or a finite Dirichlet prior with γ for every component.
        min_share: of the dimensions, above 0 and at most 1/max_levels (so that one component always has it).
        seed: of the starts (k-means++), any whole number from 0.
        restarts: starts of the mixture; the fit with the highest lower bound is kept.

    Raises:
        ValueError: a number out of its range, more levels than dimensions, an unknown name, and whatever `describe`
            raises.

    Example:
        >>> propose_levels(v, ancestors, descriptor="raw").levels
        2
    """
    if not 1 <= max_levels <= v.shape[-1]:
        raise ValueError(f"max_levels={max_levels}: between 1 and the number of dimensions, {v.shape[-1]}.")
    if not prior > 0 or restarts < 1:
        raise ValueError(f"prior={prior} and restarts={restarts}: the first is above 0, the second at least 1.")
    if not 0 < min_share <= 1 / max_levels:
        raise ValueError(f"min_share={min_share}: above 0 and at most 1/max_levels, {1 / max_levels:.3g}.")
    if prior_type not in PRIORS:
        raise unknown("prior type", prior_type, PRIORS)
    points = describe(v.detach(), ancestors, descriptor).cpu().numpy()
    mixture = BayesianGaussianMixture(
        n_components=min(max_levels, len(np.unique(points, axis=0))),  # copies of a point cannot be told apart
        covariance_type="diag",
        weight_concentration_prior_type=prior_type,
        weight_concentration_prior=prior,
        init_params="k-means++",
        n_init=restarts,
        reg_covar=1e-3,
        max_iter=200,
        random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # components that die slowly hold few dimensions already
        responsibilities = mixture.fit(points).predict_proba(points)
    weights = np.bincount(responsibilities.argmax(axis=1), minlength=max_levels) / len(points)
    order = np.argsort(-weights, kind="stable")
    levels = int((weights >= min_share).sum())
    assignment = responsibilities[:, order[:levels]].argmax(axis=1)
    return LevelProposal(levels, tuple(weights[order].tolist()), torch.from_numpy(assignment))
