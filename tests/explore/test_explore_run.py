"""The explorer of a training, without a browser: its buttons are clicked as a person would."""

import sys

import pandas as pd
import pytest
from support.data import pictures
from support.runs import same

import hiercl
from hiercl.explore import _run
from hiercl.explore._run import run as explore_run
from hiercl.study.running import ONE_AT_A_TIME

SETTINGS = {"epochs": 3, "batch": 32, "crop": 12, "monitor_every": 1, "precision": "float32", "progress": False}
HCSC = SETTINGS | {"queue": 40, "prototypes": (2, 4), "warm_up": 0.0}


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def whole(data):
    """The run of somebody who never stopped and never looked."""
    return hiercl.fit("hcsc", data, **HCSC)


def disabled(explorer):
    return [b.disabled for b in (explorer.start_button, explorer.stop_button, explorer.continue_button)]


def measured(run):
    return run.history[[c for c in run.history if c.startswith(("loss", "keep", "knn"))]]


def test_it_trains_and_shows_what_comes(data, whole, monkeypatch):
    monkeypatch.setattr(_run, "REDRAWN", 0.0)
    seen, looks = [], []

    def look(run):  # what a person sees during the epoch that now ends, and does with the run so far
        seen.append((explorer.progress.value, explorer.status.value, bytes(explorer.picture.value), disabled(explorer)))
        if explorer.run is not None:
            looks.append((len(explorer.run.history), explorer.run.interrupted, float(explorer.run.step(data).loss)))

    explorer = explore_run("hcsc", data, callbacks=[look], **HCSC)
    assert disabled(explorer) == [False, True, True] and "hcsc, 64 items of stripes, 3 epochs" in explorer.status.value
    explorer.start_button.click()
    explorer.thread.join()
    assert [value for value, *_ in seen] == [0, 1, 2] and explorer.progress.value == 3
    assert "trains" in seen[0][1] and "epoch 1 of 3: loss" in seen[1][1] and "left" in seen[1][1]
    pictures = [picture for *_, picture, _ in seen] + [bytes(explorer.picture.value)]
    assert pictures[0] == b"" and len(set(pictures)) == 4 and pictures[3].startswith(b"\x89PNG")
    assert all(buttons == [True, False, True] for *_, buttons in seen)
    assert [look[:2] for look in looks] == [(1, True), (2, True)] and looks[0][2] != looks[1][2]
    assert disabled(explorer) == [True, True, True] and explorer.status.value == "3 of 3 epochs: done"
    assert same(explorer.run, whole), "looking on changes nothing"
    assert explorer.error is None and explorer.run.path is None
    for name in ("loss instance", "kNN group (%)", "kNN class (%)", "items/s", "epoch 3"):
        assert name in explorer.table.value


@pytest.mark.filterwarnings("ignore:Interrupted")  # the explorer itself says so
def test_a_stopped_run_goes_on_and_ends_as_one_that_was_never_stopped(data, whole):
    def stop(run):
        if len(run.history) == 1:
            explorer.stop_button.click()

    explorer = explore_run("hcsc", data, callbacks=[stop], **HCSC)
    explorer.start_button.click()
    explorer.thread.join()
    assert explorer.status.value == "1 of 3 epochs: stopped" and explorer.progress.value == 1
    assert explorer.run.interrupted and len(explorer.run.history) == 1 and disabled(explorer) == [True, True, False]
    explorer.continue_button.click()
    explorer.thread.join()
    assert explorer.status.value == "3 of 3 epochs: done" and not explorer.run.interrupted
    assert same(explorer.run, whole)
    pd.testing.assert_frame_equal(measured(explorer.run), measured(whole), check_exact=True)


def test_the_run_so_far_is_that_of_the_training(data):
    lengths = []

    def compare(run):
        if explorer.run is not None:
            lengths.append(len(explorer.run.history))
            assert not same(explorer.run, run), "it does not follow the training"

    explorer = explore_run("simclr", data, callbacks=[compare], **SETTINGS)
    explorer.start(wait=True)
    assert explorer.error is None and lengths == [1, 2]


