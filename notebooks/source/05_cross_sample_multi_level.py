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
# # 05 · Neighbours, mixtures, stages: CsMl
#
# **After this notebook you can** judge how good neighbours are as positives. You can say where CutMix cuts a picture
# and how much each part counts. You can read a loss with two positives. You can find out what every stage of an
# encoder has learned.
#
# Before: [02, pairs](02_pairs.ipynb). After: [06, label hierarchies](06_label_hierarchies.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.clustering import nearest_neighbours
from hiercl.datasets import Feed, embed_with
from hiercl.exercises import check
from hiercl.metrics import knn_predict
from hiercl.views import mixing

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}
FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS, EPOCHS = ("shapes", 15, 2) if FAST else ("cifar100", 60, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, progress=False)

# %% [markdown]
# ## 1. A neighbour is a guess
#
# SimCLR and MoCo v2 pull one positive towards an anchor: another view of the same picture. CsMl (“Seed the Views”, Xu
# et al., 2020, arXiv 2012.02733) also wants positives of *other* pictures, but it has no labels. So it guesses: it
# assumes that the pictures nearest to the anchor in the encoder's features are of the same kind.
#
# **Predict**: the encoder below is untrained. How many of its neighbours have the same class? Is this more than
# chance?

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(25)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
print(train)
untrained = hiercl.fit("moco", train, epochs=0, seed=0, progress=False)
few = np.linspace(0, len(train) - 1, 5).astype(int)[1:4]
hiercl.plot.neighbours(untrained, train, items=few, count=7, title="Untrained")

# %% [markdown]
# Green frames mark right guesses. The line above the pictures gives the share of each kind of frame among the
# neighbours of many pictures. The number in brackets is the same share among random pairs.
#
# **Exercise.** Write this share as a function. It is the **purity** of the neighbours.


# %%
def purity(neighbours, labels):
    """Returns the share of all neighbours that have their item's class. `neighbours` [n, k] are indices of items."""
    return ...


check("05 purity", purity)


# %% tags=["solution"]
def purity(neighbours, labels):
    """Returns the share of all neighbours that have their item's class. `neighbours` [n, k] are indices of items."""
    return (labels[neighbours] == labels[:, None]).mean()


check("05 purity", purity)

# %% [markdown]
# ## 2. A mixture of two pictures
#
# CsMl also makes pictures *between* the anchor and its neighbour. **CutMix** pastes a box of the neighbour into the
# anchor. It draws a share $\lambda \sim \text{Beta}(2, 2)$. The sides of the box are $\sqrt{1-\lambda}$ times the
# sides of the picture. The box has a random centre and is clipped at the border. Then CutMix computes $\lambda$
# again:
#
# $$\lambda = 1 - \frac{\text{pixels in the box}}{\text{all pixels}}$$
#
# Now $\lambda$ is exactly the anchor's share of the mixture. Below, every column has its own box and its own
# $\lambda$. In training, all pictures of a batch have the same box.


# %%
def draw(axes, item, other, numbers, alpha=2):
    """Draws the anchor, the neighbour and their mixture, one below the other."""
    first, second = pictures[item], pictures[other]
    box, share = mixing.cut_box(torch.as_tensor(numbers, dtype=torch.float32), *first.shape[1:], alpha)
    for axis, picture in zip(axes, (first, second, mixing.cutmix(first[None], second[None], box)[0]), strict=True):
        axis.imshow(picture.permute(1, 2, 0))
        axis.axis("off")
    top, bottom, left, right = box.tolist()
    frame = dict(fill=False, edgecolor="#D55E00", linewidth=2)
    axes[-1].add_patch(plt.Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame))
    axes[-1].set_title(f"λ = {float(share):.2f}", size=9)


