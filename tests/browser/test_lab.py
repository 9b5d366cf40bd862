"""JupyterLab in a real browser: notebooks run to their end, and every explorer answers to the mouse.

Needs Chromium; `make test-browser` runs it. Screenshots go to runs/test-browser/.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
OUT = Path(os.environ.get("HIERCL_OUT", ROOT / "runs" / "test-browser"))
MINUTE = 60_000  # milliseconds
ERROR = "[data-mime-type='application/vnd.jupyter.error']"  # after one Jupyter runs no further cell


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab whose folder holds the quickstart and the notebook of explorers."""
    folder, settings = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("settings")
    shutil.copy(ROOT / "notebooks" / "00_quickstart.ipynb", folder)
    jupytext.write(jupytext.read(Path(__file__).parent / "explorers.py"), folder / "explorers.ipynb")
    tracker = settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text(json.dumps({"windowingMode": "none"}))  # else cells out of sight are not in the page
    news = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false"}))  # a question that would lie over the notebook
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1", "--IdentityProvider.token="]
    flags += ["--expose-app-in-browser"]  # so that the test can give commands
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(settings), "HIERCL_FAST": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"HIERCL_OUT": str(folder / "out"), "JUPYTERLAB_WORKSPACES_DIR": str(settings / "workspaces")}
    log = open(folder / "lab.log", "w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *flags], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=1)
            break
        except OSError:
            assert server.poll() is None, (folder / "lab.log").read_text()
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(timeout=30)
    log.close()


def opened(browser, lab, notebook):
    """A notebook, all of whose cells have been run."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(2 * MINUTE)  # a busy machine draws slowly
    page.goto(f"{lab}/lab/tree/{notebook}?reset", timeout=2 * MINUTE)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=2 * MINUTE)
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady", timeout=MINUTE)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    ran = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(p => /\\[\\d+\\]/.test(p.textContent))"
    page.wait_for_function(f"{ran} || document.querySelector({ERROR!r})", timeout=6 * MINUTE)
    assert not (texts := page.locator(ERROR).all_inner_texts()), texts
    return page


def shot(locator, name):
    """A screenshot, kept, and its bytes."""
    OUT.mkdir(parents=True, exist_ok=True)
    locator.scroll_into_view_if_needed()
    content = locator.screenshot()
    (OUT / f"{name}.png").write_bytes(content)
    return content


def changes(locator, name, act, seconds=20):
    """After an act the picture becomes another one."""
    before = shot(locator, f"{name}-before")
    act()
    for _ in range(2 * seconds):
        time.sleep(0.5)
        if shot(locator, f"{name}-after") != before:
            return
    raise AssertionError(f"{name}: nothing changed on the screen")


def test_the_quickstart_runs_to_its_end(browser, lab):
    page = opened(browser, lab, "00_quickstart.ipynb")
    assert page.locator(".jp-OutputArea img").count() >= 8
    shot(page.locator(".jp-Notebook"), "quickstart")
    page.close()


@pytest.fixture(scope="module")
def explorers(browser, lab):
    page = opened(browser, lab, "explorers.ipynb")
    yield page.locator(".jp-CodeCell .jp-OutputArea")
    page.close()


def choose(area, label, text):
    area.locator(".widget-dropdown", has_text=label).locator("select").select_option(label=text)


def test_pairs(explorers):
    area = explorers.nth(1)
    tiles = area.locator(".hiercl-gallery").first.locator("button")
    rows = area.locator(".hiercl-gallery").nth(1)
    changes(rows, "pairs-click", tiles.nth(3).click)
    changes(rows, "pairs-selection", lambda: choose(area, "selection", "none"))
    changes(rows, "pairs-method", lambda: choose(area, "method", "G-HMLC"))


def test_tree(explorers):
    area = explorers.nth(2)
    said = area.locator(".widget-html").last
    before = said.inner_text()
    changes(area, "tree-click", lambda: area.locator(".hiercl-icicle button").nth(4).click())
    assert said.inner_text() != before
    changes(
        area.locator("img.widget-image, .widget-image img").last,
        "tree-level",
        lambda: choose(area, "true level", "class"),
    )


def test_embedding(explorers):
    area = explorers.nth(3)
    changes(area, "embedding-level", lambda: choose(area, "colours", "class"))

    def lasso():
        canvas = area.locator("canvas").first
        box = canvas.bounding_box()
        mouse, (x, y) = canvas.page.mouse, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        corners = [(-90, -90), (90, -90), (90, 90), (-90, 90), (-90, -90)]
        mouse.move(x + corners[0][0], y + corners[0][1])
        mouse.down()
        for dx, dy in corners[1:]:
            mouse.move(x + dx, y + dy, steps=12)
        mouse.up()

    changes(area, "embedding-lasso", lasso)
    assert re.search(r"[1-9]\d* of \d+ items are selected", area.inner_text())


def test_masks(explorers):
    area = explorers.nth(4)
    changes(area.locator("img").last, "masks-half", lambda: area.get_by_role("button", name="random half").click())


def test_run_and_stop(explorers):
    area = explorers.nth(5)
    changes(area, "run-start", lambda: area.get_by_role("button", name="Start").click())
    area.locator("img").first.wait_for(timeout=MINUTE)
    area.get_by_role("button", name="Stop").click()
    area.get_by_text(re.compile("topped")).first.wait_for(timeout=MINUTE)
    shot(area, "run-stopped")


def test_study(explorers):
    area = explorers.nth(6)
    area.locator(".widget-inline-hbox", has_text="seeds").locator("input").fill("1")
    area.locator(".widget-inline-hbox", has_text="seeds").locator("input").press("Enter")
    changes(area, "study-run", lambda: area.get_by_role("button", name="Run").click())
    area.get_by_text("2 of 2 runs are done").wait_for(timeout=2 * MINUTE)
    for chip in ("temperature=0.1", "temperature=0.5"):
        area.get_by_role("button", name=chip).click()
    time.sleep(3)
    shot(area, "study-compared")


def test_step(explorers):
    area = explorers.nth(7)
    shown = area.locator("img.widget-image, .widget-image img").last
    tiles = area.locator(".hiercl-gallery").first.locator("button")
    stage = area.locator(".widget-hslider", has_text="stage").locator("input.widget-readout, .widget-readout")

    def to(number):
        stage.fill(str(number))
        stage.press("Enter")

    for number in (2, 3, 4, 5):
        changes(shown, f"step-stage-{number}", lambda number=number: to(number))
    changes(shown, "step-anchor", tiles.nth(3).click)
    changes(shown, "step-term", lambda: choose(area, "term", "prototype 1"))
    slider = area.locator(".widget-hslider", has_text="temperature").locator("[role=slider], .noUi-handle").first
    changes(shown, "step-temperature", lambda: [slider.press("ArrowRight") for _ in range(8)])
    to(1)
    changes(shown, "step-play", area.locator(".widget-play button").first.click)


def test_a_prediction_comes_before_its_result(explorers):
    area = explorers.filter(has_text="Show the result").first
    assert area.locator("img").count() == 0
    area.get_by_role("button", name="Show the result").click()
    area.get_by_text("Write your prediction first.").wait_for()
    area.locator("textarea").fill("more of its own kind are removed")
    area.get_by_role("button", name="Show the result").click()
    area.locator("img").first.wait_for()
    shot(area, "prediction")
