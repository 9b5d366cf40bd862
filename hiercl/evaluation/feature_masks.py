"""Feature masks of a run: which dimensions serve which level of the hierarchy, and whether they really do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import half_precision_is_native
from hiercl.encoders.features import features_of
from hiercl.methods import AHMLC, GHMLC
from hiercl.methods.labels.descriptors import Descriptor, describe, fisher_ratios, standardised, sums
from hiercl.methods.labels.masks import Sizes, fit_masks
from hiercl.metrics import accuracy, knn_predict, variance_between
from hiercl.runtime.arrays import Array, as_tensor
from hiercl.runtime.types import Bool, Float, Int

NEIGHBOURS = 20  # number of neighbours that vote, as in hiercl.evaluate


@dataclass(frozen=True, eq=False)
class FeatureMasks:
    """Features of some items, and the masks that a run puts on them.

    Attributes:
        features: features before normalising and without masks.
        masks: weight of every dimension at every level, for each item; one row if all items have the same masks.
        dataset: the items.
        place: which features the masks act on, in words.
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
        """The mean masks, divided by their mean: masked features get unit length, so a mask's scale has no effect."""
        mean = self.mean.double()
        return (mean / mean.mean(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)).numpy()

    @cached_property
    def level_of(self) -> Int[np.ndarray, " d"]:
        """The level that every dimension serves most: the level with the highest weight."""
        return self.weight.argmax(axis=0)

    @cached_property
    def order(self) -> Int[np.ndarray, " d"]:
        """Dimensions, sorted by their level, then by the lead of its weight over the other levels, then by share."""
        weight, level = self.weight, self.level_of
        own = np.take_along_axis(weight, level[None], axis=0)[0]
        lead = own - (weight.sum(axis=0) - own) / (len(weight) - 1)
        share = np.take_along_axis(self.shares, level[None], axis=0)[0]
        return np.lexsort((-share, -lead.round(6), level))

    def through(self, level: int) -> Float[Tensor, "items d"]:
        """Returns the features through the mask of a level."""
        return self.features * self.masks[:, level]

    def through_others(self, level: int) -> Float[Tensor, "items d"]:
        """Returns the features through the sum of the masks of the other levels."""
        return self.features * (self.masks.sum(dim=1) - self.masks[:, level])

    def through_shuffled(self, level: int, seed: int) -> Float[Tensor, "items d"]:
        """Returns the features through the mask of a level, with its dimensions in random order."""
        order = torch.randperm(self.features.shape[1], generator=torch.Generator().manual_seed(seed))
        return self.features * self.masks[:, level, order]


@torch.no_grad()
def feature_masks(run: Any, dataset: HierarchicalDataset, max_items: int = 1000, seed: int = 0) -> FeatureMasks:
    """Returns the masks of a run and the features that they act on, for unaugmented items that have a label.

    Args:
        run: a run of G-HMLC or A-HMLC. Or features ``[items, d]``, or None for vectors themselves: their masks are
            those that :func:`found_masks` finds. Or :class:`FeatureMasks`, of which a sample is drawn.
        dataset: any data set with as many levels as that of the training.
        max_items: largest number of items; from a larger data set a random sample is drawn.
        seed: seed of the sample.

    Raises:
        ValueError: a run without masks, masks of other levels than those of this data set, or fewer than 2 items.

    Example:
        >>> found = hiercl.feature_masks.feature_masks(masked_run, test)
        >>> found.mean.shape
        torch.Size([3, 128])
    """
    if run is None or isinstance(run, Array):
        run = found_masks(run, dataset)
    if isinstance(run, FeatureMasks):
        chosen = _sample(run.dataset, max_items, seed)
        masks = run.masks if len(run.masks) == 1 else run.masks[chosen]
        return FeatureMasks(run.features[chosen], masks, run.dataset.take(chosen), run.place)
    method = _masked_method(run)
    _check_hierarchy(method, dataset)
    dataset = dataset.labelled_part
    part = dataset.take(_sample(dataset, max_items, seed))
    device, was_training = run.device, method.training
    method.eval()
    try:
        found = embed_with(_reader(method), Feed(part, device), half_precision_is_native(device)).cpu()
    finally:
        method.train(was_training)
    if isinstance(method, AHMLC):
        d = found.shape[1] // (1 + method.levels)
        masks = found[:, d:].view(len(found), method.levels, d)
        fixed = not bool((masks != masks[:1]).any())
        return FeatureMasks(found[:, :d], masks[:1] if fixed else masks, part, "dimensions of the projection")
    place = "channels of the encoder" if method.config.place == "backbone" else "dimensions of the projection"
    return FeatureMasks(found, method.masks.cpu(), part, place)


