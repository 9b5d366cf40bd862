"""Right and wrong answers to the exercises of notebook 02."""

import numpy as np

RIGHT, WRONG = {}, {}


def softmax_loss(similarities, positive, temperature):
    logits = similarities / temperature
    return np.log(np.exp(logits).sum()) - logits[positive]


RIGHT["02 false negatives"] = [0.05, 1 / 20]
WRONG["02 false negatives"] = [0.01, 0.95, 5, 0.1, "few", True]
RIGHT["02 loss"] = [softmax_loss]
WRONG["02 loss"] = [
    lambda s, p, t: -softmax_loss(s, p, t),
    lambda s, p, t: softmax_loss(s, p, 1.0),
    lambda s, p, t: softmax_loss(s, p, t) / np.log(2),
    lambda s, p, t: np.log(np.exp(np.delete(s, p) / t).sum()) - s[p] / t,
    lambda s, p, t: ...,
    lambda s: 0.0,
    0.5,
]
RIGHT["02 pushed"] = [lambda items: items[:, None] != items[None, :]]
WRONG["02 pushed"] = [
    lambda items: ~np.eye(len(items), dtype=bool),
    lambda items: items[:, None] == items[None, :],
    lambda items: np.ones((len(items), len(items)), dtype=bool),
    lambda items: (items[:, None] != items[None, :]).astype(float),
    lambda items: np.triu(items[:, None] != items[None, :]),
    lambda items: items[:, None] != items[None, : len(items) // 2],
]
