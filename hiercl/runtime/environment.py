"""What a number depends on beside the settings: versions, device, commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def describe_environment(device: torch.device, precision: str) -> dict[str, Any]:
    """What a number depends on beside the settings."""
    packages = ("torch", "torchvision", "numpy", "scikit-learn", "accelerate")
    return {
        "hiercl": metadata.version("hiercl"),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, and whether tracked files differ from it; None when it
    is installed without a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
