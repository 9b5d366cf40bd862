"""ModelNet10 and ModelNet40, read in whichever form they lie on disk."""

from hiercl.datasets.modelnet.reading import load

__all__ = ["load"]
