"""Neighbours in an embedding: rows of pictures, framed by what they have in common with the first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import Encoder, HasEncoder, embed
from hiercl.metrics.geometry import unit
from hiercl.plot._canvas import (
    SMALL,
    TITLE,
    WIDTH,
    check_item,
    check_level,
    draw_pictures,
    readable,
    sheet,
    shortened,
    text_width,
)
from hiercl.plot._colours import GREY, OKABE_ITO, TEXT, shades
from hiercl.runtime.types import Float, Int

ROWS = 6  # items that are shown when none are asked for
JUDGED = 2000  # items whose neighbours are counted, at most
BLOCK = 256  # of them at a time: bounds the memory
LEFT, GAP = 1.2, 0.08  # where neighbours begin, in inches; air between them
SAME, SHARED, NOTHING = OKABE_ITO[2], OKABE_ITO[0], OKABE_ITO[4]


def neighbours(
    run: Any,
    dataset: HierarchicalDataset,
    items: int | Sequence[int] | np.ndarray | None = None,
    count: int = 8,
    level: int = -1,
    seed: int = 0,
    title: str | None = None,
) -> Figure:
    """Items and their nearest neighbours in an embedding, by cosine similarity: one row an item, the nearest first.

    The frame says what a neighbour has in common with its item: the class (green, solid), a coarser class alone (blue,
    dashed), nothing (orange, dotted). Beneath stand its class and the similarity. Above stands how often each is so
    among the neighbours of all items (of 2,000 random ones where there are more), and how often between random items.

    Args:
        run: a run, a pretrained model, an encoder, or features ``[n, d]``.
        dataset: the items; neighbours are looked for among the others of them.
        items: numbers of those to show; by default six random ones, of different coarsest classes as far as there are.
        count: neighbours of each.
        level: at which classes are compared; −1 the leaves.
        seed: of the random items.
        title: what the embedding is of; by default the name of the run's method.

    Raises:
        ValueError: features that are not one row for each item, not finite or of length zero; an item or a level that
            does not exist; a count below 1 or of as many as there are items.

    Example:
        >>> hiercl.plot.neighbours(run, test, items=[3, 14, 159])
    """
    tree = dataset.hierarchy
    level = check_level(level, tree.levels, "the hierarchy")
    if not 1 <= count < len(dataset):
        raise ValueError(f"count={count} neighbours of {len(dataset)} items: it must be from 1 to {len(dataset) - 1}.")
    shown = _some_items(dataset, seed) if items is None else np.asarray(items).reshape(-1)
    if not len(shown) or shown.dtype.kind not in "iu":
        raise ValueError("there is no item to show: give the number of at least one, as integers.")
    for item in shown:
        check_item(int(item), len(dataset))
    z = unit(features_of(run, dataset)).float()
    judged = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:JUDGED])
    found, similarity = nearest_of(z, shown, count)
    size = float(np.clip((WIDTH - LEFT - 0.1) / count - GAP, 0.45, 0.78))
    width, line = max(WIDTH, LEFT + count * (size + GAP) + 0.1), size + 0.38
    title = f"{title or name_of(run)}: nearest neighbours among {len(dataset):,} items of {dataset.name}"
    whose = f"{len(judged):,} random items" if len(judged) < len(dataset) else "all items"
    note = f"Cosine similarity of {what_of(run)}. Shares: of the {count} nearest of {whose}; in brackets by chance."
    width = max(width, 1.15 * text_width(title, TITLE) + 0.2)
    shares = _shares(_common(dataset, judged, nearest_of(z, judged, count)[0], level), level)
    legend = _legend(dataset, level, shares, _chances(dataset, level), width)
    top = legend[-1][1] + 0.3
    figure, axis = sheet(width, top + len(shown) * line, title, note)
    for (x, y, text), (colour, style) in zip(legend, reversed(_frames(level)), strict=True):
        axis.add_patch(Rectangle((x, y - 0.1), 0.2, 0.2, fill=False, edgecolor=colour, linestyle=style, linewidth=2.2))
        axis.text(x + 0.3, y, text, size=SMALL, color=TEXT, va="center")
    for row, item in enumerate(shown):
        _draw_row(axis, dataset, int(item), found[row], similarity[row], level, top + row * line, size)
    return figure


def features_of(run: Any, dataset: HierarchicalDataset) -> Float[Tensor, "items dim"]:
    """Features of a run, a pretrained model or an encoder; or those that are given, checked.

    Raises:
        ValueError: neither of these, or features that are not one row for each item.
    """
    if isinstance(run, Encoder | HasEncoder):
        return embed(run, dataset)
    if not isinstance(run, np.ndarray | Tensor):
        raise ValueError(f"{type(run).__name__} has no features: pass a run, a pretrained model, or features [n, d].")
    features = torch.as_tensor(run).detach().cpu()
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(
            f"features must be [{len(dataset)}, d], one row for each item of {dataset.name!r}, got "
            f"{list(features.shape)}."
        )
    return features if features.is_floating_point() else features.float()


def name_of(run: Any, otherwise: str = "Embedding") -> str:
    """What titles call a run: the name of its method, where it has one."""
    return run.name if isinstance(run, HasEncoder) and isinstance(getattr(run, "name", None), str) else otherwise


def what_of(run: Any) -> str:
    """Which features these are, for the protocol."""
    return "the given features" if isinstance(run, np.ndarray | Tensor) else "backbone features"


def nearest_of(
    z: Float[Tensor, "n dim"], items: Int[np.ndarray, " k"], count: int
) -> tuple[Int[np.ndarray, "k count"], Float[np.ndarray, "k count"]]:
    """The other items nearest to some, the most similar first, and their cosine similarities."""
    parts = []
    for item in torch.as_tensor(items).split(BLOCK):
        similarity = z[item] @ z.T
        similarity[torch.arange(len(item)), item] = -torch.inf  # an item is no neighbour of itself
        parts.append(similarity.topk(count, dim=1))
    closest, found = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return found, closest


def _some_items(dataset: HierarchicalDataset, seed: int) -> np.ndarray:
    """Random items, of different coarsest classes first."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    _, first = np.unique(dataset.labels_at(0)[order], return_index=True)
    others = np.setdiff1d(np.arange(len(order)), first)
    return order[np.r_[np.sort(first), others][:ROWS]]


