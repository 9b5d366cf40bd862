"""The command line: ``hiercl data | train | evaluate | study | demo``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro

from hiercl import methods
from hiercl.datasets import HierarchicalDataset, data_root, load, names
from hiercl.demo import demo
from hiercl.evaluation import evaluate
from hiercl.runtime.processes import Processes
from hiercl.study import Study
from hiercl.training import FitConfig, fit, load_run, pick_device
from hiercl.views import PointViewConfig, ViewConfig


@dataclass(frozen=True)
class Reading:
    """How items of your own are read."""

    size: int | None = None
    """Side of the pictures in pixels; by default the data set's own, 32 for a folder or a CSV file."""
    skip_unreadable: bool = False
    """Leave out items that cannot be read: pictures of a folder or a CSV file, shapes of ModelNet."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Where ModelNet lies, in whichever form you have it: archive, folder or arrays."""

    overwrite: bool = False
    """Read ModelNet again from its source, in place of what was made of it before."""

    @property
    def flags(self) -> str:
        """The same again, to be typed."""
        size = "" if self.size is None else f" --size {self.size}"
        return size + (" --skip-unreadable" if self.skip_unreadable else "")

    @property
    def options(self) -> dict[str, Any]:
        """Those of hiercl.load; None where nothing is asked for."""
        read = {"size": self.size, "skip_unreadable": self.skip_unreadable or None}
        return read | {"source": self.source, "overwrite": self.overwrite or None}

    def load(self, name: str) -> tuple[HierarchicalDataset, HierarchicalDataset]:
        """Training and test set; only what differs from the default is asked for, as not every data set has it."""
        return load(name, **{option: value for option, value in self.options.items() if value is not None})


@dataclass(frozen=True)
class Data(Reading):
    """Get a data set ready and say what is in it."""

    name: tyro.conf.Positional[str] = tyro.MISSING
    """cifar100, omniglot, modelnet10, modelnet40, shapes, a folder of pictures or of an array store, or a CSV file."""
    points: int | None = None
    """That are kept of every shape of ModelNet; by default 1,024. (hiercl.load has this and the next two as well.)"""
    sampling: Literal["random", "farthest"] | None = None
    """How they are chosen: at random by default, or each the farthest from those before."""
    hierarchy_file: Path | None = None
    """Superclasses of your own for ModelNet, in JSON."""

    @property
    def options(self) -> dict[str, Any]:
        chosen = {"points": self.points, "sampling": self.sampling, "hierarchy_file": self.hierarchy_file}
        return super().options | chosen

    def run(self) -> None:
        train, test = self.load(self.name)
        for part, dataset in {"train": train, "test": test}.items():
            print(f"{part}: {dataset}")
        print(f"\n{train.hierarchy.describe()}")
        print(f"\nData sets live in {data_root()}.")


@dataclass(frozen=True)
class Evaluate(Reading):
    """Judge a trained run at every level of the hierarchy; the README says what each number is."""

    run_folder: tyro.conf.Positional[Path] = tyro.MISSING
    """Folder of the run (the --out of train)."""
    data: str = ""
    """Data set; by default the one that the run was trained on."""
    per_class: int | None = None
    """Training items a class for probe and neighbours; by default all."""
    label_fractions: tuple[float, ...] = ()
    """Shares of the labels to learn from as well, such as 0.01 0.1: frozen probe and fine-tuning."""

    def run(self) -> None:
        run = load_run(self.run_folder, device=pick_device("auto"))
        name = self.data or run.config["data"]["name"]
        if not self.data and name not in names():
            raise ValueError(f"the run was trained on a folder of yours, {name!r}: say where it is, with --data FOLDER")
        train, test = self.load(name)
        train = train if self.per_class is None else train.per_class(self.per_class)
        report = evaluate(run, train, test, label_fractions=self.label_fractions)
        out = self.run_folder / f"report-{Path(self.data).stem}" if self.data else self.run_folder
        report.save(out)
        print(f"{run}\n{report}\nWritten to {out}: report.json and report.csv.")


@dataclass(frozen=True)
class RunStudy:
    """Run a study, one that comes with the package or a JSON file of your own, and write its page."""

    name: tyro.conf.Positional[str] = tyro.MISSING
    """hcsc-parts, csml-parts, labels, ... (an unknown name lists them), or the path of a JSON file."""
    set: tuple[str, ...] = ()
    """Other settings of every variant: ``--set epochs=100 encoder=resnet18``."""
    seeds: int | None = None
    """How many, from 0 on; by default those of the study."""
    jobs: int = 1
    """Runs at a time."""
    dry: bool = False
    """Only say what would be run, and how long it would take."""
    out: Path = Path("runs/studies")
    """Folder of studies and runs: studies with runs in common share them."""
    page: Path | None = None
    """Its page, .html or .md; by default NAME.html in that folder. The table of all runs lies beside it, as CSV."""

    def run(self) -> None:
        own = self.name.endswith(".json")
        study = Study.load(self.name, self.out, self.seeds) if own else Study.ready(self.name, self.out, self.seeds)
        if self.set:
            study = study.changed(**dict(map(setting, self.set)))
        study.run(n_jobs=self.jobs, dry=self.dry)
        if self.dry:
            return
        print(f"\n{study.summary().to_string(index=False, float_format='{:.2f}'.format, na_rep='')}")
        if study.grid:
            print(f"\n{study.best().to_string(index=False, float_format='{:.4g}'.format)}")
        print(f"\nWritten to {study.report(self.page)}.")
        if failed := study.failed():
            raise RuntimeError(f"{len(failed)} runs of the study failed: see above.")


