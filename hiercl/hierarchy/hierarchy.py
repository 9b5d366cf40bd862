"""The class hierarchy that data, losses, metrics and plots share.

Level 0 is the coarsest, the last level is the leaves, and the root above level 0 is not a level. A node is known by its
level and its id there; a leaf is known by its id alone. Labels of a data set are leaf ids.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np

from hiercl.hierarchy.forms import (
    Names,
    check_levels,
    check_one_parent,
    close,
    folders_of,
    label_names,
    leaf_paths,
    number,
    path_from_top,
    twice,
)
from hiercl.runtime.types import Int

__all__ = ["Hierarchy"]

Leaves = Int[np.ndarray, "..."] | list[int] | int | np.integer


@dataclass(frozen=True, eq=False, repr=False)
class Hierarchy:
    """A tree of classes in which every leaf has one ancestor at every level; it cannot be changed.

    Shapes: ``names[level][node]`` are the names of the nodes; ``ancestors`` is int64 ``[leaves, levels]`` and holds the
    node above leaf i at every level, so its last column is 0, 1, ..., leaves - 1; ``level_names`` are the names that
    tables use for the levels ("level 0", "level 1", ... when none are given).

    Raises ValueError, and names the node, when a node has two parents or no leaf, or shares its name with a sibling.
    The same name under two different parents is allowed.

    Example::

        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}, level_names=("kind", "class"))
        >>> tree
        Hierarchy(2 kind > 3 class)
        >>> tree.path(2)
        ('vehicle', 'car')
    """

    names: tuple[tuple[str, ...], ...]
    ancestors: Int[np.ndarray, "leaves levels"]
    level_names: tuple[str, ...] = ()

    def __post_init__(self):
        ancestors = np.array(self.ancestors)
        if ancestors.ndim != 2 or ancestors.size == 0 or ancestors.dtype.kind not in "iu":
            raise ValueError(
                f"ancestors must be integers [leaves, levels] with at least one leaf and one level, "
                f"got {ancestors.dtype} {list(ancestors.shape)}"
            )
        ancestors = ancestors.astype(np.int64)
        ancestors.setflags(write=False)
        level_names = tuple(self.level_names) or tuple(f"level {level}" for level in range(ancestors.shape[1]))
        object.__setattr__(self, "names", tuple(tuple(str(name) for name in level) for level in self.names))
        object.__setattr__(self, "ancestors", ancestors)
        object.__setattr__(self, "level_names", level_names)
        check_levels(self.names, ancestors, level_names)
        check_one_parent(ancestors, self.names, level_names)
        self._check_sibling_names()

    def _check_sibling_names(self) -> None:
        for level, names in enumerate(self.names):
            seen = set()
            for node, (parent, name) in enumerate(zip(self.parent(level), names, strict=True)):
                if (parent, name) in seen:
                    raise twice(name, self._path(level, node)[:-1])
                seen.add((parent, name))

    # ---- constructors ----

    @classmethod
    def from_dict(cls, nested: Mapping | list | tuple, level_names: Sequence[str] | None = None) -> "Hierarchy":
        """Build a hierarchy from nested dicts whose innermost values are lists of leaf names.

        A plain list is a hierarchy of one level. A key with ``{}`` or None is a leaf. Depths may differ: a leaf that
        ends early is carried down to the last level by itself, under its own name. Ids follow the order of appearance.

        Raises ValueError for an inner node without leaves, for names that are not strings and for equal siblings.

        Example::

            >>> Hierarchy.from_dict({"animal": {"cat": ["lion", "tiger"], "dog": None}}).path(2)
            ('animal', 'dog', 'dog')
        """
        return cls._from_leaf_paths(list(leaf_paths(nested)), level_names)

    @classmethod
    def from_parents(cls, parent: Mapping[str, str | None], level_names: Sequence[str] | None = None) -> "Hierarchy":
        """Build a hierarchy from each node's parent; None is the parent of the top nodes.

        Leaves are the nodes that are nobody's parent, in order of appearance. A leaf that ends early is carried down to
        the last level by itself.

        Raises ValueError for a cycle and for a parent that is not itself in the mapping.

        Example::

            >>> Hierarchy.from_parents({"animal": None, "cat": "animal", "dog": "animal"}).leaf_names
            ('cat', 'dog')
        """
        paths = {node: path_from_top(node, parent) for node in parent}
        inner = set(parent.values())
        return cls._from_leaf_paths([path for node, path in paths.items() if node not in inner], level_names)

    @classmethod
    def from_labels(
        cls, columns: Any, names: Names | None = None, level_names: Sequence[str] | None = None
    ) -> tuple["Hierarchy", Int[np.ndarray, "n"]]:
        """Build a hierarchy from label columns, coarse to fine, and return it with the leaf id of every row.

        Shapes: ``columns`` is ``[n, levels]``, each column all integers or all strings. At each level the labels that
        occur are numbered in sorted order. ``names[level][label]`` names the nodes of integer columns; without it a
        node is named after its label. A label that no row has is left out.

        Raises ValueError, with its name, for a label that has two parents.

        Example::

            >>> tree, leaf_labels = Hierarchy.from_labels([["animal", "dog"], ["animal", "cat"], ["animal", "dog"]])
            >>> leaf_labels.tolist()
            [1, 0, 1]
        """
        table = columns if hasattr(columns, "ndim") else np.array(columns, dtype=object)
        table = np.asarray(table)
        if table.ndim != 2 or table.size == 0:
            raise ValueError(f"label columns must be [n, levels] with n and levels at least 1, got {list(table.shape)}")
        if names is not None and len(names) != table.shape[1]:
            raise ValueError(f"names are for {len(names)} levels, but there are {table.shape[1]} label columns")
        values, ids = zip(*(number(table[:, level], level) for level in range(table.shape[1])), strict=True)
        node_names = tuple(label_names(v, names, level) for level, v in enumerate(values))
        table = np.stack(ids, axis=1)
        check_one_parent(table, node_names, tuple(level_names or (f"level {i}" for i in range(len(ids)))))
        _, first = np.unique(table[:, -1], return_index=True)
        return cls(node_names, table[first], tuple(level_names or ())), table[:, -1]

    @classmethod
    def from_paths(
        cls, paths: Iterable[str | os.PathLike], level_names: Sequence[str] | None = None
    ) -> tuple["Hierarchy", Int[np.ndarray, "n"]]:
        """Build a hierarchy from file paths and return it with the leaf id of every file.

        The folders are the hierarchy, the last component is the file; the paths start at the data set's own folder.
        Folders are numbered in sorted order. One that ends early is carried down to the last level by itself.

        Raises ValueError for an absolute path, a file in no folder, and a folder that holds both files and folders.

        Example::

            >>> tree, leaf_labels = Hierarchy.from_paths(["vehicle/car/1.png", "vehicle/bus/7.png"])
            >>> tree.leaf_names, leaf_labels.tolist()
            (('bus', 'car'), [1, 0])
        """
        folders = [folders_of(os.fspath(path)) for path in paths]
        leaves = sorted(set(folders))
        inner = {leaf[:depth] for leaf in leaves for depth in range(1, len(leaf))}
        if mixed := sorted(inner & set(leaves)):
            raise ValueError(
                f"the folder {'/'.join(mixed[0])!r} holds both files and folders: "
                f"move its files to a folder of their own"
            )
        ids = {leaf: i for i, leaf in enumerate(leaves)}
        return cls._from_leaf_paths(leaves, level_names), np.array([ids[f] for f in folders], dtype=np.int64)

    @classmethod
    def from_ancestors(
        cls,
        ancestors: Int[np.ndarray, "leaves levels"],
        names: Names | None = None,
        level_names: Sequence[str] | None = None,
    ) -> "Hierarchy":
        """Build a hierarchy from the ancestor of every leaf at every level.

        Shapes: ``ancestors`` is ``[leaves, levels]`` with last column 0, 1, ..., leaves - 1; ``names[level][node]``,
        or "level.node" when no names are given.

        Raises ValueError for ids without a name, a node without leaves, two parents, and equal siblings.

        Example::

            >>> Hierarchy.from_ancestors(np.array([[0, 0], [0, 1], [1, 2]])).path(2)
            ('0.1', '1.2')
        """
        if names is None:
            sizes = ancestors.max(axis=0, initial=0) + 1
            names = [[f"{level}.{node}" for node in range(size)] for level, size in enumerate(sizes)]
        return cls(tuple(tuple(level) for level in names), ancestors, tuple(level_names or ()))

    @classmethod
    def _from_leaf_paths(cls, paths: list[tuple[str, ...]], level_names: Sequence[str] | None) -> "Hierarchy":
        if not paths:
            raise ValueError("the hierarchy is empty: it needs at least one leaf")
        seen = set()
        for path in paths:
            if path in seen:
                raise twice(path[-1], path[:-1])
            seen.add(path)
        depth = max(len(path) for path in paths)
        paths = [path + path[-1:] * (depth - len(path)) for path in paths]
        ids = [{} for _ in range(depth)]
        ancestors = [[ids[i].setdefault(path[: i + 1], len(ids[i])) for i in range(depth)] for path in paths]
        names = tuple(tuple(prefix[-1] for prefix in level) for level in ids)
        return cls(names, np.array(ancestors), tuple(level_names or ()))

    # ---- sizes and names ----

    @property
    def levels(self) -> int:
        """Number of levels; the root is not one."""
        return self.ancestors.shape[1]

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return self.ancestors.shape[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of nodes at each level."""
        return tuple(len(names) for names in self.names)

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """Names of the leaves, by leaf id."""
        return self.names[-1]

    # ---- queries ----

    def parent(self, level: SupportsIndex) -> Int[np.ndarray, "nodes"]:
        """Give the parent of every node of a level, as ids at the level above; zeros (the root) at level 0.

        Example::

            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).parent(1).tolist()
            [0, 0, 1]
        """
        level = self._level(level)
        parent = np.zeros(self.sizes[level], dtype=np.int64)
        if level > 0:
            parent[self.ancestors[:, level]] = self.ancestors[:, level - 1]
        return parent

    def children(self, level: SupportsIndex, node: SupportsIndex) -> Int[np.ndarray, "children"]:
        """Give the ids, at the next finer level, of the children of a node; none for a leaf."""
        level, node = self._node(level, node)
        if level == self.levels - 1:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.parent(level + 1) == node)

    def leaves_of(self, level: SupportsIndex, node: SupportsIndex) -> Int[np.ndarray, "leaves"]:
        """Give the ids of the leaves under a node."""
        level, node = self._node(level, node)
        return np.flatnonzero(self.ancestors[:, level] == node)

    def node(self, name: str, level: SupportsIndex | None = None) -> tuple[int, int]:
        """Find a node by its name, or by its path from the top ("animal/cat"), and return (level, node).

        A leaf that was carried down has the same name at several levels; it is found at the last one.

        Raises ValueError for an unknown name, with the close ones, and for a name that several nodes share.

        Example::

            >>> Hierarchy.from_dict({"animal": ["cat", "dog"]}).node("dog")
            (1, 1)
        """
        levels = range(self.levels) if level is None else (self._level(level),)
        nodes = [(i, node) for i in levels for node in range(self.sizes[i])]
        found = [(i, node) for i, node in nodes if self.names[i][node] == name]
        if not found and "/" in name:
            found = [(i, node) for i, node in nodes if "/".join(self._path(i, node)) == name]
        if not found:
            known = sorted({self.names[i][node] for i, node in nodes})
            raise ValueError(f"no node is named {name!r}; {close(name, known)}")
        if len({tuple(self.leaves_of(*match)) for match in found}) > 1:
            places = ", ".join(f"{'/'.join(self._path(*m))!r} (level {m[0]})" for m in found)
            raise ValueError(
                f"{name!r} names {len(found)} nodes, {places}: give its path, or the level if that differs"
            )
        return found[-1]

    def path(self, leaf: SupportsIndex) -> tuple[str, ...]:
        """Give the names from level 0 down to a leaf."""
        return self._path(*self._node(-1, leaf))

    def labels_at(self, leaf_labels: Leaves, level: SupportsIndex) -> Int[np.ndarray, "..."] | np.integer:
        """Turn leaf labels into labels at a level: ``ancestors[leaf_labels, level]``.

        Shapes: any shape of leaf ids, and the same shape back. Raises ValueError for an id that is no leaf.

        Example::

            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).labels_at([2, 0, 1], 0).tolist()
            [1, 0, 0]
        """
        return self.ancestors[self._leaf_ids(leaf_labels), self._level(level)]

    def counts(self, leaf_labels: Leaves, level: SupportsIndex) -> Int[np.ndarray, "nodes"]:
        """Count the items of every node of a level, given the leaf labels of the items."""
        level = self._level(level)
        return np.bincount(np.ravel(self.labels_at(leaf_labels, level)), minlength=self.sizes[level])

    def lca_level(self, a: Leaves, b: Leaves) -> Int[np.ndarray, "..."] | np.integer:
        """Give the level of the lowest common ancestor of leaves a and b; -1 when only the root is common.

        .. math:: lca(a, b) = max {l : ancestors[a, l] = ancestors[b, l]}, -1 if there is no such l

        Shapes: leaf ids of any two shapes that broadcast, and the broadcast shape back.

        Raises ValueError for an id that is no leaf.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> tree.lca_level(np.array([0, 0, 0]), np.array([0, 1, 2])).tolist()
            [1, 0, -1]
        """
        # In a tree the levels where two leaves agree are the first ones, so counting them finds the deepest.
        return (self.ancestors[self._leaf_ids(a)] == self.ancestors[self._leaf_ids(b)]).sum(axis=-1) - 1

    def tree_distance(self, a: Leaves, b: Leaves) -> Int[np.ndarray, "..."] | np.integer:
        """Count the edges of the path between leaves a and b.

        .. math:: d(a, b) = 2 (levels - 1 - lca(a, b))

        Shapes, errors: as `lca_level`. The distance is an ultrametric: 0, 2, ..., 2 levels.

        Example::

            >>> int(Hierarchy.from_dict({"animal": ["cat", "dog"]}).tree_distance(0, 1))
            2
        """
        return 2 * (self.levels - 1 - self.lca_level(a, b))

    def similarity(self, a: Leaves, b: Leaves) -> np.ndarray | np.floating:
        """Give the Wu-Palmer similarity of leaves a and b, with the root at depth 0.

        .. math:: s(a, b) = 2 depth(lca) / (depth(a) + depth(b)) = (lca(a, b) + 1) / levels

        Level l has depth l + 1 and all leaves have depth ``levels``, so leaves that share only the root have
        similarity 0, and a leaf has similarity 1 with itself.

        Shapes, errors: as `lca_level`.

        Example::

            >>> float(Hierarchy.from_dict({"animal": ["cat", "dog"]}).similarity(0, 1))
            0.5
        """
        return (self.lca_level(a, b) + 1) / self.levels

    # ---- changed copies ----

    def subset(self, leaves: Leaves) -> tuple["Hierarchy", Int[np.ndarray, "old_leaves"]]:
        """Keep only some leaves, in their old order, and the nodes above them.

        Shapes: returns the hierarchy and, for each of the old leaves, its new id, or -1 where it is gone.

        Raises ValueError when no leaf is left or an id is no leaf.

        Example::

            >>> tree, new = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).subset([1, 2])
            >>> tree.leaf_names, new.tolist()
            (('dog', 'car'), [-1, 0, 1])
        """
        kept = np.unique(self._leaf_ids(leaves))
        if len(kept) == 0:
            raise ValueError("a subset needs at least one leaf")
        names, ancestors = [], []
        for level in range(self.levels):
            old, new = np.unique(self.ancestors[kept, level], return_inverse=True)
            names.append(tuple(self.names[level][node] for node in old))
            ancestors.append(new)
        old_to_new = np.full(self.n_leaves, -1)
        old_to_new[kept] = np.arange(len(kept))
        return Hierarchy(tuple(names), np.stack(ancestors, axis=1), self.level_names), old_to_new

    def coarsen(self, levels: Sequence[int]) -> tuple["Hierarchy", Int[np.ndarray, "old_leaves"]]:
        """Keep only some levels; the last one kept becomes the leaves.

        Where the level above a kept one goes, names that occur more than once are written with their path
        ("Greek/alpha"), for the parents that told them apart are gone.

        Shapes: returns the hierarchy and, for each of the old leaves, its new leaf.

        Raises ValueError for no level or one that does not exist.

        Example::

            >>> tree, new = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).coarsen([0])
            >>> tree.leaf_names, new.tolist()
            (('animal', 'vehicle'), [0, 0, 1])
        """
        kept = sorted({self._level(level) for level in levels})
        if not kept:
            raise ValueError("coarsen needs at least one level to keep")
        new_leaf = self.ancestors[:, kept[-1]]
        _, first = np.unique(new_leaf, return_index=True)
        names = tuple(
            self.names[level] if level == 0 or level - 1 in kept else self._distinct_names(level) for level in kept
        )
        coarse = Hierarchy(names, self.ancestors[first][:, kept], tuple(self.level_names[level] for level in kept))
        return coarse, new_leaf.copy()

    def shuffle(self, seed: int) -> "Hierarchy":
        """Deal the leaves out at random among their parents: the control that shows whether the true hierarchy matters.

        The leaves keep their ids and names, each parent keeps its number of leaves, and the levels above stay as they
        are. Leaf names that occur more than once are written with their path ("Greek/alpha"), for two of them may
        become siblings.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car", "bus"]}).shuffle(seed=0)
            >>> tree.leaf_names, tree.counts(np.arange(4), 0).tolist()
            (('cat', 'dog', 'car', 'bus'), [2, 2])
        """
        order = np.random.default_rng(seed).permutation(self.n_leaves)
        ancestors = np.column_stack([self.ancestors[order, :-1], np.arange(self.n_leaves)])
        return Hierarchy((*self.names[:-1], self._distinct_names(self.levels - 1)), ancestors, self.level_names)

    # ---- text ----

    def to_json(self) -> dict:
        """Give the hierarchy as a dict of plain lists: level names, names, and each node's parent below level 0."""
        return {
            "level_names": list(self.level_names),
            "names": [list(names) for names in self.names],
            "parents": [self.parent(level).tolist() for level in range(1, self.levels)],
        }

    @classmethod
    def from_json(cls, data: dict) -> "Hierarchy":
        """Build a hierarchy from what `to_json` gave.

        Raises ValueError when a field is missing or the parents do not fit the names.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"]})
            >>> Hierarchy.from_json(tree.to_json()) == tree
            True
        """
        for field in ("level_names", "names", "parents"):
            if field not in data:
                raise ValueError(f"the hierarchy has no field {field!r}: it needs level_names, names and parents")
        names, parents = data["names"], data["parents"]
        if len(parents) != len(names) - 1:
            raise ValueError(f"{len(names)} levels of names need {len(names) - 1} lists of parents, got {len(parents)}")
        columns = [np.arange(len(names[-1]))]
        for level in range(len(names) - 1, 0, -1):
            parent = np.array(parents[level - 1], dtype=np.int64)
            if parent.shape != (len(names[level]),) or np.any((parent < 0) | (parent >= len(names[level - 1]))):
                raise ValueError(f"the parents of level {level} must be one id of level {level - 1} for each node")
            columns.insert(0, parent[columns[0]])
        return cls.from_ancestors(np.stack(columns, axis=1), names, data["level_names"])

    def describe(self) -> str:
        """Give the whole tree as indented text, one node a line.

        Example::

            >>> print(Hierarchy.from_dict({"animal": ["cat", "dog"]}).describe())
            animal
              cat
              dog
        """
        return "\n".join(line for node in range(self.sizes[0]) for line in self._lines(0, node))

    def __repr__(self) -> str:
        levels = zip(self.sizes, self.level_names, strict=True)
        return "Hierarchy(" + " > ".join(f"{size} {name}" for size, name in levels) + ")"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hierarchy):
            return NotImplemented
        same_names = self.names == other.names and self.level_names == other.level_names
        return same_names and np.array_equal(self.ancestors, other.ancestors)

    def __hash__(self) -> int:
        return hash((self.names, self.level_names, self.ancestors.tobytes()))

    # ---- helpers ----

    def _level(self, level: SupportsIndex) -> int:
        index = level.__index__()
        if not -self.levels <= index < self.levels:
            raise ValueError(f"there is no level {index}; the levels are 0 to {self.levels - 1}: {self.level_names}")
        return index % self.levels

    def _node(self, level: SupportsIndex, node: SupportsIndex) -> tuple[int, int]:
        level, node = self._level(level), node.__index__()
        if not 0 <= node < self.sizes[level]:
            raise ValueError(
                f"there is no node {node} at level {level} ({self.level_names[level]}); "
                f"the nodes are 0 to {self.sizes[level] - 1}"
            )
        return level, node

    def _leaf_ids(self, leaves: Leaves) -> np.ndarray:
        ids = np.asarray(leaves)
        if ids.size == 0:
            return ids.astype(np.int64)
        if ids.dtype.kind not in "iu":
            raise ValueError(f"leaf ids must be integers, got {ids.dtype}")
        if ids.min() < 0 or ids.max() >= self.n_leaves:
            wrong = ids[(ids < 0) | (ids >= self.n_leaves)].flat[0]
            raise ValueError(f"there is no leaf {wrong}; the leaves are 0 to {self.n_leaves - 1}")
        return ids

    def _path(self, level: int, node: int) -> tuple[str, ...]:
        leaf = np.argmax(self.ancestors[:, level] == node)
        return tuple(self.names[i][self.ancestors[leaf, i]] for i in range(level + 1))

    def _distinct_names(self, level: int) -> tuple[str, ...]:
        names = self.names[level]
        values, counts = np.unique(names, return_counts=True)
        repeated = {str(name) for name in values[counts > 1]}
        return tuple("/".join(self._path(level, i)) if name in repeated else name for i, name in enumerate(names))

    def _lines(self, level: int, node: int) -> Iterator[str]:
        yield "  " * level + self.names[level][node]
        for child in self.children(level, node):
            yield from self._lines(level + 1, int(child))
