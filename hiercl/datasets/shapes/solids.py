"""Solids from simple closed parts. Every primitive is a loft: a stack of rings that is closed by a cap at each end.

Coordinates are right-handed with z up. Lengths have no unit: a finished solid is scaled to the unit sphere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.runtime.types import Float, Int

Number = float | int
Vector = Sequence[Number] | np.ndarray  # one number per axis, or one per point of a path
Points = Sequence[Vector] | np.ndarray

ORIGIN = (0.0, 0.0, 0.0)


# --- primitives -------------------------------------------------------------------------------------------------------


def loft(rings: Float[np.ndarray, "k m 3"]) -> Mesh:
    """Makes a skin over ``k`` rings of ``m`` points each, and closes both ends with a fan of triangles.

    A ring may shrink to a point (the tip of a cone). :meth:`Solid.join` removes the triangles without area.
    """
    k, m = rings.shape[:2]
    caps = rings[[0, -1]].mean(axis=1)
    return Mesh(np.concatenate([rings.reshape(-1, 3), caps]), _loft_faces(k, m))


@lru_cache(maxsize=256)
def _loft_faces(k: int, m: int) -> Int[np.ndarray, "f 3"]:
    here = np.arange(k * m).reshape(k, m)
    after = np.roll(here, -1, axis=1)
    a, b, c, d = here[:-1].ravel(), after[:-1].ravel(), after[1:].ravel(), here[1:].ravel()
    bottom, top = np.full(m, k * m), np.full(m, k * m + 1)
    faces = [(a, b, c), (a, c, d), (bottom, after[0], here[0]), (top, here[-1], after[-1])]
    return np.concatenate([np.stack(face, axis=1) for face in faces])


@lru_cache(maxsize=32)
def _circle(segments: int) -> Float[np.ndarray, "m 2"]:
    angle = np.arange(segments) * (2 * np.pi / segments)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def box(size: Vector, at: Vector = ORIGIN, top: Vector = (1.0, 1.0)) -> Mesh:
    """Makes a box.

    Args:
        size: length along x, width along y, height along z.
        at: centre of its floor.
        top: scale of the upper face along x and y: (0, 0) makes a pyramid, (1, 0) a gable roof.
    """
    x, y, z = size
    corners = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) * (x / 2, y / 2, 1)
    return move(loft(np.stack([corners, corners * (*top, 0) + (0, 0, z)])), at)


def revolve(profile: Points, at: Vector = ORIGIN, segments: int = 16) -> Mesh:
    """Makes a surface of revolution about the z axis; ``profile`` lists (radius, height) along the outline.

    The outline of a hollow vessel goes up the outer wall and down the inner wall, to radius 0 at the inner floor.
    """
    radius, height = np.asarray(profile, dtype=float).T
    rings = np.empty((len(radius), segments, 3))
    rings[..., :2] = radius[:, None, None] * _circle(segments)
    rings[..., 2] = height[:, None]
    return move(loft(rings), at)


def cylinder(radius: Number, height: Number, at: Vector = ORIGIN, top: Number = 1.0, segments: int = 16) -> Mesh:
    """Makes an upright cylinder; ``at`` is the centre of its floor, and its upper radius is ``top * radius``."""
    return revolve([(radius, 0), (radius * top, height)], at, segments)


def cone(radius: Number, height: Number, at: Vector = ORIGIN, segments: int = 16) -> Mesh:
    """Makes an upright cone; ``at`` is the centre of its floor."""
    return cylinder(radius, height, at, top=0.0, segments=segments)


def sphere(radii: Number | Vector, at: Vector = ORIGIN, segments: int = 14) -> Mesh:
    """Makes a sphere, or an ellipsoid with three ``radii``, around the centre ``at``."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    radius = np.cos(angle)
    radius[[0, -1]] = 0.0  # cos(π/2) is not quite zero, and would leave a hair-thin cap
    ball = revolve(np.stack([radius, np.sin(angle)], axis=1), segments=segments)
    return move(scale(ball, radii), at)


