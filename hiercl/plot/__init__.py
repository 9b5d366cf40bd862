"""Pictures of data, of what was learned, and of what a method does with its pairs.

Every function returns a ``matplotlib.figure.Figure`` and shows nothing by itself: as the last line of a notebook cell
it is displayed, ``figure.savefig("name.png")`` writes it to a file. Colours follow the hierarchy everywhere: one hue
for each coarsest class, its descendants in shades of it.

>>> hiercl.plot.gallery(train)
>>> hiercl.plot.tree(run.tree, train)
>>> hiercl.plot.embedding(run, test)
"""

from hiercl.plot._audit import audit
from hiercl.plot._cloud_picture import cloud_picture
from hiercl.plot._clouds import cloud, cloud_3d
from hiercl.plot._confusion import confusion
from hiercl.plot._curves import curves
from hiercl.plot._data import gallery, hierarchy
from hiercl.plot._dendrogram import dendrogram
from hiercl.plot._flow import flow
from hiercl.plot._history import history, live
from hiercl.plot._maps import compare_embeddings, embedding, map_2d
from hiercl.plot._masks import masks
from hiercl.plot._matrix import pair_matrix
from hiercl.plot._neighbours import neighbours
from hiercl.plot._pairs import pairs
from hiercl.plot._study import study
from hiercl.plot._tree import tree
from hiercl.plot._trees import trees

__all__ = [
    "audit",
    "cloud",
    "cloud_3d",
    "cloud_picture",
    "compare_embeddings",
    "confusion",
    "curves",
    "dendrogram",
    "embedding",
    "flow",
    "gallery",
    "hierarchy",
    "history",
    "live",
    "map_2d",
    "masks",
    "neighbours",
    "pair_matrix",
    "pairs",
    "study",
    "tree",
    "trees",
]
