"""Predictions against the hierarchy: loops from the equations, numbers worked out by hand, scikit-learn, hiclass."""

import inspect
import math

import numpy as np
import pytest
import torch
from support.trees import branching_hierarchy

from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.metrics.mistakes import (
    accuracy,
    ancestor_paths,
    balanced_accuracy,
    flat,
    hierarchical_precision_recall_f1,
    lca_height,
    mistake_height,
    parent_agreement,
    rare_recall,
    stop_where_unsure,
    top_down,
)

# leaves: lion 0, tiger 1, wolf 2, car 3, bus 4, plane 5; level 1: cat 0, dog 1, road 2, air 3; level 0: animal, vehicle
TREE = Hierarchy.from_dict(
    {"animal": {"cat": ["lion", "tiger"], "dog": ["wolf"]}, "vehicle": {"road": ["car", "bus"], "air": ["plane"]}}
)


def random_nodes(size: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are right about half the time, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(size, size=n)
    return np.where(rng.random(n) < 0.5, truth, rng.integers(size, size=n)), truth


def random_paths(tree: Hierarchy, stopping: str) -> list[np.ndarray]:
    """Predicted and true paths; those that are stopping end after a random number of levels, also after none."""
    paths, rng = [flat(leaves, tree) for leaves in random_nodes(tree.n_leaves, 150, seed=4)], np.random.default_rng(5)
    for i in {"none": (), "predicted": (0,), "both": (0, 1)}[stopping]:
        lengths = rng.integers(0, tree.levels + 1, size=150)
        paths[i] = np.where(np.arange(tree.levels) < lengths[:, None], paths[i], -1)
    return paths


def climb(tree: Hierarchy, level: int, a: int, b: int) -> int:
    """Height of the lowest common ancestor: one step up from both nodes at a time until they meet."""
    height = 0
    while a != b:
        a, b = tree.parent(level)[a], tree.parent(level)[b]  # at level 0 both become 0, the root
        level, height = level - 1, height + 1
    return height


TREES = [branching_hierarchy(levels, seed) for levels in (1, 2, 3) for seed in (0, 1)]
every_tree = pytest.mark.parametrize("tree", TREES)
hP = hierarchical_precision_recall_f1


# ---- accuracy and balanced accuracy ----


def test_accuracies_by_hand():
    truth, predicted = np.array([0, 0, 0, 0, 2, 2]), np.array([0, 0, 0, 1, 2, 0])
    assert accuracy(predicted, truth) == pytest.approx(4 / 6)
    assert balanced_accuracy(predicted, truth) == pytest.approx((3 / 4 + 1 / 2) / 2)  # class 1 is not in the truth


@every_tree
def test_accuracies_against_loops_and_scikit_learn(tree):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    predicted, truth = random_nodes(tree.n_leaves, 200, seed=3)
    recalls = []
    for c in set(truth.tolist()):
        of_class = [p for p, t in zip(predicted, truth, strict=True) if t == c]
        recalls.append(sum(p == c for p in of_class) / len(of_class))
    assert accuracy(predicted, truth) == pytest.approx(sum(predicted == truth) / 200)
    assert accuracy(predicted, truth) == pytest.approx(accuracy_score(truth, predicted))
    assert balanced_accuracy(predicted, truth) == pytest.approx(sum(recalls) / len(recalls))
    assert balanced_accuracy(predicted, truth) == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_balanced_accuracy_does_not_reward_guessing_the_frequent_class():
    truth = np.array([0] * 97 + [1, 2, 3])
    assert accuracy(np.zeros(100, dtype=np.int64), truth) == 0.97
    assert balanced_accuracy(np.zeros(100, dtype=np.int64), truth) == 0.25


def test_accuracies_of_random_predictions():
    rng = np.random.default_rng(0)
    truth, predicted = rng.permutation(np.repeat([0, 1, 2, 3], [5000, 3000, 1500, 500])), rng.integers(4, size=10_000)
    assert accuracy(predicted, truth) == pytest.approx(0.25, abs=0.02)
    assert balanced_accuracy(predicted, truth) == pytest.approx(0.25, abs=0.03)


def test_one_class_alone():
    truth = np.full(5, 7)
    assert accuracy(truth, truth) == balanced_accuracy(truth, truth) == 1.0
    assert accuracy(truth + 1, truth) == balanced_accuracy(truth + 1, truth) == 0.0


# ---- hierarchical precision, recall, F1 ----


def test_hierarchical_scores_by_hand():
    truth = flat(np.array([0, 2, 5]), TREE)
    predicted = flat(np.array([1, 3, 5]), TREE)
    predicted[2, 2] = -1  # stops at "air"
    # lion as tiger: {animal, cat} of 3 are shared; wolf as car: none; plane as air: {vehicle, air}
    # shared 2 + 0 + 2 = 4; predicted 3 + 3 + 2 = 8; true 3 + 3 + 3 = 9
    precision, recall, f1 = hP(predicted, truth)
    assert (precision, recall) == (4 / 8, 4 / 9)
    assert f1 == pytest.approx(2 * (4 / 8) * (4 / 9) / (4 / 8 + 4 / 9))
    # at level 1: 2 + 0 + 2 of 2 + 2 + 2, and of as many
    assert hP(predicted[:, :2], truth[:, :2]) == pytest.approx((4 / 6, 4 / 6, 4 / 6))


@every_tree
@pytest.mark.parametrize("stopping", ["none", "predicted", "both"])
def test_hierarchical_scores_against_a_loop(tree, stopping):
    predicted, truth = random_paths(tree, stopping)
    shared = predicted_nodes = true_nodes = 0
    for p, t in zip(predicted, truth, strict=True):
        p = {(level, node) for level, node in enumerate(p) if node != -1}
        t = {(level, node) for level, node in enumerate(t) if node != -1}
        shared, predicted_nodes, true_nodes = shared + len(p & t), predicted_nodes + len(p), true_nodes + len(t)
    precision, recall = shared / predicted_nodes, shared / true_nodes
    ours = hP(predicted, truth)
    assert ours == pytest.approx((precision, recall, 2 * precision * recall / (precision + recall)))
    if stopping == "none":
        assert ours.precision == ours.recall == pytest.approx(ours.f1)
        by_level = [accuracy(predicted[:, level], truth[:, level]) for level in range(tree.levels)]
        assert ours.precision == pytest.approx(np.mean(by_level))


@every_tree
@pytest.mark.parametrize("stopping", ["none", "predicted", "both"])
def test_hierarchical_scores_against_hiclass(tree, stopping):
    theirs = pytest.importorskip("hiclass.metrics")
    predicted, truth = random_paths(tree, stopping)
    as_names = [  # hiclass tells nodes apart by their value alone, and leaves out ""
        np.array([[f"{level}:{node}" if node >= 0 else "" for level, node in enumerate(path)] for path in paths])
        for paths in (truth, predicted)
    ]
    scores = [score(*as_names, average="micro") for score in (theirs.precision, theirs.recall, theirs.f1)]
    assert hP(predicted, truth) == pytest.approx(scores)


def test_stopping_early_saves_precision_and_costs_recall():
    truth, wrong = flat(np.array([0] * 4), TREE), flat(np.array([1] * 4), TREE)  # tigers for lions
    stopped = wrong.copy()
    stopped[:, 2] = -1
    assert hP(wrong, truth) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert hP(stopped, truth) == pytest.approx((1, 2 / 3, 4 / 5))


def test_a_perfect_an_inverted_and_an_empty_prediction():
    truth = flat(np.arange(6), TREE)
    assert hP(truth, truth) == (1, 1, 1)
    inverted = flat(np.array([3, 4, 5, 0, 1, 2]), TREE)  # every animal a vehicle, every vehicle an animal
    assert hP(inverted, truth) == (0, 0, 0)
    nothing = hP(np.full_like(truth, -1), truth)
    assert math.isnan(nothing.precision) and nothing[1:] == (0, 0)


def test_wrong_paths_are_named():
    truth = flat(np.arange(3), TREE)
    with pytest.raises(ValueError, match=r"predicted\[1\] is \[0, -1, 1\]"):
        hP(np.array([[0, 0, 0], [0, -1, 1], [0, 1, 2]]), truth)
    with pytest.raises(ValueError, match="holds the id -2"):
        hP(truth - 2, truth)
    with pytest.raises(ValueError, match="truth is −1 everywhere"):
        hP(truth, np.full_like(truth, -1))


# ---- heights ----


@every_tree
def test_paths_and_heights_against_climbing(tree):
    for level in range(tree.levels):
        paths, nodes = ancestor_paths(tree, level), np.arange(tree.sizes[level])
        assert paths.shape == (tree.sizes[level], level + 1)
        for node in nodes:
            for above in range(level, 0, -1):
                assert paths[node, above - 1] == tree.parent(above)[paths[node, above]]
        heights = lca_height(nodes[:, None], nodes[None, :], tree, level)
        assert heights.tolist() == [[climb(tree, level, a, b) for b in nodes] for a in nodes]


def test_heights_of_leaves_follow_lca_level():
    tree, leaves = branching_hierarchy(3, seed=2), np.arange(branching_hierarchy(3, seed=2).n_leaves)
    pairs = leaves[:, None], leaves[None, :]
    assert (lca_height(*pairs, tree, 2) == 2 - tree.lca_level(*pairs)).all()


def test_mistake_height_by_hand():
    truth = np.array([0, 0, 0, 0, 3])
    predicted = np.array([0, 1, 2, 3, 5])
    # lion as lion, tiger (height 1), wolf (2), car (3); car as plane (2): (1 + 2 + 3 + 2) / 4
    assert mistake_height(predicted, truth, TREE, level=2) == 2.0
    # one level up: cat as cat, cat, dog (1), road (2); road as air (1): (1 + 2 + 1) / 3
    up = [TREE.labels_at(leaves, 1) for leaves in (predicted, truth)]
    assert mistake_height(*up, TREE, level=1) == pytest.approx(4 / 3)


@every_tree
def test_mistake_height_against_a_loop(tree):
    for level in range(tree.levels):
        predicted, truth = random_nodes(tree.sizes[level], 150, seed=level)
        heights = [climb(tree, level, p, t) for p, t in zip(predicted, truth, strict=True) if p != t]
        assert mistake_height(predicted, truth, tree, level) == pytest.approx(sum(heights) / len(heights))


def test_mistake_heights_of_perfect_sibling_random_and_inverted_predictions():
    truth = np.arange(6)
    assert math.isnan(mistake_height(truth, truth, TREE, level=2))
    assert mistake_height(np.array([1, 0, 2, 4, 3, 5]), truth, TREE, level=2) == 1.0
    inverted = np.array([3, 4, 5, 0, 1, 2])
    for level in range(3):
        assert mistake_height(*(TREE.labels_at(x, level) for x in (inverted, truth)), TREE, level) == level + 1
    # Random: the mean over all pairs of different leaves. Of the 30 ordered ones 4 share a group (height 1), 8 only
    # the kind (2), and 18 nothing (3).
    rng = np.random.default_rng(0)
    random = mistake_height(rng.integers(6, size=20_000), rng.integers(6, size=20_000), TREE, level=2)
    assert random == pytest.approx((4 * 1 + 8 * 2 + 18 * 3) / 30, abs=0.03)


# ---- agreement between levels ----


def test_parent_agreement_by_hand():
    coarse, fine = np.array([0, 1, 2, 3]), np.array([1, 0, 4, 5])  # cat tiger, dog lion, road bus, air plane
    assert parent_agreement(coarse, fine, TREE, level=2) == 3 / 4


@every_tree
def test_parent_agreement_against_a_loop(tree):
    for level in range(1, tree.levels):
        rng = np.random.default_rng(level)
        coarse, fine = rng.integers(tree.sizes[level - 1], size=100), rng.integers(tree.sizes[level], size=100)
        fits = [f in tree.children(level - 1, c) for c, f in zip(coarse, fine, strict=True)]
        assert parent_agreement(coarse, fine, tree, level) == pytest.approx(sum(fits) / 100)


def test_paths_agree_and_shifted_paths_do_not():
    paths = flat(np.arange(6), TREE)
    assert parent_agreement(paths[:, 1], paths[:, 2], TREE, level=2) == 1.0
    assert parent_agreement(1 - paths[:, 0], paths[:, 1], TREE, level=1) == 0.0
    with pytest.raises(ValueError, match="level 0 has no predictions above"):
        parent_agreement(paths[:, 0], paths[:, 0], TREE, level=0)


# ---- top down and flat ----


@every_tree
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_top_down_against_a_walk(tree, kind):
    rng = np.random.default_rng(6)
    scores = [rng.normal(size=(40, size)).astype(np.float32) for size in tree.sizes]
    expected = []
    for i in range(40):
        path = [max(range(tree.sizes[0]), key=lambda node, i=i: scores[0][i, node])]
        for level in range(1, tree.levels):
            children = tree.children(level - 1, path[-1])
            path.append(max(children, key=lambda node, i=i, level=level: scores[level][i, node]))
        expected.append(path)
    given = [torch.from_numpy(s) for s in scores] if kind == "torch" else scores
    paths = top_down(given, tree)
    assert paths.tolist() == np.array(expected).tolist()
    assert (flat(paths[:, -1], tree) == paths).all()  # every row is a path of the tree


@every_tree
def test_flat_climbs_to_the_ancestors(tree):
    leaves = np.random.default_rng(7).integers(tree.n_leaves, size=30)
    paths = flat(leaves, tree)
    assert (paths[:, -1] == leaves).all()
    for level in range(1, tree.levels):
        assert (paths[:, level - 1] == tree.parent(level)[paths[:, level]]).all()


def test_a_descent_cannot_take_a_coarse_mistake_back():
    vehicle = np.array([[0.1, 0.9]])
    groups = np.array([[0.9, 0.0, 0.1, 0.2]])  # the best, cat, is not below vehicle; of its children air is
    leaves = np.array([[0.9, 0.0, 0.0, 0.5, 0.0, -np.inf]])  # plane is air's only child, however unlikely
    assert top_down([vehicle, groups, leaves], TREE).tolist() == [[1, 3, 5]]
    assert flat(leaves.argmax(axis=1), TREE).tolist() == [[0, 0, 0]]


def test_children_are_chosen_where_every_score_is_minus_infinity():
    impossible = [np.array([[0.0, 1.0]]), np.full((1, 4), -np.inf), np.full((1, 6), -np.inf)]
    assert top_down(impossible, TREE).tolist() == [[1, 2, 3]]  # the lowest id among the children


def test_wrong_scores_are_named():
    scores = [np.zeros((5, size)) for size in TREE.sizes]
    with pytest.raises(ValueError, match="scores are 2 tables for 3 levels"):
        top_down(scores[:2], TREE)
    with pytest.raises(ValueError, match=r"level 1 are \(5, 2\)"):
        top_down([scores[0], scores[0], scores[2]], TREE)
    with pytest.raises(ValueError, match=r"level 2 are \(4, 6\)"):
        top_down([*scores[:2], scores[2][:4]], TREE)
    scores[1][2, 3] = np.nan
    with pytest.raises(ValueError, match="level 1 is NaN"):
        top_down(scores, TREE)
    with pytest.raises(ValueError, match="6"):
        flat(np.array([0, 6]), TREE)


# ---- invariances and errors ----


def test_neither_the_order_of_items_nor_the_ids_of_nodes_matter():
    tree, rng = branching_hierarchy(3, seed=8), np.random.default_rng(8)
    new = [rng.permutation(size) for size in tree.sizes]  # new id of every node
    renamed = np.stack([new[level][tree.ancestors[:, level]] for level in range(3)], axis=1)
    other = Hierarchy.from_ancestors(renamed[np.argsort(renamed[:, -1])])
    order = rng.permutation(100)
    p, t = (flat(leaves, tree) for leaves in random_nodes(tree.n_leaves, 100, seed=9))
    p2, t2 = (np.stack([new[level][x[order, level]] for level in range(3)], axis=1) for x in (p, t))
    assert hP(p2, t2) == hP(p, t)
    for level in range(3):
        a, b, a2, b2 = p[:, level], t[:, level], p2[:, level], t2[:, level]
        assert mistake_height(a2, b2, other, level) == pytest.approx(mistake_height(a, b, tree, level))
        assert accuracy(a2, b2) == accuracy(a, b)
        assert balanced_accuracy(a2, b2) == pytest.approx(balanced_accuracy(a, b))
    agreement = parent_agreement(t[:, 1], p[:, 2], tree, 2)
    assert 0 < agreement < 1
    assert parent_agreement(t2[:, 1], p2[:, 2], other, 2) == agreement


ids = np.arange(4)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (accuracy, (ids, ids[:3]), r"\(4,\) and \(3,\)"),
        (accuracy, (ids[:0], ids[:0]), "at least 1"),
        (balanced_accuracy, (ids[None], ids[None]), r"both must be \[n\]"),
        (hP, (ids[None], ids[None, :3]), r"\(1, 4\) and truth \(1, 3\)"),
        (hP, (ids, ids), "both must be"),
        (accuracy, (ids.astype(str), ids), "names for both, or numbers for both"),
        (balanced_accuracy, (ids.astype(str), ids), "names for both, or numbers for both"),
        (hP, (np.array([[0, 0, 0], [0, 2, 4]]), flat(np.arange(2), TREE), TREE), r"row 1 is \[0, 2, 4\]"),
        (hP, (flat(np.arange(2), TREE), np.array([[0, 0, 0], [1, 0, -1]]), TREE), r"parent of node 0 of level 1 is 0"),
        (mistake_height, (ids, ids[:2], TREE, 2), r"\(4,\) and \(2,\)"),
        (mistake_height, (ids, ids, TREE, 3), "no level 3"),
        (mistake_height, (ids, ids, TREE, -1), "no level -1"),
        (mistake_height, (ids, ids, TREE, 0), "2 is no node at level 0"),
        (mistake_height, (ids - 1, ids, TREE, 2), "-1 is no node"),
        (parent_agreement, (ids, ids[:2], TREE, 2), r"\(4,\) and \(2,\)"),
        (parent_agreement, (ids, ids, TREE, 1), "2 is no node at level 0"),
    ],
)
def test_wrong_input_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(function)(*arguments)  # as users run it: without the checks of the annotations