# %%
pictures = torch.from_numpy(np.array(train.items)).permute(0, 3, 1, 2).float() / 255
nearest = nearest_neighbours(hiercl.embed(untrained, train), k=5)
shown = np.linspace(0, len(train) - 1, 6).astype(int)
figure, axes = plt.subplots(3, len(shown), figsize=(8, 4.2), layout="constrained")
random = torch.Generator().manual_seed(1)
for column, item in enumerate(shown):
    draw(axes[:, column], item, int(nearest[item, 0]), torch.rand(5, generator=random))
for axis, name in zip(axes[:, 0], ("anchor", "neighbour", "mixture"), strict=True):
    axis.text(-0.1, 0.5, name, transform=axis.transAxes, rotation=90, ha="right", va="center")

# %% [markdown]
# Move the box yourself. **Predict**: you push the box into a corner. Does $\lambda$ rise or fall? (This needs a
# running kernel.)


# %%
def mixture(share=0.5, row=0.5, column=0.5):
    """Draws one mixture. `share` is λ before clipping; `row` and `column` are the centre of the box, 0 to 1."""
    _, axes = plt.subplots(1, 3, figsize=(6, 2.3))
    draw(axes, shown[2], int(nearest[shown[2], 0]), [share, row, column], alpha=1)
    plt.show()


try:
    from ipywidgets import interact

    interact(mixture, share=(0.0, 0.95, 0.05), row=(0.0, 0.95, 0.05), column=(0.0, 0.95, 0.05))
except ImportError:
    mixture()

# %% [markdown]
# **Exercise.** Pictures have 24 × 24 pixels, and λ = 0.5 was drawn. The box has sides of 16 pixels and its centre at
# row 12, column 22. So it is clipped at the right border. Which λ must the loss use? You may write a fraction, such
# as `1 - 3 / 4`.

# %%
check("05 lambda", ...)

# %% tags=["solution"]
# The box covers rows 4 to 19 and columns 14 to 23: 16 × 10 of the 24 × 24 pixels.
check("05 lambda", 1 - 16 * 10 / 24**2)

# %% [markdown]
# ## 3. The loss: two positives, each with a weight
#
# CsMl is MoCo v2 with three queries and two keys. The queries are the anchor's view $q$, the neighbour's view $\tilde
# q$ and the mixture $\hat q$. The keys are the anchor's $k$ and the neighbour's $\tilde k$. Let $\ell(u, v)$ be MoCo
# v2's loss of a query $u$ with the positive $v$ and the queue as negatives. Then
#
# $$\mathcal L = \tfrac13\Big[w_s\,\ell(q,k) + w_o\,\ell(q,\tilde k) + w_s\,\ell(\tilde q,\tilde k) +
#   w_o\,\ell(\tilde q,k) + \lambda\,\ell(\hat q,k) + (1-\lambda)\,\ell(\hat q,\tilde k)\Big]$$
#
# with $w_s = w_o = \tfrac12$. Early neighbours are poor, so training starts with $w_s = 1$, $w_o = 0$. The two
# positives never compete, because each has its own softmax. The anchor's key pulls the mixture with weight λ, and the
# neighbour's key pulls it with weight 1 − λ.
#
# **Exercise.** Write the loss of one mixed query.


# %%
def mixed_loss(anchor, neighbour, queue, share, temperature):
    """Returns the loss in nats. Inputs: cosines with the anchor's key, the neighbour's key, the queue (array); λ."""
    return ...


check("05 mixed", mixed_loss)


# %% tags=["solution"]
def mixed_loss(anchor, neighbour, queue, share, temperature):
    """Returns the loss in nats. Inputs: cosines with the anchor's key, the neighbour's key, the queue (array); λ."""
    pushed = np.exp(queue / temperature).sum()
    both = np.array([anchor, neighbour]) / temperature
    first, second = np.log(np.exp(both) + pushed) - both
    return share * first + (1 - share) * second


check("05 mixed", mixed_loss)

# %% [markdown]
# We train CsMl, and MoCo v2 for comparison. CsMl searches its neighbours again before every epoch.
#
# **Predict**: do its neighbours become purer during the training?

