"""Reads the forms in which a hierarchy is given, and checks them. Every error names the wrong node."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Names = Sequence[Sequence[str]]


MOST_ENTRIES = 2**25  # leaves times levels, of which a table is kept: 256 MiB

# ---- checks ----


def check_size(leaves: int, levels: int) -> None:
    """Checks that the table of ancestors fits into the memory."""
    if leaves * levels > MOST_ENTRIES:
        raise ValueError(
            f"{leaves:,} leaves at {levels:,} levels are more than a hierarchy can hold, {MOST_ENTRIES:,} entries of "
            "leaves times levels: leave out levels that do not branch"
        )


def as_names(names: Any, what: str) -> tuple[str, ...]:
    """Returns a list of names as a tuple of text.

    Raises:
        ValueError: it is no list, or something in it is no name.
    """
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise ValueError(f"{what} must be a list of names, got {names!r}")
    names = tuple(names)
    if not all(type(name) is str for name in names):
        for name in names:
            if not isinstance(name, str | int | np.integer) or isinstance(name, bool):
                raise ValueError(f"{what} hold {name!r}: a name is a text")
        names = tuple(map(str, names))
    if not all(map(str.strip, names)):
        wrong = next(name for name in names if not name.strip())
        raise ValueError(f"{what} hold {wrong!r}: a name needs at least one letter, digit or other sign")
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        wrong = next(name for name in names if name.encode("utf-8", "replace").decode() != name)
        raise ValueError(f"{what} hold {wrong!r}, which is no valid text: correct its encoding") from None
    return names


def names_of_levels(names: Any) -> tuple[tuple[str, ...], ...]:
    """Returns the names of the nodes of every level as tuples of text."""
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise ValueError(f"names must be a list of names for every level, got {names!r}")
    return tuple(as_names(own, f"the names of level {level}") for level, own in enumerate(names))


def as_level_names(level_names: Any) -> tuple[str, ...]:
    """Returns names of levels as a tuple of text; empty where none are given."""
    return () if level_names is None else as_names(level_names, "the names of the levels")


def check_levels(names: Names, ancestors: np.ndarray, level_names: Sequence[str]) -> None:
    """Checks that names, ancestors and level names agree, and that every node has a leaf."""
    leaves, levels = ancestors.shape
    if len(names) != levels:
        raise ValueError(f"names are for {len(names)} levels, but the ancestors have {levels}")
    if len(level_names) != levels or len(set(level_names)) != levels:
        raise ValueError(f"{levels} levels need as many different level names, got {tuple(level_names)}")
    if not np.array_equal(ancestors[:, -1], np.arange(leaves)):
        raise ValueError("the last column of the ancestors must be the leaf ids 0, 1, ..., leaves - 1")
    for level in range(levels):
        size, column = len(names[level]), ancestors[:, level]
        wrong = column[(column < 0) | (column >= size)]
        if len(wrong):
            raise ValueError(f"node {wrong[0]} of {level_names[level]!r} has no name: {size} names are given")
        used = np.zeros(size, dtype=bool)
        used[column] = True
        if not used.all():
            empty = names[level][int(np.argmin(used))]
            raise ValueError(f"{empty!r} ({level_names[level]}) has no leaves: remove it, or give it a leaf")


def check_one_parent(table: np.ndarray, names: Names, level_names: Sequence[str]) -> None:
    """Checks that in a table [rows, levels] of node ids every node has one parent."""
    for level in range(1, table.shape[1]):
        node, above = table[:, level], table[:, level - 1]
        parent = np.zeros(len(names[level]), dtype=np.int64)
        parent[node] = above
        wrong = np.flatnonzero(parent[node] != above)
        if len(wrong):
            row = int(wrong[0])
            child = names[level][int(node[row])]
            one, two = names[level - 1][int(above[row])], names[level - 1][int(parent[node[row]])]
            raise ValueError(
                f"{child!r} ({level_names[level]}) has two parents, {one!r} and {two!r}: a node has only one; if these "
                f"are two classes, give them different names, such as '{one}/{child}' and '{two}/{child}'"
            )


def check_siblings(paths: Sequence[tuple[str, ...]]) -> None:
    """Checks that no two nodes have the same path, that is, that siblings have different names."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in paths:
        first = seen.setdefault(one_spelling(path), path)
        if first is not path:
            place = f"under {'/'.join(path[:-1])!r}" if path[:-1] else "at the top"
            how = "" if first == path else ", in two ways that Unicode has to write it"
            raise ValueError(f"{path[-1]!r} occurs twice {place}{how}: siblings need different names, rename one")


