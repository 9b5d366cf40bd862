"""SupCon, and what makes it hierarchical: HMC, HCE and HMCE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hiercl.methods.base import Batch, Setting
from hiercl.methods.labels.contrast import LabelContrast, LevelsConfig, Observed, SupConConfig
from hiercl.pairs import BlockTerm, Term

SCHEDULES = ("exp", "power", "uniform")


class SupCon(LabelContrast):
    r"""Supervised contrastive learning (Khosla et al., 2020, arXiv 2004.11362, eq. 2, the "out" form).

    The loss of :class:`~hiercl.methods.labels.LabelContrast` at the leaves alone:

    $$\mathcal L = \frac1{2N}\sum_i \frac{-1}{|P(i)|}\sum_{p\in P(i)}
      \log\frac{e^{\langle z_i,z_p\rangle/\tau}}{\sum_{a\ne i}e^{\langle z_i,z_a\rangle/\tau}}$$

    Candidates: all views of the batch. Pulled: those of the same leaf class. Pushed: everyone else; the pulled compete
    with one another as well. Left alone: itself.

    Deviations
        *Official code* (HobbitLong/SupContrast at 66a8fe5): multiplies by τ/0.07, and so changes the learning rate with
        the temperature; ours does not (``scale="official"`` does). Batch 1,024, SGD 0.5, 1,000 epochs, ResNet-50.
        *Ours*: the package's encoders, head and optimisers.
    """

    name = "supcon"
    Config = SupConConfig
    levels_used = slice(-1, None)

    @property
    def official_divisor(self) -> int:
        return 1


@dataclass(frozen=True)
class HMCConfig(LevelsConfig):
    """Settings of HMC; those of SupCon come first."""

    level_weights: Literal["exp", "power", "uniform"] | tuple[float, ...] = "exp"
    """λ of a level, with l = 1 the finest: exp e^(1/l), power 2^(1/l), uniform 1; or your own, coarse to fine."""

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.level_weights, str):
            schedule_weights(self.level_weights, 1)  # now rather than in the first step
        elif not self.level_weights or min(self.level_weights) < 0 or not any(self.level_weights):
            raise ValueError(f"level_weights={self.level_weights}: none may be negative, and not all of them 0.")


class HMC(LabelContrast):
    r"""Hierarchical multi-label contrast, HiMulCon (Zhang et al., CVPR 2022, arXiv 2204.13207).

    The weighted mean of the losses of all levels, with l = 1 the finest:

    $$\mathcal L = \frac{\sum_l \lambda_l\mathcal L_l}{\sum_l\lambda_l}, \qquad \lambda_l = e^{1/l}$$

    Candidates, at every level: all views of the batch. Pulled: those of the same class at that level (and so at all
    levels above). Pushed: everyone else. Left alone: itself. Removed: the thinned-out items (``thinning=True``).

    Deviations
        *Paper*: its text was not at hand; the equations are those of the official code.
        *Official code* (salesforce/hierarchicalContrastiveLearning at f075235): (1) after every level, from the finest
        up, the batch is thinned to one item of every class, the first of the batch; ours keeps all, and
        ``thinning=True`` keeps the item with the lowest number, so that the order of the batch changes nothing. (2)
        Multiplies by τ/0.07 and divides by the number of label columns, which is one more than there are levels; ours
        lets the weights sum to 1, ``scale="official"`` does as the code. (3) Takes labels as columns of which the last
        must be an item number: (coarse, fine) trains the coarse level alone, without a word. Ours takes a hierarchy.
        (4) Starts from a pretrained ResNet-50 of which two stages are trained, and draws batches with relatives of
        every item. *Ours*: from scratch, random batches (at 256 of 100 classes every level has positives); a head for
        every level on request (``heads="level"``).
    """

    name = "hmc"
    Config = HMCConfig

    def __init__(self, encoder, config: HMCConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        given = config.level_weights
        if not isinstance(given, str) and len(given) != self.levels:
            raise ValueError(f"level_weights={given}: the hierarchy has {self.levels} levels, give as many weights.")

    def level_weights(self) -> tuple[float, ...]:
        return schedule_weights(self.config.level_weights, self.levels)


def schedule_weights(schedule: str | tuple[float, ...], levels: int) -> tuple[float, ...]:
    r"""$\lambda$ of every level, coarse to fine; l = 1 is the finest: $e^{1/l}$ ("exp"), $2^{1/l}$ ("power"), 1.

    Raises:
        ValueError: an unknown schedule.

    Example:
        >>> [round(weight, 3) for weight in schedule_weights("exp", 2)]
        [1.649, 2.718]
    """
    if not isinstance(schedule, str):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(f"level_weights={schedule!r}: it is one of {', '.join(SCHEDULES)}, or your own numbers.")
    base = {"exp": math.e, "power": 2.0, "uniform": 1.0}[schedule]
    return tuple(base ** (1 / depth) for depth in range(levels, 0, -1))


@dataclass(frozen=True)
class HCEConfig(LevelsConfig):
    """Settings of HCE; those of SupCon come first."""

    maximum: Literal["batch", "pair", "centred"] = "batch"
    """Of which losses: of the levels' means over the batch (the official code), of every pair (the paper), or of the
    means less their value for equal embeddings (ours; it differs from batch only with thinning)."""

    def __post_init__(self):
        super().__post_init__()
        if self.maximum == "pair" and self.block is not None:
            raise ValueError("maximum='pair' looks at all pairs of a batch at once: leave out block=, or take another.")


class HCE(LabelContrast):
    r"""Hierarchical constraint enforcing, HiConE (Zhang et al., CVPR 2022, arXiv 2204.13207).

    A coarser pair's loss may not lie below a finer pair's. With l = 1 the finest level, $\ell_l(i, p)$ the loss of one
    pair, and $m_l$ the largest (already raised) loss of the finer levels, $m_1 = -\infty$:

    $$\mathcal L = \frac1H\sum_l \frac1{2N}\sum_i\frac1{|P_l(i)|}\sum_{p\in P_l(i)}\max(\ell_l(i,p),\, m_l)
      \qquad \text{maximum="pair"}$$

    $$\mathcal L = \frac1H\sum_l \max(\mathcal L_l,\, m_l) \qquad \text{maximum="batch"}$$

    The maximum is not detached: where it acts, the finer loss's gradient takes the place of the coarser one's.

    Candidates and roles as in :class:`HMC`. The history has the share of coarser losses that the maximum replaces.

    At two levels *batch* is seldom a method of its own: without thinning the coarse loss is the larger one and nothing
    is raised, which leaves HMC; with thinning, which leaves the coarse level few candidates, it is always raised, which
    leaves SupCon. *pair* replaces nearly every coarser pair by the batch's worst finer pair.

    Deviations
        *Paper*: its text was not at hand; that its constraint is per pair is known from the official code's notes.
        *Official code*: ``maximum="batch"``, ``thinning=True``, ``scale="official"``. *Ours*: ``maximum="centred"``
        compares $\mathcal L_l - \log C_l$, with $C_l$ the number of candidates of a level, so that a level is not held
        to be easier because thinning has left it fewer; and all that :class:`HMC` says.
    """

    name = "hce"
    Config = HCEConfig

    def combine(self, terms: tuple[Term | BlockTerm, ...], batch: Batch) -> Tensor:
        raised, _ = self.raised(terms, batch)
        return sum(term.weight * loss for term, loss in zip(terms, raised, strict=True))

    @torch.no_grad()
    def observe(self, terms: tuple[Term | BlockTerm, ...], masks: Tensor | None, batch: Batch) -> Observed:
        return {"maximum acts": self.raised(terms, batch)[1]}

    def raised(self, terms: tuple[Term | BlockTerm, ...], batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The levels' losses (coarse to fine) after the maximum, and the share of coarser ones that it replaced."""
        if self.in_warm_up:  # every item is a class of its own at every level: there is nothing to compare
            return [term.loss for term in terms], terms[0].loss.new_zeros(())
        if self.config.maximum == "pair":
            return raised_pairs(terms, batch)
        return raised_means(terms, batch, self.chance(batch) if self.config.maximum == "centred" else 0.0)

    def chance(self, batch: Batch) -> Tensor:
        """Every level's loss for equal embeddings, ``[levels]``: the logarithm of its number of candidates."""
        item = batch.gather(batch.items[:, 0])
        label = self.ancestors[item]
        kept = [self.kept(item, label, level) for level in range(self.levels)]
        items = torch.stack([torch.ones_like(item).sum() if keep is None else keep.sum() for keep in kept])
        return (2 * items - 1).clamp(min=1).float().log()


