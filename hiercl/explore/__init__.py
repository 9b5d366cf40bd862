"""Explorers: figures with controls, for notebooks. Each one has a static twin in ``hiercl.plot``.

Explorers need ipywidgets, anywidget and jupyter-scatter (``pip install 'hiercl[lab]'``). Their twins do not.
"""

from hiercl.explore._atlas import atlas
from hiercl.explore._embedding import EmbeddingExplorer, embedding
from hiercl.explore._masks import MasksExplorer, masks
from hiercl.explore._pairs import PairsExplorer, pairs
from hiercl.explore._run import RunExplorer, run
from hiercl.explore._step import StepExplorer, step
from hiercl.explore._study import StudyExplorer, study
from hiercl.explore._tree import TreeExplorer, tree

__all__ = [
    "EmbeddingExplorer",
    "MasksExplorer",
    "PairsExplorer",
    "RunExplorer",
    "StepExplorer",
    "StudyExplorer",
    "TreeExplorer",
    "atlas",
    "embedding",
    "masks",
    "pairs",
    "run",
    "step",
    "study",
    "tree",
]
