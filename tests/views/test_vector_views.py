"""Views of vectors: which stored view, noise in units of each feature, dropped features, mixtures."""

import numpy as np
import pytest
import torch

from hiercl.views import VectorViewConfig, VectorViews, linear_mix, numbers_needed

MEAN, DEVIATION = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 10.0])


def views(noise=0.0, drop=0.0):
    return VectorViews(VectorViewConfig(noise, drop), {"mean": MEAN, "deviation": DEVIATION})


def draw(made, items, seed=0, **options):
    return made(items, torch.Generator().manual_seed(seed), **options)[..., 0, 0]


def test_one_of_the_stored_views_is_drawn_and_view_0_only_alone():
    items = torch.arange(4.0)[None, :, None].expand(3000, 4, 3)
    drawn = draw(views(), items)
    counts = torch.bincount(drawn[:, 0].long(), minlength=4)
    assert counts[0] == 0 and (counts[1:] > 900).all()
    assert (draw(views(), items[:, 2:3]) == 2).all()


def test_noise_is_in_units_of_the_deviation_of_each_feature():
    deviation = draw(views(noise=0.5), torch.zeros(20000, 1, 3)).std(dim=0)
    torch.testing.assert_close(deviation, 0.5 * DEVIATION, rtol=0.03, atol=0)


def test_the_mean_replaces_dropped_features():
    drawn = draw(views(drop=0.25), torch.full((8000, 1, 3), 7.0))
    dropped = drawn != 7
    assert (drawn[dropped] == MEAN.expand_as(drawn)[dropped]).all()
    torch.testing.assert_close(dropped.float().mean(dim=0), torch.full((3,), 0.25), rtol=0, atol=0.02)


def test_a_local_view_keeps_a_share_of_the_features_between_the_two_numbers():
    made = VectorViews(VectorViewConfig(0.0, 0.0), {"mean": [0.0] * 500, "deviation": [1.0] * 500})
    kept = (draw(made, torch.ones(200, 1, 500), scale=(0.2, 0.6)) == 1).float().mean(dim=1)
    assert 0.1 < kept.min() < 0.3 and 0.5 < kept.max() < 0.7 and abs(kept.mean() - 0.4) < 0.03


def test_the_same_seed_gives_the_same_views_and_wrong_ones_say_why():
    made, items = views(0.5, 0.2), torch.rand(8, 3, 3)
    assert torch.equal(draw(made, items), draw(made, items)) and not torch.equal(
        draw(made, items), draw(made, items, 1)
    )
    with pytest.raises(ValueError, match="these vectors have 2 features, those of the training set 3"):
        draw(made, items[..., :2])
    with pytest.raises(ValueError, match="scale of a view must be"):
        draw(made, items, scale=(0.9, 0.1))
    with pytest.raises(ValueError, match="resolve_vector_views"):
        VectorViews(VectorViewConfig(), {"mean": MEAN, "deviation": DEVIATION})


@pytest.mark.parametrize("alpha", [1, 2, 5])
def test_the_mixture_has_exactly_its_share(alpha, as_a_user):
    uniforms = torch.rand(numbers_needed(alpha), generator=torch.Generator().manual_seed(alpha))
    first, second = torch.rand(2, 6, 4, 1, 1)
    mixed, share = linear_mix(first, second, uniforms, alpha)
    expected = float(np.median(uniforms[:-2]))
    assert float(share) == pytest.approx(expected)
    torch.testing.assert_close(mixed, expected * first + (1 - expected) * second)
    with pytest.raises(ValueError, match="cannot be mixed"):
        linear_mix(first, second[:, :2], uniforms, alpha)
