"""The class hierarchy: names and ancestors of every class at every level."""

from hiercl.hierarchy.hierarchy import Hierarchy

__all__ = ["Hierarchy"]
