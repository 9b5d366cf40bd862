"""A step of a run keeps its views: each anchor and candidate is the embedding of the view that is shown for it."""

import pytest
import torch
from support.data import METHODS, clouds, pictures, vectors

import hiercl
from hiercl.methods.base import Method, Step
from hiercl.pairs import Kind, Term, by_item

TINY = {"epochs": 1, "batch": 16, "monitor_every": 0, "progress": False, "precision": "float32"}
MORE = {
    "moco": {"queue": 40, "symmetric": True},
    "hcsc": METHODS["hcsc"] | {"warm_up": 0.0, "local_crops": 2},
    "csml": METHODS["csml"] | {"local_crops": 2},
}


def embedded(run, views, key):
    """The last stage's embedding of each view, one after the other: local views have other sizes."""
    project = run.method.project_key if key else run.method.project
    if run.name == "csml" and not key:
        project = run.method.embed_stages
    with torch.no_grad():
        z = torch.cat([project(view[None]) for view in views])
    return z[:, -1] if z.ndim == 3 else z


def check(run, data, batch=6):
    step = run.step(data, batch=batch, seed=3)
    assert step.views and all(len(view) == batch for view in step.views)
    seen = 0
    for term in step.terms:
        pairs = term.pairs
        if term.name.startswith("stage") or term.logits.ndim != 2:
            continue
        anchors = [step.anchor_view(term, anchor) for anchor in range(len(pairs.anchors))]
        candidates = [step.candidate_view(term, number) for number in range(len(pairs.candidates))]
        of_batch = [kind in (Kind.VIEW, Kind.KEY) for kind in pairs.candidates.kind.tolist()]
        assert [view is not None for view in candidates] == of_batch
        if any(of_batch):
            q = embedded(run, anchors, False)
            key = bool((pairs.candidates.kind == Kind.KEY).any())
            k = embedded(run, [view for view in candidates if view is not None], key)
            expected = q @ k.T / run.method.config.temperature
            torch.testing.assert_close(term.logits[:, torch.tensor(of_batch)], expected, atol=2e-4, rtol=1e-4)
            seen += 1
    assert seen


@pytest.mark.parametrize("name", ["simclr", "moco", "hcsc", "csml", "supcon"])
def test_pictures(name):
    data = pictures(48)
    check(hiercl.fit(name, data, crop=12, **TINY, **MORE.get(name, {})), data)


@pytest.mark.parametrize("data, more", [(clouds(), {"encoder": "pointnet_vanilla", "points": 24}), (vectors(), {})])
def test_clouds_and_vectors(data, more):
    check(hiercl.fit("csml", data, **TINY, **MORE["csml"], **more), data)


def test_blocks_see_the_same_views():
    data = pictures(48)
    run = hiercl.fit("hmc", data, crop=12, block=5, **TINY)
    check(run, data)


class Mine(Method):
    """A method that does not say which views its members are."""

    name = "mine"

    def forward(self, batch):
        z, items = torch.cat([self.project(view) for view in batch.views]), batch.items[:, 0]
        return Step((Term.of(z, by_item(items.repeat(2)), self.config.temperature),), items)


def test_a_method_that_does_not_name_its_views_has_them_in_order():
    data = pictures(48)
    run = hiercl.fit(Mine, data, crop=12, **TINY)
    check(run, data)
    step = run.step(data, batch=6)
    other = Term.of(torch.randn(9, 4), by_item(torch.arange(9)))  # of no view of this batch
    assert step.anchor_view(other, 0) is None and step.candidate_view(other, 8) is None


def test_a_training_keeps_no_view(monkeypatch):
    kept = []
    monkeypatch.setattr(hiercl.methods.CsMl, "after_step", lambda self, step: kept.append(step.views))
    hiercl.fit("csml", pictures(48), crop=12, **TINY, **MORE["csml"])
    assert kept and not any(kept)
