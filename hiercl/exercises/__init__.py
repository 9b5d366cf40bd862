"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong."""

from hiercl.exercises import notebooks_00_to_03, notebooks_04_to_07, notebooks_08_to_11
from hiercl.exercises._exercise import check, names

__all__ = ["check", "names", "notebooks_00_to_03", "notebooks_04_to_07", "notebooks_08_to_11"]
