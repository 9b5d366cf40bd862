"""HMC, HCE and HMCE against slow loops, the properties of the official scale, thinning, and labels from a tree."""

import copy
import math

import numpy as np
import pytest
import torch
from support.data import SMALL, pictures
from support.loops import mean_over_anchors, pair_losses, paths
from support.methods import make
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
from support.runs import same
from support.threads import in_threads
from torch.nn import functional as F

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Batch
from hiercl.methods.in_batch import BatchViews
from hiercl.methods.labels.hmlc import schedule_weights
from hiercl.pairs.audit import audit
from hiercl.training.loop import fit
from hiercl.training.runs import load_run

TWO, THREE, UNEVEN = (HIERARCHIES[name] for name in ("two levels", "three levels", "uneven"))


# -- the loss, by slow loops ------------------------------------------------------------------------------------


def kept_by_loop(hierarchy, labels, batch, level) -> list[int]:
    """Thinning: from the finest level up, of every class of the level just left the item with the lowest number."""
    items = batch.items[:, 0].tolist()
    kept = list(range(len(items)))
    for finer in range(hierarchy.levels - 1, level, -1):
        path_of, first = paths(hierarchy, labels, batch, finer), {}
        for i in sorted(kept, key=lambda i: items[i]):
            first.setdefault(path_of[i], i)
        kept = list(first.values())
    return kept


def lambda_by_hand(name, schedule, levels) -> list[float]:
    """Coarse to fine; l = 1 is the finest."""
    if name == "hce":
        return [1.0] * levels
    if isinstance(schedule, tuple):
        return list(schedule)
    rule = {"exp": lambda n: math.exp(1 / n), "power": lambda n: 2 ** (1 / n), "uniform": lambda n: 1.0}[schedule]
    return [rule(levels - level) for level in range(levels)]


def loss_by_loop(method, hierarchy, labels, batch) -> tuple[float, list[float]]:
    """The docstrings' equations, one pair at a time: the loss, and of every coarser level (fine to coarse) the share
    that the maximum replaced."""
    config, levels, tau = method.config, hierarchy.levels, method.config.temperature
    maximum = getattr(config, "maximum", None)
    means, acts, highest = [0.0] * levels, [], -math.inf
    for level in reversed(range(levels)):
        head = method.heads[level if len(method.heads) > 1 else 0]
        z = F.normalize(torch.cat([head(view) for view in batch.views]).detach(), dim=1)
        kept = kept_by_loop(hierarchy, labels, batch, level) if config.thinning else range(len(batch.items))
        losses = pair_losses(z, paths(hierarchy, labels, batch, level), kept, tau)
        finest = level == levels - 1
        if maximum == "pair":
            flat = [loss for of_anchor in losses.values() for loss in of_anchor.values()]
            if not finest:
                acts.append(sum(loss < highest for loss in flat) / len(flat))
            losses = {i: {p: max(loss, highest) for p, loss in of.items()} for i, of in losses.items()}
            highest = max(max(of.values()) for of in losses.values())
        means[level] = mean_over_anchors(losses)
        if maximum in ("batch", "centred"):
            chance = math.log(2 * len(kept) - 1) if maximum == "centred" else 0.0
            if not finest:
                acts.append(float(means[level] - chance < highest))
            highest = max(means[level] - chance, highest)
            means[level] = highest + chance
    weight = lambda_by_hand(method.name, getattr(config, "level_weights", None), levels)
    total = sum(w * mean for w, mean in zip(weight, means, strict=True))
    scale = tau / 0.07 / (levels + 1) if config.scale == "official" else 1 / sum(weight)
    return scale * total, acts


def learned(hierarchy, labels, batch) -> Batch:
    """Embeddings that lie around the centre of their leaf."""
    g = torch.Generator().manual_seed(1)
    centre = torch.randn(hierarchy.n_leaves, DIM, generator=g)[labels[batch.items[:, 0]]]
    return batch_of(batch.items[:, 0], centre + 0.5 * torch.randn(2, len(centre), DIM, generator=g))


