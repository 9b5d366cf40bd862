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
# # 03 · Which negatives may stay? Pair selection
#
# **You will be able to** say where HCSC's keep probability comes from, see which negatives were removed and whether
# rightly, write a selection rule of your own and see at once what it would do, and put it to the test.
#
# About two minutes of computing on two CPU cores. Before: [02, prototype
# hierarchies](02_prototype_hierarchies.ipynb). After: [04, cross-sample and
# multi-level](04_cross_sample_multi_level.ipynb).

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import hiercl
from hiercl.clustering.prototypes import PrototypeTree
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 10, 2) if FAST else ("cifar100", 60, 8)
PROTOTYPES = (5, 30) if FAST else (20, 100)  # coarse, fine: as many as there are classes
SETTINGS = dict(prototypes=PROTOTYPES, epochs=EPOCHS, batch=256, monitor_every=0)

# %% [markdown]
# ## 1. From a tree to a probability
#
# [MoCo v2](01_pairs.ipynb) pushes everything in its queue, pictures of the anchor's own kind among it. HCSC has a
# [learned tree](02_prototype_hierarchies.ipynb) and asks it, at every level $l$: does the queue item $n_j$ belong to
# the anchor's prototype $c^l(x)$? The answer is a **posterior**, and with it a coin is tossed:
#
# $$\pi^l_j = \frac{e^{\langle n_j, c^l(x)\rangle/\phi^l_{c(x)}}}{\sum_i e^{\langle n_j, c^l_i\rangle/\phi^l_i}},
#   \qquad n_j \text{ is kept as a negative with the probability } 1 - \pi^l_j$$
#
# Each level $l$ (0 is the coarsest) has two loss terms. *instance l* is MoCo's, over the queue items that were kept. In
# *prototype l* the anchor's own prototype is pulled and the others of its level are pushed, after a like draw with the
# posterior of its parent one level up (at the coarsest level all are kept). At the right: how many were kept. In an
# audit a prototype counts as the class most frequent in it.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(5 if FAST else 10)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
hcsc = hiercl.fit("hcsc", train, callbacks=[hiercl.plot.live()], seed=0, progress=False, **SETTINGS)

# %% [markdown]
# One anchor, one item of the queue, and the item's posterior over all prototypes of either level. The anchor's own
# prototype is orange. (Of all pairs, this is the one where the coarse level is most in doubt.)

# %%
step = hcsc.step(train, batch=256)
pairs = step.terms[0].pairs  # of the term "instance 0"
doubt = (pairs.keep_probability - 0.5).abs().masked_fill(~(pairs.negative | pairs.removed), 1)
anchor, candidate = divmod(int(doubt.argmin()), doubt.shape[1])
key = hcsc.method.queue.keys[candidate - len(pairs.anchors)]  # before the queue come the keys of the batch
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
# **Exercise.** Compute the keep probability of one queue item yourself.


# %%
def keep(similarity, concentration, own):
    """Keep probability; numpy arrays [prototypes] of cosines and φ; `own`: the number of the anchor's prototype."""
    return ...


check("03 keep", keep)

# %% [markdown]
# **Predict**: at which level are more candidates removed, at the coarse one with few prototypes or at the fine one
# with many?
#
# **Exercise.** A level has 20 prototypes, and each has equally many of the anchors. Which share of the anchors removes
# a given queue item, on average? (Hint: what does a posterior sum to?)

# %%
check("03 removed", ...)

# %%
audit = hcsc.audit(train, batches=4)
rows = audit[audit["level"] == coarse].set_index("term")
for level, size in enumerate(PROTOTYPES):
    row = rows.loc[f"instance {level}"]
    removed = row["removed"] / (row["removed"] + row["pushed"])
    print(f"{size:3} prototypes: {100 * removed:4.1f} % are removed; 1 of {size} is {100 / size:4.1f} %.")

