"""Paired seeds: difference, interval, verdict, and how they are written down. Shared by the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

import hiercl

_DEFINED = hiercl.metrics.definitions()
LOWER_IS_BETTER = {"false negatives"} | {name for name, row in _DEFINED.iterrows() if row["better"] == "lower"}
NEITHER = {name for name, row in _DEFINED.iterrows() if row["better"] == ""}
PLAIN = {name for name, row in _DEFINED.iterrows() if row["unit"] != "%"}  # small numbers


def difference(a: Sequence[float], b: Sequence[float], better: int) -> tuple[float, float, float, str]:
    """Mean of the paired differences b − a, its 95 % t interval, and the verdict on "b is better".

    ``better`` is 1 where higher is better, −1 where lower is, 0 where neither is. The verdict is empty where neither is
    better, or where there is no difference at all. One pair has an interval without ends.
    """
    delta = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    if len(delta) > 1:
        half = stats.t.ppf(0.975, len(delta) - 1) * delta.std(ddof=1) / np.sqrt(len(delta))
    else:
        half = math.inf
    low, high = delta.mean() - half, delta.mean() + half
    sign = 1 if low > 0 else -1 if high < 0 else 0
    verdict = (
        "" if better == 0 or not delta.any() else "undecided" if sign == 0 else "held" if sign == better else "not held"
    )
    return float(delta.mean()), float(low), float(high), verdict


def direction(name: str) -> int:
    """1 where higher is better, −1 where lower is, 0 where neither is."""
    return 0 if name in NEITHER or "seconds" in name else -1 if name in LOWER_IS_BETTER else 1


def digits(name: str) -> int:
    """Places after the point that a metric deserves."""
    return 3 if name in PLAIN else 2


def mean_cell(values: Sequence[float], places: int) -> str:
    """Mean ± standard deviation; of a single value, the value."""
    values = np.asarray(values, dtype=float)
    cell = f"{values.mean():.{places}f}"
    return minus(cell + (f" ± {values.std(ddof=1):.{places}f}" if len(values) > 1 else ""))


def interval_cell(mean: float, low: float, high: float, places: int) -> str:
    """A difference with its interval; without one where it has no ends."""
    cell = f"{mean:+.{places}f}"
    return minus(cell + (f" [{low:+.{places}f}, {high:+.{places}f}]" if math.isfinite(low) else ""))


def minus(cell: str) -> str:
    """With a true minus sign."""
    return cell.replace("-", "−")


def markdown(cells: list[list[str]]) -> str:
    """A table in Markdown; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])
