"""HierarchicalDataset: what it accepts, its parts, and hiercl.datasets.load."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import hiercl.datasets.base
from hiercl.datasets import HierarchicalDataset, data_root, load, names
from hiercl.datasets.items import FORMS
from hiercl.hierarchy.hierarchy import Hierarchy

TREE = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car", "bus"]}, level_names=("kind", "class"))


def dataset(counts=(8, 8, 8, 8), seed=0):
    """Pictures whose first pixel is their number, so that a subset shows what it kept."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), counts))
    items = np.zeros((len(labels), 4, 4, 3), dtype=np.uint8)
    items[:, 0, 0, 0] = np.arange(len(labels))
    return HierarchicalDataset(items, labels, TREE)


def numbers(data):
    return data.items[:, 0, 0, 0].tolist()


def assert_part_of(part, whole):
    """Every item of the part is an item of the whole, once, with its own label name."""
    kept = numbers(part)
    assert len(set(kept)) == len(kept)
    name = lambda data, label: data.hierarchy.leaf_names[label]  # noqa: E731
    assert [name(part, label) for label in part.labels] == [name(whole, whole.labels[i]) for i in kept]


# ---- making one ----


def test_images_and_points_from_arrays_and_tensors():
    images = HierarchicalDataset.from_arrays(
        torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.tensor([0, 1, 2, 3]), TREE
    )
    assert images.modality == "images" and images.labels.dtype == np.int64 and len(images) == 4
    points = HierarchicalDataset.from_arrays(np.zeros((2, 16, 3)), np.array([0, 3], dtype=np.uint8), TREE)
    assert points.modality == "points" and points.items.dtype == np.float32 and points.labels.tolist() == [0, 3]


def test_label_columns_are_checked_and_become_leaf_ids():
    items = np.zeros((3, 8, 8, 1), dtype=np.uint8)
    data = HierarchicalDataset.from_arrays(items, [[0, 1], [1, 3], [1, 2]], TREE)
    assert data.labels.tolist() == [1, 3, 2]
    assert data.labels_at(0).tolist() == [0, 1, 1]
    with pytest.raises(
        ValueError, match=r"item 1 is a 'bus', whose label at level 0 is 1, but its labels are \[0, 3\]"
    ):
        HierarchicalDataset.from_arrays(items, [[0, 1], [0, 3], [1, 2]], TREE)


IMAGES = np.zeros((2, 8, 8, 3), dtype=np.uint8)
POINTS = np.zeros((2, 16, 3), dtype=np.float32)
BAD_POINTS = POINTS.copy()
BAD_POINTS[1, 5, 2] = np.nan


