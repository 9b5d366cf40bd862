"""The tree of labels against distances in the embedding: loops, numbers worked out by hand, SciPy; best and worst."""

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from support.trees import code, random_hierarchy

from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.metrics.dendrograms import (
    _draw,
    centroids,
    class_linkage,
    class_tree,
    cophenetic_correlation,
    dendrogram_purity,
    distance_correlation,
    nearest_siblings,
    purity_of,
)


def some(hierarchy: Hierarchy, items: int = 24, dim: int = 5, seed: int = 0):
    """Random features with the tree showing through, of any length, and leaf labels; one leaf has no item."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, hierarchy.n_leaves, size=items)
    features = rng.normal(size=(items, dim))
    for level in range(hierarchy.levels):
        features += rng.normal(size=(hierarchy.sizes[level], dim))[hierarchy.ancestors[labels, level]]
    return torch.tensor(features, dtype=torch.float32), labels


def climb(hierarchy: Hierarchy, a: int, b: int, level: int) -> int:
    """How many levels two nodes of a level climb until they meet; the root is above level 0."""
    height = 0
    while level >= 0 and a != b:
        a, b, level, height = hierarchy.parent(level)[a], hierarchy.parent(level)[b], level - 1, height + 1
    return height


def slow_pearson(a, b):
    a, b = [x - sum(a) / len(a) for x in a], [x - sum(b) / len(b) for x in b]
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_ranks(values):
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


def slow_centroids(features, classes):
    """Class to unit mean of unit embeddings."""
    z = [row / np.linalg.norm(row) for row in features.double().numpy()]
    means = {c: sum(x for x, y in zip(z, classes, strict=True) if y == c) for c in sorted(set(classes.tolist()))}
    return {c: mean / np.linalg.norm(mean) for c, mean in means.items()}


def slow_heights(means):
    """Average linkage from its definition: height of the first common cluster, for every pair of classes."""
    clusters, heights = [[c] for c in means], {}
    while len(clusters) > 1:
        apart = {
            (i, j): np.mean([np.linalg.norm(means[a] - means[b]) for a in clusters[i] for b in clusters[j]])
            for i, j in combinations(range(len(clusters)), 2)
        }
        i, j = min(apart, key=apart.get)
        heights |= {(min(a, b), max(a, b)): apart[i, j] for a in clusters[i] for b in clusters[j]}
        clusters[i] = clusters[i] + clusters.pop(j)
    return heights


def slow_purity(linkage, groups):
    """Of every pair of leaves of one group, look for the first branch that holds both."""
    branches = [{leaf} for leaf in range(len(groups))]
    for left, right, *_ in linkage:
        branches.append(branches[int(left)] | branches[int(right)])
    shares = []
    for a, b in combinations(range(len(groups)), 2):
        if groups[a] == groups[b]:
            branch = next(branch for branch in branches if {a, b} <= branch)
            shares.append(sum(groups[leaf] == groups[a] for leaf in branch) / len(branch))
    return np.mean(shares)


# ---- against loops ----

EVERY_LEVEL = [(levels, level, seed) for levels in (1, 2, 3) for level in range(levels) for seed in (0, 1)]


@pytest.mark.parametrize(("levels", "level", "seed"), EVERY_LEVEL)
def test_distance_correlation_against_a_loop(levels, level, seed):
    hierarchy = random_hierarchy(levels, seed)
    features, labels = some(hierarchy, seed=seed)
    z = [row / np.linalg.norm(row) for row in features.double().numpy()]
    node = hierarchy.ancestors[labels, level]
    pairs = list(combinations(range(len(z)), 2))
    near = [np.linalg.norm(z[i] - z[j]) for i, j in pairs]
    tree = [climb(hierarchy, node[i], node[j], level) for i, j in pairs]
    ours = distance_correlation(features, labels, hierarchy, level)
    assert ours == pytest.approx(slow_pearson(slow_ranks(near), slow_ranks(tree)), abs=1e-4)


@pytest.mark.parametrize(("levels", "level", "seed"), EVERY_LEVEL)
def test_centroids_against_a_loop(levels, level, seed):
    hierarchy = random_hierarchy(levels, seed)
    features, labels = some(hierarchy, seed=seed)
    classes = hierarchy.labels_at(labels, level)
    means, present = centroids(features, classes)
    slow = slow_centroids(features, classes)
    assert present.tolist() == list(slow)
    assert np.allclose(means.numpy(), list(slow.values()))


@pytest.mark.parametrize(("levels", "level", "seed"), EVERY_LEVEL)
def test_cophenetic_correlation_against_a_loop(levels, level, seed):
    hierarchy = random_hierarchy(levels, seed)
    features, labels = some(hierarchy, seed=seed)
    ours = cophenetic_correlation(features, labels, hierarchy, level)
    if level == 0:
        assert math.isnan(ours)  # two classes, or all of them children of the root
        return
    heights = slow_heights(slow_centroids(features, hierarchy.labels_at(labels, level)))
    truth = [climb(hierarchy, a, b, level) for a, b in heights]
    assert ours == pytest.approx(slow_pearson(list(heights.values()), truth))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("levels", "level", "within"), [(2, 1, 0), (3, 1, 0), (3, 2, 0), (3, 2, 1), (3, -1, -2)])
def test_dendrogram_purity_against_a_loop(levels, level, within, seed):
    hierarchy = random_hierarchy(levels, seed)
    features, labels = some(hierarchy, seed=seed)
    linkage, present = class_linkage(features, labels, hierarchy, level)
    group_of = {a[level]: a[within] for a in hierarchy.ancestors.tolist()}
    ours = dendrogram_purity(features, labels, hierarchy, level, within)
    assert ours == pytest.approx(slow_purity(linkage, [group_of[c] for c in present.tolist()]))


@pytest.mark.parametrize(("leaves", "groups", "seed"), [(3, 2, 0), (20, 4, 1), (60, 3, 2), (60, 30, 3)])
def test_purity_of_any_linkage_against_a_loop(leaves, groups, seed):
    from scipy.cluster.hierarchy import linkage

    rng = np.random.default_rng(seed)
    tree, labels = linkage(rng.normal(size=(leaves, 3)), "single"), rng.integers(groups, size=leaves)
    labels[:2] = labels[0]  # one pair at least
    assert purity_of(tree, 10 * labels) == pytest.approx(slow_purity(tree, labels))


# ---- against SciPy ----


@pytest.mark.parametrize(("levels", "level", "seed"), EVERY_LEVEL)
def test_distance_correlation_against_scipy(levels, level, seed):
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    hierarchy = random_hierarchy(levels, seed)
    features, labels = some(hierarchy, items=150, seed=seed)
    z = features.double().numpy() / np.linalg.norm(features.double().numpy(), axis=1, keepdims=True)
    above = hierarchy.ancestors[labels, : level + 1]
    tree = [2 * int((above[i] != above[j]).sum()) for i, j in combinations(range(150), 2)]
    expected = spearmanr(pdist(z), tree).statistic
    assert distance_correlation(features, labels, hierarchy, level) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("levels", "level"), [(2, 1), (3, 1), (3, 2)])
def test_cophenetic_correlation_against_scipy(levels, level):
    """SciPy's own correlation, given the true heights in the place of the distances."""
    from scipy.cluster.hierarchy import cophenet, linkage

    hierarchy = random_hierarchy(levels)
    features, labels = some(hierarchy)
    means = slow_centroids(features, hierarchy.labels_at(labels, level))
    truth = np.array([climb(hierarchy, a, b, level) for a, b in combinations(means, 2)], dtype=float)
    expected, _ = cophenet(linkage(np.array(list(means.values())), "average"), truth)
    assert cophenetic_correlation(features, labels, hierarchy, level) == pytest.approx(expected)


