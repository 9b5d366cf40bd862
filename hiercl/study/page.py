"""A study as one page: self-contained HTML, or Markdown with one picture and without single runs."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hiercl.evaluation import Report
from hiercl.metrics import definitions
from hiercl.metrics.definitions import decimals
from hiercl.study import outcome
from hiercl.study.configurations import JudgedConfig
from hiercl.study.plan import Plan
from hiercl.study.running import DONE
from hiercl.study.variants import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FIGURES = 4
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } img { max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .2rem .6rem; text-align: right;
vertical-align: top; }
th { border-bottom: 1px solid #999; } td:first-child, th:first-child { text-align: left; }
tr:nth-child(even) td { background: #f5f5f5; } tr:nth-child(odd) td { background: #fff; }
td span { white-space: nowrap; } td:first-child { position: sticky; left: 0; min-width: 8rem; }
.scroll { overflow-x: auto; } pre { font-size: .8rem; }
.better { color: #00538a; font-weight: 600; } .worse { color: #a33d00; font-weight: 600; } .muted { color: #6e6e6e; }
.more, .less { font-weight: 600; }
"""
WHICH_TEST = {"held out": ", held out of training,", "unseen": ", whose classes were not trained on,"}
EXPLAINED = (
    "Mean ± standard deviation (seeds); difference {base} over the same seeds, with its 95 % bootstrap interval. "
    "hiercl.metrics.definitions() says what each number is. A verdict needs five seeds and an interval without 0, or "
    "differences that are all the same; with so many intervals some verdicts come about by chance."
)


def write_page(plan: Plan, path: Path) -> Path:
    """Question, protocol, effects, figures, in HTML all runs and all configurations as well, in one file; and beside it
    the table of all runs, as CSV, and the picture of a page in Markdown, as PNG.

    Raises:
        ValueError: no run of the study is done, or the path ends in neither .html nor .md.
    """
    table = outcome.table(plan)
    if DONE not in set(table["state"]):
        raise ValueError(f"no run of {plan.name!r} is done yet: call run() first.")
    if path.suffix not in (".html", ".md"):
        raise ValueError(f"{path}: a page is .html or .md.")
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = outcome.summary(plan)
    if path.suffix == ".html":
        text = _html(plan, table, summary)
    else:
        text = _markdown(plan, table, summary, path.with_suffix(".png"))
    path.write_text(text, encoding="utf-8")
    table.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    return path


