"""The answer of a study: effects with intervals, learning curves, accuracy against time."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hiercl.metrics.definitions import decimals
from hiercl.plot._canvas import SMALL, TITLE, WIDTH, light, new_figure, readable
from hiercl.plot._colours import GREY, MARKERS, TEXT, categorical

NAME_WIDTH = 30  # letters of a variant's name in a line
PANELS = 3  # of effects in a row
FAR = 2.5  # times as far as all smaller effects reach: an effect beyond that would leave them no room


def study(
    summary: pd.DataFrame,
    table: pd.DataFrame,
    histories: pd.DataFrame,
    metric: str = "linear",
    baselines: Mapping[str, str] | None = None,
    title: str = "study",
) -> Figure:
    """Effects on a metric at every level, above; learning curves, and the metric against training time, below.

    Above, a panel for each level: the mean difference of every variant to its baseline over the seeds that both have,
    with its 95 % bootstrap interval; a full dot where there is a verdict, a hollow one where it is undecided or
    there are too few seeds. The grey dots are the single seeds. An effect far beyond the others is an arrow at
    the border, with its numbers. Below, at the right: mean and standard deviation over seeds, at the seconds of the
    fastest.

    Args:
        summary: of :meth:`hiercl.Study.summary`.
        table: of :meth:`hiercl.Study.table`.
        histories: of :meth:`hiercl.Study.histories`.
        metric: a name of :func:`hiercl.metrics.definitions`.
        baselines: of every variant that is compared, the name of what with.
        title: of the figure.

    Raises:
        ValueError: no run is done yet, or none has this metric.

    Example:
        >>> study.plot("knn")
    """
    rows = summary[summary["metric"] == metric]
    done = table[table["state"] == "done"]
    if rows.empty or done.empty:
        raise ValueError(f"there is nothing to show of {metric!r}: no run is done, or it is no metric of theirs.")
    levels = list(dict.fromkeys(rows["level"]))
    variants = [name for name in dict.fromkeys(table["variant"]) if name in set(done["variant"])]
    baselines = {name: base for name, base in (baselines or {}).items() if name in variants and base in variants}
    colours = dict(zip(variants, categorical(len(variants)), strict=True))
    names = {name: textwrap.fill(readable(name), NAME_WIDTH) for name in variants}
    compared = _compared(variants, baselines, names)
    columns = min(PANELS, len(levels))
    panel_rows = -(-len(levels) // columns)
    lines = sum(text.count("\n") + 1 for text in compared.values())
    upper = panel_rows * (0.9 + 0.2 * max(2, lines))
    lower = max(3.0, 0.16 * sum(text.count("\n") + 1 for text in names.values()) + 0.8)
    figure = new_figure(WIDTH, upper + lower + 0.5, layout="constrained")
    figure.suptitle(f"{readable(title)}: {metric}", size=TITLE, weight="bold", color=TEXT, x=0.01, ha="left")
    top, bottom = figure.subfigures(2, 1, height_ratios=[upper, lower])
    axes = top.subplots(panel_rows, columns, squeeze=False, sharey=True)
    for axis, level in zip(axes.flat, levels, strict=False):
        _effects(axis, rows[rows["level"] == level].set_index("variant"), done, (metric, level), baselines, compared)
    for axis in axes.flat[len(levels) :]:
        axis.axis("off")
    left, right = bottom.subplots(1, 2)
    _curves(left, histories, variants, colours)
    _against_time(right, done, _column(metric, levels[-1]), variants, colours, names)
    return figure


def _compared(variants: list[str], baselines: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """What stands beside the dots: the variant, and what it is compared with where that is not the same for all."""
    if len(set(baselines.values())) <= 1:
        return {name: names[name] for name in variants if name in baselines}
    return {
        name: f"{names[name]}\n" + textwrap.fill(f"less {readable(baselines[name])}", NAME_WIDTH)
        for name in variants
        if name in baselines
    }


def _effects(
    axis: Axes,
    rows: pd.DataFrame,
    done: pd.DataFrame,
    key: tuple[str, str],
    baselines: dict[str, str],
    compared: dict[str, str],
) -> None:
    column = _column(*key)
    values = {name: own.set_index("seed")[column] for name, own in done.groupby("variant")}
    single = {name: (values[name] - values[base]).dropna() for name, base in baselines.items()}
    far = _far_effects(rows.loc[list(compared)], single)
    axis.axvline(0, color=GREY, linewidth=1)
    order = list(compared)
    for place, name in enumerate(reversed(order)):
        row = rows.loc[name]
        face = TEXT if row["verdict"] in ("better", "worse", "more", "less") else "white"
        if name in far:
            _at_border(axis, row, place, face, decimals(key[0]))
            continue
        axis.plot(single[name], np.full(len(single[name]), place), "o", color="#BBBBBB", markersize=3, zorder=1)
        if pd.isna(row["difference"]):
            continue
        if not pd.isna(row["low"]):
            axis.plot([row["low"], row["high"]], [place, place], color=TEXT, linewidth=1.6, zorder=2)
        axis.plot(row["difference"], place, "o", color=TEXT, markerfacecolor=face, markersize=6, zorder=3)
    axis.set_yticks(range(len(order)), [compared[name] for name in reversed(order)], size=SMALL)
    axis.set_ylim(-0.6, max(len(order), 1) - 0.4)
    against = set(baselines.values())
    title = column
    if len(against) == 1:
        base = against.pop()
        mean = f"{values[base].mean():.{decimals(key[0])}f}"
        title += "\n" + textwrap.fill(f"{readable(base)}: {mean}", NAME_WIDTH + 6)
    axis.set_title(title, size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("difference", size=SMALL)
    light(axis, grid="x")


def _far_effects(rows: pd.DataFrame, single: dict[str, pd.Series]) -> set[str]:
    """The variants whose effects are so large that on one scale with them the others, at least half, could not be told
    apart."""
    smallest_first = rows["difference"].abs().sort_values().dropna()
    on_scale, scale = max(2, -(-len(smallest_first) // 2)), 0.0
    for place, (name, size) in enumerate(smallest_first.items()):
        if place >= on_scale and size > FAR * scale > 0:
            return set(smallest_first.index[place:])
        ends = rows.loc[name, ["low", "high"]].abs().max()
        scale = max(scale, size, single[name].abs().max(), 0.0 if pd.isna(ends) else ends)
    return set()


def _at_border(axis: Axes, row: pd.Series, place: int, face: str, digits: int) -> None:
    """An effect beyond the scale: where it lies, and its numbers."""
    lower = row["difference"] < 0
    beside = axis.get_yaxis_transform()  # x in shares of the panel
    axis.plot(
        0.02 if lower else 0.98,
        place,
        marker="<" if lower else ">",
        color=TEXT,
        markerfacecolor=face,
        markersize=6,
        transform=beside,
        zorder=3,
    )
    text = f"{row['difference']:+.{digits}f}"
    text += "" if pd.isna(row["low"]) else f" [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    axis.text(
        0.05 if lower else 0.95,
        place,
        text.replace("-", "−"),
        size=SMALL,
        color=TEXT,
        ha="left" if lower else "right",
        va="center",
        transform=beside,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _column(metric: str, level: str) -> str:
    return " ".join(filter(None, (metric, level)))


def _curves(axis: Axes, histories: pd.DataFrame, variants: list[str], colours: dict) -> None:
    """kNN accuracy of the finest level on training items where it was looked at, else the loss: mean over seeds, and
    their range."""
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
    title = f"while training: {readable(column)} of training items" if looked_at else "loss"
    axis.set_title(title, size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("epoch (mean and range over seeds)", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    light(axis)


def _against_time(
    axis: Axes, done: pd.DataFrame, column: str, variants: list[str], colours: dict, names: dict[str, str]
) -> None:
    for place, name in enumerate(variants):
        own = done[done["variant"] == name]
        # What else a machine does makes trainings longer, so the fastest seed is nearest to what one takes.
        seconds, y, marker = own["seconds"].min(), own[column], MARKERS[place % len(MARKERS)]
        spread = {"yerr": y.std()} if len(own) > 1 else {}
        axis.errorbar(seconds, y.mean(), fmt=marker, color=colours[name], label=names[name], markersize=5, **spread)
    axis.set_title(f"{readable(column)} against time", size=SMALL + 1, color=TEXT, loc="left")
    axis.set_xlabel("seconds of training, fastest seed", size=SMALL)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    light(axis)
