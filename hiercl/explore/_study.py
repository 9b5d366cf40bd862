"""A study to steer: choose what varies, see how long it takes, run it, stop it, go on, and compare two variants."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hiercl import plot
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._widgets import Explorer, image, png, sized, widgets
from hiercl.runtime.arguments import checked
from hiercl.runtime.given import given_path
from hiercl.study import Study
from hiercl.study.estimate import duration
from hiercl.study.variants import check_lists

METRICS = ("linear", "knn", "ami", "hierarchical_f1", "linear_balanced")
MAP_ITEMS = 600  # items on the maps of two variants


@checked
def study(
    base: Mapping[str, Any],
    factors: Mapping[str, Sequence[Any]],
    train: HierarchicalDataset,
    test: HierarchicalDataset,
    out: str | Path = "runs/studies",
    name: str = "my study",
) -> StudyExplorer:
    """Lets you choose factors, values, seeds and a time budget, and runs the study that follows from them.

    The explorer says how long the study would take, and its figure fills while it runs. *Stop* ends it after the
    current epoch, and *Run* goes on. Two variants that are clicked show their pairs, trees or embeddings side by side.
    The static twin is :meth:`hiercl.Study.plot`.

    Args:
        base: Settings of all variants.
        factors: Settings that can vary, and their values. The chosen values make the full grid. A factor without a
            chosen value has the value of the base, or its default.
        train: The training set.
        test: The test set.
        out: Folder of studies and runs.
        name: Name of the explorer. It is the question of its studies.

    Returns:
        The explorer, which a notebook displays. ``explorer.study`` is the chosen study.

    Raises:
        ImportError: ipywidgets is not installed.

    Example:
        >>> base = {"method": "simclr", "epochs": 1, "batch": 32}
        >>> explorer = hiercl.explore.study(base, {"temperature": [0.1, 0.5]}, train, test)
        >>> len(explorer.study.variants)
        2
    """
    return StudyExplorer(base, factors, (train, test), out, name)


class StudyExplorer(Explorer):
    """The explorer that :func:`study` returns.

    Attributes:
        picked: The variants that are compared, at most two.
        chips: A button for every variant.
    """

    def __init__(self, base: Mapping, factors: Mapping, data: tuple, out: str | Path, name: str):
        self.base, self.data, self.out, self.name = dict(base), data, given_path(out, "out"), name
        self.choices = {factor: list(choices) for factor, choices in check_lists(factors).items()}
        self.stop_asked = threading.Event()
        self.thread: threading.Thread | None = None
        self.chips: dict[str, Any] = {}
        self.picked: list[str] = []

        w, size = widgets(), sized("auto", "8em")
        self.values = {
            factor: w.SelectMultiple(
                description=factor,
                options=[(str(value), number) for number, value in enumerate(choices)],
                value=tuple(range(len(choices))),
                rows=min(5, len(choices)),
                **size,
            )
            for factor, choices in self.choices.items()
        }
        self.seeds = w.BoundedIntText(description="seeds", value=5, min=1, max=50, **size)
        self.budget = w.BoundedFloatText(description="minutes", value=5.0, min=0.1, max=10_000, **size)
        self.metric = w.Dropdown(description="metric", options=METRICS, **size)
        self.run_button = w.Button(description="Run", button_style="primary")
        self.stop_button = w.Button(description="Stop", disabled=True)
        self.progress = w.IntProgress(min=0, max=1, layout=w.Layout(width="20em"))
        self.estimated, self.status, self.picture = w.HTML(), w.HTML(), image()
        self.chip_row = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self.what = w.ToggleButtons(options=["pairs", "tree", "embedding"], value="pairs")
        self.compared, self.pictures = w.HTML(), [image("50%"), image("50%")]
        rows = [
            w.HBox([w.VBox(list(self.values.values())), w.VBox([self.seeds, self.budget, self.metric])]),
            self.estimated,
            w.HBox([self.run_button, self.stop_button, self.progress, self.status]),
            self.picture,
            w.HBox([w.HTML("Click two variants to compare their"), self.what]),
            self.chip_row,
            self.compared,
            w.HBox(self.pictures),
        ]
        self.widget = w.VBox(rows)

        self._on_change(self._choose, *self.values.values(), self.seeds, self.budget)
        self._on_change(self.draw, self.metric)
        self._on_change(self.compare, self.what)
        self.run_button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop_asked.set())
        self._choose()

    # ---- what is chosen ----

    @property
    def study(self) -> Study:
        """The chosen study."""
        vary = {name: [self.choices[name][i] for i in box.value] for name, box in self.values.items() if box.value}
        if not vary:
            raise ValueError("nothing is chosen: choose at least one value of one factor.")
        chosen = Study(self.base, vary, self.seeds.value, None, self.out, question=self.name)
        return chosen.of(*self.data)

    @property
    def running(self) -> bool:
        """Whether runs are being made."""
        return self.thread is not None and self.thread.is_alive()

    def _choose(self) -> None:
        """Says how long the chosen study would take, and whether that fits the budget."""
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
        too_long = total > 60 * self.budget.value
        over = f" This is more than {self.budget.value:g} minutes: Run stops after that time." if too_long else ""
        self.estimated.value = f"{runs} runs are missing: about {duration(total)}.{over}"
        self._make_chips(list(chosen.variants))
        self.draw()

    # ---- the runs ----

    def start(self, wait: bool = False) -> None:
        """Makes the missing runs beside the notebook.

        Args:
            wait: Whether to return only when that has ended.

        Example:
            >>> base = {"method": "simclr", "epochs": 1, "batch": 32}
            >>> explorer = hiercl.explore.study(base, {"temperature": [0.1, 0.5]}, train, test)
            >>> explorer.seeds.value = 1
            >>> explorer.start(wait=True)
        """
        if self.running:
            return
        self.stop_asked.clear()
        self._enable(False)
        self.thread = threading.Thread(target=self._run, args=(self.study,), daemon=True)
        self.thread.start()
        if wait:
            self.thread.join()

    def _run(self, chosen: Study) -> None:
        total = len(chosen.members())
        self.progress.max = total
        timer = threading.Timer(60 * self.budget.value, self.stop_asked.set)
        timer.daemon = True
        timer.start()

        def stop_if_asked(run: Any = None) -> None:
            if self.stop_asked.is_set():
                raise KeyboardInterrupt

        def after_run(study: Study) -> None:
            left = duration(study.estimate(trial=False).total)
            self.progress.value = total - len(study.missing())
            self.status.value = f"{self.progress.value} of {total} runs; about {left} left"
            self.draw(study)
            stop_if_asked()

        end = ""
        try:
            chosen.run(progress=False, after_run=after_run, after_epoch=stop_if_asked)
        except Exception as error:  # nothing else reports an error in this thread
            end = f"; {type(error).__name__}: {error}"
        finally:
            timer.cancel()
            left, failed = len(chosen.missing()), chosen.failed()
            if failed:
                end = f"; {len(failed)} failed: {failed[0].place.why}"
            elif left and not end:
                end = "; stopped"
            self.progress.value = total - left
            self.status.value = html.escape(f"{total - left} of {total} runs are done{end}")
            self._enable(True)
            self.draw(chosen)

    def _enable(self, enabled: bool) -> None:
        """Switches the controls off while runs are made, because a trial for the estimate would disturb them."""
        controls = (*self.values.values(), self.seeds, self.budget, self.run_button, self.what, *self.chips.values())
        for control in controls:
            control.disabled = not enabled
        self.stop_button.disabled = enabled

    def draw(self, chosen: Study | None = None) -> None:
        """Draws the finished runs of a study, by default the chosen one."""
        try:
            self.picture.value = png((self.study if chosen is None else chosen).plot(self.metric.value))
        except ValueError:  # there is no finished run yet
            self.picture.value = b""

    # ---- two variants ----

    def _make_chips(self, names: list[str]) -> None:
        """Makes a button for every variant. Those that were picked before stay down."""
        if names == list(self.chips):
            return
        w = widgets()
        self.picked = [name for name in self.picked if name in names]
        self.chips = {
            name: w.ToggleButton(description=name, value=name in self.picked, layout=w.Layout(width="auto"))
            for name in names
        }
        for name, chip in self.chips.items():
            self._on_change(lambda name=name: self._pick(name), chip)
        self.chip_row.children = list(self.chips.values())

    def _pick(self, name: str) -> None:
        """Reacts to a click on a variant. If three are down, the first goes up again."""
        self.picked = [other for other in self.picked if other != name] + [name] * self.chips[name].value
        if len(self.picked) > 2:
            self.chips[self.picked[0]].value = False  # this calls _pick again
        elif len(self.picked) == 2:
            self.compare()

    def compare(self) -> None:
        """Draws the pairs, trees or embeddings of the two picked variants, of the first seed, side by side."""
        if len(self.picked) < 2:
            return
        draw: Callable = {"pairs": _pairs, "tree": _tree, "embedding": _embedding}[self.what.value]
        chosen, problems = self.study, []
        for name, picture in zip(self.picked, self.pictures, strict=True):
            member = chosen.member(name, chosen.seeds[0])
            picture.value = b""
            if member.place.state != "done":
                problems.append(f"“{name}” is not done yet: run it first.")
                continue
            try:
                picture.value = png(draw(member, *self.data))
            except (ValueError, ImportError) as error:
                problems.append(f"“{name}”: {error}")
        self.compared.value = html.escape(" ".join(problems))


def _pairs(member: Any, *data: HierarchicalDataset) -> Any:
    run, _ = member.load()
    train = member.train(data)
    return plot.pairs(run.step(train), train, tree=run.tree)


def _tree(member: Any, *data: HierarchicalDataset) -> Any:
    run, _ = member.load()
    if run.tree is None:
        raise ValueError(f"{run.name} has learned no tree.")
    return plot.tree(run.tree, member.train(data))


def _embedding(member: Any, *data: HierarchicalDataset) -> Any:
    return plot.embedding(member.place.test_features(), member.test(data), max_items=MAP_ITEMS)
