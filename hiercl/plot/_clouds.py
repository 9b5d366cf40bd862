"""Large drawings of point clouds: a figure of several viewpoints or clouds, and one to turn with the mouse."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    TITLE,
    check_item,
    items_name,
    readable,
    sheet,
    shortened,
    text_width,
    title_width,
)
from hiercl.plot._cloud_picture import FRONT, Angles, checked_points, directions, far_to_near, point_colours
from hiercl.plot._colours import GREY, TEXT
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_array
from hiercl.runtime.types import Float

VIEWPOINTS: tuple[Angles, ...] = (FRONT, (20, 35), (80, -55))
PANEL, GAP = 2.85, 0.15  # inches of one viewpoint of a figure, and between two
SIDE, ACROSS = 2.1, 4  # inches of one of several clouds side by side, and the number of clouds in a row
MOST = 20  # clouds in a figure
LARGE = 0.75  # discs of a large figure are smaller by this factor than those of a small picture, to be seen singly
SCREEN = 200  # pixels on the screen, in the figure to turn, of a disc with radius 1


@checked
def cloud(
    points: Any,
    item: SupportsIndex | Sequence[int] | np.ndarray | None = None,
    mask: Any = None,
    views: Sequence[Angles] = VIEWPOINTS,
    title: str | None = None,
) -> Figure:
    """Draws one or several point clouds, large: one row per cloud, one column per viewpoint.

    Several clouds from a single viewpoint stand side by side. Colour shows the height, dark to light, or the mask: dark
    orange for points in it, pale blue for the others.

    Args:
        points: a data set of points, a cloud ``[p, 3]``, or several clouds ``[k, p, 3]``.
        item: number or numbers of the clouds to draw. By default the first of a data set, or all k clouds.
        mask: booleans or numbers from 0 to 1, ``[p]``, or ``[k, p]`` for several clouds: which points belong to a part.
        views: elevation and azimuth of every viewpoint, in degrees.
        title: title of the figure. By default the classes of the item, coarse to fine.

    Returns:
        The figure.

    Raises:
        ValueError: the data set holds images, an item does not exist, points or masks have another form, there is
            no view, or there are more than 20 clouds.

    Example:
        >>> figure = hiercl.plot.cloud(points_train, item=3)
        >>> figure = hiercl.plot.cloud(points_train, item=3, mask=points_train.items[3][:, 2] > 0)
    """
    clouds, titles = _chosen(points, item)
    masks = _masks(mask, clouds)
    if not isinstance(views, list | tuple | np.ndarray) or len(views) == 0 or any(np.ndim(view) != 1 for view in views):
        raise ValueError("views are pairs of elevation and azimuth, at least one, such as views=[(20, -55)].")
    captions = [_caption(one, part) for one, part in zip(clouds, masks, strict=True)]
    if len(views) == 1 and len(clouds) > 1:
        return _side_by_side(clouds, masks, views[0], titles, captions, title)
    lines = ["; ".join(caption) for caption in captions]
    if title is not None:
        titles = [title if len(clouds) == 1 else f"{title}: {titles[0]}", *titles[1:]]
    row = PANEL + 0.75
    width = max(0.2 + len(views) * (PANEL + GAP), *map(title_width, titles))
    figure, axis = sheet(max(width, *(0.2 + text_width(line, SMALL) for line in lines)), len(clouds) * row + 0.1)
    for number, (one, name, part) in enumerate(zip(clouds, titles, masks, strict=True)):
        top = number * row + 0.1
        axis.text(0.1, top, name, size=NORMAL if number else TITLE, weight="bold", color=TEXT, va="top")
        axis.text(0.1, top + 0.22, lines[number], size=SMALL, color=GREY, va="top")
        for place, view in enumerate(views):
            left, upper = 0.1 + place * (PANEL + GAP), top + 0.45
            _draw(axis, one, part, view, left, upper, PANEL)
            below = {"size": SMALL, "color": GREY, "ha": "center", "va": "center"}
            axis.text(left + PANEL / 2, upper + PANEL + 0.12, _in_words(view), **below)
    return figure


def _in_words(view: Angles) -> str:
    return f"elevation {view[0]:g}°, azimuth {view[1]:g}°"


def _side_by_side(
    clouds: list[np.ndarray],
    masks: list[np.ndarray | None],
    view: Angles,
    names: list[str],
    captions: list[tuple[str, str]],
    title: str | None,
) -> Figure:
    """Draws several clouds from one viewpoint, each with its name and its number of points below."""
    across = min(len(clouds), ACROSS)
    heading = f"{len(clouds)} clouds" if title is None else title
    note = "; ".join(dict.fromkeys([_in_words(view), *(colours for _, colours in captions)]))
    width = max(0.2 + across * (SIDE + GAP), title_width(heading), 0.2 + text_width(note, SMALL))
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
    view: Angles,
    left: float,
    top: float,
    side: float,
) -> None:
    """Draws a cloud in a square of a sheet."""
    places, colours, share = far_to_near(points, mask, view)
    radius = LARGE * side * share
    y, x = (radius + places * (side - 2 * radius)).T
    size = (2 * 72 * radius) ** 2
    axis.scatter(left + x, top + y, s=size, c=colours, edgecolors=colours * 0.72, linewidths=0.4)  # pyright: ignore[reportArgumentType]


@checked
def cloud_3d(points: Any, item: SupportsIndex | None = None, mask: Any = None) -> Any:
    """Draws a point cloud to turn and to enlarge with the mouse. Hovering shows coordinates and the mask's value.

    Args:
        points: a data set of points, or one cloud ``[p, 3]``.
        item: number of the item of the data set. By default the first.
        mask: booleans or numbers from 0 to 1, ``[p]``: which points belong to a part.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        ImportError: plotly is not installed.
        ValueError: the data set holds images, the item does not exist, or points or mask have another form.

    Example:
        >>> figure = hiercl.plot.cloud_3d(points_train, item=3)
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError(
            "cloud_3d needs plotly: pip install plotly. hiercl.plot.cloud draws several viewpoints without it."
        ) from error
    clouds, titles = _chosen(points, item)
    if len(clouds) != 1:
        raise ValueError(f"{len(clouds)} clouds are given, and this figure shows one: choose with item=.")
    one, part = clouds[0], _masks(mask, clouds)[0]
    colours = [f"rgb({r},{g},{b})" for r, g, b in np.round(255 * point_colours(one, part)).astype(int).tolist()]
    hover = "x %{x:.3f}<br>y %{y:.3f}<br>z %{z:.3f}"
    hover += "" if part is None else "<br>mask %{customdata:.3g}"
    eye = 1.7 * directions(FRONT)[2]
    size = SCREEN * far_to_near(one, part, FRONT)[2]
    trace = go.Scatter3d(
        **dict(zip("xyz", one.T, strict=True)),
        mode="markers",
        customdata=None if part is None else part.astype(float),
        hovertemplate=hover + "<extra></extra>",
        marker={"size": size, "color": colours, "opacity": 1},
    )
    scene: dict[str, Any] = {f"{name}axis": {"visible": False} for name in "xyz"} | {"aspectmode": "data"}
    scene["camera"] = {"up": {"x": 0, "y": 0, "z": 1}, "eye": dict(zip("xyz", eye.tolist(), strict=True))}
    title = {"text": f"{titles[0]}<br><sub>{'; '.join(_caption(one, part))}</sub>"}
    margin = {"l": 0, "r": 0, "b": 0, "t": 60}
    return go.Figure(trace, layout={"title": title, "scene": scene, "margin": margin, "height": 500})


