"""Views with an augmentation of one's own: any function from a batch of items to the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hiercl.datasets import ItemForm
from hiercl.runtime.identity import identity_hash
from hiercl.runtime.seeds import Draws

__all__ = ["Augmentation", "AugmentedViews", "one_by_one"]

Augment = Callable[[Tensor], Tensor]
FAR = (-1.0, 2.0)  # pictures in [0, 1] that leave this range were normalised, which is the encoder's task


@dataclass(frozen=True)
class Augmentation:
    """An augmentation of one's own, with what settings files say of it.

    Attributes:
        name: name of the function, or of the class of the object.
        code: hash of its code and of what it holds; None if it cannot be told from others of its name.
        function: the function; None for one that a settings file describes.

    Example:
        >>> Augmentation.of(torch.fliplr).name
        'fliplr'
    """

    name: str
    code: str | None
    function: Augment | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, given: Any) -> Augmentation:
        """Describes a function, or reads what :meth:`to_json` wrote."""
        if isinstance(given, Augmentation):
            return given
        if isinstance(given, Mapping):
            return cls(given["function"], given["code"])
        return cls(getattr(given, "__name__", type(given).__name__), identity_hash(given), given)

    def to_json(self) -> dict[str, str | None]:
        """Returns the description, as settings describe every function."""
        return {"function": self.name, "code": self.code}

    def __call__(self, batch: Tensor) -> Any:
        """Augments a batch.

        Raises:
            ValueError: only a description is here.
        """
        if self.function is None:
            raise ValueError(
                f"'augment' was your function {self.name!r}, and functions are not saved. Views need it: give it "
                "again, as load_run(path, augment=your_function)."
            )
        return self.function(batch)


@dataclass(frozen=True)
class one_by_one:
    """Makes an augmentation of batches from one of single items, so that every item has random numbers of its own.

    torchvision's transforms draw one set of random numbers for all pictures that they get at a time: they would cut a
    whole batch at one place.

    Args:
        function: from a picture ``[c, h, w]``, a cloud ``[3, p, 1]`` or a vector ``[d]`` to the same.

    Example:
        >>> from torchvision.transforms import v2
        >>> erase = hiercl.views.one_by_one(v2.RandomErasing(p=1.0))
        >>> erase(torch.rand(8, 3, 24, 24)).shape
        torch.Size([8, 3, 24, 24])
        >>> erased = hiercl.fit("simclr", train, epochs=1, augment=erase, progress=False)
    """

    function: Augment

    def __call__(self, batch: Tensor) -> Tensor:
        return torch.stack([self.function(item) for item in batch])


class AugmentedViews:
    """Random views with an augmentation of one's own before, after or instead of ours.

    torch's generators are seeded around every call from the generator of the views. So runs repeat, and a run that was
    stopped and resumed is like one that was not. Random numbers of NumPy and of Python's ``random`` are not controlled.

    Args:
        views: our views.
        augment: the augmentation.
        at: before: it gets whole items, and ours are drawn from what it returns; after: it gets our views; instead: it
            gets whole items, and what it returns is the view. Of a vector with several stored views it gets all of them
            before, and view 0 instead.
        form: what the items are.

    Example:
        >>> views = AugmentedViews(hiercl.views.ImageViews(), Augmentation.of(torch.fliplr), "after", train.form)
        >>> views(torch.tensor(train.items[:4]), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 24, 24])
    """

    def __init__(self, views: Any, augment: Augmentation, at: Literal["before", "after", "instead"], form: ItemForm):
        self.views, self.augment, self.at, self.form = views, augment, at, form

    @property
    def size(self) -> int:
        """Size of our views. Instead of ours there can be any, as large as the items."""
        return sys.maxsize if self.at == "instead" else self.views.size

    @torch.no_grad()
    def __call__(
        self,
        items: Tensor,
        generator: torch.Generator | Draws,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
    ) -> Tensor:
        """Draws one random view of every item; arguments and result are those of our views.

        Raises:
            ValueError: the augmentation returns another shape or type than it gets, numbers that are not finite, or
                pictures far outside of [0, 1]; or it is there instead of ours, which cut local crops.
        """
        draws = Draws.of(generator)
        with torch.autocast(items.device.type, enabled=False):
            if self.at == "after":
                return self._augmented(self.views(items, draws, size, scale), draws)
            if self.at == "before":
                flat = self.form.flat  # every stored view of a vector is augmented
                maps = self.form.to_map(items.flatten(0, 1)[:, None] if flat else items)
                augmented = self.form.from_map(self._augmented(maps.clone(), draws))
                return self.views(augmented.reshape(items.shape) if flat else augmented, draws, size, scale)
            if scale is not None:
                raise ValueError(
                    "augment_at='instead' leaves our views out, and they cut the local crops: choose "
                    "augment_at='after' or 'before', or local_crops=0."
                )
            return self._augmented(self.form.to_map(items).clone(), draws)

    def _augmented(self, maps: Tensor, draws: Draws) -> Tensor:
        """Calls the augmentation, with torch's random numbers seeded, and checks what it returns."""
        given = maps[..., 0, 0] if self.form.flat else maps
        high, low = (draws.common(2) * 2**24).long().tolist()  # a float32 below 1 has 24 random bits
        cuda = [given.device] if given.device.type == "cuda" else []
        with torch.random.fork_rng(cuda):
            torch.manual_seed((high << 24 | low) + draws.processes.rank)  # each process has other items
            try:
                found = self.augment(given)
            except Exception as error:
                error.add_note(f"This happened in augment, {self.augment.name!r}, for a batch {list(given.shape)}.")
                raise
        self._check(found, given)
        return found[..., None, None] if self.form.flat else found.contiguous(memory_format=torch.channels_last)

    def _check(self, found: Any, given: Tensor) -> None:
        """Raises ValueError for what no encoder could take."""
        what, shape = f"augment: {self.augment.name!r} returns", list(given.shape)
        if not isinstance(found, Tensor):
            raise ValueError(f"{what} a {type(found).__name__}: it must return a tensor like the one it gets, {shape}.")
        kept = given.ndim if self.at == "after" or self.form.flat else 2  # whole items may change their size
        if found.ndim != given.ndim or found.shape[:kept] != given.shape[:kept]:
            raise ValueError(f"{what} {list(found.shape)} for a batch {shape}: the shape must stay.")
        if found.dtype != given.dtype:
            raise ValueError(f"{what} {found.dtype}: it gets {given.dtype}, and must return that.")
        if found.device != given.device:
            raise ValueError(f"{what} a tensor on {found.device}: it gets one on {given.device}, and must stay there.")
        if not torch.isfinite(found).all():
            raise ValueError(f"{what} numbers that are not finite (NaN or infinity).")
        if self.form.name == "images" and not FAR[0] <= float(found.min()) <= float(found.max()) <= FAR[1]:
            raise ValueError(
                f"{what} pictures from {float(found.min()):.3g} to {float(found.max()):.3g}: they must stay in [0, 1]. "
                "Leave out a normalisation, which the encoder does by itself."
            )
