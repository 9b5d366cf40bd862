"""A run's folder under faults: changed bits, other files, two writers, a full disk; and settings of numpy."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import SMALL, pictures
from support.disks import small_disk
from support.runs import same

from hiercl.runtime.files import DiskFullError
from hiercl.training.loop import fit
from hiercl.training.runs import load_run

DATA = pictures(64)
TINY = SMALL | {"queue": 40, "epochs": 2}


@cache
def folder_of(seed: int) -> Path:
    """The folder of a finished run, made once."""
    out = Path(tempfile.mkdtemp()) / "run"
    fit("moco", DATA, out=out, seed=seed, **TINY)
    return out


@pytest.fixture
def out(tmp_path):
    return Path(shutil.copytree(folder_of(0), tmp_path / "run"))


def test_a_changed_bit_is_noticed(out):
    path = out / "checkpoint.pt"
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 5).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        for read in (lambda: load_run(out), lambda: fit("moco", DATA, out=out, resume=True, **TINY)):
            with pytest.raises(ValueError, match=rf"{path} cannot be read: it is damaged.*copy the folder again"):
                read()
        with pytest.raises(ValueError, match="cannot be read: it is damaged"):
            fit("moco", DATA, init=out, **TINY)
    path.write_bytes(content)
    assert same(load_run(out), load_run(folder_of(0)))


def test_a_checkpoint_belongs_to_its_settings(out):
    message = rf"{out / 'checkpoint.pt'} does not belong to {out / 'config.json'}: one of them was altered"
    whole = (out / "config.json").read_text()
    for old, new in (('"epochs": 2', '"epochs": 20'), ('"temperature": 0.1', '"temperature": 0.3')):
        assert old in whole
        (out / "config.json").write_text(whole.replace(old, new))
        with pytest.raises(ValueError, match=message):
            load_run(out)
    (out / "config.json").write_text(whole)
    shutil.copy(folder_of(1) / "checkpoint.pt", out)
    for read in (lambda: load_run(out), lambda: fit("moco", DATA, out=out, resume=True, **TINY)):
        with pytest.raises(ValueError, match=message):
            read()


def test_a_checkpoint_without_the_hash_loads_and_that_of_another_method_is_named(out, tmp_path):
    """As version 0.1.0 wrote them."""
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    del state["config"]
    torch.save(state, out / "checkpoint.pt")
    assert same(load_run(out), load_run(folder_of(0)))
    other = fit("simclr", DATA, out=tmp_path / "other", **SMALL | {"epochs": 0}).path
    state = torch.load(other / "checkpoint.pt", weights_only=True)
    del state["config"]
    torch.save(state, out / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint.pt is empty, cut or altered .*it may be that of another run"):
        load_run(out)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"method": "moco"}', '{"method": 3}'])
def test_a_damaged_config_is_named(out, content):
    (out / "config.json").write_text(content)
    for read in (lambda: load_run(out), lambda: fit("moco", DATA, out=out, resume=True, **TINY)):
        with pytest.raises(ValueError, match=rf"{out / 'config.json'} is empty, cut or altered"):
            read()
    (out / "config.json").unlink()
    with pytest.raises(ValueError, match=r"holds checkpoint.pt and no config.json"):
        fit("moco", DATA, out=out, resume=True, **TINY)


@pytest.mark.parametrize("fit_settings", [{}, {"epochs": "many"}])
def test_a_config_without_a_number_of_epochs_is_named(out, fit_settings):
    content = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(content | {"fit": fit_settings}))
    with pytest.raises(ValueError, match=rf"{out / 'config.json'}(: epochs='many'| is empty, cut or altered)"):
        fit("moco", DATA, out=out, resume=True, **TINY | {"epochs": 9})


def test_killed_while_it_is_made_longer(out, monkeypatch):
    """Between the new settings and the new checkpoint: both old and new settings fit the checkpoint."""
    longer = TINY | {"epochs": 4}

    def killed(*_):
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr("hiercl.training.start.Training.save", killed)
        with pytest.warns(UserWarning, match="goes on as a training of 4"), pytest.raises(SystemError):
            fit("moco", DATA, out=out, resume=True, **longer)
    assert json.loads((out / "config.json").read_text())["fit"]["epochs"] == 4
    ended = fit("moco", DATA, out=out, resume=True, **longer)
    assert len(ended.history) == 4 and len(load_run(out).history) == 4


@pytest.mark.parametrize("given", [5, True, "", ["run"]])
def test_what_is_no_path_is_an_error(given, as_a_user):
    for use in (lambda path: fit("moco", DATA, out=path, **TINY), load_run, load_run(folder_of(0)).save):
        with pytest.raises(ValueError, match=r"(out|path)=.*: give a path"):
            use(given)


def test_a_run_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file, and a folder is needed there"):
        fit("moco", DATA, out=tmp_path / "file" / "run", **TINY)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"items": [64]}, "give indices of items, at least one, from 0 to 63"),
        ({"items": [-1]}, "give indices of items"),
        ({"items": []}, "pass whole numbers"),
        ({"items": [0.5]}, "pass whole numbers"),
        ({"batch": 0}, "batch=0: it must be a whole number at least 1"),
        ({"seed": -1}, "seed=-1: it must be"),
        ({"dataset": None}, "dataset=None: it must be a HierarchicalDataset"),
    ],
)
def test_wrong_steps_are_errors(wrong, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        load_run(folder_of(0)).step(**{"dataset": DATA, **wrong})
    if "items" not in wrong:
        with pytest.raises(ValueError, match=message):
            load_run(folder_of(0)).audit(**{"dataset": DATA, **wrong})


def test_two_cannot_train_in_one_folder(tmp_path):
    said = []

    def train_here_too(run):
        try:
            fit("moco", DATA, out=tmp_path / "run", resume=True, **TINY)
        except BlockingIOError as error:
            said.append(str(error))
        with pytest.raises((BlockingIOError, FileExistsError)):
            run.save(tmp_path / "run")

    run = fit("moco", DATA, out=tmp_path / "run", callbacks=[train_here_too], **TINY)
    assert len(said) == 2 and "is in use: another process or thread writes to it" in said[0]
    assert same(run, load_run(folder_of(0)))


def test_a_full_disk_keeps_the_epoch_before(tmp_path):
    out = tmp_path / "run"
    size = (folder_of(0) / "checkpoint.pt").stat().st_size
    limits = [small_disk(size // 2)]

    def fill(run):
        limits[0].__enter__()

    try:
        with pytest.raises(DiskFullError, match=rf"{out / 'checkpoint.pt'} needs [\d.]+ MB, and {out} has") as full:
            fit("moco", DATA, out=out, callbacks=[fill], **TINY)
    finally:
        limits[0].__exit__(None, None, None)
    assert len(full.value.run.history) == len(load_run(out).history) == 1 and not list(out.glob("*partial*"))
    assert same(fit("moco", DATA, out=out, resume=True, **TINY), load_run(folder_of(0)))


def test_numbers_of_numpy_are_settings(tmp_path):
    settings = {"queue": np.int64(40), "epochs": np.uint8(2), "temperature": np.float64(0.1), "flip": np.float32(0.5)}
    settings |= {"mask_own": np.bool_(True), "crop_scale": np.array([0.2, 1.0])}
    run = fit("moco", DATA, **TINY | settings)
    assert same(run, load_run(folder_of(0))) and same(run, load_run(run.save(tmp_path / "saved")))
    assert run.config["method_settings"]["queue"] == 40
    with pytest.raises(ValueError, match=r"queue=.*it must be a whole number"):
        fit("moco", DATA, **TINY | {"queue": 10**30})


def test_a_log_has_a_line_for_each_epoch_and_no_bar(capsys):
    fit("moco", DATA, **TINY | {"progress": True})
    said = capsys.readouterr().err
    assert "\r" not in said and [line.partition(":")[0] for line in said.splitlines()] == [
        "epoch 1 of 2",
        "epoch 2 of 2",
    ]
