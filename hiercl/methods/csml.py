"""CsMl: neighbours and mixtures with them as further queries and keys, and the same loss at several stages."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.clustering import nearest_neighbours, random_neighbours
from hiercl.encoders import Encoder, Pool, modality_of, projection_head, stage_block
from hiercl.methods.base import LOCAL_CROPS, Batch, Embed, LocalCrops, Step, TrainingInfo, ViewSpec, full_precision
from hiercl.methods.moco import MoCo, MomentumConfig, Queue
from hiercl.pairs import Kind, Members, Pairs, Seen, Term, Vectors
from hiercl.runtime.config import Above, AtLeast, Share
from hiercl.views import numbers_needed

ANCHOR, NEIGHBOUR = 0, 1  # columns of a step's items, and of its keys


@dataclass(frozen=True)
class CsMlConfig(MomentumConfig):
    """Settings of CsMl."""

    neighbours: Annotated[int, AtLeast(0)] = 5
    """Neighbours of every item, at least 0; a step draws one of them. 0: no neighbours and no mixtures."""
    neighbour_source: Literal["mined", "random", "labels"] = "mined"
    """mined: the most similar items. Two controls: random takes any other items; labels takes random items of the same
    leaf class, so it reads labels."""
    neighbour_weight: Share = 0.5
    """Weight of the other item's key, for the anchor and for the neighbour, 0 to 1. The own key has the rest."""
    neighbour_start: Share = 0.05
    """Share of training in which that weight is still 0; 0 to 1."""
    mine_every: Share = 0.025
    """Share of training between two searches for neighbours, 0 to 1; at least one epoch."""
    mask_neighbours: bool = True
    """Whether old keys of the other item are left alone where its key is pulled; False pushes them, as the official
    code does (which pushes those of the own item too: mask_own)."""
    mix: bool = True
    """Whether a mixture of anchor and neighbour is a query: CutMix of pictures, two parts cut by a plane of clouds, the
    weighted mean of vectors."""
    mix_alpha: Annotated[int, AtLeast(1)] = 2
    """α of λ ~ Beta(α, α), the anchor's share of the mixture; at least 1."""
    stages: tuple[Annotated[int, AtLeast(0)], ...] | Literal["last"] | None = None
    """Stages of the encoder that have the loss, counted from 0, in growing order; the last stage must be one. last: the
    last alone, as in the official code. None: the last two, or the only one."""
    stage_weights: tuple[Annotated[float, Above(0)], ...] | None = None
    """Weight of each of these stages, above 0. None: 1 for the last, half as much for each earlier stage."""
    patches: Annotated[int, AtLeast(1)] = 1
    """Side g of the grid of patches at the stages before the last, at least 1; pictures only. 1: the map is pooled as a
    whole. More: each of g × g patches is pooled and compared with the most similar patch of a key."""
    scale: Literal["normalised", "official"] = "normalised"
    """normalised: the weights of the stages are scaled to sum to 1; official: they are not scaled."""
    local_crops: LocalCrops = 0
    """Number of small crops of the anchor that are further queries (multi-crop), 0 to 4."""

    earlier_defaults: ClassVar[Mapping[str, Any]] = {"stages": (2, 3)}
    added_settings: ClassVar[tuple[str, ...]] = (*MomentumConfig.added_settings, "patches")
    official: ClassVar[Mapping[str, Any]] = {
        "neighbours": 5,
        "neighbour_source": "mined",
        "neighbour_weight": 0.5,
        "neighbour_start": 0.055,  # from epoch 11 of 200 on, counted from 0
        "mine_every": 0.025,  # every 5 of 200 epochs
        "mask_own": False,
        "mask_neighbours": False,
        "mix": True,
        "mix_alpha": 2,
        "stages": "last",
        "scale": "official",
    }

    def __post_init__(self):
        super().__post_init__()
        if self.neighbours == 0 and self.neighbour_source != "mined":
            raise ValueError(f"neighbour_source={self.neighbour_source!r} has no effect with neighbours=0.")
        if isinstance(self.stages, tuple):
            if not self.stages or list(self.stages) != sorted(set(self.stages)):
                raise ValueError(f"stages={self.stages}: give numbers of stages in growing order, as (2, 3).")
            self.stages_of(self.stages[-1] + 1)

    def stages_of(self, count: int) -> tuple[int, ...]:
        """Returns the stages that have the loss, of an encoder with this many stages.

        Raises:
            ValueError: the encoder has other stages, or their number is not that of ``stage_weights``.

        Example:
            >>> CsMlConfig().stages_of(4), CsMlConfig().stages_of(1)
            ((2, 3), (0,))
        """
        last = 1 if self.stages == "last" else 2
        stages = self.stages if isinstance(self.stages, tuple) else tuple(range(max(0, count - last), count))
        if stages[-1] != count - 1:
            raise ValueError(
                f"stages={stages}: the last must be {count - 1}, the encoder's last stage, counted from 0. Without "
                "stages= the last two stages are taken, or the only one."
            )
        if self.stage_weights is not None and len(self.stage_weights) != len(stages):
            raise ValueError(f"stage_weights={self.stage_weights} of stages={stages}: give each stage one weight.")
        return stages


