"""Reads the forms in which a hierarchy is given, and checks them. Every error names the wrong node."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Names = Sequence[Sequence[str]]


# ---- checks ----


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
        empty = np.setdiff1d(np.arange(size), column)
        if len(empty):
            raise ValueError(
                f"{names[level][empty[0]]!r} ({level_names[level]}) has no leaves: remove it, or give it a leaf"
            )


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
    seen = set()
    for path in paths:
        if path in seen:
            place = f"under {'/'.join(path[:-1])!r}" if path[:-1] else "at the top"
            raise ValueError(f"{path[-1]!r} occurs twice {place}: siblings need different names, rename one")
        seen.add(path)


# ---- forms ----


def leaf_paths(nested: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the path of every leaf of nested dicts and lists."""
    place = repr("/".join(above)) if above else "the hierarchy"
    if not isinstance(nested, Mapping | list | tuple):
        raise ValueError(f"{place} must hold a dict or a list of names, got {nested!r}")
    if len(nested) == 0:
        raise ValueError(f"{place} has no leaves: remove it, or give it a leaf")
    for name in nested:
        if not isinstance(name, str):
            raise ValueError(f"{place} holds the name {name!r}: names must be strings")
        inner = nested[name] if isinstance(nested, Mapping) else None
        if inner is None or inner == {}:
            yield (*above, name)
        else:
            yield from leaf_paths(inner, (*above, name))


def path_from_top(node: str, parent: Mapping[str, str | None]) -> tuple[str, ...]:
    """Follows the parents of a node up to the top."""
    path = [node]
    while (above := parent[path[-1]]) is not None:
        if above in path:
            cycle = " -> ".join([*path[path.index(above) :], above])
            raise ValueError(f"the parents form a cycle, {cycle}: give one of these nodes the parent None")
        if above not in parent:
            raise ValueError(f"{above!r}, the parent of {path[-1]!r}, is no node itself: add {above!r} with its parent")
        path.append(above)
    return tuple(reversed(path))


def folders_of(path: str) -> tuple[str, ...]:
    """Returns the folders of a file's path."""
    if re.match(r"[\\/]|[A-Za-z]:", path):
        raise ValueError(f"{path!r} is absolute: give paths that start at the data set's own folder")
    parts = [part for part in re.split(r"[\\/]", path) if part not in ("", ".")]
    if len(parts) < 2 or ".." in parts:
        raise ValueError(f"{path!r} names no class: the file must lie in a folder below the data set's own")
    return tuple(parts[:-1])


def rows_with_labels(table: np.ndarray) -> np.ndarray:
    """Returns which rows of label columns have labels; a row without any has −1 or "" at all levels."""
    missing = (table == -1) | (table == "")
    some = missing.any(axis=1) & ~missing.all(axis=1)
    if some.any():
        row = int(np.argmax(some))
        raise ValueError(f"row {row} has labels at some levels only, {table[row].tolist()}: give it all, or none")
    if missing.all():
        raise ValueError("no row has a label: a hierarchy needs at least one class")
    return ~missing[:, 0]


def label_ids(column: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different labels of a column, sorted, and for every row the position of its label."""
    if column.dtype == object:
        kind = int | np.integer if isinstance(column[0], int | np.integer) else str
        for row, label in enumerate(column):
            if not isinstance(label, kind) or isinstance(label, bool):
                raise ValueError(f"label column {level}, row {row}: {label!r}; a column is all integers or all strings")
        column = np.array(column.tolist())
    if column.dtype.kind not in "iuU":
        raise ValueError(f"label column {level} is {column.dtype}; labels must be integers or strings")
    return np.unique(column, return_inverse=True)


def label_names(labels: np.ndarray, names: Names | None, level: int) -> tuple[str, ...]:
    """Returns the names of the labels of a column."""
    if names is None:
        return tuple(str(label) for label in labels)
    if labels.dtype.kind == "U":
        raise ValueError(f"label column {level} holds strings, which are its names: leave names out")
    wrong = labels[(labels < 0) | (labels >= len(names[level]))]
    if len(wrong):
        raise ValueError(f"label {wrong[0]} of column {level} has no name: {len(names[level])} names are given")
    return tuple(str(names[level][label]) for label in labels.tolist())
