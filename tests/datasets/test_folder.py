"""Pictures of one's own: folders of any depth, CSV files, files with every kind of damage, stores, laziness."""

import copy
import os
import pickle
import re
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.utils.data import DataLoader

from hiercl.datasets import HierarchicalDataset, PictureFiles, UnreadablePictures, folder, load, read_store, table
from hiercl.datasets.pictures import files as picture_files
from hiercl.datasets.pictures import sets as picture_sets
from hiercl.datasets.pictures.files import decode
from hiercl.hierarchy.hierarchy import Hierarchy

DEEP = ("animal/cat/lion", "animal/cat/tiger", "animal/dog/wolf", "vehicle/car/taxi")


def draw(path, seed=0, size=(48, 40), mode="RGB", **options):
    """A smooth picture that compresses well and is different for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
    image.convert(mode).save(path, **options)
    return path


def fill(top, classes, count=5):
    """Draw some pictures of every class; each is different."""
    for i, name in enumerate(classes):
        for j in range(count):
            draw(top / name / f"{j}.png", seed=100 * i + j)
    return top


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Stores of these tests go into a folder of their own."""
    monkeypatch.setenv("HIERCL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def top(tmp_path):
    return tmp_path / "lab"


def stores(root):
    return sorted(path.name for path in (root / "folders").glob("*") if path.is_dir())


def pictures_by_class(data):
    return {name: np.asarray(data.items[data.labels == leaf]) for leaf, name in enumerate(data.hierarchy.leaf_names)}


# ---- folders and their depth ----


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_folders_of_any_depth_are_the_hierarchy(top, depth):
    classes = sorted({"/".join(name.split("/")[:depth]) for name in DEEP})
    data = folder(fill(top, classes), size=16)
    assert data.hierarchy.levels == depth and data.name == "lab" and data.labelled
    assert ["/".join(data.hierarchy.path(leaf)) for leaf in range(data.hierarchy.n_leaves)] == classes
    assert data.counts().tolist() == [5] * len(classes) and data.items.shape == (5 * len(classes), 16, 16, 3)
    for i, name in enumerate(classes):
        expected = [decode(top / name / f"{j}.png", 16) for j in range(5)]
        np.testing.assert_array_equal(data.items[data.labels == i], expected)


def test_level_names(top):
    data = folder(fill(top, DEEP), level_names=("kind", "family", "species"))
    assert data.hierarchy.level_names == ("kind", "family", "species")
    with pytest.raises(ValueError, match="level names"):
        folder(top, level_names=("kind", "species"))


def test_a_class_that_ends_early_is_carried_down(top):
    data = folder(fill(top, ["animal/cat", "animal/dog", "person"], count=1))
    assert data.hierarchy == Hierarchy.from_dict({"animal": ["cat", "dog"], "person": None})
    assert data.hierarchy.path(2) == ("person", "person")


def test_the_same_name_under_two_parents_is_two_classes(top):
    data = folder(fill(top, ["animal/cat", "animal/other", "vehicle/other"], count=2))
    assert data.hierarchy.leaf_names == ("cat", "other", "other") and data.counts().tolist() == [2, 2, 2]
    assert "several parents share 1 of the names, such as 'other'" in data.note


@pytest.mark.parametrize("stray", ["0.png", "animal/0.png", "animal/cat/0.png"])
def test_pictures_beside_folders_are_an_error_with_two_offenders(top, stray):
    fill(top, DEEP)
    draw(top / stray)
    with pytest.raises(ValueError, match=rf"'{stray}' lies where '(animal|vehicle)/.*/4.png' has a further folder"):
        load(top)
    assert not load(top, labelled=False)[0].labelled


def test_other_files_hidden_folders_and_links_in_a_circle_are_passed_over(top):
    fill(top, ["cat", "dog"], count=2)
    for name in ("notes.txt", "cat/.DS_Store", "dog/Thumbs.db", "cat/._1.jpg"):
        (top / name).write_text("no picture")
    draw(top / ".thumbnails" / "1.png")
    draw(top / "cat" / "CAPITALS.JPG")
    (top / "dog" / "again").symlink_to(top, target_is_directory=True)
    data = folder(top)
    assert data.hierarchy.leaf_names == ("cat", "dog") and data.counts().tolist() == [3, 2]


def test_empty_folders_are_named_and_become_no_class(top):
    fill(top, ["animal/cat", "animal/dog", "vehicle/car"], count=1)
    (top / "animal" / "cow").mkdir()
    (top / "plant" / "tree").mkdir(parents=True)
    (top / "plant" / "tree" / "list.txt").write_text("oak")
    with pytest.warns(UserWarning, match=r"they become no classes: animal/cow, plant$"):
        data = folder(top)
    assert data.hierarchy.leaf_names == ("cat", "dog", "car") and data.hierarchy.names[0] == ("animal", "vehicle")


# ---- training and test ----


def test_without_a_split_a_stratified_fifth_is_the_test_set(top):
    train, test = load(fill(top, ["animal/cat", "animal/dog"], count=10), size=8)
    assert train.counts().tolist() == [8, 8] and test.counts().tolist() == [2, 2]
    assert train.hierarchy == test.hierarchy
    assert train.note == test.note == "test is a stratified fifth of the pictures"
    assert isinstance(train.items, np.memmap) and isinstance(test.items, np.memmap), "both stay on disk"
    whole = pictures_by_class(folder(top, size=8))
    for name, pictures in whole.items():
        both = np.concatenate([pictures_by_class(part)[name] for part in (train, test)])
        assert sorted(p.tobytes() for p in both) == sorted(p.tobytes() for p in pictures)


@pytest.mark.parametrize("second", ["test", "val"])
def test_folders_train_and_test_are_the_split(top, second):
    fill(top / "train", ["animal/cat", "animal/dog"], count=3)
    fill(top / second, ["animal/cat", "vehicle/car"], count=2)
    (top / "README.txt").write_text("mine")
    train, test = load(str(top), size=8)
    assert train.hierarchy == test.hierarchy and train.hierarchy.leaf_names == ("cat", "dog", "car")
    assert train.counts().tolist() == [3, 3, 0] and test.counts().tolist() == [2, 0, 2]
    missing = "no training pictures of 1 of the classes: vehicle/car; no test pictures of 1 of the classes: animal/dog"
    missing = "1 other file passed over: 1 .txt; " + missing
    assert train.note == test.note == ("test is the folder 'val'; " if second == "val" else "") + missing
    np.testing.assert_array_equal(test.items[2], decode(top / second / "vehicle/car/0.png", 8))
    np.testing.assert_array_equal(train.items[0], decode(top / "train/animal/cat/0.png", 8))


def test_of_three_parts_val_is_not_used_and_the_note_says_so(top):
    for part, count in (("train", 3), ("val", 4), ("test", 5)):
        fill(top / part, ["cat", "dog"], count)
    train, test = load(top)
    assert (len(train), len(test)) == (6, 10) and "the folder 'val' is not used" in train.note


def test_something_beside_train_and_test_is_an_error(top):
    for part in ("train", "test", "extra"):
        fill(top / part, ["cat"], 2)
    with pytest.raises(ValueError, match=r"'train' and 'test', but also the folder 'extra': move it away"):
        load(top)
    assert folder(top).hierarchy.names[0] == ("extra", "test", "train")


def test_only_one_part_is_an_error(top):
    fill(top / "train", ["cat", "dog"], 2)
    with pytest.raises(ValueError, match=r"in 'train' only, not in both .*give the path of one folder, .*lab/train"):
        load(top)


def test_one_picture_of_every_class_cannot_be_split(top):
    with pytest.raises(ValueError, match=r"every class of 'lab' has a single picture.*hiercl.datasets.folder"):
        load(fill(top, ["cat", "dog"], count=1))


@pytest.mark.parametrize(
    ("train_folder", "test_folder"),
    [
        ("train", "valid"),
        ("Train", "Test"),
        ("seg_train", "seg_test"),
        ("training", "validation"),
        ("TRAIN", "val2017"),
    ],
)
def test_the_split_in_other_spellings(top, train_folder, test_folder):
    fill(top / train_folder, ["cat", "dog"], 2)
    fill(top / test_folder, ["cat", "dog"], 1)
    sets = load(top)
    assert understood(*sets) == ({"level 0": 2}, [2, 2], [1, 1]) and f"the folder {test_folder!r}" in sets[1].note


@pytest.mark.parametrize(
    "place", ["set/{part}/{name}", "{name}/{part}", "{part}/{part}/{name}", "{part}/{name}/images"]
)
def test_the_split_at_other_places(top, place):
    for part, count in {"train": 2, "test": 1}.items():
        fill(top, [place.format(part=part, name=name) for name in ("cat", "dog")], count)
    assert understood(*load(top)) == ({"level 0": 2}, [2, 2], [1, 1])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"], r"'fold1' and 'fold2', which may be classes or parts"),
        (["train_a/cat", "test_b/cat"], r"may be classes or parts of the data.*parts=\('test_b', 'train_a'\)"),
        (["train/cat", "train/dog", "pred"], "'pred' and 'train', which may be classes or parts"),
        (["train/cat", "Training/cat", "test/cat"], "'Training' and 'train', which may mean the same part"),
        (["train/cat", "train/dog", "test/images"], "no class in common: the training items are cat, dog"),
        (["valid/cat", "Test/cat"], "in 'Test' and 'valid' only, not in both"),
    ],
)
def test_folders_that_are_not_clear_are_named(top, folders, message):
    with pytest.raises(ValueError, match=message):
        load(fill(top, folders, 2))


