"""The classes of the ``shapes`` data: a tree of three levels; a leaf is a function that builds one random solid."""

from collections.abc import Callable

import numpy as np

from hiercl.datasets.shapes import animals, buildings, furniture, vehicles, vessels
from hiercl.datasets.shapes.solids import Solid

SolidMaker = Callable[[np.random.Generator], Solid]

LEVELS = ("domain", "group", "class")

CLASSES: dict[str, dict[str, dict[str, SolidMaker]]] = {
    "furniture": {
        "seating": {
            "chair": furniture.chair,
            "stool": furniture.stool,
            "bench": furniture.bench,
            "sofa": furniture.sofa,
        },
        "tables": {
            "dining table": furniture.dining_table,
            "round table": furniture.round_table,
            "desk": furniture.desk,
        },
        "lamps": {
            "floor lamp": furniture.floor_lamp,
            "table lamp": furniture.table_lamp,
            "desk lamp": furniture.desk_lamp,
        },
    },
    "vessels": {
        "cups": {"mug": vessels.mug, "wine glass": vessels.wine_glass},
        "pots": {"bottle": vessels.bottle, "vase": vessels.vase, "teapot": vessels.teapot},
    },
    "vehicles": {
        "road": {"car": vehicles.car, "bus": vehicles.bus, "truck": vehicles.truck},
        "aircraft": {"aeroplane": vehicles.aeroplane, "helicopter": vehicles.helicopter},
        "watercraft": {"sailboat": vehicles.sailboat, "ship": vehicles.ship},
    },
    "buildings": {
        "houses": {"house": buildings.house, "church": buildings.church},
        "towers": {"lighthouse": buildings.lighthouse, "windmill": buildings.windmill},
    },
    "animals": {
        "four-legged": {"dog": animals.dog, "giraffe": animals.giraffe},
        "birds": {"duck": animals.duck, "penguin": animals.penguin},
    },
}


def leaves() -> dict[str, SolidMaker]:
    """Every leaf class and its function, in the order of the leaf ids."""
    return {name: make for groups in CLASSES.values() for group in groups.values() for name, make in group.items()}
