"""Where and on what must G-HMLC's mixture look to beat a random split? A bounded search.

    .venv/bin/python benchmarks/mask_search.py          # trains what is missing, writes mask_search_results.md

Every mixture stands beside a random split of the same features, as many for each level, in the same place and with the
same seed; and beside the same model without masks. All 100 classes of CIFAR-100. Pictures to judge by are held out of
the *training* set, 50 a class, so nothing is chosen by test pictures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import tyro
from joblib import Parallel, delayed
from paired import difference, interval_cell, markdown

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.probes import LinearProbe, knn_predict

HERE = Path(__file__).parent
BACKBONE = {"place": "backbone"}
HEADS = {"place": "backbone", "heads": "level"}
ARMS: dict[str, dict[str, Any]] = {
    "SupCon": {"method": "supcon"},
    "HMC, no masks": {"method": "hmc"},
    "projection: mixture": {},
    "projection: random": {"masks": "random"},
    "projection: mixture, raw ratios": {"descriptor": "raw"},
    "projection: mixture, moments (no labels)": {"descriptor": "moments"},
    "projection: mixture, correlations (no labels)": {"descriptor": "correlation"},
    "projection: mixture, soft": {"soft": True},
    "projection: mixture, free sizes, refits": {"sizes": "free", "refit": 0.125},
    "projection: mixture for every superclass": {"per_superclass": True},
    "rectified: mixture": {"rectified": True},
    "rectified: random": {"rectified": True, "masks": "random"},
    "backbone: mixture": BACKBONE,
    "backbone: random": BACKBONE | {"masks": "random"},
    "a head a level, no masks": {"method": "hmc", "heads": "level"},
    "a head a level: mixture on the backbone": HEADS,
    "a head a level: random on the backbone": HEADS | {"masks": "random"},
    "a linear head a level, no masks": {"method": "hmc", "heads": "level", "head": "linear"},
    "a linear head a level: mixture on the backbone": HEADS | {"head": "linear"},
    "a linear head a level: random on the backbone": HEADS | {"head": "linear", "masks": "random"},
    "gates of the input": {"method": "a_hmlc"},
    "gates, softmax over levels": {"method": "a_hmlc", "gate": "softmax"},
    "gates, one vector a level": {"method": "a_hmlc", "gate": "constant"},
    "gates, attention": {"method": "a_hmlc", "gate": "attention"},
}
CONTROL = {  # what each mixture is held against
    "projection: mixture": "projection: random",
    "projection: mixture, raw ratios": "projection: random",
    "projection: mixture, moments (no labels)": "projection: random",
    "projection: mixture, correlations (no labels)": "projection: random",
    "projection: mixture, soft": "projection: random",
    "projection: mixture, free sizes, refits": "projection: random",
    "projection: mixture for every superclass": "projection: random",
    "rectified: mixture": "rectified: random",
    "backbone: mixture": "backbone: random",
    "a head a level: mixture on the backbone": "a head a level: random on the backbone",
    "a linear head a level: mixture on the backbone": "a linear head a level: random on the backbone",
    "projection: random": "HMC, no masks",
    "rectified: random": "HMC, no masks",
    "backbone: random": "HMC, no masks",
    "a head a level, no masks": "HMC, no masks",
    "a head a level: random on the backbone": "a head a level, no masks",
    "a linear head a level: random on the backbone": "a linear head a level, no masks",
    "HMC, no masks": "SupCon",
    "gates of the input": "HMC, no masks",
    "gates, softmax over levels": "gates of the input",
    "gates, one vector a level": "gates of the input",
    "gates, attention": "gates of the input",
}


@dataclass(frozen=True)
class Search:
    """What is trained."""

    seeds: tuple[int, ...] = (0,)
    """Paired seeds. One is enough to choose what methods_table.py then measures with five."""
    per_class: int = 100
    """Training pictures a class."""
    epochs: int = 8
    """Of every arm."""
    jobs: int = 2
    """Runs at a time, one thread each."""
    out: Path = HERE / "results" / "mask_search"
    """Where the numbers of each run go (in the repository)."""
    page: Path = HERE / "mask_search_results.md"
    """The table."""


def one(search: Search, arm: str, seed: int) -> None:
    """Trains and judges one arm with one seed, if that is not done."""
    file = place(search, arm, seed)
    if file.exists():
        return
    torch.set_num_threads(1 if search.jobs > 1 else torch.get_num_threads())
    train, _ = hiercl.load("cifar100")
    rest, held_out = train.split(0.1, seed=0)
    train = rest.per_class(search.per_class, seed=0)
    settings = {"method": "g_hmlc", **ARMS[arm]}
    run = hiercl.fit(
        settings.pop("method"), train, seed=seed, epochs=search.epochs, monitor_every=0, progress=False, **settings
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(judge(run, train, held_out)))
    print(arm, seed, file.read_text(), flush=True)


def judge(run: hiercl.Run, train: HierarchicalDataset, held_out: HierarchicalDataset) -> dict[str, float]:
    """Linear and kNN accuracy at every level, in per cent, and CPU seconds."""
    bank, queries = hiercl.embed(run, train), hiercl.embed(run, held_out)
    found = {}
    for level, name in enumerate(train.hierarchy.level_names):
        labels, truth = (torch.as_tensor(data.labels_at(level)) for data in (train, held_out))
        probe = LinearProbe.fit(bank, labels, classes=train.hierarchy.sizes[level])
        for way, guess in {"linear": probe.predict(queries), "kNN": knn_predict(bank, labels, queries)}.items():
            found[f"{way} {name}"] = 100 * (guess == truth).float().mean().item()
    return found | {"CPU seconds": run.history["cpu_seconds"].sum()}


def place(search: Search, arm: str, seed: int) -> Path:
    """The file of a run's numbers."""
    name = arm.replace(":", "").replace(",", "").replace(" ", "-")
    return search.out / f"{search.per_class}x{search.epochs}" / f"{name}-seed{seed}.json"


