"""fit: one visible loop for every method."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from tqdm.auto import tqdm

from hiercl import methods
from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import SPLITS, Encoder, encoder_kind, encoder_names, half_precision_is_native, warn_of_thin_views
from hiercl.methods import Batch, Method, Step
from hiercl.runtime.config import distribute, to_json, with_defaults
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import Draws, generator, stream_seed
from hiercl.training.checkpoint import Checkpoint, write_atomically
from hiercl.training.history import EpochLog, monitor, summary
from hiercl.training.optimisation import FitConfig, learning_rate, make_optimiser, settled
from hiercl.training.runs import CONFIG, Run, build, make_views
from hiercl.views import VIEW_CONFIGS, views_of

LEAST_REACH, MOST_REACH = 0.2, 2.0  # of the clouds of a data set from the origin


class TrainingDivergedError(RuntimeError):
    """The loss is not finite."""


def fit(
    method: str | type[Method],
    dataset: HierarchicalDataset,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callable[[Run], None]] = (),
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Trains a method on a data set.

    Args:
        method: its name (``hiercl.methods.names()``), or a class of your own.
        dataset: the training set; its labels are used by the kNN monitor alone (and by supervised methods).
        out: folder for the run; by default it is kept in memory (``run.save(path)`` writes it).
        resume: continue the run in ``out``; one that ended is given back as it is, and with nothing there it starts.
            A run that was stopped at any moment and resumed ends bit for bit like one that was not (on one machine).
        callbacks: each is called after every epoch with the run so far.
        progress: whether to show a progress bar.
        settings: of the training (:class:`FitConfig`), the views (:class:`~hiercl.views.ViewConfig` of pictures,
            :class:`~hiercl.views.PointViewConfig` of points) and the method (``hiercl.methods.get(name).Config``), by
            name.

    Returns:
        The run. Interrupting the kernel (KeyboardInterrupt) gives the run as it was after the last whole epoch.

    Raises:
        ValueError: an unknown method or setting (the message lists the known ones), or a value out of its range.
        FileExistsError: ``out`` holds a run, and ``resume`` is False.
        TrainingDivergedError: the loss is not finite; it names the step, the terms and the last good checkpoint.

    Example:
        >>> run = hiercl.fit("hcsc", train, epochs=20, prototypes=(20, 100), seed=0)
    """
    kind = methods.get(method)
    check_dataset(dataset)
    check_names(kind, settings, dataset.kind)
    config, view_config, method_config = distribute(settings, FitConfig, VIEW_CONFIGS[dataset.kind], kind.Config)
    config = settled(config, dataset.kind, len(dataset))
    check_encoder(config.encoder, dataset)
    supervised = kind.needs_labels(method_config)
    if supervised:
        check_labels(kind.name, settings, dataset)
    accelerator = make_accelerator(pick_device(config.device))
    device, processes = accelerator.device, Processes.here()
    half = config.precision == "bf16" or (config.precision == "auto" and half_precision_is_native(device))
    batch = min(config.batch, len(dataset))
    steps = len(dataset) // batch
    check_batch(batch, config, processes)
    mean, std = normalisation(dataset)
    description = {
        "method": kind.name,
        "fit": to_json(config),
        "views": to_json(view_config),
        "method_settings": to_json(method_config),
        "setting": {"items": len(dataset), "epochs": config.epochs, "steps_per_epoch": steps, "seed": config.seed},
        "input": {"mean": mean, "std": std, "channels": len(mean)},
        "data": {"name": dataset.name, "note": dataset.note, "fingerprint": dataset.fingerprint()},
        "hierarchy": dataset.hierarchy.to_json() if supervised else None,
    }
    functions = {"method": kind, **{name: value for name, value in settings.items() if callable(value)}}
    configs = {"fit": FitConfig, "views": type(view_config), "method_settings": kind.Config}
    checkpoint = open_folder(out, description, configs, resume)
    accelerator.wait_for_everyone()  # all have looked at the folder before the first of them writes to it
    if checkpoint.path and processes.first:
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(checkpoint.path.parent / CONFIG, json.dumps(description, indent=2).encode())

    with torch.random.fork_rng():  # the caller's random numbers go on as if nothing had happened
        torch.manual_seed(stream_seed(config.seed, 0, "weights"))
        model = build(description, functions, dataset.labels if supervised else None).to(device)
        warn_of_late_starts(model, config.epochs)
        if dataset.kind == "points":
            warn_of_thin_views(model.encoder, view_config.points, dataset.items.shape[1])
        model.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(model, config)
        if config.compile:
            for part in model.children():
                if isinstance(part, Encoder):
                    part.stages = torch.compile(part.stages)  # what its forward calls, and some methods themselves
        with warnings.catch_warnings():  # torch has a new name for broadcast_buffers, Accelerate knows the old one
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            prepared, optimiser = accelerator.prepare(model, optimiser)

        environment = describe_environment(device, "bf16" if half else "float32") | {"processes": processes.count}
        run = Run(model, description, pd.DataFrame(), environment, None if out is None else Path(out))
        rows: list[dict[str, Any]] = []
        begun = bool(checkpoint)
        if begun:
            earlier = restore(checkpoint, model, optimiser, rows)
            run.history = pd.DataFrame(rows)
            if len(rows) == config.epochs:
                run.environment = earlier  # of those who trained it, not of who asks for it again
            else:
                environment["continued"] = earlier
        accelerator.wait_for_everyone()

        feed = Feed(dataset, device, config.workers, processes)
        views = views_of(dataset.kind, description["views"])
        embed = partial(embed_with, feed=feed, half=half, processes=processes)
        look = monitor(dataset, model, embed, config.seed) if config.monitor_every and dataset.labelled else None
        total = config.epochs * steps
        progress = progress and processes.first
        bar = tqdm(total=total, initial=len(rows) * steps, desc=kind.name, unit="step", disable=not progress)
        save = partial(write_checkpoint, checkpoint, model, optimiser, rows, environment, processes)
        if not begun:
            save()  # so that there is always something to go back to
        try:
            for epoch in range(len(rows), config.epochs):
                torch.manual_seed(stream_seed(config.seed, epoch, "weights"))  # dropout, in an encoder that has it
                own = {name: generator(device, config.seed, epoch, name) for name in ("views", "draws")}
                draws = {name: Draws(numbers, processes) for name, numbers in own.items()}
                on_cpu = {name: generator("cpu", config.seed, epoch, name) for name in ("order", "items")}
                log = EpochLog(epoch)

                model.eval()
                model.refresh(epoch, embed)
                processes.follow_first(model)
                log.refreshed()

                model.train()
                order = torch.randperm(len(dataset), generator=on_cpu["order"])[: steps * batch]
                # Every process draws the items of the whole batch and works on its own rows of them.
                plan = [processes.own(model.items(index, on_cpu["items"])) for index in order.split(batch)]
                for number, (items, found) in enumerate(zip(plan, feed.batches(plan), strict=True)):
                    rate = learning_rate(epoch * steps + number, total, config)
                    for group in optimiser.param_groups:
                        group["lr"] = rate
                    made = make_views(model, views, found, draws["views"])
                    with torch.autocast(device.type, torch.bfloat16, enabled=half):
                        step = prepared(Batch(items.to(device), made, draws["draws"]))
                    check_finite_loss(step, epoch, number, checkpoint)
                    accelerator.backward(step.loss)
                    optimiser.step()
                    optimiser.zero_grad()
                    model.after_step(step)
                    log.stepped(step, number)
                    bar.update()
                processes.average_statistics(model)
                log.trained(steps * batch, rate, processes)

                if look and ((epoch + 1) % config.monitor_every == 0 or epoch + 1 == config.epochs):
                    model.eval()
                    log.monitored(look())
                check_finite_weights(model, epoch, checkpoint)
                rows.append(log.row)
                run.history = pd.DataFrame(rows)
                save()
                bar.set_postfix_str(summary(log.row))
                for callback in callbacks if processes.first else ():
                    callback(run)
        except KeyboardInterrupt:
            restore(checkpoint, model, optimiser, rows)
            run.history = pd.DataFrame(rows)
            run.interrupted = len(rows) < config.epochs
            note = f"Interrupted: the run is as it was after {len(rows)} of {config.epochs} epochs."
            warnings.warn(note, stacklevel=2)
        finally:
            bar.close()
    model.eval()
    return run


