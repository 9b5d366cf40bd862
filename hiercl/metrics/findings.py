"""What frozen features predict: the numbers that several metrics share, each computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering import nearest_neighbours
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.clusters import ClusterScores, cluster_scores
from hiercl.metrics.mistakes import (
    HierarchicalScores,
    flat,
    hierarchical_precision_recall_f1,
    recalls,
    stop_where_unsure,
    top_down,
)
from hiercl.metrics.probes import LinearProbe, knn_predict
from hiercl.runtime.types import Float, Int


@dataclass(frozen=True, eq=False)
class Findings:
    """Features of training and test items, and what probes and neighbours find in them.

    Attributes:
        bank: features of the training items.
        bank_labels: leaf id of every training item.
        queries: features of the test items.
        labels: leaf id of every test item.
        hierarchy: tree of the labels.
        views: features of two random views of every test item; None for an encoder without a training.
        knn_k: number of neighbours that vote.
        knn_temperature: temperature of their weights.
        seed: seed of the probe's split and of k-means.
    """

    bank: Float[Tensor, "train dim"]
    bank_labels: Int[np.ndarray, " train"]
    queries: Float[Tensor, "test dim"]
    labels: Int[np.ndarray, " test"]
    hierarchy: Hierarchy
    views: tuple[Float[Tensor, "test dim"], Float[Tensor, "test dim"]] | None = None
    knn_k: int = 20
    knn_temperature: float = 0.07
    seed: int = 0

    def at(self, level: int) -> LevelFindings:
        """Returns the findings at one level of the hierarchy."""
        return LevelFindings(self, level)

    @cached_property
    def truth(self) -> Int[np.ndarray, "test levels"]:
        """True class of every test item at every level."""
        return flat(self.labels, self.hierarchy)

    @cached_property
    def probabilities(self) -> list[Float[Tensor, "test classes"]]:
        """Class probabilities of the test items by a linear probe, for each level."""
        found = []
        for level, classes in enumerate(self.hierarchy.sizes):
            labels = torch.as_tensor(self.hierarchy.labels_at(self.bank_labels, level))
            probe = LinearProbe.fit(self.bank, labels, seed=self.seed, classes=classes)
            found.append(F.softmax(probe.scores(self.queries), dim=1))
        return found

    @cached_property
    def linear(self) -> Int[np.ndarray, "test levels"]:
        """Predictions of the linear probe of each level."""
        return np.stack([table.argmax(dim=1).numpy() for table in self.probabilities], axis=1)

    @cached_property
    def flat(self) -> Int[np.ndarray, "test levels"]:
        """Predictions of the leaf probe, and their ancestors."""
        return flat(self.linear[:, -1], self.hierarchy)

    @cached_property
    def top_down(self) -> Int[np.ndarray, "test levels"]:
        """Predictions from the root down: at each level the best child of the node above."""
        return top_down(self.probabilities, self.hierarchy)

    @cached_property
    def sure(self) -> Int[np.ndarray, "test levels"]:
        """The top-down predictions down to the first node with a probability below 0.5; −1 from there on."""
        return stop_where_unsure(self.top_down, self.probabilities)

    @cached_property
    def neighbours(self) -> Int[Tensor, "test columns"]:
        """Nearest other test items of every test item: enough for the largest class and for ``knn_k``."""
        largest = int(self.hierarchy.counts(self.labels, 0).max()) - 1
        return nearest_neighbours(self.queries, min(max(largest, self.knn_k), len(self.queries) - 1))


@dataclass(frozen=True, eq=False)
class LevelFindings:
    """Findings at one level of the hierarchy.

    Attributes:
        whole: findings at all levels.
        level: the level; 0 is the coarsest.
    """

    whole: Findings
    level: int

    @property
    def truth(self) -> Int[np.ndarray, " test"]:
        """True class of every test item."""
        return self.whole.truth[:, self.level]

    @property
    def linear(self) -> Int[np.ndarray, " test"]:
        """Predictions of the linear probe."""
        return self.whole.linear[:, self.level]

    @cached_property
    def knn(self) -> Int[np.ndarray, " test"]:
        """Predictions of the vote of the nearest training items."""
        whole = self.whole
        labels = torch.as_tensor(whole.hierarchy.labels_at(whole.bank_labels, self.level))
        return knn_predict(whole.bank, labels, whole.queries, whole.knn_k, whole.knn_temperature).numpy()

    @cached_property
    def linear_recall(self) -> Float[np.ndarray, " classes"]:
        """Recall of every class by the linear probe."""
        return recalls(self.linear, self.truth, self.whole.hierarchy.sizes[self.level])

    @cached_property
    def knn_recall(self) -> Float[np.ndarray, " classes"]:
        """Recall of every class by the vote."""
        return recalls(self.knn, self.truth, self.whole.hierarchy.sizes[self.level])

    @cached_property
    def train_counts(self) -> Int[np.ndarray, " classes"]:
        """Number of training items of every class."""
        return self.whole.hierarchy.counts(self.whole.bank_labels, self.level)

    @cached_property
    def hierarchical(self) -> HierarchicalScores:
        """Precision, recall and F1 of the path down to this level."""
        down_to_here = slice(self.level + 1)
        return hierarchical_precision_recall_f1(self.whole.sure[:, down_to_here], self.whole.truth[:, down_to_here])

    @cached_property
    def clusters(self) -> ClusterScores:
        """Agreement of k-means clusters with the classes; NaN if no class has two items."""
        if np.bincount(self.truth).max() == 1:  # every item would be a cluster of its own: right, but no finding
            return ClusterScores(math.nan, math.nan, math.nan)
        return cluster_scores(self.whole.queries, self.truth, self.whole.seed)
