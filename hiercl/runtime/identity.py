"""Hashes that tell things of one name apart: functions, objects, classes and tensors, whatever their address."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import torch

LIBRARIES = ("hiercl", "torch", "builtins", "abc", "typing")  # packages whose classes are nobody's own


def text_hash(text: str) -> str:
    """Returns a short hash of a text.

    Example:
        >>> text_hash("hcsc")
        'efc7a9a821ad5c98'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity_hash(thing: Any) -> str | None:
    """Returns a hash of what a function or a callable object does: its bytecode, and all values that it holds.

    Global variables that the code reads are not looked at.

    Args:
        thing: a function, a ``functools.partial``, a module of torch, or any object.

    Returns:
        The hash; None for what holds something that cannot be told from others, such as an open file.

    Example:
        >>> from torchvision.transforms import v2
        >>> identity_hash(v2.RandomErasing(p=0.5)) == identity_hash(v2.RandomErasing(p=0.5))
        True
        >>> identity_hash(v2.RandomErasing(p=0.5)) == identity_hash(v2.RandomErasing(p=0.6))
        False
    """
    content = repr(_content(thing, ()))
    return None if " at 0x" in content else text_hash(content)


def function_hash(function: Any) -> str | None:
    """Returns a hash of a function's bytecode, defaults and closure; None for what is not written in Python.

    Settings of version 0.1.0 hold it. It looks into fewer things than :func:`identity_hash`.

    Example:
        >>> function_hash(lambda p: p < 0.3) == function_hash(lambda p: p < 0.5), function_hash(print)
        (False, None)
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    closure = [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    return text_hash(repr((_instructions(code), closure, function.__defaults__, function.__kwdefaults__)))


def class_hash(kind: type) -> str:
    """Returns a hash of a class's own functions and plain values, and of those of its parents down to hiercl's.

    Example:
        >>> mine, other = (type("Mine", (), {"__module__": "mine", "steps": steps}) for steps in (3, 4))
        >>> class_hash(mine) == class_hash(other)
        False
    """
    owners = [owner for owner in kind.__mro__ if owner.__module__.partition(".")[0] not in LIBRARIES]
    content = [(owner.__qualname__, sorted(_members(owner))) for owner in owners]
    return text_hash(re.sub(r" at 0x[0-9a-f]+", "", repr(content)))  # addresses of objects among the defaults


def tensors_hash(tensors: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of names, types, shapes and numbers of a module's tensors, in any order.

    Args:
        tensors: a state dict. Of a tensor on the meta device only its shape counts, of anything else its text.

    Example:
        >>> tensors_hash({"a": torch.zeros(1)}) == tensors_hash({"a": torch.ones(1)})
        False
    """
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {getattr(value, 'dtype', value)} {list(getattr(value, 'shape', ()))}\n".encode())
        if isinstance(value, torch.Tensor) and not value.is_meta:
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _content(thing: Any, around: tuple[int, ...]) -> Any:
    """Returns plain values that are the same for equal things."""
    if id(thing) in around:
        return "itself"
    around = (*around, id(thing))

    def inner(*parts: Any) -> list:
        return [_content(part, around) for part in parts]

    if isinstance(thing, torch.Tensor):
        return str(thing.dtype), *inner(thing.detach().cpu().float().numpy())
    if isinstance(thing, np.ndarray):
        return str(thing.dtype), thing.shape, hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
    if isinstance(thing, Mapping):
        return sorted(repr(inner(*item)) for item in thing.items())
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, inner(*thing)))
    if isinstance(thing, list | tuple):
        return inner(*thing)
    if isinstance(thing, partial):
        return "partial", *inner(thing.func, thing.args, thing.keywords)
    if inspect.ismethod(thing):
        return inner(thing.__func__, thing.__self__)
    if inspect.isfunction(thing):
        thing = inspect.unwrap(thing)
        closure = [cell.cell_contents for cell in thing.__closure__ or ()]
        return _instructions(thing.__code__), *inner(closure, thing.__defaults__, thing.__kwdefaults__)
    if hasattr(thing, "__qualname__"):  # a class, or not written in Python
        return getattr(thing, "__module__", None), thing.__qualname__
    if isinstance(thing, Enum) or not hasattr(thing, "__dict__"):
        return repr(thing)
    own = {name: value for name, value in vars(type(thing)).items() if inspect.isfunction(value)}
    methods = [value for name, value in own.items() if name == "__call__" or not name.startswith("__")]
    return type(thing).__module__, type(thing).__qualname__, *inner(methods, vars(thing))


def _members(owner: type) -> Iterator[tuple[str, str]]:
    """Names of a class's functions, properties and plain values, with what they are."""
    for name, member in vars(owner).items():
        if isinstance(member, property):
            parts = (member.fget, member.fset)
        else:
            parts = (inspect.unwrap(getattr(member, "__func__", member)),)
        for part in parts:
            if inspect.isfunction(part):
                yield name, repr((_instructions(part.__code__), part.__defaults__, part.__kwdefaults__))
            elif isinstance(part, str | int | float | tuple) and not name.startswith("__"):
                yield name, repr(part)


def _instructions(code: Any) -> tuple:
    """Returns the bytecode of a function and of those inside it, without addresses and line numbers."""
    constants = [
        _instructions(c) if hasattr(c, "co_code") else repr(sorted(c, key=repr) if isinstance(c, frozenset) else c)
        for c in code.co_consts
    ]
    return code.co_code.hex(), code.co_names, constants
