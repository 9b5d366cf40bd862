"""The answer of a study: effects with intervals, learning curves, accuracy against time, one metric against another."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hiercl.metrics.definitions import decimals
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    first_axes,
    legend_below,
    new_figure,
    panel_title,
    panels,
    readable,
    simple_axis,
)
from hiercl.plot._colours import GREY, MARKERS, OKABE_ITO, TEXT, categorical
from hiercl.runtime.arguments import checked
from hiercl.runtime.errors import unknown

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
        _check_columns(what, frame, needed)
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


def _check_columns(what: str, table: pd.DataFrame, needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"the {what} lacks {', '.join(missing)}: give what study.{what}() gave.")


@checked
def front(table: pd.DataFrame, x: str, y: str, families: Mapping[str, Sequence[str]], title: str = "") -> Figure:
    """Draws one metric against another, with a line through the variants of each family.

    A setting that trades one metric for another moves along its family's line. A family whose line lies above and to
    the right of another one is better at every trade. Crosses are 95 % intervals of the means over the seeds (normal
    approximation).

    Args:
        table: result of :meth:`hiercl.Study.table`, or a CSV file of a study that pandas has read.
        x: column of the horizontal axis, as ``"knn class"``.
        y: column of the vertical axis, as ``"ami superclass"``.
        families: name of each family, and its variants in the order of the line.
        title: title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: no such column, or a variant without a finished run.

    Example:
        >>> arms = {"HCSC": ["none", "both"]}
        >>> table = pd.DataFrame({"variant": ["none", "both"], "linear": [31.0, 32.0], "ami": [11.0, 13.0]})
        >>> figure = hiercl.plot.front(table, "linear", "ami", arms)
    """
    _check_columns("table", table, ("variant",))
    numbers = [name for name in table.select_dtypes("number").columns if name != "seed"]
    if missing := [name for name in (x, y) if name not in numbers]:
        raise unknown("column", missing[0], numbers)
    done = table.dropna(subset=[x, y])
    known = list(dict.fromkeys(done["variant"]))
    if missing := [name for names in families.values() for name in names if name not in known]:
        raise unknown("variant with a finished run", missing[0], known)
    figure, axes = panels(1, 1, height=4.6, title=title)
    axis = axes[0, 0]
    for place, (family, names) in enumerate(families.items()):
        colour, groups = categorical(len(families))[place], [done[done["variant"] == name] for name in names]
        means = np.array([[own[x].mean(), own[y].mean()] for own in groups])
        spread = np.array([[1.96 * own[name].sem() for name in (x, y)] for own in groups])  # NaN for a single seed
        style = {"color": colour, "marker": MARKERS[place % len(MARKERS)], "markersize": 6, "label": readable(family)}
        axis.errorbar(*means.T, xerr=spread[:, 0], yerr=spread[:, 1], elinewidth=0.8, linewidth=1.4, **style)
        right, up = place % 2 == 0, place % 4 in (0, 3)  # each family has a corner of its points for its words
        corner = {"ha": "left" if right else "right", "va": "bottom" if up else "top"}
        offset = {"xytext": (5 if right else -5, 4 if up else -4), "textcoords": "offset points"}
        for point, name in zip(means, names, strict=True):
            words = axis.annotate(readable(_without(name, family)), point, size=SMALL, color=colour, **offset, **corner)
            words.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])
    axis.set_xlabel(readable(x), size=SMALL)
    axis.set_ylabel(readable(y), size=SMALL)
    simple_axis(axis, grid="both")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=SMALL, frameon=False)
    return figure


@checked
def brackets(
    table: pd.DataFrame,
    variants: Mapping[str, str],
    columns: Sequence[str],
    own: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Figure:
    """Draws what an idea is worth between a control and an oracle: every seed, the mean, and a run of your own.

    A grey dot is a seed. The line is the mean of the seeds, and the bar its 95 % interval (normal approximation). A
    star is your own run. A dashed line continues the first mean, so that one sees what the others add.

    Args:
        table: as in :func:`front`, such as ``hiercl.study.recorded("brackets-selection")``.
        variants: what each row is called, and its variant in the table; from the control to the oracle.
        columns: columns of the table, one panel each, as ``"ami class"``.
        own: for a row, the numbers of your own run by column. Rows and columns may be missing.
        title: title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: no variant or no column, one that the table does not have, or a row of ``own`` that there is not.

    Example:
        >>> table = hiercl.study.recorded("brackets-selection")
        >>> rows = {"at random": "20 classes, at random", "by prototypes": "20 classes, by prototypes"}
        >>> figure = hiercl.plot.brackets(table, rows, ["ami class"], own={"by prototypes": {"ami class": 64.0}})
    """
    own = {} if own is None else own
    if not variants or not columns:
        raise ValueError("brackets needs at least one variant and one column.")
    numbers, known = list(table.select_dtypes("number").columns), list(dict.fromkeys(table["variant"]))
    for wanted, there, what in ((columns, numbers, "column"), (variants.values(), known, "variant")):
        if missing := [name for name in wanted if name not in there]:
            raise unknown(what, missing[0], there)
    if missing := [row for row in own if row not in variants]:
        raise unknown("row", missing[0], list(variants))
    figure, axes = panels(1, len(columns), height=0.45 * len(variants) + 1.5, title=title)
    for axis, column in zip(axes[0], columns, strict=True):
        for place, (row, variant) in enumerate(variants.items()):
            seeds = table.loc[table["variant"] == variant, column].dropna()
            mean, half = seeds.mean(), 1.96 * seeds.sem()
            axis.scatter(seeds, [place] * len(seeds), s=16, color=GREY, alpha=0.6, linewidths=0, zorder=2)
            axis.plot([mean, mean], [place - 0.3, place + 0.3], color=TEXT, linewidth=2, zorder=3)
            if np.isfinite(half):
                axis.barh(place, 2 * half, left=mean - half, height=0.42, color=OKABE_ITO[0], alpha=0.25, zorder=1)
            if column in own.get(row, {}):
                star = {"marker": "*", "s": 130, "color": OKABE_ITO[4], "edgecolor": "white", "linewidths": 0.6}
                axis.scatter(own[row][column], place, zorder=4, **star)
            if place == 0:
                axis.axvline(mean, color=GREY, linewidth=1, linestyle="--", zorder=0)
        axis.set_yticks(
            range(len(variants)), list(variants) if axis is axes[0, 0] else [""] * len(variants), size=NORMAL
        )
        axis.set_ylim(len(variants) - 0.5, -0.5)
        simple_axis(axis, grid="x")
        panel_title(axis, readable(column))
    dot = {"marker": "o", "linestyle": "none", "color": GREY, "markersize": 4, "label": "a seed"}
    handles = [Line2D([], [], **dot), Line2D([], [], color=TEXT, linewidth=2, label="mean of the seeds")]
    if own:
        star = {"marker": "*", "linestyle": "none", "color": OKABE_ITO[4], "markersize": 11, "label": "your run"}
        handles.append(Line2D([], [], **star))
    legend_below(figure, handles, columns=3)
    return figure


def _without(name: str, family: str) -> str:
    """Returns what the name of a variant says beside its family: the words after the last comma, or all of it."""
    return name.rpartition(", ")[2] if name != family else ""


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
