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
# # 08 · Maps of embeddings
#
# **After this notebook you can** draw a map of what an encoder has learned, and compare encoders on maps. You can
# compute UMAP's ties by hand. You know which part of a map to believe, because you have planted clusters and looked
# for them on the map.
#
# Before: [07, feature identification](07_feature_identification.ipynb). After: [09, the same on
# shapes](09_modelnet40.ipynb).

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import spatial, stats
from sklearn import neighbors
from umap import UMAP, umap_

import hiercl
from hiercl.datasets import HierarchicalDataset, cifar100
from hiercl.exercises import check
from hiercl.metrics import dendrogram_purity

# %config InlineBackend.print_figure_kwargs = {"dpi": 100, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings

# %% [markdown]
# ## 1. Encoders to look at
#
# `cifar100-features` comes with the package: pictures of CIFAR-100 as a backbone of ImageNet sees them, 640 numbers
# each. CIFAR-100 comes from "Learning Multiple Layers of Features from Tiny Images" (Krizhevsky, 2009, [technical
# report](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)), and ImageNet from "ImageNet: A Large-Scale
# Hierarchical Image Database" (Deng et al., 2009, [DOI
# 10.1109/CVPR.2009.5206848](https://doi.org/10.1109/CVPR.2009.5206848)). We take 20 classes, two of each of ten
# superclasses. All maps show the same 1,000 test items. We compare six kinds of features of them:
#
# * **backbone**: the 640 numbers themselves.
# * **SimCLR**: a small network on top of the backbone, trained without labels ("A Simple Framework for Contrastive
#   Learning of Visual Representations", Chen et al., 2020, [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)).
# * **SupCon**: the same network, trained with the labels of the classes ("Supervised Contrastive Learning", Khosla et
#   al., 2020, [arXiv 2004.11362](https://arxiv.org/abs/2004.11362)).
# * **HMC**: the same network, trained with the labels of both levels ("Use All The Labels: A Hierarchical Multi-Label
#   Contrastive Learning Framework", Zhang et al., 2022, [arXiv 2204.13207](https://arxiv.org/abs/2204.13207)).
# * **untrained**: the same network with random weights.
# * **random numbers**: they know nothing about the items.

# %%
CLASSES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()
SETTINGS = dict(epochs=1 if FAST else 30, batch=256, lr=2e-3, seed=0, monitor_every=0, progress=False)

train, test = (part.under(*CLASSES) for part in hiercl.load("cifar100-features"))
train, test = (part.per_class(10) for part in (train, test)) if FAST else (train, test)
runs = {
    "backbone": hiercl.fit("simclr", train, encoder="identity", **SETTINGS | dict(epochs=0)),
    "SimCLR": hiercl.fit("simclr", train, temperature=0.2, **SETTINGS),
    "SupCon": hiercl.fit("supcon", train, temperature=0.1, **SETTINGS),
    "HMC": hiercl.fit("hmc", train, temperature=0.1, **SETTINGS),
    "untrained": hiercl.fit("simclr", train, **SETTINGS | dict(epochs=0)),
}
features = {name: hiercl.embed(run, test).numpy() for name, run in runs.items()}
features["random numbers"] = np.random.default_rng(0).normal(size=features["untrained"].shape)

