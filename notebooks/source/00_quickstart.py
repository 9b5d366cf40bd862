# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Hierarchical contrastive learning in three minutes
#
# **You will be able to** say what a contrastive method pulls, pushes and removes, read a learned tree beside the true
# one, and tell what a table of one seed does not tell. Two to three minutes of computing on two CPU cores.
#
# Contrastive learning teaches an encoder without labels: two random views of one picture are **pulled** together, views
# of other pictures are **pushed** apart. Some of those others are of the same kind, though, and should not be pushed.
# This notebook shows how often that happens, and how a method that *learns a hierarchy* (HCSC) takes such pairs out.
# Its views and the warm-up of HCSC were picked among eight tries with seed 0, judged on the very test pictures that are
# used below, so read its accuracies as a demonstration and not as a comparison of methods.
# Everything runs on two CPU cores; all settings stand in the next cell. Change them and run it again.

# %%
import os
from pathlib import Path

import pandas as pd

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 80, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
EPOCHS, PICTURES, SEED = (3, 20, 0) if FAST else (12, 200, 0)  # PICTURES of each class
PROTOTYPES = (5, 12, 30)  # of HCSC, per level, coarse to fine
WARM_UP = 2 / 3  # share of HCSC's training before it makes its first tree
# These things come in any colour, so colour must not tell one picture from the others: views change it strongly.
VIEWS = dict(jitter=(0.6, 0.6, 0.6, 0.5), jitter_probability=1.0, grayscale=0.5)

# %%
checkout = Path(hiercl.__file__).parents[1]
home = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
OUT = Path(os.environ.get("HIERCL_OUT", home / "runs" / "demo"))
OUT.mkdir(parents=True, exist_ok=True)


def keep(figure, name):
    """Writes a figure to the folder of results, and gives it back to be shown."""
    figure.savefig(OUT / f"{name}.png")
    return figure


# %% [markdown]
# ## 1. Labels with a hierarchy
#
# `shapes` holds generated things of 30 classes. Each class belongs to one of 12 groups, each group to one of 5 domains:
# three levels, coarse to fine. Each row below shows random pictures of one domain.

