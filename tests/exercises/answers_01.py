"""Right and wrong answers to the exercises of notebook 01."""

import math

import numpy as np

RIGHT, WRONG = {}, {}


def shares(similarities, temperature):
    weights = np.exp(similarities / temperature)
    return weights / weights.sum()


def inside(similarities, pulled, temperature):
    return -np.log(shares(similarities, temperature)[pulled].mean())


RIGHT["01 equal"] = [math.log(511), 6.236, 6.24]
WRONG["01 equal"] = [0, math.log(256), math.log2(511), 511, 1 / 511, 6.5, "large"]
RIGHT["01 inside"] = [
    inside,
    lambda s, pulled, t: np.log(pulled.sum()) - np.log(shares(s, t)[pulled].sum()),
]
WRONG["01 inside"] = [
    lambda s, pulled, t: -inside(s, pulled, t),
    lambda s, pulled, t: -np.log(shares(s, t)[pulled]).mean(),
    lambda s, pulled, t: -np.log(shares(s, t)[pulled].sum()),
    lambda s, pulled, t: inside(s, pulled, 1.0),
    lambda s, pulled, t: -np.log((np.exp(s / t)[pulled] / np.exp(s / t)[~pulled].sum()).mean()),
    lambda s, pulled, t: inside(s, pulled, t) / np.log(2),
    lambda s, pulled, t: -np.log(shares(s, t)[pulled]),
    lambda s, pulled, t: ...,
    0.5,
]
RIGHT["01 half"] = [69, math.log(0.5) / math.log(0.99), 68.97]
WRONG["01 half"] = [50, 100, 0.5, 0.99, 70, 35, "many"]
