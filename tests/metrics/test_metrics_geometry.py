"""How an embedding fills the sphere: every measure against a loop, numbers worked out by hand, and scikit-learn."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hiercl.metrics.geometry import (
    alignment,
    class_alignment,
    effective_rank,
    total_variance,
    uniformity,
    variance_between,
    variance_outside,
)

SHAPES = [(2, 3, 0), (17, 5, 1), (40, 64, 2)]  # items, dim, seed: also more dimensions than items


def some(items: int = 40, dim: int = 6, seed: int = 0):
    """Features of any length, off centre, and labels with gaps and classes of unequal sizes, one of them of one."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(items, dim)) * rng.uniform(0.5, 2, size=dim) + 0.5
    labels = rng.choice([3, 5, 11, 40], p=[0.5, 0.3, 0.15, 0.05], size=items)
    labels[0], labels[1:3] = 99, 3
    return torch.tensor(features, dtype=torch.float32), labels


def rows(features):
    """Unit embeddings as NumPy rows, for the loops."""
    return [row / math.sqrt((row**2).sum()) for row in features.double().numpy()]


# ---- against loops written from the equations ----


@pytest.mark.parametrize("alpha", [0.5, 1, 2.0, 3.0])
def test_alignment_against_a_loop(alpha):
    first, second = some(30, seed=1)[0], some(30, seed=2)[0]
    distances = [math.sqrt(((x - y) ** 2).sum()) for x, y in zip(rows(first), rows(second), strict=True)]
    assert alignment(first, second, alpha) == pytest.approx(sum(d**alpha for d in distances) / 30)


@pytest.mark.parametrize(("items", "dim", "seed"), [(3, 2, 0), (17, 5, 1), (60, 64, 2)])
def test_class_alignment_against_a_loop(items, dim, seed):
    features, labels = some(items, dim, seed)
    z = rows(features)
    distances = [
        ((z[i] - z[j]) ** 2).sum() for i in range(items) for j in range(items) if i != j and labels[i] == labels[j]
    ]
    assert class_alignment(features, labels) == pytest.approx(np.mean(distances))


@pytest.mark.parametrize(("items", "dim", "seed"), SHAPES)
@pytest.mark.parametrize("t", [0.5, 2, 400.0])
def test_uniformity_against_a_loop(items, dim, seed, t):
    z = rows(some(max(items, 3), dim, seed)[0])[:items]
    kernel = [math.exp(-t * ((z[i] - z[j]) ** 2).sum()) for i in range(items) for j in range(i + 1, items)]
    assert uniformity(torch.tensor(np.array(z)), t) == pytest.approx(math.log(np.mean(kernel)))


def test_uniformity_of_several_blocks_against_torch():
    features = torch.randn(5000, 16, generator=torch.Generator().manual_seed(0))
    squared = torch.pdist(F.normalize(features.double(), dim=1)).square()
    assert uniformity(features) == pytest.approx(float((-2 * squared).exp().mean().log()))


def test_uniformity_of_a_sharp_kernel_does_not_underflow():
    """Two opposite points: log e^(−4t), although e^(−4t) is 0 in float64."""
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), t=1000) == pytest.approx(-4000)


@pytest.mark.parametrize(("items", "dim", "seed"), [(3, 3, 0), (17, 5, 1), (40, 64, 2)])
def test_effective_rank_against_a_loop(items, dim, seed):
    """Singular values as the roots of the eigenvalues of the smaller of the two Gram matrices."""
    features = some(items, dim, seed)[0]
    matrix = features.double().numpy()
    gram = matrix @ matrix.T if items < dim else matrix.T @ matrix
    values = np.sqrt(np.linalg.eigvalsh(gram))
    entropy = 0.0
    for value in values:
        entropy -= value / values.sum() * math.log(value / values.sum())
    assert effective_rank(features) == pytest.approx(math.exp(entropy))
    assert 1 < effective_rank(features) <= min(items, dim)


@pytest.mark.parametrize(("items", "dim", "seed"), [(3, 3, 0), (17, 5, 1), (40, 64, 2)])
def test_variances_against_loops(items, dim, seed):
    features, labels = some(items, dim, seed)
    z = rows(features)
    mean = sum(z) / items
    scatter = sum(((x - mean) ** 2).sum() for x in z)
    between = 0.0
    for c in set(labels):
        members = [x for x, label in zip(z, labels, strict=True) if label == c]
        between += len(members) * ((sum(members) / len(members) - mean) ** 2).sum()
    assert total_variance(features) == pytest.approx(1 - (mean**2).sum()) == pytest.approx(scatter / items)
    assert variance_between(features, labels) == pytest.approx(between / scatter)


# ---- against scikit-learn ----


