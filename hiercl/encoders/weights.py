"""Weights from anywhere: a run, a pretrained model, a file, a state dict. They are read, and named by a checksum."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiercl.encoders.base import Encoder
from hiercl.encoders.quantise import dequantise
from hiercl.encoders.zoo import pretrained, pretrained_names
from hiercl.runtime.archives import check_archive
from hiercl.runtime.errors import unknown
from hiercl.runtime.files import read_json
from hiercl.runtime.identity import tensors_hash

CHECKPOINT, CONFIG = "checkpoint.pt", "config.json"  # of a run's folder
TORCH_FILES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
DESCRIPTION = {"kind", "name", "sha256"}
State = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Where the first weights of a training come from. Settings files hold its kind, its name and its checksum.

    Attributes:
        kind: "run", "pretrained", "file", "state dict", "module", "torchvision" or "timm".
        name: name of the run's method, of the pretrained model, of the file or of the weights.
        sha256: SHA-256 of names, types, shapes and numbers of all tensors.
        read: reads the tensors; None for weights of a settings file, which only describes them.

    Example:
        >>> Weights.of(run).kind, Weights.of("simclr").name
        ('run', 'simclr')
    """

    kind: str
    name: str
    sha256: str
    read: Callable[[], State] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, given: Any, encoder: Any = None) -> Weights:
        """Finds out what was given.

        Args:
            given: a run, a pretrained model or its name, the folder of a run, a file (.safetensors; .pt, .pth, .ckpt or
                .bin), a state dict, a module, or what :meth:`to_json` wrote. For an encoder of torchvision or timm also
                the name of weights of theirs; "DEFAULT" names the best ones.
            encoder: setting of the encoder that they are for, as ``"torchvision:resnet18"``.

        Raises:
            ValueError: it is none of these, or it cannot be read.

        Example:
            >>> Weights.of(run.encoder.state_dict()).kind
            'state dict'
        """
        if isinstance(given, Weights):
            return given
        if isinstance(given, Mapping):
            if given.keys() == DESCRIPTION:
                return cls(**given)
            return cls._in_memory("state dict", "given", given)
        if isinstance(given, str | Path):
            return cls._named(given, encoder)
        model = getattr(given, "method", None)
        if isinstance(model, nn.Module):
            return cls._in_memory("run", given.name, model.state_dict())
        if isinstance(given, nn.Module):
            return cls._in_memory("module", type(given).__name__, given.state_dict())
        if isinstance(own := getattr(given, "encoder", None), Encoder):
            return cls._in_memory(
                "pretrained", given.name, {"encoder": own.state_dict(), "head": given.head.state_dict()}
            )
        raise ValueError(f"init={given!r}: {KNOWN}")

    @classmethod
    def _in_memory(cls, kind: str, name: str, given: Mapping[str, Any]) -> Weights:
        state = {key: value.cpu().clone() for key, value in flat(given)}  # later training must not change them
        return cls(kind, name, _checksum(state, name), lambda: state)

    @classmethod
    def _named(cls, given: str | Path, encoder: Any) -> Weights:
        path = Path(given).expanduser()
        path = path.parent if path.name == CHECKPOINT and (path.parent / CONFIG).exists() else path
        if path.is_dir():
            if not (path / CONFIG).exists() or not (path / CHECKPOINT).exists():
                raise ValueError(
                    f"init={str(given)!r}: a folder must be that of a run, with {CONFIG} and {CHECKPOINT}."
                )
            name = read_json(path / CONFIG, "give init= another run", {"method": str})["method"]
            return cls._from_file("run", name, path / CHECKPOINT)
        if path.is_file():
            return cls._from_file("file", path.name, path)
        encoder = encoder if isinstance(encoder, str) else getattr(encoder, "origin", None) or ""
        library, colon, network = encoder.partition(":")
        if given in pretrained_names():
            model = pretrained(str(given))
            return cls.of(model)
        if colon and library in LIBRARIES and not path.suffix and path.name == str(given):
            name, read = LIBRARIES[library](network, str(given))
            return cls(library, name, _library_checksum(library, network, str(given)), read)
        hint = f" With encoder={encoder!r} it can be 'DEFAULT'." if colon else ""
        raise ValueError(
            f"init={str(given)!r}: there is no such file or folder, and no pretrained model of this name "
            f"({', '.join(pretrained_names())}).{hint}"
        )

    @classmethod
    def _from_file(cls, kind: str, name: str, path: Path) -> Weights:
        path, about = path.resolve(), path.stat()
        return cls(kind, name, _file_checksum(path, about.st_mtime_ns, about.st_size), lambda: read_file(path))

    def tensors(self) -> State:
        """Reads the tensors, by name.

        Raises:
            ValueError: only the description is here, or a number is not finite.

        Example:
            >>> len(Weights.of(run.encoder).tensors()) == len(run.encoder.state_dict())
            True
        """
        if self.read is None:
            raise ValueError(f"the weights {self.name!r} are only described here: give init= again.")
        state = self.read()
        for name, value in state.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise ValueError(f"the weights {self.name!r} hold numbers that are not finite, in {name}.")
        return state

    def to_json(self) -> dict[str, str]:
        """Returns kind, name and checksum."""
        return {"kind": self.kind, "name": self.name, "sha256": self.sha256}

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


