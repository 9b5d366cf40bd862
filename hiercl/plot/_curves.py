"""Learning curves of several variants, each with its spread over the seeds."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hiercl.plot._canvas import SMALL, WIDTH, given, headline, light, panels, readable, text_width
from hiercl.plot._colours import MARKERS, TEXT, categorical

MARKED = 8  # markers on a line, about
NAME_WIDTH = 36  # letters of a name in a line


def curves(
    histories: pd.DataFrame | Mapping[str, Any],
    columns: str | Sequence[str] | None = None,
    by: str = "variant",
    band: Literal["range", "deviation"] = "range",
    ax: Axes | None = None,
) -> Figure:
    """Learning curves: one panel a column, one line a variant, the mean over its seeds, with a band around it.

    The title says what the band is. Where some seeds of a variant have no value at an epoch (they are shorter, or still
    running), the line goes on dotted, as the mean of the others. A variant with a single seed has no band.

    Args:
        histories: a table with a row an epoch and the columns ``epoch``, ``by``, and ``variant`` and ``seed`` as far as
            these tell the runs apart (:meth:`hiercl.Study.histories`); or the runs themselves by name,
            ``{"HCSC": [run, run, run], "MoCo v2": run}``.
        columns: to show; by default the loss and the kNN accuracies.
        by: column that tells the lines apart; of runs by name it is their name.
        band: "range" (smallest to largest) or "deviation" (mean ± one standard deviation, with n − 1).
        ax: an axis to draw on, of a figure of your own, which is returned; for a single column.

    Raises:
        ValueError: no epoch, a column that is not there or holds no number, another band, an epoch that occurs twice
            in a run, or several columns for one axis.

    Example:
        >>> hiercl.plot.curves(study.histories(), columns=["loss", "knn class"])
        >>> hiercl.plot.curves({"HCSC": hcsc_runs, "MoCo v2": moco_runs}, band="deviation")
    """
    if band not in ("range", "deviation"):
        raise ValueError(f'band={band!r}: it is "range" or "deviation".')
    named = isinstance(histories, Mapping)
    table = _of_runs(histories, by) if named else histories
    _check(table, by)
    shown = _columns(table, columns)
    runs = {name: _by_epoch(rows, shown, name) for name, rows in table.groupby(by, sort=False)}
    colours = dict(zip(runs, categorical(len(runs)), strict=True))
    across = 3 if len(shown) in (3, 5, 6, 9) else min(len(shown), 2 if len(shown) < 5 else 4)
    down = -(-len(shown) // across)
    names = {name: textwrap.fill(readable(str(name)), NAME_WIDTH) for name in runs}
    width = WIDTH if across > 1 else 6.5
    longest = max(text_width(line, SMALL) for text in names.values() for line in text.split("\n"))
    beside = int(np.clip(width // (longest + 0.7), 1, 4))
    legend = 0.17 * max(1 + text.count("\n") for text in names.values()) * -(-len(names) // beside) + 0.2
    title = _title(runs, band, "runs" if named or by != "variant" else "seeds")
    if ax is None:
        figure, axes = panels(down, across, height=(3.4 if across == 1 else 2.6) * down + 0.6 + legend, width=width)
        headline(figure, title)
    else:
        figure, axes = given(ax, len(shown), f"choose a column, such as columns={shown[0]!r}")
    for axis, column in zip(axes.flat, shown, strict=False):
        for place, (name, values) in enumerate(runs.items()):
            _line(axis, values[column], band, colours[name], place)
        _finish(axis, column, last=int(table["epoch"].max()) + 1)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    handles = [
        Line2D([], [], color=colours[name], marker=MARKERS[place % len(MARKERS)], markersize=5, label=names[name])
        for place, name in enumerate(runs)
    ]
    if ax is None:
        figure.legend(handles=handles, loc="outside lower center", ncols=beside, fontsize=SMALL, frameon=False)
    else:
        ax.set_title("\n".join([*textwrap.wrap(title, 2 * NAME_WIDTH), ax.get_title("left")]), size=9, loc="left")
        ax.legend(handles=handles, loc="best", fontsize=SMALL, frameon=False)
    return figure


def _of_runs(named: Mapping[str, Any], by: str) -> pd.DataFrame:
    """The histories of runs as one table."""
    parts = []
    for name, runs in named.items():
        for seed, run in enumerate(runs if isinstance(runs, Sequence) else [runs]):
            history = getattr(run, "history", None)
            if not isinstance(history, pd.DataFrame):
                raise ValueError(
                    f"{name!r} has a {type(run).__name__}, which is no run: give a run, or a list of runs."
                )
            parts += [history.assign(**{by: name, "seed": seed})] * bool(len(history))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _check(table: pd.DataFrame, by: str) -> None:
    if not isinstance(table, pd.DataFrame) or table.empty or "epoch" not in table:
        raise ValueError("there is no epoch to show: give study.histories(), or runs of an epoch or more by name.")
    if by not in table:
        raise ValueError(f"there is no column {by!r} to tell lines apart: there are {', '.join(map(str, table))}.")


def _columns(table: pd.DataFrame, wanted: str | Sequence[str] | None) -> list[str]:
    """The columns to show, each of which has a number somewhere."""
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
    """Of every column a table with a row an epoch and a column a run; epochs that nobody looked at are left out."""
    keys = [key for key in ("variant", "seed") if key in rows]
    run = rows.groupby(keys, sort=False).ngroup() if keys else pd.Series(0, index=rows.index)
    twice = pd.DataFrame({"run": run, "epoch": rows["epoch"]}).duplicated()
    if twice.any():
        raise ValueError(
            f"{name!r} has epoch {rows['epoch'][twice].iloc[0]} twice in one run: runs are told apart by the columns "
            "variant and seed; add the one that is missing."
        )
    tables = {c: rows.assign(run=run).pivot(index="epoch", columns="run", values=c) for c in columns}
    return {column: values.dropna(how="all").dropna(axis=1, how="all") for column, values in tables.items()}


def _line(axis: Axes, values: pd.DataFrame, band: str, colour: np.ndarray, place: int) -> None:
    if values.empty:
        return
    x, mean = values.index.to_numpy() + 1, values.mean(axis=1).to_numpy()
    several = values.notna().sum(axis=1).to_numpy() > 1
    if several.any():
        low, high = _band(values, band)
        axis.fill_between(x, low, high, where=several, color=colour, alpha=0.2, linewidth=0)
    whole = values.notna().all(axis=1).to_numpy()
    step = max(1, len(x) // MARKED)
    marks = {"marker": MARKERS[place % len(MARKERS)], "markersize": 4, "markevery": (place % step, step)}
    partly = np.convolve(~whole, [1, 1, 1])[1:-1] > 0  # and the epochs beside, so that the line goes on
    axis.plot(x, np.where(partly, mean, np.nan), color=colour, linestyle=":", linewidth=1.4, zorder=2)
    axis.plot(x, np.where(whole, mean, np.nan), color=colour, linewidth=1.6, zorder=3, **marks)


def _band(values: pd.DataFrame, band: str) -> tuple[np.ndarray, np.ndarray]:
    if band == "range":
        return values.min(axis=1).to_numpy(), values.max(axis=1).to_numpy()
    mean, deviation = values.mean(axis=1).to_numpy(), values.std(axis=1).to_numpy()
    return mean - deviation, mean + deviation


def _title(runs: dict, band: str, what: str) -> str:
    counts = sorted({max(table.shape[1] for table in tables.values()) for tables in runs.values()})
    if counts[-1] <= 1:
        return f"Learning curves of single {what}"
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    spread = "smallest to largest" if band == "range" else "± one standard deviation"
    return f"Learning curves: mean over {number} {what}, band: {spread}"


def _finish(axis: Axes, column: str, last: int) -> None:
    level = column.removeprefix("knn ")
    title = readable(column) if level == column else f"kNN accuracy of “{readable(level)}” (%)"
    axis.set_title(title, size=9, color=TEXT, loc="left")
    axis.set_xlabel("epoch", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.margins(y=0.08)
    axis.set_xlim(0.5, last + 0.5)
    light(axis)
