"""CsMl: every query against a loop from the equation, each ingredient switched off, neighbours, stages."""

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from support.data import SMALL, pictures
from support.methods import BATCH, ITEMS, batch_of
from support.runs import same, state_of
from torch.nn import functional as F

from hiercl.clustering.neighbours import nearest_neighbours, neighbour_agreement
from hiercl.encoders import make_encoder
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch, Supervision, TrainingInfo
from hiercl.methods.csml import CsMl, CsMlConfig
from hiercl.methods.moco import MoCo
from hiercl.pairs.pairs import Kind
from hiercl.runtime.seeds import Draws
from hiercl.training.loop import fit
from hiercl.training.runs import load_run
from hiercl.views.mixing import cut_box, cutmix

TREE = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0"]})
LABELS = torch.arange(ITEMS) % 3
SHOWN = torch.rand(ITEMS, 3, 8, 8, generator=torch.Generator().manual_seed(9))
INDEX = torch.arange(4, 4 + BATCH)  # all of them, and some of their neighbours, have old keys in the queue


def info(**more) -> TrainingInfo:
    return TrainingInfo(
        **{"items": ITEMS, "epochs": 4, "steps_per_epoch": 7, "supervision": Supervision(TREE, LABELS)} | more
    )


def embed(method):
    @torch.no_grad()
    def run(function):
        method.eval()
        z = function(SHOWN)
        method.train()
        return z

    return run


def make(seed: int = 0, kind=CsMl, norm: str = "batch", **settings):
    """A small method in the middle of training: most of its queues are filled."""
    torch.manual_seed(seed)
    settings = {"queue": 20} | ({"neighbour_start": 0.0} if kind is CsMl else {}) | settings
    encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3, norm=norm)
    method = kind(encoder, kind.Config(**settings), info())
    method.refresh(0, embed(method))
    for index in torch.arange(2 * BATCH).split(2 * BATCH if norm == "split" else BATCH):  # a part of 1 has no variance
        method.after_step(method(batch_of(method, index, seed=int(index[0]))))
    with torch.no_grad():
        for p in method.parameters():
            if p.requires_grad:  # the momentum encoder lags behind
                p += 0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return method


@dataclass(frozen=True)
class FixedDraws(Draws):
    """Draws whose common numbers are given."""

    numbers: tuple[float, ...] = ()

    def common(self, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers).view(shape)


def with_numbers(batch: Batch, *numbers: float) -> Batch:
    return replace(batch, draws=FixedDraws(batch.draws.generator, numbers=numbers))


def loop(method, batch, stage: int, query, pulls, itself: int) -> float:
    """Mean over the batch of Σ w ℓ, from the equation: ``pulls`` maps a column of keys to the weight of its key."""
    tau, total, number = method.config.temperature, 0.0, method.stages.index(stage)
    of, dim = method.part(number), method.config.dim
    keys = [method.keys(batch, 2 * column + 1)[:, of].double() for column in range(batch.items.shape[1])]
    query, queue = query[:, of].detach().double(), method.queues[number]

    def alike(u, v):
        """The mean over patches of the similarity with the most similar patch."""
        return sum(max(float(a @ b) for b in v) for a in u) / len(u)

    for i, items in enumerate(batch.items.tolist()):
        alone = {items[itself]}
        if method.config.mask_neighbours:
            alone |= {items[column] for column, weight in pulls.items() if weight > 0}
        rest = sum(
            math.exp(alike(query[i], old.view(-1, dim)) / tau)
            for old, who in zip(queue.keys.double(), queue.items.tolist(), strict=True)
            if who not in alone
        )
        for column, weight in pulls.items():
            own = math.exp(alike(query[i], keys[column][i]) / tau)
            total += weight * math.log((own + rest) / own)
    return total / len(batch.items)


