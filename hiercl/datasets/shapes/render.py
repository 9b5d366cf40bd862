"""From solids to data: points on the surface, and small shaded pictures."""

import numpy as np

from hiercl.datasets.shapes.solids import Solid, rotation
from hiercl.runtime.types import Float, Int, UInt8

SUPERSAMPLING = 3  # picture pixels are means of 3×3 samples: smooth edges


def sample_points(
    solid: Solid, n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """``n`` random surface points, uniform by area, with their unit normals and part indices."""
    vectors = solid.face_vectors()
    area = np.linalg.norm(vectors, axis=1)
    cumulative = np.cumsum(area)
    face = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], n), side="right").clip(max=len(area) - 1)
    a, b, c = solid.vertices[solid.faces[face]].transpose(1, 0, 2)
    # √u spreads the points evenly over the triangle; without it they would crowd at corner a.
    u, v = np.sqrt(rng.uniform(size=(n, 1))), rng.uniform(size=(n, 1))
    points = (1 - u) * a + u * (1 - v) * b + u * v * c
    return points, vectors[face] / area[face, None], solid.part[face]


def point_cloud(solid: Solid, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """``n`` surface points, float32, centred on their mean, the farthest at distance 1 (the protocol of ModelNet)."""
    points, _, _ = sample_points(solid, n, rng)
    points -= points.mean(axis=0)
    radius = np.linalg.norm(points, axis=1).max()
    return (points / max(radius, 1e-9)).astype(np.float32)


def picture(solid: Solid, rng: np.random.Generator, size: int = 32) -> UInt8[np.ndarray, "size size 3"]:
    """A shaded picture from a random camera, in random light, before a random background.

    The camera looks down by 8 to 38 degrees and rolls by up to 8, so things stand upright; the heading is the solid's
    own. Colours say nothing about the class.
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

    # Index −1, no face, picks the last row: transparent. With a fourth channel the mean tells the coverage too.
    palette = np.zeros((len(colours) + 1, 4), dtype=np.float32)
    palette[:-1] = np.concatenate([colours, np.ones((len(colours), 1))], axis=1)
    image = _downsample(palette[face])
    image = image[..., :3] + (1 - image[..., 3:]) * background(size, base, rng)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def project(vertices: Float[np.ndarray, "v 3"], rng: np.random.Generator, size: int) -> Float[np.ndarray, "v 3"]:
    """Camera to screen: (column, row, nearness) in pixels, in perspective; the thing fills 60 to 95 % of the frame."""
    nearness = 1 / (rng.uniform(2.5, 6.0) - vertices[:, 2])  # linear on the screen within a triangle, as z is not
    flat = vertices[:, :2] * nearness[:, None] * (1, -1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    fill = rng.uniform(0.6, 0.95)
    extent = (high - low).max()
    free = (1 - fill * (high - low) / extent) * 0.5
    centre = 0.5 + free * rng.uniform(-0.9, 0.9, size=2)
    flat = ((flat - (low + high) / 2) * (fill / extent) + centre) * size
    return np.concatenate([flat, nearness[:, None]], axis=1)


def rasterise(corners: Float[np.ndarray, "f 3 3"], size: int) -> Int[np.ndarray, "size size"]:
    """Which face each pixel of a ``size`` × ``size`` screen shows: its index, −1 where there is none.

    ``corners[f, i]`` is (column, row, nearness). Only faces whose corners run counter-clockwise before the viewer show.
    All faces are cut into spans (one face, one row), all spans into pixels, and the nearest face wins each pixel.
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
    """The faces towards the viewer, their edge functions (a, b, c) per edge, and their plane of nearness (a, b, c)."""
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
    """Counts (2, 0, 3) to owners (0, 0, 2, 2, 2) and steps (0, 1, 0, 1, 2); negative counts are none."""
    counts = counts.clip(min=0)
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def shade(
    normals: Float[np.ndarray, "f 3"],
    part: Int[np.ndarray, "f"],
    base: Float[np.ndarray, "3"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "f 3"]:
    """Colour of each face: ``base``, slightly varied from part to part, in ambient and diffuse light."""
    part_colour = (base + rng.normal(0, 0.08, size=(part.max() + 1, 3))).clip(0.05, 1)
    light = np.array([rng.uniform(-1, 1), rng.uniform(0.1, 1), rng.uniform(0.2, 1)])  # from the viewer's side, above
    light /= np.linalg.norm(light)
    ambient = rng.uniform(0.25, 0.5)
    brightness = ambient + (1.1 - ambient) * (normals @ light).clip(min=0)
    return part_colour[part] * brightness[:, None]


def tinted(grey: float, strength: float, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """A muted colour: ``grey`` in [0, 1] and a random tint.

    Vivid colours would mark each picture so well that instance discrimination looks at little else.
    """
    return (grey + rng.normal(0, strength, size=3)).clip(0.03, 1)


def background(size: int, avoid: Float[np.ndarray, "3"], rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """A soft gradient between two related light colours, in a random direction, away from the colour to ``avoid``."""
    first = tinted(rng.uniform(0.55, 1.0), 0.07, rng)
    while np.linalg.norm(first - avoid) < 0.4:  # else some things could hardly be seen
        first = tinted(rng.uniform(0.55, 1.0), 0.07, rng)
    second = first + rng.normal(0, 0.12) + rng.normal(0, 0.03, size=3)
    angle = rng.uniform(0, 2 * np.pi)
    place = np.linspace(-0.5, 0.5, size)
    blend = 0.5 + (np.cos(angle) * place[None, :] + np.sin(angle) * place[:, None]) / np.sqrt(2)
    return first + blend[..., None] * (second - first)


def _downsample(image: Float[np.ndarray, "height width c"]) -> Float[np.ndarray, "small_height small_width c"]:
    """Means of blocks of pixels; adding up strided slices is several times faster than ``mean`` over two axes."""
    s = SUPERSAMPLING
    rows = sum(image[i::s] for i in range(s))
    return sum(rows[:, i::s] for i in range(s)) / s**2
