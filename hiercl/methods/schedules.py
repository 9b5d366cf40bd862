"""Schedules: shares of training, and the epochs that they come to."""

from __future__ import annotations

import math

from hiercl.methods.base import Setting


def check_share(name: str, share: float | None) -> None:
    """Raises ValueError for what is no share of training."""
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"{name}={share}: it is a share of training, between 0 and 1.")


def first_epoch(share: float, setting: Setting) -> int:
    """The first epoch after a share of training."""
    return math.ceil(share * setting.epochs - 1e-9)


def warm_up_epochs(share: float | None, setting: Setting) -> int:
    """Epochs without a tree. Default: a tenth of training if that is 5,000 steps or more (the encoder knows something
    by then), else a third."""
    if share is None:
        share = 0.1 if 0.1 * setting.epochs * setting.steps_per_epoch >= 5000 else 1 / 3
    return first_epoch(share, setting)
