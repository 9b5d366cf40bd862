"""The losses alone: pairs by label and by item are those of the methods and of another library, with gradient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from support.planted import BATCH, HIERARCHIES, long_tailed, planted, random_batch, with_gradient

import hiercl
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.pairs import Term, by_item, by_label, contrast, info_nce, within_groups

TREE = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1", "b2"]})


def value_and_gradient(loss, z):
    z = z.clone().requires_grad_()
    value = loss(z)
    value.backward()
    return value.item(), z.grad


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_is_that_of_pytorch_metric_learning(temperature):
    z = torch.randn(24, 8, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(24) % 5
    ours, gradient = value_and_gradient(lambda z: contrast(z, by_label(labels), temperature), z)
    theirs, expected = value_and_gradient(lambda z: SupConLoss(temperature)(z, labels), z)
    assert ours == pytest.approx(theirs, abs=1e-5) and torch.allclose(gradient, expected, atol=1e-5)
    items = torch.arange(12).repeat(2)
    ours, gradient = value_and_gradient(lambda z: contrast(z, by_item(items), temperature), z)
    theirs, expected = value_and_gradient(lambda z: NTXentLoss(temperature)(z, items), z)
    assert ours == pytest.approx(theirs, abs=1e-5) and torch.allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_is_that_of_the_methods(name):
    """SupCon on the leaves and HMC on all levels, whose encoder and head do nothing here."""
    hierarchy = HIERARCHIES[name]
    labels = long_tailed(hierarchy)
    batch = random_batch()
    z = torch.cat([view.flatten(1) for view in batch.views])
    own = torch.as_tensor(labels)[batch.items[:, 0].repeat(2)]
    expected, gradient = with_gradient(planted("supcon", hierarchy, labels, temperature=0.2), batch)
    ours, ours_gradient = value_and_gradient(lambda z: contrast(z, by_label(own, hierarchy), 0.2), z)
    assert ours == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(ours_gradient.flatten(), gradient.flatten(), atol=1e-5)
    hmc = planted("hmc", hierarchy, labels, temperature=0.2, level_weights="uniform")(batch)
    levels = by_label(own, hierarchy, level=None, items=batch.items[:, 0].repeat(2))
    for term, pairs in zip(hmc.terms, levels, strict=True):
        assert contrast(z, pairs, 0.2).item() == pytest.approx(term.loss.item(), abs=1e-5)
        assert torch.equal(pairs.positive_index, term.pairs.positive_index) and pairs.level == term.pairs.level
        assert torch.equal(pairs.candidates.item, term.pairs.candidates.item)
    assert len(own) == 2 * BATCH


def test_a_level_is_its_classes():
    labels = np.array([0, 1, 2, 4, 4])
    coarse, fine = by_label(labels, TREE, level=None)
    columns = TREE.ancestors[labels]
    assert torch.equal(by_label(labels, TREE, 0).negative, coarse.negative)
    assert torch.equal(by_label(columns, level=0).negative, coarse.negative) and coarse.level == 0
    assert torch.equal(by_label(labels).positive, fine.positive) and by_label(labels).level is None
    assert [len(pairs.positive_index) for pairs in (coarse, fine)] == [8, 2]


def test_an_embedding_without_a_label_takes_no_part():
    z = torch.randn(7, 4)
    labels = torch.tensor([0, 0, -1, 2, 2, -1, 4])
    for level, pairs in enumerate(by_label(labels, TREE, level=None)):
        known = labels >= 0
        assert torch.isclose(contrast(z, pairs), contrast(z[known], by_label(labels[known], TREE, level)), rtol=1e-5)
        assert not pairs.negative[~known].any() and not pairs.negative[:, ~known].any()
    nothing = torch.full((7,), -1)
    loss, gradient = value_and_gradient(lambda z: contrast(z, by_label(nothing)), z)
    assert loss == 0 and not gradient.any()


def test_low_precision_is_computed_in_float32():
    z = torch.randn(8, 4)
    pairs = by_label(torch.arange(8) % 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert contrast(z.bfloat16(), pairs) == contrast(z.bfloat16().float(), pairs)
    assert contrast(z.double(), pairs).dtype == torch.float64


def test_a_learned_temperature_and_candidates_in_float64(as_a_user):
    z, pairs = torch.randn(4, 3), by_label([0, 0, 1, 1])
    temperature = torch.tensor(0.2, requires_grad=True)
    loss = contrast(z, pairs, temperature, candidates=z.double())
    loss.backward()
    assert temperature.grad != 0 and loss.item() == pytest.approx(contrast(z, pairs, 0.2).item(), abs=1e-5)


def test_candidates_of_ones_own_and_the_long_form():
    z, bank = torch.randn(3, 4), torch.randn(5, 4)
    pairs = within_groups(torch.tensor([0, 1, 0, 1, 1]), torch.arange(5), anchors=torch.tensor([0, 1, 4]))
    unit = torch.nn.functional.normalize
    logits = unit(z, dim=1) @ unit(bank, dim=1).T / 0.1
    assert contrast(z, pairs, candidates=bank) == info_nce(logits, pairs, shared_denominator=True)
    assert pairs.to("cpu") is pairs


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: by_label([0.0, 1.0]), "pass whole numbers"),
        (lambda: by_label([0, 5], TREE), "the leaves are 0 to 4"),
        (lambda: by_label([[0, 0]], TREE), "one leaf id or class"),
        (lambda: by_label([0, 1], TREE, level=2), "no level 2: the labels have 2"),
        (lambda: by_label([0, 1], items=[3]), r"items are \[1\] for 2 labels"),
        (lambda: by_item([0, -1]), "number of the item"),
        (lambda: contrast(torch.ones(3, 2), by_label([0, 1])), r"are \[3, 2\], and the pairs have 2"),
        (lambda: contrast(torch.ones(2, 2), by_label([0, 1]), temperature=0), "above 0"),
        (lambda: Term.of(np.ones((2, 2)), by_label([0, 1]), candidates=np.ones((1, 2))), r"are \[1, 2\]"),
        (lambda: by_label([0, 1], {"a": ["b"]}), "give a hiercl Hierarchy"),
        (lambda: by_label([0, 1], TREE, level=0.5), "level=0.5: it must be a whole number"),
        (lambda: contrast(torch.ones(2, 2), by_label([0, 1]), temperature="0.1"), "it must be a number above 0"),
        (lambda: contrast(torch.ones(2, 2), torch.tensor([0, 1])), "give hiercl.Pairs, such as"),
        (lambda: info_nce(torch.ones(2, 2), torch.tensor([0, 1])), "give hiercl.Pairs, or"),
        (lambda: contrast(torch.ones(2, 2), by_label([0, 1]), candidates=torch.ones(2, 3)), "both need as many"),
        (lambda: replace(by_label([0, 1]), anchor_weight=torch.ones(3)), r"anchor_weight has the shape \(3,\)"),
        (lambda: replace(by_label([0, 1]), candidate_weight=torch.ones(2)), "candidate_weight has the shape"),
        (lambda: by_label([0, -2]), "a label is -2: classes count from 0"),
        (lambda: by_label([[0, 3], [1, 3], [0, 1]]), "class 3 of column 1 lies in the classes"),
        (lambda: contrast(torch.tensor([[1.0, 0], [0, 0]]), by_label([0, 1])), "length zero.*row 1"),
        (lambda: contrast(torch.tensor([[1.0, 0], [1, math.nan]]), by_label([0, 1])), "not finite.*row 1"),
        (lambda: Term.of(np.ones((2, 2)), by_label([0, 1]), candidates=np.zeros((2, 2))), "length zero"),
        (lambda: info_nce(torch.ones(2, 2), by_label([0, 1]), removed_logit=math.nan), "removed_logit=nan: it must be"),
        (lambda: info_nce(torch.ones(2, 2), by_label([0, 1]), removed_logit="0"), "removed_logit='0'"),
        (lambda: info_nce(np.ones((2, 2)), by_label([0, 1])), "logits are a ndarray: give a tensor"),
    ],
)
def test_wrong_input(call, words, as_a_user):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_rows_of_any_size_are_scaled(scale):
    """Their squares do not fit into float32. Loss, votes and clusters are those of the same directions."""
    rows = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    labels = np.arange(40) % 4
    pairs = by_label(labels)
    assert float(contrast(rows * scale, pairs)) == pytest.approx(float(contrast(rows, pairs)), abs=1e-5)
    for of in (
        lambda z: hiercl.metrics.knn_predict(z[:20], torch.from_numpy(labels[:20]), z[20:]),
        lambda z: torch.tensor(hiercl.metrics.cluster_scores(z, labels).ami),
    ):
        assert torch.allclose(of(rows * scale).double(), of(rows).double(), atol=1e-5)
    trees = [hiercl.PrototypeTree.fit(z, (2, 5)).centroids[-1] for z in (rows * scale, rows)]
    assert torch.allclose(*trees, atol=1e-5)
