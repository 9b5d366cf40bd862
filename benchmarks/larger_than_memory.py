"""A data set larger than the memory through the whole of fit and evaluate: noise in a memory-mapped store.

What is measured is anonymous memory: that of the process itself, beside what it has after the imports. Pages of the
store, which the system can drop at any time, do not count. More than is allowed is an error. The system refuses the
process twice as much, because threads and libraries reserve memory that they do not use."""

from __future__ import annotations

import json
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import tyro
from speed import anonymous_memory, memory_and_seconds

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy


@dataclass(frozen=True)
class LargeConfig:
    """What is made and how much memory there is."""

    gigabytes: float = 2.0
    """Size of the store of the training set, in 10⁹ bytes."""
    pixels: int = 224
    """Side of its pictures."""
    memory: float = 1.0
    """Gigabytes (2³⁰ bytes) that the process may take beside what it has after the imports."""
    unlabelled: float = 0.1
    """Share of the pictures without a label, which the evaluation leaves out."""
    method: str = "moco"
    """What is trained, for one epoch."""
    folder: Path | None = None
    """Where the store is made; by default a temporary folder. It is removed at the end."""
    out: Path = Path("runs/larger_than_memory.json")
    """Where the figures go."""


def noise(path: Path, config: LargeConfig) -> HierarchicalDataset:
    """Writes a memory-mapped array of noise, and returns the data set."""
    shape = (int(config.gigabytes * 1e9 / (3 * config.pixels**2)), config.pixels, config.pixels, 3)
    items = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    rng = np.random.default_rng(0)
    for start in range(0, len(items), 64):
        items[start : start + 64] = rng.integers(0, 256, items[start : start + 64].shape, dtype=np.uint8)
    items.flush()
    labels = np.arange(len(items)) % 10
    labels[rng.permutation(len(items))[: round(config.unlabelled * len(items))]] = -1
    tree = Hierarchy.from_dict({"a": list("cdefg"), "b": list("hijkl")})
    return HierarchicalDataset.from_arrays(np.load(path, mmap_mode="r"), labels, tree, "noise")


def measure(config: LargeConfig, folder: Path) -> dict[str, Any]:
    """Makes the store; trains and judges below the limit of memory."""
    made = noise(folder / "noise.npy", config)
    made.save(folder / "store")
    (folder / "noise.npy").unlink()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = 1024 * int(status["VmData"].split()[0]) + 2 * int(config.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    before = anonymous_memory()
    train = HierarchicalDataset.load(folder / "store")
    rest, test = train.split(0.1)
    settings = {"resize": 32, "crop": 24, "epochs": 1, "batch": 64, "queue": 1024, "device": "cpu"}
    found: dict[str, Any] = {"items": len(rest), "test items": len(test), "store MB": train.items.nbytes / 1e6}
    kept: list[Any] = []
    steps = {
        "fit": lambda: kept.append(hiercl.fit(config.method, rest, **settings)),
        "evaluate": lambda: kept.append(hiercl.evaluate(kept[0], rest, test)),
    }
    for name, step in steps.items():
        already = anonymous_memory() - before
        used = memory_and_seconds(step, torch.device("cpu"))
        found |= {f"{name} s": used["s"], f"{name} peak MB": already + used["peak MB"]}
        print({name: found[f"{name} peak MB"], "s": used["s"]}, flush=True)
    allowed = config.memory * 2**30 / 1e6
    if max(found["fit peak MB"], found["evaluate peak MB"]) > allowed:
        raise MemoryError(f"more than {allowed:.0f} MB: {found}")
    return found | {"allowed MB": allowed, "knn": kept[1].table()["knn"].tolist()}


if __name__ == "__main__":
    config = tyro.cli(LargeConfig, description=__doc__)
    with TemporaryDirectory(dir=config.folder) as folder:
        figures = measure(config, Path(folder))
    for name, value in figures.items():
        print(f"{name}: {value}")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"config": asdict(config), **figures}, indent=2, default=str))
