"""What an exercise is: a check that tells right from wrong, and says where to look, not what to write."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch

from hiercl.runtime.errors import unknown

_CHECKS: dict[str, Callable[[Any], None]] = {}


class Wrong(Exception):
    """An answer is wrong; its text says in what."""


def exercise(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Names a function as the check of an exercise: it raises :class:`Wrong` for a wrong answer."""

    def named(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _CHECKS[name] = function
        return function

    return named


def names() -> tuple[str, ...]:
    """All exercises, in the order of the notebooks."""
    return tuple(sorted(_CHECKS))


def check(name: str, answer: Any) -> None:
    """Prints whether an answer is right, and if not, where to look.

    Args:
        name: of the exercise, as the notebook gives it: ``"01 loss"``.
        answer: a number, a word or a function, whatever the question asks for; ``...`` is no answer yet.

    Raises:
        ValueError: there is no such exercise.

    Example:
        >>> check("01 false negatives", 0.95)
        Not yet: that is the share of the pushed that is rightly pushed.
    """
    if name not in _CHECKS:
        raise unknown("exercise", name, _CHECKS)
    if answer is ...:
        print(f"{name}: no answer yet. Write yours in place of the three dots.")
        return
    try:
        _CHECKS[name](answer)
    except Wrong as error:
        print(f"Not yet: {error}")
    except Exception as error:  # of the student's own function
        print(f"Not yet: your code stopped with {type(error).__name__}: {error}")
    else:
        print("Right.")


def _given(answer: Any) -> None:
    if answer is ... or answer is None:
        raise Wrong("your function gives no answer yet: write what it returns.")


def number(answer: Any) -> float:
    """The answer as a number; anything else is wrong."""
    _given(answer)
    if isinstance(answer, torch.Tensor | np.ndarray) and answer.size in (1, torch.Size([])):
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real) or not math.isfinite(answer):
        raise Wrong(f"a finite number is asked for, and this is {answer!r}.")
    return float(answer)


def function(answer: Any) -> Callable[..., Any]:
    """The answer as a function; anything else is wrong."""
    if not callable(answer):
        raise Wrong(f"a function is asked for, and this is a {type(answer).__name__}: give its name, without brackets.")
    return answer


def choice(answer: Any, right: str, hints: Mapping[str, str]) -> None:
    """Whether the answer is the right one of several words; each of the others has a hint."""
    if answer not in (right, *hints):
        raise Wrong(f"the answer is one of {', '.join(map(repr, sorted([right, *hints])))}, and this is {answer!r}.")
    if answer != right:
        raise Wrong(hints[answer])


def explain(found: float, hints: Mapping[float | int, str]) -> None:
    """Raises :class:`Wrong` with its hint for a number that is known as a wrong one."""
    for wrong, hint in hints.items():
        if close(found, wrong):
            raise Wrong(hint)


def array(answer: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The answer as an array of a shape; anything else is wrong."""
    _given(answer)
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu().numpy()
    answer = np.asarray(answer)
    if answer.shape != shape:
        raise Wrong(f"{what} should have the shape {list(shape)}, and yours has {list(answer.shape)}.")
    return answer


def close(answer: float | int, right: float | int, tolerance: float = 1e-4) -> bool:
    """Whether two numbers agree, as a share of the right one."""
    return math.isclose(answer, right, rel_tol=tolerance, abs_tol=tolerance)
