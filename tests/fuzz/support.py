"""The rule of the fuzz tests: a call gives a result or one of the package's own errors, soon and in little memory.

``HIERCL_FUZZ=5000 python -m pytest tests/fuzz`` tries 5,000 random inputs for each test. Without it every test tries
a few inputs, the same ones each time.
"""

import dis
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

import hiercl

PACKAGE = Path(hiercl.__file__).parent
KINDS = (ValueError, RuntimeError, OSError, ImportError)  # of the package's own errors
SECONDS = 10  # after which a call hangs
MEMORY = 2 << 30  # bytes of address space that a call may add

_wanted = int(os.environ.get("HIERCL_FUZZ", "0"))


def fuzz(few: int = 25) -> settings:
    """Returns the settings of a fuzz test, as a decorator: ``few`` inputs in the normal suite, more when asked for."""
    return settings(
        max_examples=_wanted or few,
        derandomize=not _wanted,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def own_error(call: Callable[[], Any], seconds: float = SECONDS, memory: int = MEMORY) -> Exception | None:
    """Runs a call. Returns None if it gives a result, or the error if the package itself raised it with a message.

    Every other error goes on and fails the test: an error of NumPy, a TypeError, a MemoryError, a call that hangs.
    """
    try:
        with _limits(seconds, memory):
            call()
    except KINDS as error:
        if not _raised_by_package(error):
            raise
        assert len(str(error)) > 15, f"the message says too little: {error!r}"
        return error
    return None


def _raised_by_package(error: Exception) -> bool:
    """Whether a ``raise`` in a file of the package made the error."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    raises = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raises and Path(code.co_filename).is_relative_to(PACKAGE)


class Hangs(BaseException):
    """A call took too long."""


@contextmanager
def _limits(seconds: float, memory: int):
    """Limits the time, and where the system can the memory, of what runs inside."""
    try:
        import resource
    except ImportError:  # Windows
        yield
        return

    def stop(*_):
        raise Hangs(f"no result and no error after {seconds} seconds")

    before, limit = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    used = Path("/proc/self/statm")
    if used.exists():
        pages = int(used.read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, limit[1]))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limit)
