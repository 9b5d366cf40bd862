"""fit: the same twice, resumed as if never stopped, and plain words for everything that can go wrong."""

import copy
import dataclasses
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.data import METHODS, SMALL, pictures
from support.runs import same, state_of

from hiercl import methods
from hiercl.datasets import HierarchicalDataset
from hiercl.evaluation import FineTuneConfig, fine_tune
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.methods.base import Step
from hiercl.methods.moco import MoCo
from hiercl.training.checkpoint import Checkpoint
from hiercl.training.loop import TrainingDivergedError, fit
from hiercl.training.optimisation import FitConfig, learning_rate
from hiercl.training.runs import load_run
from hiercl.views import ViewConfig


def test_same_seed_same_result_and_history():
    data = pictures()
    one, two, other = (fit("hcsc", data, seed=seed, **SMALL, **METHODS["hcsc"]) for seed in (3, 3, 4))
    assert same(one, two) and not same(one, other)
    assert {"epoch", "loss", "seconds", "items_per_second", "cpu_seconds", "lr"} <= set(one.history.columns)
    assert one.history["epoch"].tolist() == [0, 1, 2] and np.isfinite(one.history["loss"]).all()
    assert one.history["loss"].tolist() == two.history["loss"].tolist()


def test_the_callers_random_numbers_go_on_undisturbed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit("moco", pictures(), **{**SMALL, "epochs": 1})
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_is_as_never_stopped(method, tmp_path):
    """Stopped after every epoch, the end is the same bit for bit, history and optimiser included."""
    data = pictures()
    settings = SMALL | METHODS[method] | {"seed": 1}
    whole = fit(method, data, out=tmp_path / "whole", **settings)

    class Stop(Exception):
        pass

    def stop(run):
        raise Stop

    out = tmp_path / "stopped"
    for epoch in range(2):
        with pytest.raises(Stop):
            fit(method, data, out=out, resume=epoch > 0, callbacks=[stop], **settings)
        assert len(load_run(out).history) == epoch + 1
    resumed = fit(method, data, out=out, resume=True, **settings)
    assert same(whole, resumed)
    a, b = (Checkpoint(folder).read()["optimiser"]["state"] for folder in (tmp_path / "whole", out))
    assert all(torch.equal(a[p][name], b[p][name]) for p in a for name in a[p])
    losses = [c for c in whole.history if c.startswith(("loss", "keep"))]
    pd.testing.assert_frame_equal(whole.history[losses], resumed.history[losses], check_exact=True)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from support.data import METHODS, SMALL, pictures
