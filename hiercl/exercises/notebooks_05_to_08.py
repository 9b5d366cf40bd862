"""Exercises of the notebooks 05 (cross-samples), 06 (label hierarchies), 07 (feature masks) and 08 (maps)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist
from scipy.special import logsumexp

from hiercl.exercises._exercise import NOT_A_SHARE, any_other, nearly_equal, solution

rng = np.random.default_rng(0)

# ---- 05: cross-samples and several levels ----


@solution(
    "05 purity",
    cases=[(rng.integers(n, size=(n, k)), rng.integers(c, size=n)) for n, k, c in ((30, 4, 3), (6, 1, 2), (50, 5, 10))],
)
def purity(neighbours: np.ndarray, labels: np.ndarray):
    """A function ``purity(neighbours, labels)``: the share of all neighbours that are of their item's class.
    ``neighbours [n, k]`` are numbers of items, ``labels [n]`` is the class of every item. Both are numpy arrays."""
    same = labels[neighbours] == labels[:, None]
    return same.mean(), {
        "a share lies between 0 and 1. Yours is in per cent.": 100 * same.mean(),
        "that is the number of neighbours that agree. Divide it by the number of all neighbours.": same.sum(),
        "that is the share of items with at least one such neighbour. Count every neighbour.": same.any(axis=1).mean(),
        "that looks only at the first neighbour of each item.": same[:, 0].mean(),
        "that is the share of neighbours of another class.": 1 - same.mean(),
        "whose label do you compare with whose?": any_other,
    }


@solution("05 lambda", tolerance=0.005)
def share_of_anchor():
    """Pictures have 24 × 24 pixels, and λ = 0.5 was drawn. The box has sides of 16 pixels and its centre at row 12,
    column 22. It is clipped at the right border. Which exact λ must the loss use?"""
    return 1 - 16 * 10 / 24**2, NOT_A_SHARE | {
        "that is the λ that was drawn. How many pixels of the anchor are left?": 0.5,
        "that would be right if the whole box were inside the picture: which columns does it cover?": 1 - 16**2 / 24**2,
        "that is the neighbour's share of the pixels. λ is the anchor's.": 16 * 10 / 24**2,
        "count the pixels that the clipped box covers: rows times columns, of 24 · 24 pixels.": any_other,
    }


@solution(
    "05 mixed",
    cases=[
        (rng.uniform(0, 1), rng.uniform(-1, 0), rng.uniform(-1, 1, n), share, temperature)
        for n, share, temperature in ((20, 0.3, 0.2), (3, 0.75, 1.0), (60, 0.9, 0.1))
    ],
)
def mixed_loss(anchor: float, neighbour: float, queue: np.ndarray, share: float, temperature: float):
    """A function ``mixed_loss(anchor, neighbour, queue, share, temperature)``: the loss of one mixed query, in nats,
    from its cosine similarities with the anchor's key, with the neighbour's key (numbers) and with the queue ``[n]``.
    ``share`` is λ, the anchor's share of the mixture."""

    def loss(share: float, temperature: float, *beside_queue: Any) -> float:
        """The weighted loss of both keys. Each denominator has the queue and the similarities given for that key."""
        of_anchor, of_neighbour = (
            logsumexp(np.append(queue, beside) / temperature) - key / temperature
            for key, beside in zip((anchor, neighbour), beside_queue, strict=True)
        )
        return share * of_anchor + (1 - share) * of_neighbour

    own, both = (anchor, neighbour), ([anchor, neighbour], [anchor, neighbour])
    right = loss(share, temperature, *own)
    return right, {
        "λ is the anchor's share: which of the two keys gets it?": loss(1 - share, temperature, *own),
        "the two positives compete in your denominator. Each needs its own one.": loss(share, temperature, *both),
        "the two keys do not pull equally: where is λ?": loss(0.5, temperature, *own),
        "each denominator sums over the queue and its own positive.": loss(share, temperature, [], []),
        "the temperature is not used.": loss(share, 1.0, *own),
        "the sign: a loss is small when the positives are the most similar.": -right,
    }


# ---- 06: label hierarchies ----


