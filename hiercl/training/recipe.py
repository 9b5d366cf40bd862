"""Recipe: what is trained. The method, all settings, and what the training must know of the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import MODALITIES, encoder_modality, encoder_names, make_encoder, modality_of
from hiercl.hierarchy import Hierarchy
from hiercl.methods import Method, Supervision, TrainingInfo
from hiercl.runtime.config import Config, distribute, from_json, to_json
from hiercl.training.optimisation import FitConfig, resolve_defaults


@dataclass(frozen=True)
class Recipe:
    """What is trained. A run's ``config.json`` is a recipe in JSON.

    Attributes:
        method: the class of the method.
        fit: settings of the training.
        views: settings of the views.
        settings: settings of the method.
        info: what the method must know of its training, with the labels if it learns from them.
        input: mean and std of every channel, the number of channels, and for vectors the deviation of every feature.
        data: name, note and fingerprint of the training set.

    Example:
        >>> run.recipe.settings.prototypes
        (2, 4)
    """

    method: type[Method]
    fit: FitConfig
    views: Config
    settings: Config
    info: TrainingInfo
    input: Mapping[str, Any]
    data: Mapping[str, str]

    def make_method(self) -> Method:
        """Makes the untrained model. Its weights are drawn from torch's global generator."""
        known = {name: self.input[name] for name in ("mean", "std", "channels")}
        encoder = make_encoder(self.fit.encoder, norm=self.fit.norm, **known)
        return self.method(encoder, self.settings, self.info)

    def to_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON values, but for the labels."""
        numbers = {field.name: getattr(self.info, field.name) for field in fields(self.info)}
        supervision = numbers.pop("supervision")
        return {
            "method": self.method.name,
            "fit": self.fit.to_json(),
            "views": self.views.to_json(),
            "method_settings": to_json(self.settings),
            "setting": numbers,
            "input": dict(self.input),
            "data": dict(self.data),
            "hierarchy": supervision.hierarchy.to_json() if supervision else None,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], **functions: Any) -> Recipe:
        """Reads what :meth:`to_json` wrote. The state of the model has to bring the labels.

        Args:
            content: the JSON values.
            functions: settings that were functions, and ``method=`` for a class of the user's own.

        Raises:
            ValueError: an unknown method or setting, or a setting that was a function and is missing.
        """
        method = methods.get(functions.pop("method", content["method"]))
        fit, info = FitConfig.from_json(content["fit"]), TrainingInfo(**content["setting"])
        if content.get("hierarchy") is not None:
            labels = torch.zeros(info.items, dtype=torch.long)
            info = replace(info, supervision=Supervision(Hierarchy.from_json(content["hierarchy"]), labels))
        views = encoder_modality(fit.encoder).view_config.from_json(content["views"])
        settings = from_json(method.Config, content["method_settings"], **functions)
        return cls(method, fit, views, settings, info, content["input"], content["data"])


def make_recipe(method: str | type[Method], dataset: HierarchicalDataset, settings: Mapping[str, Any]) -> Recipe:
    """Checks what a user gave to :func:`hiercl.fit`, fills in the defaults, and says what will be trained.

    Args:
        method: name of a method, or a class of the user's own.
        dataset: the training set.
        settings: settings of the training, the views and the method, by name.

    Raises:
        ValueError: what cannot be trained, with the reason and a way out.

    Example:
        >>> make_recipe("moco", train, {"epochs": 3}).info.steps_per_epoch
        1
    """
    method_class = methods.get(method)
    check_dataset(dataset)
    fit, views, method_settings = split_settings(method_class, settings, dataset.modality)
    fit = resolve_defaults(fit, dataset.modality, len(dataset))
    views = modality_of(dataset).resolve_views(views, dataset.items.shape)
    check_encoder(fit.encoder, dataset)
    supervision = None
    if method_class.needs_labels(method_settings):
        check_labels(method_class.name, settings, dataset)
        supervision = Supervision(dataset.hierarchy, torch.as_tensor(np.array(dataset.labels)).long())
    mean, std = dataset.form.mean_std(dataset.items, dataset.name)
    steps = len(dataset) // min(fit.batch, len(dataset))
    return Recipe(
        method_class,
        fit,
        views,
        method_settings,
        TrainingInfo(len(dataset), fit.epochs, steps, fit.seed, supervision),
        {"mean": mean, "std": std, "channels": len(mean), **dataset.form.units(dataset.items)},
        {"name": dataset.name, "note": dataset.note, "fingerprint": dataset.fingerprint()},
    )


def split_settings(
    method: type[Method], settings: Mapping[str, Any], modality: str
) -> tuple[FitConfig, Config, Config]:
    """Makes the settings of the training, of the views and of the method from keyword arguments.

    Args:
        method: the class of the method.
        settings: values by name.
        modality: the kind of items, such as "images".

    Raises:
        ValueError: an unknown setting, a setting of another method or of other items, or a value that does not fit.

    Example:
        >>> fit, views, settings = split_settings(methods.get("moco"), {"crop": 16, "queue": 64}, "images")
        >>> fit.epochs, views.crop, settings.queue
        (20, 16, 64)
    """
    settings = dict(settings)
    if "optimizer" in settings:
        if "optimiser" in settings:
            raise ValueError("optimiser and optimizer are one setting: give one of them.")
        settings["optimiser"] = settings.pop("optimizer")
    view_config = MODALITIES[modality].view_config
    known = {name for part in (FitConfig, view_config, method.Config) for name in _names(part)}
    for name in settings.keys() - known:
        for other in MODALITIES.values():
            if name in _names(other.view_config):
                own = ", ".join(_names(view_config))
                raise ValueError(
                    f"{name!r} is a setting of views of {other.name}, and the items are {modality}. Their views have "
                    f"the settings {own}."
                )
        owners = [other for other in methods.names() if name in _names(methods.get(other).Config)]
        if owners:
            raise ValueError(f"{name!r} is no setting of {method.name}. These methods have it: {', '.join(owners)}.")
    return distribute(settings, FitConfig, view_config, method.Config)


def _names(config: type[Config]) -> list[str]:
    """Names of the settings."""
    return [field.name for field in fields(config)]


def signature_with_settings(function: Callable) -> inspect.Signature:
    """Returns the signature of ``fit`` with every setting by name, so that Jupyter and editors complete them."""
    own = inspect.signature(function)
    settings: dict[str, inspect.Parameter] = {}
    view_configs = [modality.view_config for modality in MODALITIES.values()]
    for config in (FitConfig, *view_configs, *(methods.get(name).Config for name in methods.names())):
        for item in fields(config):
            known = settings.get(item.name)
            default = item.default if known is None or known.default == item.default else ...  # methods differ
            settings[item.name] = inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default)
    *first, rest = own.parameters.values()  # rest: **settings, which stays for methods of the user's own
    return own.replace(parameters=[*first, *settings.values(), rest])


def check_dataset(dataset: HierarchicalDataset) -> None:
    """Checks that a data set can be trained on.

    Raises:
        ValueError: it is no data set, or it has fewer than two items.

    Example:
        >>> check_dataset(train)
    """
    if not isinstance(dataset, HierarchicalDataset):
        raise ValueError(
            f"fit needs a HierarchicalDataset, not {type(dataset).__name__}: hiercl.load(name) gives (train, test), "
            "and hiercl.HierarchicalDataset.from_arrays(items, labels, hierarchy) makes one."
        )
    if len(dataset) < 2:
        raise ValueError(f"{dataset.name} holds {len(dataset)} item(s); contrast needs at least two.")


def check_encoder(name: str, dataset: HierarchicalDataset) -> None:
    """Raises ValueError for an encoder that is unknown or takes another kind of item."""
    if encoder_modality(name).name != dataset.modality:
        known = ", ".join(encoder_names(dataset.modality))
        raise ValueError(
            f"{dataset.name} holds {dataset.modality}, and {name} takes others: choose encoder= from {known}."
        )


def check_labels(method: str, settings: Mapping[str, Any], dataset: HierarchicalDataset) -> None:
    """Raises ValueError for data that a supervised method cannot learn from."""
    if dataset.labelled:
        return
    if settings.get("neighbour_source") == "labels":
        way_out = "leave out neighbour_source='labels', which asks for them."
    else:
        way_out = "choose simclr, moco, hcsc or csml, or set source='prototypes', which learns a hierarchy of its own."
    raise ValueError(f"{method} learns from labels, and {dataset.name} has none: give labelled data, or {way_out}")
