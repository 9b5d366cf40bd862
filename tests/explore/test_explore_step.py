"""The step debugger, without a browser: its controls are set as a person would."""

import sys

import pytest
import torch
from support.data import METHODS, SMALL, pictures, vectors
from support.runs import state_of

import hiercl
from hiercl import explore
from hiercl.plot._step import draw_step


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def run(data):
    return hiercl.fit("hcsc", data, **SMALL | METHODS["hcsc"] | {"epochs": 2})


@pytest.fixture
def explorer(run, data):
    return explore.step(run, data, batch=32)


def picture(explorer):
    return bytes(explorer.picture.value)


def test_the_stages_come_one_after_the_other_and_play(explorer):
    seen = [picture(explorer)]
    for stage in range(2, 6):
        explorer.stage.value = stage
        seen.append(picture(explorer))
    assert len(set(seen)) == 5 and all(content.startswith(b"\x89PNG") for content in seen)
    explorer.play.value = 2
    assert explorer.stage.value == 2 and picture(explorer) == seen[1]


def test_a_click_on_a_picture_makes_it_the_anchor(explorer):
    shown = [entry["item"] for entry in explorer.anchors.rows[0]["entries"]]
    before = picture(explorer)
    explorer.anchors.clicked = shown[4]
    assert explorer.shown.item == shown[4] and explorer.anchor == 4 and picture(explorer) != before


def test_another_term(explorer):
    assert explorer.term.options == tuple(term.name for term in explorer.step.terms)
    before = picture(explorer)
    explorer.term.value = "prototype 1"
    assert explorer.shown.term.name == "prototype 1" and picture(explorer) != before


def test_the_temperature_makes_the_step_again(explorer, run, data):
    explorer.stage.value = 5
    before, share, weights = explorer.shown, explorer.shown.forces.share, state_of(run)
    explorer.temperature.value = 1.0
    assert float(explorer.shown.forces.divisor.mean()) == pytest.approx(1.0)
    assert torch.equal(explorer.shown.forces.z, before.forces.z), "the same weights, anchors and views"
    assert explorer.shown.forces.share.max() < share.max(), "the softmax is flatter"
    assert explorer.shown.after.loss != before.after.loss
    again = run.changed(temperature=1.0).step(data, batch=32)
    assert float(again.loss) == float(explorer.step.loss)
    assert all(torch.equal(value, run.method.state_dict()[name]) for name, value in weights.items())


def test_it_draws_with_the_function_of_its_static_twin(explorer, run, data):
    explorer.stage.value = 4
    figure = hiercl.plot.step(run.step(data, batch=32), data, term=explorer.term.value, tree=run.tree, stage=4)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [text.get_text() for text in draw_step(explorer.shown, 4).axes[0].texts]


def test_features_without_a_run():
    explorer = explore.step(None, vectors(24), batch=12)
    assert explorer.term.options == ("instance", "level 0", "level 1")
    explorer.stage.value = 5
    assert explorer.shown.after is None
    explorer.temperature.value = 0.5
    assert float(explorer.shown.forces.divisor.mean()) == pytest.approx(0.5, rel=1e-6)


def test_another_data_set_is_an_error(run):
    with pytest.raises(ValueError, match="This run was trained on 64 items"):
        explore.step(run, pictures(40))


@pytest.mark.parametrize("module, package", [("ipywidgets", "ipywidgets"), ("anywidget", "anywidget")])
def test_without_its_packages_it_says_what_to_install(module, package, run, data, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        explore.step(run, data)
