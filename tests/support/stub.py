"""Writes hiercl/__init__.pyi, from which editors complete ``hiercl.`` and the settings of ``fit``.

.venv/bin/python tests/support/stub.py
"""

import types
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import torch

STUB = Path(__file__).parents[2] / "hiercl" / "__init__.pyi"
HEADER = '''"""The public names of hiercl, for editors and type checkers. tests/support/stub.py writes this file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

'''


def stub() -> str:
    """The text of the stub."""
    import hiercl

    lines = []
    for name, home in hiercl._HOMES.items():
        module, _, attribute = home.partition(":")
        if name == "fit":
            continue
        if attribute:
            lines.append(f"from hiercl.{module} import {attribute} as {name}")
        else:
            room, _, file = f"hiercl.{module}".rpartition(".")
            lines.append(f"from {'.' if room == 'hiercl' else room} import {file} as {name}")
    settings = [f"    {name}: {annotation} = ...," for name, annotation in annotations().items()]
    fit = [
        "def fit(",
        "    method: str | type[methods.Method],",
        "    dataset: HierarchicalDataset,",
        "    *,",
        "    official: bool = False,",
        "    out: str | Path | None = None,",
        "    resume: bool | Run = False,",
        "    callbacks: Sequence[Callable[[Run], bool | None]] = (),",
        "    progress: bool = True,",
        *settings,
        "    **settings: Any,",
        ") -> Run: ...",
    ]
    ours = sorted(line for line in lines if line.startswith("from . "))
    others = sorted(set(lines) - set(ours))
    return HEADER + "\n".join([*others, "", *ours, "", "__version__: str", "", *fit]) + "\n"


def annotations() -> dict[str, str]:
    """The type of every setting of the training, the views and the methods."""
    from hiercl import encoders, methods, training

    views = [modality.view_config for modality in encoders.MODALITIES.values()]
    found: dict[str, set[str]] = {}
    for config in (training.FitConfig, *views, *(methods.get(name).Config for name in methods.names())):
        hints = typing.get_type_hints(config)
        for field in fields(config):
            found.setdefault(field.name, set()).update(in_words(hints[field.name]))
    return {name: " | ".join(sorted(several, key=lambda one: (one == "None", one))) for name, several in found.items()}


def in_words(hint: typing.Any) -> list[str]:
    """A type as it is written in code, each part of a union by itself."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [word for part in inner for word in in_words(part)]
    if origin is typing.Literal:
        return [f"Literal[{', '.join(repr(choice).replace(chr(39), chr(34)) for choice in inner)}]"]
    if origin is tuple:
        return [f"tuple[{', '.join('...' if part is Ellipsis else in_words(part)[0] for part in inner)}]"]
    if origin is Callable:
        return ["Callable[..., Any]"]
    names = {type(None): "None", torch.device: "torch.device"}
    return [names.get(hint, hint.__name__)]


if __name__ == "__main__":
    STUB.write_text(stub())
