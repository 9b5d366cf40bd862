"""Multi-crop: small views as further queries."""

from __future__ import annotations

from hiercl.methods.base import View

# Of HCSC's paper: 192, 160, 128 and 96 of 224 pixels; at 32 pixels 28, 24, 20 and 16, with the same scales.
LOCAL_CROPS = tuple(View(shrink=(k + 1) / 8, scale=(0.2 * k / 7, k / 7)) for k in (6, 5, 4, 3))


def check_local_crops(count: int) -> None:
    """Raises ValueError for more crops than there are."""
    if not 0 <= count <= len(LOCAL_CROPS):
        raise ValueError(f"local_crops={count}: 0 to {len(LOCAL_CROPS)}.")
