"""Makes data sets of a list of pictures: decoded once into an array store, or again whenever they are needed."""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, check_shared_leaf, read_store
from hiercl.datasets.pictures.files import LONGEST, PictureFiles, UnreadablePictures
from hiercl.datasets.root import data_root
from hiercl.datasets.rows import Rows
from hiercl.datasets.splits import joined
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.files import read_json, write_json
from hiercl.runtime.given import given_path, whole_number

__all__ = ["UNLABELLED", "Listing", "PictureOptions", "data_sets"]

VERSION = 2  # of the decoding: raise it with every change that changes pixels, or old stores stay in use
MARGIN = 1 << 30  # bytes of the disk that a store leaves free
UNLABELLED = ("unlabelled",)  # class of pictures without labels


@dataclass(frozen=True)
class Listing:
    """A list of pictures with their classes.

    Attributes:
        name: name of the data set.
        root: folder of the pictures.
        paths: path of each picture, relative to the root.
        classes: names of the classes of each picture, from coarse to fine; none for a picture without a label.
        splits: "train" or "test" for each picture; empty if there is no split.
        level_names: names of the levels.
        note: what a reader of results must know.
    """

    name: str
    root: Path
    paths: list[str]
    classes: list[tuple[str, ...]]
    splits: list[str]
    level_names: tuple[str, ...] = ()
    note: str = ""

    def without(self, problems: dict[str, str]) -> "Listing":
        """Returns the list without the pictures that have problems; the note counts them."""
        rows = [row for row, path in enumerate(self.paths) if path not in problems]
        if not rows:
            raise ValueError(f"none of the {len(self.paths)} pictures in {self.root} can be read")
        return replace(
            self,
            paths=[self.paths[row] for row in rows],
            classes=[self.classes[row] for row in rows],
            splits=[self.splits[row] for row in rows] if self.splits else [],
            note=joined(self.note, f"{_pictures(len(problems))} left out that cannot be read"),
        )


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are read; :func:`hiercl.datasets.folder` explains the options."""

    root: str | Path | None = None
    size: int = 32
    store: bool | str = "auto"
    skip_unreadable: bool = False
    bits: int | None = None

    def __post_init__(self):
        side = whole_number(self.size, "size", "the side of the pictures in pixels", 1, LONGEST)
        object.__setattr__(self, "size", side)
        if not isinstance(self.store, str | bool) or self.store not in ("auto", True, False):
            raise ValueError(f"store={self.store!r}: it is 'auto', True or False")
        if self.bits is not None:
            bits = whole_number(self.bits, "bits", "how many of their 16 bits a channel pictures use", 8, 16)
            object.__setattr__(self, "bits", bits)

    @property
    def cache(self) -> Path:
        """The folder of the array stores."""
        return (data_root() if self.root is None else given_path(self.root, "root")) / "folders"

    def has_room(self, n_bytes: int) -> bool:
        """Whether the disk has room for an array store; an error if ``store`` is True and it has not."""
        existing = next(folder for folder in (self.cache, *self.cache.absolute().parents) if folder.exists())
        room = shutil.disk_usage(existing).free - MARGIN
        if self.store is True and n_bytes > room:
            raise OSError(
                f"the decoded pictures take {n_bytes / 2**30:.1f} GiB, but {self.cache} has only {room / 2**30:.1f} "
                f"GiB of free space: free some, give a smaller size or another root, or give store=False"
            )
        return n_bytes <= room


def data_sets(
    listing: Listing, options: PictureOptions, split: bool, tried: bool = False
) -> tuple[HierarchicalDataset, ...]:
    """Makes one data set of the pictures, or two, training and test.

    Every picture is decoded once to find out whether it can be read. The result is stored, and used by later calls.

    Args:
        listing: the pictures.
        options: how they are read.
        split: whether to make a training and a test set. If the listing has no split, a stratified fifth of the
            pictures becomes the test set.
        tried: whether all pictures were decoded already.

    Returns:
        One data set, or with ``split`` the training set and the test set.

    Raises:
        UnreadablePictures: some pictures cannot be read; the error lists all of them. With ``skip_unreadable`` they are
            left out, and a warning and the note count them.
    """
    whole, train = _in_order(listing, options.size, split)
    place = options.cache / f"{listing.name}-{_fingerprint(whole, options.bits)}"
    items, problems = _items(whole, place, options, tried)
    if problems:
        error = UnreadablePictures(listing.root, problems)
        if not options.skip_unreadable:
            raise error
        rest = listing.without(problems)
        warnings.warn(f"skip_unreadable: {_pictures(len(problems))} left out.\n{error}", stacklevel=4)
        return data_sets(rest, options, split, tried=True)
    if not split:
        return (replace(whole, items=items),)
    check_shared_leaf(whole.labels[:train], whole.labels[train:], whole.hierarchy, listing.name)
    note = joined(whole.note, _missing_classes(whole, train))
    return tuple(
        replace(
            whole,
            items=items.take(part) if isinstance(items, PictureFiles) else items[part],
            labels=whole.labels[part],
            note=note,
        )
        for part in (slice(0, train), slice(train, len(whole)))
    )


# ---- labels and split ----


def _in_order(listing: Listing, size: int, split: bool) -> tuple[HierarchicalDataset, int]:
    """The undecoded data set, with training pictures before test pictures, and the number of training pictures.

    In this order both parts are slices of one store, which can stay on disk.
    """
    leaves = sorted(set(listing.classes) - {()}) or [UNLABELLED]
    nested: dict = {}
    for leaf in leaves:
        inner = nested
        for name in leaf:
            inner = inner.setdefault(name, {})
    hierarchy = Hierarchy.from_dict(nested, ("all",) if leaves == [UNLABELLED] else listing.level_names or None)
    leaf_ids = {(): -1} | {leaf: i for i, leaf in enumerate(leaves)}
    labels = np.array([leaf_ids[leaf] for leaf in listing.classes], dtype=np.int64)
    files = PictureFiles(listing.root, np.array(listing.paths), size)
    whole = HierarchicalDataset(files, labels, hierarchy, listing.name, listing.note)
    if not split:
        return whole, len(whole)
    if listing.splits:
        is_test = np.array(listing.splits) == "test"
        if is_test.all() or not is_test.any():
            raise ValueError(f"all pictures of {listing.name!r} are {listing.splits[0]} pictures: both parts need some")
    elif whole.counts().max() < 2:
        raise ValueError(
            f"every class of {listing.name!r} has a single picture, so there is nothing to split into training and "
            f"test: choose coarser classes, or read it with hiercl.datasets.folder or hiercl.datasets.table as one set"
        )
    else:
        is_test = whole.split_mask(0.2)
        whole = replace(whole, note=joined(listing.note, "test is a stratified fifth of the pictures"))
    return whole.take(np.argsort(is_test, kind="stable")), int((~is_test).sum())


def _missing_classes(whole: HierarchicalDataset, train: int) -> str:
    notes = []
    for part, labels in {"training": whole.labels[:train], "test": whole.labels[train:]}.items():
        missing = np.setdiff1d(np.arange(whole.hierarchy.n_leaves), labels)
        if len(missing):
            names = ", ".join("/".join(whole.hierarchy.path(leaf)) for leaf in missing[:5])
            notes.append(f"no {part} pictures of {len(missing)} of the classes: {names}" + ", ..." * (len(missing) > 5))
    return joined(*notes)


# ---- decoding, and what is stored of it ----


def _items(
    whole: HierarchicalDataset, place: Path, options: PictureOptions, tried: bool
) -> tuple[np.ndarray | PictureFiles | Rows, dict[str, str]]:
    """The decoded pictures, or the files if they are decoded at every use, and the pictures that cannot be read."""
    files, known = whole.items, _read_known(place)
    assert isinstance(files, PictureFiles)
    if known and known["unreadable"] and not tried:
        return files, known["unreadable"]
    bits = 16
    try:
        if options.store is not False and is_store(place):
            return read_store(place).items, {}
        bits = known["bits"] if known else _bits(files, options.bits)
        files = replace(files, bits=bits)
        if options.store is not False:
            if options.has_room(files.nbytes):
                try:
                    write_store(replace(whole, items=files), place)
                except OSError:  # the disk is read-only or full, or another process was faster
                    if options.store is True and not is_store(place):
                        raise
            if is_store(place):
                return read_store(place).items, {}
        if known is None:
            if not tried:
                for _ in files.blocks():
                    pass
            _write_known(place, {}, bits)
    except UnreadablePictures as error:
        if error.lasting:
            _write_known(place, error.problems, bits)
        return files, error.problems
    return files, {}


def _bits(files: PictureFiles, asked: int | None) -> int:
    """How many bits of a channel pictures of 16 bits use: one number for all pictures keeps their brightness apart."""
    if asked is not None:
        return asked
    found = files.used_bits()
    if 0 < found < 16:
        warnings.warn(
            f"{files.root.name}: pictures of 16 bits a channel hold values up to {2**found - 1:,} only, so they are "
            f"taken as pictures of {found} bits. Give bits=16 if they use all 16.",
            stacklevel=6,
        )
    return found or 16


def _read_known(place: Path) -> dict | None:
    """The pictures that could not be read the last time, and the bits of the others; None if they were not tried."""
    try:
        known = read_json(_known_file(place), "delete it", {"unreadable": dict, "bits": int})
        if all(isinstance(reason, str) for reason in known["unreadable"].values()) and 8 <= known["bits"] <= 16:
            return known
    except (OSError, ValueError):  # the file is missing, cut or altered
        pass
    return None


def _write_known(place: Path, problems: dict[str, str], bits: int) -> None:
    with suppress(OSError):  # the disk is read-only or full: the next start takes longer
        write_json(_known_file(place), {"unreadable": problems, "bits": bits}, indent=1)


def _known_file(place: Path) -> Path:
    import PIL

    return place.with_name(f"{place.name}-pillow-{PIL.__version__}.json")  # a newer version may read more pictures


def _fingerprint(whole: HierarchicalDataset, bits: int | None) -> str:
    """A hash of paths, sizes and times of change of the files, of the labels and of the size in pixels."""
    files = whole.items
    assert isinstance(files, PictureFiles)
    digest = hashlib.sha256(json.dumps([VERSION, files.size, whole.hierarchy.to_json()]).encode())
    digest.update(whole.labels.tobytes() + (b"" if bits is None else b"%d bits" % bits))
    for path in files.paths.tolist():
        try:
            state = os.stat(files.root / path)
            entry = [path, state.st_size, state.st_mtime_ns]
        except (OSError, ValueError):  # a name with a null byte
            entry = [path, None]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()[:16]


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' if count > 1 else ''}"
