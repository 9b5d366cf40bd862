"""How a training went, afterwards or while it runs."""

import base64
import io
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.plot._canvas import SMALL, WIDTH, headline, light, panels
from hiercl.plot._colours import GREY, TEXT, categorical, sequence
from hiercl.training import summary


def history(runs: Any) -> Figure:
    """Loss, kNN accuracy at every level, and keep rates of the selection, over the epochs.

    Losses of different methods are sums of different terms: compare their course, not their height. A dotted line marks
    the first epoch with a learned tree. The keep rate is the share of the candidates that selection kept as negatives.

    Args:
        runs: a run, or name and run of several.

    Raises:
        ValueError: no run, or none with an epoch.

    Example:
        >>> hiercl.plot.history({"MoCo v2": moco, "HCSC": hcsc})
    """
    tables = _tables(runs)
    knn = [name for name in _columns(tables) if name.startswith("knn ")]
    keeping = [name for name, table in tables.items() if any(c.startswith("keep ") for c in table)]
    count = 1 + len(knn) + len(keeping)
    columns = 3 if count in (5, 6) else min(count, 4)
    rows = -(-count // columns)
    figure, axes = panels(
        rows, columns, height=2.5 * rows + (1.3 if keeping else 0.8), width=WIDTH if columns > 1 else 5
    )
    headline(figure, "Training, epoch by epoch")
    colours = dict(zip(tables, categorical(len(tables)), strict=True))
    _lines(axes.flat[0], tables, "loss", colours, "loss")
    _mark_first_trees(axes.flat[0], tables)
    for axis, name in zip(axes.flat[1:], knn, strict=False):
        level = name.removeprefix("knn ")
        _lines(axis, tables, name, colours, f"kNN accuracy of “{level}” (%)")
    for axis, name in zip(axes.flat[1 + len(knn) :], keeping, strict=False):
        _keep_rates(axis, tables[name], f"kept as negatives (%){f', {name}' if len(tables) > 1 else ''}")
    for axis in axes.flat[:count]:
        axis.set_xlim(0.5, 1.5 + max(table["epoch"].max() for table in tables.values()))
    for axis in axes.flat[count:]:
        axis.axis("off")
    handles, names = axes.flat[0].get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(
            handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=SMALL + 1, frameon=False
        )
    return figure


def live() -> Callable[[Any], None]:
    """A callback that redraws :func:`history` below a notebook's cell after every epoch; elsewhere it does nothing.

    Example:
        >>> run = hiercl.fit("hcsc", train, callbacks=[hiercl.plot.live()], progress=False)
    """
    shown: list[Any] = []

    def redraw(run: Any) -> None:
        if not in_notebook():
            return
        from IPython.display import display

        done, wanted = len(run.history), run.config["fit"]["epochs"]
        text = f"{run.name}: epoch {done} of {wanted}, {summary(run.history.iloc[-1].to_dict())}"
        picture = {"image/png": _png(history({run.name: run})), "text/plain": text}
        if shown:
            shown[0].update(picture, raw=True)
        else:
            shown.append(display(picture, raw=True, display_id=True))

    return redraw


def _png(figure: Figure) -> str:
    """The picture as base64 text, which is how a notebook keeps it."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _tables(runs: Any) -> dict[str, pd.DataFrame]:
    """Name and history of every run that has epochs."""
    runs = runs if isinstance(runs, dict) else {runs.name: runs}
    tables = {name: run.history for name, run in runs.items() if len(run.history)}
    if not tables:
        raise ValueError("there is no epoch to show: give at least one run that was trained for an epoch or more.")
    return tables


def _columns(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Columns of all tables, in order of appearance."""
    return list(dict.fromkeys(column for table in tables.values() for column in table))


def _lines(axis: Axes, tables: dict, column: str, colours: dict, title: str) -> None:
    for name, table in tables.items():
        if column in table:
            values = table[["epoch", column]].dropna()
            axis.plot(values["epoch"] + 1, values[column], color=colours[name], marker="o", markersize=3, label=name)
    _finish(axis, title)


def _mark_first_trees(axis: Axes, tables: dict) -> None:
    """A dotted line where a run makes its first tree."""
    for first in {_first_tree(table) for table in tables.values()} - {None}:
        axis.axvline(first + 0.5, color=GREY, linestyle=":", linewidth=1.2)
        axis.annotate(
            "first tree", (first + 0.5, 0.5), xycoords=("data", "axes fraction"), xytext=(2, 0),
            textcoords="offset points", ha="left", va="center", rotation=90, size=7, color=GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip


def _first_tree(table: pd.DataFrame) -> int | None:
    """The first epoch with keep rates after one without."""
    keep = [column for column in table if column.startswith("keep ")]
    epochs = table["epoch"][table[keep].notna().any(axis=1)] if keep else []
    return int(epochs.iloc[0]) if len(epochs) and epochs.iloc[0] > 0 else None


def _keep_rates(axis: Axes, table: pd.DataFrame, title: str) -> None:
    """One line a term: colour says the level of the tree, dashes are prototypes."""
    names = [column for column in table if column.startswith("keep ")]
    levels = sorted({name.split()[-1] for name in names})
    colour = dict(zip(levels, sequence(len(levels)), strict=True))
    for name in names:
        values = table[["epoch", name]].dropna()
        dashed = "prototype" in name
        axis.plot(
            values["epoch"] + 1, 100 * values[name], color=colour[name.split()[-1]], linestyle="--" if dashed else "-",
            marker="o", markersize=3, label=name.removeprefix("keep "),
        )  # fmt: skip
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=7, frameon=False, handlelength=2.2)
    _finish(axis, title)


def _finish(axis: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_title(title, size=9, color=TEXT, loc="left")
    axis.set_xlabel("epoch", size=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axis.margins(y=0.12)
    light(axis)
