"""Tests of the pages in docs/: their numbers are those of the files, their links and the names in their code exist."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import hiercl

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_are_those_of_the_files(build):
    assert build.main(check=True) == [], "run .venv/bin/python docs/build.py"


def test_a_number_that_was_altered_is_found(build):
    page = (DOCS / "results-cifar100.md").read_text(encoding="utf-8")
    number = re.search(r"<!-- table: .*? -->.*?(\d+\.\d) ± ", page, re.DOTALL)[1]
    altered = page.replace(f"{number} ± ", "99.9 ± ", 1)
    assert altered != page and build.written(altered) == page


def test_an_effect_is_that_of_the_study(build):
    """The first two are numbers of the README of the first version."""
    assert build.write_effect("cifar100", "HCSC", "MoCo v2", "linear class") == "−0.35 [−0.82, +0.12]"
    assert build.write_effect("cifar100", "HMC", "SupCon", "knn class") == "+0.56 [−0.34, +1.23]"
    assert build.write_effect("labels", "HMCE, official", "SupCon", "linear class") == "−0.20 [−0.35, −0.04]"
    assert build.write_mean("few-labels", "SimCLR", "10 % labels linear class") == "15.7"


def test_a_metric_that_a_level_does_not_have_leaves_its_cell_empty(build):
    table = build.write_effects("shuffled-shapes", "HMC less HMC, shuffled", "knn, dendrogram_purity")
    header, _, knn, purity = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().split("\n"))
    assert header[2:] == ["domain", "group", "class"] and "–" not in knn
    of_class = build.write_effect("shuffled-shapes", "HMC", "HMC, shuffled", "dendrogram_purity class")
    assert purity[2] == "–" and purity[4].startswith(of_class)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "index.md" and f"({page.name})" not in index] == []


STUB = (DOCS.parent / "hiercl" / "__init__.pyi").read_text()
SETTINGS = set(re.findall(r"^    (\w+): .* = \.\.\.,$", STUB, re.MULTILINE))


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_code_of_pages_names_what_exists(page):
    """Blocks of Python are valid, their names of hiercl exist, and its functions know their keyword arguments."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hiercl":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and _of_package(node) is None:
                pytest.fail(f"{ast.unparse(node)} does not exist")
            if isinstance(node, ast.Call) and inspect.isroutine(found := _of_package(node.func)):
                known = inspect.signature(found).parameters
                free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
                asked = {word.arg for word in node.keywords if word.arg} - known.keys()
                # Only the settings of a training are known here; a data set's own options are not.
                assert not (asked - SETTINGS if free and found is hiercl.fit else asked and not free), ast.unparse(node)


def _of_package(node):
    """The object that ``hiercl.a.b`` names; None if it does not exist; "other" for what does not begin so."""
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not words or not isinstance(node, ast.Name) or node.id != "hiercl":
        return "other"
    found = hiercl
    for word in reversed(words):
        found = getattr(found, word, None)
    return found
