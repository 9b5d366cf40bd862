"""The generated data set: its form, that it repeats, and that its solids, samples and pictures are sound."""

import time
from collections import Counter

import numpy as np
import pytest

from hiercl.datasets.clouds import points_on_faces
from hiercl.datasets.shapes.classes import leaves
from hiercl.datasets.shapes.dataset import hierarchy, load, solid
from hiercl.datasets.shapes.render import background, picture, rasterise
from hiercl.datasets.shapes.solids import Solid, box, cone, cylinder, sphere, turn


@pytest.fixture(scope="module")
def images():
    return load(per_class=3, test_per_class=2, seed=0)


@pytest.fixture(scope="module")
def clouds():
    return load(per_class=3, test_per_class=2, seed=0, items="points")


# ---- the data set ----


def test_three_levels_of_enough_classes():
    tree = hierarchy()
    assert tree.levels == 3
    assert tree.sizes[0] >= 5 and tree.sizes[1] >= 10 and tree.sizes[2] >= 24
    assert list(tree.leaf_names) == list(leaves())


def test_images_have_their_form(images):
    train, test = images
    assert train.items.shape == (90, 32, 32, 3) and train.items.dtype == np.uint8
    assert train.counts().tolist() == [3] * 30 and test.counts().tolist() == [2] * 30
    assert (train.items.reshape(90, -1).std(axis=1) > 3).all()  # none is a blank


def test_points_are_centred_and_fill_the_unit_sphere(clouds):
    train, _ = clouds
    assert train.items.shape == (90, 1024, 3) and train.items.dtype == np.float32
    np.testing.assert_allclose(train.items.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(train.items, axis=2).max(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("items", ["images", "points"])
def test_the_seed_decides_everything(items):
    options = dict(per_class=1, test_per_class=1, items=items, points=64)
    first, again, other = (load(seed=seed, **options)[0].items for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert all((a != b).any() for a, b in zip(first, other, strict=True))


def test_fewer_per_class_are_the_first_of_more(images):
    fewer, _ = load(per_class=1, test_per_class=1, seed=0)
    np.testing.assert_array_equal(fewer.items, images[0].items[::3])


@pytest.mark.parametrize("kind", ["images", "clouds"])
def test_all_items_of_both_splits_differ(kind, request):
    train, test = request.getfixturevalue(kind)
    rows = [item.tobytes() for item in (*train.items, *test.items)]
    assert len(set(rows)) == len(rows)


def test_no_solid_is_in_both_splits():
    for leaf in range(hierarchy().n_leaves):
        shapes = [solid(leaf, index, split).vertices.tobytes() for index in range(3) for split in ("train", "test")]
        assert len(set(shapes)) == len(shapes)


def test_images_and_points_show_the_same_solids(images, clouds):
    np.testing.assert_array_equal(images[0].labels, clouds[0].labels)
    for row, leaf in enumerate(clouds[0].labels):
        corners = solid(int(leaf), row % 3).vertices
        expected = np.ptp(corners, axis=0) / np.ptp(corners, axis=0).max()
        measured = np.ptp(clouds[0].items[row], axis=0) / np.ptp(clouds[0].items[row], axis=0).max()
        np.testing.assert_allclose(measured, expected, atol=0.12)


def test_pictures_are_taken_of_these_solids(images, monkeypatch):
    """The solid that reaches the renderer is the one that `solid` gives for the same place."""
    seen = []
    monkeypatch.setattr(
        "hiercl.datasets.shapes.dataset.picture", lambda made, rng: seen.append(made) or images[0].items[0]
    )
    load(per_class=2, test_per_class=1, seed=0)
    for leaf in range(hierarchy().n_leaves):
        np.testing.assert_array_equal(seen[2 * leaf + 1].vertices, solid(leaf, 1).vertices)


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        (dict(items="voxels"), "'images' or 'points'"),
        (dict(per_class=0), "per_class must be an integer of at least 1"),
        (dict(test_per_class=-1), "test_per_class must be an integer of at least 1"),
        (dict(points=1), "points must be an integer of at least 2"),
        (dict(seed=-1), "seed must be an integer of at least 0"),
        (dict(per_class=True), "per_class must be an integer"),
    ],
)
def test_wrong_options_say_what_is_allowed(wrong, allowed):
    with pytest.raises(ValueError, match=allowed):
        load(**wrong)


def test_wrong_solids_say_what_is_allowed():
    with pytest.raises(ValueError, match="'train' or 'test'"):
        solid(0, 0, "validation")
    with pytest.raises(ValueError, match="0 to 29"):
        solid(30, 0)
    with pytest.raises(ValueError, match="at least 0"):
        solid(0, -1)


# ---- the cache ----


def test_the_second_load_is_read_from_disk_and_equal(tmp_path):
    options = dict(per_class=6, test_per_class=2)
    start = time.perf_counter()
    first = load(tmp_path, **options)
    middle = time.perf_counter()
    second = load(tmp_path, **options)
    end = time.perf_counter()
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.items, two.items)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert one.hierarchy == two.hierarchy and one.name == two.name
    assert end - middle < (middle - start) / 3


