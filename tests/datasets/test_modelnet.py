"""ModelNet: its superclasses, every form that it lies around in, what is broken, the real files."""

import json
import shutil
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.real_data import SHARED

from hiercl.datasets import load
from hiercl.datasets.clouds import sample_surface, unit_sphere
from hiercl.datasets.modelnet import forms as modelnet_forms
from hiercl.datasets.modelnet import reading as modelnet
from hiercl.datasets.modelnet.forms import find_shapes
from hiercl.datasets.modelnet.reading import UnreadableShapes, hierarchy, note

RAW = SHARED / "modelnet40" / "raw"
POINTS = 64  # of the clouds that the tests write
SHAPES = {  # shape: split
    "airplane_0001": "train",
    "airplane_0627": "test",
    "chair_0001": "train",
    "chair_0002": "train",
    "chair_0890": "test",
    "night_stand_0001": "train",
    "night_stand_0201": "test",
}
needs_raw = pytest.mark.skipif(not RAW.is_dir(), reason="the real files are not at ../shared/data")


# ---- tiny sources ----


def mesh(shape):
    """Some triangles, other ones for every shape."""
    generator = np.random.default_rng(zlib.crc32(shape.encode()))
    vertices = (generator.normal(size=(6, 3)) * (1, 2, 5)).round(6) + 7
    return vertices, np.array([[0, 1, 2], [0, 2, 3], [2, 3, 4], [3, 4, 5]])


def cloud(shape):
    return sample_surface(*mesh(shape), POINTS, np.random.default_rng(1)).astype(np.float32)


def kind(shape):
    return shape.rsplit("_", 1)[0]


def write_meshes(folder):
    for shape, split in SHAPES.items():
        vertices, faces = mesh(shape)
        lines = [
            "OFF6 4 0",
            *(f"{x} {y} {z}" for x, y, z in vertices.tolist()),
            *(f"3 {a} {b} {c}" for a, b, c in faces),
        ]
        file = folder / "ModelNet40" / kind(shape) / split / f"{shape}.off"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


def write_hdf5(folder):
    folder = folder / "modelnet40_ply_hdf5_2048"
    folder.mkdir(parents=True)
    classes = hierarchy().leaf_names
    (folder / "shape_names.txt").write_text("\n".join(classes) + "\n")
    for split in ("train", "test"):
        shapes = [shape for shape in SHAPES if SHAPES[shape] == split]
        files = [(f"ply_data_{split}0.h5", shapes[:2]), (f"ply_data_{split}1.h5", shapes[2:])]
        (folder / f"{split}_files.txt").write_text("".join(f"data/somewhere/{file}\n" for file, _ in files))
        for i, (file, part) in enumerate(files):
            with h5py.File(folder / file, "w") as content:
                content["data"] = np.stack([cloud(shape)[:, [0, 2, 1]] for shape in part])  # y up
                content["label"] = np.array([[classes.index(kind(shape))] for shape in part], dtype=np.uint8)
            names = json.dumps([f"{kind(shape)}/{shape}.ply" for shape in part])
            (folder / f"ply_data_{split}_{i}_id2file.json").write_text(names)


def write_resampled(folder):
    folder = folder / "modelnet40_normal_resampled"
    for shape in SHAPES:
        (folder / kind(shape)).mkdir(parents=True, exist_ok=True)
        values = np.concatenate([cloud(shape)[:, [0, 2, 1]], np.zeros((POINTS, 3))], axis=1)  # y up
        np.savetxt(folder / kind(shape) / f"{shape}.txt", values, fmt="%.9g", delimiter=",")
    for split in ("train", "test"):
        listed = [shape for shape in SHAPES if SHAPES[shape] == split]
        (folder / f"modelnet40_{split}.txt").write_text("\n".join(listed) + "\n")


def arrays(shapes=tuple(SHAPES)):
    classes = sorted({kind(shape) for shape in SHAPES})
    return {
        "points": np.stack([cloud(shape) for shape in shapes]),
        "label": np.array([classes.index(kind(shape)) for shape in shapes]),
        "class_names": np.array(classes),
        "names": np.array(shapes),
        "split": np.array([SHAPES[shape] for shape in shapes]),
    }


def write_arrays(folder):
    folder.mkdir()
    np.savez(folder / "shapes.npz", **arrays())


FORMS = {"meshes": write_meshes, "hdf5": write_hdf5, "resampled": write_resampled, "arrays": write_arrays}


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr(modelnet_forms, "TEXT_POINTS", POINTS)


