"""Run: what training gives back and what is on disk."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hiercl import methods
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset, look_up
from hiercl.encoders import Encoder, make_encoder
from hiercl.hierarchy import Hierarchy
from hiercl.methods import Batch, Method, Setting, Step, Supervision
from hiercl.pairs import shares, tally
from hiercl.runtime.config import distribute, from_json, to_json
from hiercl.runtime.seeds import Draws, generator
from hiercl.training.checkpoint import CHECKPOINT, Checkpoint, write_atomically
from hiercl.training.optimisation import FitConfig
from hiercl.views import Views, views_of

CONFIG = "config.json"


@dataclass
class Run:
    """A trained (or partly trained) model with everything that made it.

    Attributes:
        method: the whole model: encoder, heads, momentum encoder, queue, prototypes.
        config: all settings, as plain JSON values.
        history: one row an epoch: loss, terms, keep rates, seconds, images per second, kNN monitor.
        environment: versions, device, threads, git commit.
        path: its folder, or None when it is in memory only.
        interrupted: whether training was stopped before its last epoch.
    """

    method: Method
    config: dict[str, Any]
    history: pd.DataFrame
    environment: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    interrupted: bool = False

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.config["method"]

    @property
    def encoder(self) -> Encoder:
        """The trained encoder: items to features."""
        return self.method.encoder

    @property
    def tree(self) -> PrototypeTree | None:
        """The learned tree of prototypes; None for methods without one, or before the end of the warm-up."""
        return getattr(self.method, "tree", None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.method.parameters()).device

    @torch.no_grad()
    def step(self, dataset: HierarchicalDataset, items: Any = None, batch: int = 256, seed: int = 0) -> Step:
        """One step of the method on its training set, nothing learned and nothing changed: which pairs, which loss.

        Args:
            dataset: the training set of this run.
            items: indices of the anchors; by default ``batch`` random ones.
            batch: how many random anchors.
            seed: of the anchors, the views and the draws.

        Raises:
            ValueError: the data set has another number of items than the one that the run was trained on.
        """
        expected = self.config["setting"]["items"]
        if len(dataset) != expected:
            raise ValueError(
                f"This run was trained on {expected} items and the data set has {len(dataset)}: pass the training set, "
                "whose items the queue and the prototypes refer to."
            )
        if dataset.fingerprint() != self.config["data"]["fingerprint"]:
            raise ValueError(
                "This run was trained on other items than these: pass the very training set (same subset, same seed), "
                "whose items the queue and the prototypes refer to."
            )
        rng = np.random.default_rng(seed)
        index = rng.permutation(len(dataset))[:batch] if items is None else np.atleast_1d(items)
        index = torch.as_tensor(index, dtype=torch.long)
        view_draws, selection_draws = (Draws(generator(self.device, seed, 0, stream)) for stream in ("views", "draws"))
        items = self.method.items(index, generator("cpu", seed, 0, "items"))
        views = views_of(self.encoder.kind, self.config["views"])
        was_training = self.method.training
        self.method.eval()
        try:
            drawn = make_views(self.method, views, look_up(dataset.items, items).to(self.device), view_draws)
            return self.method(Batch(items.to(self.device), drawn, selection_draws))
        finally:
            self.method.train(was_training)

    def audit(self, dataset: HierarchicalDataset, batches: int = 8, batch: int = 256, seed: int = 0) -> pd.DataFrame:
        """How right this run's pairs are now, by the true labels: :func:`hiercl.audit` summed over batches.

        Returns:
            One row for each term and level of the true hierarchy, with the columns of :func:`~hiercl.pairs.audit`.
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
        """The same weights, queue and prototypes under other settings of the method: what would a step do then?

        Nothing is trained: ``run.changed(temperature=0.5).step(train)`` shows the pairs and the loss at another
        temperature. What was fitted during the training (concentrations, masks) stays as it is.

        Args:
            settings: of the method; functions as well (``select=my_rule``).

        Raises:
            ValueError: a setting that is not known or does not fit, or one that the weights depend on.

        Example:
            >>> run.changed(select="none").audit(train)
        """
        old = self.method.config
        unchanged = {field.name: getattr(old, field.name) for field in fields(old)}
        new = distribute(unchanged | settings, type(old))[0]
        try:
            method = type(self.method)(copy.deepcopy(self.encoder), new, self.method.setting).to(self.device)
            method.load_state_dict(self.method.state_dict())
        except RuntimeError as error:
            names = ", ".join(settings)
            raise ValueError(
                f"{names}: the weights of this run do not fit such a model; train one with these settings."
            ) from error
        config = self.config | {"method_settings": to_json(new)}
        return Run(method.train(self.method.training), config, self.history, self.environment, None, self.interrupted)

    def save(self, path: str | Path) -> Path:
        """Writes the run to a folder, so that :func:`load_run` gives it back (training cannot be resumed from it).

        Raises:
            FileExistsError: the folder already holds a run.
        """
        path = Path(path)
        if (path / CHECKPOINT).exists():
            raise FileExistsError(f"{path} already holds a run: choose another folder, or delete it.")
        path.mkdir(parents=True, exist_ok=True)
        state = {"epoch": len(self.history), "model": self.method.state_dict(), "optimiser": None}
        state |= {"history": self.history.to_dict("records"), "environment": self.environment}
        write_atomically(path / CONFIG, json.dumps(self.config, indent=2).encode())
        Checkpoint(path).write(state)
        return path

    def __repr__(self) -> str:
        done, wanted = len(self.history), self.config["fit"]["epochs"]
        state = f"{done} epochs" if done == wanted else f"{done} of {wanted} epochs"
        where = f", {self.path}" if self.path else ""
        return (
            f"Run({self.name}, {self.config['fit']['encoder']}, {state}, seed {self.config['setting']['seed']}{where})"
        )