def one_spelling(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names in the one spelling (NFC) that texts which look the same have.

    Example:
        >>> one_spelling(["cafe\\u0301"]) == one_spelling(["caf\\u00e9"])
        True
    """
    return tuple(unicodedata.normalize("NFC", name) for name in names)


# ---- forms ----


def leaf_paths(nested: Any) -> Iterator[tuple[str, ...]]:
    """Yields the path of every leaf of nested dicts and lists, of any depth."""
    path: list[str] = []
    around = {id(nested): None}  # the dicts and lists that the next name lies in
    waiting = [_children(nested, path)]
    leaves = 0
    while waiting:
        name, inner = next(waiting[-1], (None, None))
        if name is None:
            waiting.pop()
            around.popitem()
            path[-1:] = []
            continue
        path.append(name)
        if inner is None or (isinstance(inner, Mapping) and not inner):
            leaves += 1
            check_size(leaves, len(path))
            yield tuple(path)
            path.pop()
        else:
            if id(inner) in around:
                raise ValueError(f"{_place(path[:20])} holds itself: give it leaves")
            waiting.append(_children(inner, path))
            around[id(inner)] = None


def _children(inner: Any, path: list[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(inner, Mapping | list | tuple):
        raise ValueError(f"{_place(path)} must hold a dict or a list of names, got {inner!r}")
    if len(inner) == 0:
        raise ValueError(f"{_place(path)} has no leaves: remove it, or give it a leaf")
    for name in inner:
        if not isinstance(name, str):
            raise ValueError(f"{_place(path)} holds the name {name!r}: names must be strings")
    return iter(inner.items()) if isinstance(inner, Mapping) else ((name, None) for name in inner)


def _place(path: Sequence[str]) -> str:
    return repr("/".join(path)) if path else "the hierarchy"


def paths_from_top(parent: Any) -> list[tuple[str, ...]]:
    """Returns the path of every leaf, a node that is no parent, from the parent of each node."""
    if not isinstance(parent, Mapping):
        raise ValueError(f"the parents must be a dict from each node to its parent, got {parent!r}")
    for node, above in parent.items():
        if not isinstance(node, str) or not (above is None or isinstance(above, str)):
            raise ValueError(f"the parent of {node!r} is {above!r}: nodes are strings, and a top node has None")
        if above is not None and above not in parent:
            raise ValueError(f"{above!r}, the parent of {node!r}, is no node itself: add {above!r} with its parent")
    depth: dict[str | None, int] = {None: 0}
    for node in parent:
        chain: dict[str | None, None] = {}  # from the node to the first one of known depth
        while node not in depth:
            if node in chain:
                names = list(map(str, chain))
                cycle = " -> ".join([*names[names.index(str(node)) :], str(node)])
                raise ValueError(f"the parents form a cycle, {cycle}: give one of these nodes the parent None")
            chain[node], node = None, parent[node]
        for steps, name in enumerate(reversed(chain), start=1):
            depth[name] = depth[node] + steps
    inner = set(parent.values())
    leaves = [node for node in parent if node not in inner]
    check_size(len(leaves), max(depth.values()))
    paths = []
    for node in leaves:
        path = [node]
        while (node := parent[node]) is not None:
            path.append(node)
        paths.append(tuple(reversed(path)))
    return paths


def folders_of(path: Any) -> tuple[str, ...]:
    """Returns the folders of a file's path."""
    if not isinstance(path, str | os.PathLike) or not isinstance(path := os.fspath(path), str):
        raise ValueError(f"{path!r} is no path: give texts, or objects of pathlib")
    if re.match(r"[\\/]|[A-Za-z]:", path):
        raise ValueError(f"{path!r} is absolute: give paths that start at the data set's own folder")
    parts = [part for part in re.split(r"[\\/]", path) if part not in ("", ".")]
    if len(parts) < 2 or ".." in parts:
        raise ValueError(f"{path!r} names no class: the file must lie in a folder below the data set's own")
    return tuple(parts[:-1])


def rows_with_labels(table: np.ndarray) -> np.ndarray:
    """Returns which rows of label columns have labels; a row without any has −1, "", None or NaN at all levels."""
    if table.dtype == object:
        missing = np.array([[_is_missing(label) for label in row] for row in table])
    else:
        missing = (table == -1) | (table == "") | ((table != table) if table.dtype.kind in "fc" else False)
    some = missing.any(axis=1) & ~missing.all(axis=1)
    if some.any():
        row = int(np.argmax(some))
        raise ValueError(f"row {row} has labels at some levels only, {table[row].tolist()}: give it all, or none")
    if missing.all():
        raise ValueError("no row has a label: a hierarchy needs at least one class")
    return ~missing[:, 0]


def _is_missing(label: Any) -> bool:
    if isinstance(label, str):
        return label == ""
    if isinstance(label, int | float | np.number):
        return bool(label == -1 or label != label)
    return label is None or type(label).__name__ in ("NAType", "NaTType")  # of pandas


def label_ids(column: np.ndarray, level: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different labels of a column, sorted, and for every row the position of its label.

    `rows` are the numbers of the rows, for messages.
    """
    if column.dtype == object:  # which may hold names and numbers at once
        kind = int | np.integer if isinstance(column[0], int | np.integer) else str
        for row, label in zip(rows.tolist(), column, strict=True):
            if not isinstance(label, kind) or isinstance(label, bool):
                raise ValueError(f"label column {level}, row {row}: {label!r}; a column is all integers or all strings")
        column = np.array(column.tolist())
    if column.dtype.kind not in "iuU":
        raise ValueError(
            f"label column {level} is {column.dtype}, such as {column[0]!r}; labels must be integers of 64 bits, or "
            "strings"
        )
    if column.dtype.kind == "i" and column.min() < -1:
        row = rows[int(np.argmin(column))]
        raise ValueError(f"label column {level}, row {row}: {column.min()}; −1 is no label, and others count from 0")
    return np.unique(column, return_inverse=True)


def label_names(labels: np.ndarray, names: Names | None, level: int) -> tuple[str, ...]:
    """Returns the names of the labels of a column."""
    if names is None:
        return tuple(str(label) for label in labels)
    if labels.dtype.kind == "U":
        raise ValueError(f"label column {level} holds strings, which are its names: leave names out")
    known: Sequence[Any] = names[level]
    wrong = labels[(labels < 0) | (labels >= len(known))]
    if len(wrong):
        raise ValueError(f"label {wrong[0]} of column {level} has no name: {len(known)} names are given")
    return tuple(known[label] for label in labels.tolist())
