"""CutMix: the share λ is that of the box, λ follows Beta(α, α), the mixture is what a loop gives."""

import doctest

import pytest
import torch

import hiercl.mixing
from hiercl.mixing import cut_box, cutmix, numbers_needed


def draw(seed: int, alpha: int = 2) -> torch.Tensor:
    return torch.rand(numbers_needed(alpha), generator=torch.Generator().manual_seed(seed))


def test_the_examples_in_the_docstrings_hold():
    result = doctest.testmod(hiercl.mixing)
    assert result.attempted >= 2 and result.failed == 0


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
