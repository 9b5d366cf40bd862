"""Runs, stores and studies that were written before the package was moved into rooms load as they did.

``tests/support/before`` holds what version 0.1.0 wrote at commit 198604e: the config of a run of every method with the
names, shapes and types of its state, two array stores and the file of a study.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hiercl
from hiercl import methods
from hiercl.datasets import read_store

BEFORE = Path(__file__).parent / "support" / "before"


def filled(value, generator: torch.Generator):
    """A listed part of a state with numbers in it: random ones, and integers in the range that they had."""
    if isinstance(value, list):
        return [filled(inner, generator) for inner in value]
    if not isinstance(value, dict):
        return value
    if "of" in value:
        return {name: filled(inner, generator) for name, inner in value["of"].items()}
    dtype = getattr(torch, value["dtype"])
    if "values" in value:
        return torch.tensor(value["values"], dtype=dtype)
    if "below" in value:
        return torch.randint(value["below"], value["shape"], generator=generator, dtype=dtype)
    return torch.rand(value["shape"], generator=generator, dtype=dtype)


def equal(a, b) -> bool:
    """Whether two parts of a state have the same names, types, shapes and numbers. A list equals a tuple."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("method", methods.names())
def test_a_run_loads(method, tmp_path):
    listed = json.loads((BEFORE / f"{method}.json").read_text())
    generator = torch.Generator().manual_seed(0)
    state = {name: filled(value, generator) for name, value in listed["model"].items()}
    rest = {"epoch": 2, "optimiser": None, "history": listed["history"] * 3, "environment": listed["environment"]}
    torch.save({"format": 1, "model": state, **rest}, tmp_path / "checkpoint.pt")
    (tmp_path / "config.json").write_text(json.dumps(listed["config"]))
    run = hiercl.load_run(tmp_path)
    assert run.name == method and not run.interrupted and run.history["loss"].notna().all()
    loaded = run.method.state_dict()
    extra, loaded_extra = (part.pop("_extra_state", {}) for part in (state, loaded))
    assert equal(loaded, state)
    known = extra.keys() & {"tree", "epoch", "masked"}  # the others belonged to settings that are gone
    assert all(equal(loaded_extra[name], extra[name]) for name in known)
    settings = listed["config"]["method_settings"]
    kept = {name: value for name, value in run.config["method_settings"].items() if name in settings}
    assert kept == {name: settings[name] for name in kept} and run.config["data"] == listed["config"]["data"]
    assert {**run.config["fit"], **listed["config"]["fit"]} == run.config["fit"]
    assert {**run.config["views"], **listed["config"]["views"]} == run.config["views"]


@pytest.mark.parametrize(
    "name, modality, fingerprint",
    [("pictures", "images", "95f1786e9cc3c4f4"), ("points", "points", "35754d982e8328d3")],
)
def test_a_store_loads(name, modality, fingerprint):
    data = read_store(BEFORE / name)
    assert data.modality == modality and data.name == "shapes" and data.labels.tolist() == [0, 5, 10, 15, 20, 25]
    assert data.hierarchy.path(5) == ("furniture", "tables", "round table")
    assert data.fingerprint() == fingerprint
    assert np.asarray(data.items).std() > 0.1


def test_a_study_loads_and_keeps_its_name(tmp_path):
    study = hiercl.Study.load(BEFORE / "study.json", out=tmp_path)
    assert study.name == "study-64d3ac3f" and list(study.variants) == ["temperature=0.1", "temperature=0.3"]
    base = {"method": "moco", "data": "shapes", "per_class": 10, "epochs": 1, "batch": 32, "queue": 64}
    again = hiercl.Study(base | {"precision": "float32"}, {"temperature": [0.1, 0.3]}, seeds=2, out=tmp_path)
    assert again.name == study.name
