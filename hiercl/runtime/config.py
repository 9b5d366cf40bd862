"""Settings: keyword arguments in notebooks, flags on the command line, JSON beside every run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from hiercl.runtime.errors import unknown
from hiercl.runtime.identity import function_hash

LARGEST = 2**64  # whole numbers of settings are smaller, so that every part of a machine can hold them


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have, written in its annotation: ``Annotated[float, Above(0)]``.

    NaN and the infinities are never in a range.

    Attributes:
        low: smallest number.
        high: largest number.
        low_allowed: whether the smallest number itself is allowed.
        high_allowed: whether the largest number itself is allowed.
    """

    low: float | int = -math.inf
    high: float | int = math.inf
    low_allowed: bool = True
    high_allowed: bool = True

    def __contains__(self, value: float | int) -> bool:
        above = value >= self.low if self.low_allowed else value > self.low
        below = value <= self.high if self.high_allowed else value < self.high
        return -math.inf < value < math.inf and above and below

    def __str__(self) -> str:
        ends = []
        if self.low > -math.inf:
            ends.append(f"at least {self.low:g}" if self.low_allowed else f"above {self.low:g}")
        if self.high < math.inf:
            ends.append(f"at most {self.high:g}" if self.high_allowed else f"below {self.high:g}")
        return " and ".join(ends)


def AtLeast(low: float | int) -> Range:
    """Numbers from ``low`` on."""
    return Range(low=low)


def Above(low: float | int) -> Range:
    """Numbers larger than ``low``."""
    return Range(low=low, low_allowed=False)


def Between(low: float | int, high: float | int, low_allowed: bool = True, high_allowed: bool = True) -> Range:
    """Numbers from ``low`` to ``high``."""
    return Range(low, high, low_allowed, high_allowed)


Share = Annotated[float, Between(0, 1)]
"""A part of a whole, from 0 to 1."""


@dataclass(frozen=True)
class Config:
    """Base of all settings: a frozen dataclass that checks its values against its annotations when it is made.

    A list or an array becomes a tuple, a whole number becomes a float where the setting is a float, and numpy's scalars
    become plain numbers, so that equal settings are equal values. A subclass with checks of its own calls
    ``super().__post_init__()`` first.

    Attributes:
        removed_settings: settings of earlier versions that are gone, with the default that they had. A run that has
            the default still loads.
        added_settings: settings that came after version 0.1.0. Where one has its default, a study gives a run the same
            hash as before (:func:`without_added`).
        earlier_defaults: what the default None of a setting stood for in version 0.1.0, where it was written out. Runs
            and hashes with either are the same (:func:`with_defaults`, :func:`without_added`).

    Raises:
        ValueError: a value of another type, not among the names of a ``Literal``, or outside its :class:`Range`.

    Example:
        >>> from typing import Annotated
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Cooking(Config):
        ...     minutes: Annotated[float, Above(0)] = 5
        >>> Cooking(minutes=7)
        Cooking(minutes=7.0)
        >>> Cooking(minutes=-1)
        Traceback (most recent call last):
        ValueError: minutes=-1: it must be a number above 0.
    """

    removed_settings: ClassVar[Mapping[str, Any]] = {}
    added_settings: ClassVar[tuple[str, ...]] = ()
    earlier_defaults: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self):
        for name, hint in _hints(type(self)).items():
            object.__setattr__(self, name, check_value(name, getattr(self, name), hint))

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain JSON values; of a function its name and a hash of its code."""
        return to_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], **functions: Any) -> Any:
        """Returns the settings that :meth:`to_json` wrote, see :func:`from_json`."""
        return from_json(cls, values, **functions)


def to_json(config: Any) -> dict[str, Any]:
    """Returns settings as plain JSON values; of a function its name and a hash of its code.

    Args:
        config: a :class:`Config`, or any dataclass.
    """
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(config: type, values: Mapping[str, Any], **functions: Any) -> Any:
    """Returns the settings that :func:`to_json` wrote. Settings that were functions must be given again.

    Args:
        config: class of the settings.
        values: the JSON values.
        functions: the settings that were functions.

    Raises:
        ValueError: a setting that was a function and is not among ``functions``; a setting that this version does not
            know, or no longer has.
    """
    values = {**values, **functions}
    for name, default in getattr(config, "removed_settings", {}).items():
        if name in values and values.pop(name) != default:
            raise ValueError(f"{name!r} is a setting of an earlier hiercl, and was removed: use that version.")
    for name, value in values.items():
        if isinstance(value, Mapping) and "function" in value:
            raise ValueError(
                f"{name!r} was your function {value['function']!r}, and functions are not saved: give it again, "
                f"as load_run(path, {name}=your_function)."
            )
    return distribute(values, config)[0]


def with_defaults(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns :func:`to_json`'s values, with the defaults of settings that did not exist when they were written."""
    fields = [field for field in dataclasses.fields(config) if field.default is not dataclasses.MISSING]
    known = {field.name: _plain(field.default) for field in fields}
    removed = getattr(config, "removed_settings", {})
    return _written_out(config, known | {name: value for name, value in values.items() if name not in removed})


