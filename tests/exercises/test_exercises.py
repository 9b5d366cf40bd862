"""Every exercise: a right answer is accepted, typical wrong ones are not, and are told where to look."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hiercl import exercises
from hiercl.exercises._exercise import plain, result_of

ANSWERS = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("answers_*.py"))]
RIGHT = {name: answers for module in ANSWERS for name, answers in module.RIGHT.items()}
WRONG = {name: answers for module in ANSWERS for name, answers in module.WRONG.items()}


def test_every_exercise_has_answers_here():
    assert set(RIGHT) == set(WRONG) == set(exercises.names())
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", exercises.names())
def test_right_is_right_and_wrong_is_wrong(name, capsys):
    for answer in RIGHT[name]:
        exercises.check(name, answer)
        assert capsys.readouterr().out == "Right.\n"
    for answer in WRONG[name]:
        exercises.check(name, answer)
        assert capsys.readouterr().out.startswith("Not yet: ")
    exercises.check(name, ...)
    assert "no answer yet" in capsys.readouterr().out


def of_one_kind(answer, refused, made):
    """The same function, which refuses arrays (or tensors), and returns tensors (or arrays)."""

    def function(*given):
        if any(isinstance(one, refused) for one in given):
            raise TypeError(f"{refused} are refused")
        found = result_of(answer, *map(plain, given))
        return found if found is ... else made(np.array(plain(found), order="C"))

    return function


def in_other_forms(answer):
    """The same answer as Python, NumPy and torch have it; words in other case and with blanks around them."""
    if callable(answer):
        return [of_one_kind(answer, torch.Tensor, np.asarray), of_one_kind(answer, np.ndarray, torch.as_tensor)]
    if isinstance(answer, str):
        return [f" {answer.upper()}\n", np.str_(answer), np.array(answer.title()), [answer]]
    if isinstance(answer, tuple | list) and isinstance(answer[0], str):
        return [[f" {word.upper()} " for word in answer], np.array(answer)]
    values = np.array(answer, dtype=float)
    if values.ndim:
        return [tuple(values.tolist()), values.tolist(), values, torch.tensor(values), tuple(map(torch.tensor, values))]
    numbers = [float(values), np.float64(values), np.float32(values), [float(values)], torch.tensor(values)]
    return [*numbers, values, values[None], values[None, None], torch.tensor([float(values)], requires_grad=True)]


@pytest.mark.parametrize("name", [name for name in exercises.names() if name != "11 hierarchy"])
def test_python_numpy_and_torch_are_alike(name, capsys):
    for answers, said in ((RIGHT[name], "Right."), (WRONG[name], "Not yet: ")):
        for answer in answers:
            if isinstance(answer, bool) or (isinstance(answer, str) and said != "Right."):
                continue
            for form in in_other_forms(answer):
                exercises.check(name, form)
                assert capsys.readouterr().out.startswith(said), (answer, form)


def test_an_exercise_that_is_not_there():
    with pytest.raises(ValueError, match=r"Unknown exercise '02 lose'. Did you mean '02 loss'"):
        exercises.check("02 lose", 1)


def test_a_value_where_a_function_is_asked_for(capsys):
    exercises.check("02 loss", torch.tensor(0.39))
    assert "asks for a function, and yours is a value of type Tensor" in capsys.readouterr().out


def test_the_first_error_of_a_function_is_shown(capsys):
    exercises.check("02 loss", lambda similarities, positive, temperature: similarities.softmux())
    assert "AttributeError: 'numpy.ndarray' object has no attribute 'softmux'" in capsys.readouterr().out