def _chosen(points: Any, item: SupportsIndex | Sequence[int] | np.ndarray | None) -> tuple[list[np.ndarray], list[str]]:
    """Returns the chosen clouds and a title for each."""
    dataset = points if isinstance(points, HierarchicalDataset) else None
    if dataset is not None:
        if dataset.modality != "points":
            noun = items_name(dataset)
            raise ValueError(f"{dataset.name!r} holds {noun}, and this figure shows point clouds: use plot.gallery.")
        several, item = dataset.items, 0 if item is None else item
    else:
        several = as_array(points)
        if several.ndim not in (2, 3) or several.dtype.kind not in "fiu":
            form = f"{several.dtype} {list(several.shape)}"
            raise ValueError(f"points are {form}: pass numbers, [points, 3] or [clouds, points, 3].")
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
    clouds = [checked_points(several[one]) for one in items]
    if dataset is None:
        return clouds, [f"cloud {one}" if len(several) > 1 else "" for one in items.tolist()]
    tree, labels = dataset.hierarchy, dataset.labels[items].tolist()
    paths = [" › ".join(map(readable, tree.path(leaf))) if leaf >= 0 else "no label" for leaf in labels]
    return clouds, [f"{path} (item {one})" for path, one in zip(paths, items.tolist(), strict=True)]


def _masks(mask: Any, clouds: list[np.ndarray]) -> list[np.ndarray | None]:
    """Returns the mask of every cloud. What :func:`point_colours` checks is not checked here."""
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
    """Says how many points a cloud has, and what its colours mean."""
    count = f"{len(points):,} points"
    if mask is None:
        return count, "colour: height, dark is low"
    if mask.dtype == bool:
        return f"{count}, {int(mask.sum()):,} in the mask", "dark orange: in the mask; pale blue: the others"
    return f"{count}, mean of the mask {mask.mean():.2f}", "colour: the mask, from pale blue (0) to dark orange (1)"
