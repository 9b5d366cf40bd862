"""Every method: loss = sum of its terms, nothing changed by forward, pairs as its table says."""

import copy
import math

import pytest
import torch
from support.methods import BATCH, batch_of, make
from torch.nn import functional as F

from hiercl import methods
from hiercl.methods.base import Batch
from hiercl.methods.moco import Queue
from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Kind

HIERARCHICAL = ("hmc", "hce", "hmce", "g_hmlc", "a_hmlc")


VARIANTS = [
    ("simclr", {}),
    ("moco", {}),
    ("hcsc", {}),
    ("hcsc", {"select": "none"}),
    ("hcsc", {"select": "instances"}),
    ("hcsc", {"select": "prototypes"}),
    ("hcsc", {"select": lambda p: 1 - 0.5 * p}),
    ("hcsc", {"removed": "zeroed", "reduce": "sum", "scale": "official"}),
    ("hcsc", {"reduce": "official", "select_local": False, "local_crops": 1, "prototype_negatives": "official"}),
    ("hcsc", {"reduce": "official", "select": "none", "mask_own": False}),
    ("hcsc", {"local_crops": 2}),
    ("hcsc", {"prototypes": (5,)}),
    ("hcsc", {"warm_up": 1.0}),
    ("hcsc", {"warm_up": 1.0, "local_crops": 1}),
    ("moco", {"symmetric": True}),
    ("csml", {}),
    ("csml", {"neighbour_start": 0.0, "local_crops": 1}),
    ("csml", {"neighbour_start": 0.0, "mix": False, "stages": (3,)}),
    ("csml", {"neighbours": 0, "stages": (1, 2, 3)}),
    ("csml", {"neighbour_source": "labels", "neighbour_start": 0.0}),
    ("supcon", {}),
    ("supcon", {"source": "prototypes"}),
    ("supcon", {"balance": "classes"}),
    ("hmc", {}),
    ("hmc", {"thinning": True}),
    ("hmc", {"thinning": True, "thinning_keeps": "official"}),
    ("hmc", {"heads": "level", "level_weights": "uniform"}),
    ("hmc", {"scale": "official", "level_weights": (1.0, 3.0)}),
    ("hmc", {"source": "prototypes"}),
    ("hmc", {"source": "prototypes", "warm_up": 1.0}),
    ("hce", {}),
    ("hce", {"maximum": "pair"}),
    ("hce", {"maximum": "centred"}),
    ("hmce", {"thinning": False}),
    ("hmce", {"maximum": "pair", "thinning": False}),
    ("hmce", {"scale": "official"}),
    ("g_hmlc", {}),
    ("g_hmlc", {"warm_up": 1.0}),
    ("g_hmlc", {"masks": "random", "thinning": True}),
    ("g_hmlc", {"masks": "contiguous"}),
    ("g_hmlc", {"place": "backbone"}),
    ("g_hmlc", {"place": "backbone", "heads": "level"}),
    ("g_hmlc", {"soft": True, "descriptor": "raw"}),
    ("g_hmlc", {"sizes": "free", "descriptor": "moments"}),
    ("g_hmlc", {"source": "prototypes"}),
    ("a_hmlc", {}),
    ("a_hmlc", {"gate": "softmax"}),
    ("a_hmlc", {"gate": "features", "negatives": "far"}),
    ("a_hmlc", {"gate": "constant"}),
    ("a_hmlc", {"gate": "attention", "heads": "level"}),
    ("a_hmlc", {"source": "prototypes"}),
]


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_loss_is_the_weighted_sum_of_its_terms(name, settings):
    method = make(name, **settings)
    step = method(batch_of(method, torch.arange(10, 10 + BATCH)))
    total = 0.0
    for term in step.terms:
        options = {"shared_denominator": term.shared_denominator, "removed_logit": term.removed_logit}
        options["count"] = term.count
        loss = info_nce(term.logits, term.pairs, **options)
        assert torch.equal(loss, term.loss)
        total += term.weight * loss.item()
    if name in ("hce", "hmce"):  # their maximum stands between the terms and the loss: tests/test_hmlc.py
        assert step.loss.item() >= total * (1 - 1e-6)
    else:
        assert step.loss.item() == pytest.approx(total, rel=1e-6)
    assert len({term.name for term in step.terms}) == len(step.terms)
    if settings.get("scale") != "official":
        assert sum(term.weight for term in step.terms) == pytest.approx(1)


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_forward_changes_nothing(name, settings):
    method = make(name, **settings).eval()
    before = copy.deepcopy({k: v for k, v in method.state_dict().items() if isinstance(v, torch.Tensor)})
    first = method(batch_of(method, torch.arange(BATCH)))
    second = method(batch_of(method, torch.arange(BATCH)))
    after = method.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(first.loss, second.loss)


@pytest.mark.parametrize("name", methods.names())
def test_similarities_are_float32_under_autocast(name):
    method = make(name)
    with torch.autocast("cpu", torch.bfloat16):
        step = method(batch_of(method, torch.arange(BATCH)))
    assert all(term.logits.dtype == torch.float32 for term in step.terms)
    # bf16 products would differ in the third digit from float32 ones of the same embeddings
    assert step.loss.dtype == torch.float32


@pytest.mark.parametrize("name", methods.names())
def test_permuting_the_batch_permutes_the_pairs_and_keeps_the_loss(name):
    without_draws = {"hcsc": {"select": "none"}, "csml": {"mix": False}}
    method = make(name, **without_draws.get(name, {})).eval()
    index = torch.arange(5, 5 + BATCH)
    order = torch.randperm(BATCH)
    batch = batch_of(method, index)
    permuted = Batch(batch.items[order], tuple(view[order] for view in batch.views), batch.draws)
    assert method(batch).loss.item() == pytest.approx(method(permuted).loss.item(), abs=1e-5)


