"""Encoders of one's own: modules, functions, networks of torchvision and timm, through training, files and studies."""

import copy
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import clouds, pictures
from torch import nn

import hiercl
from hiercl.encoders import Given, as_encoder, make_any_encoder
from hiercl.encoders.base import half_precision_is_native
from hiercl.encoders.vit import positions

FAST = {"epochs": 1, "batch": 8, "crop": 12, "progress": False, "precision": "float32", "monitor_every": 0}
ROOT = Path(__file__).parents[2]


MEAN = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


def net(seed=0, last=MEAN) -> nn.Module:
    """A small network: maps of 8 channels at half the size, and of 12 at a quarter; a vector of 12."""
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    return nn.Sequential(first, nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(inplace=True), *copy.deepcopy(last))


class Tokens(nn.Module):
    """A transformer with a class token; it gives the class token, the mean of the patches, or all tokens."""

    def __init__(self, gives="class"):
        super().__init__()
        self.gives = gives
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, x):
        patches = self.patches(x).flatten(2).mT
        tokens = self.blocks(torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1))
        return {"class": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=1), "all": tokens}[self.gives]


class Gives(nn.Module):
    """A layer, and a function of its output."""

    def __init__(self, function, layer=None):
        super().__init__()
        self.layer, self.function = layer or nn.Conv2d(3, 6, 4, 4), function

    def forward(self, x):
        return self.function(self.layer(x))


def adapted(module, size=16, **settings):
    return make_any_encoder(module, (3, size, size), "images", lambda: (0.5, 0.25), **settings)


# -- what the adapter finds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module, widths, sides",
    [
        (net(), (8, 12), (8, 4)),  # the map before the pooling is found
        (net(last=(nn.AdaptiveMaxPool2d(1), nn.Flatten())), (8, 12), (8, 4)),
        (net(last=()), (8, 12), (8, 4)),
        (net(last=(nn.Flatten(), nn.Linear(12 * 16, 10))), (8, 12, 10), (8, 4, 1)),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), (10,), (1,)),
        (Tokens("class"), (16, 16, 16, 16), (4, 4, 4, 1)),
        (Tokens("mean"), (16, 16, 16, 16), (4, 4, 4, 4)),
        (Tokens("all"), (16, 16, 16, 16), (4, 4, 4, 17)),
        (Gives(lambda x: {"features": x, "size": 3}), (6,), (4,)),
    ],
    ids="mean max map vector flat class-token mean-of-patches tokens dictionary".split(),
)
def test_width_and_stages_are_found_and_nothing_changes(module, widths, sides):
    state, mode = copy.deepcopy(module.state_dict()), [part.training for part in module.modules()]
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    encoder = adapted(module)
    assert torch.equal(torch.rand(1), expected)
    kept = encoder.net.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in state.items())
    assert [part.training for part in encoder.net.modules()] == mode
    x = torch.rand(3, 3, 16, 16)
    encoder.eval()
    maps, feature = encoder.stages(x), encoder(x)
    assert tuple(one.shape[1] for one in maps) == widths == encoder.stage_widths and encoder.width == widths[-1]
    assert tuple(one.shape[2] for one in maps) == sides and f"width {widths[-1]}" in encoder.found
    torch.testing.assert_close(encoder.pool(maps[-1]), feature)
    with torch.no_grad():
        raw = module.eval()(x)
        if isinstance(raw, torch.Tensor) and raw.ndim == 2:
            torch.testing.assert_close(raw, feature)
    assert not any(part._forward_hooks for part in encoder.modules())


def test_networks_of_torchvision():
    encoder = adapted("torchvision:resnet18", size=64)
    assert encoder.stage_widths == (64, 64, 128, 256, 512) and encoder.places[-1] == (2, 2)
    assert encoder.found.endswith("channels at 32, 16, 8, 4, 2 places a side; classifier fc left out")
    smaller = adapted(encoder, size=32)
    assert smaller.places[-1] == (1, 1) and "resize= makes them larger" in smaller.found
    assert adapted(smaller, size=32, resize=64).places == encoder.places and smaller.origin == encoder.origin
    import torchvision

    swin = torchvision.models.SwinTransformer(
        [2, 2], 8, [1, 1], [1, 1], [2, 2], num_classes=5
    )  # maps with channels last
    found = adapted(swin, size=16)
    assert found.stage_widths == (8, 16) and found.places == ((8, 8), (4, 4)) and found.left_out == "head"
    assert isinstance(swin.head, nn.Linear)  # the module itself keeps it
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(found.eval().pool(found.stages(x)[-1]), found(x))


