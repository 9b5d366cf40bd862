"""A study to steer: choose what varies, see how long it takes, run, stop, go on, compare two variants."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hiercl import plot
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._widgets import png, widgets
from hiercl.study import Study
from hiercl.study.estimate import duration

METRICS = ("linear", "knn", "ami", "hierarchical_f1", "linear_balanced")
MAP_ITEMS = 600  # of the maps of two variants


def study(
    base: Mapping[str, Any],
    factors: Mapping[str, Sequence[Any]],
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    out: str | Path = "runs/studies",
    name: str = "my study",
) -> StudyExplorer:
    """Choose factors, values, seeds and a time budget; see how long it would take; run, and watch the picture fill.

    *Stop* ends it after the epoch that runs, *Run* goes on from there. Below, click two variants: their trees, pairs or
    embeddings stand side by side. The static twin is :meth:`hiercl.Study.plot`.

    Args:
        base: settings of all variants.
        factors: what can be varied: setting and values. Those chosen make the full grid; of the others the base's value
            is used, or the default.
        train, test: the data.
        out: folder of studies and runs.
        name: of the explorer: the question of its studies.

    Returns:
        The explorer, which a notebook displays; ``explorer.study`` is the study as it is chosen.

    Raises:
        ImportError: ipywidgets is not installed.

    Example:
        >>> hiercl.explore.study({"method": "hcsc", "epochs": 5}, {"select": ["none", "both"]}, train, test)
    """
    return StudyExplorer(base, factors, train, test, out, name)


class StudyExplorer:
    """See :func:`study`. Its widgets are attributes, so that they can be set from code as well."""

    def __init__(
        self,
        base: Mapping[str, Any],
        factors: Mapping[str, Sequence[Any]],
        train: HierarchicalDataset,
        test: HierarchicalDataset,
        out: str | Path,
        name: str,
    ):
        w = widgets()
        self.base, self.data, self.out, self.name = dict(base), (train, test), Path(out), name
        self.stop_asked = threading.Event()
        self.thread: threading.Thread | None = None
        wide = {"layout": w.Layout(width="auto"), "style": {"description_width": "8em"}}
        self.values = {
            factor: w.SelectMultiple(
                description=factor,
                options=[(str(value), number) for number, value in enumerate(choices)],
                value=tuple(range(len(choices))),
                rows=min(5, len(choices)),
                **wide,
            )
            for factor, choices in factors.items()
        }
        self.choices = {factor: list(choices) for factor, choices in factors.items()}
        self.seeds = w.BoundedIntText(description="seeds", value=5, min=1, max=50, **wide)
        self.budget = w.BoundedFloatText(description="minutes", value=5.0, min=0.1, max=10_000, **wide)
        self.metric = w.Dropdown(description="metric", options=METRICS, **wide)
        self.estimated = w.HTML()
        self.run_button = w.Button(description="Run", button_style="primary")
        self.stop_button = w.Button(description="Stop", disabled=True)
        self.progress = w.IntProgress(min=0, max=1, layout=w.Layout(width="20em"))
        self.status = w.HTML()
        self.picture = w.Image(format="png", layout=w.Layout(max_width="100%"))
        self.chips: dict[str, Any] = {}  # a button to click for every variant
        self.chip_row = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self.picked: list[str] = []  # the variants that are compared, at most two
        self.what = w.ToggleButtons(options=["pairs", "tree", "embedding"], value="pairs")
        self.pictures = [w.Image(format="png", layout=w.Layout(max_width="50%")) for _ in range(2)]
        self.compared = w.HTML()
        self.widget = w.VBox(
            [
                w.HBox([w.VBox(list(self.values.values())), w.VBox([self.seeds, self.budget, self.metric])]),
                self.estimated,
                w.HBox([self.run_button, self.stop_button, self.progress, self.status]),
                self.picture,
                w.HBox([w.HTML("Click two variants to compare their"), self.what]),
                self.chip_row,
                self.compared,
                w.HBox(self.pictures),
            ]
        )
        for control in (*self.values.values(), self.seeds, self.budget):
            control.observe(self._chosen, "value")
        self.metric.observe(lambda change: self.draw(), "value")
        self.run_button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop_asked.set())
        self.what.observe(lambda change: self.compare(), "value")
        self._chosen()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    # ---- what is chosen ----

    @property
    def study(self) -> Study:
        """The study as it is chosen now."""
        vary = {f: [self.choices[f][i] for i in box.value] for f, box in self.values.items() if box.value}
        if not vary:
            raise ValueError("nothing is chosen: choose at least one value of one factor.")
        chosen = Study(self.base, vary, self.seeds.value, None, self.out, question=self.name)
        return chosen.of(*self.data)

    @property
    def running(self) -> bool:
        """Whether runs are being made."""
        return self.thread is not None and self.thread.is_alive()

    def _chosen(self, change: Any = None) -> None:
        """Says how long what is chosen would take, and whether that fits the budget."""
        if self.running:
            return
        try:
            chosen = self.study
            total, runs = chosen.estimate().total, len(chosen.missing())
        except ValueError as error:
            self.run_button.disabled = True
            self.estimated.value = f"<b>{html.escape(str(error))}</b>"
            return
        self.run_button.disabled = False
        long = total > 60 * self.budget.value
        over = f" More than the {self.budget.value:g} minutes: Run stops when they are over." if long else ""
        self.estimated.value = f"{runs} runs are missing: about {duration(total)}.{over}"
        self._make_chips(list(chosen.variants))
        self.draw()

    # ---- running ----

    def start(self, wait: bool = False) -> None:
        """Runs what is missing, beside the notebook; with ``wait=True`` it comes back when that has ended."""
        if self.running:
            return
        chosen = self.study
        self.stop_asked.clear()
        self._enable(False)
        self.thread = threading.Thread(target=self._run, args=(chosen,), daemon=True)
        self.thread.start()
        if wait:
            self.thread.join()

    def _run(self, chosen: Study) -> None:
        total = len(chosen.members())
        self.progress.max = total
        timer = threading.Timer(60 * self.budget.value, self.stop_asked.set)
        timer.daemon = True
        timer.start()

        def after_epoch(run: Any) -> None:
            if self.stop_asked.is_set():
                raise KeyboardInterrupt

        def after_run(study: Study) -> None:
            left = len(study.missing())
            self.progress.value = total - left
            self.status.value = (
                f"{total - left} of {total} runs; about {duration(study.estimate(trial=False).total)} left"
            )
            self.draw(study)
            if self.stop_asked.is_set():
                raise KeyboardInterrupt

        what = ""
        try:
            chosen.run(progress=False, after_run=after_run, after_epoch=after_epoch)
        except Exception as error:  # in this thread nobody else would tell
            what = f"; {type(error).__name__}: {error}"
        finally:
            timer.cancel()
            left, failed = len(chosen.missing()), chosen.failed()
            if failed:
                what = f"; {len(failed)} failed: {failed[0].place.why}"
            elif left and not what:
                what = "; stopped"
            self.progress.value = total - left
            self.status.value = html.escape(f"{total - left} of {total} runs are done{what}")
            self._enable(True)
            self.draw(chosen)

    def _enable(self, enabled: bool) -> None:
        """While runs are made nothing can be chosen: a trial for the estimate would disturb them."""
        controls = (*self.values.values(), self.seeds, self.budget, self.run_button, self.what, *self.chips.values())
        for control in controls:
            control.disabled = not enabled
        self.stop_button.disabled = enabled

    def draw(self, chosen: Study | None = None) -> None:
        """The picture of what is done so far."""
        chosen = self.study if chosen is None else chosen
        try:
            self.picture.value = png(chosen.plot(self.metric.value))
        except ValueError:  # nothing is done yet
            self.picture.value = b""

    # ---- two variants ----

    def _make_chips(self, names: list[str]) -> None:
        """A button for every variant, those that were picked before still down."""
        if names == list(self.chips):
            return
        w = widgets()
        self.picked = [name for name in self.picked if name in names]
        self.chips = {}
        for name in names:
            chip = w.ToggleButton(description=name, value=name in self.picked, layout=w.Layout(width="auto"))
            chip.observe(lambda change, name=name: self._pick(name, change["new"]), "value")
            self.chips[name] = chip
        self.chip_row.children = list(self.chips.values())

    def _pick(self, name: str, down: bool) -> None:
        """A click on a variant; of three the first goes up again."""
        self.picked = [other for other in self.picked if other != name] + [name] * down
        if len(self.picked) > 2:
            self.chips[self.picked[0]].value = False  # which calls this again
        elif len(self.picked) == 2:
            self.compare()

    def compare(self) -> None:
        """Trees, pairs or embeddings of the two variants that are picked, of the first seed, side by side."""
        if len(self.picked) < 2:
            return
        ways: dict[str, Callable] = {"pairs": self._pairs, "tree": self._tree, "embedding": self._embedding}
        chosen, said = self.study, []
        for name, image in zip(self.picked, self.pictures, strict=True):
            member = chosen.member(name, chosen.seeds[0])
            if member.place.state != "done":
                image.value = b""
                said.append(f"“{name}” is not done yet: run it first.")
                continue
            try:
                image.value = png(ways[self.what.value](member))
            except (ValueError, ImportError) as error:
                image.value = b""
                said.append(f"“{name}”: {error}")
        self.compared.value = html.escape(" ".join(said))

    def _pairs(self, member: Any) -> Any:
        run, _ = member.place.load()
        train = member.train(self.data)
        return plot.pairs(run.step(train), train, tree=run.tree)

    def _tree(self, member: Any) -> Any:
        run, _ = member.place.load()
        if run.tree is None:
            raise ValueError(f"{run.name} has learned no tree.")
        return plot.tree(run.tree, member.train(self.data))

    def _embedding(self, member: Any) -> Any:
        return plot.embedding(member.place.test_features(), member.test(self.data), max_items=MAP_ITEMS)
