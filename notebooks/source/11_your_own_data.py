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
# # 11 · Your own data
#
# **After this notebook you can** load your own pictures, from a folder or from arrays, with or without a hierarchy.
# You can train and judge any method on them, and you know whether the training was worth it. The example is Omniglot
# ("Human-level concept learning through probabilistic program induction", Lake et al., Science 2015,
# [doi 10.1126/science.aab3050](https://doi.org/10.1126/science.aab3050)): handwritten characters of several alphabets.
#
# Before: [02](02_pairs.ipynb). After: [12, scaling up](12_scaling_up.ipynb).

# %%
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings and generated pictures in place of Omniglot
DATA, EPOCHS = ("shapes", 2) if FAST else ("omniglot", 30)
SETTINGS = dict(epochs=EPOCHS, batch=128, seed=0, monitor_every=0, progress=False)
FOLDER = Path(tempfile.mkdtemp()) / "drawings"

# %% [markdown]
# ## 1. A folder
#
# Most data begin as folders, for example `drawings/Greek/alpha/01.png`. The next cell writes such a folder from
# pictures of a known data set.

# %%
source, _ = hiercl.load(DATA)
source = source.take(np.arange(0, len(source), 20)) if FAST else source
for number, (picture, label) in enumerate(zip(source.items, source.labels, strict=True)):
    folder = FOLDER.joinpath(*source.hierarchy.path(int(label)))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(picture)).save(folder / f"{number:05d}.png")
print(f"{number + 1:,} pictures in {sum(1 for path in FOLDER.rglob('*') if path.is_dir())} folders")

# %% [markdown]
# One call reads it. The folders are the hierarchy, with any number of levels. We give the levels names. The test set
# gets a fifth of every class, and at least one picture.

# %%
train, test = hiercl.load(FOLDER, level_names=source.hierarchy.level_names)
print(train, test, sep="\n")
hiercl.plot.gallery(train, level=0, per_node=10)

# %% [markdown]
# Real folders contain broken files. The error names all of them at once, and no partial result remains.

# %%
broken = FOLDER / sorted(path.name for path in FOLDER.iterdir())[0] / "extra" / "cut_off.png"
broken.parent.mkdir()
broken.write_bytes(b"\x89PNG and then nothing")
try:
    hiercl.load(FOLDER)
except ValueError as error:
    print(str(error).replace(str(FOLDER), "drawings"))
broken.unlink()
broken.parent.rmdir()

# %% [markdown]
# ## 2. Arrays, and a hierarchy in words
#
# You can also give arrays: pictures `[n, height, width, channels]` in uint8, the leaf class of each picture, and the
# tree. The tree is a nested dict, the parents of the nodes, or columns of labels. In a dict, write `"wolf": None` for
# a leaf beside a branch. A leaf that ends early continues down to the last level under its own name. So `o` is also a
# node of the level below. `lca_level` is the deepest level at which two leaves share a node. It is −1 if there is
# none.

# %%
tree = hiercl.Hierarchy.from_dict({"round": ["o", "e"], "straight": {"one stroke": ["l"], "two strokes": ["x", "t"]}})
print(tree.leaf_names, "levels:", tree.sizes)
print("x and t share:", tree.names[1][tree.ancestors[3, 1]], "| lca_level of x and o:", tree.lca_level(3, 0))
hiercl.plot.hierarchy(tree)

# %% [markdown]
# Columns of labels may contradict each other. Then the error names the label that has two parents:

# %%
columns = [["Greek", "alpha"], ["Latin", "a"], ["Latin", "alpha"]]
try:
    hiercl.Hierarchy.from_labels(columns)
except ValueError as error:
    print(error)

# %% [markdown]
# **Exercise** (warm-up). Build this hierarchy: `cat` and `dog` are under `pet`, `pet` and `wolf` are under `animal`,
# and `car` is under `vehicle`. You may use any of the forms.

# %%
check("11 hierarchy", ...)

# %% tags=["solution"]
check("11 hierarchy", hiercl.Hierarchy.from_dict({"animal": {"pet": ["cat", "dog"], "wolf": None}, "vehicle": ["car"]}))

# %% [markdown]
# ## 3. Views for these pictures
#
# Views say what must *not* matter. Photographs may be mirrored and recoloured. May letters?
#
# **Exercise.** One of these settings of the views turns some letters into others. Which one must be 0 for
# letters: `"crop"`, `"flip"`, `"jitter_probability"`, or `"blur"`?

