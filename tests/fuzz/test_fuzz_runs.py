"""Run folders, studies, settings, cards of pretrained models and flags of the command line, altered at random."""

import contextlib
import io
import json
import shutil
import tempfile
from dataclasses import fields
from functools import cache
from pathlib import Path

import torch
from fuzz.support import fuzz, own_error
from hypothesis import given
from hypothesis import strategies as st
from support.data import vectors

from hiercl.cli import main
from hiercl.encoders import zoo
from hiercl.methods import get, names
from hiercl.runtime.config import distribute
from hiercl.study import Study
from hiercl.training import FitConfig, fit, load_run

DATA = vectors(24)
SETTINGS = {"epochs": 1, "batch": 8, "queue": 8, "monitor_every": 0, "progress": False, "precision": "float32"}
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
places = st.integers(0, 10**6)


@cache
def folder() -> Path:
    """A folder with a run, a study and a pretrained model."""
    place = Path(tempfile.mkdtemp())
    fit("moco", DATA, out=place / "run", **SETTINGS)
    DATA.save(place / "data")
    Study({"method": "moco", "data": str(place / "data")}, {"queue": [8, 16]}, 1, "mine", place).save()
    encoder = {"name": "mlp", "norm": "batch", "mean": [0.0] * 4, "std": [1.0] * 4, "channels": 4}
    card = {"method": "mine", "encoder": encoder, "head": {"kind": "linear", "dim": 8}}
    model = zoo.make_model(card)
    zoo.save_pretrained(*model, card, place / "zoo")
    return place


def altered(content, place: int, value):
    """JSON values with one of them, however deep, replaced."""
    paths = list(_paths(content))
    path = paths[place % len(paths)]
    copy = json.loads(json.dumps(content))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def _paths(content, above=()):
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield (*above, key)
        yield from _paths(content[key], (*above, key))


@fuzz(12)
@given(places, anything)
def test_settings_of_a_run(place, value):
    with tempfile.TemporaryDirectory() as copy:
        run = Path(shutil.copytree(folder() / "run", Path(copy) / "run"))
        content = json.loads((run / "config.json").read_text())
        changed = altered(content, place, value)
        (run / "config.json").write_text(json.dumps(changed))
        error = own_error(lambda: load_run(run))
        assert error is None or str(run / "config.json") in str(error)
        own_error(lambda: fit("moco", DATA, out=run, resume=True, **SETTINGS))
        assert not list(run.glob("*partial*"))


@fuzz(12)
@given(st.sampled_from(["config.json", "checkpoint.pt"]), places, st.integers(0, 7), st.booleans())
def test_bits_and_cuts_of_a_run(name, place, bit, cut):
    with tempfile.TemporaryDirectory() as copy:
        run = Path(shutil.copytree(folder() / "run", Path(copy) / "run"))
        content = bytearray((run / name).read_bytes())
        place %= len(content)
        content[place] ^= 1 << bit
        (run / name).write_bytes(content[:place] if cut else content)
        before = load_run(folder() / "run").method.state_dict()
        loaded = []
        error = own_error(lambda: loaded.append(load_run(run).method.state_dict()))
        assert error is not None or name == "config.json"
        tensors = [key for key, value in before.items() if isinstance(value, torch.Tensor)]
        assert error is not None or all(torch.equal(before[key], loaded[0][key]) for key in tensors)


@fuzz(12)
@given(places, anything)
def test_files_of_studies(place, value):
    content = json.loads((folder() / "mine.json").read_text())
    with tempfile.TemporaryDirectory() as other:
        path = Path(other) / "mine.json"
        path.write_text(json.dumps(altered(content, place, value)))
        own_error(lambda: Study.load(path).members())
        asked = altered(
            {"base": {"method": "moco", "data": str(folder() / "data")}, "vary": {"queue": [8]}}, place, value
        )
        path.write_text(json.dumps(asked))
        own_error(lambda: Study.load(path).members())


@fuzz(60)
@given(st.sampled_from(names()), places, anything)
def test_values_of_settings(method, place, value):
    configs = FitConfig, get(method).Config
    every = [field.name for config in configs for field in fields(config)]
    own_error(lambda: [made.to_json() for made in distribute({every[place % len(every)]: value}, *configs)])


@fuzz(15)
@given(places, anything)
def test_cards(place, value):
    assert own_error(lambda: zoo.pretrained("mine", folder() / "zoo")) is None
    card = json.loads((folder() / "zoo" / "mine.json").read_text())
    with tempfile.TemporaryDirectory() as copy:
        models = Path(shutil.copytree(folder() / "zoo", Path(copy) / "zoo"))
        (models / "mine.json").write_text(json.dumps(altered(card, place, value)))
        own_error(lambda: zoo.pretrained("mine", models))


words = st.sampled_from(
    "--epochs --seeds --set --dry --data --out --queue --temperature 0 -1 nan x=3 epochs=[] 1e9".split()
)


@fuzz(4)
@given(st.sampled_from(["train", "study", "evaluate", "data"]), st.lists(words | st.text(max_size=4), max_size=4))
def test_flags(command, flags):
    """The command line ends by itself, with words and without a traceback."""
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stderr(io.StringIO()) as said:
        start = ["moco", "--data", str(folder() / "data"), "--out", out, "--epochs", "0"] if command == "train" else []
        try:
            main([command, *start, "nothing"[: 7 * (command != "train")], *flags])
        except SystemExit as stop:
            assert stop.code == 0 or isinstance(stop.code, str) or said.getvalue(), flags
