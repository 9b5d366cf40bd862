"""Random numbers: every purpose in every epoch has a generator of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.processes import ALONE, Processes

STREAMS = ("items", "views", "draws", "order", "weights")


def generator(device: str | torch.device, seed: int, epoch: int, stream: str) -> torch.Generator:
    """A generator for one purpose in one epoch.

    Every epoch starts its generators from (seed, epoch, purpose). So a checkpoint at the end of an epoch needs no
    random state, and methods that draw more or less of one kind still see the same order and views.
    """
    return torch.Generator(device).manual_seed(stream_seed(seed, epoch, stream))


def stream_seed(seed: int, epoch: int, stream: str) -> int:
    """The number that a :func:`generator` starts from."""
    return int(np.random.SeedSequence([seed, epoch, STREAMS.index(stream)]).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Draws:
    """Uniform random numbers for the rows of a batch.

    Each of several processes draws for the whole batch and uses its own rows, so that a row's numbers do not depend
    on how many processes there are.
    """

    generator: torch.Generator
    processes: Processes = ALONE

    @classmethod
    def of(cls, source: torch.Generator | Draws) -> Draws:
        """Draws from a generator; of what is such draws already, the same."""
        return source if isinstance(source, Draws) else cls(source)

    @property
    def device(self) -> torch.device:
        return self.generator.device

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """Numbers in [0, 1), float32 ``[rows, *shape]``, on the generator's device."""
        whole = torch.rand(rows * self.processes.count, *shape, generator=self.generator, device=self.device)
        return self.processes.own(whole)

    def common(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) that are the same for every process, float32 of this shape."""
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def permutation(self, n: int) -> Tensor:
        """A random order of n things, the same for every process."""
        return torch.randperm(n, generator=self.generator, device=self.device)
