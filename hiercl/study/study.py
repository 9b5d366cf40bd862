"""Study: a question, its variants, seeds, and an answer with error bars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.study import outcome
from hiercl.study.estimate import Estimate, duration, estimate
from hiercl.study.page import write_page
from hiercl.study.plan import Member, Plan
from hiercl.study.running import BUSY, one
from hiercl.training import Run


class Study(Plan):
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
            n_jobs: runs at a time. One has all threads; several have one thread each, and inside
                ``joblib.parallel_config(backend="dask")`` (or "ray") go to that cluster, whose machines must see the
                same ``out``.
            dry: only print what would be run and how long it would take.
            progress: whether to show a progress bar.
            after_run: is called with the study after every run.
            after_epoch: is called after every epoch, with ``n_jobs=1``; it may raise KeyboardInterrupt to stop.

        Raises:
            ValueError: one of train and test without the other, or what :meth:`of` or :meth:`members` raise.
            FileExistsError: another study of this name is in ``out``, with other variants.
        """
        if (train is None) != (test is None):
            raise ValueError("give both train and test, or neither.")
        if train is not None:
            self.of(train, test)
        missing = self.missing()
        if dry:
            expected = estimate([m.configuration for m in missing], self.runs_folder, self.given)
            print(expected.describe(len(self.members()), [f"{m.variant}, seed {m.seed}" for m in missing]))
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

    def _made(self, missing: list[Member], n_jobs: int, after_epoch: Callable | None) -> Iterator[str]:
        """The states of runs as they end. Of one at a time, those that another process makes just now come last."""
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
        return outcome.summary(self, metrics, against)

    def best(self, metric: str | None = None) -> pd.DataFrame:
        """Of every variant the point of the ``grid`` where the mean of a number over levels and seeds is highest (or
        lowest, where that is better).

        Choose by items that were held out (``judged_on="held out"``), and compare on the test set afterwards.

        Args:
            metric: by default the first of the study's that its runs have.

        Returns:
            Columns ``variant``, the settings of the grid, the mean under the metric's name, ``seeds``, and ``points``:
            how many have runs that are done. Of equals the first.

        Raises:
            ValueError: the study has no grid, or no run has this number.
        """
        return outcome.best(self, metric)

    def histories(self) -> pd.DataFrame:
        """The histories of all runs that have begun: variant, seed and the columns of ``run.history``."""
        return outcome.histories(self)

    def plot(self, metric: str | None = None, against: str | None = None) -> Any:
        """Effects with intervals at every level, learning curves, accuracy against time (:func:`hiercl.plot.study`).

        Args:
            metric: by default the first of the study's that its runs have.
            against: the variant that all others are compared with, in place of their own baselines.

        Raises:
            ValueError: a metric that no run has, no run is done yet, or no such variant.
        """
        from hiercl import plot

        summary = self.summary(metric, against)
        metric = outcome.first(summary, self.metrics) if metric is None else metric
        return plot.study(summary, self.table(), self.histories(), metric, self.against(against), self.name)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained page: question, protocol, tables, figures, every configuration; beside it the table
        of all runs as CSV.

        Args:
            path: of the page, ``out/NAME.html`` by default; one that ends in ``.md`` has one picture beside it, no
                single runs, and of the configurations what variants differ in. A grid has too many points for pictures,
                and a table of the best instead.

        Raises:
            ValueError: no run is done yet, or the path ends otherwise.
        """
        return write_page(self, Path(path) if path else self.out / f"{self.name}.html")

    def __repr__(self) -> str:
        return f"Study({self.name!r}: {len(self.variants)} variants x {len(self.seeds)} seeds, in {self.out})"
