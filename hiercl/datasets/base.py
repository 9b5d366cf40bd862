"""`HierarchicalDataset`: items, their leaf labels, and the hierarchy of the labels."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from hiercl.datasets.features import (
    Pictured,
    as_item_names,
    as_leaves,
    as_vectors,
    check_hierarchy,
    check_source,
    take_source,
    to_numpy,
)
from hiercl.datasets.items import FORMS, ItemForm, channel_mean_std, form_of
from hiercl.datasets.limits import check_room
from hiercl.datasets.pictures.files import PictureFiles
from hiercl.datasets.rows import Rows, take_items
from hiercl.datasets.store import altered, read_fields, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import blocks
from hiercl.runtime.errors import unknown
from hiercl.runtime.given import given_array, given_path, whole_number
from hiercl.runtime.types import Bool, Float, Int, UInt8

__all__ = [
    "SPLITS",
    "HierarchicalDataset",
    "Splits",
    "check_same_hierarchy",
    "check_shared_leaf",
    "read_splits",
    "read_store",
]

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False, repr=False)
class HierarchicalDataset:
    """Images, point clouds or vectors, the leaf label of each item, and the hierarchy of the labels.

    Attributes:
        items: images, uint8 ``[n, h, w, c]``, point clouds, float32 ``[n, p, 3]``, or vectors, float32
            ``[n, views, features]``, in memory or memory-mapped; or picture files, which are decoded when they are
            indexed (`PictureFiles`); or rows of a memory-mapped array that is too large to copy (`Rows`). View 0 of a
            vector is the item itself; the others are random views of it.
        labels: leaf ids, int64 ``[n]``; −1 for an item without a label.
        hierarchy: the classes at every level.
        name: name of the data set.
        note: what a reader of results must know, such as "partial: 50 of the 100 test pictures of each class".
        ids: names of the items, such as "chair_0890", unicode ``[n]``; None if they have no names.
        source: what vectors were made of, in the same order, which plots show: a data set of pictures or clouds, one
            text for each item, or an object that gives pictures when it is asked
            (:class:`hiercl.datasets.features.Pictured`). None: plots name the classes instead.
        modality: the kind of items, "images", "points" or "vectors"; by default images or points, as the items are.

    Raises:
        ValueError: items or labels have another form. :meth:`from_arrays` and :meth:`from_features` convert more and
            check more.

    Example:
        >>> tree = hiercl.Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> images = np.zeros((6, 32, 32, 3), dtype=np.uint8)
        >>> HierarchicalDataset(images, np.array([0, 0, 1, 1, 2, 2]), tree)
        HierarchicalDataset('arrays': 6 images 32x32x3, 2 level 0 > 3 level 1)
    """

    items: (
        UInt8[np.ndarray, "n h w c"] | Float[np.ndarray, "n p 3"] | Float[np.ndarray, "n views d"] | PictureFiles | Rows
    )
    labels: Int[np.ndarray, "n"]
    hierarchy: Hierarchy
    name: str = "arrays"
    note: str = ""
    ids: np.ndarray | None = None
    source: "HierarchicalDataset | tuple[str, ...] | Pictured | None" = None
    modality: str = ""

    def __post_init__(self):
        if not isinstance(self.items, np.ndarray | PictureFiles | Rows) or not isinstance(self.labels, np.ndarray):
            raise ValueError("items and labels must be arrays: HierarchicalDataset.from_arrays makes them of lists")
        check_hierarchy(self.hierarchy)
        for what in ("name", "note"):
            if not isinstance(getattr(self, what), str):
                raise ValueError(f"{what}={getattr(self, what)!r}: give a text")
        object.__setattr__(self, "modality", _checked_modality(self.items, self.modality))
        object.__setattr__(self, "source", check_source(self.source, len(self.items)))
        if self.source is not None and self.modality != "vectors":
            raise ValueError(f"source says what vectors were made of, and the items are {self.modality}: leave it out")
        _check_labels(self.labels, len(self.items), self.hierarchy)
        _check_ids(self.ids, len(self.items))

    @classmethod
    def from_arrays(
        cls, items: Any, labels: Any, hierarchy: Hierarchy, name: str = "arrays", note: str = "", ids: Any = None
    ) -> "HierarchicalDataset":
        """Makes a data set from arrays or tensors.

        Arrays that have the right type already are not copied: memory-mapped items stay on disk, and picture files stay
        undecoded.

        Args:
            items: images, uint8 ``[n, h, w, c]``, or points, floating ``[n, p, 3]``.
            labels: leaf ids ``[n]``, or label columns ``[n, levels]`` from coarse to fine, which must agree with the
                hierarchy. −1 (in all columns) is an item without a label.
            hierarchy: the classes at every level.
            name: name of the data set.
            note: what a reader of results must know.
            ids: names of the items, strings or integers ``[n]``.

        Returns:
            The data set.

        Raises:
            ValueError: images are floats or have channels first, points are not finite, labels are no integers, are no
                leaves or do not agree with the hierarchy, or ids are not one string for each item. The message names
                the first wrong item and says what to do.

        Example:
            >>> tree = hiercl.Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
            >>> points = np.zeros((2, 1024, 3), dtype=np.float32)
            >>> HierarchicalDataset.from_arrays(points, [[0, 1], [1, 2]], tree).labels.tolist()
            [1, 2]
        """
        items = items if isinstance(items, PictureFiles) else to_numpy(items, "items")
        labels = to_numpy(labels, "labels")
        check_hierarchy(hierarchy)
        if items.ndim == 3 and items.dtype in (np.float16, np.float64):
            check_room(4 * items.size, f"the points {list(items.shape)}, in float32,", math.inf)
            items = items.astype(np.float32)
        if labels.ndim == 2:
            labels = _leaf_labels(labels, hierarchy)
        if labels.dtype.kind in "iu":
            labels = labels.astype(np.int64, copy=False)
        made = cls(items, labels, hierarchy, name, note, as_item_names(ids))
        if items.dtype != np.uint8:
            finite = np.ones(len(items), dtype=bool)
            for rows in blocks(len(items), items[0].size):
                finite[rows] = np.isfinite(items[rows]).all(axis=(1, 2))
            if not finite.all():
                wrong = int(np.argmin(finite))
                raise ValueError(f"item {wrong} has points that are not finite: repair it or leave it out")
        return made

    @classmethod
    def from_features(
        cls,
        features: Any,
        labels: Any = None,
        hierarchy: Hierarchy | None = None,
        name: str = "features",
        note: str = "",
        ids: Any = None,
        source: Any = None,
    ) -> "HierarchicalDataset":
        """Makes a data set of vectors: features of a model, embeddings of texts, sounds or cells, counts.

        Features that are float32 already are not copied: memory-mapped ones stay on disk.

        Args:
            features: numbers ``[n, features]`` or ``[n, views, features]``: numpy, torch, a sparse matrix or lists.
                With views, view 0 is the item itself, which features and tests are computed from; the others are
                random views of it (of an augmented picture, for example), which training draws from.
            labels: leaf ids ``[n]``, columns of ids ``[n, levels]`` from coarse to fine, names of leaves, or columns of
                names. None: no labels.
            hierarchy: the classes at every level; by default those that occur in the labels
                (:meth:`hiercl.Hierarchy.from_labels`). Give the test set the hierarchy of the training set.
            name: name of the data set.
            note: what a reader of results must know.
            ids: names of the items, strings or integers ``[n]``.
            source: what the vectors were made of, see the attribute.

        Returns:
            The data set.

        Raises:
            ValueError: features of another shape or not finite, labels that do not fit the hierarchy, or a source of
                another length. The message names the first wrong item and says what to do.

        Example:
            >>> texts = ["a cat sleeps", "a car stops", "a dog barks"]
            >>> names = [["animal", "cat"], ["vehicle", "car"], ["animal", "dog"]]
            >>> HierarchicalDataset.from_features(np.random.rand(3, 16), names, source=texts)
            HierarchicalDataset('features': 3 vectors 1x16, 2 level 0 > 3 level 1)
        """
        items = as_vectors(features)
        labels, hierarchy = as_leaves(labels, hierarchy, len(items))
        if labels.ndim == 2:
            labels = _leaf_labels(labels, hierarchy)
        if labels.dtype.kind in "iu":
            labels = labels.astype(np.int64, copy=False)
        return cls(items, labels, hierarchy, name, note, as_item_names(ids), source, "vectors")

    # ---- what is in it ----

    @property
    def form(self) -> ItemForm:
        """What one kind of item its items are, such as :data:`hiercl.datasets.items.IMAGES`."""
        return FORMS[self.modality]

    @property
    def labelled(self) -> bool:
        """Whether there are classes: False when the hierarchy has a single leaf, or when no item has a label."""
        return self.hierarchy.n_leaves > 1 and bool(self.has_label.any())

    @property
    def has_label(self) -> Bool[np.ndarray, "n"]:
        """Which items have a label: False where it is −1."""
        return self.labels >= 0

    @property
    def labelled_part(self) -> "HierarchicalDataset":
        """The items that have a label; the data set itself if all of them have one.

        Raises:
            ValueError: no item has a label.

        Example:
            >>> mixed = replace(train, labels=np.where(np.arange(120) < 100, train.labels, -1))
            >>> len(mixed.labelled_part)
            100
        """
        return self if self.has_label.all() else self.take(self.has_label)

    def __len__(self) -> int:
        return len(self.labels)

    def labels_at(self, level: SupportsIndex) -> Int[np.ndarray, "n"]:
        """Returns the label of every item at a level of the hierarchy, int64 ``[n]``; −1 for an item without a label.

        Example:
            >>> train.labels_at(0).shape
            (120,)
        """
        return np.asarray(self.hierarchy.labels_at(self.labels, level))

    def counts(self, level: SupportsIndex = -1) -> Int[np.ndarray, "nodes"]:
        """Counts the items of every node of a level, by default of the leaves. Items without a label do not count.

        Example:
            >>> train.counts(0).tolist()
            [40, 20, 28, 16, 16]
        """
        return self.hierarchy.counts(self.labels, level)

    def channel_mean_std(self) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
        """Measures the mean and standard deviation of each channel, with pixels in [0, 1].

        At most 10,000 pictures are read, spread evenly over the data set.

        Returns:
            Mean and standard deviation, float64 ``[c]`` each.

        Raises:
            ValueError: the items are no images.

        Example:
            >>> mean, std = train.channel_mean_std()
            >>> mean.shape
            (3,)
        """
        if self.modality != "images":
            raise ValueError(f"{self.name!r} holds {self.modality}: a channel mean is for images only")
        return channel_mean_std(self.items)

    def fingerprint(self) -> str:
        """Returns a short hash of the labels and of up to 64 items: equal data sets have the same one.

        Example:
            >>> train.fingerprint() == test.fingerprint()
            False
        """
        sample = self.items[np.arange(min(64, len(self))) * len(self) // min(64, len(self))]
        content = np.ascontiguousarray(sample).tobytes() + self.labels.tobytes() + str(self.items.shape).encode()
        return hashlib.sha256(content).hexdigest()[:16]

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.items.shape[1:])
        tree = repr(self.hierarchy).removeprefix("Hierarchy(").removesuffix(")")
        missing = int((~self.has_label).sum())
        note = f"; {missing:,} without a label" * bool(missing) + (f"; {self.note}" if self.note else "")
        return f"HierarchicalDataset({self.name!r}: {len(self):,} {self.modality} {size}, {tree}{note})"

    # ---- parts of it ----

    def take(self, index: Int[np.ndarray, "k"] | Bool[np.ndarray, "n"] | list[int]) -> "HierarchicalDataset":
        """Keeps the items at some positions, in this order, or where a mask is true. The hierarchy does not change.

        Args:
            index: positions ``[k]`` from 0 to n - 1, or a mask ``[n]``.

        Returns:
            The smaller data set.

        Raises:
            ValueError: a position does not exist, the mask has another length, or no item is left.

        Example:
            >>> train.take([2, 0]).labels.tolist()
            [0, 0]
        """
        index = given_array(index, "positions")
        if index.dtype == bool:
            if index.shape != self.labels.shape:
                raise ValueError(f"the mask has shape {list(index.shape)}, but there are {len(self)} items")
            index = np.flatnonzero(index)
        if index.size == 0:
            raise ValueError(f"no item of {self.name!r} is left: take at least one")
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise ValueError(f"positions must be integers [k], got {index.dtype} {list(index.shape)}")
        outside = (index < 0) | (index >= len(self))
        if outside.any():
            raise ValueError(f"there is no item {index[outside][0]}; the items are 0 to {len(self) - 1}")
        items = take_items(self.items, index)
        ids = None if self.ids is None else self.ids[index]
        source = take_source(self.source, index)
        return replace(self, items=items, labels=self.labels[index], ids=ids, source=source)

    def under(self, *names: str) -> "HierarchicalDataset":
        """Keeps the items under the named nodes, of any level, and reduces the hierarchy to these nodes.

        Items without a label are left out.

        Args:
            names: names of nodes, or paths from the top such as "animal/cat".

        Returns:
            The smaller data set, with a smaller hierarchy.

        Raises:
            ValueError: a name is unknown, or several nodes have it.

        Example:
            >>> train.under("dog", "cups").hierarchy.leaf_names
            ('mug', 'wine glass', 'dog')
        """
        if not names:
            raise ValueError("under needs the name of at least one node")
        return self.with_leaves(
            np.concatenate([self.hierarchy.leaves_of(*self.hierarchy.node(name)) for name in names])
        )

    def with_leaves(self, leaves: Int[np.ndarray, " leaves"]) -> "HierarchicalDataset":
        """Keeps the items of some leaves, and reduces the hierarchy to these leaves.

        Items without a label are left out.

        Args:
            leaves: leaf ids.

        Returns:
            The smaller data set, with a smaller hierarchy.

        Raises:
            ValueError: there is no leaf, or an id that is no leaf.

        Example:
            >>> train.with_leaves(np.array([0, 2])).hierarchy.leaf_names
            ('chair', 'bench')
        """
        hierarchy, old_to_new = self.hierarchy.subset(leaves)
        labels = np.where(self.has_label, old_to_new[self.labels], -1)
        kept = self.take(labels >= 0)
        return replace(kept, labels=labels[labels >= 0], hierarchy=hierarchy)

    @checked
    def per_class(self, count: int, seed: int = 0, allow_fewer: bool = False) -> "HierarchicalDataset":
        """Keeps `count` items of every leaf, drawn at random, in their old order.

        Items without a label are left out.

        Args:
            count: items of each leaf, at least 1.
            seed: seed of the draw.
            allow_fewer: keep all items of a leaf that has fewer than `count`.

        Returns:
            The smaller data set.

        Raises:
            ValueError: a leaf has fewer items, and ``allow_fewer`` is False; the message names the leaf.

        Example:
            >>> len(train.per_class(1))
            30
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
        return self.take(_draw(self.labels, np.append(np.minimum(counts, count), 0), seed))

    @checked
    def split(self, fraction: float, seed: int = 0) -> tuple["HierarchicalDataset", "HierarchicalDataset"]:
        r"""Splits off a part that has the same share of every leaf.

        From a leaf with $n > 1$ items the part gets

        $$n_\text{part} = \min(\max(\operatorname{round}(\text{fraction}\cdot n), 1), n - 1)$$

        items. A leaf with one item stays in the rest. Items without a label are split like those of a leaf.

        Args:
            fraction: share of the part, between 0 and 1.
            seed: seed of the draw.

        Returns:
            The rest, and the part.

        Raises:
            ValueError: the fraction is not between 0 and 1, or no leaf has two items.

        Example:
            >>> rest, part = train.split(0.25)
            >>> len(rest), len(part)
            (90, 30)
        """
        part = self.split_mask(fraction, seed)
        return self.take(~part), self.take(part)

    @checked
    def split_mask(self, fraction: float, seed: int = 0) -> Bool[np.ndarray, "n"]:
        """Returns a mask ``[n]`` of the items that :meth:`split` splits off, for the same arguments.

        Example:
            >>> int(train.split_mask(0.25).sum())
            30
        """
        if not 0 < fraction < 1:
            raise ValueError(f"the fraction must lie between 0 and 1, got {fraction}")
        counts = self._counts_and_unlabelled()
        if counts.max() < 2:
            raise ValueError(f"no class of {self.name!r} has two items: there is nothing to split")
        wanted = np.clip(np.rint(fraction * counts).astype(np.int64), 1, np.maximum(counts - 1, 1))
        part = np.zeros(len(self), dtype=bool)
        part[_draw(self.labels, np.where(counts > 1, wanted, 0), seed)] = True
        return part

    @checked
    def long_tail(self, imbalance: float | int, level: SupportsIndex = -1, seed: int = 0) -> "HierarchicalDataset":
        r"""Thins out the nodes of a level, so that their numbers of items decrease exponentially.

        $$n_i = n_\max\, \text{imbalance}^{-i / (\text{nodes} - 1)},\quad i = 0, \dots, \text{nodes} - 1$$

        The nodes come in a random order, and $n_\max$ is the number of items of the largest node. A node keeps at least
        one item; it keeps all of its items if it has fewer than $n_i$. Items without a label all stay.

        Args:
            imbalance: largest number of items divided by the smallest, at least 1.
            level: level of the nodes, by default the leaves.
            seed: seed of the order of the nodes and of the draw.

        Returns:
            The smaller data set.

        Raises:
            ValueError: the imbalance is below 1.

        Example:
            >>> sorted(train.long_tail(imbalance=4, level=0).counts(0).tolist())
            [10, 14, 16, 16, 20]
        """
        if not imbalance >= 1:
            raise ValueError(f"the imbalance is the largest over the smallest number, at least 1; got {imbalance}")
        counts = self.counts(level)
        place = np.random.default_rng(whole_number(seed, "seed", least=0)).permutation(len(counts))
        wanted = counts.max() * imbalance ** (-place / max(len(counts) - 1, 1))
        wanted = np.minimum(np.maximum(np.rint(wanted).astype(np.int64), 1), counts)
        unlabelled = self._counts_and_unlabelled(level)[-1]
        return self.take(_draw(self.labels_at(level), np.append(wanted, unlabelled), seed))

    @checked
    def shuffle_labels(self, share: float | int = 1.0, seed: int = 0) -> "HierarchicalDataset":
        """Shuffles the labels of a random share of the items among each other. Every class keeps its number of items.

        This is a control: a method that uses labels, and a share of them that means nothing. Some of the shuffled items
        get their own class by chance.

        Args:
            share: share of the labelled items, from 0 to 1.
            seed: seed of the draw.

        Returns:
            The same items with other labels.

        Raises:
            ValueError: the share is not between 0 and 1.

        Example:
            >>> wrong = train.shuffle_labels(0.5)
            >>> bool((wrong.labels == train.labels).all()), bool((wrong.counts() == train.counts()).all())
            (False, True)
        """
        if not 0 <= share <= 1:
            raise ValueError(f"the share must lie between 0 and 1, got {share}")
        rng = np.random.default_rng(whole_number(seed, "seed", least=0))
        known = rng.permutation(np.flatnonzero(self.has_label))
        drawn, labels = known[: round(share * len(known))], self.labels.copy()
        labels[drawn] = labels[rng.permutation(drawn)]
        return replace(self, labels=labels)

    def _counts_and_unlabelled(self, level: SupportsIndex = -1) -> np.ndarray:
        """Counts the items of every node of a level, and as one more number those without a label."""
        return np.append(self.counts(level), (~self.has_label).sum())

    # ---- on disk ----

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Writes the data set as an array store; see :func:`hiercl.datasets.write_store`.

        Example:
            >>> train.save("my_data/train")
        """
        write_store(self, path, overwrite)

    @classmethod
    def load(cls, path: str | Path, mmap: bool = True, verify: bool = False) -> "HierarchicalDataset":
        """Reads an array store; see :func:`hiercl.datasets.read_store`.

        Example:
            >>> train.save("my_data")
            >>> len(hiercl.datasets.HierarchicalDataset.load("my_data"))
            120
        """
        return read_store(path, mmap, verify)


Splits = tuple[HierarchicalDataset, HierarchicalDataset]


def check_same_hierarchy(train: HierarchicalDataset, test: HierarchicalDataset) -> None:
    """Checks that two data sets have the same hierarchy.

    Raises:
        ValueError: the hierarchies differ, or an argument is no data set.

    Example:
        >>> check_same_hierarchy(train, test)
    """
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


def check_shared_leaf(train: np.ndarray, test: np.ndarray, hierarchy: Hierarchy, name: str) -> None:
    """Checks that some class has both training and test items, where both have labels.

    Args:
        train: leaf ids of the training items; −1: no label.
        test: leaf ids of the test items.
        hierarchy: the classes.
        name: name of the data set, for the message.

    Raises:
        ValueError: no class has items of both; the message names some of each.

    Example:
        >>> check_shared_leaf(train.labels, test.labels, train.hierarchy, "shapes")
    """
    parts = [np.unique(labels[labels >= 0]) for labels in (train, test)]
    if all(map(len, parts)) and not len(np.intersect1d(parts[0], parts[1])):
        names = [", ".join("/".join(hierarchy.path(leaf)) for leaf in part[:3]) for part in parts]
        raise ValueError(
            f"training and test set of {name!r} have no class in common: the training items are {names[0]}, ..., the "
            f"test items {names[1]}, ...: give the classes of both the same names, or read each part alone"
        )


def _draw(labels: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Draws wanted[k] of the positions with label k at random; returns all drawn positions in ascending order.

    The last number is how many of those without a label are drawn.
    """
    generator = np.random.default_rng(whole_number(seed, "seed", least=0))
    labels = np.where(labels < 0, len(wanted) - 1, labels)
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels, minlength=len(wanted))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(len(labels)) - starts
    return np.sort(order[rank < wanted[labels[order]]])


