"""Studies as JSON files: those that come with the package, a person's own, and what a study leaves beside its runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hiercl.runtime.errors import unknown

READY = Path(__file__).parent / "ready"
PARTS = (
    *("variants", "vary", "base", "seeds", "baseline", "question", "one_at_a_time", "name", "metrics", "grid"),
    *("given", "saved"),
)


def ready_names() -> tuple[str, ...]:
    """The studies that come with the package."""
    return tuple(sorted(path.stem for path in READY.glob("*.json")))


def ready_file(name: str) -> Path:
    """The file of one of them.

    Raises:
        ValueError: an unknown name.
    """
    if name not in ready_names():
        raise unknown("ready-made study", name, ready_names())
    return READY / f"{name}.json"


def read(path: Path) -> dict[str, Any]:
    """The parts of a study in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or has neither variants nor vary, or something that is not known.
    """
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    for name in content:
        if name not in PARTS:
            raise unknown(f"part of {path}", name, PARTS)
    if ("variants" in content) == ("vary" in content):
        raise ValueError(f"{path} needs variants, names and settings, or vary, settings and lists of values.")
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes the parts of a study, in the place of what it was before it got more variants.

    Raises:
        FileExistsError: another study of this name is there, with other variants.
    """
    if path.exists():
        there = json.loads(path.read_text())
        both = there.get("variants", {}).keys() & content["variants"].keys()
        same_grid = there.get("grid", {}).keys() == content["grid"].keys()
        if not both or not same_grid or any(there["variants"][name] != content["variants"][name] for name in both):
            raise FileExistsError(
                f"{path} is another study of this name, with other variants: choose another name=, or remove that "
                "file if it is not needed (its runs stay, and are shared)."
            )
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    temporary.write_text(json.dumps(content, indent=1, default=repr))
    temporary.replace(path)
