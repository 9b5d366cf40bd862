"""Cluster scores: loops from the equations, the mean over all permutations, and what known features must give."""

import inspect
import itertools
import math

import numpy as np
import pytest
import torch

from hiercl.metrics.clusters import cluster_scores, score_clusters


def information(u, v) -> float:
    """Mutual information in nats: a loop over all pairs of values."""
    n, total = len(u), 0.0
    for a in set(u):
        for b in set(v):
            both = sum(x == a and y == b for x, y in zip(u, v, strict=True)) / n
            if both:
                total += both * math.log(both / (list(u).count(a) / n * list(v).count(b) / n))
    return total


def entropy(u) -> float:
    return -sum(list(u).count(a) / len(u) * math.log(list(u).count(a) / len(u)) for a in set(u))


def rand_index(u, v) -> float:
    """Share of the pairs of items that are together in both, or apart in both."""
    pairs = list(itertools.combinations(range(len(u)), 2))
    return sum((u[i] == u[j]) == (v[i] == v[j]) for i, j in pairs) / len(pairs)


def random_clusters(n: int, clusters: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clusters that follow the classes about half the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    return np.where(rng.random(n) < 0.5, labels % clusters, rng.integers(clusters, size=n)), labels


def test_scores_by_hand():
    clusters, labels = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    # H(U) = ln 2; H(V) = ¾ ln 4/3 + ¼ ln 4 = 0.5623; I = H(V) − H(V|U) = 0.5623 − ½ ln 2 = 0.2158
    # NMI = 0.2158 / ½(0.6931 + 0.5623) = 0.3437
    # Whichever of the four is the odd one out, the table is the same: E[I] = I, so AMI = 0; likewise ARI = 0
    scores = score_clusters(clusters, labels)
    assert scores.nmi == pytest.approx(0.3437, abs=1e-4)
    assert scores.ami == pytest.approx(0, abs=1e-9) and scores.ari == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("clusters", "classes"), [(2, 2), (3, 2), (2, 3)])
def test_adjustment_is_by_the_mean_over_all_permutations(clusters, classes):
    u, v = random_clusters(7, clusters, classes, seed=1)
    shuffled = [np.array(order) for order in itertools.permutations(u)]
    by_chance = np.mean([information(order, v) for order in shuffled])
    rand_by_chance = np.mean([rand_index(order, v) for order in shuffled])
    scores = score_clusters(u, v)
    mean_entropy = (entropy(u) + entropy(v)) / 2
    assert scores.ami == pytest.approx((information(u, v) - by_chance) / (mean_entropy - by_chance), abs=1e-9)
    assert scores.ari == pytest.approx((rand_index(u, v) - rand_by_chance) / (1 - rand_by_chance), abs=1e-9)


@pytest.mark.parametrize(("clusters", "classes"), [(2, 2), (5, 3), (3, 8)])
def test_scores_against_loops(clusters, classes):
    """The same with closed forms of the means: hypergeometric cells, and pairs."""
    n = 60
    u, v = random_clusters(n, clusters, classes, seed=2)
    sizes_u, sizes_v = np.bincount(u).tolist(), np.bincount(v).tolist()
    by_chance = 0.0
    for a in filter(None, sizes_u):
        for b in filter(None, sizes_v):
            for both in range(max(1, a + b - n), min(a, b) + 1):
                probability = math.comb(b, both) * math.comb(n - b, a - both) / math.comb(n, a)
                by_chance += probability * both / n * math.log(n * both / (a * b))
    together_u, together_v = sum(math.comb(a, 2) for a in sizes_u), sum(math.comb(b, 2) for b in sizes_v)
    together = sum((u[i] == u[j]) and (v[i] == v[j]) for i, j in itertools.combinations(range(n), 2))
    expected = together_u * together_v / math.comb(n, 2)
    mean_entropy = (entropy(u) + entropy(v)) / 2
    scores = score_clusters(u, v)
    assert scores.nmi == pytest.approx(information(u, v) / mean_entropy)
    assert scores.ami == pytest.approx((information(u, v) - by_chance) / (mean_entropy - by_chance))
    assert scores.ari == pytest.approx((together - expected) / ((together_u + together_v) / 2 - expected))


def test_random_clusters_score_zero_where_adjusted():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 40
    scores = score_clusters(rng.integers(40, size=400), labels)
    assert abs(scores.ami) < 0.05 and abs(scores.ari) < 0.05
    assert scores.nmi > 0.3  # not adjusted: many small clusters alone make it large


