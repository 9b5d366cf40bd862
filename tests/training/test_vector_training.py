"""Vectors go through every method, the evaluation, a study and the disk as pictures do."""

import numpy as np
import pytest
import torch
from support.data import HIERARCHY, VECTOR_SETTINGS, pictures, vectors

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation.fine_tuning import FineTuneConfig, fine_tune
from hiercl.study.configurations import RunData, canonical, configuration

SMALL = {  # of each method, so that it does all that it can within two epochs of two steps
    "moco": {"queue": 32},
    "hcsc": {"queue": 32, "prototypes": (2, 4), "warm_up": 0.0},
    "csml": {"queue": 32, "neighbour_start": 0.0, "local_crops": 1},
    "g_hmlc": {"warm_up": 0.5},
}


@pytest.mark.parametrize("method", hiercl.methods.names())
def test_every_method_trains(method, tmp_path):
    train, test = vectors(32), vectors(seed=5)
    run = hiercl.fit(method, train, epochs=2, out=tmp_path / "run", **VECTOR_SETTINGS | SMALL.get(method, {}))
    assert np.isfinite(run.history["loss"]).all()
    assert torch.isfinite(run.step(train, batch=16).loss)
    again = hiercl.load_run(tmp_path / "run")
    assert again.recipe.input["deviation"] == run.recipe.input["deviation"]
    torch.testing.assert_close(hiercl.embed(again, test), hiercl.embed(run, test))


@pytest.mark.parametrize(
    ("encoder", "width", "stages"), [("mlp", 256, (0, 1)), ("linear", 256, (0,)), ("identity", 12, (0,))]
)
def test_csml_takes_the_last_two_stages_or_the_only_one(encoder, width, stages):
    run = hiercl.fit("csml", vectors(), epochs=1, **VECTOR_SETTINGS | SMALL["csml"] | {"encoder": encoder})
    assert run.encoder.width == width and run.method.stages == stages == tuple(run.method.weights())
    names = {term.name for term in run.step(vectors(), batch=16).terms}
    assert {"anchor", "neighbour", "mixed", "local 1"} <= names and ("stage 0: mixed" in names) == (len(stages) == 2)
    with pytest.raises(ValueError, match=f"the last must be {stages[-1]}"):
        hiercl.fit("csml", vectors(), epochs=1, stages=(2, 3), encoder=encoder, **VECTOR_SETTINGS)


def test_the_defaults_of_views_depend_on_the_stored_views():
    def views(stored, **settings):
        return hiercl.fit("simclr", vectors(views=stored), epochs=0, **VECTOR_SETTINGS | settings).recipe.views

    several, one = views(3), views(1)
    assert (several.noise, several.drop) == (0, 0) and one.noise > 0 and one.drop > 0
    assert views(1, noise=one.noise, drop=one.drop) == one and views(3, noise=0.25).noise == 0.25


def test_evaluated_and_fine_tuned_with_few_labels():
    train, test = vectors(), vectors(seed=5)
    run = hiercl.fit("simclr", train, epochs=2, encoder="identity", **VECTOR_SETTINGS)
    config = FineTuneConfig(epochs=30, batch=16, noise=0.1, drop=0.1)
    report = hiercl.evaluate(
        run, train, test, label_fractions=(0.5,), draws=1, fine_tune=config, knn_k=5, progress=False
    )
    assert report.table()["classes"].tolist() == [2, 4] and np.isfinite(report.overall["alignment"])
    accuracy = report.few_labels.set_index(["way", "level"])["accuracy"]
    assert accuracy["fine-tuned", "class"] > 75 and accuracy["linear", "class"] > 75  # a quarter is chance
    with pytest.raises(ValueError, match="crop=16 is not for vectors"):
        fine_tune(run.encoder, train, FineTuneConfig(crop=16))


def test_stopped_and_resumed_is_as_never_stopped(tmp_path):
    settings = VECTOR_SETTINGS | SMALL["csml"] | {"noise": 0.2}
    whole = hiercl.fit("csml", vectors(), epochs=2, **settings)

    def stop(run):
        if len(run.history) == 1:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        hiercl.fit("csml", vectors(), epochs=2, out=tmp_path, callbacks=[stop], **settings)
    resumed = hiercl.fit("csml", vectors(), epochs=2, out=tmp_path, resume=True, **settings)
    for a, b in zip(whole.method.state_dict().values(), resumed.method.state_dict().values(), strict=True):
        assert not isinstance(a, torch.Tensor) or torch.equal(a, b)


def test_a_study_on_vectors(tmp_path):
    base = {"method": "simclr", "epochs": 1, **VECTOR_SETTINGS}
    del base["progress"]
    study = hiercl.Study(base, {"noise": [0.1, 0.5]}, seeds=1, out=tmp_path)
    study.run(vectors(), vectors(seed=5), progress=False)
    assert len(study.table()) == 2 and (study.table()["state"] == "done").all()


def test_the_hash_of_csml_is_that_of_the_written_out_stages():
    def hash_of(**settings):
        made = canonical({"method": "csml", **settings})
        return configuration(made, 0, lambda data: RunData.of(data, (pictures(), pictures())).facts).training_hash

    assert hash_of() == hash_of(stages=(2, 3)) != hash_of(stages=(3,))


def test_wrong_uses_say_what_to_do():
    train = vectors()
    cases = [
        ({"crop": 16}, "'crop' is a setting of views of images, and the items are vectors"),
        ({"encoder": "convnet"}, "holds vectors, and convnet takes others: choose encoder= from mlp, linear, identity"),
        ({"encoder": "identity", "norm": "group"}, "identity: it has nothing that norm= could change"),
        ({"noise": -1}, "noise=-1: it must be"),
    ]
    for settings, message in cases:
        with pytest.raises(ValueError, match=message):
            hiercl.fit("simclr", train, epochs=1, **VECTOR_SETTINGS | settings)
    with pytest.raises(ValueError, match="gate='attention' looks at the places of the last map"):
        hiercl.fit("a_hmlc", train, epochs=1, gate="attention", **VECTOR_SETTINGS)
    same = HierarchicalDataset.from_features(np.ones((8, 4)), np.arange(8) % 4, HIERARCHY)
    with pytest.raises(ValueError, match="all vectors of features are equal"):
        hiercl.fit("simclr", same, epochs=1, **VECTOR_SETTINGS)
    run = hiercl.fit("simclr", train, epochs=0, **VECTOR_SETTINGS)
    with pytest.raises(ValueError, match=r"expected float vectors, \[batch, 12, 1, 1\]"):
        hiercl.embed(run, HierarchicalDataset.from_features(np.ones((8, 4)), np.arange(8) % 4, HIERARCHY))