def test_parts_can_be_said(top, as_a_user):
    fill(top, ["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"], 2)
    assert understood(*load(top, parts=("fold2", "fold1"))) == ({"level 0": 2}, [2, 2], [2, 2])
    assert load(top, parts=())[0].hierarchy.sizes == (2, 4)
    for wrong in ("fold1", ("fold1",), ("fold1", "fold3"), 3):
        with pytest.raises(ValueError, match="parts="):
            load(top, parts=wrong)


def test_a_folder_in_every_class_is_no_level(top):
    data = folder(fill(top, ["n01/images", "n02/images", "n03/images"], count=1))
    assert data.hierarchy.leaf_names == ("n01", "n02", "n03") and data.hierarchy.levels == 1
    assert "the folder 'images' in every class is no level" in data.note


def test_names_that_are_no_text_are_shown(top):
    fill(top, ["dog"], 1)
    odd = Path(os.fsdecode(os.fsencode(top) + b"/c\xe9t"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system has text names only")
    draw(odd / "1.png")
    assert folder(top).hierarchy.leaf_names == (r"c\xe9t", "dog")
    (odd / "1.png").write_bytes(b"")
    with pytest.raises(UnreadablePictures, match=r"c\\xe9t/1.png: the file is empty"):
        folder(top)


# ---- no labels ----


@pytest.mark.parametrize("split", [False, True])
def test_pictures_without_folders_are_unlabelled(top, split):
    for part in ("train", "test") if split else ("",):
        fill(top, [part], count=5)
    train, test = load(top)
    assert (len(train), len(test)) == ((5, 5) if split else (4, 1))
    for data in (train, test):
        assert not data.labelled and not data.labels.any()
        assert data.hierarchy == Hierarchy.from_dict(["unlabelled"], level_names=("all",))
    assert load(fill(top / "other", ["cat", "dog"]))[0].labelled


# ---- one picture ----


def test_the_shorter_side_is_resized_and_the_centre_is_kept(tmp_path):
    wide = np.zeros((100, 300, 3), dtype=np.uint8)
    wide[:, 100:200] = (10, 120, 240)  # the centre; black beside it
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "high.png")
    for name in ("wide.png", "high.png"):
        picture = decode(tmp_path / name, 20)
        assert picture.shape == (20, 20, 3) and picture.dtype == np.uint8
        assert (picture[3:-3, 3:-3] == (10, 120, 240)).all()


def test_resizing_is_antialiased(tmp_path):
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert (np.abs(decode(tmp_path / "stripes.png", 16).astype(int) - 127) < 4).all()


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("1.png", "L", {}),
        ("1.png", "1", {}),
        ("1.png", "P", {}),
        ("1.png", "LA", {}),
        ("1.png", "RGBA", {}),
        ("1.gif", "P", {}),
        ("1.webp", "RGB", {"lossless": True}),
        ("1.bmp", "RGB", {}),
        ("1.tif", "CMYK", {}),
        ("1.jpg", "CMYK", {"quality": 95}),
        ("1.jfif", "RGB", {"quality": 95, "format": "JPEG"}),
        ("1.jpe", "RGB", {"quality": 95, "format": "JPEG"}),
        ("1.jpeg", "L", {"quality": 95}),
        ("1.jpg", "RGB", {"quality": 95, "progressive": True}),
        ("1.ppm", "RGB", {}),
        ("1.avif", "RGB", {"quality": 95}),
        ("1.jpg", "RGB", {"quality": 95, "format": "MPO"}),  # of some cameras
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, name, mode, options):
    path = draw(tmp_path / name, seed=3, size=(64, 64), mode=mode, **options)
    colours = np.random.default_rng(3).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    original = Image.fromarray(colours).resize((64, 64), Image.Resampling.BICUBIC)
    grey = mode in ("L", "LA", "1")
    expected = np.asarray((original.convert("L") if grey else original).convert("RGB").resize((16, 16)))
    picture = decode(path, 16)
    assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
    difference = np.abs(picture.astype(int) - expected.astype(int)).mean()
    assert difference < (30 if mode in ("1", "P") else 6)  # few colours are dithered
    if grey:
        assert (picture == picture[..., :1]).all()