def without_added(config: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns :func:`to_json`'s values without the added settings that have their default, as 0.1.0 wrote them."""
    default = {field.name: _plain(field.default) for field in dataclasses.fields(config)}
    kept = {name: v for name, v in values.items() if name not in config.added_settings or v != default[name]}
    return _written_out(config, kept)


def _written_out(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns :func:`to_json`'s values with what None stood for in version 0.1.0."""
    earlier = getattr(config, "earlier_defaults", {})
    return {name: _plain(earlier[name]) if v is None and name in earlier else v for name, v in values.items()}


def distribute(settings: Mapping[str, Any], *configs: type[Config]) -> tuple[Any, ...]:
    """Makes every config from the settings that bear the names of its fields.

    Raises:
        ValueError: a name that no config has (the message lists the known ones), or a value that does not fit.
    """
    names = [{field.name for field in dataclasses.fields(config)} for config in configs]
    for name in settings:
        if not any(name in own for own in names):
            raise unknown("setting", name, set().union(*names))
    made = []
    for config in configs:
        hints = _hints(config)
        made.append(
            config(**{name: check_value(name, settings[name], hints[name]) for name in hints if name in settings})
        )
    return tuple(made)


@cache
def _hints(config: type[Config]) -> dict[str, Any]:
    hints = get_type_hints(config, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def check_value(name: str, value: Any, hint: Any) -> Any:
    """Returns the value of a setting, with tuples for lists and plain numbers; raises ValueError where it does not
    fit."""
    value = frozen(value)
    if not _fits(value, hint):
        shown = repr(value)
        shown = shown if len(shown) <= 200 else f"a {type(value).__name__}"
        raise ValueError(f"{name}={shown}: it must be {_in_words(hint)}.")
    return _plain_number(value, hint)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as settings need it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, inner[0]) and all(value in part for part in inner[1:] if isinstance(part, Range))
    if origin is Literal:
        return type(value) in map(type, inner) and value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is Callable:
        return callable(value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if origin is tuple:
        items = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is Ellipsis else inner
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_fits, value, items))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    plain: Any = {int: Integral, float: Real, list: tuple}.get(hint, hint)
    if hint in (int, float) and isinstance(value, Integral) and abs(int(value)) >= LARGEST:
        return False
    known = origin is None and isinstance(plain, type) and plain is not Any  # other annotations are not checked
    return isinstance(value, plain) if known else True  # pyright: ignore[reportArgumentType]


def _plain_number(value: Any, hint: Any) -> Any:
    """Returns a number of Python's own; a float where the setting need not be whole: 1 and 1.0 are one setting."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _plain_number(value, inner[0])
    if origin in (Union, UnionType):
        return _plain_number(value, next(choice for choice in inner if _fits(value, choice)))
    if origin is tuple:
        items = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(map(_plain_number, value, items))
    return hint(value) if hint in (int, float) else value


def _in_words(hint: Any) -> str:
    """Returns an annotation as a person would say it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([_in_words(inner[0]), *(str(part) for part in inner[1:] if isinstance(part, Range))])
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(choice) for choice in inner)
    if origin is Callable:
        return "a function"
    if origin is tuple:
        of_range = get_args(inner[0])[1:] if get_origin(inner[0]) is Annotated else ()
        whole = (get_args(inner[0]) or inner)[0] is int
        numbers = " ".join(["whole numbers" if whole else "numbers", *map(str, of_range)])
        return f"a tuple of {numbers}" if inner[-1] is Ellipsis else f"a tuple of {len(inner)} {numbers}"
    if hint is Any:
        return "an object"
    words = {int: "a whole number", float: "a number", str: "a name", bool: "True or False", NoneType: "None"}
    return words.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if callable(value):
        return {"function": getattr(value, "__name__", repr(value)), "code": function_hash(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def frozen(value: Any) -> Any:
    """Returns a value with tuples for lists and arrays, and Python's own numbers for numpy's.

    Example:
        >>> frozen([np.int64(4), [8, 0.5]])
        (4, (8, 0.5))
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
