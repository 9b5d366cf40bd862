"""Errors that say what is wrong and what is known."""

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor

from hiercl.runtime.arrays import in_blocks
from hiercl.runtime.types import Float


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Makes the error for an unknown name. It lists the known names and proposes the closest one.

    Args:
        what: what the name is of, such as "method".
        name: the unknown name.
        known: the known names.

    Example:
        >>> unknown("method", "hcsk", ["hcsc", "moco"])
        ValueError("Unknown method 'hcsk'. Did you mean 'hcsc'? Known: hcsc, moco.")
    """
    known = sorted(known)
    plain = {one.lower(): one for one in known}
    close = difflib.get_close_matches(str(name).lower(), plain, n=1)
    hint = f" Did you mean {plain[close[0]]!r}?" if close else ""
    return ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(known)}.")


def check_finite(points: Float[Tensor, "points dim"]) -> None:
    """Checks that embeddings are finite.

    Args:
        points: embeddings, one a row.

    Raises:
        ValueError: another shape; a NaN or an infinity; the message names the first row.

    Example:
        >>> check_finite(torch.zeros(3, 2))
    """
    if points.ndim != 2:
        raise ValueError(f"embeddings are {list(points.shape)}: pass [items, dim], one row for each item.")
    bad = ~in_blocks(lambda part: torch.isfinite(part).all(dim=1), points)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{int(bad.sum())} of {len(points)} embeddings are not finite (the first is row {first}). The encoder has "
            "diverged: lower the learning rate, or look at the loss of the epochs before."
        )


def check_directions(points: Float[Tensor, "points dim"]) -> None:
    """Checks that embeddings have a direction: that they are finite, and none has length zero.

    Args:
        points: embeddings, one a row.

    Raises:
        ValueError: as for :func:`check_finite`; a row of zeros.

    Example:
        >>> check_directions(torch.ones(3, 2))
    """
    check_finite(points)
    nothing = ~in_blocks(lambda part: part.any(dim=1), points)
    if nothing.any():
        raise ValueError(
            f"{int(nothing.sum())} of {len(points)} embeddings have length zero, so they have no direction (the first "
            f"is row {int(nothing.nonzero()[0])}): the projection has collapsed, or a feature is missing."
        )
