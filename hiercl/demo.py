"""demo: runs the quickstart notebook without a browser and says what it does meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

NOTEBOOK = "00_quickstart.ipynb"


def demo(out: Path) -> None:
    """Executes the quickstart notebook; the executed copy, its figures and its table go to ``out``.

    Raises:
        FileNotFoundError: the notebook is neither beside the package nor in it.
        ImportError: the notebook tools (the ``lab`` extra) are missing.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        raise ImportError("The demo runs a notebook: install the tools with pip install 'hiercl[lab]'.") from error

    class Client(NotebookClient):
        """Shows what cells print, and how far trainings are; a notebook run without a browser is silent otherwise."""

        def process_message(self, message, cell, cell_index):
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                print(content["text"], end="", flush=True)
            if content.get("transient", {}).get("display_id"):  # a figure that grows while a model trains
                print(content["data"].get("text/plain", ""), flush=True)
            return super().process_message(message, cell, cell_index)

    source = find_notebook()
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ["HIERCL_OUT"] = str(out)
    notebook = nbformat.read(source, as_version=4)
    start = time.perf_counter()
    heading = ""

    def announce(cell, cell_index):
        nonlocal heading
        before = "\n".join(cell.source for cell in notebook.cells[:cell_index] if cell.cell_type == "markdown")
        headings = [line.lstrip("# ") for line in before.splitlines() if line.startswith("#")]
        title = headings[-1] if headings else heading
        if title != heading:
            heading = title
            print(f"\n[{time.perf_counter() - start:4.0f} s] {heading}", flush=True)

    client = Client(notebook, timeout=None, kernel_name="python3", on_cell_execute=announce)
    print(f"Running {source.name} ({len(notebook.cells)} cells); it trains two models and takes about three minutes.")
    try:
        client.execute(cwd=str(source.parent), stderr=subprocess.DEVNULL)  # the kernel's own warnings, not the cells'
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        raise SystemExit("hiercl: the demo stopped at the cell above; the notebook so far is kept.") from None
    finally:
        nbformat.write(notebook, out / NOTEBOOK)
    written = sorted(path.name for path in out.iterdir() if path.is_file())
    print(f"\n[{time.perf_counter() - start:4.0f} s] Done. In {out}: {', '.join(written)}")


def find_notebook() -> Path:
    """The quickstart notebook of the checkout, or the copy that an installed package brings along."""
    package = Path(__file__).parent
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / NOTEBOOK).exists():
            return folder / NOTEBOOK
    raise FileNotFoundError(f"{NOTEBOOK} is missing: run this in a checkout of hiercl, or install the package anew.")
