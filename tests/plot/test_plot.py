"""Figures say what they show, nothing in them overlaps, and wrong input gets an error that helps."""

import base64
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from support.figures import HIERARCHY, overlapping, texts

import hiercl
from hiercl import plot
from hiercl.clustering.prototypes import PrototypeTree
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Step
from hiercl.pairs.audit import audit
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.pairs.terms import Term
from hiercl.plot import _colours, _curves, _pairs, _tree


def run_with(history: dict, name: str = "hcsc"):
    table = pd.DataFrame(history).assign(items_per_second=1000.0)
    return SimpleNamespace(name=name, history=table if history else pd.DataFrame(), config={"fit": {"epochs": 3}})


RUNS = {
    "A": run_with({"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.0], "knn kind": [np.nan, 50.0, 60.0]}),
    "B": run_with({"epoch": [0, 1, 2], "loss": [3.0, 2.5, 2.0], "keep instance 0": [np.nan, 0.5, 0.7]}),
}


def test_gallery_has_a_row_of_pictures_for_every_class(dataset):
    figure = plot.gallery(dataset, level=1, per_node=4)
    assert len(figure.axes[0].images) == 3 * 4
    assert {"cats", "dogs", "road"} <= set(texts(figure)) and not overlapping(figure)
    assert len(plot.gallery(dataset, level=-1, per_node=99).axes[0].images) == 60  # all there are


def test_gallery_of_gray_pictures(dataset):
    gray = hiercl.HierarchicalDataset(dataset.items[..., :1], dataset.labels, HIERARCHY)
    assert plot.gallery(gray).axes[0].images[0].get_array().shape == (8, 8, 3)


@pytest.mark.parametrize("wrong, message", [({"level": 3}, "no level 3"), ({"per_node": 0}, "at least 1")])
def test_gallery_of_what_does_not_exist(dataset, wrong, message):
    with pytest.raises(ValueError, match=message):
        plot.gallery(dataset, **wrong)


def test_a_narrow_tree_keeps_the_names_of_its_colours_apart():
    shapes = hiercl.datasets.load("shapes", root=None, per_class=1, test_per_class=1)[0]
    learned = PrototypeTree.fit(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), (2, 4))
    assert not overlapping(plot.tree(learned, shapes, exemplars=1))


def test_gallery_draws_point_clouds():
    points = hiercl.HierarchicalDataset(np.zeros((6, 4, 3), np.float32), np.arange(6), HIERARCHY)
    figure = plot.gallery(points, level=1)
    assert len(figure.axes[0].images) == 6 and "6 point clouds" in texts(figure)[0]


def test_hierarchy_names_every_node_once(dataset):
    figure = plot.hierarchy(HIERARCHY, dataset.counts())
    for name in ("animals 40", "cats 20", "pickup truck 10", "class (6)"):
        assert texts(figure).count(name) == 1
    assert not overlapping(figure)


@pytest.mark.parametrize("fanout", [(7,), (20, 5), (3, 3, 3), (2, 3, 2, 4)])
def test_hierarchy_of_any_depth_is_legible(fanout):
    def nested(sizes, prefix):
        names = [f"{prefix}_{i}" for i in range(sizes[0])]
        return {name: nested(sizes[1:], f"node {name}") for name in names} if len(sizes) > 1 else names

    figure = plot.hierarchy(Hierarchy.from_dict(nested(fanout, "n")))
    assert not overlapping(figure) and figure.get_size_inches()[1] < 13


def test_counts_of_another_hierarchy_are_an_error():
    with pytest.raises(ValueError, match="each of the 6 leaves"):
        plot.hierarchy(HIERARCHY, [1, 2])


def test_tree_names_nodes_after_their_majority(tree, dataset):
    figure = plot.tree(tree, dataset, exemplars=3)
    assert len(figure.axes[0].images) == 6 * 3
    assert {"animals 100 %", "vehicles 100 %", "lion 100 %", "car 100 %"} <= set(texts(figure))
    assert not overlapping(figure)


def test_tree_with_too_many_nodes_shows_the_largest_and_says_so(tree, dataset):
    figure = plot.tree(tree, dataset, exemplars=2, max_nodes=4)
    assert "the 4 largest of 6" in figure.axes[0].texts[0].get_text() and len(figure.axes[0].images) == 8
    assert len(plot.tree(tree, dataset, level=0, exemplars=1).axes[0].images) == 2


def test_reference_tree_of_real_size_does_not_overlap():
    shapes = hiercl.datasets.load("shapes", root=None, per_class=4, test_per_class=1)[0]
    learned = PrototypeTree.fit(torch.randn(120, 8, generator=torch.Generator().manual_seed(0)), (5, 12, 30))
    for figure in (plot.tree(learned, shapes), plot.trees(learned, shapes), plot.hierarchy(shapes.hierarchy)):
        assert not overlapping(figure)


def test_tree_of_other_data_or_none_is_an_error(tree, dataset):
    with pytest.raises(ValueError, match="after its warm-up"):
        _tree.check_tree(None, dataset)
    with pytest.raises(ValueError, match="pass the training set"):
        plot.tree(tree, dataset.take(np.arange(30)))
    with pytest.raises(ValueError, match="no level 5"):
        plot.tree(tree, dataset, level=5)


def test_trees_state_the_agreement(tree, dataset):
    figure = plot.trees(tree, dataset)
    titles = [axis.get_title(loc="left") for axis in figure.axes[:2]]
    assert "AMI 1.00" in titles[0] and "“kind”" in titles[0] and "“class”" in titles[1]
    assert np.allclose(figure.axes[0].images[0].get_array(), np.eye(2))  # a tree that is right shows a diagonal
    assert not overlapping(figure)


def test_rows_are_brought_to_the_diagonal():
    shares = np.eye(5)[[3, 0, 4, 1, 2]]
    assert np.array_equal(shares[_tree.along_diagonal(shares)], np.eye(5))
    assert len(_tree.along_diagonal(np.ones((7, 3)) / 3)) == 7


def test_embedding_has_a_panel_for_every_level(dataset):
    xy = np.random.default_rng(0).normal(size=(60, 2))
    figure = plot.embedding(None, dataset, coordinates=xy, title="mine")
    assert len(figure.axes) == 3 and "mine: 60 items of little" in texts(figure)
    assert [axis.get_title(loc="left").split("\n")[0] for axis in figure.axes] == ["“kind”", "“group”", "“class”"]
    assert not overlapping(figure)
    assert len(plot.embedding(None, dataset, levels=[1], max_items=20, coordinates=xy).axes) == 1


def test_neighbours_agree_where_classes_are_apart(dataset):
    apart = np.stack([dataset.labels * 10.0, np.arange(60) * 0.01], axis=1)
    figure = plot.embedding(None, dataset, levels=[2], coordinates=apart)
    assert "neighbours agree: 9" in figure.axes[0].get_title(loc="left")  # ten neighbours of ten items: one is far


def test_classes_are_highlighted_by_name_at_any_level(dataset):
    xy = np.random.default_rng(0).normal(size=(60, 2))
    figure = plot.embedding(None, dataset, levels=[0, 2], coordinates=xy, highlight=["cats", "car"])
    assert len(figure.axes) == 2 and len(plot.embedding(None, dataset, coordinates=xy, highlight="cats").axes) == 1
    for axis in figure.axes:
        _, cats, car = axis.collections
        assert len(cats.get_offsets()) == 20 and len(car.get_offsets()) == 10
        assert np.allclose(cats.get_offsets(), xy[dataset.labels_at(1) == 0])
        assert [text.get_text() for text in axis.get_legend().get_texts()] == ["all others", "cats", "car"]
    assert not overlapping(figure)
    both = plot.compare_embeddings({"A": None, "B": None}, dataset, coordinates={"A": xy, "B": -xy}, highlight="dogs")
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["all others", "dogs"]
    with pytest.raises(ValueError, match=r"Unknown class 'cat'\. Did you mean 'cats'"):
        plot.embedding(None, dataset, coordinates=xy, highlight="cat")
    with pytest.raises(ValueError, match="at most 7"):
        plot.embedding(None, dataset, coordinates=xy, highlight=["lion"] * 8)


def test_twenty_superclasses_are_grey_and_have_names(cifar):
    rng = np.random.default_rng(0)
    xy = 40 * rng.normal(size=(20, 2))[cifar.labels_at(0)] + rng.normal(size=(len(cifar), 2))
    (axis,) = plot.embedding(None, cifar, levels=[0], coordinates=xy).axes
    (points,) = axis.collections
    assert len(np.unique(points.get_facecolors(), axis=0)) == 1
    names = {text.get_text() for text in axis.texts}
    assert len(names) >= 10 and names <= {name.replace("_", " ") for name in cifar.hierarchy.names[0]}


def test_compared_embeddings_share_a_legend(dataset):
    xy = np.random.default_rng(0).normal(size=(60, 2))
    figure = plot.compare_embeddings({"A": None, "B": None}, dataset, coordinates={"A": xy, "B": -xy})
    assert len(figure.axes) == 2 and len(figure.legends) == 1 and not overlapping(figure)
    with pytest.raises(ValueError, match="no coordinates for B"):
        plot.compare_embeddings({"A": None, "B": None}, dataset, coordinates={"A": xy})
    with pytest.raises(ValueError, match="at least one run"):
        plot.compare_embeddings({}, dataset)


@pytest.mark.parametrize("shape", [(59, 2), (60, 3), (60,)])
def test_coordinates_of_another_shape_are_an_error(dataset, shape):
    with pytest.raises(ValueError, match="one row for each item"):
        plot.embedding(None, dataset, coordinates=np.zeros(shape))


def test_features_that_cannot_be_mapped_are_an_error():
    with pytest.raises(ValueError, match="at least 5 items"):
        plot.map_2d(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not finite"):
        plot.map_2d(np.full((9, 4), np.nan))


def test_without_umap_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        plot.map_2d(np.eye(9))


def test_a_map_leaves_the_number_of_threads_as_it_was(features, dataset, monkeypatch):
    """UMAP itself maps in the examples of hiercl/plot/_maps.py only: numba compiles it for 15 seconds."""

    class Umap:
        def __init__(self, **settings):
            assert settings["random_state"] == 3

        def fit_transform(self, features):
            torch.set_num_threads(threads + 1)  # as numba does
            return features[:, :2]

    threads = torch.get_num_threads()
    monkeypatch.setitem(__import__("sys").modules, "umap", SimpleNamespace(UMAP=Umap))
    assert np.array_equal(plot.map_2d(features, seed=3), features[:, :2]) and torch.get_num_threads() == threads
    figure = plot.embedding(features, dataset, levels=[0], seed=3)
    assert "neighbours agree" in figure.axes[0].get_title(loc="left") and torch.get_num_threads() == threads


def test_history_shows_loss_neighbours_and_keep_rates():
    figure = plot.history(RUNS)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:3] == ["loss", "kNN accuracy of “kind” (%)", "kept as negatives (%), B"]
    assert "first tree" in texts(figure) and not overlapping(figure)
    assert plot.history(RUNS["A"]) is not None


def test_losses_stand_beside_what_they_are_compared_with():
    near = {"epoch": [0, 1], "loss": [6.12, 5.9], "loss if equal": [6.2, 6.2], "loss floor": [0.02, 0.02]}
    far = {"epoch": [0, 1], "loss": [5.0, 2.0], "loss if equal": [5.5, 5.5], "loss floor": [1.6, 1.7]}
    axis = plot.history(run_with(near)).axes[0]
    assert [list(line.get_ydata()) for line in axis.lines] == [[6.12, 5.9], [6.2, 6.2]], "the floor is too far away"
    title = axis.get_title(loc="left")
    assert "all embeddings equal: 6.20" in title and "floor: 0.02↓" in title and axis.get_ylim()[0] > 5
    runs = {"A": run_with(near), "B": run_with(far)}
    for figure in (plot.history(runs), plot.curves(runs)):
        axis = figure.axes[0]
        styles = [line.get_linestyle() for line in axis.lines]
        assert styles.count("--") == 2 and styles.count(":") >= 2 and not overlapping(figure)
        assert "all embeddings equal: 6.20, 5.50" in " ".join(axis.get_title(loc="left").split())
        assert "floor: 0.02, 1.70" in " ".join(axis.get_title(loc="left").split())


def test_history_without_epochs_is_an_error():
    with pytest.raises(ValueError, match="no epoch"):
        plot.history({"untrained": run_with({})})


def test_live_does_nothing_outside_a_notebook():
    assert plot.live()(RUNS["A"]) is None


def test_live_redraws_one_figure_in_a_notebook(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=lambda picture, raw: shown.append(("update", picture)))
    monkeypatch.setattr(_curves, "in_notebook", lambda: True)
    monkeypatch.setattr(
        "IPython.display.display", lambda picture, raw, display_id: shown.append(("first", picture)) or handle
    )
    redraw = plot.live()
    for _ in range(3):
        redraw(RUNS["A"])
    assert [what for what, _ in shown] == ["first", "update", "update"]
    assert base64.b64decode(shown[0][1]["image/png"]).startswith(b"\x89PNG")
    assert "epoch" in shown[0][1]["text/plain"] and "items/s" in shown[0][1]["text/plain"]


def test_audit_draws_rates_and_removals(step, dataset):
    table = audit(step.terms[0].pairs, dataset.labels, HIERARCHY)
    figure = plot.audit({"A": table, "B": table.assign(term="instance")})
    assert len(figure.axes) == 6 and {"A", "B · instance"} <= set(texts(figure))
    assert not overlapping(figure)
    bars = figure.axes[2].patches
    assert bars[0].get_width() == pytest.approx(100 * table["false_negative_rate"].iloc[2])


def test_rate_without_selection_counts_pushed_and_removed(step, dataset):
    pairs = step.terms[0].pairs
    table = audit(pairs, dataset.labels, HIERARCHY)
    line = _pairs._prepare(table, "")["without_selection"].iloc[2]
    open_items = pairs.candidates.item[(pairs.negative | pairs.removed)[0]]
    open_items = open_items[open_items >= 0].numpy()
    assert line == pytest.approx((dataset.labels[open_items] == 0).mean())


def test_tables_that_are_no_audit_are_an_error():
    with pytest.raises(ValueError, match=r"lacks .*false_negative_rate"):
        plot.audit(pd.DataFrame({"level": ["kind"], "pushed": [1], "removed": [0]}))
    with pytest.raises(ValueError, match="no audit"):
        plot.audit({})


def test_pairs_show_every_role_most_similar_first(step, dataset):
    figure = plot.pairs(step, dataset, count=4)
    written = texts(figure)
    for expected in ("+ pulled", "− pushed", "× removed", "○ left alone", "another view", "keep 0.25"):
        assert expected in written
    similarity = step.terms[0].logits[0].numpy()
    removed = np.flatnonzero(step.terms[0].pairs.removed[0].numpy())
    best = removed[np.argsort(-similarity[removed], kind="stable")[0]]
    pictures = [image.get_array() for image in figure.axes[0].images]
    assert np.array_equal(pictures[0], dataset.items[0])  # the anchor itself
    assert np.array_equal(pictures[1 + 1 + 4], dataset.items[best])  # after the anchor, its key and four pushed
    assert not overlapping(figure)


def test_same_class_is_bold(step, dataset):
    figure = plot.pairs(step, dataset, count=4)
    for text in figure.axes[0].texts:
        if text.get_text() in HIERARCHY.leaf_names:
            assert (text.get_fontweight() == "bold") == (text.get_text() == "lion")


def test_pairs_with_prototypes_need_the_tree(tree, dataset):
    pairs = Pairs.from_matrices(
        Members.of(Kind.VIEW, torch.tensor([0])), Members.of(Kind.PROTOTYPE, torch.arange(6)),
        torch.eye(6)[:1], ~torch.eye(6, dtype=torch.bool)[:1], level=1,
    )  # fmt: skip
    step = Step((Term("prototype 1", torch.zeros(1, 6), pairs),), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"tree=run\.tree"):
        plot.pairs(step, dataset)
    assert len(plot.pairs(step, dataset, tree=tree).axes[0].images) == 1 + 6


@pytest.mark.parametrize(
    "wrong, message", [({"anchor": 1}, "no anchor 1"), ({"term": "prototype 9"}, "Known: instance")]
)
def test_pairs_that_do_not_exist(step, dataset, wrong, message):
    with pytest.raises(ValueError, match=message):
        plot.pairs(step, dataset, **wrong)


def test_colours_follow_the_hierarchy():
    top, leaf = _colours.node_colours(HIERARCHY, 0), _colours.node_colours(HIERARCHY, 2)
    assert len({tuple(c) for c in leaf}) == 6
    lab = _colours.to_oklab(np.concatenate([top, leaf]))
    hue = np.arctan2(lab[:, 2], lab[:, 1])
    assert np.allclose(hue[2:6], hue[0], atol=0.35) and np.allclose(hue[6:], hue[1], atol=0.35)
    assert np.all(np.diff(lab[2:6, 0]) > 0.05)  # shades differ in lightness, which everyone sees


def test_oklab_there_and_back():
    rgb = np.random.default_rng(0).uniform(0, 1, (50, 3))
    assert np.allclose(_colours.from_oklab(_colours.to_oklab(rgb)), rgb, atol=1e-6)


def test_figures_are_not_left_open_in_pyplot(dataset):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plot.gallery(dataset)
    plot.trees(PrototypeTree.fit(torch.randn(60, 4), (2, 3)), dataset)
    assert plt.get_fignums() == before


def test_importing_hiercl_does_not_import_matplotlib():
    import subprocess
    import sys

    code = "import sys, hiercl; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pairs_of_a_supervised_term_are_judged_at_its_level(dataset):
    """At level 0 a tiger is a lion's like; the first anchor that anything pulls is shown."""
    views = Members.of(Kind.VIEW, torch.tensor([30, 0, 10]))  # a poodle, a lion, a tiger
    positive = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    pairs = Pairs.from_matrices(views, views, positive, positive == 5, positive == 5, level=0)
    supervised = Step((Term("level 0", torch.eye(3), pairs, shared_denominator=True),), views.item)
    written = " ".join(texts(plot.pairs(supervised, dataset)))
    assert "animals › cats › lion" in written and "of the anchor's class “animals”" in written
    assert "100 % same\nkind" in written
    at_leaves = " ".join(texts(plot.pairs(supervised, dataset, level=-1)))
    assert "of the anchor's class “lion”" in at_leaves and "0 % same\nclass" in at_leaves
    with pytest.raises(ValueError, match="no level 3: the hierarchy of little has the levels 0 to 2"):
        plot.pairs(supervised, dataset, level=3)


def test_the_matrix_of_pairs_shows_every_role_in_the_order_of_classes(step, dataset):
    pairs = step.terms[0].pairs
    figure = plot.pair_matrix(step, dataset, level=2, anchors=9, candidates=500)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    known = (pairs.candidates.item >= 0).numpy()
    assert drawn.shape == (len(pairs.anchors), known.sum())
    same = dataset.labels[pairs.candidates.item[known]] == dataset.labels[pairs.anchors.item[0]]
    negative = pairs.negative[0, known].numpy()
    order = _pairs.ORDER
    counts = {role: int((drawn[0] == place).sum()) for place, role in enumerate(order)}
    assert counts["false negative"] == (negative & same).sum() and counts["pushed"] == (negative & ~same).sum()
    assert counts["removed"] == int(pairs.removed[0, known].sum())
    assert counts["pulled"] == int((pairs.positive[0, known] > 0).sum())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"{role} ({count:,})" for role, count in counts.items() if count]
    places = _pairs._some(np.flatnonzero(known), pairs.candidates.item.numpy(), dataset, 500)
    paths = HIERARCHY.ancestors[dataset.labels[pairs.candidates.item.numpy()[places]]].tolist()
    assert paths == sorted(paths)
    with pytest.raises(ValueError, match="no level 3"):
        plot.pair_matrix(step, dataset, level=3)


def test_the_matrix_shows_the_pulled_first(dataset):
    views = Members.of(Kind.VIEW, torch.arange(4))
    candidates = views + Members.of(Kind.QUEUE, torch.arange(50).repeat(20) % len(dataset))
    positive = torch.zeros(4, 1004)
    positive[torch.arange(4), torch.arange(4)] = 1
    pairs = Pairs.from_matrices(views, candidates, positive, positive == 0)
    figure = plot.pair_matrix(
        Step((Term("instance", torch.zeros(4, 1004), pairs),), views.item), dataset, candidates=20
    )
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (4, 20) and (drawn == _pairs.ORDER.index("pulled")).sum() == 4


def test_a_matrix_of_prototypes_is_none(dataset):
    pairs = Pairs.from_matrices(
        Members.of(Kind.VIEW, torch.tensor([0])), Members.of(Kind.PROTOTYPE, torch.arange(6)), torch.eye(6)[:1], level=1
    )
    step = Step((Term("prototype 1", torch.zeros(1, 6), pairs),), torch.tensor([0]))
    with pytest.raises(ValueError, match="are prototypes or empty: choose another term"):
        plot.pair_matrix(step, dataset)
