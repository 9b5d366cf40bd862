"""Ready callbacks for :func:`hiercl.fit`: early stopping, and logs for TensorBoard and as CSV.

A callback is any function that takes the run and is called after every epoch. If it returns True or raises
StopIteration, the training ends after this epoch, and the run is kept: ``run.stopped`` is True. The run is the one that
is trained; a callback reads it and does not change it.

    hiercl.fit("moco", train, callbacks=[EarlyStopping("knn class"), CSVLog("moco.csv"), lambda run: print(run)])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hiercl.runtime.errors import unknown
from hiercl.runtime.files import write_atomically
from hiercl.runtime.given import given_path
from hiercl.runtime.markup import in_markdown
from hiercl.training.recipe import Recipe
from hiercl.training.runs import Run

__all__ = ["CSVLog", "EarlyStopping", "TensorBoard"]


class EarlyStopping:
    """Ends a training when a column of the history has not become better for some time.

    The loss says little about features, because a method that removes negatives lowers it; the kNN accuracy is the
    better guide. It counts measurements, not epochs: the kNN accuracy is measured every ``monitor_every`` epochs. The
    decision follows from ``run.history`` alone, so a resumed training decides as one that was never interrupted.

    Args:
        metric: a column of ``run.history``: "loss", "knn class" (with the name of a level of yours), ...
        patience: how many measurements in a row may be no better than the best one before them.
        better: whether "higher" or "lower" values are better. By default lower for losses, and higher for kNN
            accuracies; for other columns it must be given.

    Raises:
        ValueError: a patience below 1, or ``better`` is missing or neither "higher" nor "lower". When it is called: the
            history has no such column, although every measurement has been made by then.

    Example:
        >>> stopping = hiercl.training.callbacks.EarlyStopping("loss", patience=2)
        >>> stopping(run)
        False
    """

    def __init__(self, metric: str = "loss", patience: int = 3, better: Literal["higher", "lower"] | None = None):
        if patience < 1:
            raise ValueError(f"patience={patience}: give the number of measurements to wait for, at least 1.")
        known = {"loss": "lower", "knn": "higher", "neighbours": "higher"}
        found = known.get(metric.partition(" ")[0]) if better is None else better
        if found not in ("higher", "lower"):
            raise ValueError(f"better={better!r}: say whether 'higher' or 'lower' values of {metric!r} are better.")
        self.metric, self.patience, self.better = metric, patience, found

    def __call__(self, run: Run) -> bool:
        """Returns whether the training ends now."""
        history = run.history
        if self.metric not in history:
            latest = max([1, run.recipe.fit.monitor_every, *run.method.starts.values()])  # when columns may still come
            if len(history) > latest:
                raise unknown("column of the history", self.metric, map(str, history.columns))
            return False
        values = history[self.metric].dropna()
        if values.empty:
            return False
        best = values.argmin() if self.better == "lower" else values.argmax()
        return bool(len(values) - 1 - best >= self.patience)


class CSVLog:
    """Writes the history to a CSV file after every epoch. A run with a folder has one anyway: ``history.csv``.

    Args:
        path: the file; its folder is made if it does not exist. It is replaced in one move, so a reader never sees a
            part of it.

    Example:
        >>> log = hiercl.training.callbacks.CSVLog("logs/run.csv")
        >>> log(run)
        >>> log.path.read_text().partition(",")[0]
        'epoch'
    """

    def __init__(self, path: str | Path):
        self.path = given_path(path, "path")

    def __call__(self, run: Run) -> None:
        """Writes the file."""
        write_atomically(self.path, run.history.to_csv(index=False))


class TensorBoard:
    """Logs every number of the history, and the settings of the run, for TensorBoard (``tensorboard --logdir FOLDER``).

    Losses, kNN accuracies and keep rates are grouped by their first word. The step is the number of finished epochs.
    A resumed training writes the epochs before as well, in place of what the folder has of them.

    Args:
        folder: folder of the log; one for each run.

    Raises:
        ImportError: the package tensorboard is missing.

    Example:
        >>> log = hiercl.training.callbacks.TensorBoard("logs/run")
        >>> log(run)
    """

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs its package: pip install tensorboard.") from error
        self.folder, self.make_writer, self.writer = given_path(folder, "folder"), SummaryWriter, None

    def __call__(self, run: Run) -> None:
        """Writes the epochs that are not written yet."""
        rows: list[dict[Any, Any]] = run.history.to_dict("records")
        if self.writer is None:
            self.writer = self.make_writer(str(self.folder), purge_step=0)
            self.writer.add_text("settings", settings_table(run.recipe), 0)
        else:
            rows = rows[-1:]
        for row in rows:
            for name, value in row.items():
                if name != "epoch" and value == value:  # NaN: not measured in this epoch
                    first, _, rest = str(name).partition(" ")
                    self.writer.add_scalar(f"{first}/{rest or 'all'}", value, int(row["epoch"]) + 1)
        self.writer.flush()


def settings_table(recipe: Recipe) -> str:
    """Returns all settings of a run as a table in Markdown.

    Args:
        recipe: what is trained.

    Example:
        >>> settings_table(run.recipe).splitlines()[2]
        '| method | hcsc |'
    """
    content = recipe.to_json()
    settings = {"method": content["method"], **content["fit"], **content["views"], **content["method_settings"]}
    return "\n".join(
        [
            "| setting | value |",
            "|---|---|",
            *(f"| {name} | {in_markdown(value)} |" for name, value in settings.items()),
        ]
    )