def expected_terms(method, batch, numbers=None) -> dict[str, float]:
    """All terms of a step by loops."""
    config, cross = method.config, method.config.neighbours > 0
    other = config.neighbour_weight if cross and method.epoch >= method.warm_up_epochs else 0.0
    anchor, neighbour = batch.views[0], batch.views[2] if cross else None
    queries = {"anchor": (anchor, {0: 1 - other, 1: other} if cross else {0: 1.0}, 0)}
    if cross:
        queries["neighbour"] = (neighbour, {0: other, 1: 1 - other}, 1)
        if config.mix:
            numbers = torch.rand(5, generator=torch.Generator().manual_seed(0)) if numbers is None else numbers
            box, lam = cut_box(numbers, 8, 8)
            queries["mixed"] = (cutmix(anchor, neighbour, box), {0: float(lam), 1: 1 - float(lam)}, 0)
    for number, view in enumerate(batch.views[4 if cross else 2 :], start=1):
        queries[f"local {number}"] = (view, {0: 1.0}, 0)
    return {
        ("" if stage == 3 else f"stage {stage}: ") + name: loop(method, batch, stage, method.embed_stages(view), *rule)
        for stage in method.stages
        for name, (view, *rule) in queries.items()
    }


VARIANTS = [
    {},
    {"mask_neighbours": False},
    {"neighbour_weight": 0.3, "stages": (3,)},
    {"neighbour_weight": 1.0},
    {"neighbour_weight": 0.0},
    {"neighbour_start": 1.0},
    {"mix": False},
    {"neighbours": 0},
    {"neighbours": 0, "local_crops": 1},
    {"stages": (0, 2, 3), "stage_weights": (3.0, 1.0, 1.0), "local_crops": 2},
    {"stages": (1, 3), "scale": "official"},
    {"stages": (0, 1, 3), "patches": 2},
    {"neighbour_source": "labels"},
]


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_query_at_every_stage_against_a_loop(settings):
    method = make(**settings).eval()
    batch = batch_of(method, INDEX)
    step, expected = method(batch), expected_terms(method, batch)
    assert {term.name for term in step.terms} == set(expected)
    for term in step.terms:
        assert term.loss.item() == pytest.approx(expected[term.name], rel=1e-4), term.name
    assert step.loss.item() == pytest.approx(sum(term.weight * expected[term.name] for term in step.terms), rel=1e-4)


def test_weights_of_the_terms():
    def weights(**settings):
        method = make(**settings)
        return {term.name: term.weight for term in method(batch_of(method, INDEX)).terms}

    assert weights(stages=(3,)) == pytest.approx({"anchor": 1 / 3, "neighbour": 1 / 3, "mixed": 1 / 3})
    assert weights(mix=False, stages=(3,)) == {"anchor": 0.5, "neighbour": 0.5}
    assert weights(neighbours=0, local_crops=1, stages=(3,)) == {"anchor": 0.5, "local 1": 0.5}
    halves = weights(neighbours=0, stages=(1, 2, 3))
    assert halves == pytest.approx({"anchor": 4 / 7, "stage 2: anchor": 2 / 7, "stage 1: anchor": 1 / 7})
    assert weights(neighbours=0, scale="official") == {"anchor": 1.0, "stage 2: anchor": 0.5}
    given = weights(neighbours=0, stages=(0, 3), stage_weights=(3.0, 1.0))
    assert given == {"anchor": 0.25, "stage 0: anchor": 0.75}
    for settings in VARIANTS:
        if settings.get("scale") != "official":
            assert sum(weights(**settings).values()) == pytest.approx(1)


def test_pairs_are_what_the_table_says():
    method = make(neighbour_weight=0.3)
    batch = batch_of(method, INDEX)
    pairs = {term.name: term.pairs for term in method(batch).terms}
    assert all(pairs[name] is pairs[f"stage 2: {name}"] for name in ("anchor", "neighbour", "mixed"))
    (anchor, neighbour), old = batch.items.T, method.queue.items
    old_neighbours = (old == neighbour[:, None]).any(dim=1)
    assert 0 < int(old_neighbours.sum()) < BATCH and (old == -1).sum() == 4  # the test sees both cases
    candidates = pairs["anchor"].candidates
    assert torch.equal(candidates.item, torch.cat([anchor, neighbour, old]))
    assert (candidates.kind[: 2 * BATCH] == Kind.KEY).all() and (candidates.kind[2 * BATCH :] == Kind.QUEUE).all()
    own = torch.eye(BATCH)
    for name, first, second, who in (("anchor", 0.7, 0.3, anchor), ("neighbour", 0.3, 0.7, neighbour)):
        assert torch.equal(pairs[name].anchors.item, who)
        assert torch.allclose(pairs[name].positive[:, : 2 * BATCH], torch.cat([first * own, second * own], dim=1))
    assert torch.equal(pairs["mixed"].anchors.item, anchor)  # a mixed query counts as its anchor
    for role in pairs.values():
        assert not role.negative[:, : 2 * BATCH].any() and not role.removed.any()
        pushed = (old != anchor[:, None]) & (old != neighbour[:, None])
        assert torch.equal(role.negative[:, 2 * BATCH :], pushed)


