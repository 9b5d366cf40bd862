"""Two models, judged on the same test items: McNemar's test, and a paired bootstrap over the items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array, blocks
from hiercl.runtime.config import AtLeast, Between
from hiercl.runtime.types import Bool, Float

MOST = 1 << 16  # whole numbers below it are kept in two bytes


class PerItem(NamedTuple):
    """What a metric is the mean of: a value of every test item, and its weight.

    $$m = \\frac{\\sum_i w_i v_i}{\\sum_i w_i}$$

    Attributes:
        values: a number of every item; bool where an item is right or wrong.
        weights: how much every item counts, at least 0; None: all the same. An item of weight 0 does not count.
    """

    values: np.ndarray
    weights: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """The metric; NaN if no item counts."""
        total, weight = self.sums.sum(axis=0)
        return float(total / weight) if weight else math.nan

    @property
    def sums(self) -> Float[np.ndarray, "n 2"]:
        """What every item adds to the numerator and to the denominator."""
        weights = np.ones(len(self.values)) if self.weights is None else self.weights.astype(float)
        return np.stack([self.values * weights, weights], axis=1)

    @property
    def right_or_wrong(self) -> bool:
        """Whether every item is right or wrong, and counts the same: what McNemar's test needs."""
        return self.values.dtype == bool and self.weights is None

    def compact(self) -> PerItem:
        """Returns the same in fewer bytes: 1 for bool, 1 or 2 for whole numbers, 4 for others.

        Example:
            >>> PerItem(np.array([0, 2]), np.array([0.5, 1.0])).compact().values.dtype
            dtype('uint8')
        """
        return PerItem(_smallest(self.values), None if self.weights is None else _smallest(self.weights))


class Paired(NamedTuple):
    """How much the second model differs from the first: result of :func:`mcnemar` and :func:`paired_bootstrap`.

    Attributes:
        difference: number of the second model, minus that of the first.
        low: lower end of the interval of the difference.
        high: upper end of the interval.
        p: probability of a difference as large as this one, or larger, if the models do not differ.
        only_first: number of items that only the first model gets right; None for the bootstrap.
        only_second: number of items that only the second one gets right; None likewise.
    """

    difference: float
    low: float
    high: float
    p: float
    only_first: int | None = None
    only_second: int | None = None


Level = Annotated[float, Between(0, 1, low_allowed=False, high_allowed=False)]


@checked
def mcnemar(first: Bool[Array, " n"], second: Bool[Array, " n"], level: Level = 0.95) -> Paired:
    r"""Compares how often two models are right on the same items, by McNemar's exact test.

    $$p = \min\Big(1,\; 2\sum_{k=0}^{\min(b,c)}\binom{b+c}{k}\,2^{-(b+c)}\Big)$$

    with b the number of items that only the first model gets right, and c of those that only the second gets right. The
    others say nothing about the difference. Source: McNemar 1947, with the binomial distribution in place of χ². The
    interval of the difference is that of Agresti and Min 2005: Wald's, with half an item added to each of the four
    counts. The test is a little stricter than the interval.

    Dietterich 1998 says what the test does not cover: how the models would differ after other trainings. It is about
    these two trained models. For methods take several seeds (:class:`hiercl.Study`).

    Args:
        first: whether the first model is right, for every item.
        second: the same of the second model, in the same order of the items.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        Difference (a share, from −1 to 1), interval, p, and the two counts.

    Raises:
        ValueError: no item, two different numbers of items, values that are not true or false, or a level outside
            (0, 1).

    Example:
        >>> first = np.repeat([True, False], [60, 40])
        >>> found = mcnemar(first, np.roll(first, -9))
        >>> found.only_first, found.only_second, found.difference, found.p
        (9, 9, 0.0, 1.0)
    """
    first, second = (_right(values, name) for values, name in ((first, "first"), (second, "second")))
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} items and second {len(second)}: give the same items to both.")
    return _mcnemar(first, second, level)


def _mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"], level: float = 0.95) -> Paired:
    from scipy.special import bdtr, ndtri  # imported here, so that `import hiercl` stays fast

    n, b, c = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    p = min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5))) if b + c else 1.0
    middle = (c - b) / (n + 2)
    half = float(ndtri((1 + level) / 2)) * math.sqrt((b + c + 1) / (n + 2) - middle**2) / math.sqrt(n + 2)
    return Paired((c - b) / n, max(-1.0, middle - half), min(1.0, middle + half), p, b, c)


