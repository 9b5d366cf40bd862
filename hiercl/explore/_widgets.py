"""What all explorers share: packages that may be missing, and pictures."""

import importlib
import io
from types import ModuleType
from typing import Any

PACKAGES = {"jscatter": "jupyter-scatter"}  # where they have another name than their module


def needed(module: str) -> ModuleType:
    """A module that an explorer needs. Raises ImportError that says what to do where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES.get(module, module.partition(".")[0])
        raise ImportError(
            f"this explorer needs {package}: pip install {package}, and restart the notebook. The functions of "
            "hiercl.plot draw the same without it."
        ) from error


def widgets() -> ModuleType:
    """The module ipywidgets."""
    return needed("ipywidgets")


def png(figure: Any) -> bytes:
    """A figure as the content of an Image widget."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