def test_clouds_and_vectors():
    class Cloud(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv1d(3, 20, 1)

        def forward(self, x):
            return self.layer(x).amax(dim=2)

    encoder = as_encoder(Cloud(), clouds(8))
    assert encoder.width == 20 and encoder.layout == "[batch, 3, points]" and encoder.modality == "points"
    assert hiercl.embed(encoder, clouds(8)).shape == (8, 20)
    run = hiercl.fit("simclr", clouds(8), encoder=Cloud, points=24, epochs=1, batch=8, progress=False)
    assert run.encoder.width == 20
    assert make_any_encoder(nn.Linear(7, 5), (7, 1, 1), "vectors", tuple)(torch.rand(3, 7, 1, 1)).shape == (3, 5)


# -- resize, mean, std, precision -------------------------------------------------------------------------------


def test_resize_mean_and_std_belong_to_the_encoder():
    from torchvision.transforms.v2 import functional

    encoder, x = adapted(nn.Identity(), resize=40, mean=0.5, std=(0.1, 0.2, 0.4)), torch.rand(2, 3, 16, 16)
    wanted = functional.resize(x, [40, 40], functional.InterpolationMode.BICUBIC, antialias=True)
    wanted = (wanted - 0.5) / torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    torch.testing.assert_close(encoder.normalise(x), wanted)
    torch.testing.assert_close(encoder(x), wanted.mean(dim=(2, 3)))
    data = pictures(8)
    run = hiercl.fit("simclr", data, encoder=net(), resize=20, mean=0.5, std=0.25, **FAST)
    assert run.encoder.resize == 20 and run.encoder.mean.tolist() == [0.5] * 3 and run.config["fit"]["resize"] == 20
    again = hiercl.fit("simclr", data, encoder=run, **FAST)  # all of it comes with the encoder
    assert again.encoder.resize == 20 and again.encoder.std.tolist() == [0.25] * 3
    plain = hiercl.fit("simclr", data, encoder=net(), **FAST)
    assert plain.encoder.mean.tolist() == [0.0] * 3 and plain.encoder.std.tolist() == [1.0] * 3
    named = hiercl.fit("simclr", data, encoder="convnet", mean=0.25, **FAST)
    assert named.encoder.mean.tolist() == [0.25] * 3
    assert named.encoder.std.tolist() == pytest.approx(data.form.mean_std(data.items, "")[1])


def test_large_pictures_pass_in_parts(monkeypatch):
    encoder, x = adapted(net()).eval(), torch.rand(5, 3, 16, 16)
    whole = encoder(x)
    monkeypatch.setattr("hiercl.encoders.base.PLACES_AT_ONCE", 2 * 256)
    seen = []
    encoder.net.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), whole)
    assert seen == [2, 2, 1]


def test_half_precision_memory_format_and_compilation():
    encoder = adapted(net()).to(memory_format=torch.channels_last).eval()
    x = torch.rand(4, 3, 16, 16).to(memory_format=torch.channels_last)
    plain, maps = encoder(x), encoder.stages(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(x).dtype == torch.float32 and encoder.stages(x)[-1].dtype == torch.bfloat16
        torch.testing.assert_close(encoder(x), plain, rtol=0.05, atol=0.05)
    encoder.net.compile(backend="eager")
    torch.testing.assert_close(encoder(x), plain)
    assert all(map(torch.allclose, encoder.stages(x), maps))  # hooks see nothing of what is compiled
    assert copy.deepcopy(encoder).net._compiled_call_impl is None


# -- training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoder, method, settings",
    [
        ("torchvision:resnet18", "simclr", {"resize": 32}),
        ("timm:test_vit", "simclr", {"resize": 160}),
        (net(), "csml", {"queue": 8, "neighbour_start": 0.0}),
        ("vit_tiny", "a_hmlc", {"gate": "attention"}),
        (partial(hiercl.pretrained, "simclr"), "moco", {"queue": 8}),
    ],
    ids="torchvision timm Sequential vit_tiny zoo".split(),
)
def test_an_encoder_trains_is_judged_saved_and_loaded(encoder, method, settings, tmp_path):
    if isinstance(encoder, str) and encoder.startswith("timm"):
        pytest.importorskip("timm")
    encoder = encoder() if isinstance(encoder, partial) else encoder
    data = pictures(8)
    run = hiercl.fit(method, data, encoder=encoder, **settings, **FAST)
    features = hiercl.embed(run, data)
    assert features.isfinite().all() and features.shape == (8, run.encoder.width)
    report = hiercl.evaluate(run, data, data, features=(features, features), progress=False)
    assert report.table()["knn"].between(0, 100).all()
    given = {"encoder": encoder} if isinstance(encoder, nn.Module) else {}  # the zoo's knows the name that makes it
    loaded = hiercl.load_run(run.save(tmp_path / "run"), **given)
    assert torch.equal(hiercl.embed(loaded, data), features) and loaded.config == run.config


