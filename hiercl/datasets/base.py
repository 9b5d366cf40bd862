"""`HierarchicalDataset`: items, leaf labels and the hierarchy of the labels."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from hiercl.datasets.pictures.files import PictureFiles
from hiercl.datasets.store import altered, read_fields, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.types import Bool, Float, Int, UInt8

__all__ = ["HierarchicalDataset"]


@dataclass(frozen=True, eq=False, repr=False)
class HierarchicalDataset:
    """Images or point clouds with the leaf label of each and the hierarchy of the labels.

    Shapes: ``items`` are images, uint8 ``[n, h, w, c]``, or points, float32 ``[n, p, 3]``, in memory or memory-mapped,
    or images that are decoded when they are indexed (`PictureFiles`); ``labels`` are int64 leaf ids ``[n]``. ``note``
    says what a reader of results must know, such as "partial: 50 of the 100 test pictures of each class". ``ids`` are
    names of the items, such as "chair_0890", unicode ``[n]``, where they have any.

    Raises ValueError for items or labels of another form; `from_arrays` converts what it can and checks more.

    Example::

        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> images = np.zeros((6, 32, 32, 3), dtype=np.uint8)
        >>> HierarchicalDataset(images, np.array([0, 0, 1, 1, 2, 2]), tree)
        HierarchicalDataset('arrays': 6 images 32x32x3, 2 level 0 > 3 level 1)
    """

    items: UInt8[np.ndarray, "n h w c"] | Float[np.ndarray, "n p 3"] | PictureFiles
    labels: Int[np.ndarray, "n"]
    hierarchy: Hierarchy
    name: str = "arrays"
    note: str = ""
    ids: np.ndarray | None = None

    def __post_init__(self):
        _check_items(self.items)
        _check_labels(self.labels, len(self.items), self.hierarchy)
        _check_ids(self.ids, len(self.items))

    @classmethod
    def from_arrays(
        cls, items: Any, labels: Any, hierarchy: Hierarchy, name: str = "arrays", note: str = "", ids: Any = None
    ) -> "HierarchicalDataset":
        """Make a data set from arrays or tensors of your own.

        Shapes: ``items`` uint8 ``[n, h, w, c]`` or floating ``[n, p, 3]``; ``labels`` are leaf ids ``[n]``, or label
        columns ``[n, levels]``, coarse to fine, which must agree with the hierarchy; ``ids``, names of the items, are
        strings or integers ``[n]``. Arrays that already have the right type are not copied, so memory-mapped items
        stay so, and picture files stay undecoded.

        Raises ValueError, with the first offender and what to do, for float images, channels-first images, points
        that are not finite, labels that are no integers, no leaves or do not agree with the hierarchy, and ids that are
        not one string for each item.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> points = np.zeros((2, 1024, 3), dtype=np.float32)
            >>> HierarchicalDataset.from_arrays(points, [[0, 1], [1, 2]], tree).labels.tolist()
            [1, 2]
        """
        items = items if isinstance(items, PictureFiles) else _to_numpy(items)
        labels = _to_numpy(labels)
        if items.ndim == 3 and items.dtype in (np.float16, np.float64):
            items = items.astype(np.float32)
        _check_items(items)
        _check_finite(items)
        if labels.ndim == 2:
            labels = _leaf_labels(labels, hierarchy)
        if labels.dtype.kind in "iu":
            labels = labels.astype(np.int64, copy=False)
        _check_labels(labels, len(items), hierarchy)
        if ids is not None:
            ids = np.asarray(ids)
            ids = ids.astype(str) if ids.dtype.kind in "OSiu" else ids
        return cls(items, labels, hierarchy, name, note, ids)

    # ---- what is in it ----

    @property
    def kind(self) -> str:
        """ "images" or "points"."""
        return "images" if self.items.dtype == np.uint8 else "points"

    @property
    def labelled(self) -> bool:
        """Whether there are classes to tell apart: False when the hierarchy has a single leaf."""
        return self.hierarchy.n_leaves > 1

    def __len__(self) -> int:
        return len(self.labels)

    def labels_at(self, level: SupportsIndex) -> Int[np.ndarray, "n"]:
        """Give the label of every item at a level of the hierarchy."""
        return self.hierarchy.labels_at(self.labels, level)

    def counts(self, level: SupportsIndex = -1) -> Int[np.ndarray, "nodes"]:
        """Count the items of every node of a level; of the leaves when no level is given."""
        return self.hierarchy.counts(self.labels, level)

    def channel_mean_std(self) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
        """Measure the mean and standard deviation of each channel, pixels in [0, 1].

        At most 10,000 pictures are read, spread evenly over the data set.

        Raises ValueError for points.
        """
        if self.kind != "images":
            raise ValueError(f"{self.name!r} holds points: a channel mean is for images only")
        count = min(len(self), 10_000)
        chosen = np.arange(count) * len(self) // count
        total = np.zeros((2, self.items.shape[-1]))
        for start in range(0, count, 256):
            pixels = self.items[chosen[start : start + 256]].reshape(-1, self.items.shape[-1]) / 255.0
            total += pixels.sum(axis=0), (pixels**2).sum(axis=0)
        mean, square = total / (count * np.prod(self.items.shape[1:3]))
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def fingerprint(self) -> str:
        """A short hash of the labels and of up to 64 items spread over the data: equal for equal data sets."""
        sample = self.items[np.arange(min(64, len(self))) * len(self) // min(64, len(self))]
        content = np.ascontiguousarray(sample).tobytes() + self.labels.tobytes() + str(self.items.shape).encode()
        return hashlib.sha256(content).hexdigest()[:16]

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.items.shape[1:])
        tree = repr(self.hierarchy).removeprefix("Hierarchy(").removesuffix(")")
        note = f"; {self.note}" if self.note else ""
        return f"HierarchicalDataset({self.name!r}: {len(self):,} {self.kind} {size}, {tree}{note})"

    # ---- parts of it ----

    def take(self, index: Int[np.ndarray, "k"] | Bool[np.ndarray, "n"] | list[int]) -> "HierarchicalDataset":
        """Keep the items at these positions, in this order, or where a mask is true. The hierarchy stays whole.

        Shapes: positions ``[k]`` from 0 to n - 1, or a mask ``[n]``.

        Raises ValueError for a position that does not exist, a mask of another length, and when nothing is left.

        Example::

            >>> tree = Hierarchy.from_dict(["cat", "dog"])
            >>> data = HierarchicalDataset(np.zeros((3, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 1]), tree)
            >>> data.take([2, 0]).labels.tolist()
            [1, 0]
        """
        index = np.asarray(index)
        if index.dtype == bool:
            if index.shape != self.labels.shape:
                raise ValueError(f"the mask has shape {list(index.shape)}, but there are {len(self)} items")
            index = np.flatnonzero(index)
        if index.size == 0:
            raise ValueError(f"nothing of {self.name!r} is left: take at least one item")
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise ValueError(f"positions must be integers [k], got {index.dtype} {list(index.shape)}")
        outside = (index < 0) | (index >= len(self))
        if outside.any():
            raise ValueError(f"there is no item {index[outside][0]}; the items are 0 to {len(self) - 1}")
        items = self.items.take(index) if isinstance(self.items, PictureFiles) else self.items[index]
        ids = None if self.ids is None else self.ids[index]
        return replace(self, items=items, labels=self.labels[index], ids=ids)

    def under(self, *names: str) -> "HierarchicalDataset":
        """Keep the items under the named nodes, of any level, and reduce the hierarchy to these nodes.

        Raises ValueError for a name that is unknown or that several nodes share.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> data = HierarchicalDataset(np.zeros((3, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 2]), tree)
            >>> data.under("dog", "vehicle").hierarchy.leaf_names
            ('dog', 'car')
        """
        if not names:
            raise ValueError("under needs the name of at least one node")
        return self.with_leaves(
            np.concatenate([self.hierarchy.leaves_of(*self.hierarchy.node(name)) for name in names])
        )

    def with_leaves(self, leaves: Int[np.ndarray, " leaves"]) -> "HierarchicalDataset":
        """Keep the items of these leaves (their numbers), and reduce the hierarchy to them.

        Raises ValueError for no leaf, or a number that is none.

        Example::

            >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> data = HierarchicalDataset(np.zeros((3, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 2]), tree)
            >>> data.with_leaves(np.array([0, 2])).hierarchy.leaf_names
            ('cat', 'car')
        """
        hierarchy, old_to_new = self.hierarchy.subset(leaves)
        labels = old_to_new[self.labels]
        kept = self.take(labels >= 0)
        return replace(kept, labels=labels[labels >= 0], hierarchy=hierarchy)

    def per_class(self, count: int, seed: int = 0, allow_fewer: bool = False) -> "HierarchicalDataset":
        """Keep `count` items of every leaf, drawn at random, in their old order.

        Raises ValueError, with the class, for a leaf that has fewer; with ``allow_fewer`` all of its items are kept.

        Example::

            >>> tree = Hierarchy.from_dict(["cat", "dog"])
            >>> data = HierarchicalDataset(np.zeros((4, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 1, 0]), tree)
            >>> data.per_class(1).counts().tolist()
            [1, 1]
        """
        if count < 1:
            raise ValueError(f"per_class needs a count of at least 1, got {count}")
        counts = self.counts()
        if counts.min() < count and not allow_fewer:
            poor = int(np.argmax(counts < count))
            raise ValueError(
                f"{self.hierarchy.leaf_names[poor]!r} has {counts[poor]} items, fewer than {count}: "
                f"ask for fewer, or give allow_fewer=True"
            )
        return self.take(_draw(self.labels, np.minimum(counts, count), seed))

    def split(self, fraction: float, seed: int = 0) -> tuple["HierarchicalDataset", "HierarchicalDataset"]:
        """Split off a part that has the same share of every leaf, and return (rest, part).

        .. math:: n_part = round(fraction n), but at least 1 and at most n - 1, for a leaf with n > 1 items

        A leaf with one item keeps it in the rest.

        Raises ValueError for a fraction outside (0, 1), and when no leaf has two items.

        Example::

            >>> tree = Hierarchy.from_dict(["cat", "dog"])
            >>> labels = np.array([0, 0, 0, 0, 1, 1])
            >>> rest, part = HierarchicalDataset(np.zeros((6, 8, 8, 1), dtype=np.uint8), labels, tree).split(0.25)
            >>> rest.counts().tolist(), part.counts().tolist()
            ([3, 1], [1, 1])
        """
        if not 0 < fraction < 1:
            raise ValueError(f"the fraction must lie between 0 and 1, got {fraction}")
        counts = self.counts()
        if counts.max() < 2:
            raise ValueError(f"no class of {self.name!r} has two items: there is nothing to split")
        wanted = np.clip(np.rint(fraction * counts).astype(np.int64), 1, np.maximum(counts - 1, 1))
        part = np.zeros(len(self), dtype=bool)
        part[_draw(self.labels, np.where(counts > 1, wanted, 0), seed)] = True
        return self.take(~part), self.take(part)

    def long_tail(self, imbalance: float | int, level: SupportsIndex = -1, seed: int = 0) -> "HierarchicalDataset":
        """Thin the nodes of a level out so that their numbers of items fall off exponentially.

        .. math:: n_i = n_max imbalance^{-i / (nodes - 1)},  i = 0, ..., nodes - 1

        The nodes come in a random order; n_max is the largest number of items of a node, so imbalance is the largest
        number over the smallest. A node keeps at least one item, and all of them if it has fewer than n_i.

        Raises ValueError for an imbalance below 1.

        Example::

            >>> tree = Hierarchy.from_dict(["cat", "dog"])
            >>> data = HierarchicalDataset(np.zeros((8, 8, 8, 1), dtype=np.uint8), np.repeat([0, 1], 4), tree)
            >>> sorted(data.long_tail(imbalance=4).counts().tolist())
            [1, 4]
        """
        if not imbalance >= 1:
            raise ValueError(f"the imbalance is the largest over the smallest number, at least 1; got {imbalance}")
        counts = self.counts(level)
        place = np.random.default_rng(seed).permutation(len(counts))
        wanted = counts.max() * imbalance ** (-place / max(len(counts) - 1, 1))
        wanted = np.minimum(np.maximum(np.rint(wanted).astype(np.int64), 1), counts)
        return self.take(_draw(self.labels_at(level), wanted, seed))

    # ---- on disk ----

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the data set as an array store; see `hiercl.datasets.write_store`."""
        write_store(self, path, overwrite)

    @classmethod
    def load(cls, path: str | Path, mmap: bool = True, verify: bool = False) -> "HierarchicalDataset":
        """Read an array store; see `hiercl.datasets.read_store`."""
        return read_store(path, mmap, verify)


