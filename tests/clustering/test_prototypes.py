"""The tree of prototypes: consistent, found where it was planted, with concentrations as the equation says."""

import math
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hiercl.clustering.kmeans import kmeans, nearest, nearest_by_matmul
from hiercl.clustering.prototypes import PrototypeTree, concentration


def planted(items_each: int = 30, dim: int = 32, noise: float = 0.05, seed: int = 0):
    """Two far groups of three near clusters each: embeddings, cluster labels, group labels."""
    g = torch.Generator().manual_seed(seed)
    groups = torch.eye(dim)[:2]
    centres = torch.cat(
        [F.normalize(group + 0.5 * torch.eye(dim)[2 + 3 * i : 5 + 3 * i], dim=1) for i, group in enumerate(groups)]
    )
    labels = torch.arange(6).repeat_interleave(items_each)
    z = F.normalize(centres[labels] + noise * torch.randn(len(labels), dim, generator=g), dim=1)
    return z, labels, labels // 3


def same_partition(a, b) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def test_planted_tree_is_found():
    z, clusters, groups = planted()
    tree = PrototypeTree.fit(z, (2, 6), seed=1, restarts=10)
    assert same_partition(tree.assignment[:, 1], clusters)
    assert same_partition(tree.assignment[:, 0], groups)
    assert all((p == 1).all() for p in tree.purity(clusters)[1:]) and torch.allclose(
        tree.purity(clusters)[0], torch.tensor(1 / 3)
    )


def test_tree_is_consistent():
    """methods.md A.10 (iv): walking up the parents gives the stored assignment."""
    z = F.normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    tree = PrototypeTree.fit(z, (3, 10, 40), seed=0)
    for item in range(len(z)):
        node = int(tree.assignment[item, 2])
        walked = [node]
        for level in (2, 1):
            node = int(tree.parent[level][node])
            walked.append(node)
        assert tree.path(item) == tuple(walked[::-1])
    assert [c.shape for c in tree.centroids] == [(3, 16), (10, 16), (40, 16)]
    assert all(torch.allclose(c.norm(dim=1), torch.ones(len(c))) for c in tree.centroids)
    assert torch.equal(tree.assign(z)[:, 2], nearest(z, tree.centroids[2])[0])
    assert sum(len(tree.members(1, node)) for node in range(10)) == len(z)


def test_new_points_find_the_clusters_of_old_ones():
    z, clusters, _ = planted(seed=0)
    tree = PrototypeTree.fit(z, (2, 6), seed=0, restarts=10)
    fresh, fresh_clusters, _ = planted(seed=5)
    assert torch.equal(fresh_clusters, clusters) and torch.equal(tree.assign(fresh), tree.assignment)


@pytest.mark.parametrize("seed", range(4))
def test_concentration_against_a_loop(seed):
    """methods.md A.2.5 and A.10 (v)."""
    rng = np.random.default_rng(seed)
    k, tau = 20, 0.2
    assignment = rng.integers(0, k - 2, 200)  # two clusters stay empty
    assignment[assignment == 3] = 4
    assignment[0] = 3  # and one has a single member
    distance = rng.uniform(0.1, 1.0, 200)
    phi = []
    for c in range(k):
        members = distance[assignment == c]
        phi.append(members.mean() / math.log(len(members) + 10) if len(members) > 1 else None)
    largest = max(p for p in phi if p is not None)
    phi = np.array([largest if p is None else p for p in phi])
    low, high = np.percentile(phi, [10, 90])
    expected = np.clip(phi, low, high)
    expected *= tau / expected.mean()
    got = concentration(torch.tensor(distance, dtype=torch.float32), torch.tensor(assignment), k, tau)
    assert np.allclose(got.numpy(), expected, rtol=1e-4)
    assert got.mean().item() == pytest.approx(tau, rel=1e-5)
    assert (got.max() / got.min()).item() == pytest.approx(high / low, rel=1e-4)


