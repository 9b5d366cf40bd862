"""Training: settings, checks, the loop, and the run that comes out."""

from hiercl.training.checkpoint import CHECKPOINT, HISTORY, write_atomically
from hiercl.training.history import summary
from hiercl.training.loop import TrainingDivergedError, check_dataset, check_names, fit, pick_device
from hiercl.training.optimisation import FitConfig, settled
from hiercl.training.runs import Run, load_run

__all__ = [
    "CHECKPOINT",
    "HISTORY",
    "FitConfig",
    "Run",
    "TrainingDivergedError",
    "check_dataset",
    "check_names",
    "fit",
    "load_run",
    "pick_device",
    "settled",
    "summary",
    "write_atomically",
]
