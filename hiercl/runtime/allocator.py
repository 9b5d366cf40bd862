"""keep_freed_memory: what one step frees, the next one takes, without asking the system in between."""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt's names for what it sets
MOST_FROM_HEAP = 32 * 2**20  # bytes of a block; the largest that glibc allows. Larger ones still come from the system
MOST_KEPT = 2**31 - 1  # bytes of free memory


@cache
def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep up to 2 GiB of what this process frees; whether there is such an allocator.

    By default glibc gives large blocks back at once, and the system clears every page anew when the next step asks for
    the same block. A training step on point clouds makes dozens of tensors of tens of megabytes: a third or more of
    its time went there. On CUDA and with other C libraries nothing is changed. It acts on the whole process, once.

    Example:
        >>> keep_freed_memory()  # doctest: +SKIP
        True
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, MOST_FROM_HEAP) and mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
