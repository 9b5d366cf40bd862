"""Encoders: sizes, stages, normalisation, heads."""

import numpy as np
import pytest
import torch
from torch import nn

from hiercl import encoders, views
from hiercl.encoders import (
    Encoder,
    encoder_names,
    half_precision_is_native,
    make_encoder,
    projection_head,
    sound_gradients,
)

MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)
PARAMETERS = {
    "convnet": 536_608,
    "whitenet": 536_096,
    # torchvision's count, less the fc of 1,000 classes, less a 7×7 stem, plus a 3×3 one
    "resnet18": 11_689_512 - (512 * 1000 + 1000) - 64 * 3 * 49 + 64 * 3 * 9,
    "resnet50": 25_557_032 - (2048 * 1000 + 1000) - 64 * 3 * 49 + 64 * 3 * 9,
    # patches, 8 blocks of attention and MLP with their norms, the last norm
    "vit_tiny": 49 * 128 + 8 * (12 * 128**2 + 13 * 128) + 2 * 128,
}
# Widths of the stages, and how often the side was halved when each ends.
STAGES = {
    "convnet": [(32, 1), (64, 2), (128, 4), (256, 8)],
    "whitenet": [(32, 1), (64, 2), (128, 4), (256, 8)],
    "resnet18": [(64, 1), (128, 2), (256, 4), (512, 8)],
    "resnet50": [(256, 1), (512, 2), (1024, 4), (2048, 8)],
    "vit_tiny": [(128, 4)] * 4,
}


@pytest.fixture(scope="module", params=list(PARAMETERS))
def named(request):
    torch.manual_seed(0)
    return request.param, make_encoder(request.param, MEAN, STD).eval()


def test_parameter_count(named):
    name, encoder = named
    assert sum(p.numel() for p in encoder.parameters()) == PARAMETERS[name]
    assert PARAMETERS["resnet18"] == 11_168_832


