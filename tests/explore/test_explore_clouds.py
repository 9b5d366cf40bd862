"""The explorers on point clouds: the same clicks as on pictures, with clouds drawn in place of these."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from support.data import CLOUD_SETTINGS, clouds

import hiercl
from hiercl import explore, plot
from hiercl.plot._canvas import view_picture


@pytest.fixture(scope="module")
def data():
    return clouds()


@pytest.fixture(scope="module")
def hcsc(data):
    return hiercl.fit("hcsc", data, epochs=2, queue=32, prototypes=(2, 4), warm_up=0.0, **CLOUD_SETTINGS)


def is_cloud(entry, data, view=None):
    """Whether an entry of a gallery shows the drawn cloud of its item, or of a view of it."""
    shown = Image.open(io.BytesIO(base64.b64decode(entry["picture"].split(",")[1]))).convert("RGB")
    drawn = Image.fromarray(view_picture(data, view, entry["item"])[..., :3]).resize(shown.size)
    return abs(np.asarray(shown, dtype=float) - np.asarray(drawn)).mean() < 12


def test_pairs(hcsc, data):
    explorer = explore.pairs(hcsc, data, batch=16)
    shown = explorer.anchors.rows[0]["entries"]
    before = explorer.candidates.rows
    step, term = explorer.step, explorer.chosen
    assert all(is_cloud(entry, data, step.anchor_view(term, anchor)) for anchor, entry in enumerate(shown))
    explorer.anchors.clicked = shown[3]["item"]
    assert explorer.candidates.rows != before
    assert int(explorer.chosen.pairs.anchors.item[explorer.anchor]) == shown[3]["item"]
    loss = float(explorer.step.loss)
    explorer.temperature.value = 1.0
    assert float(explorer.step.loss) != loss


def test_tree(hcsc, data):
    explorer = explore.tree(hcsc.tree, data)
    before = explorer.flow.value
    explorer.icicle.chosen = 2 + int(np.argmax(hcsc.tree.counts(1)))  # after the two prototypes of level 0
    assert explorer.flow.value != before
    entries = explorer.pictures.rows[0]["entries"]
    assert entries and all(is_cloud(entry, data) for entry in entries)


def test_embedding(data):
    xy = np.random.default_rng(0).normal(size=(len(data), 2))
    explorer = explore.embedding(None, data, coordinates={"map": xy})
    explorer.maps["map"].widget.selection = np.arange(5, dtype=np.uint32)
    assert f"5 of {len(data)} items" in explorer.summary.value
    entries = explorer.gallery.rows[0]["entries"]
    assert sorted(entry["item"] for entry in entries) == list(range(5)) and all(is_cloud(e, data) for e in entries)


def test_masks(data):
    run = hiercl.fit("g_hmlc", data, epochs=2, dim=16, **CLOUD_SETTINGS)
    explorer = explore.masks(run, data)
    before, on = explorer.picture.value, [True] * 16
    on[5] = False
    explorer.strip.on = on
    assert not explorer.keep[5] and explorer.picture.value != before
    assert "point clouds of boxes" in plot.masks(run, data).get_suptitle()


def test_run(data):
    explorer = explore.run("hcsc", data, epochs=1, prototypes=(2, 4), warm_up=0.0, **CLOUD_SETTINGS)
    explorer.start_button.click()
    explorer.thread.join()
    assert explorer.error is None and len(explorer.run.history) == 1 and explorer.picture.value
