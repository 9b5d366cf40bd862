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
# **After this notebook you can** draw a map of what an encoder has learned, at every level and over the epochs. You
# can compare methods on maps. You know which part of such a figure to believe.
#
# Before: [07, feature identification](07_feature_identification.ipynb). After: [09, the same on
# shapes](09_modelnet40.ipynb).

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
from scipy import spatial, stats
from sklearn import manifold, neighbors

import hiercl
from hiercl.datasets import HierarchicalDataset, cifar100
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, MAPPED, EPOCHS = ("shapes", 10, 5, 1) if FAST else ("cifar100", 60, 10, 8)

# %% [markdown]
# ## 1. Encoders to look at
#
# We run one short training. We also load the pretrained encoders of the package, one for each method. They were
# trained on the 50,000 training pictures of CIFAR-100. All encoders compute features of the same test pictures, ten
# of each class.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(MAPPED)
print(test)
settings = dict(batch=256, seed=0, monitor_every=0, progress=False)
untrained = hiercl.fit("hmc", train, epochs=0, **settings)
short = hiercl.fit("hmc", train, epochs=EPOCHS, callbacks=[hiercl.plot.live()], **settings)

# %%
methods = [name for name in hiercl.methods.names() if name in hiercl.pretrained_names()]
methods = methods[::5] if FAST else methods
models = {name: hiercl.pretrained(name) for name in methods}
features = {name: hiercl.embed(model, test).numpy() for name, model in models.items()}
features["untrained"] = hiercl.embed(untrained, test).numpy()
features["random numbers"] = np.random.default_rng(0).normal(size=features["untrained"].shape)
for name, model in models.items():
    print(f"{name:7} {model.card['budget']}")

# %% [markdown]
# The trainings had different lengths and one seed each. Look at the encoders, but do not judge the methods by them.
#
# ## 2. From many numbers to two
#
# An encoder gives 256 numbers per picture. UMAP (McInnes et al., 2018, arXiv 1802.03426) looks for two numbers, in
# three steps.
#
# 1. Each item $i$ gets ties to its $k$ nearest items $j$, by the cosine distance $d$. The strength of a tie falls
#    from 1: $p_{j|i} = \exp(-(d(i, j) - \rho_i) / \sigma_i)$. Here $\rho_i$ is the distance of the nearest item.
#    $\sigma_i$ is chosen so that the ties of every item have the same total strength, **however far its neighbours
#    are**.
# 2. UMAP reads the strengths as probabilities that a tie exists. One of the two ties is enough: $p_{ij} = p_{j|i} +
#    p_{i|j} - p_{j|i}\, p_{i|j}$.
# 3. On the map, items have places $y$ and ties $q_{ij} = 1 / (1 + a \lVert y_i - y_j\rVert^{2b})$. UMAP starts with
#    some places and moves them to make this loss small:
#
# $$-\sum_{i<j} \big[\, p_{ij} \log q_{ij} + (1 - p_{ij}) \log (1 - q_{ij}) \,\big]$$
#
# So ties pull, and all other pairs push. This is a contrastive loss for the two numbers.
#
# **Exercise.** Item $i$ has a tie of 0.8 to $j$, and $j$ has a tie of 0.5 to $i$. What is $p_{ij}$?

# %%
check("08 union", ...)

# %% tags=["solution"]
# Either of two independent ties is enough.
check("08 union", 0.8 + 0.5 - 0.8 * 0.5)

# %% [markdown]
# This is one map, shown for every level. The places are the same, and the colours differ. The titles say how often an
# item and its 10 nearest items *on the map* have the same label. (The first call of UMAP is slow, because UMAP is
# compiled then.)
#
# **Predict**: at each level, how many times as often as by chance do neighbours agree? (The number in brackets is
# chance.)

# %%
maps = {name: hiercl.plot.map_2d(z) for name, z in features.items()}
shown = "hmc"
hiercl.plot.embedding(None, test, coordinates=maps[shown], title=shown)

# %% [markdown]
# ## 3. All maps
#
# **Predict**, and cover the titles with your hand: which encoders have seen labels? Which encoder is untrained?
# (`hce` and `hmce` use the form of the paper. Their cards say how much they have learned:
# `hiercl.pretrained("hce").card`.)

# %%
hiercl.plot.compare_embeddings(features, test, level=0, coordinates=maps)

# %% [markdown]
# Does a tidier map mean better features? Each point is an encoder. The horizontal axis says how often the 10 nearest
# items *in the features* have the item's label. The vertical axis says the same for the map. On the line, the map and
# the features agree.


