"""Hard masks: ratios as the equation says, levels found where they were planted, masks that divide the dimensions."""

import re
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch

from hiercl.methods.labels.descriptors import describe, fisher_ratios
from hiercl.methods.labels.masks import contiguous_masks, fit_masks, mask_overlap, random_masks, sorted_masks


def tree_items(branching, items_each, seed=0):
    """Ancestors of items of a tree with these numbers of children, level by level, in random order."""
    leaves = int(np.prod(branching))
    leaf = np.random.default_rng(seed).permutation(np.repeat(np.arange(leaves), items_each))
    below = [int(np.prod(branching[level + 1 :])) for level in range(len(branching))]
    return torch.from_numpy(np.stack([leaf // count for count in below], axis=1))


def planted_features(branching=(6, 5), items_each=40, d=128, spread=0.0, seed=0):
    """Features that carry the centres of one level, and half as much of the others; how loudly (the standard deviation
    of log F) differs. Gives the features, the ancestors of the items, and the level of every feature."""
    rng = np.random.default_rng(seed)
    ancestors = tree_items(branching, items_each, seed)
    level_of = rng.permutation(np.arange(d) % len(branching))
    loudness = np.exp(0.5 * spread * rng.standard_normal(d))
    v = 3 * rng.standard_normal((len(ancestors), d))
    for level, children in enumerate(branching):
        centres = rng.standard_normal((int(np.prod(branching[:level])), children, d))
        centres = (centres - centres.mean(axis=1, keepdims=True)) / centres.std(axis=1, keepdims=True)
        v += (np.where(level_of == level, 1.0, 0.5) * loudness * centres.reshape(-1, d))[ancestors[:, level]]
    return torch.from_numpy(v), ancestors, torch.from_numpy(level_of)


def by_hand(v, ancestors, eps=1e-6):
    """fisher_ratios from the equation, one class at a time."""
    v = v.double().numpy()
    v = (v - v.mean(axis=0)) / v.std(axis=0)
    ancestors = ancestors.numpy()
    ratios = np.ones((v.shape[1], ancestors.shape[1]))
    for level in range(ancestors.shape[1]):
        classes = sorted(set(ancestors[:, level]))
        mean = {c: v[ancestors[:, level] == c].mean(axis=0) for c in classes}
        parent = {c: 0 if level == 0 else ancestors[ancestors[:, level] == c][0, level - 1] for c in classes}
        between, within = [], []
        for c in classes:
            siblings = [s for s in classes if parent[s] == parent[c]]
            if len(siblings) > 1:
                between.append((mean[c] - np.mean([mean[s] for s in siblings], axis=0)) ** 2)
            members = v[ancestors[:, level] == c]
            if len(members) > 1:
                within.append(members.var(axis=0, ddof=1))
        if between and within:
            ratios[:, level] = np.mean(between, axis=0) / (np.mean(within, axis=0) + eps)
    return torch.from_numpy(ratios)


def recovered(fit, level_of):
    return float((fit.masks.argmax(dim=0) == level_of).double().mean())


def divides(masks):
    return bool(((masks == 0) | (masks == 1)).all()) and bool((masks.sum(dim=0) == 1).all())


# -- ratios ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_ratios_against_a_loop(seed):
    """Unequal classes, an only child, a class with one item."""
    rng = np.random.default_rng(seed)
    leaf = np.concatenate([rng.integers(0, 7, 60), np.arange(8)])  # leaf 7 has a single item
    top, middle = np.array([0, 0, 0, 1, 1, 2, 2, 2])[leaf], np.array([0, 0, 1, 2, 3, 4, 4, 4])[leaf]
    ancestors = torch.from_numpy(np.stack([top, middle, leaf], axis=1))  # top 2 has one child, middle 1 to 3 one each
    v = torch.from_numpy(rng.standard_normal((len(leaf), 5)) + rng.standard_normal((8, 5))[leaf])
    torch.testing.assert_close(fisher_ratios(v, ancestors), by_hand(v, ancestors))


def test_ratios_of_a_made_example():
    """Classes {0, 2}, {10, 12}: the centres 1 and 11 lie 5 from their mean, the variance within is 2: 25 / 2."""
    v = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    assert fisher_ratios(v, torch.tensor([[0], [0], [1], [1]])).item() == pytest.approx(12.5, rel=1e-4)


def test_every_class_has_the_same_weight():
    """Twenty copies of all items of one top class change neither its centre nor (nearly) its variance."""
    v, ancestors, _ = planted_features((3, 3), items_each=200, d=8)
    copies = torch.cat([torch.arange(len(v)), (ancestors[:, 0] == 0).nonzero()[:, 0].repeat(20)])
    expected = fisher_ratios(v, ancestors)
    torch.testing.assert_close(fisher_ratios(v[copies], ancestors[copies]), expected, rtol=0.01, atol=0)


def test_ratios_do_not_depend_on_scale_or_shift():
    v, ancestors, _ = planted_features(d=16)
    scaled = v * torch.logspace(-8, 8, 16, dtype=v.dtype) + torch.linspace(-1e-9, 1e-9, 16, dtype=v.dtype)
    torch.testing.assert_close(fisher_ratios(scaled, ancestors), fisher_ratios(v, ancestors))


@pytest.mark.parametrize(
    "ancestors",
    [[[0, 0], [0, 0], [1, 1], [1, 1]], [[0, 0], [0, 1], [1, 2], [1, 3]]],
    ids=["every parent has one child", "every class has one item"],
)
def test_a_level_that_says_nothing(ancestors):
    v = torch.tensor([[0.0, 1.0], [1.0, 5.0], [4.0, 0.0], [6.0, 9.0]])
    ratios = fisher_ratios(v, torch.tensor(ancestors))
    assert (ratios[:, 1] == 1).all() and (ratios[:, 0] != 1).all()


def test_constant_features_have_the_lowest_ratio():
    v, ancestors, _ = planted_features(d=4)
    v[:, 1], v[:, 2], v[:, 3] = 0.0, 0.1, 1e4 + 1e-3 * ancestors[:, 0]  # the last differs by its rounding alone
    v = v.float()
    for kind in ("contrast", "raw", "moments", "samples", "correlation"):
        assert torch.isfinite(describe(v, ancestors, kind)).all()
    assert (fisher_ratios(v, ancestors)[1:] == 1e-6).all()


# -- descriptors ----------------------------------------------------------------------------------------------------


def test_descriptors_against_loops():
    v, ancestors, _ = planted_features(d=12)
    s = by_hand(v, ancestors).log().numpy()
    contrast = s - s.mean(axis=1, keepdims=True)
    x = v.numpy()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    moments = np.stack([x.mean(axis=0), np.log(x.var(axis=0)), (z**4).mean(axis=0)], axis=1)
    for kind, expected in {"contrast": contrast, "raw": s, "moments": moments}.items():
        expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
        np.testing.assert_allclose(describe(v, ancestors, kind).numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["samples", "correlation"])
def test_descriptors_by_pca_keep_distances(kind):
    """All of the PCA of 12 points: their distances are those of the points themselves, in one unit."""
    v, _, _ = planted_features(d=12)
    z = (v - v.mean(dim=0)) / v.std(dim=0, correction=0)
    rows = z.T if kind == "samples" else (z.T @ z / len(z)).abs()
    found, expected = torch.pdist(describe(v, kind=kind)), torch.pdist(rows)
    torch.testing.assert_close(found / found.mean(), expected / expected.mean())
    assert describe(v, kind=kind)[:, 0].std(correction=0).item() == pytest.approx(1)


def test_signs_of_features_mean_nothing_to_correlations():
    v, _, _ = planted_features(d=12)
    flipped = v * torch.tensor([1.0, -1.0]).repeat(6)
    found, expected = describe(flipped, kind="correlation"), describe(v, kind="correlation")
    torch.testing.assert_close(torch.pdist(found), torch.pdist(expected))


# -- planted levels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branching", [(6, 5), (5, 4, 4)], ids=["two levels", "three levels"])
def test_planted_levels_are_found(branching):
    """methods.md C.2: the contrast finds the levels however loud a feature is; raw ratios find the loud features."""
    found = {}
    for kind in ("contrast", "raw"):
        for spread in (0.0, 0.5, 1.0):
            shares = []
            for draw in range(4):
                v, ancestors, level_of = planted_features(branching, spread=spread, seed=draw)
                scores = fisher_ratios(v, ancestors).log()
                fit = fit_masks(describe(v, ancestors, kind), scores, len(branching), seed=draw)
                shares.append(recovered(fit, level_of))
            found[kind, spread] = np.mean(shares)
    assert all(found["contrast", spread] >= 0.95 for spread in (0.0, 0.5, 1.0))
    assert found["raw", 0.0] >= 0.95 and found["raw", 1.0] < 0.8


@pytest.mark.parametrize("levels", [2, 3])
def test_the_numbers_of_the_specification(levels):
    """methods.md C.2, log ratios planted directly: raw 0.99 / 0.75 / 0.54 or 0.98 / 0.54 / 0.38, contrast 0.98."""
    found = {}
    for kind in ("contrast", "raw"):
        for spread in (0.0, 0.5, 1.0):
            shares = []
            for draw in range(10):
                g = torch.Generator().manual_seed(draw)
                level_of = torch.arange(128) % levels
                s = torch.nn.functional.one_hot(level_of, levels) + 0.25 * torch.randn(128, levels, generator=g)
                s = (s + spread * torch.randn(128, 1, generator=g)).double()
                points = s - s.mean(dim=1, keepdim=True) if kind == "contrast" else s
                points = (points - points.mean(dim=0)) / points.std(dim=0)
                shares.append(recovered(fit_masks(points, s, levels, seed=draw), level_of))
            found[kind, spread] = np.mean(shares)
    assert all(found["contrast", spread] >= 0.95 for spread in (0.0, 0.5, 1.0))
    assert found["raw", 0.0] >= 0.95 and found["raw", 1.0] < 0.7


@pytest.mark.parametrize("kind", ["contrast", "raw", "moments", "samples", "correlation"])
def test_names_and_order_mean_nothing(kind):
    """Other numbers for the nodes of every level, other numbers with gaps, and items in another order."""
    v, ancestors, _ = planted_features((4, 3), items_each=20, d=32)
    expected = fit_masks(describe(v, ancestors, kind), fisher_ratios(v, ancestors).log(), 2, seed=1)
    rng = np.random.default_rng(0)
    renamed = torch.stack([torch.from_numpy(5 * rng.permutation(12) + 3)[column] for column in ancestors.T], dim=1)
    order = torch.from_numpy(rng.permutation(len(v)))
    for items, nodes in ((v, renamed), (v[order], ancestors[order])):
        found = fit_masks(describe(items, nodes, kind), fisher_ratios(items, nodes).log(), 2, seed=1)
        assert torch.equal(found.masks, expected.masks)
        torch.testing.assert_close(found.responsibilities, expected.responsibilities)


def test_scores_name_the_components():
    """Swapped scores swap the masks, also of a descriptor without labels; without scores the lower mean comes first."""
    points = torch.cat([torch.full((8, 1), 1.0), torch.full((8, 1), -1.0)]) + 0.1 * torch.linspace(-1, 1, 16)[:, None]
    scores = torch.stack([points[:, 0], -points[:, 0]], dim=1)
    high_first = fit_masks(points, scores, 2)
    assert high_first.masks[0].tolist() == [1.0] * 8 + [0.0] * 8
    assert torch.equal(fit_masks(points, scores.flip(1), 2).masks, high_first.masks.flip(0))
    assert torch.equal(fit_masks(points, None, 2).masks, high_first.masks.flip(0))
    assert torch.equal(fit_masks(points, None, 2).responsibilities, high_first.responsibilities.flip(1))


def test_components_are_matched_by_their_mean_score():
    """Not by the sum: the small cloud prefers level 0 more strongly than the large one does, so it is level 0."""
    first = torch.arange(60) < 48
    scores = torch.stack([torch.where(first, 0.5, 1.0), torch.zeros(60)], dim=1)
    fit = fit_masks(unequal_points(60, 0.8), scores, 2, sizes="free")
    assert torch.equal(fit.masks[1] == 1, first)


# -- sizes ----------------------------------------------------------------------------------------------------------


def unequal_points(d=64, share=0.9, seed=0):
    """Two far clouds; the first ``share`` of the points are in one of them."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.where(torch.arange(d) < share * d, 0.0, 8.0)
    return centre[:, None] + 0.3 * torch.randn(d, 2, generator=g)


@pytest.mark.parametrize(("d", "levels"), [(64, 2), (65, 2), (64, 3), (5, 3), (4, 4), (7, 1)])
def test_equal_sizes(d, levels):
    fit = fit_masks(unequal_points(d), None, levels)
    expected = [d // levels + (level < d % levels) for level in range(levels)]
    assert divides(fit.masks) and fit.masks.sum(dim=1).tolist() == expected


def test_equal_sizes_are_the_best_split():
    """For two levels: the half with the largest difference of log responsibilities goes to the first."""
    fit = fit_masks(unequal_points(), None, 2)
    log_r = fit.responsibilities.double().log()
    first = (log_r[:, 0] - log_r[:, 1]).topk(32).values
    got = (log_r[:, 0] - log_r[:, 1])[fit.masks[0] == 1]
    torch.testing.assert_close(got.sort(descending=True).values, first)


def test_free_sizes_follow_the_mixture():
    points = unequal_points(60, 0.8)
    fit = fit_masks(points, None, 2, sizes="free")
    assert torch.equal(fit.masks.argmax(dim=0), (torch.arange(60) >= 48).long())
    assert torch.equal(fit.masks.argmax(dim=0), fit.responsibilities.argmax(dim=1))


def test_free_sizes_leave_no_level_starved():
    """One far point is a component of its own; it is given the points nearest to it, up to d/(4·levels) = 8."""
    points = torch.cat([unequal_points(63, 1.0), torch.tensor([[40.0, 40.0]])])
    fit = fit_masks(points, None, 2, sizes="free")
    small = int(fit.masks.sum(dim=1).argmin())
    assert divides(fit.masks) and (fit.responsibilities.argmax(dim=1) == small).sum() == 1
    nearest = (points - points[-1]).norm(dim=1).topk(8, largest=False).indices
    assert fit.masks[small].nonzero()[:, 0].tolist() == sorted(nearest.tolist())


def test_soft_masks_are_the_responsibilities():
    """Of two clouds of unequal size and width that overlap; the equation, with the moments that the masks give."""
    g = torch.Generator().manual_seed(0)
    first = torch.arange(400)[:, None] < 300
    points = torch.where(first, 0.5, 1.2) * torch.randn(400, 1, generator=g) + torch.where(first, 0.0, 3.0)
    fit = fit_masks(points, None, 2, soft=True)
    assert torch.equal(fit.masks, fit.responsibilities.T)
    mean, variance, weight = _moments(points.double(), fit.responsibilities.double())
    density = (-0.5 * ((points.double()[:, None] - mean) ** 2 / variance + variance.log()).sum(dim=2)).exp() * weight
    expected = density / density.sum(dim=1, keepdim=True)
    torch.testing.assert_close(fit.responsibilities.double(), expected, atol=0.03, rtol=0)
    assert ((fit.masks > 0.1) & (fit.masks < 0.9)).any()


def _moments(points, r):
    """One more M-step of EM: at its end nothing changes any more."""
    mean = r.T @ points / r.sum(dim=0)[:, None]
    variance = r.T @ points.square() / r.sum(dim=0)[:, None] - mean.square() + 1e-3
    return mean, variance, r.mean(dim=0)


@pytest.mark.parametrize("sizes", ["equal", "free"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_equal_descriptors_give_some_split(sizes, levels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_masks(torch.zeros(12, 2), torch.zeros(12, levels), levels, sizes)
    assert divides(fit.masks) and (fit.masks.sum(dim=1) >= 1).all()
    assert torch.allclose(fit.responsibilities, torch.tensor(1 / levels))


# -- controls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "d"), [(2, 128), (3, 128), (4, 4), (1, 5)])
def test_controls(levels, d):
    for masks in (random_masks(levels, d), contiguous_masks(levels, d)):
        assert divides(masks) and masks.shape == (levels, d)
        assert masks.sum(dim=1).max() - masks.sum(dim=1).min() <= 1
    assert (contiguous_masks(levels, d).argmax(dim=0).diff() >= 0).all()


def test_sizes_of_ones_own():
    """Shares give sizes; every level keeps a dimension; the sorted masks are the best split of these sizes."""
    assert contiguous_masks(2, 128, (0.25, 0.75)).sum(dim=1).tolist() == [32, 96]
    assert random_masks(3, 10, shares=(1e-9, 1e-9, 1)).sum(dim=1).tolist() == [1, 1, 8]
    scores = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    found = sorted_masks(scores, (1, 2))
    best = max(combinations(range(6), 2), key=lambda coarse: sum((scores[j, 0] - scores[j, 1]).item() for j in coarse))
    assert found.sum(dim=1).tolist() == [2, 4] and found[0].nonzero()[:, 0].tolist() == list(best)
    descriptor = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert fit_masks(descriptor, None, 2, sizes=(0.25, 0.75)).masks.sum(dim=1).tolist() == [5, 15]
    for shares in ((1,), (1, 0), (1, 1, 1)):
        with pytest.raises(ValueError, match="give a share above 0 for each of the 2 levels"):
            contiguous_masks(2, 4, shares)


def test_random_masks_are_random():
    overlap = [mask_overlap(random_masks(2, 128, seed), random_masks(2, 128, seed + 100)) for seed in range(50)]
    assert np.mean(overlap) == pytest.approx(0.5, abs=0.03)
    assert torch.equal(random_masks(2, 128, 7), random_masks(2, 128, torch.Generator().manual_seed(7)))
    assert not torch.equal(random_masks(2, 128, 7), random_masks(2, 128, 8))


def test_overlap():
    a = contiguous_masks(2, 8)
    b = a.clone()
    b[:, :2] = b[:, :2].flip(0)
    assert mask_overlap(a, b) == 0.75 and mask_overlap(0.2 + 0.5 * a, a) == 1.0


# -- errors ---------------------------------------------------------------------------------------------------------


def test_errors(as_a_user):
    v, ancestors, _ = planted_features((2, 2), items_each=5, d=4)
    cases = {
        "two parents": lambda: fisher_ratios(v, ancestors.flip(1)),
        "pass the node ids": lambda: fisher_ratios(v, ancestors[:-1]),
        "as integers": lambda: fisher_ratios(v, ancestors.float()),
        "at least one of each": lambda: fisher_ratios(v[:0], ancestors[:0]),
        "not finite": lambda: describe(v / 0, ancestors),
        "Unknown descriptor 'contrst'. Did you mean 'contrast'": lambda: describe(v, ancestors, "contrst"),
        "pass ancestors": lambda: describe(v),
        "5 levels of 4 dimensions": lambda: fit_masks(torch.zeros(4, 2), None, 5),
        "0 levels": lambda: contiguous_masks(0, 4),
        "3 levels of 2": lambda: random_masks(3, 2),
        "scores are": lambda: fit_masks(torch.zeros(4, 2), torch.zeros(4, 3), 2),
        "Unknown sizes 'any'": lambda: fit_masks(torch.zeros(4, 2), None, 2, sizes="any"),
        "compare masks of one model": lambda: mask_overlap(contiguous_masks(2, 4), contiguous_masks(2, 5)),
        "2 levels of 1 dimensions": lambda: fit_masks(torch.zeros(1, 2), None, 2),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
