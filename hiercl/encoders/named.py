"""Encoders of torchvision and timm by their names: ``"torchvision:resnet18"``, ``"timm:vit_tiny_patch16_224"``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from torch import nn

from hiercl.runtime.errors import unknown

HEADS = ("fc", "classifier", "head", "heads")  # what classifiers are called


def _torchvision(name: str, channels: int) -> nn.Module:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown("torchvision", name, known)
    return torchvision.models.get_model(name, weights=None)


def _timm(name: str, channels: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"encoder='timm:{name}' needs the package timm: pip install timm.") from error
    if not timm.is_model(name.partition(".")[0]):
        raise _unknown("timm", name, timm.list_models())
    return timm.create_model(name, pretrained=False, in_chans=channels)


def _unknown(library: str, name: str, known: Iterable[str]) -> ValueError:
    close = ", ".join(difflib.get_close_matches(name, [*known], n=5, cutoff=0.4))
    return ValueError(
        f"{library} has no network {name!r}.{f' Close to it are {close}.' if close else ''} {library}.list_models() "
        "lists all.".replace("torchvision.list", "torchvision.models.list")
    )


LIBRARIES: dict[str, Callable[[str, int], nn.Module]] = {"torchvision": _torchvision, "timm": _timm}
"""For each library, what makes an untrained network of a name for pictures of so many channels."""


def is_library_name(name: object) -> bool:
    """Returns whether this names a network of a library: "torchvision:resnet18".

    Raises:
        ValueError: a name with a colon, of another library.

    Example:
        >>> is_library_name("torchvision:resnet18"), is_library_name("convnet")
        (True, False)
    """
    if not isinstance(name, str) or ":" not in name:
        return False
    if name.partition(":")[0] not in LIBRARIES:
        raise unknown("library of encoders", name.partition(":")[0], LIBRARIES)
    return True


def library_network(name: str, channels: int) -> tuple[nn.Module, str]:
    """Makes an untrained network of torchvision or timm without its classifier.

    Args:
        name: such as "torchvision:resnet18".
        channels: channels of the pictures; only timm's networks take other numbers than 3.

    Returns:
        The network, and the name of the classifier that was left out.

    Raises:
        ValueError: the library does not know the name, or is not installed.

    Example:
        >>> net, left_out = library_network("torchvision:resnet18", 3)
        >>> left_out
        'fc'
    """
    library, _, network = name.partition(":")
    return without_classifier(LIBRARIES[library](network, channels))


def without_classifier(net: nn.Module) -> tuple[nn.Module, str]:
    """Takes the last layer of the classifier off a network of torchvision or timm. It changes the network.

    Args:
        net: any module; only those of these two libraries have a classifier that is known.

    Returns:
        The network, and the name of the layer; "" if nothing was taken off.

    Example:
        >>> from torchvision.models import mobilenet_v3_small
        >>> without_classifier(mobilenet_v3_small())[1]
        'classifier.3'
    """
    library, part = (*type(net).__module__.split("."), "")[:2]
    if library not in LIBRARIES or part != "models":
        return net, ""
    if getattr(net, "aux_logits", False):
        net.aux_logits = False  # pyright: ignore[reportArgumentType]
    for name in HEADS:
        head = getattr(net, name, None)
        if not isinstance(head, nn.Module):
            continue
        layers = [inner for inner, layer in head.named_modules(prefix=name) if isinstance(layer, nn.Linear | nn.Conv2d)]
        if not layers:
            continue
        if library == "timm":
            net.reset_classifier(0)  # pyright: ignore[reportCallIssue]
            return net, name
        net.set_submodule(layers[-1], nn.Identity())
        _drop_dropout(net.get_submodule(layers[-1].rpartition(".")[0]), layers[-1].rpartition(".")[2])
        return net, layers[-1]
    return net, ""


def _drop_dropout(parent: nn.Module, layer: str) -> None:
    """Takes off the dropout right before a layer of a chain: it belongs to the classifier."""
    names = [name for name, _ in parent.named_children()]
    before = names[names.index(layer) - 1] if names.index(layer) and isinstance(parent, nn.Sequential) else None
    if before is not None and isinstance(getattr(parent, before), nn.Dropout):
        setattr(parent, before, nn.Identity())
