"""Files from elsewhere, whole, altered and made up: meshes, clouds, archives, HDF5, pictures, tables, features, stores.

Nothing may be half-written either: after an error the folder of data sets holds no store that another call would read.
"""

import io
import json
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from fuzz.support import fuzz, own_error
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hiercl.datasets import HierarchicalDataset, load, read_features, read_store, table
from hiercl.datasets.modelnet import forms
from hiercl.datasets.modelnet.off import parse_off
from hiercl.datasets.store import is_store
from hiercl.hierarchy import Hierarchy

POINTS = 8  # of a cloud
rng = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for all the inputs of a test, which are cleared one by one."""
    return tmp_path_factory.mktemp("fuzz")


STRANGE = [b"-1", b"nan", b"1e999", b"99999999999", b"\xff" * 8, b"0x1", b"#"]


@st.composite
def altered(draw, contents):
    """One of some contents: whole, cut, with changed, repeated or strange bytes."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        how = draw(st.sampled_from(["flip", "cut", "drop", "put", "repeat", "number"]))
        if how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del content[at:]
        elif how == "drop":
            del content[at : at + draw(st.integers(1, 20))]
        elif how == "put":
            content[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == "repeat":
            content[at:at] = content[at : at + 30] * draw(st.integers(1, 5))
        else:
            content[at : at + 4] = draw(
                st.sampled_from([b"-1", b"nan", b"1e999", b"99999999999", b"\xff" * 8, b"0x1", b"#"])
            )
    return bytes(content)


def no_store_is_half_written(root):
    """Every store below a folder can be read, and nothing else was left behind."""
    for folder in root.rglob("*"):
        if is_store(folder):
            read_store(folder, verify=True)
        assert not folder.name.startswith("."), f"{folder} was left behind"


@pytest.fixture(scope="module")
def in_folder(place):
    """Returns a function that writes files, calls another with their folder and a root, and looks at the root."""

    def run(files, call):
        folder = Path(tempfile.mkdtemp(dir=place))
        try:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            own_error(lambda: call(folder, folder / "root"))
            if (folder / "root").exists():
                no_store_is_half_written(folder / "root")
        finally:
            shutil.rmtree(folder)

    return run


# ---- meshes and clouds ----

MESHES = [
    b"OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n",
    b"OFF4 1 0 # glued\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 255 0 0\n",
    b"COFF\n3 1 0\n0 0 0 1 2 3\n1 0 0 1 2 3 4\n0 1 0 1 2 3\n3 0 1 2\n",
]


@fuzz(50)
@given(altered(MESHES))
def test_off(content):
    own_error(lambda: parse_off(content))


@fuzz(15)
@given(st.text("OF0123456789.-+eE #\n\tnaif", max_size=60))
def test_off_made_up(text):
    own_error(lambda: parse_off(("OFF\n" + text).encode()))


def resampled():
    return "\n".join(",".join(f"{value:.4f}" for value in row) for row in rng.normal(size=(POINTS, 6))).encode()


def hdf5(**changes):
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content["data"] = rng.normal(size=(2, POINTS, 3)).astype("f4")
        content["label"] = np.array([[0], [1]], dtype="u1")
        for name, value in changes.items():
            del content[name]
            content[name] = value
    return file.getvalue()


def npz(**changes):
    arrays = {
        "points": rng.normal(size=(2, POINTS, 3)).astype("f4"),
        "label": np.array([0, 1]),
        "class_names": np.array(["airplane", "bathtub"]),
        "split": np.array(["train", "test"]),
    }
    file = io.BytesIO()
    np.savez(file, **(arrays | changes))
    return file.getvalue()


NAMES = ["chair_0001", "chair_0002"]
SOURCES = {  # a form of ModelNet: its files
    "meshes": {f"M/chair/{part}/{name}.off": MESHES[0] for part, name in zip(("train", "test"), NAMES, strict=True)},
    "hdf5": {"train0.h5": hdf5(), "test0.h5": hdf5(), "shape_names.txt": b"airplane\nbathtub\n"},
    "resampled": {
        **{f"chair/{name}.txt": resampled() for name in NAMES},
        **{f"modelnet40_{part}.txt": name.encode() for part, name in zip(("train", "test"), NAMES, strict=True)},
    },
    "arrays": {"lab.npz": npz()},
}


@fuzz(20)
@given(data=st.data(), form=st.sampled_from(sorted(SOURCES)), zipped=st.booleans())
def test_modelnet(data, form, zipped, in_folder):
    files = dict(SOURCES[form])
    name = data.draw(st.sampled_from(sorted(files)))
    others = [content for own in SOURCES.values() for content in own.values()]
    files[name] = data.draw(altered([files[name], files[name], *others]))

    if zipped:
        with zipfile.ZipFile(whole := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        files = {"source": data.draw(altered([whole.getvalue()] * 3))}
    else:
        files = {f"source/{name}": content for name, content in files.items()}
    before, forms.TEXT_POINTS = forms.TEXT_POINTS, POINTS
    try:
        in_folder(files, lambda folder, root: load("modelnet40", root, source=folder / "source", points=4))
    finally:
        forms.TEXT_POINTS = before


@fuzz(15)
@given(
    shape=st.lists(st.sampled_from([0, 1, 2, POINTS, 3, 2**31, 2**40]), max_size=4),
    kind=st.sampled_from(["f4", "f8", "i4", "S4", "O"]),
    name=st.sampled_from(["data", "label"]),
)
def test_hdf5_that_claims_anything(shape, kind, name, in_folder):
    with h5py.File(claiming := io.BytesIO(), "w") as content:
        content["data"], content["label"] = rng.normal(size=(2, POINTS, 3)), np.zeros((2, 1), "u1")
        del content[name]
        dtype = h5py.string_dtype() if kind == "O" else kind
        content.create_dataset(name, shape, dtype, chunks=tuple(min(n, 4) for n in shape) if all(shape) else None)
    files = SOURCES["hdf5"] | {"train0.h5": claiming.getvalue()}
    in_folder(files, lambda folder, root: load("modelnet40", root, source=folder, points=4))


# ---- pictures ----


def picture(kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).convert(mode).save(file, kind, **options)
    return file.getvalue()


PICTURES = [
    *(picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")),
    *(picture("PNG", mode) for mode in ("P", "LA", "I;16", "1")),
    picture("TIFF", "F"),
    b"P5 4 4 65535 " + bytes(32),
]


@fuzz(15)
@given(
    contents=st.lists(altered(PICTURES), min_size=1, max_size=6),
    ending=st.sampled_from([".png", ".jpg", ".tif", ".heic", ".pgm"]),
    skip=st.booleans(),
    store=st.sampled_from(["auto", False, True]),
)
def test_pictures(contents, ending, skip, store, in_folder):
    files = {f"lab/{'ab'[number % 2]}/{number}{ending}": content for number, content in enumerate(contents)}
    in_folder(files, lambda folder, root: load(folder / "lab", root, size=8, skip_unreadable=skip, store=store))


# Folders of every kind of name, as many as a file system allows.
FOLDER_NAMES = [
    "train",
    "Test",
    "val",
    "seg_train",
    "images",
    "cat",
    "dog",
    "__MACOSX",
    ".git",
    "unlabelled",
    "a b",
    "é",
]


@fuzz(15)
@given(
    paths=st.lists(
        st.tuples(st.lists(st.sampled_from(FOLDER_NAMES), max_size=4), st.sampled_from(["1.png", "2.PNG", "x.txt"])),
        min_size=1,
        max_size=10,
    ),
    parts=st.sampled_from([None, None, (), ("train", "Test"), ("cat", "cat"), "train", 3]),
    levels=st.sampled_from([None, None, ("a", "b"), "ab", 3]),
)
def test_folders(paths, parts, levels, in_folder):
    files = {"/".join(["lab", *folders, name]): PICTURES[0] for folders, name in paths}
    in_folder(files, lambda folder, root: load(folder / "lab", root, size=4, parts=parts, level_names=levels))


# ---- tables ----

CELLS = [
    "",
    "cat",
    "animal",
    "0.png",
    "1.png",
    "no.png",
    "train",
    "test",
    "1",
    "0",
    "nan",
    "-1",
    '"',
    "a;b",
    " x ",
    "\0",
    "é",
]
HEADS = ["path", "kind", "class", "id", "split", "is_train", "", "path", "Unnamed: 0", "0.png", "label"]


@fuzz(20)
@given(
    head=st.lists(st.sampled_from(HEADS), min_size=1, max_size=5),
    rows=st.lists(st.lists(st.sampled_from(CELLS), max_size=6), max_size=8),
    separator=st.sampled_from([",", ";", "\t"]),
    before=st.sampled_from(["", "\n", "\ufeff", "\n\n", ",,\n"]),
    options=st.dictionaries(
        st.sampled_from(["path_column", "label_columns"]),
        st.sampled_from(["path", "kind", ["kind"], ["kind", "class"], []]),
    ),
    split=st.booleans(),
)
def test_tables(head, rows, separator, before, options, split, in_folder):
    text = before + "\n".join(separator.join(row) for row in [head, *rows])
    files, read = {"0.png": PICTURES[0], "1.png": PICTURES[0], "lab.csv": text.encode()}, load if split else table
    in_folder(files, lambda folder, root: read(folder / "lab.csv", root=root, size=4, **options))


@fuzz(15)
@given(content=altered([b"path,kind,class\n0.png,animal,cat\n1.png,vehicle,car\n"]))
def test_altered_tables(content, in_folder):
    files = {"0.png": PICTURES[0], "lab.csv": content}
    in_folder(files, lambda folder, root: table(folder / "lab.csv", root=root, size=4))


# ---- features ----

X, Y = rng.normal(size=(8, 3)).astype("f4"), np.array(["cat", "dog"] * 4)


def features():
    files = {".npz": io.BytesIO(), ".npy": io.BytesIO(), ".parquet": io.BytesIO(), ".csv": io.BytesIO()}
    np.savez_compressed(files[".npz"], x=X, label=Y)
    np.save(files[".npy"], X)
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(label=Y)
    frame.to_csv(files[".csv"])
    try:
        frame.to_parquet(files[".parquet"])
    except ImportError:
        del files[".parquet"]
    return {ending: file.getvalue() for ending, file in files.items()}


FEATURES = features()


@fuzz(20)
@given(data=st.data(), ending=st.sampled_from(sorted(FEATURES)))
def test_feature_files(data, ending, in_folder):
    content = data.draw(altered([FEATURES[ending]] * 4 + list(FEATURES.values())))
    vectors = ["a", "b", "c"] if ending in (".csv", ".parquet") else None
    file = f"lab{ending}"
    in_folder({file: content}, lambda folder, root: read_features(folder / file, vectors=vectors))


LABELS = [
    None,
    "label",
    ["label"],
    [],
    "x",
    3,
    "",
    ["no"],
    Y,
    Y[:5],
    np.arange(8),
    np.ma.masked_array(np.arange(8), mask=True),
]
LABELS += [
    pd.Series([0, None] * 4, dtype="Int64"),
    pd.Series(Y, dtype="category"),
    [1.5] * 8,
    [b"a"] * 8,
    [[1], [2, 3]],
]
COLUMNS = st.sampled_from(
    [X, X[0], X[:, None], Y, Y.astype("S"), np.arange(8), X > 0, X * 1j, X.astype("O"), 3, "a", None]
)
COLUMN_NAMES = ["x", "label", "x_train", "y_train", "x_test", "split"]


@fuzz(40)
@given(
    columns=st.dictionaries(st.sampled_from(COLUMN_NAMES), COLUMNS, max_size=4),
    framed=st.booleans(),
    labels=st.sampled_from(LABELS),
    vectors=st.sampled_from([None, "x", "label", ["x"], 3, []]),
    test=st.sampled_from([None, np.arange(8) > 5, np.arange(4) > 2, X, "nowhere.npy", {"x": X}]),
)
def test_features_in_memory(columns, framed, labels, vectors, test):
    def call():
        source = columns
        if framed:
            source = pd.DataFrame({name: list(column) for name, column in columns.items() if np.ndim(column)})
        return read_features(source, vectors=vectors, labels=labels, test=test)

    def made():  # what pandas itself refuses is no matter of ours
        try:
            pd.DataFrame({name: list(column) for name, column in columns.items() if np.ndim(column)})
        except ValueError:
            return False
        return True

    if not framed or made():
        own_error(call)


# ---- stores ----

TREE = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
JSON = st.recursive(
    st.sampled_from([None, True, -1, 0, 3, 1.5, "", "a", 10**30]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bytes", "sha256", "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def stored(place):
    data = HierarchicalDataset.from_features(X, np.arange(8) % 3, TREE, ids=np.arange(8), source=["text"] * 8)
    data.save(place / "store")
    return {file.name: file.read_bytes() for file in (place / "store").iterdir()}


@fuzz(20)
@given(data=st.data(), verify=st.booleans(), mmap=st.booleans())
def test_altered_stores(data, verify, mmap, stored, in_folder):
    files = dict(stored)
    name = data.draw(st.sampled_from(sorted(files)))
    if name.endswith(".json") and data.draw(st.booleans()):
        content = json.loads(files[name])
        content[data.draw(st.sampled_from(sorted(content)))] = data.draw(JSON)
        files[name] = json.dumps(content).encode()
    else:
        files[name] = data.draw(altered([files[name]]))
    if name != "store.json" and data.draw(st.booleans()):  # the sizes fit
        about = json.loads(files["store.json"])
        about["files"][name]["bytes"] = len(files[name])
        files["store.json"] = json.dumps(about).encode()
    in_folder(files, lambda folder, root: read_store(folder, mmap=mmap, verify=verify))
