"""The page of a study in a real browser: variants are found by name, columns are sorted, names are no markup.

Needs Chromium; `make test-browser` runs it.
"""

import pytest
from support.data import pictures
from support.studies import make

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    variants = {"low": {"lr": 1e-4}, "high": {"lr": 1e-2}, EVIL: {"method": "supcon"}}
    folder = tmp_path_factory.mktemp("study")
    study = make(folder, variants, name="<b>study", baseline={"high": "low"}, metrics=["knn"])
    return study.run(pictures(32), pictures(32, seed=1), progress=False)


def column(table, number):
    return [row.split("\t")[number] for row in table.inner_text().splitlines()[1:]]


def test_find_and_sort(browser, study, tmp_path):
    page, errors = browser.new_page(viewport={"width": 1000, "height": 900}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or errors.append(sent.url))
    page.goto(study.report(tmp_path / "page.html").as_uri())
    assert page.locator("h1").inner_text() == "<b>study" and page.locator("img").count() == 1
    titles = page.locator("nav a").all_inner_texts()
    assert titles == page.locator("section h2").all_inner_texts() and titles[0] == "Pictures" and "knn (%)" in titles
    runs = page.locator("section", has=page.get_by_role("heading", name="Runs")).locator("table")
    assert column(runs, 0) == ["low", "high", EVIL] * 2
    heads = runs.locator("th").all_inner_texts()
    place = next(number for number, head in enumerate(heads) if head.startswith("seed"))
    seeds = runs.locator("th").nth(place)
    seeds.click()
    assert column(runs, place) == ["1", "1", "1", "0", "0", "0"] and seeds.get_attribute("aria-sort") == "descending"
    seeds.press("Enter")
    assert column(runs, place) == ["0", "0", "0", "1", "1", "1"] and seeds.get_attribute("aria-sort") == "ascending"
    page.get_by_label("Find a variant").fill("HIGH ")
    assert column(runs, 0) == ["high", "high"]
    page.get_by_label("Find a variant").fill("")
    assert len(column(runs, 0)) == 6 and not errors
    page.close()
