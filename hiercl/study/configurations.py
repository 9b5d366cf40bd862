"""Configurations: every setting of data, training, views, method and evaluation, by name, and what tells two apart."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hiercl import methods
from hiercl.datasets import HierarchicalDataset, load
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.config import distribute, to_json
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Int
from hiercl.training import FitConfig, settled
from hiercl.views import VIEW_CONFIGS

MACHINE = ("device", "workers")  # settings that do not change what is learned
Splits = tuple[HierarchicalDataset, HierarchicalDataset]
JUDGED_ON = "'test', 'held out', 'unseen', or the name of other data"


@dataclass(frozen=True)
class DataConfig:
    """Which data a run is trained and judged on."""

    name: str = "shapes"
    """A name that ``hiercl.load`` knows, or a path."""
    per_class: int | None = None
    """Training items of every class; None: all. Of classes that were kept out as well, where these judge."""
    under: tuple[str, ...] = ()
    """Names of nodes: only what lies under them, in both parts (not of other data that judge)."""
    least: int = 0
    """Of ModelNet: classes with fewer shapes, training and test together, are left out."""
    held_out: float = 0.0
    """Share of every class's training items that is kept out of training."""
    unseen: float = 0.0
    """Share of the coarsest classes, drawn at random, that is kept out of training."""
    judged_on: str = "test"
    """"test": by the test set, as far as its classes were trained on; "held out": by the items that were kept out, to
    choose settings; "unseen": by the classes that were; or the name of other data (transfer). All share trainings."""
    imbalance: float = 1.0
    """Of the training set: largest over smallest number of items of a node of this level, falling off exponentially."""
    imbalance_level: int = 0
    """0: the coarsest classes; −1: the leaves."""
    shuffled: bool = False
    """The control: in training the classes are dealt out anew among the superclasses; judged by the true hierarchy."""
    subset_seed: int | None = 0
    """Of what is drawn: items of a class, items and classes that are kept out, which classes are rare, how classes are
    dealt out. None: that of the run, so that intervals know of it."""

    def __post_init__(self):
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class={self.per_class}: it must be at least 1, or None for all.")
        if not self.imbalance >= 1:
            raise ValueError(f"imbalance={self.imbalance}: it is the largest over the smallest number, at least 1.")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out={self.held_out}: it is a share of the training items, from 0 to below 1.")
        if not isinstance(self.judged_on, str):
            raise ValueError(f"judged_on={self.judged_on!r}: it is {JUDGED_ON}.")
        if not isinstance(self.unseen, int | float) or not 0 <= self.unseen < 1:
            raise ValueError(f"unseen={self.unseen}: it is a share of the coarsest classes, from 0 to below 1.")
        if self.judged_on == "held out" and not self.held_out:
            raise ValueError("judged_on='held out' needs items that are: give held_out=0.2, say.")
        if self.judged_on == "unseen" and not self.unseen:
            raise ValueError("judged_on='unseen' needs classes that are: give unseen=0.5, say.")


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
class Facts:
    """What a configuration keeps of a part of its data.

    Attributes:
        kind: "images" or "points".
        items: how many.
        fingerprint: of items, labels and hierarchy.
    """

    kind: str
    items: int
    fingerprint: str

    @classmethod
    def of(cls, part: HierarchicalDataset) -> Facts:
        return cls(part.kind, len(part), f"{part.fingerprint()} {_hash(part.hierarchy.to_json())}")


@dataclass(frozen=True)
class DataFacts:
    """What a configuration keeps of its data.

    Attributes:
        train: as the method sees it.
        bank: the labelled items that judge beside the test set, where these are others than those of training.
        test: the items to judge by.
    """

    train: Facts
    bank: Facts | None
    test: Facts


