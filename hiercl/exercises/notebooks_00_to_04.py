"""Exercises of the notebooks 00 (quickstart), 01 (build it), 02 (pairs), 03 (prototypes) and 04 (pair selection)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp, softmax

from hiercl.exercises._exercise import NOT_A_SHARE, Wrong, any_other, exercise, nearly_equal, result_of, solution

rng = np.random.default_rng(0)

# ---- 00: quickstart ----


@solution("00 chance")
def chance():
    """A queue holds 3,600 random pictures of 12 groups of equal size. How many are false negatives of an anchor?"""
    return 3600 / 12, {
        "that is the number of groups.": 12,
        "that is the share. How many of the 3,600 pictures is it?": 1 / 12,
        "that is the share in per cent. How many of the 3,600 pictures is it?": 100 / 12,
        "these pictures are of other groups, so it is right to push them.": 3300,
        "these are all pushed pictures. Which of them are of the anchor's own group?": 3600,
        "MoCo sees no labels. Its queue also holds pictures of the anchor's own group.": 0,
        "which share of a random sample is of one of 12 equal groups?": any_other,
    }


@solution("00 removed")
def removed():
    """What does HCSC do with a candidate that selection has removed: "pulled", "pushed" or "neither"?"""
    return "neither", {
        "selection removes a candidate so that it is not pushed.": "pushed",
        "HCSC is not sure enough for that: a removed candidate is no positive.": "pulled",
    }


# ---- 01: build it yourself ----


@solution("01 equal", tolerance=0.005)
def equal():
    """All embeddings are equal. A batch has 256 pictures with two views each. What is the loss InfoNCE, in nats?"""
    return math.log(511), {
        "the loss is 0 only if the other view is far more similar than all others. Here all are equal.": 0,
        "each picture has two views: how many candidates has an anchor?": [math.log(255), math.log(256)],
        "that is in bits. Give it in nats, with the natural logarithm.": math.log2(511),
        "that is the number of candidates. What is its logarithm?": [511, 512],
        "that is the probability of a right guess. The loss is its negative logarithm.": 1 / 511,
        "how many candidates has an anchor? All get the same share: what is -log of one share?": any_other,
    }


def _candidates(n: int, pulled: int, temperature: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Similarities of an anchor's candidates, which of them are pulled, and the temperature."""
    return rng.uniform(-1, 1, n), rng.permutation(n) < pulled, temperature


@solution("01 inside", cases=[_candidates(12, 3, 0.5), _candidates(40, 6, 0.1), _candidates(5, 1, 1.0)])
def inside(similarities: np.ndarray, pulled: np.ndarray, temperature: float):
    """A function ``inside(similarities, pulled, temperature)``: SupCon's "in" form (eq. 3 of arXiv 2004.11362) of one
    anchor, in nats. It has the mean over the positives inside the logarithm. ``similarities [n]`` are cosines of the
    candidates, ``pulled [n]`` says which of them are positives."""
    logits = similarities / temperature
    log_share, count = logits - logsumexp(logits), pulled.sum()
    right, others = -logsumexp(log_share[pulled]) + math.log(count), logsumexp(logits[~pulled])
    raw = similarities - logsumexp(similarities)
    return right, {
        "the sign: a loss is small when the positives are the most similar candidates.": -right,
        "that is the form above, with the mean outside: first the mean of the shares, then the logarithm.": (
            -log_share[pulled].mean() if count > 1 else None
        ),
        "that is the sum over the positives. Divide it by their number.": right - math.log(count)
        if count > 1
        else None,
        "the temperature is not used.": -logsumexp(raw[pulled]) + math.log(count) if temperature != 1 else None,
        "the denominator sums over all candidates, also the positives.": (
            others - logsumexp(logits[pulled]) + math.log(count)
        ),
        "that is in bits. Give it in nats.": right / math.log(2),
    }


@solution("01 half", tolerance=0.009)
def half():
    """The momentum is 0.99. After how many steps is half of the momentum encoder's first weights left?"""
    return math.log(0.5) / math.log(0.99), {
        "that would be right if every step took away 0.01 of the first weights. It takes 0.01 of what is left.": 50,
        "after so many steps a share of 0.37 is left.": 100,
        "a step is small: it moves the weights by a hundredth of the way.": lambda found: found < 2,
        "after n steps the share 0.99^n of the first weights is left. For which n is it one half?": any_other,
    }


