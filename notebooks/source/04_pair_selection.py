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
# # 04 · Which negatives may stay? Pair selection
#
# **After this notebook you can** say where HCSC's keep probability comes from. You can see which negatives HCSC
# removes and how often this is right. You can write your own selection rule, see its effect at once, and test it.
#
# Before: [03, prototype hierarchies](03_prototype_hierarchies.ipynb). After: [05, cross-sample and
# multi-level](05_cross_sample_multi_level.ipynb).

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import hiercl
from hiercl import PrototypeTree
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, EPOCHS = ("shapes", 10, 2) if FAST else ("cifar100", 60, 8)
PROTOTYPES = (5, 30) if FAST else (20, 100)  # coarse, fine: as many as superclasses and classes
SETTINGS = dict(prototypes=PROTOTYPES, epochs=EPOCHS, batch=256, monitor_every=0)

# %% [markdown]
# ## 1. From a tree to a probability
#
# [MoCo v2](02_pairs.ipynb) pushes everything in its queue. Some of these pictures are of the anchor's own kind. HCSC
# (Guo et al., CVPR 2022) has a [learned tree](03_prototype_hierarchies.ipynb). At every level $l$ it asks the tree:
# does the queue item $n_j$ belong to the anchor's prototype $c^l(x)$? The answer is a **posterior**. A random draw
# uses it to decide:
#
# $$\pi^l_j = \frac{e^{\langle n_j, c^l(x)\rangle/\phi^l_{c(x)}}}{\sum_i e^{\langle n_j, c^l_i\rangle/\phi^l_i}},
#   \qquad n_j \text{ is kept as a negative with the probability } 1 - \pi^l_j$$
#
# Each level $l$ has two loss terms. Level 0 is the coarsest.
#
# * *instance l* is MoCo v2's loss over the queue items that were kept.
# * *prototype l* pulls the anchor's own prototype and pushes the other prototypes of its level. A second draw selects
#   these other prototypes. It uses the posterior of the parent of the anchor's prototype, one level up. The coarsest
#   level keeps all prototypes.
#
# The right panel below shows the share of candidates that were kept. An audit gives each prototype the most frequent
# class of its members.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(5 if FAST else 10)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
hcsc = hiercl.fit("hcsc", train, callbacks=[hiercl.plot.live()], seed=0, progress=False, **SETTINGS)

# %% [markdown]
# This figure shows one anchor, one item of the queue, and the item's posterior over all prototypes of each level. The
# anchor's own prototype is orange. We chose the pair for which the coarse level is least certain.

# %%
step = hcsc.step(train, batch=256)
pairs = step.terms[0].pairs  # pairs of the term "instance 0"
doubt = (pairs.keep_probability - 0.5).abs().masked_fill(~(pairs.negative | pairs.removed), 1)
anchor, candidate = divmod(int(doubt.argmin()), doubt.shape[1])
key = hcsc.method.queue.keys[candidate - len(pairs.anchors)]  # the keys of the batch come before the queue
figure, axes = plt.subplots(1, 4, figsize=(10, 2.3), width_ratios=(1, 1, 2.5, 2.5), layout="constrained")
both = {"anchor": pairs.anchors.item[anchor], "queue item": pairs.candidates.item[candidate]}
for axis, (name, item) in zip(axes, both.items(), strict=False):
    axis.imshow(train.items[int(item)])
    axis.set(title=name, xticks=[], yticks=[], xlabel=train.hierarchy.leaf_names[train.labels[int(item)]])
for level, (axis, own) in enumerate(zip(axes[2:], hcsc.tree.path(int(both["anchor"])), strict=True)):
    posterior = hcsc.tree.posterior(key[None], level)[0]
    axis.bar(range(len(posterior)), posterior, color=["C1" if node == own else "C0" for node in range(len(posterior))])
    axis.set_title(f"{len(posterior)} prototypes: kept with {1 - posterior[own]:.2f}", size=10)
    axis.set(xlabel="prototype", ylabel="posterior" if level == 0 else "")

# %% [markdown]
# **Exercise.** Compute the keep probability of one queue item.


# %%
def keep(similarity, concentration, own):
    """Returns the keep probability. Cosines and φ are arrays [prototypes]; `own`: index of the anchor's prototype."""
    return ...


check("04 keep", keep)


# %% tags=["solution"]
def keep(similarity, concentration, own):
    """Returns the keep probability. Cosines and φ are arrays [prototypes]; `own`: index of the anchor's prototype."""
    weights = np.exp(similarity / concentration)
    return 1 - weights[own] / weights.sum()


check("04 keep", keep)

# %% [markdown]
# **Predict**: which level removes more candidates, the coarse level with few prototypes or the fine level with many?
#
# **Exercise.** A level has 20 prototypes. Each of them is the prototype of equally many anchors. Which share of the
# anchors removes a given queue item, on average? (Hint: what is the sum of a posterior over all prototypes?)

