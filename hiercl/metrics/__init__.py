"""Metrics of features, labels and predictions. :func:`hiercl.evaluate` computes them at every level."""

from hiercl.metrics.clusters import ClusterScores, cluster_scores, score_clusters
from hiercl.metrics.definitions import definitions
from hiercl.metrics.dendrograms import cophenetic_correlation, dendrogram_purity, distance_correlation, nearest_siblings
from hiercl.metrics.geometry import (
    alignment,
    class_alignment,
    effective_rank,
    total_variance,
    uniformity,
    variance_between,
    variance_outside,
)
from hiercl.metrics.mistakes import (
    accuracy,
    balanced_accuracy,
    flat,
    hierarchical_precision_recall_f1,
    mistake_height,
    parent_agreement,
    recalls,
    stop_where_unsure,
    top_down,
)
from hiercl.metrics.paired import Paired, mcnemar, paired_bootstrap
from hiercl.metrics.probes import LinearProbe, knn_predict
from hiercl.metrics.retrieval import hierarchical_distance_at_k, map_at_r, retrieve
from hiercl.metrics.tree_agreement import respected_edges, tree_agreement

__all__ = [
    "ClusterScores",
    "LinearProbe",
    "Paired",
    "accuracy",
    "alignment",
    "balanced_accuracy",
    "class_alignment",
    "cluster_scores",
    "cophenetic_correlation",
    "definitions",
    "dendrogram_purity",
    "distance_correlation",
    "effective_rank",
    "flat",
    "hierarchical_distance_at_k",
    "hierarchical_precision_recall_f1",
    "knn_predict",
    "map_at_r",
    "mcnemar",
    "mistake_height",
    "nearest_siblings",
    "paired_bootstrap",
    "parent_agreement",
    "recalls",
    "respected_edges",
    "retrieve",
    "score_clusters",
    "stop_where_unsure",
    "top_down",
    "total_variance",
    "tree_agreement",
    "uniformity",
    "variance_between",
    "variance_outside",
]
