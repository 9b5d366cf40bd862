"""The map of an embedding: select points, and see what they are, and where other embeddings put them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import data_uri, gallery, row
from hiercl.explore._widgets import needed, widgets
from hiercl.plot._colours import TEXT, node_colours
from hiercl.plot._maps import NAMED, agreement, name_of, place
from hiercl.runtime.types import Float

SHOWN = 24  # pictures of what is selected
COLUMNS, HEIGHT, ALONE = 3, 320, 440  # maps in a row; pixels of each of several, and of one alone
MEASURED = 2000  # items between which distances are measured, at most
KEYS = {"merge": "shift", "remove": "alt"}  # what is held while selecting
HELP = "Nothing is selected. Draw a loop around points, or click one; Shift adds to what is selected, Alt takes away."


def embedding(
    runs: Any,
    dataset: HierarchicalDataset,
    coordinates: Any = None,
    max_items: int = 2000,
    seed: int = 0,
) -> EmbeddingExplorer:
    """Maps of embeddings side by side: what is selected or pointed at in one of them is so in all.

    Pointing at an item shows its picture and classes. Of what a loop is drawn around, pictures stand below, with the
    most frequent class and its share, and how far apart the selected items lie on every map. All maps show the same
    items, coloured by any level of the hierarchy, in the colours of the static twin
    :func:`hiercl.plot.compare_embeddings`. Nothing is trained; where coordinates are given, nothing is computed.

    Args:
        runs: a run, an encoder or features ``[items, d]``; several (methods, or one method after several epochs) by
            name; not looked at where coordinates are given, and may then be None.
        dataset: the items and their labels.
        coordinates: ``[items, 2]`` for every item of the data set, by name; by default :func:`hiercl.plot.map_2d`
            (UMAP) of the features.
        max_items: at most so many random items are shown.
        seed: of UMAP, and of the choice of items and pictures.

    Raises:
        ImportError: jupyter-scatter, ipywidgets or anywidget is not installed; or umap-learn, which only maps without
            coordinates need.
        ValueError: no run; a run without coordinates when they are given; features or coordinates for another number
            of items; coordinates that are not finite, or all the same.

    Example:
        >>> hiercl.explore.embedding({"untrained": start, "HCSC": run}, test)
    """
    return EmbeddingExplorer(*_named(runs, coordinates), dataset, max_items, seed)


class EmbeddingExplorer:
    """See :func:`embedding`. Its widgets are attributes, so that they can be set from code as well.

    Attributes:
        maps: name and ``jscatter.Scatter`` of each; its points are :attr:`items`, in that order.
        items: those that are shown, as indices in the data set.
    """

    def __init__(
        self,
        runs: dict[str, Any],
        coordinates: Mapping[str, Any] | None,
        dataset: HierarchicalDataset,
        max_items: int,
        seed: int,
    ):
        w, jscatter = widgets(), needed("jscatter")
        self.dataset, self.seed = dataset, seed
        self.gallery = gallery()
        self.coordinates: dict[str, np.ndarray] = {}
        for name, run in tqdm(runs.items(), desc="maps", leave=False, delay=1):
            given = None if coordinates is None else coordinates[name]
            self.items, self.coordinates[name] = place(run, dataset, seed, max_items, given)
            _check(name, self.coordinates[name])
        self.part = dataset.take(self.items)
        self.usual = {name: _mean_distance(xy, seed) for name, xy in self.coordinates.items()}
        tree = dataset.hierarchy
        levels = [(_plain(name), level) for level, name in enumerate(tree.level_names)]
        self.level = w.Dropdown(description="colours", options=levels, value=0)
        self.legend, self.summary = w.HTML(), w.HTML()
        self.titles = {name: w.HTML() for name in runs}
        table = self._table()
        height = HEIGHT if len(runs) > 1 else ALONE
        self.maps = {name: self._map(jscatter, xy, table, height) for name, xy in self.coordinates.items()}
        scatters = list(self.maps.values())
        self.first = scatters[0].widget
        jscatter.compose(scatters, sync_selection=True, sync_hover=True, row_height=height)  # for the links alone
        grid = w.GridBox(
            [w.VBox([self.titles[name], scatter.widget]) for name, scatter in self.maps.items()],
            layout=w.Layout(grid_template_columns=f"repeat({min(COLUMNS, len(runs))}, minmax(0, 1fr))", grid_gap="8px"),
        )
        self.widget = w.VBox([self.level, self.legend, grid, self.summary, self.gallery])
        self.level.observe(lambda change: self._coloured(), "value")
        self.first.observe(lambda change: self._show(), "selection")
        self.gallery.observe(lambda change: self._clicked(change["new"]), "clicked")
        self._coloured()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    @property
    def selected(self) -> np.ndarray:
        """The selected items, as indices in the data set: ``dataset.take(explorer.selected)``."""
        return self.items[self._rows()]

    def select(self, items: Any) -> None:
        """Selects items of the data set on all maps; those that are not shown are left out."""
        self.first.selection = np.flatnonzero(np.isin(self.items, np.asarray(items))).astype(np.uint32)

    def _rows(self) -> np.ndarray:
        """Places of the selected items among those shown."""
        chosen = self.first.selection
        return np.array([], dtype=int) if chosen is None else np.sort(np.asarray(chosen).astype(int))

    # ---- the maps ----

    def _table(self) -> pd.DataFrame:
        """What a map says of an item that is pointed at."""
        tree, drawn = self.dataset.hierarchy, tqdm(self.items, desc="pictures", leave=False, delay=1)
        paths = [" › ".join(map(_plain, tree.path(int(leaf)))) for leaf in range(tree.n_leaves)]
        return pd.DataFrame(
            {
                "item": [f"{item:,}" for item in self.items],
                "class": [paths[leaf] for leaf in self.part.labels],
                "picture": [data_uri(self.dataset, int(item)) for item in drawn],
            }
        )

    def _map(self, jscatter: Any, xy: np.ndarray, table: pd.DataFrame, height: int) -> Any:
        """One map. Its colours are of leaf classes, so that another level is another palette, and no point is moved."""
        middle, reach = (xy.max(0) + xy.min(0)) / 2, np.ptp(xy, axis=0).max() / 2 * 1.05
        scales = [(float(centre - reach), float(centre + reach)) for centre in middle]  # alike, so that angles are kept
        leaves, codes = np.unique(self.part.labels, return_inverse=True)
        return jscatter.Scatter(
            xy[:, 0],
            xy[:, 1],
            data=table,
            x_scale=scales[0],
            y_scale=scales[1],
            color_by=pd.Categorical.from_codes(codes, [str(leaf) for leaf in leaves]),
            color_map=self._palette(),
            opacity=0.75,
            opacity_unselected=0.3,
            size=float(np.clip(180 / np.sqrt(len(xy)), 4, 9)),
            axes=False,
            height=height,
            mouse_mode="lasso",
            options={"actionKeyMap": KEYS},
            tooltip=True,
            tooltip_properties=["class", "item"],
            tooltip_histograms=False,
            tooltip_preview="picture",
            tooltip_preview_type="image",
        )

    def _palette(self) -> list[tuple[float, ...]]:
        """At the chosen level, the colour of every leaf class that is shown."""
        tree, level = self.dataset.hierarchy, self.level.value
        colours = node_colours(tree, level)[tree.ancestors[np.unique(self.part.labels), level]]
        return [tuple(map(float, colour)) for colour in colours]

    def _coloured(self) -> None:
        """Another level: colours, titles, legend, and what is said of the selection."""
        level = self.level.value
        for name, scatter in self.maps.items():
            scatter.color(map=self._palette())
            said = agreement(self.coordinates[name], self.part, level)
            self.titles[name].value = f"<b>{html.escape(name)}</b><br>{said}"
        self.legend.value = self._legend()
        self._show()

    def _legend(self) -> str:
        tree, level = self.dataset.hierarchy, self.level.value
        what = f"{len(self.items):,} items of {html.escape(self.dataset.name)}. "
        if tree.sizes[level] > NAMED:
            shades = f", in shades of their “{_plain(tree.level_names[0])}”" if level else ""
            return what + html.escape(f"{tree.sizes[level]} classes{shades}")
        colours, there = node_colours(tree, level), np.unique(self.part.labels_at(level))
        return what + " ".join(
            f'<span style="white-space: nowrap"><span style="color: {to_hex(colours[node])}">⬤</span> '
            f"{html.escape(_plain(tree.names[level][node]))}</span>"
            for node in there
        )

    # ---- what is selected ----

    def _show(self) -> None:
        """Says what is selected, and shows pictures of it."""
        rows = self._rows()
        self.summary.value = self._said(rows) if len(rows) else HELP
        self.gallery.clicked = -1
        self.gallery.rows = [self._pictures(rows)] if len(rows) else []

    def _said(self, rows: np.ndarray) -> str:
        tree, level = self.dataset.hierarchy, self.level.value
        labels = self.part.labels_at(level)
        counts = np.bincount(labels[rows], minlength=tree.sizes[level])
        most = int(counts.argmax())
        share, usual = 100 * counts[most] / len(rows), 100 * (labels == most).mean()
        level_name, name = (html.escape(_plain(text)) for text in (tree.level_names[level], tree.names[level][most]))
        text = (
            f"<b>{len(rows):,} of {len(self.items):,} items are selected.</b> Most frequent {level_name}: “{name}”, "
            f"{counts[most]:,} of them ({share:.0f} %; of all items shown {usual:.0f} %)."
        )
        if len(rows) < 2:
            return text
        apart = [
            f"{html.escape(name)} <b>{_mean_distance(xy[rows], self.seed) / self.usual[name]:.2f}</b>"
            for name, xy in self.coordinates.items()
        ]
        return (
            f"{text}<br>Mean distance of two selected items on the map, that of two random items being 1: "
            f"{', '.join(apart)}."
        )

    def _pictures(self, rows: np.ndarray) -> dict[str, Any]:
        """At most 24 of the selected items, by class, framed in the colours of the map."""
        tree, level = self.dataset.hierarchy, self.level.value
        shown = np.random.default_rng(self.seed).permutation(rows)[:SHOWN]
        shown = shown[np.lexsort((shown, self.part.labels[shown]))]
        nodes, leaves = self.part.labels_at(level)[shown], self.part.labels[shown]
        lines = [
            [_plain(tree.names[level][node]), _plain(tree.leaf_names[leaf]) if level < tree.levels - 1 else ""]
            for node, leaf in zip(nodes, leaves, strict=True)
        ]
        chosen = "" if len(shown) == len(rows) else f"{len(shown)} of {len(rows):,}, at random. "
        note = f"{chosen}Click one to see where it lies."
        made = row(self.dataset, self.items[shown], lines, "Selected", note, TEXT)
        for entry, colour in zip(made["entries"], node_colours(tree, level)[nodes], strict=True):
            entry["colour"] = to_hex(colour)
        return made

    def _clicked(self, item: int) -> None:
        """A picture: where it lies on every map."""
        place = np.flatnonzero(self.items == item)
        if len(place):
            self.first.hovering = int(place[0])


def _named(runs: Any, coordinates: Any) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Runs by name, and coordinates by the same names."""
    if runs is None and coordinates is None:
        raise ValueError("there is nothing to map: give a run, an encoder, features or coordinates.")
    if not isinstance(runs, Mapping):
        if isinstance(coordinates, Mapping):
            return _named(dict.fromkeys(coordinates), coordinates)
        name = name_of(runs)
        return {name: runs}, None if coordinates is None else {name: coordinates}
    if not runs:
        raise ValueError("there is no run: give one, or several by name.")
    if coordinates is None:
        return dict(runs), None
    if not isinstance(coordinates, Mapping):
        raise ValueError("coordinates are given by name where runs are: {'name': xy}.")
    if missing := [name for name in runs if name not in coordinates]:
        raise ValueError(f"there are no coordinates for {', '.join(missing)}: give them for every run, or for none.")
    return dict(runs), coordinates


def _check(name: str, xy: np.ndarray) -> None:
    """Raises ValueError for coordinates that make no map."""
    if not np.isfinite(xy).all():
        raise ValueError(f"the coordinates of {name} are not finite: leave out those items, or make another map.")
    if not np.ptp(xy, axis=0).any():
        raise ValueError(f"the coordinates of {name} are all the same: there is nothing to see on such a map.")


def _mean_distance(xy: Float[np.ndarray, "items 2"], seed: int) -> float:
    """Of two items on a map; of many items a sample of them is measured."""
    from scipy.spatial.distance import pdist

    if len(xy) > MEASURED:
        xy = xy[np.random.default_rng(seed).permutation(len(xy))[:MEASURED]]
    return float(pdist(xy).mean())


def _plain(name: str) -> str:
    """A class name as one would write it."""
    return name.replace("_", " ")
