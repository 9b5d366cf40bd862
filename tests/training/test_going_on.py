"""Going on: more epochs, runs in memory, callbacks that stop, gradients of several steps, schedules, devices."""

import json
import os
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from support.data import METHODS, SMALL, pictures
from support.runs import same, state_of

from hiercl.methods.moco import MoCo
from hiercl.runtime.seeds import own_generators
from hiercl.study.study import Study
from hiercl.training import start as starting
from hiercl.training.callbacks import CSVLog, EarlyStopping, TensorBoard
from hiercl.training.loop import fit
from hiercl.training.optimisation import FitConfig, learning_rate
from hiercl.training.runs import Run, load_run

DATA = pictures(64)  # two steps an epoch
TINY = SMALL | {"queue": 40, "seed": 1}


@cache
def _whole() -> Run:
    """A run that nothing interrupted, made once."""
    return fit("moco", DATA, **TINY)


def interrupt_after(epochs: int):
    def callback(run):
        if len(run.history) == epochs:
            raise KeyboardInterrupt

    return callback


# ---- going on ----


def test_a_run_in_memory_goes_on_as_if_never_interrupted(tmp_path):
    """From memory, from a saved run, and into a folder; settings that are not given are those of the run."""
    settings = TINY | METHODS["csml"] | {"epochs": 2}
    whole = fit("csml", DATA, **settings)
    with pytest.warns(UserWarning, match="after 1 of 2 epochs"):
        part = fit("csml", DATA, callbacks=[interrupt_after(1)], **settings)
    before = {name: value.clone() for name, value in state_of(part).items()}
    saved = load_run(part.save(tmp_path / "saved"))
    for resumed in (
        fit("csml", DATA, resume=part, progress=False),
        fit("csml", DATA, resume=saved, progress=False),
        fit("csml", DATA, resume=part, out=tmp_path / "new", progress=False),
        load_run(tmp_path / "new"),
    ):
        assert same(whole, resumed) and not resumed.interrupted
        assert resumed.history["loss"].tolist() == whole.history["loss"].tolist()
    assert len(load_run(tmp_path / "saved").history) == 2, "a run with a folder goes on in its folder"
    assert part.interrupted and all(torch.equal(before[name], value) for name, value in state_of(part).items())
    assert same(whole, fit("csml", DATA, resume=whole, progress=False)), "a run that has ended is given back"


def test_more_epochs_than_a_run_was_to_have(tmp_path):
    """It goes on with the schedule of the longer training and says so, in a folder as in memory."""
    # The tree is made after one epoch of two, or after three of five.
    settings = TINY | METHODS["hcsc"] | {"prototypes": (2, 4), "warm_up": 0.5, "epochs": 2}
    run = fit("hcsc", DATA, out=tmp_path / "run", **settings)
    with pytest.warns(UserWarning, match="was to have 2 epochs. After 2 of them it goes on as a training of 5"):
        longer = fit("hcsc", DATA, out=tmp_path / "run", resume=True, **settings | {"epochs": 5})
    assert longer.history["epoch"].tolist() == list(range(5)) and longer.history["loss"][:2].equals(run.history["loss"])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["fit"]["epochs"] == 5
    assert longer.environment["schedule_changed"] == {"after": 2, "epochs": 2}
    assert load_run(tmp_path / "run").environment == longer.environment
    expected = [learning_rate(2 * epoch + 1, 10, longer.recipe.fit) for epoch in range(2, 5)]
    assert longer.history["lr"][2:].tolist() == expected and longer.method.info.epochs == 5
    assert longer.history["loss prototype 0"][2:].notna().all(), "the tree that is there stays in use"
    assert not same(longer, fit("hcsc", DATA, **settings | {"epochs": 5}))

    in_memory = fit("hcsc", DATA, **settings)
    with pytest.warns(UserWarning, match="goes on as a training of 5"):
        assert same(longer, fit("hcsc", DATA, resume=in_memory, epochs=5, progress=False))
    with pytest.raises(ValueError, match="gone on in the meantime: its folder has 5 epochs"):
        fit("hcsc", DATA, resume=run, epochs=7)


def test_an_untrained_run_trained_further_is_a_training_of_that_length(recwarn):
    untrained = fit("moco", DATA, **TINY | {"epochs": 0})
    recwarn.clear()
    assert same(fit("moco", DATA, resume=untrained, epochs=3, progress=False), _whole())
    assert not recwarn.list


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 1}, r"^Run\(moco.*epochs: there 2, here 1.*more epochs are the only change.*init=run"),
        ({"lr": 0.5}, "lr: there 0.001, here 0.5"),
        ({"optimizer": "sgd"}, "optimiser: there 'muon', here 'sgd'"),
        ({"method": "simclr"}, "is no setting of simclr"),
        ({"dataset": pictures(64, seed=5)}, "fingerprint"),
    ],
)
def test_a_run_goes_on_with_its_own_settings_only(change, message):
    run = _two_epochs()
    with pytest.raises(ValueError, match=message):
        fit(**{"method": "moco", "dataset": DATA, "resume": run, "progress": False} | change)


