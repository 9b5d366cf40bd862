"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong."""

from hiercl.exercises import notebooks_00_to_04, notebooks_05_to_08, notebooks_09_to_12
from hiercl.exercises._exercise import check, grade, names

__all__ = ["check", "grade", "names", "notebooks_00_to_04", "notebooks_05_to_08", "notebooks_09_to_12"]
