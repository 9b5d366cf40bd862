"""One anchor of one step, in five stages: candidates, similarity, softmax, pull and push, and what a step changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from scipy.optimize import isotonic_regression

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.methods import Step
from hiercl.pairs import BlockTerm, Forces, Kind, Term, forces
from hiercl.plot._canvas import percent, picture, readable, sheet, shortened
from hiercl.plot._colours import GREY, TEXT, tint
from hiercl.plot._pairs import (
    NO_LABEL,
    ROLES,
    StepPictures,
    candidate_items,
    compared_level,
    first_anchor,
    pick_term,
    role_masks,
)
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast, Between
from hiercl.training import Run

STAGES = ("Candidates", "Similarity", "Softmax", "Pull and push", "One small step")
BODY, NOTE, HEAD = 10.5, 10, 12.5  # sizes of letters in points; the figure is wider than a column of text
ROW, HEADING, TOP = 0.38, 0.32, 2.25  # inches: height of a candidate and of the name of a role; where the rows begin
UPPER = 1.4  # inches: where panels begin below their notes
FEW = 3  # pulled or removed candidates that are shown at most; one of those that are left alone
SMALLER = 0.1  # the network's step, as a share of the highest learning rate
WIDE, PANELS = 14.3, (0.1, 2.95, 4.85, 7.05, 11.7)  # inches: width of the figure, and left edges of the panels
CENTRE, RING, SIDE = 9.15, 1.42, 0.44  # inches: middle of the plane, radius of its ring, side of its pictures


@dataclass(frozen=True)
class Row:
    """One candidate, or all others of its role together.

    Attributes:
        role: what the method does with it.
        places: numbers of the candidates.
        shown: its picture; None for several candidates.
        name: its class, or how many others there are.
        same: whether it is of the anchor's class.
    """

    role: str
    places: np.ndarray
    shown: np.ndarray | None
    name: str
    same: bool = False


@dataclass(frozen=True)
class OneAnchor:
    """All that is drawn of one anchor.

    Attributes:
        dataset: the items.
        term: the term.
        item: item of the anchor.
        shown: picture of the anchor.
        original: picture of its item, if the anchor is drawn as a view of it.
        forces: the gradient of its loss, split.
        rows: its candidates.
        totals: for every role the number of candidates, and how many of them are of the anchor's class.
        same: which candidates are of the anchor's class at the level that is compared.
        level: this level.
        after: the same anchor after a step of the network, or None.
        network: what the network's step was, in words.
    """

    dataset: HierarchicalDataset
    term: Term | BlockTerm
    item: int
    shown: np.ndarray
    original: np.ndarray | None
    forces: Forces
    rows: list[Row]
    totals: dict[str, tuple[int, int]]
    same: np.ndarray
    level: int
    after: Forces | None = None
    network: str = ""

    @property
    def path(self) -> str:
        """Names of the anchor's class and of those above it."""
        label = int(self.dataset.labels[self.item])
        return " › ".join(map(readable, self.dataset.hierarchy.path(label))) if label >= 0 else NO_LABEL

    @property
    def temperature(self) -> float:
        """The temperature; of prototypes the mean of theirs."""
        return float(self.forces.divisor.mean())


