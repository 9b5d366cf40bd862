"""CIFAR-100 as a real backbone sees it: features that come with the package.

``benchmarks/features.py`` makes the file; its card, ``cifar100_features.json``, says how, and what the compression
costs. The backbone was trained on ImageNet *with labels*, and ImageNet has many of CIFAR-100's kinds: what is learned
from these features is not learned without labels.
"""

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.datasets import cifar100
from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits
from hiercl.datasets.items import item_hashes
from hiercl.runtime.types import Int, UInt64

__all__ = ["card", "load"]

FILE = Path(__file__).with_name("cifar100_features.npz")
NOTE = (
    "features of EfficientNet-Lite0, which was trained on ImageNet with labels, and ImageNet has many of these kinds; "
    "100 training and 50 test pictures of each class"
)


def card() -> dict[str, Any]:
    """Returns how the features were made: backbone, weights, licence, size of the input, views, compression.

    Example:
        >>> card()["backbone"]
        'EfficientNet-Lite0, ImageNet'
    """
    return json.loads(FILE.with_suffix(".json").read_text(encoding="utf-8"))


def load(root: str | Path) -> Splits:
    """Returns 100 training pictures and 50 test pictures of each class, as vectors.

    A training item has the features of the picture itself and of random views of it. The pictures are shown where
    CIFAR-100 is at hand below ``root``, or can be downloaded when the first one is asked for; else plots name the
    classes.

    Args:
        root: folder of all data sets.

    Returns:
        The training set and the test set.

    Example:
        >>> train, test = load("data")
        >>> train.modality, len(train), len(test)
        ('vectors', 10000, 5000)
    """
    with np.load(FILE) as file:
        step = file["step"]
        parts = {name: {key: file[f"{name}_{key}"] for key in ("codes", "labels", "hashes")} for name in SPLITS}
    return tuple(  # pyright: ignore[reportReturnType]
        HierarchicalDataset.from_features(
            np.ascontiguousarray(part["codes"].transpose(2, 1, 0), dtype=np.float32) * step,
            part["labels"].astype(np.int64),
            cifar100.hierarchy(),
            "cifar100-features",
            NOTE,
            source=Originals(part["hashes"], name, Path(root)),
        )
        for name, part in parts.items()
    )


class Originals:
    """The pictures that the features were made of. They are looked up in CIFAR-100 when the first one is asked for.

    Args:
        hashes: hashes of the pictures (:func:`hiercl.datasets.item_hashes`).
        split: "train" or "test".
        root: folder of all data sets.
    """

    def __init__(self, hashes: UInt64[np.ndarray, " items"], split: str, root: Path):
        self.hashes, self.split, self.root = hashes, split, root

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, index: int) -> np.ndarray | None:
        pictures, places = _pictures(self.root, self.split)
        place = places.get(int(self.hashes[index]))
        return None if place is None else pictures[place]

    def take(self, index: Int[np.ndarray, "k"]) -> "Originals":
        """Returns the pictures of some of the items."""
        return Originals(self.hashes[index], self.split, self.root)


@cache
def _pictures(root: Path, split: str) -> tuple[Any, dict[int, int]]:
    """The pictures of CIFAR-100, and the place of each by its hash; none where they cannot be had."""
    try:
        items = cifar100.load(root)[SPLITS.index(split)].items
    except (OSError, RuntimeError) as error:
        warnings.warn(f"Classes are named instead of pictures shown: CIFAR-100 is not at hand ({error})", stacklevel=4)
        return None, {}
    return items, {int(value): place for place, value in enumerate(item_hashes(items))}
