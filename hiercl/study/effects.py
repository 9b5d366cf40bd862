"""Effects: paired differences over seeds, their bootstrap interval, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from hiercl.types import Float, Int

ENOUGH_SEEDS = 5
RESAMPLES = 10_000
ALL_RESAMPLES_UP_TO = 7  # values: 1,716 different resamples; of more than that they are drawn


@dataclass(frozen=True)
class Effect:
    """How much better one variant is than another, seed by seed.

    Attributes:
        mean: of the differences.
        low, high: the interval; NaN with fewer than five seeds, or where all differences are alike; infinite where too
            many are alike for an end to be known.
        seeds: how many.
        verdict: better, worse, undecided, the same, or too few seeds; of a number of which neither more nor less is
            better: more or less.
    """

    mean: float
    low: float
    high: float
    seeds: int
    verdict: str

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.mean:+.2f}{interval} {self.verdict}".replace("-", "−").replace("inf", "∞")


def effect(
    base: Sequence[float] | Float[np.ndarray, " n"],
    other: Sequence[float] | Float[np.ndarray, " n"],
    better: Literal["higher", "lower", ""] = "higher",
    level: float = 0.95,
) -> Effect:
    """The paired effect of ``other`` against ``base``.

    A verdict needs five seeds and an interval that leaves out 0, or differences that are all the same.

    Args:
        base, other: values of the same seeds, in the same order.
        better: of the metric, higher or lower values; empty where neither is.
        level: of the interval.

    Raises:
        ValueError: no seed, or another number of values.

    Example:
        >>> effect([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.1, 3.9, 5.2, 5.9]).verdict
        'better'
    """
    if not len(base) == len(other) > 0:
        raise ValueError(f"{len(base)} and {len(other)} values: give those of the same seeds, at least of one.")
    differences = np.asarray(other, dtype=float) - np.asarray(base, dtype=float)
    mean, (low, high) = float(differences.mean()), bootstrap_interval(differences, level)
    if len(differences) < ENOUGH_SEEDS:
        verdict = f"too few seeds ({len(differences)} of {ENOUGH_SEEDS})"
    elif not differences.any():
        verdict = "the same"
    elif low <= 0 <= high:
        verdict = "undecided"
    elif better:  # an interval without 0, or always the same difference
        verdict = "better" if (mean > 0) == (better == "higher") else "worse"
    else:
        verdict = "more" if mean > 0 else "less"
    return Effect(mean, low, high, len(differences), verdict)


def bootstrap_interval(values: Float[np.ndarray, " n"], level: float = 0.95) -> tuple[float, float]:
    r"""The studentised bootstrap interval of a mean (bootstrap-t; Efron and Tibshirani, 1993, section 12.5):

    $$\Big[\bar x - t^*_{1-\alpha/2}\,\hat s,\; \bar x - t^*_{\alpha/2}\,\hat s\Big], \qquad
      t^* = \frac{\bar x^* - \bar x}{\hat s^*}, \qquad \hat s = \frac{\text{std}(x)}{\sqrt n}$$

    with $t^*$ over resamples of the values. With the handful of values that seeds give, the plain percentile interval
    is far too narrow; this one covers about as often as it says (a test measures it). Up to seven values all different
    resamples are used, with their probabilities, so that nothing is drawn; of more, 10,000 are drawn with a fixed seed.
    Resamples without spread have $t^*=\\pm\\infty$: where many values are alike, an end can be infinite.

    Returns:
        Lower and upper end; NaN for fewer than five values, of which no interval can be trusted (of three it covered
        0.8 in place of 0.95), or values without spread.

    Example:
        >>> low, high = bootstrap_interval(np.array([0.9, 1.0, 1.1, 1.2, 0.8]))
        >>> low < 1.0 < high
        True
    """
    n = len(values)
    error = values.std(ddof=1) / math.sqrt(n) if n > 1 else 0.0
    rounding = 1e-9 * abs(values).max()
    if n < ENOUGH_SEEDS or error <= rounding:
        return math.nan, math.nan
    index, weight = _resamples(n)
    drawn = values[index]
    away, spread = drawn.mean(axis=1) - values.mean(), drawn.std(axis=1, ddof=1) / math.sqrt(n)
    endless = np.where(abs(away) > rounding, np.copysign(math.inf, away), 0.0)  # of those without spread
    t = np.divide(away, spread, out=endless, where=spread > rounding)
    order = np.argsort(t)
    share = np.cumsum(weight[order])
    tail = (1 - level) / 2
    lower, upper = (t[order][min(np.searchsorted(share, q), len(t) - 1)] for q in (tail, 1 - tail))
    return float(values.mean() - upper * error), float(values.mean() - lower * error)


@lru_cache(maxsize=32)
def _resamples(n: int) -> tuple[Int[np.ndarray, "resamples n"], Float[np.ndarray, " resamples"]]:
    """Resamples with replacement of n values, and how probable each is."""
    if n > ALL_RESAMPLES_UP_TO:
        drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
        return drawn, np.full(RESAMPLES, 1 / RESAMPLES)
    every = np.array(list(combinations_with_replacement(range(n), n)))
    counts = (every[:, :, None] == np.arange(n)).sum(axis=1)
    ways = math.factorial(n) / np.prod([[math.factorial(c) for c in row] for row in counts], axis=1)
    return every, ways / n**n
