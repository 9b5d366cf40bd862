"""Encoders: pictures in [0, 1], or point clouds, to feature maps, stage by stage, and to one pooled vector."""

from hiercl.encoders.base import Encoder, Pool
from hiercl.encoders.embedding import HasEncoder, Model, embed, encoder_of, ready
from hiercl.encoders.heads import projection_head
from hiercl.encoders.norms import SPLITS, SplitBatchNorm2d
from hiercl.encoders.points import warn_of_thin_views
from hiercl.encoders.precision import half_precision_is_native
from hiercl.encoders.registry import encoder_kind, encoder_names, make_encoder, stage_block

__all__ = [
    "SPLITS",
    "Encoder",
    "HasEncoder",
    "Model",
    "Pool",
    "SplitBatchNorm2d",
    "embed",
    "encoder_kind",
    "encoder_names",
    "encoder_of",
    "half_precision_is_native",
    "make_encoder",
    "projection_head",
    "ready",
    "stage_block",
    "warn_of_thin_views",
]
