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
# # 06 · Hierarchies of labels: SupCon, HMC, HCE, HMCE
#
# **After this notebook you can** write a loss over the levels of a hierarchy by hand. You can test whether a *true*
# hierarchy matters, and say what it gives and what it costs. You can see which level the gradient reaches, and when a
# maximum takes the gradient away.
#
# Before: [02, pairs](02_pairs.ipynb). After: [07, feature identification](07_feature_identification.ipynb).

# %%
import os
from dataclasses import replace
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from ipywidgets import FloatSlider, interact

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}
FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
SEED = 0
SETTINGS = dict(epochs=1 if FAST else 30, batch=256, lr=2e-3, temperature=0.1, seed=SEED)
SETTINGS |= dict(monitor_every=0, progress=False)

# %% [markdown]
# ## 1. One level: SupCon
#
# Now we have labels, and the labels form a hierarchy. Every **class** belongs to a **superclass**. We take 20 classes
# of CIFAR-100, two of each of ten superclasses. Two classes of one superclass are **siblings**. As in the quickstart,
# an item is a picture as a backbone sees it, 640 numbers, and a training takes seconds. CIFAR-100 comes from "Learning
# Multiple Layers of Features from Tiny Images" (Krizhevsky, 2009, [technical
# report](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)).

# %%
CLASSES = """beaver dolphin orchid poppy apple mushroom bed chair bear leopard
cloud forest fox porcupine baby boy hamster mouse bicycle bus""".split()
train, test = (part.under(*CLASSES) for part in hiercl.load("cifar100-features"))
tree = train.hierarchy
print(train)
for superclass, name in enumerate(tree.names[0]):
    print(f"{name}: {', '.join(tree.leaf_names[leaf] for leaf in np.flatnonzero(tree.ancestors[:, 0] == superclass))}")

# %% [markdown]
# SupCon, "Supervised Contrastive Learning" (Khosla et al., 2020, [arXiv 2004.11362](https://arxiv.org/abs/2004.11362)),
# pulls every view of the anchor's class, not only the other view of its picture. Let $z$ be the embeddings of the two
# views of each of $N$ pictures. $P(i)$ are the views that anchor $i$ pulls, and $A(i)$ are all views except $i$
# itself. The loss is
#
# $$\mathcal L = \frac1{2N}\sum_i \frac{-1}{|P(i)|}\sum_{p\in P(i)}
#   \log\frac{e^{\langle z_i,z_p\rangle/\tau}}{\sum_{a\in A(i)} e^{\langle z_i,z_a\rangle/\tau}}$$
#
# The figure below shows some views, ordered by superclass and, inside a superclass, by class.
#
# **Predict**: where are the pulled pairs? What does SupCon do with siblings?

# %%
supcon = hiercl.fit("supcon", train, **SETTINGS)
few = np.argsort(train.labels, kind="stable").reshape(20, -1)[:, :2].ravel()  # two items of every class
for level, share in supcon.audit(train, batches=4).set_index("level")["false_negative_rate"].items():
    print(f"{100 * share:.1f} % of the views that SupCon pushes have the anchor's own {level}.")
hiercl.plot.pair_matrix(supcon.step(train, items=few), train, level=0, anchors=80)

# %% [markdown]
# **What you should see**: green pairs are of one class and are pulled. The dark cells beside them are siblings. They
# are pushed. (Figures count levels from 0, coarse to fine. So “level 1” is the class.) SupCon does not know
# superclasses. For its loss a poppy and a bus are equally different from an orchid.
#
# ## 2. Every level: HMC
#
# HMC (hierarchical multi-label contrast, HiMulCon in its paper: "Use All The Labels: A Hierarchical Multi-Label
# Contrastive Learning Framework", Zhang et al., CVPR 2022, [arXiv 2204.13207](https://arxiv.org/abs/2204.13207))
# computes SupCon's loss at every level, with the labels of that level, and adds the losses:
#
# $$\mathcal L = \frac{\sum_l \lambda_l\mathcal L_l}{\sum_l\lambda_l}$$
#
# Here $l$ counts from the finest level, as in the paper. The official code has the weights $\lambda_l = e^{1/l}$, and
# so has hiercl by default. The recorded study of this notebook has equal weights. This is all, by hand:


