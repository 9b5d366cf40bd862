"""Right and wrong answers to the exercises of notebook 11."""

RIGHT, WRONG = {}, {}
RIGHT["11 memory"] = [256, 256.0]
WRONG["11 memory"] = [64, 128, 512, 2**28, 268.4, "256"]
RIGHT["11 rate"] = [0.012, 0.003 * 4]
WRONG["11 rate"] = [0.006, 0.003, 0.00075, 0.03]
RIGHT["11 cluster"] = [80, 80.0]
WRONG["11 cluster"] = [75, 600, 70, 10]
