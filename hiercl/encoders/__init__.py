"""Encoders: items to feature maps, stage by stage, and to one pooled vector; what each kind of item needs."""

from hiercl.encoders.adapter import AdaptedEncoder
from hiercl.encoders.base import Encoder, Pool, half_precision_is_native, projection_head, sound_gradients
from hiercl.encoders.embedding import HasEncoder, Model, embed, encoder_of, ready
from hiercl.encoders.export import export
from hiercl.encoders.given import Given
from hiercl.encoders.matching import NORMALISATION, Match, match
from hiercl.encoders.modalities import (
    MODALITIES,
    Modality,
    encoder_modality,
    encoder_names,
    make_encoder,
    modality_of,
    stage_block,
)
from hiercl.encoders.named import is_library_name
from hiercl.encoders.norms import NORMS, SPLITS, SplitBatchNorm2d
from hiercl.encoders.own import as_encoder, make_any_encoder, map_shape
from hiercl.encoders.weights import Weights

__all__ = [
    "MODALITIES",
    "NORMALISATION",
    "NORMS",
    "SPLITS",
    "AdaptedEncoder",
    "Encoder",
    "Given",
    "HasEncoder",
    "Match",
    "Modality",
    "Model",
    "Pool",
    "SplitBatchNorm2d",
    "Weights",
    "as_encoder",
    "embed",
    "encoder_modality",
    "encoder_names",
    "encoder_of",
    "export",
    "half_precision_is_native",
    "is_library_name",
    "make_any_encoder",
    "make_encoder",
    "map_shape",
    "match",
    "modality_of",
    "projection_head",
    "ready",
    "sound_gradients",
    "stage_block",
]
