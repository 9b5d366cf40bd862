"""Right and wrong answers to the exercises of notebook 05."""

import numpy as np


def mixed_loss(a, b, q, share, t, own=True):
    pushed = np.exp(q / t).sum()
    first, second = (np.log(own * np.exp(s / t) + pushed) - s / t for s in (a, b))
    return share * first + (1 - share) * second


def one_softmax(a, b, q, share, t):
    logits = np.r_[a, b, q] / t
    return np.log(np.exp(logits).sum()) - (share * a + (1 - share) * b) / t


RIGHT = {
    "05 purity": [
        lambda neighbours, labels: (labels[neighbours] == labels[:, None]).mean(),
        lambda neighbours, labels: np.mean([labels[i] == labels[j] for i, row in enumerate(neighbours) for j in row]),
    ],
    "05 lambda": [1 - 160 / 576, 0.72222, 0.72],
    "05 mixed": [mixed_loss],
}
WRONG = {
    "05 purity": [
        lambda neighbours, labels: 100 * (labels[neighbours] == labels[:, None]).mean(),
        lambda neighbours, labels: (labels[neighbours] == labels[:, None]).sum(),
        lambda neighbours, labels: (labels[neighbours] == labels[:, None]).any(axis=1).mean(),
        lambda neighbours, labels: (labels[neighbours[:, 0]] == labels).mean(),
        lambda neighbours, labels: (labels[neighbours] != labels[:, None]).mean(),
        lambda neighbours, labels: (neighbours == labels[:, None]).mean(),
        lambda neighbours, labels: ...,
        0.5,
    ],
    "05 lambda": [0.5, 160, 416, 160 / 576, 1 - 256 / 576, 0.7],
    "05 mixed": [
        lambda a, b, q, share, t: mixed_loss(b, a, q, share, t),
        one_softmax,
        lambda a, b, q, share, t: mixed_loss(a, b, q, 0.5, t),
        lambda a, b, q, share, t: mixed_loss(a, b, q, share, t, own=False),
        lambda a, b, q, share, t: -mixed_loss(a, b, q, share, t),
        lambda a, b, q, share, t: mixed_loss(a, b, q, share, 1),
        lambda a, b: 0.0,
    ],
}
