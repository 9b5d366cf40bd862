"""Embeddings as maps: UMAP brings features to two dimensions, colours follow the hierarchy."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy import Hierarchy
from hiercl.plot._canvas import SMALL, WIDTH, check_level, given, headline, panels, readable
from hiercl.plot._colours import GREY, TEXT, node_colours, node_markers
from hiercl.plot._map_names import write_names
from hiercl.runtime.types import Float

NEIGHBOURS = 10  # whose agreement the titles state
LEGEND = 12  # classes beyond which names stand on the map instead of in a legend,
NAMED = 40  # and beyond which there are none


def map_2d(features: Any, seed: int = 0, neighbours: int = 15) -> Float[np.ndarray, "items 2"]:
    """Two coordinates for every item, by UMAP with cosine distances; the same seed gives the same map.

    Args:
        features: ``[items, d]``, such as ``hiercl.embed(run, dataset)``.
        seed: of the layout.
        neighbours: how many of them UMAP looks at: fewer show finer structure, more show coarser.

    Raises:
        ImportError: umap-learn is not installed.
        ValueError: features that are not ``[items, d]``, not finite, or of fewer than 5 items.

    Example:
        >>> xy = hiercl.plot.map_2d(hiercl.embed(run, test))
    """
    features = _as_array(features)
    if features.ndim != 2 or len(features) < 5:
        raise ValueError(f"features must be [items, d] with at least 5 items, got {list(features.shape)}.")
    if not np.isfinite(features).all():
        raise ValueError("the features are not finite: the encoder has diverged, so there is nothing to map.")
    # numba gives OpenMP as many threads as there are cores, and torch with it: trainings that follow would run at
    # another speed, and to other last digits.
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba and umap speak of their own internals
            from umap import UMAP
    except ImportError as error:
        raise ImportError(
            "A map of an embedding needs umap-learn: pip install umap-learn. Or give coordinates of your own: "
            "embedding(..., coordinates=xy)."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reducer = UMAP(n_neighbors=min(neighbours, len(features) - 1), metric="cosine", random_state=seed, n_jobs=1)
        try:
            return np.asarray(reducer.fit_transform(features), dtype=np.float32)
        finally:
            torch.set_num_threads(threads)


def embedding(
    run: Any,
    dataset: HierarchicalDataset,
    levels: Sequence[int] | None = None,
    seed: int = 0,
    max_items: int = 2000,
    coordinates: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """One map of an embedding, coloured by the labels of every level: one panel a level.

    Each title states how often an item and its 10 nearest neighbours *on the map* share their label, and how often
    random pairs do.

    Args:
        run: a run, an encoder, or features ``[items, d]``; not looked at when coordinates are given.
        dataset: the items and their labels.
        levels: of the hierarchy; by default all.
        seed: of UMAP, and of the choice of items.
        max_items: at most so many random items are shown.
        coordinates: ``[items, 2]`` for every item of the data set, such as :func:`map_2d` gives: nothing is computed.
        title: what the map is of; by default the name of the run's method.
        ax: an axis to draw on, of a figure of your own, which is returned; for a single level.

    Raises:
        ValueError: features or coordinates for another number of items; a level that does not exist; no level, or
            several for one axis.

    Example:
        >>> hiercl.plot.embedding(run, test)
        >>> hiercl.plot.embedding(run, test, levels=[0], ax=ax)
    """
    tree = dataset.hierarchy
    levels = range(tree.levels) if levels is None else levels
    levels = [check_level(level, tree.levels, "the hierarchy") for level in levels]
    if not levels:
        raise ValueError("levels is empty: choose at least one, such as levels=[0].")
    own = None if ax is None else given(ax, len(levels), "choose a level, such as levels=[0]")
    chosen, xy = place(run, dataset, seed, max_items, coordinates)
    part = dataset.take(chosen)
    legend = any(tree.sizes[level] <= LEGEND for level in levels)
    width = max(WIDTH, 3.0 * len(levels)) if len(levels) > 1 else 5.5
    what = f"{title or name_of(run)}: {len(chosen):,} items of {dataset.name}"
    height = width / len(levels) + (1.7 if legend else 0.6)
    figure, axes = panels(1, len(levels), height, width) if own is None else own
    if own is None:
        headline(figure, what)
    for axis, level in zip(axes[0], levels, strict=True):
        _scatter(axis, xy, part, level)
        heading = [what] * (own is not None) + [f"“{tree.level_names[level]}”", agreement(xy, part, level)]
        axis.set_title("\n".join(heading), size=9, color=TEXT, loc="left")
        if tree.sizes[level] <= LEGEND:
            _legend(axis, part, level, columns=2 if len(levels) > 1 else 3)
        else:
            axis.set_xlabel(_explanation(tree, level), size=SMALL, color=GREY)
    _write_names(figure, [(axis, xy, part, level) for axis, level in zip(axes[0], levels, strict=True)])
    return figure


def compare_embeddings(
    runs: dict[str, Any],
    dataset: HierarchicalDataset,
    level: int = 0,
    seed: int = 0,
    max_items: int = 2000,
    coordinates: dict[str, Any] | None = None,
) -> Figure:
    """Maps of several embeddings side by side, coloured by the labels of one level.

    Args:
        runs: name and run (or encoder, or features) of each.
        dataset: the items and their labels; all maps show the same ones.
        level: of the hierarchy.
        seed: of UMAP, and of the choice of items.
        max_items: at most so many random items are shown.
        coordinates: name and ``[items, 2]`` of each, such as :func:`map_2d` gives: nothing is computed.

    Raises:
        ValueError: no run; a run without coordinates when they are given; otherwise as :func:`embedding`.

    Example:
        >>> hiercl.plot.compare_embeddings({"untrained": start, "HCSC": run}, test)
    """
    if not runs:
        raise ValueError("compare_embeddings needs at least one run: {'name': run}.")
    if coordinates is not None and (missing := [name for name in runs if name not in coordinates]):
        raise ValueError(f"there are no coordinates for {', '.join(missing)}: give them for every run, or for none.")
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    columns = min(len(runs), 3)
    rows = -(-len(runs) // columns)
    figure, axes = panels(rows, columns, height=rows * (WIDTH / columns + 0.5) + 0.9)
    headline(figure, f"{dataset.name}, coloured by “{tree.level_names[level]}”")
    maps = []
    for axis, (name, run) in zip(axes.flat, runs.items(), strict=False):
        chosen, xy = place(run, dataset, seed, max_items, None if coordinates is None else coordinates[name])
        part = dataset.take(chosen)
        maps.append((axis, xy, part, level))
        _scatter(axis, xy, part, level)
        axis.set_title(f"{name}\n{agreement(xy, part, level)}", size=9, color=TEXT, loc="left")
    for axis in axes.flat[len(runs) :]:
        axis.axis("off")
    if tree.sizes[level] <= LEGEND:
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(6, len(names)),
            fontsize=SMALL,
            frameon=False,
            markerscale=2,
            handletextpad=0.2,
        )
    else:
        figure.supxlabel(_explanation(tree, level), size=SMALL, color=GREY)
    _write_names(figure, maps)
    return figure


def place(
    run: Any, dataset: HierarchicalDataset, seed: int, max_items: int, coordinates: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Which items are shown, and where."""
    if max_items < 5:
        raise ValueError(f"max_items={max_items}: a map needs at least 5 items.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:max_items])
    if coordinates is not None:
        return chosen, _of_all_items(coordinates, dataset, "coordinates", width=2)[chosen]
    if isinstance(run, np.ndarray | torch.Tensor) and not isinstance(run, torch.nn.Module):
        features = _of_all_items(run, dataset, "features")[chosen]
    else:
        from hiercl.encoders import embed

        features = embed(run, dataset.take(chosen))
    return chosen, map_2d(features, seed)


def _of_all_items(array: Any, dataset: HierarchicalDataset, what: str, width: int | None = None) -> np.ndarray:
    array = _as_array(array)
    if array.ndim != 2 or len(array) != len(dataset) or (width is not None and array.shape[1] != width):
        raise ValueError(
            f"{what} must be [{len(dataset)}, {width or 'd'}], one row for each item of {dataset.name!r}, got "
            f"{list(array.shape)}."
        )
    return array


def _as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _scatter(axis: Axes, xy: np.ndarray, dataset: HierarchicalDataset, level: int) -> None:
    labels, names = dataset.labels_at(level), dataset.hierarchy.names[level]
    colours, markers = node_colours(dataset.hierarchy, level), node_markers(dataset.hierarchy, level)
    size = float(np.clip(9000 / len(xy), 4, 30))
    for node in np.unique(labels):
        x, y = xy[labels == node].T
        axis.scatter(
            x,
            y,
            s=size,
            color=colours[node],
            marker=markers[node],
            alpha=0.75,
            linewidths=0,
            label=readable(names[node]),
        )
    axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.spines[:].set_color("#E0E0E0")


def _legend(axis: Axes, dataset: HierarchicalDataset, level: int, columns: int) -> None:
    axis.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        handletextpad=0.2,
        columnspacing=0.8,
        markerscale=2,
    )


