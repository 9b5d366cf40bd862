"""Files: written whole or not at all, read with an error that names them, and folders that one process writes to."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any

from filelock import FileLock, Timeout

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a system says when a file has no room
FULL_IN_WORDS = ("No space left on device", "requested and")  # of Rust; of numpy: "9 requested and 0 written"
MARK = ".partial"  # in the name of a file that is not whole yet
LOCK = ".lock"
DAMAGES = (TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError, ValueError, EOFError)


class DiskFullError(OSError):
    """There is no room for a file. The message names it, its folder and the space that it needs."""


@contextmanager
def whole_file(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yields the path of a new file, which takes the place of another at the end: readers see the old or the new one.

    The new file is made under a name that nobody can guess, and a link at that name is not followed. At the end its
    content is on the disk, not only in a cache. After an error or an interrupt it is gone, and the old file is as it
    was. A process that is killed leaves a file with ``.partial`` in its name; :func:`clear_partial` removes it.

    Args:
        path: where the file goes. Its folder is made if it does not exist.
        size: number of bytes that it will have, for the message; None: not known.

    Raises:
        DiskFullError: there is no room for the file.

    Example:
        >>> from pathlib import Path
        >>> with whole_file(Path("numbers.npy")) as new:
        ...     np.save(new, np.arange(3))
        >>> np.load("numbers.npy")
        array([0, 1, 2])
    """
    _check_folder(path.parent)
    temporary = _beside(path)
    try:
        with naming_full_disk(path, size, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
            yield temporary
            _flush(temporary, os.O_RDWR)
            os.replace(temporary, path)
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder, which gets its name at the end, whole or not at all.

    Args:
        path: the folder, which does not exist.

    Raises:
        DiskFullError: there is no room for its files.

    Example:
        >>> from pathlib import Path
        >>> with whole_folder(Path("report")) as new:
        ...     write_atomically(new / "report.json", "{}")
        >>> [file.name for file in Path("report").iterdir()]
        ['report.json']
    """
    with folder_beside(path) as new:
        yield new
        os.rename(new, path)
        _flush_folder(path.parent)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yields a new folder beside a path, which is gone at the end with all that is still in it.

    Args:
        path: what the content is for.

    Raises:
        DiskFullError: there is no room for its files.

    Example:
        >>> from pathlib import Path
        >>> with folder_beside(Path("report")) as new:
        ...     new.parent == Path("report").parent
        True
    """
    _check_folder(path.parent)
    temporary = _beside(path)
    try:
        with naming_full_disk(path):
            temporary.mkdir(parents=True)
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, content: bytes | memoryview | str) -> None:
    """Writes a file whole or not at all, see :func:`whole_file`.

    Args:
        path: where the file goes. Its folder is made if it does not exist.
        content: its bytes, or its text, which is written in UTF-8.

    Raises:
        DiskFullError: there is no room for the file.

    Example:
        >>> from pathlib import Path
        >>> write_atomically(Path("numbers.txt"), "1 2 3")
        >>> Path("numbers.txt").read_text()
        '1 2 3'
    """
    content = content.encode() if isinstance(content, str) else content
    with whole_file(path, len(content)) as new:
        new.write_bytes(content)


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes JSON whole or not at all, see :func:`whole_file`.

    Example:
        >>> from pathlib import Path
        >>> write_json(Path("numbers.json"), {"numbers": [1, 2]})
        >>> read_json(Path("numbers.json"), "write it again")
        {'numbers': [1, 2]}
    """
    write_atomically(path, json.dumps(content, indent=indent))


def clear_partial(folder: Path, suffix: str = "") -> None:
    """Removes what killed processes have left in a folder, and was not whole. It is for the only writer of such files.

    Args:
        folder: the folder.
        suffix: end of the names of the files that are looked at, such as ".json"; by default all.

    Example:
        >>> from pathlib import Path
        >>> clear_partial(Path("."))
    """
    for path in folder.glob(f".*{MARK}*{suffix}"):
        with suppress(OSError):  # of somebody else
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: Path, size: int | None = None, temporary: Path | None = None) -> Iterator[None]:
    """Turns the error for a full disk into one that names the file, its folder, and the space that it needs.

    Args:
        path: what is written.
        size: number of bytes that it will have; None: at least as many as the temporary file has by then.
        temporary: the file that is written first. It is removed.

    Raises:
        DiskFullError: there is no room.

    Example:
        >>> from pathlib import Path
        >>> with naming_full_disk(Path("numbers.txt"), size=5):
        ...     _ = Path("numbers.txt").write_text("1 2 3")
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not _is_full(error, path):
            raise
        least = temporary.stat().st_size if temporary is not None and temporary.exists() else 0
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        needed = f"at least {_megabytes(least)}" if size is None else _megabytes(size)
        free = _megabytes(shutil.disk_usage(_existing(path.parent)).free)
        raise DiskFullError(
            f"The disk is full, or a quota is used up: {path} needs {needed}, and {path.parent} has {free} free. What "
            "was there before is unchanged. Make room, and do the same again; a training and a study go on."
        ) from error


