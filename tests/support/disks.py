"""A full disk."""

import resource
from contextlib import contextmanager


@contextmanager
def small_disk(room: int):
    """No file can have more bytes than these; the system says so when it is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
