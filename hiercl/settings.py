"""Settings: keyword arguments in notebooks, flags on the command line, JSON beside every run."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """An error for a name that is not known, with the ones that are and the closest of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(known)}.")


def distribute(settings: Mapping[str, Any], *configs: type) -> tuple[Any, ...]:
    """Makes every config from the settings that bear the names of its fields.

    Raises:
        ValueError: a name that no config has; it lists the known ones.
    """
    fields = {field.name for config in configs for field in dataclasses.fields(config)}
    for name in settings:
        if name not in fields:
            raise unknown("setting", name, fields)
    return tuple(
        config(**{f.name: _frozen(settings[f.name]) for f in dataclasses.fields(config) if f.name in settings})
        for config in configs
    )


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
        if isinstance(value, Mapping) and set(value) == {"function"} and name not in functions:
            raise ValueError(
                f"{name!r} was your function {value['function']!r}, and functions are not saved: give it again, "
                f"as load_run(path, {name}={value['function']})."
            )
    return distribute(values | functions, config)[0]


def _plain(value: Any) -> Any:
    if callable(value):
        return {"function": getattr(value, "__name__", repr(value))}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
