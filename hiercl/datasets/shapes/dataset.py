"""``shapes``: generated solids of 30 classes in three levels, as 32x32 colour pictures or as point clouds.

Nothing is downloaded: the same options give the same data, bit for bit, on one machine.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.shapes.classes import CLASSES, LEVELS, leaves
from hiercl.datasets.shapes.render import picture, point_cloud
from hiercl.datasets.shapes.solids import Solid, rotation
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy

__all__ = ["hierarchy", "load", "solid"]

VERSION = 1  # of the solids and pictures: raise it with every change that changes the data, or old caches stay in use
SPLITS = ("train", "test")
ITEMS = ("images", "points")


def hierarchy() -> Hierarchy:
    """Give the 5 domains, 12 groups and 30 classes.

    Example::

        >>> hierarchy().path(0)
        ('furniture', 'seating', 'chair')
    """
    nested = {domain: {group: list(names) for group, names in groups.items()} for domain, groups in CLASSES.items()}
    return Hierarchy.from_dict(nested, LEVELS)


def load(
    root: str | Path | None = None,
    per_class: int = 200,
    test_per_class: int = 50,
    seed: int = 0,
    items: str = "images",
    points: int = 1024,
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Give the training and test set, generated on the first call and then read from array stores below `root`.

    Shapes: images are uint8 ``[n, 32, 32, 3]``; points are float32 ``[n, points, 3]``, z up, centred, in the unit
    sphere, random on the surface. Items come class by class, ``per_class`` or ``test_per_class`` of each.

    Item i of the images and item i of the points show the same solid, and a smaller ``per_class`` gives the first
    solids of each class of a larger one. Without `root`, or where it cannot be written, nothing is kept.

    Raises ValueError, with what is allowed, for a wrong option.

    Example::

        >>> train, test = load(None, per_class=2, test_per_class=1)
        >>> train
        HierarchicalDataset('shapes': 60 images 32x32x3, 5 domain > 12 group > 30 class)
    """
    _check_options(per_class, test_per_class, seed, items, points)
    counts = {"train": per_class, "test": test_per_class}
    if root is None:
        return tuple(_generate(split, counts[split], seed, items, points) for split in SPLITS)
    options = {"items": items, "seed": seed, **counts, **({"points": points} if items == "points" else {})}
    folder = Path(root) / f"shapes-{VERSION}-{_short_hash(options)}"
    return tuple(_cached(folder / split, split, counts[split], seed, items, points) for split in SPLITS)


def solid(leaf: int, index: int, split: str = "train", seed: int = 0) -> Solid:
    """Build the solid behind an item: number ``index`` of class ``leaf``; in the unit sphere, turned at random.

    Raises ValueError for a split, a leaf or an index that does not exist.

    Example::

        >>> chair = solid(leaf=0, index=3)
        >>> float(np.linalg.norm(chair.vertices, axis=1).max().round(6))
        1.0
    """
    if split not in SPLITS:
        raise ValueError(f"no split is named {split!r}; the splits are {' and '.join(SPLITS)}")
    makers = list(leaves().values())
    if not 0 <= leaf < len(makers):
        raise ValueError(f"there is no leaf {leaf}; the leaves are 0 to {len(makers) - 1}")
    if index < 0:
        raise ValueError(f"the index must be at least 0, got {index}")
    rng = _generator("solid", leaf, index, split, seed)
    made = makers[leaf](rng)
    return made.turned(rotation("z", rng.uniform(0, 2 * np.pi))).normalised()


def _generator(purpose: str, leaf: int, index: int, split: str, seed: int) -> np.random.Generator:
    """A stream of random numbers of its own for each purpose and item, so that no two ever share their numbers."""
    return np.random.default_rng([("solid", *ITEMS).index(purpose), SPLITS.index(split), leaf, index, seed])


def _generate(split: str, per_class: int, seed: int, items: str, points: int) -> HierarchicalDataset:
    tree = hierarchy()
    labels = np.repeat(np.arange(tree.n_leaves), per_class)
    shape, dtype = ((32, 32, 3), np.uint8) if items == "images" else ((points, 3), np.float32)
    array = np.empty((len(labels), *shape), dtype)
    for row, leaf in enumerate(tqdm(labels.tolist(), desc=f"making shapes ({split})", leave=False)):
        index = row % per_class
        rng = _generator(items, leaf, index, split, seed)
        made = solid(leaf, index, split, seed)
        array[row] = picture(made, rng) if items == "images" else point_cloud(made, points, rng)
    return HierarchicalDataset.from_arrays(array, labels, tree, name="shapes")


def _cached(path: Path, split: str, per_class: int, seed: int, items: str, points: int) -> HierarchicalDataset:
    if is_store(path):
        return read_store(path)
    dataset = _generate(split, per_class, seed, items, points)
    try:
        write_store(dataset, path)
    except OSError:
        return dataset  # read-only or full: it costs seconds to make it again; or another process was quicker
    return read_store(path)


def _short_hash(options: dict) -> str:
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:10]


def _check_options(per_class: int, test_per_class: int, seed: int, items: str, points: int) -> None:
    if items not in ITEMS:
        raise ValueError(f"items must be {' or '.join(map(repr, ITEMS))}, got {items!r}")
    smallest = {"per_class": 1, "test_per_class": 1, "points": 2, "seed": 0}
    given = {"per_class": per_class, "test_per_class": test_per_class, "points": points, "seed": seed}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest[name]:
            raise ValueError(f"{name} must be an integer of at least {smallest[name]}, got {value!r}")
