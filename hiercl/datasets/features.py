"""Vectors, their labels and what they were made of, in the form that a data set keeps."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from hiercl.datasets.limits import check_room
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.given import given_array
from hiercl.runtime.types import Float, Int

BLOCK = 4096  # vectors that are looked at together: those on disk may be larger than the memory


class Pictured(Protocol):
    """A source of pictures that are made or fetched when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray | None:
        """Returns the picture of an item, uint8 ``[h, w, c]``; None where there is none now."""
        ...

    def take(self, index: np.ndarray) -> "Pictured":
        """Returns the source of some of the items, in this order."""
        ...


def take_source(source: Any, index: Int[np.ndarray, "k"]) -> Any:
    """Returns the source of some of the items.

    Example:
        >>> take_source(("a cat", "a dog"), np.array([1]))
        ('a dog',)
    """
    if source is None:
        return None
    return tuple(source[i] for i in index) if isinstance(source, tuple) else source.take(index)


def check_source(source: Any, n: int) -> Any:
    """Returns a source, with a tuple for a list of texts.

    Raises:
        ValueError: it is no source, has another number of items, or holds something that is no text.

    Example:
        >>> check_source(["a cat", "a dog"], 2)
        ('a cat', 'a dog')
    """
    if source is None:
        return None
    if isinstance(source, np.ndarray) and source.dtype.kind in "UO":
        source = source.tolist()
    source = tuple(source) if isinstance(source, list) else source
    if isinstance(source, str) or not hasattr(source, "__len__"):
        raise ValueError(
            f"source is a {type(source).__name__}: give a HierarchicalDataset of the pictures or clouds that the "
            "vectors were made of, or a list with the text of each item."
        )
    if isinstance(source, tuple):
        for row, text in enumerate(source):
            if not isinstance(text, str):
                raise ValueError(f"source {row} is a {type(text).__name__}: a tuple or list holds one text per item.")
    elif isinstance(source, np.ndarray) or not hasattr(source, "take"):
        raise ValueError(
            f"source is a {type(source).__name__}: for an array of pictures give "
            "HierarchicalDataset.from_arrays(pictures, labels, hierarchy)."
        )
    if len(source) != n:
        raise ValueError(f"{n} vectors need a source of {n} items, in the same order; got {len(source)}.")
    return source


def as_vectors(features: Any) -> Float[np.ndarray, "n views features"]:
    """Returns features as items: float32 ``[n, views, features]``. Those that are float32 already are not copied.

    Args:
        features: numbers ``[n, features]`` or ``[n, views, features]``: numpy, torch, a sparse matrix or lists.

    Raises:
        ValueError: another shape, no numbers, or a number that is not finite. The message names the first wrong item.

    Example:
        >>> as_vectors(np.ones((5, 3), dtype=np.float16)).shape
        (5, 1, 3)
    """
    array = to_numpy(features.toarray() if hasattr(features, "toarray") else features, "features")
    if array.dtype == object:
        array = _numbers(array)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"features must be numbers, got {array.dtype}: convert them with astype('float32').")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(
            f"features must be [n, features] or [n, views, features], not empty; got {list(array.shape)}. "
            "Flatten what is longer with X.reshape(len(X), -1)."
        )
    array = array[:, None] if array.ndim == 2 else array
    if array.dtype != np.float32:
        check_room(4 * array.size, f"the features {list(array.shape)}, in float32,", math.inf)
        with np.errstate(over="ignore"):  # the check below tells more
            array = array.astype(np.float32)
    for start in range(0, len(array), BLOCK):
        finite = np.isfinite(array[start : start + BLOCK]).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(
                f"item {start + int(np.argmin(finite))} has a feature that is not finite in float32: repair it, or "
                "leave the item out."
            )
    return array


