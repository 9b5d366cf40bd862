"""The atlas without a browser: what the page is told, against slow loops; names; what the tree of each model is."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.data import CLOUD_SETTINGS, SMALL, VECTOR_SETTINGS, clouds, pictures, vectors

import hiercl
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._atlas import TEMPLATE

XY = np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def data():
    return vectors(48)


@pytest.fixture(scope="module")
def tree(data):
    torch.manual_seed(0)
    classes = torch.nn.functional.one_hot(torch.as_tensor(data.labels), 4).float()
    return PrototypeTree.fit(classes + 0.5 * torch.randn(48, 4), (2, 6))


@pytest.fixture
def told(tmp_path):
    """What the page of an atlas is told; without a map unless places are given."""

    def write(run, dataset, **options):
        page = hiercl.atlas(run, dataset, tmp_path / "page.html", **{"coordinates": XY[: len(dataset)]} | options)
        return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])

    return write


def test_sizes_purities_and_flow_against_a_slow_loop(tree, data, told):
    content = told(tree, data)
    learned, true = (side["nodes"] for side in content["sides"])
    assert [node["level"] for node in learned].count(1) == sum(len(set(tree.assignment[:, k].tolist())) for k in (1,))
    for node in learned:
        members = [i for i in range(48) if tree.assignment[i, node["level"]] == node["number"]]
        truth = content["sides"][0]["truth"][node["level"]]
        labels = [int(data.labels_at(truth)[i]) for i in members]
        most = max(labels.count(label) for label in labels)
        assert node["size"] == len(members) and node["purity"] == pytest.approx(most / len(members), abs=1e-4)
        assert labels.count(node["majority"]) == most
        assert node["name"] == data.hierarchy.names[truth][node["majority"]]
        assert set(node["items"]) <= set(members), "all are shown, so places are items"
        if node["up"] >= 0:
            assert learned[node["up"]]["number"] == int(tree.parent[node["level"]][node["number"]])
    for node in true:
        assert node["size"] == sum(label == node["number"] for label in data.labels_at(node["level"]))
    found = {(learned[left]["number"], true[right]["number"]): items for left, right, items in content["flow"]}
    slow: dict = {}
    for prototype, label in zip(tree.assignment[:, -1].tolist(), data.labels.tolist(), strict=True):
        slow[prototype, label] = slow.get((prototype, label), 0) + 1
    assert found == slow
    assert [learned[place]["number"] for place in content["nodes"]] == tree.assignment[:, -1].tolist()
    assert [true[place]["number"] for place in content["classes"]] == data.labels.tolist()


def test_parents_stand_before_their_children_and_the_trees_face_each_other(data, told):
    """Prototypes that are the classes, in another order: the leaves of both trees have the same order."""
    order = np.array([2, 0, 3, 1])
    z = torch.eye(4)[torch.as_tensor(order[data.labels])] + 0.5 * torch.eye(2)[
        torch.as_tensor(data.labels_at(0))
    ].repeat_interleave(2, dim=1)
    content = told(PrototypeTree.fit(z, (2, 4)), data)
    learned, true = (side["nodes"] for side in content["sides"])
    assert [node["name"] for node in learned] == [node["name"] for node in true] and len(learned) == 6
    assert [node["up"] for node in learned] == [-1, 0, 0, -1, 3, 3] == [node["up"] for node in true]
    assert all(node["purity"] == 1 for node in learned)


def test_some_items_stand_for_all(told):
    data = pictures(400)
    z = torch.nn.functional.one_hot(torch.as_tensor(data.labels), 4) + 0.4 * torch.randn(
        400, 4, generator=torch.Generator().manual_seed(0)
    )
    xy = np.random.default_rng(1).normal(size=(400, 2))
    content = told(z, data, coordinates=xy, max_items=60)
    assert len(content["nodes"]) == 60 == len(content["map"]["maps"][0]) / 2
    learned, true = (side["nodes"] for side in content["sides"])
    assert {true[place]["number"] for place in content["classes"]} == {0, 1, 2, 3}
    for place, node in enumerate(learned):
        assert node["items"], "every node has typical members"
        for item in node["items"]:
            at = content["nodes"][item]
            while learned[at]["level"] > node["level"]:
                at = learned[at]["up"]
            assert at == place
    assert sum(items for *_, items in content["flow"]) == 400, "all items are counted"
    assert any("60 items are shown" in line for line in content["about"])


EVIL = ["</script><script>alert(1)</script>", "\"quotes\" & 'ticks' <!--", "<img src=x onerror=alert(1)>", "b1"]


def test_names_are_no_markup(data, tree, tmp_path):
    hierarchy = hiercl.Hierarchy.from_dict({EVIL[0]: EVIL[:2], EVIL[1]: EVIL[2:]}, level_names=(EVIL[2], EVIL[0]))
    data = replace(data, hierarchy=hierarchy, name=EVIL[0], note=EVIL[1], source=tuple(EVIL * 12))
    page = hiercl.atlas(tree, data, tmp_path / "evil.html", coordinates=XY, title=EVIL[2]).read_text("utf-8")
    assert page.count("<script") == TEMPLATE.read_text("utf-8").count("<script") + 1
    assert page.count("</script>") == TEMPLATE.read_text("utf-8").count("</script>") + 1
    assert not re.search(r"<img src=x|alert\(1\)<|<!--[^>]*$", page)
    content = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert {node["name"] for node in content["sides"][1]["nodes"]} == set(EVIL), "and they are what they were"
    assert content["title"] == EVIL[2] and content["texts"][1] == EVIL[1]


def test_the_page_needs_no_network_and_writes_no_markup_from_names():
    page = TEMPLATE.read_text("utf-8")
    assert not re.search(r"https?://|src=|innerHTML|insertAdjacentHTML|document\.write|eval\(", page)


# ---- what the tree is ----


def test_a_run_with_a_tree(told):
    data = pictures(48)
    run = hiercl.fit("hcsc", data, queue=40, prototypes=(2, 4), warm_up=0.0, **SMALL)
    content = told(run, data)
    assert "that the run has learned" in content["about"][1] and content["title"] == "hcsc: stripes"
    assert content["sides"][0]["levels"] == ["2 prototypes", "4 prototypes"]
    with pytest.raises(ValueError, match="one of other items: pass the training set"):
        told(run, pictures(48, seed=1))
    assert "k-means" in told(run, pictures(48, seed=1), prototypes=(3, 5))["about"][1]


def test_a_method_with_labels_has_class_means(told):
    data = vectors(48)
    run = hiercl.fit("supcon", data, epochs=1, **VECTOR_SETTINGS)
    content = told(run, data)
    assert "class means" in content["about"][1]
    z = torch.nn.functional.normalize(hiercl.embed(run, data).double(), dim=1).numpy()
    means = np.stack([z[data.labels == label].mean(axis=0) for label in range(4)])
    nearest = (z @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1)
    learned = content["sides"][0]["nodes"]
    assert [learned[place]["number"] for place in content["nodes"]] == nearest.tolist()
    blank = replace(data, labels=np.full(48, -1))
    assert "k-means" in told(run, blank)["about"][1], "no labels, no class means"


def test_everything_else_has_prototypes_of_its_features(data, told):
    for run in (None, np.array(data.items[:, 0]), hiercl.fit("simclr", data, epochs=0, **VECTOR_SETTINGS)):
        content = told(run, data)
        assert "k-means" in content["about"][1]
        assert content["sides"][0]["levels"] == ["2 prototypes", "4 prototypes"], "as many as true classes"
    flat = HierarchicalDataset.from_features(data.items[:, 0], data.labels)
    assert told(None, flat)["sides"][0]["levels"] == ["2 prototypes", "4 prototypes"]


def test_items_without_labels(data, tree, told):
    part = replace(data, labels=np.where(np.arange(48) < 40, data.labels, -1))
    content = told(tree, part)
    assert sum(node["size"] for node in content["sides"][0]["nodes"] if node["level"] == 0) == 48
    assert sum(items for *_, items in content["flow"]) == 40 and content["classes"][-1] == -1
    content = told(tree, replace(data, labels=np.full(48, -1)))
    assert not content["flow"] and not content["sides"][1]["nodes"]
    assert content["sides"][0]["nodes"][0]["name"].startswith("prototype")
    assert content["sides"][0]["nodes"][0]["purity"] is None


# ---- map and pictures ----


def test_maps(data, tree, told):
    several = np.stack([XY, 2 * XY + 1, 0 * XY])
    place = told(tree, data, coordinates=several)["map"]
    assert place["captions"] == ["map 1 of 3", "map 2 of 3", "map 3 of 3"] and "that of the end" in place["words"]
    places = np.array(place["maps"]).reshape(3, 48, 2)
    spread = np.ptp(places, axis=1)
    assert spread[1] / spread[0] == pytest.approx(2, abs=0.02), "all maps have one scale"
    assert (places[2] == places[2, 0]).all() and places.min() >= 0 and places.max() <= 2000
    assert told(pictures_tree := PrototypeTree.fit(np.eye(48), (2, 4)), pictures(48), coordinates=None)["map"] == {
        "words": "There is no map, because the features are not known: give coordinates.",
        **{"maps": [], "names": [], "captions": []},
    }
    assert (
        "UMAP"
        in told(pictures_tree, pictures(48), coordinates=np.random.default_rng(0).normal(size=(48, 5)))["map"]["words"]
    )
    four = data.take([0, 1, 2, 3])
    assert "Two principal" in told(PrototypeTree.fit(np.eye(4), (2,)), four, coordinates=None)["map"]["words"]


def test_the_maps_of_a_pretrained_model(real_cifar100, told):
    model = hiercl.pretrained("hcsc")
    unfolding, (_, test) = model.unfolding(), real_cifar100
    some = test.take(np.r_[unfolding.find(test)[:150], np.setdiff1d(np.arange(200), unfolding.find(test))[:30]])
    place, maps = told(model, some, coordinates=None)["map"], len(unfolding.maps)
    assert place["captions"][0] == "before the training"
    assert place["captions"][-1] == f"after epoch {maps - 1} of {maps - 1}"
    xy = np.array([[np.nan if value is None else value for value in one] for one in place["maps"]], dtype=float)
    assert xy.shape == (maps, 360) and np.isfinite(xy[:, ::2]).sum(axis=1).tolist() == [150] * maps


def sheet_of(content):
    return Image.open(io.BytesIO(base64.b64decode(content["pictures"]["sheet"].partition(",")[2])))


def test_pictures_texts_and_clouds(tree, data, told):
    content = told(np.eye(48), pictures(48))
    sheet, stripes = sheet_of(content), pictures(48).items
    assert sheet.format == "WEBP" and sheet.size == (40 * 32, 2 * 32) and content["texts"] is None
    own = np.asarray(sheet.convert("RGB"), dtype=float)[33:64:2, 33:64:2]  # item 41, which is shown twice as large
    others = [np.corrcoef(own.ravel(), item.ravel())[0, 1] for item in stripes]
    assert int(np.argmax(others)) == 41
    run = hiercl.fit("simclr", clouds(), epochs=0, **CLOUD_SETTINGS)
    assert sheet_of(told(run, clouds()))  # clouds are drawn
    assert told(tree, data)["pictures"] is None
    content = told(tree, vectors(48, source=[f"text {i}" for i in range(48)]))
    assert content["pictures"] is None and content["texts"][7] == "text 7"
    assert sheet_of(told(tree, vectors(48, source=pictures(48))))


def test_a_page_is_small(tmp_path):
    """Pictures of noise are the largest that there are."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 32, 32, 3), dtype=np.uint8)
    hierarchy = hiercl.Hierarchy.from_dict({f"group {g}": [f"class {g} {c}" for c in range(5)] for g in range(20)})
    data = HierarchicalDataset.from_arrays(noise, np.arange(1500) % 100, hierarchy)
    xy, z = np.random.default_rng(1).normal(size=(21, 1500, 2)), np.random.default_rng(2).normal(size=(1500, 20))
    assert hiercl.atlas(z, data, tmp_path / "noise.html", coordinates=xy).stat().st_size < 3e6


