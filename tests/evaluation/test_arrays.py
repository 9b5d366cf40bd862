"""Features and labels are enough: no model, no pictures."""

import inspect
import math

import numpy as np
import pytest
import torch
from support.trees import code

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import embed
from hiercl.encoders.features import features_of
from hiercl.evaluation import evaluate, few_labels, frozen
from hiercl.evaluation.fine_tuning import FineTuneConfig
from hiercl.hierarchy import Hierarchy

TREE = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1", "b2"]}, level_names=("group", "class"))
NAMES = [np.array([TREE.path(leaf) for leaf in range(5)])[labels] for labels in (np.arange(60) % 5, np.arange(40) % 5)]
Y = tuple(np.arange(n) % 5 for n in (60, 40))


def features(n, seed=0):
    rng = np.random.default_rng(seed)
    return code(TREE, np.arange(n) % 5) + rng.normal(0, 0.9, (n, 7))


X = tuple(np.asarray(features(n, seed), dtype=np.float64) for seed, n in enumerate((60, 40)))
SETS = tuple(HierarchicalDataset.from_features(x, y, TREE) for x, y in zip(X, Y, strict=True))


@pytest.fixture(scope="module")
def report():
    return evaluate(features=X, labels=Y, hierarchy=TREE, label_fractions=(0.5,), progress=False)


def test_arrays_give_the_whole_report(report):
    table = report.table()
    assert table["classes"].tolist() == [2, 5] and table.loc["class"].notna().all()
    assert math.isnan(report.overall["alignment"]) and report.overall["uniformity"] < 0
    assert report.few_labels["way"].unique().tolist() == ["linear"] and report.protocol["fine_tune"] is None
    assert "no model known" in str(report) and report.protocol["run"] is None
    assert len(report.classes) == 7 and report.protocol["train_items"] == 60


@pytest.mark.parametrize(
    "given",
    [
        {"features": tuple(map(torch.tensor, X)), "labels": tuple(map(torch.tensor, Y)), "hierarchy": TREE},
        {"features": X, "labels": [TREE.ancestors[y] for y in Y], "hierarchy": TREE},
        {"features": X, "labels": NAMES},
        {"features": X, "labels": [names.tolist() for names in NAMES]},
        {"train": SETS[0], "test": SETS[1]},
        {
            "model": None,
            "train": SETS[0],
            "test": SETS[1],
            "features": [torch.tensor(x, dtype=torch.float32) for x in X],
        },
    ],
)
def test_every_form_gives_the_same(report, given):
    assert np.array_equal(evaluate(**given).table().to_numpy(), report.table().to_numpy(), equal_nan=True)


def test_one_column_is_a_flat_hierarchy():
    flat = evaluate(features=[x.astype(np.float16) for x in X], labels=[names[:, 1] for names in NAMES]).table()
    assert len(flat) == 1 and flat["classes"].tolist() == [5]
    part = evaluate(features=(X[0], X[1][:20]), labels=(Y[0], Y[1][:20] % 3))  # the test set lacks two classes
    assert part.table()["classes"].tolist() == [5] and part.classes["test"].tolist() == [8, 8, 4, 0, 0]


def test_items_without_a_label_are_left_out(report):
    """With more items, of which these have no label, nothing changes but what the protocol says."""
    more = [np.concatenate([np.full((7, x.shape[1]), 9.0), x]) for x in X]
    labels = [np.concatenate([np.full(7, -1), y]) for y in Y]
    mixed = evaluate(features=more, labels=labels, hierarchy=TREE, label_fractions=(0.5,), progress=False)
    assert np.array_equal(mixed.table().to_numpy(), report.table().to_numpy(), equal_nan=True)
    assert mixed.classes.equals(report.classes) and mixed.few_labels.equals(report.few_labels)
    assert mixed.overall["uniformity"] == report.overall["uniformity"]
    counts = {"train_items": 60, "train_without_label": 7, "test_items": 40, "test_without_label": 7}
    assert {name: mixed.protocol[name] for name in counts} == counts and "14 items without a label" in str(mixed)
    sets = [HierarchicalDataset.from_features(x, y, TREE) for x, y in zip(more, labels, strict=True)]
    assert evaluate(None, *sets, features=more).table().equals(mixed.table())
    nothing = [HierarchicalDataset.from_features(x, np.full(len(x), -1), TREE) for x in X]
    assert evaluate(None, *nothing).rows == ()


