"""ModelNet10 and ModelNet40 (Wu et al., CVPR 2015): shapes of 10 and 40 classes, as point clouds.

The superclasses are ours. Shapes are read from whichever form of ModelNet is at hand, turned into array stores once,
and read from these.
"""

import json
import shutil
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.clouds import farthest_points, random_points, sample_surface, unit_sphere
from hiercl.datasets.download import Mirror, fetch
from hiercl.datasets.modelnet.forms import DAMAGE, KNOWN, Found, Shape, find_shapes
from hiercl.datasets.modelnet.tree import OFFICIAL, hierarchy, note, with_tree
from hiercl.datasets.shapes.solids import Mesh
from hiercl.datasets.store import is_store, write_store
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.types import Float

__all__ = ["UnreadableShapes", "hierarchy", "load", "note"]

SPLITS = ("train", "test")
SOURCE = "source.json"  # beside the stores: what they were made from
SAMPLING = ("random", "farthest")
DENSITY = 4  # points drawn from a mesh for each that farthest point sampling keeps
# None of these could be tried when they were written down, and their checksums are not known: see _check_archive.
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


class _TooFewPoints(ValueError):
    """A shape has fewer points than were asked for."""


class UnreadableShapes(ValueError):
    """Shapes that cannot be read, all of them at once; ``problems`` has the reason for every file of ``source``."""

    def __init__(self, source: Path, problems: dict[str, str]):
        super().__init__(source, problems)
        self.source, self.problems = source, problems

    def __str__(self) -> str:
        lines = [f"  {file}: {reason}" for file, reason in self.problems.items()]
        if len(lines) > 20:
            lines[20:] = [f"  ... and {len(lines) - 20} more, all of them in the error's attribute problems"]
        return (
            f"{len(self.problems)} of the files in {self.source} cannot be read:\n" + "\n".join(lines) + "\n"
            "Repair them or get them again, or leave them out: skip_unreadable=True (--skip-unreadable)."
        )


