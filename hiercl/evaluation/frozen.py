"""evaluate: what a frozen encoder knows, at every level of the hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor

from hiercl.datasets import Feed, HierarchicalDataset, check_same_hierarchy
from hiercl.encoders import Encoder, HasEncoder, Model, encoder_of, half_precision_is_native, modality_of, ready
from hiercl.encoders.zoo import Pretrained
from hiercl.evaluation.few_labels import check_fractions, features_of, few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig
from hiercl.evaluation.report import Report
from hiercl.metrics import respected_edges, tree_agreement
from hiercl.metrics.definitions import OVERALL, PER_LEVEL
from hiercl.metrics.findings import Findings, LevelFindings
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.metrics.probes import PENALTIES
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.seeds import generator
from hiercl.runtime.types import Float
from hiercl.training import Run


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
    """Measures, at every level of the hierarchy, what the pooled features of the frozen encoder know.

    ``hiercl.metrics.definitions()`` says what every number is. The data may have other classes than those of the
    training: that is transfer. For data without labels, only the embedding as a whole is described.

    Args:
        model: a run, a pretrained model, or an encoder.
        train: labelled items that the probe and the neighbours learn from.
        test: items that are classified.
        label_fractions: shares of the training labels, such as ``(0.01, 0.1)``. For each, a frozen probe and a
            fine-tuning learn from these labels alone (:func:`hiercl.evaluation.few_labels.few_labels`).
        draws: number of random choices of these labels for each fraction.
        fine_tune: settings of the fine-tuning.
        knn_k: number of nearest neighbours, for the vote and for ``hierarchical_distance``.
        knn_temperature: temperature of the weights of their votes.
        seed: seed of the probe's split, of k-means, of the views and of the draws.
        features: pooled features of ``train`` and ``test`` from :func:`hiercl.embed`; by default they are computed.
        progress: whether to show a progress bar for ``label_fractions``.

    Returns:
        The report. Print it, or call its ``table()``.

    Raises:
        ValueError: data sets with different hierarchies, a label fraction outside (0, 1], or features of another number
            of items.

    Example:
        >>> report = hiercl.evaluate(run, train, test)
        >>> report.table()["classes"].tolist()
        [5, 12, 30]
    """
    check_same_hierarchy(train, test)
    config = FineTuneConfig() if fine_tune is None else fine_tune
    _check_arguments(model, test, label_fractions, draws, config, knn_k)
    encoder, run = encoder_of(model), model if isinstance(model, Run) else None
    bank, queries = features_of(encoder, train, test, features)

    views = two_views(model, test, seed)
    findings = Findings(bank, train.labels, queries, test.labels, test.hierarchy, views, knn_k, knn_temperature, seed)
    levels = [findings.at(level) for level in range(test.hierarchy.levels)] if train.labelled else []
    rows = tuple(_level_row(at) for at in levels)
    overall = {metric.name: metric.of(findings) for metric in OVERALL}
    classes = pd.concat([_class_table(at) for at in levels], ignore_index=True) if levels else None

    few = tree = edges = None
    if levels and label_fractions:
        shares, both = tuple(label_fractions), (bank, queries)
        few = few_labels(encoder, train, test, shares, draws, seed, config, features=both, progress=progress)
    if run and run.tree and levels and run.recipe.data["fingerprint"] == train.fingerprint():
        # The learned tree knows only the items that it was fitted to.
        tree = tree_agreement(run.tree, train.labels, train.hierarchy)
        edges = respected_edges(run.tree, train.labels, train.hierarchy)

    device = encoder.mean.device
    precision = "bf16" if half_precision_is_native(device) else "float32"
    protocol = {
        "features": "pooled backbone features of the query encoder, unaugmented",
        "precision": precision,
        "device": device.type,
        "linear_penalties": list(PENALTIES),
        "knn_k": knn_k,
        "knn_temperature": knn_temperature,
        "label_fractions": list(label_fractions),
        "fine_tune": config.to_json() if label_fractions else None,
        "seed": seed,
        "train": train.name,
        "train_note": train.note,
        "train_items": len(train),
        "test": test.name,
        "test_note": test.note,
        "test_items": len(test),
        "environment": describe_environment(device, precision),
        "run": run.config if run else None,
        "run_environment": run.environment if run else None,
    }
    return Report(rows, overall, protocol, few, tree, edges, classes)


def _level_row(at: LevelFindings) -> dict[str, Any]:
    """Returns the row of a level in a report: its name, its number of classes, and every metric."""
    tree = at.whole.hierarchy
    known = {"level": tree.level_names[at.level], "classes": tree.sizes[at.level]}
    return known | {metric.name: metric.of(at) for metric in PER_LEVEL}


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
    model: Model, dataset: HierarchicalDataset, seed: int
) -> tuple[Float[Tensor, "items dim"], Float[Tensor, "items dim"]] | None:
    """Returns the features of two random views of every item, drawn as in the model's training.

    Args:
        model: a run, a pretrained model, or an encoder.
        dataset: the items.
        seed: seed of the views.

    Returns:
        Both features of every item, on the CPU; None for an encoder, which has no training that is known.

    Example:
        >>> first, second = two_views(run, test, seed=0)
        >>> len(first) == len(second) == len(test)
        True
    """
    if isinstance(model, Encoder):
        return None
    modality, first, second = modality_of(model.encoder), [], []
    known = cast(Run | Pretrained, model)
    if isinstance(known, Run):
        settings, input = known.recipe.views, known.recipe.input
    else:
        settings, input = modality.view_config.from_json(known.card["views"]), known.card["encoder"]
    views = modality.views(settings, input)
    with ready(model.encoder) as (encoder, device):
        feed, random = Feed(dataset, device), generator(device, seed, 0, "views")
        with torch.autocast(device.type, torch.bfloat16, enabled=half_precision_is_native(device)):
            for items in feed.batches(feed.chunks()):
                for features in (first, second):
                    features.append(encoder(views(items, random)).float().cpu())
    return torch.cat(first), torch.cat(second)


def _check_arguments(model, test, label_fractions, draws: int, fine_tune, knn_k: int) -> None:
    """Raises ValueError for wrong arguments of :func:`evaluate`, before anything long begins."""
    if not isinstance(model, Encoder | HasEncoder):
        found = f"a {type(model).__name__} has no encoder"
        raise ValueError(f"{found}: give a run (hiercl.fit, hiercl.load_run), a hiercl.pretrained model or an encoder.")
    if not isinstance(fine_tune, FineTuneConfig):
        raise ValueError(f"fine_tune={fine_tune!r}: give a hiercl.FineTuneConfig(...).")
    if len(test) < 2:
        raise ValueError(f"{test.name!r} has {len(test)} item: at least two are needed to evaluate.")
    if knn_k < 1:
        raise ValueError(f"knn_k={knn_k}: it must be at least 1.")
    if not isinstance(label_fractions, Sequence) or len(label_fractions):
        check_fractions(label_fractions, draws)
