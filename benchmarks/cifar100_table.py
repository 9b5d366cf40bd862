"""MoCo v2 against HCSC on the real CIFAR-100: paired seeds, a table, the difference with its interval, a verdict.

    .venv/bin/python benchmarks/cifar100_table.py                       # train what is missing, then print the table
    .venv/bin/python benchmarks/cifar100_table.py --per-class 500 --epochs 200 --encoder resnet18 --jobs 1   # CUDA

Every run is a folder under --out and is resumed when the script is stopped and started again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from joblib import Parallel, delayed
from scipy import stats

import hiercl

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
    jobs: int = 2
    """Trainings at a time, one thread each (on CUDA: 1)."""
    out: Path = Path("runs/cifar100")
    """Where the runs go."""


def folder(table: Table, arm: str, seed: int) -> Path:
    return table.out / f"{table.encoder}-{table.per_class}x{table.epochs}" / f"{arm}-seed{seed}"


def one(table: Table, arm: str, seed: int) -> None:
    """Trains, evaluates and audits one run, unless that is done."""
    out = folder(table, arm, seed)
    if (out / "result.json").exists():
        return
    torch.set_num_threads(1 if table.jobs > 1 else torch.get_num_threads())
    train, test = hiercl.load("cifar100")
    train = train.per_class(table.per_class, seed=0)
    settings = dict(ARMS[arm])
    method = settings.pop("method")
    common = {"encoder": table.encoder, "epochs": table.epochs, "monitor_every": 0, "progress": False}
    run = hiercl.fit(method, train, seed=seed, out=out, resume=True, **common, **settings)
    report = hiercl.evaluate(run, train, test)
    report.save(out)
    audit = run.audit(train)
    audit.to_csv(out / "audit.csv", index=False)
    instances = audit[audit["term"].str.startswith("instance")]
    result: dict[str, Any] = {"arm": arm, "seed": seed}
    for row in report.rows:
        result |= {f"{name} {row['level']}": row[name] for name in ("linear", "knn", "ami")}
        of_level = instances[instances["level"] == row["level"]]
        weighted = np.average(of_level["false_negative_rate"], weights=of_level["pushed"])
        result[f"false negatives {row['level']}"] = 100 * weighted
    result["seconds"] = run.history["seconds"].sum()
    result["cpu seconds"] = run.history["cpu_seconds"].sum()
    (out / "result.json").write_text(json.dumps(result, indent=2))
    print(
        f"{arm} seed {seed}: " + ", ".join(f"{k} {v:.1f}" for k, v in result.items() if isinstance(v, float)),
        flush=True,
    )


def difference(a: pd.Series, b: pd.Series, lower_is_better: bool) -> tuple[float, float, float, str]:
    """Mean of the paired differences b − a, its 95 % t interval, and the verdict on "b is better"."""
    delta = (b - a).to_numpy()
    half = stats.t.ppf(0.975, len(delta) - 1) * delta.std(ddof=1) / np.sqrt(len(delta))
    low, high = delta.mean() - half, delta.mean() + half
    better, worse = (high < 0, low > 0) if lower_is_better else (low > 0, high < 0)
    verdict = "held" if better else "not held" if worse else "undecided"
    return float(delta.mean()), float(low), float(high), verdict


def summary(table: Table) -> str:
    """The table in Markdown: mean ± standard deviation of every arm, and its paired difference to MoCo v2."""
    results = [json.loads(p.read_text()) for p in sorted(folder(table, "", 0).parent.glob("*/result.json"))]
    data = pd.DataFrame(results).set_index(["arm", "seed"]).sort_index()
    arms = [arm for arm in ARMS if arm in data.index.get_level_values("arm")]
    lines = [
        "| | " + " | ".join(f"{arm} (n = {len(data.loc[arm])})" for arm in arms) + " | hcsc − moco [95 %] | verdict |"
    ]
    lines.append("|" + "---|" * (len(arms) + 3))
    for column in data.columns:
        cells = [f"{data.loc[arm][column].mean():.2f} ± {data.loc[arm][column].std(ddof=1):.2f}" for arm in arms]
        if {"moco", "hcsc"} <= set(arms):
            pairs = data[column].unstack("arm")[["moco", "hcsc"]].dropna()
            if len(pairs) > 1:
                lower_is_better = column.startswith(("false negatives", "seconds", "cpu seconds"))
                mean, low, high, verdict = difference(pairs["moco"], pairs["hcsc"], lower_is_better)
                cells += [f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]", "" if "seconds" in column else verdict]
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(table: Table) -> None:
    jobs = [(arm, seed) for seed in table.seeds for arm in table.arms]
    Parallel(n_jobs=table.jobs)(delayed(one)(table, arm, seed) for arm, seed in jobs)
    text = summary(table)
    (folder(table, "", 0).parent / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Table))