def opposed(hierarchy, labels, batch) -> Batch:
    """Embeddings for which the finer losses are the larger ones: along the coarsest class, and every item of a leaf
    on one of two sides, so that only views of a leaf's own items lie apart."""
    coarse = torch.tensor([hierarchy.ancestors[labels[i], 0] for i in batch.items[:, 0].tolist()])
    towards = F.one_hot(coarse, DIM).float() * 3
    g = torch.Generator().manual_seed(7)
    side, seen = [], {}
    for i in batch.items[:, 0].tolist():
        seen[labels[i]] = seen.get(labels[i], 0) + 1
        side.append((-1.0) ** seen[labels[i]])
    away = torch.tensor(side)[:, None] * F.one_hot(torch.tensor(DIM - 1), DIM).float() * 6
    views = towards + away + 0.3 * torch.randn(2, len(coarse), DIM, generator=g)
    return batch_of(batch.items[:, 0], views)


LOSSES = [
    ("hmc", {}),
    ("hce", {"maximum": "pair"}),
    ("hce", {"maximum": "batch"}),
    ("hce", {"maximum": "centred"}),
    ("hmce", {"maximum": "pair"}),
    ("hmce", {"maximum": "batch"}),
    ("hmce", {"maximum": "centred"}),
]
OPTIONS = [
    {},
    {"thinning": True, "scale": "official"},
    {"heads": "level", "temperature": 0.4, "level_weights": "power"},
    {"thinning": True, "heads": "level", "level_weights": "uniform"},
    {"scale": "official", "temperature": 0.3, "level_weights": "own"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "official", "heads", "thinned heads", "own weights"])
@pytest.mark.parametrize("name, settings", LOSSES, ids=lambda value: value if isinstance(value, str) else str(value))
def test_against_a_loop(name, settings, options, as_a_user):
    for hierarchy in (TWO, THREE, UNEVEN):
        labels = long_tailed(hierarchy)
        chosen = settings | options
        if chosen.get("level_weights") == "own":
            chosen = chosen | {"level_weights": tuple(float(level + 1) ** 2 for level in range(hierarchy.levels))}
        if name == "hce":
            chosen.pop("level_weights", None)
        method = planted(name, hierarchy, labels, **chosen)
        for batch in (random_batch(1), opposed(hierarchy, labels, random_batch(0))):
            step = method(batch)
            expected, acts = loss_by_loop(method, hierarchy, labels, batch)
            assert step.loss.item() == pytest.approx(expected, abs=2e-5)
            if acts:
                assert float(step.observe()["maximum acts"]) == pytest.approx(sum(acts) / len(acts), abs=1e-6)


def test_the_loops_see_maxima_that_act_and_that_do_not():
    """Or the test above would not tell a maximum from its first or second part."""
    for maximum, thinning in [("pair", False), ("batch", False), ("centred", False), ("centred", True)]:
        seen = set()
        for hierarchy in (TWO, THREE, UNEVEN):
            labels = long_tailed(hierarchy)
            method = planted("hce", hierarchy, labels, maximum=maximum, thinning=thinning)
            for batch in (random_batch(1), opposed(hierarchy, labels, random_batch(0))):
                for share in loss_by_loop(method, hierarchy, labels, batch)[1]:
                    seen |= {share > 0, share == 1}
        assert seen == {True, False}, (maximum, thinning)


def test_weights_of_the_levels():
    assert schedule_weights("exp", 3) == pytest.approx((math.exp(1 / 3), math.exp(1 / 2), math.e))
    assert schedule_weights("power", 3) == pytest.approx((2 ** (1 / 3), 2 ** (1 / 2), 2))
    assert schedule_weights("uniform", 2) == (1, 1)
    for schedule in ("exp", "power", "uniform", (0.0, 3.0, 1.0)):
        terms = planted("hmc", THREE, long_tailed(THREE), level_weights=schedule)(random_batch()).terms
        assert sum(term.weight for term in terms) == pytest.approx(1)
        assert [term.name for term in terms] == ["level 0", "level 1", "level 2"]


