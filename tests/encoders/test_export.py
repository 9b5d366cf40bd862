"""Encoders as files: other programs give the same features."""

import json
import sys

import pytest
import torch
from torch import nn

from hiercl.encoders import export, make_encoder

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.3, 0.2)


def trained(name="convnet", **settings):
    """An encoder whose batch norms have seen something."""
    torch.manual_seed(0)
    encoder = make_encoder(name, MEAN, STD, **settings)
    items = torch.rand(16, 3, 40, 1) if encoder.modality == "points" else torch.rand(16, 3, 16, 16)
    with torch.no_grad():
        encoder(items)
    return encoder.eval()


def features(encoder, items):
    with torch.no_grad():
        return encoder(items)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_loads_it(name, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file
    from torchvision import models

    encoder = trained(name)
    path = export(encoder, tmp_path / "weights.safetensors", layout="torchvision")
    theirs = getattr(models, name)()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    missing = theirs.load_state_dict(load_file(path), strict=False)
    assert missing.missing_keys == ["fc.weight", "fc.bias"] and not missing.unexpected_keys
    theirs.fc = nn.Identity()
    theirs.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        about = file.metadata()
    mean, std = (torch.tensor(json.loads(about[part]))[:, None, None] for part in ("mean", "std"))
    assert about["modality"] == "images" and about["layout"] == "torchvision"
    x = torch.rand(3, 3, 20, 24)
    assert torch.equal(features(theirs.eval(), (x - mean) / std), features(encoder, x))


@pytest.mark.parametrize("layout", [None, "torchvision"])
def test_weights_come_back_with_their_normalisation(layout, tmp_path):
    from hiercl.encoders import Weights, match

    encoder = trained("resnet18")
    path = export(encoder, tmp_path / "weights.safetensors", layout)
    again = make_encoder("resnet18", [0.0] * 3, [1.0] * 3).eval()
    again.load_state_dict(match(again, Weights.of(path).tensors()).tensors)
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(features(again, x), features(encoder, x))


@pytest.mark.parametrize("name", ["convnet", "vit_tiny", "dgcnn", "dgcnn_share"])
def test_programs_give_equal_features(name, tmp_path, as_a_user):
    """For other numbers of items, one included, and for items of another size."""
    import onnxruntime

    encoder = trained(name)
    program = torch.export.load(export(encoder, tmp_path / "encoder.pt2", size=32)).module()
    session = onnxruntime.InferenceSession(export(encoder, tmp_path / "encoder.onnx", size=32))
    shapes = [(5, 3, 32), (1, 3, 48)] if encoder.modality == "points" else [(5, 3, 32, 32), (1, 3, 24, 40)]
    for shape in shapes:
        x = torch.rand(*shape, *[1] * (4 - len(shape)))
        expected = features(encoder, x)
        torch.testing.assert_close(program(x), expected)
        (given,) = session.run(None, {"items": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(given), expected, rtol=1e-4, atol=1e-4)
    assert list(tmp_path.iterdir()) and not list(tmp_path.glob(".*"))


def test_what_is_refused(tmp_path, monkeypatch):
    encoder = trained()
    path = export(encoder, tmp_path / "deep" / "encoder.safetensors")
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        export(encoder, path)
    assert export(encoder, path, overwrite=True) == path
    with pytest.raises(ValueError, match=r"one of \.safetensors, \.onnx, \.pt2"):
        export(encoder, tmp_path / "encoder.h5")
    with pytest.raises(ValueError, match="none of torchvision's ResNets"):
        export(encoder, tmp_path / "a.safetensors", layout="torchvision")
    with pytest.raises(ValueError, match="none of torchvision's ResNets"):
        export(trained("resnet18", norm="group"), tmp_path / "a.safetensors", layout="torchvision")
    with pytest.raises(ValueError, match="Unknown layout 'keras'"):
        export(encoder, tmp_path / "a.safetensors", layout="keras")
    with pytest.raises(ValueError, match="only weights"):
        export(encoder, tmp_path / "a.onnx", layout="torchvision")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript"):
        export(encoder, tmp_path / "a.onnx")
    assert not (tmp_path / "a.safetensors").exists()


def test_a_program_that_torch_cannot_make(tmp_path):
    from hiercl.encoders import Encoder

    class Choosy(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(ValueError, match="torch cannot make a program of this encoder for items"):
        export(Encoder(nn.Identity(), [Choosy()], [3], MEAN, STD), tmp_path / "a.pt2")
