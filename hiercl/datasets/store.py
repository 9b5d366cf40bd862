"""The array store: a data set as a folder of plain files, described in ``data/README.md``.

``items.npy`` and ``labels.npy`` are numpy arrays, ``hierarchy.json`` the hierarchy, and ``store.json`` says what the
other files must be. Where the items have names, they are in ``ids.npy``. Nothing in a store is ever unpickled.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hiercl.datasets.pictures.files import PictureFiles
from hiercl.hierarchy import Hierarchy

__all__ = ["FORMAT_VERSION", "is_store", "read_fields", "write_store"]

FORMAT_VERSION = 1
FILES = ("items.npy", "labels.npy", "hierarchy.json")
BLOCK = 1024  # items that are written at a time
MEND = "delete the folder and make the store again, or copy it again from where it came"


def is_store(path: str | Path) -> bool:
    """Say whether a folder is an array store, that is, has a ``store.json``."""
    return (Path(path) / "store.json").is_file()


def write_store(dataset: Any, path: str | Path, overwrite: bool = False) -> None:
    """Write a data set as an array store, all of it or nothing.

    The files are written to a temporary folder beside `path`, which takes its place only when they are complete.

    Picture files (`PictureFiles`) are decoded, and all that cannot be read are listed in one UnreadablePictures.

    Raises FileExistsError when `path` exists: without ``overwrite`` whatever it is, with ``overwrite`` when it is
    no array store.

    Example::

        >>> write_store(train, "my_data/train")  # doctest: +SKIP
    """
    path = Path(path).absolute()
    _check_free(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp lets only its owner in, and stores are handed around
        _write_files(dataset, temporary)
        _move_into_place(temporary, path, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_fields(path: str | Path, mmap: bool = True, verify: bool = False) -> dict[str, Any]:
    """Read the fields of the data set in a store: items, labels, hierarchy, name, note, ids.

    Raises FileNotFoundError and RuntimeError as `hiercl.datasets.read_store`.
    """
    path = Path(path)
    about = _read_json(path / "store.json", ("version",))
    if about["version"] != FORMAT_VERSION:
        raise RuntimeError(
            f"{path / 'store.json'} has format version {about['version']!r}, this hiercl reads {FORMAT_VERSION}: "
            f"use the hiercl that wrote the store, or {MEND}"
        )
    about = _read_json(path / "store.json", ("name", "note", "items", "labels", "files"))
    with_ids = "ids.npy" in about["files"]  # stores of items without names, and older stores, have none
    for file in (*FILES, *(["ids.npy"] if with_ids else [])):
        _check_file(path / file, about["files"], verify)
    items = _read_array(path / "items.npy", about["items"], mmap)
    labels = _read_array(path / "labels.npy", about["labels"], mmap=False)
    ids = _read_array(path / "ids.npy", about.get("ids"), mmap=False) if with_ids else None
    hierarchy = _read_json(path / "hierarchy.json", ("level_names", "names", "parents"))
    try:
        hierarchy = Hierarchy.from_json(hierarchy)
    except (ValueError, TypeError) as error:
        raise altered(path, error) from error
    return {"items": items, "labels": labels, "hierarchy": hierarchy, "ids": ids} | {
        field: about[field] for field in ("name", "note")
    }


def altered(path: Path, error: Exception) -> RuntimeError:
    """The error for a store whose labels, names or hierarchy are not what was written."""
    return RuntimeError(f"labels.npy, ids.npy or hierarchy.json in {path} is altered ({error}): {MEND}")


# ---- writing ----


def _check_free(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists: choose another path, or give overwrite=True to replace the store")
    if not is_store(path):
        raise FileExistsError(f"{path} exists and is no array store: it is not replaced, choose another path")


def _write_files(dataset: Any, folder: Path) -> None:
    with _synced(folder / "items.npy") as file:
        _write_items(file, dataset.items)
    with _synced(folder / "labels.npy") as file:
        np.save(file, dataset.labels, allow_pickle=False)
    if dataset.ids is not None:
        with _synced(folder / "ids.npy") as file:
            np.save(file, dataset.ids, allow_pickle=False)
    with _synced(folder / "hierarchy.json") as file:
        file.write(_json(dataset.hierarchy.to_json()))
    names = (*FILES, *([] if dataset.ids is None else ["ids.npy"]))
    about = {
        "format": "hiercl array store",
        "version": FORMAT_VERSION,
        "name": dataset.name,
        "note": dataset.note,
        "kind": dataset.kind,
        "counts": {"items": len(dataset), "nodes": list(dataset.hierarchy.sizes)},
        "items": _form(dataset.items),
        "labels": _form(dataset.labels),
        **({} if dataset.ids is None else {"ids": _form(dataset.ids)}),
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)} for name in names},
    }
    with _synced(folder / "store.json") as file:
        file.write(_json(about))


def _write_items(file: BinaryIO, items: np.ndarray | PictureFiles) -> None:
    """Write what np.save would, a block at a time: picture files, decoded, may be larger than the memory."""
    form = {"descr": np.lib.format.dtype_to_descr(items.dtype), "fortran_order": False, "shape": items.shape}
    np.lib.format.write_array_header_1_0(file, form)
    if isinstance(items, PictureFiles):
        blocks = items.blocks()
    else:
        blocks = (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))
    for block in blocks:
        file.write(np.ascontiguousarray(block).data)


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing; on leaving, its content is on the disk and not only in a cache."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(temporary: Path, path: Path, overwrite: bool) -> None:
    if not (overwrite and path.exists()):
        try:
            temporary.rename(path)
        except OSError as error:
            if path.exists():
                raise FileExistsError(f"{path} exists: another process wrote it in the meantime") from error
            raise
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent)) / path.name
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:  # also an interrupt must not cost the old store
        if not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _json(content: dict) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _form(array: np.ndarray | PictureFiles) -> dict:
    return {"dtype": array.dtype.name, "shape": list(array.shape)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- reading ----


def _read_json(path: Path, fields: tuple[str, ...]) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, so this is no complete array store: {MEND}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RuntimeError(f"{path} is cut or altered ({error}): {MEND}") from error
    missing = [field for field in fields if not isinstance(content, dict) or field not in content]
    if missing:
        raise RuntimeError(f"{path} is altered, it has no field {missing[0]!r}: {MEND}")
    return content


def _check_file(path: Path, files: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {MEND}")
    if path.name not in files:
        raise RuntimeError(f"{path.with_name('store.json')} is altered, it says nothing of {path.name}: {MEND}")
    expected = files[path.name]
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise RuntimeError(f"{path} has {size:,} bytes instead of {expected['bytes']:,}, it is cut or altered: {MEND}")
    if verify and _sha256(path) != expected["sha256"]:
        raise RuntimeError(f"{path} does not have the checksum that store.json gives, it is altered: {MEND}")


def _read_array(path: Path, expected: dict[str, Any] | None, mmap: bool) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise RuntimeError(f"{path} is no readable numpy array ({error}): {MEND}") from error
    if _form(array) != expected:
        raise RuntimeError(f"{path} holds {_form(array)}, but store.json says {expected}: {MEND}")
    return array