# -- the official scale (methods.md D2) -------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5])
@pytest.mark.parametrize("name, settings", LOSSES, ids=lambda value: value if isinstance(value, str) else str(value))
def test_one_class_level_is_supcon(name, settings, temperature):
    """One level and the column of item numbers: e/2 · SupCon for HMC and HMCE, 1/2 for HCE."""
    hierarchy = HIERARCHIES["one level"]
    labels, batch = long_tailed(hierarchy), random_batch(4)
    official = {"temperature": temperature, "scale": "official"}
    supcon, of_supcon = with_gradient(planted("supcon", hierarchy, labels, **official), batch)
    loss, gradient = with_gradient(planted(name, hierarchy, labels, **settings, **official), batch)
    factor = 1 / 2 if name == "hce" else math.e / 2
    assert loss == pytest.approx(factor * supcon, rel=1e-6)
    assert torch.allclose(gradient, factor * of_supcon, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("hierarchy", HIERARCHIES.values(), ids=HIERARCHIES)
def test_equal_embeddings(hierarchy, temperature):
    """Nothing to tell apart: every level has (τ/0.07) · log(2N − 1), and the maximum nothing to do."""
    labels, batch = long_tailed(hierarchy), batch_of(torch.arange(BATCH), torch.ones(2, BATCH, DIM))
    settings = {"temperature": temperature, "scale": "official"}
    hmc = planted("hmc", hierarchy, labels, **settings)(batch)
    losses = [term.loss.item() for term in hmc.terms]
    assert losses == pytest.approx([math.log(2 * BATCH - 1)] * hierarchy.levels, abs=1e-5)
    weight = sum(lambda_by_hand("hmc", "exp", hierarchy.levels)) / (hierarchy.levels + 1)
    assert hmc.loss.item() == pytest.approx(weight * temperature / 0.07 * math.log(2 * BATCH - 1), rel=1e-6)
    for maximum in ("batch", "centred", "pair"):
        hmce = planted("hmce", hierarchy, labels, **settings, maximum=maximum)(batch)
        assert hmce.loss.item() == pytest.approx(hmc.loss.item(), rel=1e-6)


def test_centred_maximum_holds_thinned_levels_to_no_less():
    """Equal embeddings, thinned: the levels differ by the number of candidates alone, and centred does nothing."""
    labels, batch = long_tailed(THREE), batch_of(torch.arange(BATCH), torch.ones(2, BATCH, DIM))
    hmc = planted("hmc", THREE, labels, thinning=True)(batch)
    assert hmc.terms[0].loss < hmc.terms[2].loss - 0.1
    centred = planted("hmce", THREE, labels, thinning=True, maximum="centred")(batch)
    of_batch = planted("hmce", THREE, labels, thinning=True, maximum="batch")(batch)
    assert centred.loss.item() == pytest.approx(hmc.loss.item(), rel=1e-6)
    assert of_batch.loss.item() == pytest.approx(hmc.terms[2].loss.item(), rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_two_levels_without_thinning(seed):
    """Where the coarse loss is the larger one HMCE is HMC, value and gradient; where it is not, SupCon."""
    labels = long_tailed(TWO)
    hmc, hmce = planted("hmc", TWO, labels), planted("hmce", TWO, labels, maximum="batch", thinning=False)
    batch = learned(TWO, labels, random_batch(seed))
    coarse, fine = (term.loss.item() for term in hmc(batch).terms)
    assert coarse > fine
    (loss, gradient), (other, of_other) = with_gradient(hmce, batch), with_gradient(hmc, batch)
    assert loss == other and torch.allclose(gradient, of_other, atol=1e-7)

    batch = opposed(TWO, labels, batch)
    coarse, fine = (term.loss.item() for term in hmc(batch).terms)
    assert coarse < fine
    (loss, gradient), (other, of_other) = (
        with_gradient(hmce, batch),
        with_gradient(planted("supcon", TWO, labels), batch),
    )
    assert loss == pytest.approx(other, abs=1e-6) and torch.allclose(gradient, of_other, atol=1e-6)
    assert loss > hmc(batch).loss.item()


@pytest.mark.parametrize("scale", ["normalised", "official"])
@pytest.mark.parametrize("seed", range(3))
def test_two_levels_thinned_is_supcon(seed, scale):
    """25 classes and 256 views: log 49 against log 255, so the maximum always acts and replaces the coarse gradient."""
    hierarchy = Hierarchy.from_dict({f"{s}": [f"{s}.{c}" for c in range(5)] for s in range(5)})
    labels = np.random.default_rng(seed).integers(0, 25, 200)
    batch = random_batch(seed, items=200, batch=128, dim=16)
    hmce = planted("hmce", hierarchy, labels, maximum="batch", thinning=True, scale=scale)
    supcon = planted("supcon", hierarchy, labels, scale=scale)
    (loss, gradient), (other, of_other) = with_gradient(hmce, batch), with_gradient(supcon, batch)
    factor = (math.e + math.sqrt(math.e)) / 3 if scale == "official" else 1.0
    assert float(hmce(batch).observe()["maximum acts"]) == 1
    assert loss == pytest.approx(factor * other, rel=1e-6) and torch.allclose(gradient, factor * of_other, atol=1e-6)


# -- thinning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hierarchy", [TWO, THREE, UNEVEN], ids=["two levels", "three levels", "uneven"])
@pytest.mark.parametrize("seed", range(2))
def test_thinning_keeps_the_lowest_of_every_finer_class(hierarchy, seed):
    labels, batch = long_tailed(hierarchy), random_batch(seed, batch=11)
    items = batch.items[:, 0].tolist()
    terms = planted("hmc", hierarchy, labels, thinning=True)(batch).terms
    for level, term in enumerate(terms):
        kept = {items[i] for i in kept_by_loop(hierarchy, labels, batch, level)}
        pairs = term.pairs
        views = pairs.anchors.item.tolist()
        assert views == items * 2 == pairs.candidates.item.tolist() and pairs.level == level
        for a, anchor in enumerate(views):
            for c, candidate in enumerate(views):
                shared = hierarchy.path(labels[anchor])[: level + 1] == hierarchy.path(labels[candidate])[: level + 1]
                both = anchor in kept and candidate in kept
                role = (bool(pairs.positive[a, c]), bool(pairs.negative[a, c]), bool(pairs.removed[a, c]))
                itself = a == c
                thinned_out = anchor in kept and candidate not in kept  # who is itself thinned out has no candidates
                assert role == (both and shared and not itself, both and not shared, thinned_out)
        assert int(pairs.without_positive) == 2 * (len(items) - len(kept))
    assert not terms[-1].pairs.removed.any() and terms[0].pairs.removed.any()


@pytest.mark.parametrize("hierarchy", [TWO, THREE, UNEVEN], ids=["two levels", "three levels", "uneven"])
def test_thinned_pairs_have_their_common_ancestor_at_their_level(hierarchy):
    """But for the two views of one item."""
    labels, met = long_tailed(hierarchy), [0] * hierarchy.levels
    for seed in range(5):
        for level, term in enumerate(planted("hmc", hierarchy, labels, thinning=True)(random_batch(seed)).terms):
            anchor, candidate = (term.pairs.anchors.item[column] for column in term.pairs.positive_index.T)
            other = anchor != candidate
            lca = hierarchy.lca_level(labels[anchor[other]], labels[candidate[other]])
            assert (lca == level).all()
            met[level] += int(other.sum())
    assert all(met)


def test_thinned_out_items_get_no_gradient_from_the_coarse_level():
    labels, batch = long_tailed(TWO), random_batch(1)
    method = planted("hmc", TWO, labels, thinning=True, level_weights=(1.0, 0.0))
    _, gradient = with_gradient(method, batch)
    kept = set(kept_by_loop(TWO, labels, batch, 0))
    assert 1 < len(kept) < BATCH
    for i in range(BATCH):
        assert bool((gradient[:, i] != 0).any()) == (i in kept)


def test_unthinned_pairs_are_what_the_table_says():
    labels, batch = long_tailed(UNEVEN), random_batch(5)
    items = batch.items[:, 0].tolist()
    for level, term in enumerate(planted("hmc", UNEVEN, labels)(batch).terms):
        same_class = torch.tensor(UNEVEN.lca_level(labels[items * 2][:, None], labels[items * 2]) >= level)
        itself = torch.eye(2 * BATCH, dtype=torch.bool)
        assert torch.equal(term.pairs.positive > 0, same_class & ~itself)
        assert torch.equal(term.pairs.negative, ~same_class)
        assert not term.pairs.removed.any()
        table = audit(term.pairs, labels, UNEVEN)
        assert table["precision"][level] == 1 and table["false_negative_rate"][level] == 0


# -- what changes nothing ---------------------------------------------------------------------------------------

VARIANTS = [("supcon", {}), ("hce", {"maximum": "pair"}), ("hce", {"maximum": "batch"})] + [
    (name, settings | more)
    for name, settings in LOSSES
    for more in ({}, {"thinning": True}, {"heads": "level"})
    if name != "hce" and not (settings.get("maximum") == "batch" and "heads" in more)
]


def names_of(value) -> str:
    return value if isinstance(value, str) else "-".join(str(v) for v in value.values()) or "default"


@pytest.mark.parametrize("name, settings", VARIANTS, ids=names_of)
def test_permuting_the_batch_changes_nothing(name, settings, as_a_user):
    labels = long_tailed(THREE)
    method = planted(name, THREE, labels, **settings)
    batch = random_batch(1)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(1))
    permuted = batch_of(batch.items[order, 0], torch.stack(batch.views)[:, order])
    (loss, gradient), (other, of_other) = with_gradient(method, batch), with_gradient(method, permuted)
    assert loss == pytest.approx(other, abs=1e-5)
    assert torch.allclose(gradient[:, order], of_other, atol=1e-5)


def renamed(hierarchy: Hierarchy, seed: int = 0) -> tuple[Hierarchy, np.ndarray]:
    """The same tree with the nodes of every level in another order, and the new number of every leaf."""
    rng = np.random.default_rng(seed)
    new = [rng.permutation(size) for size in hierarchy.sizes]
    names = [[level[old] for old in np.argsort(order)] for level, order in zip(hierarchy.names, new, strict=True)]
    ancestors = np.stack([order[column] for order, column in zip(new, hierarchy.ancestors.T, strict=True)], axis=1)
    return Hierarchy.from_ancestors(ancestors[np.argsort(new[-1])], names), new[-1]


@pytest.mark.parametrize("name, settings", VARIANTS, ids=names_of)
def test_renaming_labels_changes_nothing(name, settings, as_a_user):
    labels, batch = long_tailed(UNEVEN), random_batch(3)
    other, number = renamed(UNEVEN)
    assert number.tolist() != sorted(number)
    assert all(other.path(number[leaf]) == UNEVEN.path(leaf) for leaf in range(UNEVEN.n_leaves))
    one, two = (planted(name, *given, **settings) for given in ((UNEVEN, labels), (other, number[labels])))
    (loss, gradient), (again, of_again) = with_gradient(one, batch), with_gradient(two, batch)
    assert loss == pytest.approx(again, abs=1e-6) and torch.allclose(gradient, of_again, atol=1e-6)


# -- the gradient -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, settings", VARIANTS, ids=names_of)
def test_finite_differences(name, settings, as_a_user):
    """Through similarities, the losses of all levels and the maxima, in float64."""
    labels = long_tailed(THREE)
    method = planted(name, THREE, labels, **{"temperature": 0.5} | settings)
    batch = random_batch(6, batch=4)
    views, seen = BatchViews.of(batch), len(method.heads)
    z = torch.randn(8, seen, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def loss(z):
        unit_z = F.normalize(z, dim=2)
        return method.combine(method.terms(unit_z, unit_z, views, batch), batch)

    assert torch.autograd.gradcheck(loss, z)


def test_the_maximum_is_not_detached():
    """Where the finer loss is the larger, the coarser level pulls with the finer one's gradient."""
    labels = long_tailed(TWO)
    batch = opposed(TWO, labels, random_batch(0))
    for maximum in ("batch", "pair"):
        hce = planted("hce", TWO, labels, maximum=maximum)
        _, gradient = with_gradient(hce, batch)
        fine = planted("hmc", TWO, labels, level_weights=(0.0, 1.0))
        _, of_fine = with_gradient(fine, batch)
        if maximum == "batch":
            assert torch.allclose(gradient, of_fine, atol=1e-6)  # half of it from either level
        else:
            z = torch.stack(batch.views)
            losses = pair_losses(unit(batch), paths(TWO, labels, batch, 1), range(BATCH), 0.1)
            i, p = max(((i, p) for i in losses for p in losses[i]), key=lambda ip: losses[ip[0]][ip[1]])
            z = z.flatten(0, 1).requires_grad_()
            similar = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T / 0.1
            worst = torch.logsumexp(similar[i][torch.arange(2 * BATCH) != i], 0) - similar[i, p]
            worst.backward()
            assert float(hce(batch).observe()["maximum acts"]) > 0.8
            direction = (gradient - 0.5 * of_fine).flatten()
            assert F.cosine_similarity(direction, z.grad.flatten(), dim=0) > 0.9


# -- several processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, settings", VARIANTS, ids=names_of)
def test_several_processes_do_what_one_does(name, settings, as_a_user):
    """Their mean loss and its gradient, also where thinning leaves one of them fewer anchors than another, or none."""
    labels = long_tailed(TWO)
    method = planted(name, TWO, labels, **settings)
    one_class = torch.tensor(np.flatnonzero(labels == 0)[:4])  # thinned, one item of four is left: that of process 0
    lopsided = batch_of(one_class, torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(0)))
    uneven = random_batch(3, batch=8)  # three kept items are those of process 0, one that of process 1
    assert sum(i < 4 for i in kept_by_loop(TWO, labels, uneven, 0)) == 3
    for batch in (uneven, random_batch(6, batch=8), lopsided):
        loss, gradient = with_gradient(method, batch)
        other, of_other, observed = in_threads(method, batch)
        assert loss == pytest.approx(other, abs=1e-5)
        assert torch.allclose(gradient, of_other, atol=1e-5)
        assert all(math.isfinite(value) for value in observed)


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("hmc", {"level_weights": (1.0,)}, "has 2 levels"),
        ("hmc", {"level_weights": (1.0, -1.0)}, "at least 0"),
        ("hmc", {"level_weights": (0.0, 0.0)}, "at least one weight must be above 0"),
        ("hmc", {"level_weights": "linear"}, "one of 'exp', 'power', 'uniform'"),
        ("hmc", {"temperature": 0.0}, "above 0"),
        ("hmc", {"warm_up": 1.5, "source": "prototypes"}, "at least 0 and at most 1"),
        ("hmc", {"prototypes": (5, 5), "source": "prototypes"}, "grow"),
        ("hmc", {"warm_up": 0.5}, "no effect without a learned tree"),
        ("hmc", {"block": 0}, "at least 1"),
        ("hmce", {"block": 4, "maximum": "pair"}, "all pairs of a batch"),
    ],
)
def test_wrong_settings(name, settings, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        planted(name, TWO, long_tailed(TWO), **settings)(random_batch())


# -- without labels: the levels of a learned tree ---------------------------------------------------------------

LABEL_FREE = {"source": "prototypes", "prototypes": (2, 4, 8)}
METHODS = {"supcon": {}, "hmc": {}, "hce": {"maximum": "batch"}, "hmce": {"maximum": "batch"}}


@pytest.mark.parametrize("name", METHODS)
def test_label_free_reads_no_label(name):
    settings = METHODS[name] | LABEL_FREE
    method = planted(name, None, **settings)
    assert not type(method).needs_labels(method.config)
    assert method.info.supervision is None and method.levels == (1 if name == "supcon" else 3)


@pytest.mark.parametrize(
    "name, settings", [("supcon", {}), ("supcon", {"block": 5}), *LOSSES, ("hmc", {"thinning": True})], ids=names_of
)
def test_label_free_in_its_warm_up_is_simclr(name, settings):
    """Whatever the maximum: no level differs from another yet."""
    simclr, of_simclr = with_gradient(planted("simclr", None, temperature=0.3), random_batch())
    loss, gradient = with_gradient(planted(name, None, temperature=0.3, **LABEL_FREE, **settings), random_batch())
    assert loss == pytest.approx(simclr, abs=1e-5)
    assert torch.allclose(gradient, of_simclr, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_label_free_learns_from_its_tree(name):
    """After the warm-up the loss is that of the labels which the tree gives."""
    settings = METHODS[name] | LABEL_FREE
    method = planted(name, None, **settings, warm_up=0.5)
    pictures = torch.randn(ITEMS, DIM, generator=torch.Generator().manual_seed(3))
    embed = lambda function: function(pictures)  # noqa: E731
    method.refresh(1, embed)
    assert method.tree is None
    method.refresh(2, embed)
    used = slice(-1, None) if name == "supcon" else slice(None)
    assert torch.equal(method.ancestors, method.tree.assignment[:, used])
    assert method.tree.sizes == (2, 4, 8)
    hierarchy, labels = method.tree.as_hierarchy(), method.tree.assignment[:, -1].numpy()
    twin, batch = planted(name, hierarchy, labels, **METHODS[name]), random_batch(8)
    assert method(batch).loss.item() == pytest.approx(twin(batch).loss.item(), abs=1e-6)
    again = copy.deepcopy(method.tree.assignment)
    method.refresh(3, lambda function: function(pictures.flip(0)))
    assert not torch.equal(method.tree.assignment, again)
    assert torch.equal(method.ancestors, method.tree.assignment[:, used])


@pytest.mark.parametrize("name", ["hmce"])
def test_label_free_state_round_trip(name):
    method = make(name, **METHODS[name], **LABEL_FREE, warm_up=0.0).eval()
    assert method.tree is not None
    other = make(name, seed=1, **METHODS[name], **LABEL_FREE, warm_up=1.0).eval()
    assert other.tree is None
    batch = lambda: Batch(  # noqa: E731
        torch.arange(8)[:, None],
        tuple(torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(v)) for v in range(2)),
        random_batch().draws,
    )
    assert not torch.equal(other(batch()).loss, method(batch()).loss)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other(batch()).loss, method(batch()).loss)
    assert torch.equal(other.tree.assignment, method.tree.assignment)


