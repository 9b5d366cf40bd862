"""How fast the package is, as ratios measured side by side in one run: ``make bench``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import tyro
from plain import plain_prototype_pairs, plain_removals
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import half_precision_is_native, make_encoder
from hiercl.encoders.featurise import featurise
from hiercl.evaluation import evaluate
from hiercl.hierarchy import Hierarchy
from hiercl.methods import TrainingInfo
from hiercl.methods.hcsc import HCSC, HCSCConfig
from hiercl.methods.moco import MoCo, MoCoConfig
from hiercl.metrics import LinearProbe, knn_predict, retrieve, uniformity
from hiercl.pairs import Term
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.seeds import Draws
from hiercl.training import FitConfig, fit, pick_device
from hiercl.training.optimisation import make_optimiser, resolve_defaults

DIM = 128


@dataclass(frozen=True)
class BenchConfig:
    """What is measured."""

    encoder: str = "whitenet"
    """Encoder of the throughput."""
    batch: int = 256
    """Anchors a step."""
    queue: int = 4096
    """Queue of the throughput."""
    steps: int = 40
    """Steps of one round."""
    point_encoder: str = "pointnet_vanilla"
    """Encoder of the throughput on clouds."""
    points: int = 128
    """Points of their views."""
    rounds: int = 5
    """Rounds; medians are reported."""
    precision: Literal["auto", "float32"] = "auto"
    """Of the encoder in the throughput; auto is bf16 where the hardware has it."""
    data: int = 50_000
    """Embeddings that the tree is built of, pictures that are featurised, and items that are judged."""
    queries: int = 1000
    """Items whose neighbours are searched among all others, where the time grows with the square of the items."""
    only: tuple[str, ...] = ()
    """Parts by their function, such as vectors and featurising; by default all."""
    device: str = "auto"
    """auto, cpu or cuda."""
    out: Path = Path("runs/bench.json")
    """Where the figures go."""


def bench(config: BenchConfig, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Runs all parts, says what each found, and returns it as plain values."""
    device = pick_device(config.device)
    results: dict[str, Any] = {"config": asdict(config), "environment": describe_environment(device, "see (a)")}
    parts = {
        "(a) throughput: images a second, as a share of the bare step": throughput,
        "(a, clouds) throughput: clouds a second, as a share of the bare step": cloud_throughput,
        "(a, vectors) throughput: vectors a second, as a share of a bare loop with the same views and loss": vectors,
        "(b) selection: loss and selection of HCSC, stored denominators against the plain form": selection,
        "(c) tree: bottom-up k-means against scikit-learn's KMeans": tree,
        "(d) growth": growth,
        "(e) featurise: memory for noise pictures, five vectors each": featurising,
        "(f) growth of evaluate: items of 128 numbers in two superclasses, as many for training as for test": judging,
    }
    if missing := set(config.only) - {part.__name__ for part in parts.values()}:
        raise SystemExit(f"no part {', '.join(missing)}: there are {', '.join(p.__name__ for p in parts.values())}.")
    for title, part in parts.items():
        if config.only and part.__name__ not in config.only:
            continue
        say(f"\n{title}")
        table = part(config, device)
        say(table.to_string(index=False, float_format=lambda x: f"{x:.3g}" if abs(x) < 100 else f"{x:,.0f}"))
        results[part.__name__] = table.to_dict("records")
    return results


def seconds_of(function: Callable[[], Any], device: torch.device) -> float:
    """Wall seconds of one call, the device's work included."""
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


# -- (a) --------------------------------------------------------------------------------------------------------


