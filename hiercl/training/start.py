"""start: the model, the optimiser and the checkpoint of a training, new or continued."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import SPLITS, Encoder, encoder_modality, half_precision_is_native, modality_of
from hiercl.methods import Method
from hiercl.runtime.config import with_defaults
from hiercl.runtime.environment import describe_environment
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import stream_seed
from hiercl.training.checkpoint import Checkpoint, write_atomically
from hiercl.training.optimisation import FitConfig, make_optimiser, resolve_defaults
from hiercl.training.recipe import Recipe
from hiercl.training.runs import CONFIG, Run
from hiercl.views import Views


@dataclass
class Training:
    """The moving parts of a training.

    Attributes:
        run: the run so far; its history has a row for every finished epoch.
        prepared: the model as Accelerate wraps it; it is called instead of the model.
        optimiser: AdamW or SGD.
        accelerator: Accelerate's hand on device and processes.
        checkpoint: the newest complete state.
        processes: those that train together.
        feed: the training items.
        views: draws a view of each item.
        half: whether the encoder runs in bf16.
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
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> Method:
        """The method that is trained."""
        return self.run.method

    @property
    def embed(self) -> Callable[..., torch.Tensor]:
        """Runs a part of the model over the training set, see :func:`hiercl.datasets.embed_with`."""
        return partial(embed_with, feed=self.feed, half=self.half, processes=self.processes)

    def save(self) -> None:
        """Writes everything that the next epoch depends on. In a folder, only the first process writes.

        That is the model with its momentum encoder, queue and prototypes, the optimiser, and how far training is.
        Random numbers start anew in every epoch.
        """
        self.run.history = pd.DataFrame(self.rows)
        if self.checkpoint.path and not self.processes.first:
            return
        state = {"epoch": len(self.rows), "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        self.checkpoint.write(state | {"history": self.rows, "environment": self.run.environment})

    def restore(self) -> dict[str, Any]:
        """Goes back to the newest checkpoint. Returns the environment that it was made in."""
        state = self.checkpoint.read()  # on the CPU: loading puts everything where it belongs
        self.model.load_state_dict(state["model"])
        if state["optimiser"] is not None:  # run.save writes none: such a run can be given back, but not continued
            self.optimiser.load_state_dict(state["optimiser"])
        elif state["epoch"] < self.model.info.epochs:
            raise ValueError(
                f"{self.checkpoint.path} was written by run.save, without its optimiser: it cannot be continued."
            )
        self.rows[:] = state["history"]
        self.run.history = pd.DataFrame(self.rows)
        return state["environment"]


def start(recipe: Recipe, dataset: HierarchicalDataset, out: str | Path | None, resume: bool) -> Training:
    """Makes model and optimiser on their device, and brings them to where an earlier run in ``out`` stopped.

    Args:
        recipe: what is trained.
        dataset: the training set.
        out: folder of the run, or None.
        resume: whether a run in ``out`` is continued.

    Raises:
        ValueError: a batch that the processes cannot share, or a run in ``out`` with other settings.
        FileExistsError: ``out`` holds a run, and ``resume`` is False.
    """
    fit = recipe.fit
    accelerator = make_accelerator(pick_device(fit.device))
    device, processes = accelerator.device, Processes.here()
    half = fit.precision == "bf16" or (fit.precision == "auto" and half_precision_is_native(device))
    check_batch(min(fit.batch, len(dataset)), fit, processes)
    checkpoint = open_folder(out, recipe, resume)
    accelerator.wait_for_everyone()  # all have looked at the folder before the first of them writes to it
    if checkpoint.path and processes.first:
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(checkpoint.path.parent / CONFIG, json.dumps(recipe.to_json(), indent=2).encode())

    torch.manual_seed(stream_seed(fit.seed, 0, "weights"))
    model = recipe.make_method().to(device)
    views = modality_of(dataset).views(recipe.views, recipe.input)
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, fit)
    if fit.compile:
        for part in model.children():
            if isinstance(part, Encoder):
                part.stages = torch.compile(part.stages)  # what its forward calls, and some methods themselves
    with warnings.catch_warnings():  # torch has a new name for broadcast_buffers, Accelerate knows the old one
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        prepared, optimiser = accelerator.prepare(model, optimiser)

    environment = describe_environment(device, "bf16" if half else "float32") | {"processes": processes.count}
    run = Run(model, recipe, pd.DataFrame(), environment, None if out is None else Path(out))
    feed = Feed(dataset, device, fit.workers, processes)
    training = Training(run, prepared, optimiser, accelerator, checkpoint, processes, feed, views, half)
    if checkpoint:
        earlier = training.restore()
        if len(training.rows) == fit.epochs:
            run.environment = earlier  # of those who trained it, not of who asks for it again
        else:
            environment["continued"] = earlier
        accelerator.wait_for_everyone()
    else:
        accelerator.wait_for_everyone()
        training.save()  # so that there is always something to go back to
    return training


def open_folder(out: str | Path | None, recipe: Recipe, resume: bool) -> Checkpoint:
    """Returns the checkpoint of the run in ``out``; it is empty for a new run."""
    if out is None:
        if resume:
            raise ValueError("resume=True needs out=, the folder of the run to continue.")
        return Checkpoint(None)
    folder = Path(out)
    checkpoint = Checkpoint(folder)
    if not checkpoint:
        return checkpoint
    if not resume:
        raise FileExistsError(
            f"{folder} already holds a run: pass resume=True to continue it (or to get it back, if it has ended), "
            "choose another out=, or delete the folder."
        )
    here = json.loads(json.dumps(recipe.to_json()))
    there = json.loads((folder / CONFIG).read_text())
    for part, config in {"fit": recipe.fit, "views": recipe.views, "method_settings": recipe.settings}.items():
        here[part], there[part] = (with_defaults(type(config), one[part]) for one in (here, there))
    fit = FitConfig.from_json(there["fit"])  # runs of an early version have no rates
    there["fit"] = resolve_defaults(fit, encoder_modality(fit.encoder).name, there["setting"]["items"]).to_json()
    differing = [
        f"{name}: there {there[part].get(name)!r}, here {value!r}"
        for part in ("fit", "views", "method_settings", "data")
        for name, value in here[part].items()
        if there[part].get(name) != value and name not in ("device", "workers")
    ]
    if there["method"] != here["method"]:
        differing.insert(0, f"method: there {there['method']!r}, here {here['method']!r}")
    if there.get("hierarchy") != here["hierarchy"]:
        differing.append("hierarchy: its classes, or their order, are other ones there")
    if differing:
        raise ValueError(
            f"The run in {folder} has other settings ({'; '.join(differing)}): resume it with its own, or choose "
            "another out= for these."
        )
    return checkpoint


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
    # A session may train on one device and then on another; Accelerate keeps the first one unless it is reset.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Buffers are the queue (alike everywhere) and batch statistics (averaged once an epoch): none needs to be sent
    # round at every forward.
    handler = DistributedDataParallelKwargs(broadcast_buffers=False)
    return Accelerator(cpu=device.type == "cpu", kwargs_handlers=[handler])


def pick_device(name: str) -> torch.device:
    """Returns the device of this name; "auto" takes CUDA if there is one.

    Raises:
        ValueError: "cuda", and torch sees no CUDA device.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no CUDA device here: use device='auto' or 'cpu'.")
    return torch.device(name)
