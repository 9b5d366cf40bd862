"""The atlas: one page, for any browser, with a learned tree beside the true one, pictures, a map, and the flow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._atlas_items import choose, describe_maps, given_maps, make_map, pictures, texts
from hiercl.explore._atlas_trees import Learned, describe_flow, describe_trees, learn
from hiercl.explore._widgets import plain
from hiercl.metrics import tree_agreement
from hiercl.plot._neighbours import name_of
from hiercl.plot._tree import matching_level
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast, Between
from hiercl.runtime.files import write_atomically
from hiercl.runtime.given import given_path

TEMPLATE = Path(__file__).with_name("atlas.html")
MARK = "<!-- data -->"


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
    maps = given_maps(run, dataset, coordinates)
    learned = learn(run, dataset, prototypes, seed)
    shown, typical = choose(learned.tree, dataset, maps, max_items, seed)
    if maps is None:
        maps = make_map(run, dataset, learned, shown, coordinates, seed)
    else:
        maps = replace(maps, places=maps.places[:, shown])
    sides = describe_trees(learned.tree, dataset, shown, typical)
    content = {
        "title": title or f"{name_of(run, 'Learned tree')}: {dataset.name}",
        "about": _about(learned, dataset, len(shown)),
        "sides": sides,
        **describe_flow(learned.tree, dataset, shown, sides),
        "pictures": pictures(dataset, shown),
        "texts": texts(dataset, shown),
        "map": describe_maps(maps, dataset.take(shown)),
    }
    before, after = TEMPLATE.read_text("utf-8").split(MARK)
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    write_atomically(path, f'{before}<script type="application/json" id="data">{data}</script>{after}')
    return path


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