# %%
train, test = hiercl.load("shapes", per_class=PICTURES, test_per_class=PICTURES // 4)
print(train)
keep(hiercl.plot.gallery(train, level=0, per_node=12, seed=SEED), "gallery")

# %% [markdown]
# The whole hierarchy. Every figure below uses these colours: a hue for each domain, shades of it within.

# %%
keep(hiercl.plot.hierarchy(train.hierarchy), "hierarchy")

# %% [markdown]
# ## 2. Contrastive learning without a hierarchy: MoCo v2
#
# The curve grows while it trains. kNN accuracy asks how often the vote of the nearest neighbours gives the right label,
# at every level; the labels are used for this look alone, never for training.

# %%
untrained = hiercl.fit("moco", train, epochs=0, seed=SEED, progress=False, **VIEWS)
settings = dict(epochs=EPOCHS, seed=SEED, progress=False, monitor_every=2, **VIEWS)
moco = hiercl.fit("moco", train, callbacks=[hiercl.plot.live()], **settings)

# %% [markdown]
# **What does it push away?** One anchor, and the candidates that are most similar to it. In the row *pushed*, those in
# bold are of its own class: *false negatives*. (*Left alone* are keys of the batch: MoCo pushes its queue alone. The
# anchor was chosen because it has several false negatives; others have none.)
#
# **Predict**: MoCo pushes a queue of earlier pictures. Which share of them is of the anchor's own domain?

# %%
step = moco.step(train, seed=SEED)
ANCHOR = 39  # try others: 0 to 255
keep(hiercl.plot.pairs(step, train, anchor=ANCHOR), "pairs_moco")

# %%
moco_audit = moco.audit(train, seed=SEED)
for level, row in enumerate(moco_audit.itertuples()):
    chance = ((train.counts(level) / len(train)) ** 2).sum()
    print(
        f"{row.level:>7}: {100 * row.false_negative_rate:4.1f} % of what MoCo pushes is of the anchor's own "
        f"{row.level} (random pairs: {100 * chance:.1f} %)"
    )

# %% [markdown]
# The queue is a random sample, so MoCo pushes its own kind as often as chance has it: the coarser the level, the more.
#
# **Exercise.** A queue holds 3,600 random pictures of 12 groups of equal size. How many of them are pushed, although
# they are of the anchor's own group? Write a number for the dots.

# %%
check("00 chance", ...)

# %% [markdown]
# ## 3. With a learned hierarchy: HCSC
#
# HCSC starts as MoCo. Then, before every epoch, it clusters all pictures into a tree of prototypes (dotted line: the
# first tree), and takes candidates out of the negatives when they seem to belong to the anchor's own prototype. Its
# loss has two terms for every level of that tree, 0 the coarsest: *instance* pushes pictures of the queue, *prototype*
# pushes the other prototypes.

# %%
hcsc = hiercl.fit("hcsc", train, prototypes=PROTOTYPES, warm_up=WARM_UP, callbacks=[hiercl.plot.live()], **settings)

# %% [markdown]
# Both trainings side by side. Up to the first tree they are one and the same (same seed, same loss), so the lines lie
# on each other; after it the two losses are sums of different terms, and only their course can be compared.

# %%
runs = {"untrained": untrained, "MoCo v2": moco, "HCSC": hcsc}
keep(hiercl.plot.history({name: run for name, run in runs.items() if len(run.history)}), "history")

# %% [markdown]
# ## 4. What do the encoders know?
#
# Each is frozen and judged on test pictures at every level, in per cent: a linear probe, k nearest neighbours, and how
# well k-means clusters agree with the classes (AMI: 0 is chance, 100 perfect).

# %%
reports = {name: hiercl.evaluate(run, train, test, seed=SEED) for name, run in runs.items()}
table = pd.concat({name: report.table() for name, report in reports.items()}, names=["encoder"])
table.to_csv(OUT / "results.csv")
table.unstack("encoder")[["linear", "knn", "ami"]].loc[list(train.hierarchy.level_names), :].style.format(precision=1)

# %%
noise = (
    100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5
)  # of a difference of two accuracies, at most, from the test set alone
for level in train.hierarchy.level_names:
    knn = table["knn"].xs(level, level="level").sort_values(ascending=False)
    gap = knn.iloc[0] - knn.iloc[1]
    verdict = (
        f"within the ±{noise:.1f} of this test set" if gap < noise else f"beyond the ±{noise:.1f} of this test set"
    )
    print(f"{level:>7}: {knn.index[0]} is ahead of {knn.index[1]} by {gap:.1f} points of kNN accuracy, {verdict}.")
print("This is one seed: another may turn the order round. A claim needs several (at least five pairs of runs).")

# %% [markdown]
# Accuracy alone does not say whether a wrong answer is a near miss. The whole report has more: how far up the tree a
# mistake leads (`mistake_height`, in levels), whether neighbours are at least relatives (`hierarchical_distance`), and
# whether distances in the embedding follow the tree (`distance_correlation`). `reports["HCSC"]` shows all of it, and
# `hiercl.metrics.definitions()` explains every measure; a number that does not exist at a level is empty.

# %%
columns = ["mistake_height", "hierarchical_distance", "distance_correlation"]
reports["HCSC"].table()[columns].style.format(precision=2, na_rep="")

# %% [markdown]
# ## 5. The tree that HCSC has learned
#
# Each row is a prototype with the pictures nearest to it. Its label is the most frequent true class of its members,
# with their share; the bar is their mix of domains, to compare with that of all pictures at the top.

# %%
keep(hiercl.plot.tree(hcsc.tree, train, exemplars=6), "tree")

# %% [markdown]
# The same tree against the true hierarchy: the darker a diagonal, the better prototypes and classes agree.

# %%
keep(hiercl.plot.trees(hcsc.tree, train), "trees")

# %%
agreement = hiercl.metrics.tree_agreement(hcsc.tree, train.labels, train.hierarchy)
best = agreement.loc[agreement["ami"].idxmax()]
print(
    f"Best agreement: {best['size']} prototypes with “{best['level']}”, AMI {best['ami']:.2f} "
    "(0: chance, 1: the same partition)."
)
agreement.pivot(index="size", columns="level", values="ami")[list(train.hierarchy.level_names)].round(2)

# %% [markdown]
# ## 6. Maps of the embeddings
#
# UMAP brings the features of the test pictures to two dimensions: neighbours stay neighbours, large distances mean
# little. First the untrained encoder, then HCSC; the colours are those of one level a panel.

# %%
maps = {name: hiercl.plot.map_2d(hiercl.embed(run, test), seed=SEED) for name, run in runs.items()}
keep(hiercl.plot.embedding(untrained, test, coordinates=maps["untrained"], title="untrained"), "map_untrained")

# %%
keep(hiercl.plot.embedding(hcsc, test, coordinates=maps["HCSC"], title="HCSC"), "map_hcsc")

# %% [markdown]
# All three side by side, coloured by the 12 groups.

# %%
keep(hiercl.plot.compare_embeddings(runs, test, level=1, coordinates=maps), "maps")

# %% [markdown]
# ## 7. Did HCSC remove the right ones?
#
# The same anchor again. Under the candidates stands the probability with which they are kept. A draw decides: one with
# 0.9 may be gone, and one with 0.6 still there.
#
# **Predict**: is what HCSC removes of the anchor's own class more often than what it keeps?

# %%
step = hcsc.step(train, seed=SEED)
keep(hiercl.plot.pairs(step, train, anchor=ANCHOR, term=f"instance {hcsc.tree.levels - 1}"), "pairs_hcsc")

# %% [markdown]
# Over many anchors. Above: how much of what is pushed is of the anchor's own class; shorter than the line is better
# than without selection. Below: a selection that knows something has the full dot to the right of the hollow one.

# %%
hcsc_audit = hcsc.audit(train, seed=SEED)
keep(hiercl.plot.audit({"MoCo v2": moco_audit, "HCSC": hcsc_audit}), "audit")

# %%
leaf = hcsc_audit[hcsc_audit["level"] == train.hierarchy.level_names[-1]]
for row in leaf[leaf["removed"] > 0].itertuples():
    ratio = row.same_removed / row.other_removed
    print(
        f"{row.term}: removed {100 * row.same_removed:.0f} % of the anchor's own {row.level} and "
        f"{100 * row.other_removed:.0f} % of the others ({ratio:.1f} times as likely; 1 is chance); "
        f"{100 * row.wasted_removals:.0f} % of the removed were of other classes."
    )
print(f"\nFigures and results.csv are in {os.path.relpath(OUT)}.")

# %% [markdown]
# **Exercise.** What happens to a candidate that was removed: is it `"pulled"`, `"pushed"`, or `"neither"`?

# %%
check("00 removed", ...)

# %% [markdown]
# ## Summary
#
# * A contrastive method pulls views of one picture together and pushes others apart, those of its own kind among them.
# * HCSC learns a tree of prototypes and takes out those negatives that it suspects to be of the anchor's kind; an audit
#   with the labels says how rightly.
# * Trees and embeddings can be looked at. Accuracies of one seed are no comparison.
#
# ## Things to try
#
# 1. **Which part of the selection matters?** `hiercl.fit("hcsc", train, select="none", ...)`; also `"instances"` and
#    `"prototypes"`. Does the audit change? Does the table?
# 2. **How many prototypes?** `prototypes=(100,)`, `(10, 30, 100)`. Which tree agrees best with the true one, and at
#    which level?
# 3. **When may the tree begin?** `WARM_UP = 1 / 3`. Is an early tree of any use?
# 4. **A rule of your own.** `select=lambda p: (p < 0.5).float()` keeps every candidate whose posterior is below one
#    half; the default is `lambda p: 1 - p`. What should a good rule do with uncertain candidates?
# 5. **What does the tree see?** Set `VIEWS = {}`: views that keep the colours. What do the prototypes collect now?
# 6. **Real pictures.** `train, test = hiercl.load("cifar100")`, `train = train.under("trees", "vehicles_1", "people")`
#    and the same of `test`.
# 7. **Is it luck?** Run it with `SEED = 1`, 2, 3. Which of the sentences above stay true?
