"""The numbers of finished runs: one metric against another, an idea between its control and its oracle, and an idea in
several regimes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiercl.metrics.definitions import definitions
from hiercl.metrics.intervals import t_interval
from hiercl.plot._canvas import NORMAL, SMALL, legend_below, panel_title, panels, readable, simple_axis
from hiercl.plot._colours import GREY, MARKERS, OKABE_ITO, TEXT, categorical
from hiercl.runtime.arguments import checked
from hiercl.runtime.errors import unknown

WRITTEN = {"knn": "kNN", "ami": "AMI", "nmi": "NMI", "ari": "ARI", "linear": "linear probe"}


@checked
def front(table: pd.DataFrame, x: str, y: str, families: Mapping[str, Sequence[str]], title: str = "") -> Figure:
    """Draws one metric against another, with a line through the variants of each family.

    A setting that trades one metric for another moves along its family's line. A family whose line lies above and to
    the right of another one is better at every trade. Crosses are 95 % intervals of the means over the seeds (Student).

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
    check_columns("table", table, ("variant",))
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
        spread = np.array([[_half(own[name]) for name in (x, y)] for own in groups])  # NaN for a single seed
        style = {"color": colour, "marker": MARKERS[place % len(MARKERS)], "markersize": 6, "label": readable(family)}
        axis.errorbar(*means.T, xerr=spread[:, 0], yerr=spread[:, 1], elinewidth=0.8, linewidth=1.4, **style)
        right, up = place % 2 == 0, place % 4 in (0, 3)  # each family has a corner of its points for its words
        corner = {"ha": "left" if right else "right", "va": "bottom" if up else "top"}
        offset = {"xytext": (5 if right else -5, 4 if up else -4), "textcoords": "offset points"}
        for point, name in zip(means, names, strict=True):
            words = axis.annotate(readable(_without(name, family)), point, size=SMALL, color=colour, **offset, **corner)
            words.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])
    axis.set_xlabel(column_title(x), size=NORMAL)
    axis.set_ylabel(column_title(y), size=NORMAL)
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

    A grey dot is a seed. The line is the mean of the seeds, and the bar its 95 % interval (Student). A
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
    _check_names(table, columns, list(variants.values()))
    if missing := [row for row in own if row not in variants]:
        raise unknown("row", missing[0], list(variants))
    figure, axes = panels(1, len(columns), height=0.45 * len(variants) + 1.5, title=title)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.use_sticky_edges = False  # else a bar may end at the border
        for place, (row, variant) in enumerate(variants.items()):
            seeds = table.loc[table["variant"] == variant, column].dropna()
            mean, half = seeds.mean(), _half(seeds)
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
        panel_title(axis, column_title(column))
    dot = {"marker": "o", "linestyle": "none", "color": GREY, "markersize": 4, "label": "a seed"}
    handles = [Line2D([], [], **dot), Line2D([], [], color=TEXT, linewidth=2, label="mean of the seeds")]
    if own:
        star = {"marker": "*", "linestyle": "none", "color": OKABE_ITO[4], "markersize": 11, "label": "your run"}
        handles.append(Line2D([], [], **star))
    legend_below(figure, handles, columns=3)
    return figure