KNOWN = (
    "give a run, the folder of a run, the name of a pretrained model, a file (.safetensors or "
    f"{', '.join(TORCH_FILES[:-1])}), a state dict, or, with encoder='torchvision:NAME' or 'timm:NAME', 'DEFAULT'."
)


# -- reading ----------------------------------------------------------------------------------------------------


def read_file(path: Path) -> State:
    """Reads the tensors of a file, by name; of files within files (``{"state_dict": {...}}``) by names with dots.

    A .safetensors file may keep mean and std of its encoder in its metadata, as :meth:`hiercl.Run.export` writes them.
    Pickles are read with ``weights_only=True``, so a file cannot run code.

    Args:
        path: the file.

    Raises:
        ValueError: another kind of file, one that is damaged, or one that holds more than tensors and plain values.

    Example:
        >>> read_file(run.export("encoder.safetensors"))["mean"].shape
        torch.Size([3])
    """
    if path.suffix not in (".safetensors", *TORCH_FILES):
        raise ValueError(f"{path} is no file of weights that is known: {KNOWN}")
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except pickle.UnpicklingError as error:
        unclear = "" if "Unsupported global" in str(error) else "cannot be read: it is damaged, or it "
        raise ValueError(
            f"{path} {unclear}holds more than tensors, and reading that could run foreign code. Where it was made, "
            "write the tensors alone: torch.save(model.state_dict(), path), or safetensors.torch.save_file."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read: it is damaged, or no file of weights ({error}).") from error
    if path.name == CHECKPOINT and isinstance(content, Mapping):
        content = content.get("model", content)  # of a run's checkpoint, without the optimiser
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}, not tensors by name: save model.state_dict().")
    return dict(flat(content))


def _read_torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):  # of a changed bit torch says nothing
        check_archive(path.read_bytes())
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(error) from error
    if any(f"{name}.scale" in state for name in state):  # a model of the zoo
        state = dequantise(state)
    normalisation = {name: torch.tensor(json.loads(about[name])) for name in ("mean", "std") if name in about}
    return normalisation | state


def flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of nested mappings under its full name, without the marks of torch.compile.

    Args:
        content: tensors, mappings and anything else, by name.
        above: the name of the mapping, with a dot at its end.

    Example:
        >>> [name for name, _ in flat({"state_dict": {"module.conv.weight": torch.zeros(1)}, "epoch": 3})]
        ['state_dict.module.conv.weight']
    """
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield f"{above}{name}".replace("_orig_mod.", ""), value.detach()
        elif isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")


def _checksum(state: State, name: str) -> str:
    if not state:
        raise ValueError(f"the weights {name!r} hold no tensors: give model.state_dict(), or a file of it.")
    return tensors_hash(state)


@lru_cache(maxsize=256)
def _file_checksum(path: Path, changed: int, size: int) -> str:
    return _checksum(read_file(path), path.name)


# -- weights of torchvision and timm ----------------------------------------------------------------------------


@contextmanager
def _downloading(what: str) -> Iterator[None]:
    """Says what to do when weights cannot be downloaded. What the libraries raise then has many types."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(
            f"the weights {what} cannot be downloaded ({type(error).__name__}: {error!s:.200}). Without a network, "
            "download them elsewhere and give the file: init='weights.safetensors' (or .pt)."
        ) from error


def _torchvision(network: str, name: str) -> tuple[str, Callable[[], State]]:
    import torchvision

    kinds = torchvision.models.get_model_weights(network)
    if name not in kinds.__members__:
        raise unknown(f"weights of torchvision's {network}", name, kinds.__members__)
    chosen = kinds[name]

    def read() -> State:
        shown = chosen.transforms()
        normalisation = {"mean": torch.tensor(shown.mean), "std": torch.tensor(shown.std)}
        with _downloading(str(chosen)):
            return normalisation | dict(flat(chosen.get_state_dict(progress=True, check_hash=True)))

    return str(chosen), read


def _timm(network: str, name: str) -> tuple[str, Callable[[], State]]:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"weights of timm need the package timm: pip install timm ({error}).") from error

    full = network if name == "DEFAULT" else f"{network.partition('.')[0]}.{name}"
    if not timm.is_model_pretrained(full):
        known = timm.list_pretrained(f"{network.partition('.')[0]}.*")
        raise unknown(f"weights of timm's {network}", name, ["DEFAULT", *(tag.partition(".")[2] for tag in known)])

    def read() -> State:
        with _downloading(full):
            model = timm.create_model(full, pretrained=True)
        shown = timm.data.resolve_model_data_config(model)  # pyright: ignore[reportAttributeAccessIssue]
        normalisation = {part: torch.tensor(shown[part]) for part in ("mean", "std")}
        return normalisation | dict(flat(model.state_dict()))

    return full, read


LIBRARIES: dict[str, Callable[[str, str], tuple[str, Callable[[], State]]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}
"""For every library of encoders: from its network and the name of weights to their full name and what reads them."""


@lru_cache(maxsize=64)
def _library_checksum(library: str, network: str, name: str) -> str:
    full, read = LIBRARIES[library](network, name)
    return _checksum(read(), full)
