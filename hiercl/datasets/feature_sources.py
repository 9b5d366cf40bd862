"""What a file or an object holds that can become vectors, labels and texts: listed first, read when it is chosen.

Objects of other libraries are told by their attributes: no such library is imported before it is needed.
"""

import csv
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.datasets.features import check_columns, to_numpy
from hiercl.datasets.limits import check_hdf5, check_room, npz_form

__all__ = ["ENDINGS", "TABLE_ENDINGS", "Entry", "FeatureSource", "open_source"]

ENDINGS = (".npy", ".npz", ".parquet", ".h5ad")
TABLE_ENDINGS = (".csv", ".tsv")
SHOWN = 20  # arrays and columns that a message lists
PART = re.compile(r"(?P<part>train|test)_(?P<name>.+)|(?P<name2>.+)_(?P<part2>train|test)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """An array of a source, which is read when it is asked for.

    Attributes:
        shape: its shape; the first length is the number of items.
        dtype: its type.
        read: returns it.
        names: names of its numbers, where it holds numbers of categories.
    """

    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[], Any]
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, array: Any) -> "Entry":
        """Returns the entry of an array that is there already, also of a sparse one."""
        return cls(tuple(array.shape), array.dtype, lambda: dense(array))

    def __repr__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class FeatureSource:
    """What a source holds.

    Attributes:
        what: what it is, for messages.
        name: name of the data set.
        matrices: what can be vectors, by name.
        columns: what has one value for each item, by name.
        ids: names of the items.
    """

    what: str
    name: str
    matrices: dict[str, Entry]
    columns: dict[str, Entry] = field(default_factory=dict)
    ids: np.ndarray | None = None

    def __repr__(self) -> str:
        entries = [f"{name!r}: {entry}" for name, entry in {**self.matrices, **self.columns}.items()]
        more = f"; and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
        return f"{self.what} holds {'; '.join(entries[:SHOWN]) or 'nothing'}{more}"


def open_source(source: Any) -> dict[str, FeatureSource]:
    """Lists what a source holds, without reading it where that is possible.

    Args:
        source: the path of a file, an array or tensor, a mapping of arrays, an AnnData object, a pandas DataFrame, or
            a data set of Hugging Face's ``datasets``.

    Returns:
        What it holds, under "" or, where the source itself has parts, under "train", "test" and other names.

    Raises:
        ValueError: nothing that can be read.

    Example:
        >>> open_source({"x": np.zeros((4, 2)), "y": np.arange(4)})[""]
        the mapping holds 'x': float64 [4, 2]; 'y': int64 [4]
    """
    if isinstance(source, str | Path):
        return _open_file(Path(source).expanduser())
    if hasattr(source, "obs") and hasattr(source, "obsm"):
        return {"": _of_anndata(source, "the AnnData object", "anndata")}
    if isinstance(source, Mapping) and source and all(hasattr(part, "column_names") for part in source.values()):
        return {name: _of_hugging_face(part, f"the part {name!r}") for name, part in source.items()}
    if hasattr(source, "column_names") and hasattr(source, "with_format"):
        return {"": _of_hugging_face(source, "the data set")}
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        return {"": _of_frame(source, "the table", "table")}
    if isinstance(source, Mapping):
        if wrong := [name for name in source if not isinstance(name, str)]:
            raise ValueError(f"the mapping has the key {wrong[0]!r}: keys are the names of arrays")
        return _of_arrays({name: Entry.of(to_numpy(a)) for name, a in source.items()}, "the mapping", "arrays")
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        array = source if hasattr(source, "toarray") else to_numpy(source)
        return {"": FeatureSource("the array", "arrays", {"array": Entry.of(array)})}
    raise ValueError(
        f"features cannot be read from a {type(source).__name__}: give a path ({', '.join(ENDINGS)}, .csv), an array, "
        "a mapping of arrays, an AnnData object, a pandas DataFrame or a Hugging Face data set"
    )


def dense(array: Any) -> Any:
    """Writes a sparse matrix out in float32, after a check that it fits into the memory; others are given back."""
    if not hasattr(array, "toarray"):
        return array
    remedy = "reduce it first, for example with sklearn.decomposition.TruncatedSVD(256).fit_transform(X)"
    size = 4 * float(np.prod(array.shape, dtype=np.float64))
    check_room(size, f"the sparse matrix {list(array.shape)}, written out,", math.inf, remedy)
    return array.astype(np.float32).toarray()


# ---- files ----


def _open_file(path: Path) -> dict[str, FeatureSource]:
    what, ending = f"the file {path.name}", path.suffix.lower()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if ending == ".npy":
        return {"": FeatureSource(what, path.stem, {"array": Entry.of(_load_npy(path))})}
    if ending == ".npz":
        return _open_npz(path, what)
    if ending == ".h5ad":
        try:
            import anndata  # noqa: F401
        except ImportError as error:
            raise ImportError(f"{path.name} is a file of AnnData: pip install anndata") from error
        return {"": _of_anndata(_read_h5ad(path), what, path.stem)}
    if ending in (".parquet", *TABLE_ENDINGS):
        return {"": _of_frame(_read_frame(path), what, path.stem)}
    raise ValueError(
        f"features are read from files that end in {', '.join((*ENDINGS, *TABLE_ENDINGS))}; got {path.name}"
    )


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python does, which has errors of its own
        raise ValueError(_unreadable(path, error)) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds several arrays: rename it, so that it ends in .npz")
    return array


def _open_npz(path: Path, what: str) -> dict[str, FeatureSource]:
    try:
        archive = np.load(path, allow_pickle=False)
        if {"indptr", "shape", "format"} <= set(archive.files):
            from scipy.sparse import load_npz

            return {"": FeatureSource(what, path.stem, {"array": Entry.of(load_npz(path))})}
        entries = {}
        for name in archive.files:
            shape, dtype = npz_form(archive, name)
            entries[name] = Entry(shape, dtype, partial(_read_member, archive, name, shape, dtype))
    except Exception as error:  # zip, zlib and numpy have errors of their own for a file that is cut
        raise ValueError(_unreadable(path, error)) from error
    if objects := [name for name, entry in entries.items() if entry.dtype.hasobject]:
        raise ValueError(_unreadable(path, f"{objects[0]!r} is of type object"))
    return _of_arrays(entries, what, path.stem)


def _read_member(archive: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Reads an array of an archive, of any size that fits into the memory."""
    check_room(float(np.prod(shape, dtype=np.float64)) * dtype.itemsize, f"the array {name!r}", math.inf)
    try:
        return archive[name]
    except Exception as error:  # zip and zlib have errors of their own for a file that is cut
        raise ValueError(f"the array {name!r} cannot be read ({error}): the file is cut or altered") from error


def _read_h5ad(path: Path) -> Any:
    import anndata
    import h5py

    try:
        with h5py.File(path, "r") as file:
            check_hdf5(file)
        return anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata have errors of all kinds
        raise ValueError(f"{path} is no readable file of AnnData: {error}") from error


def _unreadable(path: Path, error: Any) -> str:
    return (
        f"{path} is no numpy file of plain numbers or strings ({error}): Python objects are never unpickled; save "
        "X.astype('float32'), and names as np.array(names, dtype=str)"
    )


def _read_frame(path: Path) -> Any:
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except ImportError as error:
            raise ImportError(f"{path.name} is a file of Parquet: pip install pyarrow") from error
        except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
            raise ValueError(f"{path} is no readable file of Parquet: {error}") from error
    wrong = f"{path} is no table of comma-separated values in UTF-8"
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = next((line for line in file if line.strip()), "")
        separator = max(",;\t", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{wrong}: {error}") from error
    check_columns(filter(None, names), str(path))  # pandas would rename one
    try:
        # "None" and "NA" are names like others
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the first
            options = {"keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig", "index_col": False}
            frame = pd.read_csv(path, sep=separator, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' errors are of these kinds
        raise ValueError(f"{wrong}: {error}") from error
    return frame[[name for name in frame.columns if not re.fullmatch(r"Unnamed: \d+", name)]]  # that have no name


# ---- objects ----


def _of_arrays(entries: dict[str, Entry], what: str, name: str) -> dict[str, FeatureSource]:
    """Sorts arrays by what they can be; arrays that are all named like x_train, y_train, x_test, y_test make parts."""
    found = {key: PART.fullmatch(key) for key in entries}
    parts: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        match = found[key] if all(found.values()) else None
        part = (match["part"] or match["part2"]).lower() if match else ""
        parts.setdefault(part, {})[(match["name"] or match["name2"]) if match else key] = entry
    made = {}
    for part, own in parts.items():
        vectors = {key: entry for key, entry in own.items() if entry.dtype.kind == "f" and len(entry.shape) in (2, 3)}
        columns = {key: entry for key, entry in own.items() if key not in vectors and entry.shape}
        made[part] = FeatureSource(f"the part {part!r} of {what}" if part else what, name, vectors, columns)
    return made or {"": FeatureSource(what, name, {})}


def _of_frame(frame: Any, what: str, name: str) -> FeatureSource:
    matrices, columns = {}, {}
    check_columns(map(str, frame.columns), what)
    for column in frame.columns:
        values = frame[column]
        first = values.iloc[0] if len(values) else None
        if isinstance(first, list | tuple | np.ndarray):
            cell = _array_of(first)
            matrices[str(column)] = Entry(
                (len(frame), *cell.shape), cell.dtype, lambda values=values, column=column: _stacked(values, column)
            )
        else:
            columns[str(column)] = _column(values)
    ids = None
    if frame.index.nlevels > 1:
        ids = np.array(["/".join(map(str, one)) for one in frame.index], dtype=str)
    elif frame.index.dtype.kind not in "iufM":
        ids = frame.index.to_numpy().astype(str)
    return FeatureSource(what, name, matrices, columns, ids)


def _column(values: Any) -> Entry:
    """The entry of a pandas column; categories keep their order."""
    if hasattr(values, "cat"):
        names = tuple(str(name) for name in values.cat.categories)
        return Entry((len(values),), "category", lambda: values.cat.codes.to_numpy().astype(np.int64), names)
    return Entry((len(values),), values.dtype, values.to_numpy)


def _array_of(cell: Any) -> np.ndarray:
    array = to_numpy(cell, "the numbers of a cell")
    if array.dtype == object and array.ndim and len(array):
        return to_numpy([_array_of(part) for part in array], "the parts of a cell")
    return array


def _stacked(values: Any, column: str) -> np.ndarray:
    arrays = [None if value is None or isinstance(value, float) else _array_of(value) for value in values]
    shapes = [None if array is None else array.shape for array in arrays]
    if odd := [row for row, shape in enumerate(shapes) if shape != shapes[0]]:
        raise ValueError(
            f"the vectors of {column!r} differ in shape: {shapes[0]} in row 0, {shapes[odd[0]]} in row {odd[0]}: "
            "leave such rows out, or bring all vectors to one length"
        )
    return np.stack(arrays)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _of_anndata(data: Any, what: str, name: str) -> FeatureSource:
    matrices = {} if data.X is None else {"X": Entry.of(data.X)}
    for extra in (data.obsm, data.layers):
        for key in extra:
            array = extra[key]
            matrices.setdefault(key, Entry.of(array.to_numpy() if hasattr(array, "to_numpy") else array))
    columns = {str(column): _column(data.obs[column]) for column in data.obs.columns}
    return FeatureSource(what, name, matrices, columns, data.obs_names.to_numpy().astype(str))


def _of_hugging_face(data: Any, what: str) -> FeatureSource:
    """A data set of the library ``datasets``: its first row says what its columns hold."""
    if not len(data):
        raise ValueError(f"{what} is empty")
    arrays = data.with_format("numpy")
    matrices, columns = {}, {}
    for name, first in arrays[0].items():
        cell = np.asarray(first)
        read = lambda name=name: np.asarray(arrays[name][:])  # noqa: E731
        names = tuple(getattr(data.features[name], "names", None) or ())
        entry = Entry((len(data), *cell.shape), cell.dtype, read, names)
        (matrices if cell.dtype.kind == "f" and cell.ndim in (1, 2) else columns)[name] = entry
    name = getattr(data, "info", None) and data.info.dataset_name
    return FeatureSource(what, name or "dataset", matrices, columns)
