"""Studies: a question, its variants, seeds, and an answer with error bars."""

from hiercl.study.configurations import Configuration, DataConfig, EvaluateConfig
from hiercl.study.effects import Effect, bootstrap_interval, effect, t_interval
from hiercl.study.plan import Member, ready_names, recorded
from hiercl.study.study import Study
from hiercl.study.variants import variants

__all__ = [
    "Configuration",
    "DataConfig",
    "Effect",
    "EvaluateConfig",
    "Member",
    "Study",
    "bootstrap_interval",
    "effect",
    "ready_names",
    "recorded",
    "t_interval",
    "variants",
]
