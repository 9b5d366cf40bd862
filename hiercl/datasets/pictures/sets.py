"""From a list of pictures to data sets: decoded once into an array store, or again whenever they are needed."""

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.pictures.files import PictureFiles, UnreadablePictures
from hiercl.datasets.root import data_root
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy

__all__ = ["UNLABELLED", "Listing", "Reading", "data_sets", "reading"]

VERSION = 1  # of the decoding: raise it with every change that changes pixels, or old stores stay in use
MARGIN = 1 << 30  # bytes of the disk that a store leaves free
UNLABELLED = ("unlabelled",)  # the classes of a picture without any


@dataclass(frozen=True)
class Listing:
    """Pictures and what is known of them: ``paths`` relative to ``root``, the names of the ``classes`` of each, coarse
    to fine, and for each its part in ``splits``, "train" or "test", or nothing at all."""

    name: str
    root: Path
    paths: list[str]
    classes: list[tuple[str, ...]]
    splits: list[str]
    level_names: tuple[str, ...] = ()
    note: str = ""

    def without(self, problems: dict[str, str]) -> "Listing":
        """Leave out the pictures with problems, and say so in the note."""
        rows = [row for row, path in enumerate(self.paths) if path not in problems]
        if not rows:
            raise ValueError(f"not one of the {len(self.paths)} pictures in {self.root} can be read")
        return replace(
            self,
            paths=[self.paths[row] for row in rows],
            classes=[self.classes[row] for row in rows],
            splits=[self.splits[row] for row in rows] if self.splits else [],
            note=_joined(self.note, f"{_pictures(len(problems))} left out that cannot be read"),
        )


@dataclass(frozen=True)
class Reading:
    """How pictures are read; `folder` explains the options. ``cache`` is the folder that stores go to."""

    cache: Path
    size: int = 32
    store: bool | str = "auto"
    skip_unreadable: bool = False

    def __post_init__(self):
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size={self.size!r}: it is the side of the pictures in pixels, an integer of at least 1")
        if self.store not in ("auto", True, False):
            raise ValueError(f"store={self.store!r}: it is 'auto', True or False")

    def to_store(self, n_bytes: int) -> bool:
        """Whether decoded pictures go into an array store: if that is wanted and there is room."""
        there = next(folder for folder in (self.cache, *self.cache.absolute().parents) if folder.exists())
        room = shutil.disk_usage(there).free - MARGIN
        if self.store is True and n_bytes > room:
            raise OSError(
                f"the decoded pictures take {n_bytes / 2**30:.1f} GiB, but {self.cache} has only {room / 2**30:.1f} "
                f"GiB to spare: free some, give a smaller size or another root, or decode on the fly with store=False"
            )
        return self.store is not False and n_bytes <= room


def reading(root: str | Path | None, size: int, store: bool | str, skip_unreadable: bool) -> Reading:
    """Check the options; stores go into the folder ``folders`` of ``root``, by default of `data_root`."""
    return Reading((data_root() if root is None else Path(root)) / "folders", size, store, skip_unreadable)


def data_sets(listing: Listing, how: Reading, split: bool, tried: bool = False) -> tuple[HierarchicalDataset, ...]:
    """Make one data set of the pictures, or with ``split`` two, training and test.

    Without a split of its own, a stratified fifth of the listing becomes the test set. Every picture is decoded once to
    see whether it can be; what cannot be read is remembered. ``tried`` says that this has been done.

    Raises UnreadablePictures with all that cannot be read; with ``skip_unreadable`` they are left out and counted in a
    warning and in the note.
    """
    whole, train = _in_order(listing, how.size, split)
    place = how.cache / f"{listing.name}-{_fingerprint(whole)}"
    items, problems = _items(whole, place, how, tried)
    if problems:
        error = UnreadablePictures(listing.root, problems)
        if not how.skip_unreadable:
            raise error
        rest = listing.without(problems)
        warnings.warn(f"skip_unreadable: {_pictures(len(problems))} left out.\n{error}", stacklevel=4)
        return data_sets(rest, how, split, tried=True)
    whole = replace(whole, items=items)
    if not split:
        return (whole,)
    note = _joined(whole.note, _missing_classes(whole, train))
    return tuple(
        HierarchicalDataset(_slice(items, part), whole.labels[part], whole.hierarchy, whole.name, note)
        for part in (slice(0, train), slice(train, len(whole)))
    )


# ---- labels and split ----


