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
# # 07 · Feature identification
#
# **After this notebook you can** say which features serve which level of a hierarchy. You can give every level its
# own features with G-HMLC and A-HMLC. You can switch features on and off. You can tell whether a mixture finds more
# than chance does.
#
# Before: [06, label hierarchies](06_label_hierarchies.ipynb). After: [08, embedding maps](08_embedding_maps.ipynb).
#
# Both methods come from one paper (Ott et al., 2025, arXiv 2510.00837). We had neither its code nor its full text.
# Its abstract and summaries by others say: a Gaussian mixture finds the features of each level and makes hard masks
# (G-HMLC). An attention head for each level makes soft masks (A-HMLC). These sources do not say what the mixture
# sees, where the masks act, and which form the heads have. These parts are **our instantiation**, not the paper's.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, TESTED, EPOCHS = ("shapes", 10, 5, 2) if FAST else ("cifar100", 60, 30, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)
COLOURS = np.array(["#0072B2", "#E69F00", "#009E73"])  # colours of the levels, coarse to fine

# %% [markdown]
# ## 1. Together and apart
#
# These are the classes of one superclass. At the coarse level they are all pulled together. At the fine level the
# rows are pushed apart. HMC ([06](06_label_hierarchies.ipynb)) wants both from the *same* features.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(TESTED)
levels, names = train.hierarchy.levels, [name.replace("_", " ") for name in train.hierarchy.level_names]
print(train)
family = train.under(train.hierarchy.names[0][0])
hiercl.plot.gallery(family, level=levels - 1, per_node=7)

# %% [markdown]
# G-HMLC gives every level its own features. Let $v$ be the projection of a picture before it is scaled to unit
# length. Let $M_h \in \{0, 1\}^d$ be the **mask** of level $h$. It is 1 for the features of the level and 0 for the
# others. Every feature belongs to exactly one level. The embedding of a picture at level $h$, and the loss, are
#
# $$z^{(h)} = \frac{M_h \odot v}{\lVert M_h \odot v \rVert}, \qquad
#   \mathcal L = \frac{\sum_h \lambda_h \mathcal L_h}{\sum_h \lambda_h}$$
#
# Here $\mathcal L_h$ is HMC's loss of level $h$ on the embeddings $z^{(h)}$. So the loss of a level has no gradient
# with respect to the features of other levels.
#
# **Exercise.** Write the embedding of a level for several pictures at once.


# %%
def masked(features, mask):
    """Returns unit embeddings [n, d] of one level. Features [n, d] and mask [d] are numpy arrays."""
    return ...


check("07 masked", masked)


# %% tags=["solution"]
def masked(features, mask):
    """Returns unit embeddings [n, d] of one level. Features [n, d] and mask [d] are numpy arrays."""
    z = features * mask
    return z / np.linalg.norm(z, axis=1, keepdims=True)


check("07 masked", masked)

# %% [markdown]
# ## 2. Which level does a feature serve?
#
# A feature serves a level if it separates the classes of this level: the classes are far apart, and each class is
# narrow. The **Fisher ratio** of the feature measures this:
#
# $$F_{j,h} = \frac{\text{variance of feature } j \text{ between the classes of level } h \text{ within their parent}}
#   {\text{variance of feature } j \text{ within the classes of level } h}$$
#
# "Within their parent" separates the levels. A feature that only separates people from trees also separates a boy
# from an oak. At the fine level this does not count.
#
# **Exercise.** Write the ratio of one feature at the coarsest level. There is no parent there. Every class has the
# same weight, whatever its number of pictures. The numerator: take the mean of each class and the mean of these
# means. It is the mean squared distance of the class means from the mean of the means. The denominator is the mean
# over classes of the variance within a class (divided by its number of pictures minus 1).


# %%
def fisher(values, classes):
    """Returns the Fisher ratio of one feature. Values and classes are numpy arrays [n]."""
    return ...


check("07 fisher", fisher)


