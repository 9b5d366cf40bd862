"""Right and wrong answers to the exercises of notebook 12."""

RIGHT, WRONG = {}, {}
RIGHT["12 memory"] = [256, 256.0]
WRONG["12 memory"] = [64, 128, 512, 2**28, 268.4, "256"]
RIGHT["12 rate"] = [0.006, 0.003 * 2]
WRONG["12 rate"] = [0.012, 0.003, 0.0015, 0.00075, 0.03]
RIGHT["12 cluster"] = [80, 80.0]
WRONG["12 cluster"] = [75, 600, 70, 10]
