"""AdaptedEncoder: a module of one's own, of torchvision or of timm, as an :class:`Encoder`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hiercl.encoders.base import Encoder, Pool, Pooling
from hiercl.runtime.types import Float

MOST_STAGES = 4  # of a transformer
MOST_PREFIX = 16  # tokens before those of the patches: class token, registers
CLOSE = 1e-4  # relative difference of a pooled map and a feature that are the same
ITEMS = 2  # that the dry pass sees
POOLED: tuple[Pooling, ...] = ("mean", "max")  # how a module may have made its vector of a map
LAYOUTS = {
    "images": {"[batch, channels, height, width]": lambda x: x},
    "points": {
        "[batch, 3, points, 1]": lambda x: x,
        "[batch, 3, points]": lambda x: x[..., 0],
        "[batch, points, 3]": lambda x: x[..., 0].mT,
    },
    "vectors": {"[batch, features]": lambda x: x.flatten(1), "[batch, features, 1, 1]": lambda x: x},
}
"""The shapes in which a module may take the items of each kind. They are tried in this order."""


@dataclass(frozen=True)
class Tap:
    """Where the map of a stage comes from.

    Attributes:
        layer: name of the layer that gives it; "" for the module itself.
        form: "map" ``[b, c, h, w]``, "channels last" ``[b, h, w, c]``, "tokens" ``[b, t, c]`` of patches,
            "list" ``[b, t, c]`` of anything else, or "vector" ``[b, c]``.
        prefix: tokens before those of the patches, which belong to no place.
    """

    layer: str
    form: str
    prefix: int = 0

    def map_of(self, value: Tensor, height: int, width: int) -> Float[Tensor, "batch channels rows columns"]:
        """Returns the output of the layer as a map.

        Args:
            value: the output.
            height: height of the items; patches have the same aspect.
            width: width of the items.
        """
        if self.form == "map":
            return value
        if self.form == "channels last":
            return value.permute(0, 3, 1, 2)
        if self.form == "vector":
            return value[:, :, None, None]
        patches = value[:, self.prefix :].mT
        grid = _grid(patches.shape[2], height, width) if self.form == "tokens" else None
        return patches.unflatten(2, grid or (-1, 1))


class AdaptedEncoder(Encoder):
    """An encoder around a module from items to features. One dry pass finds its width and its stages.

    The module may give a vector ``[b, d]``, a map ``[b, d, h, w]`` or tokens ``[b, t, d]``; maps and tokens are pooled
    by their mean. Stages are the last map at every size, or four evenly spaced blocks of a transformer. The dry pass
    changes nothing: not the module (it is in eval mode and no gradient is kept), and no random numbers.

    Args:
        net: the module.
        shape: of the map of one item: channels, height, width.
        mean: see :class:`Encoder`.
        std: see :class:`Encoder`.
        modality: the kind of items that the module takes.
        resize: see :class:`Encoder`.
        name: what messages call it; by default the name of its class.
        left_out: name of a classifier that was taken off, for the line :attr:`found`.

    Attributes:
        net: the module.
        taps: where the map of every stage comes from.
        order: names of the layers, by the end of their last call.
        places: rows and columns of every stage's map in the dry pass.

    Raises:
        ValueError: the module fails, or gives no features.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3))
        >>> AdaptedEncoder(net, (3, 32, 32), mean=[0.0] * 3, std=[1.0] * 3).found
        'torch Sequential: width 32, stages of 16, 32 channels at 15, 13 places a side'
    """

    def __init__(
        self,
        net: nn.Module,
        shape: tuple[int, int, int],
        mean: Sequence[float] | Tensor,
        std: Sequence[float] | Tensor,
        modality: str = "images",
        resize: int | None = None,
        name: str | None = None,
        left_out: str = "",
    ):
        self.about = name or name_of(net)
        if resize and modality == "images":
            shape = (shape[0], resize, resize)
        seen = _dry_pass(net, shape, modality, self.about)
        taps, pooling, maps = _find_stages(net, seen)
        super().__init__(
            nn.Identity(), [], [one.shape[1] for one in maps], mean, std, "batch", modality, pooling, resize
        )
        self.net, self.taps, self.layout, self.left_out = net, tuple(taps), seen.layout, left_out
        self.order, self.side = seen.order, shape[1]
        self.places = tuple((one.shape[2], one.shape[3]) for one in maps)
        self.to(seen.item.device)

    def _output(self, x: Tensor) -> Tensor:
        return _pick(self.net(LAYOUTS[self.modality][self.layout](x)), self.about)

    def feature(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        x = self.normalise(x)
        value = self._output(x)
        return self.pool(Tap("", _form(value)).map_of(value, *x.shape[2:]))

    def stages(self, x: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Returns the feature map of every stage. Hooks catch them; they are there for this call only."""
        x = self.normalise(x)
        caught: dict[str, Tensor] = {}
        layers = {tap.layer for tap in self.taps} - {""}
        with _hooks(self.net, layers, lambda name, value: caught.__setitem__(name, value)):
            caught[""] = self._output(x)
        return tuple(tap.map_of(caught[tap.layer], *x.shape[2:]) for tap in self.taps)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """Returns the layers that run before the last frozen stage ends, and parameters of the modules around them."""
        if self.frozen is True or not self.frozen or not self.taps[self.frozen - 1].layer:
            return list(self.children()) if self.frozen else []
        layers = dict(self.net.named_modules())
        before = self.order[: self.order.index(self.taps[self.frozen - 1].layer) + 1]
        found: list[nn.Module | nn.Parameter] = [layers[name] for name in before]
        for above in dict.fromkeys(name[:end] for name in before for end in _ends(name)):
            found += layers[above].parameters(recurse=False)
        return found

    def speed_up(self) -> None:
        self.net.compile()

    def check_size(self, size: int) -> None:
        if self.modality != "vectors" and not self.resize:
            width = size if self.modality == "images" else 1
            _dry_pass(self.net, (len(self.mean), size, width), self.modality, self.about, self.layout, self.side)

    @property
    def has_places(self) -> bool:
        return self.taps[-1].form != "vector"

    @property
    def found(self) -> str:
        """One line about what the dry pass found."""
        widths = ", ".join(map(str, self.stage_widths))
        sides = [f"{rows}" if rows == columns or columns == 1 else f"{rows}×{columns}" for rows, columns in self.places]
        text = f"{self.origin or self.about}: width {self.width}"
        if self.taps[-1].form == "vector" and len(self.taps) == 1:
            text += ", no stages but its output"
        else:
            unit = "places" if self.modality == "points" else "places a side"
            text += f", stages of {widths} channels at {', '.join(sides)} {unit}"
        if self.left_out:
            text += f"; classifier {self.left_out} left out"
        if self.resize:
            text += f"; pictures are resized to {self.resize} pixels"
        elif (
            self.modality == "images"
            and len(self.taps) > 1
            and self.taps[-1].form == "map"
            and self.places[-1] == (1, 1)
        ):
            text += "; its last map has one place at this size of the pictures: resize= makes them larger"
        return text


