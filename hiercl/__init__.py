"""hiercl: see, step through and change hierarchical contrastive learning.

    import hiercl

    train, test = hiercl.load("shapes")
    run = hiercl.fit("hcsc", train, epochs=10)
    print(hiercl.evaluate(run, train, test))

A name is imported when it is first used, so that ``import hiercl`` itself is light. ``__init__.pyi`` tells editors the
same names.
"""

import importlib

__version__ = "0.1.0"

# Where each name lives: an attribute of a module ("room:name"), or a module ("room").
_HOMES = {
    "Encoder": "encoders:Encoder",
    "FineTuneConfig": "evaluation:FineTuneConfig",
    "FitConfig": "training:FitConfig",
    "HierarchicalDataset": "datasets:HierarchicalDataset",
    "Hierarchy": "hierarchy:Hierarchy",
    "Pairs": "pairs:Pairs",
    "PrototypeTree": "clustering:PrototypeTree",
    "Report": "evaluation:Report",
    "Run": "training:Run",
    "Study": "study:Study",
    "atlas": "explore:atlas",
    "audit": "pairs:audit",
    "callbacks": "training.callbacks",
    "clustering": "clustering",
    "contrast": "pairs:contrast",
    "datasets": "datasets",
    "descriptors": "methods.labels.descriptors",
    "embed": "encoders:embed",
    "encoders": "encoders",
    "evaluate": "evaluation:evaluate",
    "evaluation": "evaluation",
    "exercises": "exercises",
    "explore": "explore",
    "feature_masks": "evaluation.feature_masks",
    "featurise": "encoders.featurise:featurise",
    "fit": "training:fit",
    "gates": "methods.labels.gates",
    "info_nce": "pairs:info_nce",
    "level_count": "methods.labels.level_count",
    "load": "datasets:load",
    "load_run": "training:load_run",
    "machine": "training.machine:machine",
    "masks": "methods.labels.masks",
    "methods": "methods",
    "metrics": "metrics",
    "pairs": "pairs",
    "plot": "plot",
    "pretrained": "encoders.zoo:pretrained",
    "pretrained_names": "encoders.zoo:pretrained_names",
    "study": "study",
    "views": "views",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"hiercl has no {name!r}; it has {', '.join(_HOMES)}.")
    module, _, attribute = _HOMES[name].partition(":")
    found = importlib.import_module(f"hiercl.{module}")
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
