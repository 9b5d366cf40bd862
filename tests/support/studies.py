"""Small studies."""

from hiercl.study import Study

BASE = {"method": "moco", "queue": 40, "epochs": 1, "batch": 32, "crop": 12, "monitor_every": 0, "precision": "float32"}


def make(out, vary=None, seeds=2, **settings):
    return Study(BASE, vary or [{"temperature": 0.1}, {"temperature": 0.2}], seeds, out=out, **settings)
