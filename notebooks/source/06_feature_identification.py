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
# # 06 · Feature identification
#
# **You will be able to** say which features serve which level of a hierarchy, give every level its own features with
# G-HMLC and A-HMLC, switch features on and off, and tell whether what a mixture finds is more than chance.
#
# About two minutes of computing on two CPU cores. Before: [05, label hierarchies](05_label_hierarchies.ipynb). After:
# [07, embedding maps](07_embedding_maps.ipynb).
#
# Both methods are of one paper (Ott et al., 2025, arXiv 2510.00837). Neither its code nor its full text was at hand.
# Its abstract and summaries by others say: a Gaussian mixture finds each level's features and makes hard masks
# (G-HMLC); an attention head for each level makes soft masks (A-HMLC). What the mixture sees, where the masks act, and
# the form of the heads are **our instantiation**, not the paper's.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, TESTED, EPOCHS = ("shapes", 10, 5, 2) if FAST else ("cifar100", 60, 30, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)
COLOURS = np.array(["#0072B2", "#E69F00", "#009E73"])  # of the levels, coarse to fine

# %% [markdown]
# ## 1. Together and apart
#
# These are the classes of one superclass. At the coarse level all of them are pulled together. At the fine level the
# rows are pushed apart. HMC ([05](05_label_hierarchies.ipynb)) asks both of the *same* features.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(TESTED)
levels, names = train.hierarchy.levels, [name.replace("_", " ") for name in train.hierarchy.level_names]
print(train)
family = train.under(train.hierarchy.names[0][0])
hiercl.plot.gallery(family, level=levels - 1, per_node=7)

# %% [markdown]
# G-HMLC gives every level features of its own. Let $v$ be the projection of a picture before it is brought to unit
# length, and $M_h \in \{0, 1\}^d$ the **mask** of level $h$: 1 for its features, 0 for the others. Every feature is of
# exactly one level. At level $h$ a picture is seen as
#
# $$z^{(h)} = \frac{M_h \odot v}{\lVert M_h \odot v \rVert}, \qquad
#   \mathcal L = \frac{\sum_h \lambda_h \mathcal L_h}{\sum_h \lambda_h}$$
#
# where $\mathcal L_h$ is HMC's loss of level $h$, of the embeddings $z^{(h)}$. So the loss of a level has no gradient
# on the features of the others.
#
# **Exercise.** Write the embedding that a level sees, for several pictures at a time.


# %%
def masked(features, mask):
    """Unit embeddings [n, d] of one level; features are [n, d], mask is [d], both numpy arrays."""
    return ...


check("06 masked", masked)

# %% [markdown]
# ## 2. Which level does a feature serve?
#
# A feature serves a level if it tells its classes apart: they lie far from one another, and narrow. That is its
# **Fisher ratio**
#
# $$F_{j,h} = \frac{\text{variance of feature } j \text{ between the classes of level } h \text{ within their parent}}
#   {\text{variance of feature } j \text{ within the classes of level } h}$$
#
# "Within their parent" keeps levels apart: a feature that tells people from trees gets nothing for telling a boy
# from an oak.
#
# **Exercise.** Write it for one feature at the coarsest level, where there is no parent. Every class counts alike,
# however many pictures it has. Above: the mean over classes of the squared distance of a class's mean from the mean of
# these means. Below: the mean over classes of the variance within one, divided by its number of pictures minus 1.


# %%
def fisher(values, classes):
    """Fisher ratio of one feature; values and classes are numpy arrays [n]."""
    return ...


check("06 fisher", fisher)

# %% [markdown]
# ## 3. A case where the answer is known
#
# Before we trust a mixture with a trained encoder, we plant what it should find. An equal part of the features, the
# first ones, carries the superclass, the next the class. `leak` says how much of the other level is in a feature too,
# `spread` how much features differ in strength.


# %%
def planted(ancestors, levels, leak=0.4, spread=1.0, d=128, seed=0):
    """Features [items, d] of which every equal part serves one level most; and the level that each serves."""
    rng = np.random.default_rng(seed)
    level_of = np.sort(np.arange(d) % levels)
    strength = np.exp(spread * rng.standard_normal(d))
    v = rng.standard_normal((len(ancestors), d))
    for level in range(levels):
        centres = strength * rng.standard_normal((ancestors[:, level].max() + 1, d))
        v += np.where(level_of == level, 1, leak) * centres[ancestors[:, level]]
    return torch.from_numpy(v), level_of


nodes = torch.from_numpy(train.hierarchy.ancestors[train.labels])  # of every picture at every level
v, truth = planted(nodes.numpy(), levels)

