"""The command line, as a newcomer uses it."""

import json

import numpy as np
import pytest
import torch
from plain import plain_removals
from speed import BenchConfig, SelectionCase, random_tree, throughput

from hiercl.cli import main
from hiercl.datasets import write_store
from hiercl.datasets.modelnet.reading import hierarchy


def run(capsys, *arguments: str) -> str:
    """What a call prints; tyro ends help and errors with SystemExit."""
    try:
        main(list(arguments))
    except SystemExit as stop:
        return f"{capsys.readouterr()} {stop.code}"
    return str(capsys.readouterr())


@pytest.mark.parametrize(
    "command",
    [[], ["train"], ["train", "hcsc"], ["data"], ["evaluate"], ["atlas"], ["study"], ["demo"], ["playground"]],
)
def test_help(capsys, command):
    text = run(capsys, *command, "--help")
    assert "usage: hiercl" in text
    if command == ["train", "hcsc"]:
        assert all(
            flag in text for flag in ("--prototypes", "--select", "--epochs", "--crop-scale", "--out", "--init NAME")
        )
    if not command:
        assert all(name in text for name in ("data", "train", "evaluate", "atlas", "study", "demo", "playground"))


@pytest.fixture
def store(tmp_path):
    from support.data import pictures

    write_store(pictures(96), tmp_path / "stripes" / "train")
    write_store(pictures(40, seed=1), tmp_path / "stripes" / "test")
    return str(tmp_path / "stripes")


@pytest.mark.parametrize("select", ["none", "instances", "prototypes", "both"])
def test_selection_has_a_flag(capsys, tmp_path, store, select):
    flags = ["--epochs", "0", "--batch", "32", "--prototypes", "2", "4", "--select", select]
    run(capsys, "train", "hcsc", "--data", store, "--out", str(tmp_path / "run"), *flags)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["method_settings"]["select"] == select


def test_views_that_several_kinds_of_items_have_share_a_flag(capsys, tmp_path):
    from support.data import vectors

    vectors().save(tmp_path / "planted")
    flags = ["--data", str(tmp_path / "planted"), "--epochs", "0", "--out", str(tmp_path / "run")]
    text = run(capsys, "train", "simclr", "--help")
    assert text.count("--noise") == 1 and "Point clouds (default 0.01)" in text
    run(capsys, "train", "simclr", *flags, "--noise", "0.25")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["views"] == {"noise": 0.25, "drop": 0.0}
    assert "--crop is a setting of views of images" in run(capsys, "train", "simclr", *flags, "--crop", "8")


def test_a_folder_of_pictures_with_one_that_cannot_be_read(capsys, tmp_path, monkeypatch):
    from PIL import Image
    from support.data import pictures

    monkeypatch.setenv("HIERCL_DATA", str(tmp_path / "data"))
    data, folder = pictures(60), tmp_path / "mine"
    for number, (item, label) in enumerate(zip(data.items, data.labels, strict=True)):
        path = folder.joinpath(*data.hierarchy.path(label), f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item).save(path)
    path.write_text("not a picture")
    assert "1 of the pictures in" in run(capsys, "data", str(folder))
    reading = ["--data", str(folder), "--skip-unreadable", "--size", "16"]
    flags = ["--epochs", "1", "--batch", "16", "--crop", "12"]
    with pytest.warns(UserWarning, match="left out"):
        said = run(capsys, "train", "simclr", "--out", str(tmp_path / "run"), *reading, *flags)
        assert f"--data {folder} --size 16 --skip-unreadable" in said
        said = run(capsys, "evaluate", str(tmp_path / "run"), *reading, "--label-fractions", "0.5")
        assert "16x16" in run(capsys, "data", str(folder), "--skip-unreadable", "--size", "16")
    assert "With few labels" in said and (tmp_path / "run" / "report-mine" / "report.json").exists()