@checked
def paired_bootstrap(
    first: Float[Array, " n"],
    second: Float[Array, " n"],
    level: Level = 0.95,
    resamples: Annotated[int, Between(100, 1_000_000)] = 2000,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> Paired:
    r"""Compares the means of two models over the same items, by a bootstrap that draws the items of both together.

    The interval goes from the $\alpha/2$ to the $1-\alpha/2$ quantile of the differences over the resamples, and

    $$p = \min\Big(1,\; 2\,\frac{1+\min(\#\{\Delta^*\le 0\},\,\#\{\Delta^*\ge 0\})}{1+\text{resamples}}\Big)$$

    with Δ* the difference of a resample: n items, drawn with replacement. Source: Efron and Tibshirani 1993, chapter
    13. With fewer than about fifty items the interval is too narrow. As with :func:`mcnemar`, the result is about these
    two trained models.

    Args:
        first: a number of every item, by the first model.
        second: the same by the second model, in the same order of the items.
        level: confidence level of the interval, between 0 and 1.
        resamples: number of resamples, 100 to 1,000,000.
        seed: seed of the draws.

    Returns:
        Difference of the means, interval, and p. p is at least 2 / (1 + resamples).

    Raises:
        ValueError: no item, two different numbers of items, values that are no finite numbers, a level outside (0, 1),
            or resamples outside 100 to 1,000,000.

    Example:
        >>> scores = np.random.default_rng(0).random(200)
        >>> found = paired_bootstrap(scores, scores + 0.1)
        >>> round(found.difference, 3), found.p < 0.01
        (0.1, True)
    """
    first, second = (_numbers(values, name) for values, name in ((first, "first"), (second, "second")))
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} items and second {len(second)}: give the same items to both.")
    return bootstrap_all([(PerItem(first), PerItem(second))], level, resamples, seed)[0]


def bootstrap_all(
    pairs: Sequence[tuple[PerItem, PerItem]], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> list[Paired]:
    """Compares many metrics of two models by one bootstrap: :func:`paired_bootstrap` of weighted means.

    Args:
        pairs: for every metric its values by the first and by the second model, of the same items.
        level: as in :func:`paired_bootstrap`.
        resamples: as there.
        seed: as there.

    Example:
        >>> scores = PerItem(np.arange(5.0))
        >>> bootstrap_all([(scores, scores)])[0].difference
        0.0
    """
    if not pairs:
        return []
    rng, n = np.random.default_rng(seed), len(pairs[0][0].values)
    sums = np.concatenate([one.sums for pair in pairs for one in pair], axis=1)  # [n, 4 · metrics]
    drawn = []
    for rows in blocks(resamples, max(n, sums.shape[1])):
        draws = min(rows.stop, resamples) - rows.start
        counts = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(draws)])
        drawn.append(_differences(counts.astype(float) @ sums))
    found = []
    for difference, column in zip(_differences(sums.sum(axis=0)[None])[0], np.concatenate(drawn).T, strict=True):
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        beyond = min((known <= 0).sum(), (known >= 0).sum())
        p = min(1.0, 2 * (1 + int(beyond)) / (1 + len(known)))
        found.append(Paired(float(difference), float(low), float(high), p))
    return found


def _differences(sums: Float[np.ndarray, "draws columns"]) -> Float[np.ndarray, "draws metrics"]:
    """Second minus first of every metric, from numerator and denominator of both; NaN where no item counts."""
    parts = sums.reshape(len(sums), -1, 2, 2)  # draws, metrics, models, numerator and denominator
    with np.errstate(invalid="ignore", divide="ignore"):
        means = parts[..., 0] / parts[..., 1]
    return means[..., 1] - means[..., 0]


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same numbers in the smallest type that holds them, floats in single precision."""
    if values.dtype == bool:
        return values
    if values.dtype.kind in "iu" and 0 <= values.min() and values.max() < MOST:
        return values.astype(np.uint8 if values.max() < 256 else np.uint16)
    return values.astype(np.float32)


def _right(values: Any, name: str) -> Bool[np.ndarray, " n"]:
    array = as_array(values)
    if array.ndim != 1 or len(array) == 0 or array.dtype != bool:
        form = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{name} is {form}: pass True or False for each item, as predicted == truth gives them.")
    return array


def _numbers(values: Any, name: str) -> Float[np.ndarray, " n"]:
    array = as_array(values)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "fiub":
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}: pass one number for each item.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has a number that is not finite: leave such items out, in both.")
    return array.astype(float)
