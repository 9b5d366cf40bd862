"""Neighbours in an embedding: rows of pictures, with frames that show what they have in common with the first."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.metrics.geometry import unit
from hiercl.plot._canvas import (
    LINE,
    SMALL,
    WIDTH,
    check_item,
    check_level,
    draw_pictures,
    readable,
    sheet,
    shortened,
    text_width,
    title_width,
    wrapped,
)
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT, shades
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float, Int

ROWS = 6  # items that are shown by default
JUDGED = 2000  # items whose neighbours are counted, at most
BLOCK = 256  # items that are compared at a time, which limits the memory
LEFT, GAP = 1.2, 0.08  # inches: left edge of the neighbours, and gap between two
SAME, SHARED, NOTHING = OKABE_ITO[2], OKABE_ITO[0], OKABE_ITO[4]


@checked
def neighbours(
    run: Any,
    dataset: HierarchicalDataset,
    items: int | Sequence[int] | np.ndarray | None = None,
    count: int = 8,
    level: int = -1,
    seed: Annotated[int, AtLeast(0)] = 0,
    title: str | None = None,
) -> Figure:
    """Draws items and their nearest neighbours in an embedding, by cosine similarity: one row per item, nearest first.

    Of several embeddings, every item has a row for each. All of them search the same bank, which the title states.

    The frame shows what a neighbour has in common with the item: the class (green, solid), only a coarser class (blue,
    dashed) or nothing (orange, dotted). Class and similarity stand below it. The legend gives the share of each frame
    among the neighbours of all items (of 2,000 random items if there are more) and, in brackets, among random pairs.

    Args:
        run: a run, a pretrained model, an encoder, or features ``[n, d]``; None for vectors themselves. Or several of
            these by name.
        dataset: the items. The bank is the items of this data set that have a label; an item is no neighbour of itself.
        items: numbers of the items to show. By default random ones, of different coarsest classes if possible: six, or
            as many as there is room for with several embeddings.
        count: neighbours per item.
        level: level at which classes are compared. −1 means the leaves.
        seed: seed of the random items.
        title: name of the embedding. By default the name of the run's method. Several have the names they are given by.

    Returns:
        The figure.

    Raises:
        ValueError: features are not one row per item, not finite or of length zero; an item or the level does not
            exist; there is no embedding; or count is below 1 or not below the number of items.

    Example:
        >>> figure = hiercl.plot.neighbours(run, test, items=[3, 14, 41])
        >>> figure = hiercl.plot.neighbours({"HCSC": run, "G-HMLC": masked_run}, test, items=[3, 14])
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    n = int(dataset.has_label.sum())
    if not 1 <= count < n:
        raise ValueError(f"count={count} neighbours of {n} labelled items: it must be from 1 to {n - 1}.")
    runs = dict(run) if isinstance(run, Mapping) else {title or name_of(run): run}
    if not runs:
        raise ValueError("there is no embedding: give a run or features, or several by name.")
    most = max(2, ROWS // len(runs))
    shown = _some_items(dataset, seed)[:most] if items is None else np.asarray(items).reshape(-1)
    if not len(shown) or shown.dtype.kind not in "iu":
        raise ValueError("there is no item to show: give the number of at least one, as integers.")
    for item in shown:
        check_item(int(item), len(dataset))
    spaces = [unit(features_of(one, dataset)).float() for one in runs.values()]
    numbers = np.flatnonzero(dataset.has_label)
    if not np.isin(shown, numbers).all():
        raise ValueError(f"item {shown[~np.isin(shown, numbers)][0]} has no label to compare with: show others.")
    shown, spaces, dataset = np.searchsorted(numbers, shown), [z[numbers] for z in spaces], dataset.labelled_part
    judged = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:JUDGED])
    size = float(np.clip((WIDTH - LEFT - 0.1) / count - GAP, 0.45, 0.78))
    about = f" ({dataset.note})" if dataset.note else ""
    bank = f"{len(dataset):,} labelled items of {dataset.name}{about}"
    title = f"{', '.join(runs)}: nearest neighbours" if len(runs) == 1 else "Nearest neighbours, of one bank for all"
    whose = f"{len(judged):,} random items" if len(judged) < len(dataset) else "all items"
    features = " and ".join(dict.fromkeys(map(what_of, runs.values())))
    width = max(WIDTH, LEFT + count * (size + GAP) + 0.1, title_width(title))
    note = f"Bank: {bank}, without the item itself. Cosine similarity of {features}. "
    note, top = wrapped(f"{note}Shares: of the {count} nearest of {whose}; in brackets by chance.", width)
    common = {
        name: _common(dataset, judged, nearest_of(z, judged, count)[0], level)
        for name, z in zip(runs, spaces, strict=True)
    }
    legend = _legend(dataset, level, common, width, top + 0.1)
    top, line = legend[-1][1] + 0.3, size + 0.12 + 2 * LINE
    figure, axis = sheet(width, top + len(shown) * len(runs) * line, title, note)
    for (x, y, text), frame in zip(legend, reversed(_frames(level)), strict=True):
        axis.add_patch(Rectangle((x, y - 0.1), 0.2, 0.2, fill=False, linewidth=2.2, **frame))
        axis.text(x + 0.3, y, text, size=SMALL, color=TEXT, va="center")
    for number, (name, z) in enumerate(zip(runs, spaces, strict=True)):
        found, similarity = nearest_of(z, shown, count)
        for row, item in enumerate(shown):
            y = top + (row * len(runs) + number) * line
            whose = name if len(runs) > 1 else f"item {int(numbers[item]):,}"
            _draw_row(axis, dataset, int(item), whose, found[row], similarity[row], level, y, size)
    return figure