# ---- worked out by hand ----

TWO_TWO = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1"]}, level_names=("group", "class"))


def at(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def test_an_inverted_embedding_by_hand():
    """a0 and a1 are opposite, b0 and b1 too, and every class has one of the other group beside it."""
    features, labels = at(0.0, 180.0, 10.0, 190.0), np.arange(4)
    # Ranks of the tree distances: a0a1 and b0b1 1.5, the other four pairs 4.5; less the mean 3.5: −2, −2, 1, 1, 1, 1.
    # Ranks of the angles: a0a1, b0b1 (180°) 5.5; a0b1, a1b0 (170°) 3.5; a0b0, a1b1 (10°) 1.5; less 3.5: 2, 2, 0, 0, −2,
    # −2. Product −4 − 4 + 0 + 0 − 2 − 2 = −12; squares 12 and 16: −12/√192.
    assert distance_correlation(features, labels, TWO_TWO, 1) == pytest.approx(-12 / math.sqrt(192))
    # Dendrogram ((a0 b0) (a1 b1)): a0b0 and a1b1 low, the other four high; in the tree a0a1 and b0b1 are low. Less the
    # mean, in units of 1/3: heights 1, 1, −2, −2, 1, 1; tree −2, −2, 1, 1, 1, 1. Product −6, squares 12 and 12.
    assert cophenetic_correlation(features, labels, TWO_TWO, 1) == pytest.approx(-6 / 12)
    # Both pairs of a group first meet at the top, where half of the leaves are of the group. At random two leaves of
    # four are beside each other once in three times: 1/3 · 1 + 2/3 · 1/2 = 2/3.
    assert dendrogram_purity(features, labels, TWO_TWO, 1, within=0) == pytest.approx(1 / 2)
    linkage, _ = class_linkage(features, labels, TWO_TWO, 1)
    by_chance = [purity_of(linkage, np.array(g)) for g in ([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0])]
    assert np.mean(by_chance) == pytest.approx(2 / 3)


def test_heights_of_the_dendrogram_by_hand():
    """Classes at 0°, 60° and 180°: chords 1, √3 and 2; the first two merge at 1, the third at the mean of √3 and 2."""
    linkage, present = class_linkage(at(180.0, 60.0, 0.0, 0.0), np.array([1, 2, 3, 3]), TWO_TWO, 1)
    assert present.tolist() == [1, 2, 3]  # the leaves of the dendrogram; a0 has no item
    assert sorted(linkage[0, :2]) == [1, 2] and linkage[0, 2] == pytest.approx(1)
    assert linkage[1, 2] == pytest.approx((math.sqrt(3) + 2) / 2)


def test_purity_by_hand():
    merges = np.array([[0, 1, 1.0, 2], [2, 3, 2.0, 2], [5, 6, 3.0, 4], [4, 7, 4.0, 5]])  # (((0 1) (2 3)) 4)
    # Group of 0, 1 and 4: 01 meet in {0, 1}, share 1; 04 and 14 at the top, share 3/5. Group of 2 and 3: share 1.
    assert purity_of(merges, np.array([0, 0, 1, 1, 0])) == pytest.approx((1 + 3 / 5 + 3 / 5 + 1) / 4)


def test_centroids_count_every_item_once_whatever_its_length():
    """Unit embeddings at 0°, 0° and 90°: their mean points to arctan(1/2)."""
    features = at(0.0, 0.0, 90.0) * torch.tensor([[1.0], [5.0], [100.0]])
    means, _ = centroids(features, np.zeros(3, dtype=np.int64))
    assert means[0].tolist() == pytest.approx([2 / math.sqrt(5), 1 / math.sqrt(5)])


# ---- perfect, random, inverted, collapsed ----


@pytest.mark.parametrize(("levels", "seed"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)])
def test_perfect_embedding(levels, seed):
    hierarchy = random_hierarchy(levels, seed)
    labels = np.random.default_rng(seed).integers(hierarchy.n_leaves, size=300)
    features, last = code(hierarchy, labels), levels - 1
    # As many different distances as tree distances: tied in the same way, so that 1 can be reached.
    assert distance_correlation(features, labels, hierarchy, last) == pytest.approx(1, abs=1e-12)
    for level in range(1, levels):
        for within in range(level):
            assert dendrogram_purity(features, labels, hierarchy, level, within) == 1
    if levels == 2:  # two heights in the dendrogram, two in the tree
        assert cophenetic_correlation(features, labels, hierarchy, last) == pytest.approx(1)


