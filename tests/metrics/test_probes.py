"""Probes of features, against loops and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hiercl.metrics import probes
from hiercl.metrics.probes import LinearProbe, _stratified_fifth, knn_predict


def blobs(n: int = 240, classes: int = 4, dim: int = 10, spread: float = 1.0, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    return 2 * torch.eye(classes, dim)[labels] + spread * torch.randn(n, dim, generator=g), labels


@pytest.mark.parametrize("k", [1, 5, 1000])
def test_knn_against_a_loop(k):
    bank, labels = blobs()
    queries, _ = blobs(40, seed=1)
    expected = []
    for q in queries:
        cosines = [float(F.cosine_similarity(q, z, dim=0)) for z in bank]
        votes = np.zeros(4)
        for i in sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]:
            votes[labels[i]] += math.exp(cosines[i] / 0.07)
        expected.append(int(votes.argmax()))
    assert knn_predict(bank, labels, queries, k=k).tolist() == expected


def test_an_item_is_no_neighbour_of_itself():
    """Every item's twin has another label: with itself the vote would be right, without it is wrong."""
    z = torch.eye(6).repeat_interleave(2, dim=0)
    labels = torch.tensor([0, 1] * 6)
    own = torch.arange(12)
    assert (knn_predict(z, labels, z, k=1, own=own) != labels).all()


def test_knn_wrong_input():
    with pytest.raises(ValueError, match="k=0"):
        knn_predict(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), torch.randn(1, 2), k=0)


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_linear_probe_against_scikit_learn(penalty):
    from sklearn.linear_model import LogisticRegression

    features, labels = blobs(spread=2.0)
    probe = LinearProbe.fit(features, labels, penalties=(penalty,), iterations=300)
    x = ((features - features.mean(dim=0)) / features.std(dim=0)).numpy()
    theirs = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=2000).fit(x, labels.numpy())
    centred = probe.weight - probe.weight.mean(dim=0)  # softmax does not see a common shift
    assert np.allclose(centred.numpy(), theirs.coef_ - theirs.coef_.mean(axis=0), atol=2e-3)


def test_penalty_is_chosen_on_held_out_items(monkeypatch):
    """Many noise features, few items: only a strong penalty generalises. The search ends where the score falls."""
    fitted, path = [], probes._fit_path

    def watched(*args):
        for probe in path(*args):
            fitted.append(probe.penalty)
            yield probe

    monkeypatch.setattr(probes, "_fit_path", watched)
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    features = torch.cat(
        [labels[:, None] + 0.7 * torch.randn(60, 1, generator=g), torch.randn(60, 200, generator=g)], dim=1
    )
    assert LinearProbe.fit(features, labels, penalties=(10.0, 1e-6, 1e-7)).penalty == 10.0
    assert fitted == [10.0, 1e-6, 10.0]


def test_held_out_fifth_is_stratified():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    held_out = _stratified_fifth(labels, seed=0)
    assert [int(held_out[labels == c].sum()) for c in range(3)] == [10, 2, 0]


def test_scores_are_the_logits_of_the_predictions():
    features, labels = blobs(60, seed=0)
    probe = LinearProbe.fit(features, labels, penalties=(1e-2,), classes=7)
    scores = probe.scores(features)
    assert scores.shape == (60, 7) and torch.equal(scores.argmax(dim=1), probe.predict(features))
    expected = ((features[0] - probe.mean) / probe.std) @ probe.weight.T + probe.bias
    assert torch.allclose(scores[0], expected, atol=1e-5)