# %%
def nearest(z, metric="cosine", count=10):
    """Returns the nearest other items of every item, [items, count]."""
    return neighbors.NearestNeighbors(n_neighbors=count, metric=metric).fit(z).kneighbors(return_distance=False)


def agree(neighbours, labels):
    """Returns how often neighbours have the label of their item, in per cent."""
    return 100 * (labels[neighbours] == labels[:, None]).mean()


in_features = {name: nearest(z) for name, z in features.items()}
on_map = {name: nearest(xy, "euclidean") for name, xy in maps.items()}


# %%
def beside_points(axis, points, names):
    """Writes names beside their points, alternately right and left, so that no name covers another."""
    across, up = 0.06 * np.ptp(points[:, 0]), 0.05 * np.ptp(points[:, 1])
    last = {-1: -np.inf, 1: -np.inf}
    for rank, number in enumerate(points[:, 1].argsort()):
        side, (x, y) = (-1 if rank % 2 else 1), points[number]
        last[side] = max(y, last[side] + up)
        style = {"ha": "left" if side > 0 else "right", "va": "center", "size": 7}
        line = {"arrowstyle": "-", "linewidth": 0.4}
        axis.annotate(names[number], (x, y), (x + side * across, last[side]), arrowprops=line, **style)


# %%
figure, axes = plt.subplots(1, test.hierarchy.levels, figsize=(9, 3.8), layout="constrained")
for level, (axis, level_name) in enumerate(zip(axes, test.hierarchy.level_names, strict=True)):
    labels = test.labels_at(level)
    pairs = np.array([[agree(near[name], labels) for near in (in_features, on_map)] for name in features])
    axis.scatter(*pairs.T, s=14)
    beside_points(axis, pairs, list(features))
    axis.axline((0, 0), slope=1, color="#BBBBBB", zorder=0)
    axis.set(title=f"same {level_name} (%)", xlabel="nearest in features", ylabel="nearest on the map")
    axis.set_xlim(0, 1.25 * pairs[:, 0].max())
    order, higher = stats.spearmanr(pairs[: len(methods)]).statistic, np.mean(pairs[:, 1] - pairs[:, 0])
    print(f"{level_name}: map minus features is {higher:+.1f} points on average;", end=" ")
    print(f"the rank correlation of the methods is {order:.2f}")

# %% [markdown]
# ## 4. Which neighbours does the map keep?
#
# A map of two dimensions cannot keep all neighbours. In the figure, lines lead from three items (stars) to their 10
# nearest items in the features. A short line means that the map kept the neighbour.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, name in zip(axes, (shown, "untrained", "random numbers"), strict=True):
    xy = maps[name]
    axis.scatter(*xy.T, s=3, color="#CCCCCC")
    for item, colour in zip((0, len(xy) // 3, len(xy) // 2), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        for other in in_features[name][item]:
            axis.plot(*xy[[item, other]].T, color=colour, linewidth=0.8)
        axis.plot(*xy[item], "*", color=colour, markersize=10)
    axis.set(title=name, xticks=[], yticks=[])

# %% [markdown]
# **Exercise.** First we need to know what chance gives. 1,001 items have random places on a map. Which share of an
# item's 10 nearest items in the features is among its 10 nearest items on the map, on average?

# %%
check("08 chance", ...)

# %% tags=["solution"]
# Each of the 1,000 other items is among the 10 nearest on the map with probability 10 / 1,000.
check("08 chance", 10 / 1000)

# %% [markdown]
# We use two measures. **Kept** is the share of the 10 nearest items in the features that are among the 10 nearest
# items on the map. **Trustworthiness** is 1 if all items that are near on the map are near in the features. A false
# neighbour on the map costs more if it is farther away in the features.
#
# **Predict**: which features does a map show best? Those of a well trained encoder, those of an untrained encoder, or
# random numbers?


# %%
def kept(before, after):
    """Returns the share of the neighbours `before` that are also in `after`, in per cent."""
    return 100 * np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(before, after, strict=True)])


share = {name: kept(in_features[name], on_map[name]) for name in features}
figure, axis = plt.subplots(figsize=(7, 0.25 * len(share) + 0.8), layout="constrained")
axis.barh(list(share), list(share.values()), color="#0072B2")
axis.axvline(100 * 10 / (len(test) - 1), color="#222222", linestyle=":", label="chance")
axis.set(xlabel="neighbours kept (%)")
axis.invert_yaxis()
axis.legend(frameon=False)
plt.show()

