"""The picture of feature masks: which dimensions serve which level of the hierarchy, and whether they do."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation import NEIGHBOURS, FeatureMasks, feature_masks, mask_separation
from hiercl.plot._canvas import NORMAL, SMALL, WIDTH, headline, items_name, light, new_figure, readable, text_width
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT
from hiercl.runtime.types import Float
from hiercl.training import Run

DRAWS = 5  # of random features
MEASURES = {
    "variance_between": "Variance between\nthe classes (%)",
    "knn": f"kNN accuracy (%),\nleave one out, k = {NEIGHBOURS}",
}
ALL, CHOSEN, OTHERS = "#9A9A9A", OKABE_ITO[0], OKABE_ITO[1]  # colours of the bars


def masks(run: Run, dataset: HierarchicalDataset, max_items: int = 1000, seed: int = 0) -> Figure:
    """Features × levels: what the masks of a run give to every level, and whether these features serve it.

    At the top the masks (of A-HMLC, and of masks for every superclass, their mean over the items), dimensions sorted by
    the level that they serve most: where its mask is highest, each mask in units of its mean. Below, in the same order,
    how much of every dimension's variance lies between the classes of a level within their parent
    (:func:`~hiercl.feature_masks.variance_shares`). Where masks are right, the block of a level's own dimensions, in
    bold, is the highest of its row.

    At the right, how well each level's classes are told apart by all features, through its own mask, and through the
    sum of the other levels' masks (:func:`~hiercl.feature_masks.mask_separation`; the variance between fine classes has
    in it that between their parents). The mark on the bar of the own mask is the control: the same mask over random
    features, mean and range of five. The features have been trained with these masks: whether they beat a random split
    *from the start* is told by a run with ``masks="random"``.

    Args:
        run: of G-HMLC or A-HMLC.
        dataset: any with the levels that the run was trained with.
        max_items: at most so many random items are looked at.
        seed: of their choice, and of the random features.

    Raises:
        ValueError: a run without masks, one whose masks are not of the levels of this data set, or too few items.

    Example:
        >>> hiercl.plot.masks(run, test)
    """
    return draw(feature_masks(run, dataset, max_items, seed), run.name, seed)


def draw(found: FeatureMasks, name: str, seed: int = 0) -> Figure:
    """The picture of :func:`masks`."""
    names = [readable(level) for level in found.dataset.hierarchy.level_names]
    levels = len(names)
    figure = new_figure(WIDTH, 2.0 + 0.9 * levels, layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(2.1, 1, 1))
    top = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=top)
    count, varying = len(found.features), len(found.masks) > 1
    what = f"{count:,} {items_name(found.dataset)} of {readable(found.dataset.name)}, not augmented"
    headline(figure, f"Feature masks of {name}: {what}")
    deviation = found.masks.std(dim=0, correction=0).mean()
    spread = f", mean over the items (± {deviation:.2g} between items)" if varying else ""
    served = [f"{text}\n({(found.level_of == level).sum()})" for level, text in enumerate(names)]
    _draw_masks(top, found, served, f"Masks{spread}")
    _draw_shares(below, found, names)
    below.set_xlabel(f"{found.features.shape[1]} {found.place}, by the level that they serve most", size=SMALL)
    parts = {
        "all features": [mask_separation(found.features, found.dataset)] * levels,
        "its own mask": [mask_separation(found.through(level), found.dataset) for level in range(levels)],
        "the others' masks": [mask_separation(found.through_others(level), found.dataset) for level in range(levels)],
    }
    shuffled = [
        [mask_separation(found.through_shuffled(level, seed + number), found.dataset) for level in range(levels)]
        for number in range(DRAWS)
    ]
    axes = [figure.add_subplot(grid[:, 1 + column]) for column in range(2)]
    for axis, measure in zip(axes, MEASURES, strict=True):
        bars = {what: _diagonal(tables, measure) for what, tables in parts.items()}
        control = np.stack([_diagonal(tables, measure) for tables in shuffled])
        draw_separation(axis, measure, names, bars, control, marked="its own mask", named=axis is axes[0])
    legend(figure, list(parts), "its own mask over random features")
    return figure


def _diagonal(tables: list[pd.DataFrame], measure: str) -> Float[np.ndarray, " levels"]:
    """Of the h-th table the h-th level."""
    return np.array([table[measure].iloc[level] for level, table in enumerate(tables)], dtype=float)


def _draw_masks(axis: Axes, found: FeatureMasks, names: list[str], title: str) -> None:
    values = found.mean.numpy()
    image = _draw_matrix(axis, found, values, float(values.max()), "Greys", names, title)
    bar = axis.figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02, aspect=10)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)


def _draw_shares(axis: Axes, found: FeatureMasks, names: list[str]) -> None:
    """What every dimension separates; a row is as dark as its highest value allows, and blocks bear their means."""
    highest = found.shares.max(axis=1, keepdims=True).clip(min=1e-12)
    title = (
        "Variance between classes within their parent, share of all\n(numbers: mean of the block; darkest: highest of "
        "the row)"
    )
    _draw_matrix(axis, found, found.shares / highest, 1.0, "Blues", names, title)
    width = axis.figure.get_size_inches()[0] * 0.4 / len(found.level_of)  # inches of a column, about
    for block in np.unique(found.level_of):
        columns = np.flatnonzero(found.level_of[found.order] == block)
        for level in range(len(names)):
            text = percent(found.shares[level, found.level_of == block].mean())
            if text_width(text, SMALL) < width * len(columns):
                axis.text(
                    columns.mean(), level, text, size=SMALL, color=TEXT, ha="center", va="center",
                    weight="bold" if block == level else "normal",
                    bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip


def percent(share: float | int) -> str:
    """A share as one would write it."""
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _draw_matrix(
    axis: Axes,
    found: FeatureMasks,
    values: Float[np.ndarray, "levels d"],
    highest: float | int,
    colours: str,
    names: list[str],
    title: str,
) -> AxesImage:
    """Levels × dimensions, sorted; a line between those that serve different levels most."""
    image = axis.imshow(
        values[:, found.order], aspect="auto", cmap=colours, vmin=0, vmax=highest, interpolation="nearest"
    )
    for end in np.cumsum(np.bincount(found.level_of, minlength=len(values)))[:-1]:
        axis.axvline(end - 0.5, color=OKABE_ITO[4], linewidth=1.4)
    axis.set_yticks(range(len(names)), names, size=NORMAL)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_color("#BBBBBB")
    axis.set_title(title, size=NORMAL, color=TEXT, loc="left")
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
    """Bars of every level, and on one of them a mark: mean and range of a random control.

    Args:
        axis: where.
        measure: one of ``MEASURES``.
        names: of the levels.
        bars: values in [0, 1], by what they are of; at most three.
        control: the same of random features.
        marked: the bar that the control belongs to.
        named: whether the levels are written beside.
    """
    place, height = np.arange(len(names)), 0.8 / len(bars)
    for number, (name, values) in enumerate(bars.items()):
        y = place + (number - (len(bars) - 1) / 2) * height
        axis.barh(y, 100 * np.nan_to_num(values), height=0.9 * height, color=(ALL, CHOSEN, OTHERS)[number])
        right = values
        if name == marked and np.isfinite(control).any():
            mean, low, high = 100 * control.mean(axis=0), 100 * control.min(axis=0), 100 * control.max(axis=0)
            axis.hlines(y, low, high, color=TEXT, linewidth=1)
            axis.vlines(mean, y - 0.45 * height, y + 0.45 * height, color=TEXT, linewidth=1.8)
            right = np.fmax(values, control.max(axis=0))
        for at, value, edge in zip(y, values, right, strict=True):
            if np.isfinite(value):
                text = f"{100 * value:.0f}" if value >= 0.095 else f"{100 * value:.1f}"
                axis.annotate(
                    text, (100 * edge, at), (4, 0), textcoords="offset points", size=7, color=GREY, va="center"
                )
    highest = 100 * np.nanmax([0.0, *np.concatenate(list(bars.values())), *control.ravel()])
    end = next(end for end in (10, 20, 50, 100) if highest <= end or end == 100)
    axis.set_xlim(0, 1.16 * end)
    axis.set_xticks([0, end / 2, end])
    axis.set_yticks(place, names if named else [""] * len(names), size=NORMAL)
    axis.set_ylim(len(names) - 0.45, -0.55)
    axis.set_title(MEASURES[measure], size=NORMAL, color=TEXT, loc="left")
    light(axis, grid="x")
    axis.spines["left"].set_visible(False)


def legend(figure: Figure, names: list[str], control: str) -> None:
    """Below a figure, what its bars and their marks are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for colour, name in zip((ALL, CHOSEN, OTHERS), names, strict=False)]
    mark = {"marker": "|", "markersize": 9, "markeredgewidth": 1.8, "linewidth": 1}
    handles.append(Line2D([], [], color=TEXT, label=f"{control} (mean and range of {DRAWS})", **mark))
    figure.legend(
        handles=handles, loc="outside lower right", ncols=len(handles), fontsize=SMALL, frameon=False, columnspacing=1.2
    )
