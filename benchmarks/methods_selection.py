"""Learning rate and temperature of every method: one grid, the same effort for each, judged on training pictures."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from methods_arms import Arm, ArmList, Size, configuration, differences
from methods_runs import compact
from paired import markdown

import hiercl
from hiercl import metrics
from hiercl.checkpoint import write_atomically
from hiercl.probes import LinearProbe
from hiercl.training import TrainingDivergedError

VALIDATION = 0.2  # of the training pictures


@dataclass(frozen=True)
class Tried:
    """The points of the grid that were tried, in a file."""

    file: Path

    @classmethod
    def at(cls, results: Path, size: Size) -> Tried:
        return cls(results / size.name / "selection.json")

    def rows(self) -> list[dict[str, Any]]:
        return json.loads(self.file.read_text()) if self.file.exists() else []

    def add(self, row: dict[str, Any], grid: list[str]) -> None:
        """Writes a row in the place of an earlier one of the same arm and point; one line each."""
        same = [row[name] for name in ("arm", *grid)]
        rows = [other for other in self.rows() if [other[name] for name in ("arm", *grid)] != same] + [row]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
        write_atomically(self.file, f"[\n{lines}\n]\n".encode())


def points(listed: ArmList) -> list[dict[str, float]]:
    """The grid."""
    return [dict(zip(listed.grid, values, strict=True)) for values in product(*listed.grid.values())]


def select(listed: ArmList, arms: list[Arm], size: Size, tried_out: Tried, jobs: int, threads: int | None) -> ArmList:
    """Tries what has not been tried, and writes the best point of the grid for every arm into the list.

    Of equals the first is taken. Beside the choice stand the median CPU seconds of a try: what the method costs.
    """
    fitted = size.load()[0].split(VALIDATION, seed=0)[0]

    def found(arm: Arm, choice: dict[str, float]) -> dict[str, Any] | None:
        settings = with_choice(listed, arm, choice).settings(arm, size, seed=0)
        here = configuration(arm.method, settings, fitted)
        rows = [row for row in tried_out.rows() if row["arm"] == arm.name]
        return next((row for row in rows if not differences(row["configuration"], here)), None)

    arms = [arm for arm in arms if attempt(found, arm, points(listed)[0]) != FAILED]  # its settings are valid
    missing = [(arm, choice) for choice in points(listed) for arm in arms if found(arm, choice) is None]
    work = (delayed(attempt)(tried, listed, arm, choice, size, threads) for arm, choice in missing)
    for row in Parallel(n_jobs=jobs, return_as="generator_unordered")(work):
        if row != FAILED:
            tried_out.add(row, [*listed.grid])
    choices = {}
    for arm in arms:
        rows = [row for choice in points(listed) if (row := found(arm, choice))]
        seconds = sorted(row["cpu_seconds"] for row in rows if not row["diverged"])
        if len(rows) < len(points(listed)) or not seconds:
            print(f"{arm.name}: nothing chosen, for want of points that ended well", file=sys.stderr)
            continue
        best = max((row for row in rows if not row["diverged"]), key=lambda row: row["mean"])
        choices[arm.chosen_by] = {name: best[name] for name in listed.grid} | {
            "cpu_seconds": seconds[len(seconds) // 2]
        }
    chosen = listed.with_choices(choices)
    if chosen != listed:
        chosen.save()
    return chosen


def tried(listed: ArmList, arm: Arm, choice: dict[str, float], size: Size, threads: int | None) -> dict[str, Any]:
    """One point of the grid: trained on four fifths of the training pictures, judged by a linear probe on the last."""
    if threads:
        torch.set_num_threads(threads)
    fitted, held_out = size.load()[0].split(VALIDATION, seed=0)
    settings = with_choice(listed, arm, choice).settings(arm, size, seed=0)
    found = {"arm": arm.name, **choice}
    wanted = {"configuration": configuration(arm.method, settings, fitted)}
    try:
        run = hiercl.fit(arm.method, fitted, progress=False, **settings)
    except TrainingDivergedError:
        return compact(found | {"diverged": True}) | wanted
    bank, queries = hiercl.embed(run, fitted), hiercl.embed(run, held_out)
    linear = {}
    for level, name in enumerate(fitted.hierarchy.level_names):
        classes = fitted.hierarchy.sizes[level]
        probe = LinearProbe.fit(bank, torch.as_tensor(fitted.labels_at(level)), classes=classes)
        linear[name] = 100 * metrics.accuracy(probe.predict(queries).numpy(), held_out.labels_at(level))
    mean, seconds = float(np.mean(list(linear.values()))), run.history["cpu_seconds"].sum()
    print(f"{arm.name} {choice}: {mean:.2f} %, {seconds:.0f} CPU s", flush=True)
    return compact(found | {"diverged": False, "linear": linear, "mean": mean, "cpu_seconds": seconds}) | wanted


def with_choice(listed: ArmList, arm: Arm, choice: dict[str, float]) -> ArmList:
    return listed.with_choices({arm.chosen_by: choice})


FAILED = "failed"


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function; what goes wrong with one arm is printed and does not stop the others."""
    try:
        return function(*arguments)
    except Exception:
        traceback.print_exc()
        return FAILED


def tried_table(listed: ArmList, tried_out: Tried) -> str:
    """Every point of the grid for every method, the chosen one bold."""
    rows = {(row["arm"], *(row[name] for name in listed.grid)): row for row in tried_out.rows()}
    grid = [tuple(point.values()) for point in points(listed)]
    body = []
    for arm in listed.representatives():
        choice, cells = listed.chosen.get(arm.chosen_by, {}), []
        for point in grid:
            row = rows.get((arm.name, *point))
            cell = "" if row is None else "diverged" if row["diverged"] else f"{row['mean']:.2f}"
            is_chosen = cell and point == tuple(choice.get(name) for name in listed.grid)
            cells.append(f"**{cell}**" if is_chosen else cell)
        body.append([arm.name, *cells])
    heads = [", ".join(f"{name} {value:g}" for name, value in point.items()) for point in points(listed)]
    return markdown([["arm", *heads], *body])
