"""Weights from anywhere: what is recognised, what an encoder takes, what is said, what is refused."""

import pickle

import pytest
import torch
from support.data import SMALL, clouds, pictures
from support.runs import same, state_of
from torch import nn

import hiercl
from hiercl.encoders import Weights, make_encoder, match, weights
from hiercl.training.initial import learned_parts, load_initial

ONE = SMALL | {"epochs": 1, "encoder": "convnet"}


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def moco(data):
    return hiercl.fit("moco", data, queue=40, **ONE)


def fresh(name="convnet", **settings):
    return make_encoder(name, mean=[0.5] * 3, std=[0.25] * 3, **settings)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


PREFIXES = ["", "module.", "backbone.", "encoder.", "encoder_q.", "module.encoder_q.", "model.", "_orig_mod."]
PREFIXES += ["method.encoder.", "module.backbone._orig_mod."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "teacher"])
def test_prefixes_and_wrappers(prefix, wrapper, tmp_path):
    given, taker = fresh(), fresh()
    state = {prefix + name: value for name, value in given.state_dict().items()} | {"queue": torch.zeros(3, 5)}
    content = state if wrapper is None else {"epoch": 3, "arch": "convnet", wrapper: state, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "model.pth")
    weights = Weights.of(tmp_path / "model.pth")
    found = match(taker, weights.tensors())
    assert found.layout == "hiercl" and not found.missing and not found.unlike
    assert [name.rpartition(".")[2] for name in found.left] == ["queue"]
    taker.load_state_dict(found.tensors, strict=False)
    assert equal(taker.state_dict(), given.state_dict())
    assert weights.sha256 == Weights.of(content).sha256 and weights != Weights.of(fresh())


def test_of_two_encoders_the_first_one_or_the_teacher():
    first, second = fresh(), fresh()
    both = {"module.encoder_q": first.state_dict(), "module.encoder_k": second.state_dict()}
    assert match(fresh(), dict(Weights.of(both).tensors())).prefix == "module.encoder_q."
    both = {"student": first.state_dict(), "teacher": second.state_dict()}
    assert match(fresh(), Weights.of(both).tensors()).prefix == "teacher."


@pytest.mark.parametrize("depth", [18, 50])
def test_the_names_of_torchvision(depth):
    from torchvision import models

    torch.manual_seed(0)
    theirs = getattr(models, f"resnet{depth}")().eval()
    ours = fresh(f"resnet{depth}").eval()
    before = ours.stem[0].weight.clone()
    found = match(ours, {f"module.{name}": value for name, value in theirs.state_dict().items()}, "resnet")
    assert (found.layout, found.prefix) == ("torchvision", "module.")
    assert found.unlike == ("stem.0.weight ([64, 3, 7, 7] there, [64, 3, 3, 3] here)",) and not found.missing
    assert found.left == ("module.fc.weight", "module.fc.bias")
    assert "with torchvision's names; of another shape: stem.0.weight" in str(found)
    ours.load_state_dict(found.tensors, strict=False)
    assert torch.equal(ours.stem[0].weight, before)
    x = torch.rand(2, 64, 8, 8)
    with torch.no_grad():
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(theirs.relu(theirs.bn1(x))))))
        x = ours.stem[2](ours.stem[1](x))
        for stage in ours.stage_modules:
            x = stage(x)
    torch.testing.assert_close(x, expected)


def test_a_run_of_the_same_method_gives_all_that_learns(data, moco):
    again = hiercl.fit("moco", data, queue=40, init=moco, seed=5, **ONE | {"epochs": 0})
    assert list(learned_parts(moco.method)) == ["head", "key_encoder", "key_head"]
    a, b = state_of(again), state_of(moco)
    parts = {name for name in a if not name.startswith("queue")}
    assert all(torch.equal(a[name], b[name]) for name in parts)
    assert (again.method.queue.items == -1).all() and not torch.equal(a["queue.keys"], b["queue.keys"])
    assert again.config["fit"]["init"] == {"kind": "run", "name": "moco", "sha256": Weights.of(moco).sha256}


