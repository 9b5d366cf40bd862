"""Clusters of embeddings against true classes."""

from typing import Annotated, NamedTuple

import numpy as np

from hiercl.clustering import kmeans
from hiercl.metrics.geometry import check_features, check_labels
from hiercl.metrics.mistakes import check_same_items
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, check_labelled, unit_rows
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float, Int


class ClusterScores(NamedTuple):
    """Three measures of the agreement of clusters with classes. 1 is perfect for all three.

    Attributes:
        ami: adjusted mutual information, at most 1. Random clusters have 0 on average.
        nmi: normalised mutual information, in [0, 1]. For random clusters it grows with the number of clusters: use it
            to compare with published numbers, and the AMI to compare levels.
        ari: adjusted Rand index, in [−0.5, 1]. Random clusters have 0 on average.
    """

    ami: float
    nmi: float
    ari: float


def score_clusters(assignment: Int[Array, " n"], labels: Int[Array, " n"]) -> ClusterScores:
    r"""Compares given clusters with given classes. The numbers of the clusters and of the classes do not matter.

    $$\text{NMI}=\frac{I}{\frac12(H(U)+H(V))},\qquad\text{AMI}=\frac{I-E[I]}{\frac12(H(U)+H(V))-E[I]},\qquad
      \text{ARI}=\frac{RI-E[RI]}{1-E[RI]}$$

    with the mutual information $I(U;V)=\sum_{uv}p_{uv}\log\frac{p_{uv}}{p_u\,p_v}$ of clusters U and classes V, their
    entropies H, and E[·] the mean over all clusterings that have the same cluster sizes and class sizes. RI is the
    share of the pairs of items that are together in both or apart in both. Sources: Vinh, Epps & Bailey 2010 (AMI, with
    the arithmetic mean), Hubert & Arabie 1985 (ARI). scikit-learn computes all three.

    Args:
        assignment: cluster of every item.
        labels: class of every item, at one level.

    Returns:
        The three scores. They are 1 if there is one cluster and one class, and if every item is a cluster and a class
        of its own.

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> score_clusters(np.array([7, 7, 3, 3]), np.array([0, 0, 1, 1]))
        ClusterScores(ami=1.0, nmi=1.0, ari=1.0)
    """
    from sklearn import metrics  # imported here, so that `import hiercl` stays fast

    assignment, labels = check_same_items(assignment, labels, second="iubU")
    if labels.dtype.kind in "iu":
        check_labelled(labels)
    return ClusterScores(
        ami=float(metrics.adjusted_mutual_info_score(labels, assignment)),
        nmi=float(metrics.normalized_mutual_info_score(labels, assignment)),
        ari=float(metrics.adjusted_rand_score(labels, assignment)),
    )


@checked
def cluster_scores(
    features: Float[Array, "n dim"], labels: Int[Array, " n"], seed: Annotated[int, AtLeast(0)] = 0
) -> ClusterScores:
    """Clusters unit embeddings by k-means, and compares the clusters with the classes (:func:`score_clusters`).

    There are as many clusters as classes. k-means (:func:`~hiercl.clustering.kmeans`) starts 3 times, with at most 50
    iterations each, and the start with the smallest inertia counts.

    Args:
        features: embeddings, an array or a tensor on any device.
        labels: class of every item, at one level.
        seed: seed of k-means.

    Returns:
        The three scores.

    Raises:
        ValueError: no item, labels that are not one integer for each item, an embedding that is not finite.

    Example:
        >>> cluster_scores(torch.eye(3).repeat(4, 1), np.tile([0, 1, 2], 4)).ami
        1.0
    """
    features, labels = check_features(features), check_labels(features, labels)
    clusters = kmeans(unit_rows(features), len(np.unique(labels)), seed, iterations=50, restarts=3)
    return score_clusters(clusters.assignment.cpu().numpy(), labels)