def test_a_module_is_copied_and_starts_from_its_own_weights():
    own = net()
    start = copy.deepcopy(own.state_dict())
    runs = [hiercl.fit("moco", pictures(8), encoder=own, queue=8, seed=seed, **FAST | {"epochs": 0}) for seed in (0, 1)]
    trained = hiercl.fit("moco", pictures(8), encoder=own, queue=8, **FAST)
    assert all(torch.equal(value, start[name]) for name, value in own.state_dict().items()) and own.training
    first, second = (run.encoder.net.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) and torch.equal(first[name], start[name]) for name in start)
    moved = trained.encoder.net.state_dict()
    assert not torch.equal(moved["1.weight"], start["1.weight"])
    key = trained.method.key_encoder.net.state_dict()
    assert not torch.equal(key["1.weight"], moved["1.weight"])

    made = [
        hiercl.fit("simclr", pictures(8), encoder=lambda: nn.Conv2d(3, 4, 3), seed=s, **FAST | {"epochs": 0})
        for s in (3, 3, 4)
    ]
    weights = [run.encoder.net.weight for run in made]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])  # made under the seed


def test_a_study_takes_every_kind_of_encoder(tmp_path):
    kinds = {"torchvision": "torchvision:resnet18", "timm": "timm:resnet10t", "transformer": "vit_tiny"}
    vary = {name: {"encoder": one} for name, one in (kinds | {"zoo": hiercl.pretrained("simclr").encoder}).items()}
    settings = {name: value for name, value in FAST.items() if name not in ("progress", "monitor_every")}
    study = hiercl.Study({"method": "simclr", **settings, "resize": 32}, vary, 1, "kinds", tmp_path)
    assert not study.run(pictures(8), pictures(8), progress=False).missing()
    assert study.table().filter(like="knn ").notna().all(axis=None)


def test_what_was_found_is_shown(capsys):
    run = hiercl.fit("simclr", pictures(8), encoder=net(), **FAST | {"epochs": 0, "progress": True})
    assert run.encoder.found == "torch Sequential: width 12, stages of 8, 12 channels at 8, 4 places a side"
    assert run.encoder.found in capsys.readouterr().out


def test_the_front_freezes():
    run = hiercl.fit("simclr", pictures(8), encoder=net(), freeze=1, **FAST)
    before, after = net().state_dict(), run.encoder.net.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"1.weight", "1.bias"}
    encoder = adapted(Tokens())
    encoder.freeze(2)
    learns = {name for name, value in encoder.net.named_parameters() if value.requires_grad}
    assert {name.split(".")[2] for name in learns} == {"2", "3"} and not encoder.net.token.requires_grad


