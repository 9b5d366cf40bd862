"""Vessels: cups to drink from, pots to keep and to pour from. Handles point along −x, spouts along +x.

Each function of a class yields the parts of one random solid.
"""

from collections.abc import Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes.solids import Vector, cylinder, revolve, sphere, tube


def hollow(outer: list[Vector], wall: float) -> Mesh:
    """A vessel open at the top: up the ``outer`` outline of (radius, height), and down an inner wall."""
    inner = [(max(radius - wall, 0.3 * radius), height) for radius, height in outer[:0:-1]]
    floor = outer[0][1] + wall
    return revolve([*outer, *inner, (max(outer[0][0] - wall, 0.01), floor), (0, floor)])


def handle(x: float, low: float, high: float, reach: float, thickness: float) -> Mesh:
    """A half ring from height ``low`` to ``high`` at ``x``, which extends along −x by ``reach``."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    middle, half = (low + high) / 2, (high - low) / 2
    return tube([(x - reach * np.cos(t), 0, middle + half * np.sin(t)) for t in angle], thickness)


def mug(rng: np.random.Generator) -> Iterator[Mesh]:
    radius, height, flare = rng.uniform((0.4, 0.7, 0.95), (0.55, 1.15, 1.25))
    waist = radius * rng.uniform(0.95, 1.1)
    yield hollow([(radius, 0), (waist, height / 2), (radius * flare, height)], rng.uniform(0.05, 0.09))
    low, high = height * rng.uniform((0.12, 0.72), (0.25, 0.9))
    yield handle(-radius * 0.97, low, high, rng.uniform(0.25, 0.42), rng.uniform(0.045, 0.08))


def wine_glass(rng: np.random.Generator) -> Iterator[Mesh]:
    foot, stem, bowl, tall, mouth = rng.uniform((0.3, 0.5, 0.32, 0.55, 0.55), (0.42, 1.0, 0.5, 0.95, 1.1))
    thin, top = rng.uniform(0.03, 0.05), stem + tall
    outer = [(0, 0), (foot, 0.0), (foot, 0.03), (thin * 1.5, 0.1), (thin, stem * 0.5), (thin * 1.3, stem)]
    belly = [(bowl * 0.7, stem + tall * 0.15), (bowl, stem + tall * 0.4), (bowl * mouth, top)]
    inner = [(bowl * mouth - 0.03, top), (bowl - 0.03, stem + tall * 0.4), (bowl * 0.6, stem + tall * 0.2)]
    yield revolve([*outer, *belly, *inner, (0, stem + 0.06)])


def bottle(rng: np.random.Generator) -> Iterator[Mesh]:
    radius, body, shoulder, neck = rng.uniform((0.3, 0.9, 0.12, 0.3), (0.45, 1.5, 0.45, 0.65))
    narrow = rng.uniform(0.09, 0.15)
    top = body + shoulder + neck
    lip = [(narrow, top - 0.1), (narrow * 1.3, top - 0.1), (narrow * 1.3, top)]
    curve = [(radius, body), (radius * 0.8 + narrow * 0.2, body + shoulder * 0.45), (narrow, body + shoulder)]
    yield revolve([(radius * 0.95, 0), (radius, 0.06), *curve, *lip])


def vase(rng: np.random.Generator) -> Iterator[Mesh]:
    height, foot, belly, neck, lip = rng.uniform((1.1, 0.2, 0.42, 0.14, 1.3), (1.7, 0.34, 0.65, 0.28, 2.2))
    at = rng.uniform(0.3, 0.55)
    anchors = np.array([(foot, 0), (belly, at), (neck, 0.86), (neck * lip, 1.0)])
    z = np.linspace(0, 1, 10)
    # Half cosine waves between the anchors give a smooth outline without a spline.
    i = np.searchsorted(anchors[1:-1, 1], z, side="right")
    blend = (1 - np.cos(np.pi * (z - anchors[i, 1]) / (anchors[i + 1, 1] - anchors[i, 1]))) / 2
    radius = anchors[i, 0] + blend * (anchors[i + 1, 0] - anchors[i, 0])
    yield hollow(list(zip(radius, z * height, strict=True)), 0.05)


def teapot(rng: np.random.Generator) -> Iterator[Mesh]:
    radius, squash, lift = rng.uniform((0.5, 0.65, 0.15), (0.65, 1.0, 0.4))
    height = radius * squash
    yield sphere((radius, radius, height), (0, 0, height))
    yield cylinder(radius * 0.6, 0.15)
    yield cylinder(radius * 0.5, 0.12, (0, 0, height * 1.85), top=0.6)
    yield sphere(0.09, (0, 0, height * 2 + 0.12), 8)
    path = [(radius * 0.7, 0, height * 0.6), (radius + 0.2, 0, height * 0.8), (radius + 0.42, 0, height * 1.5 + lift)]
    yield tube(path, [0.17, 0.11, 0.07])
    if rng.random() < 0.65:
        yield handle(-radius * 0.85, height * 0.5, height * 1.55, rng.uniform(0.35, 0.5), 0.06)
    else:  # a bow over the lid
        angle, rise = np.linspace(0, np.pi, 10), rng.uniform(0.5, 0.8)
        bow = [(-radius * 0.8 * np.cos(t), 0, height * 1.5 + (rise + height * 0.5) * np.sin(t)) for t in angle]
        yield tube(bow, 0.045)
