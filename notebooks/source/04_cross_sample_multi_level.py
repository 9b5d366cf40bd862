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
# # 04 · Neighbours, mixtures, stages: CsMl
#
# **You will be able to** judge how good neighbours are as positives, say where a CutMix cuts and which share of it
# counts for whom, read a loss with two positives, and find out what every stage of an encoder has learned.
#
# About three minutes of computing on two CPU cores. Before: [01, pairs](01_pairs.ipynb). After: [05, label
# hierarchies](05_label_hierarchies.ipynb).

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

import hiercl
from hiercl.clustering import neighbours
from hiercl.datasets import loader as feed
from hiercl.exercises import check
from hiercl.metrics import probes
from hiercl.pairs import pairs
from hiercl.views import mixing

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}
FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 15, 2) if FAST else ("cifar100", 60, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, progress=False)

# %% [markdown]
# ## 1. A neighbour is a guess
#
# SimCLR and MoCo pull one thing towards an anchor: another view of the same picture. CsMl ("Seed the Views") wants
# positives of *other* pictures, and has no labels to find them. So it guesses: the pictures nearest to the anchor in
# the encoder's features are taken to be of its kind.
#
# **Predict**: the encoder below is untrained. How many of its neighbours are of the same class? More than by chance?

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(25)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
print(train)
untrained = hiercl.fit("moco", train, epochs=0, seed=0, progress=False)
few = np.linspace(0, len(train) - 1, 5).astype(int)[1:4]
hiercl.plot.neighbours(untrained, train, items=few, count=7, title="Untrained")

# %% [markdown]
# Green frames are right guesses. Above the pictures stands the share of each kind of frame among the neighbours of
# many pictures, and in brackets what it is among random pairs.
#
# **Exercise.** Write this share yourself: the **purity** of the neighbours.


# %%
def purity(neighbours, labels):
    """Share of all neighbours that are of their item's class; `neighbours` is [n, k], numbers of items."""
    return ...


check("04 purity", purity)

# %% [markdown]
# ## 2. A mixture of the two
#
# CsMl also makes pictures that lie *between* anchor and neighbour. **CutMix** pastes a box of the neighbour into the
# anchor. A share $\lambda \sim \text{Beta}(2, 2)$ is drawn; the box gets sides of $\sqrt{1-\lambda}$ of the picture's
# and a random centre, and is clipped at the border. Then $\lambda$ is counted anew:
#
# $$\lambda = 1 - \frac{\text{pixels in the box}}{\text{all pixels}}$$
#
# so that it is exactly the anchor's share of the mixture. Boxes and numbers below are drawn anew for every column; in
# training a batch shares one box.


# %%
def draw(axes, item, other, numbers, alpha=2):
    """Anchor, neighbour and their mixture, one below the other."""
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
pictures = feed.as_maps(torch.from_numpy(np.array(train.items)))
nearest = neighbours.nearest_neighbours(hiercl.embed(untrained, train), k=5)
shown = np.linspace(0, len(train) - 1, 6).astype(int)
figure, axes = plt.subplots(3, len(shown), figsize=(8, 4.2), layout="constrained")
random = torch.Generator().manual_seed(1)
for column, item in enumerate(shown):
    draw(axes[:, column], item, int(nearest[item, 0]), torch.rand(5, generator=random))
for axis, name in zip(axes[:, 0], ("anchor", "neighbour", "mixture"), strict=True):
    axis.text(-0.1, 0.5, name, transform=axis.transAxes, rotation=90, ha="right", va="center")

# %% [markdown]
# Move the box yourself. **Predict**: push it into a corner; does $\lambda$ rise or fall? (This needs a running
# notebook.)


# %%
def mixture(share=0.5, row=0.5, column=0.5):
    """One mixture, with λ before clipping and the centre of the box as shares of the picture."""
    _, axes = plt.subplots(1, 3, figsize=(6, 2.3))
    draw(axes, shown[2], int(nearest[shown[2], 0]), [share, row, column], alpha=1)
    plt.show()


try:
    from ipywidgets import interact

    interact(mixture, share=(0.0, 0.95, 0.05), row=(0.0, 0.95, 0.05), column=(0.0, 0.95, 0.05))
except ImportError:
    mixture()

# %% [markdown]
# **Exercise.** Pictures have 24 × 24 pixels and λ = 0.5 was drawn. The box has sides of 16 pixels and its centre at
# row 12, column 22, so it is clipped at the right border. Which λ must the loss use? A fraction will
# do, such as `1 - 3 / 4`.

# %%
check("04 lambda", ...)

