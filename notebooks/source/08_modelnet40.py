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
# # 08 · The same on shapes: ModelNet
#
# **You will be able to** train any method of this project on point clouds, say what an encoder of points must not
# depend on, judge unequal classes fairly, and find the neighbours of shapes of classes that were never seen.
#
# About two minutes of computing on two CPU cores. Before: [06, feature
# identification](06_feature_identification.ipynb). After: [09, ablation lab](09_ablation_lab.ipynb).

# %%
import os

import numpy as np
import torch

import hiercl
from hiercl.exercises import check
from hiercl.views.mixing import plane_mix

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests: generated solids in place of ModelNet10
DATA = {"name": "shapes", "items": "points", "per_class": 8, "test_per_class": 3} if FAST else {"name": "modelnet10"}
SETTINGS = dict(epochs=1 if FAST else 6, points=64, batch=128, seed=0, lr=0.003, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. Clouds instead of pictures
#
# A shape is a set of points on its surface, `[points, 3]`, z up, in the unit sphere. Nothing else changes: the same
# `load`, `fit`, `evaluate`, the same plots. The superclasses, by use, are **ours**: ModelNet has none.

# %%
train, test = hiercl.load(**DATA)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
print(train)
hiercl.plot.gallery(train, level=0, per_node=10)

# %% [markdown]
# The classes are **unequal** in training, and so are the superclasses. Where test shapes are as unequal, accuracy over
# all of them is mostly that of the large classes.

# %%
for name, count in zip(train.hierarchy.names[0], train.counts(0), strict=True):
    print(f"{name:20} {count:5,} shapes")
hiercl.plot.hierarchy(train.hierarchy)

# %% [markdown]
# ## 2. Views of a shape
#
# A view turns the shape about the vertical, scales, shifts and jitters it, and keeps some random points. Here are a
# shape (cloud 0) and three views of it. (Each is drawn as large as it fits: scale and shift cannot be seen.)

# %%
views = hiercl.views.PointViews(hiercl.views.PointViewConfig(points=512))
shape = train.items[[len(train) // 6]]
drawn = views(torch.from_numpy(shape).repeat(3, 1, 1), torch.Generator().manual_seed(0))
clouds = np.concatenate([shape[:, :512], drawn[..., 0].transpose(1, 2).numpy()])
hiercl.plot.cloud(clouds, views=[(20, -55)], title="A shape and three views of it")

# %% [markdown]
# A cloud is a *set*: in which order its points come must not matter. PointNet looks at every point by itself, and
# takes for every feature the largest value over all points.
#
# **Exercise.** Write a function from a cloud to one feature of your choice that does not depend on the order of the
# points, nor on a turn about the vertical, but does tell a tall cloud from a flat one.


# %%
def feature(points):
    """One number of a cloud; `points` is a numpy array [points, 3], z up."""
    return ...


check("08 invariance", feature)

# %% [markdown]
# ## 3. Two methods
#
# SimCLR reads no labels. A-HMLC reads the classes and the superclasses, and gives every level soft weights on the
# features.
#
# **Predict**: which of them finds the superclass better on test shapes, and by how much?

# %%
encoder = "pointnet_vanilla"
runs = {name: hiercl.fit(name, train, encoder=encoder, **SETTINGS) for name in ("simclr", "a_hmlc")}
hiercl.plot.history(runs)

# %%
reports = {name: hiercl.evaluate(run, train, test) for name, run in runs.items()}
for name, report in reports.items():
    rows = report.table()
    words = [
        f"{level}: {row['linear']:.1f} % ({row['linear_balanced']:.1f} % balanced)" for level, row in rows.iterrows()
    ]
    print(f"{name:7} linear probe, {'; '.join(words)}")
for level in rows.index:
    a, b = (report.table().loc[level, "linear"] for report in reports.values())
    noise = 1.96 * np.sqrt((a * (100 - a) + b * (100 - b)) / len(test))
    word = "within" if abs(b - a) < noise else "beyond"
    print(f"{level}: {b - a:+.1f} points, {word} the ±{noise:.1f} of {len(test)} test shapes; one seed")

# %% [markdown]
# *Balanced* is the mean recall over classes, however many test shapes each has. These test classes are nearly equal, so
# the two numbers are close. For every class, how often it is recognised:

# %%
classes = reports["a_hmlc"].classes.query("level == @fine").sort_values("train")
for row in classes.itertuples():
    bar = "█" * round(row.linear / 4) if np.isfinite(row.linear) else "no test shapes"
    print(f"{row._2:14} {row.train:4} training shapes  {row.linear:5.1f} % {bar}")

# %% [markdown]
# **Predict** which classes are confused, and whether the mistakes stay inside the superclass. (Here the nearest
# training shapes vote, not the linear probe: the shares differ.)

# %%
hiercl.plot.confusion(runs["a_hmlc"], test, train=train)

# %% [markdown]
# ## 4. Who pushes whom
#
# The same picture as in [01](01_pairs.ipynb), of SimCLR. Below it one anchor of A-HMLC: at level 0 it pulls everything
# of the superclass.

# %%
hiercl.plot.pair_matrix(runs["simclr"].step(train, batch=48), train, level=0)

# %%
hiercl.plot.pairs(runs["a_hmlc"].step(train, batch=128), train, term=0)

# %% [markdown]
# ## 5. Mixing two shapes
#
# CsMl mixes an anchor with its neighbour. For pictures that is CutMix; for clouds it is **ours**: a plane of random
# direction cuts both, and the mixture takes what lies below it of one and above it of the other (along that direction).
# Its share $\lambda$ is exactly the share
# of points that are the first one's.

# %%
pair = torch.from_numpy(train.items[np.array([0, len(train) // 2])]).transpose(1, 2)[..., None]
mixture, share = plane_mix(pair[:1], pair[1:], torch.tensor([0.3, 0.5, 0.6, 0.25, 0.7]))
cloud = mixture[0, :, :, 0].T.numpy()
of_first = np.arange(len(cloud)) < round(float(share) * len(cloud))
hiercl.plot.cloud(
    cloud, mask=of_first, title=f"A mixture: {100 * float(share):.0f} % of its points are the first shape's"
)

# %% [markdown]
# **Exercise.** Two clouds of 1,024 points are mixed with $\lambda = 0.3$ drawn. The mixture has to have 1,024 points,
# and a whole number of the first one's: the largest that is not above $0.3 \cdot 1024$. Which exact $\lambda$ must the
# loss use?

# %%
check("08 lambda", ...)

# %% [markdown]
# ## 6. Classes that were never seen
#
# ModelNet40 has thirty classes more. Of most, only a few shapes are at hand: too few for an accuracy, enough to look
# at. An encoder that was trained on the ten classes for longer is asked for the nearest shapes. (The shares above the
# picture are of random shapes, most of them of the trained classes; look at the rows.)

# %%
long = hiercl.pretrained("modelnet10-hmc")
gallery, _ = hiercl.load(**DATA) if FAST else hiercl.load("modelnet40")
known = () if FAST else train.hierarchy.leaf_names
labels = [label for label in np.argsort(gallery.counts()) if gallery.hierarchy.leaf_names[label] not in known]
rare = [int(np.flatnonzero(gallery.labels == label)[0]) for label in labels[-14:-2:2]]
hiercl.plot.neighbours(long.encoder, gallery, items=rare, count=8)

# %% [markdown]
# Turn a shape with the mouse (this needs a running notebook):

# %%
hiercl.plot.cloud_3d(train, item=1)

# %% [markdown]
# **Exercise.** A class has 10 test shapes, another 90. A classifier is right for 5 of the 10 and for all of the 90.
# What are its accuracy and its balanced accuracy, in per cent? Give both in a tuple.

# %%
check("08 balanced", ...)

# %% [markdown]
# ## Summary
#
# * The methods speak of pairs, not of pixels: with another encoder and other views they work on clouds.
# * An encoder of points must not depend on their order; views make it bear turns.
# * Where classes are unequal, look at balanced accuracy, and at every class.
#
# **To think about.** Views turn shapes about the vertical alone. What would be lost, and what gained, if they turned
# them in any direction (`rotation="any"`)?