def test_each_set_of_options_has_its_own_cache(tmp_path):
    load(tmp_path, per_class=1, test_per_class=1)
    load(tmp_path, per_class=1, test_per_class=1, points=7)  # says nothing to pictures
    load(tmp_path, per_class=1, test_per_class=1, items="points", points=7)
    load(tmp_path, per_class=1, test_per_class=1, seed=1)
    assert len(list(tmp_path.glob("shapes-*/train/store.json"))) == 3


def test_a_root_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    train, _ = load(tmp_path / "file", per_class=1, test_per_class=1)
    assert len(train) == 30


# ---- solids ----


def open_edges(made: Solid) -> int:
    """Directed edges that no neighbour runs along the other way; equal corners of one part count as one."""
    span = np.ptp(made.vertices, axis=0).max()
    corners = np.concatenate([made.vertices / span, np.zeros((len(made.vertices), 1))], axis=1)[made.faces]
    corners[..., 3] = made.part[:, None]
    _, index = np.unique(corners.reshape(-1, 4).round(7) + 0.0, axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    edges = Counter((int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))
    return sum(abs(count - edges[b, a]) for (a, b), count in edges.items())


def volumes(made: Solid) -> np.ndarray:
    a, b, c = made.vertices[made.faces].transpose(1, 0, 2)
    return np.bincount(made.part, weights=(a * np.cross(b, c)).sum(axis=1) / 6)


@pytest.mark.parametrize("name", list(leaves()))
def test_every_class_gives_sound_solids(name):
    for seed in range(20):
        made = Solid.join(leaves()[name](np.random.default_rng(seed)))
        assert np.isfinite(made.vertices).all()
        assert len(made.faces) > 50 and len(np.unique(made.part)) == made.part.max() + 1
        assert (volumes(made) > 0).all()
        if seed < 3:  # slow
            assert open_edges(made) == 0


def test_volumes_and_areas_of_the_primitives():
    def measure(mesh):
        made = Solid.join([mesh])
        return volumes(made)[0], np.linalg.norm(made.face_vectors(), axis=1).sum()

    assert measure(box((1, 2, 3))) == pytest.approx((6, 22))
    assert measure(box((1, 1, 3), top=(0, 0)))[0] == pytest.approx(1)
    assert measure(cylinder(1, 2, segments=200)) == pytest.approx((2 * np.pi, 6 * np.pi), rel=1e-3)
    assert measure(cone(1, 3, segments=200))[0] == pytest.approx(np.pi, rel=1e-3)
    assert measure(sphere(1, segments=100)) == pytest.approx((4 / 3 * np.pi, 4 * np.pi), rel=3e-3)


def test_a_part_built_inside_out_is_turned_right():
    inside_out = box((1, 1, -1))
    assert volumes(Solid.join([inside_out, box((1, 1, 1))])) == pytest.approx([1, 1])


def test_turn_is_counter_clockwise():
    moved = turn(box((2, 1, 1), at=(5, 0, 0)), "z", np.pi / 2)
    np.testing.assert_allclose(moved.vertices.mean(axis=0), (0, 5, 0.5), atol=1e-12)


# ---- samples and pictures ----


def sample_points(made, n):
    """Points of a solid's surface, with their normals and parts."""
    vectors = made.face_vectors()
    area = np.linalg.norm(vectors, axis=1)
    points, face = points_on_faces(made.vertices, made.faces, area, n, np.random.default_rng(0))
    return points, vectors[face] / area[face, None], made.part[face]


def test_samples_are_uniform_by_area(n=30_000):
    size = np.array([1.0, 2.0, 4.0])
    made = Solid.join([box(size)])
    points, normals, part = sample_points(made, n)
    area = np.array([8.0, 4.0, 2.0])  # of one side across x, y and z
    for axis in range(3):
        side = np.abs(normals[:, axis]) > 0.5
        assert side.mean() == pytest.approx(area[axis] / area.sum(), abs=0.01)
        other = np.delete(np.arange(3), axis)
        np.testing.assert_allclose(points[side][:, other].std(axis=0), size[other] / np.sqrt(12), rtol=0.03)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert (part == 0).all()


def test_samples_lie_on_the_surface_and_know_their_part():
    made = Solid.join([sphere(1, segments=60), sphere(1, at=(5, 0, 0), segments=60)])
    points, normals, part = sample_points(made, 2000)
    from_centre = points - np.array([[0, 0, 0], [5, 0, 0]])[part]
    np.testing.assert_allclose(np.linalg.norm(from_centre, axis=1), 1, atol=0.01)
    assert ((from_centre * normals).sum(axis=1) > 0.99).all()  # outwards


def test_rasteriser_agrees_with_a_slow_loop():
    rng = np.random.default_rng(0)
    size, corners = 24, rng.uniform(-4, 28, size=(40, 3, 3))
    corners[..., 2] = rng.uniform(0.1, 1, size=(40, 3))
    expected, nearest = np.full((size, size), -1), np.zeros((size, size))
    for face, (p, q, r) in enumerate(corners):
        matrix = np.array([[p[0], q[0], r[0]], [p[1], q[1], r[1]], [1, 1, 1]])
        if np.linalg.det(matrix) >= 0:  # seen from behind: rows count downwards
            continue
        for row in range(size):
            for column in range(size):
                weight = np.linalg.solve(matrix, (column + 0.5, row + 0.5, 1))
                near = weight @ (p[2], q[2], r[2])
                if (weight >= 0).all() and near > nearest[row, column]:
                    expected[row, column], nearest[row, column] = face, near
    np.testing.assert_array_equal(rasterise(corners, size), expected)
    assert len(np.unique(expected)) > 5


def test_pictures_have_no_holes():
    """A closed convex thing covers every row of its silhouette in one run."""
    corners = sphere(10, at=(16, 16, 20), segments=30)
    made = Solid.join([corners])
    screen = made.vertices[made.faces] * (1, -1, 0.01) + (0, 32, 0)
    covered = rasterise(screen, 32) >= 0
    assert covered.any(axis=1).sum() == pytest.approx(20, abs=1)
    for row in covered[covered.any(axis=1)]:
        assert np.abs(np.diff(row.astype(int))).sum() == 2


def test_background_keeps_away_from_the_colour_to_avoid():
    rng, base = np.random.default_rng(0), np.array([0.5, 0.5, 0.5])
    for _ in range(20):
        assert background(8, base, rng).shape == (8, 8, 3)
        assert np.linalg.norm(background(9, base, rng) - base, axis=2).max() > 0.3


def test_picture_of_any_size():
    made = Solid.join([box((1, 1, 1))]).normalised()
    assert picture(made, np.random.default_rng(0), size=20).shape == (20, 20, 3)
