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
# beside the true hierarchy. You know how to tell whether an idea works: compare it with a random control and with an
# oracle.
#
# Contrastive learning trains an encoder without labels. It **pulls** two random views of one picture together. It
# **pushes** views of other pictures away. Some of these other pictures are of the same kind and should not be pushed.
# HCSC ("Hierarchical Contrastive Selective Coding", Guo et al., 2022, [arXiv
# 2202.00455](https://arxiv.org/abs/2202.00455)) *learns a hierarchy* and removes such pairs.
#
# The next cell holds all settings. Change them and run the notebook again.

# %%
import os
import tempfile
from pathlib import Path

import pandas as pd

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}

# %%
FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
SEED = 0
CLASSES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()  # two classes of each of ten superclasses
EPOCHS = 3 if FAST else 30
SETTINGS = dict(batch=256, queue=512, lr=2e-3, momentum=0.9, temperature=0.2, monitor_every=0, progress=False)
# HCSC: prototypes on two levels. The first tree comes after a tenth of the training. sharpness=4: it removes what is
# likely of the anchor's kind, and little else.
HCSC = dict(prototypes=(10, 20), warm_up=0.1, sharpness=4.0, terms="instances", select="instances")

# %%
checkout = Path(hiercl.__file__).parents[1]
home = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
OUT = Path(os.environ.get("HIERCL_OUT", home / "runs" / "demo"))
try:
    OUT.mkdir(parents=True, exist_ok=True)
except OSError:  # the folder cannot be written
    OUT = Path(tempfile.mkdtemp())


def keep(figure, name):
    """Saves a figure in the folder of results and returns it."""
    figure.savefig(OUT / f"{name}.png")
    return figure


# %% [markdown]
# ## 1. Real pictures, seen by a real backbone
#
# `cifar100-features` comes with the package: 15,000 pictures of CIFAR-100 ("Learning Multiple Layers of Features from
# Tiny Images", Krizhevsky, 2009, [report](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)) as an
# EfficientNet-Lite0 sees them, 640 numbers each. (It is a variant of the network of "EfficientNet: Rethinking Model
# Scaling for Convolutional Neural Networks", Tan and Le, 2019, [arXiv 1905.11946](https://arxiv.org/abs/1905.11946).)
# We train a small network on these features, which takes seconds. The backbone was trained on ImageNet ("ImageNet Large
# Scale Visual Recognition Challenge", Russakovsky et al., 2015, [arXiv 1409.0575](https://arxiv.org/abs/1409.0575))
# with labels, and ImageNet has many of these kinds. So the features know more than the small network could learn from
# CIFAR-100 alone. The small network itself sees no labels below, except where we say so.
#
# Where CIFAR-100 is at hand, the figures show its pictures. Elsewhere they name the classes.

# %%
train, test = (part.under(*CLASSES) for part in hiercl.load("cifar100-features"))
print(train)
keep(hiercl.plot.gallery(train, level=0, per_node=8, seed=SEED), "gallery")

# %% [markdown]
# ## 2. A tree that nobody has drawn
#
# HCSC clusters the items into prototypes, and the prototypes into coarser ones, before every epoch. Each row below
# shows a fine prototype and the items nearest to it. Its label is the most frequent true class of its members, with
# the share of this class. The bar shows the superclasses of its members.
#
# **What you should see**: most fine prototypes are one kind of thing. Where one mixes classes, they often look alike.
# Coarse prototypes mix more. Which classes does the tree put together that the taxonomy keeps apart?

# %%
hcsc = hiercl.fit("hcsc", train, epochs=EPOCHS, seed=SEED, **SETTINGS, **HCSC)
keep(hiercl.plot.tree(hcsc.tree, train, exemplars=5), "tree")

# %% [markdown]
# The next figure compares the same tree with the true hierarchy. A dark diagonal means that prototypes and classes
# agree.

# %%
keep(hiercl.plot.trees(hcsc.tree, train), "trees")

# %% [markdown]
# ## 3. The pairs of one anchor
#
# The **anchor** is the view whose loss we look at. The **queue** holds items of earlier steps. Without a selection all
# of them are pushed. (“instance 0” is the loss that selects with the coarse prototypes, “instance 1” with the fine
# ones.) HCSC removes those that seem to belong to the anchor's prototype. The number below a candidate is the
# probability that HCSC keeps it. Bold names mark the anchor's own class.
#
# **Predict**: how many of the removed items are apples?

# %%
ANCHOR = 3  # try others: 0 to 255
step = hcsc.step(train, seed=SEED)
keep(hiercl.plot.pairs(step, train, anchor=ANCHOR, term=f"instance {hcsc.tree.levels - 1}"), "pairs")

