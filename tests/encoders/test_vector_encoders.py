"""Encoders of vectors against plain layers, with every norm."""

import pytest
import torch
from torch.nn import functional as F

from hiercl.encoders import NORMS, make_encoder, stage_block

MEAN, STD = torch.linspace(-1, 1, 6), torch.full((6,), 2.0)


def test_the_mlp_is_linear_norm_relu_twice():
    encoder = make_encoder("mlp", MEAN, STD, channels=6).eval()
    x = torch.rand(5, 6)
    value = (x - MEAN) / STD
    for (linear, norm, _), width in zip(encoder.stage_modules, (512, 256), strict=True):
        value = F.relu(F.linear(value, linear.weight) / (1 + norm.eps) ** 0.5)  # statistics at their start
        assert value.shape == (5, width)
    torch.testing.assert_close(encoder(x[..., None, None]), value)
    assert [stage.shape[1:] for stage in encoder.stages(x[..., None, None])] == [(512, 1, 1), (256, 1, 1)]


def test_identity_gives_the_standardised_vector_and_linear_a_linear_map_of_it():
    x = torch.rand(5, 6)
    torch.testing.assert_close(make_encoder("identity", MEAN, STD, 6)(x[..., None, None]), (x - MEAN) / STD)
    linear = make_encoder("linear", MEAN, STD, 6)
    expected = F.linear((x - MEAN) / STD, linear.stage_modules[0].weight, linear.stage_modules[0].bias)
    torch.testing.assert_close(linear(x[..., None, None]), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_trains_the_mlp_and_the_block_of_a_stage(norm):
    encoder = make_encoder("mlp", MEAN, STD, 6, norm=norm)
    block = stage_block(encoder, 0)
    maps = encoder.stages(torch.rand(16, 6, 1, 1))
    (block(maps[0]).sum() + maps[1].sum()).backward()
    assert block(maps[0]).shape == (16, 256, 1, 1)
    assert all(p.grad is not None for p in [*encoder.parameters(), *block.parameters()])
    for other in ("linear", "identity"):
        if norm != "batch":
            with pytest.raises(ValueError, match=f"{other}: it has nothing that norm= could change"):
                make_encoder(other, MEAN, STD, 6, norm=norm)
