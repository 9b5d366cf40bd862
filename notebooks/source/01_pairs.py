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
# # 01 · What is a pair?
#
# **You will be able to** say who pulls and who pushes whom in a contrastive loss, read the pictures that show it, say
# what the temperature does, and measure how often a picture is pushed away from its own kind.
#
# About a minute of computing on two CPU cores. Before: [00](00_quickstart.ipynb), or nothing. After: [02,
# prototype hierarchies](02_prototype_hierarchies.ipynb).

# %%
import os

import torch

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tiny, for tests
DATA, PER_CLASS, EPOCHS = ("shapes", 20, 2) if FAST else ("cifar100", 60, 8)
SETTINGS = dict(epochs=EPOCHS, batch=256, seed=0, monitor_every=0, progress=False)

# %% [markdown]
# ## 1. Views
#
# Contrastive learning needs no labels. It takes two random **views** of each picture, cut out and recoloured, and asks
# the encoder to tell which two belong together. These are some of the pictures; the labels are for us to look at.

# %%
train, test = hiercl.load(DATA)
train, test = train.per_class(PER_CLASS), test.per_class(10)
coarse, fine = train.hierarchy.level_names[0], train.hierarchy.level_names[-1]
print(train)
hiercl.plot.gallery(train, level=0, per_node=12)

# %% [markdown]
# ## 2. One loss, and who is in it
#
# The anchor $a$ is a view. The other view of its picture, $p$, is its **positive**: it is *pulled*. All other views of
# the batch are **negatives** and are *pushed*. With similarities $s$ (cosines of the embeddings) and a temperature
# $\tau$,
#
# $$\ell_a = -\log \frac{\exp(s_{ap}/\tau)}{\sum_{c \ne a} \exp(s_{ac}/\tau)}$$
#
# which is small when the positive is more similar to the anchor than everybody else is. This method is called SimCLR.

# %%
simclr = hiercl.fit("simclr", train, callbacks=[hiercl.plot.live()], **SETTINGS)

# %% [markdown]
# Now take one step of this run apart. Each row is an anchor, each column a candidate, both ordered by class. (From here
# to section 5 "class" means the superclass: `level=0`.)
#
# **Predict**: where in this matrix are the positives? Where are candidates of the anchor's own class, and what does
# the method do with them?

# %%
step = simclr.step(train, batch=48)
hiercl.plot.pair_matrix(step, train, level=0)

# %% [markdown]
# The dark blocks are **false negatives**: pushed, although they are of the anchor's own class. SimCLR cannot know
# better, as it sees no labels. White is the anchor itself, which is left alone.

# %%
found = simclr.audit(train, batches=4).set_index("level")["false_negative_rate"]
for level, rate in found.items():
    print(f"{100 * rate:.1f} % of the pushed are of the anchor's own {level}.")

# %% [markdown]
# **Exercise.** A batch holds pictures of $C$ classes, all equally frequent. An anchor pushes every view but its own
# two. Which share of the pushed is of its class, on average, in a very large batch, if $C = 20$? Write a number for
# the dots.

# %%
check("01 false negatives", ...)

# %% [markdown]
# ## 3. One anchor
#
# Here is a single anchor with its candidates, the most similar first. Bold names are of its own superclass.

# %%
hiercl.plot.pairs(step, train, level=0)

# %% [markdown]
# ## 4. Temperature
#
# The gradient of the loss pushes the similar candidates harder. Of all the push, candidate $c$ gets the share
#
# $$w_c = \frac{\exp(s_{ac}/\tau)}{\sum_{c'\,\text{pushed}} \exp(s_{ac'}/\tau)}$$
#
# The temperature says how much harder.
#
# **Predict**: at a low temperature, is the push spread over many candidates or over few? And do false negatives get
# *more* or *less* than their share of it?


# %%
def push_weights(run):
    """Weight with which every pushed candidate is pushed, and which of them are of the anchor's own superclass."""
    pairs = (term := run.step(train).terms[0]).pairs
    weight = term.logits.masked_fill(~pairs.negative, -torch.inf).softmax(dim=1)
    label = torch.as_tensor(train.labels_at(0))
    same = label[pairs.anchors.item][:, None] == label[pairs.candidates.item][None, :]
    return weight, same & pairs.negative, pairs.negative


