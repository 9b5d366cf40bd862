"""What is written of the results: methods_results.md with every number, and a short form for the README."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods_arms import Arm, ArmList, Size, configuration
from methods_claims import Numbers, claims_of, claims_table
from methods_runs import FRACTIONS, result_file, stale
from methods_selection import Tried, tried_table
from paired import digits, markdown, mean_cell

OVERALL = ("total_variance", "outside_pc1", "outside_pc2", "effective_rank", "alignment", "uniformity")
PASSES = ("query_per_item", "key_per_item", "refresh_per_item")
WHOLE = {"items_seen", "query", "key", "refresh", "cpu_seconds", "seconds"}
LAST_EPOCH = "last epoch"

ABOUT = (
    'Made by `benchmarks/methods_table.py` from `benchmarks/results/`; the README\'s "What is measured" has the '
    "definitions. Mean ± standard deviation over as many seeds as the row says."
)
ABOUT_COST = (
    "Of the training alone. Items seen are anchors. Passes are pictures through an encoder, counted during the whole "
    "training: query (forward and backward), key (forward), refresh (forward, unaugmented: prototypes, neighbours, "
    "masks). Extra heads are not passes: the seconds have them."
)
ABOUT_CLAIMS = (
    "Paired differences with their 95 % t interval. A verdict needs five paired seeds: *held* when the whole interval "
    "lies on the claimed side of 0, *not held* when it lies on the other, else *undecided*. With so many intervals "
    "some verdicts come about by chance."
)
ABOUT_SELECTION = (
    "Every method had the same grid and one seed: mean of the linear accuracies of both levels, in per cent, on a "
    "fifth of the training pictures, after training on the others. Variants have their method's choice (bold)."
)
ABOUT_TAIL = (
    "Probe and neighbours are of the same long-tailed training set; the test set is balanced, so that balanced "
    "accuracy is accuracy. Learning rate and temperature are those chosen on balanced data."
)


@dataclass(frozen=True)
class Found:
    """The results of one size.

    Attributes:
        numbers: (arm, seed) to (part, metric) to value; the part is a level, empty, or the last epoch.
        protocol: of one of them.
        left_out: results that are there and are not used, and why.
    """

    numbers: Numbers
    protocol: dict[str, Any]
    left_out: tuple[str, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(self.protocol.get("levels", ()))

    @property
    def held_out(self) -> tuple[str, ...]:
        """The levels as they are called where held-out training items are judged by; none where there are not any."""
        return tuple(f"{level}, held out" for level in self.levels) if "held_out_items" in self.protocol else ()

    @property
    def superclasses(self) -> list[tuple[str, str]]:
        """The columns of recalls by superclass."""
        keys = dict.fromkeys(
            key for values in self.numbers.values() for key in values if key[0] in ("test", "held out")
        )
        return list(keys)

    def of(self, arm: Arm) -> list[dict[tuple[str, str], float]]:
        """The numbers of an arm, one entry a seed."""
        return [dict(values) for (name, _), values in self.numbers.items() if name == arm.name]


def collect(listed: ArmList, size: Size, seeds: tuple[int, ...], results: Path) -> Found:
    """What is there of this size and of the present configurations."""
    train = size.load()[0]
    numbers, left_out, protocol = {}, [], {}
    for arm in listed.arms.values():
        for seed in seeds:
            file = result_file(results, size, arm.name, seed)
            if not file.exists():
                continue
            try:
                changed = stale(file, configuration(arm.method, listed.settings(arm, size, seed), train))
            except ValueError as error:  # no choice yet, or a setting that no longer exists
                changed = [str(error)]
            if changed:
                left_out.append(f"{size.name}, {arm.name}, seed {seed}: {'; '.join(changed)}")
                continue
            content = json.loads(file.read_text())
            numbers[arm.name, seed] = dict(flat(content))
            named = content["protocol"].get("level_names", list(content["levels"]))
            protocol = content["protocol"] | {"levels": named}
    return Found(numbers, protocol, tuple(left_out))


def flat(content: dict[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    """(part, metric) and value of a result; what has none is left out."""
    parts = {**content["levels"], LAST_EPOCH: content["last_epoch"], "": content["overall"] | content["cost"]}
    for part, row in parts.items():
        yield from (((part, name), value) for name, value in row.items() if value is not None)
    for part, recalls in content.get("recall by superclass", {}).items():
        yield from (((part, name), value) for name, value in recalls.items())
    for row in content["few_labels"]:
        yield (row["level"], few(row["fraction"])), row["accuracy"]


def few(fraction: float) -> str:
    """The name of an accuracy with few labels."""
    return f"{100 * fraction:g} % labels"


def block(found: Found, arms: list[Arm], columns: list[tuple[str, str]]) -> str:
    """One line an arm, one column a number: mean ± standard deviation over its seeds."""
    body = []
    for arm in arms:
        rows = found.of(arm)
        cells = []
        for key in columns:
            values = [row[key] for row in rows if key in row]
            cells.append(mean_cell(values, 0 if key[1] in WHOLE else digits(key[1])) if values else "")
        body.append([f"`{arm.name}`", arm.title, str(len(rows)) if rows else "not run", *cells])
    return markdown([["arm", "", "seeds", *(", ".join(filter(None, key)) for key in columns)], *body])


def long_page(data: str, listed: ArmList, found: Found, tail: Found | None, tail_name: str, tried_out: Tried) -> str:
    """Every number, every claim, every point of the grid."""
    levels, arms = found.levels, list(listed.arms.values())
    columns = {
        "Accuracy": [(level, name) for name in ("linear", "knn") for level in levels],
        "Accuracy on held-out training items": [
            (level, name) for name in ("linear", "knn") for level in found.held_out
        ],
        "Balanced accuracy": [
            (level, f"{name}_balanced") for name in ("linear", "knn") for level in (*levels, *found.held_out)
        ]
        if found.held_out
        else [],
        "Mean recall of the classes of each superclass (kNN)": found.superclasses,
        "Few labels, frozen linear probe": [(level, few(share)) for share in FRACTIONS for level in levels],
        "Clusters, hierarchy, retrieval": [
            *((level, name) for name in ("ami", "hierarchical_f1", "map_at_r") for level in levels),
            *((level, "mistake_height") for level in levels[1:]),  # at the coarsest level every mistake is as high
        ],
        "The embedding": [*((level, "variance_between") for level in levels), *(("", name) for name in OVERALL)],
        "Cost": [("", name) for name in ("items_seen", *PASSES, "query", "key", "refresh", "cpu_seconds", "seconds")],
    }
    parts = [f"# All methods on {data}: every number", ABOUT, sentence(found)]
    for title, keys in columns.items():
        if not keys:
            continue
        parts += [f"## {title}", ABOUT_COST if title == "Cost" else "", block(found, arms, keys)]
    if tail is not None:
        balanced = [(level, f"{name}_balanced") for name in ("linear", "knn") for level in tail.levels]
        tailed = [arm for arm in arms if arm.long_tail]
        parts += [f"## Long tail over superclasses ({tail_name})", ABOUT_TAIL, sentence(tail)]
        parts.append(block(tail, tailed, [*balanced, ("", "items_seen"), ("", "cpu_seconds")]))
    parts += ["## Claims", claims(found, tail), "## Observed in the last epoch", observed(found, arms)]
    parts += ["## Learning rate and temperature", ABOUT_SELECTION, tried_table(listed, tried_out)]
    left_out = [*found.left_out, *(tail.left_out if tail else ())]
    if left_out:
        parts += ["## Results of other configurations, left out", "\n".join(f"* {line}" for line in left_out)]
    return "\n\n".join(part for part in parts if part) + "\n"


def short_page(listed: ArmList, found: Found, tail: Found | None) -> str:
    """For the README: the arms with five planned seeds, what is read first, and the claims."""
    if not found.levels:
        return sentence(found)
    coarse, fine = found.levels[0], found.levels[-1]
    columns = [
        *((level, name) for name in ("linear", "knn") for level in (coarse, fine)),
        *((fine, name) for name in ("ami", "hierarchical_f1", "mistake_height", *map(few, FRACTIONS))),
        *(("", name) for name in ("total_variance", *PASSES[:2], "cpu_seconds")),
    ]
    columns += [(level, name) for name in ("linear", "knn") for level in found.held_out]
    arms = [arm for arm in listed.arms.values() if arm.seeds >= 5]
    return "\n\n".join([sentence(found), block(found, arms, columns), claims(found, tail)])


def claims(found: Found, tail: Found | None) -> str:
    """Every claim and its verdicts."""
    if not found.levels:
        return ""
    known = {arm for arm, _ in found.numbers}
    claimed = claims_of(known, with_long_tail=tail is not None, held_out=bool(found.held_out))
    return f"{ABOUT_CLAIMS}\n\n" + claims_table(claimed, found.numbers, tail.numbers if tail else {}, found.levels)


def observed(found: Found, arms: list[Arm]) -> str:
    """What the methods themselves write down: losses, masks, neighbours, maxima."""
    lines = []
    for arm in arms:
        rows = found.of(arm)
        names = dict.fromkeys(name for row in rows for part, name in row if part == LAST_EPOCH)
        cells = [
            f"{name} {mean_cell([r[LAST_EPOCH, name] for r in rows if (LAST_EPOCH, name) in r], 3)}" for name in names
        ]
        lines += [f"* `{arm.name}`: " + ", ".join(cells)] if cells else []
    return "\n".join(lines)


def sentence(found: Found) -> str:
    """A protocol in one line."""
    p = found.protocol
    if not p:
        return "No result is there yet."
    return (
        f"{p['train_items']:,} training and {p['test_items']:,} test items ({p['test_note'] or 'all'}); "
        + (f"{p['held_out_items']:,} training items held out to judge by; " if "held_out_items" in p else "")
        + f"{p['features']}, {p['precision']}; linear: L-BFGS, λ from {p['linear_penalties']} on a fifth of the "
        f"training items; kNN: k = {p['knn_k']}, T = {p['knn_temperature']}; few labels: λ = features / (10 labels), "
        f"{p['few_labels_draws']} draws."
    )
