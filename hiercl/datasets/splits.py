"""What tables of labels have in common: a column that says train or test, and names that several parents share."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hiercl.datasets.pictures.sets import TEST
from hiercl.runtime.types import Int


def split_column(values: Sequence[str], noun: str, place: Callable[[int], str]) -> tuple[Int[np.ndarray, " n"], str]:
    """Reads a column that says train, or test or val, for each item.

    Args:
        values: the column.
        noun: what the items are called.
        place: from the position of an item to where its value stands, for messages.

    Returns:
        0 for training items, 1 for test items, −1 for items that are not used; and a note. The values val are the test
        items if there are no others.

    Raises:
        ValueError: another value.

    Example:
        >>> parts, note = split_column(["train", "Val", "test"], "items", "row {}".format)
        >>> parts.tolist(), note
        ([0, -1, 1], 'the 1 val items are not used')
    """
    given = [value.strip().lower() for value in values]
    for position, value in enumerate(given):
        if value not in ("train", *TEST):
            where = place(position)
            raise ValueError(f"{where} has the split {values[position]!r}: it must be train, {' or '.join(TEST)}")
    tests = [name for name in TEST if name in given]
    note = ""
    if len(tests) > 1:
        note = f"the {given.count(tests[1])} {tests[1]} {noun} are not used"
    elif tests == ["val"]:
        note = "test is the split 'val'"
    part = {"train": 0} | dict.fromkeys(tests[:1], 1)
    return np.array([part.get(value, -1) for value in given], dtype=np.int64), note


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
