"""MoCo v2: a momentum encoder makes the keys, a queue keeps old ones as negatives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.methods.base import Batch, Method, MethodConfig, Step, TrainingInfo, full_precision
from hiercl.pairs import Kind, Members, Pairs, Seen, Term, Vectors
from hiercl.runtime.config import Between


@dataclass(frozen=True)
class MomentumConfig(MethodConfig):
    """Settings of every method with a momentum encoder and a queue."""

    momentum: Annotated[float, Between(0, 1, high_allowed=False)] = 0.99
    """m of the key encoder, k ← m·k + (1 − m)·q; from 0 to below 1. MoCo v2: 0.999 on ImageNet, 0.99 in its demo."""
    queue: Annotated[int, Between(1, 2**26)] | None = None
    """Number of old keys, at least 1. None: 4,096, or half the data set if that is smaller."""
    mask_own: bool = True
    """Whether old keys of the anchor's own item are left alone; False pushes them, as the official codes do."""

    added_settings: ClassVar[tuple[str, ...]] = ("mask_own",)


@dataclass(frozen=True)
class MoCoConfig(MomentumConfig):
    """Settings of MoCo v2."""

    symmetric: bool = False
    """Whether each view is a query once and a key once. A step then costs twice as much and queues twice the keys."""
    scale: Literal["normalised", "official"] = "normalised"
    """How symmetric=True joins its two losses. normalised: their mean; official: their sum, and the keys of the first
    view enter the queue first, as in the official demo."""

    added_settings: ClassVar[tuple[str, ...]] = (*MomentumConfig.added_settings, "scale")
    official: ClassVar[Mapping[str, Any]] = {"mask_own": False, "scale": "official"}


class Queue(nn.Module):
    """The last K keys and the items that they came from. New keys overwrite the oldest.

    It starts with random unit vectors, which have the item −1. K does not have to be a multiple of the batch size.

    Args:
        size: number of keys K.
        dim: dimensions of a unit vector.
        generator: random numbers of the first keys; None: torch's own.
        parts: number of unit vectors of a key, which lie one after the other.

    Attributes:
        keys: the keys, ``[K, parts * dim]``.
        items: the item of each key, ``[K]``.
        head: position of the oldest key.
    """

    keys: Tensor
    items: Tensor
    head: Tensor

    def __init__(self, size: int, dim: int, generator: torch.Generator | None = None, parts: int = 1):
        super().__init__()
        vectors = F.normalize(torch.randn(size, parts, dim, generator=generator), dim=2)
        self.register_buffer("keys", vectors.flatten(1))
        self.register_buffer("items", torch.full((size,), -1))
        self.register_buffer("head", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.items)

    def enqueue(self, keys: Tensor, items: Tensor) -> Tensor:
        """Overwrites the oldest entries and returns their positions; of more than K keys it keeps the last K."""
        keys, items = keys[-len(self) :], items[-len(self) :]
        positions = (self.head + torch.arange(len(keys), device=keys.device)) % len(self)
        self.keys[positions] = keys
        self.items[positions] = items
        self.head.copy_((self.head + len(keys)) % len(self))
        return positions

    def members(self) -> Members:
        """Returns who is in the queue."""
        return Members.of(Kind.QUEUE, self.items)