def as_leaves(labels: Any, hierarchy: Hierarchy | None, n: int) -> tuple[Any, Hierarchy]:
    """Returns labels as a data set takes them, and their hierarchy.

    Args:
        labels: leaf ids ``[n]``, columns of ids ``[n, levels]``, names of leaves ``[n]``, columns of names
            ``[n, levels]``, or None for items without labels.
        hierarchy: the classes; by default those that occur, as :meth:`hiercl.Hierarchy.from_labels` makes them.
        n: number of items.

    Returns:
        Leaf ids or columns of ids, which are not checked yet; and the hierarchy.

    Raises:
        ValueError: a name that the hierarchy does not have, or numbers without a hierarchy that do not count from 0.

    Example:
        >>> leaves, tree = as_leaves(["cat", "car", "cat"], None, 3)
        >>> leaves.tolist(), tree.leaf_names
        ([1, 0, 1], ('car', 'cat'))
    """
    if labels is None:
        flat = Hierarchy.from_dict(["unlabelled"], ("all",)) if hierarchy is None else hierarchy
        return np.full(n, 0 if hierarchy is None else -1), flat
    labels = to_numpy(labels, "labels")
    if labels.ndim not in (1, 2):
        raise ValueError(f"labels must be [n] or [n, levels], got {list(labels.shape)}.")
    if hierarchy is not None:
        check_hierarchy(hierarchy)
    if labels.dtype == object and not any(isinstance(label, str) for label in labels.flat):
        labels = _numbers(labels, missing=-1)
    whole = labels.dtype.kind == "f" and np.isfinite(labels).all() and (np.abs(labels) < 2**53).all()
    if whole and (np.mod(labels, 1) == 0).all():  # 2.0, as tables write whole numbers
        labels = labels.astype(np.int64)
    columns = labels if labels.ndim == 2 else labels[:, None]
    named = columns.dtype.kind in "UO" and columns.size > 0 and isinstance(columns.flat[0], str)
    if len(columns) != n:
        raise ValueError(f"{n} items need {n} labels, got {len(columns)}.")
    if hierarchy is None:
        hierarchy, leaves = Hierarchy.from_labels(columns)
        for level, column in enumerate(columns.T):
            if not named and (column != hierarchy.labels_at(leaves, level)).any():
                raise ValueError(
                    f"label column {level} holds other numbers than 0 to {hierarchy.sizes[level] - 1}: without a "
                    "hierarchy, give names, such as labels.astype(str), or numbers that count from 0."
                )
        return leaves, hierarchy
    return (_leaves_named(columns, hierarchy) if named else labels), hierarchy


def _leaves_named(columns: np.ndarray, hierarchy: Hierarchy) -> Int[np.ndarray, "n"]:
    """Finds the leaf of every row of names: names of leaves alone, or paths from the top."""
    paths = [hierarchy.path(leaf)[-columns.shape[1] :] for leaf in range(hierarchy.n_leaves)]
    if columns.shape[1] not in (1, hierarchy.levels):
        raise ValueError(f"the labels have {columns.shape[1]} columns, but the hierarchy has {hierarchy.levels} levels")
    for leaf, path in enumerate(paths):
        if path in paths[:leaf]:
            raise ValueError(f"several leaves are named {path[-1]!r}: give a column of names for every level.")
    known = {path: leaf for leaf, path in enumerate(paths)} | {("",) * columns.shape[1]: -1}  # an empty name: no label
    leaves = [known.get(tuple(row), -2) for row in columns.tolist()]
    if -2 in leaves:
        row = leaves.index(-2)
        raise ValueError(f"item {row} is a {'/'.join(map(str, columns[row]))!r}, which the hierarchy does not have.")
    return np.array(leaves, dtype=np.int64)


def as_item_names(ids: Sequence | np.ndarray | None) -> np.ndarray | None:
    """Returns names of items as a unicode array, where they are strings or integers.

    Example:
        >>> as_item_names([1, 2]).tolist()
        ['1', '2']
    """
    if ids is None:
        return None
    ids = to_numpy(ids, "ids")
    return ids.astype(str) if ids.dtype.kind in "OSiu" else ids


def check_columns(names: Iterable[str], what: str) -> None:
    """Raises ValueError for a name that several columns have.

    Example:
        >>> check_columns(["path", "class"], "lab.csv")
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} has several columns {twice[0]!r}: rename one")


def check_hierarchy(hierarchy: Any) -> None:
    """Raises ValueError for what is no hierarchy.

    Example:
        >>> check_hierarchy(train.hierarchy)
    """
    if hierarchy is None:
        raise ValueError("a data set needs a hierarchy: make one with hiercl.Hierarchy.from_labels(...).")
    if not isinstance(hierarchy, Hierarchy):
        kind = type(hierarchy).__name__
        make = {"dict": "from_dict(...)", "list": "from_dict(...)", "ndarray": "from_ancestors(...)"}.get(kind, "...")
        raise ValueError(f"the hierarchy is a {kind}: make one of it, with hiercl.Hierarchy.{make}.")


def _numbers(array: np.ndarray, missing: int | None = None) -> np.ndarray:
    """Returns an array of objects that are all numbers, or missing, as an array of numbers; others as they are."""
    flat = [missing if value is None or type(value).__name__ == "NAType" else value for value in array.flat]
    if not all(isinstance(value, int | float | np.number) for value in flat):
        return array
    numbers = np.array([missing if missing is not None and value != value else value for value in flat])
    return numbers.reshape(array.shape) if numbers.dtype.kind in "fiu" else array


def to_numpy(array: Any, what: str = "values") -> np.ndarray:
    """Returns a numpy array of a tensor, of lists or of an array; a memory-mapped array stays one.

    Raises:
        ValueError: no array can be made of it; the message names it by `what`.

    Example:
        >>> to_numpy(torch.ones(2, requires_grad=True))
        array([1., 1.], dtype=float32)
    """
    if isinstance(array, list | tuple) and any(isinstance(value, str) for value in array):
        return np.array(array, dtype=object)  # NumPy would turn numbers beside names into names
    return given_array(array, what)
