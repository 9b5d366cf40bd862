"""Buildings: houses and towers. The door looks along +x.

Each function of a class yields the parts of one random solid.
"""

from collections.abc import Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes.solids import box, cone, cylinder, move, revolve, sphere, tube, turn


def gabled(length: float, width: float, wall: float, roof: float) -> tuple[Mesh, Mesh]:
    """Four walls and a gable roof with eaves; the ridge runs along x."""
    return box((length, width, wall)), box((length * 1.08, width * 1.16, roof), (0, 0, wall), top=(1, 0))


def house(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, wall, roof = rng.uniform((1.1, 0.9, 0.6, 0.35), (1.7, 1.2, 1.0, 0.75))
    yield from gabled(length, width, wall, roof)
    x, y = length * rng.uniform(-0.35, 0.35), width * rng.choice([-0.25, 0.25])
    yield box((0.16, 0.16, roof + 0.15), (x, y, wall))
    yield box((0.06, 0.22, wall * 0.65), (length / 2, rng.uniform(-0.2, 0.2) * width, 0))
    for side in (-1, 1):
        for at in np.array([-0.28, 0.0, 0.28]) * length:
            yield box((0.2, 0.06, 0.25), (at, side * width / 2, wall * 0.45))
    if rng.random() < 0.3:  # a lower annex
        yield box((0.5, width * 0.7, wall * 0.6), (-length / 2 - 0.25, 0, 0))


def church(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, wall, roof = rng.uniform((1.3, 0.65, 0.55, 0.35), (1.9, 0.85, 0.8, 0.6))
    side, tall, spire = rng.uniform((0.4, 1.2, 0.6), (0.55, 1.7, 1.1))
    x = length / 2 + side * 0.4
    yield from gabled(length, width, wall, roof)
    yield box((side, side, tall), (x, 0, 0))
    if rng.random() < 0.7:
        yield box((side * 1.1, side * 1.1, spire), (x, 0, tall), top=(0, 0))
    else:
        yield cone(side * 0.6, spire, (x, 0, tall), segments=8)
    yield box((0.06, side * 0.45, 0.35), (x + side / 2, 0, 0))
    yield box((side * 1.06, side * 0.4, 0.2), (x, 0, tall * 0.75))
    for at in np.array([-0.3, 0.0, 0.3]) * length:
        yield box((0.13, width + 0.05, wall * 0.5), (at, 0, wall * 0.3))


def lighthouse(rng: np.random.Generator) -> Iterator[Mesh]:
    base, top, height = rng.uniform((0.32, 0.18, 1.6), (0.48, 0.26, 2.4))
    bands = int(rng.integers(2, 6))
    edges = np.linspace(0, 1, bands + 1)
    radius = base + (top - base) * edges
    for i in range(bands):
        yield cylinder(radius[i], height / bands, (0, 0, height * edges[i]), top=radius[i + 1] / radius[i])
    lantern = rng.uniform(0.2, 0.32)
    yield cylinder(top * 1.5, 0.07, (0, 0, height))
    yield cylinder(top * 0.75, lantern, (0, 0, height), segments=10)
    if rng.random() < 0.5:
        yield cone(top, rng.uniform(0.2, 0.35), (0, 0, height + lantern))
    else:
        yield sphere((top * 0.9, top * 0.9, top * 0.8), (0, 0, height + lantern))
    if rng.random() < 0.4:  # the keeper's house
        yield from (move(part, (0.55, 0, 0)) for part in gabled(0.7, 0.5, 0.35, 0.2))


def windmill(rng: np.random.Generator) -> Iterator[Mesh]:
    base, top, height = rng.uniform((0.42, 0.24, 1.1), (0.58, 0.32, 1.6))
    cap = rng.uniform(0.3, 0.45)
    yield cylinder(base, height, top=top / base, segments=int(rng.choice([6, 8, 16])))
    yield revolve([(top * 1.15, 0), (top * 0.9, cap * 0.6), (0, cap)], (0, 0, height), segments=10)
    hub, x = height + cap * 0.35, top + 0.15
    yield tube([(0, 0, hub), (x + 0.1, 0, hub)], 0.06)
    blade, wide, start = rng.uniform(0.75, 1.1), rng.uniform(0.16, 0.26), rng.uniform(0, np.pi / 2)
    for angle in start + np.arange(4) * np.pi / 2:
        sail = box((0.04, wide, blade * 0.75), (0, wide * 0.3, blade * 0.25))
        stock = box((0.06, 0.06, blade))
        yield from (move(turn(part, "x", angle), (x, 0, hub)) for part in (sail, stock))
