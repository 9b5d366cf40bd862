"""An encoder as a file for other programs: weights (.safetensors), or a whole program (.onnx, .pt2)."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiercl.encoders.adapter import AdaptedEncoder
from hiercl.encoders.base import Encoder
from hiercl.encoders.embedding import Model, encoder_of, ready
from hiercl.encoders.matching import NORMALISATION, layouts
from hiercl.runtime.errors import unknown
from hiercl.runtime.files import whole_file
from hiercl.runtime.given import given_path

EXAMPLES = 2  # items in the batch that a program is traced with; any other number works afterwards
SIZES = {"images": 32, "points": 1024, "vectors": 1}  # of the items of that batch


def export(
    model: Model, path: str | Path, layout: str | None = None, size: int | None = None, overwrite: bool = False
) -> Path:
    """Writes an encoder, without its projection head, to a file that other programs read.

    The ending of the path says what is written:

    * ``.safetensors``: the weights. Metadata say which encoder they are of, and mean and std of every channel. With
      ``layout="torchvision"`` the names are those of torchvision's ResNet, which has no normalisation inside: its input
      is ``(pictures - mean) / std``.
    * ``.onnx``: a program for ONNX Runtime and others, with one input ``items`` and one output ``features``.
    * ``.pt2``: a program of ``torch.export``, which ``torch.export.load(path).module()`` gives back.

    Programs normalise and pool themselves. They take float items as the encoder does, any number at a time: pictures in
    [0, 1] ``[batch, channels, height, width]``, clouds ``[batch, 3, points, 1]``, vectors ``[batch, features, 1, 1]``;
    and give ``[batch, width]``. Height, width and points may change too, if the encoder allows it.

    Args:
        model: a run, a pretrained model or an encoder.
        path: the file.
        layout: whose names the weights have: "hiercl" (the default) or, for ResNets, "torchvision".
        size: side of the pictures or number of points that a program is traced with; by default 32 or 1,024.
        overwrite: whether a file that exists is replaced.

    Returns:
        The path.

    Raises:
        ValueError: another ending, a layout that the encoder does not have, or an encoder that torch cannot trace.
        FileExistsError: the file exists, and ``overwrite`` is False.
        ImportError: a package for ONNX is missing.

    Example:
        >>> program = torch.export.load(export(run, "encoder.pt2")).module()
        >>> program(torch.rand(5, 3, 32, 32)).shape
        torch.Size([5, 256])
    """
    path = given_path(path, "path")
    if path.suffix not in WRITERS:
        raise ValueError(
            f"{path}: the ending says what is written, one of {', '.join(WRITERS)}; .pt2 is torch's program."
        )
    if layout is not None and path.suffix != ".safetensors":
        raise ValueError(f"layout={layout!r}: only weights (.safetensors) have a layout, a program has none.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass overwrite=True to replace it, or choose another path.")
    with whole_file(path) as new, ready(encoder_of(model), "cpu") as (encoder, _), torch.no_grad():
        WRITERS[path.suffix](encoder, new, layout or "hiercl", size or SIZES[encoder.modality])
    return path


# -- weights ----------------------------------------------------------------------------------------------------


def _write_weights(encoder: Encoder, path: Path, layout: str, size: int) -> None:
    from safetensors.torch import save_file

    state = in_layout(encoder, layout)
    about = {"format": "pt", "hiercl": metadata.version("hiercl"), "layout": layout, "modality": encoder.modality}
    about |= {name: json.dumps(getattr(encoder, name).tolist()) for name in NORMALISATION}
    save_file({name: value.contiguous().clone() for name, value in state.items()}, path, about)  # none share memory


def in_layout(encoder: Encoder, layout: str) -> dict[str, Tensor]:
    """Returns an encoder's tensors by their names in a layout.

    Args:
        encoder: the encoder.
        layout: "hiercl"; "torchvision" for a ResNet; "torchvision", "timm" or "module" for an encoder around a module:
            the names there, without mean, std and the classifier.

    Raises:
        ValueError: an unknown layout, or one that the encoder does not have.

    Example:
        >>> list(in_layout(run.encoder, "hiercl"))[:2]
        ['mean', 'std']
    """
    names, own = layouts(encoder), encoder.state_dict()
    if layout not in names:
        raise unknown("layout", layout, names)
    state = {there: own[place] for there, place in names[layout].items()}
    if layout == "hiercl":
        return state
    state = {name: value for name, value in state.items() if name not in NORMALISATION}
    if not isinstance(encoder, AdaptedEncoder) and not any(
        _shapes(state) == network for network in _resnets(len(encoder.mean))
    ):
        raise ValueError(
            f"layout={layout!r}: this encoder is none of torchvision's ResNets (resnet18 and resnet50 with batch norm "
            "are): leave out layout=, or write a program (.onnx, .pt2)."
        )
    return state


def _resnets(channels: int) -> list[dict[str, torch.Size]]:
    """Names and shapes of torchvision's ResNets for small pictures, without their classifier."""
    from torchvision import models

    found = []
    for make in (models.resnet18, models.resnet50):
        with torch.device("meta"):
            network = make()
            network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        found.append(
            {name: shape for name, shape in _shapes(network.state_dict()).items() if not name.startswith("fc.")}
        )
    return found


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


# -- programs ---------------------------------------------------------------------------------------------------


class _Program(nn.Module):
    """An encoder that passes all items at once; in parts, their number would be fixed."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, items: Tensor) -> Tensor:
        return self.encoder.feature(items)


def _trace(encoder: Encoder, size: int) -> torch.export.ExportedProgram:
    """The program of an encoder for any number of items, and for items of any size if the encoder allows it."""
    from torch.export import Dim

    sides = {"images": (size, size), "points": (size, 1), "vectors": (1, 1)}[encoder.modality]
    items = torch.rand(EXAMPLES, len(encoder.mean), *sides)
    changing = {0: Dim.DYNAMIC} | {axis: Dim.AUTO for axis, side in zip((2, 3), sides, strict=True) if side > 1}
    try:
        return torch.export.export(_Program(encoder), (items,), dynamic_shapes=(changing,))
    except Exception as error:  # torch has many kinds of errors for what it cannot trace
        raise ValueError(
            f"torch cannot make a program of this encoder for items {list(items.shape[1:])}. Give size= if its items "
            f"have another size, or write the weights alone (.safetensors). torch says: {error}"
        ) from error


def _write_program(encoder: Encoder, path: Path, layout: str, size: int) -> None:
    torch.export.save(_trace(encoder, size), path)


def _write_onnx(encoder: Encoder, path: Path, layout: str, size: int) -> None:
    for package in ("onnx", "onnxscript"):
        if not _installed(package):
            raise ImportError(f"writing .onnx needs the package {package}: pip install onnx onnxscript")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # of torch's exporter, for developers
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["items"], "output_names": ["features"]}
        torch.onnx.export(_trace(encoder, size), (), path, dynamo=True, external_data=False, optimize=False, **names)


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


WRITERS: dict[str, Callable[[Encoder, Path, str, int], None]] = {
    ".safetensors": _write_weights,
    ".onnx": _write_onnx,
    ".pt2": _write_program,
}
"""What writes a file with this ending."""
