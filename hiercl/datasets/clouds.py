"""Point clouds: points are drawn from the surface of a mesh, thinned out, centred and scaled.

Coordinates are right-handed with z up; lengths have no unit.
"""

from typing import NamedTuple

import numpy as np

from hiercl.runtime.types import Float, Int

__all__ = [
    "Mesh",
    "area_shares",
    "farthest_points",
    "points_on_faces",
    "random_points",
    "sample_surface",
    "unit_sphere",
]


class Mesh(NamedTuple):
    """A triangle mesh.

    Attributes:
        vertices: positions of the corners, ``[v, 3]``.
        faces: three indices of corners for each triangle, ``[f, 3]``.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]


def unit_sphere(points: Float[np.ndarray, "*n p 3"]) -> Float[np.ndarray, "*n p 3"]:
    r"""Centres a cloud on the mean of its points and scales it, so that the farthest point has distance 1.

    $$y_i = \frac{x_i - c}{\max_j \lVert x_j - c\rVert},\quad c = \frac1p \sum_i x_i$$

    Args:
        points: one cloud ``[p, 3]``, or several ``[n, p, 3]``, floating.

    Returns:
        The clouds as float32, of the same shape.

    Raises:
        ValueError: the cloud has no points, points that are not finite, or points that are all equal.

    Example:
        >>> unit_sphere(np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])).tolist()
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if points.shape[-2] == 0:
        raise ValueError("a cloud needs at least one point")
    if not np.isfinite(points).all():
        raise ValueError("the cloud has points that are not finite")
    points = points.astype(np.float64)
    if (np.ptp(points, axis=-2) == 0).all(axis=-1).any():
        raise ValueError("all points of the cloud are equal: it cannot be scaled")
    points -= points.mean(axis=-2, keepdims=True)
    points /= np.abs(points).max(axis=(-2, -1), keepdims=True)  # else squares of tiny or huge numbers would be 0 or inf
    radius = np.linalg.norm(points, axis=-1).max(axis=-1)
    return (points / radius[..., None, None]).astype(np.float32)


