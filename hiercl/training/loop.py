"""fit: one visible loop for every method."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import AdaptedEncoder, modality_of
from hiercl.methods import Batch, Method, Step, in_full
from hiercl.runtime.cores import restored_threads
from hiercl.runtime.given import given_path
from hiercl.runtime.progress import progress_bar
from hiercl.runtime.seeds import Draws, generator, own_generators, stream_seed
from hiercl.training.checkpoint import Checkpoint
from hiercl.training.history import EpochLog, monitor, summary
from hiercl.training.optimisation import learning_rate
from hiercl.training.recipe import make_recipe, signature_with_settings, with_one_spelling
from hiercl.training.runs import Run, make_views
from hiercl.training.sampling import epoch_order
from hiercl.training.start import Training, pick_device, start


class TrainingDivergedError(RuntimeError):
    """The loss, or a weight, is not finite."""


def fit(
    method: str | type[Method],
    dataset: HierarchicalDataset,
    *,
    official: bool = False,
    out: str | Path | None = None,
    resume: bool | Run = False,
    callbacks: Sequence[Callable[[Run], bool | None]] = (),
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Trains a method on a data set.

    There are two ways to train further. ``init=run`` starts a new training from the weights of a run, with settings,
    schedule and queue of its own. ``resume=run`` goes on with the same training: its optimiser, queue and prototypes
    come along.

    Args:
        method: its name (``hiercl.methods.names()``), or a class of your own.
        dataset: the training set. Only supervised methods and the kNN accuracies of the history use its labels.
        official: whether the loss is that of the method's official code. It sets all switches of the method that this
            needs (``hiercl.methods.get(name).Config.official`` lists them); settings that are given win. Temperature,
            sizes, lengths, encoder and views stay as they are.
        out: folder for the run; by default the run stays in memory (``run.save(path)`` writes it).
        resume: a run to continue, in memory or from :func:`~hiercl.load_run`: settings that are not given, and the
            folder, are those of the run. Or True: continue the run in ``out``; one that has ended is given back as it
            is, and where there is none, it starts. A run that was interrupted at any moment and resumed ends bit for
            bit like one that was not, on the CPU of one machine with the same number of threads
            (``run.environment["threads"]``). With other ``epochs``, more than are done, it goes on
            as a training of that length and warns: from there on the learning rate and all shares of training
            (warm-ups) are those of that length, so the result is not the same as one training of that length.
            While a training writes to ``out``, no other one can.
        callbacks: functions that are called after every epoch with the run so far. One that returns True or raises
            StopIteration ends the training after this epoch (``run.stopped``). ``hiercl.callbacks`` has ready ones.
        progress: whether to show a progress bar; in a log, where it cannot move, there is a line for each epoch.
        settings: settings of the training (:class:`FitConfig`), of the views (:class:`~hiercl.views.ViewConfig` for
            pictures, :class:`~hiercl.views.PointViewConfig` for points) and of the method
            (``hiercl.methods.get(name).Config``), by name.

    Returns:
        The run. After an interrupt (KeyboardInterrupt) it is the run as it was after the last whole epoch.

    Raises:
        ValueError: an unknown method or setting (the message lists the known ones), or a value that does not fit.
        FileExistsError: ``out`` holds a run, and ``resume`` is False.
        BlockingIOError: another training writes to ``out``.
        DiskFullError: there is no room in ``out``. The run as it was after the epoch before stays there.
        TrainingDivergedError: the loss is not finite. The message names the step, the terms and the last checkpoint.
        Exception: an error of a callback or a method. Its attribute ``run`` is the run after the last whole epoch.

    Example:
        >>> untrained = hiercl.fit("moco", train, epochs=0, batch=32, queue=64, progress=False)
        >>> small = hiercl.fit("moco", train, resume=untrained, epochs=1, progress=False)
        >>> len(small.history)
        1
    """
    check_callbacks(callbacks)
    settings = in_full(method, {"official": official, **with_one_spelling(settings)})
    if isinstance(resume, Run):
        settings = {**resume.recipe.given, **settings}
        out = resume.path if out is None else out
    recipe = make_recipe(method, dataset, settings)  # what is trained; what a user got wrong ends here
    device, folder = pick_device(recipe.fit.device), None if out is None else given_path(out, "out")
    with restored_threads(), own_generators(device), start(recipe, dataset, folder, resume) as training:
        warn_of_late_starts(training.model, recipe.fit.epochs)
        size = dataset.form.size(dataset.items.shape)
        modality_of(dataset).check_views(training.model.encoder, training.views.size, size)
        for view in training.model.plan:
            training.model.encoder.check_size(view.pixels(training.views.size))
        if progress and training.processes.first:
            if isinstance(training.model.encoder, AdaptedEncoder):
                tqdm.write(training.model.encoder.found)
            if (said := training.run.environment.get("init")) and not training.rows:
                tqdm.write(f"init: {said}")
            if said := training.run.environment.get("threads_why"):
                tqdm.write(said)
        try:
            if not training.ended:
                train(training, dataset, callbacks, progress)
        except KeyboardInterrupt:
            training.restore()
            training.run.interrupted = not training.ended
            note = f"Interrupted: the run is as it was after {len(training.rows)} of {recipe.fit.epochs} epochs."
            warnings.warn(note, stacklevel=2)
        except Exception as error:
            training.keep_for(error)
            raise
    training.model.eval()
    return training.run


fit.__signature__ = signature_with_settings(fit)  # type: ignore[attr-defined]


