"""The atlas in a real browser: a search, a click, zooms, the map and its epochs, names that are no markup.

Needs Chromium; `make test-browser` runs it. Screenshots go to runs/test-browser/.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import HIERARCHY, pictures

import hiercl
from hiercl.clustering import PrototypeTree

pytestmark = pytest.mark.browser
OUT = Path(os.environ.get("HIERCL_OUT", Path(__file__).parents[2] / "runs" / "test-browser"))
EVIL = {"<script>alert(1)</script>": ["\"a\" & 'b'", "<img src=x onerror=alert(1)>"], "plain": ["b0", "b1"]}


def write(path, hierarchy=HIERARCHY):
    """An atlas of 200 pictures of four classes, which a tree of 2 and 6 prototypes finds in part; three epochs."""
    data, rng = replace(pictures(200), hierarchy=hierarchy), np.random.default_rng(0)
    z = np.eye(4)[data.labels] + 0.3 * np.eye(2)[data.labels // 2].repeat(2, axis=1) + 0.25 * rng.normal(size=(200, 4))
    tree = PrototypeTree.fit(torch.as_tensor(z), (2, 6))
    places = np.stack([rng.normal(size=(200, 2)) / (k + 1) + k * z[:, :2] for k in range(3)])
    return hiercl.atlas(tree, data, path, coordinates=places), tree, data


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return write(tmp_path_factory.mktemp("atlas") / "atlas.html")


def opened(browser, path, width=1280, height=720):
    page, errors = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce"), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or errors.append(sent.url))
    page.goto(path.as_uri())
    page.errors = errors
    return page


@pytest.fixture
def page(browser, atlas):
    page = opened(browser, atlas[0])
    yield page
    assert not page.errors
    page.close()


def shot(page, name):
    OUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUT / f"atlas-{name}.png", full_page=True)


def canvas(page, name):
    return page.evaluate(f"() => document.getElementById('{name}').toDataURL()")


def high(page, side):
    """Heights of the nodes of a tree in pixels; 0 for one that is hidden."""
    return page.evaluate(f"() => cells[{side}].map((cell) => cell.hidden ? 0 : cell.getBoundingClientRect().height)")


def test_the_sizes_are_those_of_the_tree(page, atlas):
    _, tree, _ = atlas
    shot(page, "start")
    told = page.evaluate(
        "() => sides[0].nodes.map((node) => [node.level, node.number, node.size, node.to - node.from])"
    )
    assert [[level, node, int(tree.counts(level)[node])] for level, node, *_ in told] == [one[:3] for one in told]
    heights, sizes = np.array(high(page, 0)), np.array([size for _, _, size, _ in told])
    level = np.array([level for level, *_ in told])
    assert np.allclose(heights[level == 1] / heights[level == 1].sum(), sizes[level == 1] / 200, atol=0.002)
    assert heights[level == 0].sum() == pytest.approx(heights[level == 1].sum(), abs=1)


def test_a_click_shows_what_a_node_holds_and_where_the_rest_went(page, atlas):
    _, tree, data = atlas
    before, flow = canvas(page, "map"), canvas(page, "flow")
    page.locator("[role=treeitem][aria-level='2']").nth(1).click()
    assert canvas(page, "map") != before and canvas(page, "flow") != flow
    number = page.evaluate("() => nodeOf(chosen).number")
    members = tree.members(1, number).numpy()
    labels = data.labels[members]
    best = int(np.bincount(labels).argmax())
    words = page.locator("#what").inner_text()
    assert f"{len(members)} items" in words and "of “6 prototypes”" in words
    page.locator("#level").select_option(label="class")
    row = page.locator("#what tr").nth(1).inner_text()
    found, total = int((labels == best).sum()), int((data.labels == best).sum())
    assert (
        data.hierarchy.leaf_names[best] in row and f"{100 * found / len(labels):.0f} %: {found} of its {total}" in row
    )
    marked = page.evaluate("() => drawn.filter((one) => one[3] === 2).map((one) => one[0]).sort((a, b) => a - b)")
    assert marked == sorted(members.tolist()), "all items are shown here, so places are items"
    assert page.url.endswith(f"#learned:{page.evaluate('() => chosen.place')}")
    shot(page, "node")


def test_zoom_in_and_out(page):
    whole = high(page, 0)
    node = page.locator("[role=treeitem][aria-level='1']").first
    node.click()
    assert high(page, 0)[0] > whole[0], "a chosen node has more room"
    node.click()
    zoomed = high(page, 0)
    height = page.evaluate("() => columns.height")
    assert zoomed[0] == pytest.approx(height, abs=1) and zoomed.count(0) >= 2
    assert "Zoomed to" in page.locator("#crumbs").inner_text()
    shot(page, "zoom")
    page.keyboard.press("Escape")
    assert high(page, 0).count(0) == whole.count(0)
    page.get_by_role("button", name="Clear").click()
    assert high(page, 0) == whole and not page.url.endswith("#learned:0")


def test_keys(page):
    page.locator("[role=treeitem]").first.focus()
    page.keyboard.press("Enter")
    chosen = "() => [chosen.side, nodeOf(chosen).level, nodeOf(chosen).place]"
    assert page.evaluate(chosen) == [0, 0, 0]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(chosen) == [0, 1, 1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(chosen) == [0, 1, 2]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(chosen) == [0, 0, 0] and page.evaluate("() => document.activeElement.ariaSelected") == "true"
    page.keyboard.press("Enter")
    assert page.evaluate("() => zoomed.place") == 0
    page.locator("#map").focus()
    before = page.evaluate("() => look")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    after = page.evaluate("() => look")
    assert after["scale"] == pytest.approx(1.5) and after["x"] < before["x"]


def test_search(page):
    page.keyboard.press("/")
    page.keyboard.type("B1")
    assert page.locator("#found button").all_inner_texts() == ["b1 in b"]
    page.keyboard.press("Enter")
    assert page.locator("#what h2").inner_text() == "b1" and page.locator("#found").inner_text() == ""
    assert "Where it went" in page.locator("#what").inner_text()
    page.locator("#search").fill("zebra")
    assert page.locator("#found").inner_text() == "No class has “zebra” in its name."
    page.locator("#search").fill("a")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#what h2").inner_text() == "a0"
    shot(page, "search")


def test_the_slider_moves_the_map_alone(page):
    map_before, flow_before = canvas(page, "map"), canvas(page, "flow")
    assert page.locator("#caption").inner_text() == "map 3 of 3"
    page.locator("#epoch").fill("0")
    assert page.locator("#caption").inner_text() == "map 1 of 3"
    assert canvas(page, "map") != map_before and canvas(page, "flow") == flow_before
    assert page.evaluate("() => places") == page.evaluate("() => D.map.maps[0]")
    shot(page, "epoch")
    page.get_by_role("button", name="Play the epochs").click()
    page.wait_for_function("() => epoch === 2")
    assert canvas(page, "map") == map_before


def test_the_map_answers_to_the_mouse(page):
    item, x, y = page.evaluate("() => drawn[drawn.length - 1].slice(0, 3)")
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    node = page.evaluate(f"() => label(sides[0].nodes[D.nodes[{item}]])")
    assert page.locator("#over").is_visible() and "in " in page.locator("#over").inner_text()
    page.mouse.wheel(0, -600)
    page.wait_for_function("() => look.scale > 3")
    now = page.evaluate(f"() => drawn.find((one) => one[0] === {item}).slice(1, 3)")
    assert now == pytest.approx([x, y], abs=5), "it zooms about the mouse, whose place is whole pixels"
    x, y = now
    page.mouse.click(box["x"] + x, box["y"] + y)
    assert page.locator("#what h2").inner_text() == node
    before = canvas(page, "map")
    page.get_by_label("pictures").check()
    assert canvas(page, "map") != before
    shot(page, "pictures")


def test_a_link_leads_to_the_node(browser, atlas):
    page = opened(browser, Path(atlas[0]))
    page.goto(f"{atlas[0].as_uri()}#true:3")
    page.reload()
    assert page.locator("#what h2").inner_text() == page.evaluate("() => sides[1].nodes[3].name")
    page.goto(f"{atlas[0].as_uri()}#true:99")
    page.reload()
    assert "Click a node" in page.locator("#what h2").inner_text(), "what a link cannot mean is passed over"
    assert not page.errors
    page.close()


@pytest.mark.parametrize("width", [360, 800, 1920])
def test_it_fits_windows(browser, atlas, width):
    page = opened(browser, atlas[0], width)
    page.locator("[role=treeitem]").first.click()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.locator("#map").bounding_box()["width"] >= 200
    shot(page, f"{width}")
    page.close()


def test_names_are_text(browser, tmp_path):
    path, *_ = write(tmp_path / "evil.html", hiercl.Hierarchy.from_dict(EVIL, level_names=("<b>group</b>", "class")))
    page = opened(browser, path)
    for place in range(6):
        page.evaluate(f"() => choose(1, {place})")
        assert page.locator("#what h2").inner_text() == page.evaluate(f"() => sides[1].nodes[{place}].name")
    page.locator("#search").fill("<")
    assert page.locator("#found button").count() == 2
    assert page.locator("img, b b").count() == 0 and page.locator("script").count() == 2
    shot(page, "names")
    assert not page.errors
    page.close()
