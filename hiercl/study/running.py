"""One run of a study: trained, judged and kept in a folder that bears the hash of its configuration."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import embed
from hiercl.evaluation import Report, evaluate
from hiercl.study.configurations import Configuration, Parts, Splits
from hiercl.training import HISTORY, Run, fit, load_run, write_atomically

DONE, FAILED, STOPPED, MISSING, BUSY = "done", "failed", "stopped", "missing", "busy"
COMPLETE, SECONDS = "configuration.json", "seconds.json"
ONE_AT_A_TIME = threading.Lock()  # of a process: weights are drawn from torch's one generator


@dataclass(frozen=True)
class Place:
    """Where a run is kept, whoever makes it: studies with a run in common find it in the same folder.

    Attributes:
        folder: of the training.
        report: of what it was judged to be.
        bank_features: of the labelled items for probe and neighbours.
        features: of the test items.
        error: what went wrong, if anything did.
    """

    folder: Path
    report: Path
    bank_features: Path
    features: Path
    error: Path

    @classmethod
    def of(cls, configuration: Configuration, runs: Path) -> Place:
        """The place of a configuration below a folder of runs."""
        folder, judged = runs / configuration.training_hash, configuration.judged_hash
        features = [folder / f"features-{part}.npy" for part in (configuration.bank_hash, configuration.test_hash)]
        return cls(folder, folder / f"report-{judged}", *features, folder / f"error-{judged}.txt")

    @property
    def state(self) -> str:
        """done: judged; failed: its error is kept; stopped: begun, and perhaps being made by another process;
        missing."""
        if (self.report / "report.json").exists():
            return DONE
        if self.error.exists():
            return FAILED
        return STOPPED if self.folder.exists() else MISSING

    @property
    def why(self) -> str:
        """The last line of what went wrong; empty when nothing did."""
        try:
            return self.error.read_text().strip().splitlines()[-1]
        except (FileNotFoundError, IndexError):
            return ""

    def load(self) -> tuple[Run, Report]:
        """The run and its report."""
        return load_run(self.folder / "run"), Report.load(self.report)

    def test_features(self) -> np.ndarray:
        """Features of the test items, ``[n, d]``."""
        return np.load(self.features)


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
        with ONE_AT_A_TIME, FileLock(runs / f"{place.folder.name}.lock", timeout=-1 if wait else 0):
            return DONE if place.state == DONE else _made(configuration, place, given, after_epoch)
    except Timeout:
        return BUSY


def _made(
    configuration: Configuration, place: Place, given: Splits | None, after_epoch: Callable[[Run], None] | None
) -> str:
    place.folder.mkdir(exist_ok=True)
    try:
        place.error.unlink(missing_ok=True)
        write_atomically(place.folder / COMPLETE, json.dumps(configuration.complete, indent=1).encode())
        parts = Parts.of(configuration.data, given)
        _check_data(configuration, parts)
        callbacks = [after_epoch] if after_epoch else []
        run = fit(
            configuration.method,
            parts.train,
            out=place.folder / "run",
            resume=True,
            progress=False,
            callbacks=callbacks,
            **configuration.settings,
        )
        if run.interrupted:
            raise KeyboardInterrupt
        # A process that was killed between the two files of a checkpoint leaves a history without its last epoch.
        write_atomically(place.folder / "run" / HISTORY, run.history.to_csv(index=False).encode())
        start = time.perf_counter()
        judged = configuration.judged
        report = evaluate(
            run,
            parts.bank,
            parts.test,
            label_fractions=judged.label_fractions,
            draws=judged.label_draws,
            knn_k=judged.knn_k,
            knn_temperature=judged.knn_temperature,
            features=(_features(run, parts.bank, place.bank_features), _features(run, parts.test, place.features)),
            progress=False,
        )
        _save(report, place.report, time.perf_counter() - start)
    except Exception:
        write_atomically(place.error, traceback.format_exc().encode())
        return FAILED
    return DONE


def _check_data(configuration: Configuration, parts: Parts) -> None:
    """Raises ValueError for other data than those that the configuration was made for: on another machine, say."""
    if parts.facts != configuration.facts:
        raise ValueError(
            f"the data {configuration.data.name!r} are not those that the study was made for: the files have changed, "
            "or this machine has others."
        )


def _features(run: Run, dataset: HierarchicalDataset, file: Path) -> torch.Tensor:
    """Features of a data set; kept, so that they are made once."""
    if not file.exists():
        temporary = file.with_suffix(".partial.npy")
        np.save(temporary, embed(run, dataset).numpy())
        temporary.replace(file)
    return torch.from_numpy(np.load(file))


def _save(report: Report, folder: Path, seconds: float) -> None:
    """All of a report, and how long it took, or nothing."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        report.save(temporary)
        (temporary / SECONDS).write_text(json.dumps({"seconds": seconds}))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def history_of(folder: Path) -> pd.DataFrame:
    """What was written down of every epoch so far of the training in a folder; empty before the first."""
    try:
        return pd.read_csv(folder / "run" / HISTORY)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def cost(place: Place) -> dict[str, float]:
    """Seconds of a run that is done: of its training (``seconds``, ``cpu_seconds``) and of judging it."""
    history = history_of(place.folder)
    found = {name: float(history[name].sum()) if name in history else 0.0 for name in ("seconds", "cpu_seconds")}
    return found | {"judging_seconds": json.loads((place.report / SECONDS).read_text())["seconds"]}
