"""Exercises of notebook 00: false negatives by chance, and what removing means."""

from __future__ import annotations

from typing import Any

from hiercl.exercises._exercise import Wrong, close, exercise, explain, number


@exercise("00 chance")
def chance(answer: Any) -> None:
    """A queue holds 3,600 random pictures of 12 groups of equal size. How many are false negatives of an anchor?"""
    found = number(answer)
    hints = {
        12: "that is the number of groups.",
        1 / 12: "that is the share; how many of 3,600 are these?",
        100 / 12: "that is the share in per cent; how many of 3,600 are these?",
        3300: "these are of other groups, and rightly pushed.",
        3600: "these are all that are pushed; which of them are of the anchor's own group?",
        0: "MoCo sees no labels: its own kind is in the queue as often as any other.",
    }
    explain(found, hints)
    if not close(found, 300):
        raise Wrong("which share of a random sample is of one of 12 equal groups?")


@exercise("00 removed")
def removed(answer: Any) -> None:
    """What does HCSC do with a candidate that selection has removed: "pulled", "pushed" or "neither"?"""
    if answer == "pushed":
        raise Wrong("pushing is what it is saved from.")
    if answer == "pulled":
        raise Wrong("HCSC is not sure enough for that: pulling asks for a positive, and a positive is another view.")
    if answer != "neither":
        raise Wrong('answer with one of the three words: "pulled", "pushed", "neither".')
