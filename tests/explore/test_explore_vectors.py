"""The explorers on vectors: the same clicks as on pictures, with what the vectors were made of in place of these."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from support.data import VECTOR_SETTINGS, clouds, pictures, vectors

import hiercl
from hiercl import explore, plot
from hiercl.plot._canvas import picture
from hiercl.plot._text_picture import text_picture


@pytest.fixture(scope="module")
def data():
    return vectors(source=[f"the words of item {i}" for i in range(48)])


@pytest.fixture(scope="module")
def hcsc(data):
    return hiercl.fit("hcsc", data, epochs=2, queue=32, prototypes=(2, 4), warm_up=0.0, **VECTOR_SETTINGS)


def is_text(entry):
    """Whether an entry of a gallery shows the words of its item."""
    shown = Image.open(io.BytesIO(base64.b64decode(entry["picture"].split(",")[1]))).convert("RGB")
    drawn = Image.fromarray(text_picture(f"the words of item {entry['item']}")).resize(shown.size)
    return abs(np.asarray(shown, dtype=float) - np.asarray(drawn)).mean() < 6


def test_a_vector_is_drawn_as_what_it_was_made_of(data):
    shown, points = pictures(48), clouds()
    for source in (shown, points):
        np.testing.assert_array_equal(picture(vectors(source=source), 7), picture(source, 7))
    np.testing.assert_array_equal(picture(data, 7), text_picture("the words of item 7"))
    np.testing.assert_array_equal(picture(vectors(), 2), text_picture("b0"))  # the name of its class


def test_a_text_is_as_large_as_it_fits_and_a_long_one_is_cut():
    short, long = (text_picture(text) for text in ("a cat", "unbelievably long words of a story " * 20))
    ink = [(tile < 128).any(axis=2) for tile in (short, long)]
    rows = [np.flatnonzero(dark.any(axis=1)) for dark in ink]
    assert rows[0].max() - rows[0].min() < 40 < 100 < rows[1].max() - rows[1].min()
    for dark in ink:
        assert dark.any() and not dark[:, :4].any() and not dark[:, -4:].any()  # inside the margins


def test_plots_say_the_noun_and_show_the_items(hcsc, data):
    for figure in (
        plot.gallery(data),
        plot.pairs(hcsc.step(data, batch=16), data),
        plot.neighbours(hcsc, data),
        plot.tree(hcsc.tree, data),
    ):
        assert figure.axes[0].images
        texts = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
        assert "picture" not in texts.lower()


def test_pairs(hcsc, data):
    explorer = explore.pairs(hcsc, data, batch=16)
    shown = explorer.anchors.rows[0]["entries"]
    assert all(is_text(entry) for entry in shown)
    assert shown[3]["title"].endswith(f"the words of item {shown[3]['item']}")
    before = explorer.candidates.rows
    explorer.anchors.clicked = shown[3]["item"]
    assert explorer.candidates.rows != before


def test_tree(hcsc, data):
    explorer = explore.tree(hcsc.tree, data, coordinates=np.random.default_rng(0).normal(size=(len(data), 2)))
    explorer.icicle.chosen = 2 + int(np.argmax(hcsc.tree.counts(1)))  # after the two prototypes of level 0
    entries = explorer.pictures.rows[0]["entries"]
    assert entries and all(is_text(entry) for entry in entries)


def test_embedding(data):
    xy = np.random.default_rng(0).normal(size=(len(data), 2))
    explorer = explore.embedding(None, data, coordinates={"map": xy})
    explorer.maps["map"].widget.selection = np.arange(5, dtype=np.uint32)
    entries = explorer.gallery.rows[0]["entries"]
    assert sorted(entry["item"] for entry in entries) == list(range(5)) and all(is_text(e) for e in entries)


def test_masks(data):
    run = hiercl.fit("g_hmlc", data, epochs=2, dim=16, **VECTOR_SETTINGS)
    explorer = explore.masks(run, data)
    before, on = explorer.picture.value, [True] * 16
    on[5] = False
    explorer.strip.on = on
    assert not explorer.keep[5] and explorer.picture.value != before
    assert "vectors of planted" in plot.masks(run, data).get_suptitle()


def test_run_and_study(data, tmp_path):
    explorer = explore.run("hcsc", data, epochs=1, prototypes=(2, 4), warm_up=0.0, **VECTOR_SETTINGS)
    explorer.start_button.click()
    explorer.thread.join()
    assert explorer.error is None and len(explorer.run.history) == 1 and explorer.picture.value