# -- the dry pass -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What the dry pass saw: the items, their layout, the output, and every output of a layer that may be a map."""

    item: Tensor
    layout: str
    output: Tensor
    layers: dict[str, Tensor]
    order: tuple[str, ...]  # of all layers, by the end of their last call


def name_of(net: nn.Module) -> str:
    """Returns what messages call a module: its class, after the package for one of torch, torchvision or timm.

    Example:
        >>> name_of(torch.nn.Flatten())
        'torch Flatten'
    """
    package = type(net).__module__.partition(".")[0]
    return f"{package} {type(net).__name__}" if package in ("torch", "torchvision", "timm") else type(net).__name__


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module in eval mode for the time of a ``with`` block; then every part is in the mode that it was in.

    Args:
        module: the module.

    Example:
        >>> part = torch.nn.Dropout()
        >>> with evaluating(part):
        ...     part.training
        False
        >>> part.training
        True
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _hooks(net: nn.Module, layers: set[str] | None, note) -> Iterator[None]:
    """Calls ``note(name, output)`` after every call of these layers, or of all, within the block."""

    def hook(name: str):
        return lambda module, inputs, output: note(name, output)

    chosen = [(name, part) for name, part in net.named_modules() if name and (layers is None or name in layers)]
    handles = [part.register_forward_hook(hook(name)) for name, part in chosen]
    compiled = net._compiled_call_impl is not None  # such code does not see hooks; its package is slow to import
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _dry_pass(
    net: nn.Module, shape: tuple[int, ...], modality: str, about: str, layout: str | None = None, side: int = 224
) -> _Seen:
    """Passes two random items in eval mode. The module, its mode and the random numbers stay as they are."""
    layouts = [layout] if layout else list(LAYOUTS[modality])
    error: Exception | None = None
    for chosen in layouts:
        try:
            return _checked(_pass(net, shape, modality, chosen, about), about)
        except _Unusable:
            raise
        except Exception as one:
            error = error or one
    tried = [ITEMS, *shape] if modality == "images" else f"{[ITEMS, *shape]} and as {', '.join(layouts[1:])}"
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise ValueError(
        f"{about} fails on a batch of {modality} of the shape {tried}: {first} "
        f"{_advice(net, shape, modality, about, side)}"
    ) from error


