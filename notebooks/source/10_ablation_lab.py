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
# # 10 · The ablation lab
#
# **After this notebook you can** turn your own question into variants and seeds. You can say how certain an answer
# is. You can distinguish a finding from luck.
#
# Before: any of [02](02_pairs.ipynb) to [09](09_modelnet40.ipynb). After: [11, your own
# data](11_your_own_data.ipynb).

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import hiercl
from hiercl.exercises import check
from hiercl.study import bootstrap_interval

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, EPOCHS = ("shapes", 8, 1) if FAST else ("cifar100", 20, 5)
OUT = tempfile.mkdtemp()  # to keep the runs, choose a folder: OUT = "runs/lab"

# %% [markdown]
# ## 1. A question
#
# "Does X help?" is not an experiment yet. An experiment says: compared with what, measured how, on which data, with
# which seeds. Our question is: *with MoCo v2, is a temperature of 0.5 better or worse than 0.1?* Everything else
# stays as in `base`.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(5 if FAST else 20)
base = {"method": "moco", "epochs": EPOCHS, "queue": 512, "batch": 128, "monitor_every": 0}
variants = {"temperature 0.1": {"temperature": 0.1}, "temperature 0.5": {"temperature": 0.5}}
question = "Is a temperature of 0.5 better or worse than 0.1?"
study = hiercl.Study(base, variants, seeds=2 if FAST else 3, out=OUT, name="temperature", question=question)
_ = study.run(train, test, dry=True)

# %% [markdown]
# Nothing has been trained yet, apart from a trial of a few steps for the estimate. The estimate is rough. It is far
# too high if the machine does other work at the same time. Now we run the study. You may stop it at any time. The
# same call then continues.
#
# **Predict**: which temperature is better, and by how many points?

# %%
study.run(progress=False)
study.plot("knn")

# %% [markdown]
# The figure shows the *paired difference*: temperature 0.5 minus temperature 0.1 **with the same seed**. Effects that
# both runs share cancel, such as the first weights and the order of the pictures. Grey dots are the single seeds. A
# hollow dot has no verdict. What does the verdict say?

# %%
columns = ["variant", "metric", "level", "mean", "std", "n", "difference", "verdict"]
study.summary("knn")[columns].round(2)

# %% [markdown]
# ## 2. How many seeds?
#
# This is a simulation with a known truth. A method is better by exactly one point, and its results vary over seeds
# with a standard deviation of one point. A 95 % interval should contain the truth in 95 of 100 cases. The rule of
# thumb is "mean ± 2 standard errors". Studies use a bootstrap that accounts for the small number of seeds.
#
# **Predict**: how often does the rule of thumb contain the truth with two seeds, with three, with twenty?


# %%
def covers(n, interval, repeats=50 if FAST else 600):
    """Returns how often (in per cent) an interval of n values around 1 contains 1, and its median width."""
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
# This is why `study.summary()` gives no verdict with fewer than five seeds. You can ask for more seeds. Finished runs
# are not trained again.

# %%
more = hiercl.Study(base, variants, seeds=5, out=OUT, name="temperature", question=question)
more.of(train, test)
print(f"{len(more.missing())} of {len(more.members())} runs are missing")
more.run(progress=False).plot("knn")

# %%
row = more.summary("knn").dropna(subset="difference").iloc[-1]
print(
    f"{row['variant']} minus {row['baseline']}, kNN at the level {row['level']}: {row['difference']:+.2f} points",
    end=" ",
)
print(f"[{row['low']:+.2f}, {row['high']:+.2f}], {int(row['seeds'])} seeds: {row['verdict']}.")

# %% [markdown]
# **Exercise.** Compute the paired difference and its standard error by hand. You get the results of two variants over
# the same seeds. The paired difference is the mean of the differences. Its standard error is the standard deviation
# of the differences (with $n - 1$) divided by $\sqrt n$.


# %%
def paired(first, second):
    """Returns (mean of second - first, its standard error). Both inputs are numpy arrays over the same seeds."""
    return ...


check("10 paired", paired)


# %% tags=["solution"]
def paired(first, second):
    """Returns (mean of second - first, its standard error). Both inputs are numpy arrays over the same seeds."""
    difference = second - first
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))


check("10 paired", paired)

# %% [markdown]
# ## 3. Luck
#
# Try twenty settings that make **no difference at all**, each with one seed, and publish the best. How good will it
# look?
#
# **Predict** it. The results vary over seeds with a standard deviation of one point.

