"""hiercl.pretrained: checked weights, honest cards, maps that belong to pictures that can be found."""

import json
import shutil

import numpy as np
import pytest
import torch

import hiercl
from hiercl import methods, zoo
from hiercl.encoders import make_encoder, projection_head
from hiercl.zoo import pretrained, pretrained_names, save_pretrained

MOST_BYTES = 10_000_000  # of all models together


def test_there_is_one_for_every_method():
    assert set(pretrained_names()) == set(methods.names())
    assert sum(path.stat().st_size for path in zoo.WEIGHTS.iterdir()) < MOST_BYTES


@pytest.mark.parametrize("name", pretrained_names())
def test_what_comes_with_the_package(name):
    model = pretrained(name)
    assert not model.encoder.training and model.encoder.width == 256
    z = model.head(model.encoder(torch.rand(2, 3, 32, 32)))
    assert z.shape == (2, model.card["head"]["dim"]) and z.dtype == torch.float32
    card = model.card
    assert card["method"] == name and card["environment"]["git_commit"]
    assert {"data", "budget", "seed", "settings", "views", "protocol"} <= card.keys()
    assert card["numbers"].keys() == {"superclass", "class"} and "50,000" in card["data"]
    assert name in repr(model)


@pytest.mark.parametrize("name", pretrained_names())
def test_the_map_of_every_epoch(name):
    unfolding = pretrained(name).unfolding()
    epochs = int(pretrained(name).card["budget"].split()[0])
    assert unfolding.maps.shape == (epochs + 1, 1000, 2) and np.isfinite(unfolding.maps).all()
    assert (np.bincount(unfolding.labels) == 10).all() and len(np.unique(unfolding.hashes)) == 1000


@pytest.mark.parametrize("name", pretrained_names())
def test_numbers_and_pictures_are_those_of_the_card(name, real_cifar100):
    train, test = real_cifar100
    model = pretrained(name)
    places = model.unfolding().find(test)
    assert (test.labels[places] == model.unfolding().labels).all()
    shown = test.take(places)
    # a quick look at what the card says of all pictures: kNN from a tenth of the training set is a little lower
    features, bank = hiercl.embed(model, test), hiercl.embed(model, train.per_class(50))
    from hiercl.probes import knn_predict

    labels = torch.as_tensor(train.per_class(50).labels_at(0))
    hits = knn_predict(bank, labels, features).numpy() == test.labels_at(0)
    assert -12 < 100 * hits.mean() - model.card["numbers"]["superclass"]["knn"] < 3
    assert (model.unfolding().find(shown) == np.arange(1000)).all()
    assert (model.unfolding().find(train.take([0])) == -1).all()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A zoo of one small model."""
    torch.manual_seed(0)
    card = {
        "method": "mine",
        "encoder": {"name": "convnet", "norm": "batch", "mean": [0.5], "std": [0.25], "channels": 1},
        "head": {"kind": "linear", "dim": 8},
    }
    encoder = make_encoder(**card["encoder"])
    encoder(torch.rand(8, 1, 16, 16))  # running statistics that are not the first ones
    save_pretrained(encoder, projection_head("linear", encoder.width, 8), card, tmp_path)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    return tmp_path, encoder.eval()


def test_saved_and_loaded_it_is_the_same_but_for_rounding(folder):
    x = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.allclose(pretrained("mine").encoder(x), folder[1](x), atol=2e-2, rtol=2e-2)


def test_other_weights_than_those_of_the_card(folder):
    path = folder[0] / "mine.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not those of its card.*Install hiercl again"):
        pretrained("mine")


def test_a_card_of_another_configuration_or_version(folder):
    path = folder[0] / "mine.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"head": {"kind": "linear", "dim": 9}}))
    with pytest.raises(ValueError, match="do not fit the configuration"):
        pretrained("mine")
    path.write_text(json.dumps(card | {"format": 2}))
    with pytest.raises(ValueError, match="format 2"):
        pretrained("mine")


def test_unknown_name(folder):
    with pytest.raises(ValueError, match=r"Unknown pretrained model 'mein'. Did you mean 'mine'"):
        pretrained("mein")
    shutil.rmtree(folder[0])


def test_weights_too_large_for_half_precision(tmp_path):
    head = projection_head("linear", 4, 2)
    with torch.no_grad():
        head.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="too large"):
        save_pretrained(make_encoder("convnet", [0.5], [0.5], 1), head, {"method": "x"}, tmp_path)
