"""Random numbers: every purpose in every epoch has a generator of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.processes import ALONE, Processes

STREAMS = ("items", "views", "draws", "order", "weights")


def generator(device: str | torch.device, seed: int, epoch: int, stream: str) -> torch.Generator:
    """Makes a generator for one purpose in one epoch.

    Every epoch starts its generators from (seed, epoch, purpose). So a checkpoint at the end of an epoch needs no
    random state, and methods that draw more or fewer numbers for one purpose still see the same order and views.

    Args:
        device: where the numbers are drawn.
        seed: seed of the run.
        epoch: number of the epoch.
        stream: the purpose, one of :data:`STREAMS`.

    Example:
        >>> a, b = (torch.rand(2, generator=generator("cpu", 0, 3, "views")) for _ in range(2))
        >>> bool((a == b).all())
        True
    """
    return torch.Generator(device).manual_seed(stream_seed(seed, epoch, stream))


def stream_seed(seed: int, epoch: int, stream: str) -> int:
    """Returns the number that a :func:`generator` starts from."""
    return int(np.random.SeedSequence([seed, epoch, STREAMS.index(stream)]).generate_state(1, np.uint64)[0] >> 1)


def own_generators(device: torch.device) -> AbstractContextManager[None]:
    """Lets a block seed torch's global generators. At its end they are as they were for the caller.

    ``torch.manual_seed`` seeds all GPUs that are in use. On the CPU this does not bring CUDA into use.

    Args:
        device: where the block works.

    Example:
        >>> before = torch.random.get_rng_state()
        >>> with own_generators(torch.device("cpu")):
        ...     _ = torch.manual_seed(5)
        >>> torch.equal(torch.random.get_rng_state(), before)
        True
    """
    used = device.type == "cuda" or torch.cuda.is_initialized()
    return torch.random.fork_rng(range(torch.cuda.device_count()) if used else [])


@dataclass(frozen=True)
class Draws:
    """Draws uniform random numbers for the rows of a batch.

    With several processes, each draws the numbers of the whole batch and uses those of its own rows. So the numbers of
    a row do not depend on how many processes there are.

    Attributes:
        generator: where the numbers come from.
        processes: the processes that share a batch.

    Example:
        >>> Draws(torch.Generator().manual_seed(0)).uniform(4, 2).shape
        torch.Size([4, 2])
    """

    generator: torch.Generator
    processes: Processes = ALONE

    @classmethod
    def of(cls, source: torch.Generator | Draws) -> Draws:
        """Returns draws from a generator; draws themselves are given back."""
        return source if isinstance(source, Draws) else cls(source)

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.generator.device

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """Returns numbers in [0, 1), float32 ``[rows, *shape]``."""
        whole = torch.rand(rows * self.processes.count, *shape, generator=self.generator, device=self.device)
        return self.processes.own(whole)

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Returns numbers from a standard normal distribution, float32 ``[rows, *shape]``."""
        whole = torch.randn(rows * self.processes.count, *shape, generator=self.generator, device=self.device)
        return self.processes.own(whole)

    def common(self, *shape: int) -> Tensor:
        """Returns numbers in [0, 1) that are the same for every process, float32 of this shape."""
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def permutation(self, n: int) -> Tensor:
        """Returns a random order of n things, the same for every process."""
        return torch.randperm(n, generator=self.generator, device=self.device)
