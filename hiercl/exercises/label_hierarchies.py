"""Exercises of notebook 05: who is pulled at which level, weights of levels, the maximum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("05 pulled")
def pulled(answer: Any) -> None:
    """A function ``pulled(labels, level)``: who pulls whom at a level. ``labels [n, levels]`` has the class of every
    view at every level, coarse to fine; the result is a boolean matrix ``[n, n]``, anchors in rows."""
    theirs, rng = function(answer), np.random.default_rng(0)
    fine = rng.integers(6, size=14)
    for labels in (np.array([[0, 0], [0, 1], [1, 2], [0, 0]]), np.stack([fine // 4, fine // 2, fine], axis=1)):
        for level in range(labels.shape[1]):
            right = labels[:, None, level] == labels[None, :, level]
            np.fill_diagonal(right, False)
            found = array(theirs(labels.copy(), level), right.shape, "the matrix")
            if found.dtype != bool:
                raise Wrong(f"the entries should be True and False, and yours are {found.dtype}.")
            if found.diagonal().any():
                raise Wrong("some view pulls itself.")
            finest = labels[:, None, -1] == labels[None, :, -1]
            if (finest & right & ~found).any():
                raise Wrong(f"at level {level} some view does not pull one of its own finest class.")
            if (found & ~right).any():
                raise Wrong(f"at level {level} some view pulls one of another class at that level.")
            if (found != right).any():
                raise Wrong(f"at level {level} some view does not pull one of its class at that level: which column?")


@exercise("05 weight")
def weight(answer: Any) -> None:
    """Two levels, the weights of HMC, e^(1/l) with l = 1 the finest, divided by their sum. The weight of the coarse
    level?"""
    found, coarse, fine = number(answer), math.exp(1 / 2), math.e
    if close(found, fine / (coarse + fine), 1e-3):
        raise Wrong("that is the fine level's. Which of the two is l = 1?")
    if close(found, coarse, 1e-3) or close(found, fine, 1e-3):
        raise Wrong("the weights are divided by their sum.")
    if close(found, 1 / 3, 1e-3):
        raise Wrong("that is the share of 1 in 1 + 2; the weights are powers of e.")
    if close(found, 0.5, 1e-3):
        raise Wrong("that would be so with equal weights.")
    if not close(found, coarse / (coarse + fine), 1e-3):
        raise Wrong("write down e^(1/l) for l = 1 and for l = 2, and divide; three digits are enough.")


@exercise("05 maximum")
def maximum(answer: Any) -> None:
    """A function ``raised(losses)``: the losses of the levels after HCE's maximum (its batch form). ``losses
    [levels]`` is a numpy array, coarse to fine, and so is the result."""
    theirs = function(answer)
    for losses in ([1.0, 0.2, 2.0, 0.5, 1.5], [1.0, 2.0, 0.5], [2.0, 3.0], [3.0, 2.0]):
        given = np.array(losses)
        right = np.maximum.accumulate(given[::-1])[::-1]
        found = array(theirs(given.copy()), right.shape, "the losses after the maximum").astype(float)
        if np.allclose(found, right):
            continue
        if np.allclose(found, np.maximum.accumulate(given)):
            raise Wrong("that raises the finer levels; a coarser level's loss may not lie below a finer one's.")
        if np.allclose(found, given):
            raise Wrong("nothing was raised.")
        if np.allclose(found, given.max()):
            raise Wrong("the finest level has no finer one: its loss stays as it is.")
        if np.allclose(found, np.maximum(given, np.append(given[1:], -np.inf))):
            raise Wrong("all finer levels count, not the next one alone.")
        if (found < given - 1e-9).any():
            raise Wrong("a maximum never makes a loss smaller.")
        raise Wrong(f"of {losses} the level {int(np.argmin(np.isclose(found, right)))} is not right.")
