"""The strip of one step: its numbers are those of the forces, later stages stay empty, and no text overlaps another."""

import math

import numpy as np
import pytest
import torch
from support.data import METHODS, SMALL, pictures, vectors
from support.figures import overlapping, texts

import hiercl
from hiercl import plot
from hiercl.pairs import Term, forces
from hiercl.pairs.by_label import by_label
from hiercl.plot._step import STAGES, _apart, draw_step, one_anchor, plane_of


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def run(data):
    return hiercl.fit("hcsc", data, **SMALL | METHODS["hcsc"] | {"epochs": 2})


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_first_and_the_last_term_of_every_method(name, data):
    run = hiercl.fit(name, data, **SMALL | METHODS[name] | {"epochs": 1, "batch": 16})
    step = run.step(data, batch=16)
    for term in {step.terms[0].name: step.terms[0], step.terms[-1].name: step.terms[-1]}.values():
        figure = plot.step(step, data, term=term.name, tree=run.tree)
        shown = texts(figure)
        assert any(text.startswith(f"One anchor in the term “{term.name}”") for text in shown)
        assert sum(text in STAGES for text in shown) == 5 and not overlapping(figure)


def test_its_numbers_are_those_of_the_forces(run, data):
    step, after = run.step(data, batch=32), run.learned(data, batch=32).step(data, batch=32)
    one = one_anchor(step, data, 5, "instance 0", count=4, tree=run.tree, after=after, network="weights")
    found, term = forces(step.terms[0], 5), step.terms[0]
    assert one.forces.loss == pytest.approx(term.reduced("none")[5].item(), abs=1e-5)
    roles, order = [row.role for row in one.rows], ["pulled", "pushed", "removed", "left alone"]
    assert roles == sorted(roles, key=order.index) and roles.count("pulled") == 1 and 1 < roles.count("pushed") <= 5
    places = np.concatenate([row.places for row in one.rows if row.role == "pushed"])
    assert sorted(places) == torch.nonzero(term.pairs.negative[5]).flatten().tolist(), "each pushed one is in one row"
    most, rest = found.similarity()[places[:4]], found.similarity()[places[4:]]
    assert (most.diff() <= 0).all() and (most.min() >= rest).all()
    shown = texts(draw_step(one))
    assert f"{found.similarity()[places[0]]:.2f}".replace("-", "−") in shown
    held = 100 * float(found.share[found.target > 0])
    assert any(f"The pulled hold {held:.0f} %" in text or f"hold {held:.1f} %" in text for text in shown)
    assert one.after.loss == pytest.approx(after.terms[0].reduced("none")[5].item(), abs=1e-5)
    assert any(text.startswith("weights") for text in shown)


def test_the_plane_holds_the_sums(run, data):
    found = forces(run.step(data, batch=32).terms[0], 3)
    plane, tangent = plane_of(found), found.tangent(found.gradient)
    assert np.linalg.norm(plane.pull + plane.push) == pytest.approx(float(tangent.norm()))
    assert (plane.pull + plane.push)[1] == pytest.approx(0, abs=1e-9) and (plane.pull + plane.push)[0] > 0
    pulled = found.tangent(found.contributions[found.strength > 0].sum(dim=0))
    assert np.linalg.norm(plane.pull) == pytest.approx(float(pulled.norm())) and plane.pull[1] > 0
    assert 0 < plane.held <= 1


def test_forces_on_one_line_still_have_a_plane():
    z = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
    found = forces(Term.of(z, by_label(torch.tensor([0, 0, 1]))))
    plane = plane_of(found)
    assert plane.held == pytest.approx(1) and np.isfinite(plane.direction).all()
    nothing = plane_of(forces(Term.of(torch.eye(3), by_label(torch.tensor([0, 1, 1])))))
    assert not nothing.strength.any() and np.isfinite(nothing.direction).all()


def test_later_stages_are_empty(run, data):
    step = run.step(data, batch=32)
    counts = [len(plot.step(step, data, stage=stage, tree=run.tree).findobj()) for stage in range(1, 6)]
    assert counts == sorted(set(counts))
    first = texts(plot.step(step, data, stage=1, tree=run.tree))
    assert not any(text.startswith(("cosine", "at τ", "negative gradient", "what it adds")) for text in first)


def test_a_run_makes_its_own_step_and_one_of_its_weights(run, data):
    before = {name: value.clone() for name, value in run.method.state_dict().items() if torch.is_tensor(value)}
    shown = texts(plot.step(run, data, anchor=2, term="prototype 1", batch=16, seed=3))
    assert any(text.startswith("weights (muon)") for text in shown)
    assert all(torch.equal(value, run.method.state_dict()[name]) for name, value in before.items())
    same = texts(plot.step(run.step(data, batch=16, seed=3), data, anchor=2, term="prototype 1", tree=run.tree))
    assert same[0] == shown[0] and not any(text.startswith("weights") for text in same)


def test_a_term_of_features_alone():
    data = vectors(24)
    z = torch.as_tensor(np.asarray(data.items)[:, 0], dtype=torch.float32)
    figure = plot.step(Term.of(z, by_label(data.labels)), data, anchor=1)
    assert any("The pulled hold" in text for text in texts(figure)) and not overlapping(figure)
    alone = plot.step(Term.of(z[:3], by_label(torch.tensor([0, 1, 1]))), data, anchor=0)
    assert any("no pulled candidate: its loss is 0" in text for text in texts(alone))


def test_all_texts_are_large_enough(run, data):
    from matplotlib.text import Text

    figure = plot.step(run, data, batch=16)
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 9


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"anchor": 999}, "no anchor 999"),
        ({"term": "instanse 0"}, "Did you mean 'instance 0'"),
        ({"count": 0}, "count=0"),
        ({"stage": 6}, "stage=6"),
        ({"level": 5}, "no level 5"),
    ],
)
def test_wrong_arguments(run, data, wrong, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        plot.step(run, data, **wrong)
    with pytest.raises(ValueError, match=r"give run\.step"):
        plot.step(math.pi, data)


def test_one_more_step_of_the_optimiser(run, data):
    made = {"batch": 32, "seed": 4}
    before = run.step(data, **made)
    after = run.learned(data, lr=1e-4, **made).step(data, **made)
    assert after.loss < before.loss
    assert all(
        torch.equal(a.pairs.candidates.item, b.pairs.candidates.item)
        for a, b in zip(after.terms, before.terms, strict=True)
    )
    assert float(run.step(data, **made).loss) == float(before.loss)


def test_pictures_at_the_ring_keep_apart():
    angles, strength = np.array([3.1, -3.1, 0.5, 0.52, 0.5]), np.array([0.1, 0.1, 0.1, 5.0, 0.1])
    placed = _apart(angles, strength, 0.4)
    between = np.mod(placed[:, None] - placed[None, :] + 1e-9, 2 * np.pi)[~np.eye(5, dtype=bool)]
    assert between.min() >= 0.4 - 1e-6 and abs(placed[3] - 0.52) < 0.03, "the strongest hardly moves"
    assert np.array_equal(_apart(angles[:1], strength[:1], 0.4), angles[:1])
