"""Plain arguments of functions, such as numbers and switches, checked against their annotations as settings are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hiercl.runtime.config import check_value

F = TypeVar("F", bound=Callable[..., Any])


def checked(function: F) -> F:
    """Makes a function check its numbers, names, switches and objects of hiercl before it begins.

    The annotation says what an argument may be, as it does in a :class:`~hiercl.runtime.config.Config`: NaN is in no
    range, True is no number, and NumPy's scalars become plain numbers. Tables of pandas and mappings are told from
    other things. Arrays, and what is made of them, are left to the function.

    Args:
        function: the function.

    Raises:
        ValueError: (the new function) an argument that does not fit. The message says what it must be.

    Example:
        >>> from typing import Annotated
        >>> from hiercl.runtime.config import Above
        >>> @checked
        ... def sharpen(temperature: Annotated[float, Above(0)] = 1.0):
        ...     return 1 / temperature
        >>> sharpen(float("nan"))
        Traceback (most recent call last):
        ValueError: temperature=nan: it must be a number above 0.
    """
    signature = inspect.signature(function)

    @cache
    def hints() -> dict[str, Any]:
        found = get_type_hints(inspect.unwrap(function), include_extras=True)
        return {name: hint for name, hint in found.items() if name != "return" and _is_plain(hint)}

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # a wrong name or number of arguments: Python says it better
            return function(*given, **named)
        for name, hint in hints().items():
            if name in bound.arguments:
                value = bound.arguments[name]
                for kind in _own_classes(hint):
                    if value is not None and not isinstance(value, kind):
                        raise ValueError(f"{name} is a {type(value).__name__}: give a hiercl {_call(kind)}.")
                bound.arguments[name] = check_value(name, value, hint)
        return function(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def _is_plain(hint: Any) -> bool:
    """Whether a value can be checked by its annotation alone: a number, a name, a switch, a table, a mapping, or an
    object of hiercl."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _is_plain(inner[0])
    if origin in (Literal, dict, Mapping):
        return True
    if origin in (Union, UnionType):
        return all(map(_is_plain, inner))
    if origin is tuple:
        return all(_is_plain(one) for one in inner if one is not Ellipsis)
    table = getattr(hint, "__name__", "") == "DataFrame"
    return hint in (int, float, str, bool, NoneType) or table or bool(_own_classes(hint))


def _own_classes(hint: Any) -> tuple[type, ...]:
    """The class of hiercl that an annotation asks for, or asks for unless the value is None."""
    inner = [one for one in get_args(hint) if one is not NoneType] if get_origin(hint) in (Union, UnionType) else [hint]
    own = [one for one in inner if isinstance(one, type) and one.__module__.partition(".")[0] == "hiercl"]
    return tuple(own) if len(own) == len(inner) == 1 else ()


def _call(kind: type) -> str:
    """A call that makes an object of a class, in words."""
    ways = [name for name in vars(kind) if name.startswith("from_") or name == "fit"]
    return f"{kind.__name__}, such as {kind.__name__}.{ways[0]}(...)" if ways else f"{kind.__name__}(...)"
