"""hiercl: see, step through and change hierarchical contrastive learning.

>>> import hiercl
>>> train, test = hiercl.load("shapes")
>>> run = hiercl.fit("hcsc", train, epochs=10)
>>> print(hiercl.evaluate(run, train, test))

Names are imported when they are first used, so that ``import hiercl`` itself is light.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "Hierarchy": "hierarchy",
    "HierarchicalDataset": "datasets",
    "load": "datasets",
    "Pairs": "pairs",
    "audit": "pairs",
    "info_nce": "pairs",
    "PrototypeTree": "clustering",
    "Run": "training",
    "load_run": "training",
    "FitConfig": "training",
    "fit": "training",
    "FineTuneConfig": "evaluation",
    "pretrained": "encoders.zoo",
    "pretrained_names": "encoders.zoo",
    "Report": "evaluation",
    "embed": "encoders",
    "evaluate": "evaluation",
    "Study": "study",
}
_MODULES = {
    "datasets": "datasets",
    "descriptors": "methods.labels.descriptors",
    "encoders": "encoders",
    "exercises": "exercises",
    "explore": "explore",
    "feature_masks": "evaluation.feature_masks",
    "gates": "methods.labels.gates",
    "level_count": "methods.labels.level_count",
    "masks": "methods.labels.masks",
    "methods": "methods",
    "metrics": "metrics",
    "pairs": "pairs",
    "plot": "plot",
    "study": "study",
    "views": "views",
}

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"hiercl.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"hiercl.{_MODULES[name]}")
    raise AttributeError(f"hiercl has no {name!r}; it has {', '.join(__all__)}.")


def __dir__():
    return sorted([*globals(), *__all__])