def read_json(path: Path, remedy: str, form: Mapping[str, type | UnionType] | None = None) -> dict[str, Any]:
    """Reads a JSON file of the package.

    Args:
        path: the file.
        remedy: what to do if it is damaged, for the message.
        form: names that it must have, with the types of their values; one that may be missing may be None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, cut or no JSON, or values are missing or of other types.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("cut.json").write_text('{"epochs": ')
        >>> read_json(Path("cut.json"), "delete it", {"epochs": int})
        Traceback (most recent call last):
        ValueError: cut.json is empty, cut or altered (Expecting value: line 1 column 12 (char 11)): delete it.
    """
    with reading(path, remedy):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, not values by name")
        for name, kind in (form or {}).items():
            value = content.get(name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise TypeError(f"{name} is {value!r:.60}")
    return content


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Names the file in the errors of whatever reads it.

    Args:
        path: the file.
        remedy: what to do if it is damaged, for the message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is in the file does not fit.

    Example:
        >>> from pathlib import Path
        >>> with reading(Path("run/config.json"), "copy it again"):
        ...     {}["epochs"]
        Traceback (most recent call last):
        ValueError: run/config.json is empty, cut or altered ('epochs'): copy it again.
    """
    import torch  # here, so that this file stays light

    try:
        yield
    except (FileNotFoundError, torch.OutOfMemoryError):
        raise
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder, and a file is needed there.") from error
    except (*DAMAGES, MemoryError) as error:
        if type(error) is ValueError:  # it says itself what is wrong
            raise ValueError(f"{path}: {error}") from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is empty, cut or altered ({lines[0]:.200}): {remedy}.") from error


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes, and other threads, from writing to a folder; and removes what killed ones have left there.

    The lock ends with the process, however it ends.

    Args:
        folder: the folder. It is made if it does not exist.

    Raises:
        BlockingIOError: another one writes to it.
        ValueError: there is a file in its place.

    Example:
        >>> from pathlib import Path
        >>> with only_writer(Path("runs/mine")), only_writer(Path("runs/mine")):
        ...     pass
        Traceback (most recent call last):
        BlockingIOError: runs/mine is in use: another process or thread writes to it. Wait for it, or choose another...
    """
    _check_folder(folder)
    new = not folder.exists()
    with naming_full_disk(folder / LOCK):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            with suppress(NotImplementedError):  # a file system without locks
                lock.acquire()
        except Timeout as error:
            raise BlockingIOError(
                f"{folder} is in use: another process or thread writes to it. Wait for it, or choose another folder."
            ) from error
    try:
        clear_partial(folder)
        yield
    finally:
        lock.release()
        if new and [path.name for path in folder.iterdir()] in ([], [LOCK]):  # nothing was written
            with suppress(OSError):  # another one may have come
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()


def _check_folder(folder: Path) -> None:
    """Raises NotADirectoryError where a file lies in the place of a folder, or of one above it."""
    if not (there := _existing(folder)).is_dir():
        raise NotADirectoryError(f"{there} is a file, and a folder is needed there: choose another path.")


def _beside(path: Path) -> Path:
    """Returns a path that nobody can guess, for what is not whole yet."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}{MARK}{path.suffix}")


def _flush_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    if os.name == "posix":  # elsewhere folders cannot be opened
        _flush(folder, os.O_RDONLY)


def _flush(path: Path, how: int) -> None:
    number = os.open(path, how)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _is_full(error: BaseException, path: Path) -> bool:
    """Whether there was no room. Libraries that are not written in Python have errors of their own for that."""
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in FULL or any(words in str(seen) for words in FULL_IN_WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    own = isinstance(error, ValueError | TypeError | ImportError)  # these have other causes
    return not own and shutil.disk_usage(_existing(path.parent)).free < 2**12


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
