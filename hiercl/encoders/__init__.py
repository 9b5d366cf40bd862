"""Encoders: items to feature maps, stage by stage, and to one pooled vector; what each kind of item needs."""

from hiercl.encoders.base import Encoder, Pool, half_precision_is_native, projection_head
from hiercl.encoders.embedding import HasEncoder, Model, embed, encoder_of, ready
from hiercl.encoders.modalities import (
    MODALITIES,
    Modality,
    encoder_modality,
    encoder_names,
    make_encoder,
    modality_of,
    stage_block,
)
from hiercl.encoders.norms import NORMS, SPLITS, SplitBatchNorm2d

__all__ = [
    "MODALITIES",
    "NORMS",
    "SPLITS",
    "Encoder",
    "HasEncoder",
    "Modality",
    "Model",
    "Pool",
    "SplitBatchNorm2d",
    "embed",
    "encoder_modality",
    "encoder_names",
    "encoder_of",
    "half_precision_is_native",
    "make_encoder",
    "modality_of",
    "projection_head",
    "ready",
    "stage_block",
]
