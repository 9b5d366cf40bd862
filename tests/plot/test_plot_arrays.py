"""Every plot works on features and labels alone, from NumPy and from torch, and with items that have no label."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.figures import HIERARCHY, texts

import hiercl
from hiercl import plot
from hiercl.clustering import PrototypeTree
from hiercl.pairs import Term, audit, by_item, by_label

LABELS = np.repeat(np.arange(6), 8)
rng = np.random.default_rng(1)
CENTRES = rng.normal(size=(2, 12))[HIERARCHY.ancestors[:, 0]] * 3 + rng.normal(size=(6, 12))
X = (CENTRES[LABELS] + 0.3 * rng.normal(size=(48, 12))).astype(np.float32)
XY = X[:, :2]
LABELLED = hiercl.HierarchicalDataset.from_features(X, LABELS, HIERARCHY, "numbers")
MIXED = hiercl.HierarchicalDataset.from_features(X, np.where(np.arange(48) % 4, LABELS, -1), HIERARCHY, "mixed")
TREE = PrototypeTree.fit(X, (2, 6), seed=0, restarts=3)


def terms(data):
    items = np.arange(48)
    levels = by_label(data.labels, data.hierarchy, level=None, items=items)
    return [Term.of(X, by_item(items), name="instance"), *(Term.of(X, own, name=f"{own.level}") for own in levels)]


FIGURES = {
    "gallery": lambda data, x: plot.gallery(data, per_node=2),
    "tree": lambda data, x: plot.tree(TREE, data, exemplars=2),
    "trees": lambda data, x: plot.trees(TREE, data),
    "flow": lambda data, x: plot.flow(TREE, data),
    "embedding": lambda data, x: plot.embedding(x, data, coordinates=XY),
    "compare_embeddings": lambda data, x: plot.compare_embeddings(
        {"one": x}, data, coordinates={"one": torch.tensor(XY)}
    ),
    "neighbours": lambda data, x: plot.neighbours(x, data, items=[1, 14], count=3),
    "dendrogram": lambda data, x: plot.dendrogram(x, data),
    "confusion": lambda data, x: plot.confusion(x if x is None else (x, x), data, train=data),
    "masks": lambda data, x: plot.masks(x, data),
    "pairs": lambda data, x: plot.pairs(terms(data), data, term=0, anchor=1, count=3),
    "pair_matrix": lambda data, x: plot.pair_matrix(terms(data), data, term="2"),
    "audit": lambda data, x: plot.audit(audit(terms(data)[0].pairs, torch.tensor(data.labels), data.hierarchy)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_arrays_are_enough(name):
    """The same texts from features as an array, as a tensor, and as the data set itself; and with fewer labels."""
    with_array = texts(FIGURES[name](LABELLED, X.astype(np.float64)))
    assert with_array == texts(FIGURES[name](LABELLED, torch.tensor(X))) == texts(FIGURES[name](LABELLED, None))
    assert len(with_array) > 3 and texts(FIGURES[name](MIXED, None))


def test_items_without_a_label_are_shown_as_such():
    assert "no label" in texts(plot.embedding(None, MIXED, levels=[0], coordinates=XY))
    term = Term.of(X, by_item(np.arange(48)))
    found = texts(plot.pairs(term, MIXED, anchor=4, count=6))
    assert any("no label" in text for text in found) and any(
        "same" in text and text.startswith("0 %") for text in found
    )
    shares = texts(plot.neighbours(None, MIXED, items=[1], count=3))
    assert "item 1" in shares and any("Bank: 36 labelled items of mixed" in text for text in shares)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: plot.neighbours(None, MIXED, items=[0]), "item 0 has no label"),
        (lambda: plot.neighbours(X[:9], LABELLED), r"must be \[48, d\]"),
        (lambda: plot.dendrogram(np.where(X == X[3, 3], np.nan, X), LABELLED), "first is row 3"),
        (lambda: plot.confusion((X, X), LABELLED), "predicted is"),
        (lambda: plot.confusion(None, LABELLED), "pass train=train"),
        (lambda: plot.confusion(LABELS, LABELLED, train=LABELLED), "train is for a run"),
        (lambda: plot.masks(X, LABELLED.under("cats")), r"must be \[16, d\]"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


TABLE = pd.DataFrame({"variant": ["a"], "state": ["done"]})
TERM = Term.of(X, by_item(np.arange(48)))
WRONG = {
    "gallery of no data": (lambda: plot.gallery(X), "give a hiercl HierarchicalDataset"),
    "gallery with a word": (lambda: plot.gallery(LABELLED, level="fine"), "level='fine': it must be a whole number"),
    "gallery with a seed": (lambda: plot.gallery(LABELLED, seed=-1), "seed=-1: it must be a whole number at least 0"),
    "hierarchy of names": (lambda: plot.hierarchy({"a": ["b"]}), "give a hiercl Hierarchy, such as"),
    "tree of no tree": (lambda: plot.tree(X, LABELLED), "give a hiercl PrototypeTree, such as"),
    "embedding of a level": (lambda: plot.embedding(X, LABELLED, levels=0), "levels=0: it must be a tuple"),
    "embeddings of none": (lambda: plot.compare_embeddings(5, LABELLED), "it must be a dict"),
    "coordinates of none": (
        lambda: plot.compare_embeddings({"a": X}, LABELLED, coordinates=5),
        "coordinates=5: it must",
    ),
    "history of none": (lambda: plot.history(5), "a run is a int: give a run"),
    "audit of none": (lambda: plot.audit({"a": 5}), "a table is a int: give what run.audit"),
    "pairs of none": (lambda: plot.pairs(None, LABELLED), "step is a NoneType: give run.step"),
    "no pairs": (lambda: plot.pair_matrix([], LABELLED), "step is a list: give run.step"),
    "pairs with anchors": (lambda: plot.pair_matrix(TERM, LABELLED, anchors=-1), "anchors=-1: it must be"),
    "cloud of a number": (lambda: plot.cloud(5), r"points are int64 \[\]: pass numbers"),
    "cloud without views": (lambda: plot.cloud(np.ones((4, 3)), views=None), "views are pairs"),
    "study of none": (lambda: plot.study(5, TABLE, TABLE), "it must be a DataFrame"),
    "study of a part": (lambda: plot.study(TABLE, TABLE, TABLE), "summary lacks metric, level, mean: give what study"),
    "front of a part": (lambda: plot.front(TABLE[["state"]], "x", "y", {}), "table lacks variant"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_errors_that_say_what_to_give(name, as_a_user):
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        make()
