"""Point clouds go through every method, the evaluation and the disk as pictures do."""

import warnings

import numpy as np
import pytest
import torch
from support.data import CLOUD_SETTINGS, clouds

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import MODALITIES
from hiercl.evaluation.fine_tuning import FineTuneConfig

SMALL = {  # of each method, so that it does all that it can within two epochs of two steps
    "moco": {"queue": 32},
    "hcsc": {"queue": 32, "prototypes": (2, 4), "warm_up": 0.0},
    "csml": {"queue": 32, "neighbour_start": 0.0, "local_crops": 1},
    "g_hmlc": {"warm_up": 0.5},
}


@pytest.mark.parametrize("method", hiercl.methods.names())
def test_every_method_trains_on_clouds(method, tmp_path):
    train, test = clouds(32), clouds(seed=1)
    settings = CLOUD_SETTINGS | SMALL.get(method, {})
    run = hiercl.fit(method, train, epochs=2, out=tmp_path / "run", **settings)
    assert np.isfinite(run.history["loss"]).all()
    step = run.step(train, batch=16)
    assert torch.isfinite(step.loss) and step.terms
    again = hiercl.load_run(tmp_path / "run")
    torch.testing.assert_close(hiercl.embed(again, test), hiercl.embed(run, test))
    assert hiercl.embed(run, test).shape == (48, run.encoder.width)


@pytest.mark.parametrize("encoder", hiercl.encoders.encoder_names("points"))
def test_every_encoder_trains_with_losses_at_two_stages(encoder):
    train = clouds(16)
    run = hiercl.fit("csml", train, epochs=1, **CLOUD_SETTINGS | SMALL["csml"] | {"encoder": encoder})
    names = {term.name for term in run.step(train, batch=16).terms}
    assert {"anchor", "neighbour", "mixed", "local 1", "stage 2: anchor", "stage 2: mixed"} <= names


def test_attention_looks_at_points():
    run = hiercl.fit("a_hmlc", clouds(16), epochs=1, gate="attention", **CLOUD_SETTINGS | {"encoder": "dgcnn"})
    assert run.method.gate.queries.shape == (2, 1024)


def test_stopped_and_resumed_is_as_never_stopped(tmp_path):
    whole = hiercl.fit("moco", clouds(), epochs=2, queue=32, **CLOUD_SETTINGS)

    def stop(run):
        if len(run.history) == 1:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        hiercl.fit("moco", clouds(), epochs=2, queue=32, out=tmp_path, callbacks=[stop], **CLOUD_SETTINGS)
    resumed = hiercl.fit("moco", clouds(), epochs=2, queue=32, out=tmp_path, resume=True, **CLOUD_SETTINGS)
    for a, b in zip(whole.method.state_dict().values(), resumed.method.state_dict().values(), strict=True):
        assert not isinstance(a, torch.Tensor) or torch.equal(a, b)


def test_evaluated_fine_tuned_and_reported():
    train, test = clouds(), clouds(seed=1)
    run = hiercl.fit("supcon", train, epochs=2, **CLOUD_SETTINGS)
    config = FineTuneConfig(epochs=20, batch=16)
    report = hiercl.evaluate(run, train, test, label_fractions=(0.5,), draws=1, fine_tune=config, knn_k=5)
    assert set(report.few_labels["way"]) == {"linear", "fine-tuned"}
    assert np.isfinite(report.overall["alignment"])
    accuracy = report.few_labels.set_index(["way", "level"])["accuracy"]
    assert accuracy["fine-tuned", "level 1"] > 60  # four classes of boxes: a quarter is chance


def test_settings_of_the_other_kind_are_no_settings_of_a_fine_tuning():
    train = clouds()
    encoder = hiercl.fit("moco", train, epochs=0, **CLOUD_SETTINGS).encoder
    with pytest.raises(ValueError, match="crop=16 is not for points"):
        hiercl.evaluation.fine_tuning.fine_tune(encoder, train, FineTuneConfig(crop=16))
    assert FineTuneConfig(rotation="none").views(MODALITIES["points"], 64).rotation == "none"
    with pytest.raises(ValueError, match="rotation=none is not for images"):
        FineTuneConfig(rotation="none").views(MODALITIES["images"], 32)
    with pytest.raises(ValueError, match="points=16 is not for images"):
        FineTuneConfig(points=16).views(MODALITIES["images"], 32)


def test_without_an_encoder_it_is_the_smallest_of_its_kind():
    settings = {name: value for name, value in CLOUD_SETTINGS.items() if name != "encoder"}
    run = hiercl.fit("simclr", clouds(), epochs=0, **settings)
    assert run.config["fit"]["encoder"] == "pointnet_vanilla" and run.encoder.modality == "points"


def test_items_of_the_other_kind_are_refused_everywhere():
    train = clouds()
    run = hiercl.fit("simclr", train, epochs=0, **CLOUD_SETTINGS)
    pictures = HierarchicalDataset(np.zeros((48, 8, 8, 3), np.uint8), train.labels, train.hierarchy, "black")
    with pytest.raises(ValueError, match="expected float points"):
        hiercl.embed(run, pictures)
    with pytest.raises(ValueError, match="expected float pictures"):
        hiercl.embed(hiercl.pretrained("moco"), train)


def test_what_does_not_fit_clouds():
    train = clouds()
    with pytest.raises(ValueError, match=r"boxes holds points, and convnet takes others: choose .* pointnet"):
        hiercl.fit("moco", train, encoder="convnet")
    with pytest.raises(ValueError, match=r"'crop' is a setting of views of images, and the items are points.*stretch"):
        hiercl.fit("moco", train, crop=16, **CLOUD_SETTINGS)
    small = HierarchicalDataset.from_arrays(train.items / 10, train.labels, train.hierarchy, "metres")
    with pytest.raises(ValueError, match=r"metres has clouds that reach .*unit_sphere"):
        hiercl.fit("moco", small, **CLOUD_SETTINGS)
    large = HierarchicalDataset.from_arrays(100 * train.items, train.labels, train.hierarchy, "millimetres")
    with pytest.raises(ValueError, match=r"millimetres has clouds that reach .*unit_sphere"):
        hiercl.fit("moco", large, **CLOUD_SETTINGS)
    pictures = HierarchicalDataset(np.zeros((48, 8, 8, 3), np.uint8), train.labels, train.hierarchy, "black")
    with pytest.raises(ValueError, match=r"black holds images, and dgcnn takes others: choose .* convnet"):
        hiercl.fit("moco", pictures, encoder="dgcnn")
    with pytest.raises(ValueError, match="'points' is a setting of views of points"):
        hiercl.fit("moco", pictures, points=16)


@pytest.mark.parametrize("encoder", hiercl.encoders.encoder_names("points"))
def test_a_graph_that_is_thinner_in_training_is_warned_of(encoder):
    data, settings = clouds(), CLOUD_SETTINGS | {"encoder": encoder, "epochs": 0}
    of = data.items.shape[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hiercl.fit("simclr", data, **settings | {"points": of})
        assert not caught
        hiercl.fit("simclr", data, **settings | {"points": of // 2})
    assert [f"train with points={of}" in str(warning.message) for warning in caught] == [True] * (encoder == "dgcnn")