def _common(dataset: HierarchicalDataset, items: np.ndarray, found: np.ndarray, level: int) -> np.ndarray:
    """The finest level, up to the one asked for, at which an item and a neighbour have one class; −1: none."""
    labels = dataset.labels
    return np.minimum(dataset.hierarchy.lca_level(labels[items][:, None], labels[found]), level)


def _shares(common: np.ndarray, level: int) -> np.ndarray:
    """Share of −1 (nothing in common), 0, …, level."""
    return np.bincount(common.ravel() + 1, minlength=level + 2) / common.size


def _chances(dataset: HierarchicalDataset, level: int) -> np.ndarray:
    """The same for two different items drawn at random."""
    n = len(dataset)
    same = [(dataset.counts(at) * (dataset.counts(at) - 1.0)).sum() / (n * (n - 1)) for at in range(level + 1)]
    return np.subtract([1.0, *same], [*same, 0.0])


def _frames(level: int) -> list[tuple[Any, str]]:
    """Colour and line of the frame for −1 (nothing in common), 0, …, level."""
    coarser = [(colour, "--") for colour in shades(np.array(to_rgb(SHARED)), level)[::-1]] if level else []
    return [(NOTHING, ":"), *coarser, (SAME, "-")]


def _legend(
    dataset: HierarchicalDataset, level: int, shares: np.ndarray, chances: np.ndarray, width: float | int
) -> list[tuple[float, float, str]]:
    """Where what each frame means stands, in lines that are not wider than the sheet: the most in common first."""
    names = dataset.hierarchy.level_names
    texts = ["nothing in common", *(f"only the “{name}” in common" for name in names[:level]), f"same “{names[level]}”"]
    result, x, y = [], 0.12, 0.7
    for text, share, chance in reversed(list(zip(texts, shares, chances, strict=True))):
        text = f"{text}: {100 * share:.0f} % ({100 * chance:.0f} %)"
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
    found: np.ndarray,
    similarity: np.ndarray,
    level: int,
    top: float | int,
    size: float | int,
) -> None:
    tree, frames = dataset.hierarchy, _frames(level)
    common = _common(dataset, np.array([item]), found[None], level)[0]
    lefts = draw_pictures(axis, dataset, np.array([item]), 0.12, top, size)
    lefts += draw_pictures(axis, dataset, found, LEFT, top, size, GAP)
    labels = dataset.labels_at(level)[np.r_[item, found]]
    beneath = [f"item {item:,}", *(f"{value:.2f}" for value in similarity)]
    for place, (x, label, text) in enumerate(zip(lefts, labels, beneath, strict=True)):
        itself = place == 0
        if not itself:
            colour, line = frames[common[place - 1] + 1]
            axis.add_patch(Rectangle((x, top), size, size, fill=False, edgecolor=colour, linestyle=line, linewidth=2.2))
        strong = "bold" if itself or common[place - 1] == level else "normal"
        room = LEFT - 0.2 if itself else size + GAP - 0.04
        name = shortened(readable(tree.names[level][label]), room)
        centre = {"ha": "left", "x": x} if itself else {"ha": "center", "x": x + size / 2}
        axis.text(y=top + size + 0.1, s=name, size=7, weight=strong, color=TEXT, va="center", **centre)
        axis.text(y=top + size + 0.22, s=text, size=7, color=GREY, va="center", **centre)
