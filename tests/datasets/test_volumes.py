"""Volumes: every kind of file gives the same grid, everything broken is named, the surface is where the solid ends."""

import io
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from hiercl.datasets import load
from hiercl.datasets.clouds import Mesh, sample_surface
from hiercl.datasets.modelnet.reading import UnreadableShapes
from hiercl.datasets.modelnet.surface import level_set, occupancy, surface_of
from hiercl.datasets.modelnet.volumes import parse_volume, read_volume

# ---- files ----


def npy(grid):
    file = io.BytesIO()
    np.save(file, grid)
    return file.getvalue()


def mat(grid, name="instance"):
    file = io.BytesIO()
    savemat(file, {name: grid}, do_compression=True)
    return file.getvalue()


def binvox(grid, version=1):
    """As the format says: y runs fastest, then z, then x."""
    x, y, z = grid.shape
    values = [grid[i, j, k] for i in range(x) for k in range(z) for j in range(y)]
    runs = bytes(byte for value in values for byte in (int(value), 1))
    header = f"#binvox {version}\ndim {x} {z} {y}\ntranslate -0.5 -0.5 -0.5\nscale 1\ndata\n"
    return header.encode() + runs


WRITERS = {".npy": npy, ".mat": mat, ".binvox": binvox}


def random_grid(shape=(3, 4, 5)):
    return np.random.default_rng(0).random(shape) < 0.4


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("ending", [".npy", ".mat", ".binvox", ".NPY"])
def test_every_kind_of_file_gives_the_same_grid(tmp_path, ending, dtype):
    grid = random_grid()
    (tmp_path / f"grid{ending}").write_bytes(WRITERS[ending.lower()](grid.astype(dtype)))
    found = read_volume(tmp_path / f"grid{ending}")
    assert found.dtype == bool
    np.testing.assert_array_equal(found, grid)


def test_runs_of_binvox_may_be_long_and_values_of_version_2_large():
    grid = parse_volume(b"#binvox 2\ndim 1 2 300\ndata\n" + bytes([0, 255, 0, 45, 9, 255, 3, 45]), ".binvox")
    assert grid.shape == (1, 300, 2)
    assert not grid[0, :, 0].any() and grid[0, :, 1].all()


HALF = np.where(random_grid(), 0.5, 0.0)
BROKEN = [
    (npy(np.ones((3, 4))), ".npy", r"three dimensions, this one has the shape \[3, 4\]"),
    (npy(np.ones((2, 3, 3, 3))), ".npy", r"the shape \[2, 3, 3, 3\]: save one grid a file"),
    (npy(np.zeros((3, 3, 3))), ".npy", "the volume is empty: no voxel is occupied"),
    (npy(HALF), ".npy", "has the value 0.5: save `grid > threshold`"),
    (npy(np.full((2, 2, 2), np.nan)), ".npy", "has the value nan"),
    (npy(np.full((2, 2, 2), "x")), ".npy", "has the type <U1"),
    (npy(np.ones((3, 3, 3)))[:-9], ".npy", "cut"),
    (npy(np.full((2, 2, 2), {}, dtype=object)), ".npy", "Object arrays cannot be loaded"),
    (b"PK", ".npy", "it is no numpy array"),
    (mat(random_grid(), "voxels"), ".mat", r"it has no variable 'instance', only \['voxels'\]"),
    (mat(np.ones((3, 4))), ".mat", r"the shape \[3, 4\]"),
    (mat(np.zeros((3, 3, 3))), ".mat", "no voxel is occupied"),
    (mat(random_grid())[:150], ".mat", "it is no MATLAB file, or cut"),
    (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(200), ".mat", "version 7.3: save it in MATLAB with '-v7'"),
    (b"#binvox 1\ndim 2 2 2\ntransl", ".binvox", "the header of the binvox file is cut"),
    (b"#binvox 7\ndim 2 2 2\ndata\n", ".binvox", "or of another version"),
    (b"#binvox 1\ndim 2 2\ndata\n\1\1", ".binvox", "no line such as 'dim 32 32 32'"),
    (binvox(random_grid())[:-2], ".binvox", "have 59 voxels, its header promises 60: it is cut or altered"),
    (binvox(random_grid())[:-1], ".binvox", "it is cut or altered"),
    (b"#binvox 1\ndim 9999 9999 9999\ndata\n\1\1", ".binvox", "volumes of more than 134,217,728 are not read"),
    (b"OFF", ".binvox", "no binvox file, which begins with #binvox 1"),
    (b"", ".vox", r"Unknown ending of a volume '.vox'.* Known: .binvox, .mat, .npy"),
]