def page(search: Search) -> str:
    """Every arm, and every pair of arms that differ in one thing."""
    done = {(arm, seed): place(search, arm, seed) for arm in ARMS for seed in search.seeds}
    numbers = pd.DataFrame({key: json.loads(file.read_text()) for key, file in done.items() if file.exists()})
    names = list(numbers.index)
    means = [["", "seeds", *names]]
    for arm in dict.fromkeys(numbers.columns.get_level_values(0)):
        values = numbers[arm]
        cells = [
            f"{row.mean():.2f}" + (f" ± {row.std(ddof=1):.2f}" if len(row) > 1 else "") for _, row in values.iterrows()
        ]
        means.append([arm, str(values.shape[1]), *cells])
    pairs = [["", "against", "seeds", *names[:-1]]]
    for arm, control in CONTROL.items():
        seeds = [s for s in search.seeds if (arm, s) in numbers and (control, s) in numbers]
        if seeds:
            cells = [shown(numbers[control].loc[name, seeds], numbers[arm].loc[name, seeds]) for name in names[:-1]]
            pairs.append([arm, control, str(len(seeds)), *cells])
    size = f"{search.per_class} pictures a class, {search.epochs} epochs"
    about = (
        "# Where must G-HMLC's mixture look?\n\nMade by `benchmarks/mask_search.py`, where every arm is said: "
        f"{size}, judged on 50 other *training* pictures a class, per cent. {len(numbers.columns)} of {len(done)} runs "
        "are done. Differences are paired, with their 95 % t interval where there is more than one seed; of one seed a "
        "difference of a point is within its noise. What looked best here is an arm of the table of all methods, with "
        "five seeds."
    )
    return f"{about}\n\n## Arms\n\n{markdown(means)}\n\n## Differences\n\n{markdown(pairs)}\n"


def shown(control: pd.Series, arm: pd.Series) -> str:
    """The mean difference; with its interval where there is more than one seed."""
    mean, low, high, _ = difference(control, arm, better=1)
    return interval_cell(mean, low, high, 2)


def main(search: Search) -> None:
    jobs = [(arm, seed) for seed in search.seeds for arm in ARMS]
    Parallel(n_jobs=search.jobs)(delayed(one)(search, arm, seed) for arm, seed in jobs)
    search.page.write_text(page(search))
    print(search.page.read_text())


if __name__ == "__main__":
    main(tyro.cli(Search))