def _in_order(listing: Listing, size: int, split: bool) -> tuple[HierarchicalDataset, int]:
    """The undecoded data set, with training pictures before test pictures, and the number of the former.

    In this order both are slices of one store, which can stay on disk.
    """
    hierarchy, labels = _hierarchy(listing)
    files = PictureFiles(listing.root, np.array(listing.paths), size)
    whole = HierarchicalDataset(files, labels, hierarchy, listing.name, listing.note)
    if not split:
        return whole, len(whole)
    if listing.splits:
        is_test = np.array(listing.splits) == "test"
        if is_test.all() or not is_test.any():
            raise ValueError(f"all pictures of {listing.name!r} are {listing.splits[0]} pictures: both parts need some")
        order, train = np.argsort(is_test, kind="stable"), int((~is_test).sum())
        return whole.take(order), train
    if whole.counts().max() < 2:
        raise ValueError(
            f"every class of {listing.name!r} has a single picture, so there is nothing to split into training and "
            f"test: choose coarser classes, or read it with hiercl.datasets.folder or hiercl.datasets.table as one set"
        )
    rest, part = whole.split(0.2, seed=0)
    both = PictureFiles(listing.root, np.concatenate([rest.items.paths, part.items.paths]), size)
    note = _joined(listing.note, "test is a stratified fifth of the pictures")
    labels = np.concatenate([rest.labels, part.labels])
    return HierarchicalDataset(both, labels, hierarchy, listing.name, note), len(rest)


def _hierarchy(listing: Listing) -> tuple[Hierarchy, np.ndarray]:
    """The tree of the class names and the leaf of every picture; a class that ends early is carried down."""
    leaves = sorted(set(listing.classes))
    nested: dict = {}
    for leaf in leaves:
        inner = nested
        for name in leaf:
            inner = inner.setdefault(name, {})
    number = {leaf: i for i, leaf in enumerate(leaves)}
    labels = np.array([number[leaf] for leaf in listing.classes], dtype=np.int64)
    level_names = ("all",) if leaves == [UNLABELLED] else listing.level_names or None
    return Hierarchy.from_dict(nested, level_names), labels


def _missing_classes(whole: HierarchicalDataset, train: int) -> str:
    parts = {"training": whole.labels[:train], "test": whole.labels[train:]}
    notes = []
    for part, labels in parts.items():
        missing = np.setdiff1d(np.arange(whole.hierarchy.n_leaves), labels)
        if len(missing):
            names = ", ".join("/".join(whole.hierarchy.path(leaf)) for leaf in missing[:5])
            notes.append(f"no {part} pictures of {len(missing)} of the classes: {names}" + ", ..." * (len(missing) > 5))
    return _joined(*notes)


def _slice(items: np.ndarray | PictureFiles, part: slice) -> np.ndarray | PictureFiles:
    return items.take(part) if isinstance(items, PictureFiles) else items[part]


# ---- decoding, and what is remembered of it ----


def _items(
    whole: HierarchicalDataset, place: Path, how: Reading, tried: bool
) -> tuple[np.ndarray | PictureFiles, dict[str, str]]:
    """The decoded pictures, or the files if they are decoded on the fly, and which of them cannot be read."""
    known = {} if tried else _recall(place)
    if known:
        return whole.items, known
    try:
        if how.store is not False and not is_store(place) and how.to_store(whole.items.nbytes):
            _write(whole, place, must=how.store is True)
        if how.store is not False and is_store(place):
            return read_store(place).items, {}
        if known is None:
            for _ in whole.items.blocks():
                pass
            _remember(place, {})
    except UnreadablePictures as error:
        if error.lasting:
            _remember(place, error.problems)
        return whole.items, error.problems
    return whole.items, {}


def _write(whole: HierarchicalDataset, place: Path, must: bool) -> None:
    try:
        write_store(whole, place)
    except OSError:
        # read-only or full: decode on the fly instead; or another process was quicker
        if must and not is_store(place):
            raise


def _recall(place: Path) -> dict[str, str] | None:
    """What could not be read the last time; None if these pictures have not been tried."""
    try:
        return json.loads(_memory(place).read_text(encoding="utf-8"))["unreadable"]
    except (OSError, ValueError, KeyError):  # not there, or cut: they are tried again
        return None


def _remember(place: Path, problems: dict[str, str]) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _memory(place).write_text(json.dumps({"unreadable": problems}, indent=1), encoding="utf-8")
    except OSError:  # read-only or full: the next start takes longer
        pass


def _memory(place: Path) -> Path:
    import PIL

    return place.with_name(f"{place.name}-pillow-{PIL.__version__}.json")  # a newer one may read more


def _fingerprint(whole: HierarchicalDataset) -> str:
    """A hash of paths, sizes and times of change of the files, of the labels and of the size in pixels."""
    digest = hashlib.sha256(json.dumps([VERSION, whole.items.size, whole.hierarchy.to_json()]).encode())
    digest.update(whole.labels.tobytes())
    for path in whole.items.paths.tolist():
        try:
            state = os.stat(whole.items.root / path)
            entry = [path, state.st_size, state.st_mtime_ns]
        except OSError:
            entry = [path, None]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()[:16]


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' if count > 1 else ''}"


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
