"""Right and wrong answers to the exercises of notebook 10."""

import numpy as np

RIGHT, WRONG = {}, {}
RIGHT["10 paired"] = [lambda a, b: ((b - a).mean(), (b - a).std(ddof=1) / np.sqrt(len(a)))]
WRONG["10 paired"] = [
    lambda a, b: ((a - b).mean(), (b - a).std(ddof=1) / np.sqrt(len(a))),
    lambda a, b: ((b - a).mean(), (b - a).std(ddof=1)),
    lambda a, b: ((b - a).mean(), (b - a).std() / np.sqrt(len(a))),
    lambda a, b: ((b - a).mean(), np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))),
    lambda a, b: (b - a).mean(),
]
RIGHT["10 verdicts"] = [("better", "undecided"), ["better", "undecided"]]
WRONG["10 verdicts"] = [
    ("worse", "undecided"),
    ("better", "better"),
    ("undecided", "undecided"),
    "better",
    ("yes", "no"),
]
RIGHT["10 minutes"] = [60, 60.0]
WRONG["10 minutes"] = [120, 24, 70, 12, "60"]
