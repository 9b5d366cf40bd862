"""Features that come with the package: their form, their quality, and the pictures that they were made of."""

import numpy as np
import pytest
import torch

import hiercl
from hiercl.datasets import cifar100, cifar100_features
from hiercl.metrics import accuracy, knn_predict


@pytest.fixture(scope="module")
def parts():
    return hiercl.load("cifar100-features")


def test_their_form(parts):
    train, test = parts
    assert train.modality == test.modality == "vectors" and train.hierarchy == cifar100.hierarchy()
    assert train.items.shape == (10_000, 5, 640) and test.items.shape == (5_000, 1, 640)
    assert set(train.counts().tolist()) == {100} and set(test.counts().tolist()) == {50}
    assert not np.array_equal(train.items[:, 1], train.items[:, 2])  # random views of one picture
    own = torch.cosine_similarity(*(torch.from_numpy(train.items[:500, view]) for view in (0, 1))).mean()
    other = torch.cosine_similarity(
        *(torch.from_numpy(train.items[part, 0]) for part in (slice(500), slice(500, 1000)))
    )
    assert own > 0.3 > abs(other.mean())


def test_they_know_what_the_card_says(parts):
    train, test = parts
    few = test.take(np.arange(0, 5_000, 10))
    bank, queries = (torch.from_numpy(part.items[:, 0]) for part in (train, few))
    found = 100 * accuracy(knn_predict(bank, torch.from_numpy(train.labels), queries).numpy(), few.labels)
    said = cifar100_features.card()["per cent, of the features as computed and as stored"]["stored"]["kNN class"]
    assert found == pytest.approx(said, abs=7)  # of a tenth of the test pictures


def test_pictures_are_found_by_their_hashes(parts):
    if not (hiercl.datasets.data_root() / "cifar100" / "train" / "store.json").exists():
        pytest.skip("CIFAR-100 is not at hand")
    train, (pictures, _) = parts[0], cifar100.load(hiercl.datasets.data_root())
    some = train.take([0, 5_000, 9_999])
    for item in range(3):
        shown = some.source[item]
        same = (pictures.items[pictures.labels == some.labels[item]] == shown).all(axis=(1, 2, 3))
        assert shown.shape == (32, 32, 3) and same.any()


def test_without_the_pictures_plots_name_the_classes(parts, monkeypatch):
    def unreachable(root):
        raise ConnectionError("no network")

    monkeypatch.setattr(cifar100, "load", unreachable)
    cifar100_features._pictures.cache_clear()
    train = parts[0].take([0, 1])
    with pytest.warns(UserWarning, match="CIFAR-100 is not at hand"):
        assert train.source[0] is None
    assert train.source[1] is None  # said once
    cifar100_features._pictures.cache_clear()
