"""A method class of the user's own: how a run's settings name it, and how it is found again."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from hiercl import methods
from hiercl.methods import Method
from hiercl.runtime.identity import class_hash


def description(method: type[Method]) -> dict[str, str] | None:
    """Returns what the settings of a run say of its class; None for a method of the package.

    Args:
        method: the class.

    Returns:
        Its module, its name there, and a hash of its code: of its own functions and plain values and of those of the
        classes that it inherits from, down to the classes of hiercl.

    Example:
        >>> class Mine(hiercl.methods.MoCo):
        ...     pass
        >>> description(Mine)["name"], description(hiercl.methods.MoCo)
        ('Mine', None)
    """
    if methods.METHODS.get(getattr(method, "name", "")) is method:
        return None
    return {"module": method.__module__, "name": method.__qualname__, "code": class_hash(method)}


def find(name: str, described: Mapping[str, str] | None, given: Any = None) -> type[Method]:
    """Finds the class of a run.

    Args:
        name: name of its method.
        described: what :func:`description` said of its class; None for a method of the package, and for runs of 0.1.0.
        given: the class, or the name of a method, if the user gives it.

    Returns:
        The class. A warning says if its code is not the code that the run was trained with.

    Raises:
        ValueError: the class is not here, and was not given.

    Example:
        >>> find("moco", None).name
        'moco'
    """
    if described is None:
        if given is None and name not in methods.METHODS:
            raise _not_here(f"a class with the name {name!r}")
        return methods.get(name if given is None else given)
    found = _look_up(described) if given is None else methods.get(given)
    if found is None:
        raise _not_here(f"{described['name']} of the module {described['module']}")
    if class_hash(found) != described["code"]:
        warnings.warn(
            f"{found.__module__}.{found.__qualname__} is not the code that this run was trained with: it was changed "
            "since then, or Python was.",
            stacklevel=4,
        )
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Returns in words how the methods of two runs differ.

    Args:
        there: the settings of an earlier run, as JSON values. Version 0.1.0 did not write whose class it was.
        here: those of a new one.

    Example:
        >>> differences({"method": "moco"}, {"method": "simclr"})
        ["method: there 'moco', here 'simclr'"]
    """
    if there["method"] != here["method"]:
        return [f"method: there {there['method']!r}, here {here['method']!r}"]
    before, now = there.get("class"), here.get("class")
    if before == now or (before is None and there["method"] not in methods.METHODS):
        return []
    if before and now and all(before[part] == now[part] for part in ("module", "name")):
        return [f"method: the code of {now['name']} was changed since then"]
    names = [f"{one['module']}.{one['name']}" if one else "hiercl's own class" for one in (before, now)]
    return [f"method: there {here['method']!r} of {names[0]}, here of {names[1]}"]


def _not_here(what: str) -> ValueError:
    return ValueError(
        f"The method of this run is a class of your own, {what}, and it is not here. Import it before, or give it: "
        "load_run(path, method=MyMethod)."
    )


def _look_up(described: Mapping[str, str]) -> type[Method] | None:
    """The class, from its module or, for one that was made inside a function, from the classes of this session."""
    module, name = described["module"], described["name"]
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    if inspect.isclass(found) and issubclass(found, Method):
        return found
    alike = [kind for kind in _below(Method) if (kind.__module__, kind.__qualname__) == (module, name)]
    return next((kind for kind in reversed(alike) if class_hash(kind) == described["code"]), None)


def _below(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
