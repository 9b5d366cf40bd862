"""Outcome: the results of a study. Its table, its summary, and the best points of its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hiercl.evaluation import Report
from hiercl.metrics import definitions
from hiercl.runtime.errors import unknown
from hiercl.study.configurations import SHORT_NAMES
from hiercl.study.effects import effect
from hiercl.study.plan import Plan
from hiercl.study.running import DONE, FAILED, Place, history_of
from hiercl.study.variants import as_text

SUMMARY = "variant metric level mean std n baseline difference low high t_low t_high seeds verdict".split()


class Outcome(Plan):
    """The results of a :class:`~hiercl.Study`, as tables."""

    def table(self) -> pd.DataFrame:
        """Returns one row a run: variant, settings that differ, seed, state, seconds, and every number of its report.

        The name of a number is followed by its level: ``"linear class"``. A run that is not done has only its state,
        and a failed one its error.

        Example:
            >>> study.table()[["variant", "seed", "state"]].head(2)
                       variant  seed state
            0  temperature=0.1     0  done
            1  temperature=0.3     0  done
        """
        first, *others = self.variants.values()
        names = sorted({name for settings in self.variants.values() for name in settings})
        differing = [name for name in names if any(other.get(name) != first.get(name) for other in others)]
        short = {name: SHORT_NAMES.get(name, name.partition(".")[2]) for name in differing}
        rows = []
        for member in self.members():
            own = self.variants[member.variant]
            changes = {short[name]: as_text(own.get(name)) for name in differing}
            rows.append({"variant": member.variant, **changes, "seed": member.seed, **_results(member.place)})
        return pd.DataFrame(rows)

    def summary(self, metrics: str | Sequence[str] | None = None, against: str | None = None) -> pd.DataFrame:
        """Returns the mean of every number for every variant, and its paired difference to the baseline.

        Args:
            metrics: names of metrics, by default those of the study.
            against: a variant that all others are compared with, in place of their own baselines.

        Returns:
            Columns ``variant``, ``metric``, ``level``, ``mean``, ``std`` and ``n`` (number of seeds). Columns
            ``difference``, ``low``, ``high`` (95 % bootstrap interval), ``t_low``, ``t_high`` (Student's 95 %
            interval), ``seeds`` and ``verdict`` compare with ``baseline`` over the seeds that both have. The verdict is
            that of the bootstrap interval (:func:`hiercl.study.effect`).

        Raises:
            ValueError: a metric that no run has (the message lists those that exist), or an unknown variant.

        Example:
            >>> study.summary("knn")["verdict"].iloc[-1]
            'too few seeds (2 of 5)'
        """
        if not isinstance(metrics, str | list | tuple | None):
            raise ValueError(f"metrics={metrics!r:.80}: give the name of a metric, or a list of names.")
        asked = () if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
        metrics = asked or self.metrics
        baselines = self.against(against)
        found = {(m.variant, m.seed): numbers(m.place) for m in self.members() if m.place.state == DONE}
        keys = list(dict.fromkeys(key for values in found.values() for key in values))
        names = dict.fromkeys(metric for metric, _ in keys)
        for metric in metrics if found else ():
            if metric not in names and (asked or metric not in definitions().index):  # data without labels have few
                raise unknown("metric", metric, names)
        keys = [key for key in keys if key[0] in metrics]
        rows = [_effect_row(name, baselines.get(name), key, found) for name in self.variants for key in keys]
        return pd.DataFrame(rows, columns=SUMMARY)

    def best(self, metric: str | None = None) -> pd.DataFrame:
        """Returns for every compared variant the point of the ``grid`` with the best mean over levels and seeds.

        Choose by items that were held out (``judged_on="held out"``), and compare on the test set afterwards.

        Args:
            metric: name of a metric, by default the first of the study's that its runs have.

        Returns:
            Columns ``variant``, the settings of the grid, the mean under the metric's name, ``seeds``, and ``points``:
            the number of points with finished runs. Of equal points the first.

        Raises:
            ValueError: the study has no grid, or no run has this metric.

        Example:
            >>> tuning = hiercl.Study(
            ...     {"method": "moco", "epochs": 1, "batch": 32, "held_out": 0.5, "judged_on": "held out"},
            ...     {"MoCo v2": {}}, seeds=1, grid={"lr": [0.001, 0.01]})
            >>> best = tuning.run(train, test, progress=False).best("knn")
            >>> best.columns.tolist()
            ['variant', 'lr', 'knn', 'seeds', 'points']
        """
        if not self.grid:
            raise ValueError(f"{self.name} has no grid= whose best point could be found.")
        rows = self.summary(metric)
        rows = rows[rows["n"] > 0]
        if rows.empty:
            asked = self.metrics if metric is None else (metric,)
            raise ValueError(f"no finished run of {self.name} has {' or '.join(map(repr, asked))}.")
        metric = self.first_metric(rows) if metric is None else metric
        rows = rows[rows["metric"] == metric]
        means = rows.groupby("variant", sort=False).agg(mean=("mean", "mean"), seeds=("n", "min"))
        lower = definitions()["better"].get(metric) == "lower"
        found = []
        for variant, own in means.groupby(lambda name: self.points[name][0], sort=False):
            where = own["mean"].idxmin() if lower else own["mean"].idxmax()
            point = dict(zip(self.grid, self.points[where][1].values(), strict=True))
            mean, seeds = own.loc[where, ["mean", "seeds"]]
            found.append({"variant": variant, **point, metric: mean, "seeds": int(seeds), "points": len(own)})
        return pd.DataFrame(found)

    def first_metric(self, summary: pd.DataFrame) -> str:
        """Returns the first metric of the study that a summary has; its first metric where there is none."""
        return next((name for name in self.metrics if name in set(summary["metric"])), self.metrics[0])

    def histories(self) -> pd.DataFrame:
        """Returns the histories of all runs that have begun: variant, seed and the columns of ``run.history``.

        Example:
            >>> len(study.histories())
            4
        """
        parts = [history_of(m.place.folder).assign(variant=m.variant, seed=m.seed) for m in self.members()]
        parts = [part for part in parts if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["variant", "seed", "epoch"])


def _results(place: Place) -> dict[str, Any]:
    row: dict[str, Any] = {"state": place.state, "run": place.folder.name}
    if row["state"] == FAILED:
        row["error"] = place.why
    if row["state"] == DONE:
        history = history_of(place.folder)
        row |= {name: float(history[name].sum()) if name in history else 0.0 for name in ("seconds", "cpu_seconds")}
        row["judging_seconds"] = place.seconds
        row |= {" ".join(filter(None, key)): value for key, value in numbers(place).items()}
    return row


def _effect_row(variant: str, baseline: str | None, key: tuple[str, str], found: Mapping) -> dict[str, Any]:
    def values(name: str | None) -> pd.Series:
        own = {seed: numbers.get(key) for (other, seed), numbers in found.items() if other == name}
        return pd.Series(own, dtype=float).dropna()

    own, base = values(variant), values(baseline)
    row = {"variant": variant, "metric": key[0], "level": key[1]}
    row |= {"mean": own.mean(), "std": own.std(), "n": len(own)}
    both = own.index.intersection(base.index)
    if len(both):
        better = definitions()["better"].get(key[0], "higher")
        result = effect(base[both].to_numpy(), own[both].to_numpy(), better)
        row |= {"baseline": baseline, "difference": result.mean, "low": result.low, "high": result.high}
        row |= {"t_low": result.t_low, "t_high": result.t_high, "seeds": result.seeds, "verdict": result.verdict}
    return row


def numbers(place: Place) -> dict[tuple[str, str], float]:
    """Returns every number of a report by metric and level; the level is empty for the embedding as a whole."""
    report = Report.load(place.report, items=False)
    found = {
        (name, row["level"]): value
        for row in report.rows
        for name, value in row.items()
        if name not in ("level", "classes")
    }
    if report.few_labels is not None:
        for row in report.few_labels.to_dict("records"):
            found[f"{100 * row['fraction']:g} % labels {row['way']}", row["level"]] = row["accuracy"]
    if report.classes is not None:
        leaves = report.classes[report.classes["level"] == report.rows[-1]["level"]]
        for under, recalls in leaves.groupby("under", sort=False)[["linear", "knn"]].mean().iterrows():
            found |= {("linear_recall", under): recalls["linear"], ("knn_recall", under): recalls["knn"]}
    if report.tree is not None:
        for row in report.tree.to_dict("records"):
            found["tree_ami", f"{row['level']}, {row['size']} prototypes"] = 100 * row["ami"]
    return found | {(name, ""): value for name, value in report.overall.items()}
