"""What a user calls a class, a level or a data set is text in every widget, and never markup."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from support.data import vectors

import hiercl
from hiercl.clustering import PrototypeTree
from hiercl.runtime.markup import in_code, in_markdown

EVIL = "<img src=x onerror=alert(1)> & <b>"
TREE = hiercl.Hierarchy.from_dict(
    {f"{EVIL} a": [f"{EVIL} 0", f"{EVIL} 1"], "b": ["2", "3"]}, level_names=(f"{EVIL} group", f"{EVIL} class")
)


def html_of(widget) -> list[str]:
    """Texts of all widgets inside one that are read as HTML."""
    own = [widget.value] if type(widget).__name__ == "HTML" else []
    return own + [text for child in getattr(widget, "children", ()) for text in html_of(child)]


def test_names_in_explorers(tmp_path):
    data = replace(vectors(48), hierarchy=TREE, name=EVIL)
    features = torch.from_numpy(np.array(data.items[:, 0])).float()
    tree = hiercl.explore.tree(PrototypeTree.fit(features, (2, 4)), data, coordinates=features[:, :2])
    shown = [
        *html_of(tree.widget),
        *html_of(hiercl.explore.pairs(None, data, batch=16).widget),
        *html_of(hiercl.explore.masks(None, data).widget),
        *html_of(hiercl.explore.embedding(None, data, coordinates={EVIL: features[:, :2]}).widget),
        *html_of(hiercl.explore.run("simclr", data).widget),
        *html_of(hiercl.explore.study({"method": "simclr"}, {"dim": [8, 16]}, data, data, tmp_path, EVIL).widget),
    ]
    assert sum("&lt;img" in text for text in shown) >= 4
    assert not [text for text in shown if re.search(r"<(img|b> *$)|<b>[^<]*<b>", text)]


def test_scripts_of_widgets_set_texts_not_markup():
    scripts = list(Path(hiercl.explore.__file__).parent.glob("*.js"))
    assert scripts and not [script.name for script in scripts if "innerHTML" in script.read_text("utf-8")]


def test_names_in_markdown():
    assert in_markdown("a|b *c* [d](e) `f`\n# <i>") == r"a\|b \*c\* \[d\](e) \`f\` # &lt;i&gt;"
    assert in_code("a`b\nc") == "`a'b c`"
    report = hiercl.evaluate(features=(np.eye(8), np.eye(8)), labels=([EVIL, "b"] * 4,) * 2)
    assert "<img" not in report._repr_html_()
