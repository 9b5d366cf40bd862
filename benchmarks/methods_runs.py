"""One arm and seed: trained, its passes counted, judged, and written down as one small file."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods_arms import Arm, ArmList, Size, configuration, differences, short_hash

import hiercl
from hiercl import methods
from hiercl.checkpoint import write_atomically
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import Encoder
from hiercl.environment import git_commit
from hiercl.evaluation import geometry, per_level, view_alignment
from hiercl.few_labels import few_labels
from hiercl.methods import Method
from hiercl.probes import PENALTIES, knn_predict

LEVEL_METRICS = (
    *("linear", "linear_balanced", "knn", "knn_balanced", "ami", "hierarchical_f1", "mistake_height"),
    *("variance_between", "map_at_r"),
)
FRACTIONS, DRAWS = (0.01, 0.1), 3
KNN_K, KNN_TEMPERATURE = 20, 0.07
COMMON_COLUMNS = {"epoch", "seconds", "items_per_second", "refresh_seconds", "lr", "cpu_seconds"}


@dataclass
class Passes:
    """Counts the pictures that go through encoders: with gradient (query), without (key), or in eval mode (refresh)."""

    counts: dict[str, int] = field(default_factory=dict)

    def of(self, kind: type[Method]) -> type[Method]:
        """The method, with a counter at the stem of every encoder that it has."""
        count = self._count

        class Counted(kind):
            def __init__(self, *arguments, **settings):
                super().__init__(*arguments, **settings)
                for module in self.modules():
                    if isinstance(module, Encoder):
                        module.stem.register_forward_hook(count)

        return Counted

    def _count(self, stem: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        name = "refresh" if not stem.training else "query" if torch.is_grad_enabled() else "key"
        self.counts[name] = self.counts.get(name, 0) + len(arguments[0])

    def take(self) -> dict[str, int]:
        """The counts since the last time."""
        counts, self.counts = self.counts, {}
        return counts


def trained(method: str, settings: dict[str, Any], train: HierarchicalDataset, out: Path) -> tuple[hiercl.Run, dict]:
    """The run in a folder, trained or resumed if it has to be; and the passes of all its epochs."""
    file, passes = out / "passes.json", Passes()

    def keep(run: hiercl.Run) -> None:
        counted[str(len(run.history))] = passes.take()
        write_atomically(file, json.dumps(counted).encode())

    counted = json.loads(file.read_text()) if file.exists() else {}
    kind = passes.of(methods.get(method))
    run = hiercl.fit(kind, train, out=out, resume=True, callbacks=[keep], progress=False, **settings)
    if run.interrupted:  # a run that was stopped is not to be judged
        raise KeyboardInterrupt
    total: dict[str, float] = {name: 0 for name in ("query", "key", "refresh")}
    for counts in counted.values():
        # An epoch whose counts were lost, because the process was stopped at its very end, counts as a mean one.
        total = {name: total[name] + counts.get(name, 0) * len(run.history) / len(counted) for name in total}
    return run, total


def judged(run: hiercl.Run, train: HierarchicalDataset, parts: dict[str, HierarchicalDataset]) -> dict[str, Any]:
    """The numbers of the table, as :func:`hiercl.evaluate` makes them; the features are made once."""
    test, bank = parts["test"], hiercl.embed(run, train)
    features = {part: hiercl.embed(run, data) for part, data in parts.items()}
    queries = features["test"]
    levels = {
        level if part == "test" else f"{level}, {part}": numbers
        for part, data in parts.items()
        for level, numbers in of_levels(bank, train, features[part], data).items()
    }
    few = few_labels(
        run.encoder, train, test, FRACTIONS, DRAWS, fine_tuning=False, features=(bank, queries), progress=False
    )
    of_classes = {part: superclass_recalls(bank, train, features[part], data) for part, data in parts.items()}
    return {
        "levels": levels,
        "recall by superclass": of_classes,
        "overall": {"alignment": view_alignment(run, test, seed=0), **geometry(queries)},
        "few_labels": few[["fraction", "labels", "level", "accuracy", "deviation"]].to_dict("records"),
    }


def of_levels(bank: torch.Tensor, train: HierarchicalDataset, queries: torch.Tensor, test: HierarchicalDataset) -> dict:
    """What is told of every level."""
    rows, _ = per_level(bank, train, queries, test, KNN_K, KNN_TEMPERATURE, seed=0)
    return {row["level"]: {name: row[name] for name in LEVEL_METRICS} for row in rows}


def superclass_recalls(
    bank: torch.Tensor, train: HierarchicalDataset, queries: torch.Tensor, test: HierarchicalDataset
) -> dict[str, float]:
    """For each coarsest class, the mean recall of its leaf classes by the kNN vote, in per cent; of those that have
    test items."""
    tree = test.hierarchy
    guess = knn_predict(bank, torch.as_tensor(train.labels), queries, KNN_K, KNN_TEMPERATURE).numpy()
    counts = np.bincount(test.labels, minlength=tree.n_leaves)
    right = np.bincount(test.labels[guess == test.labels], minlength=tree.n_leaves)
    shown, parent = counts > 0, tree.ancestors[:, 0]
    recall = 100 * right / np.maximum(counts, 1)
    names = enumerate(tree.names[0])
    return {name: recall[shown & (parent == k)].mean() for k, name in names if (shown & (parent == k)).any()}


def cost(run: hiercl.Run, passes: dict[str, float]) -> dict[str, float]:
    """What the training took. Items seen are anchors; a neighbour's picture is a pass, and no item."""
    fit, setting, history = run.config["fit"], run.config["setting"], run.history
    items = len(history) * setting["steps_per_epoch"] * min(fit["batch"], setting["items"])
    seconds = {name: history[name].sum() if len(history) else 0.0 for name in ("seconds", "cpu_seconds")}
    per_item = {f"{name}_per_item": count / items if items else 0.0 for name, count in passes.items()}
    return {"items_seen": items, **passes, **per_item, **seconds}