@pytest.fixture
def source(tmp_path):
    """The function that writes a form and gives its path."""

    def write(form, zipped=False):
        folder = tmp_path / form
        FORMS[form](folder)
        if not zipped:
            return folder
        with zipfile.ZipFile(tmp_path / f"{form}.zip", "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
        return tmp_path / f"{form}.zip"

    return write


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def by_id(*parts):
    return {str(i): item for data in parts for i, item in zip(data.ids, data.items, strict=True)}


def in_order(points):
    return points[np.lexsort(points.T)]


# ---- superclasses ----


def test_eleven_superclasses_of_forty_classes():
    tree = hierarchy("modelnet40")
    assert tree.sizes == (11, 40) and tree.level_names == ("superclass", "class")
    assert list(tree.leaf_names) == sorted(tree.leaf_names), "the official ids are alphabetical"
    assert tree.path(tree.leaf_names.index("night_stand")) == ("storage", "night_stand")
    assert sorted(tree.counts(np.arange(40), 0).tolist()) == [2, 2, 2, 2, 2, 4, 5, 5, 5, 5, 6]


def test_modelnet10_is_a_part_of_the_same_tree():
    whole, ten = hierarchy("modelnet40"), hierarchy("modelnet10")
    assert ten.sizes == (5, 10) and list(ten.leaf_names) == sorted(ten.leaf_names)
    paths = {whole.path(leaf) for leaf in range(40)}
    assert {ten.path(leaf) for leaf in range(10)} <= paths
    assert ten == whole.subset([whole.leaf_names.index(leaf) for leaf in ten.leaf_names])[0]


@pytest.mark.skipif(not RAW.is_dir(), reason="the real files are not at ../shared/data")
def test_the_classes_are_the_official_ones():
    official = (RAW / "modelnet40_normal_resampled" / "modelnet40_shape_names.txt").read_text().split()
    assert list(hierarchy().leaf_names) == official


def own_file(tmp_path, content):
    (tmp_path / "own.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / "own.json"


def test_superclasses_of_your_own(source, root, tmp_path):
    path = source("meshes")
    before, _ = load("modelnet10", root=root, source=path)
    rest = [leaf for leaf in hierarchy("modelnet10").leaf_names if leaf not in ("chair", "sofa")]
    file = own_file(tmp_path, {"stands": rest, "seats": {"single": ["chair"], "several": ["sofa"]}})
    train, test = load("modelnet10", root=root, superclasses=file)
    assert train.hierarchy == test.hierarchy and train.hierarchy.sizes == (2, 10, 10)
    names = lambda data: [data.hierarchy.path(label)[-1] for label in data.labels]  # noqa: E731
    assert names(train) == names(before) and train.hierarchy.path(train.labels[0]) == ("seats", "single", "chair")
    assert isinstance(train.items, np.memmap), "the stores do not depend on the superclasses"
    nested = hierarchy(
        "modelnet40", own_file(tmp_path, json.loads(Path(modelnet.__file__).with_name("by_use.json").read_text()))
    )
    assert nested == hierarchy("modelnet40")


EVERY = list(hierarchy().leaf_names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"all": EVERY[1:]}, "own.json: these classes are missing: airplane"),
        ({"all": [*EVERY, "aeroplane"]}, "own.json: .* are no classes of ModelNet: aeroplane"),
        ({"all": EVERY, "again": ["chair"]}, "own.json: .* are in it more than once: chair"),
        ('{"all": ["chair"', "own.json is no hierarchy of superclasses"),
        ('["chair"]', "own.json is no hierarchy .* must be a mapping"),
        ({"all": 3}, "own.json is no hierarchy of superclasses"),
    ],
)
def test_superclasses_that_cannot_be(tmp_path, root, content, message):
    with pytest.raises(ValueError, match=message):
        load("modelnet40", root=root, superclasses=own_file(tmp_path, content))


def test_superclasses_that_are_not_there(tmp_path, as_a_user):
    with pytest.raises(ValueError, match="give 'use' or 'shape', or a JSON file; there is no such file"):
        hierarchy("modelnet40", tmp_path / "none.json")
    for wrong in (["chair"], None, 3):
        with pytest.raises(ValueError, match="superclasses="):
            hierarchy("modelnet40", wrong)
    with pytest.raises(ValueError, match="Known: modelnet10, modelnet40"):
        hierarchy("modelnet30")