# -- stop_where_unsure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("least", [0.0, 0.4, 0.7, 1.0])
def test_stop_where_unsure_against_a_loop(seed, least):
    rng = np.random.default_rng(seed)
    sizes = (3, 5, 9)
    tables = [rng.random((20, size)) for size in sizes]
    paths = np.stack([rng.integers(0, size, 20) for size in sizes], axis=1)
    expected = paths.copy()
    for i in range(20):
        for level in range(3):
            if tables[level][i, paths[i, level]] < least:
                expected[i, level:] = -1
                break
    assert (stop_where_unsure(paths, tables, least) == expected).all()


def test_stopping_saves_precision_and_costs_recall():
    # sure of the first item and right; unsure of the leaf of the second, where the guess 2 would have been wrong
    tree = Hierarchy.from_dict({"a": ["x", "y"], "b": ["z"]})
    scores = [np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3]])]
    truth = np.array([[0, 0], [0, 1]])
    descents = top_down(scores, tree)
    always = hierarchical_precision_recall_f1(descents, truth)
    stopped = hierarchical_precision_recall_f1(stop_where_unsure(descents, scores), truth)
    assert always == pytest.approx((0.75, 0.75, 0.75))  # nodes right: 2 and 1, of 4 predicted and 4 true
    assert stopped == pytest.approx((1.0, 0.75, 6 / 7))  # 3 of 3 predicted, of 4 true


