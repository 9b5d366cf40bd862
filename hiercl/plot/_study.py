"""The answer of a study: effects with intervals, learning curves, accuracy against time."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hiercl.metrics.definitions import decimals
from hiercl.plot._canvas import (
    SMALL,
    WIDTH,
    first_axes,
    new_figure,
    panel_title,
    readable,
    simple_axis,
)
from hiercl.plot._colours import GREY, MARKERS, TEXT, categorical
from hiercl.plot._recorded import check_columns
from hiercl.runtime.arguments import checked

NAME_WIDTH = 30  # letters of a variant's name in a line
PANELS = 3  # panels of effects in a row
MOST_LINES = 12  # as many learning curves can be told apart
FAR = 2.5  # an effect this many times larger than all smaller ones would leave them no room on a common scale


@checked
def study(
    summary: pd.DataFrame,
    table: pd.DataFrame,
    histories: pd.DataFrame,
    metric: str = "linear",
    baselines: Mapping[str, str] | None = None,
    title: str = "study",
) -> Figure:
    """Draws effects on a metric at every level, learning curves, and the metric against training time.

    The upper panels, one per level, show the mean difference of every variant to its baseline over the seeds that both
    have, with its 95 % bootstrap interval. The dot is full if there is a verdict, and hollow if the effect is undecided
    or there are too few seeds. Grey dots are single seeds. An effect far beyond the others is an arrow at the border,
    with its numbers. The lower right panel shows mean and standard deviation over the seeds, at the training time of
    the fastest seed in seconds. Learning curves and times are left out if there are more than 12 variants.

    Args:
        summary: result of :meth:`hiercl.Study.summary`.
        table: result of :meth:`hiercl.Study.table`.
        histories: result of :meth:`hiercl.Study.histories`.
        metric: name of a metric, see :func:`hiercl.metrics.definitions`.
        baselines: baseline of every variant that is compared, by name of the variant.
        title: name of the study.

    Returns:
        The figure.

    Raises:
        ValueError: no run is done yet, or no run has this metric.

    Example:
        >>> figure = study.plot("knn")
    """
    for what, frame, needed in (
        ("summary", summary, ("variant", "metric", "level", "mean")),
        ("table", table, ("variant", "state")),
        ("histories", histories, ("variant", "epoch")),
    ):
        check_columns(what, frame, needed)
    rows = summary[summary["metric"] == metric].dropna(subset=["mean"])  # a level can have none: the coarsest, siblings
    done = table[table["state"] == "done"]
    if rows.empty or done.empty:
        raise ValueError(f"there is nothing to show of {metric!r}: no run is done, or no run has this metric.")
    levels = list(dict.fromkeys(rows["level"]))
    variants = [name for name in dict.fromkeys(table["variant"]) if name in set(done["variant"])]
    given = baselines or {}
    baselines = {name: given[name] for name in variants if given.get(name) in variants}
    names = {name: textwrap.fill(readable(name), NAME_WIDTH) for name in variants}
    compared = {name: names[name] for name in baselines}
    if len(set(baselines.values())) > 1:
        for name, base in baselines.items():
            compared[name] += "\n" + textwrap.fill(f"less {readable(base)}", NAME_WIDTH)
    columns = min(PANELS, len(levels))
    panel_rows = -(-len(levels) // columns)
    upper = panel_rows * (0.9 + 0.2 * max(2, sum(text.count("\n") + 1 for text in compared.values())))
    few = len(variants) <= MOST_LINES
    lower = max(3.0, 0.16 * sum(text.count("\n") + 1 for text in names.values()) + 0.8) if few else 0.0
    figure = new_figure(WIDTH, upper + lower + 0.5, f"{readable(title)}: {metric}", layout="constrained")
    heights = [upper, lower] if few else [upper]
    top, *rest = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = first_axes(top.subplots(panel_rows, columns, squeeze=False, sharey=True), len(levels))
    for axis, level in zip(axes, levels, strict=True):
        _draw_effects(axis, rows[rows["level"] == level].set_index("variant"), done, metric, level, baselines, compared)
    for bottom in rest:
        left, right = bottom.subplots(1, 2)
        colours = dict(zip(variants, categorical(len(variants)), strict=True))
        _draw_curves(left, histories, colours)
        _draw_times(right, done, _column(metric, levels[-1]), colours, names)
    return figure


def _draw_effects(
    axis: Axes,
    rows: pd.DataFrame,
    done: pd.DataFrame,
    metric: str,
    level: str,
    baselines: dict[str, str],
    compared: dict[str, str],
) -> None:
    """Draws the effects at a level, one row per variant, with what it is compared with if baselines differ."""
    column, digits = _column(metric, level), decimals(metric)
    values = {name: own.set_index("seed")[column] for name, own in done.groupby("variant")}
    single = {name: (values[name] - values[base]).dropna() for name, base in baselines.items()}
    far = _far_effects(rows.loc[list(compared)], single)
    axis.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(reversed(compared)):
        row = rows.loc[name]
        face = TEXT if row["verdict"] in ("better", "worse", "more", "less") else "white"
        if name in far:
            _draw_at_border(axis, row, place, face, digits)
            continue
        axis.plot(single[name], np.full(len(single[name]), place), "o", color="#BBBBBB", markersize=3, zorder=1)
        if pd.isna(row["difference"]):
            continue
        if not pd.isna(row["low"]):
            axis.plot([row["low"], row["high"]], [place, place], color=TEXT, linewidth=1.6, zorder=2)
        axis.plot(row["difference"], place, "o", color=TEXT, markerfacecolor=face, markersize=6, zorder=3)
    axis.set_yticks(range(len(compared)), list(reversed(compared.values())), size=SMALL)
    axis.set_ylim(-0.6, max(len(compared), 1) - 0.4)
    title, against = column, set(baselines.values())
    if len(against) == 1:
        base = against.pop()
        title += "\n" + textwrap.fill(f"{readable(base)}: {values[base].mean():.{digits}f}", NAME_WIDTH + 6)
    panel_title(axis, title)
    axis.set_xlabel("difference", size=SMALL)
    simple_axis(axis, grid="x")


def _far_effects(rows: pd.DataFrame, single: dict[str, pd.Series]) -> set[str]:
    """Returns the variants with effects so large that the others, at least half, would look equal on their scale."""
    smallest_first = rows["difference"].abs().sort_values().dropna()
    on_scale, scale = max(2, -(-len(smallest_first) // 2)), 0.0
    for place, (name, size) in enumerate(smallest_first.items()):
        if place >= on_scale and size > FAR * scale > 0:
            return set(smallest_first.index[place:])
        ends = rows.loc[name, ["low", "high"]].abs().max()
        scale = max(scale, size, single[name].abs().max(), 0.0 if pd.isna(ends) else ends)
    return set()


def _draw_at_border(axis: Axes, row: pd.Series, place: int, face: str, digits: int) -> None:
    """Draws an effect beyond the scale: an arrow to its side, and its numbers."""
    x, marker, side, inwards = (0.02, "<", "left", 0.03) if row["difference"] < 0 else (0.98, ">", "right", -0.03)
    style = {"color": TEXT, "transform": axis.get_yaxis_transform()}  # x is a share of the panel
    axis.plot(x, place, marker=marker, markerfacecolor=face, markersize=6, zorder=3, **style)
    text = f"{row['difference']:+.{digits}f}"
    text += "" if pd.isna(row["low"]) else f" [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.text(x + inwards, place, text.replace("-", "−"), size=SMALL, ha=side, va="center", bbox=box, **style)


def _column(metric: str, level: str) -> str:
    return " ".join(filter(None, (metric, level)))


def _draw_curves(axis: Axes, histories: pd.DataFrame, colours: dict[str, np.ndarray]) -> None:
    """Draws the finest kNN accuracy on training items, or the loss if there is none: mean and range over the seeds."""
    monitored = [column for column in histories if column.startswith("knn ")]
    column = monitored[-1] if monitored else "loss"
    for name, colour in colours.items():
        own = histories[histories["variant"] == name] if column in histories else histories.iloc[:0]
        if own.empty:
            continue
        by_epoch = own.dropna(subset=[column]).groupby("epoch")[column]
        x = np.array(list(by_epoch.groups)) + 1
        axis.fill_between(x, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.2, linewidth=0)
        axis.plot(x, by_epoch.mean(), color=colour, marker="o", markersize=2.5)
    panel_title(axis, f"while training: {readable(column)} of training items" if monitored else "loss")
    axis.set_xlabel("epoch (mean and range over seeds)", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    simple_axis(axis)


def _draw_times(
    axis: Axes, done: pd.DataFrame, column: str, colours: dict[str, np.ndarray], names: dict[str, str]
) -> None:
    """Draws the metric against the training time, which is that of the fastest seed: other work slows seeds down."""
    for place, (name, colour) in enumerate(colours.items()):
        own = done[done["variant"] == name]
        spread = {"yerr": own[column].std()} if len(own) > 1 else {}
        point = {"fmt": MARKERS[place % len(MARKERS)], "color": colour, "markersize": 5, "label": names[name]}
        axis.errorbar(own["seconds"].min(), own[column].mean(), **point, **spread)
    panel_title(axis, f"{readable(column)} against time")
    axis.set_xlabel("seconds of training, fastest seed", size=SMALL)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=SMALL, frameon=False)
    simple_axis(axis)
