"""One run of a study: trained, judged and kept in a folder that bears the hash of its configuration."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from hiercl.checkpoint import HISTORY, write_atomically
from hiercl.embedding import embed
from hiercl.evaluation import evaluate
from hiercl.report import Report
from hiercl.runs import Run, load_run
from hiercl.settings import from_json
from hiercl.study.configurations import Configuration, DataConfig, Splits, splits, trained_on
from hiercl.training import fit

DONE, FAILED, STOPPED, MISSING, BUSY = "done", "failed", "stopped", "missing", "busy"
COMPLETE, ERROR, FEATURES, SECONDS = "configuration.json", "error.txt", "features.npz", "seconds.json"


@dataclass(frozen=True)
class Place:
    """Where a run is kept, whoever makes it: studies with a run in common find it in the same folder.

    Attributes:
        folder: of the training.
        report: of what it was judged to be.
    """

    folder: Path
    report: Path

    @classmethod
    def of(cls, configuration: Configuration, runs: Path) -> Place:
        folder = runs / configuration.training_hash
        return cls(folder, folder / f"report-{configuration.judged_hash}")

    @property
    def state(self) -> str:
        """done: judged; failed: its error is kept; stopped: trained in part; missing."""
        if (self.report / "report.json").exists():
            return DONE
        if (self.folder / ERROR).exists():
            return FAILED
        return STOPPED if self.folder.exists() else MISSING

    @property
    def error(self) -> str:
        """The last line of what went wrong."""
        file = self.folder / ERROR
        return file.read_text().strip().splitlines()[-1] if file.exists() else ""

    def load(self) -> tuple[Run, Report]:
        """The run and its report."""
        return load_run(self.folder / "run"), Report.load(self.report)

    def features(self) -> np.ndarray:
        """Features of the test items, ``[n, d]``."""
        with np.load(self.folder / FEATURES) as file:
            return file["test"]


def one(
    configuration: Configuration,
    runs: Path,
    given: Splits | None = None,
    wait: bool = True,
    threads: int | None = None,
    after_epoch: Callable[[Run], None] | None = None,
) -> str:
    """Trains and judges one configuration, as far as that is not done; gives its state.

    A run that was stopped at any moment goes on from its last whole epoch. What goes wrong is written into its folder,
    and raises nothing. Of several processes that want the same run one makes it, and the others wait or, with
    ``wait=False``, leave it (busy).
    """
    place = Place.of(configuration, runs)
    if place.state == DONE:
        return DONE
    if threads:
        torch.set_num_threads(threads)
    runs.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(runs / f"{place.folder.name}.lock", timeout=-1 if wait else 0):
            if place.state == DONE:
                return DONE
            return _made(configuration, place, given, after_epoch)
    except Timeout:
        return BUSY


def _made(
    configuration: Configuration, place: Place, given: Splits | None, after_epoch: Callable[[Run], None] | None
) -> str:
    place.folder.mkdir(exist_ok=True)
    (place.folder / ERROR).unlink(missing_ok=True)
    content = json.dumps(configuration.complete, indent=1).encode()
    write_atomically(place.folder / COMPLETE, content)
    try:
        train, test = splits(configuration.data, given)
        run = fit(
            configuration.method,
            trained_on(configuration.data, train),
            out=place.folder / "run",
            resume=True,
            progress=False,
            callbacks=[after_epoch] if after_epoch else [],
            **configuration.settings,
        )
        if run.interrupted:
            raise KeyboardInterrupt
        start = time.perf_counter()
        features = _features(run, train, test, place.folder / FEATURES)
        judged = configuration.judged
        report = evaluate(
            run,
            train,
            test,
            label_fractions=judged.label_fractions,
            draws=judged.label_draws,
            knn_k=judged.knn_k,
            knn_temperature=judged.knn_temperature,
            features=features,
        )
        _save(report, place.report, time.perf_counter() - start)
    except Exception:
        write_atomically(place.folder / ERROR, traceback.format_exc().encode())
        return FAILED
    return DONE


def _features(run: Run, *parts_and_file: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of training and test set; kept, so that they are made once."""
    *parts, file = parts_and_file
    if not file.exists():
        train, test = (embed(run, part).numpy() for part in parts)
        temporary = file.with_suffix(".partial.npz")
        np.savez(temporary, train=train, test=test)
        temporary.replace(file)
    with np.load(file) as kept:
        return torch.from_numpy(kept["train"]), torch.from_numpy(kept["test"])


def _save(report: Report, folder: Path, seconds: float) -> None:
    """All of a report, and how long it took, or nothing."""
    temporary = Path(tempfile.mkdtemp(prefix=".report.", dir=folder.parent))
    try:
        report.save(temporary)
        (temporary / SECONDS).write_text(json.dumps({"seconds": seconds}))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def history_of(place: Place) -> pd.DataFrame:
    """What was written down of every epoch so far; empty before the first."""
    file = place.folder / "run" / HISTORY
    try:
        return pd.read_csv(file)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def cost(place: Place) -> dict[str, float]:
    """Seconds of a run that is done: of its training (``seconds``, ``cpu_seconds``) and of judging it."""
    history = history_of(place)
    found = {name: float(history[name].sum()) if name in history else 0.0 for name in ("seconds", "cpu_seconds")}
    return found | {"judging_seconds": json.loads((place.report / SECONDS).read_text())["seconds"]}


def data_of(complete: dict[str, Any]) -> DataConfig:
    """The data of a configuration that was kept."""
    return from_json(DataConfig, {name: value for name, value in complete["data"].items() if name != "train"})
