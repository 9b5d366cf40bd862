"""A small picture of a point cloud, and what all drawings of clouds share: projection, colours, size of the discs."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from hiercl.plot._colours import from_oklab, to_oklab
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_array
from hiercl.runtime.types import Float, Int, UInt8

Angles = tuple[float | int, float | int]  # elevation and azimuth of the eye in degrees
FRONT: Angles = (20, -55)  # from the front and a little from above
OUT, IN = to_rgb("#9DB4C8"), to_rgb("#C24A00")  # a pale blue and a dark orange: they differ in hue and in lightness
FINER = 2  # a picture is drawn so many times larger and then averaged, which smooths its edges
RIM = 0.4  # how much darker the rim of a disc is than its centre
CELLS = 16  # cells per side of the grid that measures the area of a cloud
FADED = 0.4  # share of white in the farthest point; half of it if colour shows a mask, which must stay readable


@checked
def cloud_picture(
    points: Any, side: int = 96, colour: Any = None, view: Angles = FRONT
) -> UInt8[np.ndarray, "side side 3"]:
    r"""Draws a point cloud on white, z up, as large as it fits.

    The eye looks from the direction v, in parallel projection, with r the unit vector to the right and u upwards:

    $$v = (\cos e \cos a, \cos e \sin a, \sin e), \qquad x \mapsto (\langle x, r\rangle, \langle x, u\rangle)$$

    Discs are painted from far to near, that is by $\langle x, v\rangle$. Far discs are paler. The drawing is ours.

    Args:
        points: finite points ``[p, 3]`` in any unit.
        side: pixels per side of the picture, from 8 to 2,048.
        colour: None colours by height, dark to light. Booleans ``[p]`` show which points are in a part, dark orange,
            and which are not, pale blue. Numbers ``[p]`` from 0 to 1 lie between these two colours.
        view: elevation e, from −90 to 90, and azimuth a, in degrees.

    Returns:
        The picture in RGB.

    Raises:
        ValueError: points, colour, side or view have another form, or are not finite.

    Example:
        >>> hiercl.plot.cloud_picture(points_train.items[0]).shape
        (96, 96, 3)
    """
    points = checked_points(points)
    if not 8 <= side <= 2048:
        raise ValueError(f"side={side}: a picture has from 8 to 2,048 pixels a side.")
    places, colours, share = far_to_near(points, colour, view)
    fine = side * FINER
    radius = share * fine
    margin = radius + 0.02 * fine
    centre = np.round(places * (fine - 1 - 2 * margin) + margin).astype(np.int32)
    stamp, shade = _disc(radius)
    rows, columns = (centre[:, None] + stamp).clip(0, fine - 1).transpose(2, 0, 1)
    # Where discs overlap, the last assignment stays, which is the nearest point. The number that is assigned says
    # whose disc a pixel shows, and which pixel of that disc.
    shown = np.full(fine * fine, -1, dtype=np.int32)
    shown[(rows * fine + columns).ravel()] = np.arange(rows.size, dtype=np.int32)
    painted = colours[:, None] * shade[:, None]
    table = np.concatenate([painted.reshape(-1, 3), np.ones((1, 3))]).astype(np.float32)  # the last, for −1, is white
    pixels = table[shown].reshape(side, FINER, side, FINER, 3).mean(axis=(1, 3))
    return np.round(255 * pixels).astype(np.uint8)


def far_to_near(
    points: Float[np.ndarray, "p 3"], colour: Any, view: Angles
) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, "p 3"], float]:
    """Returns places in the unit square and colours, the nearest point last, and the radius of a disc."""
    seen, nearness = project(points, view)
    order = np.argsort(nearness, kind="stable")
    colours = fade(point_colours(points, colour), nearness, colour is not None)
    places = fitted(seen)
    return places[order], colours[order], disc_radius(places)


def checked_points(points: Any) -> Float[np.ndarray, "p 3"]:
    """Returns the points as float64, or raises ValueError if they are not finite points ``[p, 3]``."""
    points = as_array(points)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or points.dtype.kind not in "fiu":
        raise ValueError(f"a cloud is an array of numbers [points, 3], got {points.dtype} {list(points.shape)}.")
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} of {len(points)} points are not finite (the first is row {bad.argmax()}): leave them out."
        )
    return points.astype(np.float64)


def point_colours(points: Float[np.ndarray, "p 3"], values: Any) -> Float[np.ndarray, "p 3"]:
    """Returns a colour for every point: by height if values is None, else by the mask that values are."""
    if values is None:
        height = points[:, 2] - points[:, 2].min()
        share = height / max(height.max(), 1e-12)
        return colormaps["viridis"](0.04 + 0.76 * share)[:, :3]  # beyond 0.8 it is too pale on white
    values = as_array(values)
    if values.shape != (len(points),) or values.dtype.kind not in "bfiu":
        raise ValueError(
            f"a mask is one boolean or one number from 0 to 1 for each of the {len(points)} points, got "
            f"{values.dtype} {list(values.shape)}."
        )
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"a mask has values from 0 to 1, got {values.min()} to {values.max()}: rescale it.")
    ends = to_oklab(np.array([OUT, IN]))
    return from_oklab(ends[0] + values.astype(float)[:, None] * (ends[1] - ends[0]))


def directions(view: Angles) -> Float[np.ndarray, "3 3"]:
    """Returns the unit vectors to the right, upwards, and to the eye."""
    if len(view) != 2 or not np.isfinite(view).all() or abs(view[0]) > 90:
        raise ValueError(f"view={view!r}: give the elevation, from −90 to 90 degrees, and the azimuth.")
    (sin_e, sin_a), (cos_e, cos_a) = np.sin(np.deg2rad(view)), np.cos(np.deg2rad(view))
    return np.array(
        [[-sin_a, cos_a, 0], [-sin_e * cos_a, -sin_e * sin_a, cos_e], [cos_e * cos_a, cos_e * sin_a, sin_e]]
    )


def project(points: Float[np.ndarray, "p 3"], view: Angles) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
    """Returns where every point is seen (downwards, to the right), and how near it is to the eye."""
    right, up, near = directions(view) @ (points - points.mean(axis=0)).T
    return np.stack([-up, right], axis=1), near


def fitted(seen: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 2"]:
    """Moves and scales places into the middle of the unit square; the longer side of their box fills it."""
    low, high = seen.min(axis=0), seen.max(axis=0)
    return 0.5 + (seen - (low + high) / 2) / max((high - low).max(), 1e-12)


def disc_radius(places: Float[np.ndarray, "p 2"]) -> float:
    """Returns the radius of a disc as a share of the picture's side. All discs together fill about the cloud's area.

    The area is the number of cells of a coarse grid that hold a point.
    """
    cells = np.minimum((places * CELLS).astype(np.int64), CELLS - 1)
    covered = len(np.unique(cells[:, 0] * CELLS + cells[:, 1])) / CELLS**2
    return float(np.clip(0.95 * np.sqrt(covered / len(places)), 0.004, 0.05))


def fade(
    colours: Float[np.ndarray, "p 3"], nearness: Float[np.ndarray, " p"], masked: bool
) -> Float[np.ndarray, "p 3"]:
    """Mixes colours with white: the farther a point is, the paler it becomes."""
    strength = FADED / 2 if masked else FADED
    distance = (nearness.max() - nearness) / max(np.ptp(nearness), 1e-12)
    return 1 - (1 - colours) * (1 - strength * distance)[:, None]


def _disc(radius: float) -> tuple[Int[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """Returns the pixels of a disc and how light each is. The rim is darker, so that neighbours can be told apart."""
    reach = np.arange(-int(radius), int(radius) + 1, dtype=np.int32)
    rows, columns = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
    away = (rows**2 + columns**2) / max(radius, 1) ** 2
    inside = away <= 1
    return np.stack([rows, columns], axis=1)[inside], 1 - RIM * away[inside] ** 2
