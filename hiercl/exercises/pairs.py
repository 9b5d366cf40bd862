"""Exercises of notebook 01: pairs, temperature, false negatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, array, close, exercise, function, number


@exercise("01 false negatives")
def false_negatives(answer: Any) -> None:
    """A batch holds B pictures of C classes, all equally frequent, two views of each. An anchor pushes every view but
    its own two. Which share of the pushed is of its class, on average, for a very large batch and C = 20?"""
    share = number(answer)
    if share > 1:
        raise Wrong("a share lies between 0 and 1; per cent would be a hundred times that.")
    if close(share, 0.01):
        raise Wrong("that would be so with 100 classes. Here there are 20.")
    if close(share, 0.95):
        raise Wrong("that is the share of the pushed that is rightly pushed.")
    if not close(share, 1 / 20, 0.005):
        raise Wrong("think of one pushed view drawn at random: how likely is it to be of the anchor's class?")


@exercise("01 loss")
def loss(answer: Any) -> None:
    """A function ``loss(similarities, positive, temperature)``: InfoNCE of one anchor, in nats, from the cosine
    similarities ``[n]`` of its candidates, of which ``positive`` is the number of the pulled one."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n, temperature in ((2, 1.0), (5, 0.5), (40, 0.07)):
        similarities, positive = rng.uniform(-1, 1, n), int(rng.integers(n))
        logits = similarities / temperature
        right = math.log(np.exp(logits).sum()) - logits[positive]
        found = number(theirs(similarities.copy(), positive, temperature))
        if close(found, -right):
            raise Wrong("the sign: a loss is small when the positive is the most similar.")
        unscaled = math.log(np.exp(similarities).sum()) - similarities[positive]
        if temperature != 1 and close(found, unscaled):
            raise Wrong("the temperature plays no part in it.")
        others = np.delete(logits, positive)
        if close(found, math.log(np.exp(others).sum()) - logits[positive]):
            raise Wrong("the denominator sums over all candidates: is the positive among them?")
        if close(found, right / math.log(2)):
            raise Wrong("that is in bits; nats are asked for.")
        if not close(found, right):
            raise Wrong(
                f"for {n} candidates at temperature {temperature:g} it should be {'more' if found < right else 'less'}."
            )


@exercise("01 pushed")
def pushed(answer: Any) -> None:
    """A function ``pushed(items)``: who pushes whom in SimCLR. ``items [n]`` says of which picture each view is; the
    result is a boolean matrix ``[n, n]``, anchors in rows."""
    theirs = function(answer)
    for items in (np.array([0, 1, 2, 0, 1, 2]), np.array([3, 3, 1, 1]), np.array([0, 1, 2, 3, 3, 2, 1, 0])):
        right = items[:, None] != items[None, :]
        found = array(theirs(items.copy()), right.shape, "the matrix")
        if found.dtype != bool:
            raise Wrong(f"the entries should be True and False, and yours are {found.dtype}.")
        if found.diagonal().any():
            raise Wrong("some view pushes itself.")
        if (found & ~right).any():
            raise Wrong("some view pushes the other view of its own picture, which should be pulled.")
        if (found != right).any():
            raise Wrong("some view does not push one that is of another picture.")