# %%
def pair_losses(z, label, temperature=0.1):
    """Returns the loss of every pair at one level, 0 where nothing is pulled, and which pairs are pulled."""
    itself = torch.eye(len(z), dtype=torch.bool)
    loss = -(z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    pulled = (label[:, None] == label) & ~itself
    return loss.masked_fill(~pulled, 0), pulled


def mean_of(loss, pulled):
    """Returns SupCon's loss: the mean over the pulled views of an anchor, and then over the anchors."""
    return (loss.sum(dim=1) / pulled.sum(dim=1)).mean()


def hmc_loss(z, labels, weights):
    """Returns HMC's loss. `labels [n, levels]` are those of all views, coarse to fine, and so are the weights."""
    losses = torch.stack([mean_of(*pair_losses(z, label)) for label in labels.T])
    return (weights * losses).sum() / weights.sum()


# %% [markdown]
# We train HMC. Then we compare your loss of one batch with the library's.
#
# The figure is that of above, for the term of the superclass. The term of the class is SupCon's.
#
# **Predict**: how does the figure differ from SupCon's?


# %%
def same(yours, library):
    """Stops with an error unless two results agree to 1e-5."""
    torch.testing.assert_close(yours, library, rtol=1e-5, atol=1e-5)
    print("Your loss and hiercl's agree to 1e-5.")


equal = torch.tensor([1.0, 1.0])  # weights of the levels, coarse to fine
hmc = hiercl.fit("hmc", train, level_weights=equal.tolist(), **SETTINGS)
step = hmc.step(train)
z, items = step.terms[0].vectors.anchors, step.terms[0].pairs.anchors.item
labels = torch.as_tensor(tree.ancestors[train.labels[items]])
same(hmc_loss(z, labels, equal), step.loss)
hiercl.plot.pair_matrix(hmc.step(train, items=few), train, term=0, level=0, anchors=80)

# %% [markdown]
# **What you should see**: the blocks on the diagonal are twice as wide, because siblings are pulled too. The same pairs
# are pushed in the term of the class. The weights of the levels say which of the two is stronger.
#
# **Exercise** (warm-up). With the weights of the official code and two levels, which share of the weights does the
# *superclass* get? Write a number.

# %%
check("06 weight", ...)

# %% tags=["solution"]
# The weights are exp(1/2) for the superclass and exp(1) for the class.
check("06 weight", np.exp(1 / 2) / (np.exp(1 / 2) + np.exp(1)))

# %% [markdown]
# **Exercise.** A loss pulls a candidate by its share of the pulled views ($1/|P|$, or 0) minus its share of the
# softmax. A batch has 200 views: ten superclasses with two classes each, ten views of every class. All embeddings are
# equal, so every candidate has the same share of the softmax. The class has the weight 1. At which weight of the
# superclass do the two levels cancel for a sibling? Give three digits.

# %%
check("06 sibling", ...)

# %% tags=["solution"]
# The anchor has 199 candidates. The class pushes a sibling by 1/199. The superclass pulls it by 1/19 - 1/199.
check("06 sibling", (1 / 199) / (1 / 19 - 1 / 199))

# %% [markdown]
# ## 3. Does it matter that the hierarchy is true?
#
# A second loss may help whatever its groups are. So there is a control: **HMC, shuffled**. The classes are dealt to the
# superclasses at random. The weights, the levels and the numbers of classes stay. Three trainings:
#
# * **no hierarchy**: SupCon.
# * **random hierarchy**: HMC, shuffled.
# * **true hierarchy**: HMC. It is the oracle. Nobody can know the taxonomy better.
#
# `DEALT` is the share of the classes that may change places: 1 is the recorded control, and 0 is the true hierarchy.
# `DEAL_SEED` draws the places. All recorded seeds of the control have the same places, those of 0.


# %%
DEALT, DEAL_SEED = 1.0, 0


def deal(share, seed):
    """Returns the hierarchy after this share of the classes has changed places at random."""
    order, drawn = np.arange(tree.n_leaves), np.random.default_rng(seed).permutation(tree.n_leaves)
    drawn = drawn[: round(share * tree.n_leaves)]
    order[np.sort(drawn)] = drawn
    ancestors = np.column_stack([tree.ancestors[order, :-1], np.arange(tree.n_leaves)])
    return hiercl.Hierarchy(tree.names, ancestors, tree.level_names)


false = replace(train, hierarchy=deal(DEALT, DEAL_SEED))
runs = {"no hierarchy": supcon, "true hierarchy": hmc}
runs["random hierarchy"] = hiercl.fit("hmc", false, level_weights=equal.tolist(), **SETTINGS)
for superclass in range(3):
    print(" and ".join(np.array(tree.leaf_names)[false.hierarchy.ancestors[:, 0] == superclass]), "are siblings now.")

# %% [markdown]
# All three are judged by the *true* hierarchy, on test pictures:
#
# * *siblings*: for which share of the classes is the nearest other class a sibling? Classes are compared by the means
#   of their features. By chance it is 1 of 19.
# * *dendrogram purity*: a **dendrogram** joins the most similar class means first. Purity says whether siblings are
#   joined before others come between. 100 is a perfect tree. This measure comes from "Bayesian Hierarchical Clustering"
#   (Heller and Ghahramani, 2005, [DOI 10.1145/1102351.1102389](https://doi.org/10.1145/1102351.1102389)).
# * *AMI superclass*: agreement of ten k-means clusters with the superclasses, 0 by chance. AMI, the adjusted mutual
#   information, is described in "Information Theoretic Measures for Clusterings Comparison: Variants, Properties,
#   Normalization and Correction for Chance" (Vinh, Epps and Bailey, 2010, [JMLR
#   11](https://jmlr.org/papers/v11/vinh10a.html)).
#
# The stars are your runs, and the dots are recorded seeds with the same settings.
#
# **Predict**: where does the random hierarchy stand: with SupCon, between the two, or below SupCon?

# %%
RECORDED = {"no hierarchy": "SupCon", "random hierarchy": "HMC, shuffled", "true hierarchy": "HMC"}
RECORDED = {row: f"20 classes, {name}" for row, name in RECORDED.items()}


def with_mistakes(table):
    """Adds the share of the linear probe's mistakes that stay in the superclass, and of all items that leave it."""
    height = table["mistake_height class"]  # 1: the predicted class is a sibling; 2: it is of another superclass
    more = {"mistakes inside": 100 * (2 - height), "outside, of all": (100 - table["linear class"]) * (height - 1)}
    return table.copy().assign(**more)


def judged(run):
    """Returns the numbers of a run as a recorded study has them: one row, a column for each metric and level."""
    table = hiercl.evaluate(run, train, test, seed=SEED, progress=False).table().unstack()
    return with_mistakes(pd.DataFrame([{" ".join(names): value for names, value in table.items()}])).iloc[0].to_dict()


recorded = with_mistakes(hiercl.study.recorded("brackets-hierarchy"))
own = {row: judged(runs[row]) for row in RECORDED}
ORDER = ["siblings class", "dendrogram_purity class", "ami superclass"]
hiercl.plot.brackets(recorded, RECORDED, ORDER, own, "How the classes are ordered")

# %% [markdown]
# **What you should see**: only the true hierarchy orders the classes, in every recorded seed. The random one is no
# better than SupCon. By the means of all three measures it is worse: it pulls classes together that are not alike, and
# pushes apart some that are.
#
# **It works here because** the features already know what siblings share: SupCon puts many of them side by side without
# being told. And the classes can be told apart wherever they are placed. So the loss is free to move whole classes.
# **What takes it away**: a false hierarchy (`DEALT`), no weight of the superclass (section 4), and features that know
# little (section 6).
#
# The order is what HMC was told, so the order alone is no proof that it is of use. What about accuracy? *mistakes
# inside* is the share of the wrong predictions of the class (linear probe) that stay in the true superclass. *outside,
# of all* is the share of all test items whose predicted class is of another superclass.
#
# **Predict**: do the mistakes become milder? Does the accuracy of the class rise?

# %%
COST = ["mistakes inside", "outside, of all", "knn class", "knn superclass"]
hiercl.plot.brackets(recorded, RECORDED, COST, own, "What it is worth for predictions")

# %% [markdown]
# **What you should see**: with the true hierarchy more of the mistakes are mild, in every recorded seed. But there are
# also more mistakes of the class, because siblings are closer together. As many items as before are given to another
# superclass. So HMC adds mild mistakes, and does not take serious ones away. By kNN of the superclass even the true
# hierarchy gains nothing that five seeds could show. It knows the true hierarchy, so more
# knowledge would not help this loss.
#
# Now the trees. Lines lead from each class in the dendrogram to its place in the label hierarchy. A coloured branch has
# siblings only.
#
# **Predict**: which siblings does SupCon miss, although it has seen the same pictures?

# %%
hiercl.plot.dendrogram(supcon, test, title="SupCon")

# %%
hiercl.plot.dendrogram(hmc, test, title="HMC")

# %% [markdown]
# **What you should see**: HMC joins most siblings before others come between, and SupCon joins fewer. What SupCon puts
# in the place of a sibling often looks alike, or is seen in the same places. In our run even HMC leaves beaver and
# porcupine together.
#
# ## 4. The price of order
#
# The weight of the superclass is a setting: `level_weights=(weight, 1)`. With 0 HMC is SupCon. The line below goes
# through the recorded weights, with 95 % intervals. Your own run is one seed.
#
# **Predict**: the recorded weights end at 1. Where will `WEIGHT = 4` be?

# %%
WEIGHT = 4.0
POINTS = {"0": "SupCon", "0.1": "HMC, coarse level 0.1", "0.25": "HMC, coarse level 0.25"}
POINTS |= {"0.5": "HMC, coarse level 0.5", "1": "HMC"}


@cache
def at_weight(weight):
    """Trains HMC with this weight of the superclass and returns its numbers."""
    return judged(hiercl.fit("hmc", train, level_weights=(weight, 1.0), **SETTINGS))


# %%
def trade(weight):
    """Draws accuracy of the class against order of the classes: the recorded weights, and a run with this weight."""
    named = {f"20 classes, {name}": f"recorded, {point}" for point, name in POINTS.items()}
    table = recorded.assign(variant=recorded["variant"].replace(named))
    mine = pd.DataFrame([at_weight(weight) | {"variant": f"yours, weight {weight:g}", "seed": SEED}])
    lines = {"your run": [f"yours, weight {weight:g}"], "recorded weights": list(named.values())}
    return hiercl.plot.front(pd.concat([table, mine]), "knn class", "siblings class", lines, "The price of order")


trade(WEIGHT)

# %% [markdown]
# **What you should see**: along the line the order rises and the accuracy of the class falls, because one embedding
# serves both levels. The first steps cost little. In our run the weight of 4 goes on in both directions. So a single
# point says little about a method: another weight is another point of the same method. A better method has a better
# *line*. [07](07_feature_identification.ipynb) asks whether masks give one.
#
# Move the slider. Every place is a training.

# %%
_ = interact(trade, weight=FloatSlider(WEIGHT, min=0, max=8, step=0.25, continuous_update=False))

# %% [markdown]
# ## 5. A maximum: HCE and HMCE
#
# HCE (hierarchical constraint enforcing, HiConE in the paper of HMC) uses this rule: pairs that share only the
# superclass should never be closer than pairs that share the class. A close pair has a small loss. So **the loss of a
# coarser level must not be smaller than the loss of a finer level**. From fine to coarse, HCE raises each loss to the
# largest loss of the finer levels:
#
# $$\mathcal L = \frac{\sum_l\lambda_l\max(\mathcal L_l,\, m_l)}{\sum_l\lambda_l}, \qquad
#   m_l = \max(\mathcal L_{l-1}, m_{l-1}), \quad m_1 = -\infty$$
#
# HMCE (HiMulConE in the paper) does this with the weights of HMC. HCE uses equal weights. All our trainings have equal
# weights, so that HCE and HMCE are the same here. What is compared? There are several forms:
#
# * **batch**, the official code: the mean losses of the two levels over the batch are compared.
# * **batch, thinned**, also the official code: the level of the superclass keeps only one picture of every class.
# * **centred**, ours: as *batch, thinned*, but less the loss that equal embeddings would give at each level.
# * **pair**, as far as we know the paper: every pair of the superclass is raised to the *worst* pair of the class.
#
# By hand, for two levels, *batch* and *pair*:


# %%
def hmce_loss(z, labels, weights, pair=False):
    """Returns HMCE's loss of two levels, superclass and class. The maximum compares batch means or pairs."""
    (coarse, related), (fine, alike) = (pair_losses(z, label) for label in labels.T)
    upper, lower = mean_of(coarse, related), mean_of(fine, alike)
    if pair:
        upper = mean_of(torch.maximum(coarse, fine.max()) * related, related)
    losses = torch.stack([torch.maximum(upper, lower), lower])
    return (weights * losses).sum() / weights.sum()


hmce = hiercl.fit("hmce", train, level_weights=equal.tolist(), **SETTINGS | {"epochs": 0})
hmce.method.load_state_dict(hmc.method.state_dict())  # the weights that HMC has learned
for form in ("batch", "pair"):
    same(hmce_loss(z, labels, equal, pair=form == "pair"), hmce.changed(maximum=form).step(train).loss)

# %% [markdown]
# **Exercise.** Write the maximum for any number of levels. The input is the losses from coarse to fine. The output is
# the raised losses.


# %%
def raised(losses):
    """Returns the losses after the maximum. `losses` is a numpy array with one entry per level, coarse to fine."""
    return ...


check("06 maximum", raised)


# %% tags=["solution"]
def raised(losses):
    """Returns the losses after the maximum. `losses` is a numpy array with one entry per level, coarse to fine."""
    return np.maximum.accumulate(losses[::-1])[::-1]


check("06 maximum", raised)

# %% [markdown]
# Where the maximum replaces the loss of the superclass, it also replaces its **gradient**. Then the superclass has no
# effect, and the class counts twice. We measure the gradient that the loss sends to the similarities of each level, and
# add up its size.
#
# **Predict**: in which of the forms does the superclass get a gradient?


# %%
def reaching(run):
    """Returns each level's share of the gradient, the largest share of one anchor, and how often the maximum acts."""
    step = run.step(train)
    terms = tuple(replace(term, logits=term.logits.clone().requires_grad_()) for term in step.terms)
    step.combine(terms).backward()
    force = torch.stack([term.logits.grad.abs().sum(dim=1) for term in terms])  # [levels, anchors]
    return (force.sum(dim=1) / force.sum()).tolist(), float(force.max() / force.sum()), step.observe()


forms = {"HMC": hmc, "HMCE, batch": hmce, "HMCE, batch, thinned": hmce.changed(thinning=True)}
forms |= {"HMCE, centred": hmce.changed(thinning=True, maximum="centred"), "HMCE, pair": hmce.changed(maximum="pair")}
found = {name: reaching(run) for name, run in forms.items()}

# %%
figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
for row, ((superclass, fine), hardest, seen) in enumerate(found.values()):
    axis.barh(row, 100 * superclass, color="#E69F00", label="superclass" if row == 0 else None)
    axis.barh(row, 100 * fine, left=100 * superclass, color="#0072B2", label="class" if row == 0 else None)
    acts = f"maximum acts: {100 * float(seen.get('maximum acts', 0)):.0f} %"
    axis.text(101, row, f"{acts}; one anchor has up to {100 * hardest:.1f} %", va="center", size=9)
axis.set_yticks(range(len(found)), found, size=10)
axis.set_xlabel("share of the gradient (%)", size=10)
axis.set(xlim=(0, 100), ylim=(len(found) - 0.5, -0.5))
axis.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=10)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# **What you should see**: in the form *batch* the maximum does not act, because more pulled views share the softmax of
# the superclass, so its loss is the larger one anyway. This form is HMC. *Thinned*, the loss of the superclass has few
# candidates and is small. The maximum replaces it, and all the gradient goes to the class. *Centred* makes up for the
# number of candidates, and the superclass keeps its gradient. In the form *pair* nearly every pair of the superclass is
# replaced by one and the same pair of the class, so one anchor gets most of the gradient.
#
# Now we train with the two forms that others have published.
#
# **Predict**: which method that you know does *batch, thinned* become?

