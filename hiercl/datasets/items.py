"""What one kind of item is: how its arrays look, how an encoder takes them. One record for each kind."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hiercl.runtime.types import UInt64

MEASURED = 10_000  # pictures or vectors, at most, of which mean and standard deviation are measured
MOST_NUMBERS = 2**23  # of pictures whose mean is measured together: 64 MB
MOST_PIXELS = 2**21  # of pictures that are embedded together: a thousand of 45 pixels a side
LEAST_STD = 1e-6  # of a channel in [0, 1] that varies; below it are rounding errors
SAMPLED = 1_000  # clouds, at most, whose size is looked at
LEAST_REACH, MOST_REACH = 0.2, 2.0  # distance of the farthest point of a data set's clouds from the origin


@dataclass(frozen=True)
class ItemForm:
    """The form of one kind of item.

    Attributes:
        name: "images", "points" or "vectors"; data sets, encoders, files and messages use it.
        noun: what titles call the items.
        matches: whether an array ``[n, ...]`` holds such items.
        to_map: unaugmented items as the map that an encoder takes, ``[n, channels, height, width]``.
        from_map: items, as random views take them, of such maps; pictures are floats from 0 to 255.
        is_map: whether a map ``[n, channels, height, width]`` can be one of such items.
        map_form: what an encoder expects, for messages; ``{}`` stands for the number of channels.
        at_once: how many items of this shape ``[n, ...]`` are embedded at once.
        size: pixels of the shorter side, or points, of items of this shape.
        mean_std: what an encoder subtracts from every channel and divides it by, from the items of a training set and
            the name of the set.
        flat: whether a map has a single place, so that an augmentation of one's own gets ``[n, channels]``.
        units: what random views of the items are measured in, besides: for vectors the standard deviation of every
            feature of a training set; nothing for the others.
    """

    name: str
    noun: str
    matches: Callable[[Any], bool]
    to_map: Callable[[Tensor], Tensor]
    from_map: Callable[[Tensor], Tensor]
    is_map: Callable[[Tensor], bool]
    map_form: str
    at_once: Callable[[tuple[int, ...]], int]
    size: Callable[[tuple[int, ...]], int]
    mean_std: Callable[[Any, str], tuple[list[float], list[float]]]
    flat: bool = False
    units: Callable[[Any], dict[str, list[float]]] = lambda items: {}


def channel_mean_std(items: Any) -> tuple[np.ndarray, np.ndarray]:
    """Measures mean and standard deviation of every channel, of pixels in [0, 1].

    At most 10,000 pictures are read, spread evenly over the data set.

    Args:
        items: uint8 ``[n, height, width, channels]``.

    Returns:
        Mean and standard deviation, float64 ``[channels]`` each.

    Example:
        >>> mean, std = channel_mean_std(train.items)
    """
    count = min(len(items), MEASURED)
    chosen = np.arange(count) * len(items) // count
    total = np.zeros((2, items.shape[-1]))
    together = max(1, min(256, MOST_NUMBERS // items[0].size))  # 256, but for large pictures
    for start in range(0, count, together):
        pixels = items[chosen[start : start + together]].reshape(-1, items.shape[-1]) / 255.0
        total[0] += pixels.sum(axis=0)
        total[1] += np.square(pixels, out=pixels).sum(axis=0)
    mean, square = total / (count * np.prod(items.shape[1:3]))
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _mean_std_of_images(items: Any, name: str) -> tuple[list[float], list[float]]:
    mean, std = channel_mean_std(items)
    constant = std < LEAST_STD
    if constant.all():
        raise ValueError(f"all pictures of {name} have one colour: there is nothing to learn. Check how they are read.")
    if constant.any():
        channels = ", ".join(map(str, np.flatnonzero(constant)))
        warnings.warn(f"channel {channels} of {name} is constant: its standard deviation counts as 1.", stacklevel=4)
    return mean.tolist(), np.where(constant, 1.0, std).tolist()


def _mean_std_of_points(items: Any, name: str) -> tuple[list[float], list[float]]:
    """Coordinates stay as they are; clouds that are far from the unit sphere are an error."""
    sample = items[:: max(1, len(items) // SAMPLED)]
    reach = float(np.linalg.norm(sample, axis=2).max())
    if not LEAST_REACH <= reach <= MOST_REACH:
        raise ValueError(
            f"{name} has clouds that reach {reach:.3g} from the origin. Noise, shift and encoders are made for clouds "
            "in the unit sphere: bring each cloud there with hiercl.datasets.clouds.unit_sphere."
        )
    return [0.0] * 3, [1.0] * 3


def feature_mean_deviation(items: Any) -> tuple[np.ndarray, np.ndarray]:
    """Measures mean and standard deviation of every feature, of the unaugmented vectors.

    At most 10,000 vectors are read, spread evenly over the data set.

    Args:
        items: float32 ``[n, views, features]``; view 0 is the unaugmented one.

    Returns:
        Mean and standard deviation, float64 ``[features]`` each.

    Example:
        >>> mean, deviation = feature_mean_deviation(np.array([[[0, 1]], [[4, 1]]], dtype=np.float32))
        >>> mean.tolist(), deviation.tolist()
        ([2.0, 1.0], [2.0, 0.0])
    """
    count = min(len(items), MEASURED)
    vectors = items[np.arange(count) * len(items) // count, 0].astype(np.float64)
    return vectors.mean(axis=0), vectors.std(axis=0)


def _mean_std_of_vectors(items: Any, name: str) -> tuple[list[float], list[float]]:
    """One standard deviation for all features, the root of their mean variance: it keeps angles and distances."""
    mean, deviation = feature_mean_deviation(items)
    overall = float(np.sqrt((deviation**2).mean()))
    if not overall > 0:
        raise ValueError(f"all vectors of {name} are equal: there is nothing to learn. Check where they come from.")
    return _plain(mean), _plain(np.full(len(mean), overall))


def _plain(numbers: np.ndarray) -> list[float]:
    """Plain numbers with the digits that float32 has, so that files with them stay short."""
    return [float(f"{number:.8g}") for number in numbers]


IMAGES = ItemForm(
    name="images",
    noun="pictures",
    matches=lambda items: items.ndim == 4 and items.dtype == np.uint8 and items.shape[3] in (1, 3, 4),
    to_map=lambda items: items.permute(0, 3, 1, 2).float() / 255,
    from_map=lambda maps: 255 * maps.permute(0, 2, 3, 1),
    is_map=lambda maps: maps.shape[3] > 1,
    map_form="pictures in [0, 1], [batch, {}, height, width]",
    at_once=lambda shape: max(1, min(1000, MOST_PIXELS // (shape[1] * shape[2]))),
    size=lambda shape: min(shape[1:3]),
    mean_std=_mean_std_of_images,
)
POINTS = ItemForm(
    name="points",
    noun="point clouds",
    matches=lambda items: items.ndim == 3 and items.dtype == np.float32 and items.shape[2] == 3,
    to_map=lambda items: items.mT[..., None],
    from_map=lambda maps: maps[..., 0].mT,
    is_map=lambda maps: maps.shape[3] == 1,
    map_form="points, [batch, {}, p, 1]",
    at_once=lambda shape: max(1, 16_384 // shape[1]),
    size=lambda shape: shape[1],
    mean_std=_mean_std_of_points,
)
VECTORS = ItemForm(
    name="vectors",
    noun="vectors",
    matches=lambda items: items.ndim == 3 and items.dtype == np.float32,
    to_map=lambda items: items[:, 0, :, None, None],
    from_map=lambda maps: maps[:, None, :, 0, 0],
    flat=True,
    is_map=lambda maps: maps.shape[2:] == (1, 1),
    map_form="vectors, [batch, {}, 1, 1]",
    at_once=lambda shape: max(1, 2**22 // (shape[1] * shape[2])),
    size=lambda shape: shape[2],
    mean_std=_mean_std_of_vectors,
    units=lambda items: {"deviation": _plain(feature_mean_deviation(items)[1])},
)
FORMS = {form.name: form for form in (IMAGES, POINTS, VECTORS)}
"""Every kind of item by its name."""


def form_of(items: Any) -> ItemForm:
    """Returns the form of an array of items. Vectors look like point clouds, so a data set of vectors says so itself.

    Args:
        items: uint8 ``[n, h, w, c]``, float32 ``[n, p, 3]``, or picture files.

    Raises:
        ValueError: items of no known form.

    Example:
        >>> form_of(train.items).name
        'images'
    """
    for form in (IMAGES, POINTS):
        if form.matches(items):
            return form
    raise ValueError(
        f"items must be images, uint8 [n, h, w, c], or points, float32 [n, p, 3]; got {items.dtype} "
        f"{list(items.shape)}. For vectors use HierarchicalDataset.from_features(X, labels, hierarchy)."
    )


def item_hashes(items: Any) -> UInt64[np.ndarray, " items"]:
    """Returns eight bytes of every item's SHA-256.

    Example:
        >>> item_hashes(train.items[:2]).shape
        (2,)
    """
    digests = (hashlib.sha256(np.ascontiguousarray(item).tobytes()).digest()[:8] for item in items)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)
