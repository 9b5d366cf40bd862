"""Clusters of features against true classes."""

from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering import kmeans
from hiercl.runtime.types import Float, Int


class ClusterScores(NamedTuple):
    """How well clusters agree with classes; 1 is perfect for all three.

    Attributes:
        ami: adjusted mutual information, 0 on average for random clusters, at most 1.
        nmi: normalised mutual information, in [0, 1]. Random clusters get more the more and the smaller they are: use
            it to compare with numbers of others, and the AMI to compare levels.
        ari: adjusted Rand index, 0 on average for random clusters, in [−0.5, 1].
    """

    ami: float
    nmi: float
    ari: float


def score_clusters(assignment: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> ClusterScores:
    r"""Agreement of given clusters with given classes; the names of both do not matter.

    With the mutual information $I(U;V)=\sum_{uv}p_{uv}\log\frac{p_{uv}}{p_u\,p_v}$, the entropies H(U) and H(V), and
    E[·] the mean over all clusterings with the same cluster and class sizes:

    $$\text{NMI}=\frac{I}{\frac12(H(U)+H(V))},\qquad\text{AMI}=\frac{I-E[I]}{\frac12(H(U)+H(V))-E[I]},\qquad
      \text{ARI}=\frac{RI-E[RI]}{1-E[RI]}$$

    where RI is the share of pairs of items on which clusters and classes agree: together in both or apart in both
    (AMI: Vinh, Epps & Bailey, 2010, with the arithmetic mean; ARI: Hubert & Arabie, 1985). scikit-learn computes all
    three. Where all is one cluster and one class, or every item is a cluster and a class of its own, they are 1.

    Args:
        assignment: cluster of every item.
        labels: class of every item, at any one level.

    Raises:
        ValueError: no item, or two different numbers of items.

    Example:
        >>> score_clusters(np.array([7, 7, 3, 3]), np.array([0, 0, 1, 1]))
        ClusterScores(ami=1.0, nmi=1.0, ari=1.0)
    """
    from sklearn.metrics import (  # here, so that importing hiercl stays light
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    if assignment.ndim != 1 or assignment.shape != labels.shape or len(labels) == 0:
        raise ValueError(
            f"assignment {assignment.shape} and labels {labels.shape}: both must be [n], with at least one item."
        )
    return ClusterScores(
        ami=float(adjusted_mutual_info_score(labels, assignment)),
        nmi=float(normalized_mutual_info_score(labels, assignment)),
        ari=float(adjusted_rand_score(labels, assignment)),
    )


def cluster_scores(features: Float[Tensor, "n dim"], labels: Int[np.ndarray, " n"], seed: int = 0) -> ClusterScores:
    """Agreement (:func:`score_clusters`) of classes with as many k-means clusters of unit features as classes occur.

    The clusters see no label but the number of classes. Of 3 starts of :func:`~hiercl.clustering.kmeans`, with at most
    50 iterations each, the one with the smallest inertia counts.

    Args:
        features: float32, on any device.
        labels: class of every item, at any one level.
        seed: of k-means.

    Raises:
        ValueError: no item, a number of labels other than n, a feature that is not finite.

    Example:
        >>> import torch
        >>> cluster_scores(torch.eye(3).repeat(4, 1), np.tile([0, 1, 2], 4)).ami
        1.0
    """
    if labels.shape != (len(features),) or len(labels) == 0:
        raise ValueError(f"features {tuple(features.shape)} and labels {labels.shape}: give one label to each feature.")
    clusters = kmeans(F.normalize(features, dim=1), len(np.unique(labels)), seed, iterations=50, restarts=3)
    return score_clusters(clusters.assignment.cpu().numpy(), labels)
