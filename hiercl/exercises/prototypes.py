"""Exercises of notebook 02: walking up a tree, concentration, purity against adjusted mutual information."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("02 walk up")
def walk_up(answer: Any) -> None:
    """A function ``coarsest(nearest, edges)``. ``nearest [items]``: the finest prototype of every item. ``edges``: a
    list of arrays, the finest level first, that give for every prototype its parent one level up. Which of the coarsest
    prototypes is every item under?"""
    theirs, rng = function(answer), np.random.default_rng(0)
    for sizes in ((12, 4), (30, 10, 5), (20,), (24, 16, 8, 3)):
        nearest = rng.integers(sizes[0], size=50)
        edges = [rng.integers(above, size=below) for below, above in pairwise(sizes)]
        right = nearest
        for edge in edges:
            right = edge[right]
        found = array(theirs(nearest.copy(), [edge.copy() for edge in edges]), (50,), "the result")
        if np.array_equal(found, right):
            continue
        if not edges:
            raise Wrong("in a tree of one level there is no edge to walk: who is the coarsest prototype then?")
        if np.array_equal(found, nearest):
            raise Wrong("these are the finest prototypes still.")
        if np.array_equal(found, edges[0][nearest]):
            raise Wrong(f"that is one level up, and this tree has {len(sizes)} levels.")
        raise Wrong("after one step, the number of whom do you look up in the next edge?")


@exercise("02 concentration")
def concentration(answer: Any) -> None:
    """A function ``concentration(members, centre)``: φ of one cluster before it is clipped and scaled, from its members
    ``[n, dim]`` and its centre ``[dim]``."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n, dim in ((2, 3), (40, 2), (500, 8)):
        members, centre = rng.normal(size=(n, dim)), rng.normal(size=dim)
        distance = np.linalg.norm(members - centre, axis=1)
        right = distance.mean() / math.log(n + 10)
        found = number(theirs(members.copy(), centre.copy()))
        if close(found, right):
            continue
        if close(found, distance.mean()):
            raise Wrong("that is the mean distance. What does the number of members do?")
        if close(found, distance.sum() / math.log(n + 10)):
            raise Wrong("the sum of the distances grows with every member; the mean is meant.")
        if close(found, (distance**2).mean() / math.log(n + 10)):
            raise Wrong("those are squared distances.")
        if close(found, distance.mean() / math.log10(n + 10)):
            raise Wrong("the logarithm is the natural one.")
        if close(found, distance.mean() / math.log(n)):
            raise Wrong("for small clusters it would be too large: look at what stands in the logarithm.")
        raise Wrong(f"for {n} members it should be {'more' if found < right else 'less'}.")


@exercise("02 alone")
def alone(answer: Any) -> None:
    """As many prototypes as items, and every item is alone in its own. What are the purity, and the AMI with classes
    that have several items each? Both as numbers, in a tuple."""
    found = array(answer, (2,), "the answer").astype(float)
    if not np.isfinite(found).all():
        raise Wrong("two finite numbers are asked for.")
    if not close(float(found[0]), 1, 1e-3):
        if close(float(found[0]), 100):
            raise Wrong("as a share, not in per cent.")
        raise Wrong("the first: which share of one item has the most frequent class of that item?")
    if close(float(found[1]), 1, 1e-3):
        raise Wrong("the second: how much of that agreement would any other labels have had as well?")
    if not close(float(found[1]), 0, 1e-3):
        raise Wrong("the second: shuffle the labels in your mind. Does the agreement change? What is subtracted?")
