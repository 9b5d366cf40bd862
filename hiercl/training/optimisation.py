"""FitConfig: the settings of a training; and the optimiser and learning rate that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

import torch

from hiercl.encoders import MODALITIES
from hiercl.methods import Method
from hiercl.runtime.config import Above, AtLeast, Between, Config


@dataclass(frozen=True)
class FitConfig(Config):
    """Settings of a training."""

    encoder: str = "auto"
    """Name of the encoder. Pictures: convnet (auto), resnet18, resnet50; points: pointnet_vanilla (auto), pointnet,
    dgcnn."""
    epochs: Annotated[int, AtLeast(0)] = 20
    """Passes over the training set; 0 gives the untrained model."""
    norm: Literal["batch", "split", "group"] = "batch"
    """What normalises the encoder's maps: batch norm; split, batch norm in 8 parts of a process's batch with shuffled
    keys, as in MoCo's CIFAR demo; or group norm."""
    batch: Annotated[int, AtLeast(2)] = 256
    """Anchors in a step, over all processes; a smaller data set is one batch."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with momentum 0.9. The spelling optimizer= is accepted too."""
    lr: Annotated[float, Above(0)] | None = None
    """Highest learning rate; by default 1e-3 for AdamW, and 0.03 × batch / 256 for SGD, as in MoCo v2."""
    weight_decay: Annotated[float, AtLeast(0)] | None = None
    """Weight decay; by default 0.05 for AdamW and 5e-4 for SGD."""
    lr_warm_up: Annotated[float, Between(0, 1, high_allowed=False)] = 0.05
    """Share of training in which the learning rate rises to its highest value. It then falls along a cosine to 0."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the encoder; auto uses bf16 where the hardware has it. Losses are always float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto uses CUDA if there is a GPU."""
    compile: bool = False
    """Compile the encoder. It takes minutes and pays off only in long trainings on CUDA."""
    monitor_every: Annotated[int, AtLeast(0)] = 5
    """Epochs between two measurements of the kNN accuracy on a sample of the training set; 0: never."""
    workers: Annotated[int, AtLeast(0)] | None = None
    """Processes that decode pictures that are not in an array store; by default one less than there are cores."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Seed of all random numbers."""


def resolve_defaults(config: FitConfig, modality: str, items: int) -> FitConfig:
    """Fills in what the defaults stand for: the encoder of "auto", the learning rate and the weight decay.

    So a default and the same value given by hand are one configuration.

    Args:
        config: the settings as they were given.
        modality: the kind of items, "images" or "points".
        items: number of training items.

    Example:
        >>> resolve_defaults(FitConfig(optimiser="sgd"), "images", items=128).lr
        0.015
    """
    rate, decay = {"adamw": (1e-3, 0.05), "sgd": (0.03 * min(config.batch, items) / 256, 5e-4)}[config.optimiser]
    return replace(
        config,
        encoder=MODALITIES[modality].default_encoder if config.encoder == "auto" else config.encoder,
        lr=rate if config.lr is None else config.lr,
        weight_decay=decay if config.weight_decay is None else config.weight_decay,
    )


def make_optimiser(model: Method, config: FitConfig) -> torch.optim.Optimizer:
    """Makes AdamW or SGD over everything that learns."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    return torch.optim.SGD(parameters, momentum=0.9, **settings)


def learning_rate(step: int, total: int, config: FitConfig) -> float:
    """Returns the learning rate of a step: it rises linearly, then falls along a cosine to 0.

    It depends on the number of the step alone, so a checkpoint saves nothing of it.
    """
    highest = cast(float, config.lr)  # resolve_defaults has filled it in
    rising = round(config.lr_warm_up * total)
    if step < rising:
        return highest * (step + 1) / rising
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