def tube(path: Points, radius: Number | Vector, segments: int = 8) -> Mesh:
    """Makes a round tube along the points of ``path``, with one radius or one per point: rods, handles, necks."""
    path = np.asarray(path, dtype=float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # Any direction that is not along the path is good. All rings use the same one, so that the tube does not twist.
    aside = np.eye(3)[[np.abs(tangent).max(axis=0).argmin()]]
    u = _cross(tangent, aside)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = _cross(tangent, u)
    circle = _circle(segments) * np.broadcast_to(radius, len(path))[:, None, None]
    return loft(path[:, None] + circle[..., :1] * u[:, None] + circle[..., 1:] * v[:, None])


def extrude(outline: Points, thickness: Number) -> Mesh:
    """Makes a flat ``outline`` (x, z) into a plate, ``thickness`` thick along y and centred on y = 0.

    All of the outline must be visible from its mean point, as it is for a convex outline.
    """
    x, z = np.asarray(outline, dtype=float).T
    y = np.full(len(x), thickness / 2)
    return loft(np.stack([np.stack([x, -y, z], axis=1), np.stack([x, y, z], axis=1)]))


# --- moving parts -----------------------------------------------------------------------------------------------------


def move(mesh: Mesh, offset: Vector) -> Mesh:
    """Shifts a mesh by ``offset = (x, y, z)``."""
    return Mesh(mesh.vertices + np.asarray(offset, dtype=float), mesh.faces)


def scale(mesh: Mesh, factor: Number | Vector) -> Mesh:
    """Scales a mesh about the origin, by one factor or by one per axis."""
    return Mesh(mesh.vertices * np.asarray(factor, dtype=float), mesh.faces)


def turn(mesh: Mesh, axis: str, angle: Number) -> Mesh:
    """Turns a mesh about the ``"x"``, ``"y"`` or ``"z"`` axis through the origin; ``angle`` in radians."""
    return Mesh(mesh.vertices @ rotation(axis, angle).T, mesh.faces)


def rotation(axis: str, angle: Number) -> Float[np.ndarray, "3 3"]:
    """Returns the matrix that turns column vectors about an axis, counter-clockwise as seen from the axis' tip.

    The angle is in radians.
    """
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[[j, k], [j, k]] = np.cos(angle)
    matrix[k, j] = np.sin(angle)
    matrix[j, k] = -np.sin(angle)
    return matrix


# --- solids -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solid:
    """Closed parts, which may overlap, as one triangle mesh; all faces look outwards.

    Attributes:
        vertices: positions of the corners, ``[v, 3]``.
        faces: three indices of corners for each triangle, ``[f, 3]``.
        part: index of the part that each triangle belongs to, ``[f]``.

    Example:
        >>> house = Solid.join([box((1, 1, 1)), box((1, 1, 0.5), at=(0, 0, 1), top=(0, 0))])
        >>> int(house.part.max())
        1
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    part: Int[np.ndarray, "f"]

    @classmethod
    def join(cls, parts: Iterable[Mesh]) -> "Solid":
        """Joins parts: removes triangles without area, and turns parts that were built inside out."""
        parts = list(parts)
        sizes = [len(mesh.vertices) for mesh in parts]
        offsets = np.cumsum([0, *sizes[:-1]])
        vertices = np.concatenate([mesh.vertices for mesh in parts])
        faces = np.concatenate([mesh.faces + offset for mesh, offset in zip(parts, offsets, strict=True)])
        part = np.repeat(np.arange(len(parts)), [len(mesh.faces) for mesh in parts])

        a, b, c = vertices[faces].transpose(1, 0, 2)
        area_vector = _cross(b - a, c - a)
        span = np.ptp(vertices, axis=0).max()
        keep = (area_vector**2).sum(axis=1) > (1e-9 * span**2) ** 2
        volume = np.bincount(part, weights=(a * area_vector).sum(axis=1), minlength=len(parts))
        faces = np.where((volume < 0)[part, None], faces[:, ::-1], faces)
        return cls(vertices, faces[keep], part[keep])

    def face_vectors(self) -> Float[np.ndarray, "f 3"]:
        """Returns the outward normal of each face, times the area of the face, ``[f, 3]``."""
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2)
        return _cross(b - a, c - a) / 2

    def turned(self, matrix: Float[np.ndarray, "3 3"]) -> "Solid":
        """Returns the solid after a rotation."""
        return Solid(self.vertices @ matrix.T, self.faces, self.part)

    def normalised(self) -> "Solid":
        """Returns the solid centred on the mean of its surface, with the farthest corner at distance 1."""
        area = np.linalg.norm(self.face_vectors(), axis=1)
        centre = area @ self.vertices[self.faces].mean(axis=1) / area.sum()
        vertices = self.vertices - centre
        return Solid(vertices / np.linalg.norm(vertices, axis=1).max(), self.faces, self.part)


def _cross(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "n 3"]:
    """The cross product. It is faster than np.cross for few vectors; ``m`` is ``n``, or 1."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
