"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong."""

from hiercl.exercises import ablations, modelnet, own_data, pairs, scaling
from hiercl.exercises._exercise import check, names

__all__ = ["ablations", "check", "modelnet", "names", "own_data", "pairs", "scaling"]
