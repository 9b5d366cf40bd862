"""Projection heads: from features to the space of the loss."""

from torch import nn

__all__ = ["projection_head"]


def projection_head(kind: str, width: int, dim: int = 128, hidden: int | None = None) -> nn.Module:
    """The map from pooled features [batch, width] to the space of the loss [batch, dim]; the loss normalises.

    ``linear``: one Linear. ``mlp``: Linear(width, hidden)-ReLU-Linear(hidden, dim), `hidden` = `width` unless given,
    without batch norm, as in MoCo v2.

    Raises: ValueError for another kind.

    Example: ``projection_head("mlp", encoder.width)``
    """
    if kind == "linear":
        return nn.Linear(width, dim)
    if kind == "mlp":
        hidden = width if hidden is None else hidden
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
    raise ValueError(f"unknown projection head {kind!r}; known: linear, mlp")
