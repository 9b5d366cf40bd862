"""Right and wrong answers to the exercises of notebook 10."""

from hiercl import Hierarchy

RIGHT, WRONG = {}, {}
RIGHT["10 hierarchy"] = [
    Hierarchy.from_dict({"animal": {"pet": ["cat", "dog"], "wolf": None}, "vehicle": ["car"]}),
    Hierarchy.from_parents(
        {
            "animal": None,
            "vehicle": None,
            "pet": "animal",
            "wolf": "animal",
            "cat": "pet",
            "dog": "pet",
            "car": "vehicle",
        }
    ),
]
WRONG["10 hierarchy"] = [
    Hierarchy.from_dict({"animal": ["cat", "dog", "wolf"], "vehicle": ["car"]}),
    Hierarchy.from_dict({"pet": ["cat", "dog"], "animal": ["wolf"], "vehicle": ["car"]}),
    Hierarchy.from_dict({"animal": {"pet": ["cat", "dog", "wolf"]}, "vehicle": ["car"]}),
    Hierarchy.from_dict({"animal": {"pet": ["cat", "dog"]}, "vehicle": ["car"]}),
    {"animal": {"pet": ["cat", "dog"], "wolf": None}, "vehicle": ["car"]},
    Hierarchy.from_labels([["pet", "cat"], ["pet", "dog"]]),
]
RIGHT["10 views"] = ["flip"]
WRONG["10 views"] = ["crop", "blur", "jitter_probability", "colour", 0]
RIGHT["10 rare"] = ["linear_balanced"]
WRONG["10 rare"] = ["linear", "flat", "ami", "knn"]
