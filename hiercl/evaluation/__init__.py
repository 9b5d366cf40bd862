"""Evaluation: what a frozen encoder knows, what few labels bring, what masks separate."""

from hiercl.evaluation.feature_masks import NEIGHBOURS, FeatureMasks, feature_masks, mask_separation
from hiercl.evaluation.few_labels import few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig, fine_tune
from hiercl.evaluation.frozen import evaluate
from hiercl.evaluation.report import Report

__all__ = [
    "NEIGHBOURS",
    "FeatureMasks",
    "FineTuneConfig",
    "Report",
    "evaluate",
    "feature_masks",
    "few_labels",
    "fine_tune",
    "mask_separation",
]
