"""SupCon: against a slow loop, against pytorch-metric-learning, and what may never be taken for labels."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from test_losses import by_loop
from test_pairs import members
from test_training import pictures
from torch import nn
from torch.nn import functional as F

from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import make_encoder
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch, Setting, Supervision
from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Pairs
from hiercl.pairs.terms import Term
from hiercl.runtime.processes import ALONE
from hiercl.runtime.seeds import Draws
from hiercl.training.loop import fit

ITEMS, BATCH, DIM = 40, 9, 5

HIERARCHIES = {
    "one level": Hierarchy.from_dict(["a", "b", "c"]),
    "two levels": Hierarchy.from_dict({"a": ["a0", "a1", "a2"], "b": ["b0", "b1"]}),
    "three levels": Hierarchy.from_dict({"a": {"x": ["0", "1"], "y": ["2", "3"]}, "b": {"x": ["0"], "z": ["1", "2"]}}),
    "uneven": Hierarchy.from_dict({"a": {"x": ["0", "1", "2"], "y": None}, "b": None, "c": {"z": ["0", "1"]}}),
}


def long_tailed(hierarchy: Hierarchy, items: int = ITEMS, seed: int = 0) -> np.ndarray:
    """Leaf labels of which each is about two thirds as frequent as the one before."""
    share = 0.65 ** np.arange(hierarchy.n_leaves)
    return np.random.default_rng(seed).choice(hierarchy.n_leaves, items, p=share / share.sum())


def planted(name: str, hierarchy: Hierarchy | None, labels=None, **settings):
    """A method whose views are its embeddings before normalising: nothing of it is left but the loss."""
    torch.manual_seed(0)
    kind = methods.get(name)
    supervision = None if hierarchy is None else Supervision(hierarchy, torch.as_tensor(labels))
    setting = Setting(ITEMS if labels is None else len(labels), epochs=4, steps_per_epoch=7, supervision=supervision)
    method = kind(make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3), kind.Config(**settings), setting)
    method.encoder, method.head = nn.Identity(), nn.Identity()
    method.register_parameter("unused", nn.Parameter(torch.zeros(())))  # a module without any has no device
    if hasattr(method, "coarse_heads"):
        method.coarse_heads = nn.ModuleList(nn.Linear(DIM, DIM) for _ in method.coarse_heads)
    return method


def random_batch(seed: int = 0, items: int = ITEMS, batch: int = BATCH, dim: int = DIM) -> Batch:
    """Items in random order, and two random views of each."""
    g = torch.Generator().manual_seed(seed)
    return batch_of(torch.randperm(items, generator=g)[:batch], torch.randn(2, batch, dim, generator=g))


def batch_of(items: torch.Tensor, views: torch.Tensor, processes=ALONE) -> Batch:
    return Batch(items[:, None], tuple(views), Draws(torch.Generator().manual_seed(0), processes))


def with_gradient(method, batch: Batch) -> tuple[float, torch.Tensor]:
    """The loss, and its gradient with respect to the views."""
    views = torch.stack(batch.views).requires_grad_()
    loss = method(Batch(batch.items, tuple(views), batch.draws)).loss
    loss.backward()
    return loss.item(), views.grad


def pair_losses(z: torch.Tensor, path_of: list[tuple], taking_part: list[int], temperature: float) -> dict:
    """−log softmax of every positive of every anchor, one number at a time: ``{anchor: {positive: loss}}``.

    ``z``: the views of n items, first views first. ``path_of``: of every item, the names down to the level.
    """
    n = len(path_of)
    views = [v for v in range(2 * n) if v % n in taking_part]
    similar = (z.double() @ z.double().T / temperature).tolist()
    losses = {}
    for i in views:
        total = sum(math.exp(similar[i][a]) for a in views if a != i)
        positives = [p for p in views if p != i and path_of[p % n] == path_of[i % n]]
        losses[i] = {p: math.log(total) - similar[i][p] for p in positives}
    return losses


def mean_over_anchors(losses: dict) -> float:
    return sum(sum(of_anchor.values()) / len(of_anchor) for of_anchor in losses.values()) / len(losses)


@cache
def leaf_paths(hierarchy: Hierarchy) -> list[tuple]:
    return [hierarchy.path(leaf) for leaf in range(hierarchy.n_leaves)]


def paths(hierarchy: Hierarchy, labels, batch: Batch, level: int) -> list[tuple]:
    """The names from the top down to this level, of every item of a batch."""
    return [leaf_paths(hierarchy)[labels[item]][: level + 1] for item in batch.items[:, 0].tolist()]


def unit(batch: Batch) -> torch.Tensor:
    return F.normalize(torch.cat(batch.views), dim=1)


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
        pytest.param(LEAVES - 1, id="a negative one"),
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
        Setting(len(LEAVES) + 1, epochs=1, steps_per_epoch=1, supervision=supervision)


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
