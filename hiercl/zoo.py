"""The model zoo: small encoders trained on the whole of CIFAR-100, with their cards, and how their maps unfolded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hiercl.datasets.base import HierarchicalDataset
from hiercl.encoders import Encoder, make_encoder, projection_head
from hiercl.settings import unknown
from hiercl.types import Float, Int, UInt64

WEIGHTS = Path(__file__).parent / "weights"
FORMAT = 1


@dataclass(frozen=True, repr=False)
class Unfolding:
    """A 2-D map of the same test items after every epoch, each drawn from the one before (AlignedUMAP).

    Attributes:
        maps: positions, ``[epochs + 1, items, 2]``; the first is that of the untrained encoder.
        labels: leaf labels of the items.
        hashes: of the pictures, so that they can be found in a data set: :meth:`find`.
    """

    maps: Float[np.ndarray, "epochs items 2"]
    labels: Int[np.ndarray, " items"]
    hashes: UInt64[np.ndarray, " items"]

    def find(self, dataset: HierarchicalDataset) -> Int[np.ndarray, " items"]:
        """Where the items are in a data set; −1 for one that is not there.

        Example:
            >>> _, test = hiercl.load("cifar100")
            >>> pictures = test.take(hiercl.pretrained("hcsc").unfolding().find(test)).items
        """
        places = {int(value): place for place, value in enumerate(picture_hashes(dataset.items))}
        return np.array([places.get(int(value), -1) for value in self.hashes])

    def __repr__(self) -> str:
        epochs, items, _ = self.maps.shape
        return f"Unfolding({items} items, untrained and after {epochs - 1} epochs)"


@dataclass(frozen=True, repr=False)
class Pretrained:
    """A trained encoder and its card.

    Attributes:
        name: of the method.
        encoder: pictures in [0, 1] to features; :func:`hiercl.embed` and :func:`hiercl.evaluate` take this object.
        head: features to the space of the loss.
        card: method, data, budget, seed, numbers, commit.
    """

    name: str
    encoder: Encoder
    head: nn.Module
    card: dict[str, Any]

    def unfolding(self) -> Unfolding:
        """The map of a thousand test items after every epoch of the training."""
        with np.load(WEIGHTS / f"{self.name}-epochs.npz") as file:
            return Unfolding(file["maps"].astype(np.float32), file["labels"].astype(np.int64), file["hashes"])

    def __repr__(self) -> str:
        card, numbers = self.card, self.card["numbers"]
        found = ", ".join(
            f"{level}: linear {row['linear']:.1f}, kNN {row['knn']:.1f}" for level, row in numbers.items()
        )
        return f"Pretrained({self.name}, {card['encoder']['name']}, {card['data']}, {card['budget']}; {found} %)"


def pretrained(name: str) -> Pretrained:
    """A small encoder that comes with the package, trained on the 50,000 training pictures of CIFAR-100.

    It lets notebooks show what a method learns without training it. It is no record: the card says how long it was
    trained, and how well it does.

    Args:
        name: of a method that :func:`pretrained_names` lists.

    Returns:
        Encoder, projection head and card, on the CPU, in eval mode. The weights are kept in half precision and used in
        float32; the card's numbers are those of the rounded weights.

    Raises:
        ValueError: an unknown name; weights that are not those of the card (another checksum); a card of another
            version; or weights that do not fit the configuration on the card.

    Example:
        >>> model = hiercl.pretrained("hcsc")
        >>> features = hiercl.embed(model, test)
    """
    from safetensors.torch import load

    if name not in pretrained_names():
        raise unknown("pretrained model", name, pretrained_names())
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    if card.get("format") != FORMAT:
        raise ValueError(
            f"the card of {name!r} has format {card.get('format')}, this version of hiercl reads {FORMAT}."
        )
    content = (WEIGHTS / f"{name}.safetensors").read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != card["sha256"]:
        raise ValueError(
            f"the weights of {name!r} are not those of its card (sha256 {checksum[:12]}…, expected "
            f"{card['sha256'][:12]}…): the file is damaged or was changed. Install hiercl again."
        )
    encoder, head = make_model(card)
    model = nn.ModuleDict({"encoder": encoder, "head": head})
    state = {key: value.float() if value.is_floating_point() else value for key, value in load(content).items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights of {name!r} do not fit the configuration on its card: {error}") from error
    return Pretrained(name, encoder.eval(), head.eval(), card)


def pretrained_names() -> tuple[str, ...]:
    """The names that :func:`pretrained` knows."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.safetensors")))


def make_model(card: dict[str, Any]) -> tuple[Encoder, nn.Module]:
    """Encoder and projection head of a card, untrained."""
    encoder = make_encoder(**card["encoder"])
    return encoder, projection_head(card["head"]["kind"], encoder.width, card["head"]["dim"])


def save_pretrained(encoder: Encoder, head: nn.Module, card: dict[str, Any], folder: Path = WEIGHTS) -> None:
    """Writes the weights in half precision and the card, with the checksum."""
    from safetensors.torch import save

    state = nn.ModuleDict({"encoder": encoder, "head": head}).state_dict()
    half = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in state.items()}
    if not all(torch.isfinite(value).all() for value in half.values()):
        raise ValueError("a weight is too large for half precision.")
    content = save(half)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{card['method']}.safetensors").write_bytes(content)
    card = {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest(), **card}
    (folder / f"{card['method']}.json").write_text(json.dumps(card, indent=2) + "\n")


def picture_hashes(items: Any) -> UInt64[np.ndarray, " items"]:
    """Eight bytes of every picture's SHA-256."""
    digests = (hashlib.sha256(np.ascontiguousarray(picture).tobytes()).digest()[:8] for picture in items)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)