# %%
check("11 views", ...)

# %% tags=["solution"]
# A mirrored b is a d.
check("11 views", "flip")

# %% [markdown]
# Now we train with suitable views: SimCLR ("A Simple Framework for Contrastive Learning", Chen et al., 2020, [arXiv
# 2002.05709](https://arxiv.org/abs/2002.05709)) without labels, and HMC ("Use All The Labels: A Hierarchical
# Multi-Label Contrastive Learning Framework", Zhang et al., 2022, [arXiv 2204.13207](https://arxiv.org/abs/2204.13207))
# with alphabet and character. Two encoders stand beside them that have never seen a letter: one with random weights,
# and one that SimCLR trained on the photographs of CIFAR-100.
#
# **Predict** the order of the four by kNN of the character.

# %%
views = dict(flip=0.0, jitter_probability=0.0, grayscale=0.0, crop_scale=(0.5, 1.0))
models = {"random weights": hiercl.fit("simclr", train, **SETTINGS | {"epochs": 0})}
models["photographs"] = hiercl.pretrained("simclr")
models |= {name: hiercl.fit(name.lower(), train, **views, **SETTINGS) for name in ("SimCLR", "HMC")}
reports = {name: hiercl.evaluate(model, train, test, progress=False) for name, model in models.items()}
for name, report in reports.items():
    print(f"{name:15} kNN, " + ", ".join(f"{level}: {row['knn']:.1f} %" for level, row in report.table().iterrows()))

# %% [markdown]
# **What we saw** (one run): each step helps. A training of your own learns what tells *these* pictures apart, because
# its views say what must not matter here. Labels add what views cannot say.
#
# Is the gain of your own training certain on these test pictures? `compare` tests it item by item.

# %%
reports["photographs"].compare(reports["SimCLR"])

