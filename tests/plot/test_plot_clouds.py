"""A drawn cloud shows what is near, high and in a mask, and figures do not care which kind of item they show."""

import sys

import matplotlib.text
import numpy as np
import pytest
import torch
from support.figures import HIERARCHY, overlapping, texts

import hiercl
from hiercl import plot
from hiercl.methods.base import Step
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.pairs.terms import Term
from hiercl.plot import _canvas, _cloud_picture
from hiercl.plot._colours import to_oklab

FRONT = (0, -90)  # the eye looks along y, x is to the right and z is up


def sphere(count: int = 300, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def ink(picture: np.ndarray) -> np.ndarray:
    return (picture < 250).any(axis=2)


def lightness(colours: np.ndarray) -> np.ndarray:
    return to_oklab(np.asarray(colours).reshape(-1, 3))[:, 0]


@pytest.fixture(scope="module")
def shapes():
    """The same solids as images and as point clouds."""
    made = [
        hiercl.datasets.load("shapes", root=None, per_class=2, test_per_class=1, items=kind, **options)[0]
        for kind, options in (("images", {}), ("points", {"points": 64}))
    ]
    return dict(zip(("images", "points"), made, strict=True))


def test_a_near_point_hides_a_far_one_in_any_order():
    points, mask = np.array([[0, 0, 0], [0, -1, 0.0]]), np.array([False, True])  # the second is nearer to the eye
    for order in ([0, 1], [1, 0]):
        middle = plot.cloud_picture(points[order], 33, mask[order], FRONT)[16, 16]
        assert middle[0] > middle[2] + 80  # orange
        behind = plot.cloud_picture(points[order], 33, mask[order], (0, 90))[16, 16]
        assert behind[2] > behind[0]  # blue


def test_up_is_up_and_right_is_right():
    drawn = ink(plot.cloud_picture(np.array([[0, 0, 0], [1, 0, 1], [1, 0, 0.9]]), 64, view=FRONT))
    assert drawn[:20, 44:].any() and drawn[44:, :20].any() and not drawn[:20, :20].any() and not drawn[44:, 44:].any()


def test_height_gets_lighter_from_low_to_high():
    points = np.stack([np.zeros(9), np.zeros(9), np.linspace(-3, 5, 9)], axis=1)
    colours = _cloud_picture.point_colours(points, None)
    assert np.all(np.diff(lightness(colours)) > 0.02) and lightness(colours)[-1] < 0.85  # readable on white


def test_far_points_are_paler():
    colours = _cloud_picture.fade(np.full((5, 3), 0.2), np.linspace(0, 1, 5), False)
    assert np.all(np.diff(colours[:, 0]) < 0) and colours[-1, 0] == pytest.approx(0.2)


def test_mask_colours_differ_in_lightness_and_follow_the_value():
    steps = _cloud_picture.point_colours(np.zeros((5, 3)), np.linspace(0, 1, 5))
    assert np.all(np.diff(lightness(steps)) < 0) and lightness(steps)[0] - lightness(steps)[-1] > 0.15
    ends = _cloud_picture.point_colours(np.zeros((2, 3)), np.array([False, True]))
    assert np.allclose(ends, steps[[0, -1]])


def test_the_same_cloud_gives_the_same_picture_and_no_argument_changes():
    points = sphere()
    before = points.copy()
    first = plot.cloud_picture(points)
    assert np.array_equal(first, plot.cloud_picture(points)) and np.array_equal(points, before)
    assert np.array_equal(first, plot.cloud_picture(torch.from_numpy(points)))
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8


def test_neither_unit_nor_place_nor_order_changes_a_picture():
    points = sphere().astype(np.float64)
    first = plot.cloud_picture(points).astype(int)
    for other in (8 * points + [64, -32, 16], points[::-1]):
        assert (np.abs(plot.cloud_picture(other).astype(int) - first).max(axis=2) > 8).mean() < 0.01


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((1024, 3)), np.array([[0, 0, 0], [0, 0, 1.0]])])
def test_a_cloud_without_extent_is_drawn_in_the_middle(points):
    drawn = ink(plot.cloud_picture(points, side=48))
    assert drawn[:, 22:26].any() and not drawn[[0, -1]].any() and not drawn[:, [0, -1]].any()


def test_discs_are_larger_where_points_have_more_room():
    places = np.random.default_rng(0).uniform(size=(1000, 2))
    assert _cloud_picture.disc_radius(places) == pytest.approx(
        2 * _cloud_picture.disc_radius(places * [1, 0.25]), rel=0.02
    )
    assert _cloud_picture.disc_radius(places[:400]) > 1.3 * _cloud_picture.disc_radius(places)