def _checked_modality(items: np.ndarray | PictureFiles | Rows, modality: str) -> str:
    """Returns the kind of items: the given one if they are of it, else the one that they show."""
    if not modality:
        _check_items(items)
        return form_of(items).name
    if modality not in FORMS:
        raise unknown("kind of items", modality, FORMS)
    if not FORMS[modality].matches(items) or 0 in items.shape:
        raise ValueError(f"these items are no {modality}, or there are none: {items.dtype} {list(items.shape)}")
    return modality


def _check_items(items: np.ndarray | PictureFiles | Rows) -> None:
    form = f"{items.dtype} {list(items.shape)}"
    if items.dtype == object:
        raise ValueError(
            f"items must be numbers, got {form}: pictures and clouds of different sizes cannot be in one array; resize "
            "the pictures, or draw the same number of points of every cloud"
        )
    if items.ndim == 4 and items.dtype.kind == "f":
        raise ValueError(
            f"images must be uint8 from 0 to 255, got {form}: "
            f"convert pixels in [0, 1] with (items * 255).round().astype('uint8')"
        )
    if items.ndim == 3 and items.dtype == np.uint8:
        raise ValueError(f"images must be [n, h, w, c], got {form}: add the channel axis with items[..., None]")
    if items.ndim == 4 and items.shape[1] in (1, 3) and items.shape[3] not in (1, 3, 4):
        raise ValueError(f"images must be [n, h, w, c], got {form}: move the channels with items.transpose(0, 2, 3, 1)")
    form_of(items)  # raises ValueError if they are of no known form
    if 0 in items.shape:
        raise ValueError(f"a data set needs at least one item, and items that are not empty; got {form}")


