"""evaluate: what a frozen encoder knows, at every level of the hierarchy."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, cast

import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, check_same_hierarchy
from hiercl.datasets.base import Splits
from hiercl.encoders import Model, encoder_of, half_precision_is_native, modality_of, ready
from hiercl.encoders.zoo import Pretrained
from hiercl.evaluation.arrays import sets_of_arrays
from hiercl.evaluation.comparison import FINGERPRINTS
from hiercl.evaluation.few_labels import check_fractions, features_of_both, few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig
from hiercl.evaluation.report import Report
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import respected_edges, tree_agreement
from hiercl.metrics.definitions import OVERALL, PER_LEVEL
from hiercl.metrics.findings import Findings, LevelFindings
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.metrics.paired import PerItem
from hiercl.metrics.probes import PENALTIES
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import Above, AtLeast
from hiercl.runtime.cores import on_free_cores
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.seeds import generator
from hiercl.runtime.types import Float
from hiercl.training import Run

FEATURES = "pooled backbone features of the query encoder, unaugmented"
NO_MODEL = "features as given, no model known: no random views, no fine-tuning"
MANY = 100_000  # test items: from here on, comparing all pairs takes hours


@checked
@on_free_cores
def evaluate(
    model: Model | None = None,
    train: HierarchicalDataset | None = None,
    test: HierarchicalDataset | None = None,
    label_fractions: Sequence[float] = (),
    draws: Annotated[int, AtLeast(1)] = 3,
    fine_tune: FineTuneConfig | None = None,
    knn_k: Annotated[int, AtLeast(1)] = 20,
    knn_temperature: Annotated[float, Above(0)] = 0.07,
    seed: Annotated[int, AtLeast(0)] = 0,
    features: Sequence[Any] | None = None,
    progress: bool = True,
    labels: Sequence[Any] | None = None,
    hierarchy: Hierarchy | None = None,
    sample: Annotated[int, AtLeast(1)] | None = None,
) -> Report:
    """Measures, at every level of the hierarchy, what the pooled features of the frozen encoder know.

    ``hiercl.metrics.definitions()`` says what every number is. The data may have other classes than those of the
    training: that is transfer. Items without a label (−1) are left out. For data without any labels, only the embedding
    as a whole is described.

    A model is not needed: features and labels alone give the same report, without the numbers that need an encoder
    (``alignment`` of random views, and fine-tuning with few labels).

    Args:
        model: a run, a pretrained model, an encoder, or a ``torch.nn.Module``. None: ``features`` are judged, or, if
            the data sets hold vectors, the vectors themselves.
        train: labelled items that the probe and the neighbours learn from.
        test: items that are classified.
        label_fractions: shares of the training labels, such as ``(0.01, 0.1)``. For each, a frozen probe and a
            fine-tuning learn from these labels alone (:func:`hiercl.evaluation.few_labels.few_labels`).
        draws: number of random choices of these labels for each fraction.
        fine_tune: settings of the fine-tuning.
        knn_k: number of nearest neighbours, for the vote and for ``hierarchical_distance``.
        knn_temperature: temperature of the weights of their votes.
        seed: seed of the probe's split, of k-means, of the views and of the draws.
        features: features of the training and of the test items, ``[n, d]`` each, NumPy or torch; by default those of
            the model.
        progress: whether to show a progress bar for ``label_fractions``, and to say if other processes need the cores.
        labels: labels of both parts, instead of data sets: leaf ids, label columns ``[n, levels]`` from coarse to fine,
            or names, in one of the forms of :meth:`hiercl.HierarchicalDataset.from_features`.
        hierarchy: tree of these labels; by default that of the classes that occur.
        sample: number of test items, drawn at random, that ``map_at_r``, ``hierarchical_distance`` and ``uniformity``
            compare with all test items; None: all of them. They look at all pairs, so that their time grows with the
            square of the test items; memory does not.

    Returns:
        The report. Print it, or call its ``table()``.

    Raises:
        ValueError: data sets with different hierarchies, a label fraction outside (0, 1], features that do not fit the
            items or are not finite, labels that do not fit the hierarchy, arguments of another type or outside their
            range (NaN is outside of every range), or arguments that contradict each other.

    Example:
        >>> report = hiercl.evaluate(run, train, test)
        >>> report.table()["classes"].tolist()
        [5, 12, 30]
        >>> X, y = np.random.rand(60, 8), np.arange(60) % 3  # no model, no data sets
        >>> hiercl.evaluate(features=(X, X), labels=(y, y)).table()["classes"].tolist()
        [3]
    """
    alone = False
    if labels is not None or hierarchy is not None or (train is None and test is None and features is not None):
        train, test = sets_of_arrays(model, train, test, features, labels, hierarchy)
        features, alone = None, True  # they are the items now
    whole, whole_test = cast(Splits, (train, test))
    check_same_hierarchy(whole, whole_test)
    labelled = whole.labelled and whole_test.labelled
    train, test = (whole.labelled_part, whole_test.labelled_part) if labelled else (whole, whole_test)
    _check_arguments(model, test, label_fractions, fine_tune, sample)
    encoder, run = None if model is None else encoder_of(model, train), model if isinstance(model, Run) else None
    if features is None:
        bank, queries = features_of_both(encoder, train, test, None)
    else:  # they are those of all items
        bank, queries = features_of_both(encoder, whole, whole_test, features)
        if labelled and len(train) < len(whole):
            bank = bank[whole.has_label]
        if labelled and len(test) < len(whole_test):
            queries = queries[whole_test.has_label]

    views = two_views(model, test, seed)
    known = (bank, train.labels, queries, test.labels, test.hierarchy)
    findings = Findings(*known, views, knn_k, knn_temperature, seed, sample)
    levels = [findings.at(level) for level in range(test.hierarchy.levels)] if labelled else []
    rows = tuple(_level_row(at) for at in levels)
    items = tuple(_per_item(at, row) for at, row in zip(levels, rows, strict=True))
    overall = {metric.name: metric.of(findings) for metric in OVERALL}
    classes = pd.concat([_class_table(at) for at in levels], ignore_index=True) if levels else None

    few = tree = edges = None
    config = FineTuneConfig() if fine_tune is None else fine_tune
    if levels and label_fractions:
        shares, both = tuple(label_fractions), (bank, queries)
        tunes = encoder is not None
        few = few_labels(encoder, train, test, shares, draws, seed, config, tunes, both, progress)
    if run and run.tree and levels and run.recipe.data["fingerprint"] == whole.fingerprint():
        # The learned tree knows only the items that it was fitted to.
        tree = tree_agreement(run.tree, whole.labels, whole.hierarchy)
        edges = respected_edges(run.tree, whole.labels, whole.hierarchy)

    device = bank.device if encoder is None else encoder.mean.device
    precision = "bf16" if encoder is not None and half_precision_is_native(device) else "float32"
    protocol = {
        "features": NO_MODEL if encoder is None else FEATURES,
        "precision": precision,
        "device": device.type,
        "linear_penalties": list(PENALTIES),
        "knn_k": knn_k,
        "knn_temperature": knn_temperature,
        "label_fractions": list(label_fractions),
        "fine_tune": config.to_json() if label_fractions and encoder is not None else None,
        "seed": seed,
        **({} if sample is None else {"sample": sample}),
        "train": train.name,
        "train_note": train.note,
        "train_items": len(train),
        "train_without_label": len(whole) - len(train),
        "test": test.name,
        "test_note": test.note,
        "test_items": len(test),
        "test_without_label": len(whole_test) - len(test),
        FINGERPRINTS: {part: _fingerprints(own, alone) for part, own in (("train", train), ("test", test))},
        "environment": describe_environment(device, precision),
        "run": run.config if run else None,
        "run_environment": run.environment if run else None,
    }
    return Report(rows, overall, protocol, few, tree, edges, classes, items)


def _level_row(at: LevelFindings) -> dict[str, Any]:
    """Returns the row of a level in a report: its name, its number of classes, and every metric."""
    tree = at.whole.hierarchy
    known = {"level": tree.level_names[at.level], "classes": tree.sizes[at.level]}
    return known | {metric.name: metric.of(at) for metric in PER_LEVEL}


def _per_item(at: LevelFindings, row: dict[str, Any]) -> dict[str, PerItem]:
    """Returns what every test item adds to the metrics of a level that are means over the items."""
    known = [metric for metric in PER_LEVEL if metric.items and not math.isnan(row[metric.name])]
    return {metric.name: metric.items(at).compact() for metric in known if metric.items}


def _fingerprints(part: HierarchicalDataset, alone: bool) -> dict[str, str | None]:
    """Returns two hashes of a part of the data: of its labels and their hierarchy, and of its items.

    Features alone are no items: two models may have made them of the same pictures. Their hash is None.
    """
    labels = part.labels.tobytes() + json.dumps(part.hierarchy.to_json(), sort_keys=True).encode()
    return {"labels": hashlib.sha256(labels).hexdigest()[:16], "items": None if alone else part.fingerprint()}


def _class_table(at: LevelFindings) -> pd.DataFrame:
    """Returns the recall of every class of a level, in per cent: see :class:`~hiercl.evaluation.report.Report`."""
    tree = at.whole.hierarchy
    return pd.DataFrame(
        {
            "level": tree.level_names[at.level],
            "class": tree.names[at.level],
            "under": [tree.names[0][node] for node in ancestor_paths(tree, at.level)[:, 0]],
            "train": at.train_counts,
            "test": tree.counts(at.whole.labels, at.level),
            "linear": 100 * at.linear_recall,
            "knn": 100 * at.knn_recall,
        }
    )


@torch.no_grad()
def two_views(
    model: Model | None, dataset: HierarchicalDataset, seed: int
) -> tuple[Float[Tensor, "items dim"], Float[Tensor, "items dim"]] | None:
    """Returns the features of two random views of every item, drawn as in the model's training.

    Args:
        model: a run, a pretrained model, or anything else.
        dataset: the items.
        seed: seed of the views.

    Returns:
        Both features of every item, on the CPU; None for a model without a training that is known.

    Example:
        >>> first, second = two_views(run, test, seed=0)
        >>> len(first) == len(second) == len(test)
        True
    """
    if not isinstance(model, Run | Pretrained):
        return None
    modality, first, second = modality_of(model.encoder), [], []
    if isinstance(model, Run):
        views = model.recipe.make_views()
    else:
        views = modality.views(modality.view_config.from_json(model.card["views"]), model.card["encoder"])
    with ready(model.encoder) as (encoder, device):
        feed, random = Feed(dataset, device), generator(device, seed, 0, "views")
        with torch.autocast(device.type, torch.bfloat16, enabled=half_precision_is_native(device)):
            for items in feed.batches(feed.chunks()):
                for features in (first, second):
                    features.append(encoder(views(items, random)).float().cpu())
    return torch.cat(first), torch.cat(second)


def _check_arguments(model, test, label_fractions, fine_tune, sample: int | None) -> None:
    """Raises ValueError for wrong arguments of :func:`evaluate`, before anything long begins."""
    if fine_tune is not None and model is None:
        raise ValueError("fine_tune trains an encoder, and there is no model: leave it out.")
    if len(test) < 2:
        raise ValueError(f"{test.name!r} has {len(test)} item with a label: at least two are needed to evaluate.")
    if not isinstance(label_fractions, list | tuple) or len(label_fractions):
        check_fractions(label_fractions)
    if sample is None and len(test) > MANY:
        warnings.warn(
            f"{test.name!r} has {len(test):,} items, and map_at_r, hierarchical_distance and uniformity compare all "
            "pairs of them, which takes hours: sample=10000 compares 10,000 of them with all.",
            stacklevel=5,
        )
