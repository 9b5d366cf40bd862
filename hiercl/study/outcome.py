"""What came out of a study: its table, its summary, the best points of its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hiercl.evaluation import Report
from hiercl.metrics import definitions
from hiercl.runtime.errors import unknown
from hiercl.study.effects import effect
from hiercl.study.plan import Member, Plan
from hiercl.study.running import DONE, FAILED, Place, cost, history_of
from hiercl.study.variants import in_words

SUMMARY = (
    "variant",
    "metric",
    "level",
    "mean",
    "std",
    "n",
    "baseline",
    "difference",
    "low",
    "high",
    "seeds",
    "verdict",
)


def table(plan: Plan) -> pd.DataFrame:
    """:meth:`hiercl.Study.table`."""
    changes = {name: _changes(plan.variants, name) for name in plan.variants}
    return pd.DataFrame([_row(member, changes[member.variant]) for member in plan.members()])


def _row(member: Member, changes: Mapping[str, Any]) -> dict[str, Any]:
    row = {"variant": member.variant, **changes, "seed": member.seed}
    row |= {"state": member.place.state, "run": member.place.folder.name}
    if row["state"] == FAILED:
        row["error"] = member.place.why
    if row["state"] == DONE:
        row |= cost(member.place)
        row |= {" ".join(filter(None, key)): value for key, value in numbers(member.place).items()}
    return row


def _changes(variants: Mapping[str, Mapping[str, Any]], variant: str) -> dict[str, Any]:
    """The settings in which variants differ, of this one, by their short names."""
    every = {name for settings in variants.values() for name in settings}
    first = next(iter(variants.values()))
    differing = [n for n in sorted(every) if any(s.get(n) != first.get(n) for s in variants.values())]
    short = {"data.name": "data", "method.name": "method"}
    return {short.get(name, name.partition(".")[2]): in_words(variants[variant].get(name)) for name in differing}


def summary(plan: Plan, metrics: str | Sequence[str] | None = None, against: str | None = None) -> pd.DataFrame:
    """:meth:`hiercl.Study.summary`."""
    asked = () if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
    metrics = asked or plan.metrics
    baselines = plan.against(against)
    found = {(m.variant, m.seed): numbers(m.place) for m in plan.members() if m.place.state == DONE}
    keys = list(dict.fromkeys(key for values in found.values() for key in values))
    names = dict.fromkeys(metric for metric, _ in keys)
    if found:
        for metric in metrics:
            if metric not in names and (asked or metric not in definitions().index):  # data without labels have few
                raise unknown("metric", metric, names)
    shown = [key for key in keys if key[0] in metrics]
    rows = [_effect_row(plan, name, baselines.get(name), key, found) for name in plan.variants for key in shown]
    return pd.DataFrame(rows, columns=SUMMARY)


def _effect_row(plan: Plan, variant: str, baseline: str | None, key: tuple[str, str], found: Mapping) -> dict[str, Any]:
    def values(name: str | None) -> pd.Series:
        own = {seed: found[name, seed].get(key) for seed in plan.seeds if (name, seed) in found}
        return pd.Series(own, dtype=float).dropna()

    own, base = values(variant), values(baseline)
    row = {"variant": variant, "metric": key[0], "level": key[1]}
    row |= {"mean": own.mean(), "std": own.std(), "n": len(own)}
    both = own.index.intersection(base.index)
    if len(both):
        way = definitions()["better"].get(key[0], "higher")
        result = effect(base[both].to_numpy(), own[both].to_numpy(), way)
        row |= {"baseline": baseline, "difference": result.mean, "low": result.low}
        row |= {"high": result.high, "seeds": result.seeds, "verdict": result.verdict}
    return row


def best(plan: Plan, metric: str | None = None) -> pd.DataFrame:
    """:meth:`hiercl.Study.best`."""
    if not plan.grid:
        raise ValueError(f"{plan.name} has no grid= to find the best point of.")
    rows = summary(plan, metric)
    rows = rows[rows["n"] > 0]
    if rows.empty:
        asked = plan.metrics if metric is None else (metric,)
        raise ValueError(f"no run of {plan.name} that is done has {' or '.join(map(repr, asked))}.")
    metric = first(rows, plan.metrics) if metric is None else metric
    rows = rows[rows["metric"] == metric]
    means = rows.groupby("variant", sort=False).agg(mean=("mean", "mean"), seeds=("n", "min"))
    lower = definitions()["better"].get(metric) == "lower"
    found = []
    for name in plan.tried:
        own = means[[plan.points[point][0] == name for point in means.index]]
        if len(own):
            where = own["mean"].idxmin() if lower else own["mean"].idxmax()
            point = dict(zip(plan.grid, plan.points[where][1].values(), strict=True))
            row = {"variant": name, **point, metric: own["mean"][where], "seeds": own["seeds"][where]}
            found.append(row | {"points": len(own)})
    return pd.DataFrame(found)


def first(rows: pd.DataFrame, metrics: Sequence[str]) -> str:
    """The first of these metrics that a summary has, else the first."""
    return next((name for name in metrics if name in set(rows["metric"])), metrics[0])


def histories(plan: Plan) -> pd.DataFrame:
    """:meth:`hiercl.Study.histories`."""
    parts = []
    for member in plan.members():
        history = history_of(member.place.folder)
        if len(history):
            parts.append(history.assign(variant=member.variant, seed=member.seed))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["variant", "seed", "epoch"])


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
    if report.classes is not None:
        leaves = report.classes[report.classes["level"] == report.rows[-1]["level"]]
        for under, recalls in leaves.groupby("under", sort=False)[["linear", "knn"]].mean().iterrows():
            found |= {("linear_recall", under): recalls["linear"], ("knn_recall", under): recalls["knn"]}
    if report.tree is not None:
        for row in report.tree.to_dict("records"):
            found["tree_ami", f"{row['level']}, {row['size']} prototypes"] = 100 * row["ami"]
    return found | {(name, ""): value for name, value in report.overall.items()}
