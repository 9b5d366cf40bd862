"""What the papers claim, and what came out: paired differences, 95 % t intervals, a verdict each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from paired import difference, digits, interval_cell, markdown

SEEDS_OF_A_CLAIM = 5
Numbers = Mapping[tuple[str, int], Mapping[tuple[str, str], float]]
"""(arm, seed) to (part, metric) to value; the part is a level, "few labels ..." or empty."""


@dataclass(frozen=True)
class Compared:
    """A number in which one arm is to exceed another.

    Attributes:
        name: of the metric.
        level: coarse (0), fine (−1), or None for a number of the whole embedding.
        sign: 1 if the claim says that it grows, −1 if it says that it falls.
        relative: in per cent of the other arm's number.
        held_out: of held-out training items, not of the test set.
    """

    name: str
    level: int | None = None
    sign: int = 1
    relative: bool = False
    held_out: bool = False


@dataclass(frozen=True)
class Claim:
    """A claim, and the pairs of arms (other, better) that it is measured by."""

    title: str
    paper: str
    pairs: tuple[tuple[str, str], ...]
    numbers: tuple[Compared, ...]
    about: float | None = None
    """The size of the difference that the paper names."""
    long_tail: bool = False


ACCURACIES = (Compared("linear", 0), Compared("linear", -1), Compared("knn", 0), Compared("knn", -1))
BALANCED = tuple(Compared(f"{name}_balanced", level) for name in ("linear", "knn") for level in (0, -1))
VARIANCES = (Compared("total_variance", relative=True), Compared("outside_pc1"), Compared("outside_pc2"))
HMCES = ("hmce-pair", "hmce-centred")  # with two levels, the official form is SupCon and the not thinned one HMC

CLAIMS = (
    Claim(
        "CsMl: neighbours and stages improve on MoCo v2",
        "ImageNet, ResNet-50, linear: 76.6 (schedule unknown) against 71.1 of MoCo v2 (800 epochs); its ablations were "
        "not to be had",
        (
            *(("moco", arm) for arm in ("csml-neighbours", "csml-stages", "csml-mix", "csml")),
            *((other, "csml") for other in ("csml-mix", "moco-equal-compute")),
        ),
        ACCURACIES,
    ),
    Claim(
        "HCSC improves on MoCo v2",
        "ImageNet, ResNet-50, 200 epochs: linear 69.2 against 67.5, kNN 60.7 against 55.7",
        (("moco", "hcsc"),),
        ACCURACIES,
    ),
    Claim(
        "Hierarchical losses improve on SupCon",
        "no number from scratch on CIFAR-100 was to be had",
        tuple(("supcon", arm) for arm in ("hmc", *HMCES)),
        ACCURACIES,
    ),
    Claim(
        "Masks add about 2 points",
        "about +2 points of linear accuracy on CIFAR-100 over existing hierarchical losses",
        tuple((other, arm) for arm in ("g_hmlc", "a_hmlc") for other in ("supcon", "hmc", *HMCES)),
        ACCURACIES,
        about=2.0,
    ),
    Claim(
        "A-HMLC is at least as good as G-HMLC",
        "A-HMLC above G-HMLC (second-hand, without a number)",
        (("g_hmlc", "a_hmlc"),),
        ACCURACIES,
    ),
    Claim(
        "G-HMLC's embedding has about 3 % more variance",
        "“3 % more variance in embeddings” than HMCE (second-hand, on MNIST; which variance is not said): here the "
        "total variance of unit test features in per cent of the other's, and the shares outside the first principal "
        "components in points",
        tuple((other, "g_hmlc") for other in ("hmc", *HMCES)),
        VARIANCES,
        about=3.0,
    ),
    Claim(
        "Under a long tail over superclasses, masks help",
        "models imbalanced classes at the higher levels (abstract, without a number)",
        (
            *(("supcon", arm) for arm in ("hmc", "hmce-pair", "g_hmlc", "a_hmlc")),
            *((other, arm) for other in ("hmc", "hmce-pair") for arm in ("g_hmlc", "a_hmlc")),
        ),
        BALANCED,
        long_tail=True,
    ),
    Claim(
        "Control (ours): the mixture matters, not the split alone",
        "no such control was found",
        (
            ("g_hmlc-random", "g_hmlc"),
            ("g_hmlc-random", "g_hmlc-moments"),  # the best of the search where the mixture must look
            *(("hmc", arm) for arm in ("g_hmlc-random", "g_hmlc-moments")),
        ),
        ACCURACIES,
    ),
    Claim(
        "Control (ours), long tail: the mixture matters, not the split alone",
        "no such control was found",
        (("g_hmlc-random", "g_hmlc"),),
        BALANCED,
        long_tail=True,
    ),
    Claim(
        "Ours: a learned tree instead of labels improves on methods without one",
        "not of a paper",
        (("simclr", "hmc-prototypes"), ("moco", "hmc-prototypes"), ("hcsc", "hmc-prototypes")),
        ACCURACIES,
    ),
)


def claims_of(arms: set[str], with_long_tail: bool, held_out: bool) -> tuple[Claim, ...]:
    """The claims on results that are there: pairs of these arms; with held-out items every accuracy twice."""
    found = []
    for claim in CLAIMS:
        pairs = tuple(pair for pair in claim.pairs if set(pair) <= arms)
        if not pairs or (claim.long_tail and not with_long_tail):
            continue
        numbers = claim.numbers
        if held_out:
            numbers += tuple(replace(compared, held_out=True) for compared in numbers if compared.level is not None)
        found.append(replace(claim, pairs=pairs, numbers=numbers))
    return tuple(found)


def claims_table(claims: tuple[Claim, ...], numbers: Numbers, tail: Numbers, levels: tuple[str, ...]) -> str:
    """Every claim with the paper's number and, for every pair of arms, what came out."""
    parts = []
    for claim in claims:
        head = ["", "paired seeds", *(_title(compared, levels) for compared in claim.numbers)]
        body = [_row(claim, pair, tail if claim.long_tail else numbers, levels) for pair in claim.pairs]
        parts.append(f"**{claim.title}.** Paper: {claim.paper}.\n\n" + markdown([head, *body]))
    return "\n\n".join(parts)


