"""FitConfig: the settings of a training; and the optimiser and learning rate that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from hiercl.methods import Method

SMALLEST = {"images": "convnet", "points": "pointnet_vanilla"}


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training."""

    encoder: str = "auto"
    """Of pictures: convnet (auto), resnet18, resnet50; of points: pointnet_vanilla (auto), pointnet, dgcnn."""
    epochs: int = 20
    """Passes over the training set; 0 gives the untrained model."""
    norm: Literal["batch", "split", "group"] = "batch"
    """Of the encoder: batch norm; in 8 parts of a process's batch (for methods with keys, which change places: MoCo's
    CIFAR demo); or group norm."""
    batch: int = 256
    """Anchors a step, in all processes together; the data set's size where that is smaller."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with momentum 0.9."""
    lr: float | None = None
    """Highest learning rate; by default 1e-3 (AdamW), or 0.03 for a batch of 256 (SGD, as MoCo v2)."""
    weight_decay: float | None = None
    """By default 0.05 (AdamW) or 5e-4 (SGD)."""
    lr_warm_up: float = 0.05
    """Share of training in which the learning rate rises to its highest value; it then falls along a cosine to 0."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the encoder; auto: bf16 where the hardware has it natively. Losses are float32 always."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is one."""
    compile: bool = False
    """Compile the encoder: worth its minutes for long trainings on CUDA only."""
    monitor_every: int = 5
    """Epochs between two looks at the kNN accuracy on a sample of the training set; 0: never."""
    workers: int | None = None
    """Processes that decode pictures that are not in an array store; by default one less than there are cores."""
    seed: int = 0
    """Of everything that is drawn."""

    def __post_init__(self):
        if self.epochs < 0 or self.batch < 2 or self.monitor_every < 0:
            raise ValueError(
                f"epochs={self.epochs}, batch={self.batch}, monitor_every={self.monitor_every}: epochs and "
                "monitor_every must be at least 0, a batch at least 2."
            )
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: it must be 0 or more.")
        if not 0 <= self.lr_warm_up < 1:
            raise ValueError(f"lr_warm_up={self.lr_warm_up}: it is a share of training, from 0 to below 1.")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers={self.workers}: it must be 0 or more.")
        for name, allowed in {
            "norm": ("batch", "split", "group"),
            "optimiser": ("adamw", "sgd"),
            "precision": ("auto", "float32", "bf16"),
            "device": ("auto", "cpu", "cuda"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: it is one of {', '.join(allowed)}.")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr={self.lr}: it must be above 0.")


def settled(config: FitConfig, kind: str, items: int) -> FitConfig:
    """The same, with the encoder that "auto" stands for, the smallest one of "images" or of "points", and with the
    rates of the optimiser: a default and the same value given by hand are one configuration.

    Example:
        >>> settled(FitConfig(optimiser="sgd"), "images", items=128).lr
        0.015
    """
    rate, decay = {"adamw": (1e-3, 0.05), "sgd": (0.03 * min(config.batch, items) / 256, 5e-4)}[config.optimiser]
    return replace(
        config,
        encoder=SMALLEST[kind] if config.encoder == "auto" else config.encoder,
        lr=rate if config.lr is None else config.lr,
        weight_decay=decay if config.weight_decay is None else config.weight_decay,
    )


def make_optimiser(model: Method, config: FitConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over everything that learns."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, config.lr, momentum=0.9, weight_decay=config.weight_decay)


def learning_rate(step: int, total: int, config: FitConfig) -> float:
    """Linear warm-up, then a cosine to 0: a function of the step alone, so that nothing has to be saved of it."""
    rising = round(config.lr_warm_up * total)
    if step < rising:
        return config.lr * (step + 1) / rising
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
