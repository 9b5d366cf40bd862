"""NumPy or torch: what works on plain numbers takes both, and here one becomes the other."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray | Tensor
"""An array of NumPy or a tensor, on any device."""


def as_tensor(values: Any, what: str = "features") -> Tensor:
    """Returns numbers as a float tensor without gradient: float64 stays, everything else becomes float32.

    Args:
        values: a tensor, which stays on its device, or what NumPy makes an array of.
        what: name of the values, for the message.

    Raises:
        ValueError: values that are no numbers.

    Example:
        >>> as_tensor(np.eye(2, dtype=np.float16)).dtype, as_tensor(np.eye(2)).dtype
        (torch.float32, torch.float64)
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{what} are {array.dtype} {list(array.shape)}: pass numbers.")
        dtype = np.float64 if array.dtype.kind == "f" and array.itemsize >= 8 else np.float32
        return torch.from_numpy(np.require(array, dtype, ["C", "W"]))
    if values.is_complex():
        raise ValueError(f"{what} are {values.dtype} {list(values.shape)}: pass real numbers.")
    return values.detach() if values.dtype == torch.float64 else values.detach().float()


def as_ids(values: Any) -> Tensor:
    """Returns whole numbers as an int64 tensor, which stays on its device.

    Args:
        values: labels or indices, of any integer type.

    Raises:
        ValueError: values that are no whole numbers.

    Example:
        >>> as_ids(np.array([2, 0], dtype=np.int16))
        tensor([2, 0])
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "iu":
            raise ValueError(f"labels are {array.dtype} {list(array.shape)}: pass whole numbers.")
        return torch.from_numpy(np.require(array, np.int64, ["C", "W"]))
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"labels are {values.dtype} {list(values.shape)}: pass whole numbers.")
    return values.long()


def check_labelled(labels: Array) -> None:
    """Raises ValueError for labels of −1, which mean that an item has no label.

    Example:
        >>> check_labelled(np.array([0, 2]))
    """
    missing = int((labels < 0).sum())
    if missing:
        raise ValueError(
            f"{missing} of {len(labels)} items have no label (−1): leave them out, as in features[labels >= 0]."
        )


def as_array(values: Any) -> np.ndarray:
    """Returns an array of NumPy: of a tensor on any device, with or without gradient, or of what NumPy knows.

    Example:
        >>> as_array(torch.tensor([1, 2], requires_grad=False))
        array([1, 2])
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # which NumPy does not have
        return values.numpy()
    return np.asarray(values)