# %% [markdown]
# ## 2. Which ones?
#
# The [matrix of pairs](01_pairs.ipynb) of the coarse level. Dark: false negatives that are still pushed. A selection
# that knew everything would leave none, and would remove nothing else. (White: keys of the batch, and old keys of the
# anchor's own picture, are left alone.)

# %%
hiercl.plot.pair_matrix(step, train, level=0)

# %% [markdown]
# The anchor from above. Under what was removed or pushed stands the probability with which it is kept. A draw decides,
# so something with 0.9 may be gone, and something with 0.3 may be there.

# %%
hiercl.plot.pairs(step, train, anchor=anchor, level=0, count=7)

# %% [markdown]
# ## 3. Rightly?
#
# Labels, which HCSC has not seen, tell. **Above**: the share of what is pushed that is of the anchor's own class. The
# line is without selection, or with one by chance: a bar that ends before it is a selection that helps. **Below**: how
# much of the same class was removed (full dot), and how much of the others (hollow dot).
#
# **Predict**: how far apart are the two dots?

# %%
hiercl.plot.audit(audit)

# %%
for level, size in enumerate(PROTOTYPES):
    row = rows.loc[f"instance {level}"]
    ratio = row["same_removed"] / row["other_removed"]
    print(
        f"{size:3} prototypes: the own {coarse} is removed {ratio:.1f} times as often as others (1 is chance);", end=" "
    )
    print(f"{100 * row['wasted_removals']:.0f} % of the removed are of another {coarse}.")

# %% [markdown]
# Is the posterior to be believed? If it were the probability that the two are of one class, then of all pairs with the
# posterior 0.8 a share of 0.8 would be, and the dots below would lie on the diagonal.


# %%
def posteriors(run, level, batch=512):
    """Of every pair that is open to selection: its posterior, and whether both are of one class of that level."""
    pairs = run.step(train, batch=batch).terms[level].pairs
    label = torch.as_tensor(train.labels_at(-level))  # 0 is the coarsest level, −1 the finest
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
# ## 4. Ours and the official code
#
# The paper's text was not at hand: our equations are read from its official code, and in some places ours does
# something else. Some of these differences are switches:
#
# * `removed="zeroed"`: in the official code the logit of a removed negative becomes 0, so that it still adds $e^0 = 1$
# to the denominator. Ours takes it out.
# * `reduce="sum"`: the official code sums the instance terms over levels, and averages the prototype terms.
# * `scale="official"`: the weights of the terms stay as `reduce` leaves them. Ours sum to 1, so that two methods are
# not compared at two learning rates. (AdamW hardly minds a common factor; it does mind the balance of the terms.)

# %%
official = hcsc.changed(removed="zeroed", reduce="sum", scale="official")
for name, run in {"ours": hcsc, "official": official}.items():
    found = run.step(train, batch=256)
    weights = ", ".join(f"{term.name}: {term.weight:.2f}" for term in found.terms)
    print(f"{name:8} loss {float(found.loss):5.2f}; weights {weights}")

# %% [markdown]
# **Predict**: at a low temperature, does a removed negative that still adds 1 count for much?

# %%
for term in step.terms[: len(PROTOTYPES)]:
    weight, removed = term.logits.exp(), term.pairs.removed
    others = (weight * (term.pairs.negative | (term.pairs.positive > 0))).sum(dim=1)
    held = {"had they stayed": (weight * removed).sum(dim=1), "zeroed": removed.sum(dim=1), "excluded": 0 * others}
    share = {name: 100 * float((sum_ / (others + sum_)).mean()) for name, sum_ in held.items()}
    words = ", ".join(f"{name} {value:.1f} %" for name, value in share.items())
    print(f"{term.name}: share of the removed in the denominator, {words}")

# %% [markdown]
# ## 5. A rule of your own
#
# `select=` takes a function from posterior to keep probability. Write one; HCSC's is $1-\pi$.


# %%
def mine(posterior):
    """Keep probability of every posterior; a tensor of the same shape. This one removes more boldly."""
    return 1 - posterior.sqrt()