# %%
PUBLISHED = {"HMCE, batch, thinned": dict(thinning=True), "HMCE, pair": dict(maximum="pair")}
rows = {"SupCon": own["no hierarchy"], "HMC": own["true hierarchy"]}
for name, form in PUBLISHED.items():
    run = hiercl.fit("hmce", train, level_weights=equal.tolist(), **SETTINGS, **form)
    rows[name] = judged(run) | {"maximum acts": 100 * run.history["maximum acts"].mean()}
pd.DataFrame(rows).T[["siblings class", "knn class", "maximum acts"]].astype(float).round(1)

# %% [markdown]
# The same with all 100 classes, recorded with five seeds, and with the weights of the official code. The row *thinned*
# has all habits of that code (`official=True`).

# %%
FORMS = {"SupCon": "SupCon", "HMC": "HMC", "HMCE, batch, thinned": "HMCE, official"}
FORMS["HMCE, pair"] = "HMCE, maximum of pairs"
columns = ["siblings class", "knn class"]
hiercl.plot.brackets(hiercl.study.recorded("labels"), FORMS, columns, title="Forms of the maximum, 100 classes")

# %% [markdown]
# **What you should see**: the thinned form cannot be told from SupCon, in order and in accuracy. In the steps in which
# the maximum acts it *is* SupCon, and as long as the classes are hard to separate these are most steps. (The table
# counts only the steps that the history looked at.) The form *pair* loses much of the accuracy, because most of its
# gradient comes from a single pair.
#
# Two methods with one name can be different methods, and two names can mean one method. Before you compare methods,
# look at the gradient that each level gets.
#
# ## 6. From scratch
#
# Here is the same question without a backbone, with the weights of the official code and temperature 0.2. A small
# convolutional network has learned from 10,000 pictures of all 100 classes of CIFAR-100, for ten epochs. The trainings
# are recorded, with five seeds. In this study the superclasses were dealt anew for every seed.
#
# **Predict**: is the order of the classes better or worse than on features? How far apart are *true* and *random*?

