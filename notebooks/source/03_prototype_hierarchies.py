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
# # 03 · A learned hierarchy: prototypes
#
# **After this notebook you can** build a tree of prototypes from the bottom up and read its figures. You can follow
# the tree during a training. You can compare it with a true hierarchy, and the number of prototypes does not mislead
# you.
#
# Before: [02, what is a pair?](02_pairs.ipynb). After: [04, pair selection](04_pair_selection.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

import hiercl
from hiercl import PrototypeTree
from hiercl.exercises import check

# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"quality": 80, "optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, EPOCHS = ("shapes", 10, 3) if FAST else ("cifar100", 60, 8)
PROTOTYPES = (5, 30) if FAST else (20, 100)  # coarse, fine: as many as superclasses and classes
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. From the bottom up
#
# Nobody gave us a hierarchy. HCSC (Guo et al., CVPR 2022) makes one in three steps:
#
# 1. It runs **k-means on the embeddings** $z_i$, which have unit length. The centres $c$ are the *fine prototypes*.
# 2. It runs **k-means on the fine prototypes**. The new centres are the *coarse prototypes*. Each level counts
#    prototypes, not items. A prototype of three items weighs as much as a prototype of three hundred items.
# 3. An **edge** joins each prototype to the centre that it was assigned to. This centre is its *parent*.
#
# In two dimensions, unit vectors lie on a circle. So we can draw the tree inside the circle. Here are six clusters of
# points. Some are narrow, some are wide.

# %%
random, bunch = torch.Generator().manual_seed(0), torch.arange(180) % 6
wide = torch.tensor([0.05, 0.05, 0.25, 0.1, 0.35, 0.05])[bunch]
turn = torch.tensor([0.0, 0.6, 2.0, 2.9, 4.2, 5.4])[bunch] + wide * torch.randn(180, generator=random)
points = torch.stack([turn.cos(), turn.sin()], dim=1)


# %%
def draw(tree, points):
    """Draws items on the circle and their prototypes inside it. A larger dot has a larger concentration."""
    axis = plt.figure(figsize=(5, 5)).add_subplot(aspect="equal")
    children, parents = points, tree.assignment[:, -1]
    for level in reversed(range(tree.levels)):
        inside = tree.centroids[level] * (level + 1) / (tree.levels + 1)
        axis.plot(*torch.stack([children, inside[parents]]).permute(2, 0, 1), color="#bbbbbb", linewidth=0.6, zorder=1)
        axis.scatter(*inside.T, s=600 * tree.concentration[level], label=f"{len(inside)} prototypes", zorder=2)
        children, parents = inside, tree.parent[level]
    axis.plot(*torch.stack([children, torch.zeros_like(children)]).permute(2, 0, 1), color="#bbbbbb", zorder=1)
    axis.scatter(*points.T, s=4, color="black")
    axis.legend(loc="upper right", fontsize=8)
    axis.axis("off")


draw(PrototypeTree.fit(points, sizes=(3, 6)), points)

# %% [markdown]
# **Predict**: what does the tree do if it has more fine prototypes than there are clusters? Then look. Also try fewer
# prototypes: `sizes=(2, 4)`.

# %%
draw(PrototypeTree.fit(points, sizes=(2, 4, 12)), points)

# %% [markdown]
# To find the coarse prototype of an item, we walk up the tree from its fine prototype. This coarse prototype need not
# be the one nearest to the item.
#
# **Exercise.** Walk up the tree. You get the finest prototype of every item and, for every level, the parents of its
# prototypes. Find the coarsest prototype of every item.


# %%
def coarsest(nearest, edges):
    """Returns coarsest prototypes of all items. `nearest [items]`; `edges`: arrays of parents, finest level first."""
    return ...


check("03 walk up", coarsest)


# %% tags=["solution"]
def coarsest(nearest, edges):
    """Returns coarsest prototypes of all items. `nearest [items]`; `edges`: arrays of parents, finest level first."""
    for parents in edges:
        nearest = parents[nearest]
    return nearest


check("03 walk up", coarsest)

