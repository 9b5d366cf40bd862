"""Explorers: pictures with controls, for notebooks. Each has a static twin in ``hiercl.plot``.

They need ipywidgets (``pip install ipywidgets``); the twins do not.
"""

from hiercl.explore._masks import MasksExplorer, masks
from hiercl.explore._pairs import PairsExplorer, pairs
from hiercl.explore._study import StudyExplorer, study
from hiercl.explore._tree import TreeExplorer, tree

__all__ = ["MasksExplorer", "PairsExplorer", "StudyExplorer", "TreeExplorer", "masks", "pairs", "study", "tree"]