def check_same_hierarchy(train: HierarchicalDataset, test: HierarchicalDataset) -> None:
    """Raise ValueError unless the two data sets have the same hierarchy."""
    for name, data in {"train": train, "test": test}.items():
        if not isinstance(data, HierarchicalDataset):
            raise ValueError(
                f"{name} is a {type(data).__name__}, not a HierarchicalDataset: hiercl.load(name) gives (train, test)"
            )
    if train.hierarchy != test.hierarchy:
        raise ValueError(
            f"train has {train.hierarchy!r} and test {test.hierarchy!r}: take the same subset of both, for example "
            "train.under(...) and test.under(...) with the same names"
        )


def _draw(labels: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Draw wanted[k] of the positions that have label k, at random, and give them all in ascending order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels, minlength=len(wanted))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(len(labels)) - starts
    return np.sort(order[rank < wanted[labels[order]]])


def _to_numpy(array: Any) -> np.ndarray:
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    # np.asanyarray, not np.asarray: a memory-mapped array stays one.
    return np.asanyarray(array)


def _check_items(items: np.ndarray | PictureFiles) -> None:
    form = f"{items.dtype} {list(items.shape)}"
    if items.ndim == 4 and items.dtype.kind == "f":
        raise ValueError(
            f"images must be uint8 from 0 to 255, got {form}: "
            f"convert pixels in [0, 1] with (items * 255).round().astype('uint8')"
        )
    if items.ndim == 3 and items.dtype == np.uint8:
        raise ValueError(f"images must be [n, h, w, c], got {form}: add the channel axis with items[..., None]")
    if items.ndim == 4 and items.shape[1] in (1, 3) and items.shape[3] not in (1, 3, 4):
        raise ValueError(f"images must be [n, h, w, c], got {form}: move the channels with items.transpose(0, 2, 3, 1)")
    images = items.ndim == 4 and items.dtype == np.uint8 and items.shape[3] in (1, 3, 4)
    points = items.ndim == 3 and items.dtype == np.float32 and items.shape[2] == 3
    if not images and not points:
        raise ValueError(f"items must be images, uint8 [n, h, w, c], or points, float32 [n, p, 3]; got {form}")
    if 0 in items.shape:
        raise ValueError(f"a data set needs at least one item, and items that are not empty; got {form}")


