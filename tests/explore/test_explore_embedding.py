"""The explorer of embeddings, without a browser: its widgets are set as a person would."""

import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from support.data import HIERARCHY, pictures
from support.figures import hundred_classes

import hiercl
from hiercl.explore import _embedding
from hiercl.explore._embedding import embedding
from hiercl.plot import _maps
from hiercl.plot._colours import node_colours


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def maps(data):
    """One in which the classes lie apart, and one in which they do not."""
    rng = np.random.default_rng(0)
    corner = np.array([[0, 0], [0, 1], [5, 0], [5, 1]])[data.labels]
    return {"apart": corner + 0.1 * rng.normal(size=(64, 2)), "mixed": rng.normal(size=(64, 2))}


@pytest.fixture
def explorer(maps, data):
    return embedding(None, data, coordinates=maps)


def of_class(data, leaf):
    return np.flatnonzero(data.labels == leaf)


def test_colours_are_those_of_the_hierarchy_at_the_chosen_level(explorer, maps, data):
    for level in (0, 1, 0):
        explorer.level.value = level
        wanted = node_colours(HIERARCHY, level)[data.labels_at(level)]
        for scatter in explorer.maps.values():
            palette, codes = np.array(scatter.widget.color), scatter.widget.points[:, 2].astype(int)
            assert scatter.widget.color_by == "valueA" and np.allclose(palette[codes, :3], wanted)
        assert all(to_hex(colour) in explorer.legend.value for colour in node_colours(HIERARCHY, level))
        twin = hiercl.plot.compare_embeddings(maps, data, level=level, coordinates=maps)
        drawn = {tuple(np.round(c.get_facecolor()[0, :3], 6)) for c in twin.axes[0].collections}
        assert drawn == {tuple(np.round(colour, 6)) for colour in wanted}
        title = explorer.titles["apart"].value.split("<br>")[1]
        assert title in twin.axes[0].get_title(loc="left")


def test_what_is_selected_on_one_map_is_so_on_all_and_is_described(explorer, data):
    assert "Nothing is selected" in explorer.summary.value and explorer.gallery.rows == []
    chosen = np.concatenate([of_class(data, 2), of_class(data, 0)[:4]])  # 16 of b0, 4 of a0
    explorer.maps["mixed"].widget.selection = chosen.astype(np.uint32)
    assert all(sorted(scatter.widget.selection) == sorted(chosen) for scatter in explorer.maps.values())
    assert explorer.selected.tolist() == sorted(chosen)
    said = explorer.summary.value
    assert "20 of 64 items are selected" in said and "Most frequent group: “b”, 16 of them (80 %; of all" in said
    (made,) = explorer.gallery.rows
    assert sorted(entry["item"] for entry in made["entries"]) == sorted(chosen)
    assert all(entry["picture"].startswith("data:image/png;base64,") for entry in made["entries"])
    of_a, of_b = (to_hex(colour) for colour in node_colours(HIERARCHY, 0))
    assert [entry["colour"] for entry in made["entries"]] == [of_a] * 4 + [of_b] * 16
    explorer.level.value = 1
    assert "Most frequent class: “b0”, 16 of them" in explorer.summary.value
    assert explorer.gallery.rows[0]["entries"][0]["colour"] == to_hex(node_colours(HIERARCHY, 1)[0])
    explorer.maps["apart"].widget.selection = np.array([], dtype=np.uint32)
    assert "Nothing is selected" in explorer.summary.value and explorer.gallery.rows == []


def test_it_says_how_close_together_the_selected_lie_on_every_map(explorer, maps, data):
    items = of_class(data, 1)
    explorer.maps["apart"].widget.selection = items.astype(np.uint32)
    for name, xy in maps.items():
        away = np.linalg.norm(xy[:, None] - xy, axis=2)
        ratio = away[np.ix_(items, items)].sum() / (16 * 15) / (away.sum() / (64 * 63))
        assert f"{name} <b>{ratio:.2f}</b>" in explorer.summary.value
        assert ratio < 0.2 if name == "apart" else ratio > 0.5
    explorer.select(items[:1])
    assert "1 of 64 items" in explorer.summary.value and "distance" not in explorer.summary.value


