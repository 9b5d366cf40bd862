"""The supervised family: at every level of a hierarchy, an anchor pulls the views of its class in the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.clustering import PrototypeTree
from hiercl.encoders import projection_head
from hiercl.methods.base import Batch, Embed, Method, MethodConfig, Step, TrainingInfo, full_precision, weighted_sum
from hiercl.methods.in_batch import BatchViews, Block, view_term
from hiercl.methods.with_tree import Sizes, WithTree, check_sizes, tree_sizes
from hiercl.pairs import Pairs, Terms, Vectors
from hiercl.runtime.config import Share

OFFICIAL_TEMPERATURE = 0.07  # τ₀ of the official codes, which multiply every loss by τ/τ₀


@dataclass(frozen=True)
class SupConConfig(MethodConfig):
    """Settings of SupCon, and of every method that learns from a hierarchy of labels."""

    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of the levels sum to 1; official: the factors of the official code, τ/0.07 among them."""
    source: Literal["labels", "prototypes"] = "labels"
    """Where the hierarchy comes from. labels: the data; prototypes: a tree of prototypes that is learned, and fitted
    again before every epoch."""
    prototypes: Sizes | None = None
    """Prototypes per level of the learned tree, coarse to fine. None: n/500, twice and three times that for n items."""
    warm_up: Share | None = None
    """Share of training before the first tree, 0 to 1; until then every item is its own class, as in SimCLR. None: 0.1
    if that is at least 5,000 steps, else 1/3."""
    block: Block = None
    """Number of anchors whose similarities are in memory at once, at least 1; for batches of thousands. None: all."""
    balance: Literal["none", "anchors", "classes"] = "none"
    """Balance of the classes of a batch, at every level. none: every view counts alike, so frequent classes count more;
    anchors: every class has the same weight in the mean over anchors; classes: in the denominators too."""

    added_settings: ClassVar[tuple[str, ...]] = ("balance",)
    negatives: ClassVar[str] = "equal"  # LevelsConfig makes settings of these four
    thinning: ClassVar[bool] = False
    thinning_keeps: ClassVar[str] = "lowest"
    heads: ClassVar[str] = "shared"
    needs_tree: ClassVar[tuple[str, ...]] = ("prototypes", "warm_up")  # have no effect with source="labels"
    official: ClassVar[Mapping[str, Any]] = {"scale": "official"}

    def __post_init__(self):
        super().__post_init__()
        idle = [name for name in self.needs_tree if getattr(self, name) is not None]
        if self.source == "labels" and idle:
            raise ValueError(f"{', '.join(idle)}: no effect without a learned tree; set source='prototypes' as well.")
        check_sizes(self.prototypes)


@dataclass(frozen=True)
class LevelsConfig(SupConConfig):
    """Settings of the methods that contrast at every level."""

    thinning: bool = False
    """Whether a level keeps only one item of each class of the next finer level (official code: yes)."""
    thinning_keeps: Literal["lowest", "official"] = "lowest"
    """Which item thinning keeps of a class. lowest: the one with the lowest number, so that the order of the batch
    changes nothing; official: the first in the batch, and from the third level up the one of the lowest finer class
    among those that the finer levels have kept."""
    heads: Literal["shared", "level"] = "shared"
    """shared: one projection head; level: one head for each level."""
    negatives: Literal["equal", "far", "near"] = "equal"
    """Weight of a negative by its distance in the tree of classes, which is 1 where only the classes of this level
    differ, and one more for every level above. equal: 1; far: in proportion to the distance, so that siblings are
    pushed less; near: in inverse proportion, so that siblings are pushed more."""

    added_settings: ClassVar[tuple[str, ...]] = (*SupConConfig.added_settings, "thinning_keeps", "negatives")
    official: ClassVar[Mapping[str, Any]] = {
        **SupConConfig.official,
        "thinning": True,
        "thinning_keeps": "official",
        "heads": "shared",
    }


Observed = Mapping[str, Tensor | float]