def test_only_an_item_that_is_pulled_is_masked():
    method = make(neighbour_weight=0.0)
    batch = batch_of(method, INDEX)
    pairs = {term.name: term.pairs for term in method(batch).terms}
    old = method.queue.items
    for column, name in enumerate(("anchor", "neighbour")):
        assert torch.equal(pairs[name].negative[:, 2 * BATCH :], old != batch.items[:, column, None])
        assert len(pairs[name].positive_index) == BATCH
    assert (pairs["mixed"].negative[:, 2 * BATCH :] != pairs["anchor"].negative[:, 2 * BATCH :]).any()


# -- the mixture ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, column", [(0.99999, 0), (0.0, 1)])
def test_a_mixture_that_is_all_anchor_or_all_neighbour(number, column):
    """λ = 1: the mixed term is ℓ(q, k); λ = 0: the neighbour's picture and key."""
    method = make().eval()
    batch = with_numbers(batch_of(method, INDEX), number, number, number, 0.5, 0.5)
    terms = {term.name: term for term in method(batch).terms}
    query = method.embed_stages(batch.views[2 * column])
    for stage, name in ((3, "mixed"), (2, "stage 2: mixed")):
        pairs = terms[name].pairs
        assert torch.equal(pairs.positive_index[:, 1], torch.arange(BATCH) + column * BATCH)
        assert (pairs.positive_weight == 1).all()
        assert terms[name].loss.item() == pytest.approx(loop(method, batch, stage, query, {column: 1.0}, 0), rel=1e-4)


def test_the_weights_of_a_mixture_are_its_shares():
    method = make(mix_alpha=1)
    batch = with_numbers(batch_of(method, INDEX), 0.75, 0.5, 0.5)  # a box of 4 × 4 of 8 × 8
    seen = []
    method.embed_stages = lambda view, plain=method.embed_stages: seen.append(view) or plain(view)
    terms = {term.name: term for term in method(batch).terms}
    expected = batch.views[0].clone()
    expected[:, :, 2:6, 2:6] = batch.views[2][:, :, 2:6, 2:6]
    assert torch.equal(seen[2], expected)
    assert terms["mixed"].pairs.positive[0, 0] == 0.75 and terms["mixed"].pairs.positive[0, BATCH] == 0.25


# -- each ingredient off ----------------------------------------------------------------------------------------


def shared_moco(method) -> MoCo:
    """MoCo with the weights and the queue of a method."""
    torch.manual_seed(1)
    encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3, norm=method.encoder.norm)
    settings = {name: getattr(method.config, name) for name in ("temperature", "momentum", "queue")}
    moco = MoCo(encoder, MoCo.Config(**settings), info())
    own = moco.state_dict()
    moco.load_state_dict({name: value for name, value in method.state_dict().items() if name in own})
    return moco


@pytest.mark.parametrize("norm", ["batch", "split", "group"])
def test_without_neighbours_and_stages_it_is_moco(norm):
    """Loss, gradients, keys, momentum update and queue."""
    method = make(neighbours=0, stages=(3,), norm=norm)
    moco, index = shared_moco(method), torch.arange(4, 4 + 2 * BATCH)
    for seed in (0, 1):
        step, other = method(batch_of(method, index, seed)), moco(batch_of(moco, index, seed))
        assert torch.equal(step.loss, other.loss)
        assert torch.equal(step.keys[:, 0], other.keys) and torch.equal(step.items, other.items)
        step.loss.backward()
        other.loss.backward()
        gradients = dict(method.named_parameters())
        for name, p in moco.named_parameters():
            if p.requires_grad:
                assert torch.equal(p.grad, gradients[name].grad), name
        method.after_step(step)
        moco.after_step(other)
        state = method.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in moco.state_dict().items())