# ---- 02: pairs ----


@solution("02 false negatives", tolerance=0.005)
def false_negatives():
    """A batch holds pictures of C classes, all equally frequent, and two views of each picture. An anchor pushes every
    view but its own two. Which share of the pushed views is of its class, on average, for a very large batch and
    C = 20?"""
    return 1 / 20, NOT_A_SHARE | {
        "that would be right with 100 classes. Here there are 20.": 0.01,
        "that is the share of pushed views that are of other classes.": 0.95,
        "draw one pushed view at random: how likely is it of the anchor's class?": any_other,
    }


@solution("02 loss", cases=[(rng.uniform(-1, 1, n), n // 2, t) for n, t in ((2, 1.0), (5, 0.5), (40, 0.07))])
def loss(similarities: np.ndarray, positive: int, temperature: float):
    """A function ``loss(similarities, positive, temperature)``: InfoNCE of one anchor, in nats, from the cosine
    similarities ``[n]`` of its candidates. ``positive`` is the number of the candidate that is pulled."""
    logits = similarities / temperature
    right, others = logsumexp(logits) - logits[positive], np.delete(logits, positive)
    return right, {
        "the sign: a loss is small when the positive is the most similar candidate.": -right,
        "the temperature is not used.": logsumexp(similarities) - similarities[positive],
        "the denominator sums over all candidates, also the positive.": logsumexp(others) - logits[positive],
        "that is in bits. Give it in nats.": right / math.log(2),
    }


@solution("02 pushed", cases=[(np.array(items),) for items in ([0, 1, 2, 0, 1, 2], [3, 3, 1, 1], [0, 1, 2, 2, 1, 0])])
def pushed(items: np.ndarray):
    """A function ``pushed(items)``: who pushes whom in SimCLR. ``items [n]`` holds the picture of each view. The result
    is a boolean matrix ``[n, n]`` with anchors in rows."""
    right = items[:, None] != items
    return right, {
        "some view pushes itself.": lambda found: found.diagonal().any(),
        "some view pushes the other view of its own picture, which should be pulled.": lambda f: (f & ~right).any(),
        "some view does not push a view of another picture.": any_other,
    }


# ---- 03: prototype hierarchies ----


@solution(
    "03 walk up",
    cases=[
        (rng.integers(sizes[0], size=50), [rng.integers(above, size=below) for below, above in pairwise(sizes)])
        for sizes in ((12, 4), (30, 10, 5), (20,), (24, 16, 8, 3))
    ],
    tolerance=0,
)
def walk_up(nearest: np.ndarray, edges: list[np.ndarray]):
    """A function ``coarsest(nearest, edges)``. ``nearest [items]`` is the finest prototype of every item. ``edges`` is
    a list of arrays, the finest level first. They hold the parent of every prototype, one level up. Which coarsest
    prototype does every item belong to?"""
    right = nearest
    for edge in edges:
        right = edge[right]
    return right, {
        "a tree of one level has no edge to walk. Which prototype is the coarsest one then?": lambda _: not edges,
        "these are still the finest prototypes.": nearest,
        f"that is one level up, and this tree has {len(edges) + 1} levels.": edges[0][nearest] if edges else None,
        "after one step, whose number do you look up in the next array of edges?": any_other,
    }


@solution(
    "03 concentration", cases=[(rng.normal(size=(n, d)), rng.normal(size=d)) for n, d in ((2, 3), (40, 2), (500, 8))]
)
def concentration(members: np.ndarray, centre: np.ndarray):
    """A function ``concentration(members, centre)``: φ of one cluster before it is clipped and scaled, from its members
    ``[n, dim]`` and its centre ``[dim]``."""
    distance, n = np.linalg.norm(members - centre, axis=1), len(members)
    return distance.mean() / math.log(n + 10), {
        "that is the mean distance. Where is the number of members?": distance.mean(),
        "that uses the sum of the distances. Use their mean.": distance.sum() / math.log(n + 10),
        "these are squared distances.": (distance**2).mean() / math.log(n + 10),
        "take the natural logarithm.": distance.mean() / math.log10(n + 10),
        "that is too large for small clusters: which number is in the logarithm?": distance.mean() / math.log(n),
    }


@solution("03 alone", tolerance=1e-3)
def alone():
    """There are as many prototypes as items, and every prototype has one item. What are the purity, and the AMI with
    classes that have several items each? Give two numbers in a tuple."""
    return (1, 0), {
        "give shares, not per cent.": lambda found: nearly_equal(found[0], 100),
        "the first: which share of one item is of its most frequent class?": lambda f: not nearly_equal(f[0], 1, 1e-3),
        "the second: how much of that agreement would random labels have, too?": lambda f: nearly_equal(f[1], 1, 1e-3),
        "the second: if labels are shuffled, does the agreement change? What is subtracted?": any_other,
    }


# ---- 04: pair selection ----


def _queue_items() -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Cosines, concentrations, and an anchor's prototype that is not the one of the queue item."""
    drawn = [(rng.uniform(-0.2, 0.9, size), rng.uniform(0.05, 0.3, size)) for size in (4, 7, 20)]
    return [(similarity, phi, int(np.argsort(similarity / phi)[-2])) for similarity, phi in drawn]


@solution("04 keep", cases=_queue_items())
def keep(similarity: np.ndarray, concentration: np.ndarray, own: int):
    """A function ``keep(similarity, concentration, own)``: the probability with which HCSC keeps one queue item as a
    negative. ``similarity [prototypes]``: its cosines with the prototypes of a level. ``concentration [prototypes]``:
    their φ. ``own``: the number of the anchor's prototype."""
    posterior = softmax(similarity / concentration)
    return 1 - posterior[own], {
        "that is the probability with which the item is removed.": posterior[own],
        "that uses the item's own prototype. Use the anchor's.": 1 - posterior.max(),
        "the concentrations are not used.": 1 - softmax(similarity)[own],
        "which posterior is sharper: that of a small or of a large φ?": 1 - softmax(similarity * concentration)[own],
        "every prototype has its own φ, in the denominator as well.": 1 - softmax(similarity / concentration[own])[own],
        "a probability lies between 0 and 1.": lambda found: not 0 <= found <= 1,
    }


@solution("04 removed", tolerance=0.005)
def share_removed():
    """A level has 20 prototypes, and each has equally many of the anchors. Which share of the anchors removes a given
    queue item, on average over draws?"""
    return 1 / 20, NOT_A_SHARE | {
        "that is the share that keeps it.": 0.95,
        "that would be right with two prototypes.": 0.5,
        "sum the item's posterior over all 20 prototypes. How many of the anchors has each of them?": any_other,
    }


@exercise("04 rule")
def rule(answer: Any) -> None:
    """A function from a tensor of posteriors to keep probabilities of the same shape. At the posterior 0 it surely
    keeps, above one half it surely removes, and the keep probability never rises with the posterior."""
    posterior = torch.linspace(0, 1, 201).reshape(3, 67)
    found = result_of(answer, posterior)
    if found is ... or found is None:
        raise Wrong("your function gives no answer yet: write what it returns.")
    if not isinstance(found, torch.Tensor | np.ndarray):
        raise Wrong(f"it should return a tensor, and it returns a {type(found).__name__}.")
    found = torch.as_tensor(found).detach()
    if found.shape != posterior.shape:
        raise Wrong(
            f"for posteriors {list(posterior.shape)} it returns {list(found.shape)}: return one number for each."
        )
    p, kept = posterior.flatten(), found.flatten().to(posterior.dtype)
    if not ((kept >= 0) & (kept <= 1)).all():
        raise Wrong(f"probabilities lie between 0 and 1, and yours go from {kept.min():.3g} to {kept.max():.3g}.")
    if kept[0] < 0.999:
        raise Wrong(f"at the posterior 0 the keep probability is only {kept[0]:.3g}.")
    if (still := (p > 0.5) & (kept > 1e-3)).any():
        raise Wrong(f"at the posterior {p[still][0]:.3g} it still keeps.")
    if (kept.diff() > 1e-6).any():
        raise Wrong("somewhere the keep probability rises with the posterior.")
