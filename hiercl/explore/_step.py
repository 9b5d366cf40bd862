"""One anchor of a real step, stage by stage: choose it, play the stages, and change the temperature."""

from __future__ import annotations

from typing import Annotated, Any

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import gallery, row
from hiercl.explore._pairs import ANCHORS, AnchorExplorer, FeaturePairs
from hiercl.explore._widgets import image, plain, png, sized, widgets
from hiercl.methods import Step
from hiercl.plot._canvas import class_name
from hiercl.plot._pairs import first_anchor
from hiercl.plot._step import STAGES, OneAnchor, draw_step, learned_step, one_anchor
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast, Between
from hiercl.training import Run

PAUSE = 2500  # milliseconds between two stages while they play


@checked
def step(
    run: Any,
    train: HierarchicalDataset,
    batch: Annotated[int, AtLeast(1)] = 128,
    seed: Annotated[int, AtLeast(0)] = 0,
    count: Annotated[int, Between(1, 8)] = 5,
) -> StepExplorer:
    """Takes one anchor through a real step: candidates, similarities, softmax, pull and push, and what a step changes.

    A click on a picture makes it the anchor. The slider shows the stages one by one, and *Play* goes through them.
    Another temperature makes the step again, with the same weights, anchors, views and random choices; prototypes have
    temperatures of their own, which stay as they were fitted. Nothing is trained, and the run does not change: the last
    stage moves the feature, and the weights of a copy of the run. What each stage shows is explained at the static
    twin, :func:`hiercl.plot.step`.

    Args:
        run: A run. Where there is none: features ``[items, d]`` or ``[items, views, d]``, NumPy or torch, or None for
            vectors themselves. Their pairs are those of SupCon at every level, and, with several views, those of
            SimCLR.
        train: The data set that it was trained on, or the items of the features.
        batch: Number of anchors in the step.
        seed: Seed of the anchors, the views and all random choices of the step.
        count: Number of pushed candidates that are shown.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: The run was trained on other items.

    Example:
        >>> explorer = hiercl.explore.step(run, train, batch=32)
        >>> explorer.stage.value = 4
        >>> explorer.temperature.value = 0.5
    """
    return StepExplorer(run if isinstance(run, Run) else FeaturePairs.of(run, train), train, batch, seed, count)


class StepExplorer(AnchorExplorer):
    """The explorer that :func:`step` returns.

    Attributes:
        step: The step that is shown.
        anchor: Number of the anchor in the step.
        shown: What is drawn: the anchor, its candidates and its forces.
    """

    shown: OneAnchor

    def __init__(self, run: Run | FeaturePairs, train: HierarchicalDataset, batch: int, seed: int, count: int):
        self.of, self.train, self.count = run, train, count
        self.made = {"batch": batch, "seed": seed}
        self.after: tuple[Step, str] | None = None
        self.anchor: int | None = None

        w, size = widgets(), sized("22em", "7em")
        self.term = w.Dropdown(description="term", **size)
        config = run.method.config if isinstance(run, Run) else run
        slider = {"min": -2, "max": 0.5, "step": 0.05, "value": config.temperature, "continuous_update": False}
        self.temperature = w.FloatLogSlider(description="temperature", **slider, **size)
        stages = {"min": 1, "max": len(STAGES), "value": 1}
        self.stage = w.IntSlider(description="stage", continuous_update=False, **stages, **size)
        self.play = w.Play(interval=PAUSE, **stages)
        w.link((self.play, "value"), (self.stage, "value"))
        self.anchors, self.picture = gallery(), image()
        controls = [self.term, self.temperature, w.HBox([self.play, self.stage])]
        head = w.HTML("<b>Click an anchor</b>")
        self.widget = w.VBox([head, self.anchors, w.HBox(controls), self.picture])

        self._make_step()
        self._on_change(self._make_step, self.temperature)
        self._on_change(self._draw, self.term, self.stage)
        self._on_change(self._choose_anchor, self.anchors, trait="clicked")

    @property
    def run(self) -> Run | FeaturePairs:
        """The run, or the features, at the temperature that is chosen."""
        return self.of.changed(temperature=self.temperature.value)

    def _make_step(self) -> None:
        """Makes the step with the weights as they are, and with the same anchors, views and random choices."""
        self.step, self.after = self.run.step(self.train, **self.made), None
        self._offer_terms()
        self._draw()

    def _draw(self) -> None:
        items = self.chosen.pairs.anchors.item
        self.anchor = first_anchor(self.chosen) if self.anchor is None else min(self.anchor, len(items) - 1)
        if not self.anchors.rows:
            shown = items[:ANCHORS].cpu().numpy()
            self.anchors.rows = [row(self.train, shown, [[plain(class_name(self.train, item))] for item in shown])]
        with self._quietly():
            self.anchors.clicked = int(items[self.anchor])
        run, stage = self.run, self.stage.value
        if stage == len(STAGES) and self.after is None and isinstance(run, Run):
            self.after = learned_step(run, self.train, **self.made)
        after, network = self.after or (None, "")
        chosen = (self.step, self.train, self.anchor, self.term.value, self.count, self.of.tree)
        self.shown = one_anchor(*chosen, after=after, network=network)
        self.picture.value = png(draw_step(self.shown, stage))