def test_a_run_of_another_method_gives_encoder_and_head(data, moco):
    simclr = hiercl.fit("simclr", data, **ONE)
    taken = hiercl.fit("moco", data, queue=40, init=simclr, **ONE | {"epochs": 0}).method
    for mine, theirs in (
        (taken.encoder, simclr.encoder),
        (taken.key_encoder, simclr.encoder),
        (taken.head, simclr.method.head),
    ):
        assert equal(mine.state_dict(), theirs.state_dict())
    assert equal(taken.key_head.state_dict(), taken.head.state_dict())
    narrow = hiercl.fit("csml", data, queue=40, dim=16, neighbours=2, init=moco, **ONE | {"epochs": 0}).method
    assert equal(narrow.encoder.state_dict(), moco.encoder.state_dict())  # the head has another size, and is drawn
    assert equal(narrow.key_encoder.state_dict(), moco.encoder.state_dict())
    assert equal(narrow.key_head.state_dict(), narrow.head.state_dict())


def test_every_form_of_one_run(data, moco, tmp_path):
    """A run, its folder and its checkpoint are the same weights under one description; a run in a folder goes on."""
    folder = moco.save(tmp_path / "run")
    forms = [Weights.of(form) for form in (moco, folder, str(folder), folder / "checkpoint.pt")]
    assert len({form.sha256 for form in forms}) == 1 and len({form.name for form in forms}) == 1
    settings = {"queue": 40, "init": folder, "out": tmp_path / "next", **ONE}
    trained = hiercl.fit("moco", data, **settings)
    folder.rename(tmp_path / "elsewhere")
    loaded = hiercl.load_run(tmp_path / "next")  # needs the weights no more
    assert same(loaded, trained) and loaded.recipe.fit.init == trained.recipe.fit.init
    assert same(hiercl.fit("moco", data, **settings | {"init": moco, "resume": True}), trained)
    other = hiercl.fit("moco", data, seed=1, **settings | {"out": None, "init": None})
    with pytest.raises(ValueError, match=r"other settings \(init: there \{'kind': 'run', 'name': 'moco', 'sha256'"):
        hiercl.fit("moco", data, **settings | {"init": other, "resume": True})
    with pytest.raises(ValueError, match="only described here"):
        loaded.recipe.fit.init.tensors()


def test_a_pretrained_model(data, caplog):
    with caplog.at_level("INFO", "hiercl"):
        run = hiercl.fit("moco", data, init="csml", **ONE | {"epochs": 0})
    model = hiercl.pretrained("csml")
    assert equal(run.encoder.state_dict(), model.encoder.state_dict())  # with mean and std
    assert equal(run.method.head.state_dict(), model.head.state_dict())
    assert "init: pretrained 'csml': 32 of 32 tensors of the encoder" in caplog.text
    assert run.environment["init"].endswith("; also taken: head")
    assert Weights.of("csml").sha256 == Weights.of(model).sha256
    file = hiercl.encoders.zoo.WEIGHTS / "csml.safetensors"  # in 8 bits
    assert equal(match(fresh(), Weights.of(file).tensors()).tensors, model.encoder.state_dict())


class Evil:
    def __reduce__(self):
        return print, ("code of a stranger",)


