"""Training: what is trained, the loop, and the run that comes out."""

from hiercl.training.callbacks import CSVLog, EarlyStopping, TensorBoard
from hiercl.training.checkpoint import AGAIN, CHECKPOINT, HISTORY
from hiercl.training.history import summary
from hiercl.training.loop import TrainingDivergedError, fit
from hiercl.training.optimisation import FitConfig, resolve_defaults
from hiercl.training.own_class import description as class_description
from hiercl.training.recipe import MACHINE_SETTINGS, Recipe, check_dataset, make_recipe, split_settings
from hiercl.training.runs import CONFIG, Run, load_run, read_config
from hiercl.training.start import pick_device

__all__ = [
    "AGAIN",
    "CHECKPOINT",
    "CONFIG",
    "HISTORY",
    "MACHINE_SETTINGS",
    "CSVLog",
    "EarlyStopping",
    "FitConfig",
    "Recipe",
    "Run",
    "TensorBoard",
    "TrainingDivergedError",
    "check_dataset",
    "class_description",
    "fit",
    "load_run",
    "make_recipe",
    "pick_device",
    "read_config",
    "resolve_defaults",
    "split_settings",
    "summary",
]
