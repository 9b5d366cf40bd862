"""Point clouds drawn large: a figure of several viewpoints, or of several clouds, and one to turn with the mouse."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.plot._canvas import NORMAL, SMALL, TITLE, check_item, readable, sheet, shortened, text_width
from hiercl.plot._cloud_picture import (
    VIEW,
    View,
    as_array,
    checked,
    directions,
    disc_radius,
    fade,
    fitted,
    point_colours,
    project,
)
from hiercl.plot._colours import GREY, TEXT
from hiercl.runtime.types import Float

VIEWS: tuple[View, ...] = (VIEW, (20, 35), (80, -55))
PANEL, GAP = 2.85, 0.15  # inches of one viewpoint of a figure, and between two
SIDE, ACROSS = 2.1, 4  # inches of one of several clouds side by side, and how many of them
MOST = 20  # clouds of a figure
LARGE = 0.75  # in a large figure discs are so many times smaller than in a small picture, so that each can be seen
SCREEN = 200  # and in one to turn so many screen pixels wide for a radius of 1


def cloud(
    points: Any,
    item: SupportsIndex | Sequence[int] | np.ndarray | None = None,
    mask: Any = None,
    views: Sequence[View] = VIEWS,
    title: str | None = None,
) -> Figure:
    """One or several point clouds, large: a row for each, a column for each viewpoint; side by side from a single one.

    Colour is height, dark to light, or the mask: dark orange for points that are in it, pale blue for others.

    Args:
        points: a data set of points, or a cloud ``[p, 3]``, or several ``[k, p, 3]``.
        item: of the data set or of several clouds: a number, or several; by default the first, or all k clouds.
        mask: booleans or numbers from 0 to 1, ``[p]``, or ``[k, p]`` for several clouds: which points belong to
            something.
        views: elevation and azimuth of every viewpoint, in degrees.
        title: by default the classes of the item, coarse to fine.

    Raises:
        ValueError: a data set of images, an item that does not exist, points or masks of another form, no view, or
            more than 20 clouds.

    Example:
        >>> hiercl.plot.cloud(train, item=3)
        >>> hiercl.plot.cloud(train, item=3, mask=train.items[3][:, 2] > 0)
    """
    clouds, titles = _chosen(points, item)
    masks = _masks(mask, clouds)
    if len(views) == 0 or any(np.ndim(view) != 1 for view in views):
        raise ValueError("views are pairs of elevation and azimuth, at least one, such as views=[(20, -55)].")
    captions = [_caption(one, part) for one, part in zip(clouds, masks, strict=True)]
    if len(views) == 1 and len(clouds) > 1:
        return _side_by_side(clouds, masks, views[0], titles, captions, title)
    lines = ["; ".join(caption) for caption in captions]
    if title is not None:
        titles = [title if len(clouds) == 1 else f"{title}: {titles[0]}", *titles[1:]]
    # bold letters are wider
    written = [1.15 * text_width(name, TITLE) for name in titles] + [text_width(line, SMALL) for line in lines]
    row, width = PANEL + 0.75, 0.2 + max(len(views) * (PANEL + GAP), *written)
    figure, axis = sheet(width, len(clouds) * row + 0.1)
    for number, (one, name, part) in enumerate(zip(clouds, titles, masks, strict=True)):
        top = number * row + 0.1
        axis.text(0.1, top, name, size=TITLE if number == 0 else NORMAL, weight="bold", color=TEXT, va="top")
        axis.text(0.1, top + 0.22, lines[number], size=SMALL, color=GREY, va="top")
        for place, view in enumerate(views):
            left, upper = 0.1 + place * (PANEL + GAP), top + 0.45
            _draw(axis, one, part, view, left, upper, PANEL)
            where = f"elevation {view[0]:g}°, azimuth {view[1]:g}°"
            axis.text(left + PANEL / 2, upper + PANEL + 0.12, where, size=SMALL, color=GREY, ha="center", va="center")
    return figure


def _side_by_side(
    clouds: list[np.ndarray],
    masks: list[np.ndarray | None],
    view: View,
    names: list[str],
    captions: list[tuple[str, str]],
    title: str | None,
) -> Figure:
    """Several clouds from one viewpoint, each with its name and its number of points below."""
    across = min(len(clouds), ACROSS)
    heading = f"{len(clouds)} clouds" if title is None else title
    note = "; ".join(dict.fromkeys([f"elevation {view[0]:g}°, azimuth {view[1]:g}°", *(what for _, what in captions)]))
    width = 0.2 + max(across * (SIDE + GAP), 1.15 * text_width(heading, TITLE), text_width(note, SMALL))
    figure, axis = sheet(width, 0.5 + -(-len(clouds) // across) * (SIDE + 0.5), heading, note)
    for number, (one, part) in enumerate(zip(clouds, masks, strict=True)):
        left, top = 0.1 + number % across * (SIDE + GAP), 0.5 + number // across * (SIDE + 0.5)
        _draw(axis, one, part, view, left, top, SIDE)
        for line, (text, colour) in enumerate(((names[number], TEXT), (captions[number][0], GREY))):
            below = {"ha": "center", "va": "center", "size": SMALL, "color": colour}
            axis.text(left + SIDE / 2, top + SIDE + 0.12 + 0.16 * line, shortened(text, SIDE, SMALL), **below)
    return figure


def _draw(
    axis: Axes,
    points: Float[np.ndarray, "p 3"],
    mask: np.ndarray | None,
    view: View,
    left: float | int,
    top: float | int,
    side: float | int,
) -> None:
    """A cloud in a square of an axis that counts in inches."""
    seen, nearness = project(points, view)
    order = np.argsort(nearness, kind="stable")
    faded = fade(point_colours(points, mask), nearness, mask is not None)[order]
    places = fitted(seen)
    radius = LARGE * side * disc_radius(places)
    at = radius + places[order] * (side - 2 * radius)
    size = (2 * 72 * radius) ** 2
    axis.scatter(left + at[:, 1], top + at[:, 0], s=size, c=faded, edgecolors=faded * 0.72, linewidths=0.4)


def cloud_3d(points: Any, item: SupportsIndex | None = None, mask: Any = None) -> Any:
    """A point cloud to turn and to enlarge with the mouse; hovering shows coordinates, and the value of the mask.

    Args:
        points: a data set of points, or one cloud ``[p, 3]``.
        item: of the data set; by default the first.
        mask: booleans or numbers from 0 to 1, ``[p]``: which points belong to something.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        ImportError: plotly is not installed.
        ValueError: a data set of images, an item that does not exist, points or a mask of another form.

    Example:
        >>> hiercl.plot.cloud_3d(train, item=3)
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError(
            "A cloud to turn needs plotly: pip install plotly. hiercl.plot.cloud shows several viewpoints without it."
        ) from error
    clouds, titles = _chosen(points, item)
    if len(clouds) != 1:
        raise ValueError(f"{len(clouds)} clouds are given, and this figure shows one: choose with item=.")
    one, part = clouds[0], _masks(mask, clouds)[0]
    colours = [f"rgb({r},{g},{b})" for r, g, b in np.round(255 * point_colours(one, part)).astype(int).tolist()]
    hover = "x %{x:.3f}<br>y %{y:.3f}<br>z %{z:.3f}"
    hover += "" if part is None else "<br>mask %{customdata:.3g}"
    eye = 1.7 * directions(VIEW)[2]
    hidden = {"visible": False}
    return go.Figure(
        go.Scatter3d(
            x=one[:, 0],
            y=one[:, 1],
            z=one[:, 2],
            mode="markers",
            customdata=None if part is None else part.astype(float),
            hovertemplate=hover + "<extra></extra>",
            marker={"size": SCREEN * disc_radius(fitted(project(one, VIEW)[0])), "color": colours, "opacity": 1},
        ),
        layout={
            "title": {"text": f"{titles[0]}<br><sub>{'; '.join(_caption(one, part))}</sub>"},
            "scene": {
                "aspectmode": "data",
                "xaxis": hidden,
                "yaxis": hidden,
                "zaxis": hidden,
                "camera": {"up": {"x": 0, "y": 0, "z": 1}, "eye": dict(zip("xyz", eye.tolist(), strict=True))},
            },
            "margin": {"l": 0, "r": 0, "b": 0, "t": 60},
            "height": 500,
        },
    )


