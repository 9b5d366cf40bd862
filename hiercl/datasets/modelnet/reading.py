"""ModelNet10 and ModelNet40 (Wu et al., CVPR 2015): shapes of 10 and 40 classes, as point clouds.

The superclasses are ours. Shapes are read from any form of ModelNet and written as array stores, once. Later calls read
the stores.
"""

import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import SPLITS, HierarchicalDataset, Splits, read_splits
from hiercl.datasets.clouds import Mesh, farthest_points, random_points, sample_surface, unit_sphere
from hiercl.datasets.download import Mirror, UnreadableFiles, fetch
from hiercl.datasets.modelnet.forms import DAMAGE, KNOWN, Found, Shape, find_shapes
from hiercl.datasets.modelnet.tree import OFFICIAL, hierarchy, note, with_tree
from hiercl.datasets.splits import joined
from hiercl.datasets.store import is_store, replacing, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.files import read_json, write_json
from hiercl.runtime.given import given_path
from hiercl.runtime.progress import progress_bar
from hiercl.runtime.types import Float

__all__ = ["UnreadableShapes", "hierarchy", "load", "note"]

SOURCE = "source.json"  # beside the stores: what they were made from
SAMPLING = ("random", "farthest")
DENSITY = 4  # points that are drawn from a mesh for each one that farthest point sampling keeps
# None of these addresses could be tried when they were written down, and the checksums are unknown: see _check_archive.
HDF5 = (
    Mirror("https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip"),
    Mirror("https://huggingface.co/datasets/Msun/modelnet40/resolve/main/modelnet40_ply_hdf5_2048.zip"),
)
MIRRORS = {
    "modelnet40": (Mirror("https://modelnet.cs.princeton.edu/ModelNet40.zip"), *HDF5),
    "modelnet10": (
        Mirror("https://vision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip"),
        Mirror("https://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip"),
        *HDF5,
    ),
}


class UnreadableShapes(UnreadableFiles):
    """Files of ModelNet that cannot be read, all of them in one error.

    Attributes:
        root: the folder or archive.
        problems: the reason for every file.
    """

    advice = "Repair them or get them again, or leave them out: skip_unreadable=True (--skip-unreadable)."


def load(
    root: str | Path,
    name: str = "modelnet40",
    points: int = 1024,
    sampling: str = "random",
    source: str | Path | None = None,
    superclasses: str | Path = "use",
    skip_unreadable: bool = False,
    overwrite: bool = False,
    least: int = 0,
) -> Splits:
    """Returns the training and the test set; the first call reads all shapes and writes array stores.

    The items are float32 ``[n, points, 3]``, right-handed with z up, centred on the mean of their points, the farthest
    point at distance 1. The ids are the names of the shapes, such as "chair_0890". A shape has the same points in every
    call, in ModelNet10 and in ModelNet40. If the numbers of shapes are not the official ones, the note says so. To read
    all of ModelNet40 takes minutes, mostly to parse the meshes.

    Args:
        root: folder of all data sets.
        name: "modelnet40" or "modelnet10". ModelNet10 can also be read from a source of ModelNet40, with the same
            split.
        points: number of points of each shape, at least 2.
        sampling: "random" draws points uniformly by area. "farthest" spreads them evenly by farthest point sampling, of
            four times as many random points of a mesh. If the source has points, both take some of them.
        source: folder or file with ModelNet, in any form of :data:`hiercl.datasets.modelnet.forms.KNOWN`. Without it,
            an archive is downloaded. Once there are stores, they are read, and another source (by its path) is an
            error.
        superclasses: "use", "shape", or a JSON file of your own, see :func:`hierarchy`. The stores do not depend on it.
        skip_unreadable: leave out files that cannot be read; a warning and the note count them.
        overwrite: make the stores again, from the source, or from the download if there is no source.
        least: leave out classes with fewer shapes in both parts together; the note calls the rest our subset.

    Returns:
        The training set and the test set.

    Raises:
        ValueError: an option has a wrong value.
        UnreadableShapes: some files of the source cannot be read; the error lists all of them.
        ConnectionError: no mirror answers; the message says what to download by hand.

    Example:
        >>> train, test = load("data", "modelnet10", source="Downloads/ModelNet10.zip")  # doctest: +SKIP
    """
    tree = hierarchy(name, superclasses)
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be an integer of at least 2, got {points!r}")
    if sampling not in SAMPLING:
        raise ValueError(f"sampling must be {' or '.join(map(repr, SAMPLING))}, got {sampling!r}")
    folder = Path(root) / (name if (points, sampling) == (1024, "random") else f"{name}-{points}-{sampling}")
    source = None if source is None else given_path(source, "source").expanduser().resolve()
    if overwrite or not all(is_store(folder / split) for split in SPLITS):
        place = source or _downloaded(Path(root), name)
        _write(_data_sets(place, name, points, sampling, skip_unreadable), folder, place)
    elif source is not None:
        _check_same_source(source, folder)
    train, test = (with_tree(data, tree) for data in read_splits(folder))
    return _without_rare(train, test, least) if least else (train, test)


def _without_rare(train: HierarchicalDataset, test: HierarchicalDataset, least: int) -> Splits:
    kept = np.flatnonzero(train.counts() + test.counts() >= least)
    if len(kept) == 0:
        raise ValueError(f"least={least}: no class has so many shapes")
    subset = f"our subset: the {len(kept)} classes with at least {least} shapes"
    train, test = (replace(data.with_leaves(kept), note=joined(data.note, subset)) for data in (train, test))
    return train, test


