"""Image folders: the pictures of a folder; the folders that they lie in are their classes, to any depth."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hiercl.datasets.base import HierarchicalDataset, Splits
from hiercl.datasets.pictures.files import ENDINGS
from hiercl.datasets.pictures.sets import TEST, UNLABELLED, Listing, PictureOptions, data_sets

__all__ = ["folder", "listing", "load"]

NO_LABEL = (("unlabelled",), ("unlabeled",))  # folders of pictures without a class


def folder(
    path: str | Path,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
    root: str | Path | None = None,
) -> HierarchicalDataset:
    """Reads nested folders of pictures as one data set. :func:`hiercl.load` makes a training and a test set of them.

    ``path/animal/cat/1.jpg`` is a cat, which is an animal. If a class ends early, it is its own child down to the last
    level. Pictures below a folder ``unlabelled``, beside the folders of the coarsest classes, have no label (−1). Nor
    have pictures that lie in the folder itself, with no folder below it. Hidden files and folders, and files that do
    not end like pictures, are ignored. Folders without pictures become no class; a warning names them.

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
    options = PictureOptions(root, size, store, skip_unreadable)
    return data_sets(listing(path, labelled, level_names, split=False), options, split=False)[0]


def load(
    path: str | Path,
    root: str | Path | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    labelled: bool = True,
    level_names: Sequence[str] | None = None,
) -> Splits:
    """Reads nested folders of pictures as a training and a test set, with one hierarchy.

    If the folder holds the folders ``train`` and ``test`` (or ``val`` instead), these are the two parts, and the note
    names the classes that a part lacks. Otherwise a stratified fifth becomes the test set, and the note says so.
    Arguments and errors are those of :func:`folder`.

    Example:
        >>> for i in range(5):
        ...     Path("lab/cat").mkdir(parents=True, exist_ok=True)
        ...     plt.imsave(f"lab/cat/{i}.png", train.items[i])
        >>> [len(part) for part in load("lab")]
        [4, 1]
    """
    options = PictureOptions(root, size, store, skip_unreadable)
    train, test = data_sets(listing(path, labelled, level_names, split=True), options, split=True)
    return train, test


def listing(path: str | Path, labelled: bool, level_names: Sequence[str] | None, split: bool) -> Listing:
    """Lists the pictures of a folder with their classes; nothing is decoded. See :func:`folder` and :func:`load`."""
    path = Path(path).expanduser().resolve()
    if not path.is_dir():
        raise ValueError(f"{path} is no folder" if path.exists() else f"there is no folder {path}")
    files, empty = _scan(path)
    if not files:
        raise ValueError(
            f"{path} is no array store, and it has no pictures: a folder needs a store.json (or stores in its "
            f"folders train and test), or files with one of the endings {', '.join(ENDINGS)}"
        )
    if empty:
        names = ", ".join(empty[:20]) + (f", ... ({len(empty)} in all)" if len(empty) > 20 else "")
        warnings.warn(f"these folders of {path} have no pictures, they become no classes: {names}", stacklevel=4)
    folders = [tuple(file.split("/")[:-1]) for file in files]
    found = Listing(path.name, path, files, folders, [], tuple(level_names or ()))
    if split:
        found = _split(found)
    if labelled and any(found.classes):
        _check_depth(found)
        classes = [() if parts[:1] in NO_LABEL else parts for parts in found.classes]
        return replace(found, classes=classes) if any(classes) else found
    return replace(found, classes=[UNLABELLED] * len(found.paths))


def _scan(top: Path) -> tuple[list[str], list[str]]:
    """The pictures below a folder and the folders without any, sorted, as paths with / that start at the folder."""
    files: list[str] = []
    empty: list[str] = []

    def visit(path: Path, above: str, around: tuple[str, ...]) -> None:
        real = os.path.realpath(path)
        if real in around:  # a link to a folder that holds it
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


def _split(found: Listing) -> Listing:
    """Takes the top folders train and test as the split, if they exist."""
    tops = {parts[0] if parts else "" for parts in found.classes}
    tests = [name for name in TEST if name in tops]
    if "train" not in tops or not tests:
        if tops <= {"train", *TEST}:
            raise ValueError(
                f"{found.root} has pictures in {' and '.join(map(repr, sorted(tops)))} only, not in both 'train' and "
                f"'test': add what is missing, or give the path of one folder, {found.root / min(tops)}"
            )
        return found
    if others := sorted(tops - {"train", *TEST}):
        what = f"the folder {others[-1]!r}" if others[-1] else "pictures outside of them"
        raise ValueError(
            f"{found.root} holds the folders 'train' and {tests[0]!r}, but also {what}: move it away, or if these are "
            f"classes, read them with hiercl.datasets.folder"
        )
    note = f"test is the folder {tests[0]!r}" if tests[0] != "test" else ""
    if len(tests) > 1:
        note = f"the folder {tests[1]!r} is not used"
    kept = [row for row, parts in enumerate(found.classes) if parts[0] in ("train", tests[0])]
    return replace(
        found,
        paths=[found.paths[row] for row in kept],
        classes=[found.classes[row][1:] for row in kept],
        splits=["train" if found.classes[row][0] == "train" else "test" for row in kept],
        note=note,
    )


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
