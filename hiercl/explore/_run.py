"""A training to watch: start it, see loss, keep rates and kNN accuracy after every epoch, stop it, and go on."""

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
from hiercl.explore._widgets import Explorer, image, png, widgets
from hiercl.methods import Method
from hiercl.runtime.arguments import checked
from hiercl.runtime.given import given_path
from hiercl.study.estimate import duration
from hiercl.study.running import ONE_AT_A_TIME
from hiercl.training import CHECKPOINT, Run, check_dataset, fit, split_settings, summary
from hiercl.training.loop import check_callbacks

EPOCHS = 6  # epochs in the table, the last ones
REDRAWN = 2.0  # seconds between two figures at least, because drawing takes time from training


@checked
def run(
    method: str | type[Method],
    train: HierarchicalDataset,
    out: str | Path | None = None,
    callbacks: Sequence[Callable[[Run], None]] = (),
    **settings: Any,
) -> RunExplorer:
    """Trains a method beside the notebook, and shows its progress: :func:`hiercl.fit` with buttons.

    *Start* begins the training. After every epoch the figure, the table of the last epochs and the time left are
    updated. The table has the loss and its terms, the keep rates of the selection, the kNN accuracy of every level (in
    epochs that measure it) and the items per second. *Stop* ends the training after the current epoch, and *Continue*
    resumes it. On the CPU the result is bit for bit that of a run that was never stopped. The static twin is
    :func:`hiercl.plot.history`.

    Only one training runs at a time: studies in the same notebook wait for it, and it waits for them. Call
    :func:`hiercl.fit` before or after it, not during it, because both use torch's one random generator.

    Args:
        method: Name of the method, or a class of your own.
        train: The training set.
        out: Folder of the run. If it holds a run, *Continue* resumes that run. By default it is a temporary folder,
            which is deleted at the end of the session; ``explorer.run.save(path)`` keeps the run.
        callbacks: Functions that are called with the run after every epoch.
        **settings: All other settings of :func:`hiercl.fit`. A small ``monitor_every`` measures the kNN accuracy often.

    Returns:
        The explorer, which a notebook displays. ``explorer.run`` is the run after its last whole epoch, or None before
        the first. It can be used while the training goes on.

    Raises:
        ImportError: ipywidgets is not installed.
        ValueError: The method or a setting is unknown, or a value is out of its range. An error in the training itself
            is shown, and is ``explorer.error``.

    Example:
        >>> explorer = hiercl.explore.run("simclr", train, epochs=1, batch=32)
        >>> explorer.start(wait=True)
    """
    return RunExplorer(method, train, out, callbacks, settings)


