"""evaluate: what a frozen encoder knows, at every level of the hierarchy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets.base import HierarchicalDataset
from hiercl.encoders import Encoder, half_precision_is_native
from hiercl.feed import Feed, embed_with
from hiercl.probes import PENALTIES, LinearProbe, cluster_ami, knn_predict
from hiercl.runs import Run


def embed(run: Run | Encoder, dataset: HierarchicalDataset, device: torch.device | str | None = None) -> Tensor:
    """Backbone features (before the projection head) of every item, unaugmented and at full size.

    Args:
        run: a run, or an encoder.
        dataset: any data set of pictures with the run's number of channels.
        device: where to compute; by default where the model is.

    Returns:
        ``[items, width]`` float32 on the CPU, in the order of the data set.
    """
    encoder = run.encoder if isinstance(run, Run) else run
    home = next(encoder.parameters()).device
    device = torch.device(device) if device is not None else home
    was_training = encoder.training
    encoder.to(device).eval()
    try:
        return embed_with(encoder, Feed(dataset, device), half_precision_is_native(device)).cpu()
    finally:
        encoder.to(home).train(was_training)


@dataclass(frozen=True)
class Report:
    """Results of :func:`evaluate`, in per cent, with the protocol that they belong to.

    Attributes:
        rows: one a level, coarse first: ``level``, ``classes``, ``linear``, ``knn``, ``ami``.
        protocol: everything a number needs to be comparable.
    """

    rows: tuple[dict[str, Any], ...]
    protocol: dict[str, Any]

    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame, one a level."""
        return pd.DataFrame(self.rows).set_index("level")

    def save(self, folder: str | Path) -> None:
        """Writes ``report.json`` (with the protocol) and ``report.csv`` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"rows": list(self.rows), "protocol": self.protocol}
        (folder / "report.json").write_text(json.dumps(content, indent=2))
        self.table().to_csv(folder / "report.csv")

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """The report that :meth:`save` wrote."""
        content = json.loads((Path(folder) / "report.json").read_text())
        return cls(tuple(content["rows"]), content["protocol"])

    def __str__(self) -> str:
        p = self.protocol
        note = (
            f"per cent; {p['features']}, {p['precision']}; linear: L-BFGS, λ from {p['linear_penalties']} on a fifth "
            f"of the training items; kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; "
            f"{p['train_items']:,} training and {p['test_items']:,} test items"
        )
        return f"{self.table().to_string(float_format='{:.1f}'.format)}\n({note})"

    def _repr_html_(self) -> str:
        return self.table().style.format(precision=1).to_html()


def evaluate(
    run: Run | Encoder,
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    knn_k: int = 20,
    knn_temperature: float = 0.07,
    seed: int = 0,
) -> Report:
    """Freezes the encoder and asks, at every level of the hierarchy, what its pooled features know.

    * ``linear``: accuracy of an offline linear probe (:class:`~hiercl.probes.LinearProbe`: full-batch L-BFGS on
      standardised features, regularisation chosen on a fifth of the training items);
    * ``knn``: accuracy of weighted k-nearest neighbours (:func:`~hiercl.probes.knn_predict`);
    * ``ami``: adjusted mutual information of k-means clusters of the *test* features with the classes
      (:func:`~hiercl.probes.cluster_ami`, as many clusters as classes, best of 3 starts).

    Args:
        run: a run, or an encoder.
        train: labelled items for probe and neighbours.
        test: items to judge by.
        knn_k: neighbours.
        knn_temperature: of their weights.
        seed: of the probe's split and of k-means.

    Raises:
        ValueError: the two data sets have different hierarchies.
    """
    if train.hierarchy != test.hierarchy:
        raise ValueError(
            f"train has {train.hierarchy!r} and test {test.hierarchy!r}: take the same subset of both, for example "
            "train.under(...) and test.under(...) with the same names."
        )
    bank, queries = embed(run, train), embed(run, test)
    device = next((run.encoder if isinstance(run, Run) else run).parameters()).device
    rows = []
    for level, name in enumerate(train.hierarchy.level_names):
        labels = torch.as_tensor(train.labels_at(level))
        truth = torch.as_tensor(test.labels_at(level))
        probe = LinearProbe.fit(bank, labels, seed=seed)
        rows.append(
            {
                "level": name,
                "classes": train.hierarchy.sizes[level],
                "linear": accuracy(probe.predict(queries), truth),
                "knn": accuracy(knn_predict(bank, labels, queries, knn_k, knn_temperature), truth),
                "ami": 100 * cluster_ami(queries, truth, seed),
            }
        )
    protocol = {
        "features": "pooled backbone features of the query encoder, unaugmented",
        "precision": "bf16" if half_precision_is_native(device) else "float32",
        "device": device.type,
        "linear_penalties": list(PENALTIES),
        "knn_k": knn_k,
        "knn_temperature": knn_temperature,
        "seed": seed,
        "train": train.name,
        "train_note": train.note,
        "train_items": len(train),
        "test": test.name,
        "test_note": test.note,
        "test_items": len(test),
        "run": run.config if isinstance(run, Run) else None,
    }
    return Report(tuple(rows), protocol)


def accuracy(predicted: Tensor, truth: Tensor) -> float:
    """Share of right predictions, in per cent."""
    return 100 * (predicted == truth).float().mean().item()
