"""How often do the intervals of a study contain the true difference? Differences over seeds, drawn with a known mean.

    .venv/bin/python benchmarks/intervals.py        # writes results/coverage.csv; docs/studies.md prints it

A trial draws one difference for each seed, from a distribution whose mean is 0, and asks each interval whether it
contains 0. The plain percentile bootstrap is there to show why studies do not use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from hiercl.study import bootstrap_interval, t_interval

DIFFERENCES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails (Student's t with 3 degrees of freedom)": lambda rng, n: rng.standard_t(3, size=n),
    "skewed (exponential)": lambda rng, n: rng.exponential(size=n) - 1,
}
RESAMPLES = np.random.default_rng(0)


@dataclass(frozen=True)
class Coverage:
    """What is drawn, and how often."""

    trials: int = 4000
    """Draws of each distribution and number of seeds."""
    seeds: tuple[int, ...] = (3, 5, 10)
    """Numbers of seeds."""
    out: Path = Path(__file__).parent / "results" / "coverage.csv"
    """Where the table goes."""

    def run(self) -> None:
        rows = []
        for place, (name, draw) in enumerate(DIFFERENCES.items()):
            for n in self.seeds:
                rng = np.random.default_rng([place, n])
                trials = [draw(rng, n) for _ in range(self.trials)]
                for interval, function in INTERVALS.items():
                    low, high = np.transpose([function(values) for values in trials])
                    covers = math.nan if np.isnan(low).any() else 100 * np.mean((low <= 0) & (high >= 0))
                    width = math.nan if np.isnan(low).any() else np.median(high - low)
                    row = {"differences": name, "seeds": n, "interval": interval, "covers": covers, "width": width}
                    rows.append(row | {"trials": self.trials})
                    print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(self.out, index=False, float_format="%.4g")


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the plain percentile bootstrap interval of a mean."""
    means = values[RESAMPLES.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return low, high


INTERVALS = {
    "percentile bootstrap": percentile_interval,
    "smoothed bootstrap of a study": bootstrap_interval,
    "Student's t": t_interval,
}


if __name__ == "__main__":
    tyro.cli(Coverage).run()
