"""evaluate and embed: every level, every metric, any kind of model and data."""

import json
import math

import numpy as np
import pytest
import torch
from support.data import METHODS, SMALL, pictures
from torch import nn

from hiercl import metrics
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import Encoder
from hiercl.encoders.embedding import embed
from hiercl.evaluation.few_labels import FineTuneConfig
from hiercl.evaluation.frozen import evaluate
from hiercl.evaluation.report import Report
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.definitions import OVERALL, PER_LEVEL
from hiercl.training.loop import fit

QUICK = FineTuneConfig(epochs=2, most_steps=4)


@pytest.fixture(scope="module")
def run():
    return fit("hcsc", pictures(), **SMALL | METHODS["hcsc"] | {"epochs": 2})


@pytest.fixture(scope="module")
def report(run):
    return evaluate(run, pictures(), pictures(40, seed=1), label_fractions=(0.5,), fine_tune=QUICK)


def test_embedding_is_the_encoders_feature_in_data_order(run):
    data = pictures(40)
    features = embed(run, data)
    assert features.shape == (40, run.encoder.width) and features.dtype == torch.float32
    one = torch.from_numpy(np.array(data.items[7:8])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        assert torch.allclose(run.encoder(one)[0], features[7], rtol=0.05, atol=0.05)  # embed may run in bf16
    assert torch.allclose(embed(run, data.take([7, 3])), features[[7, 3]], rtol=0.05, atol=0.05)


def test_report_has_every_metric_that_is_defined_and_no_other(report):
    table = report.table()
    assert table.index.tolist() == ["group", "class"] and table["classes"].tolist() == [2, 4]
    assert table.columns.tolist() == ["classes", *(metric.name for metric in PER_LEVEL)]
    assert set(report.rows[0]) == {"level", *table.columns}
    assert list(report.overall) == [metric.name for metric in OVERALL]
    assert metrics.definitions().index.tolist() == [metric.name for metric in (*PER_LEVEL, *OVERALL)]
    per_cent = table[[metric.name for metric in PER_LEVEL if metric.unit == "%"]]
    assert ((per_cent >= -20) & (per_cent <= 100)).loc["class"].all()  # of a score adjusted for chance, some below 0
    # what compares a level with its parents does not exist at the coarsest
    assert table.loc["group", ["parent_agreement", "dendrogram_purity", "cophenetic_correlation"]].isna().all()
    assert table.loc["class"].notna().all()


def test_report_goes_around(report, run, tmp_path):
    report.save(tmp_path)
    loaded = Report.load(tmp_path)
    assert str(loaded) == str(report) and (tmp_path / "report.csv").exists()
    assert loaded.table().equals(report.table()) and loaded.protocol == report.protocol
    assert loaded.few_labels.equals(report.few_labels) and loaded.tree.equals(report.tree)
    text = str(report)
    for said in ("k = 20", "L-BFGS", "64 training and 40 test items", "With few labels", "learned tree", "–"):
        assert said in text
    for said in ("linear (%)", "uniformity", "With few labels", "learned tree", "–"):
        assert said in report._repr_html_()
    assert report.protocol["run"] == run.config and report.protocol["environment"]["torch"]
    assert "NaN" not in (tmp_path / "report.json").read_text()  # it is no JSON


@pytest.mark.parametrize(
    "part, name, value",
    [
        ("overall", "uniformity", "high"),
        ("overall", "uniformity", [1]),
        ("protocol", "knn_k", None),
        ("protocol", "train_items", "many"),
    ],
)
def test_an_altered_report_is_named(report, tmp_path, part, name, value):
    report.save(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    content[part][name] = value
    content[part] = {key: own for key, own in content[part].items() if own is not None}
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"report\.json(: | is empty, cut or altered)"):
        Report.load(tmp_path)


def test_learned_tree_is_scored_on_its_own_items_only(report, run):
    assert len(report.tree) == 3 * 2 and set(report.tree["level"]) == {"group", "class"}
    assert report.edges is not None
    other = evaluate(run, pictures(seed=5), pictures(40, seed=1))
    assert other.tree is None and other.edges is None and other.few_labels is None


def test_an_encoder_alone_can_be_evaluated(run):
    found = evaluate(run.encoder, pictures(40), pictures(20, seed=1))
    assert found.protocol["run"] is None and math.isnan(found.overall["alignment"])


def test_data_sets_must_share_their_hierarchy(run):
    with pytest.raises(ValueError, match="same names"):
        evaluate(run, pictures(40).under("a"), pictures(40))


def test_without_labels_the_embedding_is_described():
    labelled = pictures()
    tree = Hierarchy.from_dict(["unlabelled"], level_names=("all",))
    data = HierarchicalDataset(labelled.items, np.zeros(len(labelled), dtype=np.int64), tree)
    run = fit("hcsc", data, **SMALL | METHODS["hcsc"] | {"monitor_every": 1})
    assert not any(name.startswith("knn") for name in run.history.columns)
    assert run.tree is not None
    found = evaluate(run, data, data)
    assert found.rows == () and found.tree is None and set(found.overall) == {metric.name for metric in OVERALL}
    assert "no labels" in str(found) and "effective_rank" in found._repr_html_()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"label_fractions": 0.1}, "give a tuple of shares"),
        ({"label_fractions": ("1%",)}, "give a tuple of shares"),
        ({"label_fractions": (5,)}, "above 0 and at most 1"),
        ({"label_fractions": (0.1,), "draws": 0}, "draws=0"),
        ({"fine_tune": {"epochs": 1}}, "hiercl.FineTuneConfig"),
        ({"knn_k": 0}, "knn_k=0"),
        ({"model": "hcsc"}, "nknown encoder 'hcsc'"),
        ({"model": 3}, "an? int has no encoder"),
        ({"test": np.zeros((2, 8, 8, 3))}, "test is a ndarray: give a hiercl HierarchicalDataset"),
        ({"test": pictures(40).take([3])}, "at least two"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(run, arguments, words, monkeypatch, as_a_user):
    monkeypatch.setattr("hiercl.evaluation.frozen.features_of_both", lambda *_: pytest.fail("the long work began"))
    given = {"model": run, "train": pictures(40), "test": pictures(40)} | arguments
    with pytest.raises(ValueError, match=words):
        evaluate(**given)


def test_one_item_of_every_class_says_nothing_of_clusters(run):
    last = evaluate(run, pictures(40), pictures(4)).table().loc["class"]
    assert last[["ami", "nmi", "ari", "map_at_r", "class_alignment"]].isna().all() and last["knn"] >= 0


def test_a_feature_without_a_direction(run):
    """Numbers that need directions do not exist then; the rest does."""
    features = [embed(run, pictures(40, seed=seed)).index_fill(0, torch.tensor([0]), 0.0) for seed in (0, 1)]
    found = evaluate(run, pictures(40), pictures(40, seed=1), features=tuple(features))
    assert math.isnan(found.overall["uniformity"]) and math.isnan(found.table().loc["class", "distance_correlation"])
    assert found.table().loc["class", ["linear", "knn", "map_at_r", "ami"]].notna().all()


class Colours(nn.Module):
    """A stage whose features are the four corners of a picture: what a test puts there is what it embeds."""

    def forward(self, x):
        return torch.cat([x[:, :, 0, 0], x[:, :, 0, -1], x[:, :, -1, 0], x[:, :, -1, -1]], dim=1)[:, :, None, None]


TREE = Hierarchy.from_dict({"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}, level_names=("group", "class"))


def known_embedding(codes: np.ndarray, copies: int, noise: float, seed: int) -> HierarchicalDataset:
    """Pictures whose corners hold the code of their class: ``codes [classes, 12]`` in [0, 1], and some noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(codes)), copies)
    values = np.clip(codes[labels] + noise * rng.standard_normal((len(labels), 12)), 0, 1)
    items = np.zeros((len(labels), 16, 16, 3), dtype=np.uint8)
    for corner, (row, column) in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
        items[:, row, column] = np.round(255 * values[:, 3 * corner : 3 * corner + 3])
    return HierarchicalDataset.from_arrays(items, labels, TREE)


def judged(codes: np.ndarray, noise: float = 0.01, shuffled: bool = False) -> Report:
    encoder = Encoder(nn.Identity(), [Colours()], [12], mean=[0.0] * 3, std=[1.0] * 3)
    train, test = (known_embedding(codes, copies, noise, seed) for copies, seed in ((30, 0), (20, 1)))
    if shuffled:
        rng = np.random.default_rng(2)
        train, test = (
            HierarchicalDataset(data.items, rng.permutation(data.labels), data.hierarchy) for data in (train, test)
        )
    return evaluate(encoder, train, test)


def codes_of(group: float, leaf: float) -> np.ndarray:
    """A code with so much of the group and so much of the class in it."""
    codes = np.zeros((6, 12))
    codes[np.arange(6), np.arange(6) // 3] = group
    codes[np.arange(6), 2 + np.arange(6)] = leaf
    return codes


def test_a_perfect_embedding():
    table = judged(codes_of(group=1.0, leaf=0.5)).table()
    perfect = ["linear", "linear_balanced", "knn", "knn_balanced", "flat", "top_down", "map_at_r", "ami", "nmi", "ari"]
    perfect += ["hierarchical_precision", "hierarchical_recall", "hierarchical_f1"]
    for name in perfect:
        assert table.loc["class", name] == pytest.approx(100), name
    assert table.loc["group", ["linear", "knn", "flat", "top_down", "ami"]].tolist() == pytest.approx([100] * 5)
    last = table.loc["class"]
    assert last["parent_agreement"] == last["dendrogram_purity"] == pytest.approx(100)
    assert math.isnan(last["mistake_height"])  # there are no mistakes
    assert last["cophenetic_correlation"] == pytest.approx(1, abs=1e-2)
    # 20 neighbours, and only 19 others of the class: one in twenty is a sibling
    assert last["hierarchical_distance"] == pytest.approx(1 / 20, abs=1e-6)
    assert last["class_alignment"] < 0.01 and last["variance_between"] > 99
    assert last["distance_correlation"] > 0.85


def test_a_random_embedding():
    table = judged(codes_of(group=1.0, leaf=0.5), shuffled=True).table()
    chance = {"group": 50, "class": 100 / 6}
    for level, value in chance.items():
        for name in ("linear", "knn", "flat", "top_down", "linear_balanced"):
            assert abs(table.loc[level, name] - value) < 16, (level, name)  # 120 items: 3.5 standard errors of a half
        assert abs(table.loc[level, "ami"]) < 6 and abs(table.loc[level, "ari"]) < 6
    last = table.loc["class"]
    assert abs(last["distance_correlation"]) < 0.1 and last["variance_between"] < 15
    # to a random item of 6 classes: 0 with 19/119, 1 with 40/119, 2 with 60/119
    assert last["hierarchical_distance"] == pytest.approx((40 + 2 * 60) / 119, abs=0.1)


def test_an_inverted_embedding():
    """Every class lies beside one of the other group, far from its siblings."""
    codes = np.zeros((6, 12))
    codes[np.arange(6), np.arange(6) % 3] = 1.0  # a0 with b0, a1 with b1, a2 with b2
    codes[np.arange(6), 3 + np.arange(6)] = 0.4
    table = judged(codes).table()
    last = table.loc["class"]
    assert last["linear"] == pytest.approx(100)  # the classes can be told apart ...
    assert last["cophenetic_correlation"] < 0 and last["distance_correlation"] < 0.35
    # ... but the tree is upside down: siblings meet only at the root, where half of the leaves are of their group
    assert last["dendrogram_purity"] == pytest.approx(50)
    assert table.loc["group", "ami"] < 5 and last["hierarchical_distance"] == pytest.approx(2 / 20, abs=1e-6)
    assert last["distance_correlation"] < judged(codes_of(1.0, 0.5)).table().loc["class", "distance_correlation"] - 0.5