class MoCo(Method):
    r"""MoCo v2 (He et al., 2020, arXiv 1911.05722, eq. 1; Chen et al., 2020, arXiv 2003.04297).

    With the query $q$ of one view, the key $k$ of the other by the momentum encoder, and the queue $\{n_j\}$:

    $$\mathcal L_{\text{NCE}} = -\log \frac{e^{\langle q,k\rangle/\tau}}
      {e^{\langle q,k\rangle/\tau} + \sum_j e^{\langle q,n_j\rangle/\tau}}$$

    Candidates: the keys of the batch and of the queue. Pulled: the own key. Pushed: the queue. Left alone: the other
    keys of the batch, and old keys of the own item.

    ``symmetric=True`` takes the mean of this loss and of the loss with the two views swapped. A step then costs twice
    as much: compare runs with equally many passes, not with equally many epochs.

    Deviations
        *Official code* (facebookresearch/moco, and its CIFAR demo): (1) K = 65,536 and m = 0.999 on ImageNet; ours has
        the sizes of the CIFAR demo. (2) It pushes old keys of the own item; ours leaves them alone (in a queue of half
        the data set they are common); ``mask_own=False`` pushes them. (3) The symmetric loss of the demo is the sum of
        the two losses; ours is their mean. ``scale="official"`` is the sum, with the keys in the demo's order. (4) It
        shuffles batch norm over several GPUs; ours does not. ``norm="split"`` is batch norm in groups, with the keys in
        another order, as in the CIFAR demo. (5) It updates the momentum encoder before the keys of a step are made,
        ours after the optimiser's step before. The keys of every step are the same; only what is done between two
        steps (clusters, neighbours, evaluation by the momentum encoder) sees one update more in ours.
        ``official=True`` sets the switches of (2) and (3).

    Example:
        >>> untrained = hiercl.fit("moco", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['instance']
    """

    name = "moco"
    Config = MoCoConfig

    def __init__(self, encoder, config: MomentumConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        size = config.queue or max(1, min(4096, info.items // 2))
        self.queue = Queue(size, config.dim)

    def project_key(self, view: Tensor) -> Tensor:
        """Returns unit embeddings by the momentum encoder, float32 ``[B, dim]``."""
        return F.normalize(self.key_head(self.key_encoder(view)).float(), dim=1)

    @torch.no_grad()
    def keys(self, batch: Batch, view: int = 1) -> Tensor:
        """Returns the keys of a view, ``[B, dim]``; ``view`` is its number in the plan.

        With split batch norm the items pass the encoder in a random order. A query and its key are then normalised
        with different items. Without this, the statistics that they share would give the key away.
        """
        pixels = batch.views[view]
        if not (self.training and self.encoder.norm == "split"):
            return self.project_key(pixels)
        order = batch.draws.permutation(len(pixels))
        return self.project_key(pixels[order])[order.argsort()]

    def forward(self, batch: Batch) -> Step:
        items = batch.gather(batch.items[:, 0])
        ways = {"instance": (0, 1), "instance, swapped": (1, 0)} if self.config.symmetric else {"instance": (0, 1)}
        official = self.config.scale == "official"
        weight = 1.0 if official else 1 / len(ways)
        terms, all_keys = [], []
        for name, (first, second) in ways.items():
            query, keys = self.project(batch.views[first]), batch.gather(self.keys(batch, second))
            with full_precision(query):
                logits = self.instance_logits(query, keys)
                pairs, seen = self.instance_pairs(items, batch.positions), Seen((first,), (second,))
                more = {"seen": seen, "vectors": self.instance_vectors(query, keys)}
                terms.append(Term(name, logits, pairs, weight=weight, **more))
            all_keys.append(keys)
        return Step(tuple(terms), items.repeat(len(ways)), torch.cat(all_keys[::-1] if official else all_keys))

    def instance_logits(self, query: Tensor, keys: Tensor) -> Tensor:
        """Returns logits of the queries with the keys of the whole batch, then with the queue: ``[B, keys + K]``."""
        return (query / self.config.temperature) @ torch.cat([keys, self.queue.keys]).T

    def instance_vectors(self, query: Tensor, keys: Tensor) -> Vectors:
        """Returns what the logits of :meth:`instance_logits` are made of."""
        return Vectors(query, (keys, self.queue.keys), self.config.temperature)

    def instance_pairs(self, items: Tensor, anchors: Tensor | None = None) -> Pairs:
        """Returns MoCo's pairs.

        Args:
            items: items of the keys of the whole batch.
            anchors: positions of this process's anchors among them; None: all.
        """
        anchors = torch.arange(len(items), device=items.device) if anchors is None else anchors
        anchor_items = items[anchors]
        negative = torch.zeros(len(anchors), len(items) + len(self.queue), dtype=torch.bool, device=items.device)
        negative[:, len(items) :] = self.open_keys(anchor_items)
        index = torch.stack([torch.arange(len(anchors), device=items.device), anchors], dim=1)
        weight = torch.ones(len(anchors), device=items.device)
        who = Members.of(Kind.VIEW, anchor_items)
        candidates = Members.of(Kind.KEY, items) + self.queue.members()
        return Pairs(who, candidates, index, weight, negative, torch.zeros_like(negative))

    def open_keys(self, own: Tensor) -> Tensor:
        """Returns which keys of the queue may be pushed by anchors of these items, ``[anchors, K]``."""
        return (self.queue.items != own[:, None]) | (not self.config.mask_own)

    @property
    def followers(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        """The momentum modules, each with the module that it follows."""
        return (self.key_encoder, self.encoder), (self.key_head, self.head)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        slow: list[Tensor] = [p for follower, _ in self.followers for p in follower.parameters()]
        fast: list[Tensor] = [p for _, leader in self.followers for p in leader.parameters()]
        # Each encoder keeps its own batch-norm statistics.
        torch._foreach_lerp_(slow, fast, 1 - self.config.momentum)  # pyright: ignore[reportPrivateImportUsage]
        super().after_step(step)

    @torch.no_grad()
    def remember(self, step: Step) -> None:
        self.enqueue(cast(Tensor, step.keys), step.items)

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        """Puts the keys of a step into the queue."""
        self.queue.enqueue(keys, items)
