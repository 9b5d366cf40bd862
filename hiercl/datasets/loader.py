"""Feed: the items of a data set where the model is. A batch is an index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hiercl.datasets.base import HierarchicalDataset
from hiercl.runtime.allocator import keep_freed_memory
from hiercl.runtime.processes import ALONE, Processes

MOST_OF_MEMORY = 0.5  # of what is free: above it the data stay on disk and are read batch by batch
PICTURES_AT_ONCE, POINTS_AT_ONCE = 1000, 16_384  # that are embedded


class Feed:
    """Items of a data set on a device: pictures as uint8, points as float32.

    A data set that takes at most half of the free memory is held on the device whole: no loader processes, no waiting.
    A larger memory-mapped one is read from disk batch by batch. Picture files are decoded by worker processes.

    Args:
        dataset: any data set.
        device: where the items are wanted.
        workers: processes that decode picture files; 0: this process does it; None: one less than there are cores, at
            most 8.
        processes: those that train together, and share the cores.
    """

    def __init__(
        self,
        dataset: HierarchicalDataset,
        device: torch.device | str,
        workers: int | None = None,
        processes: Processes = ALONE,
    ):
        self.device = torch.device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.items = dataset.items
        self.on_device: Tensor | None = None
        self.workers = 0
        if not isinstance(dataset.items, np.ndarray):  # files that are decoded when they are asked for
            cores = (os.cpu_count() or 1) // processes.count
            self.workers = max(0, min(8, cores - 1)) if workers is None else workers
        elif dataset.items.nbytes <= MOST_OF_MEMORY * free_memory(self.device):
            self.on_device = torch.from_numpy(np.array(dataset.items)).to(self.device)

    def __len__(self) -> int:
        return len(self.items)

    def chunks(self, index: Tensor | None = None) -> tuple[Tensor, ...]:
        """All indices, or these, in as many parts as memory asks for when items are embedded."""
        index = torch.arange(len(self)) if index is None else index
        size = PICTURES_AT_ONCE if len(self.items.shape) == 4 else max(1, POINTS_AT_ONCE // self.items.shape[1])
        return index.split(size)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The items with these indices: an index ``[...]`` gives ``[..., height, width, channels]``, or, of clouds,
        ``[..., points, 3]``."""
        if self.on_device is not None:
            return self.on_device[index.to(self.device)]
        return look_up(self.items, index).to(self.device)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """The items of many batches, one after the other; what has to be decoded is decoded ahead."""
        if self.workers == 0:
            yield from (self[index] for index in indices)
            return
        lookup = Lookup(self.items, [index.cpu() for index in indices])
        # A generator of its own: a loader draws a seed for its workers, by default from the user's random numbers.
        loader = DataLoader(lookup, batch_size=None, num_workers=self.workers, generator=torch.Generator())
        for batch in loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch.to(self.device)


class Lookup(Dataset):
    """Batches of items, as a DataLoader wants them."""

    def __init__(self, items, indices: list[Tensor]):
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Tensor | Exception:
        try:
            return look_up(self.items, self.indices[number])
        except (ValueError, OSError) as error:  # the loader would turn it into a RuntimeError
            return error


def look_up(items, index: Tensor) -> Tensor:
    """Items on the CPU, in the shape of their index."""
    found = torch.from_numpy(np.ascontiguousarray(items[index.cpu().flatten().numpy()]))
    return found.view(*index.shape, *found.shape[1:])


def as_maps(items: Tensor) -> Tensor:
    """What an encoder takes, of unaugmented items: pictures, uint8 ``[n, height, width, channels]``, as float
    ``[n, channels, height, width]`` in [0, 1], channels last; points ``[n, p, 3]`` as ``[n, 3, p, 1]``."""
    if items.ndim == 3:
        return items.mT[..., None]
    return items.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def embed_with(
    function: Callable[[Tensor], Tensor],
    feed: Feed,
    half: bool = False,
    index: Tensor | None = None,
    processes: Processes = ALONE,
) -> Tensor:
    """Runs a function over unaugmented items, in order: ``[items, d]`` float32, on the device.

    Args:
        function: of what :func:`as_maps` gives; any module in it has to be in eval mode already.
        feed: the items.
        half: whether to run it in bf16 autocast.
        index: which items; by default all.
        processes: those that share the work; each gets the whole result.
    """
    mine = processes.share(feed.chunks(index))
    with torch.autocast(feed.device.type, torch.bfloat16, enabled=half):
        items = feed.batches([part for _, part in mine])
        found = {number: function(as_maps(part)).float() for (number, _), part in zip(mine, items, strict=True)}
    if processes.count > 1:
        found = processes.merge({number: features.cpu() for number, features in found.items()})
    return torch.cat([found[number] for number in sorted(found)]).to(feed.device)


def free_memory(device: torch.device) -> int:
    """Free memory of a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # comes with accelerate

    return psutil.virtual_memory().available
