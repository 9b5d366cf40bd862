"""One anchor and its candidates: pulled, pushed, removed, left alone."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.methods import Step
from hiercl.pairs import Kind, Term
from hiercl.plot._canvas import NORMAL, SMALL, TITLE, WIDTH, draw_pictures, readable, sheet, shortened
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT

LEFT = 2.35  # where the candidates begin: the anchor and the names of the rows stand before
HEADER = 0.75
# colour and symbol of every role
ROLES = {
    "pulled": (OKABE_ITO[2], "+"),
    "pushed": (OKABE_ITO[4], "−"),
    "removed": (OKABE_ITO[0], "×"),
    "left alone": ("#888888", "○"),
}


@dataclass(frozen=True)
class Group:
    """The candidates of one role, most similar first."""

    role: str
    items: np.ndarray  # pictures to show, indices in the data set
    names: list[str]  # class of each
    same: np.ndarray  # whether it is of the anchor's class at the level that is judged
    common: list[str]  # name of its lowest common ancestor with the anchor; empty where that is the class itself
    notes: list[str]  # the probability with which selection keeps it, or that it is another view
    total: int
    total_same: int


def pairs(
    step: Step,
    dataset: HierarchicalDataset,
    anchor: int | None = None,
    term: str | int | None = None,
    count: int = 8,
    tree: PrototypeTree | None = None,
    level: int | None = None,
) -> Figure:
    """What a step does with one anchor: the most similar candidates that are pulled, pushed, removed or left alone.

    Classes equal to the anchor's are bold: among the pushed they are false negatives. Under removed pictures stands the
    probability with which selection would have kept them.

    Args:
        step: what ``run.step(dataset)`` gives.
        dataset: the training set of that run.
        anchor: number of the anchor in the step; by default the first that anything pulls (thinning leaves some out).
        term: name or number of the term; by default the first that removes something, else the first.
        count: pictures in a row, at most.
        tree: ``run.tree``, needed for terms whose candidates are prototypes: each is shown by its nearest picture.
        level: of the data's hierarchy, at which classes are compared; by default that of a supervised term, else the
            leaves.

    Raises:
        ValueError: the anchor or the term does not exist, or the candidates are prototypes and no tree is given.

    Example:
        >>> hiercl.plot.pairs(run.step(train), train, anchor=3)
    """
    chosen = pick_term(step, term)
    anchors = chosen.pairs.anchors
    if anchor is None:
        anchor = int(chosen.pairs.positive_index[0, 0]) if len(chosen.pairs.positive_index) else 0
    if not 0 <= anchor < len(anchors):
        raise ValueError(f"there is no anchor {anchor}: the step has {len(anchors)}, counted from 0.")
    item = int(anchors.item[anchor])
    level = _judged(chosen, dataset, level)
    groups = role_groups(chosen, dataset, anchor, item, count, tree, level)

    size = min(0.72, (WIDTH - LEFT - 0.1) / count - 0.08)
    tops = [HEADER]
    for group in groups:
        tops.append(tops[-1] + size + (0.38 + 0.13 * (any(group.common) + any(group.notes))))
    path = " › ".join(readable(name) for name in dataset.hierarchy.path(int(dataset.labels[item])))
    own = readable(dataset.hierarchy.names[level][dataset.labels_at(level)[item]])
    note = (
        f"Each row: the most similar first. Bold: “{own}” like the anchor; else below, what the two are (–: nothing)."
    )
    if bool((chosen.pairs.candidates.kind == Kind.PROTOTYPE).any()):
        note += " A prototype is shown by its nearest picture and named after the most frequent class of its members."
    figure, axis = sheet(WIDTH, max(tops[-1], HEADER + 1.2), f"One anchor in the term “{chosen.name}”: {path}", note)
    draw_pictures(axis, dataset, np.array([item]), 0.1, HEADER, 0.85)
    axis.text(0.525, HEADER + 0.92, "anchor", size=SMALL, color=GREY, ha="center", va="top")
    for group, top in zip(groups, tops, strict=False):
        _draw_group(axis, dataset, group, readable(dataset.hierarchy.level_names[level]), top, size)
    return figure


def pick_term(step: Step, term: str | int | None) -> Term:
    terms = step.terms
    if term is None:
        return next((t for t in terms if bool(t.pairs.removed.any())), terms[0])
    names = [t.name for t in terms]
    if isinstance(term, str) and term in names:
        return terms[names.index(term)]
    if isinstance(term, int) and -len(terms) <= term < len(terms):
        return terms[term]
    raise ValueError(f"there is no term {term!r}: the step has {', '.join(names)}.")


def _judged(term: Term, dataset: HierarchicalDataset, level: int | None) -> int:
    """The level at which classes are compared."""
    levels = dataset.hierarchy.levels
    if level is not None:
        if not -levels <= level < levels:
            raise ValueError(f"level={level}: the hierarchy of {dataset.name} has the levels 0 to {levels - 1}.")
        return level % levels
    of_views = bool((term.pairs.candidates.kind == Kind.VIEW).all())
    return min(term.pairs.level, levels - 1) if of_views and term.pairs.level is not None else levels - 1


def role_groups(
    term: Term, dataset: HierarchicalDataset, anchor: int, item: int, count: int, tree: PrototypeTree | None, level: int
) -> list[Group]:
    """The candidates by role; roles that nobody has are left out."""
    pairs, tree_of_classes = term.pairs, dataset.hierarchy
    pictures, labels = _candidates(term, dataset, tree)
    similarity = term.logits[anchor].detach().float().cpu().numpy()
    pulled = np.zeros(len(pairs.candidates), dtype=bool)
    pulled[pairs.positive_index[pairs.positive_index[:, 0] == anchor, 1].cpu().numpy()] = True
    pushed, removed = pairs.negative[anchor].cpu().numpy(), pairs.removed[anchor].cpu().numpy()
    masks = {"pulled": pulled, "pushed": pushed, "removed": removed, "left alone": ~(pulled | pushed | removed)}
    keep = None if pairs.keep_probability is None else pairs.keep_probability[anchor].detach().cpu().numpy()
    is_prototype = (pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy()
    result = []
    for role, mask in masks.items():
        known = np.flatnonzero(mask & (pictures >= 0))
        if not len(known):
            continue
        known = known[np.argsort(-similarity[known], kind="stable")]
        of_leaf = dataset.hierarchy.ancestors[:, level]
        same = of_leaf[labels[known]] == of_leaf[dataset.labels[item]]
        shown = known[:count]
        names = [readable(tree_of_classes.leaf_names[label]) for label in labels[shown]]
        lowest = [int(tree_of_classes.lca_level(dataset.labels[item], label)) for label in labels[shown]]
        common = [
            ""
            if alike
            else readable(tree_of_classes.names[at][tree_of_classes.ancestors[label, at]])
            if at >= 0
            else "–"
            for alike, at, label in zip(same, lowest, labels[shown], strict=False)
        ]
        notes = [""] * len(shown)
        if role in ("removed", "pushed") and keep is not None:
            notes = [f"keep {keep[c]:.2f}" for c in shown]
        if role == "pulled":
            notes = ["another view" if pictures[c] == item and not is_prototype[c] else "" for c in shown]
        result.append(Group(role, pictures[shown], names, same[:count], common, notes, len(known), int(same.sum())))
    return result


def _candidates(term: Term, dataset: HierarchicalDataset, tree: PrototypeTree | None) -> tuple[np.ndarray, np.ndarray]:
    """A picture (−1: none) and a leaf label for every candidate; a prototype has those of its members."""
    pairs = term.pairs
    pictures = pairs.candidates.item.cpu().numpy().copy()
    prototypes = np.flatnonzero((pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy())
    labels = np.where(pictures >= 0, dataset.labels[pictures.clip(0, len(dataset) - 1)], -1)
    if not len(prototypes):
        return pictures, labels
    if tree is None or pairs.level is None:
        raise ValueError(f"the candidates of the term {term.name!r} are prototypes: pass tree=run.tree to show them.")
    majority = tree.majority(torch.as_tensor(dataset.labels))[pairs.level].cpu().numpy()
    for place in prototypes:
        node = int(pairs.candidates.item[place])
        nearest = tree.exemplars(pairs.level, node, 1)
        labels[place] = majority[node]
        pictures[place] = int(nearest[0]) if len(nearest) else -1
    return pictures, labels


def _draw_group(
    axis: Axes, dataset: HierarchicalDataset, group: Group, level_name: str, top: float | int, size: float | int
) -> None:
    colour, symbol = ROLES[group.role]
    axis.text(1.15, top + 0.13, f"{symbol} {group.role}", size=TITLE, weight="bold", color=colour, va="center")
    axis.text(1.15, top + 0.36, f"{group.total:,}", size=NORMAL, color=TEXT, va="center")
    axis.text(1.15, top + 0.47, _share(group, level_name), size=SMALL, color=GREY, va="top")
    gap = 0.08
    lefts = draw_pictures(axis, dataset, group.items, LEFT, top, size, gap)
    centred = {"color": TEXT, "va": "center", "ha": "center"}
    for number, (name, same, x) in enumerate(zip(group.names, group.same, lefts, strict=True)):
        axis.add_patch(Rectangle((x, top), size, size, fill=False, edgecolor=colour, linewidth=2.2))
        short = shortened(name, size + gap - 0.04)
        axis.text(x + size / 2, top + size + 0.1, short, size=7, weight="bold" if same else "normal", **centred)
        lines = [lines[number] for lines in (group.common, group.notes) if any(lines)]
        for line, text in enumerate(lines):
            axis.text(
                x + size / 2,
                top + size + 0.23 + 0.13 * line,
                shortened(text, size + gap - 0.04, 6.5),
                size=6.5,
                **centred,
            )


def _share(group: Group, level_name: str) -> str:
    share = 100 * group.total_same / group.total
    number = f"{share:.0f}" if share >= 10 or share == 0 else f"{share:.1f}"
    return f"{number} % same\n{shortened(level_name, LEFT - 1.2, SMALL)}"
