"""Exercises of notebook 08: clouds, mixing them, unequal classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("08 invariance")
def invariance(answer: Any) -> None:
    """A function from a cloud ``[points, 3]`` to one number that depends neither on the order of the points nor on a
    turn about z, but tells a tall cloud from a flat one."""
    theirs, rng = function(answer), np.random.default_rng(0)
    seen = []
    for _ in range(5):
        cloud = rng.uniform(-1, 1, (200, 3))
        tall, flat = cloud * [0.1, 0.1, 1.0], cloud * [1.0, 1.0, 0.1]
        for shape in (tall, flat):
            value = number(theirs(shape.copy()))
            if not close(number(theirs(rng.permutation(shape))), value, 1e-6):
                raise Wrong("with the points in another order it is another number.")
            turn = rng.uniform(0, 2 * math.pi)
            matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
            if not close(number(theirs(shape @ matrix.T)), value, 1e-6):
                raise Wrong(
                    "after a turn about the vertical it is another number: which coordinates does a turn change?"
                )
            seen.append(value)
    tall_values, flat_values = np.array(seen[::2]), np.array(seen[1::2])
    if tall_values.min() <= flat_values.max() and flat_values.min() <= tall_values.max():
        raise Wrong("it does not tell tall clouds from flat ones: their numbers overlap.")


@exercise("08 lambda")
def share(answer: Any) -> None:
    """Two clouds of 1,024 points are mixed with λ = 0.3 drawn, by whole points, never more than 0.3 of them the first
    one's. Which exact λ must the loss use?"""
    found = number(answer)
    if found in (307, 717):
        raise Wrong("that is a number of points; λ is their share.")
    if found == 0.3:
        raise Wrong("0.3 · 1,024 is no whole number of points.")
    if close(found, 1 - 307 / 1024, 1e-6):
        raise Wrong("that is the share of the second one's.")
    if not close(found, 307 / 1024, 1e-6):
        raise Wrong("how many whole points are the first one's? Write it as a fraction, or with six digits.")


@exercise("08 balanced")
def balanced(answer: Any) -> None:
    """A class has 10 test shapes, another 90. 5 of the 10 and all of the 90 are recognised. Accuracy and balanced
    accuracy in per cent?"""
    found = array(answer, (2,), "the answer").astype(float)
    if np.allclose(found, [0.95, 0.75]):
        raise Wrong("in per cent.")
    if np.allclose(found, [75, 95]):
        raise Wrong("which of the two counts every shape alike?")
    if not close(float(found[0]), 95):
        raise Wrong("the first: of all 100 shapes, how many are recognised?")
    if not close(float(found[1]), 75):
        raise Wrong("the second: the mean of the two classes' recalls.")
