"""The forms in which ModelNet lies around, each read into shapes in one frame: right-handed, z up, as in OFF files."""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hiercl.datasets.archive import Files
from hiercl.datasets.modelnet.off import parse_off
from hiercl.datasets.shapes.solids import Mesh
from hiercl.runtime.types import Float

__all__ = ["DAMAGE", "Found", "Shape", "find_shapes"]

TEXT_POINTS = 10_000  # lines of a resampled file
# What reading a damaged file may raise.
DAMAGE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
KNOWN = """\
  * the original meshes, ModelNet40.zip or its folder: ModelNet40/<class>/<train|test>/<shape>.off
  * modelnet40_ply_hdf5_2048: ply_data_train0.h5, ..., shape_names.txt
  * modelnet40_normal_resampled: <class>/<shape>.txt with the lists modelnet40_train.txt and modelnet40_test.txt
  * arrays: an .npz with points [n, p, 3], label and class_names (or names, such as chair_0001), and split; or train.npz
    and test.npz without split
  each as a folder or as a zip archive of it"""


class Shape(NamedTuple):
    """A shape that has been found but not yet read; ``read()`` gives its mesh, or its points ``[p, 3]``, z up."""

    id: str
    class_name: str
    split: str
    file: str
    read: Callable[[], "Mesh | np.ndarray"]


class Found(NamedTuple):
    """The shapes that a path has, and what is wrong with files that could not even be listed."""

    shapes: list[Shape]
    problems: dict[str, str]


def find_shapes(path: str | Path, name: str = "modelnet40") -> Found:
    """Recognise which form of ModelNet lies at a path, and list its shapes.

    Resampled files have lists of their own for ModelNet10 and ModelNet40; that of ``name`` is read if it is there.

    Raises ValueError, with what is known, for a path that has no form or several, and for archives that are cut or
    have paths that lead out of them; ImportError for HDF5 files without h5py.

    Example::

        >>> shapes, problems = find_shapes("Downloads/ModelNet40.zip")  # doctest: +SKIP
    """
    files = Files(Path(path).expanduser())
    fitting = [form for pattern, form in FORMS.items() if any(re.search(pattern, file) for file in files.names)]
    if len(fitting) != 1:
        what = "several forms of ModelNet, give the path of one" if fitting else "no form of ModelNet that is known"
        if not fitting and (archives := [file for file in files.names if file.lower().endswith(".zip")]):
            what += f", but {', '.join(archives[:3])}: give the path of an archive itself. Known are"
        raise ValueError(f"{path} holds {what}:\n{KNOWN}")
    return fitting[0](files, name)


# ---- original meshes ----


def _meshes(files: Files, name: str) -> Found:
    shapes = []
    for match in files.matching(MESH):
        class_name, split, shape = match.groups()
        shapes.append(Shape(shape, class_name, split, match.string, partial(_mesh, files, match.string)))
    return Found(shapes, {})


def _mesh(files: Files, file: str) -> Mesh:
    return parse_off(files.read(file))


# ---- HDF5 files of 2,048 points ----


