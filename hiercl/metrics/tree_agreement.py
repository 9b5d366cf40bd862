"""A learned :class:`~hiercl.PrototypeTree` against the true hierarchy: its nodes and its edges."""

import numpy as np
import pandas as pd

from hiercl.clustering import PrototypeTree
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.mistakes import ancestor_paths
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.types import Int

EDGE_COLUMNS = ["prototypes", "level", "parent_level", "edges", "respected", "weighted"]


@checked
def tree_agreement(tree: PrototypeTree, labels: Int[Array, " items"], hierarchy: Hierarchy) -> pd.DataFrame:
    r"""Compares every level of prototypes with every level of the true hierarchy, as two partitions of the items.

    Args:
        tree: learned tree.
        labels: leaf id of every item that the tree was fitted to, in the order of the training set. Items without a
            label (−1) do not count.
        hierarchy: true tree of the labels.

    Returns:
        One row for every pair of levels, coarse levels first, with the columns

        * ``prototypes``, ``size``: level of the prototypes, and their number;
        * ``level``, ``classes``: name of the true level, and its number of classes;
        * ``ami``: adjusted mutual information (Vinh et al. 2010), 1 for equal partitions, about 0 for independent ones;
        * ``purity``: share of the items with the majority label of their prototype,
          $\frac1n\sum_c\max_y n_{cy}$, in (0, 1]. It grows with the number of prototypes; ``ami`` does not.

    Raises:
        ValueError: labels of another number of items, or ids that are no leaves.

    Example:
        >>> agreement = tree_agreement(run.tree, train.labels, train.hierarchy)
        >>> agreement["size"].tolist()
        [2, 2, 2, 4, 4, 4]
    """
    from sklearn.metrics import adjusted_mutual_info_score  # imported here, so that `import hiercl` stays fast

    labels, known = _labels(tree, labels)
    assignment = tree.assignment.cpu().numpy()[known]
    rows = []
    for prototypes, size in enumerate(tree.sizes):
        for level, name in enumerate(hierarchy.level_names):
            truth, node = hierarchy.labels_at(labels[known], level), assignment[:, prototypes]
            majority = _majority(tree, labels, hierarchy, level)[prototypes]
            row = {"prototypes": prototypes, "size": size, "level": name, "classes": hierarchy.sizes[level]}
            row["ami"] = float(adjusted_mutual_info_score(truth, node))
            rows.append(row | {"purity": float(np.mean(majority[node] == truth))})
    return pd.DataFrame(rows)


@checked
def respected_edges(tree: PrototypeTree, labels: Int[Array, " items"], hierarchy: Hierarchy) -> pd.DataFrame:
    r"""Returns the share of the tree's edges that agree with the true hierarchy.

    An edge joins a prototype (the child) to its parent. It is respected if the child's majority label at ``level`` has
    the parent's majority label at ``parent_level`` as its ancestor, or is this label:

    $$\text{ancestor}(y_\text{child}, \text{parent\_level}) = y_\text{parent}$$

    Args:
        tree: learned tree.
        labels: leaf id of every item that the tree was fitted to, in the order of the training set. Items without a
            label (−1) do not count.
        hierarchy: true tree of the labels.

    Returns:
        One row for every level of children and every pair of a true level with itself or a coarser one (no row for a
        tree of one level), with the columns

        * ``prototypes``: level of the children; their parents are one level above;
        * ``level``: name of the true level of the child's majority label;
        * ``parent_level``: name of the true level of the parent's majority label;
        * ``edges``: number of children with members; children without members have no label;
        * ``respected``: share of these edges that are respected, in [0, 1];
        * ``weighted``: the same share, where each edge counts with the number of members of its child.

        Among equally frequent labels the lowest is the majority. Some edges are respected by chance, more of them if
        there are fewer classes: the labels of ``hierarchy.shuffle(seed)`` show how many.

    Raises:
        ValueError: labels of another number of items, or ids that are no leaves.

    Example:
        >>> edges = respected_edges(run.tree, train.labels, train.hierarchy)
        >>> edges[edges["level"] == edges["parent_level"]]["level"].tolist()
        ['domain', 'group', 'class']
    """
    labels, known = _labels(tree, labels)
    # [true level][level of prototypes]: the majority label of every prototype
    majority = [_majority(tree, labels, hierarchy, level) for level in range(hierarchy.levels)]
    assignment = tree.assignment.cpu().numpy()[known]
    rows = []
    for child in range(1, tree.levels):
        members = np.bincount(assignment[:, child], minlength=tree.sizes[child])
        used = np.flatnonzero(members)
        parent = tree.parent[child].cpu().numpy()[used]
        for level, name in enumerate(hierarchy.level_names):
            ancestors = ancestor_paths(hierarchy, level)[majority[level][child][used]]
            for above in range(level + 1):
                respected = ancestors[:, above] == majority[above][child - 1][parent]
                weighted = float(np.average(respected, weights=members[used]))
                above_name, share = hierarchy.level_names[above], float(respected.mean())
                rows.append((child, name, above_name, len(used), share, weighted))
    return pd.DataFrame(rows, columns=EDGE_COLUMNS)


def _labels(tree: PrototypeTree, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of the tree's items, and which items have one."""
    labels = as_array(labels)
    if labels.shape != (len(tree.assignment),) or labels.dtype.kind not in "iu":
        counts = (
            f"labels are {labels.dtype} {list(labels.shape)}, but the tree was made of {len(tree.assignment)} items"
        )
        raise ValueError(f"{counts}: pass the labels of the training set that it was fitted to.")
    known = labels != -1
    if not known.any():
        raise ValueError("no item has a label: there is nothing to compare the tree with.")
    return labels, known


def _majority(tree: PrototypeTree, labels: np.ndarray, hierarchy: Hierarchy, level: int) -> list[np.ndarray]:
    """Returns the most frequent label, at a level of the hierarchy, of every prototype of every level of the tree."""
    truth = np.full(len(labels), -1)
    truth[labels != -1] = hierarchy.labels_at(labels[labels != -1], level)
    return [node.cpu().numpy() for node in tree.majority(truth)]
