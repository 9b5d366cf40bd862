"""The page of a study: self-contained HTML, or Markdown with one picture and without single runs."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from hiercl.evaluation.report import AGAIN as BROKEN
from hiercl.evaluation.report import REPORT, REPORT_FORM
from hiercl.metrics import definitions
from hiercl.metrics.definitions import decimals
from hiercl.runtime.files import read_json, reading, whole_file, write_atomically
from hiercl.runtime.markup import in_code, in_markdown
from hiercl.study.effects import Effect
from hiercl.study.outcome import Outcome
from hiercl.study.plan import Member
from hiercl.study.running import DONE
from hiercl.study.variants import as_text
from hiercl.training import AGAIN, CONFIG, read_config

MOST_FIGURES = 4
EFFECT = {"mean": "difference"} | {name: name for name in ("low", "high", "t_low", "t_high", "verdict")}
MARKED = r"(better|worse)(; t [^<]*)?</td>"  # a verdict, which is bold
CHANCE_OF_ONE = 0.05  # of a verdict where there is no difference: the intervals are of 95 %
TEMPLATE = Path(__file__).with_name("page.html")
EXPLAINED = (
    "Mean ± standard deviation (seeds); difference to the variant that is named over the same seeds, with its 95 % "
    "bootstrap interval. hiercl.metrics.definitions() says what each number is. A verdict needs five seeds and an "
    'interval without 0, or differences that are all the same. Student\'s 95 % interval stands after "t" where there '
    "is no other one, and where it says otherwise: only one of the two contains 0."
)
CHANCE = (
    " This page has {intervals} bootstrap intervals, and {verdicts} of them give a verdict. If no variant differed "
    "from its baseline, about {expected} would give one by chance."
)
PROTOCOL = (
    "{items}; judged by {judges}; {features}; linear probe: L-BFGS, {penalties}; kNN: {votes}; {few}{encoder}, {epochs}"
    " epochs, batch {batch}, {optimiser}, views of {views}; torch {torch}, threads: {threads}; commits of hiercl: "
    "trained by {trained}, judged by {judged}."
)
FEW_LABELS = (
    "few labels: {draws} draws of each share, a frozen probe whose λ the number of labels gives "
    "(hiercl.evaluation.few_labels), and fine-tuning of all weights, {epochs} epochs and at most {most_steps} steps; "
)


def write_page(study: Outcome, path: Path) -> Path:
    """Writes the page of :meth:`hiercl.Study.report`, the table of all runs as CSV, and the picture of a Markdown page.

    Raises:
        ValueError: no run of the study is done, or the path ends in neither .html nor .md.
    """
    table = study.table()
    if DONE not in set(table["state"]):
        raise ValueError(f"no run of {study.name!r} is done yet: call run() first.")
    if path.suffix not in (".html", ".md"):
        raise ValueError(f"{path}: a page is .html or .md.")
    write = _html if path.suffix == ".html" else _markdown
    write_atomically(path, write(study, table, study.summary(), path.with_suffix(".png")))
    write_atomically(path.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g"))
    return path


def _markdown(study: Outcome, table: pd.DataFrame, summary: pd.DataFrame, picture: Path) -> str:
    parts = [f"# {in_markdown(study.name)}", in_markdown(study.question), in_markdown(protocol(study, table))]
    for title, text, frame in _sections(study, table, summary):
        parts += [f"{'##' if text or title == 'Best points' else '###'} {in_markdown(title)}", _in_markdown(text)]
        parts += [] if frame is None else [_lines(frame)]
        for metric, figure in _figures(study, table, summary, 1).items() if title == "Effects" else ():
            with whole_file(picture) as new:
                figure.savefig(new, dpi=90)
            title = f"Effects on {in_markdown(metric)}"
            parts.append(f"![{title}]({quote(picture.name)})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _html(study: Outcome, table: pd.DataFrame, summary: pd.DataFrame, picture: Path) -> str:
    name, parts = html.escape(study.name), {}
    for metric, figure in _figures(study, table, summary, MOST_FIGURES).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        content, text = base64.b64encode(buffer.getvalue()).decode(), html.escape(metric, quote=True)
        image = f"<img alt='{name}: effects on {text}' src='data:image/png;base64,{content}'>"
        parts["Pictures"] = parts.get("Pictures", "") + f"<p>{image}</p>"
    for title, text, frame in [*_sections(study, table, summary), ("Runs", "All runs.", table.map(_short))]:
        rows = "" if frame is None else re.sub(MARKED, r"<b>\1</b>\2</td>", frame.to_html(index=False))
        parts[title] = f"<p class=soft>{html.escape(text)}</p><div>{rows}</div>"
    configurations = []
    for member in study.members()[: len(study.variants)]:  # those of the first seed
        content = html.escape(json.dumps(member.configuration.complete, indent=1, ensure_ascii=False))
        configurations.append(
            f"<details><summary>{html.escape(member.variant)}</summary><pre>{content}</pre></details>"
        )
    parts["Configurations"] = "".join(configurations)
    links = "".join(f"<a href='#part{number}'>{html.escape(title)}</a>" for number, title in enumerate(parts))
    head = f"<p>{html.escape(study.question)}</p><p class=soft>{html.escape(protocol(study, table))}</p>"
    search = "<input id=find type=search placeholder='Find a variant' aria-label='Find a variant'>"
    sections = "".join(
        f"<section id=part{number}><h2>{html.escape(title)}</h2>{content}</section>"
        for number, (title, content) in enumerate(parts.items())
    )
    body = f"<header><h1>{name}</h1>{head}</header><nav>{search}{links}</nav><main>{sections}</main>"
    before, between, after = re.split("<!-- (?:title|body) -->", TEMPLATE.read_text("utf-8"))
    return f"{before}{name}{between}{body}{after}"


def _sections(study: Outcome, table: pd.DataFrame, summary: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame | None]]:
    """Title, text and table of each section: the settings of the variants, their effects on each metric, and times."""
    common, settings = _settings(study)
    values = {name: " or ".join(str(as_text(value)) for value in values) for name, values in study.grid.items()}
    grid = "".join(f"; each at every {name} of {words}" for name, words in values.items()).replace("`", "'")
    common = f"All of them: {in_code(common)}; what" if common else "What"
    sections = [
        ("Variants", f"{common} is not said is the default{grid}.", settings),
        ("Effects", explained(study, summary), None),
    ]
    for metric, rows in _by_metric(study, summary).items():
        unit = definitions()["unit"].get(metric, "%")  # metrics without a definition are shares
        sections.append((f"{metric}{unit and f' ({unit})'}", "", _effects(rows)))
    if study.grid:
        sections.append(("Best points", "", study.best().map(_short)))
    times = table.groupby("variant", sort=False)[["cpu_seconds", "judging_seconds"]].median().round().reset_index()
    return [*sections, ("Seconds", "Median CPU seconds of a training, and seconds of a judging.", times.map(_short))]


def explained(study: Outcome, summary: pd.DataFrame) -> str:
    """Returns what the numbers of a page are, and how many verdicts would come about by chance."""
    shown = pd.concat([summary.head(0), *_by_metric(study, summary).values()]).dropna(subset=["low"])
    if shown.empty:
        return EXPLAINED
    verdicts = int(((shown["low"] > 0) | (shown["high"] < 0)).sum())
    expected = f"{CHANCE_OF_ONE * len(shown):.2g}"
    return EXPLAINED + CHANCE.format(intervals=len(shown), verdicts=verdicts, expected=expected)


def _effects(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary of one metric with a row for each variant and a column for each level."""
    rows = []
    for variant, own in summary.groupby("variant", sort=False):
        cells = {row["level"] or "all": _cell(row) for row in own.to_dict("records")}
        rows.append({"variant": variant, "less": next(iter(own["baseline"].dropna()), ""), **cells})
    return pd.DataFrame(rows).fillna("")


