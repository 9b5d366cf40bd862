"""Trains the encoders of hiercl.pretrained on the full CIFAR-100, and writes weights, card and maps.

    .venv/bin/python benchmarks/pretrain.py                      # all methods: on one core, a quarter of an hour each
    .venv/bin/python benchmarks/pretrain.py --methods hcsc       # one of them

A training that was stopped is resumed. Afterwards the features of a thousand test items (ten a class, drawn with seed
0), kept after every epoch, become one map an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import hiercl
from hiercl import methods, zoo
from hiercl.datasets import HierarchicalDataset


@dataclass(frozen=True)
class Pretraining:
    """What is trained."""

    methods: tuple[str, ...] = methods.names()
    """Methods, each with its default settings."""
    epochs: int = 20
    """Of every method."""
    seed: int = 0
    """Of every training."""
    out: Path = Path("runs/pretrain")
    """Where the runs go."""
    weights: Path = zoo.WEIGHTS
    """Where weights, cards and maps go."""


def train(method: str, settings: Pretraining, data: HierarchicalDataset, shown: HierarchicalDataset) -> hiercl.Run:
    """The run, with the features of the shown items after every epoch in its folder."""
    folder = settings.out / method
    (folder / "epochs").mkdir(parents=True, exist_ok=True)

    def keep(run: hiercl.Run) -> None:
        np.save(folder / "epochs" / f"{len(run.history):03d}.npy", hiercl.embed(run, shown).half().numpy())

    keep(hiercl.fit(method, data, epochs=0, seed=settings.seed, progress=False))
    common = {"epochs": settings.epochs, "seed": settings.seed, "monitor_every": 0}
    return hiercl.fit(method, data, out=folder, resume=True, callbacks=[keep], **common)


def unfold(folder: Path, seed: int) -> np.ndarray:
    """A map of the kept features of every epoch, ``[epochs + 1, items, 2]``: each is held near to those beside it."""
    import umap

    features = [np.load(path).astype(np.float32) for path in sorted((folder / "epochs").glob("*.npy"))]
    features = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in features]
    same = {item: item for item in range(len(features[0]))}
    reducer = umap.AlignedUMAP(random_state=seed, alignment_regularisation=0.02, alignment_window_size=2, n_epochs=200)
    maps = np.stack(reducer.fit_transform(features, relations=[same] * (len(features) - 1)))
    return (maps - maps.mean(axis=(0, 1))) / maps.std()


def main(settings: Pretraining) -> None:
    data, test = hiercl.load("cifar100")
    shown = test.per_class(10, seed=0)
    for method in settings.methods:
        run = train(method, settings, data, shown)
        fit, seconds = run.config["fit"], run.history["cpu_seconds"].sum()
        card = {
            "method": method,
            "settings": run.config["method_settings"],
            "views": run.config["views"],
            "encoder": {"name": fit["encoder"], "norm": fit["norm"], **run.config["input"]},
            "head": {"kind": run.config["method_settings"]["head"], "dim": run.config["method_settings"]["dim"]},
            "data": f"{data.name}, {len(data):,} training pictures ({data.note})",
            "budget": f"{settings.epochs} epochs, {seconds / 60:.0f} CPU minutes",
            "seed": settings.seed,
            "training": {name: fit[name] for name in ("batch", "optimiser", "lr", "weight_decay", "lr_warm_up")},
            "environment": run.environment,
        }
        zoo.save_pretrained(run.encoder, run.method.head, {**card, "numbers": {}}, settings.weights)
        report = hiercl.evaluate(hiercl.pretrained(method), data, test)  # of the rounded weights, as they are loaded
        card["numbers"] = {row["level"]: {k: row[k] for k in ("linear", "knn", "ami")} for row in report.rows}
        card["protocol"] = {k: v for k, v in report.protocol.items() if k != "run"}
        zoo.save_pretrained(run.encoder, run.method.head, card, settings.weights)
        np.savez_compressed(
            settings.weights / f"{method}-epochs.npz",
            maps=unfold(settings.out / method, settings.seed).astype(np.float16),
            labels=shown.labels.astype(np.int16),
            hashes=zoo.picture_hashes(shown.items),
        )
        print(hiercl.pretrained(method), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Pretraining))
