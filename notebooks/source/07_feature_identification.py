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
# own features with G-HMLC and A-HMLC. You can tell when *finding* these features helps, and when any split does as
# well. You can compare two methods that trade one goal for another.
#
# Before: [06, label hierarchies](06_label_hierarchies.ipynb). After: [08, embedding maps](08_embedding_maps.ipynb).
#
# HMC, from "Use All The Labels: A Hierarchical Multi-Label Contrastive Learning Framework" (Zhang et al., 2022, [arXiv
# 2204.13207](https://arxiv.org/abs/2204.13207)), has a loss for every level: items of a superclass are pulled
# together, and its classes are pushed apart. Both losses act on the *same* features. "Feature Identification for
# Hierarchical Contrastive Learning" (Ott et al., 2025, [arXiv 2510.00837](https://arxiv.org/abs/2510.00837)) gives
# each level features of its own. **G-HMLC** finds them with a Gaussian mixture and makes hard masks. **A-HMLC** makes
# soft masks with an attention head for each level.
#
# We had neither the paper's code nor its full text, only its abstract and summaries by others. They do not say what
# the mixture sees, where the masks act, and which form the heads have. These parts are **our instantiation**, not the
# paper's.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

import hiercl
from hiercl.exercises import check
from hiercl.metrics import knn_predict

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}

# %% [markdown]
# The next cell holds all settings.

# %%
FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
MIX = False  # True: the encoder of sections 3 and 4 mixes the planted features
SIGNAL = 0.5  # spread of the planted classes, in units of the noise
CLASSES = 20  # of the instant lab, from section 5 on: 20 or 100
WEIGHT = 0.5  # weight of the superclass in your HMC; the class has 1
SIZE = 0.5  # share of the features in your mask of the superclass: 0.125, 0.25 and 0.5 are recorded
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#6E6E6E"


def same(yours, library):
    """Stops with an error unless two results agree to 1e-5."""
    torch.testing.assert_close(yours, library, rtol=1e-5, atol=1e-5)
    print("Your part and hiercl's agree to 1e-5.")


# %% [markdown]
# ## 1. A case with a known answer
#
# Before we trust a mixture on real features, we plant features that it should find. A vector has 64 features. The
# first half carries the superclass, the second half carries the class. All of them have noise. A superclass has four
# classes.
#
# **What you should see**: each row of the figure is the mean of a class. On the left, four rows look alike, because
# they belong to one superclass. On the right, all rows differ.

