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
    """The commit of the checkout that this package runs from; None when it is installed without one."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
