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
from hiercl.study import bootstrap_interval, t_interval

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#6E6E6E"
CLASSES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()  # two classes of each of ten superclasses
OUT = tempfile.mkdtemp()  # to keep the runs, choose a folder: OUT = "runs/lab"

# %% [markdown]
# ## 1. A question
#
# "Does X help?" is not an experiment yet. An experiment says: compared with what, measured how, on which data, with
# which seeds. Our question is about HCSC, "Hierarchical Contrastive Selective Coding" (Guo et al., 2022, [arXiv
# 2202.00455](https://arxiv.org/abs/2202.00455)). It removes likely false negatives by a learned tree. *Do its clusters
# agree better with the true classes than if it removes as many negatives at random?* Everything else stays as in
# `base`. We measure the AMI of k-means clusters with the classes. The data are pictures of 20 classes of CIFAR-100, as
# a backbone sees them, so a training takes seconds.

# %%
train, test = (part.under(*CLASSES) for part in hiercl.load("cifar100-features"))
base = {"method": "hcsc", "epochs": 3 if FAST else 30, "batch": 256, "queue": 512, "lr": 2e-3, "momentum": 0.9}
base |= {"temperature": 0.2, "prototypes": (10, 20), "warm_up": 0.1, "sharpness": 4.0, "monitor_every": 0}
base |= {"terms": "instances", "select": "instances"}
variants = {"at random": {"select_by": "random"}, "by prototypes": {}}
question = "Does removing negatives by prototypes give better clusters than removing as many at random?"
study = hiercl.Study(base, variants, seeds=2 if FAST else 3, out=OUT, name="removal", question=question)
_ = study.run(train, test, dry=True)

# %% [markdown]
# Nothing has been trained yet, apart from a trial of a few steps for the estimate. The estimate is far too high if the
# machine does other work at the same time.
#
# **Exercise** (warm-up). A grid has 3 temperatures and 4 queues, with 5 seeds each. A run takes 2 minutes, and two runs
# go at a time. How many minutes does the grid take?

# %%
check("10 minutes", ...)

# %% tags=["solution"]
# 3 · 4 · 5 = 60 runs of 2 minutes, two at a time.
check("10 minutes", 60)

# %% [markdown]
# Now we run the study. You may stop it at any time. The same call then continues.
#
# **Predict**: by how many points of AMI do the two variants differ? Do three seeds agree?

# %%
study.run(progress=False)
study.plot("ami")

# %% [markdown]
# The figure shows the *paired difference*: by prototypes minus at random **with the same seed**. Effects that
# both runs share cancel, such as the first weights and the order of the pictures. Grey dots are the single seeds. A
# hollow dot has no verdict. What does the verdict say?

# %%
columns = ["variant", "metric", "level", "mean", "std", "n", "difference", "verdict"]
study.summary("ami")[columns].round(2)

# %% [markdown]
# **What we saw** (one run): with the classes, the three seeds agree that prototypes are better. The mean difference is
# 2.1 points of AMI, and the seeds lie between 1.5 and 2.7. With the superclasses they do not agree. The mean is 2.5,
# but one seed is below 0, and another one is above 7. The verdict is "too few seeds" in both cases. Three values show
# too little of their own spread.
#
# ## 2. How many seeds?
#
# This is a simulation with a known truth. A method is better by exactly one point, and its results vary over seeds with
# a standard deviation of one point. A 95 % interval should contain the truth in 95 of 100 cases. The rule of thumb is
# "mean ± 2 standard errors". Student's interval ("The Probable Error of a Mean", Student, Biometrika 1908, [doi
# 10.1093/biomet/6.1.1](https://doi.org/10.1093/biomet/6.1.1)) takes the small number into account, if the values are
# normal. Studies use a bootstrap that does so too.
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
COLOURS = (GREY, BLUE, ORANGE)
curves = {"mean ± 2 standard errors": (thumb, (2, 3, 5, 7, 20)), "Student": (t_interval, (2, 3, 5, 7, 20))}
curves["bootstrap"] = (bootstrap_interval, (5, 7, 20))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for (name, (interval, numbers)), style, colour in zip(curves.items(), ("o-", "s-", "^-"), COLOURS, strict=True):
    right, width = np.transpose([covers(n, interval) for n in numbers])
    axes[0].plot(numbers, right, style, color=colour, label=name)
    axes[1].plot(numbers, width, style, color=colour, label=name)
    print(f"{name}: " + ", ".join(f"{n} seeds {share:.0f} %" for n, share in zip(numbers, right, strict=True)))
