"""The race: one task, one budget of CPU seconds, one number. Which change of the recipe pays?

    .venv/bin/python benchmarks/race.py                                  # every entry, with SimCLR
    .venv/bin/python benchmarks/race.py --only "before" "new recipe" --seeds 3 --budget 300
    .venv/bin/python benchmarks/race.py --method supcon --only "before" "new recipe"

The task: pictures of CIFAR-100, of which a tenth is held out. Every entry trains for as many epochs as its budget
allows; a short trial measures its speed. A linear probe on the frozen features is judged on the held-out pictures. So
all choices are made there. ``--final`` judges on the test pictures instead, for the end.

One thread. Every entry is a row of the CSV file in ``--out``. The same command goes on where it was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import tyro
from torch import nn
from torch.nn import functional as F

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import Encoder
from hiercl.encoders.images import Whitening, _convolution, _Skip
from hiercl.encoders.norms import NORMS

BEFORE = {"encoder": "convnet", "optimiser": "adamw"}  # the defaults of the first edition
NEW = {"encoder": "whitenet", "optimiser": "muon"}  # the defaults now
WIDTHS = (32, 64, 128, 256)  # of whitenet


def net(
    widths: tuple[int, ...], skips: tuple[int, ...] = (2,), pooled: bool = False, grow: tuple[float, ...] = ()
) -> Callable[..., nn.Module]:
    """Returns a maker of an encoder like whitenet, with other widths, residual blocks and stems."""

    def make(mean: torch.Tensor, std: torch.Tensor, pictures: torch.Tensor) -> Encoder:
        norm, stages = NORMS["batch"], []
        for place, (narrow, wide) in enumerate(pairwise(widths), start=1):
            if pooled:
                stage = [nn.MaxPool2d(2), _convolution(narrow, wide, norm)]
            else:
                stage = [_convolution(narrow, wide, norm, stride=2)]
            stages.append(nn.Sequential(*stage, *(_Skip(wide, norm) for _ in range(skips.count(place)))))
        first = Whitening(3, widths[0])
        first.see((pictures - mean[:, None, None]) / std[:, None, None])
        return Encoder(Grow(grow) if grow else nn.Identity(), [first, *stages], widths, mean, std)

    return make


class Grow(nn.Module):
    """The first part of an encoder: in training, views are shrunk at first, and less and less."""

    def __init__(self, shares: tuple[float, ...]):
        super().__init__()
        self.shares, self.done = shares, 0.0  # shares of the side; share of the training that is done

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        share = self.shares[min(len(self.shares) - 1, int(self.done * len(self.shares)))]
        side = round(share * views.shape[-1])
        return F.interpolate(views, size=(side, side), mode="area") if self.training and share < 1 else views


def tell(run: hiercl.Run) -> None:
    """Tells Grow how much of the training is done: a callback."""
    for part in run.method.modules():
        if isinstance(part, Grow):
            part.done = len(run.history) / run.recipe.fit.epochs


ENTRIES: dict[str, dict[str, Any]] = {
    "before": BEFORE,
    "whitened patches": {**BEFORE, "encoder": "whitenet"},
    "Muon": {**BEFORE, "optimiser": "muon"},
    "new recipe": NEW,
    # from here on: one change of the new recipe
    "batch 128": {**NEW, "batch": 128},
    "batch 512": {**NEW, "batch": 512},
    "temperature 0.1": {**NEW, "temperature": 0.1},
    "temperature 0.5": {**NEW, "temperature": 0.5},
    "batch 128, temperature 0.5": {**NEW, "batch": 128, "temperature": 0.5},
    "crops of 16": {**NEW, "crop": 16},
    "crops of 16, batch 128": {**NEW, "crop": 16, "batch": 128},
    "crops of 20": {**NEW, "crop": 20},
    "crops of 32": {**NEW, "crop": 32},
    "crops that grow from 16": {**NEW, "encoder": net(WIDTHS, grow=(2 / 3, 5 / 6, 1.0))},
    "weaker jitter": {**NEW, "jitter": (0.2, 0.2, 0.2, 0.05)},
    "crops of 0.1 and more": {**NEW, "crop_scale": (0.1, 1.0)},
    "crops of 0.35 and more": {**NEW, "crop_scale": (0.35, 1.0)},
    "rate × 0.5": {**NEW, "lr": 5e-4},
    "rate × 2": {**NEW, "lr": 2e-3},
    "no weight decay": {**NEW, "weight_decay": 0.0},
    "linear schedule": {**NEW, "lr_schedule": "linear"},
    "narrow: 24-48-96-192": {**NEW, "encoder": net((24, 48, 96, 192))},
    "wide: 48-96-192-384": {**NEW, "encoder": net((48, 96, 192, 384))},
    "deeper: a block in each of three stages": {**NEW, "encoder": net(WIDTHS, (1, 2, 3))},
    "no residual block": {**NEW, "encoder": net(WIDTHS, ())},
    "pooled, not strided": {**NEW, "encoder": net(WIDTHS, pooled=True)},
    "compiled": {**NEW, "compile": True},
}
"""Name of every entry, and its settings."""


@dataclass(frozen=True)
class Race:
    """What is raced."""

    method: str = "simclr"
    """What is trained."""
    only: tuple[str, ...] = ()
    """Entries; by default all."""
    budget: float = 120.0
    """CPU seconds of every training, its views and losses included."""
    per_class: int = 100
    """Pictures of each class; a tenth more is held out."""
    seeds: int = 1
    """Trainings of every entry."""
    final: bool = False
    """Judge on the test pictures."""
    precision: str = "auto"
    """Of the encoder: auto, float32 or bf16."""
    out: Path = Path("runs/race.csv")
    """The table. Rows that it has are not measured again."""

    def run(self) -> None:
        torch.set_num_threads(1)
        if unknown := set(self.only) - set(ENTRIES):
            raise SystemExit(f"no entry {', '.join(sorted(unknown))}: there are {', '.join(ENTRIES)}.")
        whole, test = hiercl.load("cifar100")
        whole, held_out = whole.split(0.1)
        train = whole.per_class(self.per_class)
        judged_on = test if self.final else held_out.per_class(25)
        rows = pd.read_csv(self.out).to_dict("records") if self.out.exists() else []
        task = {"method": self.method, "budget": self.budget, "per_class": self.per_class, "final": self.final}
        for seed in range(self.seeds):
            for name in self.only or ENTRIES:
                row = {"entry": name, "seed": seed, "precision": self.precision, **task}
                if not any(row.items() <= found.items() for found in rows):
                    rows.append(row | self.measure(ENTRIES[name], train, judged_on, seed))
                    self.out.parent.mkdir(parents=True, exist_ok=True)
                    pd.DataFrame(rows).to_csv(self.out, index=False)
                    print({key: rows[-1][key] for key in ("entry", "epochs", "cpu_s", "linear class")}, flush=True)

    def measure(self, entry: dict[str, Any], train: HierarchicalDataset, test: HierarchicalDataset, seed: int) -> dict:
        few = train.per_class(10)
        self.train(entry, few, 1, seed)  # what is imported, compiled and allocated once
        pace = self.train(entry, few, 1, seed)[1] / len(few)
        epochs = max(1, round(self.budget / (pace * len(train))))
        run, seconds = self.train(entry, train, epochs, seed)
        report = hiercl.evaluate(run, train, test, progress=False)
        numbers = {
            f"{name} {row['level']}": round(float(row[name]), 2)
            for row in report.rows
            for name in ("linear", "knn", "ami")
        }
        return {"epochs": epochs, "cpu_s": round(seconds, 1), **numbers}

    def train(self, entry: dict[str, Any], data: HierarchicalDataset, epochs: int, seed: int):
        """Trains, and returns the run and its CPU seconds."""
        settings = {"monitor_every": 0, "progress": False, "seed": seed, "precision": self.precision, **entry}
        if callable(make := settings.get("encoder")):
            torch.manual_seed(seed)
            pictures = torch.from_numpy(data.items[:500]).permute(0, 3, 1, 2).float() / 255
            mean, std = pictures.mean(dim=(0, 2, 3)), pictures.std(dim=(0, 2, 3))
            settings["encoder"] = make(mean, std, pictures)
        start = time.process_time()
        run = hiercl.fit(self.method, data, epochs=epochs, callbacks=[tell], **settings)
        return run, time.process_time() - start


if __name__ == "__main__":
    tyro.cli(Race, description=__doc__).run()