def setting(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``; a value that is no JSON is a word."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--set {text}: give NAME=VALUE, such as epochs=100.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@dataclass(frozen=True)
class Demo:
    """Run the quickstart notebook without a browser: about three minutes on two cores."""

    out: Path = Path("runs/demo")
    """Where the executed notebook, its figures and its table go."""

    def run(self) -> None:
        demo(self.out)


def one_after_the_other(device: str) -> AbstractContextManager:
    """Of several processes the first one loads, and downloads and stores, before the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    from accelerate import PartialState

    return PartialState(cpu=device == "cpu").local_main_process_first()


REGISTRY = tyro.constructors.ConstructorRegistry()


@REGISTRY.primitive_rule
def names_alone(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """A setting that is a name or a function (``select``) is a name on the command line."""
    options = get_args(info.type)
    if str not in options or not any(get_origin(option) is Callable for option in options):
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def train_command(method: type[methods.Method]) -> type:
    """The command that trains one method: all of its settings as flags, under their own names."""

    def run(self: Any) -> None:
        with one_after_the_other(self.fit.device):
            train, _ = self.reading.load(self.data)
        if self.per_class is not None:
            train = train.per_class(self.per_class)
        settings: dict[str, Any] = {}
        for part in (self.fit, self.views_of(train), self.method):
            settings |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        trained = fit(method, train, out=self.out, resume=self.resume, **settings)
        if Processes.here().first:
            print(f"{trained}\nNext: hiercl evaluate {self.out} --data {self.data}{self.reading.flags}")

    def views_of(self: Any, train: HierarchicalDataset) -> ViewConfig | PointViewConfig:
        """The flags that are of the data's kind of items; the others must not have been used."""
        parts = {"images": self.views, "points": self.point_views}
        chosen = parts.pop(train.kind)
        for kind, other in parts.items():
            for field in dataclasses.fields(other):
                if getattr(other, field.name) != field.default:
                    flag = field.name.replace("_", "-")
                    raise ValueError(
                        f"--{flag} is of views of {kind}, and {self.data} holds {train.kind}: leave it out."
                    )
        return chosen

    flat = tyro.conf.OmitArgPrefixes
    fields = [
        ("out", Annotated[Path, tyro.conf.arg(help="Folder of the run.")]),
        ("data", Annotated[str, tyro.conf.arg(help="Data set: a name or a folder.")], "shapes"),
        ("per_class", Annotated[int | None, tyro.conf.arg(help="Training items a class; by default all.")], None),
        ("resume", Annotated[bool, tyro.conf.arg(help="Continue the run in --out.")], False),
        ("reading", Annotated[Reading, flat], dataclasses.field(default_factory=Reading)),
        ("fit", Annotated[FitConfig, flat], dataclasses.field(default_factory=FitConfig)),
        ("views", Annotated[ViewConfig, flat], dataclasses.field(default_factory=ViewConfig)),
        ("point_views", Annotated[PointViewConfig, flat], dataclasses.field(default_factory=PointViewConfig)),
        ("method", Annotated[method.Config, flat], dataclasses.field(default_factory=method.Config)),
    ]
    command = dataclasses.make_dataclass(
        f"Train{method.__name__}", fields, frozen=True, namespace={"run": run, "views_of": views_of}
    )
    command.__doc__ = f"Train {method.__name__}: {(method.__doc__ or '').strip().splitlines()[0]}"
    return command


def commands() -> Any:
    """All commands, as the union type that tyro turns into a parser."""

    def choice(name: str, command: type) -> Any:
        return Annotated[command, tyro.conf.subcommand(name)]

    trainers = Union[tuple(choice(name, train_command(methods.get(name))) for name in methods.names())]  # noqa: UP007
    train = dataclasses.make_dataclass("Train", [("what", trainers)], namespace={"run": lambda self: self.what.run()})
    train.__doc__ = "Train a method; hiercl train METHOD --help lists its settings."
    every = {"data": Data, "train": train, "evaluate": Evaluate, "study": RunStudy}
    every |= {"demo": Demo}
    return Union[tuple(choice(name, command) for name, command in every.items())]  # noqa: UP007


def main(arguments: list[str] | None = None) -> None:
    """Entry point. What a user got wrong is told in one line, not in a traceback."""
    flags = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    description = "See, step through and change hierarchical contrastive learning."
    with REGISTRY:
        command = tyro.cli(commands(), prog="hiercl", description=description, args=arguments, config=flags)
    try:
        command.run()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f"hiercl: {error}")


if __name__ == "__main__":
    main()