def test_trained_without_neighbours_and_stages_it_is_moco():
    run, moco = (
        fit(kind, pictures(), **SMALL, queue=40, **more)
        for kind, more in ((CsMl, {"neighbours": 0, "stages": (3,)}), ("moco", {}))
    )
    state = state_of(run)
    assert all(torch.equal(value, state[name]) for name, value in state_of(moco).items())


@pytest.mark.parametrize("settings", [{"neighbour_weight": 0.0}, {"neighbour_start": 1.0}])
def test_without_weight_of_the_other_and_mixture_it_is_moco_over_both(settings):
    """w_o = 0: plain MoCo v2, averaged over anchor and neighbour."""
    method = make(mix=False, stages=(3,), **settings).eval()
    moco = shared_moco(method).eval()
    batch = batch_of(method, INDEX)
    halves = [
        moco(Batch(batch.items[:, column, None], batch.views[2 * column : 2 * column + 2], batch.draws)).loss.item()
        for column in (0, 1)
    ]
    assert method(batch).loss.item() == pytest.approx(sum(halves) / 2, rel=1e-6)


def test_the_start_of_neighbour_weights():
    method = make(neighbour_start=0.5)  # of 4 epochs
    counts = {}
    for epoch in range(4):
        method.refresh(epoch, embed(method))
        terms = method(batch_of(method, INDEX)).terms
        counts[epoch] = {term.name: len(term.pairs.positive_index) // BATCH for term in terms}
    early, late = {"anchor": 1, "neighbour": 1, "mixed": 2}, {"anchor": 2, "neighbour": 2, "mixed": 2}
    late |= {f"stage 2: {name}": n for name, n in late.items()}
    early |= {f"stage 2: {name}": n for name, n in early.items()}
    assert counts == {0: early, 1: early, 2: late, 3: late}


# -- neighbours -------------------------------------------------------------------------------------------------


def test_neighbours_are_mined_on_the_momentum_backbone():
    method = make()
    method.refresh(1, embed(method))
    expected = nearest_neighbours(embed(method)(method.key_encoder), 5)
    assert torch.equal(method.neighbours, expected)
    assert not torch.equal(method.neighbours, nearest_neighbours(embed(method)(method.encoder), 5))


def test_neighbours_are_never_the_item_among_copies(monkeypatch):
    monkeypatch.setattr("test_csml.SHOWN", SHOWN[:10].repeat(6, 1, 1, 1))
    method = make()
    assert not (method.neighbours == torch.arange(ITEMS)[:, None]).any()
    assert (method.neighbours % 10 == torch.arange(ITEMS)[:, None] % 10).all()  # the five copies


@pytest.mark.parametrize(
    "epochs, mine_every, mined",
    [(4, 0.025, [0, 1, 2, 3]), (8, 0.25, [0, 2, 4, 6]), (5, 1.0, [0]), (4, 0.0, [0, 1, 2, 3])],
)
def test_when_neighbours_are_mined(epochs, mine_every, mined):
    encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3)
    method = CsMl(encoder, CsMlConfig(mine_every=mine_every), info(epochs=epochs))
    seen = []
    for epoch in range(epochs):
        method.refresh(epoch, lambda function, epoch=epoch: seen.append(epoch) or torch.randn(ITEMS, 4))
    assert seen == mined


def test_the_default_schedule_is_that_of_the_official_code():
    method = CsMl(make().encoder, CsMlConfig(), info(epochs=200))
    assert method.mining_epochs == 5 and method.warm_up_epochs == 10


def test_one_of_the_neighbours_is_drawn():
    method = make()
    index = torch.arange(ITEMS).repeat(400)
    items = method.items(index, torch.Generator().manual_seed(0))
    assert torch.equal(items[:, 0], index)
    for i in range(0, ITEMS, 7):
        drawn = items[items[:, 0] == i, 1]
        share = (drawn[:, None] == method.neighbours[i]).float().mean(dim=0)
        assert torch.allclose(share, torch.full((5,), 0.2), atol=0.09) and share.sum().item() == pytest.approx(1)
    assert make(neighbours=0).items(index, torch.Generator()).shape == (len(index), 1)