def name_of(run: Any, otherwise: str = "Embedding") -> str:
    """Returns the name of a run's method, if it has one."""
    return name if isinstance(name := getattr(run, "name", None), str) else otherwise


def what_of(run: Any) -> str:
    """Says which features these are."""
    return "the given features" if run is None or isinstance(run, Array | tuple) else "backbone features"


def nearest_of(
    z: Float[Tensor, "n dim"], items: Int[np.ndarray, " k"], count: int
) -> tuple[Int[np.ndarray, "k count"], Float[np.ndarray, "k count"]]:
    """Returns the nearest other items of some items, the most similar first, and their cosine similarities."""
    parts = []
    for item in torch.as_tensor(items).split(BLOCK):
        similarity = z[item] @ z.T
        similarity[torch.arange(len(item)), item] = -torch.inf  # an item is no neighbour of itself
        parts.append(similarity.topk(count, dim=1))
    closest, found = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return found, closest


def _some_items(dataset: HierarchicalDataset, seed: int) -> np.ndarray:
    """Returns random items, of different coarsest classes first."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    order = order[dataset.has_label[order]]
    _, first = np.unique(dataset.labels_at(0)[order], return_index=True)
    others = np.setdiff1d(np.arange(len(order)), first)
    return order[np.r_[np.sort(first), others][:ROWS]]


def _common(dataset: HierarchicalDataset, items: np.ndarray, found: np.ndarray, level: int) -> np.ndarray:
    """Returns the finest level, up to the given one, at which an item and a neighbour have one class. −1: none."""
    labels = dataset.labels
    return np.minimum(dataset.hierarchy.lca_level(labels[items][:, None], labels[found]), level)


def _frames(level: int) -> list[dict[str, Any]]:
    """Returns colour and line of the frame for −1 (nothing in common), 0, …, level."""
    blue = shades(np.array(to_rgb(SHARED)), level)[::-1] if level else []
    frames = [(NOTHING, ":"), *((colour, "--") for colour in blue), (SAME, "-")]
    return [{"edgecolor": colour, "linestyle": line} for colour, line in frames]


def _legend(
    dataset: HierarchicalDataset, level: int, common: Mapping[str, np.ndarray], width: float | int, top: float
) -> list[tuple[float, float, str]]:
    """Returns place and meaning of every frame, in lines no wider than the sheet. The most in common comes first."""
    names, n = dataset.hierarchy.level_names, len(dataset)
    counts = [np.bincount(found.ravel() + 1, minlength=level + 2) / found.size for found in common.values()]
    same = [(dataset.counts(at) * (dataset.counts(at) - 1.0)).sum() / (n * (n - 1)) for at in range(level + 1)]
    chances = np.subtract([1.0, *same], [*same, 0.0])  # the same for two different items drawn at random
    texts = ["nothing in common", *(f"only the “{name}” in common" for name in names[:level]), f"same “{names[level]}”"]
    result, x, y = [], 0.12, top
    for text, shares, chance in zip(reversed(texts), np.transpose(counts)[::-1], chances[::-1], strict=True):
        own = [
            f"{readable(name)} " * (len(common) > 1) + f"{100 * share:.0f} %"
            for name, share in zip(common, shares, strict=True)
        ]
        text = f"{text}: {', '.join(own)} ({100 * chance:.0f} %)"
        needed = 0.3 + text_width(text, SMALL)
        if result and x + needed > width:
            x, y = 0.12, y + 0.3
        result.append((x, y, text))
        x += needed + 0.25
    return result


def _draw_row(
    axis: Axes,
    dataset: HierarchicalDataset,
    item: int,
    whose: str,
    found: np.ndarray,
    similarity: np.ndarray,
    level: int,
    top: float,
    size: float,
) -> None:
    """Draws an item with a line below it, and its neighbours with their frames."""
    common = _common(dataset, np.array([item]), found[None], level)[0]
    names = [readable(dataset.hierarchy.names[level][label]) for label in dataset.labels_at(level)[np.r_[item, found]]]
    draw_pictures(axis, dataset, np.array([item]), 0.12, top, size)
    below = {"x": 0.12, "size": SMALL, "va": "center"}
    axis.text(y=top + size + 0.1, s=shortened(names[0], LEFT - 0.2), weight="bold", color=TEXT, **below)
    axis.text(y=top + size + 0.1 + LINE, s=shortened(readable(whose), LEFT - 0.2), color=GREY, **below)
    lefts = draw_pictures(axis, dataset, found, LEFT, top, size, GAP)
    for x, name, at, value in zip(lefts, names[1:], common, similarity, strict=True):
        axis.add_patch(Rectangle((x, top), size, size, fill=False, linewidth=2.2, **_frames(level)[at + 1]))
        below = {"x": x + size / 2, "ha": "center", "size": SMALL, "va": "center"}
        weight, name = "bold" if at == level else "normal", shortened(name, size + GAP - 0.04)
        axis.text(y=top + size + 0.1, s=name, weight=weight, color=TEXT, **below)
        axis.text(y=top + size + 0.1 + LINE, s=f"{value:.2f}", color=GREY, **below)
