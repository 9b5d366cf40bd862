"""CutMix and its like for clouds: the share λ is exact, λ follows Beta(α, α), the mixture is what a loop gives."""

import doctest

import pytest
import torch

import hiercl.views.mixing
from hiercl.views.mixing import box_mix, cut_box, cutmix, numbers_needed, plane_mix


def draw(seed: int, alpha: int = 2) -> torch.Tensor:
    return torch.rand(numbers_needed(alpha), generator=torch.Generator().manual_seed(seed))


def test_the_examples_in_the_docstrings_hold():
    result = doctest.testmod(hiercl.views.mixing)
    assert result.attempted >= 4 and result.failed == 0


@pytest.mark.parametrize("height, width", [(12, 12), (9, 14), (1, 1), (32, 24)])
@pytest.mark.parametrize("alpha", [1, 2, 3])
def test_lambda_is_what_is_left_of_the_first(height, width, alpha):
    first, second = torch.zeros(2, 3, height, width), torch.ones(2, 3, height, width)
    for seed in range(50):
        box, lam = cut_box(draw(seed, alpha), height, width, alpha)
        mixed = cutmix(first, second, box)
        assert float(lam) == pytest.approx(1 - mixed.mean().item(), abs=1e-6)
        top, bottom, left, right = box.tolist()
        assert 0 <= top <= bottom <= height and 0 <= left <= right <= width and 0 <= lam <= 1


def test_cutmix_against_a_loop():
    first, second = torch.rand(3, 2, 6, 9), torch.rand(3, 2, 6, 9)
    mixed = cutmix(first, second, torch.tensor([1, 4, 3, 9]))
    for row in range(6):
        for column in range(9):
            source = second if 1 <= row < 4 and 3 <= column < 9 else first
            assert torch.equal(mixed[:, :, row, column], source[:, :, row, column])
    nothing, everything = torch.tensor([2, 2, 0, 9]), torch.tensor([0, 6, 0, 9])
    assert torch.equal(cutmix(first, second, nothing), first)
    assert torch.equal(cutmix(first, second, everything), second)


@pytest.mark.parametrize("alpha", [1, 2, 4])
def test_lambda_follows_beta(alpha):
    """Before it is clipped: a box at the centre of a large picture has the area 1 − λ."""
    numbers = torch.rand(4000, numbers_needed(alpha), generator=torch.Generator().manual_seed(0))
    numbers[:, -2:] = 0.5
    lam = torch.stack([cut_box(row, 10_000, 10_000, alpha)[1] for row in numbers]).double()
    assert lam.mean().item() == pytest.approx(0.5, abs=0.02)
    assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)
    skew = ((lam - lam.mean()) ** 3).mean() / lam.var() ** 1.5
    assert abs(skew.item()) < 0.1


def test_centres_are_uniform():
    """Boxes so small that none is clipped by much: every part of the picture is hit alike."""
    hits = torch.zeros(20, 30)
    for seed in range(6000):
        numbers = torch.cat([torch.full((3,), 0.97), draw(seed)[-2:]])
        top, bottom, left, right = cut_box(numbers, 20, 30)[0].tolist()
        hits[top:bottom, left:right] += 1
    parts = hits[2:-2, 2:-2].reshape(4, 4, 2, 13).sum(dim=(1, 3))
    assert parts.std() / parts.mean() < 0.1


def test_extreme_shares():
    box, lam = cut_box(torch.tensor([0.9999, 0.9999, 0.9999, 0.5, 0.5]), 8, 8)
    assert lam == 1 and box[0] == box[1]
    box, lam = cut_box(torch.tensor([0.0, 0.0, 0.0, 0.5, 0.5]), 8, 8)
    assert lam == 0 and box.tolist() == [0, 8, 0, 8]
    box, lam = cut_box(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.99]), 8, 8)  # around a corner: a quarter is left of it
    assert box.tolist() == [0, 4, 3, 8] and lam == pytest.approx(1 - 20 / 64)


def test_wrong_numbers():
    with pytest.raises(ValueError, match="at least 1"):
        cut_box(torch.rand(1), 8, 8, alpha=0)
    with pytest.raises(ValueError, match="alpha=2 needs 5"):
        cut_box(torch.rand(4), 8, 8)


# -- clouds -----------------------------------------------------------------------------------------------------


def cloud(seed, n=3, points=40):
    return torch.randn(n, 3, points, 1, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("alpha", [1, 2, 3])
def test_a_cloud_is_cut_by_a_plane(alpha):
    first, second = cloud(0), cloud(1)
    for seed in range(20):
        numbers = draw(seed, alpha)
        mixture, lam = plane_mix(first, second, numbers, alpha)
        of_first = [{tuple(p) for p in one[..., 0].T.tolist()} for one in first]
        of_second = [{tuple(p) for p in one[..., 0].T.tolist()} for one in second]
        turn, z = 2 * torch.pi * numbers[-2], 2 * numbers[-1] - 1
        normal = torch.stack([turn.cos() * (1 - z**2).sqrt(), turn.sin() * (1 - z**2).sqrt(), z])
        for points, a, b in zip(mixture[..., 0].mT.tolist(), of_first, of_second, strict=True):
            low, high = {tuple(p) for p in points} & a, {tuple(p) for p in points} & b
            assert len(low) == round(float(lam) * 40) and len(low) + len(high) == 40
            heights = {p: float(torch.tensor(p) @ normal) for p in a | b}
            assert max((heights[p] for p in low), default=-9) <= min((heights[p] for p in a - low), default=9)
            assert min((heights[p] for p in high), default=9) >= max((heights[p] for p in b - high), default=-9)


def test_the_normals_go_everywhere():
    numbers = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    axis = torch.eye(3)[None, :, :, None]  # three points, one on each axis: the one that is left lies lowest
    lowest = torch.stack(
        [plane_mix(axis, -9 + 0 * axis, torch.cat([torch.full((3,), 0.4), n]))[0][0, :, 0, 0] for n in numbers]
    )
    share = lowest.mean(dim=0)
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_mixtures_of_either_kind():
    numbers = draw(0)
    pictures, lam = box_mix(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8), numbers)
    assert float(lam) == pytest.approx(1 - pictures.mean().item(), abs=1e-6)
    clouds, lam = plane_mix(torch.zeros(2, 3, 50, 1), torch.ones(2, 3, 50, 1), numbers)
    assert float(lam) == pytest.approx(1 - clouds.mean().item(), abs=1e-6)
    for mix in (box_mix, plane_mix):
        with pytest.raises(ValueError, match="alpha=2 needs 5"):
            mix(cloud(0), cloud(1), torch.rand(4))