@pytest.mark.parametrize(("items", "dim", "seed"), [(3, 3, 0), (17, 5, 1), (40, 64, 2)])
def test_variance_outside_against_pca(items, dim, seed):
    from sklearn.decomposition import PCA

    features = some(items, dim, seed)[0]
    explained = PCA(svd_solver="full").fit(np.array(rows(features))).explained_variance_ratio_
    for components in range(dim + 1):
        assert variance_outside(features, components) == pytest.approx(1 - explained[:components].sum(), abs=1e-12)
    assert variance_outside(features, 0) == 1


def test_class_alignment_against_the_within_cluster_distances_of_scikit_learn():
    from sklearn.metrics import pairwise_distances

    features, labels = some(50)
    squared = pairwise_distances(np.array(rows(features)), metric="sqeuclidean")
    same = (labels[:, None] == labels) & ~np.eye(50, dtype=bool)
    assert class_alignment(features, labels) == pytest.approx(squared[same].mean())


# ---- worked out by hand ----

CROSS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -3.0]])  # unit: east, north, west, south


def test_measures_of_four_points_of_the_compass():
    # East to north: squared distance 2; east to west: 4. Opposite pairs: 2 of 6.
    assert uniformity(CROSS) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
    assert total_variance(CROSS) == pytest.approx(1)  # the mean is the origin
    assert variance_outside(CROSS, 1) == pytest.approx(1 / 2)  # both axes have the same variance
    assert effective_rank(F.normalize(CROSS, dim=1)) == pytest.approx(2)  # two equal singular values
    # As given, the singular values are √(4 + 1) and √(1 + 9): p = 1/(1 + √2) and √2/(1 + √2) = 0.41421, 0.58579.
    # Entropy 0.41421 · 0.88137 + 0.58579 · 0.53480 = 0.67835, and e^0.67835 = 1.9706.
    assert effective_rank(CROSS) == pytest.approx(1.9706, abs=1e-4)
    # Classes {east, north} and {west, south}: squared distance 2 within each.
    assert class_alignment(CROSS, np.array([0, 0, 1, 1])) == pytest.approx(2)
    # Class means ±(1/2, 1/2), squared length 1/2, of a total of 1.
    assert variance_between(CROSS, np.array([0, 0, 1, 1])) == pytest.approx(1 / 2)
    # {east, west} and {north, south}: both means are the origin.
    assert variance_between(CROSS, np.array([0, 1, 0, 1])) == pytest.approx(0)
    # {east, north, west} and {south}: squared distances 2, 2, 4 within the first, mean 8/3; none in the second.
    assert class_alignment(CROSS, np.array([5, 5, 5, 6])) == pytest.approx(8 / 3)


def test_large_classes_count_for_more_in_class_alignment():
    """Three at one point (6 ordered pairs at distance 0), two opposite (2 ordered pairs at 4): 8/8, not (0 + 4)/2."""
    features = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0], [0.0, -1.0]])
    assert class_alignment(features, np.array([0, 0, 0, 1, 1])) == pytest.approx(1)


# ---- what a perfect, a random and a collapsed embedding give ----


def test_perfect_embedding():
    """Every class is one point, and all classes are as far apart as can be: as many dimensions as classes."""
    labels = np.repeat(np.arange(8), 10)
    features = 3 * torch.eye(8)[torch.from_numpy(labels)]
    assert class_alignment(features, labels) == pytest.approx(0, abs=1e-12)
    assert variance_between(features, labels) == pytest.approx(1)
    assert total_variance(features) == pytest.approx(7 / 8)  # the mean is (1/8, …, 1/8), of squared length 1/8
    assert effective_rank(features) == pytest.approx(8)
    assert variance_outside(features, 3) == pytest.approx(4 / 7)  # seven equal components; three are left out


def test_random_directions():
    features = torch.randn(3000, 256, generator=torch.Generator().manual_seed(0))
    labels = np.arange(3000) % 30
    # cos has the variance 1/256: E e^(−2(2 − 2 cos)) ≈ e^(−4 + 16/(2 · 256))
    assert uniformity(features) == pytest.approx(-4 + 1 / 32, abs=0.005)
    assert class_alignment(features, labels) == pytest.approx(2, abs=0.02)
    assert alignment(features[:1500], features[1500:]) == pytest.approx(2, abs=0.02)
    assert total_variance(features) == pytest.approx(1 - 1 / 3000, abs=1e-4)
    assert variance_between(features, labels) == pytest.approx(29 / 2999, abs=0.002)
    assert 0.9 * 256 < effective_rank(features) < 256
    assert 0.98 < variance_outside(features, 2) < 1 - 2 / 256


