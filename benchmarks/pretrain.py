"""Trains the encoders of hiercl.pretrained on CIFAR-100, ModelNet10 or ModelNet40, and writes weights, card and maps.

    .venv/bin/python benchmarks/pretrain.py                                      # all methods
    .venv/bin/python benchmarks/pretrain.py --methods hcsc supcon --epochs 10    # some of them, shorter
    .venv/bin/python benchmarks/pretrain.py --no-maps                            # without the maps
    .venv/bin/python benchmarks/pretrain.py --data modelnet10 --no-maps          # modelnet10-moco, modelnet10-hcsc, ...
    .venv/bin/python benchmarks/pretrain.py --data modelnet40 --no-maps          # modelnet40-moco, modelnet40-hcsc, ...

On one core a training of 30 epochs takes half an hour and more, by the method; judging it two minutes, and its maps
four. The same command after a stop goes on where it was: what has been trained is not trained again. Maps that
were left out are added by the command without ``--no-maps``.

Only the encoder and the head that a method is trained with are kept, in 8 bits. What else a method learns (gates,
masks, heads of stages, queue, prototypes) is in its run alone, under ``--out``. The card has every setting of the
method, its epochs, and the numbers of the 8-bit weights as they are loaded.

The maps: the features of a thousand test items (ten a class, drawn with seed 0), kept after every epoch, become one
map an epoch. Beside them are the centroids of the classes, of all test items, at five moments, for a tree at each.
Features and centroids are those of the training, before rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

import hiercl
from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import zoo
from hiercl.metrics.dendrograms import centroids

SETTINGS: dict[str, dict[str, Any]] = {
    "hmc": {"temperature": 0.2},
    "hce": {"maximum": "pair"},
    "hmce": {"maximum": "pair"},
    "g_hmlc": {"temperature": 0.2},
    "a_hmlc": {"temperature": 0.2},
}
"""Of each method, what differs from its default settings: temperatures as they were chosen for the table of all
methods; of HCE and HMCE the maximum over pairs, since with two levels their other forms are SupCon or HMC. Encoder,
views, batch and epochs are the same for all methods. So the zoo is a comparison, in one seed."""
VARIANTS = {  # of the study that is named like the data and comes with the package
    "simclr": "SimCLR",
    "moco": "MoCo v2",
    "hcsc": "HCSC",
    "csml": "CsMl",
    "supcon": "SupCon",
    "hmc": "HMC",
    "hce": "HCE, maximum of pairs",
    "hmce": "HMCE, maximum of pairs",
    "g_hmlc": "G-HMLC",
    "a_hmlc": "A-HMLC",
}
POINTS: dict[str, Any] = {"encoder": "pointnet_vanilla", "points": 64, "batch": 128, "head": "linear"}
"""The same for point clouds, beside the method's own in the study of the data, whose learning rates and temperatures
were found by modelnet10-tuning: a linear head, as the mlp would be eight times the encoder."""
EPOCHS = {"cifar100": 30, "modelnet10": 20, "modelnet40": 20}
"""Of every method."""
MOMENTS = 5
"""At which the centroids of the classes are kept."""


@dataclass(frozen=True)
class Pretraining:
    """What is trained."""

    data: Literal["cifar100", "modelnet10", "modelnet40"] = "cifar100"
    """What they are trained on."""
    methods: tuple[str, ...] = methods.names()
    """Methods, each with its default settings and those of SETTINGS, or of the study of the point clouds."""
    epochs: int | None = None
    """Of every method; by default 30 on CIFAR-100 and 20 on ModelNet."""
    seed: int = 0
    """Of every training."""
    maps: bool = True
    """Whether to make the maps of every epoch."""
    out: Path = Path("runs/pretrain")
    """Where the runs go."""
    weights: Path = zoo.WEIGHTS
    """Where weights, cards and maps go."""


def train(method: str, settings: Pretraining, data: HierarchicalDataset, test: HierarchicalDataset) -> hiercl.Run:
    """The run, with the features of the shown items after every epoch, and some centroids, in its folder."""
    folder, shown = settings.out / name_of(settings.data, method), shown_of(test)
    epochs = EPOCHS[settings.data] if settings.epochs is None else settings.epochs
    (folder / "epochs").mkdir(parents=True, exist_ok=True)

    def keep(run: hiercl.Run) -> None:
        epoch = len(run.history)
        if epoch in moments(epochs):
            of_classes, _ = centroids(hiercl.embed(run, test), test.labels)
            np.save(centroids_path(folder, epoch), of_classes.half().numpy())
        np.save(folder / "epochs" / f"{epoch:03d}.npy", hiercl.embed(run, shown).half().numpy())

    own = SETTINGS.get(method, {}) if settings.data == "cifar100" else of_points(settings.data, method)
    common = {"monitor_every": 0} | own | {"seed": settings.seed, "epochs": epochs}
    keep(hiercl.fit(method, data, progress=False, **common | {"epochs": 0}))
    run = hiercl.fit(method, data, out=folder, resume=True, callbacks=[keep], **common)
    if run.interrupted:
        raise SystemExit(f"{method} was stopped after {len(run.history)} epochs: the same command continues it.")
    return run


def moments(epochs: int) -> list[int]:
    """Before the training, at its end, and in between, ever farther apart: 0, 1, 5, 12, 30."""
    return np.unique(np.geomspace(1, epochs + 1, MOMENTS).round().astype(int) - 1).tolist()


def centroids_path(folder: Path, epoch: int) -> Path:
    return folder / "epochs" / f"centroids-{epoch:03d}.npy"


def shown_of(test: HierarchicalDataset) -> HierarchicalDataset:
    """The items of the maps."""
    return test.per_class(10, seed=0)


def of_points(data: str, method: str) -> dict[str, Any]:
    """The settings of a method on point clouds."""
    own = hiercl.Study.ready(data).variants[VARIANTS[method]]
    rooms = ("fit", "views", "method")
    named = {name.split(".")[1]: value for name, value in own.items() if name.split(".")[0] in rooms}
    return {name: value for name, value in named.items() if name != "name"} | POINTS


def name_of(data: str, method: str) -> str:
    """Of a model: those of CIFAR-100 are called after their method alone."""
    return method if data == "cifar100" else f"{data}-{method}"


def card_of(run: hiercl.Run, data: HierarchicalDataset) -> dict[str, Any]:
    """All that is on a card but the numbers and their protocol."""
    fit, settings, seconds = run.config["fit"], run.config["method_settings"], run.history["cpu_seconds"].sum()
    return {
        "name": name_of(data.name, run.name),
        "method": run.name,
        "settings": settings,
        "views": run.config["views"],
        "encoder": {"name": fit["encoder"], "norm": fit["norm"], **run.config["input"]},
        "head": {"kind": settings["head"], "dim": settings["dim"]},
        "data": f"{data.name}, {len(data):,} training {data.modality} ({data.note})",
        "budget": f"{fit['epochs']} epochs, {seconds / 60:.0f} CPU minutes",
        "seed": fit["seed"],
        "training": {name: fit[name] for name in ("batch", "optimiser", "lr", "weight_decay", "lr_warm_up")},
        "environment": run.environment,
    }


def write(run: hiercl.Run, folder: Path, data: HierarchicalDataset, test: HierarchicalDataset) -> None:
    """Weights and card, with the numbers of the weights as they are loaded; maps of other weights are removed."""
    card, draft = card_of(run, data), run.path / "draft"
    # Judged beside their place: a stop in between leaves no model without numbers.
    zoo.save_pretrained(run.encoder, run.method.head, card | {"numbers": {}}, draft)
    name = card["name"]
    report = hiercl.evaluate(hiercl.pretrained(name, draft), data, test)
    card["numbers"] = {row["level"]: {k: row[k] for k in ("linear", "knn", "ami")} for row in report.rows}
    card["protocol"] = {k: v for k, v in report.protocol.items() if k not in ("run", "run_environment")}
    old, new = (place / f"{name}.safetensors" for place in (folder, draft))
    if not old.exists() or old.read_bytes() != new.read_bytes():
        zoo.maps_path(folder, name).unlink(missing_ok=True)
    zoo.save_pretrained(run.encoder, run.method.head, card, folder)


def unfold(run: hiercl.Run, folder: Path, shown: HierarchicalDataset) -> None:
    """Writes a map of the kept features of every epoch, ``[epochs + 1, items, 2]``: each held near to those beside.
    Beside them it writes the centroids of the classes at some epochs, ``[moments, classes, width]``."""
    import umap

    kept = [run.path / "epochs" / f"{epoch:03d}.npy" for epoch in range(len(run.history) + 1)]
    at = moments(len(run.history))
    of_classes = [centroids_path(run.path, epoch) for epoch in at]
    if missing := [path.name for path in kept + of_classes if not path.exists()]:
        raise SystemExit(
            f"{run.path / 'epochs'} lacks {', '.join(missing)}: the training was stopped at that very moment, or is "
            f"of an earlier version. Delete {run.path} to train again, or leave the maps out (--no-maps)."
        )
    features = [np.load(path).astype(np.float32) for path in kept]
    features = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in features]
    same = {item: item for item in range(len(shown))}
    reducer = umap.AlignedUMAP(
        random_state=run.config["fit"]["seed"], alignment_regularisation=0.02, alignment_window_size=2, n_epochs=200
    )
    maps = np.stack(reducer.fit_transform(features, relations=[same] * (len(features) - 1)))
    np.savez_compressed(
        zoo.maps_path(folder, name_of(run.config["data"]["name"], run.name)),
        maps=((maps - maps.mean(axis=(0, 1))) / maps.std()).astype(np.float16),
        labels=shown.labels.astype(np.int16),
        hashes=zoo.item_hashes(shown.items),
        moments=np.array(at),
        centroids=np.stack([np.load(path) for path in of_classes]),
    )


def main(settings: Pretraining) -> None:
    for name in settings.methods:
        methods.get(name)  # an unknown one is an error before the first training, not after it
    data, test = hiercl.load(settings.data)
    for method in settings.methods:
        run = train(method, settings, data, test)
        write(run, settings.weights, data, test)
        if settings.maps:
            unfold(run, settings.weights, shown_of(test))
        print(hiercl.pretrained(name_of(settings.data, method), settings.weights), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Pretraining))