def test_what_is_refused(data, tmp_path, capsys):
    def message(init, method="moco", **settings):
        with pytest.raises(ValueError) as error:
            hiercl.fit(method, data, init=init, **ONE | settings)
        return str(error.value)

    text = message(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2)))
    assert "module 'Sequential' does not fit this encoder: 0 of its 25 tensors are there" in text
    assert "The encoder has stage_modules.0.0.weight [32, 3, 3, 3]" in text and "0.weight [8, 3, 3, 3]" in text
    assert "no such file or folder, and no pretrained model of this name (a_hmlc, csml" in message("missing.pt")
    assert "a folder must be that of a run" in message(tmp_path)
    assert "give a run, the folder of a run" in message(3)
    assert "hold no tensors" in message({})
    (tmp_path / "notes.txt").write_text("weights")
    assert "is no file of weights that is known" in message(tmp_path / "notes.txt")
    for name in ("a.pt", "b.safetensors"):
        (tmp_path / name).write_bytes(b"0123456789")
        assert "cannot be read: it is damaged" in message(tmp_path / name)
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    assert "reading that could run foreign code" in message(tmp_path / "evil.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "holds list, not tensors by name" in message(tmp_path / "list.pt")
    (tmp_path / "pickled.pt").write_bytes(pickle.dumps(Evil()))
    assert "could run foreign code" in message(tmp_path / "pickled.pt")
    assert "code of a stranger" not in capsys.readouterr().out
    broken = fresh().state_dict()
    broken["stage_modules.1.0.weight"][0] = torch.nan
    assert "not finite, in stage_modules.1.0.weight" in message(broken)


def test_what_is_frozen_does_not_move(data, moco):
    settings = {"init": moco, "queue": 40, **ONE | {"epochs": 2}}
    for method, more in (("moco", {}), ("csml", {"neighbours": 2}), ("simclr", {"queue": None})):
        for freeze in (True, 2):
            own = {name: value for name, value in (settings | more).items() if value is not None}
            run = hiercl.fit(method, data, freeze=freeze, **own)
            before, after = moco.encoder.state_dict(), run.encoder.state_dict()
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            front = {name for name in before if name.startswith(("stem.", "stage_modules.0.", "stage_modules.1."))}
            assert changed == (set() if freeze is True else before.keys() - front - {"mean", "std"})
            if hasattr(run.method, "key_encoder"):
                kept = run.method.key_encoder.state_dict()
                assert all(torch.equal(kept[name], before[name]) for name in before.keys() - changed)
            assert not equal(run.method.head.state_dict(), moco.method.head.state_dict())
            assert not any(parameter.requires_grad for parameter in run.encoder.stage_modules[1].parameters())
            run.method.train()
            assert [stage.training for stage in run.encoder.stage_modules] == [False] * 2 + [freeze is not True] * 2


def test_a_frozen_run_loads_and_fine_tunes(data, moco, tmp_path):
    run = hiercl.fit("moco", data, queue=40, init=moco, freeze=True, out=tmp_path / "run", **ONE)
    loaded = hiercl.load_run(tmp_path / "run")
    assert same(run, loaded) and loaded.encoder.frozen is True and loaded.config == run.config
    from hiercl.evaluation import FineTuneConfig
    from hiercl.evaluation.fine_tuning import fine_tune

    tuned = fine_tune(loaded.encoder, data, FineTuneConfig(epochs=2, trunk_lr=0.1)).encoder
    assert not torch.equal(tuned.stage_modules[0][0].weight, run.encoder.stage_modules[0][0].weight)
    assert loaded.encoder.frozen is True


def test_wrong_freezing(data, moco):
    with pytest.warns(UserWarning, match="freeze=1 without init=: the frozen part of the encoder keeps random weights"):
        hiercl.fit("moco", data, queue=40, freeze=1, **ONE | {"epochs": 0})
    with pytest.raises(ValueError, match="freeze=9: this encoder has 4 stages"):
        hiercl.fit("moco", data, queue=40, freeze=9, init=moco, **ONE)
    with pytest.raises(ValueError, match="freeze=-1: it must be True or False or a whole number at least 0"):
        hiercl.fit("moco", data, queue=40, freeze=-1, init=moco, **ONE)

    class Headless(hiercl.methods.SimCLR):
        def __init__(self, encoder, config, info):
            super().__init__(encoder, config, info)
            self.head = nn.Identity()

    with pytest.raises(ValueError, match="nothing of simclr is left to learn"):
        hiercl.fit(Headless, data, freeze=True, init=moco, **ONE)


def test_clouds_too():
    data = clouds(32)
    settings = {"encoder": "pointnet_vanilla", "points": 24, "batch": 16, "monitor_every": 0, "progress": False}
    first = hiercl.fit("simclr", data, epochs=1, **settings)
    then = hiercl.fit("simclr", data, epochs=1, init=first, freeze=2, **settings)
    assert torch.equal(then.encoder.stage_modules[1][0][0].weight, first.encoder.stage_modules[1][0][0].weight)
    assert not torch.equal(then.encoder.stage_modules[2][0].weight, first.encoder.stage_modules[2][0].weight)


def test_a_study_tells_weights_apart(data, moco, tmp_path):
    """Runs from other weights are other runs; the same weights as run and as folder are one."""
    other = hiercl.fit("moco", data, queue=40, seed=3, **ONE)
    base = {"method": "simclr", **{name: ONE[name] for name in ("epochs", "batch", "crop", "precision")}}
    vary = {"random": {}, "one": {"init": moco}, "other": {"init": other}}
    study = hiercl.Study(base, vary, seeds=1, out=tmp_path).of(data, data)
    hashes = {member.variant: member.configuration.training_hash for member in study.members()}
    assert len(set(hashes.values())) == 3
    again = hiercl.Study(base, [{"init": str(moco.save(tmp_path / "run"))}], seeds=1, out=tmp_path).of(data, data)
    assert again.members()[0].configuration.training_hash == hashes["one"]


def test_load_initial_says_all_in_one_line(moco):
    model = hiercl.fit("simclr", pictures(64), **ONE | {"epochs": 0}).method
    text = load_initial(model, Weights.of(moco))
    assert text.startswith("run 'moco': 32 of 32 tensors of the encoder under 'encoder.'; not used: key_encoder.mean, ")
    assert text.endswith("; also taken: head") and "\n" not in text


@pytest.mark.parametrize("encoder, module", [("torchvision:resnet18", "torchvision"), ("timm:resnet10t", "timm")])
def test_the_best_weights_of_a_library_are_asked_for_and_a_missing_network_is_said(encoder, module, monkeypatch):
    """The weights themselves are not downloaded here: a state dict stands in for them."""
    net = __import__(module).create_model("resnet10t") if module == "timm" else __import__(module).models.resnet18()

    def best(*_, **__):
        return net if module == "timm" else net.state_dict()

    def no_network(*_, **__):
        raise OSError("Name or service not known")

    place = "timm.create_model" if module == "timm" else "torchvision.models.ResNet18_Weights.get_state_dict"
    made = {"epochs": 0, "progress": False, "encoder": encoder, "resize": 32}
    with monkeypatch.context() as patch:
        patch.setattr(place, best)
        run = hiercl.fit("simclr", pictures(8), init="DEFAULT", **made)
    assert torch.equal(run.encoder.net.conv1.weight if module == "torchvision" else run.encoder.net.conv1[0].weight,
                       net.conv1.weight if module == "torchvision" else net.conv1[0].weight)  # fmt: skip
    weights._library_checksum.cache_clear()
    monkeypatch.setattr(place, no_network)
    with pytest.raises(RuntimeError, match=r"cannot be downloaded .*Name or service.*give the file: init="):
        hiercl.fit("simclr", pictures(8), init="DEFAULT", **made)


def test_auto_is_the_encoder_that_the_weights_are_of(data, moco):
    kept = {"epochs": 0, "progress": False}
    new = hiercl.fit("moco", data, **kept)
    assert (new.recipe.fit.encoder, new.recipe.fit.optimiser) == ("whitenet", "muon")
    for init, encoder in (("csml", "convnet"), (moco, "convnet"), (new, "whitenet")):
        run = hiercl.fit("moco", data, init=init, **kept)
        assert (run.recipe.fit.encoder, run.recipe.fit.optimiser) == (encoder, "adamw")
        assert "of the encoder" in run.environment["init"]
