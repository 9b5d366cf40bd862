"""Random hierarchies, and embeddings that follow them."""

import numpy as np
import torch

from hiercl.hierarchy.hierarchy import Hierarchy

SIZES = {1: (7,), 2: (3, 9), 3: (2, 5, 12)}  # nodes per level of the random hierarchies


def random_hierarchy(levels: int, seed: int = 0, sizes: tuple[int, ...] | None = None) -> Hierarchy:
    """Draws a hierarchy with unequal branching and ids in no order. Every parent has at least one child."""
    rng = np.random.default_rng(seed)
    sizes = sizes or SIZES[levels]
    columns = [np.arange(sizes[-1])]
    for above, below in zip(sizes[-2::-1], sizes[:0:-1], strict=True):
        parent = rng.permutation(np.concatenate([np.arange(above), rng.integers(above, size=below - above)]))
        columns.insert(0, parent[columns[0]])
    return Hierarchy.from_ancestors(np.stack(columns, axis=1))


def branching_hierarchy(levels: int, seed: int) -> Hierarchy:
    """Draws a hierarchy with one to four children a node, at least two at the top, and ids in no order."""
    rng = np.random.default_rng(seed)
    columns, nodes = [], 1
    for level in range(levels):
        children = rng.integers(2 if level == 0 else 1, 5, size=nodes)
        parent = rng.permutation(np.repeat(np.arange(nodes), children))
        nodes = len(parent)
        columns = [column[parent] for column in columns] + [np.arange(nodes)]
    return Hierarchy.from_ancestors(np.stack(columns, axis=1))


def code(hierarchy: Hierarchy, labels: np.ndarray, scales=(2.0, 1.0, 0.5)):
    """Returns a perfect embedding: one-hot codes of all levels, so that distances grow with tree distances."""
    parts = [
        scale * np.eye(hierarchy.sizes[level])[hierarchy.ancestors[labels, level]]
        for level, scale in zip(range(hierarchy.levels), scales, strict=False)
    ]
    return torch.tensor(np.concatenate(parts, axis=1), dtype=torch.float32)
