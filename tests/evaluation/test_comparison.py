"""report.compare: two models on the same test items, at every level."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation.frozen import evaluate
from hiercl.evaluation.report import Report
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.definitions import OVERALL, PER_LEVEL

TREE = Hierarchy.from_dict({"<b>a": ["a0", "a1"], "b": ["b0", "b1"]}, level_names=("kind & more", "class"))
TRAIN, TEST = np.arange(80) % 4, np.arange(60) % 4


def features(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of both parts with so much noise on the classes."""
    rng, codes = np.random.default_rng(seed), np.concatenate([np.eye(2)[[0, 0, 1, 1]], np.eye(4)], axis=1)
    train, test = (codes[labels] + noise * rng.standard_normal((len(labels), 6)) for labels in (TRAIN, TEST))
    return train, test


def judged(noise: float = 0.5, seed: int = 0, **settings) -> Report:
    return evaluate(features=features(noise, seed), labels=(TRAIN, TEST), hierarchy=TREE, **settings)


@pytest.fixture(scope="module")
def reports() -> tuple[Report, Report]:
    return judged(0.9, seed=1), judged(0.5, seed=2)


def test_every_level_and_every_mean_over_items(reports):
    first, second = reports
    comparison = first.compare(second)
    table, missing = comparison.table(), comparison.missing
    every = [(level, metric.name) for level in TREE.level_names for metric in PER_LEVEL if metric.items]
    tables = [report.table() for report in reports]
    assert missing == tuple(key for key in every if any(np.isnan(own.loc[key]) for own in tables))
    assert ("kind & more", "parent_agreement") in missing and len(missing) < 4
    assert table.index.tolist() == [key for key in every if key not in missing]
    for level, row in enumerate(TREE.level_names):
        for name in ("linear", "knn", "flat", "top_down"):
            mine, others = (report.items[level][name].values for report in reports)
            found = table.loc[(row, name)]
            assert found["this"] == pytest.approx(100 * mine.mean()) and found["other"] == pytest.approx(
                100 * others.mean()
            )
            assert found["difference"] == pytest.approx(found["other"] - found["this"])
            only = (mine & ~others).sum(), (others & ~mine).sum()
            assert (found["only_this"], found["only_other"]) == only and found["test"] == "McNemar"
            assert found["p"] == pytest.approx(binomtest(int(only[0]), int(sum(only))).pvalue)
    rest = table[table["test"] == "bootstrap"]
    assert np.allclose(rest["difference"], rest["other"] - rest["this"], atol=1e-4) and rest["only_this"].isna().all()
    assert ((table["low"] <= table["difference"] + 1e-9) & (table["difference"] <= table["high"] + 1e-9)).all()
    # half the noise: better, and in a distance lower numbers are better
    assert set(table.loc["class"].loc[["linear", "knn", "map_at_r", "hierarchical_distance"], "verdict"]) == {"better"}
    assert table.loc[("class", "hierarchical_distance"), "difference"] < 0


def test_the_other_way_round_is_mirrored(reports):
    there, back = reports[0].compare(reports[1]).table(), reports[1].compare(reports[0]).table()
    assert np.allclose(there["difference"], -back["difference"]) and np.allclose(there["low"], -back["high"])
    assert np.allclose(there["p"], back["p"]) and "worse" in set(back["verdict"])
    assert set(reports[0].compare(reports[0]).table()["verdict"]) == {"the same"}


def test_what_is_printed(reports):
    comparison = reports[0].compare(reports[1], resamples=200)
    text, page = str(comparison), comparison._repr_html_()
    for said in (
        "60 test items",
        "linear (%)",
        "only other",
        "200 resamples",
        "by chance",
        "two trained models",
        "other is",
    ):
        assert said in text and said in page
    assert "At the level kind & more" in text and "kind &amp; more" in page and "kind & more" not in page
    assert set(comparison.left_out) == {m.name for m in (*PER_LEVEL, *OVERALL) if m.items is None}
    assert "ami" in text.split("Not compared")[1] and "parent_agreement of kind & more" in text.split("Not compared")[2]
    row = comparison.table().loc[("class", "linear")]
    assert f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]".replace("-", "−") in text


