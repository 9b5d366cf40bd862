"""Soft masks: as the equations say, in float32, learned, and described by honest numbers."""

import copy

import numpy as np
import pytest
import torch

from hiercl.methods.labels.gates import gate, gate_statistics

KINDS = ("input", "softmax", "features", "constant", "attention")


def made(kind, levels=3, width=16, dim=10, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return gate(kind, levels, width, dim), torch.randn(5, width), torch.randn(5, 7, width)


@pytest.mark.parametrize("kind", KINDS)
def test_masks(kind):
    module, pooled, tokens = made(kind)
    masks = module(pooled, tokens)
    assert masks.shape == (5, 3, 10) and masks.dtype == torch.float32
    assert (masks > 0).all() and (masks < 1).all()
    assert not torch.allclose(masks[:, 0], masks[:, 1])  # levels are not alike from the start
    if kind == "softmax":
        torch.testing.assert_close(masks.sum(dim=1), torch.ones(5, 10))
        assert masks.mean().item() == pytest.approx(1 / 3)
    elif kind == "features":
        torch.testing.assert_close(masks.sum(dim=2), torch.ones(5, 3))
    else:
        assert masks.mean().item() == pytest.approx(0.88, abs=0.05)


@pytest.mark.parametrize("kind", ["input", "softmax", "features"])
def test_gates_of_the_input_against_a_loop(kind):
    module, pooled, _ = made(kind)
    logits = np.zeros((5, 3, 10))
    for h, network in enumerate(module.networks):
        w1, b1, w2, b2 = (p.detach().double().numpy() for p in network.parameters())
        assert w1.shape == (4, 16)  # a quarter of the width
        for i, u in enumerate(pooled.double().numpy()):
            logits[i, h] = w2 @ np.maximum(w1 @ u + b1, 0) + b2
    axis = {"softmax": 1, "features": 2}.get(kind)
    scores = np.exp(logits)
    expected = scores / (1 + scores if axis is None else scores.sum(axis, keepdims=True))
    np.testing.assert_allclose(module(pooled).detach().numpy(), expected, rtol=1e-5)


def test_attention_against_a_loop():
    module, pooled, tokens = made("attention")
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    to_query, to_key, to_value = (state["attention.in_proj_weight"][16 * i : 16 * (i + 1)] for i in range(3))
    expected = np.zeros((5, 3, 10))
    for i in range(5):
        for h in range(3):
            t = tokens[i].double().numpy()
            heads = []
            for head in range(4):
                part = slice(4 * head, 4 * head + 4)
                score = (t @ to_key.T)[:, part] @ (to_query @ state["queries"][h])[part] / np.sqrt(4)
                weight = np.exp(score) / np.exp(score).sum()
                heads.append(weight @ (t @ to_value.T)[:, part])
            seen = state["attention.out_proj.weight"] @ np.concatenate(heads) + state["attention.out_proj.bias"]
            expected[i, h] = 1 / (1 + np.exp(-(state["out.weight"] @ seen + state["out.bias"])))
    np.testing.assert_allclose(module(pooled, tokens).detach().numpy(), expected, rtol=1e-5)


def test_attention_reads_places_in_any_order():
    module, pooled, tokens = made("attention")
    torch.testing.assert_close(module(pooled, tokens.flip(1)), module(pooled, tokens))
    assert gate("attention", 2, 6, 4)(torch.randn(2, 6), torch.randn(2, 3, 6)).shape == (2, 2, 4)  # 4 divides 6 not


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_gate_sees(kind):
    """needs_tokens says the truth: the other input changes nothing; a constant gate sees neither."""
    module, pooled, tokens = made(kind)
    masks = module(pooled, tokens)
    assert module.needs_tokens == (kind == "attention")
    assert torch.equal(module(pooled.flip(0), tokens), masks) == (kind in ("attention", "constant"))
    assert torch.equal(module(pooled, tokens.flip(0)), masks) == (kind != "attention")


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_of_learning_changes_every_part(kind):
    module, pooled, tokens = made(kind)
    before = copy.deepcopy(module.state_dict())
    goal = torch.rand(5, 3, 10, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        loss = (module(pooled, tokens) - goal).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_float32_under_autocast(kind):
    """The same numbers as without, from features in half precision too."""
    module, pooled, tokens = made(kind)
    pooled, tokens = pooled.bfloat16(), tokens.bfloat16()
    expected = module(pooled.float(), tokens.float())
    with torch.autocast("cpu", torch.bfloat16):
        masks = module(pooled, tokens)
    assert masks.dtype == torch.float32 and torch.equal(masks, expected)


def test_statistics_against_a_loop():
    masks = torch.rand(6, 2, 5, generator=torch.Generator().manual_seed(0))
    found = gate_statistics(masks)
    for h in range(2):
        m = masks[:, h].double().numpy()
        assert found["mean"][h] == pytest.approx(m.mean())
        assert found["std_over_inputs"][h] == pytest.approx(np.mean([m[:, j].std() for j in range(5)]))
        assert found["std_over_features"][h] == pytest.approx(np.std([m[:, j].mean() for j in range(5)]))


def test_statistics_tell_what_gates_do():
    of_input, of_nothing = (gate_statistics(made(kind)[0](made(kind)[1])) for kind in ("input", "constant"))
    assert min(of_input["std_over_inputs"]) > 0.001 and max(of_nothing["std_over_inputs"]) == 0
    assert min(of_nothing["std_over_features"]) > 0
    only_one = gate_statistics(torch.full((1, 2, 4), 0.25))
    assert only_one == {"mean": (0.25, 0.25), "std_over_inputs": (0.0, 0.0), "std_over_features": (0.0, 0.0)}


def test_errors(as_a_user):
    with pytest.raises(ValueError, match=r"Unknown gate 'inptu'\. Did you mean 'input'"):
        gate("inptu", 2, 8, 4)
    with pytest.raises(ValueError, match="at least 1"):
        gate("input", 0, 8, 4)
    module, pooled, _ = made("attention")
    with pytest.raises(ValueError, match=r"flatten\(2\)"):
        module(pooled)