def bad(x, row):
    x = x.copy()
    x[row, 1] = math.nan
    return x


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"labels": None}, r"labels are missing: give those of both parts, labels=\(train, test\)"),
        ({"features": None}, "features are missing"),
        ({"features": X[0]}, "features are a ndarray"),
        ({"labels": (Y[0][:-1], Y[1])}, "train: 60 items need 59|train: 60 items need 60 labels|train: .*60"),
        ({"features": (X[0], X[1][:, :2])}, "for each training item and 2 for each test item"),
        ({"features": (X[0], bad(X[1], 7))}, "test: item 7"),
        ({"labels": (Y[0], Y[1] + 1)}, "test: item 4 has label 5"),
        ({"labels": (NAMES[0], NAMES[1][:, 1]), "hierarchy": None}, "same levels"),
        ({"labels": (Y[0] + 7, Y[1]), "hierarchy": None}, "count from 0"),
        ({"hierarchy": {"a": ["b"]}}, "hierarchy is a dict"),
        ({"model": torch.nn.Identity()}, "leave it out to judge the features"),
        ({"train": SETS[0], "test": SETS[1]}, "leave these out"),
        ({"fine_tune": FineTuneConfig()}, "there is no model: leave it out"),
    ],
)
def test_what_cannot_be_meant_is_said(changes, words, as_a_user):
    with pytest.raises(ValueError, match=words):
        evaluate(**{"features": X, "labels": Y, "hierarchy": TREE} | changes)


class BegunError(Exception):
    """The arguments were accepted."""


WRONG = (None, math.nan, math.inf, -1, 0, 1.5, True, "x", {}, [], object(), [[1], [1, 2]], np.full((2, 2), math.nan))


@pytest.mark.parametrize("name", inspect.signature(evaluate).parameters)
def test_every_wrong_argument_is_refused_before_anything_begins(name, monkeypatch, as_a_user):
    """NaN, numbers outside the range, and values of other types, in place of each argument in turn."""

    def begin(*_, **__):
        raise BegunError

    monkeypatch.setattr(frozen, "Findings", begin)
    accepted = []
    for base in ({"features": X, "labels": Y, "hierarchy": TREE}, {"train": SETS[0], "test": SETS[1]}):
        for wrong in WRONG:
            try:
                evaluate(**base | {name: wrong})
            except BegunError:
                accepted.append(wrong)
            except ValueError as error:
                assert len(str(error)) > 15
    right = {
        "seed": [0],
        "label_fractions": [[]],
        "draws": [],
        "knn_k": [],
        "knn_temperature": [1.5],
        "progress": [True],
    }
    assert all(one in right.get(name, [None]) for one in accepted), accepted


def test_features_beside_data_sets_must_fit(as_a_user):
    with pytest.raises(ValueError, match=r"must be \[60, d\]"):
        evaluate(None, *SETS, features=(X[1], X[1]))
    with pytest.raises(ValueError, match=r"1 of 40 rows are not finite \(the first is row 3\)"):
        evaluate(None, *SETS, features=(X[0], bad(X[1], 3)))
    with pytest.raises(ValueError, match="pass fine_tuning=False"):
        few_labels(None, *SETS)


def test_vectors_are_their_own_features():
    assert torch.equal(features_of(None, SETS[0]), torch.from_numpy(X[0]).float())
    assert torch.equal(embed(None, SETS[0]), features_of(None, SETS[0]))
    pictures = HierarchicalDataset.from_arrays(np.zeros((5, 8, 8, 3), np.uint8), np.arange(5), TREE)
    with pytest.raises(ValueError, match="holds pictures: pass a model, or features"):
        features_of(None, pictures)
