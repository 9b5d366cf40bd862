"""The picture of feature masks: which dimensions serve which level of the hierarchy, and whether they do."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation.feature_masks import NEIGHBOURS, FeatureMasks, feature_masks, mask_separation
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    colour_bar,
    figure_of,
    items_name,
    legend_below,
    new_figure,
    panel_title,
    percent,
    readable,
    simple_axis,
    text_width,
)
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT
from hiercl.plot._neighbours import name_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float

DRAWS = 5  # draws of random features
MEASURES = {
    "variance_between": "Variance between\nthe classes (%)",
    "knn": f"kNN accuracy (%),\nleave one out, k = {NEIGHBOURS}",
}
BARS = ("#9A9A9A", OKABE_ITO[0], OKABE_ITO[1])  # colours of the bars


@checked
def masks(
    run: Any,
    dataset: HierarchicalDataset,
    max_items: Annotated[int, AtLeast(1)] = 1000,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> Figure:
    """Draws masks, features × levels, and whether the features serve the levels that the masks give them.

    The upper matrix shows the masks (their mean over the items, if masks depend on the item). The dimensions are sorted
    by the level that they serve most: the one with the highest mask, each mask divided by its mean. The lower matrix
    shows, in the same order, the share of each dimension's variance that lies between the classes of a level within
    their parent (:func:`~hiercl.feature_masks.variance_shares`). Masks are right if the block of a level's own
    dimensions, in bold, is the highest of its row.

    The bars at the right show how well the classes of a level are told apart by all features, through the level's own
    mask, and through the sum of the other masks (:func:`~hiercl.feature_masks.mask_separation`). The variance between
    fine classes includes the variance between their parents. The mark on the bar of the own mask is a control: the same
    mask over random features, mean and range of five draws. The features were trained with these masks. To see whether
    the masks beat a random split from the start, train a run with ``masks="random"``.

    Args:
        run: a run of G-HMLC or A-HMLC. Without one: features ``[items, d]``, or None for vectors themselves, whose
            masks are found; or what :func:`hiercl.feature_masks.found_masks` returns under other settings.
        dataset: a data set with the levels that the run was trained with.
        max_items: largest number of items. If there are more, random ones are taken.
        seed: seed of the choice of items, and of the random features.

    Returns:
        The figure.

    Raises:
        ValueError: the run has no masks, its masks are not of the levels of this data set, or there are too few items.

    Example:
        >>> figure = hiercl.plot.masks(masked_run, test)
    """
    return draw(feature_masks(run, dataset, max_items, seed), name_of(run, "the given features"), seed)


def draw(found: FeatureMasks, name: str, seed: int = 0) -> Figure:
    """Draws the picture of :func:`masks`."""
    names = [readable(level) for level in found.dataset.hierarchy.level_names]
    levels = range(len(names))
    what = f"{len(found.features):,} {items_name(found.dataset)} of {readable(found.dataset.name)}, not augmented"
    figure = new_figure(WIDTH, 2.0 + 0.9 * len(names), f"Feature masks of {name}: {what}", layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(2.1, 1, 1))
    top = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=top)
    deviation = found.masks.std(dim=0, correction=0).mean()
    spread = f", mean over the items (± {deviation:.2g} between items)" if len(found.masks) > 1 else ""
    served = [f"{text}\n({(found.level_of == level).sum()})" for level, text in enumerate(names)]
    mean = found.mean.numpy()
    image = _draw_matrix(top, found, mean, float(mean.max()), "Greys", served, f"Masks{spread}")
    colour_bar(figure, image, 7, ax=top, fraction=0.05, pad=0.02, aspect=10).ax.tick_params(length=2)
    _draw_shares(below, found, names)
    below.set_xlabel(f"{found.features.shape[1]} {found.place}, by the level that they serve most", size=SMALL)
    parts = {
        "all features": [mask_separation(found.features, found.dataset)] * len(names),
        "its own mask": [mask_separation(found.through(level), found.dataset) for level in levels],
        "the others' masks": [mask_separation(found.through_others(level), found.dataset) for level in levels],
    }
    shuffled = [
        [mask_separation(found.through_shuffled(level, seed + number), found.dataset) for level in levels]
        for number in range(DRAWS)
    ]
    for column, measure in enumerate(MEASURES):
        bars = {what: _diagonal(tables, measure) for what, tables in parts.items()}
        control = np.stack([_diagonal(tables, measure) for tables in shuffled])
        axis = figure.add_subplot(grid[:, 1 + column])
        draw_separation(axis, measure, names, bars, control, marked="its own mask", named=column == 0)
    legend(figure, list(parts), "its own mask over random features")
    return figure


def _diagonal(tables: list[pd.DataFrame], measure: str) -> Float[np.ndarray, " levels"]:
    """Returns level h of the h-th table."""
    return np.array([table[measure].iloc[level] for level, table in enumerate(tables)], dtype=float)


def _draw_shares(axis: Axes, found: FeatureMasks, names: list[str]) -> None:
    """Draws what every dimension separates, each row relative to its highest value, with the mean of each block."""
    highest = found.shares.max(axis=1, keepdims=True).clip(min=1e-12)
    title = "Variance between classes within their parent, share of all\n"
    title += "(numbers: mean of the block; darkest: highest of the row)"
    _draw_matrix(axis, found, found.shares / highest, 1.0, "Blues", names, title)
    width = figure_of(axis).get_size_inches()[0] * 0.4 / len(found.level_of)  # inches of a column, about
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
    for block in np.unique(found.level_of):
        columns = np.flatnonzero(found.level_of[found.order] == block)
        for level in range(len(names)):
            text = percent(found.shares[level, found.level_of == block].mean())
            if text_width(text, SMALL) < width * len(columns):
                weight, style = "bold" if block == level else "normal", {"size": SMALL, "color": TEXT, "bbox": box}
                axis.text(columns.mean(), level, text, weight=weight, ha="center", va="center", **style)


def _draw_matrix(
    axis: Axes,
    found: FeatureMasks,
    values: Float[np.ndarray, "levels d"],
    highest: float,
    colours: str,
    names: list[str],
    title: str,
) -> AxesImage:
    """Draws levels × dimensions, sorted, with a line between dimensions that serve different levels most."""
    image = axis.imshow(
        values[:, found.order], aspect="auto", cmap=colours, vmin=0, vmax=highest, interpolation="nearest"
    )
    for end in np.cumsum(np.bincount(found.level_of, minlength=len(values)))[:-1]:
        axis.axvline(end - 0.5, color=OKABE_ITO[4], linewidth=1.4)
    axis.set_yticks(range(len(names)), names, size=NORMAL)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_color("#BBBBBB")
    panel_title(axis, title)
    return image


def draw_separation(
    axis: Axes,
    measure: str,
    names: list[str],
    bars: Mapping[str, Float[np.ndarray, " levels"]],
    control: Float[np.ndarray, "draws levels"],
    marked: str,
    named: bool = True,
) -> None:
    """Draws bars for every level, and on one of them a mark: mean and range of a random control.

    Args:
        axis: axis to draw on.
        measure: one of ``MEASURES``.
        names: names of the levels.
        bars: values in [0, 1] by name, at most three.
        control: the same values for random features.
        marked: name of the bar that the control belongs to.
        named: whether the names of the levels stand at the left.
    """
    place, height = np.arange(len(names)), 0.8 / len(bars)
    for number, (name, values) in enumerate(bars.items()):
        y = place + (number - (len(bars) - 1) / 2) * height
        axis.barh(y, 100 * np.nan_to_num(values), height=0.9 * height, color=BARS[number])
        right = values
        if name == marked and np.isfinite(control).any():
            mean, low, high = 100 * control.mean(axis=0), 100 * control.min(axis=0), 100 * control.max(axis=0)
            axis.hlines(y, low, high, color=TEXT, linewidth=1)
            axis.vlines(mean, y - 0.45 * height, y + 0.45 * height, color=TEXT, linewidth=1.8)
            right = np.fmax(values, control.max(axis=0))
        for at, value, edge in zip(y, values, right, strict=True):
            if np.isfinite(value):
                beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
                axis.annotate(percent(value).removesuffix(" %"), (100 * edge, at), size=SMALL, color=GREY, **beside)
    highest = 100 * np.nanmax([0.0, *np.concatenate(list(bars.values())), *control.ravel()])
    end = next(end for end in (10, 20, 50, 100) if highest <= end or end == 100)
    axis.set_xlim(0, 1.16 * end)
    axis.set_xticks([0, end / 2, end])
    axis.set_yticks(place, names if named else [""] * len(names), size=NORMAL)
    axis.set_ylim(len(names) - 0.45, -0.55)
    panel_title(axis, MEASURES[measure])
    simple_axis(axis, grid="x")
    axis.spines["left"].set_visible(False)


def legend(figure: Figure, names: list[str], control: str) -> None:
    """Writes below a figure what its bars and their marks are."""
    handles: list[Patch | Line2D] = [Patch(color=colour, label=name) for colour, name in zip(BARS, names, strict=False)]
    mark = {"marker": "|", "markersize": 9, "markeredgewidth": 1.8, "linewidth": 1}
    handles.append(Line2D([], [], color=TEXT, label=f"{control} (mean and range of {DRAWS})", **mark))
    legend_below(figure, handles, len(handles), side="right", columnspacing=1.2)
