"""Maps of embeddings: select points, and see what they are, and where other embeddings put them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from scipy.spatial.distance import pdist
from tqdm.auto import tqdm

from hiercl.datasets import HierarchicalDataset
from hiercl.explore._gallery import data_uri, gallery, row
from hiercl.explore._widgets import Explorer, level_choice, load_package, plain, widgets
from hiercl.plot._canvas import picture
from hiercl.plot._colours import TEXT, node_colours
from hiercl.plot._maps import agreement, place
from hiercl.plot._neighbours import name_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast
from hiercl.runtime.types import Float

SHOWN = 24  # pictures of the selected items
COLUMNS, HEIGHT, ALONE = 3, 320, 440  # maps in a row; pixels of one of several maps, and of a single map
NAMED = 40  # classes up to which a legend names them
MEASURED = 2000  # largest number of items between which distances are measured
NO_LABEL, NO_COLOUR = "no label", np.full(3, 0.85)  # of the label −1, which reads the last of a list
KEYS = {"merge": "shift", "remove": "alt"}  # keys to hold while selecting
HELP = "Nothing is selected. Draw a loop around points, or click one. Shift adds to the selection, Alt removes from it."


@checked
def embedding(
    runs: Any,
    dataset: HierarchicalDataset,
    coordinates: Any = None,
    max_items: Annotated[int, AtLeast(1)] = 2000,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> EmbeddingExplorer:
    """Shows maps of embeddings side by side. A selection on one of them is a selection on all.

    The mouse over a point shows the item's picture and classes. A loop around points selects them: below stand their
    pictures, their most frequent class with its share, and their mean distance on every map. All maps show the same
    items, coloured by any level of the hierarchy. Nothing is trained. If coordinates are given, nothing is computed.
    The static twin is :func:`hiercl.plot.compare_embeddings`, which has the same colours.

    Args:
        runs: A run, an encoder or features ``[items, d]``, or several by name (methods, or one method after several
            epochs). None for vectors themselves. If coordinates are given, runs are not used and may be None.
        dataset: The items and their labels.
        coordinates: Coordinates ``[items, 2]`` of all items of the data set, by name. By default they are
            :func:`hiercl.plot.map_2d` (UMAP) of the features.
        max_items: Largest number of items on a map. They are chosen at random.
        seed: Seed of UMAP, and of the choice of items and pictures.

    Raises:
        ImportError: jupyter-scatter, ipywidgets or anywidget is not installed; or umap-learn, which only maps without
            coordinates need.
        ValueError: There is no run, or no coordinates for one of the runs; or features or coordinates are those of
            another number of items; or coordinates are not finite, or all the same.

    Example:
        >>> maps = {"HCSC": features[:, :2], "another": features[:, 2:4]}
        >>> explorer = hiercl.explore.embedding(None, test, coordinates=maps)
        >>> explorer.select([0, 1, 2])
        >>> chosen = test.take(explorer.selected)
    """
    return EmbeddingExplorer(*_by_name(runs, coordinates, dataset), dataset, max_items, seed)


class EmbeddingExplorer(Explorer):
    """The explorer that :func:`embedding` returns.

    Attributes:
        maps: The ``jscatter.Scatter`` of every map, by name. Its points are :attr:`items`, in that order.
        items: The items that are shown, as indices in the data set.
    """

    def __init__(
        self, runs: dict, coordinates: Mapping | None, dataset: HierarchicalDataset, max_items: int, seed: int
    ):
        w, jscatter = widgets(), load_package("jscatter")
        self.dataset, self.seed = dataset, seed
        self.gallery = gallery()
        self.coordinates: dict[str, np.ndarray] = {}
        for name, run in tqdm(runs.items(), desc="maps", leave=False, delay=1):
            given = None if coordinates is None else coordinates[name]
            self.items, self.coordinates[name] = place(run, dataset, seed, max_items, given)
            _check(name, self.coordinates[name])
        self.part = dataset.take(self.items)
        self.mean_distances = {name: _mean_distance(xy, seed) for name, xy in self.coordinates.items()}

        self.level = level_choice(dataset.hierarchy, "colours")
        self.legend, self.summary = w.HTML(), w.HTML()
        self.titles = {name: w.HTML() for name in runs}
        table, height = self._table(), HEIGHT if len(runs) > 1 else ALONE
        self.maps = {name: self._map(jscatter, xy, table, height) for name, xy in self.coordinates.items()}
        scatters = list(self.maps.values())
        self.first = scatters[0].widget
        jscatter.compose(scatters, sync_selection=True, sync_hover=True, row_height=height)  # only to link the maps
        columns = f"repeat({min(COLUMNS, len(runs))}, minmax(0, 1fr))"
        grid = w.GridBox(
            [w.VBox([self.titles[name], scatter.widget]) for name, scatter in self.maps.items()],
            layout=w.Layout(grid_template_columns=columns, grid_gap="8px"),
        )
        self.widget = w.VBox([self.level, self.legend, grid, self.summary, self.gallery])

        self._on_change(self._colour, self.level)
        self._on_change(self._show, self.first, trait="selection")
        self._on_change(self._point_at_clicked, self.gallery, trait="clicked")
        self._colour()

    @property
    def selected(self) -> np.ndarray:
        """The selected items, as indices in the data set."""
        return self.items[self._rows()]

    def select(self, items: Any) -> None:
        """Selects items on all maps.

        Args:
            items: Indices in the data set. Items that are not shown are left out.

        Example:
            >>> explorer = hiercl.explore.embedding(None, test, coordinates=features[:, :2])
            >>> explorer.select(range(10))
        """
        self.first.selection = np.flatnonzero(np.isin(self.items, np.asarray(items))).astype(np.uint32)

    def _rows(self) -> np.ndarray:
        """Returns the places of the selected items among those shown."""
        chosen = self.first.selection
        return np.array([], dtype=int) if chosen is None else np.sort(np.asarray(chosen).astype(int))

    # ---- the maps ----

    def _table(self) -> pd.DataFrame:
        """Returns what a map shows of the item under the mouse."""
        tree, drawn = self.dataset.hierarchy, tqdm(self.items, desc="pictures", leave=False, delay=1)
        paths = [" › ".join(map(plain, tree.path(int(leaf)))) for leaf in range(tree.n_leaves)] + [NO_LABEL]
        return pd.DataFrame(
            {
                "item": [f"{item:,}" for item in self.items],
                "class": [paths[leaf] for leaf in self.part.labels],
                "picture": [data_uri(picture(self.dataset, item)) for item in drawn],
            }
        )

    def _map(self, jscatter: Any, xy: np.ndarray, table: pd.DataFrame, height: int) -> Any:
        """Makes a map. Points have the numbers of their leaf classes, so that another level needs only a palette."""
        middle, reach = (xy.max(0) + xy.min(0)) / 2, np.ptp(xy, axis=0).max() / 2 * 1.05
        scales = [(float(centre - reach), float(centre + reach)) for centre in middle]  # equal, so that angles are kept
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
        """Returns the colour of every leaf class that is shown, at the chosen level."""
        nodes = self.dataset.hierarchy.labels_at(np.unique(self.part.labels), self.level.value)
        return [tuple(map(float, colour)) for colour in self._colours()[nodes]]

    def _colours(self) -> np.ndarray:
        """Returns the colour of every class of the chosen level, and that of no label."""
        return np.vstack([node_colours(self.dataset.hierarchy, self.level.value), NO_COLOUR])

    def _colour(self) -> None:
        """Shows the chosen level: colours, titles, legend and the text about the selection."""
        for name, scatter in self.maps.items():
            scatter.color(map=self._palette())
            agreed = agreement(self.coordinates[name], self.part, self.level.value)
            self.titles[name].value = f"<b>{html.escape(name)}</b><br>{agreed}"
        self.legend.value = self._legend()
        self._show()

    def _legend(self) -> str:
        tree, level = self.dataset.hierarchy, self.level.value
        items = f"{len(self.items):,} items of {html.escape(self.dataset.name)}. "
        if tree.sizes[level] > NAMED:
            shades = f", in shades of their “{plain(tree.level_names[0])}”" if level else ""
            return items + html.escape(f"{tree.sizes[level]} classes{shades}")
        colours, names = self._colours(), (*tree.names[level], NO_LABEL)
        return items + " ".join(
            f'<span style="white-space: nowrap"><span style="color: {to_hex(tuple(colours[node]))}">⬤</span> '
            f"{html.escape(plain(names[node]))}</span>"
            for node in np.unique(self.part.labels_at(level))
        )

    # ---- the selection ----

    def _show(self) -> None:
        """Describes the selected items, and shows pictures of them."""
        rows = self._rows()
        self.summary.value = self._describe(rows) if len(rows) else HELP
        self.gallery.clicked = -1
        self.gallery.rows = [self._pictures(rows)] if len(rows) else []

    def _describe(self, rows: np.ndarray) -> str:
        tree, level = self.dataset.hierarchy, self.level.value
        labels = self.part.labels_at(level)
        counts = np.bincount(labels[rows][labels[rows] >= 0], minlength=tree.sizes[level])
        most = int(counts.argmax())
        share, share_of_all = 100 * counts[most] / len(rows), 100 * (labels == most).mean()
        level_name, name = (html.escape(plain(text)) for text in (tree.level_names[level], tree.names[level][most]))
        text = (
            f"<b>{len(rows):,} of {len(self.items):,} items are selected.</b> Most frequent {level_name}: “{name}”, "
            f"{counts[most]:,} of them ({share:.0f} %; of all items shown {share_of_all:.0f} %)."
        )
        if len(rows) < 2:
            return text
        distances = [
            f"{html.escape(name)} <b>{_mean_distance(xy[rows], self.seed) / self.mean_distances[name]:.2f}</b>"
            for name, xy in self.coordinates.items()
        ]
        return f"{text}<br>Mean distance of two selected items on the map (1: of all items): {', '.join(distances)}."

    def _pictures(self, rows: np.ndarray) -> dict[str, Any]:
        """Returns pictures of the selected items, by class, with frames in the colours of the map."""
        tree, level = self.dataset.hierarchy, self.level.value
        shown = np.random.default_rng(self.seed).permutation(rows)[:SHOWN]
        shown = shown[np.lexsort((shown, self.part.labels[shown]))]
        nodes, leaves = self.part.labels_at(level)[shown], self.part.labels[shown]
        names, leaf_names = (*tree.names[level], NO_LABEL), (*tree.leaf_names, "")
        lines = [
            [plain(names[node]), plain(leaf_names[leaf]) if level < tree.levels - 1 else ""]
            for node, leaf in zip(nodes, leaves, strict=True)
        ]
        chosen = "" if len(shown) == len(rows) else f"{len(shown)} of {len(rows):,}, at random. "
        note = f"{chosen}Click a picture to see where it lies."
        made = row(self.dataset, self.items[shown], lines, "Selected", note, TEXT)
        for entry, colour in zip(made["entries"], self._colours()[nodes], strict=True):
            entry["colour"] = to_hex(colour)
        return made

    def _point_at_clicked(self) -> None:
        """Shows on every map where the clicked picture lies."""
        found = np.flatnonzero(self.items == self.gallery.clicked)
        if len(found):
            self.first.hovering = int(found[0])


def _by_name(
    runs: Any, coordinates: Any, dataset: HierarchicalDataset
) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Returns runs by name, and coordinates by the same names."""
    if runs is None and coordinates is None and dataset.modality != "vectors":
        raise ValueError("there is nothing to map: give a run, an encoder, features or coordinates.")
    if not isinstance(runs, Mapping):
        if isinstance(coordinates, Mapping):
            return dict.fromkeys(coordinates), coordinates
        name = name_of(runs)
        return {name: runs}, None if coordinates is None else {name: coordinates}
    if not runs:
        raise ValueError("there is no run: give one, or several by name.")
    if coordinates is not None and not isinstance(coordinates, Mapping):
        raise ValueError("give coordinates by name, like the runs: {'name': xy}.")
    if coordinates is not None and (missing := [name for name in runs if name not in coordinates]):
        raise ValueError(f"there are no coordinates for {', '.join(missing)}: give them for every run, or for none.")
    return dict(runs), coordinates


def _check(name: str, xy: np.ndarray) -> None:
    """Raises ValueError for coordinates that make no map."""
    if not np.isfinite(xy).all():
        raise ValueError(f"the coordinates of {name} are not finite: leave those items out, or make another map.")
    if not np.ptp(xy, axis=0).any():
        raise ValueError(f"the coordinates of {name} are all the same: there is nothing to see on such a map.")


def _mean_distance(xy: Float[np.ndarray, "items 2"], seed: int) -> float:
    """Returns the mean distance of two items on a map, from a sample if there are many items."""
    if len(xy) > MEASURED:
        xy = xy[np.random.default_rng(seed).permutation(len(xy))[:MEASURED]]
    return float(pdist(xy).mean())
