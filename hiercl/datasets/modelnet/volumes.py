"""Files of volumes: grids of voxels that are occupied or empty, indexed ``[x, y, z]``.

They are the ``.mat`` files of 3DShapeNets, ``.npy`` arrays, and ``.binvox`` files.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hiercl.datasets.limits import LARGEST_TEXT, check_room
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Bool

__all__ = ["VOLUMES", "parse_volume", "read_volume"]

MOST_VOXELS = 512**3
VARIABLE = "instance"  # of the .mat files of 3DShapeNets


def read_volume(path: str | Path) -> Bool[np.ndarray, "x y z"]:
    """Reads a grid of voxels from a .mat, .npy or .binvox file; see :func:`parse_volume`.

    Raises:
        ValueError: the file is no such grid; the message names the file and what is wrong.
        FileNotFoundError: there is no such file.

    Example:
        >>> np.save("cube.npy", np.ones((4, 4, 4), dtype=bool))
        >>> read_volume("cube.npy").shape
        (4, 4, 4)
    """
    path = Path(path)
    try:
        check_room(path.stat().st_size, "it", LARGEST_TEXT)
        return parse_volume(path.read_bytes(), path.suffix)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_volume(content: bytes, ending: str) -> Bool[np.ndarray, "x y z"]:
    """Reads a grid of voxels from the content of a file. Which axis is up is not known; in ModelNet it is z.

    * ``.mat``: the variable ``instance`` (3DShapeNets; version 7.3 is HDF5, which is not read here).
    * ``.npy``: one array ``[x, y, z]``.
    * ``.binvox``: a header of text, then runs of equal voxels. In the file, y runs fastest, then z, then x
      (https://www.patrickmin.com/binvox/binvox.html); here they are put in order. Of version 2, every value above 0 is
      occupied. The header's scale and translation are not used.

    Args:
        content: the bytes of the file.
        ending: ".mat", ".npy" or ".binvox", in small or capital letters.

    Returns:
        Which voxels are occupied, ``[x, y, z]``.

    Raises:
        ValueError: the ending is another one, the file is cut or altered, the array is no grid of three dimensions, has
            values other than 0 and 1, or no voxel is occupied.

    Example:
        >>> grid = parse_volume(b"#binvox 1\\ndim 2 2 2\\ndata\\n" + bytes([1, 1, 0, 7]), ".binvox")
        >>> np.argwhere(grid).tolist()
        [[0, 0, 0]]
    """
    if (parse := VOLUMES.get(ending.lower())) is None:
        raise unknown("ending of a volume", ending, VOLUMES)
    grid = parse(content)
    if grid.ndim != 3:
        raise ValueError(
            f"a volume has three dimensions, this one has the shape {list(grid.shape)}: save one grid a file"
        )
    if grid.dtype.kind not in "biuf":
        raise ValueError(f"a volume has the values 0 and 1, this one has the type {grid.dtype}")
    occupied = grid != 0
    if not (grid[occupied] == 1).all():
        found = grid[occupied & (grid != 1)][0]
        raise ValueError(
            f"a voxel is 0 (empty) or 1 (occupied), this volume has the value {found:g}: save `grid > threshold`"
        )
    if not occupied.any():
        raise ValueError("the volume is empty: no voxel is occupied")
    return occupied


def _mat(content: bytes) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    if content[:10] == b"MATLAB 7.3":
        raise ValueError("it is a MATLAB file of version 7.3: save it in MATLAB with '-v7', or as .npy")
    try:
        held = {name: shape for name, shape, _ in whosmat(io.BytesIO(content))}
        if VARIABLE not in held:
            raise ValueError(f"it has no variable {VARIABLE!r}, only {sorted(held)}")
        _check_size(held[VARIABLE])
        return np.asarray(loadmat(io.BytesIO(content), variable_names=[VARIABLE])[VARIABLE])
    except ValueError:
        raise
    except Exception as error:  # scipy has errors of many types for files that are cut or altered
        raise ValueError(f"it is no MATLAB file, or cut ({error or type(error).__name__})") from error


def _npy(content: bytes) -> np.ndarray:
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError("it is no numpy array: save the grid with np.save")
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"it is no numpy array of numbers, or cut ({error})") from error


def _binvox(content: bytes) -> np.ndarray:
    header = re.match(rb"#binvox [12]\s*\n(?:[^\n]*\n)*?data\r?\n", content[:10_000])
    if not content.startswith(b"#binvox"):
        raise ValueError("it is no binvox file, which begins with #binvox 1")
    if header is None:
        raise ValueError("the header of the binvox file is cut, or of another version: it ends with a line 'data'")
    found = re.search(rb"\ndim[ \t]+(\d{1,6})[ \t]+(\d{1,6})[ \t]+(\d{1,6})\s*\n", header[0])
    if found is None:
        raise ValueError("the header of the binvox file has no line such as 'dim 32 32 32'")
    sizes = tuple(int(size) for size in found.groups())
    _check_size(sizes)
    runs = np.frombuffer(content, dtype=np.uint8, offset=header.end())
    if len(runs) % 2 or runs[1::2].sum(dtype=np.int64) != np.prod(sizes):
        raise ValueError(
            f"the runs of the binvox file have {runs[1::2].sum(dtype=np.int64):,} voxels, its header promises "
            f"{np.prod(sizes):,}: it is cut or altered"
        )
    return np.repeat(runs[0::2] > 0, runs[1::2]).reshape(sizes).transpose(0, 2, 1)  # from [x, z, y]


def _check_size(sizes: tuple[int, ...]) -> None:
    if (voxels := np.prod(sizes, dtype=np.float64)) > MOST_VOXELS:
        raise ValueError(f"it has {voxels:,.0f} voxels: volumes of more than {MOST_VOXELS:,} are not read here")


VOLUMES: dict[str, Callable[[bytes], np.ndarray]] = {".mat": _mat, ".npy": _npy, ".binvox": _binvox}
"""Endings of files of volumes, and what reads them."""
