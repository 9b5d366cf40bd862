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
# # 10 · Your own data
#
# **You will be able to** bring pictures of your own, as a folder or as arrays, with a hierarchy or without, and train
# and judge any method on them. The example is Omniglot: handwritten characters of several alphabets.
#
# About a minute of computing on two CPU cores. Before: [01](01_pairs.ipynb). After: [11, scaling
# up](11_scaling_up.ipynb).

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

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests: generated pictures in place of Omniglot
DATA, EPOCHS = ("shapes", 1) if FAST else ("omniglot", 6)
SETTINGS = dict(epochs=EPOCHS, batch=128, seed=0, monitor_every=0, progress=False)
FOLDER = Path(tempfile.mkdtemp()) / "drawings"

# %% [markdown]
# ## 1. A folder
#
# Most data begin as folders: `drawings/Greek/alpha/01.png`. Here is such a folder, written from some pictures that are
# at hand.

# %%
source, _ = hiercl.load(DATA)
source = source.take(np.arange(0, len(source), 20 if FAST else 3))
for number, (picture, label) in enumerate(zip(source.items, source.labels, strict=True)):
    folder = FOLDER.joinpath(*source.hierarchy.path(int(label)))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(picture)).save(folder / f"{number:05d}.png")
print(f"{number + 1:,} pictures in {sum(1 for path in FOLDER.rglob('*') if path.is_dir())} folders")

# %% [markdown]
# One call reads it. The folders are the hierarchy, as deep as they go; a fifth of every class, one picture at least,
# becomes the test set.

# %%
train, test = hiercl.load(FOLDER)
print(train, test, sep="\n")
hiercl.plot.gallery(train, level=0, per_node=10)

# %% [markdown]
# Real folders hold broken files. All of them are named at once, and nothing is half done.

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
# ## 2. Arrays, and a hierarchy said in words
#
# From arrays: pictures `[n, height, width, channels]` in uint8, the leaf class of each, and the tree. It can be
# written as a nested dict, as parents, or found in columns of labels. In a dict a leaf beside a branch is written
# `"wolf": None`. A leaf that ends early is carried down under its own name: `o` counts as a node of the level below,
# too. `lca_level` is the deepest level that two leaves share, −1 if there is none.

# %%
tree = hiercl.Hierarchy.from_dict({"round": ["o", "e"], "straight": {"one stroke": ["l"], "two strokes": ["x", "t"]}})
print(tree.leaf_names, "levels:", tree.sizes)
print("x and t have in common:", tree.names[1][tree.ancestors[3, 1]], "| x and o:", tree.lca_level(3, 0))
hiercl.plot.hierarchy(tree)

# %% [markdown]
# Columns of labels may contradict each other. Then it is said which label has two parents:

# %%
columns = [["Greek", "alpha"], ["Latin", "a"], ["Latin", "alpha"]]
try:
    hiercl.Hierarchy.from_labels(columns)
except ValueError as error:
    print(error)

# %% [markdown]
# **Exercise.** Build the hierarchy in which `cat` and `dog` are under `pet`, `pet` and `wolf` are under `animal`, and
# `car` is under `vehicle`. Which of the forms you take is yours to choose.

# %%
check("10 hierarchy", ...)

# %% [markdown]
# ## 3. Views for these pictures
#
# Views say what must *not* matter. Photographs may be mirrored and recoloured. May letters?
#
# **Exercise.** Which one of these settings of the views must be set to 0 for letters, since it turns some of them into
# others: `"crop"`, `"flip"`, `"jitter_probability"`, `"blur"`?

# %%
check("10 views", ...)

# %% [markdown]
# With the right settings: SimCLR without labels, HMC with the two-level labels.
#
# **Predict**: how far apart will they be at the coarse level, how far at the fine one?

# %%
views = dict(flip=0.0, jitter_probability=0.0, grayscale=0.0, crop_scale=(0.5, 1.0))
runs = {name: hiercl.fit(name, train, **views, **SETTINGS) for name in ("simclr", "hmc")}
reports = {name: hiercl.evaluate(run, train, test) for name, run in runs.items()}
for name, report in reports.items():
    rows = report.table()
    print(f"{name:7} kNN, " + ", ".join(f"{level}: {row['knn']:.1f} %" for level, row in rows.iterrows()))
for level in rows.index:
    a, b = (report.table().loc[level, "knn"] for report in reports.values())
    noise = 1.96 * np.sqrt((a * (100 - a) + b * (100 - b)) / len(test))
    word = "within" if abs(b - a) < noise else "beyond"
    print(f"{level}: {b - a:+.1f} points, {word} the ±{noise:.1f} of {len(test)} test pictures; one seed")

# %% [markdown]
# And an encoder that was trained for longer, on photographs? This is transfer: it has never seen a letter.
#
# **Predict**: is it better or worse than the two above?

# %%
photographs = hiercl.evaluate(hiercl.pretrained("simclr"), train, test).table()["knn"]
print("SimCLR on CIFAR-100, kNN,", ", ".join(f"{level}: {value:.1f} %" for level, value in photographs.items()))

# %%
hiercl.plot.neighbours(runs["hmc"], train, count=9)  # of the test set there is one picture a class

# %%
hiercl.plot.confusion(runs["hmc"], test, train=train)

# %% [markdown]
# ## 4. No hierarchy, no labels
#
# A folder without subfolders, or arrays with one class, works with every method that needs no labels. HCSC then learns
# a tree of its own, and HMC can take that tree in place of labels (`source="prototypes"`).

# %%
unlabelled = hiercl.Hierarchy.from_dict(["unlabelled"])
plain = HierarchicalDataset.from_arrays(train.items, np.zeros(len(train), dtype=np.int64), unlabelled)
own = dict(prototypes=(4, 12) if FAST else (8, 60), warm_up=0.5, **views, **SETTINGS | {"epochs": 2 * EPOCHS})
labelless = hiercl.fit("hmc", plain, source="prototypes", **own)
print(labelless.tree)

# %% [markdown]
# We have labels after all, and can ask what it found. **Predict**: does it group by alphabet?

# %%
hiercl.plot.tree(labelless.tree, train, level=0, exemplars=12)

# %%
hiercl.plot.flow(labelless.tree, train, prototypes=0, level=0)

# %%
hiercl.explore.tree(labelless.tree, train)

# %% [markdown]
# A learned tree is a hierarchy like any other: it can be saved, drawn, and learned from.

# %%
learned = labelless.tree.as_hierarchy()
print(learned.sizes, "nodes; the first path:", " > ".join(learned.path(0)))
by_tree = replace(train, hierarchy=learned, labels=labelless.tree.assignment[:, -1].cpu().numpy())
by_tree.save(FOLDER.parent / "by_tree")
print(HierarchicalDataset.load(FOLDER.parent / "by_tree"))

# %% [markdown]
# **Exercise.** A folder has 3 classes with 900, 90 and 10 pictures. You want to know how a method does when the rare
# class counts as much as the others. Which column of the report do you read: `"linear"`, `"linear_balanced"`, `"flat"`
# or `"ami"`?

# %%
check("10 rare", ...)

# %% [markdown]
# ## Summary
#
# * A folder, a CSV file or arrays: `hiercl.load`, or `HierarchicalDataset.from_arrays`.
# * Views are your statement of what must not matter. Check them before anything else.
# * Without labels, a tree can be learned; with labels, one can ask what it found.
#
# **To think about.** Your own data: what would its hierarchy be? Would two people draw the same one?
