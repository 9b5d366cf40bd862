"""Modality: one record for each kind of item. It holds the views, encoders and mixture that training needs.

A new kind of item is one new :class:`~hiercl.datasets.ItemForm` and one new record here; nothing else asks what the
items are, but for the table of drawings in ``hiercl/plot/_canvas.py``, which keeps matplotlib out of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hiercl.datasets import FORMS, HierarchicalDataset, ItemForm
from hiercl.encoders.base import Architecture, Encoder
from hiercl.encoders.images import IMAGE_ENCODERS, image_block
from hiercl.encoders.named import is_library_name
from hiercl.encoders.norms import NORMS
from hiercl.encoders.points import POINT_ENCODERS, point_block, warn_of_thin_views
from hiercl.encoders.vectors import VECTOR_ENCODERS, vector_block
from hiercl.runtime.config import Config
from hiercl.runtime.errors import unknown
from hiercl.views import (
    ImageViews,
    PointViewConfig,
    PointViews,
    VectorViewConfig,
    VectorViews,
    ViewConfig,
    Views,
    box_mix,
    linear_mix,
    plain_image_views,
    plain_point_views,
    plain_vector_views,
    plane_mix,
    resolve_vector_views,
)


@dataclass(frozen=True)
class Modality:
    """What training does differently for one kind of item.

    Attributes:
        form: what the items are.
        view_config: the settings of random views.
        views: makes views from their settings and from what was measured of the training set (``Recipe.input``): for
            vectors the mean and the deviation of every feature, for the others nothing.
        mix: a mixture of two items with the share of the first, as CsMl needs it.
        encoders: the encoders by name; each builds its stem, stages and widths, and says how it pools.
        default_encoder: the one that "auto" stands for.
        stage_block: a residual block from the map of one stage to the width of the next.
        check_views: warns when an encoder, trained on views of this size, meets items of that size.
        fine_tuning_views: the light views of a fine-tuning: from the size of the items and the options below to
            settings of views.
        fine_tuning_options: the options of a fine-tuning that these items have.
        head_lr: the default learning rate of the linear head in a fine-tuning.
        resolve_views: fills in the defaults of the settings of views that depend on the shape of the items.
        size_setting: the setting of views that says how large they are, in pixels or points; None if a view is always
            a whole item.
    """

    form: ItemForm
    view_config: type[Config]
    views: Callable[[Any, Mapping[str, Any]], Views]
    mix: Callable[..., tuple[Tensor, Tensor]]
    encoders: dict[str, Architecture]
    default_encoder: str
    stage_block: Callable[..., nn.Module]
    check_views: Callable[[nn.Module, int, int], None]
    fine_tuning_views: Callable[..., Config]
    fine_tuning_options: tuple[str, ...]
    head_lr: float
    resolve_views: Callable[[Any, tuple[int, ...]], Config] = lambda config, shape: config
    size_setting: str | None = None

    @property
    def name(self) -> str:
        """The name of the kind of item: "images", "points" or "vectors"."""
        return self.form.name


MODALITIES = {
    "images": Modality(
        form=FORMS["images"],
        view_config=ViewConfig,
        views=lambda config, input: ImageViews(config),
        mix=box_mix,
        encoders=IMAGE_ENCODERS,
        default_encoder="whitenet",
        stage_block=image_block,
        check_views=lambda encoder, view, item: None,
        fine_tuning_views=plain_image_views,
        fine_tuning_options=("crop", "crop_scale", "flip"),
        head_lr=0.2,
        size_setting="crop",
    ),
    "points": Modality(
        form=FORMS["points"],
        view_config=PointViewConfig,
        views=lambda config, input: PointViews(config),
        mix=plane_mix,
        encoders=POINT_ENCODERS,
        default_encoder="pointnet_vanilla",
        stage_block=point_block,
        check_views=warn_of_thin_views,
        fine_tuning_views=plain_point_views,
        fine_tuning_options=("points", "rotation"),
        head_lr=0.002,
        size_setting="points",
    ),
    "vectors": Modality(
        form=FORMS["vectors"],
        view_config=VectorViewConfig,
        views=VectorViews,
        mix=linear_mix,
        encoders=VECTOR_ENCODERS,
        default_encoder="mlp",
        stage_block=vector_block,
        check_views=lambda encoder, view, item: None,
        fine_tuning_views=plain_vector_views,
        fine_tuning_options=("noise", "drop"),
        head_lr=0.2,
        resolve_views=resolve_vector_views,
    ),
}
"""Every kind of item by its name."""


def modality_of(thing: HierarchicalDataset | Encoder) -> Modality:
    """Returns the record of a data set's or an encoder's kind of item.

    Example:
        >>> modality_of(train).default_encoder
        'whitenet'
    """
    return MODALITIES[thing.modality]


def encoder_names(modality: str | None = None) -> tuple[str, ...]:
    """Returns the names that :func:`make_encoder` knows.

    Args:
        modality: "images", "points" or "vectors"; by default the names for all kinds of items.

    Example:
        >>> encoder_names("images")
        ('convnet', 'whitenet', 'resnet18', 'resnet50', 'vit_tiny')
    """
    chosen = MODALITIES.values() if modality is None else [MODALITIES[modality]]
    return tuple(name for one in chosen for name in one.encoders)


def encoder_modality(name: str) -> Modality:
    """Returns the record of the kind of item that an encoder of this name takes; torchvision and timm take pictures.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> encoder_modality("dgcnn").name
        'points'
    """
    if is_library_name(name):
        return MODALITIES["images"]
    for modality in MODALITIES.values():
        if name in modality.encoders:
            return modality
    raise unknown("encoder", name, encoder_names())


def make_encoder(
    name: str,
    mean: Sequence[float] | Tensor,
    std: Sequence[float] | Tensor,
    channels: int = 3,
    norm: str = "batch",
    resize: int | None = None,
) -> Encoder:
    """Makes a new encoder, with weights from torch's global generator.

    Encoders of pictures with 16 pixels a side or more:

    * ``convnet``: a small network for CPUs (0.54 M parameters, width 256).
    * ``whitenet``: ``convnet`` with another first layer: learned mixtures of fixed filters that whiten patches of 2×2
      pixels. The filters are computed from the training pictures before training.
    * ``resnet18``, ``resnet50``: torchvision's networks with the 3×3 stem of stride 1 and without max-pooling, which
      32-pixel pictures need (11.2 M and 23.5 M parameters, width 512 and 2,048).
    * ``vit_tiny``: a vision transformer with patches of 4 pixels, four stages of two blocks, and the mean over all
      patches as its feature (1.6 M parameters, width 128). It takes pictures from 4 pixels on, of any size, and has
      layer norms.

    Encoders of point clouds. Each is the part before the fully connected layers of its classifier:

    * ``pointnet_vanilla``: PointNet (Qi et al., CVPR 2017) without T-Nets: the same layers for every point, then the
      maximum over all points (0.15 M parameters, width 1,024).
    * ``pointnet``: PointNet with both T-Nets (2.8 M parameters, width 1,024). The paper adds a term to its loss that
      draws the feature T-Net towards orthogonal matrices; ours has no such term and starts at the identity.
    * ``dgcnn``: DGCNN (Wang et al., TOG 2019). Every layer looks at the 20 nearest points in its own feature space
      (0.62 M parameters, width 2,048: maximum and mean, as in the official code). Train it on clouds as dense as those
      that it will see.
    * ``dgcnn_share``: the same, but the 20 points are spread over the nearest 20/128 of the cloud, so that they reach
      as far in clouds of any density: in 128 points they are the 20 nearest, in 1,024 every eighth of the 160 nearest,
      in 64 the 10 nearest. The weights are those of ``dgcnn``.

    Encoders of vectors:

    * ``mlp``: two stages of a linear layer, a norm and a ReLU (width 256; 0.39 M parameters for 512 features).
    * ``linear``: one linear layer (width 256).
    * ``identity``: the vectors themselves; only the heads of the method learn.

    Args:
        name: one of the names above.
        mean: mean of every channel of the training items, ``[channels]``: of pictures in [0, 1]; 0 for points.
        std: standard deviation of every channel, ``[channels]``; 1 for points; for vectors one number for all features.
        channels: channels of an item.
        norm: "batch"; "split", batch norm in 8 parts of a batch; or "group", where an item's feature does not depend
            on other items.
        resize: side in pixels that pictures are brought to; None leaves them as they are.

    Raises:
        ValueError: an unknown name or norm, or a mean or std without one entry a channel.

    Example:
        >>> make_encoder("convnet", mean=[0.507, 0.487, 0.441], std=[0.267, 0.256, 0.276]).width
        256
    """
    modality = encoder_modality(name)
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"mean and std need {channels} entries, one a channel; got {len(mean)} and {len(std)}")
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    architecture = modality.encoders[name]
    if norm in architecture.refused:
        raise ValueError(f"norm={norm!r} of {name}: {architecture.refused[norm]}.")
    stem, stages, widths = architecture.build(channels, NORMS[norm])
    encoder = Encoder(stem, stages, widths, mean, std, norm, modality.name, architecture.pooling, resize)
    encoder.origin = name
    return encoder


def stage_block(encoder: Encoder, stage: int) -> nn.Module:
    """Makes an untrained residual block from the map of an intermediate stage to the width of the next stage.

    Args:
        encoder: the encoder; for pictures the block has 3×3 convolutions and stride 2, for others it is 1×1.
        stage: number of the stage, from 0; not the last one.

    Example:
        >>> block = stage_block(run.encoder, 2)
        >>> block(run.encoder.stages(torch.rand(2, 3, 32, 32))[2]).shape[1]
        256
    """
    block = modality_of(encoder).stage_block
    return block(*encoder.stage_widths[stage : stage + 2], NORMS[encoder.norm])