def test_posterior_is_the_softmax_with_concentrations():
    z, _, _ = planted()
    tree = PrototypeTree.fit(z, (2, 6), seed=0)
    for level in range(2):
        by_hand = torch.zeros(5, tree.sizes[level])
        for i in range(5):
            scores = [
                math.exp(float(z[i] @ c) / float(phi))
                for c, phi in zip(tree.centroids[level], tree.concentration[level], strict=True)
            ]
            by_hand[i] = torch.tensor(scores) / sum(scores)
        assert torch.allclose(tree.posterior(z[:5], level), by_hand, atol=1e-5)
        log_posterior = tree.logits(z[:5], level) - tree.log_normaliser(z[:5], level)[:, None]
        assert torch.allclose(log_posterior.exp(), by_hand, atol=1e-5)


def test_exemplars_are_the_closest_members():
    z, _, _ = planted(noise=0.2)
    tree = PrototypeTree.fit(z, (2, 6), seed=0)
    members = tree.members(1, 2)
    closeness = z[members] @ tree.centroids[1][2]
    assert tree.exemplars(1, 2, 3).tolist() == members[closeness.argsort(descending=True)[:3]].tolist()
    assert len(tree.exemplars(1, 2, 10_000)) == len(members)


def test_as_hierarchy_keeps_the_paths():
    z = torch.randn(300, 8, generator=torch.Generator().manual_seed(3))
    tree = PrototypeTree.fit(z, (2, 5, 30), seed=0)
    hierarchy = tree.as_hierarchy()
    assert hierarchy.levels == 3 and hierarchy.n_leaves == 30
    for item in range(0, 300, 17):
        finest = int(tree.assignment[item, -1])
        names = tuple(hierarchy.names[level][hierarchy.ancestors[finest, level]] for level in range(3))
        assert names == tuple(f"{level}:{node}" for level, node in enumerate(tree.path(item)))


def test_state_goes_around():
    z, clusters, _ = planted()
    tree = PrototypeTree.fit(z, (2, 6), seed=0)
    again = PrototypeTree.from_state_dict(tree.state_dict())
    assert torch.equal(again.assignment, tree.assignment) and torch.equal(again.posterior(z, 1), tree.posterior(z, 1))
    assert torch.equal(again.majority(clusters)[1], tree.majority(clusters)[1])


@pytest.mark.parametrize(
    "z, sizes, message",
    [
        (torch.randn(10, 4), (2, 11), "at least as many items"),
        (torch.randn(10, 4), (5, 5), "grow from coarse to fine"),
        (torch.randn(10, 4), (5, 2), "grow from coarse to fine"),
        (torch.randn(10, 4), (), "at least one level"),
        (torch.tensor([[1.0, float("nan")], [1.0, 0.0]]), (1,), "row 0"),
        (torch.zeros(3, 2), (1,), "length zero"),
        (torch.randn(10), (1,), r"embeddings are \[10\]"),
        (torch.randn(10, 2, 2), (1,), r"pass \[items, dim\]"),
        (torch.randn(10, 4), 5, "prototypes=5: it must be a tuple"),
        (torch.randn(10, 4), "24", "tuple of whole numbers"),
        (torch.randn(10, 4), (2.7, 4.2), "tuple of whole numbers"),
    ],
)
def test_wrong_input(z, sizes, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        PrototypeTree.fit(z, sizes)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 1.5}, {"temperature": math.nan}, {"temperature": 0}, {"iterations": -1}, {"restarts": "2"}],
)
def test_wrong_settings(wrong, as_a_user):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        PrototypeTree.fit(torch.randn(10, 4), (2, 4), **wrong)