# ---- every form ----


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_shapes(source, root, form, zipped):
    train, test = load("modelnet40", root=root, source=source(form, zipped), points=POINTS)
    tree = hierarchy("modelnet40")
    assert train.hierarchy == test.hierarchy == tree and train.name == "modelnet40"
    assert train.note == test.note == "partial: 7 of 12,311 shapes in 3 classes"
    for split, data in {"train": train, "test": test}.items():
        assert sorted(data.ids) == sorted(shape for shape in SHAPES if SHAPES[shape] == split)
        assert [tree.leaf_names[label] for label in data.labels] == [kind(str(shape)) for shape in data.ids]
        assert data.items.shape[1:] == (POINTS, 3) and data.items.dtype == np.float32
    for shape, points in by_id(train, test).items():
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(points, axis=1).max(), 1, rtol=1e-6)
        if form != "meshes":  # all points of the cloud, in another order
            np.testing.assert_allclose(in_order(points), in_order(unit_sphere(cloud(shape))), atol=1e-5)


def test_points_of_meshes_lie_on_them(source, root):
    found = by_id(*load("modelnet40", root=root, source=source("meshes"), points=5000))
    for shape, points in found.items():
        expected = unit_sphere(sample_surface(*mesh(shape), 50_000, np.random.default_rng(0)))
        np.testing.assert_allclose(points.max(axis=0), expected.max(axis=0), atol=0.05)
        np.testing.assert_allclose(np.cov(points.T), np.cov(expected.T), atol=0.02)


def test_modelnet10_from_a_source_of_modelnet40(source, root):
    path = source("meshes")
    ten, all_of_them = load("modelnet10", root=root, source=path), load("modelnet40", root=root, source=path)
    assert sorted(by_id(*ten)) == [shape for shape in SHAPES if kind(shape) != "airplane"]
    for shape, points in by_id(*ten).items():
        np.testing.assert_array_equal(points, by_id(*all_of_them)[shape])
    assert ten[0].note == "partial: 5 of 4,899 shapes in 2 classes"


def test_resampled_files_have_lists_of_their_own_for_modelnet10(source, root):
    path = source("resampled")
    folder = path / "modelnet40_normal_resampled"
    (folder / "modelnet10_train.txt").write_text("chair_0002\n")
    (folder / "modelnet10_test.txt").write_text("chair_0890\n")
    assert sorted(by_id(*load("modelnet10", root=root, source=path, points=9))) == ["chair_0002", "chair_0890"]
    assert len(by_id(*load("modelnet40", root=root, source=path, points=9))) == len(SHAPES)


def test_hdf5_files_without_names_and_lists(source, root):
    path = source("hdf5")
    for file in [*path.rglob("*_id2file.json"), *path.rglob("*_files.txt")]:
        file.unlink()
    train, test = load("modelnet40", root=root, source=path, points=POINTS)
    assert train.ids.tolist() == [*(f"ply_data_train{i}_{row:04}" for i in (0, 1) for row in (0, 1))]
    np.testing.assert_allclose(in_order(train.items[1]), in_order(unit_sphere(cloud("chair_0001"))), atol=1e-5)
    assert len(test) == 3


def test_hdf5_files_of_other_names(source, root):
    place = source("hdf5") / "modelnet40_ply_hdf5_2048"
    for file in list(place.iterdir()):
        file.rename(file.with_name(file.name.replace("ply_data_", "").replace(".h5", ".hdf5")))
    for split in ("train", "test"):
        (place / f"{split}_files.txt").unlink()
    train, test = load("modelnet40", root, source=place, points=POINTS)
    assert sorted([*train.ids, *test.ids]) == sorted(SHAPES) and len(test) == 3


