"""Pictures of data, of what was learned, and of what a method does with its pairs.

Every function returns a ``matplotlib.figure.Figure`` and shows nothing by itself. A notebook displays it if it is the
last line of a cell, and ``figure.savefig("name.png")`` writes it to a file. Colours follow the hierarchy: each coarsest
class has a hue, and the classes below it have shades of that hue.

Example:
    >>> figure = hiercl.plot.gallery(train)
    >>> figure = hiercl.plot.tree(run.tree, train)
    >>> figure = hiercl.plot.embedding(run, test, coordinates=features[:, :2])
"""

from hiercl.plot._cloud_picture import cloud_picture
from hiercl.plot._clouds import cloud, cloud_3d
from hiercl.plot._confusion import confusion
from hiercl.plot._curves import curves, history, live
from hiercl.plot._data import gallery, hierarchy
from hiercl.plot._dendrogram import dendrogram
from hiercl.plot._maps import compare_embeddings, embedding, map_2d
from hiercl.plot._masks import masks
from hiercl.plot._neighbours import neighbours
from hiercl.plot._pairs import audit, pair_matrix, pairs
from hiercl.plot._recorded import brackets, front, regimes
from hiercl.plot._step import step
from hiercl.plot._study import study
from hiercl.plot._tree import flow, tree, trees
from hiercl.plot._views import views

__all__ = [
    "audit",
    "brackets",
    "cloud",
    "cloud_3d",
    "cloud_picture",
    "compare_embeddings",
    "confusion",
    "curves",
    "dendrogram",
    "embedding",
    "flow",
    "front",
    "gallery",
    "hierarchy",
    "history",
    "live",
    "map_2d",
    "masks",
    "neighbours",
    "pair_matrix",
    "pairs",
    "regimes",
    "step",
    "study",
    "tree",
    "trees",
    "views",
]