def test_before_the_first_mining_neighbours_are_other_items():
    method = CsMl(make().encoder, CsMlConfig(), info())
    assert not (method.neighbours == torch.arange(ITEMS)[:, None]).any()
    assert 0.2 < neighbour_agreement(method.neighbours, LABELS.numpy()) < 0.5  # no better than chance


def test_neighbours_by_labels_share_the_leaf_class():
    def unused(function):
        raise AssertionError("nothing has to be embedded")

    method = make(neighbour_source="labels", neighbours=3)
    for epoch in range(2):
        before = method.neighbours.clone()
        method.refresh(epoch, unused)
        assert neighbour_agreement(method.neighbours, LABELS.numpy()) == 1
        assert not (method.neighbours == torch.arange(ITEMS)[:, None]).any()
    assert not torch.equal(before, method.neighbours)
    assert [CsMl.needs_labels(c) for c in (method.config, CsMlConfig())] == [True, False]
    with pytest.raises(ValueError, match="has no effect with neighbours=0"):
        replace(method.config, neighbours=0)


def test_random_neighbours_are_any_other_items():
    method = make(neighbour_source="random", neighbours=3)
    assert not CsMl.needs_labels(method.config)
    agreement = [neighbour_agreement(method.neighbours, LABELS.numpy())]
    for epoch in range(8):
        before = method.neighbours.clone()
        method.refresh(epoch, lambda function: None)
        agreement.append(neighbour_agreement(method.neighbours, LABELS.numpy()))
    assert not torch.equal(before, method.neighbours)
    chance = (np.bincount(LABELS) * (np.bincount(LABELS) - 1)).sum() / (ITEMS * (ITEMS - 1))
    assert np.mean(agreement) == pytest.approx(chance, abs=0.06)


# -- stages -----------------------------------------------------------------------------------------------------


def test_each_queue_gets_the_keys_of_its_stage():
    method = make(stages=(0, 1, 3), patches=2)
    batch = batch_of(method, INDEX)
    before, step = int(method.queue.head), method(batch)
    method.after_step(step)
    places = (before + torch.arange(BATCH)) % 20
    assert step.keys.shape == (BATCH, 4 + 4 + 1, 128) and torch.equal(step.items, INDEX)  # of the anchors alone
    for number, queue in enumerate(method.queues):
        assert torch.equal(queue.keys[places], step.keys[:, method.part(number)].flatten(1))
        assert torch.equal(queue.items, method.queue.items) and torch.equal(queue.items[places], INDEX)
    assert method.queues[-1] is method.queue and not torch.equal(method.queues[0].keys, method.queues[1].keys)


def test_momentum_update_of_all_parts():
    method = make(momentum=0.9, stages=(1, 3))
    pairs = [(method.encoder, method.key_encoder), (method.head, method.key_head)]
    pairs += [(method.stage_heads, method.key_stage_heads)]
    before = [[copy.deepcopy(list(part.parameters())) for part in pair] for pair in pairs]
    method.after_step(method(batch_of(method, INDEX)))
    for (fast, slow), (_, part) in zip(before, pairs, strict=True):
        for f, s, now in zip(fast, slow, part.parameters(), strict=True):
            assert torch.allclose(now, 0.9 * s + 0.1 * f, atol=1e-6) and not torch.equal(f, s)
            assert not now.requires_grad


def test_the_last_stage_is_as_mocos():
    """What else uses the method (projections, the zoo) sees the last stage."""
    method = make(stages=(0, 2, 3)).eval()
    view = SHOWN[:5]
    assert torch.allclose(method.embed_stages(view)[:, -1], method.project(view), atol=1e-6)
    key = method.keys(Batch(INDEX[:5, None], (view, view), Draws(torch.Generator())))
    as_moco = F.normalize(method.key_head(method.key_encoder(view)).float(), dim=1)
    assert torch.allclose(key[:, -1], as_moco, atol=1e-6)
    assert torch.allclose(key.norm(dim=2), torch.ones(5, 3))


