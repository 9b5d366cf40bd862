"""Exercises of the notebooks 09 (ModelNet40), 10 (ablation lab), 11 (your own data) and 12 (scaling up)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, any_other, as_number, exercise, nearly_equal, result_of, solution
from hiercl.hierarchy import Hierarchy

rng = np.random.default_rng(0)

# ---- 09: ModelNet40 ----


@exercise("09 invariance")
def invariance(answer: Any) -> None:
    """A function from a cloud ``[points, 3]`` to one number. The number depends neither on the order of the points nor
    on a turn about z, but tells a tall cloud from a flat one."""
    rng = np.random.default_rng(0)
    values = {"tall": [], "flat": []}
    for _ in range(5):
        cloud, turn = rng.uniform(-1, 1, (200, 3)), rng.uniform(0, 2 * math.pi)
        matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
        for kind, shape in (("tall", cloud * [0.1, 0.1, 1.0]), ("flat", cloud * [1.0, 1.0, 0.1])):
            value = as_number(result_of(answer, shape))
            if not nearly_equal(as_number(result_of(answer, rng.permutation(shape))), value):
                raise Wrong("the number changes when the points are in another order.")
            if not nearly_equal(as_number(result_of(answer, shape @ matrix.T)), value):
                raise Wrong("the number changes after a turn about the vertical: which coordinates does a turn change?")
            values[kind].append(value)
    if min(values["tall"]) <= max(values["flat"]) and min(values["flat"]) <= max(values["tall"]):
        raise Wrong("it does not tell tall clouds from flat ones: their numbers overlap.")


@solution("09 lambda", tolerance=5e-5)
def share_of_points():
    """Two clouds of 1,024 points are mixed, and λ = 0.3 was drawn. The first cloud gives a whole number of points, at
    most 0.3 of all. Which exact λ must the loss use?"""
    return 307 / 1024, {
        "that is a number of points. λ is their share.": [307, 717],
        "0.3 · 1,024 is not a whole number of points.": 0.3,
        "that is the second cloud's share.": 717 / 1024,
        "how many whole points are of the first cloud? Give a fraction, or four digits.": any_other,
    }


@solution("09 balanced")
def balanced():
    """One class has 10 test shapes, another has 90. A classifier is right for 5 of the 10 and for all of the 90. What
    are accuracy and balanced accuracy, in per cent? Give two numbers in a tuple."""
    return (95, 75), {
        "give per cent.": (0.95, 0.75),
        "which of the two gives every shape the same weight?": (75, 95),
        "the first: of all 100 shapes, for how many is it right?": lambda found: not nearly_equal(found[0], 95),
        "the second: take the mean of the two classes' recalls.": any_other,
    }


# ---- 10: ablation lab ----


def _two_variants(n: int) -> tuple[np.ndarray, np.ndarray]:
    first = rng.normal(50, 3, n)
    return first, first + rng.normal(1, 0.5, n)


@solution("10 paired", cases=map(_two_variants, (2, 5, 12)))
def paired(first: np.ndarray, second: np.ndarray):
    """A function ``paired(first, second)`` of two variants' numbers over the same seeds: the mean of the differences,
    second minus first, and its standard error."""
    difference, root = second - first, math.sqrt(len(first))
    mean, deviation = difference.mean(), difference.std(ddof=1)
    unpaired = math.hypot(first.std(ddof=1), second.std(ddof=1))
    return (mean, deviation / root), {
        "the sign: take second minus first.": lambda found: nearly_equal(found[0], -mean),
        "the first number should be the mean of the differences.": lambda found: not nearly_equal(found[0], mean),
        "that is the spread of single seeds. The mean of n seeds varies less.": (mean, deviation),
        "the standard deviation of a sample divides by n − 1.": (mean, difference.std() / root),
        "that is for unpaired runs: it does not use that the seeds are the same.": (mean, unpaired / root),
        "the second number should be the standard error of that mean.": any_other,
    }


@solution("10 verdicts")
def verdicts():
    """There are two intervals for "new minus old" of a number where lower is better: [−2.1, −0.3] and [−2.1, +0.3]. Is
    the new one better, worse or undecided? Give two words in a tuple, one for each interval."""
    words = {"better", "worse", "undecided"}
    return ("better", "undecided"), {
        "each word is one of 'better', 'worse', 'undecided'.": lambda found: not set(found) <= words,
        "the second interval: does it contain 0?": lambda found: found[1] != "undecided",
        "the first interval: on which sides of 0 are its ends?": lambda found: found[0] == "undecided",
        "the first interval: the new number is lower. Is that good here?": lambda found: found[0] == "worse",
    }


@solution("10 minutes", tolerance=0)
def minutes():
    """A grid has 3 temperatures and 4 queues, with 5 seeds each. A run takes 2 minutes, and two run at a time. How many
    minutes does it take?"""
    return 60, {
        "two runs go at a time.": 120,
        "every point of the grid needs its seeds.": [24, 12],
        "a grid combines every temperature with every queue.": [70, 35],
        "give minutes.": 1,
        "how many runs are there? Each takes two minutes, and two run at a time.": any_other,
    }


# ---- 11: your own data ----


@exercise("11 hierarchy")
def hierarchy(answer: Any) -> None:
    """The hierarchy in which cat and dog are under pet, pet and wolf under animal, and car under vehicle."""
    right = {"cat": ["animal", "pet", "cat"], "dog": ["animal", "pet", "dog"], "wolf": ["animal", "wolf"]}
    right |= {"car": ["vehicle", "car"]}
    if isinstance(answer, tuple):
        raise Wrong("from_labels and from_paths return two things: the hierarchy is the first.")
    if not isinstance(answer, Hierarchy):
        raise Wrong(f"give a hiercl.Hierarchy. Yours is a {type(answer).__name__}.")
    paths = {path[-1]: list(dict.fromkeys(path)) for path in map(answer.path, range(answer.n_leaves))}
    if missing := sorted(set(right) - set(paths)):
        raise Wrong(f"there is no leaf {', '.join(missing)}.")
    if extra := sorted(set(paths) - set(right)):
        raise Wrong(f"there should be no leaf {', '.join(extra)}.")
    for leaf, path in right.items():
        if paths[leaf] != path:
            raise Wrong(f"{leaf} has the path {' > '.join(paths[leaf])}: what lies above it?")


@solution("11 views")
def views():
    """Which setting of the views turns some letters into others: crop, flip, jitter_probability or blur?"""
    return "flip", {
        "a part of a letter is harder to read, but crop = 0 would leave no picture.": "crop",
        "colour does not tell which letter it is: a change of colour does no harm.": "jitter_probability",
        "a blurred letter is the same letter.": "blur",
    }


@solution("11 rare")
def rare():
    """Which column counts a rare class as much as a frequent one: linear, linear_balanced, flat or ami?"""
    return "linear_balanced", {
        "it gives every picture the same weight: the class of 900 is nine tenths of it.": "linear",
        "it reads the leaf's prediction at this level, and gives every picture the same weight.": "flat",
        "it compares clusters with classes. It does not say how well a class is recognised.": "ami",
    }


# ---- 12: scaling up ----


@solution("12 memory")
def memory():
    """How many MiB does one float32 matrix of similarities take for SimCLR at batch 4,096? Both views are anchors and
    candidates."""
    return 256, {
        "each picture has two views.": 64,
        "both views are anchors, and both are candidates.": 128,
        "give MiB: 1 MiB is 2^20 bytes.": 2**28,
        "1 MiB is 2^20 bytes, not a million.": 256 * 1.048576,
        "a float32 has four bytes.": 512,
        "how many rows, how many columns, and how many bytes an entry?": any_other,
    }


@solution("12 rate")
def rate():
    """0.003 was right for a batch of 256. Which rate does the square-root rule give for four GPUs with 256 each?"""
    return 2 * 0.003, {
        "that is the linear rule, which is for SGD. Use the square-root rule.": 0.012,
        "a larger batch has a more certain gradient: are its steps longer or shorter?": [0.003 / 4, 0.003 / 2],
        "the batch of all four GPUs together is not 256.": 0.003,
        "by how much does the whole batch grow?": any_other,
    }


@solution("12 cluster", tolerance=0)
def cluster():
    """There are 60 runs of 10 minutes and 8 workers. How many minutes does it take at least?"""
    return 80, {
        "workers do not share a run: at the end some of them have nothing to do.": 75,
        "eight runs go at a time.": [600, 480],
        "seven rounds of eight are fewer than 60 runs.": 70,
        "how many rounds of eight runs are needed?": any_other,
    }
