"""hiercl.pretrained: checked weights, honest cards, maps that belong to pictures that can be found."""

import json
import shutil
import sys
import types
from dataclasses import dataclass

import numpy as np
import pretrain
import pytest
import torch

import hiercl
from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import make_encoder, projection_head, zoo
from hiercl.encoders.quantise import STORED_AS, quantise
from hiercl.encoders.zoo import maps_path, pretrained, pretrained_names, save_pretrained
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods import SimCLR
from hiercl.metrics.dendrograms import centroids

MOST_BYTES, MOST_BYTES_A_FILE = 16_000_000, 800_000
WITH_MAPS = [name for name in pretrained_names() if maps_path(zoo.WEIGHTS, name).exists()]


def test_there_is_one_for_every_method_and_kind_of_items():
    every = {kind + name for name in methods.names() for kind in ("", "modelnet40-")}
    assert set(pretrained_names()) == every | {"modelnet10-hcsc", "modelnet10-supcon"}


def test_the_package_stays_small():
    sizes = {path.name: path.stat().st_size for path in zoo.WEIGHTS.iterdir()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES_A_FILE} == {}
    assert sum(sizes.values()) <= MOST_BYTES


@pytest.mark.parametrize("name", pretrained_names())
def test_what_comes_with_the_package(name):
    model, (data, _, method) = pretrained(name), name.rpartition("-")
    clouds, items = bool(data), {"": "50,000", "modelnet10": "3,991", "modelnet40": "9,843"}[data]
    assert not model.encoder.training and model.encoder.width == (1024 if clouds else 256)
    z = model.head(model.encoder(torch.rand(2, 3, 100, 1) if clouds else torch.rand(2, 3, 32, 32)))
    assert z.shape == (2, model.card["head"]["dim"]) and z.dtype == torch.float32
    card = model.card
    assert card["method"] == method and card["environment"]["git_commit"]
    assert {"data", "budget", "seed", "settings", "views", "protocol"} <= card.keys()
    assert card["numbers"].keys() == {"superclass", "class"} and items in card["data"]
    assert card["format"] == zoo.FORMAT and card["weights"] == STORED_AS
    assert name in repr(model)


@pytest.mark.parametrize("name", WITH_MAPS)
def test_the_map_of_every_epoch(name):
    unfolding = pretrained(name).unfolding()
    epochs = int(pretrained(name).card["budget"].split()[0])
    assert unfolding.maps.shape == (epochs + 1, 1000, 2) and np.isfinite(unfolding.maps).all()
    assert (np.bincount(unfolding.labels) == 10).all() and len(np.unique(unfolding.hashes)) == 1000


@pytest.mark.parametrize("name", pretrained_names())
def test_numbers_are_those_of_the_card(name, request):
    from hiercl.metrics.probes import knn_predict

    model = pretrained(name)
    train, test = request.getfixturevalue(f"real_{model.card['data'].split(',')[0]}")
    # a quick look at what the card says: kNN from a part of the training set is lower, by up to 16 points for HCE
    every, asked = (20, 10) if train.modality == "images" else (8, 4)
    part, test = train.take(np.arange(0, len(train), every)), test.take(np.arange(0, len(test), asked))
    features, bank = hiercl.embed(model, test), hiercl.embed(model, part)
    hits = knn_predict(bank, torch.as_tensor(part.labels_at(0)), features).numpy() == test.labels_at(0)
    assert -18 < 100 * hits.mean() - model.card["numbers"]["superclass"]["knn"] < 5


@pytest.mark.parametrize("name", WITH_MAPS)
def test_pictures_are_those_of_the_maps(name, real_cifar100):
    train, test = real_cifar100
    unfolding = pretrained(name).unfolding()
    places = unfolding.find(test)
    assert (test.labels[places] == unfolding.labels).all()
    assert (unfolding.find(test.take(places)) == np.arange(1000)).all()
    assert (unfolding.find(train.take([0])) == -1).all()


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
    head = projection_head("linear", encoder.width, 8)
    save_pretrained(encoder, head, card, tmp_path)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    return tmp_path, encoder.eval(), head


def test_saved_and_loaded_it_is_the_same_but_for_rounding(folder):
    _, encoder, head = folder
    x, model = torch.rand(64, 1, 16, 16), pretrained("mine")
    with torch.no_grad():
        before, after = encoder(x), model.encoder(x)
        assert not torch.equal(before, after)
        assert torch.cosine_similarity(before, after).min() > 0.99
        assert torch.cosine_similarity(head(before), model.head(after)).min() > 0.99
        assert (after.norm(dim=1) / before.norm(dim=1) - 1).abs().max() < 0.02


