"""Report: what an evaluation found, with the protocol that its numbers belong to."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hiercl.metrics.definitions import OVERALL, PER_LEVEL

FILES = ("few_labels", "tree", "edges")


@dataclass(frozen=True)
class Report:
    """Results of :func:`hiercl.evaluate`. ``hiercl.metrics.definitions()`` says what each number is.

    Attributes:
        rows: one a level, coarse first; none for data without labels.
        overall: numbers of the whole embedding.
        protocol: everything a number needs to be comparable.
        few_labels: accuracies with a part of the labels (:func:`hiercl.few_labels.few_labels`), or None.
        tree: agreement of a learned tree with the true one (:func:`hiercl.metrics.tree_agreement`), or None.
        edges: edges of that tree that respect the true one (:func:`hiercl.metrics.respected_edges`), or None.
    """

    rows: tuple[dict[str, Any], ...]
    overall: dict[str, float]
    protocol: dict[str, Any]
    few_labels: pd.DataFrame | None = None
    tree: pd.DataFrame | None = None
    edges: pd.DataFrame | None = None

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
        (folder / "report.json").write_text(json.dumps(content, indent=2))
        self.table().to_csv(folder / "report.csv")

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """The report that :meth:`save` wrote."""
        content = json.loads((Path(folder) / "report.json").read_text())
        tables = {name: None if content[name] is None else pd.DataFrame(content[name]) for name in FILES}
        return cls(tuple(content["rows"]), content["overall"], content["protocol"], **tables)

    def __str__(self) -> str:
        p = self.protocol
        parts = []
        if self.rows:
            parts.append(_aligned(self.table().T.rename_axis(index=None, columns=None), PER_LEVEL))
        else:
            parts.append("No labels: nothing to judge by but the embedding itself.")
        parts.append(_aligned(pd.DataFrame({"embedding": self.overall}), OVERALL))
        for title, frame in {
            "With few labels, per cent (linear: λ = features / (10 labels))": self.few_labels,
            "Learned tree against the true one": self.tree,
            "Edges of the learned tree that join prototypes of one class": self.edges,
        }.items():
            if frame is not None and len(frame):
                parts.append(f"{title}\n{frame.to_string(index=False, float_format='{:.2f}'.format)}")
        probes = (
            f"linear: L-BFGS, λ from {p['linear_penalties']} on a fifth of the training items; "
            f"kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; "
        )
        items = f"{p['train_items']:,} training and {p['test_items']:,} test items"
        parts.append(f"({p['features']}, {p['precision']}; {probes if self.rows else ''}{items})")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        table = self.table() if self.rows else pd.DataFrame({"embedding": self.overall}).T
        return table.T.style.format(precision=2, na_rep="–").to_html()


def _aligned(table: pd.DataFrame, metrics: tuple) -> str:
    """A table of metrics, one a line, with its unit: one digit for per cents, two or more for the rest."""
    units = {metric.name: metric.unit for metric in metrics}

    def cell(name: str, value: float) -> str:
        if name == "classes":
            return f"{value:.0f}"
        return "–" if math.isnan(value) else f"{value:.1f}" if units[name] == "%" else f"{value:.3f}"

    rows = {
        f"{name}{f' ({units[name]})' if units.get(name) else ''}": [cell(name, float(value)) for value in row]
        for name, row in table.iterrows()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=table.columns).to_string()
