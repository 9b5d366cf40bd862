"""The commands of the command line: what each of them asks for and does."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import torch
import tyro

from hiercl import methods
from hiercl.datasets import HierarchicalDataset, data_root, load, names
from hiercl.encoders import MODALITIES, Modality
from hiercl.evaluation import evaluate
from hiercl.runtime.environment import keep_freed_memory
from hiercl.runtime.files import write_atomically
from hiercl.runtime.processes import Processes
from hiercl.study import Study
from hiercl.training import FitConfig, Run, fit, load_run, pick_device

NOTEBOOK = "00_quickstart.ipynb"


@dataclass(frozen=True)
class LoadOptions:
    """How the user's own items are read."""

    size: int | None = None
    """Side of the pictures in pixels; by default the data set's own, and 32 for a folder or a CSV file."""
    skip_unreadable: bool = False
    """Leave out items that cannot be read: pictures of a folder or a CSV file, shapes of ModelNet."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Where ModelNet lies: an archive, a folder or arrays."""
    overwrite: bool = False
    """Read ModelNet again from its source and replace the array store that was made of it."""

    @property
    def flags(self) -> str:
        """The flags that a user types to get these options again."""
        size = "" if self.size is None else f" --size {self.size}"
        return size + (" --skip-unreadable" if self.skip_unreadable else "")

    @property
    def options(self) -> dict[str, Any]:
        """The options of hiercl.load; None where nothing is asked for."""
        read = {"size": self.size, "skip_unreadable": self.skip_unreadable or None}
        return read | {"source": self.source, "overwrite": self.overwrite or None}

    def load(self, name: str) -> tuple[HierarchicalDataset, HierarchicalDataset]:
        """Loads training and test set. Options at their default are not passed on: not every data set has them."""
        return load(name, **{option: value for option, value in self.options.items() if value is not None})


@dataclass(frozen=True)
class Data(LoadOptions):
    """Prepare a data set and say what is in it."""

    name: tyro.conf.Positional[str] = tyro.MISSING
    """cifar100, omniglot, modelnet10, modelnet40, shapes, a folder of pictures, an array store, or a CSV file."""
    points: int | None = None
    """Points that are kept of every shape of ModelNet; by default 1,024."""
    sampling: Literal["random", "farthest"] | None = None
    """How these points are chosen: at random (the default), or each one the farthest from those before."""
    superclasses: str | None = None
    """ModelNet gets superclasses by use (the default), by shape, or from a JSON file of your own."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of hiercl.load; None where nothing is asked for."""
        chosen = {"points": self.points, "sampling": self.sampling, "superclasses": self.superclasses}
        return super().options | chosen

    def run(self) -> None:
        train, test = self.load(self.name)
        for part, dataset in {"train": train, "test": test}.items():
            print(f"{part}: {dataset}")
        print(f"\n{train.hierarchy.describe()}")
        print(f"\nData sets are kept in {data_root()}.")


@dataclass(frozen=True)
class Evaluate(LoadOptions):
    """Evaluate a trained run at every level of the hierarchy; hiercl.metrics.definitions() says what each number is."""

    run_folder: tyro.conf.Positional[Path] = tyro.MISSING
    """Folder of the run (the --out of train)."""
    data: str = ""
    """Data set; by default the one that the run was trained on."""
    per_class: int | None = None
    """Training items of each class for the probe and the neighbours; by default all."""
    label_fractions: tuple[float, ...] = ()
    """Shares of the labels, such as 0.01 0.1, for a frozen probe and a fine-tuning with few labels."""
    sample: int | None = None
    """Test items, drawn at random, that retrieval and uniformity compare with all; by default all."""

    def run(self) -> None:
        run = load_run(self.run_folder, device=pick_device("auto"))
        train, test = self.load(own_data(run, self.data))
        train = train if self.per_class is None else train.per_class(self.per_class)
        report = evaluate(run, train, test, label_fractions=self.label_fractions, sample=self.sample)
        out = self.run_folder / f"report-{Path(self.data).stem}" if self.data else self.run_folder
        report.save(out)
        print(f"{run}\n{report}\nWritten to {out}: report.json and report.csv.")


def own_data(run: Run, given: str) -> str:
    """Returns the data set that is asked for, or the one that the run was trained on.

    Raises:
        ValueError: it is not one that hiercl loads by its name.
    """
    name = given or run.recipe.data["name"]
    if not given and name not in names():
        raise ValueError(f"the run was trained on a folder of yours, {name!r}: say where it is, with --data FOLDER")
    return name


