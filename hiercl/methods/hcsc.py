"""HCSC: a tree of prototypes, and random draws by this tree that keep or remove negatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering import PrototypeTree
from hiercl.methods.base import (
    LOCAL_CROPS,
    OFFICIAL_CROPS,
    Batch,
    Embed,
    LocalCrops,
    Step,
    Supervision,
    TrainingInfo,
    ViewSpec,
    full_precision,
)
from hiercl.methods.moco import MoCo, MomentumConfig
from hiercl.methods.with_tree import Sizes, WithTree, check_sizes, tree_sizes
from hiercl.pairs import Kind, Members, Pairs, Seen, Term, Vectors
from hiercl.runtime.config import Above, AtLeast, Share
from hiercl.runtime.seeds import Draws

HIGHEST_KEEP = 0.999  # largest keep probability, as in the official code: nothing is kept for certain
LOWEST_PROTOTYPE_KEEP = 1e-4  # smallest keep probability of a prototype

Queries = dict[str, Tensor]  # by name: "" for the large view, "local 1, " and so on for small crops


@dataclass(frozen=True)
class HCSCConfig(MomentumConfig):
    """Settings of HCSC."""

    prototypes: Sizes | None = None
    """Number of prototypes per level, coarse to fine. None: n/500, twice and three times that for n items."""
    select: Literal["none", "instances", "prototypes", "both"] | Callable[[Tensor], Tensor] = "both"
    """Which negatives are selected: none, instances, prototypes or both. Or your own function: it takes the posterior,
    with a row per anchor and a column per candidate, and returns keep probabilities, as lambda p: 1 - p."""
    select_by: Literal["tree", "random", "labels"] = "tree"
    """What the selection goes by. tree: the learned prototypes. Two controls: random shuffles the tree's keep
    probabilities among the candidates, so equally many are removed; labels removes candidates of the anchor's leaf
    class, so it reads labels."""
    terms: Literal["both", "instances", "prototypes"] = "both"
    """Which terms the loss has after the warm-up: instance terms, prototype terms or both. Both draw the items of a
    cluster together; with instance terms alone one sees what their selection does."""
    sharpness: Annotated[float, Above(0)] = 1.0
    """Factor of the logits in the posterior of the selection, above 0; 1 is the official code. A higher one makes the
    posterior sharper: more members of the anchor's own cluster are removed, and fewer of the others."""
    warm_up: Share | None = None
    """Share of training before the first tree, 0 to 1. None: 0.1 if that is at least 5,000 steps, else 1/3."""
    reduce: Literal["mean", "sum", "official"] = "mean"
    """How instance terms are joined over levels. official: their sum where a selection makes them differ, and one term
    where none does, as with select="none". Prototype terms are always averaged."""
    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of all terms are scaled to sum to 1; official: they are not scaled."""
    removed: Literal["excluded", "zeroed"] = "excluded"
    """excluded: a removed negative has no part in the loss; zeroed: its logit is 0, as in the official code."""
    prototype_negatives: Literal["others", "official"] = "others"
    """Which prototypes of a level are open to be pushed. others: all but the anchor's own; official: without all that
    are positive for any anchor of the batch, and without the one with the highest number. With few prototypes and a
    large batch this leaves few or none (official code: 1,000 to 3,000 prototypes, 32 anchors a GPU)."""
    local_crops: LocalCrops = 0
    """Number of small crops that are further queries (multi-crop), 0 to 4."""
    local_sizes: Literal["eighths", "official"] = "eighths"
    """Sides of small crops, as parts of the large view's. eighths: 7/8, 6/8, 5/8 and 4/8, which are 28 to 16 of 32
    pixels; official: 192, 160, 128 and 96 of 224, which are 27, 23, 18 and 14 of 32."""
    select_local: bool = True
    """Whether the selection of instances acts on small crops too (official code: only behind a flag that is off)."""
    restarts: Annotated[int, AtLeast(1)] = 1
    """Number of starts of k-means, at least 1; the best one counts (official code: 5)."""

    added_settings: ClassVar[tuple[str, ...]] = (
        *MomentumConfig.added_settings,
        *("select_by", "sharpness", "terms", "prototype_negatives", "local_sizes", "select_local"),
    )
    official: ClassVar[Mapping[str, Any]] = {
        "mask_own": False,
        "select": "both",
        "select_by": "tree",
        "terms": "both",
        "sharpness": 1.0,
        "removed": "zeroed",
        "reduce": "official",
        "scale": "official",
        "prototype_negatives": "official",
        "local_sizes": "official",
        "select_local": False,
        "restarts": 5,
    }

    def __post_init__(self):
        super().__post_init__()
        if self.select == "none" and self.select_by != "tree":
            raise ValueError(f"select_by={self.select_by!r} has no effect with select='none'.")
        if {self.select, self.terms} == {"instances", "prototypes"}:
            raise ValueError(f"select={self.select!r} has no effect with terms={self.terms!r}.")
        if callable(self.select):
            check_keep(self.select, torch.full((2, 3), 0.5))  # now rather than after hours of warm-up
        check_sizes(self.prototypes)


class HCSC(WithTree, MoCo):
    r"""Hierarchical Contrastive Selective Coding (Guo et al., CVPR 2022, arXiv 2202.00455).

    The warm-up is plain MoCo v2. Before every epoch after it, the momentum encoder embeds the whole training set,
    and the embeddings are clustered bottom-up into a :class:`~hiercl.PrototypeTree`. Let $c^l(x)$ be the prototype
    of the anchor's item on level $l$, $\phi$ the concentrations, and s the ``sharpness``. A draw decides whether a
    queue item $n_j$ is *kept* as a negative:

    $$\pi^l_j = \frac{e^{s\langle n_j, c^l(x)\rangle/\phi^l_{c(x)}}}{\sum_i e^{s\langle n_j, c^l_i\rangle/\phi^l_i}},
      \qquad b^l_j \sim \text{Bernoulli}(1 - \pi^l_j)$$

    Instance terms, one per level, with the kept negatives $N^l = \{n_j : b^l_j = 1\}$:

    $$\mathcal L^l_{\text{ICSC}} = -\log \frac{e^{\langle q,k\rangle/\tau}}
      {e^{\langle q,k\rangle/\tau} + \sum_{N^l} e^{\langle q,n_j\rangle/\tau}}$$

    Prototype terms, one per level. The positive is $c^l(x)$, the negatives are the other prototypes of the level. A
    draw of the same kind keeps them, with the posterior of the parent of $c^l(x)$, one level up (the top level keeps
    all):

    $$\mathcal L^l_{\text{PCSC}} = -\log \frac{e^{\langle q, c^l(x)\rangle/\phi_{c(x)}}}
      {e^{\langle q, c^l(x)\rangle/\phi_{c(x)}} + \sum_{\text{kept } j} e^{\langle q, c^l_j\rangle/\phi_j}}$$

    The denominator of a posterior does not depend on the anchor. Prototypes do not change during an epoch, so it is
    computed once per queue item and level, when the item enters the queue.

    One level and ``select="none"`` is InfoNCE + ProtoNCE over all prototypes. PCL (Li et al., 2021) differs in two
    things: it draws a part of the negative prototypes, and in its official code the positives of the batch are one
    another's negatives, so that an anchor also pushes its own prototype where another anchor has the same.

    Deviations
        *Paper*: its text was not at hand; the equations are read from the official code, and so are the differences.
        *Official code* (gyfastas/HCSC at cec852d), with the setting that is its form: (1) A removed negative has the
        logit 0 and still adds $e^0$; ours takes it out (``removed="zeroed"``). (2) Instance terms are summed over
        levels where the selection acts on them, and are one InfoNCE where it does not; prototype terms are averaged;
        ours averages both, and all weights sum to 1 (``reduce="official"``, ``scale="official"``). (3) The prototype
        with the highest number (of those that have items) is never a negative, and one that is positive for any anchor
        of the batch is a negative for none. With the 20 to 300 prototypes of small data this leaves few negatives or
        none; ours leaves out only the anchor's own prototype (``prototype_negatives="official"``, with the batch of
        one process, as there). (4) Local crops have one instance term without the selection, unless a flag is set, and
        other sizes; ours share the selection (``select_local=False``, ``local_sizes="official"``). (5) Old keys of the
        own item are pushed; ours leaves them alone (``mask_own=False``). (6) k-means is that of faiss with 5 starts of
        random points, on at most 1,000 points per centre; ours has one k-means++ start on all points (``restarts``).
        (7) Errors in the selection are ignored; ours raise. ``official=True`` sets the switches of (1) to (6).
        *Ours*: sizes, queue, momentum, temperature and warm-up for 32-pixel data (see :class:`HCSCConfig`); the
        ``sharpness`` (1 in the official code); the two controls of the selection, ``select_by``; and a loss of one
        kind of terms, ``terms``.

    Example:
        >>> [term.name for term in run.step(train, batch=8).terms]
        ['instance 0', 'instance 1', 'prototype 0', 'prototype 1']
    """

    name = "hcsc"
    Config = HCSCConfig
    config: HCSCConfig
    labels: Tensor  # leaf class of every item, only for select_by="labels"
    log_normaliser: Tensor  # logarithm of the posterior's denominator, for every level and queue item

    def __init__(self, encoder, config: HCSCConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        self.sizes = tree_sizes(config.prototypes, info.items)
        self.warm_up_epochs = info.warm_up_epochs(config.warm_up)
        self.register_buffer("log_normaliser", torch.zeros(len(self.sizes), len(self.queue)))
        self.parent_posterior: tuple[Tensor, ...] = ()  # per level below the top: [prototypes one level up, prototypes]
        if self.needs_labels(config):
            self.register_buffer("labels", cast(Supervision, info.supervision).labels.clone())

    @classmethod
    def needs_labels(cls, config) -> bool:
        return config.select_by == "labels"

    @property
    def plan(self) -> tuple[ViewSpec, ...]:
        crops = OFFICIAL_CROPS if self.config.local_sizes == "official" else LOCAL_CROPS
        return (ViewSpec(), ViewSpec(), *crops[: self.config.local_crops])

    @property
    def starts(self) -> dict[str, int]:
        return {"warm_up": self.warm_up_epochs}

    # -- once an epoch ------------------------------------------------------------------------------------------

    def refresh(self, epoch: int, embed: Embed) -> None:
        if epoch >= self.warm_up_epochs or self.tree is not None:  # a run may go on as part of a longer training
            z, seed, config = embed(self.project_key), self.info.seed_of(epoch), self.config
            self.use(PrototypeTree.fit(z, self.sizes, seed, config.temperature, restarts=config.restarts))

    def use(self, tree: PrototypeTree) -> None:
        """Selects with this tree from now on."""
        self.place_tree(tree)
        self.log_normaliser.copy_(self.log_normalisers(self.queue.keys))

    def log_normalisers(self, keys: Tensor) -> Tensor:
        """Returns the logarithm of the posterior's denominator of every key, at every level, ``[levels, keys]``."""
        tree, sharpness = self.fitted_tree, self.config.sharpness
        return torch.stack([tree.log_normaliser(keys, level, sharpness) for level in range(tree.levels)])

    def place_tree(self, tree: PrototypeTree) -> None:
        super().place_tree(tree)
        finer = enumerate(self.fitted_tree.centroids[1:])
        sharp = (self.fitted_tree.posterior(z, above, self.config.sharpness) for above, z in finer)
        self.parent_posterior = tuple(posterior.T.contiguous() for posterior in sharp)

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        positions = self.queue.enqueue(keys, items)
        if self.tree is not None:
            self.log_normaliser[:, positions] = self.log_normalisers(self.queue.keys[positions])

    # -- every step ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Step:
        first, _, *local = batch.views
        queries = {"": self.project(first)}
        queries |= {f"local {i}, ": self.project(view) for i, view in enumerate(local, start=1)}
        keys, items = batch.gather(self.keys(batch)), batch.gather(batch.items[:, 0])
        with full_precision(keys):
            base = self.instance_pairs(items, batch.positions)
            logits = {crop: self.instance_logits(query, keys) for crop, query in queries.items()}
            vectors = {crop: self.instance_vectors(query, keys) for crop, query in queries.items()}
            if self.tree is None:
                terms = self.warm_up_terms(logits, vectors, base)
            else:
                terms = self.selective_terms(logits, vectors, base, batch.draws)
            return Step(terms, items, keys)

    def warm_up_terms(self, logits: Queries, vectors: dict[str, Vectors], pairs: Pairs) -> tuple[Term, ...]:
        """Returns MoCo v2's term for every query."""
        weight = 1 / len(logits) if self.config.scale == "normalised" else 1.0
        seen, terms = self.seen(logits), []
        for crop, values in logits.items():
            more = {"seen": seen[crop], "vectors": vectors[crop]}
            terms.append(Term(f"{crop}instance", values, pairs, weight, **more))
        return tuple(terms)

    def seen(self, queries: Iterable[str]) -> dict[str, Seen]:
        """Returns which views the instances of every query are: the query's own, and view 1, which makes the keys."""
        return {crop: Seen((view + (view > 0),), (1,)) for view, crop in enumerate(queries)}

    def selective_terms(
        self, logits: Queries, vectors: dict[str, Vectors], base: Pairs, draws: Draws
    ) -> tuple[Term, ...]:
        """Returns the instance and prototype terms of every level, for every query."""
        levels = range(self.fitted_tree.levels)
        instance_weight, prototype_weight = self.weights(len(logits))
        removed_logit = -math.inf if self.config.removed == "excluded" else 0.0
        of_instances, of_prototypes = (levels if weight else () for weight in (instance_weight, prototype_weight))
        selected = [self.select_instances(base, level, draws) for level in of_instances]  # all queries share one draw
        terms, seen = [], self.seen(logits)
        for crop, made_of in vectors.items():
            acts, query = self.acts_on_instances(bool(crop)), made_of.anchors
            of_crop = {"seen": seen[crop], "vectors": made_of}
            if of_instances and self.config.reduce == "official" and not acts:
                terms.append(Term(f"{crop}instance", logits[crop], base, instance_weight, **of_crop))
            else:
                for level in of_instances:
                    name, pairs = f"{crop}instance {level}", selected[level] if acts else base
                    more = {"removed_logit": removed_logit, **of_crop}
                    terms.append(Term(name, logits[crop], pairs, instance_weight, **more))
            for level in of_prototypes:
                name = f"{crop}prototype {level}"
                pairs = self.select_prototypes(base.anchors.item, level, draws)  # one draw per query
                similar = self.fitted_tree.logits(query, level)
                prototypes = (self.fitted_tree.centroids[level],)
                to_prototypes = Vectors(query, prototypes, self.fitted_tree.concentration[level])
                more = {"removed_logit": removed_logit, "seen": Seen(seen[crop].anchors, ()), "vectors": to_prototypes}
                terms.append(Term(name, similar, pairs, prototype_weight, **more))
        return tuple(terms)

    def weights(self, queries: int) -> tuple[float, float]:
        """Returns the weight of an instance term and that of a prototype term; 0 for one that the loss has not."""
        levels = len(self.sizes)
        instance = 0.0 if self.config.terms == "prototypes" else 1 / levels if self.config.reduce == "mean" else 1.0
        prototype = 0.0 if self.config.terms == "instances" else 1 / levels
        if self.config.scale == "official":
            return instance, prototype
        alone = sum(not self.acts_on_instances(query > 0) for query in range(queries))  # have one term for all levels
        missing = alone * (levels - 1) * instance if self.config.reduce == "official" else 0.0
        total = queries * levels * (instance + prototype) - missing
        return instance / total, prototype / total

    # -- selection ----------------------------------------------------------------------------------------------

    def instance_posterior(self, item: Tensor, level: int, keys: int) -> Tensor:
        r"""Returns $\pi^l_j$ of every anchor and candidate, ``[B, keys + K]``, by one matmul with stored denominators.

        It is 0 for the keys of the batch, which are never negatives.
        """
        own = self.fitted_tree.assignment[item, level]
        scaled = self.fitted_tree.centroids[level][own] / self.fitted_tree.concentration[level][own][:, None]
        scaled = scaled * self.config.sharpness
        batch = self.queue.keys.new_zeros(keys, scaled.shape[1])
        denominator = F.pad(self.log_normaliser[level], (keys, 0), value=math.inf)
        return (scaled @ torch.cat([batch, self.queue.keys]).T).sub_(denominator).exp_().clamp_(max=1)

    def select_instances(self, pairs: Pairs, level: int, draws: Draws) -> Pairs:
        """Returns MoCo's pairs; a draw at this level removes negatives from the queue."""
        if not self.selects("instances"):
            return pairs
        keys = len(pairs.candidates) - len(self.queue)
        item = pairs.anchors.item
        if self.config.select_by == "labels":
            own, old = self.labels[item][:, None], self.labels[self.queue.items]
            known = (own >= 0) & (self.queue.items >= 0)  # neither an item without a label nor one of the first keys
            posterior = F.pad(((own == old) & known).float(), (keys, 0))
        else:
            posterior = self.shuffled(self.instance_posterior(item, level, keys), keys, draws)
        keep = self.keep(posterior).clamp(0, HIGHEST_KEEP)
        removed = (draws.uniform(*keep.shape) >= keep).logical_and_(pairs.negative)
        return replace(pairs, negative=pairs.negative ^ removed, removed=removed, keep_probability=keep, level=level)

    def select_prototypes(self, item: Tensor, level: int, draws: Draws) -> Pairs:
        """Pulls the anchor's own prototype; a draw decides which others of its level are pushed and which removed."""
        own, size = self.fitted_tree.assignment[item, level], self.fitted_tree.sizes[level]
        index = torch.stack([torch.arange(len(item), device=item.device), own], dim=1)
        negative = torch.ones(len(item), size, dtype=torch.bool, device=item.device)
        negative[index[:, 0], own] = False
        if self.config.prototype_negatives == "official":
            negative[:, own] = False  # positive for any anchor
            negative &= torch.arange(size, device=item.device) < self.fitted_tree.assignment[:, level].max()
        removed, keep = torch.zeros_like(negative), None
        if level > 0 and self.selects("prototypes"):
            parent = self.fitted_tree.parent[level][own]
            if self.config.select_by == "labels":
                major = self.fitted_tree.majority(self.labels)[level]
                posterior = (major[own][:, None] == major).float()
            else:
                posterior = self.shuffled(self.parent_posterior[level - 1][parent], 0, draws)
            keep = self.keep(posterior).clamp(LOWEST_PROTOTYPE_KEEP, HIGHEST_KEEP)
            removed = (draws.uniform(*keep.shape) >= keep) & negative
        anchors, weight = Members.of(Kind.VIEW, item), torch.ones(len(item), device=item.device)
        prototypes = Members.of(Kind.PROTOTYPE, torch.arange(size, device=item.device))
        return Pairs(anchors, prototypes, index, weight, negative & ~removed, removed, keep, level)

    def shuffled(self, posterior: Tensor, first: int, draws: Draws) -> Tensor:
        """Returns the posterior, with ``select_by="random"`` in random order from column ``first`` on."""
        if self.config.select_by != "random":
            return posterior
        order = draws.permutation(posterior.shape[1] - first) + first
        return torch.cat([posterior[:, :first], posterior[:, order]], dim=1)

    def acts_on_instances(self, small: bool) -> bool:
        """Returns whether the selection acts on the instance terms of the large view, or of a small crop."""
        return self.selects("instances") and (self.config.select_local or not small)

    def selects(self, what: Literal["instances", "prototypes"]) -> bool:
        """Returns whether the selection acts on instances, or on prototypes."""
        return callable(self.config.select) or self.config.select in (what, "both")

    def keep(self, posterior: Tensor) -> Tensor:
        """Returns keep probabilities: 1 − posterior, or what the user's function returns."""
        if not callable(self.config.select):
            return posterior.neg_().add_(1)
        return check_keep(self.config.select, posterior)


def check_keep(select: Callable[[Tensor], Tensor], posterior: Tensor) -> Tensor:
    """Returns the keep probabilities of the user's function, or raises ValueError if they are no probabilities."""
    keep = select(posterior)
    if not isinstance(keep, Tensor) or keep.shape != posterior.shape:
        raise ValueError(
            f"select must return keep probabilities of the posterior's shape {tuple(posterior.shape)}; it returned "
            f"{tuple(keep.shape) if isinstance(keep, Tensor) else type(keep).__name__}."
        )
    keep = keep.to(posterior.dtype)
    if not bool(((keep >= 0) & (keep <= 1)).all()):
        raise ValueError(
            f"select must return probabilities between 0 and 1; it returned {keep.min():.3g} to {keep.max():.3g}."
        )
    return keep
