"""A learned tree: click a node for its pictures, its purity, its place in the map and its flow to the true classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_hex

from hiercl import plot
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import gallery, row
from hiercl.explore._widgets import needed, png, widgets
from hiercl.plot._canvas import readable
from hiercl.plot._colours import tint
from hiercl.plot._tree import check_tree, matching_level, node_labels
from hiercl.runtime.types import Float
from hiercl.training import Run

PICTURES = 16  # of a node
COUNTED = 5  # classes of a node that are named


def tree(
    run: Run | PrototypeTree,
    train: HierarchicalDataset,
    coordinates: Float[np.ndarray, "items 2"] | None = None,
) -> TreeExplorer:
    """Click a node of the learned tree: the pictures nearest to its prototype, its purity and classes, where its
    members lie in the map, and how they flow to the classes of the true hierarchy.

    The static twins are :func:`hiercl.plot.tree` and :func:`hiercl.plot.flow`.

    Args:
        run: with a tree, such as one of HCSC after its warm-up; or a tree.
        train: the items that it clusters.
        coordinates: place of every item in the map, such as :func:`hiercl.plot.map_2d` gives; without, no map.

    Raises:
        ImportError: ipywidgets, anywidget or plotly is not installed.
        ValueError: there is no tree, it is of other items, or coordinates are.

    Example:
        >>> hiercl.explore.tree(run, train, coordinates=hiercl.plot.map_2d(hiercl.embed(run, train)))
    """
    found = run.tree if isinstance(run, Run) else run
    check_tree(found, train)
    if coordinates is not None and coordinates.shape != (len(train), 2):
        raise ValueError(f"coordinates {list(coordinates.shape)} are not those of {len(train)} items: [items, 2].")
    return TreeExplorer(found, train, coordinates)


class TreeExplorer:
    """See :func:`tree`. Its widgets are attributes, so that they can be set from code as well."""

    def __init__(self, tree: PrototypeTree, train: HierarchicalDataset, coordinates: Any):
        w = widgets()
        self.tree, self.train = tree, train
        self.coordinates = coordinates
        levels = [(readable(name), level) for level, name in enumerate(train.hierarchy.level_names)]
        true = matching_level(tree.sizes[0], train.hierarchy)
        self.level = w.Dropdown(description="true level", options=levels, value=true)
        self.nodes = [(level, node) for level, size in enumerate(tree.sizes) for node in range(size)]
        self.figure = self._icicle()
        self.figure.data[0].on_click(lambda trace, points, state: self._clicked(points))
        self.map = None if coordinates is None else self._map()
        self.said, self.pictures = w.HTML(), gallery()
        self.flow = w.Image(format="png", layout=w.Layout(max_width="100%"))
        beside = [self.figure] if self.map is None else [self.figure, self.map]
        self.widget = w.VBox([self.level, w.HBox(beside), self.said, self.pictures, self.flow])
        self.node = (0, int(tree.counts(0).argmax()))
        self.level.observe(lambda change: self.draw(), "value")
        self.draw()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def select(self, level: int, node: int) -> None:
        """Shows a node, as a click on it does.

        Raises:
            ValueError: it does not exist.
        """
        if (level, node) not in self.nodes:
            raise ValueError(f"there is no node {node} of level {level}: the tree has {self.tree.sizes} prototypes.")
        self.node = (level, node)
        self.draw()

    def _clicked(self, points: Any) -> None:
        if points.point_inds:
            self.select(*self.nodes[points.point_inds[0]])

    def draw(self) -> None:
        """What is known of the chosen node."""
        level, node = self.node
        tree, train = self.tree, self.train
        members = tree.members(level, node).cpu().numpy()
        items = tree.exemplars(level, node, PICTURES).cpu().numpy()
        names = [readable(train.hierarchy.leaf_names[train.labels[item]]) for item in items]
        self.pictures.rows = [row(train, items, [[name] for name in names], "Nearest to the prototype")]
        self.said.value = self._in_words(members)
        self.flow.value = png(plot.flow(tree, train, level, self.level.value, node if len(members) else None))
        if self.map is not None:
            with self.map.batch_update():
                self.map.data[1].x, self.map.data[1].y = self.coordinates[members].T

    def _in_words(self, members: np.ndarray) -> str:
        level, node = self.node
        if not len(members):
            return f"<b>Level {level}, prototype {node}</b> is empty."
        lines = [f"<b>Level {level}, prototype {node}</b>: {len(members):,} items"]
        for true, name in enumerate(self.train.hierarchy.level_names):
            counts = np.bincount(self.train.labels_at(true)[members], minlength=self.train.hierarchy.sizes[true])
            first = np.argsort(-counts, kind="stable")[:COUNTED]
            shares = [
                f"{readable(self.train.hierarchy.names[true][k])} {100 * counts[k] / len(members):.0f} %"
                for k in first
                if counts[k]
            ]
            lines.append(f"{name}: {', '.join(shares)}")
        return "<br>".join(lines)

    def _icicle(self) -> Any:
        """The tree as an icicle: below every node its children, as wide as their numbers of members; the paler a node,
        the less pure it is. Bars, since plotly's own icicle zooms where it is clicked, and does not say so."""
        go, tree = needed("plotly.graph_objects"), self.tree
        starts, trace = self._starts(), go.Bar(orientation="h", width=0.97, showlegend=False)
        names, colours = [], []
        for level in range(tree.levels):
            true = matching_level(tree.sizes[level], self.train.hierarchy)
            purity = tree.purity(torch.as_tensor(self.train.labels_at(true)))[level].nan_to_num().tolist()
            for node, (name, colour) in enumerate(node_labels(tree, self.train, level, true)):
                names.append(name)
                colours.append(to_hex(tint(colour, 0.25 + 0.75 * purity[node])))
        trace.y = [level for level, _ in self.nodes]
        trace.x = [int(tree.counts(level)[node]) for level, node in self.nodes]
        trace.base = [starts[node] for node in self.nodes]
        trace.text, trace.textposition, trace.textangle = names, "inside", 0
        trace.insidetextanchor = "middle"
        trace.marker = {"color": colours, "line": {"color": "white", "width": 1}}
        trace.customdata = trace.x  # of a bar with a base %{x} is where it ends
        trace.hovertemplate = "%{text}<br>%{customdata} items<extra></extra>"
        layout = {
            "margin": {"l": 60, "r": 5, "t": 30, "b": 30},
            "height": 320,
            "width": 640,
            "template": "plotly_white",
        }
        layout["title"] = {"text": f"Learned tree: {' > '.join(map(str, tree.sizes))} prototypes", "font": {"size": 14}}
        levels = list(range(tree.levels))
        layout["yaxis"] = {
            "tickvals": levels,
            "ticktext": [f"level {level}" for level in levels],
            "autorange": "reversed",
        }
        layout["xaxis"] = {"title": {"text": "items", "font": {"size": 11}}, "range": [0, len(self.train)]}
        layout["uniformtext"] = {"minsize": 8, "mode": "hide"}
        return go.FigureWidget([trace], layout | {"dragmode": False})

    def _starts(self) -> dict[tuple[int, int], int]:
        """Where the bar of every node begins: children of a node side by side, from where it begins."""
        tree, starts, end = self.tree, {}, 0
        for node in range(tree.sizes[0]):
            starts[0, node], end = end, end + int(tree.counts(0)[node])
        for level in range(1, tree.levels):
            free = {above: starts[level - 1, above] for above in range(tree.sizes[level - 1])}
            for node, above in enumerate(tree.parent[level].tolist()):
                starts[level, node] = free[above]
                free[above] += int(tree.counts(level)[node])
        return starts

    def _map(self) -> Any:
        """All items, and those of the chosen node."""
        go = needed("plotly.graph_objects")
        everyone = go.Scattergl(
            x=self.coordinates[:, 0], y=self.coordinates[:, 1], mode="markers", hoverinfo="skip", name="all items"
        )
        everyone.marker = {"size": 3, "color": "#c8c8c8"}
        chosen = go.Scattergl(mode="markers", hoverinfo="skip", name="members", marker={"size": 4, "color": "#0072B2"})
        layout = {"margin": {"l": 5, "r": 5, "t": 30, "b": 5}, "height": 320, "width": 380, "template": "plotly_white"}
        layout["title"] = {"text": "Members in the map", "font": {"size": 14}}
        layout |= {"xaxis": {"visible": False}, "yaxis": {"visible": False}, "legend": {"orientation": "h", "y": 0}}
        return go.FigureWidget([everyone, chosen], layout)
