"""Feed: the pictures of a data set where the model is. A batch is an index; no loader processes, no waiting."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from hiercl.datasets.base import HierarchicalDataset

MOST_OF_MEMORY = 0.5  # of what is free: above it the data stay on disk and are read batch by batch


class Feed:
    """Items of a data set on a device, as uint8.

    A data set that takes at most half of the free memory is held on the device whole; a larger memory-mapped one is
    read from disk batch by batch.
    """

    def __init__(self, dataset: HierarchicalDataset, device: torch.device | str):
        self.device = torch.device(device)
        self.items = dataset.items
        self.on_device: Tensor | None = None
        if dataset.items.nbytes <= MOST_OF_MEMORY * free_memory(self.device):
            self.on_device = torch.from_numpy(np.array(dataset.items)).to(self.device)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The items with these indices, in this order."""
        if self.on_device is not None:
            return self.on_device[index.to(self.device)]
        return torch.from_numpy(self.items[index.cpu().numpy()]).to(self.device)

    def pictures(self, batch: int = 1000, index: Tensor | None = None) -> Iterator[Tensor]:
        """The unaugmented items in order (or in the order of ``index``), as :func:`as_float` gives them."""
        index = torch.arange(len(self)) if index is None else index
        for part in index.split(batch):
            yield as_float(self[part])


def as_float(images: Tensor) -> Tensor:
    """uint8 ``[n, height, width, channels]`` → float ``[n, channels, height, width]`` in [0, 1], channels last."""
    return images.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def embed_with(
    function: Callable[[Tensor], Tensor],
    feed: Feed,
    half: bool = False,
    index: Tensor | None = None,
) -> Tensor:
    """Runs a function over unaugmented items, in order: ``[items, d]`` float32, on the device.

    ``half`` runs it in bf16 autocast; it has to be in eval mode already.
    """
    with torch.autocast(feed.device.type, torch.bfloat16, enabled=half):
        return torch.cat([function(pictures).float() for pictures in feed.pictures(index=index)])


def free_memory(device: torch.device) -> int:
    """Free memory of a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # comes with accelerate

    return psutil.virtual_memory().available
