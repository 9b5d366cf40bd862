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
# # 09 · The same on shapes: ModelNet
#
# **After this notebook you can** train any method of this project on point clouds. You can say what an encoder of
# points must not depend on. You can judge unequal classes fairly. You can find neighbours of shapes whose classes the
# encoder never saw.
#
# Before: [07, feature identification](07_feature_identification.ipynb). After: [10, ablation
# lab](10_ablation_lab.ipynb).

# %%
import os

import numpy as np
import torch

import hiercl
from hiercl.exercises import check
from hiercl.views.mixing import plane_mix

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings and generated solids in place of ModelNet10
DATA = {"name": "shapes", "items": "points", "per_class": 8, "test_per_class": 3} if FAST else {"name": "modelnet10"}
SETTINGS = dict(epochs=1 if FAST else 6, points=64, batch=128, seed=0, lr=0.003, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. Clouds instead of pictures
#
# A shape is a set of points on its surface, `[points, 3]`. It lies in the unit sphere, and its z axis points up.
# Nothing else changes: `load`, `fit`, `evaluate` and the plots are the same. The superclasses group the classes by
# use. They are **ours**, because ModelNet (Wu et al., CVPR 2015) has none.

# %%
train, test = hiercl.load(**DATA)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
print(train)
hiercl.plot.gallery(train, level=0, per_node=10)

# %% [markdown]
# The training classes are **unequal**, and the superclasses are too. If test classes are as unequal, the accuracy
# over all shapes is mostly the accuracy of the large classes.

# %%
for name, count in zip(train.hierarchy.names[0], train.counts(0), strict=True):
    print(f"{name:20} {count:5,} shapes")
hiercl.plot.hierarchy(train.hierarchy)

# %% [markdown]
# ## 2. Views of a shape
#
# A view rotates the shape about the vertical axis, scales it, shifts it, adds noise to its points, and keeps some
# random points. The figure shows a shape (cloud 0) and three views of it. (Each cloud fills its panel, so you cannot
# see scale and shift.)

# %%
views = hiercl.views.PointViews(hiercl.views.PointViewConfig(points=512))
shape = train.items[[len(train) // 6]]
drawn = views(torch.from_numpy(shape).repeat(3, 1, 1), torch.Generator().manual_seed(0))
clouds = np.concatenate([shape[:, :512], drawn[..., 0].transpose(1, 2).numpy()])
hiercl.plot.cloud(clouds, views=[(20, -55)], title="A shape and three views of it")

# %% [markdown]
# A cloud is a *set*. The order of its points must not matter. PointNet (Qi et al., CVPR 2017) processes every point
# separately. Then it takes the largest value of each feature over all points.
#
# **Exercise.** Write a function from a cloud to one feature. You choose the feature. It must not depend on the order
# of the points or on a rotation about the vertical axis. But it must separate a tall cloud from a flat one.


# %%
def feature(points):
    """Returns one number for a cloud. `points` is a numpy array [points, 3] with z up."""
    return ...


check("09 invariance", feature)


# %% tags=["solution"]
def feature(points):
    """Returns one number for a cloud. `points` is a numpy array [points, 3] with z up."""
    return points[:, 2].std()


check("09 invariance", feature)

# %% [markdown]
# ## 3. Two methods
#
# SimCLR (Chen et al., 2020) uses no labels. A-HMLC (Ott et al., 2025) uses the classes and the superclasses. It gives
# every level soft weights on the features.
#
# **Predict**: which of them finds the superclass of test shapes better, and by how much?

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
    print(f"{level}: {b - a:+.1f} points, {word} the margin of ±{noise:.1f} of {len(test)} test shapes; one seed")

# %% [markdown]
# *Balanced* is the mean recall over classes. Every class has the same weight, whatever its number of test shapes.
# These test classes are nearly equal, so the two numbers are close. The next cell shows the recall of every class:

# %%
classes = reports["a_hmlc"].classes.query("level == @fine").sort_values("train")
for row in classes.itertuples():
    bar = "█" * round(row.linear / 4) if np.isfinite(row.linear) else "no test shapes"
    print(f"{row._2:14} {row.train:4} training shapes  {row.linear:5.1f} % {bar}")

# %% [markdown]
# **Predict**: which classes are confused? Do the mistakes stay inside the superclass? (Here the nearest training
# shapes vote, not the linear probe. So the shares differ.)

# %%
hiercl.plot.confusion(runs["a_hmlc"], test, train=train)

# %% [markdown]
# ## 4. Which shapes are pushed?
#
# This is the same figure as in [02](02_pairs.ipynb), for SimCLR. The figure after it shows one anchor of A-HMLC. At
# level 0 it pulls everything of its superclass.

# %%
hiercl.plot.pair_matrix(runs["simclr"].step(train, batch=48), train, level=0)

# %%
hiercl.plot.pairs(runs["a_hmlc"].step(train, batch=128), train, term=0)

# %% [markdown]
# ## 5. Mixing two shapes
#
# CsMl (Xu et al., 2020) mixes an anchor with its neighbour. For pictures it uses CutMix. For clouds the mixing is
# **ours**. Two parallel planes of random direction cut the two clouds. Along this direction, the mixture takes the
# points of the first cloud below its plane and the points of the second cloud above its plane. $\lambda$ is exactly
# the share of points that come from the first cloud.

# %%
pair = torch.from_numpy(train.items[np.array([0, len(train) // 2])]).transpose(1, 2)[..., None]
mixture, share = plane_mix(pair[:1], pair[1:], torch.tensor([0.3, 0.5, 0.6, 0.25, 0.7]))
cloud = mixture[0, :, :, 0].T.numpy()
of_first = np.arange(len(cloud)) < round(float(share) * len(cloud))
hiercl.plot.cloud(
    cloud, mask=of_first, title=f"A mixture: {100 * float(share):.0f} % of its points are the first shape's"
)

# %% [markdown]
# **Exercise.** Two clouds of 1,024 points are mixed, and $\lambda = 0.3$ was drawn. The mixture must have 1,024
# points. The number of points from the first cloud is the largest whole number that is not above $0.3 \cdot 1024$.
# Which exact $\lambda$ must the loss use?

# %%
check("09 lambda", ...)

# %% tags=["solution"]
# 0.3 · 1024 = 307.2, so 307 points come from the first cloud.
check("09 lambda", 307 / 1024)

# %% [markdown]
# ## 6. Classes that the encoder never saw
#
# ModelNet40 has thirty more classes. Their clouds come from volumes, those above from meshes. The two differ in their
# edges, so we compare no numbers; we look. We take an encoder that was trained longer on the ten classes and search the
# nearest shapes. (The shares above the figure are averages over random shapes, also of the trained classes. Look at the
# rows.)

# %%
long = hiercl.pretrained("modelnet10-hmc")
gallery, _ = hiercl.load(**DATA) if FAST else hiercl.load("modelnet40")
known = () if FAST else train.hierarchy.leaf_names
labels = [label for label in np.argsort(gallery.counts()) if gallery.hierarchy.leaf_names[label] not in known]
rare = [int(np.flatnonzero(gallery.labels == label)[0]) for label in labels[-14:-2:2]]
hiercl.plot.neighbours(long.encoder, gallery, items=rare, count=8)

# %% [markdown]
# Rotate a shape with the mouse (this needs a running kernel):

# %%
hiercl.plot.cloud_3d(train, item=1)

# %% [markdown]
# **Exercise.** One class has 10 test shapes, another class has 90. A classifier is right for 5 of the 10 and for all
# of the 90. What are its accuracy and its balanced accuracy, in per cent? Give both in a tuple.

# %%
check("09 balanced", ...)

# %% tags=["solution"]
# 95 of 100 shapes are right. The mean of 50 % and 100 % is 75 %.
check("09 balanced", (95, 75))

# %% [markdown]
# ## Summary
#
# * The methods are defined on pairs, not on pixels. With another encoder and other views they work on clouds.
# * An encoder of points must not depend on their order. Views teach it to ignore rotations.
# * If classes are unequal, look at balanced accuracy and at every class.
#
# **To think about.** The views rotate shapes only about the vertical axis. What would you lose and what would you
# gain if they rotated them in any direction (`rotation="any"`)?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 45 minutes, exercises included. Hard for them: unequal classes: accuracy and
# balanced accuracy.
#
# Typical mistakes:
#
# * "Points have an order." A feature must not depend on it.
# * "90 % accuracy is 90 % of every class."
#
# **To think about**, how to mark it. Two points. Chairs upside down look like chairs, which loses what is up (1). Data
# without a common frame need it (1).
