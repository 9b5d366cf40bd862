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

# %%
import tempfile

import torch

import hiercl
import hiercl.exercises

train, test = hiercl.load("shapes", per_class=6, test_per_class=3)
S = dict(epochs=2, batch=64, crop=16, seed=0, monitor_every=0, progress=False)
hcsc = hiercl.fit("hcsc", train, queue=128, prototypes=(5, 12), warm_up=0.0, **S)
g_hmlc = hiercl.fit("g_hmlc", train, warm_up=0.5, **S)
features = hiercl.embed(hcsc, train)
xy = (features - features.mean(0)) @ torch.pca_lowrank(features, 2)[2]
print("trained")

# %%
hiercl.explore.pairs({"HCSC": hcsc, "G-HMLC": g_hmlc}, train, batch=64)

# %%
hiercl.explore.tree(hcsc, train, coordinates=xy.numpy())

# %%
hiercl.explore.embedding({"HCSC": hcsc}, train, coordinates={"HCSC": xy.numpy()})

# %%
hiercl.explore.masks(g_hmlc, train)

# %%
hiercl.explore.run("simclr", train, **S | {"epochs": 40})

# %%
base = {"method": "moco", "queue": 64, "epochs": 1, "batch": 64, "crop": 16, "monitor_every": 0}
hiercl.explore.study(base, {"temperature": [0.1, 0.5]}, train, test, out=tempfile.mkdtemp())

# %%
hiercl.explore.step(hcsc, train, batch=64)

# %%
# %%predict
hiercl.plot.audit(hcsc.audit(train, batches=1))