@dataclass(frozen=True)
class Atlas(LoadOptions):
    """Write a page with the tree of a run beside the true one. It opens in any browser, without a network."""

    run_folder: tyro.conf.Positional[Path] = tyro.MISSING
    """Folder of the run (the --out of train)."""
    out: Path = Path("atlas.html")
    """File of the page."""
    data: str = ""
    """Data set; by default the one that the run was trained on."""
    part: Literal["train", "test"] = "train"
    """Whose items are shown. A tree that the run has learned is one of its training set."""
    per_class: int | None = None
    """Items of each class; by default all. For a run with a tree, the same number as in its training."""
    prototypes: tuple[int, ...] | None = None
    """Numbers of prototypes of a tree of k-means, coarse to fine; by default the tree of the run, if it has one."""
    items: int = 1500
    """Largest number of items that are shown."""

    def run(self) -> None:
        from hiercl.explore import atlas

        run = load_run(self.run_folder, device=pick_device("auto"))
        train, test = self.load(own_data(run, self.data))
        dataset = train if self.part == "train" else test
        dataset = dataset if self.per_class is None else dataset.per_class(self.per_class)
        page = atlas(run, dataset, self.out, self.prototypes, max_items=self.items)
        print(f"Written: {page.resolve()}. Open it in a browser.")


@dataclass(frozen=True)
class RunStudy:
    """Run a study, one of the package's or your own, and write its page."""

    name: tyro.conf.Positional[str] = tyro.MISSING
    """hcsc-parts, csml-parts, labels, ... (an unknown name lists them), or the path of a JSON file."""
    set: tuple[str, ...] = ()
    """Other settings for every variant: ``--set epochs=100 encoder=resnet18``."""
    seeds: int | None = None
    """Number of seeds, from 0 on; by default the study's own."""
    jobs: int = 1
    """Runs at a time."""
    dry: bool = False
    """Only say what would be run, and how long it would take."""
    out: Path = Path("runs/studies")
    """Folder of studies and runs. Studies share the runs that they have in common."""
    page: Path | None = None
    """File of the page, .html or .md; by default NAME.html in that folder. A CSV file with all runs lies beside it."""

    def run(self) -> None:
        own = self.name.endswith(".json")
        study = Study.load(self.name, self.out, self.seeds) if own else Study.ready(self.name, self.out, self.seeds)
        if self.set:
            study = study.changed(**dict(map(parse_assignment, self.set)))
        study.run(n_jobs=self.jobs, dry=self.dry)
        if self.dry:
            return
        if study.interrupted:
            raise KeyboardInterrupt("What is done is kept. The same command goes on.")
        print(f"\n{study.summary().to_string(index=False, float_format='{:.2f}'.format, na_rep='')}")
        if study.grid:
            print(f"\n{study.best().to_string(index=False, float_format='{:.4g}'.format)}")
        print(f"\nWritten to {study.report(self.page)}.")
        if failed := study.failed():
            raise RuntimeError(f"{len(failed)} runs of the study failed: see above.")


