"""Animals: four-legged ones and birds, in varied poses. They look along +x.

Each function of a class yields the parts of one random solid.
"""

from collections.abc import Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes.solids import cone, move, sphere, tube, turn


def four_legs(rng: np.random.Generator, length: float, width: float, height: float, radius: float) -> Iterator[Mesh]:
    """Four legs in mid-step, from the belly at ``height`` to the ground."""
    for x in (-length / 2, length / 2):
        for y in (-width / 2, width / 2):
            step, knee = rng.uniform(-0.25, 0.25) * height, rng.uniform(0.0, 0.12) * height
            path = [(x, y, height), (x + step / 2 + knee, y, height / 2), (x + step, y, 0)]
            yield tube(path, [radius * 1.4, radius, radius * 0.9], 7)


def dog(rng: np.random.Generator) -> Iterator[Mesh]:
    length, fat, leg = rng.uniform((0.8, 0.18, 0.35), (1.2, 0.27, 0.6))
    back = leg + fat * 0.6
    spine = [(-length / 2, 0, back), (0, 0, back - 0.02), (length / 2, 0, back + 0.04)]
    yield tube(spine, [fat * 0.8, fat * 0.85, fat])
    yield from four_legs(rng, length * 0.85, fat * 1.2, back, rng.uniform(0.05, 0.075))
    neck = np.array([length / 2 + rng.uniform(0.1, 0.25), 0, back + rng.uniform(0.25, 0.4)])
    head = rng.uniform(0.16, 0.22)
    nod, muzzle = rng.uniform(-0.5, 0.2), rng.uniform(0.28, 0.42)
    nose = neck + muzzle * np.array([np.cos(nod), 0, np.sin(nod)])
    yield tube([(length / 2 - 0.05, 0, back), neck], [fat * 0.8, head * 0.75])
    yield sphere(head, neck, 10)
    yield tube([neck, nose], [head * 0.7, head * 0.4])
    for side in (-1, 1):
        ear = cone(0.07, rng.uniform(0.15, 0.25), segments=5)
        if rng.random() < 0.4:  # hanging
            ear = turn(ear, "x", -side * rng.uniform(1.8, 2.6))
        yield move(move(ear, neck), (-0.05, side * head * 0.65, head * 0.6))
    lift, tail = rng.uniform(-0.3, 1.2), rng.uniform(0.3, 0.5)
    tip = np.array([-length / 2 - tail * np.cos(lift), 0, back + tail * np.sin(lift)])
    yield tube([(-length / 2, 0, back + 0.05), tip], [0.06, 0.03], 6)


def giraffe(rng: np.random.Generator) -> Iterator[Mesh]:
    length, fat, leg, neck = rng.uniform((0.65, 0.19, 0.85, 0.95), (0.9, 0.26, 1.2, 1.4))
    back = leg + fat * 0.5
    slope = rng.uniform(0.05, 0.2)
    yield tube([(-length / 2, 0, back - slope / 2), (length / 2, 0, back + slope)], [fat * 0.8, fat])
    yield from four_legs(rng, length * 0.9, fat * 1.2, back, rng.uniform(0.04, 0.06))
    lean, bend = rng.uniform((0.15, -0.3), (0.75, 0.2))
    direction = np.array([np.sin(lean), 0, np.cos(lean)])
    shoulder = np.array([length / 2 - 0.05, 0, back + slope])
    head = shoulder + neck * direction
    middle = shoulder + neck * 0.5 * direction + (bend * 0.3, 0, 0)
    yield tube([shoulder, middle, head], [fat * 0.75, 0.09, 0.07])
    nod = rng.uniform(-0.7, 0.0)
    yield tube([head - (0.08, 0, 0), head + 0.32 * np.array([np.cos(nod), 0, np.sin(nod)])], [0.11, 0.06])
    for side in (-1, 1):
        yield move(tube([(0, 0, 0), (-0.04, side * 0.07, 0.2)], 0.025, 5), head)
    tail = (-length / 2 - 0.12, 0, back - rng.uniform(0.3, 0.5))
    yield tube([(-length / 2, 0, back), tail], 0.03, 5)


def duck(rng: np.random.Generator) -> Iterator[Mesh]:
    length, fat, neck = rng.uniform((0.5, 0.28, 0.25), (0.7, 0.4, 0.5))
    high = fat + rng.uniform(0.0, 0.15)
    yield sphere((length, fat, fat * 0.85), (0, 0, high))
    tail = length * rng.uniform(1.15, 1.35)
    yield tube([(-length * 0.6, 0, high + 0.05), (-tail, 0, high + rng.uniform(0.2, 0.35))], [fat * 0.6, 0.04])
    head = np.array([length * 0.75 + rng.uniform(0, 0.15), 0, high + fat * 0.6 + neck])
    size = rng.uniform(0.17, 0.23)
    yield tube([(length * 0.6, 0, high + fat * 0.1), head], [fat * 0.6, size * 0.65])
    yield sphere(size, head, 10)
    yield move(tube([(0, 0, 0), (size + rng.uniform(0.15, 0.28), 0, -0.05)], [size * 0.5, size * 0.35], 6), head)
    for side in (-1, 1):
        wing = turn(sphere((length * 0.6, 0.06, fat * 0.5), segments=8), "z", side * rng.uniform(0.0, 0.3))
        yield move(wing, (-length * 0.15, side * fat * 0.95, high + 0.05))


def penguin(rng: np.random.Generator) -> Iterator[Mesh]:
    height, fat, head = rng.uniform((0.6, 0.28, 0.19), (0.85, 0.42, 0.25))
    middle = height + 0.05
    top = np.array([rng.uniform(0.0, 0.08), 0, middle + height * 0.95])
    yield sphere((fat * 0.9, fat, height), (0, 0, middle))
    yield sphere(head, top, 10)
    look = rng.uniform(-0.8, 0.8)
    ahead = np.array([np.cos(look), np.sin(look), -0.1])
    yield tube([top + 0.5 * head * ahead, top + (head + rng.uniform(0.12, 0.25)) * ahead], [head * 0.45, 0.03], 6)
    for side in (-1, 1):
        arm = sphere((0.12, 0.05, height * 0.5), (0, 0, -height * 0.45), segments=8)
        yield move(turn(arm, "x", side * rng.uniform(0.1, 0.9)), (0, side * fat * 0.8, middle + height * 0.45))
        yield sphere((0.2, 0.11, 0.05), (fat * 0.45, side * fat * 0.5, 0.05), 8)