# %% [markdown]
# ## 3. The loss: two positives, each with a weight
#
# CsMl is MoCo with three queries: the anchor's view $q$, the neighbour's $\tilde q$, and the mixture $\hat q$; and
# with two keys: the anchor's $k$ and the neighbour's $\tilde k$. Let $\ell(u, v)$ be MoCo's loss of a query $u$ whose
# positive is $v$ and whose negatives are the queue. Then
#
# $$\mathcal L = \tfrac13\Big[w_s\,\ell(q,k) + w_o\,\ell(q,\tilde k) + w_s\,\ell(\tilde q,\tilde k) +
#   w_o\,\ell(\tilde q,k) + \lambda\,\ell(\hat q,k) + (1-\lambda)\,\ell(\hat q,\tilde k)\Big]$$
#
# with $w_s = w_o = \tfrac12$ (at first $w_s = 1$, $w_o = 0$: early neighbours are poor). The two positives never
# compete: each has a softmax of its own. Of the mixture, the anchor's key pulls with λ and the neighbour's with 1 − λ.
#
# **Exercise.** Write the loss of one mixed query.


# %%
def mixed_loss(anchor, neighbour, queue, share, temperature):
    """In nats, from the cosines with the anchor's key, the neighbour's key and the queue (an array); share is λ."""
    return ...


check("04 mixed", mixed_loss)

# %% [markdown]
# Train it, and plain MoCo v2 beside it. CsMl finds its neighbours anew before every epoch.
#
# **Predict**: as it trains, do its neighbours become purer?

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
    print(f"{name}: {found.iloc[0]:.1f} %, at the end {found.iloc[-1]:.1f} %: {went}. By chance {chance:.1f} %.")
axis.set(
    xlabel="epoch in which they serve", ylabel="of the neighbours (%)", ylim=(0, None), xticks=range(1, EPOCHS + 1)
)
axis.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.3))
plt.show()

# %% [markdown]
# The neighbours of the first epoch are those of the untrained encoder. Wherever the share is below a half, a neighbour
# is more often wrong than right, and it is pulled all the same. A wrong neighbour still *looks* alike, and it may be
# right at a coarser level. The same three pictures as above:

# %%
hiercl.plot.neighbours(csml, train, items=few, count=7, title="CsMl, after training")

# %% [markdown]
# ## 4. Who is pulled
#
# One step, in the term of the anchor's own query. This anchor was chosen since its neighbour is of another class.

# %%
step = csml.step(train, batch=256)
keys = step.terms[0].pairs.candidates.item[:512]  # of the anchors, of their neighbours; then comes the queue
own, other = keys.view(2, -1)
label = torch.as_tensor(train.labels)
wrong = label[own] != label[other]
print(f"{100 * wrong.float().mean():.0f} % of the drawn neighbours are of another {fine}.")
hiercl.plot.pairs(step, train, anchor=int(wrong.int().argmax()), term="anchor", level=-1, count=7)

# %% [markdown]
# *Pulled* are two: its own key and the neighbour's. *Pushed* is the queue. *Left alone* are the other keys of the
# batch and **old keys** of the two pulled pictures: they would be pulled and pushed at once.

# %%
queue = csml.method.queue.items
there = torch.isin(other, queue).float().mean()
print(f"The queue holds {len(queue):,} keys of {len(train):,} pictures; {100 * there:.0f} % of the neighbours")
print("have an old key in it. The official code pushes these; here they are left alone (mask_neighbours).")

# %% [markdown]
# The same for many anchors, of four superclasses. Columns are the keys of the batch, the neighbours' among them, and
# some of the queue (stripes).
#
# **Predict** where the two green cells of a row are. Which of them can lie off the diagonal?


# %%
def some(term, count):
    """The term with its first candidates alone: the anchors' keys, the neighbours' keys, and then some of the queue."""
    whole, kept = term.pairs, slice(count)
    few = pairs.Members(whole.candidates.kind[kept], whole.candidates.item[kept])
    part = replace(whole, candidates=few, negative=whole.negative[:, kept], removed=whole.removed[:, kept])
    return replace(term, logits=term.logits[:, kept], pairs=part)


