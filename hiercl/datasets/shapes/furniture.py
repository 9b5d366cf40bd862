"""Furniture: seating, tables, lamps. The front looks along +x.

Each function of a class yields the parts of one random solid.
"""

from collections.abc import Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes.solids import box, cylinder, revolve, sphere, tube


def legs(rng: np.random.Generator, length: float, width: float, height: float, splay: float = 0.0) -> Iterator[Mesh]:
    """Four legs under a ``length`` × ``width`` top, square or round; ``splay`` moves their feet outwards."""
    thickness = rng.uniform(0.04, 0.07)
    x, y = length / 2 - thickness, width / 2 - thickness
    segments = int(rng.choice([4, 8]))
    for sx in (-1, 1):
        for sy in (-1, 1):
            yield tube([(sx * (x + splay), sy * (y + splay), 0), (sx * x, sy * y, height)], thickness, segments)


def backrest(rng: np.random.Generator, x: float, width: float, bottom: float, height: float) -> Iterator[Mesh]:
    """A closed panel, upright slats between two posts, or cross-bars."""
    style = rng.integers(3)
    if style == 0:
        yield box((0.07, width, height), (x, 0, bottom))
        return
    for sy in (-1, 1):
        yield box((0.08, 0.08, height), (x, sy * (width / 2 - 0.04), bottom))
    if style == 1:
        yield box((0.08, width, 0.14), (x, 0, bottom + height - 0.14))
        for y in np.linspace(-0.3, 0.3, 3) * width:
            yield box((0.05, 0.06, height), (x, y, bottom))
    else:
        for share in (0.55, 1.0):
            yield box((0.06, width, 0.16), (x, 0, bottom + share * height - 0.16))


