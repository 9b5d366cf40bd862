"""The methods, by name. A class of your own goes in with ``hiercl.fit(MyMethod, ...)``."""

from hiercl.methods.base import Batch, Method, Setting, Step, Term, View
from hiercl.methods.hcsc import HCSC
from hiercl.methods.moco import MoCo
from hiercl.methods.simclr import SimCLR
from hiercl.settings import unknown

METHODS: dict[str, type[Method]] = {method.name: method for method in (SimCLR, MoCo, HCSC)}

__all__ = ["HCSC", "Batch", "Method", "MoCo", "Setting", "SimCLR", "Step", "Term", "View", "get", "names"]


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
