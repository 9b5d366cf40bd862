"""The features of a run with masks: switch some off, and see what every level of the hierarchy loses."""

from __future__ import annotations

import html
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation.feature_masks import feature_masks, mask_separation
from hiercl.explore._widgets import (
    Explorer,
    image,
    level_choice,
    load_package,
    marked,
    own_widget,
    plain,
    png,
    sized,
    widgets,
)
from hiercl.plot._canvas import WIDTH, items_name, panels, percent, readable
from hiercl.plot._masks import DRAWS, MEASURES, draw_separation, legend
from hiercl.plot._neighbours import name_of
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast

BY_MASK, BY_SEPARATION = "its mask", "what they separate"
ON, RANDOM, ALL = "those switched on", "as many random features", "all features"


@checked
def masks(
    run: Any,
    dataset: HierarchicalDataset,
    max_items: Annotated[int, AtLeast(1)] = 500,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> MasksExplorer:
    """Shows how well every level's classes are separated by the features that are switched on.

    A click on a feature switches it on or off, and a stroke over several switches them all. Below each feature stand
    its masks and how much it separates, as in the static twin, :func:`hiercl.plot.masks`. Buttons switch all features
    that serve a level most, and a slider keeps the best features for a level. The mark on the bars is the control: as
    many random features, mean and range of five draws. If masks are right, then switching off the features of one level
    costs that level more than the mark, and costs the others less.

    A feature counts fully or not at all, without the weights of soft masks. The run does not change, and nothing is
    trained.

    Args:
        run: A run of G-HMLC or A-HMLC. Without one: features ``[items, d]``, or None for vectors themselves, whose
            masks are found; or what :func:`hiercl.feature_masks.found_masks` returns under other settings.
        dataset: A data set with the levels that the run was trained with.
        max_items: Largest number of items that are used. They are chosen at random.
        seed: Seed of the choice of items, and of the random features.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: The run has no masks, or its masks are those of other levels, or there are too few items.

    Example:
        >>> explorer = hiercl.explore.masks(masked_run, test)
        >>> explorer.count.value = 10
    """
    return MasksExplorer(run, dataset, max_items, seed)


class MasksExplorer(Explorer):
    """The explorer that :func:`masks` returns.

    Attributes:
        found: Features and masks of the items.
        table: Separation of every level by all features, by those that are on, and by as many random ones.
    """

    def __init__(self, run: Any, dataset: HierarchicalDataset, max_items: int, seed: int):
        w = widgets()
        self.seed, self.generator = seed, np.random.default_rng(seed)
        load_package("anywidget")
        self.found = feature_masks(run, dataset, max_items, seed)
        self.names = [plain(name) for name in dataset.hierarchy.level_names]
        self.by_all = mask_separation(self.found.features, self.found.dataset)
        self.table = pd.DataFrame()
        d = len(self.found.level_of)

        self.strip = self._strip()
        self.groups = [
            w.ToggleButton(
                value=True, description=f"of “{name}”: {(self.found.level_of == level).sum()}", **sized("auto")
            )
            for level, name in enumerate(self.names)
        ]
        self.all, self.random_half = w.Button(description="all on"), w.Button(description="random half")
        self.count = w.IntSlider(d, 1, d, description="keep the", continuous_update=False, **sized("28em"))
        self.level = level_choice(dataset.hierarchy, "best for", **sized("14em"))
        self.ranked = w.Dropdown(description="by", options=[BY_MASK, BY_SEPARATION], **sized("14em"))
        self.counts, self.picture = w.HTML(), image()
        name = html.escape(name_of(run, "the embedding"))
        items = f"{len(self.found.features):,} {items_name(dataset)} of {marked(dataset.name)}"
        head = w.HTML(f"<b>Click the features of {name} on and off</b>, or stroke over several ({items})")
        buttons = w.HBox([w.HTML("features"), *self.groups, self.all, self.random_half])
        best = w.HBox([self.count, self.level, self.ranked])
        self.widget = w.VBox([head, self.strip, buttons, best, self.counts, self.picture])

        self._on_change(self._follow, self.strip, trait="on")
        for level, button in enumerate(self.groups):
            self._on_change(lambda level=level: self._switch_level(level), button)
        self.all.on_click(lambda button: self._keep(np.ones(d, dtype=bool)))
        self.random_half.on_click(lambda button: self._keep(self.generator.permutation(d) < d // 2))
        self._on_change(self._keep_best, self.count, self.level, self.ranked)
        self._follow()

    # ---- which features are on ----

    @property
    def keep(self) -> np.ndarray:
        """Which features are on, bool ``[d]``."""
        return np.array(self.strip.on, dtype=bool)

    def ranking(self) -> np.ndarray:
        """Returns all features, the best for the chosen level first.

        Of features with equal masks, those that separate more come first.

        Example:
            >>> best = hiercl.explore.masks(masked_run, test).ranking()[:10]
        """
        level = self.level.value
        shares = self.found.shares[level]
        if self.ranked.value == BY_MASK:
            return np.lexsort((-shares, -self.found.mean[level].numpy()))
        return np.argsort(-shares, kind="stable")

    def _keep(self, keep: np.ndarray) -> None:
        self.strip.on = keep.tolist()  # a change calls _follow

    def _switch_level(self, level: int) -> None:
        self._keep(np.where(self.found.level_of == level, self.groups[level].value, self.keep))

    def _keep_best(self) -> None:
        keep = np.zeros(len(self.found.level_of), dtype=bool)
        keep[self.ranking()[: self.count.value]] = True
        self._keep(keep)

    def _follow(self) -> None:
        """Sets the other controls to the features that are on."""
        keep = self.keep
        with self._quietly():
            for level, button in enumerate(self.groups):
                of_level = self.found.level_of == level
                button.value = bool(of_level.any() and keep[of_level].all())
                button.disabled = not of_level.any()
            self.count.value = max(1, int(keep.sum()))
        self._draw()

    # ---- what is shown ----

    def _strip(self) -> Any:
        """Makes the widget of the features: a switch for each, its masks and what it separates."""
        mean, shares, names = self.found.mean.numpy(), self.found.shares, self.names
        rows = [(f"mask, {name}", values / mean.max(), "Greys") for name, values in zip(names, mean, strict=True)]
        rows += [
            (f"separates {name}", values / max(values.max(), 1e-12), "Blues")
            for name, values in zip(names, shares, strict=True)
        ]
        coloured = [
            {"name": name, "colours": [to_hex(colour) for colour in colormaps[colours](values)]}
            for name, values, colours in rows
        ]
        titles = [
            f"feature {j}: "
            + "; ".join(f"{n}: mask {mean[h, j]:.2f}, separates {percent(shares[h, j])}" for h, n in enumerate(names))
            for j in range(mean.shape[1])
        ]
        on = [True] * mean.shape[1]
        return own_widget("features", order=self.found.order.tolist(), rows=coloured, titles=titles, on=on)

    def _draw(self) -> None:
        """Shows how well every level is separated."""
        found, keep = self.found, self.keep
        per_level = [f"{keep[found.level_of == h].sum()} of “{html.escape(name)}”" for h, name in enumerate(self.names)]
        self.counts.value = f"<b>{keep.sum()} of {len(keep)}</b> features are on: {', '.join(per_level)}."
        if not keep.any():
            self.counts.value += " Switch at least one on."
            self.table, self.picture.value = pd.DataFrame(), b""
            return
        by_on = self.by_all if keep.all() else mask_separation(found.features, found.dataset, keep)
        by_random = [by_on] * DRAWS if keep.all() else self._by_random(int(keep.sum()))
        mean = pd.concat(by_random).groupby("level", sort=False).mean().reset_index()
        tables = {ALL: self.by_all, ON: by_on, RANDOM: mean}
        self.table = pd.concat([table.assign(features=name) for name, table in tables.items()], ignore_index=True)
        names = [readable(name) for name in found.dataset.hierarchy.level_names]
        figure, axes = panels(1, 2, height=1.1 + 0.6 * len(names), width=WIDTH)
        for axis, measure in zip(axes[0], MEASURES, strict=True):
            bars = {name: tables[name][measure].to_numpy() for name in (ALL, ON)}
            control = np.stack([table[measure].to_numpy() for table in by_random])
            draw_separation(axis, measure, names, bars, control, marked=ON, named=axis is axes[0, 0])
        legend(figure, [ALL, ON], RANDOM)
        self.picture.value = png(figure)

    def _by_random(self, count: int) -> list[pd.DataFrame]:
        """Returns the control: the separation by random features, the same ones for the same number."""
        rng, d = np.random.default_rng((self.seed, count)), len(self.found.level_of)
        keeps = [rng.permutation(d) < count for _ in range(DRAWS)]
        return [mask_separation(self.found.features, self.found.dataset, keep) for keep in keeps]