def load_run(path: str | Path, device: str | torch.device = "cpu", **functions: Any) -> Run:
    """A run from its folder.

    Args:
        path: the folder that ``fit(..., out=path)`` or ``run.save(path)`` wrote.
        device: where to put the model.
        functions: settings that were functions (``select=my_rule``), and ``method=MyMethod`` for a class of your own.

    Raises:
        FileNotFoundError: there is no run at the path.
        ValueError: it was written by a newer version, or a setting that was a function is missing.
    """
    path = Path(path)
    if not (path / CONFIG).exists() or not (path / CHECKPOINT).exists():
        raise FileNotFoundError(f"No run at {path}: its folder holds {CONFIG} and {CHECKPOINT}.")
    config = json.loads((path / CONFIG).read_text())
    method = build(config, functions).to(device)
    state = Checkpoint(path).read(device)
    method.load_state_dict(state["model"])
    history = pd.DataFrame(state["history"])
    interrupted = len(history) < config["fit"]["epochs"]
    return Run(method.eval(), config, history, state["environment"], path, interrupted)


def build(config: dict[str, Any], functions: dict[str, Any] | None = None, labels: np.ndarray | None = None) -> Method:
    """An untrained method from a run's config. Its weights are drawn from torch's global generator.

    Args:
        config: of the run.
        functions: settings that are functions, and a method that is a class of the user's own.
        labels: leaf labels of the training set, for a method that learns from them; without (a run that is loaded) its
            state has to bring them.
    """
    functions = dict(functions or {})
    kind = methods.get(functions.pop("method", config["method"]))
    fit = from_json(FitConfig, config["fit"])
    settings = from_json(kind.Config, config["method_settings"], **functions)
    setting = Setting(**config["setting"])
    if config.get("hierarchy") is not None:
        leaves = torch.zeros(setting.items, dtype=torch.long) if labels is None else torch.as_tensor(labels).long()
        setting = replace(setting, supervision=Supervision(Hierarchy.from_json(config["hierarchy"]), leaves))
    encoder = make_encoder(fit.encoder, norm=fit.norm, **config["input"])
    return kind(encoder, settings, setting)


def make_views(method: Method, views: Views, items: Tensor, draws: Draws) -> tuple[Tensor, ...]:
    """The views of the method's plan, of a step's items: pictures ``[B, m, height, width, channels]``, or points
    ``[B, m, p, 3]``."""
    return tuple(
        views(items[:, view.item], draws, max(1, round(views.size * view.shrink)), view.scale) for view in method.plan
    )
