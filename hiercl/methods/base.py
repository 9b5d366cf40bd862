"""What every method is: a module that turns a batch of views into a :class:`Step`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.encoders import Encoder, projection_head
from hiercl.hierarchy import Hierarchy
from hiercl.pairs import BlockTerm, Kind, Seen, Term, Terms
from hiercl.runtime.config import Above, Between, Config
from hiercl.runtime.seeds import Draws

Embed = Callable[[Callable[[Tensor], Tensor]], Tensor]
"""Runs any part of a model over the training set (unaugmented, eval mode, data order): ``[items, d]``, float32."""


@dataclass(frozen=True)
class ViewSpec:
    """One view that a step needs.

    Attributes:
        item: which of the step's items is seen; 0 is the anchor.
        shrink: size of the view as a share of the size that the training's views have.
        scale: smallest and largest share of the picture's area; None: those of the training's views.
    """

    item: int = 0
    shrink: float = 1.0
    scale: tuple[float, float] | None = None

    def pixels(self, size: int) -> int:
        """Returns the size of this view, if that of the training's views is ``size``: pixels a side, or points."""
        return max(1, round(size * self.shrink))


# Multi-crop, small views as further queries: 7/8 to 4/8 of the side, which at 32 pixels is 28, 24, 20 and 16 (ours).
LOCAL_CROPS = tuple(ViewSpec(shrink=(k + 1) / 8, scale=(0.2 * k / 7, k / 7)) for k in (6, 5, 4, 3))
# Those of HCSC's official code: 192, 160, 128 and 96 of 224 pixels, with scales that it rounds.
OFFICIAL_CROPS = tuple(
    ViewSpec(shrink=side / 224, scale=scale)
    for side, scale in ((192, (0.172, 0.86)), (160, (0.143, 0.715)), (128, (0.114, 0.571)), (96, (0.086, 0.429)))
)


@dataclass(frozen=True)
class Batch:
    """What a method sees of the data in one step. It holds no labels: an unsupervised method cannot read any.

    With several processes a batch holds the rows of one process; :meth:`gather` joins the rows of all processes.

    Attributes:
        items: indices into the training set, ``[B, m]``; column 0 holds the anchors.
        views: float views in [0, 1], one tensor ``[B, channels, size, size]`` for each entry of the method's plan.
        draws: random numbers for selection. They are separate from those of the views, so that methods that select
            differently still see the same views.
        made: a list that keeps the views that the method makes of others, for plots; None in a training.
    """

    items: Tensor
    views: tuple[Tensor, ...]
    draws: Draws
    made: list[Tensor] | None = None

    def keep(self, view: Tensor) -> None:
        """Keeps a view that the method has made of others, such as a mixture. In a training this does nothing."""
        if self.made is not None:
            self.made.append(view)

    def gather(self, rows: Tensor) -> Tensor:
        """Joins these rows of all processes, with gradient: ``[B of this process, ...]`` → ``[B of all, ...]``."""
        return self.draws.processes.gather(rows)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean of a number over processes, without gradient."""
        return self.draws.processes.mean(value)

    @property
    def positions(self) -> Tensor:
        """Positions of this process's rows among the rows of all processes, ``[B]``."""
        start = self.draws.processes.rank * len(self.items)
        return torch.arange(start, start + len(self.items), device=self.items.device)


def weighted_sum(terms: Terms) -> Tensor:
    """Returns Σ weight × loss."""
    return cast(Tensor, sum(term.weight * term.loss for term in terms))