def train(
    training: Training, dataset: HierarchicalDataset, callbacks: Sequence[Callable[[Run], bool | None]], progress: bool
) -> None:
    """The loop: epochs, and in each of them the steps."""
    model, optimiser, processes, feed = training.model, training.optimiser, training.processes, training.feed
    config, device, checkpoint = training.run.recipe.fit, training.accelerator.device, training.checkpoint
    batch, steps = min(config.batch, len(dataset)), model.info.steps_per_epoch
    groups = math.ceil(steps / config.accumulate)  # of steps, in an epoch; after each one the optimiser moves
    monitored = config.monitor_every and dataset.labelled
    measure_knn = monitor(dataset, model, training.embed, config.seed) if monitored else None

    done, rate = len(training.rows), 0.0
    shown = progress and processes.first
    lengths = {"total": config.epochs * steps, "initial": done * steps}
    with progress_bar(shown=shown, desc=model.name, unit="step", **lengths) as bar:
        for epoch in range(done, config.epochs):
            # Each purpose has random numbers of its own, which start anew in every epoch: a checkpoint saves none.
            torch.manual_seed(stream_seed(config.seed, epoch, "weights"))  # dropout, in an encoder that has it
            view_draws, draws = (
                Draws(generator(device, config.seed, epoch, name), processes) for name in ("views", "draws")
            )
            order_numbers, item_numbers = (generator("cpu", config.seed, epoch, name) for name in ("order", "items"))
            log = EpochLog(epoch)

            model.eval()
            model.refresh(epoch, training.embed)  # prototypes, neighbours, masks
            processes.follow_first(model)
            log.refreshed()

            model.train()
            order = epoch_order(dataset, config, batch, steps, order_numbers)
            # Every process draws the items of the whole batch and works on its own rows of them.
            batches = [processes.own(model.items(index, item_numbers)) for index in order.split(batch)]
            for number, (items, found) in enumerate(zip(batches, feed.batches(batches), strict=True)):
                with training.accumulating(number) as moves:
                    rate = learning_rate(epoch * groups + number // config.accumulate, config.epochs * groups, config)
                    for group in optimiser.param_groups:
                        group["lr"] = rate
                    views = make_views(model, training.views, found, view_draws)
                    with torch.autocast(device.type, torch.bfloat16, enabled=training.half):
                        step = training.prepared(Batch(items.to(device), views, draws))
                    check_finite_loss(step, epoch, number, checkpoint)
                    training.accelerator.backward(step.loss)
                    optimiser.step()  # these two do nothing before the last step of a group
                    optimiser.zero_grad()
                model.after_step(step) if moves else model.remember(step)  # momentum update, queue
                log.stepped(step, number, getattr(model.config, "temperature", None))
                bar.update()
            processes.average_statistics(model)
            log.trained(steps * batch, rate, processes)

            if measure_knn and ((epoch + 1) % config.monitor_every == 0 or epoch + 1 == config.epochs):
                model.eval()
                log.monitored(measure_knn())
            check_finite_weights(model, epoch, checkpoint)
            training.rows.append(log.row)
            training.save()
            bar.set_postfix_str(summary(log.row))
            if shown and bar.disable:  # a log, not a terminal
                tqdm.write(f"epoch {epoch + 1} of {config.epochs}: {summary(log.row)}", file=sys.stderr)
            asked = processes.first and ask_to_stop(callbacks, training.run)
            if processes.any(asked, device) and epoch + 1 < config.epochs:
                training.stop()
                break


def check_callbacks(callbacks: Sequence[Callable[[Run], bool | None]]) -> None:
    """Raises ValueError for anything but a list of functions, before an epoch is trained in vain."""
    if (
        not isinstance(callbacks, Iterable)
        or callable(callbacks)
        or not all(callable(callback) and not isinstance(callback, type) for callback in callbacks)
    ):
        raise ValueError(
            f"callbacks={callbacks!r}: give a list of functions that take the run, such as "
            "[hiercl.callbacks.EarlyStopping()]."
        )


def ask_to_stop(callbacks: Sequence[Callable[[Run], bool | None]], run: Run) -> bool:
    """Calls every callback with the run. Returns whether one of them returned True or raised StopIteration."""
    stop = False
    for callback in callbacks:
        try:
            answer = callback(run)
            stop |= isinstance(answer, bool | np.bool_) and bool(answer)
        except StopIteration:
            stop = True
    return stop


def warn_of_late_starts(model: Method, epochs: int) -> None:
    """Warns of what never begins, because the training is too short for it."""
    for setting, first in model.starts.items():
        if 0 < epochs <= first:
            text = f"{model.name}: {setting} lasts for all {epochs} epochs, and what follows it never begins: train "
            warnings.warn(f"{text}longer, or choose a smaller {setting}.", stacklevel=3)


def check_finite_loss(step: Step, epoch: int, number: int, checkpoint: Checkpoint) -> None:
    """Raises TrainingDivergedError before a loss that is not finite spoils the weights."""
    if torch.isfinite(step.loss):
        return
    terms = ", ".join(f"{term.name} {term.loss.item():.4g}" for term in step.terms)
    raise TrainingDivergedError(
        f"The loss is {step.loss.item()} in epoch {epoch}, step {number} ({terms}). The last good checkpoint is that "
        f"of the epoch before ({checkpoint.place}). A lower lr, a higher temperature or precision='float32' may help."
    )


def check_finite_weights(model: Method, epoch: int, checkpoint: Checkpoint) -> None:
    """Raises TrainingDivergedError before weights that are not finite replace the last good checkpoint."""
    bad = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    if bad:
        raise TrainingDivergedError(
            f"After epoch {epoch} the weights are not finite ({len(bad)} tensors, the first is {bad[0]}). The last "
            f"good checkpoint is that of the epoch before ({checkpoint.place}). A lower lr may help."
        )
