"""Report: what an evaluation found, with the protocol that its numbers belong to."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hiercl.metrics.definitions import OVERALL, PER_LEVEL, Metric

FILES = ("few_labels", "tree", "edges", "classes")


@dataclass(frozen=True)
class Report:
    """Results of :func:`hiercl.evaluate`. ``hiercl.metrics.definitions()`` says what each number is.

    Attributes:
        rows: one a level, coarse first; none for data without labels.
        overall: numbers of the whole embedding.
        protocol: everything a number needs to be comparable.
        few_labels: accuracies with a part of the labels (:func:`hiercl.evaluation.few_labels.few_labels`), or None.
        tree: agreement of a learned tree with the true one (:func:`hiercl.metrics.tree_agreement`), or None.
        edges: edges of that tree that respect the true one (:func:`hiercl.metrics.respected_edges`), or None.
        classes: of every class of every level its recall in per cent, by the ``linear`` probe and the ``knn`` vote;
            with the coarsest class that it is ``under`` and its numbers of ``train`` and ``test`` items; or None.
    """

    rows: tuple[dict[str, Any], ...]
    overall: dict[str, float]
    protocol: dict[str, Any]
    few_labels: pd.DataFrame | None = None
    tree: pd.DataFrame | None = None
    edges: pd.DataFrame | None = None
    classes: pd.DataFrame | None = None

    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame, one a level."""
        return pd.DataFrame(self.rows, columns=["level", "classes", *(m.name for m in PER_LEVEL)]).set_index("level")

    def save(self, folder: str | Path) -> None:
        """Writes ``report.json`` (everything) and ``report.csv`` (the table) into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"rows": list(self.rows), "overall": self.overall, "protocol": self.protocol}
        tables = {name: getattr(self, name) for name in FILES}
        content |= {name: None if frame is None else frame.to_dict("records") for name, frame in tables.items()}
        (folder / "report.json").write_text(json.dumps(_null(content), indent=2, allow_nan=False))
        self.table().to_csv(folder / "report.csv")

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """The report that :meth:`save` wrote."""
        content = json.loads((Path(folder) / "report.json").read_text())
        rows = tuple({name: _number(value) for name, value in row.items()} for row in content["rows"])
        overall = {name: _number(value) for name, value in content["overall"].items()}
        tables = {
            name: None
            if content.get(name) is None
            else pd.DataFrame([{column: _number(value) for column, value in row.items()} for row in content[name]])
            for name in FILES
        }
        return cls(rows, overall, content["protocol"], **tables)

    def parts(self) -> dict[str, pd.DataFrame]:
        """All tables with their titles, one line a metric; numbers are text, with the digits that they deserve."""
        found = {}
        if self.rows:
            found["At every level"] = _aligned(self.table().T.rename_axis(index=None, columns=None), PER_LEVEL)
        found["The embedding"] = _aligned(pd.DataFrame({"": self.overall}), OVERALL)
        extra = {
            "With few labels, per cent (linear: λ = features / (10 labels))": self.few_labels,
            "The learned tree against the true one": self.tree,
            "Edges of the learned tree that join prototypes of one class": self.edges,
        }
        for title, frame in extra.items():
            if frame is not None and len(frame):
                found[title] = frame.round(2).set_index(frame.columns[0])
        return found

    def __str__(self) -> str:
        p = self.protocol
        parts = [f"{title}\n{table.to_string()}" for title, table in self.parts().items()]
        if not self.rows:
            parts.insert(0, "A single class, or no labels: nothing to judge by but the embedding itself.")
        probes = (
            f"linear: L-BFGS, λ from {p['linear_penalties']} on a fifth of the training items; "
            f"kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; "
        )
        items = f"{p['train_items']:,} training and {p['test_items']:,} test items"
        parts.append(f"({p['features']}, {p['precision']}; {probes if self.rows else ''}{items})")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{title}</h4>{table.to_html()}" for title, table in self.parts().items())


def _null(value: Any) -> Any:
    """The same, with None in place of what is not a number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_null(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> Any:
    """NaN in place of None."""
    return math.nan if value is None else value


def _aligned(table: pd.DataFrame, metrics: tuple[Metric, ...]) -> pd.DataFrame:
    """A table of metrics as text, one a line, with its unit: one digit for per cents, three for the rest."""
    units = {metric.name: metric.unit for metric in metrics}

    def cell(name: str, value: float) -> str:
        if name == "classes":
            return f"{value:.0f}"
        return "–" if math.isnan(value) else f"{value:.1f}" if units[name] == "%" else f"{value:.3f}"

    rows = {
        f"{name}{f' ({units[name]})' if units.get(name) else ''}": [cell(name, float(value)) for value in row]
        for name, row in table.iterrows()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=table.columns)
