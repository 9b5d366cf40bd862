"""The forms in which ModelNet exists; each is read into shapes in one frame: right-handed, z up, as in OFF files."""

import io
import json
import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.download import DAMAGE, Files
from hiercl.datasets.limits import LARGEST_TEXT, check_hdf5, check_room, npz_form
from hiercl.datasets.modelnet.off import parse_off
from hiercl.datasets.modelnet.surface import surface_of
from hiercl.datasets.modelnet.volumes import parse_volume
from hiercl.runtime.given import given_path
from hiercl.runtime.types import Float

__all__ = ["DAMAGE", "Found", "Shape", "find_shapes"]

TEXT_POINTS = 10_000  # lines of a resampled file
KNOWN = """\
  * the original meshes, ModelNet40.zip or its folder: ModelNet40/<class>/<train|test>/<shape>.off
  * modelnet40_ply_hdf5_2048: ply_data_train0.h5 (or train0.h5), ..., shape_names.txt
  * modelnet40_normal_resampled: <class>/<shape>.txt with the lists modelnet40_train.txt and modelnet40_test.txt
  * volumes, in one turn or several: <class>/30/<train|test>/<shape>_1.mat (3DShapeNets), ...; or without 30 and turns;
    .mat, .npy or .binvox
  * arrays: an .npz with points [n, p, 3], label and class_names (or names, such as chair_0001), and split; or train.npz
    and test.npz without split
  each as a folder or as a zip archive of it"""


class Shape(NamedTuple):
    """A shape that was found but not read yet.

    Attributes:
        id: its name, such as "chair_0890".
        class_name: its class.
        split: "train" or "test".
        file: the file that holds it, for messages.
        read: function that returns its mesh, or its points ``[p, 3]``, with z up.
        note: what the data set says of shapes like it.
    """

    id: str
    class_name: str
    split: str
    file: str
    read: Callable[[], "Mesh | np.ndarray"]
    note: str = ""


class Found(NamedTuple):
    """The shapes of a path, and the problems of files that could not be listed, by file."""

    shapes: list[Shape]
    problems: dict[str, str]


def find_shapes(path: str | Path, name: str = "modelnet40") -> Found:
    """Recognises which form of ModelNet a path holds, and lists its shapes.

    Args:
        path: a folder, a zip archive or an .npz file.
        name: "modelnet40" or "modelnet10". Resampled files have a list for each; the list of this name is read if it
            exists.

    Returns:
        The shapes and the problems.

    Raises:
        ValueError: the path holds no known form or several, or an archive is cut or has paths that lead out of it.
        ImportError: the files are HDF5, and h5py is not installed.

    Example:
        >>> shapes, problems = find_shapes("Downloads/ModelNet40.zip")  # doctest: +SKIP
    """
    files = Files(given_path(path, "path").expanduser())
    examples = {pattern: next((file for file in files.names if re.search(pattern, file)), None) for pattern in FORMS}
    fitting = {FORMS[pattern]: file for pattern, file in examples.items() if file is not None}
    if len(fitting) != 1:
        if fitting:
            what = f"several forms of ModelNet ({', '.join(fitting.values())}), give the path of one"
        else:
            what = "no known form of ModelNet" if files.names else "no file"
        if not fitting and (archives := [file for file in files.names if file.lower().endswith(".zip")]):
            what += f", but {', '.join(archives[:3])}: give the path of an archive itself"
        raise ValueError(f"{path} holds {what}. The known forms are\n{KNOWN}")
    return next(iter(fitting))(files, name)


# ---- original meshes ----


def _meshes(files: Files, name: str) -> Found:
    found = Found([], {})
    for match in files.matching(MESH):
        class_name, split, shape = match.groups()
        read = partial(lambda file: parse_off(files.read(file, LARGEST_TEXT)), match.string)
        found.shapes.append(Shape(shape, class_name, split, match.string, read))
    return found


# ---- volumes ----


def _volumes(files: Files, name: str) -> Found:
    """The shape chair_000000001_1 is turn 1 of chair_0001, as its mesh is called."""
    turns: dict[tuple[str, str, str], dict[int, str]] = {}
    for match in files.matching(VOLUME):
        class_name, split, shape, number, turn = match.groups()
        shape = f"{shape}_{int(number):04}" if turn else "_".join(filter(None, (shape, number)))
        of_shape = turns.setdefault((shape, class_name, split), {})
        if (other := of_shape.setdefault(int(turn or 1), match.string)) != match.string:
            raise ValueError(f"{files.path} has {shape} twice, {other} and {match.string}: keep one of them")
    found = Found([], {})
    for key, of_shape in turns.items():
        # Turns that differ by 90 degrees have the same voxels, in other places: one of them is enough.
        used = {turn % 3: turn for turn in sorted(of_shape, reverse=True)}
        grids = {turn: of_shape[turn] for turn in sorted(used.values())}
        read = partial(_surface, files, grids)
        found.shapes.append(Shape(*key, next(iter(grids.values())), read, "from volumes"))
    return found


def _surface(files: Files, grids: dict[int, str]) -> Mesh:
    first = next(iter(grids.values()))
    parsed = {}
    for turn, file in grids.items():
        try:
            parsed[turn] = parse_volume(files.read(file, LARGEST_TEXT), Path(file).suffix)
        except ValueError as error:
            raise error if file == first else ValueError(f"its other turn {file}: {error}") from error
    return surface_of(parsed)


# ---- HDF5 files of 2,048 points ----


