"""What frozen features predict: the numbers that several metrics share, each computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.hierarchy import Hierarchy
from hiercl.metrics.clusters import ClusterScores, cluster_scores
from hiercl.metrics.mistakes import (
    HierarchicalScores,
    PathNodes,
    flat,
    lca_height,
    path_nodes,
    rare_classes,
    recalls,
    stop_where_unsure,
    top_down,
)
from hiercl.metrics.paired import PerItem
from hiercl.metrics.probes import LinearProbe, nearest_in_bank, vote
from hiercl.metrics.retrieval import Retrieved, heights_to, retrieve
from hiercl.runtime.arrays import blocks
from hiercl.runtime.types import Bool, Float, Int


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
        seed: seed of the probe's split, of k-means and of the sample.
        sample: number of test items that are compared with all others, where all pairs would be; None: all of them.
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
    sample: int | None = None

    def at(self, level: int) -> LevelFindings:
        """Returns the findings at one level of the hierarchy."""
        return LevelFindings(self, level)

    @cached_property
    def truth(self) -> Int[np.ndarray, "test levels"]:
        """True class of every test item at every level."""
        return flat(self.labels, self.hierarchy)

    @cached_property
    def predicted(self) -> dict[str, Int[np.ndarray, "test levels"]]:
        """What a linear probe of each level predicts for the test items, in three ways: see the properties below.

        Class probabilities are computed for some items at a time.
        """
        probes = []
        for level, classes in enumerate(self.hierarchy.sizes):
            labels = torch.as_tensor(self.hierarchy.labels_at(self.bank_labels, level))
            probes.append(LinearProbe.fit(self.bank, labels, seed=self.seed, classes=classes))
        shape = (len(self.queries), self.hierarchy.levels)
        found = {way: np.empty(shape, dtype=np.int64) for way in ("linear", "top_down", "sure")}
        for rows in blocks(len(self.queries), sum(self.hierarchy.sizes)):
            tables = [F.softmax(probe.scores(self.queries[rows]), dim=1).cpu() for probe in probes]
            found["linear"][rows] = np.stack([table.argmax(dim=1).numpy() for table in tables], axis=1)
            found["top_down"][rows] = top_down(tables, self.hierarchy)
            found["sure"][rows] = stop_where_unsure(found["top_down"][rows], tables)
        return found

    @property
    def linear(self) -> Int[np.ndarray, "test levels"]:
        """Predictions of the linear probe of each level."""
        return self.predicted["linear"]

    @cached_property
    def flat(self) -> Int[np.ndarray, "test levels"]:
        """Predictions of the leaf probe, and their ancestors."""
        return flat(self.linear[:, -1], self.hierarchy)

    @property
    def top_down(self) -> Int[np.ndarray, "test levels"]:
        """Predictions from the root down: at each level the best child of the node above."""
        return self.predicted["top_down"]

    @property
    def sure(self) -> Int[np.ndarray, "test levels"]:
        """The top-down predictions down to the first node with a probability below 0.5; −1 from there on."""
        return self.predicted["sure"]

    @cached_property
    def in_bank(self) -> tuple[Float[Tensor, "test k"], Int[Tensor, "test k"]]:
        """Similarity and position of the nearest training items of every test item."""
        return nearest_in_bank(self.bank, self.queries, self.knn_k)

    @cached_property
    def retrieved(self) -> Retrieved:
        """Nearest other test items of the test items, and MAP@R at every level."""
        return retrieve(self.queries, self.truth, min(self.knn_k, len(self.queries) - 1), self.sample, self.seed)


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
        return vote(*whole.in_bank, labels, whole.knn_temperature).cpu().numpy()

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
    def nodes(self) -> PathNodes:
        """Nodes of the paths of every test item down to this level: shared, predicted and true ones."""
        down_to_here = slice(self.level + 1)
        return path_nodes(self.whole.sure[:, down_to_here], self.whole.truth[:, down_to_here], self.whole.hierarchy)

    @property
    def hierarchical(self) -> HierarchicalScores:
        """Precision, recall and F1 of the path down to this level."""
        return self.nodes.scores

    @cached_property
    def clusters(self) -> ClusterScores:
        """Agreement of k-means clusters with the classes; NaN if no class has two items."""
        if np.bincount(self.truth).max() == 1:  # every item would be a cluster of its own: right, but no finding
            return ClusterScores(math.nan, math.nan, math.nan)
        return cluster_scores(self.whole.queries, self.truth, self.whole.seed)

    # ---- the same for every test item: what two models are compared by ----

    @cached_property
    def linear_is_right(self) -> Bool[np.ndarray, " test"]:
        """Whether the linear probe is right."""
        return self.linear == self.truth

    @cached_property
    def knn_is_right(self) -> Bool[np.ndarray, " test"]:
        """Whether the vote is right."""
        return self.knn == self.truth

    @property
    def parents_agree(self) -> Bool[np.ndarray, " test"]:
        """Whether the linear prediction one level above is the parent of that here."""
        return self.whole.hierarchy.parent(self.level)[self.linear] == self.whole.linear[:, self.level - 1]

    @cached_property
    def class_weights(self) -> Float[np.ndarray, " test"]:
        """Weights of the items that make all classes count the same."""
        return 1 / np.bincount(self.truth)[self.truth]

    @cached_property
    def rare_weights(self) -> Float[np.ndarray, " test"]:
        """The same for the third of the classes with the fewest training items; 0 for the items of the others."""
        return self.class_weights * rare_classes(self.train_counts)[self.truth]

    @property
    def mistake_heights(self) -> PerItem:
        """Height of the lowest common ancestor of a wrong linear prediction and the truth."""
        height = lca_height(self.linear, self.truth, self.whole.hierarchy, self.level)
        return PerItem(height, height > 0)

    @property
    def precisions(self) -> PerItem:
        """Average precision at R."""
        return self._of_searched(self.whole.retrieved.precisions[self.level].numpy())

    @property
    def distances(self) -> PerItem:
        """Mean height of the lowest common ancestor of an item and each of its nearest test items."""
        near, items = self.whole.retrieved.nearest.cpu().numpy(), self.whole.retrieved.items.cpu().numpy()
        heights = heights_to(near, self.truth[items], self.truth, self.whole.hierarchy, self.level)
        return self._of_searched(heights / near.shape[1])

    def _of_searched(self, values: Float[np.ndarray, " searched"]) -> PerItem:
        """Values of the items whose neighbours were searched. Items without a value, and other items, do not count."""
        items, known = self.whole.retrieved.items.cpu().numpy(), ~np.isnan(values)
        every, weights = np.zeros(len(self.truth)), np.zeros(len(self.truth), dtype=bool)
        every[items], weights[items] = np.nan_to_num(values), known
        return PerItem(every, None if weights.all() else weights)
