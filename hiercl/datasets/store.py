"""The array store: a data set as a folder of plain files, described in ``data/README.md``.

``items.npy`` and ``labels.npy`` are numpy arrays, ``hierarchy.json`` holds the hierarchy, and ``store.json`` says what
the other files must be. If the items have names, these are in ``ids.npy``. What vectors were made of is in
``texts.json`` or in a store of its own below, ``source``. No file of a store is ever unpickled.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO

import numpy as np

from hiercl.datasets.items import form_of
from hiercl.datasets.limits import check_room
from hiercl.datasets.pictures.files import PictureFiles
from hiercl.datasets.rows import Rows
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.files import folder_beside, read_json, whole_file, write_atomically
from hiercl.runtime.given import given_path

__all__ = ["FORMAT_VERSION", "is_store", "read_fields", "replacing", "write_missing_store", "write_store"]

FORMAT_VERSION = 1
VECTORS_VERSION = 2  # of stores of vectors, which version 0.1.0 would take for point clouds
FILES = ("items.npy", "labels.npy", "hierarchy.json")
OPTIONAL_FILES = ("ids.npy", "texts.json")
SOURCE = "source"  # folder of the store of what vectors were made of
FIELDS: dict[str, type | UnionType] = {  # of store.json
    **{"name": str, "note": str, "items": dict, "labels": dict, "files": dict},
    **{"kind": str | None, "counts": dict | None},
}
BLOCK = 1024  # items that are written at a time
REMEDY = "delete the folder and make the store again, or copy it again from where it came"


def is_store(path: str | Path) -> bool:
    """Returns whether a folder is an array store, that is, has a ``store.json``.

    Example:
        >>> is_store("nowhere")
        False
    """
    return (given_path(path, "path") / "store.json").is_file()


def write_store(dataset: Any, path: str | Path, overwrite: bool = False) -> None:
    """Writes a data set as an array store, all of it or nothing.

    The files are written to a temporary folder beside `path`, which takes its place when they are complete. Picture
    files (`PictureFiles`) are decoded. A source of vectors that makes its pictures when it is asked is not stored.

    Args:
        dataset: the data set.
        path: folder of the store.
        overwrite: replace an array store that exists at `path`.

    Raises:
        FileExistsError: `path` exists and ``overwrite`` is False, or it is no array store.
        UnreadablePictures: some picture files cannot be read; the error lists all of them.

    Example:
        >>> write_store(train, "my_data/train")
    """
    path = given_path(path, "path").absolute()
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another path, or give overwrite=True to replace the store")
    if path.exists() and not is_store(path):
        raise FileExistsError(f"{path} exists and is no array store: it is not replaced, choose another path")
    with replacing(path, [path], overwrite) as temporary:
        (temporary / path.name).mkdir()
        _write_files(dataset, temporary / path.name)


def write_missing_store(dataset: Any, path: str | Path) -> None:
    """Writes a data set as an array store, unless there is one; another process may write it at the same time.

    Raises:
        FileExistsError: `path` exists and is no array store.

    Example:
        >>> write_missing_store(train, "my_data/train")
        >>> write_missing_store(train, "my_data/train")
    """
    if not is_store(path):
        try:
            write_store(dataset, path)
        except FileExistsError:
            if not is_store(path):
                raise


def read_fields(path: str | Path, mmap: bool = True, verify: bool = False) -> dict[str, Any]:
    """Reads the fields of the data set in a store: items, labels, hierarchy, name, note, ids, source, modality.

    A source that is a store itself is given as its path. The arguments and errors are those of
    :func:`hiercl.datasets.read_store`.

    Example:
        >>> train.save("my_data/train")
        >>> read_fields("my_data/train")["name"]
        'shapes'
    """
    path = given_path(path, "path")
    if path.is_file():
        raise NotADirectoryError(f"{path} is a file: give the folder of an array store, which holds a store.json")
    about = _read_json(path / "store.json", {"version": int})
    if about["version"] not in (FORMAT_VERSION, VECTORS_VERSION):
        raise RuntimeError(
            f"{path / 'store.json'} has format version {about['version']!r}, this hiercl reads {FORMAT_VERSION} and "
            f"{VECTORS_VERSION}: use the hiercl that wrote the store, or {REMEDY}"
        )
    about = _read_json(path / "store.json", FIELDS)
    if about.get("source") not in (None, SOURCE):
        raise RuntimeError(f"{path / 'store.json'} is altered, its source is {about['source']!r}: {REMEDY}")
    optional = [file for file in OPTIONAL_FILES if file in about["files"]]
    for file in (*FILES, *optional):
        _check_file(path / file, about["files"], verify)
    source = None
    if "texts.json" in optional:
        source = _read_json(path / "texts.json", {"texts": list})["texts"]
    elif about.get("source") == SOURCE:
        source = path / SOURCE
    items, vectors = _read_array(path / "items.npy", about["items"], mmap), about["version"] == VECTORS_VERSION
    try:
        hierarchy = Hierarchy.from_json(_read_json(path / "hierarchy.json"))
        kind = "vectors" if vectors else form_of(items).name
    except ValueError as error:
        raise altered(path, error) from error
    for name, value in {"counts": {"items": len(items), "nodes": list(hierarchy.sizes)}, "kind": kind}.items():
        if about.get(name, value) != value:
            raise RuntimeError(f"{path / 'store.json'} says {name} {about[name]}, but the files hold {value}: {REMEDY}")
    return {
        "items": items,
        "labels": _read_array(path / "labels.npy", about["labels"], mmap=False),
        "ids": _read_array(path / "ids.npy", about.get("ids"), mmap=False) if "ids.npy" in optional else None,
        "hierarchy": hierarchy,
        "name": about["name"],
        "note": about["note"],
        "source": source,
        "modality": "vectors" if vectors else "",
    }


def altered(path: Path, error: Exception) -> RuntimeError:
    """Returns the error for a store whose labels, names or hierarchy are not those that were written."""
    return RuntimeError(f"labels.npy, ids.npy or hierarchy.json in {path} is altered ({error}): {REMEDY}")


# ---- writing ----


def _write_files(dataset: Any, folder: Path) -> None:
    arrays = {"labels": dataset.labels} | ({} if dataset.ids is None else {"ids": dataset.ids})
    with whole_file(folder / "items.npy") as new, open(new, "wb") as file:
        _write_items(file, dataset.items)
    for name, array in arrays.items():
        with whole_file(folder / f"{name}.npy") as new:
            np.save(new, array, allow_pickle=False)
    _write_json(folder / "hierarchy.json", dataset.hierarchy.to_json())
    texts = isinstance(dataset.source, tuple)
    if texts:
        _write_json(folder / "texts.json", {"texts": dataset.source})
    stored = hasattr(dataset.source, "items")
    if stored:
        (folder / SOURCE).mkdir()
        _write_files(dataset.source, folder / SOURCE)
    elif dataset.source is not None and not texts:
        warnings.warn(
            f"the source of {dataset.name!r} makes its pictures when it is asked, and is not stored: plots of the "
            "stored data set name the classes.",
            stacklevel=4,
        )
    names = [*FILES, *(file for file in OPTIONAL_FILES if (folder / file).exists())]
    about = {
        "format": "hiercl array store",
        "version": VECTORS_VERSION if dataset.modality == "vectors" else FORMAT_VERSION,
        "name": dataset.name,
        "note": dataset.note,
        "kind": dataset.modality,
        **({"source": SOURCE} if stored else {}),
        "counts": {"items": len(dataset), "nodes": list(dataset.hierarchy.sizes)},
        "items": _form(dataset.items),
        **{name: _form(array) for name, array in arrays.items()},
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)} for name in names},
    }
    _write_json(folder / "store.json", about)


def _write_items(file: BinaryIO, items: np.ndarray | PictureFiles | Rows) -> None:
    """Writes what np.save would write, block by block: decoded picture files may be larger than the memory."""
    form = {"descr": np.lib.format.dtype_to_descr(items.dtype), "fortran_order": False, "shape": items.shape}
    np.lib.format.write_array_header_1_0(file, form)
    if isinstance(items, PictureFiles):
        blocks = items.blocks()
    else:
        blocks = (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))
    for block in blocks:
        file.write(np.ascontiguousarray(block).data)


@contextmanager
def replacing(place: Path, paths: Sequence[Path], overwrite: bool) -> Iterator[Path]:
    """Yields a temporary folder beside `place`; at the end its files and folders move to `paths`.

    With ``overwrite``, all old files and folders at `paths` are moved away before a new one is moved there, so old and
    new are never mixed. After an error or an interrupt the old ones are moved back.

    Raises:
        FileExistsError: another process wrote one of the paths in the meantime.
    """
    try:
        with folder_beside(place) as temporary:
            old = {path: temporary / f"old {path.name}" for path in paths}
            yield temporary
            try:
                for path in reversed(paths):
                    if overwrite and path.exists():
                        path.rename(old[path])
                for path in paths:
                    path.parent.mkdir(exist_ok=True)
                    (temporary / path.name).rename(path)
            except BaseException:
                for path in paths:
                    if old[path].exists():
                        if path.exists():
                            path.rename(temporary / path.name)
                        old[path].rename(path)
                raise
    except OSError as error:
        if not overwrite and paths[0].exists():
            raise FileExistsError(f"{paths[0]} exists: another process wrote it in the meantime") from error
        raise


def _write_json(path: Path, content: dict) -> None:
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _form(array: np.ndarray | PictureFiles | Rows) -> dict:
    return {"dtype": array.dtype.name, "shape": list(array.shape)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- reading ----


def _read_json(path: Path, form: Mapping[str, type | UnionType] | None = None) -> dict[str, Any]:
    try:
        return read_json(path, REMEDY, form)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing, so this is no complete array store: {REMEDY}") from error
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def _check_file(path: Path, files: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {REMEDY}")
    if path.name not in files:
        raise RuntimeError(f"{path.with_name('store.json')} is altered, it has no entry for {path.name}: {REMEDY}")
    expected = files[path.name]
    if not isinstance(expected, dict) or not isinstance(expected.get("bytes"), int) or "sha256" not in expected:
        raise RuntimeError(f"{path.with_name('store.json')} is altered, its entry for {path.name} is wrong: {REMEDY}")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise RuntimeError(
            f"{path} has {size:,} bytes instead of {expected['bytes']:,}, it is cut or altered: {REMEDY}"
        )
    if verify and _sha256(path) != expected["sha256"]:
        raise RuntimeError(f"{path} does not have the checksum that store.json gives, it is altered: {REMEDY}")


def _read_array(path: Path, expected: dict[str, Any] | None, mmap: bool) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # which knows that the file is as long as it claims
    except Exception as error:  # numpy reads the header as Python does, which has errors of its own
        raise RuntimeError(f"{path} is no readable numpy array ({error}): {REMEDY}") from error
    found = _form(array) if isinstance(array, np.ndarray) else "several arrays"
    if found != expected:
        raise RuntimeError(f"{path} holds {found}, but store.json says {expected}: {REMEDY}")
    if mmap:
        return array
    try:
        check_room(array.nbytes, str(path), math.inf)
    except ValueError as error:
        raise RuntimeError(str(error)) from error
    return np.array(array)