# %% [markdown]
# One anchor is an example. An audit counts over many anchors, with the true labels that HCSC has not seen.

# %%
audit = hcsc.audit(train, seed=SEED)
for row in audit[audit["removed"] > 0].itertuples():
    print(
        f"{row.term}, by {row.level}: HCSC removed {100 * row.same_removed:.0f} % of the anchor's own {row.level} and "
        f"{100 * row.other_removed:.0f} % of the others."
    )

# %% [markdown]
# **Exercise.** A queue holds 3,600 random pictures of 12 groups of equal size. How many of them have the anchor's own
# group? Write a number in place of the dots.

# %%
check("00 chance", ...)

# %% tags=["solution"]
# 3,600 pictures in 12 groups of equal size: 3,600 / 12.
check("00 chance", 300)

# %% [markdown]
# **Exercise.** What happens to a candidate that was removed? Is it `"pulled"`, `"pushed"`, or `"neither"`?

# %%
check("00 removed", ...)

# %% tags=["solution"]
# A removed candidate has no part in the loss.
check("00 removed", "neither")

# %% [markdown]
# ## 4. Does it help? Between a random control and an oracle
#
# Removing negatives changes two things: *which* are removed, and *how many*. So a comparison needs four trainings:
#
# * **nothing removed**: this is MoCo v2 ("Improved Baselines with Momentum Contrastive Learning", Chen et al., 2020,
#   [arXiv 2003.04297](https://arxiv.org/abs/2003.04297)), which pushes the whole queue.
# * **at random**: as many removed as HCSC removes, but random ones. It is the control.
# * **by prototypes**: this is HCSC, which we have trained already.
# * **by true classes**: exactly the false negatives are removed. It is the oracle. No method can know more.
#
# The oracle says how much there is to gain. Where even the oracle gains nothing, expect nothing of any method.

# %%
ARMS = {
    "nothing removed": dict(select="none"),
    "at random": dict(select_by="random"),
    "by prototypes": None,
    "by true classes": dict(select_by="labels"),
}
runs = {
    name: hcsc if arm is None else hiercl.fit("hcsc", train, epochs=EPOCHS, seed=SEED, **SETTINGS, **HCSC | arm)
    for name, arm in ARMS.items()
}
reports = {name: hiercl.evaluate(run, train, test, seed=SEED, progress=False) for name, run in runs.items()}
table = pd.concat({name: report.table() for name, report in reports.items()}, names=["removed"])
table.to_csv(OUT / "results.csv")
table.unstack("level")[["ami", "knn", "linear"]].loc[list(ARMS)].style.format(precision=1)

# %% [markdown]
# *AMI* is the agreement of k-means clusters with the classes (0 is chance, 100 is perfect agreement). *kNN* is the
# share of test items whose nearest training items vote for the right class. *linear* is the accuracy of a linear probe.
#
# The figure puts your four trainings (stars) beside recorded ones of several seeds (dots). One seed is no result: look
# where the means stand, and how far the seeds scatter.
#
# **What you should see**: by AMI of the class, prototypes gain two thirds of what the oracle gains, and random
# removal gains next to nothing. By kNN even the oracle gains little.

# %%
recorded = hiercl.study.recorded("regimes")
own = {
    name: {f"{metric} {level}": table.loc[(name, level), metric] for metric in ("ami", "knn") for level in ("class",)}
    for name in ARMS
}
names = {name: f"20 classes, removed, {name.removesuffix(' removed')}" for name in ARMS}
keep(hiercl.plot.brackets(recorded, names, ["ami class", "knn class"], own, "Which negatives are removed"), "brackets")

# %% [markdown]
# ## 5. A map
#
# UMAP ("UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction", McInnes et al., 2018, [arXiv
# 1802.03426](https://arxiv.org/abs/1802.03426)) maps the test items to two dimensions. Neighbours stay neighbours, but
# large distances mean little. The colours are superclasses on the left, and shades of them for the classes on the
# right.

# %%
keep(hiercl.plot.embedding(hcsc, test, seed=SEED, title="HCSC"), "map")

# %% [markdown]
# ## 6. From scratch
#
# Now without a backbone. `shapes` holds generated pictures, and we take ten kinds of things. A small convolutional
# network starts from random weights. How long it can train depends on this machine, so we ask the machine first.

