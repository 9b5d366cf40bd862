"""Every number of a report in one line: what it is, its unit, which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A column of :meth:`hiercl.Report.table`, or an entry of ``report.overall``.

    Attributes:
        name: as it stands in the report.
        unit: ``%``, ``levels`` (of the tree), or empty for a plain number.
        better: ``higher``, ``lower``, or empty where neither is better in itself.
        definition: one line.
    """

    name: str
    unit: str
    better: str
    definition: str


# fmt: off
PER_LEVEL = (
    Metric("linear", "%", "higher",
           "accuracy of a linear probe of this level on frozen features"),
    Metric("linear_balanced", "%", "higher",
           "mean recall over classes of that probe: rare classes count as much as frequent ones"),
    Metric("knn", "%", "higher",
           "accuracy of the weighted vote of the k nearest training items (cosine)"),
    Metric("knn_balanced", "%", "higher",
           "mean recall over classes of that vote"),
    Metric("linear_rare", "%", "higher",
           "mean recall, by that probe, of the third of the classes with the fewest training items"),
    Metric("knn_rare", "%", "higher",
           "mean recall of those classes by that vote"),
    Metric("flat", "%", "higher",
           "accuracy of the leaf probe's prediction, read at this level"),
    Metric("top_down", "%", "higher",
           "accuracy when each level's probe chooses among the children of the level above's choice"),
    Metric("parent_agreement", "%", "higher",
           "items whose linear prediction one level up is the parent of the one here"),
    Metric("hierarchical_precision", "%", "higher",
           "right nodes among all predicted down to here, by descents that stop where the probe gives its choice less "
           "than a half"),
    Metric("hierarchical_recall", "%", "higher",
           "right nodes of those descents among all true nodes down to here"),
    Metric("hierarchical_f1", "%", "higher",
           "harmonic mean of the two"),
    Metric("mistake_height", "levels", "lower",
           "mean climb from a wrong linear prediction to its lowest common ancestor with the truth; read it beside the "
           "accuracy"),
    Metric("map_at_r", "%", "higher",
           "mean average precision among the R nearest test items, R the number of others of the class"),
    Metric("hierarchical_distance", "levels", "lower",
           "mean climb to the lowest common ancestor with each of the k nearest test items"),
    Metric("ami", "%", "higher",
           "adjusted mutual information of classes and as many k-means clusters; 0: chance"),
    Metric("nmi", "%", "higher",
           "normalised mutual information of the same clusters; grows with the number of classes alone"),
    Metric("ari", "%", "higher",
           "adjusted Rand index of the same clusters; 0: chance"),
    Metric("class_alignment", "", "lower",
           "mean squared distance of two unit features of one class, 0 to 4"),
    Metric("variance_between", "%", "higher",
           "share of the unit features' variance that lies between class means"),
    Metric("distance_correlation", "", "higher",
           "Spearman correlation of tree distance (down to here) and feature distance, over pairs of test items"),
    Metric("cophenetic_correlation", "", "higher",
           "correlation of the average-linkage dendrogram of class centroids with the true tree"),
    Metric("dendrogram_purity", "%", "higher",
           "purity, in true parents, of the smallest branches of that dendrogram that join two siblings; chance is "
           "well above 0"),
)
OVERALL = (
    Metric("alignment", "", "lower",
           "mean squared distance of the unit features of an item's two views, drawn as in training"),
    Metric("uniformity", "", "lower",
           "log of the mean of exp(−2 squared distance) over pairs of unit features; 0: all in one point"),
    Metric("effective_rank", "", "",
           "exponential of the entropy of the unit features' normalised singular values"),
    Metric("total_variance", "", "",
           "1 − squared length of the mean unit feature; 0: all in one point"),
    Metric("outside_pc1", "%", "",
           "share of the variance outside the first principal component"),
    Metric("outside_pc2", "%", "",
           "share of the variance outside the first two"),
)
# fmt: on


def decimals(metric: str) -> int:
    """How many decimals of a metric are worth showing: two of per cents, three else. Those that are not defined as a
    whole, as recalls under a class, are shares.

    Example:
        >>> decimals("linear"), decimals("mistake_height")
        (2, 3)
    """
    return 2 if next((own.unit for own in (*PER_LEVEL, *OVERALL) if own.name == metric), "%") == "%" else 3


def definitions() -> pd.DataFrame:
    """All metrics of a report: unit, which way is better, definition.

    Example:
        >>> print(hiercl.metrics.definitions().loc["map_at_r", "definition"])
    """
    import pandas as pd

    metrics = [*PER_LEVEL, *OVERALL]
    return pd.DataFrame(
        {
            "of": ["level"] * len(PER_LEVEL) + ["embedding"] * len(OVERALL),
            "unit": [metric.unit for metric in metrics],
            "better": [metric.better for metric in metrics],
            "definition": [metric.definition for metric in metrics],
        },
        index=pd.Index([metric.name for metric in metrics], name="metric"),
    )
