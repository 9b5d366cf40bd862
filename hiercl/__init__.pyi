"""The public names of hiercl, for editors and type checkers. tests/support/stub.py writes this file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from hiercl.clustering import PrototypeTree as PrototypeTree
from hiercl.datasets import HierarchicalDataset as HierarchicalDataset
from hiercl.datasets import load as load
from hiercl.encoders import Encoder as Encoder
from hiercl.encoders import embed as embed
from hiercl.encoders.featurise import featurise as featurise
from hiercl.encoders.zoo import pretrained as pretrained
from hiercl.encoders.zoo import pretrained_names as pretrained_names
from hiercl.evaluation import FineTuneConfig as FineTuneConfig
from hiercl.evaluation import Report as Report
from hiercl.evaluation import evaluate as evaluate
from hiercl.evaluation import feature_masks as feature_masks
from hiercl.explore import atlas as atlas
from hiercl.hierarchy import Hierarchy as Hierarchy
from hiercl.methods.labels import descriptors as descriptors
from hiercl.methods.labels import gates as gates
from hiercl.methods.labels import level_count as level_count
from hiercl.methods.labels import masks as masks
from hiercl.pairs import Pairs as Pairs
from hiercl.pairs import audit as audit
from hiercl.pairs import contrast as contrast
from hiercl.pairs import info_nce as info_nce
from hiercl.study import Study as Study
from hiercl.training import FitConfig as FitConfig
from hiercl.training import Run as Run
from hiercl.training import callbacks as callbacks
from hiercl.training import load_run as load_run
from hiercl.training.machine import machine as machine

from . import clustering as clustering
from . import datasets as datasets
from . import encoders as encoders
from . import evaluation as evaluation
from . import exercises as exercises
from . import explore as explore
from . import methods as methods
from . import metrics as metrics
from . import pairs as pairs
from . import plot as plot
from . import study as study
from . import views as views

__version__: str

def fit(
    method: str | type[methods.Method],
    dataset: HierarchicalDataset,
    *,
    official: bool = False,
    out: str | Path | None = None,
    resume: bool | Run = False,
    callbacks: Sequence[Callable[[Run], bool | None]] = (),
    progress: bool = True,
    encoder: Any | Callable[..., Any] | str = ...,
    resize: int | None = ...,
    mean: float | tuple[float, ...] | None = ...,
    std: float | tuple[float, ...] | None = ...,
    init: Any | str = ...,
    freeze: bool | int = ...,
    epochs: int = ...,
    norm: Literal["batch", "split", "group"] = ...,
    batch: int = ...,
    sampler: Literal["shuffled", "balanced"] = ...,
    sampler_level: int = ...,
    augment: Callable[..., Any] | None = ...,
    augment_at: Literal["before", "after", "instead"] = ...,
    optimiser: Literal["auto", "adamw", "sgd", "muon"] = ...,
    lr: float | None = ...,
    weight_decay: float | None = ...,
    lr_warm_up: float = ...,
    lr_schedule: Callable[..., Any] | Literal["cosine", "constant", "linear"] = ...,
    accumulate: int = ...,
    precision: Literal["auto", "float32", "bf16"] = ...,
    device: str | torch.device = ...,
    compile: bool = ...,
    monitor_every: int = ...,
    workers: int | None = ...,
    seed: int = ...,
    crop: int = ...,
    crop_scale: tuple[float, float] = ...,
    crop_ratio: tuple[float, float] = ...,
    flip: float = ...,
    jitter: tuple[float, float, float, float] = ...,
    jitter_probability: float = ...,
    grayscale: float = ...,
    blur: float = ...,
    blur_sigma: tuple[float, float] = ...,
    points: int = ...,
    rotation: Literal["up", "any", "none"] = ...,
    tilt: float = ...,
    stretch: tuple[float, float] = ...,
    shift: float = ...,
    noise: float | None = ...,
    drop: float | None = ...,
    temperature: float = ...,
    head: Literal["mlp", "linear"] = ...,
    dim: int = ...,
    block: int | None = ...,
    momentum: float = ...,
    queue: int | None = ...,
    mask_own: bool = ...,
    symmetric: bool = ...,
    scale: Literal["normalised", "official"] = ...,
    prototypes: tuple[int, ...] | None = ...,
    select: Callable[..., Any] | Literal["none", "instances", "prototypes", "both"] = ...,
    select_by: Literal["tree", "random", "labels"] = ...,
    terms: Literal["both", "instances", "prototypes"] = ...,
    sharpness: float = ...,
    warm_up: float | None = ...,
    reduce: Literal["mean", "sum", "official"] = ...,
    removed: Literal["excluded", "zeroed"] = ...,
    prototype_negatives: Literal["others", "official"] = ...,
    local_crops: int = ...,
    local_sizes: Literal["eighths", "official"] = ...,
    select_local: bool = ...,
    restarts: int = ...,
    neighbours: int = ...,
    neighbour_source: Literal["mined", "random", "labels"] = ...,
    neighbour_weight: float = ...,
    neighbour_start: float = ...,
    mine_every: float = ...,
    mask_neighbours: bool = ...,
    mix: bool = ...,
    mix_alpha: int = ...,
    stages: Literal["last"] | tuple[int, ...] | None = ...,
    stage_weights: tuple[float, ...] | None = ...,
    patches: int = ...,
    source: Literal["labels", "prototypes"] = ...,
    balance: Literal["none", "anchors", "classes"] = ...,
    negatives: Literal["equal", "far", "near"] = ...,
    thinning: bool = ...,
    thinning_keeps: Literal["lowest", "official"] = ...,
    heads: Literal["shared", "level"] = ...,
    level_weights: Literal["exp", "power", "uniform"] | tuple[float, ...] = ...,
    maximum: Literal["batch", "pair", "centred"] = ...,
    masks: Literal["mixture", "labels", "random", "contiguous"] = ...,
    descriptor: Literal["contrast", "raw", "moments", "samples", "correlation"] = ...,
    sizes: Literal["equal", "free"] | tuple[float, ...] = ...,
    soft: bool = ...,
    place: Literal["projection", "backbone"] = ...,
    gate: Literal["input", "softmax", "features", "constant", "attention"] = ...,
    **settings: Any,
) -> Run: ...
