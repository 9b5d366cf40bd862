"""Items without a label (−1) among labelled ones: supervised terms see the labelled ones only."""

import dataclasses
import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from support.data import METHODS, SMALL, clouds, pictures
from support.planted import BATCH, DIM, HIERARCHIES, batch_of, long_tailed, planted, random_batch, with_gradient
from support.runs import same
from support.threads import in_threads

from hiercl import descriptors, plot
from hiercl.datasets import Feed, embed_with, folder, table
from hiercl.evaluation.few_labels import draw_labelled
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Supervision
from hiercl.metrics import LinearProbe, class_alignment, knn_predict, map_at_r, score_clusters
from hiercl.metrics.dendrograms import class_linkage
from hiercl.pairs.audit import audit
from hiercl.training.history import monitor
from hiercl.training.loop import fit

TWO = HIERARCHIES["two levels"]
VARIANTS = [
    ("supcon", {}),
    ("hmc", {"thinning": True}),
    ("hce", {"maximum": "pair"}),
    ("hce", {"maximum": "centred", "thinning": True}),
    ("hmce", {"maximum": "centred", "scale": "official"}),
]


def mixed(labels, share=0.4, seed=0) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(len(labels)) < share, -1, labels)


def half_labelled(n=48):
    data = pictures(n)
    return dataclasses.replace(data, labels=np.where(np.arange(n) % 3 == 0, -1, data.labels))


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_the_loss_is_that_of_the_labelled_items_alone(name, settings):
    labels = mixed(long_tailed(TWO))
    method, batch = planted(name, TWO, labels, **settings), random_batch()
    known = torch.tensor(labels)[batch.items[:, 0]] >= 0
    assert 2 < known.sum() < BATCH
    loss, gradient = with_gradient(method, batch)
    alone = batch_of(batch.items[known, 0], torch.stack(batch.views)[:, known])
    expected, of_alone = with_gradient(method, alone)
    assert loss == pytest.approx(expected, abs=1e-6) and loss > 0
    assert torch.allclose(gradient[:, known], of_alone, atol=1e-6)
    assert not gradient[:, ~known].any()


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_a_batch_without_labels_has_the_loss_and_the_gradient_zero(name, settings):
    method = planted(name, TWO, np.where(np.arange(40) < 30, -1, long_tailed(TWO)), **settings)
    loss, gradient = with_gradient(method, batch_of(torch.arange(BATCH), torch.randn(2, BATCH, DIM)))
    assert loss == 0 and not gradient.any()


@pytest.mark.parametrize("name, settings", VARIANTS)
def test_several_processes_do_what_one_does(name, settings, as_a_user):
    """Also where one of them has no labelled item."""
    labels = np.where(np.arange(40) < 20, -1, long_tailed(TWO))
    method = planted(name, TWO, labels, **settings)
    items = torch.tensor([0, 1, 2, 3, 30, 31, 4, 36])
    batch = batch_of(items, torch.randn(2, 8, DIM, generator=torch.Generator().manual_seed(1)))
    loss, gradient = with_gradient(method, batch)
    other, of_other, _ = in_threads(method, batch)
    assert loss == pytest.approx(other, abs=1e-5) and loss > 0
    assert torch.allclose(gradient, of_other, atol=1e-5)


def test_unlabelled_items_are_left_alone_not_removed():
    labels = mixed(long_tailed(TWO))
    step = planted("hmc", TWO, labels)(random_batch())
    missing = torch.tensor(labels)[step.terms[0].pairs.anchors.item] < 0
    for term in step.terms:
        pairs = term.pairs
        role = (pairs.positive > 0) | pairs.negative | pairs.removed
        assert missing.any() and not role[missing].any() and not role[:, missing].any()
        assert not pairs.removed.any() and role[~missing][:, ~missing].sum() == (~missing).sum() * (
            (~missing).sum() - 1
        )
    counts = audit(step.terms[0].pairs, labels, TWO)
    assert counts["precision"].tolist() == [1.0, counts["precision"][1]]


def test_the_audit_counts_pairs_of_labelled_items_only():
    labels = long_tailed(TWO)
    pairs = planted("simclr", None)(random_batch()).terms[0].pairs
    gone = mixed(labels)
    known = gone[pairs.anchors.item.numpy()] >= 0
    same_class = TWO.labels_at(labels, 0)[pairs.anchors.item.numpy()]
    pushed = pairs.negative.numpy() & known[:, None] & known
    table = audit(pairs, gone, TWO)
    assert table["pushed"].tolist() == [pushed.sum()] * 2
    false = (pushed & (same_class[:, None] == same_class)).sum() / pushed.sum()
    assert table["false_negative_rate"][0] == pytest.approx(false)