@pytest.mark.parametrize("side, count", [(48, 5000), (96, 1), (64, 20), (200, 2048)])
def test_a_picture_keeps_a_margin(side, count):
    drawn = ink(plot.cloud_picture(sphere(count), side=side))
    assert drawn.any() and not drawn[0].any() and not drawn[:, -1].any()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"points": np.full((4, 3), np.nan)}, "4 of 4 points are not finite"),
        ({"points": np.zeros((4, 2))}, r"\[points, 3\], got float64 \[4, 2\]"),
        ({"points": np.zeros((0, 3))}, r"\[points, 3\]"),
        ({"points": [["a", "b", "c"]]}, "array of numbers"),
        ({"side": 4}, "side=4"),
        ({"colour": np.zeros(3)}, "each of the 300 points"),
        ({"colour": np.full(300, 1.5)}, "values from 0 to 1"),
        ({"colour": np.full(300, np.nan)}, "values from 0 to 1"),
        ({"view": (100, 0)}, "from −90 to 90"),
        ({"view": (0, float("nan"))}, "elevation"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_why(wrong, message):
    with pytest.raises(ValueError, match=message):
        plot.cloud_picture(**{"points": sphere(), **wrong})


# ---- figures that show items ----


def test_a_picture_of_any_item(shapes):
    assert np.array_equal(_canvas.picture(shapes["images"], 3), shapes["images"].items[3])
    drawn = _canvas.picture(shapes["points"], 3)
    assert np.array_equal(drawn, plot.cloud_picture(shapes["points"].items[3]))
    assert _canvas.picture(shapes["points"], np.int64(3)) is drawn  # drawn once
    assert not np.array_equal(drawn, _canvas.picture(shapes["points"], 4))
    for data in shapes.values():
        for missing in (-1, 60):
            with pytest.raises(ValueError, match=f"no item {missing}: there are 60"):
                _canvas.picture(data, missing)


def test_a_cloud_that_was_changed_is_drawn_anew():
    data = hiercl.HierarchicalDataset(np.stack([sphere(50)] * 6), np.arange(6), HIERARCHY)
    before = _canvas.picture(data, 0)
    data.items[0, :, 2] = 0
    assert not np.array_equal(before, _canvas.picture(data, 0))


def test_a_gallery_of_clouds_says_what_one_of_pictures_says(shapes):
    pictures, clouds = (plot.gallery(shapes[kind], level=-1, per_node=2) for kind in ("images", "points"))
    assert len(clouds.axes[0].images) == 60 and not overlapping(clouds)
    said = [text.replace("point clouds", "pictures") for text in texts(clouds)]
    assert said == texts(pictures) and "60 point clouds" in texts(clouds)[0]


def test_a_tree_of_clouds_says_what_one_of_pictures_says(shapes):
    tree = hiercl.PrototypeTree.fit(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), (2, 5), seed=0)
    pictures, clouds = (plot.tree(tree, shapes[kind], exemplars=2) for kind in ("images", "points"))
    assert len(clouds.axes[0].images) == len(pictures.axes[0].images) > 5 and not overlapping(clouds)
    assert [text.replace("Point clouds", "Pictures") for text in texts(clouds)] == texts(pictures)


def test_pairs_of_clouds_say_what_those_of_pictures_say(shapes):
    role = torch.arange(60) % 3
    pairs = Pairs.from_matrices(
        Members.of(Kind.VIEW, torch.tensor([0])), Members.of(Kind.QUEUE, torch.arange(60)), (role == 0).float()[None],
        (role == 1)[None], (role == 2)[None],
    )  # fmt: skip
    step = Step((Term("instance", torch.linspace(1, 0, 60)[None], pairs),), torch.tensor([0]))
    pictures, clouds = (plot.pairs(step, shapes[kind], count=4) for kind in ("images", "points"))
    assert texts(clouds) == texts(pictures) and "anchor" in texts(clouds)
    shown = clouds.axes[0].images[0].get_array()
    assert np.array_equal(shown, plot.cloud_picture(shapes["points"].items[0]))  # the anchor itself


# ---- large figures ----


def test_cloud_shows_every_view_far_to_near(shapes):
    figure = plot.cloud(shapes["points"], 3)
    written = texts(figure)
    assert "furniture › seating › stool (item 3)" in written and not overlapping(figure)
    assert "elevation 20°, azimuth 35°" in written and any("64 points; colour: height" in text for text in written)
    drawn = figure.axes[0].collections
    assert len(drawn) == 3 and all(len(one.get_offsets()) == 64 for one in drawn)
    points = np.array([[0, -1, 0], [0, 1, 0.5]])  # the first is nearer
    assert plot.cloud(points, views=[FRONT]).axes[0].collections[0].get_offsets()[1, 1] == pytest.approx(
        plot.cloud(points[::-1], views=[FRONT]).axes[0].collections[0].get_offsets()[1, 1]
    )