@cache
def _two_epochs() -> Run:
    """A run of two epochs, made once."""
    return fit("moco", DATA, **TINY | {"epochs": 2})


def test_what_cannot_go_on_says_why(tmp_path, as_a_user):
    run = _two_epochs()
    with pytest.raises(ValueError, match=r"cannot go on: the state of its optimiser is not at hand.*init=run"):
        fit("moco", DATA, resume=run.changed(), epochs=5)
    folder = run.changed().save(tmp_path / "old")  # as run.save wrote it in 0.1.0
    with pytest.raises(ValueError, match=r"without its optimiser: it cannot be continued. init=run"):
        fit("moco", DATA, out=folder, resume=True, **TINY)
    assert same(run, fit("moco", DATA, out=folder, resume=True, **TINY | {"epochs": 2}))
    with pytest.raises(FileExistsError, match="is that of another run"):
        fit("moco", DATA, out=folder, resume=run)
    with pytest.raises(ValueError, match=r"resume='runs/a': give a run \(hiercl.load_run reads"):
        fit("moco", DATA, resume="runs/a")


# ---- callbacks ----


@pytest.mark.parametrize("folder", [False, True])
def test_a_callback_ends_the_training_and_the_run_is_complete(folder, tmp_path):
    seen, out = [], tmp_path / "run" if folder else None

    def stop(run):
        if len(run.history) == 2:
            raise StopIteration

    run = fit("moco", DATA, out=out, callbacks=[stop, lambda run: seen.append(len(run.history))], **TINY)
    assert run.stopped and not run.interrupted and seen == [1, 2] and "2 of 3 epochs, stopped" in str(run)
    if folder:
        assert load_run(out).stopped and not load_run(out).interrupted
        again = fit("moco", DATA, out=out, resume=True, **TINY)
        assert again.stopped and same(run, again), "a run that has ended is given back"
    on = fit("moco", DATA, resume=run, progress=False)
    assert same(on, _whole()) and not on.stopped and len(on.history) == 3


@pytest.mark.parametrize("callbacks", [print, [EarlyStopping], ["loss"], 5])
def test_callbacks_are_a_list_of_functions(callbacks, as_a_user):
    with pytest.raises(ValueError, match="give a list of functions that take the run"):
        fit("moco", DATA, callbacks=callbacks, **TINY)


def test_only_true_stops():
    answers = iter([None, "a path", np.True_])
    run = fit("moco", DATA, callbacks=[lambda run: next(answers)], **TINY | {"epochs": 5})
    assert len(run.history) == 3 and run.stopped
    assert not fit("moco", DATA, callbacks=[lambda run: True], **TINY | {"epochs": 1}).stopped, "it has all its epochs"


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_of_a_callback_does_not_lose_the_run(folder, tmp_path):
    def broken(run):
        if len(run.history) == 2:
            raise ZeroDivisionError("mine")

    out = tmp_path / "run" if folder else None
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        fit("moco", DATA, out=out, callbacks=[broken], **TINY)
    note = "".join(caught.value.__notes__)
    assert ("resume=True" if folder else "resume=error.run") in note and "2 epochs" in note
    run = caught.value.run
    assert run.interrupted and same(fit("moco", DATA, resume=run, progress=False), _whole())


def _with_history(**columns) -> Run:
    run = _two_epochs()
    recipe = replace(run.recipe, fit=replace(run.recipe.fit, monitor_every=3))
    return replace(run, recipe=recipe, history=pd.DataFrame(columns))


def test_early_stopping():
    losses = [3.0, 2.0, 2.5, 2.1, 1.9, 2.0, 2.2, 2.0]
    stops = [EarlyStopping(patience=3)(_with_history(loss=losses[: n + 1])) for n in range(8)]
    assert stops == [False] * 7 + [True]
    knn = [np.nan, 50.0, np.nan, 49.0, np.nan, 48.0]  # measured in every second epoch
    stops = [EarlyStopping("knn class", patience=2)(_with_history(**{"knn class": knn[: n + 1]})) for n in range(6)]
    assert stops == [False] * 5 + [True]
    assert not EarlyStopping("keep", better="lower")(_with_history(loss=[1.0] * 3)), "the column may still come"
    with pytest.raises(ValueError, match="Unknown column of the history 'knn clas'"):
        EarlyStopping("knn clas")(_with_history(loss=[1.0] * 4))
    with pytest.raises(ValueError, match="say whether 'higher' or 'lower' values of 'lr' are better"):
        EarlyStopping("lr")
    with pytest.raises(ValueError, match="patience=0"):
        EarlyStopping(patience=0)


