"""Split batch norm is batch norm of every part; group norm looks at one item alone."""

import pytest
import torch
from support.data import METHODS, SMALL, pictures
from support.methods import batch_of, make
from torch import nn

from hiercl.encoders import make_encoder
from hiercl.encoders.norms import SPLITS, SplitBatchNorm2d
from hiercl.training.loop import fit

MEAN = STD = [0.5] * 3


def test_split_batch_norm_is_batch_norm_of_every_part():
    torch.manual_seed(0)
    x = torch.randn(4 * SPLITS, 5, 3, 3) * 2 + 1
    split, parts = SplitBatchNorm2d(5), [nn.BatchNorm2d(5) for _ in range(SPLITS)]
    expected = torch.cat([norm(part) for norm, part in zip(parts, x.split(4), strict=True)])
    assert torch.allclose(split(x), expected, atol=1e-6)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, name) for norm in parts]).mean(dim=0)
        assert torch.allclose(getattr(split, name), mean, atol=1e-6)
    whole = nn.BatchNorm2d(5)
    whole.load_state_dict(split.state_dict())
    assert torch.equal(split.eval()(x), whole.eval()(x))


def test_split_batch_norm_has_its_gradient():
    torch.manual_seed(0)
    x = torch.randn(2 * SPLITS, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: SplitBatchNorm2d(2).double()(value), x)


def test_split_batch_norm_needs_even_parts():
    with pytest.raises(ValueError, match="multiple of 8; this one has 12 items"):
        SplitBatchNorm2d(2)(torch.randn(12, 2, 4, 4))


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
@pytest.mark.parametrize("norm, alone", [("batch", False), ("split", False), ("group", True)])
def test_only_group_norm_leaves_an_item_to_itself(name, norm, alone):
    torch.manual_seed(0)
    encoder = make_encoder(name, MEAN, STD, norm=norm).train()
    x = torch.rand(16, 3, 16, 16)
    others = torch.cat([x[:1], torch.rand(15, 3, 16, 16)])
    assert torch.allclose(encoder(x)[0], encoder(others)[0], atol=1e-5) == alone
    assert encoder.norm == norm


def test_unknown_norm():
    with pytest.raises(ValueError, match=r"Unknown norm 'layer'\. Known: batch, group, split"):
        make_encoder("convnet", MEAN, STD, norm="layer")


def test_keys_change_places_under_split_batch_norm(monkeypatch):
    """They are normalised in another order than the queries, and come back in their own."""
    method = make("moco").train()
    method.encoder.norm = "split"
    batch, seen = batch_of(method, torch.arange(8)), []
    monkeypatch.setattr(method, "project_key", lambda view: seen.append(view) or view.flatten(1))
    keys = method.keys(batch)
    assert torch.equal(keys, batch.views[1].flatten(1))
    assert not torch.equal(seen[0], batch.views[1])
    assert torch.equal(seen[0].flatten(1).sort(dim=0).values, keys.sort(dim=0).values)


@pytest.mark.parametrize("norm", ["split", "group"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_every_norm(method, norm):
    run = fit(method, pictures(), **SMALL | METHODS[method] | {"norm": norm, "epochs": 2})
    assert run.history["loss"].notna().all() and run.encoder.norm == norm
