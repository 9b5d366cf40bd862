"""The pull and push of each candidate add up to the gradient that autograd finds, for every method and every term."""

from dataclasses import replace

import pytest
import torch
from support.methods import BATCH, batch_of, make
from support.pairs import random_pairs, with_weights
from torch.nn import functional as F

import hiercl
from hiercl.pairs import Term, Vectors, contrast, forces
from hiercl.pairs.by_label import by_label

VARIANTS = [
    ("simclr", {}),
    ("simclr", {"block": 5}),
    ("moco", {"symmetric": True}),
    ("hcsc", {"local_crops": 1}),
    ("hcsc", {"removed": "zeroed", "scale": "official"}),
    ("hcsc", {"warm_up": 1.0}),
    ("csml", {"neighbour_start": 0.0, "local_crops": 1}),
    ("csml", {"neighbour_start": 0.0, "patches": 2, "stages": (1, 3)}),
    ("supcon", {"balance": "classes"}),
    ("hmc", {"negatives": "far"}),
    ("hmc", {"thinning": True, "heads": "level", "block": 3}),
    ("hce", {"maximum": "pair"}),
    ("hmce", {}),
    ("g_hmlc", {}),
    ("a_hmlc", {"negatives": "near", "balance": "anchors"}),
]


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_the_forces_add_up_to_the_gradient_of_autograd(name, settings):
    method = make(name, **settings).eval()
    batch = batch_of(method, torch.arange(10, 10 + BATCH))
    if settings.get("patches"):
        batch = replace(batch, views=tuple(view.repeat(1, 1, 4, 4) for view in batch.views))
    step = method(batch)
    removed = False
    for term in step.terms:
        (whole,) = torch.autograd.grad(term.weight * term.loss, term.vectors.anchors, retain_graph=True)
        for anchor in (0, len(term.pairs.anchors) - 1):
            found = forces(term, anchor)
            expected = whole[anchor].flatten().double()
            assert torch.allclose(found.factor * found.gradient, expected, rtol=1e-4, atol=1e-5)
            assert torch.allclose(found.contributions.sum(dim=0), -found.gradient)
            if isinstance(term, Term):
                loss = term.reduced("none")[anchor]
                (alone,) = torch.autograd.grad(loss, term.vectors.anchors, retain_graph=True)
                size = max(1.0, float(found.gradient.norm()))
                assert (found.gradient - alone[anchor].flatten()).norm() < 1e-5 * size
                assert found.loss == pytest.approx(loss.item(), abs=1e-4)
            roles = term.pairs.positive[anchor] > 0, term.pairs.negative[anchor]
            assert not found.strength[~(roles[0] | roles[1])].any(), "the others neither pull nor push"
            removed |= found.outside > 0
    assert removed == (settings.get("removed") == "zeroed")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("removed_logit", [-torch.inf, 0.0])
def test_any_weights(shared, removed_logit):
    pairs = with_weights(random_pairs())
    z = F.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    keys = F.normalize(torch.randn(11, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    rules = {"shared_denominator": shared, "removed_logit": removed_logit, "vectors": Vectors(z, (keys,), 0.3)}
    term = Term("random", z @ keys.T / 0.3, pairs, weight=0.7, **rules)
    (gradient,) = torch.autograd.grad(0.7 * term.loss, z)
    for anchor in range(6):
        found = forces(term, anchor)
        assert torch.allclose(found.factor * found.gradient, gradient[anchor].double(), atol=1e-6)
        some = bool((pairs.positive[anchor] > 0).any())
        assert float(found.share.sum()) + found.outside == pytest.approx(float(some))
        assert found.loss == pytest.approx(found.loss_at(found.z), abs=1e-6)
        assert found.loss_at(found.moved(found.rate)) <= found.loss + 1e-12


def test_a_small_step_goes_down_on_the_sphere():
    labels = torch.arange(12) % 4
    z = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    term = Term.of(z, by_label(labels), 0.2)
    for anchor in range(12):
        found = forces(term, anchor)
        moved = found.moved(1e-4)
        assert float(moved.norm()) == pytest.approx(1)
        gained, tangent = found.loss - found.loss_at(moved), found.tangent(found.gradient)
        assert gained == pytest.approx(1e-4 * float(tangent @ tangent), rel=0.02)
        assert float(tangent @ found.z) == pytest.approx(0, abs=1e-6)
        assert found.loss_at(found.downhill()) < found.loss - gained and found.angle(found.downhill(3.0)) <= 3
        assert torch.allclose(found.similarity(), F.cosine_similarity(z[anchor][None], z).double(), atol=1e-6)


def test_a_positive_that_competes_can_push():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    found = forces(Term.of(z, by_label(torch.zeros(3, dtype=torch.long)), 0.1))
    assert found.target.tolist() == [0.0, 0.5, 0.5] and found.strength[1] < 0 < found.strength[2]


def test_what_cannot_be_split():
    labels = torch.tensor([0, 0, 1, 1])
    term = Term.of(torch.eye(4), by_label(labels))
    with pytest.raises(ValueError, match="no anchor 4: the step has 4"):
        forces(term, 4)
    with pytest.raises(ValueError, match="does not say what its logits are made of"):
        forces(replace(term, vectors=None))
    with pytest.raises(ValueError, match="its method changes them"):
        forces(replace(term, logits=2 * term.logits))
    with pytest.raises(ValueError, match="it must be a Term or a BlockTerm"):
        forces(contrast(torch.eye(4), by_label(labels)))


def test_an_anchor_without_a_positive_has_no_forces():
    found = forces(Term.of(torch.eye(4), by_label(torch.tensor([0, 0, 1, -1]))), 2)
    assert found.loss == 0 and not found.gradient.any() and torch.equal(found.moved(1.0), found.z)
    assert hiercl.pairs.Forces is type(found)
