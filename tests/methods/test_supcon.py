"""SupCon: against a slow loop, against pytorch-metric-learning, and what may never be taken for labels."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from support.data import pictures
from support.loops import by_loop, mean_over_anchors, pair_losses, paths
from support.pairs import members
from support.planted import (
    BATCH,
    DIM,
    HIERARCHIES,
    ITEMS,
    batch_of,
    long_tailed,
    planted,
    random_batch,
    unit,
    with_gradient,
)
from torch.nn import functional as F

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Supervision, TrainingInfo
from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Pairs
from hiercl.pairs.terms import Term
from hiercl.training.loop import fit

# -- the loss ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["normalised", "official"])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("name", HIERARCHIES)
def test_against_a_loop(name, temperature, scale):
    hierarchy = HIERARCHIES[name]
    labels = long_tailed(hierarchy)
    method = planted("supcon", hierarchy, labels, temperature=temperature, scale=scale)
    factor = temperature / 0.07 if scale == "official" else 1.0
    for seed in range(3):
        batch = random_batch(seed)
        path_of = paths(hierarchy, labels, batch, hierarchy.levels - 1)
        expected = factor * mean_over_anchors(pair_losses(unit(batch), path_of, range(BATCH), temperature))
        assert method(batch).loss.item() == pytest.approx(expected, abs=1e-5 * factor)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("name", HIERARCHIES)
def test_is_that_of_pytorch_metric_learning(name, temperature):
    """Value and gradient, through the normalising."""
    hierarchy = HIERARCHIES[name]
    labels = long_tailed(hierarchy)
    method = planted("supcon", hierarchy, labels, temperature=temperature)
    batch = random_batch(1, batch=20, dim=16)
    loss, gradient = with_gradient(method, batch)
    views = torch.stack(batch.views).requires_grad_()
    theirs = SupConLoss(temperature)(views.flatten(0, 1), torch.as_tensor(labels)[batch.items[:, 0]].repeat(2))
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), abs=1e-5)
    assert torch.allclose(gradient, views.grad, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5])
@pytest.mark.parametrize("name", HIERARCHIES)
def test_of_equal_embeddings(name, temperature):
    """Nothing to tell apart: log(2N − 1) whatever the labels, and (τ/0.07) times that in the official scale."""
    hierarchy = HIERARCHIES[name]
    batch = batch_of(torch.arange(BATCH), torch.ones(2, BATCH, DIM))
    for seed in range(3):
        settings = {"labels": long_tailed(hierarchy, seed=seed), "temperature": temperature}
        loss = planted("supcon", hierarchy, **settings)(batch).loss.item()
        official = planted("supcon", hierarchy, **settings, scale="official")(batch).loss.item()
        assert loss == pytest.approx(math.log(2 * BATCH - 1), abs=1e-5)
        assert official == pytest.approx(temperature / 0.07 * math.log(2 * BATCH - 1), abs=1e-4)


def test_every_item_a_class_of_its_own_is_simclr():
    hierarchy = Hierarchy.from_dict([str(item) for item in range(ITEMS)])
    batch = random_batch(2)
    loss, gradient = with_gradient(planted("supcon", hierarchy, np.arange(ITEMS), temperature=0.3), batch)
    simclr, of_simclr = with_gradient(planted("simclr", None, temperature=0.3), batch)
    assert loss == pytest.approx(simclr, abs=1e-6) and torch.allclose(gradient, of_simclr, atol=1e-6)


def test_one_class_for_all_is_finite():
    """Everyone is pulled, nobody is pushed: the pulled still compete."""
    hierarchy = Hierarchy.from_dict(["a", "b"])
    method, batch = planted("supcon", hierarchy, np.zeros(ITEMS, dtype=int)), random_batch(3)
    path_of = [("a",)] * BATCH
    loss, gradient = with_gradient(method, batch)
    assert loss == pytest.approx(mean_over_anchors(pair_losses(unit(batch), path_of, range(BATCH), 0.1)), abs=1e-5)
    assert torch.isfinite(gradient).all() and (gradient != 0).any()
    assert int(method(batch).terms[0].pairs.without_negative) == 2 * BATCH


def test_a_batch_of_one_item_is_zero():
    hierarchy = HIERARCHIES["two levels"]
    loss, gradient = with_gradient(planted("supcon", hierarchy, long_tailed(hierarchy)), random_batch(batch=1))
    assert loss == 0 and (gradient == 0).all()


# -- anchors without positives ----------------------------------------------------------------------------------


def lonely() -> tuple[torch.Tensor, Pairs]:
    """Six anchors; nothing pulls 1 and 4. Anchor 2 has weights that differ."""
    g = torch.Generator().manual_seed(0)
    positive = torch.zeros(6, 8)
    positive[0, 1] = positive[0, 2] = positive[3, 5] = positive[5, 7] = 1.0
    positive[2, 0], positive[2, 3] = 1.0, 3.0
    negative = (torch.rand(6, 8, generator=g) < 0.6) & (positive == 0)
    removed = (torch.rand(6, 8, generator=g) < 0.5) & (positive == 0) & ~negative
    return torch.randn(6, 8, generator=g), Pairs.from_matrices(members(6), members(8), positive, negative, removed)


@pytest.mark.parametrize("shared_denominator", [False, True])
@pytest.mark.parametrize("removed_logit", [-math.inf, 0.0])
def test_anchors_without_positives_are_counted_and_left_out(shared_denominator, removed_logit):
    logits, pairs = lonely()
    rules = {"shared_denominator": shared_denominator, "removed_logit": removed_logit}
    logits.requires_grad_()
    term = Term("by hand", logits, pairs, **rules)
    assert term.loss.item() == pytest.approx(by_loop(logits.detach(), pairs, shared_denominator, removed_logit))
    assert int(term.pairs.without_positive) == 2
    of_anchor = term.reduced("none")
    assert of_anchor[[1, 4]].tolist() == [0, 0] and (of_anchor[[0, 2, 3, 5]] > 0).all()
    term.loss.backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[[1, 4]] == 0).all()
    assert (logits.grad[[0, 2, 3, 5]] != 0).any(dim=1).all()


def test_count_takes_the_place_of_the_number_of_anchors():
    """Two halves of the anchors, each divided by the mean number of both, have the mean loss of all."""
    logits, pairs = lonely()
    whole = info_nce(logits, pairs, shared_denominator=True)
    halves = []
    for rows in (slice(0, 2), slice(2, 6)):
        part = Pairs.from_matrices(
            members(len(logits[rows])),
            pairs.candidates,
            pairs.positive[rows],
            pairs.negative[rows],
            pairs.removed[rows],
        )
        halves.append(info_nce(logits[rows], part, shared_denominator=True, count=torch.tensor(4 / 2.0)))
    assert (sum(halves) / 2).item() == pytest.approx(whole.item(), abs=1e-6)


def test_losses_of_positives_come_in_the_order_of_the_pairs():
    logits, pairs = lonely()
    of_positive = info_nce(logits, pairs, shared_denominator=True, reduction="positives")
    assert of_positive.shape == (len(pairs.positive_index),)
    weight = pairs.positive_weight
    for anchor, loss in enumerate(info_nce(logits, pairs, shared_denominator=True, reduction="none")):
        own = pairs.positive_index[:, 0] == anchor
        expected = (weight[own] * of_positive[own]).sum() / weight[own].sum() if own.any() else torch.tensor(0.0)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    for (anchor, candidate), loss in zip(pairs.positive_index.tolist(), of_positive, strict=True):
        alone = Pairs.from_matrices(
            members(1),
            pairs.candidates,
            F.one_hot(torch.tensor([candidate]), 8).float(),
            pairs.negative[[anchor]] | (pairs.positive[[anchor]] > 0) & (torch.arange(8) != candidate),
        )
        assert loss.item() == pytest.approx(info_nce(logits[[anchor]], alone).item(), abs=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "none", "positives"])
@pytest.mark.parametrize("shared_denominator", [False, True])
@pytest.mark.parametrize("removed_logit", [-math.inf, 0.0])
def test_finite_differences_of_every_reduction(reduction, shared_denominator, removed_logit):
    logits, pairs = lonely()
    rules = (shared_denominator, removed_logit, reduction)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: info_nce(x, pairs, *rules), logits)
    count = torch.tensor(3.0)
    assert torch.autograd.gradcheck(lambda x: info_nce(x, pairs, *rules, count=count), logits)


# -- labels, and what is none -----------------------------------------------------------------------------------


def test_learns_from_the_leaves_alone():
    """Two hierarchies over the same leaves have the same SupCon."""
    labels = long_tailed(HIERARCHIES["two levels"])
    flat = Hierarchy.from_dict(list(HIERARCHIES["two levels"].leaf_names))
    one, other = (planted("supcon", h, labels)(random_batch()) for h in (HIERARCHIES["two levels"], flat))
    assert torch.equal(one.loss, other.loss) and len(one.terms) == 1


SUPERVISED = ["supcon", "hmc", "hce", "hmce"]


@pytest.mark.parametrize("name", SUPERVISED)
def test_without_labels_there_is_no_method(name):
    with pytest.raises(ValueError, match="learns from labels"):
        planted(name, None)


@pytest.mark.parametrize("name", SUPERVISED)
def test_training_on_data_without_labels_says_what_to_do(name):
    data = pictures(16)
    one_class = HierarchicalDataset.from_arrays(data.items, np.zeros(16, dtype=int), Hierarchy.from_dict(["all"]))
    with pytest.raises(ValueError, match=r"learns from labels, and arrays has none.*simclr.*source='prototypes'"):
        fit(name, one_class, epochs=1)


TWO = HIERARCHIES["two levels"]
LEAVES = np.array([0, 1, 2, 3, 4, 4])
COLUMNS = TWO.ancestors[LEAVES]  # (coarse, fine)


@pytest.mark.parametrize("name", SUPERVISED)
@pytest.mark.parametrize("labels", [COLUMNS, COLUMNS[:, ::-1].copy(), COLUMNS[:, :1], COLUMNS[:, 1:]])
def test_label_columns_are_no_labels(name, labels, as_a_user):
    """(coarse, fine) may not train anything, least of all the coarse level alone."""
    with pytest.raises(ValueError):
        planted(name, TWO, labels)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(LEAVES - 2, id="one below −1, which is no label"),
        pytest.param(LEAVES + 1, id="one that is no leaf"),
        pytest.param(LEAVES.astype(float), id="no whole numbers"),
    ],
)
def test_labels_that_are_no_leaves(labels, as_a_user):
    with pytest.raises(ValueError):
        planted("hmc", TWO, labels)


def test_labels_of_another_number_of_items(as_a_user):
    supervision = Supervision(TWO, torch.tensor(LEAVES))
    with pytest.raises(ValueError, match="give one for each"):
        TrainingInfo(len(LEAVES) + 1, epochs=1, steps_per_epoch=1, supervision=supervision)


def test_swapped_or_missing_columns_are_an_error_before_any_training():
    items = np.zeros((len(COLUMNS), 8, 8, 3), dtype=np.uint8)
    whole = HierarchicalDataset.from_arrays(items, COLUMNS, TWO)
    assert whole.labels.tolist() == LEAVES.tolist()
    with pytest.raises(ValueError, match="at level 0"):
        HierarchicalDataset.from_arrays(items, COLUMNS[:, ::-1], TWO)
    for one_column in (COLUMNS[:, :1], COLUMNS[:, 1:]):
        with pytest.raises(ValueError, match="1 columns, but the hierarchy has 2 levels"):
            HierarchicalDataset.from_arrays(items, one_column, TWO)
    with pytest.raises(ValueError, match="two parents"):
        Hierarchy.from_labels(COLUMNS[:, ::-1])
    with pytest.raises(ValueError, match="last column"):
        Hierarchy.from_ancestors(TWO.ancestors[:, ::-1])


def test_coarse_labels_in_the_place_of_leaves_do_not_pass_unseen():
    """The hierarchy says what is learned: as many levels as it has, SupCon the last of them."""
    labels = long_tailed(TWO)
    assert len(planted("hmc", TWO, labels)(random_batch()).terms) == 2
    coarse, to_coarse = TWO.coarsen([0])
    assert len(planted("hmc", coarse, to_coarse[labels])(random_batch()).terms) == 1
