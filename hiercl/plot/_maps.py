"""Embeddings as maps: UMAP brings features to two dimensions, and colours follow the hierarchy."""

import warnings
from collections.abc import Sequence
from textwrap import fill
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import (
    SMALL,
    WIDTH,
    check_level,
    figure_of,
    first_axes,
    legend_below,
    panel_title,
    panels,
    readable,
    text_width,
    user_axis,
)
from hiercl.plot._colours import GREY, MARKERS, OKABE_ITO, TEXT, node_colours, node_markers
from hiercl.plot._neighbours import name_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.config import AtLeast, check_value
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Float, Int

NEIGHBOURS = 10  # neighbours whose agreement the titles state
LEGEND = 10  # classes up to which a legend names them; if there are more, names stand on the map
HUES = 10  # coarsest classes up to which their hues can be told apart; if there are more, all points are grey
LETTERS = 13  # of a small text, in an inch
LINE = 0.16  # height of a line in inches
PALE = "#D8D8D8"  # points without a label, and those that are not highlighted
NEARBY, HALF = 20, 0.5  # items nearby, and the share of them that a class needs for its name to stand there


@checked
def map_2d(
    features: Any, seed: Annotated[int, AtLeast(0)] = 0, neighbours: Annotated[int, AtLeast(1)] = 15
) -> Float[np.ndarray, "items 2"]:
    """Computes two coordinates for every item, by UMAP with cosine distances. The same seed gives the same map.

    Args:
        features: features ``[items, d]``, NumPy or torch, such as ``hiercl.embed(run, dataset)``.
        seed: seed of the layout.
        neighbours: neighbours that UMAP looks at. Fewer show finer structure, more show coarser structure.

    Returns:
        Coordinates ``[items, 2]``.

    Raises:
        ImportError: umap-learn is not installed.
        ValueError: features are not ``[items, d]``, not finite, or of fewer than 5 items.

    Example:
        >>> xy = hiercl.plot.map_2d(features, seed=3)
        >>> xy.shape
        (60, 2)
        >>> bool((hiercl.plot.map_2d(features, seed=3) == xy).all())
        True
    """
    features = as_array(features)
    if features.ndim != 2 or len(features) < 5:
        raise ValueError(f"features must be [items, d] with at least 5 items, got {list(features.shape)}.")
    if not np.isfinite(features).all():
        raise ValueError("the features are not finite: the encoder has diverged, so there is nothing to map.")
    # numba sets the number of OpenMP threads to the number of cores, and so that of torch. Later trainings would have
    # another speed and other last digits.
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and umap warn about their own internals
        try:
            from umap import UMAP
        except ImportError as error:
            raise ImportError(
                "A map of an embedding needs umap-learn: pip install umap-learn. Or give your own coordinates: "
                "embedding(..., coordinates=xy)."
            ) from error
        reducer = UMAP(n_neighbors=min(neighbours, len(features) - 1), metric="cosine", random_state=seed, n_jobs=1)
        try:
            return np.asarray(reducer.fit_transform(features), dtype=np.float32)
        finally:
            torch.set_num_threads(threads)