def _explanation(tree: Hierarchy, level: int) -> str:
    """What the colours and names of a map without a legend are."""
    text = f"{tree.sizes[level]} classes" + (f", in shades of their “{tree.level_names[0]}”" if level else "")
    named = tree.sizes[level] <= NAMED
    return text + "; named where half of the items nearby are theirs, as far as there is room" * named


def _write_names(figure: Figure, maps: list[tuple[Axes, np.ndarray, HierarchicalDataset, int]]) -> None:
    """The names of the classes on the maps that are too full of them for a legend, and not too full for names."""
    figure.draw_without_rendering()  # now every panel has its final size, which tells where names would overlap
    for axis, xy, part, level in maps:
        if LEGEND < part.hierarchy.sizes[level] <= NAMED:
            write_names(axis, xy, part.labels_at(level), part.hierarchy.names[level])


def agreement(xy: np.ndarray, dataset: HierarchicalDataset, level: int) -> str:
    """How often neighbours on the map share their label."""
    from sklearn.neighbors import NearestNeighbors

    labels = dataset.labels_at(level)
    count = min(NEIGHBOURS, len(xy) - 1)
    neighbours = NearestNeighbors(n_neighbors=count).fit(xy).kneighbors(return_distance=False)
    share = (labels[neighbours] == labels[:, None]).mean()
    chance = ((np.bincount(labels) / len(labels)) ** 2).sum()
    return f"neighbours agree: {100 * share:.0f} % (chance {100 * chance:.0f} %)"


def name_of(run: Any) -> str:
    name = getattr(run, "name", None)
    return name if isinstance(name, str) else "Embedding"
