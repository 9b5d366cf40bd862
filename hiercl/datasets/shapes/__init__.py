"""``shapes``: generated solids of 30 classes in three levels, as pictures or as point clouds."""

from hiercl.datasets.shapes.dataset import hierarchy, load, solid

__all__ = ["hierarchy", "load", "solid"]
