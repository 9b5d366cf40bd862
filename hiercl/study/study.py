"""Study: a question, its variants, seeds, and an answer with error bars."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.metrics import definitions
from hiercl.report import Report
from hiercl.runs import Run
from hiercl.settings import unknown
from hiercl.study.configurations import Configuration, Splits, configuration, splits, trained_on, variants
from hiercl.study.effects import effect
from hiercl.study.estimate import Estimate, duration, estimate
from hiercl.study.running import BUSY, DONE, FAILED, Place, cost, history_of, one

READY = Path(__file__).parent / "ready"
SHOWN = ("linear", "knn", "ami", "hierarchical_f1", "mistake_height")  # of every level, in a summary


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
            names and variants.
        seeds: how many, from 0 on, or which. A verdict needs five.
        name: of the study.
        out: folder of studies and runs.
        one_at_a_time: with settings and values: the base, and variants that differ from it in one setting each.
        baseline: name of the variant that the others are compared with; by default the first.
        question: what it is to answer, in words, for the report.

    Raises:
        ValueError: a setting that is not known (the message lists those that are), a value that does not fit, no
            variant, or two alike.

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
        name: str = "study",
        out: str | Path = "runs/studies",
        one_at_a_time: bool = False,
        baseline: str | None = None,
        question: str = "",
    ):
        self.base, self.name, self.out, self.question = dict(base), name, Path(out), question
        self.variants = variants(base, vary, one_at_a_time)
        self.seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds={seeds!r}: give how many, at least 1, or different whole numbers of at least 0.")
        self.baseline = next(iter(self.variants)) if baseline is None else baseline
        if self.baseline not in self.variants:
            raise ValueError(f"baseline={baseline!r} is no variant: they are {', '.join(self.variants)}.")
        self.given: Splits | None = None

    # ---- its runs ----

    @property
    def runs_folder(self) -> Path:
        return self.out / "runs"

    def members(self) -> list[Member]:
        """All runs, every variant of a seed before the next seed: a study that was stopped has whole seeds.

        Raises:
            ValueError: a setting of a variant is not known, or does not fit; the message says of which variant.
        """
        return [self._member(name, settings, seed) for seed in self.seeds for name, settings in self.variants.items()]

    def _member(self, name: str, settings: Mapping[str, Any], seed: int) -> Member:
        try:
            made = configuration(settings, seed, self.given)
        except ValueError as error:
            raise ValueError(f"variant {name!r}: {error}") from error
        return Member(name, seed, made, Place.of(made, self.runs_folder))

    def of(self, train: HierarchicalDataset, test: HierarchicalDataset) -> Study:
        """The study of data sets of your own, in place of those that ``data`` names."""
        self.given = (train, test)
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
            train, test: data sets, in place of those that ``data`` names.
            n_jobs: runs at a time, one thread each. Inside ``joblib.parallel_config(backend="dask")`` (or "ray") they
                go to that cluster, whose machines must see the same ``out``.
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
                left = self.estimate(trial=False).total / max(1, n_jobs)
                bar.set_postfix_str(f"{counts}; about {duration(left)} left")
                if after_run:
                    after_run(self)
        except KeyboardInterrupt:
            print(f"Stopped: {len(self.missing())} of {len(self.members())} runs are missing; run() goes on from here.")
        finally:
            bar.close()
        if FAILED in states:
            bad = [m for m in missing if m.place.state == FAILED]
            lines = [f"  {m.variant}, seed {m.seed}: {m.place.error}" for m in bad]
            print(f"{len(bad)} runs failed (each folder has error.txt):\n" + "\n".join(lines))
        return self

    def _made(self, missing: list[Member], n_jobs: int, after_epoch: Callable | None) -> Iterator[str]:
        """The states of runs as they end; those that another process makes just now come last."""
        if n_jobs == 1:
            first = (one(m.configuration, self.runs_folder, self.given, False, None, after_epoch) for m in missing)
            busy = []
            for member, state in zip(missing, first, strict=True):
                if state == BUSY:
                    busy.append(member)
                else:
                    yield state
            for member in busy:
                yield one(member.configuration, self.runs_folder, self.given, True, None, after_epoch)
            return
        work = (delayed(one)(m.configuration, self.runs_folder, self.given, True, 1) for m in missing)
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(work)

    # ---- what came out ----

    def table(self) -> pd.DataFrame:
        """One row a run: variant, settings that differ, seed, state, seconds, and every number of its report.

        Columns of a level are called ``"linear class"``; runs that are not done have their state alone.
        """
        return pd.DataFrame([self._row(member) for member in self.members()])

    def _row(self, member: Member) -> dict[str, Any]:
        row = {"variant": member.variant, **self._changes(member.variant), "seed": member.seed}
        row |= {"state": member.place.state, "run": member.place.folder.name}
        if row["state"] == FAILED:
            row["error"] = member.place.error
        if row["state"] == DONE:
            row |= cost(member.place) | numbers(Report.load(member.place.report))
        return row

    def _changes(self, variant: str) -> dict[str, Any]:
        """The settings in which variants differ, of this one."""
        every = {name for settings in self.variants.values() for name in settings}
        first = next(iter(self.variants.values()))
        differing = [n for n in every if any(s.get(n) != first.get(n) for s in self.variants.values())]
        return {name: _plain(self.variants[variant].get(name)) for name in sorted(differing)}

    def summary(self, metrics: Sequence[str] = SHOWN) -> pd.DataFrame:
        """Per variant and number: mean, standard deviation, n, and the paired difference to the baseline.

        Args:
            metrics: names of :func:`hiercl.metrics.definitions`, at every level; or of columns of the table.

        Returns:
            Columns ``variant``, ``number``, ``mean``, ``std``, ``n``, and against the baseline over the seeds that both
            have: ``difference``, ``low``, ``high`` (95 % bootstrap interval), ``seeds`` and ``verdict``.
        """
        table = self.table()
        done = table[table["state"] == DONE]
        columns = [c for c in table if c in metrics or (c.rpartition(" ")[0] or c) in metrics]
        rows = []
        for variant in self.variants:
            own = done[done["variant"] == variant].set_index("seed")
            base = done[done["variant"] == self.baseline].set_index("seed")
            for column in columns:
                values = own[column].dropna()
                row = {
                    "variant": variant,
                    "number": column,
                    "mean": values.mean(),
                    "std": values.std(),
                    "n": len(values),
                }
                both = values.index.intersection(base[column].dropna().index)
                if variant != self.baseline and len(both):
                    pair = base.loc[both, column].to_numpy(), values.loc[both].to_numpy()
                    found = effect(*pair, lower_is_better(column))
                    row |= {"difference": found.mean, "low": found.low, "high": found.high, "seeds": found.seeds}
                    row["verdict"] = found.verdict
                rows.append(row)
        return pd.DataFrame(rows)

    def histories(self) -> pd.DataFrame:
        """The histories of all runs that have begun: variant, seed and the columns of ``run.history``."""
        parts = []
        for member in self.members():
            history = history_of(member.place)
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
        raise ValueError(
            f"no run {variant!r}, seed {seed}: variants are {', '.join(self.variants)}; seeds {self.seeds}."
        )

    def plot(self, metric: str = "linear") -> Any:
        """Effects with intervals at every level, learning curves, accuracy against time (:func:`hiercl.plot.study`)."""
        from hiercl import plot

        return plot.study(self.summary((metric,)), self.table(), self.histories(), metric, self.baseline, self.name)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page: question, protocol, tables, figures, every configuration."""
        from hiercl.study.page import write_page

        return write_page(self, Path(path) if path else self.out / f"{self.name}.html")

    # ---- on disk ----

    def save(self) -> Path:
        """Writes ``out/NAME.json``: what was asked, so that :meth:`load` gives the study back."""
        self.out.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "question": self.question,
            "variants": {name: {k: _plain(v) for k, v in settings.items()} for name, settings in self.variants.items()},
            "seeds": list(self.seeds),
            "baseline": self.baseline,
            "saved": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        path = self.out / f"{self.name}.json"
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        temporary.write_text(json.dumps(content, indent=1, default=repr))
        temporary.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path, out: str | Path | None = None, seeds: int | Sequence[int] | None = None) -> Study:
        """A study from its JSON file, as :meth:`save` wrote it or by your own hand.

        The file has ``variants`` (names and settings, beside those of ``base``) or ``vary`` (settings and lists of
        values), and maybe ``base``, ``seeds``, ``baseline``, ``question``, ``one_at_a_time`` and ``name``.

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
        known = ("variants", "vary", "base", "seeds", "baseline", "question", "one_at_a_time", "name", "saved")
        for name in content:
            if name not in known:
                raise unknown(f"part of {path}", name, known)
        if ("variants" in content) == ("vary" in content):
            raise ValueError(f"{path} needs variants, names and settings, or vary, settings and lists of values.")
        return cls(
            content.get("base", {}),
            content.get("variants") or content.get("vary"),
            content.get("seeds", 5) if seeds is None else seeds,
            content.get("name", path.stem),
            path.parent if out is None else out,
            content.get("one_at_a_time", False),
            content.get("baseline"),
            content.get("question", ""),
        )

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
        states = [member.place.state for member in self.members()]
        return (
            f"Study({self.name!r}: {len(self.variants)} variants x {len(self.seeds)} seeds, {states.count(DONE)} done)"
        )


def ready_names() -> tuple[str, ...]:
    """The studies that come with the package."""
    return tuple(sorted(path.stem for path in READY.glob("*.json")))


def numbers(report: Report) -> dict[str, float]:
    """Every number of a report, by name and level: ``"linear class"``; with few labels ``"linear 1 % class"``."""
    found = {
        f"{name} {row['level']}": value
        for row in report.rows
        for name, value in row.items()
        if name not in ("level", "classes")
    }
    if report.few_labels is not None:
        for row in report.few_labels.to_dict("records"):
            found[f"{row['way']} {100 * row['fraction']:g} % {row['level']}"] = row["accuracy"]
    return found | report.overall


def lower_is_better(column: str) -> bool:
    """Of a column of the table."""
    name = column.rpartition(" ")[0] or column
    known = definitions()
    if name not in known.index:
        return "seconds" in column
    return known.loc[name, "better"] == "lower"


def _plain(value: Any) -> Any:
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return list(value) if isinstance(value, tuple) else value