@pytest.mark.parametrize(
    ("items", "labels", "message"),
    [
        (IMAGES / 255.0, [0, 1], r"\(items \* 255\).round\(\).astype\('uint8'\)"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), [0, 1], r"items.transpose\(0, 2, 3, 1\)"),
        (IMAGES[..., 0], [0, 1], r"items\[..., None\]"),
        (IMAGES.astype(np.int64), [0, 1], "items must be images, uint8"),
        (np.zeros((2, 16, 6), dtype=np.float32), [0, 1], "items must be images, uint8"),
        (IMAGES[:0], np.zeros(0, dtype=np.int64), "at least one item"),
        (BAD_POINTS, [0, 1], "item 1 has points that are not finite"),
        (IMAGES, [0, 4], "item 1 has label 4, but the leaves are 0 to 3"),
        (IMAGES, [-2, 0], "item 0 has label -2"),
        (IMAGES, [0, 1, 2], r"2 items need labels \[2\], got \[3\]"),
        (IMAGES, [0.0, 1.0], "labels must be int64 leaf ids, got float64"),
        (IMAGES, ["cat", "dog"], "Hierarchy.from_labels"),
        (IMAGES, [["animal", "cat"], ["animal", "dog"]], "Hierarchy.from_labels"),
        (IMAGES, [[0, 0, 0], [0, 0, 1]], "3 columns, but the hierarchy has 2 levels"),
    ],
)
def test_wrong_arrays_are_errors_that_say_what_to_do(items, labels, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        HierarchicalDataset.from_arrays(items, labels, TREE)


MASKED = np.ma.masked_array([0, 1], mask=[False, True])
X = np.zeros((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda d: d.from_arrays([np.zeros((5, 3)), np.zeros((6, 3))], [0, 1], TREE),
            r"the shape \[5, 3\] and number 1",
        ),
        (lambda d: d.from_arrays([Image.new("RGB", (9, 9)), Image.new("RGB", (9, 8))], [0, 1], TREE), "9, 9, 3"),
        (lambda d: d.from_arrays(np.zeros((2, 4, 4, 3), np.uint8), MASKED, TREE), "1 of the labels are masked"),
        (lambda d: d.from_arrays(np.zeros((2, 4, 4, 3), np.uint8), [0, 1], {"a": ["b"]}), r"is a dict: .*from_dict"),
        (lambda d: d.from_arrays(np.zeros((2, 4, 4, 3), np.uint8), [0, 1], None), "needs a hierarchy"),
        (lambda d: d(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]), {"a": ["b"]}), "the hierarchy is a dict"),
        (lambda d: d([1, 2], [0, 1], TREE), "must be arrays: HierarchicalDataset.from_arrays"),
        (
            lambda d: d.from_features(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])),
            "records with the fields a, b",
        ),
        (lambda d: d.from_features([[1.0, None], [2.0, 3.0]]), "features must be numbers"),
        (lambda d: d.from_features([[1.0], [2.0, 3.0]]), "features are no array: number 0 has the shape"),
        (lambda d: d.from_features(X, [0.5, 1.0]), "labels must be integers"),
        (lambda d: d.from_features(X, [["a"], ["b", "c"]]), "labels are no array"),
        (lambda d: d.from_features(X, np.zeros((2, 1, 1))), r"labels must be \[n\]"),
        (lambda d: d.from_features(X, [0, 1], 3), "the hierarchy is a int"),
        (lambda d: d.from_features(X).take("a"), "positions must be integers"),
        (lambda d: d.from_features(X).split("a"), "fraction='a'"),
        (lambda d: d.from_features(X).split(0.5, seed=-1), "seed=-1: give a whole number from 0"),
        (lambda d: d.from_features(X).per_class(True), "count=True"),
    ],
)
def test_what_is_no_array_is_an_error_of_the_package(make, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        make(HierarchicalDataset)


@pytest.mark.parametrize(
    "labels",
    [
        [0.0, 2.0, 1.0],
        np.array([0, 2, 1], dtype=">i4"),
        np.array([0, 2, 1], dtype=object),
        pd.Series([0, 2, 1], dtype="Int64"),
        pd.Series([0, 2, 1], index=[5, 6, 7]),
        [np.int8(0), np.uint16(2), 1],
        np.ma.masked_array([0, 2, 1]),
        ["cat", "car", "dog"],
        np.array(["cat", "car", "dog"], dtype=object),
        pd.Series(["cat", "car", "dog"], dtype="category"),
        pd.Series(["cat", "car", "dog"], dtype="string"),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_labels_of_every_kind_of_array(labels):
    tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
    X = np.arange(9, dtype=">f4").reshape(3, 3)
    X.setflags(write=False)
    data = HierarchicalDataset.from_features(X, labels, tree)
    assert data.labels.tolist() == [0, 2, 1] and data.items.dtype.isnative
    np.testing.assert_array_equal(data.items[:, 0], X)


def test_a_constant_channel_has_the_deviation_1():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    pixels[..., 2] = 7
    with pytest.warns(UserWarning, match="channel 2 of lab is constant: its standard deviation counts as 1"):
        _, std = FORMS["images"].mean_std(pixels, "lab")
    assert std[2] == 1 and 0.2 < min(std[:2])
    with pytest.raises(ValueError, match="all pictures of lab have one colour"):
        FORMS["images"].mean_std(np.full((2, 8, 8, 1), 7, np.uint8), "lab")


def test_the_constructor_checks_too():
    with pytest.raises(ValueError, match="label 9"):
        HierarchicalDataset(IMAGES, np.array([0, 9]), TREE)


def test_ids_stay_with_their_items():
    data = dataset()
    named = HierarchicalDataset.from_arrays(data.items, data.labels, TREE, ids=[f"item_{i}" for i in range(32)])
    parts = (
        named.take([5, 2]),
        named.take(named.labels == 1),
        named.under("vehicle"),
        named.per_class(3),
        *named.split(0.25),
        named.long_tail(4),
    )
    for part in parts:
        assert part.ids.tolist() == [f"item_{i}" for i in numbers(part)]
    assert data.ids is None and data.take([1]).ids is None


@pytest.mark.parametrize("ids", [[7, 8], [b"7", b"8"], np.array(["7", "8"], dtype=object)])
def test_ids_become_strings(ids):
    data = HierarchicalDataset.from_arrays(IMAGES, [0, 1], TREE, ids=ids)
    assert data.ids.dtype.kind == "U" and data.ids.tolist() == [str(int(i)) for i in ids]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a"], r"2 items need ids \[2\], got \[1\]"),
        ([["a"], ["b"]], r"2 items need ids \[2\], got \[2, 1\]"),
        ([0.5, 1.5], "ids must be strings, got float64"),
    ],
)
def test_wrong_ids(ids, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalDataset.from_arrays(IMAGES, [0, 1], TREE, ids=ids)


def test_memory_mapped_items_stay_so(tmp_path):
    np.save(tmp_path / "items.npy", IMAGES)
    items = np.load(tmp_path / "items.npy", mmap_mode="r")
    data = HierarchicalDataset.from_arrays(items, [0, 1], TREE)
    assert isinstance(data.items, np.memmap)
    assert data.take([1]).items.flags.writeable


def test_repr_reads_well():
    assert repr(dataset()) == "HierarchicalDataset('arrays': 32 images 4x4x3, 2 kind > 4 class)"
    noted = HierarchicalDataset(POINTS, np.array([0, 1]), TREE, "clouds", "partial")
    assert repr(noted) == "HierarchicalDataset('clouds': 2 points 16x3, 2 kind > 4 class; partial)"


# ---- measures ----


def test_counts_at_every_level():
    data = dataset((1, 2, 3, 4))
    assert data.counts().tolist() == [1, 2, 3, 4]
    assert data.counts(0).tolist() == [3, 7]


def test_channel_mean_and_std_match_numpy():
    items = np.random.default_rng(0).integers(0, 256, (600, 5, 7, 3), dtype=np.uint8)
    mean, std = HierarchicalDataset(items, np.zeros(600, dtype=np.int64), TREE).channel_mean_std()
    np.testing.assert_allclose(mean, (items / 255).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(std, (items / 255).std(axis=(0, 1, 2)))


def test_channel_mean_reads_at_most_10000_items_evenly():
    items = np.zeros((20_000, 1, 1, 1), dtype=np.uint8)
    items[::2] = 51
    mean, std = HierarchicalDataset(items, np.zeros(20_000, dtype=np.int64), TREE).channel_mean_std()
    assert mean[0] == pytest.approx(0.2) and std[0] == pytest.approx(0.0)


def test_channel_mean_of_points_is_an_error():
    with pytest.raises(ValueError, match="for images only"):
        HierarchicalDataset(POINTS, np.array([0, 1]), TREE).channel_mean_std()


# ---- parts ----


def test_take_by_positions_and_by_mask():
    data = dataset()
    assert numbers(data.take([5, 2, 2])) == [5, 2, 2]
    mask = data.labels == 3
    assert numbers(data.take(mask)) == np.flatnonzero(mask).tolist()
    assert_part_of(data.take(mask), data)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 32], "no item 32; the items are 0 to 31"),
        ([-1], "no item -1"),
        ([], "no item of 'arrays' is left"),
        (np.zeros(32, dtype=bool), "no item of 'arrays' is left"),
        (np.ones(5, dtype=bool), "the mask has shape"),
    ],
)
def test_take_of_what_is_not_there(index, message):
    with pytest.raises(ValueError, match=message):
        dataset().take(index)


