"""Omniglot (Lake et al., 2015): 1,623 characters of 50 alphabets, each drawn by 20 people.

The official archives are downloaded, verified and unpacked, and written as array stores, once. Later calls read the
stores.
"""

import zipfile
from pathlib import Path

import numpy as np

from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits, read_splits
from hiercl.datasets.download import WITHOUT_NETWORK, Mirror, fetch
from hiercl.datasets.pictures.files import PictureFiles, UnreadablePictures
from hiercl.datasets.store import is_store, write_missing_store
from hiercl.hierarchy import Hierarchy

__all__ = ["LEVELS", "load", "read_drawings", "split"]

LEVELS = ("alphabet", "character")
DRAWINGS = 20  # of every character, each by another person
URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
ARCHIVES = {  # checksum (MD5) and number of characters of each
    "images_background": ("68d2efa1b9178cc56df9314c21c6e718", 964),
    "images_evaluation": ("6b91aef0f799c5bb55b94e3f2daec811", 659),
}


def load(root: str | Path, size: int = 32) -> Splits:
    """Returns the training and the test set; the first call downloads 15 MiB and writes array stores.

    The items are uint8 ``[16230, size, size, 3]``, dark ink on white as in the original, resized with antialias from
    105 pixels. The labels have two levels: 50 alphabets and 1,623 characters. Characters of different alphabets share
    names ("Greek/character01").

    The split is ours: of the 20 drawings of a character, the first ten are for training and the others for the test.
    Both parts have the same hierarchy, as nearest neighbours, a linear probe and clusters of frozen features need it.
    Few-shot learning uses another split, by alphabets.

    Args:
        root: folder of all data sets; the stores are in its folder ``omniglot``, or ``omniglot-<size>``.
        size: side of the pictures in pixels, at least 1.

    Returns:
        The training set and the test set.

    Raises:
        ConnectionError: an archive cannot be downloaded.
        RuntimeError: an archive or a drawing is cut, altered or missing; the message names the file and says what to
            do.

    Example:
        >>> train, test = load("data")  # doctest: +SKIP
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size={size!r}: give the side of the pictures in pixels, an integer of at least 1")
    root = Path(root)
    folder = root / ("omniglot" if size == 32 else f"omniglot-{size}")
    if not all(is_store(folder / part) for part in SPLITS):
        unpacked = [_unpacked(root / "omniglot" / "download" / "omniglot-py", name) for name in ARCHIVES]
        try:
            for part, dataset in split(read_drawings(unpacked, size)).items():
                write_missing_store(dataset, folder / part)
        except UnreadablePictures as error:
            place = unpacked[0].parent
            raise RuntimeError(f"drawings are cut or altered, delete {place} and call again: {error}") from error
    return read_splits(folder)


def read_drawings(folders: list[Path], size: int) -> HierarchicalDataset:
    """Reads unpacked archives, ``folder/alphabet/character/drawing.png``, in the order of these names.

    Raises:
        RuntimeError: a character does not have 20 drawings.
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
    """Returns the first ten drawings of every character as "train", the others as "test".

    Example:
        >>> tree = Hierarchy.from_dict({"Greek": ["alpha"]})
        >>> drawings = HierarchicalDataset(np.zeros((20, 8, 8, 1), np.uint8), np.zeros(20, np.int64), tree)
        >>> {name: len(part) for name, part in split(drawings).items()}
        {'train': 10, 'test': 10}
    """
    order = np.argsort(drawings.labels, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) % DRAWINGS
    return {"train": drawings.take(rank < DRAWINGS // 2), "test": drawings.take(rank >= DRAWINGS // 2)}


def _unpacked(folder: Path, name: str) -> Path:
    """Downloads and unpacks an archive, as far as that is not done yet."""
    md5, characters = ARCHIVES[name]
    archive = fetch([Mirror(f"{URL}/{name}.zip", md5)], folder, advice=WITHOUT_NETWORK)
    if len(list((folder / name).glob("*/*"))) < characters:  # not unpacked, or not all of it
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
    return folder / name
