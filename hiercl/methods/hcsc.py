"""HCSC: a tree of prototypes, and negatives that are kept or removed by drawing from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering import PrototypeTree
from hiercl.methods.base import Batch, Embed, Setting, Step, View, full_precision
from hiercl.methods.local_crops import LOCAL_CROPS, check_local_crops
from hiercl.methods.moco import MoCo, MomentumConfig
from hiercl.methods.schedules import check_share, warm_up_epochs
from hiercl.methods.with_tree import WithTree, check_sizes, tree_sizes
from hiercl.pairs import Kind, Members, Pairs, Term
from hiercl.runtime.seeds import Draws

SELECTIONS = ("none", "instances", "prototypes", "both")
HIGHEST_KEEP = 0.999  # of a draw, as in the official code: nothing is kept for certain
LOWEST_PROTOTYPE_KEEP = 1e-4


@dataclass(frozen=True)
class HCSCConfig(MomentumConfig):
    """Settings of HCSC; those of every method with a queue come first."""

    prototypes: tuple[int, ...] | None = None
    """Prototypes per level, coarse to fine; by default n/500, twice and three times that of n items."""
    select: str | Callable[[Tensor], Tensor] = "both"
    """What is selected: none, instances, prototypes or both; or a function from posterior to keep probability."""
    warm_up: float | None = None
    """Share of training before the first tree; by default 0.1 if that is 5,000 steps or more, else a third."""
    reduce: Literal["mean", "sum"] = "mean"
    """Of the instance terms over levels (official code: sum; the prototype terms are always averaged)."""
    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of all terms sum to 1; official: they stay as reduce leaves them."""
    removed: Literal["excluded", "zeroed"] = "excluded"
    """excluded: a removed negative is gone; zeroed: its logit is 0, as in the official code."""
    local_crops: int = 0
    """Small crops as further queries (multi-crop), 0 to 4."""
    restarts: int = 1
    """Of k-means (official code: 5)."""

    def __post_init__(self):
        super().__post_init__()
        if not callable(self.select) and self.select not in SELECTIONS:
            raise ValueError(
                f"select={self.select!r}: it is one of {', '.join(SELECTIONS)}, or a function from the posterior "
                "[anchors, candidates] to keep probabilities of the same shape, such as lambda p: 1 - p."
            )
        if callable(self.select):
            check_keep(self.select, torch.full((2, 3), 0.5))  # now rather than after hours of warm-up
        if self.restarts < 1:
            raise ValueError(f"restarts={self.restarts}: k-means needs at least one start.")
        check_share("warm_up", self.warm_up)
        check_sizes(self.prototypes)
        check_local_crops(self.local_crops)