def test_under_reduces_the_hierarchy():
    data = dataset()
    part = data.under("vehicle", "dog")
    assert part.hierarchy.leaf_names == ("dog", "car", "bus")
    assert part.counts().tolist() == [8, 8, 8] and part.counts(0).tolist() == [8, 16]
    assert_part_of(part, data)
    assert data.under("animal", "cat").hierarchy.leaf_names == ("cat", "dog")
    with pytest.raises(ValueError, match="Did you mean 'vehicle'"):
        data.under("vehicles")


def test_per_class():
    data = dataset((8, 5, 8, 3))
    part = data.per_class(3, seed=1)
    assert part.counts().tolist() == [3, 3, 3, 3]
    assert_part_of(part, data)
    assert numbers(part) == sorted(numbers(part)) == numbers(data.per_class(3, seed=1))
    assert numbers(part) != numbers(data.per_class(3, seed=2))
    with pytest.raises(ValueError, match="'bus' has 3 items, fewer than 4"):
        data.per_class(4, allow_fewer=False)
    assert data.per_class(6, allow_fewer=True).counts().tolist() == [6, 5, 6, 3]
    with pytest.raises(ValueError, match="at least 1"):
        data.per_class(0)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
def test_split_is_stratified(fraction):
    data = dataset((8, 5, 2, 1))
    rest, part = data.split(fraction, seed=3)
    expected = [min(max(round(fraction * n), 1), n - 1) for n in (8, 5, 2, 1)]
    assert part.counts().tolist() == expected
    assert sorted(numbers(rest) + numbers(part)) == list(range(len(data)))
    assert_part_of(rest, data)
    assert_part_of(part, data)
    assert numbers(data.split(fraction, seed=3)[1]) == numbers(part)


def test_split_refuses_what_it_cannot_split():
    with pytest.raises(ValueError, match="between 0 and 1"):
        dataset().split(1.0)
    with pytest.raises(ValueError, match="nothing to split"):
        dataset((1, 1, 1, 0)).split(0.5)


