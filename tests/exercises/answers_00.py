"""Right and wrong answers to the exercises of notebook 00."""

import torch

RIGHT, WRONG = {}, {}
RIGHT["00 chance"] = [300, 3600 / 12, torch.tensor(300.0)]
WRONG["00 chance"] = [12, 1 / 12, 8.333333333333334, 3300, 3600, 0, 42]
RIGHT["00 removed"] = ["neither", "Neither "]
WRONG["00 removed"] = ["pushed", "pulled", "both", 3]