# %%
SUPERCLASSES, KINDS, D = 8, 4, 64
TRUTH = np.repeat([0, 1], D // 2)  # the level of every feature
LEVELS = ("superclass", "class")


def planted(items, draw=0, seed=0):
    """Returns a data set with so many items per class. `seed` draws the classes, `draw` draws the noise."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, draw])
    coarse, fine = (rng.standard_normal((count, D // 2)) for count in (SUPERCLASSES, SUPERCLASSES * KINDS))
    leaf = np.repeat(np.arange(SUPERCLASSES * KINDS), items)
    x = SIGNAL * np.hstack([coarse[leaf // KINDS], fine[leaf]]) + noise.standard_normal((len(leaf), D))
    tree, labels = hiercl.Hierarchy.from_labels(np.stack([leaf // KINDS, leaf], axis=1), level_names=LEVELS)
    return hiercl.HierarchicalDataset.from_features(x, labels, tree, name="planted")


# %%
toy = planted(40)
x, nodes = torch.from_numpy(toy.items[:, 0]), torch.from_numpy(toy.hierarchy.labels_at_all(toy.labels))
means = x.view(SUPERCLASSES * KINDS, -1, D).mean(dim=1)
figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
picture = axis.imshow(means, cmap="RdBu_r", vmin=-1.5, vmax=1.5, aspect="auto")
axis.set_yticks(np.arange(0, SUPERCLASSES * KINDS, KINDS) + 1.5, [f"superclass {s}" for s in range(SUPERCLASSES)])
axis.axvline(D / 2 - 0.5, color="black")
axis.set(xlabel="feature: the left half carries the superclass, the right half carries the class")
figure.colorbar(picture, label="mean of a class")
plt.show()

# %% [markdown]
# Let $v$ be the features of an item, and let $M_h \in \{0, 1\}^d$ be the **mask** of level $h$. It is 1 for the
# features of this level and 0 for the others. Every feature belongs to exactly one level. With HMC's loss
# $\mathcal L_h$ of level $h$, G-HMLC has
#
# $$z^{(h)} = \frac{M_h \odot v}{\lVert M_h \odot v \rVert}, \qquad
#   \mathcal L = \frac{\sum_h \lambda_h \mathcal L_h(z^{(h)})}{\sum_h \lambda_h}$$
#
# So the loss of a level has no gradient with respect to the features of other levels.
#
# **Exercise** (warm-up). A split of the features at random is our control. 120 features are split at random into
# *three* levels of equal size. This is done twice. Which share of the features has the same level in both splits, on
# average?

# %%
check("07 chance", ...)

# %% tags=["solution"]
# Whatever level a feature has in the first split, it has it in the second with probability 1/3.
check("07 chance", 1 / 3)

# %% [markdown]
# **Exercise.** Write the embedding of a level for several items at once.


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
# from an oak. At the level of the class this does not count.
#
# **Exercise.** Write the ratio of one feature at the coarsest level. There is no parent there. Every class has the
# same weight, whatever its number of items. The numerator is the mean squared distance of the class means from their
# mean. The denominator is the mean over classes of the variance within a class (divided by its number of items minus
# 1).


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
# Each feature is now a point: one coordinate says how well it separates superclasses, the other how well it separates
# classes. The **descriptor** of a feature is what the mixture sees. `contrast` is each logarithm of a ratio minus
# their mean over the levels. It needs labels. `moments` is the mean, the variance and the kurtosis of the feature. It
# needs no labels, and it is the default of G-HMLC here.
#
# A **Gaussian mixture** explains points by one bell curve per level. The EM algorithm (expectation
# maximisation, Dempster et al., 1977) fits it. It repeats two steps.
# *M*: from the probabilities $r$ of each level for each feature, compute the size, mean and variance of each bell
# curve. *E*: from the bell curves, compute the probabilities.


# %%
def mixture(points, r, rounds=100, least=1e-3):
    """Returns the probability of each level for every feature. `points [d, numbers]`; `r [d, levels]` starts it."""
    for _ in range(rounds):
        size = r.sum(dim=0)
        mean = r.T @ points / size[:, None]
        variance = r.T @ points.square() / size[:, None] - mean.square() + least
        distance = ((points[:, None] - mean).square() / variance + variance.log()).sum(dim=2)
        r = ((size / len(points)).log() - distance / 2).softmax(dim=1)
    return r


scores = hiercl.descriptors.fisher_ratios(x, nodes).log()
points = hiercl.descriptors.describe(x, nodes, "contrast")
start = F.one_hot((scores - scores.mean(dim=0)).argmax(dim=1)).double()
same(mixture(points, start).float(), hiercl.masks.fit_masks(points, scores, levels=2).responsibilities)

# %% [markdown]
# G-HMLC then gives every level the same number of features, or the shares that you ask for: those with the highest
# probabilities.
#
# **Predict**: which share of the features does the mixture of `contrast` give to their planted level? Which share
# does the mixture of `moments`, which sees no labels?


# %%
def draw(panels):
    """Draws one panel per title. A panel has points, log Fisher ratios, and their levels."""
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 3.6), layout="constrained", sharex=True, sharey=True)
    for axis, (title, (points, level_of)) in zip(axes, panels.items(), strict=True):
        for level, colour in enumerate((BLUE, ORANGE)):
            label = f"features of the {LEVELS[level]}"
            axis.scatter(*np.asarray(points)[np.asarray(level_of) == level].T, s=16, color=colour, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("log Fisher ratio, superclass")
    axes[0].set_ylabel("log Fisher ratio, class")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    plt.show()


# %%
panels = {"planted": (scores, TRUTH)}
for kind in ("contrast", "moments"):
    fit = hiercl.masks.fit_masks(hiercl.descriptors.describe(x, nodes, kind), scores, levels=2)
    found = fit.masks.argmax(dim=0).numpy()
    panels[f"mixture of {kind}: {100 * (found == TRUTH).mean():.0f} % right"] = (scores, found)
draw(panels)

# %% [markdown]
# **What you should see**: `contrast` finds the planted levels. `moments` is near the 50 % of a random split, because
# a feature of the superclass and a feature of the class can have the same bell curve. Only labels tell them apart.
#
# Every cloud can be cut in two, so a fitted mixture is no proof of two groups. (With the number of levels unknown it
# is worse: `help(hiercl.level_count.propose_levels)` says how often a mixture proposes the right number.)
#
# With two levels the contrast is one number. Then equal sizes cut its order in the middle, and a plain sort gives the
# same masks. `masks="labels"` is this sort.
#
# ## 3. Soft masks: A-HMLC
#
# In A-HMLC a small network, a **gate**, makes the mask of each level. Its input is the encoder's feature $u$ of the
# item. It is trained together with the encoder:
#
# $$M_h(x) = \sigma\big(W^{(2)}_h\, \mathrm{ReLU}(W^{(1)}_h u)\big) \in (0, 1)^d$$
#
# (The equation leaves out the biases. The last bias starts at 2, so gates start open, at 0.88.) Levels may share
# features.
#
# We write the gate and the masked embedding by hand. The encoder here is a scale and a shift for each feature (batch
# normalisation). It can weigh the planted features, but it cannot mix them.


# %%
def encoder(mix=MIX):
    """Returns an encoder that keeps the planted features apart, or one that mixes them."""
    return nn.Linear(D, D) if mix else nn.BatchNorm1d(D)


SETTINGS = dict(epochs=2 if FAST else 10, batch=256, lr=1e-2, temperature=0.1, noise=0.3, drop=0.2)
SETTINGS |= dict(head="linear", dim=D, level_weights="uniform", monitor_every=0, progress=False)

# %%
untrained = hiercl.fit("a_hmlc", toy, encoder=encoder(), seed=0, **SETTINGS | {"epochs": 0}).method.eval()
view = x[:, :, None, None]  # hiercl's vectors are maps with one place
with torch.no_grad():
    u = untrained.encoder(view)
    first, _, second = untrained.gate.networks[0]  # of the superclass
    gate = torch.sigmoid(torch.relu(u @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    same(gate, untrained.gate(u)[:, 0])
    z = gate * untrained.head(u)
    same(z / z.norm(dim=1, keepdim=True), untrained.represent(view).embedding[:, 0])

# %% [markdown]
# ## 4. The known answer, end to end
#
# Now we train. The encoder's features are masked (`place="backbone"`), and a linear head makes the embedding.
#
# * **no masks**: HMC.
# * **random split**: each level gets half of the features, at random. It is the control.
# * **mixture**: G-HMLC with the mixture of `contrast`. It is fitted once, after a tenth of the epochs. A sort by labels
#   gives the same masks here. The first line below says so: 1 is complete overlap.
# * **planted levels**: the true masks. It is the oracle.
# * **A-HMLC**: soft masks. Here the gates act behind the head. **A-HMLC, levels compete**: a gate in which the masks
#   of the levels sum to 1.
#
# The embeddings of both levels stand side by side when we look for the 20 nearest training items.
#
# **Predict** the order of the rows by accuracy of the class.

# %%
SPLIT = dict(method="g_hmlc", place="backbone")
ARMS = {
    "no masks": dict(method="hmc"),
    "random split": dict(masks="random", **SPLIT),
    "mixture": dict(descriptor="contrast", **SPLIT),
    "planted levels": dict(masks="contiguous", **SPLIT),
    "A-HMLC": dict(method="a_hmlc"),
    "A-HMLC, levels compete": dict(method="a_hmlc", gate="softmax"),
}


def embeddings(run, x):
    """Returns the unit embeddings [items, levels, dim] of planted features."""
    with torch.no_grad():
        return run.method.eval().represent(torch.as_tensor(x)[:, :, None, None]).embedding


# %%
def trial(arm, seed, mix=MIX):
    """Trains one arm on planted features; returns the run, and the kNN accuracy at every level."""
    train, test = planted(40, 0, seed), planted(20 if FAST else 50, 1, seed)
    torch.manual_seed(seed)
    run = hiercl.fit(dataset=train, encoder=encoder(mix), seed=seed, **SETTINGS | ARMS[arm])
    near, far = (F.normalize(embeddings(run, part.items[:, 0]).flatten(1), dim=1) for part in (train, test))
    accuracy = {}
    for level, name in enumerate(LEVELS):
        guess = knn_predict(near, torch.from_numpy(train.labels_at(level)), far, 20)
        accuracy[f"knn {name}"] = 100 * (guess.numpy() == test.labels_at(level)).mean()
    return run, accuracy


# %%
runs, rows = {}, []
for seed in (0,) if FAST else (0, 1, 2):
    for arm in ARMS:
        runs[arm], accuracy = trial(arm, seed)
        rows.append({"variant": arm, "seed": seed} | accuracy)
    for arm in () if FAST or MIX else ("random split", "mixture"):
        rows.append({"variant": f"{arm}, encoder mixes", "seed": seed} | trial(arm, seed, mix=True)[1])
table = pd.DataFrame(rows)
print(f"Overlap of the mixture with a sort by labels: {runs['mixture'].method.overlap:.2f}")
names = list(dict.fromkeys(table["variant"]))
hiercl.plot.brackets(
    table, dict(zip(names, names, strict=True)), ["knn superclass", "knn class"], title="Planted features"
)

# %% [markdown]
# **What you should see**: by accuracy of the class, a random split gains nothing over no masks. The mixture
# gains much, and just as much as the planted levels, because it has found them. Accuracy of the superclass
# changes little. A-HMLC stays near no masks. Where its levels compete, it gains, but less than the planted levels.
#
# **Why it works here.** The encoder cannot move what a feature carries. A level that sees the other half of the
# features sees noise that its loss cannot use. HMC has one scale for each feature, and both levels share it. A random
# split hides half of the useful features from each level.
#
# **What takes it away.** A single linear layer before the mask mixes the features. Then most of the gain of the
# mixture over a random split is gone (last two rows). The likely reason: such an encoder can move each level's
# information to where its mask lets it through. Set `MIX = True` in the settings, and all rows are trained like this.
#
# The next table shows what each level reads. We take one half of the features from other items. By how much does the
# embedding turn (1 minus the cosine)? 0 means that the level does not read this half.
#
# **Predict** the four numbers of the row "planted levels": which are 0?


# %%
def turn(run, data, half):
    """Returns by how much the embedding of each level turns if a half of the features comes from other items."""
    x = data.items[:, 0].copy()
    before, order = embeddings(run, x), np.random.default_rng(0).permutation(len(x))
    x[:, TRUTH == half] = x[order][:, TRUTH == half]
    return (1 - (before * embeddings(run, x)).sum(dim=2).mean(dim=0)).tolist()


reads, unseen = {}, planted(50, 1, seed)
for arm, run in runs.items():
    for half, carried in enumerate(LEVELS):
        turned = turn(run, unseen, half)
        for level, name in enumerate(LEVELS):  # without masks both levels have one embedding
            reads.setdefault((f"the {name} reads", f"half of the {carried}"), {})[arm] = turned[level % len(turned)]
pd.DataFrame(reads).style.format(precision=2)

# %% [markdown]
# **What you should see**: with the mixture each level reads its own half only. With a random split each level reads
# both. Soft masks separate the levels little: their gates act behind the head, which has mixed the
# features.
#
# ## 5. Real features
#
# Now the **instant lab**: 20 classes of CIFAR-100 in ten superclasses, as an EfficientNet-Lite0 sees them. It was
# trained on ImageNet with labels. A small network is trained on these vectors, and the masks act on its projection. The
# recorded trainings have five seeds each. Yours have the same settings, and a seed that is one of theirs. Another
# machine rounds differently, so your numbers may still differ. One run is no result. EfficientNet-Lite0 is a variant of
# EfficientNet, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (Tan and Le, 2019, [arXiv
# 1905.11946](https://arxiv.org/abs/1905.11946)). CIFAR-100 comes from "Learning Multiple Layers of Features from Tiny
# Images" (Krizhevsky, 2009, [technical report](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)), and
# ImageNet from "ImageNet: A Large-Scale Hierarchical Image Database" (Deng et al., 2009, [DOI
# 10.1109/CVPR.2009.5206848](https://doi.org/10.1109/CVPR.2009.5206848)).

# %%
NAMES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()
train, test = (part.under(*NAMES) if CLASSES == 20 else part for part in hiercl.load("cifar100-features"))
if FAST:
    train, test = train.per_class(10), test.per_class(5)
LAB = dict(epochs=30, batch=256) if CLASSES == 20 else dict(epochs=12, batch=512)
LAB |= dict(lr=2e-3, temperature=0.1, seed=0, monitor_every=0, progress=False) | ({"epochs": 2} if FAST else {})
MASKS = dict(method="g_hmlc", level_weights=(1.0, 1.0), sizes=(SIZE, 1 - SIZE))
YOURS = {
    "no masks": dict(method="hmc", level_weights=(1.0, 1.0)),
    "your weight": dict(method="hmc", level_weights=(WEIGHT, 1.0)),
    "random split": dict(masks="random", **MASKS),
    "mixture": dict(descriptor="contrast", **MASKS),
    "A-HMLC": dict(method="a_hmlc", level_weights=(1.0, 1.0)),
}

# %% [markdown]
# *kNN* is the share of test items whose nearest training items vote for the right class. *AMI* is the agreement of
# k-means clusters with the classes (0 is chance, 100 is perfect agreement). *Siblings* is the share of classes whose
# nearest class mean has the same superclass. It measures the order of the superclasses. AMI, the adjusted mutual
# information, is described in "Information Theoretic Measures for Clusterings Comparison: Variants, Properties,
# Normalization and Correction for Chance" (Vinh, Epps and Bailey, 2010, [JMLR
# 11](https://jmlr.org/papers/v11/vinh10a.html)).
#
# **Predict**: is the mixture better than the random split, as with planted features? Is the sort, which knows all
# labels?

# %%
lab, own = {}, {}
for name, arm in YOURS.items():
    lab[name] = hiercl.fit(dataset=train, **LAB | arm)
    found = hiercl.evaluate(lab[name], train, test, seed=0, progress=False).table()
    metrics = [("knn", "class"), ("ami", "class"), ("ami", "superclass"), ("siblings", "class")]
    own[name] = {f"{metric} {level}": found.loc[level, metric] for metric, level in metrics}
recorded, percent = hiercl.study.recorded("brackets-hierarchy"), int(100 * SIZE)
ROWS = {"no masks": "HMC"} | {name: f"{name}, {percent} % coarse" for name in ("random split", "mixture")}
ROWS |= {"sort by labels": "split by labels, 50 % coarse", "A-HMLC": "A-HMLC"}
ROWS = {name: f"{CLASSES} classes, {variant}" for name, variant in ROWS.items()}
shown, columns = {name: own[name] for name in own if name in ROWS}, ["knn class", "ami class", "ami superclass"]
hiercl.plot.brackets(recorded, ROWS, columns, shown, f"Masks on real features, {CLASSES} classes")

# %%
effect = hiercl.study.effect
for classes in (20, 100):
    arms = [f"{classes} classes, {name}, 50 % coarse" for name in ("random split", "mixture")]
    for column in own["mixture"]:
        pair = [recorded[recorded["variant"] == arm].sort_values("seed")[column].to_numpy() for arm in arms]
        print(f"{classes} classes, mixture less random split, {column}: {effect(*pair)}")

# %% [markdown]
# Each line has the mean difference over five seeds and its 95 % interval.
#
# **What you should see**: of eight differences, one is "better": AMI of the class with 20 classes. With 100 classes it
# is undecided. With 100 classes Student's interval (after "t") says that the order of the superclasses is worse. The
# sort knows all labels, and it is the oracle here. It has the same masks as the mixture (recorded at 50 %). So where
# the mixture shows no gain over a random split, the oracle shows none, and a better mixture would not help.
#
# ## 6. Masks or a weight? Compare fronts
#
# HMC with a smaller weight of the superclass gains accuracy of the class, and loses order of the superclasses. So one
# point says nothing. A line through all weights, a **front**, does. A method is better if its points lie above and to
# the right of the line. The points of a mask's line are 12, 25 and 50 % of the features for the superclass. Your runs
# are stars.
#
# **Predict**: do the masks lie above HMC's line, on it, or below it?


# %%
def families(classes):
    """Returns the variants of each line of a front."""
    weights = [f"HMC, coarse level {weight}" for weight in ("0.1", "0.25", "0.5")] + ["HMC"]
    lines = {"HMC, weight of the superclass": weights}
    for masks in ("random split", "mixture"):
        lines[f"{masks}, size of the coarse mask"] = [f"{masks}, {size} % coarse" for size in (12, 25, 50)]
    return {name: [f"{classes} classes, {variant}" for variant in variants] for name, variants in lines.items()}


# %%
def front(classes, y):
    """Draws the recorded fronts, and your runs if they have as many classes."""
    figure = hiercl.plot.front(recorded, "knn class", y, families(classes), f"{classes} classes")
    axis = figure.axes[0]
    for words in [words for words in axis.texts if "%" in words.get_text()]:
        words.remove()  # the masks' points lie too close for words
    if classes == CLASSES and not FAST:
        for (name, numbers), colour in zip(own.items(), (BLUE, PINK, ORANGE, GREEN, GREY), strict=True):
            star = dict(color=colour, markersize=15, markeredgecolor="black", linestyle="none", zorder=5)
            axis.plot(numbers["knn class"], numbers[y], "*", label=f"yours: {name}", **star)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    return figure


for classes, order in ((20, "ami superclass"), (100, "siblings class")):
    display(front(classes, order))

# %% [markdown]
# How high above HMC's line does a mask lie? For each seed we fit a straight line through the four weights of HMC, and
# take the mask's distance from it, upwards.


# %%
def above(classes, arm, column):
    """Returns how far an arm lies above HMC's line, in words: mean over the seeds, interval, verdict."""
    distances = []
    for _, runs in recorded.groupby("seed"):
        runs = runs.set_index("variant")[["knn class", column]]
        line = np.polyfit(*runs.loc[families(classes)["HMC, weight of the superclass"]].to_numpy().T, deg=1)
        accuracy, order = runs.loc[f"{classes} classes, {arm}"]
        distances.append(order - np.polyval(line, accuracy))
    return str(effect([0.0] * len(distances), distances))


masks = [f"{name}, {size} % coarse" for name in ("random split", "mixture") for size in (12, 25, 50)] + ["A-HMLC"]
places = [(classes, column) for classes in (20, 100) for column in ("siblings class", "ami superclass")]
heights = {f"{c} classes, {column}": {arm: above(c, arm, column) for arm in masks} for c, column in places}
pd.DataFrame(heights)

# %% [markdown]
# **What you should see**: masks lie near HMC's line, between its weights 0.5 and 1. Beside HMC with weight 1, masks
# have better accuracy of the class (100 classes), but a smaller weight gives that as well. Of 28 heights, 27 are
# undecided. The last one is "better", but Student's interval contains 0. Of 28 intervals of 95 %, one or two are
# expected to exclude 0 by chance alone.
#
# So the recorded seeds do not show that a mask buys anything that a weight does not buy. They do not show that it
# buys nothing, either: look how wide the intervals are.
#
# ## 7. Why any split does here
#
# The next figure shows the features of the projection on test items: the log Fisher ratios of section 2. HMC has no
# levels for its features, so a mixture cuts them now. In the other panel the colours are the masks of the training,
# which were drawn at random.
#
# We can always cut a cloud in two parts that look different. The **gap** is the distance of the two colours in units of
# their own width. We need a null: the gap after a mixture has cut a single bell curve. A split that knows nothing has a
# gap of about 0.
#
# **Predict**: is there a gap between the colours of the random split?


# %%
def look(run):
    """Returns the log Fisher ratios of the projection's features on test items."""
    nodes = torch.from_numpy(test.hierarchy.labels_at_all(test.labels))
    with torch.no_grad():
        return hiercl.descriptors.fisher_ratios(run.method.head(hiercl.embed(run, test)), nodes).log()


def cut(points):
    """Returns the level that a mixture of contrasts gives to every feature."""
    contrast = hiercl.descriptors.standardised(points - points.mean(dim=1, keepdim=True))
    return hiercl.masks.fit_masks(contrast, points, 2).masks.argmax(dim=0)


def gap(points, level_of):
    """Returns the distance of mean contrasts between the two levels' features, in standard deviations."""
    coarse, fine = ((points[:, 0] - points[:, 1])[torch.as_tensor(level_of) == level] for level in (0, 1))
    return float((coarse.mean() - fine.mean()) / ((coarse.var() + fine.var()) / 2).sqrt())


# %%
free, split = look(lab["no masks"]), look(lab["random split"])
panels = {"HMC, cut by a mixture now": (free, cut(free))}
panels["random split, masks of its training"] = (split, lab["random split"].method.masks[0].argmax(dim=0))
draw(panels)
bells = torch.randn(10 if FAST else 60, 128, 2, generator=torch.Generator().manual_seed(0))
low, high = np.quantile([gap(bell, cut(bell)) for bell in bells], [0.025, 0.975])
print(f"One bell curve, cut by a mixture: gap {low:.2f} to {high:.2f}. Planted levels: {gap(scores, TRUTH):.2f}.")
for name, panel in panels.items():
    print(f"{name}: gap {gap(*panel):.2f}")

# %% [markdown]
# The printed gaps are those of one training. In ours the gap of the random split is larger than that of one bell
# curve, although nobody has looked for these features, and the gap of HMC is not. The likely reason: the network
# moves each level's information to the features that its mask lets through. So it hardly matters *which*
# features a mask takes. With planted features and an encoder that cannot mix, it matters.
#
# A convolutional network that learns from pictures makes its features, too. In the recorded study of CIFAR-100 from
# scratch (`hiercl.study.recorded("cifar100")`) G-HMLC less a random split is undecided by kNN, linear probe and AMI,
# at both levels.
#
# Now switch features off by hand: click them, or drag over several. Which level loses? Does it lose more than with as
# many random features?

# %%
hiercl.explore.masks(lab["random split"], test)

# %% [markdown]
# **Exercise** (open). Where does *finding* the features begin to matter? Change one thing: `SIGNAL`, the number of
# items, or the encoder. You can also let each half of the features carry a part of the other level. `trial(arm,
# seed)` trains one arm. Find a case where a random split is as good as the mixture, and a case where it is not. A
# good answer has five parts, one point each: a reason that you write down before the training; one change and nothing
# else; the random split and the planted levels beside the mixture; three seeds or more, and their spread; a sentence
# that the numbers allow.
#
# ## Summary
#
# * A feature serves a level if it separates the classes of this level. The Fisher ratio measures this.
# * G-HMLC gives every feature to one level. A-HMLC gives every level a soft mask over all features.
# * If a method finds structure, first test it on data with known structure. There the mixture finds the planted
#   levels, and this helps.
# * On real features a random split does about as well as a mixture. Likely the network moves its features to the masks.
# * Methods that trade one goal for another are compared as fronts. Masks lie near the front of HMC's weights.
#
# **To think about.** The projection is a linear layer. A rotation turns its features into other features and keeps
# all distances between items. What does that mean for "the features of a level"? Where in the encoder would this be
# different?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included, and 90 with the open exercise. Hard for them: a
# random mask is the control; a fitted mixture is no proof; two methods are compared as fronts, not as points.
#
# Typical mistakes:
#
# * "The mixture found two groups, so there are two." It finds two in random numbers as well.
# * "A feature belongs to one level." Its Fisher ratio can be large at both.
# * "Undecided means no difference." The intervals are wide.
#
# **The open exercise**, how to mark it. Five points, one for each part that its text names. A case where the random
# split is as good: `MIX = True`, or a `SIGNAL` so small that the mixture no longer finds the planted levels. An answer
# without the control has at most three points.
#
# An example answer. *I make `SIGNAL` smaller. With little signal the Fisher ratios of both halves look alike, so I
# expect that the mixture falls back to the random split.* kNN of the class in per cent, seeds 0, 1 and 2 (chance: 3.1):
#
# | `SIGNAL` | random split | mixture | planted levels |
# |---|---|---|---|
# | 0.5 | 64.5, 67.3, 68.9 (mean 66.9) | 77.1, 76.1, 82.2 (mean 78.5) | 77.1, 76.1, 82.2 (mean 78.5) |
# | 0.25 | 16.7, 16.1, 16.2 (mean 16.3) | 20.0, 18.9, 17.9 (mean 18.9) | 20.3, 18.4, 17.9 (mean 18.9) |
# | 0.125 | 5.0, 4.6, 4.4 (mean 4.7) | 5.8, 4.8, 5.1 (mean 5.2) | 4.9, 5.0, 4.6 (mean 4.8) |
#
# *With 0.5 and 0.25 the mixture is ahead of the random split in each of three seeds, by 11.6 and 2.6 points on
# average, and as good as the planted levels. With 0.125 the three are within 0.6 points. So I was wrong about the
# reason: there the true levels gain nothing, either, because the signal is too small for any split. My runs do not show
# a case where the mixture fails to find levels that would help.* The trainings took 46 seconds of one core.
#
# **To think about**, how to mark it. Two points. The features of a level are those of one basis, and a rotation changes
# them (1). Masks after a nonlinearity, where the basis counts, would be different (1).