def test_pointing_at_an_item_shows_its_picture_and_a_click_on_a_picture_shows_the_item(maps, data):
    explorer = embedding(None, data, coordinates=maps, max_items=20, seed=3)
    widget = explorer.maps["apart"].widget
    said = []
    widget.send = lambda content, buffers=None: said.append(content)
    asked = {"type": "tooltip", "index": 7, "preview": widget.tooltip_preview, "properties": ["class", "item"]}
    widget._handle_custom_msg(asked, [])  # what the browser asks when the mouse rests on a point
    item = int(explorer.items[7])
    assert widget.tooltip_enable and widget.tooltip_preview_type == "image"
    assert said[0]["preview"].startswith("data:image/png;base64,")
    assert said[0]["properties"] == {"class": " › ".join(HIERARCHY.path(int(data.labels[item]))), "item": str(item)}
    explorer.select(explorer.items)
    explorer.gallery.clicked = item
    assert [scatter.widget.hovering for scatter in explorer.maps.values()] == [7, 7]


def test_of_many_selected_items_24_are_shown(explorer, data):
    explorer.select(range(40))
    (made,) = explorer.gallery.rows
    shown = [entry["item"] for entry in made["entries"]]
    assert len(set(shown)) == 24 and set(shown) <= set(range(40)) and "24 of 40, at random" in made["note"]
    explorer.select([63, 500])
    assert explorer.selected.tolist() == [63], "items that do not exist or are not shown are left out"


def test_maps_keep_angles_and_distances(explorer, maps):
    for name, scatter in explorer.maps.items():
        points = scatter.widget.points[:, :2]
        assert np.abs(points).max() <= 1
        scale = np.ptp(points, axis=0) / np.ptp(maps[name], axis=0)
        assert np.isclose(*scale)


def test_features_are_mapped_by_umap_as_in_the_static_twin(data, monkeypatch):
    asked = []

    def halves(features, seed=0):
        asked.append((len(features), seed))
        return np.asarray(features)[:, :2]

    monkeypatch.setattr(_maps, "map_2d", halves)
    features = np.random.default_rng(0).normal(size=(64, 5))
    explorer = embedding({"one": features, "two": 2 * features}, data, max_items=30, seed=4)
    assert asked == [(30, 4)] * 2
    assert np.array_equal(explorer.coordinates["one"], features[explorer.items, :2])
    run = hiercl.fit("simclr", data, epochs=0, batch=32, crop=12, progress=False)
    assert list(embedding(run, data).maps) == ["simclr"]


def test_one_map_of_coordinates_alone(maps, data):
    explorer = embedding("not looked at", data, coordinates=maps["apart"])
    explorer.select([1, 2])
    assert len(explorer.maps) == 1 and "2 of 64" in explorer.summary.value


def test_names_are_text_and_not_markup(data, maps):
    explorer = embedding(None, data, coordinates={"<i>x": maps["apart"]})
    explorer.select([0, 1])
    assert "&lt;i&gt;x" in explorer.titles["<i>x"].value and "&lt;i&gt;x" in explorer.summary.value


def test_of_a_sample_the_mean_distance_is_about_that_of_all(monkeypatch):
    xy = np.random.default_rng(0).normal(size=(600, 2))
    whole = _embedding._mean_distance(xy, 0)
    monkeypatch.setattr(_embedding, "MEASURED", 300)
    assert whole != _embedding._mean_distance(xy, 0) == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize(
    "runs, coordinates, message",
    [
        (None, None, "there is nothing to map"),
        ({}, None, "there is no run"),
        ({"A": 1, "B": 2}, {"A": np.zeros((64, 2))}, "there are no coordinates for B"),
        ({"A": 1}, np.zeros((64, 2)), "by name, like the runs"),
        (None, {"A": np.zeros((64, 2))}, "coordinates of A are all the same"),
        (None, {"A": np.full((64, 2), np.nan)}, "coordinates of A are not finite"),
        (None, {"A": np.zeros((63, 2))}, r"coordinates must be \[64, 2\]"),
        (np.zeros((63, 2)), None, r"features must be \[64, d\]"),
    ],
)
def test_what_cannot_be_mapped_is_an_error_that_says_why(runs, coordinates, message, data):
    with pytest.raises(ValueError, match=message):
        embedding(runs, data, coordinates)


@pytest.mark.parametrize("module, package", [("jscatter", "jupyter-scatter"), ("ipywidgets", "ipywidgets")])
def test_without_its_packages_it_says_what_to_install(module, package, maps, data, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        embedding(None, data, coordinates=maps)
    assert hiercl.plot.compare_embeddings(maps, data, coordinates=maps).axes, "the static twin works"


def test_twenty_classes_are_named_and_a_hundred_are_not():
    cifar = hundred_classes()
    explorer = embedding(None, cifar, coordinates={"map": np.random.default_rng(0).normal(size=(len(cifar), 2))})
    explorer.level.value = 0
    assert all(name.replace("_", " ") in explorer.legend.value for name in cifar.hierarchy.names[0])
    explorer.level.value = 1
    assert "100 classes, in shades of their “superclass”" in explorer.legend.value
