"""Clusters and neighbours of embeddings: k-means, prototype trees, nearest neighbours."""

from hiercl.clustering.kmeans import KMeans, kmeans, nearest
from hiercl.clustering.neighbours import nearest_neighbours, neighbour_agreement, neighbour_blocks, random_neighbours
from hiercl.clustering.prototypes import PrototypeTree

__all__ = [
    "KMeans",
    "PrototypeTree",
    "kmeans",
    "nearest",
    "nearest_neighbours",
    "neighbour_agreement",
    "neighbour_blocks",
    "random_neighbours",
]