# %%
SCRATCH = {"no hierarchy": "SupCon, which sees no hierarchy", "random hierarchy": "HMC, shuffled"}
SCRATCH["true hierarchy"] = "HMC"
columns = ["dendrogram_purity class", "ami superclass", "knn superclass"]
hiercl.plot.brackets(hiercl.study.recorded("shuffled"), SCRATCH, columns, title="From scratch, 100 classes")

# %% [markdown]
# **What you should see**: the true hierarchy is still ahead, but the gaps are small, and all numbers are low. The
# network knows little about new pictures. It was told which classes belong together, but it cannot put a class in its
# place that it does not recognise. Here kNN of the superclass gains a little, and on features it gains nothing. Perhaps
# the reason is that the backbone knew the superclasses already.
#
# Generated pictures are easier. `shapes` has three levels: a *chair* is one of *seating*, and *seating* is
# *furniture*. The same network has learned from 6,000 of these pictures for ten epochs, again with five recorded seeds.
#
# **Predict**: do all three levels gain? Does order cost accuracy of the class here, too?

# %%
columns = ["dendrogram_purity class", "ami group", "linear domain", "knn class"]
table = hiercl.study.recorded("shuffled-shapes")
hiercl.plot.brackets(table, SCRATCH, columns, title="From scratch, three levels of generated pictures")