class StageHead(nn.Module):
    """Embeds the map of an intermediate stage (ours).

    It has a residual block to the width of the next stage (of pictures, with stride 2), the encoder's pooling over all
    places or over each patch, and a projection head. With a projection head alone, an early stage would serve its loss
    only, and the stages after it would suffer.
    """

    def __init__(self, encoder: Encoder, stage: int, config: CsMlConfig):
        super().__init__()
        self.block = stage_block(encoder, stage)
        self.pool = Pool(encoder.pool.how)
        width = self.pool.width(encoder.stage_widths[stage + 1])
        self.projection = projection_head(config.head, width, config.dim)
        self.side = config.patches

    def forward(self, places: Tensor) -> Tensor:
        """Returns embeddings of all patches, not normalised, ``[B, patches, dim]``."""
        places = self.block(places)
        if min(places.shape[2:]) < self.side:
            raise ValueError(
                f"patches={self.side}: the map of an intermediate stage has {places.shape[2]} × {places.shape[3]} "
                "places. Give fewer patches, an earlier stage or larger pictures."
            )
        parts = [part for row in places.tensor_split(self.side, dim=2) for part in row.tensor_split(self.side, dim=3)]
        pooled = torch.stack([self.pool(part) for part in parts], dim=1)
        return self.projection(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])


def similarities(queries: Tensor, keys: Tensor) -> Tensor:
    r"""Returns the similarity of queries and keys that have several patches, ``[queries, keys]``.

    $$s(u,v)=\frac1P\sum_p\max_r\,\langle u_p,v_r\rangle$$

    Args:
        queries: ``[queries, P, dim]``.
        keys: ``[keys, P, dim]``.
    """
    best = [(patch @ keys.flatten(0, 1).T).unflatten(1, keys.shape[:2]).amax(dim=2) for patch in queries.unbind(1)]
    return torch.stack(best).mean(dim=0)


