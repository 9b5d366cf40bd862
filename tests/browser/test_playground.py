"""The playground in a real browser: its loss is the package's, its ideas show what they say, every control answers.

Needs Chromium; `make test-browser` runs it.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import hiercl
from hiercl.explore import __file__ as explore

pytestmark = pytest.mark.browser
ADDRESS = (Path(explore).parent / "playground.html").as_uri()
LABELS = np.array([0, 1, 2, 3, 0, 1])


@pytest.fixture
def page(browser):
    page, errors = browser.new_page(viewport={"width": 1200, "height": 1000}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(ADDRESS)
    page.get_by_role("button", name="Pause").click()
    yield page
    assert not errors
    page.close()


def train(page, steps=250):
    return page.evaluate(
        f"() => {{ for (let i = 0; i < {steps}; i++) training.step(); measure(); draw(); return numbers; }}"
    )


@pytest.mark.parametrize("labels", [np.arange(6), LABELS], ids=["SimCLR", "SupCon"])
def test_the_loss_is_that_of_the_package(page, labels):
    z = torch.nn.functional.normalize(
        torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1
    )
    z.requires_grad_()
    loss = hiercl.contrast(z, hiercl.pairs.by_label(np.concatenate([labels, labels])), temperature=0.3)
    loss.backward()
    script = """([z, labels]) => {
        const role = (i, k) => i === k ? -1 : labels[i % 6] === labels[k % 6] ? 1 : 0;
        const found = contrast(z, z, role, 0.3);
        return [found.loss, z.map((_, i) => [...found.forAnchors[i]].map((g, d) => g + found.forCandidates[i][d]))];
    }"""
    theirs, gradient = page.evaluate(script, [z.tolist(), labels.tolist()])
    assert theirs == pytest.approx(float(loss), abs=1e-5)
    gradient, place = np.array(gradient), z.detach().numpy()
    along = (gradient * place).sum(axis=1, keepdims=True)  # ours normalises, so what points along z is gone
    assert np.allclose(gradient - along * place, z.grad, atol=1e-5)


def test_the_levels_are_those_of_hmc(page):
    """The weights of groups and classes, and who is pulled at each of them."""
    script = """() => { take("HMC"); change("weight", 3);
        const pulls = (level) => [1, 12, 40].map((other) => level.pulls(0, other));
        return levelsOf(settings, training.world).map((level) => [level.weight, ...pulls(level)]); }"""
    assert page.evaluate(script) == [[0.75, True, True, False], [0.25, True, False, False]]


def test_every_idea_shows_what_it_says(page):
    found = {}
    for name in ("False negatives", "Removed by an oracle", "SupCon", "HMC", "A wrong tree", "Cold", "Old keys"):
        page.get_by_role("button", name=name, exact=True).click()
        found[name] = train(page)
        assert page.locator("#story").inner_text()
    assert found["Removed by an oracle"]["close"] > found["False negatives"]["close"]
    assert found["SupCon"]["knnClass"] > found["False negatives"]["knnClass"] > 1 / 12
    assert found["HMC"]["siblings"] > found["SupCon"]["siblings"] > found["A wrong tree"]["siblings"]


def test_every_control_answers_and_the_link_keeps_it(page):
    def picture():
        return page.evaluate("() => document.getElementById('space').toDataURL()")

    train(page, 20)
    before = picture()
    page.evaluate("() => { change('method', 'moco'); change('remove', 0.5); }")
    for name in page.evaluate("() => Object.keys(CONTROLS)"):
        control = page.locator(f"#{name}")
        if not control.is_visible():
            assert name in ("tree", "weight")  # of HMC alone
        elif control.evaluate("control => control.tagName") == "SELECT":
            control.select_option(index=1)
        else:
            control.evaluate("control => { control.value = control.max; control.dispatchEvent(new Event('input')); }")
    assert picture() != before
    settings = page.evaluate("() => settings")
    assert settings["method"] == "moco" and settings["dim"] == 3 and settings["groups"] == 6 and settings["seed"] == 20
    link = page.evaluate("() => location.href")
    page.goto("about:blank")
    page.goto(link)
    assert page.evaluate("() => settings") == settings
    page.locator("#space").press("ArrowRight")
    assert page.evaluate("() => anchor") == 1
    page.goto(f"{ADDRESS}#temperature=cold&batch=10000&method=none")
    page.reload()
    assert page.evaluate("() => settings") == page.evaluate("() => START"), "what a link cannot mean is passed over"
