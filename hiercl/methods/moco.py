"""MoCo v2: a momentum encoder makes the keys, a queue keeps old ones as negatives."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.methods.base import Batch, Method, Setting, Step, check_temperature, full_precision
from hiercl.pairs import Kind, Members, Pairs, Term


@dataclass(frozen=True)
class MomentumConfig:
    """Settings of every method with a momentum encoder and a queue."""

    temperature: float = 0.1
    """Divides the similarities (0.2 in MoCo v2 on ImageNet, 0.1 in its CIFAR demo)."""
    momentum: float = 0.99
    """Of the key encoder: k ← m·k + (1 − m)·q (0.999 on ImageNet, 0.99 in the CIFAR demo)."""
    queue: int | None = None
    """Number of old keys; by default min(4096, half the data set)."""
    head: Literal["mlp", "linear"] = "mlp"
    """Projection head."""
    dim: int = 128
    """Size of the embedding."""

    def __post_init__(self):
        check_temperature(self.temperature)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: it must lie in [0, 1); at 1 the key encoder never learns.")
        if self.queue is not None and self.queue < 1:
            raise ValueError(f"queue={self.queue}: it must hold at least one key.")


@dataclass(frozen=True)
class MoCoConfig(MomentumConfig):
    """Settings of MoCo v2."""

    symmetric: bool = False
    """Whether each view is a query once and a key once: twice the passes, and twice the keys in the queue."""


class Queue(nn.Module):
    """The last K keys and the items they came from, oldest overwritten first. K need not divide by the batch.

    It starts with random unit vectors, marked by the item −1.
    """

    def __init__(self, size: int, dim: int, generator: torch.Generator | None = None):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("items", torch.full((size,), -1))
        self.register_buffer("head", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.items)

    def enqueue(self, keys: Tensor, items: Tensor) -> Tensor:
        """Overwrites the oldest entries; of a batch larger than the queue the last keys stay. Returns the places."""
        keys, items = keys[-len(self) :], items[-len(self) :]
        places = (self.head + torch.arange(len(keys), device=keys.device)) % len(self)
        self.keys[places] = keys
        self.items[places] = items
        self.head.copy_((self.head + len(keys)) % len(self))
        return places

    def members(self) -> Members:
        """Who is in the queue."""
        return Members.of(Kind.QUEUE, self.items)


class MoCo(Method):
    r"""MoCo v2 (He et al., 2020, arXiv 1911.05722, eq. 1; Chen et al., 2020, arXiv 2003.04297).

    With the query $q$ of one view, the key $k$ of the other by the momentum encoder, and the queue $\{n_j\}$:

    $$\mathcal L_{\text{NCE}} = -\log \frac{e^{\langle q,k\rangle/\tau}}
      {e^{\langle q,k\rangle/\tau} + \sum_j e^{\langle q,n_j\rangle/\tau}}$$

    Candidates: the keys of the batch and of the queue. Pulled: the own key. Pushed: the queue. Left alone: the other
    keys of the batch, and old keys of the own item. ``symmetric=True`` is the mean of this loss and the same with the
    views swapped, as in MoCo's CIFAR demo and MoCo v3: a step then costs twice as much, so compare it with as many
    passes of the plain form, not with as many epochs.

    Deviations
        *Official code*: K = 65,536 and m = 0.999 on ImageNet; old keys of the own item are pushed like any other;
        momentum update before the keys are made; shuffled batch norm over several GPUs. *Ours*: the sizes of the
        CIFAR demo; old keys of the own item are left alone (in a queue of half the data set they are common); the
        momentum update follows the optimiser, which shifts it by one step; no batch norm shuffled over GPUs, but on
        request (``norm="split"``) one in groups, with keys in another order, as the CIFAR demo has it.
    """

    name = "moco"
    Config = MoCoConfig

    def __init__(self, encoder, config: MomentumConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        size = config.queue or max(1, min(4096, setting.items // 2))
        self.queue = Queue(size, config.dim)

    def project_key(self, view: Tensor) -> Tensor:
        """Unit embeddings by the momentum encoder, float32 ``[B, dim]``."""
        return F.normalize(self.key_head(self.key_encoder(view)).float(), dim=1)

    @torch.no_grad()
    def keys(self, batch: Batch, number: int = 1) -> Tensor:
        """Keys of the views with this number in the plan, ``[B, dim]``.

        Under split batch norm they go through the encoder in a random order, so that a query and its key are
        normalised with different items: else the statistics that they share would give the key away.
        """
        view = batch.views[number]
        if not (self.training and self.encoder.norm == "split"):
            return self.project_key(view)
        order = batch.draws.permutation(len(view))
        return self.project_key(view[order])[order.argsort()]

    def forward(self, batch: Batch) -> Step:
        items = batch.gather(batch.items[:, 0])
        ways = {"instance": (0, 1), "instance, swapped": (1, 0)} if self.config.symmetric else {"instance": (0, 1)}
        terms, made = [], []
        for name, (first, second) in ways.items():
            query, keys = self.project(batch.views[first]), batch.gather(self.keys(batch, second))
            with full_precision(query):
                logits = self.instance_logits(query, keys)
                terms.append(Term(name, logits, self.instance_pairs(items, batch.place), weight=1 / len(ways)))
            made.append(keys)
        return Step(tuple(terms), items.repeat(len(ways)), torch.cat(made))

    def instance_logits(self, query: Tensor, keys: Tensor) -> Tensor:
        """Similarities of the queries to the keys of the whole batch, then to the queue: ``[B, keys + K]``."""
        return (query / self.config.temperature) @ torch.cat([keys, self.queue.keys]).T

    def instance_pairs(self, items: Tensor, own: Tensor | None = None) -> Pairs:
        """MoCo's pairs.

        Args:
            items: of the keys of the whole batch.
            own: the places of those that are anchors here, by default all.
        """
        own = torch.arange(len(items), device=items.device) if own is None else own
        anchors = items[own]
        negative = torch.zeros(len(own), len(items) + len(self.queue), dtype=torch.bool, device=items.device)
        negative[:, len(items) :] = self.queue.items != anchors[:, None]  # old keys of the own item are left alone
        index = torch.stack([torch.arange(len(own), device=items.device), own], dim=1)
        weight = torch.ones(len(own), device=items.device)
        candidates = Members.of(Kind.KEY, items) + self.queue.members()
        return Pairs(Members.of(Kind.VIEW, anchors), candidates, index, weight, negative, torch.zeros_like(negative))

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        slow = [*self.key_encoder.parameters(), *self.key_head.parameters()]
        fast = [*self.encoder.parameters(), *self.head.parameters()]
        torch._foreach_lerp_(slow, fast, 1 - self.config.momentum)  # batch-norm statistics stay each encoder's own
        self.enqueue(step.keys, step.items)

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        """Puts the keys of a step into the queue."""
        self.queue.enqueue(keys, items)
