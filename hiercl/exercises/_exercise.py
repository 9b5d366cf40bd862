"""What an exercise is: a right answer, and for typical wrong answers a hint that says where to look."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np
import torch

from hiercl.runtime.errors import unknown

Solution = tuple[Any, dict[str, Any]]
NOT_A_SHARE = {"a share lies between 0 and 1, and yours is above 1.": lambda answer: answer > 1}
RIGHT = "Right."
_CHECKS: dict[str, Callable[[Any], None]] = {}


class Wrong(Exception):
    """Says what is wrong with an answer."""


def any_other(answer: Any) -> bool:
    """Matches every answer: the hint for what no other hint is for."""
    return True


def names() -> tuple[str, ...]:
    """Returns the names of all exercises, in the order of the notebooks.

    Example:
        >>> hiercl.exercises.names()[:2]
        ('00 chance', '00 removed')
    """
    return tuple(sorted(_CHECKS))


def check(name: str, answer: Any) -> None:
    """Prints whether an answer is right, and if it is not, where to look.

    Args:
        name: Name of the exercise, as the notebook gives it, such as ``"02 loss"``.
        answer: What the exercise asks for: a number, a word, a tuple or a function. ``...`` means no answer yet.
            Python, NumPy and torch are alike: a number may also be an array or a tensor of one number, and a function
            may work with arrays or with tensors. In words, upper case and blanks around them do not matter.

    Raises:
        ValueError: There is no exercise of that name.

    Example:
        >>> hiercl.exercises.check("02 false negatives", 0.05)
        Right.
        >>> hiercl.exercises.check("02 false negatives", 0.95)
        Not yet: that is the share of pushed views that are of other classes.
    """
    print(_verdict(name, answer))


def grade(name: str, answer: Any) -> None:
    """Raises AssertionError with the hint of :func:`check` if an answer is not right. Assignments are graded with it.

    Args:
        name: Name of the exercise.
        answer: What the exercise asks for.

    Raises:
        AssertionError: The answer is wrong or missing.
        ValueError: There is no exercise of that name.

    Example:
        >>> hiercl.exercises.grade("02 false negatives", 0.05)
    """
    verdict = _verdict(name, answer)
    assert verdict == RIGHT, verdict


def _verdict(name: str, answer: Any) -> str:
    """Returns what is said of an answer."""
    if name not in _CHECKS:
        raise unknown("exercise", name, _CHECKS)
    if answer is ...:
        return f"{name}: no answer yet. Write your answer in place of the three dots."
    try:
        _CHECKS[name](answer)
    except Wrong as error:
        return f"Not yet: {error}"
    except Exception as error:  # from the student's own function
        return f"Not yet: your code stopped with {type(error).__name__}: {error}"
    return RIGHT


def exercise(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Registers a function as the check of an exercise. The function raises :class:`Wrong` for a wrong answer."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _CHECKS[name] = function
        return function

    return register


def solution(
    name: str, cases: Iterable[tuple] = ((),), tolerance: float | int = 1e-4
) -> Callable[[Callable[..., Solution]], Callable[..., Solution]]:
    """Registers a function that solves an exercise; answers are compared with what it returns.

    The function returns the right answer and a dictionary. A key of the dictionary is a hint. Its value is the wrong
    answer that the hint is for, a list of such answers, or a condition on the answer. The first hint that fits is
    printed. Where none fits, the student reads whether the number should be larger or smaller.

    Args:
        name: Name of the exercise.
        cases: Arguments that an answer is called with, if it is a function. By default the answer is a value.
        tolerance: Largest error of a number that counts as right, absolute or relative.
    """
    cases = list(cases)

    def register(solve: Callable[..., Solution]) -> Callable[..., Solution]:
        @exercise(name)
        def compare(answer: Any) -> None:
            for arguments in cases:
                found = result_of(answer, *arguments) if arguments else answer
                right, hints = solve(*arguments)
                found = _conform(found, right, hints)
                if nearly_equal(found, right, tolerance):
                    continue
                fitting = (hint for hint, wrong in hints.items() if _fits(found, wrong, tolerance))
                raise Wrong(next(fitting, None) or _direction(solve, arguments, found < right))

        return solve

    return register


def _conform(answer: Any, right: Any, hints: dict[str, Any]) -> Any:
    """Returns the answer as a word, a number or an array, like the right one."""
    if isinstance(right, str):
        words = {word.lower(): word for word in [right, *hints.values()]}
        if (given := np.char.lower(np.char.strip(np.asarray(plain(answer), dtype=str)))).size != 1:
            raise Wrong(f"give one word. Yours is {answer!r}.")
        if given.item() not in words:
            raise Wrong(f"the answer is one of {', '.join(map(repr, sorted(words)))}, and yours is {answer!r}.")
        return words[given.item()]
    if isinstance(right, tuple) and np.shape(plain(answer)) != (len(right),):
        raise Wrong(f"give {len(right)} values in a tuple.")
    return as_number(answer) if isinstance(right, Real) else _as_array(answer, np.asarray(right))


def _fits(answer: Any, wrong: Any, tolerance: float | int) -> bool:
    """Returns whether an answer fulfils a condition, or is one of the wrong ones."""
    if callable(wrong):
        return bool(wrong(answer))
    return any(nearly_equal(answer, one, tolerance) for one in (wrong if isinstance(wrong, list) else [wrong]))


def _direction(solve: Callable, arguments: tuple, more: bool) -> str:
    """Says whether a number should be larger or smaller, and for which arguments: the shapes of arrays, and numbers."""
    named = zip(inspect.signature(solve).parameters, arguments, strict=True)
    given = ", ".join(f"{name} {list(v.shape)}" if np.ndim(v) else f"{name} = {v:.3g}" for name, v in named)
    return f"for {given} it should be {'more' if more else 'less'}."


def as_function(answer: Any) -> Callable[..., Any]:
    """Returns the answer, which must be a function."""
    if not callable(answer):
        form = f"this exercise asks for a function, and yours is a value of type {type(answer).__name__}"
        raise Wrong(f"{form}: write the name of your function, without brackets.")
    return answer


def result_of(answer: Any, *arguments: Any) -> Any:
    """Calls the student's function. If it fails, it gets tensors in place of arrays, or arrays in place of tensors.

    If it fails again, the error is the first one.
    """
    function = as_function(answer)
    try:
        return function(*copy.deepcopy(arguments))
    except Exception:
        with suppress(Exception):
            return function(*map(_other_kind, arguments))
        raise


def _other_kind(value: Any) -> Any:
    """Returns a copy with tensors in place of NumPy arrays, and arrays in place of tensors."""
    if isinstance(value, list):
        return [_other_kind(part) for part in value]
    return torch.tensor(value) if isinstance(value, np.ndarray) else copy.copy(plain(value))


def plain(value: Any) -> Any:
    """Returns a value in which every tensor is a NumPy array."""
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def as_number(answer: Any) -> float:
    """Returns the answer as a finite number; an array, a tensor or a list of one number is this number."""
    _check_given(answer)
    number = plain(answer)
    if isinstance(number, list | np.ndarray) and np.size(number) == 1:
        number = np.asarray(number).item()
    if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
        raise Wrong(f"give a finite number. Yours is {answer!r}.")
    return float(number)


def _as_array(answer: Any, right: np.ndarray) -> np.ndarray:
    """Returns the answer as an array of the right shape and kind."""
    _check_given(answer)
    answer = np.asarray(plain(answer))
    if answer.shape != right.shape:
        raise Wrong(f"the answer should have the shape {list(right.shape)}, and yours has {list(answer.shape)}.")
    if right.dtype.kind == "U" and answer.dtype.kind == "U":
        return np.char.lower(np.char.strip(answer))
    if right.dtype == bool and answer.dtype != bool:
        raise Wrong(f"the entries should be True and False, and yours are {answer.dtype}.")
    if right.dtype.kind in "fi" and not (answer.dtype.kind in "fib" and np.isfinite(answer).all()):
        raise Wrong("all entries must be finite numbers.")
    return answer


def _check_given(answer: Any) -> None:
    if answer is ... or answer is None:
        raise Wrong("your function gives no answer yet: write what it returns.")


def nearly_equal(answer: Any, right: Any, tolerance: float | int = 1e-4) -> bool:
    """Returns whether two values agree: numbers up to an absolute or relative error, all others exactly."""
    answer, right = np.asarray(answer), np.asarray(right)
    if answer.shape != right.shape or right.dtype.kind not in "fib" or answer.dtype.kind not in "fib":
        return np.array_equal(answer, right)
    pairs = zip(answer.flat, right.flat, strict=True)
    return all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in pairs)
