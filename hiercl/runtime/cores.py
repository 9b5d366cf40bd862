"""Cores and memory that are free for this process: other processes, and limits set from outside, take their part.

Two processes with as many threads as cores each crawl: each thread waits for the others, and these wait for a core. So
a training and an evaluation look first how much the other processes compute, and use only as many threads as cores are
free. Results of another number of threads may differ in their last bits, so runs and reports note the number. The
environment variable ``HIERCL_THREADS=all`` turns this off; so does a number of threads of your own, in
``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from tqdm.auto import tqdm

F = TypeVar("F", bound=Callable[..., Any])
LOOKED_AT = 0.1  # seconds for which other processes are looked at
OFF, OWN = "HIERCL_THREADS", ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CGROUP = Path("/sys/fs/cgroup")
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


def keep_to_free_cores(earlier: int | None = None) -> str:
    """Lets torch use only as many threads as there are cores that other processes leave free.

    Args:
        earlier: number of threads with which a run was begun that now goes on. It keeps them, so that it ends bit for
            bit like one that was not interrupted.

    Returns:
        One line that says so; empty where nothing changes.

    Example:
        >>> with restored_threads():
        ...     keep_to_free_cores(earlier=torch.get_num_threads())
        ''
    """
    threads = torch.get_num_threads()
    if os.environ.get(OFF) == "all" or any(name in os.environ for name in OWN):
        return ""
    if earlier is not None:
        if earlier == threads or earlier > len(own_cores()):
            return ""
        torch.set_num_threads(earlier)
        return f"{earlier} threads instead of {threads}, as when this run began."
    if threads == 1:
        return ""
    free = free_cores()
    wanted = max(1, min(threads, math.floor(free + 0.5)))
    if wanted == threads:
        return ""
    torch.set_num_threads(wanted)
    return (
        f"Other processes leave {max(0.0, free):.1f} of {len(own_cores())} cores free: {wanted} threads instead of "
        f"{threads}. {OFF}=all turns this off."
    )


@contextmanager
def restored_threads() -> Iterator[None]:
    """Gives torch the number of threads back that it had before the ``with`` block.

    Example:
        >>> with restored_threads():
        ...     torch.set_num_threads(1)
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def on_free_cores(function: F) -> F:
    """Makes a function keep to the cores that are free while it works, and say so if its ``progress`` is true.

    Inside another such function it changes nothing.

    Example:
        >>> @on_free_cores
        ... def judge(progress=True):
        ...     return torch.get_num_threads() <= before
        >>> before = torch.get_num_threads()
        >>> judge()
        True
    """
    progress = inspect.signature(function).parameters["progress"]
    place = list(inspect.signature(function).parameters).index("progress")

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        global _working
        if _working:
            return function(*given, **named)
        with restored_threads():
            _working, said = True, keep_to_free_cores()
            try:
                if said and (given[place] if place < len(given) else named.get("progress", progress.default)):
                    tqdm.write(said)
                return function(*given, **named)
            finally:
                _working = False

    return call  # type: ignore[return-value]


_working = False  # whether a function that keeps to the free cores is at work


def free_cores(seconds: float = LOOKED_AT) -> float:
    """Returns how many cores of this process the others leave free now. What gives way to this one does not count.

    Args:
        seconds: how long to look.

    Example:
        >>> free_cores() <= len(own_cores())
        True
    """
    cores, before, own = own_cores(), _busy_seconds(), _own_seconds()
    start = time.perf_counter()
    time.sleep(seconds)
    others = sum(_busy_seconds()[core] - before[core] for core in cores) - (_own_seconds() - own)
    return min(float(len(cores)) - max(0.0, others) / (time.perf_counter() - start), _cores_of_group())


def own_cores() -> list[int]:
    """Returns the numbers of the cores that this process may use.

    Example:
        >>> len(own_cores()) >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def free_memory() -> int:
    """Returns the bytes that this process can still take: of the machine, of its control group, and of its own limits.

    Example:
        >>> free_memory() > 0
        True
    """
    return int(max(0, min(psutil.virtual_memory().available, _memory_of_group(), _memory_of_limits())))


def _busy_seconds() -> dict[int, float]:
    """Seconds that every core has worked, without what gives way to this process.

    Work of low priority (``nice``) gives way. But where Linux shares cores between sessions (autogroup), it gives way
    within its own session alone, such as a terminal.
    """
    times = psutil.cpu_times(percpu=True)
    busy = ("user", "system", "irq", "softirq", "steal") + ("nice",) * (_read(AUTOGROUP).strip() == "1")
    return {core: sum(getattr(one, name, 0.0) for name in busy) for core, one in enumerate(times)}


def _own_seconds() -> float:
    """Seconds that this process and those that it started have worked."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.Error:  # it has ended
            continue
    return total


def _cores_of_group() -> float:
    """Cores that a control group of Linux (a container) allows; infinity without a limit."""
    words = _read(CGROUP / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else math.inf


def _memory_of_group() -> float:
    """Bytes that a control group of Linux (a container) still allows; infinity without a limit."""
    earlier = "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"
    for limit, used in (("memory.max", "memory.current"), earlier):
        most, now = _read(CGROUP / limit).strip(), _read(CGROUP / used).strip()
        if most.isdigit() and now.isdigit():
            statistics = dict(line.split()[:2] for line in _read((CGROUP / used).with_name("memory.stat")).splitlines())
            cached = int(statistics.get("inactive_file", statistics.get("total_inactive_file", 0)))  # it can be freed
            return float(int(most) - int(now) + cached)
    return math.inf


def _memory_of_limits() -> float:
    """Bytes that the limits of this process still allow (``ulimit -v``, ``ulimit -d``); infinity without one."""
    try:
        import resource  # not on Windows
    except ImportError:
        return math.inf
    status = dict(line.split(":", 1) for line in _read(Path("/proc/self/status")).splitlines())
    left = math.inf
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY and used in status:
            left = min(left, float(most - 1024 * int(status[used].split()[0])))
    return left


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
