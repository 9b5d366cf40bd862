"""MoCo v2 against HCSC on the real CIFAR-100: paired seeds, every metric, few labels, transfer, intervals, verdicts.

    .venv/bin/python benchmarks/cifar100_table.py                       # do what is missing, then print the table
    .venv/bin/python benchmarks/cifar100_table.py --per-class 500 --epochs 200 --encoder resnet18 --jobs 1   # CUDA

Every arm and seed is trained twice: on all superclasses, and on ten of them (drawn with the seed, the same for all
arms), to be judged on classes that it has never seen: those of the other ten, and the characters of Omniglot. Every
run is a folder under --out and is resumed when the script is stopped and started again; a report that is there is not
made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from joblib import Parallel, delayed
from paired import difference, digits, direction, interval_cell, markdown, mean_cell

import hiercl
from hiercl.datasets import HierarchicalDataset

ARMS: dict[str, dict[str, Any]] = {
    "moco": {"method": "moco"},
    "hcsc": {"method": "hcsc"},
    # the search for a cause: one thing changed at a time
    "hcsc-none": {"method": "hcsc", "select": "none"},
    "hcsc-instances": {"method": "hcsc", "select": "instances"},
    "hcsc-prototypes": {"method": "hcsc", "select": "prototypes"},
    "hcsc-20-100-500": {"method": "hcsc", "prototypes": (20, 100, 500)},
    "hcsc-warm-up-half": {"method": "hcsc", "warm_up": 0.5},
    "hcsc-official": {"method": "hcsc", "removed": "zeroed", "reduce": "sum", "scale": "official"},
    "hcsc-20": {"method": "hcsc", "prototypes": (20,), "select": "instances"},
}


@dataclass(frozen=True)
class Table:
    """What is trained and compared."""

    arms: tuple[str, ...] = ("moco", "hcsc")
    """Arms to train."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Paired seeds."""
    per_class: int = 200
    """Training pictures a class."""
    epochs: int = 15
    """Of every arm."""
    encoder: str = "convnet"
    """Of every arm."""
    label_fractions: tuple[float, ...] = (0.01, 0.1)
    """Shares of the training labels."""
    draws: int = 3
    """Of these labels."""
    jobs: int = 2
    """Runs at a time, one thread each (on CUDA: 1)."""
    out: Path = Path("runs/cifar100")
    """Where the runs go."""

    @property
    def folder(self) -> Path:
        return self.out / f"{self.encoder}-{self.per_class}x{self.epochs}"


def ten_superclasses(hierarchy: hiercl.Hierarchy, seed: int) -> tuple[list[str], list[str]]:
    """Ten superclasses drawn with the seed, and the other ten."""
    names = np.array(hierarchy.names[0])
    order = np.random.default_rng(seed).permutation(len(names))
    return sorted(names[order[:10]]), sorted(names[order[10:]])


def trained(table: Table, arm: str, seed: int, train: HierarchicalDataset, out: Path) -> hiercl.Run:
    """The run in a folder, trained if it is not there."""
    settings = dict(ARMS[arm])
    common = {"encoder": table.encoder, "epochs": table.epochs, "monitor_every": 0, "progress": False}
    return hiercl.fit(settings.pop("method"), train, seed=seed, out=out, resume=True, **common, **settings)


def one(table: Table, arm: str, seed: int) -> None:
    """Trains, evaluates and audits one arm with one seed, as far as that is not done."""
    torch.set_num_threads(1 if table.jobs > 1 else torch.get_num_threads())
    train, test = hiercl.load("cifar100")
    train = train.per_class(table.per_class, seed=0)
    out = table.folder / f"{arm}-seed{seed}"
    run = trained(table, arm, seed, train, out)
    if not (out / "audit.csv").exists():
        run.audit(train).to_csv(out / "audit.csv", index=False)
    few = {"label_fractions": table.label_fractions, "draws": table.draws}
    report(run, out / "all", train, test, **few)
    report(run, out / "omniglot", *hiercl.load("omniglot"))

    seen, unseen = ten_superclasses(train.hierarchy, seed)
    half = table.folder / f"{arm}-half-seed{seed}"
    run = trained(table, arm, seed, train.under(*seen), half)
    report(run, half / "seen", train.under(*seen), test.under(*seen))
    report(run, half / "unseen", train.under(*unseen), test.under(*unseen))