# %%
hiercl.plot.neighbours(models["HMC"], test, items=range(0, len(test), max(1, len(test) // 6)), count=9)

# %%
hiercl.plot.confusion(models["HMC"], test, train=train)

# %% [markdown]
# ## 4. No hierarchy, no labels
#
# A folder without subfolders, or arrays with one class, work with every method that needs no labels. HCSC
# ("Hierarchical Contrastive Selective Coding", Guo et al., 2022, [arXiv 2202.00455](https://arxiv.org/abs/2202.00455))
# then learns its own tree. HMC can use a learned tree in place of labels (`source="prototypes"`).

# %%
unlabelled = hiercl.Hierarchy.from_dict(["unlabelled"])
plain = HierarchicalDataset.from_arrays(train.items, np.zeros(len(train), dtype=np.int64), unlabelled)
own = dict(prototypes=(4, 12) if FAST else (8, 60), warm_up=0.5, **views, **SETTINGS)
labelless = hiercl.fit("hmc", plain, source="prototypes", **own)
print(labelless.tree)

# %% [markdown]
# We do have labels, so we can check what the tree found. **Predict**: does it group by alphabet?

# %%
hiercl.plot.tree(labelless.tree, train, level=0, exemplars=12)

# %%
hiercl.plot.flow(labelless.tree, train, prototypes=0, level=0)

# %%
hiercl.explore.tree(labelless.tree, train)

# %% [markdown]
# **What we saw** (one run): only in part. The AMI with the alphabets is 26 % (0 is chance, 100 is perfect). Two of the
# eight prototypes are one alphabet almost alone: 95 % Balinese, and 100 % Sanskrit. The others mix alphabets. They
# group by the form of the strokes: in one row a bar at the top joins characters of Sanskrit, Japanese and Korean. The
# tree knows pictures, and an alphabet is not always visible in a single character.
#
# A learned tree is a hierarchy like any other. You can save it, draw it, and learn from it.

# %%
learned = labelless.tree.as_hierarchy()
print(learned.sizes, "nodes; the first path:", " > ".join(learned.path(0)))
by_tree = replace(train, hierarchy=learned, labels=labelless.tree.assignment[:, -1].cpu().numpy())
by_tree.save(FOLDER.parent / "by_tree")
print(HierarchicalDataset.load(FOLDER.parent / "by_tree"))

# %% [markdown]
# **Exercise.** A folder has 3 classes with 900, 90 and 10 pictures. You want to judge a method so that the rare class
# counts as much as the others. Which column of the report do you read: `"linear"`, `"linear_balanced"`, `"flat"` or
# `"ami"`? (`reports["SimCLR"].table()` has them all.)

# %%
check("11 rare", ...)

# %% tags=["solution"]
# The balanced accuracy is the mean over classes of the accuracy within the class.
check("11 rare", "linear_balanced")

# %% [markdown]
# **Exercise** (open). How many labels is a training without labels worth? To label pictures is work. Your SimCLR has
# seen all training pictures, but no label. The next line draws two training pictures of every character. Only these
# have labels. It says how often they suffice to recognise a test picture:
#
# ```python
# hiercl.evaluate(models["SimCLR"], train.per_class(2, seed=0), test, progress=False).table()["knn"]
# ```
#
# Change the number, the seed of the draw, and the encoder. An evaluation takes seconds. Hand in five parts, one point
# each:
#
# 1. **A prediction**, before you compute: how many labelled pictures of every character does the encoder of photographs
#    need to do as well as your SimCLR with one?
# 2. **The lines that you have run.** Only the number, the draw and the encoder differ.
# 3. **A table** of kNN of the character: SimCLR and photographs with 1, 2, 4 and 8 labelled pictures, means and
#    ranges over three draws each. (A character has 8 training pictures, so one draw of 8 is enough.)
# 4. **A control**: the encoder with random weights. What does it tell you about the pictures?
# 5. **A sentence that the numbers allow**, for these pictures and this one training. And why is HMC not in the table?
#
# ## Summary
#
# * Load a folder or a CSV file with `hiercl.load`. Load arrays with `HierarchicalDataset.from_arrays`.
# * Views are your statement of what must not matter. Check them before everything else.
# * Without labels, a method can learn a tree. With labels, you can check what the tree found.
#
# **To think about.** Think of your own data. What would its hierarchy be? Would two people draw the same hierarchy?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included, and 90 with the open exercise. Hard for them:
# views say what must not matter.
#
# Typical mistakes:
#
# * "More augmentation is better." A flip turns b into d.
# * "Without labels there is nothing to check." A few labels are enough for a check.
#
# **The open exercise**, how to mark it. Students need about 30 minutes for it. One point for each of its five parts:
#
# 1. A number that was written down before. It need not be right. "More than eight" counts as well.
# 2. The test pictures and the encoders stay as they are. No encoder is trained again.
# 3. Means and ranges over the draws. Half a point for one draw only.
# 4. Random weights show what an untrained network gives. The distance from them is what training added.
# 5. The sentence speaks of kNN of the character on Omniglot, of one seed of the training. HMC has seen the labels of
#    all training pictures, so its row would not say what few labels are worth.
#
# An example answer. An evaluation took 1 to 6 CPU seconds. "I expected that 4 labelled pictures of every character make
# up for the training. KNN of the character in per cent, mean and range of three draws:
#
# | labelled pictures of every character | 1 | 2 | 4 | 8 |
# |---|---|---|---|---|
# | random weights (control) | 2.9 (2.5 to 3.1) | 2.8 (2.1 to 3.1) | 3.8 (3.5 to 4.1) | 5.8 |
# | photographs | 25.6 (23.8 to 28.3) | 28.5 (25.2 to 32.0) | 35.9 (34.5 to 38.6) | 45.2 |
# | SimCLR | 45.7 (43.6 to 46.7) | 54.3 (53.7 to 54.8) | 61.0 (59.9 to 61.6) | 67.8 |
#
# SimCLR with one labelled picture is as good as the encoder of photographs with all eight. So here a training without
# labels is worth about seven labels of every character, 1,694 in all. With more labels both gain, and SimCLR stays
# ahead by 20 to 26 points. The control is below 6 % everywhere: for a network that has learned nothing, pictures of one
# character are hardly alike. HMC has seen all labels. This is one training, and the draws say nothing about other
# seeds." More than is asked for: by the linear probe the training is worth less. SimCLR with one label has 46.6 %, and
# the encoder of photographs has 37.0 % with two labels and 50.3 % with four. So the answer depends on the measure.
#
# **To think about**, how to mark it. Two points. A hierarchy of at least two levels with a reason (1). A case where a
# second person would draw another (1).