# %% [markdown]
# ## 2. From many numbers to two
#
# UMAP, "Uniform Manifold Approximation and Projection" (McInnes, Healy and Melville, 2018, [arXiv
# 1802.03426](https://arxiv.org/abs/1802.03426)), looks for two numbers per item, in three steps.
#
# 1. Each item $i$ gets **ties** to its $k$ nearest items $j$. (UMAP's $k$ counts the item itself.) The strength of a
#    tie falls from 1 with the distance $d$: $p_{j|i} = \exp(-(d(i, j) - \rho_i) / \sigma_i)$. Here $\rho_i$ is the
#    distance of the nearest item. UMAP chooses $\sigma_i$ so that the strengths of an item sum to $\log_2 k$,
#    **however far its neighbours are**.
# 2. UMAP reads the strengths as probabilities that a tie exists. One of the two ties is enough (the **union**):
#    $p_{ij} = p_{j|i} + p_{i|j} - p_{j|i}\, p_{i|j}$.
# 3. On the map, items have places $y$ and ties $q_{ij} = 1 / (1 + a \lVert y_i - y_j\rVert^{2b})$. UMAP starts with
#    some places and moves them to make this loss small:
#
# $$-\sum_{i<j} \big[\, p_{ij} \log q_{ij} + (1 - p_{ij}) \log (1 - q_{ij}) \,\big]$$
#
# So ties pull, and all other pairs push. This is a contrastive loss for the two numbers.
#
# Here are steps 1 and 2 by hand. A **bisection** finds $\sigma$: it halves an interval again and again. If the sum is
# too large, $\sigma$ must be smaller. umap-learn, the authors' library, stops when the sum is right to $10^{-5}$. So
# its strengths and yours agree to $10^{-5}$, and not to the last digit.


# %%
def ties(distance, k):
    """Returns the strengths of UMAP's ties, [items, items], for distances [items, items] with zeros on the diagonal."""
    near = distance.argsort(axis=1)[:, 1:k]  # without the item itself
    beyond = np.take_along_axis(distance, near, axis=1)
    beyond = beyond - beyond[:, :1]  # d - ρ
    low, high = np.zeros((len(near), 1)), np.full((len(near), 1), 1000.0)
    for _ in range(64):
        sigma = (low + high) / 2
        too_strong = np.exp(-beyond / sigma).sum(axis=1, keepdims=True) > np.log2(k)
        low, high = np.where(too_strong, low, sigma), np.where(too_strong, sigma, high)
    strength = np.zeros_like(distance)
    np.put_along_axis(strength, near, np.exp(-beyond / sigma), axis=1)
    return strength + strength.T - strength * strength.T


# %%
some = features["backbone"][::5].astype(float)
distance = spatial.distance.squareform(spatial.distance.pdist(some, "cosine"))
one = dict(set_op_mix_ratio=1.0, local_connectivity=1.0)  # the union, and ρ is the distance of one item: the defaults
library = umap_.fuzzy_simplicial_set(distance, 15, np.random.RandomState(0), "precomputed", **one)[0].toarray()
np.testing.assert_allclose(ties(distance, 15), library, rtol=0, atol=1e-5)
print(f"Your ties and umap-learn's differ by at most {np.abs(ties(distance, 15) - library).max():.0e}.")

# %% [markdown]
# **Exercise** (warm-up). Item $i$ has a tie of 0.8 to $j$, and $j$ has a tie of 0.5 to $i$. What is $p_{ij}$?

# %%
check("08 union", ...)

# %% tags=["solution"]
# Either of two independent ties is enough.
check("08 union", 0.8 + 0.5 - 0.8 * 0.5)

# %% [markdown]
# Here is one map, shown for both levels. The places are the same, and the colours differ. The titles say how often an
# item and its 10 nearest items *on the map* have the same label. (The first map is slow, because UMAP is compiled
# then.)
#
# **Predict**: how many times as often as by chance do neighbours agree? (The number in brackets is chance.)

# %%
maps = {name: hiercl.plot.map_2d(z) for name, z in features.items()}
hiercl.plot.embedding(None, test, coordinates=maps["HMC"], title="HMC")

# %% [markdown]
# ## 3. All maps
#
# The names on these maps are those of classes. Shades of one hue are classes of one superclass.
#
# **Predict**, and cover the titles with your hand: which encoders have seen labels? Which one is untrained?

# %%
hiercl.plot.compare_embeddings(features, test, level=-1, coordinates=maps)

# %% [markdown]
# **What you should see**: SupCon and HMC have the clearest islands, because labels pull the items of a class together.
# Random numbers show none. The untrained network shows much of what the backbone shows, because it sees the backbone's
# features and a random network does not mix them up entirely.
#
# Is an island a class or a superclass? `highlight=` colours the classes that one asks about. Bear and leopard have the
# same superclass, and so have baby and boy.
#
# **Predict**: in which map do the two classes of a superclass lie side by side?