axes[0].axhline(95, color=GREY, linestyle=":")
axes[0].set(xlabel="seeds", ylabel="holds the truth (%)", ylim=(50, 102))
axes[1].set(xlabel="seeds", ylabel="median width (points)", ylim=(0, None))
axes[0].set_xticks((2, 3, 5, 7, 20))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %% [markdown]
# **What you should see**: the rule of thumb contains the truth in 70 of 100 cases with two seeds, in 82 with three, and
# in 93 with twenty. The reason: the standard error is computed from the same few values, and it is often much too
# small. Student's interval and the bootstrap are right in 93 to 96 of 100 cases, because they are wider. With two seeds
# Student's interval has a median width of more than 12 points, for a difference of one point.
#
# This is why `study.summary()` gives no verdict with fewer than five seeds. You can ask for more seeds. Finished runs
# are not trained again.

# %%
more = hiercl.Study(base, variants, seeds=5, out=OUT, name="removal", question=question)
more.of(train, test)
print(f"{len(more.missing())} of {len(more.members())} runs are missing")
more.run(progress=False).plot("ami")

# %%
row = more.summary("ami").dropna(subset="difference").iloc[-1]
print(
    f"{row['variant']} minus {row['baseline']}, AMI with the {row['level']}: {row['difference']:+.2f} points",
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
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.hist(best, bins=30, color=ORANGE, label=f"the best of twenty: {best.mean():+.2f} points on average")
axis.hist(again, bins=30, color=BLUE, alpha=0.6, hatch="//", label=f"the same setting again: {again.mean():+.2f}")
axis.set(xlabel="points above the baseline, although nothing helps")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# **What you should see**: the best of twenty looks 1.85 points better than the baseline on average, although nothing
# helps. The maximum of many random numbers is large. The same setting, trained again, is at −0.01: its luck does not
# come back.
#
# Two trained encoders can be compared on the same test items, pair by pair. `report.compare` says how certain the
# difference of *these two encoders* is. It cannot say what another seed would give.
#
# **Predict**: we compare two runs that differ only in their seed. How many test items does only one of them get right?
# Is a difference “better” or “worse” anywhere? (So this test cannot compare *methods*: it knows one seed of each.)

# %%
reports = [member.load()[1] for member in more.members() if member.variant == "by prototypes"]
first, second = reports[:2]  # seeds 0 and 1
first.compare(second)

# %% [markdown]
# **What we saw** (one run): the linear probes of the class have nearly the same accuracy, 77.9 and 78.5 %. Still, 112
# of the 1,000 test items are right with only one of the two encoders (53 and 59). Most differences are undecided. But
# kNN of the superclass is "better" and MAP@R of the class is "worse", although only the seed differs. Another seed
# gives another encoder, and two encoders can differ. Besides, of many numbers in a table some are decided by luck.
#
# So choose settings on one part of the data, and compare on another part. With `held_out=0.2, judged_on="held out"`
# in its base, a study keeps a fifth of the training items for the choice. `grid=` tries the same points for every
# variant. (Below, `knn` is the mean over levels, and `points` is the number of points tried. This example has only
# one seed to save time.)

# %%
tuning = hiercl.Study(
    base | {"held_out": 0.2, "judged_on": "held out"}, {"HCSC": {}}, seeds=1, out=OUT, grid={"lr": [0.001, 0.003]}
)
tuning.run(train, test, progress=False).best("knn")

# %% [markdown]
# ## 4. Look inside
#
# A number says that two variants differ. Pairs, trees and maps show how they differ. Choose factors and values, and
# run them. Click two variants to see them side by side.

# %%
factors = {"temperature": [0.1, 0.2, 0.5], "sharpness": [1.0, 4.0, 16.0]}
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
# **Exercise** (open). How many seeds does a study need? Section 2 asks how often an interval contains the truth. Ask
# now how often an interval lies above 0, so that a study says "better". In `covers`, `100 * np.mean(low > 0)` in
# place of the first result does this. Choose the difference that you want to find (the first argument of
# `rng.normal`), and numbers of seeds. Student's interval is enough. A simulation takes seconds. Hand in five parts,
# one point each:
#
# 1. **A prediction**, before you compute: the difference is one standard deviation. How often do five seeds find it?
# 2. **The lines that you have changed**, and nothing else.
# 3. **A table**: how often a study says "better", for two differences and at least five numbers of seeds. For each
#    difference, name the smallest number of seeds of your table that finds it in 80 of 100 studies.
# 4. **A control**: the same with a difference of 0. Which number do you expect, and why?
# 5. **A sentence that the numbers allow**: a study of five seeds says "undecided". What does this say about a
#    difference of one standard deviation?
#
# ## Summary
#
# * A claim needs a comparison, paired seeds (at least five), and an interval.
# * The best of many tries is lucky. Choose on one part of the data, and compare on another.
# * Write down what did not work. A study keeps it for you.
#
# **To think about.** Write your own question in one sentence. It should contain "compared with" and "measured by".
# Then run it.

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 90 minutes, exercises included, and 120 with the open exercise. Hard for them:
# pairs of runs with the same seed; the best of many tries is lucky.
#
# Typical mistakes:
#
# * "The interval of each variant overlaps, so there is no difference." Use paired differences.
# * "Undecided means equal." It means that these seeds do not tell.
#
# **The open exercise**, how to mark it. Students need about 30 minutes for it. One point for each of its five parts:
#
# 1. A number that was written down before. It need not be right.
# 2. `low > 0`, and the difference in `rng.normal`. The spread stays 1.
# 3. At least ten numbers, and two smallest numbers of seeds.
# 4. About 2.5 %, because a 95 % interval lies above the truth in 2.5 of 100 cases. 5 % is half a point: it counts
#    "worse" as well.
# 5. "Undecided" is not "equal". Five seeds miss this difference in more than half of the studies.
#
# An example answer, with Student's interval and 600 studies for each number. All numbers together took 3 seconds. "I
# expected 80 %. The table has the per cent of studies that say better, by the difference in standard deviations (rows)
# and the number of seeds (columns):
#
# | difference | 3 | 5 | 7 | 10 | 11 | 20 | 40 |
# |---|---|---|---|---|---|---|---|
# | 0 (control) | 2.7 | 3.3 | 2.3 | 1.5 | 4.3 | 2.8 | 2.5 |
# | 0.5 | 8.3 | 15.7 | 17.3 | 28.2 | 33.5 | 55.8 | 87.7 |
# | 1 | 18.0 | 42.3 | 60.8 | 78.7 | 84.0 | 98.7 | 100.0 |
# | 2 | 46.7 | 90.8 | 99.5 | 100.0 | 100.0 | 100.0 | 100.0 |
#
# Of my numbers of seeds, 11 are the fewest for one standard deviation, and 40 for half of one. Five seeds suffice for
# two. The control is near 2.5 %: a 95 % interval lies above the truth in 2.5 of 100 cases. If a study of five seeds
# is undecided, a difference of one standard deviation may well be there: such a study finds it in 42 of 100 cases."
# More than is asked for: the studies of five seeds that say "better" show 1.34 standard deviations on average, where
# the truth is 1. If only decided results are published, the published differences are too large on average.
#
# **To think about**, how to mark it. Three points. The question names a comparison (1), a number to measure (1), and
# what would count against it (1).
