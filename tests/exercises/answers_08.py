"""Right and wrong answers to the exercises of notebook 08."""

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

RIGHT, WRONG = {}, {}


def turned(a, b):
    own = b - b.mean(axis=0)
    return own @ orthogonal_procrustes(own, a - a.mean(axis=0))[0] + a.mean(axis=0)


def not_mirrored(a, b):
    own = b - b.mean(axis=0)
    u, _, vt = np.linalg.svd(own.T @ (a - a.mean(axis=0)))
    return own @ u @ np.diag([1, np.linalg.det(u @ vt)]) @ vt + a.mean(axis=0)


def wrong_way(a, b):
    own = b - b.mean(axis=0)
    return own @ orthogonal_procrustes(own, a - a.mean(axis=0))[0].T + a.mean(axis=0)


RIGHT["08 union"] = [0.9, 0.8 + 0.5 - 0.8 * 0.5]
WRONG["08 union"] = [0.4, 1.3, 0.65, 0.1, 0.8, "0.9"]
RIGHT["08 chance"] = [0.01, 10 / 1000, 10 / 1001]
WRONG["08 chance"] = [0.1, 1, 1e-4, 10, 0.5, "1 %"]
RIGHT["08 turned"] = [turned]
WRONG["08 turned"] = [
    lambda a, b: b,
    lambda a, b: a,
    lambda a, b: b - b.mean(axis=0) + a.mean(axis=0),
    lambda a, b: turned(a, b) - a.mean(axis=0),
    lambda a, b: b @ orthogonal_procrustes(b, a)[0],
    lambda a, b: procrustes(a, b)[1],
    not_mirrored,
    wrong_way,
    lambda a, b: turned(a, b)[:10],
    lambda a, b: ...,
    0.5,
]
