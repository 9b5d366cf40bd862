"""Study: a question, its variants, seeds, and an answer with error bars."""

from __future__ import annotations

import hashlib
import json
import os
import time
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
from hiercl.metrics import definitions
from hiercl.report import Report
from hiercl.runs import Run
from hiercl.settings import unknown
from hiercl.study.configurations import (
    Configuration,
    DataConfig,
    Facts,
    Splits,
    configuration,
    facts_of,
    splits,
    trained_on,
)
from hiercl.study.effects import effect
from hiercl.study.estimate import Estimate, duration, estimate
from hiercl.study.running import BUSY, DONE, FAILED, Place, cost, history_of, one
from hiercl.study.variants import variants

READY = Path(__file__).parent / "ready"
SHOWN = ("linear", "knn", "ami", "hierarchical_f1", "mistake_height")
PARTS = (
    "variants",
    "vary",
    "base",
    "seeds",
    "baseline",
    "question",
    "one_at_a_time",
    "name",
    "metrics",
    "given",
    "saved",
)


@dataclass(frozen=True)
class Member:
    """One run of a study: a variant with a seed."""

    variant: str
    seed: int
    configuration: Configuration
    place: Place

    def train(self, given: Splits | None = None) -> HierarchicalDataset:
        """What it is trained on, as the method sees it."""
        return trained_on(self.configuration.data, splits(self.configuration.data, given)[0])

    def test(self, given: Splits | None = None) -> HierarchicalDataset:
        """What it is judged by."""
        return splits(self.configuration.data, given)[1]


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
        one_at_a_time: with settings and values: the base, and variants that differ from it in one setting each.
        baseline: name of the variant that the others are compared with, by default the first; or for every variant
            that is to be compared the name of its own.
        question: what it is to answer, in words, for the report.
        metrics: what its summary, page and plots show; names of :func:`hiercl.metrics.definitions`, or, with label
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
    ):
        self.question, self.metrics, self.out = question, tuple(metrics), Path(out).expanduser().resolve()
        self.variants = variants(base, vary, one_at_a_time)
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
        self._known: dict[DataConfig, tuple[Facts, Facts]] = {}

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

    def _facts(self, data: DataConfig) -> tuple[Facts, Facts]:
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
        return pd.DataFrame([self._row(member) for member in self.members()])

    def _row(self, member: Member) -> dict[str, Any]:
        row = {"variant": member.variant, **self._changes(member.variant), "seed": member.seed}
        row |= {"state": member.place.state, "run": member.place.folder.name}
        if row["state"] == FAILED:
            row["error"] = member.place.why
        if row["state"] == DONE:
            row |= cost(member.place)
            row |= {" ".join(filter(None, key)): value for key, value in numbers(member.place).items()}
        return row

    def _changes(self, variant: str) -> dict[str, Any]:
        """The settings in which variants differ, of this one, by their short names."""
        every = {name for settings in self.variants.values() for name in settings}
        first = next(iter(self.variants.values()))
        differing = [n for n in sorted(every) if any(s.get(n) != first.get(n) for s in self.variants.values())]
        short = {"data.name": "data", "method.name": "method"}
        own = self.variants[variant]
        return {short.get(name, name.partition(".")[2]): _plain(own.get(name)) for name in differing}

    def summary(self, metrics: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Per variant and number: mean, standard deviation, n, and the paired difference to the baseline.

        Args:
            metrics: names, by default those of the study.

        Returns:
            Columns ``variant``, ``metric``, ``level``, ``mean``, ``std``, ``n``, and against ``baseline`` over the
            seeds that both have: ``difference``, ``low``, ``high`` (95 % bootstrap interval), ``seeds``, ``verdict``.

        Raises:
            ValueError: a metric that no run has (the message lists those that are there).
        """
        metrics = self.metrics if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
        found = {(m.variant, m.seed): numbers(m.place) for m in self.members() if m.place.state == DONE}
        keys = list(dict.fromkeys(key for values in found.values() for key in values))
        names = dict.fromkeys(metric for metric, _ in keys)
        if found:
            for metric in metrics:
                if metric not in names and metric not in SHOWN:  # which data without labels have not
                    raise unknown("metric", metric, names)
        rows = [
            self._summary_row(variant, key, found) for variant in self.variants for key in keys if key[0] in metrics
        ]
        columns = ["variant", "metric", "level", "mean", "std", "n", "baseline"]
        return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "seeds", "verdict"])

    def _summary_row(self, variant: str, key: tuple[str, str], found: Mapping) -> dict[str, Any]:
        def values(name: str | None) -> pd.Series:
            return pd.Series(
                {s: found[name, s].get(key) for s in self.seeds if (name, s) in found}, dtype=float
            ).dropna()

        own = values(variant)
        row = {
            "variant": variant,
            "metric": key[0],
            "level": key[1],
            "mean": own.mean(),
            "std": own.std(),
            "n": len(own),
        }
        base = values(self.baselines.get(variant))
        both = own.index.intersection(base.index)
        if len(both):
            way = definitions()["better"].get(key[0], "higher")
            result = effect(base[both].to_numpy(), own[both].to_numpy(), way)
            row |= {"baseline": self.baselines[variant], "difference": result.mean, "low": result.low}
            row |= {"high": result.high, "seeds": result.seeds, "verdict": result.verdict}
        return row

    def histories(self) -> pd.DataFrame:
        """The histories of all runs that have begun: variant, seed and the columns of ``run.history``."""
        parts = []
        for member in self.members():
            history = history_of(member.place.folder)
            if len(history):
                parts.append(history.assign(variant=member.variant, seed=member.seed))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["variant", "seed", "epoch"])

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

    def plot(self, metric: str | None = None) -> Any:
        """Effects with intervals at every level, learning curves, accuracy against time (:func:`hiercl.plot.study`)."""
        from hiercl import plot

        metric = self.metrics[0] if metric is None else metric
        return plot.study(self.summary(metric), self.table(), self.histories(), metric, self.baselines, self.name)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page: question, protocol, tables, figures, every configuration."""
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
            "given": given,
            "saved": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        if path.exists():
            there = json.loads(path.read_text())
            both = there.get("variants", {}).keys() & content["variants"].keys()
            if not both or any(there["variants"][name] != content["variants"][name] for name in both):
                raise FileExistsError(
                    f"{path} is another study of this name, with other variants: choose another name=."
                )
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        temporary.write_text(json.dumps(content, indent=1, default=repr))
        temporary.replace(path)
        return path

    def _plain_variants(self) -> dict[str, dict[str, Any]]:
        return {
            name: {k: list(v) if isinstance(v, tuple) else _plain(v) for k, v in settings.items()}
            for name, settings in self.variants.items()
        }

    @classmethod
    def load(cls, path: str | Path, out: str | Path | None = None, seeds: int | Sequence[int] | None = None) -> Study:
        """A study from its JSON file, as :meth:`save` wrote it or by your own hand.

        The file has ``variants`` (names and settings, beside those of ``base``) or ``vary`` (settings and lists of
        values), and maybe ``base``, ``seeds``, ``baseline``, ``question``, ``metrics``, ``one_at_a_time`` and ``name``.

        Args:
            path: of the file.
            out: folder of studies and runs; by default that of the file.
            seeds: in place of those of the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no JSON, or has neither variants nor vary, or something that is not known.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no JSON: {error}.") from error
        for name in content:
            if name not in PARTS:
                raise unknown(f"part of {path}", name, PARTS)
        if ("variants" in content) == ("vary" in content):
            raise ValueError(f"{path} needs variants, names and settings, or vary, settings and lists of values.")
        study = cls(
            content.get("base", {}),
            content.get("variants") or content.get("vary"),
            content.get("seeds", 5) if seeds is None else seeds,
            content.get("name", path.stem),
            path.parent if out is None else out,
            content.get("one_at_a_time", False),
            content.get("baseline"),
            content.get("question", ""),
            content.get("metrics", SHOWN),
        )
        study._expected = content.get("given")
        return study

    @classmethod
    def ready(cls, name: str, out: str | Path = "runs/studies", seeds: int | Sequence[int] | None = None) -> Study:
        """A study that comes with the package: one of :func:`ready_names`.

        Raises:
            ValueError: an unknown name.

        Example:
            >>> hiercl.Study.ready("hcsc-parts").run(dry=True)
        """
        if name not in ready_names():
            raise unknown("ready-made study", name, ready_names())
        return cls.load(READY / f"{name}.json", out, seeds)

    def __repr__(self) -> str:
        done = len(list(self.runs_folder.glob("*/report-*")))
        size = f"{len(self.variants)} variants x {len(self.seeds)} seeds"
        return f"Study({self.name!r}: {size}; {done} reports in {self.out})"


def ready_names() -> tuple[str, ...]:
    """The studies that come with the package."""
    return tuple(sorted(path.stem for path in READY.glob("*.json")))


def numbers(place: Place) -> dict[tuple[str, str], float]:
    """Every number of a report, by metric and level; the level is empty where there is none."""
    report = Report.load(place.report)
    found = {
        (name, row["level"]): value
        for row in report.rows
        for name, value in row.items()
        if name not in ("level", "classes")
    }
    if report.few_labels is not None:
        for row in report.few_labels.to_dict("records"):
            found[f"{100 * row['fraction']:g} % labels {row['way']}", row["level"]] = row["accuracy"]
    return found | {(name, ""): value for name, value in report.overall.items()}


def _plain(value: Any) -> Any:
    """A setting as it stands in a table or a file."""
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value