def _check_finite(items: np.ndarray | PictureFiles) -> None:
    if items.dtype == np.uint8:
        return
    finite = np.isfinite(items).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(f"item {int(np.argmin(finite))} has points that are not finite: repair it or leave it out")


def _check_labels(labels: np.ndarray, n: int, hierarchy: Hierarchy) -> None:
    if labels.dtype.kind in "USO":
        raise ValueError("labels must be leaf ids: turn names into ids with Hierarchy.from_labels")
    if labels.dtype != np.int64:
        raise ValueError(f"labels must be int64 leaf ids, got {labels.dtype}: convert them with labels.astype('int64')")
    if labels.shape != (n,):
        raise ValueError(f"{n} items need labels [{n}], got {list(labels.shape)}")
    outside = (labels < 0) | (labels >= hierarchy.n_leaves)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"item {row} has label {labels[row]}, but the leaves are 0 to {hierarchy.n_leaves - 1}")


def _check_ids(ids: np.ndarray | None, n: int) -> None:
    if ids is None:
        return
    if ids.dtype.kind != "U":
        raise ValueError(f"ids must be strings, got {ids.dtype}: convert them with ids.astype(str)")
    if ids.shape != (n,):
        raise ValueError(f"{n} items need ids [{n}], got {list(ids.shape)}")