# %%
KINDS = "floor lamp, table lamp, car, bus, aeroplane, helicopter, dog, giraffe, duck, penguin".split(", ")
sizes = dict(per_class=20, test_per_class=5) if FAST else dict(per_class=200, test_per_class=50)
pictures, test_pictures = (part.under(*KINDS) for part in hiercl.load("shapes", **sizes))
machine = hiercl.machine("whitenet")
print(machine)
MINUTES = 0.8  # for the passes through the network; views, trees and loss come on top
epochs = 2 if FAST else max(4, min(24, int(MINUTES / machine.minutes(len(pictures)))))
print(f"So the training has {epochs} epochs of {len(pictures):,} pictures.")

# %% [markdown]
# A training never sees the pictures themselves. It sees random **views**: parts of them, in other colours. Two views of
# one picture are pulled together, so whatever differs between them must not matter. Objects of one class come in any
# colour here. So these views change colours strongly.

# %%
VIEWS = dict(jitter=(0.6, 0.6, 0.6, 0.5), jitter_probability=1.0, grayscale=0.5)
keep(hiercl.plot.views(pictures, count=5, seed=SEED, **VIEWS), "views")

# %%
scratch = hiercl.fit(
    "simclr", pictures, epochs=epochs, batch=128, seed=SEED, temperature=0.5, progress=False,
    callbacks=[hiercl.plot.live()], **VIEWS,
)  # fmt: skip

# %% [markdown]
# SimCLR ("A Simple Framework for Contrastive Learning of Visual Representations", Chen et al., 2020, [arXiv
# 2002.05709](https://arxiv.org/abs/2002.05709)) has no tree. It pushes all other pictures of the batch. k-means of its
# features makes a tree afterwards, and names come from the labels only when it is drawn.

# %%
tree = hiercl.PrototypeTree.fit(hiercl.embed(scratch, pictures), sizes=(5, 10, 20), seed=SEED)
keep(hiercl.plot.tree(tree, pictures, level=-1, exemplars=6), "tree_scratch")

# %%
report = hiercl.evaluate(scratch, pictures, test_pictures, seed=SEED, progress=False)
report.table()[["ami", "knn", "linear"]].style.format(precision=1)

# %% [markdown]
# **What you should see**: most rows hold one kind, or two that are hard to tell apart, such as cars and buses. The
# network started from random weights and saw no label. The branches join what has a similar outline, whatever it is
# for: in our run floor lamps and giraffes, table lamps and penguins. A machine that allows only a few epochs mixes
# more kinds.
#
# Ten kinds that look different are an easy case. With all 30 classes, or with photographs, a training of a minute does
# not group the kinds, and a tree cannot show what the encoder does not know. So ideas about hierarchies show best
# where the features are good: on those of a backbone, or after long training. The other notebooks say for each figure
# which of the two it is.
#
# ## Summary
#
# * A contrastive method pulls views of one picture together and pushes views of other pictures away. Some of these
#   other pictures are of the same kind.
# * HCSC learns a tree of prototypes. It removes negatives that are probably of the anchor's own kind. An audit with
#   the labels measures how often it is right.
# * An idea works if it is better than its random control. The oracle says how much there is to gain.
#
# ## Things to try
#
# 1. **Sharpness.** Try `sharpness=1` and 16. How do the audit and the AMI change?
# 2. **How many prototypes?** Try `prototypes=(5, 10)` and `(20, 80)`. What happens to the tree?
# 3. **All 100 classes.** Leave out `.under(*CLASSES)`, and take `prototypes=(20, 100)`.
# 4. **Other families.** `hiercl.fit("csml", train, ...)` pulls mined neighbours ("Seed the Views", Xu et al., 2020,
#    [arXiv 2012.02733](https://arxiv.org/abs/2012.02733)). `hiercl.fit("hmc", train, ...)` sees the labels of every
#    level ("Use All The Labels", Zhang et al., 2022, [arXiv 2204.13207](https://arxiv.org/abs/2204.13207)).
#    `hiercl.study.recorded("brackets-hierarchy")` has the results of such trainings.
# 5. **Your own features.** `hiercl.HierarchicalDataset.from_features(X, labels, hierarchy)` takes the place of
#    `hiercl.load`.
# 6. **Is it luck?** Run the notebook with `SEED = 1`, 2 and 3. Which sentences stay true?
#
# Figures and `results.csv` are in the folder `OUT`.

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 15 minutes, exercises included. Hard for them: the whole story at once.
#
# Typical mistakes:
#
# * "A removed candidate is pulled." Removed means: no part in the loss.
# * "The oracle is an upper limit of accuracy." It is the limit of this idea, in this training.
#
# No open question. Ask which sentence of the notebook stayed true with three seeds.
