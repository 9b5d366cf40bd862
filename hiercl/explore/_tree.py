"""A learned tree: click a node for its pictures, its classes, its place on the map and its flow to the true classes."""

from __future__ import annotations

import html
from typing import Any, cast

import numpy as np
from matplotlib.colors import to_hex

from hiercl import plot
from hiercl.clustering import PrototypeTree
from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import gallery, row
from hiercl.explore._widgets import Explorer, image, level_choice, load_package, marked, plain, png, widgets
from hiercl.plot._canvas import class_name
from hiercl.plot._colours import tint
from hiercl.plot._tree import check_tree, matching_level, node_labels
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array
from hiercl.runtime.types import Float
from hiercl.training import Run

PICTURES = 16  # pictures of a node
NAMED = 5  # classes of a node that are named


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
        ImportError: ipywidgets, anywidget or plotly is not installed.
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
    """

    def __init__(self, tree: PrototypeTree, train: HierarchicalDataset, coordinates: Any):
        self.tree, self.train, self.coordinates = tree, train, coordinates
        self.nodes = [(level, node) for level, size in enumerate(tree.sizes) for node in range(size)]
        self.node = (0, int(tree.counts(0).argmax()))

        w = widgets()
        self.level = level_choice(train.hierarchy, "true level", matching_level(tree.sizes[0], train.hierarchy))
        self.figure = self._icicle()
        self.map = None if coordinates is None else self._map()
        self.summary, self.pictures, self.flow = w.HTML(), gallery(), image()
        figures = w.HBox([self.figure] if self.map is None else [self.figure, self.map])
        self.widget = w.VBox([self.level, figures, self.summary, self.pictures, self.flow])

        self.figure.data[0].on_click(lambda trace, points, state: self._click(points))
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
        self.draw()

    def _click(self, points: Any) -> None:
        if points.point_inds:
            self.select(*self.nodes[points.point_inds[0]])

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
            with self.map.batch_update():
                self.map.data[1].x, self.map.data[1].y = self.coordinates[members].T

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
        """Draws every node below its parent, as wide as its number of members, and paler the less pure it is.

        These are bars, because plotly's own icicle zooms where it is clicked, and does not report the click.
        """
        go, tree = load_package("plotly.graph_objects"), self.tree
        names, colours = [], []
        for level, size in enumerate(tree.sizes):
            true = matching_level(size, self.train.hierarchy)
            purity = tree.purity(self.train.labels_at(true))[level].nan_to_num().tolist()
            for share, (name, colour) in zip(purity, node_labels(tree, self.train, level, true), strict=True):
                names.append(html.escape(name, quote=False))  # plotly reads tags in texts
                colours.append(to_hex(tuple(tint(colour, 0.25 + 0.75 * share))))
        counts, starts = [int(tree.counts(level)[node]) for level, node in self.nodes], self._starts()
        bars = go.Bar(
            orientation="h",
            width=0.97,
            x=counts,
            y=[level for level, _ in self.nodes],
            base=[starts[node] for node in self.nodes],
            text=names,
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            marker={"color": colours, "line": {"color": "white", "width": 1}},
            customdata=counts,  # of a bar with a base %{x} is its end
            hovertemplate="%{text}<br>%{customdata} items<extra></extra>",
            showlegend=False,
        )
        ticks = {"tickvals": [*range(tree.levels)], "ticktext": [f"level {level}" for level in range(tree.levels)]}
        layout = {
            "yaxis": ticks | {"autorange": "reversed"},
            "xaxis": {"title": {"text": "items", "font": {"size": 11}}, "range": [0, len(self.train)]},
            "uniformtext": {"minsize": 8, "mode": "hide"},
            "dragmode": False,
        }
        title = f"Learned tree: {' > '.join(map(str, tree.sizes))} prototypes"
        return _figure([bars], title, 640, {"l": 60, "r": 5, "t": 30, "b": 30}, layout)

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

    def _map(self) -> Any:
        """Draws all items, and above them those of the chosen node."""
        go, (x, y) = load_package("plotly.graph_objects"), self.coordinates.T
        style = {"mode": "markers", "hoverinfo": "skip"}
        everything = go.Scattergl(x=x, y=y, name="all items", marker={"size": 3, "color": "#c8c8c8"}, **style)
        members = go.Scattergl(name="members", marker={"size": 4, "color": "#0072B2"}, **style)
        hidden = {"visible": False}
        layout = {"xaxis": hidden, "yaxis": hidden, "legend": {"orientation": "h", "y": 0}}
        return _figure([everything, members], "Members on the map", 380, {"l": 5, "r": 5, "t": 30, "b": 5}, layout)


def _figure(traces: list[Any], title: str, width: int, margin: dict[str, int], layout: dict[str, Any]) -> Any:
    """Makes a plotly figure that is a widget; width and margins in pixels."""
    layout |= {"width": width, "height": 320, "margin": margin, "template": "plotly_white"}
    layout["title"] = {"text": title, "font": {"size": 14}}
    return load_package("plotly.graph_objects").FigureWidget(traces, layout)
