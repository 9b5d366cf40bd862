"""The order of the items in an epoch: shuffled, or with equally many items of every class in every batch."""

from __future__ import annotations

import torch
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.runtime.types import Int
from hiercl.training.optimisation import FitConfig


def epoch_order(
    dataset: HierarchicalDataset, config: FitConfig, batch: int, steps: int, generator: torch.Generator
) -> Int[Tensor, " items"]:
    """Returns the items of all batches of an epoch, one batch after the other.

    Args:
        dataset: the training set.
        config: settings of the training: ``sampler`` and ``sampler_level``.
        batch: items of a batch, of all processes together.
        steps: number of batches.
        generator: random numbers on the CPU, the same in every process.

    Example:
        >>> numbers = torch.Generator().manual_seed(0)
        >>> order = epoch_order(train, hiercl.FitConfig(sampler="balanced", sampler_level=0), 10, 2, numbers)
        >>> np.bincount(train.labels_at(0)[order[:10]]).tolist()
        [2, 2, 2, 2, 2]
    """
    if config.sampler == "shuffled":
        return torch.randperm(len(dataset), generator=generator)[: steps * batch]
    return balanced_order(torch.as_tensor(dataset.labels_at(config.sampler_level)), batch, steps, generator)


def balanced_order(
    labels: Int[Tensor, " items"], batch: int, steps: int, generator: torch.Generator
) -> Int[Tensor, " places"]:
    r"""Draws batches with equally many items of every class.

    Of the L places of a batch for labelled items, each of C classes has $\lfloor L/C\rfloor$ or $\lceil L/C\rceil$.
    The places that are left over go to the classes that have had the fewest so far. Items without a label (−1) keep
    their share u of the data set: batch t has $\lfloor (t+1)\,u\,b\rfloor - \lfloor t\,u\,b\rfloor$ of them. The items
    of a class come in random order, each once, until all were drawn; then they come again in another order. So a large
    class is not seen as a whole in an epoch, and a small one several times.

    Source: ours.

    Args:
        labels: class of every item; −1: no label.
        batch: items of a batch.
        steps: number of batches.
        generator: random numbers on the CPU.

    Returns:
        Indices of items, batch after batch; in a batch the order is random.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
        >>> order = balanced_order(labels, batch=4, steps=2, generator=torch.Generator().manual_seed(0))
        >>> labels[order].view(2, 4).sum(dim=1).tolist()
        [2, 2]
    """
    groups = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    unlabelled = len(groups[0]) if labels.min() < 0 else 0
    ends = torch.arange(steps + 1) * unlabelled * batch // len(labels)
    group_of_place = torch.empty(steps, batch, dtype=torch.long)
    first = int(unlabelled > 0)  # number of the first group that is a class
    classes = len(groups) - first
    had = torch.zeros(classes, dtype=torch.float64)
    for step, missing in enumerate(ends.diff().tolist()):
        places, left_over = divmod(batch - missing, classes)
        tie = torch.rand(classes, generator=generator, dtype=torch.float64)
        more = (had + tie).argsort()[:left_over]  # those with the fewest places so far, in random order
        had[more] += 1
        count = torch.full((classes,), places).index_add(0, more, torch.ones_like(more))
        of_labelled = torch.arange(first, len(groups)).repeat_interleave(count)
        shuffled = torch.randperm(batch, generator=generator)
        group_of_place[step] = torch.cat([torch.zeros(missing, dtype=torch.long), of_labelled])[shuffled]
    order = torch.empty_like(group_of_place.flatten())
    for number, members in enumerate(groups):
        places = (group_of_place.flatten() == number).nonzero()[:, 0]
        rounds = -(-len(places) // len(members))
        drawn = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
        order[places] = torch.cat([*drawn, members[:0]])[: len(places)]
    return order
