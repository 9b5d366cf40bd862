"""The class hierarchy that data, losses, metrics and plots share.

Level 0 is the coarsest level, the last level holds the leaves, and the root above level 0 is not a level. A level and
an id in this level identify a node; an id alone identifies a leaf. The labels of a data set are leaf ids, or −1 for an
item without a label.
"""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np

from hiercl.hierarchy.forms import (
    Names,
    as_level_names,
    check_levels,
    check_one_parent,
    check_siblings,
    check_size,
    folders_of,
    label_ids,
    label_names,
    leaf_paths,
    names_of_levels,
    one_spelling,
    paths_from_top,
    rows_with_labels,
)
from hiercl.runtime.given import given_array, whole_number
from hiercl.runtime.types import Int

__all__ = ["Hierarchy"]

Leaves = Int[np.ndarray, "..."] | list[int] | int | np.integer


@dataclass(frozen=True, eq=False, repr=False)
class Hierarchy:
    """A tree of classes in which every leaf has one ancestor at every level. It cannot be changed.

    Two nodes under different parents may have the same name.

    Attributes:
        names: names of the nodes, ``names[level][node]``.
        ancestors: the node above leaf i at every level, int64 ``[leaves, levels]``. The last column is 0, 1, ...,
            leaves - 1.
        level_names: names of the levels for tables; by default "level 0", "level 1", ...

    Raises:
        ValueError: a node has two parents, no leaf, or the name of a sibling; the message names the node.

    Example:
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
        ancestors = given_array(self.ancestors, "ancestors")
        if ancestors.ndim != 2 or ancestors.size == 0 or ancestors.dtype.kind not in "iu":
            raise ValueError(
                f"ancestors must be integers [leaves, levels] with at least one leaf and one level, "
                f"got {ancestors.dtype} {list(ancestors.shape)}"
            )
        ancestors = np.array(ancestors, dtype=np.int64)
        ancestors.setflags(write=False)
        levels = range(ancestors.shape[1])
        level_names = as_level_names(self.level_names) or tuple(f"level {level}" for level in levels)
        object.__setattr__(self, "names", names_of_levels(self.names))
        object.__setattr__(self, "ancestors", ancestors)
        object.__setattr__(self, "level_names", level_names)
        check_levels(self.names, ancestors, level_names)
        check_one_parent(ancestors, self.names, level_names)
        for level, names in enumerate(self.names):
            if len(set(zip(self.parent(level).tolist(), one_spelling(names), strict=True))) < len(names):
                check_siblings([self._path(level, node) for node in range(len(names))])

    # ---- constructors ----

    @classmethod
    def from_dict(cls, nested: Mapping | list | tuple, level_names: Sequence[str] | None = None) -> "Hierarchy":
        """Builds a hierarchy from nested dicts; the innermost values are lists of leaf names.

        If a leaf ends early, it is its own child down to the last level. Ids follow the order of appearance.

        Args:
            nested: nested dicts and lists. A list is a hierarchy of one level. A key with ``{}`` or None is a leaf.
            level_names: names of the levels, from coarse to fine.

        Returns:
            The hierarchy.

        Raises:
            ValueError: an inner node has no leaves, a name is no string, or siblings have the same name.

        Example:
            >>> Hierarchy.from_dict({"animal": {"cat": ["lion", "tiger"], "dog": None}}).path(2)
            ('animal', 'dog', 'dog')
        """
        return cls._from_leaf_paths(list(leaf_paths(nested)), level_names)

    @classmethod
    def from_parents(cls, parent: Mapping[str, str | None], level_names: Sequence[str] | None = None) -> "Hierarchy":
        """Builds a hierarchy from the parent of each node.

        The leaves are the nodes that are no parent, in order of appearance. If a leaf ends early, it is its own child
        down to the last level.

        Args:
            parent: the parent of each node; None for the top nodes.
            level_names: names of the levels, from coarse to fine.

        Returns:
            The hierarchy.

        Raises:
            ValueError: the parents form a cycle, or a parent is no node of the mapping.

        Example:
            >>> Hierarchy.from_parents({"animal": None, "cat": "animal", "dog": "animal"}).leaf_names
            ('cat', 'dog')
        """
        return cls._from_leaf_paths(paths_from_top(parent), level_names)

    @classmethod
    def from_labels(
        cls, columns: Any, names: Names | None = None, level_names: Sequence[str] | None = None
    ) -> tuple["Hierarchy", Int[np.ndarray, "n"]]:
        """Builds a hierarchy from label columns.

        At each level, the labels that occur get their ids in sorted order. A label without a row is left out. A row
        without labels, −1, "", None or NaN at all levels, has the leaf id −1.

        Args:
            columns: labels ``[n, levels]`` from coarse to fine; each column is all integers or all strings.
            names: names of the nodes of integer columns, ``names[level][label]``. Without them a node is named after
                its label.
            level_names: names of the levels, from coarse to fine.

        Returns:
            The hierarchy, and the leaf id of every row, int64 ``[n]``.

        Raises:
            ValueError: a label has two parents, or a row has labels at some levels only; the message names it.

        Example:
            >>> tree, leaf_labels = Hierarchy.from_labels([["animal", "dog"], ["animal", "cat"], ["animal", "dog"]])
            >>> leaf_labels.tolist()
            [1, 0, 1]
        """
        if isinstance(columns, list | tuple):  # NumPy would turn numbers beside names into names
            rows = [row if isinstance(row, list | tuple) else given_array(row, "labels").tolist() for row in columns]
            given_array([[0] * len(row) if isinstance(row, list | tuple) else 0 for row in rows], "label columns")
            columns = np.array(rows, dtype=object)
        table = np.asarray(given_array(columns, "label columns"))
        if table.ndim != 2 or table.size == 0:
            raise ValueError(f"label columns must be [n, levels] with n and levels at least 1, got {list(table.shape)}")
        level_names = as_level_names(level_names)
        if level_names and len(level_names) != table.shape[1]:
            raise ValueError(f"{table.shape[1]} label columns need as many names of levels, got {level_names}")
        names = None if names is None else names_of_levels(names)
        if names is not None and len(names) != table.shape[1]:
            raise ValueError(f"names are for {len(names)} levels, but there are {table.shape[1]} label columns")
        labelled = rows_with_labels(table)
        leaf_of = np.full(len(table), -1)
        table = table[labelled]
        rows = np.flatnonzero(labelled)
        values, ids = zip(*(label_ids(table[:, level], level, rows) for level in range(table.shape[1])), strict=True)
        node_names = tuple(label_names(v, names, level) for level, v in enumerate(values))
        table = np.stack(ids, axis=1)
        check_one_parent(table, node_names, level_names or tuple(f"level {i}" for i in range(len(ids))))
        _, first = np.unique(table[:, -1], return_index=True)
        leaf_of[labelled] = table[:, -1]
        return cls(node_names, table[first], level_names), leaf_of

    @classmethod
    def from_paths(
        cls, paths: Iterable[str | os.PathLike], level_names: Sequence[str] | None = None
    ) -> tuple["Hierarchy", Int[np.ndarray, "n"]]:
        """Builds a hierarchy from file paths. The folders are the hierarchy, the last part of a path is the file.

        Folders get their ids in sorted order. If a folder ends early, it is its own child down to the last level.

        Args:
            paths: paths that start at the data set's own folder.
            level_names: names of the levels, from coarse to fine.

        Returns:
            The hierarchy, and the leaf id of every file, int64 ``[n]``.

        Raises:
            ValueError: a path is absolute, a file lies in no folder, or a folder holds both files and folders.

        Example:
            >>> tree, leaf_labels = Hierarchy.from_paths(["vehicle/car/1.png", "vehicle/bus/7.png"])
            >>> tree.leaf_names, leaf_labels.tolist()
            (('bus', 'car'), [1, 0])
        """
        if isinstance(paths, str | os.PathLike) or not isinstance(paths, Iterable):
            raise ValueError(f"paths must be a list of paths, got {paths!r}")
        folders = [folders_of(path) for path in paths]
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
        """Builds a hierarchy from the ancestor of every leaf at every level.

        Args:
            ancestors: ids ``[leaves, levels]``, with last column 0, 1, ..., leaves - 1.
            names: names of the nodes, ``names[level][node]``; by default "level.node".
            level_names: names of the levels, from coarse to fine.

        Returns:
            The hierarchy.

        Raises:
            ValueError: an id has no name, or a node has no leaves, two parents, or the name of a sibling.

        Example:
            >>> Hierarchy.from_ancestors(np.array([[0, 0], [0, 1], [1, 2]])).path(2)
            ('0.1', '1.2')
        """
        if names is None:
            ancestors = given_array(ancestors, "ancestors")
            if ancestors.ndim == 2 and ancestors.dtype.kind in "iu":  # else the constructor says what is wrong
                leaves, largest = len(ancestors), ancestors.max(axis=0, initial=0).tolist()
                for level, node in enumerate(largest):
                    if node >= leaves:
                        raise ValueError(
                            f"level {level} has the id {node}, but {leaves} leaves have at most {leaves} ancestors "
                            f"there: count from 0, without gaps"
                        )
                names = [[f"{level}.{node}" for node in range(most + 1)] for level, most in enumerate(largest)]
        return cls(() if names is None else names_of_levels(names), ancestors, as_level_names(level_names))

    @classmethod
    def _from_leaf_paths(cls, paths: list[tuple[str, ...]], level_names: Sequence[str] | None) -> "Hierarchy":
        if not paths:
            raise ValueError("the hierarchy is empty: it needs at least one leaf")
        check_siblings(paths)
        depth = max(len(path) for path in paths)
        check_size(len(paths), depth)
        ancestors = np.empty((len(paths), depth), dtype=np.int64)
        names: list[list[str]] = [[] for _ in range(depth)]
        known: list[dict[tuple[int, str], int]] = [{} for _ in range(depth)]  # nodes by the node above and their name
        for leaf, path in enumerate(paths):
            row = []
            for name, own, nodes in zip(path, names, known, strict=False):
                key = (row[-1] if row else 0, name)
                if key not in nodes:
                    nodes[key] = len(own)
                    own.append(name)
                row.append(nodes[key])
            for own in names[len(path) :]:  # a leaf that ends early is its own child
                row.append(len(own))
                own.append(path[-1])
            ancestors[leaf] = row
        return cls(tuple(map(tuple, names)), ancestors, as_level_names(level_names))

    # ---- sizes and names ----

    @property
    def levels(self) -> int:
        """Number of levels, without the root."""
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
        """Returns the parent of every node of a level, as ids at the level above; zeros (the root) at level 0.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).parent(1).tolist()
            [0, 0, 1]
        """
        level = self._level(level)
        parent = np.zeros(len(self.names[level]), dtype=np.int64)
        if level > 0:
            parent[self.ancestors[:, level]] = self.ancestors[:, level - 1]
        return parent

    def children(self, level: SupportsIndex, node: SupportsIndex) -> Int[np.ndarray, "children"]:
        """Returns the children of a node, as ids at the next finer level; none for a leaf.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).children(0, 1).tolist()
            [2]
        """
        level, node = self._node(level, node)
        if level == self.levels - 1:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.parent(level + 1) == node)

    def leaves_of(self, level: SupportsIndex, node: SupportsIndex) -> Int[np.ndarray, "leaves"]:
        """Returns the ids of the leaves under a node.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).leaves_of(0, 0).tolist()
            [0, 1]
        """
        level, node = self._node(level, node)
        return np.flatnonzero(self.ancestors[:, level] == node)

    def node(self, name: str, level: SupportsIndex | None = None) -> tuple[int, int]:
        """Finds a node by its name, or by its path from the top ("animal/cat").

        If a leaf ended early, its name is at several levels; it is found at the last one.

        Args:
            name: name or path of the node.
            level: level of the node; by default all levels are searched.

        Returns:
            Level and id of the node.

        Raises:
            ValueError: the name is unknown, or several nodes have it.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"]}).node("dog")
            (1, 1)
        """
        if not isinstance(name, str):
            raise ValueError(f"nodes are found by their name, got {name!r}: names[level][node] is the name of a node")
        levels = range(self.levels) if level is None else (self._level(level),)
        nodes = [(i, node) for i in levels for node in range(self.sizes[i])]
        found = [(i, node) for i, node in nodes if self.names[i][node] == name]
        if not found and "/" in name:
            found = [(i, node) for i, node in nodes if "/".join(self._path(i, node)) == name]
        if not found:
            known = sorted({self.names[i][node] for i, node in nodes})
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"Did you mean {close[0]!r}?"
                if close
                else f"Known: {', '.join(known[:10] + ['...'] * (len(known) > 10))}."
            )
            raise ValueError(f"Unknown node {name!r}. {hint}")
        if len({tuple(self.leaves_of(*match)) for match in found}) > 1:
            places = ", ".join(f"{'/'.join(self._path(*m))!r} (level {m[0]})" for m in found)
            raise ValueError(
                f"{name!r} names {len(found)} nodes, {places}: give its path, or the level if that differs"
            )
        return found[-1]

    def path(self, leaf: SupportsIndex) -> tuple[str, ...]:
        """Returns the names from level 0 down to a leaf.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"]}).path(1)
            ('animal', 'dog')
        """
        return self._path(*self._node(-1, leaf))

    def labels_at(self, leaf_labels: Leaves, level: SupportsIndex) -> Int[np.ndarray, "..."] | np.integer:
        """Turns leaf labels into labels at a level: ``ancestors[leaf_labels, level]``, and −1 where there is no label.

        Args:
            leaf_labels: leaf ids of any shape; −1: no label.
            level: the level.

        Returns:
            The labels, of the same shape.

        Raises:
            ValueError: an id is neither a leaf nor −1.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).labels_at([2, 0, -1], 0).tolist()
            [1, 0, -1]
        """
        ids = self._leaf_ids(leaf_labels, lowest=-1)
        return np.where(ids < 0, -1, self.ancestors[ids, self._level(level)])[()]  # [()]: one id gives one number

    def labels_at_all(self, leaf_labels: Leaves) -> Int[np.ndarray, "... levels"]:
        """Turns leaf labels into labels at every level, coarse to fine: −1 at all of them where there is no label.

        Do not index :attr:`ancestors` with labels: NumPy takes −1 for the last leaf.

        Args:
            leaf_labels: leaf ids of any shape; −1: no label.

        Returns:
            The labels, with one more axis for the levels.

        Raises:
            ValueError: an id is neither a leaf nor −1.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).labels_at_all([2, -1]).tolist()
            [[1, 2], [-1, -1]]
        """
        ids = self._leaf_ids(leaf_labels, lowest=-1)
        return np.where(ids[..., None] < 0, -1, self.ancestors[ids])

    def counts(self, leaf_labels: Leaves, level: SupportsIndex) -> Int[np.ndarray, "nodes"]:
        """Counts the items of every node of a level, from the leaf labels of the items. Those without a label (−1) do
        not count.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).counts([2, 0, 1, -1], 0).tolist()
            [2, 1]
        """
        labels = np.ravel(self.labels_at(leaf_labels, level))
        return np.bincount(labels[labels >= 0], minlength=self.sizes[self._level(level)])

    def lca_level(self, a: Leaves, b: Leaves) -> Int[np.ndarray, "..."] | np.integer:
        r"""Returns the level of the lowest common ancestor of leaves a and b; -1 if it is the root.

        $$\operatorname{lca}(a, b) = \max\,\{l : \text{ancestors}_{a l} = \text{ancestors}_{b l}\}$$

        Args:
            a: leaf ids.
            b: leaf ids of a shape that broadcasts with that of a.

        Returns:
            The levels, of the broadcast shape.

        Raises:
            ValueError: an id is no leaf.

        Example:
            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> tree.lca_level(np.array([0, 0, 0]), np.array([0, 1, 2])).tolist()
            [1, 0, -1]
        """
        # Two leaves agree at the first levels of the tree, so the number of these levels gives the deepest one.
        one, two = self._leaf_ids(a), self._leaf_ids(b)
        try:
            one, two = np.broadcast_arrays(one, two)
        except ValueError as error:
            raise ValueError(
                f"leaves of the shapes {list(one.shape)} and {list(two.shape)} do not broadcast: give as many of each, "
                "or one axis of 1"
            ) from error
        return (self.ancestors[one] == self.ancestors[two]).sum(axis=-1) - 1

    def tree_distance(self, a: Leaves, b: Leaves) -> Int[np.ndarray, "..."] | np.integer:
        r"""Counts the edges of the path between leaves a and b.

        $$d(a, b) = 2\,(\text{levels} - 1 - \operatorname{lca}(a, b))$$

        The distance is an ultrametric with the values 0, 2, ..., 2 levels. Arguments and errors are those of
        :meth:`lca_level`.

        Example:
            >>> int(Hierarchy.from_dict({"animal": ["cat", "dog"]}).tree_distance(0, 1))
            2
        """
        return 2 * (self.levels - 1 - self.lca_level(a, b))

    def similarity(self, a: Leaves, b: Leaves) -> np.ndarray | np.floating:
        r"""Returns the similarity of leaves a and b (Wu and Palmer, 1994), with the root at depth 0.

        $$s(a, b) = \frac{2\operatorname{depth}(\operatorname{lca})}{\operatorname{depth}(a) + \operatorname{depth}(b)}
        = \frac{\operatorname{lca}(a, b) + 1}{\text{levels}}$$

        Level l has depth l + 1, and all leaves have depth ``levels``. So leaves that share only the root have
        similarity 0, and a leaf has similarity 1 with itself. Arguments and errors are those of :meth:`lca_level`.

        Example:
            >>> float(Hierarchy.from_dict({"animal": ["cat", "dog"]}).similarity(0, 1))
            0.5
        """
        return (self.lca_level(a, b) + 1) / self.levels

    # ---- changed copies ----

    def subset(self, leaves: Leaves) -> tuple["Hierarchy", Int[np.ndarray, "old_leaves"]]:
        """Keeps some leaves, in their old order, and the nodes above them.

        Args:
            leaves: ids of the leaves to keep.

        Returns:
            The hierarchy, and for each old leaf its new id, or -1 if it is removed, int64 ``[old leaves]``.

        Raises:
            ValueError: no leaf is left, or an id is no leaf.

        Example:
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
        """Keeps some levels; the last one of them becomes the leaves.

        If the level above a kept one is removed, names that occur more than once become paths ("Greek/alpha"), because
        the parents that told them apart are removed.

        Args:
            levels: the levels to keep.

        Returns:
            The hierarchy, and for each old leaf its new leaf, int64 ``[old leaves]``.

        Raises:
            ValueError: there is no level, or one that does not exist.

        Example:
            >>> tree, new = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]}).coarsen([0])
            >>> tree.leaf_names, new.tolist()
            (('animal', 'vehicle'), [0, 0, 1])
        """
        kept = sorted({self._level(level) for level in given_array(levels, "levels").ravel()})
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
        """Assigns the leaves to their parents at random: a control that shows whether the true hierarchy matters.

        The leaves keep their ids and names, each parent keeps its number of leaves, and the levels above do not change.
        Leaf names that occur more than once become paths ("Greek/alpha"), because two of them may become siblings.

        Args:
            seed: seed of the assignment.

        Returns:
            The shuffled hierarchy.

        Example:
            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car", "bus"]}).shuffle(seed=0)
            >>> tree.leaf_names, tree.counts(np.arange(4), 0).tolist()
            (('cat', 'dog', 'car', 'bus'), [2, 2])
        """
        order = np.random.default_rng(whole_number(seed, "seed", least=0)).permutation(self.n_leaves)
        ancestors = np.column_stack([self.ancestors[order, :-1], np.arange(self.n_leaves)])
        return Hierarchy((*self.names[:-1], self._distinct_names(self.levels - 1)), ancestors, self.level_names)

    # ---- text ----

    def to_json(self) -> dict:
        """Returns the hierarchy as a dict of lists: level names, names, and the parents of all nodes below level 0.

        Example:
            >>> Hierarchy.from_dict({"animal": ["cat", "dog"]}).to_json()["parents"]
            [[0, 0]]
        """
        return {
            "level_names": list(self.level_names),
            "names": [list(names) for names in self.names],
            "parents": [self.parent(level).tolist() for level in range(1, self.levels)],
        }

    @classmethod
    def from_json(cls, data: dict) -> "Hierarchy":
        """Builds a hierarchy from the dict that :meth:`to_json` returns.

        Raises:
            ValueError: a field is missing, or the parents do not match the names.

        Example:
            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"]})
            >>> Hierarchy.from_json(tree.to_json()) == tree
            True
        """
        for field in ("level_names", "names", "parents"):
            if not isinstance(data, Mapping) or not isinstance(data.get(field), list | tuple):
                raise ValueError(f"the hierarchy has no field {field!r}: it needs lists level_names, names, parents")
        names = names_of_levels(data["names"])
        parents = data["parents"]
        if not names:
            raise ValueError("the hierarchy has no levels: it needs at least one")
        if len(parents) != len(names) - 1:
            raise ValueError(f"{len(names)} levels of names need {len(names) - 1} lists of parents, got {len(parents)}")
        columns = [np.arange(len(names[-1]))]
        for level in range(len(names) - 1, 0, -1):
            parent = given_array(parents[level - 1], f"the parents of level {level}")
            fits = parent.dtype.kind in "iu" and parent.shape == (len(names[level]),)
            if not fits or np.any((parent < 0) | (parent >= len(names[level - 1]))):
                raise ValueError(f"the parents of level {level} must be one id of level {level - 1} for each node")
            columns.insert(0, parent[columns[0]])
        return cls.from_ancestors(np.stack(columns, axis=1), names, data["level_names"])

    def describe(self) -> str:
        """Returns the whole tree as indented text, one node on each line.

        Example:
            >>> print(Hierarchy.from_dict({"animal": ["cat", "dog"]}).describe())
            animal
              cat
              dog
        """
        lines, before = [], np.full(self.levels, -1)
        for leaf in np.lexsort(self.ancestors.T[::-1]):
            own = self.ancestors[leaf]
            for level in range(int(np.argmax(own != before)), self.levels):
                lines.append("  " * level + self.names[level][own[level]])
            before = own
        return "\n".join(lines)

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
        index = whole_number(level, "level")
        if not -self.levels <= index < self.levels:
            raise ValueError(f"there is no level {index}; the levels are 0 to {self.levels - 1}: {self.level_names}")
        return index % self.levels

    def _node(self, level: SupportsIndex, node: SupportsIndex) -> tuple[int, int]:
        level, node = self._level(level), whole_number(node, "node")
        if not 0 <= node < self.sizes[level]:
            raise ValueError(
                f"there is no node {node} at level {level} ({self.level_names[level]}); "
                f"the nodes are 0 to {self.sizes[level] - 1}"
            )
        return level, node

    def _leaf_ids(self, leaves: Leaves, lowest: int = 0) -> np.ndarray:
        ids = given_array(leaves, "leaf ids")
        if ids.size == 0:
            return ids.astype(np.int64)
        if ids.dtype.kind not in "iu":
            raise ValueError(f"leaf ids must be integers, got {ids.dtype}")
        if ids.min() < lowest or ids.max() >= self.n_leaves:
            wrong = ids[(ids < lowest) | (ids >= self.n_leaves)].flat[0]
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
