"""Configurations: all settings of one run, and the hashes that tell two runs apart."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np

from hiercl import methods
from hiercl.datasets import HierarchicalDataset, load
from hiercl.encoders import MODALITIES, Weights
from hiercl.hierarchy import Hierarchy
from hiercl.methods import Method
from hiercl.runtime.config import Above, AtLeast, Between, Config, Share, distribute, to_json, without_added
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Int
from hiercl.training import MACHINE_SETTINGS, FitConfig, class_description, resolve_defaults, split_settings

SHORT_NAMES = {"data.name": "data", "method.name": "method"}
JUDGED_ON = "'test', 'held out', 'unseen', or the name of other data"
Splits = tuple[HierarchicalDataset, HierarchicalDataset]


@dataclass(frozen=True)
class DataConfig(Config):
    """Settings of the data: what a run is trained on, and what it is judged by."""

    name: str = "shapes"
    """Name of the data, as ``hiercl.load`` knows it, or a path."""
    per_class: Annotated[int, AtLeast(1)] | None = None
    """Number of training items of each class; None takes all. It also limits the labelled items of unseen classes."""
    under: tuple[str, ...] = ()
    """Names of nodes of the hierarchy: only items under them are used, for training and for the test. Other data
    (``judged_on="omniglot"``) are not filtered."""
    least: int = 0
    """Smallest number of shapes of a class of ModelNet, training and test together. Smaller classes are left out."""
    held_out: Annotated[float, Between(0, 1, high_allowed=False)] = 0.0
    """Share of the training items of each class that is kept out of training, from 0 to below 1."""
    unseen: Annotated[float, Between(0, 1, high_allowed=False)] = 0.0
    """Share of the coarsest classes that is kept out of training, from 0 to below 1. They are drawn at random."""
    judged_on: str = "test"
    """Items that judge the run. "test": the test items of the classes that were trained on. "held out": the training
    items that were kept out; use them to choose settings. "unseen": the test items of the classes that were kept out.
    Or the name of other data (transfer). The training is the same for all of these."""
    imbalance: Annotated[float, AtLeast(1)] = 1.0
    """Largest over smallest number of training items of a node of ``imbalance_level``; the numbers between them fall
    exponentially."""
    imbalance_level: int = 0
    """Level of the imbalance. 0 is the coarsest level, −1 are the leaves."""
    shuffled: bool = False
    """Whether training uses a wrong hierarchy, in which the classes are distributed to superclasses at random. The true
    hierarchy still judges. This is a control."""
    shuffled_labels: Annotated[float, Between(0, 1)] = 0.0
    """Share of the training items whose labels are shuffled among each other for the training. The true labels still
    judge. With ``select_by="labels"`` or ``neighbour_source="labels"`` it leads from the oracle (0) to the random
    control (1)."""
    subset_seed: int | None = 0
    """Seed of the random choice of items, of classes, of rare classes, and of the shuffled hierarchy or labels. None
    takes the seed of the run, so that the intervals include this randomness."""

    def __post_init__(self):
        super().__post_init__()
        if self.judged_on == "held out" and not self.held_out:
            raise ValueError("judged_on='held out' needs items that were held out: give held_out=0.2, for example.")
        if self.judged_on == "unseen" and not self.unseen:
            raise ValueError("judged_on='unseen' needs classes that were kept out: give unseen=0.5, for example.")


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Settings of the evaluation of a run: arguments of :func:`hiercl.evaluate`."""

    label_fractions: tuple[Share, ...] = ()
    """Shares of the labels for the test with few labels, such as (0.01, 0.1). Empty skips this test."""
    label_draws: Annotated[int, AtLeast(1)] = 3
    """Number of random draws of the labelled items for each share."""
    knn_k: Annotated[int, AtLeast(1)] = 20
    """Number of neighbours in the kNN vote."""
    knn_temperature: Annotated[float, Above(0)] = 0.07
    """Temperature of the weights in the kNN vote."""
    sample: Annotated[int, AtLeast(1)] | None = None
    """Number of test items, drawn at random, that map_at_r, hierarchical_distance and uniformity compare with all; None
    takes all."""

    added_settings: ClassVar[tuple[str, ...]] = ("sample",)


@dataclass(frozen=True)
class DataFacts:
    """What a configuration knows about the data of its run (:class:`RunData`).

    Attributes:
        modality: the kind of items, such as "images".
        shape: shape of the training items, their number first.
        train: fingerprint of the training items.
        bank: fingerprint of the labelled items for probe and neighbours; None where they are the training items.
        test: fingerprint of the items that judge.
    """

    modality: str
    shape: tuple[int, ...]
    train: str
    bank: str | None
    test: str