def _cell(row: dict) -> str:
    """A number and its effect in words."""
    if not row["n"]:
        return ""
    digits = decimals(row["metric"])
    spread = f" ± {row['std']:.{digits}f}" if row["n"] > 1 else ""
    words = f"{row['mean']:.{digits}f}{spread} ({row['n']})"
    if not pd.isna(row["difference"]):
        found = Effect(**{name: row[own] for name, own in EFFECT.items()}, seeds=int(row["seeds"]))
        words += f"; {found.text(digits)}"
    return words.replace("-", "−")


def _settings(study: Outcome) -> tuple[str, pd.DataFrame]:
    """The settings that all variants have in common, in a line; and for every variant the other settings. The settings
    of the grid are left out."""
    of_grid = {key for _, point in study.points.values() for key in point}
    rows = [{key: str(as_text(value)) for key, value in own.items()} for own in study.compared.values()]
    settings = pd.DataFrame(rows, list(study.compared)).drop(columns=of_grid, errors="ignore")
    same = settings.nunique(dropna=False) == 1
    common, *own = (
        [", ".join(f"{key}={value}" for key, value in row.dropna().items()) for _, row in part.iterrows()]
        for part in (settings.loc[:, same].head(1), settings.loc[:, ~same])
    )
    return common[0], pd.DataFrame({"variant": settings.index, "settings": own[0]})


