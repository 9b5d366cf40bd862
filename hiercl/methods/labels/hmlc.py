"""SupCon and its hierarchical forms HMC, HCE and HMCE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from hiercl.methods.base import Batch, TrainingInfo
from hiercl.methods.labels.contrast import LabelContrast, LevelsConfig, Observed, SupConConfig
from hiercl.pairs import Term, Terms
from hiercl.runtime.config import AtLeast


class SupCon(LabelContrast):
    r"""Supervised contrastive learning (Khosla et al., 2020, arXiv 2004.11362, eq. 2, the "out" form).

    The loss of :class:`~hiercl.methods.labels.LabelContrast` at the leaves alone:

    $$\mathcal L = \frac1{2N}\sum_i \frac{-1}{|P(i)|}\sum_{p\in P(i)}
      \log\frac{e^{\langle z_i,z_p\rangle/\tau}}{\sum_{a\ne i}e^{\langle z_i,z_a\rangle/\tau}}$$

    Candidates: all views of the batch. Pulled: the views of the same leaf class; they also compete with one another.
    Pushed: all views of other classes. Left alone: the anchor itself.

    Deviations
        *Official code* (HobbitLong/SupContrast at 66a8fe5): it multiplies the loss by τ/0.07, so that the temperature
        changes the learning rate too; ours does not (``scale="official"`` does; ``official=True`` sets it). It has
        batch 1,024, SGD with rate 0.5, 1,000 epochs and ResNet-50. *Ours*: the package's encoders, head and optimisers.

    Example:
        >>> untrained = hiercl.fit("supcon", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['level 2']
    """

    name = "supcon"
    Config = SupConConfig
    levels_used = slice(-1, None)

    @property
    def official_divisor(self) -> int:
        return 1


@dataclass(frozen=True)
class HMCConfig(LevelsConfig):
    """Settings of HMC."""

    level_weights: Literal["exp", "power", "uniform"] | tuple[Annotated[float, AtLeast(0)], ...] = "exp"
    """Weight λ of each level, where l = 1 is the finest. exp: e^(1/l); power: 2^(1/l); uniform: 1. Or your own
    numbers, coarse to fine, at least 0."""

    official: ClassVar[Mapping[str, Any]] = {**LevelsConfig.official, "level_weights": "exp"}

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.level_weights, str) and not any(self.level_weights):
            raise ValueError(f"level_weights={self.level_weights}: at least one weight must be above 0.")


class HMC(LabelContrast):
    r"""Hierarchical multi-label contrast, HiMulCon (Zhang et al., CVPR 2022, arXiv 2204.13207).

    The weighted mean of the losses of all levels, with l = 1 the finest:

    $$\mathcal L = \frac{\sum_l \lambda_l\mathcal L_l}{\sum_l\lambda_l}, \qquad \lambda_l = e^{1/l}$$

    Candidates, at every level: all views of the batch. Pulled: the views of the same class at that level (and so at
    all levels above it). Pushed: all other views. Left alone: the anchor itself. Removed: the items that
    ``thinning=True`` takes out.

    Deviations
        *Paper*: its text was not at hand; the equations are those of the official code.
        *Official code* (salesforce/hierarchicalContrastiveLearning at f075235): (1) After every level, from the finest
        up, it thins the batch to one item of every class, the first in the batch, and sorts what it keeps by class. So
        at three and more levels the next thinning keeps, of every class, the item of the lowest finer class. Ours keeps
        all items; ``thinning=True`` keeps the item with the lowest number of each class of the next finer level, at
        every depth, so that the order of the batch changes nothing. ``thinning_keeps="official"`` is the code's form at
        any depth. (2) It multiplies by τ/0.07 and divides by the number of label columns, which is the number of levels
        and one more. In ours the weights sum to 1 (``scale="official"`` does as the code). The weights $e^{1/l}$ are
        those of its training script; its class has $2^{1/l}$ by default. (3) It takes labels as columns, and the last
        column must be an item number: with columns (coarse, fine) it trains the coarse level alone, without a warning.
        Ours takes a hierarchy. (4) It starts from a pretrained ResNet-50 and trains two of its stages, and it draws
        batches with relatives of every item. *Ours*: training from scratch with random batches (with 256 items of 100
        classes every level has positives); optionally one head per level (``heads="level"``).
        ``official=True`` sets the switches of (1) and (2).

    Example:
        >>> untrained = hiercl.fit("hmc", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['level 0', 'level 1', 'level 2']
    """

    name = "hmc"
    Config = HMCConfig

    def __init__(self, encoder, config: HMCConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        given = config.level_weights
        if not isinstance(given, str) and len(given) != self.levels:
            raise ValueError(f"level_weights={given}: the hierarchy has {self.levels} levels, give as many weights.")

    def level_weights(self) -> tuple[float, ...]:
        return schedule_weights(self.config.level_weights, self.levels)


def schedule_weights(schedule: str | tuple[float, ...], levels: int) -> tuple[float, ...]:
    r"""Returns $\lambda$ of every level, coarse to fine; l = 1 is the finest.

    Args:
        schedule: "exp" for $e^{1/l}$, "power" for $2^{1/l}$, "uniform" for 1, or the weights themselves.
        levels: number of levels.

    Example:
        >>> [round(weight, 3) for weight in schedule_weights("exp", 2)]
        [1.649, 2.718]
    """
    if not isinstance(schedule, str):
        return schedule
    base = {"exp": math.e, "power": 2.0, "uniform": 1.0}[schedule]
    return tuple(base ** (1 / depth) for depth in range(levels, 0, -1))


@dataclass(frozen=True)
class HCEConfig(LevelsConfig):
    """Settings of HCE."""

    maximum: Literal["batch", "pair", "centred"] = "batch"
    """Which losses the maximum compares. batch: the levels' means over the batch (official code); pair: those of every
    pair (paper); centred: the means minus the loss of equal embeddings (ours; it differs only with thinning)."""

    official: ClassVar[Mapping[str, Any]] = {**LevelsConfig.official, "maximum": "batch"}

    def __post_init__(self):
        super().__post_init__()
        if self.maximum == "pair" and self.block is not None:
            raise ValueError("maximum='pair' needs all pairs of a batch at once: leave out block.")
        if self.maximum == "centred" and (self.balance == "classes" or self.negatives != "equal"):
            raise ValueError(
                "maximum='centred' compares with the number of candidates, which has no meaning where candidates have "
                "weights: leave out negatives and balance='classes', or choose another maximum."
            )


class HCE(LabelContrast):
    r"""Hierarchical constraint enforcing, HiConE (Zhang et al., CVPR 2022, arXiv 2204.13207).

    The loss of a coarser pair may not be below that of a finer pair. Let l = 1 be the finest level, $\ell_l(i, p)$ the
    loss of one pair, and $m_l$ the largest loss, raised in this way, of the finer levels, with $m_1 = -\infty$:

    $$\mathcal L = \frac1H\sum_l \frac1{2N}\sum_i\frac1{|P_l(i)|}\sum_{p\in P_l(i)}\max(\ell_l(i,p),\, m_l)
      \qquad \text{maximum="pair"}$$

    $$\mathcal L = \frac1H\sum_l \max(\mathcal L_l,\, m_l) \qquad \text{maximum="batch"}$$

    The maximum is not detached: where it replaces a coarser loss, the gradient is that of the finer loss.

    Candidates and roles are those of :class:`HMC`. The history has the share of coarser losses that the maximum
    replaces.

    With two levels and *batch*, a step is that of one of two other methods. Where the coarse loss is the larger one,
    nothing is raised: this is HMC. Where the fine loss is the larger one, it replaces the coarse one: this is SupCon.
    Without thinning the coarse loss mostly is the larger one. With thinning the coarse level has few candidates, and
    its loss is the smaller one while the classes lie close together. Where they are well separated, the fine loss falls
    below it, and the step is that of HMC with thinning. The history says how often each happens (``maximum acts``).
    *pair* replaces nearly every coarser pair by the batch's worst finer pair.

    Deviations
        *Paper*: its text was not at hand. The official code's notes say that its constraint is per pair.
        *Official code*: it is ``official=True``, that is ``maximum="batch"``, ``thinning=True``,
        ``thinning_keeps="official"``, ``scale="official"``. *Ours*:
        ``maximum="centred"`` compares $\mathcal L_l - \log C_l$, with $C_l$ the number of candidates at a level, so
        that a level does not count as easier because thinning left it fewer candidates. All deviations of
        :class:`HMC` hold too.

    Example:
        >>> untrained = hiercl.fit("hce", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['level 0', 'level 1', 'level 2']
    """

    name = "hce"
    Config = HCEConfig

    def combine(self, terms: Terms, batch: Batch) -> Tensor:
        raised, _ = self.raised(terms, batch)
        return cast(Tensor, sum(term.weight * loss for term, loss in zip(terms, raised, strict=True)))

    @torch.no_grad()
    def observe(self, terms: Terms, masks: Tensor | None, batch: Batch) -> Observed:
        return {"maximum acts": self.raised(terms, batch)[1]}

    def raised(self, terms: Terms, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Returns the levels' losses, raised, coarse to fine, and the share of coarser losses that were raised."""
        if self.in_warm_up:  # every item is its own class at every level: there is nothing to compare
            return [term.loss for term in terms], terms[0].loss.new_zeros(())
        if self.config.maximum == "pair":
            return raised_pairs(cast(tuple[Term, ...], terms), batch)
        return raised_means(terms, batch, self.chance(batch) if self.config.maximum == "centred" else 0.0)

    def chance(self, batch: Batch) -> Tensor:
        """Returns every level's loss for equal embeddings, the log of its number of candidates, ``[levels]``."""
        item = batch.gather(batch.items[:, 0])
        label = self.ancestors[item]
        kept = [self.kept(item, label, level) for level in range(self.levels)]
        items = torch.stack([(label[:, -1] >= 0 if keep is None else keep).sum() for keep in kept])
        return (2 * items - 1).clamp(min=1).float().log()


def raised_means(terms: Terms, batch: Batch, chance: Tensor | float) -> tuple[list[Tensor], Tensor]:
    """Raises every level's mean loss to the largest of the finer levels; ``chance`` is subtracted to compare them."""
    mean = batch.gather(torch.stack([term.loss for term in terms])[None]).mean(dim=0)  # of all processes
    centred = mean - chance
    highest = centred.flip(0).cummax(dim=0).values.flip(0)
    acts = (highest > centred)[:-1].float()
    return list((highest + chance).unbind()), acts.mean() if len(acts) else acts.sum()


def raised_pairs(terms: tuple[Term, ...], batch: Batch) -> tuple[list[Tensor], Tensor]:
    """Raises every pair's loss to the largest pair loss of the finer levels, and averages it at every level."""
    losses, acts, highest = [], [], None
    for term in reversed(terms):
        of_pair = term.reduced("positives")
        if highest is not None:
            acts.append((of_pair < highest).sum() / max(1, len(of_pair)))
            of_pair = torch.maximum(of_pair, highest)
        # With thinning, or among items without labels, a process may have no pair at a level.
        largest = of_pair.max() if len(of_pair) else of_pair.new_full((), -math.inf)
        highest = batch.gather(largest[None]).max()
        anchor = term.pairs.positive_index[:, 0]
        pairs = torch.bincount(anchor, minlength=len(term.pairs.anchors))
        share = 1 / pairs[anchor]
        if term.pairs.anchor_weight is not None:
            share = share * term.pairs.anchor_weight[anchor]
        losses.append((share * of_pair).sum() / cast(Tensor, term.count))
    return losses[::-1], torch.stack(acts).mean() if acts else losses[0].new_zeros(())


@dataclass(frozen=True)
class HMCEConfig(HCEConfig, HMCConfig):
    """Settings of HMCE: those of HMC and HCE."""

    official: ClassVar[Mapping[str, Any]] = {**HMCConfig.official, **HCEConfig.official}


class HMCE(HCE, HMC):
    r"""HMC and HCE together, HiMulConE (Zhang et al., CVPR 2022, arXiv 2204.13207).

    $$\mathcal L = \frac{\sum_l\lambda_l\max(\mathcal L_l, m_l)}{\sum_l\lambda_l}$$

    with the weights of :class:`HMC` and the maximum of :class:`HCE`. See there for the forms of the maximum, for the
    deviations, and for what happens with two levels.

    Example:
        >>> untrained = hiercl.fit("hmce", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['level 0', 'level 1', 'level 2']
    """

    name = "hmce"
    Config = HMCEConfig
