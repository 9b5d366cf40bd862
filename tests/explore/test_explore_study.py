"""The explorer of studies, without a browser: its widgets are set and clicked as a person would."""

import sys

import pytest
from support.data import pictures
from support.studies import BASE

from hiercl import explore


@pytest.fixture(scope="module")
def data():
    return pictures(64), pictures(40, seed=1)


@pytest.fixture(autouse=True)
def no_trials(monkeypatch):
    """Every run takes a millisecond for an item and an epoch. The tests of studies measure it by a short trial."""
    monkeypatch.setattr("hiercl.study.estimate._trial", lambda made, given: 0.001)


def make(tmp_path, data, **factors):
    return explore.study(BASE, factors or {"temperature": [0.1, 0.5], "queue": [20, 40]}, *data, out=tmp_path)


def test_what_is_chosen_is_the_study(tmp_path, data):
    explorer = make(tmp_path, data)
    assert len(explorer.study.variants) == 4 and "20 runs are missing" in explorer.estimated.value
    explorer.values["queue"].value = (0,)
    explorer.seeds.value = 2
    assert list(explorer.study.variants) == ["temperature=0.1, queue=20", "temperature=0.5, queue=20"]
    assert "4 runs are missing: about" in explorer.estimated.value
    explorer.values["queue"].value = explorer.values["temperature"].value = ()
    assert "nothing is chosen" in explorer.estimated.value and explorer.run_button.disabled
    explorer.values["temperature"].value = (1,)
    assert list(explorer.study.variants) == ["temperature=0.5"] and not explorer.run_button.disabled


def test_run_and_compare(tmp_path, data):
    explorer = make(tmp_path, data, temperature=[0.1, 0.5])
    explorer.seeds.value = 1
    assert explorer.picture.value == b""
    one, two = explorer.chips.values()
    one.value = True
    assert explorer.compared.value == ""
    two.value = True
    assert explorer.compared.value.count("is not done yet") == 2
    explorer.start(wait=True)
    assert explorer.status.value == "2 of 2 runs are done" and explorer.progress.value == 2
    before = bytes(explorer.picture.value)
    assert before.startswith(b"\x89PNG")
    explorer.metric.value = "knn"
    assert explorer.picture.value != before
    one.value = False
    one.value = True
    assert explorer.compared.value == "" and explorer.picked == ["temperature=0.5", "temperature=0.1"]
    assert all(bytes(picture.value).startswith(b"\x89PNG") for picture in explorer.pictures)
    explorer.what.value = "tree"
    assert "moco has learned no tree" in explorer.compared.value


def test_of_three_variants_the_last_two_that_were_clicked(tmp_path, data):
    explorer = make(tmp_path, data, temperature=[0.1, 0.5, 0.9])
    for chip in explorer.chips.values():
        chip.value = True
    assert explorer.picked == ["temperature=0.5", "temperature=0.9"]
    assert [chip.value for chip in explorer.chips.values()] == [False, True, True]
    explorer.values["temperature"].value = (0, 2)
    assert explorer.picked == ["temperature=0.9"] and list(explorer.chips) == ["temperature=0.1", "temperature=0.9"]


@pytest.mark.filterwarnings("ignore:Interrupted")  # the explorer itself says so
def test_stopped_it_goes_on(tmp_path, data):
    explorer = make(tmp_path, data, epochs=[2, 3])
    explorer.seeds.value = 1
    explorer.budget.value = 0.1
    explorer.stop_asked.set()
    explorer._run(explorer.study)  # as if Stop had been clicked during the first epoch
    assert explorer.status.value == "0 of 2 runs are done; stopped"
    explorer.budget.value = 10  # minutes: enough on a slow machine
    explorer.start(wait=True)
    assert not explorer.study.missing()


def test_without_ipywidgets_it_says_what_to_install(tmp_path, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="pip install ipywidgets"):
        make(tmp_path, data)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"base": 5}, "base=5: it must be a Mapping"),
        ({"factors": {"temperature": 5}}, "vary 'temperature': give a list of its values"),
        ({"train": None}, "train=None: it must be a HierarchicalDataset"),
        ({"out": 5}, "out=5: give a path"),
    ],
)
def test_wrong_arguments_are_errors(data, tmp_path, wrong, message, as_a_user):
    given = {"base": BASE, "factors": {"queue": [20]}, "train": data[0], "test": data[1], "out": tmp_path}
    with pytest.raises(ValueError, match=message):
        explore.study(**(given | wrong))
    with pytest.raises(ValueError, match="callbacks=5: give a list of functions"):
        explore.run("simclr", data[0], callbacks=5)
