"""CIFAR-100: its hierarchy, the loader on tiny files in the official format, the real pictures."""

import hashlib
import pickle
import tarfile

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from hiercl.datasets import cifar100, load
from hiercl.datasets.download import Mirror

TREE = cifar100.hierarchy()


def test_the_hierarchy_has_the_official_ids():
    assert TREE.sizes == (20, 100) and TREE.level_names == ("superclass", "class")
    assert TREE.leaf_names == tuple(sorted(TREE.leaf_names)) and TREE.names[0] == tuple(sorted(TREE.names[0]))
    assert TREE.counts(np.arange(100), 0).tolist() == [5] * 20
    assert TREE.path(0) == ("fruit_and_vegetables", "apple")
    assert TREE.path(99) == ("non-insect_invertebrates", "worm")
    # the published coarse labels of the first ten fine labels
    assert TREE.ancestors[:10, 0].tolist() == [4, 1, 14, 8, 0, 6, 7, 7, 18, 3]


# ---- the official archive ----


def rows(n, seed):
    """A tiny file in the official format: each row is 1,024 red, 1,024 green and 1,024 blue values."""
    generator = np.random.default_rng(seed)
    fine = generator.integers(0, 100, n)
    return {
        "filenames": [f"{i}.png" for i in range(n)],
        "batch_label": "a tiny batch",
        "fine_labels": fine.tolist(),
        "coarse_labels": TREE.ancestors[fine, 0].tolist(),
        "data": generator.integers(0, 256, (n, 3072), dtype=np.uint8),
    }


TRAIN, TEST = rows(12, seed=0), rows(6, seed=1)
META = {"fine_label_names": list(TREE.leaf_names), "coarse_label_names": list(TREE.names[0])}


def official_archive(folder, train=TRAIN):
    """Write a tiny archive with the official names; its path and how it is downloaded."""
    source = folder / "source" / "cifar-100-python"
    source.mkdir(parents=True)
    for name, content in (("train", train), ("test", TEST), ("meta", META)):
        (source / name).write_bytes(pickle.dumps(content, protocol=2))
    archive = folder / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname="cifar-100-python")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    return archive, Mirror("https://127.0.0.1:9/not-there/cifar-100-python.tar.gz", md5)


def put_in_place(archive, root):
    """Move an archive to where a finished download would be."""
    place = root / "cifar100" / "download" / archive.name
    place.parent.mkdir(parents=True)
    return archive.rename(place)


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """The root, with the tiny archive where a finished download would be."""
    archive, mirror = official_archive(tmp_path)
    monkeypatch.setattr(cifar100, "ARCHIVE", mirror)
    put_in_place(archive, tmp_path / "root")
    return tmp_path / "root"


def test_the_archive_becomes_stores(downloaded):
    train, test = load("cifar100", root=downloaded)
    for data, source in ((train, TRAIN), (test, TEST)):
        assert data.labels.tolist() == source["fine_labels"]
        assert data.labels_at(0).tolist() == source["coarse_labels"]
        assert data.hierarchy == TREE and data.name == "cifar100" and data.note == ""
        picture = data.items[2]
        for row, column in ((0, 0), (3, 30), (31, 31)):
            red_green_blue = [source["data"][2][color * 1024 + row * 32 + column] for color in range(3)]
            assert picture[row, column].tolist() == red_green_blue


def test_the_stores_are_made_once_and_then_read_without_the_archive(downloaded, monkeypatch):
    first, _ = cifar100.load(downloaded)

    monkeypatch.setattr(cifar100, "fetch", lambda *_, **__: pytest.fail("the archive is needed no more"))
    again, test = cifar100.load(downloaded)
    assert isinstance(again.items, np.memmap) and len(test) == 6
    np.testing.assert_array_equal(again.items, first.items)


@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_damaged_archive_is_named_and_never_unpickled(downloaded, monkeypatch, damage):
    archive = downloaded / "cifar100" / "download" / "cifar-100-python.tar.gz"
    good = archive.read_bytes()
    content = bytearray(good)
    if damage == "altered":
        content[len(content) // 2] ^= 1
    archive.write_bytes(content[:-5] if damage == "cut" else content)
    with monkeypatch.context() as patch:
        patch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled before it was verified"))
        with pytest.raises(RuntimeError, match=r"tar.gz is cut or altered .*delete it and call again"):
            cifar100.load(downloaded)
    archive.write_bytes(good)
    train, _ = cifar100.load(downloaded)
    assert len(train) == 12


def test_without_a_network_the_error_says_what_works(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar100, "ARCHIVE", official_archive(tmp_path)[1])
    with pytest.raises(ConnectionError, match=r'could not be downloaded(.|\n)*hiercl.load\("shapes"\)'):
        cifar100.load(tmp_path / "root")
    assert not list((tmp_path / "root" / "cifar100" / "download").iterdir())


def test_coarse_labels_that_do_not_fit_the_hierarchy_are_an_error(tmp_path, monkeypatch):
    wrong = TRAIN | {"coarse_labels": [(label + 1) % 20 for label in TRAIN["coarse_labels"]]}
    archive, mirror = official_archive(tmp_path, train=wrong)
    monkeypatch.setattr(cifar100, "ARCHIVE", mirror)
    put_in_place(archive, tmp_path / "root")
    with pytest.raises(RuntimeError, match=r"train in .*tar.gz does not fit the hierarchy.*item 0"):
        cifar100.load(tmp_path / "root")
    assert not (tmp_path / "root" / "cifar100" / "train").exists()


def test_address_and_checksum_are_those_of_torchvision():
    assert cifar100.ARCHIVE == Mirror(CIFAR100.url, CIFAR100.tgz_md5)
    assert cifar100.ARCHIVE.file == CIFAR100.filename


# ---- the real pictures ----


def test_the_real_pictures(real_cifar100):
    train, test = real_cifar100
    assert train.items.shape == (50_000, 32, 32, 3) and train.counts().tolist() == [500] * 100
    assert train.hierarchy == test.hierarchy == TREE
    assert len(set(test.counts())) == 1
    mean, std = train.channel_mean_std()
    np.testing.assert_allclose(mean, (0.5071, 0.4865, 0.4409), atol=0.004)
    np.testing.assert_allclose(std, (0.2673, 0.2564, 0.2761), atol=0.004)
