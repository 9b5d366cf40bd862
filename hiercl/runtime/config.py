"""Settings: keyword arguments in notebooks, flags on the command line, JSON beside every run."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hiercl.runtime.errors import unknown


def distribute(settings: Mapping[str, Any], *configs: type) -> tuple[Any, ...]:
    """Makes every config from the settings that bear the names of its fields.

    Raises:
        ValueError: a name that no config has (it lists the known ones), or a value of another type.
    """
    fields = {field.name for config in configs for field in dataclasses.fields(config)}
    for name in settings:
        if name not in fields:
            raise unknown("setting", name, fields)
    made = []
    for config in configs:
        hints = get_type_hints(config)
        names = [field.name for field in dataclasses.fields(config) if field.name in settings]
        values = {name: _frozen(settings[name]) for name in names}
        for name, value in values.items():
            if not _fits(value, hints[name]):
                raise ValueError(f"{name}={value!r} does not fit: it is {_in_words(hints[name])}.")
        made.append(config(**{name: _as_float(value, hints[name]) for name, value in values.items()}))
    return tuple(made)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as settings need it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is Callable:
        return callable(value)
    if origin is tuple:
        items = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is Ellipsis else inner
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_fits, value, items))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    number = {int: Integral, float: Real}
    return isinstance(value, number.get(hint, hint))


def _as_float(value: Any, hint: Any) -> Any:
    """1 as 1.0 where a number need not be whole: the two are one setting."""
    inner = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, tuple):
        items = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(map(_as_float, value, items))
    real = hint is float or (float in inner and int not in inner)
    return float(value) if real and isinstance(value, Integral) and not isinstance(value, bool) else value


def _in_words(hint: Any) -> str:
    """An annotation as a person would say it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(choice) for choice in inner)
    if origin is Callable:
        return "a function"
    if origin is tuple:
        numbers = "whole numbers" if inner[0] is int else "numbers"
        return f"a tuple of {numbers}" if inner[-1] is Ellipsis else f"a tuple of {len(inner)} {numbers}"
    return {int: "a whole number", float: "a number", str: "a name", bool: "True or False", NoneType: "None"}[hint]


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values. A function is written down by its name: it cannot be read back."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(config: type, values: Mapping[str, Any], **functions) -> Any:
    """A config from :func:`to_json`'s values. Settings that were functions must be given again.

    Raises:
        ValueError: a setting that was a function and is not among ``functions``.
    """
    values = dict(values)
    for name, value in values.items():
        if isinstance(value, Mapping) and "function" in value and name not in functions:
            raise ValueError(
                f"{name!r} was your function {value['function']!r}, and functions are not saved: give it again, "
                f"as load_run(path, {name}=your_function)."
            )
    return distribute(values | functions, config)[0]


def with_defaults(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`to_json`'s values, with the defaults of settings that did not exist yet when they were written."""
    known = {f.name: _plain(f.default) for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
    return known | dict(values)


def _plain(value: Any) -> Any:
    if callable(value):
        return {"function": getattr(value, "__name__", repr(value)), "code": _code_hash(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _code_hash(function: Any) -> str | None:
    """Tells two functions of one name apart; None for what is not written in Python."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    closure = [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    content = repr((_instructions(code), closure, function.__defaults__, function.__kwdefaults__))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _instructions(code: Any) -> tuple:
    """Of a function and of those inside it; without addresses and line numbers."""
    constants = [_instructions(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
