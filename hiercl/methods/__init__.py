"""The methods, by name. Train a method of your own with ``hiercl.fit(MyMethod, ...)``."""

import warnings
from collections.abc import Mapping
from typing import Any

from hiercl.methods.base import Batch, Method, MethodConfig, Step, Supervision, TrainingInfo, ViewSpec
from hiercl.methods.csml import CsMl
from hiercl.methods.hcsc import HCSC
from hiercl.methods.labels.a_hmlc import AHMLC
from hiercl.methods.labels.g_hmlc import GHMLC
from hiercl.methods.labels.hmlc import HCE, HMC, HMCE, SupCon
from hiercl.methods.moco import MoCo
from hiercl.methods.simclr import SimCLR
from hiercl.pairs import BlockTerm, Term
from hiercl.runtime.errors import unknown

_ALL = (SimCLR, MoCo, HCSC, CsMl, SupCon, HMC, HCE, HMCE, GHMLC, AHMLC)
METHODS: dict[str, type[Method]] = {method.name: method for method in _ALL}

__all__ = [
    "AHMLC",
    "GHMLC",
    "HCE",
    "HCSC",
    "HMC",
    "HMCE",
    "Batch",
    "BlockTerm",
    "CsMl",
    "Method",
    "MethodConfig",
    "MoCo",
    "SimCLR",
    "Step",
    "SupCon",
    "Supervision",
    "Term",
    "TrainingInfo",
    "ViewSpec",
    "get",
    "in_full",
    "names",
]


_RENAMED = {"Setting": TrainingInfo, "View": ViewSpec}  # old names, for one more release


def __getattr__(name: str):
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(f"hiercl.methods.{name} is now called {new.__name__}.", DeprecationWarning, stacklevel=2)
    return new


def names() -> tuple[str, ...]:
    """Returns the names of the methods, for :func:`hiercl.fit`.

    Example:
        >>> "hcsc" in hiercl.methods.names()
        True
    """
    return tuple(METHODS)


def get(name: str | type[Method]) -> type[Method]:
    """Returns the method of this name.

    Args:
        name: a name from :func:`names`, or the class itself.

    Raises:
        ValueError: an unknown name; the message lists the known ones.

    Example:
        >>> hiercl.methods.get("hcsc").Config().temperature
        0.1
    """
    if isinstance(name, type) and issubclass(name, Method):
        return name
    if not isinstance(name, str) or name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def in_full(method: str | type[Method], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Writes out ``official=True``: returns settings with all those of the method's official code.

    The official form is how the loss is computed: the class variable ``official`` of the method's settings lists it.
    Temperature, sizes, lengths, encoder and views depend on the data and stay as they are.

    Args:
        method: name of a method, or a class of your own.
        settings: settings by name, with or without ``official``; those that are given win.

    Raises:
        ValueError: no official code of the method is known, or ``official`` is neither True nor False.

    Example:
        >>> hiercl.methods.in_full("supcon", {"official": True, "temperature": 0.2})
        {'scale': 'official', 'temperature': 0.2}
    """
    settings, found = dict(settings), get(method)
    official = settings.pop("official", False)
    if not isinstance(official, bool):
        raise ValueError(f"official={official!r}: it must be True or False.")
    if not official:
        return settings
    table = getattr(found.Config, "official", {})
    if not table:
        known = ", ".join(name for name, other in METHODS.items() if other.Config.official)
        raise ValueError(
            f"official=True: no official form of {found.name} is known here. These methods have one: {known}. Leave "
            "out official=, and choose the settings one by one."
        )
    return {**table, **settings}