def test_wrong_arguments(tree, data, told, tmp_path, as_a_user):
    with pytest.raises(ValueError, match=r"give the name of a page, such as 'atlas.html'"):
        hiercl.atlas(tree, data, tmp_path / "page.png")
    with pytest.raises(ValueError, match="path=3: give a path"):
        hiercl.atlas(tree, data, 3)
    with pytest.raises(ValueError, match="clusters 48 items and the data set has 10"):
        told(tree, data.take(np.arange(10)))
    with pytest.raises(ValueError, match="this is a tree already: leave them out"):
        told(tree, data, prototypes=(2, 3))
    for shape in ((47, 2), (48,), (48, 1), (2, 48, 3)):
        with pytest.raises(ValueError, match=r"are not those of 48 items: \[items, 2\]"):
            told(tree, data, coordinates=np.zeros(shape))
    with pytest.raises(ValueError, match="empty or not finite"):
        told(tree, data, coordinates=np.full((48, 2), np.nan))
    with pytest.raises(ValueError, match="it must be a whole number at least 5"):
        told(tree, data, max_items=3)
    with pytest.raises(ValueError, match="dataset is a list"):
        hiercl.atlas(tree, [1, 2])
    with pytest.raises(ValueError, match="there is no model, and 'stripes' holds pictures"):
        told(None, pictures(48))
    with pytest.raises(ValueError, match="sizes that grow"):
        told(None, data, prototypes=(4, 2))