def _markdown(plan: Plan, table: pd.DataFrame, summary: pd.DataFrame, picture: Path) -> str:
    """What variants are, a picture, and a table for every metric: a row a variant, a column a level."""
    parts = [f"# {plan.name}", plan.question, protocol(plan, table)]
    common, settings = _settings(plan)
    grid = "".join(
        f"; each at every {name} of {_all_of(str(in_words(value)) for value in values)}"
        for name, values in plan.grid.items()
    )
    common = f"All of them: `{common}`; what" if common else "What"
    parts += ["## Variants", f"{common} is not said is the default{grid}.", _lines(settings)]
    parts += ["## Effects", EXPLAINED.format(base="to the variant that is named")]
    for metric, figure in _figures(plan, table, summary, most=1).items():
        figure.savefig(picture, dpi=90)
        parts += [f"![Effects on {metric}, learning curves, accuracy against time]({picture.name})"]
    for metric, rows in _by_metric(plan, summary).items():
        unit = definitions()["unit"].get(metric, "%")  # those that are not defined as a whole are shares
        parts += [f"### {metric}{unit and f' ({unit})'}", _markdown_table(rows)]
    if plan.grid:
        parts += ["## Best points", _lines(outcome.best(plan).map(_short))]
    times = table.groupby("variant", sort=False)[["cpu_seconds", "judging_seconds"]].median().round().reset_index()
    parts += ["## Seconds", "Median CPU seconds of a training, and seconds of a judging.", _lines(times.map(_short))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(summary: pd.DataFrame) -> str:
    rows = []
    for variant, own in summary.groupby("variant", sort=False):
        row = {"variant": variant, "less": own["baseline"].dropna().iloc[0] if own["baseline"].notna().any() else ""}
        for cell in own.to_dict("records"):
            row[cell["level"] or "all"] = "; ".join(" ".join(words) for words, _ in _cell_parts(cell))
        rows.append(row)
    return _lines(pd.DataFrame(rows).fillna(""))


def _settings(plan: Plan) -> tuple[str, pd.DataFrame]:
    """What is given for all variants, in a line; and of every variant the settings that not all have in common. Each is
    tried at every point of the grid, if there is one."""
    of_grid = {key for _, point in plan.points.values() for key in point}
    given = {
        name: {key: str(in_words(value)) for key, value in own.items() if key not in of_grid}
        for name, own in plan.tried.items()
    }
    keys = dict.fromkeys(key for own in given.values() for key in own)
    common = [key for key in keys if len({own.get(key) for own in given.values()}) == 1]

    def words(own: dict[str, str], asked: Iterable[str]) -> str:
        return ", ".join(f"{key}={own[key]}" for key in asked if key in own)

    differing = [key for key in keys if key not in common]
    rows = [{"variant": name, "settings": words(own, differing)} for name, own in given.items()]
    return words(next(iter(given.values())), common), pd.DataFrame(rows)


def _lines(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _short(value: object) -> object:
    if value is None or pd.isna(value):
        return ""
    if not isinstance(value, float):
        return value
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _by_metric(plan: Plan, summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each of its metrics that its runs have."""
    found = dict(iter(summary.groupby("metric")))
    return {metric: found[metric] for metric in plan.metrics if metric in found}


def _figures(plan: Plan, table: pd.DataFrame, summary: pd.DataFrame, most: int) -> dict[str, Figure]:
    """A picture for each of the first metrics; none of a grid, whose points are too many for one."""
    from hiercl import plot

    histories, figures = outcome.histories(plan), {}
    for metric, rows in [] if plan.grid else list(_by_metric(plan, summary).items())[:most]:
        figures[metric] = plot.study(rows, table, histories, metric, plan.baselines, plan.name)
    return figures


def _html(plan: Plan, table: pd.DataFrame, summary: pd.DataFrame) -> str:
    figures = _figures(plan, table, summary, MOST_FIGURES)
    against = set(plan.baselines.values())
    base = f"to <b>{html.escape(against.pop())}</b>" if len(against) == 1 else "to the variant that is named"
    body = [
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<p>{html.escape(plan.question)}</p>" if plan.question else "",
        f"<p class=muted>{html.escape(protocol(plan, table))}</p>",
        "<h2>Effects</h2>",
        f"<p class=muted>{EXPLAINED.format(base=base)}</p>",
        _scrolling(effects_table(summary, several=len(set(plan.baselines.values())) > 1)),
        f"<h2>Best points</h2>{_scrolling(_html_table(outcome.best(plan)))}" if plan.grid else "<h2>Pictures</h2>",
        *(_image(figure, f"{plan.name}: effects on {metric}") for metric, figure in figures.items()),
        "<h2>Runs</h2>",
        _scrolling(_html_table(table)),
        "<h2>Configurations</h2>",
        *_configurations(plan),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(plan.name)}</title>"
    return f"{page}<style>{STYLE}</style><body>{''.join(body)}</body></html>"


def protocol(plan: Plan, table: pd.DataFrame) -> str:
    """What its numbers belong to, in a few sentences; where runs differ, all that occurs."""
    done = [member for member in plan.members() if member.place.state == DONE]
    runs = [json.loads((member.place.folder / "run" / "config.json").read_text()) for member in done]
    protocols = [Report.load(member.place.report).protocol for member in done]
    trained = [f"{run['setting']['items']:,} training items of {run['data']['name']}" for run in runs]
    judged = [_judged(member.configuration.data.judged_on, p) for member, p in zip(done, protocols, strict=True)]
    trained_by = [environment for p in protocols for environment in _continued(p["run_environment"])]
    judged_by = [p["environment"] for p in protocols]
    features = [f"{p['features']}, {p['precision']} on {p['device']}" for p in protocols]
    probes = [f"λ from {p['linear_penalties']} on a fifth of the labelled items" for p in protocols]
    votes = [f"k = {p['knn_k']}, T = {p['knn_temperature']}" for p in protocols]
    few = [_few(member.configuration.judged, p["fine_tune"]) for member, p in zip(done, protocols, strict=True)]
    states = table["state"].value_counts()
    counts = ", ".join(f"{count} {state}" for state, count in states.items())

    def values(room: str, *names: str) -> str:
        """What the runs have for a setting: for the first of these names that they know."""
        found = (next(run[room][name] for name in names if name in run[room]) for run in runs)
        return _all_of(f"{value:,}" if isinstance(value, int) else str(value) for value in found)

    return (
        f"{len(plan.variants)} variants, seeds {', '.join(map(str, plan.seeds))}: {counts}. "
        f"{_all_of(trained)}; judged by {_all_of(judged)}; "
        f"{_all_of(features)}; linear probe: L-BFGS, {_all_of(probes)}; kNN: {_all_of(votes)}; "
        f"{_all_of(filter(None, few))}"
        f"{values('fit', 'encoder')}, "
        f"{values('fit', 'epochs')} epochs, batch {values('fit', 'batch')}, {values('fit', 'optimiser')}, views of "
        f"{values('views', 'crop', 'points')}; torch {_all_of(own['torch'] for own in trained_by)}; commits of hiercl: "
        f"trained by {_all_of(map(_commit, trained_by))}, judged by {_all_of(map(_commit, judged_by))}."
    )


def _continued(environment: dict) -> list[dict]:
    """The environment of a training, after those of what it was continued from."""
    earlier = environment.get("continued")
    return [*(_continued(earlier) if earlier else []), environment]


def _commit(environment: dict) -> str:
    """Short, with what follows it: " with changes"."""
    commit = environment["git_commit"] or "unknown"
    return commit[:10] + commit[40:]


def _few(judged: JudgedConfig, fine_tune: dict | None) -> str:
    """How few labels were learnt from, in words; empty where that was not asked."""
    if fine_tune is None:
        return ""
    return (
        f"few labels: {judged.label_draws} draws of each share, a frozen probe whose λ the number of labels gives "
        f"(hiercl.evaluation.few_labels), and fine-tuning of all weights, {fine_tune['epochs']} epochs and at most "
        f"{fine_tune['most_steps']} steps; "
    )


def _judged(judged_on: str, protocol: dict) -> str:
    """What a run is judged by, in words."""
    note = f" ({protocol['test_note']})" if protocol["test_note"] else ""
    which = WHICH_TEST.get(judged_on, "")
    bank = "" if judged_on in ("test", "held out") else f", with {protocol['train_items']:,} labelled items beside them"
    return f"{protocol['test_items']:,} test items{which} of {protocol['test']}{note}{bank}"


def _all_of(words: Iterable[str]) -> str:
    """All that occurs, once."""
    return " or ".join(dict.fromkeys(words))


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
    lines = ((word, style) for words, style in _cell_parts(row) for word in words)
    return "<br>".join(f"<span class={style}>{html.escape(word)}</span>" for word, style in lines)


def _cell_parts(row: dict) -> list[tuple[list[str], str]]:
    """The number and the effect of a cell, in words that stay whole, each with its style."""
    if not row["n"]:
        return []
    digits = decimals(row["metric"])
    spread = f" ± {row['std']:.{digits}f}" if row["n"] > 1 else ""
    parts = [([f"{row['mean']:.{digits}f}{spread} ({row['n']})"], "number")]
    if not pd.isna(row.get("difference", float("nan"))):
        verdict = row["verdict"]
        interval = [] if pd.isna(row["low"]) else [f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"]
        words = [f"{row['difference']:+.{digits}f}", *interval, verdict]
        parts.append((words, verdict if verdict in ("better", "worse", "more", "less") else "muted"))
    return [([word.replace("-", "−") for word in words], style) for words, style in parts]


def _configurations(plan: Plan) -> list[str]:
    found = []
    for member in plan.members()[: len(plan.variants)]:  # those of the first seed
        content = html.escape(json.dumps(member.configuration.complete, indent=1, ensure_ascii=False))
        found.append(f"<details><summary>{html.escape(member.variant)}</summary><pre>{content}</pre></details>")
    return found


def _image(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"<p><img alt='{html.escape(text, quote=True)}' src='data:image/png;base64,{content}'></p>"


def _html_table(table: pd.DataFrame) -> str:
    return table.map(_short).to_html(index=False)


def _scrolling(table: str) -> str:
    return f"<div class=scroll>{table}</div>"
