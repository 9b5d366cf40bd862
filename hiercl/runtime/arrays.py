"""NumPy or torch: what works on plain numbers takes both, and here one becomes the other."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.runtime.given import given_array

Array = np.ndarray | Tensor
"""An array of NumPy or a tensor, on any device."""
AT_ONCE = 2**25  # numbers of a table that are computed at once: 128 MiB of float32
MOST_CLASSES = 10_000_000  # a number above it is no class, but an id of another kind
LEAST_ROWS = 32  # fewer rows at a time are slow
FAR_FROM_1 = 1e9  # the square of a larger number, or of a smaller one than its inverse, may not fit into float32


def as_tensor(values: Any, what: str = "features") -> Tensor:
    """Returns numbers as a float tensor without gradient: float64 stays, everything else becomes float32.

    Args:
        values: a tensor, which stays on its device, or what NumPy makes an array of.
        what: name of the values, for the message.

    Raises:
        ValueError: values that are no numbers.

    Example:
        >>> as_tensor(np.eye(2, dtype=np.float16)).dtype, as_tensor(np.eye(2)).dtype
        (torch.float32, torch.float64)
    """
    if not isinstance(values, Tensor):
        array = given_array(values, what)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{what} are {array.dtype} {list(array.shape)}: pass numbers.")
        dtype = np.float64 if array.dtype.kind == "f" and array.itemsize >= 8 else np.float32
        return torch.from_numpy(np.require(array, dtype, ["C", "W"]))
    if values.is_complex():
        raise ValueError(f"{what} are {values.dtype} {list(values.shape)}: pass real numbers.")
    return values.detach() if values.dtype == torch.float64 else values.detach().float()


def unit_rows(values: Tensor) -> Tensor:
    """Returns rows of length 1, also where the squares of their numbers are too large or too small for the type.

    Args:
        values: rows, floating. A row of zeros stays one.

    Example:
        >>> unit_rows(torch.tensor([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    largest = values.detach().abs().amax(dim=1, keepdim=True)
    extreme = (largest > FAR_FROM_1) | ((largest < 1 / FAR_FROM_1) & (largest > 0))
    return F.normalize(torch.where(extreme, values / largest.where(extreme, torch.ones_like(largest)), values), dim=1)


def as_ids(values: Any) -> Tensor:
    """Returns whole numbers as an int64 tensor, which stays on its device.

    Args:
        values: labels or indices, of any integer type.

    Raises:
        ValueError: values that are no whole numbers.

    Example:
        >>> as_ids(np.array([2, 0], dtype=np.int16))
        tensor([2, 0])
    """
    if not isinstance(values, Tensor):
        array = given_array(values, "labels")
        if array.dtype.kind not in "iu":
            raise ValueError(f"labels are {array.dtype} {list(array.shape)}: pass whole numbers.")
        return torch.from_numpy(np.require(array, np.int64, ["C", "W"]))
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"labels are {values.dtype} {list(values.shape)}: pass whole numbers.")
    return values.long()


def check_labelled(labels: Array) -> None:
    """Raises ValueError for labels of −1, which mean that an item has no label.

    Example:
        >>> check_labelled(np.array([0, 2]))
    """
    missing = int((labels < 0).sum())
    if missing:
        raise ValueError(
            f"{missing} of {len(labels)} items have no label (−1): leave them out, as in features[labels >= 0]."
        )


def check_numbered(labels: Array, what: str = "labels") -> None:
    """Raises ValueError for labels of −1, or so high that they do not count the classes from 0.

    Example:
        >>> check_numbered(np.array([0, 2]))
    """
    check_labelled(labels)
    if len(labels) and labels.max() >= MOST_CLASSES:
        raise ValueError(
            f"{what} go up to {int(labels.max())}: classes are numbered from 0, as by np.unique(labels, "
            "return_inverse=True)[1]."
        )


def as_array(values: Any) -> np.ndarray:
    """Returns an array of NumPy: of a tensor on any device, with or without gradient, or of what NumPy knows.

    Example:
        >>> as_array(torch.tensor([1, 2], requires_grad=False))
        array([1, 2])
    """
    return given_array(values, "values")


def blocks(rows: int, width: int, most: int | None = None) -> Iterator[slice]:
    """Yields the rows of a table in slices: so few at a time that memory does not grow with the table.

    Args:
        rows: number of rows of the table.
        width: numbers in a row of what is computed of them. A slice has about 2^25 numbers.
        most: largest number of rows in a slice.

    Example:
        >>> [(part.start, part.stop) for part in blocks(100, 2**20)]
        [(0, 32), (32, 64), (64, 96), (96, 100)]
    """
    size = max(LEAST_ROWS, AT_ONCE // max(1, width))
    size = size if most is None else min(size, most)
    for start in range(0, rows, size):
        yield slice(start, min(rows, start + size))


def in_blocks(function: Callable[..., Tensor], *tables: Tensor, width: int | None = None) -> Tensor:
    """Calls a function with some rows of the tables at a time, and returns the results one after the other.

    Args:
        function: gives one row, or one number, for each row. A row must not depend on the others.
        tables: as many rows in each.
        width: numbers that are computed of a row; by default those of the first table.

    Example:
        >>> in_blocks(lambda part: part.sum(dim=1), torch.ones(3, 2))
        tensor([2., 2., 2.])
    """
    width = tables[0].shape[1:].numel() if width is None else width
    parts = [function(*(table[rows] for table in tables)) for rows in blocks(len(tables[0]), width)]
    return torch.cat(parts) if len(parts) > 1 else parts[0] if parts else function(*tables)
