"""Report: the results of an evaluation, and the protocol that they belong to."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd

from hiercl.evaluation.comparison import AGAIN, Comparison, Items, compare
from hiercl.metrics.definitions import OVERALL, PER_LEVEL, Metric
from hiercl.metrics.paired import PerItem
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import Between
from hiercl.runtime.files import read_json, reading, whole_file, write_atomically
from hiercl.runtime.given import given_path

TABLES = ("few_labels", "tree", "edges", "classes")
REPORT = "report.json"
REPORT_FORM = {"rows": list, "overall": dict, "protocol": dict}
ITEMS = "items.npz"


@dataclass(frozen=True)
class Report:
    """Results of :func:`hiercl.evaluate`. ``hiercl.metrics.definitions()`` says what each number is.

    Attributes:
        rows: one row for each level, coarse first; none for data without labels.
        overall: metrics of the whole embedding.
        protocol: everything that must be the same where two numbers are compared.
        few_labels: accuracies with few labels (:func:`hiercl.evaluation.few_labels.few_labels`), or None.
        tree: agreement of a learned tree with the true one (:func:`hiercl.metrics.tree_agreement`), or None.
        edges: edges of that tree that respect the true one (:func:`hiercl.metrics.respected_edges`), or None.
        classes: recall of every class of every level in per cent, by the ``linear`` probe and the ``knn`` vote; with
            its coarsest ancestor (``under``) and its numbers of ``train`` and ``test`` items; or None.
        items: for each level, what every test item adds to a metric, by name: ``report.items[-1]["linear"].values``
            says which items the linear probe gets right at the finest level. Metrics that are no (weighted) means over
            the items are not there. None for a report of an earlier version.

    Example:
        >>> report = hiercl.evaluate(run, train, test)
        >>> report.save("results")
        >>> hiercl.Report.load("results").table().equals(report.table())
        True
    """

    rows: tuple[dict[str, Any], ...]
    overall: dict[str, float]
    protocol: dict[str, Any]
    few_labels: pd.DataFrame | None = None
    tree: pd.DataFrame | None = None
    edges: pd.DataFrame | None = None
    classes: pd.DataFrame | None = None
    items: Items | None = field(default=None, repr=False)

    def table(self) -> pd.DataFrame:
        """Returns the rows as a table: one row for each level, one column for each metric."""
        return pd.DataFrame(self.rows, columns=["level", "classes", *(m.name for m in PER_LEVEL)]).set_index("level")

    def save(self, folder: str | Path) -> None:
        """Writes ``report.json`` (all numbers), ``report.csv`` (the table) and ``items.npz`` (single items)."""
        folder = given_path(folder, "folder")
        content = {"rows": list(self.rows), "overall": self.overall, "protocol": self.protocol}
        for name in TABLES:
            table = getattr(self, name)
            content[name] = None if table is None else table.to_dict("records")
        _save_items(self.items, folder / ITEMS)
        write_atomically(folder / REPORT, json.dumps(_without_nan(content), indent=2, allow_nan=False))
        write_atomically(folder / "report.csv", self.table().to_csv())

    @classmethod
    @checked
    def load(cls, folder: str | Path, items: bool = True) -> Report:
        """Returns the report that :meth:`save` wrote.

        Args:
            folder: the folder.
            items: whether to read the results of single items too, which :meth:`compare` needs.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is cut or altered.
        """
        file = given_path(folder, "folder") / REPORT
        content = read_json(file, AGAIN, REPORT_FORM)
        with reading(file, AGAIN):
            rows, overall = tuple(map(_with_nan, content["rows"])), _with_nan(content["overall"])
            known = [name for name in TABLES if content.get(name) is not None]
            tables = {name: pd.DataFrame(map(_with_nan, content[name])) for name in known}
            report = cls(rows, overall, content["protocol"], **tables)
            str(report)  # which reads all of it
        return replace(report, items=_load_items(file.with_name(ITEMS), report)) if items else report

    @checked
    def compare(self, other: Report, resamples: Annotated[int, Between(100, 1_000_000)] = 2000) -> Comparison:
        """Compares another model, item by item, with this one. Both were judged on the same test items.

        Where items are right or wrong (``linear``, ``knn``, ``flat``, ``top_down``, ``parent_agreement``), it is
        McNemar's exact test (:func:`hiercl.metrics.mcnemar`). For other means over the test items (balanced accuracy,
        MAP@R, the height of mistakes, ...) it is a paired bootstrap over the items
        (:func:`hiercl.metrics.paired_bootstrap`). For MAP@R and ``hierarchical_distance`` the items that are searched
        stay all test items, and only the queries are drawn. Numbers of clusters, of class means and of the embedding as
        a whole are no means over items, and are left out.

        The result is about these two trained models. It does not say which *method* is better, because the same method
        with another seed gives another model (Dietterich 1998 calls it the variation of the training, which McNemar's
        test does not see). For methods take several seeds: :class:`hiercl.Study`.

        Args:
            other: report of the other model.
            resamples: number of resamples of the bootstrap. Its time grows with their number times that of test items.

        Returns:
            The comparison. Print it, or call its ``table()``.

        Raises:
            ValueError: the reports are of other test items, other labelled items, other levels or another protocol; or
                one of them has no results of single items. Of features that were given with ``labels=`` only the labels
                and their order can be checked.

        Example:
            >>> report = hiercl.evaluate(run, train, test)
            >>> untrained = hiercl.evaluate(hiercl.fit("moco", train, epochs=0), train, test)
            >>> comparison = untrained.compare(report)
            >>> comparison.table().loc[("class", "knn"), "test"]
            'McNemar'
        """
        return compare(self, other, resamples)

    def parts(self) -> dict[str, pd.DataFrame]:
        """Returns all tables by their titles, one line for each metric, with the numbers as text."""
        found = {}
        if self.rows:
            found["At every level"] = _as_text(self.table().T.rename_axis(index=None, columns=None), PER_LEVEL)
        found["The embedding"] = _as_text(pd.DataFrame({"": self.overall}), OVERALL)
        others = {
            "With few labels, per cent (linear: λ = features / (10 labels))": self.few_labels,
            "The learned tree against the true one": self.tree,
            "Edges of the learned tree that join prototypes of one class": self.edges,
        }
        for title, table in others.items():
            if table is not None and len(table):
                found[title] = table.round(2).set_index(table.columns[0])
        return found

    def __str__(self) -> str:
        p = self.protocol
        parts = [f"{title}\n{table.to_string()}" for title, table in self.parts().items()]
        if not self.rows:
            parts.insert(0, "There is one class, or there are no labels: only the embedding is described.")
        probes = (
            f"linear: L-BFGS, λ from {p['linear_penalties']}, chosen on a fifth of the training items; "
            f"kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; "
        )
        items = f"{p['train_items']:,} training and {p['test_items']:,} test items"
        if without := p.get("train_without_label", 0) + p.get("test_without_label", 0):
            items += f"; {without:,} items without a label are left out"
        parts.append(f"({p['features']}, {p['precision']}; {probes if self.rows else ''}{items})")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{title}</h4>{table.to_html()}" for title, table in self.parts().items())


def _save_items(items: Items | None, file: Path) -> None:
    """Writes what every item adds to the metrics, or removes the file of an earlier report."""
    if items is None:
        file.unlink(missing_ok=True)
        return
    arrays = {
        f"{level}/{name}/{what}": part
        for level, metrics in enumerate(items)
        for name, own in metrics.items()
        for what, part in own._asdict().items()
        if part is not None
    }
    with whole_file(file) as new, new.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _load_items(file: Path, report: Report) -> Items | None:
    """Reads them; None where there are none.

    Raises:
        ValueError: the file is cut or altered, or belongs to another report.
    """
    if not file.exists():
        return None
    items: Items = tuple({} for _ in report.rows)
    with reading(file, AGAIN):
        try:
            with np.load(file, allow_pickle=False) as found:
                parts = {tuple(key.split("/")): found[key] for key in found.files}
        except zipfile.BadZipFile as error:
            raise EOFError(str(error)) from error
        for (level, name, what), part in parts.items():
            if what == "values":
                items[int(level)][name] = PerItem(part, parts.get((level, name, "weights")))
        for metric, row, own in ((m, *both) for m in PER_LEVEL for both in zip(report.rows, items, strict=True)):
            mean = metric.scale * own[metric.name].mean if metric.name in own else row[metric.name]
            if not math.isclose(mean, row[metric.name], rel_tol=1e-4, abs_tol=1e-4) and not math.isnan(mean):
                raise EOFError(f"{metric.name} is {mean:.3f}, and {row[metric.name]:.3f} in {REPORT}")
    return items


def _without_nan(value: Any) -> Any:
    """The same values with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    """The same values with NaN for None."""
    return {name: math.nan if value is None else value for name, value in row.items()}


def _as_text(table: pd.DataFrame, metrics: tuple[Metric, ...]) -> pd.DataFrame:
    """A table with one metric in each line, as text with units: one decimal for per cents, three for other numbers."""
    units: dict[Hashable, str] = {metric.name: metric.unit for metric in metrics}

    def cell(name: Hashable, value: float) -> str:
        if name == "classes":
            return f"{value:.0f}"
        return "–" if math.isnan(value) else f"{value:.1f}" if units[name] == "%" else f"{value:.3f}"

    rows = {
        f"{name} ({units[name]})" if units.get(name) else name: [cell(name, float(value)) for value in row]
        for name, row in table.iterrows()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=table.columns)
