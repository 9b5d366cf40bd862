"""Study: a question, its variants and seeds, and an answer with error bars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend

from hiercl.datasets import HierarchicalDataset
from hiercl.runtime.given import given_path, whole_number
from hiercl.runtime.progress import progress_bar
from hiercl.study.estimate import Estimate, duration, estimate
from hiercl.study.outcome import Outcome
from hiercl.study.page import write_page
from hiercl.study.plan import Member
from hiercl.study.running import BUSY, make_run
from hiercl.training import Run


class Study(Outcome):
    """A question that becomes runs, a table and a picture.

    Every run lies in a folder under ``out/runs``, named by the hash of its complete configuration. So a study can be
    stopped at any moment and go on later, can get more variants or seeds, and shares runs with other studies of the
    same ``out``.

    Args:
        base: settings of all variants, by name: ``method``, ``data`` (a name or a path), ``per_class`` and the other
            settings of :class:`~hiercl.study.DataConfig`, of the training, the views and the method, and of the
            evaluation (:class:`~hiercl.study.EvaluateConfig`). A name may have its group before it: ``fit.lr``,
            ``views.crop``, ``method.temperature``, ``data.per_class``, ``judged.knn_k``.
        vary: settings with a list of values each (the full grid); or a list of variants, each a mapping of settings; or
            a mapping from names to variants. In a variant of another method, settings that only the base's method has
            do not apply.
        seeds: number of seeds, counted from 0, or the seeds themselves. A verdict needs five.
        name: name of the study; by default a hash of its variants and its question.
        out: folder of studies and runs.
        one_at_a_time: whether the settings of ``vary`` vary one at a time around the base.
        baseline: name of the variant that the others are compared with, by default the first (with a grid: the first
            point of each variant); or a mapping from variants to their baselines.
        question: the question, for the page.
        metrics: metrics of the summary, the page and the plots: names of :func:`hiercl.metrics.definitions`;
            ``linear_recall`` and ``knn_recall``, the mean recall of the leaves under each coarsest class; ``tree_ami``,
            the agreement of a learned tree with the true one (:func:`hiercl.metrics.tree_agreement`, in per cent); or,
            with label fractions, ``"1 % labels linear"`` and the like.
        grid: settings with a list of values each. Every variant is tried at every point, and :meth:`best` says where
            each is best. Methods need this before they are compared.

    Raises:
        ValueError: an unknown setting (the message lists the known ones), no variant, two variants of one name, or a
            baseline that is not a variant.

    Example:
        >>> hiercl.Study(
        ...     base={"method": "hcsc", "data": "cifar100", "per_class": 100, "epochs": 10},
        ...     vary={"select": ["none", "instances", "prototypes", "both"]},
        ...     seeds=5,
        ...     name="selection",
        ... )
        Study('selection': 4 variants x 5 seeds, in ...runs/studies)
    """

    interrupted = False  # whether an interrupt has ended the last run()

    def estimate(self, trial: bool = True) -> Estimate:
        """Estimates how long the missing runs take, one after another.

        Args:
            trial: whether to measure kinds of run that do not exist yet by a short trial. Without it they count as the
                median of the others.

        Example:
            >>> study.estimate().total
            0.0
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
        """Trains and judges the runs that are missing or have failed before, and returns the study.

        A run that fails keeps its error, and the others go on. An interrupt keeps what is done so far, and
        ``study.interrupted`` says so.

        Args:
            train: a training set of your own (:meth:`of`).
            test: a test set of your own.
            n_jobs: number of runs at a time. A single run uses all threads; several use one thread each, and the last
                bits of their numbers are others: results are bit for bit the same for equal numbers of threads only,
                which the page and the report of a run name. Inside
                ``joblib.parallel_config(backend="dask")`` (or "ray") they go to that cluster, whose machines must see
                the same ``out``.
            dry: whether to print only what would be run and how long it would take.
            progress: whether to show a progress bar.
            after_run: is called with the study after every run.
            after_epoch: is called with the run after every epoch, with ``n_jobs=1``. It may raise KeyboardInterrupt to
                stop.

        Raises:
            ValueError: train without test or test without train, or an error of :meth:`of` or :meth:`members`.
            FileExistsError: a study of this name exists in ``out`` with other variants.
            DiskFullError: there is no room in ``out``. What is done stays, and ``run()`` goes on from there.

        Example:
            >>> base = {"method": "moco", "epochs": 1, "batch": 32}
            >>> own = hiercl.Study(base, [{"temperature": 0.2}], seeds=1).run(train, test, progress=False)
            >>> own.table()["state"].tolist()
            ['done']
        """
        if (train is None) != (test is None):
            raise ValueError("give both train and test, or neither.")
        if whole_number(n_jobs, "n_jobs") == 0:
            raise ValueError("n_jobs=0: give the number of runs at a time, or -1 for one on every core.")
        for name, function in (("after_run", after_run), ("after_epoch", after_epoch)):
            if function is not None and not callable(function):
                raise ValueError(f"{name}={function!r:.80}: give a function.")
        if train is not None and test is not None:
            self.of(train, test)
        missing = self.missing()
        if dry:
            names = [f"{member.variant}, seed {member.seed}" for member in missing]
            print(self.estimate().describe(len(self.members()), names))
            return self
        self.save()
        bar = progress_bar(total=len(missing), desc=self.name, unit="run", shown=progress)
        states, self.interrupted = [], False
        try:
            for state in self._states(missing, n_jobs, after_epoch):
                states.append(state)
                bar.update()
                counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
                left = self.estimate(trial=False).total / effective_n_jobs(n_jobs)
                bar.set_postfix_str(f"{counts}; about {duration(left)} left")
                if after_run:
                    after_run(self)
        except KeyboardInterrupt:
            self.interrupted = True
            print(f"Stopped: {len(self.missing())} of {len(self.members())} runs are missing; run() goes on from here.")
        except TerminatedWorkerError as error:
            print(f"A process of the study died, perhaps for lack of memory ({error}): run() goes on from here.")
        finally:
            bar.close()
        if failed := self.failed():
            lines = [f"  {m.variant}, seed {m.seed}: {m.place.why}" for m in failed]
            print(f"{len(failed)} runs failed (each folder has the whole error):\n" + "\n".join(lines))
        return self

    def _states(self, missing: list[Member], n_jobs: int, after_epoch: Callable | None) -> Iterator[str]:
        """Makes the runs, and yields their states as they end."""
        if n_jobs != 1:
            work = (delayed(make_run)(m.configuration, self.runs_folder, self.given, True, 1) for m in missing)
            as_they_end = getattr(get_active_backend()[0], "supports_return_generator", False)  # not with Ray
            with warnings.catch_warnings():
                # joblib replaces a worker that has grown. Nothing is lost, and nothing can be done about it.
                warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
                order = "generator_unordered" if as_they_end else "list"
                yield from Parallel(n_jobs=n_jobs, return_as=order, batch_size=1)(work)
            return
        queue = [(member, False) for member in missing]
        for member, wait in queue:
            state = make_run(member.configuration, self.runs_folder, self.given, wait, after_epoch=after_epoch)
            if state == BUSY:  # another process makes this run: it comes last
                queue.append((member, True))
            else:
                yield state

    def plot(self, metric: str | None = None, against: str | None = None) -> Any:
        """Plots effects with intervals at every level, learning curves, and accuracy against time.

        Args:
            metric: name of a metric, by default the first of the study's that its runs have.
            against: a variant that all others are compared with, in place of their own baselines.

        Returns:
            The figure of :func:`hiercl.plot.study`.

        Raises:
            ValueError: a metric that no run has, an unknown variant, or no run is done yet.

        Example:
            >>> figure = study.plot("knn")
        """
        from hiercl import plot

        summary = self.summary(metric, against)
        metric = self.first_metric(summary) if metric is None else metric
        return plot.study(summary, self.table(), self.histories(), metric, self.against(against), self.name)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one page with question, protocol, tables, figures and all configurations, and returns its path.

        The table of all runs lies beside the page as CSV. A page in Markdown has one picture beside it, no single runs,
        and only the settings in which variants differ. A study with a grid gets a table of the best points in place of
        pictures.

        Args:
            path: path of the page, .html or .md; by default ``out/NAME.html``.

        Raises:
            ValueError: no run is done yet, or the path has another ending.

        Example:
            >>> study.report("page.html").stat().st_size > 100_000
            True
        """
        return write_page(self, given_path(path, "path") if path else self.out / f"{self.name}.html")

    def __repr__(self) -> str:
        return f"Study({self.name!r}: {len(self.variants)} variants x {len(self.seeds)} seeds, in {self.out})"
