"""Muon: its step against singular values, what it moves, and resuming."""

import pytest
import torch
from support.data import SMALL, pictures
from support.runs import same
from torch import nn

import hiercl
from hiercl.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_orthogonal_is_about_the_polar_factor(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix, iterations=8)
    assert torch.linalg.svdvals(found).sub(1).abs().max() < 0.4
    left, right = u.T @ found @ v.T, torch.eye(6)
    assert (left * (1 - right)).abs().max() < 1e-3  # the singular vectors are those of the matrix


def test_two_steps_against_the_equation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Flatten(), nn.Linear(8, 2))
    twin = torch.optim.AdamW([torch.nn.Parameter(p.detach().clone()) for p in net[2].parameters()], lr=0.01)
    optimiser, memory = Muon(net, lr=0.01, weight_decay=0.01, factor=5.0, momentum=0.9), torch.zeros(8, 27)
    for seed in (1, 2):
        before = net[0].weight.detach().clone()
        net(torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
        grad = net[0].weight.grad.flatten(1).clone()
        for own, other in zip(net[2].parameters(), twin.param_groups[0]["params"], strict=True):
            other.grad = own.grad.clone()
        optimiser.step()
        optimiser.zero_grad()
        twin.step()
        memory = 0.9 * memory + grad
        expected = before.flatten(1) - 0.05 * orthogonal(grad + 0.9 * memory)
        expected *= 8**0.5 / expected.norm()
        assert torch.allclose(net[0].weight.detach().flatten(1), expected, atol=1e-6)
        for own, other in zip(net[2].parameters(), twin.param_groups[0]["params"], strict=True):
            assert torch.allclose(own, other, atol=1e-7)  # AdamW, as if the kernels were not there


def test_resumed_is_as_never_stopped(tmp_path):
    """The momentum of the kernels is in the checkpoint, and the fixed filters stay as they are."""
    data = pictures(48)
    quiet = {"monitor_every": 0, "progress": False}
    settings = SMALL | quiet | {"encoder": "whitenet", "optimiser": "muon", "batch": 24, "epochs": 3}
    whole = hiercl.fit("simclr", data, **settings)

    def stop(run):
        if len(run.history) == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        half = hiercl.fit("simclr", data, out=tmp_path / "run", callbacks=[stop], **settings)
    assert half.interrupted
    again = hiercl.fit("simclr", data, out=tmp_path / "run", resume=True, **settings)
    assert same(again, whole)
    untrained = hiercl.fit("simclr", data, **settings | {"epochs": 0})
    assert torch.equal(again.encoder.stage_modules[0].filters, untrained.encoder.stage_modules[0].filters)
    few = data.take(list(range(24)))
    given = hiercl.fit("simclr", few, **settings | {"epochs": 0, "encoder": again})
    assert torch.equal(given.encoder.stage_modules[0].filters, again.encoder.stage_modules[0].filters)
