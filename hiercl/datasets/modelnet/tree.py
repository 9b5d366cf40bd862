"""The classes of ModelNet, their superclasses, which are ours, and how many shapes there should be."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset
from hiercl.hierarchy import Hierarchy

__all__ = ["OFFICIAL", "hierarchy", "note", "with_tree"]

OFFICIAL = {"modelnet40": (9843, 2468), "modelnet10": (3991, 908)}  # shapes for training and test


def hierarchy(name: str = "modelnet40", file: str | Path | None = None) -> Hierarchy:
    """Give the superclasses and the 40 or 10 classes; the ids of the classes are the official, alphabetical ones.

    ModelNet has no superclasses. These eleven are ours, grouped by function and unequal on purpose; ModelNet10 has the
    five of them that hold its classes. `modelnet.json` beside this module lists them.

    ``file`` is a JSON file of superclasses of your own, ``{"furniture": ["bed", "chair", ...], ...}``, nested to any
    depth, with every class of the data set in it once.

    Raises ValueError for another name, and for a file that is no such JSON or whose classes are not those.

    Example::

        >>> hierarchy("modelnet10")
        Hierarchy(5 superclass > 10 class)
        >>> hierarchy("modelnet10").path(8)
        ('tables', 'table')
    """
    if name not in OFFICIAL:
        raise ValueError(f"no ModelNet is named {name!r}; the names are {' and '.join(OFFICIAL)}")
    ours = json.loads(Path(__file__).with_name("modelnet.json").read_text(encoding="utf-8"))
    every = [leaf for leaves in ours["superclasses"].values() for leaf in leaves]
    wanted = sorted(every if name == "modelnet40" else ours["modelnet10"])
    tree = _tree(ours) if file is None else _own_tree(Path(file).expanduser(), every, wanted)
    # Leaves in alphabetical order, whatever the order of the superclasses
    order = np.argsort(tree.leaf_names)
    ancestors = tree.ancestors[order].copy()
    ancestors[:, -1] = np.arange(len(order))
    tree = Hierarchy.from_ancestors(ancestors, [*tree.names[:-1], sorted(tree.leaf_names)], tree.level_names)
    return tree.subset([tree.leaf_names.index(leaf) for leaf in wanted])[0]


def note(name: str, train: int, test: int, classes: int) -> str:
    """Say how far the numbers of shapes, and of classes with a shape, are from the official ones; "" if they are not.

    Example::

        >>> note("modelnet10", train=3991, test=454, classes=10)
        'partial: 454 of 908 test shapes'
    """
    whole_train, whole_test = OFFICIAL[name]
    if (train, test) == (whole_train, whole_test):
        return ""
    if train > whole_train or test > whole_test:
        return f"{train:,} and {test:,} shapes instead of the official {whole_train:,} and {whole_test:,}"
    if train == whole_train:
        return f"partial: {test:,} of {whole_test:,} test shapes"
    if test == whole_test:
        return f"partial: {train:,} of {whole_train:,} training shapes"
    of = f"{train + test:,} of {whole_train + whole_test:,} shapes"
    return f"partial: {of}" + (f" in {classes} classes" if classes < hierarchy(name).n_leaves else "")


def with_tree(data: HierarchicalDataset, tree: Hierarchy) -> HierarchicalDataset:
    """Give a data set the superclasses of another hierarchy over the same classes; the items are not copied."""
    if data.hierarchy == tree:
        return data
    new = np.array([tree.leaf_names.index(leaf) for leaf in data.hierarchy.leaf_names])
    return replace(data, labels=new[data.labels], hierarchy=tree)


def _tree(content: Mapping) -> Hierarchy:
    tree = Hierarchy.from_dict(content.get("superclasses", content), content.get("level_names"))
    if tree.levels == 2 and "level_names" not in content:
        tree = replace(tree, level_names=("superclass", "class"))
    return tree


def _own_tree(file: Path, every: list[str], wanted: list[str]) -> Hierarchy:
    """Read superclasses from a file, and check that their classes are those of the data set."""
    if not file.is_file():
        raise ValueError(f"there is no hierarchy file {file}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it must be a mapping of superclasses to lists of classes")
        tree = _tree(content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is no hierarchy of superclasses: {error}") from error
    leaves = tree.leaf_names
    wrong = {
        "are no classes of ModelNet": sorted(set(leaves) - set(every)),
        "stand in it more than once": sorted({leaf for leaf in leaves if leaves.count(leaf) > 1}),
        "are missing": sorted(set(wanted) - set(leaves)),
    }
    for what, classes in wrong.items():
        if classes:
            raise ValueError(f"{file}: of its classes, these {what}: {', '.join(classes)}")
    return tree