@dataclass(frozen=True)
class Configuration:
    """Everything that a number depends on, but the machine.

    Attributes:
        method: its name.
        settings: as they are given to :func:`hiercl.fit`, seed among them.
        data: which data.
        judged: how it is judged.
        facts: of the data.
        complete: all settings, defaults included, as JSON values.
    """

    method: str
    settings: Mapping[str, Any]
    data: DataConfig
    judged: JudgedConfig
    facts: DataFacts
    complete: Mapping[str, Any]

    @property
    def training_hash(self) -> str:
        """Names the folder of the training: equal for runs that differ in how they are judged alone. Data count by what
        is in them, not by their name."""
        parts = {name: self.complete[name] for name in ("method", "fit", "views", "method_settings")}
        return _hash(parts | {"train": self.facts.train.fingerprint})

    @property
    def test_hash(self) -> str:
        """Names what was made of the test set."""
        return _hash(self.facts.test.fingerprint)

    @property
    def bank_hash(self) -> str:
        """Names what was made of the labelled items that judge."""
        return _hash(self.facts.bank.fingerprint) if self.facts.bank else "train"

    @property
    def judged_hash(self) -> str:
        """Names its report. The probe learns from the true hierarchy, whatever the training saw."""
        others = [self.bank_hash] if self.facts.bank else []
        return _hash([self.complete["judged"], self.test_hash, self.data.shuffled, *others])


@dataclass(frozen=True)
class Parts:
    """The data of a run.

    Attributes:
        train: what it is trained on, as the method sees it: with its own hierarchy or, as a control, a shuffled one.
        bank: the labelled items for probe and neighbours.
        test: the items to judge by.
        transfer: whether these two are not of the data that are trained on.
    """

    train: HierarchicalDataset
    bank: HierarchicalDataset
    test: HierarchicalDataset
    transfer: bool = False

    @classmethod
    def of(cls, data: DataConfig, given: Splits | None = None) -> Parts:
        """Those of a configuration; of ``given`` sets in place of what its name stands for."""
        train, test = given or load(data.name, **({"least": data.least} if data.least else {}))
        if data.under:
            train, test = train.under(*data.under), test.under(*data.under)
        held_out, whole, others = test, (train, test), None
        if data.unseen:
            seen, others = _classes_apart(train.hierarchy, data)
            train, test = train.with_leaves(seen), test.with_leaves(seen)
        if data.held_out:
            train, held_out = train.split(data.held_out, seed=data.subset_seed)
        train = _fewer(train, data)
        if data.imbalance > 1:
            train = train.long_tail(data.imbalance, data.imbalance_level, seed=data.subset_seed)
        as_seen = replace(train, hierarchy=train.hierarchy.shuffle(data.subset_seed)) if data.shuffled else train
        if data.judged_on in ("test", "held out"):
            return cls(as_seen, train, test if data.judged_on == "test" else held_out)
        if data.judged_on == "unseen":
            bank, test = (part.with_leaves(others) for part in whole)
            return cls(as_seen, _fewer(bank, data), test, transfer=True)
        return cls(as_seen, *_other_data(data, train.kind), transfer=True)

    @property
    def facts(self) -> DataFacts:
        """What tells these data from others."""
        return DataFacts(Facts.of(self.train), Facts.of(self.bank) if self.transfer else None, Facts.of(self.test))


def _fewer(part: HierarchicalDataset, data: DataConfig) -> HierarchicalDataset:
    return part if data.per_class is None else part.per_class(data.per_class, seed=data.subset_seed)


def _classes_apart(hierarchy: Hierarchy, data: DataConfig) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " rest"]]:
    """Leaves under the coarsest classes that are trained on, and under those that are not."""
    count = hierarchy.sizes[0]
    apart = round(data.unseen * count)
    if not 0 < apart < count:
        raise ValueError(f"unseen={data.unseen} of {count} coarsest classes are {apart}: keep some, and leave some.")
    drawn = np.random.default_rng(data.subset_seed).permutation(count)[:apart]
    is_unseen = np.isin(hierarchy.ancestors[:, 0], drawn)
    return np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen)


def _other_data(data: DataConfig, kind: str) -> Splits:
    try:
        bank, test = load(data.judged_on)
    except ValueError as error:
        raise ValueError(f"judged_on={data.judged_on!r}: it is {JUDGED_ON}. {error}") from error
    if test.kind != kind:
        raise ValueError(f"judged_on={data.judged_on!r} holds {test.kind}, and {data.name!r} holds {kind}.")
    return bank, test


