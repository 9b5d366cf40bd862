"""What is recorded in every epoch: losses, keep rates, seconds, kNN accuracies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hiercl.clustering import neighbour_agreement
from hiercl.datasets import HierarchicalDataset
from hiercl.methods import Method, Step, Term
from hiercl.methods.base import weighted_sum
from hiercl.metrics import knn_predict
from hiercl.pairs import floor, if_equal
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import generator

MONITORED_ITEMS = 5000
LOGGED_EVERY = 10  # steps: counting pairs is not free
IF_EQUAL, FLOOR = "loss if equal", "loss floor"  # columns of what the loss is compared with


class EpochLog:
    """Collects the history's row of one epoch."""

    def __init__(self, epoch: int):
        self.row: dict[str, Any] = {"epoch": epoch}
        self.start = self.mark = time.perf_counter()
        self.cpu_start = time.process_time()
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def lap(self) -> float:
        """Returns the seconds since the last call."""
        now = time.perf_counter()
        seconds, self.mark = now - self.mark, now
        return seconds

    def add(self, name: str, value: Tensor) -> None:
        """Adds a value to the mean of this name."""
        self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.counts[name] = self.counts.get(name, 0) + 1

    def refreshed(self) -> None:
        """Notes the time when prototypes, neighbours and masks are ready."""
        self.refresh_seconds = self.lap()

    def stepped(self, step: Step, number: int, temperature: float | None) -> None:
        """Notes what a step found; keep rates and what the loss is compared with only every tenth step."""
        self.add("loss", step.loss)
        for term in step.terms:
            self.add(f"loss {term.name}", term.loss)
        if number % LOGGED_EVERY == 0:
            for name, value in step.observe().items():
                self.add(name, torch.as_tensor(value, dtype=torch.float32, device=step.loss.device))
            for term in step.terms:
                if term.selective:
                    self.add(f"keep {term.name}", term.pairs.keep_rate)
                    self.add(f"without negative {term.name}", term.pairs.without_negative.float())
            for name, value in references(step, temperature).items():
                self.add(name, value)

    def trained(self, images: int, rate: float, processes: Processes) -> None:
        """Fills the row after the last step of the epoch."""
        sums = torch.stack(list(self.sums.values()))
        sums = sums if sums.device.type == "mps" else sums.double()  # MPS has no float64
        cpu = sums.new_tensor([time.process_time() - self.cpu_start])
        *sums, cpu = processes.mean(torch.cat([sums, cpu])).tolist()  # waits for the device
        means = {name: total / self.counts[name] for name, total in zip(self.sums, sums, strict=True)}
        for name in means:
            if name.startswith("without negative"):
                means[name] *= processes.count  # a number of anchors: all processes together have so many
        seconds = self.lap()
        self.row |= {"loss": means.pop("loss"), "seconds": seconds + self.refresh_seconds}
        self.row |= {"items_per_second": images / seconds, "refresh_seconds": self.refresh_seconds, "lr": rate}
        self.row |= {"cpu_seconds": cpu * processes.count, **means}  # without those of workers that decode

    def monitored(self, accuracies: dict[str, float]) -> None:
        """Adds the kNN accuracies to the row."""
        self.row |= accuracies
        self.row["monitor_seconds"] = self.lap()


@torch.no_grad()
def references(step: Step, temperature: float | None) -> dict[str, Tensor]:
    """Returns the loss of a step if all embeddings are equal, and a floor of it, where they are known.

    The first is exact for every method: candidates that are prototypes count as equally similar too. Neither is known
    for terms in blocks, whose similarities are never in memory at once. There is no floor for a loss that is not the
    sum of its terms (HCE, HMCE), nor for candidates with weights (:func:`hiercl.pairs.floor`).

    Args:
        step: a step.
        temperature: divides the cosines; None: the method has none, and nothing is known.

    Example:
        >>> {name: float(value) for name, value in references(run.step(train, batch=8), 0.1).items()}["loss floor"] >= 0
        True
    """
    terms = [term for term in step.terms if isinstance(term, Term)]
    if len(terms) < len(step.terms) or not terms or temperature is None:
        return {}
    found = {IF_EQUAL: step.combine(tuple(if_equal(term, temperature) for term in terms))}
    floors = [floor(term, temperature) for term in terms] if step.combine is weighted_sum else [None]
    known = [term.weight * least for term, least in zip(terms, floors, strict=False) if least is not None]
    return found | ({FLOOR: torch.stack(known).sum()} if len(known) == len(terms) else {})


def summary(row: Mapping[str, Any]) -> str:
    """Returns a row of the history as one short line: loss, speed, mean keep rate, kNN accuracies.

    Args:
        row: a row of ``run.history``.

    Example:
        >>> summary({"loss": 4.2, "items_per_second": 1234.5})
        'loss 4.200, 1,234 items/s'
    """
    known = {name: value for name, value in row.items() if value == value}  # NaN: not looked at in this epoch
    kept = [value for name, value in known.items() if name.startswith("keep ")]
    parts = [f"loss {known['loss']:.3f}", f"{known['items_per_second']:,.0f} items/s"]
    parts += [f"kept {100 * sum(kept) / len(kept):.1f} %"] if kept else []
    parts += [f"{name} {value:.1f} %" for name, value in known.items() if name.startswith("knn ")]
    return ", ".join(parts)


def monitor(
    dataset: HierarchicalDataset, model: Method, embed: Callable[..., Tensor], seed: int
) -> Callable[[], dict[str, float]]:
    """Makes a function that measures how well the encoder does during a training.

    It measures the leave-one-out kNN accuracy (k = 20, T = 0.07, backbone features) on at most 5,000 training items, in
    per cent. For a method that mines neighbours it also measures the share of neighbours that have the item's class.
    Items without a label are left out of both.

    Args:
        dataset: the training set; some of its items have labels.
        model: the method that is trained.
        embed: ``embed(function, index=index)`` runs a part of the model over these items of the training set.
        seed: seed of the choice of items.
    """
    index = torch.randperm(len(dataset), generator=generator("cpu", seed, 0, "order"))
    index = index[torch.as_tensor(dataset.has_label)[index]][:MONITORED_ITEMS]
    hierarchy = dataset.hierarchy

    def look() -> dict[str, float]:
        features = embed(model.encoder, index=index)
        own = torch.arange(len(index), device=features.device)
        neighbours = getattr(model, "neighbours", None)
        result = {}
        for level, name in enumerate(hierarchy.level_names):
            labels = torch.as_tensor(dataset.labels_at(level)[index.numpy()], device=features.device)
            hits = knn_predict(features, labels, features, own=own) == labels
            result[f"knn {name}"] = 100 * hits.float().mean().item()
            if neighbours is not None:
                agreement = neighbour_agreement(neighbours.cpu(), dataset.labels_at(level))
                result[f"neighbours {name}"] = 100 * agreement
        return result

    return look
