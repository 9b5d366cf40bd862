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

__all__ = ["OFFICIAL", "SUPERCLASSES", "hierarchy", "note", "with_tree"]

OFFICIAL = {"modelnet40": (9843, 2468), "modelnet10": (3991, 908)}  # shapes for training and test
SUPERCLASSES = {kind: Path(__file__).with_name(f"by_{kind}.json") for kind in ("use", "shape")}
"""The files of our superclasses."""
TEN = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet")


def hierarchy(name: str = "modelnet40", superclasses: str | Path = "use") -> Hierarchy:
    """Returns the superclasses and the 40 or 10 classes; the classes have their official, alphabetical ids.

    ModelNet has no superclasses. All of those here are ours, eleven of either kind. ModelNet10 has those that hold its
    classes.

    Args:
        name: "modelnet40" or "modelnet10".
        superclasses: "use" groups classes by what they are for; the sizes of the groups differ on purpose. "shape"
            groups them by form, as encoders do that learned without labels. Or a JSON file of your own, ``{"furniture":
            ["bed", "chair", ...], ...}``, nested to any depth. It must hold every class of the data set once.

    Returns:
        The hierarchy.

    Raises:
        ValueError: the name is unknown, or the file is no such JSON or has other classes.

    Example:
        >>> hierarchy("modelnet10")
        Hierarchy(5 superclass > 10 class)
        >>> hierarchy("modelnet10").path(8)
        ('tables', 'table')
        >>> hierarchy("modelnet40", "shape")
        Hierarchy(11 superclass > 40 class)
    """
    if name not in OFFICIAL:
        raise unknown("ModelNet", name, OFFICIAL)
    every = [leaf for leaves in _read(SUPERCLASSES["use"]).values() for leaf in leaves]
    wanted = sorted(every if name == "modelnet40" else TEN)
    if isinstance(superclasses, str) and superclasses in SUPERCLASSES:
        tree = _tree({"level_names": ("superclass", "class"), "superclasses": _read(SUPERCLASSES[superclasses])})
    else:
        tree = _own_tree(given_path(superclasses, "superclasses").expanduser(), every, wanted)
    # The leaves in alphabetical order, whatever the order of the superclasses.
    order = np.argsort(tree.leaf_names)
    ancestors = tree.ancestors[order].copy()
    ancestors[:, -1] = np.arange(len(order))
    tree = Hierarchy.from_ancestors(ancestors, [*tree.names[:-1], sorted(tree.leaf_names)], tree.level_names)
    return tree.subset([tree.leaf_names.index(leaf) for leaf in wanted])[0]


def _read(file: Path) -> dict[str, list[str]]:
    return json.loads(file.read_text(encoding="utf-8"))["superclasses"]


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
        kinds = " or ".join(map(repr, SUPERCLASSES))
        raise ValueError(f"superclasses={str(file)!r}: give {kinds}, or a JSON file; there is no such file.")
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