def _leaf_labels(columns: np.ndarray, hierarchy: Hierarchy) -> np.ndarray:
    """Check label columns [n, levels] against the hierarchy and give the leaf ids."""
    if columns.shape[1] != hierarchy.levels:
        raise ValueError(f"the labels have {columns.shape[1]} columns, but the hierarchy has {hierarchy.levels} levels")
    leaf = np.ascontiguousarray(columns[:, -1])
    if leaf.dtype.kind in "iu":
        leaf = leaf.astype(np.int64)
    _check_labels(leaf, len(columns), hierarchy)
    wrong = np.argwhere(columns != hierarchy.ancestors[leaf])
    if len(wrong):
        row, level = wrong[0]
        raise ValueError(
            f"item {row} is a {hierarchy.leaf_names[leaf[row]]!r}, whose label at level {level} "
            f"is {hierarchy.ancestors[leaf[row], level]}, but its labels are {columns[row].tolist()}"
        )
    return leaf


def read_store(path: str | Path, mmap: bool = True, verify: bool = False) -> HierarchicalDataset:
    """Read an array store; the items stay on disk and are memory-mapped, unless ``mmap`` is false.

    The sizes and forms of the files are always checked, their checksums only with ``verify``, which reads all of them.

    Raises FileNotFoundError for a file that is missing, and RuntimeError for a file that is cut, altered or of a
    format that this version does not know; both name the file and say what to do.

    Example::

        >>> train = read_store("my_data/train", verify=True)  # doctest: +SKIP
    """
    try:
        return HierarchicalDataset(**read_fields(path, mmap, verify))
    except (ValueError, TypeError) as error:
        raise altered(Path(path), error) from error