class Representation(NamedTuple):
    """What a view looks like at every level.

    Attributes:
        embedding: unit vectors, ``[B, levels, dim]``; ``[B, 1, dim]`` if they are the same at all levels.
        masks: masks of the features, ``[B, levels, dim]``; None if they do not depend on the view.
    """

    embedding: Tensor
    masks: Tensor | None = None


class LabelContrast(WithTree, Method):
    r"""Base of the methods that pull by class, at the levels of a hierarchy.

    At level $h$, $P_h(i)$ are the other views of the anchor's class at that level (and so at all levels above it), and
    $A(i)$ are all other views of the batch:

    $$\mathcal L_h = \frac1{2N}\sum_i \frac{-1}{|P_h(i)|}\sum_{p\in P_h(i)} \log\frac
      {e^{\langle z^{(h)}_i, z^{(h)}_p\rangle/\tau}}{\sum_{a\in A(i)} e^{\langle z^{(h)}_i, z^{(h)}_a\rangle/\tau}}$$

    Labels come as leaf classes with a :class:`~hiercl.hierarchy.Hierarchy` of any depth, never as columns: no order of
    columns can be wrong, and no level is left out by mistake. A leaf above the deepest level is a class of its own at
    every deeper level. An item without a label (−1) is no anchor and no candidate, and a batch without labels has the
    loss 0.

    Two switches change weights. Both are ours, for what the abstract of Ott et al. (arXiv 2510.00837) names: imbalanced
    classes at higher levels, and relations between classes. ``balance``: with $n_c$ items of class c in a batch of n
    items of C classes, an anchor has the weight $n/(C n_c)$ in the mean. With "classes", a candidate also has the
    weight 1 over the number of candidates of its class in the denominator, so that every class is there once (an idea
    of Balanced Contrastive Learning, Zhu et al., CVPR 2022). ``negatives``: at level h, a negative at the distance
    $d\in\{1, \dots, h+1\}$ has the weight $d/(h+1)$ ("far") or $1/d$ ("near") in the denominator.

    With ``source="prototypes"`` no label is read. A :class:`~hiercl.PrototypeTree` of the projections replaces the
    hierarchy; it is fitted before every epoch after a warm-up.

    A subclass defines what a view looks like at every level (:meth:`represent`) and the weights of the levels.
    """

    Config = LevelsConfig
    ancestors: Tensor  # [items, levels], coarse to fine; −1: no label
    levels_used: ClassVar[slice] = slice(None)  # which levels of the hierarchy are contrasted

    def __init__(self, encoder, config: SupConConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        supervision = info.supervision if config.source == "labels" else None
        if supervision is None:
            self.sizes = tree_sizes(config.prototypes, info.items)
            self.warm_up_epochs = info.warm_up_epochs(config.warm_up)
            ancestors = torch.arange(info.items)[:, None].repeat(1, len(self.sizes))
        else:
            ancestors = supervision.ancestors
        self.register_buffer("ancestors", ancestors[:, self.levels_used].clone())
        self.depths = tuple(range(ancestors.shape[1]))[self.levels_used]  # which levels of the hierarchy these are
        levels = self.ancestors.shape[1]
        separate = levels - 1 if config.heads == "level" else 0
        make = partial(projection_head, config.head, encoder.width, config.dim)
        self.coarse_heads = nn.ModuleList(make() for _ in range(separate))  # the finest level has self.head

    @classmethod
    def needs_labels(cls, config) -> bool:
        return config.source == "labels"

    @property
    def levels(self) -> int:
        """Number of levels that are contrasted."""
        return self.ancestors.shape[1]

    @property
    def starts(self) -> dict[str, int]:
        return {"warm_up": self.warm_up_epochs} if self.config.source == "prototypes" else {}

    @property
    def in_warm_up(self) -> bool:
        """Whether there is no tree yet; every item is then its own class."""
        return self.config.source == "prototypes" and self.tree is None

    # -- once an epoch ------------------------------------------------------------------------------------------

    def refresh(self, epoch: int, embed: Embed) -> None:
        if self.config.source == "prototypes" and (epoch >= self.warm_up_epochs or self.tree is not None):
            seed = self.info.seed_of(epoch)
            self.place_tree(PrototypeTree.fit(embed(self.project), self.sizes, seed, self.config.temperature))
            self.ancestors.copy_(self.fitted_tree.assignment[:, self.levels_used])

    # -- every step ---------------------------------------------------------------------------------------------

    def represent(self, view: Tensor) -> Representation:
        """Returns what a view looks like at every level."""
        return Representation(F.normalize(self.projections(self.encoder(view)), dim=2))

    def projections(self, feature: Tensor) -> Tensor:
        """Returns the heads' projections of pooled features, not normalised, float32 ``[B, heads, dim]``."""
        return torch.stack([head(feature).float() for head in self.heads], dim=1)

    @property
    def heads(self) -> list[nn.Module]:
        """The projection heads, coarse to fine."""
        return [*self.coarse_heads, self.head]

    def forward(self, batch: Batch) -> Step:
        (first, masks), (second, _) = (self.represent(view) for view in batch.views)
        views = BatchViews.of(batch)
        with full_precision(first):
            anchors = torch.cat([first, second])
            candidates = torch.cat([batch.gather(first), batch.gather(second)])
            terms = self.terms(anchors, candidates, views, batch)
            own = type(self).combine is not LabelContrast.combine
            combine = partial(self.combine, batch=batch) if own else weighted_sum
            observe = partial(self.observe, terms, masks, batch)
            return Step(terms, views.items, combine=combine, observe=observe)

    def terms(self, anchors: Tensor, candidates: Tensor, views: BatchViews, batch: Batch) -> Terms:
        """Returns one term per level, coarse to fine."""
        label = self.ancestors[views.items]  # [n, levels]
        one_for_all = anchors.shape[1] == 1  # the similarities are the same at every level

        both = zip(anchors.unbind(1), candidates.unbind(1), strict=True)
        seen = [Vectors(of, (to,), self.config.temperature) for of, to in both]

        def seen_at(level: int) -> Vectors:
            return seen[0 if one_for_all else level]

        def logits_at(level: int, anchor: Tensor) -> Tensor:
            vectors = seen_at(level)
            return (vectors.anchors[anchor] / self.config.temperature) @ vectors.candidates[0].T

        shared_logits = None
        if one_for_all and self.config.block is None:
            shared_logits = logits_at(0, torch.arange(len(anchors), device=anchors.device))
        terms = []
        labelled = label[:, -1] >= 0
        for level, weight in enumerate(self.weights()):
            kept = self.kept(views.items, label, level)
            anchors_here = 2 * (labelled if kept is None else kept).sum().clamp(min=1)
            count = anchors_here / batch.draws.processes.count  # all processes know the items of the whole batch
            more = {"weight": weight, "shared_denominator": True, "count": count, "vectors": seen_at(level)}

            def rows(anchor: Tensor, level=level, kept=kept) -> tuple[Tensor, Pairs]:
                logits = logits_at(level, anchor) if shared_logits is None else shared_logits
                weights = self.pair_weights(label[:, : level + 1], kept, views.positions[anchor] % len(label))
                return logits, views.pairs(anchor, label[:, level], kept, self.depths[level], **weights)

            terms.append(view_term(f"level {self.depths[level]}", rows, views, self.config.block, **more))
        return tuple(terms)

    def pair_weights(self, label: Tensor, kept: Tensor | None, anchor: Tensor) -> dict[str, Tensor]:
        """Returns the weights of anchors and candidates at a level; nothing where all are 1.

        Args:
            label: classes of the items of the whole batch down to this level, ``[n, level + 1]``.
            kept: which items take part, ``[n]``; None: all that have a label.
            anchor: the item of every anchor, as its place in the batch.
        """
        weights: dict[str, Tensor] = {}
        own = label[:, -1]
        takes_part = own >= 0 if kept is None else kept
        if self.config.balance != "none":
            count = torch.bincount((own + 1)[takes_part], minlength=int(own.max()) + 2)[own + 1].clamp(min=1).float()
            classes = (takes_part / count).sum().clamp(min=1)
            weights["anchor_weight"] = (takes_part.sum() / (classes * count))[anchor]
        if self.config.balance == "classes":  # the anchor itself is no candidate
            same = own[anchor, None] == own
            weights["candidate_weight"] = 1 / (2 * count - same.float()).clamp(min=1)
        if self.config.negatives != "equal":
            levels = label.shape[1]
            shared = sum((label[anchor, level, None] == label[:, level]).float() for level in range(levels))
            distance = levels - cast(Tensor, shared)  # 0 for the anchor's own class, which is pulled
            weight = distance / levels if self.config.negatives == "far" else 1 / distance.clamp(min=1)
            weight = weight.masked_fill(distance == 0, 1.0)
            weights["candidate_weight"] = weight * weights.get("candidate_weight", 1.0)
        if "candidate_weight" in weights:
            weights["candidate_weight"] = weights["candidate_weight"].repeat(1, 2)  # both views of every item
        return weights

    def kept(self, item: Tensor, label: Tensor, level: int) -> Tensor | None:
        """Returns which items of the batch thinning keeps at a level, ``[n]``; None: all that have a label.

        At every level but the finest, it keeps one item of each class of the next finer level: the item with the
        lowest number. Two kept items of one class then have their lowest common ancestor at this very level.

        The official code thins again what it has thinned, from the finest level up. It sorts what it keeps by class.
        So the first thinning keeps the first item of the batch, and each later one that of the lowest finer class.
        """
        if not self.config.thinning or level == self.levels - 1:
            return None
        labelled = label[:, -1] >= 0
        if self.config.thinning_keeps == "lowest":
            return first_of_each(label[:, level + 1], item, labelled)
        kept, order = labelled, torch.arange(len(item), device=item.device)
        for finer in reversed(range(level + 1, self.levels)):
            kept = first_of_each(label[:, finer], order, kept)
            order = label[:, finer]
        return kept

    def level_weights(self) -> tuple[float, ...]:
        """Returns λ of every level, coarse to fine."""
        return (1.0,) * self.levels

    def weights(self) -> tuple[float, ...]:
        """Returns the weights of the terms: λ over Σλ; official: λ · τ/τ₀ over the number of label columns there."""
        given = self.level_weights()
        if self.config.scale == "official":
            factor = self.config.temperature / OFFICIAL_TEMPERATURE / self.official_divisor
            return tuple(factor * weight for weight in given)
        return tuple(weight / sum(given) for weight in given)

    @property
    def official_divisor(self) -> int:
        """Number of label columns in the official code: the levels and a column of item numbers."""
        return self.levels + 1

    def combine(self, terms: Terms, batch: Batch) -> Tensor:
        """Returns the loss of the terms."""
        return weighted_sum(terms)

    def observe(self, terms: Terms, masks: Tensor | None, batch: Batch) -> Observed:
        """Returns further numbers for the history."""
        return {}


def first_of_each(group: Tensor, order: Tensor, among: Tensor) -> Tensor:
    """Returns which entries are the first of their group, by ``order``, among some of them.

    Args:
        group: group of every entry, whole numbers; −1 is allowed.
        order: a whole number for every entry; those ``among`` of one group differ.
        among: which entries count.

    Example:
        >>> from hiercl.methods.labels.contrast import first_of_each
        >>> group, order = torch.tensor([0, 1, 0, 1]), torch.tensor([7, 3, 5, 4])
        >>> first_of_each(group, order, torch.tensor([True, False, True, True])).tolist()
        [False, False, True, True]
    """
    last = torch.iinfo(order.dtype).max
    place = order.masked_fill(~among, last)
    first = torch.full((int(group.max()) + 2,), last, dtype=order.dtype, device=order.device)
    first.scatter_reduce_(0, group + 1, place, "amin")
    return (first[group + 1] == place) & among
