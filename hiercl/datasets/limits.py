"""Checks of files from elsewhere before they are read: they can claim any size, and HDF5 files can lead to others."""

from typing import Any

import numpy as np

from hiercl.runtime.cores import free_memory

__all__ = ["LARGEST", "LARGEST_TEXT", "MOST_COPIED", "MOST_OF_MEMORY", "check_hdf5", "check_room", "npz_form"]

LARGEST = 4 << 30  # bytes of one file in an archive, when it is unpacked
LARGEST_TEXT = 256 << 20  # bytes of a text with numbers; reading takes some twenty times as much memory
MOST_OF_MEMORY = 0.5  # share of the free memory that one array may fill
MOST_COPIED = 0.125  # share of it that a copy of what lies on disk may fill; there are several at a time


def check_room(size: float | int, what: str, most: float | int = LARGEST, remedy: str = "take a part of it") -> None:
    """Checks that something of a claimed size may be read into the memory.

    Args:
        size: bytes that it takes.
        what: what it is, for the message.
        most: number of bytes above which it is refused in any case.
        remedy: what to do about it, for the message.

    Raises:
        ValueError: it takes more than `most`, or more than half of the free memory.

    Example:
        >>> check_room(2**40, "the array 'x'", most=2**50)
        Traceback (most recent call last):
        ValueError: the array 'x' takes 1,024.0 GiB, and ... GiB of memory are free: ...
    """
    free = free_memory()
    if size > most:
        limit = f"files of more than {most / 2**30:,.2f} GiB are not read here"
    elif size > MOST_OF_MEMORY * free:
        limit = f"{free / 2**30:,.1f} GiB of memory are free"
    else:
        return
    raise ValueError(f"{what} takes {size / 2**30:,.1f} GiB, and {limit}: {remedy}")


def npz_form(archive: Any, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and type of an array in an .npz file, after a check that its size is the one that it claims.

    Args:
        archive: what np.load returns.
        name: name of the array.

    Raises:
        ValueError: the array has another size, or objects of Python. NumPy and zipfile may raise other errors.

    Example:
        >>> np.savez("lab.npz", x=np.zeros((3, 2)))
        >>> npz_form(np.load("lab.npz"), "x")
        ((3, 2), dtype('float64'))
    """
    member = f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        claimed, held = float(np.prod(shape, dtype=np.float64)) * dtype.itemsize, file.tell()
    if not dtype.hasobject and claimed != archive.zip.getinfo(member).file_size - held:
        raise ValueError(f"the array {name!r} claims {claimed:,.0f} bytes and has others: it is cut or altered")
    return shape, dtype


def check_hdf5(file: Any) -> None:
    """Checks that everything in an HDF5 file lies in the file itself, and that its arrays fit into the memory.

    A link or an external or virtual data set can name any file of the machine, whose bytes would become data.

    Args:
        file: an open file of h5py.

    Raises:
        ValueError: something leads out of the file, or an array is too large.

    Example:
        >>> import h5py
        >>> with h5py.File("lab.h5", "w") as file:
        ...     file["x"] = [1, 2]
        ...     check_hdf5(file)
    """
    import h5py

    groups, seen = [file], set()
    while groups:
        group = groups.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{place!r} is a link to another place, which is not followed: store the array itself")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                number = h5py.h5o.get_info(entry.id).addr
                if number not in seen:  # groups can hold each other
                    seen.add(number)
                    groups.append(entry)
            elif isinstance(entry, h5py.Dataset):
                if entry.external or entry.is_virtual:
                    raise ValueError(f"{place!r} keeps its numbers in another file, which is not read: store them here")
                check_room(entry.nbytes, f"the array {place!r}")