@dataclass(frozen=True)
class Configuration:
    """Everything that the numbers of a run depend on, except the machine.

    Attributes:
        method: name of the method, or a class of the user's own.
        settings: arguments of :func:`hiercl.fit`, with the seed.
        data: which data.
        evaluate: how the run is judged.
        facts: what the data contain.
        complete: all settings with their defaults, as JSON values.
    """

    method: str | type[Method]
    settings: Mapping[str, Any]
    data: DataConfig
    evaluate: EvaluateConfig
    facts: DataFacts
    complete: Mapping[str, Any]

    @property
    def training_hash(self) -> str:
        """Name of the folder of the training. Runs that differ only in how they are judged share it. The content of
        the data counts, not their name. Settings of earlier versions count with the default that they had."""
        own = methods.get(self.method).Config
        configs = {"fit": FitConfig, "views": MODALITIES[self.facts.modality].view_config, "method_settings": own}
        parts = {name: without_added(config, self.complete[name]) for name, config in configs.items()}
        parts["method_settings"] = {**own.removed_settings, **parts["method_settings"]}
        parts |= {name: self.complete[name] for name in ("method", "class") if name in self.complete}
        return _hash(parts | {"train": self.facts.train})

    @property
    def test_hash(self) -> str:
        """Name of the features of the test items."""
        return _hash(self.facts.test)

    @property
    def bank_hash(self) -> str:
        """Name of the features of the labelled items."""
        return _hash(self.facts.bank) if self.facts.bank else "train"

    @property
    def report_hash(self) -> str:
        """Name of the report. A shuffled hierarchy counts because the probe learns from the true one."""
        others = [self.bank_hash] if self.facts.bank else []
        judged = without_added(EvaluateConfig, self.complete["judged"])
        return _hash([judged, self.test_hash, self.data.shuffled, *others])


@dataclass(frozen=True)
class RunData:
    """The data sets of one run.

    Attributes:
        train: the training items, with the hierarchy that the method sees.
        bank: the labelled items for probe and neighbours.
        test: the items that judge.
        transfer: whether bank and test have classes that were not trained on.
    """

    train: HierarchicalDataset
    bank: HierarchicalDataset
    test: HierarchicalDataset
    transfer: bool = False

    @classmethod
    def of(cls, data: DataConfig, given: Splits | None = None) -> RunData:
        """Makes the data sets of a configuration; ``given`` sets take the place of those that its name stands for."""
        settings: dict[str, Any] = {"least": data.least} if data.least else {}
        train, test = given or load(data.name, **settings)
        seed = cast(int, data.subset_seed)  # a configuration has a number in place of None
        if data.under:
            train, test = train.under(*data.under), test.under(*data.under)
        held_out, whole, unseen = test, (train, test), np.empty(0, dtype=int)
        if data.unseen:
            seen, unseen = _split_classes(train.hierarchy, data)
            train, test = train.with_leaves(seen), test.with_leaves(seen)
        if data.held_out:
            train, held_out = train.split(data.held_out, seed=seed)
        train = _limited(train, data)
        if data.imbalance > 1:
            train = train.long_tail(data.imbalance, data.imbalance_level, seed=seed)
        as_seen = train.shuffle_labels(data.shuffled_labels, seed) if data.shuffled_labels else train
        if data.shuffled:
            as_seen = replace(as_seen, hierarchy=train.hierarchy.shuffle(seed))
        if data.judged_on in ("test", "held out"):
            return cls(as_seen, train, test if data.judged_on == "test" else held_out)
        if data.judged_on == "unseen":
            bank, test = (part.with_leaves(unseen) for part in whole)
            return cls(as_seen, _limited(bank, data), test, transfer=True)
        return cls(as_seen, *_other_data(data, train.modality), transfer=True)

    @property
    def facts(self) -> DataFacts:
        """What tells these data from others."""
        train, bank, test = map(_fingerprint, (self.train, self.bank, self.test))
        return DataFacts(self.train.modality, self.train.items.shape, train, bank if self.transfer else None, test)


def _limited(part: HierarchicalDataset, data: DataConfig) -> HierarchicalDataset:
    return part if data.per_class is None else part.per_class(data.per_class, seed=cast(int, data.subset_seed))


def _split_classes(hierarchy: Hierarchy, data: DataConfig) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " rest"]]:
    """Leaves under the coarsest classes that are trained on, and leaves under those that are not."""
    count = hierarchy.sizes[0]
    out = round(data.unseen * count)
    if not 0 < out < count:
        raise ValueError(f"unseen={data.unseen} of {count} coarsest classes are {out}: keep some, and leave some out.")
    drawn = np.random.default_rng(data.subset_seed).permutation(count)[:out]
    is_unseen = np.isin(hierarchy.ancestors[:, 0], drawn)
    return np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen)


def _other_data(data: DataConfig, modality: str) -> Splits:
    try:
        bank, test = load(data.judged_on)
    except ValueError as error:
        raise ValueError(f"judged_on={data.judged_on!r}: it must be {JUDGED_ON}. {error}") from error
    if test.modality != modality:
        raise ValueError(f"judged_on={data.judged_on!r} holds {test.modality}, and {data.name!r} holds {modality}.")
    return bank, test