def _hdf5(files: Files, name: str) -> Found:
    """y is up in these files; y and z are swapped, as the resampled files need it. Whether the HDF5 files are mirrored
    against the OFF files like those could not be checked."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise ImportError("reading the HDF5 files of ModelNet needs h5py: pip install h5py") from error
    folder = next(files.matching(HDF5))[1]
    classes = _class_list(files, f"{folder}shape_names.txt")
    rows = lru_cache(maxsize=1)(partial(_hdf5_rows, files))  # shapes come file by file
    found = Found([], {})
    for split in ("train", "test"):
        for file in _hdf5_list(files, folder, split):
            try:
                points, labels = rows(file)
                ids = _hdf5_ids(files, file, len(points))
                for row, label in enumerate(labels.tolist()):
                    class_name = classes[label] if 0 <= label < len(classes) else f"label {label}"
                    shape = Shape(ids[row], class_name, split, f"{file}[{row}]", partial(_hdf5_points, rows, file, row))
                    found.shapes.append(shape)
            except DAMAGE as error:
                found.problems[file] = str(error)
    return found


def _hdf5_list(files: Files, folder: str, split: str) -> list[str]:
    """The files that train_files.txt lists, by whatever folder; without it, those with such a name."""
    listed = f"{folder}{split}_files.txt"
    if listed in files.names:
        return [folder + line.rsplit("/", 1)[-1] for line in files.lines(listed)]
    return [match.string for match in files.matching(HDF5) if match[2] == split]


def _hdf5_rows(files: Files, file: str) -> tuple[np.ndarray, np.ndarray]:
    import h5py

    with h5py.File(io.BytesIO(files.read(file)), "r") as content:
        missing = [key for key in ("data", "label") if not isinstance(content.get(key), h5py.Dataset)]
        if missing:
            raise ValueError(f"it has no data set {missing[0]!r}, only {sorted(content)}")
        points, labels = content["data"][()], content["label"][()]
    _check_points(points)
    _check_labels(labels.reshape(-1), len(points))
    return points, labels.reshape(-1)


def _hdf5_ids(files: Files, file: str, count: int) -> list[str]:
    """The names of the shapes lie beside some copies of the files; else a shape is named after its place."""
    beside = re.sub(r"(\d+)\.h5$", r"_\1_id2file.json", file)
    if beside in files.names:
        names = json.loads(files.read(beside))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{beside} is no list of names")
        if len(names) != count:
            raise ValueError(f"it has {count} shapes, but {beside} names {len(names)}")
        return [Path(name).stem for name in names]
    return [f"{Path(file).stem}_{row:04}" for row in range(count)]


def _hdf5_points(rows: Callable, file: str, row: int) -> Float[np.ndarray, "p 3"]:
    return rows(file)[0][row][:, [0, 2, 1]]


# ---- resampled points ----


def _resampled(files: Files, name: str) -> Found:
    """y is up in these files, and they are mirrored against the OFF files: a swap of y and z gives the same frame."""
    folder = next(files.matching(RESAMPLED))[1]
    own = any(f"{folder}{name}_{split}.txt" in files.names for split in ("train", "test"))
    found = Found([], {})
    for split in ("train", "test"):
        listed = f"{folder}{name if own else 'modelnet40'}_{split}.txt"
        try:
            shapes = files.lines(listed)
        except DAMAGE as error:
            found.problems[listed] = str(error)
            continue
        for shape in shapes:
            class_name = shape.rsplit("_", 1)[0]
            file = f"{folder}{class_name}/{shape}.txt"
            found.shapes.append(Shape(shape, class_name, split, file, partial(_resampled_points, files, file)))
    return found


def _resampled_points(files: Files, file: str) -> Float[np.ndarray, "p 3"]:
    content = files.read(file)
    if not content.strip():
        raise ValueError("the file is empty")
    values = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
    if values.shape[1] != 6:
        raise ValueError(f"a line has {values.shape[1]} values instead of x, y, z and the normal")
    if len(values) != TEXT_POINTS:
        raise ValueError(f"the file has {len(values):,} lines instead of {TEXT_POINTS:,}: it is cut or altered")
    return values[:, [0, 2, 1]]


# ---- arrays ----


def _arrays(files: Files, name: str) -> Found:
    """An .npz with points, z up; label and class_names, or names; and split, unless the file is named after it."""
    found = Found([], {})
    for match in files.matching(ARRAYS):
        try:
            found.shapes.extend(_array_shapes(files, match.string))
        except DAMAGE as error:
            found.problems[match.string] = str(error)
    return found


def _array_shapes(files: Files, file: str) -> list[Shape]:
    content = np.load(io.BytesIO(files.read(file)), allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError("it is a single array, not an .npz of several")
    with content:
        arrays = {key: content[key] for key in content.files}
    if "points" not in arrays or not ("names" in arrays or {"label", "class_names"} <= set(arrays)):
        raise ValueError(f"it needs points, and names or label and class_names; it has {sorted(arrays)}")
    for key in ("names", "class_names", "split"):
        if key in arrays and arrays[key].ndim != 1:
            raise ValueError(f"{key} must be a list of names, it has the shape {list(arrays[key].shape)}")
    _check_points(arrays["points"])
    points, n, stem = arrays["points"], len(arrays["points"]), Path(file).stem
    ids = [str(i) for i in arrays.get("names", [f"{stem}_{row:04}" for row in range(n)])]
    classes = [i.rsplit("_", 1)[0] for i in ids]
    if {"label", "class_names"} <= set(arrays):
        label, names = arrays["label"].reshape(-1), [str(i) for i in arrays["class_names"]]
        _check_labels(label, n)
        classes = [names[i] if 0 <= i < len(names) else f"label {i}" for i in label.tolist()]
    by_name = re.findall("train|test", stem)
    splits = [str(i) for i in arrays.get("split", by_name * n if len(by_name) == 1 else [])]
    if len(ids) != n or len(splits) != n or not set(splits) <= {"train", "test"}:
        raise ValueError(f"its {n} points need as many names, and a split of as many 'train' or 'test'")
    rows = zip(ids, classes, splits, strict=True)
    return [Shape(*row, f"{file}[{i}]", partial(points.__getitem__, i)) for i, row in enumerate(rows)]


# ---- checks ----


def _class_list(files: Files, file: str) -> list[str]:
    if file not in files.names:
        raise ValueError(f"{files.path} has no file {file}, which names the classes of the labels")
    return files.lines(file)


def _check_points(points: np.ndarray) -> None:
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
        raise ValueError(f"the points must be floating [n, p, 3], they are {points.dtype} {list(points.shape)}")


def _check_labels(labels: np.ndarray, n: int) -> None:
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(f"{n} shapes need integer labels [{n}], they are {labels.dtype} {list(labels.shape)}")


MESH = r"([^/]+)/(train|test)/([^/]+)\.(?i:off)$"
HDF5 = r"^(.*/|)ply_data_(train|test)\d*\.h5$"
RESAMPLED = r"^(.*/|)modelnet(?:10|40)_(?:train|test)\.txt$"
ARRAYS = r"\.npz$"
FORMS = {MESH: _meshes, HDF5: _hdf5, RESAMPLED: _resampled, ARRAYS: _arrays}
