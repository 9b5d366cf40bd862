"""Evaluation: what a frozen encoder knows, what few labels bring, what masks separate."""

from hiercl.evaluation.comparison import Comparison
from hiercl.evaluation.few_labels import few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig, fine_tune
from hiercl.evaluation.frozen import evaluate
from hiercl.evaluation.report import Report

__all__ = [
    "Comparison",
    "FineTuneConfig",
    "Report",
    "evaluate",
    "few_labels",
    "fine_tune",
]
