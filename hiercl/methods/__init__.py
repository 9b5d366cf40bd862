"""The methods, by name. Train a method of your own with ``hiercl.fit(MyMethod, ...)``."""

import warnings

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
