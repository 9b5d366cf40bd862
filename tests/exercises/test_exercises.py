"""Every exercise: a right answer is accepted, typical wrong ones are not, and are told where to look."""

import importlib
from pathlib import Path

import pytest

from hiercl import exercises

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


def test_an_exercise_that_is_not_there():
    with pytest.raises(ValueError, match=r"Unknown exercise '02 lose'. Did you mean '02 loss'"):
        exercises.check("02 lose", 1)
