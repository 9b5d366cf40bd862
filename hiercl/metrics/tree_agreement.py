"""A learned :class:`~hiercl.PrototypeTree` against the true hierarchy: its nodes, and its edges."""

import numpy as np
import pandas as pd
import torch

from hiercl.clustering import PrototypeTree
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.types import Int


def tree_agreement(tree: PrototypeTree, labels: Int[np.ndarray, " items"], hierarchy: Hierarchy) -> pd.DataFrame:
    r"""Compares every level of prototypes with every level of the true hierarchy, as two partitions of the items.

    Args:
        tree: prototypes and who belongs to them.
        labels: leaf id of every clustered item, in the order of the training set.
        hierarchy: the true one.

    Returns:
        One row for every pair of levels, coarse first:

        * ``prototypes``, ``size``: level of the prototypes and how many it has;
        * ``level``, ``classes``: name of the true level and how many classes it has;
        * ``ami``: adjusted mutual information (Vinh et al. 2010), 1 for equal partitions, about 0 for independent ones;
        * ``purity``: share of the items that have the majority label of their prototype,
          $\frac1n\sum_c\max_y n_{cy}$, in (0, 1]. It grows with the number of prototypes; ``ami`` does not.

    Raises:
        ValueError: labels of other items than the tree's, or ids that are no leaves.

    Example:
        >>> tree_agreement(run.tree, train.labels, train.hierarchy)
    """
    from sklearn.metrics import adjusted_mutual_info_score  # here, so that importing hiercl stays light

    _check(tree, labels)
    assignment = tree.assignment.cpu().numpy()
    rows = []
    for prototypes, size in enumerate(tree.sizes):
        for level, name in enumerate(hierarchy.level_names):
            truth, node = hierarchy.labels_at(labels, level), assignment[:, prototypes]
            majority = tree.majority(torch.as_tensor(truth))[prototypes].cpu().numpy()
            rows.append(
                {
                    "prototypes": prototypes,
                    "size": size,
                    "level": name,
                    "classes": hierarchy.sizes[level],
                    "ami": float(adjusted_mutual_info_score(truth, node)),
                    "purity": float(np.mean(majority[node] == truth)),
                }
            )
    return pd.DataFrame(rows)


def respected_edges(tree: PrototypeTree, labels: Int[np.ndarray, " items"], hierarchy: Hierarchy) -> pd.DataFrame:
    r"""Share of the tree's edges that go along with the true hierarchy.

    An edge joins a prototype to its parent. It is respected if the child's majority label at the true ``level`` lies
    under, or is, the parent's majority label at ``parent_level``:

    $$\text{ancestor}(y_\text{child}, \text{parent\_level}) = y_\text{parent}$$

    Where both levels are the same, this asks for the same majority label.

    Args:
        tree: prototypes, their parents, and who belongs to them.
        labels: leaf id of every clustered item, in the order of the training set.
        hierarchy: the true one.

    Returns:
        For every level of prototypes below the first, one row for every true level of the children with itself and
        with every coarser one; none for a tree of one level:

        * ``prototypes``: level of the children; their parents are one level up;
        * ``level``: name of the true level of the child's majority label;
        * ``parent_level``: name of the true level of the parent's majority label, the same or a coarser one;
        * ``edges``: prototypes that have a parent; those without members have no label and are left out;
        * ``respected``: share of these edges, in [0, 1];
        * ``weighted``: the same, each edge counted with the members of its child.

        Of labels that are equally frequent the lowest is the majority, as in :meth:`PrototypeTree.majority`. Edges are
        respected by chance too, the more so the fewer classes there are: ``hierarchy.shuffle(seed)`` shows how many.

    Raises:
        ValueError: labels of other items than the tree's, or ids that are no leaves.

    Example:
        >>> edges = respected_edges(run.tree, train.labels, train.hierarchy)
        >>> edges[edges["level"] == edges["parent_level"]]
    """
    _check(tree, labels)
    majority = [  # [true level][level of prototypes]: the majority label of every prototype
        [node.cpu().numpy() for node in tree.majority(torch.as_tensor(hierarchy.labels_at(labels, level)))]
        for level in range(hierarchy.levels)
    ]
    rows = []
    for child in range(1, tree.levels):
        members = tree.counts(child).cpu().numpy()
        used = np.flatnonzero(members)
        parent = tree.parent[child].cpu().numpy()[used]
        for level in range(hierarchy.levels):
            for above in range(level + 1):
                ancestor = _ancestors(hierarchy, level, above)[majority[level][child][used]]
                respected = ancestor == majority[above][child - 1][parent]
                rows.append(
                    {
                        "prototypes": child,
                        "level": hierarchy.level_names[level],
                        "parent_level": hierarchy.level_names[above],
                        "edges": len(used),
                        "respected": float(respected.mean()),
                        "weighted": float(np.average(respected, weights=members[used])),
                    }
                )
    return pd.DataFrame(rows, columns=["prototypes", "level", "parent_level", "edges", "respected", "weighted"])


def _ancestors(hierarchy: Hierarchy, level: int, above: int) -> Int[np.ndarray, " nodes"]:
    """Ancestor, at the level above, of every node of a level."""
    node = np.arange(hierarchy.sizes[level])
    for step in range(level, above, -1):
        node = hierarchy.parent(step)[node]
    return node


def _check(tree: PrototypeTree, labels: np.ndarray) -> None:
    if np.shape(labels) != (len(tree.assignment),):
        raise ValueError(
            f"labels are {list(np.shape(labels))}, but the tree was made of {len(tree.assignment)} items: pass the "
            "training set that it was fitted to, one leaf id for each item."
        )
