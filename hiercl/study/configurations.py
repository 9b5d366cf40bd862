"""Configurations: every setting of data, training, views, method and evaluation, by name, and what tells two apart."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hiercl import methods
from hiercl.datasets import HierarchicalDataset, load
from hiercl.optimisation import FitConfig, with_encoder
from hiercl.settings import distribute, to_json, unknown
from hiercl.views import VIEW_CONFIGS

MACHINE = ("device", "workers")  # settings that do not change what is learned
Splits = tuple[HierarchicalDataset, HierarchicalDataset]


@dataclass(frozen=True)
class DataConfig:
    """Which data a run is trained and judged on."""

    name: str = "shapes"
    """A name that ``hiercl.load`` knows, or a path."""
    per_class: int | None = None
    """Training items of every class; None: all."""
    under: tuple[str, ...] = ()
    """Names of nodes: only what lies under them, in both parts."""
    imbalance: float = 1.0
    """Of the training set: largest over smallest number of items of a node of this level, falling off exponentially."""
    imbalance_level: int = 0
    """0: the coarsest classes; −1: the leaves."""
    shuffled: bool = False
    """The control: in training the classes are dealt out anew among the superclasses; judged by the true hierarchy."""
    subset_seed: int = 0
    """Of what is drawn: the same for all seeds of a study."""

    def __post_init__(self):
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class={self.per_class}: it must be at least 1, or None for all.")
        if not self.imbalance >= 1:
            raise ValueError(f"imbalance={self.imbalance}: it is the largest over the smallest number, at least 1.")


@dataclass(frozen=True)
class JudgedConfig:
    """How a run is judged: arguments of :func:`hiercl.evaluate`."""

    label_fractions: tuple[float, ...] = ()
    """Shares of the labels to learn from as well."""
    label_draws: int = 3
    """Of the labelled items, for each share."""
    knn_k: int = 20
    """Neighbours of the vote."""
    knn_temperature: float = 0.07
    """Of their weights."""


@dataclass(frozen=True)
class Configuration:
    """Everything that a number depends on, but the machine.

    Attributes:
        method: its name.
        settings: as they are given to :func:`hiercl.fit`, seed among them.
        data: which data.
        judged: how it is judged.
        complete: all of it, defaults included, as JSON values; with the fingerprints of the data.
    """

    method: str
    settings: Mapping[str, Any]
    data: DataConfig
    judged: JudgedConfig
    complete: Mapping[str, Any]

    @property
    def training_hash(self) -> str:
        """Names the folder of the training: equal for runs that differ in how they are judged alone."""
        return _hash({name: part for name, part in self.complete.items() if name not in ("judged", "test")})

    @property
    def judged_hash(self) -> str:
        """Names its report."""
        return _hash({name: self.complete[name] for name in ("judged", "test")})


def splits(data: DataConfig, given: Splits | None = None) -> Splits:
    """Training and test set of a configuration; of ``given`` ones in place of what its name stands for."""
    train, test = load(data.name) if given is None else given
    if data.under:
        train, test = train.under(*data.under), test.under(*data.under)
    if data.per_class is not None:
        train = train.per_class(data.per_class, seed=data.subset_seed)
    if data.imbalance > 1:
        train = train.long_tail(data.imbalance, data.imbalance_level, seed=data.subset_seed)
    return train, test


def trained_on(data: DataConfig, train: HierarchicalDataset) -> HierarchicalDataset:
    """The training set as the method sees it: with its own hierarchy or, as a control, a shuffled one."""
    return replace(train, hierarchy=train.hierarchy.shuffle(data.subset_seed)) if data.shuffled else train


def configuration(settings: Mapping[str, Any], seed: int, given: Splits | None = None) -> Configuration:
    """The complete configuration of settings that are named as :func:`resolve` says.

    Raises:
        ValueError: an unknown setting (the message lists the known ones), a value that does not fit, no method.
    """
    parts = resolve(settings)
    data, judged = distribute(parts["data"], DataConfig)[0], distribute(parts["judged"], JudgedConfig)[0]
    train, test, kind = *_facts(data, given), methods.get(parts["method"])
    own = parts["fit"] | parts["views"] | parts["own"] | {"seed": seed}
    fit, *others = distribute(own, FitConfig, VIEW_CONFIGS[train["kind"]], kind.Config)
    fit, views, method_settings = map(to_json, (with_encoder(fit, train["kind"]), *others))
    for name in MACHINE:
        del fit[name]
    complete = {
        "method": kind.name,
        "fit": fit,
        "views": views,
        "method_settings": method_settings,
        "data": to_json(data) | {"train": train["fingerprint"]},
        "judged": to_json(judged),
        "test": test["fingerprint"],
    }
    return Configuration(kind.name, own, data, judged, complete)


def resolve(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sorts settings into the parts ``method``, ``data``, ``judged``, ``fit``, ``views`` and ``own`` (the method's).

    A setting is called by its name, ``temperature``, or with its part, ``method.temperature``; ``data`` alone is the
    data set's name.

    Raises:
        ValueError: a name that is not known (the message lists those that are), or none of a method.
    """
    settings = dict(settings)
    method = settings.pop("method", None)
    if method is None:
        raise ValueError(f"no method: give base={{'method': ...}}, one of {', '.join(methods.names())}.")
    if "data" in settings:
        settings["data.name"] = settings.pop("data")
    view_names = {f.name for config in VIEW_CONFIGS.values() for f in dataclasses.fields(config)}
    known = {
        "data": _names(DataConfig),
        "judged": _names(JudgedConfig),
        "fit": _names(FitConfig) - {"seed"},
        "views": view_names,
        "method": _names(methods.get(method).Config),
    }
    parts: dict[str, Any] = {name: {} for name in known}
    for name, value in settings.items():
        part, _, field = name.rpartition(".")
        if part:
            if part not in known:
                raise unknown("part of the settings", part, known)
            homes = [part] if field in known[part] else []
        else:  # the name of a data set and of a subset's seed are called with their part alone
            homes = [home for home, names in known.items() if field in names and name != "name"]
        if not homes:
            every = {field for names in known.values() for field in names} - {"name"} | {"data", "data.name", "method"}
            raise unknown(f"setting of {method}", name, every)
        parts[homes[0]][field] = value
    parts["own"] = parts.pop("method")
    return parts | {"method": method}


