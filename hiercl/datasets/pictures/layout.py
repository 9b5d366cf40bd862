"""What a folder is: from the folders that pictures lie in to their parts (training, test) and their classes."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hiercl.datasets.pictures.sets import Listing
from hiercl.datasets.splits import Parts, find_parts, joined, part_of

__all__ = ["with_parts", "without_constant_levels"]

# Words in names of folders that say that these are parts of a data set, but not which.
PART_WORDS = {"fold", "cv", "split", "part", "set", "subset", "batch", "gallery", "query", "probe", "support", "seen"}
PART_WORDS |= {"unseen", "hold", "learn", "learning", "private", "public", "labeled", "labelled", "pred", "predict"}


def with_parts(found: Listing, parts: Sequence[str] | None) -> Listing:
    """Takes folders such as train and test as the split, wherever they are in the paths, if they exist.

    Args:
        found: the pictures; their classes are all the folders that they lie in.
        parts: names of the top folders of the training and of the test pictures; none: the top folders are classes.

    Returns:
        The pictures of both parts, without the folders of the parts in their classes.

    Raises:
        ValueError: there is one part only, there is something beside the parts, or folders may or may not be parts.
    """
    if parts is not None:
        if not isinstance(parts, list | tuple) or len(parts) not in (0, 2):
            raise ValueError(
                f"parts={parts!r}: give the names of the folders of the training and of the test pictures, or ()"
            )
        if not parts:
            return found
        tops = {folders[0] for folders in found.classes if folders}
        for name in parts:
            if name not in tops:
                raise ValueError(f"parts={parts!r}: {found.root} has no folder {name!r} with pictures")
        return _taken(found, 0, Parts(parts[0], parts[1], tuple(tops - set(parts))))
    depth = min(map(len, found.classes))
    for level in range(depth):
        names = {folders[level] for folders in found.classes}
        split = find_parts(names, f"{found.root}")
        if split and (level == 0 or {split.train, split.test, *split.unused} == names):
            if level == 0:
                _check_nothing_else(found, split)
            return _taken(found, level, split)
        if level == 0:
            _check_no_unclear_parts(found)
    if depth == 0:
        tops = {folders[0] for folders in found.classes if folders}
        if split := find_parts(tops, f"{found.root}"):
            _check_nothing_else(found, split)
    return found


def without_constant_levels(found: Listing) -> Listing:
    """Leaves out every level of folders that has the same only folder everywhere, such as ``images`` in each class."""
    level, classes, names = 1, found.classes, []
    while level < max(map(len, classes)):
        here = {folders[level] for folders in classes if len(folders) > level}
        above = {folders[:level] for folders in classes if len(folders) > level}
        if len(here) == 1 and len(above) > 1:
            names += here
            classes = [folders[:level] + folders[level + 1 :] for folders in classes]
        else:
            level += 1
    note = f"the folder {' and '.join(map(repr, names))} in every class is no level" if names else ""
    return replace(found, classes=classes, note=joined(found.note, note))


def _taken(found: Listing, level: int, parts: Parts) -> Listing:
    kept = [row for row, folders in enumerate(found.classes) if folders[level:] and folders[level] in parts[:2]]
    splits = ["train" if found.classes[row][level] == parts.train else "test" for row in kept]
    classes = [found.classes[row][:level] + found.classes[row][level + 1 :] for row in kept]
    if level and len({folders[:level] for folders in classes}) == 1:  # one folder around the parts
        classes = [folders[level:] for folders in classes]
    while all(
        folders and (part_of(folders[0]) or "?")[0] in (part, "val" if part == "test" else part)
        for folders, part in zip(classes, splits, strict=True)
    ):  # train/train/cat, as archives unpack
        classes = [folders[1:] for folders in classes]
    return replace(
        found,
        paths=[found.paths[row] for row in kept],
        classes=classes,
        splits=splits,
        note=joined(found.note, parts.note("the folder")),
    )


def _check_nothing_else(found: Listing, parts: Parts) -> None:
    tops = {folders[0] if folders else "" for folders in found.classes}
    if others := sorted(tops - {parts.train, parts.test, *parts.unused}):
        what = f"the folder {others[-1]!r}" if others[-1] else "pictures outside of them"
        raise ValueError(
            f"{found.root} holds the folders {parts.train!r} and {parts.test!r}, but also {what}: move it away, or say "
            f"which folders are the parts, with parts=({parts.train!r}, {parts.test!r}); parts=() if all are classes"
        )


def _check_no_unclear_parts(found: Listing) -> None:
    """Refuses top folders that look like parts of a data set, but are not understood as training and test."""
    tops = sorted({folders[0] for folders in found.classes})
    meant = {top: part_of(top) for top in tops}
    if all(part and not part[1] for part in meant.values()):
        raise ValueError(
            f"{found.root} has pictures in {' and '.join(map(repr, tops))} only, not in both 'train' and 'test': add "
            f"what is missing, or give the path of one folder, {found.root / tops[0]}"
        )
    if len(tops) == 1:
        return
    below = Counter(name for _, name in {folders[:2] for folders in found.classes if len(folders) > 1})
    inner = {top: {folders[1] for folders in found.classes if folders[0] == top and len(folders) > 1} for top in tops}
    odd = [top for top in tops if meant[top] or PART_WORDS & set(re.findall("[a-z]+", top.lower()))]
    same = odd and below and min(below.values()) == len(tops)
    alone = [top for top in tops if meant[top] == ("train", ()) and inner[top]]  # beside folders without any classes
    if same or (alone and not any(inner[top] for top in tops if top not in alone)):
        shown = " and ".join(map(repr, tops[:4])) + ", ..." * (len(tops) > 4)
        raise ValueError(
            f"{found.root} has the folders {shown}, which may be classes or parts of the data: name the parts train "
            f"and test, or say which they are with parts=({tops[0]!r}, {tops[1]!r}), training and test; parts=() if "
            "the folders are classes"
        )
