"""Looks for texts in figures that overlap, and makes small things to draw."""

import numpy as np
import pandas as pd

import hiercl
from hiercl.datasets import cifar100
from hiercl.hierarchy.hierarchy import Hierarchy

HIERARCHY = Hierarchy.from_dict(
    {"animals": {"cats": ["lion", "tiger"], "dogs": ["wolf", "poodle"]}, "vehicles": {"road": ["car", "pickup_truck"]}},
    level_names=("kind", "group", "class"),
)


def little(labels, hierarchy=HIERARCHY, note=""):
    items = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 3), dtype=np.uint8)
    return hiercl.HierarchicalDataset(items, np.asarray(labels, dtype=np.int64), hierarchy, "little", note)


def hundred_classes():
    """Returns two tiny pictures of each of the hundred classes of CIFAR-100."""
    return little(np.repeat(np.arange(100), 2), cifar100.hierarchy())


def histories():
    rng = np.random.default_rng(0)
    rows = [
        {"variant": v, "seed": s, "epoch": e, "loss": rng.normal(), "knn class": rng.normal() if e % 2 else np.nan}
        for v in ("A", "B")
        for s in range(3)
        for e in range(4 if (v, s) != ("B", 2) else 2)
    ]
    return pd.DataFrame(rows)


def texts(figure) -> list[str]:
    """Returns all texts of a figure."""
    import matplotlib.text

    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]


def overlapping(figure) -> list[tuple[str, str]]:
    """Returns pairs of texts whose boxes overlap by more than a pixel, and texts that leave the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [
        t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and t.get_window_extent().width
    ]
    hidden = {id(label) for axis in figure.axes for label in hidden_labels(axis)}
    boxes = [(t.get_text(), t.get_window_extent().padded(-1)) for t in shown if id(t) not in hidden]
    page = figure.bbox
    found = [(text, "the edge") for text, b in boxes if b.x0 < page.x0 - 1 or b.x1 > page.x1 + 1 or b.y0 < page.y0 - 1]
    for i, (first, box) in enumerate(boxes):
        found += [(first, second) for second, other in boxes[i + 1 :] if box.overlaps(other)]
    return found


def hidden_labels(axis):
    """Yields the tick labels that are not drawn: those of hidden axes, of shared axes and beyond the limits."""
    for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        low, high = min(limits), max(limits)
        for tick in side.get_major_ticks():
            for label, on in (
                (tick.label1, tick._major_on if hasattr(tick, "_major_on") else True),
                (tick.label2, False),
            ):
                if not axis.axison or not on or not low <= tick.get_loc() <= high:
                    yield label
