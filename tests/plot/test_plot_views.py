"""Pictures of random views: what is drawn is what a training draws, and wrong arguments are named."""

import numpy as np
import pytest
import torch
from support.data import clouds, pictures, vectors
from support.figures import overlapping, texts

import hiercl
from hiercl import plot
from hiercl.views import ImageViews, ViewConfig


def test_the_views_of_a_training_stand_beside_their_items():
    data = pictures(12)
    (axis,) = plot.views(data, items=[3, 8], count=2, seed=5, crop=12).axes
    shown = [np.asarray(image.get_array()) for image in axis.images]
    numbers = torch.Generator().manual_seed(5)
    batch = torch.from_numpy(data.items[[3, 8]])
    drawn = [ImageViews(ViewConfig(crop=12))(batch, numbers) for _ in range(2)]
    assert len(shown) == 6
    for row, item in enumerate((3, 8)):
        assert np.array_equal(shown[3 * row], data.items[item])
        for column in range(2):
            expected = (255 * drawn[column][row].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
            assert np.array_equal(shown[3 * row + 1 + column], expected)


def test_by_default_items_of_different_classes():
    data = pictures(40)
    (axis,) = plot.views(data, count=1).axes
    names = [text.get_text() for text in axis.texts if text.get_text() in data.hierarchy.leaf_names]
    assert len(names) == len(set(names)) == min(5, len(data.hierarchy.leaf_names))
    assert len(plot.views(clouds(6), count=2).axes[0].images) % 3 == 0


@pytest.mark.parametrize(
    "data, given, message",
    [
        (vectors(8), {}, "views of vectors are vectors"),
        (pictures(8), {"jiter": 0.1}, "Unknown setting 'jiter'. Did you mean 'jitter'"),
        (pictures(8), {"items": [8]}, "8"),
        (pictures(8), {"items": []}, "at least one item"),
        (pictures(8), {"count": 0}, "at least 1"),
    ],
)
def test_wrong_arguments(data, given, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        plot.views(data, **given)


def test_a_run_has_its_own_views():
    data = pictures(48)
    upside_down = {"augment": lambda batch: batch.flip(2), "augment_at": "instead"}
    settings = {"epochs": 0, "progress": False, "precision": "float32"}
    run = hiercl.fit("simclr", data, **settings, **upside_down)
    figure = plot.views(data, items=[5], count=2, run=run)
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    assert all(np.array_equal(view, shown[0][::-1]) for view in shown[1:])
    assert any("16 pixels, as simclr saw them" in text for text in texts(figure)) and not overlapping(figure)
    with pytest.raises(ValueError, match="crop: a run has its own settings"):
        plot.views(data, run=run, crop=8)
    with pytest.raises(ValueError, match="trained on images"):
        plot.views(clouds(6), run=run)


def test_pairs_are_the_views_that_the_step_saw_and_the_queue_has_originals():
    data = pictures(48)
    run = hiercl.fit("moco", data, epochs=1, batch=16, crop=12, queue=40, monitor_every=0, progress=False)
    step = run.step(data, batch=8)
    term, figure = step.terms[0], plot.pairs(step, data, anchor=2, count=3)
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]

    def as_picture(view):
        return (255 * view.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()

    item = int(term.pairs.anchors.item[2])
    assert np.array_equal(shown[0], as_picture(step.views[0][2])), "the anchor's view"
    assert np.array_equal(shown[1], data.items[item]), "and its item"
    assert np.array_equal(shown[2], as_picture(step.views[1][2])), "what is pulled is the other view"
    pushed = (
        term.logits[2]
        .masked_fill(~term.pairs.negative[2], -torch.inf)
        .masked_fill(term.pairs.candidates.item < 0, -torch.inf)
    )
    assert np.array_equal(shown[3], data.items[int(term.pairs.candidates.item[pushed.argmax()])])
    words = " ".join(" ".join(texts(figure)).split())
    assert "Views are as the step saw them. The queue keeps none: its items are originals." in words
    assert "same class originals" in words and "same class views" in words and not overlapping(figure)
    explorer = hiercl.explore.pairs(run, data, batch=8)
    rows = {row["title"][2:]: row for row in explorer.candidates.rows}
    assert "; originals" in rows["pushed"]["note"] and "; views" in rows["pulled"]["note"]
    pulled, anchor = rows["pulled"]["entries"][0]["picture"], explorer.anchors.rows[0]["entries"][0]["picture"]
    assert pulled != anchor, "two views of one item"
    vector = vectors(48)
    of_vectors = hiercl.fit("moco", vector, epochs=0, progress=False).step(vector, batch=8)
    assert "originals" not in " ".join(texts(plot.pairs(of_vectors, vector)))
