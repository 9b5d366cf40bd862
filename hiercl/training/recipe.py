"""Recipe: what is trained. The method, all settings, and what the training must know of the data."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch

from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import (
    MODALITIES,
    Encoder,
    Given,
    Modality,
    encoder_modality,
    encoder_names,
    is_library_name,
    make_any_encoder,
    map_shape,
    modality_of,
)
from hiercl.hierarchy import Hierarchy
from hiercl.methods import Method, Supervision, TrainingInfo
from hiercl.runtime.config import Config, distribute, from_json, to_json, with_defaults, without_added
from hiercl.runtime.identity import text_hash
from hiercl.training import own_class
from hiercl.training.optimisation import FitConfig, resolve_defaults
from hiercl.views import Augmentation, AugmentedViews, Views


@dataclass(frozen=True)
class Recipe:
    """What is trained. A run's ``config.json`` is a recipe in JSON.

    Attributes:
        method: the class of the method.
        fit: settings of the training.
        views: settings of the views.
        settings: settings of the method.
        info: what the method must know of its training, with the labels if it learns from them.
        input: mean and std of every channel, the number of channels, for vectors the deviation of every feature, and
            for an encoder that is not of hiercl the size of the items.
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

    @property
    def given(self) -> dict[str, Any]:
        """All settings by name, as :func:`hiercl.fit` takes them."""
        parts = (self.fit, self.views, self.settings)
        return {field.name: getattr(part, field.name) for part in parts for field in fields(part)}

    @property
    def modality(self) -> Modality:
        """The kind of items."""
        return next(one for one in MODALITIES.values() if isinstance(self.views, one.view_config))

    def make_method(self) -> Method:
        """Makes the untrained model. Its weights are drawn from torch's global generator."""
        encoder = make_any_encoder(
            self.fit.encoder,
            (self.input["channels"], *self.input.get("size", (1, 1))),
            self.modality.name,
            lambda: (self.input["mean"], self.input["std"]),
            self.fit.resize,
            self.fit.mean,
            self.fit.std,
            self.fit.norm,
        )
        encoder.freeze(self.fit.freeze)
        return self.method(encoder, self.settings, self.info)

    def make_views(self) -> Views:
        """Makes what draws the random views, with the augmentation of one's own if there is one."""
        views = self.modality.views(self.views, self.input)
        if self.fit.augment is None:
            return views
        return AugmentedViews(views, cast(Augmentation, self.fit.augment), self.fit.augment_at, self.modality.form)

    def to_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON values, but for the labels."""
        numbers = {field.name: getattr(self.info, field.name) for field in fields(self.info)}
        supervision = numbers.pop("supervision")
        own = own_class.description(self.method)
        return {
            "method": self.method.name,
            **({} if own is None else {"class": own}),
            "modality": self.modality.name,
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
        method = own_class.find(content["method"], content.get("class"), functions.pop("method", None))
        own = {name: functions.pop(name) for name in _names(FitConfig) if name in functions}
        if "encoder" in own and isinstance(described := content["fit"]["encoder"], Mapping):
            own["encoder"] = replace(Given.of(described), thing=own["encoder"])
        if content["fit"].get("augment") is not None:  # needed for views alone
            own.setdefault("augment", Augmentation.of(content["fit"]["augment"]))
        fit, info = FitConfig.from_json(content["fit"], **own), TrainingInfo(**content["setting"])
        if content.get("hierarchy") is not None:
            labels = torch.zeros(info.items, dtype=torch.long)
            info = replace(info, supervision=Supervision(Hierarchy.from_json(content["hierarchy"]), labels))
        views = modality_in(content).view_config.from_json(content["views"])
        settings = from_json(method.Config, content["method_settings"], **functions)
        return cls(method, fit, views, settings, info, content["input"], content["data"])


def modality_in(content: Mapping[str, Any]) -> Modality:
    """Returns the kind of items of a run, from its ``config.json``; runs of 0.1.0 tell it by their encoder."""
    return MODALITIES[content["modality"]] if "modality" in content else encoder_modality(content["fit"]["encoder"])


MACHINE_SETTINGS = ("device", "workers")  # they do not change what is learned


def comparable(content: Mapping[str, Any], method: type[Method]) -> dict[str, Any]:
    """Returns a run's ``config.json`` with the defaults of settings that are newer than it, and without those of the
    machine: what must be the same where a training goes on.

    Args:
        content: the JSON values.
        method: the class of the run.

    Example:
        >>> comparable(run.config, run.recipe.method)["fit"]["lr"]
        0.001
    """
    fit = with_defaults(FitConfig, content["fit"])
    if None in (fit["lr"], fit["weight_decay"]):  # runs of an early version have no rates
        made = FitConfig.from_json(fit)
        items = content["setting"]["items"]
        fit = resolve_defaults(made, encoder_modality(made.encoder).name, items).to_json()
    return {
        **content,
        "fit": {name: value for name, value in fit.items() if name not in MACHINE_SETTINGS},
        "views": with_defaults(modality_in(content).view_config, content["views"]),
        "method_settings": with_defaults(method.Config, content["method_settings"]),
        "hierarchy": content.get("hierarchy"),
    }


def recipe_hash(content: Mapping[str, Any], method: type[Method]) -> str:
    """Returns a hash of a run's ``config.json``, which stands in its checkpoint: the two belong together.

    Settings that came later and have their default do not count, so it stays what it is in later versions.

    Args:
        content: the JSON values.
        method: the class of the run.

    Example:
        >>> recipe_hash(run.config, run.recipe.method) == recipe_hash(run.changed(queue=64).config, run.recipe.method)
        True
    """
    made = comparable(content, method)
    configs = {"fit": FitConfig, "views": modality_in(content).view_config, "method_settings": method.Config}
    for part, config in configs.items():
        made[part] = {**config.removed_settings, **without_added(config, made[part])}
    made["fit"] = {name: value for name, value in made["fit"].items() if name not in MACHINE_SETTINGS}
    for name in ("modality", "class"):  # early versions did not write them
        made.pop(name, None)
    return text_hash(json.dumps(made, sort_keys=True))


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
    check_sampler(fit, dataset)
    supervision = None
    if method_class.needs_labels(method_settings):
        check_labels(method_class.name, settings, dataset)
        supervision = Supervision(dataset.hierarchy, torch.as_tensor(np.array(dataset.labels)).long())
    mean, std = dataset.form.mean_std(dataset.items, dataset.name)
    named = isinstance(fit.encoder, str) and not is_library_name(fit.encoder)
    size = {} if named else {"size": list(map_shape(dataset)[1:])}  # of the items, for the dry pass
    steps = len(dataset) // min(fit.batch, len(dataset))
    return Recipe(
        method_class,
        fit,
        views,
        method_settings,
        TrainingInfo(len(dataset), fit.epochs, steps, fit.seed, supervision),
        {"mean": mean, "std": std, "channels": len(mean), **size, **dataset.form.units(dataset.items)},
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
    settings = methods.in_full(method, with_one_spelling(settings))
    view_config = MODALITIES[modality].view_config
    known = {name for part in (FitConfig, view_config, method.Config) for name in _names(part)}
    for name in settings.keys() - known:
        if others := [other.name for other in MODALITIES.values() if name in _names(other.view_config)]:
            own = ", ".join(_names(view_config))
            raise ValueError(
                f"{name!r} is a setting of views of {' and '.join(others)}, and the items are {modality}. Their views "
                f"have the settings {own}."
            )
        owners = [other for other in methods.names() if name in _names(methods.get(other).Config)]
        if owners:
            raise ValueError(f"{name!r} is no setting of {method.name}. These methods have it: {', '.join(owners)}.")
    return distribute(settings, FitConfig, view_config, method.Config)


def with_one_spelling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings with the British spelling of ``optimizer``."""
    settings = dict(settings)
    if "optimizer" in settings:
        if "optimiser" in settings:
            raise ValueError("optimiser and optimizer are one setting: give one of them.")
        settings["optimiser"] = settings.pop("optimizer")
    return settings


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


def check_encoder(encoder: Any, dataset: HierarchicalDataset) -> None:
    """Raises ValueError for an encoder that is unknown or takes another kind of item."""
    given = encoder.thing if isinstance(encoder, Given) else None
    known = encoder_modality(encoder).name if isinstance(encoder, str) else dataset.modality  # a module says nothing
    if (given.modality if isinstance(given, Encoder) else known) != dataset.modality:
        known = ", ".join(encoder_names(dataset.modality))
        raise ValueError(
            f"{dataset.name} holds {dataset.modality}, and {encoder} takes others: choose encoder= from {known}."
        )


def check_sampler(fit: FitConfig, dataset: HierarchicalDataset) -> None:
    """Raises ValueError for batches that cannot be balanced."""
    if fit.sampler == "balanced":
        dataset.counts(fit.sampler_level)  # an error if there is no such level
        if not dataset.labelled:
            raise ValueError(
                f"sampler='balanced' balances classes, and {dataset.name} has no labels: give labelled data, or leave "
                "it out."
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