class _Unusable(ValueError):
    """The module runs, and its output is no feature."""


def _pass(net: nn.Module, shape: tuple[int, ...], modality: str, layout: str, about: str) -> _Seen:
    held = next((value for value in (*net.parameters(), *net.buffers()) if value.is_floating_point()), torch.zeros(()))
    item = torch.randn(ITEMS, *shape, generator=torch.Generator().manual_seed(0)).to(held.device)
    called: dict[str, Any] = {}

    def note(name: str, output: Any) -> None:
        called.pop(name, None)  # the last call counts
        called[name] = output

    with evaluating(net), torch.no_grad(), torch.random.fork_rng([item.device] if item.is_cuda else []):
        with _hooks(net, None, note):
            output = _pick(net(LAYOUTS[modality][layout](item)), about)
    layers = {
        name: value
        for name, value in called.items()
        if isinstance(value, Tensor) and value.ndim in (3, 4) and len(value) == ITEMS
    }
    return _Seen(item, layout, output, layers, tuple(called))


def _pick(output: Any, about: str) -> Tensor:
    """Returns the one tensor of an output; raises ValueError if it is not clear which one."""
    if isinstance(output, Tensor):
        return output
    parts = output if isinstance(output, Mapping) else getattr(output, "_asdict", lambda: None)()
    if parts is None and isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    tensors = {name: value for name, value in (parts or {}).items() if isinstance(value, Tensor)}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    found = ", ".join(f"{name!r} {list(value.shape)}" for name, value in tensors.items())
    raise _Unusable(
        f"{about} gives {f'several tensors, {found}' if found else f'a {type(output).__name__}'}: wrap it in a module "
        "whose forward returns one tensor, the features."
    )


def _checked(seen: _Seen, about: str) -> _Seen:
    """Raises ValueError for an output that is no feature."""
    output = seen.output
    if output.ndim not in (2, 3, 4) or len(output) != ITEMS or not output.is_floating_point():
        raise _Unusable(
            f"{about} gives {str(output.dtype).removeprefix('torch.')} {list(output.shape)} for a batch of {ITEMS}: it "
            "must give float vectors [batch, d], maps [batch, d, height, width] or tokens [batch, t, d]."
        )
    if not torch.isfinite(output).all():
        raise _Unusable(f"{about} gives numbers that are not finite: look at its weights and at mean= and std=.")
    if Tap("", _form(output)).map_of(output, 1, 1).shape[1] < 2:
        raise _Unusable(f"{about} gives one number for an item: an encoder gives at least two features.")
    return seen


def _advice(net: nn.Module, shape: tuple[int, ...], modality: str, about: str, side: int) -> str:
    """Tries what might be wrong, and says what helps."""

    def works(*other: int) -> bool:
        try:
            _pass(net, other, modality, next(iter(LAYOUTS[modality])), about)
        except Exception:
            return False
        return True

    channels, height, width = shape
    if modality == "images":
        known = getattr(net, "pretrained_cfg", None) or {}
        sizes = [known.get("input_size", shape)[-1], getattr(net, "image_size", side), side, 224, 32, 64, 28]
        for count in dict.fromkeys((channels, 3, 1)):
            for size in (None, *dict.fromkeys(size for size in sizes if isinstance(size, int))):
                if works(count, size or height, size or width):
                    ways = [] if size is None else [f"pictures of {size} pixels: give resize={size}"]
                    if count != channels:
                        how = "np.repeat(items, 3, axis=3)" if count == 3 else "items.mean(axis=3, keepdims=True)"
                        ways.append(f"{count} channel{'s' if count > 1 else ''}: make the pictures so, as with {how}")
                    return f"It takes {', and '.join(ways)}." if ways else ""
        return "Give a module that takes such a batch of pictures, or resize= if it needs another size."
    return f"Give a module that takes one of {', '.join(LAYOUTS[modality])}."


# -- stages -----------------------------------------------------------------------------------------------------


def _form(value: Tensor, item: Tensor | None = None) -> str:
    """Returns the form of an output, see :class:`Tap`. The aspect of the items tells maps from channels-last maps."""
    if value.ndim < 4:
        return {2: "vector", 3: "list"}[value.ndim]
    if item is None:
        return "map"
    height, width = item.shape[2:]

    def fits(rows: int, columns: int) -> bool:
        return rows <= height and columns <= width and abs(columns - width * rows / height) < 1

    _, first, second, third = value.shape
    return "map" if fits(second, third) else "channels last" if fits(first, second) else "other"


