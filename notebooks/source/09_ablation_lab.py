# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · The ablation lab
#
# **You will be able to** turn a question of your own into variants and seeds, say how sure an answer is, and tell a
# finding from luck.
#
# About two minutes of computing on two CPU cores. Before: any of [01](01_pairs.ipynb) to [08](08_modelnet40.ipynb).
# After: [10, your own data](10_your_own_data.ipynb).

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import hiercl
from hiercl.exercises import check
from hiercl.study import bootstrap_interval

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 8, 1) if FAST else ("cifar100", 20, 5)
OUT = tempfile.mkdtemp()  # a folder of your own keeps the runs: OUT = "runs/lab"

# %% [markdown]
# ## 1. A question
#
# "Does X help?" becomes an experiment when it says: compared with what, measured how, on which data, over which seeds.
# Ours: *with MoCo v2, is a temperature of 0.5 better or worse than 0.1?* Everything else stays as it is in `base`.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(5 if FAST else 20)
base = {"method": "moco", "epochs": EPOCHS, "queue": 512, "batch": 128, "monitor_every": 0}
variants = {"temperature 0.1": {"temperature": 0.1}, "temperature 0.5": {"temperature": 0.5}}
question = "Is a temperature of 0.5 better or worse than 0.1?"
study = hiercl.Study(base, variants, seeds=2 if FAST else 3, out=OUT, name="temperature", question=question)
_ = study.run(train, test, dry=True)

# %% [markdown]
# Nothing has been trained yet but a trial of a few steps, for the estimate: a rough one, and far too high while the
# machine does something else. Now for real. Stop it whenever you like: the same
# call goes on from there.
#
# **Predict**: which is better, and by how many points?

# %%
study.run(progress=False)
study.plot("knn")

# %% [markdown]
# Above, the *paired difference*: temperature 0.5 less temperature 0.1 **with the same seed**, so that what both share
# (first weights, order of the pictures) cancels. Grey dots are the single seeds; a hollow dot has no verdict. What
# does the verdict say?

# %%
columns = ["variant", "metric", "level", "mean", "std", "n", "difference", "verdict"]
study.summary("knn")[columns].round(2)

# %% [markdown]
# ## 2. How many seeds?
#
# A simulation with a known truth: a method that is better by exactly one point, seeds that scatter by one point. A 95
# % interval should hold the truth 95 times in a hundred. The rule of thumb is "mean ± 2 standard errors"; studies use
# a bootstrap that knows how few the seeds are.
#
# **Predict**: how often does the rule of thumb hold the truth with two seeds, with three, with twenty?


# %%
def covers(n, interval, repeats=50 if FAST else 600):
    """How often, in per cent, an interval of n values around 1 holds the 1; and its median width."""
    rng = np.random.default_rng(n)
    low, high = np.transpose([interval(rng.normal(1.0, 1.0, n)) for _ in range(repeats)])
    return 100 * np.mean((low <= 1) & (1 <= high)), np.median(high - low)


def thumb(values):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - 2 * error, values.mean() + 2 * error


# %%
curves = {"mean ± 2 standard errors": (thumb, (2, 3, 5, 7, 20)), "bootstrap": (bootstrap_interval, (5, 7, 20))}
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for (name, (interval, numbers)), marker in zip(curves.items(), "os", strict=True):
    right, width = np.transpose([covers(n, interval) for n in numbers])
    axes[0].plot(numbers, right, f"{marker}-", label=name)
    axes[1].plot(numbers, width, f"{marker}-", label=name)
    print(f"{name}: " + ", ".join(f"{n} seeds {share:.0f} %" for n, share in zip(numbers, right, strict=True)))
axes[0].axhline(95, color="grey", linestyle=":")
axes[0].set(xlabel="seeds", ylabel="holds the truth (%)", ylim=(50, 102))
axes[1].set(xlabel="seeds", ylabel="median width (points)", ylim=(0, None))
axes[0].set_xticks((2, 3, 5, 7, 20))
_ = axes[1].legend()

# %% [markdown]
# That is why `study.summary()` gives no verdict below five seeds. More seeds are added by asking for them: what is
# there is not trained again.

# %%
more = hiercl.Study(base, variants, seeds=5, out=OUT, name="temperature", question=question)
more.of(train, test)
print(f"{len(more.missing())} of {len(more.members())} runs are missing")
more.run(progress=False).plot("knn")

