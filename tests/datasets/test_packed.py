"""Features that come with the package: their form, their quality, and the pictures that they were made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hiercl
from hiercl.datasets import cifar100, packed
from hiercl.datasets.modelnet.reading import hierarchy
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
    said = packed.card("cifar100-features")["per cent, of the features as computed and as stored"]["stored"][
        "kNN class"
    ]
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

    monkeypatch.setitem(packed._KINDS, "cifar100-features", replace(packed.PICTURES, originals=unreachable))
    packed._items.cache_clear()
    train = parts[0].take([0, 1])
    with pytest.warns(UserWarning, match="cifar100 is not at hand"):
        assert train.source[0] is None
    assert train.source[1] is None  # said once
    packed._items.cache_clear()


@pytest.fixture(scope="module", params=["modelnet40-features", "modelnet40-descriptors"])
def shapes(request):
    return hiercl.load(request.param)


def test_those_of_shapes(shapes):
    train, test = shapes
    assert train.hierarchy == hierarchy("modelnet40") and train.modality == "vectors"
    assert train.items.shape[:2] == (3_908, 5) and test.items.shape[:2] == (2_014, 1)
    assert train.counts().min() == 64 and train.counts().max() == 100  # at most 100 of each class; there are 64 bowls
    own = torch.cosine_similarity(*(torch.from_numpy(train.items[:500, view]) for view in (0, 1))).mean()
    other = torch.cosine_similarity(
        *(torch.from_numpy(train.items[part, 0]) for part in (slice(500), slice(-500, None)))
    )
    assert own > 0.3 > other.mean()
    bank, queries = (torch.from_numpy(part.items[:, 0]) for part in (train, test))
    found = 100 * accuracy(knn_predict(bank, torch.from_numpy(train.labels), queries).numpy(), test.labels)
    said = packed.card(train.name)["per cent, of the features as computed and as stored"]["stored"]["kNN class"]
    assert found == pytest.approx(said, abs=0.3)


def test_shapes_are_found_by_their_ids(shapes):
    if not (hiercl.datasets.data_root() / "modelnet40" / "train" / "store.json").exists():
        pytest.skip("ModelNet40 is not at hand")
    train, (clouds, _) = shapes[0], hiercl.load("modelnet40")
    some = train.take([0, 2_000, 3_907])
    for item in range(3):
        same = (clouds.items[clouds.labels == some.labels[item]] == some.source[item]).all(axis=(1, 2))
        assert some.source[item].shape == (1024, 3) and same.sum() >= 1


def test_names(shapes):
    with pytest.raises(ValueError, match=r"Unknown features 'modelnet40'\. Did you mean"):
        packed.card("modelnet40")
    assert sum(packed.file_of(name).stat().st_size for name in packed.NAMES[1:]) < 3e6