@torch.no_grad()
def found_masks(
    features: Float[Array, "items d"] | Any,
    dataset: HierarchicalDataset,
    masks: Float[Array, "levels d"] | None = None,
    descriptor: Descriptor = "contrast",
    sizes: Sizes = "equal",
    soft: bool = False,
    seed: int = 0,
) -> FeatureMasks:
    """Finds masks of features by their labels, without a run: :func:`hiercl.masks.fit_masks`.

    Args:
        features: features of the items, NumPy or torch; or a model that gives them; None for vectors themselves.
        dataset: the items, for their labels. Those without a label are left out.
        masks: masks of one's own, such as :func:`hiercl.masks.random_masks`; by default they are found.
        descriptor: what describes a dimension, see :func:`hiercl.descriptors.describe`.
        sizes: sizes of the masks, see :func:`hiercl.masks.fit_masks`.
        soft: whether the masks are the probabilities of the mixture.
        seed: seed of the mixture.

    Returns:
        The features and their masks, which :func:`hiercl.plot.masks` and :func:`hiercl.explore.masks` show.

    Raises:
        ValueError: features that do not fit the items, a hierarchy of one level, or masks of another shape.

    Example:
        >>> found = hiercl.feature_masks.found_masks(features, test)
        >>> found.mean.sum(dim=1).tolist()
        [86.0, 85.0, 85.0]
        >>> control = hiercl.feature_masks.found_masks(features, test, hiercl.masks.random_masks(3, 256))
    """
    v, dataset = _labelled(features_of(features, dataset), dataset)
    levels = dataset.hierarchy.levels
    if levels == 1:
        raise ValueError("a hierarchy of one level has one mask: there is nothing to compare.")
    if masks is None:
        nodes = torch.from_numpy(dataset.hierarchy.labels_at_all(dataset.labels))
        scores = fisher_ratios(v, nodes).log()
        given = fit_masks(describe(v, nodes, descriptor), scores, levels, sizes, soft, seed).masks
    else:
        given = as_tensor(masks, "masks").float().cpu()
        if given.shape != (levels, v.shape[1]):
            raise ValueError(f"masks are {list(given.shape)}: pass [{levels}, {v.shape[1]}], one for each level.")
    return FeatureMasks(v.float(), given[None], dataset, "features")


def _sample(dataset: HierarchicalDataset, max_items: int, seed: int) -> Int[np.ndarray, " chosen"]:
    """Returns random items of a data set, in ascending order."""
    if min(max_items, len(dataset)) < 2:
        raise ValueError(f"max_items={max_items} of {len(dataset)}: at least 2 items are needed.")
    return np.sort(np.random.default_rng(seed).permutation(len(dataset))[:max_items])


