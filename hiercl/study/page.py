"""A study as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hiercl.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hiercl.study.study import Study

MOST_FIGURES = 4
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } img { max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .2rem .6rem; text-align: right; }
th { border-bottom: 1px solid #999; } td:first-child, th:first-child { text-align: left; }
tr:nth-child(even) td { background: #f5f5f5; } .scroll { overflow-x: auto; } pre { font-size: .8rem; }
.better { color: #00538a; font-weight: 600; } .worse { color: #a33d00; font-weight: 600; } .muted { color: #6e6e6e; }
"""


def write_page(study: Study, path: Path) -> Path:
    """Question, protocol, effects, figures, all runs and all configurations of a study, in one file.

    Raises:
        ValueError: no run of the study is done.
    """
    from hiercl import plot

    table, histories = study.table(), study.histories()
    done = table[table["state"] == "done"]
    if done.empty:
        raise ValueError(f"no run of {study.name!r} is done yet: call run() first.")
    figures = {}
    for metric in study.metrics[:MOST_FIGURES]:
        summary = study.summary(metric)
        if len(summary):
            figures[metric] = plot.study(summary, table, histories, metric, study.baselines, study.name)
    against = set(study.baselines.values())
    base = f"to <b>{html.escape(against.pop())}</b>" if len(against) == 1 else "to the variant that is named"
    body = [
        f"<h1>{html.escape(study.name)}</h1>",
        f"<p>{html.escape(study.question)}</p>" if study.question else "",
        f"<p class=muted>{html.escape(protocol(study, table))}</p>",
        "<h2>Effects</h2>",
        f"<p class=muted>Mean ± standard deviation (seeds); difference {base} over the same seeds, with its 95 % "
        "bootstrap interval. A verdict needs five seeds and an interval without 0, or differences that are all the "
        "same; with so many intervals some verdicts come about by chance.</p>",
        _scrolling(effects_table(study.summary(), several=len(set(study.baselines.values())) > 1)),
        "<h2>Pictures</h2>",
        *(_image(figure, f"{study.name}: effects on {metric}") for metric, figure in figures.items()),
        "<h2>Runs</h2>",
        _scrolling(table.to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="")),
        "<h2>Configurations</h2>",
        *_configurations(study),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(study.name)}</title>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{page}<style>{STYLE}</style><body>{''.join(body)}</body></html>", encoding="utf-8")
    return path


def protocol(study: Study, table: pd.DataFrame) -> str:
    """What its numbers belong to, in a few sentences."""
    place = next(member.place for member in study.members() if member.place.state == "done")
    report, run = Report.load(place.report), json.loads((place.folder / "run" / "config.json").read_text())
    fit, environment = run["fit"], report.protocol["run_environment"]
    p, states = report.protocol, table["state"].value_counts()
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    size = run["views"].get("crop", run["views"].get("points"))
    note = f" ({p['test_note']})" if p["test_note"] else ""
    return (
        f"{len(study.variants)} variants, seeds {', '.join(map(str, study.seeds))}: {counts}. Of the first run: "
        f"{p['train_items']:,} training and {p['test_items']:,} test items of {p['train']}{note}; {p['features']}, "
        f"{p['precision']} on {p['device']}; linear probe: L-BFGS, λ from {p['linear_penalties']} on a fifth of the "
        f"training items; kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; {fit['encoder']}, {fit['epochs']} epochs, "
        f"batch {fit['batch']}, {fit['optimiser']}, views of {size}; torch "
        f"{environment['torch']}, commit {environment['git_commit']}."
    )


def effects_table(summary: pd.DataFrame, several: bool = False) -> str:
    """The summary as HTML: one line a variant, one column a number; with several baselines, which one."""
    lines = ["<table><tr><th>variant</th>"]
    columns = list(dict.fromkeys(zip(summary["metric"], summary["level"], strict=True)))
    lines += [f"<th>{html.escape(' '.join(column))}</th>" for column in columns] + ["</tr>"]
    for variant, rows in summary.groupby("variant", sort=False):
        cells = {(row["metric"], row["level"]): _cell(row) for row in rows.to_dict("records")}
        base = rows["baseline"].dropna()
        against = f"<br><span class=muted>less {html.escape(base.iloc[0])}</span>" if several and len(base) else ""
        cells_of_row = "".join(f"<td>{cells[column]}</td>" for column in columns)
        lines.append(f"<tr><td>{html.escape(str(variant))}{against}</td>{cells_of_row}</tr>")
    return "".join(lines) + "</table>"


def _cell(row: dict) -> str:
    if not row["n"]:
        return ""
    spread = f" ± {row['std']:.2f}" if row["n"] > 1 else ""
    text = f"{row['mean']:.2f}{spread} <span class=muted>({row['n']})</span>"
    if pd.isna(row.get("difference", float("nan"))):
        return text
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:+.2f}, {row['high']:+.2f}]"
    verdict = row["verdict"]
    style = verdict if verdict in ("better", "worse") else "muted"
    effect = f"{row['difference']:+.2f}{interval} {verdict}".replace("-", "−").replace("inf", "∞")
    return f"{text.replace('-', '−')}<br><span class={style}>{effect}</span>"


def _configurations(study: Study) -> list[str]:
    found = []
    for name in study.variants:
        complete = study.member(name, study.seeds[0]).configuration.complete
        content = html.escape(json.dumps(complete, indent=1, ensure_ascii=False))
        found.append(f"<details><summary>{html.escape(name)}</summary><pre>{content}</pre></details>")
    return found


def _image(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"<p><img alt='{html.escape(text, quote=True)}' src='data:image/png;base64,{content}'></p>"


def _scrolling(table: str) -> str:
    return f"<div class=scroll>{table}</div>"
