"""Random numbers: every purpose in every epoch has a generator of its own."""

import numpy as np
import torch

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
