"""G-HMLC and A-HMLC: masked losses against a loop, no gradient where a mask is 0, one fit after the warm-up."""

import math

import numpy as np
import pytest
import torch
from support.data import SMALL, pictures
from support.methods import BATCH, batch_of, make
from torch.nn import functional as F

from hiercl.training.loop import fit
from hiercl.training.runs import load_run


def loop(method, batch, masks_of):
    """Σ λ_h L_h / Σ λ_h, pair by pair; ``masks_of(i, h)`` is the mask of an anchor's view."""
    views, tau = torch.cat(batch.views), method.config.temperature
    items = batch.items[:, 0].repeat(2)
    v = method.projections(method.encoder(views))[:, 0].detach().double()
    labels = method.ancestors[items]
    total, weights = 0.0, [math.exp(1 / 2), math.exp(1)]
    for h, weight in enumerate(weights):
        level = 0.0
        for i in range(len(v)):
            z = [F.normalize(v[a] * masks_of(i, a, h), dim=0) for a in range(len(v))]
            similarity = [math.exp(float(z[i] @ z[a]) / tau) for a in range(len(v))]
            rest = sum(similarity[a] for a in range(len(v)) if a != i)
            positives = [p for p in range(len(v)) if p != i and labels[p, h] == labels[i, h]]
            level -= sum(math.log(similarity[p] / rest) for p in positives) / len(positives)
        total += weight * level / len(v)
    return total / sum(weights)


@pytest.mark.parametrize("settings", [{}, {"masks": "random"}, {"soft": True}, {"sizes": "free"}])
def test_g_hmlc_against_a_loop(settings):
    method = make("g_hmlc", **settings).eval()
    batch = batch_of(method, torch.arange(BATCH))
    masks = method.masks[0].double()
    assert torch.allclose(masks.sum(dim=0), torch.ones(method.config.dim, dtype=torch.float64), atol=1e-5)
    assert method(batch).loss.item() == pytest.approx(loop(method, batch, lambda i, a, h: masks[h]), abs=1e-4)


def test_a_hmlc_against_a_loop():
    """Every view has a mask of its own at each level."""
    method = make("a_hmlc").eval()
    batch = batch_of(method, torch.arange(BATCH))
    masks = method.gate(method.encoder(torch.cat(batch.views))).detach().double()
    assert masks.std(dim=0).max() > 1e-4  # they do differ between views
    assert method(batch).loss.item() == pytest.approx(loop(method, batch, lambda i, a, h: masks[a, h]), abs=1e-4)


def test_before_the_first_fit_it_is_hmc():
    g_hmlc, hmc = make("g_hmlc", warm_up=1.0).eval(), make("hmc").eval()
    batch = batch_of(hmc, torch.arange(BATCH))
    assert torch.equal(g_hmlc(batch).loss, hmc(batch).loss)


@pytest.mark.parametrize("settings", [{}, {"place": "backbone"}, {"place": "backbone", "heads": "level"}])
def test_masked_out_features_get_no_gradient_at_that_level(settings):
    method = make("g_hmlc", **settings).eval()
    features = {}

    def keep(module, given, out):
        """Stands between the features and their masks."""
        out.retain_grad()
        features.setdefault("seen", []).append(out)

    masked = method.encoder if "place" in settings else method.head
    masked.register_forward_hook(keep)
    for level in range(2):
        features.clear()
        method(batch_of(method, torch.arange(BATCH))).terms[level].loss.backward()
        gradient = torch.cat([out.grad for out in features["seen"]]).abs().sum(dim=0)
        mine = method.masks[0, level] > 0
        assert 0 < mine.sum() < len(mine)
        assert torch.equal(gradient[~mine], torch.zeros(int((~mine).sum())))
        assert (gradient[mine] > 0).float().mean() > 0.5  # channels behind a ReLU may be 0 for all


def test_one_fit_after_the_warm_up_then_the_masks_stay():
    seen = []
    fit("g_hmlc", pictures(), **SMALL | {"epochs": 10}, callbacks=[lambda run: seen.append(run.method.masks.clone())])
    assert torch.equal(seen[0], torch.ones_like(seen[0]))  # a tenth of training
    assert not torch.equal(seen[1], seen[0]) and all(torch.equal(later, seen[1]) for later in seen[1:])
    assert seen[1].sum(dim=2).flatten().tolist() == [64, 64]


