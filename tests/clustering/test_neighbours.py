"""Neighbours: loops, copies, both searches, random ones of a class."""

import builtins
import doctest

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hiercl.clustering.neighbours
from hiercl.clustering.neighbours import _matmul, nearest_neighbours, neighbour_agreement, random_neighbours


def features(n: int = 60, dim: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def loop(z: torch.Tensor, k: int) -> list[list[int]]:
    rows = []
    for i in range(len(z)):
        cosine = {j: float(F.cosine_similarity(z[i].double(), z[j].double(), dim=0)) for j in range(len(z)) if j != i}
        rows.append(sorted(cosine, key=cosine.get, reverse=True)[:k])
    return rows


@pytest.fixture(params=["faiss", "matmul"])
def search(request, monkeypatch):
    """Both searches, on the CPU; without faiss the matmul takes its place."""
    if request.param == "matmul":
        real = builtins.__import__

        def without_faiss(name, *more, **also):
            if name == "faiss":
                raise ImportError
            return real(name, *more, **also)

        monkeypatch.setattr(builtins, "__import__", without_faiss)
    return request.param


def test_the_examples_in_the_docstrings_hold():
    result = doctest.testmod(hiercl.clustering.neighbours)
    assert result.attempted >= 3 and result.failed == 0


@pytest.mark.parametrize("k, block", [(1, 4096), (5, 7), (12, 60), (59, 4096)])
def test_nearest_against_a_loop(search, k, block):
    z = features() * torch.rand(60, 1).add(0.1)  # lengths do not matter
    found = nearest_neighbours(z, k, block)
    assert found.dtype == torch.int64 and found.tolist() == loop(z, k)


@pytest.mark.parametrize("k", [1, 3, 5, 8])
def test_copies_are_neighbours_and_the_item_itself_is_not(search, k):
    """Five copies of every feature: an item's first four neighbours are its copies, whichever is found first."""
    z = features(12).repeat(5, 1)[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    found = nearest_neighbours(z, k, block=11)
    similarity = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T
    exact = torch.tensor(loop(z, k))
    for i in range(60):
        row = found[i].tolist()
        assert i not in row and len(set(row)) == k
        assert torch.allclose(similarity[i, row], similarity[i, exact[i]], atol=1e-6)
        assert all((z[j] == z[i]).all() for j in row[:4])


def test_nothing_but_copies(search):
    found = nearest_neighbours(torch.ones(50, 4), 5)
    assert all(i not in row and len(set(row)) == 5 for i, row in enumerate(found.tolist()))
    assert torch.equal(found, nearest_neighbours(torch.ones(50, 4), 5))


def test_a_feature_of_length_zero():
    z = features(20)
    z[3] = 0
    found = nearest_neighbours(z, 19)
    assert found[3].sort().values.tolist() == [i for i in range(20) if i != 3]
    assert nearest_neighbours(torch.zeros(5, 2), 4).sort(dim=1).values.tolist()[0] == [1, 2, 3, 4]


def test_both_searches_find_the_same():
    z = F.normalize(features(500, 16), dim=1)
    assert torch.equal(hiercl.clustering.neighbours._flat_index(z)(z, 9), _matmul(z)(z, 9))


def test_it_keeps_no_gradient():
    assert not nearest_neighbours(features().requires_grad_(), 3).requires_grad


@pytest.mark.parametrize("k", [0, 60, -1])
def test_wrong_numbers_of_neighbours(k):
    with pytest.raises(ValueError, match="k must be from 1 to 59"):
        nearest_neighbours(features(), k)


def test_wrong_features(as_a_user):
    z = features()
    z[7, 2] = float("nan")
    with pytest.raises(ValueError, match=r"not finite.*row 7"):
        nearest_neighbours(z, 3)
    with pytest.raises(ValueError, match="pass numbers"):
        nearest_neighbours([["a", "b"], ["c", "d"]], 1)
    with pytest.raises(ValueError, match="block=0: it must be a whole number at least 1"):
        nearest_neighbours(features(), 3, block=0)


# -- random ones ------------------------------------------------------------------------------------------------


def test_random_neighbours_share_the_label_and_are_never_the_item():
    labels = torch.tensor([2, 0, 2, 4, 0, 4, 2, 4, 4])  # two labels that nobody has
    drawn = random_neighbours(labels, 400, torch.Generator().manual_seed(0))
    for i, row in enumerate(drawn.tolist()):
        others = [j for j in range(9) if labels[j] == labels[i] and j != i]
        share = np.bincount(row, minlength=9) / 400
        assert set(row) == set(others) and np.allclose(share[others], 1 / len(others), atol=0.1)
    again = random_neighbours(labels, 400, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, random_neighbours(labels, 400, torch.Generator().manual_seed(1)))


def test_random_neighbours_of_two():
    assert random_neighbours(torch.tensor([0, 1, 0, 1]), 3, torch.Generator()).tolist() == [
        [2] * 3,
        [3] * 3,
        [0] * 3,
        [1] * 3,
    ]


def test_random_neighbours_need_company():
    with pytest.raises(ValueError, match=r"2 classes have one item only \(the first is class 1\)"):
        random_neighbours(torch.tensor([0, 0, 1, 3]), 2, torch.Generator())
    with pytest.raises(ValueError, match="k=0: it must be a whole number at least 1"):
        random_neighbours(torch.tensor([0, 0]), 0, torch.Generator())


# -- agreement --------------------------------------------------------------------------------------------------


def test_agreement_against_a_loop():
    labels = np.random.default_rng(0).integers(3, size=60)
    found = nearest_neighbours(features(), 7)
    hits = [labels[i] == labels[j] for i in range(60) for j in found[i].tolist()]
    assert neighbour_agreement(found, labels) == pytest.approx(np.mean(hits)) and 0.2 < np.mean(hits) < 0.5
    assert neighbour_agreement(found, np.zeros(60, dtype=int)) == 1
    oracle = random_neighbours(torch.from_numpy(labels), 4, torch.Generator())
    assert neighbour_agreement(oracle, labels) == 1


def test_agreement_of_wrong_input(as_a_user):
    found = nearest_neighbours(features(), 7)
    with pytest.raises(ValueError, match="neighbours are int64 \\[60, 7\\] and labels \\[59\\]"):
        neighbour_agreement(found, np.zeros(59, dtype=int))
    with pytest.raises(ValueError, match="items are 0 to 59"):
        neighbour_agreement(found + 1, np.zeros(60, dtype=int))
