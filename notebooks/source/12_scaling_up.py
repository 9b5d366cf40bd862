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
# # 12 · Scaling up
#
# **After this notebook you can** say which parts of a training take time. You can say what grows with batch, queue
# and prototypes. You can move to one or several GPUs. You can send a sweep to a cluster.
#
# Before: [10, the ablation lab](10_ablation_lab.ipynb).

# %%
import os
import tempfile
import time

import joblib
import matplotlib.pyplot as plt
import torch
from accelerate import notebook_launcher

import hiercl
from hiercl.exercises import check

# %config InlineBackend.print_figure_kwargs = {"dpi": 110, "pil_kwargs": {"optimize": True}}

FAST = os.environ.get("HIERCL_FAST") == "1"  # tests use tiny settings
DATA, PER_CLASS = ("shapes", 10) if FAST else ("cifar100", 20)
SETTINGS = dict(epochs=1, seed=0, monitor_every=0, progress=False)
train, test = hiercl.load(DATA)
train = train.per_class(PER_CLASS)

# %% [markdown]
# ## 1. This machine
#
# `device="auto"` uses CUDA if there is a CUDA device. The code stays the same. `precision="auto"` uses bf16 if the
# hardware supports it.

# %%
print("CUDA:", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
run = hiercl.fit("moco", train, **SETTINGS)
for name in ("torch", "device", "precision", "threads"):
    print(f"{name}: {run.environment.get(name)}")

# %% [markdown]
# ## 2. Where the time goes
#
# A step has these parts: the views, the forward and backward pass of the encoder, the loss, and the optimiser.
# Methods differ in the number of pictures that go through an encoder. They also differ in the work before an epoch
# (`refresh`: prototypes, neighbours, masks).
#
# We compare five of them: SimCLR ("A Simple Framework for Contrastive Learning of Visual Representations", Chen et al.,
# 2020, [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)), MoCo v2 ("Improved Baselines with Momentum Contrastive
# Learning", Chen et al., 2020, [arXiv 2003.04297](https://arxiv.org/abs/2003.04297)), HCSC ("Hierarchical Contrastive
# Selective Coding", Guo et al., 2022, [arXiv 2202.00455](https://arxiv.org/abs/2202.00455)), CsMl ("Seed the Views",
# Xu et al., 2020, [arXiv 2012.02733](https://arxiv.org/abs/2012.02733)), and HMC ("Use All The Labels: A Hierarchical
# Multi-Label Contrastive Learning Framework", Zhang et al., 2022, [arXiv
# 2204.13207](https://arxiv.org/abs/2204.13207)).
#
# **Predict**: order these methods by anchors per second, without `refresh`.

# %%
methods = {"simclr": {}, "moco": {}, "hcsc": {"prototypes": (5, 20), "warm_up": 0.0}, "csml": {}, "hmc": {}}
speeds = {}
for name, own in methods.items():
    history = hiercl.fit(name, train, **SETTINGS | {"epochs": 2}, **own).history
    speeds[name] = history["items_per_second"].iloc[-1]
figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.barh(list(speeds), list(speeds.values()), color="#0072B2")
axis.set(xlabel="anchors a second, second epoch (refresh apart)")
plt.show()
fastest, slowest = max(speeds, key=speeds.get), min(speeds, key=speeds.get)
print(f"{fastest} is {speeds[fastest] / speeds[slowest]:.1f} times as fast as {slowest}.")

# %% [markdown]
# **What we saw** (one run): MoCo and HCSC are the fastest. SimCLR and HMC have two thirds of their speed. CsMl is the
# slowest: MoCo is 4.2 times as fast. The main reason is the number of passes through the encoder. Count a backward pass
# as two forward passes. MoCo and HCSC run one view forward and backward, and the other view only forward: 3 + 1 = 4.
# SimCLR and HMC run both views forward and backward: 6. CsMl runs three queries forward and backward, and two keys
# forward: 11. So passes alone make MoCo 6 / 4 = 1.5 times as fast as SimCLR, as we saw, and 11 / 4 = 2.75 times as fast
# as CsMl. The rest is other work: CsMl draws four views in place of two, and mixes two of them. Besides, one short
# epoch is a rough measurement.
#
# ## 3. What grows
#
# The loss compares every anchor with every candidate. So its matrix has (anchors × candidates) entries. SimCLR with
# batch $B$ has a matrix of $(2B)^2$ numbers of four bytes for each term. The backward pass keeps several such
# matrices.


# %%
def seconds_of_loss(batch, candidates):
    """Returns the median seconds of InfoNCE, forward and backward, on random embeddings."""
    z = torch.nn.functional.normalize(torch.randn(batch, 128), dim=1).requires_grad_()
    keys = torch.nn.functional.normalize(torch.randn(candidates, 128), dim=1)
    times = []
    for _ in range(3 if FAST else 7):
        start = time.perf_counter()
        torch.logsumexp(z @ keys.T / 0.1, dim=1).mean().backward()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


# %%
sizes = (256, 1024, 4096) if FAST else (256, 1024, 4096, 16384)
curves = {f"{batch} anchors": [1000 * seconds_of_loss(batch, size) for size in sizes] for batch in (64, 256)}
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (name, milliseconds), style, colour in zip(curves.items(), ("o-", "s-"), ("#0072B2", "#E69F00"), strict=True):
    axis.loglog(sizes, milliseconds, style, color=colour, label=name)
axis.set(xlabel="candidates (batch, queue)", ylabel="milliseconds")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()
longer = curves["256 anchors"][-1] / curves["256 anchors"][0]
print(f"{sizes[-1] // sizes[0]} times the candidates take {longer:.0f} times as long")

# %% [markdown]
# **Exercise** (warm-up). How many MiB does one such float32 matrix of SimCLR take at batch 4,096? (1 MiB is $2^{20}$
# bytes. Both views are anchors, and both are candidates.)

# %%
check("12 memory", ...)

# %% tags=["solution"]
# 2 · 4,096 = 8,192 rows and columns of 4 bytes: 2²⁸ bytes.
check("12 memory", 256)

# %% [markdown]
# `block=` computes the similarities for some anchors at a time. Loss and gradient are the same up to rounding, and it
# needs less memory. The example is SupCon ("Supervised Contrastive Learning", Khosla et al., 2020, [arXiv
# 2004.11362](https://arxiv.org/abs/2004.11362)).

# %%
whole = hiercl.fit("supcon", train, batch=256, **SETTINGS).history["loss"].iloc[-1]
blocks = hiercl.fit("supcon", train, batch=256, block=64, **SETTINGS).history["loss"].iloc[-1]
print(f"Loss of the last epoch: {whole:.6f} at once, {blocks:.6f} in blocks of 64 anchors")

# %% [markdown]
# ## 4. Several GPUs
#
# We have run this on CPUs only, with one process and with several. One machine may have several GPUs. In a notebook,
# `notebook_launcher` of `accelerate` starts one process for each GPU. `hiercl.fit` in these processes is one training.
# Each anchor sees the candidates of all processes. So loss and gradient are those of one large batch. Batch norm is the
# exception: it sees only the part of its own process. `batch=` is the whole batch. `batch=1024` on four GPUs is 256 on
# each. The example below uses one process. For several processes, use `num_processes=4` in a new kernel, before
# anything has used CUDA.


# %%
def training():
    hiercl.fit("moco", train, **SETTINGS, device="cpu" if not torch.cuda.is_available() else "auto")


notebook_launcher(training, num_processes=1)

# %% [markdown]
# From a shell, `torchrun --nproc-per-node 4 train.py` does the same. `train.py` calls `hiercl.fit` as usual.
#
# **Exercise.** Four GPUs with a batch of 256 each behave like one batch of 1,024. Which learning rate? For SGD a rule
# of thumb scales the rate in proportion to the batch ("Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
# Goyal et al., 2017, [arXiv 1706.02677](https://arxiv.org/abs/1706.02677)). AdamW ("Decoupled Weight Decay
# Regularization", Loshchilov and Hutter, 2019, [arXiv 1711.05101](https://arxiv.org/abs/1711.05101)) and Muon ([Jordan
# et al., 2024](https://kellerjordan.github.io/posts/muon/)), which hiercl uses, divide a step by the size of the
# gradient. For methods like Adam the rule is the square root of the batch ("On the SDEs and Scaling Rules for Adaptive
# Gradient Algorithms", Malladi et al., 2022, [arXiv 2205.10287](https://arxiv.org/abs/2205.10287)). 0.003 was right for
# AdamW on one GPU with 256. Which rate does the square-root rule give? (hiercl scales nothing by itself.)

# %%
check("12 rate", ...)

# %% tags=["solution"]
# The batch is four times as large, and the root of four is two.
check("12 rate", 2 * 0.003)

# %% [markdown]
# ## 5. Many trainings
#
# A study has many independent runs. None of them needs several GPUs. A study needs several *runs at a time*. Joblib
# starts them: here in two processes, on a cluster with its workers (`joblib.parallel_config(backend="dask")` and a
# dask `Client`).

# %%
base = {"method": "moco", "epochs": 1, "batch": 128, "queue": 256, "monitor_every": 0}
sweep = hiercl.Study(base, {"temperature": [0.1, 0.5]}, seeds=1, out=tempfile.mkdtemp(), name="sweep")
with joblib.parallel_config(backend="loky"):  # or "dask", after dask.distributed.Client("scheduler:8786")
    sweep.run(train, test.per_class(5), n_jobs=2, progress=False)
sweep.table()[["variant", "seed", "state", "seconds"]].round(1)

# %% [markdown]
# **Exercise.** A study has 60 runs of 10 minutes. Your cluster has 8 workers. How many minutes does the study take at
# least, if nothing goes wrong?

# %%
check("12 cluster", ...)

# %% tags=["solution"]
# 60 runs on 8 workers are 8 rounds, the last with 4 runs: 8 · 10 minutes.
check("12 cluster", 80)

# %% [markdown]
# ## 6. Stop and continue
#
# Long trainings are interrupted by a time limit, by a crash, or by you. With `out=`, a run writes a checkpoint after
# every epoch. With `resume=True` it continues and gives exactly the same result. (The warning below comes from the
# interruption.)

# %%
folder = tempfile.mkdtemp() + "/run"


def stop_after_one(run):
    if len(run.history) == 1:
        raise KeyboardInterrupt


three = SETTINGS | {"epochs": 3}
straight = hiercl.fit("simclr", train, **three)
_ = hiercl.fit("simclr", train, out=folder, callbacks=[stop_after_one], **three)
resumed = hiercl.fit("simclr", train, out=folder, resume=True, **three)
same = all(torch.equal(a, b) for a, b in zip(straight.method.parameters(), resumed.method.parameters(), strict=True))
print("The same weights, bit for bit:", same)

# %% [markdown]
# ## 7. The cost of a long training
#
# The pretrained SimCLR saw all 50,000 training pictures of CIFAR-100 in every epoch. Its card says for how long it was
# trained. `hiercl.machine()` measures in a second how fast this machine is.
#
# **Predict** the time of this training from the speeds of section 2, then check. (CPU minutes count all cores.)

# %%
card = hiercl.pretrained("simclr").card
epochs = int(card["budget"].split()[0])
print(f"At {speeds['simclr']:,.0f} anchors a second: {epochs * 50_000 / speeds['simclr'] / 60:.0f} minutes.", end=" ")
print(f"The card says: {card['budget']}.")
print(hiercl.machine(card["encoder"]["name"]))

# %% [markdown]
# **What we saw** (one run): the speed of section 2 gives 27 minutes, and the card says 27 CPU minutes. Both are of the
# same network, `whitenet`, with the same views. The last line measures `whitenet` with two views of every picture,
# without loss: 524 a second. 30 · 50,000 pictures would then take 48 minutes. It was measured by the clock at a moment
# when other work left 0.8 of the two cores free. So measure the network that you will train, when the machine does
# nothing else.
#
# **Exercise** (open). From which queue on does MoCo spend as much time on the queue as on everything else? The line
# `hiercl.fit("moco", train, queue=QUEUE, **SETTINGS | {"epochs": 3}).history["cpu_seconds"]` gives the CPU seconds of
# three epochs (with a GPU, take `"seconds"`). An epoch has 7 steps of 256 anchors here. Change `QUEUE`, from 256 to
# 65,536. A training takes seconds. Hand in five parts, one point each:
#
# 1. **A prediction**, before you train with large queues. Train with `queue=256`. The time of this epoch and
#    `seconds_of_loss(256, QUEUE)` are enough to compute it: which queue doubles the time of an epoch? (Take
#    `time.process_time` in `seconds_of_loss`, so that both are CPU seconds.)
# 2. **The lines that you have run.** Only the queue differs between the trainings.
# 3. **A table** of the CPU seconds of an epoch, for five queues or more, with the range over the three epochs.
# 4. **A control**: the smallest queue once more, at the end. Does it take as long as at first?
# 5. **A sentence that the numbers allow**, for this encoder and this machine. What would you expect with an encoder
#    that takes ten times as long?
#
# ## Summary
#
# * Methods differ in anchors per second because they need different numbers of passes. The work between epochs comes
#   in addition.
# * Batch and queue multiply. Memory grows with anchors × candidates, and time grows at least about as fast. Blocks
#   limit the memory.
# * One training on several GPUs is one call in several processes. A sweep is several runs at a time.
#
# **To think about.** You have eight GPUs for one hour. Do you run one training that is eight times as long, or eight
# seeds?

# %% [markdown] tags=["teacher"]
# **For teachers.** Students need about 45 minutes, exercises included, and 75 with the open exercise. Hard for them:
# many runs at a time differ from one run on many devices.
#
# Typical mistakes:
#
# * "Twice the batch takes half the time." The pairs grow with its square.
# * "The rule of the learning rate is a law." It is a rule of thumb. Under AdamW the linear rule of SGD is too fast.
#
# **The open exercise**, how to mark it. Students need about 30 minutes for it. One point for each of its five parts:
#
# 1. The time of the loss grows at least in proportion to the queue, and everything else is constant. A number that
#    turns out wrong has the point if it follows from this.
# 2. The batch, the encoder and the pictures stay as they are.
# 3. Five queues, and a range for each. Half a point without ranges.
# 4. The difference between the first and the second training with the smallest queue is named, and compared with the
#    differences of the table. By the clock it can be large if the machine has other work.
# 5. The queue is named as a range, because the table has steps. With an encoder that takes ten times as long, the queue
#    may be about ten times as long.
#
# An example answer, on one core that had other work as well, so in CPU seconds. (`seconds_of_loss` was changed to
# `time.process_time`, too.) A training took 5 to 12 CPU seconds. "The loss takes 64 ms with 16,384 candidates
# and 384 ms with 65,536. That is 0.4 s and 2.7 s for the 7 steps of an epoch. An epoch with a queue of 256 takes 1.5 s.
# So the queue that doubles it should lie between 37,000 (by the second number) and 55,000 (by the first).
#
# | queue | CPU seconds an epoch |
# |---|---|
# | 256 | 1.52 to 1.59 |
# | 1,024 | 1.54 to 1.57 |
# | 4,096 | 1.61 to 1.65 |
# | 16,384 | 1.92 to 1.99 |
# | 32,768 | 2.44 to 2.59 |
# | 65,536 | 3.53 to 3.93 |
# | 256 again (control) | 1.53 to 1.55 |
#
# The control agrees with the first row to 0.04 s. Up to 1,024 the queue cannot be seen. The time has doubled
# somewhere between 32,768 and 65,536, as predicted. With an encoder that takes ten times as long, an epoch takes 15
# s, and I expect that 65,536 adds the same 2 s. So the queue that doubles it would be about 500,000."
#
# **To think about**, how to mark it. Two points. One long training tells what one seed can reach (1). Eight seeds tell
# whether a difference is more than luck (1).
