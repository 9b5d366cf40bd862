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
# **After this notebook you can** say which candidates are pulled at which level. You can see which level the gradient
# reaches, and when a maximum takes the gradient away. You can test whether a *true* hierarchy matters. You can read a
# confusion matrix and a dendrogram.
#
# Before: [02, pairs](02_pairs.ipynb). After: [07, feature identification](07_feature_identification.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.exercises import check
from hiercl.metrics import knn_predict

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}
FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, EPOCHS = ("shapes", 15, 2) if FAST else ("cifar100", 240, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. One level: SupCon
#
# Now we have labels, and the labels form a hierarchy. Every class belongs to a superclass. We use only five
# superclasses, so that a short training learns something.

# %%
train, test = hiercl.load(DATA)
five = ("aquatic_mammals", "fish", "flowers", "fruit_and_vegetables", "vehicles_1")
five = train.hierarchy.names[0] if FAST else five
train, test = train.under(*five).per_class(PER_CLASS), test.under(*five).per_class(50)
tree = train.hierarchy
coarse, fine = tree.level_names[0], tree.level_names[-1]
print(train)
for leaf in range(0, tree.n_leaves, tree.n_leaves // 6):
    print(" › ".join(tree.path(leaf)))

# %% [markdown]
# SupCon (Khosla et al., NeurIPS 2020, arXiv 2004.11362) pulls every view of the anchor's **class**, not only the
# other view of its picture. Let $z$ be the embeddings of the two views of each of $N$ pictures. $P(i)$ are the views
# that anchor $i$ pulls, and $A(i)$ are all views except $i$ itself. The loss is
#
# $$\mathcal L = \frac1{2N}\sum_i \frac{-1}{|P(i)|}\sum_{p\in P(i)}
#   \log\frac{e^{\langle z_i,z_p\rangle/\tau}}{\sum_{a\in A(i)} e^{\langle z_i,z_a\rangle/\tau}}$$
#
# The figure below shows some views, ordered by superclass and, inside a superclass, by class.
#
# **Predict**: where are the pulled pairs? What does SupCon do with other classes of the same superclass?

# %%
supcon = hiercl.fit("supcon", train, callbacks=[hiercl.plot.live()], **SETTINGS)

# %%
few = np.linspace(0, len(train) - 1, 48).astype(int)
pushed = supcon.audit(train, batches=4).set_index("level")["false_negative_rate"]
for level, share in pushed.items():
    print(f"{100 * share:.1f} % of the views that SupCon pushes have the anchor's own {level}.")
hiercl.plot.pair_matrix(supcon.step(train, items=few), train, level=0)

# %% [markdown]
# Levels are numbered from the coarse end. SupCon has only one term, the term of the classes. So this term is “level
# 1”. The dark cells are siblings: they have the anchor's superclass, and SupCon pushes them. For SupCon's loss a rose
# and a bus are equally different from a tulip.
#
# ## 2. Every level: HMC
#
# HMC (hierarchical multi-label contrast, HiMulCon in its paper: Zhang et al., CVPR 2022, arXiv 2204.13207) computes
# SupCon's loss at every level, with the classes of that level, and adds the losses. With $l = 1$ for the finest
# level,
#
# $$\mathcal L = \frac{\sum_l \lambda_l\mathcal L_l}{\sum_l\lambda_l}, \qquad \lambda_l = e^{1/l}$$
#
# One embedding serves all levels. It should bring siblings together, and pictures of one class even closer.
#
# **Predict**: how does the next figure, the coarse term of HMC, differ from the figure of SupCon?

# %%
hmc = hiercl.fit("hmc", train, **SETTINGS)
step = hmc.step(train, items=few)
hiercl.plot.pair_matrix(step, train, term=0, level=0)

# %% [markdown]
# This is the fine term of HMC. The coarse term pulls a sibling, and the fine term pushes it. The weights balance the
# two.

# %%
hiercl.plot.pair_matrix(step, train, term=-1, level=0)

# %% [markdown]
# **Exercise.** Which pairs are pulled at a level?


# %%
def pulled(labels, level):
    """Returns a boolean matrix [n, n], anchors in rows. `labels` [n, levels]: classes of every view, coarse to fine."""
    return ...


check("06 pulled", pulled)


# %% tags=["solution"]
def pulled(labels, level):
    """Returns a boolean matrix [n, n], anchors in rows. `labels` [n, levels]: classes of every view, coarse to fine."""
    same = labels[:, None, level] == labels[None, :, level]
    return same & ~np.eye(len(labels), dtype=bool)


check("06 pulled", pulled)

# %% [markdown]
# **Exercise.** With two levels, which share of the weights does the *coarse* level get? Write a number.

# %%
check("06 weight", ...)

# %% tags=["solution"]
# The weights are exp(1/2) for the coarse level and exp(1) for the fine one.
check("06 weight", np.exp(1 / 2) / (np.exp(1 / 2) + np.exp(1)))

# %% [markdown]
# What do both encoders know about test pictures? *kNN* is the share of right votes of the nearest training pictures.
# *inside* is the share of wrong class votes that stay in the right superclass.


# %%
def judge(run):
    """Returns kNN accuracies (coarse, fine) and the share of fine mistakes inside the superclass, in per cent."""
    bank, asked = hiercl.embed(run, train), hiercl.embed(run, test)
    votes = [knn_predict(bank, torch.as_tensor(train.labels_at(level)), asked).numpy() for level in (0, -1)]
    right = [100 * (vote == test.labels_at(level)).mean() for vote, level in zip(votes, (0, -1), strict=True)]
    above = tree.ancestors[:, 0]
    wrong = votes[1] != test.labels
    return *right, 100 * (above[votes[1]] == above[test.labels])[wrong].mean()


# %%
results = {}
for name, run in {"SupCon": supcon, "HMC": hmc}.items():
    first, last, inside = results[name] = judge(run)
    print(f"{name:7} kNN {coarse} {first:.1f} %, {fine} {last:.1f} %; inside {inside:.1f} %")

# %% [markdown]
# ## 3. A maximum: HCE and HMCE
#
# HCE (hierarchical constraint enforcing, HiConE in the same paper) uses this rule: pairs that share only the
# superclass should never be closer than pairs that share the class. A close pair has a small loss. So **the loss of a
# coarser level must not be smaller than the loss of a finer level**. From fine to coarse, HCE raises each loss to the
# largest loss of the finer levels:
#
# $$\mathcal L = \frac{\sum_l\lambda_l\max(\mathcal L_l,\, m_l)}{\sum_l\lambda_l}, \qquad
#   m_l = \max(\mathcal L_{l-1}, m_{l-1}), \quad m_1 = -\infty$$
#
# HMCE (HiMulConE in the paper) does this with the weights of HMC. HCE uses equal weights.
#
# **Exercise.** Write the maximum. The input is the losses from coarse to fine. The output is the raised losses.


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
# There is a problem. Where the maximum replaces the coarse loss, it also replaces its **gradient**. Then the coarse
# level has no effect, and the finer level counts twice. There are several forms:
#
# * *batch*: the maximum compares the mean losses of the levels over the batch, as in the official code;
# * *thinned*: the official code also keeps only one picture of every class at the coarse level;
# * *pair*: the maximum compares single pairs. As far as we know, this is the form of the paper. The loss of a coarse
#   pair is raised to the loss of the *worst* fine pair of the batch;
# * *centred*: this form is ours. It subtracts the loss that equal embeddings would give, and compares then.
#
# **Predict**: in which of these forms does the coarse level get a gradient?


# %%
def reaching(run):
    """Returns the gradient's share of each level, its largest share of one anchor, and how often the maximum acts."""
    step = run.step(train)
    terms = tuple(replace(term, logits=term.logits.clone().requires_grad_()) for term in step.terms)
    step.combine(terms).backward()
    force = torch.stack([term.logits.grad.abs().sum(dim=1) for term in terms])  # [levels, anchors]
    total = force.sum()
    return force.sum(dim=1) / total, float(force.max() / total), float(step.observe().get("maximum acts", 0))


# %%
hmce = hiercl.fit("hmce", train, epochs=0, seed=0, progress=False)
hmce.method.load_state_dict(hmc.method.state_dict())  # the weights that HMC has learned
forms = {"HMC": hmc, "HMC, equal weights": hmc.changed(level_weights="uniform")}
forms |= {"HMCE, batch": hmce, "HMCE, batch, thinned": hmce.changed(thinning=True)}
forms["HMCE, centred, thinned"] = hmce.changed(thinning=True, maximum="centred")
forms["HMCE, pair"] = hmce.changed(maximum="pair")
found = {name: reaching(run) for name, run in forms.items()}

# %%
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
for row, (name, (levels, hardest, acts)) in enumerate(found.items()):
    ends = 100 * np.cumsum([0, *levels])
    for level, level_name in enumerate(tree.level_names):
        style = dict(
            color=["#0072B2", "#56B4E9", "#E69F00"][level - tree.levels], label=level_name if row == 0 else None
        )
        axis.barh(row, ends[level + 1] - ends[level], left=ends[level], **style)
    print(f"{name:23} the maximum replaces {100 * acts:5.1f} %; one anchor gets at most {100 * hardest:5.1f} %")
axis.set(yticks=range(len(found)), yticklabels=found, xlabel="of the gradient (%)", xlim=(0, 100))
axis.legend(ncols=tree.levels, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
axis.invert_yaxis()
plt.show()

# %% [markdown]
# What does thinning do? A loss grows with the logarithm of the number of candidates. Thinning leaves few candidates
# at the coarse level. In the figure, white rows have no candidates, and blue cells are removed. If the maximum
# replaces nothing, the coarse loss was already the larger one, because more positives share its softmax. Then HMCE
# equals HMC.

# %%
thinned = forms["HMCE, batch, thinned"].step(train)
for term in thinned.terms:
    candidates = int((term.pairs.negative | (term.pairs.positive > 0)).sum(dim=1).max())
    print(f"{term.name}: {candidates} candidates; with equal embeddings the loss is {np.log(candidates):.2f} nats")
hiercl.plot.pair_matrix(forms["HMCE, batch, thinned"].step(train, items=few), train, term=0, level=0)

# %% [markdown]
# Now we train with the two published forms. The history records how often the maximum acted.
#
# **Predict**: which method that you know does the thinned batch form become?

# %%
official = hiercl.fit("hmce", train, thinning=True, **SETTINGS)
pair = hiercl.fit("hmce", train, maximum="pair", **SETTINGS)
for name, run in {"HMCE, batch, thinned": official, "HMCE, pair": pair}.items():
    first, last, inside = results[name] = judge(run)
    acts = 100 * run.history["maximum acts"].mean()
    print(f"{name}: the maximum acted on {acts:.1f} %. kNN {coarse} {first:.1f} %, {fine} {last:.1f} %")
apart = (hiercl.embed(official, test) - hiercl.embed(supcon, test)).abs().max()
verdict = "the same encoder" if apart < 1e-3 else "another encoder"
print(f"Features of the thinned form and of SupCon differ by {apart:.1e} at most: {verdict}.")

# %% [markdown]
# With two levels, the thinned form is SupCon in every step in which the maximum acts: the loss of the class then takes
# the place of the thinned coarse loss. Where the classes are well separated, the coarse loss can be the larger one.
# Then the form is no longer SupCon. `official=True` sets thinning and the other habits of the official code.
#
# Two methods with one name can be different methods, and two names can mean one method. Before you compare methods,
# look at the gradient that each level gets.
#
# ## 4. Does it matter that the hierarchy is true?
#
# This is a control. We give the classes to random superclasses and train HMC with this hierarchy. It has as many
# levels and classes and the same weights, but false superclasses. (Some true siblings stay together by chance.)
#
# **Predict**: what does this do to the accuracy of superclasses? What does it do to the accuracy of classes?

# %%
dealt = replace(train, hierarchy=tree.shuffle(seed=0))
shuffled = hiercl.fit("hmc", dealt, **SETTINGS)
hiercl.plot.pair_matrix(shuffled.step(train, items=few), train, term=0, level=0)

# %% [markdown]
# The figure shows the pairs that are pulled at the coarse level, ordered by the *true* superclass. We also judge this
# run by the true hierarchy:

# %%
results["shuffled"] = judge(shuffled)
noise = 100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5  # largest margin (95 %) of a difference, from the test set alone
for other in ("shuffled", "SupCon"):
    for level, true, control in zip((coarse, fine), results["HMC"], results[other], strict=False):
        gap = true - control
        verdict = "is ahead of" if gap > noise else "is behind" if gap < -noise else "does not differ clearly from"
        print(f"{level:10} HMC with the true hierarchy {verdict} {other} ({gap:+.1f} points of kNN)")
print(f"Differences below ±{noise:.1f} points may come from the test set alone. A claim also needs several seeds.")

# %% [markdown]
# ## 5. What was learned
#
# The figure shows the mistakes of HMC. Classes are in the order of the hierarchy. Frames mark the superclasses.
#
# **Predict**: suppose the wrong classes were drawn at random. Which share of the mistakes would stay inside the
# frames? (The title gives the answer.)

# %%
hiercl.plot.confusion(hmc, test, train=train, title="HMC")

# %% [markdown]
# A **dendrogram** joins the most similar class centres first. Its purity measures whether the classes of a superclass
# are joined with each other. In the figures below, lines lead to the place of each class in the label hierarchy. Few
# crossings are good. The titles also give the value of chance.

# %%
names = {"SupCon": supcon, "HMC": hmc, "HMCE, batch, thinned": official, "HMCE, pair": pair, "shuffled": shuffled}
for name, run in names.items():
    purity = hiercl.metrics.dendrogram_purity(hiercl.embed(run, test), test.labels, tree, level=-1, within=0)
    print(f"{name:20} {results[name][2]:5.1f} % of the mistakes inside, dendrogram purity {purity:.2f}")

# %%
hiercl.plot.dendrogram(hmc, test, title="HMC")

# %%
hiercl.plot.dendrogram(shuffled, test, title="HMC, shuffled hierarchy")

# %% [markdown]
# ## 6. Try it yourself
#
# Choose a method and a term. Click anchors. Set the level at which two pictures count as the same. Watch the rate of
# false negatives. For which method is it zero, and at which level?

# %%
hiercl.explore.pairs({"SupCon": supcon, "HMC": hmc, "HMC, shuffled": shuffled}, train)

# %% [markdown]
# ## 7. After a longer training
#
# This is HMC after a training on all 20 superclasses of CIFAR-100, 50,000 pictures. The test pictures are the same as
# above.

# %%
long = hiercl.pretrained("hmc")
print(long.card["budget"])
hiercl.plot.dendrogram(long, test, title="HMC, longer")

# %% [markdown]
# ## Summary
#
# * A hierarchy of labels gives every pair a level. A method decides which pairs are pulled at which level.
# * For siblings the levels disagree: one level pulls, the other pushes. Weights balance them.
# * A maximum of losses moves gradients from one level to another. Check which level gets the gradient, and how often
#   the maximum acts.
# * A shuffled hierarchy is the control. An effect that it shows too does not come from the true hierarchy.
#
# **To think about.** You have classes and superclasses, but half of the pictures have only the superclass. In which
# terms could these pictures take part?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included. Hard for them: a maximum over losses can leave a
# level without a gradient.
#
# Typical mistakes:
#
# * "The maximum makes both levels learn." Only the level with the larger loss gets the gradient.
# * "Any hierarchy helps." Compare with the shuffled one.
#
# **To think about**, how to mark it. Two points. Coarse labels give pairs at the coarse level (1). In the fine term
# such pictures are left alone, as anchors and as candidates, or they are negatives of other superclasses only (1).
