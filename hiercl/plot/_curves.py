"""Learning curves of single runs, while they train and afterwards, and means over the seeds of several variants."""

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    WIDTH,
    first_axes,
    legend_below,
    panel_title,
    panels,
    readable,
    simple_axis,
    text_width,
    user_axis,
)
from hiercl.plot._colours import GREY, MARKERS, categorical, sequence
from hiercl.runtime.arguments import checked
from hiercl.runtime.errors import unknown
from hiercl.training import summary
from hiercl.training.history import FLOOR, IF_EQUAL

MARKED = 8  # markers on a line, about
NAME_WIDTH = 36  # letters of a name in a line
REACH = 1.5  # a reference is drawn as a line if it is not farther from the curves than so many times their range
REFERENCES = {IF_EQUAL: ("--", "- - all embeddings equal"), FLOOR: (":", "··· floor")}  # line and name


# ---- several variants and seeds ----


@checked
def curves(
    histories: pd.DataFrame | Mapping[str, Any],
    columns: str | Sequence[str] | None = None,
    by: str = "variant",
    band: Literal["range", "deviation"] = "range",
    ax: Axes | None = None,
) -> Figure:
    """Draws learning curves: one panel per column, one line per variant, a band for the spread over its seeds.

    Beside the loss stand its references, as in :func:`history`.

    A line is the mean over the seeds. The title says what the band is. Where some seeds of a variant have no value at
    an epoch (they are shorter, or still running), the line is dotted and shows the mean of the others. A variant with
    a single seed has no band.

    Args:
        histories: table with one row per epoch and the columns ``epoch``, ``by``, and ``variant`` and ``seed`` if they
            are needed to tell runs apart (:meth:`hiercl.Study.histories`). Or the runs themselves by name,
            ``{"HCSC": [run, run, run], "MoCo v2": run}``.
        columns: columns to draw. By default the loss and the kNN accuracies.
        by: column that tells the lines apart. For runs by name it is their name.
        band: "range" (smallest to largest value) or "deviation" (mean ± one standard deviation, with n − 1).
        ax: axis of your own figure to draw a single column on.

    Returns:
        The figure; with ``ax`` your own one.

    Raises:
        ValueError: there is no epoch, a column does not exist or holds no number, the band is unknown, a run has an
            epoch twice, or there are several columns for one axis.

    Example:
        >>> figure = hiercl.plot.curves(study.histories(), columns=["loss"])
        >>> figure = hiercl.plot.curves({"HCSC": run, "G-HMLC": masked_run}, band="deviation")
    """
    if band not in ("range", "deviation"):
        raise unknown("band", band, ("range", "deviation"))
    named = isinstance(histories, Mapping)
    table = _of_runs(histories, by) if named else histories
    if not isinstance(table, pd.DataFrame) or table.empty or "epoch" not in table:
        raise ValueError("there is no epoch to show: give study.histories(), or runs of an epoch or more by name.")
    if by not in table:
        raise ValueError(f"there is no column {by!r} to tell lines apart: there are {', '.join(map(str, table))}.")
    shown = _columns(table, columns)
    runs = {name: _by_epoch(rows, shown, name) for name, rows in table.groupby(by, sort=False)}
    names = [textwrap.fill(readable(str(name)), NAME_WIDTH) for name in runs]
    handles = [
        Line2D([], [], color=colour, marker=MARKERS[place % len(MARKERS)], markersize=5, label=name)
        for place, (colour, name) in enumerate(zip(categorical(len(runs)), names, strict=True))
    ]
    title = _title(runs, band, "runs" if named or by != "variant" else "seeds")
    if ax is None:
        across = 3 if len(shown) in (3, 5, 6, 9) else min(len(shown), 2 if len(shown) < 5 else 4)
        down = -(-len(shown) // across)
        width = WIDTH if across > 1 else 6.5
        longest = max(text_width(line, SMALL) for name in names for line in name.split("\n"))
        beside = int(np.clip(width // (longest + 0.7), 1, 4))
        legend = 0.17 * max(1 + name.count("\n") for name in names) * -(-len(names) // beside) + 0.2
        figure, axes = panels(down, across, (3.4 if across == 1 else 2.6) * down + 0.6 + legend, width, title)
        legend_below(figure, handles, beside)
    else:
        figure, axes = user_axis(ax, len(shown), f"choose a column, such as columns={shown[0]!r}")
    for axis, column in zip(first_axes(axes, len(shown)), shown, strict=True):
        for place, (handle, values) in enumerate(zip(handles, runs.values(), strict=True)):
            _draw_mean(axis, values[column], band, handle, place)
        _finish(axis, _panel_name(column), last=int(table["epoch"].max()) + 1)
        if column == "loss":
            of_runs = [rows for _, rows in table.groupby(by, sort=False)]
            means = [rows.groupby("epoch", as_index=False).mean(numeric_only=True) for rows in of_runs]
            _draw_references(axis, means, [handle.get_color() for handle in handles])
    if ax is not None:
        ax.set_title("\n".join([*textwrap.wrap(title, 2 * NAME_WIDTH), ax.get_title("left")]), size=NORMAL, loc="left")
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=SMALL, frameon=False)
    return figure


def _of_runs(named: Mapping[str, Any], by: str) -> pd.DataFrame:
    """Returns the histories of runs as one table."""
    parts = []
    for name, runs in named.items():
        for seed, run in enumerate(runs if isinstance(runs, Sequence) else [runs]):
            history = cast(Any, getattr(run, "history", None))
            if not isinstance(history, pd.DataFrame):
                raise ValueError(
                    f"{name!r} has a {type(run).__name__}, which is no run: give a run, or a list of runs."
                )
            parts += [history.assign(**{by: name, "seed": seed})] * bool(len(history))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _columns(table: pd.DataFrame, wanted: str | Sequence[str] | None) -> list[str]:
    """Returns the columns to draw. Each has a number somewhere."""
    if wanted is None:
        wanted = [c for c in table if str(c).startswith("knn ") and table[c].notna().any()]
        wanted = ["loss"] * ("loss" in table or not wanted) + wanted
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for column in wanted:
        if column not in table or not pd.api.types.is_numeric_dtype(table[column]) or table[column].isna().all():
            known = ", ".join(str(c) for c in table.select_dtypes("number") if c not in ("epoch", "seed"))
            raise ValueError(f"there is no number in a column {column!r}: there are {known}.")
    return wanted


def _by_epoch(rows: pd.DataFrame, columns: list[str], name: Any) -> dict[str, pd.DataFrame]:
    """Returns a table per column, with one row per epoch and one column per run, without empty ones."""
    keys = [key for key in ("variant", "seed") if key in rows]
    rows = rows.assign(run=rows.groupby(keys, sort=False).ngroup() if keys else 0)
    if (repeated := rows.duplicated(["run", "epoch"])).any():
        raise ValueError(
            f"{name!r} has epoch {rows['epoch'][repeated].iloc[0]} twice in one run: runs are told apart by the "
            "columns variant and seed; add the one that is missing."
        )
    tables = {column: rows.pivot(index="epoch", columns="run", values=column) for column in columns}
    return {column: values.dropna(how="all").dropna(axis=1, how="all") for column, values in tables.items()}


def _draw_mean(axis: Axes, values: pd.DataFrame, band: str, handle: Line2D, place: int) -> None:
    """Draws the mean over the runs with its band, in the colour and with the marker of a handle of the legend."""
    if values.empty:
        return
    x, mean, colour = values.index.to_numpy() + 1, values.mean(axis=1), handle.get_color()
    several = (values.notna().sum(axis=1) > 1).to_numpy()
    if several.any():
        spread = values.std(axis=1)
        ends = (values.min(axis=1), values.max(axis=1)) if band == "range" else (mean - spread, mean + spread)
        axis.fill_between(x, *ends, where=several, color=colour, alpha=0.2, linewidth=0)
    whole = values.notna().all(axis=1).to_numpy()
    step = max(1, len(x) // MARKED)
    marks = {"marker": handle.get_marker(), "markersize": 4, "markevery": (place % step, step)}
    partly = np.convolve(~whole, [1, 1, 1])[1:-1] > 0  # and the epochs beside, so that the line goes on
    axis.plot(x, np.where(partly, mean, np.nan), color=colour, linestyle=":", linewidth=1.4, zorder=2)
    axis.plot(x, np.where(whole, mean, np.nan), color=colour, linewidth=1.6, zorder=3, **marks)


def _title(runs: dict, band: str, what: str) -> str:
    counts = sorted({max(table.shape[1] for table in tables.values()) for tables in runs.values()})
    if counts[-1] <= 1:
        return f"Learning curves of single {what}"
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    spread = "smallest to largest" if band == "range" else "± one standard deviation"
    return f"Learning curves: mean over {number} {what}, band: {spread}"


def _panel_name(column: str) -> str:
    level = column.removeprefix("knn ")
    return readable(column) if level == column else f"kNN accuracy of “{readable(level)}” (%)"


def _finish(axis: Axes, title: str, last: int, ticks: int = 8, margin: float = 0.08) -> None:
    """Writes the title of a panel, and sets its axis of epochs from 1 to the last."""
    panel_title(axis, title)
    axis.set_xlabel("epoch", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=ticks))
    axis.margins(y=margin)
    axis.set_xlim(0.5, last + 0.5)
    simple_axis(axis)


# ---- single runs ----


@checked
def history(runs: Any) -> Figure:
    """Draws loss, kNN accuracy at every level, and keep rates of the selection, over the epochs.

    The losses of different methods are sums of different terms: compare their course, not their height. Their
    references say how far a loss has come. Dashed: the loss if all embeddings were equal, which is the logarithm of the
    number of candidates of each term (:func:`hiercl.pairs.if_equal`). Dotted: a floor, below which no embedding can
    bring it (:func:`hiercl.pairs.floor`; HCE and HMCE have none, because their maximum is no sum of terms). A reference
    far from the curve is an arrow at the border, with its number. Runs of earlier versions have neither, nor have runs
    with ``block=``. A dotted grey line marks the first epoch with a learned tree. The keep rate is the share of the
    candidates that selection keeps as negatives.

    Args:
        runs: a run, or several by name.

    Returns:
        The figure.

    Raises:
        ValueError: there is no run with an epoch.

    Example:
        >>> figure = hiercl.plot.history({"HCSC": run, "G-HMLC": masked_run})
    """
    runs = runs if isinstance(runs, dict) else {getattr(runs, "name", ""): runs}
    for run in runs.values():
        if not isinstance(getattr(run, "history", None), pd.DataFrame):
            raise ValueError(f"a run is a {type(run).__name__}: give a run, or several by name.")
    tables = {name: run.history for name, run in runs.items() if len(run.history)}
    if not tables:
        raise ValueError("there is no epoch to show: give at least one run that was trained for an epoch or more.")
    knn = list(dict.fromkeys(c for table in tables.values() for c in table if c.startswith("knn ")))
    keeping = [name for name, table in tables.items() if any(c.startswith("keep ") for c in table)]
    last = 1 + max(int(table["epoch"].max()) for table in tables.values())
    count = 1 + len(knn) + len(keeping)
    across = 3 if count in (5, 6) else min(count, 4)
    down = -(-count // across)
    height, width = 2.5 * down + (1.3 if keeping else 0.8), WIDTH if across > 1 else 5
    figure, axes = panels(down, across, height, width, "Training, epoch by epoch")
    first, *others = first_axes(axes, count)
    for axis, column in zip([first, *others], ["loss", *knn], strict=False):
        for (name, table), colour in zip(tables.items(), categorical(len(tables)), strict=True):
            if column in table:
                _draw_epochs(axis, table, column, color=colour, label=name)
        _finish(axis, _panel_name(column), last, ticks=6, margin=0.12)
    _draw_references(first, list(tables.values()), categorical(len(tables)))
    _mark_first_trees(first, tables)
    for axis, name in zip(others[len(knn) :], keeping, strict=True):
        _draw_keep_rates(axis, tables[name])
        _finish(axis, f"kept as negatives (%){f', {name}' if len(tables) > 1 else ''}", last, ticks=6, margin=0.12)
    handles, names = first.get_legend_handles_labels()
    if len(names) > 1:
        legend_below(figure, handles, min(4, len(names)))
    return figure


def live() -> Callable[[Any], None]:
    """Returns a callback that redraws :func:`history` below a notebook's cell after every epoch.

    Outside a notebook it does nothing.

    Returns:
        The callback, for ``callbacks=`` of :func:`hiercl.fit`.

    Example:
        >>> run = hiercl.fit("supcon", train, epochs=1, batch=64, callbacks=[hiercl.plot.live()], progress=False)
    """
    shown: list[Any] = []

    def redraw(run: Any) -> None:
        if not in_notebook():
            return
        from IPython.core.pylabtools import print_figure
        from IPython.display import display

        done, wanted = len(run.history), run.config["fit"]["epochs"]
        text = f"{run.name}: epoch {done} of {wanted}, {summary(run.history.iloc[-1].to_dict())}"
        png = print_figure(history({run.name: run}), bbox_inches=None, base64=True)  # pyright: ignore[reportArgumentType]
        content = {"image/png": png, "text/plain": text}
        if shown:
            shown[0].update(content, raw=True)
        else:
            shown.append(display(content, raw=True, display_id=True))

    return redraw


def in_notebook() -> bool:
    """Says whether a Jupyter kernel runs this code."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _draw_epochs(axis: Axes, table: pd.DataFrame, column: str, scale: int = 1, **style) -> None:
    values = table[["epoch", column]].dropna()
    axis.plot(values["epoch"] + 1, scale * values[column], marker="o", markersize=3, **style)


def _draw_references(axis: Axes, tables: Sequence[pd.DataFrame], colours: Any) -> None:
    """Draws what losses are compared with: lines where they are near the curves. The title says what they are.

    It has the number at the last epoch of every run, with an arrow where this lies beyond the border.
    """
    low, high = axis.get_ylim()
    room, last = REACH * (high - low), {column: [] for column in REFERENCES}
    for column, (line, _) in REFERENCES.items():
        for table, colour in zip(tables, colours, strict=True):
            values = table[["epoch", column]].dropna() if column in table else table.iloc[:0]
            if not len(values):
                continue
            last[column].append(float(values[column].iloc[-1]))
            if low - room <= values[column].min() and values[column].max() <= high + room:
                style = {"color": colour, "linestyle": line, "linewidth": 1.3, "zorder": 1}
                axis.plot(values["epoch"] + 1, values[column], **style)
    low, high = axis.get_ylim()
    words = [axis.get_title("left")]
    for column, numbers in last.items():
        arrows = ["↓" if number < low else "↑" if number > high else "" for number in numbers]
        shown = dict.fromkeys(f"{number:.2f}{arrow}" for number, arrow in zip(numbers, arrows, strict=True))
        words += [f"{REFERENCES[column][1]}: {', '.join(shown)}"] * bool(shown)
    panel_title(axis, "\n".join(line for text in words for line in textwrap.wrap(text, NAME_WIDTH)))


def _mark_first_trees(axis: Axes, tables: dict[str, pd.DataFrame]) -> None:
    """Draws a dotted line at the first epoch with keep rates of each run, if there are epochs without before it."""
    firsts = set()
    for table in tables.values():
        keeping = table[[column for column in table if column.startswith("keep ")]].notna().any(axis=1)
        firsts |= {int(table["epoch"][keeping].iloc[0])} if keeping.any() else set()
    for first in firsts - {0}:
        axis.axvline(first + 0.5, color=GREY, linestyle=":", linewidth=1.2)
        axis.annotate(
            "first tree",
            (first + 0.5, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(2, 0),
            textcoords="offset points",
            ha="left",
            va="bottom",
            rotation=90,
            size=SMALL,
            color=GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )


def _draw_keep_rates(axis: Axes, table: pd.DataFrame) -> None:
    """Draws one line per term. The colour shows the level of the tree, a dashed line shows prototypes."""
    names = [column for column in table if column.startswith("keep ")]
    levels = sorted({name.split()[-1] for name in names})
    colours = dict(zip(levels, sequence(len(levels)), strict=True))
    for name in names:
        line = {"color": colours[name.split()[-1]], "linestyle": "--" if "prototype" in name else "-"}
        _draw_epochs(axis, table, name, 100, label=name.removeprefix("keep "), **line)
    axis.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=SMALL, frameon=False, handlelength=2.2
    )
