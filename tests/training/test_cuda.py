"""What the CPU does, CUDA does too; skipped where there is none."""

import pytest
import torch
from support.data import METHODS, SMALL, pictures
from support.methods import BATCH, batch_of, make
from torch.nn import functional as F

from hiercl.clustering.prototypes import PrototypeTree
from hiercl.methods.base import Batch
from hiercl.runtime.seeds import Draws
from hiercl.training.loop import fit

# Generators of CUDA draw other numbers than those of the CPU.
DRAWN_NOTHING = {"hcsc": {"select": "none"}, "csml": {"mix": False}}
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize("method", METHODS)
def test_loss_is_that_of_the_cpu(method):
    on_cpu = make(method, **DRAWN_NOTHING.get(method, {})).eval()
    batch = batch_of(on_cpu, torch.arange(BATCH))
    expected = on_cpu(batch).loss.item()
    on_cuda = on_cpu.cuda()
    views = tuple(view.cuda() for view in batch.views)
    loss = on_cuda(Batch(batch.items.cuda(), views, Draws(torch.Generator("cuda").manual_seed(0)))).loss
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_tree_is_that_of_the_cpu():
    z = F.normalize(torch.randn(2000, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    on_cpu, on_cuda = PrototypeTree.fit(z, (5, 50), seed=0), PrototypeTree.fit(z.cuda(), (5, 50), seed=0)
    assert (on_cpu.assignment == on_cuda.assignment.cpu()).float().mean() > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_training_runs_and_resumes(method, tmp_path):
    settings = SMALL | METHODS[method] | {"device": "cuda", "precision": "bf16"}
    run = fit(method, pictures(), out=tmp_path / "run", **settings)
    assert run.device.type == "cuda" and run.history["loss"].notna().all()
    assert len(fit(method, pictures(), out=tmp_path / "run", resume=True, **settings).history) == SMALL["epochs"]
