"""Two models on the same items: against scipy, against slow loops, and as often wrong as they say."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from hiercl.metrics import mcnemar, paired_bootstrap
from hiercl.metrics.paired import PerItem, bootstrap_all


def outcomes(rng, n, first=0.6, second=0.6, shared=0.5):
    """Whether two models are right: some items are easy for both or hard for both, as in real test sets."""
    common, own = rng.random(n), rng.random((2, n))
    draws = np.where(rng.random(n) < shared, common, own)
    return draws[0] < first, draws[1] < second


def test_mcnemar_by_hand_and_against_scipy():
    # 3 items that only the first gets right, 1 that only the second does: p = 2 (1 + 4) / 16
    first = np.array([True] * 5 + [True] * 3 + [False] * 1 + [False] * 1)
    second = np.array([True] * 5 + [False] * 3 + [True] * 1 + [False] * 1)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (3, 1) and found.difference == pytest.approx(-0.2)
    assert found.p == pytest.approx(10 / 16)
    middle, error = -2 / 12, math.sqrt((4 + 1) / 12 - (2 / 12) ** 2) / math.sqrt(12)  # n + 2, b + c + 1
    assert found.low == pytest.approx(middle - 1.959964 * error) and found.high == pytest.approx(
        middle + 1.959964 * error
    )
    rng = np.random.default_rng(0)
    for n in (1, 2, 30, 1000):
        first, second = outcomes(rng, n, 0.6, 0.5)
        found = mcnemar(first, second)
        b, c = int((first & ~second).sum()), int((~first & second).sum())
        assert found.p == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1.0)
        assert found.difference == pytest.approx(second.mean() - first.mean())
        back = mcnemar(second, first)
        assert (back.low, back.high, back.p) == pytest.approx((-found.high, -found.low, found.p))
        assert -1 <= found.low <= found.difference <= found.high <= 1


def test_mcnemar_is_wrong_as_often_as_it_says():
    """Two equal models: at most 5 % have p < 0.05, because the test is exact. The interval holds the truth in 95 %."""
    rng = np.random.default_rng(1)
    found = [mcnemar(*outcomes(rng, 500)) for _ in range(2000)]
    assert 0.025 < np.mean([own.p < 0.05 for own in found]) < 0.055
    unequal = [mcnemar(*outcomes(rng, 500, 0.7, 0.6)) for _ in range(2000)]
    for runs, truth in ((found, 0.0), (unequal, -0.1)):
        assert 0.935 < np.mean([own.low <= truth <= own.high for own in runs]) < 0.965
    assert np.mean([own.p < 0.05 for own in unequal]) > 0.9, "and it finds a difference that there is"


def test_the_bootstrap_is_a_loop_over_resamples():
    rng = np.random.default_rng(2)
    first, second = (PerItem(rng.integers(0, 3, 40), rng.integers(0, 2, 40)) for _ in range(2))
    plain = PerItem(rng.random(40)), PerItem(rng.random(40))
    draws, ratios, means = np.random.default_rng(0), [], []
    for _ in range(300):
        index = draws.integers(40, size=40)
        parts = [(own.values[index] * own.weights[index]).sum() / own.weights[index].sum() for own in (first, second)]
        ratios.append(parts[1] - parts[0])
        means.append(plain[1].values[index].mean() - plain[0].values[index].mean())
    both = bootstrap_all([(first, second), plain], resamples=300)
    for found, expected in zip(both, (ratios, means), strict=True):
        assert [found.low, found.high] == pytest.approx(np.quantile(expected, [0.025, 0.975]).tolist())
        beyond = min(np.sum(np.array(expected) <= 0), np.sum(np.array(expected) >= 0))
        assert found.p == pytest.approx(min(1, 2 * (1 + beyond) / 301)) and found.only_first is None
    assert both[0].difference == pytest.approx(second.mean - first.mean)
    alone = paired_bootstrap(plain[0].values, plain[1].values, resamples=300)
    assert tuple(alone)[:4] == pytest.approx(tuple(both[1])[:4])


def test_the_bootstrap_is_wrong_as_often_as_it_says():
    rng, found = np.random.default_rng(3), []
    for _ in range(600):
        easy = rng.exponential(size=200)  # what both find easy or hard: the pairs share it
        found.append(paired_bootstrap(*(easy + rng.exponential(size=200) for _ in range(2)), resamples=400))
    assert 0.03 < np.mean([own.p < 0.05 for own in found]) < 0.075
    assert 0.925 < np.mean([own.low <= 0 <= own.high for own in found]) < 0.97


def test_pairing_is_what_makes_it_sharp():
    rng = np.random.default_rng(4)
    hard = rng.random(300)
    first, second = hard, hard + 0.02 + 0.05 * rng.standard_normal(300)
    together, apart = paired_bootstrap(first, second), paired_bootstrap(first, rng.permutation(second))
    assert together.p < 0.01 < 0.2 < apart.p and together.high - together.low < (apart.high - apart.low) / 4


def test_the_same_model_twice():
    values = np.random.default_rng(5).random(50)
    assert tuple(paired_bootstrap(values, values))[:4] == (0.0, 0.0, 0.0, 1.0)
    assert mcnemar(values < 0.5, values < 0.5)[0] == 0.0 and mcnemar(values < 0.5, values < 0.5).p == 1.0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([1, 0], [True, False]), "first is int64 .2.: pass True or False"),
        (([True], [True, False]), "first has 1 items and second 2"),
        (([], []), "pass True or False"),
        (([True], [True], 95.0), "level=95.0"),
    ],
)
def test_what_mcnemar_refuses(arguments, words, as_a_user):
    with pytest.raises(ValueError, match=words):
        mcnemar(*arguments)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([0.1, np.nan], [0.1, 0.2]), "first has a number that is not finite"),
        (([0.1], [0.1, 0.2]), "first has 1 items and second 2"),
        ((["a"], ["b"]), "pass one number for each item"),
        (([0.1], [0.2], 0.95, 10), "resamples=10"),
    ],
)
def test_what_the_bootstrap_refuses(arguments, words, as_a_user):
    with pytest.raises(ValueError, match=words):
        paired_bootstrap(*arguments)
