"""Colours that colour-blind people can tell apart, and that follow the hierarchy."""

import numpy as np
from matplotlib.colors import to_rgb

from hiercl.hierarchy import Hierarchy

# Okabe and Ito's palette; the first ones differ most, and the last, grey, stands for their black.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")

TEXT, GREY, FAINT = "#222222", "#6E6E6E", "#D9D9D9"

# Linear RGB to cone response, and its cube root to Oklab (Ottosson, 2020), in which equal steps look equal.
_TO_CONES = np.array(
    [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]], dtype=float
)
_TO_LAB = np.array(
    [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]], dtype=float
)


def categorical(count: int) -> np.ndarray:
    """Colours ``[count, 3]`` for unordered categories: Okabe and Ito's up to 8, then hues in alternating lightness."""
    if count <= len(OKABE_ITO):
        return np.array([to_rgb(colour) for colour in OKABE_ITO[:count]])
    angle = np.arange(count) * 2 * np.pi / count
    lightness = np.resize([0.48, 0.76, 0.62], count)
    return from_oklab(np.stack([lightness, 0.13 * np.cos(angle), 0.13 * np.sin(angle)], axis=1))


def sequence(count: int) -> np.ndarray:
    """Colours ``[count, 3]`` for ordered things, dark to light."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.05, 0.8, count) if count > 1 else [0.3])[:, :3]


def shades(colour: np.ndarray, count: int) -> np.ndarray:
    """Shades ``[count, 3]`` of one colour, dark to light; the colour itself if only one is asked for."""
    if count == 1:
        return np.asarray(colour)[None]
    lab = np.repeat(to_oklab(np.asarray(colour)[None]), count, axis=0)
    lab[:, 0] = np.linspace(0.42, 0.84, count)
    for shade in lab:
        while not in_gamut(shade):  # clipping would change the hue
            shade[1:] *= 0.95
    return from_oklab(lab)


def node_colours(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """Colour of every node of a level ``[nodes, 3]``: a hue for each coarsest class, shades of it below."""
    top = categorical(hierarchy.sizes[0])
    if level == 0:
        return top
    result = np.zeros((hierarchy.sizes[level], 3))
    for node, colour in enumerate(top):
        below = nodes_below(hierarchy, node, level)
        result[below] = shades(colour, len(below))
    return result


def node_markers(hierarchy: Hierarchy, level: int) -> list[str]:
    """Marker of every node of a level: a circle for coarsest classes; below, siblings in hue differ in marker too."""
    result = ["o"] * hierarchy.sizes[level]
    if level > 0:
        for top in range(hierarchy.sizes[0]):
            for place, node in enumerate(nodes_below(hierarchy, top, level)):
                result[node] = MARKERS[place % len(MARKERS)]
    return result


def nodes_below(hierarchy: Hierarchy, top: int, level: int) -> np.ndarray:
    """Nodes of a level under a coarsest class."""
    return np.unique(hierarchy.ancestors[hierarchy.ancestors[:, 0] == top, level])


def tint(colour: np.ndarray, strength: float | int = 0.3) -> np.ndarray:
    """A colour mixed with white, to write on."""
    return 1 - strength * (1 - np.asarray(colour))


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to Oklab, ``[n, 3]``."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T


def in_gamut(lab: np.ndarray) -> bool:
    """Whether a screen can show a colour of Oklab."""
    linear = _linear(lab)
    return bool(linear.min() > -0.002 and linear.max() < 1.002)


def _linear(lab: np.ndarray) -> np.ndarray:
    return (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """Oklab to sRGB, clipped to [0, 1], ``[n, 3]``."""
    linear = _linear(lab).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).clip(0, 1)
