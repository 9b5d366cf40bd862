"""Pictures of random views: what is drawn is what a training draws, and wrong arguments are named."""

import numpy as np
import pytest
import torch
from support.data import clouds, pictures, vectors

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
