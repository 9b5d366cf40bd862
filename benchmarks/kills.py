"""Kills trainings and studies at random moments, goes on with them, and compares with runs that were never broken.

    python benchmarks/kills.py --kills 100

Every method trains on noise, vectors and pictures in turn; every fifth time it is a study. A process is killed with
SIGKILL, one to three times for each run: at a random moment of a run's usual length; as soon as a file that is not
whole is seen; or as soon as the run has begun. After every kill the folder must hold a run with all epochs that it had
before. At the end weights, queue, prototypes, optimiser, history, features and reports must be those of the unbroken
run bit for bit, and no file may be left that is not whole.
"""

from __future__ import annotations

import argparse
import glob
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import hiercl
from hiercl.runtime.files import MARK
from hiercl.training.checkpoint import Checkpoint

TREE = hiercl.Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1"]}, level_names=("group", "class"))
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {},
    "moco": {"queue": 40},
    "hcsc": {"queue": 40, "prototypes": (2, 4), "warm_up": 0.3},
    "csml": {"queue": 40, "neighbours": 3, "neighbour_start": 0.3},
    **{name: {} for name in ("supcon", "hmc", "hce", "hmce", "a_hmlc")},
    "g_hmlc": {"warm_up": 0.3},
}
SETTINGS = {"epochs": 8, "batch": 32, "monitor_every": 3, "progress": False, "precision": "float32", "device": "cpu"}
SECONDS = "seconds cpu_seconds items_per_second refresh_seconds monitor_seconds judging_seconds".split()
STUDY_EVERY = 5
MOST_SECONDS = 300  # of a process


def noise(pictures: bool, n: int, seed: int) -> hiercl.HierarchicalDataset:
    """Returns items without any structure, in four classes."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % 4
    if pictures:
        items = rng.integers(0, 256, (n, 12, 12, 3), dtype=np.uint8)
        return hiercl.HierarchicalDataset.from_arrays(items, labels, TREE, name="noise")
    return hiercl.HierarchicalDataset.from_features(rng.normal(size=(n, 24)), labels, TREE, name="noise")


def train(method: str, pictures: bool, out: Path) -> None:
    """Trains in a folder, or goes on there."""
    settings = SETTINGS | METHODS[method] | ({"crop": 12} if pictures else {})
    hiercl.fit(method, noise(pictures, 96, 0), out=out, resume=True, **settings)


def study(out: Path) -> hiercl.Study:
    """Returns a study of four runs."""
    base = {"method": "moco", **SETTINGS, "epochs": 3, "queue": 40}
    del base["progress"]
    made = hiercl.Study(base, {"temperature": [0.1, 0.2]}, seeds=2, out=out, name="kills")
    return made.of(noise(False, 96, 0), noise(False, 40, 1))


def same(one: Any, other: Any) -> bool:
    """Whether two states have the same names and numbers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or one != one


def timeless(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=SECONDS, errors="ignore")


