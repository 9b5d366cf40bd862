"""Study: a question, its variants, seeds, and an answer with error bars."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.runs import Run
from hiercl.study import files, outcome
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
from hiercl.study.estimate import Estimate, duration, estimate
from hiercl.study.outcome import SHOWN
from hiercl.study.running import BUSY, DONE, FAILED, Place, one
from hiercl.study.variants import in_words, over, variants


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


class Study:
    """A question turned into runs, a table and a picture.

    Every run is kept in a folder named by the hash of its complete configuration, under ``out/runs``. So a study can
    be stopped at any moment and go on, get more variants or seeds, and shares the runs that it has in common with other
    studies of the same ``out``.

    Args:
        base: settings of all variants, by name: ``method``, ``data`` (a name or a path), ``per_class`` and the other
            settings of :class:`~hiercl.study.DataConfig`, of the training, the views and the method, and of the
            evaluation (:class:`~hiercl.study.JudgedConfig`). A name may have its part before it: ``fit.lr``,
            ``views.crop``, ``method.temperature``, ``data.per_class``, ``judged.knn_k``.
        vary: settings and lists of their values (the full grid); or a list of variants, each a mapping of settings; or
            names and variants. In a variant of another method, settings that only the base's method has do not apply.
        seeds: how many, from 0 on, or which. A verdict needs five.
        name: of the study; by default one that its variants and its question make.
        out: folder of studies and runs.
        grid: settings and lists of values that every variant is tried with, the same for all: :meth:`best` says where
            each is best. What a comparison of methods needs before it begins.
        one_at_a_time: with settings and values: the base, and variants that differ from it in one setting each.
        baseline: name of the variant that the others are compared with, by default the first (with a grid the first
            point of each); or for every variant that is to be compared the name of its own.
        question: what it is to answer, in words, for the report.
        metrics: what its summary, page and plots show; names of :func:`hiercl.metrics.definitions`; ``linear_recall``
            and ``knn_recall``: for every coarsest class the mean recall of the leaves under it; ``tree_ami``: how a
            learned tree agrees with the true one (:func:`hiercl.metrics.tree_agreement`, in per cent); or, with label
            fractions, ``"1 % labels linear"`` and the like.

    Raises:
        ValueError: a setting that is not known (the message lists those that are), no variant, two of one name, a
            baseline that is no variant.

    Example:
        >>> study = hiercl.Study(
        ...     base={"method": "hcsc", "data": "cifar100", "per_class": 100, "epochs": 10},
        ...     vary={"select": ["none", "instances", "prototypes", "both"]},
        ...     seeds=5,
        ... )
        >>> study.run()
        >>> study.summary()
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
        self.seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds={seeds!r}: give how many, at least 1, or different whole numbers of at least 0.")
        self.baselines = self._baselines(baseline)
        asked = json.dumps([question, self._plain_variants()], sort_keys=True, default=repr)
        self.name = f"study-{hashlib.sha256(asked.encode()).hexdigest()[:8]}" if name is None else name
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"name={name!r}: it names files in {self.out}, so give a name without folders.")
        self.given: Splits | None = None
        self._expected: list[str] | None = None
        self._known: dict[DataConfig, DataFacts] = {}

    def _against(self, other: str | None) -> dict[str, str]:
        """Of every variant, what it is compared with."""
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

    def of(self, train: HierarchicalDataset, test: HierarchicalDataset) -> Study:
        """The study of data sets of your own, which no ``data`` names.

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

    def estimate(self, trial: bool = True) -> Estimate:
        """How long the missing runs would take, one after another: from runs that are there, else from a short trial.

        Nothing is trained but the trial; without it, kinds of run of which none is there yet count as the mean.
        """
        return estimate([member.configuration for member in self.missing()], self.runs_folder, self.given, trial)

    def run(
        self,
        train: HierarchicalDataset | None = None,
        test: HierarchicalDataset | None = None,
        n_jobs: int = 1,
        dry: bool = False,
        progress: bool = True,
        after_run: Callable[[Study], None] | None = None,
        after_epoch: Callable[[Run], None] | None = None,
    ) -> Study:
        """Trains and judges what is missing, and what has failed before; gives the study itself.

        A run that fails is marked and keeps its error; the others go on. Interrupting the kernel keeps what there is.

        Args:
            train, test: data sets of your own (:meth:`of`).
            n_jobs: runs at a time, one thread each. Inside ``joblib.parallel_config(backend="dask")`` (or "ray") they
                go to that cluster, whose machines must see the same ``out``, with one thread a worker.
            dry: only print what would be run and how long it would take.
            progress: whether to show a progress bar.
            after_run: is called with the study after every run.
            after_epoch: is called after every epoch, with ``n_jobs=1``; it may raise KeyboardInterrupt to stop.
        """
        if (train is None) != (test is None):
            raise ValueError("give both train and test, or neither.")
        if train is not None:
            self.of(train, test)
        missing = self.missing()
        if dry:
            print(self.estimate().describe(len(self.members()), [f"{m.variant}, seed {m.seed}" for m in missing]))
            return self
        self.save()
        bar = tqdm(total=len(missing), desc=self.name, unit="run", disable=not progress)
        states = []
        try:
            for state in self._made(missing, n_jobs, after_epoch):
                states.append(state)
                bar.update()
                counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
                left = self.estimate(trial=False).total / effective_n_jobs(n_jobs)
                bar.set_postfix_str(f"{counts}; about {duration(left)} left")
                if after_run:
                    after_run(self)
        except KeyboardInterrupt:
            print(f"Stopped: {len(self.missing())} of {len(self.members())} runs are missing; run() goes on from here.")
        except TerminatedWorkerError as error:
            print(f"A process of the study died, perhaps for want of memory ({error}): run() goes on from here.")
        finally:
            bar.close()
        if bad := self.failed():
            lines = [f"  {m.variant}, seed {m.seed}: {m.place.why}" for m in bad]
            print(f"{len(bad)} runs failed (each folder has the whole error):\n" + "\n".join(lines))
        return self

    def failed(self) -> list[Member]:
        """The runs whose last attempt failed."""
        return [member for member in self.members() if member.place.state == FAILED]

    def _made(self, missing: list[Member], n_jobs: int, after_epoch: Callable | None) -> Iterator[str]:
        """The states of runs as they end; those that another process makes just now come last."""
        if n_jobs != 1:
            work = (delayed(one)(m.configuration, self.runs_folder, self.given, True, 1) for m in missing)
            as_they_end = getattr(get_active_backend()[0], "supports_return_generator", False)  # Ray's cannot
            way = "generator_unordered" if as_they_end else "list"
            with warnings.catch_warnings():
                # joblib replaces a worker that has grown: nothing is lost by it, and there is nothing to do about it.
                warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
                yield from Parallel(n_jobs=n_jobs, return_as=way, batch_size=1)(work)
            return
        busy = []
        for member in missing:
            state = one(member.configuration, self.runs_folder, self.given, False, None, after_epoch)
            if state == BUSY:
                busy.append(member)
            else:
                yield state
        for member in busy:
            yield one(member.configuration, self.runs_folder, self.given, True, None, after_epoch)

    # ---- what came out ----

    def table(self) -> pd.DataFrame:
        """One row a run: variant, settings that differ, seed, state, seconds, and every number of its report.

        Numbers of a level have its name after theirs: ``"linear class"``. Runs that are not done have their state, and
        failed ones their error, alone.
        """
        return outcome.table(self)

    def summary(self, metrics: str | Sequence[str] | None = None, against: str | None = None) -> pd.DataFrame:
        """Per variant and number: mean, standard deviation, n, and the paired difference to the baseline.

        Args:
            metrics: names, by default those of the study.
            against: the variant that all others are compared with, in place of their own baselines.

        Returns:
            Columns ``variant``, ``metric``, ``level``, ``mean``, ``std``, ``n``, and against ``baseline`` over the
            seeds that both have: ``difference``, ``low``, ``high`` (95 % bootstrap interval), ``seeds``, ``verdict``.

        Raises:
            ValueError: a metric that no run has (the message lists those that are there), or no such variant.
        """
        metrics = self.metrics if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
        return outcome.summary(self, metrics, self._against(against))

    def best(self, metric: str | None = None) -> pd.DataFrame:
        """Of every variant the point of the ``grid`` where the mean of a number over levels and seeds is highest (or
        lowest, where that is better).

        Choose by items that were held out (``judged_on="held out"``), and compare on the test set afterwards.

        Args:
            metric: by default the first of the study's that its runs have.

        Returns:
            Columns ``variant``, the settings of the grid, ``metric``, ``seeds``, and ``points``: how many have
            runs that are done. Of equals the first.

        Raises:
            ValueError: the study has no grid, or no run has this number.
        """
        return outcome.best(self, self.metrics if metric is None else (metric,))

    def histories(self) -> pd.DataFrame:
        """The histories of all runs that have begun: variant, seed and the columns of ``run.history``."""
        return outcome.histories(self)

    def changed(self, name: str | None = None, **settings: Any) -> Study:
        """The same study with other settings in every variant: longer, with another encoder, judged otherwise. Variants
        that are not trained, ``epochs=0``, stay so.

        Args:
            name: by default that of the study with the settings after it.
            settings: as in ``base``; names with a dot as ``**{"fit.lr": 0.01}``.

        Raises:
            ValueError: a setting that is not known, or one that variants differ in.

        Example:
            >>> study = hiercl.Study.ready("labels").changed(epochs=100, encoder="resnet18")
        """
        changed = {}
        for variant, own in self.tried.items():
            new = canonical(settings, own["method.name"])
            if own.get("fit.epochs") == 0:  # what is not trained has no training that could be longer
                new.pop("fit.epochs", None)
            for setting in new:
                values = {repr(other.get(setting)) for other in self.tried.values()}
                if len(values - {"0"} if setting == "fit.epochs" else values) > 1:
                    raise ValueError(f"variants of {self.name} differ in {setting}: change that in a file of your own.")
            changed[variant] = own | new
        words = "".join(f"-{key}={in_words(value)}" for key, value in settings.items())
        own_name = f"{self.name}{words}".replace("/", "-").replace(" ", "-") if name is None else name
        study = Study(
            {}, changed, self.seeds, own_name, self.out, False, self.baselines, self.question, self.metrics, self.grid
        )
        study.given, study._expected = self.given, self._expected
        return study

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

    def plot(self, metric: str | None = None, against: str | None = None) -> Any:
        """Effects with intervals at every level, learning curves, accuracy against time (:func:`hiercl.plot.study`).

        Args:
            metric: by default the first of the study.
            against: the variant that all others are compared with, in place of their own baselines.
        """
        from hiercl import plot

        metric, baselines = self.metrics[0] if metric is None else metric, self._against(against)
        return plot.study(self.summary(metric, against), self.table(), self.histories(), metric, baselines, self.name)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained page: question, protocol, tables, figures, every configuration; beside it the table
        of all runs as CSV.

        Args:
            path: of the page, ``out/NAME.html`` by default; one that ends in ``.md`` has one picture beside it
                (none of a grid), no single runs, and of the configurations what variants differ in.

        Raises:
            ValueError: no run is done yet, or the path ends otherwise.
        """
        from hiercl.study.page import write_page

        return write_page(self, Path(path) if path else self.out / f"{self.name}.html")

    # ---- on disk ----

    def save(self) -> Path:
        """Writes ``out/NAME.json``: what was asked, so that :meth:`load` gives the study back.

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
    def load(cls, path: str | Path, out: str | Path | None = None, seeds: int | Sequence[int] | None = None) -> Study:
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
    def ready(cls, name: str, out: str | Path = "runs/studies", seeds: int | Sequence[int] | None = None) -> Study:
        """A study that comes with the package: one of :func:`hiercl.study.ready_names`.

        Raises:
            ValueError: an unknown name.

        Example:
            >>> hiercl.Study.ready("hcsc-parts").run(dry=True)
        """
        return cls.load(files.ready_file(name), out, seeds)

    def __repr__(self) -> str:
        done = len(list(self.runs_folder.glob("*/report-*")))
        size = f"{len(self.variants)} variants x {len(self.seeds)} seeds"
        return f"Study({self.name!r}: {size}; {done} reports in {self.out})"