def test_logs(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings, file = TINY | {"monitor_every": 2}, tmp_path / "logs" / "run.csv"
    with pytest.warns(UserWarning, match="Interrupted"):
        part = fit("moco", DATA, callbacks=[TensorBoard(tmp_path / "board"), interrupt_after(1)], **settings)
    run = fit("moco", DATA, resume=part, callbacks=[TensorBoard(tmp_path / "board"), CSVLog(file)], progress=False)
    pd.testing.assert_frame_equal(pd.read_csv(file), run.history)
    log = events.EventAccumulator(str(tmp_path / "board"), purge_orphaned_data=True)
    log.Reload()
    assert [event.step for event in log.Scalars("loss/all")] == [1, 2, 3]
    assert [event.value for event in log.Scalars("loss/all")] == pytest.approx(run.history["loss"].tolist())
    assert [event.step for event in log.Scalars("knn/class")] == [2, 3]


def test_tensorboard_is_optional(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoard(tmp_path)


# ---- gradients of several steps ----


class Forgetful(MoCo):
    """MoCo with a queue that stays as it is: the loss of a batch is the mean of what its anchors give alone."""

    def enqueue(self, keys, items):
        pass


@pytest.mark.parametrize("batch, accumulate, large", [(16, 2, 32), (16, 100, 64)])
def test_accumulated_steps_move_the_weights_as_one_large_batch(batch, accumulate, large):
    """Weights, momentum encoder and learning rates agree; also where an epoch has fewer steps than a group."""
    plain = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0, "jitter_probability": 0, "grayscale": 0}
    settings = TINY | plain | {"norm": "group", "optimiser": "sgd", "lr": 0.1, "momentum": 0.5, "batch": large}
    one, several = (
        fit(Forgetful, DATA, **settings | more) for more in ({}, {"batch": batch, "accumulate": accumulate})
    )
    start = fit(Forgetful, DATA, **settings | {"epochs": 0})
    for part in ("encoder", "key_encoder"):
        weights = [
            torch.cat([p.flatten() for p in getattr(run.method, part).parameters()]) for run in (start, one, several)
        ]
        moved, apart = (weights[0] - weights[1]).norm(), (weights[1] - weights[2]).norm()
        assert moved > 1e-3 and apart < 1e-3 * moved
    assert several.history["lr"].tolist() == one.history["lr"].tolist()


def test_the_queue_follows_every_step_and_the_momentum_every_move():
    calls = []

    class Spy(MoCo):
        def after_step(self, step):
            calls.append("moved")
            super().after_step(step)

        def remember(self, step):
            calls.append(int(self.queue.head))
            super().remember(step)

    run = fit(Spy, pictures(40), **TINY | {"batch": 8, "queue": 1000, "accumulate": 2, "epochs": 1})
    assert calls == [0, "moved", 8, 16, "moved", 24, "moved", 32] and int(run.method.queue.head) == 40


def test_an_interrupted_group_leaves_accelerate_as_it_was():
    from accelerate.state import GradientState

    class Broken(MoCo):
        def remember(self, step):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(Broken, DATA, **TINY | {"accumulate": 5})
    assert GradientState().sync_gradients and GradientState().num_steps == 1


def test_default_rates_follow_the_averaged_batch():
    from hiercl.training.recipe import make_recipe

    rates = [
        make_recipe("moco", DATA, {"optimiser": "sgd", **sizes}).fit.lr
        for sizes in ({"batch": 32}, {"batch": 8, "accumulate": 4}, {"batch": 32, "accumulate": 9})
    ]
    assert rates == [0.03 * 32 / 256, 0.03 * 32 / 256, 0.03 * 64 / 256]


# ---- schedules ----


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        (lambda share: 1 - share**2, [0.5, 1, 1, 1 - 1 / 16, 0.75, 1 - 9 / 16]),
        (lambda share: int(share < 0.5), [0.5, 1, 1, 1, 0, 0]),
    ],
)
def test_schedules_begin_after_the_warm_up(schedule, expected):
    config = FitConfig(lr=2.0, lr_warm_up=1 / 3, lr_schedule=schedule)
    assert [learning_rate(move, 6, config) / 2 for move in range(6)] == expected


@pytest.mark.parametrize("schedule, shown", [(lambda share: 2.0, "2.0"), (lambda share: None, "None")])
def test_a_schedule_gives_factors(schedule, shown):
    with pytest.raises(ValueError, match=f"lr_schedule gives {shown} for the share 0 .* from 0 to 1"):
        fit("moco", DATA, lr_schedule=schedule, **TINY | {"epochs": 1})