items = np.flatnonzero(train.labels_at(0) < 4)  # of four superclasses
small = csml.step(train, items=items[:: max(1, len(items) // 40)])
small = replace(small, terms=(some(small.terms[0], 120),))
hiercl.plot.pair_matrix(small, train, level=0, candidates=120)

# %% [markdown]
# ## 5. Does it see the mixture?
#
# Paste more and more of the neighbour into the anchor: a box in the middle, from nothing to all. How similar does the
# embedding stay to the anchor's, and how similar does it become to the neighbour's?
#
# **Predict** where the two lines cross, for CsMl and for MoCo v2, which never saw a mixture.


# %%
def cosines(run, first, second, shares):
    """λ in whole pixels, and mean cosines of mixtures with what they are made of, ``[shares, 2]``."""
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
# An encoder is a chain of stages: early ones see small details, late ones whole things. CsMl's second idea is to give
# the same loss to **intermediate stages** too. How exactly, the paper's abstract does not say and its official code
# does not have. What is here is **our instantiation**: the map of a stage goes through a residual block, a pooling and
# a head of its own; every stage has its own queue; all share one list of neighbours; the last stage has the weight 1,
# the one before it ½, and the weights are divided by their sum.

# %%
for stage, weight in csml.method.weights().items():
    print(f"stage {stage}: weight {weight:.2f}")
for term in step.terms:
    print(f"{term.name:20} weight {term.weight:.3f}, loss {float(term.loss):.2f}")

# %% [markdown]
# What does each stage know? The maps of every stage, averaged over all places, and the vote of the nearest training
# pictures. The third training is CsMl with the loss at the last stage alone.
#
# **Predict**: which stage gains most from a loss of its own? Does the last stage gain, or lose?

# %%
one = hiercl.fit("csml", train, stages=(3,), monitor_every=0, **SETTINGS)


# %%
def stage_features(run, dataset):
    """Features of every stage, shallow to deep."""
    pool, stages = run.encoder.pool, run.encoder.stages
    together = feed.embed_with(
        lambda x: torch.cat([pool(places) for places in stages(x)], dim=1), feed.Feed(dataset, "cpu")
    )
    return together.split(run.encoder.stage_widths, dim=1)


# %%
def stage_knn(run):
    """kNN accuracy in per cent, ``[levels, stages]``."""
    both = list(zip(stage_features(run, train), stage_features(run, test), strict=True))
    result = np.empty((2, len(both)))
    for row, level in enumerate((0, -1)):
        bank, truth = (torch.as_tensor(data.labels_at(level)) for data in (train, test))
        for stage, (known, asked) in enumerate(both):
            votes = probes.knn_predict(known, bank, asked)
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
noise = 100 * 1.96 * (2 * 0.25 / len(test)) ** 0.5  # of a difference, at most, from the test set alone
change = np.round(accuracy["CsMl, stages 2 and 3"] - accuracy["CsMl, last stage"], 1) + 0.0
for level, (*_, before, last), values in zip((coarse, fine), change, accuracy["CsMl, last stage"], strict=True):
    print(f"{level}: a loss of its own changes stage 2 by {before:+.1f} points, and the last stage by {last:+.1f};")
    verb = "knows more" if values[-1] > values[-2] else "knows no more"
    print(f"    without it the last stage {verb} than stage 2.")
print(f"One seed; changes below ±{noise:.1f} points may come from the choice of test pictures alone.")

# %% [markdown]
# ## 7. What it costs
#
# A step of CsMl takes three queries forward and back and two keys forward, where MoCo v2 takes one of each. So
# comparing at equal epochs is kind to CsMl: look at the time as well.
#
# **Predict**: with a backward pass counted as two forward ones, how many times as much is that?

# %%
print(f"By passes alone: (3 · 3 + 2) / (3 + 1) = {(3 * 3 + 2) / (3 + 1):.2f} times. Measured:")
seconds = {name: run.history["cpu_seconds"].sum() for name, run in runs.items() if len(run.history)}
for name, spent in seconds.items():
    times = spent / seconds["MoCo v2"]
    print(f"{name:21} {spent:5.0f} CPU seconds, {times:.1f} times MoCo v2's;", end=" ")
    print(f"kNN {coarse} {accuracy[name][0, -1]:.1f} %, {fine} {accuracy[name][1, -1]:.1f} %")

# %% [markdown]
# Whether the parts of CsMl are worth their time is a question for several seeds and two axes: the study `csml-parts`
# asks it, and [09, ablation lab](09_ablation_lab.ipynb) shows how to run it.
#
# ## 8. Move it yourself
#
# Choose a term (every query at every stage is one), click anchors, and move the temperature.

# %%
hiercl.explore.pairs({"CsMl": csml, "MoCo v2": moco}, train)

# %% [markdown]
# ## 9. After a longer training
#
# CsMl trained on all 50,000 pictures of CIFAR-100: test pictures, which it never saw, with their neighbours.

# %%
long = hiercl.pretrained("csml")
print(long.card["budget"])
hiercl.plot.neighbours(long.encoder, test, items=np.linspace(0, len(test) - 1, 3).astype(int), title="CsMl, longer")

# %% [markdown]
# ## Summary
#
# * Without labels, neighbours are guesses at positives. Their purity says how good, chance says compared with what.
# * A CutMix has two positives; λ, counted in whole pixels, says how much each of them counts.
# * What is pulled must not be pushed as well: old keys of both pictures are left alone.
# * Stages can be asked, and taught, one by one. How CsMl's paper teaches them is not known to us: this form is ours.
# * Three queries and two keys take more time than one of each. Compare at equal compute as well.
#
# **To think about.** `neighbour_source="labels"` draws neighbours of the anchor's true class, an oracle; `"random"`
# draws any. What does the distance of the two tell you about every method that mines neighbours?
