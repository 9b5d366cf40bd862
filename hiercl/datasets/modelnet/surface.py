"""The surface of a shape that is given by voxels, in one turn or in several.

Grids become one field, and the field's level set becomes a mesh (marching tetrahedra). Points are drawn from it as from
any other mesh.
"""

from collections.abc import Mapping
from itertools import permutations

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.runtime.types import Bool, Float

__all__ = ["level_set", "occupancy", "surface_of"]

STEP = 30.0  # degrees between two turns of 3DShapeNets
AGREEMENT = 0.8  # least correlation of a turn with the first one
SMOOTHING = 0.5  # voxels


def surface_of(grids: Mapping[int, Bool[np.ndarray, "x y z"]]) -> Mesh:
    """Returns the surface of a shape from its voxels.

    Args:
        grids: which voxels are occupied, by the number of the turn: turn k is turned by ``30 (k − 1)`` degrees about z.

    Returns:
        The mesh, in units of voxels. Hollow spaces without a way out have no surface.

    Example:
        >>> vertices, faces = surface_of({1: np.ones((4, 4, 4), dtype=bool)})
        >>> vertices.min(axis=0).round(2).tolist(), vertices.max(axis=0).round(2).tolist()
        ([-0.5, -0.5, -0.5], [3.5, 3.5, 3.5])
    """
    vertices, faces = level_set(occupancy(grids))
    return Mesh(vertices - 1, faces)


def occupancy(grids: Mapping[int, Bool[np.ndarray, "x y z"]]) -> Float[np.ndarray, "u v w"]:
    r"""Averages the turns of a shape, in the frame of the first one.

    A turn has its own scale, as each was fitted into its grid. So a turn is put in place by the centre c and the size r
    of its occupied voxels (root mean square distance from c), with the rotation R of its angle, in the direction that
    agrees better:

    $$f(x) = \frac1n \sum_k g_k\!\Big(c_k + \frac{r_k}{r_1} R_k\,(x - c_1)\Big)$$

    A turn whose correlation with the first one is below 0.8 is left out. Hollow spaces are filled before. Thin parts,
    which an average would lose, are kept as in the first turn. At last the field is smoothed by half a voxel. This
    removes single voxels, and rods of one voxel that run along a diagonal of space.

    Args:
        grids: which voxels are occupied, by the number of the turn.

    Returns:
        Share of each voxel that is occupied, from 0 to 1, in the frame of the turn with the lowest number, with one
        more voxel at every side.
    """
    from scipy import ndimage  # imported here, so that `import hiercl` stays fast

    numbers = sorted(grids)
    solid = {k: ndimage.binary_fill_holes(grids[k]) for k in numbers}
    first = solid[numbers[0]].astype(np.float32)
    centre, size = _place(first)
    offset = np.stack(np.indices(first.shape), axis=-1) - centre
    kept = [first]
    for k in numbers[1:]:
        grid = solid[k].astype(np.float32)
        own_centre, own_size = _place(grid)
        candidates = []
        for sign in (1, -1):
            place = own_centre + own_size / size * offset @ _rotation(sign * STEP * (k - numbers[0])).T
            candidates.append(ndimage.map_coordinates(grid, np.moveaxis(place, -1, 0), order=1))
        agreement = [np.corrcoef(first.ravel(), one.ravel())[0, 1] for one in candidates]
        if max(agreement) >= AGREEMENT:
            kept.append(candidates[int(np.argmax(agreement))])
    field = np.mean(kept, axis=0)
    thin = (first > 0) & ~ndimage.binary_opening(np.pad(first > 0, 1))[1:-1, 1:-1, 1:-1]
    field[thin] = np.maximum(field, first)[thin]
    return ndimage.gaussian_filter(np.pad(field, 2), SMOOTHING)[1:-1, 1:-1, 1:-1]


def level_set(field: Float[np.ndarray, "x y z"], level: float = 0.5) -> Mesh:
    """Returns the surface where a field crosses a level, by marching tetrahedra (Doi and Koide, 1991).

    A cell between eight grid points is cut into six tetrahedra around its diagonal. On each edge of a tetrahedron
    that crosses the level lies a corner, by linear interpolation; one triangle or two connect them.

    Args:
        field: a value at every grid point. At its border it must be below the level.
        level: the value on the surface.

    Returns:
        The mesh. Its triangles share no corners, and their orientation has no meaning.
    """
    cells = np.lib.stride_tricks.sliding_window_view(field > level, (2, 2, 2))
    cells = np.argwhere(cells.any(axis=(3, 4, 5)) & ~cells.all(axis=(3, 4, 5)))
    if len(cells) == 0:
        raise ValueError(
            f"the field does not cross the level {level:g}: too few voxels are occupied, or they form too thin a part"
        )
    place = (cells[:, None, None] + TETRAHEDRA).reshape(-1, 4, 3)
    value = field[tuple(np.moveaxis(place, -1, 0))].astype(np.float64)
    order = np.argsort(-value, axis=1)  # corners inside come first
    value, place = np.take_along_axis(value, order, 1), np.take_along_axis(place, order[..., None], 1)
    inside = (value > level).sum(axis=1)
    triangles = []
    for count, pieces in PIECES.items():
        v, x = value[inside == count], place[inside == count]
        for edges in pieces:
            i, j = np.array(edges).T
            share = (v[:, i] - level) / (v[:, i] - v[:, j])
            triangles.append(x[:, i] + share[..., None] * (x[:, j] - x[:, i]))
    vertices = np.concatenate(triangles).reshape(-1, 3)
    return Mesh(vertices, np.arange(len(vertices)).reshape(-1, 3))


def _place(grid: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre of the occupied voxels, and root of their mean square distance from it."""
    occupied = np.argwhere(grid > 0)
    centre = occupied.mean(axis=0)
    return centre, float(np.sqrt(((occupied - centre) ** 2).sum(axis=1).mean() + 0.25))


def _rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


# Corners [6, 4, 3] of the tetrahedra of a cell: along the axes in every order, from end to end of the diagonal.
TETRAHEDRA = np.cumsum([[np.zeros(3, int), *np.eye(3, dtype=int)[list(p)]] for p in permutations(range(3))], axis=1)
# The triangles for each number of corners inside: the edges, between a corner inside and one outside, that they touch.
PIECES = {
    1: [((0, 1), (0, 2), (0, 3))],
    2: [((0, 2), (0, 3), (1, 3)), ((0, 2), (1, 3), (1, 2))],
    3: [((0, 3), (1, 3), (2, 3))],
}