@checked
def embedding(
    run: Any,
    dataset: HierarchicalDataset,
    levels: Sequence[int] | None = None,
    seed: Annotated[int, AtLeast(0)] = 0,
    max_items: Annotated[int, AtLeast(1)] = 2000,
    coordinates: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
    highlight: str | Sequence[str] | None = None,
) -> Figure:
    """Draws a map of an embedding, with one panel per level, coloured by the labels of that level.

    Of more than ten coarsest classes no eye can tell the hues apart. Then the points are grey, names stand where their
    classes are, and ``highlight`` colours the classes that one asks about.

    Each title gives the share of an item's 10 nearest neighbours *on the map* that have its label, and the same share
    for random pairs.

    Args:
        run: a run, an encoder, or features ``[items, d]``; None for vectors themselves. It is ignored if coordinates
            are given.
        dataset: the items and their labels.
        levels: levels of the hierarchy. By default all; with ``highlight`` that of the first highlighted class.
        seed: seed of UMAP, and of the choice of items.
        max_items: largest number of items. If there are more, random ones are drawn.
        coordinates: ``[items, 2]`` for every item of the data set, such as :func:`map_2d` gives. Nothing is computed.
        title: name of the embedding. By default the name of the run's method.
        ax: axis of your own figure to draw a single level on.
        highlight: name of a class of any level, or up to eight names: their items are coloured, all others are grey.

    Returns:
        The figure; with ``ax`` your own one.

    Raises:
        ValueError: features or coordinates are of another number of items; a level or a class does not exist; there is
            no level, or there are several levels for one axis.

    Example:
        >>> figure = hiercl.plot.embedding(run, test)
        >>> figure = hiercl.plot.embedding(run, test, highlight="animals")
        >>> figure, axes = plt.subplots()
        >>> figure = hiercl.plot.embedding(features, test, levels=[0], ax=axes)
    """
    tree = dataset.hierarchy
    asked = _asked(tree, highlight)
    given = (asked[0][0],) if asked and levels is None else range(tree.levels) if levels is None else levels
    given = tuple(given) if isinstance(given, range) else given
    levels = [
        check_level(level, tree.levels, "the hierarchy") for level in check_value("levels", given, tuple[int, ...])
    ]
    if not levels:
        raise ValueError("levels is empty: choose at least one, such as levels=[0].")
    own = None if ax is None else user_axis(ax, len(levels), "choose a level, such as levels=[0]")
    chosen, xy = place(run, dataset, seed, max_items, coordinates)
    part = dataset.take(chosen)
    what = f"{title or name_of(run)}: {len(chosen):,} items of {dataset.name}"
    if own is None:
        width = max(WIDTH, 3.0 * len(levels)) if len(levels) > 1 else 5.5
        legend = bool(asked) or any(tree.sizes[level] <= LEGEND for level in levels)
        figure, axes = panels(1, len(levels), width / len(levels) + (1.7 if legend else 0.6), width, what)
    else:
        figure, axes = own
    for axis, level in zip(axes[0], levels, strict=True):
        _scatter(axis, xy, part, level, asked)
        heading = [what] * (own is not None) + [f"“{tree.level_names[level]}”", agreement(xy, part, level)]
        panel_title(axis, "\n".join(heading))
        if asked or tree.sizes[level] <= LEGEND:
            place_below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 2 if len(levels) > 1 else 3}
            axis.legend(
                fontsize=SMALL, frameon=False, handletextpad=0.2, columnspacing=0.8, markerscale=2, **place_below
            )
        else:
            axis.set_xlabel(fill(_explanation(tree, level), int(LETTERS * WIDTH / len(levels))), size=SMALL, color=GREY)
    if not asked:
        _write_names(figure, [(axis, xy, part, level) for axis, level in zip(axes[0], levels, strict=True)])
    return figure