@dataclass(frozen=True)
class Step:
    """The result of one step: its terms, their loss, and what :meth:`Method.after_step` needs.

    Attributes:
        terms: the terms of this process's anchors.
        items: items of the whole batch, for the queue.
        keys: keys of the whole batch, for the queue.
        combine: makes the loss from the terms. Most methods take the weighted sum; HCE and HMCE do not.
        observe: returns further numbers for the history, such as the share of losses that a maximum replaces.
        views: the views of the batch as the method saw them, ``[B, channels, height, width]`` each: those of its plan,
            then those that it made of others. None in a training; :meth:`hiercl.Run.step` keeps them.
        loss: the loss, made when the step is made.
    """

    terms: Terms
    items: Tensor
    keys: Tensor | None = None
    combine: Callable[[Terms], Tensor] = weighted_sum
    observe: Callable[[], Mapping[str, Tensor | float]] = dict
    views: tuple[Tensor, ...] | None = None
    loss: Tensor = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "loss", self.combine(self.terms))

    def anchor_view(self, term: Term | BlockTerm, anchor: int) -> Tensor | None:
        """Returns the view that an anchor of a term is, ``[channels, height, width]``; None if the step kept none.

        Example:
            >>> step = run.step(train, batch=8)
            >>> step.anchor_view(step.terms[0], 3).shape
            torch.Size([3, 24, 24])
        """
        return self._view(self._seen(term).anchors, anchor)

    def candidate_view(self, term: Term | BlockTerm, candidate: int) -> Tensor | None:
        """Returns the view that a candidate of a term is, as :meth:`anchor_view`; None for the queue and prototypes."""
        return self._view(self._seen(term).candidates, candidate)

    def _view(self, numbers: tuple[int, ...], member: int) -> Tensor | None:
        if not self.views:
            return None
        number, row = divmod(member, len(self.views[0]))
        return self.views[numbers[number]][row] if number < len(numbers) else None

    def _seen(self, term: Term | BlockTerm) -> Seen:
        """Returns which views the members of a term are. A method that does not say so has them in their order."""
        if term.seen is not None or not self.views:
            return term.seen or Seen((), ())
        size, found = len(self.views[0]), []
        for members in (term.pairs.anchors, term.pairs.candidates):
            views, keys = (int((members.kind == kind).sum()) for kind in (Kind.VIEW, Kind.KEY))
            first, count = (1, keys) if keys else (0, views)
            numbers = tuple(range(first, first + count // size))
            in_order = torch.equal(members.item[:count], self.items[:size].repeat(len(numbers)))
            found.append(numbers if in_order and first + len(numbers) <= len(self.views) else ())
        return Seen(*found)


@dataclass(frozen=True)
class Supervision:
    """The labels of the training set, for the methods that learn from them.

    Attributes:
        hierarchy: the hierarchy of the classes.
        labels: leaf class of every item, ``[items]``; −1: no label.
    """

    hierarchy: Hierarchy
    labels: Tensor

    def __post_init__(self):
        labels, leaves = self.labels, self.hierarchy.n_leaves
        whole = labels.ndim == 1 and not labels.is_floating_point() and labels.dtype != torch.bool
        if not whole or not ((labels >= -1) & (labels < leaves)).all():
            raise ValueError(
                f"labels are {labels.dtype} {list(labels.shape)}: give the leaf class of every item, [items], whole "
                f"numbers from 0 to {leaves - 1}, or −1 for an item without a label; the hierarchy knows the classes "
                "above (Hierarchy.from_labels)."
            )

    @property
    def ancestors(self) -> Tensor:
        """Class of every item at every level, coarse first, ``[items, levels]``; −1 for an item without a label.

        Items with equal numbers at a level also have equal numbers at all levels above it.
        """
        return torch.from_numpy(self.hierarchy.labels_at_all(self.labels.cpu().numpy())).to(self.labels.device)


@dataclass(frozen=True)
class TrainingInfo:
    """What a method needs to know of its training. Schedules are shares of the training's length.

    Attributes:
        items: number of training items.
        epochs: number of epochs.
        steps_per_epoch: number of steps in an epoch.
        seed: seed of all random numbers.
        supervision: the labels; None for a method that needs none, so that it cannot read any.
    """

    items: int
    epochs: int
    steps_per_epoch: int
    seed: int = 0
    supervision: Supervision | None = None

    def __post_init__(self):
        if self.supervision is not None and len(self.supervision.labels) != self.items:
            raise ValueError(f"{len(self.supervision.labels)} labels of {self.items} items: give one for each.")

    def first_epoch(self, share: float) -> int:
        """Returns the first epoch after this share of the training."""
        return math.ceil(share * self.epochs - 1e-9)

    def warm_up_epochs(self, share: float | None) -> int:
        """Returns the number of epochs without a tree.

        The default share is 0.1 if this is at least 5,000 steps (the encoder has learned something by then), else 1/3.
        """
        if share is None:
            share = 0.1 if 0.1 * self.epochs * self.steps_per_epoch >= 5000 else 1 / 3
        return self.first_epoch(share)

    def seed_of(self, epoch: int) -> int:
        """Returns the seed of what is fitted before this epoch: a tree, neighbours, masks."""
        return 1000 * self.seed + epoch


@dataclass(frozen=True)
class MethodConfig(Config):
    """Settings that every method has.

    Attributes:
        official: the settings with which the loss is that of the method's official code, for ``fit(official=True)``;
            empty where no official code is known. Sizes, temperature, lengths, encoder and views are not among them.
    """

    official: ClassVar[Mapping[str, Any]] = {}

    temperature: Annotated[float, Above(0)] = 0.1
    """Divides the similarities (cosines); above 0. The default 0.1 and 0.2 are usual."""
    head: Literal["mlp", "linear"] = "mlp"
    """Projection head: mlp has one hidden layer, linear has none."""
    dim: Annotated[int, Between(1, 2**20)] = 128
    """Number of dimensions of the embedding; at least 1."""


LocalCrops = Annotated[int, Between(0, len(LOCAL_CROPS))]


class Method(nn.Module):
    """Base of all methods. A subclass says which views it needs (:attr:`plan`) and what a step is (:meth:`forward`).

    Training calls :meth:`refresh` before every epoch, and in every step :meth:`items`, :meth:`forward` and, after the
    optimiser, :meth:`after_step`. Where gradients are accumulated, it calls :meth:`remember` after the steps between.

    Attributes:
        name: name of the method.
        Config: class of its settings; it has at least ``head`` and ``dim``.
        config: the settings.
        info: what the method knows of its training.
        encoder: the encoder f.
        head: the projection head g.

    Example:
        >>> isinstance(run.method, Method)
        True
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]] = MethodConfig

    def __init__(self, encoder: Encoder, config: Any, info: TrainingInfo):
        super().__init__()
        if self.needs_labels(config) and info.supervision is None:
            raise ValueError(f"{self.name} learns from labels: give TrainingInfo a supervision, as hiercl.fit does.")
        self.config = config
        self.info = info
        self.encoder = encoder
        self.head = projection_head(config.head, encoder.width, config.dim)

    @property
    def setting(self) -> TrainingInfo:
        """The earlier name of ``info``."""
        warnings.warn("method.setting is now method.info", DeprecationWarning, stacklevel=2)
        return self.info

    @classmethod
    def needs_labels(cls, config: Any) -> bool:
        """Returns whether the method learns from labels under these settings."""
        return False

    @property
    def starts(self) -> Mapping[str, int]:
        """First epoch of each part that starts after epoch 0, by the name of the setting that decides it."""
        return {}

    @property
    def plan(self) -> tuple[ViewSpec, ...]:
        """The views of a step."""
        return (ViewSpec(), ViewSpec())

    def items(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the items that a step with these anchors needs, ``[B, m]``; column 0 holds the anchors."""
        return index[:, None]

    def forward(self, batch: Batch) -> Step:
        """Returns the terms and the loss of a batch. It changes nothing, so that an explorer can call it as well."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(batch) -> Step.")

    def after_step(self, step: Step) -> None:
        """Runs after the optimiser has moved the weights: momentum update, then :meth:`remember`."""
        self.remember(step)

    def remember(self, step: Step) -> None:
        """Keeps what later steps need of this one, such as keys for the queue. Runs after every step."""

    def refresh(self, epoch: int, embed: Embed) -> None:
        """Runs before every epoch: new prototypes, neighbours, masks."""

    def project(self, view: Tensor) -> Tensor:
        """Returns unit embeddings of a view, with gradient: ``z = g(f(x)) / ‖g(f(x))‖``, float32 ``[B, dim]``."""
        return F.normalize(self.head(self.encoder(view)).float(), dim=1)


def full_precision(like: Tensor) -> torch.autocast:
    """Switches autocast off: from the embedding on everything is float32 (a bf16 logit would be off by 0.1)."""
    return torch.autocast(like.device.type, enabled=False)
