"""Estimate: how long runs will take, from runs that exist or from a short trial."""

from __future__ import annotations

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.evaluation.report import REPORT, REPORT_FORM
from hiercl.runtime.config import without_added
from hiercl.runtime.files import read_json
from hiercl.study.configurations import Configuration, EvaluateConfig, RunData, Splits
from hiercl.study.running import COMPLETE, ONE_AT_A_TIME, SECONDS, Place, history_of
from hiercl.training import fit, read_config

TRIAL_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """Seconds that runs take, one after another.

    Attributes:
        seconds: seconds of each run; NaN where they are unknown.
        tried: number of kinds of run that a short trial measured, because no run of that kind exists.
        judging_known: whether the seconds include the judging. They do once a first run was judged.
    """

    seconds: tuple[float, ...]
    tried: int
    judging_known: bool

    @property
    def total(self) -> float:
        """Seconds of all runs. An unknown run counts as the mean of the others; NaN where all are unknown."""
        known = [value for value in self.seconds if not math.isnan(value)]
        return float(np.mean(known)) * len(self.seconds) if known else math.nan if self.seconds else 0.0

    def describe(self, of: int, names: list[str]) -> str:
        """Returns a text: which runs would be made, and how long that would take.

        Args:
            of: number of all runs of the study.
            names: name of each run of the estimate.
        """
        notes = [f"{self.tried} kinds of run measured by a short trial"] if self.tried else []
        notes += ["without the judging, whose time is not known yet"] if names and not self.judging_known else []
        head = f"{len(names)} of {of} runs would be made, about {duration(self.total)} one after another"
        head += f" ({'; '.join(notes)})" if notes else ""
        runs = zip(names, self.seconds, strict=True)
        lines = [f"  {name}: {duration(value)}" for name, value in runs]
        return "\n".join([head + (":" if lines else "."), *lines])


def estimate(
    configurations: list[Configuration], runs: Path, given: Splits | None = None, trial: bool = True
) -> Estimate:
    """Estimates how long runs would take.

    Training time is proportional to items times epochs, for each kind of run (method, its settings, encoder, size of
    the views, batch). Epochs that are done do not count. Judging takes as long as that of runs that were judged alike,
    else the median of all.

    Args:
        configurations: the runs.
        runs: folder with runs that exist.
        given: data sets of your own, in place of those that the configurations name.
        trial: whether to measure a kind without a run by a short trial. Without it, such a kind counts as the median of
            the others.
    """
    rates, judging = _measured(runs)
    every = [value for values in judging.values() for value in values]
    median = float(np.median([*rates.values()])) if rates and not trial else math.nan  # for kinds without a run
    seconds, tried = [], 0
    for made in configurations:
        kind = _kind(made.complete)
        if kind not in rates and trial:
            rates[kind] = _trial(made, given)
            tried += not math.isnan(rates[kind])
        rate, epochs = rates.get(kind, median), made.complete["fit"]["epochs"]
        left = max(0, epochs - len(history_of(Place.of(made, runs).folder)))
        alike = judging.get(_way(made.complete["judged"]), every)
        judged = float(np.median(alike)) if alike else 0.0
        seconds.append(rate * made.facts.shape[0] * left + judged)
    return Estimate(tuple(seconds), tried, bool(every))


def duration(seconds: float) -> str:
    """Returns a duration in words.

    Example:
        >>> duration(200.0), duration(7260.0)
        ('3 min 20 s', '2 h 1 min')
    """
    if math.isnan(seconds):
        return "an unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _kind(complete: Mapping[str, Any]) -> str:
    """Runs of one kind take equally long for an item and an epoch."""
    names = ("encoder", "resize", "batch", "norm", "precision", "compile")
    fit_settings = {name: complete["fit"].get(name) for name in names}
    size = {name: complete["views"].get(name) for name in ("crop", "points")}
    return _sorted_json([complete["method"], complete["method_settings"], fit_settings, size])


def _way(judged: Mapping[str, Any]) -> str:
    """Reports that were made in one way take equally long."""
    return _sorted_json(without_added(EvaluateConfig, judged))


def _sorted_json(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _measured(runs: Path) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Seconds of training for an item and an epoch, by kind of run; and seconds of every judging, by how it judged."""
    rates, judging = defaultdict(list), defaultdict(list)
    for file in sorted(runs.glob(f"*/{COMPLETE}")):
        with suppress(ValueError, KeyError, TypeError, OSError):  # a damaged file, perhaps of another study
            folder, complete, history = file.parent, read_json(file, ""), history_of(file.parent)
            if len(history):
                items = read_config(folder / "run")["setting"]["items"]
                rates[_kind(complete)].append(history["seconds"].mean() / items)
            for seconds in folder.glob(f"report-*/{SECONDS}"):
                protocol = read_json(seconds.parent / REPORT, "", REPORT_FORM)["protocol"]
                found = {"sample": None, **protocol}
                judged = complete["judged"] | {name: found[name] for name in ("label_fractions", "knn_k", "sample")}
                judging[_way(judged)].append(float(read_json(seconds, "")["seconds"]))
    return {kind: float(np.median(values)) for kind, values in rates.items()}, judging


def _trial(made: Configuration, given: Splits | None) -> float:
    """Seconds for an item and an epoch, measured over a few steps; NaN for a run that fails so soon."""
    settings: dict[str, Any] = {**made.settings, "epochs": 1, "monitor_every": 0, "progress": False}
    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about schedules that never begin in one epoch
        try:
            train = RunData.of(made.data, given).train
            count = min(len(train), TRIAL_STEPS * made.complete["fit"]["batch"])
            train = train.take(np.arange(count) * len(train) // count)  # data may be sorted by class
            try:  # without a warm-up the method does all its work from the start
                fit(made.method, train, **dict(settings, warm_up=0.0))  # the first steps of a process are slow
                settings["warm_up"] = 0.0
            except ValueError:  # this method has no warm-up
                fit(made.method, train, **settings)
            run = fit(made.method, train, **settings)
            return float(run.history["seconds"].mean()) / len(train)  # without what is done once for each run
        except Exception:  # the run itself will show the error
            return math.nan