# %%
row = more.summary("knn").dropna(subset="difference").iloc[-1]
print(
    f"{row['variant']} less {row['baseline']}, kNN at the level of the {row['level']}: {row['difference']:+.2f} points",
    end=" ",
)
print(f"[{row['low']:+.2f}, {row['high']:+.2f}], {int(row['seeds'])} seeds: {row['verdict']}.")

# %% [markdown]
# **Exercise.** The paired difference and its standard error, by hand: from the numbers of two variants over the same
# seeds, the mean of the differences, and the standard deviation of the differences (with $n - 1$) divided by $\sqrt
# n$.


# %%
def paired(first, second):
    """(mean difference second - first, its standard error); both are numpy arrays over the same seeds."""
    return ...


check("09 paired", paired)

# %% [markdown]
# ## 3. Luck
#
# Try twenty settings that make **no difference at all**, each with one seed, and publish the best. How good will it
# look?
#
# **Predict** it, if seeds scatter by one point.

# %%
rng = np.random.default_rng(0)
best = rng.normal(0.0, 1.0, (1000, 20)).max(axis=1)
again = rng.normal(0.0, 1.0, 1000)  # the winner, trained once more
plt.figure(figsize=(7, 2.6))
plt.hist(best, bins=30, alpha=0.8, label=f"the best of twenty: {best.mean():+.2f} points on average")
plt.hist(again, bins=30, alpha=0.6, hatch="//", label=f"the same setting again: {again.mean():+.2f}")
plt.xlabel("points above the baseline, although nothing helps")
plt.ylim(0, 150)  # room for the legend
_ = plt.legend()

# %% [markdown]
# Two long trainings, one seed each: MoCo v2 and HCSC, 20 epochs on all 50,000 pictures of CIFAR-100.
#
# **Predict**: how far apart are they? May we say that one is the better method?

# %%
known = [hiercl.evaluate(hiercl.pretrained(name), train, test).table()["knn"] for name in ("moco", "hcsc")]
for level, moco, hcsc in zip(train.hierarchy.level_names, *known, strict=True):
    noise = 1.96 * np.sqrt((moco * (100 - moco) + hcsc * (100 - hcsc)) / len(test))
    word = "within" if abs(hcsc - moco) < noise else "beyond"
    print(
        f"{level}: HCSC less MoCo v2 {hcsc - moco:+.1f} points of kNN, {word} the ±{noise:.1f} of the test set", end=" "
    )
    print("alone; what other seeds would give, nobody knows")

# %% [markdown]
# So settings are chosen on one part of the data, and compared on another: `held_out=0.2, judged_on="held out"` in a
# study's base keeps a fifth of the training items for choosing, and `grid=` tries the same points for every variant.
# (Below, `knn` is the mean over levels, `points` how many were tried; one seed, for time.)

# %%
tuning = hiercl.Study(
    base | {"held_out": 0.2, "judged_on": "held out"}, {"MoCo v2": {}}, seeds=1, out=OUT, grid={"lr": [0.001, 0.003]}
)
tuning.run(train, test, progress=False).best("knn")

# %% [markdown]
# ## 4. Look inside
#
# A number says that two variants differ; pairs, trees and maps say how. Choose factors and values, run, and click two
# variants to lay them side by side.

# %%
factors = {"temperature": [0.05, 0.1, 0.5], "queue": [128, 512]}
hiercl.explore.study(base, factors, train, test, out=OUT)

# %% [markdown]
# `more.report()` writes everything on one page: question, protocol, effects, figures, every configuration.

# %%
page = more.report()
print(f"{page.name}: {page.stat().st_size / 1e3:.0f} kB; beside it {page.with_suffix('.csv').name} with all numbers")

# %% [markdown]
# **Exercise.** An interval for "new less old", of a number where *lower* is better, is $[-2.1, -0.3]$ from six seeds.
# Is the new one "better", "worse" or "undecided"? And with $[-2.1, +0.3]$? Give both words in a tuple.

# %%
check("09 verdicts", ...)

# %% [markdown]
# **Exercise.** A grid of 3 temperatures and 4 queues, 5 seeds each, 2 minutes a run; two runs at a time. How many
# minutes?

# %%
check("09 minutes", ...)

# %% [markdown]
# ## Summary
#
# * A claim needs a comparison, paired seeds (five at least), and an interval.
# * The best of many tries is lucky: choose on one part of the data, compare on another.
# * Write down what did not work. A study keeps it for you.
#
# **To think about.** Your own question. Write it in one sentence, with "compared with" and "measured by" in it, and
# run it.