@pytest.mark.parametrize("kind", ["external", "virtual", "link", "soft"])
def test_hdf5_files_that_lead_elsewhere_are_refused(source, root, tmp_path, kind):
    place = source("hdf5")
    secret = tmp_path / "secret.bin"
    np.random.default_rng(0).normal(size=(2, 2048, 3)).astype("<f4").tofile(secret)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data"] = np.fromfile(secret, "<f4").reshape(2, 2048, 3)
    with h5py.File(place / H5_TRAIN, "r+") as content:
        shape = content["data"].shape
        del content["data"]
        if kind == "external":
            content.create_dataset("data", shape, "<f4", external=[(str(secret), 0, secret.stat().st_size)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, "<f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "data", shape)
            content.create_virtual_dataset("data", layout)
        elif kind == "link":
            content["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "data")
        else:
            content["data"] = h5py.SoftLink("/label")
    with pytest.raises(UnreadableShapes, match=r"keeps its numbers in another file|is a link to another place"):
        load("modelnet40", root, points=POINTS, source=place)


def test_what_claims_to_be_huge_is_not_unpacked(source, root, tmp_path):
    bomb = tmp_path / "ModelNet40.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("ModelNet40/chair/train/chair_0001.off", "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(b"0 0 0 \n" * 150_000)
        archive.writestr("ModelNet40/chair/test/chair_0002.off", "OFF 3 1 0\n 0 0 0\n 1 0 0\n 0 1 0\n 3 0 1 2\n")
    assert bomb.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(UnreadableShapes, match=r"chair_0001.off: it takes 0.3 GiB, and files of more than 0.25 GiB"):
        load("modelnet40", root, points=POINTS, source=bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    with h5py.File(source("hdf5") / H5_TRAIN, "r+") as content:
        del content["data"]
        content.create_dataset("data", (2**40, 2048, 3), "<f4", chunks=(1, 2048, 3))
    with pytest.raises(UnreadableShapes, match=r"the array '/data' takes .* GiB"):
        load("modelnet40", root, points=POINTS, source=tmp_path / "hdf5")


def test_hdf5_files_without_h5py(source, root, monkeypatch):
    path = source("hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        load("modelnet40", root=root, source=path)


def test_arrays_of_two_files_with_names_only(tmp_path, root):
    (tmp_path / "mine").mkdir()
    for split in ("train", "test"):
        content = arrays([shape for shape in SHAPES if SHAPES[shape] == split])
        np.savez(
            tmp_path / "mine" / f"{split}.npz", points=content["points"].astype(np.float16), names=content["names"]
        )
    train, test = load("modelnet40", root=root, source=tmp_path / "mine", points=16)
    assert sorted(train.ids) + sorted(test.ids) == sorted(SHAPES, key=lambda shape: (SHAPES[shape] == "test", shape))


# ---- stores ----


def test_the_stores_are_made_once(source, root, monkeypatch):
    path = source("arrays")
    first, _ = load("modelnet40", root=root, source=path, points=8)
    monkeypatch.setattr(modelnet, "find_shapes", lambda *_: pytest.fail("the source is needed no more"))
    for again in ({}, {"source": path}):
        train, _ = load("modelnet40", root=root, points=8, **again)
        assert isinstance(train.items, np.memmap)
        np.testing.assert_array_equal(train.items, first.items)
    assert sorted(file.name for file in (root / "modelnet40-8-random").iterdir()) == ["source.json", "test", "train"]
    assert [folder.name for folder in root.iterdir()] == ["modelnet40-8-random"]


def test_another_source_is_an_error_until_told_so(source, root):
    load("modelnet40", root=root, source=source("arrays"), points=8)
    with pytest.raises(
        ValueError, match=r"were made from .*arrays, not from .*meshes: read them without source .*overwrite=True"
    ):
        load("modelnet40", root=root, source=source("meshes"), points=8)
    load("modelnet40", root=root, source=root.parent / "meshes", points=8, overwrite=True)
    load("modelnet40", root=root, source=root.parent / "meshes", points=8)


def test_options_have_stores_of_their_own(source, root):
    path = source("meshes")
    farthest, _ = load("modelnet40", root=root, source=path, points=32, sampling="farthest")
    drawn, _ = load("modelnet40", root=root, source=path, points=32)

    def gap(points):
        distance = np.linalg.norm(points[:, None] - points, axis=-1)
        return distance[~np.eye(32, dtype=bool)].min()

    assert np.mean([gap(p) for p in farthest.items]) > 3 * np.mean([gap(p) for p in drawn.items])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "points must be an integer of at least 2, got 1"),
        ({"points": True}, "points must be an integer of at least 2, got True"),
        ({"points": 1.5}, "points must be an integer"),
        ({"sampling": "grid"}, "sampling must be 'random' or 'farthest', got 'grid'"),
        ({"size": 3}, "Unknown option of modelnet40: 'size'.* Known: .*points, sampling, .*source"),
    ],
)
def test_options_that_cannot_be(root, options, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        load("modelnet40", root=root, **options)


def test_the_note_says_what_is_there():
    assert note("modelnet40", 9843, 2468, 40) == note("modelnet10", 3991, 908, 10) == ""
    assert note("modelnet40", 9840, 2468, 40) == "partial: 9,840 of 9,843 training shapes"
    assert note("modelnet10", 3991, 454, 10) == "partial: 454 of 908 test shapes"
    assert note("modelnet10", 3000, 454, 10) == "partial: 3,454 of 4,899 shapes"
    assert note("modelnet10", 4000, 908, 10) == "4,000 and 908 shapes instead of the official 3,991 and 908"


# ---- what is broken ----


def cut(file, by):
    file.write_bytes(file.read_bytes()[:-by])


def change_hdf5(file, **changes):
    with h5py.File(file, "r+") as content:
        for key, value in changes.items():
            del content[key]
            if value is not None:
                content[key] = value


def change_arrays(path, **changes):
    np.savez(path / "shapes.npz", **{k: v for k, v in (arrays() | changes).items() if v is not None})


MESHES = "ModelNet40"
TEXT = "modelnet40_normal_resampled/chair/chair_0001.txt"
TEST = "modelnet40_normal_resampled/modelnet40_test.txt"
H5_TRAIN, H5, NAMES = (
    f"modelnet40_ply_hdf5_2048/ply_data_{name}" for name in ("train1.h5", "test0.h5", "test_0_id2file.json")
)
NOT_FINITE = np.where(np.arange(7)[:, None, None] == 3, np.nan, arrays()["points"])
BROKEN = [
    ("meshes", lambda p: cut(p / MESHES / "chair/train/chair_0001.off", 12), "chair_0001.off: the file is cut"),
    ("meshes", lambda p: (p / MESHES / "chair").rename(p / MESHES / "chiar"), "'chiar' is no class of ModelNet"),
    ("resampled", lambda p: cut(p / TEXT, 9), "chair_0001.txt: .*columns"),
    ("resampled", lambda p: (p / TEXT).write_text(""), "chair_0001.txt: the file is empty"),
    ("resampled", lambda p: (p / TEXT).write_text("1,2,3\n"), "chair_0001.txt: a line has 3 values"),
    ("resampled", lambda p: (p / TEXT).write_text("1,2,3,0,0,1\n"), "chair_0001.txt: .* has 1 lines instead of 64"),
    ("resampled", lambda p: (p / TEXT).write_text("a,b\n"), "chair_0001.txt: could not convert"),
    ("resampled", lambda p: (p / TEXT).unlink(), "chair_0001.txt: there is no such file"),
    ("resampled", lambda p: (p / TEST).unlink(), "modelnet40_test.txt: there is no such file"),
    ("resampled", lambda p: (p / TEST).write_text("../x_1"), "'../x' is no class of ModelNet"),
    ("hdf5", lambda p: cut(p / H5_TRAIN, 300), "ply_data_train1.h5: .*truncated"),
    ("hdf5", lambda p: (p / H5_TRAIN).unlink(), "ply_data_train1.h5: there is no such file"),
    ("hdf5", lambda p: change_hdf5(p / H5, label=None), r"test0.h5: it has no data set 'label', only \['data'\]"),
    ("hdf5", lambda p: change_hdf5(p / H5, label=[[7]]), r"2 shapes need integer labels \[2\]"),
    ("hdf5", lambda p: change_hdf5(p / H5, label=[40, 1]), "'label 40' is no class of ModelNet"),
    ("hdf5", lambda p: change_hdf5(p / H5, data=np.ones((2, 9, 6))), r"must be floating \[n, p, 3\]"),
    ("hdf5", lambda p: change_hdf5(p / H5, data=np.full((2, 9, 3), np.nan)), "not finite"),
    ("hdf5", lambda p: change_hdf5(p / H5, data=np.ones((2, 9, 3))), "all points .* are equal"),
    ("hdf5", lambda p: (p / NAMES).write_text("[]"), "has 2 shapes, but .*json names 0"),
    ("arrays", lambda p: cut(p / "shapes.npz", 100), "shapes.npz: "),
    ("arrays", lambda p: change_arrays(p, points=None), "it needs points, and names or label and class_names; it has"),
    ("arrays", lambda p: change_arrays(p, names=None, class_names=None), "it needs points, and names or label"),
    ("arrays", lambda p: change_arrays(p, split=None), "7 shapes need as many names, and a split"),
    ("arrays", lambda p: change_arrays(p, split=np.array(["val"] * 7)), "a split of as many 'train' or 'test'"),
    ("arrays", lambda p: change_arrays(p, names=np.array(["chair_1"])), "7 shapes need as many names"),
    ("arrays", lambda p: change_arrays(p, points=np.float32(3)), r"must be floating .* they are float32 \[\]"),
    ("arrays", lambda p: change_arrays(p, points=NOT_FINITE), r"shapes.npz\[3\]: it has points that are not finite"),
    ("arrays", lambda p: change_arrays(p, names=np.array([{}] * 7, dtype=object)), "Object arrays cannot be loaded"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "harm", "message"), BROKEN, ids=[f"{row[0]}-{i}" for i, row in enumerate(BROKEN)])
def test_broken_files_are_named_and_nothing_stays_behind(source, root, form, harm, message):
    path = source(form)
    harm(path)
    with pytest.raises(UnreadableShapes, match=message):
        load("modelnet40", root=root, source=path, points=8)
    assert not root.exists()


def test_all_broken_files_are_named_at_once_and_can_be_left_out(source, root):
    path = source("meshes")
    cut(path / MESHES / "chair/train/chair_0001.off", 12)
    (path / MESHES / "airplane/test/airplane_0627.off").write_text("no mesh")
    with pytest.raises(UnreadableShapes, match=r"2 of the files in (.|\n)*skip_unreadable=True") as raised:
        load("modelnet40", root=root, source=path)
    assert {Path(file).stem for file in raised.value.problems} == {"chair_0001", "airplane_0627"}
    with pytest.warns(UserWarning, match=r"skip_unreadable(.|\n)*chair_0001"):
        train, test = load("modelnet40", root=root, source=path, skip_unreadable=True)
    assert sorted(by_id(train, test)) == sorted(set(SHAPES) - {"chair_0001", "airplane_0627"})
    assert train.note.endswith("; 2 files left out that cannot be read")


def test_more_points_than_a_source_has(source, root):
    with pytest.raises(ValueError, match=r"^points=65: .*shapes.npz\[0\] has 64 points; ask for fewer"):
        load("modelnet40", root=root, source=source("arrays"), points=65)


def test_a_shape_in_both_splits(source, root):
    folder = source("meshes") / MESHES
    file = next(folder.rglob("train/*.off"))
    shutil.copy(file, file.parents[1] / "test" / file.name)
    with pytest.raises(ValueError, match=r"has \w+ twice, .* \(train\) and .* \(test\)|\(test\) and .* \(train\)"):
        load("modelnet40", root=root, source=folder)


def test_capital_letters_are_read_as_well(source, root):
    path = source("meshes")
    expected = by_id(*load("modelnet40", root=root, source=path, points=8))
    for file in list(path.rglob("*.off")):
        file.rename(file.with_suffix(".OFF"))
    found = by_id(*load("modelnet40", root=root / "other", source=path, points=8))
    assert sorted(found) == sorted(expected)


def test_a_folder_that_holds_an_archive(source, tmp_path):
    archive = source("meshes", zipped=True)
    (tmp_path / "around").mkdir()
    archive.rename(tmp_path / "around" / archive.name)
    with pytest.raises(ValueError, match=r"but meshes.zip: give the path of an archive itself"):
        find_shapes(tmp_path / "around")


def test_arrays_of_another_form_are_named(tmp_path):
    np.save(tmp_path / "single.npy", np.zeros((2, 5, 3), dtype=np.float32))
    (tmp_path / "single.npy").rename(tmp_path / "train.npz")
    points = {"points": np.zeros((2, 5, 3), dtype=np.float32)}
    np.savez(tmp_path / "test.npz", names=np.array("chair_0001"), **points)
    problems = find_shapes(tmp_path).problems
    assert "single array" in problems["train.npz"] and "names must be a list of names" in problems["test.npz"]


def test_a_folder_with_two_copies(source, root):
    path = source("meshes")
    shutil.copytree(path / MESHES, path / "copy")
    with pytest.raises(ValueError, match=r"has \w+ twice, .* and .*: give the path of one ModelNet"):
        load("modelnet40", root=root, source=path, points=8)
    assert not (root / "modelnet40-8-random").exists()


def test_classes_with_few_shapes_are_left_out(source, root):
    train, test = load("modelnet40", root=root, source=source("arrays"), points=8, least=2)
    counts = train.counts() + test.counts()
    assert counts.min() >= 2 and train.hierarchy == test.hierarchy
    assert train.note.endswith(f"our subset: the {len(counts)} classes with at least 2 shapes")
    with pytest.raises(ValueError, match="least=99: no class has so many"):
        load("modelnet40", root=root, points=8, least=99)


@pytest.mark.parametrize("broken", ["deflate stream", "directory"])
def test_a_damaged_archive_is_told_by_its_name(source, root, tmp_path, broken):
    path = tmp_path / "ModelNet40.zip"
    path.write_bytes(source("meshes", True).read_bytes())
    content = bytearray(path.read_bytes())
    place = 200 if broken == "deflate stream" else content.rindex(b"PK\x01\x02")
    content[place : place + 60] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ModelNet40\.zip"):
        load("modelnet40", root=root, source=path, points=8)
    with pytest.raises(ValueError, match="damaged"):
        modelnet._check_archive(path, "modelnet40")


def test_a_source_without_test_shapes(source, root):
    path = source("arrays")
    change_arrays(path, split=np.array(["train"] * 7))
    with pytest.raises(ValueError, match="has no shapes for the test"):
        load("modelnet40", root=root, source=path, points=8)


def test_an_archive_that_is_cut(source, root):
    path = source("meshes", zipped=True)
    cut(path, 200)
    with pytest.raises(ValueError, match=r"meshes.zip is cut, or no zip archive: download it again"):
        load("modelnet40", root=root, source=path)


def test_a_damaged_member_of_an_archive(source, root):
    path = source("meshes", zipped=True)
    content = bytearray(path.read_bytes())
    content[content.index(b"OFF6") + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableShapes, match=r"airplane_0627.off: Bad CRC-32"):
        load("modelnet40", root=root, source=path)


@pytest.mark.parametrize("name", ["../../evil.off", "/etc/chair/test/a.off", "C:/chair/test/a.off", "a\\..\\b.off"])
def test_an_archive_that_leads_elsewhere(source, root, name):
    path = source("meshes", zipped=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), "OFF")
    with pytest.raises(ValueError, match="leads out of the archive: do not trust it"):
        load("modelnet40", root=root, source=path)


def test_a_path_without_a_form_or_with_several(source, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.off").write_text("OFF")
    for path, held in (("empty", "no file"), ("a.off", "no known form of ModelNet")):
        with pytest.raises(ValueError, match=rf"{path} holds {held}(.|\n)*train_?.*\.txt"):
            find_shapes(tmp_path / path)
    source("meshes"), source("arrays")
    with pytest.raises(ValueError, match=r"holds several forms of ModelNet \(.+, .+\), give the path of one"):
        find_shapes(tmp_path)
    with pytest.raises(ValueError, match=r"there is no file or folder .*nowhere"):
        find_shapes(tmp_path / "nowhere")


def test_an_interrupted_replacement_leaves_the_old_stores(source, root, monkeypatch):
    path = source("meshes")
    before, _ = load("modelnet40", root=root, source=path)
    write = modelnet.write_store

    def interrupted(data, place):
        if place.name == "test":
            raise KeyboardInterrupt
        write(data, place)

    monkeypatch.setattr(modelnet, "write_store", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("modelnet40", root=root, source=source("arrays"), overwrite=True, points=8)
    with pytest.raises(KeyboardInterrupt):
        load("modelnet40", root=root, source=path, overwrite=True)
    np.testing.assert_array_equal(load("modelnet40", root=root, source=path)[0].items, before.items)
    assert [folder.name for folder in root.iterdir()] == ["modelnet40"]


@pytest.mark.parametrize("after", range(6))
def test_an_error_while_the_new_stores_are_moved_puts_back_the_old(source, root, monkeypatch, after):
    before, _ = load("modelnet40", root=root, source=source("meshes"), points=8)
    move, moved = Path.rename, []

    def interrupted(path, target):
        if path.name.removeprefix("old ") in ("train", "test", "source.json") and path.parent.parent == root:
            if len(moved) == after:
                monkeypatch.setattr(Path, "rename", move)
                raise KeyboardInterrupt
            moved.append(path)
        return move(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("modelnet40", root=root, source=source("arrays"), overwrite=True, points=8)
    again, _ = load("modelnet40", root=root, source=root.parent / "meshes", points=8)
    np.testing.assert_array_equal(again.items, before.items)
    assert [folder.name for folder in root.iterdir()] == ["modelnet40-8-random"]


# ---- the download ----


def test_without_a_mirror_the_error_says_what_to_do(root, monkeypatch):
    nobody = modelnet.Mirror("https://127.0.0.1:9/ModelNet40.zip")
    monkeypatch.setattr(modelnet, "MIRRORS", {"modelnet40": (nobody,)})
    with pytest.raises(
        ConnectionError, match=r"127.0.0.1:9(.|\n)*hiercl data modelnet40 --from PATH(.|\n)*ply_data_train0.h5"
    ):
        load("modelnet40", root=root)


def test_an_archive_without_a_checksum_is_checked_by_its_content(source, tmp_path, monkeypatch):
    path = source("meshes", zipped=True)
    with pytest.raises(ValueError, match="it has 4 shapes for train instead of 9,843"):
        modelnet._check_archive(path, "modelnet40")
    monkeypatch.setattr(modelnet, "OFFICIAL", {"modelnet40": (4, 3), "modelnet10": (3, 2)})
    modelnet._check_archive(path, "modelnet40")
    modelnet._check_archive(path, "modelnet10")
    content = bytearray(path.read_bytes())
    content[content.index(b"OFF6") + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"airplane_0627.off in it is damaged"):
        modelnet._check_archive(path, "modelnet40")
    path.write_text("<html>")
    with pytest.raises(ValueError, match="it is no zip archive"):
        modelnet._check_archive(path, "modelnet40")


def test_a_downloaded_archive_is_read(source, root, monkeypatch):
    archive = source("meshes", zipped=True)
    (root / "modelnet-download").mkdir(parents=True)
    archive.rename(root / "modelnet-download" / "ModelNet40.zip")
    assert len(by_id(*load("modelnet40", root=root))) == len(SHAPES)


# ---- the real files ----


@needs_raw
def test_the_real_files_of_two_forms_agree(monkeypatch):
    """stairs_0129 is there in both: after the change of axes, both clouds fill the same boxes of space."""
    monkeypatch.setattr(modelnet_forms, "TEXT_POINTS", 10_000)
    cloud = {}
    for folder in ("ModelNet40", "modelnet40_normal_resampled"):
        shapes = {shape.id: shape for shape in find_shapes(RAW / folder).shapes}
        assert len(shapes) > 10 and shapes["stairs_0129"].split == "test"
        cloud[folder] = modelnet._cloud(shapes["stairs_0129"], 4000, "random").astype(np.float64)
    a, b = cloud.values()
    np.testing.assert_allclose(np.cov(a.T), np.cov(b.T), atol=0.02)
    np.testing.assert_allclose(a.max(axis=0), b.max(axis=0), atol=0.03)
    near = lambda x, y: np.median(np.linalg.norm(x[:500, None] - y, axis=-1).min(axis=1))  # noqa: E731
    assert near(a, b) < 0.02
    for mirrored in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)):
        assert near(a, b * mirrored) > 1.5 * near(a, b), "no axis is mirrored"


@needs_raw
@pytest.mark.parametrize("folder", ["ModelNet40", "modelnet40_normal_resampled"])
def test_z_is_up_in_the_real_files(folder, monkeypatch):
    """The seat and the legs of a chair or a stool lie below the middle of its height, flat things are flat in z."""
    monkeypatch.setattr(modelnet_forms, "TEXT_POINTS", 10_000)
    found = {shape.class_name: modelnet._cloud(shape, 2000, "random") for shape in find_shapes(RAW / folder).shapes}
    height = {name: np.ptp(points[:, 2]) / np.ptp(points, axis=0).max() for name, points in found.items()}
    assert height["airplane"] < 0.5 and height["stairs"] > 0.6
    if folder != "ModelNet40":
        assert height["bottle"] == height["lamp"] == height["person"] == 1, "tall things are tallest in z"
        assert height["keyboard"] < 0.3 and height["bed"] < 0.7 and height["bathtub"] < 0.6


@needs_raw
def test_the_shared_arrays_are_a_source(root):
    train, test = load("modelnet10", root=root, source=SHARED / "modelnet10", points=128)
    assert (len(train), len(test)) == (3991, 454) and train.note == "partial: 454 of 908 test shapes"


def test_the_real_modelnet10(real_modelnet10):
    train, test = real_modelnet10
    assert train.hierarchy == hierarchy("modelnet10") and train.counts().min() > 100
    if train.note:  # from the project's shared data
        assert (len(train), len(test)) == (3991, 454) and train.note == "partial: 454 of 908 test shapes"
    assert train.items.shape[1:] == (1024, 3)
    names = [train.hierarchy.leaf_names[label] for label in train.labels]
    assert [kind(str(shape)) for shape in train.ids] == names
    radius = np.linalg.norm(train.items[::50], axis=-1).max(axis=1)
    np.testing.assert_allclose(radius, 1, rtol=1e-6)


def test_the_real_modelnet40(real_modelnet40):
    train, test = real_modelnet40
    assert train.hierarchy == hierarchy("modelnet40")
    if train.note:  # from the project's shared data
        assert (len(train), len(test)) == (9843, 2014) and train.counts().min() == 64 and test.counts().min() == 20
        assert train.note == test.note == "partial: 2,014 of 2,468 test shapes; from volumes"
    assert not set(train.ids) & set(test.ids)
