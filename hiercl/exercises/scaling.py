"""Exercises of notebook 11: memory, learning rates, clusters."""

from __future__ import annotations

from typing import Any

from hiercl.exercises._exercise import Wrong, close, exercise, explain, number


@exercise("11 memory")
def memory(answer: Any) -> None:
    """MiB of one float32 matrix of similarities for SimCLR at batch 4,096: both views are anchors and candidates."""
    found = number(answer)
    hints = {
        64: "each picture has two views.",
        128: "both views are anchors, and both are candidates.",
        2**28: "in MiB: 1 MiB is 2^20 bytes.",
        256 * 1.048576: "1 MiB is 2^20 bytes, not a million.",
        512: "a float32 has four bytes.",
    }
    explain(found, hints)
    if not close(found, 256):
        raise Wrong("how many rows, how many columns, how many bytes an entry?")


@exercise("11 rate")
def rate(answer: Any) -> None:
    """0.003 was right for a batch of 256. Which rate does the linear rule give for four GPUs with 256 each?"""
    found = number(answer)
    if close(found, 0.006):
        raise Wrong("that is the square-root rule; the linear one is asked for.")
    if close(found, 0.003 / 4):
        raise Wrong("a larger batch has a more certain gradient: are its steps longer or shorter?")
    if close(found, 0.003):
        raise Wrong("the batch of all four together is not 256.")
    if not close(found, 0.012):
        raise Wrong("by how much does the whole batch grow?")


@exercise("11 cluster")
def cluster(answer: Any) -> None:
    """60 runs of 10 minutes, 8 workers: how many minutes at least?"""
    found = number(answer)
    if found == 75:
        raise Wrong("a run is not shared by several workers: at the end some of them have nothing to do.")
    if found in (600, 480):
        raise Wrong("eight runs go at a time.")
    if found == 70:
        raise Wrong("seven rounds of eight are not all of them.")
    if found != 80:
        raise Wrong("how many rounds of eight does it take?")