def test_an_error_is_shown_and_the_run_can_go_on(data):
    def fail(run):
        if len(run.history) == 2 and not failed:
            failed.append(True)
            raise RuntimeError("<no> space left")

    failed = []
    explorer = explore_run("simclr", data, callbacks=[fail], **SETTINGS)
    explorer.start(wait=True)
    assert explorer.status.value == "RuntimeError: &lt;no&gt; space left" and isinstance(explorer.error, RuntimeError)
    assert disabled(explorer) == [True, True, False] and len(explorer.run.history) == 1
    explorer.continue_button.click()
    explorer.thread.join()
    assert explorer.error is None and same(explorer.run, hiercl.fit("simclr", data, **SETTINGS))


def test_a_folder_that_holds_a_run(data, tmp_path):
    explorer = explore_run("simclr", data, out=tmp_path, **SETTINGS | {"epochs": 1})
    explorer.start(wait=True)
    assert explorer.run.path == tmp_path
    again = explore_run("simclr", data, out=tmp_path, **SETTINGS | {"epochs": 1})
    assert disabled(again) == [True, True, False] and "holds a run: Continue resumes it" in again.status.value
    again.start(wait=True)
    assert same(again.run, explorer.run) and disabled(again) == [True, True, True]
    other = explore_run("simclr", data, out=tmp_path, **SETTINGS | {"epochs": 1, "batch": 16})
    other.start(wait=True)
    assert "has other settings (batch: there 32, here 16)" in other.status.value and other.run is None
    with pytest.warns(UserWarning, match="goes on as a training of 2"):
        longer = explore_run("simclr", data, out=tmp_path, **SETTINGS | {"epochs": 2})
        longer.start(wait=True)
    assert longer.error is None and len(longer.run.history) == 2


def test_it_waits_for_another_training(data):
    explorer = explore_run("simclr", data, **SETTINGS | {"epochs": 1})
    with ONE_AT_A_TIME:
        explorer.start_button.click()
        assert "waits for another training" in explorer.status.value and explorer.running
        explorer.start_button.click()  # a second click makes no second training
    explorer.thread.join()
    assert len(explorer.run.history) == 1 and not explorer.running


def test_the_table_is_of_the_last_epochs():
    history = pd.DataFrame({"epoch": range(9), "loss": 2.0, "loss instance 0": 1.5, "items_per_second": 1234.5})
    history["keep instance 0"] = [None] * 8 + [0.875]
    history["knn class"] = [None] * 8 + [50.0]
    table = _run.last_epochs(history)
    assert list(table) == [f"epoch {number}" for number in range(4, 10)]
    assert table["epoch 9"].to_dict() == {
        "loss": "2.000", "loss instance 0": "1.500", "items/s": "1,234", "keep instance 0 (%)": "87.5",
        "kNN class (%)": "50.0",
    }  # fmt: skip
    assert table.loc["kNN class (%)", "epoch 8"] == "–"


def test_the_untrained_model(data):
    explorer = explore_run("simclr", data, **SETTINGS | {"epochs": 0})
    explorer.start(wait=True)
    assert explorer.status.value == "0 of 0 epochs: done" and explorer.picture.value == b""


@pytest.mark.parametrize(
    "method, settings, message",
    [
        ("simlcr", {}, "Did you mean 'simclr'"),
        ("simclr", {"epoch": 3}, "Did you mean 'epochs'"),
        ("simclr", {"batch": 1}, "batch=1: it must be .* at least 2"),
        ("simclr", {"prototypes": (2,)}, "no setting of simclr"),
    ],
)
def test_a_wrong_setting_is_an_error_at_once(method, settings, message, data):
    with pytest.raises(ValueError, match=message):
        explore_run(method, data, **settings)


def test_without_ipywidgets_it_says_what_to_install(data, whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="pip install ipywidgets"):
        explore_run("simclr", data)
    assert hiercl.plot.history(whole).axes, "the static twin works"
