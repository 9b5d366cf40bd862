"""The explorer of masks, without a browser: its widgets are set and clicked as a person would."""

import sys

import numpy as np
import pytest
import torch
from support.data import pictures

import hiercl
from hiercl.evaluation.feature_masks import feature_masks, mask_separation
from hiercl.explore import _masks
from hiercl.explore._masks import ALL, ON, RANDOM, masks
from hiercl.plot._masks import masks as static_twin

SETTINGS = {
    "epochs": 2, "batch": 32, "crop": 12, "monitor_every": 0, "precision": "float32", "progress": False, "dim": 16,
}  # fmt: skip
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module", params=["g_hmlc", "a_hmlc"])
def run(request, data):
    return hiercl.fit(request.param, data, **SETTINGS)


def shown(explorer, what):
    """The numbers of one set of features, ``[levels, 2]``."""
    table = explorer.table[explorer.table["features"] == what]
    return table[["variance_between", "knn"]].to_numpy()


def separation(explorer, keep):
    return mask_separation(explorer.found.features, explorer.found.dataset, keep)[
        ["variance_between", "knn"]
    ].to_numpy()


def test_at_first_all_features_are_on(run, data):
    explorer = masks(run, data)
    assert explorer.keep.all() and explorer.count.value == 16 and all(button.value for button in explorer.groups)
    assert np.array_equal(shown(explorer, ON), shown(explorer, ALL))
    assert np.array_equal(shown(explorer, ALL), separation(explorer, None))
    assert np.allclose(shown(explorer, RANDOM), shown(explorer, ALL)), "all features drawn at random are all"
    assert bytes(explorer.picture.value).startswith(PNG) and "<b>16 of 16</b>" in explorer.counts.value


def test_a_click_switches_one_feature_and_changes_the_bars(run, data):
    explorer = masks(run, data)
    picture, on = explorer.picture.value, [True] * 16
    on[5] = False
    explorer.strip.on = on  # what the click sends
    assert np.flatnonzero(~explorer.keep).tolist() == [5]
    assert np.array_equal(shown(explorer, ON), separation(explorer, np.arange(16) != 5))
    assert np.array_equal(shown(explorer, ALL), separation(explorer, None))
    assert explorer.picture.value != picture and explorer.count.value == 15
    own = explorer.found.level_of[5]
    assert [button.value for button in explorer.groups] == [level != own for level in range(2)]


def test_a_button_switches_the_features_of_a_level(run, data):
    explorer = masks(run, data)
    of_classes = explorer.found.level_of == 1
    explorer.groups[1].value = False
    assert np.array_equal(explorer.keep, ~of_classes)
    assert np.array_equal(shown(explorer, ON), separation(explorer, ~of_classes))
    assert f"{(~of_classes).sum()} of “group”, 0 of “class”" in explorer.counts.value
    explorer.groups[0].value = False
    assert not explorer.keep.any() and explorer.picture.value == b"" and explorer.table.empty
    assert "Switch at least one on" in explorer.counts.value
    explorer.groups[1].value = True
    assert np.array_equal(explorer.keep, of_classes) and bytes(explorer.picture.value).startswith(PNG)
    explorer.all.click()
    assert explorer.keep.all() and explorer.groups[0].value


def test_the_slider_keeps_the_best_for_a_level(run, data):
    explorer = masks(run, data)
    shares = explorer.found.shares
    explorer.ranked.value = "what they separate"
    explorer.count.value = 5
    assert set(np.flatnonzero(explorer.keep)) == set(np.argsort(-shares[0])[:5])
    explorer.level.value = 1
    assert set(np.flatnonzero(explorer.keep)) == set(np.argsort(-shares[1])[:5])
    explorer.ranked.value = "its mask"
    mean = explorer.found.mean[1].numpy()
    assert explorer.keep.sum() == 5 and mean[explorer.keep].min() >= mean[~explorer.keep].max()
    if run.name == "g_hmlc":  # all masks are 1: those that separate more
        own = explorer.found.level_of == 1
        assert shares[1][explorer.keep].min() >= shares[1][own & ~explorer.keep].max()
    assert explorer.count.value == 5


def test_the_control_is_as_many_random_features(run, data, monkeypatch):
    explorer, asked = masks(run, data), []

    def listening(features, dataset, keep=None):
        asked.append(keep)
        return mask_separation(features, dataset, keep)

    monkeypatch.setattr(_masks, "mask_separation", listening)
    explorer.count.value = 6
    assert [int(keep.sum()) for keep in asked] == [6] * 6 and np.array_equal(asked[0], explorer.keep)
    assert len({tuple(keep) for keep in asked[1:]}) > 1, "drawn, not the same again and again"
    expected = np.mean([separation(explorer, keep) for keep in asked[1:]], axis=0)
    assert np.allclose(shown(explorer, RANDOM), expected)
    before = shown(explorer, RANDOM)
    explorer.level.value = 1
    assert np.array_equal(shown(explorer, RANDOM), before), "the control moves with the number of features alone"


def test_a_random_half_is_another_one_every_time(run, data):
    explorer = masks(run, data)
    halves = []
    for _ in range(3):
        explorer.random_half.click()
        halves.append(tuple(explorer.keep))
        assert sum(halves[-1]) == 8 and explorer.count.value == 8
    assert len(set(halves)) > 1


def test_the_strip_shows_the_masks_in_the_order_of_the_static_twin(run, data):
    explorer = masks(run, data)
    found = feature_masks(run, data)
    assert explorer.strip.order == found.order.tolist()
    assert [row["name"] for row in explorer.strip.rows] == [
        "mask, group", "mask, class", "separates group", "separates class",
    ]  # fmt: skip
    mean = found.mean.numpy()
    darkness = np.array([[1 - int(colour[1:3], 16) / 255 for colour in row["colours"]] for row in explorer.strip.rows])
    for row, values in zip(darkness, [*mean, *found.shares], strict=True):
        assert (np.diff(row[np.argsort(values)]) >= -1e-9).all(), "the higher the darker"
    j = 3
    assert f"group: mask {mean[0, j]:.2f}" in explorer.strip.titles[j] and explorer.strip.titles[j].startswith(
        "feature 3"
    )


def test_the_run_stays_as_it_is(run, data):
    before = {key: value.clone() for key, value in run.method.state_dict().items() if isinstance(value, torch.Tensor)}
    explorer = masks(run, data, max_items=30)
    explorer.groups[0].value = False
    explorer.random_half.click()
    after = run.method.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert len(explorer.found.features) == 30


@pytest.mark.parametrize("module", ["ipywidgets", "anywidget"])
def test_without_its_packages_it_says_what_to_install(module, run, data, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {module}"):
        masks(run, data)
    assert static_twin(run, data).axes, "the static twin works"


def test_a_run_without_masks_is_an_error(data):
    with pytest.raises(ValueError, match="g_hmlc and a_hmlc"):
        masks(hiercl.fit("supcon", data, **SETTINGS), data)
