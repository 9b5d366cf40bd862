"""A training to watch: start, see loss, keep rates and kNN accuracy as they come, stop, look, go on."""

from __future__ import annotations

import atexit
import html
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hiercl import methods, plot
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._widgets import png, widgets
from hiercl.methods import Method
from hiercl.study.estimate import duration
from hiercl.study.running import ONE_AT_A_TIME
from hiercl.training import CHECKPOINT, Run, check_dataset, fit, split_settings, summary

EPOCHS = 6  # the last ones, in the table
REDRAWN = 2.0  # seconds between two pictures at least: drawing takes time from training


def run(
    method: str | type[Method],
    train: HierarchicalDataset,
    out: str | Path | None = None,
    callbacks: Sequence[Callable[[Run], None]] = (),
    **settings: Any,
) -> RunExplorer:
    """Trains a method beside the notebook, and shows how it goes: what :func:`hiercl.fit` does, with buttons.

    *Start* begins. After every epoch the picture, the table of the last epochs (loss and its terms, keep rates of the
    selection, kNN accuracy at every level where it was looked at, images per second) and the time left are those of
    the run so far. *Stop* ends training after the epoch that runs, *Continue* goes on from there; the end is bit for
    bit that of a run that was never stopped. The static twin is :func:`hiercl.plot.history`.

    One training at a time: studies that run in the same notebook wait for it, and it for them. Call :func:`hiercl.fit`
    before it or after it, since both draw from torch's one generator.

    Args:
        method: its name, or a class of your own.
        train: the training set.
        out: folder for the run; where it holds one, Continue goes on with that. By default a folder that is deleted at
            the end of the session (``explorer.run.save(path)`` keeps the run).
        callbacks: each is called after every epoch with the run so far.
        settings: all others of :func:`hiercl.fit`; a small ``monitor_every`` shows more of the kNN accuracy.

    Returns:
        The explorer, which a notebook displays. ``explorer.run`` is the run after its last whole epoch, None before the
        first: to look at while training goes on. ``explorer.start(wait=True)`` trains to the end.

    Raises:
        ImportError: ipywidgets is not installed.
        ValueError: an unknown method or setting, or a value out of its range. What goes wrong in the training itself is
            shown, and is ``explorer.error``.

    Example:
        >>> explorer = hiercl.explore.run("hcsc", train, epochs=20, monitor_every=1)
        >>> explorer
    """
    return RunExplorer(method, train, out, callbacks, settings)


