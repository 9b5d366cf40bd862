"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong."""

from hiercl.exercises import modelnet, pairs
from hiercl.exercises._exercise import check, names

__all__ = ["check", "modelnet", "names", "pairs"]