def test_cloud_keeps_proportions():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1.0]])
    axis = plot.cloud(square, views=[FRONT]).axes[0]
    width, height = np.ptp(axis.transData.transform(axis.collections[0].get_offsets()), axis=0)
    assert width == pytest.approx(height)


def test_several_clouds_from_one_viewpoint_stand_side_by_side(shapes):
    figure = plot.cloud(shapes["points"], range(5), views=[(20, 0)])
    left, top = np.array([c.get_offsets().data.min(axis=0) for c in figure.axes[0].collections]).T
    assert (np.diff(left[:4]) > 1).all() and abs(left[4] - left[0]) < 1 and top[4] > top[:4].max() + 1
    assert not overlapping(figure) and any("(item 4)" in text or "…" in text for text in texts(figure))
    assert not overlapping(plot.cloud(np.stack([sphere(), sphere()]), views=[(0, 0)], title="mine"))


def test_cloud_of_several_with_masks(shapes):
    mask = shapes["points"].items[[0, 9]][:, :, 2] > 0
    figure = plot.cloud(shapes["points"], [0, 9], mask=mask, views=[(20, 0), (20, 90)])
    assert len(figure.axes[0].collections) == 4 and not overlapping(figure)
    assert any(f"{mask[1].sum()} in the mask" in text for text in texts(figure))
    values = plot.cloud(sphere(), mask=np.linspace(0, 1, 300), title="mine")
    assert "mine" in texts(values) and any("of the mask 0.50" in text for text in texts(values))
    assert not overlapping(
        plot.cloud(sphere(), views=[(0, 0)], title="a name that is much longer than one view is wide")
    )


@pytest.mark.parametrize("show", [plot.cloud, plot.cloud_3d])
def test_clouds_that_do_not_exist(show, shapes):
    points = shapes["points"]
    for wrong, message in (
        ((shapes["images"], 0), "holds pictures"),
        ((points, 60), "no item 60: there are 60, counted from 0"),
        ((points, -1), "no item -1"),
        ((sphere(), 2), "chooses among several"),
        ((np.zeros((2, 3, 4, 3)),), r"\[points, 3\]"),
        ((points, 0, np.ones(63)), "each of the 64 points"),
        ((points, 0, np.ones((2, 64))), "each of the 1 clouds"),
        ((points, 0, ["yes"] * 64), "one number for each point"),
        ((points, 0, np.full(64, 2.0)), "from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            show(*wrong)


def test_cloud_without_views_or_items_is_an_error(shapes):
    with pytest.raises(ValueError, match="views are pairs"):
        plot.cloud(sphere(), views=[])
    with pytest.raises(ValueError, match="21 clouds are too many"):
        plot.cloud(np.stack([sphere(5)] * 21))
    with pytest.raises(ValueError, match="a number or several"):
        plot.cloud(shapes["points"], [])


def test_cloud_3d_holds_every_point_and_the_mask(shapes):
    pytest.importorskip("plotly")
    points = shapes["points"].items[3]
    figure = plot.cloud_3d(shapes["points"], 3, mask=points[:, 2] > 0)
    trace = figure.data[0]
    assert np.allclose(np.stack([trace.x, trace.y, trace.z], axis=1), points)
    assert figure.layout.scene.aspectmode == "data" and figure.layout.scene.camera.up.z == 1
    assert "stool" in figure.layout.title.text and "mask" in trace.hovertemplate
    assert np.array_equal(trace.customdata, points[:, 2] > 0) and len(set(trace.marker.color)) == 2
    plain = plot.cloud_3d(points).data[0]
    assert "mask" not in plain.hovertemplate and len(set(plain.marker.color)) > 10
    with pytest.raises(ValueError, match="2 clouds are given"):
        plot.cloud_3d(np.stack([points, points]))


def test_without_plotly_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match="pip install plotly"):
        plot.cloud_3d(sphere())


def test_dollar_signs_in_class_names_are_no_formula():
    tree = hiercl.Hierarchy.from_dict({"a$b": ["c$d", "e"]})
    data = hiercl.HierarchicalDataset(np.stack([sphere(20)] * 2), np.array([0, 1]), tree)
    title = next(t for t in plot.cloud(data, 0).findobj(matplotlib.text.Text) if "item 0" in t.get_text())
    assert title.get_text() == r"a\$b › c\$d (item 0)"