def _check_labels(labels: np.ndarray, n: int, hierarchy: Hierarchy) -> None:
    if labels.dtype.kind in "USO":
        raise ValueError("labels must be leaf ids: turn names into ids with hiercl.Hierarchy.from_labels")
    if labels.dtype != np.int64:
        raise ValueError(f"labels must be int64 leaf ids, got {labels.dtype}: convert them with labels.astype('int64')")
    if labels.shape != (n,):
        raise ValueError(f"{n} items need labels [{n}], got {list(labels.shape)}")
    outside = (labels < -1) | (labels >= hierarchy.n_leaves)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"item {row} has label {labels[row]}, but the leaves are 0 to {hierarchy.n_leaves - 1}, and −1 is no label"
        )


def _check_ids(ids: np.ndarray | None, n: int) -> None:
    if ids is None:
        return
    if ids.dtype.kind != "U":
        raise ValueError(f"ids must be strings, got {ids.dtype}: convert them with ids.astype(str)")
    if ids.shape != (n,):
        raise ValueError(f"{n} items need ids [{n}], got {list(ids.shape)}")


def _leaf_labels(columns: np.ndarray, hierarchy: Hierarchy) -> np.ndarray:
    """Checks label columns [n, levels] against the hierarchy and returns the leaf ids."""
    if columns.shape[1] != hierarchy.levels:
        raise ValueError(f"the labels have {columns.shape[1]} columns, but the hierarchy has {hierarchy.levels} levels")
    leaf = np.ascontiguousarray(columns[:, -1])
    if leaf.dtype.kind in "iu":
        leaf = leaf.astype(np.int64)
    _check_labels(leaf, len(columns), hierarchy)
    right = hierarchy.labels_at_all(leaf)
    wrong = np.argwhere(columns != right)
    if len(wrong):
        row, level = wrong[0]
        if leaf[row] < 0:
            raise ValueError(
                f"item {row} has no leaf, but its labels are {columns[row].tolist()}: an item without a label has −1 "
                f"in all columns"
            )
        raise ValueError(
            f"item {row} is a {hierarchy.leaf_names[leaf[row]]!r}, whose label at level {level} "
            f"is {right[row, level]}, but its labels are {columns[row].tolist()}"
        )
    return leaf


