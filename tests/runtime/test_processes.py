"""Tests that two processes do what one does: the same losses, gradients, queue and prototypes, up to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.data import METHODS, SMALL, pictures
from support.processes_worker import one_step, similarity, trained

from hiercl import methods
from hiercl.datasets import Feed, embed_with
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import Draws
from hiercl.training.loop import fit
from hiercl.training.runs import load_run

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that two processes wrote. They are started as docs/processes.md says."""
    folder = tmp_path_factory.mktemp("two")
    # On a CPU `accelerate launch` starts one process only, unless MPI is there; torchrun is what it calls on GPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, "-m", "support.processes_worker", str(folder)],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def tensors(state: dict) -> dict[str, torch.Tensor]:
    """Returns all tensors of a state, also those of a tree of prototypes."""
    found = {}
    for name, value in state.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": tensor for inner, tensor in tensors(value).items()}
        elif isinstance(value, list | tuple):
            found |= tensors({f"{name}.{i}": inner for i, inner in enumerate(value)})
        elif isinstance(value, torch.Tensor):
            found[name] = value
    return found


def assert_same(a: dict, b: dict, tolerance: float) -> None:
    a, b = tensors(a), tensors(b)
    assert a.keys() == b.keys() and a
    for name, value in a.items():
        assert torch.allclose(value.double(), b[name].double(), atol=tolerance, rtol=tolerance), name


def test_every_method_is_tested():
    assert set(METHODS) == set(methods.names())


@pytest.mark.parametrize("method", METHODS)
def test_one_step_of_two_processes_is_that_of_one(folder, method):
    """Gradients, loss and queue."""
    alone = one_step(method)
    for rank in (0, 1):
        assert_same(torch.load(folder / f"{method}-step-{rank}.pt"), alone, tolerance=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_training_in_two_processes_is_that_in_one(folder, method):
    alone, together = trained(method), load_run(folder / method)
    assert alone.environment["processes"] == 1 and together.environment["processes"] == 2
    for column in alone.history.columns:
        if column == "loss floor":  # a process has some of the anchors, of which less is known than of all
            assert (together.history[column] <= alone.history[column] + 1e-3).all()
        elif column.startswith(("loss", "keep", "without")):
            expected = pytest.approx(alone.history[column].tolist(), rel=1e-3, abs=1e-3, nan_ok=True)
            assert together.history[column].tolist() == expected, column
    states = [run.method.state_dict() for run in (together, alone)]
    if "neighbours" in states[0]:
        features = embed_with(alone.method.key_encoder, Feed(pictures(), "cpu"))
        # The encoder has learned since the last mining, so equally similar neighbours differ a little.
        found, expected = (similarity(features, state.pop("neighbours")) for state in states)
        assert torch.allclose(found, expected, atol=5e-3)
    trees = [state["_extra_state"]["tree"] for state in states if "tree" in state.get("_extra_state", {})]
    if trees and trees[0] is not None:
        found, expected = (tree.pop("assignment") for tree in trees)
        assert (found != expected).float().mean() < 0.02  # an item may be as near to another prototype
    assert_same(*states, tolerance=2e-3)


@pytest.mark.parametrize("what", [*METHODS, "batch-norm"])
def test_both_processes_hold_the_same(folder, what):
    first, second = (torch.load(folder / f"{what}-state-{rank}.pt") for rank in (0, 1))
    assert_same(first, second, tolerance=0.0)


def test_rows_are_shared_out_in_order():
    rows = torch.arange(12)
    parts = [Processes(rank, 3).own(rows) for rank in range(3)]
    assert torch.equal(torch.cat(parts), rows)
    with pytest.raises(ValueError, match="12 cannot be shared evenly by 5 processes"):
        Processes(0, 5).own(rows)


def test_every_row_draws_the_same_numbers_in_any_number_of_processes():
    def draw(rank, count, rows):
        return Draws(torch.Generator().manual_seed(0), Processes(rank, count)).uniform(rows, 2)

    assert torch.equal(torch.cat([draw(0, 2, 3), draw(1, 2, 3)]), draw(0, 1, 6))


def test_a_batch_that_cannot_be_shared_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match="multiple of 8 here; it is 12"):
        fit("moco", pictures(), **SMALL | {"batch": 12, "norm": "split"})
    monkeypatch.setattr(Processes, "here", classmethod(lambda cls: cls(0, 5)))
    with pytest.raises(ValueError, match="batch=32 cannot be shared evenly by 5 processes"):
        fit("moco", pictures(), **SMALL)
