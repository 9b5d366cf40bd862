"""Estimate: how long runs will take, from those that are there, or from a short trial."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.study.configurations import Configuration, Parts, Splits
from hiercl.study.running import COMPLETE, ONE_AT_A_TIME, SECONDS, Place, history_of
from hiercl.training import fit

TRIAL_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """Seconds that runs take, one after another.

    Attributes:
        seconds: of each run; None where it cannot be known.
        tried: how many kinds of run were measured by a short trial, as no run like them is there yet.
        judging_known: whether the judging is among the seconds: it is not before a first run was judged.
    """

    seconds: tuple[float | None, ...]
    tried: int
    judging_known: bool

    @property
    def total(self) -> float:
        """Of all runs; an unknown one counts as the mean of the others, and nothing known as NaN."""
        known = [value for value in self.seconds if value is not None]
        if not self.seconds:
            return 0.0
        return float(np.mean(known)) * len(self.seconds) if known else math.nan

    def describe(self, of: int, names: list[str]) -> str:
        """In words: which runs would be made, and how long that would take."""
        lines = [
            f"  {name}: {'unknown' if value is None else duration(value)}"
            for name, value in zip(names, self.seconds, strict=True)
        ]
        head = f"{len(names)} of {of} runs would be made, about {duration(self.total)} one after another"
        notes = [f"{self.tried} kinds of run measured by a short trial"] if self.tried else []
        notes += ["without the judging, of which nothing is known yet"] if lines and not self.judging_known else []
        return "\n".join([head + (f" ({'; '.join(notes)})" if notes else "") + (":" if lines else "."), *lines])


def estimate(
    configurations: list[Configuration], runs: Path, given: Splits | None = None, trial: bool = True
) -> Estimate:
    """How long these would take. Time is proportional to items times epochs, for each kind of run (method, its
    settings, encoder, size of views and batch); epochs that are done do not count. The judging is added: as it was for
    runs that were judged alike, else the median of all. Without ``trial`` a kind of which no run is there counts as the
    median of the others.
    """
    rates: dict[str, float | None] = dict(_training(runs))
    judging = _judging(runs)
    every = [value for values in judging.values() for value in values]
    middle = float(np.median([*rates.values()])) if rates and not trial else None  # of kinds that nothing is known of
    seconds, tried = [], 0
    for made in configurations:
        kind = _kind(made.complete)
        if kind not in rates and trial:
            rates[kind] = _trial(made, given)
            tried += rates[kind] is not None
        rate = rates.get(kind, middle)
        epochs = made.complete["fit"]["epochs"]
        left = epochs - min(epochs, len(history_of(Place.of(made, runs).folder)))
        alike = judging.get(_way(made.complete), every)
        judged = float(np.median(alike)) if alike else 0.0
        seconds.append(None if rate is None else rate * made.facts.train.items * left + judged)
    return Estimate(tuple(seconds), tried, bool(every))


def duration(seconds: float) -> str:
    """In words: ``"3 min 20 s"``.

    Example:
        >>> duration(200), duration(7260)
        ('3 min 20 s', '2 h 1 min')
    """
    if math.isnan(seconds):
        return "an unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _kind(complete: dict[str, Any]) -> str:
    """Runs of one kind take equally long for an item and an epoch."""
    fit_settings = {name: complete["fit"][name] for name in ("encoder", "batch", "norm", "precision", "compile")}
    size = {name: complete["views"].get(name) for name in ("crop", "points")}
    return json.dumps([complete["method"], complete["method_settings"], fit_settings, size], sort_keys=True)


def _way(complete: dict[str, Any]) -> str:
    return json.dumps(complete["judged"], sort_keys=True)


def _training(runs: Path) -> dict[str, float]:
    """Of every kind that is there: seconds for an item and an epoch."""
    found: dict[str, list[float]] = {}
    for folder, complete in _begun(runs):
        history = history_of(folder)
        if len(history):
            items = json.loads((folder / "run" / "config.json").read_text())["setting"]["items"]
            found.setdefault(_kind(complete), []).append(history["seconds"].mean() / items)
    return {kind: float(np.median(rates)) for kind, rates in found.items()}


def _judging(runs: Path) -> dict[str, list[float]]:
    """Seconds of all judgings, by how they were judged."""
    found: dict[str, list[float]] = {}
    for folder, complete in _begun(runs):
        for file in folder.glob(f"report-*/{SECONDS}"):
            protocol = json.loads((file.parent / "report.json").read_text())["protocol"]
            way = {"label_fractions": protocol["label_fractions"], "knn_k": protocol["knn_k"]}
            own = complete["judged"] | way
            found.setdefault(json.dumps(own, sort_keys=True), []).append(json.loads(file.read_text())["seconds"])
    return found


def _begun(runs: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    for file in sorted(runs.glob(f"*/{COMPLETE}")):
        yield file.parent, json.loads(file.read_text())


def _trial(made: Configuration, given: Splits | None) -> float | None:
    """Seconds for an item and an epoch, of a few steps; None for what fails so soon."""
    settings = {**made.settings, "epochs": 1, "monitor_every": 0}
    with ONE_AT_A_TIME, warnings.catch_warnings():  # of schedules that never begin in one epoch
        warnings.simplefilter("ignore")
        try:
            train = Parts.of(made.data, given).train
            count = min(len(train), TRIAL_STEPS * made.complete["fit"]["batch"])
            train = train.take(np.arange(count) * len(train) // count)  # data may be sorted by class
            try:  # a warm-up without the method's own work tells little
                settings |= {"warm_up": 0.0}
                fit(made.method, train, progress=False, **settings)  # the first steps of a process are slow
            except ValueError:  # there is none
                del settings["warm_up"]
                fit(made.method, train, progress=False, **settings)
            start = time.perf_counter()
            fit(made.method, train, progress=False, **settings)
            return (time.perf_counter() - start) / len(train)
        except Exception:  # whatever it is: the run itself will tell
            return None
