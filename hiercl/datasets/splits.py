"""Which items are for training and which for the test: what the names of folders, columns, arrays and parts mean."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hiercl.runtime.types import Int

__all__ = ["Parts", "find_parts", "joined", "part_of", "shared_names", "split_column_of", "split_values"]

MEANING = (
    dict.fromkeys(("train", "training", "trainset", "trainval"), "train")
    | dict.fromkeys(("test", "testing", "testset"), "test")
    | dict.fromkeys(("val", "valid", "validation", "validate", "valset", "dev", "devel", "development"), "val")
    | dict.fromkeys(("eval", "evaluation", "holdout", "heldout"), "val")
)
# Words that do not change what the name of a part means.
COMMON = {"set", "data", "dataset", "split", "part", "subset", "folder", "is", "in", "for"} | {
    f"{word}{plural}"
    for word in ("image", "img", "picture", "photo", "sample", "example", "file")
    for plural in ("", "s")
}
SPLIT_COLUMNS = {"split", "splits", "set", "subset", "partition", "part", "phase", "usage", "purpose"}
YES, NO = {"1", "1.0", "true", "yes", "t", "y"}, {"0", "0.0", "false", "no", "f", "n"}


def joined(*notes: str) -> str:
    """Joins the notes that are not empty.

    Example:
        >>> joined("two levels", "", "one file passed over")
        'two levels; one file passed over'
    """
    return "; ".join(note for note in notes if note)


def part_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Returns which part a name means, in any usual spelling, and what else it says; None if it means no part.

    Args:
        name: name of a folder, an array or a value, such as "Train", "seg_test" or "val2017".

    Returns:
        "train", "test" or "val", where validation, development and holdout sets are "val"; and the other words.

    Example:
        >>> part_of("Validation"), part_of("seg_train"), part_of("trailer")
        (('val', ()), ('train', ('seg',)), None)
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    meant = [MEANING[word] for word in words if word in MEANING]
    if len(meant) != 1:
        return None
    return meant[0], tuple(word for word in words if word not in MEANING and word not in COMMON)


class Parts(NamedTuple):
    """Which names are the parts of a data set.

    Attributes:
        train: name of the training part.
        test: name of the test part.
        unused: names of a validation part beside a test part.
    """

    train: str
    test: str
    unused: tuple[str, ...]

    def note(self, what: str) -> str:
        """Returns the note that says what was understood; `what` is put before a name, such as "the folder"."""
        rest = " and ".join(map(repr, self.unused))
        other = "" if self.test == "test" else f"test is {what} {self.test!r}"
        return joined(other, f"{what} {rest} is not used" if rest else "")


def find_parts(names: Iterable[str], where: str) -> Parts | None:
    """Finds the names of the training and of the test part among names; None if they are not there.

    A test part is preferred to a validation part.

    Args:
        names: the names.
        where: what has them, for messages.

    Raises:
        ValueError: two names mean the same part.

    Example:
        >>> find_parts(["seg_train", "seg_test", "notes"], "the folder").test
        'seg_test'
    """
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in sorted(set(names)):
        if part := part_of(name):
            found.setdefault(part[1], {}).setdefault(part[0], []).append(name)
    whole = [parts for parts in found.values() if "train" in parts and len(parts) > 1]
    if not whole:
        return None
    several = [names for parts in whole for names in parts.values() if len(names) > 1]
    if len(whole) > 1:
        several = [[parts["train"][0] for parts in whole]]
    if several:
        raise ValueError(
            f"{where} has {' and '.join(map(repr, several[0]))}, which may mean the same part of the data: rename "
            "them, so that one is train and one is test"
        )
    train, *tests = (whole[0][part][0] for part in ("train", "test", "val") if part in whole[0])
    return Parts(train, tests[0], tuple(tests[1:]))


def split_column_of(columns: Mapping[str, Iterable[object]]) -> str | None:
    """Finds the column that says which part an item belongs to; None if there is none.

    It is the one named split, or one with values such as train and test, or one such as is_train with 0 and 1.

    Args:
        columns: the different values of each column, by its name.

    Raises:
        ValueError: several columns can be meant.

    Example:
        >>> split_column_of({"class": ["cat", "dog"], "Usage": ["Training", "Test"]})
        'Usage'
    """
    named = [name for name in columns if name.strip().lower() == "split"]
    if len(named) == 1:
        return named[0]
    found = []
    for name, values in columns.items():
        texts = {str(value).strip().lower() for value in values}
        if len(texts) > 8:
            continue
        switch = _is_switch(name) and len(texts) > 1 and texts <= YES | NO
        parts = {part_of(text) for text in texts}
        if switch or (None not in parts and find_parts(texts, f"the column {name!r}")):
            found.append(name)
    if len(found) > 1:
        raise ValueError(
            f"the columns {' and '.join(map(repr, found))} may both say what is for training and what for the test: "
            "name one of them 'split', or leave the others out"
        )
    return found[0] if found else None


def split_values(
    values: Sequence[object], noun: str, place: Callable[[int], str], name: str = "split"
) -> tuple[Int[np.ndarray, " n"], str]:
    """Reads a column that says train, or test or val, for each item, in any usual spelling.

    Args:
        values: the column.
        noun: what the items are called.
        place: from the position of an item to where its value stands, for messages.
        name: name of the column. That of a part, such as is_train, makes it a column of 0 and 1, or true and false.

    Returns:
        0 for training items, 1 for test items, −1 for items that are not used; and a note. The values val are the test
        items if there are no others.

    Raises:
        ValueError: another value.

    Example:
        >>> parts, note = split_values(["train", "Val", "test"], "items", "row {}".format)
        >>> parts.tolist(), note
        ([0, -1, 1], 'the 1 val items are not used')
    """
    texts = [str(value).strip().lower() for value in values]
    counts = Counter(texts)
    if _is_switch(name) and set(counts) <= YES | NO:
        test = np.array([text in YES for text in texts]) != (part_of(name)[0] == "train")  # pyright: ignore[reportOptionalSubscript]
        return test.astype(np.int64), f"the split is the column {name!r}"
    parts = find_parts(counts, f"the column {name!r}")
    known = set(parts[:2]) | set(parts.unused) if parts else {text for text in counts if part_of(text)}
    for position, text in enumerate(texts):
        if text not in known:
            raise ValueError(
                f"{place(position)} has the {name} {str(values[position])!r}: it must be train, test or val"
            )
    if parts is None:  # one part alone, which the data set refuses
        return np.array([int(part_of(text)[0] != "train") for text in texts]), ""  # pyright: ignore[reportOptionalSubscript]
    notes = ["" if name.lower() == "split" else f"the split is the column {name!r}"]
    notes += ["" if parts.test == "test" else f"test is the split {parts.test!r}"]
    notes += [f"the {counts[text]:,} {text} {noun} are not used" for text in parts.unused]
    number = {parts.train: 0, parts.test: 1}
    return np.array([number.get(text, -1) for text in texts], dtype=np.int64), joined(*notes)


def _is_switch(name: str) -> bool:
    """Whether a column of this name can hold 0 and 1. One named valid can also say which pictures are valid."""
    part = part_of(name)
    return part is not None and part[0] != "val"


def shared_names(classes: Iterable[tuple[str, ...]]) -> str:
    """Returns a note of names that several parents share; "" if there are none.

    Args:
        classes: the path of each class, from coarse to fine.

    Example:
        >>> shared_names([("animal", "other"), ("vehicle", "other")])
        "several parents share 1 of the names, such as 'other': each has a class of its own"
    """
    nodes = {names[:depth] for names in classes for depth in range(1, len(names) + 1)}
    shared = [name for (_, name), count in Counter((len(n), n[-1]) for n in nodes).items() if count > 1]
    if not shared:
        return ""
    return f"several parents share {len(shared)} of the names, such as {min(shared)!r}: each has a class of its own"
