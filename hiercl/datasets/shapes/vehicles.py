"""Vehicles: on the road, in the air, on the water. They drive along +x.

Each function of a class yields the parts of one random solid.
"""

from collections.abc import Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes.solids import box, cylinder, extrude, loft, move, revolve, sphere, tube, turn


def wheels(radius: float, places: list[float], width: float) -> Iterator[Mesh]:
    """A pair of wheels at each x of ``places``, on the two sides of a body of this ``width``."""
    for x in places:
        for side in (-1, 1):
            axle = [(x, side * (width / 2 - 0.12), radius), (x, side * (width / 2 + 0.03), radius)]
            yield tube(axle, radius, 12)


def car(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, low, cabin = rng.uniform((1.9, 0.8, 0.3, 0.32), (2.4, 1.0, 0.42, 0.48))
    wheel = rng.uniform(0.2, 0.27)
    floor = wheel * 0.7
    share, shift = rng.uniform((0.45, -0.22), (0.65, 0.0))
    yield box((length, width, low), (0, 0, floor), top=(0.95, 0.94))
    yield box((length * share, width * 0.9, cabin), (shift * length * 0.5, 0, floor + low), top=(0.62, 0.82))
    yield from wheels(wheel, [-length * 0.31, length * 0.31], width)
    yield box((0.06, width * 0.95, 0.1), (length / 2, 0, floor))


def bus(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, height = rng.uniform((2.6, 0.8, 0.85), (3.6, 0.95, 1.15))
    wheel = rng.uniform(0.16, 0.22)
    yield box((length, width, height), (0, 0, wheel), top=(0.98, 0.95))
    count, sill = int(rng.integers(4, 8)), wheel + height * rng.uniform(0.45, 0.55)
    pitch = length * 0.88 / count
    for x in (np.arange(count) - (count - 1) / 2) * pitch:
        yield box((pitch * 0.75, width + 0.03, height * 0.3), (x, 0, sill))
    yield box((0.05, width * 0.85, height * 0.4), (length / 2, 0, sill - 0.05))
    yield from wheels(wheel, [-length * 0.3, length * 0.34], width)


def truck(rng: np.random.Generator) -> Iterator[Mesh]:
    cargo, width, height, cab = rng.uniform((1.5, 0.75, 0.85, 0.5), (2.3, 0.95, 1.15, 0.7))
    wheel, gap, tall = rng.uniform((0.18, 0.08, 0.7), (0.24, 0.2, 1.0))
    end = cargo + gap + cab
    yield box((end, width * 0.8, 0.12), (end / 2, 0, wheel))
    yield box((cab, width * 0.95, tall), (end - cab / 2, 0, wheel), top=(0.8, 0.95))
    yield box((0.06, width * 0.75, tall * 0.3), (end - 0.06, 0, wheel + tall * 0.55))
    style = rng.integers(3)
    if style == 0:
        yield box((cargo, width, height), (cargo / 2, 0, wheel + 0.12))
    elif style == 1:  # a tank
        middle = wheel + 0.12 + width / 2
        yield tube([(0, 0, middle), (cargo, 0, middle)], width / 2, 14)
    else:  # an open load bed
        yield box((cargo, width, 0.35), (cargo / 2, 0, wheel + 0.12), top=(1.05, 1.1))
        yield box((cargo * 0.8, width * 0.8, 0.2), (cargo / 2, 0, wheel + 0.47), top=(0.5, 0.3))
    yield from wheels(wheel, [cargo * 0.15, cargo * 0.42, end - cab * 0.5], width)


def fin(root: float, tip: float, span: float, sweep: float, thickness: float) -> Mesh:
    """An upright blade: ``root`` long at z = 0, ``tip`` long at z = ``span``, swept back along −x."""
    return extrude([(root / 2, 0), (tip / 2 - sweep, span), (-tip / 2 - sweep, span), (-root / 2, 0)], thickness)


def aeroplane(rng: np.random.Generator) -> Iterator[Mesh]:
    length, radius, span, chord = rng.uniform((2.0, 0.13, 0.9, 0.35), (2.7, 0.2, 1.35, 0.6))
    sweep, taper = rng.uniform((0.0, 0.3), (0.6, 0.8))
    profile = [(0, -0.5), (radius * 0.4, -0.46), (radius, -0.2), (radius, 0.32), (radius * 0.7, 0.44), (0, 0.5)]
    yield turn(revolve([(r, z * length) for r, z in profile], segments=12), "y", np.pi / 2)
    height, rise = rng.uniform(-0.5, 0.6) * radius, rng.uniform(-0.02, 0.12)
    for side in (-1, 1):
        wing = turn(fin(chord, chord * taper, span, sweep, 0.06), "x", side * (np.pi / 2 - rise))
        yield move(wing, (length * 0.06, 0, height))
        tail = turn(fin(chord * 0.55, chord * 0.35, span * 0.36, sweep * 0.4, 0.05), "x", side * np.pi / 2)
        yield move(tail, (-length * 0.43, 0, radius * 0.2))
        if rng.random() < 0.6:
            x, y = length * 0.08 - sweep * 0.35, side * span * 0.4
            yield tube([(x - 0.1, y, height - 0.1), (x + 0.3, y, height - 0.1)], 0.085)
    yield move(fin(chord * 0.6, chord * 0.35, rng.uniform(0.35, 0.55), 0.25, 0.05), (-length * 0.42, 0, 0))


def helicopter(rng: np.random.Generator) -> Iterator[Mesh]:
    body, fat, boom, rotor = rng.uniform((0.5, 0.3, 0.9, 0.9), (0.7, 0.42, 1.4, 1.3))
    yield sphere((body, fat, fat), (0, 0, 0))
    yield tube([(-body * 0.6, 0, fat * 0.3), (-body - boom, 0, fat * 0.5)], [0.14, 0.05])
    yield move(fin(0.25, 0.15, 0.35, 0.12, 0.05), (-body - boom + 0.05, 0, fat * 0.4))
    mast = fat + rng.uniform(0.12, 0.25)
    yield cylinder(0.06, mast, segments=8)
    yield sphere((0.12, 0.12, 0.06), (0, 0, mast), 8)
    blades, start = int(rng.choice([2, 3, 4])), rng.uniform(0, 2 * np.pi)
    for angle in start + np.arange(blades) * 2 * np.pi / blades:
        yield turn(box((rotor, 0.12, 0.035), (rotor / 2, 0, mast)), "z", angle)
    for side in (-1, 1):
        y, ground = side * fat * 0.8, -fat - 0.18
        yield tube([(-body * 0.8, y, ground), (body * 0.9, y, ground)], 0.035, 6)
        for x in (-body * 0.4, body * 0.4):
            yield tube([(x, y * 0.6, -fat * 0.6), (x, y, ground)], 0.03, 6)
    tail = np.array([-body - boom + 0.05, 0.08, fat * 0.55])
    spin = rng.uniform(0, np.pi)
    arm = 0.22 * np.array([np.cos(spin), 0, np.sin(spin)])
    yield tube([tail - arm, tail + arm], 0.035, 6)


def hull(length: float, width: float, depth: float, bow: float) -> Mesh:
    """A boat's hull with its deck at z = ``depth``; ``bow`` raises and sharpens its front."""
    x = np.array([-0.5, -0.3, 0.0, 0.25, 0.42, 0.5]) * length
    half = np.array([0.75, 0.95, 1.0, 0.8, 0.4, 0.04]) * width / 2
    rise = np.array([0.05, 0, 0, 0.1, 0.45, 1.0]) * bow
    section = np.array([(-1, 1), (-0.7, 0.3), (0, 0), (0.7, 0.3), (1, 1)])  # across, up: keel in the middle
    y = half[:, None] * section[:, 0]
    z = depth * section[:, 1] + rise[:, None] * np.where(section[:, 1] > 0.5, 0.6, 1.0)
    return loft(np.stack([np.broadcast_to(x[:, None], y.shape), y, z], axis=2))


def sailboat(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, depth, mast = rng.uniform((1.4, 0.4, 0.22, 1.5), (2.0, 0.6, 0.35, 2.2))
    x, boom = rng.uniform(0.0, 0.2), rng.uniform(0.6, 0.85) * length / 2
    yield hull(length, width, depth, rng.uniform(0.1, 0.25))
    yield cylinder(0.035, mast, (x, 0, depth), segments=6)
    foot, swing = depth + 0.15, rng.uniform(-0.6, 0.6)
    main = extrude([(-0.04, foot), (-0.04, foot + mast * 0.85), (-boom, foot + 0.04)], 0.04)
    yield move(turn(main, "z", swing), (x, 0, 0))
    if rng.random() < 0.75:
        reach = length * 0.46 - x
        jib = extrude([(0.05, foot + mast * 0.7), (reach, foot), (0.05 + reach * 0.1, foot)], 0.04)
        yield move(turn(jib, "z", swing * 0.3), (x, 0, 0))


def ship(rng: np.random.Generator) -> Iterator[Mesh]:
    length, width, depth = rng.uniform((2.6, 0.5, 0.4), (3.4, 0.75, 0.6))
    yield hull(length, width, depth, rng.uniform(0.1, 0.3))
    size, x, z = length * rng.uniform(0.25, 0.55), -length * rng.uniform(0.0, 0.2), depth
    for _ in range(int(rng.integers(1, 4))):
        tall = rng.uniform(0.15, 0.25)
        yield box((size, width * 0.75, tall), (x, 0, z))
        z, size = z + tall, size * rng.uniform(0.6, 0.85)
    funnels = int(rng.integers(1, 4))
    for i in range(funnels):
        at = x + size * 0.8 * ((i + 0.5) / funnels - 0.5)
        yield cylinder(rng.uniform(0.07, 0.11), rng.uniform(0.3, 0.5), (at, 0, z), top=0.9, segments=10)
    if rng.random() < 0.6:
        yield cylinder(0.03, rng.uniform(0.6, 0.9), (length * 0.3, 0, depth), segments=6)
