"""The methods, by name. A class of your own goes in with ``hiercl.fit(MyMethod, ...)``."""

from hiercl.methods.base import Batch, Method, Setting, Step, Supervision, View
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
    "MoCo",
    "Setting",
    "SimCLR",
    "Step",
    "SupCon",
    "Supervision",
    "Term",
    "View",
    "get",
    "names",
]


def names() -> tuple[str, ...]:
    """Names of the methods, for :func:`hiercl.fit`."""
    return tuple(METHODS)


def get(name: str | type[Method]) -> type[Method]:
    """The method of this name (or the class itself). Raises ValueError naming the known ones."""
    if isinstance(name, type) and issubclass(name, Method):
        return name
    if not isinstance(name, str) or name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
