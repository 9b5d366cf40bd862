"""Small things to draw."""

import numpy as np
import pytest
import torch
from support.figures import HIERARCHY, hundred_classes

import hiercl
from hiercl.clustering.prototypes import PrototypeTree
from hiercl.methods.base import Step
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.pairs.terms import Term


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    return hiercl.HierarchicalDataset(rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), labels, HIERARCHY, "little")


@pytest.fixture(scope="module")
def features(dataset):
    """Features in which every class is a cluster. Classes of one kind are near one another."""
    rng = np.random.default_rng(1)
    kind, leaf = rng.normal(size=(2, 16)) * 3, rng.normal(size=(6, 16))
    z = kind[dataset.labels_at(0)] + leaf[dataset.labels] + 0.1 * rng.normal(size=(60, 16))
    return torch.as_tensor(z, dtype=torch.float32)


@pytest.fixture(scope="module")
def tree(features):
    return PrototypeTree.fit(features, (2, 6), seed=0, restarts=3)


@pytest.fixture(scope="module")
def step(features):
    """One anchor of class 0 and the items 1 to 59: own key, pushed, removed, left alone, and a random queue entry."""
    items = torch.cat([torch.arange(60), torch.tensor([-1])])
    role = torch.arange(61) % 3  # 0: pushed, 1: removed, 2: left alone
    role[0], role[60] = 3, 0
    pairs = Pairs.from_matrices(
        Members.of(Kind.VIEW, torch.tensor([0])), Members.of(Kind.QUEUE, items), (role == 3).float()[None],
        (role == 0)[None], (role == 1)[None], keep_probability=torch.full((1, 61), 0.25),
    )  # fmt: skip
    z = torch.cat([features, torch.zeros(1, 16)])
    return Step((Term("instance", z[:1] @ z.T, pairs),), torch.tensor([0]))


@pytest.fixture(scope="session")
def cifar():
    return hundred_classes()
