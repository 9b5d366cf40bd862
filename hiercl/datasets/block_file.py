"""BlockFile: a large numpy file that grows block by block. Interrupted, it goes on with the first missing block."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

__all__ = ["BlockFile"]


class BlockFile:
    """Writes an array block by block. The file gets its name when it is complete.

    Until then it is called ``NAME.part``, and one process at a time writes it; others wait. Blocks are appended to a
    plain file, not written to a mapped one: so a disk that becomes full is an error and no crash, and the length of the
    file says how many blocks it has.

    Args:
        path: the file, which ends in ``.npy``.
        shape: shape of the whole array.
        dtype: its type.
        block: rows of a block; the last one may have fewer.

    Attributes:
        done: number of blocks that the file has.

    Raises:
        OSError: the folder cannot be written, or its disk is too small; the message names it and says how much space
            is needed.

    Example:
        >>> with BlockFile("numbers.npy", (5, 2), "float32", block=2) as file:
        ...     for start in range(2 * file.done, 5, 2):
        ...         file.append(np.ones((min(2, 5 - start), 2)))
        >>> np.load("numbers.npy").sum()
        np.float32(10.0)
    """

    def __init__(self, path: str | Path, shape: tuple[int, ...], dtype: str, block: int):
        self.path, self.shape, self.dtype, self.block = Path(path), shape, np.dtype(dtype), block
        self.part = self.path.with_suffix(".part")
        self.row = int(np.prod(shape[1:])) * self.dtype.itemsize
        self.done = 0
        header = io.BytesIO()
        form = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, form)
        self.header = header.getvalue()

    def __enter__(self) -> "BlockFile":
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(f"{self.path}.lock")
            self._lock.acquire()
            try:
                self._open()
            except BaseException:
                self._lock.release()
                raise
        return self

    def append(self, block: np.ndarray) -> None:
        """Writes the next block to the disk.

        Raises:
            OSError: the disk is full.
        """
        assert self._file is not None, "a block is appended inside the with statement"
        with self._writing():
            self._file.write(np.ascontiguousarray(block, dtype=self.dtype).data)
            self._file.flush()
            os.fsync(self._file.fileno())
        self.done += 1

    def __exit__(self, kind, error, trace) -> None:
        try:
            if self._file is not None:
                self._file.close()
                if error is None:
                    os.replace(self.part, self.path)
        finally:
            self._lock.release()

    def _open(self) -> None:
        """Opens the part, cuts off what is left of a block that was not finished, and checks the room on the disk."""
        self._file = None
        if self.path.is_file():  # another process wrote it in the meantime
            self.done = -(-self.shape[0] // self.block)
            return
        self._file = open(self.part, "ab")
        self.done = max(0, self._file.tell() - len(self.header)) // (self.block * self.row)
        if self.done == 0:
            self._file.truncate(0)
            self._file.write(self.header)
        else:
            self._file.truncate(len(self.header) + self.done * self.block * self.row)
        free = shutil.disk_usage(self.path.parent).free
        if self._missing > free:
            self._file.close()
            raise OSError(f"{free / 2**30:,.2f} GiB are free")

    @property
    def _missing(self) -> int:
        return (self.shape[0] - self.done * self.block) * self.row

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{self.path.name} cannot be written to {self.path.parent} ({error}); it needs "
                f"{self._missing / 2**30:,.2f} GiB more: free some space, or give another folder. Called again, it "
                "goes on where it stopped."
            ) from error