def mask_separation(
    features: Float[Array, "items d"],
    dataset: HierarchicalDataset,
    keep: Bool[Array, " d"] | None = None,
) -> pd.DataFrame:
    """Measures how well some of the dimensions separate the classes of each level, with features of unit length.

    Items without a label are left out.

    Args:
        features: features of the items of the data set, NumPy or torch.
        dataset: the items, for their labels.
        keep: mask of the dimensions to use; by default all.

    Returns:
        One row for each level, coarse first, with the columns ``level`` (its name); ``variance_between``, the share of
        the variance that lies between its classes (:func:`hiercl.metrics.variance_between`); and ``knn``, the accuracy
        of a weighted vote of the 20 most similar other items (:func:`hiercl.metrics.knn_predict`). Both are in [0, 1],
        and NaN if nothing varies. Items that are zero in all kept dimensions do not count in ``variance_between``.

    Raises:
        ValueError: features of another number of items, a ``keep`` that is not one truth value for each dimension, or
            that keeps no dimension.

    Example:
        >>> table = hiercl.feature_masks.mask_separation(features, test, keep=features.std(dim=0) > 0)
        >>> table["level"].tolist()
        ['domain', 'group', 'class']
    """
    features, dataset = _labelled(features, dataset)
    z = features.float().cpu()
    if keep is not None:
        keep = torch.as_tensor(keep).cpu()
        if keep.dtype != torch.bool or keep.shape != z.shape[1:]:
            form = f"{keep.dtype} {list(keep.shape)}"
            raise ValueError(f"keep is {form}: pass a truth value for each of the {z.shape[1]} dimensions.")
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
def variance_shares(features: Float[Array, "items d"], dataset: HierarchicalDataset) -> Float[np.ndarray, "levels d"]:
    r"""Returns what every level adds to the share of a dimension's variance that lies between classes.

    $$\eta^2_{h,j} = \frac{\sum_c n_c(\mu_{c,j}-\mu_j)^2}{\sum_i (v_{i,j}-\mu_j)^2}, \qquad
      s_{h,j} = \eta^2_{h,j} - \eta^2_{h-1,j}, \quad \eta^2_{-1,j} = 0$$

    with c the classes of level h. So the row of a level measures its classes *within* their parent. All rows and the
    variance within the leaves sum to 1. A dimension that is independent of the labels has about
    (classes − classes of the level above)/(items − 1). Items without a label are left out.

    Args:
        features: features of the items of the data set, NumPy or torch.
        dataset: the items, for their labels.

    Returns:
        Shares in [0, 1]; 0 for a constant dimension.

    Raises:
        ValueError: features of another number of items.

    Example:
        >>> hiercl.feature_masks.variance_shares(features, test).shape
        (3, 256)
    """
    features, dataset = _labelled(features, dataset)
    x = standardised(features.cpu())
    explained = [np.zeros(x.shape[1])]
    for level, size in enumerate(dataset.hierarchy.sizes):
        label = torch.from_numpy(dataset.labels_at(level))
        count = torch.bincount(label, minlength=size).clamp(min=1)[:, None]
        explained.append((sums(x, label, size).square() / count).sum(dim=0).numpy() / len(x))
    return np.diff(np.stack(explained), axis=0).clip(0, 1)


def _labelled(features: Array, dataset: HierarchicalDataset) -> tuple[Tensor, HierarchicalDataset]:
    """Returns the items that have a label, and their features; ValueError for features of another number of items."""
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(f"features are {list(features.shape)}: pass [{len(dataset)}, d], one row for each item.")
    features = as_tensor(features)
    return features[torch.as_tensor(dataset.has_label, device=features.device)], dataset.labelled_part


def _reader(method: GHMLC | AHMLC) -> Callable[[Tensor], Tensor]:
    """A function of items that returns their features, followed by their masks if these depend on the item."""
    if isinstance(method, GHMLC):
        return method.features

    def read(view: Tensor) -> Tensor:
        places = method.encoder.stages(view)[-1]
        pooled = method.encoder.pool(places)
        masks = method.gate(pooled, places.flatten(2).mT if method.gate.needs_tokens else None)
        return torch.cat([method.projections(pooled)[:, 0], masks.flatten(1)], dim=1)

    return read


def _masked_method(run: Any) -> GHMLC | AHMLC:
    """The method of a run; ValueError if it has no masks."""
    method, name = getattr(run, "method", None), getattr(run, "name", type(run).__name__)
    if method is None and hasattr(run, "card"):
        raise ValueError(f"the pretrained {name!r} has an encoder and a head, but no masks: pass a run.")
    if not isinstance(method, GHMLC | AHMLC):
        raise ValueError(f"{name} has no feature masks: only g_hmlc and a_hmlc have them.")
    if isinstance(method, GHMLC) and not method.masked:
        when = f"before epoch {method.first_fit}"
        raise ValueError(f"this run of {name} has no masks yet: the warm-up ends {when}. Train longer.")
    if isinstance(method, AHMLC) and method.config.heads == "level":
        raise ValueError("with heads='level' every level has features of its own, so the masks cannot be compared.")
    return method


def _check_hierarchy(method: GHMLC | AHMLC, dataset: HierarchicalDataset) -> None:
    """Raises ValueError if the masks are of other levels than the data set's, or if there is only one level."""
    if method.config.source == "prototypes":
        raise ValueError("the masks are of the levels of a learned tree: take a run with source='labels'.")
    tree = dataset.hierarchy
    if tree.levels != method.levels:
        found = f"the run has masks for {method.levels} levels, {dataset.name!r} has {tree.levels}"
        raise ValueError(f"{found}: pass a data set with the hierarchy of the training.")
    if tree.levels == 1:
        raise ValueError("a hierarchy of one level has one mask: there is nothing to compare.")