# %% [markdown]
# Each feature is now a point: how well it tells superclasses apart, how well classes. The mixture has one Gaussian a
# level and sees the points' **contrast**: each logarithm minus the mean over levels. That is how far a point lies from
# a line of slope 1.
#
# **Predict**: a mixture that saw the points as they are (`raw`) would make two groups as well. Which?


# %%
def draw(panels):
    """One panel for every title: points, and the level of each."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(9, 3.5), layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for axis, (title, (points, level_of)) in zip(axes[0], panels.items(), strict=True):
        points = np.asarray(points)[:, [0, -1]]
        for level, name in enumerate(names):
            axis.scatter(*points[level_of == level].T, s=12, color=COLOURS[level], label=f"{name} features")
        axis.axline(points.mean(axis=0), slope=1, color="#BBBBBB", linewidth=1, zorder=0)
        axis.set(title=title, xlabel=f"log F, {names[0]}")
    axes[0, 0].set_ylabel(f"log F, {names[-1]}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=levels, frameon=False)


# %%
points = hiercl.descriptors.fisher_ratios(v, nodes).log()
panels = {"planted": (points, truth)}
for kind in ("contrast", "raw"):
    fit = hiercl.masks.fit_masks(hiercl.descriptors.describe(v, nodes, kind), points, levels)
    found = fit.masks.argmax(dim=0).numpy()
    panels[f"mixture of {kind}: {100 * (found == truth).mean():.0f} % right"] = (points, found)
draw(panels)
print(f"A random split would have {100 / levels:.0f} % right.")

# %% [markdown]
# `raw` may tell strong features from weak ones instead of one level from another. So G-HMLC uses the contrast here,
# and gives every level the same number of features.
#
# ## 4. Four short trainings
#
# HMC has no masks. G-HMLC trains as HMC for the first tenth of the epochs (one at least), then fits its masks once.
# With `masks="random"` it takes a random split of the same size instead of asking the mixture: **the control**. A-HMLC
# comes in part 7.

# %%
runs = {
    "HMC": hiercl.fit("hmc", train, **SETTINGS),
    "G-HMLC": hiercl.fit("g_hmlc", train, **SETTINGS),
    "random split": hiercl.fit("g_hmlc", train, masks="random", **SETTINGS),
    "A-HMLC": hiercl.fit("a_hmlc", train, **SETTINGS),
}
hiercl.plot.history(runs)

# %% [markdown]
# The same picture of trained features, on test pictures. HMC's features were never told to serve one level; a mixture
# divides them now. The others have the colours of the masks that they were trained with.
#
# **Predict**: do the points of HMC fall into two groups? Do those of G-HMLC?


# %%
def divide(points):
    """Level of every feature, by a mixture of the contrasts of its log Fisher ratios; as G-HMLC does it."""
    contrast = hiercl.descriptors.standardised(points - points.mean(dim=1, keepdim=True))
    return hiercl.masks.fit_masks(contrast, points, levels).masks.argmax(dim=0).numpy()


@torch.no_grad()
def look(model, dataset=test):
    """Log Fisher ratios of the features of a model's projection, and their levels by a mixture fitted now."""
    v = getattr(model, "method", model).head(hiercl.embed(model, dataset))
    nodes = torch.from_numpy(dataset.hierarchy.ancestors[dataset.labels])
    points = hiercl.descriptors.fisher_ratios(v, nodes).log()
    return points, divide(points)


# %%
seen = {name: look(run) for name, run in runs.items()}
worn = {name: runs[name].method.masks[0].argmax(dim=0).numpy() for name in ("G-HMLC", "random split")}
panels = {"planted": panels["planted"], "HMC": seen["HMC"]} | {name: (seen[name][0], worn[name]) for name in worn}
draw({name: panels[name] for name in ("HMC", "G-HMLC", "random split")})

# %% [markdown]
# Any cloud can be cut in two, so that the parts look different. How far apart are the features of the first and of the
# last level, in units of their own width? A **blind** split, which knows nothing of the features, gives about 0. But a
# mixture looks for the best cut, so its gap has to be held against that of a single bell curve, cut by a mixture as
# well. Only *more* than that is a sign of groups.


# %%
def gap(points, level_of):
    """Distance of the mean contrasts of the coarsest and the finest level's features, in their standard deviations."""
    contrast = np.asarray(points[:, 0] - points[:, -1])
    first, last = contrast[level_of == 0], contrast[level_of == levels - 1]
    return (first.mean() - last.mean()) / np.sqrt((first.var() + last.var()) / 2)


bells = torch.randn(10 if FAST else 60, 128, levels, generator=torch.Generator().manual_seed(0))
low, high = np.quantile([gap(bell, divide(bell)) for bell in bells], [0.025, 0.975])
blind = 2 * np.sqrt(2 * levels / 128)

