"""Variants: what a study compares, from a base and from what varies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hiercl import methods
from hiercl.study.configurations import canonical, field_names

MOST_POINTS = 10_000


def variants(base: Mapping[str, Any], vary: Any, one_at_a_time: bool = False) -> dict[str, dict[str, Any]]:
    """Returns the name and the settings (by their full names) of every variant.

    A variant may have another method than the base. Settings that only the base's method knows are then left out.

    Args:
        base: settings of all variants.
        vary: settings with a list of values each; or a list of variants, each a mapping of settings; or a mapping from
            names to variants.
        one_at_a_time: whether settings vary one at a time around the base, and not as a full grid.

    Raises:
        ValueError: an unknown setting, no variant, two variants of one name, or values that are not a list.

    Example:
        >>> list(variants({"method": "moco"}, {"queue": [64, 128], "temperature": [0.1, 0.2]}))[:2]
        ['queue=64, temperature=0.1', 'queue=64, temperature=0.2']
    """
    if not vary or not isinstance(vary, Mapping | Sequence) or isinstance(vary, str | bytes):
        raise ValueError("nothing to vary: give vary={'temperature': [0.1, 0.2]}, or a list of variants.")
    named = isinstance(vary, Mapping) and all(isinstance(value, Mapping) for value in vary.values())
    if one_at_a_time and (named or not isinstance(vary, Mapping)):
        raise ValueError("one_at_a_time=True needs settings with lists of values, and these are variants already.")
    if named:
        changes = {str(name): change for name, change in dict(vary).items()}
    elif not isinstance(vary, Mapping):
        for change in vary:
            if not isinstance(change, Mapping):
                raise ValueError(f"vary has {change!r:.80}: each variant is a mapping of settings, or give names.")
        changes = _with_names(vary)
    elif one_at_a_time:
        values = [(name, value) for name, values in check_lists(vary).items() for value in values]
        # A value that the base already has gives the base again.
        new = [{name: value} for name, value in values if name not in base or base[name] != value]
        changes = _with_names([{}, *new])
    else:
        changes = _with_names(_points(vary))
    found = {}
    for name, change in changes.items():
        try:
            found[name] = _changed(base, change)
        except ValueError as error:
            raise ValueError(f"variant {name!r}: {error}") from error
    return found


def at_grid_points(
    compared: Mapping[str, Mapping[str, Any]], grid: Mapping[str, Any]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns every variant at every point of a grid: its name maps to the variant and the settings of the point.

    Args:
        compared: name and settings of the variants.
        grid: settings with a list of values each.

    Raises:
        ValueError: a setting that the method of a variant does not have, or values that are not a list.

    Example:
        >>> list(at_grid_points({"SimCLR": {"method.name": "simclr"}}, {"lr": [0.001, 0.01]}))
        ['SimCLR, lr=0.001', 'SimCLR, lr=0.01']
    """
    points = _with_names(_points(grid))
    return {
        f"{name}, {words}": (name, canonical(point, settings.get("method.name")))
        for name, settings in compared.items()
        for words, point in points.items()
    }


def as_text(value: Any) -> Any:
    """Returns a setting as a table or a file shows it: functions and modules by their names, a tuple with hyphens.

    Example:
        >>> as_text((4, 8)), as_text(len), as_text(0.1)
        ('4-8', 'len', 0.1)
    """
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


def check_lists(lists: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the lists of values of a grid.

    Raises:
        ValueError: values that are no list, or too many points.

    Example:
        >>> check_lists({"lr": [0.001, 0.01]})
        {'lr': [0.001, 0.01]}
    """
    for name, values in lists.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ValueError(f"vary {name!r}: give a list of its values, at least one, not {values!r:.80}.")
    points = math.prod(map(len, lists.values()))
    if points > MOST_POINTS:
        raise ValueError(f"a grid of {points:,} points: give fewer values, at most {MOST_POINTS:,} points.")
    return lists


def _points(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*check_lists(grid).values())]


def _changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The base with a change."""
    below = canonical(base, change.get("method", change.get("method.name"))) if base else {}
    above = canonical(change, below.get("method.name"))
    old = below.get("method.name")
    if old and (new := above.get("method.name", old)) != old:
        gone = field_names(methods.get(old).Config) - field_names(methods.get(new).Config)
        below = {name: value for name, value in below.items() if name.removeprefix("method.") not in gone}
    return below | above


def _with_names(changes: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {}
    for change in changes:
        name = ", ".join(f"{key}={_word(value)}" for key, value in change.items()) or "base"
        if name in named:
            raise ValueError(f"two variants are {name!r}: give each once, or names: vary={{'mine': {{...}}, ...}}.")
        named[name] = change
    return named


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(_word, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(as_text(value))
