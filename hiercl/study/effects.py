"""Effects: paired differences over seeds, their bootstrap interval and Student's, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from hiercl.metrics.intervals import standard_error, t_interval
from hiercl.runtime.types import Float, Int

ENOUGH_SEEDS = 5
RESAMPLES = 20_000


@dataclass(frozen=True)
class Effect:
    """How much better one variant is than another, over paired seeds.

    Attributes:
        mean: mean of the differences.
        low: lower end of the interval; NaN with fewer than five seeds, or where all differences are equal.
        high: upper end of the interval; NaN likewise.
        t_low: lower end of Student's interval; NaN for one seed, or where all differences are equal.
        t_high: upper end of Student's interval; NaN likewise.
        seeds: number of seeds.
        verdict: "better", "worse", "undecided", "the same" or "too few seeds"; "more" or "less" for a metric of which
            neither more nor less is better.
    """

    mean: float
    low: float
    high: float
    t_low: float
    t_high: float
    seeds: int
    verdict: str

    def __str__(self) -> str:
        return self.text()

    def text(self, digits: int = 2, verdict: bool = True) -> str:
        """Returns the difference, its bootstrap interval, and the verdict. Student's interval follows after "t" where
        there is no other one, and where it says otherwise: only one of the two contains 0.

        Args:
            digits: decimals of the numbers.
            verdict: whether the verdict and Student's interval are added.

        Example:
            >>> effect([1.0, 2.0, 3.0], [2.0, 3.1, 3.9]).text()
            '+1.00 too few seeds (3 of 5); t [+0.75, +1.25]'
        """

        def interval(low: float, high: float) -> str:
            return "" if math.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"

        words = f"{self.mean:+.{digits}f}{interval(self.low, self.high)}"
        if verdict:
            otherwise = (self.low <= 0 <= self.high) != (self.t_low <= 0 <= self.t_high)
            beside = interval(self.t_low, self.t_high) if otherwise or math.isnan(self.low) else ""
            words += f" {self.verdict}" + (beside and f"; t{beside}")
        return words.replace("-", "−")


def effect(
    base: Sequence[float] | Float[np.ndarray, " n"],
    other: Sequence[float] | Float[np.ndarray, " n"],
    better: Literal["higher", "lower", ""] = "higher",
    level: float = 0.95,
) -> Effect:
    """Returns the paired effect of ``other`` against ``base``.

    A verdict needs five seeds, and a bootstrap interval without 0 or differences that are all the same. Student's
    interval stands beside it (:func:`t_interval`).

    Args:
        base: values of the baseline, one a seed.
        other: values of the other variant, for the same seeds in the same order.
        better: which values of the metric are better, higher or lower ones; empty where neither is.
        level: confidence level of the intervals, between 0 and 1.

    Raises:
        ValueError: no seed, unequal numbers of values, a value that is not finite, or a level outside (0, 1).

    Example:
        >>> print(effect([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.1, 3.9, 5.2, 5.9]))
        +1.02 [+0.86, +1.21] better
    """
    if not len(base) == len(other) > 0:
        raise ValueError(f"{len(base)} and {len(other)} values: give values of the same seeds, at least of one.")
    differences = np.asarray(other, dtype=float) - np.asarray(base, dtype=float)
    if not np.isfinite(differences).all():
        first = int(np.flatnonzero(~np.isfinite(differences))[0])
        raise ValueError(f"value {first} of {len(differences)} is not finite: leave out seeds without a number.")
    mean, (low, high) = float(differences.mean()), bootstrap_interval(differences, level)
    if len(differences) < ENOUGH_SEEDS:
        verdict = f"too few seeds ({len(differences)} of {ENOUGH_SEEDS})"
    elif not differences.any():
        verdict = "the same"
    elif low <= 0 <= high:
        verdict = "undecided"
    elif better:  # the interval has no 0, or the difference is always the same
        verdict = "better" if (mean > 0) == (better == "higher") else "worse"
    else:
        verdict = "more" if mean > 0 else "less"
    return Effect(mean, low, high, *t_interval(differences, level), len(differences), verdict)


def bootstrap_interval(values: Float[np.ndarray, " n"], level: float = 0.95) -> tuple[float, float]:
    r"""Returns the smoothed, studentised bootstrap interval of a mean (Polansky and Schucany, 1997).

    $$\Big[\bar x - t^*_{1-\alpha/2}\,\hat s,\; \bar x - t^*_{\alpha/2}\,\hat s\Big], \qquad
      t^* = \frac{\bar x^* - \bar x}{\hat s^*}, \qquad \hat s = \frac{\text{std}(x)}{\sqrt n}, \qquad
      x^*_i = x_{j(i)} + h\,\text{std}(x)\,\varepsilon_i$$

    $t^*$ is taken over resamples $j$ of the values. $\varepsilon$ is normal, and $h = 0.9\,n^{-1/5}$ is the factor of
    Silverman's rule.

    A study has only a handful of seeds. For so few values the plain percentile interval is far too narrow. The
    studentised interval without smoothing is erratic, because a resample of few different values has almost no spread.
    The smoothed interval covers the true mean about as often as it says (a test measures this). With five values it is
    hardly wider than Student's interval.

    5,000 resamples are drawn with a fixed seed and mirrored in both ways, which makes 20,000. So the order of the
    values does not matter, and the interval of −x is the mirrored interval of x.

    Args:
        values: the values, one a seed.
        level: confidence level, between 0 and 1.

    Returns:
        Lower and upper end; NaN for fewer than five values, or for values without spread.

    Raises:
        ValueError: the level is not between 0 and 1.

    Example:
        >>> low, high = bootstrap_interval(np.array([0.9, 1.0, 1.1, 1.2, 0.8]))
        >>> low < 1.0 < high
        True
    """
    n, error = len(values), standard_error(values, level)
    if n < ENOUGH_SEEDS or math.isnan(error):
        return math.nan, math.nan
    index, noise = _resamples(n)
    away = (np.sort(values) - values.mean())[index] + 0.9 * n**-0.2 * values.std(ddof=1) * noise
    t = away.mean(axis=1) / (away.std(axis=1, ddof=1) / math.sqrt(n))
    lower, upper = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean() - upper * error), float(values.mean() - lower * error)


@lru_cache(maxsize=32)
def _resamples(n: int) -> tuple[Int[np.ndarray, "resamples n"], Float[np.ndarray, "resamples n"]]:
    """Which of n sorted values are drawn, and the noise on each. Reversing values or noise gives the same set."""
    rng = np.random.default_rng(0)
    index, noise = rng.integers(n, size=(RESAMPLES // 4, n)), rng.standard_normal((RESAMPLES // 4, n))
    return np.concatenate([index, index, n - 1 - index, n - 1 - index]), np.concatenate([noise, -noise, noise, -noise])
