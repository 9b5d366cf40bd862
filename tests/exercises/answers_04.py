"""Right and wrong answers to the exercises of notebook 04."""

import numpy as np
import torch

RIGHT, WRONG = {}, {}


def posterior(similarity, phi):
    weight = np.exp(similarity / phi)
    return weight / weight.sum()


RIGHT["04 keep"] = [lambda s, phi, own: 1 - posterior(s, phi)[own]]
WRONG["04 keep"] = [
    lambda s, phi, own: posterior(s, phi)[own],
    lambda s, phi, own: 1 - posterior(s, phi).max(),
    lambda s, phi, own: 1 - posterior(s, np.ones_like(phi))[own],
    lambda s, phi, own: 1 - posterior(s * phi, np.ones_like(phi))[own],
    lambda s, phi, own: 1 - posterior(s, phi[own])[own],
    lambda s, phi, own: 1 - s[own] / phi[own],
    lambda s, phi, own: 0.5,
    lambda s, phi, own: ...,
]
RIGHT["04 removed"] = [0.05, 1 / 20]
WRONG["04 removed"] = [0.95, 20, 0.5, 0.01, "few"]
RIGHT["04 rule"] = [
    lambda p: (p < 0.5).float(),
    lambda p: p <= 0.5,
    lambda p: (1 - 2 * p).clamp(min=0),
    lambda p: torch.where(p > 0.5, 0.0, 1 - p),
]
WRONG["04 rule"] = [
    lambda p: 1 - p,
    lambda p: 1 - 2 * p,
    lambda p: (p > 0.5).float(),
    lambda p: torch.zeros_like(p),
    lambda p: (p < 0.5).float().mean(),
    lambda p: torch.where((p > 0.1) & (p < 0.2) | (p > 0.5), 0.0, 1.0),
    lambda p: 0.5,
    lambda p: ...,
    1,
]