# %%
rng = np.random.default_rng(0)
best = rng.normal(0.0, 1.0, (1000, 20)).max(axis=1)
again = rng.normal(0.0, 1.0, 1000)  # the best setting, trained once more
plt.figure(figsize=(7, 2.6))
plt.hist(best, bins=30, alpha=0.8, label=f"the best of twenty: {best.mean():+.2f} points on average")
plt.hist(again, bins=30, alpha=0.6, hatch="//", label=f"the same setting again: {again.mean():+.2f}")
plt.xlabel("points above the baseline, although nothing helps")
plt.ylim(0, 150)  # room for the legend
_ = plt.legend()

# %% [markdown]
# These are two long trainings with one seed each: MoCo v2 (Chen et al., 2020) and HCSC (Guo et al., CVPR 2022), after
# 20 epochs on all 50,000 training pictures of CIFAR-100.
#
# **Predict**: how far apart are they? May we say that one is the better method?

# %%
known = [hiercl.evaluate(hiercl.pretrained(name), train, test).table()["knn"] for name in ("moco", "hcsc")]
for level, moco, hcsc in zip(train.hierarchy.level_names, *known, strict=True):
    noise = 1.96 * np.sqrt((moco * (100 - moco) + hcsc * (100 - hcsc)) / len(test))
    word = "within" if abs(hcsc - moco) < noise else "beyond"
    print(f"{level}: HCSC minus MoCo v2 is {hcsc - moco:+.1f} points of kNN, {word} the margin of", end=" ")
    print(f"±{noise:.1f} points of the test set alone. We do not know the results of other seeds.")

# %% [markdown]
# So choose settings on one part of the data, and compare on another part. With `held_out=0.2, judged_on="held out"`
# in its base, a study keeps a fifth of the training items for the choice. `grid=` tries the same points for every
# variant. (Below, `knn` is the mean over levels, and `points` is the number of points tried. This example has only
# one seed to save time.)

# %%
tuning = hiercl.Study(
    base | {"held_out": 0.2, "judged_on": "held out"}, {"MoCo v2": {}}, seeds=1, out=OUT, grid={"lr": [0.001, 0.003]}
)
tuning.run(train, test, progress=False).best("knn")

# %% [markdown]
# ## 4. Look inside
#
# A number says that two variants differ. Pairs, trees and maps show how they differ. Choose factors and values, and
# run them. Click two variants to see them side by side.

# %%
factors = {"temperature": [0.05, 0.1, 0.5], "queue": [128, 512]}
hiercl.explore.study(base, factors, train, test, out=OUT)

# %% [markdown]
# `more.report()` writes everything on one page: question, protocol, effects, figures, and every configuration.

# %%
page = more.report()
print(f"{page.name} has {page.stat().st_size / 1e3:.0f} kB. {page.with_suffix('.csv').name} holds all numbers.")

# %% [markdown]
# **Exercise.** An interval for "new minus old" is $[-2.1, -0.3]$ from six seeds. *Lower* numbers are better. Is the
# new variant "better", "worse" or "undecided"? What is it with $[-2.1, +0.3]$? Give both words in a tuple.

# %%
check("10 verdicts", ...)

# %% tags=["solution"]
# The first interval lies below 0, and lower is better. The second holds 0.
check("10 verdicts", ("better", "undecided"))

# %% [markdown]
# **Exercise.** A grid has 3 temperatures and 4 queues, with 5 seeds each. A run takes 2 minutes, and two runs go at a
# time. How many minutes does the grid take?

# %%
check("10 minutes", ...)

# %% tags=["solution"]
# 3 · 4 · 5 = 60 runs of 2 minutes, two at a time.
check("10 minutes", 60)

# %% [markdown]
# ## Summary
#
# * A claim needs a comparison, paired seeds (at least five), and an interval.
# * The best of many tries is lucky. Choose on one part of the data, and compare on another.
# * Write down what did not work. A study keeps it for you.
#
# **To think about.** Write your own question in one sentence. It should contain "compared with" and "measured by".
# Then run it.

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 90 minutes, exercises included. Hard for them: pairs of runs with the same seed;
# the best of many tries is lucky.
#
# Typical mistakes:
#
# * "The interval of each variant overlaps, so there is no difference." Use paired differences.
# * "Undecided means equal." It means that these seeds do not tell.
#
# **To think about**, how to mark it. Three points. The question names a comparison (1), a number to measure (1), and
# what would count against it (1).
