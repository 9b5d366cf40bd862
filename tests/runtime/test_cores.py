"""Free cores and free memory: other processes and limits from outside take their part; what was changed comes back."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from support.data import METHODS, SMALL, pictures

from hiercl.runtime import cores
from hiercl.training.loop import fit


@pytest.fixture
def four_threads(monkeypatch):
    """A process with four threads on four cores, of which others leave 1.3 free, and nobody has chosen a number."""
    before = torch.get_num_threads()
    for name in (cores.OFF, *cores.OWN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cores, "free_cores", lambda: 1.3)
    monkeypatch.setattr(cores, "own_cores", lambda: [0, 1, 2, 3])
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_threads_keep_to_the_free_cores_and_come_back(four_threads):
    @cores.on_free_cores
    def inner(progress=True):
        return torch.get_num_threads()

    @cores.on_free_cores
    def outer(progress=True):
        torch.set_num_threads(2)
        return inner()  # it does not look again

    assert inner() == 1 and outer(False) == 2 and torch.get_num_threads() == 4


@pytest.mark.parametrize("name, value", [(cores.OFF, "all"), (cores.OWN[0], "4")])
def test_it_can_be_turned_off(four_threads, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert cores.keep_to_free_cores() == "" and torch.get_num_threads() == 4


@pytest.mark.parametrize("shared, counted", [("0", 5.0), ("1", 7.0)])
def test_work_of_low_priority_counts_where_sessions_share_cores(monkeypatch, tmp_path, shared, counted):
    (tmp_path / "autogroup").write_text(f"{shared}\n")
    monkeypatch.setattr(cores, "AUTOGROUP", tmp_path / "autogroup")
    monkeypatch.setattr(cores.psutil, "cpu_times", lambda percpu: [SimpleNamespace(user=4.0, system=1.0, nice=2.0)])
    assert cores._busy_seconds() == {0: counted}


def test_with_free_cores_nothing_changes(four_threads, monkeypatch):
    monkeypatch.setattr(cores, "free_cores", lambda: 3.6)
    assert cores.keep_to_free_cores() == "" and torch.get_num_threads() == 4


def test_a_run_says_it_notes_it_and_goes_on_with_the_threads_that_it_had(four_threads, monkeypatch, capsys):
    run = fit("moco", pictures(32), **SMALL | METHODS["moco"] | {"epochs": 1, "progress": True, "batch": 16})
    said = "Other processes leave 1.3 of 4 cores free: 1 threads instead of 4. HIERCL_THREADS=all turns this off."
    assert run.environment["threads"] == 1 and run.environment["threads_why"] == said
    assert said in "".join(capsys.readouterr()) and torch.get_num_threads() == 4
    monkeypatch.setattr(cores, "free_cores", lambda: 4.0)
    longer = fit("moco", pictures(32), resume=run, epochs=1, progress=False)
    assert longer.environment["threads"] == 1 and torch.get_num_threads() == 4


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the cores of Linux")
def test_a_busy_process_is_seen():
    """Its own process keeps a core busy; seen from another one, it takes about a core from what is free."""
    one = [sys.executable, "-c", "while True: pass"]
    busy = subprocess.Popen(one)
    try:
        mine = cores.free_cores(0.3)  # one that this process started is its own
    finally:
        busy.kill()
        busy.wait()
    assert 0 <= len(cores.own_cores()) - mine <= len(cores.own_cores())
    before, own = cores._busy_seconds(), cores._own_seconds()
    start = time.process_time()
    while time.process_time() - start < 0.2:  # the clocks that are compared tick in hundredths of a second
        pass
    worked = cores._own_seconds() - own
    assert 0.1 < worked <= sum(cores._busy_seconds().values()) - sum(before.values()) + 0.1


def test_memory_is_that_of_the_narrowest_limit(monkeypatch, tmp_path):
    free = cores.free_memory()
    (tmp_path / "memory.max").write_text(f"{10**9}\n")
    (tmp_path / "memory.current").write_text(f"{4 * 10**8}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {10**8}\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    assert cores.free_memory() == min(7 * 10**8, cores.free_memory()) <= free
    assert cores.free_cores(0.01) <= 1.5
    monkeypatch.setattr(cores, "_memory_of_limits", lambda: 5000.0)
    assert cores.free_memory() == 5000


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_limit_of_the_process_is_seen(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (2**50 if limit == resource.RLIMIT_AS else -1, -1))
    assert 2**49 < cores._memory_of_limits() < 2**50
