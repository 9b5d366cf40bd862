"""balance and negatives: the losses against slow loops, and what they are for."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.planted import BATCH, HIERARCHIES, long_tailed, planted, random_batch, unit, with_gradient
from support.threads import in_threads

THREE, UNEVEN = HIERARCHIES["three levels"], HIERARCHIES["uneven"]
SETTINGS = [
    {"balance": "anchors"},
    {"balance": "classes"},
    {"negatives": "far"},
    {"negatives": "near"},
    {"balance": "classes", "negatives": "far", "thinning": True},
]


def level_by_loop(z, path_of, kept, tau, balance, negatives, depth):
    """The equations of LabelContrast, one pair at a time. ``path_of``: names of every item down to the level."""
    n, views = len(path_of), [v for v in range(2 * len(path_of)) if v % len(path_of) in kept]
    items = [i for i in range(n) if i in kept]
    classes = {path_of[i] for i in items}
    size = {c: sum(path_of[i] == c for i in items) for c in classes}
    total = 0.0
    for i in views:
        own, weight = path_of[i % n], {}
        for a in views:
            other = path_of[a % n]
            distance = sum(x != y for x, y in zip(own, other, strict=True))
            weight[a] = (
                1.0 if distance == 0 else {"equal": 1.0, "far": distance / depth, "near": 1 / distance}[negatives]
            )
            if balance == "classes":
                weight[a] /= 2 * size[other] - (other == own)
        logit = {a: float(z[i] @ z[a]) / tau for a in views}
        rest = math.log(sum(weight[a] * math.exp(logit[a]) for a in views if a != i))
        positives = [p for p in views if p != i and path_of[p % n] == own]
        loss = sum(rest - logit[p] for p in positives) / len(positives)
        total += loss * (1.0 if balance == "none" else len(items) / len(classes) / size[own])
    return total / len(views)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("hierarchy", [THREE, UNEVEN], ids=["three levels", "uneven"])
def test_against_a_loop(hierarchy, settings):
    labels, batch = long_tailed(hierarchy), random_batch(2, batch=14)
    method = planted("hmc", hierarchy, labels, **settings)
    terms, z = method(batch).terms, unit(batch).double()
    nodes = hierarchy.labels_at_all(labels)[batch.items[:, 0]].tolist()
    for level, term in enumerate(terms):
        takes_part = term.pairs.negative.any(dim=1)[:14] if settings.get("thinning") else torch.ones(14)
        kept = takes_part.nonzero()[:, 0].tolist()
        rules = settings.get("balance", "none"), settings.get("negatives", "equal")
        expected = level_by_loop(z, [tuple(row[: level + 1]) for row in nodes], kept, 0.1, *rules, level + 1)
        assert term.loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_blocks_and_processes_do_what_the_whole_does(settings):
    labels, batch = long_tailed(THREE), random_batch(3, batch=8)
    method = planted("hmce", THREE, labels, maximum="batch", **settings)
    loss, gradient = with_gradient(method, batch)
    for other, of_other in (
        with_gradient(planted("hmce", THREE, labels, maximum="batch", block=5, **settings), batch),
        in_threads(method, batch)[:2],
    ):
        assert loss == pytest.approx(other, abs=1e-5) and torch.allclose(gradient, of_other, atol=1e-5)


def test_copies_of_frequent_items_do_not_change_a_balanced_loss():
    """Equal embeddings within a class: three times as many items of one class count as much as before."""
    labels = np.array([0, 0, 1, 1, 2, 2, *[0] * 4])
    few, many = torch.arange(6), torch.arange(10)
    centre = torch.randn(THREE.n_leaves, 5, generator=torch.Generator().manual_seed(0))
    for balance, same in (("classes", True), ("none", False)):
        method = planted("supcon", THREE, labels, balance=balance)
        batches = [replace(random_batch(), items=i[:, None], views=(centre[labels[i]],) * 2) for i in (few, many)]
        first, second = (method(batch).loss.item() for batch in batches)
        assert (first == pytest.approx(second, abs=1e-5)) == same


def test_siblings_are_pushed_less_or_more():
    labels, batch = long_tailed(THREE), random_batch(1)
    pairs = planted("hmc", THREE, labels)(batch).terms[2].pairs
    anchor, candidate = pairs.negative.nonzero().T
    items = pairs.anchors.item
    siblings = torch.tensor(THREE.lca_level(labels[items[anchor]], labels[items[candidate]]) == 1)
    weight = {}
    for name in ("far", "near"):
        term = planted("hmc", THREE, labels, negatives=name)(batch).terms[2]
        weight[name] = term.pairs.candidate_weight[anchor, candidate]
    assert (weight["far"][siblings] == pytest.approx(1 / 3)) and (weight["near"][siblings] == 1).all()
    assert weight["far"][~siblings].min() > 0.6 and weight["near"][~siblings].max() == 0.5
    assert BATCH > 1 and siblings.any() and not siblings.all()


@pytest.mark.parametrize("settings", [{"balance": "classes"}, {"negatives": "near"}])
def test_what_has_no_meaning(settings, as_a_user):
    with pytest.raises(ValueError, match="maximum='centred' compares with the number of candidates"):
        planted("hmce", THREE, long_tailed(THREE), maximum="centred", **settings)
