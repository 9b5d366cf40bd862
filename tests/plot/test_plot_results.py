"""Confusion, dendrogram, neighbours and curves: the numbers that they draw and state, and nothing overlaps."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from support.data import pictures
from support.figures import HIERARCHY, histories, little, overlapping, texts

import hiercl
from hiercl import metrics
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.metrics.dendrograms import class_linkage
from hiercl.metrics.probes import knn_predict
from hiercl.plot import _dendrogram
from hiercl.plot._canvas import shortened
from hiercl.plot._confusion import COLOURS, confusion
from hiercl.plot._curves import curves
from hiercl.plot._dendrogram import crossings, dendrogram, untangled
from hiercl.plot._neighbours import NOTHING, SAME, SHARED, neighbours


def clustered(dataset, seed=1):
    """Features in which the classes are clusters, near one another when they are of one kind."""
    rng = np.random.default_rng(seed)
    kind, leaf = rng.normal(size=(2, dataset.hierarchy.sizes[0], 16)) * 3, rng.normal(size=(100, 16))
    z = kind[0][dataset.labels_at(0)] + leaf[dataset.labels] + 0.1 * rng.normal(size=(len(dataset), 16))
    return torch.as_tensor(z, dtype=torch.float32)


@pytest.fixture(scope="module")
def dataset():
    return little(np.repeat(np.arange(6), 5))


def title(figure):
    return texts(figure)[0] if figure.get_suptitle() == "" else figure.get_suptitle()


def frames(figure, axis=0):
    return [patch for patch in figure.axes[axis].patches if isinstance(patch, Rectangle)]


# ---- confusion ----


def test_every_cell_has_its_share_and_the_colour_of_its_kind():
    truth, predicted = np.array([0, 0, 0, 0, 1, 2, 4]), np.array([0, 0, 1, 4, 0, 3, 4])
    figure = confusion(predicted, little(truth))
    right, inside, outside = (image.get_array() for image in figure.axes[1].images)
    assert (right[0, 0], inside[0, 1], outside[0, 4]) == (50, 25, 25)
    assert (inside[1, 0], inside[2, 3], right[4, 4]) == (100, 100, 100)
    assert not ((~right.mask).astype(int) + ~inside.mask + ~outside.mask > 1).any()  # no cell is of two kinds
    assert [tuple(i.cmap(1.0)[:3]) for i in figure.axes[1].images] == [
        to_rgb(COLOURS[c]) for c in ("green", "blue", "orange")
    ]
    assert {"50", "25", "100"} <= set(texts(figure))
    # Four mistakes, three to the sibling; a random one has a sibling among five wrong classes.
    assert "75 % of the mistakes stay inside the “group” (by chance 20 %)" in title(figure)
    assert "right: 42.9 % of the items" in texts(figure) and not overlapping(figure)


def test_share_of_random_mistakes_is_that_of_drawing_wrong_classes():
    truth = np.array([0, 1, 2, 4, 5, 5])
    predicted = (truth + 1) % 6
    drawn = [
        HIERARCHY.ancestors[wrong, 0] == HIERARCHY.ancestors[true, 0]
        for true in truth
        for wrong in range(6)
        if wrong != true
    ]
    assert f"(by chance {100 * np.mean(drawn):.0f} %)" in title(confusion(predicted, little(truth), within=0))


def test_classes_of_one_parent_stand_together_in_a_frame():
    tree = Hierarchy.from_ancestors(np.array([[0, 0], [1, 1], [0, 2], [1, 3], [0, 4]]), [["x", "y"], list("abcde")])
    figure = confusion(np.array([2, 1, 2, 3, 4]), little(np.arange(5), tree))
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == ["a", "c", "e", "b", "d"]
    assert [frame.get_bbox().bounds for frame in frames(figure, 1)] == [(-0.5, -0.5, 3, 3), (2.5, 2.5, 2, 2)]
    assert {"x", "y"} <= set(texts(figure)) and figure.axes[1].images[1].get_array()[0, 1] == 100


def test_coarsest_level_has_no_frames(dataset):
    figure = confusion(1 - dataset.labels_at(0), dataset, level=0)
    assert not frames(figure, 1) and "0.0 % right at the level “kind”" in title(figure)
    assert len(figure.axes[1].images) == 2 and not overlapping(figure)


def test_no_mistake_and_no_items_are_said():
    figure = confusion(torch.tensor([0, 1]), little([0, 1], note="partial"), title="probe")
    assert title(figure) == "probe: no mistake"
    said = texts(figure)[1].replace("\n", " ")
    assert "2 items of little (partial)" in said and "Grey rows: 4 classes without items" in said


@pytest.mark.parametrize("level, named", [(0, 20), (1, 20)])
def test_of_a_hundred_classes_the_superclasses_are_named(cifar, level, named):
    predicted = np.random.default_rng(0).permutation(cifar.labels_at(level))
    figure = confusion(predicted, cifar, level=level)
    assert len(figure.axes[1].get_yticklabels()) == named and not overlapping(figure)
    assert len(frames(figure, 1)) == 20 * level


def test_names_of_small_blocks_give_way():
    tree = Hierarchy.from_dict({f"superclass {i}": [f"{i}.{j}" for j in range(30 if i < 2 else 1)] for i in range(20)})
    figure = confusion(np.random.default_rng(0).permutation(78), little(np.arange(78), tree))
    names = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert names[:2] == ["superclass 0", "superclass 1"] and 2 < len(names) < 20 and not overlapping(figure)


def test_a_run_predicts_by_its_neighbours():
    train, test = pictures(32), pictures(16, seed=1)
    model = hiercl.pretrained("hcsc")
    figure = confusion(model, test, train=train, k=3)
    nodes = knn_predict(hiercl.embed(model, train), torch.as_tensor(train.labels), hiercl.embed(model, test), k=3)
    right = 100 * float((nodes.numpy() == test.labels).mean())
    assert f"right: {right:.1f} % of the items" in texts(figure) and title(figure).startswith("hcsc: ")
    assert "kNN on backbone features (k = 3, T = 0.07), 32 labelled items" in texts(figure)[1].replace("\n", " ")


@pytest.mark.parametrize(
    "wrong, options, message",
    [
        (np.zeros(3, int), {}, "one class for each of the 30 items"),
        (np.zeros(30), {}, "integers"),
        (np.full(30, 6), {}, "6 is no node at level 2"),
        (np.zeros(30, int), {"level": 3}, "no level 3"),
        (np.zeros(30, int), {"level": 1, "within": 1}, "coarser level"),
        (np.zeros(30, int), {"train": little([0])}, "train is for a run"),
        (SimpleNamespace(encoder=None), {}, "train=train"),
    ],
)
def test_predictions_that_do_not_fit_are_an_error(dataset, wrong, options, message):
    with pytest.raises(ValueError, match=message):
        confusion(wrong, dataset, **options)


# ---- dendrogram ----


def test_a_line_has_the_metrics_and_chance(dataset):
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(3))
    figure = dendrogram(features, dataset)
    purity = metrics.dendrogram_purity(features, dataset.labels, HIERARCHY, 2, 1)
    cophenetic = metrics.cophenetic_correlation(features, dataset.labels, HIERARCHY, 2)
    said = " ".join(" ".join(texts(figure)).split())
    assert f"purity {purity:.2f} (chance " in said and f"cophenetic correlation {cophenetic:.2f} (chance 0)" in said
    linkage, _ = class_linkage(features, dataset.labels, HIERARCHY, 2)
    dealt = {tuple(p) for p in product(range(3), repeat=6) if all(p.count(i) == 2 for i in range(3))}
    expected = np.mean([metrics.dendrograms.purity_of(linkage, np.array(groups)) for groups in dealt])
    assert float(said.split("(chance ")[1].split(")")[0]) == pytest.approx(expected, abs=0.06)
    assert not overlapping(figure)


def test_a_dendrogram_that_is_right_crosses_nowhere(dataset):
    one_of = [np.eye(size)[dataset.labels_at(level)] for level, size in enumerate(HIERARCHY.sizes)]
    figure = dendrogram(np.hstack([4 * one_of[0], 2 * one_of[1], one_of[2]])[:, ::-1].copy(), dataset)
    assert any("purity 1.00" in text for text in texts(figure))
    lines = [line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == "o"]
    ends = np.array(sorted(lines, key=lambda y: y[0]))
    assert len(ends) == 6 and (np.diff(ends[:, 1]) > 0).all()


def test_every_merge_is_turned_to_the_side_that_crosses_less():
    rng = np.random.default_rng(0)
    features = torch.as_tensor(rng.normal(size=(6, 4)), dtype=torch.float32)
    linkage, _ = class_linkage(features, np.arange(6), HIERARCHY, 2)
    true = rng.permutation(6)
    every = []
    for turned in product([False, True], repeat=5):
        below = [[leaf] for leaf in range(6)]
        for (left, right), other in zip(linkage[:, :2].astype(int), turned, strict=True):
            below.append(below[right] + below[left] if other else below[left] + below[right])
        every.append(crossings(np.array(below[-1]), true))
    assert crossings(_dendrogram._turned(linkage, np.argsort(true)), true) == min(every)


def test_untangled_orders_are_orders_of_both_trees(cifar):
    features = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    tree = cifar.hierarchy
    linkage, _ = class_linkage(features, cifar.labels, tree, 1)
    learned, true = untangled(linkage, tree.ancestors)
    assert crossings(learned, true) < crossings(_dendrogram._turned(linkage, np.arange(100)), np.arange(100))
    assert (np.diff(tree.ancestors[true, 0]) != 0).sum() == 19  # siblings stand together
    below = [{leaf} for leaf in range(100)]
    for left, right in linkage[:, :2].astype(int):
        below.append(below[left] | below[right])
        assert np.ptp(np.argsort(learned)[list(below[-1])]) == len(below[-1]) - 1  # a branch stands together


def test_crossings_are_pairs_in_another_order():
    rng = np.random.default_rng(0)
    first, second = rng.permutation(9).tolist(), rng.permutation(9).tolist()
    slow = sum(
        (first.index(a) < first.index(b)) != (second.index(a) < second.index(b)) for a in range(9) for b in range(a)
    )
    assert crossings(np.array(first), np.array(second)) == slow


@pytest.mark.parametrize("level", [0, 1])
def test_a_hundred_classes_are_legible(cifar, level):
    figure = dendrogram(torch.randn(200, 8, generator=torch.Generator().manual_seed(0)), cifar, level)
    assert not overlapping(figure) and figure.get_size_inches()[1] < 16
    assert texts(figure).count("apple") == 2 * level and "large carnivores" in texts(figure)


def test_classes_without_items_are_left_out():
    figure = dendrogram(torch.eye(4), little([0, 2, 4, 4]), title="mine")
    assert "3 classes without items are left out" in texts(figure)[1].replace("\n", " ")
    assert "tiger" not in texts(figure) and title(figure) == "mine"


def test_classes_that_make_no_dendrogram_are_an_error(dataset):
    with pytest.raises(ValueError, match="1 classes of the level 'class'"):
        dendrogram(torch.eye(2), little([3, 3]))
    many = little(np.arange(201), Hierarchy.from_dict([str(i) for i in range(201)]))
    with pytest.raises(ValueError, match="from 2 to 200"):
        dendrogram(torch.eye(201), many)
    with pytest.raises(ValueError, match=r"features must be \[30, d\]"):
        dendrogram(torch.eye(29), dataset)
    with pytest.raises(ValueError, match="nknown encoder 'hcsc'"):
        dendrogram("hcsc", dataset)


# ---- neighbours ----


def test_a_row_has_the_most_similar_first_framed_by_what_they_share(dataset):
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    figure = neighbours(features, dataset, items=[7], count=29)
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    order = sorted(set(range(30)) - {7}, key=lambda j: -unit[7] @ unit[j])
    shown = [image.get_array() for image in figure.axes[0].images]
    assert len(shown) == 30 and all(
        np.array_equal(a, dataset.items[b]) for a, b in zip(shown, [7, *order], strict=True)
    )
    drawn = [(frame.get_edgecolor()[:3], frame.get_linestyle()) for frame in frames(figure)[-29:]]
    for other, (colour, line) in zip(order, drawn, strict=True):
        common = int(HIERARCHY.lca_level(dataset.labels[7], dataset.labels[other]))
        assert line == {2: "-", 1: "--", 0: "--", -1: ":"}[common]
        if common in (2, -1):
            assert colour == to_rgb({2: SAME, -1: NOTHING}[common])
    assert f"{unit[7] @ unit[order[0]]:.2f}" in texts(figure) and not overlapping(figure)
    assert not overlapping(neighbours(features, dataset, items=[7], count=2))


def test_embeddings_side_by_side_search_one_bank(dataset):
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    other = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    figure = neighbours({"first": features, "second": other}, dataset, items=[7, 3], count=3)
    shown = [image.get_array() for image in figure.axes[0].images]
    assert len(shown) == 2 * 2 * 4 and not overlapping(figure)
    for z, start in ((features, 0), (other, 8)):
        unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
        nearest = sorted(set(range(30)) - {7}, key=lambda j: -unit[7] @ unit[j])[:3]
        assert all(np.array_equal(shown[start + k], dataset.items[i]) for k, i in enumerate([7, *nearest]))
    written = " ".join(" ".join(texts(figure)).split())
    assert f"Bank: 30 labelled items of {dataset.name}" in written and "of one bank for all" in written
    assert "first " in written and "second " in written
    with pytest.raises(ValueError, match="there is no embedding"):
        neighbours({}, dataset)


def test_shares_and_chance_of_what_neighbours_have_in_common(dataset):
    features = clustered(dataset)
    figure = neighbours(features, dataset, items=[0], count=4, level=1)
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    found, pairs = [], []
    for i in range(30):
        others = [j for j in range(30) if j != i]
        nearest = sorted(others, key=lambda j: -unit[i] @ unit[j])[:4]
        for chosen, into in ((nearest, found), (others, pairs)):
            into += [min(int(HIERARCHY.lca_level(dataset.labels[i], dataset.labels[j])), 1) for j in chosen]
    for common, text in ((1, "same “group”"), (0, "only the “kind” in common"), (-1, "nothing in common")):
        share, chance = (100 * np.mean(np.array(values) == common) for values in (found, pairs))
        assert f"{text}: {share:.0f} % ({chance:.0f} %)" in texts(figure)
    assert to_rgb(SHARED) == pytest.approx(frames(figure)[1].get_edgecolor()[:3])


def test_a_copy_is_a_neighbour_and_the_item_itself_is_not():
    features = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    figure = neighbours(features, little([0, 1, 2]), items=[0, 1], count=1)
    shown = [image.get_array() for image in figure.axes[0].images]
    expected = little([0, 1, 2]).items[[0, 1, 1, 0]]
    assert all(np.array_equal(a, b) for a, b in zip(shown, expected, strict=True))


def test_random_items_are_of_different_coarsest_classes(cifar):
    features = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    figure = neighbours(features, cifar, count=3, seed=4)
    items = [int(text.removeprefix("item ")) for text in texts(figure) if text.startswith("item ")]
    assert len(items) == 6 and len(set(cifar.labels_at(0)[items])) == 6 and not overlapping(figure)
    assert texts(neighbours(features, cifar, count=3, seed=4)) == texts(figure)


def test_neighbours_of_point_clouds_and_of_a_run():
    clouds = hiercl.HierarchicalDataset(
        np.random.default_rng(0).normal(size=(6, 20, 3)).astype(np.float32), np.arange(6), HIERARCHY
    )
    assert len(neighbours(torch.eye(6) + 0.1, clouds, count=2).axes[0].images) == 6 * 3
    figure = neighbours(hiercl.pretrained("hmc"), pictures(12), items=[1], count=2)
    assert title(figure).startswith("hmc: ") and "backbone features" in texts(figure)[1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"items": [30]}, "no item 30"),
        ({"items": []}, "no item to show"),
        ({"items": np.array([True, False])}, "as integers"),
        ({"count": 30}, "from 1 to 29"),
        ({"count": 0}, "from 1 to 29"),
        ({"level": 3}, "no level 3"),
    ],
)
def test_neighbours_that_do_not_exist_are_an_error(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        neighbours(torch.ones(30, 2), dataset, **options)


def test_features_without_a_direction_are_an_error(dataset):
    with pytest.raises(ValueError, match="length zero"):
        neighbours(torch.zeros(30, 2), dataset)


def test_long_names_are_cut_to_their_room():
    assert shortened("cat", 1) == "cat"
    assert shortened("large man-made outdoor things", 0.6).endswith("…")


# ---- curves ----


def test_lines_are_means_over_seeds_and_bands_their_spread():
    table = histories()
    figure = curves(table, "loss", band="deviation")
    own = table[table["variant"] == "A"].pivot(index="epoch", columns="seed", values="loss").to_numpy()
    line = figure.axes[0].lines[1]
    assert line.get_xdata().tolist() == [1, 2, 3, 4] and np.allclose(line.get_ydata(), own.mean(axis=1))
    corners = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    edges = own.mean(axis=1) + np.array([[-1], [1]]) * own.std(axis=1, ddof=1)
    assert all(np.isclose(corners, value).any() for value in edges.ravel())
    assert title(figure) == "Learning curves: mean over 3 seeds, band: ± one standard deviation"
    corners = curves(table, "loss").axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert all(np.isclose(corners, value).any() for value in np.r_[own.min(axis=1), own.max(axis=1)])


def test_a_line_is_dotted_where_seeds_are_missing():
    table = histories()
    dotted, solid = curves(table, "loss").axes[0].lines[2:]
    assert dotted.get_linestyle() == ":" and np.isfinite(dotted.get_ydata()).tolist() == [False, True, True, True]
    assert np.isclose(dotted.get_ydata()[3], table.query("variant == 'B' and epoch == 3")["loss"].mean())
    assert np.isfinite(solid.get_ydata()).tolist() == [True, True, False, False]


def test_panels_are_loss_and_neighbours_and_nothing_overlaps():
    figure = curves(histories())
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "kNN accuracy of “class” (%)"]
    assert figure.axes[1].lines[1].get_xdata().tolist() == [2, 4]  # epochs at which nobody looked are no points
    assert "smallest to largest" in title(figure) and {"A", "B"} <= set(texts(figure)) and not overlapping(figure)
    lines = [figure.axes[0].lines[i] for i in (1, 3)]
    assert len({line.get_marker() for line in lines}) == 2 and len({tuple(line.get_color()) for line in lines}) == 2


def test_long_names_have_room_below():
    names = [f"select=instances, temperature=0.1, and {i} other settings" for i in range(12)]
    table = pd.DataFrame({"variant": np.repeat(names, 2), "seed": 0, "epoch": [0, 1] * 12, "loss": np.arange(24.0)})
    assert not overlapping(curves(table.assign(accuracy=table["loss"]), ["loss", "accuracy"]))


def test_runs_by_name_are_drawn_like_their_table():
    table = histories()
    runs = {
        name: [SimpleNamespace(history=own.drop(columns=["variant", "seed"])) for _, own in rows.groupby("seed")]
        for name, rows in table.groupby("variant")
    }
    first, second = curves(runs), curves(table)
    for a, b in zip(first.axes, second.axes, strict=True):
        assert all(np.array_equal(x.get_ydata(), y.get_ydata(), True) for x, y in zip(a.lines, b.lines, strict=True))
    assert "3 runs" in title(first)
    single = curves({"A": runs["A"][0]})
    assert title(single) == "Learning curves of single runs" and not single.axes[0].collections


@pytest.mark.parametrize(
    "given, options, message",
    [
        ({}, {}, "no epoch"),
        ({"A": "runs/hcsc"}, {}, "is no run"),
        (pd.DataFrame(columns=["variant", "seed", "epoch"]), {}, "no epoch"),
        (histories(), {"columns": "accuracy"}, "no number in a column 'accuracy': there are loss, knn class"),
        (histories(), {"columns": ["variant"]}, "no number"),
        (histories(), {"by": "lr"}, "no column 'lr'"),
        (histories().drop(columns="seed"), {}, "'A' has epoch 0 twice"),
    ],
)
def test_histories_that_cannot_be_drawn_are_an_error(given, options, message):
    with pytest.raises(ValueError, match=message):
        curves(given, **options)


def test_a_band_that_is_not_known_is_an_error(as_a_user):
    with pytest.raises(ValueError, match="range"):
        curves(histories(), band="minimum")
