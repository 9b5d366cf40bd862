"""CIFAR-100 (Krizhevsky, 2009): 32x32 pictures of 100 classes in 20 superclasses.

The official archive is downloaded and verified, and written as array stores, once. Later calls read the stores.
"""

import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits, read_splits
from hiercl.datasets.download import WITHOUT_NETWORK, Mirror, fetch
from hiercl.datasets.store import is_store, write_missing_store
from hiercl.hierarchy import Hierarchy

__all__ = ["hierarchy", "load"]

ARCHIVE = Mirror("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")


def hierarchy() -> Hierarchy:
    """Returns the hierarchy of 20 superclasses and 100 classes, with their official ids.

    Example:
        >>> hierarchy().path(0)
        ('fruit_and_vegetables', 'apple')
    """
    data = json.loads(Path(__file__).with_name("cifar100.json").read_text(encoding="utf-8"))
    superclass_of = {name: i for i, names in enumerate(data["superclasses"].values()) for name in names}
    ancestors = np.array([[superclass_of[name], i] for i, name in enumerate(data["classes"])])
    return Hierarchy.from_ancestors(ancestors, [list(data["superclasses"]), data["classes"]], data["level_names"])


def load(root: str | Path) -> Splits:
    """Returns the training and the test set; the first call downloads 161 MiB and writes array stores.

    Args:
        root: folder of all data sets; the stores are in its folder ``cifar100``.

    Returns:
        The training set and the test set.

    Raises:
        ConnectionError: the archive cannot be downloaded.
        RuntimeError: the downloaded archive is cut or altered; the message names the file and says what to do.

    Example:
        >>> train, test = load("data")  # doctest: +SKIP
    """
    folder = Path(root) / "cifar100"
    if not all(is_store(folder / split) for split in SPLITS):
        archive = fetch([ARCHIVE], folder / "download", advice=WITHOUT_NETWORK)
        with tarfile.open(archive) as files:
            for split in SPLITS:
                # The checksum of the archive was verified: unpickling an unknown file could run foreign code.
                file: Any = files.extractfile(f"cifar-100-python/{split}")
                content = pickle.load(file, encoding="latin1")
                write_missing_store(_dataset(content, f"{split} in {archive}"), folder / split)
    return read_splits(folder)


def _dataset(content: dict, file: str) -> HierarchicalDataset:
    """The data set of one official file. A row of its data is 32x32 red, then green, then blue values."""
    images = np.ascontiguousarray(content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    columns = np.stack([content["coarse_labels"], content["fine_labels"]], axis=1)
    try:
        return HierarchicalDataset.from_arrays(images, columns, hierarchy(), "cifar100")
    except ValueError as error:
        raise RuntimeError(f"{file} does not fit the hierarchy that hiercl has for CIFAR-100: {error}") from error
