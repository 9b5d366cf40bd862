"""``shapes``: generated solids of 30 classes in three levels, as 32x32 colour pictures or as point clouds.

Nothing is downloaded. The same options give the same data, bit for bit, on one machine.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits, read_store
from hiercl.datasets.shapes.classes import CLASSES, LEVELS, class_name, leaves
from hiercl.datasets.shapes.render import picture, point_cloud
from hiercl.datasets.shapes.solids import Solid, rotation
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.progress import progress_bar

__all__ = ["hierarchy", "load", "solid"]

VERSION = 1  # of the solids and pictures: raise it with every change that changes the data, or old stores stay in use
ITEMS = ("images", "points")


def hierarchy() -> Hierarchy:
    """Returns the hierarchy of 5 domains, 12 groups and 30 classes.

    Example:
        >>> hierarchy().path(0)
        ('furniture', 'seating', 'chair')
    """
    nested = {
        domain: {group: [class_name(make) for make in makers] for group, makers in groups.items()}
        for domain, groups in CLASSES.items()
    }
    return Hierarchy.from_dict(nested, LEVELS)


def load(
    root: str | Path | None = None,
    per_class: int = 200,
    test_per_class: int = 50,
    seed: int = 0,
    items: str = "images",
    points: int = 1024,
) -> Splits:
    """Returns the training and the test set; the first call generates them, later calls read array stores.

    Items come class by class. Item i of the images and item i of the points show the same solid. A smaller
    ``per_class`` gives the first solids of each class of a larger one.

    Args:
        root: folder for the array stores. With None, or where it cannot be written, nothing is kept.
        per_class: training items of each class, at least 1.
        test_per_class: test items of each class, at least 1.
        seed: seed of all random numbers, at least 0.
        items: "images", uint8 ``[n, 32, 32, 3]``, or "points", float32 ``[n, points, 3]``: random points of the
            surface with z up, centred on their mean, the farthest at distance 1.
        points: number of points of each cloud, at least 2.

    Returns:
        The training set and the test set.

    Raises:
        ValueError: an option has a wrong value; the message says what is allowed.

    Example:
        >>> train, test = load(None, per_class=2, test_per_class=1)
        >>> train
        HierarchicalDataset('shapes': 60 images 32x32x3, 5 domain > 12 group > 30 class)
    """
    if items not in ITEMS:
        raise ValueError(f"items must be {' or '.join(map(repr, ITEMS))}, got {items!r}")
    for name, value, least in (
        ("per_class", per_class, 1),
        ("test_per_class", test_per_class, 1),
        ("points", points, 2),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    counts = {"train": per_class, "test": test_per_class}
    options = {"items": items, "seed": seed, **counts, **({"points": points} if items == "points" else {})}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:10]
    folder = None if root is None else Path(root) / f"shapes-{VERSION}-{digest}"
    train, test = (_stored(folder and folder / part, part, counts[part], seed, items, points) for part in SPLITS)
    return train, test


def solid(leaf: int, index: int, split: str = "train", seed: int = 0) -> Solid:
    """Builds the solid that an item shows, in the unit sphere and turned at random about the z axis.

    Args:
        leaf: class of the item, 0 to 29.
        index: number of the item within its class, from 0.
        split: "train" or "test".
        seed: seed of the data set.

    Returns:
        The solid.

    Raises:
        ValueError: there is no such split, leaf or index.

    Example:
        >>> chair = solid(leaf=0, index=3)
        >>> float(np.linalg.norm(chair.vertices, axis=1).max().round(6))
        1.0
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(map(repr, SPLITS))}, got {split!r}")
    makers = list(leaves().values())
    if not 0 <= leaf < len(makers):
        raise ValueError(f"there is no leaf {leaf}; the leaves are 0 to {len(makers) - 1}")
    if index < 0:
        raise ValueError(f"the index must be at least 0, got {index}")
    rng = _generator("solid", leaf, index, split, seed)
    made = Solid.join(makers[leaf](rng))
    return made.turned(rotation("z", rng.uniform(0, 2 * np.pi))).normalised()


def _generator(purpose: str, leaf: int, index: int, split: str, seed: int) -> np.random.Generator:
    """A random generator for one purpose and one item: no two of them share their numbers."""
    return np.random.default_rng([("solid", *ITEMS).index(purpose), SPLITS.index(split), leaf, index, seed])


def _generate(split: str, per_class: int, seed: int, items: str, points: int) -> HierarchicalDataset:
    tree = hierarchy()
    labels = np.repeat(np.arange(tree.n_leaves), per_class)
    shape, dtype = ((32, 32, 3), np.uint8) if items == "images" else ((points, 3), np.float32)
    array = np.empty((len(labels), *shape), dtype)
    for row, leaf in enumerate(progress_bar(labels.tolist(), desc=f"making shapes ({split})", leave=False)):
        index = row % per_class
        rng = _generator(items, leaf, index, split, seed)
        made = solid(leaf, index, split, seed)
        array[row] = picture(made, rng) if items == "images" else point_cloud(made, points, rng)
    return HierarchicalDataset.from_arrays(array, labels, tree, name="shapes")


def _stored(path: Path | None, split: str, per_class: int, seed: int, items: str, points: int) -> HierarchicalDataset:
    """Reads the store at a path; makes it first if there is none."""
    if path is not None and is_store(path):
        return read_store(path)
    dataset = _generate(split, per_class, seed, items, points)
    if path is None:
        return dataset
    try:
        write_store(dataset, path)
    except OSError:  # the disk is read-only or full, or another process was faster
        return dataset
    return read_store(path)
