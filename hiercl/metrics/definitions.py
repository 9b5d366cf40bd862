"""All metrics of a report: each with its name, unit, better direction, definition and function.

To add a metric, add it to ``PER_LEVEL`` or ``OVERALL``. :func:`hiercl.evaluate`, the table of a report, and
``hiercl.metrics.definitions()`` go over these two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from hiercl.metrics.dendrograms import (
    cophenetic_correlation,
    dendrogram_purity,
    distance_correlation,
    nearest_siblings,
)
from hiercl.metrics.geometry import (
    alignment,
    class_alignment,
    effective_rank,
    total_variance,
    uniformity,
    variance_between,
    variance_outside,
)
from hiercl.metrics.mistakes import accuracy, balanced_accuracy, mistake_height, parent_agreement, rare_recall
from hiercl.metrics.paired import PerItem
from hiercl.metrics.retrieval import hierarchical_distance_at_k
from hiercl.runtime.arrays import unit_rows


@dataclass(frozen=True)
class Metric:
    """A column of :meth:`hiercl.Report.table`, or an entry of ``report.overall``.

    Attributes:
        name: its name in the report.
        unit: ``%``, ``levels`` (of the tree), or empty for a plain number.
        better: ``higher``, ``lower``, or empty if neither is better.
        compute: function of :class:`~hiercl.metrics.findings.LevelFindings` (a metric of a level) or of
            :class:`~hiercl.metrics.findings.Findings` (a metric of the embedding). A per cent is computed as a share.
        definition: one line.
        items: function of the same findings, for a metric that is a weighted mean over the test items: what every item
            adds to it. Two models can then be compared item by item (:meth:`hiercl.Report.compare`).
    """

    name: str
    unit: Literal["%", "levels", ""]
    better: Literal["higher", "lower", ""]
    compute: Callable[[Any], float]
    definition: str
    items: Callable[[Any], PerItem] | None = None

    def of(self, findings: Any) -> float:
        """Returns the metric of these findings, in its unit."""
        return self.scale * self.compute(findings)

    @property
    def scale(self) -> int:
        """What a computed number is multiplied with: 100 for a per cent."""
        return 100 if self.unit == "%" else 1


def _of_directions(metric: Callable[..., float], *arguments: Any, **settings: Any) -> float:
    """Returns a metric that needs the direction of every feature; NaN if a feature has length zero."""
    if any(bool((value.norm(dim=1) == 0).any()) for value in arguments if isinstance(value, Tensor)):
        return math.nan
    return metric(*arguments, **settings)


def _of_tree(metric: Callable[..., float], at: Any, *arguments: Any, **settings: Any) -> float:
    """Returns a metric of the features of the test items and of the label tree, cut at a level."""
    found = at.whole
    return _of_directions(metric, found.queries, found.labels, found.hierarchy, at.level, *arguments, **settings)


# fmt: off
PER_LEVEL = (
    Metric("linear", "%", "higher", lambda at: accuracy(at.linear, at.truth),
           "accuracy of a linear probe of this level on frozen features",
           lambda at: PerItem(at.linear_is_right)),
    Metric("linear_balanced", "%", "higher", lambda at: balanced_accuracy(at.linear, at.truth),
           "mean recall of the classes by that probe: a rare class counts as much as a frequent one",
           lambda at: PerItem(at.linear_is_right, at.class_weights)),
    Metric("knn", "%", "higher", lambda at: accuracy(at.knn, at.truth),
           "accuracy of the weighted vote of the k nearest training items (cosine)",
           lambda at: PerItem(at.knn_is_right)),
    Metric("knn_balanced", "%", "higher", lambda at: balanced_accuracy(at.knn, at.truth),
           "mean recall of the classes by that vote",
           lambda at: PerItem(at.knn_is_right, at.class_weights)),
    Metric("linear_rare", "%", "higher", lambda at: rare_recall(at.linear_recall, at.train_counts),
           "mean recall, by that probe, of the third of the classes with the fewest training items",
           lambda at: PerItem(at.linear_is_right, at.rare_weights)),
    Metric("knn_rare", "%", "higher", lambda at: rare_recall(at.knn_recall, at.train_counts),
           "mean recall of these classes by that vote",
           lambda at: PerItem(at.knn_is_right, at.rare_weights)),
    Metric("flat", "%", "higher", lambda at: accuracy(at.whole.flat[:, at.level], at.truth),
           "accuracy of the leaf probe: its predicted leaf is replaced by its ancestor at this level",
           lambda at: PerItem(at.whole.flat[:, at.level] == at.truth)),
    Metric("top_down", "%", "higher", lambda at: accuracy(at.whole.top_down[:, at.level], at.truth),
           "accuracy if each level's probe chooses among the children of the class chosen one level above",
           lambda at: PerItem(at.whole.top_down[:, at.level] == at.truth)),
    Metric("parent_agreement", "%", "higher",
           lambda at: parent_agreement(at.whole.linear[:, at.level - 1], at.linear, at.whole.hierarchy, at.level)
           if at.level else math.nan,
           "share of items whose linear prediction one level above is the parent of the prediction here",
           lambda at: PerItem(at.parents_agree)),
    Metric("hierarchical_precision", "%", "higher", lambda at: at.hierarchical.precision,
           "share of the predicted nodes, down to this level, that are right; top-down predictions stop where the "
           "probability of the node is below 0.5",
           lambda at: PerItem(at.nodes.shared / np.maximum(at.nodes.predicted, 1), at.nodes.predicted)),
    Metric("hierarchical_recall", "%", "higher", lambda at: at.hierarchical.recall,
           "share of the true nodes, down to this level, that these predictions find",
           lambda at: PerItem(at.nodes.shared / np.maximum(at.nodes.true, 1), at.nodes.true)),
    Metric("hierarchical_f1", "%", "higher", lambda at: at.hierarchical.f1,
           "harmonic mean of the two",
           lambda at: PerItem(2 * at.nodes.shared / (at.nodes.predicted + at.nodes.true),
                              at.nodes.predicted + at.nodes.true)),
    Metric("mistake_height", "levels", "lower",
           lambda at: mistake_height(at.linear, at.truth, at.whole.hierarchy, at.level),
           "mean height of the lowest common ancestor of a wrong linear prediction and the truth; read it beside the "
           "accuracy",
           lambda at: at.mistake_heights),
    Metric("map_at_r", "%", "higher", lambda at: at.whole.retrieved.map_at_r[at.level],
           "mean average precision among the R nearest test items, where R other items share the class",
           lambda at: at.precisions),
    Metric("hierarchical_distance", "levels", "lower", lambda at: hierarchical_distance_at_k(
               at.whole.retrieved.nearest, at.truth, at.whole.hierarchy, at.level,
               at.whole.retrieved.nearest.shape[1], at.whole.retrieved.items),
           "mean height of the lowest common ancestor of an item and each of its k nearest test items",
           lambda at: at.distances),
    Metric("ami", "%", "higher", lambda at: at.clusters.ami,
           "adjusted mutual information of the classes and as many k-means clusters; 0: chance"),
    Metric("nmi", "%", "higher", lambda at: at.clusters.nmi,
           "normalised mutual information of the same clusters; it grows with the number of classes"),
    Metric("ari", "%", "higher", lambda at: at.clusters.ari,
           "adjusted Rand index of the same clusters; 0: chance"),
    Metric("class_alignment", "", "lower", lambda at: _of_directions(class_alignment, at.whole.queries, at.truth),
           "mean squared distance of two unit features of one class, 0 to 4"),
    Metric("variance_between", "%", "higher", lambda at: _of_directions(variance_between, at.whole.queries, at.truth),
           "share of the variance of the unit features that lies between class means"),
    Metric("distance_correlation", "", "higher", lambda at: _of_tree(distance_correlation, at, seed=at.whole.seed),
           "Spearman correlation of tree distance (down to this level) and feature distance, over pairs of test items"),
    Metric("cophenetic_correlation", "", "higher", lambda at: _of_tree(cophenetic_correlation, at),
           "correlation of the average-linkage dendrogram of the class centroids with the true tree"),
    Metric("dendrogram_purity", "%", "higher",
           lambda at: _of_tree(dendrogram_purity, at, at.level - 1) if at.level else math.nan,
           "purity, in true parents, of the smallest branches of that dendrogram that join two siblings; chance is "
           "well above 0"),
    Metric("siblings", "%", "higher", lambda at: _of_tree(nearest_siblings, at) if at.level else math.nan,
           "share of the classes whose nearest other class, by centroids, has the same parent"),
)
OVERALL = (
    Metric("alignment", "", "lower", lambda found: _of_directions(alignment, *found.views) if found.views else math.nan,
           "mean squared distance of the unit features of two views of an item, drawn as in training"),
    Metric("uniformity", "", "lower", lambda found: _of_directions(
               uniformity, found.queries, sample=found.sample, seed=found.seed),
           "log of the mean of exp(−2 squared distance) over pairs of unit features; 0: all in one point"),
    Metric("effective_rank", "", "", lambda found: _of_directions(effective_rank, unit_rows(found.queries)),
           "exponential of the entropy of the normalised singular values of the unit features"),
    Metric("total_variance", "", "", lambda found: _of_directions(total_variance, found.queries),
           "1 − squared length of the mean unit feature; 0: all in one point"),
    Metric("outside_pc1", "%", "", lambda found: _of_directions(variance_outside, found.queries, 1),
           "share of the variance outside the first principal component"),
    Metric("outside_pc2", "%", "", lambda found: _of_directions(variance_outside, found.queries, 2),
           "share of the variance outside the first two principal components"),
)
# fmt: on


def decimals(metric: str) -> int:
    """Returns how many decimals of a metric to show: two of per cents, three of other numbers.

    Args:
        metric: name of a metric. An unknown name, such as the recall under a class, is a per cent.

    Example:
        >>> decimals("linear"), decimals("mistake_height")
        (2, 3)
    """
    return 2 if next((own.unit for own in (*PER_LEVEL, *OVERALL) if own.name == metric), "%") == "%" else 3


def definitions() -> pd.DataFrame:
    """Returns all metrics of a report with their unit, better direction and definition.

    Returns:
        One row for each metric, with the columns ``of`` ("level" or "embedding"), ``unit``, ``better``, ``definition``.

    Example:
        >>> hiercl.metrics.definitions().loc["ari", "definition"]
        'adjusted Rand index of the same clusters; 0: chance'
    """
    rows = [
        {"metric": metric.name, "of": of, "unit": metric.unit, "better": metric.better, "definition": metric.definition}
        for of, metrics in (("level", PER_LEVEL), ("embedding", OVERALL))
        for metric in metrics
    ]
    return pd.DataFrame(rows).set_index("metric")