@pytest.mark.parametrize("size", [32, 24])
def test_stages_and_pooled_feature(named, size):
    name, encoder = named
    x = torch.rand(2, 3, size, size)
    with torch.no_grad():
        maps, pooled = encoder.stages(x), encoder(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(w, size // s, size // s) for w, s in STAGES[name]]
    assert encoder.stage_widths == tuple(w for w, _ in STAGES[name])
    assert pooled.shape == (2, encoder.width)
    assert encoder.width == encoder.stage_widths[-1]
    torch.testing.assert_close(maps[-1].mean(dim=(2, 3)), pooled)


def test_every_name_is_tested():
    assert set(encoder_names("images")) == set(PARAMETERS)


def test_whitening_from_training_pictures():
    """The answers to the training pictures have variance 1 and no correlation, and so have those of the mixtures."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (300, 5, 5, 3))
    items = np.repeat(np.repeat(small, 3, axis=1), 3, axis=2).astype(np.uint8)  # neighbouring pixels are alike
    encoder = make_encoder("whitenet", MEAN, STD)
    encoder.see(items)
    pictures = encoder.normalise(torch.from_numpy(items).permute(0, 3, 1, 2) / 255)
    first = encoder.stage_modules[0]
    patches = nn.functional.unfold(pictures, 2).transpose(1, 2)  # [n, 14 * 14, 12]
    answers = patches @ first.filters.T
    assert torch.allclose(answers.flatten(0, 1).T.cov(), torch.eye(12), atol=0.02)
    mixed = (answers @ first.mix.weight.flatten(1).T + first.mix.bias).transpose(1, 2)
    found = first(pictures)[:, :, :-1, :-1].flatten(2)  # the last row and column see the padding
    assert torch.allclose(found, mixed.relu(), atol=1e-4)
    assert abs(mixed.var(dim=(0, 2)).mean() - 1) < 0.05
    assert not any("filters" in name for name, _ in encoder.named_parameters())


def test_odd_size_and_grayscale():
    encoder = make_encoder("convnet", [0.5], [0.2], channels=1)
    assert encoder(torch.rand(2, 1, 17, 17)).shape == (2, 256)
    assert make_encoder("resnet18", [0.5], [0.2], channels=1).stem[0].weight.shape == (64, 1, 3, 3)


def test_normalisation_is_inside_and_saved():
    encoder = Encoder(nn.Identity(), [nn.Identity()], [3], MEAN, STD)
    mean = torch.tensor(MEAN)
    x = mean[None, :, None, None] + torch.tensor(STD)[None, :, None, None] * torch.ones(1, 3, 4, 4)
    torch.testing.assert_close(encoder(x), torch.ones(1, 3))
    other = Encoder(nn.Identity(), [nn.Identity()], [3], (0.0,) * 3, (1.0,) * 3)
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other.mean, mean)
    torch.testing.assert_close(other(x), encoder(x))


def test_pooled_feature_is_float32_under_autocast():
    encoder = make_encoder("convnet", MEAN, STD)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.rand(2, 3, 24, 24)
        assert encoder.stages(x)[-1].dtype == torch.bfloat16
        assert encoder(x).dtype == torch.float32


def test_every_parameter_gets_a_gradient():
    encoder = make_encoder("convnet", MEAN, STD)
    encoder(torch.rand(4, 3, 24, 24)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_same_seed_same_encoder():
    def make():
        torch.manual_seed(3)
        return make_encoder("convnet", MEAN, STD).state_dict()

    a, b = make(), make()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_errors():
    with pytest.raises(ValueError, match="Known: convnet, dgcnn"):
        make_encoder("resnet19", MEAN, STD)
    with pytest.raises(ValueError, match="3 entries"):
        make_encoder("convnet", [0.5], [0.2])
    with pytest.raises(ValueError, match="std > 0"):
        make_encoder("convnet", MEAN, [0.0, 1.0, 1.0])
    encoder = make_encoder("convnet", MEAN, STD)
    # One channel would broadcast against three means without a word.
    with pytest.raises(ValueError, match="expected float pictures"):
        encoder(torch.rand(2, 1, 24, 24))


def test_projection_heads():
    count = {kind: sum(p.numel() for p in projection_head(kind, 256).parameters()) for kind in ("linear", "mlp")}
    assert count == {"linear": 256 * 128 + 128, "mlp": 256 * 256 + 256 + 256 * 128 + 128}
    head = projection_head("mlp", 32, dim=8, hidden=16)
    assert [tuple(p.shape) for p in head.parameters()] == [(16, 32), (16,), (8, 16), (8,)]
    assert head(torch.rand(5, 32)).shape == (5, 8)
    with pytest.raises(ValueError, match="linear, mlp"):
        projection_head("conv", 32)


def test_half_precision_answer_is_safe(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert half_precision_is_native("meta") is False
    assert half_precision_is_native(torch.device("cpu")) in (True, False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert half_precision_is_native("cpu") is False
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert half_precision_is_native("cpu") is True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert half_precision_is_native("cuda") is False


def test_importing_does_not_load_torchvision():
    assert "torchvision" not in vars(encoders) | vars(views)


class Scaled(nn.Conv2d):
    """A convolution with a forward pass of its own, as timm has some."""

    def forward(self, x):
        return nn.functional.conv2d(x, 2 * self.weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("side", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel, stride, padding", [(3, 2, 1), (3, 3, 1), (7, 2, 3), (5, 4, 2), (2, 2, 1), (1, 2, 0)])
def test_gradients_in_bf16_are_sound_for_maps_smaller_than_a_stride(side, kernel, stride, padding):
    torch.manual_seed(side)
    convolution = Scaled(8, 16, kernel, stride, padding, bias=False)
    x = torch.randn(4, 8, side, side)
    answer, weight = convolution(x), torch.randn(16)[:, None, None]
    (expected,) = torch.autograd.grad((answer * weight).sum(), convolution.weight)
    with sound_gradients(convolution, half=True):
        for _ in range(3):
            junk = [torch.full_like(expected, 1e30) for _ in range(20)]  # what the allocator may give again
            del junk
            with torch.autocast("cpu", torch.bfloat16):
                found = convolution(x)
            assert found.shape == answer.shape
            (gradient,) = torch.autograd.grad((found.float() * weight).sum(), convolution.weight)
            assert (gradient - expected).norm() < 0.02 * expected.norm()
        with pytest.raises(RuntimeError):
            convolution(x[:, :3])
        assert convolution.padding == (padding, padding)
    assert not convolution._forward_pre_hooks and not convolution._forward_hooks


def test_a_limit_for_onednn_is_a_cpu_without_bf16(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    before = half_precision_is_native("cpu")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not half_precision_is_native("cpu")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert half_precision_is_native("cpu") == before
