"""Matching: which of some tensors are an encoder's, whatever stands before their names and whose names they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hiercl.encoders.adapter import AdaptedEncoder
from hiercl.encoders.base import Encoder
from hiercl.encoders.weights import State

LEAST_SHARE = 0.5  # of an encoder's tensors that must fit; what fits less is of another network
NORMALISATION = ("mean", "std")  # tensors of an encoder that are not learned
OWNERS = {"torchvision": "torchvision's", "timm": "timm's", "module": "its module's"}  # of names, in messages
SHOWN = 3  # names in a message


def layouts(encoder: Encoder) -> dict[str, dict[str, str]]:
    """Returns the names of an encoder's tensors in every layout that it could have, from the name there to its own.

    Args:
        encoder: the encoder.

    Returns:
        "hiercl", the encoder's own names. For an encoder around a module the names in that module: "torchvision",
        "timm" or "module". For other encoders "torchvision", the names of its ResNets (``conv1``, ``bn1``, ``layer1``
        and so on), which fit nothing if the encoder is none.

    Example:
        >>> layouts(run.encoder)["hiercl"]["mean"]
        'mean'
    """
    own = list(encoder.state_dict())
    found = {"hiercl": {name: name for name in own}}
    if isinstance(encoder, AdaptedEncoder):
        library = (encoder.origin or "").partition(":")[0]
        return found | {library or "module": {name.removeprefix("net."): name for name in own}}
    return found | {"torchvision": {torchvision_name(name): name for name in own}}


def torchvision_name(name: str) -> str:
    """Returns the name that a tensor of our ResNets has in torchvision's.

    Example:
        >>> torchvision_name("stem.0.weight"), torchvision_name("stage_modules.3.0.conv1.weight")
        ('conv1.weight', 'layer4.0.conv1.weight')
    """
    first, _, rest = name.partition(".")
    number, _, last = rest.partition(".")
    if first == "stem" and number in ("0", "1"):
        return f"{('conv1', 'bn1')[int(number)]}.{last}"
    return f"layer{int(number) + 1}.{last}" if first == "stage_modules" else name


@dataclass(frozen=True)
class Match:
    """Which tensors of some weights an encoder takes.

    Attributes:
        tensors: the tensors that fit, by the encoder's names.
        prefix: what stands before these names in the weights.
        layout: whose names they are there.
        unlike: the encoder's tensors that have another shape there, in words.
        missing: the encoder's tensors that the weights do not have.
        left: names of the weights that the encoder has no place for.
    """

    tensors: State
    prefix: str
    layout: str
    unlike: tuple[str, ...]
    missing: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        of = len(self.tensors) + len(self.unlike) + len(self.missing)
        parts = [f"{len(self.tensors)} of {of} tensors of the encoder"]
        parts += [f"under {self.prefix!r}"] if self.prefix else []
        parts += [] if self.layout == "hiercl" else [f"with {OWNERS[self.layout]} names"]
        lists = {"of another shape": self.unlike, "missing there": self.missing, "not used": self.left}
        return "; ".join([" ".join(parts), *(f"{what}: {listed(names)}" for what, names in lists.items() if names)])


def match(encoder: Encoder, state: State, name: str = "what was given") -> Match:
    """Finds an encoder's tensors among others by name and shape.

    Names may have a prefix (``module.``, ``backbone.``, ``encoder_q.``, ``state_dict.model.``), and those of ResNets
    may be torchvision's. The prefix and the layout with the most tensors that fit are taken; of equally many those of a
    teacher, then the first.

    Args:
        encoder: the encoder.
        state: tensors by name.
        name: what the message calls the weights.

    Raises:
        ValueError: less than half of the encoder's tensors fit.

    Example:
        >>> state = {f"module.encoder_q.{name}": value for name, value in run.encoder.state_dict().items()}
        >>> match(run.encoder, state).prefix
        'module.encoder_q.'
    """
    own = encoder.state_dict()
    counted = {name for name, value in own.items() if value.ndim and name not in NORMALISATION}
    fitting: Counter[tuple[str, str]] = Counter()
    for layout, names in layouts(encoder).items():
        for key, value in state.items():
            parts = key.split(".")
            for start in range(len(parts)):
                place = names.get(".".join(parts[start:]))
                if place in counted and own[place].shape == value.shape:
                    fitting[layout, "".join(f"{part}." for part in parts[:start])] += 1
    best = max(fitting, key=lambda one: (fitting[one], "teacher" in one[1]), default=("hiercl", ""))
    if fitting[best] < LEAST_SHARE * len(counted):
        here = listed([f"{key} {list(own[key].shape)}" for key in own if key in counted])
        there = listed([f"{key} {list(value.shape)}" for key, value in state.items()])
        raise ValueError(
            f"{name} does not fit this encoder: {fitting[best]} of its {len(counted)} tensors are there, with the same "
            f"names and shapes. The encoder has {here}. The weights have {there}. Choose the encoder= that they were "
            "made for."
        )
    layout, prefix = best
    places = {place: prefix + there for there, place in layouts(encoder)[layout].items()}
    for part in NORMALISATION:  # a file's metadata and weights of torchvision and timm have them without the prefix
        places[part] = places[part] if places[part] in state else part
    wanted = [place for place, key in places.items() if key in state or place in counted]
    found = {place: state[places[place]] for place in wanted if places[place] in state}
    unlike = [place for place, value in found.items() if value.shape != own[place].shape]
    return Match(
        {place: value for place, value in found.items() if place not in unlike},
        prefix,
        layout,
        tuple(f"{place} ({list(found[place].shape)} there, {list(own[place].shape)} here)" for place in unlike),
        tuple(place for place in wanted if place not in found),
        tuple(key for key in state if key not in {places[place] for place in found}),
    )


def listed(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