def check_training(out: Path, whole: Path) -> None:
    """Raises AssertionError if a training is not that of the unbroken one."""
    states = [Checkpoint(folder).read() for folder in (out, whole)]
    assert all(same(states[0][part], states[1][part]) for part in ("model", "optimiser", "epoch", "config"))
    histories = [timeless(hiercl.load_run(folder).history) for folder in (out, whole)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    pd.testing.assert_frame_equal(*(timeless(pd.read_csv(folder / "history.csv")) for folder in (out, whole)))


def check_study(out: Path, whole: Path) -> None:
    """Raises AssertionError if a study is not that of the unbroken one."""
    ended, unbroken = study(out), study(whole)
    assert not ended.missing() and not ended.failed()
    pd.testing.assert_frame_equal(timeless(ended.table()), timeless(unbroken.table()), check_exact=True)
    for ours, theirs in zip(ended.members(), unbroken.members(), strict=True):
        check_training(ours.place.folder / "run", theirs.place.folder / "run")
        assert np.array_equal(ours.place.test_features(), theirs.place.test_features())


def epochs_of(out: Path) -> int:
    """Returns the number of epochs in a folder; what is there must be whole."""
    return len(hiercl.load_run(out).history) if (out / "checkpoint.pt").exists() else 0


def epochs_of_study(out: Path) -> int:
    return sum(epochs_of(folder) for folder in out.glob("runs/*/run"))


class Case:
    """A training or a study, with its unbroken form.

    Args:
        name: what it is.
        work: does it in a folder.
        check: compares two folders.
        epochs: counts the epochs in a folder.
        whole: folder of the unbroken form.
    """

    def __init__(self, name: str, work: Callable, check: Callable, epochs: Callable, whole: Path):
        self.name, self.work, self.check, self.epochs, self.whole = name, work, check, epochs, whole
        start = time.perf_counter()
        assert wait(begin(partial(work, whole))) == 0, f"{name} fails"
        self.seconds = time.perf_counter() - start

    def broken(self, out: Path, rng: random.Random, most: int) -> list[str]:
        """Kills the work up to ``most`` times, ends it, and compares. Returns how it was killed each time."""
        said: list[str] = []
        for _ in range(most):
            before = self.epochs(out)
            how = rng.choice(["at a random moment", "while a file was written", "just begun"])
            process = begin(partial(self.work, out))
            self._until(how, out, process, rng)
            os.kill(process, signal.SIGKILL)
            if wait(process) == 0:
                break  # it had ended
            after = self.epochs(out)
            assert after >= before, f"{before - after} epochs are lost"
            said.append(f"{how}, {after} epochs done")
        assert wait(begin(partial(self.work, out))) == 0, "it does not go on"
        self.check(out, self.whole)
        left = [path for path in out.rglob(f"*{MARK}*")]
        assert not left, f"left behind: {left}"
        return said

    def _until(self, how: str, out: Path, process: int, rng: random.Random) -> None:
        """Waits for the moment of the kill, or until the process has ended."""
        end = time.perf_counter() + rng.uniform(0, self.seconds)
        skipped = rng.randrange(12)  # files that are let through
        seen: set[str] = set()
        while time.perf_counter() < end or how != "at a random moment":
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            if how == "while a file was written":
                seen |= set(glob.glob(f"{out}/**/.*{MARK}*", recursive=True, include_hidden=True))
                if len(seen) > skipped:
                    return
            elif how == "just begun" and (glob.glob(f"{out}/**/config.json", recursive=True)):
                return time.sleep(rng.uniform(0, 0.05))
            time.sleep(0.0005)


def begin(work: Callable[[], Any]) -> int:
    """Does something in a process of its own, and returns its number. It shares what is imported here."""
    process = os.fork()
    if process == 0:
        try:
            signal.alarm(MOST_SECONDS)
            warnings.simplefilter("ignore")
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return process


def wait(process: int) -> int:
    """Waits for a process. Returns its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="Number of kills.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of what is killed, and when.")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rng, start, kills, lost = random.Random(wanted.seed), time.perf_counter(), Counter(), []
    with tempfile.TemporaryDirectory() as place:
        folder, cases = Path(place), {}
        kinds = [(method, pictures) for pictures in (False, True) for method in METHODS]
        rng.shuffle(kinds)
        order = itertools.cycle(kinds)
        for number in itertools.count():
            left = wanted.kills - kills.total()
            if left <= 0:
                break
            whole = folder / f"whole-{number}"
            method, pictures = (None, False) if number % STUDY_EVERY == STUDY_EVERY - 1 else next(order)
            if (method, pictures) not in cases:
                name = f"{method} on {'pictures' if pictures else 'vectors'}" if method else "a study"
                if method:
                    parts = partial(train, method, pictures), check_training, epochs_of
                else:
                    parts = lambda out: study(out).run(progress=False), check_study, epochs_of_study
                cases[method, pictures] = Case(name, *parts, whole)
            case, out = cases[method, pictures], folder / f"broken-{number}"
            try:
                said = case.broken(out, rng, min(left, rng.randint(1, 3)))
            except AssertionError as error:
                said = ["lost"]
                lost.append(f"{case.name}: {error}")
            kills[case.name] += len(said)
            print(f"{kills.total():4} {case.name}: {'; '.join(said) or 'ended before it was killed'}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    every = ", ".join(f"{name} {count}" for name, count in sorted(kills.items()))
    print(f"\n{kills.total()} kills in {time.perf_counter() - start:.0f} seconds ({every}). Lost: {len(lost)}.")
    for line in lost:
        print(f"  {line}")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