# %% [markdown]
# **What you should see**: the random hierarchy is no better than none. The true one is ahead in the tree of the
# classes, in clusters of the group, and in the domain. The tree of the groups, which is not shown, is no better than
# without a hierarchy. No loss of accuracy of the class can be seen.
#
# **Exercise** (open). How wrong may a hierarchy be? What would you tell somebody whose taxonomy has errors? The next
# cell deals a share of the classes to other places, as section 3 does, and trains HMC. Change its first line. A
# training takes seconds. Some classes get their sibling back by chance, so the cell prints the share of those that have
# lost it. Hand in:
#
# 1. **A prediction with a reason**, written before the trainings.
# 2. **A table or a figure** of at least three shares with three values of `DEAL_SEEDS` each: order of the classes and
#    accuracy of the class. Choose well what stands on the horizontal axis.
# 3. **SupCon beside it**: it is the hierarchy of no use. Section 3 has recorded seeds; `recorded[recorded["variant"]
#    == RECORDED["no hierarchy"]][[*ORDER, "knn class"]]` has their numbers.
# 4. **A sentence that the numbers allow**: up to which share of errors is the hierarchy better than none?

# %%
SHARES, DEAL_SEEDS = (1.0,), (0,)  # change these

for share in SHARES:
    for drawn in DEAL_SEEDS:
        dealt = replace(train, hierarchy=deal(share, drawn))
        before, now = tree.ancestors[:, 0], dealt.hierarchy.ancestors[:, 0]
        still = ((before[:, None] == before) & (now[:, None] == now)).sum(axis=1) > 1  # more than the class itself
        scores, lost = judged(hiercl.fit("hmc", dealt, level_weights=equal.tolist(), **SETTINGS)), 100 * (~still).mean()
        print(f"dealt {100 * share:.0f} %, seed {drawn}: {lost:.0f} % have lost their sibling;", end=" ")
        print(", ".join(f"{name} {scores[name]:.1f}" for name in (*ORDER, "knn class")))

