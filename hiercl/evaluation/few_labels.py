"""few_labels: what an encoder is worth when only a small share of the training items is labelled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset, check_same_hierarchy
from hiercl.encoders import Encoder, embed
from hiercl.evaluation.fine_tuning import FineTuneConfig, check_kind, fine_tune, probabilities_at
from hiercl.metrics import LinearProbe
from hiercl.runtime.seeds import stream_seed
from hiercl.runtime.types import Float, Int

LOGIT_VARIANCE = 10.0  # of the frozen probe's prior, see few_labels


def draw_labelled(labels: Int[np.ndarray, " n"], fraction: float | int, seed: int = 0) -> Int[np.ndarray, " k"]:
    r"""Draws the items that may keep their label, the same number from every class:

    $$\max\big(1, \text{round}(\text{fraction} \cdot n / \text{classes})\big)$$

    Classes are those that occur. One that has fewer items gives all of them. Draws of one seed are nested: the items
    of a smaller fraction are among those of a larger one.

    Args:
        labels: leaf class of every item.
        fraction: of the items that are labelled, above 0 and at most 1.
        seed: of the draw.

    Returns:
        Positions in ascending order.

    Raises:
        ValueError: a fraction outside (0, 1], labels that are no integers or of no item.

    Example:
        >>> draw_labelled(np.repeat([0, 1], 50), 0.04).size
        4
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be one integer an item, at least one; got {labels.dtype} {list(labels.shape)}: pass "
            "dataset.labels."
        )
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}: it is a share of the items, above 0 and at most 1 (0.01 is 1 %).")
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    count = max(1, round(fraction * len(labels) / len(classes)))
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == value))[:count] for value in classes]))


def few_labels(
    encoder: Encoder,
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    fractions: Sequence[float | int] = (0.01, 0.1),
    draws: int = 3,
    seed: int = 0,
    config: FineTuneConfig | None = None,
    fine_tuning: bool = True,
    features: tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Accuracy with few labels, at every level of the hierarchy: the protocol of the papers' 1 % and 10 % tables.

    Each draw labels the same number of items of every leaf class (:func:`draw_labelled`). Two ways to use them:

    * ``linear``: the encoder is frozen; a :class:`~hiercl.metrics.LinearProbe` for each level is fitted to the labelled
      features. With $k$ labels and $d$ features its penalty is
      $$\lambda = \frac{d}{10\,k}.$$
      This is one Gaussian prior for every $k$, under which a logit has the variance 10 (ours).
      :func:`~hiercl.evaluate` chooses λ on a fifth of the items; so few cannot spare any. On CIFAR-100 (200
      to 4,000 labels, ``convnet`` after MoCo v2, six draws, judged on training pictures that were held out) the prior
      was between 0.2 points worse and 0.9 better than that choice.
    * ``fine-tuned``: all weights of a copy, and a linear head on the leaf classes, are trained
      (:func:`~hiercl.evaluation.fine_tune`); a coarser class has the summed probability of its leaves.

    Sources: SwAV's and HCSC's semi-supervised evaluation (methods A.8). They use one fixed list of images for each
    fraction; here there are several draws, and their spread is given.

    Args:
        encoder: it is left untouched.
        train: training items; most of their labels are hidden.
        test: items to judge by.
        fractions: shares of the training items that are labelled.
        draws: how many for each fraction; below three the deviation says little, and one has none (NaN).
        seed: draw number i uses ``stream_seed(seed, i, "items")``, for every fraction: so the draws are nested.
        config: of the fine-tuning.
        fine_tuning: whether to fine-tune; frozen probes alone take seconds.
        features: pooled features of ``train`` and ``test``, if they are already there
            (:func:`~hiercl.encoders.embedding.embed`).
        progress: whether to show a progress bar.

    Returns:
        One row for each fraction, way and level: ``fraction``, ``labels`` (labelled items), ``per_class`` (of each
        leaf), ``level``, ``way``, ``accuracy`` (mean over the draws, in per cent), ``deviation`` (standard deviation
        over the draws, with n − 1), ``draws``.

    Raises:
        ValueError: data sets of different hierarchies or without classes, no draw, no fraction or the same twice, a
            fraction outside (0, 1], features of another number of items, and what
            :func:`~hiercl.evaluation.fine_tune` raises.

    Example:
        >>> table = few_labels(run.encoder, train, test)
        >>> table.pivot(index="level", columns=["fraction", "way"], values="accuracy")
    """
    check_same_hierarchy(train, test)
    if not train.labelled:
        raise ValueError(f"{train.name!r} has no classes to tell apart, so there are no labels to hide.")
    check_fractions(fractions, draws)
    seeds = [stream_seed(seed, number, "items") for number in range(draws)]
    labelled = {(f, s): draw_labelled(train.labels, f, s) for f in fractions for s in seeds}  # before the long work
    if fine_tuning:
        check_kind(encoder, train)
    bank, queries = (embed(encoder, train), embed(encoder, test)) if features is None else features
    if len(bank) != len(train) or len(queries) != len(test):
        raise ValueError(
            f"features of {len(bank)} and {len(queries)} items do not fit train ({len(train)} items) and test "
            f"({len(test)}): pass (embed(run, train), embed(run, test))."
        )

    rows = []
    for (fraction, draw_seed), index in tqdm(labelled.items(), desc="few labels", unit="draw", disable=not progress):
        known = {"fraction": fraction, "labels": len(index), "per_class": np.bincount(train.labels[index]).max()}
        part = train.take(index)
        predictions = {"linear": frozen_predictions(bank[index], part, queries)}
        if fine_tuning:
            leaf = fine_tune(encoder, part, config, draw_seed).predict_proba(test)
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


def check_fractions(fractions: Sequence[float | int], draws: int) -> None:
    """Raises ValueError unless these are shares, each once, and there is a draw."""
    if isinstance(fractions, str | float | int) or not all(isinstance(f, float | int) for f in fractions):
        raise ValueError(f"fractions={fractions!r}: give a tuple of shares, such as (0.01, 0.1) for 1 % and 10 %.")
    if not fractions or len(set(fractions)) < len(fractions):
        raise ValueError(f"fractions={fractions}: give at least one, and none twice.")
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions={fractions}: each is a share of the items, above 0 and at most 1 (0.01 is 1 %).")
    if draws < 1:
        raise ValueError(f"draws={draws}: at least one is needed, and three to say how much they differ.")


def frozen_predictions(
    features: Float[Tensor, "k dim"], labelled: HierarchicalDataset, queries: Float[Tensor, "n dim"]
) -> list[Int[Tensor, " n"]]:
    """For every level, the classes that a linear probe of the labelled features predicts for the queries."""
    penalty = features.shape[1] / (LOGIT_VARIANCE * len(features))
    predictions = []
    for level in range(labelled.hierarchy.levels):
        labels = torch.as_tensor(labelled.labels_at(level), device=features.device)
        classes = labelled.hierarchy.sizes[level]
        predictions.append(LinearProbe.fit(features, labels, (penalty,), classes=classes).predict(queries))
    return predictions
