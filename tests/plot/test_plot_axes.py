"""Figures on an axis of one's own, and names on maps with many classes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from support.figures import histories, overlapping, texts

from hiercl import plot
from hiercl.plot._maps import homes


@pytest.fixture
def grid():
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    plt.close(figure)
    return figure, axes


@pytest.fixture
def drawings(dataset, step, tree):
    """Every function that takes an axis, with what it draws."""
    xy = np.random.default_rng(0).normal(size=(len(dataset), 2))
    swapped = 1 - dataset.labels_at(0)
    return {
        "embedding": lambda ax: plot.embedding(None, dataset, [1], coordinates=xy, title="mine", ax=ax),
        "curves": lambda ax: plot.curves(histories(), "loss", ax=ax),
        "confusion": lambda ax: plot.confusion(swapped, dataset, level=0, title="swapped", ax=ax),
        "pair_matrix": lambda ax: plot.pair_matrix(step, dataset, ax=ax),
        "trees": lambda ax: plot.trees(tree, dataset, [0], ax=ax),
    }


@pytest.mark.parametrize(
    "name, written",
    [
        ("embedding", "mine: 60 items of little"),
        ("curves", "mean over 3 seeds"),
        ("confusion", "swapped: 0.0 % right"),
        ("pair_matrix", "Pairs of the term “instance”"),
        ("trees", "AMI"),
    ],
)
def test_a_figure_is_drawn_on_an_axis_of_ones_own(drawings, grid, name, written):
    figure, (left, right) = grid
    assert drawings[name](right) is figure
    assert right.has_data() and not left.has_data()
    assert written in right.get_title(loc="left").replace("\n", " ") and figure.get_suptitle() == ""
    assert not figure.legends and not overlapping(figure)
    assert drawings[name](None) is not figure


def test_an_axis_of_a_part_of_a_figure_will_do(drawings):
    figure = plt.figure(layout="constrained")
    plt.close(figure)
    assert drawings["embedding"](figure.subfigures(1, 2)[1].subplots()) is figure


def test_the_legend_of_a_confusion_is_below_it(drawings, grid):
    drawings["confusion"](grid[1][0])
    below = grid[1][0].get_xlabel().split("\n")
    assert below == ["predicted", "green: right: 0.0 % of the items", "orange: wrong: 100.0 %"]
    assert [tuple(i.cmap(1.0)[:3]) for i in grid[1][0].images] == [to_rgb("#009E73"), to_rgb("#D55E00")]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("width, height", [(9, 3), (9, 4), (14, 8)])
def test_names_of_a_confusion_that_have_no_room_are_left_out(cifar, level, width, height):
    figure, axes = plt.subplots(1, 2, figsize=(width, height), layout="constrained")
    plt.close(figure)
    right = cifar.labels_at(level)
    plot.confusion(np.random.default_rng(0).permutation(right), cifar, level=level, ax=axes[0])
    assert not overlapping(figure) and len(axes[0].get_yticks()) >= 2


def test_an_axis_of_another_kind_is_none(dataset):
    figure = plt.figure()
    plt.close(figure)
    with pytest.raises(ValueError, match="ax is polar: give a plain axis"):
        plot.embedding(None, dataset, [0], coordinates=np.zeros((60, 2)), ax=figure.add_subplot(projection="polar"))
    with pytest.raises(ValueError, match="levels is empty"):
        plot.embedding(None, dataset, [], coordinates=np.zeros((60, 2)))


def test_one_axis_is_too_few_for_several_panels(dataset, tree, grid):
    for draw, hint in (
        (lambda ax: plot.embedding(None, dataset, ax=ax), "3: choose a level"),
        (lambda ax: plot.curves(histories(), ax=ax), "2: choose a column, such as columns='loss'"),
        (lambda ax: plot.trees(tree, dataset, ax=ax), "2: choose a level"),
    ):
        with pytest.raises(ValueError, match=f"ax is one panel, and this figure has {hint}"):
            draw(grid[1][0])


def test_an_array_of_axes_is_no_axis(dataset, grid, as_a_user):
    with pytest.raises(ValueError, match="ax is a ndarray: give one matplotlib axis"):
        plot.embedding(None, dataset, [0], coordinates=np.zeros((60, 2)), ax=grid[1])


# ---- names on maps ----


def far_apart(data):
    """Superclasses in a circle, far from one another."""
    angle = 2 * np.pi * data.labels_at(0) / data.hierarchy.sizes[0]
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) + np.random.default_rng(0).normal(0, 0.01, (len(data), 2))


def test_every_class_that_is_at_home_somewhere_is_named(cifar):
    xy = far_apart(cifar)
    shares = {cifar.labels_at(0)[item]: share for share, item in homes(xy, cifar.labels_at(0))}
    assert set(shares) == set(range(20)) and max(shares.values()) == 0.5  # ten items of a class, among twenty nearby
    figure = plot.embedding(None, cifar, [0], coordinates=xy)
    names = set(cifar.hierarchy.names[0])
    written = [text for text in texts(figure) if text.replace(" ", "_") in names or text in names]
    assert len(written) >= 15 and not overlapping(figure)  # the longest lie beside one another
    frame = figure.axes[0].get_window_extent()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_a_class_that_is_nowhere_at_home_has_no_name(cifar):
    figure = plot.embedding(None, cifar, [0], coordinates=np.random.default_rng(0).normal(size=(len(cifar), 2)))
    assert len(figure.axes[0].texts) <= 2 and "half of the items nearby" in figure.axes[0].get_xlabel()


def test_a_hundred_classes_have_names_where_they_are_at_home(cifar):
    (axis,) = plot.embedding(None, cifar, [1], coordinates=far_apart(cifar)).axes
    assert not axis.texts, "two items of a class are never half of those nearby"
    many = cifar.take(np.tile(np.arange(0, 200, 2), 20))
    places = 9 * np.random.default_rng(0).normal(size=(100, 2))[many.labels]
    xy = places + 0.01 * np.random.default_rng(1).normal(size=(len(many), 2))
    figure = plot.embedding(None, many, [1], coordinates=xy)
    assert len(figure.axes[0].texts) >= 15 and not overlapping(figure)


def test_compared_maps_have_names_each(cifar):
    xy = far_apart(cifar)
    figure = plot.compare_embeddings({"A": None, "B": None}, cifar, coordinates={"A": xy, "B": -xy})
    assert all(len(axis.texts) >= 5 for axis in figure.axes) and not overlapping(figure)
    assert figure.get_supxlabel().startswith("20 classes; named")
