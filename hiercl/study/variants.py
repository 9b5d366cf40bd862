"""Variants: what a study compares, from a base and what varies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hiercl.study.configurations import canonical, own_settings


def variants(base: Mapping[str, Any], vary: Any, one_at_a_time: bool = False) -> dict[str, dict[str, Any]]:
    """Name and settings (by their full names) of every variant.

    A variant may be of another method: settings of the base that only the base's method has do not apply to it.

    Args:
        base: settings of all variants.
        vary: setting and values: the full grid, or one factor at a time around the base; or a list of variants, each a
            mapping of settings; or names and such mappings.
        one_at_a_time: the base itself, and for every setting and value a variant that differs in that alone.

    Raises:
        ValueError: a setting that is not known, no variant, two of one name, or values that are no list.

    Example:
        >>> list(variants({"method": "moco"}, {"queue": [64, 128], "temperature": [0.1, 0.2]}))[:2]
        ['queue=64, temperature=0.1', 'queue=64, temperature=0.2']
    """
    if not vary:
        raise ValueError("nothing to vary: give vary={'temperature': [0.1, 0.2]}, or a list of variants.")
    named = isinstance(vary, Mapping) and all(isinstance(value, Mapping) for value in vary.values())
    if one_at_a_time and (named or not isinstance(vary, Mapping)):
        raise ValueError("one_at_a_time=True is for settings and lists of values, and these are variants already.")
    if named:
        changes = {str(name): dict(change) for name, change in vary.items()}
    elif isinstance(vary, Mapping):
        changes = _named(_around(base, vary) if one_at_a_time else _grid(vary))
    else:
        changes = _named([dict(change) for change in vary])
    found = {}
    for name, change in changes.items():
        try:
            found[name] = _changed(base, change)
        except ValueError as error:
            raise ValueError(f"variant {name!r}: {error}") from error
    return found


def over(tried: Mapping[str, Mapping[str, Any]], grid: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every variant at every point of a grid: by its name the variant's name and the settings of the point.

    Raises:
        ValueError: a setting that a variant's method has not, or values that are no list.

    Example:
        >>> list(over({"SimCLR": {"method.name": "simclr"}}, {"lr": [0.001, 0.01]}))
        ['SimCLR, lr=0.001', 'SimCLR, lr=0.01']
    """
    points = _named(_grid(grid))
    return {
        f"{name}, {words}": (name, canonical(point, settings.get("method.name")))
        for name, settings in tried.items()
        for words, point in points.items()
    }


def _grid(vary: Mapping[str, Any]) -> list[dict[str, Any]]:
    _check_lists(vary)
    return [dict(zip(vary, point, strict=True)) for point in itertools.product(*vary.values())]


def _around(base: Mapping[str, Any], vary: Mapping[str, Any]) -> list[dict[str, Any]]:
    _check_lists(vary)
    single = [(name, value) for name, values in vary.items() for value in values]
    # A value that the base has already is the base again.
    return [{}, *({name: value} for name, value in single if name not in base or base[name] != value)]


def _check_lists(vary: Mapping[str, Any]) -> None:
    for name, values in vary.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ValueError(f"vary {name!r}: give a list of its values, at least one, not {values!r}.")


def _changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The base with a change."""
    below = canonical(base, change.get("method", change.get("method.name"))) if base else {}
    above = canonical(change, below.get("method.name"))
    old, new = below.get("method.name"), above.get("method.name", below.get("method.name"))
    if old and new != old:
        gone = own_settings(old) - own_settings(new)
        below = {name: value for name, value in below.items() if name not in gone}
    return below | above


def _named(changes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for change in changes:
        name = ", ".join(f"{key}={_word(value)}" for key, value in change.items()) or "base"
        if name in named:
            raise ValueError(f"two variants are {name!r}: give each once, or names: vary={{'mine': {{...}}, ...}}.")
        named[name] = change
    return named


def _word(value: Any) -> str:
    if callable(value):
        return getattr(value, "__name__", repr(value))
    if isinstance(value, list | tuple):
        return "-".join(map(_word, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_words(value: Any) -> Any:
    """A setting as it stands in a table or a file."""
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value
