"""Errors that say what is wrong and what is known."""

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor

from hiercl.runtime.types import Float


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """An error for a name that is not known, with the ones that are and the closest of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(known)}.")


def check_finite(points: Float[Tensor, "points dim"]) -> None:
    """Raises ValueError naming the first row with a NaN or an infinity."""
    bad = ~torch.isfinite(points).all(dim=1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{int(bad.sum())} of {len(points)} embeddings are not finite (the first is row {first}): the encoder has "
            "diverged; lower the learning rate or look at the loss of the epochs before."
        )
