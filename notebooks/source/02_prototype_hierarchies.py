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
# # 02 · A hierarchy that is learned: prototypes
#
# **You will be able to** build a tree of prototypes bottom-up, read its pictures, follow it through a training, and
# judge it against a true hierarchy without being fooled by the number of prototypes.
#
# About a minute of computing on two CPU cores. Before: [01, what is a pair?](01_pairs.ipynb). After: [03, pair
# selection](03_pair_selection.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

import hiercl
from hiercl.clustering.prototypes import PrototypeTree
from hiercl.exercises import check

# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"quality": 80, "optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 10, 3) if FAST else ("cifar100", 60, 8)
PROTOTYPES = (5, 30) if FAST else (20, 100)  # coarse, fine: as many as there are classes, so that we can compare
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. Bottom-up
#
# Nobody gave us a hierarchy. HCSC makes one, in three steps:
#
# 1. **k-means of the embeddings** $z_i$, which have unit length: the centres $c$ are the *fine prototypes*.
# 2. **k-means of the fine prototypes**: its centres are the *coarse prototypes*. (Each level counts prototypes, not
#    items: a prototype of three items weighs as much as one of three hundred.)
# 3. An **edge** joins each prototype to the centre that it was assigned to, its *parent*.
#
# In two dimensions unit vectors lie on a circle, and the tree can be drawn inside it. Here are six bunches of points,
# some narrow, some wide.

# %%
random, bunch = torch.Generator().manual_seed(0), torch.arange(180) % 6
wide = torch.tensor([0.05, 0.05, 0.25, 0.1, 0.35, 0.05])[bunch]
turn = torch.tensor([0.0, 0.6, 2.0, 2.9, 4.2, 5.4])[bunch] + wide * torch.randn(180, generator=random)
points = torch.stack([turn.cos(), turn.sin()], dim=1)


# %%
def draw(tree, points):
    """Items on the circle, their prototypes inside it, the larger the larger their concentration."""
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
# **Predict** what the tree does when it has more fine prototypes than there are bunches. Then look, and try fewer:
# `sizes=(2, 4)`.

# %%
draw(PrototypeTree.fit(points, sizes=(2, 4, 12)), points)

# %% [markdown]
# An item's prototype at a coarse level is found by walking up from its fine one. (It need not be the coarse prototype
# that is nearest to the item.)
#
# **Exercise.** Walk: given the finest prototype of every item, and for every level the parents of its prototypes, find
# every item's coarsest prototype.


# %%
def coarsest(nearest, edges):
    """Coarsest prototype of every item; `nearest [items]`; `edges`: arrays of parents, the finest level first."""
    return ...


check("02 walk up", coarsest)

# %% [markdown]
# ## 2. Concentration
#
# The dots above differ in size: each prototype has a **concentration** $\phi_c$, small if its $n_c$ members $u_i$
# (items at the fine level, prototypes of the level below at a coarser one) lie close to their centre $\mu_c$, and are
# many:
#
# $$\phi_c = \frac{\frac1{n_c}\sum_{i\in c}\lVert u_i-\mu_c\rVert}{\log(n_c+10)}$$
#
# Then it is clipped to the 10th to 90th percentile of its level, and scaled so that the mean is the temperature. It
# takes the temperature's place: the *posterior* of prototype $c$ for a point $z$ is
#
# $$\pi_c(z) = \frac{e^{\langle z, c\rangle/\phi_c}}{\sum_{c'} e^{\langle z, c'\rangle/\phi_{c'}}}$$
#
# **Exercise.** Compute $\phi$ of one cluster, before it is clipped and scaled.


# %%
def concentration(members, centre):
    """φ of one cluster; `members [n, dim]` and `centre [dim]` are numpy arrays."""
    return ...


check("02 concentration", concentration)

# %% [markdown]
# ## 3. Pictures
#
# HCSC begins as [MoCo v2](01_pairs.ipynb). After a warm-up it fits a tree before *every* epoch, to the embeddings of
# all training pictures by the momentum encoder. We keep the tree of every epoch. What HCSC does with it is the subject
# of [the next notebook](03_pair_selection.ipynb).

# %%
train, _ = hiercl.load(DATA)
train = train.per_class(PER_CLASS)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
trees = {}


def keep_tree(run):
    """Called after every epoch; a tree is never changed, only replaced."""
    if run.tree is not None:
        trees[len(run.history)] = run.tree


asked = dict(prototypes=PROTOTYPES, warm_up=0.25, callbacks=[keep_tree, hiercl.plot.live()])
hcsc = hiercl.fit("hcsc", train, **asked, **SETTINGS)

# %% [markdown]
# The coarse prototypes of the last tree, each with the pictures nearest to it. It is named after the most frequent true
# class of its members, with its share: the **purity**. The labels are for us alone; HCSC has seen none.

# %%
hiercl.plot.tree(hcsc.tree, train, level=0, exemplars=9)

# %% [markdown]
# What do the pictures of a row share? Look for a colour, a background, an outline, before you look for a class.
#
# **Predict**: is a prototype of small $\phi$, whose members lie close together, purer than one of large $\phi$? (A dot
# is the larger the more items the prototype has. Beware: a small one is purer by chance alone, and has a larger
# $\phi$, since it is divided by a smaller logarithm.)