def variants(base: Mapping[str, Any], vary: Any, one_at_a_time: bool = False) -> dict[str, dict[str, Any]]:
    """Name and settings of every variant.

    A variant may be of another method: settings of the base that only the base's method has do not apply to it.

    Args:
        base: settings of all variants.
        vary: setting and values: the full grid, or one factor at a time around the base; or a list of variants, each a
            mapping of settings; or such a list with names.
        one_at_a_time: the base itself, and for every setting and value a variant that differs in that alone.

    Raises:
        ValueError: no variant, two of one name, or values that are no list.

    Example:
        >>> list(variants({"method": "moco"}, {"queue": [64, 128], "temperature": [0.1, 0.2]}))[:2]
        ['queue=64, temperature=0.1', 'queue=64, temperature=0.2']
    """
    if not vary:
        raise ValueError("nothing to vary: give vary={'temperature': [0.1, 0.2]}, or a list of variants.")
    if isinstance(vary, Mapping) and all(isinstance(value, Mapping) for value in vary.values()):
        changes = {str(name): dict(change) for name, change in vary.items()}  # variants with names
    elif isinstance(vary, Mapping):
        for name, values in vary.items():
            if isinstance(values, str) or not isinstance(values, Sequence):
                raise ValueError(f"vary {name!r}: give a list of its values, not {values!r}.")
        if one_at_a_time:
            found = [{}] + [{name: value} for name, values in vary.items() for value in values]
            found = [change for change in found if not change or not _in_base(change, base)]
        else:
            found = [dict(zip(vary, point, strict=True)) for point in itertools.product(*vary.values())]
        changes = _named(found)
    else:
        changes = _named([dict(change) for change in vary])
    return {name: _changed(base, change) for name, change in changes.items()}


def _changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The base with a change. Where that is another method, settings that the base's method alone has do not apply."""
    if change.get("method", base.get("method")) != base.get("method") and "method" in base:
        old, new = (_names(methods.get(settings["method"]).Config) for settings in (base, change))
        gone = old - new
        base = {name: value for name, value in base.items() if name.removeprefix("method.") not in gone}
    return {**base, **change}


def _in_base(change: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    return all(name in base and base[name] == value for name, value in change.items())


def _named(changes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for change in changes:
        name = ", ".join(f"{key}={_word(value)}" for key, value in change.items()) or "base"
        if name in named:
            raise ValueError(f"two variants are {name!r}: give each once.")
        named[name] = change
    return named


def _word(value: Any) -> str:
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _names(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _facts(data: DataConfig, given: Splits | None) -> tuple[dict[str, str], dict[str, str]]:
    """What a configuration keeps of its data: kind, and fingerprints of the items and of the hierarchies."""
    return _facts_of(data) if given is None else tuple(map(_fact, splits(data, given)))


@lru_cache(maxsize=64)
def _facts_of(data: DataConfig) -> tuple[dict[str, str], dict[str, str]]:
    return tuple(map(_fact, splits(data)))


def _fact(part: HierarchicalDataset) -> dict[str, str]:
    return {"kind": part.kind, "fingerprint": f"{part.fingerprint()} {_hash(part.hierarchy.to_json())}"}


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