def _lines(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(in_markdown, row))} |" for row in rows)


def _in_markdown(text: str) -> str:
    """A text whose parts between backticks are code."""
    return "`".join(part if number % 2 else in_markdown(part) for number, part in enumerate(text.split("`")))


def _short(value: object) -> object:
    if value is None or pd.isna(value):
        return ""
    if not isinstance(value, float):
        return value
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _by_metric(study: Outcome, summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each metric of the study that its runs have."""
    found = dict(iter(summary.groupby("metric")))
    return {metric: found[metric] for metric in study.metrics if metric in found}


def _figures(study: Outcome, table: pd.DataFrame, summary: pd.DataFrame, most: int) -> dict[str, Any]:
    """A picture for each of the first metrics; none for a grid, which has too many points for a picture."""
    from hiercl import plot

    histories, shown = study.histories(), [] if study.grid else list(_by_metric(study, summary).items())[:most]
    return {name: plot.study(rows, table, histories, name, study.baselines, study.name) for name, rows in shown}


def protocol(study: Outcome, table: pd.DataFrame) -> str:
    """Returns the protocol of the numbers in a few sentences. Where runs differ, it lists all values."""
    runs = [_protocol(member) for member in study.members() if member.place.state == DONE]
    words = {name: " or ".join(dict.fromkeys(text for run in runs for text in run[name] if text)) for name in runs[0]}
    counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    head = f"{len(study.variants)} variants, seeds {', '.join(map(str, study.seeds))}: {counts}. "
    return head + PROTOCOL.format(**words)


def _protocol(member: Member) -> dict[str, list[str]]:
    """The protocol of one run: the words for each gap in the text."""
    folder, report = member.place.folder / "run", member.place.report / REPORT
    run, own = read_config(folder), read_json(report, BROKEN, REPORT_FORM)["protocol"]
    with reading(folder / CONFIG, AGAIN), reading(report, BROKEN):
        return _words(member, run, own)


def _words(member: Member, run: dict[str, Any], own: dict[str, Any]) -> dict[str, list[str]]:
    """The same, from the settings of the run and the protocol of its report."""
    judged_on, few = member.configuration.data.judged_on, own["fine_tune"]
    which = {"held out": ", held out of training,", "unseen": ", whose classes were not trained on,"}.get(judged_on, "")
    judges = f"{own['test_items']:,} test items{which} of {own['test']}"
    judges += f" ({own['test_note']})" if own["test_note"] else ""
    if judged_on not in ("test", "held out"):
        judges += f", with {own['train_items']:,} labelled items beside them"
    trained_by = [own["run_environment"]]
    while earlier := trained_by[0].get("continued"):
        trained_by.insert(0, earlier)
    # A commit has 40 characters; " with changes" may follow it.
    commits = [commit[:10] + commit[40:] for own in trained_by for commit in [own["git_commit"] or "unknown"]]
    judge = own["environment"]["git_commit"] or "unknown"
    named = isinstance(run["fit"]["encoder"], str)
    return {
        "items": [f"{run['setting']['items']:,} training items of {run['data']['name']}"],
        "judges": [judges + (f", {own['sample']:,} test items compared with all" if "sample" in own else "")],
        "features": [f"{own['features']}, {own['precision']} on {own['device']}"],
        "penalties": [f"λ from {own['linear_penalties']} on a fifth of the labelled items"],
        "votes": [f"k = {own['knn_k']}, T = {own['knn_temperature']}"],
        "few": [FEW_LABELS.format(draws=member.configuration.evaluate.label_draws, **few) if few else ""],
        "views": [str(run["views"].get("crop", run["views"].get("points")))],
        "torch": [environment["torch"] for environment in trained_by],
        "threads": [str(environment.get("threads", "unknown")) for environment in trained_by],
        "trained": commits,
        "judged": [judge[:10] + judge[40:]],
        **{name: [f"{run['fit'][name]:,}"] for name in ("epochs", "batch")},
        "optimiser": [run["fit"]["optimiser"]],
        "encoder": [run["fit"]["encoder"] if named else run["fit"]["encoder"]["name"]],
    }