# %%
csml = hiercl.fit("csml", train, monitor_every=1, callbacks=[hiercl.plot.live()], **SETTINGS)

# %%
moco = hiercl.fit("moco", train, monitor_every=0, **SETTINGS)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for level, colour in ((0, "#0072B2"), (-1, "#D55E00")):
    name, counts = train.hierarchy.level_names[level], train.counts(level)
    found = csml.history[f"neighbours {name}"]
    chance = 100 * (counts * (counts - 1)).sum() / (len(train) * (len(train) - 1))
    axis.plot(csml.history["epoch"] + 1, found, "o-", color=colour, label=f"same {name}")
    axis.axhline(chance, color=colour, linestyle=":", label="by chance")
    went = "purer" if found.iloc[-1] > found.iloc[0] else "no purer"
    print(f"{name}: {found.iloc[0]:.1f} % at first, {found.iloc[-1]:.1f} % at last: {went}. Chance is {chance:.1f} %.")
axis.set(
    xlabel="epoch in which they serve", ylabel="of the neighbours (%)", ylim=(0, None), xticks=range(1, EPOCHS + 1)
)
axis.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.3))
plt.show()

# %% [markdown]
# The neighbours of the first epoch come from the untrained encoder. If the share is below one half, a neighbour is
# wrong more often than right. CsMl pulls it anyway. A wrong neighbour still *looks* similar, and it may be right at a
# coarser level. These are the same three pictures as above:

# %%
hiercl.plot.neighbours(csml, train, items=few, count=7, title="CsMl, after training")

# %% [markdown]
# ## 4. Which candidates are pulled?
#
# This is one step, in the term of the anchor's own query. We chose an anchor whose neighbour has another class.

# %%
step = csml.step(train, batch=256)
keys = step.terms[0].pairs.candidates.item[:512]  # keys of the anchors, then of their neighbours; the queue follows
own, other = keys.view(2, -1)
label = torch.as_tensor(train.labels)
wrong = label[own] != label[other]
print(f"{100 * wrong.float().mean():.0f} % of the drawn neighbours have another {fine}.")
hiercl.plot.pairs(step, train, anchor=int(wrong.int().argmax()), term="anchor", level=-1, count=7)

# %% [markdown]
# Two candidates are *pulled*: the anchor's own key and the neighbour's key. The queue is *pushed*. The other keys of
# the batch and the **old keys** of the two pulled pictures are *left alone*. Otherwise the loss would pull and push
# the old keys at once.

# %%
queue = csml.method.queue.items
there = torch.isin(other, queue).float().mean()
print(f"There are {len(train):,} pictures. The queue holds {len(queue):,} keys. {100 * there:.0f} % of the neighbours")
print("have an old key in it. The official code pushes these keys. Here they are left alone (mask_neighbours).")

# %% [markdown]
# This is the same for many anchors of four superclasses. The columns are keys of the batch, those of the neighbours
# included, and some keys of the queue (stripes).
#
# **Predict**: where are the two green cells of a row? Which of them can lie off the diagonal?


# %%
def some(term, count):
    """Returns a term with its first candidates only: keys of anchors, keys of neighbours, and some of the queue."""
    whole, kept = term.pairs, slice(count)
    few = hiercl.pairs.Members(whole.candidates.kind[kept], whole.candidates.item[kept])
    part = replace(whole, candidates=few, negative=whole.negative[:, kept], removed=whole.removed[:, kept])
    return replace(term, logits=term.logits[:, kept], pairs=part)


