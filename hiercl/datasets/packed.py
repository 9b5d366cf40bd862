"""Features that come with the package: CIFAR-100 as a real backbone sees it, ModelNet40 as a point encoder does.

``benchmarks/features.py`` makes the files. The card beside each says how, and what the compression costs.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.datasets import cifar100
from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits
from hiercl.datasets.items import item_hashes
from hiercl.datasets.modelnet import reading as modelnet
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Int, UInt64

__all__ = ["NAMES", "card", "file_of", "hashes_of", "load"]


@dataclass(frozen=True)
class Kind:
    """What the features of one data set were made of."""

    hierarchy: Callable[[], Hierarchy]
    originals: Callable[[Path], Splits]
    named: Callable[[HierarchicalDataset], Any]
    """What of the items is hashed: pictures themselves, but the ids of shapes, whose points depend on the source."""


PICTURES = Kind(cifar100.hierarchy, cifar100.load, lambda data: data.items)
SHAPES = Kind(modelnet.hierarchy, modelnet.load, lambda data: np.char.encode(np.asarray(data.ids, dtype=str), "ascii"))
_KINDS = {"cifar100-features": PICTURES, "modelnet40-features": SHAPES, "modelnet40-descriptors": SHAPES}
NAMES = tuple(_KINDS)


def file_of(name: str) -> Path:
    """Returns the file of the features; the card has the same name and ends in .json.

    Example:
        >>> file_of("cifar100-features").name
        'cifar100-features.npz'
    """
    if name not in _KINDS:
        raise unknown("features", name, NAMES)
    return Path(__file__).with_name(f"{name}.npz")


def hashes_of(name: str, data: HierarchicalDataset) -> UInt64[np.ndarray, " items"]:
    """Returns the hashes by which items of the original data set are found.

    Args:
        name: of the features.
        data: the original items.

    Example:
        >>> hashes_of("cifar100-features", train.take([0, 1])).shape
        (2,)
    """
    return item_hashes(_KINDS[name].named(data))


def card(name: str) -> dict[str, Any]:
    """Returns how the features were made: encoder, weights, licence, views, compression, and how good they are.

    Example:
        >>> card("cifar100-features")["encoder"]
        'EfficientNet-Lite0, ImageNet'
    """
    return json.loads(file_of(name).with_suffix(".json").read_text(encoding="utf-8"))


def load(root: str | Path, name: str) -> Splits:
    """Returns some training and test items of each class, as vectors.

    A training item has the features of the item itself and of random views of it. The pictures or shapes are shown
    where the original data are at hand below ``root``, or can be downloaded when the first one is asked for; else plots
    name the classes.

    Args:
        root: folder of all data sets.
        name: one of ``NAMES``.

    Returns:
        The training set and the test set.

    Example:
        >>> train, test = load("data", "cifar100-features")
        >>> train.modality, len(train), len(test)
        ('vectors', 10000, 5000)
    """
    with np.load(file_of(name)) as file:
        step = file["step"]
        parts = {split: {key: file[f"{split}_{key}"] for key in ("codes", "labels", "hashes")} for split in SPLITS}
    return tuple(  # pyright: ignore[reportReturnType]
        HierarchicalDataset.from_features(
            np.ascontiguousarray(part["codes"].transpose(2, 1, 0), dtype=np.float32) * step,
            part["labels"].astype(np.int64),
            _KINDS[name].hierarchy(),
            name,
            card(name)["note"],
            source=Originals(part["hashes"], name, split, Path(root)),
        )
        for split, part in parts.items()
    )


class Originals:
    """What the features were made of. It is looked up in the original data when the first item is asked for.

    Args:
        hashes: of the items (:func:`hashes_of`).
        name: of the features.
        split: "train" or "test".
        root: folder of all data sets.
    """

    def __init__(self, hashes: UInt64[np.ndarray, " items"], name: str, split: str, root: Path):
        self.hashes, self.name, self.split, self.root = hashes, name, split, root

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, index: int) -> np.ndarray | None:
        items, places = _items(self.root, self.name, self.split)
        place = places.get(int(self.hashes[index]))
        return None if place is None else items[place]

    def take(self, index: Int[np.ndarray, "k"]) -> "Originals":
        """Returns some of the items."""
        return Originals(self.hashes[index], self.name, self.split, self.root)


@cache
def _items(root: Path, name: str, split: str) -> tuple[Any, dict[int, int]]:
    """The items of the original data, and the place of each by its hash; none where they cannot be had."""
    try:
        data = _KINDS[name].originals(root)[SPLITS.index(split)]
    except (OSError, RuntimeError) as error:
        original = name.rsplit("-", 1)[0]
        warnings.warn(f"Classes are named instead of items shown: {original} is not at hand ({error})", stacklevel=4)
        return None, {}
    return data.items, {int(value): place for place, value in enumerate(hashes_of(name, data))}