def _hdf5(files: Files, name: str) -> Found:
    """These files have y up; y and z are swapped, as for the resampled files. Whether the HDF5 files are mirrored
    against the OFF files, as the resampled files are, could not be checked."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise ImportError("reading the HDF5 files of ModelNet needs h5py: pip install h5py") from error
    folder = next(files.matching(HDF5))[1]
    if f"{folder}shape_names.txt" not in files.names:
        raise ValueError(f"{files.path} has no file {folder}shape_names.txt, which names the classes of the labels")
    classes = files.lines(f"{folder}shape_names.txt")
    rows = lru_cache(maxsize=1)(partial(_hdf5_rows, files))  # shapes are read file by file
    found = Found([], {})
    for split in ("train", "test"):
        listed = f"{folder}{split}_files.txt"
        if listed in files.names:  # its lines name the files in some other folder
            parts = [folder + line.rsplit("/", 1)[-1] for line in files.lines(listed)]
        else:
            parts = [match.string for match in files.matching(HDF5) if match[2].lower() == split]
        for file in parts:
            try:
                points, labels = rows(file)
                ids = _hdf5_ids(files, file, len(points))
                for row, (shape, label) in enumerate(zip(ids, labels.tolist(), strict=True)):
                    read = partial(lambda file, row: rows(file)[0][row][:, [0, 2, 1]], file, row)
                    found.shapes.append(Shape(shape, _class_of(label, classes), split, f"{file}[{row}]", read))
            except DAMAGE as error:
                found.problems[file] = str(error)
    return found


def _hdf5_rows(files: Files, file: str) -> tuple[np.ndarray, np.ndarray]:
    import h5py

    with h5py.File(io.BytesIO(files.read(file)), "r") as content:
        check_hdf5(content)
        missing = [key for key in ("data", "label") if not isinstance(content.get(key), h5py.Dataset)]
        if missing:
            raise ValueError(f"it has no data set {missing[0]!r}, only {sorted(content)}")
        points, labels = np.asarray(content["data"]), np.asarray(content["label"]).reshape(-1)
    _check(points, labels)
    return points, labels


def _hdf5_ids(files: Files, file: str, count: int) -> list[str]:
    """Names of the shapes from the list beside the file; without a list, a shape is named after its place."""
    beside = re.sub(r"_?(\d+)\.(h5|hdf5)$", r"_\1_id2file.json", file)
    if beside not in files.names:
        return [f"{Path(file).stem}_{row:04}" for row in range(count)]
    names = json.loads(files.read(beside))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{beside} is no list of names")
    if len(names) != count:
        raise ValueError(f"it has {count} shapes, but {beside} names {len(names)}")
    return [Path(name).stem for name in names]


# ---- resampled points ----


def _resampled(files: Files, name: str) -> Found:
    """These files have y up, and they are mirrored against the OFF files: a swap of y and z gives the same frame."""
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
    content = files.read(file, LARGEST_TEXT)
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
    """An .npz with points, z up; label and class_names, or names; and split, unless the file's name says it."""
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
        for key in content.files:
            shape, dtype = npz_form(content, key)
            check_room(float(np.prod(shape, dtype=np.float64)) * dtype.itemsize, f"the array {key!r}")
        arrays = {key: content[key] for key in content.files}
    labelled = {"label", "class_names"} <= set(arrays)
    if "points" not in arrays or not ("names" in arrays or labelled):
        raise ValueError(f"it needs points, and names or label and class_names; it has {sorted(arrays)}")
    for key in ("names", "class_names", "split"):
        if key in arrays and arrays[key].ndim != 1:
            raise ValueError(f"{key} must be a list of names, it has the shape {list(arrays[key].shape)}")
    points, label = arrays["points"], arrays["label"].reshape(-1) if labelled else None
    _check(points, label)
    n, stem = len(points), Path(file).stem
    ids = [str(i) for i in arrays.get("names", [f"{stem}_{row:04}" for row in range(n)])]
    if label is None:
        classes = [i.rsplit("_", 1)[0] for i in ids]
    else:
        classes = [_class_of(i, arrays["class_names"].tolist()) for i in label.tolist()]
    named = re.findall("train|test", stem)
    splits = [str(i) for i in arrays.get("split", named * n if len(named) == 1 else [])]
    if len(ids) != n or len(splits) != n or not set(splits) <= {"train", "test"}:
        raise ValueError(f"its {n} shapes need as many names, and a split of as many 'train' or 'test'")
    rows = zip(ids, classes, splits, strict=True)
    return [Shape(*row, f"{file}[{i}]", partial(points.__getitem__, i)) for i, row in enumerate(rows)]


# ---- what HDF5 files and arrays share ----


def _class_of(label: int, names: list[str]) -> str:
    return str(names[label]) if 0 <= label < len(names) else f"label {label}"


def _check(points: np.ndarray, labels: np.ndarray | None) -> None:
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
        raise ValueError(f"the points must be floating [n, p, 3], they are {points.dtype} {list(points.shape)}")
    n = len(points)
    if labels is not None and (labels.shape != (n,) or labels.dtype.kind not in "iu"):
        raise ValueError(f"{n} shapes need integer labels [{n}], they are {labels.dtype} {list(labels.shape)}")


VOLUME = r"([^/]+)/(?:\d+/)?(train|test)/([^/]+?)(?:_(\d+))?(?:(?<=\d)_(\d{1,2}))?\.(?i:mat|npy|binvox)$"
MESH = r"([^/]+)/(train|test)/([^/]+)\.(?i:off)$"
HDF5 = r"^(.*/|)(?:[^/]*[^a-zA-Z/]|)((?i:train|test))(?:[^a-zA-Z/][^/]*|)\.(?:h5|hdf5)$"
RESAMPLED = r"^(.*/|)modelnet(?:10|40)_(?:train|test)\.txt$"
ARRAYS = r"\.npz$"
FORMS = {MESH: _meshes, VOLUME: _volumes, HDF5: _hdf5, RESAMPLED: _resampled, ARRAYS: _arrays}