@checked
def compare_embeddings(
    runs: dict[str, Any],
    dataset: HierarchicalDataset,
    level: int = 0,
    seed: Annotated[int, AtLeast(0)] = 0,
    max_items: Annotated[int, AtLeast(1)] = 2000,
    coordinates: dict[str, Any] | None = None,
    highlight: str | Sequence[str] | None = None,
) -> Figure:
    """Draws maps of several embeddings side by side, coloured by the labels of one level.

    Args:
        runs: runs, encoders or features by name; None for vectors themselves.
        dataset: the items and their labels. All maps show the same items.
        level: level of the hierarchy.
        seed: seed of UMAP, and of the choice of items.
        max_items: largest number of items. If there are more, random ones are drawn.
        coordinates: ``[items, 2]`` by name, such as :func:`map_2d` gives. Nothing is computed.
        highlight: as in :func:`embedding`.

    Returns:
        The figure.

    Raises:
        ValueError: there is no run, a run without coordinates if coordinates are given, or what :func:`embedding`
            raises it for.

    Example:
        >>> figure = hiercl.plot.compare_embeddings({"HCSC": run, "G-HMLC": masked_run}, test)
    """
    if not runs:
        raise ValueError("compare_embeddings needs at least one run: {'name': run}.")
    if coordinates is not None and (missing := [name for name in runs if name not in coordinates]):
        raise ValueError(f"there are no coordinates for {', '.join(missing)}: give them for every run, or for none.")
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    columns = min(len(runs), 3)
    rows = -(-len(runs) // columns)
    asked, by = _asked(tree, highlight), f"“{tree.level_names[level]}”"
    title = dataset.name if asked else f"{dataset.name}, {'coloured by ' * (tree.sizes[0] <= HUES)}{by}"
    figure, axes = panels(rows, columns, rows * (WIDTH / columns + 0.5) + 0.9, title=title)
    maps = []
    for axis, (name, run) in zip(first_axes(axes, len(runs)), runs.items(), strict=True):
        chosen, xy = place(run, dataset, seed, max_items, None if coordinates is None else coordinates[name])
        part = dataset.take(chosen)
        maps.append((axis, xy, part, level))
        _scatter(axis, xy, part, level, asked)
        panel_title(axis, f"{name}\n{agreement(xy, part, level)}")
    if asked or tree.sizes[level] <= LEGEND:
        handles, names = axes.flat[0].get_legend_handles_labels()
        legend_below(figure, handles, min(6, len(names)), markerscale=2, handletextpad=0.2)
    else:
        figure.supxlabel(_explanation(tree, level), size=SMALL, color=GREY)
    if not asked:
        _write_names(figure, maps)
    return figure


def place(
    run: Any, dataset: HierarchicalDataset, seed: int, max_items: int, coordinates: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the items that are shown, and their coordinates."""
    if max_items < 5:
        raise ValueError(f"max_items={max_items}: a map needs at least 5 items.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:max_items])
    if coordinates is not None:
        xy = as_array(coordinates)
        if xy.shape != (len(dataset), 2):
            raise ValueError(
                f"coordinates must be [{len(dataset)}, 2], one row for each item of {dataset.name!r}, got "
                f"{list(xy.shape)}."
            )
        return chosen, xy[chosen]
    if isinstance(run, Array):
        return chosen, map_2d(features_of(run, dataset)[chosen], seed)
    return chosen, map_2d(features_of(run, dataset.take(chosen)), seed)


def _asked(tree: Hierarchy, highlight: str | Sequence[str] | None) -> list[tuple[int, int]]:
    """Returns level and number of the classes that are highlighted."""
    names = [highlight] if isinstance(highlight, str) else list(highlight or [])
    known = {name: (level, node) for level in range(tree.levels)[::-1] for node, name in enumerate(tree.names[level])}
    for name in names:
        if name not in known:
            raise unknown("class", name, known)
    if len(names) > len(OKABE_ITO) - 1:
        raise ValueError(f"highlight has {len(names)} classes: choose at most {len(OKABE_ITO) - 1}, one colour each.")
    return [known[name] for name in names]


def _scatter(
    axis: Axes, xy: np.ndarray, dataset: HierarchicalDataset, level: int, asked: list[tuple[int, int]]
) -> None:
    """Draws the points of a map in the colours of their classes, or in grey with the classes that are asked for."""
    tree, labels = dataset.hierarchy, dataset.labels_at(level)
    size = float(np.clip(9000 / len(xy), 4, 30))
    if asked or tree.sizes[0] > HUES:
        rest = {"color": PALE if asked else "#9A9A9A", "label": "all others", "alpha": 0.75}
        axis.scatter(*xy.T, s=size, linewidths=0, **rest)
        for place, (of, node) in enumerate(asked):
            style = {"color": OKABE_ITO[place], "marker": MARKERS[place], "label": readable(tree.names[of][node])}
            axis.scatter(*xy[dataset.labels_at(of) == node].T, s=1.2 * size, linewidths=0, **style)
    else:
        colours, markers = node_colours(tree, level), node_markers(tree, level)
        for node in np.unique(labels):
            style = {"color": colours[node], "marker": markers[node], "label": readable(tree.names[level][node])}
            if node < 0:
                style = {"color": PALE, "marker": ".", "label": "no label"}
            axis.scatter(*xy[labels == node].T, s=size, alpha=0.75, linewidths=0, **style)
    axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.spines[:].set_color("#E0E0E0")


def _explanation(tree: Hierarchy, level: int) -> str:
    """Says what the colours and the names of a map without a legend are."""
    shades = f", in shades of their “{tree.level_names[0]}”" if level and tree.sizes[0] <= HUES else ""
    text = f"{tree.sizes[level]} classes{shades}"
    return f"{text}; named where half of the items nearby are theirs, as far as there is room"


def agreement(xy: np.ndarray, dataset: HierarchicalDataset, level: int) -> str:
    """Says how often neighbours on the map share their label."""
    from sklearn.neighbors import NearestNeighbors

    xy, labels = xy[dataset.has_label], dataset.labels_at(level)[dataset.has_label]
    if len(xy) < 2:
        return "no labels"
    count = min(NEIGHBOURS, len(xy) - 1)
    neighbours = NearestNeighbors(n_neighbors=count).fit(xy).kneighbors(return_distance=False)
    share = (labels[neighbours] == labels[:, None]).mean()
    chance = ((np.bincount(labels) / len(labels)) ** 2).sum()
    return f"neighbours agree: {100 * share:.0f} % (chance {100 * chance:.0f} %)"


# ---- names on maps ----


def _write_names(figure: Figure, maps: list[tuple[Axes, np.ndarray, HierarchicalDataset, int]]) -> None:
    """Names the classes on maps that have too many for a legend."""
    figure.draw_without_rendering()  # now every panel has its final size, which tells where names would overlap
    for axis, xy, part, level in maps:
        if part.hierarchy.sizes[level] > LEGEND:
            known = part.has_label
            write_names(axis, xy[known], part.labels_at(level)[known], part.hierarchy.names[level])


def write_names(
    axis: Axes, xy: Float[np.ndarray, "items 2"], labels: Int[np.ndarray, " items"], names: Sequence[str]
) -> None:
    """Writes the name of every class in the middle of the place where it is densest.

    A class that is less than half of the items there has no name. Of names that would overlap, the one with the larger
    share is written. The axis must have its final size.
    """
    dpi = figure_of(axis).dpi
    inches = axis.transData.transform(xy) / dpi
    left, right = axis.get_window_extent().x0 / dpi, axis.get_window_extent().x1 / dpi
    written: list[tuple[float, float, float]] = []
    for share, item in sorted(homes(xy, labels), reverse=True):
        x, y = inches[item]
        name = readable(names[int(labels[item])])
        half = text_width(name, SMALL) / 2 + 0.03
        x = max(left + half, min(x, right - half))  # within the frame
        free = all(abs(x - x2) > half + half2 or abs(y - y2) > LINE for x2, y2, half2 in written)
        if share >= HALF and free:
            written.append((x, y, half))
            at = axis.transData.inverted().transform((x * dpi, y * dpi))
            text = axis.text(*at, name, size=SMALL, color=TEXT, ha="center", va="center", zorder=4)
            text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])


def homes(xy: Float[np.ndarray, "items 2"], labels: Int[np.ndarray, " items"]) -> list[tuple[float, int]]:
    """Returns for every class its share of the items nearby, where it is densest, and the item in the middle there."""
    from sklearn.neighbors import NearestNeighbors

    nearby = NearestNeighbors(n_neighbors=min(NEARBY, len(xy))).fit(xy).kneighbors(xy, return_distance=False)
    own = (labels[nearby] == labels[:, None]).mean(axis=1)
    smooth = np.where(labels[nearby] == labels[:, None], own[nearby], 0).mean(axis=1)  # the middle, not the rim
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    middles = [int(items[smooth[items].argmax()]) for items in members]
    return [(float(own[middle]), middle) for middle in middles]
