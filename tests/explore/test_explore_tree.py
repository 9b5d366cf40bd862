"""The explorer of trees and its static twin, plot.flow, without a browser."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from support.data import pictures

from hiercl import explore, plot
from hiercl.clustering.prototypes import PrototypeTree
from hiercl.metrics import tree_agreement


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def tree(data):
    torch.manual_seed(0)
    classes = torch.nn.functional.one_hot(torch.as_tensor(data.labels), 4).float()
    return PrototypeTree.fit(torch.nn.functional.normalize(classes + 0.3 * torch.randn(64, 4), dim=1), (2, 6))


def test_a_click_shows_the_node(tree, data):
    xy = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    explorer = explore.tree(tree, data, coordinates=xy)
    before, before_map = explorer.flow.value, explorer.map.value
    explorer.icicle.chosen = 2 + 3  # after the two prototypes of level 0: number 3 of level 1
    assert explorer.node == (1, 3)
    members = tree.members(1, 3).numpy()
    assert explorer.map.value != before_map
    everything, chosen = explorer._map(members).axes[0].collections
    assert np.allclose(everything.get_offsets(), xy) and np.allclose(chosen.get_offsets(), xy[members])
    shown = [entry["item"] for entry in explorer.pictures.rows[0]["entries"]]
    assert shown == tree.exemplars(1, 3, 16).tolist()
    assert f"{len(members):,} items" in explorer.summary.value and explorer.flow.value != before
    for level, name in enumerate(data.hierarchy.level_names):
        counts = np.bincount(data.labels_at(level)[members])
        best = data.hierarchy.names[level][counts.argmax()]
        assert f"{name}: {best} {100 * counts.max() / len(members):.0f} %" in explorer.summary.value
    with pytest.raises(ValueError, match="no node 9 of level 1"):
        explorer.select(1, 9)


def test_the_picture_is_the_tree(tree, data):
    explorer = explore.tree(tree, data)
    bars = explorer.icicle.bars
    assert [bar["items"] for bar in bars] == tree.counts(0).tolist() + tree.counts(1).tolist()
    assert [bar["level"] for bar in bars] == [0] * 2 + [1] * 6 and explorer.icicle.total == 64
    spans = [(bar["start"], bar["start"] + bar["items"]) for bar in bars]
    assert sorted(spans[:2])[0][0] == 0 and max(end for _, end in spans[:2]) == 64
    for node, above in enumerate(tree.parent[1].tolist()):
        assert spans[above][0] <= spans[2 + node][0] and spans[2 + node][1] <= spans[above][1], "below its parent"
    below = sorted(span for span in spans[2:] if span[0] < span[1])
    assert all(first[1] == second[0] for first, second in pairwise(below)), "without gaps"


def test_a_chosen_node_is_marked_and_letters_can_be_read(tree, data):
    explorer = explore.tree(tree, data)
    explorer.select(1, 4)
    assert explorer.icicle.chosen == 2 + 4
    for bar in explorer.icicle.bars:
        high, low = sorted(map(luminance, (bar["colour"], bar["ink"])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3


def luminance(colour):
    """Relative luminance as WCAG defines it."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_what_is_no_tree(tree, data, as_a_user):
    with pytest.raises(ValueError, match="it must be a Run or a PrototypeTree"):
        explore.tree(None, data)
    with pytest.raises(ValueError, match=r"coordinates \[3, 2\] are not those of 64 items"):
        explore.tree(tree, data, coordinates=np.zeros((3, 2), np.float32))


def test_without_anywidget_it_says_what_to_install(tree, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match="pip install anywidget,"):
        explore.tree(tree, data)
    assert plot.flow(tree, data).axes


def ribbons(figure):
    from matplotlib.patches import Polygon

    return [patch for patch in figure.axes[0].patches if type(patch) is Polygon]


def test_ribbons_are_the_items_that_both_share(tree, data):
    figure = plot.flow(tree, data, prototypes=1, level=1)
    table = np.zeros((6, 4))
    np.add.at(table, (tree.assignment[:, 1].numpy(), data.labels), 1)
    table = table[table.sum(axis=1) > 0]
    heights = [ribbon.get_xy()[47, 1] - ribbon.get_xy()[0, 1] for ribbon in ribbons(figure)]
    assert len(heights) == (table > 0).sum()
    assert np.allclose(np.sort(heights) / np.sum(heights), np.sort(table[table > 0]) / 64)
    title = figure.axes[0].texts[0].get_text()
    agreement = tree_agreement(tree, data.labels, data.hierarchy).query("prototypes == 1 and level == 'class'").iloc[0]
    assert f"AMI {100 * agreement['ami']:.1f} %, purity {100 * agreement['purity']:.1f} %" in title


def test_a_chosen_node_stands_out(tree, data):
    shares = {int((tree.assignment[:, 1] == node).sum()): node for node in range(6)}
    node = shares[max(shares)]
    figure = plot.flow(tree, data, prototypes=1, level=1, node=node)
    strong = [ribbon for ribbon in ribbons(figure) if ribbon.get_zorder() == 2]
    assert len(strong) == len(set(data.labels[tree.members(1, node).numpy()]))
    with pytest.raises(ValueError, match="there is no prototype 6: level 1 has 6"):
        plot.flow(tree, data, prototypes=1, node=6)
    with pytest.raises(ValueError, match="there is no level 2"):
        plot.flow(tree, data, prototypes=2)
