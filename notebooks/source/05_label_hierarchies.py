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
# # 05 · Hierarchies of labels: SupCon, HMC, HCE, HMCE
#
# **You will be able to** say who is pulled at which level, see which level the gradient reaches and when a maximum
# takes it away, test whether a *true* hierarchy matters at all, and read what was learned from a confusion matrix and
# a dendrogram.
#
# About three minutes of computing on two CPU cores. Before: [01, pairs](01_pairs.ipynb). After: [06, feature
# identification](06_feature_identification.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.exercises import check
from hiercl.metrics.probes import knn_predict

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}
FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 15, 2) if FAST else ("cifar100", 240, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. One level: SupCon
#
# Now there are labels, and they form a hierarchy: every class belongs to a superclass. Five superclasses are enough
# here, so that a short training gets somewhere.

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
# SupCon pulls every view of the anchor's **class**, not only the other view of its picture. With the embeddings $z$ of
# the two views of each of $N$ pictures, $P(i)$ the views that are pulled, and $A(i)$ all views but $i$ itself,
#
# $$\mathcal L = \frac1{2N}\sum_i \frac{-1}{|P(i)|}\sum_{p\in P(i)}
#   \log\frac{e^{\langle z_i,z_p\rangle/\tau}}{\sum_{a\in A(i)} e^{\langle z_i,z_a\rangle/\tau}}$$
#
# Below are some views, ordered by superclass and within it by class.
#
# **Predict** where the pulled ones are, and what SupCon does with other classes of the same superclass.

# %%
supcon = hiercl.fit("supcon", train, callbacks=[hiercl.plot.live()], **SETTINGS)

# %%
few = np.linspace(0, len(train) - 1, 48).astype(int)
pushed = supcon.audit(train, batches=4).set_index("level")["false_negative_rate"]
for level, share in pushed.items():
    print(f"{100 * share:.1f} % of what SupCon pushes is of the anchor's own {level}.")
hiercl.plot.pair_matrix(supcon.step(train, items=few), train, level=0)

# %% [markdown]
# Levels are numbered from the coarse end, so that the one term of SupCon, of the classes, is “level 1”. The dark cells
# are siblings: of the anchor's superclass, and pushed. To SupCon's loss a rose and a bus are equally unlike a tulip.
#
# ## 2. Every level: HMC
#
# HMC takes SupCon's loss at every level, each with the classes of that level, and adds them up. With $l = 1$ the
# finest,
#
# $$\mathcal L = \frac{\sum_l \lambda_l\mathcal L_l}{\sum_l\lambda_l}, \qquad \lambda_l = e^{1/l}$$
#
# One embedding serves both: it should bring siblings together, and their classes closer still.
#
# **Predict** how the next picture, HMC's coarse term, differs from SupCon's.

# %%
hmc = hiercl.fit("hmc", train, **SETTINGS)
step = hmc.step(train, items=few)
hiercl.plot.pair_matrix(step, train, term=0, level=0)

# %% [markdown]
# And its fine term. A sibling is pulled by one term and pushed by the other: the weights balance the two.

# %%
hiercl.plot.pair_matrix(step, train, term=-1, level=0)

# %% [markdown]
# **Exercise.** Who pulls whom at a level?


# %%
def pulled(labels, level):
    """Boolean matrix [n, n], anchors in rows; `labels` [n, levels]: class of every view, coarse to fine."""
    return ...


check("05 pulled", pulled)

# %% [markdown]
# **Exercise.** With two levels, which share of the weights does the *coarse* one get? Write a number.

# %%
check("05 weight", ...)

# %% [markdown]
# What both know about test pictures. *kNN* is how often neighbours in the training set vote right; *inside* is the
# share of wrong votes for a class that stay in the right superclass.


# %%
def judge(run):
    """kNN accuracy at the coarse and the fine level, and share of the fine mistakes that stay inside, in per cent."""
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
# HCE says: pictures that share only the superclass should never be closer than pictures that share the class. Where a
# pair is close its loss is small, so **a coarser level's loss may not be below a finer one's**. Going from fine to
# coarse, each loss is raised to the largest of the finer ones:
#
# $$\mathcal L = \frac{\sum_l\lambda_l\max(\mathcal L_l,\, m_l)}{\sum_l\lambda_l}, \qquad
#   m_l = \max(\mathcal L_{l-1}, m_{l-1}), \quad m_1 = -\infty$$
#
# HMCE is this with HMC's weights, HCE with equal ones.
#
# **Exercise.** Write the maximum: losses coarse to fine in, raised losses out.


# %%
def raised(losses):
    """The losses after the maximum; `losses` is a numpy array, one entry a level, coarse to fine."""
    return ...


check("05 maximum", raised)

# %% [markdown]
# The catch: where the maximum replaces the coarse loss, it replaces its **gradient** too. The coarse level then says
# nothing, and the finer one speaks twice. There are several forms:
#
# * *batch*: the maximum is of the levels' means over the batch, as in the official code;
# * *thinned*: the official code also keeps only one picture of every class at the coarse level;
# * *pair*: the maximum is of single pairs, which is the paper's form as far as we know it: a coarse pair's loss is
# raised to that of the *worst* fine pair of the batch;
# * *centred*: ours; losses are compared after subtracting what equal embeddings would give.
#
# **Predict**: in which of these does the coarse level get a gradient?


# %%
def reaching(run):
    """How much of the gradient every level's similarities get, how much the hardest hit anchor; what is logged."""
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
    print(f"{name:23} the maximum replaces {100 * acts:5.1f} %; the hardest hit anchor gets {100 * hardest:5.1f} %")
axis.set(yticks=range(len(found)), yticklabels=found, xlabel="of the gradient (%)", xlim=(0, 100))
axis.legend(ncols=tree.levels, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
axis.invert_yaxis()
plt.show()

# %% [markdown]
# What thinning does: a loss grows with the logarithm of the number of candidates, and thinning leaves the coarse level
# few: white rows take no part, blue is removed. (Where nothing is replaced, the coarse loss was the larger one already:
# more positives share its softmax. HMCE is HMC then.)

# %%
thinned = forms["HMCE, batch, thinned"].step(train)
for term in thinned.terms:
    candidates = int((term.pairs.negative | (term.pairs.positive > 0)).sum(dim=1).max())
    print(f"{term.name}: {candidates} candidates; with equal embeddings the loss is {np.log(candidates):.2f} nats")
hiercl.plot.pair_matrix(forms["HMCE, batch, thinned"].step(train, items=few), train, term=0, level=0)

# %% [markdown]
# Now train with the two published forms. The history logs how often the maximum acted.
#
# **Predict**: which method that you know does the thinned batch form come down to?

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
# Two methods of one name can be different methods, and two names may be one. Before comparing, look at which gradient
# arrives.
#
# ## 4. Does it matter that the hierarchy is true?
#
# A control: deal the classes out anew among the superclasses, at random, and train HMC with that. It has as many
# levels and classes and the same weights, but false superclasses. (Some true siblings stay together by chance.)
#
# **Predict**: what does this do to the superclass? To the class?

# %%
dealt = replace(train, hierarchy=tree.shuffle(seed=0))
shuffled = hiercl.fit("hmc", dealt, **SETTINGS)
hiercl.plot.pair_matrix(shuffled.step(train, items=few), train, term=0, level=0)

# %% [markdown]
# Who is pulled at the coarse level, ordered by the *true* superclass. By the true hierarchy it is judged as well:

# %%
results["shuffled"] = judge(shuffled)
noise = 100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5  # of a difference, at most, from the test set alone
for other in ("shuffled", "SupCon"):
    for level, true, control in zip((coarse, fine), results["HMC"], results[other], strict=False):
        gap = true - control
        verdict = "is ahead of" if gap > noise else "is behind" if gap < -noise else "cannot be told from"
        print(f"{level:10} HMC with the true hierarchy {verdict} {other} ({gap:+.1f} points of kNN)")
print(f"Gaps below ±{noise:.1f} may come from the test set alone; a claim needs several seeds as well.")

# %% [markdown]
# ## 5. What was learned
#
# The mistakes of HMC, classes in the order of the hierarchy, superclasses framed.
#
# **Predict**: if wrong classes were drawn at random, what share of the mistakes would stay inside the frames? (The
# title says.)

# %%
hiercl.plot.confusion(hmc, test, train=train, title="HMC")

# %% [markdown]
# A **dendrogram** joins the most similar class centres first. Its purity asks whether the classes of a superclass are
# joined among themselves. In the pictures below lines lead to where the labels have each class: few crossings are good.
# Their titles say what chance would give.

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
# ## 6. Move it yourself
#
# Choose method and term, click anchors; set the level at which "the same" is meant. Watch the rate of false negatives:
# at which level is it zero for which method?

# %%
hiercl.explore.pairs({"SupCon": supcon, "HMC": hmc, "HMC, shuffled": shuffled}, train)

# %% [markdown]
# ## 7. After a longer training
#
# HMC trained on all 20 superclasses of CIFAR-100, 50,000 pictures; the same test pictures as above.

# %%
long = hiercl.pretrained("hmc")
print(long.card["budget"])
hiercl.plot.dendrogram(long, test, title="HMC, longer")

# %% [markdown]
# ## Summary
#
# * A hierarchy of labels gives every pair a level, and a method decides who is pulled at which.
# * Between siblings the levels disagree: one pulls, the other pushes. Weights balance them.
# * A maximum of losses moves gradients from one level to another. Look at where they arrive, and how often it acts.
# * A shuffled hierarchy is the control: what it gives as well was not due to the hierarchy.
#
# **To think about.** You have classes and superclasses, but half of the pictures have only the superclass. Which terms
# could they take part in?
