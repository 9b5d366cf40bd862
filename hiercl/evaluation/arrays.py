"""Features and labels alone: data sets of vectors, made of arrays of the training and of the test items."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiercl.datasets import HierarchicalDataset
from hiercl.datasets.base import SPLITS, Splits
from hiercl.datasets.features import as_leaves, to_numpy
from hiercl.hierarchy import Hierarchy


def sets_of_arrays(model: Any, train: Any, test: Any, features: Any, labels: Any, hierarchy: Any) -> Splits:
    """Makes the data sets that :func:`hiercl.evaluate` needs of its arguments ``features`` and ``labels``.

    Args:
        model: must be None, and so must train and test.
        train: as the model.
        test: as the model.
        features: features of both parts.
        labels: labels of both parts.
        hierarchy: tree of the labels; None: of the classes that occur in one of the parts.

    Raises:
        ValueError: arguments that contradict each other, or features and labels that do not fit.

    Example:
        >>> names = (["cat", "dog", "cat"], ["dog", "car"])
        >>> sets_of_arrays(None, None, None, (np.eye(3), np.eye(3)[:2]), names, None)[1].labels.tolist()
        [2, 0]
    """
    if train is not None or test is not None:
        raise ValueError("there are data sets, and labels or a hierarchy: the data sets have theirs, leave these out.")
    for name, pair in {"features": features, "labels": labels}.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            found = "missing" if pair is None else f"a {type(pair).__name__}"
            raise ValueError(f"{name} are {found}: give those of both parts, {name}=(train, test).")
    if model is not None:
        raise ValueError("a model is judged by items: give it train and test, or leave it out to judge the features.")
    if hierarchy is not None and not isinstance(hierarchy, Hierarchy):
        kind = type(hierarchy).__name__
        raise ValueError(f"hierarchy is a {kind}: give a hiercl.Hierarchy, such as Hierarchy.from_dict(...).")
    if hierarchy is None:
        hierarchy = _hierarchy_of(*map(to_numpy, labels))
    made = []
    for name, part, own in zip(SPLITS, features, labels, strict=True):
        try:
            made.append(HierarchicalDataset.from_features(part, own, hierarchy, name))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return made[0], made[1]


def _hierarchy_of(train: np.ndarray, test: np.ndarray) -> Hierarchy:
    """Returns the hierarchy of all classes that occur in one of the parts."""
    if train.ndim not in (1, 2) or train.shape[1:] != test.shape[1:]:
        shapes = f"{list(train.shape)} in train and {list(test.shape)} in test"
        raise ValueError(f"labels are {shapes}: both must be [n], or [n, levels] with the same levels.")
    both = np.concatenate([train, test])
    return as_leaves(both, None, len(both))[1]