# %% [markdown]
# ## 2. Concentration
#
# The dots above have different sizes, because each prototype has its own **concentration** $\phi_c$. Let $\mu_c$ be
# the centre of a prototype and $u_i$ its $n_c$ members. At the fine level the members are items. At a coarser level
# they are the prototypes of the level below. $\phi_c$ is small if the members lie close to the centre and if there
# are many of them:
#
# $$\phi_c = \frac{\frac1{n_c}\sum_{i\in c}\lVert u_i-\mu_c\rVert}{\log(n_c+10)}$$
#
# HCSC clips $\phi_c$ to the 10th to 90th percentile of its level. Then it scales $\phi_c$ so that its mean equals the
# temperature. $\phi_c$ replaces the temperature in the *posterior* of prototype $c$ for a point $z$:
#
# $$\pi_c(z) = \frac{e^{\langle z, c\rangle/\phi_c}}{\sum_{c'} e^{\langle z, c'\rangle/\phi_{c'}}}$$
#
# **Exercise.** Compute $\phi$ of one cluster before clipping and scaling.


# %%
def concentration(members, centre):
    """Returns φ of one cluster. `members [n, dim]` and `centre [dim]` are numpy arrays."""
    return ...


check("03 concentration", concentration)


# %% tags=["solution"]
def concentration(members, centre):
    """Returns φ of one cluster. `members [n, dim]` and `centre [dim]` are numpy arrays."""
    return np.linalg.norm(members - centre, axis=1).mean() / np.log(len(members) + 10)


check("03 concentration", concentration)

# %% [markdown]
# ## 3. Pictures
#
# HCSC begins as [MoCo v2](02_pairs.ipynb). After a warm-up it fits a tree before *every* epoch. It uses the momentum
# encoder's embeddings of all training pictures. We keep the tree of every epoch. [The next
# notebook](04_pair_selection.ipynb) shows how HCSC uses the tree.

# %%
train, _ = hiercl.load(DATA)
train = train.per_class(PER_CLASS)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
trees = {}


def keep_tree(run):
    """Keeps the tree after every epoch. A run replaces its tree and never changes it."""
    if run.tree is not None:
        trees[len(run.history)] = run.tree


asked = dict(prototypes=PROTOTYPES, warm_up=0.25, callbacks=[keep_tree, hiercl.plot.live()])
hcsc = hiercl.fit("hcsc", train, **asked, **SETTINGS)

# %% [markdown]
# This figure shows the coarse prototypes of the last tree, each with the pictures nearest to it. The name of a
# prototype is the most frequent true class of its members. The share of this class is the **purity**. The labels are
# only for us. HCSC has not seen them.

# %%
hiercl.plot.tree(hcsc.tree, train, level=0, exemplars=9)

# %% [markdown]
# What do the pictures of a row have in common? Look for a colour, a background or an outline before you look for a
# class.
#
# **Predict**: the members of a prototype with a small $\phi$ lie close together. Is such a prototype purer than one
# with a large $\phi$? A larger dot means that the prototype has more items. But note that a small prototype is purer
# by chance alone. It also has a larger $\phi$, because its $\phi$ is divided by a smaller logarithm.

# %%
counts = [hcsc.tree.counts(depth) for depth in (0, 1)]
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for depth, (axis, name) in enumerate(zip(axes, (coarse, fine), strict=True)):
    labels = torch.as_tensor(train.labels_at(-depth))  # level 0 is the coarsest, level -1 is the finest
    purity, phi, members = (of[depth] for of in (hcsc.tree.purity(labels), hcsc.tree.concentration, counts))
    axis.scatter(phi, 100 * purity, s=20 * members / members.float().mean(), alpha=0.6)
    axis.set(xlabel="concentration φ", ylabel=f"purity, {name} (%)", title=f"{len(phi)} prototypes")
    there = ~purity.isnan()
    by_phi, by_size = (spearmanr(values[there], purity[there]).statistic for values in (phi, members))
    word = "purer" if by_phi < -0.2 else "less pure" if by_phi > 0.2 else "neither purer nor less pure"
    print(f"{len(phi)} prototypes: those with a small φ are {word}. The rank correlation of purity with", end=" ")
    print(f"φ is {by_phi:+.2f}, with the number of members it is {by_size:+.2f}.")
figure.tight_layout()

