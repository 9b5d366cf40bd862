"""Colours that colour-blind people can tell apart, and that follow the hierarchy."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from hiercl.hierarchy import Hierarchy
from hiercl.metrics.mistakes import ancestor_paths

# The palette of Okabe and Ito, those that differ most first. The last one, grey, replaces their black.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
TEXT, GREY = "#222222", "#6E6E6E"

# From linear RGB to the response of the eye's cones, and from its cube root to Oklab (Ottosson, 2020). Equal steps in
# Oklab look equal.
_TO_CONES = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
_TO_LAB = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])


def categorical(count: int) -> np.ndarray:
    """Returns colours ``[count, 3]`` without an order: Okabe and Ito's up to 8, then hues of alternating lightness."""
    if count <= len(OKABE_ITO):
        return np.array([to_rgb(colour) for colour in OKABE_ITO[:count]])
    angle = np.arange(count) * 2 * np.pi / count
    lightness = np.resize([0.48, 0.76, 0.62], count)
    return from_oklab(np.stack([lightness, 0.13 * np.cos(angle), 0.13 * np.sin(angle)], axis=1))


def sequence(count: int) -> np.ndarray:
    """Returns colours ``[count, 3]`` with an order, dark to light."""
    return colormaps["viridis"](np.linspace(0.05, 0.8, count) if count > 1 else [0.3])[:, :3]


def shades(colour: np.ndarray, count: int) -> np.ndarray:
    """Returns shades ``[count, 3]`` of a colour, dark to light. A single shade is the colour itself."""
    if count == 1:
        return np.asarray(colour)[None]
    lab = np.repeat(to_oklab(np.asarray(colour)[None]), count, axis=0)
    lab[:, 0] = np.linspace(0.42, 0.84, count)
    for shade in lab:
        while _linear(shade).min() <= -0.002 or _linear(shade).max() >= 1.002:
            shade[1:] *= 0.95  # a screen cannot show it, and clipping would change the hue
    return from_oklab(lab)


def node_colours(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """Returns the colour of every node of a level ``[nodes, 3]``: a hue per coarsest class, below it shades of it."""
    top = categorical(hierarchy.sizes[0])
    if level == 0:
        return top
    result = np.zeros((hierarchy.sizes[level], 3))
    for colour, below in zip(top, _nodes_below(hierarchy, level), strict=True):
        result[below] = shades(colour, len(below))
    return result


def node_markers(hierarchy: Hierarchy, level: int) -> list[str]:
    """Returns the marker of every node of a level: circles for the coarsest classes, below it one per shade."""
    result = ["o"] * hierarchy.sizes[level]
    for below in _nodes_below(hierarchy, level) if level else ():
        for place, node in enumerate(below):
            result[node] = MARKERS[place % len(MARKERS)]
    return result


def _nodes_below(hierarchy: Hierarchy, level: int) -> list[np.ndarray]:
    """Returns the nodes of a level below each coarsest class."""
    top = ancestor_paths(hierarchy, level)[:, 0]
    return [np.flatnonzero(top == node) for node in range(hierarchy.sizes[0])]


def tint(colour: np.ndarray, strength: float | int = 0.3) -> np.ndarray:
    """Returns a colour mixed with white."""
    return 1 - strength * (1 - np.asarray(colour))


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """Converts sRGB in [0, 1] to Oklab, ``[n, 3]``."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """Converts Oklab to sRGB, clipped to [0, 1], ``[n, 3]``."""
    linear = _linear(lab).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).clip(0, 1)


def _linear(lab: np.ndarray) -> np.ndarray:
    return (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
