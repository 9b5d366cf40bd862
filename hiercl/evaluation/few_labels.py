"""few_labels: how accurate an encoder is if only a small share of the training items is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets import HierarchicalDataset, check_same_hierarchy
from hiercl.encoders import Encoder, Model
from hiercl.encoders.features import features_of
from hiercl.evaluation.fine_tuning import FineTuneConfig, check_modality, fine_tune, probabilities_at
from hiercl.metrics import LinearProbe
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_tensor
from hiercl.runtime.config import AtLeast
from hiercl.runtime.cores import on_free_cores
from hiercl.runtime.progress import progress_bar
from hiercl.runtime.seeds import stream_seed
from hiercl.runtime.types import Float, Int

LOGIT_VARIANCE = 10.0  # variance of a logit under the prior of the frozen probe, see few_labels


def draw_labelled(labels: Int[np.ndarray, " n"], fraction: float | int, seed: int = 0) -> Int[np.ndarray, " k"]:
    r"""Draws the items that keep their label, the same number from every class.

    $$\max\big(1, \text{round}(\text{fraction} \cdot n / \text{classes})\big)$$

    A class with fewer items gives all of them. For one seed, the items of a smaller fraction are among those of a
    larger fraction.

    Args:
        labels: leaf class of every item. Items without a label (−1) are not drawn, and do not count for n.
        fraction: share of the items that are labelled, above 0 and at most 1.
        seed: seed of the draw.

    Returns:
        Positions in ascending order.

    Raises:
        ValueError: a fraction outside (0, 1], no item, labels that are no integers.

    Example:
        >>> draw_labelled(np.repeat([0, 1], 50), 0.04).size
        4
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0 or labels.dtype.kind not in "iu":
        form = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"labels are {form}: pass dataset.labels, one integer for each item, at least one.")
    _check_fraction(fraction)
    rng = np.random.default_rng(seed)
    known = labels[labels >= 0]
    if known.size == 0:
        raise ValueError(f"none of the {len(labels)} items has a label: there are none to draw from.")
    classes = np.unique(known)
    count = max(1, round(fraction * len(known) / len(classes)))
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == value))[:count] for value in classes]))


