"""Estimate: how long runs will take, from those that are there, or from a short trial."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.study.configurations import Configuration, Splits, splits, trained_on
from hiercl.study.running import COMPLETE, DONE, Place, cost
from hiercl.training import fit

TRIAL_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """Seconds that runs take, one after another.

    Attributes:
        seconds: of each run; None where it cannot be known.
        tried: how many kinds of run were measured by a short trial, as no run like them is there yet.
    """

    seconds: tuple[float | None, ...]
    tried: int

    @property
    def total(self) -> float:
        """Of all runs; an unknown one counts as the mean of the others, and nothing known as NaN."""
        known = [value for value in self.seconds if value is not None]
        if not self.seconds:
            return 0.0
        return float(np.mean(known)) * len(self.seconds) if known else float("nan")

    def describe(self, of: int, names: list[str]) -> str:
        """In words: which runs would be made, and how long that would take."""
        lines = [
            f"  {name}: {'unknown' if value is None else duration(value)}"
            for name, value in zip(names, self.seconds, strict=True)
        ]
        head = f"{len(names)} of {of} runs would be made, about {duration(self.total)} one after another"
        source = f" ({self.tried} kinds of run measured by a short trial)" if self.tried else ""
        return "\n".join([head + source + (":" if lines else "."), *lines])


def estimate(
    configurations: list[Configuration], runs: Path, given: Splits | None = None, trial: bool = True
) -> Estimate:
    """How long these would take. Time is proportional to items times epochs, for each kind of run (method, its
    settings, encoder, size of views and batch); the judging is added where it was measured. Without ``trial`` a kind of
    which no run is there yet is unknown."""
    rates = _measured(runs)
    judging = [value for _, value in rates.values()]
    seconds, tried = [], 0
    for made in configurations:
        kind = _kind(made.complete)
        if trial and kind not in rates and (rate := _trial(made, given)) is not None:
            rates[kind] = rate, float(np.median(judging)) if judging else 0.0
            tried += 1
        rate, judged = rates.get(kind, (None, 0.0))
        items = len(splits(made.data, given)[0]) * made.complete["fit"]["epochs"]
        seconds.append(None if rate is None else rate * items + judged)
    return Estimate(tuple(seconds), tried)


def duration(seconds: float) -> str:
    """In words: ``"3 min 20 s"``.

    Example:
        >>> duration(200), duration(7260)
        ('3 min 20 s', '2 h 1 min')
    """
    if seconds != seconds:
        return "an unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _kind(complete: dict[str, Any]) -> str:
    """Runs of one kind take equally long for an item and an epoch."""
    fit_settings = {name: complete["fit"][name] for name in ("encoder", "batch", "norm", "precision", "compile")}
    size = {name: complete["views"].get(name) for name in ("crop", "points")}
    return json.dumps([complete["method"], complete["method_settings"], fit_settings, size], sort_keys=True)


def _measured(runs: Path) -> dict[str, tuple[float, float]]:
    """Of every kind that is there: seconds for an item and an epoch, and seconds of the judging."""
    found: dict[str, list[tuple[float, float]]] = {}
    for place, complete in _done(runs):
        config = json.loads((place.folder / "run" / "config.json").read_text())
        work = config["setting"]["items"] * config["fit"]["epochs"]
        if work:
            took = cost(place)
            found.setdefault(_kind(complete), []).append((took["seconds"] / work, took["judging_seconds"]))
    return {kind: tuple(np.median(rows, axis=0).tolist()) for kind, rows in found.items()}


def _done(runs: Path) -> Iterable[tuple[Place, dict[str, Any]]]:
    for file in sorted(runs.glob(f"*/{COMPLETE}")):
        for report in sorted(file.parent.glob("report-*")):
            place = Place(file.parent, report)
            if place.state == DONE:
                yield place, json.loads(file.read_text())


def _trial(made: Configuration, given: Splits | None) -> float | None:
    """Seconds for an item and an epoch, of a few steps; None for what fails so soon."""
    settings = {**made.settings, "epochs": 1, "monitor_every": 0}
    with warnings.catch_warnings():  # of schedules that never begin in one epoch
        warnings.simplefilter("ignore")
        try:
            train = trained_on(made.data, splits(made.data, given)[0])
            train = train.take(np.arange(min(len(train), TRIAL_STEPS * made.complete["fit"]["batch"])))
            fit(made.method, train, progress=False, **settings)  # the first steps of a process are slow
            start = time.perf_counter()
            fit(made.method, train, progress=False, **settings)
            return (time.perf_counter() - start) / len(train)
        except Exception:  # whatever it is: the run itself will tell
            return None
