"""Omniglot: the loader on tiny archives in the official layout, its errors, the real drawings."""

import hashlib
import shutil
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Omniglot

from hiercl.datasets import load, omniglot
from hiercl.datasets.download import fetch

ALPHABETS = {
    "images_background": {"Greek": 2, "Balinese": 1},
    "images_evaluation": {"Atlantean": 1},
}


def drawing(alphabet, character, drawer):
    """Ink (False) on paper (True), 105x105 as in the original; the ink tells which drawing it is."""
    paper = np.ones((105, 105), dtype=bool)
    paper[10:60, 10 : 15 + 3 * drawer] = False
    paper[70 : 75 + 5 * character + len(alphabet), 20:90] = False
    return paper


def pack(folder):
    """Write archives with the official names and layout below a folder."""
    for archive, alphabets in ALPHABETS.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                place = folder / archive / alphabet / f"character{character:02}"
                place.mkdir(parents=True)
                for drawer in range(1, 21):
                    file = place / f"{7 * character:04}_{drawer:02}.png"
                    Image.fromarray(drawing(alphabet, character, drawer)).save(file)
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as zipped:
            for path in sorted((folder / archive).rglob("*")):
                zipped.write(path, path.relative_to(folder))
        shutil.rmtree(folder / archive)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Tiny archives on a server of this machine take the place of the official ones."""
    pack(tmp_path / "server")
    tiny = {}
    for name, sizes in ALPHABETS.items():
        md5 = hashlib.md5((tmp_path / "server" / f"{name}.zip").read_bytes()).hexdigest()
        tiny[name] = (md5, sum(sizes.values()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "server")) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(omniglot, "URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(omniglot, "ARCHIVES", tiny)
        monkeypatch.setattr(omniglot, "fetch", partial(fetch, allow_http=True))
        yield
        server.shutdown()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def unpacked(root, name="images_background"):
    return root / "omniglot" / "download" / "omniglot-py" / name


def test_the_archives_become_stores(official, root):
    train, test = load("omniglot", root=root)
    tree = train.hierarchy
    assert tree == test.hierarchy and tree.level_names == ("alphabet", "character")
    assert tree.names[0] == ("Atlantean", "Balinese", "Greek")
    assert [tree.path(leaf) for leaf in range(4)] == [
        ("Atlantean", "character01"),
        ("Balinese", "character01"),
        ("Greek", "character01"),
        ("Greek", "character02"),
    ]
    assert train.counts().tolist() == test.counts().tolist() == [10] * 4
    assert train.items.shape == (40, 32, 32, 3) and train.name == "omniglot" and train.note == ""


def test_drawers_1_to_10_are_for_training(official, root):
    train, test = load("omniglot", root=root, size=105)
    assert (root / "omniglot-105" / "train").is_dir(), "sizes must not share a store"
    for data, drawers in ((train, range(1, 11)), (test, range(11, 21))):
        found = data.items[data.labels == 3]
        for picture, drawer in zip(found, drawers, strict=True):
            expected = np.where(drawing("Greek", 2, drawer), 255, 0)
            assert all(np.array_equal(picture[..., channel], expected) for channel in range(3))


def test_smaller_drawings_are_antialiased_and_dark_on_white(official, root):
    train, _ = load("omniglot", root=root)
    picture = train.items[0]
    assert picture[0, 0, 0] == 255 and picture.min() < 20 and len(np.unique(picture)) > 4


def test_the_stores_are_made_once(official, root, monkeypatch):
    load("omniglot", root=root)
    shutil.rmtree(root / "omniglot" / "download")
    monkeypatch.setattr(omniglot, "fetch", lambda *_, **__: pytest.fail("the archives are needed no more"))
    train, _ = load("omniglot", root=root)
    assert isinstance(train.items, np.memmap)


def test_another_size_needs_no_second_download(official, root, tmp_path):
    load("omniglot", root=root)
    shutil.rmtree(tmp_path / "server")
    assert load("omniglot", root=root, size=16)[0].items.shape[1:] == (16, 16, 3)


@pytest.mark.parametrize("lost", ["images_background", "images_background/Greek/character02"])
def test_an_interrupted_unpacking_is_finished(official, root, lost):
    load("omniglot", root=root)
    shutil.rmtree(unpacked(root, lost))
    assert len(load("omniglot", root=root, size=16)[0]) == 40


def test_a_missing_drawing_is_named(official, root):
    load("omniglot", root=root)
    (unpacked(root) / "Greek" / "character02" / "0014_07.png").unlink()
    with pytest.raises(RuntimeError, match=r"Greek/character02 has 19 drawings instead of 20: delete .*character02"):
        load("omniglot", root=root, size=16)
    shutil.rmtree(unpacked(root) / "Greek" / "character02")
    assert len(load("omniglot", root=root, size=16)[0]) == 40, "what the error says helps"


def test_a_cut_drawing_is_named(official, root):
    load("omniglot", root=root)
    path = unpacked(root) / "Greek" / "character02" / "0014_07.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(RuntimeError, match=r"cut or altered, delete .*omniglot-py and call again:(.|\n)*0014_07.png"):
        load("omniglot", root=root, size=16)


def test_a_damaged_archive_is_named(official, root):
    archive = unpacked(root).with_suffix(".zip")
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"an error page")
    with pytest.raises(RuntimeError, match=r"images_background.zip is cut or altered .*delete it and call again"):
        load("omniglot", root=root)
    archive.unlink()
    assert len(load("omniglot", root=root)[0]) == 40


def test_an_archive_that_arrives_damaged_is_refused(official, root, monkeypatch):
    monkeypatch.setattr(omniglot, "ARCHIVES", {name: ("0" * 32, 1) for name in ALPHABETS})
    with pytest.raises(ConnectionError, match=r"images_background.zip: it has another file \(its MD5 is"):
        load("omniglot", root=root)
    assert not list((root / "omniglot" / "download").rglob("*.zip")), "a damaged archive would block the next call"


def test_without_a_network_the_error_says_what_works(official, root, monkeypatch):
    monkeypatch.setattr(omniglot, "URL", "http://127.0.0.1:9/nobody-listens-here")
    with pytest.raises(ConnectionError, match=r'could not be downloaded(.|\n)*hiercl.load\("shapes"\)'):
        load("omniglot", root=root)
    assert not list((root / "omniglot" / "download").rglob("*.zip")), "a partial archive would block the next call"


@pytest.mark.parametrize("size", [0, -3, 1.5, True])
def test_a_size_that_cannot_be(root, size):
    with pytest.raises((ValueError, TypeError), match="size"):
        load("omniglot", root=root, size=size)


def test_an_unknown_option(root):
    with pytest.raises(ValueError, match=r"Unknown option of omniglot: 'alphabets'. Known: size"):
        load("omniglot", root=root, alphabets=3)


def test_addresses_and_checksums_are_those_of_torchvision():
    assert Omniglot.download_url_prefix == omniglot.URL
    assert Omniglot.zips_md5 == {name: md5 for name, (md5, _) in omniglot.ARCHIVES.items()}


def test_the_real_drawings(real_omniglot):
    train, test = real_omniglot
    tree = train.hierarchy
    assert tree == test.hierarchy and tree.levels == 2 and train.items.shape[1:] == (32, 32, 3)
    if not train.note:  # downloaded
        assert tree.sizes == (50, 1623) and len(train) == len(test) == 16_230
    else:
        assert train.note == test.note == "partial: 8 of the 50 alphabets"
        assert tree.sizes == (8, 242) and len(train) == len(test) == 2420
        assert "Greek" in tree.names[0] and tree.node("Greek/character24")[0] == 1
    assert train.counts().tolist() == [10] * tree.n_leaves
    mean, _ = train.channel_mean_std()
    assert (mean > 0.85).all(), "the paper is white"
    # Drawings of one character look more alike than those of others: labels and pictures belong together
    flat = 1 - train.items[..., 0].reshape(len(train), -1) / 255
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    close = flat @ flat.T
    np.fill_diagonal(close, -1)
    nearer = (train.labels[close.argmax(axis=1)] == train.labels).mean()
    assert nearer > 0.2  # by chance 0.004
