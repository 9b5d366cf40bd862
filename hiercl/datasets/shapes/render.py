"""Turns solids into data: points on the surface, and small shaded pictures."""

from functools import reduce

import numpy as np

from hiercl.datasets.clouds import points_on_faces
from hiercl.datasets.shapes.solids import Solid, rotation
from hiercl.runtime.types import Float, Int, UInt8

SUPERSAMPLING = 3  # each pixel is the mean of 3×3 samples, so edges are smooth


def point_cloud(solid: Solid, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Draws ``n`` surface points, uniform by area, centred on their mean, the farthest at distance 1 (as ModelNet).

    Example:
        >>> point_cloud(hiercl.datasets.shapes.solid(0, 0), 100, np.random.default_rng(0)).shape
        (100, 3)
    """
    area = np.linalg.norm(solid.face_vectors(), axis=1)
    points, _ = points_on_faces(solid.vertices, solid.faces, area, n, rng)
    points -= points.mean(axis=0)
    radius = np.linalg.norm(points, axis=1).max()
    return (points / max(radius, 1e-9)).astype(np.float32)


def picture(solid: Solid, rng: np.random.Generator, size: int = 32) -> UInt8[np.ndarray, "size size 3"]:
    """Draws a shaded picture with a random camera, random light and a random background.

    The camera looks down by 8 to 38 degrees and rolls by up to 8 degrees, so solids stand upright. The solid is not
    turned about its z axis here. Colours do not depend on the class.

    Example:
        >>> picture(hiercl.datasets.shapes.solid(0, 0), np.random.default_rng(0), size=24).shape
        (24, 24, 3)
    """
    elevation, roll = np.radians([rng.uniform(8, 38), rng.uniform(-8, 8)])
    # Camera axes: x to the right, y up, z towards the viewer.
    seen = solid.turned(rotation("z", roll) @ rotation("x", elevation - np.pi / 2))
    vectors = seen.face_vectors()
    normals = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    screen = project(seen.vertices, rng, size * SUPERSAMPLING)
    face = rasterise(screen[seen.faces], size * SUPERSAMPLING)
    base = tinted(rng.uniform(0.15, 0.68), 0.12, rng)
    colours = shade(normals, seen.part, base, rng)

    # Index −1, no face, picks the last row, which is transparent. The fourth channel is the coverage.
    palette = np.zeros((len(colours) + 1, 4), dtype=np.float32)
    palette[:-1] = np.concatenate([colours, np.ones((len(colours), 1))], axis=1)
    samples, step = palette[face], SUPERSAMPLING  # sums of strided slices are several times faster than a mean
    rows = reduce(np.add, (samples[i::step] for i in range(step)))
    image = reduce(np.add, (rows[:, i::step] for i in range(step))) / step**2
    image = image[..., :3] + (1 - image[..., 3:]) * background(size, base, rng)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def project(vertices: Float[np.ndarray, "v 3"], rng: np.random.Generator, size: int) -> Float[np.ndarray, "v 3"]:
    """Projects camera coordinates to (column, row, nearness); the solid fills 60 to 95 % of the frame."""
    nearness = 1 / (rng.uniform(2.5, 6.0) - vertices[:, 2])  # linear on the screen within a triangle; z is not
    flat = vertices[:, :2] * nearness[:, None] * (1, -1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    fill = rng.uniform(0.6, 0.95)
    extent = (high - low).max()
    free = (1 - fill * (high - low) / extent) * 0.5
    centre = 0.5 + free * rng.uniform(-0.9, 0.9, size=2)
    flat = ((flat - (low + high) / 2) * (fill / extent) + centre) * size
    return np.concatenate([flat, nearness[:, None]], axis=1)


def rasterise(corners: Float[np.ndarray, "f 3 3"], size: int) -> Int[np.ndarray, "size size"]:
    """Returns the index of the face that each pixel of a ``size`` × ``size`` screen shows, −1 where there is none.

    ``corners[f, i]`` is (column, row, nearness). Only faces whose corners run counter-clockwise for the viewer are
    visible. All faces are cut into spans (one face, one row), and all spans into pixels; each pixel shows its nearest
    face.
    """
    front, edges, plane = _face_equations(corners)
    rows = corners[front, :, 1]
    first_row = np.ceil(rows.min(axis=1) - 0.5).clip(0, size).astype(int)
    last_row = np.floor(rows.max(axis=1) - 0.5).clip(-1, size - 1).astype(int)
    owner, step = _expand(last_row - first_row + 1)
    row = first_row[owner] + step

    # Inside means a·x + b·y + c ≥ 0 for all three edges: each bounds x in this row from the left or from the right.
    a, b, c = edges[:, owner]
    rest = b * (row + 0.5)[:, None] + c
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -rest / a
    left = np.where(a > 0, crossing, -np.inf).max(axis=1)
    right = np.where(a < 0, crossing, np.inf).min(axis=1)
    first = np.ceil(left - 0.5).clip(0, size).astype(int)
    last = np.floor(right - 0.5).clip(-1, size - 1).astype(int)
    span, step = _expand(last - first + 1)
    column = first[span] + step

    pa, pb, pc = plane[:, owner]
    nearness = pa[span] * (column + 0.5) + (pb * (row + 0.5) + pc)[span]
    # One integer holds nearness (high bits) and face (low bits), so that a plain maximum is the depth test.
    key = ((nearness * 2**24).astype(np.int64) << 24) | front[owner[span]]
    nearest = np.full(size * size, -1, dtype=np.int64)
    np.maximum.at(nearest, row[span] * size + column, key)
    return np.where(nearest >= 0, nearest & (2**24 - 1), -1).reshape(size, size)


def _face_equations(
    corners: Float[np.ndarray, "f 3 3"],
) -> tuple[Int[np.ndarray, "g"], Float[np.ndarray, "3 g 3"], Float[np.ndarray, "3 g"]]:
    """Faces towards the viewer, their edge functions (a, b, c) per edge, and their plane of nearness (a, b, c)."""
    x, y, near = corners.transpose(2, 0, 1)
    a = y - np.roll(y, -1, axis=1)
    b = np.roll(x, -1, axis=1) - x
    c = -(a * x + b * y)
    # Rows count downwards, so a face that looks at the viewer runs clockwise in (column, row): negative area.
    double_area = c.sum(axis=1)
    front = np.flatnonzero(double_area < -1e-9)
    edges = -np.stack([a, b, c])[:, front]
    # Barycentric weight of corner i is the edge function of the opposite edge over twice the area.
    weight = edges[..., [1, 2, 0]] / -double_area[front, None]
    return front, edges, (weight * near[front]).sum(axis=2)


def _expand(counts: Int[np.ndarray, "n"]) -> tuple[Int[np.ndarray, "total"], Int[np.ndarray, "total"]]:
    """Turns counts (2, 0, 3) into owners (0, 0, 2, 2, 2) and steps (0, 1, 0, 1, 2); negative counts are 0."""
    counts = counts.clip(min=0)
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def shade(
    normals: Float[np.ndarray, "f 3"],
    part: Int[np.ndarray, "f"],
    base: Float[np.ndarray, "3"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "f 3"]:
    """Returns the colour of each face: ``base``, a little different for each part, in ambient and diffuse light."""
    part_colour = (base + rng.normal(0, 0.08, size=(part.max() + 1, 3))).clip(0.05, 1)
    light = np.array([rng.uniform(-1, 1), rng.uniform(0.1, 1), rng.uniform(0.2, 1)])  # from the viewer's side, above
    light /= np.linalg.norm(light)
    ambient = rng.uniform(0.25, 0.5)
    brightness = ambient + (1.1 - ambient) * (normals @ light).clip(min=0)
    return part_colour[part] * brightness[:, None]


def tinted(grey: float, strength: float, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Draws a muted colour: ``grey`` in [0, 1] with a random tint.

    With vivid colours, instance discrimination could tell pictures apart by colour alone.
    """
    return (grey + rng.normal(0, strength, size=3)).clip(0.03, 1)


def background(size: int, avoid: Float[np.ndarray, "3"], rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """Draws a soft gradient between two similar light colours that differ from the colour to ``avoid``."""
    first = tinted(rng.uniform(0.55, 1.0), 0.07, rng)
    while np.linalg.norm(first - avoid) < 0.4:  # else some solids would hardly be visible
        first = tinted(rng.uniform(0.55, 1.0), 0.07, rng)
    second = first + rng.normal(0, 0.12) + rng.normal(0, 0.03, size=3)
    angle = rng.uniform(0, 2 * np.pi)
    place = np.linspace(-0.5, 0.5, size)
    blend = 0.5 + (np.cos(angle) * place[None, :] + np.sin(angle) * place[:, None]) / np.sqrt(2)
    return first + blend[..., None] * (second - first)
