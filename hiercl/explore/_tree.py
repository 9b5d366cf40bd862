"""A learned tree: click a node for its pictures, its classes, its place on the map and its flow to the true classes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from hiercl import plot
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import gallery, row
from hiercl.explore._widgets import Explorer, image, level_choice, marked, own_widget, plain, png, widgets
from hiercl.plot._canvas import NORMAL, class_name, new_figure
from hiercl.plot._colours import OKABE_ITO, TEXT, tint, to_oklab
from hiercl.plot._tree import check_tree, matching_level, node_labels
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.types import Float
from hiercl.training import Run

PICTURES = 16  # pictures of a node
NAMED = 5  # classes of a node that are named
DARK = 0.66  # lightness in Oklab, from 0 to 1, up to which white letters are easier to read than dark ones


@checked
def tree(
    run: Run | PrototypeTree,
    train: HierarchicalDataset,
    coordinates: Float[Array, "items d"] | None = None,
) -> TreeExplorer:
    """Shows the learned tree, and for a clicked node its pictures, its classes, its place on the map and its flow.

    The pictures are those nearest to the node's prototype. The flow shows how its members spread over the classes of
    the true hierarchy. The static twins are :func:`hiercl.plot.tree` and :func:`hiercl.plot.flow`.

    Args:
        run: A run with a tree, such as one of HCSC after its warm-up, or a tree, such as
            ``PrototypeTree.fit(features, sizes)``.
        train: The items that the tree clusters.
        coordinates: Place of every item on the map, ``[items, 2]``, such as :func:`hiercl.plot.map_2d` returns; or
            features ``[items, d]``, which are mapped so. NumPy or torch. By default there is no map.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: There is no tree, or the tree or the coordinates are those of other items.

    Example:
        >>> explorer = hiercl.explore.tree(run, train, coordinates=hiercl.embed(run, train)[:, :2].numpy())
        >>> explorer.select(level=1, node=3)
    """
    found = run.tree if isinstance(run, Run) else run
    check_tree(found, train)
    if coordinates is not None:
        coordinates = as_array(coordinates)
        if coordinates.ndim != 2 or coordinates.shape[1] < 2 or len(coordinates) != len(train):
            form = f"coordinates {list(coordinates.shape)} are not those of {len(train)} items"
            raise ValueError(f"{form}: [items, 2], or features [items, d].")
        coordinates = coordinates if coordinates.shape[1] == 2 else plot.map_2d(coordinates)
    return TreeExplorer(cast(PrototypeTree, found), train, coordinates)


class TreeExplorer(Explorer):
    """The explorer that :func:`tree` returns.

    Attributes:
        node: Level and number of the chosen node.
        icicle: Every node below its parent, as wide as its number of members. A click sets ``icicle.chosen``, the
            number of the node, counted level by level.
    """

    def __init__(self, tree: PrototypeTree, train: HierarchicalDataset, coordinates: Any):
        self.tree, self.train, self.coordinates = tree, train, coordinates
        self.nodes = [(level, node) for level, size in enumerate(tree.sizes) for node in range(size)]
        self.node = (0, int(tree.counts(0).argmax()))

        w = widgets()
        self.level = level_choice(train.hierarchy, "true level", matching_level(tree.sizes[0], train.hierarchy))
        self.icicle = self._icicle()
        self.summary, self.pictures, self.flow = w.HTML(), gallery(), image()
        self.map = None if coordinates is None else image()
        node = w.HBox([self.summary] if self.map is None else [self.map, self.summary])
        self.widget = w.VBox([self.level, self.icicle, node, self.pictures, self.flow])

        self._on_change(lambda: self.select(*self.nodes[self.icicle.chosen]), self.icicle, trait="chosen")
        self._on_change(self.draw, self.level)
        self.draw()

    def select(self, level: int, node: int) -> None:
        """Chooses a node, as a click on it does.

        Raises:
            ValueError: The node does not exist.

        Example:
            >>> hiercl.explore.tree(run, train).select(level=0, node=1)
        """
        if (level, node) not in self.nodes:
            raise ValueError(f"there is no node {node} of level {level}: the tree has {self.tree.sizes} prototypes.")
        self.node = (level, node)
        with self._quietly():
            self.icicle.chosen = self.nodes.index(self.node)
        self.draw()

    def draw(self) -> None:
        """Shows what is known about the chosen node."""
        tree, train, (level, node) = self.tree, self.train, self.node
        members = tree.members(level, node).cpu().numpy()
        items = tree.exemplars(level, node, PICTURES).cpu().numpy()
        names = [[plain(class_name(train, item))] for item in items]
        self.pictures.rows = [row(train, items, names, "Nearest to the prototype")]
        self.summary.value = self._describe(members)
        self.flow.value = png(plot.flow(tree, train, level, self.level.value, node if len(members) else None))
        if self.map is not None:
            self.map.value = png(self._map(members))

    def _describe(self, members: np.ndarray) -> str:
        """Says how many items a node has, and of which classes they are."""
        name, hierarchy = "<b>Level {}, prototype {}</b>".format(*self.node), self.train.hierarchy
        if not len(members):
            return f"{name} is empty."
        lines = [f"{name}: {len(members):,} items"]
        for level, level_name in enumerate(hierarchy.level_names):
            labels = self.train.labels_at(level)[members]
            counts = np.bincount(labels[labels >= 0], minlength=hierarchy.sizes[level])
            largest = [k for k in np.argsort(-counts, kind="stable")[:NAMED] if counts[k]]
            shares = [f"{marked(hierarchy.names[level][k])} {100 * counts[k] / counts.sum():.0f} %" for k in largest]
            lines.append(f"{marked(level_name)}: {', '.join(shares)}")
        return "<br>".join(lines)

    def _icicle(self) -> Any:
        """Draws every node below its parent, as wide as its number of members, and paler the less pure it is."""
        tree, starts, bars = self.tree, self._starts(), []
        for level, size in enumerate(tree.sizes):
            true = matching_level(size, self.train.hierarchy)
            purity = tree.purity(self.train.labels_at(true))[level].nan_to_num().tolist()
            counts, labels = tree.counts(level).tolist(), node_labels(tree, self.train, level, true)
            for node, (name, colour) in enumerate(labels):
                shade = tint(colour, 0.25 + 0.75 * purity[node])
                look = {"colour": to_hex(tuple(shade)), "ink": TEXT if to_oklab(shade[None])[0, 0] > DARK else "white"}
                place = {"level": level, "start": starts[level, node], "items": counts[node]}
                bars.append(place | {"name": name} | look)
        return own_widget("icicle", bars=bars, total=len(self.train), chosen=self.nodes.index(self.node))

    def _starts(self) -> dict[tuple[int, int], int]:
        """Returns where the bar of every node starts: children side by side, from the start of their parent."""
        tree = self.tree
        counts = [tree.counts(level).tolist() for level in range(tree.levels)]
        starts = {(0, node): sum(counts[0][:node]) for node in range(tree.sizes[0])}
        for level in range(1, tree.levels):
            free = {above: starts[level - 1, above] for above in range(tree.sizes[level - 1])}
            for node, above in enumerate(tree.parent[level].tolist()):
                starts[level, node] = free[above]
                free[above] += counts[level][node]
        return starts

    def _map(self, members: np.ndarray) -> Figure:
        """Draws all items, and above them those of the chosen node."""
        figure = new_figure(4.2, 3.4, layout="constrained")
        axis = figure.subplots()
        axis.scatter(*self.coordinates.T, s=4, color="#C8C8C8", linewidths=0)
        axis.scatter(*self.coordinates[members].T, s=8, color=OKABE_ITO[0], linewidths=0)
        axis.set_title("Its members on the map", size=NORMAL, color=TEXT, loc="left")
        axis.axis("off")
        return figure