def parse_assignment(text: str) -> tuple[str, Any]:
    """Splits ``NAME=VALUE`` into name and value; a value that is no JSON is a word."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--set {text}: give NAME=VALUE, such as epochs=100.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@dataclass(frozen=True)
class Demo:
    """Run the quickstart notebook without a browser."""

    out: Path = Path("runs/demo")
    """Folder of the executed notebook, its figures and its table."""

    def run(self) -> None:
        try:
            import nbformat
            from nbclient import NotebookClient
            from nbclient.exceptions import CellExecutionError
        except ImportError as error:
            raise ImportError("The demo runs a notebook: install the tools with pip install 'hiercl[lab]'.") from error

        class Client(NotebookClient):
            """Shows what cells print, and how far trainings are; otherwise the run would be silent."""

            def process_message(self, msg, cell, cell_index):
                content = msg["content"]
                if msg["msg_type"] == "stream" and content["name"] == "stdout":
                    print(content["text"], end="", flush=True)
                if content.get("transient", {}).get("display_id"):  # a figure that grows while a model trains
                    print(content["data"].get("text/plain", ""), flush=True)
                return super().process_message(msg, cell, cell_index)

        source, out = find_notebook(), self.out.resolve()
        out.mkdir(parents=True, exist_ok=True)
        os.environ["HIERCL_OUT"] = str(out)
        notebook = nbformat.read(source, as_version=4)
        start, shown = time.perf_counter(), ""

        def announce(cell, cell_index):
            """Prints the heading above a cell, once."""
            nonlocal shown
            before = "\n".join(cell.source for cell in notebook.cells[:cell_index] if cell.cell_type == "markdown")
            headings = [line.lstrip("# ") for line in before.splitlines() if line.startswith("#")]
            if headings and headings[-1] != shown:
                shown = headings[-1]
                print(f"\n[{time.perf_counter() - start:4.0f} s] {shown}", flush=True)

        client = Client(notebook, timeout=None, kernel_name="python3", on_cell_execute=announce)
        print(f"Running {source.name} ({len(notebook.cells)} cells); it trains two models.")
        try:
            client.execute(cwd=str(source.parent), stderr=subprocess.DEVNULL)  # hides the kernel's own warnings
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            raise SystemExit("hiercl: the demo stopped at the cell above; the notebook so far is kept.") from None
        finally:
            write_atomically(out / NOTEBOOK, nbformat.writes(notebook) + "\n")
        written = sorted(path.name for path in out.iterdir() if path.is_file())
        print(f"\n[{time.perf_counter() - start:4.0f} s] Done. In {out}: {', '.join(written)}")


@dataclass(frozen=True)
class Playground:
    """Write a page on which points learn live. It opens in any browser, without Python and without a network."""

    out: Path = Path("playground.html")
    """File of the page."""

    def run(self) -> None:
        write_atomically(self.out, (Path(__file__).parent / "explore" / "playground.html").read_bytes())
        print(f"Written: {self.out.resolve()}. Open it in a browser.")


def find_notebook() -> Path:
    """Returns the quickstart notebook of the checkout, or the copy in an installed package."""
    package = Path(__file__).parent
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / NOTEBOOK).exists():
            return folder / NOTEBOOK
    raise FileNotFoundError(f"{NOTEBOOK} is missing: run this in a checkout of hiercl, or install the package anew.")


def one_after_the_other(device: str) -> AbstractContextManager:
    """Lets the first of several processes load, download and store before the others do."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    from accelerate import PartialState

    return PartialState(cpu=device == "cpu").local_main_process_first()


def train_command(method: type[methods.Method], official: bool = False) -> type:
    """Makes the command that trains one method. All its settings are flags under their own names.

    Args:
        method: the method.
        official: whether the defaults are those of its official code.
    """

    def run(self: Any) -> None:
        methods.in_full(method, {"official": official})  # an error where no official code is known
        with one_after_the_other(self.fit.device):
            train, _ = self.load_options.load(self.data)
        if self.per_class is not None:
            train = train.per_class(self.per_class)
        settings = own_views(self, train)
        for part in (self.fit, self.method):
            settings |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        trained = fit(method, train, out=self.out, resume=self.resume, **settings)
        if trained.interrupted:
            raise KeyboardInterrupt(f"{trained} is whole up to there. The same command with --resume goes on.")
        if Processes.here().first:
            print(f"{trained}\nNext: hiercl evaluate {self.out} --data {self.data}{self.load_options.flags}")

    flat = tyro.conf.OmitArgPrefixes
    fields = [
        ("out", Annotated[Path, tyro.conf.arg(help="Folder of the run.")]),
        ("data", Annotated[str, tyro.conf.arg(help="Data set: a name or a folder.")], "shapes"),
        ("per_class", Annotated[int | None, tyro.conf.arg(help="Training items of a class; by default all.")], None),
        ("resume", Annotated[bool, tyro.conf.arg(help="Continue the run in --out.")], False),
        ("official", Annotated[bool, tyro.conf.arg(help="Take the loss of the method's official code.")], False),
        ("load_options", Annotated[LoadOptions, flat], dataclasses.field(default_factory=LoadOptions)),
        ("fit", Annotated[FitConfig, flat], dataclasses.field(default_factory=FitConfig)),
    ]
    for name, group in view_flags().items():
        fields.append((f"views_of_{name}", Annotated[group, flat], dataclasses.field(default_factory=group)))
    default = functools.partial(method.Config, **(method.Config.official if official else {}))
    fields.append(("method", Annotated[method.Config, flat], dataclasses.field(default_factory=default)))
    command = dataclasses.make_dataclass(f"Train{method.__name__}", fields, frozen=True, namespace={"run": run})
    command.__doc__ = f"Train {method.__name__}: {(method.__doc__ or '').strip().splitlines()[0]}"
    return command


SEVERAL = "several_kinds"


