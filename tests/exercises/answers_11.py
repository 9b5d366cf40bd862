"""Right and wrong answers to the exercises of notebook 11."""

from hiercl import Hierarchy

RIGHT, WRONG = {}, {}
RIGHT["11 hierarchy"] = [
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
WRONG["11 hierarchy"] = [
    Hierarchy.from_dict({"animal": ["cat", "dog", "wolf"], "vehicle": ["car"]}),
    Hierarchy.from_dict({"pet": ["cat", "dog"], "animal": ["wolf"], "vehicle": ["car"]}),
    Hierarchy.from_dict({"animal": {"pet": ["cat", "dog", "wolf"]}, "vehicle": ["car"]}),
    Hierarchy.from_dict({"animal": {"pet": ["cat", "dog"]}, "vehicle": ["car"]}),
    {"animal": {"pet": ["cat", "dog"], "wolf": None}, "vehicle": ["car"]},
    Hierarchy.from_labels([["pet", "cat"], ["pet", "dog"]]),
]
RIGHT["11 views"] = ["flip"]
WRONG["11 views"] = ["crop", "blur", "jitter_probability", "colour", 0]
RIGHT["11 rare"] = ["linear_balanced"]
WRONG["11 rare"] = ["linear", "flat", "ami", "knn"]