def chair(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, height = rng.uniform((0.75, 0.75, 0.7), (1.0, 1.05, 1.0))
    yield box((length, width, rng.uniform(0.06, 0.16)), (0, 0, height))
    yield from legs(rng, length, width, height, splay=rng.uniform(0, 0.08))
    yield from backrest(rng, -length / 2 + 0.05, width, height, rng.uniform(0.75, 1.15))
    if rng.random() < 0.3:
        arm = height + rng.uniform(0.25, 0.4)
        for y in (-width / 2, width / 2):
            yield box((length, 0.09, 0.07), (0, y, arm))
            yield box((0.07, 0.07, arm), (length / 2 - 0.04, y, 0))


def stool(rng: np.random.Generator) -> Iterator[Mesh]:
    radius, height, splay = rng.uniform((0.33, 0.75, 0.02), (0.5, 1.35, 0.18))
    count, thick = int(rng.choice([3, 4])), rng.uniform(0.035, 0.06)
    angle = np.arange(count) * 2 * np.pi / count
    feet = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low, high = feet * (radius * 0.75 + splay), feet * radius * 0.75
    yield from (tube([(*a, 0), (*b, height)], thick) for a, b in zip(low, high, strict=True))
    if rng.random() < 0.7:
        yield cylinder(radius, rng.uniform(0.07, 0.2), (0, 0, height), top=rng.uniform(0.85, 1))
    else:
        yield box((2 * radius, 2 * radius, rng.uniform(0.07, 0.16)), (0, 0, height))
    if rng.random() < 0.7:  # a rung at a third of the height
        ring = low + (high - low) * 0.35
        for a, b in zip(ring, np.roll(ring, 1, axis=0), strict=True):
            yield tube([(*a, 0.35 * height), (*b, 0.35 * height)], 0.03, 6)


def bench(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, height = rng.uniform((0.55, 1.9, 0.5), (0.75, 2.8, 0.7))
    for x in np.array([-1, 0, 1]) * length / 3:
        yield box((length / 3 - 0.04, width, 0.08), (x, 0, height))
    for y in np.array([-0.42, 0.42]) * width:
        yield box((length, rng.uniform(0.07, 0.14), height), (0, y, 0), top=(0.8, 1))
    if rng.random() < 0.7:
        x, top = -length / 2, height + rng.uniform(0.5, 0.75)
        for y in np.array([-0.42, 0.42]) * width:
            yield tube([(x, y, height * 0.8), (x - 0.12, y, top)], 0.05, 4)
        for s in (0.5, 0.95):
            yield box((0.06, width, 0.16), (x - 0.12 * s, 0, height + s * (top - height) - 0.1))


def sofa(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, seat = rng.uniform((0.85, 1.5, 0.35), (1.05, 2.6, 0.5))
    arm, back, foot = rng.uniform((0.18, 0.45, 0.05), (0.32, 0.75, 0.15))
    yield box((length, width, seat - 0.1), (0, 0, foot))
    yield box((0.28, width, seat + back), (-length / 2 + 0.1, 0, foot), top=(0.7, 1))
    arm_height = seat + rng.uniform(0.15, 0.3)
    for y in np.array([-0.5, 0.5]) * (width + arm):
        yield box((length, arm, arm_height), (0, y, foot))
        if rng.random() < 0.5:
            yield tube([(-length / 2, y, foot + arm_height), (length / 2, y, foot + arm_height)], arm * 0.6)
    count = int(rng.integers(2, 4))
    for y in (np.arange(count) + 0.5) / count * width - width / 2:
        yield box((length - 0.25, width / count * 0.94, 0.17), (0.13, y, foot + seat - 0.1), top=(0.96, 0.96))
    yield from legs(rng, length, width, foot + 0.05)


def dining_table(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, height = rng.uniform((1.0, 1.4, 0.75), (1.3, 2.2, 1.05))
    yield box((length, width, rng.uniform(0.06, 0.12)), (0, 0, height))
    yield box((length * 0.85, width * 0.88, 0.1), (0, 0, height - 0.1))
    yield from legs(rng, length * 0.92, width * 0.94, height, splay=rng.uniform(0, 0.06))


def round_table(rng: np.random.Generator) -> Iterator[Mesh]:
    radius, height, column = rng.uniform((0.55, 0.75, 0.05), (0.95, 1.15, 0.11))
    yield cylinder(radius, rng.uniform(0.05, 0.12), (0, 0, height), segments=20)
    yield revolve([(column * 1.6, 0), (column, height * 0.3), (column, height * 0.8), (column * 2, height)])
    if rng.random() < 0.5:
        yield cylinder(radius * rng.uniform(0.45, 0.65), 0.07, top=0.85)
    else:
        reach = radius * rng.uniform(0.5, 0.75)
        for angle in np.arange(3) * 2 * np.pi / 3:
            yield tube([(0, 0, 0.3), (reach * np.cos(angle), reach * np.sin(angle), 0.04)], 0.05)


def desk(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, height = rng.uniform((0.75, 1.5, 0.75), (1.0, 2.1, 0.95))
    side = width * rng.uniform(0.24, 0.34) * rng.choice([-1, 1])
    y, drawers = np.sign(side) * (width - abs(side)) / 2, int(rng.integers(2, 5))
    yield box((length, width, 0.08), (0, 0, height))
    yield box((length * 0.9, abs(side), height), (0, y, 0))
    for i in range(drawers):
        low, tall = (i + 0.12) / drawers * height, 0.76 / drawers * height
        yield box((0.05, abs(side) * 0.86, tall), (length * 0.46, y, low))
        yield box((0.05, abs(side) * 0.3, 0.04), (length * 0.5, y, low + tall / 2))
    yield box((length * 0.9, 0.08, height), (0, -np.sign(side) * (width / 2 - 0.08), 0))
    if rng.random() < 0.6:
        yield box((0.05, width * 0.9, height * rng.uniform(0.4, 0.8)), (-length * 0.4, 0, height * 0.2))


def floor_lamp(rng: np.random.Generator) -> Iterator[Mesh]:
    height, shade, tall, top = rng.uniform((2.0, 0.3, 0.3, 0.5), (2.8, 0.5, 0.55, 0.95))
    yield cylinder(rng.uniform(0.25, 0.4), 0.08, top=0.8)
    if rng.random() < 0.7:
        yield cylinder(0.035, height, segments=8)
        yield cylinder(shade, tall, (0, 0, height - 0.2), top=top)
    else:  # an arc that holds the shade to the side
        reach = rng.uniform(0.3, 0.5)
        arc = [(reach * (1 - np.cos(t)), 0, height - 0.4 + 0.5 * np.sin(t)) for t in np.linspace(0, np.pi * 0.9, 8)]
        yield tube([(0, 0, 0), *arc], 0.035)
        yield cylinder(shade, tall * 0.7, (*arc[-1][:2], arc[-1][2] - 0.3), top=top)


def table_lamp(rng: np.random.Generator) -> Iterator[Mesh]:
    low, high = (0.18, 0.15, 0.5, 0.42, 0.4, 0.4), (0.3, 0.32, 0.9, 0.65, 0.7, 0.8)
    foot, belly, body, shade, tall, top = rng.uniform(low, high)
    neck = rng.uniform(0.06, 0.1)
    yield revolve(
        [(foot, 0), (foot, 0.06), (neck, 0.14), (belly, body * 0.45), (belly * 0.8, body * 0.7), (neck, body)]
    )
    yield cylinder(0.04, 0.3, (0, 0, body - 0.02), segments=8)
    yield cylinder(shade, tall, (0, 0, body + 0.08), top=top)


def desk_lamp(rng: np.random.Generator) -> Iterator[Mesh]:
    lower, upper = rng.uniform(0.7, 1.0, size=2)
    lean, bend, nod = rng.uniform((0.1, 0.5, 0.2), (0.6, 1.2, 0.9))
    elbow = np.array([-lower * np.sin(lean), 0, lower * np.cos(lean)])
    wrist = elbow + upper * np.array([np.sin(bend), 0, np.cos(bend)])
    beam = np.array([np.sin(nod), 0, -np.cos(nod)])
    size, length = rng.uniform(0.22, 0.34), rng.uniform(0.35, 0.5)
    yield cylinder(rng.uniform(0.28, 0.42), 0.09, top=0.85)
    yield sphere(0.07, elbow, 8)
    yield tube([(0, 0, 0), elbow], 0.045)
    yield tube([elbow, wrist], 0.045)
    yield tube([wrist - 0.1 * beam, wrist + 0.05 * beam, wrist + length * beam], [0.09, 0.12, size], 14)