@functools.cache
def view_flags() -> dict[str, type]:
    """Returns the settings of views by the kind of items. Those that several kinds have are a group of their own, where
    None stands for the default of the data's kind."""
    owners: dict[str, list[Modality]] = {}
    for modality in MODALITIES.values():
        for field in dataclasses.fields(modality.view_config):
            owners.setdefault(field.name, []).append(modality)
    groups: dict[str, list] = {name: [] for name in (*MODALITIES, SEVERAL)}
    for name, kinds in owners.items():
        hints = [get_type_hints(kind.view_config, include_extras=True)[name] for kind in kinds]
        docs = [setting_doc(kind.view_config, name) for kind in kinds]
        defaults = [kind.view_config.__dataclass_fields__[name].default for kind in kinds]
        if len(kinds) == 1:
            groups[kinds[0].name].append((name, Annotated[hints[0], tyro.conf.arg(help=docs[0])], defaults[0]))
        else:
            every = zip(kinds, docs, defaults, strict=True)
            doc = " ".join(f"{kind.form.noun.capitalize()} (default {default}): {doc}" for kind, doc, default in every)
            groups[SEVERAL].append((name, Annotated[Union[(*hints, None)], tyro.conf.arg(help=doc)], None))
    made = {name: dataclasses.make_dataclass(f"ViewsOf{name}", fields, frozen=True) for name, fields in groups.items()}
    for name, group in made.items():
        noun = MODALITIES[name].form.noun if name in MODALITIES else "several kinds of items"
        group.__doc__ = f"Settings of random views of {noun}."
    return made


def setting_doc(config: type, name: str) -> str:
    """Returns the text below a setting of a config."""
    for owner in config.__mro__:
        if name in vars(owner).get("__annotations__", {}):
            body = cast(ast.ClassDef, ast.parse(inspect.getsource(owner)).body[0]).body
            for line, below in itertools.pairwise(body):
                if isinstance(line, ast.AnnAssign) and cast(ast.Name, line.target).id == name:
                    return " ".join(ast.literal_eval(cast(ast.Expr, below).value).split())
    raise ValueError(f"{config.__name__} has no setting {name!r}.")


def own_views(command: Any, train: HierarchicalDataset) -> dict[str, Any]:
    """Returns the settings of the views of the data's kind of items; flags of other views must not have been used."""
    known, settings = {field.name for field in dataclasses.fields(MODALITIES[train.modality].view_config)}, {}
    for kind, group in view_flags().items():
        views = getattr(command, f"views_of_{kind}")
        for field in dataclasses.fields(group):
            value = getattr(views, field.name)
            if field.name not in known and value != field.default:
                raise ValueError(
                    f"--{field.name.replace('_', '-')} is a setting of views of {kind.replace('_', ' ')}, and "
                    f"{command.data} holds {train.modality}: leave it out."
                )
            if field.name in known and (kind != SEVERAL or value is not None):
                settings[field.name] = value
    return settings


REGISTRY = tyro.constructors.ConstructorRegistry()


@REGISTRY.primitive_rule
def names_alone(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Makes a setting that is a name or something of Python (``select``, ``device``) a name on the command line."""
    options = get_args(info.type)
    named = any(get_origin(option) is Callable or option in (Any, torch.device) for option in options)
    if info.type is not Any and not named:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    )


def run(arguments: list[str]) -> None:
    """Parses the words after ``hiercl`` and runs the command."""

    def choice(name: str, command: type) -> Any:
        return Annotated[command, tyro.conf.subcommand(name)]

    official = "--official" in arguments  # it changes the defaults, so that flags that are given win
    trained = {name: train_command(methods.get(name), official) for name in methods.names()}
    trainers = Union[tuple(choice(name, command) for name, command in trained.items())]  # noqa: UP007
    train = dataclasses.make_dataclass("Train", [("what", trainers)], namespace={"run": lambda self: self.what.run()})
    train.__doc__ = "Train a method; hiercl train METHOD --help lists its settings."
    own = {
        "data": Data,
        "train": train,
        "evaluate": Evaluate,
        "atlas": Atlas,
        "study": RunStudy,
        "demo": Demo,
        "playground": Playground,
    }
    command = own[arguments[0]]
    flags = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    with REGISTRY:
        made = tyro.cli(command, prog=f"hiercl {arguments[0]}", args=arguments[1:], config=flags)
    keep_freed_memory()  # the process is ours; in a notebook the user decides
    try:
        made.run()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f"hiercl: {error}")