class CsMl(MoCo):
    r"""Cross-samples and Multi-level: "Seed the Views" (Xu et al., arXiv 2012.02733; TPAMI 2022).

    *Cross-samples.* An anchor $x$ comes with a neighbour $\tilde x$, drawn from the few items whose features are most
    similar to its own (features of the momentum encoder, before the head). Two views of each item give the queries
    $q,\tilde q$ and the keys $k,\tilde k$. A third query is a CutMix of the two,
    $\hat q=f(\text{CutMix}(x_q,\tilde x_q;\lambda))$, where the anchor keeps the share λ of the picture. Each query is
    contrasted with each of its positive keys in a softmax of its own:

    $$\ell(u,v)=-\log\frac{e^{\langle u,v\rangle/\tau}}
      {e^{\langle u,v\rangle/\tau}+\sum_j e^{\langle u,n_j\rangle/\tau}}$$

    $$\mathcal L_{Cs}=\tfrac13\Big[w_s\,\ell(q,k)+w_o\,\ell(q,\tilde k)
      +w_s\,\ell(\tilde q,\tilde k)+w_o\,\ell(\tilde q,k)
      +\lambda\,\ell(\hat q,k)+(1-\lambda)\,\ell(\hat q,\tilde k)\Big]$$

    with $w_o$ = ``neighbour_weight`` after ``neighbour_start``, 0 before, and $w_s=1-w_o$.

    *Multi-level.* Several stages $s$ of the encoder have the same loss. Each stage has its own head, momentum head and
    queue. Each view passes the encoder once:

    $$\mathcal L=\sum_s\alpha_s\,\mathcal L^{(s)}_{Cs}\Big/\sum_s\alpha_s$$

    *Patches.* With ``patches=g`` a stage before the last embeds each of P = g × g patches of its map. There
    $\langle u,v\rangle$ becomes $\tfrac1P\sum_p\max_r\langle u_p,v_r\rangle$: every patch of a query is compared with
    the patch of the key that is most similar to it.

    Candidates: the keys of the batch, anchors' and neighbours', and the queue. Pulled: the own key and the other item's
    key. Pushed: the queue, which holds anchors' keys alone. Left alone: the other keys of the batch, old keys of the
    own item, and old keys of the other item where its key is pulled (``mask_own``, ``mask_neighbours``).

    The loss is the mean over the queries: ``mix=False`` leaves two, ``neighbours=0`` leaves one. With one query and the
    last stage alone, the method is :class:`MoCo`. ``local_crops`` adds small crops of the anchor, which its key pulls.

    A step passes the encoder three times with gradient and twice without; MoCo v2 passes it once each. Compare runs at
    equal compute as well as at equal epochs.

    Attributes:
        stages: the stages that have the loss, shallow to deep.

    Deviations
        *Paper*: its text was not at hand. Its abstract says that intermediate stages have the loss too. The form of
        the multi-level part (which stages, their heads, queues and weights, one list of neighbours for all stages) is
        OUR instantiation, not the paper's. So are the local crops, and the patches: an abstract of its first version
        names similar patches at earlier layers.
        *Official code* (haohang96/CSML at be34e84): it has the cross-sample part at the last stage alone. We take from
        it: 5 neighbours by exact search on the momentum encoder's features, found every 5 of 200 epochs, first with
        the initial encoder; one of them drawn per step; CutMix with one λ ~ Beta(2, 2) and one box per batch, λ
        corrected to the pasted area; the weights; anchors' keys alone in the queue. It differs in: (1) It removes the
        item itself from its neighbours by dropping the first one found, which can be a copy of it; ours compares
        indices. (2) It pushes old keys of the neighbour and of the own item; ours leaves them alone (in a queue of a
        tenth of the data they are common). ``mask_neighbours=False`` and ``mask_own=False`` push them. (3) $w_o$ = 0.5
        from epoch 11 of 200 on, counted from 0; ours from a share of 0.05, epoch 10. (4) Always 3 queries. (5) The keys
        are shuffled over GPUs; see :class:`MoCo`. ``official=True`` sets the switches of (2) and (3), and the last
        stage alone.
        *Ours*: point clouds and vectors with their mixtures (:func:`~hiercl.views.mixing.plane_mix`,
        :func:`~hiercl.views.mixing.linear_mix`); sizes, queue, momentum and
        temperature for 32-pixel data; shares of training in place of epochs; ``neighbour_source="labels"``, an oracle
        that shows what correct neighbours would give. ``scale="official"`` does not scale the stage weights, so that
        the last stage alone has the loss of the official code.

    Example:
        >>> untrained = hiercl.fit("csml", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['anchor', 'neighbour', 'mixed', 'stage 2: anchor', 'stage 2: neighbour', 'stage 2: mixed']
    """

    name = "csml"
    Config = CsMlConfig
    groups: Tensor  # group of every item; random neighbours are of the same group
    neighbours: Tensor

    def __init__(self, encoder, config: CsMlConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        self.stages = config.stages_of(len(encoder.stage_widths))
        if config.neighbours >= info.items:
            raise ValueError(f"neighbours={config.neighbours}: there are {info.items - 1} other items, ask for fewer.")
        intermediate = self.stages[:-1]
        if config.patches > 1 and not (intermediate and encoder.modality == "images"):
            what = f"{encoder.modality} have no grid of patches" if intermediate else "only the last stage has the loss"
            raise ValueError(f"patches={config.patches} has no effect: {what}. Leave out patches=.")
        self.stage_heads = nn.ModuleList(StageHead(encoder, stage, config) for stage in intermediate)
        self.key_stage_heads = copy.deepcopy(self.stage_heads).requires_grad_(False)
        parts = config.patches**2
        self.stage_queues = nn.ModuleList(Queue(len(self.queue), config.dim, parts=parts) for _ in intermediate)
        self.warm_up_epochs = info.first_epoch(config.neighbour_start)
        self.mining_epochs = max(1, round(config.mine_every * info.epochs))
        self.epoch = 0
        if config.neighbours:
            labelled = info.supervision if self.needs_labels(config) else None
            groups = torch.zeros(info.items, dtype=torch.long) if labelled is None else labelled.labels.clone()
            self.register_buffer("groups", groups)
            # Random neighbours [items, neighbours], for a model that was never trained; the first search replaces them.
            self.register_buffer("neighbours", self.random_neighbours(epoch=0))

    @classmethod
    def needs_labels(cls, config) -> bool:
        return config.neighbours > 0 and config.neighbour_source == "labels"

    @property
    def plan(self) -> tuple[ViewSpec, ...]:
        neighbour = (ViewSpec(NEIGHBOUR), ViewSpec(NEIGHBOUR)) if self.config.neighbours else ()
        return (ViewSpec(), ViewSpec(), *neighbour, *LOCAL_CROPS[: self.config.local_crops])

    def items(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the anchors and, for each anchor, one of its neighbours."""
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
            mined = self.config.neighbour_source == "mined"
            count = self.config.neighbours
            found = nearest_neighbours(embed(self.key_encoder), count) if mined else self.random_neighbours(epoch)
            self.neighbours.copy_(found)

    def random_neighbours(self, epoch: int) -> Tensor:
        """Returns random other items of the same group. An item without a label is its own neighbour."""
        generator = torch.Generator().manual_seed(self.info.seed_of(epoch))
        item = torch.arange(len(self.groups), device=self.groups.device)
        neighbours, labelled = item[:, None].repeat(1, self.config.neighbours), self.groups >= 0
        found = random_neighbours(self.groups[labelled], self.config.neighbours, generator)
        neighbours[labelled] = item[labelled][found]
        return neighbours

    def get_extra_state(self) -> dict:
        return {"epoch": self.epoch}

    def set_extra_state(self, state: dict) -> None:
        self.epoch = state["epoch"]

    # -- every step ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Step:
        items = batch.gather(batch.items)
        views, pairs = self.queries(batch, items)
        seen = self.seen(views, len(batch.views))
        queries = {name: self.embed_stages(view) for name, view in views.items()}
        columns = [batch.gather(self.keys(batch, 2 * column + 1)) for column in range(items.shape[1])]
        keys = torch.cat(columns)
        terms = []
        with full_precision(keys):
            # Terms of the last stage come first: everything else uses this stage.
            for i, (stage, weight) in reversed(list(enumerate(self.weights().items()))):
                prefix = "" if stage == self.stages[-1] else f"stage {stage}: "
                of, dim = self.part(i), self.config.dim
                candidates = torch.cat([keys[:, of], self.queues[i].keys.unflatten(1, (-1, dim))])
                for name, query in queries.items():
                    vectors = Vectors(query[:, of], (candidates,), self.config.temperature)
                    logits = similarities(vectors.anchors / self.config.temperature, candidates)
                    more = {"seen": seen[name], "vectors": vectors}
                    terms.append(Term(prefix + name, logits, pairs[name], weight / len(queries), **more))
            return Step(tuple(terms), items[:, ANCHOR], columns[ANCHOR])

    def queries(self, batch: Batch, items: Tensor) -> tuple[dict[str, Tensor], dict[str, Pairs]]:
        """Returns the view and the pairs of every query.

        All queues hold the same items, so the pairs are the same at every stage.

        Args:
            batch: the batch.
            items: items of the whole batch, ``[batch, 1 or 2]``.
        """
        views = {"anchor": batch.views[0]}
        weights = {"anchor": (1.0,)}  # of the anchor's key and of the neighbour's key
        local = batch.views[2:]
        if self.config.neighbours:
            other = self.config.neighbour_weight if self.epoch >= self.warm_up_epochs else 0.0
            views["neighbour"], local = batch.views[2], batch.views[4:]
            weights |= {"anchor": (1 - other, other), "neighbour": (other, 1 - other)}
            if self.config.mix:
                numbers = batch.draws.common(numbers_needed(self.config.mix_alpha))
                both = views["anchor"], views["neighbour"]
                views["mixed"], kept = modality_of(self.encoder).mix(*both, numbers, self.config.mix_alpha)
                weights["mixed"] = kept, 1 - kept
                batch.keep(views["mixed"])
        pairs = {name: self.pairs(items, batch.positions, shares, name) for name, shares in weights.items()}
        if local:
            crops = {f"local {i}": view for i, view in enumerate(local, start=1)}
            views |= crops
            pairs |= dict.fromkeys(crops, self.pairs(items, batch.positions, (1.0,), "local"))
        return views, pairs

    def seen(self, queries: Iterable[str], planned: int) -> dict[str, Seen]:
        """Returns which views the members of every query's terms are.

        Args:
            queries: names of the queries.
            planned: number of views in the plan; the mixture comes after them.
        """
        keys = (1, 3) if self.config.neighbours else (1,)
        number = {"anchor": 0, "neighbour": 2, "mixed": planned}
        number |= {f"local {i}": keys[-1] + i for i in range(1, self.config.local_crops + 1)}
        return {name: Seen((number[name],), keys) for name in queries}

    def pairs(self, items: Tensor, positions: Tensor, weights: tuple[float | Tensor, ...], query: str) -> Pairs:
        """Returns which candidates one kind of query pulls, pushes and leaves alone.

        Args:
            items: items of the whole batch, ``[batch, 1 or 2]``.
            positions: positions of this process's anchors among them.
            weights: weights of the anchor's key and of the neighbour's key; a key with weight 0 is not pulled.
            query: anchor, neighbour, mixed or local. A mixed query has the item of its anchor.
        """
        itself = NEIGHBOUR if query == "neighbour" else ANCHOR
        own, old = items[positions], self.queue.items
        row, size = torch.arange(len(positions), device=positions.device), len(items)
        pushed = self.open_keys(own[:, itself])
        index, weight = [], []
        for column, share in enumerate(weights):
            index.append(torch.stack([row, column * size + positions], dim=1))
            weight.append(torch.ones(len(positions), device=positions.device) * share)
            if column != itself and self.config.mask_neighbours:
                pushed = pushed & ((old != own[:, column, None]) | (weight[-1] == 0)[:, None])
        index, weight = torch.cat(index), torch.cat(weight)
        pulled = weight > 0
        negative = F.pad(pushed, (items.numel(), 0))  # the keys of the batch are left alone
        anchors = Members.of(Kind.VIEW, own[:, itself])
        candidates = Members.of(Kind.KEY, items.T.flatten()) + self.queue.members()
        return Pairs(anchors, candidates, index[pulled], weight[pulled], negative, torch.zeros_like(negative))

    def weights(self) -> dict[int, float]:
        """Returns the weight of every stage, shallow to deep."""
        given = self.config.stage_weights or tuple(0.5 ** (self.stages[-1] - stage) for stage in self.stages)
        total = sum(given) if self.config.scale == "normalised" else 1.0
        return {stage: weight / total for stage, weight in zip(self.stages, given, strict=True)}

    # -- embeddings ---------------------------------------------------------------------------------------------

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queue of every stage, shallow to deep."""
        return cast(tuple[Queue, ...], (*self.stage_queues, self.queue))

    def part(self, i: int) -> slice:
        """Returns where the vectors of the i-th stage that has the loss are, among those of :meth:`embed_stages`."""
        count, before = self.config.patches**2, len(self.stages) - 1
        return slice(i * count, (i + 1) * count if i < before else None)

    def embed_stages(self, view: Tensor) -> Tensor:
        """Returns unit embeddings of a view at every stage, with gradient, float32 ``[B, vectors, dim]``.

        A stage before the last has a vector for each patch (one by default), the last stage has one (:meth:`part`).
        """
        return self.through(self.encoder, self.stage_heads, self.head, view)

    def project_key(self, view: Tensor) -> Tensor:
        """Returns the same by the momentum encoder and its heads."""
        return self.through(self.key_encoder, self.key_stage_heads, self.key_head, view)

    def through(self, encoder: Encoder, stage_heads: nn.ModuleList, head: nn.Module, view: Tensor) -> Tensor:
        """Passes a view through an encoder, and the map of every stage through its head."""
        maps = encoder.stages(view)
        heads = zip(self.stages, stage_heads, strict=False)  # the last stage has the other head
        embedded = [stage_head(maps[stage]).float() for stage, stage_head in heads]
        embedded.append(head(encoder.pool(maps[-1])).float()[:, None])
        return F.normalize(torch.cat(embedded, dim=1), dim=2)

    @property
    def followers(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        return (*super().followers, (self.key_stage_heads, self.stage_heads))

    def enqueue(self, keys: Tensor, items: Tensor) -> None:
        for i, queue in enumerate(self.queues):
            queue.enqueue(keys[:, self.part(i)].flatten(1), items)
