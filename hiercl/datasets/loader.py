"""Feed: the items of a data set where the model is. A batch is an index."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hiercl.datasets.base import HierarchicalDataset
from hiercl.datasets.limits import MOST_COPIED, MOST_OF_MEMORY
from hiercl.datasets.rows import Rows
from hiercl.runtime.arrays import blocks
from hiercl.runtime.cores import free_memory as free_memory_here
from hiercl.runtime.processes import ALONE, Processes


class Feed:
    """Items of a data set on a device: pictures as uint8, points as float32.

    A data set is held on the device as a whole if it is in memory already, or takes at most half of a GPU's free memory
    or an eighth of that of the machine: no loader processes, no waiting. A larger one is read batch by batch. Worker
    processes decode picture files. They start when the first batches are asked for, and work for all later ones, until
    the feed is gone.

    Args:
        dataset: any data set.
        device: where the items are wanted.
        workers: processes that decode picture files; 0: this process does it; None: one less than there are cores, at
            most 8.
        processes: the processes that train together and share the cores.
        hold: whether to hold the data set on the device where it fits; False looks up every batch.

    Example:
        >>> Feed(train, "cpu")[torch.tensor([0, 1])].shape
        torch.Size([2, 32, 32, 3])
    """

    def __init__(
        self,
        dataset: HierarchicalDataset,
        device: torch.device | str,
        workers: int | None = None,
        processes: Processes = ALONE,
        hold: bool = True,
    ):
        self.device = torch.device(device)
        self.items, self.form = dataset.items, dataset.form
        self.on_device: Tensor | None = None
        self.workers, self.loader = 0, None
        if not isinstance(dataset.items, np.ndarray | Rows):  # files that are decoded when they are asked for
            cores = (os.cpu_count() or 1) // processes.count
            self.workers = max(0, min(8, cores - 1)) if workers is None else workers
        elif hold and (_is_held(dataset.items, self.device) or _may_be_held(dataset.items, self.device)):
            self.on_device = _held(dataset.items, self.device)

    def __len__(self) -> int:
        return len(self.items)

    def chunks(self, index: Tensor | None = None) -> tuple[Tensor, ...]:
        """Returns all indices, or these, in parts that fit into memory when items are embedded."""
        index = torch.arange(len(self)) if index is None else index
        return index.split(self.form.at_once(self.items.shape))

    def __getitem__(self, index: Tensor) -> Tensor:
        """Returns the items with these indices: an index ``[...]`` gives ``[..., height, width, channels]`` for
        pictures and ``[..., points, 3]`` for clouds."""
        if self.on_device is not None:
            return self.on_device[index.to(self.device)]
        return look_up(self.items, index).to(self.device)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yields the items of many batches, one after the other. Workers decode picture files ahead."""
        if self.workers == 0:
            yield from (self[index] for index in indices)
            return
        order = [index.cpu() for index in indices]
        # Workers that are in the middle of other batches are left alone; these get workers of their own.
        (loader, following), self.loader = self.loader or self._make_loader(), None
        following.order = order
        for batch in loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch.to(self.device)
        self.loader = loader, following

    def _make_loader(self) -> tuple[DataLoader, Order]:
        """Makes a loader whose workers stay. They get what to look up with every batch, not when they start."""
        following = Order()
        # A generator of its own: a loader draws a seed for its workers, by default from the user's random numbers.
        own = {"generator": torch.Generator(), "persistent_workers": True}
        return DataLoader(
            Lookup(self.items), batch_size=None, sampler=following, num_workers=self.workers, **own
        ), following


class Order(Sampler):
    """The batches that a loader is to look up next."""

    def __init__(self):
        self.order: list[Tensor] = []

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


class Lookup(Dataset):
    """Items by their index, as a DataLoader wants them."""

    def __init__(self, items):
        self.items = items

    def __getitem__(self, index: Tensor) -> Tensor | Exception:
        try:
            return look_up(self.items, index)
        except (ValueError, OSError) as error:  # the loader would turn it into a RuntimeError
            return error


def look_up(items, index: Tensor) -> Tensor:
    """Returns items on the CPU, in the shape of their index.

    Args:
        items: an array, or picture files.
        index: positions ``[...]``.

    Example:
        >>> look_up(train.items, torch.tensor([[0, 1]])).shape
        torch.Size([1, 2, 32, 32, 3])
    """
    found = torch.from_numpy(np.ascontiguousarray(items[index.cpu().flatten().numpy()]))
    return found.view(*index.shape, *found.shape[1:])


@torch.no_grad()
def embed_with(
    function: Callable[[Tensor], Tensor],
    feed: Feed,
    half: bool = False,
    index: Tensor | None = None,
    processes: Processes = ALONE,
) -> Tensor:
    """Runs a function over unaugmented items, in order.

    Args:
        function: takes maps of items (:attr:`hiercl.datasets.ItemForm.to_map`). Any module in it must be in eval mode.
        feed: the items.
        half: whether to run it in bf16 autocast.
        index: which items; by default all.
        processes: the processes that share the work; each gets the whole result.

    Returns:
        float32 ``[items, d]``, on the device.

    Example:
        >>> embed_with(run.encoder, Feed(test, "cpu")).shape
        torch.Size([60, 256])
    """
    chunks, to_map = feed.chunks(index), feed.form.to_map
    mine = processes.share(chunks)
    with torch.autocast(feed.device.type, torch.bfloat16, enabled=half):
        items = feed.batches([part for _, part in mine])
        found = ((number, function(to_map(part)).float()) for (number, _), part in zip(mine, items, strict=True))
        if processes.count > 1:
            found = processes.merge({number: features.cpu() for number, features in found}).items()
        starts = np.cumsum([0, *map(len, chunks)])
        whole = torch.empty(0, device=feed.device)
        for number, features in found:  # into their place, so that they are in memory once
            if not len(whole):
                whole = torch.empty(int(starts[-1]), *features.shape[1:], device=feed.device)
            whole[starts[number] : starts[number + 1]] = features
    return whole


def free_memory(device: torch.device) -> int:
    """Returns the free memory of a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory_here()


def _is_held(items: np.ndarray | Rows, device: torch.device) -> bool:
    """Whether the items are in the memory of the device already."""
    return device.type == "cpu" and isinstance(items, np.ndarray) and not isinstance(items, np.memmap)


def _may_be_held(items: np.ndarray | Rows, device: torch.device) -> bool:
    """Whether a copy of the items leaves enough memory for others, and for the work."""
    return items.nbytes <= (MOST_COPIED if device.type == "cpu" else MOST_OF_MEMORY) * free_memory(device)


def _held(items: np.ndarray | Rows, device: torch.device) -> Tensor:
    """Returns items as a tensor on a device. What the device has already is in memory once."""
    if _is_held(items, device):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
            return torch.from_numpy(np.ascontiguousarray(items))
    held = torch.empty(items.shape, dtype=torch.from_numpy(np.empty(0, items.dtype)).dtype, device=device)
    for rows in blocks(len(items), items[0].size):
        held[rows] = torch.from_numpy(np.array(items[rows]))
    return held