items = np.flatnonzero(train.labels_at(0) < 4)  # items of four superclasses
small = csml.step(train, items=items[:: max(1, len(items) // 40)])
small = replace(small, terms=(some(small.terms[0], 120),))
hiercl.plot.pair_matrix(small, train, level=0, candidates=120)

# %% [markdown]
# ## 5. Does the encoder see the mixture?
#
# We paste a larger and larger part of the neighbour into the anchor. The box is in the middle and grows from nothing
# to the whole picture. How similar is the embedding to the anchor's, and how similar is it to the neighbour's?
#
# **Predict**: where do the two lines cross for CsMl? Where do they cross for MoCo v2, which never saw a mixture?


# %%
def cosines(run, first, second, shares):
    """Returns λ in whole pixels, and mean cosines of mixtures with anchor and neighbour, ``[shares, 2]``."""
    with torch.no_grad():
        ends = [run.method.project(whole) for whole in (first, second)]
        cuts = [mixing.cut_box(torch.tensor([share, 0.5, 0.5]), *first.shape[2:], alpha=1) for share in shares]
        mixtures = [run.method.project(mixing.cutmix(first, second, box)) for box, _ in cuts]
    found = np.array([[float((z * end).sum(dim=1).mean()) for end in ends] for z in mixtures])
    return np.array([float(kept) for _, kept in cuts]), found


# %%
items = torch.arange(0, len(train), max(1, len(train) // 200))
shares = np.linspace(0, 1, 9)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, (name, run) in zip(axes, {"MoCo v2": moco, "CsMl": csml}.items(), strict=True):
    kept, found = cosines(run, pictures[items], pictures[csml.method.neighbours[items, 0]], shares)
    axis.plot(kept, found, "o-", label=["with the anchor", "with the neighbour"])
    axis.set(title=name, xlabel="λ, the anchor's share", ylabel="cosine")
    print(f"{name}: the lines cross near λ = {np.interp(0, found[:, 0] - found[:, 1], kept):.2f}")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## 6. Stages
#
# An encoder is a chain of stages. Early stages see small details, late stages see whole objects. CsMl's second idea
# is to give the same loss to **intermediate stages** too. The abstract of the paper does not say how, and its
# official code does not contain this part. So this is **our instantiation**. The map of a stage goes through its own
# residual block, a pooling and its own head. Every stage has its own queue. All stages share one list of neighbours.
# The last stage has the weight 1, and the stage before it has the weight ½. Then the weights are divided by their
# sum.

# %%
for stage, weight in csml.method.weights().items():
    print(f"stage {stage}: weight {weight:.2f}")
for term in step.terms:
    print(f"{term.name:20} weight {term.weight:.3f}, loss {float(term.loss):.2f}")

# %% [markdown]
# What does each stage know? We average the maps of every stage over all places. Then the nearest training pictures
# vote. The third training is CsMl with the loss only at the last stage.
#
# **Predict**: which stage gains most from its own loss? Does the last stage gain or lose?

# %%
one = hiercl.fit("csml", train, stages=(3,), monitor_every=0, **SETTINGS)


# %%
def stage_features(run, dataset):
    """Returns the features of every stage, shallow to deep."""
    pool, stages = run.encoder.pool, run.encoder.stages
    together = embed_with(lambda x: torch.cat([pool(places) for places in stages(x)], dim=1), Feed(dataset, "cpu"))
    return together.split(run.encoder.stage_widths, dim=1)


# %%
def stage_knn(run):
    """Returns the kNN accuracy in per cent, ``[levels, stages]``."""
    both = list(zip(stage_features(run, train), stage_features(run, test), strict=True))
    result = np.empty((2, len(both)))
    for row, level in enumerate((0, -1)):
        bank, truth = (torch.as_tensor(data.labels_at(level)) for data in (train, test))
        for stage, (known, asked) in enumerate(both):
            votes = knn_predict(known, bank, asked)
            result[row, stage] = 100 * (votes == truth).float().mean()
    return result


# %%
runs = {"untrained": untrained, "MoCo v2": moco, "CsMl, last stage": one, "CsMl, stages 2 and 3": csml}
accuracy = {name: stage_knn(run) for name, run in runs.items()}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, marker in zip(runs, "ov^s", strict=True):
    for axis, values, level in zip(axes, accuracy[name], (coarse, fine), strict=True):
        axis.plot(values, marker=marker, label=name)
        axis.set(title=f"kNN, {level} (%)", xlabel="stage, shallow to deep", xticks=range(len(values)))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
plt.show()

# %%
noise = 100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5  # largest margin (95 %) of a difference, from the test set alone
change = np.round(accuracy["CsMl, stages 2 and 3"] - accuracy["CsMl, last stage"], 1) + 0.0
for level, (*_, before, last), values in zip((coarse, fine), change, accuracy["CsMl, last stage"], strict=True):
    print(f"{level}: a loss at stage 2 changes stage 2 by {before:+.1f} points and the last stage by {last:+.1f}.")
    verb = "knows more" if values[-1] > values[-2] else "knows no more"
    print(f"    Without it the last stage {verb} than stage 2.")
print(f"This is one seed. Changes below ±{noise:.1f} points may come from the choice of test pictures alone.")

# %% [markdown]
# ## 7. The cost
#
# A step of CsMl runs three queries forward and backward and two keys forward. MoCo v2 runs one of each. So a
# comparison at equal epochs favours CsMl. Compare the times as well.
#
# **Predict**: count a backward pass as two forward passes. How many times as much work is a step of CsMl?

# %%
print(f"By passes alone: (3 · 3 + 2) / (3 + 1) = {(3 * 3 + 2) / (3 + 1):.2f} times. Measured:")
seconds = {name: run.history["cpu_seconds"].sum() for name, run in runs.items() if len(run.history)}
for name, spent in seconds.items():
    times = spent / seconds["MoCo v2"]
    print(f"{name:21} {spent:5.0f} CPU seconds, {times:.1f} times MoCo v2's;", end=" ")
    print(f"kNN {coarse} {accuracy[name][0, -1]:.1f} %, {fine} {accuracy[name][1, -1]:.1f} %")

# %% [markdown]
# Are the parts of CsMl worth their time? This question needs several seeds and two axes. The study `csml-parts` asks
# it. [10, ablation lab](10_ablation_lab.ipynb) shows how to run a study.
#
# ## 8. Try it yourself
#
# Choose a term. There is one term for every query at every stage. Click anchors, and move the temperature.

# %%
hiercl.explore.pairs({"CsMl": csml, "MoCo v2": moco}, train)

# %% [markdown]
# ## 9. After a longer training
#
# This is CsMl after a training on all 50,000 training pictures of CIFAR-100. The figure shows test pictures with
# their neighbours. CsMl never saw these test pictures.

# %%
long = hiercl.pretrained("csml")
print(long.card["budget"])
hiercl.plot.neighbours(long.encoder, test, items=np.linspace(0, len(test) - 1, 3).astype(int), title="CsMl, longer")

# %% [markdown]
# ## Summary
#
# * Without labels, neighbours are guesses at positives. Their purity says how good the guesses are. Compare it with
#   chance.
# * A CutMix has two positives. λ is counted in whole pixels and says how much each of them counts.
# * A pulled picture must not be pushed as well. So the old keys of both pictures are left alone.
# * We can test every stage, and we can train every stage. We do not know how CsMl's paper trains them. Our form is
#   our own.
# * Three queries and two keys take more time than one of each. Compare methods at equal compute as well.
#
# **To think about.** `neighbour_source="labels"` draws neighbours of the anchor's true class. This is an oracle.
# `"random"` draws any items. What does the difference of the two tell you about every method that mines neighbours?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 60 minutes, exercises included. Hard for them: a mixed query has two positives
# with weights; one part is the paper's, the other part is ours.
#
# Typical mistakes:
#
# * "λ is the number that was drawn." It is counted in whole pixels after clipping.
# * "Neighbours of an untrained encoder are useless." They share colours, so they are above chance.
#
# **To think about**, how to mark it. Two points. The difference of oracle and random neighbours is all that mining can
# gain (1). What a method gains beyond random is the share that it has found (1).
