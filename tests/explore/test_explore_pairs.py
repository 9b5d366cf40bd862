"""The explorer of pairs, without a browser: its widgets are set and clicked as a person would."""

import sys

import numpy as np
import pytest
from support.data import pictures

import hiercl
from hiercl import explore
from hiercl.pairs.audit import audit

SETTINGS = {"epochs": 2, "batch": 32, "crop": 12, "monitor_every": 0, "precision": "float32", "progress": False}


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def runs(data):
    hcsc = hiercl.fit("hcsc", data, queue=40, prototypes=(2, 4), warm_up=0.0, **SETTINGS)
    return {"HCSC": hcsc, "HMC": hiercl.fit("hmc", data, **SETTINGS)}


def entries(explorer):
    return [entry for row in explorer.candidates.rows for entry in row["entries"]]


def test_a_click_on_a_picture_makes_it_the_anchor(runs, data):
    explorer = explore.pairs(runs, data, batch=32)
    shown = [entry["item"] for entry in explorer.anchors.rows[0]["entries"]]
    assert len(shown) == 20 and explorer.anchors.clicked == shown[0]
    before = explorer.candidates.rows
    explorer.anchors.clicked = shown[3]
    assert explorer.candidates.rows != before
    assert int(explorer.chosen.pairs.anchors.item[explorer.anchor]) == shown[3]
    pulled = next(row for row in explorer.candidates.rows if "pulled" in row["title"])
    assert pulled["entries"][0]["item"] == shown[3] and "another view" in pulled["entries"][0]["lines"]
    assert all(entry["picture"].startswith("data:image/png;base64,") for entry in entries(explorer))


def test_rows_are_the_roles_of_the_step_and_counts_its_audit(runs, data):
    explorer = explore.pairs(runs, data, batch=32)
    pairs = explorer.chosen.pairs
    numbers = {row["title"][2:]: int(row["note"].split()[0].replace(",", "")) for row in explorer.candidates.rows}
    assert numbers["pushed"] == int(pairs.negative[0].sum())
    assert numbers.get("removed", 0) == int((pairs.removed[0].cpu() & (pairs.candidates.item >= 0)).sum())
    for level in range(data.hierarchy.levels):
        explorer.level.value = level
        found = audit(pairs, data.labels, data.hierarchy, runs["HCSC"].tree).iloc[level]
        assert f"<b>{100 * found['false_negative_rate']:.2f} %</b>" in explorer.counts.value


def test_controls_change_the_step_and_not_the_run(runs, data):
    explorer = explore.pairs(runs, data, batch=32, rules={"nothing kept": lambda posterior: posterior * 0})
    loss, config = float(explorer.step.loss), dict(runs["HCSC"].config["method_settings"])
    explorer.temperature.value = 1.0
    assert float(explorer.step.loss) != loss
    explorer.selection.value = "none"
    assert not any(bool(term.pairs.removed.any()) for term in explorer.step.terms)
    explorer.selection.value = "nothing kept"
    assert any(bool(term.pairs.removed.any()) for term in explorer.step.terms)
    explorer.method.value = "HMC"
    assert explorer.selection.disabled and explorer.temperature.value == runs["HMC"].method.config.temperature
    assert {term.name for term in explorer.step.terms} == set(explorer.term.options)
    explorer.method.value = "HCSC"
    assert float(explorer.step.loss) == loss, "as trained again"
    assert runs["HCSC"].config["method_settings"] == config
    same = runs["HCSC"].step(data, batch=32)
    assert float(same.loss) == loss


def test_below_a_candidate_stands_what_it_has_in_common(runs, data):
    explorer = explore.pairs(runs, data, batch=32)
    tree, item = data.hierarchy, explorer.anchors.clicked
    for entry in entries(explorer):
        lines, other = entry["lines"], entry["item"]
        if entry["bold"] or data.labels[other] == data.labels[item]:
            continue
        level = int(tree.lca_level(data.labels[item], data.labels[other]))
        name = "–" if level < 0 else tree.names[level][tree.ancestors[data.labels[item], level]].replace("_", " ")
        assert name in lines


@pytest.mark.parametrize("module, package", [("ipywidgets", "ipywidgets"), ("anywidget", "anywidget")])
def test_without_its_packages_it_says_what_to_install(module, package, runs, data, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        explore.pairs(runs, data)
    assert hiercl.plot.pairs(runs["HCSC"].step(data), data, tree=runs["HCSC"].tree).axes, "the static twin works"


def test_no_run_is_an_error(data):
    with pytest.raises(ValueError, match="there is no run"):
        explore.pairs({}, data)


def test_a_run_under_other_settings(runs, data):
    run = runs["HCSC"]
    other = run.changed(temperature=1.0)
    assert other.config["method_settings"]["temperature"] == 1.0 and other.path is None
    weights = run.method.state_dict()
    assert all(np.array_equal(value, weights[name]) for name, value in other.method.state_dict().items())
    same = run.changed()
    assert float(same.step(data).loss) == float(run.step(data).loss)
    with pytest.raises(ValueError, match="dim: the weights of this run do not fit"):
        run.changed(dim=8)
    with pytest.raises(ValueError, match="Did you mean 'temperature'"):
        run.changed(temperatur=8)
    with pytest.raises(ValueError, match="above 0"):
        run.changed(temperature=-1.0)
