"""Comparison: two models that were judged on the same test items, at every level of the hierarchy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from hiercl.metrics.definitions import OVERALL, PER_LEVEL, Metric, decimals
from hiercl.metrics.paired import Paired, PerItem, bootstrap_all, mcnemar

Items = tuple[dict[str, PerItem], ...]
SURE = 0.05  # a smaller p gives a verdict
COLUMNS = "level metric this other difference low high p only_this only_other test verdict".split()
SAME = ("linear_penalties", "knn_k", "knn_temperature", "seed", "sample")  # parts of a protocol
FINGERPRINTS = "fingerprints"
AGAIN = "evaluate again; for a study delete the folder of the report, and run the study again"


@runtime_checkable
class Judged(Protocol):
    """What is compared of a report: see :class:`hiercl.Report`."""

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """A row for each level."""
        ...

    @property
    def protocol(self) -> dict[str, Any]:
        """What must be the same."""
        ...

    @property
    def items(self) -> Items | None:
        """What every test item adds to the metrics, for each level."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Two models, judged on the same test items: result of :meth:`hiercl.Report.compare`.

    Attributes:
        rows: one row for each level and each metric that is compared, coarse levels first.
        left_out: metrics that are not compared, because they are not a mean over the test items.
        missing: levels and metrics that are not compared, because one of the models has no such number.
        test_items: number of test items.
        resamples: number of resamples of the bootstrap.

    Example:
        >>> report = hiercl.evaluate(run, train, test)
        >>> report.compare(report, resamples=100).left_out[:3]
        ('ami', 'nmi', 'ari')
    """

    rows: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    test_items: int
    resamples: int

    def table(self) -> pd.DataFrame:
        """Returns the rows as a table, one for each level and metric.

        Returns:
            Columns ``this`` and ``other``, the numbers of both reports; ``difference``, other minus this, with its 95 %
            interval from ``low`` to ``high``; ``p``; ``only_this`` and ``only_other``, the numbers of items that only
            one of the two gets right (NaN for the bootstrap); ``test``, "McNemar" or "bootstrap"; and ``verdict``:
            whether other is "better" or "worse" (p < 0.05), "undecided", or "the same" for every item.
        """
        return pd.DataFrame(self.rows, columns=COLUMNS).set_index(["level", "metric"])

    def parts(self) -> dict[str, pd.DataFrame]:
        """Returns a table for every level, by its title, with the numbers as text."""
        found: dict[str, dict[str, dict[str, str]]] = {}
        for row in self.rows:
            metric = next(metric for metric in PER_LEVEL if metric.name == row["metric"])
            name = f"{metric.name} ({metric.unit})" if metric.unit else metric.name
            found.setdefault(f"At the level {row['level']}", {})[name] = _as_text(row)
        return {title: pd.DataFrame.from_dict(rows, orient="index") for title, rows in found.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers mean, in sentences."""
        count, sure = len(self.rows), sum(row["p"] < SURE for row in self.rows)
        missing = ", ".join(f"{metric} of {level}" for level, metric in self.missing)
        return (
            f"{self.test_items:,} test items. The difference is other minus this, with its 95 % interval. Where items "
            "are right or wrong: McNemar's exact test, with the numbers of items that only one of the two gets right. "
            f"Elsewhere: {self.resamples:,} resamples of the items.",
            f"{sure} of {count} comparisons have p < {SURE}. If the two did not differ, about {SURE * count:.2g} would "
            "have it by chance.",
            "This is about these two trained models. Other seeds would give other models: to compare methods, train "
            "several seeds of both (hiercl.Study).",
            f"Not compared, because they are no means over the test items: {', '.join(self.left_out)}.",
            *([f"Not compared, because one of the two has no such number: {missing}."] if missing else []),
        )

    def __str__(self) -> str:
        return "\n\n".join([*(f"{title}\n{table.to_string()}" for title, table in self.parts().items()), *self.notes])

    def _repr_html_(self) -> str:
        tables = "".join(f"<h4>{escape(title)}</h4>{table.to_html()}" for title, table in self.parts().items())
        return tables + "".join(f"<p>{escape(note)}</p>" for note in self.notes)


