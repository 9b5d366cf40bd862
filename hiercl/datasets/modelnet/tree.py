"""The classes of ModelNet, their superclasses, which are ours, and the official numbers of shapes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.errors import unknown
from hiercl.runtime.given import given_path

__all__ = ["OFFICIAL", "hierarchy", "note", "with_tree"]

OFFICIAL = {"modelnet40": (9843, 2468), "modelnet10": (3991, 908)}  # shapes for training and test


def hierarchy(name: str = "modelnet40", file: str | Path | None = None) -> Hierarchy:
    """Returns the superclasses and the 40 or 10 classes; the classes have their official, alphabetical ids.

    ModelNet has no superclasses. The eleven superclasses are ours; they group classes by use, and their sizes differ on
    purpose. ModelNet10 has the five that hold its classes. The file ``modelnet.json`` lists them.

    Args:
        name: "modelnet40" or "modelnet10".
        file: JSON file with other superclasses, ``{"furniture": ["bed", "chair", ...], ...}``, nested to any depth. It
            must hold every class of the data set once.

    Returns:
        The hierarchy.

    Raises:
        ValueError: the name is unknown, or the file is no such JSON or has other classes.

    Example:
        >>> hierarchy("modelnet10")
        Hierarchy(5 superclass > 10 class)
        >>> hierarchy("modelnet10").path(8)
        ('tables', 'table')
    """
    if name not in OFFICIAL:
        raise unknown("ModelNet", name, OFFICIAL)
    ours = json.loads(Path(__file__).with_name("modelnet.json").read_text(encoding="utf-8"))
    every = [leaf for leaves in ours["superclasses"].values() for leaf in leaves]
    wanted = sorted(every if name == "modelnet40" else ours["modelnet10"])
    tree = _tree(ours) if file is None else _own_tree(given_path(file, "hierarchy_file").expanduser(), every, wanted)
    # The leaves in alphabetical order, whatever the order of the superclasses.
    order = np.argsort(tree.leaf_names)
    ancestors = tree.ancestors[order].copy()
    ancestors[:, -1] = np.arange(len(order))
    tree = Hierarchy.from_ancestors(ancestors, [*tree.names[:-1], sorted(tree.leaf_names)], tree.level_names)
    return tree.subset([tree.leaf_names.index(leaf) for leaf in wanted])[0]


def note(name: str, train: int, test: int, classes: int) -> str:
    """Describes how the numbers of shapes differ from the official ones.

    Args:
        name: "modelnet40" or "modelnet10".
        train: number of training shapes.
        test: number of test shapes.
        classes: number of classes with a shape.

    Returns:
        The note; "" if the numbers are the official ones.

    Example:
        >>> note("modelnet10", train=3991, test=454, classes=10)
        'partial: 454 of 908 test shapes'
    """
    all_train, all_test = OFFICIAL[name]
    if (train, test) == (all_train, all_test):
        return ""
    if train > all_train or test > all_test:
        return f"{train:,} and {test:,} shapes instead of the official {all_train:,} and {all_test:,}"
    if train == all_train:
        return f"partial: {test:,} of {all_test:,} test shapes"
    if test == all_test:
        return f"partial: {train:,} of {all_train:,} training shapes"
    some = f" in {classes} classes" if classes < hierarchy(name).n_leaves else ""
    return f"partial: {train + test:,} of {all_train + all_test:,} shapes{some}"


def with_tree(data: HierarchicalDataset, tree: Hierarchy) -> HierarchicalDataset:
    """Returns a data set with the superclasses of another hierarchy over the same classes; the items are not copied."""
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
    """Reads superclasses from a file, and checks that their classes are those of the data set."""
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
        "are in it more than once": sorted({leaf for leaf in leaves if leaves.count(leaf) > 1}),
        "are missing": sorted(set(wanted) - set(leaves)),
    }
    for what, classes in wrong.items():
        if classes:
            raise ValueError(f"{file}: these classes {what}: {', '.join(classes)}")
    return tree