def report(run: hiercl.Run, folder: Path, train: HierarchicalDataset, test: HierarchicalDataset, **settings) -> None:
    """Evaluates a run, unless the report is there."""
    if not (folder / "report.json").exists():
        found = hiercl.evaluate(run, train, test, **settings)
        found.save(folder)
        print(f"{folder}: " + ", ".join(f"{row['level']} linear {row['linear']:.1f}" for row in found.rows), flush=True)


def numbers(table: Table, arm: str, seed: int) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Every number of an arm and seed: (part, level, metric) and value."""
    out = table.folder / f"{arm}-seed{seed}"
    half = table.folder / f"{arm}-half-seed{seed}"
    parts = {"all": out / "all", "seen": half / "seen", "unseen": half / "unseen", "omniglot": out / "omniglot"}
    for part, folder in parts.items():
        found = hiercl.Report.load(folder)
        for row in found.rows:
            for name, value in row.items():
                if name not in ("level", "classes"):
                    yield (part, row["level"], name), value
        for name, value in found.overall.items():
            yield (part, "", name), value
        if found.few_labels is not None:
            for row in found.few_labels.to_dict("records"):
                yield (f"{100 * row['fraction']:g} % labels", row["level"], row["way"]), row["accuracy"]
    audit = pd.read_csv(out / "audit.csv")
    for level, rows in audit[audit["term"].str.startswith("instance")].groupby("level", sort=False):
        yield ("pairs", level, "false negatives"), 100 * np.average(rows["false_negative_rate"], weights=rows["pushed"])
    history = pd.read_csv(out / "history.csv")
    yield ("cost", "", "CPU seconds"), history["cpu_seconds"].sum()


def results(table: Table) -> pd.DataFrame:
    """One row a number: (part, level, metric); mean and deviation of the first two arms, difference, verdict."""
    data = pd.DataFrame({(arm, seed): dict(numbers(table, arm, seed)) for arm in table.arms for seed in table.seeds})
    first, second = table.arms[:2]
    rows = {}
    for (part, level, name), values in data.dropna(how="all").iterrows():  # what does not exist at a level
        mean, low, high, verdict = difference(values[first], values[second], direction(name))
        cells = {arm: mean_cell(values[arm], digits(name)) for arm in table.arms}
        cells[f"{second} − {first}"] = interval_cell(mean, low, high, digits(name))
        rows[part, level, name] = cells | {f"{second} better?": verdict}
    return pd.DataFrame.from_dict(rows, orient="index")


def long_table(found: pd.DataFrame) -> str:
    """Every number, one a line."""
    body = [[", ".join(part for part in key if part), *row] for key, row in zip(found.index, found.values, strict=True)]
    return markdown([["", *found.columns], *body])


def short_table(found: pd.DataFrame) -> str:
    """One line a metric, coarse and fine level side by side; those of the whole embedding have one value."""
    part_and_name = dict.fromkeys((part, name) for part, _, name in found.index)
    columns = [found.columns[0], *found.columns[-2:]]
    body = []
    for part, name in part_and_name:
        if name.endswith("_balanced"):  # the test sets have as many items of every class
            continue
        if part in ("seen", "unseen", "omniglot") and name not in ("linear", "knn", "ami", "map_at_r"):
            continue
        levels = [level for where, level, metric in found.index if (where, metric) == (part, name)]
        values = [found.loc[(part, level, name), columns].tolist() for level in levels]
        while len(values) < 2:  # at the coarsest level, or at none
            values.insert(0, [""] * len(columns)) if levels != [""] else values.append([""] * len(columns))
        body.append([f"{part}: {name}", *values[0], *values[1]])
    head = ["", *(f"{column}, {level}" for level in ("coarse", "fine") for column in columns)]
    return markdown([head, *body])


def main(table: Table) -> None:
    jobs = [(arm, seed) for seed in table.seeds for arm in table.arms]
    Parallel(n_jobs=table.jobs)(delayed(one)(table, arm, seed) for arm, seed in jobs)
    found = results(table)
    (table.folder / "table.md").write_text(long_table(found) + "\n")
    (table.folder / "short.md").write_text(short_table(found) + "\n")
    (table.folder / "protocol.json").write_text(
        json.dumps({part: protocol(table, part) for part in ("all", "omniglot")}, indent=2)
    )
    print(long_table(found))


def protocol(table: Table, part: str) -> dict[str, Any]:
    """What the numbers of a part depend on."""
    found = hiercl.Report.load(table.folder / f"{table.arms[0]}-seed{table.seeds[0]}" / part).protocol
    return {name: value for name, value in found.items() if name != "run"}


if __name__ == "__main__":
    main(tyro.cli(Table))
