"""Retrieval: loops from the equations, numbers worked out by hand, scikit-learn, embeddings with known scores."""

import inspect
import math

import numpy as np
import pytest
import torch
from support.trees import branching_hierarchy

import hiercl.metrics.retrieval
from hiercl.clustering.neighbours import nearest_neighbours
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.metrics.retrieval import hierarchical_distance_at_k, map_at_r, retrieve
from hiercl.runtime import arrays


def random_items(tree: Hierarchy, n: int = 60, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Noisy features of random leaves: related, but far from perfect."""
    g = torch.Generator().manual_seed(seed)
    leaves = torch.randint(tree.n_leaves, (n,), generator=g)
    centres = torch.randn(tree.n_leaves, 8, generator=g)
    return centres[leaves] + torch.randn(n, 8, generator=g), leaves.numpy()


TREES = [branching_hierarchy(levels, seed) for levels in (1, 2, 3) for seed in (0, 1)]
every_tree = pytest.mark.parametrize("tree", TREES)


# ---- MAP@R ----


def slow_map_at_r(neighbours, labels) -> float:
    scores = []
    for query, row in enumerate(neighbours.tolist()):
        r = sum(labels[j] == labels[query] for j in range(len(labels)) if j != query)
        if r == 0:
            continue
        total = 0.0
        for i in range(1, r + 1):
            if labels[row[i - 1]] == labels[query]:
                total += sum(labels[j] == labels[query] for j in row[:i]) / i
        scores.append(total / r)
    return sum(scores) / len(scores)


def expected_by_chance(r: int, n: int) -> float:
    """The i-th of n − 1 others in random order is relevant with p; then so is each of the i − 1 before it with p'."""
    p, p_given = r / (n - 1), (r - 1) / (n - 2)
    return sum((1 + (i - 1) * p_given) / i * p for i in range(1, r + 1)) / r


def random_order(n: int, seed: int = 0) -> torch.Tensor:
    """For every item all others in random order."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.delete(np.arange(n), i)) for i in range(n)]
    return torch.from_numpy(np.stack(rows))


def test_map_at_r_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    neighbours = torch.tensor([[1, 2], [3, 0], [0, 5], [4, 0], [5, 3], [0, 1]])
    # R = 2: item 0 finds both, (1 + 1)/2 = 1; item 1 the second alone, (0 + 1/2)/2 = 1/4; item 2 the first, 1/2
    # R = 1: item 3 finds item 4, 1; item 4 does not, 0 (its second column is not looked at); item 5 has R = 0
    assert map_at_r(neighbours, labels) == pytest.approx((1 + 1 / 4 + 1 / 2 + 1 + 0) / 5)


@every_tree
@pytest.mark.parametrize("block", [7, 1024])
def test_map_at_r_against_a_loop(monkeypatch, tree, block):
    monkeypatch.setattr(hiercl.metrics.retrieval, "BLOCK", block)
    features, leaves = random_items(tree)
    neighbours = nearest_neighbours(features, k=59)
    for level in range(tree.levels):
        labels = tree.labels_at(leaves, level)
        assert map_at_r(neighbours, labels) == pytest.approx(slow_map_at_r(neighbours, labels))
        largest_r = np.bincount(labels).max() - 1
        assert map_at_r(neighbours[:, :largest_r], labels) == map_at_r(neighbours, labels)


@pytest.mark.parametrize("at_once", [300, 2**25])
def test_searched_block_by_block_the_scores_are_the_same_bits(monkeypatch, at_once):
    monkeypatch.setattr(arrays, "AT_ONCE", at_once)
    monkeypatch.setattr(arrays, "LEAST_ROWS", 1)
    tree = TREES[-1]
    features, leaves = random_items(tree)
    neighbours, paths = nearest_neighbours(features, k=59), tree.ancestors[leaves]
    found = retrieve(features, paths, k=7)
    assert torch.equal(found.nearest, neighbours[:, :7]) and found.items.tolist() == list(range(60))
    assert found.map_at_r == tuple(map_at_r(neighbours, column) for column in paths.T)
    some = retrieve(features, paths, k=7, sample=9, seed=1)
    assert torch.equal(some.nearest, neighbours[some.items, :7]) and len(set(some.items.tolist())) == 9
    alone = [(level, slow_map_at_r_of(some.items.tolist(), neighbours, paths[:, level])) for level in range(3)]
    assert all(some.map_at_r[level] == pytest.approx(score) for level, score in alone)
    near, leaves = some.nearest, tree.labels_at(leaves, 2)
    heights = [[lca(tree, leaves[q], leaves[j]) for j in row] for q, row in zip(some.items, near.tolist(), strict=True)]
    assert hierarchical_distance_at_k(near, leaves, tree, 2, 7, some.items) == pytest.approx(np.mean(heights))


def slow_map_at_r_of(queries, neighbours, labels) -> float:
    """The mean of the queries that have another item of their class."""
    scores = []
    for query in queries:
        r = (labels == labels[query]).sum() - 1
        hits = labels[neighbours[query, :r].numpy()] == labels[query]
        if r:
            scores.append((np.cumsum(hits) / np.arange(1, r + 1))[hits].sum() / r)
    return float(np.mean(scores))


def lca(tree, a, b) -> int:
    """Levels below the lowest common ancestor of two leaves of a tree without early leaves."""
    return int((tree.ancestors[a] != tree.ancestors[b]).sum())


def test_memory_does_not_grow_with_the_largest_class():
    """With two classes, every query has 3,000 relevant others: a table of them all would be 144 MB of numbers."""
    features = torch.randn(6000, 4, generator=torch.Generator().manual_seed(0))
    widest = 0

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal widest
            out = function(*args, **(kwargs or {}))
            widest = max(widest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with pytest.MonkeyPatch.context() as patch, Watching():
        patch.setattr(arrays, "AT_ONCE", 2**19)
        assert 0.49 < retrieve(features, np.arange(6000) % 2, sample=300).map_at_r[0] * 2 < 0.51
    assert widest <= 2**20


def test_map_at_r_of_random_neighbours_is_its_expected_value():
    n, classes = 600, 5
    r = n // classes - 1
    by_chance = expected_by_chance(r, n)
    assert map_at_r(random_order(n), np.arange(n) % classes) == pytest.approx(by_chance, rel=0.03)
    noise = torch.randn(n, 64, generator=torch.Generator().manual_seed(0))
    assert map_at_r(nearest_neighbours(noise, k=r), np.arange(n) % classes) == pytest.approx(by_chance, rel=0.1)
    p, harmonic = r / (n - 1), sum(1 / i for i in range(1, r + 1))
    assert p**2 + p * (1 - p) * harmonic / r == pytest.approx(by_chance, rel=0.01)  # as the docstring says


def test_map_at_r_of_one_class_and_of_single_items():
    neighbours = random_order(5)
    assert map_at_r(neighbours, np.zeros(5, dtype=np.int64)) == 1.0
    assert math.isnan(map_at_r(neighbours, np.arange(5)))
    # two items of one class and three alone: only the two are queries
    expected = np.mean([neighbours[0, 0] == 1, neighbours[1, 0] == 0])
    assert map_at_r(neighbours, np.array([9, 9, 0, 1, 2])) == expected


def test_map_at_r_at_the_size_of_a_test_set_is_quick():
    """A dense loop over the 1.2 million neighbours takes minutes; this takes a fraction of a second."""
    import time

    neighbours = torch.randint(4999, (5000, 249), generator=torch.Generator().manual_seed(0))
    neighbours += neighbours >= torch.arange(5000)[:, None]  # no item itself
    start = time.process_time()
    map_at_r(neighbours, np.arange(5000) % 20)
    assert time.process_time() - start < 5


# ---- hierarchical distance ----


def climb(tree: Hierarchy, level: int, a: int, b: int) -> int:
    """Height of the lowest common ancestor: one step up from both nodes at a time until they meet."""
    height = 0
    while a != b:
        a, b = tree.parent(level)[a], tree.parent(level)[b]  # at level 0 both become 0, the root
        level, height = level - 1, height + 1
    return height


def test_hierarchical_distance_by_hand():
    tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
    labels = np.array([0, 0, 1, 2])  # cat, cat, dog, car
    neighbours = torch.tensor([[1, 3], [2, 0], [0, 1], [2, 0]])
    # first neighbours: cat 0, dog 1, cat 1, dog 2; second: car 2, cat 0, cat 1, cat 2
    assert hierarchical_distance_at_k(neighbours, labels, tree, level=1, k=1) == (0 + 1 + 1 + 2) / 4
    assert hierarchical_distance_at_k(neighbours, labels, tree, level=1, k=2) == (4 + 2 + 0 + 1 + 2) / 8
    # at level 0: the share of neighbours of the other kind
    assert hierarchical_distance_at_k(neighbours, np.array([0, 0, 0, 1]), tree, level=0, k=1) == 1 / 4


@every_tree
def test_hierarchical_distance_against_a_loop(tree):
    features, leaves = random_items(tree)
    neighbours = nearest_neighbours(features, k=10)
    for level in range(tree.levels):
        labels = tree.labels_at(leaves, level)
        for k in (1, 4, 10):
            heights = [
                climb(tree, level, labels[q], labels[j]) for q, row in enumerate(neighbours.tolist()) for j in row[:k]
            ]
            ours = hierarchical_distance_at_k(neighbours, labels, tree, level, k)
            assert ours == pytest.approx(sum(heights) / len(heights))


def test_hierarchical_distance_of_random_neighbours():
    """All others as neighbours: the mean over all pairs of items, whatever their order."""
    tree = branching_hierarchy(3, seed=3)
    leaves = random_items(tree, n=40)[1]
    pairs = [climb(tree, 2, leaves[i], leaves[j]) for i in range(40) for j in range(40) if i != j]
    assert hierarchical_distance_at_k(random_order(40), leaves, tree, 2, k=39) == pytest.approx(np.mean(pairs))
    assert hierarchical_distance_at_k(random_order(40), leaves, tree, 2, k=20) == pytest.approx(np.mean(pairs), abs=0.1)


# ---- embeddings whose scores are known ----


@every_tree
def test_a_perfect_embedding(tree):
    """One-hot features of the leaf: every other item of the class comes first."""
    leaves = np.tile(np.arange(tree.n_leaves), 4)
    neighbours = nearest_neighbours(torch.eye(tree.n_leaves)[leaves], k=len(leaves) - 1)
    assert map_at_r(neighbours, leaves) == 1.0
    for k in (1, 3):
        assert hierarchical_distance_at_k(neighbours, leaves, tree, tree.levels - 1, k) == 0.0
    # the fourth neighbour must be of another class: its height is at least 1
    assert hierarchical_distance_at_k(neighbours, leaves, tree, tree.levels - 1, k=4) >= 1 / 4


def test_an_embedding_that_knows_the_tree_is_perfect_at_every_level():
    """One-hot features of every ancestor, side by side: similarity grows with the level of the common ancestor."""
    tree = branching_hierarchy(3, seed=4)
    leaves = np.tile(np.arange(tree.n_leaves), 3)
    features = torch.cat([torch.eye(tree.sizes[lv])[tree.labels_at(leaves, lv)] for lv in range(3)], dim=1)
    neighbours = nearest_neighbours(features, k=len(leaves) - 1)
    assert [map_at_r(neighbours, tree.labels_at(leaves, level)) for level in range(3)] == [1.0, 1.0, 1.0]


def test_an_inverted_embedding():
    """Every item coincides with one item of each of the two other kinds, and is orthogonal to all of its own kind."""
    tree = Hierarchy.from_dict({kind: {"x": [f"{kind}1"], "y": [f"{kind}2"]} for kind in "abc"})
    leaves = np.repeat(np.arange(6), 3)  # three items of each, so R = 2; six of each kind
    neighbours = nearest_neighbours(torch.eye(6).repeat(3, 1), k=2)
    assert map_at_r(neighbours, leaves) == 0.0
    for level in range(3):
        labels = tree.labels_at(leaves, level)
        assert hierarchical_distance_at_k(neighbours, labels, tree, level, k=2) == level + 1


# ---- invariances and errors ----


def test_neither_the_order_of_items_nor_the_names_of_classes_matter():
    tree = branching_hierarchy(2, seed=5)
    features, leaves = random_items(tree, n=50)
    order = np.random.default_rng(0).permutation(50)
    before, after = nearest_neighbours(features, k=49), nearest_neighbours(features[order], k=49)
    assert map_at_r(after, leaves[order]) == pytest.approx(map_at_r(before, leaves))
    assert map_at_r(before, 1000 - 7 * leaves) == map_at_r(before, leaves)
    distances = [
        hierarchical_distance_at_k(neighbours, labels, tree, 1, k=5)
        for neighbours, labels in ((before, leaves), (after, leaves[order]))
    ]
    assert distances[0] == pytest.approx(distances[1])


GOOD = torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]])
OWN = torch.tensor([[1, 2], [0, 2], [2, 1], [0, 3]])
KINDS = Hierarchy.from_dict(["a", "b"])


@pytest.mark.parametrize(
    ("neighbours", "labels", "message"),
    [
        (GOOD, np.zeros(3, dtype=np.int64), r"\(4, 2\) and labels \(3,\)"),
        (GOOD[0], np.zeros(2, dtype=np.int64), r"neighbours are \(2,\)"),
        (GOOD[:0], np.zeros(0, dtype=np.int64), "not empty"),
        (GOOD + 2, np.zeros(4, dtype=np.int64), "from 2 to 4, but the items are 0 to 3"),
        (GOOD - 1, np.zeros(4, dtype=np.int64), "from -1 to 1"),
        (OWN, np.zeros(4, dtype=np.int64), r"2 items are their own neighbours \(the first is item 2\)"),
    ],
)
def test_wrong_neighbours_are_named(neighbours, labels, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(map_at_r)(neighbours, labels)  # as users run it: without the checks of the annotations
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(hierarchical_distance_at_k)(neighbours, labels, KINDS, 0, 1)


def test_too_few_neighbours_are_named():
    with pytest.raises(ValueError, match=r"the largest class has 4 items: call nearest_neighbours\(features, k=3\)"):
        map_at_r(GOOD, np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match=r"k=3 with 2 neighbours"):
        hierarchical_distance_at_k(GOOD, np.zeros(4, dtype=np.int64), KINDS, level=0, k=3)
    with pytest.raises(ValueError, match="k=0"):
        hierarchical_distance_at_k(GOOD, np.zeros(4, dtype=np.int64), KINDS, level=0, k=0)
    with pytest.raises(ValueError, match="2 is no node at level 0"):
        hierarchical_distance_at_k(GOOD, np.array([0, 1, 2, 0]), KINDS, level=0, k=1)
