"""Names on a map: each where its class is at home."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from hiercl.plot._canvas import readable, text_width
from hiercl.plot._colours import TEXT
from hiercl.runtime.types import Float, Int

SIZE, LINE = 7, 0.13  # of the letters, in points; of a line, in inches
NEARBY, HALF = 20, 0.5  # items that say whose a place is, and the share of them that a class needs to be at home


def write_names(
    axis: Axes, xy: Float[np.ndarray, "items 2"], labels: Int[np.ndarray, " items"], names: Sequence[str]
) -> None:
    """Writes the name of every class in the middle of the place where it is densest.

    A class that is less than half of the items there is not at home, and has no name; of names that would overlap, the
    one with the larger share is written. The axis must have its final size.
    """
    dpi = axis.get_figure(root=True).dpi
    inches = axis.transData.transform(xy) / dpi
    left, right = axis.get_window_extent().x0 / dpi, axis.get_window_extent().x1 / dpi
    written: list[tuple[float, float, float]] = []
    for share, item in sorted(homes(xy, labels), reverse=True):
        x, y = inches[item]
        name = readable(names[labels[item]])
        half = text_width(name, SIZE) / 2 + 0.03
        x = max(left + half, min(x, right - half))  # within the frame
        free = all(abs(x - x2) > half + half2 or abs(y - y2) > LINE for x2, y2, half2 in written)
        if share >= HALF and free:
            written.append((x, y, half))
            at = axis.transData.inverted().transform((x * dpi, y * dpi))
            text = axis.text(*at, name, size=SIZE, color=TEXT, ha="center", va="center", zorder=4)
            text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])


def homes(xy: Float[np.ndarray, "items 2"], labels: Int[np.ndarray, " items"]) -> list[tuple[float, int]]:
    """For every class the item in the middle of the place where it is densest, and its share of the items nearby."""
    from sklearn.neighbors import NearestNeighbors

    nearby = NearestNeighbors(n_neighbors=min(NEARBY, len(xy))).fit(xy).kneighbors(xy, return_distance=False)
    own = (labels[nearby] == labels[:, None]).mean(axis=1)
    smooth = np.where(labels[nearby] == labels[:, None], own[nearby], 0).mean(axis=1)  # the middle, not the rim
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    middles = [int(items[smooth[items].argmax()]) for items in members]
    return [(float(own[middle]), middle) for middle in middles]