# %%
check("04 removed", ...)

# %% tags=["solution"]
# The posterior of an item sums to 1 over the prototypes. Each has a twentieth of the anchors.
check("04 removed", 1 / 20)

# %%
audit = hcsc.audit(train, batches=4)
rows = audit[audit["level"] == coarse].set_index("term")
for level, size in enumerate(PROTOTYPES):
    row = rows.loc[f"instance {level}"]
    removed = row["removed"] / (row["removed"] + row["pushed"])
    print(f"{size:3} prototypes: {100 * removed:4.1f} % are removed; 1 of {size} is {100 / size:4.1f} %.")

# %% [markdown]
# ## 2. Which candidates are removed?
#
# This is the [matrix of pairs](02_pairs.ipynb) of the coarse level. Dark cells are false negatives that are still
# pushed. A perfect selection would remove all of them and nothing else. White cells are left alone: keys of the
# batch, and old keys of the anchor's own picture.

# %%
hiercl.plot.pair_matrix(step, train, level=0)

# %% [markdown]
# This is the anchor from section 1. The number below a removed or pushed candidate is the probability that HCSC keeps
# it. A random draw decides. So a candidate with 0.9 may be removed, and a candidate with 0.3 may stay.

# %%
hiercl.plot.pairs(step, train, anchor=anchor, level=0, count=7)

# %% [markdown]
# ## 3. Is the selection right?
#
# HCSC has not seen the labels, so the labels can judge it. **Top**: the share of the pushed candidates that have the
# anchor's own class. The line marks this share without selection, or with a random selection. If a bar ends before
# the line, the selection helps. **Bottom**: the full dot is the removed share of the anchor's own class, the hollow
# dot is the removed share of the other classes.
#
# **Predict**: how far apart are the two dots?

# %%
hiercl.plot.audit(audit)

# %%
for level, size in enumerate(PROTOTYPES):
    row = rows.loc[f"instance {level}"]
    ratio = row["same_removed"] / row["other_removed"]
    print(f"{size:3} prototypes: the anchor's {coarse} is removed {ratio:.1f} times as often as others", end=" ")
    print(f"(1 is chance). {100 * row['wasted_removals']:.0f} % of the removed items have another {coarse}.")

# %% [markdown]
# Is the posterior calibrated? If it were the probability that both items have one class, then 80 % of the pairs with
# posterior 0.8 would have one class. The points below would lie on the diagonal (“to be believed”).


# %%
def posteriors(run, level, batch=512):
    """Returns, for all pairs that can be removed, the posterior and whether both items share a class of that level."""
    pairs = run.step(train, batch=batch).terms[level].pairs
    label = torch.as_tensor(train.labels_at(-level))  # level 0 is the coarsest, level -1 is the finest
    same = label[pairs.anchors.item][:, None] == label[pairs.candidates.item][None, :]
    asked = (pairs.negative | pairs.removed) & (pairs.candidates.item >= 0)
    return 1 - pairs.keep_probability[asked], same[asked]


# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
for level, (axis, name) in enumerate(zip(axes, (coarse, fine), strict=True)):
    posterior, same = posteriors(hcsc, level)
    bins = (10 * posterior).long().clamp(max=9)
    many = torch.bincount(bins, minlength=10)
    axis.plot([0, 1], [0, 1], ":", color="black", label="to be believed")
    axis.axhline(same.float().mean(), color="C1", label="all pairs")
    axis.plot(np.arange(0.05, 1, 0.1), torch.bincount(bins, same.float(), 10) / many, "o-", label="with this posterior")
    axis.set(xlabel=f"posterior, {PROTOTYPES[level]} prototypes", ylabel=f"share of the same {name}")
    print(f"{PROTOTYPES[level]} prototypes: {100 * many[0] / many.sum():.1f} % of the posteriors are below 0.1.")
axes[0].legend()
figure.tight_layout()

# %% [markdown]
# ## 4. Our version and the official code
#
# We did not have the text of the paper. We read our equations from its official code. Our version differs from this
# code in some places. `official=True` sets all differences that change the loss. Three of them:
#
# * `removed="zeroed"`: the official code sets the logit of a removed negative to 0. So the negative still adds $e^0 =
#   1$ to the denominator. Our version takes it out of the denominator.
# * `reduce="sum"`: the official code sums the instance terms over the levels and averages the prototype terms.
# * `scale="official"`: the weights of the terms stay as `reduce` leaves them. Our weights sum to 1, so that a
#   comparison of two methods is not a comparison of two learning rates. (A common factor hardly changes AdamW's
#   steps. The balance of the terms does change them.)
#
# Two more rules matter where prototypes are few: the official code uses a prototype as a negative for no anchor if any
# anchor of the batch belongs to it, and it pushes old keys of the anchor's own picture. The cell below leaves them out.