def test_single_items_go_around(reports, tmp_path):
    first, second = reports
    second.save(tmp_path)
    loaded = Report.load(tmp_path)
    assert first.compare(loaded).table().equals(first.compare(second).table())
    assert loaded.items[1]["linear"].values.dtype == bool and (tmp_path / "items.npz").stat().st_size < 30_000
    assert Report.load(tmp_path, items=False).items is None
    Report.load(tmp_path, items=False).save(tmp_path)
    assert not (tmp_path / "items.npz").exists(), "those of an earlier report would not fit"
    with pytest.raises(ValueError, match=r"the other report has no results of single items.*evaluate again"):
        first.compare(Report.load(tmp_path))
    first.save(tmp_path / "first")
    second.save(tmp_path)
    file = tmp_path / "items.npz"
    whole = file.read_bytes()
    for content, words in (
        ((tmp_path / "first" / "items.npz").read_bytes(), r"items.npz is empty, cut or altered \(linear is"),
        (whole[:200], "items.npz is empty, cut or altered"),
        (b"", "items.npz is empty, cut or altered"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            Report.load(tmp_path)


def test_only_what_can_be_compared_is(reports, as_a_user):
    report = reports[0]
    data = [
        HierarchicalDataset.from_features(part, labels, TREE)
        for part, labels in zip(features(0.5), (TRAIN, TEST), strict=True)
    ]
    other_items = HierarchicalDataset.from_features(features(0.5, seed=3)[1], TEST, TREE)
    own = evaluate(None, *data)
    assert own.compare(report).table().equals(judged(0.5).compare(report).table()), (
        "features of the same items, or so one says"
    )
    for other, words in (
        ("a report", "other is a str: give a hiercl Report"),
        (judged(knn_k=3), "the protocols differ: knn_k is 20 here and 3 there"),
        (
            evaluate(features=features(0.5), labels=(TRAIN, TEST), hierarchy=TREE, seed=1),
            "the protocols differ: seed is 0 here and 1 there",
        ),
        (judged(sample=10), "the protocols differ: sample is None here and 10 there"),
        (
            evaluate(features=features(0.5), labels=(TRAIN, TEST)),
            r"the levels are kind & more \(2 classes\), class \(4 classes\) here and",
        ),
        (
            evaluate(features=features(0.5), labels=(TRAIN, np.roll(TEST, 1)), hierarchy=TREE),
            r"the test items differ \(60 of test here, 60 of test there\): .* same order",
        ),
        (
            evaluate(features=[part[:40] for part in features(0.5)], labels=(TRAIN[:40], TEST[:40]), hierarchy=TREE),
            "the test items differ",
        ),
        (
            evaluate(features=(features(0.5)[0][:40], features(0.5)[1]), labels=(TRAIN[:40], TEST), hierarchy=TREE),
            "the labelled items that the probe and the neighbours learn from differ",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            report.compare(other)
    with pytest.raises(ValueError, match="the test items differ"):
        own.compare(evaluate(None, data[0], other_items))  # the same labels, other items
    with pytest.raises(ValueError, match="resamples=5"):
        report.compare(report, resamples=5)


def test_a_report_without_levels(reports):
    one = np.zeros(60, dtype=np.int64)
    tree = Hierarchy.from_dict(["thing"])
    unlabelled = HierarchicalDataset.from_features(features(0.5)[1], one, tree)
    report = evaluate(None, unlabelled, unlabelled)
    assert report.rows == () and json.dumps(report.protocol["fingerprints"])
    with pytest.raises(ValueError, match="the other report has no levels"):
        reports[0].compare(report)
