"""The classes of the data set ``shapes``: a tree of three levels."""

from collections.abc import Callable, Iterator

import numpy as np

from hiercl.datasets.clouds import Mesh
from hiercl.datasets.shapes import animals, buildings, furniture, vehicles, vessels

Maker = Callable[[np.random.Generator], Iterator[Mesh]]

LEVELS = ("domain", "group", "class")

# Each leaf is a function that yields the parts of one random solid; the class has the function's name.
CLASSES: dict[str, dict[str, tuple[Maker, ...]]] = {
    "furniture": {
        "seating": (furniture.chair, furniture.stool, furniture.bench, furniture.sofa),
        "tables": (furniture.dining_table, furniture.round_table, furniture.desk),
        "lamps": (furniture.floor_lamp, furniture.table_lamp, furniture.desk_lamp),
    },
    "vessels": {"cups": (vessels.mug, vessels.wine_glass), "pots": (vessels.bottle, vessels.vase, vessels.teapot)},
    "vehicles": {
        "road": (vehicles.car, vehicles.bus, vehicles.truck),
        "aircraft": (vehicles.aeroplane, vehicles.helicopter),
        "watercraft": (vehicles.sailboat, vehicles.ship),
    },
    "buildings": {
        "houses": (buildings.house, buildings.church),
        "towers": (buildings.lighthouse, buildings.windmill),
    },
    "animals": {"four-legged": (animals.dog, animals.giraffe), "birds": (animals.duck, animals.penguin)},
}


def class_name(make: Maker) -> str:
    """Returns the name of a class: that of its function, with spaces."""
    return make.__name__.replace("_", " ")


def leaves() -> dict[str, Maker]:
    """Returns every leaf class and its function, in the order of the leaf ids."""
    return {class_name(make): make for groups in CLASSES.values() for group in groups.values() for make in group}
