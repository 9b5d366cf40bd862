"""ModelNet10 and ModelNet40, read in any of the forms in which they exist on disk."""

from hiercl.datasets.modelnet.reading import load

__all__ = ["load"]