def test_stop_where_unsure_needs_a_table_a_level():
    with pytest.raises(ValueError, match="probabilities are 1 tables for 2 levels"):
        stop_where_unsure(np.array([[0, 1]]), [np.array([[0.6, 0.4]])])


# -- rare_recall --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "rare"),
    [
        ([9, 8, 7, 6, 5, 4], [4, 5]),
        ([9, 8, 7, 6, 5, 5], [4, 5]),
        ([9, 5, 5, 5, 5, 5], [1, 2, 3, 4, 5]),  # as few items as the last of the third
        ([3, 2], [1]),
    ],
)
def test_rare_recall_is_of_the_third_with_the_fewest_items(items, rare):
    recall = np.random.default_rng(0).random(len(items))
    assert rare_recall(recall, np.array(items)) == pytest.approx(np.mean(recall[rare]))


def test_rare_recall_of_classes_that_the_test_set_does_not_have():
    items = np.array([9, 1, 1])
    assert rare_recall(np.array([0.5, np.nan, 0.25]), items) == 0.25
    assert math.isnan(rare_recall(np.array([0.5, np.nan, np.nan]), items))


def test_copies_that_carry_an_early_leaf_down_do_not_count():
    """z and w end at level 1, u at level 0: their copies at the levels below are no nodes, and no distance."""
    tree = Hierarchy.from_dict({"A": {"A1": ["x", "y"], "A2": ["v"]}, "B": ["z", "w"], "u": None})
    x, y, v, z, w, u = range(6)
    pairs = {(x, y): 1, (x, v): 2, (z, w): 1, (x, z): 3, (u, w): 3, (u, u): 0}
    a, b = np.array(list(pairs)).T
    assert lca_height(a, b, tree, level=2).tolist() == list(pairs.values())
    truth, predicted = tree.ancestors[[z, x, u]], tree.ancestors[[w, y, u]]
    found = hP(predicted, truth, tree)  # right: B; A, A1; u. Nodes of each side: 2, 3 and 1
    assert found.precision == found.recall == found.f1 == 4 / 6
    assert hP(predicted[:, :2], truth[:, :2], tree).f1 == 4 / 5  # x and y lie below
    assert hP(predicted, truth).f1 == 6 / 9
    stopped = np.where(np.arange(3) < 2, predicted, -1)
    assert hP(stopped, truth, tree).precision == 4 / 5