# %%
three = {name: maps[name] for name in ("backbone", "SupCon", "HMC")}
hiercl.plot.compare_embeddings(three, test, level=0, coordinates=three, highlight=["bear", "leopard", "baby", "boy"])

# %% [markdown]
# **What you should see**: baby and boy share an island on all three maps. Bear and leopard lie in different parts of a
# larger group of mammals, on the map of HMC and on that of SupCon.
#
# So the maps do not say whether HMC brings siblings, the classes of one superclass, together. Numbers of the features
# do. Here are recorded trainings of five seeds with our settings. *Siblings* is the share of classes whose nearest
# class mean belongs to the same superclass. *AMI* compares k-means clusters of the features with the superclasses (0 is
# chance). AMI, the adjusted mutual information, is described in "Information Theoretic Measures for Clusterings
# Comparison: Variants, Properties, Normalization and Correction for Chance" (Vinh, Epps and Bailey, 2010, [JMLR
# 11](https://jmlr.org/papers/v11/vinh10a.html)). Stars are our runs.

# %%
rows = {"SupCon": "20 classes, SupCon", "HMC, random hierarchy": "20 classes, HMC, shuffled", "HMC": "20 classes, HMC"}
columns, own = ["siblings class", "ami superclass"], {}
for name in ("SupCon", "HMC"):
    table = hiercl.evaluate(runs[name], train, test, seed=0, progress=False).table()
    own[name] = {column: table[column.split()[0]][column.split()[1]] for column in columns}
recorded = hiercl.study.recorded("brackets-hierarchy")
hiercl.plot.brackets(recorded, rows, columns, own, "Do classes of one superclass come together?")

# %% [markdown]
# **What you should see**: the true hierarchy raises both numbers, because HMC pulls siblings together. A random
# hierarchy raises neither. The maps could not say this.
#
# ## 4. Planted clusters: what do widths and distances mean?
#
# Nobody knows the true shape of an embedding. So we plant clusters whose shape we know. Every item has 128 numbers.
# The centres of the clusters differ only in the first two numbers. The **width** of a cluster is the standard deviation
# of each number. A and B are narrow and close together, C is wide, D is far away, and E has few items. Change the
# numbers at the top of the cell.
#
# **Predict**: which island is the widest on the map? Which two islands are farthest apart?

