"""The machine: what a number depends on beside the settings, and how the allocator keeps memory."""

import ctypes
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt's names for what it sets
MOST_FROM_HEAP = 32 * 2**20  # bytes of a block; glibc allows no more. Larger blocks still come from the system
MOST_KEPT = 2**31 - 1  # bytes of free memory

version = cache(metadata.version)  # a process does not change its packages


def describe_environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Returns what a number depends on beside the settings: versions, device, precision, threads, commit.

    Args:
        device: where the model is.
        precision: of the encoder, "bf16" or "float32".

    Example:
        >>> describe_environment(torch.device("cpu"), "float32")["precision"]
        'float32'
    """
    packages = ("torch", "torchvision", "numpy", "scikit-learn", "accelerate")
    return {
        "hiercl": version("hiercl"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """Returns the commit of the checkout that this package runs from, and says whether tracked files differ from it.

    It is None when the package is installed without a checkout.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep up to 2 GiB of what this process frees.

    By default glibc gives large blocks back at once, and the system clears every page anew when the next step asks for
    the same block. A training step on point clouds makes dozens of tensors of tens of megabytes, and this took a third
    of its time or more. It acts on the whole process, so it is opt-in: the command line calls it, the library does not.
    On CUDA and with other C libraries it changes nothing.

    Returns:
        Whether there is such an allocator.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, MOST_FROM_HEAP) and mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