def test_weights_are_kept_in_eight_bits(folder):
    from safetensors.torch import load_file

    stored = load_file(folder[0] / "mine.safetensors")
    for part, module in (("encoder", folder[1]), ("head", folder[2])):
        expected = {f"{part}.{name}": value for name, value in quantise(module.state_dict()).items()}
        assert expected and all(torch.equal(stored[name], value) for name, value in expected.items())
        assert all(stored[name].dtype == value.dtype for name, value in expected.items())
    assert json.loads((folder[0] / "mine.json").read_text())["weights"] == STORED_AS


def test_saved_again_the_card_is_that_of_the_new_weights(folder):
    model = pretrained("mine")
    with torch.no_grad():
        model.head.weight[0] = 0
    save_pretrained(model.encoder, model.head, model.card | {"weights": "in stone", "format": 1}, folder[0])
    again = pretrained("mine")
    assert (again.head.weight[0] == 0).all() and again.card["weights"] == STORED_AS
    assert again.card["sha256"] != model.card["sha256"] and list(again.card) == list(model.card)
    assert list(again.card)[:3] == ["format", "sha256", "weights"]


def test_models_of_another_folder(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save_pretrained(folder[1], folder[2], pretrained("mine").card | {"method": "hers"}, other)
    assert pretrained_names(other) == ("hers",) and pretrained("hers", str(other)).folder == other
    with pytest.raises(ValueError, match="Unknown pretrained model 'hers'"):
        pretrained("hers")


def test_a_model_without_maps(folder):
    with pytest.raises(ValueError, match="'mine' comes without maps of its epochs; with maps: none"):
        pretrained("mine").unfolding()


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_file_that_was_cut(folder, keep):
    path = folder[0] / "mine.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"not those of its card.*Install hiercl again"):
        pretrained("mine")


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
    for other in (zoo.FORMAT - 1, zoo.FORMAT + 1, None):
        path.write_text(json.dumps(card | {"format": other}))
        with pytest.raises(ValueError, match=f"has format {other}, this version of hiercl reads {zoo.FORMAT}"):
            pretrained("mine")


def test_unknown_name(folder):
    with pytest.raises(ValueError, match=r"Unknown pretrained model 'mein'. Did you mean 'mine'"):
        pretrained("mein")
    shutil.rmtree(folder[0])


def test_weights_that_are_not_finite_write_nothing(tmp_path):
    head = projection_head("linear", 4, 2)
    with torch.no_grad():
        head.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"head.weight holds a number that is not finite"):
        save_pretrained(make_encoder("convnet", [0.5], [0.5], 1), head, {"method": "x"}, tmp_path)
    assert not list(tmp_path.iterdir())


# -- benchmarks/pretrain.py, small ------------------------------------------------------------------------------


@dataclass(frozen=True)
class NestedConfig(SimCLR.Config):
    """Settings that hold tuples of tuples."""

    crops: tuple[tuple[int, float], ...] = ((2, 0.5), (3, 0.25))


class Nested(SimCLR):
    """A method with a module beside encoder and head."""

    name = "nested"
    Config = NestedConfig

    def __init__(self, encoder, config, setting):
        super().__init__(encoder, config, setting)
        self.gate = torch.nn.Linear(encoder.width, 3)


class OneUMAP:
    """Stands in for AlignedUMAP, which takes minutes: two coordinates of the features."""

    def __init__(self, **settings):
        pass

    def fit_transform(self, features, relations):
        assert len(relations) == len(features) - 1
        return [z[:, :2] + number for number, z in enumerate(features)]


@pytest.fixture
def script(monkeypatch):
    """The script, on a few noisy pictures in place of CIFAR-100."""
    hierarchy = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1"]}, level_names=("superclass", "class"))

    def load(name):
        rng, labels = np.random.default_rng(0), np.arange(96) % 4
        parts = (np.clip(rng.normal(50 * labels[:, None, None, None], 60, (96, 16, 16, 3)), 0, 255) for _ in range(2))
        return tuple(HierarchicalDataset.from_arrays(p.astype(np.uint8), labels, hierarchy, name) for p in parts)

    monkeypatch.setattr(hiercl, "load", load)
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(AlignedUMAP=OneUMAP))
    monkeypatch.setitem(pretrain.EPOCHS, "cifar100", 2)
    small = {"batch": 32, "crop": 12, "precision": "float32"}
    own = {"simclr": small | {"lr": 3e-3, "temperature": 0.3}, "moco": small | {"queue": 64}}
    monkeypatch.setattr(pretrain, "SETTINGS", pretrain.SETTINGS | own)
    return pretrain