def test_modules_are_embedded_judged_and_fine_tuned_as_they_are():
    own, data = net(), pictures(16)
    own[0][1].eval()  # a batch norm that its owner has set
    modes, state = [part.training for part in own.modules()], copy.deepcopy(own.state_dict())
    tuning = hiercl.FineTuneConfig(epochs=1, crop=12)
    report = hiercl.evaluate(own, data, data, label_fractions=(0.5,), draws=1, fine_tune=tuning, progress=False)
    assert set(report.few_labels["way"]) == {"linear", "fine-tuned"}
    x = torch.from_numpy(data.items).permute(0, 3, 1, 2).float() / 255
    features = hiercl.embed(own, data)
    assert [part.training for part in own.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())
    half = half_precision_is_native(torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        torch.testing.assert_close(own.eval()(x).float(), features)


# -- files and studies ------------------------------------------------------------------------------------------

MODULE = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU())
"""
LOADS = """
import json, sys, hiercl, numpy as np
run = hiercl.load_run("run")
data = hiercl.datasets.read_store("data")
np.save("features.npy", hiercl.embed(run, data).numpy())
"""


def test_a_function_of_a_module_is_found_by_another_process(tmp_path, monkeypatch):
    (tmp_path / "its_own_nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import its_own_nets  # pyright: ignore[reportMissingImports]

    data = pictures(8)
    hiercl.datasets.write_store(data, tmp_path / "data")
    run = hiercl.fit("simclr", data, encoder=its_own_nets.tiny, out="run", **FAST)
    place = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", LOADS], check=True, cwd=tmp_path, env=place)
    assert np.array_equal(np.load("features.npy"), hiercl.embed(run, data).numpy())

    its_own_nets.tiny = changed = lambda: nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.Tanh())
    changed.__module__ = "its_own_nets"
    with pytest.warns(UserWarning, match="its_own_nets.tiny is not the code that this run was trained with"):
        assert isinstance(hiercl.load_run("run").encoder.net[1], nn.Tanh)


def test_resume_and_studies_tell_encoders_apart(tmp_path):
    data = pictures(8)
    first = hiercl.fit("simclr", data, encoder=net(), out=tmp_path / "run", **FAST)
    assert hiercl.fit("simclr", data, encoder=net(), out=tmp_path / "run", resume=True, **FAST).config == first.config
    with pytest.raises(ValueError, match=r"other settings .*encoder: there .*weights"):
        hiercl.fit("simclr", data, encoder=net(seed=1), out=tmp_path / "run", resume=True, **FAST)
    with pytest.raises(ValueError, match=r"checkpoint.pt: the encoder that is given does not have these weights"):
        hiercl.load_run(tmp_path / "run", encoder=nn.Conv2d(3, 8, 3))
    with pytest.raises(ValueError, match=r"give it again, load_run\(path, encoder="):
        hiercl.load_run(tmp_path / "run")

    settings = {name: value for name, value in FAST.items() if name not in ("progress", "monitor_every")}
    vary = {"one": {"encoder": net()}, "two": {"encoder": net(seed=1)}}
    study = hiercl.Study({"method": "simclr", **settings}, vary, seeds=1, out=tmp_path).run(data, data, progress=False)
    assert not study.missing() and len({member.place.folder for member in study.members()}) == 2
    run, _ = study.member("one").load()
    assert run.encoder.width == 12 and "Sequential" in study.report(tmp_path / "page.md").read_text()
    again = hiercl.Study({"method": "simclr", **settings}, vary, seeds=1, out=tmp_path).of(data, data)
    assert not again.missing()
    with pytest.raises(ValueError, match="cannot be told from other functions"):
        unlike_any = partial(net, object())
        hiercl.Study({"method": "simclr"}, {"own": {"encoder": unlike_any}}, seeds=1).of(data, data).members()


def test_descriptions():
    assert Given.of(net()) == Given.of(net()) != Given.of(net(seed=1))
    assert Given.of(lambda: net(0)).code != Given.of(lambda: net(1)).code
    assert Given.of(partial(net, 0)).code != Given.of(partial(net, 1)).code and Given.of(partial(net, 0)).code
    assert Given.of(hiercl.pretrained("simclr")).origin == "whitenet"
    content = json.loads(json.dumps(Given.of(Tokens).to_json()))
    assert Given.of(content) == Given.of(Tokens)


# -- what a person can get wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoder, message",
    [
        (3, "encoder=3: give a name such as 'convnet' or 'torchvision:resnet18', a torch.nn.Module"),
        ("torchvision:resnet19", "torchvision has no network 'resnet19'. Close to it are resnet18"),
        ("torchvison:resnet18", "Unknown library of encoders 'torchvison'. Did you mean 'torchvision'"),
        ("resnet19", "Unknown encoder 'resnet19'. Did you mean 'resnet18'"),
        (
            lambda width: nn.Flatten(),
            "encoder=<lambda> cannot be called without arguments .*give a function that needs",
        ),
        (nn.Conv2d, "encoder=Conv2d cannot be called without arguments .*'in_channels'"),
        (nn.LazyConv2d(8, 3), r"LazyConv2d has lazy layers.*call it once"),
        (nn.Conv2d(3, 8, 3).double(), r"has weights in torch.float64: .*module.float\(\)"),
        (lambda: nn.Conv2d(3, 8, 3).half(), "has weights in torch.float16"),
        (lambda: 3, "makes a int: it must make a torch.nn.Module"),
        (nn.Conv2d(1, 8, 3), r"shape \[2, 3, 16, 16\]: .*It takes 1 channel: make the pictures so, as with items.mean"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 4)), "It takes pictures of 28 pixels: give resize=28"),
        (nn.Linear(5, 4), "fails on a batch of images .*Give a module that takes such a batch"),
        (Gives(lambda x: (x, x)), r"gives several tensors, 0 \[2, 6, 4, 4\], .*forward returns one tensor"),
        (Gives(lambda x: "no"), "gives a str: wrap it"),
        (Gives(lambda x: x.mean(dim=(1, 2, 3))), r"gives float32 \[2\] .*vectors \[batch, d\], maps"),
        (Gives(lambda x: x.flatten(1).long()), "gives int64"),
        (Gives(lambda x: x[:1]), r"gives float32 \[1, 6, 4, 4\] for a batch of 2"),
        (Gives(lambda x: x.mean(dim=(1, 2, 3))[:, None]), "gives one number for an item"),
        (Gives(lambda x: x * torch.nan), "gives numbers that are not finite"),
        (make_any_encoder("pointnet_vanilla", (3, 8, 1), "points", lambda: (0.0, 1.0)), "stripes holds images"),
        (
            make_any_encoder("convnet", (1, 8, 8), "images", lambda: (0.0, 1.0)),
            "takes items of 1 channels, and these have 3",
        ),
    ],
)
def test_wrong_encoders(encoder, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        hiercl.fit("simclr", pictures(8), encoder=encoder, out=tmp_path / "run", **FAST)
    assert not (tmp_path / "run").exists()
    if isinstance(encoder, nn.Module) and not hasattr(encoder, "modality"):
        with pytest.raises(ValueError, match=message):
            hiercl.embed(encoder, pictures(8))


@pytest.mark.parametrize(
    "method, settings, message",
    [
        ("simclr", {"encoder": net(), "norm": "group"}, "norm='group' is for encoders that hiercl makes"),
        ("simclr", {"encoder": "vit_tiny", "norm": "group"}, "vit_tiny: it has layer norms"),
        ("simclr", {"encoder": net(), "mean": (0.5, 0.5)}, "one number, or 3, one for each channel"),
        ("simclr", {"encoder": net(), "std": 0}, "std=0: it must be"),
        (
            "simclr",
            {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(768, 4))},
            "It takes pictures of 16 pixels",
        ),  # crop=12
        ("a_hmlc", {"encoder": Tokens(), "gate": "attention"}, "this encoder gives a vector: choose another gate"),
        ("csml", {"encoder": nn.Conv2d(3, 4, 3), "stages": (2, 3), "queue": 8}, "the encoder's last stage"),
    ],
)
def test_wrong_settings(method, settings, message):
    with pytest.raises(ValueError, match=message):
        hiercl.fit(method, pictures(8), **FAST | settings)


def test_a_library_that_is_missing(monkeypatch, as_a_user):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="needs the package timm: pip install timm"):
        hiercl.fit("simclr", pictures(8), encoder="timm:resnet18", **FAST)
    with pytest.raises(ValueError, match="resize=9 is for pictures"):
        make_any_encoder("dgcnn", (3, 8, 1), "points", lambda: (0.0, 1.0), resize=9)
    with pytest.raises(ValueError, match="a int has no encoder: give a run"):
        hiercl.encoders.encoder_of(3)  # pyright: ignore[reportArgumentType]


# -- vit_tiny ---------------------------------------------------------------------------------------------------


def test_positions_of_patches():
    codes = positions(3, 5, 8)
    assert codes.shape == (8, 3, 5) and torch.equal(codes[:4, :, 0], codes[:4, :, 4])  # the row alone
    row, column, frequency = 2, 1, 10000 ** (-4 / 8)
    assert codes[1, row, column].item() == pytest.approx(np.sin(1.0 * frequency))
    assert codes[6, row, column].item() == pytest.approx(np.cos(-1.0))
    with pytest.raises(ValueError, match="at least 4 pixels"):
        adapted("vit_tiny")(torch.rand(1, 3, 3, 8))


def test_the_transformer_sees_where_patches_are():
    encoder, x = adapted("vit_tiny").eval(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(encoder(x), encoder(x.flip(3)), atol=1e-4)
        encoder.stem.register_forward_hook(lambda module, inputs, output: module.embed(inputs[0]))  # no positions
        patches = x.unflatten(3, (8, 4)).flip(3).flatten(3, 4)
        torch.testing.assert_close(encoder(x), encoder(patches), atol=1e-4, rtol=1e-4)
