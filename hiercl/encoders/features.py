"""features_of: the features that a plot, an explorer or an evaluation looks at, whatever they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.embedding import embed
from hiercl.runtime.arrays import as_tensor
from hiercl.runtime.types import Float


def features_of(model: Any, dataset: HierarchicalDataset) -> Float[Tensor, "items d"]:
    """Returns the features of a model for every item; features that are given; or, of vectors, the vectors themselves.

    Args:
        model: a run or what else :func:`hiercl.embed` takes, such as None for vectors; or features ``[items, d]``,
            NumPy or torch, of any float type.
        dataset: the items.

    Returns:
        Float features on the CPU.

    Raises:
        ValueError: features of another number of items or not finite, no model for items that are no vectors, or an
            error of :func:`hiercl.embed`.

    Example:
        >>> vectors = hiercl.HierarchicalDataset.from_features(features, test.labels, test.hierarchy)
        >>> torch.equal(features_of(None, vectors), features)
        True
    """
    if not isinstance(model, np.ndarray | Tensor):
        return embed(model, dataset)
    features = as_tensor(model).cpu()
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(
            f"features must be [{len(dataset)}, d], one row for each item of {dataset.name!r}, got "
            f"{list(features.shape)}."
        )
    bad = ~features.isfinite().all(dim=1)
    if bad.any():
        first = f"{int(bad.sum())} of {len(features)} rows are not finite (the first is row {int(bad.nonzero()[0])})"
        raise ValueError(f"features of {dataset.name!r}: {first}. Repair them, or leave these items out.")
    return features