# %%
for name in (shown, "untrained", "random numbers"):
    trust = manifold.trustworthiness(features[name], maps[name], n_neighbors=10, metric="cosine")
    print(f"{name:14} kept {share[name]:4.1f} %, trustworthiness {trust:.2f}")
best, worst = max(share, key=share.get), min(share, key=share.get)
print(f"The map of {best} keeps the most neighbours ({share[best]:.0f} %),", end=" ")
print(f"the map of {worst} keeps the fewest ({share[worst]:.0f} %).")

# %% [markdown]
# ## 5. Chance, and one setting
#
# The figure shows maps of one encoder with three seeds (columns) and three numbers of neighbours $k$ (rows).
#
# **Predict**: what stays the same from seed to seed? The islands, the items in them, or their places?

# %%
part = np.arange(0, len(test), 2)  # every second item saves time
z, few = features[shown][part], test.take(part)
grid = {f"k = {k}, seed {s}": hiercl.plot.map_2d(z, s, k) for k in (5, 15, 100) for s in range(2 if FAST else 3)}
hiercl.plot.compare_embeddings(grid, few, level=0, coordinates=grid)

# %%
near, of_k = nearest(z), {}
for name, xy in grid.items():
    of_k.setdefault(name.split(",")[0], []).append(kept(near, nearest(xy, "euclidean")))
for name, values in of_k.items():
    print(f"{name:8} kept {np.mean(values):.1f} %, from {min(values):.1f} to {max(values):.1f} over seeds")
by_k, by_seed = np.ptp([np.mean(values) for values in of_k.values()]), max(np.ptp(values) for values in of_k.values())
same = kept(*(nearest(grid[f"k = 15, seed {s}"], "euclidean") for s in (0, 1)))
print(f"Two maps that differ only in the seed share {same:.1f} % of the 10 nearest items.")
print(f"Here {'k' if by_k > by_seed else 'the seed'} has the larger effect on the kept neighbours.")

# %% [markdown]
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
# show groups, and at which $k$? (UMAP's $k$ counts the item itself. Every panel has the same number of items. At $k =
# 2$ one dot is several items at one place.)

# %%
noise = features["random numbers"][part]
of_noise = {f"random numbers, k = {k}": hiercl.plot.map_2d(noise, 0, k) for k in (2, 5, 40)}
hiercl.plot.compare_embeddings(of_noise, few, level=0, coordinates=of_noise)

# %% [markdown]
# Islands alone are no evidence. Compare them with labels, with another seed, with another $k$, and with random
# numbers.
#
# ## 6. Between and within islands
#
# **Predict**: two classes lie far apart on the map. May we say that they are far apart in the features? A class is
# spread widely on the map. May we say that it is spread widely in the features?


# %%
def centres(z, labels):
    """Returns the distances between all pairs of class means, and each class's mean distance from its mean."""
    means = np.stack([z[labels == c].mean(axis=0) for c in np.unique(labels)])
    spread = [np.linalg.norm(z[labels == c] - m, axis=1).mean() for c, m in zip(np.unique(labels), means, strict=True)]
    return spatial.distance.pdist(means), np.array(spread)


top, unit = few.labels_at(0), z / np.linalg.norm(z, axis=1, keepdims=True)
real, one, two = (centres(places, top) for places in (unit, grid["k = 15, seed 0"], grid["k = 15, seed 1"]))

