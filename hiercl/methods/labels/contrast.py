"""The supervised family: within a batch, at every level of a hierarchy, who shares the anchor's class is pulled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.clustering import PrototypeTree
from hiercl.encoders import projection_head
from hiercl.methods.base import Batch, Embed, Method, Setting, Step, check_temperature, full_precision, weighted_sum
from hiercl.methods.in_batch import Views, check_block, view_term
from hiercl.methods.schedules import check_share, warm_up_epochs
from hiercl.methods.with_tree import WithTree, check_sizes, tree_sizes
from hiercl.pairs import BlockTerm, Pairs, Term

OFFICIAL_TEMPERATURE = 0.07  # τ₀ of the official codes, which multiply every loss by τ/τ₀


@dataclass(frozen=True)
class SupConConfig:
    """Settings of SupCon, and of every method that learns from a hierarchy of labels."""

    temperature: float = 0.1
    """Divides the similarities."""
    head: Literal["mlp", "linear"] = "mlp"
    """Projection head."""
    dim: int = 128
    """Size of the embedding."""
    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of the levels sum to 1; official: the factors of the official code, τ/0.07 among them."""
    source: Literal["labels", "prototypes"] = "labels"
    """Of the hierarchy: the labels of the data, or a learned tree of prototypes, fitted anew before every epoch."""
    prototypes: tuple[int, ...] | None = None
    """Of the learned tree, coarse to fine; by default n/500, twice and three times that of n items."""
    warm_up: float | None = None
    """Share of training before the first tree (until then every item is a class of its own: SimCLR); by default 0.1
    if that is 5,000 steps or more, else a third."""
    block: int | None = None
    """Anchors whose similarities are held at once; for batches of thousands. By default all of them."""

    thinning: ClassVar[bool] = False  # settings of the methods that contrast at every level
    heads: ClassVar[str] = "shared"
    only_of_trees: ClassVar[tuple[str, ...]] = ("prototypes", "warm_up")

    def __post_init__(self):
        idle = [name for name in self.only_of_trees if getattr(self, name) is not None]
        if self.source == "labels" and idle:
            raise ValueError(
                f"{' and '.join(idle)} say nothing without a learned tree: set source='prototypes' as well."
            )
        check_temperature(self.temperature)
        check_sizes(self.prototypes)
        check_share("warm_up", self.warm_up)
        check_block(self.block)


@dataclass(frozen=True)
class LevelsConfig(SupConConfig):
    """Settings of the methods that contrast at every level."""

    thinning: bool = False
    """Whether a level keeps one item, the lowest, of every class of the next finer one (official code: yes)."""
    heads: Literal["shared", "level"] = "shared"
    """One projection head, or one for each level."""


Observed = Mapping[str, Tensor | float]


class Representation(NamedTuple):
    """How a view is seen at every level.

    Attributes:
        embedding: unit vectors, ``[B, levels, dim]``; ``[B, 1, dim]`` if all levels see the same.
        masks: of the features, where they depend on the view, ``[B, levels, dim]``.
    """

    embedding: Tensor
    masks: Tensor | None = None