def test_descriptors_see_labelled_items_only():
    v, labels = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), mixed(long_tailed(TWO))
    nodes = Supervision(TWO, torch.tensor(labels)).ancestors
    known = labels >= 0
    for of in (descriptors.fisher_ratios, descriptors.describe):
        assert torch.equal(of(v, nodes), of(v[known], nodes[known]))
    with pytest.raises(ValueError, match="none of the 40 items has a label"):
        descriptors.fisher_ratios(v, torch.full_like(nodes, -1))


def test_neighbours_by_labels_of_an_unlabelled_item_are_itself():
    run = fit("csml", half_labelled(), **SMALL | {"epochs": 1}, queue=40, neighbours=3, neighbour_source="labels")
    labels, neighbours = half_labelled().labels, run.method.neighbours.numpy()
    assert (labels[neighbours] == labels[:, None]).all()
    unlabelled = labels < 0
    assert (neighbours[unlabelled] == np.flatnonzero(unlabelled)[:, None]).all()
    assert (neighbours[~unlabelled] != np.flatnonzero(~unlabelled)[:, None]).all()
    assert math.isfinite(run.history["loss"].iloc[-1])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_on_mixed_data(name):
    """A label-free method does not even notice; kNN accuracies are those of the labelled items."""
    data, settings = half_labelled(), {**SMALL, **METHODS[name], "epochs": 1, "monitor_every": 1, "batch": 24}
    run = fit(name, data, **settings)
    history = run.history.iloc[-1]
    assert math.isfinite(history["loss"]) and math.isfinite(history["knn group"])
    if name in ("simclr", "moco", "hcsc", "csml"):
        assert same(run, fit(name, dataclasses.replace(data, labels=pictures(48).labels), **settings))
    assert len(run.audit(data, batches=1, batch=24))


def test_monitoring_is_that_of_the_labelled_part():
    data = half_labelled()
    whole = fit("simclr", data, **SMALL | {"epochs": 0})
    of_all, of_part = (
        monitor(part, whole.method, partial(embed_with, feed=Feed(part, "cpu")), seed=0)()
        for part in (data, data.labelled_part)
    )
    assert of_all == pytest.approx(of_part)


@pytest.mark.parametrize("name", ["supcon", "g_hmlc"])
def test_without_any_label_there_is_nothing_to_learn_from(name):
    data = pictures(32)
    with pytest.raises(ValueError, match="stripes has none: give labelled data"):
        fit(name, dataclasses.replace(data, labels=np.full(32, -1)), **SMALL)


def test_labels_that_are_drawn():
    labels = np.array([0, -1, 0, 1, -1, 1, 1, 1])
    assert (labels[draw_labelled(labels, 0.5)] >= 0).all() and len(draw_labelled(labels, 1.0)) == 5
    with pytest.raises(ValueError, match="none of the 2 items has a label"):
        draw_labelled(np.array([-1, -1]), 0.5)


@pytest.mark.parametrize(
    "judge",
    [
        lambda z, labels: class_alignment(z, labels),
        lambda z, labels: score_clusters(labels, labels),
        lambda z, labels: knn_predict(z, torch.as_tensor(labels), z),
        lambda z, labels: LinearProbe.fit(z, torch.as_tensor(labels)),
        lambda z, labels: map_at_r(torch.tensor([[1], [0], [0]]), labels),
        lambda z, labels: class_linkage(z, labels, TWO, 1),
    ],
)
def test_metrics_take_no_label_for_a_class(judge):
    with pytest.raises(ValueError, match=r"1 of 3 items have no label \(−1\): leave them out"):
        judge(torch.eye(3), np.array([0, 1, -1]))


def test_plots_name_what_has_no_label():
    figures = [plot.gallery(half_labelled(), level=0, per_node=2)]
    boxes = clouds(8)
    figures.append(plot.cloud(dataclasses.replace(boxes, labels=np.full(8, -1)), item=3))
    for figure in figures:
        texts = [text.get_text() for axis in figure.axes for text in axis.texts] + [a.get_title() for a in figure.axes]
        assert any("no label" in text for text in [*texts, *(text.get_text() for text in figure.texts)])
        plt.close(figure)


