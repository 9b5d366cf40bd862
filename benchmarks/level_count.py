"""Can a Dirichlet-process mixture find the number of levels? Planted features first, then trained encoders.

    .venv/bin/python benchmarks/level_count.py                           # planted: writes level_count_results.md
    .venv/bin/python benchmarks/level_count.py --runs moco hcsc runs/x   # pretrained models, folders of runs: writes
                                                                         # level_count_encoders.md

Planted features: items of a tree of four levels with three children per node. Every feature is the centre of the
item's node at one level, and noise. One to four levels are used, the coarsest first. Descriptors without labels see the
features alone. Descriptors with labels see all four levels, so they say how many of these are used: this control shows
whether a failure comes from the mixture or from the descriptor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from torch import Tensor

import hiercl
from hiercl.methods.labels.descriptors import WITH_LABELS, WITHOUT_LABELS
from hiercl.methods.labels.level_count import propose_levels

RESULTS = Path(__file__).with_name("level_count_results.md")
ENCODERS = Path(__file__).with_name("level_count_encoders.md")
DEPTH, BRANCHING = 4, 3  # of the planted tree
FEATURES = 128
NOISE = 1.0  # standard deviation of the noise; that of the centres is 1
SPREAD = 0.3  # standard deviation of the logarithm of the features' strengths
MAX_LEVELS = 6


@dataclass(frozen=True)
class LevelCount:
    """What is planted, or which encoders are used."""

    runs: tuple[str, ...] = ()
    """Names of pretrained models or folders of runs. If there are any, nothing is planted."""
    data: str = "cifar100"
    """Data set whose test items the encoders see."""
    draws: int = 10
    """Number of data sets for each planted number of levels."""
    items: int = 3000
    """Number of items of a planted data set."""
    priors: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    """Priors of the mixture's weights."""


def planted_features(
    levels: int, items: int, d: int, seed: int, noise: float = NOISE, spread: float = SPREAD
) -> tuple[Tensor, Tensor, Tensor]:
    """Makes features that serve one level each: values, nodes of the items at all levels, level of every feature."""
    rng = np.random.default_rng(seed)
    leaf = rng.integers(BRANCHING**DEPTH, size=items)
    ancestors = np.stack([leaf // BRANCHING ** (DEPTH - 1 - level) for level in range(DEPTH)], axis=1)
    level_of = rng.permutation(np.arange(d) % levels)
    strength = np.exp(spread * rng.standard_normal(d))
    v = noise * rng.standard_normal((items, d))
    for level in range(levels):
        centres = strength * rng.standard_normal((BRANCHING ** (level + 1), d))
        v += np.where(level_of == level, centres[ancestors[:, level]], 0.0)
    return torch.from_numpy(v), torch.from_numpy(ancestors), torch.from_numpy(level_of)


def proposals(v: Tensor, ancestors: Tensor, settings: LevelCount, seed: int = 0) -> Iterator[tuple[str, float, int]]:
    """Gives descriptor, prior and proposed number of levels, for every descriptor and prior."""
    for descriptor in WITHOUT_LABELS + WITH_LABELS:
        labels = ancestors if descriptor in WITH_LABELS else None
        for prior in settings.priors:
            yield descriptor, prior, propose_levels(v, labels, descriptor, MAX_LEVELS, prior, seed).levels


def planted_part(settings: LevelCount) -> pd.DataFrame:
    """Makes one row per proposal for planted features."""
    rows = []
    for planted in range(1, DEPTH + 1):
        for draw in range(settings.draws):
            v, ancestors, _ = planted_features(planted, settings.items, FEATURES, 100 * planted + draw)
            rows += [(planted, *found) for found in proposals(v, ancestors, settings, draw)]
    return pd.DataFrame(rows, columns=["planted", "descriptor", "prior", "proposed"])


def summary(found: pd.DataFrame, settings: LevelCount) -> str:
    """Writes the page of the planted features."""
    accuracy = (found["planted"] == found["proposed"]).groupby([found["descriptor"], found["prior"]], sort=False)
    table = accuracy.mean().unstack("prior")
    lines = [
        "# Number of levels: planted features",
        "",
        f"Made by `benchmarks/level_count.py`: {settings.items} items, {FEATURES} features, noise {NOISE}, "
        f"spread of strength {SPREAD}, {settings.draws} draws of each number of levels (1 to {DEPTH}), at "
        f"most {MAX_LEVELS} proposed. Always giving one number is right in {1 / DEPTH:.0%}.",
        "",
        "## Share of proposals that are right, by the prior of the weights",
        "",
        *_table(
            ["descriptor", *map(str, table.columns)],
            [[_called(name), *(f"{share:.2f}" for share in row)] for name, row in table.iterrows()],
        ),
        "",
        "## Planted × proposed, all priors together",
    ]
    for name, part in found.groupby("descriptor", sort=False):
        counts = pd.crosstab(part["planted"], part["proposed"])
        counts = counts.reindex(columns=range(1, MAX_LEVELS + 1), fill_value=0)
        rows = [[str(planted), *map(str, row)] for planted, row in counts.iterrows()]
        lines += ["", f"{_called(name)}:", "", *_table(["planted", *map(str, counts.columns)], rows)]
    return "\n".join(lines) + "\n"


def _called(descriptor: str) -> str:
    return f"{descriptor} (with the labels of {DEPTH} levels)" if descriptor in WITH_LABELS else descriptor


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]


@torch.no_grad()
def encoders_part(settings: LevelCount) -> pd.DataFrame:
    """Makes one row per proposal for trained encoders, before and after their heads."""
    _, test = hiercl.load(settings.data)
    ancestors = torch.from_numpy(test.hierarchy.ancestors[test.labels])
    rows = []
    for name in settings.runs:
        pretrained = name in hiercl.pretrained_names()
        model = hiercl.pretrained(name) if pretrained else hiercl.load_run(name)
        u = hiercl.embed(model, test)
        head = model.head if pretrained else model.method.head
        for place, v in (("backbone", u), ("projection", head(u))):
            rows += [(name, place, *found) for found in proposals(v, ancestors, settings)]
    return pd.DataFrame(rows, columns=["encoder", "features", "descriptor", "prior", "proposed"])


def encoders_page(found: pd.DataFrame) -> str:
    """Writes the page of the encoders: a line for each encoder and place, with one number for each prior."""
    priors = ", ".join(f"{prior:g}" for prior in found["prior"].unique())
    kinds = found["descriptor"].unique()
    rows = []
    for (name, place), part in found.groupby(["encoder", "features"], sort=False):
        cells = [" ".join(map(str, part.loc[part["descriptor"] == kind, "proposed"])) for kind in kinds]
        rows.append([name, place, *cells])
    header = ["encoder", "features", *(f"{kind} (labels)" if kind in WITH_LABELS else kind for kind in kinds)]
    about = (
        f"Made by `benchmarks/level_count.py --runs ...` on test items: proposed levels for the priors {priors}. "
        "CIFAR-100 has two. What the planted features say of these descriptors is in level_count_results.md."
    )
    return "\n".join(["# Number of levels: trained encoders", "", about, "", *_table(header, rows)]) + "\n"


def main(settings: LevelCount) -> None:
    """Writes one of the two pages and prints it."""
    if settings.runs:
        page, file = encoders_page(encoders_part(settings)), ENCODERS
    else:
        page, file = summary(planted_part(settings), settings), RESULTS
    file.write_text(page)
    print(page)


if __name__ == "__main__":
    main(tyro.cli(LevelCount))
