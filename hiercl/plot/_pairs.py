"""The pairs of a step: those of one anchor, all of them as a matrix, and their audit by the true labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.methods import Step
from hiercl.pairs import BlockTerm, Kind, Pairs, Term
from hiercl.plot._canvas import (
    LINE,
    NORMAL,
    SMALL,
    TITLE,
    VIEWS,
    WIDTH,
    check_level,
    draw_row,
    figure_of,
    legend_below,
    panel_title,
    panels,
    percent,
    picture,
    readable,
    sheet,
    shortened,
    simple_axis,
    title_width,
    user_axis,
    view_picture,
    wrapped,
)
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT, categorical, tint
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast
from hiercl.runtime.errors import unknown

NO_LABEL = "no label"  # the name of the label −1, which reads the last name of a list
ANCHOR, LEFT, GAP = 0.85, 2.45, 0.08  # inches: side of the anchor, left edge of the candidates, gap between two
# colour and symbol of every role
ROLES = {
    "pulled": (OKABE_ITO[2], "+"),
    "pushed": (OKABE_ITO[4], "−"),
    "removed": (OKABE_ITO[0], "×"),
    "left alone": ("#888888", "○"),
}


Shown = Step | Term | BlockTerm | Sequence[Term | BlockTerm]


@dataclass(frozen=True)
class Group:
    """The candidates with one role, the most similar first.

    Attributes:
        role: what the method does with them.
        items: items of those that are shown, as indices in the data set.
        pictures: what is drawn of each: the view that the step saw, or, where it kept none, the item.
        seen: what these are, in a word: "views", "originals" or both; empty if the step kept no view at all.
        names: class of each.
        same: whether it is of the anchor's class at the level that is compared.
        common: name of its lowest common ancestor with the anchor, empty if it is of the anchor's class.
        notes: the probability with which selection keeps it, or that it is another view of the anchor.
        total: number of all candidates with this role.
        total_same: number of those that are of the anchor's class.
    """

    role: str
    items: np.ndarray
    pictures: list[np.ndarray]
    seen: str
    names: list[str]
    same: np.ndarray
    common: list[str]
    notes: list[str]
    total: int
    total_same: int


# ---- one anchor ----


@checked
def pairs(
    step: Shown,
    dataset: HierarchicalDataset,
    anchor: int | None = None,
    term: str | int | None = None,
    count: Annotated[int, AtLeast(1)] = 8,
    tree: PrototypeTree | None = None,
    level: int | None = None,
) -> Figure:
    """Draws what a step does with one anchor: its most similar candidates that are pulled, pushed, removed, left alone.

    The pictures are the views that the step saw, if :meth:`hiercl.Run.step` made it. Candidates of the queue and
    prototypes are drawn as their items, because no view of them is kept; vectors always are. Names of the anchor's own
    class are bold: among the pushed candidates these are the false negatives. Below removed and pushed candidates
    stands the probability with which selection keeps them.

    Args:
        step: result of ``run.step(dataset)``; or a term, or several, such as :meth:`hiercl.pairs.Term.of` makes of
            embeddings.
        dataset: training set of that run: the items of the pairs.
        anchor: number of the anchor in the step. By default the first with a pulled candidate (with thinning, some
            anchors have none).
        term: name or number of the term. By default the first that removes something, else the first.
        count: largest number of pictures in a row.
        tree: the learned tree, ``run.tree``. Terms whose candidates are prototypes need it: a prototype is shown by
            the picture nearest to it.
        level: level of the hierarchy at which classes are compared. By default that of a supervised term, else the
            leaves.

    Returns:
        The figure.

    Raises:
        ValueError: the anchor, the term or the level does not exist, or the candidates are prototypes and there is no
            tree.

    Example:
        >>> figure = hiercl.plot.pairs(run.step(train), train, anchor=3)
    """
    chosen = pick_term(step, term)
    anchors, hierarchy = chosen.pairs.anchors, dataset.hierarchy
    anchor = first_anchor(chosen) if anchor is None else anchor
    if not 0 <= anchor < len(anchors):
        raise ValueError(f"there is no anchor {anchor}: the step has {len(anchors)}, counted from 0.")
    item = int(anchors.item[anchor])
    level = compared_level(chosen, dataset, level)
    seen = StepPictures(step, chosen, dataset)
    groups = role_groups(chosen, dataset, anchor, item, count, tree, level, seen)
    labelled = bool(dataset.has_label[item])
    path = " › ".join(map(readable, hierarchy.path(int(dataset.labels[item])))) if labelled else NO_LABEL
    own = readable((*hierarchy.names[level], NO_LABEL)[dataset.labels_at(level)[item]])
    note = f"Most similar first. Bold: of the anchor's class “{own}”; else the lowest class that both are in (–: none)."
    note += f" {seen.said}" if seen.said else ""
    if bool((chosen.pairs.candidates.kind == Kind.PROTOTYPE).any()):
        note += " Prototypes: nearest item, most frequent class."
    title = f"One anchor in the term “{chosen.name}”: {path}"
    width = max(WIDTH, title_width(title))
    note, header = wrapped(note, width)
    size = min(0.78, (width - LEFT - 0.1) / count - GAP)
    tops = [header]
    for group in groups:
        lines = 1 + any(group.common) + any(group.notes)
        tops.append(tops[-1] + max(size + 0.12 + LINE * lines, 0.8 + LINE * bool(group.seen)) + 0.12)
    alone = [("anchor", seen.of_anchor(anchor, item))]
    if seen.said:
        alone = [("anchor: view", alone[0][1]), ("its item", picture(dataset, item))]
    figure, axis = sheet(width, max(tops[-1], header + len(alone) * (ANCHOR + 0.3) + 0.05), title, note)
    for place, (what, shown) in enumerate(alone):
        top = header + place * (ANCHOR + 0.3)
        draw_row(axis, [shown], 0.1, top, ANCHOR)
        axis.text(0.1 + ANCHOR / 2, top + ANCHOR + 0.05, what, size=SMALL, color=GREY, ha="center", va="top")
    for group, top in zip(groups, tops, strict=False):
        _draw_group(axis, group, readable(hierarchy.level_names[level]), top, size)
    return figure


def pick_term(step: Shown, term: str | int | None) -> Term | BlockTerm:
    """Returns a term by name or number; by default the first that removes something, else the first."""
    terms = step.terms if isinstance(step, Step) else [step] if isinstance(step, Term | BlockTerm) else step
    if not isinstance(terms, list | tuple) or not terms or not all(isinstance(t, Term | BlockTerm) for t in terms):
        raise ValueError(f"step is a {type(step).__name__}: give run.step(dataset), a term, or a list of terms.")
    if term is None:
        return next((t for t in terms if bool(t.pairs.removed.any())), terms[0])
    if isinstance(term, int) and -len(terms) <= term < len(terms):
        return terms[term]
    by_name = {t.name: t for t in terms}
    if term not in by_name:
        raise unknown("term", term, by_name)
    return by_name[term]


def first_anchor(term: Term | BlockTerm) -> int:
    """Returns the first anchor with a pulled candidate; the first of all, if there is none."""
    return int(term.pairs.positive_index[0, 0]) if len(term.pairs.positive_index) else 0


def compared_level(term: Term | BlockTerm, dataset: HierarchicalDataset, level: int | None) -> int:
    """Returns the level at which classes are compared; None: that of a supervised term, else the leaves."""
    levels = dataset.hierarchy.levels
    if level is None:
        supervised = term.pairs.level if bool((term.pairs.candidates.kind == Kind.VIEW).all()) else None
        level = -1 if supervised is None else min(supervised, levels - 1)
    return check_level(level, levels, f"the hierarchy of {dataset.name}")


def role_masks(pairs: Pairs, anchor: int) -> dict[str, np.ndarray]:
    """Returns which candidates have each role for an anchor."""
    pulled = np.zeros(len(pairs.candidates), dtype=bool)
    pulled[pairs.positive_index[pairs.positive_index[:, 0] == anchor, 1].cpu().numpy()] = True
    pushed, removed = pairs.negative[anchor].cpu().numpy(), pairs.removed[anchor].cpu().numpy()
    return {"pulled": pulled, "pushed": pushed, "removed": removed, "left alone": ~(pulled | pushed | removed)}


@dataclass(frozen=True)
class StepPictures:
    """The pictures of a term's anchors and candidates: the views that the step saw, where it kept them.

    Attributes:
        step: the step; a term alone has no views.
        term: the term.
        dataset: its items.
    """

    step: Shown
    term: Term | BlockTerm
    dataset: HierarchicalDataset

    @property
    def kept(self) -> bool:
        """Whether there are views that have a picture."""
        return isinstance(self.step, Step) and bool(self.step.views) and self.dataset.modality in VIEWS

    @property
    def said(self) -> str:
        """A sentence that says what is drawn."""
        if not self.kept:
            return ""
        queue = bool((self.term.pairs.candidates.kind == Kind.QUEUE).any())
        return "Views are as the step saw them." + " The queue keeps none: its items are originals." * queue

    def of_anchor(self, anchor: int, item: int) -> np.ndarray:
        """Returns the picture of an anchor."""
        view = self.step.anchor_view(self.term, anchor) if self.kept and isinstance(self.step, Step) else None
        return view_picture(self.dataset, view, item)

    def of_candidates(self, candidates: np.ndarray, items: np.ndarray) -> tuple[list[np.ndarray], str]:
        """Returns the pictures of candidates, and what they are in a word."""
        if not (self.kept and isinstance(self.step, Step)):
            return [picture(self.dataset, item) for item in items], ""
        views = [self.step.candidate_view(self.term, int(candidate)) for candidate in candidates]
        words = {"originals" if view is None else "views" for view in views}
        drawn = [view_picture(self.dataset, view, item) for view, item in zip(views, items, strict=True)]
        return drawn, ", ".join(sorted(words, reverse=True))


def role_groups(
    term: Term | BlockTerm,
    dataset: HierarchicalDataset,
    anchor: int,
    item: int,
    count: int,
    tree: PrototypeTree | None,
    level: int,
    views: StepPictures,
) -> list[Group]:
    """Returns the candidates of an anchor by role. Roles without a candidate are left out."""
    pairs, hierarchy = term.pairs, dataset.hierarchy
    items, labels = candidate_items(term, dataset, tree)
    similarity = term.logits[anchor].detach().float().cpu().numpy()
    keep = None if pairs.keep_probability is None else pairs.keep_probability[anchor].detach().cpu().numpy()
    is_view = (pairs.candidates.kind != Kind.PROTOTYPE).cpu().numpy()
    own, of_leaf = int(dataset.labels[item]), np.append(hierarchy.ancestors[:, level], -1)  # the last: of no label

    def common(leaf: int) -> str:
        if leaf < 0 or own < 0:
            return ""
        at = int(hierarchy.lca_level(own, leaf))
        if of_leaf[leaf] == of_leaf[own]:
            return ""
        return readable(hierarchy.names[at][hierarchy.ancestors[leaf, at]]) if at >= 0 else "–"

    result = []
    for role, mask in role_masks(pairs, anchor).items():
        known = np.flatnonzero(mask & (items >= 0))
        if not len(known):
            continue
        known = known[np.argsort(-similarity[known], kind="stable")]
        same, shown = (of_leaf[labels[known]] == of_leaf[own]) & (own >= 0), known[:count]
        notes = [""] * len(shown)
        if role in ("removed", "pushed") and keep is not None:
            notes = [f"keep {keep[c]:.2f}" for c in shown]
        if role == "pulled":
            notes = ["another view" if items[c] == item and is_view[c] else "" for c in shown]
        names = [readable((*hierarchy.leaf_names, NO_LABEL)[leaf]) for leaf in labels[shown]]
        ancestors = [common(int(leaf)) for leaf in labels[shown]]
        drawn = views.of_candidates(shown, items[shown])
        result.append(
            Group(role, items[shown], *drawn, names, same[:count], ancestors, notes, len(known), int(same.sum()))
        )
    return result


def candidate_items(
    term: Term | BlockTerm, dataset: HierarchicalDataset, tree: PrototypeTree | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture (−1: none) and a leaf label for every candidate; a prototype has those of its members."""
    pairs = term.pairs
    pictures = pairs.candidates.item.cpu().numpy().copy()
    prototypes = np.flatnonzero((pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy())
    labels = np.where(pictures >= 0, dataset.labels[pictures.clip(0, len(dataset) - 1)], -1)
    if not len(prototypes):
        return pictures, labels
    if tree is None or pairs.level is None:
        raise ValueError(f"the candidates of the term {term.name!r} are prototypes: pass tree=run.tree to show them.")
    majority = tree.majority(dataset.labels)[pairs.level].cpu().numpy()
    for place in prototypes:
        node = int(pairs.candidates.item[place])
        nearest = tree.exemplars(pairs.level, node, 1)
        labels[place] = majority[node]
        pictures[place] = int(nearest[0]) if len(nearest) else -1
    return pictures, labels


def _draw_group(axis: Axes, group: Group, level_name: str, top: float, size: float) -> None:
    """Draws the pictures of a role in a row, with its name and the share of the anchor's class at the left."""
    colour, symbol = ROLES[group.role]
    axis.text(1.15, top + 0.13, f"{symbol} {group.role}", size=TITLE, weight="bold", color=colour, va="center")
    axis.text(1.15, top + 0.34, f"{group.total:,}", size=NORMAL, color=TEXT, va="center")
    share = f"{percent(group.total_same / group.total)} same\n{shortened(level_name, LEFT - 1.2)}"
    axis.text(1.15, top + 0.44, f"{share}\n{group.seen}", size=SMALL, color=GREY, va="top")
    lefts, room = draw_row(axis, group.pictures, LEFT, top, size, GAP), size + GAP - 0.04
    for number, (name, same, x) in enumerate(zip(group.names, group.same, lefts, strict=True)):
        axis.add_patch(Rectangle((x, top), size, size, fill=False, edgecolor=colour, linewidth=2.2))
        centred = {"x": x + size / 2, "color": TEXT, "va": "center", "ha": "center", "size": SMALL}
        weight = "bold" if same else "normal"
        axis.text(y=top + size + 0.12, s=shortened(name, room), weight=weight, **centred)
        for line, texts in enumerate(texts for texts in (group.common, group.notes) if any(texts)):
            words = shortened(texts[number], room) if texts is group.common else texts[number]
            axis.text(y=top + size + 0.12 + LINE * (line + 1), s=words, **centred)


# ---- all pairs ----

CELLS = {
    "left alone": to_rgb("#FFFFFF"),
    "pushed": tuple(tint(np.array(to_rgb(ROLES["pushed"][0])), 0.35)),
    "false negative": to_rgb("#7A0E00"),
    "removed": to_rgb(ROLES["removed"][0]),
    "pulled": to_rgb(ROLES["pulled"][0]),
}
ORDER = tuple(CELLS)


@checked
def pair_matrix(
    step: Shown,
    dataset: HierarchicalDataset,
    term: str | int | None = None,
    level: int = 0,
    anchors: Annotated[int, AtLeast(1)] = 48,
    candidates: Annotated[int, AtLeast(2)] = 96,
    ax: Axes | None = None,
) -> Figure:
    """Draws anchors in rows and candidates in columns, ordered by class: which are pulled, pushed, removed, left alone.

    False negatives, which are pushed candidates of the anchor's own class, are dark. They form blocks on the diagonal
    if the candidates are the views of the batch. Prototypes are not drawn, nor are candidates without an item (the
    random keys at the start of the queue).

    Args:
        step: result of ``run.step(dataset)``; or a term, or several, such as :meth:`hiercl.pairs.Term.of` makes of
            embeddings.
        dataset: training set of that run: the items of the pairs.
        term: name or number of the term. By default the first that removes something, else the first.
        level: level at which classes are compared.
        anchors: largest number of anchors, evenly from all.
        candidates: largest number of candidates, evenly from all. Candidates that the drawn anchors pull come first,
            up to half of this number.
        ax: axis of your own figure to draw on.

    Returns:
        The figure; with ``ax`` your own one.

    Raises:
        ValueError: the term or the level does not exist, all candidates are prototypes, or ``ax`` is not an axis.

    Example:
        >>> figure = hiercl.plot.pair_matrix(run.step(train, batch=32), train)
    """
    chosen = pick_term(step, term)
    level = check_level(level, dataset.hierarchy.levels, "the hierarchy")
    pairs = chosen.pairs
    known = ((pairs.candidates.item >= 0) & (pairs.candidates.kind != Kind.PROTOTYPE)).cpu().numpy()
    if not known.any():
        raise ValueError(f"the candidates of {chosen.name!r} are prototypes or empty: choose another term=.")
    row_item, column_item = (members.item.cpu().numpy() for members in (pairs.anchors, pairs.candidates))
    positive, negative, removed = (
        values.cpu().numpy() for values in (pairs.positive > 0, pairs.negative, pairs.removed)
    )
    rows = _some(np.arange(len(row_item)), row_item, dataset, anchors)
    pulled = _some(np.flatnonzero(known & positive[rows].any(axis=0)), column_item, dataset, candidates // 2)
    others = np.setdiff1d(np.flatnonzero(known), pulled)
    others = _some(others, column_item, dataset, candidates - len(pulled))
    columns = _in_order(np.concatenate([pulled, others]), column_item, dataset)
    row_label, column_label = (dataset.labels_at(level)[items] for items in (row_item[rows], column_item[columns]))
    at, same = np.ix_(rows, columns), (row_label[:, None] == column_label[None, :]) & (row_label[:, None] >= 0)
    roles = np.zeros(same.shape, dtype=int)
    roles[negative[at]] = ORDER.index("pushed")
    roles[negative[at] & same] = ORDER.index("false negative")
    roles[removed[at]] = ORDER.index("removed")
    roles[positive[at]] = ORDER.index("pulled")

    wide = max(len(columns) / max(len(rows), 1), 1)
    title = f"Pairs of the term “{chosen.name}”, ordered by {dataset.hierarchy.level_names[level]}"
    height = min(6.5, WIDTH / wide * 0.8 + 1.3)
    figure, axes = panels(1, 1, height, title=title) if ax is None else user_axis(ax)
    axis = axes[0, 0]
    axis.imshow(roles, cmap=ListedColormap(list(CELLS.values())), vmin=0, vmax=4, interpolation="nearest")
    _mark_classes(axis, row_label, column_label, (*dataset.hierarchy.names[level], NO_LABEL))
    counts = np.bincount(roles.ravel(), minlength=len(ORDER))
    handles = [
        Patch(facecolor=CELLS[role], edgecolor=GREY, label=f"{role} ({count:,})")
        for role, count in zip(ORDER, counts, strict=True)
        if count
    ]
    if ax is None:
        legend_below(figure, handles, 5, side="left")
    else:
        panel_title(ax, title)
        below = ax.transAxes + ScaledTranslation(0, -0.25, figure.dpi_scale_trans)  # in inches, under the axis label
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below, "borderaxespad": 0}
        ax.legend(handles=handles, ncols=2, fontsize=SMALL, frameon=False, **place)
    return figure


def _some(places: np.ndarray, items: np.ndarray, dataset: HierarchicalDataset, most: int) -> np.ndarray:
    """Returns at most so many of the places, evenly, in the order of their classes."""
    some = np.linspace(0, max(len(places) - 1, 0), min(most, len(places))).round().astype(int)
    return _in_order(places[some], items, dataset)


def _in_order(places: np.ndarray, items: np.ndarray, dataset: HierarchicalDataset) -> np.ndarray:
    """Returns the places, ordered by the path of their label."""
    tree = dataset.hierarchy
    paths = np.stack([tree.labels_at(dataset.labels[items[places]], level) for level in range(tree.levels)], axis=1)
    return places[np.lexsort((items[places], *paths.T[::-1]))]


def _mark_classes(axis: Axes, rows: np.ndarray, columns: np.ndarray, names: tuple[str, ...]) -> None:
    """Draws lines between classes, and writes the names of those with enough rows."""
    for labels, line in ((rows, axis.axhline), (columns, axis.axvline)):
        for place in np.flatnonzero(np.diff(labels)):
            line(place + 0.5, color="white", linewidth=0.8)
    shown = [label for label in dict.fromkeys(rows.tolist()) if (rows == label).sum() * 22 >= len(rows)]
    places = [np.flatnonzero(rows == label).mean() for label in shown]
    axis.set_yticks(places, [readable(names[label]) for label in shown], size=SMALL, color=TEXT)
    axis.set_xticks([])
    axis.set_xlabel(f"{len(columns)} candidates", size=NORMAL, color=TEXT)
    axis.set_ylabel(f"{len(rows)} anchors", size=NORMAL, color=TEXT)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


# ---- audit ----

NEEDED = ("level", "pushed", "removed", "false_negative_rate", "wasted_removals", "same_removed", "other_removed")
OF_SAME = {"marker": "o", "color": OKABE_ITO[0], "markersize": 7, "linestyle": ""}
OF_OTHERS = OF_SAME | {"color": "white", "markeredgecolor": OKABE_ITO[1], "markeredgewidth": 2}


@checked
def audit(tables: pd.DataFrame | dict[str, pd.DataFrame]) -> Figure:
    """Draws false negatives, and what selection removed, for every term and level of the true hierarchy.

    The upper bars show the share of pushed candidates that have the anchor's class. A line marks this share if nothing
    were removed, which is also what random selection gives: selection helps if the bar ends before the line. The lower
    panels, drawn if something was removed, show the share that was removed of the candidates of the anchor's class, and
    of those of other classes. Selection works if the first share is larger.

    Args:
        tables: table of ``run.audit(dataset)`` or :func:`hiercl.audit`, or several by name.

    Returns:
        The figure.

    Raises:
        ValueError: there is no table, or one lacks the columns of an audit.

    Example:
        >>> figure = hiercl.plot.audit({"HCSC": run.audit(train), "G-HMLC": masked_run.audit(train)})
    """
    tables = tables if isinstance(tables, dict) else {"": tables}
    rows = pd.concat([_prepare(table, name) for name, table in tables.items()], ignore_index=True) if tables else None
    if rows is None or rows.empty:
        raise ValueError("there is no audit to show: give what run.audit(dataset) gave.")
    levels, order = (list(dict.fromkeys(rows[column])) for column in ("level", "row"))
    selecting = [row for row in order if (rows.loc[rows["row"] == row, "removed"] > 0).any()]
    colours = dict(zip(tables, categorical(len(tables)), strict=True))
    heights = [0.26 * len(shown) + 0.4 for shown in (order, selecting) if shown]
    size = sum(heights) + 0.9 * len(heights) + 0.5, max(WIDTH, 2.6 * len(levels))
    title = "Audit of the pairs by the true labels"
    figure, axes = panels(len(heights), len(levels), *size, title, sharey="row", height_ratios=heights)
    for column, level in enumerate(levels):
        part = rows[rows["level"] == level].set_index("row")
        _draw_false_negatives(axes[0, column], part.reindex(order), colours)
        panel_title(axes[0, column], f"same “{level}”", size=10)
        if selecting:
            _draw_removed(axes[1, column], part.reindex(selecting))
    axes[0, 0].set_xlabel("pushed candidates of the anchor's own class (%)", size=SMALL, loc="left")
    line = {"color": TEXT, "marker": "|", "markersize": 10, "markeredgewidth": 1.8, "linestyle": ""}
    _legend(axes[0, -1], {"without selection": line})
    if selecting:
        axes[1, 0].set_xlabel("candidates that selection removed (%)", size=SMALL, loc="left")
        _legend(axes[1, -1], {"of the same class": OF_SAME, "of other classes": OF_OTHERS})
    return figure


def _prepare(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Returns an audit with the labels of its rows, and with the rate of false negatives without selection."""
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"a table is a {type(table).__name__}: give what run.audit(dataset) or hiercl.audit gave.")
    if missing := [column for column in NEEDED if column not in table]:
        raise ValueError(f"the table lacks {', '.join(missing)}: give what run.audit(dataset) or hiercl.audit gave.")
    terms = table["term"] if "term" in table else [""] * len(table)
    same_pushed = table["pushed"] * table["false_negative_rate"].fillna(0)
    same_removed = table["removed"] * (1 - table["wasted_removals"].fillna(1))
    everyone = table["pushed"] + table["removed"]
    return table.assign(
        name=name,
        row=[" · ".join(filter(None, (name, term))) or "pairs" for term in terms],
        without_selection=(same_pushed + same_removed) / everyone.where(everyone > 0),
    )


def _draw_false_negatives(axis: Axes, part: pd.DataFrame, colours: dict) -> None:
    place = np.arange(len(part))
    rate = 100 * part["false_negative_rate"].to_numpy()
    axis.barh(place, np.nan_to_num(rate), height=0.62, color=[colours[name] for name in part["name"]])
    line = 100 * part["without_selection"].to_numpy()
    axis.vlines(line, place - 0.42, place + 0.42, color=TEXT, linewidth=1.8)
    widest = np.nanmax(np.r_[rate, line, 0.1])
    for y, (value, mark, name) in enumerate(zip(rate, line, part["name"], strict=True)):
        if not np.isfinite(value):
            continue
        x, side, colour = max(value, mark) + 0.03 * widest, "left", GREY
        if value > 0.2 * widest:  # the bar has room for its number, which so cannot be taken for the line's
            x, side = value - 0.02 * widest, "right"
            colour = "white" if np.dot(to_rgb(colours[name]), (0.3, 0.59, 0.11)) < 0.5 else TEXT
        axis.text(x, y, f"{value:.1f}", size=SMALL, color=colour, ha=side, va="center")
    axis.set_xlim(0, 1.3 * widest)
    _finish(axis, part)


def _draw_removed(axis: Axes, part: pd.DataFrame) -> None:
    place = np.arange(len(part))
    same, other = 100 * part["same_removed"].to_numpy(), 100 * part["other_removed"].to_numpy()
    axis.hlines(place, np.minimum(same, other), np.maximum(same, other), color="#BBBBBB", linewidth=2.5)
    axis.plot(other, place, **OF_OTHERS)
    axis.plot(same, place, **OF_SAME)
    axis.set_xlim(-1, max(1.0, 1.12 * np.nanmax(np.r_[same, other, 1])))
    _finish(axis, part)


def _finish(axis: Axes, part: pd.DataFrame) -> None:
    axis.set_yticks(range(len(part)), part.index)
    axis.set_ylim(len(part) - 0.4, -0.6)
    simple_axis(axis, grid="x")
    axis.spines["left"].set_visible(False)


def _legend(axis: Axes, styles: dict[str, dict[str, Any]]) -> None:
    """Writes a legend below a panel, at the right, beside the label of the first panel: it takes no room of its own."""
    below = axis.transAxes + ScaledTranslation(0, -0.18, figure_of(axis).dpi_scale_trans)  # in inches
    legend = axis.legend(
        handles=[Line2D([], [], label=name, **style) for name, style in styles.items()],
        ncols=len(styles),
        loc="upper right",
        bbox_to_anchor=(1, 0),
        bbox_transform=below,
        borderaxespad=0,
        fontsize=SMALL,
        frameon=False,
        handletextpad=0.2,
        columnspacing=1,
    )
    legend.set_in_layout(False)
