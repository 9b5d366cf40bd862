"""Image folders: the pictures of a folder, with the folders that they lie in as classes, to any depth."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hiercl.datasets.base import HierarchicalDataset
from hiercl.datasets.pictures.files import ENDINGS
from hiercl.datasets.pictures.sets import UNLABELLED, Listing, data_sets, reading

__all__ = ["folder", "listing", "load"]

TEST = ("test", "val")  # the folder of the test pictures, the better one first


def folder(
    path: str | Path,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
    root: str | Path | None = None,
) -> HierarchicalDataset:
    """Read nested folders of pictures as one data set; `hiercl.load` makes a training and a test set of them.

    ``path/animal/cat/1.jpg`` is a cat, which is an animal. A class that ends early is carried down to the last level by
    itself. Pictures that lie in the folder itself, with no folder below it, are unlabelled. Hidden files and folders
    and files with other endings than pictures have are passed over.

    Shapes: items uint8 ``[n, size, size, 3]``: RGB, upright, transparent pixels on white, the shorter side resized to
    ``size`` with antialias, then the centre cut out.

    Args:
        path: the folder.
        size: of the pictures, in pixels.
        store: "auto" decodes every picture once, into an array store below ``root``, which is read from then on, until
            a file changes (told by its size and time); if the disk has no room, as with False, pictures are decoded
            whenever they are needed (see `PictureFiles`). True raises an error if there is no room. Below ``root`` the
            folder ``folders`` can be deleted at any time.
        skip_unreadable: leave out what cannot be read; a warning and the note of the data set count it.
        labelled: False does not take the folders as classes: every picture is unlabelled.
        level_names: names of the levels, coarse to fine.
        root: where data sets are kept; `data_root` by default.

    Raises ValueError for a path that is no folder or has no pictures, for folders that hold both pictures and folders
    with pictures, for options that cannot be, and (UnreadablePictures, a ValueError) with all of the pictures that
    cannot be read. Folders without pictures are named in a warning: they become no class.

    Example::

        >>> data = folder("lab/my_pictures", size=64)  # doctest: +SKIP
    """
    how = reading(root, size, store, skip_unreadable)
    (data,) = data_sets(listing(path, labelled, level_names, split=False), how, split=False)
    return data


def load(
    path: str | Path,
    root: str | Path | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Read nested folders of pictures as a training and a test set, with one hierarchy.

    If the folder holds the folders ``train`` and ``test`` (or ``val`` in its place), they are the two parts, and a
    class that one of them lacks is named in the note. Otherwise a stratified fifth becomes the test set, as the note
    says. Options and errors are those of `folder`.

    Example::

        >>> train, test = load("lab/my_pictures", size=64)  # doctest: +SKIP
    """
    how = reading(root, size, store, skip_unreadable)
    return data_sets(listing(path, labelled, level_names, split=True), how, split=True)


def listing(path: str | Path, labelled: bool, level_names: Sequence[str] | None, split: bool) -> Listing:
    """List the pictures of a folder, with their classes; nothing is decoded. See `folder` and `load`."""
    path = Path(path).expanduser().resolve()
    if not path.is_dir():
        raise ValueError(f"{path} is no folder" if path.exists() else f"there is no folder {path}")
    files, empty = _scan(path)
    if not files:
        raise ValueError(
            f"{path} is no array store, and no pictures lie in it: a folder needs a store.json (or stores in its "
            f"folders train and test), or files with one of the endings {', '.join(ENDINGS)}"
        )
    if empty:
        names = ", ".join(empty[:20]) + (f", ... ({len(empty)} in all)" if len(empty) > 20 else "")
        warnings.warn(f"no pictures lie in these folders of {path}, they become no classes: {names}", stacklevel=4)
    found = Listing(path.name, path, files, [], [], tuple(level_names or ()))
    folders = [tuple(file.split("/")[:-1]) for file in files]
    if split:
        found, folders = _split(found, folders)
    if labelled and any(folders):
        _check_depth(found.paths, folders)
        return replace(found, classes=folders)
    return replace(found, classes=[UNLABELLED] * len(folders))


def _scan(top: Path) -> tuple[list[str], list[str]]:
    """The pictures below a folder and the folders without any, sorted, as paths with / that start at the folder."""
    files: list[str] = []
    empty: list[str] = []

    def visit(path: Path, above: str, around: tuple[str, ...]) -> None:
        real = os.path.realpath(path)
        if real in around:  # a link to a folder that it lies in
            return
        before, empty_before = len(files), len(empty)
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                visit(path / entry.name, f"{above}{entry.name}/", (*around, real))
            elif entry.name.lower().endswith(ENDINGS):
                files.append(above + entry.name)
        if len(files) == before and above:
            empty[empty_before:] = [above[:-1]]  # instead of the folders in it

    visit(top, "", ())
    return files, empty


def _split(found: Listing, folders: list[tuple[str, ...]]) -> tuple[Listing, list[tuple[str, ...]]]:
    """Take the top folders train and test as the split, if they are there."""
    tops = {parts[0] if parts else "" for parts in folders}
    tests = [name for name in TEST if name in tops]
    if "train" not in tops or not tests:
        if tops <= {"train", *TEST}:
            raise ValueError(
                f"{found.root} has pictures in {' and '.join(map(repr, sorted(tops)))} only, not in both 'train' and "
                f"'test': add what is missing, or give the path of one folder, {found.root / min(tops)}"
            )
        return found, folders
    if others := sorted(tops - {"train", *TEST}):
        what = f"the folder {others[-1]!r}" if others[-1] else "pictures outside of them"
        raise ValueError(
            f"{found.root} holds the folders 'train' and {tests[0]!r}, but also {what}: move it away, or if these are "
            f"classes, read them with hiercl.datasets.folder"
        )
    kept = [row for row, parts in enumerate(folders) if parts[0] in ("train", tests[0])]
    note = f"test is the folder {tests[0]!r}" if tests[0] != "test" else ""
    if len(tests) > 1:
        note = f"the folder {tests[1]!r} is not used"
    found = replace(
        found,
        paths=[found.paths[row] for row in kept],
        splits=["train" if folders[row][0] == "train" else "test" for row in kept],
        note=note,
    )
    return found, [folders[row][1:] for row in kept]


def _check_depth(paths: list[str], folders: list[tuple[str, ...]]) -> None:
    """Refuse a folder that holds pictures and, at the same time, folders with pictures."""
    own = dict(zip(folders, paths, strict=True))
    for parts, path in own.items():
        for depth in range(len(parts)):
            if parts[:depth] in own:
                raise ValueError(
                    f"{own[parts[:depth]]!r} lies where {path!r} has a further folder, so its class is not clear: move "
                    f"it into a folder of its own, or give labelled=False to read no classes"
                )