class HCSC(WithTree, MoCo):
    r"""Hierarchical Contrastive Selective Coding (Guo et al., CVPR 2022, arXiv 2202.00455).

    Before every epoch after a warm-up (plain MoCo v2), the whole training set is embedded by the momentum encoder and
    clustered bottom-up into a :class:`~hiercl.PrototypeTree`. With $c^l(x)$ the prototype of the anchor's
    item on level $l$ and $\phi$ the concentrations, a queue item $n_j$ is *kept* as a negative by a draw:

    $$\pi^l_j = \frac{e^{\langle n_j, c^l(x)\rangle/\phi^l_{c(x)}}}{\sum_i e^{\langle n_j, c^l_i\rangle/\phi^l_i}},
      \qquad b^l_j \sim \text{Bernoulli}(1 - \pi^l_j)$$

    Instance terms, one a level, over the kept $N^l = \{n_j : b^l_j = 1\}$:

    $$\mathcal L^l_{\text{ICSC}} = -\log \frac{e^{\langle q,k\rangle/\tau}}
      {e^{\langle q,k\rangle/\tau} + \sum_{N^l} e^{\langle q,n_j\rangle/\tau}}$$

    Prototype terms, one a level: the positive is $c^l(x)$, the negatives are the other prototypes of the level, kept
    by the same kind of draw with the posterior, one level up, of the parent of $c^l(x)$ (at the top all are kept):

    $$\mathcal L^l_{\text{PCSC}} = -\log \frac{e^{\langle q, c^l(x)\rangle/\phi_{c(x)}}}
      {e^{\langle q, c^l(x)\rangle/\phi_{c(x)}} + \sum_{\text{kept } j} e^{\langle q, c^l_j\rangle/\phi_j}}$$

    Both posteriors need one number for each queue item and level that does not depend on the anchor (the
    denominator). Prototypes stand still during an epoch, so it is computed once, when an item enters the queue.

    One level and ``select="none"`` is InfoNCE + ProtoNCE over all prototypes: PCL (Li et al., 2021) but for its
    sampled negatives.

    Deviations
        *Paper*: its text was not at hand; the equations are read from the official code.
        *Official code* (gyfastas/HCSC at cec852d): (1) a removed negative has the logit 0 and still adds $e^0$;
        ours takes it out, ``removed="zeroed"`` is the official form. (2) Instance terms are summed over levels,
        prototype terms averaged; ours averages both and lets all weights sum to 1 (``reduce="sum"``,
        ``scale="official"``). (3) The prototype with the highest number is never a negative; ours has all. (4)
        Prototypes that are positive for any anchor of the batch are negatives for none, which leaves few or none with
        the 20 to 300 prototypes of small data; ours leaves out the anchor's own alone. (5) Failures of the selection
        are swallowed; ours raise. (6) faiss k-means with 5 restarts; ours one k-means++ start (``restarts``). (7)
        Local crops reuse the instance selection only behind a flag that is off; ours always. (8) Old keys of the own
        item are pushed; ours leaves them alone, as in :class:`MoCo`.
        *Ours*: sizes, queue, momentum, temperature and warm-up for 32-pixel data (see :class:`HCSCConfig`).
    """

    name = "hcsc"
    Config = HCSCConfig

    def __init__(self, encoder, config: HCSCConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        self.sizes = tree_sizes(config.prototypes, setting.items)
        self.warm_up_epochs = warm_up_epochs(config.warm_up, setting)
        self.register_buffer("log_normaliser", torch.zeros(len(self.sizes), len(self.queue)))  # of the queue, by level
        self.parent_posterior: tuple[Tensor, ...] = ()  # per level below the top: [prototypes one level up, prototypes]

    @property
    def plan(self) -> tuple[View, ...]:
        return (View(), View(), *LOCAL_CROPS[: self.config.local_crops])

    @property
    def starts(self) -> dict[str, int]:
        return {"warm_up": self.warm_up_epochs}

    # -- once an epoch ------------------------------------------------------------------------------------------

    def refresh(self, epoch: int, embed: Embed) -> None:
        if epoch >= self.warm_up_epochs:
            z = embed(self.project_key)
            seed = 1000 * self.setting.seed + epoch
            self.use(PrototypeTree.fit(z, self.sizes, seed, self.config.temperature, restarts=self.config.restarts))

    def use(self, tree: PrototypeTree) -> None:
        """Selects by this tree from now on."""
        self.place_tree(tree)
        for level in range(tree.levels):
            self.log_normaliser[level] = self.tree.log_normaliser(self.queue.keys, level)

    def place_tree(self, tree: PrototypeTree) -> None:
        super().place_tree(tree)
        tree = self.tree
        self.parent_posterior = tuple(
            tree.posterior(tree.centroids[level], level - 1).T.contiguous() for level in range(1, tree.levels)
        )

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        places = self.queue.enqueue(keys, items)
        if self.tree is not None:
            new = self.queue.keys[places]
            for level in range(self.tree.levels):
                self.log_normaliser[level, places] = self.tree.log_normaliser(new, level)

    # -- every step ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Step:
        first, _, *local = batch.views
        queries = {"": self.project(first)}
        queries |= {f"local {i}, ": self.project(view) for i, view in enumerate(local, start=1)}
        keys, items = batch.gather(self.keys(batch)), batch.gather(batch.items[:, 0])
        with full_precision(keys):
            base = self.instance_pairs(items, batch.place)
            logits = {crop: self.instance_logits(query, keys) for crop, query in queries.items()}
            if self.tree is None:
                terms = self.warm_up_terms(logits, base)
            else:
                terms = self.selective_terms(logits, queries, base, batch.draws)
            return Step(terms, items, keys)

    def warm_up_terms(self, logits: dict[str, Tensor], pairs: Pairs) -> tuple[Term, ...]:
        """MoCo v2's term for every query."""
        weight = 1 / len(logits) if self.config.scale == "normalised" else 1.0
        return tuple(Term(f"{crop}instance", values, pairs, weight) for crop, values in logits.items())

    def selective_terms(
        self, logits: dict[str, Tensor], queries: dict[str, Tensor], base: Pairs, draws: Draws
    ) -> tuple[Term, ...]:
        """Instance and prototype terms of every level, for every query."""
        levels = range(self.tree.levels)
        instance_weight, prototype_weight = self.weights(len(queries))
        removed_logit = -math.inf if self.config.removed == "excluded" else 0.0
        selected = [self.select_instances(base, level, draws) for level in levels]  # shared by all crops
        terms = []
        for crop, query in queries.items():
            for level in levels:
                name = f"{crop}instance {level}"
                terms.append(Term(name, logits[crop], selected[level], instance_weight, removed_logit=removed_logit))
            for level in levels:
                name = f"{crop}prototype {level}"
                pairs = self.select_prototypes(base.anchors.item, level, draws)  # drawn anew for every crop
                logits_of_prototypes = self.tree.logits(query, level)
                terms.append(Term(name, logits_of_prototypes, pairs, prototype_weight, removed_logit=removed_logit))
        return tuple(terms)

    def weights(self, queries: int) -> tuple[float, float]:
        """Weight of an instance term and of a prototype term."""
        levels = len(self.sizes)
        instance = 1 / levels if self.config.reduce == "mean" else 1.0
        prototype = 1 / levels
        total = queries * levels * (instance + prototype) if self.config.scale == "normalised" else 1.0
        return instance / total, prototype / total

    # -- selection ----------------------------------------------------------------------------------------------

    def instance_posterior(self, item: Tensor, level: int, keys: int) -> Tensor:
        r"""$\pi^l_j$ of every anchor and candidate, ``[B, keys + K]``; 0 for the keys of the batch, never negatives.

        One matmul, thanks to the stored denominators.
        """
        own = self.tree.assignment[item, level]
        scaled = self.tree.centroids[level][own] / self.tree.concentration[level][own][:, None]
        batch = self.queue.keys.new_zeros(keys, scaled.shape[1])
        denominator = F.pad(self.log_normaliser[level], (keys, 0), value=math.inf)
        return (scaled @ torch.cat([batch, self.queue.keys]).T).sub_(denominator).exp_().clamp_(max=1)

    def select_instances(self, pairs: Pairs, level: int, draws: Draws) -> Pairs:
        """MoCo's pairs with the queue thinned by a draw at this level."""
        if not self.selects("instances"):
            return pairs
        candidates = len(pairs.candidates)
        keep = self.keep(self.instance_posterior(pairs.anchors.item, level, candidates - len(self.queue)))
        keep = keep.clamp(0, HIGHEST_KEEP)
        removed = (draws.uniform(*keep.shape) >= keep).logical_and_(pairs.negative)
        return replace(pairs, negative=pairs.negative ^ removed, removed=removed, keep_probability=keep, level=level)

    def select_prototypes(self, item: Tensor, level: int, draws: Draws) -> Pairs:
        """The anchor's own prototype is pulled, the others of its level are pushed or removed by a draw."""
        own = self.tree.assignment[item, level]
        size = self.tree.sizes[level]
        anchor = torch.arange(len(item), device=item.device)
        negative = torch.ones(len(item), size, dtype=torch.bool, device=item.device)
        negative[anchor, own] = False
        removed, keep = torch.zeros_like(negative), None
        if level > 0 and self.selects("prototypes"):
            parent = self.tree.parent[level][own]
            keep = self.keep(self.parent_posterior[level - 1][parent])
            keep = keep.clamp(LOWEST_PROTOTYPE_KEEP, HIGHEST_KEEP)
            removed = (draws.uniform(*keep.shape) >= keep) & negative
        return Pairs(
            Members.of(Kind.VIEW, item),
            Members.of(Kind.PROTOTYPE, torch.arange(size, device=item.device)),
            torch.stack([anchor, own], dim=1),
            torch.ones(len(item), device=item.device),
            negative & ~removed,
            removed,
            keep_probability=keep,
            level=level,
        )

    def selects(self, what: Literal["instances", "prototypes"]) -> bool:
        """Whether selection acts on instances, or on prototypes."""
        return callable(self.config.select) or self.config.select in (what, "both")

    def keep(self, posterior: Tensor) -> Tensor:
        """Keep probability: 1 − posterior, or the user's own rule."""
        if not callable(self.config.select):
            return posterior.neg_().add_(1)
        return check_keep(self.config.select, posterior)


def check_keep(select: Callable[[Tensor], Tensor], posterior: Tensor) -> Tensor:
    """Keep probabilities by the user's rule. Raises ValueError if they are none."""
    keep = select(posterior)
    if not isinstance(keep, Tensor) or keep.shape != posterior.shape:
        raise ValueError(
            f"select must give keep probabilities of the posterior's shape {tuple(posterior.shape)}; it gave "
            f"{tuple(keep.shape) if isinstance(keep, Tensor) else type(keep).__name__}."
        )
    keep = keep.to(posterior.dtype)
    if not bool(((keep >= 0) & (keep <= 1)).all()):
        raise ValueError(
            f"select must give probabilities between 0 and 1; it gave {keep.min():.3g} to {keep.max():.3g}."
        )
    return keep
