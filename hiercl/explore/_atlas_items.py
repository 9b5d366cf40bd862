"""The items that an atlas shows: which ones, their places on maps, their pictures and texts."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.features import features_of
from hiercl.encoders.zoo import Pretrained, maps_path
from hiercl.explore._atlas_trees import Learned
from hiercl.explore._widgets import plain
from hiercl.plot import map_2d
from hiercl.plot._canvas import picture, source_text
from hiercl.plot._maps import HALF, homes
from hiercl.runtime.arrays import as_array
from hiercl.runtime.types import Float

TYPICAL, PART = 12, 2 / 3  # typical members of a node, and the part of the shown items that all of them may be
SMALL, LARGE = 32, 64  # pixels of a picture: of one that is as small itself, and of all others
COLUMNS, QUALITY = 40, 72  # of the sheet with all pictures
LETTERS = 160  # of a text that a vector was made of
GRID = 2000  # steps of a coordinate
NAMED = 40  # classes up to which a level gives the names on the map


@dataclass(frozen=True)
class Maps:
    """Places of items on one or several maps, NaN for items without one; how they were made; whether one is of each
    epoch."""

    places: Float[np.ndarray, "maps items 2"]
    words: str
    epochs: bool = False


def choose(
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


def given_maps(run: Any, dataset: HierarchicalDataset, coordinates: Any) -> Maps | None:
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


def make_map(
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


def describe_maps(maps: Maps | None, part: HierarchicalDataset) -> dict[str, Any]:
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


def texts(dataset: HierarchicalDataset, shown: np.ndarray) -> list[str] | None:
    """Returns the beginning of the texts that vectors were made of; None if they were made of something else."""
    return [source_text(dataset, item)[:LETTERS] for item in shown] if isinstance(dataset.source, tuple) else None


def pictures(dataset: HierarchicalDataset, shown: np.ndarray) -> dict[str, Any] | None:
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
