"""Given: an encoder that is no name but a module or a function, with what settings files say of it."""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hiercl.encoders.base import Encoder
from hiercl.runtime.identity import identity_hash, tensors_hash, text_hash


@dataclass(frozen=True)
class Given:
    """A module, an encoder or a function that makes one. Calling it gives what can be trained: a copy, or a new one.

    Attributes:
        module: name of the Python module of its class, or of the function.
        name: name of the class or of the function there.
        code: hash of the function's code, or of the module's layers; None if it cannot be told from others.
        weights: hash of the module's weights; None for a function.
        origin: name that makes such an encoder, for an encoder that a name has made.
        thing: the module or function; None for one that a settings file describes.

    Example:
        >>> Given.of(run).origin
        'whitenet'
    """

    module: str
    name: str
    code: str | None
    weights: str | None = None
    origin: str | None = None
    thing: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, thing: Any) -> Given:
        """Describes what was given as an encoder.

        Args:
            thing: a module, an :class:`Encoder`, a run or a pretrained model, a function without arguments, or what
                :meth:`to_json` wrote.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(thing, Given):
            return thing
        if isinstance(thing, Mapping) and {"module", "name", "code"} <= thing.keys():
            return cls(**thing)
        thing = _encoder_in(thing)
        if isinstance(thing, nn.Module):
            _check_module(thing)
            inner = getattr(thing, "net", thing) if isinstance(thing, Encoder) else thing
            origin = thing.origin if isinstance(thing, Encoder) else None
            code, weights = text_hash(repr(thing)), tensors_hash(thing.state_dict())
            return cls(type(inner).__module__, type(inner).__qualname__, code, weights, origin, thing)
        _check_callable(thing)
        function = thing.func if isinstance(thing, partial) else thing
        named = function if hasattr(function, "__qualname__") else type(function)
        name = f"partial({named.__qualname__})" if isinstance(thing, partial) else named.__qualname__
        return cls(named.__module__, name, _code(thing), thing=thing)

    def to_json(self) -> dict[str, str | None]:
        """Returns the description, without what does not apply."""
        known = {"weights": self.weights, "origin": self.origin}
        found = {name: value for name, value in known.items() if value is not None}
        return {"module": self.module, "name": self.name, "code": self.code, **found}

    def __call__(self) -> nn.Module | str:
        """Returns a copy of the module, what the function makes, or the name that makes such an encoder.

        Raises:
            ValueError: it is only described here and cannot be imported; or it cannot be copied.
        """
        if self.thing is None and self.origin is not None:
            return self.origin
        return made_of(self._find() if self.thing is None else self.thing)

    def _find(self) -> Callable[[], nn.Module]:
        """The function or class, if it stands at the top of a Python module."""
        found = None
        if self.weights is None and self.name.isidentifier():
            try:
                found = getattr(importlib.import_module(self.module), self.name, None)
            except ImportError:
                pass
        own = getattr(found, "__module__", None) == self.module and (
            inspect.isfunction(found) or inspect.isclass(found)
        )
        if not own:
            what = "a module" if self.weights else "the result of a function"
            raise ValueError(
                f"the encoder of this run is {what} of your own, {self.name} of {self.module}, and runs do not keep "
                "its code: give it again, load_run(path, encoder=that module or function)."
            )
        if _code(found) != self.code:
            warnings.warn(
                f"{self.module}.{self.name} is not the code that this run was trained with: it was changed since then, "
                "or Python was.",
                stacklevel=2,
            )
        return found  # pyright: ignore[reportReturnType]

    def __str__(self) -> str:
        return self.origin or self.name


def made_of(thing: Any) -> nn.Module | str:
    """Returns a copy of a module, or what a function makes; never the very thing that was given.

    Args:
        thing: as :meth:`Given.of` takes it, or a name.

    Raises:
        ValueError: it is none of these, or it cannot be copied.

    Example:
        >>> made_of(run) is run.encoder
        False
    """
    thing = _encoder_in(thing)
    if isinstance(thing, nn.Module):
        _check_module(thing)
        try:
            return copy.deepcopy(thing)
        except Exception as error:
            name = type(thing).__name__
            raise ValueError(f"{name} cannot be copied ({error}): give a function that makes it.") from error
    if isinstance(thing, str):
        return thing
    _check_callable(thing)
    try:
        inspect.signature(thing).bind()
    except TypeError as error:
        name = getattr(thing, "__name__", type(thing).__name__)
        raise ValueError(
            f"encoder={name} cannot be called without arguments ({error}): give a function that needs none, such as "
            f"lambda: {name}(...)."
        ) from None
    except ValueError:  # of no known signature
        pass
    made = _encoder_in(thing())
    if not isinstance(made, nn.Module | str):
        raise ValueError(f"encoder={thing!r} makes a {type(made).__name__}: it must make a torch.nn.Module.")
    if isinstance(made, nn.Module):
        _check_module(made)
    return made


def _check_module(module: nn.Module) -> None:
    """Raises ValueError for a module that is not whole yet, or not in float32."""
    name = type(module).__name__
    for value in module.parameters():
        if is_lazy(value):
            raise ValueError(f"{name} has lazy layers, which have no weights yet: call it once with a batch of items.")
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(f"{name} has weights in {value.dtype}: give it in float32, module.float().")


def _encoder_in(thing: Any) -> Any:
    """The encoder of a run, a pretrained model or a method; anything else is given back."""
    own = getattr(thing, "encoder", None)
    return own if isinstance(own, Encoder) else thing


def _check_callable(thing: Any) -> None:
    if not callable(thing):
        raise ValueError(
            f"encoder={thing!r}: give a name such as 'convnet' or 'torchvision:resnet18', a torch.nn.Module, an "
            "encoder of hiercl, a run, or a function that makes a module."
        )


def _code(function: Any) -> str | None:
    """Tells two functions, or classes, of one name apart; None where nothing tells."""
    if not inspect.isclass(function):
        return identity_hash(function)
    try:
        return text_hash(inspect.getsource(function))
    except (OSError, TypeError):  # typed in, or not written in Python
        return None
