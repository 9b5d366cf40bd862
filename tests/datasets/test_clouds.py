"""Point clouds: centring and scaling, draws from a surface, farthest points."""

import numpy as np
import pytest

from hiercl.datasets.clouds import area_shares, farthest_points, random_points, sample_surface, unit_sphere

# A triangle of area 1/2, one of area 3/2 beside it, and one without area between them.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 2], [8, 0, 2], [5, 1, 2]], dtype=float)
FACES = np.array([[0, 1, 2], [0, 4, 4], [3, 4, 5]])


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- the unit sphere ----


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_unit_sphere_whatever_the_size_and_the_place(scale):
    points = rng().normal(size=(50, 3))
    found = unit_sphere((points + 100) * scale)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1).max(), 1, rtol=1e-6)
    centred = points - points.mean(axis=0)
    np.testing.assert_allclose(found, centred / np.linalg.norm(centred, axis=1).max(), atol=1e-6)
    assert found.dtype == np.float32


def test_unit_sphere_of_several_clouds_is_that_of_each():
    points = rng().normal(size=(4, 20, 3)).astype(np.float32)
    np.testing.assert_array_equal(unit_sphere(points), np.stack([unit_sphere(cloud) for cloud in points]))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((5, 3), 7.1), "all points of the cloud are equal"),
        (np.stack([np.eye(3), np.ones((3, 3))]), "all points of the cloud are equal"),
        (np.zeros((0, 3)), "at least one point"),
        (np.array([[0, 0, np.nan], [1, 1, 1]]), "not finite"),
    ],
)
def test_clouds_that_have_no_size(points, message):
    with pytest.raises(ValueError, match=message):
        unit_sphere(points)


# ---- draws from a surface ----


def test_shares_are_areas_at_any_scale():
    for scale in (1e-90, 1.0, 1e90):
        np.testing.assert_allclose(area_shares(VERTICES * scale, FACES), [0.25, 0, 0.75], rtol=1e-12)


def test_points_fall_on_the_triangles_in_proportion_to_their_area():
    found = sample_surface(VERTICES, FACES, 8000, rng())
    first, last = found[:, 2] == 0, np.abs(found[:, 2] - 2) < 1e-9
    assert (first | last).all(), "a triangle without area gets no point"
    # 8000 draws with probability 1/4: mean 2000, standard deviation 38.7.
    assert abs(first.sum() - 2000) < 160
    x, y = found[first, :2].T
    assert (x >= 0).all() and (y >= 0).all() and (x + y <= 1 + 1e-12).all()


def test_points_are_uniform_within_a_triangle():
    """The four triangles between the corners and the midpoints of the sides have the same area."""
    x, y, _ = sample_surface(VERTICES, FACES[:1], 8000, rng()).T
    parts = [(x > 0.5).sum(), (y > 0.5).sum(), (x + y < 0.5).sum()]
    parts.append(8000 - sum(parts))
    assert sum((part - 2000) ** 2 / 2000 for part in parts) < 16.3  # chi-square, 3 degrees: p = 0.001


@pytest.mark.parametrize("number", [0.0, np.nextafter(1, 0)])
def test_the_first_and_the_last_face_may_have_no_area(number):
    """Also for the smallest and the largest number that a generator gives."""

    class Fixed(np.random.Generator):
        def random(self, size):
            return np.full(size, number)

    faces = np.array([[4, 4, 0], [0, 1, 2], [0, 1, 2], [4, 4, 0]])
    found = sample_surface(VERTICES, faces, 1, Fixed(np.random.PCG64(0)))
    np.testing.assert_allclose(found, [VERTICES[0 if number == 0 else 2]], atol=1e-7)


def test_a_seed_gives_the_same_points():
    a, b, c = (sample_surface(VERTICES, FACES, 20, rng(seed)) for seed in (3, 3, 4))
    assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize("faces", [FACES[1:2], np.zeros((2, 3), dtype=int), np.zeros((0, 3), dtype=int)])
def test_a_mesh_without_area(faces):
    with pytest.raises(ValueError, match=r"none of the faces has an area|has no faces"):
        sample_surface(VERTICES, faces, 10, rng())


# ---- fewer points ----


def slow_farthest(points, count, first):
    taken = [first]
    while len(taken) < count:
        rest = [i for i in range(len(points)) if i not in taken]
        taken.append(max(rest, key=lambda i: min(((points[i] - points[j]) ** 2).sum() for j in taken)))
    return points[taken]


@pytest.mark.parametrize("seed", range(5))
def test_farthest_points_against_a_slow_loop(seed):
    points = rng(seed).normal(size=(40, 3)).round(1)
    found = farthest_points(points, 12, rng(seed))
    np.testing.assert_array_equal(found, slow_farthest(points, 12, rng(seed).integers(40)))


@pytest.mark.parametrize("thin", [random_points, farthest_points])
def test_each_point_is_taken_at_most_once(thin):
    points = np.repeat(np.arange(4.0), 3)[:, None] * np.ones(3)  # each of four places three times
    found = thin(points, 12, rng())
    assert sorted(found[:, 0].tolist()) == sorted(points[:, 0].tolist())
    assert thin(points.astype(np.float32), 5, rng()).dtype == np.float32


def test_farthest_points_are_spread_more_evenly_than_random_ones():
    points = sample_surface(VERTICES, FACES, 2000, rng())

    def gap(found):
        distance = np.linalg.norm(found[:, None] - found, axis=-1)
        return distance[~np.eye(len(found), dtype=bool)].min()

    assert gap(farthest_points(points, 64, rng())) > 5 * gap(random_points(points, 64, rng()))


@pytest.mark.parametrize("thin", [random_points, farthest_points])
def test_more_points_than_there_are(thin):
    with pytest.raises(ValueError, match="the cloud has 6 points, 7 cannot be taken of it"):
        thin(VERTICES, 7, rng())
    with pytest.raises(ValueError, match="at least one point"):
        thin(VERTICES, 0, rng())