@solution("06 weight", tolerance=0.005)
def weight():
    """There are two levels with the weights of HMC: e^(1/l), divided by their sum, where l = 1 is the finest level.
    What is the weight of the coarse level?"""
    fine, coarse = math.e, math.exp(1 / 2)
    return coarse / (coarse + fine), {"divide the weights by their sum.": [coarse, fine]} | NOT_A_SHARE | {
        "that is the weight of the fine level. Which of the two is l = 1?": fine / (coarse + fine),
        "that is 1 of 1 + 2. The weights are powers of e.": 1 / 3,
        "that would be right with equal weights.": 0.5,
        "write down e^(1/l) for l = 1 and for l = 2, and divide. Two digits are enough.": any_other,
    }


@solution("06 sibling", tolerance=1e-3)
def cancelling():
    """A batch has 200 views: ten superclasses with two classes each, ten views a class. All embeddings are equal, and
    the weight of the class is 1. At which weight of the superclass is a sibling neither pulled nor pushed?"""
    candidates, related = 199, 19  # of one anchor: all other views, and those of its superclass
    right = 1 / (candidates / related - 1)
    return right, {
        "with equal weights the superclass pulls a sibling harder than the class pushes it.": 1.0,
        "in the term of the superclass a sibling has a share of the softmax too: subtract it.": related / candidates,
        "an anchor is no candidate of its own: count 199 candidates, and 19 of its superclass.": [1 / 9, 0.1],
        "the superclass pulls the views of the anchor's own class too: |P| is 19.": [1 / (199 / 10 - 1), 10 / 199],
        "that is the weight of the class for a weight of 1 of the superclass.": 1 / right,
        "the class pushes by 1/199, the superclass pulls by its weight times 1/19 less 1/199.": any_other,
    }


@solution(
    "06 maximum",
    cases=[(np.array(losses),) for losses in ([1.0, 0.2, 2.0, 0.5, 1.5], [1.0, 2.0, 0.5], [2.0, 3.0], [3.0, 2.0])],
    tolerance=1e-5,
)
def raised(losses: np.ndarray):
    """A function ``raised(losses)``: the losses of the levels after HCE's maximum (in its batch form).
    ``losses [levels]`` is a numpy array, coarse to fine, and so is the result."""
    return np.maximum.accumulate(losses[::-1])[::-1], {
        "that raises the finer levels. Raise a coarser level to the finer ones.": np.maximum.accumulate(losses),
        "nothing was raised.": losses,
        "the finest level has no finer one: its loss stays as it is.": np.full_like(losses, losses.max()),
        "compare with all finer levels, not only the next one.": np.maximum(losses, np.append(losses[1:], -np.inf)),
        "a maximum never makes a loss smaller.": lambda found: (found < losses - 1e-9).any(),
        "each level's loss becomes the largest of its own and those of all finer levels.": any_other,
    }


# ---- 07: feature identification ----


@solution(
    "07 masked",
    cases=[(rng.normal(size=(n, d)), (np.arange(d) % 2).astype(float)) for n, d in ((5, 4), (4, 12), (1, 6))],
    tolerance=1e-5,
)
def masked(features: np.ndarray, mask: np.ndarray):
    """A function ``masked(features, mask)``: the unit embeddings ``[n, d]`` that a level sees, from the features
    ``[n, d]`` of n pictures, one a row, and the level's mask ``[d]`` of zeros and ones."""
    seen, length = features * mask, np.linalg.norm(features, axis=1, keepdims=True)
    return seen / np.linalg.norm(seen, axis=1, keepdims=True), {
        "a feature whose mask is 0 is still used.": lambda found: np.abs(found[:, mask == 0]).max() > 1e-9,
        "its rows do not have length 1.": seen,
        "its rows do not have length 1: masked features must not count in the length either.": seen / length,
        "its rows do not have length 1: is the length that of one picture?": (
            lambda found: not nearly_equal(np.linalg.norm(found, axis=1), np.ones(len(found)), 1e-5)
        ),
        "the lengths are right, the directions are not.": any_other,
    }


