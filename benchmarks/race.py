"""The race: every recipe trains for the same CPU seconds, and one number counts, the linear probe of the class.

    .venv/bin/python benchmarks/race.py --seconds 360 --methods simclr
    .venv/bin/python benchmarks/race.py --seconds 360 --methods simclr --judged-on test    # once, at the end

A recipe is a set of settings of `fit`. Its epochs follow from its speed on this machine, which is measured first. The
choice between recipes is made on a tenth of the training pictures, which is held out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

import hiercl
from hiercl import HierarchicalDataset, Study

RECIPES: dict[str, dict[str, Any]] = {
    "today": {},
    "whitening": {"encoder": "whitenet"},
    "Muon": {"optimiser": "muon"},
    "whitening, Muon": {"encoder": "whitenet", "optimiser": "muon"},
}
"""Settings by name; the first one is what the others are compared with."""
METRICS = ("linear", "knn", "ami")


@dataclass(frozen=True)
class Race:
    """Who races, and how long."""

    seconds: float = 360.0
    """CPU seconds of every training."""
    methods: tuple[str, ...] = ("simclr", "moco", "supcon", "hmc")
    """Methods to train."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Names of the recipes."""
    per_class: int | None = None
    """Training pictures of each class, those that are held out among them; None: all."""
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the encoder."""
    judged_on: Literal["held out", "test"] = "held out"
    """The pictures that judge."""
    seeds: int = 1
    """Trainings of every recipe."""
    out: Path = Path("runs/race")
    """Folder of the runs and the pages."""

    def run(self) -> None:
        train, _ = hiercl.load("cifar100")
        items = len(train if self.per_class is None else train.per_class(self.per_class)) * 9 // 10
        for method in self.methods:
            variants = {}
            for name in self.recipes:
                rate = self.rate(method, RECIPES[name], train)
                epochs = max(1, round(self.seconds * rate / items))
                variants[name] = RECIPES[name] | {"epochs": epochs}
                print(f"{method}, {name}: {rate:.0f} pictures a CPU second, {epochs} epochs", flush=True)
            study = self.study(method, variants).run()
            table = study.table().set_index(["variant", "seed"])
            shown = [name for name in table if name.startswith(METRICS) and not name.startswith("linear_")]
            print(table[["epochs", "cpu_seconds", *shown]].to_string())
            print(study.report(self.out / f"{study.name}.md"))

    def rate(self, method: str, recipe: dict[str, Any], train: HierarchicalDataset, steps: int = 6) -> float:
        """Measures pictures a CPU second of a training, after a first one that warms up."""
        few = train.take(list(range(256 * steps)))
        settings = {"batch": 256, "precision": self.precision, "monitor_every": 0, "progress": False} | recipe
        for epochs in (1, 2):
            start = time.process_time()
            hiercl.fit(method, few, epochs=epochs, **settings)
        return 2 * len(few) / (time.process_time() - start)

    def study(self, method: str, variants: dict[str, dict[str, Any]]) -> Study:
        """Returns the study of a method. Its name tells budgets apart: their epochs differ."""
        base = {"method": method, "data": "cifar100", "per_class": self.per_class, "held_out": 0.1, "batch": 256}
        base |= {"judged_on": self.judged_on, "precision": self.precision, "monitor_every": 0}
        name = f"race-{method}-{self.seconds:.0f}-{self.precision}"
        return Study(base, variants, self.seeds, name, self.out, metrics=METRICS, baseline=next(iter(variants)))


if __name__ == "__main__":
    tyro.cli(Race).run()
