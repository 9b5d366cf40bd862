"""What every method is: a module that turns a batch of views into a :class:`Step`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.encoders import Encoder, projection_head
from hiercl.hierarchy import Hierarchy
from hiercl.pairs import BlockTerm, Term
from hiercl.runtime.seeds import Draws

Embed = Callable[[Callable[[Tensor], Tensor]], Tensor]
"""Runs any part of a model over the training set (unaugmented, eval mode, data order): ``[items, d]``, float32."""


@dataclass(frozen=True)
class View:
    """One view that a step needs.

    Attributes:
        item: of which of the step's items (0 is the anchor).
        shrink: size of the view as a share of the training's own.
        scale: smallest and largest share of the picture's area; None for the training's own.
    """

    item: int = 0
    shrink: float = 1.0
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Batch:
    """What a method sees of the data in one step; no label is in it, so an unsupervised method cannot read one.

    Attributes:
        items: indices into the training set, ``[B, m]``; column 0 holds the anchors.
        views: float views in [0, 1], one tensor ``[B, channels, size, size]`` for each entry of the method's plan.
        draws: random numbers for selection, apart from those of the views: arms that select differently still see the
            same views.

    With several processes a batch holds the rows of one of them, and :meth:`gather` brings those of all together.
    """

    items: Tensor
    views: tuple[Tensor, ...]
    draws: Draws

    def gather(self, rows: Tensor) -> Tensor:
        """These rows of all processes: ``[B of this process, ...]`` → ``[B of all, ...]``, with gradient."""
        return self.draws.processes.gather(rows)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over processes, without gradient."""
        return self.draws.processes.mean(value)

    @property
    def place(self) -> Tensor:
        """Where this process's rows are among those of all, ``[B]``."""
        start = self.draws.processes.rank * len(self.items)
        return torch.arange(start, start + len(self.items), device=self.items.device)


def weighted_sum(terms: tuple[Term | BlockTerm, ...]) -> Tensor:
    """Σ weight × loss."""
    return sum(term.weight * term.loss for term in terms)


@dataclass(frozen=True)
class Step:
    """What one step found: its terms, the loss that they make, and what :meth:`Method.after_step` needs.

    Attributes:
        terms: over this process's anchors.
        items, keys: of the whole batch, for the queue.
        combine: makes the loss of the terms; all but HCE and HMCE take their weighted sum.
        observe: gives further numbers for the history, such as the share of pairs where a maximum acts.
    """

    terms: tuple[Term | BlockTerm, ...]
    items: Tensor
    keys: Tensor | None = None
    combine: Callable[[tuple[Term | BlockTerm, ...]], Tensor] = weighted_sum
    observe: Callable[[], Mapping[str, Tensor | float]] = dict
    loss: Tensor = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "loss", self.combine(self.terms))


@dataclass(frozen=True)
class Supervision:
    """The labels of the training set, for the methods that learn from them.

    Attributes:
        hierarchy: of the classes.
        labels: leaf class of every item, ``[items]``.
    """

    hierarchy: Hierarchy
    labels: Tensor

    def __post_init__(self):
        labels, last = self.labels, self.hierarchy.n_leaves - 1
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"labels are {labels.dtype} {list(labels.shape)}: give the leaf class of every item, whole numbers "
                "[items]; the hierarchy knows the classes above it (label columns: Hierarchy.from_labels)."
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= last:
            raise ValueError(
                f"labels go from {int(labels.min())} to {int(labels.max())}; the hierarchy has leaves 0 to {last}."
            )

    @property
    def ancestors(self) -> Tensor:
        """Class of every item at every level, coarse first, ``[items, levels]``. Equal numbers at a level mean that
        all levels above it agree as well."""
        return torch.from_numpy(self.hierarchy.ancestors.copy()).to(self.labels.device)[self.labels]


@dataclass(frozen=True)
class Setting:
    """What a method needs to know of the training it is made for: its schedules are fractions of it.

    Attributes:
        supervision: None for a method that needs no labels: what it does not get it cannot read.
    """

    items: int
    epochs: int
    steps_per_epoch: int
    seed: int = 0
    supervision: Supervision | None = None

    def __post_init__(self):
        if self.supervision is not None and len(self.supervision.labels) != self.items:
            raise ValueError(f"{len(self.supervision.labels)} labels of {self.items} items: give one for each.")


class Method(nn.Module):
    """Base of all methods. A subclass says what it needs (``plan``) and what a step is (:meth:`forward`).

    The calls come in this order: ``refresh`` before every epoch; in every step ``items``, ``forward`` and, after the
    optimiser, ``after_step``.
    """

    name: ClassVar[str]
    Config: ClassVar[type]

    def __init__(self, encoder: Encoder, config, setting: Setting):
        super().__init__()
        self.config = config
        self.setting = setting
        self.encoder = encoder
        self.head = projection_head(config.head, encoder.width, config.dim)

    @classmethod
    def needs_labels(cls, config) -> bool:
        """Whether it learns from labels, under these settings."""
        return False

    @property
    def starts(self) -> Mapping[str, int]:
        """The first epoch of what begins later than training, by the name of the setting that says when."""
        return {}

    @property
    def plan(self) -> tuple[View, ...]:
        """The views of a step."""
        return (View(), View())

    def items(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The items that a step with these anchors needs, ``[B, m]``; the anchors come first."""
        return index[:, None]

    def forward(self, batch: Batch) -> Step:
        """Loss and terms. It changes nothing, so that an explorer can call it on a finished run."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(batch) -> Step.")

    def after_step(self, step: Step) -> None:
        """What follows the optimiser: momentum update, queue."""

    def refresh(self, epoch: int, embed: Embed) -> None:
        """What is renewed before an epoch: prototypes, neighbours, masks."""

    def project(self, view: Tensor) -> Tensor:
        """Unit embeddings of a view, with gradient: ``z = g(f(x)) / ‖g(f(x))‖``, float32 ``[B, dim]``."""
        return F.normalize(self.head(self.encoder(view)).float(), dim=1)


def full_precision(like: Tensor) -> torch.autocast:
    """From the embedding on everything is float32: switches autocast off (bf16 logits would be off by 0.1)."""
    return torch.autocast(like.device.type, enabled=False)


def check_temperature(temperature: float) -> None:
    """Raises ValueError unless 0 < temperature."""
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: it must be above 0 (0.1 and 0.2 are usual).")
