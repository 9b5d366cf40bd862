"""Can a Dirichlet-process mixture find the number of levels? Planted features first, then trained encoders.

    .venv/bin/python benchmarks/level_count.py                           # planted: writes level_count_results.md
    .venv/bin/python benchmarks/level_count.py --runs moco hcsc runs/x   # pretrained names, run folders: writes
                                                                         # level_count_encoders.md

Planted: items of a tree of four levels with three children a node; every feature carries the centres of the nodes of
one level, and noise; one to four levels are in use, the coarsest first. Descriptors without labels see the features
alone. Those made from labels get all four levels, so they answer how many of these are in use: the control that tells
whether the mixture or the descriptor is to blame.
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

from hiercl.methods.labels.descriptors import WITH_LABELS, WITHOUT_LABELS
from hiercl.methods.labels.level_count import propose_levels

RESULTS = Path(__file__).with_name("level_count_results.md")
ENCODERS = Path(__file__).with_name("level_count_encoders.md")
DEPTH = 4
BRANCHING = 3


@dataclass(frozen=True)
class LevelCount:
    """What is planted, or which encoders are looked at."""

    runs: tuple[str, ...] = ()
    """Names of pretrained models or folders of runs; with any, nothing is planted."""
    data: str = "cifar100"
    """Whose test items the encoders see."""
    draws: int = 10
    """Data sets for each planted number of levels."""
    items: int = 3000
    """Of every planted data set."""
    d: int = 128
    """Planted features."""
    noise: float = 1.0
    """Standard deviation of the noise; that of the centres is 1."""
    spread: float = 0.3
    """Standard deviation of the logarithm of the features' strength."""
    priors: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    """Of the weights of the mixture."""
    max_levels: int = 6
    """Highest proposal."""
    out: Path = RESULTS
    """Where the planted results go."""


def planted_features(
    levels: int, items: int, d: int, seed: int, noise: float = 1.0, spread: float = 0.3
) -> tuple[Tensor, Tensor, Tensor]:
    """Features that serve one level each: values, nodes of the items at all four levels, level of every feature."""
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


def planted_part(settings: LevelCount) -> pd.DataFrame:
    """One row a proposal."""
    rows = []
    for planted in range(1, DEPTH + 1):
        for draw in range(settings.draws):
            v, ancestors, _ = planted_features(
                planted, settings.items, settings.d, 100 * planted + draw, settings.noise, settings.spread
            )
            for descriptor in WITHOUT_LABELS + WITH_LABELS:
                labels = ancestors if descriptor in WITH_LABELS else None
                for prior in settings.priors:
                    found = propose_levels(v, labels, descriptor, settings.max_levels, prior, seed=draw)
                    rows.append((descriptor, prior, planted, found.levels))
    return pd.DataFrame(rows, columns=["descriptor", "prior", "planted", "proposed"])


def summary(found: pd.DataFrame, settings: LevelCount) -> str:
    """The page of planted results."""
    accuracy = (found["planted"] == found["proposed"]).groupby([found["descriptor"], found["prior"]], sort=False)
    table = accuracy.mean().unstack("prior")
    lines = [
        "# Number of levels: planted features",
        "",
        f"Made by `benchmarks/level_count.py`: {settings.items} items, {settings.d} features, noise {settings.noise}, "
        f"spread of strength {settings.spread}, {settings.draws} draws of each number of levels (1 to {DEPTH}), at "
        f"most {settings.max_levels} proposed. Always giving one number is right in {1 / DEPTH:.0%}.",
        "",
        "## Share of proposals that are right, by the prior of the weights",
        "",
        *_table(
            ["descriptor", *map(str, table.columns)],
            [
                [_called(name), *(f"{share:.2f}" for share in row)]
                for name, row in zip(table.index, table.values, strict=True)
            ],
        ),
        "",
        "## Planted × proposed, all priors together",
    ]
    proposals = range(1, settings.max_levels + 1)
    for name, part in found.groupby("descriptor", sort=False):
        counts = pd.crosstab(part["planted"], part["proposed"]).reindex(columns=proposals, fill_value=0)
        rows = [[str(planted), *map(str, row)] for planted, row in zip(counts.index, counts.values, strict=True)]
        lines += ["", f"{_called(name)}:", "", *_table(["planted", *map(str, proposals)], rows)]
    return "\n".join(lines) + "\n"


def _called(descriptor: str) -> str:
    return f"{descriptor} (with the labels of {DEPTH} levels)" if descriptor in WITH_LABELS else descriptor


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]


def real_part(settings: LevelCount) -> pd.DataFrame:
    """One row for each encoder, place in it, descriptor and prior."""
    import hiercl

    _, test = hiercl.load(settings.data)
    ancestors = torch.from_numpy(test.hierarchy.ancestors[test.labels])
    rows = []
    for name in settings.runs:
        for place, v in _features(name, test):
            for descriptor in WITHOUT_LABELS + WITH_LABELS:
                labels = ancestors if descriptor in WITH_LABELS else None
                for prior in settings.priors:
                    found = propose_levels(v, labels, descriptor, settings.max_levels, prior)
                    shares = " ".join(f"{share:.2f}" for share in found.weights if share)
                    rows.append((name, place, descriptor, prior, found.levels, shares))
    return pd.DataFrame(rows, columns=["encoder", "features", "descriptor", "prior", "proposed", "shares"])


@torch.no_grad()
def proposals(found: pd.DataFrame) -> str:
    """The proposed numbers of levels: an encoder and place a line, a descriptor a column, one number for each prior."""
    run, place, descriptor, prior, levels = found.columns[:5]
    kinds = list(dict.fromkeys(found[descriptor]))
    rows = []
    for (name, where), part in found.groupby([run, place], sort=False):
        cells = [" ".join(str(n) for n in part.loc[part[descriptor] == kind, levels]) for kind in kinds]
        rows.append([name, where, *cells])
    priors = ", ".join(f"{value:g}" for value in dict.fromkeys(found[prior]))
    about = [
        "# Number of levels: trained encoders",
        "",
        f"Made by `benchmarks/level_count.py --runs ...` on test items: proposed levels for the priors {priors}. "
        "CIFAR-100 has two. What the planted features say of these descriptors is in level_count_results.md.",
        "",
    ]
    header = ["encoder", "features", *(f"{kind} (labels)" if kind in WITH_LABELS else kind for kind in kinds)]
    return "\n".join([*about, *_table(header, rows)]) + "\n"


def _features(name: str, test) -> Iterator[tuple[str, Tensor]]:
    import hiercl

    if name in hiercl.pretrained_names():
        model = hiercl.pretrained(name)
        head = model.head
    else:
        model = hiercl.load_run(name)
        head = model.method.head
    u = hiercl.embed(model, test)
    yield "backbone", u
    yield "projection", head(u)


def main(settings: LevelCount) -> pd.DataFrame:
    if settings.runs:
        found = real_part(settings)
        page = proposals(found)
        ENCODERS.write_text(page)
        print(page)
    else:
        found = planted_part(settings)
        page = summary(found, settings)
        settings.out.write_text(page)
        print(page)
    return found


if __name__ == "__main__":
    main(tyro.cli(LevelCount))
