"""The atlas: one page, for any browser, with a learned tree beside the true one, pictures, a map, and the flow."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.colors import to_hex
from PIL import Image, ImageOps
from torch import Tensor

from hiercl import methods
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.encoders.zoo import Pretrained, maps_path
from hiercl.explore._widgets import plain
from hiercl.metrics import tree_agreement
from hiercl.metrics.dendrograms import class_tree
from hiercl.plot import map_2d
from hiercl.plot._canvas import picture, source_text
from hiercl.plot._colours import OKABE_ITO, node_colours
from hiercl.plot._dendrogram import by_mean_place
from hiercl.plot._maps import HALF, NAMED, homes
from hiercl.plot._neighbours import name_of
from hiercl.plot._tree import check_tree, contingency, matching_level
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import as_array
from hiercl.runtime.config import AtLeast, Between
from hiercl.runtime.files import write_atomically
from hiercl.runtime.given import given_path
from hiercl.runtime.types import Float
from hiercl.training import Run

TEMPLATE = Path(__file__).with_name("atlas.html")
MARK = "<!-- data -->"
TYPICAL, PART = 12, 2 / 3  # typical members of a node, and the part of the shown items that all of them may be
SMALL, LARGE = 32, 64  # pixels of a picture: of one that is as small itself, and of all others
COLUMNS, QUALITY = 40, 72  # of the sheet with all pictures
LETTERS = 160  # of a text that a vector was made of
ROUNDS = 4  # in which the two trees are turned towards each other
GRID = 2000  # steps of a coordinate


@dataclass(frozen=True)
class Learned:
    """A tree of all items, where it comes from in words, and the features that it was made of, if all are known."""

    tree: PrototypeTree
    words: str
    features: Tensor | None = None


@dataclass(frozen=True)
class Maps:
    """Places of items on one or several maps, NaN for items without one; how they were made; whether one is of each
    epoch."""

    places: Float[np.ndarray, "maps items 2"]
    words: str
    epochs: bool = False


@checked
def atlas(
    run: Any,
    dataset: HierarchicalDataset,
    path: str | Path = "atlas.html",
    prototypes: Sequence[int] | None = None,
    coordinates: Any = None,
    max_items: Annotated[int, Between(5, 10_000)] = 1500,
    seed: Annotated[int, AtLeast(0)] = 0,
    title: str | None = None,
) -> Path:
    """Writes a page that shows a learned tree beside the true one. It opens in any browser, without a network.

    A click on a node of either tree shows its typical members, which classes it holds, where the rest of these classes
    went, and its members on the map. A second click zooms in. Classes are found by name. The tree is

    * the tree itself, if it is a :class:`~hiercl.PrototypeTree`;
    * the tree of the run, if it has one (HCSC after its warm-up);
    * for methods that learn from labels the centroids of the classes and the branches of their dendrogram; every item
      belongs to the nearest centroid (:func:`hiercl.metrics.dendrograms.class_tree`);
    * for everything else k-means prototypes of the features.

    Its static twins are :func:`hiercl.plot.tree` and :func:`hiercl.plot.flow`.

    Args:
        run: a run, a pretrained model, an encoder, a tree, or features ``[items, d]``; None for vectors themselves.
        dataset: the items. For a tree, and for a run with a tree, the training set.
        path: the page, a file that ends in .html.
        prototypes: numbers of prototypes per level, coarse to fine. The tree is then one of k-means. By default it has
            as many prototypes as there are true classes at each level.
        coordinates: place of every item on the map, ``[items, 2]``; several such maps, ``[maps, items, 2]``, such as
            one after each epoch, between which a slider moves; or features ``[items, d]``, which are mapped. By default
            UMAP of the features, or the maps of all epochs that a pretrained model has of these items.
        max_items: largest number of items that are shown, with the typical members of every node among them. All
            items count in the numbers.
        seed: seed of k-means, of the choice of items, and of UMAP.
        title: title of the page. By default the name of the run's method and of the data.

    Returns:
        The path of the page.

    Raises:
        ValueError: the path does not end in .html, the tree is of other items, the coordinates are of another shape or
            not finite, prototypes beside a tree, or what :func:`hiercl.embed` and :meth:`hiercl.PrototypeTree.fit`
            raise it for.

    Example:
        >>> page = hiercl.atlas(run, train, "atlas.html", coordinates=hiercl.embed(run, train)[:, :2])
        >>> page.name, "<script" in page.read_text("utf-8")
        ('atlas.html', True)
    """
    path = given_path(path, "path")
    if path.suffix != ".html":
        raise ValueError(f"path={str(path)!r}: give the name of a page, such as 'atlas.html'.")
    maps = _given_maps(run, dataset, coordinates)
    learned = _learn(run, dataset, prototypes, seed)
    shown, typical = _choose(learned.tree, dataset, maps, max_items, seed)
    if maps is None:
        maps = _map(run, dataset, learned, shown, coordinates, seed)
    else:
        maps = replace(maps, places=maps.places[:, shown])
    sides = _sides(learned.tree, dataset, shown, typical)
    content = {
        "title": title or f"{name_of(run, 'Learned tree')}: {dataset.name}",
        "about": _about(learned, dataset, len(shown)),
        "sides": sides,
        **_flow(learned.tree, dataset, shown, sides),
        "pictures": _pictures(dataset, shown),
        "texts": _texts(dataset, shown),
        "map": _placed(maps, dataset.take(shown)),
    }
    before, after = TEMPLATE.read_text("utf-8").split(MARK)
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    write_atomically(path, f'{before}<script type="application/json" id="data">{data}</script>{after}')
    return path


# ---- the tree ----


def _learn(run: Any, dataset: HierarchicalDataset, prototypes: Sequence[int] | None, seed: int) -> Learned:
    """Returns the tree of whatever is given."""
    if isinstance(run, PrototypeTree):
        if prototypes is not None:
            raise ValueError("prototypes are those of k-means, and this is a tree already: leave them out.")
        check_tree(run, dataset)
        features = features_of(None, dataset) if dataset.modality == "vectors" else None
        return Learned(run, "The tree is the one that was given.", features)
    if isinstance(run, Run) and run.tree is not None and prototypes is None:
        check_tree(run.tree, dataset)
        if dataset.fingerprint() != run.recipe.data["fingerprint"]:
            raise ValueError(
                "the tree of this run is one of other items: pass the training set of the run, or prototypes=(20, 100) "
                "for a tree of k-means."
            )
        return Learned(run.tree, "The tree is the one that the run has learned, of the embeddings of its loss.")
    features = features_of(run, dataset)
    if prototypes is None and _saw_labels(run) and dataset.labelled:
        tree = class_tree(features, dataset.labels, dataset.hierarchy)
        words = "The method learns from labels and has no tree. Its nodes are class means, joined by average linkage; "
        return Learned(tree, words + "every item goes to the nearest class mean, whatever its label is.", features)
    sizes = _sizes(dataset) if prototypes is None else prototypes
    words = "The tree is one of k-means prototypes of the features; no labels were used to make it."
    return Learned(PrototypeTree.fit(features, sizes, seed), words, features)


def _saw_labels(run: Any) -> bool:
    """Whether a run or a pretrained model is of a method that learns from labels."""
    if isinstance(run, Run):
        return run.recipe.method.needs_labels(run.recipe.settings)
    if isinstance(run, Pretrained):
        method = methods.get(run.card["method"])
        return method.needs_labels(method.Config())
    return False


def _sizes(dataset: HierarchicalDataset) -> tuple[int, ...]:
    """Returns as many prototypes as there are classes at each level; at least two levels, where there is room."""
    counts = dataset.hierarchy.sizes if dataset.labelled else (round(len(dataset) ** 0.5),)
    sizes = sorted({min(count, len(dataset)) for count in counts})
    coarse = round(sizes[0] ** 0.5)
    return (coarse, *sizes) if len(sizes) == 1 and 1 < coarse < sizes[0] else tuple(sizes)


# ---- the items that are shown, and their places ----


def _choose(
    tree: PrototypeTree, dataset: HierarchicalDataset, maps: Maps | None, most: int, seed: int
) -> tuple[np.ndarray, dict[tuple[int, int], np.ndarray]]:
    """Returns the items that are shown, and of these the typical ones of every node.

    If maps have places for some items only, these come first. Coarse nodes follow, of a level the large ones, then an
    item of every class, then random ones.
    """
    placed = np.zeros(0, int) if maps is None else np.flatnonzero(np.isfinite(maps.places).all(axis=(0, 2)))
    fixed = np.random.default_rng(seed).permutation(placed)[:most] if len(placed) < len(dataset) else placed[:0]
    room = most - len(fixed) if len(fixed) else int(PART * most)
    counts = [tree.counts(level).tolist() for level in range(tree.levels)]
    nodes = [(level, node) for level in range(tree.levels) for node in np.argsort(np.negative(counts[level])).tolist()]
    nodes = [(level, node) for level, node in nodes if counts[level][node]]
    each = min(max(room // len(nodes), 1), TYPICAL)
    chosen, typical = set(fixed.tolist()), {}
    for level, node in nodes:
        if len(chosen) + each > len(fixed) + room:
            break
        typical[level, node] = tree.exemplars(level, node, each).cpu().numpy()
        chosen |= set(typical[level, node].tolist())
    order = np.random.default_rng(seed).permutation(len(dataset))
    _, first = np.unique(dataset.labels[order], return_index=True)
    order = order[np.r_[np.sort(first), np.setdiff1d(np.arange(len(order)), first)]]
    others = order[~np.isin(order, list(chosen))][: most - len(chosen)]
    return np.sort(np.r_[np.array(sorted(chosen), dtype=np.int64), others]), typical


def _given_maps(run: Any, dataset: HierarchicalDataset, coordinates: Any) -> Maps | None:
    """Returns the maps that are there already: those that are given, or those of the epochs of a pretrained model."""
    if coordinates is None:
        if not isinstance(run, Pretrained) or not maps_path(run.folder, run.name).exists():
            return None
        unfolding = run.unfolding()
        found = unfolding.find(dataset)
        if (there := np.flatnonzero(found >= 0)).size < 5:  # of other items
            return None
        places = np.full((len(unfolding.maps), len(dataset), 2), np.nan, dtype=np.float32)
        places[:, found[there]] = unfolding.maps[:, there]
        return Maps(places, "AlignedUMAP of the features", epochs=True)
    xy = as_array(coordinates)
    if xy.ndim not in (2, 3) or xy.shape[-2] != len(dataset) or xy.shape[-1] < 2 or (xy.ndim == 3 and xy.shape[2] != 2):
        raise ValueError(
            f"coordinates {list(xy.shape)} are not those of {len(dataset)} items: [items, 2], several maps "
            "[maps, items, 2], or features [items, d]."
        )
    if not xy.size or not np.isfinite(xy).all():
        raise ValueError("coordinates are empty or not finite: repair them, or leave them out.")
    if xy.shape[-1] > 2:  # features, which become places when the items that are shown are known
        return None
    return Maps(xy.reshape(-1, len(dataset), 2), "The places are those that were given")


def _map(
    run: Any, dataset: HierarchicalDataset, learned: Learned, shown: np.ndarray, coordinates: Any, seed: int
) -> Maps | None:
    """Returns one map of the items that are shown; None without features."""
    if coordinates is not None:
        features = as_array(coordinates)[shown]
    elif learned.features is not None:
        features = as_array(learned.features)[shown]
    elif isinstance(run, PrototypeTree):
        return None
    else:
        features = as_array(features_of(run, dataset.take(shown)))
    try:
        return Maps(map_2d(features, seed)[None], "UMAP of the features")
    except (ImportError, ValueError):  # without the package; of fewer than five items
        z = torch.as_tensor(features - features.mean(axis=0))
        u, s, _ = torch.linalg.svd(z, full_matrices=False)
        flat = torch.zeros(len(z), 2, dtype=z.dtype)
        flat[:, : min(2, len(s))] = (u * s)[:, :2]
        return Maps(flat.numpy()[None], "Two principal components of the features")


def _placed(maps: Maps | None, part: HierarchicalDataset) -> dict[str, Any]:
    """Describes maps: whole numbers for the places of every map in turn, null for items without one; names of classes.

    A name stands where its class is densest. Only classes that are half of the items there have one.
    """
    if maps is None:
        words = "There is no map, because the features are not known: give coordinates."
        return {"words": words, "maps": [], "names": [], "captions": []}
    places = maps.places
    low, high = np.nanmin(places, axis=(0, 1)), np.nanmax(places, axis=(0, 1))
    unit = (places - (low + high) / 2) / max(float((high - low).max()), 1e-12) + 0.5
    placed = np.isfinite(unit).all(axis=(0, 2))
    whole = np.rint(np.where(placed[:, None], unit, 0) * GRID).astype(int)
    level = max((k for k, size in enumerate(part.hierarchy.sizes) if size <= NAMED), default=0)
    there = np.flatnonzero(placed & part.has_label)
    labels, names = part.labels_at(level), part.hierarchy.names[level]
    titles = []
    for xy in unit if len(there) > 1 else ():
        found = sorted(homes(xy[there], labels[there]), reverse=True)
        titles.append([[plain(names[labels[there[k]]]), int(there[k])] for share, k in found if share >= HALF])
    last = len(places) - 1
    captions = [f"map {k + 1} of {last + 1}" for k in range(last + 1)]
    if maps.epochs:
        captions = ["before the training", *(f"after epoch {k} of {last}" for k in range(1, last + 1))]
    rows = [
        [value if there else None for row, there in zip(xy.tolist(), placed, strict=True) for value in row]
        for xy in whole
    ]
    words = f"{maps.words}, {int(placed.sum()):,} items."
    if last:
        words += " The slider moves the map alone: the tree is that of the end."
    return {"words": words, "maps": rows, "names": titles, "captions": captions}


# ---- what the page is told ----


def _about(learned: Learned, dataset: HierarchicalDataset, shown: int) -> list[str]:
    """Says what the trees are, how far they agree, and how many items are shown."""
    tree, names = learned.tree, dataset.hierarchy.level_names
    lines = [f"{len(dataset):,} {dataset.form.noun}" + (f" ({dataset.note})" if dataset.note else ""), learned.words]
    if dataset.labelled:
        table = tree_agreement(tree, dataset.labels, dataset.hierarchy)
        for level, size in enumerate(tree.sizes):
            true = matching_level(size, dataset.hierarchy)
            row = table[(table["prototypes"] == level) & (table["level"] == names[true])].iloc[0]
            lines.append(
                f"{size} prototypes against {dataset.hierarchy.sizes[true]} × “{plain(names[true])}”: adjusted mutual "
                f"information {row['ami']:.2f} (1: equal, 0: independent), purity {100 * row['purity']:.0f} %."
            )
    if missing := int((~dataset.has_label).sum()):
        lines.append(f"{missing:,} items have no label. They count in sizes, and not in purities.")
    if shown < len(dataset):
        lines.append(f"{shown:,} items are shown: typical ones of every node, and random ones. All items are counted.")
    return lines


def _sides(
    tree: PrototypeTree, dataset: HierarchicalDataset, shown: np.ndarray, typical: dict[tuple[int, int], np.ndarray]
) -> list[dict[str, Any]]:
    """Describes both trees: nodes depth first, turned so that few lines between the two trees cross."""
    hierarchy, learned = dataset.hierarchy, tree.as_hierarchy()
    table = contingency(tree, tree.levels - 1, dataset, hierarchy.levels - 1)
    sizes = tree.counts(tree.levels - 1).cpu().numpy()
    left, right = np.flatnonzero(sizes), np.flatnonzero(table.any(axis=0))
    left, right = _turned(table[np.ix_(left, right)], learned.ancestors[left], hierarchy.ancestors[right], left, right)
    truth = [matching_level(size, hierarchy) for size in tree.sizes]
    majority = [tree.majority(dataset.labels_at(true))[level].tolist() for level, true in enumerate(truth)]
    purity = [tree.purity(dataset.labels_at(true))[level].tolist() for level, true in enumerate(truth)]
    place = {item: k for k, item in enumerate(shown.tolist())}
    nodes = []
    for entry in _walk(learned.ancestors[left]):
        level = entry["level"]
        number = int(learned.names[level][entry["number"]].rpartition(":")[2])
        share = purity[level][number]
        known = share == share
        name = plain(hierarchy.names[truth[level]][majority[level][number]]) if known else f"prototype {number}"
        about = {"number": number, "size": int(tree.counts(level)[number]), "name": name}
        about |= {"purity": round(share, 4) if known else None, "majority": majority[level][number] if known else None}
        picks = [place[item] for item in typical.get((level, number), np.zeros(0, int)).tolist() if item in place]
        nodes.append(entry | about | {"items": picks})
    counts, classes = [dataset.counts(level) for level in range(hierarchy.levels)], []
    few = hierarchy.sizes[0] <= len(OKABE_ITO)  # more hues cannot be told apart
    colours = [node_colours(hierarchy, level) if few else None for level in range(hierarchy.levels)]
    for entry in _walk(hierarchy.ancestors[right]):
        level, number = entry["level"], entry["number"]
        about = {"name": plain(hierarchy.names[level][number]), "size": int(counts[level][number])}
        hue = colours[level]
        classes.append(entry | about | {"colour": None if hue is None else to_hex(tuple(hue[number]))})
    names = [f"{size} prototypes" for size in tree.sizes]
    true = [plain(name) for name in hierarchy.level_names]
    return [
        {"title": "Learned tree", "levels": names, "truth": truth, "nodes": nodes},
        {"title": "True classes", "levels": true, "nodes": classes},
    ]


def _flow(
    tree: PrototypeTree, dataset: HierarchicalDataset, shown: np.ndarray, sides: list[dict[str, Any]]
) -> dict[str, Any]:
    """Says how many items every finest node and leaf class share, and where each item that is shown belongs.

    Nodes and classes are places in the lists of their sides; −1 is no label.
    """
    last = (tree.levels - 1, dataset.hierarchy.levels - 1)
    left, right = (
        {node["number"]: place for place, node in enumerate(side["nodes"]) if node["level"] == level}
        for side, level in zip(sides, last, strict=True)
    )
    table, nodes = contingency(tree, last[0], dataset, last[1]), tree.assignment[:, -1].cpu().numpy()[shown]
    flow = [[left[node], right[leaf], int(table[node, leaf])] for node, leaf in np.argwhere(table).tolist()]
    members = [left[node] for node in nodes.tolist()]
    return {"flow": flow, "nodes": members, "classes": [right.get(leaf, -1) for leaf in dataset.labels[shown].tolist()]}


def _texts(dataset: HierarchicalDataset, shown: np.ndarray) -> list[str] | None:
    """Returns the beginning of the texts that vectors were made of; None if they were made of something else."""
    return [source_text(dataset, item)[:LETTERS] for item in shown] if isinstance(dataset.source, tuple) else None


def _pictures(dataset: HierarchicalDataset, shown: np.ndarray) -> dict[str, Any] | None:
    """Returns small pictures of the items on one sheet, in rows; None for vectors without pictures."""
    if dataset.modality == "vectors":
        source = dataset.source
        if source is None or isinstance(source, tuple):
            return None
        if not isinstance(source, HierarchicalDataset) and source[int(shown[0])] is None:  # not at hand
            return None
    first = picture(dataset, shown[0])
    side = SMALL if max(first.shape[:2]) <= SMALL else LARGE
    sheet = Image.new("RGB", (COLUMNS * side, -(-len(shown) // COLUMNS) * side), "white")
    for place, item in enumerate(shown):
        image = ImageOps.contain(Image.fromarray(picture(dataset, item)), (side, side))
        corner = (
            (side - image.width) // 2 + place % COLUMNS * side,
            (side - image.height) // 2 + place // COLUMNS * side,
        )
        sheet.paste(image, corner, image if image.mode == "RGBA" else None)
    buffer = io.BytesIO()
    sheet.save(buffer, format="WEBP", quality=QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode()
    return {"side": side, "columns": COLUMNS, "sheet": f"data:image/webp;base64,{content}"}


def _turned(
    table: np.ndarray, left_paths: np.ndarray, right_paths: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Orders the leaves of both trees so that those with many items in common stand at the same height.

    In turns the leaves of one tree go to the mean place of the others, weighted by the squares of their common items.
    """
    weight = table.astype(float) ** 2
    ups, downs = (weight.sum(axis=axis).clip(min=1) for axis in (1, 0))
    first, second = np.arange(len(left)), np.lexsort(right_paths.T[::-1])
    for _ in range(ROUNDS):
        first = by_mean_place(left_paths, weight @ np.argsort(second) / ups)
        second = by_mean_place(right_paths, np.argsort(first) @ weight / downs)
    return left[first], right[second]


def _walk(paths: np.ndarray) -> list[dict[str, int]]:
    """Returns the nodes on paths depth first: their level, number, and the parent's place in the list, or −1."""
    nodes, open_at = [], [-1] * paths.shape[1]
    for before, path in pairwise([[-1] * paths.shape[1], *paths.tolist()]):
        new = next(level for level, pair in enumerate(zip(before, path, strict=True)) if pair[0] != pair[1])
        for level in range(new, len(path)):
            open_at[level] = len(nodes)
            nodes.append({"level": level, "number": path[level], "up": open_at[level - 1] if level else -1})
    return nodes