# %%
print(f"One bell curve, cut by a mixture: {low:.2f} to {high:.2f}. A blind split: {-blind:.2f} to {blind:.2f}.")
for name, how in zip(panels, ("true levels", "cut by a mixture now", *["masks that trained it"] * 2), strict=True):
    print(f"{name + ', ' + how:36} {gap(*panels[name]):5.2f}")
two = "beyond" if gap(*panels["HMC"]) > high else "not beyond"
print(f"What the mixture finds in HMC is {two} one bell curve.")
for name in worn:
    more = "beyond" if gap(*panels[name]) > blind else "within"
    print(f"{name}: the gap is {more} what a blind split gives.")

# %% [markdown]
# ## 5. Masks on and off
#
# The same masks in full. At the left, which features they give to each level, and what these features separate. At the
# right, how well the classes of a level are told apart by all features, by its own, by the others'. The mark on the
# bar of its own is the control: as many random features.
#
# (What separates superclasses counts for classes, too, at the right.)
#
# **Predict**: what does the superclass lose, if only the features of the class are left?

# %%
hiercl.plot.masks(runs["G-HMLC"], test)

# %% [markdown]
# The same of the run with the random split (its title says g_hmlc, too). Do its own features beat as many random ones?
# Then training under *any* masks does that, and it says nothing for the mixture.

# %%
hiercl.plot.masks(runs["random split"], test)

# %% [markdown]
# How many features does a level need? Features are ranked by their Fisher ratios on *training* pictures, the best are
# kept, and test pictures say how well the classes are still told apart. (Fisher ratios of the class look within the
# superclass alone; nearest neighbours have to find the superclass, too. So the best for the class need not win there.)

