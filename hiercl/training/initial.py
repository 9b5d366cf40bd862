"""What a training starts from: the weights of another model, and the front of the encoder that stays as it is."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

from torch import Tensor

from hiercl.encoders import NORMALISATION, Encoder, Weights, match
from hiercl.methods import Method

LOG = logging.getLogger("hiercl")


def load_initial(model: Method, weights: Weights, normalisation: bool = True) -> str:
    """Puts the weights of ``fit(init=...)`` into a new model.

    The encoder takes what fits, with its mean and std. From a run or a pretrained model comes also the projection head,
    if it fits; from a run of the same method every part that learns and fits: momentum encoder, further heads, gates.
    Queues, prototypes, neighbours and masks belong to the items of the other training, and stay there.

    Args:
        model: the model; it changes.
        weights: the weights.
        normalisation: whether the encoder takes mean and std too.

    Returns:
        What was taken, what is missing and what is left over, in one line.

    Raises:
        ValueError: less than half of the encoder's tensors are there.

    Example:
        >>> from hiercl.encoders import Weights
        >>> model = hiercl.fit("moco", train, encoder="convnet", epochs=0, progress=False).method
        >>> load_initial(model, Weights.of("csml")).partition(";")[0]
        "pretrained 'csml': 32 of 32 tensors of the encoder under 'encoder.'"
    """
    state = weights.tensors()
    found = match(model.encoder, state, str(weights))
    kept = () if normalisation else NORMALISATION
    model.encoder.load_state_dict(_without(found.tensors, kept), strict=False)
    names = {child: name for name, child in model.named_children()}
    leaders = {names[follower]: leader for follower, leader in getattr(model, "followers", ())}
    own, also = model.state_dict(), {}
    for part, tensors in learned_parts(model).items():
        same_method = weights.kind == "run" and weights.name == model.name
        known = same_method or (part == "head" and weights.kind in ("run", "pretrained"))
        known &= not (part in leaders and bool(model.encoder.frozen))  # what is frozen must not follow anything later
        if known and all(name in state and state[name].shape == own[name].shape for name in tensors):
            also[part] = {name: state[name] for name in tensors}
    taken = {name: value for tensors in also.values() for name, value in tensors.items()}
    model.load_state_dict(_without(taken, kept), strict=False)
    for part, leader in leaders.items():
        if part not in also:
            model.get_submodule(part).load_state_dict(leader.state_dict())
    found = replace(found, left=tuple(name for name in found.left if name not in taken))
    return f"{weights}: {found}" + (f"; also taken: {', '.join(also)}" if also else "")


def _without(tensors: dict[str, Tensor], last_names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in last_names}


def learned_parts(model: Method) -> dict[str, list[str]]:
    """Returns the names of the tensors of every part of a model but the encoder that do not belong to items.

    These are all parameters, the statistics of normalisation layers, and everything inside encoders.

    Args:
        model: the model.

    Example:
        >>> list(learned_parts(run.method))
        ['head', 'key_encoder', 'key_head']
    """
    names = [name for name, _ in model.named_parameters()]
    for path, module in model.named_modules():
        if path and (isinstance(module, Encoder) or any(True for _ in module.parameters(recurse=False))):
            names += [f"{path}.{name}" for name, value in module.state_dict().items()]
    parts: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        part = name.partition(".")[0]
        if part != "encoder":
            parts.setdefault(part, []).append(name)
    return parts


def check_frozen(model: Method, random: bool) -> None:
    """Checks that something is left to learn, and warns of random weights that never change.

    Args:
        model: the model, whose encoder is frozen as the settings say.
        random: whether the weights of the encoder are random.

    Raises:
        ValueError: nothing learns.
    """
    frozen = model.encoder.frozen
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"freeze={frozen}: nothing of {model.name} is left to learn. Freeze fewer stages, or take a method with a "
            "projection head."
        )
    if random and frozen and not all(parameter.requires_grad for parameter in model.encoder.parameters()):
        warnings.warn(
            f"freeze={frozen} without init=: the frozen part of the encoder keeps random weights. Give init= a run, a "
            "file or the name of a pretrained model.",
            stacklevel=6,
        )
