"""Weights in eight bits: symmetric int8, with one scale for every output channel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LARGEST = 127  # −128 has no opposite, and is not used
STORED_AS = "int8 per output channel, everything else float32"


def quantise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Stores every weight matrix and convolution of a model's state in eight bits.

    $$s_c = \frac{\max_i |w_{ci}|}{127}, \qquad q_{ci} = \operatorname{round}(w_{ci} / s_c), \qquad
    |w_{ci} - s_c q_{ci}| \le s_c / 2$$

    for output channel c: the symmetric quantiser per channel of Krishnamoorthi (2018, arXiv 1806.08342), with rounding
    to the nearest. Ours: a channel of zeros (or of numbers below float32's normal range) has the scale 1. Tensors with
    fewer than two axes (biases, norms and their statistics, mean and std of the pictures) are small and stay float32.

    Args:
        state: ``module.state_dict()``; the output channels are the first axis of a weight.

    Returns:
        Tensors on the CPU. A floating-point tensor with two axes or more becomes its q under its name, int8, and its
        scale under ``<name>.scale``, float32 ``[channels]``. Other floats are float32; integers stay as they are.

    Raises:
        ValueError: a number that is not finite.

    Example:
        >>> stored = quantise(run.encoder.state_dict())
        >>> run.encoder.load_state_dict(dequantise(stored))
        <All keys matched successfully>
    """
    stored = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        if value.is_floating_point():
            value = value.float()
            if not torch.isfinite(value).all():
                raise ValueError(f"{name} holds a number that is not finite: such a model cannot be kept in 8 bits.")
            if value.ndim > 1:
                scale = value.flatten(1).abs().amax(dim=1) / LARGEST
                scale = torch.where(scale < torch.finfo(torch.float32).tiny, 1.0, scale)
                stored[f"{name}.scale"] = scale
                value = (value / along(scale, value)).round().to(torch.int8)
        stored[name] = value
    return stored


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Returns the state that :func:`quantise` was given, with $\hat w_{ci} = s_c q_{ci}$ in float32.

    Args:
        stored: the result of :func:`quantise`.

    Raises:
        ValueError: int8 weights without one scale for each of their output channels.

    Example:
        >>> dequantise(quantise({"weight": torch.tensor([[1.27, -0.5]])}))["weight"]
        tensor([[ 1.2700, -0.5000]])
    """
    state, scales = {}, set()
    for name, value in stored.items():
        if value.dtype == torch.int8:
            scale = stored.get(f"{name}.scale")
            if scale is None or scale.shape != value.shape[:1]:
                raise ValueError(f"{name} is int8 and has no scale for each of its {len(value)} output channels.")
            scales.add(f"{name}.scale")
            value = value.float() * along(scale, value)
        state[name] = value
    return {name: value for name, value in state.items() if name not in scales}


def along(scale: Tensor, weight: Tensor) -> Tensor:
    """Returns one number for each output channel, in a shape that multiplies the weight."""
    return scale.reshape(-1, *[1] * (weight.ndim - 1))
