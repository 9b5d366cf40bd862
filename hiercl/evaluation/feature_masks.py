"""Feature masks of a run: which dimensions serve which level of the hierarchy, and whether they do, as numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import half_precision_is_native
from hiercl.methods import AHMLC, GHMLC
from hiercl.methods.labels.descriptors import standardised, sums
from hiercl.metrics import accuracy, knn_predict, variance_between
from hiercl.runtime.types import Bool, Float, Int
from hiercl.training import Run

NEIGHBOURS = 20  # that vote, as in hiercl.evaluate


@dataclass(frozen=True, eq=False)
class FeatureMasks:
    """Features of some items, and the masks that a run lays over them.

    Attributes:
        features: before normalising and without masks.
        masks: weight of every dimension at every level, for each item; a single row where all items have the same.
        dataset: the items.
        place: which features the masks act on.
    """

    features: Float[Tensor, "items d"]
    masks: Float[Tensor, "rows levels d"]
    dataset: HierarchicalDataset
    place: str

    @cached_property
    def mean(self) -> Float[Tensor, "levels d"]:
        """The masks, averaged over the items."""
        return self.masks.mean(dim=0)

    @cached_property
    def shares(self) -> Float[np.ndarray, "levels d"]:
        """What every level adds to the variance between classes: :func:`variance_shares`."""
        return variance_shares(self.features, self.dataset)

    @property
    def weight(self) -> Float[np.ndarray, "levels d"]:
        """The mean masks over their mean: masked features are brought to unit length, so a mask's scale is nothing."""
        mean = self.mean.double()
        return (mean / mean.mean(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)).numpy()

    @cached_property
    def level_of(self) -> Int[np.ndarray, " d"]:
        """The level that every dimension serves most: where its weight is highest."""
        return self.weight.argmax(axis=0)

    @cached_property
    def order(self) -> Int[np.ndarray, " d"]:
        """Dimensions by the level that they serve most; within it by how much more than the others, then by share."""
        weight, level = self.weight, self.level_of
        own = np.take_along_axis(weight, level[None], axis=0)[0]
        lead = own - (weight.sum(axis=0) - own) / (len(weight) - 1)
        share = np.take_along_axis(self.shares, level[None], axis=0)[0]
        return np.lexsort((-share, -lead.round(6), level))

    def through(self, level: int) -> Float[Tensor, "items d"]:
        """The features as the level sees them."""
        return self.features * self.masks[:, level]

    def through_others(self, level: int) -> Float[Tensor, "items d"]:
        """The features through the sum of the other levels' masks."""
        return self.features * (self.masks.sum(dim=1) - self.masks[:, level])

    def through_shuffled(self, level: int, seed: int) -> Float[Tensor, "items d"]:
        """The features through the level's mask, dealt out anew to the dimensions."""
        order = torch.randperm(self.features.shape[1], generator=torch.Generator().manual_seed(seed))
        return self.features * self.masks[:, level, order]


@torch.no_grad()
def feature_masks(run: Run, dataset: HierarchicalDataset, max_items: int = 1000, seed: int = 0) -> FeatureMasks:
    """The features that a run's masks act on, and the masks, of unaugmented items.

    Args:
        run: of G-HMLC or A-HMLC.
        dataset: any with the levels that the run was trained with.
        max_items: at most so many random items.
        seed: of their choice.

    Raises:
        ValueError: a run without masks, one whose masks are not of the levels of this data set, or too few items.

    Example:
        >>> found = feature_masks(run, test)
        >>> found.mean.shape
        torch.Size([2, 128])
    """
    method = _check_masked(run)
    _check_hierarchy(method, dataset)
    if min(max_items, len(dataset)) < 2:
        raise ValueError(
            f"max_items={max_items} of {len(dataset)}: classes are told apart between items; take 2 at least."
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:max_items])
    part = dataset.take(chosen)
    device, was_training = run.device, method.training
    method.eval()
    try:
        found = embed_with(_reader(method), Feed(part, device), half_precision_is_native(device)).cpu()
    finally:
        method.train(was_training)
    width = found.shape[1]
    if isinstance(method, AHMLC):
        d = width // (1 + method.levels)
        masks = found[:, d:].view(len(found), method.levels, d)
        fixed = not bool((masks != masks[:1]).any())
        return FeatureMasks(found[:, :d], masks[:1] if fixed else masks, part, "dimensions of the projection")
    place = "channels of the encoder" if method.config.place == "backbone" else "dimensions of the projection"
    return FeatureMasks(found, method.masks.cpu(), part, place)