def test_new_points_of_another_length(as_a_user):
    tree = PrototypeTree.fit(torch.randn(10, 4), np.array([2, 3]), seed=2**70)
    with pytest.raises(ValueError, match=r"embeddings are \[3, 9\], and the prototypes have 4"):
        tree.assign(torch.randn(3, 9))


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda tree: tree.members(1, 3), "No prototype 3 on level 1"),
        (lambda tree: tree.members(1, 0.5), "node=0.5: give a whole number"),
        (lambda tree: tree.exemplars(1, 0, count=-1), "count=-1: give a whole number from 0"),
        (lambda tree: tree.counts(7), "there is no level 7: the tree has 2"),
        (lambda tree: tree.counts("fine"), "level='fine': give a whole number"),
        (lambda tree: tree.path(99), "item=99: give a whole number from 0 to 9"),
        (lambda tree: tree.posterior(torch.randn(3, 4), 1, sharpness=-1), "sharpness=-1: it must be a number at least"),
        (lambda tree: tree.posterior(np.ones((3, 5)), 1), r"are \[3, 5\], and the prototypes have 4"),
        (lambda tree: tree.log_normaliser(torch.randn(3, 4), 2), "there is no level 2"),
        (lambda tree: tree.logits(torch.randn(4), 0), r"are \[4\]"),
        (lambda tree: tree.majority(5), r"labels are \[\] for a tree of 10 items"),
        (lambda tree: tree.purity([0] * 9), r"labels are \[9\]"),
        (lambda tree: tree.majority([2**40] * 10), "numbered from 0"),
    ],
)
def test_asking_a_tree_for_what_it_does_not_have(ask, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        ask(PrototypeTree.fit(torch.randn(10, 4), (2, 3)))


def test_nearest_is_the_same_by_faiss_and_by_matmul():
    g = torch.Generator().manual_seed(0)
    points, centres = torch.randn(500, 24, generator=g), torch.randn(40, 24, generator=g)
    (a, da), (b, db) = nearest(points, centres), nearest_by_matmul(points, centres, block=64)
    assert torch.equal(a, b) and torch.allclose(da, db, atol=1e-4)
    brute = torch.cdist(points.double(), centres.double())
    assert torch.equal(a, brute.argmin(dim=1)) and torch.allclose(da.double(), brute.min(dim=1).values ** 2, atol=1e-4)


def test_both_searches_give_the_same_tree(monkeypatch):
    z = F.normalize(torch.randn(2000, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    one = PrototypeTree.fit(z, (5, 50), seed=0)
    monkeypatch.setattr(sys.modules["hiercl.clustering.kmeans"], "nearest", nearest_by_matmul)
    other = PrototypeTree.fit(z, (5, 50), seed=0)
    assert torch.equal(one.assignment, other.assignment)


def test_kmeans_is_about_as_good_as_scikit_learns():
    from sklearn.cluster import KMeans

    z = torch.randn(1500, 8, generator=torch.Generator().manual_seed(1))
    ours = kmeans(z, 20, seed=0, iterations=50, restarts=3)
    theirs = KMeans(20, n_init=3, random_state=0).fit(z.numpy())
    assert ours.inertia < 1.03 * theirs.inertia_


def test_kmeans_ends_in_means_and_nearest_centres():
    z, _, _ = planted(noise=0.3)
    result = kmeans(z, 6, seed=0, iterations=100)
    for c in range(6):
        assert torch.allclose(result.centres[c], z[result.assignment == c].mean(dim=0), atol=1e-5)
    assert torch.equal(result.assignment, nearest(z, result.centres)[0])


def test_an_empty_cluster_moves_to_the_farthest_point():
    from hiercl.clustering.kmeans import _means

    points = torch.tensor([[0.0, 0], [0.1, 0], [5.0, 0]])
    assignment = torch.zeros(3, dtype=torch.long)
    means = _means(points, assignment, torch.tensor([0.0, 0.01, 25.0]), torch.zeros(2, 2))
    assert means[0].tolist() == pytest.approx([1.7, 0.0]) and means[1].tolist() == [5.0, 0.0]


def test_copies_of_a_few_points():
    """Fewer distinct points than clusters: some clusters stay empty, nothing breaks."""
    z = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1).repeat(10, 1)
    tree = PrototypeTree.fit(z, (2, 6), seed=0)
    assert all(torch.isfinite(c).all() and (c > 0).all() for c in tree.concentration)
    assert len(tree.assignment[:, 1].unique()) == 3
    assert torch.isnan(tree.purity(torch.zeros(30, dtype=torch.long))[1]).sum() == 3