def test_a_schedule_of_ones_own_has_to_be_given_again(tmp_path):
    def falling(share):
        return 1 - share

    settings = TINY | {"epochs": 1}
    run = fit("moco", DATA, lr_schedule=falling, out=tmp_path / "run", **settings)
    assert same(run, fit("moco", DATA, lr_schedule="linear", **settings))
    with pytest.raises(ValueError, match="load_run\\(path, lr_schedule=your_function\\)"):
        load_run(tmp_path / "run")
    assert same(run, load_run(tmp_path / "run", lr_schedule=falling))
    assert same(run, fit("moco", DATA, lr_schedule=falling, out=tmp_path / "run", resume=True, **settings))
    with pytest.raises(ValueError, match="lr_schedule"):
        fit("moco", DATA, lr_schedule=lambda share: 1.0, out=tmp_path / "run", resume=True, **settings)


def test_studies_take_the_new_settings_and_keep_old_hashes(tmp_path):
    base = TINY | {"method": "moco", "epochs": 1}
    del base["seed"], base["progress"]
    variants = {"as before": {}, "two steps": {"accumulate": 2}, "linear": {"lr_schedule": "linear"}}
    study = Study(base, variants, seeds=1, out=tmp_path).of(DATA, pictures(16, seed=1))
    first, *others = (member.configuration for member in study.members())
    explicit = Study(base | {"accumulate": 1, "lr_schedule": "cosine", "device": torch.device("cpu")}, {"same": {}})
    (same_one,) = explicit.of(DATA, pictures(16, seed=1)).members()[:1]
    assert same_one.configuration.training_hash == first.training_hash
    assert len({first.training_hash, *(other.training_hash for other in others)}) == 3
    with pytest.raises(ValueError, match=r"lr_schedule=.* cannot be told from other functions"):
        Study(base, {"a": {"lr_schedule": EarlyStopping()}}, seeds=1).of(DATA, pictures(16, seed=1)).members()


# ---- devices ----


def test_devices_are_those_that_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [str(starting.pick_device(name)) for name in ("cpu", "cuda", "cuda:1", torch.device("cuda:0"))] == [
        "cpu",
        "cuda",
        "cuda:1",
        "cuda:0",
    ]
    for wrong in ("cuda:2", "mps", "cdua", "cuda:x", torch.device("meta")):
        with pytest.raises(ValueError, match=f"'{wrong}': torch sees no such .* It sees cpu, cuda:0, cuda:1. dev"):
            starting.pick_device(wrong)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert starting.pick_device("mps").type == "mps"
    assert FitConfig(device=torch.device("mps")).to_json()["device"] == "mps"


def test_the_environment_of_accelerate_changes_no_setting(monkeypatch):
    """What ``accelerate config`` and a shell may have set."""
    expected = fit("moco", DATA, **TINY | {"epochs": 1})
    settings = {"MIXED_PRECISION": "bf16", "GRADIENT_ACCUMULATION_STEPS": "4", "DYNAMO_BACKEND": "EAGER"}
    for name, value in settings.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator = starting.make_accelerator(torch.device("cpu"))
    assert accelerator.mixed_precision == "no" and accelerator.gradient_accumulation_steps == 1
    assert accelerator.state.dynamo_plugin.backend.value == "NO"
    assert same(expected, fit("moco", DATA, **TINY | {"epochs": 1}))
    assert all(os.environ[f"ACCELERATE_{name}"] == value for name, value in settings.items())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert starting.pick_device("auto").type == "cpu", "accelerate launch --cpu"


def test_a_training_on_the_cpu_leaves_cuda_alone(monkeypatch):
    """With several GPUs it neither asks for their random numbers, which would begin CUDA, nor warns."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: pytest.fail("CUDA began"))
    before = torch.random.get_rng_state()
    with own_generators(torch.device("cpu")):
        torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), before)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    seen = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: seen.append(torch.device("cuda", device)))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    with own_generators(torch.device("cpu")):
        pass
    assert [device.index for device in seen] == [0, 1], "torch.manual_seed seeds them, too"


@pytest.mark.parametrize("name", ["cuda:1", "mps", "cpu"])
def test_accelerate_uses_this_device(name, monkeypatch):
    """Without such a device here: only which one Accelerate would put the model on."""
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "cuda:7")  # what a shell may have set is not what fit was asked for
    monkeypatch.setattr("accelerate.state.check_cuda_p2p_ib_support", lambda: True)
    assert starting.make_accelerator(torch.device(name)).device == torch.device(name)
    starting.make_accelerator(torch.device("cpu"))