def test_shapes_of_your_own_with_points_and_superclasses(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HIERCL_DATA", str(tmp_path / "data"))
    names = [f"{name}_{number:04}" for name in ("chair", "sofa") for number in range(4)]
    points = np.random.default_rng(0).normal(size=(8, 30, 3)).astype(np.float32)
    np.savez(tmp_path / "shapes.npz", points=points, names=names, split=["train", "train", "test", "test"] * 2)
    leaves = hierarchy("modelnet10").leaf_names
    own = {"seats": ["chair", "sofa"], "rest": [leaf for leaf in leaves if leaf not in ("chair", "sofa")]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    given = ["--from", str(tmp_path / "shapes.npz"), "--superclasses", str(tmp_path / "own.json")]
    text = run(capsys, "data", "modelnet10", *given, "--points", "8", "--sampling", "farthest")
    assert "8x3" in text and "seats" in text
    assert (tmp_path / "data" / "modelnet10-8-farthest" / "train").is_dir()


def test_data_train_evaluate(capsys, tmp_path, store):
    assert "96 images" in run(capsys, "data", store)
    out = str(tmp_path / "run")
    flags = ["--epochs", "1", "--batch", "32", "--crop", "12", "--prototypes", "2", "4", "--warm-up", "0"]
    text = run(capsys, "train", "hcsc", "--data", store, "--out", out, *flags)
    assert "hiercl evaluate" in text
    assert json.loads((tmp_path / "run" / "config.json").read_text())["method_settings"]["prototypes"] == [2, 4]
    text = run(capsys, "evaluate", out, "--data", store, "--sample", "5")
    report = json.loads((tmp_path / "run" / "report-stripes" / "report.json").read_text())
    assert "linear" in text and report["protocol"]["sample"] == 5
    page = tmp_path / "page.html"
    assert "page.html" in run(capsys, "atlas", out, "--data", store, "--out", str(page), "--items", "40")
    assert "stripes" in page.read_text("utf-8")
    assert "give the name of a page" in run(capsys, "atlas", out, "--data", store, "--out", str(tmp_path))
    assert "resume=True" in run(capsys, "train", "hcsc", "--data", store, "--out", out, *flags)


def test_mistakes_are_told_in_a_line(capsys, tmp_path):
    assert "cifar100" in run(capsys, "data", "cifra100")
    assert "No run at" in run(capsys, "evaluate", str(tmp_path))


def test_bench_measures(monkeypatch):
    """Small sizes: the figures are there and positive; the two forms of selection remove the same."""
    config = BenchConfig(batch=16, queue=32, steps=8, rounds=1, data=500)
    table = throughput(config, torch.device("cpu")).set_index("arm")
    assert table.loc["bare step", "share of bare (median)"] == 1 and (table["images/s (median)"] > 0).all()
    case = SelectionCase(8, 64, (3, 6), torch.device("cpu"))
    terms = case.terms()
    plain = plain_removals(case.method, case.item, case.draws())
    assert all(torch.equal(terms[level].pairs.removed, plain[level]) for level in range(2))
    case.stored()
    case.plain()
    assert random_tree((3, 6), 50).assignment.shape == (50, 2)


def test_an_interrupt_is_told_with_the_status_of_shells(capsys, tmp_path, store, monkeypatch):
    flags = [
        "simclr",
        "--data",
        store,
        "--out",
        str(tmp_path / "run"),
        "--epochs",
        "2",
        "--batch",
        "32",
        "--crop",
        "12",
    ]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hiercl.training.loop.ask_to_stop", stop)
        with pytest.warns(UserWarning, match="after 1 of 2 epochs"):
            said = run(capsys, "train", *flags)
    assert said.endswith(" 130") and "1 of 2 epochs" in said and "with --resume goes on" in said
    assert "hiercl evaluate" in run(capsys, "train", *flags, "--resume")
    monkeypatch.setattr("hiercl.commands.load", stop)
    assert run(capsys, "data", store).endswith(" 130")
