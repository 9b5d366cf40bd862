"""Making one run of a study: it is trained, judged, and kept in a folder named by the hash of its configuration."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import embed
from hiercl.evaluation import Report, evaluate
from hiercl.evaluation.report import REPORT, REPORT_FORM
from hiercl.runtime.files import (
    DiskFullError,
    clear_partial,
    naming_full_disk,
    read_json,
    reading,
    whole_file,
    whole_folder,
    write_atomically,
    write_json,
)
from hiercl.study.configurations import Configuration, RunData, Splits
from hiercl.training import HISTORY, Run, fit, load_run

DONE, FAILED, STOPPED, MISSING, BUSY = "done", "failed", "stopped", "missing", "busy"
COMPLETE, SECONDS = "configuration.json", "seconds.json"
ONE_AT_A_TIME = threading.Lock()  # one training in a process: weights are drawn from torch's one generator


@dataclass(frozen=True)
class Place:
    """Paths of a run. Studies that have a run in common find it in the same folder.

    Attributes:
        folder: folder of the training.
        report: folder of the report.
        bank_features: file with the features of the labelled items.
        features: file with the features of the test items.
        error: file with the error of the last attempt; it exists if that attempt failed.
    """

    folder: Path
    report: Path
    bank_features: Path
    features: Path
    error: Path

    @classmethod
    def of(cls, configuration: Configuration, runs: Path) -> Place:
        """Returns the paths of a configuration below a folder of runs."""
        folder, report = runs / configuration.training_hash, configuration.report_hash
        bank, test = (folder / f"features-{part}.npy" for part in (configuration.bank_hash, configuration.test_hash))
        return cls(folder, folder / f"report-{report}", bank, test, folder / f"error-{report}.txt")

    @property
    def state(self) -> str:
        """State of the run. "done": it has a report. "failed": the last attempt ended with an error. "stopped": it has
        begun, and another process may be working on it. "missing": it has not begun."""
        if self.judged:
            return DONE
        if self.error.exists():
            return FAILED
        return STOPPED if self.folder.exists() else MISSING

    @property
    def judged(self) -> bool:
        """Whether there is a report, and it is whole."""
        return _is_whole(self.report / REPORT) and _is_whole(self.report / SECONDS)

    @property
    def seconds(self) -> float:
        """Seconds of the judging."""
        return read_json(self.report / SECONDS, f"delete the folder {self.report}, and run the study again")["seconds"]

    @property
    def why(self) -> str:
        """The last line of the error; empty where there is none."""
        lines = self.error.read_text(errors="replace").strip().splitlines() if self.error.exists() else []
        return lines[-1] if lines else ""

    def load(self, **functions: Any) -> tuple[Run, Report]:
        """Loads the run and its report.

        Args:
            functions: settings that are no plain values, see :func:`~hiercl.load_run`; :meth:`Member.load` gives them.
        """
        return load_run(self.folder / "run", **functions), Report.load(self.report)

    def test_features(self) -> np.ndarray:
        """Loads the features of the test items, ``[n, d]``."""
        with reading(self.features, f"delete it, and the folder {self.report}, and run the study again"):
            return np.load(self.features, allow_pickle=False)


def history_of(folder: Path) -> pd.DataFrame:
    """Loads the history of the training in a folder; empty before the first epoch.

    Raises:
        ValueError: the file is cut or altered.
    """
    file = folder / "run" / HISTORY
    try:
        with reading(file, "write it again, with hiercl.load_run(folder).history.to_csv(file, index=False)"):
            found = pd.read_csv(file)
            found[["epoch", "loss", "seconds"]].astype(float)
            return found
    except FileNotFoundError:
        return pd.DataFrame()
    except ValueError:
        if not file.read_bytes().strip():  # no epoch yet
            return pd.DataFrame()
        raise


def make_run(
    configuration: Configuration,
    runs: Path,
    given: Splits | None = None,
    wait: bool = True,
    threads: int | None = None,
    after_epoch: Callable[[Run], None] | None = None,
) -> str:
    """Trains and judges one configuration, unless that is done already.

    A run that was stopped goes on from its last whole epoch. An error is written into the folder of the run and is not
    raised. If several processes want the same run, one of them makes it.

    Args:
        configuration: the configuration.
        runs: folder of the runs.
        given: data sets of your own, in place of those that the configuration names.
        wait: whether to wait for another process that makes the same run; without it the state is "busy".
        threads: number of threads of torch; None leaves it as it is.
        after_epoch: is called with the run after each epoch.

    Returns:
        The state of the run: "done", "failed" or "busy".

    Raises:
        KeyboardInterrupt: the training was interrupted.
        DiskFullError: there is no room for the run. What was there before stays, and the run can go on.
    """
    place = Place.of(configuration, runs)
    if place.state == DONE:
        return DONE
    if threads:
        torch.set_num_threads(threads)
    with naming_full_disk(place.folder):
        runs.mkdir(parents=True, exist_ok=True)
    try:
        with ONE_AT_A_TIME, FileLock(runs / f"{place.folder.name}.lock", timeout=-1 if wait else 0):
            if place.state == DONE:
                return DONE
            with naming_full_disk(place.folder):
                place.folder.mkdir(exist_ok=True)
            place.error.unlink(missing_ok=True)
            clear_partial(place.folder)
            if place.report.exists():
                warnings.warn(f"{place.report} holds a damaged report: the run is judged again.", stacklevel=2)
                shutil.rmtree(place.report)
            try:
                _train_and_judge(configuration, place, given, [after_epoch] if after_epoch else [])
            except DiskFullError:
                raise  # the next run would fail, too
            except Exception:
                write_atomically(place.error, traceback.format_exc())
                return FAILED
            return DONE
    except Timeout:
        return BUSY


def _train_and_judge(configuration: Configuration, place: Place, given: Splits | None, callbacks: list) -> None:
    write_json(place.folder / COMPLETE, configuration.complete, indent=1)
    data = RunData.of(configuration.data, given)
    if data.facts != configuration.facts:
        raise ValueError(
            f"the data {configuration.data.name!r} are not the data that the study was made for: the files have "
            "changed, or this machine has other files."
        )
    out = place.folder / "run"
    more = {"resume": True, "progress": False, "callbacks": callbacks}
    run = fit(configuration.method, data.train, out=out, **more, **configuration.settings)
    if run.interrupted:
        raise KeyboardInterrupt
    # A process that was killed between the two files of a checkpoint leaves a history without its last epoch.
    write_atomically(out / HISTORY, run.history.to_csv(index=False))
    start = time.perf_counter()
    judged = asdict(configuration.evaluate)
    judged["draws"] = judged.pop("label_draws")
    features = _features(run, data.bank, place.bank_features), _features(run, data.test, place.features)
    report = evaluate(run, data.bank, data.test, features=features, progress=False, **judged)
    _save(report, place.report, time.perf_counter() - start)


def _features(run: Run, dataset: HierarchicalDataset, file: Path) -> torch.Tensor:
    """Features of a data set, from their file if it exists and is whole."""
    try:
        found = np.array(np.load(file, mmap_mode="r", allow_pickle=False))
        if found.ndim == 2 and len(found) == len(dataset) and found.dtype == np.float32 and np.isfinite(found).all():
            return torch.from_numpy(found)
    except FileNotFoundError:
        pass
    except (ValueError, OSError, EOFError, TypeError):
        warnings.warn(f"{file} is cut or altered: it is made again.", stacklevel=2)
    features = embed(run, dataset)
    with whole_file(file, 4 * features.numel()) as new:
        np.save(new, features.numpy())
    return features


def _save(report: Report, folder: Path, seconds: float) -> None:
    """Writes the whole report and the seconds that it took, or nothing."""
    with whole_folder(folder) as new:
        report.save(new)
        write_json(new / SECONDS, {"seconds": seconds})


def _is_whole(file: Path) -> bool:
    """Whether a file of a report can be read."""
    try:
        about = file.stat()
    except OSError:
        return False
    return _is_whole_now(file, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=100_000)
def _is_whole_now(file: Path, changed: int, size: int) -> bool:
    """The same of a file as it is; it is looked at once."""
    try:
        read_json(file, "", {"seconds": float | int} if file.name == SECONDS else REPORT_FORM)
    except (ValueError, OSError):
        return False
    return True