def test_worse_than_chance_is_below_zero():
    """Every cluster holds one item of each class: further apart than chance would put them."""
    scores = score_clusters(np.repeat(np.arange(5), 5), np.tile(np.arange(5), 5))
    assert scores.nmi == pytest.approx(0, abs=1e-9)
    assert scores.ami < -0.05 and scores.ari < -0.05


def test_one_cluster_knows_nothing_and_all_alone_is_all_or_nothing():
    labels = np.array([0, 0, 1, 1])
    assert score_clusters(np.zeros(4, dtype=np.int64), labels) == pytest.approx((0, 0, 0))
    assert score_clusters(np.arange(4), labels).ari == pytest.approx(0)
    assert score_clusters(labels * 0, labels * 0) == (1, 1, 1)  # one class, one cluster
    assert score_clusters(np.arange(4), np.arange(4)) == pytest.approx((1, 1, 1))  # one item a class and a cluster


def test_neither_the_order_of_items_nor_names_matter():
    u, v = random_clusters(80, 4, 5, seed=3)
    order = np.random.default_rng(4).permutation(80)
    assert score_clusters(u[order], v[order]) == pytest.approx(score_clusters(u, v))
    assert score_clusters(9 - 3 * u, v**2) == pytest.approx(score_clusters(u, v))
    assert score_clusters(v, u) == pytest.approx(score_clusters(u, v))  # all three are symmetric


# ---- of features ----


def blobs(classes: int, n: int, spread: float) -> tuple[torch.Tensor, np.ndarray]:
    """Well separated directions of very different lengths."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    directions = torch.eye(classes)[labels] + spread * torch.randn(n, classes, generator=g)
    return directions * torch.empty(n, 1).uniform_(0.1, 10, generator=g), labels.numpy()


def test_a_perfect_a_random_and_an_inverted_embedding():
    features, labels = blobs(classes=6, n=240, spread=0.02)
    assert cluster_scores(features, labels) == pytest.approx((1, 1, 1))  # only the direction counts
    noise = torch.randn(240, 6, generator=torch.Generator().manual_seed(1))
    random = cluster_scores(noise, labels)
    assert abs(random.ami) < 0.05 and abs(random.ari) < 0.05
    # inverted: each of the six tight groups holds an equal share of every class
    inverted = cluster_scores(features, np.arange(240) // 6 % 6)
    assert inverted.ami < 0.01 and inverted.ari < 0.01


def test_there_are_as_many_clusters_as_classes_occur():
    """Six groups, two classes of three groups each, with ids that have gaps."""
    features, groups = blobs(classes=6, n=240, spread=0.02)
    labels = np.where(groups < 3, 4, 90)
    scores = cluster_scores(features, labels)
    assert scores.ami < 0.9  # two clusters cannot say which groups belong together
    assert cluster_scores(features, groups * 10).ami == pytest.approx(1)


def test_cluster_scores_score_our_k_means():
    from torch.nn import functional as F

    from hiercl.clustering.kmeans import kmeans

    features, labels = blobs(classes=5, n=200, spread=0.6)
    clusters = kmeans(F.normalize(features, dim=1), 5, seed=3, iterations=50, restarts=3).assignment.numpy()
    scores = cluster_scores(features, labels, seed=3)
    assert scores == score_clusters(clusters, labels) == cluster_scores(features, labels, seed=3)
    assert 0.05 < scores.ami < 0.95  # neither trivial nor hopeless


def test_features_of_one_class_and_of_single_items():
    features = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert cluster_scores(features, np.zeros(5, dtype=np.int64)) == pytest.approx((1, 1, 1))
    assert cluster_scores(features, np.arange(5)) == pytest.approx((1, 1, 1))


def test_wrong_input_is_named():
    labels = np.arange(4)
    plain_scores, plain_features = inspect.unwrap(score_clusters), inspect.unwrap(cluster_scores)
    with pytest.raises(ValueError, match=r"labels of shapes \(4,\) and \(3,\)"):
        plain_scores(labels, labels[:3])
    with pytest.raises(ValueError, match="at least 1"):
        plain_scores(labels[:0], labels[:0])
    with pytest.raises(ValueError, match=r"\[4\] for 5 items"):
        plain_features(torch.randn(5, 2), labels)
    with pytest.raises(ValueError, match="at least one item"):
        plain_features(torch.randn(0, 2), labels[:0])
    with pytest.raises(ValueError, match="not finite"):
        cluster_scores(torch.full((4, 2), torch.nan), labels)