def compare(this: Judged, other: Judged, resamples: int) -> Comparison:
    """Compares two reports: :meth:`hiercl.Report.compare`.

    Example:
        >>> report = hiercl.evaluate(run, train, test)
        >>> set(compare(report, report, resamples=100).table()["verdict"])
        {'the same'}
    """
    first, second = _same(this, other)
    rows, missing = [], []
    for level, (own, others) in enumerate(zip(first, second, strict=True)):
        metrics = [metric for metric in PER_LEVEL if metric.name in own and metric.name in others]
        pairs = {metric: (own[metric.name], others[metric.name]) for metric in metrics}
        found = {m: mcnemar(a.values, b.values) for m, (a, b) in pairs.items() if a.right_or_wrong and b.right_or_wrong}
        rest = [metric for metric in metrics if metric not in found]
        found |= zip(rest, bootstrap_all([pairs[metric] for metric in rest], resamples=resamples), strict=True)
        numbers = [report.rows[level] for report in (this, other)]
        rows += [_row(metric, found[metric], *numbers) for metric in metrics]
        absent = [metric.name for metric in PER_LEVEL if metric.items and metric not in found]
        missing += [(this.rows[level]["level"], name) for name in absent]
    left_out = [metric.name for metric in PER_LEVEL if metric.items is None] + [metric.name for metric in OVERALL]
    return Comparison(tuple(rows), tuple(left_out), tuple(missing), len(first[0]["linear"].values), resamples)


def _same(this: Judged, other: Judged) -> tuple[Items, Items]:
    """Returns what every item of both reports adds to the metrics; ValueError unless they are of the same items."""
    for name, report in (("this", this), ("the other", other)):
        if not report.rows:
            raise ValueError(f"{name} report has no levels: there is one class, or there are no labels.")
        if report.items is None:
            raise ValueError(f"{name} report has no results of single items, as earlier versions wrote it: {AGAIN}.")
    levels = [[(row["level"], row["classes"]) for row in report.rows] for report in (this, other)]
    if levels[0] != levels[1]:
        words = [", ".join(f"{name} ({classes} classes)" for name, classes in own) for own in levels]
        raise ValueError(f"the levels are {words[0]} here and {words[1]} there: compare models of one hierarchy.")
    mine, others = (report.protocol for report in (this, other))
    for part, what in (
        ("test", "test items"),
        ("train", "labelled items that the probe and the neighbours learn from"),
    ):
        if not _are_same(mine[FINGERPRINTS][part], others[FINGERPRINTS][part]):
            names = [f"{own[f'{part}_items']:,} of {own[part]}" for own in (mine, others)]
            raise ValueError(
                f"the {what} differ ({names[0]} here, {names[1]} there): evaluate both models with the same items in "
                "the same order. Of two sets of features give both to evaluate(features=..., labels=...)."
            )
    if differing := [name for name in SAME if mine.get(name) != others.get(name)]:
        words = ", ".join(f"{name} is {mine.get(name)} here and {others.get(name)} there" for name in differing)
        raise ValueError(f"the protocols differ: {words}. Evaluate both models in the same way.")
    assert this.items is not None and other.items is not None
    return this.items, other.items


def _are_same(mine: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether labels, and items where both are known, are the same: see :func:`hiercl.evaluate`."""
    items = {own["items"] for own in (mine, others) if own["items"]}
    return mine["labels"] == others["labels"] and len(items) < 2


def _row(metric: Metric, found: Paired, this: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The row of a metric at a level, in its unit."""
    counts = [math.nan if count is None else count for count in (found.only_first, found.only_second)]
    numbers = {"this": this[metric.name], "other": other[metric.name]}
    numbers |= {name: metric.scale * getattr(found, name) for name in ("difference", "low", "high")}
    test = "bootstrap" if found.only_first is None else "McNemar"
    verdict = "undecided"
    if found.p < SURE:
        verdict = "better" if (found.difference > 0) == (metric.better == "higher") else "worse"
    elif found.low == found.high == 0 or counts == [0, 0]:
        verdict = "the same"
    about = {"p": found.p, "only_this": counts[0], "only_other": counts[1], "test": test, "verdict": verdict}
    return {"level": this["level"], "metric": metric.name} | numbers | about


def _as_text(row: dict[str, Any]) -> dict[str, str]:
    """A row as text with units: one or two decimals of per cents, three of other numbers."""
    digits = decimals(row["metric"])
    own = max(1, digits - 1) if digits == 2 else digits
    counts = [f"{row[name]:.0f}" if row["test"] == "McNemar" else "" for name in ("only_this", "only_other")]
    words = {name: f"{row[name]:.{own}f}" for name in ("this", "other")}
    words["difference"] = f"{row['difference']:+.{digits}f} [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    words = {name: text.replace("-", "−") for name, text in words.items()}
    p = "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
    return words | {"p": p, "only this": counts[0], "only other": counts[1], "other is": row["verdict"]}
