"""A learned tree against the true hierarchy: its nodes and its edges, against loops and trees made by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from support.trees import code, random_hierarchy

from hiercl.clustering.prototypes import PrototypeTree
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.metrics.tree_agreement import respected_edges, tree_agreement

EDGE_COLUMNS = ["prototypes", "level", "parent_level", "edges", "respected", "weighted"]


def made_of(finest, *parents) -> PrototypeTree:
    """A tree from the finest prototype of every item, and every prototype's parent, the finest level's first."""
    path = [torch.as_tensor(finest)]
    parents = [torch.as_tensor(parent) for parent in parents]
    for parent in parents:
        path.append(parent[path[-1]])
    sizes = [int(path[-1].max()) + 1, *(len(parent) for parent in parents[::-1])]
    if not parents:
        sizes = [int(path[0].max()) + 1]
    return PrototypeTree(
        centroids=tuple(torch.eye(size) for size in sizes),
        concentration=tuple(torch.ones(size) for size in sizes),
        parent=(torch.zeros(sizes[0], dtype=torch.long), *parents[::-1]),
        assignment=torch.stack(path[::-1], dim=1),
        closeness=torch.ones(len(path[0]), len(sizes)),
    )


def random_tree(levels: int, items: int = 80, seed: int = 0) -> PrototypeTree:
    """Prototypes of unequal sizes; the last one of the finest level, and one more, have no members."""
    rng = np.random.default_rng(seed)
    sizes = [3, 7, 15][3 - levels :]
    finest = rng.choice(sizes[-1] - 1, size=items, p=rng.dirichlet(np.ones(sizes[-1] - 1)))
    finest[finest == 1] = 0
    parents = [np.concatenate([np.arange(a), rng.integers(a, size=b - a)]) for a, b in pairwise(sizes)]
    return made_of(finest, *parents[::-1])


def count(labels) -> dict[int, int]:
    return {label: labels.count(label) for label in set(labels)}


def majority(labels) -> int:
    counts = count(labels)
    return min(label for label in counts if counts[label] == max(counts.values()))


def members(tree, level, node, truth) -> list[int]:
    return [y for y, path in zip(truth.tolist(), tree.assignment.tolist(), strict=True) if path[level] == node]


def slow_agreement(tree, labels, hierarchy):
    from sklearn.metrics import adjusted_mutual_info_score

    rows = []
    for prototypes in range(tree.levels):
        for level in range(hierarchy.levels):
            truth = hierarchy.ancestors[labels, level]
            most = [members(tree, prototypes, node, truth) for node in range(tree.sizes[prototypes])]
            purity = sum(max(count(own).values()) for own in most if own) / len(labels)
            ami = adjusted_mutual_info_score(tree.assignment[:, prototypes].numpy(), truth)
            names = hierarchy.level_names[level], hierarchy.sizes[level]
            rows.append([prototypes, tree.sizes[prototypes], *names, pytest.approx(ami), pytest.approx(purity)])
    return rows


def slow_edges(tree, labels, hierarchy):
    rows = []
    for child_level in range(1, tree.levels):
        for fine in range(hierarchy.levels):
            for coarse in range(fine + 1):
                agree, weight = [], []
                for child in range(tree.sizes[child_level]):
                    own = members(tree, child_level, child, hierarchy.ancestors[labels, fine])
                    if not own:
                        continue
                    parent = int(tree.parent[child_level][child])
                    above = majority(members(tree, child_level - 1, parent, hierarchy.ancestors[labels, coarse]))
                    leaf = hierarchy.ancestors[:, fine].tolist().index(majority(own))  # any leaf below it
                    agree.append(hierarchy.ancestors[leaf, coarse] == above)
                    weight.append(len(own))
                weighted = sum(w for w, a in zip(weight, agree, strict=True) if a) / sum(weight)
                names = hierarchy.level_names[fine], hierarchy.level_names[coarse]
                shares = pytest.approx(sum(agree) / len(agree)), pytest.approx(weighted)
                rows.append([child_level, *names, len(agree), *shares])
    return rows


# ---- against loops ----

CASES = [(a, b, seed) for a in (1, 2, 3) for b in (1, 2, 3) for seed in (0, 1)]


@pytest.mark.parametrize(("tree_levels", "levels", "seed"), CASES)
def test_against_loops(tree_levels, levels, seed):
    tree, hierarchy = random_tree(tree_levels, seed=seed), random_hierarchy(levels, seed)
    labels = np.random.default_rng(seed).integers(hierarchy.n_leaves, size=80)
    labels[:40] = tree.assignment[:40, -1].numpy() % hierarchy.n_leaves  # half of them agree with the tree
    agreement, edges = tree_agreement(tree, labels, hierarchy), respected_edges(tree, labels, hierarchy)
    assert agreement.columns.tolist() == ["prototypes", "size", "level", "classes", "ami", "purity"]
    assert edges.columns.tolist() == EDGE_COLUMNS
    assert agreement.to_numpy().tolist() == slow_agreement(tree, labels, hierarchy)
    assert edges.to_numpy().tolist() == slow_edges(tree, labels, hierarchy)


def test_purity_against_the_contingency_matrix_of_scikit_learn_and_the_trees_own():
    from sklearn.metrics.cluster import contingency_matrix

    tree, hierarchy = random_tree(3), random_hierarchy(2)
    labels = np.random.default_rng(0).integers(9, size=80)
    table = tree_agreement(tree, labels, hierarchy).set_index(["prototypes", "level"])
    truth = hierarchy.labels_at(labels, 0)
    for level in range(3):
        expected = contingency_matrix(truth, tree.assignment[:, level].numpy()).max(axis=0).sum() / 80
        own = (tree.purity(torch.tensor(truth))[level].nan_to_num() * tree.counts(level)).sum() / 80
        assert table.loc[(level, "level 0"), "purity"] == pytest.approx(expected) == pytest.approx(float(own))


# ---- worked out by hand ----

ANIMALS = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car", "bus"]}, level_names=("kind", "class"))
CAT, DOG, CAR, BUS = range(4)


def test_a_tree_by_hand():
    #   0 = {0, 1}                         1 = {2, 3}, 4 empty
    #   0: cat cat dog    1: car car       2: bus    3: cat cat cat dog
    labels = np.array([CAT, CAT, DOG, CAR, CAR, BUS, CAT, CAT, CAT, DOG])
    tree = made_of([0, 0, 0, 1, 1, 2, 3, 3, 3, 3], [0, 0, 1, 1, 1])
    table = tree_agreement(tree, labels, ANIMALS).set_index(["prototypes", "level"])["purity"]
    assert table[1, "class"] == pytest.approx((2 + 2 + 1 + 3) / 10)
    assert table[1, "kind"] == pytest.approx((3 + 2 + 1 + 4) / 10)
    assert table[0, "class"] == pytest.approx((2 + 3) / 10)  # cat 2, car 2, dog 1; cat 3, bus 1, dog 1
    assert table[0, "kind"] == pytest.approx((3 + 4) / 10)

    edges = respected_edges(tree, labels, ANIMALS).set_index(["level", "parent_level"])
    assert len(edges) == 3 and (edges["prototypes"] == 1).all() and (edges["edges"] == 4).all()  # 4 is empty
    # Kinds: children animal, vehicle, vehicle, animal; parents animal, animal. Edges 0 and 3 agree, of 3 and 4 members.
    assert edges.loc[("kind", "kind"), ["respected", "weighted"]].tolist() == pytest.approx([2 / 4, 7 / 10])
    # Classes: children cat, car, bus, cat; parents cat (2 cats, 2 cars: the lower label), cat.
    assert edges.loc[("class", "class"), ["respected", "weighted"]].tolist() == pytest.approx([2 / 4, 7 / 10])
    assert edges.loc[("class", "kind"), ["respected", "weighted"]].tolist() == pytest.approx([2 / 4, 7 / 10])


def test_the_three_kinds_of_rows_ask_different_questions():
    """Child: 2 cats, 2 dogs, 3 cars: an animal by kind, a car by class. Its parent adds 5 buses: a vehicle, a bus."""
    labels = np.array([CAT, CAT, DOG, DOG, CAR, CAR, CAR] + [BUS] * 5)
    tree = made_of([0] * 7 + [1] * 5, [0, 0])
    edges = respected_edges(tree, labels, ANIMALS).set_index(["level", "parent_level"])["respected"]
    assert edges["kind", "kind"] == 1 / 2  # animal below a vehicle; vehicle below a vehicle
    assert edges["class", "class"] == 1 / 2  # car below a bus; bus below a bus
    assert edges["class", "kind"] == 1  # a car is a vehicle, a bus too


# ---- perfect and random trees ----


def test_the_true_tree_agrees_with_itself():
    hierarchy = random_hierarchy(3)
    labels = np.repeat(np.arange(12), 10)
    tree = made_of(labels, hierarchy.parent(2), hierarchy.parent(1))
    table = tree_agreement(tree, labels, hierarchy)
    same = table[table["prototypes"] == table["level"].map(hierarchy.level_names.index)]
    assert len(same) == 3 and same[["ami", "purity"]].to_numpy() == pytest.approx(1)
    edges = respected_edges(tree, labels, hierarchy)
    child, above = (edges[c].map(hierarchy.level_names.index) for c in ("level", "parent_level"))
    # All that these parents and children can know: 2 rows of the 5 middle nodes, 5 of the 12 leaves.
    matched = edges[(child <= edges["prototypes"]) & (above < edges["prototypes"])]
    assert len(matched) == 7 and (matched[["respected", "weighted"]] == 1).all(axis=None)
    assert len(edges) == 2 * 6 and (edges["respected"] < 1).any()  # a parent has one class, its children several


def test_a_fitted_tree_of_a_perfect_embedding():
    hierarchy = random_hierarchy(2)
    labels = np.repeat(np.arange(9), 20)
    noise = torch.randn(180, 12, generator=torch.Generator().manual_seed(0))
    tree = PrototypeTree.fit(code(hierarchy, labels) + 0.01 * noise, sizes=(3, 9), restarts=20)
    table = tree_agreement(tree, labels, hierarchy).set_index(["prototypes", "level"])
    assert table.loc[(1, "level 1"), ["ami", "purity"]].tolist() == pytest.approx([1, 1])
    assert table.loc[(0, "level 0"), ["ami", "purity"]].tolist() == pytest.approx([1, 1])
    edges = respected_edges(tree, labels, hierarchy).set_index(["level", "parent_level"])
    assert edges.loc[("level 1", "level 0"), ["respected", "weighted"]].tolist() == [1, 1]


def test_a_random_tree_does_not_agree():
    hierarchy = random_hierarchy(2)
    labels = np.random.default_rng(7).integers(9, size=2000)
    tree = random_tree(2, items=2000)
    assert tree_agreement(tree, labels, hierarchy)["ami"].abs().max() < 0.01


# ---- what must not matter ----


def test_order_of_items_and_numbers_of_nodes_do_not_matter():
    rng = np.random.default_rng(3)
    hierarchy, tree = random_hierarchy(3), random_tree(3, items=5000, seed=1)
    labels = (tree.assignment[:, 2].numpy() + rng.choice(12, p=[0.6, 0.2, *[0.02] * 10], size=5000)) % 12
    for level in range(3):  # equally frequent labels would make the numbers matter: there are none
        table = np.zeros((tree.sizes[level], 12))
        np.add.at(table, (tree.assignment[:, level].numpy(), labels), 1)
        top = np.sort(table, axis=1)[table.any(axis=1)]
        assert (top[:, -1] > top[:, -2]).all()
    order = rng.permutation(5000)
    leaf = rng.permutation(12)  # new id of every leaf; the levels above keep theirs
    ancestors = hierarchy.ancestors.copy()
    ancestors[leaf, :2] = hierarchy.ancestors[:, :2]
    renamed = Hierarchy.from_ancestors(ancestors)
    node = rng.permutation(15)  # new number of every finest prototype
    parent = torch.empty(15, dtype=torch.long)
    parent[node] = tree.parent[2]
    other = made_of(node[tree.assignment[order, 2].numpy()], parent, tree.parent[1])
    for measure in (tree_agreement, respected_edges):
        ours, theirs = measure(other, leaf[labels][order], renamed), measure(tree, labels, hierarchy)
        whole = ours.columns.drop(["ami", "purity", "respected", "weighted"], errors="ignore")
        shares = ours.columns.difference(whole)
        assert ours[whole].equals(theirs[whole])
        assert ours[shares].to_numpy() == pytest.approx(theirs[shares].to_numpy())


# ---- degenerate and wrong input ----


def test_a_tree_of_one_level_has_no_edges():
    tree = made_of([0, 1, 1, 0])
    edges = respected_edges(tree, np.array([CAT, CAR, CAR, CAT]), ANIMALS)
    assert edges.empty and edges.columns.tolist() == EDGE_COLUMNS
    assert tree_agreement(tree, np.array([CAT, CAR, CAR, CAT]), ANIMALS)["purity"].tolist() == [1, 1]


def test_labels_that_may_not_be_written_to(recwarn):
    labels = np.array([CAT, CAR, CAR, CAT])
    labels.setflags(write=False)
    tree = made_of([0, 1, 1, 0], [0, 0])
    assert len(respected_edges(tree, labels, ANIMALS)) == 3 and len(tree_agreement(tree, labels, ANIMALS)) == 4
    assert not recwarn.list


@pytest.mark.parametrize("measure", [tree_agreement, respected_edges])
def test_wrong_labels(as_a_user, measure):
    tree = made_of([0, 1, 1, 0], [0, 0])
    with pytest.raises(
        ValueError, match=r"\[3\], but the tree was made of 4 items: pass the labels of the training set"
    ):
        measure(tree, np.array([0, 1, 2]), ANIMALS)
    with pytest.raises(ValueError, match="training set"):
        measure(tree, np.zeros((4, 2), dtype=np.int64), ANIMALS)
    with pytest.raises(ValueError, match="no leaf 4"):
        measure(tree, np.array([0, 1, 2, 4]), ANIMALS)