# %%
panels = {
    "distance of two superclasses": (real[0], one[0], "in the features", "on the map"),
    "the same, on two maps": (one[0], two[0], "on the map of seed 0", "on the map of seed 1"),
    "spread of a superclass": (real[1], one[1], "in the features", "on the map"),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for axis, (what, (x, y, across, up)) in zip(axes, panels.items(), strict=True):
    axis.scatter(x, y, s=10, alpha=0.6)
    axis.set(title=f"{what}:\nrank correlation {stats.spearmanr(x, y).statistic:.2f}", xlabel=across, ylabel=up)

# %% [markdown]
# A correlation of 1 would mean that the map keeps the order. 0 would mean that the map says nothing about the order.
# With a value in between, the map is right on the whole and wrong for many single pairs.
#
# ## 7. How a map unfolds
#
# Every pretrained encoder comes with maps of a thousand test pictures, one map for every epoch of its training. They
# are computed together (AlignedUMAP): every picture is held near its places in the epochs before and after. So you
# can follow a picture. A picture moves because its features change, or by chance of the layout.

# %%
unfolding = models[shown].unfolding()
print(unfolding)
places = unfolding.find(test)
if (places >= 0).all():
    items = test.take(places)
else:  # the maps show test pictures of CIFAR-100; without these pictures, use only their labels
    blank = np.zeros((len(places), 32, 32, 3), dtype=np.uint8)
    items = HierarchicalDataset.from_arrays(blank, unfolding.labels, cifar100.hierarchy())
last = len(unfolding.maps) - 1
epochs = {f"epoch {e}": unfolding.maps[e] for e in np.unique(np.linspace(0, last, 3 if FAST else 6).astype(int))}
hiercl.plot.compare_embeddings(epochs, items, level=0, coordinates=epochs)

# %% [markdown]
# **Predict**: which becomes stable earlier, superclasses or classes? When do the places become stable?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
steps = np.linalg.norm(np.diff(unfolding.maps, axis=0), axis=2).mean(axis=1)
right.plot(range(1, last + 1), steps, "o-", color="#666666")
right.set(title="mean path of a picture per epoch", xlabel="epoch", ylim=(0, None))
around = [nearest(xy, "euclidean") for xy in unfolding.maps]
for level, name in enumerate(items.hierarchy.level_names):
    curve = np.array([agree(near, items.labels_at(level)) for near in around])
    left.plot(curve, "o-", label=name)
    half = int(np.argmax(curve >= (curve[0] + curve.max()) / 2))
    print(f"{name}: half of the gain is reached after epoch {half}.")
left.set(title="nearest on the map with the same label (%)", xlabel="epoch", ylim=(0, None))
left.legend(frameon=False)
plt.show()

# %% [markdown]
# This figure shows the paths of the pictures of two superclasses. A path (line) starts at the untrained encoder. It
# ends at a dot, the place of the last epoch. The left superclass has the neighbours that agree most, the right one
# has those that agree least.

# %%
labels = items.labels_at(0)
found = [(labels[around[-1]][labels == c] == c).mean() for c in range(items.hierarchy.sizes[0])]
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axis, c in zip(axes, (int(np.argmax(found)), int(np.argmin(found))), strict=True):
    axis.scatter(*unfolding.maps[-1].T, s=3, color="#DDDDDD")
    for way in unfolding.maps[:, labels == c].transpose(1, 0, 2):
        axis.plot(*way.T, color="#0072B2", linewidth=0.4, alpha=0.6)
        axis.plot(*way[-1], ".", color="#D55E00", markersize=5)
    name = items.hierarchy.names[0][c].replace("_", " ")
    axis.set(title=f"{name}: neighbours agree {100 * found[c]:.0f} %", xticks=[], yticks=[])

# %% [markdown]
# Explore it yourself. Draw a loop around an island of the last epoch. Where was it before? Point at an item to see
# its picture.

# %%
hiercl.explore.embedding(None, items, coordinates=epochs, max_items=500)

# %% [markdown]
# ## 8. Your own training
#
# This figure compares three encoders at the level of the leaves: the untrained one, the short training from the
# beginning, and the long training of the same method.

# %%
xy = hiercl.plot.map_2d(hiercl.embed(short, test))
yours = {"untrained": maps["untrained"], f"{EPOCHS} epochs, {len(train):,} items": xy, "long": maps["hmc"]}
hiercl.plot.compare_embeddings(yours, test, level=-1, coordinates=yours)

# %% [markdown]
# These are maps of several methods. They are linked: if you select items on one map, they are selected on all maps.

# %%
some = [*methods[:2], shown, "untrained", "random numbers"]
hiercl.explore.embedding(None, test, coordinates={name: maps[name] for name in some}, max_items=500)

# %% [markdown]
# ## Summary
#
# * A map of two dimensions cannot keep all neighbours. We can measure how many it keeps, so measure it.
# * UMAP scales the distances of every item separately. So distances between islands and the widths of islands need
#   not be those of the features. Section 6 measures how well they agree.
# * Another seed, another number of neighbours, and random numbers are three cheap controls.
# * Make claims with numbers of the features themselves. Maps tell you where to look.
#
# **To think about.** UMAP made the ties of these maps without labels. A supervised form of UMAP makes ties between
# items of one class. What would its map of random numbers look like? What would it say about an encoder?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 45 minutes, exercises included. Hard for them: sizes and distances of clusters
# on a UMAP map mean little.
#
# Typical mistakes:
#
# * "These two classes are close, for their islands are close." Check the features.
# * "A map with clear islands shows a good encoder." Supervised maps show them for random numbers.
#
# **To think about**, how to mark it. Two points. A supervised UMAP separates classes of random numbers too (1). So it
# says nothing about an encoder without held-out items (1).