class LabelContrast(WithTree, Method):
    r"""Base of the methods that pull by class, at the levels of a hierarchy.

    At level $h$, with $P_h(i)$ the other views of the anchor's class at that level (and so at all levels above it) and
    $A(i)$ all other views of the batch:

    $$\mathcal L_h = \frac1{2N}\sum_i \frac{-1}{|P_h(i)|}\sum_{p\in P_h(i)} \log\frac
      {e^{\langle z^{(h)}_i, z^{(h)}_p\rangle/\tau}}{\sum_{a\in A(i)} e^{\langle z^{(h)}_i, z^{(h)}_a\rangle/\tau}}$$

    Labels come from a :class:`~hiercl.hierarchy.Hierarchy` of any depth and leaf classes, never as columns: there is
    no order of columns to get wrong, and no level that is left out unseen. A leaf that ends early is a class of its
    own at every deeper level.

    With ``source="prototypes"`` no label is read: a :class:`~hiercl.PrototypeTree` of the projections,
    fitted before every epoch after a warm-up, takes the place of the hierarchy.

    A subclass says how a view is seen at every level (:meth:`represent`), and the weights of the levels.
    """

    Config = LevelsConfig
    levels_used: ClassVar[slice] = slice(None)  # of the hierarchy

    def __init__(self, encoder, config: SupConConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        if config.source == "prototypes":
            self.sizes = tree_sizes(config.prototypes, setting.items)
            self.warm_up_epochs = warm_up_epochs(config.warm_up, setting)
            itself = torch.arange(setting.items)[:, None]
            ancestors = itself.repeat(1, len(self.sizes))
        elif setting.supervision is None:
            raise ValueError(f"{self.name} learns from labels: make it with Setting(supervision=...), as fit does.")
        else:
            ancestors = setting.supervision.ancestors
        self.register_buffer("ancestors", ancestors[:, self.levels_used].clone())  # [items, levels], coarse to fine
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
        """How many levels are contrasted."""
        return self.ancestors.shape[1]

    @property
    def starts(self) -> dict[str, int]:
        return {"warm_up": self.warm_up_epochs} if self.config.source == "prototypes" else {}

    @property
    def in_warm_up(self) -> bool:
        """Whether the first tree is still to come; every item is then a class of its own."""
        return self.config.source == "prototypes" and self.tree is None

    # -- once an epoch ------------------------------------------------------------------------------------------

    def refresh(self, epoch: int, embed: Embed) -> None:
        if self.config.source == "prototypes" and epoch >= self.warm_up_epochs:
            seed = 1000 * self.setting.seed + epoch
            tree = PrototypeTree.fit(embed(self.project), self.sizes, seed, self.config.temperature)
            self.place_tree(tree)
            self.ancestors.copy_(self.tree.assignment[:, self.levels_used])

    # -- every step ---------------------------------------------------------------------------------------------

    def represent(self, view: Tensor) -> Representation:
        """How a view is seen at every level."""
        return Representation(F.normalize(self.projections(self.encoder(view)), dim=2))

    def projections(self, feature: Tensor) -> Tensor:
        """The heads' projections of pooled features before normalising, float32 ``[B, heads, dim]``."""
        return torch.stack([head(feature).float() for head in self.heads], dim=1)

    @property
    def heads(self) -> list[nn.Module]:
        """The projection heads, coarse to fine."""
        return [*self.coarse_heads, self.head]

    def forward(self, batch: Batch) -> Step:
        (first, masks), (second, _) = (self.represent(view) for view in batch.views)
        views = Views.of(batch)
        with full_precision(first):
            anchors = torch.cat([first, second])
            candidates = torch.cat([batch.gather(first), batch.gather(second)])
            terms = self.terms(anchors, candidates, views, batch)
            combine, observe = partial(self.combine, batch=batch), partial(self.observe, terms, masks, batch)
            return Step(terms, views.item, combine=combine, observe=observe)

    def terms(self, anchors: Tensor, candidates: Tensor, views: Views, batch: Batch) -> tuple[Term | BlockTerm, ...]:
        """One term a level, coarse to fine."""
        label = self.ancestors[views.item]  # [n, levels]
        similar = partial(self.similarities, anchors, candidates, views)
        for_all_levels = None
        if self.config.block is None and self.one_for_all(anchors):
            for_all_levels = similar(torch.arange(len(anchors), device=anchors.device), 0)
        terms = []
        for level, weight in enumerate(self.weights()):
            kept = self.kept(views.item, label, level)
            more = {"weight": weight, "shared_denominator": True}
            if kept is not None:
                here = 2 * kept[views.own].sum()
                more["count"] = batch.mean(here.float())  # one item always stays

            def rows(number: Tensor, level=level, kept=kept) -> tuple[Tensor, Pairs]:
                logits = similar(number, level) if for_all_levels is None else for_all_levels
                return logits, views.pairs(number, label[:, level], kept, self.depths[level])

            terms.append(view_term(f"level {self.depths[level]}", rows, views, self.config.block, **more))
        return tuple(terms)

    def one_for_all(self, anchors: Tensor) -> bool:
        """Whether the similarities are the same at every level."""
        return anchors.shape[1] == 1

    def similarities(self, anchors: Tensor, candidates: Tensor, views: Views, number: Tensor, level: int) -> Tensor:
        """Logits of these anchors at a level, ``[anchors, candidates]``."""
        seen = level if anchors.shape[1] > 1 else 0
        return (anchors[number, seen] / self.config.temperature) @ candidates[:, seen].T

    def kept(self, item: Tensor, label: Tensor, level: int) -> Tensor | None:
        """Thinning: which items of the batch a level looks at, ``[n]``; None for all.

        At every level but the finest one item stays of each class of the next finer level: that with the lowest
        number. Two that stay and share a class then have their lowest common ancestor at this very level.
        """
        if not self.config.thinning or level == self.levels - 1:
            return None
        finer = label[:, level + 1]
        lowest = torch.full((int(finer.max()) + 1,), torch.iinfo(item.dtype).max, device=item.device)
        lowest.scatter_reduce_(0, finer, item, "amin")
        return lowest[finer] == item

    def level_weights(self) -> tuple[float, ...]:
        """λ of every level, coarse to fine."""
        return (1.0,) * self.levels

    def weights(self) -> tuple[float, ...]:
        """Of the terms: λ over their sum; or λ · τ/τ₀ over the number of the official code's label columns."""
        given = self.level_weights()
        if self.config.scale == "official":
            factor = self.config.temperature / OFFICIAL_TEMPERATURE / self.official_divisor
            return tuple(factor * weight for weight in given)
        return tuple(weight / sum(given) for weight in given)

    @property
    def official_divisor(self) -> int:
        """Levels and one more, for the official code's column of item numbers."""
        return self.levels + 1

    def combine(self, terms: tuple[Term | BlockTerm, ...], batch: Batch) -> Tensor:
        """The loss of the terms: their weighted sum."""
        return weighted_sum(terms)

    def observe(self, terms: tuple[Term | BlockTerm, ...], masks: Tensor | None, batch: Batch) -> Observed:
        """Further numbers for the history."""
        return {}