def paired(numbers: Numbers, a: str, b: str) -> list[int]:
    """The seeds that both arms have."""
    return sorted({seed for arm, seed in numbers if arm == a} & {seed for arm, seed in numbers if arm == b})


def _row(claim: Claim, pair: tuple[str, str], numbers: Numbers, levels: tuple[str, ...]) -> list[str]:
    seeds = paired(numbers, *pair)
    cells = [_cell(claim, pair, compared, numbers, seeds, levels) for compared in claim.numbers]
    return [f"{pair[1]} − {pair[0]}", f"{len(seeds)} of {SEEDS_OF_A_CLAIM}", *cells]


def _cell(claim, pair, compared: Compared, numbers: Numbers, seeds: list[int], levels: tuple[str, ...]) -> str:
    """Difference, interval, verdict; and whether the size that the paper names lies in the interval."""
    if not seeds:
        return "not run"
    part = "" if compared.level is None else levels[compared.level] + ", held out" * compared.held_out
    key = (part, compared.name)
    a, b = (np.array([numbers[arm, seed][key] for seed in seeds]) for arm in pair)
    if compared.relative:
        a, b = np.zeros(len(a)), 100 * (b / a - 1)
    mean, low, high, verdict = difference(a, b, compared.sign)
    if np.array_equal(a, b):
        return "the same numbers"
    if len(seeds) < SEEDS_OF_A_CLAIM:
        verdict = "too few seeds for a verdict"
    cell = f"{interval_cell(mean, low, high, 2 if compared.relative else digits(compared.name))} {verdict}"
    if claim.about is None or len(seeds) < SEEDS_OF_A_CLAIM:
        return cell
    where = "within" if low <= claim.about <= high else "below" if high < claim.about else "above"
    return f"{cell}; {claim.about:+g} {'in the interval' if where == 'within' else 'outside: it is ' + where}"


def _title(compared: Compared, levels: tuple[str, ...]) -> str:
    level = "" if compared.level is None else f", {levels[compared.level]}"
    level += ", held out" * compared.held_out
    return f"{compared.name}{level}{' (relative, %)' if compared.relative else ''}"