def test_the_script_from_training_to_the_maps(script, tmp_path, capsys):
    settings = {"methods": ("simclr",), "out": tmp_path / "runs", "weights": tmp_path / "weights"}
    script.main(script.Pretraining(**settings))
    model = pretrained("simclr", tmp_path / "weights")
    assert repr(model) in capsys.readouterr().out
    card = model.card
    assert card["training"]["lr"] == 3e-3 and card["settings"]["temperature"] == 0.3  # of SETTINGS
    assert card["budget"].startswith("2 epochs, ") and card["weights"] == STORED_AS
    assert card["numbers"].keys() == {"superclass", "class"} and card["protocol"]["test_items"] == 96
    train, test = hiercl.load("cifar100")
    row = hiercl.evaluate(model, train, test).rows[1]  # the weights as they are loaded
    assert card["numbers"]["class"] == {name: row[name] for name in ("linear", "knn", "ami")}
    unfolding = model.unfolding()
    assert unfolding.maps.shape == (3, 40, 2) and (test.labels[unfolding.find(test)] == unfolding.labels).all()
    assert unfolding.moments.tolist() == [0, 1, 2] and unfolding.centroids.shape == (3, 4, model.encoder.width)
    run = hiercl.load_run(tmp_path / "runs" / "simclr")
    of_classes, _ = centroids(hiercl.embed(run, test), test.labels)
    np.testing.assert_allclose(unfolding.centroids[2], of_classes.numpy(), atol=2e-3)  # those of the end, in 16 bits

    script.main(script.Pretraining(**settings, maps=False))  # nothing is trained again, and the maps are its own
    again = pretrained("simclr", tmp_path / "weights")
    assert again.card["sha256"] == card["sha256"] and (again.unfolding().maps == unfolding.maps).all()

    other = settings | {"out": tmp_path / "other", "seed": 1, "epochs": 1, "maps": False}
    script.main(script.Pretraining(**other))
    model = pretrained("simclr", tmp_path / "weights")
    assert model.card["budget"].startswith("1 epochs, ") and model.card["seed"] == 1
    with pytest.raises(ValueError, match="without maps"):  # those of the earlier weights are gone
        model.unfolding()


def test_only_some_methods_and_no_unknown_ones(script, tmp_path):
    settings = {"out": tmp_path / "runs", "weights": tmp_path / "weights", "maps": False}
    script.main(script.Pretraining(methods=("moco",), **settings))
    assert pretrained_names(tmp_path / "weights") == ("moco",)
    with pytest.raises(ValueError, match="Unknown method 'mocco'"):
        script.main(script.Pretraining(methods=("simclr", "mocco"), **settings))
    assert not (tmp_path / "runs" / "simclr").exists()


@pytest.mark.parametrize("stopped", ["after the features of an epoch were kept", "before"])
def test_a_stopped_training(script, tmp_path, monkeypatch, stopped):
    settings = script.Pretraining(methods=("simclr",), out=tmp_path / "runs", weights=tmp_path / "weights")
    save = np.save

    def stop(path, features):
        if path.name != "001.npy":
            return save(path, features)
        if stopped != "before":
            save(path, features)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", stop)
        with pytest.warns(UserWarning, match="Interrupted"), pytest.raises(SystemExit, match="stopped after 1 epochs"):
            script.main(settings)
    assert not (tmp_path / "weights").exists()  # no model that is half trained
    if stopped == "before":
        with pytest.raises(SystemExit, match=r"lacks 001.npy.*--no-maps"):
            script.main(settings)
    else:
        script.main(settings)
        assert pretrained("simclr", tmp_path / "weights").unfolding().maps.shape == (3, 40, 2)


@pytest.mark.parametrize("method", [*methods.names(), Nested])
def test_every_method_gives_a_card_and_a_model_that_loads(script, tmp_path, method):
    data, _ = hiercl.load("cifar100")
    run = hiercl.fit(method, data, epochs=1, batch=32, crop=12, monitor_every=0, progress=False)
    card = script.card_of(run, data)
    save_pretrained(run.encoder, run.method.head, card, tmp_path)
    model = pretrained(run.name, tmp_path)
    assert model.card.items() >= card.items()  # plain JSON values: nested tuples are lists
    if method is Nested:
        assert model.card["settings"]["crops"] == [[2, 0.5], [3, 0.25]]
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.cosine_similarity(model.head(model.encoder(x)), run.method.head(run.encoder(x))).min() > 0.99


def test_further_modules_are_not_kept(script, tmp_path):
    data, _ = hiercl.load("cifar100")
    run = hiercl.fit(Nested, data, epochs=1, batch=32, crop=12, monitor_every=0, progress=False)
    save_pretrained(run.encoder, run.method.head, script.card_of(run, data), tmp_path)
    assert "gate.weight" in run.method.state_dict()
    assert b"head.0.weight" in (tmp_path / "nested.safetensors").read_bytes()
    assert b"gate" not in (tmp_path / "nested.safetensors").read_bytes()
