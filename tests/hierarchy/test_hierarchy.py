"""Hierarchy: its constructors, queries against slow loops, properties of the distance, changed copies, errors."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiercl.hierarchy.hierarchy import Hierarchy

NESTED = {"animal": {"cat": ["lion", "tiger"], "dog": ["wolf"]}, "vehicle": {"road": ["car", "bus"], "air": ["plane"]}}
TREE = Hierarchy.from_dict(NESTED, level_names=("kind", "group", "class"))


@st.composite
def ancestor_tables(draw):
    """The ancestors [leaves, levels] of a random tree, its ids at every level dealt out at random."""
    levels = draw(st.integers(1, 4))
    columns = [np.arange(draw(st.integers(1, 12)))]
    for _ in range(levels - 1):
        size = int(columns[0].max()) + 1
        parents = draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
        order = {parent: i for i, parent in enumerate(draw(st.permutations(sorted(set(parents)))))}
        columns.insert(0, np.array([order[parents[node]] for node in columns[0]]))
    return np.stack(columns, axis=1)


def slow_lca_level(tree, a, b):
    """Climb from both leaves, one parent at a time, until they meet."""
    level = tree.levels - 1
    while level >= 0 and a != b:
        a, b, level = tree.parent(level)[a], tree.parent(level)[b], level - 1
    return level


def slow_distance(tree, a, b):
    """Search the tree breadth first, with the root as the node (-1, 0)."""
    above = lambda level, node: (level - 1, int(tree.parent(level)[node]) if level else 0)  # noqa: E731
    edges = [(above(level, node), (level, node)) for level in range(tree.levels) for node in range(tree.sizes[level])]
    frontier, steps, seen = {(tree.levels - 1, a)}, 0, set()
    while (tree.levels - 1, b) not in frontier:
        seen |= frontier
        frontier = {y for e in edges for x, y in (e, e[::-1]) if x in frontier} - seen
        steps += 1
    return steps


def pairs_of(tree):
    leaves = np.arange(tree.n_leaves)
    return leaves[:, None], leaves[None, :]


# ---- constructors ----


def test_from_dict_numbers_by_appearance():
    assert TREE.sizes == (2, 4, 6) and TREE.levels == 3 and TREE.n_leaves == 6
    assert TREE.leaf_names == ("lion", "tiger", "wolf", "car", "bus", "plane")
    assert TREE.ancestors.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [1, 2, 4], [1, 3, 5]]
    assert repr(TREE) == "Hierarchy(2 kind > 4 group > 6 class)"


def test_from_dict_with_a_plain_list_has_one_level():
    tree = Hierarchy.from_dict(["a", "b"])
    assert (tree.levels, tree.leaf_names, tree.level_names) == (1, ("a", "b"), ("level 0",))


def test_from_dict_carries_a_short_branch_down_under_its_own_name():
    tree = Hierarchy.from_dict({"animal": {"cat": ["lion"], "fish": {}}, "stone": None})
    assert tree.path(1) == ("animal", "fish", "fish")
    assert tree.path(2) == ("stone", "stone", "stone")
    assert tree.node("fish") == (2, 1)


def test_the_constructors_agree():
    parents = {"animal": None, "vehicle": None, "cat": "animal", "dog": "animal", "road": "vehicle", "air": "vehicle"}
    parents |= {"lion": "cat", "tiger": "cat", "wolf": "dog", "car": "road", "bus": "road", "plane": "air"}
    assert Hierarchy.from_parents(parents, TREE.level_names) == TREE
    assert Hierarchy.from_ancestors(TREE.ancestors, TREE.names, TREE.level_names) == TREE
    named, labels = Hierarchy.from_labels(TREE.ancestors, TREE.names, TREE.level_names)
    assert named == TREE and labels.tolist() == list(range(6))


def test_from_labels_and_from_paths_number_in_sorted_order():
    rows = [TREE.path(leaf) for leaf in (3, 0, 5, 3, 1, 2, 4)]
    from_labels, labels = Hierarchy.from_labels(rows)
    from_paths, path_labels = Hierarchy.from_paths("/".join(row) + f"/{i}.png" for i, row in enumerate(rows))
    for tree, leaves in ((from_labels, labels), (from_paths, path_labels)):
        assert [tree.path(leaf) for leaf in leaves] == rows
        assert tree.names[0] == ("animal", "vehicle")
    assert from_labels.leaf_names == tuple(sorted(TREE.leaf_names))


def test_from_labels_leaves_out_labels_that_do_not_occur():
    tree, labels = Hierarchy.from_labels(np.array([[0, 5], [0, 2], [1, 9]]))
    assert tree.leaf_names == ("2", "5", "9") and labels.tolist() == [1, 0, 2]
    tree, labels = Hierarchy.from_labels(np.array([[1, 2]]), names=[["a", "b"], ["x", "y", "z"]])
    assert tree.path(0) == ("b", "z") and labels.tolist() == [0]


def test_from_paths_reads_windows_paths_and_short_branches():
    tree, labels = Hierarchy.from_paths(["vehicle\\car\\1.png", "./stone/2.png"])
    assert [tree.path(leaf) for leaf in labels] == [("vehicle", "car"), ("stone", "stone")]


def test_the_same_name_may_stand_under_different_parents():
    tree = Hierarchy.from_dict({"Greek": ["a", "b"], "Latin": ["a", "b"]})
    assert tree.leaf_names == ("a", "b", "a", "b")
    assert tree.node("Latin/a") == (1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hierarchy.from_dict({}), "the hierarchy has no leaves"),
        (lambda: Hierarchy.from_dict({"animal": ["cat"], "vehicle": []}), "'vehicle' has no leaves"),
        (lambda: Hierarchy.from_dict({"animal": {"cat": []}}), "'animal/cat' has no leaves"),
        (lambda: Hierarchy.from_dict({"animal": ["cat", "dog", "cat"]}), "'cat' occurs twice under 'animal'"),
        (lambda: Hierarchy.from_dict(["cat", "cat"]), "'cat' occurs twice at the top"),
        (lambda: Hierarchy.from_dict(["caf\u00e9", "cafe\u0301"]), "occurs twice at the top, in two ways that Unicode"),
        (lambda: Hierarchy.from_labels([["caf\u00e9"], ["cafe\u0301"]]), "in two ways that Unicode"),
        (lambda: Hierarchy.from_dict({"": ["cat"]}), "the names of level 0 hold ''"),
        (lambda: Hierarchy.from_dict({"animal": ["  "]}), "the names of level 1 hold '  '"),
        (lambda: Hierarchy.from_dict(["a"], level_names=(" ",)), "the names of the levels hold ' '"),
        (lambda: Hierarchy.from_dict({"animal": "cat"}), "'animal' must hold a dict or a list"),
        (lambda: Hierarchy.from_dict({"animal": [3]}), "'animal' holds the name 3"),
        (lambda: Hierarchy.from_dict(["a"], level_names=("one", "two")), "as many different level names"),
        (lambda: Hierarchy.from_parents({}), "the hierarchy is empty"),
        (lambda: Hierarchy.from_parents({"a": "b", "b": "c", "c": "b"}), "b -> c -> b"),
        (lambda: Hierarchy.from_parents({"cat": "animal"}), "'animal', the parent of 'cat', is no node itself"),
        (
            lambda: Hierarchy.from_labels([["animal", "mouse"], ["device", "mouse"]]),
            "'mouse' .level 1. has two parents, 'animal' and 'device'",
        ),
        (lambda: Hierarchy.from_labels(np.array([[0, 0], [1, 0]])), "'0' .level 1. has two parents"),
        (lambda: Hierarchy.from_labels(np.array([0, 1])), r"must be \[n, levels\]"),
        (lambda: Hierarchy.from_labels([["a", float("nan")]]), "row 0 has labels at some levels only, .'a', nan."),
        (lambda: Hierarchy.from_labels([["a"], [None], [b"c"]]), "label column 0, row 2: b'c'"),
        (lambda: Hierarchy.from_labels([["a"], [3]]), "label column 0, row 1: 3"),
        (lambda: Hierarchy.from_labels(np.array([[0], [-2]])), "label column 0, row 1: -2; −1 is no label"),
        (lambda: Hierarchy.from_labels(np.array([[0.5]])), "label column 0 is float64"),
        (lambda: Hierarchy.from_labels(np.array([[3]]), names=[["a"]]), "label 3 of column 0 has no name"),
        (lambda: Hierarchy.from_labels([["a"]], names=[["a"]]), "leave names out"),
        (lambda: Hierarchy.from_labels([["a"]], names=[["a"], ["b"]]), "names are for 2 levels"),
        (lambda: Hierarchy.from_paths(["1.png"]), "'1.png' names no class"),
        (lambda: Hierarchy.from_paths(["/data/car/1.png"]), "'/data/car/1.png' is absolute"),
        (lambda: Hierarchy.from_paths(["a/1.png", "a/b/2.png"]), "'a' holds both files and folders"),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 0], [0, 2]])), "level 1 has the id 2, but 2 leaves"),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 1], [0, 0]])), "must be the leaf ids"),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 0], [2 * 10**12, 1]])), "level 0 has the id 2000000000000"),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 0]]), [["a", "b"], ["x"]]), "'b' .level 0. has no leaves"),
        (lambda: Hierarchy.from_ancestors(np.array([[1, 0]]), [["a"], ["x"]]), "node 1 of 'level 0' has no name"),
        (
            lambda: Hierarchy.from_ancestors(np.array([[0, 0, 0], [1, 0, 1]]), [["a", "b"], ["x"], ["y", "z"]]),
            "'x' .level 1. has two parents, '[ab]' and '[ab]'",
        ),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 0], [0, 1]]), [["a"], ["x", "x"]]), "'x' occurs twice under"),
        (lambda: Hierarchy.from_ancestors(np.array([[0, 0]]), [["a"]]), "names are for 1 levels"),
        (lambda: Hierarchy.from_json({"names": []}), "no field 'level_names'"),
        (lambda: Hierarchy.from_json(TREE.to_json() | {"parents": []}), "need 2 lists of parents"),
        (
            lambda: Hierarchy.from_json({"level_names": [], "names": [["a"], ["x"]], "parents": [[1]]}),
            "parents of level 1",
        ),
    ],
)
def test_a_broken_hierarchy_is_an_error_that_names_the_node(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_hierarchy_may_be_deep():
    nested = {"leaf": None}
    for depth in range(1999):
        nested = {f"node {depth}": nested}
    tree = Hierarchy.from_dict(nested)
    assert tree.levels == 2000 and tree.describe().endswith("leaf") and tree.node("leaf") == (1999, 0)
    assert Hierarchy.from_parents({f"{i}": f"{i - 1}" if i else None for i in range(2000)}).levels == 2000
    comb = {f"{i}": f"{i - 1}" if i else None for i in range(20_000)} | {f"leaf {i}": f"{i}" for i in range(20_000)}
    with pytest.raises(ValueError, match=r"20,000 leaves at .* levels are more than a hierarchy can hold"):
        Hierarchy.from_parents(comb)
    nested["again"] = nested
    with pytest.raises(ValueError, match="'again' holds itself"):
        Hierarchy.from_dict(nested)


# ---- queries ----


def test_parents_children_and_leaves():
    assert TREE.parent(0).tolist() == [0, 0]
    assert TREE.parent(1).tolist() == [0, 0, 1, 1]
    assert TREE.children(0, 1).tolist() == [2, 3]
    assert TREE.children(2, 1).tolist() == []
    assert TREE.leaves_of(0, 1).tolist() == [3, 4, 5]
    assert TREE.leaves_of(-1, np.int64(4)).tolist() == [4]


def test_labels_at_and_counts():
    labels = np.array([5, 0, 0, 2])
    assert TREE.labels_at(labels, 1).tolist() == [3, 0, 0, 1]
    assert TREE.counts(labels, 1).tolist() == [2, 1, 0, 1]
    assert TREE.counts(labels, -1).tolist() == [2, 0, 1, 0, 0, 1]


def test_node_finds_names_and_suggests_close_ones():
    assert TREE.node("dog") == (1, 1)
    assert TREE.node("vehicle/road") == (1, 2)
    with pytest.raises(ValueError, match=r"Unknown node 'tigre'. Did you mean 'tiger'"):
        TREE.node("tigre")
    with pytest.raises(ValueError, match="Unknown node 'tiger'"):
        TREE.node("tiger", level=0)


def test_minus_one_is_no_label():
    assert TREE.labels_at(np.array([[-1, 5], [0, -1]]), 0).tolist() == [[-1, 1], [0, -1]]
    assert TREE.labels_at(-1, 2) == -1
    assert TREE.labels_at_all(np.array([5, -1])).tolist() == [TREE.ancestors[5].tolist(), [-1, -1, -1]]
    assert TREE.counts(np.array([-1, 0, 0, -1]), 2).tolist() == [2, 0, 0, 0, 0, 0]
    for columns in ([["a", "b"], ["", ""], ["c", "d"]], np.array([[3, 7], [-1, -1], [4, 8]])):
        tree, leaves = Hierarchy.from_labels(columns)
        assert tree.sizes == (2, 2) and leaves.tolist() == [0, -1, 1]


def test_an_ambiguous_name_needs_its_level_or_path():
    tree = Hierarchy.from_dict({"orange": ["light", "dark"], "fruit": ["orange", "pear"]})
    with pytest.raises(ValueError, match=r"2 nodes, 'orange' \(level 0\), 'fruit/orange' \(level 1\)"):
        tree.node("orange")
    assert tree.node("orange", level=0) == (0, 0)
    assert tree.node("fruit/orange") == (1, 2)


def test_lowest_common_ancestor_by_hand():
    lion, tiger, wolf, car = 0, 1, 2, 3
    assert [TREE.lca_level(lion, other) for other in (lion, tiger, wolf, car)] == [2, 1, 0, -1]
    assert [TREE.tree_distance(lion, other) for other in (lion, tiger, wolf, car)] == [0, 2, 4, 6]
    assert TREE.similarity(np.array([lion]), np.arange(4)).tolist() == [1, 2 / 3, 1 / 3, 0]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: TREE.labels_at(np.array([0, -2]), 0), "no leaf -2; the leaves are 0 to 5"),
        (lambda: TREE.lca_level(0, -1), "no leaf -1"),
        (lambda: Hierarchy.from_labels([["a", "b"], ["a", ""]]), r"row 1 has labels at some levels only, \['a', ''\]"),
        (lambda: Hierarchy.from_labels(np.full((2, 1), -1)), "no row has a label"),
        (lambda: TREE.lca_level(0, 6), "no leaf 6"),
        (lambda: TREE.labels_at([0], 3), "no level 3; the levels are 0 to 2"),
        (lambda: TREE.children(1, 4), "no node 4 at level 1"),
        (lambda: TREE.path(6), "no node 6"),
    ],
)
def test_ids_that_do_not_exist_are_errors(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


# ---- properties ----


@settings(max_examples=40, deadline=None)
@given(ancestor_tables())
def test_distances_match_slow_loops(ancestors):
    tree = Hierarchy.from_ancestors(ancestors)
    a, b = pairs_of(tree)
    lca = [[slow_lca_level(tree, i, j) for j in range(tree.n_leaves)] for i in range(tree.n_leaves)]
    assert tree.lca_level(a, b).tolist() == lca
    few = range(min(tree.n_leaves, 4))
    assert [[tree.tree_distance(i, j) for j in few] for i in few] == [
        [slow_distance(tree, i, j) for j in few] for i in few
    ]


@settings(max_examples=60, deadline=None)
@given(ancestor_tables())
def test_the_distance_is_an_ultrametric(ancestors):
    tree = Hierarchy.from_ancestors(ancestors)
    a, b = pairs_of(tree)
    distance, similarity = tree.tree_distance(a, b), tree.similarity(a, b)
    assert (tree.lca_level(a, b) == tree.lca_level(b, a)).all()
    assert (distance == distance.T).all()
    assert ((distance == 0) == (a == b)).all()
    through = np.maximum(distance[:, :, None], distance[None, :, :]).min(axis=1)
    assert (distance <= through).all()
    assert ((similarity == 1) == (a == b)).all() and similarity.min() >= 0


@settings(max_examples=60, deadline=None)
@given(ancestor_tables(), st.randoms(use_true_random=False))
def test_names_and_ids_do_not_matter(ancestors, random):
    """Deal out new ids and new names at every level: distances between the same leaves stay."""
    tree = Hierarchy.from_ancestors(ancestors)
    new = [np.array(random.sample(range(size), size)) for size in tree.sizes]
    renumbered = np.stack([ids[column] for ids, column in zip(new, tree.ancestors.T, strict=True)], axis=1)
    other = Hierarchy.from_ancestors(
        renumbered[np.argsort(renumbered[:, -1])],
        [[f"new {random.random()} {node}" for node in range(size)] for size in tree.sizes],
    )
    a, b = pairs_of(tree)
    assert (other.tree_distance(new[-1][a], new[-1][b]) == tree.tree_distance(a, b)).all()
    for level in range(tree.levels):
        counts = other.counts(new[-1][np.arange(tree.n_leaves)], level)
        assert (counts[new[level]] == tree.counts(np.arange(tree.n_leaves), level)).all()


@settings(max_examples=40, deadline=None)
@given(ancestor_tables())
def test_json_and_the_other_forms_give_the_hierarchy_back(ancestors):
    tree = Hierarchy.from_ancestors(ancestors)
    assert Hierarchy.from_json(json.loads(json.dumps(tree.to_json()))) == tree
    again, labels = Hierarchy.from_labels(tree.ancestors, tree.names)
    assert again == tree and (labels == np.arange(tree.n_leaves)).all()


@settings(max_examples=40, deadline=None)
@given(ancestor_tables(), st.data())
def test_subset_and_coarsen_keep_the_distances(ancestors, data):
    tree = Hierarchy.from_ancestors(ancestors)
    leaves = sorted(data.draw(st.sets(st.integers(0, tree.n_leaves - 1), min_size=1)))
    small, new = tree.subset(leaves)
    assert [small.path(new[leaf]) for leaf in leaves] == [tree.path(leaf) for leaf in leaves]
    assert (new >= 0).sum() == small.n_leaves == len(leaves)
    a, b = np.array(leaves)[:, None], np.array(leaves)
    assert (small.lca_level(new[a], new[b]) == tree.lca_level(a, b)).all()

    kept = sorted(data.draw(st.sets(st.integers(0, tree.levels - 1), min_size=1)))
    coarse, new = tree.coarsen(kept)
    a, b = pairs_of(tree)
    same = tree.ancestors[a][..., kept] == tree.ancestors[b][..., kept]
    assert (coarse.lca_level(new[a], new[b]) == same.sum(axis=-1) - 1).all()


@settings(max_examples=40, deadline=None)
@given(ancestor_tables(), st.integers(0, 100))
def test_shuffle_keeps_the_leaves_and_the_sizes(ancestors, seed):
    tree = Hierarchy.from_ancestors(ancestors)
    shuffled = tree.shuffle(seed)
    assert shuffled == tree.shuffle(seed)
    assert shuffled.names == tree.names
    for level in range(tree.levels - 1):
        assert (shuffled.parent(level) == tree.parent(level)).all()
        leaves = np.arange(tree.n_leaves)
        assert (shuffled.counts(leaves, level) == tree.counts(leaves, level)).all()


# ---- changed copies, by hand ----


def test_shuffle_deals_the_leaves_out():
    tree = Hierarchy.from_dict({f"group {g}": [f"class {g}.{i}" for i in range(5)] for g in range(20)})
    stay = (tree.shuffle(0).ancestors[:, 0] == tree.ancestors[:, 0]).mean()
    assert stay < 0.2
    assert tree.shuffle(0) != tree.shuffle(1)


def test_repeated_names_get_their_path_where_they_could_become_siblings():
    tree = Hierarchy.from_dict({"Greek": {"large": ["a", "b"]}, "Latin": {"large": ["a", "c"]}})
    shuffled_names = ("Greek/large/a", "b", "Latin/large/a", "c")
    assert tree.shuffle(0).leaf_names == shuffled_names
    assert tree.coarsen([2])[0].leaf_names == shuffled_names
    assert tree.coarsen([0, 1, 2])[0] == tree
    assert tree.coarsen([1, 2])[0].names == (("Greek/large", "Latin/large"), ("a", "b", "a", "c"))


def test_subset_and_coarsen_refuse_nothing():
    with pytest.raises(ValueError, match="at least one leaf"):
        TREE.subset([])
    with pytest.raises(ValueError, match="at least one level"):
        TREE.coarsen([])


# ---- it cannot be changed ----


def test_a_hierarchy_cannot_be_changed():
    ancestors = np.array([[0, 0], [0, 1]])
    tree = Hierarchy.from_ancestors(ancestors)
    ancestors[0, 1] = 1
    assert tree.ancestors[0, 1] == 0
    with pytest.raises(ValueError, match="read-only"):
        tree.ancestors[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree.names = ()


def test_equality_and_hash():
    same = Hierarchy.from_dict(NESTED, level_names=("kind", "group", "class"))
    assert same == TREE and hash(same) == hash(TREE)
    assert pickle.loads(pickle.dumps(TREE)) == TREE == copy.deepcopy(TREE)
    assert Hierarchy.from_dict(NESTED) != TREE
    assert TREE != "a string"


def test_describe_draws_the_tree():
    assert TREE.describe().splitlines()[:5] == ["animal", "  cat", "    lion", "    tiger", "  dog"]
    assert len(TREE.describe().splitlines()) == sum(TREE.sizes)
