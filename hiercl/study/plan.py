"""Plan: what a study asks. Its variants and seeds, the runs that they make, and its JSON file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from filelock import FileLock

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation import Report
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import frozen
from hiercl.runtime.errors import unknown
from hiercl.runtime.files import LOCK, clear_partial, naming_full_disk, read_json, reading, write_atomically
from hiercl.runtime.given import given_path
from hiercl.study.configurations import Configuration, DataConfig, DataFacts, RunData, Splits, canonical, configuration
from hiercl.study.running import DONE, FAILED, Place
from hiercl.study.variants import as_text, at_grid_points, check_lists, variants
from hiercl.training import Run

Own = TypeVar("Own", bound="Plan")  # the class of the object: a study returns studies
DEFAULT_METRICS = ("linear", "knn", "ami", "hierarchical_f1", "mistake_height")
READY = Path(__file__).parent / "ready"
ASKED = ("base", "variants", "vary", "seeds", "name", "one_at_a_time", "baseline", "question", "metrics", "grid")
MOST_SEEDS = 10_000
MOST_BYTES = 200  # of a name; a file's name may have 255
REMOVE = "remove it (its runs stay, and are shared), or choose another name="


def ready_names() -> tuple[str, ...]:
    """Returns the names of the studies that come with the package.

    Example:
        >>> "hcsc-parts" in hiercl.study.ready_names()
        True
    """
    return tuple(sorted(path.stem for path in READY.glob("*.json")))


def recorded(name: str) -> pd.DataFrame:
    """Returns the results of a study that comes with the package, one row a run, as ``study.table()`` gives them.

    They are those of the pages in ``docs``. What a page says of the machine holds for them.

    Args:
        name: name of the study. An unknown one lists them.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> hiercl.study.recorded("features")["variant"].nunique()
        11
    """
    names = sorted(path.stem for path in READY.glob("*.csv"))
    if name not in names:
        raise unknown("recorded study", name, names)
    return pd.read_csv(READY / f"{name}.csv")


@dataclass(frozen=True)
class Member:
    """One run of a study: a variant with a seed.

    Attributes:
        variant: name of the variant.
        seed: the seed.
        configuration: all its settings.
        place: where it is kept, and its state.
    """

    variant: str
    seed: int
    configuration: Configuration
    place: Place

    def train(self, given: Splits | None = None) -> HierarchicalDataset:
        """Returns the items that the run is trained on, with the hierarchy that the method sees."""
        return RunData.of(self.configuration.data, given).train

    def test(self, given: Splits | None = None) -> HierarchicalDataset:
        """Returns the items that judge the run."""
        return RunData.of(self.configuration.data, given).test

    def load(self) -> tuple[Run, Report]:
        """Loads the run and its report, with the functions and the encoder of the study.

        Example:
            >>> trained, report = study.member("temperature=0.3", seed=1).load()
        """
        settings = self.configuration.settings.items()
        given = {name: value for name, value in settings if callable(value) or isinstance(value, Run)}
        return self.place.load(**given)


class Plan:
    """The variants and seeds of a :class:`~hiercl.Study`, which describes the arguments.

    Attributes:
        compared: name and settings of what is compared.
        grid: settings and the values at which all of these are tried; empty without a grid.
        points: for every point of the grid, by its name: the compared variant and the settings of the point.
        variants: name and settings of what is run: the points of the grid, or what is compared.
        baselines: name of the baseline of every variant that has one.
        given: data sets of your own (:meth:`of`), or None.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        vary: Any,
        seeds: int | Sequence[int] = 5,
        name: str | None = None,
        out: str | Path = "runs/studies",
        one_at_a_time: bool = False,
        baseline: str | Mapping[str, str] | None = None,
        question: str = "",
        metrics: Sequence[str] = DEFAULT_METRICS,
        grid: Mapping[str, Sequence[Any]] | None = None,
    ):
        asked = {"base": base, "name": name, "one_at_a_time": one_at_a_time, "baseline": baseline, "question": question}
        _check_asked(asked | {"metrics": metrics, "grid": grid, "out": out})
        metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        self.question, self.metrics, self.out = question, metrics, given_path(out, "out").expanduser().resolve()
        as_given = variants(base, vary, one_at_a_time)
        self.variants = self.compared = {
            name: {key: frozen(value) for key, value in settings.items()} for name, settings in as_given.items()
        }
        self.grid = {name: list(map(frozen, values)) for name, values in check_lists(grid or {}).items()}
        self.points = at_grid_points(self.compared, self.grid) if grid else {}
        if grid:
            self.variants = {name: self.compared[of] | point for name, (of, point) in self.points.items()}
            firsts = {of: name for name, (of, _) in reversed(self.points.items())}
            baseline = baseline or {name: firsts[of] for name, (of, _) in self.points.items() if name != firsts[of]}
        self.seeds = _seeds(seeds)
        self.baselines = self.against(next(iter(self.variants)) if baseline is None else baseline)
        # Version 0.1.0 named a study by this, with lists as words.
        words = {
            of: {k: list(v) if isinstance(v, tuple) else as_text(v) for k, v in s.items()} for of, s in as_given.items()
        }
        told = json.dumps([question, words, *([self.grid] if grid else [])], sort_keys=True, default=repr)
        self.name = f"study-{hashlib.sha256(told.encode()).hexdigest()[:8]}" if name is None else name
        short = 0 < len(self.name.encode(errors="replace")) <= MOST_BYTES and self.name.isprintable()
        if not short or Path(self.name).name != self.name:
            raise ValueError(f"name={name!r:.200}: it names files in {self.out}, so give a short name without folders.")
        self.given: Splits | None = None
        self._expected: list[str] | None = None  # fingerprints of the data sets that a saved study was made for
        self._known: dict[DataConfig, DataFacts] = {}

    def against(self, baseline: str | Mapping[str, str] | None) -> dict[str, str]:
        """Returns the baseline of every variant: its own, or one for all, or those of a mapping.

        Raises:
            ValueError: a name is not a variant.
        """
        if baseline is None:
            return self.baselines
        names = self.variants
        if not isinstance(baseline, str | Mapping):
            raise ValueError(f"baseline {baseline!r:.80} is no variant: give a name, or a name for every variant.")
        own = {name: baseline for name in names if name != baseline} if isinstance(baseline, str) else dict(baseline)
        for name in (*own, *own.values()):
            if name not in names:
                raise ValueError(f"baseline {name!r} is not a variant; they are {', '.join(map(repr, names))}.")
        return own

    # ---- its runs ----

    @property
    def runs_folder(self) -> Path:
        """Folder of the runs. Other studies with the same ``out`` keep their runs there too."""
        return self.out / "runs"

    def members(self) -> list[Member]:
        """Returns all runs. Every variant of one seed comes before the next seed, so a stopped study has whole seeds.

        Raises:
            ValueError: a value that does not fit (the message names the variant), two variants that are the same, or a
                loaded study of your own data sets without these data sets.

        Example:
            >>> [(member.variant, member.seed) for member in study.members()][:2]
            [('temperature=0.1', 0), ('temperature=0.3', 0)]
        """
        if self._expected and self.given is None:
            raise ValueError(f"{self.name} was made for data sets of your own: give them again, study.of(train, test).")
        found, seen = [], {}
        for seed in self.seeds:
            for name, settings in self.variants.items():
                try:
                    made = configuration(settings, seed, self._facts)
                except ValueError as error:
                    raise ValueError(f"variant {name!r}: {error}") from error
                key = made.training_hash, made.report_hash
                if (other := seen.setdefault(key, name)) != name:
                    raise ValueError(f"variants {other!r} and {name!r} are the same configuration: leave one out.")
                found.append(Member(name, seed, made, Place.of(made, self.runs_folder)))
        return found

    def _facts(self, data: DataConfig) -> DataFacts:
        """Facts of the data; data are loaded once for this."""
        if data not in self._known:
            self._known[data] = RunData.of(data, self.given).facts
        return self._known[data]

    @checked
    def of(self: Own, train: HierarchicalDataset, test: HierarchicalDataset) -> Own:
        """Gives the study data sets of your own, and returns the study.

        Args:
            train: the training set.
            test: the test set.

        Raises:
            ValueError: the settings name data, or the saved study was made for other data sets.

        Example:
            >>> own = hiercl.Study({"method": "moco"}, {"queue": [32, 64]}, seeds=1).of(train, test)
            >>> len(own.missing())
            2
        """
        named = [name for name, settings in self.variants.items() if "data.name" in settings]
        if named:
            raise ValueError(f"variant {named[0]!r} names its data: leave out data=, or the data sets.")
        self.given, self._known = (train, test), {}
        if self._expected and self._fingerprints() != self._expected:
            self.given = None
            raise ValueError(f"{self.name} was made for other data sets than these.")
        return self

    def _fingerprints(self) -> list[str] | None:
        """Fingerprints of the data sets of your own."""
        facts = self.given and RunData(self.given[0], *self.given).facts
        return [facts.train, facts.test] if facts else self._expected

    def missing(self) -> list[Member]:
        """Returns the runs that are not done.

        Example:
            >>> study.missing()
            []
        """
        return [member for member in self.members() if member.place.state != DONE]

    def failed(self) -> list[Member]:
        """Returns the runs whose last attempt failed.

        Example:
            >>> study.failed()
            []
        """
        return [member for member in self.members() if member.place.state == FAILED]

    def member(self, variant: str, seed: int = 0) -> Member:
        """Returns the run of a variant and a seed.

        Args:
            variant: name of the variant.
            seed: the seed.

        Raises:
            ValueError: there is no such run.

        Example:
            >>> trained, report = study.member("temperature=0.3", seed=1).load()
        """
        for member in self.members():
            if (member.variant, member.seed) == (variant, seed):
                return member
        names = ", ".join(self.variants)
        raise ValueError(f"no run {variant!r}, seed {seed}: the variants are {names}; the seeds {self.seeds}.")

    def changed(self: Own, name: str | None = None, **settings: Any) -> Own:
        """Returns the same study with other settings in every variant, such as more epochs or another encoder.

        Variants that are not trained (``epochs=0``) stay so.

        Args:
            name: name of the new study; by default the name of this one, followed by the settings.
            settings: settings as in ``base``. Write a name with a dot as ``**{"fit.lr": 0.01}``.

        Raises:
            ValueError: an unknown setting, one in which variants differ, one that the grid tries, or other data for a
                study of your own data sets.

        Example:
            >>> study = hiercl.Study.ready("mixture").changed(epochs=100, dim=64)
            >>> study.name
            'mixture-epochs=100-dim=64'
        """
        changed = {}
        for variant, own in self.compared.items():
            new = canonical(settings, own["method.name"])
            if tried := new.keys() & canonical(self.grid, own["method.name"]).keys():
                raise ValueError(f"{self.name} tries {min(tried)} at every point of its grid: change the grid.")
            if "data.name" in new and (self.given or self._expected):
                raise ValueError(f"{self.name} uses data sets of your own: make a study with data= in its base.")
            if own.get("fit.epochs") == 0:  # a variant that is not trained cannot be trained longer
                new.pop("fit.epochs", None)
            for setting in new:
                values = {repr(other.get(setting)) for other in self.compared.values()}
                if len(values - {"0"} if setting == "fit.epochs" else values) > 1:
                    raise ValueError(f"variants of {self.name} differ in {setting}: change that in a file of your own.")
            changed[variant] = own | new
        words = "".join(f"-{key}={as_text(value)}" for key, value in settings.items())
        name = f"{self.name}{words}".replace("/", "-").replace(" ", "-") if name is None else name
        asked = {"baseline": self.baselines, "question": self.question, "metrics": self.metrics, "grid": self.grid}
        study = type(self)({}, changed, self.seeds, name, self.out, **asked)
        study.given, study._expected = self.given, self._expected
        return study

    # ---- on disk ----

    def save(self) -> Path:
        """Writes what the study asks to ``out/NAME.json``, and returns the path. :meth:`load` reads it.

        Functions are written by their names only, so a study of functions is made again by the code that made it.

        Raises:
            FileExistsError: a study of this name exists with other variants.

        Example:
            >>> study.save().suffix
            '.json'
        """
        path = self.out / f"{self.name}.json"
        with naming_full_disk(path):
            self.out.mkdir(parents=True, exist_ok=True)
        with FileLock(self.out / LOCK):  # several processes may save studies here
            clear_partial(self.out, ".json")
            self._save(path)
        return path

    def _save(self, path: Path) -> None:
        """Writes the definition, unless another study has this name."""
        plain = self._plain()
        if path.exists():
            there = read_json(path, REMOVE)
            with reading(path, REMOVE):
                both = there.get("variants", {}).keys() & plain.keys()
                same_grid = there.get("grid", {}).keys() == self.grid.keys()
                same = all(_words(there["variants"][name]) == _words(plain[name]) for name in both)
            if not both or not same_grid or not same:
                raise FileExistsError(
                    f"{path} is another study of this name, with other variants: choose another name=, or remove that "
                    "file if it is not needed (its runs stay, and are shared)."
                )
        content = {"name": self.name, "question": self.question, "variants": plain, "seeds": list(self.seeds)}
        content |= {"baseline": self.baselines, "metrics": list(self.metrics), "grid": self.grid}
        content |= {"given": self._fingerprints(), "saved": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_atomically(path, json.dumps(content, indent=1, default=repr))

    def _plain(self) -> dict[str, dict[str, Any]]:
        """The settings of the variants as JSON has them: lists, and the names of functions."""
        return {
            name: {key: value if isinstance(value, tuple) else as_text(value) for key, value in settings.items()}
            for name, settings in self.compared.items()
        }

    @classmethod
    def load(
        cls: type[Own], path: str | Path, out: str | Path | None = None, seeds: int | Sequence[int] | None = None
    ) -> Own:
        """Reads a study from a JSON file that :meth:`save` or you have written.

        The file has ``variants`` (names and settings, added to those of ``base``) or ``vary`` (settings and lists of
        values). It may have ``base``, ``seeds``, ``baseline``, ``question``, ``metrics``, ``grid``, ``one_at_a_time``
        and ``name``.

        Args:
            path: path of the file.
            out: folder of studies and runs; by default the folder of the file.
            seeds: seeds in place of those of the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not JSON, has neither variants nor vary, or has an unknown part.

        Example:
            >>> again = hiercl.Study.load(study.save()).of(train, test)
            >>> again.variants == study.variants
            True
        """
        path = given_path(path, "path")
        content = read_json(path, "it is not JSON that describes a study; hiercl.Study.load says what that is")
        known = (*ASKED, "given", "saved")
        for name in content:
            if name not in known:
                raise unknown(f"part of {path}", name, known)
        if ("variants" in content) == ("vary" in content):
            raise ValueError(f"{path} needs variants (names and settings) or vary (settings and lists of values).")
        asked: dict[str, Any] = {"base": {}, "name": path.stem}
        asked |= {name: content[name] for name in ASKED if name in content}
        asked["vary"] = asked.pop("variants", None) or asked.get("vary")
        if "variants" in content and not isinstance(content["variants"], Mapping | list):
            raise ValueError(f"{path}: variants are names with settings, or a list of settings.")
        asked["out"] = path.parent if out is None else out
        asked |= {} if seeds is None else {"seeds": seeds}
        try:
            study = cls(**asked)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        study._expected = content.get("given")
        return study

    @classmethod
    def ready(
        cls: type[Own], name: str, out: str | Path = "runs/studies", seeds: int | Sequence[int] | None = None
    ) -> Own:
        """Returns a study that comes with the package.

        Args:
            name: one of :func:`hiercl.study.ready_names`.
            out: folder of studies and runs.
            seeds: seeds in place of those of the study.

        Raises:
            ValueError: an unknown name.

        Example:
            >>> hiercl.Study.ready("hcsc-levels").question
            "How many levels, and how many prototypes, should HCSC's tree have?"
        """
        if name not in ready_names():
            raise unknown("ready-made study", name, ready_names())
        return cls.load(READY / f"{name}.json", out, seeds)


def _check_asked(asked: Mapping[str, Any]) -> None:
    """Raises ValueError for a part of a study that is of another type."""
    kinds: dict[str, tuple[Any, str]] = {
        "base": (Mapping, "settings by name"),
        "name": (str | None, "a name"),
        "one_at_a_time": (bool, "True or False"),
        "baseline": (str | Mapping | None, "the name of a variant, or a mapping from variants to their baselines"),
        "question": (str, "a text"),
        "metrics": (str | Sequence, "names of metrics"),
        "grid": (Mapping | None, "settings with a list of values each"),
        "out": (str | Path, "the path of a folder"),
    }
    for name, (kind, words) in kinds.items():
        if not isinstance(asked[name], kind):
            raise ValueError(f"{name}={asked[name]!r:.80}: give {words}.")
    if isinstance(asked["baseline"], Mapping) and not all(isinstance(own, str) for own in asked["baseline"].values()):
        raise ValueError(f"baseline={asked['baseline']!r:.80}: give for every variant the name of its baseline.")
    if not asked["metrics"] or not all(isinstance(metric, str) for metric in asked["metrics"]):
        raise ValueError(f"metrics={asked['metrics']!r:.80}: give names of metrics, at least one.")


def _seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a number of seeds, or of a list."""
    found: Sequence[Any] = seeds if isinstance(seeds, Sequence) and not isinstance(seeds, str | bytes) else ()
    if isinstance(seeds, Integral) and not isinstance(seeds, bool) and 0 < int(seeds) <= MOST_SEEDS:
        found = range(int(seeds))
    whole = all(
        isinstance(seed, Integral) and not isinstance(seed, bool) and int(seed) >= 0 for seed in found[:MOST_SEEDS]
    )
    if not 0 < len(found) <= MOST_SEEDS or not whole or len(set(found)) < len(found):
        raise ValueError(
            f"seeds={seeds!r:.80}: give how many, from 1 to {MOST_SEEDS:,}, or a list of different whole numbers of at "
            "least 0."
        )
    return tuple(map(int, found))  # numpy's integers are not JSON


def _words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with lists as words, as version 0.1.0 wrote them."""
    return {name: as_text(value) for name, value in settings.items()}
