"""What a loss is compared with: its value for equal embeddings, and a floor that nothing falls below."""

import math

import pytest
import torch
from support.data import METHODS, pictures
from torch import nn
from torch.nn import functional as F

import hiercl
from hiercl.pairs import Kind, Members, Pairs, Term, by_item, by_label, floor, if_equal
from hiercl.training.history import references

TINY = {"epochs": 1, "batch": 16, "monitor_every": 0, "progress": False, "precision": "float32", "crop": 12}
DATA = pictures(48)


def collapse(run):
    """Makes all embeddings of a run equal: of views, of keys, of the queues and of the prototypes."""
    method = run.method
    direction = F.normalize(torch.randn(method.config.dim, generator=torch.Generator().manual_seed(0)), dim=0)
    for module in method.modules():
        if isinstance(module, nn.Linear) and module.out_features == method.config.dim:
            nn.init.zeros_(module.weight)
            module.bias = nn.Parameter(direction.clone())
        if type(module).__name__ == "Queue":
            module.keys.copy_(direction.repeat(len(module), module.keys.shape[1] // len(direction)))
    if run.name == "hcsc":
        tree = method.fitted_tree
        for centroids, temperature in zip(tree.centroids, tree.concentration, strict=True):
            centroids.copy_(direction.expand_as(centroids))
            temperature.fill_(method.config.temperature)


MORE = METHODS | {"hcsc": METHODS["hcsc"] | {"warm_up": 0.0}, "a_hmlc": {}, "g_hmlc": {"warm_up": 0.0}}


@pytest.mark.parametrize("name", [*MORE, "official hcsc"])
def test_the_loss_of_equal_embeddings_is_exact_for_every_method(name):
    more = MORE[name.split()[-1]] | ({"official": True, "mask_own": True} if "official" in name else {})
    run = hiercl.fit(name.split()[-1], DATA, **TINY, **more)
    tau = run.method.config.temperature
    before = references(run.step(DATA, batch=16), tau)
    collapse(run)
    step = run.step(DATA, batch=16)
    for term in step.terms:
        assert term.logits.std() < 1e-3, "all candidates are equally similar"
    torch.testing.assert_close(references(step, tau)["loss if equal"], step.loss, atol=2e-4, rtol=1e-5)
    assert run.history["loss if equal"].notna().all()
    if "loss floor" in before:
        assert before["loss floor"] < before["loss if equal"]
        assert (run.history["loss floor"] <= run.history["loss"]).all()
    assert ("loss floor" in before) == (name not in ("hce", "hmce"))


def test_of_equal_embeddings_by_hand():
    z = torch.ones(6, 3)
    (simclr,) = [Term.of(z, by_item(torch.arange(3).repeat(2)), 0.2)]
    assert float(if_equal(simclr, 0.2).loss) == pytest.approx(math.log(5))
    supcon = Term.of(torch.randn(6, 3), by_label(torch.tensor([0, 0, 0, 1, 1, 1])), 0.2)
    assert float(if_equal(supcon, 0.2).loss) == pytest.approx(math.log(5))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1, 2, -1]])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_no_training_falls_below_the_floor_and_it_is_reached_where_classes_are_equal(labels, temperature):
    pairs = by_label(torch.tensor(labels))
    z = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(400):
        term = Term.of(z, pairs, temperature)
        optimiser.zero_grad()
        term.loss.backward()
        optimiser.step()
    with torch.no_grad():
        term = Term.of(z, pairs, temperature)
        least, gap = floor(term, temperature), 0.002 if labels == [0, 0, 1, 1, 2, 2] else 0.15
    assert -1e-5 <= float(term.loss - least) <= gap


def test_the_floor_of_a_simplex_is_its_loss():
    simplex = F.normalize(torch.eye(5) - 0.2, dim=1).repeat(2, 1)
    term = Term.of(simplex, by_item(torch.arange(5).repeat(2)), 0.5)
    assert float(floor(term, 0.5)) == pytest.approx(float(term.loss), abs=1e-5)
    assert float(term.loss) == pytest.approx(math.log(1 + 8 * math.exp((-0.25 - 1) / 0.5)), abs=1e-5)


def test_of_a_queue_only_the_opposite_direction_is_the_floor():
    anchors, candidates = Members.of(Kind.VIEW, torch.arange(1)), Members.of(Kind.QUEUE, torch.arange(4))
    positive = torch.tensor([[1.0, 0, 0, 0]])
    pairs = Pairs.from_matrices(anchors, candidates, positive, positive == 0)
    z = torch.tensor([[1.0, 0.0]])
    best = Term.of(z, pairs, 0.5, candidates=torch.tensor([[1.0, 0.0], [-1, 0], [-1, 0], [-1, 0]]))
    assert float(floor(best, 0.5)) == pytest.approx(float(best.loss))


def test_without_a_reason_there_is_no_floor():
    pairs = by_label(torch.tensor([0, 0, 1, 1]))
    assert floor(Term("loud", 100 * torch.randn(4, 4), pairs), 0.1) is None, "these are no cosines"
    assert references(hiercl.fit("simclr", DATA, **TINY, block=4).step(DATA, batch=8), 0.1) == {}
