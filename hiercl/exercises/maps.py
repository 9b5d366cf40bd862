"""Exercises of notebook 07: UMAP's similarities, neighbours kept by chance, one map turned onto another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("07 union")
def union(answer: Any) -> None:
    """In UMAP, item i is tied to j with 0.8 and j to i with 0.5. What is p, the strength of the tie of the pair?"""
    found = number(answer)
    if close(found, 0.4):
        raise Wrong("that is how likely both ties are; one of them is enough.")
    if close(found, 1.3):
        raise Wrong("as a probability it cannot be above 1: where both ties are there, it must not count twice.")
    if close(found, 0.65):
        raise Wrong("that is their mean; one tie cannot be weakened by another.")
    if close(found, 0.1):
        raise Wrong("that is how likely it is that there is neither.")
    if not close(found, 0.9):
        raise Wrong("put both numbers into the formula of p above.")


@exercise("07 chance")
def chance(answer: Any) -> None:
    """The places of 1,001 items on a map are drawn at random. Which share of an item's 10 nearest in the features is
    among its 10 nearest on the map, on average?"""
    share = number(answer)
    if close(share, 0.1) and share > 0.05:
        raise Wrong("that many of the 10 nearest are expected, as a number. Their share is asked for.")
    if share >= 1:
        raise Wrong("a share lies between 0 and 1; per cent would be a hundred times that.")
    if math.isclose(share, 1e-4, rel_tol=0.02):
        raise Wrong("that is the share of all pairs that are near in both; of the 10 nearest it is more.")
    if not math.isclose(share, 0.01, rel_tol=0.005):
        raise Wrong("one of the 10: how likely is it among 10 items that were drawn from the 1,000 others?")


@exercise("07 turned")
def turned(answer: Any) -> None:
    """A function ``turned(a, b)``: the map b, moved and turned (and mirrored, where that helps), but not stretched, so
    that the mean squared distance of its items from where they are on the map a is as small as possible. Maps are
    ``[n, 2]``."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for mirror in (1.0, -1.0, 1.0):
        angle, shift = rng.uniform(0.5, 2.5), rng.normal(size=2) * 5
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * [1.0, mirror]
        a = rng.normal(size=(40, 2)) * [3.0, 1.0] + 4.0
        b = 1.5 * (a + 0.1 * rng.normal(size=a.shape)) @ turn + shift
        right = _turned(a, b)
        found = array(theirs(a.copy(), b.copy()), a.shape, "the map").astype(float)
        if not np.isfinite(found).all():
            raise Wrong("its places are not all finite.")
        if np.allclose(found, right, atol=1e-6):
            continue
        if np.allclose(found, b):
            raise Wrong("that is b as it was.")
        if np.allclose(found - found.mean(axis=0), right - right.mean(axis=0), atol=1e-6):
            raise Wrong("it is turned as it should be, but its centre is not that of a.")
        centred, own = found - found.mean(axis=0), b - b.mean(axis=0)
        if not np.allclose(centred @ centred.T, own @ own.T, rtol=1e-4, atol=1e-4):
            raise Wrong("distances between its items are no longer those of b: it was stretched.")
        if mirror < 0 and np.allclose(centred, _turned(a, b, mirrored=False) - a.mean(axis=0), atol=1e-6):
            raise Wrong("one of the maps is the other's mirror image, and yours is turned only.")
        raise Wrong(
            f"its items are {_gap(found, a):.2f} away from those of a; {_gap(right, a):.2f} is possible. Is it turned "
            "about its centre, and the right way round?"
        )


def _turned(a: np.ndarray, b: np.ndarray, mirrored: bool = True) -> np.ndarray:
    """Orthogonal Procrustes; without mirror images if so asked."""
    u, _, vt = np.linalg.svd((b - b.mean(axis=0)).T @ (a - a.mean(axis=0)))
    keep = np.ones(2) if mirrored else np.array([1.0, np.linalg.det(u @ vt)])
    return (b - b.mean(axis=0)) @ (u * keep) @ vt + a.mean(axis=0)


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).sum(axis=1).mean()))
