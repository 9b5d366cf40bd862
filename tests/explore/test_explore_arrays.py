"""Explorers of features and labels alone: no run, no pictures."""

import numpy as np
import pytest
import torch
from support.figures import HIERARCHY

import hiercl
from hiercl import explore
from hiercl.clustering import PrototypeTree

rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(6), 6)
X = (rng.normal(size=(6, 8))[LABELS][:, None] + 0.2 * rng.normal(size=(36, 3, 8))).astype(np.float32)
DATA = hiercl.HierarchicalDataset.from_features(X, LABELS, HIERARCHY)
MIXED = hiercl.HierarchicalDataset.from_features(X, np.where(np.arange(36) % 3, LABELS, -1), HIERARCHY)


def test_pairs_are_those_of_items_and_of_every_level():
    explorer = explore.pairs(None, DATA, batch=12)
    assert explorer.term.options == ("instance", "level 0", "level 1", "level 2") and explorer.selection.disabled
    term = explorer.chosen
    assert len(term.pairs.positive_index) == 24 and term.logits.shape == (24, 24)
    loss = float(explorer.step.loss)
    explorer.temperature.value = 1.0
    assert float(explorer.step.loss) != loss
    explorer.term.value, explorer.level.value = "level 1", 1
    assert "<b>0.00 %</b> are" in explorer.counts.value  # SupCon pushes nothing of the anchor's own class
    alone = explore.pairs({"a": X[:, 0].astype(np.float64), "b": torch.tensor(X)}, DATA, batch=12)
    assert alone.term.options == ("level 0", "level 1", "level 2")
    assert any("same" in row["title"] or row["entries"] for row in explore.pairs(None, MIXED, batch=12).candidates.rows)


def test_the_tree_and_the_map_of_features():
    tree = PrototypeTree.fit(X[:, 0], (2, 6))
    explorer = explore.tree(tree, DATA, torch.tensor(X[:, 0, :2]))
    explorer.select(1, 3)
    drawn = explorer._map(tree.members(1, 3).numpy()).axes[0].collections[1].get_offsets()
    assert len(drawn) == int(tree.counts(1)[3]) and "prototype 3" in explorer.summary.value
    assert explore.tree(tree, MIXED).summary.value.count("%") >= 3


def test_features_are_mapped_for_the_tree(monkeypatch):
    asked = []
    monkeypatch.setattr("hiercl.plot.map_2d", lambda features: asked.append(features) or features[:, :2])
    explorer = explore.tree(PrototypeTree.fit(X[:, 0], (2, 6)), DATA, X[:, 0])
    assert len(asked) == 1 and np.array_equal(explorer.coordinates, X[:, 0, :2])


def test_masks_are_found():
    explorer = explore.masks(None, DATA)
    assert explorer.found.masks.shape == (1, 3, 8) and explorer.keep.all()
    own = hiercl.feature_masks.found_masks(X[:, 0], MIXED, hiercl.masks.contiguous_masks(3, 8))
    assert len(own.features) == 24
    shown = explore.masks(own, MIXED, max_items=10)
    assert len(shown.found.features) == 10 and torch.equal(shown.found.masks, own.masks)


def test_a_map_of_vectors(monkeypatch):
    pytest.importorskip("jscatter")
    monkeypatch.setattr("hiercl.plot._maps.map_2d", lambda features, seed: np.asarray(features)[:, :2])
    explorer = explore.embedding(None, MIXED)
    explorer.select(range(10))
    assert "10 of 36 items are selected" in explorer.summary.value and "no label" in explorer.legend.value


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: explore.pairs(X[:5], DATA), "features of 5 items do not fit"),
        (lambda: explore.pairs(X[:, 0], DATA.take([0, 1])), "features of 36 items"),
        (lambda: explore.pairs(None, hiercl.HierarchicalDataset.from_features(X[:, 0])), "nothing to pull"),
        (lambda: explore.tree(PrototypeTree.fit(X[:, 0], (2,)), DATA, X[:5, 0]), "or features"),
        (lambda: hiercl.feature_masks.found_masks(None, DATA, torch.ones(2, 8)), r"pass \[3, 8\]"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
