"""The pairs of an anchor: click a picture, move a slider, and see which candidates are pulled, pushed and removed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.datasets.features import as_vectors
from hiercl.encoders.features import features_of
from hiercl.explore._gallery import gallery, row
from hiercl.explore._widgets import Explorer, level_choice, marked, plain, sized, widgets
from hiercl.methods import Step
from hiercl.pairs import BlockTerm, Term, audit, by_item, by_label
from hiercl.plot._canvas import class_name
from hiercl.plot._neighbours import name_of
from hiercl.plot._pairs import ROLES, StepPictures, pick_term, role_groups
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_ids, as_tensor
from hiercl.runtime.config import AtLeast
from hiercl.training import Run

ANCHORS, SHOWN = 20, 12  # pictures to choose an anchor from; candidates in a row
AS_TRAINED = "as trained"
SELECTIONS = (AS_TRAINED, "none", "instances", "prototypes", "both")


@dataclass(frozen=True)
class FeaturePairs:
    """Stands where a run does, for features without one: their pairs by label, and by item if there are several views.

    Attributes:
        features: the features, ``[items, views, d]``. The last two views of an item are used.
        temperature: divides the similarities.
    """

    features: Tensor
    temperature: float = 0.1
    tree: ClassVar[None] = None

    @classmethod
    def of(cls, features: Any, dataset: HierarchicalDataset) -> FeaturePairs:
        """Takes features ``[items, d]`` or ``[items, views, d]``, or None for the vectors of the data set."""
        if features is None:
            features_of(None, dataset)  # an error if these are no vectors
            features = dataset.items
        vectors = as_vectors(features)
        if len(vectors) != len(dataset):
            raise ValueError(f"features of {len(vectors)} items do not fit {dataset.name!r} ({len(dataset)} items).")
        if vectors.shape[1] == 1 and not dataset.labelled:
            raise ValueError(f"{dataset.name!r} has one view of each item and no labels, so there is nothing to pull.")
        return cls(as_tensor(vectors))

    def changed(self, temperature: float) -> FeaturePairs:
        """Returns the same features with another temperature."""
        return replace(self, temperature=temperature)

    def step(self, dataset: HierarchicalDataset, batch: int, seed: int) -> Step:
        """Returns the term of the items, if there are two views, and the term of every level of the hierarchy."""
        item = torch.from_numpy(np.random.default_rng(seed).permutation(len(dataset))[:batch])
        views = self.features[item, -2:]
        z, item = views.transpose(0, 1).flatten(0, 1), item.repeat(views.shape[1])
        named = {"instance": by_item(item)} if views.shape[1] > 1 else {}
        if dataset.labelled:
            labels = as_ids(dataset.labels)[item]
            levels = by_label(labels, dataset.hierarchy, level=None, items=item)
            named |= {f"level {level}": of_level for level, of_level in enumerate(levels)}
        return Step(tuple(Term.of(z, own, self.temperature, name=name) for name, own in named.items()), item)


@checked
def pairs(
    runs: Any,
    train: HierarchicalDataset,
    batch: Annotated[int, AtLeast(1)] = 128,
    seed: Annotated[int, AtLeast(0)] = 0,
    rules: Mapping[str, Callable] | None = None,
) -> PairsExplorer:
    """Shows the candidates of an anchor, the most similar first, framed by what the method does with them.

    The pictures are the views that the step saw; items of the queue, prototypes and vectors are shown as they are. A
    click on a picture makes it the anchor. Under each candidate stand its class, its lowest common ancestor with the
    anchor, and the probability with which selection keeps it. Controls change the run, the term, the temperature, the
    selection and the level at which classes are compared. The counts and the rate of false negatives follow. Nothing is
    trained, and the runs do not change. The static twin is :func:`hiercl.plot.pairs`.

    Args:
        runs: A run, or several by name. Where there is none: features ``[items, d]`` or ``[items, views, d]``, NumPy or
            torch, or None for vectors themselves. Their pairs are those of SupCon at every level, and, with several
            views, those of SimCLR.
        train: The data set that they were trained on, or the items of the features.
        batch: Number of anchors in the step.
        seed: Seed of the anchors, the views and all random choices of the step.
        rules: Selection rules of your own, by name: functions from posterior to keep probability.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: There is no run, or a run was trained on other items.

    Example:
        >>> explorer = hiercl.explore.pairs({"HCSC": run, "G-HMLC": masked_run}, train, batch=32)
        >>> explorer.temperature.value = 0.5
    """
    named = dict(runs) if isinstance(runs, Mapping) else {name_of(runs, "features"): runs}
    if not named:
        raise ValueError("there is no run: give one, or several by name.")
    made = {name: run if isinstance(run, Run) else FeaturePairs.of(run, train) for name, run in named.items()}
    return PairsExplorer(made, train, batch, seed, dict(rules or {}))


class AnchorExplorer(Explorer):
    """What explorers of one anchor share: the term that is chosen, and the anchor that is clicked."""

    step: Step
    anchor: int | None
    term: Any
    anchors: Any

    @property
    def chosen(self) -> Term | BlockTerm:
        """The term that is shown."""
        return pick_term(self.step, self.term.value)

    def _offer_terms(self) -> None:
        """Offers the terms of the step; the one that was chosen stays so, where the step has it."""
        names = [term.name for term in self.step.terms]
        chosen = self.term.value if self.term.value in names else pick_term(self.step, None).name
        with self._quietly():
            self.term.options = names
            self.term.value = chosen

    def _choose_anchor(self) -> None:
        items = self.chosen.pairs.anchors.item.tolist()
        if self.anchors.clicked in items:
            self.anchor = items.index(self.anchors.clicked)
            self._draw()

    @abstractmethod
    def _draw(self) -> None:
        """Draws the anchor and its candidates."""


class PairsExplorer(AnchorExplorer):
    """The explorer that :func:`pairs` returns.

    Attributes:
        step: The step that is shown.
        anchor: Number of the anchor in the step.
    """

    def __init__(
        self, runs: dict[str, Run | FeaturePairs], train: HierarchicalDataset, batch: int, seed: int, rules: dict
    ):
        self.runs, self.train, self.batch, self.seed, self.rules = runs, train, batch, seed, rules
        self.anchor: int = 0

        w, size = widgets(), sized("22em", "7em")
        self.method = w.Dropdown(description="method", options=list(runs), **size)
        self.term = w.Dropdown(description="term", **size)
        slider = {"min": -2, "max": 0.5, "step": 0.05, "value": 0.1, "continuous_update": False}
        self.temperature = w.FloatLogSlider(description="temperature", **slider, **size)
        self.selection = w.Dropdown(description="selection", options=[*SELECTIONS, *rules], **size)
        self.level = level_choice(train.hierarchy, "same at level", train.hierarchy.levels - 1, **size)
        self.anchors, self.candidates, self.counts = gallery(), gallery(), w.HTML()
        controls = [w.VBox([self.method, self.term, self.selection]), w.VBox([self.temperature, self.level])]
        head = w.HTML("<b>Click an anchor</b>")
        self.widget = w.VBox([head, self.anchors, w.HBox(controls), self.counts, self.candidates])

        self._show_run()
        self._on_change(self._show_run, self.method)
        self._on_change(self._make_step, self.temperature, self.selection)
        self._on_change(self._draw, self.term, self.level)
        self._on_change(self._choose_anchor, self.anchors, trait="clicked")

    @property
    def run(self) -> Run | FeaturePairs:
        """The chosen run, with the settings of the controls."""
        settings: dict[str, Any] = {"temperature": self.temperature.value}
        if self.selection.value != AS_TRAINED:
            settings["select"] = self.rules.get(self.selection.value, self.selection.value)
        return self.runs[self.method.value].changed(**settings)

    def _show_run(self) -> None:
        """Sets the temperature and the selection to those of the chosen run."""
        run = self.runs[self.method.value]
        config = run.method.config if isinstance(run, Run) else run
        with self._quietly():
            self.temperature.value = config.temperature
            self.selection.value = AS_TRAINED
            self.selection.disabled = not hasattr(config, "select")
        self._make_step()

    def _make_step(self) -> None:
        """Makes a step with the weights as they are, and with the same anchors, views and random choices."""
        self.step = self.run.step(self.train, batch=self.batch, seed=self.seed)
        self._offer_terms()
        self._draw()

    def _draw(self) -> None:
        pairs, train, level = self.chosen.pairs, self.train, self.level.value
        tree = self.runs[self.method.value].tree
        shown = pairs.anchors.item[:ANCHORS].cpu().numpy()
        names = [[plain(class_name(train, item))] for item in shown]
        views = StepPictures(self.step, self.chosen, train)
        pictures = [views.of_anchor(anchor, int(item)) for anchor, item in enumerate(shown)]
        anchors = [row(train, shown, names, note=views.said, pictures=pictures)]
        if self.anchors.rows != anchors:
            self.anchors.rows = anchors
        self.anchor = min(self.anchor, len(pairs.anchors) - 1)
        item = int(pairs.anchors.item[self.anchor])
        with self._quietly():
            self.anchors.clicked = item
        self.candidates.rows = [
            row(
                train,
                np.asarray(group.items),
                list(zip(group.names, group.common, group.notes, strict=True)),
                f"{ROLES[group.role][1]} {group.role}",
                f"{group.total:,} candidates, {100 * group.total_same / group.total:.1f} % of the anchor's class"
                + f"; {group.seen}" * bool(group.seen),
                ROLES[group.role][0],
                group.same.tolist(),
                group.pictures,
            )
            for group in role_groups(self.chosen, train, self.anchor, item, SHOWN, tree, level, views)
        ]
        found = audit(pairs, train.labels, train.hierarchy, tree).iloc[level]
        rate, pushed, removed = 100 * found["false_negative_rate"], int(found["pushed"]), int(found["removed"])
        self.counts.value = (
            f"All {len(pairs.anchors)} anchors, {marked(found['level'])}: of {pushed:,} pushed pairs "
            f"<b>{rate:.2f} %</b> are false negatives; {removed:,} are removed. Loss {float(self.step.loss):.3f}."
        )
