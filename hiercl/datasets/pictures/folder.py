"""Image folders: the pictures of a folder; the folders that they lie in are their classes, to any depth."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hiercl.datasets.base import HierarchicalDataset, Splits
from hiercl.datasets.pictures.files import ENDINGS, printable
from hiercl.datasets.pictures.layout import with_parts, without_constant_levels
from hiercl.datasets.pictures.sets import UNLABELLED, Listing, PictureOptions, data_sets
from hiercl.datasets.splits import joined, shared_names
from hiercl.runtime.given import given_path

__all__ = ["folder", "listing", "load"]

# What systems and programs leave in folders.
CLUTTER = {"__macosx", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "@eadir", "icon\r"}
NO_LABEL = (("unlabelled",), ("unlabeled",))  # folders of pictures without a class


def folder(
    path: str | Path,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
    root: str | Path | None = None,
    bits: int | None = None,
) -> HierarchicalDataset:
    """Reads nested folders of pictures as one data set. :func:`hiercl.load` makes a training and a test set of them.

    ``path/animal/cat/1.jpg`` is a cat, which is an animal. If a class ends early, it is its own child down to the last
    level. A folder that every class has, and nothing beside it, is no level: ``path/cat/images/1.jpg`` is a cat.
    Pictures below a folder ``unlabelled``, beside the folders of the coarsest classes, have no label (−1). Nor have
    pictures that lie in the folder itself, with no folder below it. A folder named -1 is a class like others. Hidden
    files and folders are ignored. Other files that do not end like pictures are passed over; the note counts them.
    Folders without pictures become no class; a warning names them.

    Args:
        path: the folder.
        size: side of the pictures in pixels. The shorter side of a picture is resized to it with antialias, then the
            centre is cut out.
        store: "auto" decodes every picture once and writes an array store below ``root``; later calls read the store,
            until a file changes (its size or time). If the disk has no room, or with False, pictures are decoded at
            every use (see `PictureFiles`). True raises an error if there is no room. The folder ``folders`` below
            ``root`` can be deleted at any time.
        skip_unreadable: leave out pictures that cannot be read; a warning and the note of the data set count them.
        labelled: False ignores the folders: every picture is unlabelled.
        level_names: names of the levels, from coarse to fine.
        root: folder of all data sets, by default :func:`hiercl.datasets.data_root`.
        bits: bits of a channel that pictures of 16 bits use, from 8 to 16. By default as many as their largest value
            needs, in all of the pictures; a warning says it if these are fewer than 16.

    Returns:
        The data set. Its items are uint8 ``[n, size, size, 3]``: RGB, upright, with white for transparent pixels.

    Raises:
        ValueError: the path is no folder or has no pictures, a folder holds both pictures and folders with pictures, or
            an option has a wrong value.
        UnreadablePictures: some pictures cannot be read; the error lists all of them.

    Example:
        >>> for name in ("animal/cat", "animal/dog"):
        ...     Path("lab", name).mkdir(parents=True)
        ...     plt.imsave(f"lab/{name}/1.png", train.items[0])
        >>> folder("lab", size=24)
        HierarchicalDataset('lab': 2 images 24x24x3, 1 level 0 > 2 level 1)
    """
    options = PictureOptions(root, size, store, skip_unreadable, bits)
    return data_sets(listing(path, labelled, level_names, split=False), options, split=False)[0]


def load(
    path: str | Path,
    root: str | Path | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    bits: int | None = None,
) -> Splits:
    """Reads nested folders of pictures as a training and a test set, with one hierarchy.

    If the folder holds the folders ``train`` and ``test``, these are the two parts, and the note names the classes that
    a part lacks. Other spellings are understood, such as ``Training`` and ``valid`` or ``seg_train`` and ``seg_test``,
    and also folders ``train`` and ``test`` in every class. Otherwise a stratified fifth becomes the test set, and the
    note says so. Arguments and errors are those of :func:`folder`, and:

    Args:
        parts: names of the folders of the training and of the test pictures, where their names do not say it; ``()`` if
            all folders are classes.

    Raises:
        ValueError: folders may be parts or classes, or no class is in both parts.

    Example:
        >>> for i in range(5):
        ...     Path("lab/cat").mkdir(parents=True, exist_ok=True)
        ...     plt.imsave(f"lab/cat/{i}.png", train.items[i])
        >>> [len(part) for part in load("lab")]
        [4, 1]
    """
    options = PictureOptions(root, size, store, skip_unreadable, bits)
    train, test = data_sets(listing(path, labelled, level_names, split=True, parts=parts), options, split=True)
    return train, test


def listing(
    path: str | Path,
    labelled: bool,
    level_names: Sequence[str] | None,
    split: bool,
    parts: Sequence[str] | None = None,
) -> Listing:
    """Lists the pictures of a folder with their classes; nothing is decoded. See :func:`folder` and :func:`load`."""
    path = given_path(path, "path").expanduser().resolve()
    if not path.is_dir():
        raise ValueError(f"{path} is no folder" if path.exists() else f"there is no folder {path}")
    if not isinstance(level_names, list | tuple | None):
        raise ValueError(f"level_names={level_names!r}: give a list with the name of each level, from coarse to fine")
    files, empty, others = _scan(path)
    if not files:
        raise ValueError(
            f"{path} is no array store, and it has no pictures: a folder needs a store.json (or stores in its "
            f"folders train and test), or files with one of the endings {', '.join(ENDINGS)}. "
            f"{_passed_over(others) or 'It has no files'}"
        )
    if empty:
        names = ", ".join(map(printable, empty[:20])) + (f", ... ({len(empty)} in all)" if len(empty) > 20 else "")
        warnings.warn(f"these folders of {path} have no pictures, they become no classes: {names}", stacklevel=4)
    folders = [tuple(printable(file).split("/")[:-1]) for file in files]
    found = Listing(printable(path.name), path, files, folders, [], tuple(level_names or ()))
    if split:
        found = with_parts(found, parts)
    note = joined(found.note, _passed_over(others))
    if labelled and any(found.classes):
        _check_depth(found)
        found = without_constant_levels(found)
        classes = [() if folders[:1] in NO_LABEL else folders for folders in found.classes]
        note = joined(found.note, shared_names(classes), _passed_over(others))
        return replace(found, classes=classes if any(classes) else found.classes, note=note)
    return replace(found, classes=[UNLABELLED] * len(found.paths), note=note)


class _Scan(NamedTuple):
    """What a folder holds, as paths with / that start at the folder, sorted.

    Attributes:
        files: the pictures.
        empty: folders without pictures.
        others: number of other files, by their ending.
    """

    files: list[str]
    empty: list[str]
    others: Counter[str]


def _scan(top: Path) -> _Scan:
    found = _Scan([], [], Counter())

    def visit(path: Path, above: str, around: tuple[str, ...]) -> None:
        real = os.path.realpath(path)
        if real in around:  # a link to a folder that holds it
            return
        before, empty_before = len(found.files), len(found.empty)
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            name = entry.name
            if name.startswith(".") or name.lower() in CLUTTER:
                continue
            if entry.is_dir():
                visit(path / name, f"{above}{name}/", (*around, real))
            elif name.lower().endswith(ENDINGS):
                found.files.append(above + name)
            else:
                found.others[os.path.splitext(name)[1].lower() or "without an ending"] += 1
        if len(found.files) == before and above:
            found.empty[empty_before:] = [above[:-1]]  # instead of the folders in it

    visit(top, "", ())
    return found


def _passed_over(others: Counter[str]) -> str:
    if not others:
        return ""
    count, kinds = others.total(), others.most_common(3)
    shown = ", ".join(f"{number:,} {ending}" for ending, number in kinds) + ", ..." * (len(others) > 3)
    return f"{count:,} other file{'s' * (count > 1)} passed over: {shown}"


def _check_depth(found: Listing) -> None:
    """Refuses a folder that holds pictures and, at the same time, folders with pictures."""
    files = zip(found.classes, found.paths, strict=True)
    own = {parts: path for parts, path in files if parts[:1] not in NO_LABEL}
    for parts, path in own.items():
        for depth in range(len(parts)):
            if parts[:depth] in own:
                raise ValueError(
                    f"{own[parts[:depth]]!r} lies where {path!r} has a further folder, so its class is not clear: move "
                    f"it into a folder of its own, or into one named 'unlabelled' at the top if it has no class; or "
                    f"give labelled=False to read no classes"
                )