rules = {"HCSC": lambda p: 1 - p, "shy": lambda p: 1 - p**2, "mine": mine}

# %% [markdown]
# What would it do? Left: the rules. Right: how much of the same class they remove, and how much of the others. The
# grey curve belongs to the rules that remove everything above a threshold, from the highest to the lowest. The
# diagonal is removing by chance.
#
# **Predict**: can a rule lie above the grey curve?


# %%
def removes(rule, posterior, same):
    """Share of the other classes and of the same class that a rule removes, on average over draws (%)."""
    return [100 * float((1 - rule(posterior[of]).float()).mean()) for of in (~same, same)]


def thresholds(posterior, same):
    """The same two shares for every threshold, the highest first: two arrays."""
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
# A rule reads the posterior alone. If it falls with the posterior, it is a mixture of thresholds, and its dot an
# average of points of the curve: nowhere above it, as long as the curve bends to the right only. So a rule chooses
# *how much* to remove; *how well* the same and the others are told apart is settled by the tree, that is, by the
# embedding.
#
# `run.changed(select=...)` puts a rule into the trained run: the same weights, queue and tree. Nothing is trained, so
# this says what the rule would do now, not what would be learned with it.

# %%
audits = {name: hcsc.changed(select=rule).audit(train, batches=4) for name, rule in rules.items() if name != "shy"}
hiercl.plot.audit(audits)

# %% [markdown]
# **Exercise.** Write a rule that keeps everything with the posterior 0, removes everything above one half for certain,
# and never keeps more where the posterior is higher. Then make it `mine`, and run the cells of this section again.


# %%
def sure(posterior):
    """Keep probability of every posterior."""
    return ...


check("03 rule", sure)

# %% [markdown]
# ## 6. Move it yourself
#
# Choose an anchor, a term, a rule in place of the trained one, and the level at which "the same" is meant.

# %%
hiercl.explore.pairs({"HCSC": hcsc}, train, rules={"mine": mine})

# %% [markdown]
# ## 7. Does it help?
#
# Removing the right negatives is a means. The end is an embedding, and that takes training: without selection, with
# HCSC's, with yours, on half of the pictures, with two seeds each. (A `Study` keeps its runs in a folder; stopped and
# run again it goes on. Here the folder is a temporary one.) Hollow dots are without a verdict; grey dots are single
# seeds; the bars below are standard deviations over seeds.
#
# **Predict**: how large is the difference of the variants, and how much does it change from one seed to the other?

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
print(f"And {len(test)} test pictures alone have a standard error of up to {error:.1f} points.")

# %% [markdown]
# The summary gives no verdict below five seeds: of a few differences neither spread nor interval can be trusted, even
# if all have the same sign. What would five take? The runs that are there count.

# %%
five = hiercl.Study(seeds=5, name="rule", **asked).of(part, test).run(dry=True)

# %% [markdown]
# ## 8. With a better embedding
#
# The grey curve again, for this short training and for HCSC after 20 epochs on all 50,000 pictures: the same items,
# the same k-means, each encoder's own embeddings; every twentieth item is an anchor. The area under the curve (AUC) is
# the probability that a pair of one class has a higher posterior than a pair of two: 0.5 is chance.
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
print(f"The {max(auc, key=auc.get)} training tells the same {coarse} better from the others.")

# %% [markdown]
# ## Summary
#
# * The keep probability is one minus the posterior of the anchor's prototype, for every level.
# * With $M$ prototypes about one in $M$ is removed, whatever the tree knows. What the tree knows shows in *who*.
# * A rule chooses how much is removed; the embedding settles how well the same and the others are told apart.
# * What a rule would do is seen at once. Whether it helps takes trainings, and at least five seeds.
#
# **To think about.** A false negative that is removed is no longer pushed, but it is not pulled either. Would you pull
# it? What would go wrong where the posterior is mistaken? [The next notebook](04_cross_sample_multi_level.ipynb) does.