def test_cophenetic_correlation_is_one_where_heights_are_proportional():
    """Three levels whose squared distances are as 1 : 4 : 9, so that distances are as the heights 1 : 2 : 3."""
    hierarchy = random_hierarchy(3)
    labels = np.arange(hierarchy.n_leaves)
    features = code(hierarchy, labels, scales=(math.sqrt(5), math.sqrt(3), 1.0))
    assert cophenetic_correlation(features, labels, hierarchy, 2) == pytest.approx(1)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_best_correlation_of_an_embedding_without_ties(levels):
    """All pairs in the order of the tree, and distances all different: the bound in the docstring."""
    hierarchy = random_hierarchy(levels)
    rng = np.random.default_rng(0)
    labels = rng.integers(hierarchy.n_leaves, size=60)
    features = torch.cat([code(hierarchy, labels), torch.tensor(0.02 * rng.normal(size=(60, 8))).float()], dim=1)
    pairs = combinations(labels.tolist(), 2)
    ties = np.unique([climb(hierarchy, a, b, levels - 1) for a, b in pairs], return_counts=True)[1].astype(float)
    bound = math.sqrt(1 - (ties**3 - ties).sum() / (ties.sum() ** 3 - ties.sum()))
    assert distance_correlation(features, labels, hierarchy, levels - 1) == pytest.approx(bound, abs=1e-5)
    assert bound < 0.95