def _chosen(points: Any, item: SupportsIndex | Sequence[int] | np.ndarray | None) -> tuple[list[np.ndarray], list[str]]:
    """The clouds that are meant, and a title for each."""
    several = points
    if isinstance(points, HierarchicalDataset):
        if points.kind != "points":
            raise ValueError(f"{points.name!r} holds pictures, and this figure shows point clouds: use plot.gallery.")
        several, item = points.items, 0 if item is None else item
    else:
        several = as_array(points)
        if several.ndim == 2 and item is not None:
            raise ValueError(f"item={item!r} chooses among several clouds, and one is given: leave it out.")
        several = several[None] if several.ndim == 2 else several
    items = np.arange(len(several)) if item is None else np.atleast_1d(as_array(item))
    if items.ndim != 1 or items.dtype.kind not in "iu" or len(items) == 0:
        raise ValueError(f"item must be a number or several, got {item!r}.")
    for one in items.tolist():
        check_item(one, len(several))
    if len(items) > MOST:
        raise ValueError(f"{len(items):,} clouds are too many for one figure (at most {MOST}): choose with item=.")
    clouds = [checked(several[one]) for one in items]
    if isinstance(points, HierarchicalDataset):
        paths = [points.hierarchy.path(int(points.labels[one])) for one in items]
        names = [" › ".join(readable(name) for name in path) for path in paths]
        return clouds, [f"{name} (item {one})" for name, one in zip(names, items.tolist(), strict=True)]
    return clouds, [f"cloud {one}" if len(several) > 1 else "" for one in items.tolist()]


def _masks(mask: Any, clouds: list[np.ndarray]) -> list[np.ndarray | None]:
    if mask is None:
        return [None] * len(clouds)
    mask = as_array(mask)
    masks = mask[None] if mask.ndim == 1 else mask
    if masks.ndim != 2 or len(masks) != len(clouds) or masks.dtype.kind not in "bfiu":
        raise ValueError(
            f"mask is {mask.dtype} {list(mask.shape)}: give one number for each point, in a row for each of the "
            f"{len(clouds)} clouds."
        )
    return list(masks)


def _caption(points: np.ndarray, mask: np.ndarray | None) -> tuple[str, str]:
    """What the cloud has, and what its colours mean."""
    count = f"{len(points):,} points"
    if mask is None:
        return count, "colour: height, dark is low"
    if mask.dtype == bool:
        return f"{count}, {int(mask.sum()):,} in the mask", "dark orange: in the mask; pale blue: the others"
    return f"{count}, mean of the mask {mask.mean():.2f}", "colour: the mask, from pale blue (0) to dark orange (1)"