@pytest.mark.parametrize("name", methods.names())
def test_saved_and_loaded_it_does_the_same(name):
    method = make(name).eval()
    other = make(name, seed=1).eval()
    batch = lambda: batch_of(method, torch.arange(BATCH))  # noqa: E731
    assert not torch.equal(other(batch()).loss, method(batch()).loss)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other(batch()).loss, method(batch()).loss)


# -- SimCLR -----------------------------------------------------------------------------------------------------


def test_simclr_against_a_loop():
    method = make("simclr").eval()
    batch = batch_of(method, torch.arange(BATCH))
    z = torch.cat([method.project(view) for view in batch.views]).detach()
    total, n, tau = 0.0, BATCH, method.config.temperature
    for i in range(2 * n):
        others = [math.exp(float(z[i] @ z[a]) / tau) for a in range(2 * n) if a != i]
        total += math.log(sum(others)) - float(z[i] @ z[(i + n) % (2 * n)]) / tau
    assert method(batch).loss.item() == pytest.approx(total / (2 * n), abs=1e-4)


def test_simclr_of_equal_embeddings(monkeypatch):
    """Nothing to tell apart: log(2N − 1)."""
    method = make("simclr")
    monkeypatch.setattr(method, "project", lambda view: F.normalize(torch.ones(len(view), 4), dim=1))
    assert method(batch_of(method, torch.arange(BATCH))).loss.item() == pytest.approx(math.log(2 * BATCH - 1), abs=1e-5)


# -- MoCo -------------------------------------------------------------------------------------------------------


def test_moco_against_a_loop():
    method = make("moco").eval()
    index = torch.arange(4, 4 + BATCH)  # some of these items have old keys in the queue
    batch = batch_of(method, index)
    query, key = method.project(batch.views[0]).detach(), method.project_key(batch.views[1])
    tau, total, masked = method.config.temperature, 0.0, 0
    for i, item in enumerate(index):
        own = math.exp(float(query[i] @ key[i]) / tau)
        rest = 0.0
        for old, who in zip(method.queue.keys, method.queue.items, strict=True):
            if int(who) == int(item):
                masked += 1
            else:
                rest += math.exp(float(query[i] @ old) / tau)
        total += math.log((own + rest) / own)
    assert masked == BATCH
    assert method(batch).loss.item() == pytest.approx(total / BATCH, abs=1e-4)


def test_moco_pairs_are_what_the_table_says():
    method = make("moco")
    index = torch.arange(4, 4 + BATCH)
    pairs = method(batch_of(method, index)).terms[0].pairs
    kind, item = pairs.candidates.kind, pairs.candidates.item
    assert (kind[:BATCH] == Kind.KEY).all() and (kind[BATCH:] == Kind.QUEUE).all()
    assert torch.equal(pairs.positive, F.pad(torch.eye(BATCH), (0, 20)))
    assert not pairs.removed.any() and not pairs.negative[:, :BATCH].any()
    assert torch.equal(pairs.negative[:, BATCH:], item[BATCH:] != index[:, None])


def test_momentum_update_and_queue():
    method = make("moco", momentum=0.9)
    slow = [p.clone() for p in (*method.key_encoder.parameters(), *method.key_head.parameters())]
    for p in (*method.encoder.parameters(), *method.head.parameters()):
        p.data += 1.0
    fast = [p.clone() for p in (*method.encoder.parameters(), *method.head.parameters())]
    step = method(batch_of(method, torch.arange(BATCH)))
    before = int(method.queue.head)
    method.after_step(step)
    after = (*method.key_encoder.parameters(), *method.key_head.parameters())
    assert all(torch.allclose(a, 0.9 * s + 0.1 * f, atol=1e-6) for a, s, f in zip(after, slow, fast, strict=True))
    places = (before + torch.arange(BATCH)) % 20
    assert torch.equal(method.queue.keys[places], step.keys) and method.queue.items[places].tolist() == list(
        range(BATCH)
    )


@pytest.mark.parametrize("size, batch", [(10, 4), (7, 3), (5, 12), (4, 4), (1, 3)])
def test_queue_is_first_in_first_out_for_any_sizes(size, batch):
    queue, everything = Queue(size, 2), []
    for step in range(6):
        items = torch.arange(step * batch, (step + 1) * batch)
        queue.enqueue(items[:, None].float().repeat(1, 2), items)
        everything += items.tolist()
        assert sorted(queue.items[queue.items >= 0].tolist()) == sorted(everything[-size:])
        filled = queue.items >= 0
        assert torch.equal(queue.keys[filled, 0], queue.items[filled].float())


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("moco", {"momentum": 1.0}, "below 1"),
        ("moco", {"queue": 0}, "at least 1"),
        ("moco", {"temperature": 0.0}, "above 0"),
        ("hcsc", {"select": "all"}, "one of 'none', 'instances', 'prototypes', 'both' or a function"),
        ("hcsc", {"prototypes": (5, 5)}, "grow from coarse to fine"),
        ("hcsc", {"prototypes": (5, 61)}, "fewer prototypes than items"),
        ("hcsc", {"local_crops": 5}, "at least 0 and at most 4"),
        ("hcsc", {"warm_up": 2.0}, "at least 0 and at most 1"),
        ("hcsc", {"select": lambda p: p[:, :1]}, "shape"),
        ("hcsc", {"select": lambda p: 2 - p}, "between 0 and 1"),
    ],
)
def test_wrong_settings(name, settings, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        make(name, **settings)


def test_unknown_method():
    with pytest.raises(ValueError, match=r"Did you mean 'hcsc'\? Known: a_hmlc, "):
        methods.get("hcscs")