# %% [markdown]
# ## 4. From epoch to epoch
#
# The tree changes for two reasons. The encoder learns, and the k-means of every epoch starts from other random
# centres. The second reason alone makes two trees differ. We compare two partitions of the same items by their
# **adjusted mutual information** (AMI). It is 1 if they are the same, and 0 on average if they agree only by chance.
# Prototypes have no fixed numbers, and AMI does not need them.
#
# **Predict**: do the trees of successive epochs become more alike during the training? Do they come closer to the
# true classes?

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for depth, (axis, name) in enumerate(zip(axes, (coarse, fine), strict=True)):
    every = {epoch: tree.assignment[:, depth].numpy() for epoch, tree in trees.items()}
    later = list(every)[1:]
    stay = [hiercl.metrics.score_clusters(every[epoch], every[epoch - 1]).ami for epoch in later]
    true = [hiercl.metrics.score_clusters(nodes, train.labels_at(-depth)).ami for nodes in every.values()]
    axis.plot(later, stay, "o-", label="with the epoch before")
    axis.plot(list(every), true, "s-", label=f"with the true {name}")
    axis.set(title=f"{PROTOTYPES[depth]} prototypes", xlabel="epoch", ylabel="AMI", ylim=(0, 1), xticks=list(every))
    axis.legend(fontsize=8)
    print(f"{PROTOTYPES[depth]} prototypes, first and last value: AMI with the epoch before is", end=" ")
    print(f"{stay[0]:.2f} and {stay[-1]:.2f}, AMI with the true {name} is {true[0]:.2f} and {true[-1]:.2f}.")
figure.tight_layout()

# %% [markdown]
# Where did the items move? The right side shows the coarse prototypes of the first tree, the left side shows those of
# the last tree. The height of a ribbon is the number of items that two prototypes share. A name such as “0:6 83 %” at
# the left means that 83 % of these items were in coarse prototype number 6 of the first tree. The numbers have no
# other meaning.

# %%
first, last = trees[min(trees)], trees[max(trees)]
as_truth = replace(first.as_hierarchy(), level_names=("prototypes of the first tree", "fine ones"))
before = replace(train, labels=first.assignment[:, -1].numpy(), hierarchy=as_truth)
hiercl.plot.flow(last, before, prototypes=0, level=0)

# %% [markdown]
# ## 5. Compared with the true hierarchy
#
# This is the same figure with the true superclasses at the right.

# %%
hiercl.plot.flow(hcsc.tree, train, prototypes=0, level=0)

# %% [markdown]
# The next figure compares each level. Rows are prototypes, and columns are classes. A tree that found the classes
# would show a dark diagonal.

# %%
hiercl.plot.trees(hcsc.tree, train)

# %% [markdown]
# **How many prototypes?** Purity is the share of the items that have the most frequent label of their prototype. High
# purity is easy if we may take many prototypes.
#
# **Predict** two curves over the number of prototypes: purity and AMI. Predict them again for *shuffled* labels. No
# tree can know anything about shuffled labels.

# %%
features = hiercl.embed(hcsc, train)
shuffled = np.random.default_rng(0).permutation(train.labels)
sizes = [k for k in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if k < len(train) / 4]
found = {"true labels": [], "shuffled labels": []}
for size in sizes:
    tree = PrototypeTree.fit(features, (size,))
    for labels, rows in zip((train.labels, shuffled), found.values(), strict=True):
        rows.append(hiercl.metrics.tree_agreement(tree, labels, train.hierarchy).iloc[0])

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for axis, measure in zip(axes, ("purity", "AMI"), strict=True):
    for (name, rows), line in zip(found.items(), ("o-", "s--"), strict=True):
        axis.plot(sizes, [row[measure.lower()] for row in rows], line, label=name)
    axis.set(xscale="log", xlabel="prototypes", title=f"{measure} with {coarse}")
    axis.set_xticks(sizes, sizes), axis.minorticks_off(), axis.legend()
figure.tight_layout()
least, most = (rows[-1]["purity"] - rows[0]["purity"] for rows in reversed(found.values()))
print(f"From {sizes[0]} to {sizes[-1]} prototypes, purity grows by {most:.2f}.", end=" ")
print(f"With shuffled labels it grows by {least:.2f}.")
chance = max(abs(row["ami"]) for row in found["shuffled labels"])
best = sizes[int(np.argmax([row["ami"] for row in found["true labels"]]))]
print(f"AMI with shuffled labels is at most {chance:.3f} away from 0. With true labels it is largest at {best}.")

# %% [markdown]
# **Exercise.** Take as many prototypes as items, so that every item is alone in its prototype. Each class has several
# items. What are the purity and the AMI? Give both numbers in a tuple.

# %%
check("03 alone", ...)

# %% tags=["solution"]
# A prototype with one item has one class. With shuffled labels the purity is 1 too, so the AMI is 0.
check("03 alone", (1, 0))