def _grid(count: int, height: int, width: int) -> tuple[int, int] | None:
    """Returns rows and columns of so many patches; None if they are no grid of the items' aspect."""
    rows = round(math.sqrt(count * height / width))
    return (
        (rows, count // rows) if rows and count % rows == 0 and abs(count // rows - width * rows / height) < 1 else None
    )


def _find_stages(net: nn.Module, seen: _Seen) -> tuple[list[Tap], Pooling, list[Tensor]]:
    """Returns where the stages come from, how the last map is pooled, and the maps that the dry pass gave."""
    size = (int(seen.item.shape[2]), int(seen.item.shape[3]))
    blocks = _blocks(net, seen)
    outside = {
        name: (value, _form(value, seen.item))
        for name, value in seen.layers.items()
        if not any(name.startswith(f"{block}.") for block in blocks)
    }
    taps = {name: Tap(name, form) for name, (_, form) in outside.items() if form in ("map", "channels last")}
    lists = {name: value for name, (value, form) in outside.items() if form == "list"}
    chain = [name for name in _longest_chain(net, blocks) if name in lists] if seen.item.shape[3] > 1 else []
    if chain:
        prefix = _prefix(lists[chain[0]].shape[1], [seen.layers[name] for name in taps], *size)
        same = [name for name, value in lists.items() if value.shape[1] == lists[chain[0]].shape[1]]
        taps |= {name: Tap(name, "tokens", prefix) for name in same if prefix is not None}
        chain = chain if prefix is not None else []
    found = {name: tap.map_of(seen.layers[name], *size) for name, tap in taps.items()}
    found = {name: one for name, one in found.items() if one.shape[1] > seen.item.shape[1]}  # no copies of the items

    last = Tap("", _form(seen.output))
    pooling: Pooling = "mean"
    last_map = last.map_of(seen.output, *size)
    if last.form == "vector":
        alike: list[tuple[int, str, Pooling]] = [
            (one[0, 0].numel(), name, how)
            for name, one in reversed(found.items())
            for how in POOLED
            if _close(Pool(how)(one), seen.output)
        ]
        if alike:  # the largest of them, and of these the last one
            _, best, pooling = max(alike, key=lambda one: one[0])
            last, last_map = taps[best], found[best]

    sides, least = {}, math.inf
    for name, one in found.items():
        places = one[0, 0].numel()
        if taps[name].form == "tokens" or not 1 < places <= least:  # one place: a gate; more than before: the way up
            continue
        side, least = (one.shape[2], one.shape[3]), places
        if side not in sides or name.count(".") <= sides[side].count("."):  # whole blocks, not parts of them
            sides.pop(side, None)
            sides[side] = name
    if len(sides) < 2 and chain:
        count = min(MOST_STAGES, len(chain))
        chosen = [chain[math.ceil((i + 1) * len(chain) / count) - 1] for i in range(count - 1)]
    else:
        chosen = [name for name in sides.values() if found[name][0, 0].numel() > last_map[0, 0].numel()]
    return [*(taps[name] for name in chosen), last], pooling, [*(found[name] for name in chosen), last_map]


def _blocks(net: nn.Module, seen: _Seen) -> list[str]:
    """Returns the layers of lists that have layers of their own and give no map: blocks of a transformer."""
    containers, found = (nn.Sequential, nn.ModuleList), []
    for name, value in seen.layers.items():
        layer, parent = net.get_submodule(name), net.get_submodule(name.rpartition(".")[0])
        if isinstance(parent, containers) and not isinstance(layer, containers) and any(True for _ in layer.children()):
            if _form(value, seen.item) != "map":
                found.append(name)
    return [name for name in found if not any(name.startswith(f"{block}.") for block in found)]


def _longest_chain(net: nn.Module, blocks: Sequence[str]) -> list[str]:
    """Returns the most blocks of one class in one list; none if there are not two."""
    chains: dict[tuple[str, type], list[str]] = {}
    for name in blocks:
        chains.setdefault((name.rpartition(".")[0], type(net.get_submodule(name))), []).append(name)
    longest = max(chains.values(), key=len, default=[])
    return longest if len(longest) > 1 else []


def _prefix(tokens: int, maps: Sequence[Tensor], height: int, width: int) -> int | None:
    """Returns how many tokens come before those of the patches; None if it cannot be told."""
    left = [tokens - one.shape[2] * one.shape[3] for one in maps]
    known = [prefix for prefix in left if 0 <= prefix <= MOST_PREFIX]
    possible = [prefix for prefix in range(min(tokens, MOST_PREFIX + 1)) if _grid(tokens - prefix, height, width)]
    return next(iter([*known, *possible]), None)


def _ends(name: str) -> list[int]:
    """Returns where the names of the modules around a layer end, from the whole module "" on."""
    return [0, *(place for place, letter in enumerate(name) if letter == ".")]


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b.float(), rtol=CLOSE, atol=CLOSE * float(b.abs().max())))
