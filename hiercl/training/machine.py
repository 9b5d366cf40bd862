"""machine: what this machine can do, measured in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from hiercl.encoders import encoder_modality, make_encoder
from hiercl.encoders.base import half_precision_is_native
from hiercl.runtime.cores import free_cores, free_memory, keep_to_free_cores, own_cores, restored_threads
from hiercl.training.start import pick_device

SHAPES = MappingProxyType({"images": (3, 24, 24), "points": (3, 128, 1), "vectors": (640, 1, 1)})  # of a view
MEASURED = ("whitenet", "convnet", "resnet18", "pointnet_vanilla", "mlp")
SECONDS, FEWEST, MOST = 0.1, 8, 256  # of a measured step: how long it should take, and how many items it may have


@dataclass(frozen=True)
class Machine:
    """What a machine can do: see :func:`machine`.

    Attributes:
        device: "cpu", "cuda" or "mps", as ``fit(device="auto")`` chooses it.
        cores: cores that this process may use.
        free_cores: cores that other processes leave free now.
        memory: free memory in bytes, not of a GPU.
        precision: of an encoder, "bf16" or "float32", as ``fit(precision="auto")`` chooses it.
        rates: items a second that pass a training step of each encoder.
    """

    device: str
    cores: int
    free_cores: float
    memory: int
    precision: str
    rates: dict[str, float]

    def minutes(self, items: int, epochs: float | int = 1, encoder: str = "whitenet") -> float:
        r"""Estimates how long a training takes: $\text{items}\cdot\text{epochs} / (60\cdot\text{rate})$.

        It counts two passes with gradient of every item, as SimCLR has them. Views, loss, queue and trees come on top;
        a method with a momentum encoder has a gradient in one of its two passes only.

        Args:
            items: number of items of the training set.
            epochs: passes over it.
            encoder: one of those that were measured.

        Returns:
            Minutes, for two views of each item.

        Raises:
            ValueError: an encoder that was not measured.

        Example:
            >>> Machine("cpu", 2, 2.0, 2**34, "float32", {"whitenet": 500.0}).minutes(3000, epochs=10)
            1.0
        """
        if encoder not in self.rates:
            raise ValueError(f"{encoder!r} was not measured: give hiercl.machine({encoder!r}).minutes(...).")
        return items * epochs / self.rates[encoder] / 60

    def __str__(self) -> str:
        where = self.device if self.device != "cpu" else f"cpu, {self.free_cores:.1f} of {self.cores} cores free"
        rates = "\n".join(f"  {name:<18}{rate:>10,.0f}" for name, rate in self.rates.items())
        memory = f"{self.memory / 2**30:.0f} GiB of free memory"
        return f"{where}; {self.precision}; {memory}\nitems a second, in a training step with two views:\n{rates}"


def machine(*encoders: str) -> Machine:
    """Measures what this machine can do, in a few seconds.

    A measured step has two views of every item, forward and backward, and no loss: pictures of 24 pixels, clouds of 128
    points, vectors of 640 numbers. It keeps to the cores that are free, as a training does.

    Args:
        encoders: names of encoders; by default whitenet, convnet, resnet18, pointnet_vanilla and mlp.

    Raises:
        ValueError: an unknown encoder.

    Example:
        >>> found = machine("mlp")
        >>> found.minutes(items=1000, epochs=12, encoder="mlp") < 10
        True
    """
    device = pick_device("auto")
    half = half_precision_is_native(device)
    free = max(0.0, free_cores())
    with restored_threads():
        keep_to_free_cores()
        rates = {name: _rate(name, device, half) for name in encoders or MEASURED}
    return Machine(device.type, len(own_cores()), free, free_memory(), "bf16" if half else "float32", rates)


def _rate(name: str, device: torch.device, half: bool) -> float:
    shape: Sequence[int] = SHAPES[encoder_modality(name).name]
    channels = shape[0]
    encoder = make_encoder(name, [0.0] * channels, [1.0] * channels, channels)
    encoder = encoder.to(device).to(memory_format=torch.channels_last)

    def seconds(items: int) -> float:
        views = torch.rand(2 * items, *shape, device=device).to(memory_format=torch.channels_last)
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            features = encoder(views)
        features.sum().backward()
        features.sum().item()  # waits for the device
        return time.perf_counter() - start

    seconds(FEWEST)  # what is allocated and chosen once
    short = seconds(FEWEST)
    if short > SECONDS:
        return FEWEST / short
    items = min(MOST, int(FEWEST * SECONDS / short))
    seconds(items)
    return items / min(seconds(items) for _ in range(2))
