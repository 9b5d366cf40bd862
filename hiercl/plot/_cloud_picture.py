"""A small picture of a point cloud, and what every drawing of one needs: where points are seen, and their colours."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from hiercl.plot._colours import from_oklab, to_oklab
from hiercl.runtime.types import Float, Int, UInt8

View = tuple[float | int, float | int]  # elevation and azimuth in degrees
VIEW: View = (20, -55)  # from the front and a little from above
OUT, IN = to_rgb("#9DB4C8"), to_rgb("#C24A00")  # a pale blue and a dark orange: apart in hue and in lightness
FINER = 2  # a picture is drawn so many times finer and then averaged, which smooths its edges
RIM = 0.4  # how much darker the rim of a disc is than its middle
CELLS = 16  # a side of the grid in which the area of a cloud is counted
FADED = 0.4  # how far the farthest point is mixed with white; half as far where colour is a mask, to keep it readable


def cloud_picture(
    points: Any, side: int = 96, colour: Any = None, view: View = VIEW
) -> UInt8[np.ndarray, "side side 3"]:
    r"""A picture of a point cloud on white, z up, as large as it fits.

    With the eye in the direction :math:`v = (\cos e \cos a, \cos e \sin a, \sin e)`, parallel to which all is seen, a
    point x stands at :math:`(\langle x, r\rangle, \langle x, u\rangle)` for the unit vectors r to the right and u
    upwards that are orthogonal to v. Discs are painted from far to near, that is by :math:`\langle x, v\rangle`; far
    ones are paler.

    Args:
        points: ``[p, 3]``, finite, in any unit.
        side: of the picture, in pixels, from 8 to 2,048.
        colour: None: by height, dark to light; booleans ``[p]``: in or not in a part, dark orange or pale blue;
            numbers ``[p]`` from 0 to 1: between these two.
        view: elevation e from −90 to 90 and azimuth a, in degrees.

    Raises:
        ValueError: points, colour, side or view of another form, or not finite.

    Example:
        >>> hiercl.plot.cloud_picture(train.items[0]).shape
        (96, 96, 3)
    """
    points = checked(points)
    if not 8 <= side <= 2048:
        raise ValueError(f"side={side}: a picture has from 8 to 2,048 pixels a side.")
    colours = point_colours(points, colour)
    seen, nearness = project(points, view)
    order = np.argsort(nearness, kind="stable")
    places, fine = fitted(seen), side * FINER
    radius = disc_radius(places) * fine
    margin = radius + 0.02 * fine
    centre = np.round(places[order] * (fine - 1 - 2 * margin) + margin).astype(np.int32)
    stamp, shade = _disc(radius)
    rows, columns = (centre[:, None] + stamp).clip(0, fine - 1).transpose(2, 0, 1)
    # Where discs overlap the last assignment stays, that of the nearest point. Its number says whose disc a pixel
    # shows, and which pixel of that disc.
    shown = np.full(fine * fine, -1, dtype=np.int32)
    shown[(rows * fine + columns).ravel()] = np.arange(rows.size, dtype=np.int32)
    painted = fade(colours, nearness, colour is not None)[order][:, None] * shade[:, None]
    table = np.concatenate([painted.reshape(-1, 3), np.ones((1, 3))]).astype(np.float32)  # the last, for −1, is white
    pixels = table[shown].reshape(side, FINER, side, FINER, 3).mean(axis=(1, 3))
    return np.round(255 * pixels).astype(np.uint8)


def as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def checked(points: Any) -> Float[np.ndarray, "p 3"]:
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
    """A colour for every point: by height, or by a mask."""
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


def directions(view: View) -> Float[np.ndarray, "3 3"]:
    """Unit vectors to the right, upwards, and to the eye."""
    if len(view) != 2 or not np.isfinite(view).all() or abs(view[0]) > 90:
        raise ValueError(f"view={view!r}: give the elevation, from −90 to 90 degrees, and the azimuth.")
    e, a = np.deg2rad(view)
    return np.array(
        [
            [-np.sin(a), np.cos(a), 0],
            [-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)],
            [np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)],
        ]
    )


def project(points: Float[np.ndarray, "p 3"], view: View) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
    """Where every point is seen (downwards, to the right), and how near it is to the eye."""
    right, up, near = directions(view) @ (points - points.mean(axis=0)).T
    return np.stack([-up, right], axis=1), near


def fitted(seen: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 2"]:
    """Places brought into the unit square: its middle is theirs, and the longer side of their box fills it."""
    low, high = seen.min(axis=0), seen.max(axis=0)
    return 0.5 + (seen - (low + high) / 2) / max((high - low).max(), 1e-12)


def disc_radius(places: Float[np.ndarray, "p 2"]) -> float:
    """Radius of a point's disc, as a share of the picture's side, with which discs about cover what the cloud covers.

    The area that it covers is counted in the cells of a coarse grid.
    """
    cells = np.minimum((places * CELLS).astype(np.int64), CELLS - 1)
    covered = len(np.unique(cells[:, 0] * CELLS + cells[:, 1])) / CELLS**2
    return float(np.clip(0.95 * np.sqrt(covered / len(places)), 0.004, 0.05))


def fade(
    colours: Float[np.ndarray, "p 3"], nearness: Float[np.ndarray, " p"], masked: bool
) -> Float[np.ndarray, "p 3"]:
    """Colours mixed with white, the more the farther a point is."""
    strength = FADED / 2 if masked else FADED
    distance = (nearness.max() - nearness) / max(np.ptp(nearness), 1e-12)
    return 1 - (1 - colours) * (1 - strength * distance)[:, None]


def _disc(radius: float) -> tuple[Int[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """The pixels of a disc around its centre, and how light each is: the rim is darker, so that neighbours part."""
    reach = np.arange(-int(radius), int(radius) + 1, dtype=np.int32)
    rows, columns = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
    away = (rows**2 + columns**2) / max(radius, 1) ** 2
    inside = away <= 1
    return np.stack([rows, columns], axis=1)[inside], 1 - RIM * away[inside] ** 2
