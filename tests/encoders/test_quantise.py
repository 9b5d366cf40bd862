"""Eight-bit weights: the bound on the error, channel by channel, and what stays as it is."""

import pytest
import torch
from torch import nn

from hiercl.encoders.quantise import dequantise, quantise

SHAPES = [(7, 5), (6, 3, 3, 3), (4, 1), (1, 9), (8, 2, 1, 1)]


def weights(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Channels of very different sizes: a scale for the whole tensor would lose the small ones."""
    numbers = torch.Generator().manual_seed(seed)
    size = 10.0 ** torch.randint(-6, 6, (shape[0],), generator=numbers)
    return torch.randn(shape, generator=numbers) * size.reshape(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_against_a_slow_loop(shape, seed):
    w = weights(shape, seed)
    stored = quantise({"w": w})
    for c in range(shape[0]):
        channel = [float(value) for value in w[c].flatten()]
        scale = max(abs(value) for value in channel) / 127
        assert stored["w.scale"][c].item() == pytest.approx(scale, rel=1e-6)
        for value, q in zip(channel, stored["w"][c].flatten().tolist(), strict=True):
            assert abs(value / scale - q) <= 0.5 + 1e-4  # the nearest whole number, but for float32


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_no_weight_moves_by_more_than_half_a_step(shape, seed):
    w = weights(shape, seed)
    stored = quantise({"w": w})
    assert stored["w"].dtype == torch.int8 and stored["w"].min() >= -127
    assert stored["w.scale"].shape == shape[:1] and stored["w.scale"].dtype == torch.float32
    found = dequantise(stored)
    assert found.keys() == {"w"} and found["w"].dtype == torch.float32
    half = stored["w.scale"].double().reshape(-1, *[1] * (w.ndim - 1)) / 2
    assert ((w.double() - found["w"].double()).abs() <= half * (1 + 2e-5)).all()  # but for rounding in float32
    assert torch.equal(quantise(found)["w"], stored["w"])  # what has been rounded is not rounded again
    assert torch.equal(dequantise(quantise({"w": -w}))["w"], -found["w"])  # symmetric


def test_channels_of_zeros_and_of_almost_nothing():
    w = torch.zeros(4, 3)
    w[1, 0], w[2] = 2.0, 1e-42
    w[3] = torch.tensor([1e-36, -1e-36, 0])  # its scale is below the normal range
    stored = quantise({"w": w})
    assert stored["w.scale"][[0, 2, 3]].tolist() == [1, 1, 1]
    assert stored["w"].tolist() == [[0, 0, 0], [127, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert torch.isfinite(dequantise(stored)["w"]).all()


def test_the_rest_stays_as_it_is():
    layer = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    layer(torch.rand(4, 3, 8, 8) * 1e6)  # running variances that half precision could not hold
    state = layer.state_dict()
    stored = quantise(state)
    assert stored["1.running_var"].max() > 65504
    assert {name for name in stored if stored[name].dtype == torch.int8} == {"0.weight"}
    found = dequantise(stored)
    assert list(found) == list(state)
    for name in found.keys() - {"0.weight"}:
        assert torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype


def test_other_layouts_and_precisions_give_the_same():
    w = weights((6, 4, 3, 3)).bfloat16()
    plain = quantise({"w": w.float()})
    for same in (w, w.double(), w.float().to(memory_format=torch.channels_last), nn.Parameter(w.float())):
        stored = quantise({"w": same})
        assert stored["w"].is_contiguous() and not stored["w"].requires_grad
        assert torch.equal(stored["w"], plain["w"]) and torch.equal(stored["w.scale"], plain["w.scale"])
    counts = torch.arange(6).reshape(2, 3)
    assert torch.equal(quantise({"counts": counts})["counts"], counts)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias"])
def test_numbers_that_are_not_finite(name, value):
    state = nn.Sequential(nn.Linear(3, 2)).state_dict()
    state[name].view(-1)[0] = value
    with pytest.raises(ValueError, match=f"{name} holds a number that is not finite"):
        quantise(state)


def test_scales_that_are_missing_or_of_another_layer():
    stored = quantise({"w": weights((4, 3))})
    with pytest.raises(ValueError, match="w is int8 and has no scale for each of its 4 output channels"):
        dequantise({"w": stored["w"]})
    with pytest.raises(ValueError, match="no scale for each of its 4"):
        dequantise(stored | {"w.scale": torch.ones(1)})
