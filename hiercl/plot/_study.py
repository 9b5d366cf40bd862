"""The answer of a study: effects with intervals, learning curves, accuracy against time."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hiercl.plot._canvas import SMALL, TITLE, WIDTH, light, new_figure
from hiercl.plot._colours import GREY, MARKERS, TEXT, categorical

NAME_WIDTH = 30  # letters of a variant's name in a line


def study(
    summary: pd.DataFrame,
    table: pd.DataFrame,
    histories: pd.DataFrame,
    metric: str = "linear",
    baseline: str = "",
    title: str = "study",
) -> Figure:
    """Effects on a metric at every level, above; learning curves, and the metric against training time, below.

    Above, a panel for each level: the mean difference of every variant to the baseline over the seeds that both have,
    with its 95 % bootstrap interval; a full dot where the interval leaves out 0, a hollow one where it does not or
    where there are too few seeds for an interval. The grey dots are the single seeds.

    Args:
        summary: of :meth:`hiercl.Study.summary`.
        table: of :meth:`hiercl.Study.table`.
        histories: of :meth:`hiercl.Study.histories`.
        metric: a name of :func:`hiercl.metrics.definitions`.
        baseline: name of the variant that the others are compared with.
        title: of the figure.

    Raises:
        ValueError: no run is done yet, or none has this metric.

    Example:
        >>> study.plot("knn")
    """
    numbers = list(dict.fromkeys(n for n in summary.get("number", []) if n == metric or n.rpartition(" ")[0] == metric))
    done = table[table["state"] == "done"]
    if not numbers or done.empty:
        raise ValueError(f"there is nothing to show of {metric!r}: no run is done, or it is no metric of theirs.")
    variants = [name for name in dict.fromkeys(table["variant"]) if name in set(done["variant"])]
    colours = dict(zip(variants, categorical(len(variants)), strict=True))
    names = {name: textwrap.fill(name, NAME_WIDTH) for name in variants}
    lines = sum(text.count("\n") + 1 for text in names.values())
    upper, lower = 0.9 + 0.24 * max(2, lines), 3.0
    figure = new_figure(WIDTH, upper + lower + 0.5, layout="constrained")
    figure.suptitle(f"{title}: {metric}", size=TITLE, weight="bold", color=TEXT, x=0.01, ha="left")
    top, bottom = figure.subfigures(2, 1, height_ratios=[upper, lower])
    for axis, number in zip(top.subplots(1, len(numbers), squeeze=False, sharey=True)[0], numbers, strict=True):
        _effects(axis, summary, done, number, baseline, names)
    left, right = bottom.subplots(1, 2)
    _curves(left, histories, variants, colours)
    _against_time(right, done, numbers[-1], variants, colours, names)
    return figure


def _effects(
    axis: Axes, summary: pd.DataFrame, done: pd.DataFrame, number: str, baseline: str, names: dict[str, str]
) -> None:
    rows = summary[summary["number"] == number].set_index("variant")
    order = [name for name in names if name != baseline]
    values = {name: done[done["variant"] == name].set_index("seed")[number] for name in names}
    axis.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(reversed(order)):
        if baseline in values:
            single = (values[name] - values[baseline]).dropna()
            axis.plot(single, np.full(len(single), place), "o", color="#BBBBBB", markersize=3, zorder=1)
        row = rows.loc[name]
        if pd.isna(row.get("difference", np.nan)):
            continue
        known = not pd.isna(row["low"])
        if known:
            axis.plot([row["low"], row["high"]], [place, place], color=TEXT, linewidth=1.6, zorder=2)
        sure = known and (row["low"] > 0 or row["high"] < 0)
        face = TEXT if sure else "white"
        axis.plot(row["difference"], place, "o", color=TEXT, markerfacecolor=face, markersize=6, zorder=3)
    axis.set_yticks(range(len(order)), [names[name] for name in reversed(order)], size=SMALL)
    axis.set_ylim(-0.6, max(len(order), 1) - 0.4)
    mean = values[baseline].mean() if baseline in values else np.nan
    axis.set_title(f"{number}\n{baseline}: {mean:.2f}", size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("difference", size=SMALL)
    light(axis, grid="x")


def _curves(axis: Axes, histories: pd.DataFrame, variants: list[str], colours: dict) -> None:
    """kNN accuracy of the finest level where it was looked at, else the loss: mean over seeds, and their range."""
    looked_at = [column for column in histories if column.startswith("knn ")]
    column = looked_at[-1] if looked_at else "loss"
    for name in variants:
        own = histories[histories["variant"] == name] if column in histories else histories.iloc[:0]
        if own.empty:
            continue
        by_epoch = own.dropna(subset=[column]).groupby("epoch")[column]
        x, mean = np.array(list(by_epoch.groups)) + 1, by_epoch.mean().to_numpy()
        axis.fill_between(x, by_epoch.min(), by_epoch.max(), color=colours[name], alpha=0.2, linewidth=0)
        axis.plot(x, mean, color=colours[name], marker="o", markersize=2.5)
    axis.set_title(f"{column}, mean and range over seeds", size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("epoch", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    light(axis)


def _against_time(
    axis: Axes, done: pd.DataFrame, number: str, variants: list[str], colours: dict, names: dict[str, str]
) -> None:
    for place, name in enumerate(variants):
        own = done[done["variant"] == name]
        x, y = own["cpu_seconds"], own[number]
        spread = {"xerr": x.std(), "yerr": y.std()} if len(own) > 1 else {}
        marker = MARKERS[place % len(MARKERS)]
        axis.errorbar(x.mean(), y.mean(), fmt=marker, color=colours[name], label=names[name], markersize=5, **spread)
    axis.set_title(f"{number} against CPU seconds of training", size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("CPU seconds", size=SMALL)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    light(axis)
