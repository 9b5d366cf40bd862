"""All pairs of a step at once: anchors times candidates, coloured by what the method does with them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from hiercl.datasets import HierarchicalDataset
from hiercl.methods import Step
from hiercl.pairs import Kind
from hiercl.plot._canvas import NORMAL, SMALL, WIDTH, check_level, given, headline, panels, readable
from hiercl.plot._colours import GREY, TEXT, tint
from hiercl.plot._pairs import ROLES, pick_term

ORDER = ("left alone", "pushed", "false negative", "removed", "pulled")
COLOURS = {
    "left alone": to_rgb("#FFFFFF"),
    "pushed": tuple(tint(np.array(to_rgb(ROLES["pushed"][0])), 0.35)),
    "false negative": to_rgb("#7A0E00"),
    "removed": to_rgb(ROLES["removed"][0]),
    "pulled": to_rgb(ROLES["pulled"][0]),
}


def pair_matrix(
    step: Step,
    dataset: HierarchicalDataset,
    term: str | int | None = None,
    level: int = 0,
    anchors: int = 48,
    candidates: int = 96,
    ax: Axes | None = None,
) -> Figure:
    """Anchors in rows, candidates in columns, both ordered by class: who is pulled, pushed, removed, left alone.

    Pushed candidates of the anchor's own class, the false negatives, are dark: they lie in blocks on the diagonal when
    candidates are the views of the batch. Candidates without an item (the queue's first, random keys) are not shown,
    nor are prototypes.

    Args:
        step: what ``run.step(dataset)`` gives.
        dataset: the training set of that run.
        term: name or number of the term; by default the first that removes something, else the first.
        level: at which "own class" is meant.
        anchors, candidates: at most so many of each are drawn, evenly from all; of the candidates first those that the
            drawn anchors pull, as far as they fill half of the room.
        ax: an axis to draw on, of a figure of your own, which is returned.

    Raises:
        ValueError: the term or the level does not exist, all candidates are prototypes, or an ``ax`` that is no axis.

    Example:
        >>> hiercl.plot.pair_matrix(run.step(train, batch=32), train)
    """
    chosen = pick_term(step, term)
    level = check_level(level, dataset.hierarchy.levels, "the hierarchy")
    pairs = chosen.pairs
    known = ((pairs.candidates.item >= 0) & (pairs.candidates.kind != Kind.PROTOTYPE)).cpu().numpy()
    if not known.any():
        raise ValueError(f"the candidates of {chosen.name!r} are prototypes or empty: choose another term=.")
    row_item, column_item = (members.item.cpu().numpy() for members in (pairs.anchors, pairs.candidates))
    rows = _some(np.arange(len(row_item)), row_item, dataset, anchors)
    pulled = known & (pairs.positive.cpu().numpy()[rows] > 0).any(axis=0)
    first = _some(np.flatnonzero(pulled), column_item, dataset, candidates // 2)
    others = np.setdiff1d(np.flatnonzero(known), first)
    others = _some(others, column_item, dataset, candidates - len(first)) if len(others) else others
    columns = _in_order(np.concatenate([first, others]), column_item, dataset)
    row_label, column_label = (dataset.labels_at(level)[items] for items in (row_item[rows], column_item[columns]))
    at = np.ix_(rows, columns)
    same = row_label[:, None] == column_label[None, :]
    negative = pairs.negative.cpu().numpy()[at]
    roles = np.zeros(same.shape, dtype=int)
    roles[negative] = ORDER.index("pushed")
    roles[negative & same] = ORDER.index("false negative")
    roles[pairs.removed.cpu().numpy()[at]] = ORDER.index("removed")
    roles[pairs.positive.cpu().numpy()[at] > 0] = ORDER.index("pulled")

    wide = max(len(columns) / max(len(rows), 1), 1)
    figure, axes = panels(1, 1, min(6.5, WIDTH / wide * 0.8 + 1.3)) if ax is None else given(ax)
    axis = axes[0, 0]
    axis.imshow(roles, cmap=ListedColormap([COLOURS[role] for role in ORDER]), vmin=0, vmax=4, interpolation="nearest")
    name = dataset.hierarchy.level_names[level]
    title = f"Pairs of the term “{chosen.name}”, ordered by {name}"
    _mark(axis, row_label, column_label, dataset, level)
    counts = {role: int((roles == place).sum()) for place, role in enumerate(ORDER)}
    handles = [
        Patch(facecolor=COLOURS[role], edgecolor=GREY, label=f"{role} ({count:,})")
        for role, count in counts.items()
        if count
    ]
    if ax is None:
        headline(figure, title)
        figure.legend(handles=handles, loc="outside lower left", ncols=5, fontsize=SMALL, frameon=False)
    else:
        ax.set_title(title, size=NORMAL, color=TEXT, loc="left")
        below = ax.transAxes + ScaledTranslation(0, -0.25, figure.dpi_scale_trans)  # inches: of the label that is there
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below, "borderaxespad": 0}
        ax.legend(handles=handles, ncols=2, fontsize=SMALL, frameon=False, **place)
    return figure


def _some(places: np.ndarray, items: np.ndarray, dataset: HierarchicalDataset, most: int) -> np.ndarray:
    """At most so many of the places, evenly, in order."""
    some = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    return _in_order(places[some], items, dataset)


def _in_order(places: np.ndarray, items: np.ndarray, dataset: HierarchicalDataset) -> np.ndarray:
    """The places, ordered by the path of their label."""
    paths = dataset.hierarchy.ancestors[dataset.labels[items[places]]]
    return places[np.lexsort((items[places], *paths.T[::-1]))]


def _mark(axis, rows: np.ndarray, columns: np.ndarray, dataset: HierarchicalDataset, level: int) -> None:
    """Lines between classes, and the names of those that have room for one."""
    names = dataset.hierarchy.names[level]
    for labels, line in ((rows, axis.axhline), (columns, axis.axvline)):
        for place in np.flatnonzero(np.diff(labels)):
            line(place + 0.5, color="white", linewidth=0.8)
    ticks = [(np.flatnonzero(rows == label).mean(), label) for label in dict.fromkeys(rows.tolist())]
    room = [(y, label) for y, label in ticks if (rows == label).sum() * 22 >= len(rows)]
    axis.set_yticks([y for y, _ in room], [readable(names[label]) for _, label in room], size=SMALL, color=TEXT)
    axis.set_xticks([])
    axis.set_xlabel(f"{len(columns)} candidates", size=NORMAL, color=TEXT)
    axis.set_ylabel(f"{len(rows)} anchors", size=NORMAL, color=TEXT)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
