"""Exercises of notebook 09: paired differences, verdicts, the cost of a study."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, explain, function, number


@exercise("09 paired")
def paired(answer: Any) -> None:
    """A function ``paired(first, second)`` of two variants' numbers over the same seeds: the mean of the differences,
    second less first, and its standard error."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n in (2, 5, 12):
        first = rng.normal(50, 3, n)
        second = first + rng.normal(1, 0.5, n)
        difference = second - first
        right = difference.mean(), difference.std(ddof=1) / np.sqrt(n)
        found = array(theirs(first.copy(), second.copy()), (2,), "the answer").astype(float).tolist()
        if close(found[0], -right[0]):
            raise Wrong("the sign: second less first.")
        if not close(found[0], right[0]):
            raise Wrong("the first number should be the mean of the differences.")
        if close(found[1], right[1] * np.sqrt(n)):
            raise Wrong("that is the spread of single seeds; the mean of n seeds scatters less.")
        if close(found[1], difference.std() / np.sqrt(n)):
            raise Wrong("the standard deviation of a sample divides by n − 1.")
        if close(found[1], float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / n))):
            raise Wrong("that is for unpaired runs: it does not use that the seeds are the same.")
        if not close(found[1], right[1]):
            raise Wrong("the second number should be the standard error of that mean.")


@exercise("09 verdicts")
def verdicts(answer: Any) -> None:
    """Two intervals for "new less old" of a number where lower is better: [−2.1, −0.3] and [−2.1, +0.3]. Each:
    better, worse or undecided?"""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("two words are asked for, in a tuple: ('...', '...').")
    if set(answer) - {"better", "worse", "undecided"}:
        raise Wrong("each word is one of 'better', 'worse', 'undecided'.")
    if answer[1] != "undecided":
        raise Wrong("the second interval: is 0 in it?")
    if answer[0] == "undecided":
        raise Wrong("the first interval: on which sides of 0 do its ends lie?")
    if answer[0] != "better":
        raise Wrong("the first interval: the new number is lower. Is that good here?")


@exercise("09 minutes")
def minutes(answer: Any) -> None:
    """3 temperatures, 4 queues, 5 seeds each, 2 minutes a run, two runs at a time: how many minutes?"""
    found = number(answer)
    hints = {
        120: "two runs go at a time.",
        24: "every point of the grid needs its seeds.",
        12: "every point of the grid needs its seeds.",
        70: "a grid has every temperature with every queue.",
        35: "a grid has every temperature with every queue.",
        1: "in minutes.",
    }
    explain(found, hints)
    if found != 60:
        raise Wrong("how many runs are there? Each takes two minutes, and two go at a time.")
