"""Exercises of notebook 06: masked embeddings, Fisher ratios, what a random split shares with another."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("06 masked")
def masked(answer: Any) -> None:
    """A function ``masked(features, mask)``: the unit embeddings ``[n, d]`` that a level sees, from the features
    ``[n, d]`` of n pictures, one a row, and the level's mask ``[d]`` of zeros and ones."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n, d in ((5, 4), (4, 12), (1, 6)):
        v, mask = rng.normal(size=(n, d)), (np.arange(d) % 2).astype(float)
        found = array(theirs(v.copy(), mask.copy()), (n, d), "the embedding").astype(float)
        seen = v * mask
        right = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        if np.allclose(found, right):
            continue
        if np.abs(found[:, mask == 0]).max() > 1e-9:
            raise Wrong("a feature whose mask is 0 still takes part.")
        if np.allclose(found, seen):
            raise Wrong("its rows do not have length 1.")
        if np.allclose(found, seen / np.linalg.norm(v, axis=1, keepdims=True)):
            raise Wrong("its rows do not have length 1: what is switched off must not count in the length either.")
        lengths = np.linalg.norm(found, axis=1)
        if not np.allclose(lengths, 1):
            raise Wrong("its rows do not have length 1: over which axis is the length of one picture?")
        raise Wrong("the lengths are right, the directions are not.")


@exercise("06 fisher")
def fisher(answer: Any) -> None:
    """A function ``fisher(values, classes)``: the Fisher ratio of one feature at the coarsest level, from its values
    ``[n]`` and the classes ``[n]`` of the pictures. Every class has the same weight: the mean over classes of the
    squared distance of a class's mean from the mean of these means, over the mean over classes of the variance within
    one (divided by its number of pictures minus 1)."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for sizes in ((3, 20), (2, 6, 40), (5, 4, 3, 60)):
        classes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        values = rng.normal(size=len(classes)) + 2.0 * rng.normal(size=len(sizes))[classes]
        parts = [values[classes == c] for c in range(len(sizes))]
        means = np.array([part.mean() for part in parts])
        between, within = means.var(), np.mean([part.var(ddof=1) for part in parts])
        right, found = between / within, number(theirs(values.copy(), classes.copy()))
        if close(found, right):
            continue
        weighted = np.average((means - values.mean()) ** 2, weights=sizes)
        whole = ((values - means[classes]) ** 2).mean()
        if close(found, within / between):
            raise Wrong("upside down: it is large when classes lie apart.")
        if any(close(found, above / below) for above in (weighted, between) for below in (within, whole)):
            if not any(close(found, weighted / below) for below in (within, whole)):
                raise Wrong("below the line, large classes count for more than small ones.")
            raise Wrong("above the line, large classes count for more than small ones.")
        if close(found, between / values.var()) or close(found, between / values.var(ddof=1)):
            raise Wrong("below the line stands the variance within the classes, not that of all pictures.")
        if close(found, between / np.mean([part.var() for part in parts])):
            raise Wrong("the variance within a class is divided by its number of pictures minus 1.")
        if close(found, means.var(ddof=1) / within):
            raise Wrong("above the line stands a plain mean over classes, divided by their number.")
        if close(found, float(np.sqrt(right))):
            raise Wrong("a ratio of variances, not of standard deviations.")
        raise Wrong(f"for classes of {', '.join(map(str, sizes))} pictures it should be {right:.3f}.")


@exercise("06 chance")
def chance(answer: Any) -> None:
    """120 features are split at random into three levels of equal size, twice. Which share of the features has the same
    level in both splits, on average?"""
    share = number(answer)
    if close(share, 40):
        raise Wrong("that is a number of features; their share is asked for.")
    if share > 1:
        raise Wrong("a share lies between 0 and 1; per cent would be a hundred times that.")
    if close(share, 0.5):
        raise Wrong("that would be so with two levels. Here there are three.")
    if close(share, 1 / 9):
        raise Wrong("that is how often both splits give a feature to one level that was named before.")
    if close(share, 2 / 3):
        raise Wrong("that is the share of those whose level differs.")
    if not close(share, 1 / 3, 0.005):
        raise Wrong("take one feature. Whatever its level in the first split, how likely is that one in the second?")
