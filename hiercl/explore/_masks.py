"""The features of a run with masks: switch some off, and see what every level of the hierarchy loses."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation import FeatureMasks, feature_masks, mask_separation
from hiercl.explore._widgets import needed, png, widgets
from hiercl.plot._canvas import WIDTH, items_name, panels, readable
from hiercl.plot._masks import DRAWS, MEASURES, draw_separation, legend
from hiercl.plot._masks import percent as as_percent
from hiercl.training import Run

RANKINGS = ("its mask", "what they separate")
ON, RANDOM, ALL = "those switched on", "as many random features", "all features"
SCRIPT = """
function render({ model, el }) {
  const left = 130, cell = 18, head = 26;
  const order = model.get("order"), rows = model.get("rows"), titles = model.get("titles");
  const width = Math.max(2, Math.min(24, Math.floor(700 / order.length)));
  const canvas = document.createElement("canvas"), scale = window.devicePixelRatio || 1;
  const size = [left + width * order.length + 2, head + cell * rows.length + 2];
  canvas.className = "hiercl-features";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "features: left and right to go, space to switch one on or off");
  [canvas.width, canvas.height] = size.map((s) => s * scale);
  [canvas.style.width, canvas.style.height] = size.map((s) => s + "px");
  el.appendChild(canvas);
  const pen = canvas.getContext("2d");
  let on = [...model.get("on")], painting = null, last = -1, cursor = -1;
  function draw() {
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = "white";
    pen.fillRect(0, 0, ...size);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillStyle = "#222";
    pen.fillText("on", 4, head / 2);
    rows.forEach((row, r) => pen.fillText(row.name, 4, head + cell * (r + 0.5), left - 8));
    order.forEach((feature, column) => {
      const x = left + column * width, wide = width > 3 ? width - 1 : width;
      pen.fillStyle = on[feature] ? "#222222" : "#E8E8E8";
      pen.fillRect(x, 4, wide, head - 8);
      pen.globalAlpha = on[feature] ? 1 : 0.15;
      rows.forEach((row, r) => {
        pen.fillStyle = row.colours[feature];
        pen.fillRect(x, head + r * cell, wide, cell - 2);
      });
      pen.globalAlpha = 1;
      if (column === cursor) {
        pen.strokeStyle = "#D55E00";
        pen.lineWidth = 2;
        pen.strokeRect(x - 1, 1, wide + 2, size[1] - 2);
      }
    });
  }
  function save() { model.set("on", [...on]); model.save_changes(); }
  function column(event) {
    const box = canvas.getBoundingClientRect();
    const at = Math.floor((event.clientX - box.left - left) / width);
    return at >= 0 && at < order.length ? at : -1;
  }
  canvas.onpointerdown = (event) => {
    last = column(event);
    if (last < 0) return;
    canvas.setPointerCapture(event.pointerId);
    painting = !on[order[last]];
    on[order[last]] = painting;
    draw();
  };
  canvas.onpointermove = (event) => {
    const at = column(event);
    canvas.title = at < 0 ? "" : titles[order[at]];
    if (painting === null || at < 0) return;
    for (let c = Math.min(at, last); c <= Math.max(at, last); c++) on[order[c]] = painting;
    last = at;
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => { if (painting !== null) { painting = null; save(); } };
  canvas.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) cursor = Math.max(0, Math.min(order.length - 1, cursor + step));
    else if (event.key === " " && cursor >= 0) { on[order[cursor]] = !on[order[cursor]]; save(); }
    else return;
    canvas.title = cursor < 0 ? "" : titles[order[cursor]];
    event.preventDefault();
    event.stopPropagation();
    draw();
  };
  canvas.onblur = () => { cursor = -1; draw(); };
  const changed = () => { on = [...model.get("on")]; draw(); };
  model.on("change:on", changed);
  draw();
  return () => model.off("change:on", changed);
}
export default { render };
"""
STYLE = """
.hiercl-features { cursor: pointer; max-width: none; touch-action: none; }
.hiercl-features:focus-visible { outline: 2px solid #222; }
"""


def masks(run: Run, dataset: HierarchicalDataset, max_items: int = 500, seed: int = 0) -> MasksExplorer:
    """Switch features off, and see how well the classes of every level are still told apart.

    A click on a feature switches it, a stroke over several switches them all; below each stand what the masks give to
    it and how much it separates, as in the static twin, :func:`hiercl.plot.masks`. There are buttons for all features
    that serve a level most, and a slider that keeps the best for a level. The mark on the bars is the control: as many
    random features, mean and range of five draws. Switching off the features of one level should cost that level more
    than the mark, and the others less.

    Features count as they are or not at all, without the weights of soft masks. The run is not changed, nothing is
    trained.

    Args:
        run: of G-HMLC or A-HMLC.
        dataset: any with the levels that the run was trained with.
        max_items: at most so many random items are looked at.
        seed: of their choice, and of the random features.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: a run without masks, one whose masks are not of the levels of this data set, or too few items.

    Example:
        >>> hiercl.explore.masks(run, test)
    """
    return MasksExplorer(run, dataset, max_items, seed)


class MasksExplorer:
    """See :func:`masks`. Its widgets are attributes, so that they can be set from code as well.

    Attributes:
        found: features and masks of the items.
        table: the separation of every level by all features, by those that are on, and by as many random ones.
    """

    def __init__(self, run: Run, dataset: HierarchicalDataset, max_items: int, seed: int):
        w = widgets()
        needed("anywidget")
        self.found = feature_masks(run, dataset, max_items, seed)
        self.names = [readable(name) for name in dataset.hierarchy.level_names]
        self.seed, self.draws, self.held = seed, np.random.default_rng(seed), False
        self.by_all = mask_separation(self.found.features, self.found.dataset)
        d = len(self.found.level_of)
        self.strip = strip(self.found, self.names)
        self.groups = [
            w.ToggleButton(
                value=True,
                description=f"of “{name}”: {(self.found.level_of == level).sum()}",
                layout=w.Layout(width="auto"),
            )
            for level, name in enumerate(self.names)
        ]
        self.all = w.Button(description="all on")
        self.random_half = w.Button(description="random half")
        wide = {"style": {"description_width": "initial"}}
        self.count = w.IntSlider(
            description="keep the",
            min=1,
            max=d,
            value=d,
            continuous_update=False,
            layout=w.Layout(width="28em"),
            **wide,
        )
        options = [(name, level) for level, name in enumerate(self.names)]
        self.level = w.Dropdown(description="best for", options=options, layout=w.Layout(width="14em"), **wide)
        self.ranked = w.Dropdown(description="by", options=RANKINGS, layout=w.Layout(width="14em"), **wide)
        self.counts = w.HTML()
        self.picture = w.Image(format="png", layout=w.Layout(max_width="100%"))
        what = f"{len(self.found.features):,} {items_name(dataset)} of {readable(dataset.name)}"
        self.widget = w.VBox(
            [
                w.HTML(f"<b>Click the features of {run.name} on and off</b>, or stroke over several ({what})"),
                self.strip,
                w.HBox([w.HTML("features"), *self.groups, self.all, self.random_half]),
                w.HBox([self.count, self.level, self.ranked]),
                self.counts,
                self.picture,
            ]
        )
        self.strip.observe(lambda change: self._switched(), "on")
        for level, button in enumerate(self.groups):
            button.observe(lambda change, level=level: self._group(level, change["new"]), "value")
        self.all.on_click(lambda button: self._keep(np.ones(d, dtype=bool)))
        self.random_half.on_click(lambda button: self._keep(self.draws.permutation(d) < d // 2))
        for control in (self.count, self.level, self.ranked):
            control.observe(lambda change: self._best(), "value")
        self._switched()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    # ---- which features are on ----

    @property
    def keep(self) -> np.ndarray:
        """Which features are on, bool ``[d]``."""
        return np.array(self.strip.on, dtype=bool)

    def _keep(self, keep: np.ndarray) -> None:
        self.strip.on = keep.tolist()  # which calls _switched, if it is a change

    def _group(self, level: int, on: bool) -> None:
        if not self.held:
            self._keep(np.where(self.found.level_of == level, on, self.keep))

    def _best(self) -> None:
        """The slider: the features that come first for a level."""
        if not self.held:
            keep = np.zeros(len(self.found.level_of), dtype=bool)
            keep[self.ranking()[: self.count.value]] = True
            self._keep(keep)

    def ranking(self) -> np.ndarray:
        """All features, the best for the chosen level first; of those with equal masks the ones that separate more."""
        level = self.level.value
        share = self.found.shares[level]
        if self.ranked.value == RANKINGS[0]:
            return np.lexsort((-share, -self.found.mean[level].numpy()))
        return np.argsort(-share, kind="stable")

    def _switched(self) -> None:
        """The other controls follow the features that are on."""
        keep = self.keep
        self.held = True
        for level, button in enumerate(self.groups):
            of_level = self.found.level_of == level
            button.value = bool(keep[of_level].all()) and bool(of_level.any())
            button.disabled = not of_level.any()
        self.count.value = max(1, int(keep.sum()))
        self.held = False
        self._draw()

    # ---- what they separate ----

    def _draw(self) -> None:
        found, keep = self.found, self.keep
        per_level = [f"{keep[found.level_of == h].sum()} of “{name}”" for h, name in enumerate(self.names)]
        self.counts.value = f"<b>{keep.sum()} of {len(keep)}</b> features are on: {', '.join(per_level)}."
        if not keep.any():
            self.counts.value += " Switch at least one on."
            self.table, self.picture.value = pd.DataFrame(), b""
            return
        by_on = self.by_all if keep.all() else mask_separation(found.features, found.dataset, keep)
        by_random = [by_on] * DRAWS if keep.all() else self._random(int(keep.sum()))
        together = pd.concat(by_random).groupby("level", sort=False).mean().reset_index()
        parts = {ALL: self.by_all, ON: by_on, RANDOM: together}
        self.table = pd.concat([part.assign(features=name) for name, part in parts.items()], ignore_index=True)
        figure, axes = panels(1, 2, height=1.1 + 0.6 * len(self.names), width=WIDTH)
        for axis, measure in zip(axes[0], MEASURES, strict=True):
            bars = {name: parts[name][measure].to_numpy() for name in (ALL, ON)}
            control = np.stack([part[measure].to_numpy() for part in by_random])
            draw_separation(axis, measure, self.names, bars, control, marked=ON, named=axis is axes[0, 0])
        legend(figure, [ALL, ON], RANDOM)
        self.picture.value = png(figure)

    def _random(self, count: int) -> list[pd.DataFrame]:
        """The control: as many random features, the same ones for the same number."""
        rng = np.random.default_rng((self.seed, count))
        d = len(self.found.level_of)
        return [
            mask_separation(self.found.features, self.found.dataset, rng.permutation(d) < count) for _ in range(DRAWS)
        ]


# -- the features, to be clicked ------------------------------------------------------------------------------------


@cache
def _kind() -> type:
    anywidget, traitlets = needed("anywidget"), needed("traitlets")

    class FeatureStrip(anywidget.AnyWidget):
        """A column for every feature; ``on`` says which are switched on, in the order of the features."""

        _esm, _css = SCRIPT, STYLE
        order = traitlets.List(traitlets.Int()).tag(sync=True)
        rows = traitlets.List().tag(sync=True)
        titles = traitlets.List(traitlets.Unicode()).tag(sync=True)
        on = traitlets.List(traitlets.Bool()).tag(sync=True)

    return FeatureStrip


def strip(found: FeatureMasks, names: list[str]) -> Any:
    """The widget: for every feature a switch, what the masks give to it, and what it separates.

    Raises:
        ImportError: anywidget is not installed.
    """
    mean, shares = found.mean.numpy(), found.shares
    rows = [
        {"name": f"mask, {name}", "colours": _colours(mean[h], float(mean.max()), "Greys")}
        for h, name in enumerate(names)
    ]
    rows += [
        {"name": f"separates {name}", "colours": _colours(shares[h], float(shares[h].max()), "Blues")}
        for h, name in enumerate(names)
    ]
    titles = [
        f"feature {j}: "
        + "; ".join(
            f"{name}: mask {mean[h, j]:.2f}, separates {as_percent(shares[h, j])}" for h, name in enumerate(names)
        )
        for j in range(mean.shape[1])
    ]
    return _kind()(order=found.order.tolist(), rows=rows, titles=titles, on=[True] * mean.shape[1])


def _colours(values: np.ndarray, highest: float, colours: str) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps[colours](values / max(highest, 1e-12))]
