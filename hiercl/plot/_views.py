"""Random views of items, as a training sees them."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders import modality_of
from hiercl.plot._canvas import (
    NORMAL,
    SMALL,
    check_item,
    class_name,
    draw_row,
    picture,
    readable,
    sheet,
    text_width,
    title_width,
    view_picture,
)
from hiercl.plot._colours import GREY, TEXT
from hiercl.runtime.arguments import checked
from hiercl.runtime.config import AtLeast, distribute
from hiercl.training import Run

SIZE, GAP = 0.85, 0.04  # of a picture and between two, in inches
HEADER = 0.9  # inches for the title, the note and the names of the columns


@checked
def views(
    dataset: HierarchicalDataset,
    items: Sequence[int] | None = None,
    count: Annotated[int, AtLeast(1)] = 6,
    seed: Annotated[int, AtLeast(0)] = 0,
    run: Run | None = None,
    **settings: Any,
) -> Figure:
    """Draws items, and beside each of them random views, as they enter the encoder.

    Two of these views are a positive pair. Views say what must not matter: whatever differs between them, the encoder
    learns to ignore.

    Args:
        dataset: data set of pictures or of point clouds.
        items: positions of the items; by default five of different classes, as far as there are so many.
        count: views of each item.
        seed: seed of the choice and of the views.
        run: a run, whose views are drawn: its settings, and its augmentation of your own if it has one.
        settings: settings of the views by name, as in :func:`hiercl.fit`: ``jitter_probability=0``, ``crop=16``. A run
            has its own.

    Returns:
        The figure.

    Raises:
        ValueError: a data set of vectors, an unknown setting, settings beside a run, a run of another kind of item, an
            item that does not exist, or no item.

    Example:
        >>> figure = hiercl.plot.views(train, grayscale=0.0)
        >>> figure = hiercl.plot.views(train, run=run)
    """
    modality = modality_of(dataset)
    if modality.name == "vectors":
        raise ValueError(
            "views of vectors are vectors, and have no picture: draw those of the data set they come from."
        )
    if run is not None and settings:
        raise ValueError(f"{', '.join(settings)}: a run has its own settings of views; leave out run=, or these.")
    if run is not None and run.recipe.modality is not modality:
        raise ValueError(f"the run was trained on {run.recipe.modality.name}, and {dataset.name!r} has other items.")
    (config,) = distribute(settings, modality.view_config)
    chosen = _of_different_classes(dataset, seed) if items is None else np.asarray(list(items), dtype=np.int64)
    if not len(chosen):
        raise ValueError("items is empty: give the position of at least one item.")
    for item in chosen:
        check_item(int(item), len(dataset))
    make = modality.views(config, {}) if run is None else run.recipe.make_views()
    batch = torch.from_numpy(np.stack([np.asarray(dataset.items[int(item)]) for item in chosen]))
    numbers = torch.Generator().manual_seed(seed)
    drawn = [make(batch, numbers) for _ in range(count)]

    names = [readable(class_name(dataset, item)) for item in chosen]
    label = max(map(text_width, names)) + 0.3
    title, size = f"{dataset.name}: {len(chosen)} items and random views of them", SIZE + GAP
    width = max(label + 0.2 + size * (1 + count) + 0.15, title_width(title))
    unit = "points" if modality.name == "points" else "pixels"
    note = f"Views of {drawn[0].shape[2]} {unit}{f', as {run.name} saw them' if run else ''}. Two are a positive pair."
    figure, axis = sheet(width, HEADER + size * len(chosen) + 0.06, title, note=note)
    for text, left in (("item", label), ("views", label + size + 0.15)):
        axis.text(left, HEADER - 0.12, text, size=SMALL, color=GREY)
    for row, (item, name) in enumerate(zip(chosen, names, strict=True)):
        top = HEADER + row * size
        axis.text(0.1, top + SIZE / 2, name, size=NORMAL, color=TEXT, va="center")
        draw_row(axis, [picture(dataset, item)], label, top, SIZE)
        draw_row(axis, [view_picture(dataset, column[row], item) for column in drawn], label + size + 0.15, top, SIZE)
    return figure


def _of_different_classes(dataset: HierarchicalDataset, seed: int, count: int = 5) -> np.ndarray:
    """Items of different classes, of different branches of the tree if there are enough."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    chosen: list[int] = []
    for level in range(dataset.hierarchy.levels):
        labels = dataset.labels_at(level)
        for item in order:
            if len(chosen) < count and int(item) not in chosen and labels[item] not in labels[chosen]:
                chosen.append(int(item))
    return np.array(chosen or order[:count].tolist())
