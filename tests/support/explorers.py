"""Clicks on explorers, as a user makes them."""

from types import SimpleNamespace


def click(explorer, place):
    """Clicks on a bar of a tree, as plotly reports it. The bars are the nodes, level by level."""
    trace = explorer.figure.data[0]
    for callback in trace._click_callbacks:
        callback(trace, SimpleNamespace(point_inds=[place]), None)