def configuration(settings: Mapping[str, Any], seed: int, facts: Callable[[DataConfig], DataFacts]) -> Configuration:
    """Returns the complete configuration of a run.

    Args:
        settings: the settings by their full names, as :func:`canonical` gives them.
        seed: seed of the run.
        facts: gives the facts of the data, such as ``lambda data: RunData.of(data).facts``.

    Raises:
        ValueError: a value does not fit, or a function cannot be told from other functions.

    Example:
        >>> settings = canonical({"method": "moco", "data": "shapes", "epochs": 3})
        >>> made = configuration(settings, seed=0, facts=lambda data: RunData.of(data, (train, test)).facts)
        >>> made.complete["fit"]["epochs"], made.complete["fit"]["lr"]
        (3, 0.001)
    """
    groups: dict[str, dict[str, Any]] = {name: {} for name in ("data", "judged", "fit", "views", "method")}
    for name, value in settings.items():
        group, _, field = name.partition(".")
        groups[group][field] = value
    method = methods.get(groups["method"].pop("name"))
    data, evaluate = distribute(groups["data"], DataConfig)[0], distribute(groups["judged"], EvaluateConfig)[0]
    if data.subset_seed is None:
        data = replace(data, subset_seed=seed)
    found = facts(data)
    own = groups["fit"] | groups["views"] | groups["method"] | {"seed": seed}
    fit, views, own_settings = split_settings(method, own, found.modality)
    fit = resolve_defaults(fit, found.modality, found.shape[0])
    views = MODALITIES[found.modality].resolve_views(views, found.shape)
    parts = {"fit": fit, "views": views, "method_settings": own_settings, "data": data, "judged": evaluate}
    own_class = class_description(method)
    complete = {"method": method.name, **{name: to_json(part) for name, part in parts.items()}}
    complete |= {} if own_class is None else {"class": own_class}
    for name in MACHINE_SETTINGS:
        del complete["fit"][name]
    for group, part in {"method": "method_settings", "fit": "fit"}.items():
        for name, value in complete[part].items():
            if isinstance(value, dict) and value.get("code", "") is None:
                given = settings[f"{group}.{name}"]
                raise ValueError(f"{name}={given!r} cannot be told from other functions: give a plain Python function.")
    return Configuration(method if own_class else method.name, own, data, evaluate, found, complete)


def canonical(settings: Mapping[str, Any], method: Any = None) -> dict[str, Any]:
    """Returns settings by their full names: ``temperature`` becomes ``method.temperature``.

    The short names ``method`` and ``data`` become ``method.name`` and ``data.name``.

    Args:
        settings: settings by their names, with or without the group before the dot.
        method: the method whose settings are known, where ``settings`` does not name one.

    Raises:
        ValueError: an unknown name (the message lists the known ones), a setting that is given twice, or no method.

    Example:
        >>> canonical({"method": "moco", "data": "cifar100", "lr": 0.01, "queue": 64})
        {'method.name': 'moco', 'data.name': 'cifar100', 'fit.lr': 0.01, 'method.queue': 64}
    """
    for name in settings:
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is no name of a setting: give settings by name, as in {{'temperature': 0.1}}.")
    method = settings.get("method", settings.get("method.name", method))
    if not isinstance(method, str) and not (isinstance(method, type) and issubclass(method, Method)):
        every = ", ".join(methods.names())
        raise ValueError(
            f"method={method!r}: give the name of a method in base={{'method': ...}}, one of {every}, or your own "
            "class."
        )
    known = {
        "data": field_names(DataConfig),
        "judged": field_names(EvaluateConfig),
        "fit": field_names(FitConfig) - {"seed"},
        "views": set().union(*(field_names(modality.view_config) for modality in MODALITIES.values())),
        "method": {"name", "official", *field_names(methods.get(method).Config)},
    }
    long_names = {short: full for full, short in SHORT_NAMES.items()}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, field = long_names.get(name, name).rpartition(".")
        if group and group not in known:
            raise unknown("group of settings", group, known)
        homes = [home for home in ([group] if group else known) if field in known[home]]
        if not homes or name == "name":
            raise unknown(f"setting of {method}", name, set().union(*known.values()) - {"name"} | set(long_names))
        full = f"{homes[0]}.{field}"
        if full in found:
            raise ValueError(f"{full} is given twice, as {name!r} and under its other name.")
        found[full] = value.item() if isinstance(value, np.generic) else value
    if (init := found.get("fit.init")) is not None and not isinstance(init, str):
        found["fit.init"] = str(init) if isinstance(init, Path) else Weights.of(init)  # a model may change later
    return found


def field_names(config: type) -> set[str]:
    """Returns the names of the settings of a config."""
    return {field.name for field in dataclasses.fields(config)}


def _fingerprint(part: HierarchicalDataset) -> str:
    return f"{part.fingerprint()} {_hash(part.hierarchy.to_json())}"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
