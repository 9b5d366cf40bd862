"""All methods on CIFAR-100: one saved list of configurations, paired seeds, a verdict for every claim.

    .venv/bin/python benchmarks/methods_table.py                                  # all that is missing, then the tables
    .venv/bin/python benchmarks/methods_table.py --steps train --arms moco csml --seeds 0
    .venv/bin/python benchmarks/methods_table.py --steps table                    # from what is there
    .venv/bin/python benchmarks/methods_table.py --encoder resnet18 --per-class 500 --epochs 200 --jobs 1    # CUDA

Three steps, each of which does what is missing and nothing twice. *select*: learning rate and temperature of every
method, from one grid, judged on a fifth of the training pictures; written into methods_arms.json. *train*: every arm
and seed, all arms of a seed before the next seed, the arms in the order of that file; one small file each under
results/, made again when its configuration has changed (the script says so). *table*: methods_results.md (every
number), and what goes into the README.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro
from joblib import Parallel, delayed
from methods_arms import HERE, Arm, ArmList, Size
from methods_pages import collect, long_page, short_page
from methods_runs import one
from methods_selection import FAILED, Tried, attempt, select


@dataclass(frozen=True)
class Table:
    """What is trained and compared."""

    steps: tuple[Literal["select", "train", "table"], ...] = ("select", "train", "table")
    """Which steps."""
    arms: tuple[str, ...] = ()
    """Arms to select for and to train; by default all."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Paired seeds; an arm has as many of the first of them as its line in the list says."""
    data: str = "cifar100"
    """Of every arm."""
    per_class: int = 100
    """Training items a class; 0: all."""
    held_out: float = 0.0
    """Share of the training items to judge by, beside the test set, instead of training on them."""
    epochs: int = 10
    """Of every arm but those that say otherwise."""
    encoder: str = "convnet"
    """Of every arm."""
    select_epochs: int = 4
    """Of every point of the grid."""
    imbalance: float = 20.0
    """Of the long tail over superclasses, largest over smallest; 1: without this part."""
    long_tail_per_class: int = 300
    """Pictures a class before the tail is cut: at an imbalance of 20, twenty superclasses keep a third of them."""
    jobs: int = 2
    """Runs at a time, one thread each (on CUDA: 1)."""
    arms_file: Path = HERE / "methods_arms.json"
    """The saved list of configurations."""
    results: Path = HERE / "results"
    """Where the numbers go (in the repository)."""
    out: Path = Path("runs/methods")
    """Where the runs go."""
    page: Path = HERE / "methods_results.md"
    """Where the long table goes; the short one goes to stdout."""

    def __post_init__(self):
        if self.imbalance < 1:
            raise ValueError(f"imbalance={self.imbalance}: it is the largest over the smallest number, at least 1.")

    @property
    def size(self) -> Size:
        return Size(self.data, self.encoder, self.per_class, self.epochs, held_out=self.held_out)

    @property
    def tail(self) -> Size | None:
        if self.imbalance == 1:
            return None
        return replace(self.size, per_class=self.long_tail_per_class, imbalance=self.imbalance)

    @property
    def selection(self) -> Size:
        return replace(self.size, epochs=self.select_epochs)

    @property
    def threads(self) -> int | None:
        return 1 if self.jobs > 1 else None


def plan(table: Table, listed: ArmList) -> list[tuple[Arm, Size, int]]:
    """All arms of a seed before the next seed; in a seed the arms as the list has them, then those of the long tail."""
    arms, jobs = listed.named(table.arms), []
    for place, seed in enumerate(table.seeds):
        planned = [arm for arm in arms if place < arm.seeds]
        jobs += [(arm, table.size, seed) for arm in planned]
        jobs += [(arm, table.tail, seed) for arm in planned if arm.long_tail and table.tail]
    return jobs


def train(table: Table, listed: ArmList) -> int:
    """Trains and judges what is missing; gives the number of runs that failed."""
    work = (
        delayed(attempt)(one, listed, arm, size, seed, table.results, table.out, table.threads)
        for arm, size, seed in plan(table, listed)
    )
    return sum(result == FAILED for result in Parallel(n_jobs=table.jobs)(work))


def main(table: Table) -> int:
    """Runs the steps; gives the number of runs that failed."""
    listed, failed = ArmList.load(table.arms_file), 0
    tried_out = Tried.at(table.results, table.selection)
    if "select" in table.steps:
        names = {arm.chosen_by for arm in listed.named(table.arms)}
        arms = [arm for arm in listed.representatives() if arm.name in names]
        listed = select(listed, arms, table.selection, tried_out, table.jobs, table.threads)
    if "train" in table.steps:
        failed = train(table, listed)
    if "table" in table.steps:
        found = collect(listed, table.size, table.seeds, table.results)
        tail = collect(listed, table.tail, table.seeds, table.results) if table.tail else None
        table.page.write_text(
            long_page(table.data, listed, found, tail, table.tail.name if table.tail else "", tried_out)
        )
        print(short_page(listed, found, tail))
    return failed


if __name__ == "__main__":
    failures = main(tyro.cli(Table))
    sys.exit(f"{failures} runs failed: see above" if failures else 0)
