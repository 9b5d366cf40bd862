"""A folder of pictures of one's own, from the disk to a report: what happens when some of it is broken.

    .venv/bin/python benchmarks/own_folder.py

Writes the generated data set `shapes` as JPEG files into nested folders (three levels), cuts one file short, adds a
text file that calls itself a picture, and an empty class folder. Then it does what a user would do.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import tyro
from PIL import Image

import hiercl
from hiercl.datasets import HierarchicalDataset, UnreadablePictures

CLASSES = 30  # of the generated data set


@dataclass(frozen=True)
class OwnFolder:
    """What is written and trained."""

    pictures: int = 3000
    """Pictures to write, as many of each class."""
    method: str = "hcsc"
    """Method to train."""
    epochs: int = 8
    """Of the training."""
    size: int = 32
    """Side of the pictures, in pixels."""
    store: bool = True
    """Whether to keep the resized pictures in an array store; else they are decoded at every use."""


def write_pictures(dataset: HierarchicalDataset, folder: Path) -> None:
    """One JPEG an item, in folders that are the path of its class."""
    for number, (item, label) in enumerate(zip(dataset.items, dataset.labels, strict=True)):
        path = folder.joinpath(*dataset.hierarchy.path(label), f"{number:05d}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item).save(path, quality=92)


def damage(folder: Path) -> None:
    """One picture is cut short, one is none, and a class is empty."""
    first, second = sorted(folder.rglob("*.jpg"))[:2]
    first.write_bytes(first.read_bytes()[:-200])
    second.write_text("This is not a picture.")
    (second.parents[1] / "nothing in it").mkdir()


def main(settings: OwnFolder) -> hiercl.Report:
    train, _ = hiercl.load("shapes", root=None, per_class=settings.pictures // CLASSES, test_per_class=1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        write_pictures(train, folder)
        damage(folder)
        options = {"size": settings.size, "store": "auto" if settings.store else False, "root": place}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(f"\n>>> train, test = hiercl.load({folder.name!r})")
            try:
                hiercl.load(folder, **options)
            except UnreadablePictures as error:
                print(f"{type(error).__name__}: {error}".replace(place, "..."))
            print(f"\n>>> train, test = hiercl.load({folder.name!r}, skip_unreadable=True)")
            train, test = hiercl.load(folder, skip_unreadable=True, **options)
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            print(f"Warning: {message}".replace(place, "..."))
        print(f"train: {train}\ntest: {test}")
        print(f"\n>>> run = hiercl.fit({settings.method!r}, train, epochs={settings.epochs})")
        run = hiercl.fit(settings.method, train, epochs=settings.epochs, monitor_every=0)
        print(f"{run}\n\n>>> print(hiercl.evaluate(run, train, test))")
        report = hiercl.evaluate(run, train, test)
        print(report)
        return report


if __name__ == "__main__":
    main(tyro.cli(OwnFolder))
