"""Run: what training gives back and what is on disk."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset, look_up
from hiercl.encoders import Encoder, export
from hiercl.methods import Batch, Method, Step, in_full
from hiercl.pairs import shares, tally
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_ids
from hiercl.runtime.config import Above, AtLeast, distribute
from hiercl.runtime.files import read_json, reading, write_json
from hiercl.runtime.given import given_path
from hiercl.runtime.seeds import Draws, generator
from hiercl.training.checkpoint import AGAIN, CHECKPOINT, Checkpoint
from hiercl.training.optimisation import make_optimiser
from hiercl.training.recipe import Recipe, recipe_hash
from hiercl.views import Views

CONFIG = "config.json"
CONFIG_FORM = {
    **{"method": str, "fit": dict, "views": dict, "method_settings": dict, "setting": dict},
    **{"input": dict, "data": dict},
}


@dataclass
class Run:
    """A trained (or partly trained) model with everything that made it.

    Attributes:
        method: the whole model: encoder, heads, momentum encoder, queue, prototypes.
        recipe: what was trained: method, settings, data.
        history: one row an epoch: loss, terms, keep rates, seconds, items per second, kNN accuracies.
        environment: versions, device, threads, git commit.
        path: its folder, or None when it is in memory only.
        interrupted: whether training was interrupted before its last epoch.
        stopped: whether a callback ended the training before its last epoch. Such a run is complete.
        checkpoint: the state that ``fit(..., resume=run)`` goes on from; None if it cannot go on.

    Example:
        >>> run.name, run.encoder.width
        ('hcsc', 256)
    """

    method: Method
    recipe: Recipe
    history: pd.DataFrame
    environment: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    interrupted: bool = False
    stopped: bool = False
    checkpoint: Checkpoint | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.recipe.method.name

    @property
    def config(self) -> dict[str, Any]:
        """All settings as plain JSON values, as ``config.json`` has them."""
        return self.recipe.to_json()

    @property
    def encoder(self) -> Encoder:
        """The trained encoder, from items to features."""
        return self.method.encoder

    @property
    def tree(self) -> PrototypeTree | None:
        """The learned tree of prototypes; None for methods without one, or before the end of the warm-up."""
        return getattr(self.method, "tree", None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.method.parameters()).device

    @checked
    @torch.no_grad()
    def step(
        self,
        dataset: HierarchicalDataset,
        items: Any = None,
        batch: Annotated[int, AtLeast(1)] = 256,
        seed: Annotated[int, AtLeast(0)] = 0,
    ) -> Step:
        """Makes one step of the method on its training set and changes nothing: which pairs, which loss, which views.

        Args:
            dataset: the training set of this run.
            items: indices of the anchors; by default ``batch`` random ones.
            batch: how many random anchors.
            seed: seed of the anchors, the views and the selection.

        Raises:
            ValueError: the data set is not the one that the run was trained on, or items that it does not have.

        Example:
            >>> step = run.step(train, batch=8)
            >>> [term.name for term in step.terms][:1]
            ['instance 0']
        """
        return self._step(dataset, items, batch, seed)

    def _step(self, dataset: HierarchicalDataset, items: Any, batch: int, seed: int) -> Step:
        """Makes a step, with gradients unless torch has them switched off."""
        if len(dataset) != self.recipe.info.items:
            raise ValueError(
                f"This run was trained on {self.recipe.info.items} items and the data set has {len(dataset)}: pass the "
                "training set, whose items the queue and the prototypes refer to."
            )
        if dataset.fingerprint() != self.recipe.data["fingerprint"]:
            raise ValueError(
                "This run was trained on other items than these: pass the very training set (same subset, same seed), "
                "whose items the queue and the prototypes refer to."
            )
        rng = np.random.default_rng(seed)
        index = as_ids(rng.permutation(len(dataset))[:batch] if items is None else items).cpu().reshape(-1)
        if len(index) == 0 or index.min() < 0 or index.max() >= len(dataset):
            raise ValueError(
                f"items={items!r:.200}: give indices of items, at least one, from 0 to {len(dataset) - 1}."
            )
        view_draws, selection_draws = (Draws(generator(self.device, seed, 0, stream)) for stream in ("views", "draws"))
        items, made = self.method.items(index, generator("cpu", seed, 0, "items")), []
        views = self.recipe.make_views()
        was_training = self.method.training
        self.method.eval()
        try:
            drawn = make_views(self.method, views, look_up(dataset.items, items).to(self.device), view_draws)
            step = self.method(Batch(items.to(self.device), drawn, selection_draws, made))
            return replace(step, views=(*drawn, *made))
        finally:
            self.method.train(was_training)

    @checked
    def audit(
        self,
        dataset: HierarchicalDataset,
        batches: Annotated[int, AtLeast(1)] = 8,
        batch: Annotated[int, AtLeast(1)] = 256,
        seed: Annotated[int, AtLeast(0)] = 0,
    ) -> pd.DataFrame:
        """Judges this run's pairs by the true labels: :func:`hiercl.audit`, summed over batches.

        Args:
            dataset: the training set of this run.
            batches: how many steps are looked at.
            batch: anchors in each.
            seed: seed of the first step; each later step has the next one.

        Returns:
            One row for each term and level of the true hierarchy, with the columns of :func:`hiercl.audit`.

        Example:
            >>> run.audit(train, batches=1, batch=16).columns[0]
            'term'
        """
        totals: dict[str, pd.DataFrame] = {}
        for number in range(batches):
            for term in self.step(dataset, batch=batch, seed=seed + number).terms:
                counts = pd.DataFrame(tally(term.pairs, dataset.labels, dataset.hierarchy, self.tree))
                if term.name in totals:
                    summed = totals[term.name] + counts
                    summed["level"] = counts["level"]
                    counts = summed
                totals[term.name] = counts
        tables = {name: shares(counts, dataset.hierarchy) for name, counts in totals.items()}
        return pd.concat(tables, names=["term"]).reset_index(level="term").reset_index(drop=True)

    def changed(self, **settings: Any) -> Run:
        """Returns the same weights, queue and prototypes under other settings of the method. Nothing is trained.

        ``run.changed(temperature=0.5).step(train)`` shows the pairs and the loss at another temperature. What was
        fitted during the training (concentrations, masks) stays as it is.

        Args:
            settings: settings of the method; they may be functions (``select=my_rule``). ``official=True`` stands for
                all those of the method's official code.

        Raises:
            ValueError: an unknown setting, a value that does not fit, or a setting that the weights depend on.

        Example:
            >>> table = run.changed(select="none").audit(train, batches=1)
        """
        old = self.recipe.settings
        unchanged = {field.name: getattr(old, field.name) for field in fields(old)}
        settings = in_full(self.recipe.method, settings)
        recipe = replace(self.recipe, settings=distribute(unchanged | settings, type(old))[0])
        try:
            method = recipe.method(copy.deepcopy(self.encoder), recipe.settings, self.method.info).to(self.device)
            method.load_state_dict(self.method.state_dict())
        except RuntimeError as error:
            names = ", ".join(settings)
            raise ValueError(
                f"{names}: the weights of this run do not fit such a model; train one with these settings."
            ) from error
        method.train(self.method.training)
        return Run(method, recipe, self.history, self.environment, None, self.interrupted, self.stopped)

    @checked
    def learned(
        self,
        dataset: HierarchicalDataset,
        items: Any = None,
        batch: Annotated[int, AtLeast(1)] = 256,
        seed: Annotated[int, AtLeast(0)] = 0,
        lr: Annotated[float, Above(0)] | None = None,
    ) -> Run:
        """Returns a copy of this run after one more step of the optimiser, on the very batch that :meth:`step` shows.

        ``run.learned(train, seed=3).step(train, seed=3)`` is the same step with the same views and candidates, seen by
        the new weights. The optimiser is that of the training, and new: its first move has no memory of earlier ones.
        Normalisation layers are in eval mode, as in :meth:`step`. The queue and the momentum encoder stay as they are.

        Args:
            dataset: the training set of this run.
            items: as in :meth:`step`, and so are ``batch`` and ``seed``.
            batch: how many random anchors.
            seed: seed of the anchors, the views and the selection.
            lr: learning rate, above 0; None: the highest of the training.

        Raises:
            ValueError: as for :meth:`step`.

        Example:
            >>> after = run.learned(train, batch=32)
            >>> bool(after.step(train, batch=32).loss < run.step(train, batch=32).loss)
            True
        """
        after, config = self.changed(), self.recipe.fit
        with torch.enable_grad():
            optimiser = make_optimiser(after.method, config if lr is None else replace(config, lr=lr))
            after._step(dataset, items, batch, seed).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return after

    def save(self, path: str | Path) -> Path:
        """Writes the run to a folder, so that :func:`load_run` gives it back, and training can go on from there.

        Args:
            path: the folder; it is made if it does not exist.

        Raises:
            FileExistsError: the folder already holds a run.

        Example:
            >>> folder = run.save("runs/saved")
            >>> hiercl.load_run(folder).name
            'hcsc'
        """
        path = given_path(path, "path")
        if (path / CHECKPOINT).exists():
            raise FileExistsError(f"{path} already holds a run: choose another folder, or delete it.")
        newest = self.checkpoint.read() if self.checkpoint else {}
        own = newest.get("epoch") == len(self.history)  # another training may have gone on in this run's folder
        state = {"epoch": len(self.history), "model": self.method.state_dict(), "stopped": self.stopped}
        state |= {"history": self.history.to_dict("records"), "environment": self.environment}
        state["optimiser"] = newest["optimiser"] if own else None
        state["config"] = [recipe_hash(self.config, self.recipe.method)]
        checkpoint = Checkpoint(path)
        with checkpoint.only_writer():
            write_json(path / CONFIG, self.config)
            checkpoint.write(state)
        return path

    def export(
        self, path: str | Path, layout: str | None = None, size: int | None = None, overwrite: bool = False
    ) -> Path:
        """Writes the encoder to a file that other programs read: weights, an ONNX program or a program of torch.

        Args:
            path: ``.safetensors`` for weights, ``.onnx`` or ``.pt2`` for a program; :func:`hiercl.encoders.export` says
                what is in them.
            layout: whose names the weights have: "hiercl" (the default) or, for ResNets, "torchvision".
            size: side of the pictures or number of points that a program is made with; by default 32 or 1,024.
            overwrite: whether a file that exists is replaced.

        Raises:
            ValueError: another ending, a layout that the encoder does not have, or an encoder that torch cannot trace.
            FileExistsError: the file exists, and ``overwrite`` is False.
            ImportError: a package for ONNX is missing.

        Example:
            >>> again = hiercl.fit("moco", train, init=run.export("encoder.safetensors"), epochs=0, progress=False)
            >>> torch.equal(hiercl.embed(again, test), hiercl.embed(run, test))
            True
        """
        return export(self, path, layout, size, overwrite)

    def __repr__(self) -> str:
        done, wanted = len(self.history), self.recipe.fit.epochs
        state = f"{done} epochs" if done == wanted else f"{done} of {wanted} epochs" + ", stopped" * self.stopped
        where = f", {self.path}" if self.path else ""
        return f"Run({self.name}, {self.recipe.fit.encoder}, {state}, seed {self.recipe.fit.seed}{where})"


def load_run(path: str | Path, device: str | torch.device = "cpu", **functions: Any) -> Run:
    """Reads a run from its folder.

    Args:
        path: the folder that ``fit(..., out=path)`` or ``run.save(path)`` wrote.
        device: where to put the model.
        functions: settings that were functions (``select=my_rule``), and ``method=MyMethod`` for a class of your own.

    Raises:
        FileNotFoundError: there is no run at the path.
        ValueError: it was written by a newer version, a setting that was a function is missing, or a file is cut,
            altered or that of another run. The message names the file.

    Example:
        >>> same = hiercl.load_run(run.save("runs/same"))
    """
    path = given_path(path, "path")
    if not (path / CONFIG).exists() or not (path / CHECKPOINT).exists():
        raise FileNotFoundError(f"No run at {path}: its folder holds {CONFIG} and {CHECKPOINT}.")
    content = read_config(path)
    with reading(path / CONFIG, AGAIN):
        recipe = Recipe.from_json(content, **functions)
    checkpoint = Checkpoint(path)
    state = checkpoint.read(device)
    check_belongs(state, content, recipe.method, path)
    with reading(path / CHECKPOINT, f"it may be that of another run than {path / CONFIG}; {AGAIN}"):
        # The memory format of the training, so that the run gives the same numbers as before it was saved.
        method = recipe.make_method().to(device).to(memory_format=torch.channels_last)
        try:
            method.load_state_dict(state["model"])
        except RuntimeError as error:
            if "encoder" not in functions:
                raise
            lines = " ".join(str(error).split())
            raise ValueError(
                f"the encoder that is given does not have these weights ({lines:.200} ...): give the one that the run "
                "was trained with"
            ) from error
    history, stopped = pd.DataFrame(state["history"]), state.get("stopped", False)
    interrupted = len(history) < recipe.fit.epochs and not stopped
    return Run(method.eval(), recipe, history, state["environment"], path, interrupted, stopped, checkpoint)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the settings of a run from its folder.

    Args:
        folder: folder of the run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is cut or altered.

    Example:
        >>> read_config(run.save("runs/again"))["method"]
        'hcsc'
    """
    return read_json(folder / CONFIG, AGAIN, CONFIG_FORM)


def check_belongs(state: Mapping[str, Any], config: Mapping[str, Any], method: type[Method], folder: Path) -> None:
    """Raises ValueError for a checkpoint that was not made under the settings that stand beside it.

    Args:
        state: content of the checkpoint. Early versions did not write which settings it belongs to.
        config: content of the file with the settings.
        method: the class of the run.
        folder: folder of both.
    """
    with reading(folder / CONFIG, AGAIN):
        known = "config" not in state or recipe_hash(config, method) in state["config"]
    if not known:
        raise ValueError(
            f"{folder / CHECKPOINT} does not belong to {folder / CONFIG}: one of them was altered, or is that of "
            f"another run. Put back the right one, or {AGAIN}."
        )


def make_views(method: Method, views: Views, items: Tensor, draws: Draws) -> tuple[Tensor, ...]:
    """Draws the views of the method's plan from a step's items.

    Args:
        method: the method.
        views: draws one view of each item.
        items: pictures ``[B, m, height, width, channels]`` or points ``[B, m, p, 3]``.
        draws: random numbers.

    Returns:
        One tensor for each view of the plan.
    """
    return tuple(views(items[:, view.item], draws, view.pixels(views.size), view.scale) for view in method.plan)
