"""Right and wrong answers to the exercises of notebook 09."""

import numpy as np

RIGHT, WRONG = {}, {}
RIGHT["09 paired"] = [lambda a, b: ((b - a).mean(), (b - a).std(ddof=1) / np.sqrt(len(a)))]
WRONG["09 paired"] = [
    lambda a, b: ((a - b).mean(), (b - a).std(ddof=1) / np.sqrt(len(a))),
    lambda a, b: ((b - a).mean(), (b - a).std(ddof=1)),
    lambda a, b: ((b - a).mean(), (b - a).std() / np.sqrt(len(a))),
    lambda a, b: ((b - a).mean(), np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))),
    lambda a, b: (b - a).mean(),
]
RIGHT["09 verdicts"] = [("better", "undecided"), ["better", "undecided"]]
WRONG["09 verdicts"] = [
    ("worse", "undecided"),
    ("better", "better"),
    ("undecided", "undecided"),
    "better",
    ("yes", "no"),
]
RIGHT["09 minutes"] = [60, 60.0]
WRONG["09 minutes"] = [120, 24, 70, 12, "60"]
