"""Plan: what a study asks. Its variants and seeds, the runs that they make, and its JSON file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation import Report
from hiercl.runtime.errors import unknown
from hiercl.study.configurations import Configuration, DataConfig, DataFacts, RunData, Splits, canonical, configuration
from hiercl.study.running import DONE, FAILED, Place
from hiercl.study.variants import as_text, at_grid_points, variants
from hiercl.training import Run

Own = TypeVar("Own", bound="Plan")  # the class of the object: a study returns studies
DEFAULT_METRICS = ("linear", "knn", "ami", "hierarchical_f1", "mistake_height")
READY = Path(__file__).parent / "ready"
ASKED = ("base", "variants", "vary", "seeds", "name", "one_at_a_time", "baseline", "question", "metrics", "grid")


def ready_names() -> tuple[str, ...]:
    """Returns the names of the studies that come with the package.

    Example:
        >>> "hcsc-parts" in hiercl.study.ready_names()
        True
    """
    return tuple(sorted(path.stem for path in READY.glob("*.json")))


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
        self.question, self.metrics, self.out = question, tuple(metrics), Path(out).expanduser().resolve()
        self.variants = self.compared = variants(base, vary, one_at_a_time)
        self.grid = dict(grid or {})
        self.points = at_grid_points(self.compared, grid) if grid else {}
        if grid:
            self.variants = {name: self.compared[of] | point for name, (of, point) in self.points.items()}
            firsts = {of: name for name, (of, _) in reversed(self.points.items())}
            baseline = baseline or {name: firsts[of] for name, (of, _) in self.points.items() if name != firsts[of]}
        self.seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
        whole = all(isinstance(seed, Integral) and seed >= 0 for seed in self.seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or not whole:
            raise ValueError(f"seeds={seeds!r}: give how many, at least 1, or different whole numbers of at least 0.")
        self.seeds = tuple(map(int, self.seeds))  # numpy's integers are not JSON
        self.baselines = self.against(next(iter(self.variants)) if baseline is None else baseline)
        asked = json.dumps([question, self._plain(), *([self.grid] if grid else [])], sort_keys=True, default=repr)
        self.name = f"study-{hashlib.sha256(asked.encode()).hexdigest()[:8]}" if name is None else name
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"name={name!r}: it names files in {self.out}, so give a name without folders.")
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
            >>> study = hiercl.Study.ready("labels").changed(epochs=100, encoder="resnet18")
            >>> study.name
            'labels-epochs=100-encoder=resnet18'
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
        plain = self._plain()
        if path.exists():
            there = json.loads(path.read_text())
            both = there.get("variants", {}).keys() & plain.keys()
            same_grid = there.get("grid", {}).keys() == self.grid.keys()
            if not both or not same_grid or any(there["variants"][name] != plain[name] for name in both):
                raise FileExistsError(
                    f"{path} is another study of this name, with other variants: choose another name=, or remove that "
                    "file if it is not needed (its runs stay, and are shared)."
                )
        content = {"name": self.name, "question": self.question, "variants": plain, "seeds": list(self.seeds)}
        content |= {"baseline": self.baselines, "metrics": list(self.metrics), "grid": self.grid}
        content |= {"given": self._fingerprints(), "saved": time.strftime("%Y-%m-%d %H:%M:%S")}
        self.out.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        temporary.write_text(json.dumps(content, indent=1, default=repr))
        temporary.replace(path)
        return path

    def _plain(self) -> dict[str, dict[str, Any]]:
        return {
            name: {k: list(v) if isinstance(v, tuple) else as_text(v) for k, v in settings.items()}
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
        path = Path(path)
        try:
            content = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error
        known = (*ASKED, "given", "saved")
        for name in content:
            if name not in known:
                raise unknown(f"part of {path}", name, known)
        if ("variants" in content) == ("vary" in content):
            raise ValueError(f"{path} needs variants (names and settings) or vary (settings and lists of values).")
        asked: dict[str, Any] = {"base": {}, "name": path.stem}
        asked |= {name: content[name] for name in ASKED if name in content}
        asked["vary"] = asked.pop("variants", None) or asked.get("vary")
        asked["out"] = path.parent if out is None else out
        asked |= {} if seeds is None else {"seeds": seeds}
        study = cls(**asked)
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