# %% tags=["solution"]
def fisher(values, classes):
    """Returns the Fisher ratio of one feature. Values and classes are numpy arrays [n]."""
    parts = [values[classes == c] for c in np.unique(classes)]
    between = np.var([part.mean() for part in parts])
    return between / np.mean([part.var(ddof=1) for part in parts])


check("07 fisher", fisher)

# %% [markdown]
# ## 3. A case with a known answer
#
# Before we trust a mixture on a trained encoder, we plant features that it should find. Every level gets an equal
# part of the features. The first features carry the superclass, the next features carry the class. `leak` says how
# much of the other level each feature carries too. `spread` says how much the features differ in strength.


# %%
def planted(ancestors, levels, leak=0.4, spread=1.0, d=128, seed=0):
    """Returns features [items, d], an equal part of them for each level, and the level of each feature."""
    rng = np.random.default_rng(seed)
    level_of = np.sort(np.arange(d) % levels)
    strength = np.exp(spread * rng.standard_normal(d))
    v = rng.standard_normal((len(ancestors), d))
    for level in range(levels):
        centres = strength * rng.standard_normal((ancestors[:, level].max() + 1, d))
        v += np.where(level_of == level, 1, leak) * centres[ancestors[:, level]]
    return torch.from_numpy(v), level_of


nodes = torch.from_numpy(train.hierarchy.ancestors[train.labels])  # node of every picture at every level
v, truth = planted(nodes.numpy(), levels)

# %% [markdown]
# Each feature is now a point. One coordinate says how well it separates superclasses, the other how well it separates
# classes. The mixture has one Gaussian per level. It sees the **contrast** of the points: each logarithm minus its
# mean over the levels. The contrast says how far a point lies from a line of slope 1.
#
# **Predict**: a mixture that sees the points themselves (`raw`) also makes two groups. Which groups?


# %%
def draw(panels):
    """Draws one panel per title. A panel has points and their levels."""
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
# `raw` may separate strong features from weak ones instead of one level from the other. So we use the contrast here.
# The default of G-HMLC is `descriptor="moments"`: its mixture sees no labels, only the mean, the variance and the
# kurtosis of each feature. G-HMLC also gives every level the same number of features.
#
# ## 4. Four short trainings
#
# HMC has no masks. G-HMLC trains like HMC for the first tenth of the epochs (at least one epoch). Then it fits its
# masks once. With `masks="random"` it takes a random split of the same size in place of the mixture. This is **the
# control**. Section 7 explains A-HMLC.

# %%
runs = {
    "HMC": hiercl.fit("hmc", train, **SETTINGS),
    "G-HMLC": hiercl.fit("g_hmlc", train, descriptor="contrast", **SETTINGS),
    "random split": hiercl.fit("g_hmlc", train, masks="random", **SETTINGS),
    "A-HMLC": hiercl.fit("a_hmlc", train, **SETTINGS),
}
hiercl.plot.history(runs)

# %% [markdown]
# This is the same figure for trained features, on test pictures. HMC has no levels for its features, so a mixture
# assigns them now. The other two runs show the masks of their training as colours.
#
# **Predict**: do the points of HMC form two groups? Do the points of G-HMLC?


# %%
def divide(points):
    """Returns the level of every feature by a mixture on the contrasts of log Fisher ratios, as above."""
    contrast = hiercl.descriptors.standardised(points - points.mean(dim=1, keepdim=True))
    return hiercl.masks.fit_masks(contrast, points, levels).masks.argmax(dim=0).numpy()


@torch.no_grad()
def look(model, dataset=test):
    """Returns log Fisher ratios of the projection's features, and the levels that a new mixture gives them."""
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
# We can always cut a cloud in two parts that look different. How far apart are the features of the first level and of
# the last level, in units of their own width? A **blind** split knows nothing about the features. It gives a gap of
# about 0. But a mixture searches for the best cut. So we compare its gap with the gap that a mixture finds in a
# single bell curve. Only a *larger* gap is a sign of groups.