def test_long_tail_follows_the_formula():
    data = dataset((64, 64, 64, 64))
    part = data.long_tail(imbalance=27, seed=4)
    assert sorted(part.counts().tolist(), reverse=True) == [round(64 * 27 ** (-i / 3)) for i in range(4)]
    assert_part_of(part, data)
    assert any((data.long_tail(27, seed=s).counts() != part.counts()).any() for s in range(5)), "the order is random"


def test_long_tail_at_the_coarse_level_draws_evenly_from_a_node():
    data = dataset((60, 60, 60, 60))
    part = data.long_tail(imbalance=2, level=0, seed=0)
    assert sorted(part.counts(0).tolist()) == [60, 120]
    assert 18 <= part.counts()[TREE.leaves_of(0, int(part.counts(0).argmin()))].min() <= 42


def test_long_tail_keeps_at_least_one_and_takes_what_there_is():
    data = dataset((64, 64, 64, 2))
    assert data.long_tail(imbalance=10_000).counts().min() == 1
    assert data.long_tail(imbalance=1).counts().tolist() == [64, 64, 64, 2]
    with pytest.raises(ValueError, match="at least 1"):
        data.long_tail(0.5)


def test_shuffled_labels_are_those_of_a_share_of_the_items():
    data = dataset((60, 60, 60, 60))
    assert (data.shuffle_labels(0).labels == data.labels).all()
    for share in (0.25, 1.0):
        part = data.shuffle_labels(share, seed=1)
        assert part.counts().tolist() == data.counts().tolist()
        assert np.array_equal(numbers(part), numbers(data))
        # Of the drawn items a quarter gets its own class by chance.
        assert np.mean(part.labels != data.labels) == pytest.approx(0.75 * share, abs=0.06)
    assert (part.labels != data.shuffle_labels(1.0, seed=2).labels).any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        data.shuffle_labels(1.1)


def test_items_without_a_label_are_not_shuffled():
    data = dataset((20, 20, 20, 20))
    data = replace(data, labels=np.where(np.arange(80) % 2, data.labels, -1))
    assert (data.shuffle_labels(1.0).has_label == data.has_label).all()


def test_draws_are_uniform():
    """Over many seeds, every item of a class is drawn equally often."""
    data = dataset((6, 6, 6, 6))
    drawn = np.zeros(24)
    for seed in range(400):
        drawn[numbers(data.per_class(2, seed=seed))] += 1
    # 400 draws with probability 1/3: mean 133, standard deviation 9.4.
    assert np.all(np.abs(drawn - 400 / 3) < 45)


# ---- loading ----


def test_load_a_folder_with_train_and_test(tmp_path):
    rest, part = dataset().split(0.25)
    rest.save(tmp_path / "lab" / "train")
    part.save(tmp_path / "lab" / "test")
    train, test = load(tmp_path / "lab", verify=True)
    assert numbers(train) == numbers(rest) and numbers(test) == numbers(part)
    assert numbers(load(str(tmp_path / "lab"))[1]) == numbers(part)


def test_load_a_single_store_splits_a_fifth_off(tmp_path):
    dataset((10, 10, 10, 10)).save(tmp_path / "all")
    train, test = load(tmp_path / "all")
    assert train.counts().tolist() == [8] * 4 and test.counts().tolist() == [2] * 4
    assert "fifth" in train.note and "fifth" in test.note


def test_load_refuses_splits_with_different_hierarchies(tmp_path):
    dataset().save(tmp_path / "train")
    dataset().under("animal").save(tmp_path / "test")
    with pytest.raises(ValueError, match="same subset of both"):
        load(tmp_path)


def test_load_of_an_unknown_name(tmp_path):
    with pytest.raises(ValueError, match=r"'cifar10'.*Did you mean 'cifar100'.*cifar100, .*shapes.*path of a folder"):
        load("cifar10")
    with pytest.raises(ValueError, match="is no array store"):
        load(tmp_path)


def test_the_known_names():
    assert {"cifar100", "modelnet10", "modelnet40", "shapes"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_name_has_a_loader_that_knows_its_own_options(name):
    with pytest.raises(ValueError, match=rf"option of {name}: 'colour'|{name} has no options, got 'colour'"):
        load(name, colour="red")


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("HIERCL_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("HIERCL_DATA")
    assert data_root() == Path(hiercl.__file__).resolve().parents[1] / "data"
    installed = tmp_path / "site-packages" / "hiercl" / "datasets" / "root.py"
    monkeypatch.setattr("hiercl.datasets.root.__file__", str(installed))
    assert data_root() == Path.home() / ".cache" / "hiercl"


def test_importing_the_hierarchy_imports_no_torch():
    """An empty module takes the place of the package itself, whose other parts may need torch."""
    code = f"""
import sys, types
sys.modules["hiercl"] = types.ModuleType("hiercl")
sys.modules["hiercl"].__path__ = [{str(Path(hiercl.__file__).parent)!r}]
import hiercl.hierarchy
assert not {{"torch", "torchvision"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