def test_the_history_says_how_much_of_the_mixture_is_a_sort(tmp_path):
    """At two levels a mixture of contrasts is one, also where it decides where to cut; the default is not."""
    settings, data = SMALL | {"epochs": 1, "warm_up": 0.0}, pictures(64)
    run = fit("g_hmlc", data, out=tmp_path / "run", descriptor="contrast", sizes="free", **settings)
    others = [fit("g_hmlc", data, descriptor=name, **settings) for name in ("moments", "samples")]
    assert others[0].method.config == make("g_hmlc", warm_up=0.0).config
    name = "overlap with a sort"
    assert run.history[name][0] > 0.95 and all(other.history[name][0] < 0.8 for other in others)
    assert load_run(tmp_path / "run").method.overlap == run.method.overlap == pytest.approx(run.history[name][0])


def test_masks_are_saved():
    method, other = make("g_hmlc"), make("g_hmlc", warm_up=1.0, seed=1)
    other.load_state_dict(method.state_dict())
    assert other.masked and torch.equal(other.masks, method.masks)


def test_files_with_settings_that_were_removed():
    """Their defaults load, and so does what they kept; other values are an error."""
    method, other = make("g_hmlc"), make("g_hmlc", warm_up=1.0, seed=1)
    gone = {"rectified": False, "per_superclass": False, "refit": None}
    assert type(method.config).from_json(method.config.to_json() | gone) == method.config
    for name, value in {"rectified": True, "per_superclass": True, "refit": 0.1}.items():
        with pytest.raises(ValueError, match=f"'{name}'.* removed"):
            type(method.config).from_json(method.config.to_json() | gone | {name: value})
    state = method.state_dict()
    state["_extra_state"] |= {"unstable": 0, "changed": None, "taken": False}
    other.load_state_dict(state)
    assert other.masked and torch.equal(other.masks, method.masks)


def test_history_says_how_gates_behave():
    gates = fit("a_hmlc", pictures(), **SMALL).history
    for level in (0, 1):
        assert (gates[f"gate over inputs {level}"] > 0).all() and (gates[f"gate over features {level}"] > 0).all()
    constant = fit("a_hmlc", pictures(), gate="constant", **SMALL).history
    assert np.allclose(constant["gate over inputs 1"], 0, atol=1e-6)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"heads": "level"}, "choose place='backbone'"),
        ({"masks": "random", "sizes": "free", "soft": True}, "sizes, soft: settings of the mixture"),
        ({"prototypes": (2, 4)}, "prototypes: no effect without a learned tree"),
        ({"dim": 1}, "cannot be split into 2 levels"),
        ({"level_weights": (1.0, 1.0, 1.0)}, "the hierarchy has 2 levels"),
        ({"level_weights": (1.0, -1.0)}, "at least 0"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make("g_hmlc", **settings)


SHAPED = [
    ("g_hmlc", {"soft": True, "sizes": "free"}),
    ("g_hmlc", {"place": "backbone", "heads": "level"}),
    ("hmc", {"heads": "level", "head": "linear"}),
    ("hmce", {"source": "prototypes", "prototypes": (2, 4)}),
    ("a_hmlc", {"gate": "attention"}),
    ("csml", {"stages": (1, 2, 3), "queue": 40}),
    ("csml", {"neighbour_source": "labels", "queue": 40}),
    ("csml", {"neighbour_source": "random", "queue": 40}),
]


@pytest.mark.parametrize("method, settings", SHAPED)
def test_what_was_saved_loads_whatever_its_shapes(tmp_path, method, settings):
    data = pictures(64)
    run = fit(method, data, out=tmp_path / "run", **SMALL, **settings)
    again = load_run(tmp_path / "run")
    index = torch.arange(8)
    assert torch.equal(run.step(data, index).loss, again.step(data, index).loss)


def test_a_feature_that_is_masked_away_has_no_gradient_and_no_nan():
    method = make("g_hmlc", dim=4)
    with torch.no_grad():
        for parameter in method.head[-1].parameters():
            parameter[method.masks[0, 0] > 0] = 0  # all that level 0 sees is 0
    step = method(batch_of(method, torch.arange(BATCH)))
    step.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "method, settings, setting",
    [("g_hmlc", {"warm_up": 1.0}, "warm_up"), ("csml", {"neighbour_start": 1.0, "queue": 20}, "neighbour_start")],
)
def test_what_never_begins_is_said(method, settings, setting):
    with pytest.warns(UserWarning, match=f"{setting} lasts for all 1 epochs"):
        fit(method, pictures(64), **SMALL | {"epochs": 1} | settings)