def throughput(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """Data-set images a second of whole training steps (data, views, loss, optimiser, momentum, queue), round by round
    beside the bare step: forward and backward of one view, forward of the other by the momentum encoder, optimiser and
    momentum update, on ready tensors of the same size and precision, without data, views or loss."""
    images = np.random.default_rng(0).integers(0, 256, (config.steps * config.batch, 32, 32, 3), dtype=np.uint8)
    view = torch.rand(config.batch, 3, 24, 24, device=device)
    return _throughput(config, device, images, config.encoder, view, "images", {})


def cloud_throughput(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """The same with clouds of 1,024 points, in fewer and longer steps."""
    config = replace(config, steps=max(1, config.steps // 4))
    shape = (config.steps * config.batch, 1024, 3)
    clouds = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    view = torch.rand(config.batch, 3, config.points, 1, device=device)
    return _throughput(config, device, clouds, config.point_encoder, view, "clouds", {"points": config.points})


def _throughput(
    config: BenchConfig,
    device: torch.device,
    items: np.ndarray,
    encoder: str,
    view: Tensor,
    what: str,
    settings_of_views: dict[str, Any],
) -> pd.DataFrame:
    n = len(items)
    dataset = HierarchicalDataset.from_arrays(items, np.arange(n) % 10, Hierarchy.from_dict(list("abcdefghij")))
    bare = bare_step(config, device, encoder, view)
    common = {"encoder": encoder, "epochs": 1, "batch": config.batch, "queue": config.queue, "monitor_every": 0}
    common |= {"device": device.type, "precision": config.precision, "progress": False} | settings_of_views
    arms = {"MoCo v2": ("moco", {}), "HCSC": ("hcsc", {"warm_up": 0.0, "prototypes": (20, 50, 100)})}

    rates: dict[str, list[float]] = {name: [] for name in ("bare step", *arms)}
    refresh = []
    for round_ in range(config.rounds + 1):
        seconds = seconds_of(lambda: [bare() for _ in range(config.steps)], device)
        measured = {"bare step": n / seconds}
        for name, (method, settings) in arms.items():
            row = fit(method, dataset, **common, **settings).history.iloc[-1]
            measured[name] = row["items_per_second"]
            if name == "HCSC" and round_:
                refresh.append(row["refresh_seconds"] / (n / row["items_per_second"]))
        if round_:  # the first round compiles and warms caches
            for name, value in measured.items():
                rates[name].append(value)
    table = _as_shares(rates, "bare step", what)
    table["refresh / epoch of steps"] = [float(np.median(refresh)) if name == "HCSC" else None for name in rates]
    return table


def _as_shares(rates: dict[str, list[float]], bare: str, what: str) -> pd.DataFrame:
    """A row for each arm: its rate, and its share of the bare rate of the same round."""
    shares = {name: np.array(values) / np.array(rates[bare]) for name, values in rates.items()}
    rows = [
        {
            "arm": name,
            f"{what}/s (median)": float(np.median(values)),
            "share of bare (median)": float(np.median(shares[name])),
            "lowest": float(shares[name].min()),
            "highest": float(shares[name].max()),
        }
        for name, values in rates.items()
    ]
    return pd.DataFrame(rows)


def bare_step(config: BenchConfig, device: torch.device, name: str, view: Tensor) -> Callable[[], None]:
    """The step that is left when data, views and loss are taken away."""
    half = config.precision == "auto" and half_precision_is_native(device)
    encoder = make_encoder(name, mean=[0.5] * 3, std=[0.25] * 3)
    settings = resolve_defaults(FitConfig(encoder=name), encoder.modality, items=10_000)
    model = MoCo(encoder, MoCoConfig(queue=config.queue), TrainingInfo(10_000, 1, 1)).to(device).train()
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, settings)
    views = [(view * share).contiguous(memory_format=torch.channels_last) for share in (1.0, 0.9)]
    slow = [*model.key_encoder.parameters(), *model.key_head.parameters()]
    fast = [*model.encoder.parameters(), *model.head.parameters()]

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            query = model.project(views[0])
            with torch.no_grad():
                model.project_key(views[1])
        query.sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(slow, fast, 0.01)

    return step


def vectors(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """Vectors a second of SimCLR's training steps, and of a bare loop with nothing around it: it draws two stored views
    of every item, passes both, and has the loss, the optimiser and the network of the package."""
    size, width, batch = 8192, 512, 2 * config.batch
    stored = np.random.default_rng(0).normal(size=(size, 5, width)).astype(np.float32)
    dataset = HierarchicalDataset.from_features(stored, np.arange(size) % 20)
    items = torch.from_numpy(stored).to(device)
    mean, scale = items[:, 0].mean(dim=0), float(items[:, 0].std())
    network = nn.Sequential(
        *(nn.Linear(width, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(inplace=True)),
        *(nn.Linear(512, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(inplace=True)),
        *(nn.Linear(256, 256), nn.ReLU(inplace=True), nn.Linear(256, 128)),
    ).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    itself = torch.eye(2 * batch, dtype=torch.bool, device=device)
    partner = torch.arange(2 * batch, device=device).roll(batch)

    def bare():
        for index in torch.randperm(size, device=device).split(batch):
            views = [items[index, 1 + torch.randint(4, (batch,), device=device)] for _ in range(2)]
            z = torch.cat([F.normalize(network((view - mean) / scale), dim=1) for view in views])
            F.cross_entropy((z @ z.T / 0.1).masked_fill(itself, -torch.inf), partner).backward()
            optimiser.step()
            optimiser.zero_grad()

    rates: dict[str, list[float]] = {"bare loop": [], "SimCLR": []}
    for round_ in range(config.rounds + 1):
        bare_rate = size / seconds_of(bare, device)
        settings = {"epochs": 2, "batch": batch, "monitor_every": 0, "device": device.type, "progress": False}
        ours = fit("simclr", dataset, **settings).history["items_per_second"].iloc[-1]
        if round_:  # the first round warms caches
            rates["bare loop"].append(bare_rate)
            rates["SimCLR"].append(ours)
    return _as_shares(rates, "bare loop", "vectors")


# -- (b) --------------------------------------------------------------------------------------------------------


def random_tree(sizes: tuple[int, ...], items: int, seed: int = 0) -> PrototypeTree:
    """A tree of random prototypes: its cost is that of a real one."""
    g = torch.Generator().manual_seed(seed)
    centroids = tuple(F.normalize(torch.randn(size, DIM, generator=g), dim=1) for size in sizes)
    parents = [torch.zeros(sizes[0], dtype=torch.long)]
    parents += [torch.randint(0, coarse, (fine,), generator=g) for coarse, fine in pairwise(sizes)]
    path = [torch.randint(0, sizes[-1], (items,), generator=g)]
    for parent in parents[:0:-1]:
        path.append(parent[path[-1]])
    concentration = tuple(torch.full((size,), 0.1) for size in sizes)
    assignment = torch.stack(path[::-1], dim=1)
    return PrototypeTree(centroids, concentration, tuple(parents), assignment, torch.zeros(assignment.shape))


class SelectionCase:
    """HCSC's loss and selection alone, on random embeddings."""

    def __init__(self, batch: int, queue: int, sizes: tuple[int, ...], device: torch.device):
        g = torch.Generator().manual_seed(0)
        items = 20_000
        encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3)
        config = HCSCConfig(queue=queue, prototypes=sizes)
        self.method = HCSC(encoder, config, TrainingInfo(items, 1, 1)).to(device)
        self.method.use(random_tree(sizes, items))
        embedding = F.normalize(torch.randn(2, batch, DIM, generator=g), dim=2).to(device)
        self.query, self.key = embedding[0].clone().requires_grad_(), embedding[1]
        self.item = torch.randperm(items, generator=g)[:batch].to(device)
        self.device = device

    def draws(self) -> Draws:
        return Draws(torch.Generator(self.device).manual_seed(1))

    def terms(self) -> tuple[Term, ...]:
        """The terms of a step."""
        logits, base = self.method.instance_logits(self.query, self.key), self.method.instance_pairs(self.item)
        vectors = {"": self.method.instance_vectors(self.query, self.key)}
        return self.method.selective_terms({"": logits}, vectors, base, self.draws())

    def stored(self) -> None:
        """Our form, with the update of the queue and of its denominators."""
        sum(term.weight * term.loss for term in self.terms()).backward()
        with torch.no_grad():
            self.method.enqueue(self.key, self.item)

    def plain(self) -> None:
        """The same loss and draws; every posterior is computed afresh over all prototypes, as the equations read."""
        method, draws = self.method, self.draws()
        logits = method.instance_logits(self.query, self.key)
        base = method.instance_pairs(self.item)
        weight = 1 / (2 * method.tree.levels)
        loss = 0.0
        with torch.no_grad():
            removals = plain_removals(method, self.item, draws)
        for removed in removals:
            pairs = replace(base, negative=base.negative & ~removed, removed=removed)
            loss = loss + weight * Term("instance", logits, pairs).loss
        for level in range(method.tree.levels):
            with torch.no_grad():
                pairs = plain_prototype_pairs(method, self.item, level, draws)
            loss = loss + weight * Term("prototype", method.tree.logits(self.query, level), pairs).loss
        loss.backward()
        with torch.no_grad():
            method.queue.enqueue(self.key, self.item)


def selection(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """Milliseconds of forward, backward and queue update, in turns, and whether both remove the same."""
    case = SelectionCase(config.batch, 16_384, (1000, 2000, 3000), device)
    with torch.no_grad():
        terms = case.terms()
        draws = case.draws()
        plain = plain_removals(case.method, case.item, draws)
        plain += [plain_prototype_pairs(case.method, case.item, level, draws).removed for level in range(3)]
    differing = sum(int((term.pairs.removed != mask).sum()) for term, mask in zip(terms, plain, strict=True))
    removed = sum(int(mask.sum()) for mask in plain)
    times = in_turns([case.stored, case.plain], config.rounds, device)
    ratio = np.array(times[1]) / np.array(times[0])
    return pd.DataFrame(
        [
            {
                "queue": 16_384,
                "prototypes": "1000, 2000, 3000",
                "stored ms": 1e3 * float(np.median(times[0])),
                "plain ms": 1e3 * float(np.median(times[1])),
                "plain / stored (median)": float(np.median(ratio)),
                "lowest": float(ratio.min()),
                "highest": float(ratio.max()),
                "removals": removed,
                "removals that differ": differing,
            }
        ]
    )


def in_turns(functions: list[Callable[[], Any]], rounds: int, device: torch.device) -> list[list[float]]:
    """Seconds of each function, called one after the other in every round; a first round is not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for round_ in range(rounds + 1):
        for function, measured in zip(functions, times, strict=True):
            seconds = seconds_of(function, device)
            if round_:
                measured.append(seconds)
    return times


# -- (c), (d) ---------------------------------------------------------------------------------------------------


def embeddings(n: int, device: torch.device) -> Tensor:
    """Unit vectors around 200 random directions, about as concentrated as a trained projection."""
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(200, DIM, generator=g)
    z = centres[torch.randint(0, 200, (n,), generator=g)] + torch.randn(n, DIM, generator=g)
    return F.normalize(z, dim=1).to(device)


def tree(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """Seconds of the whole tree, of its finest k-means alone, and of scikit-learn's KMeans with as many centres and
    iterations and one start; inertia says that neither is fast by being worse."""
    from sklearn.cluster import KMeans

    from hiercl.clustering import kmeans

    z = embeddings(config.data, device)
    sizes = (100, 200, 300)
    points = z.cpu().numpy()
    found: dict[str, float] = {}

    def ours():
        found["ours"] = kmeans(z, sizes[-1], seed=0).inertia

    def theirs():
        found["theirs"] = KMeans(sizes[-1], n_init=1, max_iter=20, random_state=0).fit(points).inertia_

    whole, finest, reference = in_turns(
        [lambda: PrototypeTree.fit(z, sizes, seed=0), ours, theirs], min(config.rounds, 3), device
    )
    return pd.DataFrame(
        [
            {
                "embeddings": config.data,
                "prototypes": "100, 200, 300",
                "tree s": float(np.median(whole)),
                "finest level s": float(np.median(finest)),
                "scikit-learn s": float(np.median(reference)),
                "scikit-learn / ours": float(np.median(np.array(reference) / np.array(finest))),
                "inertia ours / theirs": found["ours"] / found["theirs"],
            }
        ]
    )


def growth(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """How loss and selection (milliseconds) and the tree (seconds) grow with each size, the others held."""
    base = {"batch": 256, "queue": 4096, "prototypes": (100, 200, 300)}
    varied = {
        "batch": (64, 128, 256, 512),
        "queue": (1024, 4096, 16_384, 65_536),
        "prototypes": ((20, 40, 60), (100, 200, 300), (500, 1000, 1500), (1000, 2000, 3000)),
    }
    rows = []
    for name, values in varied.items():
        cases = [
            SelectionCase(
                **{("sizes" if k == "prototypes" else k): v for k, v in (base | {name: value}).items()}, device=device
            )
            for value in values
        ]
        times = in_turns([case.stored for case in cases], min(config.rounds, 5), device)
        for value, measured in zip(values, times, strict=True):
            rows.append(
                {
                    "what": "loss and selection",
                    "grows with": name,
                    "size": str(value),
                    "unit": "ms",
                    "median": 1e3 * float(np.median(measured)),
                }
            )
    for n in (config.data // 4, config.data // 2, config.data):
        z = embeddings(n, device)
        measured = in_turns([lambda z=z: PrototypeTree.fit(z, base["prototypes"], seed=0)], 1, device)[0]
        rows.append(
            {"what": "tree", "grows with": "data", "size": f"{n:,}", "unit": "s", "median": float(np.median(measured))}
        )
    return pd.DataFrame(rows)


# -- (e) --------------------------------------------------------------------------------------------------------


def featurising(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """How much more memory a process needs while a small network reads pictures of a file, and vectors go to a file.

    Only memory that no file backs is counted, which a system cannot free. A first call on few pictures comes before."""
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 512)),
    )
    rows = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        items = np.lib.format.open_memmap(path, "w+", np.uint8, (config.data, 32, 32, 3))
        rng = np.random.default_rng(0)
        for start in range(0, len(items), 5000):
            block = items[start : start + 5000]
            block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
        items.flush()
        tree = Hierarchy.from_dict(["a", "b"])
        data = HierarchicalDataset(np.load(path, mmap_mode="r"), np.arange(config.data) % 2, tree, "noise")
        for number in (256, config.data // 2, config.data):
            some = data.take(np.arange(number))
            settings = {"out": Path(folder) / str(number), "device": device.type, "progress": False}
            used = memory_and_seconds(lambda some=some, settings=settings: featurise(some, network, **settings), device)
            rows.append({"pictures": number, "vectors MB": number * 5 * 512 * 4 / 1e6, **used})
    return pd.DataFrame(rows[1:])


def memory_and_seconds(function: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """How many megabytes a call needs beside what the process has already, at most, and its seconds."""
    before, peak, stop = anonymous_memory(), [0.0], Event()

    def watch():
        while not stop.wait(0.02):
            peak[0] = max(peak[0], anonymous_memory())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        seconds = seconds_of(function, device)
    finally:
        stop.set()
        watcher.join()
    return {"peak MB": max(0.0, peak[0] - before), "s": seconds}


def anonymous_memory() -> float:
    """Megabytes of this process that no file backs; NaN where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon"))


# -- (f) --------------------------------------------------------------------------------------------------------


def judging(config: BenchConfig, device: torch.device) -> pd.DataFrame:
    """What evaluate and its parts need for more and more items: 100 classes in 20 groups in two superclasses.

    The time of kNN and of what compares all pairs grows with the pairs, all other time with the items. The parts search
    the neighbours of as many queries whatever the number of items, so that their time grows with the items too."""
    names = {f"s{s}": {f"g{s}-{g}": [f"c{s}-{g}-{c}" for c in range(5)] for g in range(10)} for s in range(2)}
    hierarchy = Hierarchy.from_dict(names)
    rows = []
    for number in (2000, config.data // 4, config.data // 2, config.data):
        for name, (pairs, call) in judgements(number, min(config.queries, number), hierarchy, device).items():
            used = memory_and_seconds(call, device)
            rows.append({"what": name, "items": number, "pairs": pairs, "features MB": number * DIM * 4 / 1e6, **used})
    table = pd.DataFrame(rows)
    return table[table["items"] > 2000].sort_values(["what", "items"])  # the first calls import and warm caches


def judgements(
    number: int, queries: int, hierarchy: Hierarchy, device: torch.device
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """The calls that are measured, and how many pairs of items each compares."""
    (bank, labels), (test, truth) = (judged_items(number, hierarchy, seed, device) for seed in range(2))
    given = {"features": (bank, test), "labels": (labels, truth), "hierarchy": hierarchy, "progress": False}
    searched = queries * number
    return {
        "evaluate": (number * number + 2 * searched, lambda: evaluate(**given, sample=queries)),
        "kNN": (searched, lambda: knn_predict(bank, labels, test[:queries])),
        "MAP@R": (searched, lambda: retrieve(test, hierarchy.labels_at_all(truth), sample=queries)),
        "uniformity": (searched, lambda: uniformity(test, sample=queries)),
        "linear probe": (0, lambda: LinearProbe.fit(bank, labels)),
    }


def judged_items(number: int, hierarchy: Hierarchy, seed: int, device: torch.device) -> tuple[Tensor, np.ndarray]:
    """Noisy embeddings of random leaves, and these leaves."""
    g = torch.Generator().manual_seed(seed)
    leaves = torch.randint(hierarchy.n_leaves, (number,), generator=g)
    centres = torch.randn(hierarchy.n_leaves, DIM, generator=torch.Generator().manual_seed(7))
    return (centres[leaves] + 2 * torch.randn(number, DIM, generator=g)).to(device), leaves.numpy()


if __name__ == "__main__":
    config = tyro.cli(BenchConfig, description=__doc__)
    results = bench(config)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps(results, indent=2, default=str))
    print(f"\nWritten to {config.out}.")
