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
# **Exercise.** How many MiB does one such float32 matrix of SimCLR take at batch 4,096? (1 MiB is $2^{20}$ bytes.
# Both views are anchors, and both are candidates.)

# %%
check("12 memory", ...)

# %% tags=["solution"]
# 2 · 4,096 = 8,192 rows and columns of 4 bytes: 2²⁸ bytes.
check("12 memory", 256)

# %% [markdown]
# `block=` computes the similarities for some anchors at a time. Loss and gradient are the same up to rounding, and it
# needs less memory.

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
# of thumb scales the rate in proportion to the batch (Goyal et al., 2017, [arXiv
# 1706.02677](https://arxiv.org/abs/1706.02677)). AdamW and Muon, which hiercl uses, divide a step by the size of the
# gradient. For methods like Adam the rule is the square root of the batch (Malladi et al., 2022, [arXiv
# 2205.10287](https://arxiv.org/abs/2205.10287)). 0.003 was right for AdamW on one GPU with 256. Which rate does the
# square-root rule give? (hiercl scales nothing by itself.)

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
# **For teachers.** Students need about 45 minutes, exercises included. Hard for them: many runs at a time differ from
# one run on many devices.
#
# Typical mistakes:
#
# * "Twice the batch takes half the time." The pairs grow with its square.
# * "The rule of the learning rate is a law." It is a rule of thumb. Under AdamW the linear rule of SGD is too fast.
#
# **To think about**, how to mark it. Two points. One long training tells what one seed can reach (1). Eight seeds tell
# whether a difference is more than luck (1).