def test_transparent_pixels_are_white(tmp_path):
    image = Image.new("RGBA", (32, 32), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 16))
    image.save(tmp_path / "1.png")
    picture = decode(tmp_path / "1.png", 32)
    assert (picture[:16] == 255).all() and (picture[16:] == (200, 0, 0)).all()
    image.convert("P").save(tmp_path / "2.gif", transparency=image.convert("P").getpixel((0, 0)))
    assert (decode(tmp_path / "2.gif", 32)[:14] == 255).all()


def test_grey_pictures_of_16_bits_are_scaled(tmp_path):
    ramp = np.repeat(np.arange(256, dtype=np.uint16)[:, None] * 257, 256, axis=1)
    Image.fromarray(ramp).save(tmp_path / "1.png")
    assert decode(tmp_path / "1.png", 256)[:, 0, 0].tolist() == list(range(256))


def test_grey_pictures_that_use_some_of_16_bits_are_scaled_by_the_range_of_all(top):
    ramps = [np.repeat(np.arange(256, dtype=np.uint16)[:, None] * scale, 256, axis=1) for scale in (16, 8)]
    for i, ramp in enumerate(ramps):
        Image.fromarray(ramp).save(draw(top / f"{i}.png"))
    once = [True]
    for store in (False, False, True, True):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            data = folder(top, size=256, store=store)
        assert data.items[0][:, 0, 0].tolist() == list(range(256)), "12 bits"
        assert data.items[1][::2, 0, 0].tolist() == list(range(0, 128)), "half as bright"
        assert ["hold values up to 4,095 only" in str(one.message) for one in said] == once
        once = []
    assert folder(top, size=256, bits=16).items[0].max() == 15
    with pytest.raises(ValueError, match="bits=7: give how many of their 16 bits"):
        folder(top, bits=7)


