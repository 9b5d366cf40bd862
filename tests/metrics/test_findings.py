"""What metrics share: computed from plain features, once, and only if a metric asks for it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hiercl import metrics
from hiercl.hierarchy import Hierarchy
from hiercl.metrics import LinearProbe
from hiercl.metrics.definitions import OVERALL, PER_LEVEL
from hiercl.metrics.findings import Findings

TREE = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car", "bus"]}, level_names=("kind", "class"))
METRIC = {metric.name: metric for metric in (*PER_LEVEL, *OVERALL)}


@pytest.fixture
def findings():
    """Noisy features of four classes; of "bus" there are few training items."""
    rng = np.random.default_rng(0)
    train, test = np.repeat(np.arange(4), [20, 20, 20, 4]), np.repeat(np.arange(4), 6)
    codes = np.concatenate([np.eye(2)[[0, 0, 1, 1]], np.eye(4)], axis=1)
    bank, queries = (codes[labels] + 0.6 * rng.normal(size=(len(labels), 6)) for labels in (train, test))
    bank, queries = torch.tensor(bank).float(), torch.tensor(queries).float()
    return Findings(bank, train, queries, test, TREE, views=(queries, queries.flip(1)))


def test_every_metric_is_a_number_in_its_unit(findings):
    for metric in PER_LEVEL:
        value = metric.of(findings.at(1))
        assert isinstance(value, float) and math.isfinite(value), metric.name
        assert value == (100 if metric.unit == "%" else 1) * metric.compute(findings.at(1)), metric.name
    for metric in OVERALL:
        assert isinstance(metric.of(findings), float) and math.isfinite(metric.of(findings)), metric.name


def test_metrics_are_the_functions_of_their_findings(findings):
    at, truth = findings.at(1), findings.labels
    probe = LinearProbe.fit(findings.bank, torch.tensor(findings.bank_labels), classes=4)
    predicted = probe.predict(findings.queries).numpy()
    assert METRIC["linear"].of(at) == 100 * np.mean(predicted == truth)
    votes = metrics.knn_predict(findings.bank, torch.tensor(findings.bank_labels), findings.queries).numpy()
    assert METRIC["knn"].of(at) == 100 * np.mean(votes == truth)
    assert METRIC["knn_rare"].of(at) == pytest.approx(
        100 * np.mean([np.mean(votes[truth == c] == c) for c in range(4)])
    )
    assert METRIC["flat"].of(findings.at(0)) == 100 * np.mean(predicted // 2 == truth // 2)
    coarse = findings.at(0).linear
    assert METRIC["parent_agreement"].of(at) == 100 * np.mean(predicted // 2 == coarse)
    assert METRIC["ari"].of(at) == 100 * metrics.cluster_scores(findings.queries, truth).ari
    assert METRIC["alignment"].of(findings) == metrics.alignment(*findings.views)


@pytest.mark.parametrize("sample", [None, 9])
def test_a_mean_over_items_is_the_mean_of_what_every_item_adds(findings, sample):
    """Also in the compact form, of a sample, and of classes of unequal size."""
    labels = np.where(np.arange(24) < 4, 1, findings.labels)
    own = replace(findings, labels=labels, sample=sample)
    compared = [metric.name for metric in PER_LEVEL if metric.items]
    assert {"linear", "knn_balanced", "linear_rare", "mistake_height", "hierarchical_f1", "map_at_r"} < set(compared)
    for level in (0, 1):
        at = own.at(level)
        for name in compared:
            if level or name != "parent_agreement":
                each = METRIC[name].items(at).compact()
                assert each.values.shape == (24,) and each.values.dtype in (bool, np.uint8, np.float32)
                assert METRIC[name].scale * each.mean == pytest.approx(METRIC[name].of(at), rel=1e-6), (name, level)
    assert [name for name in compared if METRIC[name].items(own.at(1)).right_or_wrong] == [
        "linear",
        "knn",
        "flat",
        "top_down",
        "parent_agreement",
    ]


def test_nothing_is_computed_that_no_metric_asks_for(findings, monkeypatch):
    monkeypatch.setattr(LinearProbe, "fit", lambda *_, **__: pytest.fail("a probe was fitted"))
    assert METRIC["map_at_r"].of(findings.at(1)) > 25


def test_a_probe_is_fitted_once_for_each_level(findings, monkeypatch):
    fitted, fit = [], LinearProbe.fit
    monkeypatch.setattr(LinearProbe, "fit", lambda *given, **named: fitted.append(1) or fit(*given, **named))
    for level in (0, 1):
        for metric in PER_LEVEL:
            metric.of(findings.at(level))
    assert len(fitted) == 2


def test_the_coarsest_level_has_no_parents(findings):
    top = findings.at(0)
    assert math.isnan(METRIC["parent_agreement"].of(top)) and math.isnan(METRIC["dendrogram_purity"].of(top))


def test_without_views_there_is_no_alignment(findings):
    alone = Findings(findings.bank, findings.bank_labels, findings.queries, findings.labels, TREE)
    assert math.isnan(METRIC["alignment"].of(alone)) and METRIC["uniformity"].of(alone) < 0
