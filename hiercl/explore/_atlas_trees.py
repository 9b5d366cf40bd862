"""The two trees of an atlas: what the learned one is, both with their nodes in order, and the flow between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from torch import Tensor

from hiercl import methods
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.encoders.zoo import Pretrained
from hiercl.explore._widgets import plain
from hiercl.metrics.dendrograms import class_tree
from hiercl.plot._colours import OKABE_ITO, node_colours
from hiercl.plot._dendrogram import by_mean_place
from hiercl.plot._tree import check_tree, contingency, matching_level
from hiercl.training import Run

ROUNDS = 4  # in which the two trees are turned towards each other


@dataclass(frozen=True)
class Learned:
    """A tree of all items, where it comes from in words, and the features that it was made of, if all are known."""

    tree: PrototypeTree
    words: str
    features: Tensor | None = None


def learn(run: Any, dataset: HierarchicalDataset, prototypes: Sequence[int] | None, seed: int) -> Learned:
    """Returns the tree of whatever is given."""
    if isinstance(run, PrototypeTree):
        if prototypes is not None:
            raise ValueError("prototypes are those of k-means, and this is a tree already: leave them out.")
        check_tree(run, dataset)
        features = features_of(None, dataset) if dataset.modality == "vectors" else None
        return Learned(run, "The tree is the one that was given.", features)
    if isinstance(run, Run) and run.tree is not None and prototypes is None:
        check_tree(run.tree, dataset)
        if dataset.fingerprint() != run.recipe.data["fingerprint"]:
            raise ValueError(
                "the tree of this run is one of other items: pass the training set of the run, or prototypes=(20, 100) "
                "for a tree of k-means."
            )
        return Learned(run.tree, "The tree is the one that the run has learned, of the embeddings of its loss.")
    features = features_of(run, dataset)
    if prototypes is None and _saw_labels(run) and dataset.labelled:
        tree = class_tree(features, dataset.labels, dataset.hierarchy)
        words = "The method learns from labels and has no tree. Its nodes are class means, joined by average linkage; "
        return Learned(tree, words + "every item goes to the nearest class mean, whatever its label is.", features)
    sizes = _sizes(dataset) if prototypes is None else prototypes
    words = "The tree is one of k-means prototypes of the features; no labels were used to make it."
    return Learned(PrototypeTree.fit(features, sizes, seed), words, features)


def _saw_labels(run: Any) -> bool:
    """Whether a run or a pretrained model is of a method that learns from labels."""
    if isinstance(run, Run):
        return run.recipe.method.needs_labels(run.recipe.settings)
    if isinstance(run, Pretrained):
        method = methods.get(run.card["method"])
        return method.needs_labels(method.Config())
    return False


def _sizes(dataset: HierarchicalDataset) -> tuple[int, ...]:
    """Returns as many prototypes as there are classes at each level; at least two levels, where there is room."""
    counts = dataset.hierarchy.sizes if dataset.labelled else (round(len(dataset) ** 0.5),)
    sizes = sorted({min(count, len(dataset)) for count in counts})
    coarse = round(sizes[0] ** 0.5)
    return (coarse, *sizes) if len(sizes) == 1 and 1 < coarse < sizes[0] else tuple(sizes)


def describe_trees(
    tree: PrototypeTree, dataset: HierarchicalDataset, shown: np.ndarray, typical: dict[tuple[int, int], np.ndarray]
) -> list[dict[str, Any]]:
    """Describes both trees: nodes depth first, turned so that few lines between the two trees cross."""
    hierarchy, learned = dataset.hierarchy, tree.as_hierarchy()
    table = contingency(tree, tree.levels - 1, dataset, hierarchy.levels - 1)
    sizes = tree.counts(tree.levels - 1).cpu().numpy()
    left, right = np.flatnonzero(sizes), np.flatnonzero(table.any(axis=0))
    left, right = _turned(table[np.ix_(left, right)], learned.ancestors[left], hierarchy.ancestors[right], left, right)
    truth = [matching_level(size, hierarchy) for size in tree.sizes]
    majority = [tree.majority(dataset.labels_at(true))[level].tolist() for level, true in enumerate(truth)]
    purity = [tree.purity(dataset.labels_at(true))[level].tolist() for level, true in enumerate(truth)]
    place = {item: k for k, item in enumerate(shown.tolist())}
    nodes = []
    for entry in _walk(learned.ancestors[left]):
        level = entry["level"]
        number = int(learned.names[level][entry["number"]].rpartition(":")[2])
        share = purity[level][number]
        known = share == share
        name = plain(hierarchy.names[truth[level]][majority[level][number]]) if known else f"prototype {number}"
        about = {"number": number, "size": int(tree.counts(level)[number]), "name": name}
        about |= {"purity": round(share, 4) if known else None, "majority": majority[level][number] if known else None}
        picks = [place[item] for item in typical.get((level, number), np.zeros(0, int)).tolist() if item in place]
        nodes.append(entry | about | {"items": picks})
    counts, classes = [dataset.counts(level) for level in range(hierarchy.levels)], []
    few = hierarchy.sizes[0] <= len(OKABE_ITO)  # more hues cannot be told apart
    colours = [node_colours(hierarchy, level) if few else None for level in range(hierarchy.levels)]
    for entry in _walk(hierarchy.ancestors[right]):
        level, number = entry["level"], entry["number"]
        about = {"name": plain(hierarchy.names[level][number]), "size": int(counts[level][number])}
        hue = colours[level]
        classes.append(entry | about | {"colour": None if hue is None else to_hex(tuple(hue[number]))})
    names = [f"{size} prototypes" for size in tree.sizes]
    true = [plain(name) for name in hierarchy.level_names]
    return [
        {"title": "Learned tree", "levels": names, "truth": truth, "nodes": nodes},
        {"title": "True classes", "levels": true, "nodes": classes},
    ]


def describe_flow(
    tree: PrototypeTree, dataset: HierarchicalDataset, shown: np.ndarray, sides: list[dict[str, Any]]
) -> dict[str, Any]:
    """Says how many items every finest node and leaf class share, and where each item that is shown belongs.

    Nodes and classes are places in the lists of their sides; −1 is no label.
    """
    last = (tree.levels - 1, dataset.hierarchy.levels - 1)
    left, right = (
        {node["number"]: place for place, node in enumerate(side["nodes"]) if node["level"] == level}
        for side, level in zip(sides, last, strict=True)
    )
    table, nodes = contingency(tree, last[0], dataset, last[1]), tree.assignment[:, -1].cpu().numpy()[shown]
    flow = [[left[node], right[leaf], int(table[node, leaf])] for node, leaf in np.argwhere(table).tolist()]
    members = [left[node] for node in nodes.tolist()]
    return {"flow": flow, "nodes": members, "classes": [right.get(leaf, -1) for leaf in dataset.labels[shown].tolist()]}


def _turned(
    table: np.ndarray, left_paths: np.ndarray, right_paths: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Orders the leaves of both trees so that those with many items in common stand at the same height.

    In turns the leaves of one tree go to the mean place of the others, weighted by the squares of their common items.
    """
    weight = table.astype(float) ** 2
    ups, downs = (weight.sum(axis=axis).clip(min=1) for axis in (1, 0))
    first, second = np.arange(len(left)), np.lexsort(right_paths.T[::-1])
    for _ in range(ROUNDS):
        first = by_mean_place(left_paths, weight @ np.argsort(second) / ups)
        second = by_mean_place(right_paths, np.argsort(first) @ weight / downs)
    return left[first], right[second]


def _walk(paths: np.ndarray) -> list[dict[str, int]]:
    """Returns the nodes on paths depth first: their level, number, and the parent's place in the list, or −1."""
    nodes, open_at = [], [-1] * paths.shape[1]
    for before, path in pairwise([[-1] * paths.shape[1], *paths.tolist()]):
        new = next(level for level, pair in enumerate(zip(before, path, strict=True)) if pair[0] != pair[1])
        for level in range(new, len(path)):
            open_at[level] = len(nodes)
            nodes.append({"level": level, "number": path[level], "up": open_at[level - 1] if level else -1})
    return nodes