@checked
def regimes(
    table: pd.DataFrame,
    variants: Mapping[str, Mapping[str, str]],
    columns: Sequence[str],
    title: str = "",
    xlabel: str = "",
) -> Figure:
    """Draws what the arms of an idea gain over its first arm, in one regime after the other.

    A point is the mean over the seeds of the difference to the first arm in the same seed, and the bar its 95 %
    interval (Student). The line of zero is the first arm.

    Args:
        table: result of :meth:`hiercl.Study.table`, or ``hiercl.study.recorded("regimes")``.
        variants: for each regime the arms and their variants in the table, such as ``{"8 classes": {"nothing": ...}}``.
            All regimes have the same arms.
        columns: columns of the table, one panel each, as ``"ami class"``.
        title: title of the figure.
        xlabel: what the regimes differ in.

    Returns:
        The figure.

    Raises:
        ValueError: no regime, no column, fewer than two arms, other arms than in the first regime, or a variant or a
            column that the table does not have.

    Example:
        >>> table = hiercl.study.recorded("brackets-selection")
        >>> names = {"nothing": "nothing removed", "by prototypes": "by prototypes"}
        >>> sizes = {n: {arm: f"{n} classes, {name}" for arm, name in names.items()} for n in ("20", "100")}
        >>> figure = hiercl.plot.regimes(table, sizes, ["ami class"])
    """
    if not variants or not columns:
        raise ValueError("regimes needs at least one regime and one column.")
    arms = list(next(iter(variants.values())))
    if len(arms) < 2:
        raise ValueError(f"a regime needs at least two arms, and it has {arms}: the first is what the others add to.")
    for regime, own in variants.items():
        if list(own) != arms:
            raise ValueError(f"the regime {regime!r} has the arms {list(own)}, and the first one has {arms}.")
    wanted = [name for own in variants.values() for name in own.values()]
    _check_names(table, columns, wanted)
    figure, axes = panels(1, len(columns), height=3.4, title=title)
    shift = 0.15 * (np.arange(len(arms) - 1) - (len(arms) - 2) / 2)  # arms stand side by side, around their regime
    colours = [GREY, *categorical(len(arms))]  # the first of the others is the control
    for axis, column in zip(axes[0], columns, strict=True):
        values = {name: own.set_index("seed")[column].dropna() for name, own in table.groupby("variant")}
        for place, (arm, aside) in enumerate(zip(arms[1:], shift, strict=True)):
            gains = [(values[own[arm]] - values[own[arms[0]]]).dropna() for own in variants.values()]
            means, halves = [gain.mean() for gain in gains], [_half(gain) for gain in gains]
            style = {"color": colours[place], "marker": MARKERS[place % len(MARKERS)], "markersize": 6, "label": arm}
            axis.errorbar(np.arange(len(gains)) + aside, means, halves, linewidth=1.4, elinewidth=1, **style)
        axis.axhline(0, color=TEXT, linewidth=1, linestyle="--", zorder=0)
        axis.set_xticks(range(len(variants)), list(variants), size=NORMAL)
        axis.set_xlim(-0.5, len(variants) - 0.5)
        axis.set_xlabel(xlabel, size=NORMAL)
        simple_axis(axis)
        panel_title(axis, f"{column_title(column)}: gain over “{arms[0]}”")
    legend_below(figure, axes[0, 0].get_legend_handles_labels()[0], columns=len(arms) - 1)
    return figure


def _check_names(table: pd.DataFrame, columns: Sequence[str], variants: Sequence[str]) -> None:
    check_columns("table", table, ("variant", "seed"))
    numbers, known = list(table.select_dtypes("number").columns), list(dict.fromkeys(table["variant"]))
    for wanted, there, what in ((columns, numbers, "column"), (variants, known, "variant")):
        if missing := [name for name in wanted if name not in there]:
            raise unknown(what, missing[0], there)


def column_title(column: str) -> str:
    """Returns what a figure calls a column of a study: the metric, then the level, such as "kNN, class"."""
    metric, _, level = column.partition(" ")
    if metric not in definitions().index:
        return readable(column)
    return ", ".join(filter(None, (WRITTEN.get(metric, readable(metric)), readable(level))))


def _half(values: pd.Series) -> float:
    """Half of Student's 95 % interval of the mean; NaN for a single value, or for values without spread."""
    low, high = t_interval(values.to_numpy(float))
    return (high - low) / 2


def _without(name: str, family: str) -> str:
    """Returns what the name of a variant says beside its family: the words after the last comma, or all of it."""
    return name.rpartition(", ")[2] if name != family else ""


def check_columns(what: str, table: pd.DataFrame, needed: Sequence[str]) -> None:
    """Raises an error where a table lacks columns that it has if a study made it."""
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"the {what} lacks {', '.join(missing)}: give what study.{what}() gave.")
