"""Encoders of point clouds: published sizes, no order of the points, DGCNN against its equation."""

import copy
import itertools

import pytest
import torch
from torch import nn

from hiercl.encoders import encoder_modality, encoder_names, make_encoder, stage_block
from hiercl.encoders import points as P
from hiercl.encoders.norms import NORMS

NAMES = encoder_names("points")


def encoder(name, norm="batch"):
    torch.manual_seed(0)
    return make_encoder(name, [0.0] * 3, [1.0] * 3, norm=norm)


def clouds(n=4, points=64, seed=0):
    return torch.randn(n, 3, points, 1, generator=torch.Generator().manual_seed(seed))


def classifier(width, hidden, classes=40):
    """The fully connected layers that the papers put on the pooled feature."""
    sizes = (width, *hidden)
    layers = [nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b)) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


@pytest.mark.parametrize(
    ("name", "hidden", "published"),
    [
        ("pointnet_vanilla", (512, 256), 0.8e6),  # Qi et al., 2017, table 6
        ("pointnet", (512, 256), 3.5e6),  # the same
        ("dgcnn", (512, 256), 1.8e6),  # as counted of the official code
    ],
)
def test_with_its_classifier_it_has_the_published_number_of_parameters(name, hidden, published):
    model = encoder(name)
    count = sum(p.numel() for p in [*model.parameters(), *classifier(model.width, hidden).parameters()])
    assert round(count / 1e6, 1) == published / 1e6


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_has_its_width(name):
    model = encoder(name)
    maps = model.stages(clouds())
    assert [m.shape for m in maps] == [(4, width, 64, 1) for width in model.stage_widths]
    assert model(clouds()).shape == (4, model.width)
    assert len(model.stage_widths) == 4 and encoder_modality(name).name == model.modality == "points"


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_points_does_not_matter(name):
    model, x = encoder(name).eval(), clouds()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(x[:, :, order]), model(x), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            model.stages(x[:, :, order])[-1], model.stages(x)[-1][:, :, order], atol=1e-4, rtol=1e-3
        )


@pytest.mark.parametrize("name", NAMES)
def test_other_clouds_have_other_features(name):
    model = encoder(name).eval()
    assert (model(clouds(seed=0)) - model(clouds(seed=1))).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_every_parameter_gets_a_gradient(name, norm):
    model = encoder(name, norm)
    weights = torch.randn(model.width, generator=torch.Generator().manual_seed(2))
    (model(clouds()) @ weights).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


def test_t_nets_start_at_the_identity():
    whole, plain = encoder("pointnet").eval(), encoder("pointnet_vanilla").eval()
    weights = {name.replace(".0.0", ".0"): value for name, value in plain.state_dict().items()}
    of_stages = {
        n: p for n, p in whole.state_dict().items() if "matrix" not in n and "each" not in n and "whole" not in n
    }
    assert len(of_stages) == len(weights)
    for own, given in zip(of_stages.values(), plain.state_dict().values(), strict=True):
        own.copy_(given)
    torch.testing.assert_close(whole(clouds()), plain(clouds()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("density", [None, 30])
@pytest.mark.parametrize("norm", ["batch", "split", "group"])
def test_edge_convolution_is_its_equation(norm, density, training):
    """x_i' = max_j LeakyReLU(norm(W [x_j - x_i; x_i])), with all values of edges, and its gradients."""
    torch.manual_seed(0)
    stage, x = P._EdgeStage(5, 16, NORMS[norm], density).train(training), torch.randn(8, 5, 40, 1, requires_grad=True)
    nn.init.normal_(stage.norm.weight)  # a channel with a negative scale has its smallest edge
    nn.init.normal_(stage.norm.bias)
    plain = copy.deepcopy(stage)

    near = P.nearest_points(x[..., 0], P.NEIGHBOURS, density)
    others = torch.stack([cloud[:, rows] for cloud, rows in zip(x[..., 0], near, strict=True)])
    pairs = torch.cat([others - x, x.expand_as(others)], dim=1)  # [batch, 10, points, neighbours]
    edges = plain.norm(plain.edge(pairs))
    expected = torch.cat([x[..., 0], nn.functional.leaky_relu(edges, 0.2).max(dim=3).values], dim=1)[..., None]
    found = stage(x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)

    weights = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * weights).sum(), [x, *plain.parameters()])
    given = torch.autograd.grad((found * weights).sum(), [x, *stage.parameters()])
    torch.testing.assert_close(given, wanted, atol=1e-3, rtol=1e-3)
    for own, theirs in zip(stage.buffers(), plain.buffers(), strict=True):  # variances of n values: n is another
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0.02)