def facts_of(data: DataConfig, given: Splits | None = None) -> DataFacts:
    """Facts of the data; they are loaded for that."""
    return Parts.of(data, given).facts


def configuration(
    settings: Mapping[str, Any], seed: int, facts: Callable[[DataConfig], DataFacts] = facts_of
) -> Configuration:
    """The complete configuration of :func:`canonical` settings.

    Args:
        settings: by their full names.
        seed: of the run.
        facts: gives those of its data; a study remembers them.

    Raises:
        ValueError: a value that does not fit, or a function that cannot be told from others.
    """
    parts: dict[str, dict[str, Any]] = {name: {} for name in ("data", "judged", "fit", "views", "method")}
    for name, value in settings.items():
        part, _, field = name.partition(".")
        parts[part][field] = value
    kind = methods.get(parts["method"].pop("name"))
    data, judged = distribute(parts["data"], DataConfig)[0], distribute(parts["judged"], JudgedConfig)[0]
    if data.subset_seed is None:
        data = replace(data, subset_seed=seed)
    found = facts(data)
    own = parts["fit"] | parts["views"] | parts["method"] | {"seed": seed}
    fit, *others = distribute(own, FitConfig, VIEW_CONFIGS[found.train.kind], kind.Config)
    fit, views, method_settings = map(to_json, (settled(fit, found.train.kind, found.train.items), *others))
    for name in MACHINE:
        del fit[name]
    for name, value in method_settings.items():
        if isinstance(value, dict) and value.get("code", "") is None:
            raise ValueError(
                f"{name}={settings[f'method.{name}']!r} cannot be told from others: give a plain function."
            )
    complete = {"method": kind.name, "fit": fit, "views": views, "method_settings": method_settings}
    complete |= {"data": to_json(data), "judged": to_json(judged)}
    return Configuration(kind.name, own, data, judged, found, complete)


def canonical(settings: Mapping[str, Any], method: Any = None) -> dict[str, Any]:
    """Settings by their full names: ``temperature`` is ``method.temperature``; ``method`` is ``method.name``, and
    ``data`` is ``data.name``.

    Args:
        settings: by names with their part before them, or without.
        method: whose settings are known, where the settings do not say it.

    Raises:
        ValueError: a name that is not known (the message lists those that are), one that is given twice, no method.

    Example:
        >>> canonical({"method": "moco", "data": "cifar100", "lr": 0.01, "queue": 64})
        {'method.name': 'moco', 'data.name': 'cifar100', 'fit.lr': 0.01, 'method.queue': 64}
    """
    method = settings.get("method", settings.get("method.name", method))
    if method is None:
        raise ValueError(f"no method: give base={{'method': ...}}, one of {', '.join(methods.names())}.")
    if not isinstance(method, str):
        raise ValueError(f"method={method!r}: a study knows its methods by name, one of {', '.join(methods.names())}.")
    views = {field for config in VIEW_CONFIGS.values() for field in _names(config)}
    known = {
        "data": _names(DataConfig),
        "judged": _names(JudgedConfig),
        "fit": _names(FitConfig) - {"seed"},
        "views": views,
        "method": {"name", *_names(methods.get(method).Config)},
    }
    found: dict[str, Any] = {}
    for name, value in settings.items():
        full = {"data": "data.name", "method": "method.name"}.get(name) or _full_name(name, known, method)
        if full in found:
            raise ValueError(f"{full} is given twice, as {name!r} and under its other name.")
        found[full] = _plain_number(value)
    return found


def _full_name(name: str, known: dict[str, set[str]], method: str) -> str:
    part, _, field = name.rpartition(".")
    if part and part not in known:
        raise unknown("part of the settings", part, known)
    # The names "name" are called with their part alone.
    homes = [
        home for home, names in known.items() if field in names and (part == home or (not part and field != "name"))
    ]
    if not homes:
        every = {field for names in known.values() for field in names} - {"name"} | {"data", "method"}
        raise unknown(f"setting of {method}", name, every)
    return f"{homes[0]}.{field}"


def own_settings(method: str) -> set[str]:
    """Full names of the settings that a method has."""
    return {f"method.{name}" for name in _names(methods.get(method).Config)}


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _names(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
