"""Views of point clouds: each operation alone, and what holds for all of them."""

import math

import pytest
import torch

from hiercl.encoders import MODALITIES
from hiercl.runtime.seeds import Draws
from hiercl.views import PointViewConfig, PointViews
from hiercl.views.points import draw_points, rotation_matrices

STILL = {"rotation": "none", "stretch": (1.0, 1.0), "shift": 0.0, "noise": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clouds(n=6, points=50, seed=0):
    return torch.randn(n, points, 3, generator=generator(seed)) / 3


def view(x, seed=1, size=None, scale=None, **settings):
    """[n, points, 3]: a view with nothing but these settings."""
    views = PointViews(PointViewConfig(**{"points": x.shape[1], **STILL, **settings}))
    return views(x, generator(seed), size, scale)[..., 0].mT


def rows(cloud):
    return sorted(map(tuple, cloud.tolist()))


def test_with_nothing_switched_on_it_is_the_cloud_in_another_order():
    x = clouds()
    assert all(rows(a) == rows(b) for a, b in zip(view(x), x, strict=True))


def test_a_view_has_points_of_the_cloud_none_twice():
    x = clouds()
    for seen, whole in zip(view(x, points=20), x, strict=True):
        assert len(set(rows(seen))) == 20 and set(rows(seen)) <= set(rows(whole))


def test_points_are_drawn_anew_for_every_cloud_and_view():
    index = [draw_points(clouds(), 10, Draws(generator(seed))) for seed in (1, 2)]
    assert not torch.equal(*index) and len({tuple(row) for row in index[0].tolist()}) == 6


def test_a_small_cloud_has_points_twice():
    seen = view(clouds(points=5), points=12)
    assert all(len(set(rows(one))) == 5 and len(one) == 12 for one in seen)


def test_up_rotation_keeps_heights_and_distances_from_the_axis():
    x = clouds(n=2000, points=2)
    seen = view(x, rotation="up", points=2)
    first = (seen[:, 0, 2] - x[:, 0, 2]).abs() < 1e-6  # which of the two points came first
    source = torch.where(first[:, None], x[:, 0], x[:, 1])
    torch.testing.assert_close(seen[:, 0, 2], source[:, 2])
    torch.testing.assert_close(seen[:, 0, :2].norm(dim=1), source[:, :2].norm(dim=1))
    turn = torch.atan2(seen[:, 0, 1], seen[:, 0, 0]) - torch.atan2(source[:, 1], source[:, 0])
    assert torch.exp(1j * turn).mean().abs() < 0.06  # all angles alike: 1/sqrt(2000) is 0.02


def test_any_rotation_takes_a_point_everywhere_on_its_sphere():
    x = torch.tensor([0.0, 0.6, 0.8]).expand(4000, 1, 3)
    seen = view(x, rotation="any", points=1)[:, 0]
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(4000))
    assert seen.mean(dim=0).abs().max() < 0.05
    torch.testing.assert_close(seen.T @ seen / 4000, torch.eye(3) / 3, atol=0.03, rtol=0)


def test_any_rotation_is_no_reflection_and_turns_about_every_axis():
    x = torch.eye(3).expand(500, 3, 3)
    views = PointViews(PointViewConfig(points=3, **STILL | {"rotation": "any"}))
    matrix = views._motion(500, Draws(generator()))
    torch.testing.assert_close(matrix @ matrix.mT, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(500))
    # The angle of a uniform rotation has the density (1 - cos a) / π: its mean is π/2 + 2/π.
    angle = ((matrix.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2).clamp(-1, 1).acos()
    assert abs(angle.mean() - (math.pi / 2 + 2 / math.pi)) < 0.1


def test_tilt_is_at_most_as_large_as_said():
    up = torch.tensor([0.0, 0.0, 1.0]).expand(1000, 1, 3)
    angle = view(up, tilt=30.0, points=1)[:, 0, 2].clamp(max=1).acos().rad2deg()
    assert angle.max() <= 30.01 and 14 < angle.mean() < 16


def test_stretch_and_shift_are_one_a_cloud():
    x = clouds(n=500, points=2)
    gap = (x[:, 0] - x[:, 1]).norm(dim=1)
    seen = view(x, stretch=(0.5, 2.0), points=2)
    factor = (seen[:, 0] - seen[:, 1]).norm(dim=1) / gap
    assert 0.5 <= factor.min() < 0.55 and 1.9 < factor.max() <= 2.0
    moved = view(x, shift=0.2, points=2)
    offset = (moved.sum(dim=1) - x.sum(dim=1)) / 2
    assert 0.19 < offset.abs().max() <= 0.2001
    torch.testing.assert_close((moved[:, 0] - moved[:, 1]).norm(dim=1), gap)


def test_noise_has_its_deviation_and_is_cut():
    x = torch.zeros(50, 400, 3)
    noise = view(x, noise=0.02)
    assert abs(noise.std() - 0.02) < 5e-4 and noise.abs().max() <= 0.1


def test_dropped_points_are_copies_of_one_that_is_kept():
    x = clouds(n=200, points=50)
    different = torch.tensor([len(set(rows(one))) for one in view(x, drop=0.8)])
    assert 10 <= different.min() < 13 and different.max() == 50  # a share between 0 and 0.8 is gone
    assert all(set(rows(one)) <= set(rows(whole)) for one, whole in zip(view(x, drop=0.8), x, strict=True))


def test_a_patch_is_the_nearest_points_of_one_of_them():
    x = clouds(n=8, points=40)
    for seen, whole in zip(view(x, size=10, scale=(0.25, 0.25)), x, strict=True):
        found = set(rows(seen))
        distance = torch.cdist(whole, whole)
        patches = [set(rows(whole[row.argsort()[:10]])) for row in distance]
        assert len(found) == 10 and found in patches


def test_same_generator_same_views_other_generator_other_views():
    x, views = clouds(), PointViews(PointViewConfig(points=20, drop=0.5, tilt=10.0))
    assert torch.equal(views(x, generator(3)), views(x, generator(3)))
    assert not torch.equal(views(x, generator(3)), views(x, generator(4)))
    assert views(x, generator()).is_contiguous(memory_format=torch.channels_last)


def test_views_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        seen = PointViews(PointViewConfig(points=50))(clouds(), generator(3))
    assert seen.dtype == torch.float32
    assert torch.equal(seen, PointViews(PointViewConfig(points=50))(clouds(), generator(3)))


def test_rotation_matrices_turn_counter_clockwise():
    axis = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = rotation_matrices(axis, torch.full((3,), math.pi / 2))
    torch.testing.assert_close(matrix @ axis.roll(-1, 0)[:, :, None], axis.roll(-2, 0)[:, :, None])


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 0},
        {"tilt": -1.0},
        {"stretch": (1.2, 0.8)},
        {"stretch": (0.0, 1.0)},
        {"shift": -0.1},
        {"noise": math.inf},
        {"drop": 1.0},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PointViewConfig(**wrong)


def test_what_a_view_cannot_be():
    with pytest.raises(ValueError, match="at least 1 point"):
        view(clouds(), size=0)
    with pytest.raises(ValueError, match="scale of a patch"):
        view(clouds(), scale=(0.5, 1.5))


def test_views_of_saved_settings():
    points = MODALITIES["points"]
    views = points.views(points.view_config.from_json({"points": 7, "stretch": [0.9, 1.1]}), {})
    assert views.size == 7 and views.config.stretch == (0.9, 1.1)
    images = MODALITIES["images"]
    assert images.views(images.view_config.from_json({"crop": 16}), {}).size == 16
