"""Data sets of vectors: what they are made from, what they keep, what is wrong about others."""

import numpy as np
import pytest
import torch
from support.data import HIERARCHY, pictures, vectors

import hiercl
from hiercl.datasets import HierarchicalDataset

make = HierarchicalDataset.from_features
X = np.random.default_rng(0).normal(size=(4, 3))


def test_every_form_of_features_becomes_float32_with_views():
    for features in (X.astype(np.float16), torch.tensor(X).bfloat16(), X.tolist(), (10 * X).astype(np.int8)):
        data = make(features, [0, 1, 2, 3], HIERARCHY)
        assert data.items.dtype == np.float32 and data.items.shape == (4, 1, 3) and data.modality == "vectors"
    views = np.stack([X, X + 1], axis=1)
    np.testing.assert_array_equal(make(views, [0, 1, 2, 3]).items, views.astype(np.float32))
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    np.testing.assert_array_equal(make(sparse, [0, 1, 2, 3]).items[:, 0], X.astype(np.float32))


def test_three_features_are_no_points():
    """A cloud of points has the same shape, so the kind of item is kept, by every part of the data set too."""
    data = make(np.zeros((4, 5, 3), np.float32), [0, 1, 2, 3], HIERARCHY)
    for part in (data, data.take([0, 2]), data.under("a0", "b0")):
        assert part.modality == "vectors" and part.form.noun == "vectors"


def test_memory_mapped_features_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    data = make(np.load(tmp_path / "x.npy", mmap_mode="r"), [0, 1, 2, 3], HIERARCHY)
    assert isinstance(data.items, np.memmap) and not data.items.flags.owndata


def test_labels_in_every_form_are_the_same():
    names = [["a", "a1"], ["b", "b0"], ["a", "a0"], ["b", "b1"]]
    columns = [[0, 1], [1, 2], [0, 0], [1, 3]]
    whole = make(X, names)
    assert whole.hierarchy.names == HIERARCHY.names and whole.labels.tolist() == [1, 2, 0, 3]
    for labels in ([1, 2, 0, 3], columns, torch.tensor(columns), names, np.array(names), [row[1] for row in names]):
        assert make(X, labels, HIERARCHY).labels.tolist() == [1, 2, 0, 3]
    assert make(X[:2], ["b1", "b1"], whole.hierarchy).labels.tolist() == [3, 3]  # a test set with fewer classes
    assert not make(X).labelled and make(X, None, HIERARCHY).labels.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("features", "labels", "more", "message"),
    [
        (X[0], [0], {}, r"features must be \[n, features\] or \[n, views, features\]"),
        (X[:0], [], {}, "not empty"),
        (np.array([["a"]]), [0], {}, "features must be numbers"),
        (np.array([[0.0], [np.nan]]), [0, 0], {}, "item 1 has a feature that is not finite"),
        (np.array([[1e300]]), [0], {}, "item 0 has a feature that is not finite in float32"),
        (X, [0, 1], {}, "4 items need 4 labels, got 2"),
        (X, [0, 1, 2, 9], {}, "item 3 has label 9, but the leaves are 0 to 3"),
        (X, ["a0", "a1", "b0", "cat"], {}, "item 3 is a 'cat', which the hierarchy does not have"),
        (X, [1, 2, 3, 4], {"hierarchy": None}, "label column 0 holds other numbers than 0 to 3"),
        (X, [0, 1, 2, 3], {"source": ["a", "b"]}, "4 vectors need a source of 4 items"),
        (X, [0, 1, 2, 3], {"source": ["a", "b", "c", 1]}, "source 3 is a int"),
        (X, [0, 1, 2, 3], {"source": "text"}, "source is a str: give a HierarchicalDataset"),
        (
            X,
            [0, 1, 2, 3],
            {"source": np.zeros((4, 8, 8, 3), np.uint8)},
            "source is a ndarray: for an array",
        ),
    ],
)
def test_wrong_input(features, labels, more, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        make(features, labels, **{"hierarchy": HIERARCHY} | more)


def test_a_source_belongs_to_vectors_and_a_form_to_its_items(as_a_user):
    data = pictures(4)
    with pytest.raises(ValueError, match="source says what vectors were made of, and the items are images"):
        HierarchicalDataset(data.items, data.labels, data.hierarchy, source=("a", "b", "c", "d"))
    with pytest.raises(ValueError, match="these items are no vectors"):
        HierarchicalDataset(data.items, data.labels, data.hierarchy, modality="vectors")
    with pytest.raises(ValueError, match="For vectors use HierarchicalDataset"):
        HierarchicalDataset.from_arrays(X, [0, 1, 2, 3], HIERARCHY)


def test_the_source_stays_with_its_items_and_is_stored(tmp_path):
    shown = pictures(48)
    texts = [f"text {i}" for i in range(48)]
    for source, content in ((shown, lambda s: [int(p.sum()) for p in s.items]), (texts, list)):
        data = vectors(source=source).take(np.arange(47, 7, -1))
        assert content(data.source) == content(source)[47:7:-1]
        rest, part = data.split(0.25)
        assert sorted(content(rest.source) + content(part.source)) == sorted(content(data.source))
        data.save(tmp_path / "store", overwrite=True)
        back = HierarchicalDataset.load(tmp_path / "store", verify=True)
        assert content(back.source) == content(data.source) and back.modality == "vectors"
        assert back.fingerprint() == data.fingerprint() and isinstance(back.items, np.memmap)
    train, test = hiercl.load(tmp_path / "store")
    assert train.modality == test.modality == "vectors" and len(test.source) == len(test)


class Lazy:
    """Pictures that are made when they are asked for; every second one is missing."""

    def __init__(self, index):
        self.index = np.asarray(index)

    def __len__(self):
        return len(self.index)

    def __getitem__(self, item):
        number = int(self.index[item])
        return None if number % 2 else np.full((4, 4, 1), number, np.uint8)

    def take(self, index):
        return Lazy(self.index[index])


def test_a_lazy_source_is_taken_along_and_not_stored(tmp_path):
    data = vectors(source=Lazy(range(48))).take([4, 2])
    assert data.source[1].max() == 2
    with pytest.warns(UserWarning, match="not stored: plots of the stored data set name the classes"):
        data.save(tmp_path / "store")
    assert HierarchicalDataset.load(tmp_path / "store").source is None


def test_an_altered_source_is_an_error(tmp_path):
    vectors(source=[f"text {i}" for i in range(48)]).save(tmp_path / "store")
    texts = tmp_path / "store" / "texts.json"
    texts.write_text(texts.read_text().replace("text 7", "text 8"))
    with pytest.raises(RuntimeError, match=r"texts.json does not have the checksum"):
        HierarchicalDataset.load(tmp_path / "store", verify=True)