# %%
def gap(points, level_of):
    """Returns the distance of mean contrasts between coarsest and finest level's features, in standard deviations."""
    contrast = np.asarray(points[:, 0] - points[:, -1])
    first, last = contrast[level_of == 0], contrast[level_of == levels - 1]
    return (first.mean() - last.mean()) / np.sqrt((first.var() + last.var()) / 2)


bells = torch.randn(10 if FAST else 60, 128, levels, generator=torch.Generator().manual_seed(0))
low, high = np.quantile([gap(bell, divide(bell)) for bell in bells], [0.025, 0.975])
blind = 2 * np.sqrt(2 * levels / 128)

# %%
print(f"Gap of one bell curve, cut by a mixture: {low:.2f} to {high:.2f}.", end=" ")
print(f"Gap of a blind split: {-blind:.2f} to {blind:.2f}.")
for name, how in zip(panels, ("true levels", "cut by a mixture now", *["masks that trained it"] * 2), strict=True):
    print(f"{name + ', ' + how:36} {gap(*panels[name]):5.2f}")
two = "larger" if gap(*panels["HMC"]) > high else "not larger"
print(f"The gap of HMC is {two} than the range of one bell curve.")
for name in worn:
    more = "above" if gap(*panels[name]) > blind else "within"
    print(f"{name}: the gap is {more} the range of a blind split.")

# %% [markdown]
# ## 5. Masks on and off
#
# These are the masks of G-HMLC in full. The left side shows which features each level has, and what these features
# separate. The right side shows how well the classes of a level are separated by all features, by the level's own
# features, and by the features of the other levels. The mark on the bar of the own features is the control: as many
# random features.
#
# (On the right side, a feature that separates superclasses helps to separate classes too.)
#
# With two levels the contrast of a feature is one number, and each level gets half of the features. So the mixture can
# only decide where the middle of these numbers is, and a sort gives nearly the same masks: `run.history` has the
# `overlap with a sort`. `masks="labels"` trains with the sort itself. With `sizes="free"` or with a descriptor that
# sees no labels, such as the default, the mixture decides more.
#
# **Predict**: what does the superclass lose if only the features of the class remain?

# %%
hiercl.plot.masks(runs["G-HMLC"], test)

# %% [markdown]
# This is the same for the run with the random split. (Its title says g_hmlc, too.) Are its own features better than
# as many random features? If they are, training with *any* masks has this effect, and it says nothing in favour of
# the mixture.

# %%
hiercl.plot.masks(runs["random split"], test)

# %% [markdown]
# How many features does a level need? We rank the features by their Fisher ratios on *training* pictures and keep the
# best. Then test pictures show how well the classes are still separated. (The Fisher ratio of the class compares only
# classes of one superclass. Nearest neighbours must find the superclass too. So the best features for the class need
# not win there.)

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
# Now switch features off by hand: click them, or drag over several. Which level loses? Does it lose more than with as
# many random features?

# %%
hiercl.explore.masks(runs["G-HMLC"], test)

# %% [markdown]
# ## 6. The mixture, or any split?
#
# The first question: after the training we fit a mixture to the features again. Does it find the masks of the
# training? If training with masks makes features serve their level, it should find them, whatever the masks were.
#
# **Exercise.** First we need to know what chance gives. 120 features are split at random into *three* levels of equal
# size. This is done twice. Which share of the features has the same level in both splits, on average?

# %%
check("07 chance", ...)

# %% tags=["solution"]
# Whatever level a feature has in the first split, it has it in the second with probability 1/3.
check("07 chance", 1 / 3)

# %%
for name in worn:
    found = seen[name][1]
    same, noise = (worn[name] == found).mean(), 2 * np.sqrt((levels - 1) / levels**2 / len(found))
    verdict = "more than chance" if same > 1 / levels + noise else "no more than chance"
    print(f"{name:12}: {100 * same:.0f} % of the features get the same level again: {verdict}")
print(f"Chance is {100 / levels:.0f} % ± {100 * noise:.0f} points.")

