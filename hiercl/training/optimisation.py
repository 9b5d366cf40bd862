"""FitConfig: the settings of a training; and the optimiser and learning rate that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal, cast

import torch

from hiercl.encoders import MODALITIES, Encoder, Given, Weights
from hiercl.methods import Method
from hiercl.runtime.config import Above, AtLeast, Between, Config
from hiercl.training.muon import Muon
from hiercl.views import Augmentation


@dataclass(frozen=True)
class FitConfig(Config):
    """Settings of a training."""

    encoder: str | Callable[[], Any] | Any = "auto"
    """Name of the encoder. Pictures: whitenet (auto), convnet, resnet18, resnet50, vit_tiny, torchvision:NAME,
    timm:NAME; points: pointnet_vanilla (auto), pointnet, dgcnn, dgcnn_share; vectors: mlp (auto), linear, identity.
    Or a torch.nn.Module, which is copied and starts from its own weights; a run or an encoder of hiercl, likewise; or a
    function that makes one."""
    resize: Annotated[int, Between(1, 4096)] | None = None
    """Side in pixels that the encoder brings every picture and every view to; None leaves them as they are."""
    mean: float | tuple[float, ...] | None = None
    """What the encoder subtracts from every channel, for pictures in [0, 1]. None: the mean of the training set for an
    encoder made by a name; nothing for a module; what it has for an encoder of hiercl."""
    std: Annotated[float, Above(0)] | tuple[Annotated[float, Above(0)], ...] | None = None
    """What the encoder divides every channel by; None is like that of mean."""
    init: str | Any = None
    """First weights: a run or its folder, the name of a pretrained model, a file (.safetensors, .pt), a state dict; for
    encoders of torchvision or timm also DEFAULT, the best weights of theirs. None: random ones."""
    freeze: bool | Annotated[int, AtLeast(0)] = False
    """Number of stages of the encoder, from the first one on, that keep their weights; True: the whole encoder does."""
    epochs: Annotated[int, AtLeast(0)] = 20
    """Passes over the training set; 0 gives the untrained model."""
    norm: Literal["batch", "split", "group"] = "batch"
    """What normalises the encoder's maps: batch norm; split, batch norm in 8 parts of a process's batch with shuffled
    keys, as in MoCo's CIFAR demo; or group norm."""
    batch: Annotated[int, AtLeast(2)] = 256
    """Anchors in a step, over all processes; a smaller data set is one batch."""
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    """Order of the items. shuffled: every item once in an epoch; balanced: every batch has equally many items of each
    class of sampler_level, so that small classes come several times in an epoch. Items without a label keep their
    share. An epoch has as many steps either way."""
    sampler_level: int = -1
    """Level of the hierarchy whose classes sampler='balanced' balances; −1: the leaves, 0: the coarsest."""
    augment: Callable[[Any], Any] | None = None
    """Your own augmentation: a function from a batch of pictures [b, c, h, w] in [0, 1], clouds [b, 3, p, 1] or vectors
    [b, d] to the same. torchvision.transforms.v2 and kornia fit. hiercl.views.one_by_one applies a function to every
    item by itself."""
    augment_at: Literal["before", "after", "instead"] = "after"
    """Whether your augmentation comes before our random views, after them, or instead of them."""
    optimiser: Literal["auto", "adamw", "sgd", "muon"] = "auto"
    """adamw; sgd with momentum 0.9; or muon, which is AdamW with orthogonal steps for kernels of convolutions. auto is
    muon for a new whitenet or convnet, whose kernels may keep one size, and else adamw. The spelling optimizer= is
    accepted too."""
    lr: Annotated[float, Above(0)] | None = None
    """Highest learning rate; by default 1e-3 for AdamW and muon (whose kernels have 48 times as much), and
    0.03 × batch × accumulate / 256 for SGD, as in MoCo v2."""
    weight_decay: Annotated[float, AtLeast(0)] | None = None
    """Weight decay; by default 0.05 for AdamW and muon (whose kernels have none), and 5e-4 for SGD."""
    lr_warm_up: Annotated[float, Between(0, 1, high_allowed=False)] = 0.05
    """Share of training in which the learning rate rises to its highest value. What follows is lr_schedule."""
    lr_schedule: Literal["cosine", "constant", "linear"] | Callable[[float], float] = "cosine"
    """The learning rate after the warm-up, set in every step: cosine falls along a cosine to 0, linear falls evenly to
    0, constant stays. Or your own function: it takes the share of the training that is done since the warm-up, from 0
    to below 1, and gives a factor of lr from 0 to 1."""
    accumulate: Annotated[int, AtLeast(1)] = 1
    """Steps whose gradients are averaged before the optimiser moves. The last steps of an epoch make a smaller group if
    they do not fill one. Anchors are contrasted within their own step only."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the encoder; auto uses bf16 where the hardware has it. Losses are always float32. On CUDA torch
    rounds the inputs of float32 convolutions to TF32, unless you set torch.backends.cudnn.allow_tf32 = False."""
    device: str | torch.device = "auto"
    """Where to train: what torch takes, such as cpu, cuda, cuda:1 or mps; auto uses CUDA if there is a GPU."""
    compile: bool = False
    """Compile the encoder. It takes minutes and pays off only in long trainings on CUDA."""
    monitor_every: Annotated[int, AtLeast(0)] = 5
    """Epochs between two measurements of the kNN accuracy on a sample of the training set; 0: never."""
    workers: Annotated[int, AtLeast(0)] | None = None
    """Processes that decode pictures that are not in an array store; by default one less than there are cores."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Seed of all random numbers."""

    added_settings: ClassVar[tuple[str, ...]] = (
        *("accumulate", "augment", "augment_at", "freeze", "init", "lr_schedule", "mean", "resize", "sampler"),
        *("sampler_level", "std"),
    )

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "device", str(self.device))  # a torch.device is no JSON
        if self.sampler == "shuffled" and self.sampler_level != -1:
            raise ValueError(f"sampler_level={self.sampler_level} has no effect without sampler='balanced'.")
        if self.augment is None and self.augment_at != "after":
            raise ValueError(f"augment_at={self.augment_at!r} has no effect without augment=, a function of your own.")
        if self.augment is not None:
            object.__setattr__(self, "augment", Augmentation.of(self.augment))
        if not isinstance(self.encoder, str):
            object.__setattr__(self, "encoder", Given.of(self.encoder))
        if self.init is not None:
            object.__setattr__(self, "init", Weights.of(self.init, self.encoder))