from hiercl.training import fit
fit("hcsc", pictures(), seed=2, out={out!r}, **(SMALL | METHODS["hcsc"] | {{"epochs": 8}}))
"""


def test_killed_at_any_moment(tmp_path):
    """kill -9 in the middle of training: what is on disk is whole, and the end is as if nothing had happened."""
    data, settings = pictures(), SMALL | METHODS["hcsc"] | {"epochs": 8}
    whole = fit("hcsc", data, seed=2, **settings)
    out = tmp_path / "killed"
    code = KILLED.format(tests=str(Path(__file__).parents[1]), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (out / "history.csv").exists() or len((out / "history.csv").read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < deadline, "the training never got under way"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(load_run(out).history)
    assert 2 <= done < 8
    resumed = fit("hcsc", data, seed=2, out=out, resume=True, **settings)
    assert len(resumed.history) == 8 and same(whole, resumed)


def test_interrupting_keeps_the_last_epoch(tmp_path):
    data = pictures()
    reference = fit("moco", data, out=tmp_path / "reference", **SMALL)
    step = itertools.count()

    class Impatient(MoCo):
        def after_step(self, taken):
            super().after_step(taken)
            if next(step) == 5:  # in the third epoch of two steps
                raise KeyboardInterrupt

    for out in (None, tmp_path / "interrupted"):
        step = itertools.count()  # the third call resumes, and counts on: it is not interrupted again
        with pytest.warns(UserWarning, match="after 2 of 3 epochs"):
            run = fit(Impatient, data, out=out, **SMALL)
        assert run.interrupted and len(run.history) == 2
    resumed = fit(Impatient, data, out=out, resume=True, **SMALL)
    assert not resumed.interrupted and same(resumed, reference)


def test_loss_that_is_not_finite_stops(tmp_path):
    class Broken(MoCo):
        def forward(self, batch):
            step = super().forward(batch)
            if self.training and int(self.queue.head) == 64 % len(self.queue):
                term = dataclasses.replace(step.terms[0], logits=step.terms[0].logits * float("nan"))
                return Step((term,), step.items, step.keys)
            return step

    with pytest.raises(TrainingDivergedError, match=r"nan in epoch 0, step 2 \(instance nan\).*checkpoint\.pt"):
        fit(Broken, pictures(96), out=tmp_path / "run", queue=1000, **SMALL)
    assert all(torch.isfinite(v).all() for v in state_of(load_run(tmp_path / "run", method=Broken)).values())


@pytest.mark.parametrize(
    "items, batch, queue, steps",
    [(20, 32, 8, 1), (96, 32, 5, 3), (96, 64, 7, 1), (50, 32, 33, 1), (96, 32, 96, 3)],
)
@pytest.mark.parametrize("method", ["moco", "hcsc"])
def test_sizes_that_do_not_fit_are_handled(method, items, batch, queue, steps):
    """Data smaller than a batch, batch larger than the queue, queue not divisible by the batch."""
    settings = SMALL | METHODS[method] | {"epochs": 2, "batch": batch, "queue": queue}
    run = fit(method, pictures(items), **settings)
    assert run.config["setting"]["steps_per_epoch"] == steps and np.isfinite(run.history["loss"]).all()


def test_training_learns():
    """A golden run: a linear probe of the trained encoder is nearly always right, of the untrained one it is not."""
    from hiercl.evaluation.frozen import evaluate

    train, test = pictures(400), pictures(200, seed=1)
    settings = SMALL | {"epochs": 12, "batch": 64, "queue": 128}
    before = evaluate(fit("moco", train, **{**settings, "epochs": 0}), train, test).table()["linear"]
    after = evaluate(fit("moco", train, **settings), train, test).table()["linear"]
    assert before["class"] == pytest.approx(40, abs=8) and after["class"] == pytest.approx(98, abs=4)


def test_arms_of_one_seed_see_the_same(monkeypatch):
    """Same initial weights, same order, same views, whatever a method draws for its selection."""
    seen = {}
    for method in ("moco", "hcsc"):
        kind, batches = methods.get(method), []

        class Spy(kind):
            def forward(self, batch, batches=batches):
                batches.append((batch.items, batch.views[0].sum()))
                return super().forward(batch)

        first = fit(method, pictures(), **{**SMALL, "epochs": 0}, **METHODS[method])
        fit(Spy, pictures(), **SMALL, **METHODS[method])
        seen[method] = batches, first.encoder.state_dict()
    (a, weights_a), (b, weights_b) = seen.values()
    assert len(a) == len(b) == 6
    assert all(torch.equal(x, y) for left, right in zip(a, b, strict=True) for x, y in zip(left, right, strict=True))
    assert all(torch.equal(weights_a[k], weights_b[k]) for k in weights_a)


def test_callbacks_and_monitor():
    seen = []
    settings = {**SMALL, "epochs": 4, "monitor_every": 2}
    run = fit("moco", pictures(), callbacks=[lambda run: seen.append(len(run.history))], **settings)
    assert seen == [1, 2, 3, 4]
    monitored = run.history["knn class"].notna().tolist()
    assert monitored == [False, True, False, True] and (run.history["knn group"].dropna() <= 100).all()


def test_learning_rate_rises_and_falls():
    config = FitConfig(lr=2.0, lr_warm_up=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[9] == 2.0 and rates[0] == pytest.approx(0.2) and all(np.diff(rates[:10]) > 0)
    assert all(np.diff(rates[10:]) < 0) and rates[-1] < 0.01
    assert rates[55] == pytest.approx(1.0, abs=0.05)


def test_saved_run_comes_back(tmp_path):
    data = pictures()
    run = fit("hcsc", data, **SMALL, **METHODS["hcsc"])
    run.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert same(run, again) and again.tree.sizes == (2, 4, 8)
    assert torch.equal(again.tree.assignment, run.tree.assignment)
    assert torch.equal(run.step(data, batch=16).loss, again.step(data, batch=16).loss)
    pd.testing.assert_frame_equal(run.history, again.history)
    with pytest.raises(FileExistsError, match="already holds a run"):
        run.save(tmp_path / "run")
    json.loads((tmp_path / "run" / "config.json").read_text())
    assert {"torch", "python", "device", "git_commit", "threads"} <= set(again.environment)


def test_a_function_has_to_be_given_again(tmp_path):
    def halved(posterior):
        return 1 - posterior / 2

    fit("hcsc", pictures(), out=tmp_path / "run", select=halved, **SMALL, **METHODS["hcsc"])
    with pytest.raises(ValueError, match="your_function"):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run", select=halved).method.config.select is halved


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    class Exploding(MoCo):
        def after_step(self, step):
            super().after_step(step)
            next(iter(self.encoder.parameters())).data.fill_(float("inf"))

    with pytest.raises(TrainingDivergedError, match=r"nan|not finite"):
        fit(Exploding, pictures(32), out=tmp_path / "run", **SMALL)
    assert all(torch.isfinite(v).all() for v in state_of(load_run(tmp_path / "run", method=Exploding)).values())


def test_another_function_of_the_same_name_is_another_setting(tmp_path):
    settings = SMALL | METHODS["hcsc"]
    fit("hcsc", pictures(), out=tmp_path / "run", select=lambda p: 1 - p, **settings)
    with pytest.raises(ValueError, match="select"):
        fit("hcsc", pictures(), out=tmp_path / "run", resume=True, select=lambda p: 1 - 0.5 * p, **settings)


def test_step_and_audit_of_a_finished_run():
    data = pictures()
    run = fit("hcsc", data, **SMALL, **METHODS["hcsc"])
    before = state_of(run)
    before = {k: v.clone() for k, v in before.items()}
    step = run.step(data, items=[5, 6, 7])
    assert step.items.tolist() == [5, 6, 7] and {t.name for t in step.terms} >= {"instance 0", "prototype 2"}
    table = run.audit(data, batches=2, batch=32)
    assert set(table["term"]) == {t.name for t in step.terms} and set(table["level"]) == {"group", "class"}
    row = table[(table["term"] == "instance 0") & (table["level"] == "group")].iloc[0]
    assert row["pulled"] == 64 and row["precision"] == 1 and 0.2 < row["false_negative_rate"] < 0.8
    assert all(torch.equal(before[k], v) for k, v in state_of(run).items())
    with pytest.raises(ValueError, match="trained on 64 items"):
        run.step(pictures(50))
    with pytest.raises(ValueError, match="other items than these"):
        run.step(pictures(64, seed=5))
    assert run.step(data, items=5).items.tolist() == [5]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"method": "mocco"}, ValueError, "Did you mean 'moco'"),
        ({"method": "MoCo"}, ValueError, "Did you mean 'moco'"),
        ({"dataset": pictures(1)}, ValueError, "contrast needs at least two"),
        ({"epoch": 3}, ValueError, "Unknown setting 'epoch'. Did you mean 'epochs'"),
        ({"prototypes": (2, 3)}, ValueError, "no setting of moco. These methods have it: hcsc, supcon"),
        ({"encoder": "resnet"}, ValueError, "resnet18"),
        ({"batch": 1}, ValueError, "at least 2"),
        ({"optimiser": "adam"}, ValueError, "adamw"),
        ({"lr": 0.0}, ValueError, "above 0"),
        ({"resume": True}, ValueError, "needs out="),
        ({"dataset": [1, 2]}, ValueError, "HierarchicalDataset"),
        ({"lr": "0.1"}, ValueError, "a number above 0 or None"),
        ({"epochs": 1.5}, ValueError, "a whole number"),
        ({"seed": -1}, ValueError, "at least 0"),
        ({"method": "hcsc", "prototypes": 20}, ValueError, "a tuple of whole numbers"),
        ({"method": "hcsc", "reduce": "avg"}, ValueError, "one of 'mean', 'sum'"),
        ({"method": "hcsc", "select": lambda p: p[:1]}, ValueError, "shape"),
        ({"method": "hcsc", "restarts": 0}, ValueError, "at least 1"),
    ],
)
def test_wrong_calls(change, error, message):
    call = {"method": "moco", "dataset": pictures(8)} | SMALL | change
    # In tests the annotations are checked as well, and may object before our own words do.
    with pytest.raises((error, TypeError), match=message):
        fit(call.pop("method"), call.pop("dataset"), **call)


def test_no_cuda_is_said():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match=r"'cuda': torch sees no such device here. It sees cpu"):
        fit("moco", pictures(8), device="cuda", **SMALL)


def test_a_folder_with_a_run_is_safe(tmp_path):
    data, out = pictures(), tmp_path / "run"
    run = fit("moco", data, out=out, **SMALL)
    with pytest.raises(FileExistsError, match="resume=True"):
        fit("moco", data, out=out, **SMALL)
    with pytest.raises(ValueError, match="epochs: there 3, here 2"):
        fit("moco", data, out=out, resume=True, **{**SMALL, "epochs": 2})
    with pytest.raises(ValueError, match="fingerprint"):
        fit("moco", pictures(64, seed=9), out=out, resume=True, **SMALL)
    assert same(run, fit("moco", data, out=out, resume=True, **SMALL))
    older = json.loads((out / "config.json").read_text())
    older["fit"] |= {"lr": None, "weight_decay": None}  # as they stood before defaults were written down
    (out / "config.json").write_text(json.dumps(older))
    assert same(run, fit("moco", data, out=out, resume=True, **SMALL))
    with pytest.raises(ValueError, match=r"lr: there 0.001, here 0.1"):
        fit("moco", data, out=out, resume=True, **SMALL, lr=0.1)
    whole = (out / "checkpoint.pt").read_bytes()
    for damaged in (b"rubbish", b"", whole[: len(whole) // 2]):
        (out / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            load_run(out)
    with pytest.raises(FileNotFoundError, match="No run at"):
        load_run(tmp_path / "nothing")


def test_names_of_settings_are_unique():
    """fit and the command line give every setting by its name alone."""
    for name in methods.names():
        fields = [f.name for c in (FitConfig, ViewConfig, methods.get(name).Config) for f in dataclasses.fields(c)]
        assert len(fields) == len(set(fields)), name


def test_an_ended_run_keeps_the_environment_that_trained_it(tmp_path, monkeypatch):
    settings = SMALL | {"epochs": 1}
    fit("simclr", pictures(), out=tmp_path / "run", **settings)
    monkeypatch.setattr("hiercl.training.start.describe_environment", lambda *_: {"git_commit": "another"})
    again = fit("simclr", pictures(), out=tmp_path / "run", resume=True, **settings)
    assert again.environment["git_commit"] != "another" and again.environment["torch"]


def test_a_continued_run_names_both_environments(tmp_path, monkeypatch):
    settings = SMALL | {"epochs": 3}

    def stop(run):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        first = fit("simclr", pictures(), out=tmp_path / "run", callbacks=[stop], **settings)
    monkeypatch.setattr("hiercl.training.start.describe_environment", lambda *_: {"git_commit": "another"})
    again = fit("simclr", pictures(), out=tmp_path / "run", resume=True, **settings)
    assert again.environment["git_commit"] == "another" and again.environment["continued"] == first.environment
    assert load_run(tmp_path / "run").environment == again.environment


def test_a_run_from_before_a_setting_existed(tmp_path):
    settings = SMALL | {"epochs": 1}
    run = fit("simclr", pictures(), out=tmp_path / "run", **settings)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["fit"]["norm"], config["fit"]["workers"], config["views"]["blur"], config["method_settings"]["dim"]
    path.write_text(json.dumps(config))
    assert same(load_run(tmp_path / "run"), run)
    assert same(fit("simclr", pictures(), out=tmp_path / "run", resume=True, workers=0, **settings), run)


def test_compiled_encoders_do_the_same(monkeypatch):
    """For a method that calls the encoder, and for one that asks it for its stages. No C++ is made of the graphs."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    for method in ("moco", "a_hmlc"):
        settings = SMALL | METHODS[method] | {"epochs": 1}
        plain, compiled = (fit(method, pictures(64), compile=on, **settings).history["loss"] for on in (False, True))
        assert compiled.tolist() == pytest.approx(plain.tolist(), abs=1e-4)


