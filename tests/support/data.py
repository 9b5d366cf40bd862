"""Small data sets, and settings with which every method trains on them in a second."""

import numpy as np

from hiercl.datasets import HierarchicalDataset
from hiercl.hierarchy.hierarchy import Hierarchy

HIERARCHY = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1"]}, level_names=("group", "class"))


def pictures(n: int = 64, seed: int = 0) -> HierarchicalDataset:
    """Four classes of noisy stripes: two directions, two widths."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    grid = np.indices((16, 16))
    items = np.zeros((n, 16, 16, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        wave = np.sin((0.8 if label % 2 else 1.9) * grid[label // 2] + rng.uniform(0, 6))
        items[i] = np.clip(128 + 80 * wave[..., None] + rng.normal(0, 100, (16, 16, 3)), 0, 255)
    return HierarchicalDataset.from_arrays(items, labels, HIERARCHY, name="stripes")


SMALL = {"epochs": 3, "batch": 32, "crop": 12, "monitor_every": 0, "progress": False, "precision": "float32"}
METHODS = {
    "simclr": {},
    "moco": {"queue": 40},
    "hcsc": {"queue": 40, "prototypes": (2, 4, 8), "warm_up": 0.3},
    "csml": {"queue": 40, "neighbours": 3, "neighbour_start": 0.3, "local_crops": 1},
    "supcon": {},
    "hmc": {"thinning": True, "heads": "level"},
    "hce": {"maximum": "pair", "thinning": False},
    "hmce": {},
    "g_hmlc": {"warm_up": 0.3},
    "a_hmlc": {},
}


POINTS = 32
CLOUD_SETTINGS = {"encoder": "pointnet_vanilla", "points": 24, "batch": 16, "monitor_every": 0, "progress": False}


def clouds(n=48, seed=0):
    """Flat, tall, small and large boxes: two classes in each of two superclasses."""
    rng = np.random.default_rng(seed)
    tree = Hierarchy.from_dict({"flat": ["slab", "coin"], "tall": ["pole", "pin"]})
    labels = np.arange(n) % 4
    sides = np.array([[0.9, 0.9, 0.1], [0.3, 0.3, 0.05], [0.1, 0.1, 0.9], [0.05, 0.05, 0.3]])
    points = rng.uniform(-1, 1, (n, POINTS, 3)) * sides[labels][:, None]
    return HierarchicalDataset.from_arrays(points, labels, tree, "boxes")


VECTOR_SETTINGS = {"batch": 16, "monitor_every": 0, "progress": False}


def vectors(n=48, seed=0, views=3, source=None):
    """Four planted classes in two superclasses, in 12 features of unequal size."""
    means = np.random.default_rng(7).normal(size=(2, 12)), np.random.default_rng(8).normal(size=(4, 12))
    labels = np.arange(n) % 4
    item = 2 * means[0][labels // 2] + means[1][labels] + np.random.default_rng(seed).normal(size=(n, 12)) / 2
    noise = np.random.default_rng(seed + 1).normal(size=(n, views, 12)) / 4
    noise[:, 0] = 0  # view 0 is the item itself
    features = (item[:, None] + noise) * np.linspace(0.1, 3, 12) + 1
    return HierarchicalDataset.from_features(features, labels, HIERARCHY, "planted", source=source)