# %% [markdown]
# ## Summary
#
# * A hierarchy of labels gives every pair a level. HMC adds a loss for each level. For siblings the levels disagree:
#   one pulls, the other pushes, and the weights decide.
# * A true hierarchy orders the classes, and a random one does not. On features, order costs accuracy of the class.
#   Compare lines, not points.
# * Milder mistakes can be additional mistakes. Count the serious ones too.
# * A maximum of losses can take the gradient away from a level. Look before you compare.
#
# **More to try.** All 100 classes (leave out `.under`, take `epochs=12, batch=512`). A hierarchy that nobody has
# drawn: `hiercl.fit("hmc", train, source="prototypes", ...)`.

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included, and 90 with the open exercise. Hard for them:
# more order is less accuracy, so compare lines; a maximum over losses can leave a level without a gradient.
#
# Typical mistakes:
#
# * "HMC is better than SupCon." It is another point of the trade: more order, less accuracy of the class.
# * "Milder mistakes are fewer mistakes." The serious ones are as many as before.
# * "The maximum makes both levels learn." Where the maximum acts, the superclass gets no gradient, and the class
#   counts twice.
#
# **The open exercise**, how to mark it. Five points. A prediction with a reason, before the runs (1). At least three
# shares and three seeds, with the spread (1). The horizontal axis is the share of classes that really have lost their
# sibling, not `SHARES`: some return by chance (1). SupCon stands beside it as the hierarchy of no use, so that one sees
# where the errors outweigh the rest (1). A sentence that the numbers allow, for this data set only (1).
#
# An example answer. *I expect that the order falls with the share of lost siblings, because each class without its
# sibling is pulled to a wrong place.* `DEAL_SEEDS` 0, 1 and 2:
#
# | dealt | have lost their sibling | siblings | dendrogram purity | kNN class |
# |---|---|---|---|---|
# | 0 %, five recorded seeds | 0 % | 70 to 75 | 80.0 to 81.0 | 78.8 to 80.4 |
# | 25 % | 40, 30, 30 % | 75, 55, 70 | 77.7, 71.0, 77.7 | 79.4, 79.0, 79.8 |
# | 50 % | 80, 80, 70 % | 55, 45, 50 | 62.6, 52.6, 63.9 | 82.5, 80.8, 79.7 |
# | 75 % | 100, 100, 90 % | 35, 45, 45 | 54.4, 50.7, 59.7 | 81.3, 80.1, 80.5 |
# | SupCon, five recorded seeds | | 40 to 50 | 54.3 to 69.4 | 80.6 to 81.7 |
#
# *With 30 to 40 % of the siblings lost the dendrogram purity is lower than without errors, and still higher than that
# of every seed of SupCon. With 70 % or more it is not higher than SupCon's. Between 40 and 70 % I have no run. By kNN
# all runs at 25 % (79.0 to 79.8) are below every seed of SupCon (80.6 to 81.7), and so is the true hierarchy. At 50
# and 75 % the ranges overlap. I would tell somebody that a third of wrong siblings leaves much of the order, in this
# data set.* The nine trainings, with their evaluations, took 69 seconds of one core.