def test_a_copy_of_a_compiled_encoder_has_weights_of_its_own(monkeypatch):
    """It is not compiled, and learns: nothing in it runs the weights of the original."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    run = fit("moco", pictures(64), compile=True, **SMALL | {"epochs": 1})
    twin = copy.deepcopy(run.encoder)
    with torch.no_grad():
        for value in twin.parameters():
            value.zero_()
    assert not twin(torch.rand(2, 3, 16, 16)).any() and run.encoder(torch.rand(2, 3, 16, 16)).any()
    tuned = fine_tune(run.encoder, pictures(64), FineTuneConfig(epochs=3))  # the head is 0 in the first step
    before, after = run.encoder.state_dict(), tuned.encoder.state_dict()
    moved = [name for name, _ in run.encoder.named_parameters() if not torch.equal(before[name], after[name])]
    assert len(moved) == len(list(run.encoder.parameters()))


@pytest.mark.parametrize(
    "method, settings, message",
    [
        ("hmc", {"maximum": "pair"}, "'maximum' is no setting of hmc. These methods have it: hce, hmce"),
        ("simclr", {"queue": 10}, "'queue' is no setting of simclr. These methods have it: moco, hcsc, csml"),
        ("moco", {"quueue": 10}, "Did you mean 'queue'"),
    ],
)
def test_a_setting_of_other_methods_says_whose_it_is(method, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(method, pictures(), **settings)


def test_without_labels_the_way_out_is_named():
    data = HierarchicalDataset.from_arrays(pictures().items, np.zeros(64, dtype=int), Hierarchy.from_dict(["all"]))
    with pytest.raises(ValueError, match="choose simclr, moco, hcsc or csml"):
        fit("hmc", data)
    with pytest.raises(ValueError, match="leave out neighbour_source='labels'"):
        fit("csml", data, neighbour_source="labels")