@pytest.mark.parametrize("noise", [0.0, 1e-7])  # the second is about the rounding of float32
def test_collapsed_embedding(noise):
    g = torch.Generator().manual_seed(0)
    features = (torch.randn(1, 32, generator=g) + noise * torch.randn(50, 32, generator=g)).float()
    labels = np.arange(50) % 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert effective_rank(features) == pytest.approx(1, abs=1e-3)
        assert uniformity(features) == pytest.approx(0, abs=1e-9)
        assert total_variance(features) == pytest.approx(0, abs=1e-12)
        assert class_alignment(features, labels) == pytest.approx(0, abs=1e-12)
        assert alignment(features[:25], features[25:]) == pytest.approx(0, abs=1e-12)
        assert math.isnan(variance_outside(features, 1))
        assert math.isnan(variance_between(features, labels))


def test_a_tight_but_not_collapsed_embedding_still_shares_its_variance():
    """Classes 1e-4 apart: float32 holds them, and rounding must not blur them."""
    labels = np.repeat(np.arange(4), 25)
    features = torch.eye(5)[4] + 1e-4 * torch.eye(5)[torch.from_numpy(labels)]
    assert variance_between(features, labels) == pytest.approx(1)
    assert variance_outside(features, 3) == pytest.approx(0, abs=1e-6)
    assert variance_outside(features, 1) == pytest.approx(2 / 3, rel=1e-3)


# ---- what must not matter ----


def everything(features, labels):
    half = len(features) // 2
    return [
        alignment(features[:half], features[half : 2 * half]),
        class_alignment(features, labels),
        uniformity(features),
        effective_rank(features),
        total_variance(features),
        variance_outside(features, 2),
        variance_between(features, labels),
    ]


def test_rotation_and_names_of_labels_do_not_matter():
    features, labels = some()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    rotated = (features.double() @ torch.from_numpy(rotation)).float()
    names = {label: 1000 - 7 * label for label in labels.tolist()}
    renamed = np.array([names[label] for label in labels.tolist()])
    assert everything(rotated, renamed) == pytest.approx(everything(features, labels), rel=1e-5)


def test_order_of_items_does_not_matter():
    features, labels = some()
    order = np.random.default_rng(1).permutation(len(labels))
    # The first measure is of pairs, which the new order breaks up.
    assert everything(features[order], labels[order])[1:] == pytest.approx(everything(features, labels)[1:])


def test_lengths_matter_to_the_effective_rank_alone():
    features, labels = some()
    longer = features * torch.logspace(0, 2, len(features))[:, None]
    ours, theirs = everything(longer, labels), everything(features, labels)
    assert ours.pop(3) != pytest.approx(theirs.pop(3), rel=1e-3)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_gradients_and_half_precision_are_taken():
    features, labels = some()
    tracked = features.clone().requires_grad_()
    assert everything(tracked, labels) == everything(features, labels)
    assert class_alignment(features.bfloat16(), labels) == pytest.approx(class_alignment(features, labels), rel=0.01)


# ---- wrong and degenerate input ----


def test_no_class_has_two_items():
    assert math.isnan(class_alignment(CROSS, np.arange(4)))
    assert variance_between(CROSS, np.arange(4)) == 1
    assert variance_between(CROSS, np.zeros(4, dtype=np.int64)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("measure", [class_alignment, variance_between])
def test_wrong_labels(as_a_user, measure):
    with pytest.raises(ValueError, match=r"\[3\] for 4 items"):
        measure(CROSS, np.array([0, 1, 1]))
    with pytest.raises(ValueError, match=r"\[4, 1\] for 4 items"):
        measure(CROSS, np.zeros((4, 1), dtype=np.int64))
    with pytest.raises(ValueError, match="float64"):
        measure(CROSS, np.zeros(4))


@pytest.mark.parametrize("measure", [uniformity, effective_rank, total_variance, lambda x: variance_outside(x, 1)])
def test_wrong_features(as_a_user, measure):
    with pytest.raises(ValueError, match=r"\[items, dim\]"):
        measure(torch.ones(4))
    with pytest.raises(ValueError, match="at least one item"):
        measure(torch.ones(0, 4))
    with pytest.raises(ValueError, match="not finite"):
        measure(torch.tensor([[1.0, 0.0], [math.nan, 1.0]]))
    with pytest.raises(ValueError, match="zero"):
        measure(torch.zeros(3, 2))


def test_one_embedding_of_length_zero_has_no_direction():
    with pytest.raises(ValueError, match="1 of 3 embeddings have length zero"):
        total_variance(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]))


def test_wrong_settings(as_a_user):
    with pytest.raises(ValueError, match="one pair"):
        alignment(CROSS, CROSS[:3])
    with pytest.raises(ValueError, match="alpha=0"):
        alignment(CROSS, CROSS, alpha=0)
    with pytest.raises(ValueError, match="two items"):
        uniformity(CROSS[:1])
    with pytest.raises(ValueError, match="t=-1"):
        uniformity(CROSS, t=-1)
    for components in (-1, 3):
        with pytest.raises(ValueError, match=f"components={components}: embeddings of 2 dimensions"):
            variance_outside(CROSS, components)
