"""Right and wrong answers to the exercises of notebook 09."""

import numpy as np

RIGHT, WRONG = {}, {}
RIGHT["09 invariance"] = [lambda p: p[:, 2].std(), lambda p: np.ptp(p[:, 2]), lambda p: (p[:, :2] ** 2).sum(1).mean()]
WRONG["09 invariance"] = [
    lambda p: p[0, 2],
    lambda p: np.ptp(p[:, 0]),
    lambda p: p[:, 0].sum() + p[:, 2].std(),
    lambda p: 1.0,
    lambda p: p.max(axis=0),
]
RIGHT["09 lambda"] = [307 / 1024, 0.299805, 0.2998]
WRONG["09 lambda"] = [0.3, 307, 717 / 1024, 308 / 1024]
RIGHT["09 balanced"] = [(95, 75), np.array([95.0, 75.0])]
WRONG["09 balanced"] = [(75, 95), (0.95, 0.75), (95, 95), 95]