# -- runs -------------------------------------------------------------------------------------------------------

RUNS = {
    "hmc": {"thinning": True, "heads": "level"},
    "hmce": {},
    "hce": {"source": "prototypes", "prototypes": (2, 4), "warm_up": 0.0, "maximum": "batch"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_loaded_run_takes_the_same_step(name, tmp_path):
    data = pictures()
    run = fit(name, data, out=tmp_path, **SMALL | {"epochs": 1}, **RUNS[name])
    loaded = load_run(tmp_path)
    assert same(run, loaded)
    one, other = run.step(data, batch=32), loaded.step(data, batch=32)
    assert torch.equal(one.loss, other.loss) and len(one.terms) == len(other.terms)
    if loaded.method.config.source == "labels":
        assert np.array_equal(loaded.method.ancestors, data.hierarchy.ancestors[data.labels])
        table = loaded.audit(data, batches=1, batch=32)
        assert len(table) == 2 * len(one.terms) and (table["precision"] > 0).all()
    else:
        assert torch.equal(loaded.method.ancestors, run.tree.assignment)
    if name in ("hce", "hmce"):
        assert run.history["maximum acts"].between(0, 1).all()


def test_resuming_with_another_hierarchy_is_an_error(tmp_path):
    data = pictures()
    settings = SMALL | {"epochs": 1}
    fit("hmc", data, out=tmp_path / "labels", **settings)
    other = Hierarchy.from_dict({"a": ["a0", "b0"], "b": ["a1", "b1"]}, level_names=("group", "class"))
    elsewhere = HierarchicalDataset.from_arrays(data.items, data.labels, other, name="stripes")
    assert elsewhere.fingerprint() == data.fingerprint()
    with pytest.raises(ValueError, match="hierarchy"):
        fit("hmc", elsewhere, out=tmp_path / "labels", resume=True, **settings)
    assert len(fit("hmc", data, out=tmp_path / "labels", resume=True, **settings).history) == 1


def test_a_label_free_run_is_the_same_whatever_the_labels():
    data = pictures()
    one_class = HierarchicalDataset.from_arrays(data.items, 0 * data.labels, Hierarchy.from_dict(["all"]))
    settings = SMALL | {"epochs": 1, "source": "prototypes", "prototypes": (2, 4), "warm_up": 0.0}
    assert same(fit("hmc", data, **settings), fit("hmc", one_class, **settings))
