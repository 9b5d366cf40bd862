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
# # Quickstart: hierarchical contrastive learning
#
# **After this notebook you can** say what a contrastive method pulls, pushes and removes. You can read a learned tree
# beside the true hierarchy. You know what a table of one seed cannot show.
#
# Contrastive learning trains an encoder without labels. It **pulls** two random views of one picture together. It
# **pushes** views of other pictures away. Some of these other pictures are of the same kind and should not be pushed.
# This notebook shows how often that happens. It also shows how HCSC, a method that *learns a hierarchy*, removes such
# pairs.
#
# We chose the views and the warm-up of HCSC among eight settings with seed 0. We judged them on the test pictures
# that this notebook uses. So the accuracies below are a demonstration, not a comparison of methods.
#
# The next cell holds all settings. Change them and run the notebook again.

# %%
import os
from pathlib import Path

import pandas as pd

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 80, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
EPOCHS, PICTURES, SEED = (3, 20, 0) if FAST else (12, 200, 0)  # PICTURES per class
PROTOTYPES = (5, 12, 30)  # HCSC: number of prototypes per level, coarse to fine
WARM_UP = 2 / 3  # HCSC: share of the training before the first tree
# Objects of one class come in any colour. So the views change colours strongly, and colour identifies no picture.
VIEWS = dict(jitter=(0.6, 0.6, 0.6, 0.5), jitter_probability=1.0, grayscale=0.5)

# %%
checkout = Path(hiercl.__file__).parents[1]
home = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
OUT = Path(os.environ.get("HIERCL_OUT", home / "runs" / "demo"))
OUT.mkdir(parents=True, exist_ok=True)


def keep(figure, name):
    """Saves a figure in the folder of results and returns it."""
    figure.savefig(OUT / f"{name}.png")
    return figure


# %% [markdown]
# ## 1. Labels with a hierarchy
#
# `shapes` holds generated pictures of 30 classes. Each class belongs to one of 12 groups, and each group belongs to
# one of 5 domains. These are three levels, from coarse to fine. Each row below shows random pictures of one domain.

