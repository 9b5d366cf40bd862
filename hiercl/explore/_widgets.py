"""What all explorers share: ipywidgets, if they are there, and pictures."""

import io
from types import ModuleType
from typing import Any


def widgets() -> ModuleType:
    """The module ipywidgets. Raises ImportError that says what to do where it is not installed."""
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError(
            "explorers need ipywidgets: pip install ipywidgets, and restart the notebook. The functions of hiercl.plot "
            "draw the same without it."
        ) from error
    return ipywidgets


def png(figure: Any) -> bytes:
    """A figure as the content of an Image widget."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
