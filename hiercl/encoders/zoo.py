"""Pretrained encoders that come with the package, with cards that say how they were trained."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hiercl.datasets import HierarchicalDataset, item_hashes
from hiercl.encoders.base import Encoder, projection_head
from hiercl.encoders.modalities import make_encoder
from hiercl.encoders.quantise import STORED_AS, dequantise, quantise
from hiercl.runtime.errors import unknown
from hiercl.runtime.files import read_json, reading, write_atomically
from hiercl.runtime.given import given_path
from hiercl.runtime.types import Float, Int, UInt64

WEIGHTS = Path(__file__).parent / "weights"
FORMAT = 2
REMEDY = "install hiercl again, or copy the file again from where it came"
CARD = {
    **{"sha256": str, "method": str, "encoder": dict, "head": dict},
    **{"views": dict | None, "numbers": dict | None, "data": str | None, "budget": str | None},
}


@dataclass(frozen=True, repr=False)
class Unfolding:
    """A 2-D map of the same test items after every epoch. Each map is drawn from the one before (AlignedUMAP).

    Beside them are centroids of the classes, at some epochs, so that one can draw a tree of the classes at each.

    Attributes:
        maps: positions, ``[epochs + 1, items, 2]``; the first map is that of the untrained encoder.
        labels: leaf labels of the items.
        hashes: hashes of the items, which :meth:`find` looks for in a data set.
        moments: epochs that have centroids, such as 0, 1, 5, 12 and 30; empty if none were kept, as for the maps of
            ``moco``, ``hcsc``, ``csml``, ``hce`` and ``hmce``.
        centroids: mean unit features of the test items of every leaf class, of length 1, at these epochs.

    Example:
        >>> unfolding = hiercl.pretrained("hcsc").unfolding()
        >>> unfolding.maps.shape
        (31, 1000, 2)
    """

    maps: Float[np.ndarray, "epochs items 2"]
    labels: Int[np.ndarray, " items"]
    hashes: UInt64[np.ndarray, " items"]
    moments: Int[np.ndarray, " moments"]
    centroids: Float[np.ndarray, "moments classes width"]

    def find(self, dataset: HierarchicalDataset) -> Int[np.ndarray, " items"]:
        """Finds the items in a data set.

        Args:
            dataset: the data set.

        Returns:
            The position of every item; −1 for an item that is not there.

        Example:
            >>> bool((hiercl.pretrained("hcsc").unfolding().find(test) == -1).all())  # CIFAR-100's items, not these
            True
        """
        places = {int(value): place for place, value in enumerate(item_hashes(dataset.items))}
        return np.array([places.get(int(value), -1) for value in self.hashes])

    def __repr__(self) -> str:
        epochs, items, _ = self.maps.shape
        return f"Unfolding({items} items, untrained and after {epochs - 1} epochs)"


@dataclass(frozen=True, repr=False)
class Pretrained:
    """A trained encoder and its card.

    Attributes:
        name: name of the method, or of data and method.
        encoder: items to features. :func:`hiercl.embed` and :func:`hiercl.evaluate` take this object.
        head: features to the space of the loss.
        card: method, data, budget, seed, numbers, commit.
        folder: where it was read.

    Example:
        >>> model = hiercl.pretrained("simclr")
        >>> model.encoder.width
        256
    """

    name: str
    encoder: Encoder
    head: nn.Module
    card: dict[str, Any]
    folder: Path

    def unfolding(self) -> Unfolding:
        """Returns the map of a thousand test items after every epoch of the training.

        Raises:
            ValueError: no maps were made of this model's training.
        """
        path = maps_path(self.folder, self.name)
        if not path.exists():
            known = [name for name in pretrained_names(self.folder) if maps_path(self.folder, name).exists()]
            raise ValueError(
                f"the pretrained {self.name!r} comes without maps of its epochs; with maps: "
                f"{', '.join(known) or 'none'}."
            )
        with np.load(path) as file:
            maps, labels = file["maps"].astype(np.float32), file["labels"].astype(np.int64)
            none = {"moments": np.zeros(0), "centroids": np.zeros((0, labels.max() + 1, self.encoder.width))}
            moments, centroids = (file.get(name, empty) for name, empty in none.items())  # files of before have neither
            return Unfolding(maps, labels, file["hashes"], moments.astype(np.int64), centroids.astype(np.float32))

    def __repr__(self) -> str:
        card, numbers = self.card, self.card["numbers"]
        found = ", ".join(
            f"{level}: linear {row['linear']:.1f}, kNN {row['knn']:.1f}" for level, row in numbers.items()
        )
        return f"Pretrained({self.name}, {card['encoder']['name']}, {card['data']}, {card['budget']}; {found} %)"


def pretrained(name: str, folder: str | Path | None = None) -> Pretrained:
    """Loads a small encoder that comes with the package.

    It was trained on the 50,000 training pictures of CIFAR-100 or, where its name begins with "modelnet10-" or
    "modelnet40-", on the training shapes of these. It lets notebooks show what a method learns without training it. It
    is no record: the card says how long it was trained and how well it does.

    Args:
        name: one that :func:`pretrained_names` lists.
        folder: where the models are; by default those of the package.

    Returns:
        Encoder, projection head and card, on the CPU, in eval mode. The weights are stored in 8 bits (:func:`quantise`)
        and used in float32; the card's numbers are those of the rounded weights.

    Raises:
        ValueError: an unknown name; weights with another checksum than the card's; a card of another version; or
            weights that do not fit the configuration on the card.

    Example:
        >>> features = hiercl.embed(hiercl.pretrained("hcsc"), test)
    """
    from safetensors.torch import load

    folder = WEIGHTS if folder is None else given_path(folder, "folder")
    if name not in pretrained_names(folder):
        raise unknown("pretrained model", name, pretrained_names(folder))
    place = folder / f"{name}.json"
    card = read_json(place, REMEDY)
    if card.get("format") != FORMAT:
        raise ValueError(
            f"the card of {name!r} has format {card.get('format')}, this version of hiercl reads {FORMAT}."
        )
    content = (folder / f"{name}.safetensors").read_bytes()
    card = read_json(place, REMEDY, CARD)
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != card["sha256"]:
        raise ValueError(
            f"the weights of {name!r} are not those of its card (sha256 {checksum[:12]}…, expected "
            f"{card['sha256'][:12]}…): the file is damaged or was changed. Install hiercl again."
        )
    with reading(place, REMEDY):
        state = dequantise(load(content))
        encoder, about = make_encoder(**card["encoder"]), card["head"]
        with torch.device("meta"):  # without memory, because a damaged card may have any size
            planned = projection_head(about["kind"], encoder.width, about["dim"])
        planned = nn.ModuleDict({"encoder": encoder, "head": planned}).state_dict()
        shapes, wanted = ({key: value.shape for key, value in part.items()} for part in (state, planned))
        if wrong := sorted(key for key in shapes | wanted if shapes.get(key) != wanted.get(key)):
            raise ValueError(
                f"the weights of {name!r} do not fit the configuration on its card, in {len(wrong)} tensors; the first "
                f"is {wrong[0]}."
            )
        head = projection_head(about["kind"], encoder.width, about["dim"])
        nn.ModuleDict({"encoder": encoder, "head": head}).load_state_dict(state)
    return Pretrained(name, encoder.eval(), head.eval(), card, folder)


def pretrained_names(folder: str | Path | None = None) -> tuple[str, ...]:
    """Returns the names that :func:`pretrained` knows.

    Args:
        folder: where the models are; by default those of the package.

    Example:
        >>> "hcsc" in hiercl.pretrained_names()
        True
    """
    return tuple(sorted(path.stem for path in Path(WEIGHTS if folder is None else folder).glob("*.safetensors")))


def maps_path(folder: Path, name: str) -> Path:
    """Returns where the maps of a model are, if it has any."""
    return folder / f"{name}-epochs.npz"


def make_model(card: dict[str, Any]) -> tuple[Encoder, nn.Module]:
    """Makes the untrained encoder and projection head of a card."""
    encoder = make_encoder(**card["encoder"])
    return encoder, projection_head(card["head"]["kind"], encoder.width, card["head"]["dim"])


def save_pretrained(encoder: Encoder, head: nn.Module, card: dict[str, Any], folder: Path = WEIGHTS) -> None:
    """Writes the weights in 8 bits and the card with the checksum, under the name on the card or that of its method.

    Other modules of a method (gates, masks, stage heads, queue, prototypes) are not kept.

    Args:
        encoder: the trained encoder.
        head: its projection head.
        card: what the card says.
        folder: where the files go.

    Raises:
        ValueError: a weight that is not finite.
    """
    from safetensors.torch import save

    content = save(quantise(nn.ModuleDict({"encoder": encoder, "head": head}).state_dict()))
    about = {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest(), "weights": STORED_AS}
    # First on the card, and in place of what an earlier card says of its file.
    text = json.dumps(about | card | about, indent=2, allow_nan=False)
    name = card.get("name", card["method"])
    write_atomically(folder / f"{name}.safetensors", content)
    write_atomically(folder / f"{name}.json", text + "\n")