def result_file(folder: Path, size: Size, arm: str, seed: int) -> Path:
    return folder / size.name / f"{arm}-seed{seed}.json"


def stale(file: Path, wanted: dict[str, Any]) -> list[str]:
    """Where the configuration of a result differs from the wanted one, in words."""
    return differences(json.loads(file.read_text())["configuration"], wanted)


def one(listed: ArmList, arm: Arm, size: Size, seed: int, results: Path, runs: Path, threads: int | None) -> None:
    """Trains and judges an arm with a seed, unless its result is there and of this configuration."""
    if threads:
        torch.set_num_threads(threads)
    train, parts = size.load()
    settings = listed.settings(arm, size, seed)
    wanted, file = configuration(arm.method, settings, train), result_file(results, size, arm.name, seed)
    if file.exists():
        changed = stale(file, wanted)
        if not changed:
            return
        print(f"{file}: of another configuration ({'; '.join(changed)}): trained again", flush=True)
    start = time.perf_counter()
    run, passes = trained(arm.method, settings, train, runs / size.name / f"{arm.name}-seed{seed}-{short_hash(wanted)}")
    last = run.history.iloc[-1].to_dict() if len(run.history) else {}
    result = {
        "arm": arm.name,
        "seed": seed,
        "hash": short_hash(wanted),
        **judged(run, train, parts),
        "cost": cost(run, passes),
        "last_epoch": {name: value for name, value in last.items() if name not in COMMON_COLUMNS},
        "protocol": protocol(run, train, parts),
        "commits": {"trained": run.environment["git_commit"], "judged": git_commit()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    content = compact(result) | {"configuration": wanted}  # which is compared to the last digit
    write_atomically(file, (json.dumps(content, allow_nan=False) + "\n").encode())
    linear = ", ".join(f"{name} {row['linear']:.1f}" for name, row in result["levels"].items())
    print(f"{file.stem}: linear {linear}; {time.perf_counter() - start:.0f} s", flush=True)


def protocol(run: hiercl.Run, train: HierarchicalDataset, parts: dict[str, HierarchicalDataset]) -> dict[str, Any]:
    """What the numbers depend on, beside the configuration."""
    test = parts["test"]
    return {
        "features": "pooled backbone features of the query encoder, unaugmented",
        "linear_penalties": list(PENALTIES),
        "knn_k": KNN_K,
        "knn_temperature": KNN_TEMPERATURE,
        "few_labels_draws": DRAWS,
        "train_items": len(train),
        "test_items": len(test),
        "test_note": test.note,
        "level_names": list(train.hierarchy.level_names),
        **({"held_out_items": len(parts["held out"])} if "held out" in parts else {}),
        **{name: run.environment[name] for name in ("torch", "device", "precision", "threads")},
    }


def compact(value: Any) -> Any:
    """With five digits, and None in place of what is no number."""
    if isinstance(value, dict):
        return {key: compact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [compact(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None
