"""Training: what is trained, the loop, and the run that comes out."""

from hiercl.training.checkpoint import CHECKPOINT, HISTORY, write_atomically
from hiercl.training.history import summary
from hiercl.training.loop import TrainingDivergedError, fit
from hiercl.training.optimisation import FitConfig, resolve_defaults
from hiercl.training.recipe import Recipe, check_dataset, make_recipe, split_settings
from hiercl.training.runs import Run, load_run
from hiercl.training.start import pick_device

__all__ = [
    "CHECKPOINT",
    "HISTORY",
    "FitConfig",
    "Recipe",
    "Run",
    "TrainingDivergedError",
    "check_dataset",
    "fit",
    "load_run",
    "make_recipe",
    "pick_device",
    "resolve_defaults",
    "split_settings",
    "summary",
    "write_atomically",
]