def mask_separation(
    features: Float[Tensor, "items d"],
    dataset: HierarchicalDataset,
    keep: Bool[Tensor, " d"] | Bool[np.ndarray, " d"] | None = None,
) -> pd.DataFrame:
    """How well some of the features tell apart the classes of each level; features are brought to unit length first.

    Args:
        features: of the items of the data set.
        dataset: for its labels.
        keep: the dimensions that are looked at; by default all.

    Returns:
        One row a level, coarse first, with the columns ``level`` (its name); ``variance_between``, the share of the
        variance that lies between its classes (:func:`hiercl.metrics.variance_between`, without items that are zero in
        all kept dimensions: they have no direction); and ``knn``, the share of the items whose class is found by a
        weighted vote of the 20 others with the highest cosine similarity (:func:`hiercl.metrics.knn_predict`). Both in
        [0, 1]; NaN if nothing varies.

    Raises:
        ValueError: features of another number of items, a ``keep`` that is not one truth value for each dimension, or
            one that keeps nothing.

    Example:
        >>> mask_separation(features, test, keep=run.method.masks[0, 0] > 0)  # G-HMLC, features of level 0
    """
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(
            f"features are {list(features.shape)}: pass [{len(dataset)}, d], one row for each item of {dataset.name!r}."
        )
    z = features.detach().float().cpu()
    if keep is not None:
        keep = torch.as_tensor(keep).cpu()
        if keep.dtype != torch.bool or keep.shape != z.shape[1:]:
            raise ValueError(
                f"keep is {keep.dtype} {list(keep.shape)}: pass a truth value for each of the {z.shape[1]} dimensions."
            )
        if not keep.any():
            raise ValueError("keep is False everywhere: keep at least one dimension.")
        z = z[:, keep]
    has_direction = (z != 0).any(dim=1)
    itself = torch.arange(len(z))
    rows = []
    for level, name in enumerate(dataset.hierarchy.level_names):
        labels = dataset.labels_at(level)
        between = knn = np.nan
        if int(has_direction.sum()) > 1:
            between = variance_between(z[has_direction], labels[has_direction.numpy()])
        if np.isfinite(between):
            knn = accuracy(knn_predict(z, torch.from_numpy(labels), z, NEIGHBOURS, own=itself).numpy(), labels)
        rows.append({"level": name, "variance_between": between, "knn": knn})
    return pd.DataFrame(rows)


@torch.no_grad()
def variance_shares(features: Float[Tensor, "items d"], dataset: HierarchicalDataset) -> Float[np.ndarray, "levels d"]:
    r"""What every level adds to the share of a dimension's variance that lies between classes.

    $$\eta^2_{h,j} = \frac{\sum_c n_c(\mu_{c,j}-\mu_j)^2}{\sum_i (v_{i,j}-\mu_j)^2}, \qquad
      s_{h,j} = \eta^2_{h,j} - \eta^2_{h-1,j}, \quad \eta^2_{-1,j} = 0$$

    with c the classes of level h. So the row of a level is of its classes *within* their parent, and all rows and the
    variance within the leaves sum to 1. A dimension that has nothing to do with the labels has about
    (classes − classes of the level above)/(items − 1). A constant one has 0.

    Raises:
        ValueError: features of another number of items.

    Example:
        >>> variance_shares(features, test).shape
        (2, 128)
    """
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(f"features are {list(features.shape)}: pass one row for each of the {len(dataset)} items.")
    x = standardised(features.detach().cpu())
    explained = [np.zeros(x.shape[1])]
    for level, size in enumerate(dataset.hierarchy.sizes):
        label = torch.from_numpy(dataset.labels_at(level))
        count = torch.bincount(label, minlength=size).clamp(min=1)[:, None]
        explained.append((sums(x, label, size).square() / count).sum(dim=0).numpy() / len(x))
    return np.diff(np.stack(explained), axis=0).clip(0, 1)


def _reader(method: GHMLC | AHMLC) -> Any:
    """A function of items: features, and behind them the masks where they depend on the item."""
    if isinstance(method, GHMLC):
        return method.features

    def read(view: Tensor) -> Tensor:
        places = method.encoder.stages(view)[-1]
        pooled = method.encoder.pool(places)
        masks = method.gate(pooled, places.flatten(2).mT if method.gate.needs_tokens else None)
        return torch.cat([method.projections(pooled)[:, 0], masks.flatten(1)], dim=1)

    return read


def _check_masked(run: Any) -> GHMLC | AHMLC:
    method, name = getattr(run, "method", None), getattr(run, "name", type(run).__name__)
    if method is None and hasattr(run, "card"):
        raise ValueError(f"the pretrained {name!r} is encoder and head alone, its masks are not kept: pass a run.")
    if not isinstance(method, GHMLC | AHMLC):
        raise ValueError(f"{name} has no feature masks: the methods that have them are g_hmlc and a_hmlc.")
    if isinstance(method, GHMLC) and not method.masked:
        raise ValueError(
            f"this run of {name} has no masks yet: they are found after its warm-up, before epoch {method.first_fit}; "
            "train longer, or with a smaller warm_up."
        )
    if isinstance(method, AHMLC) and method.config.heads == "level":
        raise ValueError("with heads='level' every level has features of its own, and a mask is of these alone.")
    return method


def _check_hierarchy(method: GHMLC | AHMLC, dataset: HierarchicalDataset) -> None:
    if method.config.source == "prototypes":
        raise ValueError(
            f"its masks are of the levels of the tree that it has learned, not of those of {dataset.name!r}: take a "
            "run with source='labels'."
        )
    tree = dataset.hierarchy
    if tree.levels != method.levels:
        raise ValueError(
            f"the run has masks for {method.levels} levels, {dataset.name!r} has {tree.levels}: pass a data set with "
            "the hierarchy that it was trained with."
        )
    if tree.levels == 1:
        raise ValueError("a hierarchy of one level has one mask, of all features: there is nothing to tell apart.")
