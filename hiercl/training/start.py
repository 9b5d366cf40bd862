"""start: the model, the optimiser and the checkpoint of a training, new or continued."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, parse_flag_from_env, patch_environment
from torch import nn

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import SPLITS, Encoder, Weights, half_precision_is_native, sound_gradients
from hiercl.methods import Method
from hiercl.runtime.cores import keep_to_free_cores
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.files import reading, write_json
from hiercl.runtime.given import whole_number
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import stream_seed
from hiercl.training import own_class
from hiercl.training.checkpoint import AGAIN, CHECKPOINT, Checkpoint
from hiercl.training.initial import LOG, check_frozen, load_initial
from hiercl.training.optimisation import FitConfig, make_optimiser
from hiercl.training.recipe import Recipe, comparable, recipe_hash
from hiercl.training.runs import CONFIG, Run, check_belongs, read_config
from hiercl.views import Views


@dataclass
class Training:
    """The moving parts of a training.

    Attributes:
        run: the run so far; its history has a row for every finished epoch.
        prepared: the model as Accelerate wraps it; it is called instead of the model.
        optimiser: what moves the weights.
        accelerator: Accelerate's hand on device and processes.
        checkpoint: the newest complete state.
        processes: those that train together.
        feed: the training items.
        views: draws a view of each item.
        half: whether the encoder runs in bf16.
        recipe_hash: hash of the settings, which stands in the checkpoint.
        rows: the rows of the history.
    """

    run: Run
    prepared: nn.Module
    optimiser: Any
    accelerator: Accelerator
    checkpoint: Checkpoint
    processes: Processes
    feed: Feed
    views: Views
    half: bool
    recipe_hash: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> Method:
        """The method that is trained."""
        return self.run.method

    @property
    def embed(self) -> Callable[..., torch.Tensor]:
        """Runs a part of the model over the training set, see :func:`hiercl.datasets.embed_with`."""
        return partial(embed_with, feed=self.feed, half=self.half, processes=self.processes)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.run.stopped or len(self.rows) >= self.run.recipe.fit.epochs

    @contextmanager
    def accumulating(self, number: int) -> Iterator[bool]:
        """Prepares a step of an epoch: the gradients of a group of ``accumulate`` steps are averaged.

        Accelerate divides the loss by the size of the group, lets the optimiser move after the last step of a group,
        and lets processes exchange gradients only then. It cannot see where an epoch ends, because the items do not
        come through a loader of its own; the last group of an epoch is as large as what is left.

        Args:
            number: number of the step in its epoch.

        Yields:
            Whether the optimiser moves after this step.
        """
        accelerator, size = self.accelerator, self.run.recipe.fit.accumulate
        place, left = number % size, self.model.info.steps_per_epoch - number
        moves = place + 1 == size or left == 1
        accelerator.gradient_accumulation_steps, accelerator.sync_gradients = min(size, place + left), moves
        try:
            with nullcontext() if moves else accelerator.no_sync(self.prepared):
                yield moves
        finally:  # Accelerate keeps this for the whole session
            accelerator.gradient_accumulation_steps, accelerator.sync_gradients = 1, True

    def save(self) -> None:
        """Writes everything that the next epoch depends on. In a folder, only the first process writes.

        That is the model with its momentum encoder, queue and prototypes, the optimiser, and how far training is.
        Random numbers start anew in every epoch.
        """
        self.run.history = pd.DataFrame(self.rows)
        if self.checkpoint.path and not self.processes.first:
            return
        state = {"epoch": len(self.rows), "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"history": self.rows, "environment": self.run.environment, "stopped": self.run.stopped}
        state["config"] = [self.recipe_hash]
        self.checkpoint.write(state)

    def stop(self) -> None:
        """Ends the training here: the run is complete as it is."""
        self.run.stopped = True
        self.save()

    def keep_for(self, error: Exception) -> None:
        """Puts the run as it was after the last whole epoch at the error that ended the training."""
        self.restore()
        self.model.eval()
        self.run.interrupted = not self.ended
        error.run = self.run  # type: ignore[attr-defined]
        if self.rows:
            path = self.run.path
            where = f"in {path}: resume=True" if path else "the attribute run of this error: resume=error.run"
            error.add_note(f"The run as it was after {len(self.rows)} epochs is {where} goes on with it.")

    def restore(self, state: Mapping[str, Any] | None = None) -> None:
        """Goes back to a state, by default to that of the newest checkpoint."""
        state = self.checkpoint.read() if state is None else state  # on the CPU: loading puts all where it belongs
        with reading(Path(self.checkpoint.place), AGAIN):
            self.model.load_state_dict(state["model"])
            if state["optimiser"] is not None:
                self.optimiser.load_state_dict(state["optimiser"])
        self.rows[:] = state["history"]
        self.run.history = pd.DataFrame(self.rows)
        self.run.stopped = state.get("stopped", False)


@contextmanager
def start(recipe: Recipe, dataset: HierarchicalDataset, out: Path | None, resume: bool | Run) -> Iterator[Training]:
    """Yields model and optimiser on their device, as an earlier run left them. Until the end of the block nobody else
    can write to the folder of the run.

    Args:
        recipe: what is trained.
        dataset: the training set.
        out: folder of the run, or None.
        resume: the run to continue; True: the one in ``out``, if there is one.

    Raises:
        ValueError: a batch that the processes cannot share, or an earlier run that does not fit or cannot go on.
        FileExistsError: ``out`` holds a run that is not continued.
        BlockingIOError: another process, or another thread, trains in ``out``.
    """
    accelerator = make_accelerator(pick_device(recipe.fit.device))
    checkpoint = Checkpoint(out)
    with checkpoint.only_writer() if Processes.here().first else nullcontext():
        training = prepare(recipe, dataset, checkpoint, resume, accelerator)
        with sound_gradients(training.model, training.half):
            yield training


def prepare(
    recipe: Recipe, dataset: HierarchicalDataset, checkpoint: Checkpoint, resume: bool | Run, accelerator: Accelerator
) -> Training:
    """Makes what :func:`start` yields."""
    fit, out = recipe.fit, checkpoint.path and checkpoint.path.parent
    device, processes = accelerator.device, Processes.here()
    half = fit.precision == "bf16" or (fit.precision == "auto" and half_precision_is_native(device))
    check_batch(min(fit.batch, len(dataset)), fit, processes)
    earlier = find_earlier(checkpoint, resume)
    changed = earlier is not None and (earlier.asked_for or earlier.epochs != fit.epochs)
    if earlier is not None:
        check_continues(earlier, recipe)
    threads = None if earlier is None else earlier.state["environment"].get("threads")
    slowed = keep_to_free_cores(threads) if device.type == "cpu" and processes.count == 1 else ""
    own_hash = recipe_hash(recipe.to_json(), recipe.method)
    accelerator.wait_for_everyone()  # all have looked at the folder before the first of them writes to it
    torch.manual_seed(stream_seed(fit.seed, 0, "weights"))
    model, said = recipe.make_method(), ""
    if earlier is None and fit.init is not None:
        said = load_initial(model, cast(Weights, fit.init), normalisation=fit.mean is None and fit.std is None)
        LOG.info("init: %s", said)
    elif earlier is None and isinstance(fit.encoder, str):  # an encoder that is given keeps its filters
        for part in model.children():
            if isinstance(part, Encoder):
                part.see(dataset.items)
    check_frozen(model, random=earlier is None and fit.init is None and isinstance(fit.encoder, str))
    LOG.info("encoder: %s", model.encoder.found)
    if out and processes.first:
        if earlier is not None and checkpoint and own_hash not in earlier.state.get("config", [own_hash]):
            # Whenever the process dies, the checkpoint belongs to the settings that stand beside it.
            both = [recipe_hash(earlier.config, recipe.method), own_hash]
            checkpoint.write({**earlier.state, "config": both})
        write_json(out / CONFIG, recipe.to_json())
    model = model.to(device)
    views = recipe.make_views()
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, fit)
    if fit.compile:
        for part in model.children():
            if isinstance(part, Encoder):
                part.speed_up()
    with warnings.catch_warnings():  # torch has a new name for broadcast_buffers, Accelerate knows the old one
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        prepared, optimiser = accelerator.prepare(model, optimiser)

    environment = describe_environment(device, "bf16" if half else "float32") | {"processes": processes.count}
    environment |= {"init": said} if said else {}
    environment |= {"threads_why": slowed} if slowed else {}
    run = Run(model, recipe, pd.DataFrame(), environment, out, checkpoint=checkpoint)
    feed = Feed(dataset, device, fit.workers, processes)
    training = Training(run, prepared, optimiser, accelerator, checkpoint, processes, feed, views, half, own_hash)
    if earlier is not None:
        training.restore(earlier.state)
        run.stopped = run.stopped and not changed
        if training.ended:
            run.environment = earlier.state["environment"]  # of those who trained it, not of who asks for it again
        else:
            environment["continued"] = earlier.state["environment"]
        if earlier.epochs != fit.epochs and training.rows:
            environment["schedule_changed"] = {"after": len(training.rows), "epochs": earlier.epochs}
            warn_of_another_schedule(earlier, fit.epochs)
    accelerator.wait_for_everyone()
    if changed or not checkpoint:
        training.save()  # so that there is always something to go back to
    return training


@dataclass(frozen=True)
class Earlier:
    """A run that is continued.

    Attributes:
        config: its recipe in JSON.
        state: its newest state.
        folder: where both are, for messages.
        words: what it is.
        asked_for: whether the user gave this very run, so that it goes on even if a callback had stopped it.
    """

    config: Mapping[str, Any]
    state: Mapping[str, Any]
    folder: Path
    words: str
    asked_for: bool

    @property
    def epochs(self) -> int:
        """Epochs that it was to have."""
        with reading(self.folder / CONFIG, AGAIN):
            return whole_number(self.config["fit"]["epochs"], "epochs", least=0)

    @property
    def done(self) -> int:
        """Epochs that it has."""
        return self.state["epoch"]


def find_earlier(checkpoint: Checkpoint, resume: bool | Run) -> Earlier | None:
    """Returns the run that is continued; None for a new run.

    Args:
        checkpoint: that of the run to be trained.
        resume: the run to continue, or whether to continue the one that the checkpoint belongs to.

    Raises:
        ValueError: no run is named, or this one cannot go on.
        FileExistsError: the checkpoint is that of a run that is not continued.
    """
    if isinstance(resume, Run):
        if not resume.checkpoint:
            raise ValueError(
                f"{resume} cannot go on: the state of its optimiser is not at hand (run.changed makes such a run, or "
                "its folder is gone). init=run starts a new training from its weights."
            )
        if checkpoint and not checkpoint.is_at(resume.checkpoint.path):
            raise FileExistsError(f"{checkpoint.path} is that of another run: choose another out=.")
        state = resume.checkpoint.read()
        if state["epoch"] != len(resume.history):
            raise ValueError(
                f"{resume} has gone on in the meantime: its folder has {state['epoch']} epochs. Read it again with "
                "hiercl.load_run."
            )
        config, folder = json.loads(json.dumps(resume.config)), Path(resume.checkpoint.place).parent
        return Earlier(config, state, folder, str(resume), asked_for=True)
    if not isinstance(resume, bool):
        raise ValueError(
            f"resume={resume!r}: give a run (hiercl.load_run reads one from its folder), or True with out=."
        )
    if resume and checkpoint.path is None:
        raise ValueError(
            "resume=True needs out=, the folder of the run to continue. A run in memory goes on with resume=run."
        )
    if checkpoint.path is None or not checkpoint:
        return None
    folder = checkpoint.path.parent
    if not resume:
        raise FileExistsError(
            f"{folder} already holds a run: pass resume=True to continue it (or to get it back, if it has ended), "
            "choose another out=, or delete the folder."
        )
    if not (folder / CONFIG).exists():
        raise ValueError(f"{folder} holds {CHECKPOINT} and no {CONFIG}, so it is not known what was trained: {AGAIN}.")
    return Earlier(read_config(folder), checkpoint.read(), folder, f"The run in {folder}", asked_for=False)


def check_continues(earlier: Earlier, recipe: Recipe) -> None:
    """Raises ValueError for an earlier run with other settings, or without what is needed to go on."""
    longer, current = recipe.fit.epochs > earlier.done, json.loads(json.dumps(recipe.to_json()))
    with reading(earlier.folder / CONFIG, AGAIN):
        here, there = (comparable(one, recipe.method) for one in (current, earlier.config))
        differing = [
            f"{name}: there {there[part].get(name)!r}, here {value!r}"
            for part in ("fit", "views", "method_settings", "data")
            for name, value in here[part].items()
            if there[part].get(name) != value and not (name == "epochs" and longer)
        ]
        differing[:0] = own_class.differences(there, here)
        if there["hierarchy"] != here["hierarchy"]:
            differing.append("hierarchy: its classes, or their order, are other ones there")
    if differing:
        raise ValueError(
            f"{earlier.words} has other settings ({'; '.join(differing)}): resume it with its own; more epochs are the "
            "only change that a run can take. For other settings choose another out=; init=run starts from its weights."
        )
    check_belongs(earlier.state, earlier.config, recipe.method, earlier.folder)
    if earlier.state.get("optimiser") is None and longer:
        raise ValueError(
            f"{earlier.words} was written by run.save of an earlier hiercl, without its optimiser: it cannot be "
            "continued. init=run starts a new training from its weights."
        )


def warn_of_another_schedule(earlier: Earlier, epochs: int) -> None:
    """Warns that a run goes on as part of a training of another length."""
    warnings.warn(
        f"This run was to have {earlier.epochs} epochs. After {earlier.done} of them it goes on as a training of "
        f"{epochs}: from here on the learning rate and all shares of training, such as warm-ups, are those of that "
        f"length. The result is not the same as one training of {epochs} epochs.",
        stacklevel=6,
    )


def check_batch(batch: int, fit: FitConfig, processes: Processes) -> None:
    """Raises ValueError for a batch that processes, or the parts of split batch norm, cannot share evenly."""
    if batch % processes.count:
        raise ValueError(
            f"batch={batch} cannot be shared evenly by {processes.count} processes: choose a multiple of that."
        )
    parts = processes.count * SPLITS
    if fit.norm == "split" and batch % parts:
        raise ValueError(f"norm='split' needs a batch of a multiple of {parts} here; it is {batch}: choose batch=.")


def make_accelerator(device: torch.device) -> Accelerator:
    """Makes Accelerate's hand on device and processes, for this training."""
    # A session may train on one device and then on another; Accelerate keeps the first one unless it is reset. It reads
    # settings from variables of the environment, too; ours are those of fit.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Buffers are the queue (alike everywhere) and batch statistics (averaged once an epoch): none needs to be sent
    # round at every forward.
    handler = DistributedDataParallelKwargs(broadcast_buffers=False)
    # Accelerate itself knows only "the" GPU; this variable names another one. Of several processes each gets its own.
    several = "LOCAL_RANK" in os.environ or torch.distributed.is_initialized()
    named = {} if several else {"ACCELERATE_TORCH_DEVICE": str(device)}
    with without_settings(), patch_environment(**named):
        accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[handler])
    if accelerator.num_processes > 1 and device.index is not None:
        raise ValueError(
            f"device={str(device)!r} with {accelerator.num_processes} processes: each of them has a device of its own. "
            f"Give device={device.type!r}."
        )
    return accelerator


@contextmanager
def without_settings() -> Iterator[None]:
    """Hides the variables of the environment in which ``accelerate config`` and ``accelerate launch`` keep settings of
    their own: precision, accumulated steps, compilation, sharding. Ranks and addresses of processes stay."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ACCELERATE_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def pick_device(name: str | torch.device) -> torch.device:
    """Returns a device; "auto" takes CUDA if there is a GPU.

    Args:
        name: "auto", or what torch takes: "cpu", "cuda", "cuda:1", "mps", a ``torch.device``.

    Raises:
        ValueError: torch knows no such device, or sees none here. The message lists what it sees.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU")  # of accelerate launch --cpu
        return torch.device("cuda" if torch.cuda.is_available() and not on_cpu else "cpu")
    seen = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    seen += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
    except RuntimeError:  # torch's own message lists every kind that it was written for
        device = None
    if device is None or not {device.type, f"{device.type}:{device.index or 0}"} & set(seen):
        raise ValueError(
            f"device={str(name)!r}: torch sees no such device here. It sees {', '.join(seen)}. device='auto' takes "
            "CUDA where there is a GPU, and the CPU otherwise."
        )
    return device
