"""CIFAR-100 (Krizhevsky, 2009): 32x32 pictures of 100 classes in 20 superclasses.

The official archive is downloaded and verified by torchvision, turned into array stores once, and read from these.
"""

import json
import pickle
from http.client import HTTPException
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy

__all__ = ["hierarchy", "load"]


def hierarchy() -> Hierarchy:
    """Give the 20 superclasses and 100 classes, both with their official ids.

    Example::

        >>> hierarchy().path(0)
        ('fruit_and_vegetables', 'apple')
    """
    data = json.loads(Path(__file__).with_name("cifar100.json").read_text(encoding="utf-8"))
    superclasses = list(data["superclasses"])
    superclass_of = {name: i for i, names in enumerate(data["superclasses"].values()) for name in names}
    ancestors = np.array([[superclass_of[name], i] for i, name in enumerate(data["classes"])])
    return Hierarchy.from_ancestors(ancestors, [superclasses, data["classes"]], data["level_names"])


def load(root: str | Path) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Give the training and test set; the first call downloads 161 MiB and writes array stores below `root`.

    Raises ConnectionError when the archive cannot be downloaded, and RuntimeError, with the file and what to do, when
    a downloaded file is cut or altered.

    Example::

        >>> train, test = load("data")  # doctest: +SKIP
    """
    folder = Path(root) / "cifar100"
    if not all(is_store(folder / split) for split in ("train", "test")):
        _make_stores(folder)
    return read_store(folder / "train"), read_store(folder / "test")


def _official() -> type:
    """Give torchvision's class, which knows the address, the file names and the checksums."""
    from torchvision.datasets import CIFAR100

    return CIFAR100


def _make_stores(folder: Path) -> None:
    official, download = _official(), folder / "download"
    _download(official, download)
    for split, files in (("train", official.train_list), ("test", official.test_list)):
        if is_store(folder / split):
            continue
        parts = [_read_verified(download / official.base_folder / name, md5) for name, md5 in files]
        dataset = _dataset(parts, download / official.base_folder / files[0][0])
        try:
            write_store(dataset, folder / split)
        except FileExistsError:
            if not is_store(folder / split):  # else another process wrote the same in the meantime
                raise


def _download(official: type, download: Path) -> None:
    """Have torchvision download, verify and unpack what is not there yet."""
    archive = download / official.filename
    _check_unpacked(official, download, all_there=False)
    if archive.exists():
        _check(archive, official.tgz_md5)
    download.mkdir(parents=True, exist_ok=True)
    try:
        official(root=str(download), train=True, download=True)
    except (OSError, HTTPException) as error:
        archive_is_good = archive.exists() and _intact(archive, official.tgz_md5)
        if archive_is_good:
            raise  # not the network: the archive could not be unpacked, for example onto a full disk
        archive.unlink(missing_ok=True)
        raise ConnectionError(
            f"CIFAR-100 could not be downloaded from {official.url} ({error}): check the network and call again. "
            f'Without a network, hiercl.load("shapes") works: it makes its pictures itself.'
        ) from error
    except RuntimeError:
        if archive.exists():
            _check(archive, official.tgz_md5)
        _check_unpacked(official, download, all_there=True)
        raise
    _check_unpacked(official, download, all_there=True)


def _check_unpacked(official: type, download: Path, all_there: bool) -> None:
    meta = (official.meta["filename"], official.meta["md5"])
    for name, md5 in (*official.train_list, *official.test_list, meta):
        path = download / official.base_folder / name
        if path.exists():
            _check(path, md5)
        elif all_there:
            raise RuntimeError(f"{path} is missing: delete the folder {path.parent} and call again")


def _intact(path: Path, md5: str) -> bool:
    from torchvision.datasets.utils import check_integrity

    return check_integrity(str(path), md5)


def _check(path: Path, md5: str) -> None:
    if not _intact(path, md5):
        raise RuntimeError(f"{path} is cut or altered (its MD5 checksum is not {md5}): delete it and call again")


def _read_verified(path: Path, md5: str) -> dict:
    """Unpickle an official file, after its checksum only: unpickling anything else could run foreign code."""
    _check(path, md5)
    with open(path, "rb") as file:
        return pickle.load(file, encoding="latin1")


def _dataset(parts: list[dict], path: Path) -> HierarchicalDataset:
    """Make the data set of one split from its official files; a row is 32x32 red, then green, then blue values."""
    images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    fine = np.concatenate([part["fine_labels"] for part in parts])
    coarse = np.concatenate([part["coarse_labels"] for part in parts])
    columns = np.stack([coarse, fine], axis=1)
    try:
        return HierarchicalDataset.from_arrays(np.ascontiguousarray(images), columns, hierarchy(), "cifar100")
    except ValueError as error:
        raise RuntimeError(f"{path} does not fit the hierarchy that hiercl has for CIFAR-100: {error}") from error
