"""Clicks on explorers."""

from types import SimpleNamespace


def click(explorer, place):
    """As plotly reports a click on a bar: the nodes, level by level."""
    trace = explorer.figure.data[0]
    for callback in trace._click_callbacks:
        callback(trace, SimpleNamespace(point_inds=[place]), None)