# %%
ranked, part = look(runs["HMC"], train)[0], test.per_class(TESTED // 2)
with torch.no_grad():
    v = runs["HMC"].method.head(hiercl.embed(runs["HMC"], part))
orders = {f"best for {name}": ranked[:, h].argsort(descending=True) for h, name in enumerate(names)}
orders["random"] = torch.randperm(v.shape[1], generator=torch.Generator().manual_seed(0))
counts, curves = [2, 4, 8, 16, 32, 64, v.shape[1]], {}
figure, axes = plt.subplots(1, levels, figsize=(9, 3), layout="constrained")
for colour, (name, order) in zip([*COLOURS[:levels], "#888888"], orders.items(), strict=True):
    curves[name] = [100 * hiercl.feature_masks.mask_separation(v[:, order[:k]], part)["knn"] for k in counts]
    for h, axis in enumerate(axes):
        axis.plot(counts, [knn[h] for knn in curves[name]], "o-", markersize=3, color=colour, label=name)
        axis.set_xscale("log", base=2)
        axis.set(title=f"{names[h]}: kNN accuracy (%)", xlabel="features kept, of HMC")
axes[0].legend(frameon=False)
plt.show()

# %%
for h, name in enumerate(names):
    with_8 = ", ".join(f"{kept} {curve[counts.index(8)][h]:.1f} %" for kept, curve in curves.items())
    print(f"{name} from 8 features: {with_8}")

# %% [markdown]
# Now by hand: click features off, or stroke over several. Which level loses, and does it lose more than with as many
# random ones?

# %%
hiercl.explore.masks(runs["G-HMLC"], test)

# %% [markdown]
# ## 6. Is it the mixture, or any split?
#
# A first question: if a mixture is fitted anew to the features after the training, does it find the masks again that
# they were trained with? If training under masks makes features serve their level, it should, whatever the masks were.
#
# **Exercise.** We need to know what chance would give. 120 features are split at random into *three* levels of equal
# size, twice. Which share of the features has the same level in both splits, on average?

# %%
check("06 chance", ...)

# %%
for name in worn:
    found = seen[name][1]
    same, noise = (worn[name] == found).mean(), 2 * np.sqrt((levels - 1) / levels**2 / len(found))
    verdict = "beyond chance" if same > 1 / levels + noise else "within what chance gives"
    print(f"{name:12}: {100 * same:.0f} % of the features are given to the same level again: {verdict}")
print(f"Chance: {100 / levels:.0f} % ± {100 * noise:.0f} points.")

# %% [markdown]
# And the question that counts: how well are the classes told apart by the *encoder's* features, which is what one uses
# afterwards?
#
# **Predict** the order of the four.

# %%
tables = {name: hiercl.evaluate(run, train, test).table() for name, run in runs.items()}
for level in train.hierarchy.level_names:
    of = {name: table.loc[level, "linear"] for name, table in tables.items()}
    noise = 1.96 * np.sqrt(2 * of["HMC"] * (100 - of["HMC"]) / len(test))
    print(f"{level}, linear probe: " + ", ".join(f"{name} {value:.1f} %" for name, value in of.items()))
    for name, control in (("G-HMLC", "random split"), ("G-HMLC", "HMC"), ("A-HMLC", "HMC")):
        ahead = of[name] - of[control]
        word = "within" if abs(ahead) < noise else "beyond"
        print(f"    {name} − {control}: {ahead:+.1f} points, {word} the ±{noise:.1f} of {len(test):,} test pictures")
print("One seed of a short training: a claim needs at least five.")

# %% [markdown]
# ## 7. Soft masks: A-HMLC
#
# Here a small network, a **gate**, makes the masks from the encoder's feature $u$ of the picture, one for each level,
# and is trained with the rest:
#
# $$M_h(x) = \sigma\big(W^{(2)}_h\, \mathrm{ReLU}(W^{(1)}_h u)\big) \in (0, 1)^d$$
#
# (Biases are left out; the last one starts at 2, so that gates start open, at 0.88.) Levels may share features.
#
# **Predict**: which level closes more features? And do masks differ more between two pictures, or between two features?

# %%
hiercl.plot.masks(runs["A-HMLC"], test)

# %%
end = runs["A-HMLC"].history.iloc[-1]
for h, name in enumerate(names):
    inputs, features = end[f"gate over inputs {h}"], end[f"gate over features {h}"]
    more = "features than between pictures" if features > inputs else "pictures than between features"
    print(f"{name}: standard deviation between pictures {inputs:.3f}, between features {features:.3f}.", end=" ")
    print(f"The masks differ more between {more}.")

# %% [markdown]
# ## 8. After a long training
#
# The same test pictures, with encoders that were trained for 8 epochs on all 50,000 pictures of CIFAR-100. They come
# without their masks, so the colours are those of a mixture fitted now.

# %%
long = {name: look(hiercl.pretrained(name)) for name in ("hmc", "g_hmlc", "a_hmlc")}
draw(long)
for name, points in long.items():
    word = "beyond" if gap(*points) > high else "not beyond"
    print(f"{name}: gap {gap(*points):.2f}, {word} the {high:.2f} of one bell curve")

# %% [markdown]
# ## 9. How many levels are there?
#
# All this needs to know the number of levels. A mixture that may leave components empty (a Dirichlet process) could
# propose it. We plant one to four levels in a tree of four, and ask twice: with the labels of all four levels (how
# many of them do the features serve?), and without any label.

# %%
leaf = np.random.default_rng(0).integers(81, size=2000)
tree = np.stack([leaf // 27, leaf // 9, leaf // 3, leaf], axis=1)
asked = {"with labels": dict(ancestors=torch.from_numpy(tree), descriptor="raw"), "without labels": {}}
proposed = {name: [] for name in asked}
for truth in (1, 2, 3, 4):
    for draws in range(2 if FAST else 8):
        v, _ = planted(tree, truth, leak=0, spread=0.3, seed=10 * truth + draws)
        for name, how in asked.items():
            proposed[name].append((truth, hiercl.level_count.propose_levels(v, seed=draws, **how).levels))

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained", sharey=True)
for axis, (name, pairs) in zip(axes, proposed.items(), strict=True):
    where, count = np.unique(pairs, axis=0, return_counts=True)
    right = np.mean([planted_levels == found for planted_levels, found in pairs])
    axis.scatter(*where.T, s=400 * count / count.max(), color=COLOURS[0])
    axis.plot([1, 4], [1, 4], color="#BBBBBB", zorder=0)
    axis.set(title=f"{name}: {100 * right:.0f} % right", xlabel="levels planted", xticks=range(1, 5), ylim=(0.3, 6.7))
    verdict = "more" if right > 0.25 else "not more"
    print(f"{name}: {100 * right:.0f} % right, {verdict} than the 25 % of always saying the same number.")
axes[0].set_ylabel("levels proposed")
plt.show()

# %% [markdown]
# Do not take a proposal without labels for evidence. With labels it is this good only because the planted features are
# about equally strong. At the spread of part 3 it counts strong and weak ones, and is right far less often:
# `help(hiercl.level_count.propose_levels)`.
#
# ## Summary
#
# * A feature serves a level if the level's classes differ in it: that is its Fisher ratio.
# * G-HMLC gives every feature to one level, A-HMLC gives every level a soft mask over all features.
# * Test a method that finds structure where the structure is known, before you use it where it is not.
# * Every cloud can be cut in two. What a mixture finds has to beat a random split of the same size, and a single bell
# curve.
#
# **To think about.** The projection is a linear layer: its features could be turned into other ones by any rotation,
# with the same distances between pictures. What does that mean for "the features of a level"? Where in the encoder
# would it be otherwise?
