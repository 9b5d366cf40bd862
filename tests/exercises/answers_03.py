"""Right and wrong answers to the exercises of notebook 03."""

import numpy as np

RIGHT, WRONG = {}, {}


def walk(nearest, edges):
    for edge in edges:
        nearest = edge[nearest]
    return nearest


def phi(members, centre):
    return np.linalg.norm(members - centre, axis=1).mean() / np.log(len(members) + 10)


RIGHT["03 walk up"] = [walk]
WRONG["03 walk up"] = [
    lambda nearest, edges: nearest,
    lambda nearest, edges: edges[0][nearest] if edges else nearest,
    lambda nearest, edges: edges[-1][nearest],
    lambda nearest, edges: walk(nearest, edges[::-1]),
    lambda nearest, edges: edges[-1],
    lambda nearest, edges: np.zeros_like(nearest),
    lambda nearest, edges: ...,
    0,
]
RIGHT["03 concentration"] = [phi, lambda m, c: (((m - c) ** 2).sum(1) ** 0.5).mean() / np.log(10 + len(m))]
WRONG["03 concentration"] = [
    lambda m, c: np.linalg.norm(m - c, axis=1).mean(),
    lambda m, c: phi(m, c) * len(m),
    lambda m, c: (np.linalg.norm(m - c, axis=1) ** 2).mean() / np.log(len(m) + 10),
    lambda m, c: np.linalg.norm(m - c, axis=1).mean() / np.log10(len(m) + 10),
    lambda m, c: np.linalg.norm(m - c, axis=1).mean() / np.log(len(m)),
    lambda m, c: phi(m, m.mean(axis=0)),
    lambda m, c: ...,
]
RIGHT["03 alone"] = [(1, 0), np.array([1.0, 0.0])]
WRONG["03 alone"] = [(1, 1), (0, 0), (0, 1), (100, 0), (1, 0.5), (1, float("nan")), 1]