# %%
train, test = hiercl.load("shapes", per_class=PICTURES, test_per_class=PICTURES // 4)
print(train)
keep(hiercl.plot.gallery(train, level=0, per_node=12, seed=SEED), "gallery")

# %% [markdown]
# This is the whole hierarchy. All figures below use its colours: one hue for each domain, and shades of this hue
# inside the domain.

# %%
keep(hiercl.plot.hierarchy(train.hierarchy), "hierarchy")

# %% [markdown]
# ## 2. Contrastive learning without a hierarchy: MoCo v2
#
# MoCo v2 (Chen et al., 2020, arXiv 2003.04297) uses no labels. The curve below grows during the training. kNN
# accuracy is the share of pictures whose nearest neighbours vote for the right label. We measure it at every level.
# The labels serve only this measurement, never the training.

# %%
untrained = hiercl.fit("moco", train, epochs=0, seed=SEED, progress=False, **VIEWS)
settings = dict(epochs=EPOCHS, seed=SEED, progress=False, monitor_every=2, **VIEWS)
moco = hiercl.fit("moco", train, callbacks=[hiercl.plot.live()], **settings)

# %% [markdown]
# **What does MoCo v2 push away?** The figure shows one anchor and the candidates that are most similar to it. In the
# row *pushed*, bold names mark candidates of the anchor's own class. They are *false negatives*. The row *left alone*
# holds keys of the batch, because MoCo v2 pushes only its queue. We chose an anchor with several false negatives.
# Other anchors have none.
#
# **Predict**: MoCo v2 pushes a queue of earlier pictures. Which share of them has the anchor's own domain?

# %%
step = moco.step(train, seed=SEED)
ANCHOR = 39  # try others: 0 to 255
keep(hiercl.plot.pairs(step, train, anchor=ANCHOR), "pairs_moco")

# %%
moco_audit = moco.audit(train, seed=SEED)
for level, row in enumerate(moco_audit.itertuples()):
    chance = ((train.counts(level) / len(train)) ** 2).sum()
    print(
        f"{row.level:>7}: {100 * row.false_negative_rate:4.1f} % of the keys that MoCo v2 pushes have the "
        f"anchor's own {row.level} (random pairs: {100 * chance:.1f} %)"
    )

# %% [markdown]
# The queue is a random sample. So MoCo v2 pushes pictures of the anchor's own kind as often as chance predicts. At a
# coarser level this share is larger.
#
# **Exercise.** A queue holds 3,600 random pictures of 12 groups of equal size. How many of the pushed pictures have
# the anchor's own group? Write a number in place of the dots.

# %%
check("00 chance", ...)

# %% [markdown]
# ## 3. With a learned hierarchy: HCSC
#
# HCSC (Guo et al., CVPR 2022) starts as MoCo v2. After a warm-up it clusters all pictures into a tree of prototypes
# before every epoch. The dotted line marks the first tree. HCSC removes a candidate from the negatives when the
# candidate seems to belong to the anchor's own prototype. Its loss has two terms for every level of the tree. Level 0
# is the coarsest. The *instance* term pushes pictures of the queue. The *prototype* term pushes the other prototypes.

# %%
hcsc = hiercl.fit("hcsc", train, prototypes=PROTOTYPES, warm_up=WARM_UP, callbacks=[hiercl.plot.live()], **settings)

# %% [markdown]
# This figure shows both trainings. Until the first tree they are the same training (same seed, same loss), so the
# lines coincide. After the first tree the two losses are sums of different terms. Then you can compare only how they
# change.

# %%
runs = {"untrained": untrained, "MoCo v2": moco, "HCSC": hcsc}
keep(hiercl.plot.history({name: run for name, run in runs.items() if len(run.history)}), "history")

# %% [markdown]
# ## 4. What do the encoders know?
#
# We freeze each encoder and judge it on test pictures at every level. The table has three measures, all in per cent:
# the accuracy of a linear probe, the accuracy of k nearest neighbours, and the agreement of k-means clusters with the
# classes (AMI: 0 is chance, 100 is perfect agreement).

# %%
reports = {name: hiercl.evaluate(run, train, test, seed=SEED) for name, run in runs.items()}
table = pd.concat({name: report.table() for name, report in reports.items()}, names=["encoder"])
table.to_csv(OUT / "results.csv")
table.unstack("encoder")[["linear", "knn", "ami"]].loc[list(train.hierarchy.level_names), :].style.format(precision=1)

# %%
# The largest margin (95 %) of a difference of two accuracies that comes from the test set alone.
noise = 100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5
for level in train.hierarchy.level_names:
    knn = table["knn"].xs(level, level="level").sort_values(ascending=False)
    gap = knn.iloc[0] - knn.iloc[1]
    verdict = f"{'within' if gap < noise else 'beyond'} the margin of ±{noise:.1f} points of this test set"
    print(f"{level:>7}: {knn.index[0]} has {gap:.1f} points more kNN accuracy than {knn.index[1]}, {verdict}.")
print("This is one seed. Another seed may reverse the order. A claim needs at least five pairs of runs.")

# %% [markdown]
# Accuracy does not say how wrong a wrong answer is. The full report says more. `mistake_height` is the number of
# levels that a mistake leads up the tree. `hierarchical_distance` says whether neighbours are at least relatives.
# `distance_correlation` says whether distances in the embedding follow the tree. `reports["HCSC"]` shows all
# measures, and `hiercl.metrics.definitions()` explains them. A cell is empty if the measure does not exist at that
# level.

# %%
columns = ["mistake_height", "hierarchical_distance", "distance_correlation"]
reports["HCSC"].table()[columns].style.format(precision=2, na_rep="")

# %% [markdown]
# ## 5. The tree that HCSC has learned
#
# Each row shows a prototype and the pictures nearest to it. Its label is the most frequent true class of its members,
# with the share of this class. The bar shows the domains of its members. The bar at the top shows the domains of all
# pictures.

# %%
keep(hiercl.plot.tree(hcsc.tree, train, exemplars=6), "tree")

# %% [markdown]
# The next figure compares the same tree with the true hierarchy. A darker diagonal means that prototypes and classes
# agree better.

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
# UMAP maps the features of the test pictures to two dimensions. Neighbours stay neighbours, but large distances mean
# little. The first map shows the untrained encoder, the second one shows HCSC. Each panel has the colours of one
# level.

# %%
maps = {name: hiercl.plot.map_2d(hiercl.embed(run, test), seed=SEED) for name, run in runs.items()}
keep(hiercl.plot.embedding(untrained, test, coordinates=maps["untrained"], title="untrained"), "map_untrained")

# %%
keep(hiercl.plot.embedding(hcsc, test, coordinates=maps["HCSC"], title="HCSC"), "map_hcsc")

# %% [markdown]
# This figure shows all three maps in the colours of the 12 groups.

# %%
keep(hiercl.plot.compare_embeddings(runs, test, level=1, coordinates=maps), "maps")

# %% [markdown]
# ## 7. Did HCSC remove the right candidates?
#
# This is the same anchor again. The number below a candidate is the probability that HCSC keeps it. A random draw
# decides. So a candidate with 0.9 may be removed, and a candidate with 0.6 may stay.
#
# **Predict**: does HCSC remove candidates of the anchor's own class more often than other candidates?

# %%
step = hcsc.step(train, seed=SEED)
keep(hiercl.plot.pairs(step, train, anchor=ANCHOR, term=f"instance {hcsc.tree.levels - 1}"), "pairs_hcsc")

# %% [markdown]
# This figure covers many anchors. Top: the share of the pushed candidates that have the anchor's own class. The line
# marks this share without selection. A bar shorter than the line is better. Bottom: the full dot is the removed share
# of the anchor's own class, the hollow dot is the removed share of the other classes. A useful selection has its full
# dot to the right of its hollow dot.

# %%
hcsc_audit = hcsc.audit(train, seed=SEED)
keep(hiercl.plot.audit({"MoCo v2": moco_audit, "HCSC": hcsc_audit}), "audit")

# %%
leaf = hcsc_audit[hcsc_audit["level"] == train.hierarchy.level_names[-1]]
for row in leaf[leaf["removed"] > 0].itertuples():
    ratio = row.same_removed / row.other_removed
    print(
        f"{row.term}: HCSC removed {100 * row.same_removed:.0f} % of the anchor's own {row.level} and "
        f"{100 * row.other_removed:.0f} % of the others ({ratio:.1f} times as often; 1 is chance). "
        f"{100 * row.wasted_removals:.0f} % of the removed candidates had other classes."
    )
print(f"\nFigures and results.csv are in {os.path.relpath(OUT)}.")

# %% [markdown]
# **Exercise.** What happens to a candidate that was removed? Is it `"pulled"`, `"pushed"`, or `"neither"`?

# %%
check("00 removed", ...)

# %% [markdown]
# ## Summary
#
# * A contrastive method pulls views of one picture together and pushes views of other pictures away. Some of these
#   other pictures are of the same kind.
# * HCSC learns a tree of prototypes. It removes negatives that are probably of the anchor's own kind. An audit with
#   the labels measures how often it is right.
# * You can look at trees and embeddings. Accuracies of one seed are not a comparison.
#
# ## Things to try
#
# 1. **Which part of the selection matters?** Try `hiercl.fit("hcsc", train, select="none", ...)`, then `"instances"`
#    and `"prototypes"`. Does the audit change? Does the table change?
# 2. **How many prototypes?** Try `prototypes=(100,)` and `(10, 30, 100)`. Which tree agrees best with the true
#    hierarchy, and at which level?
# 3. **When should the first tree come?** Try `WARM_UP = 1 / 3`. Is an early tree useful?
# 4. **Your own rule.** `select=lambda p: (p < 0.5).float()` keeps every candidate whose posterior is below one half.
#    The default is `lambda p: 1 - p`. What should a good rule do with uncertain candidates?
# 5. **What does the tree see?** Set `VIEWS = {}`. These views keep the colours. Which pictures do the prototypes
#    collect now?
# 6. **Real pictures.** Use `train, test = hiercl.load("cifar100")` and `train = train.under("trees", "vehicles_1",
#    "people")`. Do the same with `test`.
# 7. **Is it luck?** Run the notebook with `SEED = 1`, 2 and 3. Which of the printed sentences stay true?
