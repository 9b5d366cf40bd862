"""The pairs of an anchor: click a picture, move a slider, and see who is pulled, pushed and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import gallery, row
from hiercl.explore._widgets import widgets
from hiercl.methods import Step
from hiercl.pairs import Term, audit
from hiercl.plot._canvas import readable
from hiercl.plot._pairs import ROLES, pick_term, role_groups
from hiercl.training import Run

ANCHORS, SHOWN = 20, 12  # pictures to choose from; candidates in a row
SELECTIONS = ("as trained", "none", "instances", "prototypes", "both")


def pairs(
    runs: Run | Mapping[str, Run],
    train: HierarchicalDataset,
    batch: int = 128,
    seed: int = 0,
    rules: Mapping[str, Callable] | None = None,
) -> PairsExplorer:
    """Click an anchor; see its candidates, the most similar first, framed by what the method does with them.

    Under each stands its class, the lowest common ancestor with the anchor, and the probability with which selection
    keeps it. Method (of several runs), term, temperature, selection and the level that is judged can be moved; counts
    and the rate of false negatives follow. Nothing is trained: the weights are those of the run, and what was fitted in
    its training stays as it is. The static twin is :func:`hiercl.plot.pairs`.

    Args:
        runs: one, or several by name.
        train: what they were trained on.
        batch: anchors of the step.
        seed: of the anchors, the views and the draws.
        rules: of your own, by name, beside those that a selection has: from posterior to keep probability.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: a run was trained on other items, or there is none.

    Example:
        >>> hiercl.explore.pairs({"MoCo v2": moco, "HCSC": hcsc}, train)
    """
    named = {runs.name: runs} if isinstance(runs, Run) else dict(runs)
    if not named:
        raise ValueError("there is no run: give one, or several by name.")
    return PairsExplorer(named, train, batch, seed, dict(rules or {}))


class PairsExplorer:
    """See :func:`pairs`. Its widgets are attributes, so that they can be set from code as well."""

    def __init__(self, runs: dict[str, Run], train: HierarchicalDataset, batch: int, seed: int, rules: dict):
        w = widgets()
        self.runs, self.train, self.batch, self.seed, self.rules = runs, train, batch, seed, rules
        self.anchor, self.held = 0, False
        wide = {"style": {"description_width": "7em"}, "layout": w.Layout(width="22em")}
        self.method = w.Dropdown(description="method", options=list(runs), **wide)
        self.term = w.Dropdown(description="term", **wide)
        self.temperature = w.FloatLogSlider(
            description="temperature", min=-2, max=0.5, step=0.05, value=0.1, continuous_update=False, **wide
        )
        self.selection = w.Dropdown(description="selection", options=[*SELECTIONS, *rules], **wide)
        levels = [(readable(name), level) for level, name in enumerate(train.hierarchy.level_names)]
        self.level = w.Dropdown(description="same at level", options=levels, value=len(levels) - 1, **wide)
        self.anchors, self.candidates = gallery(), gallery()
        self.counts = w.HTML()
        self.widget = w.VBox(
            [
                w.HTML("<b>Click an anchor</b>"),
                self.anchors,
                w.HBox([w.VBox([self.method, self.term, self.selection]), w.VBox([self.temperature, self.level])]),
                self.counts,
                self.candidates,
            ]
        )
        self._as_trained()
        self.method.observe(lambda change: self._as_trained(), "value")
        for control in (self.temperature, self.selection):
            control.observe(lambda change: self._step(), "value")
        for control in (self.term, self.level):
            control.observe(lambda change: self._draw(), "value")
        self.anchors.observe(lambda change: self._clicked(change["new"]), "clicked")

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    @property
    def run(self) -> Run:
        """The chosen run, under the settings that the controls show."""
        settings: dict[str, Any] = {"temperature": self.temperature.value}
        if self.selection.value != SELECTIONS[0]:
            settings["select"] = self.rules.get(self.selection.value, self.selection.value)
        return self.runs[self.method.value].changed(**settings)

    def _as_trained(self) -> None:
        """Another run: its own temperature, and selection where its method has one."""
        config = self.runs[self.method.value].method.config
        self.held = True
        self.temperature.value = config.temperature
        self.selection.value = SELECTIONS[0]
        self.selection.disabled = not hasattr(config, "select")
        self.held = False
        self._step()

    def _step(self) -> None:
        """One step with the weights as they are; the same anchors, views and draws every time."""
        if self.held:
            return
        self.step: Step = self.run.step(self.train, batch=self.batch, seed=self.seed)
        names = [term.name for term in self.step.terms]
        chosen = self.term.value if self.term.value in names else pick_term(self.step, None).name
        self.held = True
        self.term.options = names
        self.term.value = chosen
        self.held = False
        self._draw()

    @property
    def chosen(self) -> Term:
        """The term that is shown."""
        return pick_term(self.step, self.term.value)

    def _clicked(self, item: int) -> None:
        items = self.chosen.pairs.anchors.item.tolist()
        if item in items:
            self.anchor = items.index(item)
            self._draw()

    def _draw(self) -> None:
        if self.held:
            return
        term, train, level = self.chosen, self.train, self.level.value
        shown = term.pairs.anchors.item[:ANCHORS].cpu().numpy()
        names = [readable(train.hierarchy.leaf_names[train.labels[item]]) for item in shown]
        if [entry["item"] for line in self.anchors.rows for entry in line["entries"]] != shown.tolist():
            self.anchors.rows = [row(train, shown, [[name] for name in names])]
        self.anchor = min(self.anchor, len(term.pairs.anchors) - 1)
        item = int(term.pairs.anchors.item[self.anchor])
        self.anchors.clicked = item
        groups = role_groups(term, train, self.anchor, item, SHOWN, self.runs[self.method.value].tree, level)
        self.candidates.rows = [
            row(
                train,
                np.asarray(group.items),
                list(zip(group.names, group.common, group.notes, strict=True)),
                f"{ROLES[group.role][1]} {group.role}",
                f"{group.total:,} candidates, {100 * group.total_same / group.total:.1f} % of the anchor's class",
                ROLES[group.role][0],
                group.same.tolist(),
            )
            for group in groups
        ]
        found = audit(term.pairs, train.labels, train.hierarchy, self.runs[self.method.value].tree).iloc[level]
        rate, pushed, removed = 100 * found["false_negative_rate"], int(found["pushed"]), int(found["removed"])
        self.counts.value = (
            f"All {len(term.pairs.anchors)} anchors, {found['level']}: of {pushed:,} pushed <b>{rate:.2f} %</b> are "
            f"false negatives; {removed:,} removed. Loss {float(self.step.loss):.3f}."
        )
