"""Right and wrong answers to the exercises of notebook 07."""

import numpy as np

RIGHT, WRONG = {}, {}


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def parts(values, classes):
    return [values[classes == c] for c in np.unique(classes)]


def between(values, classes):
    return np.var([part.mean() for part in parts(values, classes)])


def within(values, classes):
    return np.mean([part.var(ddof=1) for part in parts(values, classes)])


RIGHT["07 masked"] = [lambda v, mask: unit(v * mask)]
WRONG["07 masked"] = [
    lambda v, mask: v * mask,
    lambda v, mask: unit(v) * mask,
    lambda v, mask: unit(v),
    lambda v, mask: unit(v * (1 - mask)),
    lambda v, mask: v * mask / np.linalg.norm(v * mask),
    lambda v, mask: v * mask / np.linalg.norm(v * mask + 1e-9, axis=0),
    lambda v, mask: unit(np.abs(v * mask)),
    lambda v, mask: unit((v * mask)[:, mask > 0]),
    lambda v, mask: ...,
    0.5,
]
RIGHT["07 fisher"] = [lambda v, c: between(v, c) / within(v, c)]
WRONG["07 fisher"] = [
    lambda v, c: within(v, c) / between(v, c),
    lambda v, c: between(v, c) / v.var(),
    lambda v, c: np.sqrt(between(v, c) / within(v, c)),
    lambda v, c: between(v, c) / np.mean([part.var() for part in parts(v, c)]),
    lambda v, c: np.var([part.mean() for part in parts(v, c)], ddof=1) / within(v, c),
    lambda v, c: between(v, c) / np.mean(np.concatenate([part - part.mean() for part in parts(v, c)]) ** 2),
    lambda v, c: (
        np.average((np.array([p.mean() for p in parts(v, c)]) - v.mean()) ** 2, weights=np.bincount(c)) / within(v, c)
    ),
    lambda v, c: between(v, c),
    lambda v, c: ...,
    0.5,
]
RIGHT["07 chance"] = [1 / 3, 0.3333]
WRONG["07 chance"] = [0.5, 40, 33.3, 1 / 9, 2 / 3, 0.1, "a third"]