def area_shares(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f"]:
    r"""Returns the share of each triangle in the area of the surface.

    $$s_f = \frac{a_f}{\sum_g a_g},\quad a_f = \tfrac12 \lVert (v_1 - v_0) \times (v_2 - v_0)\rVert$$

    Args:
        vertices: positions of the corners, ``[v, 3]``.
        faces: three indices of corners for each triangle, ``[f, 3]``.

    Returns:
        The shares, float64 ``[f]``. Their sum is 1.

    Raises:
        ValueError: no triangle has an area.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> area_shares(square, np.array([[0, 1, 2], [0, 2, 3], [0, 1, 1]])).tolist()
        [0.5, 0.5, 0.0]
    """
    if len(faces) == 0:
        raise ValueError("the mesh has no faces")
    a, b, c = vertices[faces].transpose(1, 0, 2)
    sides = np.stack([b - a, c - a])
    longest = np.abs(sides).max()
    area = np.linalg.norm(np.cross(*(sides / (longest or 1))), axis=1)
    if area.sum() == 0:
        raise ValueError("none of the faces has an area")
    return area / area.sum()


def sample_surface(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    r"""Draws points from the surface of a triangle mesh, uniformly by area.

    A triangle is drawn with the probability of its share of the area (:func:`area_shares`), then a point in it:

    $$x = (1 - \sqrt u)\, v_0 + \sqrt u\, (1 - w)\, v_1 + \sqrt u\, w\, v_2,\quad u, w \sim U(0, 1)$$

    Args:
        vertices: positions of the corners, ``[v, 3]``.
        faces: three indices of corners for each triangle, ``[f, 3]``.
        count: number of points, at least 1.
        generator: source of the random numbers.

    Returns:
        The points, ``[count, 3]``.

    Raises:
        ValueError: the count is below 1, or no triangle has an area.

    Example:
        >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> sample_surface(corners, np.array([[0, 1, 2]]), 5, np.random.default_rng(0)).shape
        (5, 3)
    """
    _check_count(count)
    return points_on_faces(vertices, faces, area_shares(vertices, faces), count, generator)[0]


def points_on_faces(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    area: Float[np.ndarray, "f"],
    count: int,
    generator: np.random.Generator,
) -> tuple[Float[np.ndarray, "count 3"], Int[np.ndarray, "count"]]:
    """Draws points as :func:`sample_surface` does, from triangles whose areas are known.

    Args:
        vertices: positions of the corners, ``[v, 3]``.
        faces: three indices of corners for each triangle, ``[f, 3]``.
        area: area of each triangle, or a multiple of it, ``[f]``.
        count: number of points.
        generator: source of the random numbers.

    Returns:
        The points ``[count, 3]``, and for each point the index of its triangle ``[count]``.

    Example:
        >>> corners, triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
        >>> points, face = points_on_faces(corners, triangle, np.array([0.5]), 3, np.random.default_rng(0))
        >>> face.tolist()
        [0, 0, 0]
    """
    cumulative = np.cumsum(area)
    # "right" finds i with cumulative[i - 1] <= number < cumulative[i]: never a triangle without area, not even for 0.
    face = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right").clip(max=len(area) - 1)
    a, b, c = vertices[faces[face]].transpose(1, 0, 2)
    # The square root spreads the points evenly over the triangle; without it they would crowd at the first corner.
    u, w = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    return (1 - u) * a + u * (1 - w) * b + u * w * c, face


def random_points(
    points: Float[np.ndarray, "p 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    """Draws points of a cloud at random, each at most once.

    Args:
        points: the cloud, ``[p, 3]``.
        count: number of points, from 1 to p.
        generator: source of the random numbers.

    Returns:
        The drawn points, ``[count, 3]``.

    Raises:
        ValueError: the count is below 1, or the cloud has fewer points.

    Example:
        >>> random_points(np.zeros((10, 3)), 4, np.random.default_rng(0)).shape
        (4, 3)
    """
    _check_count(count, len(points))
    return points[generator.permutation(len(points))[:count]]


def farthest_points(
    points: Float[np.ndarray, "p 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    r"""Thins a cloud out evenly by farthest point sampling (Eldar et al., 1997).

    The first point is random. Each further point is the one that is farthest from all points taken so far:

    $$x_{k+1} = \arg\max_i \min_{j \le k} \lVert x_i - x_j\rVert$$

    Of several points that are equally far, the first is taken. The time is that of ``count`` times ``p`` distances.

    Args:
        points: the cloud, ``[p, 3]``.
        count: number of points, from 1 to p. Each point is taken at most once.
        generator: source of the random first point.

    Returns:
        The taken points, ``[count, 3]``, in the order in which they were taken.

    Raises:
        ValueError: the count is below 1, or the cloud has fewer points.

    Example:
        >>> line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]])
        >>> sorted(farthest_points(line, 3, np.random.default_rng(0))[:, 0].tolist())
        [0.0, 2.0, 9.0]
    """
    _check_count(count, len(points))
    columns = np.ascontiguousarray(points.T, dtype=np.float64)
    taken = np.empty(count, dtype=np.int64)
    taken[0] = generator.integers(len(points))
    nearest = np.full(len(points), np.inf)
    for k in range(1, count):
        x, y, z = columns - columns[:, taken[k - 1], None]
        np.minimum(nearest, x * x + y * y + z * z, out=nearest)
        nearest[taken[k - 1]] = -1.0  # never again, not even among points that are all equal
        taken[k] = nearest.argmax()
    return points[taken]


def _check_count(count: int, available: int | None = None) -> None:
    if count < 1:
        raise ValueError(f"count={count}: ask for at least one point")
    if available is not None and count > available:
        raise ValueError(f"the cloud has {available} points, {count} cannot be taken of it: ask for fewer")
