"""Writes the numbers into the pages of this folder and into the README, from files of the repository.

    python docs/build.py            writes the pages
    python docs/build.py --check    exits with 1 and names the pages that are not what the script would write

A page marks the text that is written: `<!-- NAME: ARGUMENT | ARGUMENT --> ... <!-- end -->`. NAME is one of WRITERS.
Arguments that name a study refer to its CSV file in hiercl/study/ready.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pandas as pd

from hiercl.metrics import definitions
from hiercl.study import Effect, effect

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WEIGHTS = ROOT / "hiercl" / "encoders" / "weights"
SUPERVISED = {
    "pointnet_vanilla": "PointNet without T-Nets",
    "pointnet": "PointNet with T-Nets",
    "dgcnn": "DGCNN",
    "dgcnn_share": "DGCNN, neighbours by share",
}
RACED = {"linear": "linear", "knn": "kNN", "ami": "AMI"}
PRECISIONS = {"auto": "bf16", "float32": "float32, AVX2"}  # of the races on record
MARKED = re.compile(r"(<!-- (?P<name>[a-z ]+?)(?:: (?P<arguments>.*?))? -->)(?P<text>.*?)<!-- end -->", re.DOTALL)


@cache
def runs(study: str) -> pd.DataFrame:
    """Returns one row a run, indexed by variant and seed."""
    return pd.read_csv(ROOT / "hiercl" / "study" / "ready" / f"{study}.csv").set_index(["variant", "seed"])


def column(study: str, variant: str, name: str) -> pd.Series:
    """Returns a number of a variant, one a seed."""
    return runs(study)[name].loc[variant].dropna().astype(float)


@cache
def better() -> dict[str, str]:
    """Returns of every metric whether higher or lower values are better."""
    return definitions()["better"].to_dict()


@cache
def compared(study: str, variant: str, base: str, name: str) -> Effect:
    """Returns the paired effect of a variant against another one."""
    own, other = column(study, variant, name), column(study, base, name)
    seeds = own.index.intersection(other.index)
    known = better()
    way = next((known[m] for m in known if name == m or name.startswith(f"{m} ")), "higher")
    return effect(other[seeds].to_numpy(), own[seeds].to_numpy(), way)


def as_words(found: Effect, digits: int = 2) -> str:
    """Returns a difference and its interval, such as +0.56 [−0.34, +1.23]."""
    return found.text(digits, verdict=False)


def as_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown, between empty lines."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n\n"


# ---- what can be written ----


def write_effect(study: str, variant: str, base: str, name: str) -> str:
    """The difference of two variants in one number, with its interval."""
    return as_words(compared(study, variant, base, name))


def write_relative(study: str, variant: str, base: str, name: str) -> str:
    """The same in per cent of the mean of the second variant."""
    found, scale = compared(study, variant, base, name), 100 / column(study, base, name).mean()
    ends = [scale * value for value in (found.mean, found.low, found.high, found.t_low, found.t_high)]
    return as_words(Effect(*ends, found.seeds, found.verdict), 1)


def write_effects(study: str, *arguments: str) -> str:
    """A table: comparisons `A less B` and, last, the metrics; a row for each of both, a column for each level."""
    *pairs, metrics = arguments
    rows, levels = [], []
    measured = runs(study).dropna(axis="columns", how="all").columns
    for pair in pairs:
        variant, base = pair.split(" less ")
        for metric in metrics.split(", "):
            names = [name for name in measured if name == metric or name.startswith(f"{metric} ")]
            found = {name.removeprefix(metric).strip() or "all": compared(study, variant, base, name) for name in names}
            levels = max(levels, list(found), key=len)
            rows.append((pair, metric, found))
    rows = [
        [pair, metric, *(found[level].text() if level in found else "–" for level in levels)]
        for pair, metric, found in rows
    ]
    return as_table(["comparison", "metric", *levels], rows)


def write_mean(study: str, variant: str, name: str) -> str:
    """The mean of a number over the seeds."""
    return f"{column(study, variant, name).mean():.1f}"


def write_seeds(study: str) -> str:
    """The number of seeds that every variant of a study has."""
    return str(runs(study).groupby("variant").size().min())


def write_times(study: str, variant: str, base: str, name: str) -> str:
    """How many times as large the median of one variant is as that of another."""
    return f"{column(study, variant, name).median() / column(study, base, name).median():.1f}"


def write_table(study: str, *names: str) -> str:
    """A table: mean ± standard deviation of every variant (of seconds the median). `OTHER: NAME` takes another study's
    runs; `TEXT = NAME` gives a column another title."""

    def cell(variant: str, name: str) -> str:
        *other, name = name.rpartition(" = ")[2].split(": ")
        source = other[0] if other else study
        if variant not in runs(source).index:
            return "–"
        own = column(source, variant, name)
        if name.endswith("seconds"):
            return f"{own.median():.0f}"
        return f"{own.mean():.1f}" + (f" ± {own.std():.1f}" if len(own) > 1 else " (one seed)")

    variants = runs(study).index.unique("variant")
    titles = [name.partition(" = ")[0] for name in names]
    return as_table(["", *titles], [[variant, *(cell(variant, name) for name in names)] for variant in variants])


def write_brackets(*rows: str) -> str:
    """A table of what a method finds between two controls: rows `TEXT; STUDY; METRIC; NOTHING; RANDOM; FOUND; TRUE`."""
    found = []
    for row in rows:
        text, study, metric, *variants = row.split("; ")
        means = [f"{column(study, variant, metric).mean():.1f}" for variant in variants]
        found.append([text, *means])
    return as_table(["", "nothing", "at random", "found by the method", "by true labels"], found)


def write_metrics(of: str) -> str:
    """A table of the metrics of every "level" or of the whole "embedding"."""
    arrows = {"higher": "↑", "lower": "↓", "": ""}
    rows = definitions()[definitions()["of"] == of].itertuples()
    return as_table(
        ["metric", "unit", "what it is"],
        [[f"`{row.Index}`", f"{row.unit} {arrows[row.better]}".strip(), row.definition] for row in rows],
    )


def write_encoders(data: str) -> str:
    """A table of the pretrained encoders of "cifar100", "modelnet10" or "modelnet40", from their cards."""
    rows = []
    for path in sorted(WEIGHTS.glob("*.json")):
        card = json.loads(path.read_text())
        if card["protocol"]["train"] == data:
            pairs = [
                " / ".join(f"{level[name]:.1f}" for level in card["numbers"].values()) for name in ("linear", "knn")
            ]
            size = f"{path.with_suffix('.safetensors').stat().st_size / 1e6:.2f}"
            rows.append([f"`{path.stem}`", f"`{card['encoder']['name']}`", card["budget"], *pairs, size])
    return as_table(
        ["", "encoder", "budget", "linear, superclass / class", "kNN, superclass / class", "megabytes"], rows
    )


def write_supervised(data: str) -> str:
    """A table of the point encoders trained with labels on "modelnet10" or "modelnet40"."""
    files = (ROOT / "benchmarks/results/modelnet_supervised").glob(f"{data}-*.json")
    cards = [json.loads(path.read_text()) for path in files]
    rows = []
    for card in sorted(cards, key=lambda card: (list(SUPERVISED).index(card["encoder"]), card["settings"]["epochs"])):
        numbers = [card[how] for how in ("points as in training", "all points")]
        cells = [f"{own['accuracy']:.1f} / {own['balanced accuracy']:.1f}" for own in numbers]
        minutes = f"{card['cpu_seconds'] / 60:.0f}"
        rows.append([SUPERVISED[card["encoder"]], str(card["settings"]["epochs"]), *cells, minutes])
    return as_table(["", "epochs", "test with 128 points", "test with all 1,024", "CPU minutes"], rows)


def write_coverage() -> str:
    """A table: how often the intervals of a mean contain it, and their median widths, for each number of seeds."""
    found = pd.read_csv(ROOT / "benchmarks" / "results" / "coverage.csv")
    rows = []
    for (differences, interval), own in found.groupby(["differences", "interval"], sort=False):
        cells = ["–" if math.isnan(row.covers) else f"{row.covers:.1f} % ({row.width:.2f})" for row in own.itertuples()]
        rows.append([differences, interval, *cells])
    return as_table(["differences", "interval", *(f"{seeds} seeds" for seeds in found["seeds"].unique())], rows)


def write_race(name: str) -> str:
    """A table of a race: benchmarks/results/NAME.csv, which benchmarks/race.py wrote. Means over the seeds."""
    found = pd.read_csv(ROOT / "benchmarks" / "results" / f"{name}.csv")
    rows = []
    for (entry, precision), own in found.groupby(["entry", "precision"], sort=False):
        mean = own.mean(numeric_only=True)
        both = [" / ".join(f"{mean[f'{metric} {level}']:.1f}" for level in ("superclass", "class")) for metric in RACED]
        rows.append([entry, PRECISIONS[precision], f"{mean['epochs']:.0f}", f"{mean['cpu_s']:.0f}", *both])
    titles = (f"{title}, superclass / class" for title in RACED.values())
    return as_table(["recipe", "precision", "epochs", "CPU s", *titles], rows)


def write_shape_trees() -> str:
    """A table of what encoders order the classes of ModelNet40 by, which benchmarks/shape_trees.py wrote."""
    found = pd.read_csv(ROOT / "benchmarks" / "results" / "shape_trees.csv")
    rows = []
    for own in found.to_dict("records"):
        name = own["encoder"]
        shares = [f"{100 * own[f'siblings, by {kind}']:.0f} %" for kind in ("use", "shape")]
        others = [
            own["agreement with encoders without labels"],
            *(own[f"dendrogram, by {k}"] for k in ("use", "shape")),
        ]
        agreement, *trees = (f"{value:.2f}".replace("-", "−") for value in others)
        shown = f"`{name}`" if "-" in name else "histograms, no network"
        rows.append([shown, "yes" if own["labels"] else "no", agreement, *shares, *trees])
    titles = [f"{what}, by {kind}" for what in ("siblings", "dendrogram") for kind in ("use", "shape")]
    return as_table(["encoder", "learned from labels", "agreement", *titles], rows)


def write_studies() -> str:
    """A table of the studies that come with the package."""
    ready = sorted((ROOT / "hiercl" / "study" / "ready").glob("*.json"))
    rows = [[f"`{path.stem}`", json.loads(path.read_text())["question"]] for path in ready]
    return as_table(["name", "question"], rows)


WRITERS: dict[str, Callable[..., str]] = {
    "effect": write_effect,
    "relative": write_relative,
    "effects": write_effects,
    "mean": write_mean,
    "seeds": write_seeds,
    "times": write_times,
    "table": write_table,
    "brackets": write_brackets,
    "metrics": write_metrics,
    "encoders": write_encoders,
    "supervised": write_supervised,
    "studies": write_studies,
    "coverage": write_coverage,
    "race": write_race,
    "shape trees": write_shape_trees,
}


def written(page: str) -> str:
    """Returns a page with all its marked texts written anew."""

    def write(match: re.Match) -> str:
        arguments = [word.strip() for word in (match["arguments"] or "").split("|")]
        return f"{match[1]}{WRITERS[match['name']](*filter(None, arguments))}<!-- end -->"

    return MARKED.sub(write, page)


def main(check: bool) -> list[str]:
    """Writes the pages, unless they are only checked, and returns the names of those that have changed."""
    changed = []
    for path in (*sorted(DOCS.glob("*.md")), ROOT / "README.md"):
        page = path.read_text(encoding="utf-8")
        if (new := written(page)) != page:
            changed.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new, encoding="utf-8")
    return changed


if __name__ == "__main__":
    only_check = "--check" in sys.argv[1:]
    names = main(only_check)
    for name in names:
        print(f"{name} {'is not what docs/build.py writes' if only_check else 'was written'}.")
    sys.exit(1 if only_check and names else 0)