def load(
    root: str | Path,
    name: str = "modelnet40",
    points: int = 1024,
    sampling: str = "random",
    source: str | Path | None = None,
    hierarchy_file: str | Path | None = None,
    skip_unreadable: bool = False,
    overwrite: bool = False,
    least: int = 0,
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Give the training and test set; the first call reads all shapes and writes array stores below `root`.

    Shapes: items float32 ``[n, points, 3]``, right-handed, z up, centred on their mean, the farthest point at distance
    1. ``ids`` are the names of the shapes, such as "chair_0890". The same shape gets the same points in every call,
    also as part of ModelNet10 and of ModelNet40. Numbers of shapes other than the official ones are in the note.

    Args:
        root: where data sets are kept.
        name: "modelnet40" or "modelnet10"; ModelNet10 is also read from a source of ModelNet40, whose split it shares.
        points: of every shape.
        sampling: "random" on the surface, uniform by area, or "farthest": evenly spread, by farthest point sampling
            (of four times as many random points, where the source has meshes). From sources of points, these are a part
            of its points.
        source: a folder or file of yours with ModelNet, in any form of `modelnet_forms.KNOWN`. Without it, and without
            stores, an archive is downloaded. Once there are stores, they are read; a source other than the one that
            they were made from, told by its path, is an error: what was asked for and what comes cannot differ.
        hierarchy_file: superclasses of your own, see `hierarchy`. The stores do not depend on them.
        skip_unreadable: leave out what cannot be read; a warning and the note count it.
        overwrite: make the stores anew, from the source or, without one, from the download.
        least: leave out classes with fewer shapes, training and test together; the note names this subset as ours.

    Reading all of ModelNet40 takes minutes, mostly for parsing the meshes.

    Raises ValueError for options that cannot be, UnreadableShapes (a ValueError) with every file of a source that
    cannot be read, and ConnectionError, with what to download by hand, when no mirror answers.

    Example::

        >>> train, test = load("data", "modelnet10", source="Downloads/ModelNet10.zip")  # doctest: +SKIP
    """
    tree = hierarchy(name, hierarchy_file)
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be an integer of at least 2, got {points!r}")
    if sampling not in SAMPLING:
        raise ValueError(f"sampling must be {' or '.join(map(repr, SAMPLING))}, got {sampling!r}")
    folder = Path(root) / (name if (points, sampling) == (1024, "random") else f"{name}-{points}-{sampling}")
    source = None if source is None else Path(source).expanduser().resolve()
    if overwrite or not all(is_store(folder / split) for split in SPLITS):
        place = source or _downloaded(Path(root), name)
        _write(_data_sets(place, name, points, sampling, skip_unreadable), folder, place)
    elif source is not None:
        _check_same_source(source, folder)
    train, test = (with_tree(read_store(folder / split), tree) for split in SPLITS)
    return _without_rare(train, test, least) if least else (train, test)


def _without_rare(
    train: HierarchicalDataset, test: HierarchicalDataset, least: int
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    kept = train.counts() + test.counts() >= least
    if not kept.any():
        raise ValueError(f"least={least}: no class has so many shapes")
    names = [name for name, keep in zip(train.hierarchy.leaf_names, kept, strict=True) if keep]
    about = f"our subset: the {len(names)} classes with at least {least} shapes"
    return tuple(
        replace(part.under(*names), note="; ".join(filter(None, [part.note, about]))) for part in (train, test)
    )


# ---- from a source to data sets ----


def _data_sets(source: Path, name: str, points: int, sampling: str, skip: bool) -> dict[str, HierarchicalDataset]:
    from tqdm.auto import tqdm

    tree = hierarchy(name)
    shapes, problems = _of_known_classes(find_shapes(source, name), tree)
    seen: dict[str, Shape] = {}
    for shape in shapes:
        if (other := seen.setdefault(shape.id, shape)) is not shape:
            places = " and ".join(f"{one.file} ({one.split})" for one in (other, shape))
            raise ValueError(f"{source} has {shape.id} twice, {places}: give the path of one ModelNet")
    clouds, kept = [], []
    for shape in tqdm(shapes, desc=f"reading {name}", unit="", leave=False):
        try:
            clouds.append(_cloud(shape, points, sampling))
            kept.append(shape)
        except _TooFewPoints as error:  # not damage: too much was asked for
            raise ValueError(f"points={points}: {shape.file} {error}; ask for fewer") from error
        except DAMAGE as error:
            problems[shape.file] = str(error)
    if problems and not skip:
        raise UnreadableShapes(source, problems)
    if problems:
        warnings.warn(f"skip_unreadable: files left out.\n{UnreadableShapes(source, problems)}", stacklevel=5)
    split, ids = np.array([shape.split for shape in kept]), np.array([shape.id for shape in kept])
    labels = np.array([tree.leaf_names.index(shape.class_name) for shape in kept], dtype=np.int64)
    for part in SPLITS:
        if part not in split:
            raise ValueError(f"{source} has no shapes for {'training' if part == 'train' else 'the test'}")
    count = {part: int((split == part).sum()) for part in SPLITS}
    about = note(name, count["train"], count["test"], len(set(labels.tolist())))
    if problems:
        about = "; ".join(filter(None, [about, f"{len(problems)} files left out that cannot be read"]))
    items = np.stack(clouds)
    rows = {part: split == part for part in SPLITS}
    return {
        part: HierarchicalDataset.from_arrays(items[row], labels[row], tree, name, about, ids[row])
        for part, row in rows.items()
    }


def _of_known_classes(found: Found, tree: Hierarchy) -> Found:
    """Leave out the shapes of the other classes of ModelNet; any other class is a problem of its file."""
    official = set(hierarchy().leaf_names)
    problems = dict(found.problems)
    for shape in found.shapes:
        if shape.class_name not in official:
            problems[shape.file] = f"{shape.class_name!r} is no class of ModelNet"
    return Found([shape for shape in found.shapes if shape.class_name in tree.leaf_names], problems)


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
    """Write both stores and the source that they were made from beside the folder, then move them into it.

    An error on the way puts back what was there. All that is old goes before anything new comes, so that no stop of
    any kind leaves stores of two sources.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    made = [*parts, SOURCE]
    try:
        for split, data in parts.items():
            write_store(data, temporary / split)
        (temporary / SOURCE).write_text(json.dumps({"source": str(source)}), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for name in reversed(made):
            if (folder / name).exists():
                (folder / name).rename(temporary / f"old {name}")
        for name in made:
            (temporary / name).rename(folder / name)
    except BaseException:
        for name in made:
            if (temporary / f"old {name}").exists():
                if (folder / name).exists():
                    (folder / name).rename(temporary / name)
                (temporary / f"old {name}").rename(folder / name)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_same_source(source: Path, folder: Path) -> None:
    try:
        before = json.loads((folder / SOURCE).read_text(encoding="utf-8"))["source"]
    except (OSError, ValueError, KeyError):
        before = "another source"
    if before != str(source):
        raise ValueError(
            f"the stores in {folder} were made from {before}, not from {source}: read them without source (--from), or "
            f"make them anew with overwrite=True (--overwrite)"
        )


# ---- the download ----


def _downloaded(root: Path, name: str) -> Path:
    by_hand = (
        "Download one of these with a browser, or take ModelNet from wherever you have it, and say where it is:\n"
        f'  hiercl data {name} --from PATH        (in Python: hiercl.load("{name}", source=PATH))\n'
        f"PATH may hold\n{KNOWN}\n"
        'Without any of them, hiercl.load("shapes", items="points") works: it makes its shapes itself.'
    )
    return fetch(MIRRORS[name], root / "modelnet-download", lambda path: _check_archive(path, name), by_hand)


def _check_archive(path: Path, name: str) -> None:
    """Check an archive by its content, as its checksum is not known: that of every member, and the numbers of shapes.

    At most one in a hundred shapes may be missing: the HDF5 files have 9,840 of the 9,843 for training. A file that was
    altered on purpose would pass, so the archive is read as data alone, and nothing is unpacked.
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