@checked
@on_free_cores
def few_labels(
    encoder: Encoder | None,
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    fractions: Sequence[float | int] = (0.01, 0.1),
    draws: Annotated[int, AtLeast(1)] = 3,
    seed: Annotated[int, AtLeast(0)] = 0,
    config: FineTuneConfig | None = None,
    fine_tuning: bool = True,
    features: Sequence[Array] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Measures the accuracy with few labels at every level: the protocol of the papers' 1 % and 10 % tables.

    Each draw labels the same number of items of every leaf class (:func:`draw_labelled`). They are used in two ways:

    * ``linear``: the encoder is frozen. A :class:`~hiercl.metrics.LinearProbe` for each level is fitted to the labelled
      features. With $k$ labels and $d$ features its penalty is $\lambda = d/(10\,k)$: one Gaussian prior for every $k$,
      under which a logit has the variance 10 (ours). :func:`~hiercl.evaluate` chooses λ on a fifth of the items, and so
      few items cannot spare any. On CIFAR-100 (200 to 4,000 labels, ``convnet`` after MoCo v2, six draws, judged on
      held-out training pictures) the prior was between 0.2 points worse and 0.9 points better than that choice.
    * ``fine-tuned``: all weights of a copy, and a linear head on the leaf classes, are trained
      (:func:`~hiercl.evaluation.fine_tune`). The probability of a coarser class is the sum over its leaves.

    Items without a label are left out of both data sets.

    Source: the semi-supervised evaluation of SwAV and HCSC (methods A.8). They use one fixed list of images for each
    fraction. Here there are several draws, and the table gives their spread.

    Args:
        encoder: the encoder; it does not change. None: there are features alone, which cannot be fine-tuned.
        train: training items; most of their labels are hidden.
        test: items that are classified.
        fractions: shares of the training items that are labelled.
        draws: number of draws for each fraction. One draw has no deviation (NaN), two say little about it.
        seed: seed of all draws; number i uses ``stream_seed(seed, i, "items")`` for every fraction, so the draws are
            nested.
        config: settings of the fine-tuning.
        fine_tuning: whether to fine-tune; frozen probes alone take seconds.
        features: features of ``train`` and ``test``, NumPy or torch; by default those of the encoder. Without an
            encoder they are needed, unless the items are vectors.
        progress: whether to show a progress bar.

    Returns:
        One row for each fraction, way and level, with the columns ``fraction``, ``labels`` (number of labelled items),
        ``per_class`` (number for each leaf), ``level``, ``way``, ``accuracy`` (mean over the draws, in per cent),
        ``deviation`` (standard deviation over the draws, with n − 1), ``draws``.

    Raises:
        ValueError: data sets of different hierarchies or without classes, no draw, no fraction or one given twice, a
            fraction outside (0, 1], features of another number of items, or an error of
            :func:`~hiercl.evaluation.fine_tune`.

    Example:
        >>> table = few_labels(run.encoder, train, test, fractions=(0.5,), fine_tuning=False, progress=False)
        >>> table["labels"].tolist()
        [60, 60, 60]
    """
    check_same_hierarchy(train, test)
    if not train.labelled:
        raise ValueError(f"{train.name!r} has no classes to tell apart, so there are no labels to hide.")
    check_fractions(fractions)
    if encoder is None and fine_tuning:
        raise ValueError("fine-tuning trains an encoder, and there is none: pass fine_tuning=False, or an encoder.")
    if encoder is not None and fine_tuning:
        check_modality(encoder, train)
    bank, queries = features_of_both(encoder, train, test, features)
    queries, test = queries[test.has_label], test.labelled_part
    seeds = [stream_seed(seed, draw, "items") for draw in range(draws)]
    rows = []
    every = [(fraction, draw_seed) for fraction in fractions for draw_seed in seeds]
    for fraction, draw_seed in progress_bar(every, progress, desc="few labels", unit="draw"):
        index = draw_labelled(train.labels, fraction, draw_seed)
        known = {"fraction": fraction, "labels": len(index), "per_class": np.bincount(train.labels[index]).max()}
        labelled = train.take(index)
        predictions = {"linear": _frozen_predictions(bank[index], labelled, queries)}
        if encoder is not None and fine_tuning:
            leaf = fine_tune(encoder, labelled, config, draw_seed).predict_proba(test)
            levels = range(test.hierarchy.levels)
            predictions["fine-tuned"] = [probabilities_at(leaf, test.hierarchy, i).argmax(dim=1) for i in levels]
        for way, of_levels in predictions.items():
            for level, predicted in enumerate(of_levels):
                right = predicted.cpu().numpy() == test.labels_at(level)
                name = test.hierarchy.level_names[level]
                rows.append({**known, "level": name, "way": way, "accuracy": 100 * right.mean()})
    keys = ["fraction", "labels", "per_class", "level", "way"]
    over_draws = pd.DataFrame(rows).groupby(keys, sort=False)["accuracy"]
    return over_draws.agg(accuracy="mean", deviation="std", draws="count").reset_index()


def features_of_both(
    model: Model | None,
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    features: Sequence[Array] | None,
) -> tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]]:
    """Returns the given features of both data sets, or those of the model, in float32 on the CPU.

    Args:
        model: a model; None for vectors, whose features are the vectors themselves.
        train: training items.
        test: test items.
        features: features of both, or None.

    Raises:
        ValueError: no pair of features, features of another number of items, of two widths or not finite.

    Example:
        >>> [len(part) for part in features_of_both(run.encoder, train, test, None)]
        [120, 60]
    """
    if features is not None and not (isinstance(features, tuple | list) and len(features) == 2):
        raise ValueError(f"features are a {type(features).__name__}: give both parts, features=(train_X, test_X).")
    sources = (model, model) if features is None else tuple(map(as_tensor, features))
    bank, queries = (features_of(one, data).float() for one, data in zip(sources, (train, test), strict=True))
    if bank.shape[1] != queries.shape[1]:
        widths = f"{bank.shape[1]} numbers for each training item and {queries.shape[1]} for each test item"
        raise ValueError(f"features have {widths}: these must be features of one model.")
    return bank, queries


def _frozen_predictions(
    features: Float[Tensor, "k dim"], labelled: HierarchicalDataset, queries: Float[Tensor, "n dim"]
) -> list[Int[Tensor, " n"]]:
    """Returns, for every level, the classes of the queries that a linear probe of the labelled features predicts."""
    penalty = features.shape[1] / (LOGIT_VARIANCE * len(features))
    predictions = []
    for level, classes in enumerate(labelled.hierarchy.sizes):
        labels = torch.as_tensor(labelled.labels_at(level), device=features.device)
        predictions.append(LinearProbe.fit(features, labels, (penalty,), classes=classes).predict(queries))
    return predictions


def check_fractions(fractions: Sequence[float | int]) -> None:
    """Raises ValueError unless the fractions are different shares."""
    if not isinstance(fractions, list | tuple) or not all(isinstance(f, float | int) for f in fractions):
        raise ValueError(f"fractions={fractions!r}: give a tuple of shares, such as (0.01, 0.1) for 1 % and 10 %.")
    if not fractions or len(set(fractions)) < len(fractions):
        raise ValueError(f"fractions={fractions}: give at least one, and none twice.")
    for fraction in fractions:
        _check_fraction(fraction)


def _check_fraction(fraction: float | int) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}: it is a share of the items, above 0 and at most 1 (0.01 is 1 %).")
