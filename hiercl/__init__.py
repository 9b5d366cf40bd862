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
    "info_nce": "losses",
    "PrototypeTree": "prototypes",
    "Run": "runs",
    "load_run": "runs",
    "FitConfig": "optimisation",
    "fit": "training",
    "FineTuneConfig": "fine_tuning",
    "pretrained": "zoo",
    "pretrained_names": "zoo",
    "Report": "report",
    "embed": "embedding",
    "evaluate": "evaluation",
    "Study": "study",
}
_MODULES = (
    "datasets",
    "descriptors",
    "encoders",
    "exercises",
    "explore",
    "feature_masks",
    "gates",
    "level_count",
    "masks",
    "methods",
    "metrics",
    "pairs",
    "plot",
    "study",
    "views",
)

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"hiercl.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"hiercl.{name}")
    raise AttributeError(f"hiercl has no {name!r}; it has {', '.join(__all__)}.")


def __dir__():
    return sorted([*globals(), *__all__])
