"""What users hand over: arrays, lists and whole numbers, with errors of our own where NumPy would guess or be unclear.

This file does not import torch.
"""

import operator
import os
from pathlib import Path
from typing import Any, cast

import numpy as np

__all__ = ["given_array", "given_path", "whole_number"]


def given_array(values: Any, what: str) -> np.ndarray:
    """Returns an array of NumPy; a memory-mapped one stays on disk, and what is an array already is not copied.

    Args:
        values: an array, a tensor on any device, with or without gradient, a table or lists.
        what: name of the values in the plural, for messages.

    Raises:
        ValueError: some values are masked, the lists are ragged, or they hold records.

    Example:
        >>> given_array([[0, 1], [2, 3]], "labels").shape
        (2, 2)
    """
    if isinstance(values, np.ma.MaskedArray):
        if masked := int(np.ma.getmaskarray(values).sum()):
            raise ValueError(
                f"{masked:,} of the {what} are masked: fill them, for example with values.filled(-1), or leave these "
                "rows out"
            )
        values = values.data
    if hasattr(values, "detach"):  # a tensor of torch
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # which NumPy does not have
    try:
        array = values if isinstance(values, np.memmap) else np.asarray(values)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{what} are no array: {_difference(values) or error}") from error
    if array.dtype.names is not None:
        raise ValueError(f"{what} are records with the fields {', '.join(array.dtype.names)}: choose one of them")
    if array.dtype == object and array.ndim == 1 and (difference := _difference(array)):
        raise ValueError(f"{what} are no array: {difference}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def given_path(value: Any, name: str) -> Path:
    """Returns a path.

    Args:
        value: a text, or a path of pathlib.
        name: name of the argument, for the message.

    Raises:
        ValueError: it is no path, or an empty text.

    Example:
        >>> given_path("runs/mine", "out").name
        'mine'
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"{name}={value!r:.200}: give a path, such as {name}='runs/mine'")
    return Path(path)


def whole_number(
    value: Any, name: str, what: str = "a whole number", least: int | None = None, most: int | None = None
) -> int:
    """Returns a whole number, of any type of whole numbers.

    Args:
        value: the number.
        name: its name, for the message.
        what: what it is.
        least: the smallest number that is allowed.
        most: the largest one.

    Raises:
        ValueError: it is no whole number, or outside of the range.

    Example:
        >>> whole_number(np.int64(3), "seed", least=0)
        3
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = None
    wrong = number is None or (least is not None and number < least) or (most is not None and number > most)
    if wrong:
        bounds = f" from {least}" * (least is not None) + f" to {most}" * (most is not None)
        which = f"{what}, an integer" if what != "a whole number" else what
        raise ValueError(f"{name}={value!r}: give {which}{bounds}")
    return cast(int, number)


def _difference(values: Any) -> str:
    """Says which two of several arrays or lists differ in shape; "" if none do."""
    try:
        shapes = [() if isinstance(value, str | bytes) else _shape(value) for value in values]
    except TypeError:  # one value alone
        return ""
    if odd := [place for place, shape in enumerate(shapes) if shape != shapes[0]]:
        first, other = list(shapes[0]), list(shapes[odd[0]])
        return f"number 0 has the shape {first} and number {odd[0]} the shape {other}; bring all to one shape"
    return ""


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
    except ValueError:  # ragged itself
        return (len(value),)