# %%
official = hcsc.changed(removed="zeroed", reduce="sum", scale="official")
for name, run in {"ours": hcsc, "official": official}.items():
    found = run.step(train, batch=256)
    weights = ", ".join(f"{term.name}: {term.weight:.2f}" for term in found.terms)
    print(f"{name:8} loss {float(found.loss):5.2f}; weights {weights}")

# %% [markdown]
# **Predict**: at a low temperature, does a removed negative that still adds 1 have a large effect?

# %%
for term in step.terms[: len(PROTOTYPES)]:
    weight, removed = term.logits.exp(), term.pairs.removed
    others = (weight * (term.pairs.negative | (term.pairs.positive > 0))).sum(dim=1)
    held = {"not removed": (weight * removed).sum(dim=1), "zeroed": removed.sum(dim=1), "excluded": 0 * others}
    share = {name: 100 * float((sum_ / (others + sum_)).mean()) for name, sum_ in held.items()}
    words = ", ".join(f"{name} {value:.1f} %" for name, value in share.items())
    print(f"{term.name}: share of the removed negatives in the denominator: {words}")

# %% [markdown]
# ## 5. Your own rule
#
# `select=` takes a function from posterior to keep probability. HCSC's function is $1-\pi$. Write your own.


# %%
def mine(posterior):
    """Returns keep probabilities for a tensor of posteriors, in the same shape. This rule removes more than HCSC's."""
    return 1 - posterior.sqrt()


rules = {"HCSC": lambda p: 1 - p, "shy": lambda p: 1 - p**2, "mine": mine}

# %% [markdown]
# What would a rule do? The left panel shows the rules. The right panel shows how much of the anchor's own class each
# rule removes, and how much of the other classes. The grey curve shows all rules that remove everything above a
# threshold. It starts with the highest threshold. The diagonal is random removal.
#
# **Predict**: can a rule lie above the grey curve?


# %%
def removes(rule, posterior, same):
    """Returns the shares of the other classes and of the same class that a rule removes, as means over draws (%)."""
    return [100 * float((1 - rule(posterior[of]).float()).mean()) for of in (~same, same)]


