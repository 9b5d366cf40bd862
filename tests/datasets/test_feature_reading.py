"""Files and objects of other libraries as data sets of vectors."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import hiercl
from hiercl.datasets import read_features

rng = np.random.default_rng(0)
N = 20
X = rng.normal(size=(N, 6)).astype(np.float32)
CLASS = np.array(["cat", "dog", "car", "bus"] * 5)
KIND = np.where(np.isin(CLASS, ["cat", "dog"]), "animal", "vehicle")
FRAME = pd.DataFrame({"kind": KIND, "class": CLASS, "embedding": list(X), "text": [f"item {i}" for i in range(N)]})
HOLDOUT = np.arange(N) % 5 == 0


def rows(train, test):
    """Which rows of X the items are: their vectors tell."""
    where = [[int(np.flatnonzero((X == item[0]).all(axis=1))[0]) for item in part.items] for part in (train, test)]
    return [np.array(part) for part in where]


def assert_same_items(train, test):
    """Every item kept its labels and is in one of the two sets."""
    found = rows(train, test)
    assert sorted(np.concatenate(found)) == list(range(N))
    for part, row in zip((train, test), found, strict=True):
        assert [part.hierarchy.path(leaf) for leaf in part.labels] == list(zip(KIND[row], CLASS[row], strict=True))
    assert train.hierarchy == test.hierarchy and train.hierarchy.level_names == ("kind", "class")


def anndata_of(dense):
    AnnData = pytest.importorskip("anndata").AnnData
    with pd.option_context("future.infer_string", False):  # the strings of pandas 3 cannot be written yet
        obs = pd.DataFrame({"kind": KIND, "class": CLASS}, index=[f"cell {i}" for i in range(N)])
        return AnnData(X=dense, obs=obs.astype("category"), obsm={"X_pca": X})


class HuggingFace:
    """What is used of a data set of the library `datasets`."""

    def __init__(self, columns, features):
        self.columns, self.features, self.column_names = columns, features, list(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def with_format(self, name):
        assert name == "numpy"
        return self

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: c[key] for name, c in self.columns.items()}


class ClassLabel:
    def __init__(self, names):
        self.names = names


def test_files_of_numpy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("lab.npz", x=X, kind=KIND, leaf=CLASS)
    train, test = hiercl.load("lab.npz", labels=["kind", "leaf"])
    assert train.note == "vectors from 'x', labels from 'kind' > 'leaf'; test is a stratified fifth of the items"
    assert len(test) == 4 and set(test.labels) == {0, 1, 2, 3} and train.name == "lab"
    np.save("lab.npy", X)
    train, test = hiercl.load("lab.npy", labels=np.arange(N) % 4, test=HOLDOUT)
    assert rows(train, test)[1].tolist() == [0, 5, 10, 15] and test.labels.tolist() == [0, 1, 2, 3]
    scipy.sparse.save_npz("sparse.npz", scipy.sparse.csr_matrix(X))
    assert [len(part) for part in hiercl.load("sparse.npz")] == [16, 4]


def test_arrays_named_like_parts(tmp_path):
    y = np.array([3, 1, 0, 2] * 5)
    np.savez(tmp_path / "keras.npz", x_train=X[:12], y_train=y[:12], x_test=X[12:], y_test=y[12:])
    train, test = hiercl.load(tmp_path / "keras.npz")
    assert [row.tolist() for row in rows(train, test)] == [list(range(12)), list(range(12, N))]
    assert test.labels.tolist() == y[12:].tolist() and train.hierarchy.leaf_names == ("0", "1", "2", "3")


def test_tables(tmp_path):
    FRAME.to_parquet(tmp_path / "lab.parquet")
    train, test = hiercl.load(tmp_path / "lab.parquet", labels=["kind", "class"], texts="text")
    assert_same_items(train, test)
    assert test.source == tuple(f"item {row}" for row in rows(train, test)[1])
    split = FRAME.assign(split=np.where(HOLDOUT, "test", "train"))
    assert_same_items(*read_features(split, labels=["kind", "class"]))
    wide = pd.DataFrame(X, columns=[f"f{i}" for i in range(6)]).assign(kind=KIND, label=CLASS)
    wide.to_csv(tmp_path / "wide.csv", index=False)
    train, test = hiercl.load(tmp_path / "wide.csv", vectors=[f"f{i}" for i in range(6)])
    assert train.hierarchy.level_names == ("label",) and train.items.shape == (16, 1, 6)
    train, test = read_features(wide.drop(columns="kind"))  # all columns of floats
    assert train.note.startswith("vectors from 6 columns, 'f0' to 'f5', labels from 'label'")


def test_anndata(tmp_path):
    cells = anndata_of(scipy.sparse.csr_matrix(2 * X))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    train, test = hiercl.load(tmp_path / "cells.h5ad", vectors="X_pca", labels=["kind", "class"])
    assert_same_items(train, test)
    assert test.ids.tolist() == [f"cell {row}" for row in rows(train, test)[1]]
    train, test = read_features(cells, vectors="X", labels="kind")
    assert np.isin(train.items[:, 0], 2 * X).all()
    with pytest.raises(ValueError, match=r"'X': float32 \[20, 6\]; 'X_pca': float32 \[20, 6\].*vectors=NAME"):
        read_features(cells, labels="kind")


def test_hugging_face():
    label = ClassLabel(["dog", "cat", "car", "bus"])  # in no order
    columns = {"x": X, "label": np.array([label.names.index(name) for name in CLASS])}
    parts = {"train": slice(0, 12), "validation": slice(12, N)}
    data = {
        name: HuggingFace({k: v[part] for k, v in columns.items()}, {"x": None, "label": label})
        for name, part in parts.items()
    }
    train, test = read_features(data)
    assert train.hierarchy.leaf_names == tuple(label.names) and "'validation'" in train.note
    assert [train.hierarchy.leaf_names[leaf] for leaf in test.labels] == CLASS[12:].tolist()


def test_labels_in_many_forms():
    tree = hiercl.Hierarchy.from_dict({"vehicle": ["car", "bus"], "animal": ["dog", "cat"]}, ("kind", "class"))
    by_name = read_features(X, labels=CLASS, hierarchy=tree)
    by_path = read_features(X, labels=np.stack([KIND, CLASS], axis=1), hierarchy=tree)
    assert_same_items(*by_name), assert_same_items(*by_path)
    other = np.where(np.isin(CLASS, ["cat", "car"]), "other", CLASS)
    train, _ = read_features({"x": X, "kind": KIND, "class": other}, labels=["kind", "class"])
    assert [train.hierarchy.path(leaf)[0] for leaf in range(4)] == ["vehicle", "animal", "animal", "vehicle"]
    assert "share 1 of the names, such as 'other'" in train.note
    gaps = np.array(["", *CLASS[1:]], dtype=object)
    train, test = read_features({"x": X, "class": gaps})
    labels = np.concatenate([train.labels, test.labels])[np.argsort(np.concatenate(rows(train, test)))]
    assert labels.tolist() == [-1, *np.unique(CLASS[1:], return_inverse=True)[1]]


@pytest.mark.parametrize(
    "source, options, message",
    [
        (FRAME.drop(columns="class"), {}, r"say which columns are the labels.*labels=\[NAME"),
        (FRAME, {"labels": "clas"}, "array or column 'clas'. Did you mean 'class'"),
        (FRAME, {"labels": "class", "vectors": "text"}, "'text' holds no vectors"),
        (FRAME, {"labels": "class", "vectors": ["kind"]}, "column 'kind' holds no numbers"),
        ({"x": X, "y": X[:, 0]}, {"labels": "y"}, "column 'y' holds 0.12.*names or whole numbers"),
        ({"x": X, "y": CLASS[:7]}, {}, "20 vectors and 7 labels"),
        ({"x": X, "y": CLASS}, {"test": {"x": X[:, :3], "y": CLASS}}, "6 features and test vectors 3"),
        ({"train_x": X, "train_y": CLASS}, {}, "the parts 'train', and needs train and test"),
        ({"x": X, "split": ["exam"] * N}, {"labels": []}, "item 0 of the mapping has the split 'exam'"),
        (FRAME.assign(embedding=[X[0][:2], *X[1:]]), {"labels": "class"}, "differ in shape: .* in row 1"),
        (FRAME.set_axis(["class", *FRAME.columns[1:]], axis=1), {}, "several columns 'class'"),
        (FRAME, {"labels": "class", "vectors": ["text", "text"]}, "vectors has several columns 'text'"),
        ({"train_x": X, "train_y": CLASS, "test_x": X}, {}, "training and test set have 1 and 0 label columns"),
        ({"x": X, "y": [2**70] * N}, {}, "numbers from 1180591620717411303424 to"),
        ({"x": X, "y": np.arange(N) - 2}, {}, "numbers from -2 to 17: they count from 0"),
        (FRAME.assign(embedding=[[[1.0, 2.0], [3.0]]] * N), {"labels": "class"}, "the numbers of a cell are no array"),
        ({"x": X, "t": np.array([["a", "b"]] * N)}, {"labels": [], "texts": "t"}, "one text for each item"),
        ({1: X}, {}, "the mapping has the key 1"),
        (X, {"name": 5}, "name=5: give a text"),
        (3, {}, "cannot be read from a int"),
        ("none.npy", {}, "there is no file"),
        (scipy.sparse.csr_matrix((10**6, 10**6)), {}, "3,725.3 GiB.*TruncatedSVD"),
    ],
)
def test_wrong_use(source, options, message, as_a_user):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_features(source, **options)


def test_double_columns_of_a_table_and_numbers_that_mean_no_label(tmp_path):
    """pandas would rename a column; −1 is no label among numbers, and a name among names."""
    (tmp_path / "double.csv").write_text("a,a,label\n0.5,1.5,x\n")
    with pytest.raises(ValueError, match=r"double.csv has several columns 'a': rename one"):
        read_features(tmp_path / "double.csv")
    for labels, names in (([-1, 0, 1, 2], ("0", "1", "2")), (["-1", "a", "b", "c"], ("-1", "a", "b", "c"))):
        table = pd.DataFrame({"x": np.linspace(0, 1, 20), "label": labels * 5})
        table.to_csv(tmp_path / "t.csv", index=False)
        train, _ = read_features(tmp_path / "t.csv")
        assert train.hierarchy.leaf_names == names and train.has_label.all() == (len(names) == 4)


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=X, names=np.array(["a", None] * 10, dtype=object))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:-40])
    for name in ("objects.npy", "objects.npz", "cut.npz"):
        with pytest.raises(ValueError, match="never unpickled"):
            hiercl.load(tmp_path / name)
