"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong. In a notebook the
first line ``%%predict`` asks for a prediction before a cell shows its result."""

from hiercl.exercises import notebooks_00_to_04, notebooks_05_to_08, notebooks_09_to_12
from hiercl.exercises._exercise import check, grade, names
from hiercl.exercises._predict import register as _register

__all__ = ["check", "grade", "names", "notebooks_00_to_04", "notebooks_05_to_08", "notebooks_09_to_12"]

_register()