def test_patches_are_parts_of_the_map():
    """A query of one colour is the same everywhere; changing a corner changes the patch of this corner alone."""
    method = make(stages=(0, 3), patches=2).eval()
    plain = torch.full((1, 3, 32, 32), 0.5)
    changed = plain.clone()
    changed[:, :, :8, :8] = 1
    before, after = (method.embed_stages(view)[0, method.part(0)] for view in (plain, changed))
    apart = (before - after).norm(dim=1)
    assert apart[0] > 10 * apart[3], apart


def test_one_pass_of_the_encoder_for_each_view(monkeypatch):
    method, passes = make(local_crops=1), []
    for part in (method.encoder, method.key_encoder):
        stages = part.stages
        monkeypatch.setattr(part, "stages", lambda x, stages=stages, part=part: passes.append(part) or stages(x))
    method(batch_of(method, INDEX))
    assert [part is method.encoder for part in passes] == 4 * [True] + 2 * [False]


def test_gradients_reach_what_learns_and_nothing_else():
    method = make(stages=(1, 2, 3))
    method(batch_of(method, INDEX)).loss.backward()
    for name, p in method.named_parameters():
        slow = name.startswith("key_")
        assert (p.grad is None) == slow and (slow or p.grad.abs().sum() > 0), name


@pytest.mark.parametrize("name, block", [("resnet18", "BasicBlock"), ("resnet50", "Bottleneck")])
@pytest.mark.parametrize("norm", ["batch", "split", "group"])
def test_heads_of_stages_follow_the_encoder(name, block, norm):
    encoder = make_encoder(name, mean=[0.5] * 3, std=[0.25] * 3, norm=norm)
    method = CsMl(encoder, CsMlConfig(head="linear", dim=16), info())
    (head,) = method.stage_heads
    assert type(head.block).__name__ == block
    assert head.projection.in_features == encoder.stage_widths[3]
    kinds = {type(m).__name__ for m in head.modules() if "Norm" in type(m).__name__}
    assert kinds == {{"batch": "BatchNorm2d", "split": "SplitBatchNorm2d", "group": "GroupNorm"}[norm]}
    assert method.embed_stages(torch.rand(8, 3, 16, 16)).shape == (8, 2, 16)


# -- what holds for every method --------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", VARIANTS)
def test_forward_changes_nothing(settings):
    method = make(**settings).eval()
    before = copy.deepcopy(state := {k: v for k, v in method.state_dict().items() if isinstance(v, torch.Tensor)})
    first, second = (method(batch_of(method, INDEX)) for _ in range(2))
    assert all(torch.equal(value, state[name]) for name, value in before.items())
    assert torch.equal(first.loss, second.loss) and method.get_extra_state() == {"epoch": 0}


def test_saved_and_loaded_it_does_the_same():
    method, other = make(neighbour_start=0.5).eval(), make(seed=1, neighbour_start=0.5).eval()
    method.refresh(3, embed(method))
    method.eval()
    other.load_state_dict(method.state_dict())
    one, two = (m(batch_of(m, INDEX)) for m in (method, other))
    assert torch.equal(one.loss, two.loss) and torch.equal(one.terms[0].pairs.positive, two.terms[0].pairs.positive)
    assert len(two.terms[0].pairs.positive_index) == 2 * BATCH  # it is in the fourth epoch too


def test_similarities_are_float32_under_autocast():
    method = make()
    with torch.autocast("cpu", torch.bfloat16):
        step = method(batch_of(method, INDEX))
    assert all(term.logits.dtype == torch.float32 for term in step.terms) and step.keys.dtype == torch.float32


def test_permuting_the_batch_keeps_the_loss():
    method = make().eval()
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))
    batch, again = (batch_of(method, INDEX) for _ in range(2))
    permuted = Batch(again.items[order], tuple(view[order] for view in again.views), again.draws)
    assert method(batch).loss.item() == pytest.approx(method(permuted).loss.item(), abs=1e-5)


# -- trained ----------------------------------------------------------------------------------------------------

TRAINED = SMALL | {"queue": 40, "epochs": 4}


