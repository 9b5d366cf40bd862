"""Hierarchies and arrays of every form and type, right and wrong: a result or an error of the package."""

import numpy as np
import pandas as pd
import pytest
import torch
from fuzz.support import fuzz, own_error
from hypothesis import given
from hypothesis import strategies as st

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy

NAMES = st.sampled_from(["a", "b", "c", "", "a/b", "é", "\ud800", " "])
ODD = st.sampled_from(
    [None, 0, -1, 1.5, float("nan"), True, b"a", 10**30, np.int64(1), np.array([1, 2]), object, 3 + 1j]
)
VALUES = NAMES | ODD | st.integers(-2, 3)
NESTED = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
LEVEL_NAMES = st.sampled_from([None, None, ("x",), ("x", "y"), "xy", 3, (1, 2), ("x", "x")])


@fuzz(60)
@given(
    how=st.sampled_from(["from_dict", "from_parents", "from_labels", "from_paths", "from_ancestors", "from_json"]),
    form=NESTED,
    levels=LEVEL_NAMES,
)
def test_every_form_of_a_hierarchy(how, form, levels):
    more = {} if how == "from_json" else {"level_names": levels}
    own_error(lambda: getattr(Hierarchy, how)(form, **more))


@fuzz(40)
@given(
    rows=st.lists(st.lists(VALUES, max_size=3), max_size=5),
    as_what=st.sampled_from([list, np.array, pd.DataFrame]),
    names=st.sampled_from([None, None, [["a", "b"]], [["a", "b"], ["c", "d", "e"]], "ab", 3]),
)
def test_labels(rows, as_what, names):
    try:
        columns = as_what(rows)
    except ValueError:  # NumPy's own
        return
    own_error(lambda: Hierarchy.from_labels(columns, names))


IDS = st.integers(-1, 3) | st.sampled_from([10**12, 2**62])


@fuzz(40)
@given(
    ancestors=st.lists(
        st.lists(st.integers(-1, 3) | st.sampled_from([10**12, 2**62]), min_size=2, max_size=2), max_size=4
    ),
    names=st.none() | st.lists(st.lists(NAMES, max_size=4), max_size=3) | ODD,
)
def test_ancestors(ancestors, names):
    own_error(lambda: Hierarchy.from_ancestors(np.array(ancestors), names))


@fuzz(30)
@given(
    fields=st.fixed_dictionaries(
        {"level_names": NESTED, "names": st.lists(st.lists(NAMES, max_size=3), max_size=3) | NESTED, "parents": NESTED}
    )
)
def test_json(fields):
    own_error(lambda: Hierarchy.from_json(fields))


TREE = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
DATA = HierarchicalDataset.from_features(np.arange(24.0).reshape(8, 3), np.arange(8) % 3, TREE)
CALLS = {
    "labels_at": 2,
    "labels_at_all": 1,
    "counts": 2,
    "lca_level": 2,
    "tree_distance": 2,
    "similarity": 2,
    "subset": 1,
    "coarsen": 1,
    "shuffle": 1,
    "parent": 1,
    "children": 2,
    "leaves_of": 2,
    "node": 2,
    "path": 1,
}
PARTS = {
    "take": 1,
    "under": 1,
    "with_leaves": 1,
    "per_class": 2,
    "split": 2,
    "long_tail": 3,
    "labels_at": 1,
    "counts": 1,
}
ARGUMENTS = NESTED | st.sampled_from(
    [np.array([0, 2]), [0, 1], [True] * 8, np.array([[0], [2]]), torch.tensor([1]), 1, 0, 0.5]
)


@fuzz(60)
@given(data=st.data(), of_tree=st.booleans())
def test_questions_and_parts(data, of_tree):
    calls, owner = (CALLS, TREE) if of_tree else (PARTS, DATA)
    name = data.draw(st.sampled_from(sorted(calls)))
    arguments = [data.draw(ARGUMENTS) for _ in range(calls[name])]
    own_error(lambda: getattr(owner, name)(*arguments))


ARRAYS = st.sampled_from(
    [
        np.zeros((3, 4, 4, 3), np.uint8),
        np.zeros((3, 4, 4, 3)),
        np.zeros((3, 8, 3)),
        np.zeros((3, 8, 3), ">f4"),
        np.zeros((3, 5), np.float16),
        np.ma.masked_array(np.zeros((3, 5)), mask=np.eye(3, 5)),
        np.full((3, 5), np.nan),
        np.full((3, 5), 1e300),
        np.zeros((3, 5), np.longdouble),
        np.zeros((3, 0)),
        np.array([["a"], ["b"], ["c"]]),
        np.zeros((3, 5), "M8[s]"),
        np.zeros(3, [("a", "f4")]),
        pd.DataFrame(np.ones((3, 2))),
        pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64"), "b": [1, 2, 3]}),
        pd.Series([0, 1, 2], dtype="category"),
        pd.Series(["cat", None, "car"], dtype="string"),
        torch.zeros(3, 5, requires_grad=True),
        torch.zeros(3, 5, dtype=torch.bfloat16),
        [np.zeros((4, 3)), np.zeros((5, 3)), np.zeros((4, 3))],
        [torch.zeros(5)] * 3,
        [0, 1, 2],
        [0.0, 1.0, 2.0],
        ["cat", "dog", "car"],
        ["cat", 1, None],
        [["animal", "cat"], ["animal", "dog"], ["vehicle", "car"]],
        [["animal", "cat"], ["", ""], ["vehicle", "car"]],
        [b"cat"] * 3,
    ]
)


@fuzz(60)
@given(
    items=ARRAYS | NESTED,
    labels=ARRAYS | NESTED,
    tree=st.sampled_from([TREE, TREE, None, {"a": ["b"]}, [["a"]], 3]),
    ids=ARRAYS | st.none(),
    source=ARRAYS | st.none(),
    vectors=st.booleans(),
)
def test_arrays(items, labels, tree, ids, source, vectors):
    if vectors:
        own_error(lambda: HierarchicalDataset.from_features(items, labels, tree, ids=ids, source=source))
    else:
        own_error(lambda: HierarchicalDataset.from_arrays(items, labels, tree, ids=ids))


@pytest.mark.parametrize("depth", [2000])
def test_depth(depth):
    nested = None
    for level in range(depth):
        nested = {f"{level}": nested}
    assert own_error(lambda: Hierarchy.from_dict(nested).describe(), seconds=5) is None