@checked
def step(
    step: Any,
    dataset: HierarchicalDataset,
    anchor: Annotated[int, AtLeast(0)] | None = None,
    term: str | int | None = None,
    count: Annotated[int, Between(1, 8)] = 5,
    tree: PrototypeTree | None = None,
    level: int | None = None,
    stage: Annotated[int, Between(1, len(STAGES))] = len(STAGES),
    batch: Annotated[int, AtLeast(1)] = 128,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> Figure:
    r"""Draws what the loss asks of one anchor, in five stages: who pulls, who pushes, how strongly, and what follows.

    1. *Candidates*, by what the method does with them, the most similar first. Bold: of the anchor's class.
    2. *Similarity*: the cosine of each with the anchor.
    3. *Softmax*: the share $q_c$ of each in $e^{s_c/\tau}$. A line marks the share $w_c$ that the loss asks for: all of
       it for the pulled, nothing for the pushed.
    4. *Pull and push*: the negative gradient, $\sum_c(w_c-q_c)\,k_c/\tau$ (:func:`hiercl.pairs.forces`), without its
       part along the anchor, which normalisation removes. The plane is the one of the sum of all pulls and the sum of
       all pushes, so it holds both and their sum, in true proportion. Lines lead to single candidates, in their
       direction within the plane; those that would overlap are moved apart, first the pushed and the weak. The width
       of a line is the whole strength. The note below says which part of the single forces, by their lengths, lies in
       the plane.
    5. *One small step* against the gradient: how similarities change if the feature moves on the sphere
       (:meth:`hiercl.pairs.Forces.downhill`); and, for a run, if the optimiser makes one step on the weights, for all
       anchors, at a tenth of the highest learning rate (:meth:`hiercl.Run.learned`). That moves the other views too.

    Args:
        step: a run, of which a step is made; the result of ``run.step(dataset)``; or a term, or several.
        dataset: training set of that run: the items of the pairs.
        anchor: number of the anchor in the step. By default the first with a pulled candidate.
        term: name or number of the term. By default the first that removes something, else the first.
        count: number of pushed candidates that are shown.
        tree: the learned tree, for terms whose candidates are prototypes; a run knows its own.
        level: level at which classes are compared. By default that of a supervised term, else the leaves.
        stage: the last stage that is drawn, 1 to 5.
        batch: number of anchors in the step of a run.
        seed: seed of the anchors, the views and the selection of the step of a run.

    Returns:
        The figure.

    Raises:
        ValueError: the anchor, the term or the level does not exist; the candidates are prototypes and there is no
            tree; or the term does not say what its logits are made of.

    Example:
        >>> figure = hiercl.plot.step(run, train, anchor=3, term="instance 1", batch=32)
    """
    after, network = None, ""
    if isinstance(step, Run):
        run, made = step, {"batch": batch, "seed": seed}
        step, tree = run.step(dataset, **made), run.tree if tree is None else tree
        if stage == len(STAGES):
            after, network = learned_step(run, dataset, **made)
    one = one_anchor(step, dataset, anchor, term, count, tree, level, after, network)
    return draw_step(one, stage)


def learned_step(run: Run, dataset: HierarchicalDataset, batch: int, seed: int) -> tuple[Step, str]:
    """Returns the same step after one of the network, and what the network's step was, in words."""
    config, made = run.recipe.fit, {"batch": batch, "seed": seed}
    after = run.learned(dataset, **made, lr=SMALLER * cast(float, config.lr)).step(dataset, **made)
    return after, f"weights ({config.optimiser})"


def one_anchor(
    step: Any,
    dataset: HierarchicalDataset,
    anchor: int | None = None,
    term: str | int | None = None,
    count: int = 5,
    tree: PrototypeTree | None = None,
    level: int | None = None,
    after: Step | None = None,
    network: str = "",
) -> OneAnchor:
    """Prepares what :func:`draw_step` draws; ``after`` is the same step after one of the network."""
    chosen = pick_term(step, term)
    anchor = first_anchor(chosen) if anchor is None else anchor
    found = forces(chosen, anchor)
    item = int(chosen.pairs.anchors.item[anchor])
    level = compared_level(chosen, dataset, level)
    items, labels = candidate_items(chosen, dataset, tree)
    of_leaf = np.append(dataset.hierarchy.ancestors[:, level], -1)  # the last: of no label
    own = of_leaf[dataset.labels[item]]
    same = (of_leaf[labels] == own) & (own >= 0)
    names, similarity = (*dataset.hierarchy.leaf_names, NO_LABEL), found.similarity().numpy()
    views, rows, totals = StepPictures(step, chosen, dataset), [], {}
    for role, mask in role_masks(chosen.pairs, anchor).items():
        members = np.flatnonzero(mask)
        if not len(members):
            continue
        totals[role] = len(members), int(same[members].sum())
        members = members[np.argsort(-similarity[members], kind="stable")]
        most = {"pushed": count, "left alone": 1}.get(role, FEW)
        shown = members[items[members] >= 0][:most]
        for place, drawn in zip(shown, views.of_candidates(shown, items[shown])[0], strict=True):
            rows.append(Row(role, np.array([place]), drawn, readable(names[labels[place]]), bool(same[place])))
        rest = np.setdiff1d(members, shown)
        if len(rest) and role != "left alone":
            rows.append(Row(role, rest, None, f"{len(rest):,} more"))
    moved = None if after is None else forces(pick_term(after, chosen.name), anchor)
    pictures = views.of_anchor(anchor, item), picture(dataset, item) if views.kept else None
    return OneAnchor(dataset, chosen, item, *pictures, found, rows, totals, same, level, moved, network)


# ---- the strip ----


def draw_step(one: OneAnchor, stage: int = len(STAGES)) -> Figure:
    """Draws the strip of panels, up to a stage."""
    tops, y, role = [], TOP, ""
    for row in one.rows:
        y += HEADING if row.role != role else 0.0
        role = row.role
        tops.append(y)
        y += ROW
    height = max(y + 0.15, UPPER + 2 * RING + 2 * SIDE + 1.25)
    figure, axis = sheet(WIDE, height)
    axis.text(0.1, 0.06, f"One anchor in the term “{one.term.name}”: {one.path}", size=14, weight="bold", va="top")
    axis.text(0.1, 0.39, _summary(one), size=11, color=TEXT, va="top")
    prototypes = bool((one.term.pairs.candidates.kind == Kind.PROTOTYPE).any())
    of_class = f"“{shortened(own_class(one), 1.3 if prototypes else 2.3, NOTE)}”"
    notes = (
        f"picture: nearest item; name: most\nfrequent; bold: {of_class}"
        if prototypes
        else f"bold: of the class\n{of_class}",
        "cosine; line below\nseveral: their range",
        f"at τ = {one.temperature:.2g}; line:\nwhat the loss asks for",
        "negative gradient = Σ (asked − softmax) · candidate / τ\nwidth of a line: strength; at the ring: share of it",
        "what it adds to the similarities",
    )
    for number, (name, left, note) in enumerate(zip(STAGES, PANELS, notes, strict=True), start=1):
        _draw_heading(axis, number, name, note if number <= stage else "", left, stage)
    _draw_candidates(axis, one, tops)
    if stage >= 2:
        _draw_similarity(axis, one, tops)
    if stage >= 3:
        _draw_softmax(axis, one, tops)
    if stage >= 4:
        _draw_plane(axis, one, UPPER + 0.3 + RING + SIDE)
    if stage >= 5:
        _draw_changes(axis, one, tops)
    axis.set(xlim=(0, WIDE), ylim=(height, 0), aspect="auto")
    return figure


def own_class(one: OneAnchor) -> str:
    """Returns the anchor's class at the level that is compared."""
    names = (*one.dataset.hierarchy.names[one.level], NO_LABEL)
    return readable(names[one.dataset.labels_at(one.level)[one.item]])


def _summary(one: OneAnchor) -> str:
    """The loss, how far the softmax is from what is asked, and how much of it false negatives hold."""
    found = one.forces
    if not found.target.any():
        return "This anchor has no pulled candidate: its loss is 0, and nothing moves it."
    held = float(found.share[found.target > 0].sum())
    false = float(found.share[(found.target == 0) & torch.from_numpy(one.same)].sum())
    text = f"Loss {_nats(found.loss)} nats. The pulled hold {_per_cent(held)} of the softmax and should hold all of it"
    return text + (f"; false negatives hold {_per_cent(false)}." if false > 0 else ".")


def _draw_heading(axis: Axes, number: int, name: str, note: str, left: float, stage: int) -> None:
    colour = TEXT if number <= stage else "#C8C8C8"
    axis.add_patch(Circle((left + 0.13, 0.9), 0.13, facecolor=colour, edgecolor="none"))
    axis.text(left + 0.13, 0.905, str(number), size=BODY, color="white", weight="bold", ha="center", va="center")
    axis.text(left + 0.33, 0.9, name, size=HEAD, weight="bold", color=colour, va="center")
    axis.text(left, 1.1, note, size=NOTE, color=GREY, va="top", linespacing=1.15)


def _draw_candidates(axis: Axes, one: OneAnchor, tops: list[float]) -> None:
    left, role = PANELS[0], ""
    seen = (
        [(one.shown, "the anchor")] if one.original is None else [(one.shown, "its view"), (one.original, "its item")]
    )
    for x, (drawn, what) in zip((left + 0.25, left + 1.6), seen, strict=False):
        _draw_picture(axis, drawn, x, UPPER + 0.35, 0.5, TEXT, 2.5)
        axis.text(x + 0.35, UPPER + 0.35, what, size=BODY, color=TEXT, va="center")
    for row, top in zip(one.rows, tops, strict=True):
        colour, symbol = ROLES[row.role]
        if row.role != role:
            role, (total, same) = row.role, one.totals[row.role]
            axis.text(left, top - 0.12, f"{symbol} {role}", size=BODY + 1, weight="bold", color=colour, va="center")
            count = f"{total:,}" if one.dataset.labels[one.item] < 0 else f"{total:,}; {percent(same / total)} same"
            axis.text(left + 2.55, top - 0.12, count, size=NOTE, color=GREY, va="center", ha="right")
        middle = top + ROW / 2
        if row.shown is not None:
            _draw_picture(axis, row.shown, left + 0.2, middle, ROW - 0.05, colour)
        weight = "bold" if row.same else "normal"
        name = shortened(row.name, 1.95, BODY)
        axis.text(left + 0.5, middle, name, size=BODY, weight=weight, color=TEXT, va="center")


def _draw_picture(
    axis: Axes, shown: np.ndarray, x: float, y: float, side: float, colour: Any, width: float = 2.0
) -> None:
    half = side / 2
    axis.imshow(shown, extent=(x - half, x + half, y + half, y - half), interpolation="antialiased", zorder=5)
    frame = {"fill": False, "edgecolor": colour, "linewidth": width, "zorder": 6}
    axis.add_patch(Rectangle((x - half, y - half), side, side, **frame))


def _draw_bars(
    axis: Axes,
    rows: list[Row],
    tops: list[float],
    values: np.ndarray,
    left: float,
    width: float,
    low: float,
) -> Callable[[float], float]:
    """Draws a bar for each row, from 0, with its number beside it. Returns where a value is, in inches."""
    low, high = min(0.0, low), max(0.0, values.max(initial=0))
    scale = width / max(high - low, 1e-12)

    def at(value: float) -> float:
        return left + (value - low) * scale

    axis.plot([at(0.0)] * 2, [tops[0] - 0.02, tops[-1] + ROW], color="#BBBBBB", linewidth=0.8, zorder=1)
    for row, top, value in zip(rows, tops, values, strict=True):
        colour = to_rgb(ROLES[row.role][0])
        face = colour if row.shown is not None else tint(np.array(colour), 0.5)
        axis.add_patch(Rectangle((at(0.0), top + 0.08), value * scale, ROW - 0.16, facecolor=face, edgecolor="none"))
        beside = {"ha": "left", "x": at(max(value, 0.0)) + 0.06}
        axis.text(
            y=top + ROW / 2, s=f"{value:.2f}".replace("-", "−"), size=NOTE, color=TEXT, va="center", zorder=4, **beside
        )
    return at


def _draw_similarity(axis: Axes, one: OneAnchor, tops: list[float]) -> None:
    similarity = one.forces.similarity().numpy()
    means = np.array([similarity[row.places].mean() for row in one.rows])
    others = [similarity[row.places].min() for row in one.rows if row.shown is None]
    at = _draw_bars(axis, one.rows, tops, means, PANELS[1], 1.15, min([*others, means.min(initial=0)]))
    for row, top in zip(one.rows, tops, strict=True):
        if row.shown is None:  # from the least to the most similar
            ends = [at(similarity[row.places].min()), at(similarity[row.places].max())]
            axis.plot(ends, [top + ROW - 0.05] * 2, color=GREY, linewidth=1.2)


def _draw_softmax(axis: Axes, one: OneAnchor, tops: list[float]) -> None:
    share, target = one.forces.share.numpy(), one.forces.target.numpy()
    shares, targets = (np.array([values[row.places].sum() for row in one.rows]) for values in (share, target))
    left, width = PANELS[2], 1.05
    scale = width / max(shares.max(initial=0), targets.max(initial=0), 1e-12)
    axis.plot([left] * 2, [tops[0] - 0.02, tops[-1] + ROW], color="#BBBBBB", linewidth=0.8, zorder=1)
    for row, top, held, asked in zip(one.rows, tops, shares, targets, strict=True):
        colour, middle = to_rgb(ROLES[row.role][0]), top + ROW / 2
        if row.role not in ("pulled", "pushed"):
            axis.text(left + 0.06, middle, "takes no part", size=NOTE, color=GREY, va="center")
            continue
        face = colour if row.shown is not None else tint(np.array(colour), 0.5)
        axis.add_patch(Rectangle((left, top + 0.08), held * scale, ROW - 0.16, facecolor=face, edgecolor="none"))
        if asked > 0:
            axis.plot([left + asked * scale] * 2, [top + 0.03, top + ROW - 0.03], color=TEXT, linewidth=2.2, zorder=4)
        text = _per_cent(held)
        if asked > 0 and text != _per_cent(asked):
            text = f"{text[:-2]} → {_per_cent(asked)}"
        x = left + max(held, asked) * scale + 0.07
        if asked > 0 and (asked - held) * scale > 0.95:  # between the bar and the line
            x = left + held * scale + 0.07
        axis.text(x, middle, text, size=NOTE, color=TEXT, va="center")
    if one.forces.outside > 0:
        text = f"removed, at e⁰ each: {_per_cent(one.forces.outside)}"
        axis.text(left, tops[-1] + ROW + 0.1, text, size=NOTE, color=GREY, va="center")


def _nats(loss: float) -> str:
    return f"{loss:.2f}" if loss >= 0.995 else f"{loss:.3f}"


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %" if share >= 0.0005 else "0 %"


# ---- pull and push ----


@dataclass(frozen=True)
class Plane:
    """The plane of the sum of all pulls and the sum of all pushes, tangent to the sphere at the anchor.

    Attributes:
        pull: sum of all pulls in the plane, ``[2]``; x is where the anchor goes.
        push: sum of all pushes.
        direction: where every candidate lies, as seen from the anchor, ``[candidates, 2]``.
        strength: length of every force, in the plane and beside it, ``[candidates]``.
        held: the lengths of the single forces within the plane, as a share of their whole lengths.
    """

    pull: np.ndarray
    push: np.ndarray
    direction: np.ndarray
    strength: np.ndarray
    held: float


def plane_of(found: Forces) -> Plane:
    """Returns the plane of an anchor's forces."""
    single, towards = found.tangent(found.contributions).numpy(), found.tangent(found.directions).numpy()
    pulls = (found.strength > 0).numpy()
    pull, push = single[pulls].sum(axis=0), single[~pulls].sum(axis=0)
    x = _unit(pull + push, pull)
    # Where pull and push lie on one line, the largest of the single forces beside this line span the plane with it.
    beside = single - np.outer(single @ x, x)
    y = _unit(pull - (pull @ x) * x, np.linalg.svd(beside, full_matrices=False)[2][0] if beside.any() else beside[0])
    axes = np.stack([x, y], axis=1)
    strength, seen = (np.linalg.norm(forces, axis=1) for forces in (single, single @ axes))
    held = float(seen.sum() / max(strength.sum(), 1e-300))
    return Plane(pull @ axes, push @ axes, towards @ axes, strength, held)


def _unit(vector: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Returns a vector with length 1; where it is nearly zero, another one."""
    chosen = vector if np.linalg.norm(vector) > 1e-6 else otherwise
    return chosen / max(np.linalg.norm(chosen), 1e-300)


def _draw_plane(axis: Axes, one: OneAnchor, middle: float) -> None:
    plane, found = plane_of(one.forces), one.forces
    axis.add_patch(Circle((CENTRE, middle), RING - SIDE / 2 - 0.06, facecolor="#F6F6F6", edgecolor="none", zorder=0))
    if not plane.strength.any():
        axis.text(CENTRE, middle + 0.55, "no force", size=BODY, color=GREY, ha="center")
        _draw_picture(axis, one.shown, CENTRE, middle, 0.56, TEXT, 2.5)
        return
    strength = found.strength.numpy()
    least = 0.002 * max(plane.strength.sum(), 1e-12)  # a positive where the loss wants it has no force
    drawn = [row for row in one.rows if plane.strength[row.places].sum() > least]
    force = [np.sign(strength[row.places].sum()) * plane.strength[row.places].sum() for row in drawn]
    weighted = [(plane.direction[row.places] * np.abs(strength[row.places, None])).sum(axis=0) for row in drawn]
    angles = _apart(
        np.array([math.atan2(y, x) for x, y in weighted]),
        np.abs(force) * np.where(np.array(force) > 0, 50, 1),
        1.4 * SIDE / RING,
    )
    total = {sign: sum(abs(value) for value in force if value * sign > 0) for sign in (1, -1)}
    strongest = max(map(abs, force), default=1.0)
    for row, value, angle in zip(drawn, force, angles, strict=True):
        way = np.array([math.cos(angle), -math.sin(angle)])
        (x, y), beside = np.array([CENTRE, middle]) + RING * way, SIDE / 2 + 0.13 + 0.24 * abs(way[0])
        ends = np.array([CENTRE, middle]) + np.array([[0.36], [RING - SIDE / 2 - 0.1]]) * way
        colour = ROLES["pulled" if value > 0 else "pushed"][0]
        arrow = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 0, "shrinkB": 0, "color": colour}
        start, end = (ends[0], ends[1]) if value > 0 else (ends[1], ends[0])
        width = 0.7 + 4 * abs(value) / strongest
        axis.add_patch(FancyArrowPatch(tuple(start), tuple(end), linewidth=width, zorder=2, alpha=0.75, **arrow))
        if row.shown is None:
            axis.text(x, y, row.name.replace(" more", "\nmore"), size=NOTE, color=TEXT, ha="center", va="center")
        else:
            _draw_picture(axis, row.shown, x, y, SIDE, ROLES[row.role][0])
        text = f"{'+' if value > 0 else '−'} {_per_cent(abs(value) / total[1 if value > 0 else -1])}"
        bold = {"size": NOTE, "color": colour, "weight": "bold", "ha": "center", "va": "center", "zorder": 7}
        axis.text(x + beside * way[0], y + beside * way[1], text, **bold)
    _draw_picture(axis, one.shown, CENTRE, middle, 0.56, TEXT, 2.5)
    _draw_sums(axis, plane, middle)
    bottom = middle + RING + SIDE + 0.3
    note = "thick: sums, which lie in the plane; thin: single forces;\n"
    note += f"{_per_cent(plane.held)} of their lengths lies in the plane"
    axis.text(CENTRE, bottom + 0.15, note, size=NOTE, color=GREY, ha="center", va="top", linespacing=1.15)
    for x, (name, _, colour, _) in zip((-1.5, -0.4, 1.05), _sums(plane), strict=True):
        axis.text(CENTRE + x, bottom, name, size=BODY, color=colour, weight="bold", ha="center", va="center")


def _sums(plane: Plane) -> list[tuple[str, np.ndarray, str, float]]:
    """Returns the sum of all pulls, that of all pushes and both together: name, vector, colour, width in points."""
    pull, push = ROLES["pulled"][0], ROLES["pushed"][0]
    both = plane.pull + plane.push
    return [
        ("all pulls", plane.pull, pull, 7.0),
        ("all pushes", plane.push, push, 7.0),
        ("both: where it goes", both, TEXT, 3.0),
    ]


def _draw_sums(axis: Axes, plane: Plane, middle: float) -> None:
    """Draws the sums as thick arrows, in true proportion."""
    longest = max(np.linalg.norm(vector) for _, vector, *_ in _sums(plane))
    for _, vector, colour, width in _sums(plane):
        length = 0.85 * np.linalg.norm(vector) / max(longest, 1e-12)
        if length < 0.05:
            continue
        way = vector * (1, -1) / np.linalg.norm(vector)
        start, tip = ((CENTRE, middle) + reach * way for reach in (0.0, 0.38 + length))
        arrow = {"arrowstyle": "-|>", "mutation_scale": 11 + 1.5 * width, "shrinkA": 0, "shrinkB": 0}
        arrow |= {"color": colour, "linewidth": width, "zorder": 3 if width > 5 else 4}
        edge = [Stroke(linewidth=width + 2.5, foreground="white"), Normal()]
        axis.add_patch(FancyArrowPatch(tuple(start), tuple(tip), path_effects=edge, **arrow))


def _apart(angles: np.ndarray, weight: np.ndarray, gap: float) -> np.ndarray:
    """Moves angles that are nearer to one another than a gap, as little as possible; those with much weight move least.

    With the order kept, it minimises the sum of squared moves, each times its weight: an isotonic regression.
    """
    if len(angles) < 2:
        return angles
    order = np.argsort(angles)
    ahead = np.mod(np.roll(angles[order], -1) - angles[order], 2 * math.pi)
    order = np.roll(order, -1 - int(ahead.argmax()))  # begins after the widest gap
    first, gaps = angles[order[0]], min(gap, 2 * math.pi / len(angles)) * np.arange(len(angles))
    unrolled = np.mod(angles[order] - first, 2 * math.pi)
    placed = np.empty_like(angles)
    placed[order] = first + gaps + isotonic_regression(unrolled - gaps, weights=weight[order] + 1e-12).x
    return placed


# ---- the update ----


def _draw_changes(axis: Axes, one: OneAnchor, tops: list[float]) -> None:
    found, before = one.forces, one.forces.similarity()
    moved = found.downhill()
    columns = [(f"feature: {found.angle(moved):.1f}°", found.loss_at(moved), found.similarity(moved))]
    if one.after is not None:
        columns.append((one.network, one.after.loss, one.after.similarity()))
    left, width = PANELS[4], 0.95
    for number, (name, loss, after) in enumerate(columns):
        x = left + number * 1.36
        change = (after - before).numpy()
        means = np.array([change[row.places].mean() for row in one.rows])
        text = f"{name}\nloss {_nats(found.loss)} → {_nats(loss)}"
        axis.text(x, UPPER - 0.1, text, size=NOTE, color=TEXT, va="top", linespacing=1.15)
        scale = width / 2 / max(np.abs(means).max(initial=0), 1e-12)
        middle = x + width / 2
        axis.plot([middle] * 2, [tops[0] - 0.02, tops[-1] + ROW], color="#BBBBBB", linewidth=0.8, zorder=1)
        for row, top, value in zip(one.rows, tops, means, strict=True):
            colour = to_rgb(ROLES[row.role][0])
            face = colour if row.shown is not None else tint(np.array(colour), 0.5)
            bar = Rectangle((middle, top + 0.08), value * scale, ROW - 0.16, facecolor=face, edgecolor="none")
            axis.add_patch(bar)
            side = {"ha": "right", "x": middle - 0.05} if value > 0 else {"ha": "left", "x": middle + 0.05}
            text = f"{value:+.3f}".replace("-", "−")
            axis.text(y=top + ROW / 2, s=text, size=NOTE, color=TEXT, va="center", **side)
