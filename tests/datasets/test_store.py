"""The array store: the round trip, all or nothing, and every way in which a file can be broken."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from hiercl.datasets import HierarchicalDataset, read_store, store, write_store
from hiercl.hierarchy.hierarchy import Hierarchy

TREE = Hierarchy.from_dict({"animal": ["cat", "dög"], "vehicle": ["car"]}, level_names=("kind", "class"))


def dataset(n=5, seed=0):
    generator = np.random.default_rng(seed)
    items = generator.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return HierarchicalDataset(items, generator.integers(0, 3, n), TREE, "lab", "partial: a few")


@pytest.fixture
def path(tmp_path):
    write_store(dataset(), tmp_path / "lab")
    return tmp_path / "lab"


def assert_same(a, b):
    np.testing.assert_array_equal(a.items, b.items)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert (a.hierarchy, a.name, a.note, a.modality) == (b.hierarchy, b.name, b.note, b.modality)


@pytest.mark.parametrize("mmap", [True, False])
def test_round_trip(path, mmap):
    data = read_store(path, mmap=mmap, verify=True)
    assert_same(data, dataset())
    assert isinstance(data.items, np.memmap) == mmap


def test_round_trip_of_points(tmp_path):
    points = np.random.default_rng(0).normal(size=(3, 16, 3)).astype(np.float32)
    data = HierarchicalDataset(points, np.array([0, 1, 2]), TREE)
    data.save(tmp_path / "points")
    assert_same(HierarchicalDataset.load(tmp_path / "points"), data)


def test_ids_are_kept(tmp_path):
    data = replace(dataset(), ids=np.array(["cat_1", "döga_2", "car_3", "x", ""]))
    write_store(data, tmp_path / "named")
    np.testing.assert_array_equal(read_store(tmp_path / "named", verify=True).ids, data.ids)
    write_store(read_store(tmp_path / "named").take([4, 1]), tmp_path / "part")
    assert read_store(tmp_path / "part").ids.tolist() == ["", "döga_2"]


def test_a_store_without_ids_has_none(path):
    assert not (path / "ids.npy").exists() and read_store(path).ids is None


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda file: file.unlink(), FileNotFoundError, "ids.npy is missing"),
        (lambda file: os.truncate(file, file.stat().st_size - 7), RuntimeError, "ids.npy.* cut or altered"),
        (lambda file: file.write_bytes(file.read_bytes()[:-4] + b"zzzz"), RuntimeError, "ids.npy does not have the"),
    ],
)
def test_broken_ids_are_named(tmp_path, harm, error, message):
    write_store(replace(dataset(), ids=np.array(list("abcde"))), tmp_path / "named")
    harm(tmp_path / "named" / "ids.npy")
    with pytest.raises(error, match=message):
        read_store(tmp_path / "named", verify=True)


def test_ids_of_another_number_are_found_without_the_checksum(tmp_path):
    write_store(replace(dataset(), ids=np.array(list("abcde"))), tmp_path / "named")
    np.save(tmp_path / "named" / "ids.npy", np.array(list("abcd")))
    about = json.loads((tmp_path / "named" / "store.json").read_text())
    about["files"]["ids.npy"]["bytes"] = (tmp_path / "named" / "ids.npy").stat().st_size
    change(tmp_path / "named", files=about["files"])
    with pytest.raises(RuntimeError, match=r"ids.npy holds .*\[4\].*store.json says"):
        read_store(tmp_path / "named")


def test_a_store_can_be_written_from_a_memory_mapped_one(path, tmp_path):
    write_store(read_store(path), tmp_path / "copy")
    assert_same(read_store(tmp_path / "copy", verify=True), dataset())


def test_store_json_is_complete_and_readable(path):
    about = json.loads((path / "store.json").read_text())
    assert about["counts"] == {"items": 5, "nodes": [2, 3]}
    assert about["items"] == {"dtype": "uint8", "shape": [5, 4, 4, 3]}
    assert set(about["files"]) | {"store.json"} == {file.name for file in path.iterdir()}
    assert "dög" in (path / "hierarchy.json").read_text(encoding="utf-8")


# ---- all or nothing ----


def test_an_existing_store_is_replaced_only_when_asked(path):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_store(dataset(seed=1), path)
    assert_same(read_store(path), dataset())
    write_store(dataset(seed=1), path, overwrite=True)
    assert_same(read_store(path), dataset(seed=1))
    assert [file.name for file in path.parent.iterdir()] == ["lab"]


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="is no array store"):
        write_store(dataset(), tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


@pytest.mark.parametrize("interrupt", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_stays_behind(tmp_path, monkeypatch, interrupt):
    def fail(path):
        raise interrupt

    monkeypatch.setattr(store, "_sha256", fail)
    with pytest.raises(type(interrupt)):
        write_store(dataset(), tmp_path / "lab")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interrupt", [OSError("busy"), KeyboardInterrupt()])
def test_the_old_store_survives_a_failed_replacement(path, monkeypatch, interrupt):
    rename = type(path).rename

    def fail_for_the_new_one(self, target):
        if self.name == "lab" and self.parent.name.startswith(".lab."):
            raise interrupt
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", fail_for_the_new_one)
    with pytest.raises(type(interrupt)):
        write_store(dataset(seed=1), path, overwrite=True)
    assert_same(read_store(path, verify=True), dataset())
    assert [file.name for file in path.parent.iterdir()] == ["lab"]


def test_a_store_that_another_process_wrote_first_is_kept(tmp_path, monkeypatch):
    write_files = store._write_files

    def while_another_process_writes(data, folder):
        monkeypatch.setattr(store, "_write_files", write_files)
        write_store(dataset(), tmp_path / "lab")
        write_files(data, folder)

    monkeypatch.setattr(store, "_write_files", while_another_process_writes)
    with pytest.raises(FileExistsError, match="another process"):
        write_store(dataset(seed=1), tmp_path / "lab")
    assert_same(read_store(tmp_path / "lab"), dataset())
    assert [file.name for file in tmp_path.iterdir()] == ["lab"]


# ---- broken stores ----


@pytest.mark.parametrize("file", ["items.npy", "labels.npy", "hierarchy.json", "store.json"])
def test_a_missing_file_is_named(path, file):
    (path / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} is missing.*make the store again"):
        read_store(path)


@pytest.mark.parametrize("file", ["items.npy", "labels.npy", "hierarchy.json", "store.json"])
def test_a_cut_file_is_named(path, file):
    os.truncate(path / file, (path / file).stat().st_size - 7)
    with pytest.raises(RuntimeError, match=f"{file}.* cut or altered.*make the store again"):
        read_store(path)


@pytest.mark.parametrize("file", ["items.npy", "labels.npy", "hierarchy.json"])
def test_an_altered_byte_is_found_by_the_checksum(path, file):
    content = bytearray((path / file).read_bytes())
    content[-9] ^= 1
    (path / file).write_bytes(content)
    with pytest.raises(RuntimeError, match=f"{file} does not have the checksum"):
        read_store(path, verify=True)


def test_an_altered_header_is_found_without_the_checksum(path):
    content = (path / "items.npy").read_bytes()
    (path / "items.npy").write_bytes(content.replace(b"(5, 4, 4, 3)", b"(5, 4, 3, 4)"))
    with pytest.raises(RuntimeError, match=r"items.npy holds.*store.json says"):
        read_store(path)
    (path / "items.npy").write_bytes(b"x" * len(content))
    with pytest.raises(RuntimeError, match=r"items.npy is no readable numpy array"):
        read_store(path)


def test_labels_that_do_not_fit_the_hierarchy_are_found_without_the_checksum(path):
    content = bytearray((path / "labels.npy").read_bytes())
    content[-8] = 77
    (path / "labels.npy").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"labels.npy, ids.npy or hierarchy.json.*label 77"):
        read_store(path)


def change(path, **fields):
    about = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps(about | fields))


@pytest.mark.parametrize("given", [5, None, "", "a\0b", ["lab"]])
def test_what_is_no_path_is_an_error(given, as_a_user):
    for use in (HierarchicalDataset.load, dataset().save, store.is_store):
        with pytest.raises(ValueError, match=f"^path={re.escape(repr(given))}: give a path"):
            use(given)


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file: give the folder of an array store"):
        HierarchicalDataset.load(tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="file is a file, and a folder is needed there"):
        dataset().save(tmp_path / "file" / "lab")


def test_an_unknown_version_is_named(path):
    change(path, version=99)
    with pytest.raises(RuntimeError, match=r"store.json has format version 99, this hiercl reads 1"):
        read_store(path)


def test_a_store_json_without_its_fields_is_named(path):
    change(path, files={})
    with pytest.raises(RuntimeError, match=r"store.json is altered, it has no entry for items.npy"):
        read_store(path)
    (path / "store.json").write_text('{"version": 1}')
    with pytest.raises(RuntimeError, match=r"store.json is empty, cut or altered \(name is None\)"):
        read_store(path)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"kind": "points"}, "says kind points, but the files hold images"),
        ({"kind": 5}, "kind is 5"),
        ({"counts": {"items": 7, "nodes": [2, 3]}}, "says counts .*7.*but the files hold .*5"),
        ({"counts": [5]}, r"counts is \[5\]"),
        ({"note": None}, "note is None"),
        ({"source": "../other"}, "its source is '../other'"),
        ({"source": 3}, "its source is 3"),
        ({"name": ["lab"]}, "name is"),
    ],
)
def test_fields_that_do_not_fit_the_files_are_named(path, fields, message):
    change(path, **fields)
    with pytest.raises(RuntimeError, match=f"store.json.*{message}"):
        read_store(path)


def test_arrays_that_claim_more_than_the_memory_are_refused(path):
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(
        117
    )
    (path / "labels.npy").write_bytes(header + b"\n")
    os.truncate(path / "labels.npy", 128 + 8 * 10**12)  # a sparse file, which takes no room
    about = json.loads((path / "store.json").read_text())
    about["files"]["labels.npy"]["bytes"] = 128 + 8 * 10**12
    change(path, files=about["files"], labels={"dtype": "int64", "shape": [10**12]})
    with pytest.raises(RuntimeError, match=r"labels.npy takes 7,450.6 GiB"):
        read_store(path)


def test_a_pickle_in_a_store_is_not_loaded(path):
    with open(path / "items.npy", "wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    about = json.loads((path / "store.json").read_text())
    about["files"]["items.npy"]["bytes"] = (path / "items.npy").stat().st_size
    change(path, files=about["files"])
    for mmap in (True, False):
        with pytest.raises(RuntimeError, match=r"items.npy is no readable numpy array"):
            read_store(path, mmap=mmap)
