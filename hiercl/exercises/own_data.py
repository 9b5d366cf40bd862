"""Exercises of notebook 10: a hierarchy, views, rare classes."""

from __future__ import annotations

from typing import Any

from hiercl.exercises._exercise import Wrong, choice, exercise
from hiercl.hierarchy import Hierarchy


@exercise("10 hierarchy")
def hierarchy(answer: Any) -> None:
    """The hierarchy in which cat and dog are under pet, pet and wolf under animal, and car under vehicle."""
    if isinstance(answer, tuple):
        raise Wrong("from_labels and from_paths give two things: the hierarchy is the first.")
    if not isinstance(answer, Hierarchy):
        raise Wrong(f"a hiercl.Hierarchy is asked for, and this is a {type(answer).__name__}.")
    missing = {"cat", "dog", "wolf", "car"} - set(answer.leaf_names)
    if missing:
        raise Wrong(f"{', '.join(sorted(missing))}: no leaf of that name.")
    if extra := set(answer.leaf_names) - {"cat", "dog", "wolf", "car"}:
        raise Wrong(f"{', '.join(sorted(extra))}: a leaf that should not be there.")
    paths = {path[-1]: list(dict.fromkeys(path)) for path in map(answer.path, range(answer.n_leaves))}
    right = {"cat": ["animal", "pet", "cat"], "dog": ["animal", "pet", "dog"], "wolf": ["animal", "wolf"]}
    right |= {"car": ["vehicle", "car"]}
    for leaf, path in right.items():
        if paths[leaf] != path:
            raise Wrong(f"{leaf} has the path {' > '.join(paths[leaf])}: what lies above it?")


@exercise("10 views")
def views(answer: Any) -> None:
    """Which setting of the views turns some letters into others: crop, flip, jitter_probability or blur?"""
    hints = {
        "crop": "a part of a letter is a poorer letter; set to 0 there would be no picture.",
        "jitter_probability": "colour says nothing about which letter it is: changing it does no harm.",
        "blur": "a blurred letter is the same letter.",
    }
    choice(answer, "flip", hints)


@exercise("10 rare")
def rare(answer: Any) -> None:
    """Which column counts a rare class as much as a frequent one: linear, linear_balanced, flat or ami?"""
    hints = {
        "linear": "there every picture counts alike: the class of 900 is nine tenths of it.",
        "flat": "that reads the leaf's prediction at this level; every picture counts alike.",
        "ami": "that asks about clusters, not about recognising a class.",
    }
    choice(answer, "linear_balanced", hints)