def raised_means(
    terms: tuple[Term | BlockTerm, ...], batch: Batch, chance: Tensor | float
) -> tuple[list[Tensor], Tensor]:
    """Every level's mean loss, raised to the largest of the finer levels; less its chance while they compare."""
    mean = batch.gather(torch.stack([term.loss for term in terms])[None]).mean(dim=0)  # of all processes
    centred = mean - chance
    highest = centred.flip(0).cummax(dim=0).values.flip(0)
    acts = (highest > centred)[:-1].float()
    return list((highest + chance).unbind()), acts.mean() if len(acts) else acts.sum()


def raised_pairs(terms: tuple[Term, ...], batch: Batch) -> tuple[list[Tensor], Tensor]:
    """Every pair's loss, raised to the largest pair's of the finer levels, then the mean of every level."""
    losses, acts, highest = [], [], None
    for term in reversed(terms):
        of_pair = term.reduced("positives")
        if highest is not None:
            acts.append((of_pair < highest).sum() / max(1, len(of_pair)))
            of_pair = torch.maximum(of_pair, highest)
        # With thinning, a process may have no pair at a level.
        largest = of_pair.max() if len(of_pair) else of_pair.new_full((), -math.inf)
        highest = batch.gather(largest[None]).max()
        anchor = term.pairs.positive_index[:, 0]
        pairs = torch.bincount(anchor, minlength=len(term.pairs.anchors))
        share = 1 / pairs[anchor]
        count = (pairs > 0).sum() if term.count is None else term.count
        losses.append((share * of_pair).sum() / count)
    return losses[::-1], torch.stack(acts).mean() if acts else losses[0].new_zeros(())


@dataclass(frozen=True)
class HMCEConfig(HCEConfig, HMCConfig):
    """Settings of HMCE: those of HMC and HCE."""


class HMCE(HCE, HMC):
    r"""HMC and HCE together, HiMulConE (Zhang et al., CVPR 2022, arXiv 2204.13207).

    $$\mathcal L = \frac{\sum_l\lambda_l\max(\mathcal L_l, m_l)}{\sum_l\lambda_l}$$

    with the weights of :class:`HMC` and the maximum of :class:`HCE`, where its forms, the deviations and what becomes
    of it at two levels are said.
    """

    name = "hmce"
    Config = HMCEConfig
