"""A hash that tells functions and objects of one name apart: code, settings and tensors, whatever their address."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import torch

from hiercl.runtime.config import instructions


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
    return None if " at 0x" in content else hashlib.sha256(content.encode()).hexdigest()[:16]


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
        return instructions(thing.__code__), *inner(closure, thing.__defaults__, thing.__kwdefaults__)
    if hasattr(thing, "__qualname__"):  # a class, or not written in Python
        return getattr(thing, "__module__", None), thing.__qualname__
    if isinstance(thing, Enum) or not hasattr(thing, "__dict__"):
        return repr(thing)
    own = {name: value for name, value in vars(type(thing)).items() if inspect.isfunction(value)}
    methods = [value for name, value in own.items() if name == "__call__" or not name.startswith("__")]
    return type(thing).__module__, type(thing).__qualname__, *inner(methods, vars(thing))
