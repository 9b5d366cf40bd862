"""The exercises of the notebooks: ``hiercl.exercises.check(name, answer)`` tells right from wrong."""

from hiercl.exercises import (
    ablations,
    cross_samples,
    feature_masks,
    label_hierarchies,
    maps,
    modelnet,
    own_data,
    pairs,
    prototypes,
    quickstart,
    scaling,
    selection,
)
from hiercl.exercises._exercise import check, names

__all__ = [
    "ablations",
    "check",
    "cross_samples",
    "feature_masks",
    "label_hierarchies",
    "maps",
    "modelnet",
    "names",
    "own_data",
    "pairs",
    "prototypes",
    "quickstart",
    "scaling",
    "selection",
]