def test_random_embedding():
    hierarchy = random_hierarchy(3, sizes=(3, 8, 30))
    labels = np.repeat(np.arange(30), 20)
    rng = np.random.default_rng(0)
    correlations, cophenetic, purity, shuffled = [], [], [], []
    for _ in range(40):
        features = torch.tensor(rng.normal(size=(600, 16)), dtype=torch.float32)
        correlations.append(distance_correlation(features, labels, hierarchy, 2, items=200))
        cophenetic.append(cophenetic_correlation(features, labels, hierarchy, 2))
        purity.append(dendrogram_purity(features, labels, hierarchy, 2, within=0))
        linkage, _ = class_linkage(features, labels, hierarchy, 2)
        shuffled.append(purity_of(linkage, rng.permutation(hierarchy.ancestors[:, 0])))
    for values in (correlations, cophenetic):
        assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(40) and abs(np.mean(values)) < 0.03
    spread = math.hypot(np.std(purity), np.std(shuffled)) / math.sqrt(40)
    assert abs(np.mean(purity) - np.mean(shuffled)) < 4 * spread < 0.05


def test_inverted_embedding():
    """Three parents of three classes; every class is one point with its counterparts under the other parents."""
    hierarchy = Hierarchy.from_dict({parent: [f"{parent}{i}" for i in range(3)] for parent in "abc"})
    labels = np.arange(9)
    features = torch.eye(3)[torch.from_numpy(labels % 3)]
    # 36 pairs. Siblings: 9, all far. Not siblings: 27, of which 9 are near (distance 0). Both the distance and the tree
    # take two values: P(far) = P(not siblings) = 3/4, P(both) = 18/36; (1/2 − 9/16) / (3/16) = −1/3. The dendrogram has
    # the same two heights.
    assert distance_correlation(features, labels, hierarchy, 1) == pytest.approx(-1 / 3)
    assert cophenetic_correlation(features, labels, hierarchy, 1) == pytest.approx(-1 / 3)
    # Siblings meet where two of the three points merge (2 of 6 leaves are of the group) or at the top (3 of 9).
    purity = dendrogram_purity(features, labels, hierarchy, 1, within=0)
    assert purity == pytest.approx(1 / 3)
    linkage, _ = class_linkage(features, labels, hierarchy, 1)
    rng = np.random.default_rng(0)
    by_chance = [purity_of(linkage, rng.permutation(labels // 3)) for _ in range(200)]
    assert purity < np.mean(by_chance) - 0.1 < 0.6


def test_collapsed_embedding():
    hierarchy = random_hierarchy(2)
    labels = np.arange(9)
    features = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).expand(9, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(distance_correlation(features, labels, hierarchy, 1))
        assert math.isnan(cophenetic_correlation(features, labels, hierarchy, 1))
        assert 0 < dendrogram_purity(features, labels, hierarchy, 1, within=0) <= 1  # of an arbitrary dendrogram


# ---- what must not matter ----


@pytest.mark.parametrize("levels", [2, 3])
def test_order_names_rotation_and_length_do_not_matter(levels):
    hierarchy = random_hierarchy(levels)
    features, labels = some(hierarchy, items=60)
    rng = np.random.default_rng(5)
    order, rotation = rng.permutation(60), np.linalg.qr(rng.normal(size=(5, 5)))[0]
    new = [rng.permutation(size) for size in hierarchy.sizes]  # new id of every node
    ancestors = np.empty_like(hierarchy.ancestors)
    ancestors[new[-1]] = np.stack([ids[column] for ids, column in zip(new, hierarchy.ancestors.T, strict=True)], axis=1)
    renamed = Hierarchy.from_ancestors(ancestors)
    other = (features.double().numpy() @ rotation * rng.uniform(0.5, 2, size=(60, 1)))[order]

    def everything(features, labels, hierarchy):
        return [
            value
            for level in range(1, levels)
            for value in (
                distance_correlation(features, labels, hierarchy, level),
                cophenetic_correlation(features, labels, hierarchy, level),
                dendrogram_purity(features, labels, hierarchy, level, within=0),
            )
        ]

    ours = everything(torch.tensor(other).float(), new[-1][labels][order], renamed)
    assert ours == pytest.approx(everything(features, labels, hierarchy), abs=1e-5)


# ---- the draw ----


def test_the_draw_keeps_the_share_of_every_class():
    classes = np.repeat(np.arange(5), [1000, 500, 300, 199, 1])
    rng = np.random.default_rng(0)
    rng.shuffle(classes)
    drawn = _draw(classes, 400, seed=0)
    assert len(drawn) == len(set(drawn.tolist())) == 400
    counts = np.bincount(classes[drawn], minlength=5)
    assert np.abs(counts - np.array([200, 100, 60, 39.8, 0.2])).max() <= 1
    assert _draw(classes, 400, seed=0).tolist() == drawn.tolist() != _draw(classes, 400, seed=1).tolist()
    assert sorted(_draw(classes, 2000, seed=0)) == sorted(_draw(classes, 5000, seed=0)) == list(range(2000))


def test_a_draw_estimates_the_correlation_of_all():
    hierarchy = random_hierarchy(3)
    features, labels = some(hierarchy, items=1500)
    full = distance_correlation(features, labels, hierarchy, 2)
    drawn = [distance_correlation(features, labels, hierarchy, 2, items=500, seed=seed) for seed in range(5)]
    assert full > 0.3 and len(set(drawn)) == 5
    assert drawn == pytest.approx([full] * 5, abs=0.05)


# ---- degenerate and wrong input ----


def test_too_few_classes():
    features = at(0.0, 30.0, 100.0)
    one, two = np.array([2, 2, 2]), np.array([0, 1, 0])
    assert math.isnan(distance_correlation(features, one, TWO_TWO, 1))
    assert math.isnan(distance_correlation(features[:1], one[:1], TWO_TWO, 1))
    assert math.isnan(distance_correlation(features, np.array([0, 1, 1]), TWO_TWO, 0))  # one group
    for labels in (one, two):
        assert math.isnan(cophenetic_correlation(features, labels, TWO_TWO, 1))
    assert math.isnan(dendrogram_purity(features, one, TWO_TWO, 1, within=0))
    assert math.isnan(dendrogram_purity(features[:2], np.array([0, 2]), TWO_TWO, 1, within=0))  # no group has two
    assert dendrogram_purity(features, two, TWO_TWO, 1, within=0) == 1
    assert class_linkage(features, one, TWO_TWO, 1)[0].shape == (0, 4)


def test_a_class_that_cancels_out_is_named():
    with pytest.raises(ValueError, match="class 3 cancel out"):
        centroids(at(0.0, 90.0, 270.0), np.array([1, 3, 3]))


@pytest.mark.parametrize(
    "measure",
    [distance_correlation, cophenetic_correlation, class_linkage, lambda *a: dendrogram_purity(*a, within=0)],
)
def test_wrong_input(as_a_user, measure):
    features, labels = at(0.0, 30.0, 100.0), np.array([0, 1, 2])
    with pytest.raises(ValueError, match=r"\[2\] for 3 items"):
        measure(features, labels[:2], TWO_TWO, 1)
    with pytest.raises(ValueError, match="no leaf 4"):
        measure(features, np.array([0, 1, 4]), TWO_TWO, 1)
    with pytest.raises(ValueError, match="no level 2"):
        measure(features, labels, TWO_TWO, 2)
    with pytest.raises(ValueError, match="one integer"):
        measure(features, labels.astype(float), TWO_TWO, 1)
    with pytest.raises(ValueError, match=r"\[items, dim\]"):
        measure(features[:, 0], labels, TWO_TWO, 1)
    with pytest.raises(ValueError, match="not finite"):
        measure(features * torch.tensor([[1.0], [math.inf], [1.0]]), labels, TWO_TWO, 1)
    with pytest.raises(ValueError, match="length zero"):
        measure(features * torch.tensor([[1.0], [0.0], [1.0]]), labels, TWO_TWO, 1)


def test_wrong_settings(as_a_user):
    features, labels = at(0.0, 30.0, 100.0), np.array([0, 1, 2])
    with pytest.raises(ValueError, match="items=1"):
        distance_correlation(features, labels, TWO_TWO, 1, items=1)
    for level, within in [(1, 1), (0, 0), (0, 1), (1, -1)]:
        with pytest.raises(ValueError, match="coarser level"):
            dendrogram_purity(features, labels, TWO_TWO, level, within)
    with pytest.raises(ValueError, match="no level 5"):
        dendrogram_purity(features, labels, TWO_TWO, 1, within=5)
    merges, _ = class_linkage(features, labels, TWO_TWO, 1)
    with pytest.raises(ValueError, match="n − 1 merges"):
        purity_of(merges, np.arange(4))
    with pytest.raises(ValueError):
        purity_of(merges[::-1].copy(), np.arange(3))


def test_nearest_siblings_by_hand():
    """Four classes of two parents on a circle: the nearest of the first three is a sibling only for the first two."""
    angle = torch.tensor([0.0, 10.0, 25.0, 80.0]).deg2rad()
    features = torch.stack([angle.cos(), angle.sin()], dim=1).repeat(3, 1)
    labels = np.arange(4).repeat(3).reshape(4, 3).T.ravel()
    assert nearest_siblings(features, labels, TWO_TWO, 1) == pytest.approx(3 / 4)  # the third is nearest to the second
    alone = np.where(labels == 3, 2, labels)  # three classes: the third has no sibling, and does not count
    assert nearest_siblings(features, alone, TWO_TWO, 1) == pytest.approx(1)
    with pytest.raises(ValueError, match="have no parent"):
        nearest_siblings(features, labels, TWO_TWO, 0)


# ---- classes as a tree of prototypes ----


def test_a_perfect_embedding_gives_the_true_tree():
    hierarchy = random_hierarchy(levels=3, seed=2)
    labels = np.arange(3 * hierarchy.n_leaves) % hierarchy.n_leaves
    tree = class_tree(code(hierarchy, labels), labels, hierarchy)
    assert tree.sizes == hierarchy.sizes and tree.assignment[:, -1].tolist() == labels.tolist()
    for level in range(3):
        pairs = set(zip(tree.assignment[:, level].tolist(), hierarchy.labels_at(labels, level).tolist(), strict=True))
        assert len(pairs) == hierarchy.sizes[level], "one to one"


def test_items_go_to_the_nearest_class_mean_whatever_their_label():
    hierarchy = random_hierarchy(levels=2, seed=1)
    features, labels = some(hierarchy, items=60)
    hidden = np.where(np.arange(60) % 7 == 0, -1, labels)
    tree = class_tree(features, hidden, hierarchy)
    means, present = centroids(features[hidden >= 0], labels[hidden >= 0])
    z = torch.nn.functional.normalize(features.double(), dim=1)
    for item in range(60):
        closeness = [float(z[item] @ mean) for mean in means]
        assert tree.path(item)[-1] == int(np.argmax(closeness))
        assert float(tree.closeness[item, -1]) == pytest.approx(max(closeness), abs=1e-5)
        assert tree.path(item)[0] == int(tree.parent[1][tree.path(item)[-1]])
    assert tree.sizes == (hierarchy.sizes[0], len(present)) and len(tree.assignment) == 60
    cut = [{c for c in range(len(present)) if int(tree.parent[1][c]) == node} for node in range(tree.sizes[0])]
    merges, _ = class_linkage(features[hidden >= 0], labels[hidden >= 0], hierarchy, -1)
    below = [{leaf} for leaf in range(len(present))]
    for left, right in merges[: len(present) - tree.sizes[0], :2].astype(int):
        below.append(below[left] | below[right])
    tops = [own for own in below if not any(own < other for other in below)]
    assert sorted(map(sorted, tops)) == sorted(map(sorted, cut)), "branches of the dendrogram"
    assert class_tree(features, hidden, Hierarchy.from_dict([*hierarchy.leaf_names])).levels == 1
