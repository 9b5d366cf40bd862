"""Rows: some items of a memory-mapped array, left on disk where a copy of them would fill the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hiercl.datasets.limits import MOST_COPIED
from hiercl.runtime.cores import free_memory
from hiercl.runtime.types import Int


@dataclass(frozen=True, eq=False)
class Rows:
    """Some items of an array on disk, in some order. They are read when they are indexed.

    Attributes:
        array: all items, memory-mapped.
        rows: positions of the items.

    Example:
        >>> some = Rows(np.arange(10)[:, None], np.array([7, 3]))
        >>> some.shape, some[1].tolist(), np.asarray(some).tolist()
        ((2, 1), [3], [[7], [3]])
    """

    array: Any
    rows: Int[np.ndarray, " items"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of items, and their shape."""
        return (len(self.rows), *self.array.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return self.array.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of a copy."""
        return len(self.rows) * self.array[:1].nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        first, *rest = index if isinstance(index, tuple) else (index,)
        return self.array[(self.rows[first], *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array[self.rows], dtype)


def take_items(items: Any, index: Int[np.ndarray, " k"]) -> Any:
    """Returns some items: of picture files these files, of an array a copy, or :class:`Rows` where that is too large.

    Args:
        items: an array, rows of one, or picture files.
        index: positions.

    Example:
        >>> take_items(np.arange(3), np.array([2, 0])).tolist()
        [2, 0]
    """
    if hasattr(items, "take") and not isinstance(items, np.ndarray):
        return items.take(index)
    array, rows = (items.array, items.rows[index]) if isinstance(items, Rows) else (items, index)
    chosen = Rows(array, rows)
    large = isinstance(array, np.memmap) and chosen.nbytes > MOST_COPIED * free_memory()
    return chosen if large else np.asarray(array[rows])  # no memmap: that would count as being on disk