def test_a_cloud_of_equal_points_is_no_division_by_zero():
    stage, x = P._EdgeStage(3, 8, nn.BatchNorm2d, None), torch.ones(4, 3, 30, 1, requires_grad=True)
    stage(x).sum().backward()
    assert stage(x).isfinite().all() and x.grad.isfinite().all() and stage.edge.weight.grad.isfinite().all()


@pytest.mark.parametrize("at_once", [2**24, 2 * 900, 7 * 30, 1])
def test_nearest_points_are_the_nearest(monkeypatch, at_once):
    monkeypatch.setattr(P, "DISTANCES_AT_ONCE", at_once)
    x = clouds(5, 30)[..., 0]
    index = P.nearest_points(x, 4)
    for b in range(5):
        distance = torch.cdist(x[b].T, x[b].T)
        assert [set(row.tolist()) for row in index[b]] == [set(row.argsort()[:4].tolist()) for row in distance]
        assert all(i in index[b, i] for i in range(30))
    assert P.nearest_points(x, 100).shape == (5, 30, 30)


def test_with_a_density_neighbours_reach_as_far_in_any_cloud():
    def reach(points, density):
        x = torch.rand(20, 3, points, generator=torch.Generator().manual_seed(0))
        index = P.nearest_points(x, 20, density)
        others = torch.stack([cloud[:, rows] for cloud, rows in zip(x, index, strict=True)])
        return (others - x[..., None]).norm(dim=1).mean().item()

    assert reach(128, None) == pytest.approx(reach(128, 128)), "the same points"
    for points in (64, 256, 512):
        assert reach(points, 128) == pytest.approx(reach(128, None), rel=0.1)
    assert reach(512, None) < 0.7 * reach(128, None)
    ranks = P.nearest_points(torch.arange(40.0)[None, None], 4, 10)[0, 0]
    assert ranks.tolist() == [0, 4, 8, 12]


@pytest.mark.parametrize("name", NAMES)
def test_stage_blocks_do_not_see_an_order_either(name):
    torch.manual_seed(0)
    model = encoder(name)
    block, x = stage_block(model, 2).eval(), torch.randn(2, model.stage_widths[2], 16, 1)
    order = torch.randperm(16)
    torch.testing.assert_close(block(x[:, :, order]), block(x)[:, :, order])
    assert block(x).shape == (2, 1024, 16, 1)


def test_half_precision_keeps_neighbours_apart():
    model, x = encoder("dgcnn").eval(), clouds(8, 200) / 3
    whole = model.stages(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        half = model.stages(x)[0].float()
    assert (half - whole).norm() / whole.norm() < 0.005  # 0.016 where the two parts of an edge are rounded apart


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"split.*T-Nets.*pointnet_vanilla"):
        encoder("pointnet", "split")
    with pytest.raises(ValueError, match=r"float pictures in \[0, 1\], \[batch, 3, height, width\]"):
        make_encoder("convnet", [0.5] * 3, [0.2] * 3)(clouds())
    with pytest.raises(ValueError, match=r"float points, \[batch, 3, p, 1\]"):
        encoder("pointnet_vanilla")(torch.zeros(2, 3, 8, 8))
