"""CIFAR-100: its hierarchy, the loader on tiny files in the official format, the real pictures."""

import hashlib
import os
import pickle
import tarfile
import urllib.error

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from hiercl.datasets import cifar100, load

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


def official_class(folder, train=TRAIN, **attributes):
    """Write the archive with the official names, and make the class that knows its checksums."""
    source = folder / "source" / "cifar-100-python"
    source.mkdir(parents=True)
    md5 = {}
    for name, content in (("train", train), ("test", TEST), ("meta", META)):
        data = pickle.dumps(content, protocol=2)
        (source / name).write_bytes(data)
        md5[name] = hashlib.md5(data).hexdigest()
    archive = folder / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname="cifar-100-python")
    own = {
        "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest(),
        "train_list": [["train", md5["train"]]],
        "test_list": [["test", md5["test"]]],
        "meta": CIFAR100.meta | {"md5": md5["meta"]},
        "url": "http://localhost:9/not-there/cifar-100-python.tar.gz",
    }
    return type("TinyCIFAR100", (CIFAR100,), own | attributes), archive


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """The root, with the tiny archive lying where a finished download would."""
    official, archive = official_class(tmp_path)
    monkeypatch.setattr(cifar100, "_official", lambda: official)
    download = tmp_path / "root" / "cifar100" / "download"
    download.mkdir(parents=True)
    archive.rename(download / archive.name)
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

    def forbidden():
        raise AssertionError("the archive is needed no more")

    monkeypatch.setattr(cifar100, "_official", forbidden)
    again, test = cifar100.load(downloaded)
    assert isinstance(again.items, np.memmap) and len(test) == 6
    np.testing.assert_array_equal(again.items, first.items)


@pytest.mark.parametrize("file", ["cifar-100-python.tar.gz", "cifar-100-python/train", "cifar-100-python/test"])
@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_damaged_file_is_named_and_never_unpickled(downloaded, monkeypatch, file, damage):
    download = downloaded / "cifar100" / "download"
    with tarfile.open(download / "cifar-100-python.tar.gz") as tar:
        if "/" in file:
            tar.extractall(download, filter="data")
    content = bytearray((download / file).read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    (download / file).write_bytes(content[:-5] if damage == "cut" else content)

    def forbidden(*args, **kwargs):
        raise AssertionError("unpickled before it was verified")

    monkeypatch.setattr(pickle, "load", forbidden)
    with pytest.raises(RuntimeError, match=f"{file} is cut or altered.*delete it and call again"):
        cifar100.load(downloaded)


def test_after_deleting_the_damaged_file_the_next_call_works(downloaded):
    download = downloaded / "cifar100" / "download"
    (download / "cifar-100-python").mkdir()
    (download / "cifar-100-python" / "train").write_bytes(b"cut")
    with pytest.raises(RuntimeError, match="cifar-100-python/train"):
        cifar100.load(downloaded)
    (download / "cifar-100-python" / "train").unlink()
    train, _ = cifar100.load(downloaded)
    assert len(train) == 12


def test_a_missing_meta_file_is_named(downloaded):
    download = downloaded / "cifar100" / "download"
    with tarfile.open(download / "cifar-100-python.tar.gz") as tar:
        tar.extractall(download, filter="data")
    (download / "cifar-100-python" / "meta").unlink()
    with pytest.raises(RuntimeError, match=r"meta is missing: delete the folder .*cifar-100-python and call again"):
        cifar100.load(downloaded)


@pytest.mark.parametrize("error", [urllib.error.URLError("no route to host"), OSError("connection reset")])
def test_without_a_network_the_error_says_what_works(tmp_path, monkeypatch, error):
    def download(self):
        partial = os.path.join(self.root, self.filename)
        with open(partial, "wb") as file:
            file.write(b"the first bytes")
        raise error

    official, _ = official_class(tmp_path, download=download)
    monkeypatch.setattr(cifar100, "_official", lambda: official)
    with pytest.raises(ConnectionError, match=r'could not be downloaded.*hiercl.load\("shapes"\)'):
        cifar100.load(tmp_path / "root")
    assert not list((tmp_path / "root" / "cifar100" / "download").iterdir()), (
        "a partial archive would block the next call"
    )


def test_a_download_that_arrives_damaged_is_named(tmp_path, monkeypatch):
    def download(self):
        with open(os.path.join(self.root, self.filename), "wb") as file:
            file.write(b"an error page")
        raise RuntimeError("File not found or corrupted.")

    official, _ = official_class(tmp_path, download=download)
    monkeypatch.setattr(cifar100, "_official", lambda: official)
    with pytest.raises(RuntimeError, match=r"tar.gz is cut or altered.*delete it and call again"):
        cifar100.load(tmp_path / "root")


def test_coarse_labels_that_do_not_fit_the_hierarchy_are_an_error(tmp_path, monkeypatch):
    wrong = TRAIN | {"coarse_labels": [(label + 1) % 20 for label in TRAIN["coarse_labels"]]}
    official, archive = official_class(tmp_path, train=wrong)
    monkeypatch.setattr(cifar100, "_official", lambda: official)
    (tmp_path / "root" / "cifar100" / "download").mkdir(parents=True)
    archive.rename(tmp_path / "root" / "cifar100" / "download" / archive.name)
    with pytest.raises(RuntimeError, match=r"train does not fit the hierarchy.*item 0"):
        cifar100.load(tmp_path / "root")
    assert not (tmp_path / "root" / "cifar100" / "train").exists()


def test_the_official_class_is_torchvisions():
    assert cifar100._official() is CIFAR100


# ---- the real pictures ----


def test_the_real_pictures(real_cifar100):
    train, test = real_cifar100
    assert train.items.shape == (50_000, 32, 32, 3) and train.counts().tolist() == [500] * 100
    assert train.hierarchy == test.hierarchy == TREE
    assert len(set(test.counts())) == 1
    mean, std = train.channel_mean_std()
    np.testing.assert_allclose(mean, (0.5071, 0.4865, 0.4409), atol=0.004)
    np.testing.assert_allclose(std, (0.2673, 0.2564, 0.2761), atol=0.004)