def read_store(path: str | Path, mmap: bool = True, verify: bool = False) -> HierarchicalDataset:
    """Reads an array store.

    Args:
        path: folder of the store.
        mmap: leave the items on disk and map them into memory; False reads them into memory.
        verify: compare the checksums, which reads all files. Sizes and forms of the files are always checked.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: a file is missing.
        RuntimeError: a file is cut or altered, or this version does not know its format. The message names the file
            and says what to do.

    Example:
        >>> train.save("my_data/train")
        >>> len(read_store("my_data/train", verify=True))
        120
    """
    fields = read_fields(path, mmap, verify)
    if isinstance(fields["source"], Path):
        fields["source"] = read_store(fields["source"], mmap, verify)
    try:
        return HierarchicalDataset(**fields)
    except (ValueError, TypeError) as error:
        raise altered(Path(path), error) from error


def read_splits(folder: str | Path, mmap: bool = True, verify: bool = False) -> Splits:
    """Reads the stores ``train`` and ``test`` of a folder, as :func:`read_store` does.

    Example:
        >>> train.save("mine/train"), test.save("mine/test")
        (None, None)
        >>> [len(part) for part in read_splits("mine")]
        [120, 60]
    """
    folder = given_path(folder, "folder")
    return read_store(folder / "train", mmap, verify), read_store(folder / "test", mmap, verify)
