"""Plan: what a study asks. Its variants and seeds, the runs that they make, and its file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from hiercl.datasets import HierarchicalDataset
from hiercl.study import files
from hiercl.study.configurations import (
    Configuration,
    DataConfig,
    DataFacts,
    Facts,
    Parts,
    Splits,
    canonical,
    configuration,
    facts_of,
)
from hiercl.study.running import DONE, FAILED, Place
from hiercl.study.variants import in_words, over, variants

Own = TypeVar("Own", bound="Plan")  # the class of the object: a study gives studies
SHOWN = ("linear", "knn", "ami", "hierarchical_f1", "mistake_height")


@dataclass(frozen=True)
class Member:
    """One run of a study: a variant with a seed."""

    variant: str
    seed: int
    configuration: Configuration
    place: Place

    def train(self, given: Splits | None = None) -> HierarchicalDataset:
        """What it is trained on, as the method sees it."""
        return Parts.of(self.configuration.data, given).train

    def test(self, given: Splits | None = None) -> HierarchicalDataset:
        """What it is judged by."""
        return Parts.of(self.configuration.data, given).test


class Plan:
    """The variants and seeds of a :class:`~hiercl.Study`, which says what its arguments are.

    Attributes:
        tried: name and settings of what is compared.
        grid: settings and their values that each of these is tried with, if any.
        points: of every point of the grid, by its name, what is tried there and the settings of the point.
        variants: name and settings of what is run: the points of the grid, else what is tried.
        baselines: of every variant that is compared, the name of what with.
        given: data sets of your own (:meth:`of`).
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
        metrics: Sequence[str] = SHOWN,
        grid: Mapping[str, Sequence[Any]] | None = None,
    ):
        self.question, self.metrics, self.out = question, tuple(metrics), Path(out).expanduser().resolve()
        self.variants = self.tried = variants(base, vary, one_at_a_time)
        self.grid = dict(grid or {})
        self.points = over(self.tried, grid) if grid else {}
        if grid:
            self.variants = {name: self.tried[of] | point for name, (of, point) in self.points.items()}
            firsts = {of: name for name, (of, _) in reversed(self.points.items())}
            baseline = baseline or {name: firsts[of] for name, (of, _) in self.points.items() if name != firsts[of]}
        self.seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
        whole = all(isinstance(seed, Integral) and seed >= 0 for seed in self.seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or not whole:
            raise ValueError(f"seeds={seeds!r}: give how many, at least 1, or different whole numbers of at least 0.")
        self.seeds = tuple(map(int, self.seeds))  # numpy's integers are no JSON
        self.baselines = self._baselines(baseline)
        parts = [question, self._plain_variants(), *([self.grid] if grid else [])]
        asked = json.dumps(parts, sort_keys=True, default=repr)
        self.name = f"study-{hashlib.sha256(asked.encode()).hexdigest()[:8]}" if name is None else name
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"name={name!r}: it names files in {self.out}, so give a name without folders.")
        self.given: Splits | None = None
        self._expected: list[str] | None = None
        self._known: dict[DataConfig, DataFacts] = {}

    def against(self, other: str | None) -> dict[str, str]:
        """What every variant is compared with: its own baseline, or, all of them, ``other``.

        Raises:
            ValueError: ``other`` is no variant.
        """
        if other is not None and other not in self.variants:
            raise ValueError(f"against={other!r} is no variant; they are {', '.join(map(repr, self.variants))}.")
        return self.baselines if other is None else self._baselines(other)

    def _baselines(self, baseline: str | Mapping[str, str] | None) -> dict[str, str]:
        if baseline is None or isinstance(baseline, str):
            one_for_all = next(iter(self.variants)) if baseline is None else baseline
            baseline = dict.fromkeys((name for name in self.variants if name != one_for_all), one_for_all)
            names = [one_for_all, *baseline]
        else:
            names = [*baseline, *baseline.values()]
        for name in names:
            if name not in self.variants:
                raise ValueError(f"baseline: {name!r} is no variant; they are {', '.join(map(repr, self.variants))}.")
        return dict(baseline)

    # ---- its runs ----

    @property
    def runs_folder(self) -> Path:
        """Where the runs are, those of other studies of the same ``out`` among them."""
        return self.out / "runs"

    def members(self) -> list[Member]:
        """All runs, every variant of a seed before the next seed: a study that was stopped has whole seeds.

        Raises:
            ValueError: a value that does not fit (the message says of which variant), two variants that are the same,
                or a study of data sets of your own that have not been given again.
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
                key = made.training_hash, made.judged_hash
                if (other := seen.setdefault(key, name)) != name:
                    raise ValueError(f"variants {other!r} and {name!r} are the same configuration: leave one out.")
                found.append(Member(name, seed, made, Place.of(made, self.runs_folder)))
        return found

    def _facts(self, data: DataConfig) -> DataFacts:
        """Facts of the data, each looked at once."""
        if data not in self._known:
            self._known[data] = facts_of(data, self.given)
        return self._known[data]

    def of(self: Own, train: HierarchicalDataset, test: HierarchicalDataset) -> Own:
        """Gives the study data sets of your own, which no ``data`` names; and gives the study itself.

        Raises:
            ValueError: the settings name data, or those that a saved study was made for were others.
        """
        named = [name for name, settings in self.variants.items() if "data.name" in settings]
        if named:
            raise ValueError(f"variant {named[0]!r} names its data: leave out data=, or the data sets.")
        fingerprints = [Facts.of(part).fingerprint for part in (train, test)]
        if self._expected and fingerprints != self._expected:
            raise ValueError(f"{self.name} was made for other data sets than these.")
        self.given, self._known = (train, test), {}
        return self

    def missing(self) -> list[Member]:
        """The runs that are not done."""
        return [member for member in self.members() if member.place.state != DONE]

    def failed(self) -> list[Member]:
        """The runs whose last attempt failed."""
        return [member for member in self.members() if member.place.state == FAILED]

    def member(self, variant: str, seed: int = 0) -> Member:
        """The run of a variant and a seed.

        Raises:
            ValueError: there is none.
        """
        for member in self.members():
            if (member.variant, member.seed) == (variant, seed):
                return member
        names = ", ".join(self.variants)
        raise ValueError(f"no run {variant!r}, seed {seed}: the variants are {names}; the seeds {self.seeds}.")

    def changed(self: Own, name: str | None = None, **settings: Any) -> Own:
        """The same study with other settings in every variant: longer, with another encoder, judged otherwise. Variants
        that are not trained, ``epochs=0``, stay so.

        Args:
            name: by default that of the study with the settings after it.
            settings: as in ``base``; names with a dot as ``**{"fit.lr": 0.01}``.

        Raises:
            ValueError: a setting that is not known, one that variants differ in or that the grid tries, or other data
                for a study of data sets of your own.

        Example:
            >>> study = hiercl.Study.ready("labels").changed(epochs=100, encoder="resnet18")
        """
        changed = {}
        for variant, own in self.tried.items():
            new = canonical(settings, own["method.name"])
            if tried := new.keys() & canonical(self.grid, own["method.name"]).keys():
                raise ValueError(f"{self.name} tries {min(tried)} at every point of its grid: change the grid.")
            if "data.name" in new and (self.given or self._expected):
                raise ValueError(f"{self.name} is of data sets of your own: make a study with data= in its base.")
            if own.get("fit.epochs") == 0:  # what is not trained has no training that could be longer
                new.pop("fit.epochs", None)
            for setting in new:
                values = {repr(other.get(setting)) for other in self.tried.values()}
                if len(values - {"0"} if setting == "fit.epochs" else values) > 1:
                    raise ValueError(f"variants of {self.name} differ in {setting}: change that in a file of your own.")
            changed[variant] = own | new
        words = "".join(f"-{key}={in_words(value)}" for key, value in settings.items())
        own_name = f"{self.name}{words}".replace("/", "-").replace(" ", "-") if name is None else name
        study = type(self)(
            {}, changed, self.seeds, own_name, self.out, False, self.baselines, self.question, self.metrics, self.grid
        )
        study.given, study._expected = self.given, self._expected
        return study

    # ---- on disk ----

    def save(self) -> Path:
        """Writes ``out/NAME.json``: what was asked, so that :meth:`load` gives the study back. Of functions only the
        names are written: a study of functions of your own is made again by the code that made it.

        Raises:
            FileExistsError: another study of this name is there, with other variants.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{self.name}.json"
        given = self._expected if self.given is None else [Facts.of(part).fingerprint for part in self.given]
        content = {
            "name": self.name,
            "question": self.question,
            "variants": self._plain_variants(),
            "seeds": list(self.seeds),
            "baseline": self.baselines,
            "metrics": list(self.metrics),
            "grid": self.grid,
            "given": given,
            "saved": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        files.write(path, content)
        return path

    def _plain_variants(self) -> dict[str, dict[str, Any]]:
        return {
            name: {k: list(v) if isinstance(v, tuple) else in_words(v) for k, v in settings.items()}
            for name, settings in self.tried.items()
        }

    @classmethod
    def load(
        cls: type[Own], path: str | Path, out: str | Path | None = None, seeds: int | Sequence[int] | None = None
    ) -> Own:
        """A study from its JSON file, as :meth:`save` wrote it or by your own hand.

        The file has ``variants`` (names and settings, beside those of ``base``) or ``vary`` (settings and lists of
        values), and maybe ``base``, ``seeds``, ``baseline``, ``question``, ``metrics``, ``grid``, ``one_at_a_time`` and
        ``name``.

        Args:
            path: of the file.
            out: folder of studies and runs; by default that of the file.
            seeds: in place of those of the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no JSON, or has neither variants nor vary, or something that is not known.
        """
        content = files.read(Path(path))
        study = cls(
            content.get("base", {}),
            content.get("variants") or content.get("vary"),
            content.get("seeds", 5) if seeds is None else seeds,
            content.get("name", Path(path).stem),
            Path(path).parent if out is None else out,
            content.get("one_at_a_time", False),
            content.get("baseline"),
            content.get("question", ""),
            content.get("metrics", SHOWN),
            content.get("grid"),
        )
        study._expected = content.get("given")
        return study

    @classmethod
    def ready(
        cls: type[Own], name: str, out: str | Path = "runs/studies", seeds: int | Sequence[int] | None = None
    ) -> Own:
        """A study that comes with the package: one of :func:`hiercl.study.ready_names`.

        Raises:
            ValueError: an unknown name.

        Example:
            >>> hiercl.Study.ready("hcsc-parts").run(dry=True)
        """
        return cls.load(files.ready_file(name), out, seeds)
