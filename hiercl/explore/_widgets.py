"""What the explorers share: optional packages, controls, and widgets of our own."""

from __future__ import annotations

import html
import importlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hiercl.hierarchy import Hierarchy

DISTRIBUTIONS = {"jscatter": "jupyter-scatter"}  # what to install, where its name is not that of the module


class Explorer:
    """The base of all explorers. Widgets are attributes, so that code can set them as well."""

    widget: Any  # all widgets together
    _quiet = False

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def _on_change(self, update: Callable[[], None], *controls: Any, trait: str = "value") -> None:
        """Calls a function after every change of a control, except for quiet ones."""
        for control in controls:
            control.observe(lambda change: None if self._quiet else update(), trait)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Makes changes of controls that call no function."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def load_package(module: str) -> ModuleType:
    """Imports a module that may not be installed.

    Raises:
        ImportError: It is not installed. The message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = DISTRIBUTIONS.get(module, module.partition(".")[0])
        raise ImportError(
            f"this explorer needs {package}: pip install {package}, and restart the notebook. The functions of "
            "hiercl.plot draw the same without it."
        ) from error


def widgets() -> ModuleType:
    """Returns the module ipywidgets."""
    return load_package("ipywidgets")


def own_widget(name: str, **values: Any) -> Any:
    """Makes a widget from ``name.js`` and ``name.css``; the script and Python share the values, lists or integers."""
    anywidget, traitlets = load_package("anywidget"), load_package("traitlets")
    script, style = ((Path(__file__).parent / f"{name}.{kind}").read_text("utf-8") for kind in ("js", "css"))
    traits = {
        key: (traitlets.Int if isinstance(value, int) else traitlets.List)().tag(sync=True)
        for key, value in values.items()
    }
    return type(name.title(), (anywidget.AnyWidget,), {"_esm": script, "_css": style} | traits)(**values)


def sized(width: str, label: str = "initial") -> dict[str, Any]:
    """Returns options of a control: its width, and that of its label."""
    return {"layout": widgets().Layout(width=width), "style": {"description_width": label}}


def level_choice(hierarchy: Hierarchy, description: str, value: int = 0, **options: Any) -> Any:
    """Makes a list of the levels to choose from."""
    levels = [(plain(name), level) for level, name in enumerate(hierarchy.level_names)]
    return widgets().Dropdown(description=description, options=levels, value=value, **options)


def image(max_width: str = "100%") -> Any:
    """Makes a widget that shows figures; :func:`png` gives its value."""
    w = widgets()
    return w.Image(format="png", layout=w.Layout(max_width=max_width))


def png(figure: Any) -> bytes:
    """Returns a figure as the value of an image widget."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def plain(name: str) -> str:
    """Returns a class name without underscores."""
    return name.replace("_", " ")


def marked(name: str) -> str:
    """Returns a name for HTML: without underscores, and no part of it is markup."""
    return html.escape(plain(name))