@pytest.mark.parametrize(
    "settings", [{"mine_every": 0.5, "neighbour_start": 0.25}, {"neighbour_source": "labels", "mine_every": 1.0}]
)
def test_resumed_is_as_never_stopped(tmp_path, settings):
    """Stopped after the first epoch: the second uses the neighbours that were mined before the first."""
    data, settings = pictures(), TRAINED | settings

    def stop(run):
        raise InterruptedError

    whole = fit(CsMl, data, seed=1, **settings)
    with pytest.raises(InterruptedError):
        fit(CsMl, data, seed=1, out=tmp_path / "run", callbacks=[stop], **settings)
    resumed = fit(CsMl, data, seed=1, out=tmp_path / "run", resume=True, **settings)
    assert same(whole, resumed) and np.isfinite(whole.history["loss"]).all()
    assert whole.history["loss"].tolist() == resumed.history["loss"].tolist()
    loaded = load_run(tmp_path / "run", method=CsMl)
    assert same(loaded, whole) and loaded.method.epoch == 3
    assert torch.equal(loaded.step(data, batch=16).loss, whole.step(data, batch=16).loss)


def test_audit_of_a_run_by_labels():
    """The oracle's anchors and neighbours pull their own class alone; mined ones do not."""
    data = pictures()
    precision = {}
    for source in ("labels", "mined"):
        run = fit(CsMl, data, neighbour_source=source, neighbour_start=0.0, **TRAINED | {"epochs": 1})
        table = run.audit(data, batches=2, batch=32)
        assert set(table["term"]) == {term.name for term in run.step(data).terms} and len(set(table["term"])) == 6
        precision[source] = table[table["level"] == "class"].set_index("term")["precision"]
    assert (precision["labels"] == 1).all() and (precision["mined"] < 1).all()


@pytest.mark.parametrize("settings", [{"local_crops": 2, "stages": (1, 3)}, {"norm": "split"}, {"epochs": 0}])
def test_training_with_other_settings(settings):
    run = fit(CsMl, pictures(), **TRAINED | {"epochs": 1, "neighbour_start": 0.0} | settings)
    assert "loss" not in run.history or np.isfinite(run.history["loss"]).all()
    assert torch.isfinite(run.step(pictures(), batch=16).loss)


# -- wrong settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"neighbours": -1}, "at least 0"),
        ({"neighbours": ITEMS}, "other items, ask for fewer"),
        ({"neighbour_weight": 1.5}, "at least 0 and at most 1"),
        ({"neighbour_start": -0.1}, "at least 0 and at most 1"),
        ({"mine_every": 2.0}, "at least 0 and at most 1"),
        ({"mix_alpha": 0}, "at least 1"),
        ({"stages": ()}, "in growing order"),
        ({"stages": (3, 2)}, "in growing order"),
        ({"stages": (2, 2, 3)}, "in growing order"),
        ({"stages": (-1, 3)}, "whole numbers at least 0"),
        ({"stages": (1, 2)}, "the last must be 3"),
        ({"stages": (3, 4)}, "the last must be 3"),
        ({"stage_weights": (1.0,)}, "each stage one weight"),
        ({"stage_weights": (0.0, 1.0)}, "numbers above 0"),
        ({"stage_weights": (math.inf, 1.0)}, "numbers above 0"),
        ({"local_crops": 5}, "at least 0 and at most 4"),
        ({"temperature": 0.0}, "above 0"),
        ({"patches": 0}, "at least 1"),
        ({"patches": 2, "stages": (3,)}, "only the last stage has the loss"),
        ({"patches": 2, "stages": (2, 3)}, "has 1 × 1 places. Give fewer patches"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_labels_that_are_not_there():
    with pytest.raises(ValueError, match="supervision"):
        CsMl(make().encoder, CsMlConfig(neighbour_source="labels"), info(supervision=None))
    lonely = Supervision(TREE, torch.tensor([0, 0, 1, 2, 2]))
    with pytest.raises(ValueError, match="one item only"):
        config = CsMlConfig(neighbour_source="labels", neighbours=2)
        CsMl(make().encoder, config, info(items=5, supervision=lonely))