# %% [markdown]
# The second question is the important one. Later we use the features of the *encoder*. How well do they separate the
# classes?
#
# **Predict** the order of the four runs.

# %%
tables = {name: hiercl.evaluate(run, train, test).table() for name, run in runs.items()}
for level in train.hierarchy.level_names:
    of = {name: table.loc[level, "linear"] for name, table in tables.items()}
    noise = 1.96 * np.sqrt(2 * of["HMC"] * (100 - of["HMC"]) / len(test))
    print(f"{level}, linear probe: " + ", ".join(f"{name} {value:.1f} %" for name, value in of.items()))
    for name, control in (("G-HMLC", "random split"), ("G-HMLC", "HMC"), ("A-HMLC", "HMC")):
        ahead = of[name] - of[control]
        word = "within" if abs(ahead) < noise else "beyond"
        print(f"    {name} − {control}: {ahead:+.1f} points, {word} the margin of ±{noise:.1f} points")
print(f"The margin comes from {len(test):,} test pictures. This is one seed. A claim needs at least five seeds.")

# %% [markdown]
# ## 7. Soft masks: A-HMLC
#
# In A-HMLC a small network, a **gate**, makes the masks. There is one gate for each level. Its input is the encoder's
# feature $u$ of the picture. It is trained together with the encoder:
#
# $$M_h(x) = \sigma\big(W^{(2)}_h\, \mathrm{ReLU}(W^{(1)}_h u)\big) \in (0, 1)^d$$
#
# (The equation leaves out the biases. The last bias starts at 2, so gates start open, at 0.88.) Levels may share
# features.
#
# **Predict**: which level closes more features? Do masks differ more between two pictures or between two features?

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
# These are the same test pictures, with encoders that were trained for 8 epochs on all 50,000 training pictures of
# CIFAR-100. The pretrained encoders do not include their masks. So the colours come from a mixture that is fitted
# now.

# %%
long = {name: look(hiercl.pretrained(name)) for name in ("hmc", "g_hmlc", "a_hmlc")}
draw(long)
for name, points in long.items():
    word = "larger" if gap(*points) > high else "not larger"
    print(f"{name}: gap {gap(*points):.2f}, {word} than the {high:.2f} of one bell curve")

# %% [markdown]
# ## 9. How many levels are there?
#
# So far we had to know the number of levels. A mixture that may leave components empty (a Dirichlet process) could
# propose it. We plant one to four levels in a tree of four levels. Then we ask in two ways. With the labels of all
# four levels: how many of them do the features serve? Without any label: how many levels are there?

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
    print(f"{name}: {100 * right:.0f} % right, {verdict} than the 25 % of a constant answer.")
axes[0].set_ylabel("levels proposed")
plt.show()

# %% [markdown]
# Do not take a proposal without labels as evidence. With labels the proposal is good here only because the planted
# features are about equally strong. With the `spread` of section 3 it counts strong and weak features, and it is
# right far less often. See `help(hiercl.level_count.propose_levels)`.
#
# ## Summary
#
# * A feature serves a level if it separates the classes of this level. The Fisher ratio measures this.
# * G-HMLC gives every feature to one level. A-HMLC gives every level a soft mask over all features.
# * If a method finds structure, first test it on data with known structure.
# * Every cloud can be cut in two. The result of a mixture must beat a random split of the same size, and it must beat
#   a single bell curve.
#
# **To think about.** The projection is a linear layer. A rotation turns its features into other features and keeps
# all distances between pictures. What does that mean for "the features of a level"? Where in the encoder would this
# be different?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included. Hard for them: a random mask is the control; a
# fitted mixture is no proof.
#
# Typical mistakes:
#
# * "The mixture found two groups, so there are two." It finds two in random numbers as well.
# * "A feature belongs to one level." Its Fisher ratio can be large at both.
#
# **To think about**, how to mark it. Two points. The features of a level are those of one basis, and a rotation changes
# them (1). Masks after a nonlinearity, where the basis counts, would be different (1).
