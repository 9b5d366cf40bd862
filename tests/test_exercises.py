"""Every exercise: a right answer is accepted, typical wrong ones are not, and are told where to look."""

import numpy as np
import pytest

from hiercl import exercises

RIGHT, WRONG = {}, {}


def softmax_loss(similarities, positive, temperature):
    logits = similarities / temperature
    return np.log(np.exp(logits).sum()) - logits[positive]


RIGHT["01 false negatives"] = [0.05, 1 / 20]
WRONG["01 false negatives"] = [0.01, 0.95, 5, 0.1, "few", True]
RIGHT["01 loss"] = [softmax_loss]
WRONG["01 loss"] = [
    lambda s, p, t: -softmax_loss(s, p, t),
    lambda s, p, t: softmax_loss(s, p, 1.0),
    lambda s, p, t: softmax_loss(s, p, t) / np.log(2),
    lambda s, p, t: np.log(np.exp(np.delete(s, p) / t).sum()) - s[p] / t,
    lambda s, p, t: ...,
    lambda s: 0.0,
    0.5,
]
RIGHT["01 pushed"] = [lambda items: items[:, None] != items[None, :]]
WRONG["01 pushed"] = [
    lambda items: ~np.eye(len(items), dtype=bool),
    lambda items: items[:, None] == items[None, :],
    lambda items: np.ones((len(items), len(items)), dtype=bool),
    lambda items: (items[:, None] != items[None, :]).astype(float),
    lambda items: np.triu(items[:, None] != items[None, :]),
    lambda items: items[:, None] != items[None, : len(items) // 2],
]
RIGHT["08 invariance"] = [lambda p: p[:, 2].std(), lambda p: np.ptp(p[:, 2]), lambda p: (p[:, :2] ** 2).sum(1).mean()]
WRONG["08 invariance"] = [
    lambda p: p[0, 2],
    lambda p: np.ptp(p[:, 0]),
    lambda p: p[:, 0].sum() + p[:, 2].std(),
    lambda p: 1.0,
    lambda p: p.max(axis=0),
]
RIGHT["08 lambda"] = [307 / 1024, 0.299805]
WRONG["08 lambda"] = [0.3, 307, 717 / 1024, 308 / 1024]
RIGHT["08 balanced"] = [(95, 75), np.array([95.0, 75.0])]
WRONG["08 balanced"] = [(75, 95), (0.95, 0.75), (95, 95), 95]


def test_every_exercise_has_answers_here():
    assert set(RIGHT) == set(WRONG) == set(exercises.names())
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", exercises.names())
def test_right_is_right_and_wrong_is_wrong(name, capsys):
    for answer in RIGHT[name]:
        assert exercises.check(name, answer), capsys.readouterr().out
    capsys.readouterr()
    for answer in WRONG[name]:
        assert not exercises.check(name, answer)
        assert capsys.readouterr().out.startswith("Not yet: ")
    assert not exercises.check(name, ...)
    assert "no answer yet" in capsys.readouterr().out


def test_an_exercise_that_is_not_there():
    with pytest.raises(ValueError, match=r"Unknown exercise '01 lose'. Did you mean '01 loss'"):
        exercises.check("01 lose", 1)