def _classes(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Random values of one feature, and the classes of the pictures, of these sizes."""
    classes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.normal(size=len(classes)) + 2.0 * rng.normal(size=len(sizes))[classes], classes


@solution("07 fisher", cases=map(_classes, ((3, 20), (2, 6, 40), (5, 4, 3, 60))))
def fisher(values: np.ndarray, classes: np.ndarray):
    """A function ``fisher(values, classes)``: the Fisher ratio of one feature at the coarsest level, from its values
    ``[n]`` and the classes ``[n]`` of the pictures. Every class has the same weight. Numerator: the mean over classes
    of the squared distance of a class's mean from the mean of these means. Denominator: the mean over classes of the
    variance within a class, divided by its number of pictures minus 1."""
    parts = [values[classes == c] for c in np.unique(classes)]
    means, sizes = np.array([part.mean() for part in parts]), [len(part) for part in parts]
    between, within = means.var(), np.mean([part.var(ddof=1) for part in parts])
    weighted, whole = np.average((means - values.mean()) ** 2, weights=sizes), np.mean((values - means[classes]) ** 2)
    return between / within, {
        "it is upside down: the ratio is large when classes lie far apart.": within / between,
        "in the denominator, large classes have more weight than small ones.": between / whole,
        "in the numerator, large classes have more weight than small ones.": [weighted / within, weighted / whole],
        "the denominator is the variance within classes, not of all pictures.": [
            between / values.var(ddof=d) for d in (0, 1)
        ],
        "divide the variance within a class by its size minus 1.": between / np.mean([part.var() for part in parts]),
        "the numerator is a plain mean over classes: divide by their number.": means.var(ddof=1) / within,
        "it is a ratio of variances, not of standard deviations.": np.sqrt(between / within),
    }


@solution("07 chance", tolerance=0.005)
def same_level_by_chance():
    """120 features are split at random into three levels of equal size, twice. Which share of the features has the same
    level in both splits, on average?"""
    return 1 / 3, {"that is a number of features. Give their share.": 40} | NOT_A_SHARE | {
        "that would be right with two levels. Here there are three.": 0.5,
        "that is how often both splits give a feature to one particular level.": 1 / 9,
        "that is the share of features whose level differs.": 2 / 3,
        "take one feature: how likely is the level of the first split in the second one?": any_other,
    }


# ---- 08: embedding maps ----


@solution("08 union")
def union():
    """UMAP ties item i to j with 0.8, and j to i with 0.5. What is p, the strength of the tie of the pair?"""
    return 0.9, {
        "that is the probability of both ties. One of them is enough.": 0.4,
        "a probability cannot be above 1. Do not count twice where both ties exist.": 1.3,
        "that is their mean. One tie cannot weaken the other.": 0.65,
        "that is the probability of no tie.": 0.1,
        "put both numbers into the formula of p above.": any_other,
    }


@solution("08 chance", tolerance=5e-5)
def kept_by_chance():
    """The places of 1,001 items on a map are drawn at random. Which share of an item's 10 nearest in the features is
    among its 10 nearest on the map, on average?"""
    return 10 / 1000, NOT_A_SHARE | {
        "that is how many of the 10 nearest are expected. Give their share.": 0.1,
        "that is the share of all pairs that are near in both. Of the 10 nearest, it is more.": 1e-4,
        "take one of the 10: how likely is it among 10 items that were drawn from the 1,000 others?": any_other,
    }


def _map_pair(mirror: float) -> tuple[np.ndarray, np.ndarray]:
    """A random map, and the same one stretched, turned, moved, and mirrored where ``mirror`` is −1."""
    angle, shift = rng.uniform(0.5, 2.5), rng.normal(size=2) * 5
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * [1.0, mirror]
    a = rng.normal(size=(40, 2)) * [3.0, 1.0] + 4.0
    return a, 1.5 * (a + 0.1 * rng.normal(size=a.shape)) @ turn + shift


@solution("08 turned", cases=map(_map_pair, (1.0, -1.0, 1.0)), tolerance=1e-5)
def turned(a: np.ndarray, b: np.ndarray):
    """A function ``turned(a, b)``: the map b, moved, turned and, where that helps, mirrored, but not stretched, so that
    the mean squared distance between its items and those of the map a is as small as possible. Maps are ``[n, 2]``."""

    def centred(xy: np.ndarray) -> np.ndarray:
        return xy - xy.mean(axis=0)

    u, _, vt = np.linalg.svd(centred(b).T @ centred(a))
    right = centred(b) @ u @ vt
    not_mirrored = centred(b) @ (u * [1.0, np.linalg.det(u @ vt)]) @ vt
    return right + a.mean(axis=0), {
        "that is b as it was.": b,
        "it is turned correctly, but its centre is not that of a.": lambda f: nearly_equal(centred(f), right, 1e-5),
        "distances between its items are not those of b: it was stretched.": lambda f: (
            not nearly_equal(pdist(f), pdist(b))
        ),
        "the maps are mirror images, and yours is only turned.": lambda f: nearly_equal(centred(f), not_mirrored, 1e-5),
        "its items can be nearer to those of a. Is it turned about its centre, and in the right direction?": any_other,
    }
