"""Point clouds: drawn from the surface of a mesh, thinned out, centred and scaled.

Coordinates are right-handed with z up; lengths have no unit.
"""

import numpy as np

from hiercl.runtime.types import Float, Int

__all__ = ["area_shares", "farthest_points", "random_points", "sample_surface", "unit_sphere"]


def unit_sphere(points: Float[np.ndarray, "*n p 3"]) -> Float[np.ndarray, "*n p 3"]:
    """Centre a cloud, or each of several, on the mean of its points, and put the farthest point at distance 1.

    .. math:: y_i = (x_i - c) / max_j |x_j - c|,  c = 1/p sum_i x_i

    Shapes: floating ``[p, 3]``, or ``[n, p, 3]``; the result is float32 of the same shape.

    Raises ValueError for points that are not finite, and for a cloud whose points are all equal, as it has no size.

    Example::

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
    """Give the share of each triangle in the area of the surface; the shares sum to 1.

    .. math:: s_f = a_f / sum_g a_g,  a_f = 1/2 |(v_1 - v_0) x (v_2 - v_0)|

    Raises ValueError when no triangle has an area.

    Example::

        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> area_shares(square, np.array([[0, 1, 2], [0, 2, 3], [0, 1, 1]])).tolist()
        [0.5, 0.5, 0.0]
    """
    if len(faces) == 0:
        raise ValueError("the mesh has no faces")
    a, b, c = vertices[faces].transpose(1, 0, 2)
    sides = np.stack([b - a, c - a])
    longest = np.abs(sides).max()
    if longest == 0:
        raise ValueError("none of the faces has an area")
    area = np.linalg.norm(np.cross(*(sides / longest)), axis=1)
    if area.sum() == 0:
        raise ValueError("none of the faces has an area")
    return area / area.sum()


def sample_surface(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    """Draw points from the surface of a triangle mesh, uniformly by area.

    A triangle is drawn with the probability of its share of the area (`area_shares`), then a point in it:

    .. math:: x = (1 - sqrt(u)) v_0 + sqrt(u) (1 - w) v_1 + sqrt(u) w v_2,  u, w ~ U(0, 1)

    Raises ValueError for a count below 1, and when no triangle has an area.

    Example::

        >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> sample_surface(corners, np.array([[0, 1, 2]]), 5, np.random.default_rng(0)).shape
        (5, 3)
    """
    _check_count(count)
    cumulative = np.cumsum(area_shares(vertices, faces))
    # "right" finds i with cumulative[i - 1] <= number < cumulative[i]: never a triangle without area, not even for 0.
    drawn = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right")
    a, b, c = vertices[faces[drawn]].transpose(1, 0, 2)
    u, w = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    return (1 - u) * a + u * (1 - w) * b + u * w * c


def random_points(
    points: Float[np.ndarray, "p 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    """Draw points of a cloud at random, each at most once.

    Raises ValueError when the cloud has fewer points.

    Example::

        >>> random_points(np.zeros((10, 3)), 4, np.random.default_rng(0)).shape
        (4, 3)
    """
    _check_count(count, len(points))
    return points[generator.permutation(len(points))[:count]]


def farthest_points(
    points: Float[np.ndarray, "p 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    """Thin a cloud out evenly: from a random first point on, always take the point farthest from all taken so far.

    .. math:: x_{k+1} = argmax_i min_{j <= k} |x_i - x_j|

    (Farthest point sampling; Eldar et al., 1997.) Each point is taken at most once, the first of those equally far. The
    costs are those of ``count`` times ``p`` distances.

    Raises ValueError when the cloud has fewer points.

    Example::

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


def _check_count(count: int, there: int | None = None) -> None:
    if count < 1:
        raise ValueError(f"at least one point must be asked for, not {count}")
    if there is not None and count > there:
        raise ValueError(f"the cloud has {there} points, {count} cannot be taken of it: ask for fewer")