# ---- from a source to data sets ----


def _data_sets(source: Path, name: str, points: int, sampling: str, skip: bool) -> dict[str, HierarchicalDataset]:
    tree = hierarchy(name)
    shapes, problems = _of_known_classes(find_shapes(source, name), tree)
    seen: dict[str, Shape] = {}
    for shape in shapes:
        if (other := seen.setdefault(shape.id, shape)) is not shape:
            places = " and ".join(f"{one.file} ({one.split})" for one in (other, shape))
            raise ValueError(f"{source} has {shape.id} twice, {places}: give the path of one ModelNet")
    clouds, kept = [], []
    for shape in progress_bar(shapes, desc=f"reading {name}", unit="", leave=False):
        try:
            clouds.append(_cloud(shape, points, sampling))
            kept.append(shape)
        except _TooFewPoints as error:  # the file is not damaged
            raise ValueError(f"points={points}: {shape.file} {error}; ask for fewer") from error
        except DAMAGE as error:
            problems[shape.file] = str(error)
    if problems and not skip:
        raise UnreadableShapes(source, problems)
    if problems:
        warnings.warn(f"skip_unreadable: files left out.\n{UnreadableShapes(source, problems)}", stacklevel=5)
    split = np.array([shape.split for shape in kept])
    for part in SPLITS:
        if part not in split:
            raise ValueError(f"{source} has no shapes for {'training' if part == 'train' else 'the test'}")
    items, ids = np.stack(clouds), np.array([shape.id for shape in kept])
    labels = np.array([tree.leaf_names.index(shape.class_name) for shape in kept], dtype=np.int64)
    rows = {part: split == part for part in SPLITS}
    about = note(name, int(rows["train"].sum()), int(rows["test"].sum()), len(set(labels.tolist())))
    about = joined(about, *sorted({shape.note for shape in kept}))
    if problems:
        about = joined(about, f"{len(problems)} files left out that cannot be read")
    return {
        part: HierarchicalDataset.from_arrays(items[row], labels[row], tree, name, about, ids[row])
        for part, row in rows.items()
    }


def _of_known_classes(found: Found, tree: Hierarchy) -> Found:
    """Leaves out shapes of the other classes of ModelNet; any further class is a problem of its file."""
    official = set(hierarchy().leaf_names)
    unofficial = {
        shape.file: f"{shape.class_name!r} is no class of ModelNet"
        for shape in found.shapes
        if shape.class_name not in official
    }
    known = [shape for shape in found.shapes if shape.class_name in tree.leaf_names]
    return Found(known, found.problems | unofficial)


class _TooFewPoints(ValueError):
    """A shape has fewer points than were asked for."""


def _cloud(shape: Shape, points: int, sampling: str) -> Float[np.ndarray, "p 3"]:
    generator = np.random.default_rng(zlib.crc32(shape.id.encode()))
    read = shape.read()
    if isinstance(read, Mesh):
        read = sample_surface(*read, points if sampling == "random" else DENSITY * points, generator)
    if not np.isfinite(read).all():
        raise ValueError("it has points that are not finite")
    if len(read) < points:
        raise _TooFewPoints(f"has {len(read):,} points")
    thin = random_points if sampling == "random" else farthest_points
    return unit_sphere(thin(read.astype(np.float64), points, generator))


# ---- stores ----


def _write(parts: dict[str, HierarchicalDataset], folder: Path, source: Path) -> None:
    """Writes both stores and the path of their source, in place of those that are there."""
    with replacing(folder, [folder / name for name in (*parts, SOURCE)], overwrite=True) as temporary:
        for split, data in parts.items():
            write_store(data, temporary / split)
        write_json(temporary / SOURCE, {"source": str(source)}, indent=None)


def _check_same_source(source: Path, folder: Path) -> None:
    try:
        before = read_json(folder / SOURCE, "give overwrite=True", {"source": str})["source"]
    except (OSError, ValueError):
        before = "another source"
    if before != str(source):
        raise ValueError(
            f"the stores in {folder} were made from {before}, not from {source}: read them without source (--from), or "
            f"make them again with overwrite=True (--overwrite)"
        )


# ---- the download ----


def _downloaded(root: Path, name: str) -> Path:
    advice = (
        "Download one of these with a browser, or take ModelNet from elsewhere, and say where it is:\n"
        f'  hiercl data {name} --from PATH        (in Python: hiercl.load("{name}", source=PATH))\n'
        f"PATH may hold\n{KNOWN}\n"
        'Without any of them, hiercl.load("shapes", items="points") works: it generates its own shapes.'
    )
    return fetch(MIRRORS[name], root / "modelnet-download", lambda path: _check_archive(path, name), advice)


def _check_archive(path: Path, name: str) -> None:
    """Checks an archive by the checksums of its members and the numbers of shapes, as its own checksum is unknown.

    At most one in a hundred shapes may be missing: the HDF5 files have 9,840 of the 9,843 for training. A file that was
    altered on purpose would pass, so the archive is read only as data, and nothing is unpacked.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip archive")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        shapes, _ = _of_known_classes(find_shapes(path, name), hierarchy(name))
    except DAMAGE as error:
        raise ValueError(f"it is damaged: {error}") from error
    if damaged:
        raise ValueError(f"{damaged} in it is damaged")
    for split, official in zip(SPLITS, OFFICIAL[name], strict=True):
        count = sum(shape.split == split for shape in shapes)
        if not 0.99 * official <= count <= official:
            raise ValueError(f"it has {count:,} shapes for {split} instead of {official:,}")
