"""How right the pairs were: an audit as a picture."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.plot._canvas import SMALL, WIDTH, headline, light, panels
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT, categorical

NEEDED = ("level", "pushed", "removed", "false_negative_rate", "wasted_removals", "same_removed", "other_removed")
SAME, OTHER = OKABE_ITO[0], OKABE_ITO[1]


def audit(tables: pd.DataFrame | dict[str, pd.DataFrame]) -> Figure:
    """False negatives, and what selection removed, for every term and level of the true hierarchy.

    Above: the share of pushed candidates that have the anchor's class. A line marks what it would be if nothing had
    been removed, which is also what a selection by chance gives: a bar that ends before its line is a selection that
    helps. Below (where something was removed): the share of the candidates of the same class that was removed, and of
    those of other classes. A selection that knows something has the first to the right of the second.

    Args:
        tables: what ``run.audit(dataset)`` or :func:`hiercl.audit` gave, or several such tables by name.

    Raises:
        ValueError: no table, or one that lacks the columns of an audit.

    Example:
        >>> hiercl.plot.audit({"MoCo v2": moco.audit(train), "HCSC": hcsc.audit(train)})
    """
    tables = tables if isinstance(tables, dict) else {"": tables}
    rows = pd.concat([_prepare(table, name) for name, table in tables.items()], ignore_index=True) if tables else None
    if rows is None or rows.empty:
        raise ValueError("there is no audit to show: give what run.audit(dataset) gave.")
    levels = list(dict.fromkeys(rows["level"]))
    order = list(dict.fromkeys(rows["row"]))
    selecting = [row for row in order if (rows.loc[rows["row"] == row, "removed"] > 0).any()]
    colours = dict(zip(tables, categorical(len(tables)), strict=True))

    heights = [0.26 * len(order) + 0.4, 0.26 * len(selecting) + 0.4][: 2 if selecting else 1]
    figure, axes = panels(
        len(heights), len(levels), height=sum(heights) + 0.9 * len(heights) + 0.5, width=max(WIDTH, 2.6 * len(levels)),
        sharey="row", height_ratios=heights,
    )  # fmt: skip
    headline(figure, "Audit of the pairs by the true labels")
    for column, level in enumerate(levels):
        part = rows[rows["level"] == level].set_index("row")
        _draw_false_negatives(axes[0, column], part.reindex(order), colours)
        axes[0, column].set_title(f"same “{level}”", size=10, color=TEXT, loc="left")
        if selecting:
            _draw_removed(axes[1, column], part.reindex(selecting))
    axes[0, 0].set_xlabel("pushed candidates of the anchor's own class (%)", size=SMALL, loc="left")
    _legend(axes[0, -1], ["without_selection"])
    if selecting:
        axes[1, 0].set_xlabel("candidates that selection removed (%)", size=SMALL, loc="left")
        _legend(axes[1, -1], ["same", "other"])
    return figure


def _prepare(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """One audit with the label of its rows, and the rate of false negatives without selection."""
    if missing := [column for column in NEEDED if column not in table]:
        raise ValueError(f"the table lacks {', '.join(missing)}: give what run.audit(dataset) or hiercl.audit gave.")
    table = table.copy()
    term = table["term"] if "term" in table else pd.Series([""] * len(table), index=table.index)
    table["name"], table["row"] = name, [" · ".join(part for part in (name, t) if part) or "pairs" for t in term]
    same_pushed = table["pushed"] * table["false_negative_rate"].fillna(0)
    same_removed = table["removed"] * (1 - table["wasted_removals"].fillna(1))
    everyone = table["pushed"] + table["removed"]
    table["without_selection"] = (same_pushed + same_removed) / everyone.where(everyone > 0)
    return table


def _draw_false_negatives(axis: Axes, part: pd.DataFrame, colours: dict) -> None:
    place = np.arange(len(part))
    rate = 100 * part["false_negative_rate"].to_numpy()
    axis.barh(place, np.nan_to_num(rate), height=0.62, color=[colours[name] for name in part["name"]])
    line = 100 * part["without_selection"].to_numpy()
    axis.vlines(line, place - 0.42, place + 0.42, color=TEXT, linewidth=1.8)
    widest = np.nanmax(np.r_[rate, line, 0.1])
    for y, value, mark in zip(place, rate, line, strict=True):
        if np.isfinite(value):
            axis.text(max(value, mark) + 0.03 * widest, y, f"{value:.1f}", size=7, color=GREY, va="center")
    axis.set_xlim(0, 1.22 * widest)
    _finish(axis, part)


def _draw_removed(axis: Axes, part: pd.DataFrame) -> None:
    place = np.arange(len(part))
    same, other = 100 * part["same_removed"].to_numpy(), 100 * part["other_removed"].to_numpy()
    axis.hlines(place, np.minimum(same, other), np.maximum(same, other), color="#BBBBBB", linewidth=2.5)
    axis.plot(other, place, "o", color="white", markeredgecolor=OTHER, markeredgewidth=2, markersize=7)
    axis.plot(same, place, "o", color=SAME, markersize=7)
    axis.set_xlim(-1, max(1.0, 1.12 * np.nanmax(np.r_[same, other, 1])))
    _finish(axis, part)


def _finish(axis: Axes, part: pd.DataFrame) -> None:
    axis.set_yticks(range(len(part)), part.index)
    axis.set_ylim(len(part) - 0.4, -0.6)
    light(axis, grid="x")
    axis.spines["left"].set_visible(False)


def _legend(axis: Axes, what: list[str]) -> None:
    from matplotlib.lines import Line2D

    made = {
        "without_selection": Line2D(
            [], [], color=TEXT, marker="|", markersize=10, markeredgewidth=1.8, linestyle="", label="without selection"
        ),
        "same": Line2D([], [], color=SAME, marker="o", markersize=7, linestyle="", label="of the same class"),
        "other": Line2D(
            [], [], color="white", marker="o", markeredgecolor=OTHER, markeredgewidth=2, markersize=7, linestyle="",
            label="of other classes",
        ),
    }  # fmt: skip
    axis.legend(
        handles=[made[name] for name in what], loc="upper right", bbox_to_anchor=(1, -0.12), ncols=len(what),
        fontsize=SMALL, frameon=False, handletextpad=0.2, columnspacing=1,
    )  # fmt: skip
