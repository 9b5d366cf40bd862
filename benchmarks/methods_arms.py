"""The saved list of configurations (methods_arms.json): which arms there are, and the settings of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import hiercl
from hiercl import methods
from hiercl.checkpoint import write_atomically
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import encoder_kind
from hiercl.optimisation import settled
from hiercl.settings import distribute, to_json, unknown, with_defaults
from hiercl.views import VIEW_CONFIGS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    name: str
    title: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Beside the common ones and the choice."""
    seeds: int = 5
    """How many are planned: five where a claim stands on it."""
    choice: str | None = None
    """The arm whose learning rate and temperature it has; by default the one named as its method."""
    epochs: int | None = None
    """By default those of the table."""
    compute_of: str | None = None
    """The choice whose CPU seconds its epochs are to cost, instead of the table's epochs."""
    long_tail: bool = False
    """Whether it is trained on the long tail as well."""

    @property
    def chosen_by(self) -> str:
        return self.choice or self.method


@dataclass(frozen=True)
class Size:
    """What is trained on, with which encoder and for how long."""

    data: str = "cifar100"
    """A name; "modelnet40:100" has the classes with at least a hundred shapes."""
    encoder: str = "convnet"
    per_class: int = 100
    """Training items a class; 0: all."""
    epochs: int = 10
    imbalance: float = 1.0
    """Largest over smallest number of items of a superclass."""
    held_out: float = 0.0
    """Share of the training items that are not trained on, but judged by as well: for a small test set."""

    @property
    def name(self) -> str:
        data = "" if self.data == "cifar100" else f"{self.data.replace(':', '-')}-"
        tail = f"-longtail{self.imbalance:g}" if self.imbalance > 1 else ""
        return f"{data}{self.encoder}-{self.per_class or 'all'}x{self.epochs}{tail}"

    def load(self) -> tuple[HierarchicalDataset, dict[str, HierarchicalDataset]]:
        """The training set (so many of every class, and of these the long tail), and what is judged by: "test", and
        "held out"."""
        name, _, least = self.data.partition(":")
        train, test = hiercl.load(name, least=int(least)) if least else hiercl.load(name)
        judged_by = {"test": test}
        if self.held_out:
            train, judged_by["held out"] = train.split(self.held_out, seed=0)
        if self.per_class:
            train = train.per_class(self.per_class, seed=0)
        if self.imbalance > 1:
            train = train.long_tail(self.imbalance, level=0, seed=0)
        return train, judged_by


@dataclass(frozen=True)
class ArmList:
    """The file: arms in the order of their importance, common settings, the grid and what was chosen from it."""

    path: Path
    common: dict[str, Any]
    grid: dict[str, list[float]]
    chosen: dict[str, dict[str, float]]
    arms: dict[str, Arm]

    @classmethod
    def load(cls, path: Path) -> ArmList:
        content = json.loads(path.read_text())
        arms = {name: Arm(name, **fields) for name, fields in content["arms"].items()}
        return cls(path, content["common"], content["grid"], content["chosen"], arms)

    def save(self) -> None:
        """Writes the choices into the file; one line an arm, so that a change is easy to see."""
        plain = asdict(Arm("", "", ""))
        arms = {
            name: {key: value for key, value in asdict(arm).items() if key != "name" and value != plain[key]}
            for name, arm in self.arms.items()
        }
        parts = [f'  "{key}": {json.dumps(getattr(self, key))}' for key in ("common", "grid")]
        for key, rows in {"chosen": self.chosen, "arms": arms}.items():
            lines = [f"    {json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in rows.items()]
            parts.append(f'  "{key}": {{\n' + ",\n".join(lines) + "\n  }")
        write_atomically(self.path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())

    def named(self, names: tuple[str, ...]) -> list[Arm]:
        """The arms of these names, in the order of the list; all when none is given."""
        for name in names:
            if name not in self.arms:
                raise unknown("arm", name, self.arms)
        return [arm for arm in self.arms.values() if arm.name in names or not names]

    def representatives(self) -> list[Arm]:
        """The arms whose learning rate and temperature are looked for."""
        return [self.arms[name] for name in dict.fromkeys(arm.chosen_by for arm in self.arms.values())]

    def with_choices(self, choices: dict[str, dict[str, float]]) -> ArmList:
        return replace(self, chosen=self.chosen | choices)

    def settings(self, arm: Arm, size: Size, seed: int) -> dict[str, Any]:
        """Everything that ``hiercl.fit`` is given beside method and data.

        Raises:
            ValueError: nothing has been chosen yet for this arm.
        """
        choice = self.choice(arm.chosen_by)
        epochs = size.epochs if arm.epochs is None else arm.epochs
        if arm.compute_of:
            epochs = round(epochs * self.choice(arm.compute_of)["cpu_seconds"] / choice["cpu_seconds"])
        tuned = {name: choice[name] for name in self.grid}
        return self.common | {"encoder": size.encoder, "epochs": epochs, "seed": seed} | tuned | arm.settings

    def choice(self, name: str) -> dict[str, float]:
        if name not in self.chosen:
            raise ValueError(f"{self.path.name} has no learning rate and temperature for {name!r}: run --steps select.")
        return self.chosen[name]


def configuration(method: str, settings: dict[str, Any], train: HierarchicalDataset) -> dict[str, Any]:
    """Every setting of a training, defaults included, and the data that it is of."""
    kind = methods.get(method)
    fit, views, own = distribute(settings, hiercl.FitConfig, VIEW_CONFIGS[train.kind], kind.Config)
    parts = {
        "fit": to_json(settled(fit, train.kind, len(train))),
        "views": to_json(views),
        "method_settings": to_json(own),
    }
    for machine in ("device", "workers"):
        del parts["fit"][machine]
    return {"method": method, **parts, "data": {"name": train.name, "fingerprint": train.fingerprint()}}


def short_hash(content: dict[str, Any]) -> str:
    """Eight digits that tell configurations apart."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Where two configurations differ, in words; a setting that one was made before has its default."""
    if there["method"] != here["method"]:
        return [f"method: there {there['method']!r}, here {here['method']!r}"]
    views = VIEW_CONFIGS[encoder_kind(here["fit"]["encoder"])]
    configs = {"fit": hiercl.FitConfig, "views": views, "method_settings": methods.get(here["method"]).Config}
    filled = {part: with_defaults(kind, there[part]) for part, kind in configs.items()} | {"data": there["data"]}
    return [
        f"{name}: there {filled[part].get(name)!r}, here {value!r}"
        for part in (*configs, "data")
        for name, value in here[part].items()
        if filled[part].get(name) != value
    ]
