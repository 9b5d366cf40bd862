"""Encoders by name."""

from collections.abc import Sequence

from torch import Tensor, nn

from hiercl.encoders.base import Encoder
from hiercl.encoders.images import IMAGE_ENCODERS, image_block
from hiercl.encoders.norms import NORMS
from hiercl.encoders.points import POINT_ENCODERS, point_block


def encoder_names(kind: str | None = None) -> tuple[str, ...]:
    """The names that `make_encoder` knows; of encoders of "images" or of "points" alone, if that is said.

    Example: ``encoder_names("images")  # ("convnet", "resnet18", "resnet50")``
    """
    names = {"images": tuple(IMAGE_ENCODERS), "points": tuple(POINT_ENCODERS)}
    return names["images"] + names["points"] if kind is None else names[kind]


def encoder_kind(name: str) -> str:
    """Of which items an encoder is: "images" or "points".

    Raises: ValueError for an unknown name.
    """
    if name not in encoder_names():
        raise ValueError(f"unknown encoder {name!r}; known: {', '.join(encoder_names())}")
    return "points" if name in POINT_ENCODERS else "images"


def make_encoder(
    name: str,
    mean: Sequence[float] | Tensor,
    std: Sequence[float] | Tensor,
    channels: int = 3,
    norm: str = "batch",
) -> Encoder:
    """A freshly initialised encoder (from torch's global generator).

    Of pictures of 16 pixels a side or more:

    ``convnet``: small, for CPUs (0.54 M parameters, width 256). ``resnet18``, ``resnet50``: torchvision's, with the 3×3
    stem of stride 1 and no max-pool that CIFAR needs (11.2 M and 23.5 M parameters, width 512 and 2,048).

    Of point clouds:

    ``pointnet_vanilla``, ``pointnet``: PointNet (Qi et al., CVPR 2017), the same layers for every point and a maximum
    over all of them; the latter with both T-Nets (0.15 M and 2.8 M parameters, width 1,024). The feature T-Net is not
    drawn towards orthogonal matrices, as the paper has it by a term beside its loss; it starts at the identity.
    ``dgcnn``: DGCNN (Wang et al., TOG 2019), whose points see their 20 nearest ones in the feature space of every layer
    (0.62 M parameters, width 2,048: maximum and mean, as in its official code); train it on clouds as dense as those
    that it will see. Each is the part before the fully connected layers of its classifier.

    `mean` and `std` are those of the training items, a channel each: of pictures in units of [0, 1]; of clouds 0 and 1,
    unless coordinates are to be shifted and scaled. `norm` is ``batch``, ``split`` (batch norm in 8 parts of a batch)
    or ``group`` (group norm: an item's feature does not depend on others).

    Raises: ValueError for an unknown name or norm, or a mean or std that does not have one entry a channel.

    Example: ``make_encoder("convnet", mean=[0.507, 0.487, 0.441], std=[0.267, 0.256, 0.276])``
    """
    kind = encoder_kind(name)
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"mean and std need {channels} entries, one a channel; got {len(mean)} and {len(std)}")
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
    if norm == "split" and name == "pointnet":
        raise ValueError("norm='split' leaves T-Nets too few values a part, one a cloud: choose pointnet_vanilla.")
    build, pooling = POINT_ENCODERS[name] if kind == "points" else (IMAGE_ENCODERS[name], "mean")
    stem, stages, widths = build(channels, NORMS[norm])
    return Encoder(stem, stages, widths, mean, std, norm, kind, pooling)


def stage_block(encoder: Encoder, stage: int) -> nn.Module:
    """An untrained residual block from the map of an intermediate stage to the width of the next one.

    Of pictures: 3×3, with stride 2; of clouds: 1×1, so that it treats all points alike.

    Example: ``stage_block(encoder, 2)(encoder.stages(x)[2])``
    """
    block = {"images": image_block, "points": point_block}[encoder.kind]
    return block(*encoder.stage_widths[stage : stage + 2], NORMS[encoder.norm])