# -- parts of a mixed data set ----------------------------------------------------------------------------------


def test_parts_of_a_mixed_data_set():
    data = half_labelled(48)
    missing = ~data.has_label
    assert missing.sum() == 16 and data.counts().tolist() == [8, 8, 8, 8] and "16 without a label" in repr(data)
    assert len(part := data.labelled_part) == 32 and part.labelled_part is part
    assert data.labels_at(0)[missing].tolist() == [-1] * 16
    assert data.under("b").hierarchy.leaf_names == ("b0", "b1") and len(data.under("b")) == 16
    assert len(data.per_class(3)) == 12 and data.per_class(3).has_label.all()
    rest, part = data.split(0.25)
    assert (~part.has_label).sum() == 4 and part.counts().tolist() == [2, 2, 2, 2] and len(rest) == 36
    tail = data.long_tail(4)
    assert (~tail.has_label).sum() == 16 and sorted(tail.counts().tolist()) == [2, 3, 5, 8]


def test_parts_of_labelled_data_are_as_ever():
    """The draws of data without −1, by numbers of the version before."""
    data = pictures(96)
    index = lambda part: [int(np.flatnonzero((data.items == item).all(axis=(1, 2, 3)))[0]) for item in part.items]  # noqa: E731
    assert index(data.per_class(2, seed=3)) == [23, 27, 28, 34, 44, 49, 77, 94]
    assert index(data.split(0.1, seed=3)[1]) == [23, 27, 28, 34, 44, 49, 77, 94]
    assert index(data.long_tail(24, level=0, seed=3))[:12] == [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23]


def test_label_columns_with_items_without_labels():
    data = pictures(4)
    columns = data.hierarchy.labels_at_all(np.array([0, -1, 2, 3]))
    made = type(data).from_arrays(data.items, columns, data.hierarchy)
    assert made.labels.tolist() == [0, -1, 2, 3]
    columns[1, 0] = 1
    with pytest.raises(ValueError, match=r"item 1 has no leaf, but its labels are \[1, -1\]"):
        type(data).from_arrays(data.items, columns, data.hierarchy)


def test_one_class_of_all_is_no_labelled_data():
    data = pictures(4)
    one = dataclasses.replace(data, labels=np.array([0, -1, 0, -1]), hierarchy=Hierarchy.from_dict(["all"]))
    assert not one.labelled and data.labelled


# -- where mixed data come from ---------------------------------------------------------------------------------


def test_an_empty_label_cell_and_a_folder_of_unlabelled_pictures(tmp_path):
    for name in ("animal/cat/1.png", "animal/dog/2.png", "unlabelled/3.png", "unlabelled/more/4.png"):
        (tmp_path / "lab" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures(4).items[0]).save(tmp_path / "lab" / name)
    data = folder(tmp_path / "lab", store=False)
    assert data.hierarchy.leaf_names == ("cat", "dog") and data.labels.tolist() == [0, 1, -1, -1]
    rows = ["path,kind,class", "animal/cat/1.png,animal,cat", "animal/dog/2.png,animal,dog", "unlabelled/3.png,,"]
    (tmp_path / "lab/list.csv").write_text("\n".join(rows))
    data = table(tmp_path / "lab/list.csv", store=False)
    assert data.hierarchy.level_names == ("kind", "class") and data.labels.tolist() == [0, 1, -1]
    (tmp_path / "lab/list.csv").write_text("\n".join([*rows, "unlabelled/more/4.png,animal,"]))
    with pytest.raises(ValueError, match=r"row 5 of .* has no 'class', but row 3 has one for the same 'kind'"):
        table(tmp_path / "lab/list.csv", store=False)


def test_a_store_keeps_items_without_labels(tmp_path):
    data = half_labelled(12)
    data.save(tmp_path / "mixed")
    assert np.array_equal(type(data).load(tmp_path / "mixed").labels, data.labels)


def test_names_of_vectors_without_labels():
    data = type(pictures(4)).from_features(np.eye(3, 4), [["a", "x"], ["", ""], ["b", "y"]])
    assert data.labels.tolist() == [0, -1, 1]
    again = type(data).from_features(np.eye(2, 4), [["", ""], ["b", "y"]], data.hierarchy)
    assert again.labels.tolist() == [-1, 1]
