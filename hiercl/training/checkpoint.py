"""Checkpoint: the newest complete state of a training, never half of one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hiercl.runtime.archives import pack, unpack
from hiercl.runtime.files import only_writer, write_atomically

FORMAT = 1
CHECKPOINT, HISTORY = "checkpoint.pt", "history.csv"
AGAIN = "copy the folder again from where it came, or train again in another folder"
FORM = {"epoch": int, "model": dict, "optimiser": dict | None, "history": list, "environment": dict}


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

    def only_writer(self) -> AbstractContextManager[None]:
        """Keeps others from writing to the folder of the run, see :func:`hiercl.runtime.files.only_writer`."""
        return nullcontext() if self.path is None else only_writer(self.path.parent)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replaces the state. Whenever the process dies, either the old state or the new one is whole."""
        content = pack({"format": FORMAT, **state})
        if self.path is None:
            self.bytes = bytes(content)
            return
        write_atomically(self.path, content)
        write_atomically(self.path.parent / HISTORY, pd.DataFrame(state["history"]).to_csv(index=False))

    def read(self, device: str | torch.device = "cpu") -> dict[str, Any]:
        """Returns the newest state.

        Args:
            device: where its tensors go.

        Raises:
            ValueError: another version of the format wrote it, or it is damaged: a single changed bit is noticed.
        """
        content = (self.bytes or b"") if self.path is None else self.path.read_bytes()
        try:
            state = unpack(content, device)
        except torch.OutOfMemoryError:
            raise  # nothing is wrong with the file
        except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
            raise self._damaged(str(error).splitlines()[0]) from error
        if not isinstance(state, dict) or "format" not in state:
            raise self._damaged("it holds something else")
        if state["format"] != FORMAT:
            raise ValueError(f"{self.path} has format {state['format']}, this version of hiercl reads {FORMAT}.")
        for name, kind in FORM.items():
            if not isinstance(state.get(name), kind):
                raise self._damaged(f"its {name} is {state.get(name)!r:.60}")
        return state

    def _damaged(self, why: str) -> ValueError:
        return ValueError(
            f"{self.path} cannot be read: it is damaged, or not a checkpoint of hiercl ({why}). Do this: {AGAIN}."
        )
