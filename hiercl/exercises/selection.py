"""Exercises of notebook 03: keep probabilities, how many are removed, a rule of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hiercl.exercises._exercise import Wrong, close, exercise, function, number


@exercise("03 keep")
def keep(answer: Any) -> None:
    """A function ``keep(similarity, concentration, own)``: the probability with which HCSC keeps one queue item as a
    negative. ``similarity [prototypes]``: its cosines with the prototypes of a level; ``concentration [prototypes]``:
    their φ; ``own``: the number of the anchor's prototype."""
    theirs, rng = function(answer), np.random.default_rng(0)
    for size in (4, 7, 20):
        similarity, phi = rng.uniform(-0.2, 0.9, size), rng.uniform(0.05, 0.3, size)
        own = int(np.argsort(similarity / phi)[-2])
        found = number(theirs(similarity.copy(), phi.copy(), own))
        posterior = _softmax(similarity / phi)
        right = 1 - posterior[own]
        if close(found, right):
            continue
        if close(found, posterior[own]):
            raise Wrong("that is the probability with which it is removed.")
        if close(found, 1 - posterior.max()):
            raise Wrong("that asks how sure the item is of its own prototype; asked for is the anchor's.")
        if close(found, 1 - _softmax(similarity)[own]):
            raise Wrong("the concentrations play no part in it.")
        if close(found, 1 - _softmax(similarity * phi)[own]):
            raise Wrong("a small φ belongs to a tight prototype: does it make the posterior sharper or flatter?")
        if close(found, 1 - _softmax(similarity / phi[own])[own]):
            raise Wrong("every prototype has a φ of its own, in the denominator as well.")
        if not 0 <= found <= 1:
            raise Wrong(f"a probability lies between 0 and 1, and this is {found:.3g}.")
        raise Wrong(f"for {size} prototypes it should be {'more' if found < right else 'less'}.")


@exercise("03 removed")
def removed(answer: Any) -> None:
    """A level of 20 prototypes, each with equally many of the anchors. Which share of the anchors removes a given queue
    item, on average over draws?"""
    found = number(answer)
    if found > 1:
        raise Wrong("a share lies between 0 and 1.")
    if close(found, 0.95):
        raise Wrong("that is the share that keeps it.")
    if close(found, 0.5):
        raise Wrong("that would be so with two prototypes.")
    if not close(found, 1 / 20, 0.005):
        raise Wrong("sum its posterior over all 20 prototypes. How many of the anchors has each of them?")


@exercise("03 rule")
def rule(answer: Any) -> None:
    """A function from a tensor of posteriors to keep probabilities of the same shape: whoever has the posterior 0 is
    kept for certain, whoever has more than one half is removed for certain, and a higher posterior never means a higher
    keep probability."""
    theirs = function(answer)
    posterior = torch.linspace(0, 1, 201).reshape(3, 67)
    found = theirs(posterior.clone())
    if found is ... or found is None:
        raise Wrong("your function gives no answer yet: write what it returns.")
    if not isinstance(found, torch.Tensor):
        raise Wrong(f"it should give a tensor, and it gives a {type(found).__name__}.")
    if found.shape != posterior.shape:
        raise Wrong(f"for posteriors {list(posterior.shape)} it gives {list(found.shape)}: one number for each.")
    p, kept = posterior.flatten(), found.flatten().to(posterior.dtype)
    if not bool(((kept >= 0) & (kept <= 1)).all()):
        raise Wrong(f"probabilities lie between 0 and 1; yours go from {float(kept.min()):.3g} to {kept.max():.3g}.")
    if kept[0] < 0.999:
        raise Wrong(f"at the posterior 0 it keeps with {float(kept[0]):.3g} only.")
    if (kept[p > 0.5] > 1e-3).any():
        raise Wrong(f"at the posterior {float(p[(p > 0.5) & (kept > 1e-3)][0]):.3g} it still keeps.")
    if (kept.diff() > 1e-6).any():
        raise Wrong("somewhere a higher posterior has the higher keep probability.")


def _softmax(values: np.ndarray) -> np.ndarray:
    exponential = np.exp(values - values.max())
    return exponential / exponential.sum()