for temperature in (1.0, 0.5, 0.1, 0.05):
    weight, own, pushed = push_weights(simclr.changed(temperature=temperature))
    tenth = weight.sort(dim=1, descending=True).values[:, : weight.shape[1] // 10].sum(dim=1).mean()
    number, force = own.sum() / pushed.sum(), (weight * own).sum(dim=1).mean()
    print(f"temperature {temperature:4}: the most similar tenth gets {100 * tenth:3.0f} % of the push;", end=" ")
    print(f"false negatives are {100 * number:.1f} % of the pushed and get {100 * force:.1f} % of it")

# %%
share = float(force / number)
verb = "more" if share > 1 else "less"
print(
    f"At the lowest temperature a false negative is pushed {share:.1f} times as hard as the average candidate: {verb}."
)

# %% [markdown]
# That is why false negatives hurt: what the loss pushes hardest is what looks alike, and what looks alike is often of
# one kind. Every method of the later notebooks is an answer to this.
#
# **Exercise.** Write the loss of one anchor yourself: from the similarities of its candidates, the number of the
# positive one, and the temperature.


# %%
def loss(similarities, positive, temperature):
    """InfoNCE of one anchor, in nats; `similarities` is a numpy array of cosines."""
    return ...


check("01 loss", loss)

# %% [markdown]
# ## 5. More negatives: MoCo v2
#
# SimCLR's negatives come from the batch alone. MoCo v2 keeps a **queue** of embeddings of earlier batches, made by a
# second encoder that follows the first one slowly (the momentum encoder).
#
# In the matrix below white candidates are keys of the batch: all but the anchor's own, which is pulled, are left alone.
# The queue alone is pushed.
#
# **Predict**: with more negatives, does the *share* of false negatives rise, fall, or stay?

# %%
moco = hiercl.fit("moco", train, queue=1024, callbacks=[hiercl.plot.live()], **SETTINGS)
hiercl.plot.pair_matrix(moco.step(train, batch=48), train, level=0)

# %%
both = {"SimCLR": simclr, "MoCo v2": moco}
for name, run in both.items():
    row = run.audit(train, batches=4).iloc[0]
    rate = 100 * row["false_negative_rate"]
    print(f"{name:8} {row['negatives_left']:6.0f} negatives an anchor, {rate:.1f} % of them false")

# %% [markdown]
# What either has learned in this short training: how often the vote of a test picture's nearest training pictures is
# right.

# %%
for name, run in both.items():
    table = hiercl.evaluate(run, train, test).table()
    print(name, ", ".join(f"{level}: kNN {row['knn']:.1f} %" for level, row in table.iterrows()))

# %% [markdown]
# ## 6. Move it yourself
#
# Click an anchor; move the temperature; choose at which level "the same" is meant. Nothing is trained while you do.

# %%
hiercl.explore.pairs(both, train)

# %% [markdown]
# ## 7. After a long training
#
# The same SimCLR after 20 epochs on all 50,000 pictures of CIFAR-100: each test picture with its nearest neighbours.

# %%
long = hiercl.pretrained("simclr")
hiercl.plot.neighbours(long.encoder, test, items=range(0, len(test), max(1, len(test) // 6)), count=9)

# %% [markdown]
# **Exercise.** Who pushes whom in SimCLR? From the item of each view, give the matrix of who is pushed.


# %%
def pushed(items):
    """Boolean matrix [n, n], anchors in rows; `items` is a numpy array: of which picture each view is."""
    return ...


check("01 pushed", pushed)

# %% [markdown]
# ## Summary
#
# * A contrastive method is an answer to one question: for each anchor, who is pulled, who is pushed, who is left
# alone?
# * The temperature decides how much harder the similar ones are pushed.
# * Without labels some of the pushed are of the anchor's own kind, and they are pushed harder than the others.
# * A queue brings more negatives, and as many false ones among a hundred as before.
#
# **To think about.** What would happen with two classes only? With every picture a class of its own?
