"""evaluate: what a frozen encoder knows, at every level of the hierarchy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl import metrics
from hiercl.clustering import nearest_neighbours
from hiercl.datasets import Feed, HierarchicalDataset, check_same_hierarchy
from hiercl.encoders import Encoder, HasEncoder, Model, embed, encoder_of, half_precision_is_native, ready
from hiercl.evaluation.few_labels import check_fractions, few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig
from hiercl.evaluation.report import Report
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import LinearProbe, knn_predict
from hiercl.metrics.definitions import PER_LEVEL
from hiercl.metrics.probes import PENALTIES
from hiercl.runtime.config import to_json
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.seeds import generator
from hiercl.runtime.types import Float, Int
from hiercl.training import Run
from hiercl.views import views_of

UNKNOWN_CLUSTERS = metrics.ClusterScores(np.nan, np.nan, np.nan)
PER_CENT = {metric.name for metric in PER_LEVEL if metric.unit == "%"}


def evaluate(
    model: Model,
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    label_fractions: Sequence[float] = (),
    draws: int = 3,
    fine_tune: FineTuneConfig | None = None,
    knn_k: int = 20,
    knn_temperature: float = 0.07,
    seed: int = 0,
    features: tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]] | None = None,
    progress: bool = True,
) -> Report:
    """Freezes the encoder and asks, at every level of the hierarchy, what its pooled features know.

    ``hiercl.metrics.definitions()`` says what every number is. The data need not be those of the training: with
    classes that the encoder has never seen, this is transfer. Of data without labels, only the embedding itself is
    described.

    Args:
        model: a run, a pretrained model, or an encoder.
        train: labelled items for probe and neighbours.
        test: items to judge by.
        label_fractions: shares of the training labels, such as ``(0.01, 0.1)``: a frozen probe and fine-tuning with
            these labels alone, class-balanced (:func:`hiercl.evaluation.few_labels.few_labels`).
        draws: of the labelled items, for each fraction.
        fine_tune: settings of the fine-tuning.
        knn_k: neighbours, of the vote and of ``hierarchical_distance``.
        knn_temperature: of their weights.
        seed: of the probe's split, of k-means, of views and of draws.
        features: pooled features of ``train`` and ``test``, if they are already there (:func:`hiercl.embed`).
        progress: whether to show a bar while few labels are drawn.

    Raises:
        ValueError: the two data sets have different hierarchies, a label fraction is not in (0, 1], or features are of
            another number of items.

    Example:
        >>> report = hiercl.evaluate(run, train, test, label_fractions=(0.01, 0.1))
        >>> print(report)
    """
    check_same_hierarchy(train, test)
    config = FineTuneConfig() if fine_tune is None else fine_tune
    check(model, test, label_fractions, draws, config, knn_k)
    encoder, run = encoder_of(model), model if isinstance(model, Run) else None
    bank, queries = (embed(encoder, train), embed(encoder, test)) if features is None else features
    if (len(bank), len(queries)) != (len(train), len(test)):
        raise ValueError(
            f"features of {len(bank)} and {len(queries)} items do not fit train ({len(train)}) and test ({len(test)})."
        )
    rows, few, classes = (), None, None
    if train.labelled:
        rows, classes = per_level(bank, train, queries, test, knn_k, knn_temperature, seed)
        if label_fractions:
            shares = tuple(label_fractions)
            few = few_labels(
                encoder, train, test, shares, draws, seed, config, features=(bank, queries), progress=progress
            )
    overall = {"alignment": view_alignment(model, test, seed), **geometry(queries)}
    tree = edges = None
    # The tree knows its training items only.
    if run and run.tree and train.labelled and run.config["data"]["fingerprint"] == train.fingerprint():
        tree = metrics.tree_agreement(run.tree, train.labels, train.hierarchy)
        edges = metrics.respected_edges(run.tree, train.labels, train.hierarchy)
    device = encoder.mean.device
    protocol = {
        "features": "pooled backbone features of the query encoder, unaugmented",
        "precision": "bf16" if half_precision_is_native(device) else "float32",
        "device": device.type,
        "linear_penalties": list(PENALTIES),
        "knn_k": knn_k,
        "knn_temperature": knn_temperature,
        "label_fractions": list(label_fractions),
        "fine_tune": to_json(config) if label_fractions else None,
        "seed": seed,
        "train": train.name,
        "train_note": train.note,
        "train_items": len(train),
        "test": test.name,
        "test_note": test.note,
        "test_items": len(test),
        "environment": describe_environment(device, "bf16" if half_precision_is_native(device) else "float32"),
        "run": run.config if run is not None else None,
        "run_environment": run.environment if run is not None else None,
    }
    return Report(rows, overall, protocol, few, tree, edges, classes)


def per_level(
    bank: Tensor,
    train: HierarchicalDataset,
    queries: Tensor,
    test: HierarchicalDataset,
    knn_k: int,
    knn_temperature: float,
    seed: int,
) -> tuple[tuple[dict[str, Any], ...], pd.DataFrame]:
    """The rows of a report: every metric of a level, at every level; shares in per cent. And the recall of every class,
    see :class:`~hiercl.evaluation.report.Report`."""
    hierarchy: Hierarchy = test.hierarchy
    levels = range(hierarchy.levels)
    truth = np.stack([test.labels_at(level) for level in levels], axis=1)
    labels = [torch.as_tensor(train.labels_at(level)) for level in levels]
    scores = []
    for level in levels:
        probe = LinearProbe.fit(bank, labels[level], seed=seed, classes=hierarchy.sizes[level])
        scores.append(F.softmax(probe.scores(queries), dim=1))
    linear = np.stack([score.argmax(dim=1).numpy() for score in scores], axis=1)
    flat = metrics.flat(linear[:, -1], hierarchy)
    descents = metrics.top_down(scores, hierarchy)
    stopped = metrics.stop_where_unsure(descents, scores)
    largest = int(test.counts(0).max()) - 1
    neighbours = nearest_neighbours(queries, min(max(largest, knn_k), len(queries) - 1))
    labelled = queries, test.labels, hierarchy
    rows, classes = [], []
    for level in levels:
        true, predicted = truth[:, level], linear[:, level]
        knn = knn_predict(bank, labels[level], queries, knn_k, knn_temperature).numpy()
        hierarchical = metrics.hierarchical_precision_recall_f1(stopped[:, : level + 1], truth[:, : level + 1])
        several = bool((np.bincount(true) > 1).any())  # else every item is a cluster of its own: right, and no finding
        clusters = metrics.cluster_scores(queries, true, seed) if several else UNKNOWN_CLUSTERS
        size = hierarchy.sizes[level]
        by_class = {way: metrics.recalls(guess, true, size) for way, guess in (("linear", predicted), ("knn", knn))}
        classes.append(class_rows(by_class, level, train, test))
        above = level > 0  # what compares a level with the one above it
        row = {
            "linear": metrics.accuracy(predicted, true),
            "linear_balanced": metrics.balanced_accuracy(predicted, true),
            "knn": metrics.accuracy(knn, true),
            "knn_balanced": metrics.balanced_accuracy(knn, true),
            **{f"{way}_rare": rare(recall, train.counts(level)) for way, recall in by_class.items()},
            "flat": metrics.accuracy(flat[:, level], true),
            "top_down": metrics.accuracy(descents[:, level], true),
            "parent_agreement": metrics.parent_agreement(linear[:, level - 1], predicted, hierarchy, level)
            if above
            else np.nan,
            "hierarchical_precision": hierarchical.precision,
            "hierarchical_recall": hierarchical.recall,
            "hierarchical_f1": hierarchical.f1,
            "mistake_height": metrics.mistake_height(predicted, true, hierarchy, level),
            "map_at_r": metrics.map_at_r(neighbours, true),
            "hierarchical_distance": metrics.hierarchical_distance_at_k(
                neighbours, true, hierarchy, level, min(knn_k, neighbours.shape[1])
            ),
            "ami": clusters.ami,
            "nmi": clusters.nmi,
            "ari": clusters.ari,
            "class_alignment": on_sphere(metrics.class_alignment, queries, true),
            "variance_between": on_sphere(metrics.variance_between, queries, true),
            "distance_correlation": on_sphere(metrics.distance_correlation, *labelled, level, seed=seed),
            "cophenetic_correlation": on_sphere(metrics.cophenetic_correlation, *labelled, level),
            "dendrogram_purity": on_sphere(metrics.dendrogram_purity, *labelled, level, level - 1) if above else np.nan,
        }
        shown = {name: 100 * value if name in PER_CENT else value for name, value in row.items()}
        rows.append({"level": hierarchy.level_names[level], "classes": size, **shown})
    return tuple(rows), pd.concat(classes, ignore_index=True)


def class_rows(
    recalls: dict[str, np.ndarray], level: int, train: HierarchicalDataset, test: HierarchicalDataset
) -> pd.DataFrame:
    """Of every class of a level: its coarsest ancestor, its numbers of items, its recalls in per cent."""
    tree = test.hierarchy
    above = dict(zip(tree.ancestors[:, level], tree.ancestors[:, 0], strict=True))
    names = tree.names[level]
    return pd.DataFrame(
        {
            "level": tree.level_names[level],
            "class": names,
            "under": [tree.names[0][above[node]] for node in range(len(names))],
            "train": train.counts(level),
            "test": test.counts(level),
            **{way: 100 * recall for way, recall in recalls.items()},
        }
    )


def rare(recalls: Float[np.ndarray, " classes"], items: Int[np.ndarray, " classes"]) -> float:
    """Mean recall of the third of the classes with the fewest training items, and of those that have as few; NaN when
    the test set has none of them."""
    few = items <= np.sort(items)[math.ceil(len(items) / 3) - 1]
    return float(np.nanmean(recalls[few])) if np.isfinite(recalls[few]).any() else math.nan


def geometry(features: Tensor) -> dict[str, float]:
    """How the embedding fills the sphere."""
    unit = F.normalize(features, dim=1)
    return {
        "uniformity": on_sphere(metrics.uniformity, features),
        "effective_rank": on_sphere(metrics.effective_rank, unit),
        "total_variance": on_sphere(metrics.total_variance, features),
        "outside_pc1": 100 * on_sphere(metrics.variance_outside, features, 1),
        "outside_pc2": 100 * on_sphere(metrics.variance_outside, features, 2),
    }


@torch.no_grad()
def view_alignment(model: Model, dataset: HierarchicalDataset, seed: int) -> float:
    """Alignment of two views of every item, drawn as in the model's training; NaN for an encoder without a training."""
    if isinstance(model, Encoder):
        return math.nan
    settings = model.config["views"] if isinstance(model, Run) else model.card["views"]
    views, pairs = views_of(model.encoder.kind, settings), []
    with ready(model.encoder) as (encoder, device):
        feed, draws = Feed(dataset, device), generator(device, seed, 0, "views")
        with torch.autocast(device.type, torch.bfloat16, enabled=half_precision_is_native(device)):
            for items in feed.batches(feed.chunks()):
                pairs.append([encoder(views(items, draws)).float().cpu() for _ in range(2)])
    return on_sphere(metrics.alignment, *(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def on_sphere(metric: Callable[..., float], *arguments: Any, **settings: Any) -> float:
    """A metric of directions; NaN where a feature has none, because its length is zero."""
    features = [argument for argument in arguments if isinstance(argument, Tensor)]
    if any((one.norm(dim=1) == 0).any() for one in features):
        return math.nan
    return metric(*arguments, **settings)


def check(
    model: Model,
    test: HierarchicalDataset,
    label_fractions: Sequence[float],
    draws: int,
    fine_tune: FineTuneConfig,
    knn_k: int,
) -> None:
    """Raises ValueError for arguments of :func:`evaluate` that cannot be meant, before anything long begins."""
    if not isinstance(model, Encoder | HasEncoder):
        raise ValueError(
            f"a {type(model).__name__} has no encoder: give a run (hiercl.fit, hiercl.load_run), a pretrained model "
            "(hiercl.pretrained) or an encoder."
        )
    if not isinstance(fine_tune, FineTuneConfig):
        raise ValueError(f"fine_tune={fine_tune!r}: it is a hiercl.FineTuneConfig(...).")
    if len(test) < 2:
        raise ValueError(f"{test.name!r} has {len(test)} item to judge by: at least two are needed.")
    if knn_k < 1:
        raise ValueError(f"knn_k={knn_k}: it must be at least 1.")
    if not isinstance(label_fractions, Sequence) or len(label_fractions):
        check_fractions(label_fractions, draws)