def save_16_bits(path, pixels):
    """Writes a PNG with 16 bits a channel, which Pillow cannot write."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    save_png(path, pixels.shape[1], pixels.shape[0], kind, rows, depth=16)


def save_png(path, width, height, kind, rows, depth=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_16_bits_of_every_kind_of_png(tmp_path, channels, bits):
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (9, 9, channels))
    pixels[0, 0] = 2**bits - 1
    if channels in (2, 4):
        pixels[..., -1] = 65535
    save_16_bits(tmp_path / "1.png", pixels)
    assert picture_files.bits_of(tmp_path / "1.png") == bits
    colours = pixels[..., : channels - (channels in (2, 4))] >> (bits - 8)
    assert (decode(tmp_path / "1.png", 9, bits) == colours).all()


def test_pictures_of_too_many_pixels_are_reported(top):
    fill(top, ["cat", "dog"], 1)
    save_png(top / "cat" / "long.png", 100_000_000, 1, 0, b"")
    save_png(top / "dog" / "large.png", 60_000, 60_000, 0, b"")
    os.mkfifo(top / "dog" / "pipe.jpg")
    with pytest.raises(UnreadablePictures) as raised:
        folder(top)
    assert set(raised.value.problems) == {"cat/long.png", "dog/large.png", "dog/pipe.jpg"}
    assert "it has 100,000,000 x 1 pixels" in str(raised.value) and "no regular file" in str(raised.value)
    with pytest.warns(UserWarning, match="3 pictures left out"):
        assert len(folder(top, skip_unreadable=True)) == 2


def test_only_one_large_picture_is_in_memory_at_a_time(top, monkeypatch):
    fill(top, ["cat"], count=6)
    expected, threads = folder(top, size=8, store=False).items[:], set()
    monkeypatch.setattr(picture_files, "LARGE", 10)
    fit = picture_files.fit
    monkeypatch.setattr(picture_files, "fit", lambda *given: threads.add(threading.get_ident()) or fit(*given))
    np.testing.assert_array_equal(folder(top, size=8, store=False).items[:], expected)
    assert threads == {threading.get_ident()}


def test_pictures_are_turned_upright(tmp_path):
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    picture[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side: turn it clockwise
    Image.fromarray(picture).save(tmp_path / "1.png", exif=exif)
    assert (decode(tmp_path / "1.png", 32) == np.rot90(picture, -1)).all()


def test_a_large_jpeg_is_read_at_a_smaller_scale_and_looks_the_same(tmp_path):
    path = draw(tmp_path / "1.jpg", seed=1, size=(1600, 1600), quality=95)
    with Image.open(path) as image:
        slow = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC))
    assert np.abs(decode(path, 32).astype(int) - slow.astype(int)).max() <= 4


# ---- what cannot be read ----


@pytest.fixture
def broken(top):
    """Ten good pictures, and bad ones of six kinds."""
    fill(top, ["animal/cat", "animal/dog"], count=5)
    cut(draw(top / "animal/cat/cut.jpg", size=(400, 400)))
    cut(draw(top / "animal/cat/cut.png", size=(400, 400)))
    (top / "animal/cat/text.png").write_text("this is no picture")
    (top / "animal/dog/empty.jpg").write_bytes(b"")
    (top / "animal/dog/phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    draw(top / "animal/dog/float.tif", mode="F")
    return top


BAD = {
    "animal/cat/cut.jpg": r"the file is cut off \(.*truncated.*\)",
    "animal/cat/cut.png": r"the file is cut off",
    "animal/cat/text.png": r"not a picture of a known format \(JPEG, .*\)",
    "animal/dog/empty.jpg": r"the file is empty",
    "animal/dog/phone.heic": r"not a picture of a known format",
    "animal/dog/float.tif": r".*convert it to 8 bits",
}


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("again", [False, True], ids=["first", "remembered"])
def test_all_that_cannot_be_read_is_listed_at_once(broken, root, monkeypatch, store, again):
    monkeypatch.setattr(picture_files, "BLOCK", 3)
    for _ in range(1 + again):
        with pytest.raises(UnreadablePictures) as raised:
            load(broken, store=store)
    assert isinstance(raised.value, ValueError)
    assert set(raised.value.problems) == set(BAD)
    message = str(raised.value)
    assert "6 of the pictures in" in message and "skip_unreadable=True" in message
    for path, reason in BAD.items():
        assert re.search(f"{path}: {reason}", message)
    assert stores(root) == []


@pytest.mark.parametrize("store", [True, False])
def test_skip_unreadable_leaves_them_out_and_says_so(broken, root, monkeypatch, store):
    with pytest.warns(UserWarning, match=r"6 pictures left out(.|\n)*cut.jpg: the file is cut off"):
        train, test = load(broken, size=8, store=store, skip_unreadable=True)
    assert train.counts().tolist() == [4, 4] and test.counts().tolist() == [1, 1]
    assert "6 pictures left out that cannot be read" in train.note and "fifth" in train.note
    # The next start decodes nothing, but warns again.
    monkeypatch.setattr(PictureFiles, "blocks", lambda self: pytest.fail("decoded again"))
    with pytest.warns(UserWarning, match="6 pictures left out"):
        again, _ = load(broken, size=8, store=store, skip_unreadable=True)
    np.testing.assert_array_equal(again.items[:], train.items[:])
    assert again.note == train.note


def test_no_picture_is_decoded_twice_on_the_first_start(broken, monkeypatch):
    opened = []
    monkeypatch.setattr(picture_files, "decode", lambda path, size: opened.append(path) or decode(path, size))
    with pytest.warns(UserWarning, match="6 pictures left out"):
        folder(broken, store=False, skip_unreadable=True)
    assert len(opened) == len(set(opened)) == 16


def test_a_class_without_a_readable_picture_is_left_out(top):
    fill(top, ["cat", "dog"], count=2)
    draw(top / "cow" / "1.jpg").write_bytes(b"moo")
    with pytest.warns(UserWarning, match="1 picture left out"):
        assert folder(top, skip_unreadable=True).hierarchy.leaf_names == ("cat", "dog")


def test_a_repaired_picture_is_tried_again(broken):
    with pytest.raises(UnreadablePictures):
        folder(broken)
    for path in BAD:
        (broken / path).unlink()
    draw(broken / "animal/cat/cut.jpg")
    assert folder(broken).counts().tolist() == [6, 5]


def test_twenty_problems_are_shown_and_all_are_kept(top):
    for i in range(25):
        draw(top / f"{i:02}.png").write_bytes(b"")
    draw(top / "good.png")
    with pytest.raises(UnreadablePictures, match=r"25 of the(.|\n)*19.png(.|\n)*and 5 more") as raised:
        folder(top)
    assert len(raised.value.problems) == 25 and "20.png" not in str(raised.value)
    (top / "good.png").unlink()
    with pytest.raises(ValueError, match="none of the 25 pictures"):
        folder(top, skip_unreadable=True)


def test_cut_files_are_found_though_pillow_was_told_to_fill_them(top, monkeypatch):
    cut(draw(top / "1.jpg", size=(400, 400)))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadablePictures, match="cut off"):
        folder(top)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def refuse(*args, **options):
    raise PermissionError(13, "not now")


def test_what_the_system_refuses_is_not_remembered_as_broken(top, monkeypatch):
    fill(top, ["cat"], count=2)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(UnreadablePictures, match=r"PermissionError: .*not now"):
            folder(top)
    assert len(folder(top)) == 2


def test_the_error_can_be_pickled(top):
    error = UnreadablePictures(top, {"1.jpg": "the file is empty"}, lasting=False)
    again = pickle.loads(pickle.dumps(error))
    assert (again.problems, again.lasting, str(again)) == (error.problems, False, str(error))


# ---- the store ----


def test_pictures_are_decoded_once(top, root, monkeypatch):
    first = folder(fill(top, ["cat", "dog"]), size=8)
    assert len(stores(root)) == 1 and stores(root)[0].startswith("lab-") and isinstance(first.items, np.memmap)
    with monkeypatch.context() as patch:
        patch.setattr(PictureFiles, "blocks", lambda self: pytest.fail("decoded again"))
        again = folder(top, size=8)
    np.testing.assert_array_equal(again.items, first.items)
    assert folder(top, size=12).items.shape[1:] == (12, 12, 3) and len(stores(root)) == 2


@pytest.mark.parametrize("change", ["content", "new file", "moved", "gone"])
@pytest.mark.parametrize("store", [True, False])
def test_a_changed_file_is_read_again(top, root, change, store):
    fill(top, ["cat", "dog"], count=3)
    before = folder(top, size=8, store=store)
    if change == "content":
        draw(top / "cat/1.png", seed=77)
    elif change == "new file":
        draw(top / "cat/9.png", seed=77)
    elif change == "moved":
        (top / "cat/1.png").rename(top / "dog/1b.png")
    else:
        (top / "cat/1.png").unlink()
    after = folder(top, size=8, store=store)
    assert len(stores(root)) == (2 if store else 0)
    expected = {name: [decode(file, 8) for file in sorted((top / name).iterdir())] for name in ("cat", "dog")}
    for name, pictures in pictures_by_class(after).items():
        np.testing.assert_array_equal(pictures, expected[name])
    if store:
        assert len(before) == 6 and before.items.shape[0] == 6, "the old one is untouched"


def test_a_change_that_keeps_the_size_is_seen_by_its_time(top):
    path = draw(top / "1.ppm", seed=1)
    first, state = folder(top).items[0], path.stat()
    draw(path, seed=2)
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    assert not np.array_equal(folder(top).items[0], first)


def test_another_root(top, tmp_path, root):
    load(fill(top, ["cat", "dog"]), root=tmp_path / "elsewhere")
    assert len(stores(tmp_path / "elsewhere")) == 1 and not root.exists()


def interrupted(self):
    yield np.zeros((1, *self.shape[1:]), dtype=np.uint8)
    raise KeyboardInterrupt


def test_an_interrupted_conversion_leaves_nothing_that_reads_as_whole(top, root, monkeypatch):
    fill(top, ["cat", "dog"])
    with monkeypatch.context() as patch:
        patch.setattr(PictureFiles, "blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder(top)
    assert list((root / "folders").iterdir()) == []
    data = folder(top)
    np.testing.assert_array_equal(data.items[0], decode(top / "cat/0.png", 32))


def test_a_full_disk_means_decoding_on_the_fly(top, root, monkeypatch):
    fill(top, ["cat", "dog"])
    full = type("Usage", (), {"free": picture_sets.MARGIN + 10 * 32 * 32 * 3 - 1})
    monkeypatch.setattr(picture_sets.shutil, "disk_usage", lambda path: full)
    assert isinstance(folder(top).items, PictureFiles) and stores(root) == []
    with pytest.raises(OSError, match=r"decoded pictures take .* GiB.*store=False"):
        folder(top, store=True)
    full.free += 1
    assert isinstance(folder(top).items, np.memmap)


def test_a_root_that_cannot_be_written_means_decoding_on_the_fly(top, tmp_path):
    fill(top, ["cat", "dog"])
    (tmp_path / "file").write_text("a file, where a folder is needed")
    assert isinstance(folder(top, root=tmp_path / "file").items, PictureFiles)
    with pytest.raises(OSError):
        folder(top, root=tmp_path / "file", store=True)


# ---- on the fly ----


@pytest.fixture
def lazy(top):
    fill(top, ["animal/cat", "animal/dog", "vehicle/car"])
    return folder(top, size=8, store=False)


def test_decoded_on_the_fly_or_stored_is_the_same(lazy, top, root):
    assert isinstance(lazy.items, PictureFiles) and stores(root) == []
    stored = folder(top, size=8, store=True)
    np.testing.assert_array_equal(np.asarray(lazy.items), stored.items)
    assert lazy.fingerprint() == stored.fingerprint() and repr(lazy) == repr(stored)
    np.testing.assert_allclose(lazy.channel_mean_std(), stored.channel_mean_std())
    assert lazy.items.nbytes == stored.items.nbytes and lazy.items.ndim == stored.items.ndim == 4
    for index in (3, -1, np.int64(2), slice(2, 9, 3), [4, 4, 0], np.array([[1, 2], [3, 0]]), lazy.labels == 1):
        np.testing.assert_array_equal(lazy.items[index], stored.items[index])
    np.testing.assert_array_equal(lazy.items[torch.tensor([2, 0])], stored.items[[2, 0]])
    with pytest.raises(IndexError):
        lazy.items[15]


def test_a_lazy_data_set_can_be_saved(lazy, tmp_path):
    lazy.save(tmp_path / "store")
    saved = HierarchicalDataset.load(tmp_path / "store", verify=True)
    np.testing.assert_array_equal(saved.items, np.asarray(lazy.items))
    assert saved.hierarchy == lazy.hierarchy and saved.labels.tolist() == lazy.labels.tolist()


def test_saving_a_lazy_data_set_with_broken_pictures_lists_them(lazy, top, tmp_path):
    cut(top / "animal/cat/0.png")
    cut(top / "vehicle/car/4.png")
    with pytest.raises(UnreadablePictures) as raised:
        lazy.save(tmp_path / "store")
    assert set(raised.value.problems) == {"animal/cat/0.png", "vehicle/car/4.png"}
    assert not (tmp_path / "store").exists()


def test_subsets_decode_nothing(lazy, top, monkeypatch):
    stored = folder(top, size=8, store=True)
    with monkeypatch.context() as patch:
        patch.setattr(PictureFiles, "__getitem__", lambda self, index: pytest.fail("decoded"))
        subsets = [
            (make(lazy), make(stored))
            for make in (
                lambda data: data.take([3, 1]),
                lambda data: data.take(data.labels == 2),
                lambda data: data.under("animal"),
                lambda data: data.per_class(2, seed=1),
                lambda data: data.split(0.4, seed=2)[0],
                lambda data: data.split(0.4, seed=2)[1],
                lambda data: data.long_tail(5, seed=3),
            )
        ]
        assert HierarchicalDataset.from_arrays(lazy.items, lazy.labels, lazy.hierarchy).items is lazy.items
    for ours, theirs in subsets:
        assert isinstance(ours.items, PictureFiles)
        np.testing.assert_array_equal(np.asarray(ours.items), theirs.items)
        assert ours.labels.tolist() == theirs.labels.tolist() and ours.hierarchy == theirs.hierarchy


def test_pickling_and_loader_workers(lazy):
    again = pickle.loads(pickle.dumps(lazy.items))
    np.testing.assert_array_equal(again[:], lazy.items[:])

    batches = [[0, 5], [9], [14, 2, 2]]
    loader = DataLoader(lazy.items, batch_sampler=batches, num_workers=2, collate_fn=np.stack)
    for batch, index in zip(loader, batches, strict=True):
        np.testing.assert_array_equal(batch, lazy.items[index])
    assert copy.deepcopy(lazy).fingerprint() == lazy.fingerprint()


def test_a_picture_that_breaks_later_is_named(lazy, top):
    cut(top / "animal/cat/0.png")
    (top / "animal/dog/1.png").unlink()
    with pytest.raises(UnreadablePictures, match=r"animal/cat/0.png(.|\n)*animal/dog/1.png: there is no such file"):
        lazy.items[[0, 3, 6]]
    np.testing.assert_array_equal(lazy.items[1], decode(top / "animal/cat/1.png", 8))


# ---- CSV ----


def write_table(top, text, classes=("animal/cat", "animal/dog", "vehicle/car"), count=5):
    fill(top, classes, count)
    (top / "pictures.csv").write_text(text.strip() + "\n", encoding="utf-8")
    return top / "pictures.csv"


ROWS = [(f"{name}/{j}.png", *name.split("/")) for name in ("animal/cat", "animal/dog", "vehicle/car") for j in range(5)]


def test_a_table_with_label_columns(top):
    rows = "\n".join(",".join(row) for row in ROWS)
    path = write_table(top, f"path,kind,class\n{rows}")
    data = table(path, size=8)
    assert data.hierarchy.level_names == ("kind", "class") and data.name == "pictures" and data.note == ""
    same = folder(top, size=8)
    np.testing.assert_array_equal(data.items, same.items)
    assert data.labels.tolist() == same.labels.tolist() and data.hierarchy.ancestors.tolist() == [
        [0, 0],
        [0, 1],
        [1, 2],
    ]
    train, test = load(path, size=8)
    assert train.counts().tolist() == [4, 4, 4] and test.counts().tolist() == [1, 1, 1] and "fifth" in test.note


@pytest.mark.parametrize("second", ["test", "val", "Test"])
def test_a_table_with_a_split(top, second):
    rows = "\n".join(f"{kind},{name},{second if i % 5 == 4 else 'train'}" for i, (name, kind, _) in enumerate(ROWS))
    train, test = load(write_table(top, f"kind,File,Split\n{rows}"), size=8)
    assert train.hierarchy == test.hierarchy and train.hierarchy.level_names == ("kind",)
    assert train.counts().tolist() == [8, 4] and test.counts().tolist() == [2, 1]
    assert train.note == ("test is the split 'val'" if second == "val" else "")
    for row, name in enumerate(["animal/cat/4.png", "animal/dog/4.png", "vehicle/car/4.png"]):
        np.testing.assert_array_equal(test.items[row], decode(top / name, 8))


def test_a_table_with_three_parts(top):
    parts = ["train", "train", "train", "val", "test"]
    path = write_table(top, "path,split\n" + "\n".join(f"{name},{parts[i % 5]}" for i, (name, *_) in enumerate(ROWS)))
    train, test = load(path)
    assert (len(train), len(test)) == (9, 3) and "the 3 val pictures are not used" in train.note


def test_a_table_without_labels(top):
    path = write_table(top, "image\n" + "\n".join(name for name, *_ in ROWS))
    train, test = load(path)
    assert not train.labelled and len(train) == 12 and len(test) == 3
    labelled = write_table(top, "path,kind\n" + "\n".join(",".join(row[:2]) for row in ROWS))
    assert table(labelled).labelled and not table(labelled, label_columns=[]).labelled


def test_columns_can_be_chosen(top):
    rows = "\n".join(f"{i};{kind};{name};{leaf};2024" for i, (name, kind, leaf) in enumerate(ROWS))
    path = write_table(top, f"id;kind;where is it;class;year\n\n{rows}\n\n")  # semicolons, as spreadsheets write
    train, _ = load(path, path_column="where is it", label_columns=["kind", "class"])
    assert train.hierarchy.level_names == ("kind", "class") and train.hierarchy.leaf_names == ("cat", "dog", "car")
    with pytest.raises(
        ValueError, match=r"Unknown column of .*csv: 'species'.* Known: class, id, kind, where is it, year"
    ):
        load(path, path_column="where is it", label_columns=["species"])
    with pytest.raises(ValueError, match=r"Unknown column of .*csv: 'file'"):
        load(path, path_column="file")


def test_names_under_several_parents_are_classes_of_their_own(top):
    rows = "\n".join(f"{name},{kind},other" for name, kind, _ in ROWS)
    with pytest.raises(ValueError, match="'class' is coarser than 'kind'"):
        load(write_table(top, f"path,kind,class\n{rows}"))
    train, _ = load(top / "pictures.csv", label_columns=["kind", "class"])
    assert train.hierarchy.leaf_names == ("other", "other") and train.counts().tolist() == [8, 4]
    assert "several parents share 1 of the names, such as 'other'" in train.note


def understood(train, test):
    """What the data sets hold, in short: sizes and names of the levels, and the number of items of each class."""
    assert train.hierarchy == test.hierarchy
    return (
        dict(zip(train.hierarchy.level_names, train.hierarchy.sizes, strict=True)),
        train.counts().tolist(),
        test.counts().tolist(),
    )


# Rows of a table: two classes of each of two kinds, two pictures of each.
PLAIN = [
    {"path": f"{i}.png", "kind": ("animal", "vehicle")[i // 4], "class": ("cat", "dog", "car", "bus")[i // 2]}
    for i in range(8)
]


def with_columns(top, names, **more):
    """Writes a table of PLAIN with some of its columns, and more that are functions of the number of the row."""
    rows = [{**row, **{name: column(i) for name, column in more.items()}} for i, row in enumerate(PLAIN)]
    for row in rows:
        draw(top / row["path"], size=(8, 8))
    lines = [",".join(name.replace("_", "") if name == "_" else name for name in names)]
    lines += [",".join(str(row[name]) for name in names) for row in rows]
    (top / "t.csv").write_text("\n".join(lines))
    return top / "t.csv"


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (["path", "class", "kind"], {}, "'kind' is coarser than 'class'.*label_columns"),
        (["path", "kind", "class", "w"], {"w": lambda i: 32 + i % 2}, "'w' holds numbers and 'class' names"),
        (["path", "kind", "class", "w"], {"w": lambda i: 32 + i}, "'w' holds numbers and 'class' names.*label_columns"),
        (["path", "kind", "class", "w"], {"w": lambda i: f"a picture {i}"}, "every picture has a 'w' of its own"),
        (["path", "a", "b"], {"a": lambda i: i // 4, "b": lambda i: i % 4 // 2}, "'b' does not refine 'a': '0'"),
        (["path", "w", "kind", "class"], {"w": lambda i: 32 + i % 2}, "'w' holds numbers and 'kind' names"),
        (["path", "kind", "class", "y"], {"y": lambda i: i // 2}, "'y' says the same as 'class'"),
        (["path", "kind", "class", "k"], {"k": lambda i: PLAIN[i]["class"].upper()}, "'k' says the same as 'class'"),
        (["path", "k", "class"], {"k": lambda i: "anmal" if i == 1 else PLAIN[i]["kind"]}, r"'cat' .* in row [23] "),
        (["path", "kind", "c"], {"c": lambda i: "" if i == 1 else PLAIN[i]["class"]}, "row 3 .* has no 'c', but row"),
        (["path", "k", "class"], {"k": lambda i: "" if i == 1 else PLAIN[i]["kind"]}, r"'k' .* no value .*\(3\)"),
        (["p", "q", "kind"], dict.fromkeys("pq", lambda i: f"{i}.png"), "several columns hold paths of pictures"),
        (["kind", "class"], {}, "no column holds paths of pictures.*path_column.*'kind' with 'animal'"),
        (["path", "kind", "s", "t"], dict.fromkeys("st", lambda i: ("train", "test")[i % 2]), "'s' and 't' may both"),
    ],
)
def test_columns_that_are_not_clear_are_named(top, names, more, message):
    with pytest.raises(ValueError, match=message):
        load(with_columns(top, names, **more))


@pytest.mark.parametrize(
    ("names", "more", "note"),
    [
        (["_", "path", "kind", "class"], {"_": lambda i: i}, "fifth"),
        (
            ["id", "kind", "path", "class"],
            {"id": lambda i: 100 + i},
            "the column 'id' numbers the rows",
        ),
        (["ImageID", "path", "kind", "class"], {"ImageID": lambda i: f"x{i}"}, "the column 'ImageID' numbers"),
        (["mask", "path", "kind", "class"], {"mask": lambda i: f"m{i}.png"}, "'mask' holds files and is passed over"),
        (
            ["path", "kind", "class", "is_train"],
            {"is_train": lambda i: 1 - i % 2},
            "the split is the column 'is_train'",
        ),
        (["path", "kind", "class", "Usage"], {"Usage": lambda i: ("Training", "Validation")[i % 2]}, "'validation'"),
        (["file", "kind", "class"], {"file": lambda i: f"{i}.png"}, "fifth"),
    ],
)
def test_columns_that_are_no_labels_are_told(top, names, more, note):
    sets = load(with_columns(top, names, **more))
    assert understood(*sets) == ({"kind": 2, "class": 4}, [1] * 4, [1] * 4) and note in sets[0].note


def test_a_class_of_a_table_may_end_early(top):
    path = with_columns(
        top,
        ["path", "k", "c"],
        k=lambda i: PLAIN[i]["class"] if i > 5 else PLAIN[i]["kind"],
        c=lambda i: "" if i > 5 else PLAIN[i]["class"],
    )
    assert table(path).hierarchy.path(2) == ("bus", "bus")
    path.write_text("\n\n" + path.read_text())  # blank lines at the top
    assert table(path).hierarchy.leaf_names == ("cat", "dog", "bus", "car")


def test_a_table_of_many_columns_is_refused_at_once_and_some_can_be_chosen(top):
    draw(top / "0.png")
    columns = ["path", *(f"c{i}" for i in range(20_000))]
    (top / "t.csv").write_text(",".join(columns) + "\n0.png" + ",a" * 20_000)
    with pytest.raises(ValueError, match="20,001 columns: choose path_column and label_columns"):
        table(top / "t.csv")
    assert table(top / "t.csv", path_column="path", label_columns=["c7"]).hierarchy.leaf_names == ("a",)


@pytest.mark.parametrize("ending", ["", ".0"])
def test_minus_one_among_numbers_is_no_label_and_among_names_a_class(top, ending):
    for names, leaves in (
        (["-1", "0", "12", "-12", "3"], ("-12", "0", "12", "3")),
        (["-1", "a", "b", "c", "d"], ("-1", "a", "b", "c", "d")),
    ):
        labels = [name + ending for name in names]
        rows = "\n".join(f"{name},{labels[i % 5]}" for i, (name, *_) in enumerate(ROWS))
        data = table(write_table(top, f"path,class\n{rows}"))
        assert data.hierarchy.leaf_names == tuple(sorted(name + ending for name in leaves))
        assert (~data.has_label).sum() == 3 * (len(leaves) == 4)
    assert folder(fill_minus_one(top)).hierarchy.leaf_names == ("-1", "cat")


def fill_minus_one(top):
    fill(top / "signs", ("-1", "cat"), 2)
    return top / "signs"


def test_names_keep_their_text(top):
    """NA, None and 007 are names; spaces around a name are not part of it; a slash is."""
    names = ["NA", "None", " 007", "7 ", "cat/dog"]
    rows = "\n".join(f"{name},{names[i % 5]}" for i, (name, *_) in enumerate(ROWS))
    data = table(write_table(top, f"path,class\n{rows}"))
    assert data.hierarchy.leaf_names == ("007", "7", "NA", "None", "cat/dog") and data.hierarchy.levels == 1


def test_missing_and_broken_pictures_of_a_table_are_in_one_list(top):
    path = write_table(
        top, "path,class\nanimal/cat/0.png,cat\nanimal/cat/1.png,cat\nno/such.png,dog\nanimal/cat/2.png,cow"
    )
    cut(top / "animal/cat/1.png")
    with pytest.raises(UnreadablePictures) as raised:
        table(path)
    assert set(raised.value.problems) == {"animal/cat/1.png", "no/such.png"}
    assert raised.value.problems["no/such.png"] == "there is no such file"
    with pytest.warns(UserWarning, match="2 pictures left out"):
        data = table(path, skip_unreadable=True)
    assert data.hierarchy.leaf_names == ("cat", "cow") and len(data) == 2
    draw(top / "no/such.png")
    draw(top / "animal/cat/1.png")
    assert len(table(path)) == 4, "what was missing has come"


def test_changed_labels_are_not_those_of_the_old_store(top, root):
    path = write_table(top, "path,class\n" + "\n".join(f"{name},{kind}" for name, kind, _ in ROWS))
    assert table(path).hierarchy.leaf_names == ("animal", "vehicle")
    path.write_text("path,class\n" + "\n".join(f"{name},{leaf}" for name, _, leaf in ROWS))
    assert table(path).hierarchy.leaf_names == ("car", "cat", "dog")
    swapped = {"cat": "dog", "dog": "cat", "car": "car"}
    path.write_text("path,class\n" + "\n".join(f"{name},{swapped[leaf]}" for name, _, leaf in ROWS))
    expected = [1 + (leaf == "cat") if leaf != "car" else 0 for *_, leaf in ROWS]
    assert table(path).labels.tolist() == expected
    saved = [read_store(root / "folders" / name).labels.tolist() for name in stores(root)]
    assert len(saved) == 3 and expected in saved, "a store is right by itself, too"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,kind,class\na.png,x,\nb.png,x,y\nc.png,x,",
            "row 2 of .* has no 'class', but row 3 has one for the same 'kind', 'x'",
        ),
        ("path,class\na.png,x\n,y", r"column 'path' .* no value in 1 of the rows \(3\)"),
        ("path,class\na.png,x\nb.png,y\na.png,y", r"lists 'a.png' twice, in rows 2 and 4"),
        ("path,split\na.png,train\nb.png,exam", r"row 3 of .* has the split 'exam': it must be train, test or val"),
        ("path,split\na.png,train\nb.png,train", r"all pictures of 'pictures' are train pictures"),
        ("path,class\na.png,x\nb.png,y\nc/../a.png,y", r"lists 'c/../a.png' twice, in rows 2 and 4"),
        ("path,class,class\na.png,x,y", "several columns 'class'"),
        ("path,cat,dog\na.png,0,1\nb.png,1,0\nc.png,0,1", "'cat' and 'dog' hold 0 and 1.*make one column"),
        ("a.png,cat\nb.png,dog", r"names a picture, not columns"),
        ("path,class", "lists no pictures"),
        ("", "no table"),
        ('path,class\n"a.png,cat', "no table"),
    ],
)
def test_wrong_tables_are_errors_that_say_where(top, text, message):
    for name in "abc":
        draw(top / f"{name}.png")
    (top / "pictures.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(top / "pictures.csv")


# ---- options and paths ----


def test_wrong_label_columns_and_names_of_data_sets(top, as_a_user):
    draw(top / "a.png")
    path = top / "pictures.csv"
    path.write_text("path,kind,class\na.png,animal,cat")
    assert table(path, label_columns=("kind", "class")).hierarchy.level_names == ("kind", "class")
    for wrong, words in (
        (3, "give a list of names"),
        ([0], "give a list of names"),
        (["kind", "kind"], "several times"),
    ):
        with pytest.raises(ValueError, match=words):
            table(path, label_columns=wrong)
    for wrong in (None, 5, ["shapes"]):
        with pytest.raises(ValueError, match=r"give a name .* or a path"):
            load(wrong)


def test_wrong_paths(top, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown data set .*folder of pictures.*no such folder or file"):
        load(top)
    with pytest.raises(ValueError, match="there is no folder"):
        folder(top)
    with pytest.raises(ValueError, match="there is no file"):
        table(top / "pictures.csv")
    top.mkdir()
    (top / "notes.txt").write_text("no picture")
    for read in (load, folder):
        with pytest.raises(ValueError, match=r"no array store, and it has no pictures.*\.jpg"):
            read(top)
    with pytest.raises(ValueError, match="is neither a CSV file nor a file of features"):
        load(top / "notes.txt")
    with pytest.raises(ValueError, match="is no folder"):
        folder(top / "notes.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0: give the side of the pictures in pixels"),
        ({"size": -1}, "size=-1"),
        ({"store": "always"}, "store='always': it is 'auto', True or False"),
        ({"skip": True}, r"option of a folder of pictures: 'skip'.* Known: .*size, skip_unreadable, store"),
        ({"label_columns": ["class"]}, "option of a folder of pictures: 'label_columns'"),
    ],
)
def test_wrong_options(top, options, message):
    fill(top, ["cat", "dog"])
    with pytest.raises(ValueError, match=message):
        load(top, **options)


def test_options_of_the_other_loaders_are_checked_too(top):
    fill(top, ["cat", "dog"])
    folder(top).save(top.parent / "store")
    with pytest.raises(ValueError, match=r"Unknown option of an array store: 'size'.* Known: mmap, verify"):
        load(top.parent / "store", size=64)
    with pytest.raises(ValueError, match="cifar100 has no options, got 'size'"):
        load("cifar100", size=64)
    with pytest.raises(ValueError, match="Unknown option of a CSV file: 'labelled'"):
        load(write_table(top, "path,class\ncat/0.png,x"), labelled=False)


def test_paths_can_be_relative_and_start_at_home(top, monkeypatch):
    fill(top, ["cat", "dog"])
    monkeypatch.chdir(top.parent)
    monkeypatch.setenv("HOME", str(top.parent))
    monkeypatch.setenv("USERPROFILE", str(top.parent))
    assert load("lab")[0].name == load(Path("~/lab"))[0].name == load(Path("lab/../lab"))[0].name == "lab"