# %%
CLUSTERS = {  # centre, width, items
    "A": ((0, 0), 0.5, 200),
    "B": ((4, 0), 0.5, 200),
    "C": ((0, 30), 2.0, 200),
    "D": ((80, 0), 1.0, 200),
    "E": ((40, 30), 1.0, 25),
}
NUMBERS, K, SEEDS = 128, 15, (0, 1)
random, planted = np.random.default_rng(0), {}
for name, (centre, width, count) in CLUSTERS.items():
    noise = random.normal(size=(count // 4 if FAST else count, NUMBERS))
    planted[name] = np.pad(centre, (0, NUMBERS - 2)) + width * noise
points, of = np.concatenate(list(planted.values())), np.repeat(list(planted), [len(x) for x in planted.values()])
drawn = {s: UMAP(n_neighbors=K, random_state=s, n_jobs=1).fit_transform(points) for s in SEEDS}

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
titles = ["the truth: the first two numbers", *(f"the map, seed {s}" for s in SEEDS)]
for axis, title, xy in zip(axes, titles, (points[:, :2], *drawn.values()), strict=True):
    for name, colour in zip(CLUSTERS, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"), strict=False):
        axis.scatter(*xy[of == name].T, s=5, color=colour, linewidths=0)
        x, y = xy[of == name].mean(axis=0)
        axis.annotate(name, (x, xy[of == name][:, 1].max()), (0, 2), textcoords="offset points", ha="center", size=12)
    axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.margins(0.12), axis.set_title(title, size=11)
plt.show()

# %% [markdown]
# The same as numbers. Each dot on the left is a pair of clusters, and each dot on the right is a cluster.


# %%
def shape(z, labels):
    """Returns the distances of all pairs of class means, and the width of every class."""
    parts = [z[labels == c] for c in np.unique(labels)]
    return spatial.distance.pdist([part.mean(axis=0) for part in parts]), [part.std(axis=0).mean() for part in parts]


# %%
truth, pairs = shape(points, of), [a + b for n, a in enumerate(CLUSTERS) for b in list(CLUSTERS)[n + 1 :]]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for s, colour, marker in zip(SEEDS, ("#0072B2", "#E69F00"), "os", strict=True):
    found = zip(axes, ("distance", "width"), (pairs, CLUSTERS), truth, shape(drawn[s], of), strict=True)
    for axis, what, names, x, y in found:
        axis.scatter(x, y, color=colour, marker=marker, label=f"seed {s}")
        for name, *place in zip(names, x, y, strict=True) if s == SEEDS[0] else ():
            shift = (-14, -4) if name == "A" else (6, 3)  # A and B lie together
            axis.annotate(name, place, shift, textcoords="offset points", size=10)
        axis.set(xlabel=f"planted {what}", ylabel=f"{what} on the map")
        axis.set(xlim=(0, 1.15 * axis.dataLim.xmax), ylim=(0, 1.15 * axis.dataLim.ymax))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# **What you should see**: the islands of A, B, C and D have almost the same width on the map, though C is four times as
# wide as A. E is as wide as D, and narrower on the map, because it has fewer items. Distances are not in proportion: A
# and D are twenty times as far apart as A and B, but not on the map. The order of the far pairs differs from seed to
# seed.
#
# The reason is $\sigma_i$. Every item has ties of about the same total strength, in a wide cluster as in a narrow one.
# And no tie joins two clusters if the $k$ nearest items of all items lie in their own cluster. Then the ties do not say
# how far apart two clusters are. The start and the pushes decide where the islands lie. This table shows both:

# %%
strength = ties(spatial.distance.squareform(spatial.distance.pdist(points)), K)
outside = of[:, None] != of[None]
table = {
    "planted width": [width for _, width, _ in CLUSTERS.values()],
    "mean strength of all ties of an item": [strength[of == c].sum(axis=1).mean() for c in CLUSTERS],
    "mean strength of those to other clusters": [(strength * outside)[of == c].sum(axis=1).mean() for c in CLUSTERS],
}
pd.DataFrame(table, index=list(CLUSTERS)).style.format(precision=2)

# %% [markdown]
# **What takes the islands away?** Move B to `(1, 0)`, and look at the table: now ties join A and B.
#
# In real features many ties join classes. So a map can be right on the whole and wrong for many single pairs. We ask
# the same of the map of the backbone. A rank correlation of 1 means that the map keeps the order.
# 0 means that the map says nothing about it.

# %%
unit = features["backbone"] / np.linalg.norm(features["backbone"], axis=1, keepdims=True)
in_truth, in_map = (shape(places, test.labels_at(-1)) for places in (unit, maps["backbone"]))
for what, x, y in zip(("distances between classes", "widths of classes"), in_truth, in_map, strict=True):
    print(f"{what}: rank correlation of features and map {stats.spearmanr(x, y).statistic:.2f}")

# %% [markdown]
# ## 5. Which neighbours does the map keep?
#
# A map of two dimensions cannot keep all neighbours. **Kept** is the share of the 10 nearest items in the features that
# are among the 10 nearest items on the map.
#
# **Exercise.** What does chance give? 1,001 items have random places on a map. Which share of an
# item's 10 nearest items in the features is among its 10 nearest items on the map, on average?

# %%
check("08 chance", ...)

# %% tags=["solution"]
# Each of the 1,000 other items is among the 10 nearest on the map with probability 10 / 1,000.
check("08 chance", 10 / 1000)

# %% [markdown]
# **Predict**: of which features does a map keep most neighbours, and of which fewest?


# %%
def nearest(z, metric="euclidean"):
    """Returns the 10 nearest other items of every item, [items, 10]."""
    return neighbors.NearestNeighbors(n_neighbors=10, metric=metric).fit(z).kneighbors(return_distance=False)


def kept(before, after):
    """Returns the share of the neighbours `before` that are also in `after`, in per cent."""
    return 100 * np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(before, after, strict=True)])


share = {name: kept(nearest(features[name], "cosine"), nearest(xy)) for name, xy in maps.items()}
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
axis.bar_label(axis.barh(list(share), list(share.values()), color="#0072B2"), fmt="%.0f %%", padding=3)
axis.axvline(100 * 10 / (len(test) - 1), color="#222222", linestyle=":")
axis.set(xlabel="neighbours kept (%); dotted: chance", xlim=(0, 1.15 * max(share.values())))
axis.invert_yaxis()
plt.show()

# %% [markdown]
# **What you should see**: every map keeps far more neighbours than chance, and none keeps half of them. SupCon and HMC
# have clearer islands than the backbone, but their maps keep no more neighbours. Even of random numbers a map keeps
# more than chance, because it pulls the ties that it has.
#
# ## 6. Chance, and one setting
#
# The figure shows maps of the backbone's features with two seeds (rows) and three numbers of neighbours $k$
# (columns). Every second item is shown.
#
# **Predict**: what stays the same from seed to seed? The islands, the items in them, or their places?

# %%
part = np.arange(0, len(test), 2)  # every second item saves time
z, few = features["backbone"][part], test.take(part)
grid = {f"k = {k}, seed {s}": hiercl.plot.map_2d(z, s, k) for s in (0, 1) for k in (5, 15, 100)}
animals = ["flowers", "people", "vehicles_1", "large_carnivores"]
true, around = nearest(z, "cosine"), {name: nearest(xy) for name, xy in grid.items()}
for k in (5, 15, 100):
    both = [around[f"k = {k}, seed {s}"] for s in (0, 1)]
    print(f"k = {k:3}: kept {kept(true, both[0]):.1f} % and {kept(true, both[1]):.1f} %;", end=" ")
    print(f"the two maps share {kept(*both):.1f} % of the 10 nearest items.")
hiercl.plot.compare_embeddings(grid, few, level=0, coordinates=grid, highlight=animals)

# %% [markdown]
# **What you should see**: the islands stay, and most items stay in theirs. (More neighbours are kept than in section 5,
# because half as many items compete.) The places of the islands do not. Two maps
# of one encoder do not even share all nearest items.
#
# Two maps may also differ in a way that has no meaning. A rotated or mirrored map is as good as the original.
#
# **Exercise.** Rotate the map $b$ onto the map $a$. You may move, rotate and mirror $b$, but not stretch it. The mean
# squared distance between the places of the items on $b$ and on $a$ should be as small as possible.
# (`scipy.linalg.orthogonal_procrustes` finds the rotation of maps whose centres are at 0.)


# %%
def turned(a, b):
    """Returns the map b, rotated onto a. Both are numpy arrays [items, 2]."""
    return ...


check("08 turned", turned)


# %% tags=["solution"]
def turned(a, b):
    """Returns the map b, rotated onto a. Both are numpy arrays [items, 2]."""
    from scipy.linalg import orthogonal_procrustes

    centre = a.mean(axis=0)
    own = b - b.mean(axis=0)
    rotation, _ = orthogonal_procrustes(own, a - centre)
    return own @ rotation + centre


check("08 turned", turned)

# %% [markdown]
# What happens if there is nothing to see? Random numbers have no groups. **Predict**: does a map of random numbers
# show groups, and at which $k$? (Every panel has the same number of items. At $k = 2$ one dot is several items at one
# place.)

# %%
noise = features["random numbers"][part]
of_noise = {f"random numbers, k = {k}": hiercl.plot.map_2d(noise, 0, k) for k in (2, 5, 40)}
hiercl.plot.compare_embeddings(of_noise, few, level=0, coordinates=of_noise, highlight=animals)

# %% [markdown]
# Islands alone are no evidence. Compare them with labels, with another seed, with another $k$, and with random
# numbers.
#
# ## 7. How a map unfolds
#
# So far the backbone knew much before we began. How does a map form when an encoder learns from scratch? The package
# has an encoder that HMC trained on the 50,000 training pictures of CIFAR-100, with the labels of both levels. It comes
# with maps of a thousand test pictures of all 100 classes, one for every epoch. They are computed together
# (AlignedUMAP): every picture is held near its places in the epochs before and after. So you can follow a picture. A
# picture moves because its features change, or by chance of the layout.
#
# **Predict**: which of the four superclasses comes together first?

# %%
unfolding = hiercl.pretrained("hmc").unfolding()
print(unfolding)
blank = np.zeros((len(unfolding.labels), 32, 32, 3), dtype=np.uint8)  # in place of pictures, to have the labels alone
items = HierarchicalDataset.from_arrays(blank, unfolding.labels, cifar100.hierarchy())
if not FAST and (hiercl.datasets.data_root() / "cifar100" / "test").exists():
    pictures = hiercl.load("cifar100")[1]
    places = unfolding.find(pictures)
    items = pictures.take(places) if (places >= 0).all() else items
last = len(unfolding.maps) - 1
epochs = {f"epoch {e}": unfolding.maps[e] for e in np.linspace(0, last, 6).astype(int)}
asked = ["flowers", "people", "vehicles_1", "trees"]
hiercl.plot.compare_embeddings(epochs, items, level=0, coordinates=epochs, highlight=asked)

# %% [markdown]
# **What you should see**: at first the pictures of a superclass are scattered. After six epochs most trees stand
# together. At the end trees, flowers and people have islands, and the vehicles lie in two groups. These are test
# pictures: HMC has never seen their labels.
#
# A map squeezes the features. The tree of the classes does not: it joins the two nearest branches, again and again,
# as in notebook 06. The package keeps the centroids of all 100 classes at five moments. **Dendrogram purity** says how
# often siblings, the classes of one superclass, stand together in their tree. It is 1 if every superclass is a branch.
#
# **Predict**: SimCLR saw no labels, SupCon saw those of the classes, HMC saw those of both levels. Whose tree brings
# most siblings together? How much of it is there after one epoch?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
labels, leaves, tree = items.labels_at(0), np.arange(100), items.hierarchy
agree = [100 * (labels[near] == labels[:, None]).mean() for near in map(nearest, unfolding.maps)]
left.plot(agree, "o-", color="#D55E00")
for name, colour in {"simclr": "#6E6E6E", "supcon": "#0072B2", "hmc": "#D55E00"}.items():
    kept = hiercl.pretrained(name).unfolding()
    purity = [dendrogram_purity(means, leaves, tree, 1, 0) for means in kept.centroids]
    right.plot(kept.moments, purity, "o-", color=colour)
    right.annotate(name, (last, purity[-1]), (6, -3), textcoords="offset points", color=colour, size=10)
    print(f"{name:8}", ", ".join(f"epoch {e}: {p:.2f}" for e, p in zip(kept.moments, purity, strict=True)))
mixed = [np.random.default_rng(seed).permutation(leaves) for seed in range(20)]
chance = np.mean([dendrogram_purity(kept.centroids[-1], other, tree, 1, 0) for other in mixed])
left.set(xlabel="epoch", ylim=(0, None), title="neighbours on the map of one superclass (%)")
right.set(xlabel="epoch", ylim=(0, 0.5), xlim=(-1, last + 7), title="dendrogram purity (dotted: classes shuffled)")
right.axhline(chance, color="#6E6E6E", ls=":"), plt.show()

# %% [markdown]
# **What you should see**: most of the tree is there after one epoch. Later epochs add little. HMC brings the most
# siblings together (0.44), then SupCon (0.41), then SimCLR (0.37). Even SimCLR finds four times as much as chance,
# without a single label: siblings look alike. The untrained network has half of that, because colours pass through it.
# Each is one training.
#
# Explore it yourself. Draw a loop around an island of the last epoch. Where was it before? Point at an item to see
# its picture.

# %%
hiercl.explore.embedding(None, items, coordinates=epochs, max_items=500)

# %% [markdown]
# The next explorer has the maps of section 3. They are linked: if you select items on one map, they are selected on all
# maps.

# %%
hiercl.explore.embedding(None, test, coordinates=maps, max_items=500)

# %% [markdown]
# **Exercise** (open). The islands of section 3 agree with the classes. Do they come from the training, or from the
# backbone below it? The next cell trains SupCon again, with labels of which a share is shuffled. With `SHUFFLED = 1.0`
# the labels mean nothing. The map shows the test items with their true labels. Compare it with the maps of section 3.
# Change the first line of the cell. A training takes seconds, and so does a map. Hand in:
#
# 1. **A prediction with a reason**, written before the trainings: which number do you expect with `SHUFFLED = 1.0`?
# 2. **A table** for `SHUFFLED` 0.0, 0.5 and 1.0: the share of neighbours that agree, in the features and on the map.
#    Use two values of `LABEL_SEED` for 0.5 and 1.0.
# 3. **Controls beside it**: the backbone, the untrained network and random numbers. Their titles are in section 3.
# 4. **A sentence that the numbers allow**: what does a map with clear islands say about the training?

# %%
SHUFFLED, LABEL_SEED = 1.0, 0  # change these

told = hiercl.fit("supcon", train.shuffle_labels(SHUFFLED, LABEL_SEED), temperature=0.1, **SETTINGS)
z = hiercl.embed(told, test).numpy()
xy = hiercl.plot.map_2d(z)
for place, found in {"in the features": nearest(z, "cosine"), "on the map": nearest(xy)}.items():
    agree = 100 * (test.labels[found] == test.labels[:, None]).mean()
    print(f"{agree:.1f} % of the 10 nearest items {place} have the item's true class.")
title = f"SupCon, {100 * SHUFFLED:.0f} % of the labels shuffled"
hiercl.plot.embedding(None, test, levels=[-1], coordinates=xy, title=title)

# %% [markdown]
# ## Summary
#
# * A map of two dimensions cannot keep all neighbours. We can measure how many it keeps, so measure it.
# * UMAP scales the distances of every item separately. So the width of an island says how many items it has, not how
#   wide its cluster is. The distance of two islands without ties says little.
# * Another seed, another number of neighbours, and random numbers are three cheap controls.
# * Make claims with numbers of the features themselves. Maps tell you where to look.
#
# **To think about.** UMAP made the ties of these maps without labels. A supervised form of UMAP makes ties between
# items of one class. What would its map of random numbers look like? What would it say about an encoder?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included, and 90 with the open exercise. Hard for them:
# sizes and distances of clusters on a UMAP map mean little.
#
# Typical mistakes:
#
# * "These two classes are close, for their islands are close." Check the features.
# * "This class varies more, for its island is wider." Look at the planted clusters.
# * "A map with clear islands shows a good encoder." Supervised maps show them for random numbers.
#
# **The open exercise**, how to mark it. Five points, one for each part that its text names, and one for two values of
# `LABEL_SEED`. An answer without the untrained network has at most two points. "The map shows what SupCon has
# learned" has no point for its sentence.
#
# An example answer. *I expect 35 % on the map with `SHUFFLED = 1.0`, less than half of what true labels give, because
# the labels mean nothing.* Neighbours that agree in per cent, `LABEL_SEED` 0 and 1:
#
# | | in the features | on the map |
# |---|---|---|
# | `SHUFFLED = 0.0` | 74.2 | 71.9 |
# | `SHUFFLED = 0.5` | 60.7, 59.6 | 61.8, 61.7 |
# | `SHUFFLED = 1.0` | 56.1, 54.9 | 56.7, 57.8 |
# | backbone | 65.3 | 67 |
# | untrained | 53.6 | 57 |
# | random numbers | | 5 |
#
# *My prediction was wrong. After a training with labels that mean nothing, neighbours on the map agree as often as
# those of the untrained network. So the islands come from the backbone. Of these trainings only that with true labels
# shows more than the backbone. A map with islands of the classes does not say that the training has taught the classes.
# One has to compare it with the backbone and with the untrained network.* These are test items and one seed of the
# training. A training with its map took 7 seconds of one core.
#
# **To think about**, how to mark it. Two points. A supervised UMAP separates classes of random numbers too (1). So it
# says nothing about an encoder without held-out items (1).