def resolve_defaults(config: FitConfig, modality: str, items: int) -> FitConfig:
    """Fills in what the defaults stand for: the encoder of "auto", the learning rate and the weight decay; and the norm
    and the size that a given encoder has.

    So a default and the same value given by hand are one configuration.

    Args:
        config: the settings as they were given.
        modality: the kind of items, "images" or "points".
        items: number of training items.

    Example:
        >>> resolve_defaults(FitConfig(optimiser="sgd"), "images", items=128).lr
        0.015
    """
    averaged = min(config.batch * config.accumulate, items)  # anchors whose gradients the optimiser gets at a time
    rate, decay = (0.03 * averaged / 256, 5e-4) if config.optimiser == "sgd" else (1e-3, 0.05)
    given = config.encoder.thing if isinstance(config.encoder, Given) else None
    if isinstance(given, Encoder):
        norm = given.norm if config.norm == "batch" else config.norm
        config = replace(config, norm=norm, resize=given.resize if config.resize is None else config.resize)
    encoder, encoders = config.encoder, MODALITIES[modality].encoders
    if encoder == "auto":
        encoder = MODALITIES[modality].default_encoder
        if config.init is not None and encoder == "whitenet" and not has_whitening(cast(Weights, config.init)):
            encoder = "convnet"
    optimiser = config.optimiser
    if optimiser == "auto":
        name = encoder if isinstance(encoder, str) else ""
        optimiser = encoders[name].optimiser if name in encoders and config.init is None else "adamw"
    return replace(
        config,
        encoder=encoder,
        optimiser=optimiser,
        lr=rate if config.lr is None else config.lr,
        weight_decay=decay if config.weight_decay is None else config.weight_decay,
    )


def has_whitening(weights: Weights) -> bool:
    """Whether weights are those of a whitenet."""
    return any(name.endswith("stage_modules.0.filters") for name in weights.tensors())


def make_optimiser(model: Method, config: FitConfig) -> torch.optim.Optimizer:
    """Makes the optimiser of everything that learns."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimiser == "muon":
        return Muon(model, **settings)
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    return torch.optim.SGD(parameters, momentum=0.9, **settings)


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "cosine": lambda move, moves: 0.5 * (1 + math.cos(math.pi * move / moves)),
    "linear": lambda move, moves: 1 - move / moves,
    "constant": lambda move, moves: 1.0,
}


def learning_rate(move: int, total: int, config: FitConfig) -> float:
    """Returns the learning rate of a move of the optimiser: it rises linearly, then it follows the schedule.

    It depends on the number of the move alone, so a checkpoint saves nothing of it.

    Args:
        move: number of the move, from 0.
        total: number of moves of the whole training.
        config: settings of the training.

    Raises:
        ValueError: ``lr_schedule`` is a function, and gives something else than a number from 0 to 1.

    Example:
        >>> config = hiercl.FitConfig(lr=1.0, lr_warm_up=0.5, lr_schedule="linear")
        >>> [learning_rate(move, 8, config) for move in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    highest = cast(float, config.lr)  # resolve_defaults has filled it in
    rising = round(config.lr_warm_up * total)
    if move < rising:
        return highest * (move + 1) / rising
    since, moves = move - rising, max(1, total - rising)
    if not callable(config.lr_schedule):
        return highest * SCHEDULES[config.lr_schedule](since, moves)
    factor = config.lr_schedule(since / moves)
    if not isinstance(factor, Real) or not 0 <= factor <= 1:
        raise ValueError(
            f"lr_schedule gives {factor!r} for the share {since / moves:.3g} of the training: give a number from 0 to "
            "1, which lr is multiplied with."
        )
    return highest * float(factor)