# -- what the loop calls ----------------------------------------------------------------------------------------


def check_dataset(dataset: HierarchicalDataset) -> None:
    """Raises ValueError for what cannot be trained on."""
    if not isinstance(dataset, HierarchicalDataset):
        raise ValueError(
            f"fit needs a HierarchicalDataset, not {type(dataset).__name__}: hiercl.load(name) gives (train, test), "
            "and hiercl.HierarchicalDataset.from_arrays(items, labels, hierarchy) makes one."
        )
    if len(dataset) < 2:
        raise ValueError(f"{dataset.name} holds {len(dataset)} item(s); contrast needs at least two.")


def check_encoder(name: str, dataset: HierarchicalDataset) -> None:
    """Raises ValueError for an encoder that is not of the items of the data set, or is not known."""
    if encoder_kind(name) != dataset.kind:
        known = ", ".join(encoder_names(dataset.kind))
        raise ValueError(f"{dataset.name} holds {dataset.kind}, and {name} takes others: choose encoder= of {known}.")


def normalisation(dataset: HierarchicalDataset) -> tuple[list[float], list[float]]:
    """What is subtracted from every channel, and what it is divided by: of pictures as measured; of points nothing.

    Raises:
        ValueError: clouds that are far larger or smaller than the unit sphere, for which views and encoders are made.
    """
    if dataset.kind == "images":
        mean, std = dataset.channel_mean_std()
        return mean.tolist(), std.tolist()
    sample = dataset.items[:: max(1, len(dataset) // 1000)]
    reach = float(np.linalg.norm(sample, axis=2).max())
    if not LEAST_REACH <= reach <= MOST_REACH:
        raise ValueError(
            f"{dataset.name} has clouds that reach {reach:.3g} from the origin; noise, shift and encoders are made for "
            "clouds in the unit sphere: bring each there with hiercl.datasets.clouds.unit_sphere."
        )
    return [0.0] * 3, [1.0] * 3


def check_names(kind: type[Method], settings: dict[str, Any], items: str) -> None:
    """Raises ValueError for a setting that other methods, or views of other items, have and this one has not."""
    own = VIEW_CONFIGS[items]
    known = {field.name for part in (FitConfig, own, kind.Config) for field in dataclasses.fields(part)}
    for name in settings:
        if name in known:
            continue
        for other, config in VIEW_CONFIGS.items():
            if name in config.__dataclass_fields__:
                theirs = ", ".join(own.__dataclass_fields__)
                raise ValueError(
                    f"{name!r} is a setting of views of {other}, and these are {items}: theirs are {theirs}."
                )
        others = [other for other in methods.names() if name in methods.get(other).Config.__dataclass_fields__]
        if others:
            raise ValueError(f"{name!r} is no setting of {kind.name}, but of {', '.join(others)}.")


def check_labels(method: str, settings: dict[str, Any], dataset: HierarchicalDataset) -> None:
    """Raises ValueError for data that a supervised method cannot learn from."""
    if dataset.labelled:
        return
    if settings.get("neighbour_source") == "labels":
        way_out = "leave out neighbour_source='labels', which asks for them."
    else:
        way_out = "choose simclr, moco, hcsc or csml, or set source='prototypes', which learns a hierarchy of its own."
    raise ValueError(f"{method} learns from labels, and {dataset.name} has none: give labelled data, or {way_out}")


def warn_of_late_starts(model: Method, epochs: int) -> None:
    """Warns of what never begins, because the training is too short for it."""
    for setting, first in model.starts.items():
        if 0 < epochs <= first:
            text = f"{model.name}: {setting} lasts for all {epochs} epochs, and what follows it never begins: train "
            warnings.warn(f"{text}longer, or choose a smaller {setting}.", stacklevel=3)


def check_batch(batch: int, config: FitConfig, processes: Processes) -> None:
    """Raises ValueError for a batch that processes, or the parts of split batch norm, cannot share evenly."""
    if batch % processes.count:
        raise ValueError(
            f"batch={batch} cannot be shared evenly by {processes.count} processes: choose a multiple of that."
        )
    parts = processes.count * SPLITS
    if config.norm == "split" and batch % parts:
        raise ValueError(f"norm='split' needs a batch of a multiple of {parts} here; it is {batch}: choose batch=.")


def make_accelerator(device: torch.device) -> Accelerator:
    """Accelerate's hand on device and processes, for this training."""
    # A session may train on one device and then on another; Accelerate keeps the first one unless it is reset.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Buffers are the queue (alike everywhere) and batch statistics (averaged once an epoch): none needs to be sent
    # round at every forward.
    handlers = [DistributedDataParallelKwargs(broadcast_buffers=False)]
    return Accelerator(cpu=device.type == "cpu", kwargs_handlers=handlers)


def pick_device(name: str) -> torch.device:
    """The device of this name; "auto" takes CUDA if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no CUDA device here: use device='auto' or 'cpu'.")
    return torch.device(name)


def check_finite_loss(step: Step, epoch: int, number: int, checkpoint: Checkpoint) -> None:
    """Raises TrainingDivergedError before the weights are spoiled."""
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


def open_folder(
    out: str | Path | None, description: dict[str, Any], configs: dict[str, type], resume: bool
) -> Checkpoint:
    """The checkpoint of the run in ``out``: empty for a new run. ``configs``: of the parts of its description."""
    if out is None:
        if resume:
            raise ValueError("resume=True needs out=, the folder of the run to continue.")
        return Checkpoint(None)
    folder = Path(out)
    checkpoint = Checkpoint(folder)
    if checkpoint:
        if not resume:
            raise FileExistsError(
                f"{folder} already holds a run: pass resume=True to continue it (or to get it back, if it has ended), "
                "choose another out=, or delete the folder."
            )
        there = json.loads((folder / CONFIG).read_text())
        for part, kind in configs.items():
            there[part] = with_defaults(kind, there[part])
        fit_there = FitConfig(**there["fit"])  # of runs that were begun before rates were written down, None
        there["fit"] = to_json(settled(fit_there, encoder_kind(fit_there.encoder), there["setting"]["items"]))
        differing = [
            f"{name}: there {there[part].get(name)!r}, here {value!r}"
            for part in ("fit", "views", "method_settings", "data")
            for name, value in description[part].items()
            if there[part].get(name) != value and name not in ("device", "workers")
        ]
        if there["method"] != description["method"]:
            differing.insert(0, f"method: there {there['method']!r}, here {description['method']!r}")
        if there.get("hierarchy") != json.loads(json.dumps(description["hierarchy"])):
            differing.append("hierarchy: its classes, or their order, are other ones there")
        if differing:
            raise ValueError(
                f"The run in {folder} has other settings ({'; '.join(differing)}): resume it with its own, or choose "
                "another out= for these."
            )
    return checkpoint


def write_checkpoint(
    checkpoint: Checkpoint,
    model: Method,
    optimiser: Any,
    rows: list[dict],
    environment: dict[str, Any],
    processes: Processes,
) -> None:
    """Everything that the next epoch depends on: the model with its momentum encoder, queue and prototypes, the
    optimiser, and how far training is; generators start anew from that in every epoch. A folder is written by the
    first process alone."""
    if checkpoint.path and not processes.first:
        return
    checkpoint.write(
        {
            "epoch": len(rows),
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "history": rows,
            "environment": environment,
        }
    )


def restore(checkpoint: Checkpoint, model: Method, optimiser: Any, rows: list[dict]) -> dict[str, Any]:
    """Puts model, optimiser and history back to the newest checkpoint; gives the environment that it was made in."""
    state = checkpoint.read()  # on the CPU: loading puts everything where it belongs
    model.load_state_dict(state["model"])
    if state["optimiser"] is not None:  # run.save writes none: such a run can be given back, but not continued
        optimiser.load_state_dict(state["optimiser"])
    elif state["epoch"] < model.setting.epochs:
        raise ValueError(f"{checkpoint.path} was written by run.save, without its optimiser: it cannot be continued.")
    rows[:] = state["history"]
    return state["environment"]
