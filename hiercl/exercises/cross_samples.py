"""Exercises of notebook 04: neighbours, mixtures, losses with two positives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hiercl.exercises._exercise import Wrong, close, exercise, function, number


@exercise("04 purity")
def purity(answer: Any) -> None:
    """A function ``purity(neighbours, labels)``: of all neighbours, the share that is of its item's class.
    ``neighbours [n, k]`` are numbers of items, ``labels [n]`` the class of every item; both are numpy arrays."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n, k, classes in ((30, 4, 3), (6, 1, 2), (50, 5, 10)):
        labels, neighbours = rng.integers(classes, size=n), rng.integers(n, size=(n, k))
        same = labels[neighbours] == labels[:, None]
        right, found = float(same.mean()), number(theirs(neighbours.copy(), labels.copy()))
        if close(found, right):
            continue
        if close(found, 100 * right):
            raise Wrong("a share lies between 0 and 1; that is in per cent.")
        if close(found, same.sum()):
            raise Wrong("that is how many agree; of how many?")
        if close(found, same.any(axis=1).mean()):
            raise Wrong("that is the share of the items with at least one such neighbour; every neighbour counts.")
        if close(found, same[:, 0].mean()):
            raise Wrong("that looks at the first neighbour alone.")
        if close(found, 1 - right):
            raise Wrong("that is the share that does not agree.")
        raise Wrong(
            f"for {n} items with {k} neighbours each it should be {'more' if found < right else 'less'}: whose label "
            "is compared with whose?"
        )


@exercise("04 lambda")
def share(answer: Any) -> None:
    """Pictures of 24 × 24 pixels; λ = 0.5 drawn. The box has sides of 16 pixels and its centre at row 12, column 22:
    it is clipped at the right border. Which exact λ must the loss use?"""
    found = number(answer)
    if close(found, 0.5):
        raise Wrong("that is the λ that was drawn. How many pixels of the anchor are left?")
    if found > 1:
        raise Wrong("λ is a share, between 0 and 1.")
    if close(found, 1 - 16 * 16 / 24**2):
        raise Wrong("that would be so if the whole box were inside the picture: which columns does it cover?")
    if close(found, 16 * 10 / 24**2):
        raise Wrong("that is the share of the neighbour's pixels; λ is the anchor's.")
    if not close(found, 1 - 16 * 10 / 24**2, 1e-3):
        raise Wrong("count the pixels that the clipped box covers: its rows times its columns, of 24 · 24.")


@exercise("04 mixed")
def mixed_loss(answer: Any) -> None:
    """A function ``mixed_loss(anchor, neighbour, queue, share, temperature)``: the loss of one mixed query, in nats,
    from its cosine similarities with the anchor's key, with the neighbour's key (numbers) and with the queue ``[n]``;
    ``share`` is λ, the anchor's share of the mixture."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for n, lam, temperature in ((20, 0.3, 0.2), (3, 0.75, 1.0), (60, 0.9, 0.1)):
        anchor, neighbour, queue = rng.uniform(0, 1), rng.uniform(-1, 0), rng.uniform(-1, 1, n)
        a, b = anchor / temperature, neighbour / temperature
        pushed, unscaled = np.exp(queue / temperature).sum(), np.exp(queue).sum()

        def loss(pulled: float, rest: float) -> float:
            return math.log(math.exp(pulled) + rest) - pulled

        right = lam * loss(a, pushed) + (1 - lam) * loss(b, pushed)
        found = number(theirs(anchor, neighbour, queue.copy(), lam, temperature))
        if close(found, right):
            continue
        if close(found, (1 - lam) * loss(a, pushed) + lam * loss(b, pushed)):
            raise Wrong("λ is the anchor's share: which of the two keys gets it?")
        both = math.exp(a) + math.exp(b) + pushed
        if close(found, lam * (math.log(both) - a) + (1 - lam) * (math.log(both) - b)):
            raise Wrong("in your denominator the two positives compete; each should have one of its own.")
        if close(found, 0.5 * (loss(a, pushed) + loss(b, pushed))):
            raise Wrong("the two keys do not pull equally: where is λ?")
        alone = lam * (math.log(pushed) - a) + (1 - lam) * (math.log(pushed) - b)
        if close(found, alone):
            raise Wrong("each denominator sums over the queue and over its own positive.")
        if temperature != 1 and close(found, lam * loss(anchor, unscaled) + (1 - lam) * loss(neighbour, unscaled)):
            raise Wrong("the temperature plays no part in it.")
        if close(found, -right):
            raise Wrong("the sign: a loss is small when the positives are the most similar.")
        raise Wrong(
            f"for a queue of {n}, λ = {lam:g} and temperature {temperature:g} it should be "
            f"{'more' if found < right else 'less'}."
        )
