"""Checkpoint: the newest complete state of a training, never half of one."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pandas as pd
import torch

FORMAT = 1
CHECKPOINT, HISTORY = "checkpoint.pt", "history.csv"


class Checkpoint:
    """The newest complete state of a training: a file that is replaced in one move. Without a folder it is in memory.

    Args:
        folder: folder of the run, or None.
    """

    def __init__(self, folder: Path | None):
        self.path = None if folder is None else folder / CHECKPOINT
        self.bytes: bytes | None = None

    def __bool__(self) -> bool:
        return self.bytes is not None if self.path is None else self.path.exists()

    def is_at(self, path: Path | None) -> bool:
        """Returns whether this is the file at a path."""
        return self.path is not None and path is not None and self.path.resolve() == path.resolve()

    @property
    def place(self) -> str:
        """Where the last good state is, for error messages."""
        return "in memory: the attribute run of this error" if self.path is None else str(self.path)

    def write(self, state: dict) -> None:
        """Replaces the state. Whenever the process dies, either the old state or the new one is whole."""
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, **state}, buffer)
        if self.path is None:
            self.bytes = buffer.getvalue()
            return
        write_atomically(self.path, buffer.getvalue())
        write_atomically(self.path.parent / HISTORY, pd.DataFrame(state["history"]).to_csv(index=False).encode())

    def read(self, device: str | torch.device = "cpu") -> dict:
        """Returns the newest state.

        Args:
            device: where its tensors go.

        Raises:
            ValueError: another version of the format wrote it, or it is damaged.
        """
        source = io.BytesIO((self.bytes or b"") if self.path is None else self.path.read_bytes())
        try:
            if not zipfile.is_zipfile(source):  # torch would take it for its old format, and fail in many ways
                raise EOFError("it is no whole archive")
            source.seek(0)
            state = torch.load(source, map_location=device, weights_only=True)
        except torch.OutOfMemoryError:
            raise  # nothing is wrong with the file
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(
                f"{self.path} cannot be read: it is damaged, or not a checkpoint of hiercl ({error}). Move it away and "
                "train again."
            ) from error
        if state.get("format") != FORMAT:
            raise ValueError(f"{self.path} has format {state.get('format')}, this version of hiercl reads {FORMAT}.")
        return state


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there: readers see the old content or the new, never a part.

    Args:
        path: where the file goes.
        content: its bytes.

    Example:
        >>> from pathlib import Path
        >>> write_atomically(Path("numbers.txt"), b"1 2 3")
    """
    temporary = path.with_name(path.name + ".partial")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
