"""Turns the real data beside the checkout into array stores, once.

The tests do this by themselves. By hand: ``python tests/support/real_data.py``.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiercl.datasets import HierarchicalDataset

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
Parts = dict[str, Callable[[], "HierarchicalDataset"]]


def prepare(say: Callable[[str], None] = print) -> None:
    """Writes the stores that `hiercl.load` reads, for every set that has data and no store yet, or an outdated one."""
    from hiercl.datasets import data_root, write_store
    from hiercl.datasets.store import is_store

    for name, parts in SETS.items():
        folder = data_root() / name
        outdated = [part for part in ("train", "test") if is_outdated(name, folder / part)]
        missing = [part for part in ("train", "test") if not is_store(folder / part)] + outdated
        if not missing or not (SHARED / name).is_dir():
            continue
        say(f"real data: turning {SHARED / name} into the array stores {folder}/{{{','.join(missing)}}} (once)")
        make = parts(_reader())
        for part in missing:
            try:
                write_store(make[part](), folder / part, overwrite=part in outdated)
            except FileExistsError:
                if not is_store(folder / part):  # otherwise another test run has written the same store
                    raise


def is_outdated(name: str, store: Path) -> bool:
    """Whether an earlier version of this file wrote a store from other data. Stores of the user are not touched."""
    try:
        return json.loads((store / "store.json").read_text(encoding="utf-8"))["note"] == OUTDATED[name]
    except (KeyError, OSError, ValueError):
        return False


def cifar100(reader: ModuleType) -> Parts:
    """All training pictures, half of the test pictures."""
    import numpy as np

    from hiercl.datasets import HierarchicalDataset
    from hiercl.datasets.cifar100 import hierarchy

    def part(name: str, note: str) -> HierarchicalDataset:
        images, fine, coarse = reader.cifar100(name)
        labels = np.stack([coarse, fine], axis=1)
        return HierarchicalDataset.from_arrays(images, labels, hierarchy(), "cifar100", note)

    order = "order of the pictures is not the official one"
    return {
        "train": lambda: part("train", order),
        "test": lambda: part("test", f"partial: 50 of the 100 test pictures of each class; {order}"),
    }


def omniglot(reader: ModuleType) -> Parts:
    """Eight alphabets, with the names that lie beside the drawings."""
    import numpy as np
    from PIL import Image

    from hiercl.datasets import HierarchicalDataset
    from hiercl.datasets.omniglot import LEVELS, split
    from hiercl.datasets.pictures.files import fit
    from hiercl.hierarchy.hierarchy import Hierarchy

    drawings, _, character = reader.omniglot()
    with np.load(next((SHARED / "omniglot").glob("*.npz"))) as file:
        names = [str(name) for name in file["character_names"]]  # such as Greek/character01
    tree, labels = Hierarchy.from_paths([f"{names[i]}/drawing.png" for i in character], LEVELS)
    white = [Image.fromarray((1 - drawing) * np.uint8(255)).convert("RGB") for drawing in drawings]
    images = np.stack([fit(image, 32) for image in white])
    whole = HierarchicalDataset(images, labels, tree, "omniglot", "partial: 8 of the 50 alphabets")
    return {name: lambda data=data: data for name, data in split(whole).items()}


def modelnet10(reader: ModuleType) -> Parts:
    """All training shapes, half of the test shapes; 1,024 points each."""
    from hiercl.datasets.modelnet.reading import note

    about = note("modelnet10", train=3991, test=454, classes=10)

    def part(name: str) -> "HierarchicalDataset":
        return _shapes("modelnet10", about, *reader.modelnet10(name))

    return {"train": lambda: part("train"), "test": lambda: part("test")}


def modelnet40(reader: ModuleType) -> Parts:
    """All training shapes of the forty classes, 2,014 of the test shapes; 1,024 points each, all from volumes."""
    from hiercl.datasets.modelnet.reading import note
    from hiercl.datasets.splits import joined

    about = joined(note("modelnet40", train=9843, test=2014, classes=40), "from volumes")

    def part(name: str) -> "HierarchicalDataset":
        points, labels, ids, split = reader.modelnet40_whole()
        return _shapes("modelnet40", about, *(array[split == name] for array in (points, labels, ids)))

    return {"train": lambda: part("train"), "test": lambda: part("test")}


def _shapes(name: str, note: str, points, labels, ids) -> "HierarchicalDataset":
    """Shapes with alphabetical class ids. Their points were rounded to half precision, so they are scaled again."""
    from hiercl.datasets import HierarchicalDataset
    from hiercl.datasets.clouds import unit_sphere
    from hiercl.datasets.modelnet.reading import hierarchy

    return HierarchicalDataset.from_arrays(unit_sphere(points), labels, hierarchy(name), name, note, ids)


def _reader() -> ModuleType:
    """Imports ``read.py``, which lies with the data."""
    spec = importlib.util.spec_from_file_location("shared_data_read", SHARED / "read.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETS = {"cifar100": cifar100, "omniglot": omniglot, "modelnet10": modelnet10, "modelnet40": modelnet40}
# Notes of stores from data that are no longer used: the shapes of ModelNet40 that were at hand as meshes.
OUTDATED = {"modelnet40": "partial: 5,467 of 12,311 shapes in 39 classes, very unequal"}

if __name__ == "__main__":
    prepare()