class RunExplorer(Explorer):
    """The explorer that :func:`run` returns.

    Attributes:
        run: The run after its last whole epoch, or None before the first.
        running: Whether it is being trained.
        error: The error that ended the training after the last click, or None.
    """

    def __init__(
        self, method: Any, train: HierarchicalDataset, out: Any, callbacks: Sequence, settings: dict[str, Any]
    ):
        w = widgets()
        check_callbacks(callbacks)
        self.method, self.train, self.callbacks = methods.get(method), train, list(callbacks)
        # The explorer has its own progress bar, and always resumes.
        self.settings = {name: value for name, value in settings.items() if name not in ("progress", "resume")}
        check_dataset(train)
        self.epochs = split_settings(self.method, self.settings, train.modality)[0].epochs
        self.temporary = out is None
        self.folder = _temporary_folder() if out is None else given_path(out, "out")
        self.run: Run | None = None
        self.error: Exception | None = None
        self.stop_asked = threading.Event()
        self.thread: threading.Thread | None = None

        self.start_button = w.Button(description="Start", button_style="primary")
        self.stop_button = w.Button(description="Stop")
        self.continue_button = w.Button(description="Continue")
        self.progress = w.IntProgress(min=0, max=max(1, self.epochs), layout=w.Layout(width="20em"))
        self.status, self.table, self.picture = w.HTML(), w.HTML(), image()
        head = w.HBox([self.start_button, self.stop_button, self.continue_button, self.progress])
        self.widget = w.VBox([head, self.status, self.picture, self.table])

        for button in (self.start_button, self.continue_button):
            button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop())
        text = f"{self.method.name}, {len(train):,} items of {train.name}, {self.epochs} epochs."
        self._say(text + f" {self.folder} holds a run: Continue resumes it." * self._resumable)
        self._enable(training=False)

    # ---- the buttons ----

    def start(self, wait: bool = False) -> None:
        """Starts or resumes the training beside the notebook.

        Args:
            wait: Whether to return only when the training has ended.

        Example:
            >>> hiercl.explore.run("simclr", train, epochs=0).start(wait=True)
        """
        if not self.running:
            self.stop_asked.clear()
            self.error = None
            self.progress.bar_style = ""
            self._enable(training=True)
            busy = ONE_AT_A_TIME.locked()
            self._say("waits for another training to end" if busy else "trains: results appear after every epoch")
            self.thread = threading.Thread(target=self._train, daemon=True)
            self.thread.start()
        if wait and self.thread is not None:
            self.thread.join()

    def stop(self) -> None:
        """Ends the training after the current epoch.

        Example:
            >>> hiercl.explore.run("simclr", train).stop()
        """
        if self.running:
            self.stop_asked.set()
            self.stop_button.disabled = True
            self._say("stops after this epoch")

    @property
    def _resumable(self) -> bool:
        return (self.folder / CHECKPOINT).exists()

    def _enable(self, training: bool) -> None:
        self.running = training
        done = self.run is not None and not self.run.interrupted
        self.start_button.disabled = training or self._resumable
        self.stop_button.disabled = not training
        self.continue_button.disabled = training or done or not self._resumable

    # ---- in the thread ----

    def _train(self) -> None:
        try:
            with ONE_AT_A_TIME:
                self._fit()
            self._show(redraw=True)
        except Exception as error:  # nothing else reports an error in this thread
            self.error = error
            self._say(f"{type(error).__name__}: {error}")
            self.progress.bar_style = "danger"
        finally:
            self._enable(training=False)

    def _fit(self) -> None:
        self.started, self.trained, self.drawn = time.perf_counter(), 0, 0.0
        callbacks = [*self.callbacks, self._after_epoch]
        options = {"out": self.folder, "resume": True, "callbacks": callbacks, "progress": False}
        self.run = fit(self.method, self.train, **options, **self.settings)
        if self.temporary:
            self.run.path = None
        stopped = self.run.interrupted
        ending = "stopped" if stopped else "a callback ended it" if self.run.stopped else "done"
        self._say(f"{len(self.run.history)} of {self.epochs} epochs: {ending}")
        self.progress.bar_style = "" if stopped else "success"

    def _after_epoch(self, run: Run) -> None:
        """Shows a copy of the run, because the run itself is trained further."""
        self.run = run.changed()
        self.run.method.eval()
        self.run.interrupted = len(run.history) < self.epochs
        self.trained += 1
        left = (time.perf_counter() - self.started) / self.trained * (self.epochs - len(run.history))
        last = summary(run.history.iloc[-1].to_dict())
        self._say(f"epoch {len(run.history)} of {self.epochs}: {last}; about {duration(left)} left")
        self._show(redraw=time.perf_counter() - self.drawn > REDRAWN)
        if self.stop_asked.is_set():
            raise KeyboardInterrupt

    # ---- what is shown ----

    def _say(self, text: str) -> None:
        self.status.value = html.escape(text)

    def _show(self, redraw: bool) -> None:
        """Shows the progress and the table, and redraws the figure if asked."""
        if self.run is None or not len(self.run.history):
            return
        self.progress.value = len(self.run.history)
        self.table.value = last_epochs(self.run.history).to_html(border=0)
        if redraw:
            self.picture.value = png(plot.history(self.run))
            self.drawn = time.perf_counter()


def last_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """Returns the last epochs of a history as text, one column for each.

    The rows are the loss and its terms, keep rates, kNN accuracies and speed.

    Example:
        >>> from hiercl.explore._run import last_epochs
        >>> list(last_epochs(run.history))
        ['epoch 1', 'epoch 2']
    """
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


def _temporary_folder() -> Path:
    """Makes a folder that is deleted when the session ends."""
    folder = tempfile.mkdtemp(prefix="hiercl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "run"