class RunExplorer:
    """See :func:`run`. Its widgets are attributes, so that they can be set from code as well.

    Attributes:
        run: as it was after its last whole epoch; None before the first.
        running: whether it is being trained.
        error: what went wrong since the last click, or None.
    """

    def __init__(
        self,
        method: str | type[Method],
        train: HierarchicalDataset,
        out: str | Path | None,
        callbacks: Sequence[Callable[[Run], None]],
        settings: dict[str, Any],
    ):
        w = widgets()
        self.method, self.train, self.callbacks = methods.get(method), train, list(callbacks)
        # Its own bar and buttons take the place of these two.
        self.settings = {name: value for name, value in settings.items() if name not in ("progress", "resume")}
        check_dataset(train)
        self.epochs = split_settings(self.method, self.settings, train.modality)[0].epochs
        self.temporary = out is None
        self.folder = _folder_of_the_session() if out is None else Path(out)
        self.run: Run | None = None
        self.error: Exception | None = None
        self.stop_asked = threading.Event()
        self.thread: threading.Thread | None = None
        self.start_button = w.Button(description="Start", button_style="primary")
        self.stop_button = w.Button(description="Stop")
        self.continue_button = w.Button(description="Continue")
        self.progress = w.IntProgress(min=0, max=max(1, self.epochs), layout=w.Layout(width="20em"))
        self.status, self.table = w.HTML(), w.HTML()
        self.picture = w.Image(format="png", layout=w.Layout(max_width="100%"))
        buttons = [self.start_button, self.stop_button, self.continue_button]
        self.widget = w.VBox([w.HBox([*buttons, self.progress]), self.status, self.picture, self.table])
        for button in (self.start_button, self.continue_button):
            button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop())
        what = f"{self.method.name}, {len(train):,} items of {train.name}, {self.epochs} epochs."
        if self._begun:
            what += f" {self.folder} holds a run: Continue goes on with it."
        self._say(what)
        self._enable(training=False)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    # ---- the buttons ----

    def start(self, wait: bool = False) -> None:
        """Begins, or goes on, beside the notebook; with ``wait=True`` it comes back when that has ended."""
        if not self.running:
            self.stop_asked.clear()
            self.error = None
            self.progress.bar_style = ""
            self._enable(training=True)
            busy = ONE_AT_A_TIME.locked()
            self._say("waits for another training to end" if busy else "trains: there is more to see after every epoch")
            self.thread = threading.Thread(target=self._train, daemon=True)
            self.thread.start()
        if wait:
            self.thread.join()

    def stop(self) -> None:
        """Ends the training after the epoch that runs."""
        if self.running:
            self.stop_asked.set()
            self.stop_button.disabled = True
            self._say("stops after this epoch")

    @property
    def _begun(self) -> bool:
        return (self.folder / CHECKPOINT).exists()

    def _enable(self, training: bool) -> None:
        self.running = training
        done = self.run is not None and not self.run.interrupted
        self.start_button.disabled = training or self._begun
        self.stop_button.disabled = not training
        self.continue_button.disabled = training or done or not self._begun

    # ---- in the thread ----

    def _train(self) -> None:
        try:
            with ONE_AT_A_TIME:
                self._fit()
            self._show(drawn=True)
        except Exception as error:  # in this thread nobody else would tell
            self.error = error
            self._say(f"{type(error).__name__}: {error}")
            self.progress.bar_style = "danger"
        finally:
            self._enable(training=False)

    def _fit(self) -> None:
        self.clicked, self.trained, self.drawn = time.perf_counter(), 0, 0.0
        self.run = fit(
            self.method,
            self.train,
            out=self.folder,
            resume=True,
            callbacks=[*self.callbacks, self._after_epoch],
            progress=False,
            **self.settings,
        )
        if self.temporary:
            self.run.path = None
        stopped = self.run.interrupted
        self._say(f"{len(self.run.history)} of {self.epochs} epochs: {'stopped' if stopped else 'done'}")
        self.progress.bar_style = "" if stopped else "success"

    def _after_epoch(self, run: Run) -> None:
        """Keeps a copy, since the run itself is trained on, and shows it."""
        self.run = run.changed()
        self.run.method.eval()
        self.run.interrupted = len(run.history) < self.epochs
        self.trained += 1
        left = (time.perf_counter() - self.clicked) / self.trained * (self.epochs - len(run.history))
        last = summary(run.history.iloc[-1].to_dict())
        self._say(f"epoch {len(run.history)} of {self.epochs}: {last}; about {duration(left)} left")
        self._show(drawn=time.perf_counter() - self.drawn > REDRAWN)
        if self.stop_asked.is_set():
            raise KeyboardInterrupt

    # ---- what is shown ----

    def _say(self, text: str) -> None:
        self.status.value = html.escape(text)

    def _show(self, drawn: bool) -> None:
        """Bar and table of the run so far, and the picture where it is to be drawn."""
        if self.run is None or not len(self.run.history):
            return
        self.progress.value = len(self.run.history)
        self.table.value = last_epochs(self.run.history).to_html(border=0)
        if drawn:
            self.picture.value = png(plot.history(self.run))
            self.drawn = time.perf_counter()


def last_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """The last epochs of a history as text, one column each: loss and its terms, keep rates, kNN accuracies, speed."""
    shown = history.tail(EPOCHS)
    rows: dict[str, list[str]] = {}
    for name in history:
        if name == "loss" or name.startswith("loss "):
            rows[name] = [f"{value:.3f}" for value in shown[name]]
        elif name.startswith("keep "):
            rows[f"{name} (%)"] = [f"{100 * value:.1f}" for value in shown[name]]
        elif name.startswith("knn "):
            rows[f"kNN {name.removeprefix('knn ')} (%)"] = [f"{value:.1f}" for value in shown[name]]
    rows["items/s"] = [f"{value:,.0f}" for value in shown["items_per_second"]]
    columns = [f"epoch {epoch + 1}" for epoch in shown["epoch"]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).replace("nan", "–")


def _folder_of_the_session() -> Path:
    """A folder that is deleted when the session ends."""
    folder = tempfile.mkdtemp(prefix="hiercl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "run"