# %%
counts = [hcsc.tree.counts(depth) for depth in (0, 1)]
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for depth, (axis, name) in enumerate(zip(axes, (coarse, fine), strict=True)):
    labels = torch.as_tensor(train.labels_at(-depth))  # level 0 is the coarsest, level -1 the finest
    purity, phi, members = (of[depth] for of in (hcsc.tree.purity(labels), hcsc.tree.concentration, counts))
    axis.scatter(phi, 100 * purity, s=20 * members / members.float().mean(), alpha=0.6)
    axis.set(xlabel="concentration φ", ylabel=f"purity, {name} (%)", title=f"{len(phi)} prototypes")
    there = ~purity.isnan()
    by_phi, by_size = (spearmanr(values[there], purity[there]).statistic for values in (phi, members))
    word = "purer" if by_phi < -0.2 else "less pure" if by_phi > 0.2 else "neither purer nor less pure"
    print(f"{len(phi)} prototypes: the tight ones are {word}. Rank correlation of purity with φ", end=" ")
    print(f"{by_phi:+.2f}, with the number of members {by_size:+.2f}.")
figure.tight_layout()

# %% [markdown]
# ## 4. From epoch to epoch
#
# The tree changes for two reasons: the encoder learns, and every epoch's k-means starts from another random draw, which
# alone keeps two trees from being the same. Two partitions of the same items are compared by their **adjusted mutual
# information** (AMI): 1 if they are the same, 0 on average if they agree by chance alone. Prototypes have no fixed
# numbers, and AMI does not need them.
#
# **Predict**: do the trees of two neighbouring epochs become more alike as training goes on? Do they come closer to
# the true classes?

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
    print(f"{PROTOTYPES[depth]} prototypes, first and last: AMI with the epoch before", end=" ")
    print(f"{stay[0]:.2f} and {stay[-1]:.2f}; with the true {name} {true[0]:.2f} and {true[-1]:.2f}.")
figure.tight_layout()

# %% [markdown]
# Who went where? At the right the coarse prototypes of the first tree, at the left those of the last, and a ribbon as
# high as the number of items that they share. (A name such as “0:6 83 %” at the left says: of these items 83 % were in
# the coarse prototype number 6 before. The numbers mean nothing else.)

# %%
first, last = trees[min(trees)], trees[max(trees)]
as_truth = replace(first.as_hierarchy(), level_names=("prototypes of the first tree", "fine ones"))
before = replace(train, labels=first.assignment[:, -1].numpy(), hierarchy=as_truth)
hiercl.plot.flow(last, before, prototypes=0, level=0)

# %% [markdown]
# ## 5. Against the true hierarchy
#
# The same picture with the true superclasses at the right.

# %%
hiercl.plot.flow(hcsc.tree, train, prototypes=0, level=0)

# %% [markdown]
# And level by level. Rows are prototypes, columns classes: a tree that had found the classes would be a dark diagonal.

# %%
hiercl.plot.trees(hcsc.tree, train)

# %% [markdown]
# **How many prototypes?** Purity is the share of the items that have the most frequent label of their prototype. With
# as many prototypes as we like, it is easy to be pure.
#
# **Predict** both curves, purity and AMI, over the number of prototypes; and once more with *shuffled* labels, of
# which no tree can know anything.

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
print(f"From {sizes[0]} to {sizes[-1]} prototypes purity grows by {most:.2f}, with shuffled labels by {least:.2f}.")
chance = max(abs(row["ami"]) for row in found["shuffled labels"])
best = sizes[int(np.argmax([row["ami"] for row in found["true labels"]]))]
print(f"AMI with shuffled labels is at most {chance:.3f} away from 0; with the true ones it is largest at {best}.")

# %% [markdown]
# **Exercise.** Go to the end: as many prototypes as items, every item alone in its own. What are the purity and the
# AMI with classes of several items each? Give both as numbers, in a tuple.

# %%
check("02 alone", ...)

# %% [markdown]
# Two good partitions are not yet a good *tree*. An **edge** is respected if the superclass of the child's most
# frequent class is the most frequent superclass of its parent. Chance respects some edges too: a shuffled hierarchy,
# in which the classes were dealt out anew among the superclasses, says how many.


# %%
def respected(hierarchy):
    """Share of the learned tree's edges that a hierarchy of the classes goes along with."""
    edges = hiercl.metrics.respected_edges(hcsc.tree, train.labels, hierarchy).set_index(["level", "parent_level"])
    return 100 * edges.loc[(fine, coarse), "respected"]


true, dealt = respected(train.hierarchy), [respected(train.hierarchy.shuffle(seed)) for seed in range(20)]
print(f"The true hierarchy: {true:.0f} % of the edges. Twenty shuffled ones: {min(dealt):.0f} to {max(dealt):.0f} %.")
print(f"The true one does {'better than' if true > max(dealt) else 'no better than the best of'} the shuffled ones.")

# %% [markdown]
# ## 6. Click through it
#
# First without a kernel: one prototype, the purest of the large ones. Its members on a map (the first two principal
# components of the features at unit length, a cheap map that keeps large distances), and where they flow.

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
# Then with the mouse: click a node for its pictures, its classes, its place in the map and its flow; choose the true
# level.

# %%
hiercl.explore.tree(hcsc, train, coordinates=xy)

# %% [markdown]
# ## 7. After a long training
#
# HCSC after 20 epochs on all 50,000 pictures of CIFAR-100. The same pictures, the same k-means, of the features of
# either encoder.
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
# * k-means of the embeddings, then k-means of the prototypes: a tree from below, without labels.
# * The concentration is a temperature of each prototype's own: small where many members lie close together.
# * The tree is fitted anew every epoch; a partition is compared by AMI, which needs no names.
# * Split prototypes, and purity can only grow, whatever the labels are; AMI takes away what chance gives.
#
# **To think about.** The tree and the classes disagree. Whose fault is it: that of the embedding, that of k-means, or
# that of the classes? How could one find out? And if rows of the tree share a colour rather than a class: what would
# you change in the views, so that colour no longer tells one picture from another? (Try `jitter=(0.8, 0.8, 0.8, 0.3)`
# and `grayscale=0.5` in section 3.)