@pytest.mark.parametrize(("content", "ending", "message"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_wrong_is_named(tmp_path, content, ending, message):
    (tmp_path / f"grid{ending}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"grid{ending}: (.|\n)*{message}"):
        read_volume(tmp_path / f"grid{ending}")


# ---- surfaces ----


def grid_of(solid, turn=1, size=24):
    """Voxels, with a border, of a solid that is turned about z and fitted in; the way back from voxels; their size."""
    angle = np.radians(30 * (turn - 1))
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    points = np.stack(np.meshgrid(*[np.linspace(-1, 1, 61)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    turned = points[solid(points)] @ rotation.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    unit = (high - low).max() / size
    place = (np.indices((size + 6,) * 3).reshape(3, -1).T - (size + 5) / 2) * unit + (low + high) / 2
    grid = solid(place @ rotation).reshape((size + 6,) * 3)
    return grid, lambda vertices: (vertices - (size + 5) / 2) * unit + (low + high) / 2, unit


def box(low, high):
    return lambda points: ((points >= low) & (points <= high)).all(axis=-1)


def sphere(points):
    return np.linalg.norm(points, axis=-1) <= 0.9


def plate_and_post(points):
    return box((-0.9, -0.5, -0.9), (0.9, 0.5, -0.3))(points) | box((0.3, -0.5, -0.9), (0.9, 0.5, 0.9))(points)


def distances(solid, points, unit):
    """Of points to the surface of a solid: the shortest step, among 60 directions, that changes sides."""
    directions = np.random.default_rng(0).normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = np.full(len(points), np.inf)
    for step in np.arange(0, 4, 0.1) * unit:
        crosses = (solid(points[:, None] + step * directions) != solid(points)[:, None]).any(axis=1)
        found = np.where(np.isinf(found) & crosses, step, found)
    return found


@pytest.mark.parametrize("turns", [(1,), (1, 2, 3)])
@pytest.mark.parametrize("solid", [sphere, box((-0.9, -0.5, -0.3), (0.9, 0.5, 0.3)), plate_and_post])
def test_points_lie_where_the_solid_ends(solid, turns):
    _, to_solid, unit = grid_of(solid)
    vertices, faces = surface_of({turn: grid_of(solid, turn)[0] for turn in turns})
    points = sample_surface(to_solid(vertices), faces, 500, np.random.default_rng(0))
    distance = distances(solid, points, unit)
    assert distance.mean() < 0.5 * unit and distance.max() < 1.3 * unit
    inside = sample_surface(to_solid(vertices), faces, 4000, np.random.default_rng(1))
    corners = np.stack(np.meshgrid(*[np.linspace(-1, 1, 81)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = corners[solid(corners)]
    np.testing.assert_allclose(inside.min(axis=0), corners.min(axis=0), atol=unit)
    np.testing.assert_allclose(inside.max(axis=0), corners.max(axis=0), atol=unit)


def test_turns_are_put_in_place_whichever_way_they_turn():
    first, other = (grid_of(plate_and_post, turn)[0] for turn in (1, 3))
    alone = occupancy({1: first})
    assert np.abs(occupancy({1: first, 3: other}) - alone).max() > 0.1, "the turn counts"
    half_a_turn_on = other[::-1][:, ::-1]  # which agrees with nothing
    np.testing.assert_array_equal(occupancy({1: first, 3: half_a_turn_on}), alone)
    mirrored = {1: first[:, ::-1], 3: other[:, ::-1]}  # turns the other way
    np.testing.assert_allclose(occupancy(mirrored), occupancy({1: first, 3: other})[:, ::-1], atol=1e-5)


def test_thin_legs_stay():
    grid = np.zeros((16, 16, 16), dtype=bool)
    grid[2:14, 2:14, 12:14] = True
    grid[[2, 2, 13, 13], [2, 13, 2, 13], 2:12] = True
    vertices, _ = surface_of({1: grid})
    for x in (2, 13):
        for y in (2, 13):
            leg = vertices[np.abs(vertices[:, :2] - (x, y)).max(axis=1) < 1]
            assert leg[:, 2].min() < 2.5
    np.testing.assert_allclose(vertices[:, 2].max(), 13.5, atol=1e-3)


def test_what_is_hollow_has_no_second_surface():
    grid = np.zeros((10, 10, 10), dtype=bool)
    grid[1:9, 1:9, 1:9] = True
    solid = surface_of({1: grid})
    grid[3:7, 3:7, 3:7] = False
    np.testing.assert_array_equal(surface_of({1: grid}).vertices, solid.vertices)


def test_the_level_set_of_a_plane_and_of_a_ball():
    x, y, z = np.indices((6, 6, 6))
    vertices, faces = level_set((x + 2 * y - z).astype(float), level=3.3)
    np.testing.assert_allclose(vertices @ [1, 2, -1], 3.3, atol=1e-12)
    place = np.stack(np.indices((30, 30, 30)), axis=-1) - 14.5
    vertices, faces = level_set(-np.linalg.norm(place, axis=-1), level=-10.0)
    a, b, c = Mesh(vertices, faces).vertices[faces].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(4 * np.pi * 100, rel=0.01), "closed, and no triangle is there twice"
    with pytest.raises(ValueError, match=r"does not cross the level 0\.5"):
        level_set(np.zeros((3, 3, 3)))


# ---- ModelNet ----


def chair(points):
    return box((-0.5, -0.5, -0.1), (0.5, 0.5, 0.1))(points) | box((-0.5, 0.3, -0.1), (0.5, 0.5, 0.9))(points)


def write_tree(folder, form):
    """Twelve turns a shape as 3DShapeNets has them, or one grid."""
    shapes = {"chair_000000001": "train", "chair_000000890": "test", "night_stand_000000002": "train"}
    for shape, split in shapes.items():
        solid = chair if shape.startswith("chair") else sphere
        place = folder / shape.rsplit("_", 1)[0] / ("30" if form == ".mat" else "") / split
        place.mkdir(parents=True, exist_ok=True)
        for turn in range(1, 13) if form == ".mat" else (1,):
            name = f"{shape}_{turn}" if form == ".mat" else f"{shape[:-9]}{shape[-4:]}"
            (place / f"{name}{form}").write_bytes(WRITERS[form](grid_of(solid, turn, 12)[0].astype(np.uint8)))


@pytest.mark.parametrize("form", [".mat", ".npy", ".binvox"])
def test_a_tree_of_volumes_is_modelnet(tmp_path, form):
    write_tree(tmp_path / "volumetric_data", form)
    if form == ".npy":
        with zipfile.ZipFile(tmp_path / "volumes.zip", "w") as archive:
            for file in (tmp_path / "volumetric_data").rglob("*.npy"):
                archive.write(file, file.relative_to(tmp_path))
    place = tmp_path / ("volumes.zip" if form == ".npy" else "volumetric_data")
    train, test = load("modelnet40", root=tmp_path / "root", source=place, points=200)
    assert sorted(train.ids) == ["chair_0001", "night_stand_0002"] and test.ids.tolist() == ["chair_0890"]
    assert train.note == "partial: 3 of 12,311 shapes in 2 classes; from volumes"
    points = test.items[0]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1).max(), 1, rtol=1e-5)
    back = points[points[:, 2] > points[:, 2].min() + 0.7 * np.ptp(points[:, 2])]
    assert (back[:, 1] > 0).all() and abs(back[:, 0].mean()) < 0.1, "the back of the chair is up, at the far end of y"


def test_broken_volumes_are_named(tmp_path):
    write_tree(tmp_path, ".mat")
    (tmp_path / "chair/30/train/chair_000000001_1.mat").write_bytes(mat(np.ones((3, 3, 3)), "grid"))
    (tmp_path / "chair/30/test/chair_000000890_3.mat").write_bytes(b"cut")
    with pytest.raises(UnreadableShapes, match="no variable 'instance', only") as raised:
        load("modelnet40", root=tmp_path / "root", source=tmp_path, points=8)
    reason = raised.value.problems["chair/30/test/chair_000000890_1.mat"]
    assert reason.startswith("its other turn chair/30/test/chair_000000890_3.mat: it is no MATLAB file")


def test_one_shape_in_two_files_is_an_error(tmp_path):
    write_tree(tmp_path, ".npy")
    (tmp_path / "chair/train/chair_0001.binvox").write_bytes(binvox(random_grid()))
    with pytest.raises(ValueError, match=r"has chair_0001 twice, .*chair_0001.binvox and .*chair_0001.npy"):
        load("modelnet40", root=tmp_path / "root", source=tmp_path, points=8)
