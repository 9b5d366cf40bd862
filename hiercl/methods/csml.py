"""CsMl: a neighbour, and a mixture with it, as further queries and keys; and the same loss at several stages."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.clustering import nearest_neighbours, random_neighbours
from hiercl.encoders import Encoder, Pool, projection_head, stage_block
from hiercl.methods.base import Batch, Embed, Setting, Step, View, full_precision
from hiercl.methods.local_crops import LOCAL_CROPS, check_local_crops
from hiercl.methods.moco import MoCo, MomentumConfig, Queue
from hiercl.methods.schedules import check_share, first_epoch
from hiercl.pairs import Kind, Members, Pairs, Term
from hiercl.views import mixed, numbers_needed

ANCHOR, NEIGHBOUR = 0, 1  # columns of a step's items, and of its keys


@dataclass(frozen=True)
class CsMlConfig(MomentumConfig):
    """Settings of CsMl; those of every method with a queue come first."""

    neighbours: int = 5
    """Neighbours kept of every item, one of which is drawn in a step; 0: no cross-samples at all, and so no mixture."""
    neighbour_source: Literal["mined", "random", "labels"] = "mined"
    """mined: the most similar items. Controls: random: any other items; labels: random items of the same leaf class,
    which reads labels."""
    neighbour_weight: float = 0.5
    """Of the other one's key, for the anchor and for the neighbour; that of the own key is 1 less this."""
    neighbour_start: float = 0.05
    """Share of training in which that weight is 0 still."""
    mine_every: float = 0.025
    """Share of training from one mining to the next; at least an epoch."""
    mask_neighbours: bool = True
    """Whether old keys of an item that is pulled are left alone (official code: they are pushed)."""
    mix: bool = True
    """Whether a CutMix of anchor and neighbour (of clouds: two parts cut by a plane) is a query too."""
    mix_alpha: int = 2
    """α of the share λ ~ Beta(α, α) that the anchor keeps in the mixture."""
    stages: tuple[int, ...] = (2, 3)
    """Stages of the encoder that have the loss, from 0 on; the last stage is always among them."""
    stage_weights: tuple[float, ...] | None = None
    """Of these stages; by default 1 for the last and half as much for every stage further down."""
    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of the stages are made to sum to 1; official: they stay as they are."""
    local_crops: int = 0
    """Small crops of the anchor as further queries (multi-crop), 0 to 4."""

    def __post_init__(self):
        super().__post_init__()
        if self.neighbours < 0:
            raise ValueError(f"neighbours={self.neighbours}: 0 (none at all) or more.")
        if self.neighbours == 0 and self.neighbour_source != "mined":
            raise ValueError(f"neighbour_source={self.neighbour_source!r} says nothing with neighbours=0.")
        if not 0 <= self.neighbour_weight <= 1:
            raise ValueError(f"neighbour_weight={self.neighbour_weight}: it must lie between 0 and 1.")
        check_share("neighbour_start", self.neighbour_start)
        check_share("mine_every", self.mine_every)
        if self.mix_alpha < 1:
            raise ValueError(f"mix_alpha={self.mix_alpha}: it is a whole number of at least 1.")
        if not self.stages or self.stages[0] < 0 or list(self.stages) != sorted(set(self.stages)):
            raise ValueError(f"stages={self.stages}: give numbers of stages, from 0 on, that grow: (2, 3).")
        if self.stage_weights is not None:
            good = all(0 < weight < math.inf for weight in self.stage_weights)
            if len(self.stage_weights) != len(self.stages) or not good:
                raise ValueError(
                    f"stage_weights={self.stage_weights} of stages={self.stages}: give each stage a weight above 0."
                )
        check_local_crops(self.local_crops)


class StageHead(nn.Module):
    """Embedding of the map of an intermediate stage (ours): a residual block to the width of the next stage (of
    pictures, of stride 2), the encoder's pooling over all places, a projection head. A bare projection would make an
    early stage serve the loss alone, and the stages after it suffer.
    """

    def __init__(self, encoder: Encoder, stage: int, config: CsMlConfig):
        super().__init__()
        self.block = stage_block(encoder, stage)
        self.pool = Pool(encoder.pool.how)
        width = self.pool.width(encoder.stage_widths[stage + 1])
        self.projection = projection_head(config.head, width, config.dim)

    def forward(self, places: Tensor) -> Tensor:
        return self.projection(self.pool(self.block(places)))


class CsMl(MoCo):
    r"""Cross-samples and Multi-level: "Seed the Views" (Xu et al., arXiv 2012.02733; TPAMI 2022).

    *Cross-samples.* An anchor $x$ comes with a neighbour $\tilde x$, drawn from the few items whose features (of the
    momentum encoder, before the head) are most similar to its own. Two views of each give queries $q,\tilde q$ and keys
    $k,\tilde k$; a third query is a CutMix of the two, $\hat q=f(\text{CutMix}(x_q,\tilde x_q;\lambda))$, where λ is
    the share of the picture that the anchor keeps. Each query is contrasted with each of its positive keys in a softmax
    of its own:

    $$\ell(u,v)=-\log\frac{e^{\langle u,v\rangle/\tau}}
      {e^{\langle u,v\rangle/\tau}+\sum_j e^{\langle u,n_j\rangle/\tau}}$$

    $$\mathcal L_{Cs}=\tfrac13\Big[w_s\,\ell(q,k)+w_o\,\ell(q,\tilde k)
      +w_s\,\ell(\tilde q,\tilde k)+w_o\,\ell(\tilde q,k)
      +\lambda\,\ell(\hat q,k)+(1-\lambda)\,\ell(\hat q,\tilde k)\Big]$$

    with $w_o$ = ``neighbour_weight`` after ``neighbour_start``, 0 before, and $w_s=1-w_o$.

    *Multi-level.* The same loss at several stages $s$ of the encoder, each with a head, a momentum head and a queue of
    its own, in one pass of the encoder for each view:

    $$\mathcal L=\sum_s\alpha_s\,\mathcal L^{(s)}_{Cs}\Big/\sum_s\alpha_s$$

    Candidates: the keys of the batch, anchors' and neighbours', and the queue. Pulled: the own key and the other one's.
    Pushed: the queue, which holds anchors' keys alone. Left alone: the other keys of the batch, old keys of the own
    item, and old keys of the other one where its key is pulled. The mean is over the queries that there are:
    ``mix=False`` leaves two, ``neighbours=0`` leaves one, and with the last stage alone that is :class:`MoCo`.
    ``local_crops`` adds small crops of the anchor, pulled by its key.

    A step takes the encoder three times forward and back and twice forward where MoCo v2 takes it once each: compare at
    equal compute as well as at equal epochs.

    Deviations
        *Paper*: its text was not at hand. That intermediate stages get the loss too is what its abstract says; the
        whole multi-level part as it is here (which stages, their heads, queues and weights, one list of neighbours for
        all stages) is OUR instantiation, not the paper's. So are the local crops.
        *Official code* (haohang96/CSML at be34e84), which has the cross-sample part at the last stage alone, and from
        which that part is taken: 5 neighbours by exact search on the momentum encoder's features, mined every 5 of 200
        epochs, first from the initial encoder; one of them drawn a step; CutMix with one λ ~ Beta(2, 2) and one box
        a batch, λ corrected to the pasted area; the weights; anchors' keys alone in the queue. It differs in: (1) the
        item itself is removed from its neighbours by dropping the first one found, which among copies can be another;
        ours goes by the index. (2) Old keys of the neighbour, and of the own item, are pushed; ours leaves them alone
        (``mask_neighbours``; in a queue of a tenth of the data they are common), the own ones as in :class:`MoCo`.
        (3) $w_o$ = 0.5 from epoch 11 of 200 on; ours from a share of 0.05, epoch 10. (4) Always 3 queries. (5) The
        momentum update comes before the keys, and these are shuffled over GPUs; see :class:`MoCo`.
        *Ours*: point clouds, and their mixture (:func:`~hiercl.views.mixing.plane_mix`); sizes, queue, momentum and
        temperature for 32-pixel data; shares of training in place of epochs;
        ``neighbour_source="labels"``, an oracle that says what right neighbours would give; ``scale="official"``
        leaves the stage weights as they are, so that the last stage alone has the loss of the official code.
    """

    name = "csml"
    Config = CsMlConfig

    def __init__(self, encoder, config: CsMlConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        last = len(encoder.stage_widths) - 1
        if config.stages[-1] != last:
            raise ValueError(
                f"stages={config.stages}: the last must be {last}, the encoder's last stage of {last + 1}, which is "
                "what all uses of the encoder see."
            )
        if config.neighbours >= setting.items:
            raise ValueError(
                f"neighbours={config.neighbours} of {setting.items} items: ask for fewer than there are other items."
            )
        intermediate = config.stages[:-1]
        self.stage_heads = nn.ModuleList(StageHead(encoder, stage, config) for stage in intermediate)
        self.key_stage_heads = copy.deepcopy(self.stage_heads).requires_grad_(False)
        self.stage_queues = nn.ModuleList(Queue(len(self.queue), config.dim) for _ in intermediate)
        self.warm_up_epochs = first_epoch(config.neighbour_start, setting)
        self.mining_epochs = max(1, round(config.mine_every * setting.epochs))
        self.epoch = 0
        if config.neighbours:
            if self.needs_labels(config) and setting.supervision is None:
                raise ValueError(
                    "neighbour_source='labels' reads labels: make the method with Setting(supervision=...), as "
                    "hiercl.fit does."
                )
            one_group = torch.zeros(setting.items, dtype=torch.long)
            groups = setting.supervision.labels.clone() if self.needs_labels(config) else one_group
            self.register_buffer("groups", groups)  # random neighbours are of the same group
            # Before the first mining, in a model that was never trained: random ones.
            self.register_buffer("neighbours", self.random_neighbours(epoch=0))  # [items, neighbours]

    @classmethod
    def needs_labels(cls, config) -> bool:
        return config.neighbours > 0 and config.neighbour_source == "labels"

    @property
    def plan(self) -> tuple[View, ...]:
        neighbour = (View(NEIGHBOUR), View(NEIGHBOUR)) if self.config.neighbours else ()
        return (View(), View(), *neighbour, *LOCAL_CROPS[: self.config.local_crops])

    def items(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The anchors, and of each one of its neighbours."""
        if not self.config.neighbours:
            return super().items(index, generator)
        which = torch.randint(self.config.neighbours, (len(index),), generator=generator)
        drawn = self.neighbours[index.to(self.neighbours.device), which.to(self.neighbours.device)]
        return torch.stack([index, drawn.to(index.device)], dim=1)

    @property
    def starts(self) -> dict[str, int]:
        return {"neighbour_start": self.warm_up_epochs} if self.config.neighbours else {}

    # -- once an epoch ------------------------------------------------------------------------------------------

    def refresh(self, epoch: int, embed: Embed) -> None:
        self.epoch = epoch
        if self.config.neighbours and epoch % self.mining_epochs == 0:
            if self.config.neighbour_source == "mined":
                found = nearest_neighbours(embed(self.key_encoder), self.config.neighbours)
            else:
                found = self.random_neighbours(epoch)
            self.neighbours.copy_(found)

    def random_neighbours(self, epoch: int) -> Tensor:
        """Other items of the same group."""
        seed = 1000 * self.setting.seed + epoch
        return random_neighbours(self.groups, self.config.neighbours, torch.Generator().manual_seed(seed))

    def get_extra_state(self) -> dict:
        return {"epoch": self.epoch}

    def set_extra_state(self, state: dict) -> None:
        self.epoch = state["epoch"]

    # -- every step ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Step:
        items = batch.gather(batch.items)
        views, pairs = self.queries(batch, items)
        queries = {name: self.embed_stages(view) for name, view in views.items()}
        columns = [batch.gather(self.keys(batch, 2 * column + 1)) for column in range(items.shape[1])]
        keys = torch.cat(columns)
        terms = []
        with full_precision(keys):
            # The last stage comes first: it is the one that is used.
            for number, (stage, weight) in reversed(list(enumerate(self.weights().items()))):
                prefix = "" if stage == self.config.stages[-1] else f"stage {stage}: "
                candidates = torch.cat([keys[:, number], self.queues[number].keys]).T
                for name, query in queries.items():
                    logits = (query[:, number] / self.config.temperature) @ candidates
                    terms.append(Term(prefix + name, logits, pairs[name], weight / len(queries)))
            return Step(tuple(terms), items[:, ANCHOR], columns[ANCHOR])

    def queries(self, batch: Batch, items: Tensor) -> tuple[dict[str, Tensor], dict[str, Pairs]]:
        """The view of every query, and its pairs, which are the same at every stage: all queues hold the same items.

        Args:
            items: of the whole batch, ``[batch, 1 or 2]``.
        """
        views = {"anchor": batch.views[0]}
        own = {"anchor": (1.0,)}  # weights of the keys: of the anchor, of the neighbour
        local = batch.views[2:]
        if self.config.neighbours:
            other = self.config.neighbour_weight if self.epoch >= self.warm_up_epochs else 0.0
            views["neighbour"], local = batch.views[2], batch.views[4:]
            own |= {"anchor": (1 - other, other), "neighbour": (other, 1 - other)}
            if self.config.mix:
                numbers = batch.draws.common(numbers_needed(self.config.mix_alpha))
                both = views["anchor"], views["neighbour"]
                views["mixed"], kept = mixed(self.encoder.kind, *both, numbers, self.config.mix_alpha)
                own["mixed"] = kept, 1 - kept
        pairs = {name: self.pairs(items, batch.place, weights, name) for name, weights in own.items()}
        if local:
            crops = {f"local {number}": view for number, view in enumerate(local, start=1)}
            views |= crops
            pairs |= dict.fromkeys(crops, self.pairs(items, batch.place, (1.0,), "local"))
        return views, pairs

    def pairs(self, items: Tensor, place: Tensor, weights: tuple[float | Tensor, ...], query: str) -> Pairs:
        """Who is pulled, pushed and left alone by one kind of query.

        Args:
            items: of the whole batch, ``[batch, 1 or 2]``.
            place: of this process's anchors among them.
            weights: with which a query is pulled by the anchor's key, and by the neighbour's; 0: not at all.
            query: anchor, neighbour, mixed or local; a mixed one counts as its anchor.
        """
        itself = NEIGHBOUR if query == "neighbour" else ANCHOR
        own, old = items[place], self.queue.items
        row, size = torch.arange(len(place), device=place.device), len(items)
        pushed = old != own[:, itself, None]
        index, weight = [], []
        for column, share in enumerate(weights):
            index.append(torch.stack([row, column * size + place], dim=1))
            weight.append(torch.ones(len(place), device=place.device) * share)
            if column != itself and self.config.mask_neighbours:
                pushed = pushed & ((old != own[:, column, None]) | (weight[-1] == 0)[:, None])
        index, weight = torch.cat(index), torch.cat(weight)
        pulled = weight > 0
        negative = F.pad(pushed, (items.numel(), 0))  # the keys of the batch are left alone
        return Pairs(
            Members.of(Kind.VIEW, own[:, itself]),
            Members.of(Kind.KEY, items.T.flatten()) + self.queue.members(),
            index[pulled],
            weight[pulled],
            negative,
            torch.zeros_like(negative),
        )

    def weights(self) -> dict[int, float]:
        """Weight of every stage, shallow to deep."""
        stages = self.config.stages
        given = self.config.stage_weights or tuple(0.5 ** (stages[-1] - stage) for stage in stages)
        total = sum(given) if self.config.scale == "normalised" else 1.0
        return {stage: weight / total for stage, weight in zip(stages, given, strict=True)}

    # -- embeddings ---------------------------------------------------------------------------------------------

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queue of every stage, shallow to deep."""
        return (*self.stage_queues, self.queue)

    def embed_stages(self, view: Tensor) -> Tensor:
        """Unit embeddings of a view at every stage, with gradient, float32 ``[B, stages, dim]``."""
        return self.through(self.encoder, self.stage_heads, self.head, view)

    def project_key(self, view: Tensor) -> Tensor:
        """The same by the momentum encoder and its heads."""
        return self.through(self.key_encoder, self.key_stage_heads, self.key_head, view)

    def through(self, encoder: Encoder, stage_heads: nn.ModuleList, head: nn.Module, view: Tensor) -> Tensor:
        """One pass through an encoder, and from the map of every stage through its head."""
        maps = encoder.stages(view)
        embedded = [own(maps[stage]).float() for stage, own in zip(self.config.stages, stage_heads, strict=False)]
        embedded.append(head(encoder.pool(maps[-1])).float())
        return F.normalize(torch.stack(embedded, dim=1), dim=2)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        super().after_step(step)
        slow, fast = list(self.key_stage_heads.parameters()), list(self.stage_heads.parameters())
        if slow:
            torch._foreach_lerp_(slow, fast, 1 - self.config.momentum)

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        for number, queue in enumerate(self.queues):
            queue.enqueue(keys[:, number], items)
