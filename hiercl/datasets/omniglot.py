"""Omniglot (Lake et al., 2015): 1,623 characters of 50 alphabets, each drawn by 20 people.

The official archives are downloaded, verified and unpacked by torchvision, turned into array stores once, and read from
these.
"""

from http.client import HTTPException
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.pictures.files import PictureFiles, UnreadablePictures
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy

__all__ = ["LEVELS", "load", "read_drawings", "split"]

LEVELS = ("alphabet", "character")
DRAWINGS = 20  # of every character, each by another person
CHARACTERS = {"images_background": 964, "images_evaluation": 659}  # of each archive


def load(root: str | Path, size: int = 32) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Give the training and test set; the first call downloads 15 MiB and writes array stores below `root`.

    Shapes: items uint8 ``[16230, size, size, 3]``, dark ink on white as in the original, resized with antialias from
    105 pixels; the labels have two levels, 50 alphabets and 1,623 characters ("Greek/character01": characters of two
    alphabets share names).

    The split is ours: of the 20 drawings of a character the first ten are for training, the others for the test, so
    that both parts have the same hierarchy, as nearest neighbours, a linear probe and clusters of frozen features need
    it. It is not the split by alphabets (background and evaluation) of few-shot learning.

    Raises ConnectionError when an archive cannot be downloaded, and RuntimeError, with the file and what to do, when
    one is cut, altered or incomplete.

    Example::

        >>> train, test = load("data")  # doctest: +SKIP
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size={size!r}: it is the side of the pictures in pixels, an integer of at least 1")
    root = Path(root)
    folder = root / ("omniglot" if size == 32 else f"omniglot-{size}")
    if not all(is_store(folder / part) for part in ("train", "test")):
        _make_stores(folder, root / "omniglot" / "download", size)
    return read_store(folder / "train"), read_store(folder / "test")


def read_drawings(folders: list[Path], size: int) -> HierarchicalDataset:
    """Read unpacked archives, ``folder/alphabet/character/drawing.png``, in the order of these names.

    Raises RuntimeError for a character that has not 20 drawings.
    """
    files = sorted((path.relative_to(path.parents[2]), path) for folder in folders for path in folder.glob("*/*/*.png"))
    tree, labels = Hierarchy.from_paths([name.as_posix() for name, _ in files], LEVELS)
    counts = tree.counts(labels, -1)
    if (counts != DRAWINGS).any():
        wrong = int(np.argmax(counts != DRAWINGS))
        raise RuntimeError(
            f"{'/'.join(tree.path(wrong))} has {counts[wrong]} drawings instead of {DRAWINGS}: delete the folder "
            f"{files[int(np.argmax(labels == wrong))][1].parent} and call again"
        )
    pictures = PictureFiles(folders[0].parent, np.array([str(path) for _, path in files]), size)
    return HierarchicalDataset(pictures, labels, tree, "omniglot")


def split(drawings: HierarchicalDataset) -> dict[str, HierarchicalDataset]:
    """Give the first ten drawings of every character as "train", the others as "test"."""
    order = np.argsort(drawings.labels, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) % DRAWINGS
    return {"train": drawings.take(rank < DRAWINGS // 2), "test": drawings.take(rank >= DRAWINGS // 2)}


def _official() -> type:
    """Give torchvision's class, which knows the address, the file names and the checksums."""
    from torchvision.datasets import Omniglot

    return Omniglot


def _make_stores(folder: Path, download: Path, size: int) -> None:
    official = _official()
    unpacked = [_unpacked(official, download, name) for name in CHARACTERS]
    for part, dataset in split(read_drawings(unpacked, size)).items():
        if is_store(folder / part):
            continue
        try:
            write_store(dataset, folder / part)
        except UnreadablePictures as error:
            raise RuntimeError(
                f"drawings are cut or altered, delete {unpacked[0].parent} and call again: {error}"
            ) from error
        except FileExistsError:
            if not is_store(folder / part):  # else another process wrote the same in the meantime
                raise


def _unpacked(official: type, download: Path, name: str) -> Path:
    """Have torchvision download, verify and unpack an archive, as far as that is not done yet."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    folder = download / official.folder / name
    archive, md5 = folder.with_suffix(".zip"), official.zips_md5[name]
    if archive.exists() and not check_integrity(str(archive), md5):
        raise _damaged(archive, md5)
    try:
        download.mkdir(parents=True, exist_ok=True)
        official(root=str(download), background=name == "images_background", download=True)
    except (OSError, HTTPException) as error:
        if archive.exists() and check_integrity(str(archive), md5):
            if not isinstance(error, FileNotFoundError):
                raise  # not the network: the archive could not be unpacked, for example onto a full disk
        else:
            archive.unlink(missing_ok=True)
            raise ConnectionError(
                f"Omniglot could not be downloaded from {official.download_url_prefix} ({error}): check the network "
                f'and call again. Without a network, hiercl.load("shapes") works: it makes its pictures itself.'
            ) from error
    except RuntimeError as error:
        if archive.exists():
            raise _damaged(archive, md5) from error
        raise
    if len(list(folder.glob("*/*"))) < CHARACTERS[name]:  # unpacking was interrupted, or the folder was deleted
        extract_archive(str(archive), str(archive.parent))
    return folder


def _damaged(archive: Path, md5: str) -> RuntimeError:
    return RuntimeError(f"{archive} is cut or altered (its MD5 checksum is not {md5}): delete it and call again")