# %% [markdown]
# Two good partitions do not make a good *tree*. We look at the most frequent class of the child and at the most
# frequent superclass of its parent. If this class belongs to this superclass, the tree respects the **edge**. Chance
# respects some edges too. A shuffled hierarchy gives the classes to random superclasses. It shows how many edges
# chance respects.


# %%
def respected(hierarchy):
    """Returns the share of the learned tree's edges that agree with a hierarchy of the classes, in per cent."""
    edges = hiercl.metrics.respected_edges(hcsc.tree, train.labels, hierarchy).set_index(["level", "parent_level"])
    return 100 * edges.loc[(fine, coarse), "respected"]


true, dealt = respected(train.hierarchy), [respected(train.hierarchy.shuffle(seed)) for seed in range(20)]
print(f"The true hierarchy agrees with {true:.0f} % of the edges,", end=" ")
print(f"twenty shuffled ones agree with {min(dealt):.0f} to {max(dealt):.0f} %.")
print(f"The true one is {'better than all' if true > max(dealt) else 'not better than the best of the'} shuffled ones.")

# %% [markdown]
# ## 6. Explore it
#
# These two figures need no running kernel. They show one prototype: the purest one among the large ones. The first
# figure is a map of its members. It has the first two principal components of the features at unit length as its
# axes. This map is fast to compute and keeps large distances. The second figure shows where the members flow.

# %%
large = hcsc.tree.counts(0) >= hcsc.tree.counts(0).float().mean()
purity = hcsc.tree.purity(torch.as_tensor(train.labels_at(0)))[0]
node = int((purity.nan_to_num() * large).argmax())
unit = torch.nn.functional.normalize(features, dim=1)
xy = ((unit - unit.mean(dim=0)) @ torch.pca_lowrank(unit, q=2)[2]).numpy()
axis = plt.figure(figsize=(4, 3)).add_subplot(title=f"prototype {node} on the map")
axis.scatter(*xy.T, s=2, color="#cccccc")
axis.scatter(*xy[hcsc.tree.members(0, node)].T, s=4)
hiercl.plot.flow(hcsc.tree, train, prototypes=0, level=0, node=node)

# %% [markdown]
# The explorer needs a mouse. Click a node to see its pictures, its classes, its place on the map and its flow. Choose
# the level of the true hierarchy.

# %%
hiercl.explore.tree(hcsc, train, coordinates=xy)

# %% [markdown]
# ## 7. After a long training
#
# Now we use HCSC after 20 epochs on all 50,000 training pictures of CIFAR-100. Both encoders get the same pictures
# and the same k-means.
#
# **Predict**: which AMI is higher, and by how much?

# %%
long, ami = hiercl.pretrained("hcsc"), {}
for name, model in {"short": hcsc, "long": long}.items():
    tree = PrototypeTree.fit(hiercl.embed(model, train), PROTOTYPES)
    found = hiercl.metrics.tree_agreement(tree, train.labels, train.hierarchy).set_index(["prototypes", "level"])["ami"]
    ami[name] = found[0, coarse]
    print(f"{name:5} training: AMI {found[0, coarse]:.3f} with {coarse}, {found[1, fine]:.3f} with {fine}")
print(f"The {'long' if ami['long'] > ami['short'] else 'short'} training is closer to the true {coarse}.")
hiercl.plot.flow(tree, train, prototypes=0, level=0)

# %% [markdown]
# ## Summary
#
# * HCSC runs k-means on the embeddings, then k-means on the prototypes. This gives a tree from the bottom up, without
#   labels.
# * The concentration is each prototype's own temperature. It is small if many members lie close together.
# * HCSC fits a new tree before every epoch. AMI compares two partitions and needs no names.
# * If we split prototypes, purity cannot fall, whatever the labels are. AMI subtracts what chance gives.
#
# **To think about.** The tree and the classes disagree. Is the cause the embedding, k-means, or the classes? How
# could you find out? Suppose the rows of the tree share a colour and not a class. How would you change the views so
# that colour no longer separates pictures? (Try `jitter=(0.8, 0.8, 0.8, 0.3)` and `grayscale=0.5` in section 3.)

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included. Hard for them: levels count from the coarse end;
# purity grows with the number of prototypes, AMI does not.
#
# Typical mistakes:
#
# * "A purity of 0.9 is good." It depends on the number of prototypes. Compare with shuffled labels.
# * "The tree is the taxonomy." It is what the encoder finds similar, colours included.
#
# **To think about**, how to mark it. Three points. A control for each cause: the same k-means on better features (1),
# another clustering on the same features (1), a second taxonomy or views that remove colour (1).