def thresholds(posterior, same):
    """Returns the same two shares for every threshold, the highest first, as two arrays."""
    same = same[posterior.argsort(descending=True)]
    return [100 * (of.cumsum(dim=0) / of.sum())[:: max(1, len(of) // 500)] for of in (~same, same)]


# %%
posterior, same = posteriors(hcsc, level=0)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[1].plot(*thresholds(posterior, same), color="grey", zorder=1)
axes[1].plot([0, 100], [0, 100], ":", color="black", zorder=1)
for name, rule in rules.items():
    axes[0].plot(torch.linspace(0, 1, 201), 1.0 * rule(torch.linspace(0, 1, 201)), label=name)
    axes[1].scatter(*removes(rule, posterior, same), label=name, zorder=2)
axes[0].set(xlabel="posterior", ylabel="keep probability")
axes[1].set(xlabel="removed of the others (%)", ylabel=f"removed of the same {coarse} (%)")
axes[0].legend()
figure.tight_layout()

# %% [markdown]
# A rule reads only the posterior. Suppose its keep probability falls when the posterior rises. Then the rule is a
# mixture of thresholds, and its dot is an average of points of the curve. So it cannot lie above the curve if the
# curve is concave. A rule decides *how much* is removed. The tree, and so the embedding, decides *how well* the
# anchor's own class is separated from the others.
#
# `run.changed(select=...)` puts a rule into the trained run. Weights, queue and tree stay the same. Nothing is
# trained. So the audit says what the rule would do now. It does not say what a training with this rule would learn.

# %%
audits = {name: hcsc.changed(select=rule).audit(train, batches=4) for name, rule in rules.items() if name != "shy"}
hiercl.plot.audit(audits)

# %% [markdown]
# **Exercise.** Write a rule with three properties. It keeps everything with posterior 0. It always removes everything
# with a posterior above one half. It never keeps more at a higher posterior. Then call it `mine`, and run the cells
# of this section again.


# %%
def sure(posterior):
    """Returns the keep probability of every posterior."""
    return ...


check("04 rule", sure)


# %% tags=["solution"]
def sure(posterior):
    """Returns the keep probability of every posterior."""
    return (posterior <= 0.5) * (1 - posterior)


check("04 rule", sure)

# %% [markdown]
# ## 6. Try it yourself
#
# Choose an anchor and a term. Choose a rule that replaces the trained one. Choose the level at which two items count
# as the same.

# %%
hiercl.explore.pairs({"HCSC": hcsc}, train, rules={"mine": mine})

# %% [markdown]
# ## 7. Does it help?
#
# We want a good embedding. To remove the right negatives is only a means, and only a training can show its effect. We
# train three variants: without selection, with HCSC's rule, and with your rule. Each training uses half of the
# pictures, and each variant has two seeds. A `Study` keeps its runs in a folder. If you stop it and start it again,
# it continues. Here the folder is temporary. In the figure, hollow dots have no verdict, and grey dots are single
# seeds. The bars in the lower right panel are standard deviations over seeds.
#
# **Predict**: how much do the variants differ, and how much does this difference change from one seed to the other?

# %%
part = train.per_class(PER_CLASS // 2)
variants = {"no selection": {"select": "none"}, "HCSC": {"select": "both"}, "mine": {"select": mine}}
asked = dict(base={"method": "hcsc", **SETTINGS}, vary=variants, out=tempfile.mkdtemp(), metrics=("knn", "linear"))
study = hiercl.Study(seeds=2, name="rule", **asked)
study.run(part, test, progress=False)
study.plot("knn")

# %%
found = study.summary("knn")
table = study.table()
for row in found[found["variant"] != "no selection"].itertuples():
    single = table.pivot(index="seed", columns="variant", values=f"knn {row.level}")
    each = ", ".join(f"{value:+.1f}" for value in single[row.variant] - single["no selection"])
    print(f"{row.variant:5} kNN {row.level:10}: {row.difference:+.1f} points ({each}): {row.verdict}")
error = 100 * (0.25 / len(test)) ** 0.5
print(f"The {len(test)} test pictures alone give a standard error of up to {error:.1f} points.")

# %% [markdown]
# The summary gives no verdict with fewer than five seeds. With a few differences, neither the spread nor the interval
# is reliable, even if all differences have the same sign. What would five seeds cost? The runs that are done already
# count.

# %%
five = hiercl.Study(seeds=5, name="rule", **asked).of(part, test).run(dry=True)

# %% [markdown]
# ## 8. With a better embedding
#
# This figure shows the grey curve again, for the short training above and for HCSC after 20 epochs on all 50,000
# training pictures of CIFAR-100. Both use the same items and the same k-means. Each uses its own embeddings. Every
# twentieth item is an anchor. Take one pair with the same class and one pair with different classes. The area under
# the curve (AUC) is the probability that the first pair has the higher posterior. Chance is 0.5.
#
# **Predict**: which curve is farther from the diagonal?

# %%
long, auc = hiercl.pretrained("hcsc"), {}
label, item = torch.as_tensor(train.labels_at(0)), torch.arange(len(train))
axis = plt.figure(figsize=(4.5, 3.5)).add_subplot(xlabel="removed of the others (%)", ylabel="removed of the same (%)")
for name, (model, head) in {"short": (hcsc, hcsc.method.head), "long": (long, long.head)}.items():
    with torch.no_grad():
        z = torch.nn.functional.normalize(head(hiercl.embed(model, train)), dim=1)
    tree = PrototypeTree.fit(z, PROTOTYPES, temperature=hcsc.method.config.temperature)
    two = item[:, None] != item[None, ::20]
    posterior, same = tree.posterior(z, 0)[:, tree.assignment[::20, 0]][two], (label[:, None] == label[::20])[two]
    auc[name] = roc_auc_score(same, posterior)
    axis.plot(*thresholds(posterior, same), label=f"{name} training, AUC {auc[name]:.3f}")
axis.plot([0, 100], [0, 100], ":", color="black")
axis.legend()
print(f"The {max(auc, key=auc.get)} training separates the same {coarse} better from the others.")

# %% [markdown]
# ## Summary
#
# * At every level, the keep probability is one minus the posterior of the anchor's prototype.
# * With $M$ prototypes, about one candidate in $M$ is removed, whatever the tree knows. The tree's knowledge decides
#   *which* candidates are removed.
# * A rule decides how much is removed. The embedding decides how well the anchor's own class is separated from the
#   others.
# * You see at once what a rule would do. Whether it helps is a question for trainings with at least five seeds.
#
# **To think about.** A removed false negative is no longer pushed, but it is not pulled either. Would you pull it?
# What would go wrong if the posterior is wrong? [The next notebook](05_cross_sample_multi_level.ipynb) pulls.

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included. Hard for them: a removed pair is neither pulled
# nor pushed; the posterior is over prototypes, not over classes.
#
# Typical mistakes:
#
# * "HCSC removes the false negatives." It removes a random share that depends on the posterior.
# * "More removal helps more." The random control removes as much.
#
# **To think about**, how to mark it. Two points. Pulling gains more if the posterior is right (1). If it is wrong, it
# draws classes together, which nothing undoes (1).
